//! How the session on a link becomes what somebody needs: begun anew, moved, or another user's.

use std::sync::{Arc, atomic::Ordering};

use super::{
    Link, Start, first_ok,
    questions::{role_of, set_names},
};
use crate::{
    error::{Error, Ran},
    opts::{identity::Identity, session::SessionOpts, target::Fixed},
    proto::{change_user::ChangeUser, command::Command, handshake::ServerInfo, result::Response},
    session::{
        Variables, user,
        variables::{self, ASK_NAMES, ASK_ROLE, Begun, ROLE, Shared},
    },
};

/// What a session is to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape<'a> {
    pub schema: Option<&'a str>,
    pub vars: &'a Shared,
    pub user: &'a Shared,
    pub begin: &'a Arc<SessionOpts>,
}

impl SessionOpts {
    /// The session as these begin it.
    pub(crate) fn as_begun(self: &Arc<Self>) -> Shape<'_> {
        Shape {
            schema: self.db_name.as_deref(),
            vars: &None,
            user: &None,
            begin: self,
        }
    }
}

/// The statement that every session begins with.
pub(super) fn setup_sql(fixed: &Fixed, mariadb: bool, trackers: bool) -> String {
    let mut sql = format!("SET NAMES {}", fixed.charset);
    if let Some(collation) = &fixed.collation {
        sql.push_str(" COLLATE ");
        sql.push_str(collation);
    }
    if trackers {
        // A reset of MariaDB's forgets warnings but not their number, where `max_error_count` was 0: that
        // takes a statement that uses a table.
        let on = if mariadb {
            "(SELECT 1 FROM (SELECT 1) t)"
        } else {
            "ON"
        };
        sql.push_str(", session_track_schema=");
        sql.push_str(on);
        sql.push_str(
            ", session_track_system_variables='*', session_track_state_change=ON, \
             session_track_transaction_info='CHARACTERISTICS'",
        );
        // MariaDB tells without.
        if fixed.track_gtids && !mariadb {
            sql.push_str(", session_track_gtids=OWN_GTID");
        }
    }
    sql
}

/// MySQL's threads keep their resource group through a reset and a change of user.
const UNGROUP: &[u8] = b"SET RESOURCE GROUP USR_default";

impl Link {
    /// Begins a session: whatever stood on the link before is undone by `COM_RESET_CONNECTION` and
    /// what that doesn't undo or undoes too much (roles stay, trackers go); then come the schema, the
    /// options' own statements, and the variables. All in one write, one round trip.
    ///
    /// Where the schema or an init statement fails the link stays usable, for a session that is
    /// begun anew.
    ///
    /// `as_begun`: what stood before is as these options begin it, and may stay; only the schema and
    /// variables may be others.
    pub(crate) async fn begin(&mut self, want: Shape<'_>, as_begun: bool) -> Result<(), Error> {
        self.begin_and(want, as_begun, None).await.map(drop)
    }

    /// As [`Self::begin`], where nothing has to be sent for it. Whether that is so, and the session
    /// can be shared.
    pub(crate) fn begin_free(&mut self, want: Shape<'_>) -> bool {
        let fresh = self.session.start == Start::Clean && want.begin.init.is_empty();
        let free = fresh || self.session.is_as_begun(want.begin);
        if !free
            || self.session.schema.as_deref() != want.schema
            || self.session.schema_stale
            || !variables::same(&self.session.vars, want.vars)
            || !variables::same(&self.session.user, want.user)
        {
            return false;
        }
        self.session.start = Start::Used;
        self.session.clean = Some(want.begin.clone());
        self.session.is_shareable()
    }

