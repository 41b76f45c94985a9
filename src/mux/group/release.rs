//! Giving links back, closing those that nobody needs, opening those that are missing, and the end.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    Group,
    state::{Locked, Parked, State},
};
use crate::{
    error::DriverError,
    events,
    link::{self, Face, Link},
    mux::{
        account::Account,
        chores::Chore,
        wish::{Close, Grant},
    },
    opts::session::SessionOpts,
};

impl Group {
    /// Says why a link stays with its handle.
    pub(in crate::mux) fn note(&self, link: u32, why: String) {
        if let Some(busy) = self.lock().busy.iter_mut().find(|b| b.link == link) {
            busy.why = why.into();
        }
    }

    /// Gives a link back: to the first waiter who can use it, or to rest. `begin`: its session is as
    /// these options begin it, so that many may use it at once.
    pub(in crate::mux) fn release(
        &self,
        mut link: Box<Link>,
        account: &Arc<Account>,
        begin: Option<&Arc<SessionOpts>>,
    ) {
        if !link.is_usable() {
            return self.give_up(link, account, Close::Lost);
        }
        link.face = Face::Blocking;
        link.deadline = None;
        let mut state = self.lock();
        state.busy.retain(|b| b.link != link.id);
        match begin {
            Some(begin) if link.can_share() => {
                self.add_lane(&mut state, *link, account, begin);
            }
            _ => state.parked.push(Parked {
                link,
                account: account.clone(),
                proven: true,
            }),
        }
        if state.closed {
            let all = state.take_all(|_, _| true);
            return self.close_all(state, all, Close::Explicit);
        }
        self.serve(&mut state);
        let vacant = account.users.load(Ordering::Relaxed) == 0;
        let over = if vacant && self.limits.linger.is_zero() || account.is_retired() {
            state.take_all(|a, _| Arc::ptr_eq(a, account))
        } else if state.idle() > self.limits.max_idle_links && !account.is_shared() {
            match state.parked.pop() {
                Some(parked) => vec![parked],
                None => state.take_one().into_iter().collect(),
            }
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

    /// Gives a link back as it came: whose session was as its options begin it is so still.
    pub(in crate::mux) fn put_back(&self, link: Box<Link>, account: &Arc<Account>) {
        let begin = link.session.clean.clone();
        let share = begin.filter(|_| link.session.is_shareable());
        self.release(link, account, share.as_ref());
    }

    /// Closes a link that nobody should use again.
    pub(in crate::mux) fn give_up(&self, link: Box<Link>, account: &Arc<Account>, why: Close) {
        self.drop_link(link, account, why, true);
    }

    pub(super) fn drop_link(
        &self,
        link: Box<Link>,
        account: &Arc<Account>,
        why: Close,
        proven: bool,
    ) {
        if account.is_shared() && link.session.pin().is_some() {
            account.lost_sessions.fetch_add(1, Ordering::Relaxed);
        }
        let mut state = self.lock();
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
    pub(super) fn close_all(&self, mut state: Locked<'_>, links: Vec<Parked>, why: Close) {
        for parked in &links {
            state.open -= 1;
            parked.account.links.fetch_sub(1, Ordering::Relaxed);
            parked
                .account
                .ready
                .fetch_sub(usize::from(parked.proven), Ordering::Release);
        }
        if !state.closed {
            self.serve(&mut state);
        }
        state.forget_empty();
        let counter = match why {
            Close::Explicit => &self.counters.explicit_close,
            Close::Implicit => &self.counters.implicit_close,
            Close::Lost => &self.counters.lost_connections,
        };
        counter.fetch_add(links.len() as u64, Ordering::Relaxed);
        drop(state);
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

    /// Closes what is idle for too long, too old, dead, or without a handle for longer than `linger`.
    pub(in crate::mux) fn reap(&self) {
        let now = Instant::now();
        let limits = &self.limits;
        let mut state = self.lock();
        let mut spare = state.idle().saturating_sub(limits.min_idle_links);
        let over = state.take_all(|account, (used, opened)| {
            let vacant = (*account.vacant.lock()).is_some_and(|since| now - since >= limits.linger);
            if vacant || account.is_retired() {
                return true;
            }
            // A shared link is the session of its handles: it ends when they do.
            if account.is_shared() && account.users.load(Ordering::Relaxed) > 0 {
                return false;
            }
            let old = now - opened >= limits.max_lifetime;
            let unused = now - used >= limits.idle_timeout && spare > 0;
            spare -= usize::from(unused);
            old || unused
        });
        state.forget_empty();
        self.close_all(state, over, Close::Implicit);
    }

    /// Has another link opened, where all lanes were found busy and nobody was told yet.
    #[inline]
    pub(in crate::mux) fn open_more(self: &Arc<Self>) {
        if self.wants_more.load(Ordering::Relaxed) {
            self.warm_soon();
        }
    }

    /// Has links opened where there are fewer than there should be.
    pub(in crate::mux) fn keep_warm(self: &Arc<Self>) {
        let is_short =
            self.limits.min_idle_links > 0 && self.missing(&self.lock(), false).is_some();
        if is_short {
            self.warm_soon();
        }
    }

    /// Whose link is missing, of those that have handles: there are too few at rest, or it is one `more` where all
    /// are busy.
    fn missing(&self, state: &State, more: bool) -> Option<Arc<Account>> {
        if state.closed
            || (state.idle() >= self.limits.min_idle_links && !more)
            || state.open >= self.limits.max_links
        {
            return None;
        }
        let wants = |a: &&Arc<Account>| {
            !a.is_shared()
                && !a.is_retired()
                && a.users.load(Ordering::Relaxed) > 0
                && a.ready.load(Ordering::Relaxed) > 0
        };
        let lanes = state.lanes.iter().filter(|s| wants(&&s.account));
        let busiest = lanes.max_by_key(|s| s.lane.load.taken.load(Ordering::Relaxed));
        busiest
            .map(|s| s.account.clone())
            .or_else(|| state.accounts.iter().find(wants).cloned())
    }

    fn warm_soon(self: &Arc<Self>) {
        if !self.warming.swap(true, Ordering::Relaxed) {
            self.chores.add(self, Chore::Warm);
        }
    }

    /// Opens links up to `min_idle_links`, and one more where all are busy, for the accounts that
    /// have handles.
    pub(in crate::mux) fn warm(self: &Arc<Self>) {
        loop {
            let more = self.wants_more.swap(false, Ordering::Relaxed);
            self.warming.store(false, Ordering::Relaxed);
            let account = {
                let mut state = self.lock();
                let Some(account) = self.missing(&state, more) else {
                    return;
                };
                state.open += 1;
                account.links.fetch_add(1, Ordering::Relaxed);
                account
            };
            let deadline = Instant::now() + self.limits.acquire_timeout;
            match self.open_now(&account, deadline) {
                Ok(mut link) => {
                    // A session as the account's own options begin it, for whoever comes.
                    let begin = account.opts.session().clone();
                    link.deadline = Some((deadline, self.limits.acquire_timeout));
                    let begun = link::now(pin!(link.begin(begin.as_begun(), false)));
                    let clean = begun.is_ok() && link.session.is_shareable();
                    self.release(link, &account, clean.then_some(&begin));
                }
                // Whoever needs a link finds out why; it is tried again at the next round.
                Err(_) => return self.open_failed(&account, None),
            }
        }
    }

    /// Takes nothing new, and closes what is idle.
    pub(in crate::mux) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.closing.store(true, Ordering::SeqCst);
        for waiter in state.queue.take_all(None) {
            state.give(&waiter, Grant::Failed(DriverError::MuxShutDown.into()));
        }
        let idle = state.take_all(|_, _| true);
        self.close_all(state, idle, Close::Explicit);
    }

    /// Waits for what is left of a group that was closed, and ends by force what is left then. Returns how many
    /// links were ended under a statement.
    pub(in crate::mux) fn end(&self, deadline: Instant) -> usize {
        let mut state = self.lock();
        while !state.busy.is_empty() || !state.lanes.is_empty() {
            if state.wait(&self.changed, deadline) {
                break;
            }
        }
        state.streams().for_each(|stream| stream.shutdown());
        state.busy.len() + state.lanes.len()
    }

    /// Closes the account's links as they come to rest, until there are none; ends those that are left then
    /// by force, where nobody else has any. Returns how many these are.
    pub(in crate::mux) fn retire(&self, account: &Arc<Account>, deadline: Instant) -> usize {
        account.retired.store(true, Ordering::Relaxed);
        loop {
            self.reap();
            let mut state = self.lock();
            let left = account.links.load(Ordering::Relaxed);
            if left == 0 {
                return 0;
            }
            // A lane comes to rest without a word.
            const LOOK: Duration = Duration::from_millis(20);
            let now = Instant::now();
            if now >= deadline {
                if state.open == left {
                    state.streams().for_each(|stream| stream.shutdown());
                }
                return left;
            }
            state.wait(&self.changed, deadline.min(now + LOOK));
        }
    }

    /// The server doesn't answer: nobody waits for it any longer.
    pub(in crate::mux) fn cut(&self) {
        let state = self.lock();
        state.streams().for_each(|stream| stream.shutdown());
    }
}
