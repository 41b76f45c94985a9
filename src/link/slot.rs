//! Where one caller of a shared link waits for its reply, or is asked to read for all.

use std::{
    cell::Cell,
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use super::{
    note_waker,
    sync::{Mutex, MutexGuard, Thread, now, thread, thread_local},
};
use crate::{
    error::Error,
    proto::{pipeline::Reply, result::Rows},
};
use mysql_common::packets::Column;

/// One caller's place.
#[derive(Debug)]
pub(crate) struct Slot {
    state: Mutex<State>,
    /// Who waits here in its thread; `None`: a task does.
    thread: Option<Thread>,
    /// The task takes rows of a large result before its end.
    takes_parts: bool,
}

#[derive(Debug, Default)]
struct State {
    /// Rows that come before the reply.
    parts: VecDeque<(Arc<[Column]>, Rows)>,
    reply: Option<Result<Reply, Error>>,
    /// Nobody reads: whoever waits here should.
    lead: bool,
    /// The thread is about to sleep.
    asleep: bool,
    waker: Option<Waker>,
    /// Nobody waits here any more; the reply is thrown away.
    given_up: bool,
}

/// What a waiting task is told.
#[derive(Debug)]
pub(crate) enum Heard {
    Part(Arc<[Column]>, Rows),
    Reply(Result<Reply, Error>),
}

/// What a waiting thread is told.
#[derive(Debug)]
pub(crate) enum Told {
    Reply(Result<Reply, Error>),
    Lead,
    /// The time it had is over.
    Late,
}

thread_local! {
    /// A thread waits in one place at a time, and uses the same one again.
    static MINE: Cell<Option<Arc<Slot>>> = const { Cell::new(None) };
}

impl Slot {
    /// The calling thread's.
    #[inline]
    pub(super) fn of_thread() -> Arc<Slot> {
        let mine = MINE.try_with(Cell::take).ok().flatten();
        mine.unwrap_or_else(|| {
            Arc::new(Slot {
                state: Mutex::default(),
                thread: Some(thread::current()),
                takes_parts: false,
            })
        })
    }

    /// Keeps it for the thread's next wait. Its reply came: nobody will touch it again.
    #[inline]
    pub(super) fn keep(self: Arc<Self>) {
        // The lead may have been offered, and taken by somebody else on the way.
        let mut state = self.state.lock();
        (state.lead, state.asleep) = (false, false);
        drop(state);
        // A thread that ends needs none.
        let _ = MINE.try_with(|mine| mine.set(Some(self)));
    }

    /// A task's.
    pub(super) fn of_task(takes_parts: bool) -> Arc<Slot> {
        Arc::new(Slot {
            state: Mutex::default(),
            thread: None,
            takes_parts,
        })
    }

    pub(super) fn takes_parts(&self) -> bool {
        self.takes_parts
    }

    /// Hands over rows that come before the reply.
    pub(super) fn put(&self, columns: Arc<[Column]>, rows: Rows) {
        let mut state = self.state.lock();
        if !state.given_up {
            state.parts.push_back((columns, rows));
            self.wake(state);
        }
    }

    /// Hands over the reply; gives it back where nobody waits for it.
    pub(super) fn complete(&self, reply: Result<Reply, Error>) -> Option<Result<Reply, Error>> {
        let mut state = self.state.lock();
        if state.given_up {
            return Some(reply);
        }
        state.reply = Some(reply);
        self.wake(state);
        None
    }

    /// Asks a waiting thread to read. `false`: none waits here.
    pub(super) fn offer_lead(&self) -> bool {
        let mut state = self.state.lock();
        if self.thread.is_none() || state.given_up || state.reply.is_some() {
            return false;
        }
        state.lead = true;
        self.wake(state);
        true
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let waker = state.waker.take();
        let asleep = std::mem::take(&mut state.asleep);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        } else if asleep && let Some(thread) = &self.thread {
            thread.unpark();
        }
    }

    /// The reply is here.
    #[inline]
    pub(super) fn is_done(&self) -> bool {
        self.state.lock().reply.is_some()
    }

    /// Nobody will come for the reply. Whether this place was asked to read meanwhile.
    pub(super) fn give_up(&self) -> bool {
        let mut state = self.state.lock();
        state.given_up = true;
        state.reply = None;
        state.parts.clear();
        std::mem::take(&mut state.lead)
    }

    /// Waits in the thread.
    pub(super) fn wait(&self, until: Option<Instant>) -> Told {
        loop {
            let mut state = self.state.lock();
            if let Some(reply) = state.reply.take() {
                return Told::Reply(reply);
            }
            if std::mem::take(&mut state.lead) {
                return Told::Lead;
            }
            state.asleep = true;
            drop(state);
            match until.map(|until| until.saturating_duration_since(now())) {
                None => thread::park(),
                Some(left) if left.is_zero() => return Told::Late,
                Some(left) => thread::park_timeout(left),
            }
        }
    }

    /// Waits as a task.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Heard> {
        let mut state = self.state.lock();
        if let Some((columns, rows)) = state.parts.pop_front() {
            return Poll::Ready(Heard::Part(columns, rows));
        }
        if let Some(reply) = state.reply.take() {
            return Poll::Ready(Heard::Reply(reply));
        }
        let before = note_waker(&mut state.waker, cx);
        drop(state);
        drop(before);
        Poll::Pending
    }
}

