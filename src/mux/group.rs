//! All links of one key: who gets one, or a place on one, who waits, what is closed.
//!
//! A link rests here, is held by one caller alone, or is a [`Lane`] that many use. Waiters are served
//! in order; what comes free goes straight to the one who waited longest and can use it.

mod acquire;
mod grant;
mod release;
mod state;

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence},
    },
    time::{Duration, Instant},
};

use once_cell::sync::OnceCell;
use parking_lot::{Condvar, Mutex};

pub(super) use self::acquire::no_reactor;
use self::state::{Locked, State};
use super::{
    account::Account,
    chores::Chores,
    digests::Digests,
    limits::Limits,
    marks::Marks,
    recent,
    spread::Spread,
    stats::{Counters, Counts},
    wish::{Close, Got, Need, Wish},
};
use crate::{
    error::{DriverError, Result},
    link::{Face, Lane, Owner},
    opts::{Opts, target::Target},
    proto::handshake::ServerInfo,
    session::{PinPolicy, PinReason},
};

/// The links of one key.
#[derive(Debug)]
pub(crate) struct Group {
    pub target: Arc<Target>,
    pub counters: Arc<Counters>,
    pub limits: Arc<Limits>,
    pub digests: Digests,
    /// Statements whose `LAST_INSERT_ID()` is asked for.
    pub asked_ids: Marks,
    /// Statements that change their session, though their text doesn't say so.
    pub touchy: Marks,
    /// Counts what this program did that may have changed what views, triggers or routines do.
    pub definitions: AtomicU64,
    /// Handles opened, and of them those without any I/O.
    pub opened: Spread,
    pub saved: Spread,
    /// Of those that were opened.
    dropped: Spread,
    state: Mutex<State>,
    /// Somebody waits; looked at without the lock.
    waiting: AtomicUsize,
    /// Told when a link is closed or comes to rest, for a shutdown that waits.
    changed: Condvar,
    closing: AtomicBool,
    /// All lanes are busy: another link should be opened.
    wants_more: AtomicBool,
    /// That was said.
    warming: AtomicBool,
    pub chores: Chores,
    /// What stands between was found to take one command at a time.
    pub one_at_a_time: AtomicBool,
    /// How long the last connect took, in microseconds.
    connect_time: AtomicU64,
    /// Whom the first link met.
    server: OnceCell<Arc<ServerInfo>>,
    me: Weak<Group>,
}

impl Group {
    pub(super) fn new(target: Arc<Target>, limits: &Arc<Limits>) -> Arc<Group> {
        let limits = limits.of(&target.limits);
        Arc::new_cyclic(|me| Group {
            target,
            counters: Arc::default(),
            limits,
            digests: Digests::default(),
            asked_ids: Marks::default(),
            touchy: Marks::default(),
            definitions: AtomicU64::new(0),
            opened: Spread::default(),
            saved: Spread::default(),
            dropped: Spread::default(),
            state: Mutex::default(),
            waiting: AtomicUsize::new(0),
            changed: Condvar::new(),
            closing: AtomicBool::new(false),
            wants_more: AtomicBool::new(false),
            warming: AtomicBool::new(false),
            chores: Chores::default(),
            one_at_a_time: AtomicBool::new(false),
            connect_time: AtomicU64::new(0),
            server: OnceCell::new(),
            me: me.clone(),
        })
    }

