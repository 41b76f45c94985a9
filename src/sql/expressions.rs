//! What the expressions of a statement, and queries in it, need and do.
//!
//! It doesn't know their grammar: it looks at each name before a parenthesis, at variables, and at
//! the few words that touch the session. What is called has to be a built-in function of all
//! servers, or is unknown.

use std::sync::Arc;

use super::{
    facts::Act,
    pieces::{What, unquoted},
    reader::{Read, Reader, Strange},
    token::hash,
    words::{self, Call},
};

/// What calls of functions mean where a text is scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Calls {
    /// They have to be known.
    Run,
    /// Types, columns and expressions in which nothing unknown is allowed.
    Harmless,
}

/// System variables that tell of the session what a function would.
pub(super) const INSERT_IDS: &[&[u8]] = &[b"last_insert_id", b"identity", b"insert_id"];
pub(super) const DIAGNOSTICS: &[&[u8]] = &[b"warning_count", b"error_count"];
pub(super) const GTIDS: &[&[u8]] = &[b"last_gtid"];
pub(super) const CONNECTION_IDS: &[&[u8]] = &[b"pseudo_thread_id"];

/// The name of a user variable, in lower case. `None`: names that aren't plain may be equal to others by
/// the server's collation.
pub(super) fn user_variable(text: &[u8]) -> Option<Arc<str>> {
    let name = unquoted(text.get(1..).unwrap_or_default());
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'$');
    let mut name = String::from_utf8(name).ok()?;
    name.make_ascii_lowercase();
    (!name.is_empty() && name.as_bytes().iter().all(is_plain)).then(|| name.into())
}

