//! Reading: one of those who wait reads for all, hands out the replies and passes the lead on.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use mysql_common::{constants::StatusFlags, packets::Column};

use super::{Core, Entry, Flush, How, Lane};
use crate::{
    error::{Error, LostCause, ProtocolError, Ran},
    link::{
        load::Moment,
        reactor::Readied,
        slot::Slot,
        sync::{Ordering, now},
        transport::Limit,
    },
    proto::{
        pipeline::{Event, Fatal, Receiver, Reply},
        result::{Outcome, Rows},
        tracker::{says_only, says_something},
    },
    session::variables::same,
};

/// Reads of the reactor before it looks at other links.
const TURNS: usize = 16;

/// What `limited` sets.
pub(in crate::link) const LIMIT: &[u8] = b"max_statement_time";

/// The right and the means to read.
pub(super) struct Lead {
    pub rx: Box<Receiver>,
    pub due: VecDeque<Entry>,
    /// When the last reply came.
    pub last: Option<(Instant, Moment)>,
    /// A statement changed the session although nothing in its text can: those behind it ran in
    /// another session than theirs.
    pub spoilt: bool,
}

/// Of who reads for all, its own: there is no need to lay that where others would.
struct Own<'a> {
    slot: &'a Arc<Slot>,
    reply: Option<Result<Reply, Error>>,
}

/// What came of reading for all.
pub(super) enum Led {
    Reply(Result<Reply, Error>),
    /// Rows of the own reply, which is not complete.
    Part(Arc<[Column]>, Rows),
    /// The reply is in the slot, or will be.
    Nothing,
}

impl Lane {
    /// Reads for all until the own reply is there, or a part of it, and passes the lead on.
    #[inline]
    pub(super) fn lead(
        self: &Arc<Self>,
        mut lead: Box<Lead>,
        slot: &Arc<Slot>,
        how: &How<'_>,
    ) -> Led {
        let deadline = how.deadline;
        let limit = Limit {
            until: deadline,
            ..self.read_limit
        };
        let mut own = Own { slot, reply: None };
        while own.reply.is_none() && !slot.is_done() {
            match self.wire.read(lead.rx.room(), limit) {
                Ok(0) => {
                    self.ended(lead, LostCause::Closed);
                    return Led::Nothing;
                }
                Ok(_) => {}
                Err(e) if is_late(&e, deadline) => {
                    // Else the lead might be offered to the one who has no time for it.
                    slot.give_up();
                    break;
                }
                Err(e) => {
                    let cause = match (e.kind(), self.read_limit.per_op) {
                        (io::ErrorKind::TimedOut, Some(limit)) => LostCause::Timeout(limit),
                        _ => LostCause::Io(Arc::new(e)),
                    };
                    self.ended(lead, cause);
                    return Led::Nothing;
                }
            }
            if let Err(cause) = self.take_in(&mut lead, Some(&mut own)) {
                self.ended(lead, cause);
                return own.reply.map_or(Led::Nothing, Led::Reply);
            }
            if how.parts.is_some()
                && let Some((columns, rows)) = lead.part_for(slot)
            {
                self.pass(lead, Some(slot));
                return Led::Part(columns, rows);
            }
        }
        self.pass(lead, None);
        own.reply.map_or(Led::Nothing, Led::Reply)
    }