    /// As [`Self::begin`], with a statement right behind it that may run even where the session
    /// fails to begin: its result is thrown away then. `None`: nothing had to be sent, nor was
    /// `read`.
    pub(crate) async fn begin_and(
        &mut self,
        want: Shape<'_>,
        as_begun: bool,
        read: Option<&[u8]>,
    ) -> Result<Option<Response>, Error> {
        let init = match as_begun {
            true => &[],
            false => &want.begin.init[..],
        };
        let setup = self.session.setup.clone();
        let role = self.begun_role().map(|role| format!("SET ROLE {role}"));
        let sets = self.bridge(want.vars, as_begun);
        let user = match as_begun {
            true => user::bridge(&self.session.user, want.user),
            false => user::bridge(&None, want.user),
        };
        let mut commands = Vec::new();
        let resets = self.session.start == Start::Used && !as_begun;
        if resets {
            commands.push(Command::ResetConnection);
            commands.push(Command::Query(setup.as_bytes()));
            commands.extend(role.as_ref().map(|role| Command::Query(role.as_bytes())));
            if self.session.grouped {
                commands.push(Command::Query(UNGROUP));
            }
            self.statements.clear();
            self.counters.resets.fetch_add(1, Ordering::Relaxed);
        }
        let ours = commands.len();
        let schema = want.schema;
        // Behind a reset MariaDB has the schema, but no more its character set.
        self.session.schema_stale |= resets;
        let session = &self.common.session;
        let is_other = |s: &&str| session.schema_stale || session.schema.as_deref() != Some(s);
        if let Some(schema) = schema.filter(is_other) {
            commands.push(Command::InitDb(schema));
        }
        let theirs = commands.len();
        commands.extend(init.iter().map(|sql| Command::Query(sql.as_bytes())));
        if !init.is_empty() {
            let asks = [role.as_ref().map(|_| ASK_ROLE), Some(ASK_NAMES)];
            commands.extend(
                asks.iter()
                    .flatten()
                    .map(|sql| Command::Query(sql.as_bytes())),
            );
            // What the next statement finds of the last one's is the init statements'.
            commands.push(Command::Query(b"DO 0"));
        }
        let begun = commands.len();
        let moves = sets.iter().chain(&user);
        commands.extend(moves.map(|sql| Command::Query(sql.as_bytes())));
        if commands.is_empty() {
            self.session.clean = Some(want.begin.clone());
            return Ok(None);
        }
        commands.extend(read.map(Command::Query));
        self.session.clean = None;
        self.session.start = Start::Used;
        self.session.owner = 0;
        // What the last statement left is not to be had behind these.
        self.session.last = 0;
        let had_schema = self.session.schema.clone();
        let what = "beginning the session";
        let mut responses = self.train(&commands, what).await.map_err(not_run)?;
        let read = read.and_then(|_| responses.pop());
        self.counters
            .init_command_executed_count
            .fetch_add(init.len() as u64, Ordering::Relaxed);
        if theirs > ours {
            self.session.schema = schema.map(Into::into);
            self.session.schema_stale = false;
        }
        let mut moves = responses.split_off(begun.min(responses.len())).into_iter();
        let set: Vec<_> = moves.by_ref().take(sets.len()).collect();
        if !as_begun {
            self.session.vars = None;
            self.session.base = Arc::default();
            self.session.names_unknown = false;
        }
        let (mut names, mut active) = (None, None);
        let asks = if init.is_empty() { 0 } else { begun - 2 };
        for (i, response) in responses.into_iter().enumerate() {
            if asks > 0 && i == asks {
                names = Some(response);
                continue;
            }
            if asks > 0 && i + 1 == asks && role.is_some() {
                active = Some(response);
                continue;
            }
            if i == ours {
                // What the setup reported is what every session begins with.
                self.session.names_unknown = false;
            }
            self.session.observe_quietly(&response);
            if let Err(e) = first_ok(response) {
                if i < ours {
                    // Half a reset is nobody's session.
                    self.broken.store(true, Ordering::Relaxed);
                } else if i < theirs {
                    self.session.schema = had_schema;
                    self.session.schema_stale = true;
                } else {
                    self.counters
                        .init_command_failed_count
                        .fetch_add(1, Ordering::Relaxed);
                }
                return Err(e);
            }
        }
        if as_begun {
            self.session.changed = false;
        } else {
            let mut base = self.session.vars.take();
            if self.session.names_unknown
                && let Some(names) = names
            {
                variables::change(&mut base, |base| {
                    set_names(base, names);
                });
            }
            if let Some(active) = active {
                let role = role_of(active, self.server.mariadb).unwrap_or_default();
                variables::change(&mut base, |base| base.set(ROLE, role.as_bytes()));
            }
            self.session.restarted();
            self.session.base = base.unwrap_or_default();
            // It is not yet what it is to be.
            self.session.start = Start::Used;
        }
        if !set.is_empty() {
            let server = self.name.clone();
            let not_restored = |e| match e {
                // Behind a reset there is nothing left to try.
                Error::MySqlError(e) if !as_begun => {
                    let what = e.to_string();
                    Error::SessionNotRestored { server, what }
                }
                e => e,
            };
            self.moved(set, want.vars).map_err(not_restored)?;
        }
        // All that it reports is that something changed.
        if let Some(response) = moves.next() {
            if let Err(e) = first_ok(response) {
                self.session.changed = true;
                return Err(e);
            }
            self.session.user = want.user.clone();
        }
        self.session.start = Start::Clean;
        self.session.unsure = false;
        self.session.clean = Some(want.begin.clone());
        if let Some(response) = &read {
            self.counters.statements.fetch_add(1, Ordering::Relaxed);
            self.session.observe(response);
        }
        Ok(read)
    }

