//! One of several servers: whether it can be used, for what, and how far it is; found by asking it now
//! and then, and at once where somebody met an error there.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use super::{
    choice::Needs,
    gtids::Gtids,
    history::{Has, History},
};
use crate::{
    error::{ConnectCause, Error, Result},
    link::{self, Face, Link, Vitals, now},
    mux::{
        account::Account,
        stats::BackendStats,
        wish::{Close, Got, Need, Wish},
    },
};

/// It answers.
const UP: u8 = 1;
/// It takes writes.
const WRITABLE: u8 = 2;
/// It tells the GTIDs of what is written.
const TELLS: u8 = 4;
/// It was asked at least once.
const ASKED: u8 = 8;
/// Sessions there begin with `autocommit`.
const COMMITS: u8 = 16;
/// It is a node of a Galera cluster: what is written to another is applied there a moment later.
const OF_CLUSTER: u8 = 32;

/// Probes that may time out before what runs there is given up.
const PATIENCE: u32 = 2;

/// For how long a primary that is well may have told nothing.
const UNTOLD: Duration = Duration::from_secs(3);

/// How long after a probe it may be asked again because somebody would like to know how far it is.
const PAUSE: Duration = Duration::from_millis(20);

/// What may be sent there.
#[derive(Debug)]
pub(crate) struct Member {
    /// Its number among those of its handles.
    pub id: u32,
    pub account: Arc<Account>,
    weight: AtomicU32,
    state: AtomicU8,
    /// Nothing new is to be sent there.
    draining: AtomicBool,
    /// Its state in a replication group can't be asked for.
    hides_group: AtomicBool,
    /// The least time that a probe took lately, nanoseconds.
    latency: AtomicU64,
    inner: Mutex<Inner>,
    /// Rung to have it asked at once.
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    reached: Gtids,
    /// What it has of the primary.
    has: Option<Has>,
    /// Why it is not up.
    why: Option<Arc<str>>,
    /// Why it could not be asked, the last time.
    refused: Option<Error>,
    suspect: bool,
    /// Somebody would like to know how far it is.
    wanted: bool,
    ends: bool,
    late: u32,
    /// Probes without a link for them, and without a word from there.
    silent: u32,
    /// Bytes that had come from there.
    heard: u64,
}

fn bit(so: bool, bit: u8) -> u8 {
    if so { bit } else { 0 }
}

/// What asking it has told.
#[derive(Debug)]
pub(super) struct Probed {
    /// Anything is otherwise than before.
    pub changed: bool,
    /// Where it was, no earlier than that.
    pub position: Option<(Instant, Gtids)>,
}

impl Member {
    pub(super) fn new(id: u32, account: Arc<Account>, weight: u32) -> Member {
        Member {
            id,
            account,
            weight: AtomicU32::new(weight.max(1)),
            state: AtomicU8::new(0),
            draining: AtomicBool::new(false),
            hides_group: AtomicBool::new(false),
            latency: AtomicU64::new(0),
            inner: Mutex::default(),
            bell: Condvar::new(),
        }
    }

    /// As if it had been asked.
    #[cfg(test)]
    pub(super) fn found(&self, up: bool, writable: bool, of_cluster: bool) {
        let state =
            ASKED | COMMITS | bit(up, UP) | bit(writable, WRITABLE) | bit(of_cluster, OF_CLUSTER);
        self.state.store(state, Ordering::Release);
    }

    fn is(&self, what: u8) -> bool {
        self.state.load(Ordering::Acquire) & what == what
    }

    /// It answers.
    pub(super) fn is_up(&self) -> bool {
        self.is(UP)
    }

    /// Something may be sent there.
    pub(crate) fn is_usable(&self) -> bool {
        self.is(UP) && !self.is_draining()
    }

    pub(crate) fn takes_writes(&self) -> bool {
        self.is(UP | WRITABLE) && !self.is_draining()
    }

    pub(crate) fn tells_gtids(&self) -> bool {
        self.is(TELLS)
    }

    pub(crate) fn is_of_cluster(&self) -> bool {
        self.is(OF_CLUSTER)
    }

    /// It may be read from, beside the primary: a read there begins no transaction, and it follows that.
    /// Of another server that takes writes nobody knows what it has.
    pub(super) fn is_for_reads(&self) -> bool {
        self.is(COMMITS) && self.is_usable() && (!self.is(WRITABLE) || self.is_of_cluster())
    }

    pub(super) fn was_asked(&self) -> bool {
        self.is(ASKED)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(super) fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
    }

    /// It is known to have what is needed.
    pub(super) fn has(&self, needs: &Needs<'_>) -> bool {
        let Some(wrote_at) = needs.wrote_at else {
            return true;
        };
        if self.is_of_cluster() && needs.wrote_on == self.id {
            return true;
        }
        let inner = self.inner.lock();
        let has_all = |has: Has| {
            let of_it = !self.is_of_cluster() || has.source == needs.wrote_on;
            of_it && has.until.is_some_and(|until| until >= wrote_at)
        };
        needs.told && inner.reached.has(needs.gtids) || inner.has.is_some_and(has_all)
    }

