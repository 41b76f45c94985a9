//! The process's one thread that watches streams and clocks for async callers, so that they need no
//! particular runtime. It reads where no thread of a caller does, and finishes writes that would
//! have blocked one. Not started before somebody needs it.
//!
//! Knows streams and whom to tell; nothing of packets.

use std::{
    collections::{BTreeMap, HashMap},
    future::poll_fn,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
    thread,
    time::Instant,
};

use once_cell::sync::OnceCell;
use parking_lot::Mutex;
use polling::{Event, Events, Poller};

use super::transport::{Stream, Want};

/// Who does something itself when a stream is ready.
pub(crate) trait Readied: Send + Sync {
    fn readable(self: Arc<Self>);
    fn writable(self: Arc<Self>);
}

/// Whom to tell that a stream is ready.
enum Tell {
    Task(Waker),
    Other(Weak<dyn Readied>),
}

#[derive(Clone, Copy)]
enum Side {
    Read,
    Write,
}

/// The thread and what it watches.
pub(crate) struct Reactor {
    poller: Poller,
    streams: Mutex<HashMap<usize, Weak<Registration>>>,
    next_key: AtomicUsize,
    timers: Mutex<BTreeMap<(Instant, u64), Waker>>,
    next_timer: AtomicU64,
}

static REACTOR: OnceCell<&'static Reactor> = OnceCell::new();

impl Reactor {
    /// The process's reactor.
    ///
    /// # Errors
    /// The system has no thread or no descriptor left.
    pub(crate) fn get() -> io::Result<&'static Reactor> {
        REACTOR
            .get_or_try_init(|| {
                let reactor: &'static Reactor = Box::leak(Box::new(Reactor {
                    poller: Poller::new()?,
                    streams: Mutex::default(),
                    next_key: AtomicUsize::new(0),
                    timers: Mutex::default(),
                    next_timer: AtomicU64::new(0),
                }));
                thread::Builder::new()
                    .name("mysql_mux-reactor".into())
                    .spawn(|| reactor.run())?;
                Ok(reactor)
            })
            .copied()
    }

    /// Makes a stream one that can be watched.
    pub(super) fn register(&'static self, stream: Arc<Stream>) -> io::Result<Arc<Registration>> {
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        let registration = Arc::new(Registration {
            reactor: self,
            stream,
            key,
            watches: Mutex::default(),
        });
        self.streams
            .lock()
            .insert(key, Arc::downgrade(&registration));
        // SAFETY: the registration keeps the stream open, and takes it off the poller before it
        // lets it go.
        let added = unsafe {
            self.poller
                .add(registration.stream.socket()?, Event::none(key))
        };
        match added {
            Ok(()) => {
                registration.watches.lock().registered = true;
                Ok(registration)
            }
            Err(e) => Err(e),
        }
    }

    fn run(&self) {
        let mut events = Events::new();
        let mut due = Vec::new();
        loop {
            events.clear();
            let timeout = {
                let timers = self.timers.lock();
                timers
                    .first_key_value()
                    .map(|((at, _), _)| at.saturating_duration_since(Instant::now()))
            };
            // An error here is a signal, or a descriptor that was closed meanwhile.
            drop(self.poller.wait(&mut events, timeout));
            for event in events.iter() {
                let registration = self.streams.lock().get(&event.key).and_then(Weak::upgrade);
                if let Some(registration) = registration {
                    registration.on_event(event, &mut due);
                }
                for (tell, side) in due.drain(..) {
                    // Whatever a waker of a foreign executor does, the thread goes on.
                    drop(catch_unwind(AssertUnwindSafe(|| tell.tell(side))));
                }
            }
            self.ring();
        }
    }

    /// Wakes it at that time, once, whatever becomes of who asks for it.
    pub(super) fn wake_at(&self, at: Instant, waker: Waker) {
        let id = self.next_timer.fetch_add(1, Ordering::Relaxed);
        self.set_timer((at, id), waker);
    }

    fn set_timer(&self, timer: (Instant, u64), waker: Waker) {
        let mut timers = self.timers.lock();
        let first = timers.first_key_value();
        let is_first = first.is_none_or(|(first, _)| timer.0 < first.0);
        let before = timers.insert(timer, waker);
        drop(timers);
        // Without the lock: it may be the last that is left of its task.
        drop(before);
        if is_first {
            // It would only fail where the thread never sleeps.
            drop(self.poller.notify());
        }
    }

    /// Wakes those whose time has come.
    fn ring(&self) {
        let mut timers = self.timers.lock();
        if timers.is_empty() {
            return;
        }
        let later = timers.split_off(&(Instant::now(), u64::MAX));
        let due = std::mem::replace(&mut *timers, later);
        drop(timers);
        for waker in due.into_values() {
            drop(catch_unwind(AssertUnwindSafe(|| waker.wake())));
        }
    }
}

