//! What one caller hands over to another who waits for it, a thread or a task. It knows nothing of what
//! that is.

use std::{
    future::poll_fn,
    io,
    task::{Poll, Waker},
    thread::{self, Thread},
    time::Instant,
};

use parking_lot::Mutex;

use crate::link::{Face, note_waker, reactor::Timer};

/// The place for one thing, and one who waits for it.
#[derive(Debug)]
pub(super) struct Handed<T> {
    state: Mutex<State<T>>,
    thread: Option<Thread>,
}

#[derive(Debug)]
struct State<T> {
    given: Option<T>,
    waker: Option<Waker>,
}

/// Tells whoever waits.
#[derive(Debug)]
#[must_use = "nobody knows of what was left for them"]
pub(super) enum Bell {
    Task(Waker),
    Thread(Thread),
    /// Nobody waits yet.
    None,
}

impl Bell {
    pub(super) fn ring(self) {
        match self {
            Bell::Task(waker) => waker.wake(),
            Bell::Thread(thread) => thread.unpark(),
            Bell::None => {}
        }
    }
}

impl<T> Handed<T> {
    /// For the caller.
    pub(super) fn new(face: Face) -> Self {
        Handed {
            state: Mutex::new(State {
                given: None,
                waker: None,
            }),
            thread: (face == Face::Blocking).then(thread::current),
        }
    }

    /// Must not be called with a lock held: what a waker does is its executor's business.
    pub(super) fn give(&self, given: T) {
        self.lay(given).ring();
    }

    /// Leaves it there for whoever waits, who has yet to be told.
    pub(super) fn lay(&self, given: T) -> Bell {
        let mut state = self.state.lock();
        state.given = Some(given);
        let waker = state.waker.take();
        drop(state);
        match (waker, &self.thread) {
            (Some(waker), _) => Bell::Task(waker),
            (None, Some(thread)) => Bell::Thread(thread.clone()),
            (None, None) => Bell::None,
        }
    }

    pub(super) fn take(&self) -> Option<T> {
        self.state.lock().given.take()
    }

    /// Waits for what is given, until then.
    pub(super) async fn wait(&self, face: Face, until: Instant) -> io::Result<Option<T>> {
        if face == Face::Blocking {
            loop {
                if let Some(given) = self.take() {
                    return Ok(Some(given));
                }
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(None);
                }
                thread::park_timeout(left);
            }
        }
        let mut timer = Timer::new(until)?;
        poll_fn(|cx| {
            let mut state = self.state.lock();
            if let Some(given) = state.given.take() {
                return Poll::Ready(Ok(Some(given)));
            }
            let before = note_waker(&mut state.waker, cx);
            drop(state);
            drop(before);
            match timer.is_over(cx.waker()) {
                true => Poll::Ready(Ok(None)),
                false => Poll::Pending,
            }
        })
        .await
    }
}
