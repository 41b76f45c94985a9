//! Getting a link or a place: waiting for one, opening one, making another account's one's own, and the
//! errors where none of that comes to anything in time.

use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    Group,
    state::{Shared, State},
};
use crate::{
    error::{AcquireTimeout, ConnectCause, ConnectError, ConnectPhase, DriverError, Error, Result},
    events,
    link::{self, Face, Lane, Link, Owner, Place, offload},
    mux::{
        account::Account,
        waiter::Waiter,
        wish::{Close, Got, Grant, Need, Wish},
    },
    opts::session::SessionOpts,
};

impl Group {
    /// A link, or a place on a lane, for one statement or for as long as it is kept. Waits up to
    /// `acquire_timeout`, or to `until` where that is sooner.
    pub(in crate::mux) async fn acquire(
        self: &Arc<Self>,
        wish: Wish,
        face: Face,
        until: Option<Instant>,
    ) -> Result<Got> {
        let account = wish.account.clone();
        let began = Instant::now();
        let deadline = began + self.limits.acquire_timeout;
        let deadline = until.map_or(deadline, |until| until.min(deadline));
        let mut pause = Duration::from_millis(20);
        let mut last_connect: Option<Arc<ConnectError>> = None;
        // Set while a failed connect is to be tried again, unless a link comes free before.
        let mut retry_at: Option<Instant> = None;
        loop {
            let grant = match self.grant_or_wait(&wish, face, retry_at.is_some()) {
                Ok(grant) => grant,
                Err(waiter) => {
                    let until = retry_at.take().map_or(deadline, |at| at.min(deadline));
                    let mut waiting = Waiting {
                        group: self,
                        waiter: &waiter,
                        over: false,
                    };
                    let mut patience = self.patience();
                    let mut may_open = wish.need == Need::Place;
                    let granted = loop {
                        let by = until.min(Instant::now() + patience);
                        let granted = waiter.granted.wait(face, by).await.map_err(no_reactor)?;
                        if granted.is_some() || by >= until {
                            break granted.or_else(|| waiting.end());
                        }
                        // Again and again: a task may ask, and rest, on a place that it had before.
                        self.send_deferred();
                        if std::mem::take(&mut may_open)
                            && let Some(grant) = self.open_instead(&waiter)
                        {
                            break Some(grant);
                        }
                        patience *= 2;
                    };
                    match granted {
                        Some(grant) => {
                            waiting.over = true;
                            grant
                        }
                        None if Instant::now() < deadline => continue,
                        None => return Err(self.timed_out(began, last_connect)),
                    }
                }
            };
            retry_at = None;
            match grant {
                Grant::Place(place) => return Ok(Got::Place(place)),
                Grant::Link(mut link) => {
                    if link.is_alive() {
                        self.counters
                            .connection_reused
                            .fetch_add(1, Ordering::Relaxed);
                        return Ok(self.share_or_keep(link, &wish));
                    }
                    self.give_up(link, &account, Close::Lost);
                }
                Grant::Steal(mut link) => {
                    let schema = account.opts.session().db_name.as_deref();
                    if !link.is_alive() {
                        self.drop_link(link, &account, Close::Lost, false);
                        continue;
                    }
                    self.hold(&link, &wish);
                    link.face = face;
                    let mut stolen = Stolen {
                        group: self,
                        account: &account,
                        link: Some(link),
                    };
                    let changed = match &mut stolen.link {
                        Some(link) => link.change_user(&account.identity, schema).await,
                        None => Ok(()),
                    };
                    match (changed, stolen.link.take()) {
                        (Ok(()), Some(link)) => {
                            self.opened(&account);
                            return Ok(Got::Link(link));
                        }
                        (Err(e), Some(link)) => {
                            self.drop_link(link, &account, Close::Lost, false);
                            return Err(self.denied(&account, e));
                        }
                        (_, None) => continue,
                    }
                }
                Grant::Open => match self.open(&account, deadline, face).await {
                    Ok(link) => {
                        self.hold(&link, &wish);
                        return Ok(self.share_or_keep(link, &wish));
                    }
                    // The caller's time was over before the connect's own was, which says nothing of
                    // the server: others try for as long as they have.
                    Err(e)
                        if matches!(e.cause, ConnectCause::Timeout(t)
                            if t < account.opts.get_tcp_connect_timeout()) =>
                    {
                        events::connect_failed(&e, false);
                        self.open_failed(&account, None);
                        let e = last_connect.unwrap_or_else(|| Arc::new(e));
                        return Err(self.timed_out(began, Some(e)));
                    }
                    Err(e) => {
                        let may_retry = !wish.hurries && self.may_retry(&e);
                        let again = may_retry && Instant::now() + pause < deadline;
                        events::connect_failed(&e, again);
                        let e = Arc::new(e);
                        self.open_failed(
                            &account,
                            (!again).then(|| Error::ConnectError(e.clone())),
                        );
                        if !again {
                            return Err(Error::ConnectError(e));
                        }
                        last_connect = Some(e);
                        retry_at = Some(Instant::now() + pause);
                        pause = (pause * 2).min(Duration::from_secs(1));
                    }
                },
                Grant::Failed(e) => return Err(e),
                Grant::Nothing => return Ok(Got::Nothing),
            }
        }
    }

