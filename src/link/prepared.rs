//! Prepared statements on a link: which of them the server holds, and how one that it doesn't is
//! prepared again.
//!
//! A [`Prepared`] outlives every link: it keeps the text and the schema that its names were
//! resolved in. Each link keeps the ids of the last ones that ran on it.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
};

use mysql_common::{packets::Column, value::Value};

use super::Link;
use crate::{
    error::{Error, ProtocolError},
    proto::{
        command::{Command, execute},
        pipeline::{Fatal, PrepareOk, Reply},
        result::Response,
    },
};

/// A statement as the server prepared it, wherever that was.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub sql: Box<[u8]>,
    pub params: Arc<[Column]>,
    pub columns: Arc<[Column]>,
    /// The schema that unqualified names belong to.
    pub schema: Option<Arc<str>>,
}

/// The statements that the server holds for one link, last used last.
#[derive(Debug)]
pub(super) struct Cache {
    entries: VecDeque<Entry>,
    capacity: usize,
}

#[derive(Debug)]
struct Entry {
    id: u32,
    statement: Arc<Prepared>,
}

impl Cache {
    pub(super) fn new(capacity: usize) -> Self {
        Cache {
            entries: VecDeque::new(),
            capacity,
        }
    }

    pub(super) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Finds an entry and makes it the last used.
    fn touch(&mut self, found: impl Fn(&Prepared) -> bool) -> Option<(u32, Arc<Prepared>)> {
        let at = self.entries.iter().rposition(|e| found(&e.statement))?;
        let entry = self.entries.remove(at)?;
        let seen = (entry.id, entry.statement.clone());
        self.entries.push_back(entry);
        Some(seen)
    }

    /// Adds an entry; returns the ids that the server may forget.
    fn add(&mut self, id: u32, statement: Arc<Prepared>) -> Vec<u32> {
        self.entries.push_back(Entry { id, statement });
        let mut over = Vec::new();
        // The one that runs now stays, even where nothing is to be kept.
        while self.entries.len() > self.capacity.max(1) {
            over.extend(self.entries.pop_front().map(|e| e.id));
        }
        over
    }
}

const PREPARE: &str = "preparing a statement";

impl Link {
    /// Prepares `sql` in the schema that is current, unless the server holds it already.
    pub(crate) fn prepare(&mut self, sql: &[u8]) -> Result<Arc<Prepared>, Error> {
        let schema = self.session.schema.clone();
        if let Some((_, held)) = self
            .statements
            .touch(|s| *s.sql == *sql && s.schema == schema)
        {
            return Ok(held);
        }
        let made = self.com_prepare(sql)?;
        let statement = Arc::new(Prepared {
            sql: sql.into(),
            params: made.params,
            columns: made.columns,
            schema,
        });
        self.hold(made.id, statement.clone())?;
        Ok(statement)
    }

    fn com_prepare(&mut self, sql: &[u8]) -> Result<PrepareOk, Error> {
        self.pipeline.push(Command::Prepare(sql))?;
        self.counters.prepares.fetch_add(1, Ordering::Relaxed);
        match self.round_trip(1, PREPARE, None)?.pop() {
            Some(Reply::Prepared(Ok(made))) => Ok(made),
            Some(Reply::Prepared(Err(e))) => Err(e.into()),
            _ => Err(self.fatal(
                PREPARE,
                Fatal::Protocol(ProtocolError::new("another kind of reply")),
            )),
        }
    }

    /// Remembers an id and has the server forget what is over the cache's capacity. The closes have
    /// no response: they go out with the next command.
    fn hold(&mut self, id: u32, statement: Arc<Prepared>) -> Result<(), Error> {
        for over in self.statements.add(id, statement) {
            self.pipeline.push(Command::CloseStmt(over))?;
        }
        Ok(())
    }

    /// The statement's id on this link; prepares it here if need be, in the schema of its names.
    fn id_of(&mut self, statement: &Arc<Prepared>) -> Result<u32, Error> {
        let held = self.statements.touch(|s| {
            std::ptr::eq(s, &**statement)
                || (s.sql == statement.sql && s.schema == statement.schema)
        });
        if let Some((id, _)) = held {
            return Ok(id);
        }
        let current = self.session.schema.clone();
        let elsewhere = match &statement.schema {
            Some(schema) if current.as_ref() != Some(schema) => Some(schema.clone()),
            _ => None,
        };
        if let Some(schema) = &elsewhere {
            self.init_db(schema)?;
        }
        let made = self.com_prepare(&statement.sql);
        if let (Some(_), Some(current)) = (&elsewhere, &current) {
            self.init_db(current)?;
        }
        let made = made?;
        if made.params.len() != statement.params.len() {
            return Err(Error::DriverError(
                crate::error::DriverError::MismatchedStmtParams {
                    required: made.params.len() as u16,
                    supplied: statement.params.len(),
                },
            ));
        }
        self.hold(made.id, statement.clone())?;
        Ok(made.id)
    }

    /// `COM_STMT_EXECUTE`, with what must go before it.
    pub(crate) fn execute(
        &mut self,
        statement: &Arc<Prepared>,
        params: &[Value],
    ) -> Result<Response, Error> {
        let max = self.pipeline.max_packet();
        for param in params {
            // In pieces it would be sent, and refused when it runs.
            if let Value::Bytes(bytes) = param
                && bytes.len() > max
            {
                return Err(Error::PacketTooLarge {
                    size: bytes.len(),
                    max,
                });
            }
        }
        let id = self.id_of(statement)?;
        let (long_data, payload) = execute(id, params, max);
        self.counters.statements.fetch_add(1, Ordering::Relaxed);
        if !long_data.is_empty() {
            for part in &long_data {
                self.pipeline.push(Command::LongData(part))?;
                if self.pipeline.out().len() > 4 << 20 {
                    self.flush("sending a parameter")?;
                }
            }
        }
        let response = self.command(Command::Execute(&payload), "a prepared statement", None);
        if !long_data.is_empty() && response.is_ok() {
            // The parameters stay with the statement otherwise, and would join the next ones.
            self.command(Command::ResetStmt(id), "COM_STMT_RESET", None)?;
        }
        response
    }

    /// Forgets a statement, here and on the server.
    pub(crate) fn close_statement(&mut self, statement: &Arc<Prepared>) -> Result<(), Error> {
        let same =
            |e: &Entry| e.statement.sql == statement.sql && e.statement.schema == statement.schema;
        if let Some(at) = self.statements.entries.iter().position(same)
            && let Some(entry) = self.statements.entries.remove(at)
        {
            self.pipeline.push(Command::CloseStmt(entry.id))?;
            self.flush("closing a statement")?;
        }
        Ok(())
    }
}
