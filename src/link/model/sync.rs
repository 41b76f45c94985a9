//! Locks, atomics and parking whose order `shuttle` chooses, and a clock that it turns.

use std::{
    cell::Cell,
    sync::{LazyLock, PoisonError},
    time::{Duration, Instant},
};

pub(in crate::link) use shuttle::{
    sync::{
        MutexGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread_local,
};

use shuttle::rand::{Rng, thread_rng};

/// As `parking_lot`'s: a panic poisons nothing.
#[derive(Debug, Default)]
pub(in crate::link) struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(in crate::link) fn new(value: T) -> Self {
        Mutex(shuttle::sync::Mutex::new(value))
    }

    pub(in crate::link) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(in crate::link) use self::thread::Thread;

pub(in crate::link) mod thread {
    pub(in crate::link) use shuttle::thread::{Thread, current, park};

    use std::time::Duration;

    /// Either the time passes at once, or it never does: whoever is not told waits forever, and the
    /// model says so. A deadline must not be what saves anybody.
    pub(in crate::link) fn park_timeout(time: Duration) {
        match super::time_flies() {
            true => {
                super::pass(time);
                shuttle::thread::yield_now();
            }
            false => park(),
        }
    }
}

/// Little enough for a few short statements to be more.
pub(in crate::link) const DEFER_BYTES: usize = 14;

/// Small numbers, so that few statements are more; another one at each look.
pub(in crate::link) fn measured(_: u64) -> u64 {
    [1, 2, u64::MAX][thread_rng().gen_range(0..3)]
}

/// Where every schedule's clock begins.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

std::thread_local! {
    /// Since [`BEGAN`]. All threads of a schedule run in one of the system's.
    static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// A schedule begins.
pub(super) fn reset_clock() {
    PASSED.set(Duration::ZERO);
}

/// Time goes on.
pub(in crate::link) fn pass(time: Duration) {
    PASSED.set(PASSED.get() + time);
}

/// Whether a wait with a deadline comes to it.
pub(in crate::link) fn time_flies() -> bool {
    thread_rng().gen_ratio(1, 3)
}

/// Looking at the clock takes little time, or long enough for the code to make a difference of it.
pub(in crate::link) fn now() -> Instant {
    pass(Duration::from_micros(match thread_rng().gen_ratio(1, 4) {
        true => 150,
        false => 1,
    }));
    *BEGAN + PASSED.get()
}
