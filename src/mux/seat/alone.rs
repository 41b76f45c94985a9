//! On a link alone: taking one, making the session on it the handle's, running something there, and then
//! keeping it or letting it go.

use std::sync::atomic::Ordering;

use super::{Deadline, EVERYBODY, Seat, UnderHold, plan::Plan};
use crate::{
    error::{Error, Ran, Result},
    link::{NOBODY, Shape, Start, last_behind},
    mux::{
        op::{Done, Op},
        wish::{Got, Need},
    },
    proto::result::Response,
    session::user,
};

/// There is no such schema, or none that may be used: on one of several servers that is no matter of the
/// statement.
const NO_SCHEMA: [u16; 2] = [1049, 1044];

impl Seat {
    /// Runs one thing on a link alone whose session is this handle's.
    pub(super) async fn alone(
        &mut self,
        op: Op<'_>,
        plan: Plan,
        deadline: Deadline,
    ) -> Result<Done> {
        self.may_ask_there(&op, &plan)?;
        let mut running = Running::new(self);
        let done = running.seat.alone_to_the_end(op, plan, deadline).await;
        running.over = true;
        done
    }

    pub(super) async fn alone_to_the_end(
        &mut self,
        op: Op<'_>,
        plan: Plan,
        deadline: Deadline,
    ) -> Result<Done> {
        let why = op.why();
        let mut again = true;
        let mut op = Some(op);
        while let Some(this) = op.take() {
            self.take(why, plan.need(), deadline).await?;
            self.check(&plan)?;
            let was_kept = self.kept;
            let next = this.again();
            let read = match this {
                Op::Read(sql, _) => Some(sql),
                _ => None,
            };
            next.parts().inspect(|parts| parts.begin());
            let ran = match self.begin_and(&plan, deadline, read).await {
                Ok(Some(response)) => {
                    self.note(&plan, &response);
                    Ok(Done::Response(response))
                }
                Ok(None) => self.on_link(this, &plan, deadline).await,
                Err(e) => Err(e),
            };
            self.after(ran.as_ref().err()).await?;
            match ran {
                // Not sent whole and no state gone with the link: another link does as well.
                Err(Error::ConnectionLost(lost)) if lost.ran == Ran::No && !was_kept && again => {
                    again = false;
                    op = Some(next);
                }
                ran => return ran,
            }
        }
        Ok(Done::Nothing)
    }

    pub(super) async fn on_link(
        &mut self,
        op: Op<'_>,
        plan: &Plan,
        deadline: Deadline,
    ) -> Result<Done> {
        self.prepare_for(plan).await?;
        let infile = self.party.opts.get_local_infile_handler().cloned();
        if op.text().is_some() {
            self.begin_writing(plan.neutral && !plan.writes);
        }
        let Some(link) = &mut self.held else {
            return Ok(Done::Nothing);
        };
        link.deadline = deadline;
        self.connection_id = link.server.connection_id;
        let done = match op {
            Op::Query(sql, parts) | Op::Read(sql, parts) => {
                let response = link.query(sql, infile.as_ref(), parts).await;
                response.map(Done::Response)
            }
            Op::Prepare(sql) => {
                // MySQL keeps the types of user variables with a statement; and whether one clears the
                // warnings that are asked for, the server shows.
                let is_typed = plan.pins() && !link.server.mariadb;
                let keeps = self.keeps_diagnostics && self.has_left_warnings;
                let made = link.prepare(sql, is_typed || keeps).await;
                if let Err(Error::MySqlError(_)) = &made {
                    link.session.last = self.id;
                    link.session.warnings_of = self.id;
                    self.warnings_link = link.id;
                    self.has_left_warnings = true;
                }
                made.map(|(statement, is_new)| Done::Prepared { statement, is_new })
            }
            Op::Execute(statement, params, parts) => {
                let response = link.execute(statement, params, parts).await;
                response.map(Done::Response)
            }
            Op::Close(statement) => link
                .close_statement(statement)
                .await
                .map(|()| Done::Nothing),
            Op::InitDb(schema) => link.init_db(schema).await.map(Done::Ok),
            Op::Ping => link.ping().await.map(Done::Ok),
            Op::Statistics => link.statistics().await.map(Done::Line),
            Op::Hold => Ok(Done::Nothing),
            Op::StartQuery(sql) => link.start_query(sql).await.map(|()| Done::Nothing),
            Op::StartExecute(statement, params) => link
                .start_execute(statement, params)
                .await
                .map(|()| Done::Nothing),
        };
        match &done {
            Ok(Done::Response(response)) => self.note(plan, response),
            _ => {
                self.note(plan, &Response::default());
                self.has_left_warnings |= done.is_err();
            }
        }
        done
    }

