//! `SHOW`, `EXPLAIN` and its like, and MariaDB's `ANALYZE` of a statement.
//!
//! Sources: <https://dev.mysql.com/doc/refman/8.4/en/show.html>,
//! <https://dev.mysql.com/doc/refman/8.4/en/explain.html>,
//! <https://mariadb.com/kb/en/analyze-statement/>

use super::{
    pieces::What,
    reader::{Read, Reader, Strange},
    statement::NOT_LOGGED,
};

impl Reader<'_> {
    pub(super) fn show(&mut self) -> Read {
        self.facts.reads_only = true;
        let is_left = self.is_any(self.at, &["WARNINGS", "ERRORS", "PROFILE", "PROFILES"])
            || self.is(self.at, "COUNT");
        self.facts.needs_diagnostics |= is_left;
        let is_session = self.eat_any(&["SESSION", "LOCAL"]);
        if self.is(self.at, "VARIABLES") {
            self.show_variables();
        } else if is_session && !self.is(self.at, "STATUS") {
            return Err(Strange);
        }
        // Of another connection, whose number MariaDB computes.
        if self.eat_any(&["EXPLAIN", "ANALYZE"]) {
            return self.run();
        }
        match self.find(self.at, &["WHERE"]) {
            Some(at) => {
                self.at = at + 1;
                self.run()
            }
            None => self.skip(),
        }
    }

    /// Those whose value only the session has are among them, unless the pattern says otherwise. Who
    /// has all of them shown doesn't ask for what the last statement left, nor for the connection.
    fn show_variables(&mut self) {
        let mut pattern = None;
        if self.is(self.at + 1, "LIKE") {
            self.at += 2;
            pattern = self.string(true);
        }
        let pattern = pattern.unwrap_or_else(|| b"%".to_vec());
        let fixed = before_wildcards(&pattern);
        let shows = |names: &[&str]| names.iter().any(|name| name.as_bytes().starts_with(&fixed));
        self.facts.needs_insert_id |= shows(&["last_insert_id", "identity", "insert_id"]);
        if !fixed.is_empty() {
            self.facts.needs_diagnostics |= shows(&["warning_count", "error_count"]);
            self.facts.needs_gtid |= shows(&["last_gtid"]);
            self.facts.needs_connection_id |= shows(&["pseudo_thread_id"]);
        }
    }

    /// `EXPLAIN` and its like; of `ANALYZE` the statement is run.
    pub(super) fn explain(&mut self, mut runs: bool) -> Read {
        loop {
            if self.eat("ANALYZE") {
                runs = true;
            } else if self.is(self.at, "FORMAT") && self.is_operator(self.at + 1, b"=") {
                self.at += 3;
            } else if self.eat_any(&["EXTENDED", "PARTITIONS"]) {
            } else if self.is(self.at, "INTO") && self.what(self.at + 1) == Some(What::UserVariable)
            {
                self.facts.sets_user_variables = true;
                self.mention(self.at + 1);
                self.at += 2;
            } else if self.is(self.at, "FOR") && self.is_any(self.at + 1, &["SCHEMA", "DATABASE"]) {
                self.at += 2;
                self.identifier()?;
            } else {
                break;
            }
        }
        let verbs = [
            "SELECT", "WITH", "VALUES", "TABLE", "INSERT", "REPLACE", "UPDATE", "DELETE",
        ];
        if self.what(self.at) == Some(What::Open) || self.is_any(self.at, &verbs) {
            let names_id = self.find(self.at, &["LAST_INSERT_ID"]).is_some();
            let outer = std::mem::take(&mut self.facts);
            let read = self.statement();
            let mut inner = std::mem::take(&mut self.facts);
            if !runs {
                // Parts of it may be run.
                inner.unknown |= !inner.acts.is_empty();
                // What is constant is computed all the same.
                inner.sets_insert_id &= names_id;
                inner.counts_found_rows = false;
                inner.reads_only = true;
            }
            let reads_only = inner.reads_only;
            self.facts = outer.and(inner);
            self.facts.reads_only = reads_only;
            return read;
        }
        if runs {
            return Err(Strange);
        }
        // A table, a column or pattern; or a connection.
        self.facts.reads_only = true;
        match self.find(self.at, &["SET"]) {
            Some(_) => Err(Strange),
            None => self.run(),
        }
    }

    pub(super) fn analyze(&mut self) -> Read {
        self.eat_any(NOT_LOGGED);
        if self.eat_any(&["TABLE", "TABLES"]) {
            return self.commit();
        }
        self.explain(true)
    }
}

/// What begins all that a pattern is for, in lower case.
fn before_wildcards(pattern: &[u8]) -> Vec<u8> {
    let mut fixed = Vec::new();
    let mut bytes = pattern.iter();
    while let Some(mut byte) = bytes.next() {
        match byte {
            b'%' | b'_' => break,
            b'\\' => byte = bytes.next().unwrap_or(byte),
            _ => {}
        }
        fixed.push(byte.to_ascii_lowercase());
    }
    fixed
}