    /// Hands out the replies that are there; who reads keeps its `own`.
    #[inline]
    fn take_in(
        self: &Arc<Self>,
        lead: &mut Lead,
        mut own: Option<&mut Own<'_>>,
    ) -> Result<(), LostCause> {
        lead.learn(&mut self.core.lock());
        let at = now();
        let now = Moment::of(at);
        let mut replies = 0;
        let mut served = 0;
        let owner = self.owner.upgrade();
        let ended = loop {
            match lead.rx.next_event() {
                Ok(Some(Event::Reply(reply))) => {
                    let Some(entry) = lead.due.pop_front() else {
                        break Err(LostCause::Protocol(ProtocolError::new(
                            "one reply too many",
                        )));
                    };
                    replies += 1;
                    // Its turn began when the reply before it came, or when it reached the server.
                    let reached = entry.asked.behind(self.load.rtt());
                    let began = lead.last.map_or(reached, |(_, last)| last.max(reached));
                    let service = now.since(began);
                    lead.last = Some((at, now));
                    served += service;
                    self.load.took(now.since(entry.asked));
                    if let Some(owner) = &owner {
                        owner.took(entry.digest, Duration::from_nanos(service));
                    }
                    let reply = match (lead.spoilt, entry.careful) {
                        (false, _) => Ok(reply),
                        (true, false) => Err(self.lost(Ran::No, LostCause::SessionChanged)),
                        (true, true) => Err(self.lost(Ran::Maybe, LostCause::SessionChanged)),
                    };
                    if let Ok(reply) = &reply {
                        if self.look_at(reply, entry.limited) && !lead.spoilt {
                            lead.spoilt = true;
                            self.changed_by.store(entry.handle, Ordering::Relaxed);
                        }
                        let (id, mariadb) = (self.id, self.server.mariadb);
                        self.owners.answered(reply, &entry, id, mariadb);
                    } else {
                        // It ran all the same.
                        self.owners.forget();
                    }
                    let own = own.as_mut();
                    if let Some(own) = own.filter(|own| Arc::ptr_eq(own.slot, &entry.slot)) {
                        own.reply = Some(reply);
                    } else if let Some(Ok(Reply::Prepared(Ok(made)))) = entry.slot.complete(reply) {
                        // Nobody knows its id.
                        self.core.lock().close(&[made.id]);
                    }
                }
                Ok(Some(Event::Infile(_))) => {
                    let e = "a file is asked for that no statement names";
                    break Err(LostCause::Protocol(ProtocolError::new(e)));
                }
                Ok(None) => break Ok(()),
                Err(Fatal::Protocol(e)) => break Err(LostCause::Protocol(e)),
                Err(Fatal::Server(e)) => break Err(LostCause::Server(e)),
                Err(Fatal::ResultTooLarge { max }) => {
                    if let Some(entry) = lead.due.pop_front() {
                        replies += 1;
                        drop(entry.slot.complete(Err(Error::ResultTooLarge { max })));
                    }
                    break Err(LostCause::Closed);
                }
            }
        };
        if let Some(first) = lead.due.front()
            && first.slot.takes_parts()
            && let Some((columns, rows)) = lead.rx.take_many()
        {
            first.slot.put(columns, rows);
        }
        // Nothing, where no reply came.
        if let Some(each) = served.checked_div(replies) {
            self.load.served(each);
            self.load.begin(now);
            self.load
                .taken
                .fetch_sub(replies as usize, Ordering::AcqRel);
            let mut core = self.core.lock();
            core.answered_count += replies;
            let left = core.sent_count - core.answered_count;
            let flush = core.flush == Flush::Held && left <= self.load.enough();
            if flush {
                // Before the lock goes: somebody whose packet fills the buffer would flush too.
                core.flush = Flush::Active;
            }
            drop(core);
            // Behind the last one the lead is laid down first: only then is the lane at rest.
            if !lead.due.is_empty()
                && let Some(owner) = owner
            {
                owner.room();
            }
            if flush {
                self.flush();
            }
        }
        ended
    }

    /// Notes what the server says of the session, and gives whether it is another now.
    #[inline]
    fn look_at(&self, reply: &Reply, limited: bool) -> bool {
        let Reply::Response(response) = reply else {
            return false;
        };
        if response
            .outcomes
            .any(|outcome| is_remarkable(outcome, limited))
        {
            let mut core = self.core.lock();
            if let Some(half) = &mut core.link {
                let session = &mut half.common.session;
                if session.was_limited && response.outcomes.iter().all(is_limit_over) {
                    return false;
                }
                session.observe(response);
                if !self.one_session
                    && (session.stays().is_some()
                        || session.names_unknown
                        || session.schema != self.schema
                        || !same(&session.vars, &self.vars))
                {
                    // What of it can be told is told by itself.
                    session.changed |= session.pin().is_none() || session.schema != self.schema;
                    self.tainted.store(true, Ordering::Relaxed);
                    return true;
                }
            }
        }
        false
    }

    /// Gives the lead to the next thread that waits, to the reactor where only tasks do, or lays it
    /// down. Who is `away` comes back for it.
    #[inline]
    fn pass(self: &Arc<Self>, mut lead: Box<Lead>, away: Option<&Arc<Slot>>) {
        let mut core = self.core.lock();
        lead.learn(&mut core);
        if core.link.is_none() {
            return self.fail(core, Some(lead), LostCause::Closed);
        }
        let at_rest = lead.due.is_empty();
        let is_offered = at_rest || lead.is_offered(away);
        core.lead = Some(lead);
        let arm = !is_offered && !core.armed;
        core.armed |= arm;
        let look = self.watch_reads(&mut core, !is_offered);
        drop(core);
        if arm {
            self.arm_read();
        }
        self.look_at_time(look);
        if at_rest {
            self.room();
        }
    }