// With the system's threads, for Miri too; all orders of them are the model's.
#[cfg(all(test, not(mysql_mux_model)))]
mod tests {
    use std::{task::Wake, time::Duration};

    use bytes::Bytes;

    use super::*;

    fn line(text: &'static str) -> Result<Reply, Error> {
        Ok(Reply::Line(Bytes::from_static(text.as_bytes())))
    }

    fn is_line(told: Told, text: &str) -> bool {
        matches!(told, Told::Reply(Ok(Reply::Line(line))) if line == text)
    }

    #[test]
    fn a_thread_is_woken_by_its_reply() {
        for text in ["one", "two", "three"] {
            let slot = Slot::of_thread();
            let there = slot.clone();
            let other = thread::spawn(move || there.complete(line(text)));
            assert!(is_line(slot.wait(None), text));
            other.join().unwrap();
            slot.keep();
        }
    }

    #[test]
    fn a_thread_uses_its_slot_again() {
        let slot = Slot::of_thread();
        let at = Arc::as_ptr(&slot);
        slot.complete(line("one"));
        assert!(slot.offer_lead() || slot.is_done());
        assert!(is_line(slot.wait(None), "one"));
        slot.keep();
        let slot = Slot::of_thread();
        assert_eq!(Arc::as_ptr(&slot), at);
        assert!(!slot.is_done());
        let soon = now() + Duration::from_millis(1);
        assert!(matches!(slot.wait(Some(soon)), Told::Late));
    }

    #[test]
    fn a_thread_that_waits_is_asked_to_read_and_one_that_left_is_not() {
        let slot = Slot::of_thread();
        let there = slot.clone();
        let other = thread::spawn(move || {
            assert!(there.offer_lead());
            there.complete(line("one"));
        });
        let told = match slot.wait(None) {
            Told::Lead => slot.wait(None),
            told => told,
        };
        assert!(is_line(told, "one"));
        other.join().unwrap();

        let slot = Slot::of_thread();
        assert!(slot.offer_lead());
        assert!(slot.give_up(), "it holds the offer");
        assert!(!slot.offer_lead());
        slot.complete(line("two"));
        assert!(!slot.is_done());
    }

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    #[test]
    fn a_task_is_woken_by_its_reply_and_never_asked_to_read() {
        let slot = Slot::of_task(false);
        assert!(!slot.offer_lead());
        let there = slot.clone();
        let other = thread::spawn(move || there.complete(line("one")));
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            match slot.poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(Heard::Reply(reply)) => {
                    assert!(is_line(Told::Reply(reply), "one"));
                    break;
                }
                Poll::Ready(Heard::Part(..)) => panic!("no part was put"),
                Poll::Pending => thread::park(),
            }
        }
        other.join().unwrap();
    }
}