    #[inline]
    fn lock(&self) -> Locked<'_> {
        Locked::new(&self.state)
    }

    /// Others may have changed what has not been looked at for some time.
    pub(super) fn age_definitions(&self) {
        let accounts = self.lock().accounts.clone();
        for account in accounts {
            account.catalogs.age(self.limits.definitions_age);
        }
    }

    /// The account that these options belong to, with one user more. `None`: the mux has forgotten this group.
    pub(super) fn enter(self: &Arc<Self>, opts: &Opts) -> Result<Option<Arc<Account>>> {
        let mut state = self.lock();
        if state.closed {
            return Err(DriverError::MuxShutDown.into());
        }
        if state.forgotten {
            return Ok(None);
        }
        let found = state.accounts.iter().find(|a| a.fits(opts)).cloned();
        let account = found.unwrap_or_else(|| {
            let account = Arc::new(Account::new(self.clone(), opts));
            state.accounts.push(account.clone());
            account
        });
        account.join();
        account.retired.store(false, Ordering::Relaxed);
        *account.vacant.lock() = None;
        Ok(Some(account))
    }

    /// Forgets the group, if nobody has used it for `linger`: gives what it counted.
    pub(super) fn forget(&self) -> Option<Counts> {
        let mut state = self.lock();
        if !state.accounts.is_empty() || state.open > 0 || state.queue.len() > 0 {
            state.unused_since = None;
            return None;
        }
        let since = *state.unused_since.get_or_insert_with(Instant::now);
        if since.elapsed() < self.limits.linger {
            return None;
        }
        state.forgotten = true;
        drop(state);
        Some(self.counts())
    }

    /// A handle ended.
    pub(super) fn parted(&self, handle: u64) {
        self.dropped.add(recent::block(handle));
    }

    /// One of the account's users ended.
    pub(super) fn exit(&self, account: &Arc<Account>) {
        if account.part() {
            return;
        }
        let mut state = self.lock();
        // Another one may have come.
        if account.users.load(Ordering::Acquire) > 0 {
            return;
        }
        *account.vacant.lock() = Some(Instant::now());
        let unused = match self.limits.linger.is_zero() {
            true => state.take_all(|a, _| Arc::ptr_eq(a, account)),
            false => Vec::new(),
        };
        state.forget_empty();
        self.close_all(state, unused, Close::Explicit);
    }

    /// Proves the account's credentials, unless a link of it stands already. Whether it did.
    pub(super) async fn verify(
        self: &Arc<Self>,
        account: &Arc<Account>,
        handle: u64,
        face: Face,
    ) -> Result<bool> {
        if account.ready.load(Ordering::Acquire) > 0 {
            return Ok(true);
        }
        let wish = Wish::plain(account, handle, Need::Proof, "opening a handle");
        match self.acquire(wish, face, None).await? {
            Got::Link(mut link) => {
                let begin = account.opts.session();
                let free = !account.is_shared() && link.begin_free(begin.as_begun());
                self.release(link, account, free.then_some(begin));
            }
            Got::Place(..) | Got::Nothing => {}
        }
        Ok(false)
    }

    /// Statements that are under way, or about to be.
    pub(super) fn outstanding(&self) -> usize {
        let state = self.lock();
        let lanes = state.lanes.iter();
        let shared: usize = lanes
            .map(|s| s.lane.load.taken.load(Ordering::Relaxed))
            .sum();
        shared + state.busy.len() + state.queue.len()
    }

    /// This link is one of them.
    pub(super) fn has_link(&self, id: u32) -> bool {
        let state = self.lock();
        state.parked.iter().any(|p| p.link.id == id)
            || state.lanes.iter().any(|s| s.lane.id == id)
            || state.busy.iter().any(|b| b.link == id)
    }

    /// The server as the first link met it.
    pub(super) fn server(&self) -> Option<&ServerInfo> {
        self.server.get().map(|server| &**server)
    }

    /// What is done about a reason to pin, where a handle doesn't say.
    pub(super) fn pin_policy(&self, reason: PinReason) -> PinPolicy {
        self.limits.pin_policies.get(reason).unwrap_or_default()
    }

    pub(super) fn counts(&self) -> Counts {
        // In this order: no more are dropped than were opened.
        let dropped = self.dropped.sum();
        let opened = self.opened.sum();
        let state = self.lock();
        // Brings the bytes of the lanes up to date.
        for shared in &state.lanes {
            shared.lane.times();
        }
        Counts {
            active_connections: state.open as u64,
            idle_connections: state.idle() as u64,
            handles: opened.saturating_sub(dropped),
            waiting: state.queue.len() as u64,
            handles_opened: opened,
            connects_saved: self.saved.sum(),
            ..self.counters.snapshot()
        }
    }
}

impl Owner for Group {
    fn room(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) == 0 && !self.closing.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.lock();
        if state.closed {
            let idle = state.take_all(|_, _| true);
            return self.close_all(state, idle, Close::Explicit);
        }
        self.serve(&mut state);
    }

    fn took(&self, digest: u64, time: Duration) {
        self.digests.took(digest, time);
    }

    fn lost(&self, lane: &Arc<Lane>, pinned: bool) {
        let mut state = self.lock();
        let Some(at) = state.lanes.iter().position(|s| Arc::ptr_eq(&s.lane, lane)) else {
            return;
        };
        let shared = state.lanes.swap_remove(at);
        if shared.account.is_shared() && pinned {
            shared.account.lost_sessions.fetch_add(1, Ordering::Relaxed);
        }
        state.open -= 1;
        shared.account.links.fetch_sub(1, Ordering::Relaxed);
        shared.account.ready.fetch_sub(1, Ordering::Release);
        self.counters
            .lost_connections
            .fetch_add(1, Ordering::Relaxed);
        if !state.closed {
            self.serve(&mut state);
        }
        state.forget_empty();
        self.changed.notify_all();
    }
}
