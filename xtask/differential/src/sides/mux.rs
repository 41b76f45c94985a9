//! The side under test: handles of a mux.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context as _, Result};
use futures_lite::{StreamExt as _, future::block_on};
use mysql_mux::{
    Backend, Binary, Counts, DriverError, Error, Handle, Isolation, Mux, OptsBuilder, Params,
    PinReason, Piped, QueryResult, Row, Statement, Text, aio,
    prelude::{AsStatement, Queryable as _},
};

use super::{
    Session, Side, one_by_one,
    read::{OF_THE_TYPE, act, cell, columns, outcome, replies, values},
};
use crate::{
    outcome::{Cell, Column, Last, Outcome, Reply},
    program::{Action, Mode, Param, Program},
    server::{Names, Server},
    way::Way,
};

/// How long a link is waited for: longer than a lock, where others run meanwhile and may give one back. One step
/// after the other nobody does, but for what is cleaned up in the background.
fn acquire_timeout(mode: Mode) -> Duration {
    match mode {
        Mode::Sequential => Duration::from_millis(300),
        Mode::Concurrent => Duration::from_secs(2),
    }
}

/// Whether an error is the library's word that it can't do what a connection of one's own would do,
/// and which one. The only place that says what is allowed.
pub fn is_honest(error: &Error) -> Option<&'static str> {
    match error {
        Error::SessionLost { .. } => Some("SessionLost"),
        Error::AcquireTimeout(_) => Some("AcquireTimeout"),
        Error::ConnectionLost(_) => Some("ConnectionLost"),
        Error::NotKept { .. } => Some("NotKept"),
        // A write in a transaction that only reads: the server would refuse it, too.
        Error::DriverError(DriverError::OnReplica { .. }) => Some("OnReplica"),
        _ => None,
    }
}

/// What counts the statements that were sent to replicas.
pub const ON_REPLICAS: &str = "on replicas";

/// The side.
pub struct Muxed {
    server: Server,
    replicas: Vec<Server>,
    names: Names,
    mux: Mux,
    isolation: Isolation,
}

impl Muxed {
    /// `replicas`: those of the server.
    pub fn new(
        server: &Server,
        replicas: &[Server],
        names: &Names,
        isolation: Isolation,
        program: &Program,
    ) -> Muxed {
        Muxed {
            server: server.clone(),
            replicas: replicas.to_vec(),
            names: names.clone(),
            mux: Mux::builder()
                .max_links(program.max_links())
                .acquire_timeout(acquire_timeout(program.mode))
                .definitions_age(program.definitions_age())
                .build(),
            isolation,
        }
    }

    /// Where a handle connects to.
    fn target(&self) -> OptsBuilder {
        let opts = OptsBuilder::new();
        if self.replicas.is_empty() {
            return opts.socket(Some(&self.server.socket));
        }
        let first = opts
            .ip_or_hostname(Some(&self.server.host))
            .tcp_port(self.server.port)
            .prefer_socket(false);
        self.replicas.iter().fold(first, |opts, replica| {
            opts.backend(Backend::new(&replica.host, replica.port))
        })
    }
}

impl Side for Muxed {
    fn connect(&mut self, program: &Program, handle: usize) -> Result<Box<dyn Session>> {
        let way = program.way(handle);
        let opts = self
            .target()
            .prefer(program.prefer(handle))
            .user(Some(&self.server.user))
            .pass(Some(&self.server.password))
            .db_name(Some(&self.names.db))
            .init(self.server.init())
            .keep_insert_id(true)
            .keep_diagnostics(program.keeps(handle))
            .isolation(self.isolation);
        let conn = match way.is_async() {
            false => self.mux.connect(opts).map(Conn::Blocking),
            true => block_on(self.mux.connect_async(opts)).map(Conn::Async),
        };
        Ok(Box::new(One {
            conn: conn.context("a handle of the mux")?,
            way,
            names: self.names.clone(),
            slots: HashMap::new(),
        }))
    }

    fn is_killed(&self) -> bool {
        true
    }

    fn summary(&self) -> Vec<(&'static str, u64)> {
        let stats = self.mux.stats();
        let total = &stats.total;
        let pins = PinReason::ALL
            .iter()
            .map(|reason| (reason.text(), total.pins(*reason)));
        let pins: Vec<_> = pins.filter(|(_, count)| *count > 0).collect();
        let mut lines = vec![
            ("links opened", total.connect_success),
            ("links lost", total.lost_connections),
            ("sessions reset", total.resets),
            ("waits for a link", total.waits),
            ("waits in vain", total.acquire_timeouts),
            ("statements sent", total.statements),
            ("statements prepared", total.prepares),
        ];
        lines.extend(pins);
        let on = |server: &str| -> u64 {
            let own = |(key, _): &&(String, Counts)| key == server;
            stats
                .groups
                .iter()
                .filter(own)
                .map(|(_, counts)| counts.statements)
                .sum()
        };
        if let [primary, replicas @ ..] = &stats.backends[..] {
            lines.push(("on the primary", on(&primary.server)));
            lines.push((
                ON_REPLICAS,
                replicas.iter().map(|replica| on(&replica.server)).sum(),
            ));
        }
        lines
    }
}

