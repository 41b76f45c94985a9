//! How busy a shared link is, and how many statements may be in flight on it: by what the server
//! takes for one, as far as that can be told from here.

use std::time::{Duration, Instant};

use once_cell::sync::Lazy;

use super::sync::{AtomicU64, AtomicUsize, Ordering, measured};

/// How busy a lane is; read without its lock.
#[derive(Debug)]
pub(crate) struct Load {
    /// Places taken: statements in flight or about to be.
    pub taken: AtomicUsize,
    /// When the oldest statement's turn began, in nanoseconds of [`EPOCH`].
    head: AtomicU64,
    /// Moving average of a statement's time at the server, in nanoseconds.
    service: AtomicU64,
    /// The shortest time from question to reply, in nanoseconds.
    rtt: AtomicU64,
}

static EPOCH: Lazy<Instant> = Lazy::new(Instant::now);

/// In nanoseconds of [`EPOCH`]: what is reckoned with for each statement, which an [`Instant`] makes dear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

impl Moment {
    #[inline]
    pub(super) fn of(at: Instant) -> Moment {
        const SECOND: u64 = 1_000_000_000;
        let since = at.saturating_duration_since(*EPOCH);
        // For centuries: no need to count in 128 bits.
        let whole = since.as_secs().saturating_mul(SECOND);
        Moment(whole.saturating_add(u64::from(since.subsec_nanos())))
    }

    /// Nanoseconds since an earlier one.
    pub(super) fn since(self, earlier: Moment) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    pub(super) fn behind(self, nanos: u64) -> Moment {
        Moment(self.0.saturating_add(nanos))
    }
}

impl Load {
    pub(super) fn new() -> Self {
        Load {
            taken: AtomicUsize::new(0),
            head: AtomicU64::new(0),
            service: AtomicU64::new(0),
            rtt: AtomicU64::new(u64::MAX),
        }
    }

    /// How many statements may be in flight so that one more waits some 50 ms at most. What waits for a
    /// place can go to whichever link has one first, but is woken once more for it: that took a fifth of
    /// what 10,000 tasks could do where the wait was 10 ms.
    pub(crate) fn window(&self, one_at_a_time: bool) -> usize {
        /// The wait that is aimed at.
        const WAIT: u64 = 50_000_000;
        const LEAST: u64 = 16;
        const MOST: u64 = 4096;
        if one_at_a_time {
            return 1;
        }
        let service = self.service.load(Ordering::Relaxed).max(1);
        (WAIT / service).clamp(LEAST, MOST) as usize
    }

    /// How long one more would wait behind so many.
    pub(crate) fn wait(&self, statements: usize) -> Duration {
        let service = self.service.load(Ordering::Relaxed);
        Duration::from_nanos(service.saturating_mul(statements as u64))
    }

    /// The oldest statement has run for much longer than statements do.
    pub(crate) fn is_stuck(&self, now: Instant) -> bool {
        /// Nothing that is shorter than this is long.
        const LONG: u64 = 5_000_000;
        if self.taken.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let head = Moment(self.head.load(Ordering::Relaxed));
        let running = Moment::of(now).since(head);
        let rtt = self.rtt.load(Ordering::Relaxed);
        let usual = self.service.load(Ordering::Relaxed) * 8;
        let rtt = if rtt == u64::MAX { 0 } else { rtt * 2 };
        running > LONG.max(usual).saturating_add(rtt)
    }

    /// A caller begins to be the oldest.
    #[inline]
    pub(super) fn begin(&self, now: Moment) {
        self.head.store(now.0, Ordering::Relaxed);
    }

    /// Replies came in one piece that had their turns for so many nanoseconds each. Time in which this
    /// process did not get to read counts too, so that the average follows the low values.
    #[inline]
    pub(super) fn served(&self, service: u64) {
        let old = self.service.load(Ordering::Relaxed);
        let new = match service < old {
            true => old - (old - service) / 4,
            false => old + (service - old) / 64,
        };
        self.service.store(new, Ordering::Relaxed);
    }

    /// A reply came so many nanoseconds behind its question.
    #[inline]
    pub(super) fn took(&self, rtt: u64) {
        if rtt < self.rtt.load(Ordering::Relaxed) {
            self.rtt.fetch_min(rtt, Ordering::Relaxed);
        }
    }

    /// So many statements at the server keep it busy until more can reach it.
    #[inline]
    pub(super) fn enough(&self) -> u64 {
        const LEAST: u64 = 16;
        let service = self.service.load(Ordering::Relaxed);
        measured(match self.rtt.load(Ordering::Relaxed) {
            u64::MAX => u64::MAX,
            rtt => (2 * rtt)
                .checked_div(service)
                .map_or(u64::MAX, |n| n.max(LEAST)),
        })
    }

    /// In nanoseconds.
    pub(super) fn rtt(&self) -> u64 {
        match self.rtt.load(Ordering::Relaxed) {
            u64::MAX => 0,
            nanos => nanos,
        }
    }
}

#[cfg(all(test, not(mysql_mux_model)))]
mod tests {
    use super::*;

    #[test]
    fn the_window_follows_the_server_and_not_our_own_delays() {
        let load = Load::new();
        for _ in 0..200 {
            load.served(10_000);
        }
        let quick = load.window(false);
        // The reader did not get to run for a while.
        load.served(20_000_000);
        assert!(load.window(false) > quick / 100);
        for _ in 0..2000 {
            load.served(20_000_000);
        }
        assert_eq!(load.window(false), 16, "the least");
        assert_eq!(load.window(true), 1);
    }

    #[test]
    fn a_lane_is_stuck_when_its_oldest_statement_runs_for_much_longer_than_statements_do() {
        let load = Load::new();
        let now = Instant::now();
        load.begin(Moment::of(now));
        assert!(
            !load.is_stuck(now + Duration::from_secs(1)),
            "nobody is there"
        );
        load.taken.store(1, Ordering::Relaxed);
        assert!(!load.is_stuck(now + Duration::from_millis(1)));
        assert!(load.is_stuck(now + Duration::from_secs(1)));
        load.took(600_000_000);
        assert!(
            !load.is_stuck(now + Duration::from_secs(1)),
            "it is far away"
        );
    }

    #[test]
    fn enough_is_known_only_when_the_server_was_measured() {
        let load = Load::new();
        assert_eq!(load.enough(), u64::MAX);
        load.served(10_000);
        load.took(1_000_000);
        assert!((16..u64::MAX).contains(&load.enough()));
    }
}
