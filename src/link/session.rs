//! What the server said of the session that stands on a link, and how it is put back to its start.

use std::sync::{Arc, atomic::Ordering};

use mysql_common::constants::StatusFlags;

use super::{
    Link, MANY, NOBODY, first_ok,
    lane::LIMIT,
    questions::{role_of, set_names},
};
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
    session::{
        Doing, Pin, PinReason, Pins, Variables,
        follow::Act,
        user,
        variables::{self, ASK_NAMES, ASK_ROLE, Begun, Kind, NAMES, NEXT, ROLE, Shared},
    },
};

/// A statement was refused before it began anything (`mysql_execute_command` in `sql/sql_parse.cc`).
const ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION: u16 = 1792;

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
    /// A reset took its character set from it, on MariaDB.
    schema_stale: bool,
    pub status: StatusFlags,
    /// The server reported a change of state that a reset would undo, and that is no variable.
    pub changed: bool,
    /// The variables that are not as the session began.
    pub vars: Shared,
    /// How it began, as far as that was reported: what init statements set, and what was put back
    /// to the server's own value.
    base: Arc<Variables>,
    /// The user variables, by what makes them, but for those that init statements set.
    pub user: Shared,
    /// A character set or collation was set: what became of the others is not reported.
    pub names_unknown: bool,
    /// A variable was set that can't be moved.
    pub stuck: Option<Arc<str>>,
    /// Why the session can't leave the link, where its handle has one of its own.
    pub pins: Pins,
    /// What runs, where it has to be followed.
    pub doing: Option<Arc<Doing>>,
    /// The last statement's error, by its number.
    pub error: Option<u16>,
    /// The handle that ran the last statement.
    pub last: u64,
    /// The handle whose `LAST_INSERT_ID()` this is.
    pub insert_id_of: u64,
    /// The handle whose `@@last_gtid` this is.
    pub gtid_of: u64,
    /// What it was set to by the last statement.
    pub insert_id_set: Option<u64>,
    /// What it is, if that is known.
    pub insert_id_known: Option<u64>,
    /// It is a sentinel unless a statement of that handle made one.
    pub insert_id_guarded: bool,
    /// Has `LAST_INSERT_ID()` be this before the next statement.
    pub insert_id_next: Option<u64>,
    /// The reply to what was sent for that is due.
    pub guarding: bool,
    /// The server is being asked what a statement left.
    pub following: bool,
    /// Statements had a limit of their own, by `SET STATEMENT`. MariaDB tells what it was before, and is
    /// again, with something else that it has to tell.
    pub was_limited: bool,
    /// The handle whose `FOUND_ROWS()` this is.
    pub rows_of: u64,
    /// The handle whose warnings these are; 0: there are none.
    pub warnings_of: u64,
    /// The server's trackers are on. Without them every statement may have changed something.
    pub trackers: bool,
    /// What it was begun with, where nothing but neutral statements ran since. The schema is followed
    /// by itself.
    pub clean: Option<Arc<SessionOpts>>,
    /// The last statement failed; an ERR packet doesn't say what became of the session.
    pub unsure: bool,
    /// A statement failed that may have been the next transaction: then there is nothing left of what
    /// was said of it. MySQL tells with its next OK, MariaDB when that is over.
    next_unsure: bool,
    /// The transaction tracker's word: something is begun, or table locks are held.
    in_transaction: bool,
    locks_tables: bool,
    /// What makes the session begin (`SET NAMES …`), known after the login.
    pub setup: Arc<str>,
    /// MariaDB's role after the login, quoted for `SET ROLE`.
    pub role: Option<Arc<str>>,
    /// A statement may have moved it to another resource group.
    pub grouped: bool,
}

