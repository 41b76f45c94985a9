//! Several servers behind one handle: which of them a statement goes to. Reads go to replicas that have
//! what the handle wrote, everything else to the primary, wherever that is by now.
//!
//! It knows what servers say of themselves, and no sessions: a handle takes its own along.

mod choice;
mod gtids;
mod history;
mod member;
mod route;
mod set;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Mutex, RwLock};

pub(crate) use choice::{Choice, Lacks, Needs, Wants};
pub(crate) use gtids::Gtids;
pub(crate) use member::Member;
pub(crate) use route::Route;
pub use set::BackendSet;

use history::History;

use super::{
    Listener, Mux, account::Account, group::no_reactor, handed::Handed, stats::BackendStats,
};
use crate::{
    error::{DriverError, Error, NoBackend, Result},
    events,
    link::Face,
    opts::Opts,
};

/// How often a server is asked that answers.
const INTERVAL: Duration = Duration::from_millis(500);

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// How soon one is asked again that doesn't, at first and at last.
const RETRIES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// How long somebody may take to enter.
const ENTRY: Duration = Duration::from_secs(60);

/// The servers of handles with the same options.
#[derive(Debug)]
pub(crate) struct Backends {
    /// The options that they were named by.
    opts: Opts,
    /// The account that has what all of them know together, as long as they are there.
    home: Arc<Account>,
    members: RwLock<Vec<Arc<Member>>>,
    next_id: AtomicU32,
    /// Where the primary was.
    history: Mutex<History>,
    listener: Option<Listener>,
    /// Handles that use them.
    handles: AtomicUsize,
    /// Those who look after them.
    keepers: AtomicUsize,
    vacant: Mutex<Option<Instant>>,
    /// Those who wait for a server.
    waiting: Mutex<Vec<Arc<Handed<()>>>>,
    /// The mux is shut down.
    ended: AtomicBool,
}

impl Backends {
    /// `home`, and `all` with their weights, were entered for it.
    pub(super) fn new(
        opts: &Opts,
        home: Arc<Account>,
        all: Vec<(Arc<Account>, u32)>,
        listener: Option<Listener>,
    ) -> Arc<Backends> {
        let backends = Backends {
            opts: opts.clone(),
            home,
            members: RwLock::default(),
            next_id: AtomicU32::new(1),
            history: Mutex::default(),
            listener,
            handles: AtomicUsize::new(0),
            keepers: AtomicUsize::new(0),
            vacant: Mutex::default(),
            waiting: Mutex::default(),
            ended: AtomicBool::new(false),
        };
        let members = all.into_iter();
        let members = members.map(|(account, weight)| backends.member(account, weight));
        *backends.members.write() = members.collect();
        Arc::new(backends)
    }