    /// Sees to it that the seat has a link alone that lives and is at rest: the one it has, if it
    /// does, or another.
    pub(super) async fn take(
        &mut self,
        why: &'static str,
        need: Need,
        deadline: Deadline,
    ) -> Result<()> {
        if let Some(owed) = self.rare.as_mut().and_then(|rare| rare.owed.take()) {
            return Err(owed);
        }
        self.come_back().await?;
        self.end_stream().await?;
        if let Some(link) = &mut self.held {
            link.face = self.face;
            let was_given_up = !link.is_quiet();
            if was_given_up {
                self.settle().await?;
            }
            self.catch_up(was_given_up).await?;
        }
        if self.under_hold == UnderHold::Open
            && let Some(link) = &mut self.held
        {
            // Where it fails the link is gone, and the transaction with it.
            drop(link.query(b"ROLLBACK", None, None).await);
            self.under_hold = UnderHold::Session;
        }
        if let Some(link) = &mut self.held {
            if link.is_alive() {
                return Ok(());
            }
            self.lose()?;
        }
        match self.acquire(why, need, deadline).await? {
            Got::Link(link) => {
                self.held = Some(link);
                self.kept = false;
            }
            Got::Place(..) | Got::Nothing => {}
        }
        if let Some(link) = &mut self.held {
            link.face = self.face;
            self.server = Some(link.server.clone());
        }
        Ok(())
    }

    /// Makes the session on the link this handle's.
    pub(super) async fn begin(&mut self, plan: &Plan, deadline: Deadline) -> Result<()> {
        self.begin_and(plan, deadline, None).await.map(drop)
    }

    /// The same; where it has something to send, `read` goes with it.
    async fn begin_and(
        &mut self,
        plan: &Plan,
        deadline: Deadline,
        read: Option<&[u8]>,
    ) -> Result<Option<Response>> {
        let (own, shared) = (self.is_own(), self.is_shared());
        let keeps = self.keeps_diagnostics;
        let is_routed = self.route().is_some();
        self.begin_plan();
        let Some(link) = &mut self.held else {
            return Ok(None);
        };
        link.deadline = deadline;
        link.set_limits(
            self.party.opts.get_stmt_cache_size(),
            self.party.opts.get_max_result_size(),
        );
        let begin = self.party.opts.session();
        if shared {
            if link.session.owner != EVERYBODY {
                link.begin(begin.as_begun(), false).await?;
                link.session.owner = EVERYBODY;
                link.session.start = Start::Used;
            }
            let lost = self.party.account.lost_sessions.load(Ordering::Relaxed);
            if std::mem::replace(&mut self.lost_sessions, lost) != lost {
                let what = "what was set on the session that its handles share".to_owned();
                return Err(Error::SessionLost {
                    server: link.name.clone(),
                    lost: what,
                });
            }
            return Ok(None);
        }
        let mut as_begun = link.session.is_as_begun(begin);
        let ours = if own {
            self.kept && link.session.owner == self.id
        } else {
            // What neutral statements leave of others is seen by none that is neutral itself.
            as_begun &=
                link.session.vars.is_none() && (plan.neutral || link.session.owner == NOBODY);
            link.session.owner == self.id || (as_begun && link.session.schema == self.schema)
        };
        let mut response = None;
        if !ours {
            if self.schema.is_none() && link.session.schema.is_some() {
                // A reset keeps the schema, and there is no command that leaves one.
                link.change_user(self.party.opts.identity(), None).await?;
                as_begun = false;
            }
            if plan.is_fresh() || own && user::are_others(&link.session.user, &self.user) {
                as_begun = false;
                link.session.start = Start::Used;
            }
            let vars = link.session.without_base_if(as_begun, &self.vars);
            let shape = Shape {
                schema: self.schema.as_deref(),
                vars: &vars,
                user: &self.user,
                begin,
            };
            let read = read.filter(|_| !plan.is_exact() && !keeps);
            let begun = link.begin_and(shape, as_begun, read).await;
            response = match begun {
                // What could not be put back may be undone by a reset.
                Err(Error::MySqlError(_)) if own && as_begun && link.session.changed => {
                    let shape = Shape {
                        vars: &self.vars,
                        ..shape
                    };
                    link.begin_and(shape, false, read).await?
                }
                Err(Error::MySqlError(e)) if is_routed && NO_SCHEMA.contains(&e.code) => {
                    return Err(Error::SessionNotRestored {
                        server: link.name.clone(),
                        what: e.to_string(),
                    });
                }
                begun => begun?,
            };
        }
        link.session.owner = self.id;
        if plan.is_statement {
            let prepares = plan.prepares && !plan.is_fresh();
            link.session.last = last_behind(link.session.last, self.id, prepares);
        }
        link.session.start = Start::Used;
        if !plan.neutral && !own {
            link.session.clean = None;
        }
        Ok(response)
    }

