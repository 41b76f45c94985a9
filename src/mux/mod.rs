//! The pool: keys and their groups, identities and their accounts, limits, statistics.
//!
//! Decides which link runs what. Knows nothing of the wire, nor of rows and values.

mod account;
mod backends;
mod catalog;
mod catalogs;
mod chores;
mod digests;
mod group;
mod handed;
mod housekeeper;
mod left;
mod limited;
mod limits;
mod marks;
mod op;
mod party;
mod recent;
mod seat;
mod spread;
pub(crate) mod stats;
mod waiter;
mod width;
mod wish;

use std::{
    convert::Infallible,
    fmt,
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
    time::{Duration, Instant},
};

use dashmap::DashMap;
use once_cell::sync::OnceCell;
use parking_lot::Mutex;

use account::Account;
pub use backends::BackendSet;
use backends::{Backends, Needs, Wants};
use group::Group;
use limits::{FOR_EVER, Limits};
use party::Party;
pub(crate) use seat::Seat;
pub use stats::{BackendStats, Counts, Stats};

use crate::{
    error::{DriverError, Error, Result},
    handle::{Handle, aio},
    link::Face,
    opts::{Opts, target::Target},
    session::{PinPolicy, PinReason},
};

static GLOBAL: OnceCell<Mux> = OnceCell::new();

/// All links of a program, or of a part of it, with their limits and statistics.
///
/// Clones are the same mux. When the last clone and the last handle are gone, its links are closed.
///
/// A child that is forked without another program being executed must not use nor drop muxes and handles of its
/// parent: it has their links too, but none of the threads.
///
/// ```no_run
/// use mysql_mux::{Mux, prelude::*};
///
/// let mux = Mux::builder().max_links(4).build();
/// let mut handle = mux.connect("mysql://user:password@localhost/shop")?;
/// let orders: Option<u64> = handle.query_first("SELECT COUNT(*) FROM orders")?;
/// # Ok::<(), mysql_mux::Error>(())
/// ```
#[derive(Clone)]
pub struct Mux(Arc<Shared>);

struct Shared {
    /// No other mux has it.
    number: u64,
    limits: Arc<Limits>,
    listener: Option<Listener>,
    groups: DashMap<GroupKey, Arc<Group>>,
    /// What groups counted that were forgotten.
    past: Mutex<Counts>,
    /// Of handles with several servers.
    backends: Mutex<Vec<Arc<Backends>>>,
    /// Its thread lives as long as this.
    housekeeper: OnceCell<Sender<Infallible>>,
    closed: AtomicBool,
}

/// A target with its hash, computed once with the options.
#[derive(Clone)]
struct GroupKey {
    hash: u64,
    target: Arc<Target>,
}

impl Hash for GroupKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialEq for GroupKey {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.target, &other.target) || self.target == other.target
    }
}

impl Eq for GroupKey {}

impl fmt::Debug for Mux {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mux")
            .field("groups", &self.0.groups.len())
            .finish_non_exhaustive()
    }
}