    /// Makes a link a lane at once where nothing has to be sent before: others need not wait for
    /// this caller's statement.
    fn share_or_keep(&self, mut link: Box<Link>, wish: &Wish) -> Got {
        let shares = wish.need == Need::Place
            && !wish.owns
            && link.can_share()
            && !wish.account.is_shared()
            && link.begin_free(wish.want());
        if !shares {
            return Got::Link(link);
        }
        let mut state = self.lock();
        state.busy.retain(|b| b.link != link.id);
        let lane = self.add_lane(&mut state, *link, &wish.account, &wish.begin);
        let place = Place::take(&lane);
        if !state.closed {
            self.serve(&mut state);
        }
        Got::Place(place)
    }

    pub(super) fn add_lane(
        &self,
        state: &mut State,
        mut link: Link,
        account: &Arc<Account>,
        begin: &Arc<SessionOpts>,
    ) -> Arc<Lane> {
        link.face = Face::Blocking;
        link.deadline = None;
        let owner: Weak<dyn Owner> = self.me.clone();
        let lane = Lane::share(link, owner, account.is_shared());
        state.lanes.push(Shared {
            lane: lane.clone(),
            account: account.clone(),
            begin: begin.clone(),
            draining: false,
            claimed: false,
        });
        lane
    }

    /// Opens a link; a task's in a thread of its own. Whoever goes away meanwhile leaves a link for
    /// others.
    async fn open(
        self: &Arc<Self>,
        account: &Arc<Account>,
        deadline: Instant,
        face: Face,
    ) -> std::result::Result<Box<Link>, ConnectError> {
        let (group, whose) = (self.clone(), account.clone());
        let (group2, whose2) = (self.clone(), account.clone());
        let opened = offload(
            face,
            move || group.open_now(&whose, deadline),
            move |opened| match opened {
                Ok(link) => group2.release(link, &whose2, None),
                Err(e) => {
                    events::connect_failed(&e, false);
                    group2.open_failed(&whose2, None);
                }
            },
        )
        .await;
        opened.unwrap_or_else(|e| {
            Err(ConnectError {
                server: self.target.endpoint.to_string(),
                user: account.identity.user.clone(),
                phase: ConnectPhase::Open,
                cause: ConnectCause::Io(Arc::new(e)),
            })
        })
    }

    pub(super) fn open_now(
        &self,
        account: &Arc<Account>,
        deadline: Instant,
    ) -> std::result::Result<Box<Link>, ConnectError> {
        let schema = account.opts.session().db_name.as_deref();
        let began = Instant::now();
        let link = link::open(
            &account.opts,
            schema,
            deadline,
            &self.counters,
            &self.one_at_a_time,
        )?;
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.connect_time.store(took, Ordering::Relaxed);
        events::opened(&link);
        drop(self.server.set(link.server.clone()));
        self.opened(account);
        Ok(Box::new(link))
    }

    pub(super) fn connect_time(&self) -> Duration {
        Duration::from_micros(self.connect_time.load(Ordering::Relaxed))
    }

    /// How long a wait is better than another link: what opening one costs.
    fn patience(&self) -> Duration {
        const LEAST: Duration = Duration::from_millis(2);
        self.connect_time().max(LEAST)
    }

    /// A task that asked, and is not gone on with, sends nothing. Those who are placed behind it send
    /// it too; who waits for a place, or for its lane to be at rest, must see to that.
    fn send_deferred(&self) {
        let state = self.lock();
        let lanes: Vec<_> = state.lanes.iter().map(|s| s.lane.clone()).collect();
        // A lane that comes to rest tells this group.
        drop(state);
        lanes.iter().for_each(Lane::send_deferred);
    }

