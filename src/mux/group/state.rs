//! What a group keeps under its lock: its links, each at rest, a lane or somebody's, and who waits.
//! Knows neither how links are opened nor who should have one.

use std::{
    borrow::Cow,
    ops::{Deref, DerefMut},
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::{
    link::{Lane, Link, Stream},
    mux::{
        account::Account,
        handed::Bell,
        waiter::{Queue, Waiter},
        width::Width,
        wish::{Grant, Like, Need, Wish},
    },
    opts::session::SessionOpts,
    session::variables::same,
};

#[derive(Debug, Default)]
pub(super) struct State {
    pub closed: bool,
    /// The mux has it no more: whoever comes by it finds another.
    pub forgotten: bool,
    /// Since when it was seen without accounts.
    pub unused_since: Option<Instant>,
    /// Links open or being opened.
    pub open: usize,
    /// Links at rest whose session is somebody's, last used last.
    pub parked: Vec<Parked>,
    pub lanes: Vec<Shared>,
    pub width: Width,
    pub busy: Vec<Busy>,
    pub queue: Queue,
    pub accounts: Vec<Arc<Account>>,
    /// How often a lane was made one of another beginning since the last link was opened.
    pub turns: u32,
    /// Since when all lanes are busy.
    pub busy_since: Option<Instant>,
    /// Of those who were given something since the lock is held.
    pub bells: Vec<Bell>,
    /// A connect succeeded once: a refusal now may be a restart.
    pub reached: bool,
}

#[derive(Debug)]
pub(super) struct Parked {
    pub link: Box<Link>,
    pub account: Arc<Account>,
    /// The link counts among those that prove the account's credentials.
    pub proven: bool,
}

/// A lane and for whom its session is right.
#[derive(Debug)]
pub(super) struct Shared {
    pub lane: Arc<Lane>,
    pub account: Arc<Account>,
    pub begin: Arc<SessionOpts>,
    /// Somebody waits to have the link alone: no place is given any more.
    pub draining: bool,
    /// Somebody waits for this link and no other.
    pub claimed: bool,
}

/// A link that somebody holds.
#[derive(Debug)]
pub(super) struct Busy {
    pub link: u32,
    pub connection_id: u32,
    pub handle: u64,
    pub since: Instant,
    pub why: Cow<'static, str>,
    pub slow: bool,
    pub stream: Arc<Stream>,
}

/// A group's lock; those who were given something while it was held are told when it is free again.
pub(super) struct Locked<'a>(Option<MutexGuard<'a, State>>);

impl<'a> Locked<'a> {
    #[inline]
    pub(super) fn new(state: &'a Mutex<State>) -> Self {
        Locked(Some(state.lock()))
    }

    /// Waits, without the lock, for a change. Whether the time is over.
    pub(super) fn wait(&mut self, change: &Condvar, until: Instant) -> bool {
        let Locked(Some(guard)) = self else {
            return true;
        };
        debug_assert!(guard.bells.is_empty(), "whom nobody would tell for long");
        change.wait_until(guard, until).timed_out()
    }
}

impl Deref for Locked<'_> {
    type Target = State;

    #[inline]
    fn deref(&self) -> &State {
        match &self.0 {
            Some(guard) => guard,
            None => unreachable!("it goes with the lock"),
        }
    }
}

impl DerefMut for Locked<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut State {
        match &mut self.0 {
            Some(guard) => guard,
            None => unreachable!("it goes with the lock"),
        }
    }
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        let Some(mut state) = self.0.take() else {
            return;
        };
        if !state.bells.is_empty() {
            let bells = std::mem::take(&mut state.bells);
            drop(state);
            bells.into_iter().for_each(Bell::ring);
        }
    }
}

impl State {
    /// Of all links that somebody uses.
    pub(super) fn streams(&self) -> impl Iterator<Item = &Arc<Stream>> {
        let alone = self.busy.iter().map(|busy| &busy.stream);
        alone.chain(self.lanes.iter().map(|shared| shared.lane.stream()))
    }

    /// Lanes whose users have sessions of their own: no more than a link is wanted, whichever it is.
    pub(super) fn own_lanes(&mut self) -> impl Iterator<Item = &mut Shared> {
        self.lanes.iter_mut().filter(|s| !s.account.is_shared())
    }

