//! Who gets what: a place on a lane, a link, the right to open one, or a turn in the queue. Decided
//! under the group's lock, without I/O.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering, fence},
    },
    time::{Duration, Instant},
};

use super::{
    Group,
    state::{Parked, Shared, State},
};
use crate::{
    error::DriverError,
    link::{Face, Lane, Place},
    mux::{
        account::Account,
        waiter::Waiter,
        wish::{Grant, Like, Need, Wish},
    },
};

/// Statements on the least busy lane from which on another link may be worth its cost, if one more
/// waits for longer than [`WAIT`].
const BUSY: usize = 16;

/// Another link is not opened for less: the quickest statements would only share the server's cores.
const WAIT: Duration = Duration::from_millis(1);

/// Statements that take the server longer are spread over all lanes: their packets are not what they cost.
const QUICK: Duration = Duration::from_micros(500);

/// Lanes are made to and fro so often before another link is opened.
const TURNS: u32 = 4;

impl Group {
    /// A place on a lane that is there, without more ado: the usual case, which needs no clock. `None`:
    /// it takes more; see [`Self::acquire`].
    #[inline]
    pub(in crate::mux) fn place(&self, like: Like<'_>) -> Option<Place> {
        let mut state = self.lock();
        if state.closed || state.queue.has_line(like.account, Need::Place) {
            return None;
        }
        self.place_for(&mut state, like)
    }

    /// The lane that is asked first what it knows; it has room or not.
    #[inline]
    pub(in crate::mux) fn lane(&self, like: Like<'_>) -> Option<Arc<Lane>> {
        let state = self.lock();
        if state.closed {
            return None;
        }
        let mut lanes = state.lanes.iter().filter(|s| s.is_open_to(like));
        // Its own lock is not waited for under this one.
        lanes.next().map(|shared| shared.lane.clone())
    }

    /// What can be done now, or a place in the queue.
    pub(super) fn grant_or_wait(
        &self,
        wish: &Wish,
        face: Face,
        pausing: bool,
    ) -> std::result::Result<Grant, Arc<Waiter>> {
        let mut state = self.lock();
        if state.closed {
            return Ok(Grant::Failed(DriverError::MuxShutDown.into()));
        }
        // Nobody overtakes those who wait for the same.
        if (pausing || !state.queue.has_line(&wish.account, wish.need))
            && let Some(grant) = self.grant(&mut state, wish, pausing)
        {
            return Ok(grant);
        }
        let waiter = state.queue.join(wish.clone(), face);
        self.counters.waits.fetch_add(1, Ordering::Relaxed);
        self.queue_changed(&mut state);
        // Whoever made room before it could know that somebody waits did not look.
        fence(Ordering::SeqCst);
        if !pausing {
            self.serve(&mut state);
        }
        drop(state);
        match waiter.granted.take() {
            Some(grant) => Ok(grant),
            None => Err(waiter),
        }
    }

    /// Others wait than before.
    pub(super) fn queue_changed(&self, state: &mut State) {
        self.waiting.store(state.queue.len(), Ordering::SeqCst);
        self.drain(state);
    }

    /// As many lanes as there are waiters for a link alone take no more statements; those of an account that may
    /// open no other wait for its own.
    fn drain(&self, state: &mut State) {
        let slow_left = self.slow_left(state);
        let wanted = match state.open < self.limits.max_links {
            true => 0,
            false => state.queue.alone(slow_left, Account::may_open),
        };
        for shared in state.lanes.iter_mut().filter(|s| s.account.is_shared()) {
            let own = |account: &Account| std::ptr::eq(account, &*shared.account);
            shared.draining = state.queue.alone(slow_left, own) > 0;
        }
        let mut draining = state.own_lanes().filter(|s| s.draining).count();
        while draining > wanted {
            if let Some(shared) = state.own_lanes().find(|s| s.draining) {
                shared.draining = false;
            }
            draining -= 1;
        }
        while draining < wanted {
            let least = state
                .own_lanes()
                .filter(|s| !s.draining)
                .min_by_key(|s| s.lane.load.taken.load(Ordering::Relaxed));
            match least {
                Some(least) => least.draining = true,
                None => break,
            }
            draining += 1;
        }
    }

