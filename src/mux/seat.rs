//! A handle's place at the mux: has a statement run on a lane where it neither needs nor changes the
//! session; else takes a link alone, makes the session on it the handle's, runs it, and gives the
//! link back or keeps it for as long as the session can't leave it.
//!
//! Everything here can be given up between two waits: what a caller that goes away leaves behind is
//! in the seat, and is finished by the next one.

mod alone;
mod commands;
mod hold;
mod known;
mod lane;
mod leave;
mod many;
mod own;
mod plan;
mod route;
mod stream;

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use mysql_common::value::Value;

use self::known::Reached;
use super::{
    Mux,
    backends::Route,
    catalog::Catalog,
    left::Left,
    limited,
    op::{Done, Op},
    party::Party,
    recent,
    wish::Need,
};
use crate::{
    error::{DriverError, Error, Result},
    link::{Asked, Face, Link, Parts, Place, Prepared},
    opts::{Isolation, LocalInfileHandler, Opts},
    proto::{
        handshake::ServerInfo,
        result::{OkInfo, Outcome, Response},
    },
    session::{
        InsertId, seen,
        variables::{ROLE, Shared, awaits_transaction, same_for_text},
    },
    sql::{self, Effect},
};

/// The owner of a session that all handles of an account share.
const EVERYBODY: u64 = u64::MAX;

/// How long a statement that was given up may go on before it is ended.
const PATIENCE: Duration = Duration::from_millis(50);

/// Parameters of more bytes are sent in pieces, on a link alone.
const MANY_BYTES: usize = 1 << 20;

const NO_TIMEOUT: u64 = u64::MAX;

/// A time as a seat keeps it, in as few bytes as it can: what doesn't fit is longer than anything runs.
fn nanos(time: Option<Duration>) -> u64 {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    time.map_or(NO_TIMEOUT, |time| nanos(time).min(NO_TIMEOUT - 1))
}

/// What an API's transaction, which holds the link, began on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UnderHold {
    /// No link was kept before.
    Nothing,
    /// One was.
    Session,
    /// The transaction was left open on it.
    Open,
}

/// Where a handle stands.
#[derive(Debug)]
pub(crate) struct Seat {
    /// Its mux, its options, and the account that it is at now.
    party: Arc<Party>,
    id: u64,
    /// The link that it has alone, while it runs something there or its session can't leave it.
    held: Option<Box<Link>>,
    /// As its last link met it.
    server: Option<Arc<ServerInfo>>,
    /// The handle's current schema.
    schema: Option<Arc<str>>,
    /// The variables that it has set.
    vars: Shared,
    /// The user variables that it has set, but for those that stay on the link that it has.
    user: Shared,
    /// Where its `LAST_INSERT_ID()` is, and which statement made it.
    insert_id: InsertId,
    insert_digest: u32,
    /// The one before that.
    insert_digest_before: u32,
    /// The link that ran its last statement; 0: there was none.
    last_link: u32,
    /// The link that had its last result set, for `FOUND_ROWS()`.
    rows_link: u32,
    /// The link that has its warnings.
    warnings_link: u32,
    /// The lane that a write of its may still run on, for whose reply nobody waits any more; 0: none.
    unanswered: u32,
    /// The link that ran its last transaction, as far as the server reports them.
    gtid_link: u32,
    /// Shared sessions that were lost before this handle, or of which it was told.
    lost_sessions: u32,
    ok: OkInfo,
    /// In nanoseconds; [`NO_TIMEOUT`]: none.
    timeout: u64,
    connection_id: u32,
    /// Wishes to keep the link, whatever the session's state.
    holds: u16,
    /// Of them leases.
    leases: u16,
    face: Face,
    /// The link is kept from one statement to the next.
    kept: bool,
    /// It left a link whose session may have more of it than the server tells.
    owns: bool,
    /// What each statement leaves is kept until the next one.
    keeps_diagnostics: bool,
    /// There may be warnings or an error that a statement of its own left.
    has_left_warnings: bool,
    /// A stream has not come to its end.
    streaming: bool,
    under_hold: UnderHold,
    /// What few handles have at a time.
    rare: Option<Box<Rare>>,
    /// What is known of its schema's views and triggers.
    catalog: Option<Arc<Catalog>>,
    /// The statement under way may change what is defined.
    defines: bool,
}

