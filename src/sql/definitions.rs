//! `CREATE`, `ALTER`, `DROP`, `RENAME`: what they define is only stored, besides the query that
//! fills a table.

use super::{
    expressions::Calls,
    facts::Act,
    pieces::What,
    reader::{Read, Reader, Strange},
};

/// What may be created, changed and dropped without any effect on the session.
#[rustfmt::skip]
const OTHERS: &[&str] = &[
    "VIEW", "INDEX", "DATABASE", "SCHEMA", "PROCEDURE", "FUNCTION", "TRIGGER", "EVENT", "SERVER",
    "USER", "ROLE", "TABLESPACE", "SEQUENCE", "INSTANCE", "LIBRARY",
];

impl Reader<'_> {
    /// What may stand before the type of what is created; whether it is temporary.
    pub(super) fn definition_head(&mut self) -> bool {
        let mut temporary = false;
        loop {
            if self.eat("TEMPORARY") {
                temporary = true;
            } else if self.eat("DEFINER") {
                self.at += 1;
                self.account();
            } else if self.is(self.at, "ALGORITHM") {
                self.at += 3;
            } else if self.eat_all(&["SQL", "SECURITY"]) {
                self.at += 1;
            } else if !self.eat_all(&["OR", "REPLACE"]) && !self.eat_any(HEAD) {
                return temporary;
            }
        }
    }

    fn account(&mut self) {
        self.at += 1;
        if self.what(self.at) == Some(What::Open) {
            self.at += 2;
        } else if self.what(self.at) == Some(What::UserVariable) {
            self.at += 1 + (self.text(self.at) == b"@") as usize;
        }
    }

    pub(super) fn create(&mut self) -> Read {
        let temporary = self.definition_head();
        let is_table = self.eat("TABLE");
        if is_table || temporary && self.eat("SEQUENCE") {
            self.eat_all(&["IF", "NOT", "EXISTS"]);
            let name = self.name()?;
            match temporary {
                true if is_table => self.act(Act::CreateTemporary(name)),
                true => self.act(Act::CreateTemporarySequence(name)),
                false => self.commits(),
            }
            return if is_table {
                self.filling()
            } else {
                self.skip()
            };
        }
        match temporary {
            true => Err(Strange),
            false => self.definition(),
        }
    }

    /// The query that a table is created from.
    fn filling(&mut self) -> Read {
        let is_query = |at: &usize| {
            let is_values = self.is(*at, "VALUES")
                && (self.is(*at + 1, "ROW") || self.what(*at + 1) == Some(What::Open));
            is_values || self.is_any(*at, &["SELECT", "TABLE"])
        };
        let query = (self.at..self.len()).find(is_query);
        // MariaDB's defaults may name user variables.
        let all = self.cut(query.unwrap_or(self.len()));
        let read = self.expressions(Calls::Harmless);
        self.uncut(all);
        read?;
        if query.is_none() {
            return Ok(());
        }
        self.facts.sets_insert_id = true;
        self.run()
    }

    fn definition(&mut self) -> Read {
        let is_event = self.is(self.at, "EVENT");
        let is_group =
            self.is_any(self.at, &["LOGFILE", "RESOURCE"]) && self.is(self.at + 1, "GROUP");
        if !is_group && !self.is_any(self.at, OTHERS) && !self.is(self.at, "REFERENCE") {
            return Err(Strange);
        }
        self.commits();
        if !is_event {
            return self.skip();
        }
        // The schedule is computed now.
        let body = self.find(self.at, &["DO"]).unwrap_or(self.len());
        let all = self.cut(body);
        let read = self.expressions(Calls::Harmless);
        self.uncut(all);
        read
    }

    pub(super) fn alter(&mut self) -> Read {
        self.definition_head();
        if self.is_any(self.at, &["DATABASE", "SCHEMA"]) {
            // The default schema's character set is a variable.
            self.act(Act::SetVariables);
        }
        if !self.eat("TABLE") {
            return self.definition();
        }
        self.eat_all(&["IF", "EXISTS"]);
        self.name()?;
        self.commits();
        let renames = |at: &usize| {
            self.is(*at, "RENAME") && !self.is_any(*at + 1, &["COLUMN", "INDEX", "KEY"])
        };
        if (self.at..self.len()).any(|at| renames(&at)) {
            self.act(Act::RenameTemporary);
        }
        // The defaults of new columns are computed now.
        self.expressions(Calls::Harmless)
    }

    pub(super) fn drop(&mut self) -> Read {
        if self.eat("PREPARE") {
            return self.drop_prepared();
        }
        let temporary = self.definition_head();
        let is_sequence = self.is(self.at, "SEQUENCE");
        if !self.eat_any(&["TABLE", "TABLES", "SEQUENCE"]) {
            return match temporary {
                true => Err(Strange),
                false if self.eat("PACKAGE") => self.commit(),
                false => self.definition_dropped(),
            };
        }
        self.eat_all(&["IF", "EXISTS"]);
        let mut names = vec![self.name()?];
        while self.eat_what(What::Comma) {
            names.push(self.name()?);
        }
        self.facts.commits = !temporary;
        self.act(match is_sequence {
            true => Act::DropSequences(names),
            false => Act::DropTables { names, temporary },
        });
        match self.is_done() || self.is_any(self.at, &["RESTRICT", "CASCADE", "WAIT", "NOWAIT"]) {
            true => self.skip(),
            false => Err(Strange),
        }
    }

    fn definition_dropped(&mut self) -> Read {
        match self.is(self.at, "EVENT") {
            true => self.commit(),
            false => self.definition(),
        }
    }

    pub(super) fn rename(&mut self) -> Read {
        if self.eat_any(&["TABLE", "TABLES"]) {
            self.act(Act::RenameTemporary);
        } else if !self.eat("USER") {
            return Err(Strange);
        }
        self.commit()
    }
}

const HEAD: &[&str] = &[
    "AGGREGATE",
    "UNIQUE",
    "FULLTEXT",
    "SPATIAL",
    "VECTOR",
    "ONLINE",
    "OFFLINE",
    "IGNORE",
    "UNDO",
];