    /// Gives the link back, or keeps it where the session can't leave it.
    pub(super) async fn after(&mut self, failed: Option<&Error>) -> Result<()> {
        self.defined();
        if let Some(Error::StatementTimeout(_)) = failed {
            self.settle().await?;
        }
        let (own, shared) = (self.is_own(), self.is_shared());
        let Some(link) = &mut self.held else {
            return Ok(());
        };
        link.deadline = None;
        if !link.is_usable() {
            return match failed {
                // The error at hand says it.
                Some(Error::ConnectionLost(_)) => {
                    self.give_up();
                    Ok(())
                }
                Some(_) => {
                    if let Err(e) = self.lose() {
                        self.owe(e);
                    }
                    Ok(())
                }
                None => self.lose(),
            };
        }
        // What was not run, or not to its end, may have done less than its text tells.
        let error = link.session.error.take().or(failed.map(|_| 0));
        link.session.drop_guard();
        let theirs = link.session.owner == self.id;
        let asks = match own {
            // A link that is kept may tell with the next statement.
            true => {
                let may_differ =
                    link.session.may_have_changed() || link.session.awaits_transaction();
                may_differ && !self.kept && !self.keeps_diagnostics
            }
            false => !shared && link.session.clean.is_none(),
        };
        if link.session.unsure && asks && theirs {
            if link.ping().await.is_err() {
                // The statement's own error stands; the link is gone with whatever it held.
                self.give_up();
                return Ok(());
            }
            link.session.last = NOBODY;
        }
        if own && theirs && !self.streaming && self.follow(error).await.is_err() {
            // The same.
            let lost = self.lose();
            if let Err(e) = lost {
                self.owe(e);
            }
            return Ok(());
        }
        self.let_go();
        Ok(())
    }
}

/// A statement under way on a link alone, whose caller may go away.
pub(super) struct Running<'a> {
    pub seat: &'a mut Seat,
    /// It counts among what keeps the link.
    pub holds: bool,
    /// What was taken from the seat meanwhile: it keeps what statements leave.
    pub keeps: bool,
    pub over: bool,
}

impl<'a> Running<'a> {
    pub(super) fn new(seat: &'a mut Seat) -> Self {
        Running {
            seat,
            holds: false,
            keeps: false,
            over: false,
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        self.seat.holds -= u16::from(self.holds);
        self.seat.keeps_diagnostics |= self.keeps;
        self.seat.abandon();
    }
}
