//! Why a link stays with its handle: what only the server holds of a session, each with the statement
//! that made it and since when.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use super::follow::Facts;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a handle keeps a link to itself. Told by [`Pin::reason`], counted in
        /// [`Counts::pins`](crate::Counts::pins), allowed or not by
        /// [`OptsBuilder::pin_policy`](crate::OptsBuilder::pin_policy).
        ///
        /// ```
        /// assert_eq!(mysql_mux::PinReason::TemporaryTable.to_string(), "a temporary table");
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum PinReason {
            $($(#[$doc])* $name,)*
        }

        impl PinReason {
            /// All there are.
            pub const ALL: &[PinReason] = &[$(PinReason::$name,)*];

            /// The reason for people.
            pub fn text(self) -> &'static str {
                match self {
                    $(PinReason::$name => $text,)*
                }
            }
        }
    };
}

reasons! {
    /// A transaction is open, by the server's word. Until `COMMIT` or `ROLLBACK`.
    Transaction = "an open transaction",
    /// `SET TRANSACTION` for the next transaction, until that has begun. Under
    /// [`Isolation::Session`](crate::Isolation::Session) it moves: this is only where a statement failed
    /// of which it isn't known whether it was that transaction.
    NextTransaction = "SET TRANSACTION for the next transaction",
    /// `XA START`, `XA PREPARE`. Until `XA COMMIT` or `XA ROLLBACK`.
    Xa = "an XA transaction",
    /// `LOCK TABLES`, by the server's word. Until `UNLOCK TABLES`.
    TableLocks = "table locks",
    /// `FLUSH TABLES … WITH READ LOCK`, `LOCK INSTANCE`, `BACKUP STAGE`, `BACKUP LOCK`. Until its
    /// counterpart.
    GlobalLock = "a global or backup lock",
    /// `GET_LOCK()`. Until the server says that all are released.
    UserLock = "a user lock",
    /// A user variable was set that can't be moved: it is too large, it has an unusual name, or a
    /// prepared statement of the protocol knows its type. Until
    /// [`Handle::reset`](crate::Handle::reset). In a transaction all that are set; then they are read.
    UserVariable = "a user variable",
    /// `CREATE TEMPORARY TABLE`. Until the last is dropped.
    TemporaryTable = "a temporary table",
    /// `PREPARE` in SQL. Until `DEALLOCATE PREPARE` of the last.
    PreparedStatement = "a statement prepared in SQL",
    /// `HANDLER … OPEN`. Until the last is closed.
    Handler = "an open HANDLER",
    /// A system variable whose value can't be moved. Until [`Handle::reset`](crate::Handle::reset).
    SystemVariable = "a system variable that can't be moved",
    /// `SET ROLE`, where the server doesn't tell which one it is, or its name is not of ASCII. Until
    /// [`Handle::reset`](crate::Handle::reset).
    Role = "an active role",
    /// `SET RESOURCE GROUP`. Until [`Handle::reset`](crate::Handle::reset).
    ResourceGroup = "a resource group",
    /// A value of a sequence, for `LASTVAL()`. Until [`Handle::reset`](crate::Handle::reset).
    Sequence = "the last value of a sequence",
    /// `SQL_CALC_FOUND_ROWS`. Until the next statement.
    FoundRows = "SQL_CALC_FOUND_ROWS",
    /// What the last statement left, kept for a handle that asks for it. Until the next statement.
    Diagnostics = "the last statement's warnings and counts",
    /// The handle knows its connection's id, which others may `KILL`. Until
    /// [`Handle::reset`](crate::Handle::reset).
    ConnectionId = "a connection id that was asked for",
    /// Something of which it isn't known what it did: a stored routine, a statement that isn't
    /// understood, a trigger that changed the session. Until [`Handle::reset`](crate::Handle::reset).
    Unknown = "a statement of unknown effect",
    /// A result is read piece by piece. Until its end.
    Stream = "a result that is read piece by piece",
    /// A transaction of the API. Until its end.
    Hold = "a transaction of the API",
    /// [`Handle::lease`](crate::Handle::lease). Until the lease ends.
    Lease = "a lease",
}

impl PinReason {
    /// What would be missed if the link were lost. Another connection only has another id.
    pub(crate) fn is_of_the_session(self) -> bool {
        use PinReason::*;
        !matches!(self, ConnectionId | Stream)
    }
}

impl fmt::Display for PinReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// What is done about a reason to pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum PinPolicy {
    /// The handle keeps a link to itself.
    #[default]
    Allow,
    /// The same, with an event (feature `tracing`).
    Warn,
    /// An error before the statement is sent, where its text tells. What only the server tells
    /// afterwards pins all the same.
    Deny,
}

/// What is done about each reason, where that was said.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Policies(Vec<(PinReason, PinPolicy)>);

impl Policies {
    pub(crate) fn set(&mut self, reason: PinReason, policy: PinPolicy) {
        self.0.retain(|(known, _)| *known != reason);
        self.0.push((reason, policy));
    }

    pub(crate) fn get(&self, reason: PinReason) -> Option<PinPolicy> {
        let of = self.0.iter().find(|(known, _)| *known == reason);
        of.map(|(_, policy)| *policy)
    }
}