impl Session {
    pub(super) fn new(schema: Option<Arc<str>>, status: StatusFlags) -> Self {
        Session {
            start: Start::Clean,
            owner: 0,
            schema,
            schema_stale: false,
            status,
            changed: false,
            vars: None,
            base: Arc::default(),
            user: None,
            names_unknown: false,
            stuck: None,
            pins: Pins::default(),
            doing: None,
            error: None,
            last: 0,
            insert_id_of: 0,
            gtid_of: NOBODY,
            insert_id_set: None,
            insert_id_known: None,
            insert_id_guarded: false,
            insert_id_next: None,
            guarding: false,
            following: false,
            was_limited: false,
            rows_of: 0,
            warnings_of: 0,
            trackers: false,
            clean: None,
            unsure: false,
            next_unsure: false,
            in_transaction: false,
            locks_tables: false,
            setup: "".into(),
            role: None,
            grouped: false,
        }
    }

    /// Takes what a statement's response says.
    pub(super) fn observe(&mut self, response: &Response) {
        self.unsure = false;
        for outcome in response.outcomes.iter() {
            match outcome {
                Outcome::Ok(ok) => self.observe_ok(ok),
                Outcome::Set(set) => self.observe_ok(&set.ok),
                Outcome::Err(e) => {
                    self.unsure = true;
                    self.next_unsure |= self.awaits_transaction()
                        && e.code() != ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION;
                    self.error = Some(e.code());
                }
            }
        }
        if response.outcomes.len() > 1 {
            // Something may have been made behind it.
            self.insert_id_set = None;
        }
        if !self.trackers {
            self.changed = true;
        }
    }

    /// Nobody knows whose `LAST_INSERT_ID()` this is.
    pub(crate) fn forget_insert_id(&mut self) {
        self.insert_id_of = MANY;
        self.insert_id_known = None;
        self.insert_id_guarded = false;
    }

    /// What was to be sent before a statement that was not sent.
    pub(crate) fn drop_guard(&mut self) {
        if self.insert_id_next.take().is_some() {
            self.forget_insert_id();
        }
    }

    pub(super) fn observe_ok(&mut self, ok: &OkInfo) {
        self.status = ok.status;
        // MySQL would have told of a transaction that is next.
        self.next_unsure &= !ok.nothing_else;
        let (mut state, mut explained) = (false, false);
        for change in changes(&ok.changes) {
            match change {
                Ok(Change::Schema(name)) => {
                    explained = true;
                    let name = String::from_utf8_lossy(name);
                    self.schema = (!name.is_empty()).then(|| name.into());
                }
                Ok(Change::TransactionState(flags)) => {
                    self.in_transaction = flags.iter().any(|&c| c != b'_');
                    self.locks_tables = flags.contains(&b'L');
                }
                Ok(Change::TransactionCharacteristics(sql)) => self.next_transaction(sql),
                Ok(Change::SystemVariable { name, value }) => {
                    explained |= self.variable(name, value);
                }
                Ok(Change::State(_)) => state = true,
                Ok(Change::Gtids(_)) => {}
                // Not understood is treated as changed.
                Ok(Change::Unknown(_)) | Err(_) => self.changed = true,
            }
        }
        if self.in_transaction() && self.awaits_transaction() {
            // It has begun by itself, which MySQL tells of in no other way.
            self.next_transaction(b"");
        }
        // `USE` and `SET` of a variable report both, and these are followed by themselves. `USE`
        // changes nothing else but @@character_set_database and @@collation_database, which follow
        // the schema too.
        if state && !explained {
            self.changed = true;
        }
    }

    /// Whether it is state that is set.
    fn variable(&mut self, name: &[u8], value: &[u8]) -> bool {
        let text = String::from_utf8_lossy(name);
        let kind = variables::kind(name);
        match kind {
            Kind::Moves if self.was_limited && name == LIMIT && !self.sets_variables() => {}
            // In each of MySQL's.
            Kind::Noise => self.next_unsure = false,
            Kind::Gtid => self.gtid_of = self.owner,
            Kind::Moves => self.set_variable(&text, value),
            Kind::Names => self.names_unknown = true,
            Kind::InsertId => {
                self.insert_id_of = self.owner;
                self.insert_id_guarded = false;
                self.insert_id_set = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
            }
            Kind::Stays => self.stuck = Some(text.into()),
        }
        !matches!(kind, Kind::Noise | Kind::Gtid)
    }

