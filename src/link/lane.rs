//! A link that many callers use at once: what they ask is queued and flushed together, and one of
//! those who wait reads for all.
//!
//! - Whoever asks while nobody flushes flushes for everybody who asks meanwhile. While the server has
//!   enough to do for longer than the way to it takes, what is asked waits, and who reads sends it
//!   all at once before the server runs dry.
//! - Who has the [`Lead`] reads. A thread that asks takes it where it lies, reads until its own reply
//!   is there, and passes it on to the next thread that waits, or to the reactor where only tasks do.
//! - The lock is held for moments, never while the transport is read or written.
//!
//! Only for statements that neither need nor change the session. Knows nothing of who may use it.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    sync::{Arc, Weak},
    task::Poll,
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use mysql_common::{constants::StatusFlags, packets::Column, value::Value};

use super::{
    Common, Face, KEEP_BUFFER, Link, MANY, NOBODY, Parts, Prepared, Stream,
    load::{Load, Moment},
    reactor::{Readied, Timer},
    slot::{Heard, Slot, Told},
    sync::{AtomicBool, AtomicU64, DEFER_BYTES, Mutex, MutexGuard, Ordering, now},
    transport::{Idle, Limit, Wire},
};
use crate::{
    error::{Error, LostCause, ProtocolError, Ran},
    proto::{
        command::{Command, execute},
        handshake::ServerInfo,
        pipeline::{Due, Event, Fatal, Pipeline, PrepareOk, Receiver, Reply, Sender},
        result::{Outcome, Response, Rows},
        tracker::{gtids, says_only, says_something},
    },
    session::{
        InsertId,
        variables::{Shared, of_text, same},
    },
};

/// A task that asks waits with the flush until others have asked too, but not behind one that
/// began to wait longer ago than this.
const DEFER: Duration = Duration::from_micros(100);

/// An id that is not known. No table gives it.
const UNKNOWN: u64 = u64::MAX;

/// Who placed callers on the lane.
pub(crate) trait Owner: Send + Sync {
    /// Replies came: there is room.
    fn room(&self);
    /// A statement took that long on the server, as far as can be told from here.
    fn took(&self, digest: u64, time: Duration);
    /// The lane came to its end.
    /// `pinned`: with session state that was set.
    fn lost(&self, lane: &Arc<Lane>, pinned: bool);
}

/// What a caller asks of a lane.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asked<'a> {
    Query(&'a [u8]),
    Prepare(&'a [u8]),
    /// A statement that the lane's server holds; see [`Lane::holds`].
    Execute(&'a Arc<Prepared>, &'a [Value]),
}

/// How somebody asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How<'a> {
    pub face: Face,
    /// When.
    pub asked: Instant,
    /// Where the caller takes rows of a large result that is still being read.
    pub parts: Option<&'a Parts>,
    pub digest: u64,
    /// Bytes that the response may take.
    pub max_result: usize,
    pub deadline: Option<Instant>,
    /// Who asks.
    pub handle: u64,
    /// Where its `LAST_INSERT_ID()` is.
    pub insert_id: InsertId,
    /// It is the first statement of who asks.
    pub is_first: bool,
    /// It has MariaDB's `SET STATEMENT max_statement_time` around it, which is reported though it is
    /// gone behind it.
    pub limited: bool,
    /// Running it twice would be wrong: the link is looked at before it is used after a rest.
    pub careful: bool,
    /// `FOUND_ROWS()` counts its rows.
    pub is_query: bool,
    /// Held while it may run, whether anybody waits for it or not.
    pub under_way: Option<&'a Arc<()>>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Answer {
    Reply(Reply),
    /// The statement must be prepared here first; the place was not used.
    NotHeld,
    /// The deadline passed; the reply, when it comes, is thrown away.
    Late,
}