/// One reason for which a handle keeps a link to itself.
///
/// ```no_run
/// # fn main() -> mysql_mux::Result<()> {
/// use mysql_mux::{Mux, PinReason, prelude::*};
///
/// let mut handle = Mux::global().connect("mysql://user:password@localhost/shop")?;
/// handle.query_drop("CREATE TEMPORARY TABLE cart (item INT)")?;
/// let pin = handle.pin().expect("it has a table of its own");
/// assert_eq!(pin.reason(), PinReason::TemporaryTable);
/// assert_eq!(pin.name(), Some("shop.cart"));
/// println!("{pin}, for {:?}", pin.age());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Pin {
    reason: PinReason,
    name: Option<Arc<str>>,
    statement: Arc<str>,
    since: Instant,
    told: bool,
}

impl PartialEq for Pin {
    fn eq(&self, other: &Pin) -> bool {
        self.reason == other.reason && self.name == other.name && self.since == other.since
    }
}

impl Eq for Pin {}

impl Pin {
    pub(crate) fn new(reason: PinReason, statement: Arc<str>, since: Instant) -> Pin {
        Pin {
            reason,
            name: None,
            statement,
            since,
            told: false,
        }
    }

    /// Why.
    pub fn reason(&self) -> PinReason {
        self.reason
    }

    /// Of what: the table, the lock, the variable, where it has a name that is known.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The statement that caused it, without its literals; empty: none did.
    pub fn statement(&self) -> &str {
        &self.statement
    }

    /// Since when.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// For how long.
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        if let Some(name) = &self.name {
            write!(f, " ({name})")?;
        }
        if !self.statement.is_empty() {
            write!(f, ", since {}", self.statement)?;
        }
        Ok(())
    }
}

/// A statement that was prepared in SQL.
#[derive(Debug)]
pub(crate) struct PreparedInSql {
    /// In lower case.
    pub name: Vec<u8>,
    pub text: Option<Vec<u8>>,
    /// The schema that names in it belong to, if that is known.
    pub schema: Option<String>,
    /// What it would do, if that is known.
    pub facts: Option<Facts>,
}

/// All reasons for which one link stays with its handle.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    pins: Vec<Pin>,
    pub(super) prepared: Vec<PreparedInSql>,
    /// User variables that were set and not yet read back. They pin for as long.
    unread: Vec<Arc<str>>,
    /// A role was set that was not yet asked for. It pins for as long.
    pub(crate) unread_role: bool,
}

impl Pins {
    pub(crate) fn first(&self) -> Option<&Pin> {
        self.pins.first()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pin> {
        self.pins.iter()
    }

    pub(crate) fn has(&self, reason: PinReason) -> bool {
        self.pins.iter().any(|pin| pin.reason == reason)
    }

    /// What was prepared under this name.
    pub(crate) fn prepared(&self, name: &[u8]) -> Option<&PreparedInSql> {
        let is_it = |known: &&PreparedInSql| known.name.eq_ignore_ascii_case(name);
        self.prepared.iter().find(is_it)
    }

    /// Names that are known, of those pinned for this reason; and whether there is one without.
    pub(crate) fn names(&self, reason: PinReason) -> impl Iterator<Item = Option<&str>> {
        let these = self.pins.iter().filter(move |pin| pin.reason == reason);
        these.map(|pin| pin.name.as_deref())
    }

    /// Whether it is new.
    pub(crate) fn add(
        &mut self,
        reason: PinReason,
        name: Option<Arc<str>>,
        statement: &Arc<str>,
        now: Instant,
    ) -> bool {
        if self
            .pins
            .iter()
            .any(|p| p.reason == reason && p.name == name)
        {
            return false;
        }
        self.pins.push(Pin {
            reason,
            name,
            statement: statement.clone(),
            since: now,
            told: false,
        });
        true
    }

    /// Those that nobody was told of yet.
    pub(crate) fn new_ones(&mut self) -> impl Iterator<Item = &Pin> {
        let new = self.pins.iter_mut().filter(|pin| !pin.told);
        new.map(|pin| {
            pin.told = true;
            &*pin
        })
    }

    /// All of a reason.
    pub(crate) fn end(&mut self, reason: PinReason) {
        self.pins.retain(|pin| pin.reason != reason);
    }

    pub(crate) fn end_one(&mut self, reason: PinReason, name: &str) {
        self.pins
            .retain(|pin| pin.reason != reason || pin.name.as_deref() != Some(name));
    }

    pub(crate) fn clear(&mut self) {
        *self = Pins::default();
    }

    /// User variables were set.
    pub(super) fn unread(&mut self, names: &[Arc<str>]) {
        for name in names {
            if !self.unread.contains(name) {
                self.unread.push(name.clone());
            }
        }
    }

    pub(crate) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// What is to be read back, if the link is to be left.
    pub(crate) fn to_read(&self) -> &[Arc<str>] {
        &self.unread
    }

    /// They are read back.
    pub(crate) fn all_are_read(&mut self) {
        self.unread.clear();
    }
}