impl Mux {
    /// The program's mux, made with default limits on first use.
    pub fn global() -> &'static Mux {
        GLOBAL.get_or_init(|| Mux::builder().build())
    }

    /// Makes a mux with limits of its own.
    pub fn builder() -> MuxBuilder {
        MuxBuilder {
            limits: Limits::default(),
            listener: None,
        }
    }

    /// Opens a handle. The first one of its key and identity connects; the next ones do no I/O.
    ///
    /// # Errors
    /// Options that can't be read or don't go together, or a connect that failed: wrong credentials
    /// fail here, whoever else may be connected.
    pub fn connect<T>(&self, opts: T) -> Result<Handle>
    where
        T: TryInto<Opts>,
        Error: From<T::Error>,
    {
        Handle::open(self, opts.try_into()?)
    }

    /// As [`Self::connect`], for an async handle.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_async<T>(&self, opts: T) -> Result<aio::Handle>
    where
        T: TryInto<Opts>,
        Error: From<T::Error>,
    {
        aio::Handle::open(self, opts.try_into()?).await
    }

    /// What was counted so far, and what is open now.
    pub fn stats(&self) -> Stats {
        let past = self.0.past.lock();
        let mut stats = Stats::default();
        stats.total.add(&past);
        self.0
            .for_each_group(|group| stats.push(group.target.endpoint.to_string(), group.counts()));
        drop(past);
        let backends = self.0.backends.lock();
        stats.backends = backends.iter().flat_map(|all| all.stats()).collect();
        drop(backends);
        stats
    }

    /// The servers of these options, which name several, to add, drain and remove some while handles are
    /// open. Handles with the same options use the same servers, whenever they are opened.
    ///
    /// # Errors
    /// Options that can't be read, or that name one server only.
    pub fn backends<T>(&self, opts: T) -> Result<BackendSet>
    where
        T: TryInto<Opts>,
        Error: From<T::Error>,
    {
        let opts = opts.try_into()?;
        opts.check()?;
        if opts.backends().is_empty() {
            return Err(DriverError::OneBackend.into());
        }
        let all = self.backends_of(&opts)?;
        Ok(BackendSet::new(self, all))
    }

    /// Takes no new statements, closes idle links with `COM_QUIT`, and waits up to `timeout` for
    /// what is running; what still runs then gets [`Error::ConnectionLost`](crate::Error).
    /// Returns how many links had to be ended so.
    pub fn shutdown(&self, timeout: Duration) -> usize {
        self.0.closed.store(true, Ordering::SeqCst);
        let deadline = Instant::now() + timeout.min(FOR_EVER);
        let backends = self.0.backends.lock().clone();
        backends.iter().for_each(|all| all.end());
        // None takes anything new while another is waited for.
        self.0.for_each_group(|group| group.close());
        let mut ended = 0;
        self.0.for_each_group(|group| ended += group.end(deadline));
        ended
    }

    /// # Errors
    /// It was shut down.
    fn is_open(&self) -> Result<()> {
        match self.0.closed.load(Ordering::SeqCst) {
            true => Err(DriverError::MuxShutDown.into()),
            false => Ok(()),
        }
    }

    /// What this handle has in common with others of this thread, the credentials proven.
    async fn enter(&self, opts: &Opts, handle: u64, face: Face) -> Result<Arc<Party>> {
        self.is_open()?;
        let part = recent::block(handle);
        if let Some(party) = recent::find(self, opts)
            && party.account.ready.load(Ordering::Acquire) > 0
        {
            party.account.group.opened.add(part);
            party.account.group.saved.add(part);
            return Ok(party);
        }
        let account = self.account_of(opts)?;
        let group = account.group.clone();
        let party = Party::counted(self, opts, account);
        group.opened.add(part);
        // A task that goes away here never had the handle.
        let entered = Entered(&group, handle);
        let saved = group.verify(&party.account, handle, face).await?;
        std::mem::forget(entered);
        if saved {
            group.saved.add(part);
        }
        self.keep_house();
        let party = Arc::new(party);
        recent::keep(&party);
        Ok(party)
    }

    fn number(&self) -> u64 {
        self.0.number
    }

    /// The links to these options' server.
    ///
    /// # Errors
    /// It was shut down.
    fn group(&self, opts: &Opts) -> Result<Arc<Group>> {
        let key = GroupKey {
            hash: opts.target_hash(),
            target: opts.target().clone(),
        };
        if let Some(found) = self.0.groups.get(&key) {
            return Ok(found.clone());
        }
        let made = || Group::new(key.target.clone(), &self.0.limits);
        let entry = self.0.groups.entry(key.clone());
        let group = entry.or_insert_with(made).clone();
        // A shutdown that didn't see the group is seen here.
        self.is_open().map(|()| group)
    }

    /// The several servers of these options, of which one at least can be used.
    async fn enter_backends(&self, opts: &Opts, handle: u64, face: Face) -> Result<Arc<Backends>> {
        let backends = self.backends_of(opts)?;
        let until = Instant::now() + self.0.limits.acquire_timeout;
        let needs = Needs::NONE;
        if backends.choose(Wants::Any, &needs).is_none() {
            backends.wait_for(Wants::Any, &needs, face, until).await?;
            backends.wait_for_all(face).await?;
        }
        backends.home().group.opened.add(recent::block(handle));
        Ok(backends)
    }

    fn backends_of(&self, opts: &Opts) -> Result<Arc<Backends>> {
        self.keep_house();
        let mut all = self.0.backends.lock();
        self.is_open()?;
        if let Some(known) = all.iter().find(|backends| backends.fits(opts)) {
            known.expect();
            return Ok(known.clone());
        }
        let home = self.account_of(opts)?;
        let mut members = Vec::new();
        for (opts, weight) in opts.backends() {
            members.push((self.account_of(opts)?, *weight));
        }
        let made = Backends::new(opts, home, members, self.0.listener.clone());
        made.expect();
        made.watch_all()?;
        all.push(made.clone());
        Ok(made)
    }

    /// The account of these options, with one user more.
    fn account_of(&self, opts: &Opts) -> Result<Arc<Account>> {
        loop {
            if let Some(account) = self.group(opts)?.enter(opts)? {
                return Ok(account);
            }
        }
    }

    fn keep_house(&self) {
        // Without a thread nothing is reaped.
        let start = || housekeeper::start(Arc::downgrade(&self.0), self.0.limits.tick());
        drop(self.0.housekeeper.get_or_try_init(start));
    }

    /// A statement may have changed what views, triggers or routines do.
    fn definitions_changed(&self) {
        self.0.for_each_group(|group| {
            group.definitions.fetch_add(1, Ordering::Release);
        });
    }
}

