//! All links of one key: who gets one, who waits, what is closed.
//!
//! A link is parked here, or held by one caller alone. Waiters are served in order; a link goes
//! straight from the one who gives it back to the one who waited longest and can use it.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use once_cell::sync::OnceCell;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::{
    account::Account,
    limits::Limits,
    stats::{Counters, Counts},
};
use crate::{
    error::{AcquireTimeout, ConnectCause, ConnectError, ConnectPhase, DriverError, Error, Result},
    events,
    link::{self, Link, Stream},
    opts::{Opts, target::Target},
    proto::handshake::ServerInfo,
};

/// The links of one key.
#[derive(Debug)]
pub(crate) struct Group {
    pub target: Arc<Target>,
    pub counters: Arc<Counters>,
    pub limits: Arc<Limits>,
    state: Mutex<State>,
    /// Told when a link is closed or parked, for a shutdown that waits.
    changed: Condvar,
    /// Whom the first link met.
    server: OnceCell<Arc<ServerInfo>>,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    /// Links open or being opened.
    open: usize,
    /// Idle links, last used last.
    parked: Vec<Parked>,
    busy: Vec<Busy>,
    waiters: VecDeque<Arc<Waiter>>,
    accounts: Vec<Arc<Account>>,
    /// A connect succeeded once: a refusal now may be a restart.
    reached: bool,
}

#[derive(Debug)]
struct Parked {
    link: Box<Link>,
    account: Arc<Account>,
    /// The link counts among those that prove the account's credentials.
    proven: bool,
}

/// A link that somebody holds.
#[derive(Debug)]
struct Busy {
    link: u64,
    connection_id: u32,
    handle: u64,
    since: Instant,
    why: &'static str,
    stream: Arc<Stream>,
}

/// Somebody who waits.
#[derive(Debug)]
struct Waiter {
    account: Arc<Account>,
    granted: Mutex<Option<Grant>>,
    woken: Condvar,
}

/// What a caller may do now.
#[derive(Debug)]
enum Grant {
    /// Use this link of one's own account.
    Link(Box<Link>),
    /// Make this link one's own account's.
    Steal(Box<Link>),
    /// Open a link; it is counted already.
    Open,
    Failed(Error),
}

/// Why a link is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Close {
    Explicit,
    Implicit,
    Lost,
}

impl Group {
    pub(super) fn new(target: Arc<Target>, limits: Arc<Limits>) -> Group {
        Group {
            target,
            counters: Arc::default(),
            limits,
            state: Mutex::default(),
            changed: Condvar::new(),
            server: OnceCell::new(),
        }
    }

