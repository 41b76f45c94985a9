//! The reactor's place in the model: its thread is one of the schedule's, and what it watches is a
//! [`Pipe`](super::model::Pipe).

use std::{
    io,
    sync::{Arc, Mutex, Weak},
    task::Waker,
    time::Instant,
};

use super::{
    model::sync::{now, pass, time_flies},
    transport::{Stream, Want},
};

/// Who does something itself when a stream is ready.
pub(crate) trait Readied: Send + Sync {
    fn readable(self: Arc<Self>);
    fn writable(self: Arc<Self>);
}

pub(crate) struct Reactor;

impl Reactor {
    pub(crate) fn get() -> io::Result<&'static Reactor> {
        Ok(&Reactor)
    }

    /// Nothing in the model has a limit.
    pub(super) fn wake_at(&self, _: Instant, _: Waker) {}

    pub(super) fn register(&'static self, stream: Arc<Stream>) -> io::Result<Arc<Registration>> {
        Ok(Arc::new(Registration(stream)))
    }
}

#[derive(Debug)]
pub(crate) struct Registration(Arc<Stream>);

impl Registration {
    pub(crate) fn on_readable(&self, whom: Weak<dyn Readied>) -> io::Result<()> {
        self.0.model().on_readable(whom);
        Ok(())
    }

    pub(crate) fn on_writable(&self, whom: Weak<dyn Readied>) -> io::Result<()> {
        self.0.model().on_writable(whom);
        Ok(())
    }

    pub(super) async fn ready(&self, _: Want, _: Option<Instant>) -> io::Result<()> {
        unimplemented!("a link that one caller has alone is not modelled")
    }

    pub(super) fn end(&self) {}
}

/// Rings when a thread of the schedule says so, or never: nobody may depend on it.
pub(crate) struct Timer {
    at: Instant,
    /// Whom to wake, once it is set.
    waker: Option<Arc<Mutex<Waker>>>,
}

impl Timer {
    pub(crate) fn new(at: Instant) -> io::Result<Timer> {
        Ok(Timer { at, waker: None })
    }

    pub(crate) fn is_over(&mut self, waker: &Waker) -> bool {
        if now() >= self.at {
            return true;
        }
        if let Some(known) = &self.waker {
            known.lock().unwrap().clone_from(waker);
            return false;
        }
        let known = Arc::new(Mutex::new(waker.clone()));
        self.waker = Some(known.clone());
        if time_flies() {
            let at = self.at;
            shuttle::thread::spawn(move || {
                pass(at.saturating_duration_since(now()));
                let waker = known.lock().unwrap().clone();
                waker.wake();
            });
        }
        false
    }
}