/// A handle that is being opened.
struct Entered<'a>(&'a Group, u64);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.parted(self.1);
    }
}

impl Shared {
    /// What has to be done now and then.
    fn look_round(&self) {
        self.for_each_group(|group| {
            group.reap();
            group.age_definitions();
            group.keep_warm();
        });
        self.reap_backends();
        let mut past = self.past.lock();
        self.groups.retain(|_, group| {
            let counts = group.forget();
            counts.inspect(|counts| past.add(counts)).is_none()
        });
    }

    /// Lets go of servers that nobody uses any more.
    fn reap_backends(&self) {
        let is_over = |backends: &mut Arc<Backends>| backends.is_over(self.limits.linger);
        let over: Vec<_> = self.backends.lock().extract_if(.., is_over).collect();
        // Without the lock.
        drop(over);
    }

    /// Runs `f` without holding the map.
    fn for_each_group(&self, mut f: impl FnMut(&Arc<Group>)) {
        let groups: Vec<_> = self.groups.iter().map(|g| g.clone()).collect();
        groups.iter().for_each(&mut f);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for group in &self.groups {
            group.close();
            group.end(Instant::now());
        }
    }
}

/// Whom changes of servers are told.
#[derive(Clone)]
struct Listener(Arc<dyn Fn(&BackendStats) + Send + Sync>);

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

/// Limits of a [`Mux`]; each holds for every key (server and transport) by itself.
#[derive(Debug, Clone)]
pub struct MuxBuilder {
    limits: Limits,
    listener: Option<Listener>,
}

impl MuxBuilder {
    /// The most physical connections to one key, at least 1. Default: 10. Another is opened where those
    /// that are there are busy; many quick statements go to fewer of them while these serve them better.
    pub fn max_links(mut self, links: usize) -> Self {
        self.limits.max_links = links.max(1);
        self
    }

    /// Idle links that are kept open, and opened in the background, while there are handles.
    /// Default: 0.
    pub fn min_idle_links(mut self, links: usize) -> Self {
        self.limits.min_idle_links = links;
        self
    }

    /// The most idle links that are kept. Default: as many as there are.
    pub fn max_idle_links(mut self, links: usize) -> Self {
        self.limits.max_idle_links = links.max(1);
        self
    }