    /// It may have what is needed in a moment, and can be asked to wait for it.
    pub(super) fn can_wait(&self, needs: &Needs<'_>) -> bool {
        const SOON: Duration = Duration::from_secs(1);
        needs.told && !self.is_of_cluster() && self.lag().is_none_or(|lag| lag < SOON)
    }

    pub(crate) fn has_reached(&self, gtids: &Gtids) {
        self.inner.lock().reached.add(gtids);
    }

    /// For how long it has not had all of what the primary has, as far as that is known: to half a second.
    pub(super) fn lag(&self) -> Option<Duration> {
        let has = self.inner.lock().has?;
        match has.lacks_of {
            Some(since) => Some(since.elapsed()),
            // While the primary doesn't tell where it is nobody knows.
            None => has.until.map(|until| match until.elapsed() {
                time if time > UNTOLD => time,
                _ => Duration::ZERO,
            }),
        }
    }

    pub(super) fn is_within(&self, limit: Option<Duration>) -> bool {
        limit.is_none_or(|limit| self.lag().is_some_and(|lag| lag <= limit))
    }

    /// Notes what it has of the primary, while it tells.
    pub(super) fn compare(&self, history: &History) {
        let mut inner = self.inner.lock();
        inner.has = self.is_up().then(|| history.has(self.id, &inner.reached));
    }

    /// Has it asked soon how far it is.
    pub(super) fn ask_soon(&self) {
        let mut inner = self.inner.lock();
        if !std::mem::replace(&mut inner.wanted, true) {
            self.bell.notify_all();
        }
    }

    pub(super) fn set_weight(&self, weight: u32) {
        self.weight.store(weight.max(1), Ordering::Relaxed);
    }

    /// Statements that are under way there.
    pub(super) fn queue(&self) -> u64 {
        self.account.group.outstanding() as u64
    }

    /// How much one more statement there costs, beside others.
    pub(super) fn cost(&self) -> u64 {
        let waiting = self.queue() + 1;
        // Which of two in one data centre is nearer is not worth knowing.
        const NEAR: u64 = 2_000_000;
        let latency = (self.latency.load(Ordering::Relaxed) + NEAR).next_power_of_two();
        waiting.saturating_mul(latency) / u64::from(self.weight.load(Ordering::Relaxed))
    }

    pub(super) fn stats(&self) -> BackendStats {
        let why = self.inner.lock().why.as_deref().map(Into::into);
        BackendStats {
            server: self.account.group.target.endpoint.to_string(),
            is_up: self.is_up(),
            takes_writes: self.is(UP | WRITABLE),
            is_draining: self.is_draining(),
            why,
            lag: self.lag(),
            latency: Duration::from_nanos(self.latency.load(Ordering::Relaxed)),
        }
    }

    pub(super) fn refused(&self) -> Option<Error> {
        self.inner.lock().refused.clone()
    }

    /// Somebody met an error there that may be the server's: it is asked again at once. `lasts`: nothing
    /// is sent there until it has answered.
    pub(crate) fn suspect(&self, lasts: Option<&Error>) {
        let mut inner = self.inner.lock();
        if let Some(e) = lasts {
            inner.why = Some(e.to_string().into());
            self.state.fetch_and(!(UP | WRITABLE), Ordering::AcqRel);
        }
        inner.suspect = true;
        self.bell.notify_all();
    }

    /// It has refused a write, because it is read-only.
    pub(crate) fn takes_no_writes(&self) {
        self.state.fetch_and(!WRITABLE, Ordering::AcqRel);
        self.suspect(None);
    }

    pub(super) fn end(&self) {
        self.inner.lock().ends = true;
        self.bell.notify_all();
    }

    /// Waits for the next probe. Whether there is one.
    pub(super) fn rest(&self, time: Duration) -> bool {
        let began = Instant::now();
        let mut inner = self.inner.lock();
        while !inner.ends && !std::mem::take(&mut inner.suspect) {
            let time = if inner.wanted { time.min(PAUSE) } else { time };
            if self.bell.wait_until(&mut inner, began + time).timed_out() {
                break;
            }
        }
        inner.wanted = false;
        !inner.ends
    }

