//! Many statements of one caller, sent without waiting for the replies of those before.

use std::sync::Arc;

use mysql_common::value::Value;

use super::{Link, Prepared};
use crate::{
    error::{Error, LostCause, Ran, StatementTimeout},
    opts::LocalInfileHandler,
    proto::{
        command::{Command, execute},
        pipeline::Reply,
        result::{Outcome, Response},
    },
};

/// One statement of many.
#[derive(Debug)]
pub(crate) enum Ask {
    Query(Vec<u8>),
    Execute(Arc<Prepared>, Vec<Value>),
}

impl Ask {
    /// Its text.
    pub(crate) fn sql(&self) -> &[u8] {
        match self {
            Ask::Query(sql) => sql,
            Ask::Execute(statement, _) => &statement.sql,
        }
    }
}

/// Statements that are on their way at most. The server answers in order and holds back what it can't
/// send; we read while we send, so neither waits for the other.
const WINDOW: usize = 512;

/// Statements that ask for the rows that a query before them found, where nothing else is to be had.
pub(crate) struct Behind<'a> {
    pub asks: &'a [usize],
    pub are_queries: Vec<bool>,
    /// For one behind queries that failed. It is not sent.
    pub missing: Error,
}

const WHAT: &str = "a statement of many";

/// Bytes that are gathered for one write.
const WRITE: usize = 32 << 10;

impl Link {
    /// Runs all of them in order, whatever becomes of each. As many results as statements.
    pub(crate) async fn run_all(
        &mut self,
        asks: Vec<Ask>,
        infile: Option<&LocalInfileHandler>,
        behind: Option<&Behind<'_>>,
    ) -> Vec<Result<Response, Error>> {
        let count = asks.len();
        let mut results = Vec::with_capacity(count);
        let mut ended = None;
        for (at, ask) in asks.into_iter().enumerate() {
            if let Some(e) = &ended {
                results.push(Err(self.not_sent(e)));
                continue;
            }
            let asked = match behind.filter(|behind| behind.asks.contains(&at)) {
                Some(behind) => self.ask_behind(behind, ask, &mut results, infile).await,
                None => self.ask(ask, &mut results, infile).await,
            };
            if let Err(e) = asked {
                match e {
                    // It alone could not be sent; its place is behind those on their way.
                    Error::PacketTooLarge { .. } | Error::MySqlError(_) | Error::DriverError(_)
                        if self.is_usable_now() =>
                    {
                        match self.collect(0, &mut results, infile).await {
                            Ok(()) => results.push(Err(e)),
                            Err(e) => ended = Some(e),
                        }
                    }
                    e => ended = Some(e),
                }
            }
            if let Some(e) = &ended {
                self.fill(&mut results, at + 1, e);
            }
        }
        if ended.is_none()
            && let Err(e) = self.collect(0, &mut results, infile).await
        {
            self.fill(&mut results, count, &e);
        }
        self.count_bytes();
        results
    }

    /// What became of those up to `count` whose replies did not come.
    fn fill(&self, results: &mut Vec<Result<Response, Error>>, count: usize, e: &Error) {
        if results.len() >= count {
            return;
        }
        // The error is that of the first of them. The others may have been sent, whole or not.
        results.push(Err(match e {
            Error::ConnectionLost(lost) => self.lost(WHAT, Ran::Maybe, lost.cause.clone()),
            e => e.clone(),
        }));
        while results.len() < count {
            results.push(Err(match e {
                Error::ConnectionLost(lost) => self.lost(WHAT, Ran::Maybe, lost.cause.clone()),
                Error::StatementTimeout(_) => e.clone(),
                _ => self.lost(WHAT, Ran::Maybe, LostCause::Closed),
            }));
        }
    }

    /// The same end, for a statement that was not sent.
    fn not_sent(&self, e: &Error) -> Error {
        match e {
            Error::ConnectionLost(lost) => self.lost(WHAT, Ran::No, lost.cause.clone()),
            Error::StatementTimeout(e) => {
                StatementTimeout::new(&e.server, e.timeout, Ran::No).into()
            }
            _ => self.lost(WHAT, Ran::No, LostCause::Closed),
        }
    }

    fn is_usable_now(&self) -> bool {
        !self.broken.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// The same once it is known what became of those before it.
    async fn ask_behind(
        &mut self,
        behind: &Behind<'_>,
        ask: Ask,
        results: &mut Vec<Result<Response, Error>>,
        infile: Option<&LocalInfileHandler>,
    ) -> Result<(), Error> {
        self.collect(0, results, infile).await?;
        if results.iter().zip(&behind.are_queries).any(found_rows) {
            return self.ask(ask, results, infile).await;
        }
        results.push(Err(behind.missing.clone()));
        Ok(())
    }

    async fn ask(
        &mut self,
        ask: Ask,
        results: &mut Vec<Result<Response, Error>>,
        infile: Option<&LocalInfileHandler>,
    ) -> Result<(), Error> {
        let mut alone = !self.pipelining;
        match ask {
            Ask::Query(sql) => {
                // What is sent behind `LOAD DATA LOCAL` is taken for the file.
                alone |= sql.windows(4).any(|w| w.eq_ignore_ascii_case(b"load"));
                if alone {
                    self.collect(0, results, infile).await?;
                }
                self.pipeline.push(Command::Query(&sql))?;
            }
            Ask::Execute(statement, params) => {
                let max = self.pipeline.tx.max_packet();
                if self.session.sets_variables() {
                    // With which ones it runs is known when those before it have run.
                    self.collect(0, results, infile).await?;
                    self.learn_names().await?;
                }
                let runs_with = self.runs_with(&statement);
                let held = self.statements.id(&statement, &runs_with);
                let ready = held.map(|id| execute(id, &params, max));
                match ready {
                    Some((ahead, payload)) if ahead.is_empty() => {
                        self.pipeline.push(Command::Execute(&payload))?;
                    }
                    // Preparing it, or sending a parameter in pieces, has replies of its own.
                    _ => {
                        self.collect(0, results, infile).await?;
                        let done = self.execute(&statement, &params, None).await;
                        let ended = done.as_ref().err().filter(|_| !self.is_usable()).cloned();
                        results.push(done);
                        return ended.map_or(Ok(()), Err);
                    }
                }
            }
        }
        self.counters
            .statements
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if alone {
            return self.collect(0, results, infile).await;
        }
        if self.pipeline.in_flight() >= WINDOW {
            return self.collect(WINDOW / 2, results, infile).await;
        }
        if self.pipeline.out().len() >= WRITE {
            return self.flush(WHAT).await;
        }
        Ok(())
    }

    /// Takes replies until no more than `left` are due.
    async fn collect(
        &mut self,
        left: usize,
        results: &mut Vec<Result<Response, Error>>,
        infile: Option<&LocalInfileHandler>,
    ) -> Result<(), Error> {
        self.flush(WHAT).await?;
        while self.pipeline.in_flight() > left {
            match self.reply(WHAT, infile).await? {
                Reply::Response(response) => {
                    self.session.observe(&response);
                    results.push(Ok(response));
                }
                _ => return Err(self.another_reply(WHAT)),
            }
        }
        self.used = std::time::Instant::now();
        Ok(())
    }
}

fn found_rows((result, is_query): (&Result<Response, Error>, &bool)) -> bool {
    let last = result.as_ref().ok().and_then(|r| r.outcomes.back());
    *is_query && matches!(last, Some(Outcome::Set(_)))
}
