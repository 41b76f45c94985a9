//! Many statements at once, sent in order without waiting for each.

use super::{
    Seat,
    alone::Running,
    plan::{Plan, Read, texts_of},
};
use crate::{
    error::{Error, Result},
    link::Ask,
    proto::result::Response,
    session::seen,
    sql::{self, Effect},
};

impl Seat {
    /// Runs many statements in order without waiting for each, on a link alone.
    pub(crate) async fn run_all(&mut self, asks: Vec<Ask>) -> Result<Vec<Result<Response>>> {
        let mut all = sql::Statement {
            effect: Effect::Read,
            is_query: false,
            digest: 0,
            hint_at: None,
        };
        let mut reads = Vec::with_capacity(asks.len());
        for ask in &asks {
            let read = match ask {
                Ask::Query(sql) => seen::read(sql),
                Ask::Execute(statement, _) => statement.statement,
            };
            all.effect = all.effect.and(read.effect);
            reads.push(Read::new(ask.sql(), &read));
        }
        self.come_back().await?;
        let deadline = self.deadline();
        self.go_for_all(all.effect, &asks, deadline).await?;
        let reached = self.reach_all(&asks, deadline).await?;
        let neutral = all.effect != Effect::Other
            && !self.shows_sessions()
            && reached.iter().all(Option::is_none);
        let mut plan = self.plan(neutral, &all, texts_of(&asks, &reached, &reads))?;
        plan.is_many = true;
        if !neutral {
            self.go_for_all(Effect::Other, &asks, deadline).await?;
        }
        if asks.len() > 1 && all.effect != Effect::Read && self.asks_a_replica(&plan) {
            return self.run_apart(asks).await;
        }
        let mut running = Running::new(self);
        let ran = running.seat.run_all_to_the_end(asks, plan, &reads).await;
        running.over = true;
        ran
    }

    /// The first one asks for what is on a replica, and others are for the primary.
    async fn run_apart(&mut self, mut asks: Vec<Ask>) -> Result<Vec<Result<Response>>> {
        let others = asks.split_off(1);
        let count = others.len();
        let mut all = Box::pin(self.run_all(asks)).await?;
        match Box::pin(self.run_all(others)).await {
            Ok(others) => all.extend(others),
            // It is told of each, as the first one has run.
            Err(e) => all.extend(std::iter::repeat_n(e, count).map(Err)),
        }
        Ok(all)
    }

    async fn run_all_to_the_end(
        &mut self,
        asks: Vec<Ask>,
        mut plan: Plan,
        reads: &[Read],
    ) -> Result<Vec<Result<Response>>> {
        let deadline = self.deadline();
        let infile = self.party.opts.get_local_infile_handler().cloned();
        self.take("many statements", plan.need(), deadline).await?;
        self.check(&plan)?;
        let begun = self.begin(&plan, deadline).await;
        let begun = match begun {
            Ok(()) => self.prepare_for(&plan).await,
            Err(e) => Err(e),
        };
        let behind = self.behind(&plan, reads);
        self.begin_writing(plan.neutral && !plan.writes);
        let ran = match (begun, self.held.as_mut()) {
            (Ok(()), Some(link)) => Ok(link.run_all(asks, infile.as_ref(), behind.as_ref()).await),
            (Err(e), _) => Err(e),
            (Ok(()), None) => Ok(Vec::new()),
        };
        drop(behind);
        if ran.is_ok() {
            self.end_writing();
        }
        for (result, read) in ran.iter().flatten().zip(reads) {
            (plan.is_query, plan.writes) = (read.is_query, read.writes);
            self.begin_writing(plan.neutral && !plan.writes);
            match result {
                Ok(response) => self.note(&plan, response),
                Err(_) => self.forget_what_was_left(read.writes),
            }
        }
        let is_late = |e: &&Error| matches!(e, Error::StatementTimeout(_));
        let failed = match &ran {
            Ok(results) => results
                .iter()
                .filter_map(|r| r.as_ref().err())
                .find(is_late),
            Err(e) => Some(e),
        };
        self.after(failed).await?;
        if let Ok(results) = &ran
            && let Some(Ok(last)) = results.last()
        {
            self.keep_ok(last);
        }
        ran
    }
}