/// A shared link.
pub(crate) struct Lane {
    pub id: u32,
    pub server: Arc<ServerInfo>,
    /// The server and transport, for errors.
    name: Arc<str>,
    /// The schema that its session is in.
    pub schema: Option<Arc<str>>,
    /// The variables that it has set.
    pub vars: Shared,
    /// Those of them that texts are read with.
    text_vars: Shared,
    /// The user variables that stand there.
    pub user_variables: Shared,
    pub load: Load,
    /// The server told of a session that changed although nothing that could do it was asked.
    tainted: AtomicBool,
    /// The handle whose statement did so.
    changed_by: AtomicU64,
    one_session: bool,
    /// The only handle that used the session since it began, 0 for none, [`MANY`] for several.
    user: AtomicU64,
    /// The handle that asked last.
    last: AtomicU64,
    /// The handle whose `LAST_INSERT_ID()` this is.
    insert_id_of: AtomicU64,
    /// What it is, if that is known.
    insert_id_known: AtomicU64,
    /// The handle whose `FOUND_ROWS()` this is.
    rows_of: AtomicU64,
    /// The handle whose warnings these are.
    warnings_of: AtomicU64,
    wire: Arc<Wire>,
    core: Mutex<Core>,
    owner: Weak<dyn Owner>,
    read_limit: Limit,
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane")
            .field("id", &self.id)
            .field("load", &self.load)
            .finish_non_exhaustive()
    }
}

struct Core {
    /// `None`: the lane is over, its link went to somebody else or is lost.
    link: Option<Half>,
    /// Where nobody reads.
    lead: Option<Box<Lead>>,
    /// Asked, and not yet known to who reads.
    asked: VecDeque<Entry>,
    flush: Flush,
    /// A buffer to change places with the sender's.
    spare: BytesMut,
    /// What the transport did not take; the reactor sends it on.
    unsent: BytesMut,
    /// Plain bytes that were made, and of them those that may have been sent.
    made: u64,
    gone: u64,
    /// Statements that were asked since it is shared; of these what was sent, and answered.
    asked_count: u64,
    sent_count: u64,
    answered_count: u64,
    /// The reactor was asked to read.
    armed: bool,
    cause: Option<LostCause>,
}

/// A link without the half that reads.
struct Half {
    common: Box<Common>,
    tx: Box<Sender>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Flush {
    Idle,
    /// Who reads is going to, when the server has little left to do.
    Held,
    /// A task is going to, since then.
    Deferred(Instant),
    Active,
}

/// The right and the means to read.
struct Lead {
    rx: Box<Receiver>,
    due: VecDeque<Entry>,
    /// When the last reply came.
    last: Option<(Instant, Moment)>,
    /// A statement changed the session although nothing in its text can: those behind it ran in
    /// another session than theirs.
    spoilt: bool,
}

/// A statement on its way.
struct Entry {
    slot: Arc<Slot>,
    due: Due,
    digest: u64,
    asked: Moment,
    /// Plain bytes made up to its end.
    end: u64,
    /// Running it twice would be wrong.
    careful: bool,
    is_query: bool,
    handle: u64,
    insert_id: InsertId,
    is_first: bool,
    limited: bool,
    _under_way: Option<Arc<()>>,
}

/// What whoever asked has to do for all.
struct Duty {
    flush: bool,
    /// Not at once: others may ask first.
    soon: bool,
    lead: Option<Box<Lead>>,
    arm: bool,
}

/// Of who reads for all, its own: there is no need to lay that where others would.
struct Own<'a> {
    slot: &'a Arc<Slot>,
    reply: Option<Result<Reply, Error>>,
}

/// What came of reading for all.
enum Led {
    Reply(Result<Reply, Error>),
    /// Rows of the own reply, which is not complete.
    Part(Arc<[Column]>, Rows),
    /// The reply is in the slot, or will be.
    Nothing,
}

/// What a thread waited for.
enum Waited {
    Reply(Result<Reply, Error>),
    Part(Arc<[Column]>, Rows),
    Late,
}

