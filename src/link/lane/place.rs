//! A caller's side: a place on a lane, the wait for a reply in a thread or as a task, and going away before
//! it is there.

use std::{future::poll_fn, sync::Arc, task::Poll};

use mysql_common::{packets::Column, value::Value};

use super::{
    Answer, Asked, Duty, How, Lane,
    read::{Lead, Led},
    send::Deferred,
};
use crate::{
    error::{Error, LostCause, Ran},
    link::{
        Face,
        reactor::Timer,
        slot::{Heard, Slot, Told},
        sync::{AtomicBool, Ordering},
    },
    proto::{command::execute, pipeline::Reply, result::Rows},
};

/// A place on a lane, for one statement.
#[derive(Debug)]
pub(crate) struct Place {
    lane: Arc<Lane>,
    /// It is given back by who reads.
    is_used: AtomicBool,
}

impl Place {
    /// One more is taken.
    #[inline]
    pub(crate) fn take(lane: &Arc<Lane>) -> Place {
        lane.load.taken.fetch_add(1, Ordering::AcqRel);
        Place {
            lane: lane.clone(),
            is_used: AtomicBool::new(false),
        }
    }

    pub(crate) fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    /// Has the reply of one statement.
    ///
    /// # Errors
    /// Nothing is sent where the packet is too large; else the link's end, with what may have run.
    pub(crate) async fn ask(&self, asked: Asked<'_>, how: &How<'_>) -> Result<Answer, Error> {
        let Some((slot, duty)) = self.begin(asked, how)? else {
            return Ok(Answer::NotHeld);
        };
        match how.face {
            Face::Blocking => self.lane.wait_in_thread(slot, duty, how).await,
            Face::Async => self.lane.wait_as_task(slot, duty, how).await,
        }
    }

    /// As [`Self::ask`], for a thread that takes no parts: it has nothing to be polled for.
    #[inline]
    pub(crate) fn ask_in_thread(&self, asked: Asked<'_>, how: &How<'_>) -> Result<Answer, Error> {
        debug_assert!(how.parts.is_none(), "whose lead would not come back");
        let Some((slot, mut duty)) = self.begin(asked, how)? else {
            return Ok(Answer::NotHeld);
        };
        if duty.flush {
            self.lane.flush();
        }
        loop {
            match self.lane.wait(&slot, &mut duty.lead, how) {
                Waited::Reply(reply) => {
                    slot.keep();
                    return reply.map(Answer::Reply);
                }
                Waited::Part(..) => {}
                Waited::Late => return Ok(Answer::Late),
            }
        }
    }

