//! Results that are taken piece by piece, on a link alone until their end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mysql_common::value::Value;

use super::{Seat, alone::Running, plan::Plan};
use crate::{
    error::Result,
    link::{Kill, Prepared, Streamed, Victim, offload},
    mux::op::Op,
    proto::result::Response,
    session::seen,
    sql,
};

/// A piece of a stream is what came at once, whatever the limit of a result.
const PIECE: usize = 16 << 20;

/// What is left of a stream may take so long to come; then another link costs less.
const DRAINING: Duration = Duration::from_secs(1);

impl Seat {
    /// Sends a query whose rows are taken piece by piece.
    pub(crate) async fn start_query(&mut self, sql: &[u8]) -> Result<()> {
        self.start(Op::StartQuery(sql), seen::read(sql)).await
    }

    /// Runs a prepared statement whose rows are taken piece by piece.
    pub(crate) async fn start_execute(
        &mut self,
        statement: &Arc<Prepared>,
        params: &[Value],
    ) -> Result<()> {
        self.start(Op::StartExecute(statement, params), statement.statement)
            .await
    }

    async fn start(&mut self, op: Op<'_>, statement: sql::Statement) -> Result<()> {
        self.come_back().await?;
        let deadline = self.deadline();
        let (reached, neutral) = self.look(&op, &statement, deadline).await?;
        let mut plan = self.plan(neutral, &statement, op.text_that(&reached, &statement))?;
        plan.is_many = true;
        plan.is_stream = true;
        self.may_ask_there(&op, &plan)?;
        let mut running = Running::new(self);
        let started = running.seat.start_to_the_end(op, plan).await;
        running.over = true;
        started
    }

    async fn start_to_the_end(&mut self, op: Op<'_>, plan: Plan) -> Result<()> {
        let deadline = self.deadline();
        self.take(op.why(), plan.need(), deadline).await?;
        self.check(&plan)?;
        self.streaming = true;
        let begun = self.begin(&plan, deadline).await;
        if let Some(link) = &mut self.held {
            let max = self.party.opts.get_max_result_size().max(PIECE);
            link.set_limits(self.party.opts.get_stmt_cache_size(), max);
        }
        let started = match begun {
            Ok(()) => self.on_link(op, &plan, deadline).await.map(drop),
            Err(e) => Err(e),
        };
        if let Err(e) = &started {
            self.streaming = false;
            self.after(Some(e)).await?;
        }
        started
    }

    /// The next piece of the result that was started. After its end the link is free.
    pub(crate) async fn next_part(&mut self) -> Result<Streamed> {
        let infile = self.party.opts.get_local_infile_handler().cloned();
        let Some(link) = &mut self.held else {
            return Ok(Streamed::End(Response::default(), None));
        };
        let part = link.next_part(infile.as_ref()).await;
        // The time is the statement's until it has something to say; then its reader sets the pace.
        link.deadline = None;
        match &part {
            Ok(Streamed::Part(_)) => {}
            Ok(Streamed::End(response, _)) => {
                self.streaming = false;
                self.keep_ok(response);
                let reads = !self.has_begun_to_write();
                self.note_written(response, reads);
                self.after(None).await?;
            }
            Err(e) => {
                self.streaming = false;
                self.after(Some(e)).await?;
            }
        }
        part
    }

    /// Leaves a stream before its end: what is left is read where it is little, else the link is
    /// closed.
    pub(crate) async fn end_stream(&mut self) -> Result<()> {
        if !self.streaming {
            return Ok(());
        }
        let Some(link) = &mut self.held else {
            self.streaming = false;
            return Ok(());
        };
        link.face = self.face;
        let began = Instant::now();
        link.deadline = Some((began + DRAINING, DRAINING));
        let drained = link.drain().await;
        link.deadline = None;
        self.streaming = false;
        if began.elapsed() >= DRAINING && link.may_run() {
            // What comes next is not to run beside it.
            let victim = Victim::new(link, &self.party.account.opts);
            let kill = move || victim.kill(Kill::Connection);
            drop(offload(self.face, kill, drop).await);
        }
        if drained {
            return self.after(None).await;
        }
        self.lose()
    }

    /// Leaves a stream before its end where nobody can wait for that.
    pub(crate) fn abandon_stream(&mut self) {
        if self.streaming {
            self.abandon();
        }
    }
}
