//! How long the reactor waits for a lane's stream, which has no clock of its own for that: as long as a thread would
//! that reads or writes itself.

use std::{
    sync::{Arc, Weak},
    task::{Wake, Waker},
    time::{Duration, Instant},
};

use super::{Core, Lane};
use crate::{
    error::LostCause,
    link::{reactor::Reactor, sync::now},
};

/// What the reactor waits for, and since when. It changes under the lock that what is waited for changes under: what
/// stays here from before would end a lane that nothing is wrong with.
#[derive(Debug, Default)]
pub(super) struct Watch {
    reads: Option<Instant>,
    writes: Option<Instant>,
    /// Somebody looks when the first of them has waited for too long.
    is_set: bool,
}

impl Lane {
    /// The lead is laid down, and the reactor is to read from here on, or nobody or somebody else is. When to look
    /// next, for [`Self::look_at_time`].
    pub(super) fn watch_reads(&self, core: &mut Core, waits: bool) -> Option<Instant> {
        self.read_limit.per_op?;
        core.watch.reads = waits.then(now);
        self.next_look(core)
    }

    /// Somebody asks a lane at which the reactor reads, or is going to.
    pub(super) fn watch_asked(&self, core: &mut Core, begins: bool) -> Option<Instant> {
        self.read_limit.per_op?;
        match begins || core.watch.reads.is_none() {
            true => self.watch_reads(core, true),
            false => self.next_look(core),
        }
    }

    /// What is unsent is the reactor's to send.
    pub(super) fn watch_writes(&self, core: &mut Core) -> Option<Instant> {
        self.write_limit?;
        core.watch.writes = Some(now());
        self.next_look(core)
    }

    /// When to look next, if nobody is to yet.
    fn next_look(&self, core: &mut Core) -> Option<Instant> {
        if core.watch.is_set {
            return None;
        }
        let at = self.limits(core).into_iter().flatten();
        let first = at.map(|(at, _)| at).min();
        core.watch.is_set = first.is_some();
        first
    }

    /// When what the reactor waits for has lasted too long, and how long that is: reading, writing.
    fn limits(&self, core: &Core) -> [Option<(Instant, Duration)>; 2] {
        // Who has the lead has its own clock; and nothing may be due.
        let is_due = core.lead.is_some() && !core.all_answered();
        let reads = core.watch.reads.filter(|_| is_due);
        let writes = core.watch.writes.filter(|_| !core.unsent.is_empty());
        let end = |(since, limit): (Instant, Duration)| Some((since.checked_add(limit)?, limit));
        [
            reads.zip(self.read_limit.per_op).and_then(end),
            writes.zip(self.write_limit).and_then(end),
        ]
    }

    /// Without the lock.
    pub(super) fn look_at_time(self: &Arc<Self>, at: Option<Instant>) {
        let Some(at) = at else { return };
        let bell = Waker::from(Arc::new(Bell(Arc::downgrade(self))));
        if let Ok(reactor) = Reactor::get() {
            reactor.wake_at(at, bell);
        }
    }

    fn look(self: &Arc<Self>) {
        let mut core = self.core.lock();
        core.watch.is_set = false;
        if core.link.is_none() {
            return;
        }
        let now = now();
        let mut over = self.limits(&core).into_iter().flatten();
        if let Some((_, limit)) = over.find(|(at, _)| *at <= now) {
            return self.fail(core, None, LostCause::Timeout(limit));
        }
        let at = self.next_look(&mut core);
        drop(core);
        self.look_at_time(at);
    }
}

/// Looks when it is rung.
struct Bell(Weak<Lane>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        if let Some(lane) = self.0.upgrade() {
            lane.look();
        }
    }
}