    /// Opens a link for somebody who has waited long enough, if one may be opened.
    fn open_instead(&self, waiter: &Arc<Waiter>) -> Option<Grant> {
        let mut state = self.lock();
        let account = &waiter.wish.account;
        if let Some(grant) = waiter.granted.take() {
            return Some(grant);
        }
        if state.closed || state.open >= self.limits.max_links || !account.may_open() {
            return None;
        }
        state.queue.leave(waiter);
        self.queue_changed(&mut state);
        Some(state.open_one(account))
    }

    fn timed_out(&self, began: Instant, last_connect: Option<Arc<ConnectError>>) -> Error {
        self.counters
            .acquire_timeouts
            .fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let state = self.lock();
        let alone = state.busy.iter().map(|b| {
            format!(
                "connection {} is held by handle {} for {:?}: {}",
                b.connection_id,
                b.handle,
                now - b.since,
                b.why
            )
        });
        let shared = state.lanes.iter().map(|s| {
            format!(
                "connection {} is shared by {} statements",
                s.lane.server.connection_id,
                s.lane.load.taken.load(Ordering::Relaxed)
            )
        });
        let holders = alone.chain(shared).collect();
        drop(state);
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
        e.is_transient() && self.lock().reached
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
        let mut state = self.lock();
        state.reached = true;
        account.ready.fetch_add(1, Ordering::Release);
        // Some may wait for no more than that.
        if !state.closed {
            self.serve(&mut state);
        }
    }

    /// A connect failed: its place is free; with an error that will not pass, those who wait for
    /// the same account are told now.
    pub(super) fn open_failed(&self, account: &Arc<Account>, lasting: Option<Error>) {
        let mut state = self.lock();
        state.open -= 1;
        account.links.fetch_sub(1, Ordering::Relaxed);
        // Those who wait for a place while links of the account stand are served by these.
        if let Some(e) = lasting
            && account.ready.load(Ordering::Relaxed) == 0
        {
            for waiter in state.queue.take_all(Some(account)) {
                state.give(&waiter, Grant::Failed(e.clone()));
            }
        }
        self.serve(&mut state);
        state.forget_empty();
    }

    fn hold(&self, link: &Link, wish: &Wish) {
        let mut state = self.lock();
        if state.closed {
            // A shutdown did not see this link; it is ended like those that it saw.
            link.stream().shutdown();
        }
        state.note(link, wish);
    }
}

/// Somebody in the queue; who goes away leaves it, and what it was given goes back.
struct Waiting<'a> {
    group: &'a Arc<Group>,
    waiter: &'a Arc<Waiter>,
    over: bool,
}

impl Waiting<'_> {
    /// Leaves the queue; what was given at the last moment is still its.
    fn end(&mut self) -> Option<Grant> {
        if std::mem::replace(&mut self.over, true) {
            return None;
        }
        let mut state = self.group.lock();
        state.queue.leave(self.waiter);
        if let Need::Exact(id) = self.waiter.wish.need
            && let Some(shared) = state.lanes.iter_mut().find(|s| s.lane.id == id)
        {
            shared.claimed = false;
            self.group.serve(&mut state);
        }
        self.group.queue_changed(&mut state);
        drop(state);
        self.waiter.granted.take()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(grant) = Waiting::end(self) else {
            return;
        };
        let (group, account) = (self.group, &self.waiter.wish.account);
        match grant {
            Grant::Link(link) => group.release(link, account, None),
            Grant::Steal(link) => group.drop_link(link, account, Close::Implicit, false),
            Grant::Open => group.open_failed(account, None),
            // A place goes back by itself.
            Grant::Place(..) | Grant::Failed(_) | Grant::Nothing => {}
        }
    }
}

/// A link whose user is being changed; who goes away in the middle leaves nothing of use.
struct Stolen<'a> {
    group: &'a Arc<Group>,
    account: &'a Arc<Account>,
    link: Option<Box<Link>>,
}

impl Drop for Stolen<'_> {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            self.group
                .drop_link(link, self.account, Close::Implicit, false);
        }
    }
}

pub(in crate::mux) fn no_reactor(e: std::io::Error) -> Error {
    DriverError::NoReactor(e.to_string()).into()
}