    /// Asks, and gives what is left to do. `None`: the statement is not held here.
    #[inline]
    fn begin(&self, asked: Asked<'_>, how: &How<'_>) -> Result<Option<(Arc<Slot>, Duty)>, Error> {
        let slot = match how.face {
            Face::Blocking => Slot::of_thread(),
            Face::Async => Slot::of_task(how.parts.is_some()),
        };
        // What takes time is laid out before the lock; the id comes under it.
        let mut payload = match asked {
            Asked::Execute(_, params) if are_large(params) => execute(0, params, usize::MAX).1,
            _ => Vec::new(),
        };
        let Some(duty) = self.lane.submit(asked, &mut payload, &slot, how)? else {
            return Ok(None);
        };
        self.is_used.store(true, Ordering::Relaxed);
        Ok(Some((slot, duty)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !*self.is_used.get_mut() {
            self.lane.load.taken.fetch_sub(1, Ordering::AcqRel);
            self.lane.room();
        }
    }
}

impl Lane {
    async fn wait_in_thread(
        self: &Arc<Self>,
        slot: Arc<Slot>,
        mut duty: Duty,
        how: &How<'_>,
    ) -> Result<Answer, Error> {
        if duty.flush {
            self.flush();
        }
        loop {
            match self.wait(&slot, &mut duty.lead, how) {
                Waited::Reply(reply) => {
                    slot.keep();
                    return reply.map(Answer::Reply);
                }
                Waited::Late => return Ok(Answer::Late),
                Waited::Part(columns, rows) => {
                    // What the caller makes of them may panic.
                    let away = Away(self, &slot);
                    if let Some(parts) = how.parts {
                        parts.put(columns, rows).await;
                    }
                    std::mem::forget(away);
                    duty.lead = self.core.lock().lead.take();
                }
            }
        }
    }

    /// Waits for the reply or for a part of it, and reads for all as long as it leads.
    #[inline]
    fn wait(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        lead: &mut Option<Box<Lead>>,
        how: &How<'_>,
    ) -> Waited {
        loop {
            if let Some(leading) = lead.take() {
                match self.lead(leading, slot, how) {
                    Led::Reply(reply) => return Waited::Reply(reply),
                    Led::Part(columns, rows) => return Waited::Part(columns, rows),
                    Led::Nothing => {}
                }
            }
            match slot.wait(how.deadline) {
                Told::Reply(reply) => return Waited::Reply(reply),
                Told::Lead => *lead = self.core.lock().lead.take(),
                Told::Late => {
                    self.leave(slot);
                    return Waited::Late;
                }
            }
        }
    }

    /// Goes away before the reply is there.
    fn leave(self: &Arc<Self>, slot: &Slot) {
        if slot.give_up() {
            self.pass_on();
        }
    }

    async fn wait_as_task(
        self: &Arc<Self>,
        slot: Arc<Slot>,
        duty: Duty,
        how: &How<'_>,
    ) -> Result<Answer, Error> {
        let waiting = Waiting { lane: self, slot };
        if duty.arm {
            self.arm_read();
        }
        self.look_at_time(duty.look);
        if duty.flush && !duty.soon {
            self.flush();
        } else if duty.flush {
            let flushing = Deferred(self);
            // Tasks that run before this one's next turn ask meanwhile, and go with it.
            let mut again = false;
            poll_fn(|cx| match std::mem::replace(&mut again, true) {
                true => Poll::Ready(()),
                false => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            })
            .await;
            drop(flushing);
        }
        let timer = how.deadline.map(Timer::new).transpose();
        let mut timer = timer.map_err(|e| self.lost(Ran::Maybe, LostCause::Io(Arc::new(e))))?;
        poll_fn(|cx| match waiting.slot.poll(cx) {
            Poll::Ready(Heard::Reply(reply)) => Poll::Ready(reply.map(Answer::Reply)),
            Poll::Ready(Heard::Part(columns, rows)) => {
                // Whoever polls this takes them, and polls again.
                how.parts.inspect(|parts| parts.lay(columns, rows));
                Poll::Pending
            }
            Poll::Pending => match timer.as_mut().is_some_and(|t| t.is_over(cx.waker())) {
                true => Poll::Ready(Ok(Answer::Late)),
                false => Poll::Pending,
            },
        })
        .await
    }
}

/// What a thread waited for.
enum Waited {
    Reply(Result<Reply, Error>),
    Part(Arc<[Column]>, Rows),
    Late,
}

/// A task's wait; when it goes away its reply is thrown away.
struct Waiting<'a> {
    lane: &'a Arc<Lane>,
    slot: Arc<Slot>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.lane.leave(&self.slot);
    }
}

/// A thread that is to come back for the lead.
struct Away<'a>(&'a Arc<Lane>, &'a Slot);

impl Drop for Away<'_> {
    fn drop(&mut self) {
        self.1.give_up();
        self.0.pass_on();
    }
}

/// To lay these parameters out takes more than a moment.
fn are_large(params: &[Value]) -> bool {
    const MANY: usize = 32;
    const LONG: usize = 256;
    let is_long = |value: &Value| matches!(value, Value::Bytes(bytes) if bytes.len() > LONG);
    params.len() > MANY || params.iter().any(is_long)
}