impl Lane {
    /// Makes a link one for many. It must be at rest, its session as it begins.
    ///
    /// `one_session`: those who share it share its session too, and what becomes of that is theirs.
    pub(crate) fn share(link: Link, owner: Weak<dyn Owner>, one_session: bool) -> Arc<Lane> {
        let Link {
            mut common,
            pipeline,
            ..
        } = link;
        // Those of many are not looked at.
        common.session.gtid_of = MANY;
        let Pipeline { tx, rx, .. } = pipeline;
        Arc::new(Lane {
            id: common.id,
            server: common.server.clone(),
            name: common.name.clone(),
            schema: common.session.schema.clone(),
            vars: common.session.vars.clone(),
            text_vars: of_text(&common.session.vars),
            user_variables: common.session.user.clone(),
            load: Load::new(),
            one_session,
            user: AtomicU64::new(common.session.owner),
            last: AtomicU64::new(common.session.last),
            insert_id_of: AtomicU64::new(common.session.insert_id_of),
            insert_id_known: AtomicU64::new(common.session.insert_id_known.unwrap_or(UNKNOWN)),
            rows_of: AtomicU64::new(common.session.rows_of),
            warnings_of: AtomicU64::new(common.session.warnings_of),
            tainted: AtomicBool::new(false),
            changed_by: AtomicU64::new(0),
            wire: common.wire.clone(),
            read_limit: Limit::each(common.target.socket.read_timeout),
            core: Mutex::new(Core {
                link: Some(Half { common, tx }),
                lead: Some(Box::new(Lead {
                    rx,
                    due: VecDeque::new(),
                    last: None,
                    spoilt: false,
                })),
                asked: VecDeque::new(),
                flush: Flush::Idle,
                spare: BytesMut::new(),
                unsent: BytesMut::new(),
                made: 0,
                gone: 0,
                asked_count: 0,
                sent_count: 0,
                answered_count: 0,
                armed: false,
                cause: None,
            }),
            owner,
        })
    }

    /// Makes it one caller's again. `None`: somebody uses it. The owner makes sure that no place is
    /// given meanwhile.
    pub(crate) fn take_back(&self) -> Option<Link> {
        let mut core = self.core.lock();
        let at_rest = self.load.taken.load(Ordering::Acquire) == 0
            && core.flush == Flush::Idle
            && core.all_answered();
        if !at_rest {
            return None;
        }
        let Half { mut common, tx } = core.link.take()?;
        let lead = core.lead.take()?;
        if !self.one_session {
            common.session.owner = self.user.load(Ordering::Relaxed);
        }
        common.session.last = self.last.load(Ordering::Relaxed);
        common.session.insert_id_of = self.insert_id_of.load(Ordering::Relaxed);
        let known = self.insert_id_known.load(Ordering::Relaxed);
        common.session.insert_id_known = (known != UNKNOWN).then_some(known);
        common.session.rows_of = self.rows_of.load(Ordering::Relaxed);
        common.session.warnings_of = self.warnings_of.load(Ordering::Relaxed);
        common.used = lead.last.map_or(common.used, |(at, _)| at);
        common.count_bytes();
        Some(Link::join(common, Pipeline::join(tx, lead.rx)))
    }

    pub(crate) fn stream(&self) -> &Arc<Stream> {
        self.wire.stream()
    }

    /// Its session changed, or it is over: no place should be given any more.
    pub(crate) fn is_tainted(&self) -> bool {
        self.tainted.load(Ordering::Relaxed)
    }

    /// This handle's statement changed the session.
    pub(crate) fn was_changed_by(&self, handle: u64) -> bool {
        self.changed_by.load(Ordering::Relaxed) == handle
    }

    /// When it was last used and when it was opened, while it is there.
    pub(crate) fn times(&self) -> Option<(Instant, Instant)> {
        let mut core = self.core.lock();
        let common = &mut core.link.as_mut()?.common;
        common.count_bytes();
        let (used, opened) = (common.used, common.opened);
        let last = core.lead.as_ref().and_then(|lead| lead.last);
        Some((last.map_or(used, |(at, _)| at), opened))
    }

