//! A handle's place at the mux: has a statement run on a lane where it neither needs nor changes the
//! session; else takes a link alone, makes the session on it the handle's, runs it, and gives the
//! link back or keeps it for as long as the session can't leave it.
//!
//! Everything here can be given up between two waits: what a caller that goes away leaves behind is
//! in the seat, and is finished by the next one.

mod known;
mod own;
mod route;

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use mysql_common::value::Value;

use known::Reached;
use own::{Plan, Read, texts_of};

use super::{
    Mux,
    backends::Route,
    catalog::Catalog,
    housekeeper::Leftover,
    left::Left,
    limited,
    marks::half,
    op::{Done, Op},
    party::Party,
    recent,
    wish::{Close, Got, Like, Need, Wish},
};
use crate::{
    error::{DriverError, Error, LostCause, Ran, Result, StatementTimeout},
    link::{
        Answer, Ask, Asked, Face, How, Kill, Link, NOBODY, Parts, Place, Prepared, Shape, Streamed,
        kill, last_behind, offload,
    },
    opts::{ChangeUserOpts, Isolation, LocalInfileHandler, Opts, OptsBuilder},
    proto::{
        handshake::ServerInfo,
        pipeline::Reply,
        result::{OkInfo, Outcome, Response},
    },
    session::{
        InsertId, seen, user,
        variables::{ROLE, Shared, awaits_transaction, same_for_text},
    },
    sql::{self, Effect},
};

/// The owner of a session that all handles of an account share.
const EVERYBODY: u64 = u64::MAX;

/// How long a statement that was given up may go on before it is ended.
const PATIENCE: Duration = Duration::from_millis(50);

/// How long the server may take to end a statement.
const ENDING: Duration = Duration::from_secs(5);

/// A read that had run for longer when its link was lost is not run again: somebody may have ended
/// it.
const AGAIN: Duration = Duration::from_secs(1);

/// Statements of many that are ended one by one; then it is the connection.
const KILLS: u32 = 3;

/// There is no such schema, or none that may be used: on one of several servers that is no matter of the
/// statement.
const NO_SCHEMA: [u16; 2] = [1049, 1044];

