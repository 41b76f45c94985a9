//! `SET` in all its forms.
//!
//! Sources: <https://dev.mysql.com/doc/refman/8.4/en/set-variable.html>,
//! <https://mariadb.com/kb/en/set/>, <https://mariadb.com/kb/en/set-statement/>

use super::{
    facts::Act,
    pieces::What,
    reader::{Read, Reader, Strange},
};

const GLOBAL: &[&str] = &["GLOBAL", "PERSIST", "PERSIST_ONLY"];
const SESSION: &[&str] = &["SESSION", "LOCAL"];

/// Whose variable is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Session,
    Global,
    /// Without a word, behind one that is global: servers differ.
    Either,
}

impl Reader<'_> {
    /// Behind `SET`.
    pub(super) fn set(&mut self) -> Read {
        // `SET PASSWORD = …` is none of a variable.
        let is_password = self.is(self.at, "PASSWORD");
        let is_assignment = self.is_assigned(self.at + 1) && !is_password
            || self.what(self.at + 1) == Some(What::Dot)
            || self.what(self.at) == Some(What::UserVariable);
        if is_assignment {
            return self.assignments();
        }
        if self.eat("STATEMENT") {
            return self.for_one_statement();
        }
        if self.eat("PASSWORD") {
            let is_one = (self.at..self.len()).all(|at| self.what(at) != Some(What::Comma));
            return if is_one { self.commit() } else { Err(Strange) };
        }
        if self.eat("ROLE") {
            self.facts.sets_role = true;
            return self.skip();
        }
        if self.eat_all(&["DEFAULT", "ROLE"]) {
            return self.commit();
        }
        if self.eat_all(&["RESOURCE", "GROUP"]) {
            self.act(Act::ResourceGroup);
            return self.skip();
        }
        self.transaction_or_assignments()
    }

    fn transaction_or_assignments(&mut self) -> Read {
        let is_scoped = self.is(self.at, "GLOBAL") || self.is_any(self.at, SESSION);
        if !self.is(self.at + is_scoped as usize, "TRANSACTION")
            || self.is_assigned(self.at + is_scoped as usize + 1)
        {
            return self.assignments();
        }
        match self.is(self.at, "GLOBAL") {
            true => self.facts.sets_global = true,
            false => self.act(Act::SetVariables),
        }
        self.skip()
    }

    /// MariaDB's `SET STATEMENT a = 1, b = 2 FOR statement`.
    fn for_one_statement(&mut self) -> Read {
        let end = self.find_outside(self.at, &["FOR"]).ok_or(Strange)?;
        let all = self.cut(end);
        // The values may be those of queries that lock.
        let read = self.query();
        self.uncut(all);
        read?;
        let reads_only = self.facts.reads_only;
        self.at = end + 1;
        // The server refuses one in another, and here none may nest without end.
        if self.is(self.at, "SET") && self.is(self.at + 1, "STATEMENT") {
            return Err(Strange);
        }
        self.facts.reads_only = false;
        self.statement()?;
        self.facts.reads_only &= reads_only;
        Ok(())
    }

    fn assignments(&mut self) -> Read {
        let mut scope = Scope::Session;
        loop {
            let end = self.end_of_assignment();
            self.assignment(end, &mut scope)?;
            self.at = end;
            if !self.eat_what(What::Comma) {
                return self.end();
            }
        }
    }

    fn end_of_assignment(&self) -> usize {
        let mut at = self.at;
        while let Some(what) = self.what(at) {
            match what {
                What::Comma => return at,
                What::Open => at = self.behind_close(at),
                _ => at += 1,
            }
        }
        self.len()
    }

    fn assignment(&mut self, end: usize, scope: &mut Scope) -> Read {
        let is_charset = self.is(self.at, "NAMES")
            || self.is(self.at, "CHARSET")
            || self.is_any(self.at, &["CHARACTER", "CHAR"]) && self.is(self.at + 1, "SET");
        if is_charset && !self.is_assigned(self.at + 1) {
            self.set_variables();
            return Ok(());
        }
        if self.eat_what(What::UserVariable) {
            self.facts.sets_user_variables = true;
            self.mention(self.at - 1);
        } else {
            let name = self.target(scope)?;
            self.set_variable(&name, *scope);
        }
        if !self.is_assigned(self.at) {
            return Err(Strange);
        }
        self.at += 1;
        let all = self.cut(end);
        let read = self.run();
        self.uncut(all);
        read
    }

    fn is_assigned(&self, at: usize) -> bool {
        self.is_operator(at, b"=") || self.what(at) == Some(What::Assign)
    }

    /// The name of a system variable, with its scope before it in one of two ways.
    fn target(&mut self, scope: &mut Scope) -> Read<Vec<u8>> {
        let is_at = self.eat_what(What::AtAt);
        let has_scope = match is_at {
            true => self.what(self.at + 1) == Some(What::Dot),
            false => self.is_name(self.at + 1) || self.what(self.at + 1) == Some(What::AtAt),
        };
        let mut here = match scope {
            Scope::Session => Scope::Session,
            Scope::Global | Scope::Either => Scope::Either,
        };
        let is_global = self.is_any(self.at, GLOBAL);
        if has_scope && (is_global || self.is_any(self.at, SESSION)) {
            here = if is_global {
                Scope::Global
            } else {
                Scope::Session
            };
            self.at += 1 + is_at as usize;
        }
        *scope = here;
        let mut name = self.identifier()?;
        while self.eat_what(What::Dot) {
            name = self.identifier()?;
        }
        name.make_ascii_lowercase();
        Ok(name)
    }

    fn set_variable(&mut self, name: &[u8], scope: Scope) {
        self.facts.sets_global |= scope != Scope::Session;
        if scope == Scope::Global {
            return;
        }
        self.set_variables();
        match name {
            b"last_insert_id" | b"identity" | b"insert_id" => self.facts.sets_insert_id = true,
            b"autocommit" => self.commits(),
            // No variable where it stands behind another.
            b"password" => self.facts.unknown = true,
            _ => {}
        }
    }

    fn set_variables(&mut self) {
        if !self.facts.acts.contains(&Act::SetVariables) {
            self.act(Act::SetVariables);
        }
    }
}