/// A time at which a task is woken.
pub(crate) struct Timer {
    reactor: &'static Reactor,
    at: Instant,
    id: Option<u64>,
}

impl Timer {
    pub(crate) fn new(at: Instant) -> io::Result<Timer> {
        Ok(Timer {
            reactor: Reactor::get()?,
            at,
            id: None,
        })
    }

    /// Whether the time has come; else the task is woken when it has.
    pub(crate) fn is_over(&mut self, waker: &Waker) -> bool {
        if Instant::now() >= self.at {
            return true;
        }
        let id = *self
            .id
            .get_or_insert_with(|| self.reactor.next_timer.fetch_add(1, Ordering::Relaxed));
        self.reactor.set_timer((self.at, id), waker.clone());
        false
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let waker = self.reactor.timers.lock().remove(&(self.at, id));
            // Without the lock: it may be the last that is left of its task.
            drop(waker);
        }
    }
}

/// A stream that is watched.
pub(crate) struct Registration {
    reactor: &'static Reactor,
    stream: Arc<Stream>,
    key: usize,
    watches: Mutex<Watches>,
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registration")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Watches {
    registered: bool,
    read: Option<Tell>,
    write: Option<Tell>,
}

impl Registration {
    /// Tells `whom`, once, when the stream can be read or has ended.
    pub(crate) fn on_readable(&self, whom: Weak<dyn Readied>) -> io::Result<()> {
        let mut watches = self.watches.lock();
        watches.read = Some(Tell::Other(whom));
        self.arm(&watches)
    }

    /// Tells `whom`, once, when the stream can be written or has ended.
    pub(crate) fn on_writable(&self, whom: Weak<dyn Readied>) -> io::Result<()> {
        let mut watches = self.watches.lock();
        watches.write = Some(Tell::Other(whom));
        self.arm(&watches)
    }

    /// Waits until the stream is ready as wanted; `TimedOut` when `until` comes first.
    pub(super) async fn ready(&self, want: Want, until: Option<Instant>) -> io::Result<()> {
        let mut timer = until.map(Timer::new).transpose()?;
        let mut armed = false;
        poll_fn(|cx| {
            let is_late = timer
                .as_mut()
                .is_some_and(|timer| timer.is_over(cx.waker()));
            let mut watches = self.watches.lock();
            // Woken by the stream: what was armed was taken.
            let fired = armed
                && ((want.read && watches.read.is_none())
                    || (want.write && watches.write.is_none()));
            if fired {
                return Poll::Ready(Ok(()));
            }
            if is_late {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            let tell = |wanted: bool| wanted.then(|| Tell::Task(cx.waker().clone()));
            let before = (
                std::mem::replace(&mut watches.read, tell(want.read)),
                std::mem::replace(&mut watches.write, tell(want.write)),
            );
            armed = true;
            let is_armed = self.arm(&watches);
            drop(watches);
            // Without the lock: it may be the last that is left of another task.
            drop(before);
            match is_armed {
                Ok(()) => Poll::Pending,
                Err(e) => Poll::Ready(Err(e)),
            }
        })
        .await
    }

    fn arm(&self, watches: &Watches) -> io::Result<()> {
        let event = Event::new(self.key, watches.read.is_some(), watches.write.is_some());
        self.reactor.poller.modify(self.stream.socket()?, event)
    }

    fn on_event(&self, event: Event, due: &mut Vec<(Tell, Side)>) {
        let mut watches = self.watches.lock();
        if event.readable {
            due.extend(watches.read.take().map(|tell| (tell, Side::Read)));
        }
        if event.writable {
            due.extend(watches.write.take().map(|tell| (tell, Side::Write)));
        }
        let more = watches.read.is_some() || watches.write.is_some();
        if more && self.arm(&watches).is_err() {
            // It can't be watched any more: those who wait find out by using it.
            due.extend(watches.read.take().map(|tell| (tell, Side::Read)));
            due.extend(watches.write.take().map(|tell| (tell, Side::Write)));
        }
    }

    /// The stream is not watched any more.
    pub(super) fn end(&self) {
        let mut watches = self.watches.lock();
        if std::mem::take(&mut watches.registered) {
            self.reactor.streams.lock().remove(&self.key);
            if let Ok(socket) = self.stream.socket() {
                drop(self.reactor.poller.delete(socket));
            }
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.end();
    }
}

impl Tell {
    fn tell(self, side: Side) {
        match (self, side) {
            (Tell::Task(waker), _) => waker.wake(),
            (Tell::Other(whom), Side::Read) => drop(whom.upgrade().map(Readied::readable)),
            (Tell::Other(whom), Side::Write) => drop(whom.upgrade().map(Readied::writable)),
        }
    }
}