/// What an idle handle has no room for.
#[derive(Debug, Default)]
struct Rare {
    /// What was left in the middle of a statement.
    left: Option<Arc<Left>>,
    /// An error that there was nobody to tell.
    owed: Option<Error>,
    /// Where there are several servers.
    route: Option<Route>,
}

/// When a statement is given up, and after which time that is.
type Deadline = Option<(Instant, Duration)>;

impl Seat {
    /// A place for a handle with these options. Does I/O only where no link stands that has proven
    /// the same credentials.
    pub(crate) async fn open(mux: &Mux, opts: Opts, face: Face) -> Result<Seat> {
        opts.check()?;
        let id = recent::number();
        let mut rare = None;
        let party = if opts.backends().is_empty() {
            mux.enter(&opts, id, face).await?
        } else {
            let backends = mux.enter_backends(&opts, id, face).await?;
            let home = backends.home().clone();
            home.join();
            rare = Some(Box::new(Rare {
                route: Some(Route::new(backends, opts.get_prefer())),
                ..Rare::default()
            }));
            Arc::new(Party::guest(mux, &opts, home))
        };
        Ok(Seat {
            id,
            held: None,
            server: None,
            schema: party.schema.clone(),
            vars: None,
            user: None,
            insert_id: InsertId::Known(0),
            insert_digest: 0,
            insert_digest_before: 0,
            last_link: 0,
            rows_link: 0,
            warnings_link: 0,
            unanswered: 0,
            gtid_link: 0,
            lost_sessions: party.account.lost_sessions.load(Ordering::Relaxed),
            ok: OkInfo::default(),
            timeout: nanos(opts.get_statement_timeout()),
            connection_id: 0,
            holds: 0,
            leases: 0,
            face,
            kept: false,
            owns: false,
            keeps_diagnostics: opts.get_keep_diagnostics(),
            has_left_warnings: false,
            streaming: false,
            under_hold: UnderHold::Nothing,
            rare,
            catalog: None,
            defines: false,
            party,
        })
    }

    fn is_shared(&self) -> bool {
        self.party.opts.get_isolation() == Isolation::Shared
    }

    fn deadline(&self) -> Deadline {
        /// What is further away never comes; no server takes a longer limit.
        const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
        let time = self.timeout().filter(|time| *time < YEAR)?;
        Some((Instant::now().checked_add(time)?, time))
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        (self.timeout != NO_TIMEOUT).then(|| Duration::from_nanos(self.timeout))
    }

