//! Several servers behind one handle: which of them a statement goes to. Reads go to replicas that have
//! what the handle wrote, everything else to the primary, wherever that is by now.
//!
//! It knows what servers say of themselves, and no sessions: a handle takes its own along.

mod gtids;
mod member;

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;

pub(crate) use gtids::Gtids;
pub(crate) use member::Member;

use super::{account::Account, group::no_reactor, handed::Handed, stats::BackendStats};
use crate::{
    error::{Error, NoBackend, Result},
    events,
    link::Face,
    opts::{Opts, Prefer},
};

/// How often a server is asked that answers.
const INTERVAL: Duration = Duration::from_millis(500);

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// How soon one is asked again that doesn't, at first and at last.
const RETRIES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// Where a statement may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    Primary,
    Replica,
    Any,
}

/// The servers of handles with the same options.
#[derive(Debug)]
pub(crate) struct Backends {
    members: Vec<Arc<Member>>,
    /// Handles that use them.
    pub handles: AtomicUsize,
    pub vacant: Mutex<Option<Instant>>,
    /// Those who wait for a server.
    waiting: Mutex<Vec<Arc<Handed<()>>>>,
}

/// A server that was chosen.
#[derive(Debug, Clone)]
pub(crate) enum Choice {
    /// It has all that is needed.
    Use(Arc<Member>),
    /// It may have it in a moment; else the primary has.
    WaitFor(Arc<Member>),
}

impl Backends {
    /// Of accounts that were entered for it.
    pub(super) fn new(all: Vec<(Arc<Account>, u32)>) -> Arc<Backends> {
        let members = all.into_iter();
        let members = members.map(|(account, weight)| Member::new(account, weight));
        Arc::new(Backends {
            members: members.map(Arc::new).collect(),
            handles: AtomicUsize::new(0),
            vacant: Mutex::default(),
            waiting: Mutex::default(),
        })
    }

    /// Has each of them watched, by a thread of its own: one that hangs holds up no other.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn watch(self: &Arc<Self>) -> std::io::Result<()> {
        for member in &self.members {
            let (all, member) = (Arc::downgrade(self), member.clone());
            std::thread::Builder::new()
                .name("mysql_mux-health".into())
                .spawn(move || watch(&all, &member))?;
        }
        Ok(())
    }

    pub(super) fn stats(&self) -> impl Iterator<Item = BackendStats> {
        self.members.iter().map(|member| member.stats())
    }

    /// They are those of these options.
    pub(super) fn fits(&self, opts: &Opts) -> bool {
        let all = opts.backends();
        let is_its = |(member, (opts, weight)): (&Arc<Member>, &(Opts, u32))| {
            member.account.fits(opts)
                && member.account.group.target == *opts.target()
                && member.weight == *weight
        };
        self.members.len() == all.len() && self.members.iter().zip(all).all(is_its)
    }

    /// Nobody has used them for so long.
    pub(super) fn is_over(&self, linger: Duration) -> bool {
        let vacant = *self.vacant.lock();
        self.handles.load(Ordering::Acquire) == 0
            && vacant.is_some_and(|since| since.elapsed() >= linger)
    }

    /// The account that has what all of them know together.
    pub(crate) fn home(&self) -> &Arc<Account> {
        &self.members[0].account
    }

    pub(crate) fn member_of(&self, account: &Arc<Account>) -> Option<&Arc<Member>> {
        self.members
            .iter()
            .find(|member| Arc::ptr_eq(&member.account, account))
    }

    /// The one that has this link.
    pub(crate) fn with_link(&self, link: u32) -> Option<&Arc<Member>> {
        self.members
            .iter()
            .find(|member| member.account.group.has_link(link))
    }

    /// The one to send to, if one can be used now.
    pub(crate) fn choose(&self, wants: Wants, needs: &Gtids) -> Option<Choice> {
        let primary = || self.members.iter().find(|member| member.is_primary());
        if wants == Wants::Primary {
            return primary().cloned().map(Choice::Use);
        }
        let is_one = |member: &&Arc<Member>| {
            member.is_for_reads() || wants == Wants::Any && member.is_primary()
        };
        let candidates = self.members.iter().filter(is_one);
        // What the primary has not, nobody has.
        let has = |member: &&Arc<Member>| member.is_primary() || member.has(needs);
        if let Some(best) = cheapest(candidates.clone().filter(has)) {
            return Some(Choice::Use(best.clone()));
        }
        if let Some(best) = cheapest(candidates) {
            return Some(Choice::WaitFor(best.clone()));
        }
        primary().cloned().map(Choice::Use)
    }

    /// Waits until each was asked once, so that one that is slow to answer is not taken for none.
    pub(crate) async fn wait_for_all(&self, face: Face) -> Result<()> {
        let all_asked = || self.members.iter().all(|member| member.was_asked());
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
        needs: &Gtids,
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
                backends: self.stats().map(|backend| backend.to_string()).collect(),
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
        let mut first = None;
        for member in &self.members {
            match member.refused() {
                Some(Error::ConnectError(e)) if !e.is_transient() && member.was_asked() => {
                    first.get_or_insert(Error::ConnectError(e));
                }
                _ => return None,
            }
        }
        first
    }

    /// Those who wait look again.
    fn changed(&self) {
        for bell in std::mem::take(&mut *self.waiting.lock()) {
            bell.give(());
        }
    }
}