/// A piece of a stream is what came at once, whatever the limit of a result.
const PIECE: usize = 16 << 20;

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
        self.come_back();
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
        self.come_back();
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
        self.come_back();
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
        let drained = link.drain().await;
        self.streaming = false;
        if drained {
            return self.after(None).await;
        }
        self.lose()
    }

    /// Has the server forget a statement, if the link at hand holds it; the others forget it as
    /// their caches turn over.
    pub(crate) async fn close_statement(&mut self, statement: &Arc<Prepared>) -> Result<()> {
        let deadline = self.deadline();
        self.go_anywhere(deadline).await?;
        self.alone(Op::Close(statement), Plan::neutral(), deadline)
            .await
            .map(drop)
    }

    pub(crate) async fn ping(&mut self) -> Result<()> {
        let deadline = self.deadline();
        self.go_anywhere(deadline).await?;
        if let Done::Ok(ok) = self.alone(Op::Ping, Plan::neutral(), deadline).await? {
            self.ok = ok;
        }
        Ok(())
    }

    pub(crate) async fn statistics(&mut self) -> Result<String> {
        let deadline = self.deadline();
        self.go_anywhere(deadline).await?;
        match self
            .alone(Op::Statistics, Plan::neutral(), deadline)
            .await?
        {
            Done::Line(line) => Ok(line),
            _ => Ok(String::new()),
        }
    }

    pub(crate) async fn select_db(&mut self, schema: &str) -> Result<()> {
        let deadline = self.deadline();
        self.go_or_stay(deadline).await?;
        if let Done::Ok(ok) = self
            .alone(Op::InitDb(schema), Plan::command(), deadline)
            .await?
        {
            self.ok = ok;
        }
        Ok(())
    }

    /// The session as new: what was set is undone, the options' schema and init statements stand.
    pub(crate) async fn reset(&mut self) -> Result<()> {
        let mut running = Running::new(self);
        let reset = running.seat.reset_to_the_end().await;
        running.over = true;
        reset
    }

    async fn reset_to_the_end(&mut self) -> Result<()> {
        // What is lost of the session that ends is missed by nobody.
        if let Some(rare) = &mut self.rare {
            let owed = &mut rare.owed;
            owed.take_if(|e| matches!(e, Error::SessionLost { .. }));
        }
        self.schema = self.party.schema.clone();
        self.vars = None;
        self.user = None;
        self.insert_id = InsertId::Known(0);
        (self.last_link, self.gtid_link) = (0, 0);
        self.has_left_warnings = false;
        let deadline = self.deadline();
        self.come_back();
        match self.party.opts.session().init.is_empty() {
            true => self.go_anywhere(deadline).await?,
            // They may do what keeps the handle there.
            false => self.go_or_stay(deadline).await?,
        }
        self.take("resetting the session", Need::Alone, deadline)
            .await?;
        if let Some(link) = &mut self.held {
            // Whoever's session it is: the next step begins it anew.
            link.session.disown();
        }
        let begun = self.begin(&Plan::neutral(), deadline).await;
        if let Some(link) = &mut self.held {
            // It left nothing that could be asked for.
            link.session.last = NOBODY;
        }
        let after = self.after(begun.as_ref().err()).await;
        self.last_link = 0;
        after?;
        begun
    }

    /// The handle becomes another user's, with a session as new. On failure it stays who it was,
    /// with a session as new.
    pub(crate) async fn change_user(&mut self, change: ChangeUserOpts) -> Result<()> {
        let mut builder = OptsBuilder::from_opts(self.party.opts.clone());
        if let Some(user) = change.user() {
            builder = builder.user(user);
        }
        if let Some(pass) = change.pass() {
            builder = builder.pass(pass);
        }
        if let Some(db_name) = change.db_name() {
            builder = builder.db_name(db_name);
        }
        let opts = Opts::from(builder);
        self.leave_link();
        let mux = self.party.mux.clone();
        // The new place is proven before the old one is left.
        let new = Seat::open(&mux, opts, self.face).await?;
        let (holds, timeout) = (self.holds, self.timeout);
        *self = new;
        self.holds = holds;
        self.timeout = timeout;
        Ok(())
    }

    /// Keeps the link from here on, until as many [`Self::release`]. `reads_only`: for a transaction that
    /// does.
    pub(crate) async fn hold(&mut self, reads_only: bool) -> Result<()> {
        if self.holds == 0 && self.under_hold != UnderHold::Open {
            self.under_hold = match self.held {
                None => UnderHold::Nothing,
                Some(_) => UnderHold::Session,
            };
        }
        let deadline = self.deadline();
        self.come_back();
        self.go_to_hold(reads_only, deadline).await?;
        let mut running = Running::new(self);
        running.seat.holds = running.seat.holds.saturating_add(1);
        running.holds = true;
        let held = running
            .seat
            .alone_to_the_end(Op::Hold, Plan::neutral(), deadline)
            .await;
        running.over = true;
        if held.is_err() {
            running.seat.release();
        }
        held.map(drop)
    }

    /// The handle's next statement fails with this.
    pub(crate) fn owe(&mut self, e: Error) {
        self.rare.get_or_insert_default().owed = Some(e);
    }

    /// Rolls back what is open, before anything else runs. Where the session is nothing but a
    /// transaction, its link is left and that is done in the background.
    pub(crate) fn owe_rollback(&mut self) {
        if self.under_hold == UnderHold::Nothing && self.holds <= 1 {
            self.leave_link();
        } else if self.held.is_some() {
            self.under_hold = UnderHold::Open;
        }
    }

    pub(crate) fn release(&mut self) {
        self.holds = self.holds.saturating_sub(1);
        if self.holds > 0 {
            return;
        }
        // Nothing runs: what the link's session is, is known.
        if let Some(link) = &self.held
            && link.is_usable()
            && !self.streaming
        {
            self.let_go();
        }
    }

    /// The same, because the user wishes it.
    pub(crate) async fn lease(&mut self) -> Result<()> {
        self.hold(false).await?;
        self.leases = self.leases.saturating_add(1);
        Ok(())
    }

    pub(crate) fn end_lease(&mut self) {
        self.leases = self.leases.saturating_sub(1);
        self.release();
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
        self.come_back();
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

    fn wish(&self, need: Need, why: &'static str) -> Wish {
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
    fn place_now(&self, need: Need) -> Option<Place> {
        if self.owns || need != Need::Place {
            return None;
        }
        self.party.account.group.place(self.like())
    }

    /// A statement that the lane asked first holds already: the usual case, which takes no place.
    fn prepared(&self, sql: &[u8]) -> Option<Arc<Prepared>> {
        if self.owns {
            return None;
        }
        self.party.account.group.lane(self.like())?.holds(sql)
    }

    /// A place on a lane, or nothing: then the seat has a link alone.
    async fn place(&mut self, need: Need, deadline: Deadline) -> Result<Option<Place>> {
        match self.acquire("a statement", need, deadline).await? {
            Got::Place(place) => Ok(Some(place)),
            Got::Link(link) => {
                self.held = Some(link);
                Ok(None)
            }
            Got::Nothing => Ok(None),
        }
    }

    async fn acquire(&mut self, why: &'static str, need: Need, deadline: Deadline) -> Result<Got> {
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
    async fn on_lane(
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
            if self.party.account.group.wants_more() {
                self.party.mux.warm(&self.party.account.group);
            }
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
    async fn prepare_on(
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

    /// Runs one thing on a link alone whose session is this handle's.
    async fn alone(&mut self, op: Op<'_>, plan: Plan, deadline: Deadline) -> Result<Done> {
        self.may_ask_there(&op, &plan)?;
        let mut running = Running::new(self);
        let done = running.seat.alone_to_the_end(op, plan, deadline).await;
        running.over = true;
        done
    }

    async fn alone_to_the_end(
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

    async fn on_link(&mut self, op: Op<'_>, plan: &Plan, deadline: Deadline) -> Result<Done> {
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
    async fn take(&mut self, why: &'static str, need: Need, deadline: Deadline) -> Result<()> {
        if let Some(owed) = self.rare.as_mut().and_then(|rare| rare.owed.take()) {
            return Err(owed);
        }
        self.come_back();
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

    /// The link is gone. An error where session state went with it.
    fn lose(&mut self) -> Result<()> {
        let Some(link) = self.held.take() else {
            return Ok(());
        };
        // A session that was being begun when its task left is nobody's yet.
        let theirs = link.session.owner != NOBODY;
        let lost = match self.kept && self.holds > 0 {
            _ if theirs && self.is_own() => link.session.lost().or(self.hold_lost()),
            held => link
                .session
                .pin()
                .filter(|_| theirs)
                .map(|reason| reason.to_string())
                .or((held).then(|| "a transaction".to_owned())),
        };
        self.kept = false;
        if link.session.has_set_user_variables() {
            // Those that were read back before may be old.
            self.user = None;
        }
        let server = link.name.clone();
        let account = &self.party.account;
        account.group.give_up(link, account, Close::Lost);
        match lost {
            Some(lost) => Err(Error::SessionLost { server, lost }),
            None => Ok(()),
        }
    }

    /// Ends what runs on the link and was given up: it gets a moment, and is then killed. Nobody
    /// else uses the link, so nobody else is hit.
    async fn settle(&mut self) -> Result<()> {
        let Some(link) = &mut self.held else {
            return Ok(());
        };
        let mut settled = settle_for(link, PATIENCE).await;
        // What is behind the first one may be quick, or as slow.
        let mut kills = 0;
        while let Err(Error::StatementTimeout(_)) = settled
            && kills <= KILLS
        {
            kills += 1;
            let opts = self.party.account.opts.clone();
            let counters = self.party.account.group.counters.clone();
            let id = link.server.connection_id;
            let what = match kills <= KILLS {
                true => Kill::Query,
                false => Kill::Connection,
            };
            let before = link.in_flight();
            let kill = move || kill(&opts, what, id, &counters);
            if !matches!(offload(self.face, kill, drop).await, Ok(true)) {
                break;
            }
            let last = before == 1 || what == Kill::Connection;
            settled = settle_for(link, if last { ENDING } else { PATIENCE }).await;
            if settled.is_ok() {
                // Should the kill have come too late, this is what it hits.
                settled = link.query(b"DO 0", None, None).await.map(drop);
            }
        }
        link.deadline = None;
        match settled {
            Ok(()) => Ok(()),
            Err(_) => self.lose(),
        }
    }

    /// Makes the session on the link this handle's.
    async fn begin(&mut self, plan: &Plan, deadline: Deadline) -> Result<()> {
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
                link.session.start = crate::link::Start::Used;
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
                link.session.start = crate::link::Start::Used;
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
        link.session.start = crate::link::Start::Used;
        if !plan.neutral && !own {
            link.session.clean = None;
        }
        Ok(response)
    }

    /// Gives the link back, or keeps it where the session can't leave it.
    async fn after(&mut self, failed: Option<&Error>) -> Result<()> {
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

    fn give_up(&mut self) {
        self.kept = false;
        if let Some(link) = self.held.take() {
            let account = &self.party.account;
            account.group.give_up(link, account, Close::Lost);
        }
    }

    /// Lets go of the link unless the session can't leave it.
    fn let_go(&mut self) {
        let (own, shared) = (self.is_own(), self.is_shared());
        let Some(link) = &self.held else {
            return;
        };
        let group = &self.party.account.group;
        let ours = link.session.owner == self.id || shared;
        if ours {
            self.schema = link.session.schema.clone();
        }
        if ours && own {
            self.vars = link.session.vars.clone();
            self.user = link.session.user.clone();
        }
        let pins = match own {
            true => link.session.stays().is_some() || link.session.names_unknown,
            false => link.session.pin().is_some(),
        };
        if self.holds > 0 || (pins && ours && !shared) {
            self.kept = true;
            let why = self.pin().map(|pin| pin.to_string());
            group.note(link.id, why.unwrap_or_default());
            return;
        }
        self.kept = false;
        let begin = self.party.opts.session();
        let share = match shared {
            true => link.session.owner == EVERYBODY,
            false => ours && link.session.is_shareable(),
        };
        if !shared {
            self.owns = !share && ours;
        }
        if let Some(link) = self.held.take() {
            group.release(link, &self.party.account, share.then_some(begin));
        }
    }

    /// Leaves the link that is held, if one is: its session ends in the background.
    fn leave_link(&mut self) {
        if let Some(link) = self.held.take() {
            self.kept = false;
            if self.is_shared() && link.is_usable() {
                let Party { account, opts, .. } = &*self.party;
                return account.group.release(link, account, Some(opts.session()));
            }
            self.clean(link, true);
        }
    }

    fn clean(&mut self, link: Box<Link>, ends: bool) {
        let left = Arc::new(Left::new(link, std::mem::take(&mut self.streaming)));
        if !ends {
            self.rare.get_or_insert_default().left = Some(left.clone());
        }
        self.party.mux.clean(Leftover {
            left,
            account: self.party.account.clone(),
            ends,
        });
    }

    /// Whoever waited for a statement here went away. What is left of it is done in the background,
    /// unless the link is the handle's for longer anyway.
    fn abandon(&mut self) {
        self.defined();
        if self.kept || self.holds > 0 {
            return;
        }
        self.forget_what_was_left(true);
        if let Some(link) = self.held.take() {
            self.clean(link, false);
        }
    }

    /// Takes up what was left, if nobody has finished it.
    fn come_back(&mut self) {
        let Some(left) = self.rare.as_mut().and_then(|rare| rare.left.take()) else {
            return;
        };
        let mut left = left.0.lock();
        if let Some(link) = left.link.take() {
            self.held = Some(link);
            self.streaming = left.streaming;
        }
    }

    /// Leaves a stream before its end where nobody can wait for that.
    pub(crate) fn abandon_stream(&mut self) {
        if self.streaming {
            self.abandon();
        }
    }
}

/// A statement under way on a link alone, whose caller may go away.
struct Running<'a> {
    seat: &'a mut Seat,
    /// It counts among what keeps the link.
    holds: bool,
    /// What was taken from the seat meanwhile: it keeps what statements leave.
    keeps: bool,
    over: bool,
}

impl<'a> Running<'a> {
    fn new(seat: &'a mut Seat) -> Self {
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

async fn settle_for(link: &mut Link, time: Duration) -> Result<()> {
    link.deadline = Some((Instant::now() + time, time));
    link.settle().await
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