impl Drop for Muxed {
    fn drop(&mut self) {
        self.mux.shutdown(Duration::from_secs(1));
    }
}

/// A handle of either face.
enum Conn {
    Blocking(Handle),
    Async(aio::Handle),
}

/// What either tells.
macro_rules! tell {
    ($conn:expr, $handle:ident => $told:expr) => {
        match $conn {
            Conn::Blocking($handle) => $told,
            Conn::Async($handle) => $told,
        }
    };
}

/// What either does, when it is done.
macro_rules! wait {
    ($conn:expr, $handle:ident => $done:expr) => {
        match $conn {
            Conn::Blocking($handle) => $done,
            Conn::Async($handle) => block_on($done),
        }
    };
}

impl Conn {
    fn query_iter(&mut self, sql: String) -> Result<QueryResult<Text>, Error> {
        wait!(self, handle => handle.query_iter(sql))
    }

    fn exec_iter(
        &mut self,
        statement: impl AsStatement + aio::AsStatement,
        params: Params,
    ) -> Result<QueryResult<Binary>, Error> {
        wait!(self, handle => handle.exec_iter(statement, params))
    }

    /// All rows, and the error that came behind them.
    fn query_stream(&mut self, sql: String) -> Result<(Vec<Row>, Option<Error>), Error> {
        match self {
            Conn::Blocking(handle) => Ok(to_the_end(handle.query_stream(sql)?)),
            Conn::Async(handle) => block_on(async {
                let rows = handle.query_stream(sql).await?;
                let rows: Vec<Result<Row, Error>> = rows.collect().await;
                Ok(to_the_end(rows.into_iter()))
            }),
        }
    }

    /// The same of a prepared statement.
    fn exec_stream(
        &mut self,
        statement: impl AsStatement + aio::AsStatement,
        params: Params,
    ) -> Result<(Vec<Row>, Option<Error>), Error> {
        match self {
            Conn::Blocking(handle) => Ok(to_the_end(handle.exec_stream(statement, params)?)),
            Conn::Async(handle) => block_on(async {
                let rows = handle.exec_stream(statement, params).await?;
                let rows: Vec<Result<Row, Error>> = rows.collect().await;
                Ok(to_the_end(rows.into_iter()))
            }),
        }
    }

    fn pipeline(&mut self, asks: &[Ask]) -> Result<Vec<Result<Piped, Error>>, Error> {
        wait!(self, handle => handle.pipeline(|pipe| {
            asks.iter().try_for_each(|ask| match ask {
                Ask::Query(sql) => {
                    pipe.query(sql);
                    Ok(())
                }
                Ask::Execute(statement, params) => pipe.exec(statement, params.clone()).map(drop),
            })
        }))
    }

    fn prep(&mut self, sql: String) -> Result<Statement, Error> {
        wait!(self, handle => handle.prep(sql))
    }

    fn close(&mut self, statement: Statement) -> Result<(), Error> {
        wait!(self, handle => handle.close(statement))
    }

    fn select_db(&mut self, schema: &str) -> Result<(), Error> {
        wait!(self, handle => handle.select_db(schema))
    }

    fn ping(&mut self) -> Result<(), Error> {
        wait!(self, handle => handle.ping())
    }

    fn reset(&mut self) -> Result<(), Error> {
        wait!(self, handle => handle.reset())
    }

    fn affected_rows(&self) -> u64 {
        tell!(self, handle => handle.affected_rows())
    }

    fn last_insert_id(&self) -> u64 {
        tell!(self, handle => handle.last_insert_id())
    }

    fn warnings(&self) -> u16 {
        tell!(self, handle => handle.warnings())
    }

    fn info_str(&self) -> String {
        tell!(self, handle => handle.info_str().into_owned())
    }

    fn connection_id(&self) -> u32 {
        tell!(self, handle => handle.connection_id())
    }

    fn is_pinned(&self) -> bool {
        tell!(self, handle => handle.pin().is_some())
    }
}

/// The rows of a stream, and its first error.
fn to_the_end(stream: impl Iterator<Item = Result<Row, Error>>) -> (Vec<Row>, Option<Error>) {
    let (mut rows, mut failed) = (Vec::new(), None);
    for row in stream {
        match row {
            Ok(row) => rows.push(row),
            Err(e) => drop(failed.get_or_insert(e)),
        }
    }
    (rows, failed)
}

/// A statement of a pipeline.
enum Ask {
    Query(String),
    Execute(Statement, Params),
}

struct One {
    conn: Conn,
    way: Way,
    names: Names,
    slots: HashMap<u8, Statement>,
}

impl One {
    fn reset(&mut self) -> Result<(), Error> {
        self.conn.reset()
    }

    /// An error as a reply, or as the end.
    fn failure(&self, e: Error) -> Result<Reply, Outcome> {
        failure(&self.names, e)
    }

