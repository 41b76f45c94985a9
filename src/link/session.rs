//! What the server said of the session that stands on a link, and how it is put back to its start.

use std::sync::{Arc, atomic::Ordering};

use mysql_common::constants::StatusFlags;

use super::{Link, first_ok};
use crate::{
    error::{Error, Ran},
    opts::{identity::Identity, session::SessionOpts, target::Fixed},
    proto::{
        change_user::ChangeUser,
        command::Command,
        handshake::ServerInfo,
        result::{OkInfo, Outcome, Response},
        tracker::{Change, changes},
    },
};

/// How far a link's session is from what a handle begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// Nobody ran anything since the login or the last reset: only schema and init are missing.
    Clean,
    /// Somebody used it.
    Used,
}

/// The session on a link, as far as the server tells.
#[derive(Debug)]
pub(crate) struct Session {
    pub start: Start,
    /// The handle whose session it is; 0: nobody's.
    pub owner: u64,
    pub schema: Option<Arc<str>>,
    pub status: StatusFlags,
    /// The server reported a change of state that a reset would undo.
    pub changed: bool,
    /// The server's trackers are on. Without them every statement may have changed something.
    pub trackers: bool,
    /// What it was begun with, where nothing but neutral statements ran since. The schema is followed
    /// by itself.
    pub clean: Option<Arc<SessionOpts>>,
    /// The last statement failed; an ERR packet doesn't say what became of the session.
    pub unsure: bool,
    /// The transaction tracker's word: something is begun, or table locks are held.
    in_transaction: bool,
    /// `SET TRANSACTION` for the next transaction stands.
    next_transaction: bool,
    /// What makes the session begin (`SET NAMES …`), known after the login.
    pub setup: Arc<str>,
    /// MariaDB's role after the login, quoted for `SET ROLE`.
    pub role: Option<Arc<str>>,
}

impl Session {
    pub(super) fn new(schema: Option<Arc<str>>, status: StatusFlags) -> Self {
        Session {
            start: Start::Clean,
            owner: 0,
            schema,
            status,
            changed: false,
            trackers: false,
            clean: None,
            unsure: false,
            in_transaction: false,
            next_transaction: false,
            setup: "".into(),
            role: None,
        }
    }

    /// Takes what a statement's response says.
    pub(super) fn observe(&mut self, response: &Response) {
        self.unsure = false;
        for outcome in &response.outcomes {
            match outcome {
                Outcome::Ok(ok) => self.observe_ok(ok),
                Outcome::Set(set) => self.observe_ok(&set.ok),
                Outcome::Err(_) => self.unsure = true,
            }
        }
        if !self.trackers {
            self.changed = true;
        }
    }

    pub(super) fn observe_ok(&mut self, ok: &OkInfo) {
        self.status = ok.status;
        let (mut state, mut schema) = (false, false);
        for change in changes(&ok.changes) {
            match change {
                Ok(Change::Schema(name)) => {
                    schema = true;
                    let name = String::from_utf8_lossy(name);
                    self.schema = (!name.is_empty()).then(|| name.into());
                }
                Ok(Change::TransactionState(flags)) => {
                    self.in_transaction = flags.iter().any(|&c| c != b'_');
                }
                Ok(Change::TransactionCharacteristics(sql)) => {
                    self.next_transaction = !sql.is_empty()
                }
                Ok(Change::State(_) | Change::SystemVariable { .. }) => state = true,
                Ok(Change::Gtids(_)) => {}
                // Not understood is treated as changed.
                Ok(Change::Unknown(_)) | Err(_) => state = true,
            }
        }
        // `USE` reports both; the schema is followed by itself. It changes nothing else but
        // @@character_set_database and @@collation_database, which follow the schema too.
        if state && !schema {
            self.changed = true;
        }
    }

    pub(crate) fn in_transaction(&self) -> bool {
        self.in_transaction || self.status.contains(StatusFlags::SERVER_STATUS_IN_TRANS)
    }

