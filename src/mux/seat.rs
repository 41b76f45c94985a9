//! A handle's place at the mux: takes a link, makes the session on it the handle's, runs one thing,
//! gives the link back or keeps it for as long as the session can't leave it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use mysql_common::value::Value;

use super::{Mux, account::Account, group::Close, housekeeper::Leftover};
use crate::{
    error::{DriverError, Error, Ran, Result},
    link::{Link, Prepared},
    opts::{ChangeUserOpts, Isolation, LocalInfileHandler, Opts, OptsBuilder},
    proto::{
        handshake::ServerInfo,
        result::{OkInfo, Outcome, Response},
    },
};

/// Handles are numbered from 1: 0 is nobody.
static NEXT_HANDLE: AtomicU64 = AtomicU64::new(1);

/// The owner of a session that all handles of an account share.
const EVERYBODY: u64 = u64::MAX;

/// Where a handle stands.
#[derive(Debug)]
pub(crate) struct Seat {
    mux: Mux,
    account: Arc<Account>,
    opts: Opts,
    id: u64,
    /// The link, while the session can't leave it.
    held: Option<Box<Link>>,
    /// Wishes to keep the link, whatever the session's state.
    holds: u32,
    connection_id: u32,
    server: Option<Arc<ServerInfo>>,
    /// The handle's current schema.
    schema: Option<Arc<str>>,
    /// Shared sessions that were lost before this handle, or of which it was told.
    lost_sessions: u64,
    ok: OkInfo,
}

impl Seat {
    /// A place for a handle with these options. Does I/O only where no link stands that has proven
    /// the same credentials.
    pub(crate) fn open(mux: &Mux, opts: Opts) -> Result<Seat> {
        opts.check()?;
        if opts.get_isolation() == Isolation::Session {
            return Err(DriverError::SessionIsolationUnavailable.into());
        }
        let id = NEXT_HANDLE.fetch_add(1, Ordering::Relaxed);
        let account = mux.enter(&opts, id)?;
        Ok(Seat {
            mux: mux.clone(),
            id,
            held: None,
            holds: 0,
            connection_id: 0,
            server: account.group.server(),
            schema: opts.session().db_name.as_deref().map(Into::into),
            lost_sessions: account.lost_sessions.load(Ordering::Relaxed),
            ok: OkInfo::default(),
            account,
            opts,
        })
    }

    fn is_shared(&self) -> bool {
        self.opts.get_isolation() == Isolation::Shared
    }

    pub(crate) fn query(&mut self, sql: &[u8]) -> Result<Response> {
        let infile = self.opts.get_local_infile_handler().cloned();
        let response = self.with_link("a query", |link| link.query(sql, infile.as_ref()))?;
        self.keep_ok(&response);
        Ok(response)
    }

    pub(crate) fn prepare(&mut self, sql: &[u8]) -> Result<Arc<Prepared>> {
        self.with_link("preparing a statement", |link| link.prepare(sql))
    }

    pub(crate) fn execute(
        &mut self,
        statement: &Arc<Prepared>,
        params: &[Value],
    ) -> Result<Response> {
        let response = self.with_link("a prepared statement", |link| {
            link.execute(statement, params)
        })?;
        self.keep_ok(&response);
        Ok(response)
    }

    /// Has the server forget a statement, if the link at hand holds it; the others forget it as
    /// their caches turn over.
    pub(crate) fn close_statement(&mut self, statement: &Arc<Prepared>) -> Result<()> {
        self.with_link("closing a statement", |link| {
            link.close_statement(statement)
        })
    }

    pub(crate) fn ping(&mut self) -> Result<()> {
        self.ok = self.with_link("a ping", Link::ping)?;
        Ok(())
    }

    pub(crate) fn statistics(&mut self) -> Result<String> {
        self.with_link("COM_STATISTICS", Link::statistics)
    }

    pub(crate) fn select_db(&mut self, schema: &str) -> Result<()> {
        self.ok = self.with_link("selecting a schema", |link| link.init_db(schema))?;
        Ok(())
    }

    /// The session as new: what was set is undone, the options' schema and init statements stand.
    pub(crate) fn reset(&mut self) -> Result<()> {
        self.schema = self.opts.session().db_name.as_deref().map(Into::into);
        let mut link = self.take("resetting the session")?;
        // Whoever's session it is: the next step begins it anew.
        link.session.start = crate::link::Start::Used;
        link.session.owner = 0;
        let begun = self.make_ours(&mut link);
        self.put(link, begun.as_ref().err())?;
        begun
    }

    /// The handle becomes another user's, with a session as new. On failure it stays who it was,
    /// with a session as new.
    pub(crate) fn change_user(&mut self, change: ChangeUserOpts) -> Result<()> {
        let mut builder = OptsBuilder::from_opts(self.opts.clone());
        if let Some(user) = change.user() {
            builder = builder.user(user);
        }
        if let Some(pass) = change.pass() {
            builder = builder.pass(pass);
        }
        if let Some(db_name) = change.db_name() {
            builder = builder.db_name(db_name);
        }
        let opts = Opts::from(builder);
        self.leave_link();
        let mux = self.mux.clone();
        // The new place is proven before the old one is left.
        let new = Seat::open(&mux, opts)?;
        let holds = self.holds;
        *self = new;
        self.holds = holds;
        Ok(())
    }

    /// Keeps the link from here on, until as many [`Self::release`].
    pub(crate) fn hold(&mut self, why: &'static str) -> Result<()> {
        let mut link = self.take(why)?;
        let begun = self.make_ours(&mut link);
        if begun.is_ok() {
            self.holds += 1;
            self.account.group.note(link.id, why);
        }
        self.put(link, begun.as_ref().err())?;
        begun
    }

