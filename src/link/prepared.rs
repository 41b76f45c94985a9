//! Prepared statements on a link: which of them the server holds, and how one that it doesn't is
//! prepared again.
//!
//! A [`Prepared`] outlives every link: it keeps the text and the schema that its names were
//! resolved in. Each link keeps the ids of the last ones that ran on it.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use mysql_common::{packets::Column, value::Value};
use once_cell::sync::OnceCell;

use super::{Link, Parts, Session};
use crate::{
    error::Error,
    proto::{
        command::{Command, execute},
        pipeline::{PrepareOk, Reply},
        result::Response,
    },
    session::{
        Doing,
        follow::Act,
        variables::{Shared, of_text, same, with_text},
    },
    sql,
};

/// A statement as the server prepared it, wherever that was.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub sql: Box<[u8]>,
    pub params: Arc<[Column]>,
    pub columns: Arc<[Column]>,
    /// The schema that unqualified names belong to.
    pub schema: Option<Arc<str>>,
    /// The variables that its text was read with.
    pub vars: Shared,
    /// What it may do to a session, as read from its text.
    pub statement: sql::Statement,
    doing: OnceCell<Arc<Doing>>,
}

impl Prepared {
    pub(super) fn new(
        text: &[u8],
        made: PrepareOk,
        session: (Option<Arc<str>>, Shared),
    ) -> Prepared {
        Prepared {
            statement: sql::read(text),
            doing: OnceCell::new(),
            sql: text.into(),
            params: made.params,
            columns: made.columns,
            schema: session.0,
            vars: session.1,
        }
    }
}

impl Prepared {
    /// What it does to a session, where it is not neutral.
    pub(crate) fn doing(&self) -> &Arc<Doing> {
        let make = || {
            let mut facts = sql::facts(&self.sql);
            if facts.reads_user_variables {
                facts.acts.push(Act::KeepTypes);
            }
            Arc::new(Doing::new(facts, &self.sql).bound_to(self.schema.clone()))
        };
        self.doing.get_or_init(make)
    }

    /// The server reads both as the same.
    fn is_like(&self, other: &Prepared) -> bool {
        self.sql == other.sql && self.schema == other.schema && same(&self.vars, &other.vars)
    }
}

/// The statements that the server holds for one link, last used last.
#[derive(Debug)]
pub(super) struct Cache {
    entries: VecDeque<Entry>,
    capacity: usize,
    /// A statement that has parameters at the server and has not run: it must not run with others.
    spoilt: Option<u32>,
}

#[derive(Debug)]
struct Entry {
    id: u32,
    statement: Arc<Prepared>,
    /// The variables that it runs with. Servers read a text again when they see fit, with those of
    /// then: a statement that ran with others may be another one from there on.
    runs_with: Shared,
}

impl Cache {
    pub(super) fn new(capacity: usize) -> Self {
        Cache {
            entries: VecDeque::new(),
            capacity,
            spoilt: None,
        }
    }

