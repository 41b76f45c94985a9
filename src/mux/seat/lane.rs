//! Among others: a neutral statement on a lane, or preparing one there.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Deadline, PATIENCE, Seat};
use crate::{
    error::{DriverError, Error, LostCause, Ran, Result, StatementTimeout},
    link::{Answer, Asked, Face, How, Parts, Place, Prepared},
    mux::wish::{Got, Like, Need, Wish},
    proto::{pipeline::Reply, result::Response},
    session::InsertId,
    sql::{self, Effect},
};

/// A read that had run for longer when its link was lost is not run again: somebody may have ended
/// it.
const AGAIN: Duration = Duration::from_secs(1);

impl Seat {
    pub(super) fn wish(&self, need: Need, why: &'static str) -> Wish {
        Wish {
            account: self.party.account.clone(),
            handle: self.id,
            need,
            owns: self.owns,
            begin: self.party.opts.session().clone(),
            schema: self.schema.clone(),
            vars: self.vars.clone(),
            user: self.user.clone(),
            why,
            hurries: self.route().is_some(),
        }
    }

    /// The session that a lane must have.
    #[inline]
    fn like(&self) -> Like<'_> {
        Like {
            account: &self.party.account,
            schema: &self.schema,
            vars: &self.vars,
            user: &self.user,
            begin: self.party.opts.session(),
        }
    }

    /// A place on a lane that is there.
    #[inline]
    fn place_now(&self, need: Need) -> Option<Place> {
        if self.owns || need != Need::Place {
            return None;
        }
        self.party.account.group.place(self.like())
    }

    /// A statement that the lane asked first holds already: the usual case, which takes no place.
    pub(super) fn prepared(&self, sql: &[u8]) -> Option<Arc<Prepared>> {
        if self.owns {
            return None;
        }
        self.party.account.group.lane(self.like())?.holds(sql)
    }

    /// A place on a lane, or nothing: then the seat has a link alone.
    pub(super) async fn place(&mut self, need: Need, deadline: Deadline) -> Result<Option<Place>> {
        match self.acquire("a statement", need, deadline).await? {
            Got::Place(place) => Ok(Some(place)),
            Got::Link(link) => {
                self.held = Some(link);
                Ok(None)
            }
            Got::Nothing => Ok(None),
        }
    }

    pub(super) async fn acquire(
        &mut self,
        why: &'static str,
        need: Need,
        deadline: Deadline,
    ) -> Result<Got> {
        if let Need::Exact(link) = need {
            self.go_to_link(link);
        }
        loop {
            let got = self.acquire_here(why, need, deadline).await;
            match got {
                Err(e @ Error::ConnectError(_)) if self.route().is_some() => {
                    if !self.go_elsewhere(&e, deadline).await? {
                        return Err(e);
                    }
                }
                got => return got,
            }
        }
    }

    async fn acquire_here(&self, why: &'static str, need: Need, deadline: Deadline) -> Result<Got> {
        let wish = self.wish(need, why);
        let group = &self.party.account.group;
        let until = deadline.map(|(at, _)| at);
        match group.acquire(wish, self.face, until).await {
            Err(Error::AcquireTimeout(e)) => Err(match deadline {
                // It was withdrawn before anybody saw it.
                Some((at, time)) if Instant::now() >= at => {
                    StatementTimeout::new(&self.server_name(), time, Ran::No).into()
                }
                _ => Error::AcquireTimeout(e),
            }),
            got => got,
        }
    }

    /// Runs a neutral statement among others'. `None`: there was no place, and the seat has a link
    /// alone.
    #[inline]
    pub(super) async fn on_lane(
        &mut self,
        asked: Asked<'_>,
        parts: Option<&Parts>,
        statement: &sql::Statement,
        need: Need,
        deadline: Deadline,
    ) -> Result<Option<Response>> {
        let mut tries = 0;
        let mut lost = None;
        loop {
            tries += 1;
            let place = match self.place_now(need) {
                Some(place) => place,
                None => match (self.place(need, deadline).await, lost.take()) {
                    (Ok(Some(got)), _) => got,
                    (Ok(None), _) => return Ok(None),
                    // There is no other link: what happened to the first one is what there is to tell.
                    (Err(_), Some(lost)) => return Err(lost),
                    (Err(e), None) => return Err(e),
                },
            };
            let lane = place.lane();
            self.party.account.group.open_more();
            parts.inspect(|parts| parts.begin());
            let began = Instant::now();
            let mut how = How {
                face: self.face,
                asked: began,
                parts,
                digest: statement.digest,
                max_result: self.party.opts.get_max_result_size(),
                // The server ends it at its limit, and tells.
                deadline: deadline.map(|(at, _)| at.checked_add(PATIENCE).unwrap_or(at)),
                careful: statement.effect == Effect::Write,
                is_query: statement.is_query,
                handle: self.id,
                insert_id: self.insert_id,
                is_first: self.last_link == 0,
                limited: deadline.is_some(),
                under_way: None,
            };
            // Should nobody wait for the answer, what it leaves is lost.
            let before = (self.insert_id, self.last_link);
            self.forget_what_was_left(statement.effect == Effect::Write);
            if statement.effect == Effect::Write {
                self.unanswered = lane.id;
            }
            self.begin_writing(statement.effect == Effect::Read);
            let under_way = self.write_under_way();
            how.under_way = under_way.as_ref();
            let mut answer = match (self.face, parts) {
                (Face::Blocking, None) => place.ask_in_thread(asked, &how),
                _ => place.ask(asked, &how).await,
            };
            if let (Ok(Answer::NotHeld), Asked::Execute(prepared, _)) = (&answer, asked) {
                let sql = &prepared.sql;
                // Taken before the first one is given back: the lane stays one.
                let second = Place::take(lane);
                let made = self.prepare_on(sql, Some(prepared), &place, deadline).await;
                let how = How {
                    asked: Instant::now(),
                    ..how
                };
                answer = match made {
                    Ok(_) => second.ask(asked, &how).await,
                    Err(e) => Err(e),
                };
            }
            if !matches!(answer, Ok(Answer::Late)) {
                self.unanswered = 0;
            }
            self.connection_id = lane.server.connection_id;
            let is_known = match &answer {
                Ok(answer) => !matches!(answer, Answer::Late),
                Err(Error::ConnectionLost(e)) => e.ran == Ran::No,
                Err(_) => false,
            };
            if is_known {
                (self.insert_id, self.last_link) = before;
            }
            match answer {
                Ok(Answer::Reply(Reply::Response(response))) => {
                    if self.is_shared() {
                        self.schema = lane.schema.clone();
                    }
                    self.note_written(&response, statement.effect == Effect::Read);
                    if self.is_own() {
                        self.note_on_lane(&response, statement, lane);
                        if lane.was_changed_by(self.id) {
                            self.claim(lane.id, statement.digest, deadline).await?;
                        }
                    }
                    return Ok(Some(response));
                }
                Ok(Answer::Late) => {
                    let time = deadline.map_or(Duration::ZERO, |(_, time)| time);
                    let e = StatementTimeout::new(&self.server_name(), time, Ran::Maybe);
                    return Err(e.into());
                }
                // Displaced between the two, or never sent: another try is none the wiser.
                Ok(_) if tries < 3 => {}
                Ok(_) => return Ok(None),
                // It may be so again on the next lane: a session of one's own is the way out.
                Err(Error::ConnectionLost(e))
                    if e.ran == Ran::No && matches!(e.cause, LostCause::SessionChanged) =>
                {
                    return Ok(None);
                }
                // Not sent whole, or sent and without effect whenever it runs.
                Err(Error::ConnectionLost(e))
                    if tries < 3
                        && (e.ran == Ran::No
                            || (statement.effect == Effect::Read && began.elapsed() < AGAIN))
                        && !self.is_shared() =>
                {
                    lost = Some(Error::ConnectionLost(e));
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Prepares a statement on a lane.
    pub(super) async fn prepare_on(
        &mut self,
        sql: &[u8],
        known: Option<&Arc<Prepared>>,
        place: &Place,
        deadline: Deadline,
    ) -> Result<Arc<Prepared>> {
        let how = How {
            face: self.face,
            asked: Instant::now(),
            parts: None,
            digest: 0,
            max_result: usize::MAX,
            deadline: deadline.map(|(at, _)| at),
            careful: false,
            is_query: false,
            handle: self.id,
            insert_id: InsertId::Lost,
            is_first: false,
            under_way: None,
            limited: false,
        };
        let lane = place.lane();
        match place.ask(Asked::Prepare(sql), &how).await? {
            Answer::Reply(Reply::Prepared(made)) => {
                let made = made?;
                if let Some(known) = known
                    && known.params.len() != made.params.len()
                {
                    return Err(DriverError::MismatchedStmtParams {
                        required: made.params.len() as u16,
                        supplied: known.params.len(),
                    }
                    .into());
                }
                let capacity = self.party.opts.get_stmt_cache_size();
                Ok(lane.hold(made, sql, known, capacity))
            }
            _ => {
                let time = deadline.map_or(Duration::ZERO, |(_, time)| time);
                Err(StatementTimeout::new(&self.server_name(), time, Ran::No).into())
            }
        }
    }
}