    /// How old a link may get; it is closed when it is idle then. A `Shared` link lives as long as
    /// its handles. Default: 30 minutes.
    pub fn max_lifetime(mut self, age: Duration) -> Self {
        self.limits.max_lifetime = age;
        self
    }

    /// How long a link may be idle, beyond `min_idle_links`. Default: 10 minutes.
    pub fn idle_timeout(mut self, time: Duration) -> Self {
        self.limits.idle_timeout = time;
        self
    }

    /// How long links stay when the last handle of their identity is gone; zero closes them at once,
    /// as mysqlnd_mux does. Default: 10 minutes.
    pub fn linger(mut self, time: Duration) -> Self {
        self.limits.linger = time;
        self
    }

    /// How long a statement, or the opening of a handle, waits for a link. Default: 30 s.
    pub fn acquire_timeout(mut self, time: Duration) -> Self {
        self.limits.acquire_timeout = time.min(FOR_EVER);
        self
    }

    /// After which time other programs' views, triggers and routines are looked for again, for
    /// [`Isolation::Session`](crate::Isolation::Session); those that handles of this mux make are known at
    /// once. Zero looks before each statement. Default: 60 s.
    pub fn definitions_age(mut self, age: Duration) -> Self {
        self.limits.definitions_age = age;
        self
    }

    /// What is done about a reason to pin a link to a handle, where the handle's options don't say
    /// ([`OptsBuilder::pin_policy`](crate::OptsBuilder::pin_policy)). Default: [`PinPolicy::Allow`] for
    /// all.
    ///
    /// ```
    /// use mysql_mux::{Mux, PinPolicy, PinReason};
    ///
    /// let mux = Mux::builder().pin_policy(PinReason::TableLocks, PinPolicy::Deny).build();
    /// ```
    pub fn pin_policy(mut self, reason: PinReason, policy: PinPolicy) -> Self {
        self.limits.pin_policies.set(reason, policy);
        self
    }

    /// Is called whenever one of several servers is otherwise than before: up or down, primary or replica,
    /// drained. By the thread that watches that server, which it should not keep for long, or by the one that
    /// changes it ([`Mux::backends`]).
    ///
    /// ```
    /// let mux = mysql_mux::Mux::builder()
    ///     .on_backend_change(|backend| println!("{backend}"))
    ///     .build();
    /// ```
    pub fn on_backend_change(
        mut self,
        listener: impl Fn(&BackendStats) + Send + Sync + 'static,
    ) -> Self {
        self.listener = Some(Listener(Arc::new(listener)));
        self
    }

    /// The mux. No thread is started and nothing is opened before the first handle.
    pub fn build(self) -> Mux {
        Mux(Arc::new(Shared {
            number: recent::number(),
            limits: Arc::new(self.limits),
            listener: self.listener,
            past: Mutex::default(),
            backends: Mutex::default(),
            groups: DashMap::new(),
            housekeeper: OnceCell::new(),
            closed: AtomicBool::new(false),
        }))
    }

    /// Makes it the program's mux, [`Mux::global`].
    ///
    /// # Errors
    /// [`DriverError::GlobalMuxInUse`] where the global mux was installed or used before.
    pub fn install(self) -> Result<&'static Mux> {
        let mut mine = Some(self);
        let mux = GLOBAL.get_or_init(|| {
            mine.take()
                .map_or_else(|| Mux::builder().build(), MuxBuilder::build)
        });
        match mine {
            None => Ok(mux),
            Some(_) => Err(DriverError::GlobalMuxInUse.into()),
        }
    }
}

/// Opens a handle through the program's mux: `Mux::global().connect(opts)`.
///
/// # Errors
/// As [`Mux::connect`].
pub fn connect<T>(opts: T) -> Result<Handle>
where
    T: TryInto<Opts>,
    Error: From<T::Error>,
{
    Mux::global().connect(opts)
}