    pub(super) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.spoilt = None;
    }

    /// Whoever was sending its parameters went away.
    pub(super) fn take_spoilt(&mut self) -> Option<u32> {
        self.spoilt.take()
    }

    fn forget(&mut self, id: u32) {
        self.entries.retain(|e| e.id != id);
    }

    /// Finds an entry and makes it the last used.
    fn touch(&mut self, found: impl Fn(&Entry) -> bool) -> Option<(u32, Arc<Prepared>)> {
        let at = self.entries.iter().rposition(found)?;
        let entry = self.entries.remove(at)?;
        let seen = (entry.id, entry.statement.clone());
        self.entries.push_back(entry);
        Some(seen)
    }

    /// The id of a statement that runs with these variables, which is then the last used.
    #[inline]
    pub(super) fn id(&mut self, statement: &Arc<Prepared>, vars: &Shared) -> Option<u32> {
        // The usual case costs two comparisons.
        if let Some(last) = self.entries.back()
            && Arc::ptr_eq(&last.statement, statement)
            && same(&last.runs_with, vars)
        {
            return Some(last.id);
        }
        let is_it = |e: &Entry| same(&e.runs_with, vars) && Arc::ptr_eq(&e.statement, statement);
        let is_like = |e: &Entry| same(&e.runs_with, vars) && e.statement.is_like(statement);
        let held = self.touch(is_it).or_else(|| self.touch(is_like));
        held.map(|(id, _)| id)
    }

    /// A statement by its text and the session that it is read in.
    pub(super) fn find(
        &mut self,
        sql: &[u8],
        (schema, vars): (&Option<Arc<str>>, &Shared),
    ) -> Option<Arc<Prepared>> {
        let is_it = |e: &Entry| {
            let known = &e.statement;
            *known.sql == *sql && known.schema == *schema && same(&known.vars, vars)
        };
        self.touch(is_it).map(|(_, held)| held)
    }

    /// Adds an entry; returns the ids that the server may forget.
    pub(super) fn add(&mut self, id: u32, statement: Arc<Prepared>, runs_with: Shared) -> Vec<u32> {
        self.entries.push_back(Entry {
            id,
            statement,
            runs_with,
        });
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
    /// Prepares `sql` in the schema that is current, unless the server holds it already; whether it was
    /// sent. `anew`: it is in any case.
    pub(crate) async fn prepare(
        &mut self,
        sql: &[u8],
        anew: bool,
    ) -> Result<(Arc<Prepared>, bool), Error> {
        self.learn_names().await?;
        let Session { schema, vars, .. } = &self.common.session;
        let session = (schema.clone(), of_text(vars));
        if !anew && let Some(held) = self.statements.find(sql, (&session.0, &session.1)) {
            return Ok((held, false));
        }
        let made = self.com_prepare(sql).await?;
        let id = made.id;
        let vars = session.1.clone();
        let statement = Arc::new(Prepared::new(sql, made, session));
        self.hold(id, statement.clone(), vars)?;
        Ok((statement, true))
    }

    pub(super) async fn com_prepare(&mut self, sql: &[u8]) -> Result<PrepareOk, Error> {
        self.pipeline.push(Command::Prepare(sql))?;
        self.counters.prepares.fetch_add(1, Ordering::Relaxed);
        match self.round_trip(1, PREPARE, None).await?.pop() {
            Some(Reply::Prepared(Ok(made))) => Ok(made),
            Some(Reply::Prepared(Err(e))) => Err(e.into()),
            _ => Err(self.another_reply(PREPARE)),
        }
    }

    /// Remembers an id and has the server forget what is over the cache's capacity. The closes have
    /// no response: they go out with the next command.
    fn hold(&mut self, id: u32, statement: Arc<Prepared>, runs_with: Shared) -> Result<(), Error> {
        for over in self.statements.add(id, statement, runs_with) {
            self.pipeline.push(Command::CloseStmt(over))?;
        }
        Ok(())
    }

    /// The statement's id on this link; prepares it here if need be, in the schema of its names.
    async fn id_of(&mut self, statement: &Arc<Prepared>) -> Result<u32, Error> {
        // What was set right before, and not reported, is what it runs with.
        self.learn_names().await?;
        let vars = self.session.vars.clone();
        let runs_with = self.runs_with(statement);
        if let Some(id) = self.statements.id(statement, &runs_with) {
            return Ok(id);
        }
        let current = self.session.schema.clone();
        let elsewhere = match &statement.schema {
            Some(schema) if current.as_ref() != Some(schema) => Some(schema.clone()),
            _ => None,
        };
        if elsewhere.is_some() && current.is_none() {
            // There is no command that leaves a schema.
            return Err(Error::SessionNotRestored {
                server: self.name.clone(),
                what: "no schema, behind a statement that was prepared in one".to_owned(),
            });
        }
        if let Some(schema) = &elsewhere {
            self.init_db(schema).await?;
        }
        // What fails half way leaves a session that is nobody's.
        let moved = self.move_to(&with_text(&vars, &statement.vars)).await;
        let made = match moved {
            Ok(()) => self.com_prepare(&statement.sql).await,
            Err(e) => Err(e),
        };
        if let (Some(_), Some(current)) = (&elsewhere, &current) {
            let back = self.init_db(current).await;
            self.session.changed |= back.is_err();
            back?;
        }
        let back = self.move_to(&vars).await;
        self.session.changed |= back.is_err();
        back?;
        let made = made?;
        if made.params.len() != statement.params.len() {
            return Err(Error::DriverError(
                crate::error::DriverError::MismatchedStmtParams {
                    required: made.params.len() as u16,
                    supplied: statement.params.len(),
                },
            ));
        }
        self.hold(made.id, statement.clone(), runs_with)?;
        Ok(made.id)
    }

    /// What has to be the same for a statement that is held to be the same. MariaDB doesn't read a text
    /// again.
    pub(super) fn runs_with(&self, statement: &Prepared) -> Shared {
        match self.server.mariadb {
            true => statement.vars.clone(),
            false => of_text(&self.session.vars),
        }
    }

    /// `COM_STMT_EXECUTE`, with what must go before it.
    pub(crate) async fn execute(
        &mut self,
        statement: &Arc<Prepared>,
        params: &[Value],
        parts: Option<&Parts>,
    ) -> Result<Response, Error> {
        const WHAT: &str = "a prepared statement";
        let guards = self.send_execute(statement, params).await?;
        self.guarded(guards, WHAT).await?;
        let response = match self.reply_in(WHAT, None, parts).await? {
            Reply::Response(response) => response,
            _ => return Err(self.another_reply(WHAT)),
        };
        self.session.observe(&response);
        self.used = Instant::now();
        self.count_bytes();
        Ok(response)
    }

    /// Sends a `COM_STMT_EXECUTE`. Where parameters must go ahead of it they stay with the statement
    /// at the server, which therefore runs this once and is closed. Whether the reply of a guard comes
    /// first.
    pub(super) async fn send_execute(
        &mut self,
        statement: &Arc<Prepared>,
        params: &[Value],
    ) -> Result<bool, Error> {
        let max = self.pipeline.tx.max_packet();
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
        let id = self.id_of(statement).await?;
        let (long_data, payload) = execute(id, params, max);
        self.pipeline.tx.check(payload.len())?;
        let guards = self.guard_insert_id().await?;
        self.counters.statements.fetch_add(1, Ordering::Relaxed);
        if !long_data.is_empty() {
            self.statements.forget(id);
            self.statements.spoilt = Some(id);
        }
        for part in &long_data {
            self.pipeline.push(Command::LongData(part))?;
            if self.pipeline.out().len() > 4 << 20 {
                self.flush("sending a parameter").await?;
            }
        }
        self.pipeline.push(Command::Execute(&payload))?;
        if let Some(id) = self.statements.take_spoilt() {
            self.pipeline.push(Command::CloseStmt(id))?;
        }
        self.flush("a prepared statement").await?;
        Ok(guards)
    }

    /// Forgets a statement, here and on the server.
    pub(crate) async fn close_statement(&mut self, statement: &Arc<Prepared>) -> Result<(), Error> {
        let alike = |e: &Entry| e.statement.is_like(statement);
        let entries = &self.common.statements.entries;
        let ids: Vec<_> = entries.iter().filter(|e| alike(e)).map(|e| e.id).collect();
        self.statements.entries.retain(|e| !alike(e));
        for id in &ids {
            self.pipeline.push(Command::CloseStmt(*id))?;
        }
        match ids.is_empty() {
            true => Ok(()),
            false => self.flush("closing a statement").await,
        }
    }
}