    /// What an error came to where nothing came before it.
    fn failed(&self, e: Error) -> Outcome {
        self.failure(e).map_or_else(|honest| honest, Outcome::one)
    }

    /// The rows of a statement as they are read.
    fn stream(&mut self, action: &Action) -> Outcome {
        let names = self.names.clone();
        let read = match action {
            Action::Query(sql) => self.conn.query_stream(names.put(sql)),
            Action::Run(sql, params) => {
                let params = values!(mysql_mux, params, names);
                self.conn.exec_stream(names.put(sql), params)
            }
            Action::Execute(slot, params) => match self.slots.get(slot) {
                None => return Outcome::one(Reply::Unfit),
                Some(statement) => {
                    let params = values!(mysql_mux, params, names);
                    self.conn.exec_stream(statement, params)
                }
            },
            _ => return self.at_once(action),
        };
        let (rows, error) = match read {
            Ok(read) => read,
            Err(e) => return self.failed(e),
        };
        let first = rows.first().map(|row| columns!(row.columns_ref(), names));
        let mut replies = vec![match first {
            None => Reply::NoRows,
            Some(columns) => Reply::Rows {
                columns,
                rows: rows
                    .into_iter()
                    .map(|row| {
                        let values = row.unwrap().into_iter();
                        values.map(|value| cell!(mysql_mux, value, names)).collect()
                    })
                    .collect(),
            },
        }];
        if let Some(e) = error {
            match self.failure(e) {
                Ok(reply) => replies.push(reply),
                Err(honest) => return honest,
            }
        }
        outcome!(self.conn, Ok(replies), names)
    }

    /// Statements in a pipeline; prepares those that are not. `None`: one of several would keep all from being
    /// sent.
    fn pipeline(&mut self, actions: &[&Action]) -> Option<Vec<Outcome>> {
        let names = self.names.clone();
        let mut asks = Vec::with_capacity(actions.len());
        for action in actions {
            let (statement, params) = match action {
                Action::Query(sql) => {
                    asks.push(Ask::Query(names.put(sql)));
                    continue;
                }
                Action::Execute(slot, params) => (self.slots.get(slot).cloned(), params),
                Action::Run(sql, params) if actions.len() == 1 => {
                    match self.conn.prep(names.put(sql)) {
                        Ok(statement) => (Some(statement), params),
                        Err(e) => return Some(vec![self.failed(e)]),
                    }
                }
                _ => return None,
            };
            let fits = |statement: &Statement| {
                actions.len() == 1 || usize::from(statement.num_params()) == params.len()
            };
            let params = values!(mysql_mux, params, names);
            asks.push(Ask::Execute(statement.filter(fits)?, params));
        }
        let results = match self.conn.pipeline(&asks) {
            Ok(results) => results,
            Err(e) => return Some(vec![self.failed(e)]),
        };
        let mut outcomes = Vec::with_capacity(results.len());
        for result in results {
            let error = |e| failure(&names, e);
            let read = match result {
                Ok(Piped::Text(result)) => replies!(mysql_mux, result, names, error),
                Ok(Piped::Binary(result)) => replies!(mysql_mux, result, names, error),
                Err(e) => error(e).map(|reply| vec![reply]),
            };
            outcomes.push(outcome!(self.conn, read, names));
        }
        Some(outcomes)
    }

    /// One thing, whose results come whole.
    fn at_once(&mut self, action: &Action) -> Outcome {
        let names = self.names.clone();
        act!(mysql_mux, self, action, move |e| failure(&names, e))
    }
}

fn failure(names: &Names, e: Error) -> Result<Reply, Outcome> {
    if let Some(kind) = is_honest(&e) {
        return Err(Outcome::Honest {
            kind,
            text: names.strip(&e.to_string()),
        });
    }
    Ok(match e {
        Error::MySqlError(e) => Reply::Error {
            code: e.code,
            state: e.state,
            message: names.strip_message(&e.message),
        },
        Error::DriverError(DriverError::MismatchedStmtParams { .. }) => Reply::Unfit,
        e => Reply::Client(names.strip(&e.to_string())),
    })
}

impl Session for One {
    fn run(&mut self, action: &Action) -> Outcome {
        if self.way.streams() {
            return self.stream(action);
        }
        let piped = match self.way.pipelines() {
            true => self.pipeline(&[action]).and_then(|mut all| all.pop()),
            false => None,
        };
        piped.unwrap_or_else(|| self.at_once(action))
    }

    fn run_all(&mut self, actions: &[&Action]) -> Vec<Outcome> {
        if self.way.pipelines()
            && let Some(outcomes) = self.pipeline(actions)
        {
            return outcomes;
        }
        one_by_one(self, actions)
    }

    fn connection_id(&self) -> u32 {
        self.conn.connection_id()
    }

    fn is_pinned(&self) -> bool {
        self.conn.is_pinned()
    }

    fn end(mut self: Box<Self>) {
        // Without a link there is nothing of it at the server; and a link's session is made new at the latest when
        // another handle takes it.
        if self.conn.is_pinned() {
            let _ = self.conn.reset();
        }
    }
}