    /// Why the session can't leave this link, if it can't.
    pub(crate) fn pin(&self) -> Option<&'static str> {
        if self.in_transaction() {
            Some("an open transaction or table locks")
        } else if self.next_transaction {
            Some("SET TRANSACTION for the next transaction")
        } else if self.changed {
            Some("session state that was set")
        } else {
            None
        }
    }

    /// It is as it began, and nothing that is neutral by itself makes it otherwise.
    pub(crate) fn is_shareable(&self) -> bool {
        self.clean.is_some()
            && self.pin().is_none()
            && self.status.contains(StatusFlags::SERVER_STATUS_AUTOCOMMIT)
    }

    /// Nobody's: whoever takes it begins anew.
    pub(crate) fn disown(&mut self) {
        self.owner = 0;
        self.start = Start::Used;
        self.clean = None;
    }

    /// It is as these options begin it, but for what neutral statements leave.
    pub(crate) fn is_as_begun(&self, begin: &Arc<SessionOpts>) -> bool {
        self.pin().is_none()
            && self
                .clean
                .as_ref()
                .is_some_and(|clean| Arc::ptr_eq(clean, begin) || clean.begins_like(begin))
    }

    fn restarted(&mut self) {
        self.start = Start::Clean;
        self.owner = 0;
        self.changed = false;
        self.unsure = false;
        self.in_transaction = false;
        self.next_transaction = false;
    }
}

/// The statement that every session begins with.
pub(super) fn setup_sql(fixed: &Fixed, trackers: bool) -> String {
    let mut sql = format!("SET NAMES {}", fixed.charset);
    if let Some(collation) = &fixed.collation {
        sql.push_str(" COLLATE ");
        sql.push_str(collation);
    }
    if trackers {
        sql.push_str(
            ", session_track_schema=ON, session_track_state_change=ON, \
             session_track_transaction_info='CHARACTERISTICS'",
        );
    }
    sql
}

impl Link {
    /// Begins a session: whatever stood on the link before is undone by `COM_RESET_CONNECTION` and
    /// what that doesn't undo or undoes too much (roles stay, trackers go); then come the schema and
    /// the options' own statements. All in one write, one round trip.
    ///
    /// Where the schema or an init statement fails the link stays usable, for a session that is
    /// begun anew.
    ///
    /// `as_begun`: what stood before is as these options begin it, and may stay; only the schema may
    /// be another.
    pub(crate) async fn begin(
        &mut self,
        schema: Option<&str>,
        begin: &Arc<SessionOpts>,
        as_begun: bool,
    ) -> Result<(), Error> {
        self.begin_and(schema, begin, as_begun, None)
            .await
            .map(drop)
    }

    /// As [`Self::begin`], where nothing has to be sent for it. Whether that is so, and the session
    /// can be shared.
    pub(crate) fn begin_free(&mut self, schema: Option<&str>, begin: &Arc<SessionOpts>) -> bool {
        let fresh = self.session.start == Start::Clean && begin.init.is_empty();
        let free = fresh || self.session.is_as_begun(begin);
        if !free || self.session.schema.as_deref() != schema {
            return false;
        }
        self.session.start = Start::Used;
        self.session.clean = Some(begin.clone());
        self.session.is_shareable()
    }