    /// How many more links may run what is known to take long: one at least is left for the quick.
    fn slow_left(&self, state: &State) -> usize {
        let slow = state.busy.iter().filter(|b| b.slow).count();
        (self.limits.max_links - 1).saturating_sub(slow)
    }

    /// A place on the least busy lane that fits and has room; in a crowd, of the lanes that are worth their cost.
    #[inline]
    fn place_for(&self, state: &mut State, like: Like<'_>) -> Option<Place> {
        let (wide, is_crowd) = (state.width.wide(), state.width.is_crowd());
        let (mut lanes, mut in_flight) = (0, 0);
        let mut clock = None;
        let mut least: Option<(&Shared, usize)> = None;
        let mut of_the_first = None;
        for shared in state.lanes.iter().filter(|s| s.is_open_to(like)) {
            let load = &shared.lane.load;
            let taken = load.taken.load(Ordering::SeqCst);
            if taken == 0 && !is_crowd {
                state.busy_since = None;
                return Some(Place::take(&shared.lane));
            }
            let mut has_room = || {
                let now = *clock.get_or_insert_with(Instant::now);
                taken < load.window(self.is_one_at_a_time()) && !load.is_stuck(now)
            };
            if least.is_none_or(|(_, least)| taken < least) && (taken == 0 || has_room()) {
                least = Some((shared, taken));
            }
            lanes += 1;
            in_flight += taken;
            if lanes <= wide {
                of_the_first = least;
            }
        }
        let (mut shared, mut taken) = least?;
        // Another lane may be worth its cost only where all that there are are.
        let mut uses_all = true;
        if lanes > 1 {
            let first = of_the_first.unwrap_or((shared, taken));
            let quick = first.0.lane.load.wait(1) < QUICK;
            let found = in_flight + state.queue.in_line(like.account, Need::Place);
            let who = Arc::as_ptr(like.account) as usize;
            if state.width.matters(who, lanes, found, quick, clock) {
                (shared, taken) = first;
                uses_all = lanes <= wide;
            }
        }
        let place = Place::take(&shared.lane);
        if !uses_all || taken < BUSY || shared.lane.load.wait(taken) < WAIT {
            state.busy_since = None;
        } else if state.open < self.limits.max_links && like.account.may_open() {
            // What has lasted as long as a connect takes may well last longer.
            let since = *state.busy_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= self.connect_time() {
                state.busy_since = None;
                self.wants_more.store(true, Ordering::Relaxed);
            }
        }
        Some(place)
    }

    /// A lane that fits is only full, and goes on.
    fn has_hope(&self, state: &State, wish: &Wish) -> bool {
        let now = Instant::now();
        let mut open = state.lanes.iter().filter(|s| s.is_open_to(wish.like()));
        wish.need == Need::Place && open.any(|s| !s.lane.load.is_stuck(now))
    }

    fn is_one_at_a_time(&self) -> bool {
        self.one_at_a_time.load(Ordering::Relaxed)
    }

    /// What can be done for a wish now. A link that it gets is noted as held.
    fn grant(&self, state: &mut State, wish: &Wish, pausing: bool) -> Option<Grant> {
        let grant = self.find(state, wish, pausing)?;
        if let Grant::Link(link) = &grant {
            state.note(link, wish);
        }
        Some(grant)
    }

