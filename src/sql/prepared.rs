//! Prepared statements in SQL: their texts are kept, and not read.
//!
//! Sources: <https://dev.mysql.com/doc/refman/8.4/en/sql-prepared-statements.html>,
//! <https://mariadb.com/kb/en/execute-immediate/>

use super::{
    facts::Act,
    reader::{Read, Reader, Strange},
};

impl Reader<'_> {
    pub(super) fn prepare(&mut self) -> Read {
        let name = self.label()?;
        if !self.eat("FROM") {
            return Err(Strange);
        }
        let text = self.prepared_text()?;
        self.act(Act::Prepare { name, text });
        Ok(())
    }

    /// A string, a variable, or in MariaDB an expression.
    fn prepared_text(&mut self) -> Read<Option<Vec<u8>>> {
        self.refused |= self.is_misquoted(self.at) && self.what(self.at + 1).is_none();
        let text = self.string(true);
        self.run()?;
        Ok(text)
    }

    pub(super) fn execute(&mut self) -> Read {
        if self.eat("IMMEDIATE") {
            let using = self.find_outside(self.at, &["USING"]).unwrap_or(self.len());
            let all = self.cut(using);
            let text = self.prepared_text();
            self.uncut(all);
            let text = text?;
            self.facts.unknown |= text.is_none();
            self.act(Act::ExecuteImmediate(text));
        } else {
            let name = self.label()?;
            self.act(Act::Execute(name));
        }
        match self.eat("USING") {
            true => self.run(),
            false => self.end(),
        }
    }

    pub(super) fn deallocate(&mut self) -> Read {
        if !self.eat("PREPARE") {
            return Err(Strange);
        }
        let name = self.label()?;
        self.act(Act::Deallocate(name));
        self.end()
    }

    pub(super) fn drop_prepared(&mut self) -> Read {
        self.at -= 1;
        self.deallocate()
    }
}