    /// Appends the command, and says what else the caller has to do. `None`: the statement is not
    /// held here, and nothing was appended.
    fn submit(
        self: &Arc<Self>,
        asked: Asked<'_>,
        payload: &mut [u8],
        slot: &Arc<Slot>,
        how: &How<'_>,
    ) -> Result<Option<Duty>, Error> {
        let now = how.asked;
        let moment = Moment::of(now);
        let mut guard = self.core.lock();
        let core = &mut *guard;
        let first = core.all_answered();
        let Some(Half { common, tx }) = &mut core.link else {
            let cause = core.cause.clone().unwrap_or(LostCause::Closed);
            drop(guard);
            return Err(self.lost(Ran::No, cause));
        };
        if self.is_tainted() {
            drop(guard);
            return Err(self.lost(Ran::No, LostCause::SessionChanged));
        }
        if first
            && how.careful
            && let Some(lead) = &mut core.lead
            && (!lead.rx.is_quiet() || self.wire.check_idle(lead.rx.buffer()) != Idle::Quiet)
        {
            self.fail(guard, None, LostCause::Closed);
            return Err(self.lost(Ran::No, LostCause::Closed));
        }
        let had = tx.out().len();
        let due = match asked {
            Asked::Query(sql) => {
                common.counters.statements.fetch_add(1, Ordering::Relaxed);
                tx.push(Command::Query(sql), how.max_result)
            }
            Asked::Prepare(sql) => {
                common.counters.prepares.fetch_add(1, Ordering::Relaxed);
                tx.push(Command::Prepare(sql), how.max_result)
            }
            Asked::Execute(statement, params) => {
                let Some(id) = common.statements.id(statement, &self.text_vars) else {
                    return Ok(None);
                };
                common.counters.statements.fetch_add(1, Ordering::Relaxed);
                match payload.get_mut(1..5) {
                    Some(at) => {
                        at.copy_from_slice(&id.to_le_bytes());
                        tx.push(Command::Execute(payload), how.max_result)
                    }
                    None => tx.push_execute(id, params, how.max_result),
                }
            }
        };
        let Some(due) = due? else {
            unreachable!("every command that can be asked has a reply")
        };
        common.session.was_limited |= how.limited;
        core.made += (tx.out().len() - had) as u64;
        core.asked_count += 1;
        let entry = Entry {
            slot: slot.clone(),
            due,
            digest: how.digest,
            asked: moment,
            end: core.made,
            careful: how.careful,
            is_query: how.is_query,
            handle: how.handle,
            insert_id: how.insert_id,
            is_first: how.is_first,
            limited: how.limited,
            _under_way: how.under_way.cloned(),
        };
        if first {
            self.load.begin(moment);
        }
        let last = self.last.load(Ordering::Relaxed);
        let last = last_behind(last, how.handle, matches!(asked, Asked::Prepare(_)));
        self.last.store(last, Ordering::Relaxed);
        // Under the lock: no need to compare and swap.
        match self.user.load(Ordering::Relaxed) {
            0 => self.user.store(how.handle, Ordering::Relaxed),
            user if user == how.handle => {}
            _ => self.user.store(MANY, Ordering::Relaxed),
        }
        let full = tx.out().len() > DEFER_BYTES;
        let busy = core.sent_count - core.answered_count > self.load.enough();
        let (flush, state) = match (core.flush, how.face) {
            (Flush::Idle, _) if busy && !full => (false, Flush::Held),
            (Flush::Held, _) if full => (true, Flush::Active),
            (state @ (Flush::Held | Flush::Active), _) => (false, state),
            (Flush::Idle, Face::Async) => (true, Flush::Deferred(now)),
            // Whoever is polled first flushes: the others may not be polled for long.
            (state @ Flush::Deferred(since), Face::Async) if !full && now - since <= DEFER => {
                (true, state)
            }
            (Flush::Idle | Flush::Deferred(_), _) => (true, Flush::Active),
        };
        core.flush = state;
        let lead = match (how.face, core.lead.take()) {
            // Who reads knows of it at once.
            (Face::Blocking, Some(mut lead)) => {
                lead.learn(core);
                lead.add(entry);
                Some(lead)
            }
            (_, lead) => {
                core.lead = lead;
                core.asked.push_back(entry);
                None
            }
        };
        let arm = how.face == Face::Async && core.lead.is_some() && !core.armed;
        core.armed |= arm;
        let soon = matches!(state, Flush::Deferred(_));
        Ok(Some(Duty {
            flush,
            soon,
            lead,
            arm,
        }))
    }

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

    /// Sends what a task was going to, should it not be gone on with.
    pub(crate) fn send_deferred(self: &Arc<Self>) {
        drop(Deferred(self));
    }