    /// What makes the variables these.
    fn bridge(&self, to: &Shared, as_begun: bool) -> Vec<String> {
        let (none, fresh) = (Variables::default(), None);
        let (from, base) = match as_begun {
            true => (&self.session.vars, &*self.session.base),
            false => (&fresh, &none),
        };
        let setup = self.session.setup.strip_prefix("SET ").unwrap_or("");
        let names = setup.split(',').next().unwrap_or("");
        let role = self.begun_role().unwrap_or("DEFAULT");
        variables::bridge(from, to, Begun { base, names, role })
    }

    /// Takes the replies to what was to make the variables these.
    fn moved(&mut self, replies: Vec<Response>, vars: &Shared) -> Result<(), Error> {
        // Whatever is reported of variables is what they are now.
        self.session.was_limited = false;
        // MariaDB reports of a role that something changed.
        let changed = self.session.changed;
        let mut refused = None;
        for response in replies {
            self.session.observe_quietly(&response);
            if let Err(e) = first_ok(response) {
                refused.get_or_insert(e);
            }
        }
        if let Some(e) = refused {
            // Whatever part of it was done: whoever comes next begins anew.
            self.session.changed = true;
            return Err(e);
        }
        self.session.changed = changed;
        let server = self.common.name.clone();
        self.session.moved(vars, &server)
    }

    /// Makes the variables these.
    pub(crate) async fn move_to(&mut self, vars: &Shared) -> Result<(), Error> {
        let vars = self.session.without_base(vars);
        let sets = self.bridge(&vars, true);
        if sets.is_empty() {
            return Ok(());
        }
        // On a link where no session has begun this is somebody's all the same.
        self.session.start = Start::Used;
        let what = "restoring the session";
        let sets: Vec<_> = sets
            .iter()
            .map(|sql| Command::Query(sql.as_bytes()))
            .collect();
        let set = self.train(&sets, what).await?;
        self.moved(set, &vars)
    }

    /// The role that a session begins with, where there are roles. Neither server's reset puts it back.
    fn begun_role(&self) -> Option<&str> {
        let server: &ServerInfo = &self.server;
        match (server.mariadb, server.parsed) {
            (true, v) if v >= (10, 0, 5) => Some(self.session.role.as_deref().unwrap_or("NONE")),
            (false, v) if v >= (8, 0, 0) => Some("DEFAULT"),
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
        if self.session.grouped {
            let response = self
                .command(Command::Query(UNGROUP), "leaving a resource group", None)
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
        self.pipeline.forget_statements();
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
            commands.push(Command::Query(ASK_ROLE.as_bytes()));
        }
        let mut responses = self.train(&commands, "preparing the session").await?;
        if self.server.mariadb {
            let role = responses.pop().and_then(|role| role_of(role, true));
            self.session.role = role.map(Into::into);
        }
        for response in responses {
            first_ok(response).map_err(|e| ended(self, e))?;
        }
        self.session.restarted();
        Ok(())
    }
}

/// What the link was lost before: the statement that the session was for, or one that may run again.
pub(crate) fn not_run(e: Error) -> Error {
    match e {
        Error::ConnectionLost(lost) => crate::error::ConnectionLost {
            ran: Ran::No,
            ..(*lost).clone()
        }
        .into(),
        e => e,
    }
}