    pub(crate) fn release(&mut self) {
        self.holds = self.holds.saturating_sub(1);
        if let Some(link) = self.held.take() {
            // Nothing ran: what the link's session is, is known.
            drop(self.put(link, None));
        }
    }

    /// Why a link is kept, if one is.
    pub(crate) fn pin(&self) -> Option<&'static str> {
        let link = self.held.as_ref()?;
        link.session.pin().or(Some("a transaction of the API"))
    }

    pub(crate) fn last_ok(&self) -> &OkInfo {
        &self.ok
    }

    /// The server as it was met last.
    pub(crate) fn server(&self) -> Option<&ServerInfo> {
        self.server.as_deref()
    }

    pub(crate) fn connection_id(&self) -> u32 {
        self.connection_id
    }

    pub(crate) fn set_local_infile_handler(&mut self, handler: Option<LocalInfileHandler>) {
        self.opts = self.opts.with_local_infile_handler(handler);
    }

    pub(crate) fn opts(&self) -> &Opts {
        &self.opts
    }

    /// The last OK is what a connection of one's own would tell: an error leaves zeros.
    fn keep_ok(&mut self, response: &Response) {
        self.ok = match response.outcomes.back() {
            Some(Outcome::Ok(ok)) => ok.clone(),
            Some(Outcome::Set(set)) => set.ok.clone(),
            Some(Outcome::Err(_)) | None => OkInfo::default(),
        };
    }

    /// Runs one thing on a link whose session is this handle's.
    fn with_link<R>(
        &mut self,
        why: &'static str,
        mut run: impl FnMut(&mut Link) -> Result<R>,
    ) -> Result<R> {
        let mut again = true;
        loop {
            let was_held = self.held.is_some();
            let mut link = self.take(why)?;
            let ran = self.make_ours(&mut link).and_then(|()| run(&mut link));
            self.connection_id = link.server.connection_id;
            self.put(link, ran.as_ref().err())?;
            match ran {
                // Not sent whole and no state gone with the link: another link does as well.
                Err(Error::ConnectionLost(lost)) if lost.ran == Ran::No && !was_held && again => {
                    again = false;
                }
                ran => return ran,
            }
        }
    }

    /// The link that is held, if it lives, or another.
    fn take(&mut self, why: &'static str) -> Result<Box<Link>> {
        if let Some(mut link) = self.held.take() {
            if link.is_alive() {
                return Ok(link);
            }
            let lost = link.session.pin().unwrap_or("a transaction");
            let server = link.name.clone();
            self.account.group.give_up(link, &self.account, Close::Lost);
            return Err(Error::SessionLost {
                server,
                lost: lost.to_owned(),
            });
        }
        let link = self
            .account
            .group
            .acquire(&self.account, self.id, why, false)?;
        self.server = Some(link.server.clone());
        Ok(link)
    }

    /// Makes the session on the link this handle's.
    fn make_ours(&mut self, link: &mut Link) -> Result<()> {
        link.set_limits(
            self.opts.get_stmt_cache_size(),
            self.opts.get_max_result_size(),
        );
        let session = self.opts.session().clone();
        if self.is_shared() {
            if link.session.owner != EVERYBODY {
                link.begin(session.db_name.as_deref(), &session.init)?;
                link.session.owner = EVERYBODY;
                link.session.start = crate::link::Start::Used;
            }
            let lost = self.account.lost_sessions.load(Ordering::Relaxed);
            if std::mem::replace(&mut self.lost_sessions, lost) != lost {
                let what = "what was set on the session that its handles share".to_owned();
                return Err(Error::SessionLost {
                    server: link.name.clone(),
                    lost: what,
                });
            }
            return Ok(());
        }
        if link.session.owner == self.id {
            return Ok(());
        }
        if self.schema.is_none() && link.session.schema.is_some() {
            // A reset keeps the schema, and there is no command that leaves one.
            link.change_user(self.opts.identity(), None)?;
        }
        link.begin(self.schema.as_deref(), &session.init)?;
        link.session.owner = self.id;
        link.session.start = crate::link::Start::Used;
        Ok(())
    }

    /// Gives the link back, or keeps it where the session can't leave it.
    fn put(&mut self, mut link: Box<Link>, failed: Option<&Error>) -> Result<()> {
        let group = self.account.group.clone();
        if !link.is_usable() {
            group.give_up(link, &self.account, Close::Lost);
            return Ok(());
        }
        if self.is_shared() {
            match self.holds {
                0 => group.release(link, &self.account),
                _ => self.held = Some(link),
            }
            return Ok(());
        }
        if failed.is_none() && link.session.unsure && link.ping().is_err() {
            // The statement's own error stands; the link is gone with whatever it held.
            group.give_up(link, &self.account, Close::Lost);
            return Ok(());
        }
        if link.session.owner == self.id {
            self.schema = link.session.schema.clone();
        }
        match link.session.pin() {
            _ if link.session.owner != self.id => group.release(link, &self.account),
            None if self.holds == 0 => group.release(link, &self.account),
            pin => {
                if let Some(why) = pin {
                    group.note(link.id, why);
                }
                self.held = Some(link);
            }
        }
        Ok(())
    }

    /// Leaves the link that is held, if one is: its session ends in the background.
    fn leave_link(&mut self) {
        if let Some(link) = self.held.take() {
            if self.is_shared() {
                return self.account.group.release(link, &self.account);
            }
            self.mux.clean(Leftover {
                link,
                account: self.account.clone(),
            });
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave_link();
        self.account.group.exit(&self.account);
    }
}
