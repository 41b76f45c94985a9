//! What a statement that isn't neutral needs of its session, and does to it.
//!
//! It is for statements that [`read`](super::read) calls `Other`, and may take its time. What it
//! doesn't understand is `unknown`: verbs are known by name, and so is all that is called in what a
//! statement runs. The bodies of routines, triggers, events and views are only stored.
//!
//! A text is read by all SQL modes that may matter (`NO_BACKSLASH_ESCAPES`, `ANSI_QUOTES`), and has
//! the facts of all readings but those that the server would refuse as a whole.
//!
//! # What it doesn't tell
//! - Whether a statement succeeds: a `DROP` may fail, a `GET_LOCK()` may time out.
//! - What a prepared statement does: [`Act::Prepare`] has its text, if that is known.
//! - What the module's first lines say of neutral statements: triggers, views and defaults.

use std::sync::Arc;

use super::{
    pieces::{self, Modes, Piece, Pieces, What},
    reader::Reader,
};

/// What a statement needs of its session and does to it, as far as its text tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Facts {
    /// It may do anything that no tracker tells.
    pub unknown: bool,
    /// Nothing but reads, without locks: it may be run again.
    pub reads_only: bool,
    /// It reads `LAST_INSERT_ID()`.
    pub needs_insert_id: bool,
    /// It reads the warnings that the statement before it left.
    pub needs_diagnostics: bool,
    /// It reads `ROW_COUNT()`, which each statement sets.
    pub needs_row_count: bool,
    /// It reads `FOUND_ROWS()`, which the last result set left.
    pub needs_found_rows: bool,
    /// It reads the GTID of its session's last transaction.
    pub needs_gtid: bool,
    /// It reads what tells its connection from others.
    pub needs_connection_id: bool,
    /// It may change `LAST_INSERT_ID()`.
    pub sets_insert_id: bool,
    pub sets_user_variables: bool,
    /// It mentions user variables.
    pub reads_user_variables: bool,
    /// Those that it mentions, in lower case.
    pub user_variables: Vec<Arc<str>>,
    /// It may mention others, whose names aren't known or are equal by rules that aren't known here.
    pub other_user_variables: bool,
    pub sets_role: bool,
    /// It uses a sequence of MariaDB, whose last value is the session's.
    pub uses_sequence: bool,
    /// `SQL_CALC_FOUND_ROWS`
    pub counts_found_rows: bool,
    /// It sets variables of the server.
    pub sets_global: bool,
    /// It may end this session or others.
    pub ends_session: bool,
    /// It ends a transaction, explicitly or not.
    pub commits: bool,
    /// It is a read that has rows written or locked, by a routine that a view calls.
    pub writes: bool,
    /// Behind it names of tables may be others', or do something else.
    pub moves_names: bool,
    /// There are statements behind one that does so.
    pub blind: bool,
    /// In the order of the text.
    pub acts: Vec<Act>,
}

/// What a statement does to something that its session has a name for, or to a lock.
///
/// Names of prepared statements are in lower case; all others are as written. User locks `A` and
/// `a` are one to MySQL, and two to MariaDB, whatever its documentation says: if they are taken for
/// two, none is believed to be released that isn't.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    CreateTemporary(Name),
    /// MariaDB's.
    CreateTemporarySequence(Name),
    /// Sequences, too.
    DropTables {
        names: Vec<Name>,
        /// Only temporary ones.
        temporary: bool,
    },
    /// Tables of these names stay.
    DropSequences(Vec<Name>),
    /// Tables got other names, temporary ones among them, perhaps.
    RenameTemporary,
    /// `None`: its name isn't known.
    TakeLock(Option<Vec<u8>>),
    ReleaseLock(Option<Vec<u8>>),
    ReleaseAllLocks,
    Prepare {
        name: Vec<u8>,
        /// `None`: it isn't a plain string.
        text: Option<Vec<u8>>,
    },
    /// It does what its text does, of which these facts say nothing.
    Execute(Vec<u8>),
    /// The same; without a text the facts are `unknown`.
    ExecuteImmediate(Option<Vec<u8>>),
    Deallocate(Vec<u8>),
    OpenHandler(Vec<u8>),
    CloseHandler(Vec<u8>),
    LockTables,
    UnlockTables,
    /// `FLUSH TABLES … WITH READ LOCK`, `… FOR EXPORT`: `UNLOCK TABLES` ends it.
    GlobalReadLock,
    LockInstance,
    UnlockInstance,
    BackupStage {
        ends: bool,
    },
    BackupLock,
    BackupUnlock,
    XaBegin,
    XaPrepare,
    /// `XA COMMIT`, `XA ROLLBACK`
    XaEnd,
    ResourceGroup,
    /// Variables of the session are set, or may be: a tracker tells which.
    SetVariables,
    /// A statement of the protocol that mentions user variables is prepared: MySQL keeps the types
    /// that they have then for as long as the statement lives.
    KeepTypes,
}

/// A table's name as written, without its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub schema: Option<Vec<u8>>,
    pub name: Vec<u8>,
}

impl Facts {
    /// Of a text that isn't understood.
    pub(super) fn unknown() -> Facts {
        let facts = Facts {
            unknown: true,
            ..Facts::default()
        };
        facts.consistent()
    }

    /// Of what can't be looked up.
    pub(crate) fn of_anything() -> Facts {
        Facts::unknown()
    }

    /// It runs a text that is not its own, as far as it is known what it does.
    pub(crate) fn executes(&self) -> bool {
        let is_run = |act: &Act| matches!(act, Act::Execute(_) | Act::ExecuteImmediate(_));
        self.acts.iter().any(is_run)
    }