    /// What the tracker says of the transaction that is open, or of the next one.
    fn next_transaction(&mut self, characteristics: &[u8]) {
        self.next_unsure = false;
        if variables::is_of_next(characteristics) {
            variables::change(&mut self.vars, |vars| vars.set(NEXT, characteristics));
        } else if self.awaits_transaction() {
            variables::change(&mut self.vars, |vars| vars.remove(NEXT));
        }
    }

    /// It can be gone back to.
    pub(super) fn begins_with_a_known_role(&self) -> bool {
        self.base.get(ROLE) != Some(b"")
    }

    pub(super) fn set_variable(&mut self, name: &str, value: &[u8]) {
        variables::change(&mut self.vars, |vars| vars.set(name, value));
        self.vars = self.without_base(&self.vars);
    }

    /// A question of ours leaves what it leaves, whoever's was there. Most leave no warnings.
    pub(super) fn is_asked(&mut self) {
        self.last = NOBODY;
        self.rows_of = MANY;
        if self.warnings_of != NOBODY {
            self.warnings_of = MANY;
        }
    }

    /// Takes what a response says of the session, whatever became of the statement.
    pub(super) fn observe_quietly(&mut self, response: &Response) {
        for ok in response.outcomes.iter().filter_map(Outcome::ok) {
            self.observe_ok(ok);
        }
    }

    /// A `SET` was run that was to make the variables these. What went back to the server's own
    /// value was reported with it: from here on that is known.
    fn moved(&mut self, to: &Shared, server: &Arc<str>) -> Result<(), Error> {
        let none = Variables::default();
        let to = to.as_deref().unwrap_or(&none);
        self.names_unknown = false;
        let mut base = (*self.base).clone();
        variables::change(&mut self.vars, |vars| {
            for name in NAMES.into_iter().chain([ROLE]) {
                match to.get(name) {
                    Some(value) => vars.set(name, value),
                    None => vars.remove(name),
                }
            }
            for (name, value) in vars.iter() {
                if to.get(name).is_none() && name != NEXT {
                    base.set(name, value);
                }
            }
        });
        self.base = Arc::new(base);
        self.vars = self.without_base(&self.vars);
        let wanted = variables::without(&variables::shared(to.clone()), &self.base);
        if !variables::same(&self.vars, &wanted) {
            self.changed = true;
            return Err(Error::SessionNotRestored {
                server: server.clone(),
                what: variables::difference(&self.vars, &wanted),
            });
        }
        Ok(())
    }

    /// The variables of another session, less what this one began with.
    pub(crate) fn without_base_if(&self, as_begun: bool, vars: &Shared) -> Shared {
        match as_begun {
            true => self.without_base(vars),
            false => vars.clone(),
        }
    }

    pub(crate) fn without_base(&self, vars: &Shared) -> Shared {
        variables::without(vars, &self.base)
    }

    pub(crate) fn in_transaction(&self) -> bool {
        self.in_transaction || self.status.contains(StatusFlags::SERVER_STATUS_IN_TRANS)
    }

    pub(crate) fn locks_tables(&self) -> bool {
        self.locks_tables
    }

    /// What of the session can't be moved to another link, if anything.
    pub(crate) fn stays(&self) -> Option<PinReason> {
        self.stays_when_read().or(self.unread())
    }

    /// What of it has to be asked for, before it can be moved.
    fn unread(&self) -> Option<PinReason> {
        let user = self.pins.has_unread().then_some(PinReason::UserVariable);
        user.or(self.pins.unread_role.then_some(PinReason::Role))
    }

    /// What is not in its pins, but would be missed with the link.
    fn unsaved(&self) -> Option<PinReason> {
        let next = self.next_unsure.then_some(PinReason::NextTransaction);
        self.unread().or(next)
    }

    /// The same, once that is read back that can be.
    pub(crate) fn stays_when_read(&self) -> Option<PinReason> {
        if self.in_transaction() {
            Some(PinReason::Transaction)
        } else if self.next_unsure {
            Some(PinReason::NextTransaction)
        } else if self.stuck.is_some() {
            Some(PinReason::SystemVariable)
        } else if self.changed {
            Some(PinReason::Unknown)
        } else {
            self.pins.first().map(Pin::reason)
        }
    }