    fn member(&self, account: Arc<Account>, weight: u32) -> Arc<Member> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Arc::new(Member::new(id, account, weight))
    }

    /// Has each of them watched.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn watch_all(self: &Arc<Self>) -> Result<()> {
        let members = self.members.read().clone();
        members.iter().try_for_each(|member| self.watch(member))
    }

    /// Has it watched, by a thread of its own: one that hangs holds up no other.
    fn watch(self: &Arc<Self>, member: &Arc<Member>) -> Result<()> {
        let (all, member) = (Arc::downgrade(self), member.clone());
        let spawned = std::thread::Builder::new()
            .name("mysql_mux-health".into())
            .spawn(move || watch(&all, &member));
        spawned.map(drop).map_err(no_reactor)
    }

    /// Nobody watches them any longer, nor waits for one.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.members.read().iter().for_each(|member| member.end());
        self.changed();
    }

    pub(super) fn stats(&self) -> Vec<BackendStats> {
        let members = self.members.read();
        members.iter().map(|member| member.stats()).collect()
    }

    /// They are those of these options.
    pub(super) fn fits(&self, opts: &Opts) -> bool {
        let (mine, others) = (self.opts.backends(), opts.backends());
        let is_its = |(mine, other): (&(Opts, u32), &(Opts, u32))| {
            mine.1 == other.1 && mine.0.target() == other.0.target()
        };
        self.home.fits(opts) && mine.len() == others.len() && mine.iter().zip(others).all(is_its)
    }

    /// Nobody has used them for so long.
    pub(super) fn is_over(&self, linger: Duration) -> bool {
        let vacant = *self.vacant.lock();
        let users = [&self.handles, &self.keepers];
        users.iter().all(|users| users.load(Ordering::Acquire) == 0)
            && vacant.is_some_and(|since| since.elapsed() >= linger)
    }

    /// Somebody is about to enter.
    pub(super) fn expect(&self) {
        *self.vacant.lock() = Some(Instant::now() + ENTRY);
    }

    fn enter(&self, users: &AtomicUsize) {
        users.fetch_add(1, Ordering::AcqRel);
        *self.vacant.lock() = None;
    }

    fn exit(&self, users: &AtomicUsize) {
        if users.fetch_sub(1, Ordering::AcqRel) == 1 {
            *self.vacant.lock() = Some(Instant::now());
        }
    }

    pub(crate) fn home(&self) -> &Arc<Account> {
        &self.home
    }

    /// The one that has this link, and whether it is the primary.
    pub(crate) fn with_link(&self, link: u32) -> Option<(Arc<Member>, bool)> {
        let members = self.members.read();
        let mut all = members.iter();
        let with = all.find(|member| member.account.group.has_link(link))?;
        Some((with.clone(), is_primary(&members, with)))
    }

    /// The one to send to, if one can be used now.
    pub(crate) fn choose(&self, wants: Wants, needs: &Needs<'_>) -> Option<Choice> {
        choice::choose(&self.members.read(), wants, needs)
    }

    /// Waits until each was asked once, so that one that is slow to answer is not taken for none.
    pub(crate) async fn wait_for_all(&self, face: Face) -> Result<()> {
        let all_asked = || self.members.read().iter().all(|member| member.was_asked());
        let until = Instant::now() + PATIENCE;
        let asked = self.wait_until(face, until, || all_asked().then_some(()));
        asked.await.map(drop)
    }

    /// As [`Self::choose`]; waits until one can be used.
    ///
    /// # Errors
    /// None can, until then.
    pub(crate) async fn wait_for(
        &self,
        wants: Wants,
        needs: &Needs<'_>,
        face: Face,
        until: Instant,
    ) -> Result<Choice> {
        let began = Instant::now();
        let look = || {
            let choice = self.choose(wants, needs).map(Ok);
            choice.or_else(|| self.refused().map(Err))
        };
        let found = self.wait_until(face, until, look).await?;
        found.unwrap_or_else(|| {
            Err(NoBackend {
                wanted: match wants {
                    Wants::Primary => "a server that takes writes",
                    Wants::Replica | Wants::Any => "a server",
                },
                waited: began.elapsed(),
                backends: self.stats().iter().map(ToString::to_string).collect(),
            }
            .into())
        })
    }

    /// Looks again whenever something has changed, until there is something to see.
    async fn wait_until<T>(
        &self,
        face: Face,
        until: Instant,
        look: impl Fn() -> Option<T>,
    ) -> Result<Option<T>> {
        loop {
            let bell = Arc::new(Handed::new(face));
            self.waiting.lock().push(bell.clone());
            let seen = look();
            if seen.is_none() && bell.wait(face, until).await.map_err(no_reactor)?.is_some() {
                continue;
            }
            self.waiting.lock().retain(|one| !Arc::ptr_eq(one, &bell));
            return Ok(seen);
        }
    }

    /// All were asked, and what they say will not change by waiting.
    fn refused(&self) -> Option<Error> {
        if self.ended.load(Ordering::SeqCst) {
            return Some(DriverError::MuxShutDown.into());
        }
        let mut first = None;
        for member in &*self.members.read() {
            match member.refused() {
                Some(e @ Error::DriverError(DriverError::MuxShutDown)) => return Some(e),
                Some(Error::ConnectError(e)) if !e.is_transient() && member.was_asked() => {
                    first.get_or_insert(Error::ConnectError(e));
                }
                _ => return None,
            }
        }
        first
    }

    /// Notes how far those are that follow, now that one has been asked.
    fn compare(&self, asked: &Arc<Member>, at: Instant, position: Gtids) {
        let members = self.members.read();
        let mut history = self.history.lock();
        match is_primary(&members, asked) {
            true => {
                history.push(asked.id, at, position);
                members.iter().for_each(|member| member.compare(&history));
            }
            false => asked.compare(&history),
        }
    }

    /// Tells that it is otherwise than before.
    fn tell(&self, member: &Member) {
        let now = member.stats();
        events::backend(&now);
        if let Some(listener) = &self.listener {
            // Whatever happens there, the server goes on being watched.
            drop(catch_unwind(AssertUnwindSafe(|| (listener.0)(&now))));
        }
    }

    /// Those who wait look again.
    fn changed(&self) {
        let all = std::mem::take(&mut *self.waiting.lock());
        for one in all {
            one.give(());
        }
    }
}

impl Drop for Backends {
    fn drop(&mut self) {
        for member in self.members.get_mut() {
            member.end();
            member.account.exit();
        }
        self.home.exit();
    }
}

fn is_primary(all: &[Arc<Member>], member: &Arc<Member>) -> bool {
    choice::primary(all).is_some_and(|primary| Arc::ptr_eq(primary, member))
}

fn watch(all: &Weak<Backends>, member: &Arc<Member>) {
    let mut pause = RETRIES[0];
    loop {
        let probed = member.probe(PATIENCE);
        let Some(all) = all.upgrade() else { return };
        if let Some((at, position)) = probed.position {
            all.compare(member, at, position);
        }
        if probed.changed {
            all.tell(member);
        }
        if probed.changed || !member.is_up() {
            all.changed();
        }
        drop(all);
        let time = match member.is_up() {
            true => {
                pause = RETRIES[0];
                INTERVAL
            }
            false => {
                pause = (pause * 2).min(RETRIES[1]);
                // Not all programs at the same moment.
                pause.mul_f64(0.75 + fastrand::f64() / 2.0)
            }
        };
        if !member.rest(time) {
            return;
        }
    }
}