impl Reader<'_> {
    /// From the next piece to the end.
    pub(super) fn expressions(&mut self, calls: Calls) -> Read {
        let from = self.at;
        while let Some(what) = self.what(self.at) {
            let at = self.at;
            self.at += 1;
            match what {
                What::Open if at > from && calls == Calls::Run => self.open(at)?,
                What::Open if at > from => {
                    // It may still be one of the session.
                    let _ = self.open(at);
                }
                What::Word if calls == Calls::Run || !self.is(at, "INTO") => self.word(at)?,
                What::Name => self.schema(at),
                What::UserVariable => self.user_variable(at),
                What::AtAt => self.system_variable()?,
                What::Odd | What::Semicolon => return Err(Strange),
                What::Operator if self.is_row_count(at) => return Err(Strange),
                _ => {}
            }
        }
        Ok(())
    }

    /// MariaDB's `SQL%ROWCOUNT`.
    fn is_row_count(&self, at: usize) -> bool {
        self.is_operator(at, b"%") && self.is_any(at + 1, &["ROWCOUNT", "FOUND", "NOTFOUND"])
    }

    fn user_variable(&mut self, at: usize) {
        self.mention(at);
        let is_target =
            self.what(at + 1) == Some(What::Assign) || at > 0 && self.is(at - 1, "INTO");
        self.facts.sets_user_variables |= is_target;
    }

    /// A user variable.
    pub(super) fn mention(&mut self, at: usize) {
        match user_variable(self.text(at)) {
            Some(name) => self.facts.mention(name),
            None => {
                self.facts.reads_user_variables = true;
                self.facts.other_user_variables = true;
            }
        }
    }

    /// Behind `@@`.
    fn system_variable(&mut self) -> Read {
        let mut name = self.identifier()?;
        while self.eat_what(What::Dot) {
            name = self.identifier()?;
        }
        let is = |names: &[&[u8]]| names.iter().any(|one| name.eq_ignore_ascii_case(one));
        self.facts.needs_insert_id |= is(INSERT_IDS);
        self.facts.needs_diagnostics |= is(DIAGNOSTICS);
        self.facts.needs_gtid |= is(GTIDS);
        self.facts.needs_connection_id |= is(CONNECTION_IDS);
        Ok(())
    }

    fn word(&mut self, at: usize) -> Read {
        if self.is_behind_dot(at) {
            self.schema(at);
            // In Oracle mode `s.nextval` needs no parentheses.
            let is_sequence = self.is_any(at, &["NEXTVAL", "CURRVAL"]);
            self.facts.uses_sequence |= is_sequence;
            return if is_sequence { Err(Strange) } else { Ok(()) };
        }
        self.schema(at);
        if self.is(at, "INTO") {
            return self.selects_into(at);
        }
        let is_lock = self.is(at, "FOR") && self.is_any(at + 1, &["UPDATE", "SHARE"])
            || self.is(at, "LOCK") && self.is(at + 1, "IN");
        if is_lock {
            self.facts.reads_only = false;
        }
        let is_value = self.is(at + 1, "VALUE") && self.is(at + 2, "FOR");
        if is_value && self.is_any(at, &["NEXT", "PREVIOUS"]) {
            self.facts.uses_sequence = true;
            self.facts.reads_only = false;
        }
        self.facts.counts_found_rows |= self.is(at, "SQL_CALC_FOUND_ROWS");
        Ok(())
    }

    fn selects_into(&mut self, at: usize) -> Read {
        match self.what(at + 1) {
            Some(What::UserVariable) => {
                self.facts.sets_user_variables = true;
                Ok(())
            }
            _ if self.is_any(at + 1, &["OUTFILE", "DUMPFILE"]) => {
                self.facts.reads_only = false;
                Ok(())
            }
            // A variable of a routine.
            _ => Err(Strange),
        }
    }

    /// Views of the session, and of others by their connection.
    fn schema(&mut self, at: usize) {
        if self.what(at + 1) != Some(What::Dot) || self.is_behind_dot(at) {
            return;
        }
        let name = unquoted(self.text(at)).to_ascii_lowercase();
        if words::is_of_sessions(&name, &unquoted(self.text(at + 2))) {
            // Among the variables. All else that they show is the connection's, and says so.
            self.facts.needs_insert_id = true;
            self.facts.other_user_variables = true;
        }
    }

    /// A parenthesis that isn't the first piece.
    fn open(&mut self, at: usize) -> Read {
        let before = at - 1;
        match self.what(before) {
            Some(What::Text | What::Literal | What::UserVariable | What::AtAt) => {
                return Err(Strange);
            }
            Some(What::Word | What::Name) if self.is_alias(before) => return Ok(()),
            Some(What::Name) => return Err(Strange),
            Some(What::Word) => {}
            _ => return Ok(()),
        }
        if self.is_behind_dot(before) {
            return Err(Strange);
        }
        let name = self.text(before).to_ascii_lowercase();
        let word = words::find(&name, hash(&name));
        let is_known = match word.call {
            Call::Builtin | Call::Keyword => true,
            Call::Attached => self.is_attached(before),
            Call::Windowed => self.is_attached(before) && self.is(self.behind_close(at), "OVER"),
            Call::BehindClose => before > 0 && self.what(before - 1) == Some(What::Close),
            Call::Subquery => self.is(at + 1, "SELECT"),
            Call::Type => false,
            Call::Unknown => self.call(&name, at),
        };
        if is_known { Ok(()) } else { Err(Strange) }
    }

    /// The columns of what has a name here: `AS t (…)`, or `t (…) AS (SELECT`; also types.
    fn is_alias(&self, at: usize) -> bool {
        if at > 0 && self.is(at - 1, "AS") && !self.is_behind_dot(at - 1) {
            return true;
        }
        let close = self.behind_close(at + 1);
        let query = close + 1;
        self.is(close, "AS")
            && self.what(query) == Some(What::Open)
            && (self.is_any(query + 1, &["SELECT", "WITH", "VALUES", "TABLE"])
                || self.what(query + 1) == Some(What::Open))
    }

    /// A built-in function that does something to the session, or a word that is none.
    fn call(&mut self, name: &[u8], open: usize) -> bool {
        let is_empty = self.what(open + 1) == Some(What::Close);
        match name {
            // Keywords of all servers.
            b"row" => {}
            b"last_insert_id" if is_empty => self.facts.needs_insert_id = true,
            b"last_insert_id" => self.facts.sets_insert_id = true,
            b"row_count" => self.facts.needs_row_count = true,
            b"found_rows" => self.facts.needs_found_rows = true,
            b"connection_id" => self.facts.needs_connection_id = true,
            b"get_lock" => {
                let lock = self.lock(open + 1, What::Comma);
                self.act(Act::TakeLock(lock));
            }
            b"release_lock" => {
                let lock = self.lock(open + 1, What::Close);
                self.act(Act::ReleaseLock(lock));
            }
            b"release_all_locks" => self.act(Act::ReleaseAllLocks),
            b"current_role" | b"is_free_lock" | b"is_used_lock" | b"load_file" => {}
            // An XPath may name them.
            b"extractvalue" | b"updatexml" => {
                self.facts.reads_user_variables = true;
                self.facts.other_user_variables = true;
            }
            // Where they aren't built in they are somebody's.
            b"ps_current_thread_id" | b"ps_thread_id" => {
                self.facts.needs_connection_id = true;
                return false;
            }
            b"nextval" | b"lastval" | b"setval" => {
                self.facts.uses_sequence = true;
                return false;
            }
            b"wsrep_last_seen_gtid" | b"wsrep_last_written_gtid" => {
                self.facts.needs_gtid = true;
                return false;
            }
            _ => return false,
        }
        true
    }

    /// The name of a user lock, if it is a plain string. Others than of ASCII may be different names
    /// by another character set.
    fn lock(&mut self, at: usize, behind: What) -> Option<Vec<u8>> {
        if self.what(at + 1) != Some(behind) {
            return None;
        }
        // There is no column it could be.
        let has_columns = self.find(0, &["FROM", "HAVING", "BY"]).is_some();
        let is_lone = self.is_any(0, &["SELECT", "DO", "SET"]) && !has_columns;
        self.refused |= is_lone && self.is_misquoted(at);
        let here = std::mem::replace(&mut self.at, at);
        let name = self.string(false);
        self.at = here;
        name.filter(|name| name.is_ascii())
    }
}