    fn find(&self, state: &mut State, wish: &Wish, pausing: bool) -> Option<Grant> {
        let account = &wish.account;
        // Not the link itself: it is for statements.
        if wish.need == Need::Proof && account.ready.load(Ordering::Relaxed) > 0 {
            return Some(Grant::Nothing);
        }
        if !matches!(wish.need, Need::Exact(_))
            && wish.owns
            && let Some(at) = state
                .parked
                .iter()
                .position(|p| p.link.session.owner == wish.handle)
        {
            return Some(Grant::Link(state.parked.remove(at).link));
        }
        match wish.need {
            Need::Exact(id) => {
                // It may have become another account's since.
                let ours = |whose: &Arc<Account>| Arc::ptr_eq(whose, account);
                let is_it = |p: &Parked| p.link.id == id && ours(&p.account);
                if let Some(at) = state.parked.iter().position(is_it) {
                    return Some(Grant::Link(state.parked.remove(at).link));
                }
                let is_it = |s: &&mut Shared| s.lane.id == id && ours(&s.account);
                let Some(shared) = state.lanes.iter_mut().find(is_it) else {
                    return Some(Grant::Nothing);
                };
                shared.claimed = true;
                return shared.take().map(Grant::Link).inspect(|_| {
                    state.lanes.retain(|s| s.lane.id != id);
                });
            }
            Need::Place => {
                if let Some(place) = self.place_for(state, wish.like()) {
                    return Some(Grant::Place(place));
                }
            }
            Need::Slow => {
                if self.slow_left(state) == 0 {
                    return None;
                }
                if let Some(link) = state.take_lane(|s| s.fits(wish.like())) {
                    return Some(Grant::Link(link));
                }
            }
            Need::Alone => {
                if let Some(link) = state.take_lane(|s| s.fits(wish.like())) {
                    return Some(Grant::Link(link));
                }
            }
            Need::Proof => {}
        }
        // Of the account's links at rest, nobody's needs the least; of the others the one used last
        // is the warmest.
        let fit = |p: &Parked| p.link.session.owner == 0;
        let own = state
            .parked
            .iter()
            .enumerate()
            .filter(|(_, p)| Arc::ptr_eq(&p.account, account));
        if let Some((at, _)) = own.max_by_key(|(_, p)| fit(p)) {
            return Some(Grant::Link(state.parked.remove(at).link));
        }
        // A session that begins otherwise costs less than a link, unless it is to and fro.
        let often = state.turns >= TURNS && state.open < self.limits.max_links;
        if !(often && account.may_open() && !pausing && wish.need != Need::Proof)
            && let Some(link) = state.take_lane(|s| Arc::ptr_eq(&s.account, account))
        {
            state.turns += u32::from(wish.need == Need::Place);
            return Some(Grant::Link(link));
        }
        let joining = wish.need == Need::Proof && account.links.load(Ordering::Relaxed) > 0;
        if pausing || !account.may_open() || joining {
            return None;
        }
        if state.open < self.limits.max_links {
            if self.has_hope(state, wish) {
                return None;
            }
            return Some(state.open_one(account));
        }
        let parked = state.parked.iter().position(|p| p.account.may_lose_links());
        if let Some(at) = parked {
            return Some(steal(state.parked.remove(at), account));
        }
        let at = state.lanes.iter().position(|s| {
            s.account.may_lose_links()
                && !s.claimed
                && s.lane.load.taken.load(Ordering::SeqCst) == 0
        })?;
        let link = Box::new(state.lanes[at].lane.take_back()?);
        let shared = state.lanes.swap_remove(at);
        let parked = Parked {
            link,
            account: shared.account,
            proven: true,
        };
        Some(steal(parked, account))
    }

    /// Gives what there is to those who wait, in order.
    pub(super) fn serve(&self, state: &mut State) {
        // The usual case, without looking for who came first.
        while let Some(waiter) = state.queue.only_head() {
            let Some(grant) = self.grant(state, &waiter.wish, false) else {
                break;
            };
            state.queue.leave(&waiter);
            state.give(&waiter, grant);
        }
        'again: loop {
            for waiter in state.queue.heads() {
                if let Some(grant) = self.grant(state, &waiter.wish, false) {
                    state.queue.leave(&waiter);
                    state.give(&waiter, grant);
                    // Who got a place may be done with it before the next one is looked at, and one who
                    // came later would have it then before one who wants the link alone.
                    self.drain(state);
                    continue 'again;
                }
            }
            break;
        }
        self.queue_changed(state);
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
        let mut link = parked.link;
        link.session.disown();
        return Grant::Link(link);
    }
    Grant::Steal(parked.link)
}