    /// Asks the server.
    pub(super) fn probe(&self, patience: Duration) -> Probed {
        let before = self.state.load(Ordering::Acquire);
        let mut began = Instant::now();
        let mut answer = now(pin!(self.ask(patience)));
        let heard = self.account.group.counts().bytes_received;
        let mut inner = self.inner.lock();
        let is_talking = std::mem::replace(&mut inner.heard, heard) != heard;
        inner.silent = match &answer {
            Ok(None) if !is_talking => inner.silent + 1,
            _ => 0,
        };
        let beside = inner.silent >= PATIENCE;
        if beside {
            // All links are in use and nothing comes: it hangs, or those who use them do nothing.
            drop(inner);
            began = Instant::now();
            answer = now(pin!(self.ask_beside(patience))).map(Some);
            inner = self.inner.lock();
            // What came there is no word from those links.
            inner.heard = self.account.group.counts().bytes_received;
        }
        // Somebody may have met an error there meanwhile.
        let as_it_was = || self.state.load(Ordering::Acquire);
        let mut state = ASKED;
        let mut cuts = false;
        let mut position = None;
        match answer {
            Ok(Some(vitals)) => {
                let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
                let old = self.latency.load(Ordering::Relaxed);
                // The least of late: what is more was the server's load, which is counted by itself.
                let latency = match old > 0 && took > old {
                    true => old + (took - old) / 64,
                    false => took,
                };
                self.latency.store(latency, Ordering::Relaxed);
                inner.late = 0;
                inner.refused = None;
                // One that was set up anew may have less than before.
                inner.reached = Gtids::executed(&vitals.reached);
                // Whatever has gaps: who has not the last of it has not all.
                position = vitals.position.as_deref().map(Gtids::reported);
                state |= bit(vitals.not_ready.is_none(), UP)
                    | bit(!vitals.read_only, WRITABLE)
                    | bit(vitals.tells_gtids, TELLS)
                    | bit(vitals.commits, COMMITS)
                    | bit(vitals.is_of_cluster, OF_CLUSTER);
                inner.why = vitals.not_ready.map(Into::into);
            }
            // All of its links are used by others: it is as it was.
            Ok(None) => state |= as_it_was(),
            // It is slow, but answers others.
            Err(Error::StatementTimeout(_) | Error::AcquireTimeout(_)) if is_talking => {
                state |= as_it_was();
                inner.late = 0;
            }
            // Whatever else it answers: it is there.
            Err(Error::ConnectError(e))
                if beside && !matches!(e.cause, ConnectCause::Timeout(_)) =>
            {
                state |= as_it_was();
            }
            Err(e) => {
                cuts = beside;
                inner.why = Some(e.to_string().into());
                if let Error::StatementTimeout(_) | Error::AcquireTimeout(_) = e {
                    inner.late += 1;
                    if inner.late < PATIENCE {
                        state |= as_it_was();
                    }
                    cuts |= inner.late == PATIENCE;
                }
                inner.refused = Some(e);
            }
        }
        self.state.store(state, Ordering::Release);
        drop(inner);
        if cuts {
            // What waits for its answer waits for ever.
            self.account.group.cut();
        }
        Probed {
            changed: state != before,
            position: position.map(|position| (began, position)),
        }
    }

    async fn ask(&self, patience: Duration) -> Result<Option<Vitals>> {
        let account = &self.account;
        let schema = account.opts.session().db_name.as_deref();
        let wish = Wish {
            schema: schema.map(Into::into),
            hurries: true,
            ..Wish::plain(account, 0, Need::Alone, "asking the server how it is")
        };
        let began = Instant::now();
        let got = account
            .group
            .acquire(wish, Face::Blocking, Some(began + patience));
        let mut link = match got.await {
            Ok(Got::Link(link)) => link,
            Ok(Got::Place(..) | Got::Nothing) => return Ok(None),
            Err(Error::AcquireTimeout(e)) if e.last_connect.is_none() => return Ok(None),
            Err(e) => return Err(e),
        };
        match self.ask_on(&mut link, patience).await {
            Err(e) if !matches!(e, Error::MySqlError(_)) => {
                account.group.give_up(link, account, Close::Lost);
                Err(e)
            }
            vitals => {
                account.group.put_back(link, account);
                vitals.map(Some)
            }
        }
    }

    /// The same over a connection of its own, beside those that there may be.
    async fn ask_beside(&self, patience: Duration) -> Result<Vitals> {
        let group = &self.account.group;
        let opts = &self.account.opts;
        let until = Instant::now() + patience;
        let mut link = link::open(opts, None, until, &group.counters, &group.one_at_a_time)?;
        let vitals = self.ask_on(&mut link, patience).await;
        link.close();
        vitals
    }

    async fn ask_on(&self, link: &mut Link, patience: Duration) -> Result<Vitals> {
        link.deadline = Some((Instant::now() + patience, patience));
        let of_group = !self.hides_group.load(Ordering::Relaxed);
        let mut vitals = link.vitals(of_group).await;
        if let (Err(Error::MySqlError(_)), true) = (&vitals, of_group) {
            self.hides_group.store(true, Ordering::Relaxed);
            vitals = link.vitals(false).await;
        }
        link.deadline = None;
        vitals
    }
}
