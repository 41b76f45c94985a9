//! Many statements of one caller, sent without waiting for the replies of those before.

use std::sync::Arc;

use mysql_common::value::Value;

use super::{Link, Prepared};
use crate::{
    error::{Error, LostCause, Ran},
    opts::LocalInfileHandler,
    proto::{
        command::{Command, execute},
        pipeline::Reply,
        result::Response,
    },
};

/// One statement of many.
#[derive(Debug)]
pub(crate) enum Ask {
    Query(Vec<u8>),
    Execute(Arc<Prepared>, Vec<Value>),
}

/// Statements that are on their way at most. The server answers in order and holds back what it can't
/// send; we read while we send, so neither waits for the other.
const WINDOW: usize = 512;

/// Bytes that are gathered for one write.
const WRITE: usize = 32 << 10;

impl Link {
    /// Runs all of them in order, whatever becomes of each. As many results as statements.
    pub(crate) async fn run_all(
        &mut self,
        asks: Vec<Ask>,
        infile: Option<&LocalInfileHandler>,
    ) -> Vec<Result<Response, Error>> {
        let count = asks.len();
        let mut results = Vec::with_capacity(count);
        let mut lost = None;
        for ask in asks {
            if let Some(e) = &lost {
                results.push(Err(not_sent(e)));
                continue;
            }
            if let Err(e) = self.ask(ask, &mut results, infile).await {
                match e {
                    // It alone could not be sent; its place is behind those on their way.
                    Error::PacketTooLarge { .. } | Error::MySqlError(_) | Error::DriverError(_)
                        if self.is_usable_now() =>
                    {
                        lost = self.collect(0, &mut results, infile).await.err();
                        results.push(Err(e));
                    }
                    e => lost = Some(e),
                }
            }
            if let Some(e) = &lost {
                self.fill(&mut results, e);
            }
        }
        if lost.is_none()
            && let Err(e) = self.collect(0, &mut results, infile).await
        {
            self.fill(&mut results, &e);
        }
        // What was lost before it was pushed.
        while results.len() < count {
            let e = self.lost("a statement of many", Ran::No, LostCause::Closed);
            results.push(Err(e));
        }
        self.count_bytes();
        results
    }

    /// Those that are on their way have the link's end for a result.
    fn fill(&self, results: &mut Vec<Result<Response, Error>>, e: &Error) {
        for _ in 0..self.pipeline.in_flight() {
            results.push(Err(e.clone()));
        }
    }

    fn is_usable_now(&self) -> bool {
        !self.broken.load(std::sync::atomic::Ordering::Relaxed)
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
                let bytes: usize = params.iter().map(|p| p.bin_len() as usize).sum();
                if !self.statements_hold(&statement) || bytes + 1024 > max {
                    // Preparing it, or sending a parameter in pieces, has replies of its own.
                    self.collect(0, results, infile).await?;
                    results.push(self.execute(&statement, &params, None).await);
                    return match results.last() {
                        Some(Err(e @ Error::ConnectionLost(_))) => Err(e.clone()),
                        _ => Ok(()),
                    };
                }
                let Some(id) = self.statements.id(&statement) else {
                    unreachable!("looked up above")
                };
                let (_, payload) = execute(id, &params, max);
                self.pipeline.push(Command::Execute(&payload))?;
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
            return self.flush("a statement of many").await;
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
        const WHAT: &str = "a statement of many";
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

/// The same end, for a statement that was not sent.
fn not_sent(e: &Error) -> Error {
    match e {
        Error::ConnectionLost(lost) => {
            let mut lost = (**lost).clone();
            lost.ran = Ran::No;
            lost.into()
        }
        other => other.clone(),
    }
}