    /// Sends what is asked, until nothing is left or the transport takes no more.
    fn flush(self: &Arc<Self>) {
        let mut core = self.core.lock();
        if core.flush == Flush::Idle {
            return;
        }
        core.flush = Flush::Active;
        loop {
            let now = &mut *core;
            let Some(Half { common, tx }) = now.link.as_mut().filter(|h| !h.tx.is_empty()) else {
                now.flush = Flush::Idle;
                let at_rest = now.all_answered();
                drop(core);
                if at_rest {
                    self.room();
                }
                return;
            };
            common.counters.writes.fetch_add(1, Ordering::Relaxed);
            let mut plain = std::mem::replace(tx.out(), std::mem::take(&mut now.spare));
            let mut raw = std::mem::take(&mut now.unsent);
            now.gone = now.made;
            now.sent_count = now.asked_count;
            drop(core);
            let sent = self
                .wire
                .seal(&mut plain, &mut raw)
                .and_then(|()| self.send(&mut raw));
            core = self.core.lock();
            if sent.is_ok() && raw.is_empty() {
                // Whichever buffer has room is used again; what one large packet took is not kept.
                raw.clear();
                if raw.capacity() > KEEP_BUFFER {
                    raw = BytesMut::new();
                }
                if plain.capacity() > raw.capacity() {
                    std::mem::swap(&mut plain, &mut raw);
                }
                core.spare = raw;
                if core.sent_count - core.answered_count > self.load.enough()
                    && core.asked_count > core.sent_count
                {
                    core.flush = Flush::Held;
                    return;
                }
                continue;
            }
            return self.unsent(core, raw, sent);
        }
    }