    /// Hands it over.
    pub(super) fn give(&mut self, waiter: &Waiter, grant: Grant) {
        self.bells.push(waiter.granted.lay(grant));
    }

    /// A link is somebody's alone.
    pub(super) fn note(&mut self, link: &Link, wish: &Wish) {
        self.busy.retain(|b| b.link != link.id);
        self.busy.push(Busy {
            link: link.id,
            connection_id: link.server.connection_id,
            handle: wish.handle,
            since: Instant::now(),
            why: wish.why.into(),
            slow: wish.need == Need::Slow,
            stream: link.stream().clone(),
        });
    }

    /// Counts a link that is about to be opened.
    pub(super) fn open_one(&mut self, account: &Account) -> Grant {
        self.open += 1;
        self.turns = 0;
        account.links.fetch_add(1, Ordering::Relaxed);
        Grant::Open
    }

    /// Links that nobody uses at the moment.
    pub(super) fn idle(&self) -> usize {
        let lanes = self
            .lanes
            .iter()
            .filter(|s| s.lane.load.taken.load(Ordering::Relaxed) == 0);
        self.parked.len() + lanes.count()
    }

    /// A lane's link that nobody uses, the one that was shared last first.
    pub(super) fn take_lane(&mut self, fits: impl Fn(&Shared) -> bool) -> Option<Box<Link>> {
        for at in (0..self.lanes.len()).rev() {
            let shared = &self.lanes[at];
            if fits(shared)
                && !shared.claimed
                && let Some(link) = shared.take()
            {
                self.lanes.swap_remove(at);
                return Some(link);
            }
        }
        None
    }

    /// Any link of a lane that nobody uses.
    pub(super) fn take_one(&mut self) -> Option<Parked> {
        let mut taken = false;
        self.take_all(|_, _| !std::mem::replace(&mut taken, true))
            .pop()
    }

    /// Takes the links at rest of which `over` says so, by their account and when they were last used
    /// and opened.
    pub(super) fn take_all(
        &mut self,
        mut over: impl FnMut(&Arc<Account>, (Instant, Instant)) -> bool,
    ) -> Vec<Parked> {
        let (mut taken, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.parked)
            .into_iter()
            .partition(|p| over(&p.account, (p.link.used, p.link.opened)));
        self.parked = kept;
        self.lanes.retain(|shared| {
            if shared.lane.load.taken.load(Ordering::SeqCst) > 0 {
                return true;
            }
            let Some(times) = shared.lane.times() else {
                return true;
            };
            if over(&shared.account, times)
                && let Some(link) = shared.lane.take_back()
            {
                taken.push(Parked {
                    link: Box::new(link),
                    account: shared.account.clone(),
                    proven: true,
                });
                return false;
            }
            true
        });
        taken
    }

    /// Accounts without users and links are nobody's.
    pub(super) fn forget_empty(&mut self) {
        self.accounts
            .retain(|a| a.users.load(Ordering::Relaxed) > 0 || a.links.load(Ordering::Relaxed) > 0);
    }
}

impl Shared {
    /// A statement of this handle may go there, if there is room.
    #[inline]
    pub(super) fn is_open_to(&self, like: Like<'_>) -> bool {
        !self.draining && !self.claimed && self.fits(like) && !self.lane.is_tainted()
    }

    /// The link, if nobody uses it.
    pub(super) fn take(&self) -> Option<Box<Link>> {
        match self.lane.load.taken.load(Ordering::SeqCst) {
            0 => self.lane.take_back().map(Box::new),
            _ => None,
        }
    }

    /// The session on it is as this handle's.
    #[inline(always)]
    pub(super) fn fits(&self, like: Like<'_>) -> bool {
        Arc::ptr_eq(&self.account, like.account)
            && (self.account.is_shared()
                || (self.lane.schema == *like.schema
                    && same(&self.lane.vars, like.vars)
                    && same(&self.lane.user_variables, like.user)
                    && (Arc::ptr_eq(&self.begin, like.begin)
                        || self.begin.begins_like(like.begin))))
    }
}