impl Drop for Backends {
    fn drop(&mut self) {
        for member in &self.members {
            member.end();
            member.account.group.exit(&member.account);
        }
    }
}

/// Of two that are taken at random the one that costs less: who always took the best would have all go
/// there at once.
fn cheapest<'a>(mut all: impl Iterator<Item = &'a Arc<Member>> + Clone) -> Option<&'a Arc<Member>> {
    let count = all.clone().count();
    if count < 2 {
        return all.next();
    }
    let first = fastrand::usize(..count);
    let second = (first + fastrand::usize(1..count)) % count;
    // They may be fewer by now.
    let two = [all.clone().nth(first), all.nth(second)];
    two.into_iter().flatten().min_by_key(|member| member.cost())
}

fn watch(all: &Weak<Backends>, member: &Arc<Member>) {
    let mut pause = RETRIES[0];
    loop {
        let changed = member.probe(PATIENCE);
        let Some(all) = all.upgrade() else { return };
        if changed {
            events::backend(&member.stats());
        }
        if changed || !member.is_up() {
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

/// What a handle does about several servers.
#[derive(Debug)]
pub(crate) struct Route {
    pub backends: Arc<Backends>,
    /// What it said that its reads prefer.
    pub prefer: Prefer,
    /// What the statement under way wants.
    pub wants: Wants,
    /// It is more than a read, whatever its text tells.
    pub writes: bool,
    /// What it wrote, as far as it was told.
    pub wrote: Gtids,
    /// When it wrote last.
    pub wrote_at: Option<Instant>,
    /// It wrote something of which no GTID is told.
    pub untold: bool,
}

impl Route {
    pub(super) fn new(backends: Arc<Backends>, prefer: Prefer) -> Route {
        backends.handles.fetch_add(1, Ordering::AcqRel);
        *backends.vacant.lock() = None;
        Route {
            backends,
            prefer,
            wants: Wants::Any,
            writes: false,
            wrote: Gtids::NONE,
            wrote_at: None,
            untold: false,
        }
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        if self.backends.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            *self.backends.vacant.lock() = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::DriverError,
        mux::{group::Group, limits::Limits},
        opts::{Backend, OptsBuilder},
    };

    /// So many of them; nobody was asked.
    fn servers(count: u16) -> Arc<Backends> {
        let first = OptsBuilder::new().ip_or_hostname(Some("h0"));
        let all = (1..count).fold(first, |opts, n| {
            opts.backend(Backend::new(format!("h{n}"), 1))
        });
        let opts = Opts::from(all);
        let entered = opts.backends().iter().map(|(opts, weight)| {
            let group = Group::new(opts.target().clone(), Arc::new(Limits::default()));
            (group.enter(opts).unwrap(), *weight)
        });
        let backends = Backends::new(entered.collect());
        assert!(backends.fits(&opts));
        backends
    }

    fn chosen(backends: &Backends, wants: Wants, needs: &Gtids) -> Option<(usize, bool)> {
        let choice = backends.choose(wants, needs)?;
        let (member, must_wait) = match &choice {
            Choice::Use(member) => (member, false),
            Choice::WaitFor(member) => (member, true),
        };
        let at = backends.members.iter().position(|m| Arc::ptr_eq(m, member));
        Some((at.unwrap(), must_wait))
    }

    #[test]
    fn reads_go_to_who_only_reads_and_all_else_to_who_writes() {
        let backends = servers(3);
        let nothing = Gtids::default();
        let all = [Wants::Primary, Wants::Replica, Wants::Any];
        assert!(
            all.iter()
                .all(|wants| chosen(&backends, *wants, &nothing).is_none())
        );
        let [first, second, third] = &backends.members[..] else {
            unreachable!("three")
        };
        second.found(true, true);
        // The only one is the one for all.
        assert!(
            all.iter()
                .all(|wants| chosen(&backends, *wants, &nothing) == Some((1, false)))
        );
        third.found(true, false);
        assert_eq!(
            chosen(&backends, Wants::Primary, &nothing),
            Some((1, false))
        );
        assert_eq!(
            chosen(&backends, Wants::Replica, &nothing),
            Some((2, false))
        );
        // It has moved, as was found when a write was refused.
        second.takes_no_writes();
        assert_eq!(chosen(&backends, Wants::Primary, &nothing), None);
        first.found(true, true);
        assert_eq!(
            chosen(&backends, Wants::Primary, &nothing),
            Some((0, false))
        );
        // All of them are taken, in some order.
        let mut taken: Vec<_> = (0..200)
            .filter_map(|_| chosen(&backends, Wants::Any, &nothing))
            .collect();
        taken.sort();
        taken.dedup();
        assert_eq!(taken.len(), 3);
    }

    #[test]
    fn who_has_not_what_is_needed_is_waited_for() {
        let backends = servers(3);
        let [first, second, third] = &backends.members[..] else {
            unreachable!("three")
        };
        first.found(true, true);
        second.found(true, false);
        third.found(true, false);
        let needs = Gtids::reported("0-1-7");
        let waits = chosen(&backends, Wants::Replica, &needs);
        assert!(matches!(waits, Some((1 | 2, true))), "{waits:?}");
        // Among all there is one that has it for certain.
        assert_eq!(chosen(&backends, Wants::Any, &needs), Some((0, false)));
        third.has_reached(&Gtids::reported("0-1-9"));
        for _ in 0..20 {
            assert_eq!(chosen(&backends, Wants::Replica, &needs), Some((2, false)));
        }
        third.suspect(Some(&DriverError::MuxShutDown.into()));
        let waits = chosen(&backends, Wants::Replica, &needs);
        assert_eq!(waits, Some((1, true)));
        second.found(false, false);
        // The primary is better than none.
        assert_eq!(chosen(&backends, Wants::Replica, &needs), Some((0, false)));
    }

    #[test]
    fn the_busier_of_two_is_spared() {
        let backends = servers(2);
        for member in &backends.members {
            member.found(true, false);
        }
        let heavy = Member::new(backends.members[0].account.clone(), 3);
        assert!(heavy.cost() < backends.members[1].cost());
        assert_eq!(backends.members[0].cost(), backends.members[1].cost());
    }
}
