//! What the server said of the session that stands on a link.

use std::sync::Arc;

use mysql_common::constants::StatusFlags;

use super::{MANY, NOBODY, lane::LIMIT};
use crate::{
    error::Error,
    opts::session::SessionOpts,
    proto::{
        result::{OkInfo, Outcome, Response},
        tracker::{Change, changes},
    },
    session::{
        Doing, Pin, PinReason, Pins, Variables,
        follow::Act,
        variables::{self, Kind, NAMES, NEXT, ROLE, Shared},
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
    pub(super) schema_stale: bool,
    pub status: StatusFlags,
    /// The server reported a change of state that a reset would undo, and that is no variable.
    pub changed: bool,
    /// The variables that are not as the session began.
    pub vars: Shared,
    /// How it began, as far as that was reported: what init statements set, and what was put back
    /// to the server's own value.
    pub(super) base: Arc<Variables>,
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
    pub(super) fn moved(&mut self, to: &Shared, server: &Arc<str>) -> Result<(), Error> {
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

    pub(super) fn restarted(&mut self) {
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