    /// Sends until the transport takes no more.
    fn send(&self, raw: &mut BytesMut) -> io::Result<()> {
        while !raw.is_empty() {
            match self.wire.try_send(raw, Limit::default()) {
                Ok(sent) if sent == raw.len() => raw.clear(),
                Ok(sent) => raw.advance(sent),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Some bytes were not taken: the reactor goes on when there is room, or this is the end.
    fn unsent<'a>(
        self: &'a Arc<Self>,
        mut core: MutexGuard<'a, Core>,
        raw: BytesMut,
        sent: io::Result<()>,
    ) {
        let failed = match sent {
            Ok(()) => {
                core.unsent = raw;
                drop(core);
                let me = Arc::downgrade(self);
                let armed = self.wire.registration().and_then(|r| r.on_writable(me));
                match armed {
                    Ok(()) => return,
                    Err(e) => {
                        core = self.core.lock();
                        e
                    }
                }
            }
            Err(e) => {
                // Sealed bytes are longer: what of them is unsent says nothing exact.
                if self.wire.is_plain() {
                    core.gone = core.gone.saturating_sub(raw.len() as u64);
                }
                e
            }
        };
        self.fail(core, None, LostCause::Io(Arc::new(failed)));
    }

    /// Reads for all until the own reply is there, or a part of it, and passes the lead on.
    fn lead(self: &Arc<Self>, mut lead: Box<Lead>, slot: &Arc<Slot>, how: &How<'_>) -> Led {
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
                        self.note_owners(reply, &entry);
                    } else {
                        // It ran all the same.
                        for owner in [&self.insert_id_of, &self.rows_of, &self.warnings_of] {
                            owner.store(MANY, Ordering::Relaxed);
                        }
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

    /// Whose `LAST_INSERT_ID()` and `FOUND_ROWS()` these are from here on. An id that is told may be
    /// one that the statement named, and leaves what was there.
    fn note_owners(&self, reply: &Reply, entry: &Entry) {
        let Reply::Response(response) = reply else {
            if let Reply::Prepared(Err(_)) = reply {
                self.warnings_of.store(entry.handle, Ordering::Relaxed);
                // Unless a statement was sent behind it.
                let (last, relaxed) = (&self.last, Ordering::Relaxed);
                let _ = last.compare_exchange(NOBODY, entry.handle, relaxed, relaxed);
            }
            return;
        };
        if let Some(Outcome::Set(_)) = response.outcomes.back()
            && entry.is_query
        {
            self.rows_of.store(entry.handle, Ordering::Relaxed);
        } else if self.rows_of.load(Ordering::Relaxed) != entry.handle {
            // `INSERT … SELECT` counts rows, too.
            self.rows_of.store(MANY, Ordering::Relaxed);
        }
        let warnings = self.warnings_of.load(Ordering::Relaxed);
        let theirs = warnings != NOBODY && warnings != entry.handle;
        let is_new = entry.careful || !self.server.mariadb || has_warnings(response, theirs);
        if is_new || warnings == NOBODY && entry.is_first {
            self.warnings_of.store(entry.handle, Ordering::Relaxed);
        } else if theirs {
            // One that uses tables clears them.
            self.warnings_of.store(MANY, Ordering::Relaxed);
        }
        if leaves_insert_id(response, entry.careful) {
            let (owner, known) = (
                self.insert_id_of.load(Ordering::Relaxed),
                self.insert_id_known.swap(UNKNOWN, Ordering::Relaxed),
            );
            let was_its = match entry.insert_id {
                InsertId::Known(0) if owner == 0 => true,
                InsertId::Known(id) => owner == entry.handle && known == id,
                InsertId::OnLink(link) => owner == entry.handle && link == self.id,
                InsertId::Lost => false,
            };
            let owner = if was_its { entry.handle } else { MANY };
            self.insert_id_of.store(owner, Ordering::Relaxed);
        }
    }

    /// The warnings are this handle's.
    pub(crate) fn has_warnings_of(&self, handle: u64) -> bool {
        self.warnings_of.load(Ordering::Relaxed) == handle
    }

    /// `LAST_INSERT_ID()` is this handle's.
    pub(crate) fn has_insert_id_of(&self, handle: u64) -> bool {
        self.insert_id_of.load(Ordering::Relaxed) == handle
    }

    /// Gives the lead to the next thread that waits, to the reactor where only tasks do, or lays it
    /// down. Who is `away` comes back for it.
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
        drop(core);
        if arm {
            self.arm_read();
        }
        if at_rest {
            self.room();
        }
    }

    /// Passes the lead where nobody has it.
    fn pass_on(self: &Arc<Self>) {
        let lead = self.core.lock().lead.take();
        if let Some(lead) = lead {
            self.pass(lead, None);
        }
    }

    /// The owner may have waited for a place, or for the lane to be at rest.
    fn room(&self) {
        if let Some(owner) = self.owner.upgrade() {
            owner.room();
        }
    }

    fn arm_read(self: &Arc<Self>) {
        let me = Arc::downgrade(self);
        if let Err(e) = self.wire.registration().and_then(|r| r.on_readable(me)) {
            self.fail(self.core.lock(), None, LostCause::Io(Arc::new(e)));
        }
    }

    /// Who reads found the end.
    fn ended(self: &Arc<Self>, lead: Box<Lead>, cause: LostCause) {
        self.fail(self.core.lock(), Some(lead), cause);
    }

    /// The end: everyone who waits is told what may have run.
    fn fail(
        self: &Arc<Self>,
        mut core: MutexGuard<'_, Core>,
        lead: Option<Box<Lead>>,
        cause: LostCause,
    ) {
        self.tainted.store(true, Ordering::Relaxed);
        // Whoever reads at the moment finds out and tells those that it knows of.
        self.wire.stream().shutdown();
        let first = core.link.take();
        let cause = core.cause.get_or_insert(cause).clone();
        let gone = core.gone;
        let lead = lead.or_else(|| core.lead.take());
        let mut dropped = lead.map(|lead| lead.due).unwrap_or_default();
        dropped.extend(core.asked.drain(..));
        drop(core);
        let count = dropped.len();
        for entry in dropped {
            let ran = if entry.end > gone {
                Ran::No
            } else {
                Ran::Maybe
            };
            drop(entry.slot.complete(Err(self.lost(ran, cause.clone()))));
        }
        self.load.taken.fetch_sub(count, Ordering::AcqRel);
        if let Some(owner) = self.owner.upgrade() {
            if let Some(Half { mut common, .. }) = first {
                common.count_bytes();
                owner.lost(self, common.session.pin().is_some());
            }
            owner.room();
        }
    }

    fn lost(&self, ran: Ran, cause: LostCause) -> Error {
        crate::error::ConnectionLost {
            server: self.name.clone(),
            connection_id: self.server.connection_id,
            attempted: "a statement",
            ran,
            cause,
        }
        .into()
    }

    /// A statement that the server holds for this lane.
    pub(crate) fn holds(&self, sql: &[u8]) -> Option<Arc<Prepared>> {
        let mut core = self.core.lock();
        let common = &mut core.link.as_mut()?.common;
        common.statements.find(sql, (&self.schema, &self.text_vars))
    }

    /// Remembers what a [`Asked::Prepare`] made. What is over the cache's capacity is closed.
    pub(crate) fn hold(
        &self,
        made: PrepareOk,
        sql: &[u8],
        known: Option<&Arc<Prepared>>,
        capacity: usize,
    ) -> Arc<Prepared> {
        let id = made.id;
        let statement = match known {
            Some(known) => known.clone(),
            None => Arc::new(Prepared::new(
                sql,
                made,
                (self.schema.clone(), self.text_vars.clone()),
            )),
        };
        let mut core = self.core.lock();
        if let Some(Half { common, .. }) = &mut core.link {
            common.statements.set_capacity(capacity);
            let vars = self.text_vars.clone();
            let over = common.statements.add(id, statement.clone(), vars);
            core.close(&over);
        }
        statement
    }
}

impl Core {
    /// Nobody reads, and nothing that was asked is without its reply.
    fn all_answered(&self) -> bool {
        self.asked.is_empty() && self.lead.as_ref().is_some_and(|lead| lead.due.is_empty())
    }

    /// Has the server forget statements. That has no reply, and goes with whatever is asked next.
    fn close(&mut self, ids: &[u32]) {
        let Some(Half { tx, .. }) = &mut self.link else {
            return;
        };
        let had = tx.out().len();
        for &id in ids {
            // Nine bytes always fit.
            drop(tx.push(Command::CloseStmt(id), usize::MAX));
        }
        self.made += (tx.out().len() - had) as u64;
    }
}

/// A place on a lane, for one statement.
#[derive(Debug)]
pub(crate) struct Place {
    lane: Arc<Lane>,
    /// It is given back by who reads.
    is_used: AtomicBool,
}

impl Place {
    /// One more is taken.
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

impl Lead {
    /// Learns what was asked meanwhile.
    fn learn(&mut self, core: &mut Core) {
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

    fn add(&mut self, entry: Entry) {
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
        loop {
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

/// A flush that is owed, even by a task that goes away.
struct Deferred<'a>(&'a Arc<Lane>);

impl Drop for Deferred<'_> {
    fn drop(&mut self) {
        let mut core = self.0.core.lock();
        // Somebody else may have done it, or be doing it.
        if let Flush::Deferred(_) = core.flush {
            core.flush = Flush::Active;
            drop(core);
            self.0.flush();
        }
    }
}

/// Nothing in it says more than that the limit of a statement before it is over.
fn is_limit_over(outcome: &Outcome) -> bool {
    outcome.ok().is_some_and(|ok| says_only(&ok.changes, LIMIT))
}

/// What `limited` sets.
pub(super) const LIMIT: &[u8] = b"max_statement_time";

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

/// To lay these parameters out takes more than a moment.
fn are_large(params: &[Value]) -> bool {
    const MANY: usize = 32;
    const LONG: usize = 256;
    let is_long = |value: &Value| matches!(value, Value::Bytes(bytes) if bytes.len() > LONG);
    params.len() > MANY || params.iter().any(is_long)
}

fn is_late(e: &io::Error, deadline: Option<Instant>) -> bool {
    e.kind() == io::ErrorKind::TimedOut && deadline.is_some_and(|at| now() >= at)
}

/// Whether a statement with this response left warnings or an error of its own.
///
/// `theirs`: there were another handle's warnings. On MariaDB a statement that uses no tables leaves
/// them, and tells how many they are.
pub(crate) fn has_warnings(response: &Response, theirs: bool) -> bool {
    response.outcomes.any(|outcome| {
        let ok = outcome.ok();
        ok.is_none_or(|ok| ok.warnings > 0 && !theirs)
    })
}

/// Whose `ROW_COUNT()` it is behind a handle's statement, where it was `last`'s: one that is only
/// prepared leaves it as it was.
pub(crate) fn last_behind(last: u64, handle: u64, prepares: bool) -> u64 {
    match prepares && last != handle {
        true => NOBODY,
        false => handle,
    }
}

/// Whether a neutral statement with this response may have changed `LAST_INSERT_ID()`: the id that
/// is told may be one that the statement named, and after an error nobody knows.
pub(crate) fn leaves_insert_id(response: &Response, writes: bool) -> bool {
    response.outcomes.any(|outcome| match outcome {
        Outcome::Ok(ok) => ok.last_insert_id != 0,
        // `INSERT … RETURNING` doesn't tell.
        Outcome::Set(_) => writes,
        Outcome::Err(_) => writes,
    })
}

/// The GTIDs that the server reports of the last transaction in it.
pub(crate) fn gtids_of(response: &Response) -> Option<&[u8]> {
    let mut last_first = response.outcomes.iter().rev();
    last_first.find_map(|outcome| gtids(&outcome.ok()?.changes))
}