    /// Why it is not as it began, if it isn't.
    pub(crate) fn pin(&self) -> Option<PinReason> {
        let next = self
            .awaits_transaction()
            .then_some(PinReason::NextTransaction);
        let moves = self.vars.is_some() || self.names_unknown;
        let variable = moves.then_some(PinReason::SystemVariable);
        self.stays().or(next).or(variable)
    }

    pub(crate) fn names_of_variables(&self) -> Vec<String> {
        let vars = self.vars.as_deref();
        let names = vars.into_iter().flat_map(|vars| vars.iter());
        let names = names.map(|(name, _)| name);
        names
            .filter(|name| variables::is_variable(name))
            .map(str::to_owned)
            .collect()
    }

    /// The statement under way may change more than the server tells when it fails.
    pub(crate) fn may_have_changed(&self) -> bool {
        self.doing.as_ref().is_some_and(|doing| doing.may_change())
    }

    /// What is under way may set variables.
    pub(crate) fn sets_variables(&self) -> bool {
        let facts = self.doing.as_ref().map(|doing| &doing.facts);
        facts.is_some_and(|facts| facts.unknown || facts.acts.contains(&Act::SetVariables))
    }

    /// What goes with the link, for people.
    pub(crate) fn lost(&self) -> Option<String> {
        let gone = self
            .pins
            .iter()
            .filter(|pin| pin.reason().is_of_the_session());
        let gone = gone.map(ToString::to_string);
        let unsaved = self.unsaved().map(|reason| reason.to_string());
        let gone: Vec<_> = gone.chain(unsaved).collect();
        match gone.is_empty() {
            true if self.names_unknown => Some("character sets that were set".to_owned()),
            true => self
                .in_transaction()
                .then(|| PinReason::Transaction.to_string()),
            false => Some(gone.join("; ")),
        }
    }

    /// It may have user variables that nobody has read back.
    pub(crate) fn has_set_user_variables(&self) -> bool {
        let pins = &self.pins;
        self.changed
            || pins.has_unread()
            || pins.has(PinReason::UserVariable)
            || pins.has(PinReason::Unknown)
    }

    /// `SET TRANSACTION` for the next transaction stands.
    pub(crate) fn awaits_transaction(&self) -> bool {
        variables::awaits_transaction(&self.vars)
    }

    /// It is as it began but for variables, and nothing that is neutral by itself makes it otherwise.
    pub(crate) fn is_shareable(&self) -> bool {
        self.clean.is_some()
            && self.stays().is_none()
            && !self.names_unknown
            && !self.awaits_transaction()
            && self.status.contains(StatusFlags::SERVER_STATUS_AUTOCOMMIT)
    }

    /// Nobody's: whoever takes it begins anew.
    pub(crate) fn disown(&mut self) {
        self.owner = 0;
        self.start = Start::Used;
        self.clean = None;
    }

    /// It is as these options begin it, but for variables and for what neutral statements leave.
    pub(crate) fn is_as_begun(&self, begin: &Arc<SessionOpts>) -> bool {
        self.stays().is_none()
            && !self.names_unknown
            && self
                .clean
                .as_ref()
                .is_some_and(|clean| Arc::ptr_eq(clean, begin) || clean.begins_like(begin))
    }

    fn restarted(&mut self) {
        self.start = Start::Clean;
        self.owner = 0;
        self.changed = false;
        self.vars = None;
        self.base = Arc::default();
        self.user = None;
        self.names_unknown = false;
        self.stuck = None;
        self.pins.clear();
        self.doing = None;
        self.last = 0;
        self.insert_id_of = 0;
        self.gtid_of = NOBODY;
        self.insert_id_known = None;
        self.insert_id_guarded = false;
        self.insert_id_next = None;
        self.insert_id_set = None;
        self.following = false;
        self.was_limited = false;
        self.rows_of = 0;
        // See `setup_sql`.
        self.warnings_of = if self.trackers { NOBODY } else { MANY };
        self.unsure = false;
        self.next_unsure = false;
        self.in_transaction = false;
        self.locks_tables = false;
        self.grouped = false;
    }
}

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
