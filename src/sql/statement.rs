//! The statements, by their first words. Definitions and `SET` have files of their own.
//!
//! Sources: <https://dev.mysql.com/doc/refman/8.4/en/sql-statements.html>,
//! <https://dev.mysql.com/doc/refman/8.4/en/implicit-commit.html>,
//! <https://mariadb.com/kb/en/sql-statements/>, and `sql/sql_yacc.yy` of both servers.

use super::{
    expressions::Calls,
    facts::Act,
    pieces::What,
    reader::{Read, Reader, Strange},
};

const QUERY: &[&str] = &["SELECT", "VALUES", "TABLE"];
const MODIFIERS: &[&str] = &["LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE"];
pub(super) const NOT_LOGGED: &[&str] = &["NO_WRITE_TO_BINLOG", "LOCAL"];

impl Reader<'_> {
    /// The next statement, to the end.
    pub(super) fn statement(&mut self) -> Read {
        if self.what(self.at) == Some(What::Open) {
            return self.query();
        }
        if self.what(self.at) != Some(What::Word) {
            return Err(Strange);
        }
        let verb = self.text(self.at).to_ascii_uppercase();
        if matches!(verb.as_slice(), b"SELECT" | b"VALUES" | b"TABLE") {
            return self.query();
        }
        self.at += 1;
        match verb.as_slice() {
            b"WITH" => self.with(),
            b"INSERT" | b"REPLACE" => self.insert(),
            b"UPDATE" | b"DELETE" | b"DO" => self.run(),
            b"SHOW" => self.show(),
            b"EXPLAIN" | b"DESCRIBE" | b"DESC" => self.explain(false),
            b"USE" => self.skip(),
            b"HELP" => self.plain_read(),
            b"SET" => self.set(),
            b"LOAD" => self.load(),
            b"HANDLER" => self.handler(),
            b"PREPARE" => self.prepare(),
            b"EXECUTE" => self.execute(),
            b"DEALLOCATE" => self.deallocate(),
            b"GET" => self.diagnostics(),
            // Outside of a routine there is nothing that could be signalled again.
            b"SIGNAL" | b"RESIGNAL" => self.run(),
            b"CREATE" => self.create(),
            b"ALTER" => self.alter(),
            b"DROP" => self.drop(),
            b"RENAME" => self.rename(),
            _ => self.of_server(&verb),
        }
    }

    /// What is for transactions, for locks, or for who runs the server.
    fn of_server(&mut self, verb: &[u8]) -> Read {
        match verb {
            b"BEGIN" => self.begin(),
            b"START" | b"COMMIT" | b"ROLLBACK" => self.transaction(verb),
            b"SAVEPOINT" => self.skip(),
            b"RELEASE" if self.eat("SAVEPOINT") => self.skip(),
            b"XA" => self.xa(),
            b"LOCK" | b"UNLOCK" => self.lock_tables(verb == b"LOCK"),
            b"BACKUP" => self.backup(),
            b"FLUSH" => self.flush(),
            b"ANALYZE" => self.analyze(),
            b"CHECKSUM" => self.plain_read(),
            b"RESET" => {
                self.facts.sets_global |= self.is(self.at, "PERSIST");
                self.commit()
            }
            b"TRUNCATE" | b"CHECK" | b"OPTIMIZE" | b"REPAIR" | b"GRANT" | b"REVOKE" => {
                self.commit()
            }
            b"STOP" | b"CHANGE" | b"CACHE" => self.commit(),
            b"IMPORT" if self.eat("TABLE") => self.commit(),
            b"PURGE" | b"INSTALL" | b"UNINSTALL" => {
                self.facts.sets_global |= self.find(self.at, &["SET"]).is_some();
                self.commits();
                self.run()
            }
            b"CLONE" => {
                self.facts.ends_session = self.is(self.at, "INSTANCE");
                self.commit()
            }
            b"KILL" => self.kill(),
            b"SHUTDOWN" | b"RESTART" => {
                self.facts.ends_session = true;
                self.skip()
            }
            // `CALL`, `BINLOG`, and what isn't a statement of all servers.
            _ => Err(Strange),
        }
    }

    /// All that follows is run.
    pub(super) fn run(&mut self) -> Read {
        self.expressions(Calls::Run)
    }

    /// It commits, and there is nothing to run in it.
    pub(super) fn commit(&mut self) -> Read {
        self.commits();
        self.skip()
    }

    pub(super) fn plain_read(&mut self) -> Read {
        self.facts.reads_only = true;
        self.skip()
    }

    pub(super) fn query(&mut self) -> Read {
        self.facts.reads_only = true;
        self.run()
    }

    fn with(&mut self) -> Read {
        let verbs = ["SELECT", "VALUES", "TABLE", "UPDATE", "DELETE"];
        match self.find_outside(self.at, &verbs) {
            Some(at) => self.facts.reads_only = self.is_any(at, QUERY),
            // `WITH … (SELECT …)`
            None => self.facts.reads_only = self.find(self.at, &["UPDATE", "DELETE"]).is_none(),
        }
        // A name stands before the first parenthesis.
        self.run()
    }

    fn insert(&mut self) -> Read {
        self.facts.sets_insert_id = true;
        while self.eat_any(MODIFIERS) {}
        self.eat("INTO");
        self.name()?;
        if self.eat("PARTITION") {
            self.at = self.behind_close(self.at);
        }
        if self.what(self.at) == Some(What::Open) {
            // Columns, or a query.
            let is_columns = !self.is_any(self.at + 1, &["SELECT", "WITH", "VALUES", "TABLE"])
                && self.what(self.at + 1) != Some(What::Open);
            if is_columns {
                self.at = self.behind_close(self.at);
            }
        }
        self.eat_any(&["VALUES", "VALUE"]);
        self.run()
    }

    fn load(&mut self) -> Read {
        if self.eat_all(&["INDEX", "INTO", "CACHE"]) {
            return self.commit();
        }
        if !self.eat_any(&["DATA", "XML"]) {
            return Err(Strange);
        }
        self.facts.sets_insert_id = true;
        let table = (self.at..self.len())
            .find(|at| self.is(*at, "INTO") && self.is(at + 1, "TABLE"))
            .ok_or(Strange)?;
        self.at = table + 2;
        self.name()?;
        if self.eat("PARTITION") {
            self.at = self.behind_close(self.at);
        }
        // The columns are the first parentheses; among them are variables.
        let columns = (self.at..self.len()).find(|at| self.what(*at) == Some(What::Open));
        let columns = columns.unwrap_or(self.len());
        let behind = self.behind_close(columns);
        let is_set = (self.at..columns)
            .find(|at| self.is(*at, "SET") && !self.is_any(at - 1, &["CHARACTER", "CHAR"]));
        if is_set.is_none() {
            for at in columns..behind {
                if self.what(at) == Some(What::UserVariable) {
                    self.facts.sets_user_variables = true;
                    self.mention(at);
                }
            }
            self.at = behind;
        }
        self.run()
    }

    fn handler(&mut self) -> Read {
        let table = self.name()?;
        let mut handler = table.name;
        if self.eat("OPEN") {
            let is_named = self.eat("AS") || self.is_name(self.at);
            if is_named {
                handler = self.identifier()?;
            }
            self.act(Act::OpenHandler(handler));
            return self.end();
        }
        if self.eat("CLOSE") {
            self.act(Act::CloseHandler(handler));
            return self.end();
        }
        match self.eat("READ") {
            true => self.run(),
            false => Err(Strange),
        }
    }

    fn diagnostics(&mut self) -> Read {
        self.eat_any(&["CURRENT", "STACKED"]);
        if !self.eat("DIAGNOSTICS") {
            return Err(Strange);
        }
        self.facts.needs_diagnostics = true;
        self.run()?;
        self.facts.sets_user_variables = self.facts.reads_user_variables;
        Ok(())
    }

    fn kill(&mut self) -> Read {
        self.eat_any(&["HARD", "SOFT"]);
        let is_query = self.eat("QUERY");
        self.facts.ends_session = !is_query;
        self.eat_any(&["CONNECTION", "ID"]);
        match self.is(self.at, "USER") {
            true => self.skip(),
            false => self.run(),
        }
    }

    fn begin(&mut self) -> Read {
        self.eat("WORK");
        self.commits();
        self.end()
    }

    fn transaction(&mut self, verb: &[u8]) -> Read {
        if verb == b"ROLLBACK" && self.find(self.at, &["TO"]).is_some() {
            return self.skip();
        }
        let release = self.find(self.at, &["RELEASE"]);
        self.facts.ends_session = release.is_some_and(|at| !self.is(at - 1, "NO"));
        self.commit()
    }

    fn xa(&mut self) -> Read {
        if self.eat("RECOVER") {
            return self.plain_read();
        }
        if self.eat_any(&["START", "BEGIN"]) {
            self.act(Act::XaBegin);
        } else if self.eat("PREPARE") {
            self.act(Act::XaPrepare);
        } else if self.eat_any(&["COMMIT", "ROLLBACK"]) {
            self.commits();
            self.act(Act::XaEnd);
        } else if !self.eat("END") {
            return Err(Strange);
        }
        self.skip()
    }

    fn lock_tables(&mut self, locks: bool) -> Read {
        let is_tables = self.eat_any(&["TABLE", "TABLES"]);
        if !is_tables && !self.eat("INSTANCE") {
            return Err(Strange);
        }
        let act = match (is_tables, locks) {
            (true, true) => Act::LockTables,
            (true, false) => Act::UnlockTables,
            (false, true) => Act::LockInstance,
            (false, false) => Act::UnlockInstance,
        };
        self.facts.commits = is_tables;
        self.act(act);
        self.skip()
    }

    fn backup(&mut self) -> Read {
        let act = if self.eat("STAGE") {
            let ends = self.is(self.at, "END");
            self.commits();
            Act::BackupStage { ends }
        } else if self.eat("LOCK") {
            Act::BackupLock
        } else if self.eat("UNLOCK") {
            Act::BackupUnlock
        } else {
            return Err(Strange);
        };
        self.act(act);
        self.skip()
    }

    fn flush(&mut self) -> Read {
        self.eat_any(NOT_LOGGED);
        let is_tables = self.is_any(self.at, &["TABLE", "TABLES"]);
        if is_tables && self.find(self.at, &["READ", "EXPORT"]).is_some() {
            self.act(Act::GlobalReadLock);
        }
        self.commit()
    }
}
