//! Servers that come and go while handles use them.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{super::limits::FOR_EVER, Backends, Member, Mux};
use crate::{
    error::{DriverError, Result},
    mux::stats::BackendStats,
    opts::Backend,
};

/// The servers behind handles with the same options, to be changed while handles are open; made by
/// [`Mux::backends`]. Clones are the same.
///
/// ```no_run
/// # use std::time::Duration;
/// use mysql_mux::{Backend, Mux};
///
/// let mux = Mux::global();
/// let url = "mysql://user:password@primary,replica1/shop";
/// let backends = mux.backends(url)?;
/// backends.add(Backend::new("replica2", 3306))?;
/// // What runs on the old one is waited for; handles that are opened with the same URL, too, use the others.
/// let ended = backends.remove("replica1", 3306, Duration::from_secs(30))?;
/// assert_eq!(ended, 0);
/// # Ok::<(), mysql_mux::Error>(())
/// ```
pub struct BackendSet {
    mux: Mux,
    all: Arc<Backends>,
}

impl BackendSet {
    pub(in crate::mux) fn new(mux: &Mux, all: Arc<Backends>) -> BackendSet {
        all.enter(&all.keepers);
        BackendSet {
            mux: mux.clone(),
            all,
        }
    }

    /// Each of them, as it was found last.
    pub fn stats(&self) -> Vec<BackendStats> {
        self.all.stats()
    }

    /// One server more; statements go there as soon as it has answered. One that is there already is given its
    /// weight, and is no more drained.
    ///
    /// # Errors
    /// [`DriverError::MuxShutDown`]; the system has no thread left.
    pub fn add(&self, backend: Backend) -> Result<()> {
        self.mux.is_open()?;
        let (opts, weight) = self.all.opts.of_backend(&backend);
        let mut members = self.all.members.write();
        if let Ok(at) = at(&members, opts.get_ip_or_hostname(), opts.get_tcp_port()) {
            let before = members[at].clone();
            drop(members);
            before.set_weight(weight);
            before.set_draining(false);
            self.told(&before);
            return Ok(());
        }
        let member = self.all.member(self.mux.account_of(&opts)?, weight);
        self.all
            .watch(&member)
            .inspect_err(|_| member.account.exit())?;
        members.push(member);
        Ok(())
    }

    /// Sends it nothing new: what is under way there goes on, and so do handles that have a link there to
    /// themselves, until their transaction or whatever pins them is over. Where it is the primary, statements for
    /// it wait until another server takes writes, up to `acquire_timeout`: a planned change of the primary
    /// fails none. Ended by [`Self::resume`].
    ///
    /// # Errors
    /// [`DriverError::NoSuchBackend`].
    pub fn drain(&self, host: &str, port: u16) -> Result<()> {
        self.set_draining(host, port, true)
    }

    /// Sends it statements again.
    ///
    /// # Errors
    /// [`DriverError::NoSuchBackend`].
    pub fn resume(&self, host: &str, port: u16) -> Result<()> {
        self.set_draining(host, port, false)
    }

    /// Drains it, waits up to `timeout` until nobody uses it, and closes its links. Returns how many were still in
    /// use then: these are ended, and their handles' next statements say so, unless others with another user
    /// have links to that server, too. Where handles with other options use the same links, these are
    /// left open, and not waited for.
    ///
    /// # Errors
    /// [`DriverError::NoSuchBackend`]; the last one can't be removed ([`DriverError::LastBackend`]).
    pub fn remove(&self, host: &str, port: u16, timeout: Duration) -> Result<usize> {
        let deadline = Instant::now() + timeout.min(FOR_EVER);
        let member = {
            let mut members = self.all.members.write();
            let at = at(&members, host, port)?;
            if members.len() == 1 {
                return Err(DriverError::LastBackend.into());
            }
            members[at].set_draining(true);
            members.remove(at)
        };
        member.end();
        self.told(&member);
        let account = &member.account;
        // Its handles are counted where they are at home.
        let is_home = Arc::ptr_eq(account, &self.all.home);
        let handles = match is_home {
            true => self.all.handles.load(Ordering::Acquire),
            false => 0,
        };
        let users = account.users.load(Ordering::Acquire);
        let is_ours = users <= 1 + usize::from(is_home) + handles;
        let left = match is_ours {
            true => account.group.retire(account, deadline),
            false => 0,
        };
        account.exit();
        Ok(left)
    }

    fn set_draining(&self, host: &str, port: u16, draining: bool) -> Result<()> {
        let member = {
            let members = self.all.members.read();
            members[at(&members, host, port)?].clone()
        };
        member.set_draining(draining);
        self.told(&member);
        Ok(())
    }

    fn told(&self, member: &Member) {
        self.all.tell(member);
        self.all.changed();
    }
}

fn at(members: &[Arc<Member>], host: &str, port: u16) -> Result<usize> {
    let found = members.iter().position(|member| {
        let opts = &member.account.opts;
        opts.get_ip_or_hostname() == host && opts.get_tcp_port() == port
    });
    let missing = || DriverError::NoSuchBackend {
        host: host.into(),
        port,
    };
    Ok(found.ok_or_else(missing)?)
}

impl Clone for BackendSet {
    fn clone(&self) -> BackendSet {
        BackendSet::new(&self.mux, self.all.clone())
    }
}

impl Drop for BackendSet {
    fn drop(&mut self) {
        self.all.exit(&self.all.keepers);
    }
}

impl fmt::Debug for BackendSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.stats()).finish()
    }
}