    /// Passes the lead where nobody has it.
    pub(super) fn pass_on(self: &Arc<Self>) {
        let lead = self.core.lock().lead.take();
        if let Some(lead) = lead {
            self.pass(lead, None);
        }
    }

    pub(super) fn arm_read(self: &Arc<Self>) {
        let me = Arc::downgrade(self);
        if let Err(e) = self.wire.registration().and_then(|r| r.on_readable(me)) {
            self.fail(self.core.lock(), None, LostCause::Io(Arc::new(e)));
        }
    }

    /// Who reads found the end.
    fn ended(self: &Arc<Self>, lead: Box<Lead>, cause: LostCause) {
        self.fail(self.core.lock(), Some(lead), cause);
    }
}

impl Lead {
    /// Learns what was asked meanwhile.
    #[inline]
    pub(super) fn learn(&mut self, core: &mut Core) {
        while let Some(entry) = core.asked.pop_front() {
            self.add(entry);
        }
    }

    /// Somebody who waits will take it, or nobody but who is `away` waits.
    fn is_offered(&self, away: Option<&Arc<Slot>>) -> bool {
        let mut waiting = self
            .due
            .iter()
            .rev()
            .filter(|entry| away.is_none_or(|slot| !Arc::ptr_eq(slot, &entry.slot)))
            .peekable();
        waiting.peek().is_none() || waiting.any(|entry| entry.slot.offer_lead())
    }

    #[inline]
    pub(super) fn add(&mut self, entry: Entry) {
        self.rx.expect(entry.due);
        self.due.push_back(entry);
    }

    /// Rows for whoever waits in `slot`, where its response is the one at hand.
    fn part_for(&mut self, slot: &Arc<Slot>) -> Option<(Arc<[Column]>, Rows)> {
        let first = self.due.front()?;
        match Arc::ptr_eq(&first.slot, slot) {
            true => self.rx.take_many(),
            false => None,
        }
    }
}

impl Readied for Lane {
    fn readable(self: Arc<Self>) {
        let mut core = self.core.lock();
        core.armed = false;
        // A thread reads: it hands the lead on if it must.
        let Some(mut lead) = core.lead.take() else {
            return;
        };
        drop(core);
        // Others wait for the thread, too.
        for _turn in 0..TURNS {
            let buffer = lead.rx.room();
            let room = buffer.capacity() - buffer.len();
            match self.wire.try_read(buffer) {
                Ok(0) => return self.ended(lead, LostCause::Closed),
                Ok(read) => {
                    if let Err(cause) = self.take_in(&mut lead, None) {
                        return self.ended(lead, cause);
                    }
                    // There was room for more than there was.
                    if read < room {
                        break;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return self.ended(lead, LostCause::Io(Arc::new(e))),
            }
        }
        self.pass(lead, None);
    }

    fn writable(self: Arc<Self>) {
        let mut raw = std::mem::take(&mut self.core.lock().unsent);
        let sent = self.send(&mut raw);
        if sent.is_ok() && raw.is_empty() {
            return self.flush();
        }
        self.unsent(self.core.lock(), raw, sent);
    }
}

/// Nothing in it says more than that the limit of a statement before it is over.
fn is_limit_over(outcome: &Outcome) -> bool {
    outcome.ok().is_some_and(|ok| says_only(&ok.changes, LIMIT))
}

/// Something in it says more than that the statement is done.
#[inline]
fn is_remarkable(outcome: &Outcome, limited: bool) -> bool {
    let Some(ok) = outcome.ok() else {
        return false;
    };
    const USUAL: StatusFlags = StatusFlags::SERVER_STATUS_AUTOCOMMIT;
    let transactions = ok.status & (USUAL | StatusFlags::SERVER_STATUS_IN_TRANS);
    transactions != USUAL || says_something(&ok.changes, limited.then_some(LIMIT))
}

fn is_late(e: &io::Error, deadline: Option<Instant>) -> bool {
    e.kind() == io::ErrorKind::TimedOut && deadline.is_some_and(|at| now() >= at)
}
