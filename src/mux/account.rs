//! Those who share links within a group: handles of one identity and one isolation mode.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::Instant,
};

use parking_lot::Mutex;

use super::{catalogs::Catalogs, group::Group};
use crate::opts::{Isolation, Opts, identity::Identity, session::SessionOpts};

/// One identity's share of a group.
#[derive(Debug)]
pub(crate) struct Account {
    pub group: Arc<Group>,
    pub identity: Arc<Identity>,
    pub isolation: Isolation,
    /// `Shared` handles share a session, so they must want it to begin alike.
    begin: Option<Arc<SessionOpts>>,
    /// Opens the account's links: the options of the handle that came first.
    pub opts: Opts,
    /// Parties of handles, and handles that are at several servers, where they are at home; and those who keep
    /// it for such.
    pub users: AtomicUsize,
    /// Links open or being opened; changed only under the group's lock.
    pub links: AtomicUsize,
    /// Of them, those that have authenticated; changed only under the group's lock.
    pub ready: AtomicUsize,
    /// Counts shared sessions that were lost with what was set on them.
    pub lost_sessions: AtomicU32,
    /// What its schemas define that touches sessions.
    pub catalogs: Catalogs,
    /// Its server is no more to be used: links are closed as soon as they come to rest.
    pub retired: AtomicBool,
    /// Since when it has no user.
    pub vacant: Mutex<Option<Instant>>,
}

impl Account {
    pub(super) fn new(group: Arc<Group>, opts: &Opts) -> Account {
        let isolation = opts.get_isolation();
        Account {
            group,
            identity: opts.identity().clone(),
            isolation,
            begin: (isolation == Isolation::Shared).then(|| opts.session().clone()),
            opts: opts.clone(),
            users: AtomicUsize::new(0),
            links: AtomicUsize::new(0),
            ready: AtomicUsize::new(0),
            lost_sessions: AtomicU32::new(0),
            catalogs: Catalogs::default(),
            retired: AtomicBool::new(false),
            vacant: Mutex::new(None),
        }
    }

    /// One user more: under the group's lock, or where there is one.
    pub(super) fn join(&self) {
        self.users.fetch_add(1, Ordering::AcqRel);
    }

    /// One user more, if there are others: else the group may have forgotten the account.
    pub(super) fn join_others(&self) -> bool {
        let more = |users| (users > 0).then_some(users + 1);
        let joined = self
            .users
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        joined.is_ok()
    }

    /// A user ended.
    pub(super) fn exit(self: &Arc<Self>) {
        self.group.exit(self);
    }

    /// One user less. `false`: it was the last.
    pub(super) fn part(&self) -> bool {
        self.users.fetch_sub(1, Ordering::AcqRel) > 1
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// Handles with these options belong here.
    pub(super) fn fits(&self, opts: &Opts) -> bool {
        self.isolation == opts.get_isolation()
            && (Arc::ptr_eq(&self.identity, opts.identity()) || self.identity == *opts.identity())
            && self
                .begin
                .as_ref()
                .is_none_or(|begin| begin == opts.session())
    }

    pub(super) fn is_shared(&self) -> bool {
        self.isolation == Isolation::Shared
    }

    /// Another identity may take an idle link of this one.
    pub(super) fn may_lose_links(&self) -> bool {
        !self.is_shared() || self.users.load(Ordering::Relaxed) == 0
    }

    /// May open a link by the rules of its isolation.
    pub(super) fn may_open(&self) -> bool {
        !self.is_shared() || self.links.load(Ordering::Relaxed) == 0
    }
}
