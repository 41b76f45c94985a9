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

mod owners;
mod place;
mod read;
mod send;
mod watch;

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use mysql_common::value::Value;

pub(super) use self::read::LIMIT;
use self::{owners::Owners, read::Lead, watch::Watch};
pub(crate) use self::{
    owners::{has_warnings, last_behind, leaves_insert_id},
    place::Place,
};
use super::{
    Common, Face, Link, MANY, Parts, Prepared, Stream,
    load::{Load, Moment},
    session::Session,
    slot::Slot,
    sync::{AtomicBool, AtomicU64, DEFER_BYTES, Mutex, MutexGuard, Ordering},
    transport::{Idle, Limit, Wire},
};
use crate::{
    error::{Error, LostCause, Ran},
    proto::{
        command::Command,
        handshake::ServerInfo,
        pipeline::{Due, Pipeline, PrepareOk, Reply, Sender},
    },
    session::{
        InsertId,
        variables::{Shared, of_text},
    },
};

/// A task that asks waits with the flush until others have asked too, but not behind one that
/// began to wait longer ago than this.
const DEFER: Duration = Duration::from_micros(100);

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
    owners: Owners,
    wire: Arc<Wire>,
    core: Mutex<Core>,
    owner: Weak<dyn Owner>,
    read_limit: Limit,
    write_limit: Option<Duration>,
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
    watch: Watch,
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
    /// When somebody is to look whether the reactor has waited for too long.
    look: Option<Instant>,
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
            owners: Owners::of(&common.session),
            tainted: AtomicBool::new(false),
            changed_by: AtomicU64::new(0),
            wire: common.wire.clone(),
            read_limit: Limit::each(common.target.socket.read_timeout),
            write_limit: common.target.socket.write_timeout,
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
                watch: Watch::default(),
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
        self.owners.give_back(&mut common.session, self.one_session);
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
    #[inline]
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
        self.owners
            .asks(how.handle, matches!(asked, Asked::Prepare(_)));
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
        let for_reactor = how.face == Face::Async && core.lead.is_some();
        let arm = for_reactor && !core.armed;
        core.armed |= arm;
        let look = match for_reactor {
            true => self.watch_asked(core, first || arm),
            false => None,
        };
        let soon = matches!(state, Flush::Deferred(_));
        Ok(Some(Duty {
            flush,
            soon,
            lead,
            arm,
            look,
        }))
    }

    /// The warnings are this handle's.
    pub(crate) fn has_warnings_of(&self, handle: u64) -> bool {
        self.owners.has_warnings_of(handle)
    }

    /// `LAST_INSERT_ID()` is this handle's.
    pub(crate) fn has_insert_id_of(&self, handle: u64) -> bool {
        self.owners.has_insert_id_of(handle)
    }

    /// The owner may have waited for a place, or for the lane to be at rest.
    fn room(&self) {
        if let Some(owner) = self.owner.upgrade() {
            owner.room();
        }
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
        // Now and for good: the next to find the end may come when they are no more there.
        let unsent = std::mem::take(&mut core.unsent);
        // Sealed bytes are longer: what of them is unsent says nothing exact.
        if self.wire.is_plain() {
            core.gone = core.gone.saturating_sub(unsent.len() as u64);
        }
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
