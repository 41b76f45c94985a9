//! Results that come in pieces, on a link that one caller has alone: nothing is held but the piece
//! at hand, and the server waits while nobody reads.

use std::sync::Arc;

use mysql_common::packets::Column;

use super::Link;
use crate::{
    error::Error,
    opts::LocalInfileHandler,
    proto::{
        command::Command,
        pipeline::{Event, Part, Reply},
        result::{Outcome, Response, Rows},
    },
};

/// The next piece of a result.
#[derive(Debug)]
pub(crate) enum Streamed {
    Part(Part),
    /// The rest of it, and the rows before the error that ended it.
    End(Response, Option<(Arc<[Column]>, Rows)>),
}

/// Bytes that are read to have a link back whose stream was left. What is longer costs a connect.
const DRAIN: usize = 1 << 20;

impl Link {
    /// Sends a query whose result is taken by [`Self::next_part`].
    pub(crate) async fn start_query(&mut self, sql: &[u8]) -> Result<(), Error> {
        self.counters
            .statements
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.pipeline.push(Command::Query(sql))?;
        self.flush("a query").await
    }

    /// The next piece; waits for one.
    pub(crate) async fn next_part(
        &mut self,
        infile: Option<&LocalInfileHandler>,
    ) -> Result<Streamed, Error> {
        const WHAT: &str = "reading a result";
        loop {
            match self.pipeline.next_event() {
                Ok(Some(Event::Reply(Reply::Response(response)))) => {
                    self.session.observe(&response);
                    self.used = std::time::Instant::now();
                    self.count_bytes();
                    return Ok(Streamed::End(response, self.pipeline.rx.take_left()));
                }
                Ok(Some(Event::Reply(_))) => return Err(self.another_reply(WHAT)),
                Ok(Some(Event::Infile(name))) => self.send_file(&name, infile, WHAT).await?,
                Ok(None) => {
                    let part = self.pipeline.rx.take_part();
                    for outcome in part.outcomes.iter() {
                        match outcome {
                            Outcome::Ok(ok) => self.session.observe_ok(ok),
                            Outcome::Set(set) => self.session.observe_ok(&set.ok),
                            Outcome::Err(_) => {}
                        }
                    }
                    if !part.outcomes.is_empty()
                        || part.set.as_ref().is_some_and(|(_, rows)| !rows.is_empty())
                    {
                        return Ok(Streamed::Part(part));
                    }
                    self.read(WHAT).await?;
                }
                Err(fatal) => return Err(self.fatal(WHAT, fatal)),
            }
        }
    }

    /// Reads what is left of a stream. Whether that was little; else the link is not for use.
    pub(crate) async fn drain(&mut self) -> bool {
        if self
            .flush("finishing a result that was left")
            .await
            .is_err()
        {
            return false;
        }
        let mut left = DRAIN;
        while self.pipeline.in_flight() > 0 {
            match self.next_part(None).await {
                Ok(Streamed::End(..)) => {}
                Ok(Streamed::Part(part)) => {
                    let size = part.set.map_or(0, |(_, rows)| rows.size());
                    let Some(less) = left.checked_sub(size) else {
                        return false;
                    };
                    left = less;
                }
                Err(_) => return false,
            }
        }
        true
    }

    /// `COM_STMT_EXECUTE` whose result is taken by [`Self::next_part`].
    pub(crate) async fn start_execute(
        &mut self,
        statement: &Arc<super::Prepared>,
        params: &[mysql_common::value::Value],
    ) -> Result<(), Error> {
        self.send_execute(statement, params).await.map(drop)
    }
}