    pub(crate) fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = nanos(timeout);
    }

    /// Runs a text. Where there are `parts` the caller takes the rows of a large result while it comes.
    pub(crate) async fn query(&mut self, sql: &[u8], parts: Option<&Parts>) -> Result<Response> {
        let statement = seen::read(sql);
        let deadline = self.deadline();
        let response = self
            .statement(Op::Query(sql, parts), &statement, deadline)
            .await?;
        self.keep_ok(&response);
        Ok(response)
    }

    async fn prepare_here(&mut self, sql: &[u8]) -> Result<Arc<Prepared>> {
        let deadline = self.deadline();
        if self.has_left() {
            self.come_back().await?;
        }
        // What a failure leaves may be asked for.
        let keeps = self.is_own() && self.keeps_diagnostics;
        let plan = self.plan_prepare(sql)?;
        if self.route().is_some() {
            self.go_for(seen::read(sql).effect, Some(sql), deadline)
                .await?;
        }
        let shares = self.can_share() && !keeps && !plan.pins();
        if shares && let Some(held) = self.prepared(sql) {
            self.forget_warnings(&held);
            return Ok(held);
        }
        if shares && let Some(place) = self.place(Need::Place, deadline).await? {
            let lane = place.lane();
            if let Some(held) = lane.holds(sql) {
                self.forget_warnings(&held);
                return Ok(held);
            }
            // The lane stays one until it knows of the statement.
            let _second = Place::take(lane);
            match self.prepare_on(sql, None, &place, deadline).await {
                Err(Error::ConnectionLost(_)) => {}
                Err(e @ Error::MySqlError(_)) => {
                    self.last_link = lane.id;
                    self.warnings_link = lane.id;
                    self.has_left_warnings = true;
                    return Err(e);
                }
                done => {
                    if let Ok(made) = &done
                        && self.warnings_link != lane.id
                    {
                        self.forget_warnings(made);
                    }
                    return done;
                }
            }
        }
        match self.alone(Op::Prepare(sql), plan, deadline).await? {
            Done::Prepared { statement, is_new } => {
                if !is_new {
                    self.forget_warnings(&statement);
                }
                Ok(statement)
            }
            _ => Err(DriverError::MuxShutDown.into()),
        }
    }

    /// As [`Self::query`], of a statement that was prepared.
    pub(crate) async fn execute(
        &mut self,
        statement: &Arc<Prepared>,
        params: &[Value],
        parts: Option<&Parts>,
    ) -> Result<Response> {
        let op = Op::Execute(statement, params, parts);
        let deadline = self.deadline();
        let response = self.statement(op, &statement.statement, deadline).await?;
        self.keep_ok(&response);
        Ok(response)
    }

    /// As neutral as it may be, it is not for a lane: it was prepared with another schema or other variables,
    /// or it would hold up all others there.
    #[inline]
    fn is_apart(&self, op: &Op<'_>) -> bool {
        let Op::Execute(statement, params, _) = op else {
            return false;
        };
        let elsewhere = !self.is_shared()
            && (statement.schema != self.schema || !same_for_text(&statement.vars, &self.vars));
        elsewhere || params.iter().map(size_of_value).sum::<usize>() > MANY_BYTES
    }

    pub(crate) fn last_ok(&self) -> &OkInfo {
        &self.ok
    }

    /// The server as it was met last.
    pub(crate) fn server(&self) -> Option<&ServerInfo> {
        self.server
            .as_deref()
            .or_else(|| self.party.account.group.server())
    }

    pub(crate) fn connection_id(&self) -> u32 {
        self.connection_id
    }

    pub(crate) fn set_local_infile_handler(&mut self, handler: Option<LocalInfileHandler>) {
        let opts = self.party.opts.with_local_infile_handler(handler);
        Arc::make_mut(&mut self.party).opts = opts;
    }

    pub(crate) fn opts(&self) -> &Opts {
        &self.party.opts
    }

    /// The last OK is what a connection of one's own would tell: an error leaves zeros.
    #[inline]
    fn keep_ok(&mut self, response: &Response) {
        self.ok = match response.outcomes.back().and_then(Outcome::ok) {
            Some(ok) => ok.clone(),
            None => OkInfo::default(),
        };
    }

    /// Where a statement runs is decided by what it may do.
    async fn statement_here(
        &mut self,
        op: Op<'_>,
        statement: &sql::Statement,
        deadline: Deadline,
    ) -> Result<Response> {
        if self.has_left() {
            self.come_back().await?;
        }
        // The usual case, of which there is nothing to wait for.
        let is_known = self.is_known_neutral(&op, statement);
        let (reached, neutral) = match is_known && self.is_where_it_runs(&op, statement) {
            true => (None, true),
            false => self.look(&op, statement, deadline).await?,
        };
        if !neutral {
            self.note_writes();
        }
        let slow = neutral && self.party.account.group.digests.is_slow(statement.digest);
        if neutral && self.can_share() && !self.must_be_alone(statement) && !self.is_apart(&op) {
            let limited = match (&op, deadline) {
                (Op::Query(sql, _), Some((_, time))) => {
                    let server = self.server();
                    Some(server.and_then(|server| limited::query(sql, statement, time, server)))
                }
                // A prepared statement can't carry a limit.
                (_, Some(_)) => Some(None),
                (_, None) => None,
            };
            let asked = match (&op, &limited) {
                (Op::Query(..), Some(Some(sql))) => Some(Asked::Query(sql)),
                (_, Some(None)) => None,
                (Op::Query(sql, _), _) => Some(Asked::Query(sql)),
                (Op::Execute(prepared, params, _), _) => Some(Asked::Execute(prepared, params)),
                _ => None,
            };
            let need = match slow {
                true if self.party.account.group.limits.max_links > 1 => Need::Slow,
                _ => Need::Place,
            };
            let ran = match asked {
                Some(asked) => {
                    self.on_lane(asked, op.parts(), statement, need, deadline)
                        .await
                }
                None => Ok(None),
            };
            match (ran, &op, deadline) {
                (Ok(Some(response)), _, Some((_, time))) => {
                    return limited::outcome(response, time, &self.server_name());
                }
                (Ok(Some(response)), _, None) => return Ok(response),
                // A link alone sends its parameters one by one.
                (Err(Error::PacketTooLarge { .. }), Op::Execute(..), _) | (Ok(None), ..) => {}
                (Err(e), ..) => return Err(e),
            }
        }
        // With a link at hand: a wait for one is not the statement's time.
        let began = (slow && self.held.is_some()).then(Instant::now);
        let op = match op {
            Op::Query(sql, parts) if statement.effect == Effect::Read && reached.is_none() => {
                Op::Read(sql, parts)
            }
            op => op,
        };
        let plan = self.plan(neutral, statement, op.text_that(&reached, statement))?;
        let done = self.alone(op, plan, deadline).await?;
        if let Some(began) = began {
            let digests = &self.party.account.group.digests;
            digests.took(statement.digest, began.elapsed());
        }
        Ok(done.response())
    }

    /// What [`Self::look`] would find, if it is that, where nothing has to be done for it.
    #[inline]
    fn is_known_neutral(&self, op: &Op<'_>, statement: &sql::Statement) -> bool {
        self.reaches_nothing(op, statement) && self.is_neutral(statement.effect, &None)
    }

    /// Goes there, if there are several servers.
    #[inline]
    fn is_where_it_runs(&mut self, op: &Op<'_>, statement: &sql::Statement) -> bool {
        self.route().is_none() || {
            let sql = op.text().map(|(sql, _)| sql);
            self.goes_for(statement.effect, sql)
        }
    }

    /// What a statement reaches, and whether it is neutral. The seat is where it is to run then.
    async fn look(
        &mut self,
        op: &Op<'_>,
        statement: &sql::Statement,
        deadline: Deadline,
    ) -> Result<(Reached, bool)> {
        let sql = op.text().map(|(sql, _)| sql);
        self.go_for(statement.effect, sql, deadline).await?;
        let reached = self.reach(op, statement, deadline).await?;
        let neutral = self.is_neutral(statement.effect, &reached);
        if !neutral && statement.effect != Effect::Other {
            self.go_for(Effect::Other, None, deadline).await?;
        }
        Ok((reached, neutral))
    }

    /// It needs and changes nothing of the session, by its text nor by what it reaches.
    fn is_neutral(&self, effect: Effect, reached: &Reached) -> bool {
        effect != Effect::Other && !self.shows_sessions() && reached.is_none()
    }

    /// Plain names of tables may be views of the session.
    fn shows_sessions(&self) -> bool {
        const SCHEMAS: [&str; 3] = ["information_schema", "performance_schema", "sys"];
        let schema = self.schema.as_deref();
        schema.is_some_and(|name| SCHEMAS.iter().any(|s| s.eq_ignore_ascii_case(name)))
    }

    fn server_name(&self) -> Arc<str> {
        self.party.account.group.target.endpoint.to_string().into()
    }

    /// The session stands on no link, so that any lane does.
    fn can_share(&self) -> bool {
        self.held.is_none()
            && self.rare.as_ref().is_none_or(|rare| rare.owed.is_none())
            && self.holds == 0
            && !awaits_transaction(&self.vars)
            && (!self.is_shared()
                || self.party.account.lost_sessions.load(Ordering::Relaxed) == self.lost_sessions)
    }

    /// The role that it has set, for `SET ROLE`; empty: the one that it began with.
    fn role(&self) -> &str {
        let kept = self.held.as_ref().filter(|_| self.kept);
        let vars = kept.map_or(&self.vars, |link| &link.session.vars);
        let role = vars.as_deref().and_then(|vars| vars.get(ROLE));
        role.and_then(|role| std::str::from_utf8(role).ok())
            .unwrap_or("")
    }
}

fn size_of_value(value: &Value) -> usize {
    match value {
        Value::Bytes(bytes) => bytes.len(),
        _ => 16,
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave_link();
        let home = self.home();
        home.group.parted(self.id);
        if self.route().is_some() {
            home.exit();
        }
    }
}