    /// The account that these options belong to, with one handle more.
    pub(super) fn enter(self: &Arc<Self>, opts: &Opts) -> Result<Arc<Account>> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(DriverError::MuxShutDown.into());
        }
        let found = state.accounts.iter().find(|a| a.fits(opts)).cloned();
        let account = found.unwrap_or_else(|| {
            let account = Arc::new(Account::new(self.clone(), opts));
            state.accounts.push(account.clone());
            account
        });
        account.handles.fetch_add(1, Ordering::Relaxed);
        *account.vacant.lock() = None;
        self.counters.handles_opened.fetch_add(1, Ordering::Relaxed);
        Ok(account)
    }

    /// A handle ended.
    pub(super) fn exit(&self, account: &Arc<Account>) {
        let mut state = self.state.lock();
        if account.handles.fetch_sub(1, Ordering::Relaxed) > 1 {
            return;
        }
        *account.vacant.lock() = Some(Instant::now());
        let unused = match self.limits.linger.is_zero() {
            true => take_all(&mut state.parked, |p| Arc::ptr_eq(&p.account, account)),
            false => Vec::new(),
        };
        forget_empty(&mut state);
        self.close_all(state, unused, Close::Explicit);
    }

    /// Proves the account's credentials, unless a link of it stands already. Whether it did.
    pub(super) fn verify(self: &Arc<Self>, account: &Arc<Account>, handle: u64) -> Result<bool> {
        if account.ready.load(Ordering::Acquire) > 0 {
            return Ok(true);
        }
        let link = self.acquire(account, handle, "opening a handle", true)?;
        self.release(link, account);
        Ok(false)
    }

    /// A link for one statement, or for as long as it is kept. Waits up to `acquire_timeout`.
    ///
    /// `joining`: whoever finds a link of the account being opened waits for it.
    pub(super) fn acquire(
        self: &Arc<Self>,
        account: &Arc<Account>,
        handle: u64,
        why: &'static str,
        joining: bool,
    ) -> Result<Box<Link>> {
        let began = Instant::now();
        let deadline = began + self.limits.acquire_timeout;
        let mut pause = Duration::from_millis(20);
        let mut last_connect: Option<Arc<ConnectError>> = None;
        // Set while a failed connect is to be tried again, unless a link comes free before.
        let mut retry_at: Option<Instant> = None;
        loop {
            let grant = match self.grant_or_wait(account, handle, joining, retry_at.is_some()) {
                Ok(grant) => grant,
                Err(waiter) => {
                    let until = retry_at.take().map_or(deadline, |at| at.min(deadline));
                    match self.wait(&waiter, until) {
                        Some(grant) => grant,
                        None if Instant::now() < deadline => continue,
                        None => return Err(self.timed_out(began, last_connect)),
                    }
                }
            };
            retry_at = None;
            match grant {
                Grant::Link(mut link) => {
                    if link.is_alive() {
                        self.counters
                            .connection_reused
                            .fetch_add(1, Ordering::Relaxed);
                        self.hold(&link, handle, why);
                        return Ok(link);
                    }
                    self.give_up(link, account, Close::Lost);
                }
                Grant::Steal(mut link) => {
                    let schema = account.opts.session().db_name.as_deref();
                    if !link.is_alive() {
                        self.drop_link(link, account, Close::Lost, false);
                        continue;
                    }
                    self.hold(&link, handle, "changing its user");
                    match link.change_user(&account.identity, schema) {
                        Ok(()) => {
                            self.opened(account);
                            self.hold(&link, handle, why);
                            return Ok(link);
                        }
                        Err(e) => {
                            self.drop_link(link, account, Close::Lost, false);
                            return Err(self.denied(account, e));
                        }
                    }
                }
                Grant::Open => {
                    let schema = account.opts.session().db_name.as_deref();
                    match link::open(&account.opts, schema, deadline, &self.counters) {
                        Ok(link) => {
                            let link = Box::new(link);
                            events::opened(&link);
                            drop(self.server.set(link.server.clone()));
                            self.opened(account);
                            self.hold(&link, handle, why);
                            return Ok(link);
                        }
                        Err(e) => {
                            let again = self.may_retry(&e) && Instant::now() + pause < deadline;
                            events::connect_failed(&e, again);
                            let e = Arc::new(e);
                            self.open_failed(
                                account,
                                (!again).then(|| Error::ConnectError(e.clone())),
                            );
                            if !again {
                                return Err(Error::ConnectError(e));
                            }
                            last_connect = Some(e);
                            retry_at = Some(Instant::now() + pause);
                            pause = (pause * 2).min(Duration::from_secs(1));
                        }
                    }
                }
                Grant::Failed(e) => return Err(e),
            }
        }
    }

    /// What can be done now, or a place in the queue.
    fn grant_or_wait(
        &self,
        account: &Arc<Account>,
        handle: u64,
        joining: bool,
        pausing: bool,
    ) -> std::result::Result<Grant, Arc<Waiter>> {
        let mut state = self.state.lock();
        if state.closed {
            return Ok(Grant::Failed(DriverError::MuxShutDown.into()));
        }
        if let Some(grant) = self.grant(&mut state, account, handle, joining, pausing) {
            return Ok(grant);
        }
        let waiter = Arc::new(Waiter {
            account: account.clone(),
            granted: Mutex::new(None),
            woken: Condvar::new(),
        });
        state.waiters.push_back(waiter.clone());
        self.counters.waits.fetch_add(1, Ordering::Relaxed);
        Err(waiter)
    }

    fn grant(
        &self,
        state: &mut State,
        account: &Arc<Account>,
        handle: u64,
        joining: bool,
        pausing: bool,
    ) -> Option<Grant> {
        // The caller's own session needs no reset, nobody's needs little; of the others the one
        // used last is the warmest.
        let fit = |p: &Parked| match p.link.session.owner {
            owner if owner == handle => 2,
            0 => 1,
            _ => 0,
        };
        let own = state
            .parked
            .iter()
            .enumerate()
            .filter(|(_, p)| Arc::ptr_eq(&p.account, account));
        if let Some((at, _)) = own.max_by_key(|(_, p)| fit(p)) {
            return Some(Grant::Link(state.parked.remove(at).link));
        }
        if pausing || !account.may_open() || (joining && account.links.load(Ordering::Relaxed) > 0)
        {
            return None;
        }
        if state.open < self.limits.max_links {
            state.open += 1;
            account.links.fetch_add(1, Ordering::Relaxed);
            return Some(Grant::Open);
        }
        let at = state
            .parked
            .iter()
            .position(|p| p.account.may_lose_links())?;
        let parked = state.parked.remove(at);
        Some(steal(parked, account))
    }

    fn wait(&self, waiter: &Arc<Waiter>, until: Instant) -> Option<Grant> {
        let mut granted = waiter.granted.lock();
        while granted.is_none() {
            if waiter.woken.wait_until(&mut granted, until).timed_out() {
                break;
            }
        }
        if let Some(grant) = granted.take() {
            return Some(grant);
        }
        drop(granted);
        // Between the time-out and this lock somebody may still have granted.
        let mut state = self.state.lock();
        state.waiters.retain(|w| !Arc::ptr_eq(w, waiter));
        waiter.granted.lock().take()
    }

    fn timed_out(&self, began: Instant, last_connect: Option<Arc<ConnectError>>) -> Error {
        self.counters
            .acquire_timeouts
            .fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let holders = self
            .state
            .lock()
            .busy
            .iter()
            .map(|b| {
                format!(
                    "connection {} is held by handle {} for {:?}: {}",
                    b.connection_id,
                    b.handle,
                    now - b.since,
                    b.why
                )
            })
            .collect();
        let e = AcquireTimeout {
            server: self.target.endpoint.to_string(),
            waited: now - began,
            max_links: self.limits.max_links,
            holders,
            last_connect,
        };
        events::acquire_timeout(&e);
        Error::AcquireTimeout(Arc::new(e))
    }

    /// A refusal is worth another try where the server was there before, or where it is full and
    /// links of ours may end.
    fn may_retry(&self, e: &ConnectError) -> bool {
        e.is_transient() && self.state.lock().reached
    }

    fn denied(&self, account: &Account, e: Error) -> Error {
        match e {
            Error::MySqlError(e) => ConnectError {
                server: self.target.endpoint.to_string(),
                user: account.identity.user.clone(),
                phase: ConnectPhase::Authenticate,
                cause: ConnectCause::Server(e),
            }
            .into(),
            other => other,
        }
    }

    fn opened(&self, account: &Account) {
        let mut state = self.state.lock();
        state.reached = true;
        account.ready.fetch_add(1, Ordering::Release);
    }

    /// A connect failed: its place is free; with an error that will not pass, those who wait for
    /// the same account are told now.
    fn open_failed(&self, account: &Arc<Account>, lasting: Option<Error>) {
        let mut state = self.state.lock();
        state.open -= 1;
        account.links.fetch_sub(1, Ordering::Relaxed);
        if let Some(e) = lasting {
            state.waiters.retain(|w| {
                let theirs = Arc::ptr_eq(&w.account, account);
                if theirs {
                    w.give(Grant::Failed(e.clone()));
                }
                !theirs
            });
        }
        self.fill_vacancies(&mut state);
        forget_empty(&mut state);
    }

    fn hold(&self, link: &Link, handle: u64, why: &'static str) {
        let mut state = self.state.lock();
        if state.closed {
            // A shutdown did not see this link; it is ended like those that it saw.
            link.stream().shutdown();
        }
        state.busy.retain(|b| b.link != link.id);
        state.busy.push(Busy {
            link: link.id,
            connection_id: link.server.connection_id,
            handle,
            since: Instant::now(),
            why,
            stream: link.stream().clone(),
        });
    }

    /// Says why a link stays with its handle.
    pub(super) fn note(&self, link: u64, why: &'static str) {
        if let Some(busy) = self.state.lock().busy.iter_mut().find(|b| b.link == link) {
            busy.why = why;
        }
    }

    /// Gives a link back: to the first waiter who can use it, or to rest.
    pub(super) fn release(&self, link: Box<Link>, account: &Arc<Account>) {
        if !link.is_usable() {
            return self.give_up(link, account, Close::Lost);
        }
        let mut state = self.state.lock();
        state.busy.retain(|b| b.link != link.id);
        let parked = Parked {
            link,
            account: account.clone(),
            proven: true,
        };
        if state.closed {
            state.parked.push(parked);
            let all = std::mem::take(&mut state.parked);
            return self.close_all(state, all, Close::Explicit);
        }
        let own = state
            .waiters
            .iter()
            .position(|w| Arc::ptr_eq(&w.account, account));
        if let Some(waiter) = own.and_then(|at| state.waiters.remove(at)) {
            return waiter.give(Grant::Link(parked.link));
        }
        if account.may_lose_links()
            && let Some(at) = state.waiters.iter().position(|w| w.account.may_open())
            && let Some(waiter) = state.waiters.remove(at)
        {
            let grant = steal(parked, &waiter.account);
            return waiter.give(grant);
        }
        state.parked.push(parked);
        let vacant = account.handles.load(Ordering::Relaxed) == 0;
        let over = if vacant && self.limits.linger.is_zero() {
            take_all(&mut state.parked, |p| Arc::ptr_eq(&p.account, account))
        } else if state.parked.len() > self.limits.max_idle_links && !account.is_shared() {
            state.parked.pop().into_iter().collect()
        } else {
            self.changed.notify_all();
            return;
        };
        let why = if vacant {
            Close::Explicit
        } else {
            Close::Implicit
        };
        self.close_all(state, over, why);
    }

    /// Closes a link that nobody should use again.
    pub(super) fn give_up(&self, link: Box<Link>, account: &Arc<Account>, why: Close) {
        self.drop_link(link, account, why, true);
    }

    fn drop_link(&self, link: Box<Link>, account: &Arc<Account>, why: Close, proven: bool) {
        if account.is_shared() && link.session.pin().is_some() {
            account.lost_sessions.fetch_add(1, Ordering::Relaxed);
        }
        let mut state = self.state.lock();
        state.busy.retain(|b| b.link != link.id);
        self.close_all(
            state,
            vec![Parked {
                link,
                account: account.clone(),
                proven,
            }],
            why,
        );
    }

    /// Takes links out of the count, closes them without the lock.
    fn close_all(&self, mut state: MutexGuard<'_, State>, links: Vec<Parked>, why: Close) {
        for parked in &links {
            state.open -= 1;
            parked.account.links.fetch_sub(1, Ordering::Relaxed);
            parked
                .account
                .ready
                .fetch_sub(usize::from(parked.proven), Ordering::Release);
        }
        self.fill_vacancies(&mut state);
        forget_empty(&mut state);
        drop(state);
        let counter = match why {
            Close::Explicit => &self.counters.explicit_close,
            Close::Implicit => &self.counters.implicit_close,
            Close::Lost => &self.counters.lost_connections,
        };
        counter.fetch_add(links.len() as u64, Ordering::Relaxed);
        let why = match why {
            Close::Explicit => "nobody needs it",
            Close::Implicit => "idle or old",
            Close::Lost => "lost",
        };
        for parked in links {
            events::closed(&parked.link, why);
            parked.link.close();
        }
        self.changed.notify_all();
    }

    /// Lets those who wait open links where the limit allows it again.
    fn fill_vacancies(&self, state: &mut State) {
        while state.open < self.limits.max_links && !state.closed {
            let Some(at) = state.waiters.iter().position(|w| w.account.may_open()) else {
                return;
            };
            let Some(waiter) = state.waiters.remove(at) else {
                return;
            };
            state.open += 1;
            waiter.account.links.fetch_add(1, Ordering::Relaxed);
            waiter.give(Grant::Open);
        }
    }

    /// Closes what is idle for too long, too old, dead, or without a handle for longer than `linger`.
    pub(super) fn reap(&self) {
        let now = Instant::now();
        let limits = &self.limits;
        let mut state = self.state.lock();
        let idle = state.parked.len();
        let mut spare = idle.saturating_sub(limits.min_idle_links);
        let over = take_all(&mut state.parked, |p| {
            let vacant =
                (*p.account.vacant.lock()).is_some_and(|since| now - since >= limits.linger);
            if vacant {
                return true;
            }
            // A shared link is the session of its handles: it ends when they do.
            if p.account.is_shared() && p.account.handles.load(Ordering::Relaxed) > 0 {
                return false;
            }
            let old = now - p.link.opened >= limits.max_lifetime;
            let unused = now - p.link.used >= limits.idle_timeout && spare > 0;
            spare -= usize::from(unused);
            old || unused
        });
        forget_empty(&mut state);
        self.close_all(state, over, Close::Implicit);
    }

    /// Opens idle links up to `min_idle_links` for the accounts that have handles.
    pub(super) fn warm(self: &Arc<Self>) {
        loop {
            let account = {
                let mut state = self.state.lock();
                if state.closed
                    || state.parked.len() >= self.limits.min_idle_links
                    || state.open >= self.limits.max_links
                {
                    return;
                }
                let wants = |a: &&Arc<Account>| {
                    !a.is_shared()
                        && a.handles.load(Ordering::Relaxed) > 0
                        && a.ready.load(Ordering::Relaxed) > 0
                };
                let Some(account) = state.accounts.iter().find(wants).cloned() else {
                    return;
                };
                state.open += 1;
                account.links.fetch_add(1, Ordering::Relaxed);
                account
            };
            let deadline = Instant::now() + self.limits.acquire_timeout;
            let schema = account.opts.session().db_name.as_deref();
            match link::open(&account.opts, schema, deadline, &self.counters) {
                Ok(link) => {
                    self.opened(&account);
                    self.release(Box::new(link), &account);
                }
                // Whoever needs a link finds out why; the housekeeper tries again at its next round.
                Err(_) => return self.open_failed(&account, None),
            }
        }
    }

    /// Takes nothing new, closes what is idle, waits for the rest, ends what is left by force.
    /// Returns how many links were ended under a statement.
    pub(super) fn shut_down(&self, deadline: Instant) -> usize {
        let mut state = self.state.lock();
        state.closed = true;
        for waiter in state.waiters.drain(..) {
            waiter.give(Grant::Failed(DriverError::MuxShutDown.into()));
        }
        let idle = std::mem::take(&mut state.parked);
        self.close_all(state, idle, Close::Explicit);
        let mut state = self.state.lock();
        while !state.busy.is_empty() {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        for busy in &state.busy {
            busy.stream.shutdown();
        }
        state.busy.len()
    }

    /// The server as the first link met it.
    pub(super) fn server(&self) -> Option<Arc<ServerInfo>> {
        self.server.get().cloned()
    }

    pub(super) fn counts(&self) -> Counts {
        let state = self.state.lock();
        let handles: usize = state
            .accounts
            .iter()
            .map(|a| a.handles.load(Ordering::Relaxed))
            .sum();
        Counts {
            active_connections: state.open as u64,
            idle_connections: state.parked.len() as u64,
            handles: handles as u64,
            waiting: state.waiters.len() as u64,
            ..self.counters.snapshot()
        }
    }
}