    /// What follows from what is known.
    pub(super) fn consistent(mut self) -> Facts {
        self.sets_insert_id |= self.unknown;
        self.sets_user_variables |= self.unknown;
        self.other_user_variables |= self.unknown;
        let changes = self.sets_insert_id || self.sets_user_variables || self.sets_role;
        let changes = changes || self.uses_sequence;
        let ends = self.sets_global || self.ends_session || self.commits;
        self.reads_only &= !self.unknown && !changes && !ends && self.acts.is_empty();
        self
    }

    /// One more user variable is mentioned.
    pub(crate) fn mention(&mut self, name: Arc<str>) {
        self.reads_user_variables = true;
        if !self.user_variables.contains(&name) {
            self.user_variables.push(name);
        }
    }

    /// Of both, one after the other.
    pub(crate) fn and(mut self, mut other: Facts) -> Facts {
        self.acts.append(&mut other.acts);
        for name in std::mem::take(&mut other.user_variables) {
            self.mention(name);
        }
        Facts {
            unknown: self.unknown | other.unknown,
            reads_only: self.reads_only & other.reads_only,
            needs_insert_id: self.needs_insert_id | other.needs_insert_id,
            needs_row_count: self.needs_row_count | other.needs_row_count,
            needs_found_rows: self.needs_found_rows | other.needs_found_rows,
            needs_diagnostics: self.needs_diagnostics | other.needs_diagnostics,
            needs_gtid: self.needs_gtid | other.needs_gtid,
            needs_connection_id: self.needs_connection_id | other.needs_connection_id,
            sets_insert_id: self.sets_insert_id | other.sets_insert_id,
            sets_user_variables: self.sets_user_variables | other.sets_user_variables,
            reads_user_variables: self.reads_user_variables | other.reads_user_variables,
            user_variables: self.user_variables,
            other_user_variables: self.other_user_variables | other.other_user_variables,
            sets_role: self.sets_role | other.sets_role,
            uses_sequence: self.uses_sequence | other.uses_sequence,
            counts_found_rows: self.counts_found_rows | other.counts_found_rows,
            sets_global: self.sets_global | other.sets_global,
            ends_session: self.ends_session | other.ends_session,
            commits: self.commits | other.commits,
            writes: self.writes | other.writes,
            moves_names: self.moves_names | other.moves_names,
            blind: self.blind | other.blind,
            acts: self.acts,
        }
    }

    /// Of both, where what both do counts once.
    pub(crate) fn merge(&mut self, other: &Facts) {
        let mut other = other.clone();
        other.acts.retain(|act| !self.acts.contains(act));
        *self = std::mem::take(self).and(other);
    }

    /// Of one or the other. If they don't do the same, nobody knows what is done.
    fn or(mut self, other: Facts) -> Facts {
        let is_same = self.acts == other.acts;
        self.merge(&other);
        self.unknown |= !is_same;
        self.consistent()
    }
}

/// Reads a text of one or more statements.
pub(crate) fn facts(sql: &[u8]) -> Facts {
    let readings = pieces::modes(sql).filter_map(|modes| reading(sql, modes));
    readings.reduce(Facts::or).unwrap_or_else(Facts::unknown)
}

/// It goes to another schema, or makes a name another's; or it defines what is done where tables are used.
fn moves_names(sql: &[u8], statement: &[Piece]) -> bool {
    const DEFINED: [&[u8]; 5] = [b"view", b"trigger", b"function", b"procedure", b"package"];
    let is = |piece: &Piece, word: &[u8]| {
        piece.what == What::Word && sql[piece.start..piece.end].eq_ignore_ascii_case(word)
    };
    let first = |word: &[u8]| statement.first().is_some_and(|first| is(first, word));
    let defines = |piece: &Piece| {
        let is_default = matches!(piece.what, What::UserVariable | What::AtAt);
        is_default || DEFINED.iter().any(|word| is(piece, word))
    };
    first(b"use")
        || first(b"rename")
        || first(b"alter")
        || (first(b"create") && statement.iter().any(defines))
}

/// `None` if the server refuses it when it is read like this.
fn reading(sql: &[u8], modes: Modes) -> Option<Facts> {
    let Pieces {
        all,
        doubtful,
        refused,
    } = pieces::pieces(sql, modes);
    if refused {
        return None;
    }
    let mut facts: Option<Facts> = None;
    let mut from = 0;
    while let Some(first) = all.get(from) {
        if first.what == What::Semicolon {
            from += 1;
            continue;
        }
        let mut reader = Reader::new(sql, modes, &all[from..]);
        let mut next = reader.read_all();
        // What it asks for is what the one in front of it left, in the same text.
        next.needs_row_count &= facts.is_none();
        if reader.refused && facts.is_none() && !doubtful {
            return None;
        }
        let statement = &all[from..from + reader.len()];
        next.moves_names = moves_names(sql, statement);
        next.blind = facts.as_ref().is_some_and(|facts| facts.moves_names);
        from += reader.len();
        facts = Some(match facts {
            Some(facts) => facts.and(next),
            None => next,
        });
    }
    let mut facts = facts.unwrap_or_default();
    facts.unknown |= doubtful;
    // Who runs something unknown may still hand one to it.
    let is_variable = |piece: &Piece| piece.what == What::UserVariable;
    facts.reads_user_variables |= facts.unknown && all.iter().any(is_variable);
    Some(facts.consistent())
}