    /// As [`Self::begin`], with a statement right behind it that may run even where the session
    /// fails to begin: its result is thrown away then. `None`: nothing had to be sent, nor was
    /// `read`.
    pub(crate) async fn begin_and(
        &mut self,
        schema: Option<&str>,
        begin: &Arc<SessionOpts>,
        as_begun: bool,
        read: Option<&[u8]>,
    ) -> Result<Option<Response>, Error> {
        let init = match as_begun {
            true => &[],
            false => &begin.init[..],
        };
        let setup = self.session.setup.clone();
        let role = self.role_sql();
        let mut commands = Vec::new();
        if self.session.start == Start::Used && !as_begun {
            commands.push(Command::ResetConnection);
            commands.push(Command::Query(setup.as_bytes()));
            commands.extend(role.as_ref().map(|role| Command::Query(role.as_bytes())));
            self.statements.clear();
            self.counters.resets.fetch_add(1, Ordering::Relaxed);
        }
        let ours = commands.len();
        if let Some(schema) = schema.filter(|s| self.session.schema.as_deref() != Some(s)) {
            commands.push(Command::InitDb(schema));
        }
        let theirs = commands.len();
        commands.extend(init.iter().map(|sql| Command::Query(sql.as_bytes())));
        if commands.is_empty() {
            self.session.clean = Some(begin.clone());
            return Ok(None);
        }
        commands.extend(read.map(Command::Query));
        self.session.clean = None;
        self.session.start = Start::Used;
        self.session.owner = 0;
        let what = "beginning the session";
        let mut responses = self.train(&commands, what).await.map_err(not_run)?;
        let read = read.and_then(|_| responses.pop());
        self.counters
            .init_command_executed_count
            .fetch_add(init.len() as u64, Ordering::Relaxed);
        if theirs > ours {
            self.session.schema = schema.map(Into::into);
        }
        for (i, response) in responses.into_iter().enumerate() {
            for outcome in &response.outcomes {
                match outcome {
                    Outcome::Ok(ok) => self.session.observe_ok(ok),
                    Outcome::Set(set) => self.session.observe_ok(&set.ok),
                    Outcome::Err(_) => {}
                }
            }
            if let Err(e) = first_ok(response) {
                if i < ours {
                    // Half a reset is nobody's session.
                    self.broken.store(true, Ordering::Relaxed);
                } else if i < theirs {
                    self.session.schema = None;
                } else {
                    self.counters
                        .init_command_failed_count
                        .fetch_add(1, Ordering::Relaxed);
                }
                return Err(e);
            }
        }
        self.session.restarted();
        self.session.clean = Some(begin.clone());
        if let Some(response) = &read {
            self.counters.statements.fetch_add(1, Ordering::Relaxed);
            self.session.observe(response);
        }
        Ok(read)
    }

    /// Neither server's reset puts an active role back.
    fn role_sql(&self) -> Option<String> {
        let server: &ServerInfo = &self.server;
        match (server.mariadb, server.parsed) {
            (true, v) if v >= (10, 0, 5) => Some(format!(
                "SET ROLE {}",
                self.session.role.as_deref().unwrap_or("NONE")
            )),
            (false, v) if v >= (8, 0, 0) => Some("SET ROLE DEFAULT".to_owned()),
            _ => None,
        }
    }

    /// Makes the link another identity's, or takes a schema off it, by `COM_CHANGE_USER`. Two round
    /// trips and the setup. An error is the link's end.
    pub(crate) async fn change_user(
        &mut self,
        identity: &Arc<Identity>,
        schema: Option<&str>,
    ) -> Result<(), Error> {
        let ended = |link: &Link, e: Error| {
            link.broken.store(true, Ordering::Relaxed);
            e
        };
        if self.server.mariadb && self.server.parsed >= (10, 0, 5) {
            // MariaDB keeps the active role through a change of user.
            let response = self
                .command(Command::Query(b"SET ROLE NONE"), "leaving a role", None)
                .await?;
            first_ok(response).map_err(|e| ended(self, e))?;
        }
        let (exchange, payload) = ChangeUser::new(
            identity.clone(),
            schema,
            &self.target.fixed,
            &self.server,
            self.pipeline.capabilities(),
            self.channel(),
        )
        .map_err(|e| {
            ended(
                self,
                super::connect::auth_error(&self.target, identity.user.as_deref(), e).into(),
            )
        })?;
        self.statements.clear();
        self.session.clean = None;
        let ok = self
            .exchange_user(exchange, &payload)
            .await
            .map_err(|e| ended(self, e))?;
        self.counters.user_changes.fetch_add(1, Ordering::Relaxed);
        self.session.observe_ok(&ok);
        self.session.schema = schema.map(Into::into);
        let setup = self.session.setup.clone();
        let mut commands = vec![Command::Query(setup.as_bytes())];
        if self.server.mariadb {
            commands.push(Command::Query(super::connect::ROLE.as_bytes()));
        }
        let mut responses = self.train(&commands, "preparing the session").await?;
        if self.server.mariadb {
            self.session.role = responses.pop().and_then(super::connect::role_of);
        }
        for response in responses {
            first_ok(response).map_err(|e| ended(self, e))?;
        }
        self.session.restarted();
        Ok(())
    }
}

/// What the link was lost before: the statement that the session was for, or one that may run again.
fn not_run(e: Error) -> Error {
    match e {
        Error::ConnectionLost(lost) => crate::error::ConnectionLost {
            ran: Ran::No,
            ..(*lost).clone()
        }
        .into(),
        e => e,
    }
}
