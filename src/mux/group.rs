//! All links of one key: who gets one, or a place on one, who waits, what is closed.
//!
//! A link rests here, is held by one caller alone, or is a [`Lane`] that many use. Waiters are served
//! in order; what comes free goes straight to the one who waited longest and can use it.

use std::{
    borrow::Cow,
    pin::pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence},
    },
    time::{Duration, Instant},
};

use once_cell::sync::OnceCell;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::{
    account::Account,
    digests::Digests,
    limits::Limits,
    marks::Marks,
    recent,
    spread::Spread,
    stats::{Counters, Counts},
    waiter::{Queue, Waiter},
    width::Width,
    wish::{Close, Got, Grant, Like, Need, Wish},
};
use crate::{
    error::{AcquireTimeout, ConnectCause, ConnectError, ConnectPhase, DriverError, Error, Result},
    events,
    link::{self, Face, Lane, Link, Owner, Place, Stream, offload},
    opts::{Opts, session::SessionOpts, target::Target},
    proto::handshake::ServerInfo,
    session::{PinPolicy, PinReason, variables::same},
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
    /// All lanes are busy: the housekeeper should open another link.
    wants_more: AtomicBool,
    /// The housekeeper was told.
    warming: AtomicBool,
    /// What stands between was found to take one command at a time.
    pub one_at_a_time: AtomicBool,
    /// How long the last connect took, in microseconds.
    connect_time: AtomicU64,
    /// Whom the first link met.
    server: OnceCell<Arc<ServerInfo>>,
    me: Weak<Group>,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    /// Links open or being opened.
    open: usize,
    /// Links at rest whose session is somebody's, last used last.
    parked: Vec<Parked>,
    lanes: Vec<Shared>,
    width: Width,
    busy: Vec<Busy>,
    queue: Queue,
    accounts: Vec<Arc<Account>>,
    /// How often a lane was made one of another beginning since the last link was opened.
    turns: u32,
    /// Since when all lanes are busy.
    busy_since: Option<Instant>,
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

/// A lane and for whom its session is right.
#[derive(Debug)]
struct Shared {
    lane: Arc<Lane>,
    account: Arc<Account>,
    begin: Arc<SessionOpts>,
    /// Somebody waits to have the link alone: no place is given any more.
    draining: bool,
    /// Somebody waits for this link and no other.
    claimed: bool,
}

/// A link that somebody holds.
#[derive(Debug)]
struct Busy {
    link: u32,
    connection_id: u32,
    handle: u64,
    since: Instant,
    why: Cow<'static, str>,
    slow: bool,
    stream: Arc<Stream>,
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
            one_at_a_time: AtomicBool::new(false),
            connect_time: AtomicU64::new(0),
            server: OnceCell::new(),
            me: me.clone(),
        })
    }

    /// Others may have changed what has not been looked at for some time.
    pub(super) fn age_definitions(&self) {
        let accounts = self.state.lock().accounts.clone();
        for account in accounts {
            account.catalogs.age(self.limits.definitions_age);
        }
    }

    /// The account that these options belong to, with one user more.
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
        account.join();
        account.retired.store(false, Ordering::Relaxed);
        *account.vacant.lock() = None;
        Ok(account)
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
        let mut state = self.state.lock();
        // Another one may have come.
        if account.users.load(Ordering::Acquire) > 0 {
            return;
        }
        *account.vacant.lock() = Some(Instant::now());
        let unused = match self.limits.linger.is_zero() {
            true => take_all(&mut state, |a, _| Arc::ptr_eq(a, account)),
            false => Vec::new(),
        };
        forget_empty(&mut state);
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

    /// A link, or a place on a lane, for one statement or for as long as it is kept. Waits up to
    /// `acquire_timeout`, or to `until` where that is sooner.
    pub(super) async fn acquire(
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
        let mut state = self.state.lock();
        state.busy.retain(|b| b.link != link.id);
        let lane = self.add_lane(&mut state, *link, &wish.account, &wish.begin);
        let place = Place::take(&lane);
        if !state.closed {
            self.serve(&mut state);
        }
        Got::Place(place)
    }

    fn add_lane(
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

    fn open_now(
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

    /// A place on a lane that is there, without more ado: the usual case, which needs no clock. `None`:
    /// it takes more; see [`Self::acquire`].
    #[inline]
    pub(super) fn place(&self, like: Like<'_>) -> Option<Place> {
        let mut state = self.state.lock();
        if state.closed || state.queue.has_line(like.account, Need::Place) {
            return None;
        }
        self.place_for(&mut state, like)
    }

    /// The lane that is asked first what it knows; it has room or not.
    #[inline]
    pub(super) fn lane(&self, like: Like<'_>) -> Option<Arc<Lane>> {
        let state = self.state.lock();
        if state.closed {
            return None;
        }
        let mut lanes = state.lanes.iter().filter(|s| s.is_open_to(like));
        // Its own lock is not waited for under this one.
        lanes.next().map(|shared| shared.lane.clone())
    }

    /// What can be done now, or a place in the queue.
    fn grant_or_wait(
        &self,
        wish: &Wish,
        face: Face,
        pausing: bool,
    ) -> std::result::Result<Grant, Arc<Waiter>> {
        let mut state = self.state.lock();
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
        self.waiting.store(state.queue.len(), Ordering::SeqCst);
        self.drain(&mut state);
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

    /// As many lanes as there are waiters for a link alone take no more statements.
    fn drain(&self, state: &mut State) {
        let wanted = match state.open < self.limits.max_links {
            true => 0,
            false => state.queue.alone(self.slow_left(state)),
        };
        let mut draining = state.lanes.iter().filter(|s| s.draining).count();
        while draining > wanted {
            if let Some(shared) = state.lanes.iter_mut().find(|s| s.draining) {
                shared.draining = false;
            }
            draining -= 1;
        }
        while draining < wanted {
            let least = state
                .lanes
                .iter_mut()
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

    fn connect_time(&self) -> Duration {
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
        let state = self.state.lock();
        let lanes: Vec<_> = state.lanes.iter().map(|s| s.lane.clone()).collect();
        // A lane that comes to rest tells this group.
        drop(state);
        lanes.iter().for_each(Lane::send_deferred);
    }

    /// Opens a link for somebody who has waited long enough, if one may be opened.
    fn open_instead(&self, waiter: &Arc<Waiter>) -> Option<Grant> {
        let mut state = self.state.lock();
        let account = &waiter.wish.account;
        if let Some(grant) = waiter.granted.take() {
            return Some(grant);
        }
        if state.closed || state.open >= self.limits.max_links || !account.may_open() {
            return None;
        }
        state.queue.leave(waiter);
        self.waiting.store(state.queue.len(), Ordering::SeqCst);
        Some(open_one(&mut state, account))
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
                if let Some(link) = take_lane(state, |s| s.fits(wish.like())) {
                    return Some(Grant::Link(link));
                }
            }
            Need::Alone => {
                if let Some(link) = take_lane(state, |s| s.fits(wish.like())) {
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
            && let Some(link) = take_lane(state, |s| Arc::ptr_eq(&s.account, account))
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
            return Some(open_one(state, account));
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
    fn serve(&self, state: &mut State) {
        // The usual case, without looking for who came first.
        while let Some(waiter) = state.queue.only_head() {
            let Some(grant) = self.grant(state, &waiter.wish, false) else {
                break;
            };
            state.queue.leave(&waiter);
            waiter.granted.give(grant);
        }
        'again: loop {
            for waiter in state.queue.heads() {
                if let Some(grant) = self.grant(state, &waiter.wish, false) {
                    state.queue.leave(&waiter);
                    waiter.granted.give(grant);
                    // Who got a place may be done with it before the next one is looked at, and one who
                    // came later would have it then before one who wants the link alone.
                    self.drain(state);
                    continue 'again;
                }
            }
            break;
        }
        self.drain(state);
        self.waiting.store(state.queue.len(), Ordering::SeqCst);
    }

    fn timed_out(&self, began: Instant, last_connect: Option<Arc<ConnectError>>) -> Error {
        self.counters
            .acquire_timeouts
            .fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let state = self.state.lock();
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
        // Those who wait for a place while links of the account stand are served by these.
        if let Some(e) = lasting
            && account.ready.load(Ordering::Relaxed) == 0
        {
            for waiter in state.queue.take_all(Some(account)) {
                waiter.granted.give(Grant::Failed(e.clone()));
            }
        }
        self.serve(&mut state);
        forget_empty(&mut state);
    }

    fn hold(&self, link: &Link, wish: &Wish) {
        let mut state = self.state.lock();
        if state.closed {
            // A shutdown did not see this link; it is ended like those that it saw.
            link.stream().shutdown();
        }
        state.note(link, wish);
    }

    /// Says why a link stays with its handle.
    pub(super) fn note(&self, link: u32, why: String) {
        if let Some(busy) = self.state.lock().busy.iter_mut().find(|b| b.link == link) {
            busy.why = why.into();
        }
    }

    /// Gives a link back: to the first waiter who can use it, or to rest. `begin`: its session is as
    /// these options begin it, so that many may use it at once.
    pub(super) fn release(
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
        let mut state = self.state.lock();
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
            let all = take_all(&mut state, |_, _| true);
            return self.close_all(state, all, Close::Explicit);
        }
        self.serve(&mut state);
        let vacant = account.users.load(Ordering::Relaxed) == 0;
        let over = if vacant && self.limits.linger.is_zero() || account.is_retired() {
            take_all(&mut state, |a, _| Arc::ptr_eq(a, account))
        } else if idle(&state) > self.limits.max_idle_links && !account.is_shared() {
            match state.parked.pop() {
                Some(parked) => vec![parked],
                None => take_one(&mut state).into_iter().collect(),
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
    pub(super) fn put_back(&self, link: Box<Link>, account: &Arc<Account>) {
        let begin = link.session.clean.clone();
        let share = begin.filter(|_| link.session.is_shareable());
        self.release(link, account, share.as_ref());
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
        if !state.closed {
            self.serve(&mut state);
        }
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

    /// Closes what is idle for too long, too old, dead, or without a handle for longer than `linger`.
    pub(super) fn reap(&self) {
        let now = Instant::now();
        let limits = &self.limits;
        let mut state = self.state.lock();
        let mut spare = idle(&state).saturating_sub(limits.min_idle_links);
        let over = take_all(&mut state, |account, (used, opened)| {
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
        forget_empty(&mut state);
        self.close_all(state, over, Close::Implicit);
    }

    /// All lanes were found busy, and nobody was told yet.
    pub(super) fn wants_more(&self) -> bool {
        self.wants_more.load(Ordering::Relaxed) && !self.warming.swap(true, Ordering::Relaxed)
    }

    /// Opens links up to `min_idle_links`, and one more where all are busy, for the accounts that
    /// have handles.
    pub(super) fn warm(self: &Arc<Self>) {
        loop {
            let more = self.wants_more.swap(false, Ordering::Relaxed);
            self.warming.store(false, Ordering::Relaxed);
            let account = {
                let mut state = self.state.lock();
                if state.closed
                    || (idle(&state) >= self.limits.min_idle_links && !more)
                    || state.open >= self.limits.max_links
                {
                    return;
                }
                let wants = |a: &&Arc<Account>| {
                    !a.is_shared()
                        && !a.is_retired()
                        && a.users.load(Ordering::Relaxed) > 0
                        && a.ready.load(Ordering::Relaxed) > 0
                };
                let busiest = state
                    .lanes
                    .iter()
                    .filter(|s| wants(&&s.account))
                    .max_by_key(|s| s.lane.load.taken.load(Ordering::Relaxed))
                    .map(|s| s.account.clone());
                let account = busiest.or_else(|| state.accounts.iter().find(wants).cloned());
                let Some(account) = account else {
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
                    let begun = link::now(pin!(link.begin(begin.as_begun(), false)));
                    let clean = begun.is_ok() && link.session.is_shareable();
                    self.release(link, &account, clean.then_some(&begin));
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
        self.closing.store(true, Ordering::SeqCst);
        for waiter in state.queue.take_all(None) {
            waiter
                .granted
                .give(Grant::Failed(DriverError::MuxShutDown.into()));
        }
        let idle = take_all(&mut state, |_, _| true);
        self.close_all(state, idle, Close::Explicit);
        let mut state = self.state.lock();
        while !state.busy.is_empty() || !state.lanes.is_empty() {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        state.streams().for_each(|stream| stream.shutdown());
        state.busy.len() + state.lanes.len()
    }

    /// Closes the account's links as they come to rest, until there are none; ends those that are left then
    /// by force, where nobody else has any. Returns how many these are.
    pub(super) fn retire(&self, account: &Arc<Account>, deadline: Instant) -> usize {
        account.retired.store(true, Ordering::Relaxed);
        loop {
            self.reap();
            let mut state = self.state.lock();
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
            self.changed
                .wait_until(&mut state, deadline.min(now + LOOK));
        }
    }

    /// Statements that are under way, or about to be.
    pub(super) fn outstanding(&self) -> usize {
        let state = self.state.lock();
        let lanes = state.lanes.iter();
        let shared: usize = lanes
            .map(|s| s.lane.load.taken.load(Ordering::Relaxed))
            .sum();
        shared + state.busy.len() + state.queue.len()
    }

    /// This link is one of them.
    pub(super) fn has_link(&self, id: u32) -> bool {
        let state = self.state.lock();
        state.parked.iter().any(|p| p.link.id == id)
            || state.lanes.iter().any(|s| s.lane.id == id)
            || state.busy.iter().any(|b| b.link == id)
    }

    /// The server doesn't answer: nobody waits for it any longer.
    pub(super) fn cut(&self) {
        let state = self.state.lock();
        state.streams().for_each(|stream| stream.shutdown());
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
        let state = self.state.lock();
        // Brings the bytes of the lanes up to date.
        for shared in &state.lanes {
            shared.lane.times();
        }
        Counts {
            active_connections: state.open as u64,
            idle_connections: idle(&state) as u64,
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
        let mut state = self.state.lock();
        if state.closed {
            let idle = take_all(&mut state, |_, _| true);
            return self.close_all(state, idle, Close::Explicit);
        }
        self.serve(&mut state);
    }

    fn took(&self, digest: u64, time: Duration) {
        self.digests.took(digest, time);
    }

    fn lost(&self, lane: &Arc<Lane>, pinned: bool) {
        let mut state = self.state.lock();
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
        forget_empty(&mut state);
        self.changed.notify_all();
    }
}

impl State {
    /// Of all links that somebody uses.
    fn streams(&self) -> impl Iterator<Item = &Arc<Stream>> {
        let alone = self.busy.iter().map(|busy| &busy.stream);
        alone.chain(self.lanes.iter().map(|shared| shared.lane.stream()))
    }

    /// A link is somebody's alone.
    fn note(&mut self, link: &Link, wish: &Wish) {
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
}

impl Shared {
    /// A statement of this handle may go there, if there is room.
    #[inline]
    fn is_open_to(&self, like: Like<'_>) -> bool {
        !self.draining && !self.claimed && self.fits(like) && !self.lane.is_tainted()
    }

    /// The link, if nobody uses it.
    fn take(&self) -> Option<Box<Link>> {
        match self.lane.load.taken.load(Ordering::SeqCst) {
            0 => self.lane.take_back().map(Box::new),
            _ => None,
        }
    }

    /// The session on it is as this handle's.
    #[inline(always)]
    fn fits(&self, like: Like<'_>) -> bool {
        Arc::ptr_eq(&self.account, like.account)
            && (self.account.is_shared()
                || (self.lane.schema == *like.schema
                    && same(&self.lane.vars, like.vars)
                    && same(&self.lane.user_variables, like.user)
                    && (Arc::ptr_eq(&self.begin, like.begin)
                        || self.begin.begins_like(like.begin))))
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
        let mut state = self.group.state.lock();
        state.queue.leave(self.waiter);
        if let Need::Exact(id) = self.waiter.wish.need
            && let Some(shared) = state.lanes.iter_mut().find(|s| s.lane.id == id)
        {
            shared.claimed = false;
            self.group.serve(&mut state);
        }
        self.group
            .waiting
            .store(state.queue.len(), Ordering::SeqCst);
        self.group.drain(&mut state);
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

pub(super) fn no_reactor(e: std::io::Error) -> Error {
    DriverError::NoReactor(e.to_string()).into()
}

/// Counts a link that is about to be opened.
fn open_one(state: &mut State, account: &Account) -> Grant {
    state.open += 1;
    state.turns = 0;
    account.links.fetch_add(1, Ordering::Relaxed);
    Grant::Open
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

/// Links that nobody uses at the moment.
fn idle(state: &State) -> usize {
    let lanes = state
        .lanes
        .iter()
        .filter(|s| s.lane.load.taken.load(Ordering::Relaxed) == 0);
    state.parked.len() + lanes.count()
}

/// A lane's link that nobody uses, the one that was shared last first.
fn take_lane(state: &mut State, fits: impl Fn(&Shared) -> bool) -> Option<Box<Link>> {
    for at in (0..state.lanes.len()).rev() {
        let shared = &state.lanes[at];
        if fits(shared)
            && !shared.claimed
            && let Some(link) = shared.take()
        {
            state.lanes.swap_remove(at);
            return Some(link);
        }
    }
    None
}

/// Any link of a lane that nobody uses.
fn take_one(state: &mut State) -> Option<Parked> {
    let mut taken = false;
    take_all(state, |_, _| !std::mem::replace(&mut taken, true)).pop()
}

/// Takes the links at rest of which `over` says so, by their account and when they were last used
/// and opened.
fn take_all(
    state: &mut State,
    mut over: impl FnMut(&Arc<Account>, (Instant, Instant)) -> bool,
) -> Vec<Parked> {
    let (mut taken, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut state.parked)
        .into_iter()
        .partition(|p| over(&p.account, (p.link.used, p.link.opened)));
    state.parked = kept;
    state.lanes.retain(|shared| {
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
fn forget_empty(state: &mut State) {
    state
        .accounts
        .retain(|a| a.users.load(Ordering::Relaxed) > 0 || a.links.load(Ordering::Relaxed) > 0);
}
