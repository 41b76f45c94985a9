//! One of several servers: whether it can be used, for what, and how far it is; found by asking it now
//! and then, and at once where somebody met an error there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use super::gtids::Gtids;
use crate::{
    error::{Error, Result},
    link::{Face, Vitals, now},
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

/// Probes that may time out before what runs there is given up.
const PATIENCE: u32 = 2;

/// What may be sent there.
#[derive(Debug)]
pub(crate) struct Member {
    pub account: Arc<Account>,
    pub weight: u32,
    state: AtomicU8,
    /// The least time that a probe took lately, nanoseconds.
    latency: AtomicU64,
    inner: Mutex<Inner>,
    /// Rung to have it asked at once.
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    reached: Gtids,
    /// Why it is not up.
    why: Option<Arc<str>>,
    /// Why it could not be asked, the last time.
    refused: Option<Error>,
    suspect: bool,
    ends: bool,
    late: u32,
    /// Bytes that had come from there.
    heard: u64,
}

impl Member {
    pub(super) fn new(account: Arc<Account>, weight: u32) -> Member {
        Member {
            account,
            weight: weight.max(1),
            state: AtomicU8::new(0),
            latency: AtomicU64::new(0),
            inner: Mutex::default(),
            bell: Condvar::new(),
        }
    }

    /// As if it had been asked.
    #[cfg(test)]
    pub(super) fn found(&self, up: bool, writable: bool) {
        let bit = |so: bool, bit: u8| if so { bit } else { 0 };
        let state = ASKED | COMMITS | bit(up, UP) | bit(writable, WRITABLE);
        self.state.store(state, Ordering::Release);
    }

    fn is(&self, what: u8) -> bool {
        self.state.load(Ordering::Acquire) & what == what
    }

    pub(crate) fn is_up(&self) -> bool {
        self.is(UP)
    }

    pub(crate) fn is_primary(&self) -> bool {
        self.is(UP | WRITABLE)
    }

    pub(crate) fn tells_gtids(&self) -> bool {
        self.is(TELLS)
    }

    /// It takes no writes, and a read there begins no transaction.
    pub(super) fn is_for_reads(&self) -> bool {
        self.is(UP | COMMITS) && !self.is_primary()
    }

    pub(super) fn was_asked(&self) -> bool {
        self.is(ASKED)
    }

    /// It is known to have these transactions.
    pub(crate) fn has(&self, gtids: &Gtids) -> bool {
        gtids.is_empty() || self.inner.lock().reached.has(gtids)
    }

    pub(crate) fn has_reached(&self, gtids: &Gtids) {
        self.inner.lock().reached.add(gtids);
    }

    /// How much one more statement there costs, beside others.
    pub(super) fn cost(&self) -> u64 {
        let waiting = self.account.group.outstanding() as u64 + 1;
        // Which of two in one data centre is nearer is not worth knowing.
        const NEAR: u64 = 2_000_000;
        let latency = (self.latency.load(Ordering::Relaxed) + NEAR).next_power_of_two();
        waiting.saturating_mul(latency) / u64::from(self.weight)
    }

    pub(super) fn stats(&self) -> BackendStats {
        BackendStats {
            server: self.account.group.target.endpoint.to_string(),
            is_up: self.is_up(),
            takes_writes: self.is_primary(),
            why: self.inner.lock().why.as_deref().map(Into::into),
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
        let until = Instant::now() + time;
        let mut inner = self.inner.lock();
        while !inner.ends && !std::mem::take(&mut inner.suspect) {
            if self.bell.wait_until(&mut inner, until).timed_out() {
                break;
            }
        }
        !inner.ends
    }

    /// Asks the server. Whether anything is otherwise than before.
    pub(super) fn probe(&self, patience: Duration) -> bool {
        let before = self.state.load(Ordering::Acquire);
        let began = Instant::now();
        let answer = now(self.ask(patience));
        let heard = self.account.group.counts().bytes_received;
        let mut inner = self.inner.lock();
        let is_talking = std::mem::replace(&mut inner.heard, heard) != heard;
        let mut state = ASKED;
        let mut cuts = false;
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
                inner.reached.add(&Gtids::executed(&vitals.gtids));
                inner.why = match vitals.is_ready {
                    true => None,
                    false => Some("it has not joined its cluster".into()),
                };
                state |= if vitals.is_ready { UP } else { 0 };
                state |= if vitals.read_only { 0 } else { WRITABLE };
                state |= if vitals.tells_gtids { TELLS } else { 0 };
                state |= if vitals.commits { COMMITS } else { 0 };
            }
            // All of its links are used by others: it is as it was.
            Ok(None) => state |= before,
            // It is slow, but answers others.
            Err(Error::StatementTimeout(_) | Error::AcquireTimeout(_)) if is_talking => {
                state |= before;
                inner.late = 0;
            }
            Err(e) => {
                inner.why = Some(e.to_string().into());
                if let Error::StatementTimeout(_) | Error::AcquireTimeout(_) = e {
                    inner.late += 1;
                    if inner.late < PATIENCE {
                        state |= before;
                    }
                    cuts = inner.late == PATIENCE;
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
        state != before
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
        link.deadline = Some((Instant::now() + patience, patience));
        let vitals = link.vitals().await;
        link.deadline = None;
        match vitals {
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
}