impl Waiter {
    fn give(&self, grant: Grant) {
        *self.granted.lock() = Some(grant);
        self.woken.notify_one();
    }
}

/// Moves an idle link from its account to another, which has to make it its own.
fn steal(parked: Parked, thief: &Arc<Account>) -> Grant {
    let count = |n: &AtomicUsize| n.fetch_sub(1, Ordering::Relaxed);
    count(&parked.account.links);
    count(&parked.account.ready);
    thief.links.fetch_add(1, Ordering::Relaxed);
    if Arc::ptr_eq(&parked.account.identity, &thief.identity)
        || parked.account.identity == thief.identity
    {
        // The same identity in another isolation mode: its credentials are proven, its session is not.
        thief.ready.fetch_add(1, Ordering::Relaxed);
        return Grant::Link(parked.link);
    }
    Grant::Steal(parked.link)
}

fn take_all(parked: &mut Vec<Parked>, mut over: impl FnMut(&Parked) -> bool) -> Vec<Parked> {
    let (taken, kept) = std::mem::take(parked).into_iter().partition(|p| over(p));
    *parked = kept;
    taken
}

/// Accounts without handles and links are nobody's.
fn forget_empty(state: &mut State) {
    state
        .accounts
        .retain(|a| a.handles.load(Ordering::Relaxed) > 0 || a.links.load(Ordering::Relaxed) > 0);
}
