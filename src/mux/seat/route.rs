//! Where there are several servers: which of them a handle's next statement goes to, and what it wrote
//! there. A link that is held settles it; where there is one server, nothing is done.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Deadline, Seat, alone::Running, plan::Plan};
use crate::{
    error::{DriverError, Error, Ran, Result, StatementTimeout},
    link::{Ask, Prepared, not_run},
    mux::{
        account::Account,
        backends::{Choice, Lacks, Member, Needs, Route, Wants},
        op::Op,
        wish::Need,
    },
    opts::{Consistency, Prefer},
    proto::result::{Outcome, Response},
    session::{PinReason, seen, variables::awaits_transaction},
    sql::{self, Effect},
};

/// How long a replica may take to have what the handle wrote; then the primary is asked.
const REPLICA_WAIT: Duration = Duration::from_millis(20);

/// Links that may be lost under a statement that is sent again.
const TRIES: u32 = 3;

/// Servers that may say that they take writes and refuse one.
const REFUSALS: u32 = 10;

const WHY: &str = "waiting for what was written";

impl Seat {
    pub(super) fn route(&self) -> Option<&Route> {
        self.rare.as_ref()?.route.as_ref()
    }

    fn route_mut(&mut self) -> Option<&mut Route> {
        self.rare.as_mut()?.route.as_mut()
    }

    /// The account that counts the handle's party, or the handle, and has what all servers know together.
    pub(super) fn home(&self) -> &Arc<Account> {
        match self.route() {
            Some(route) => route.backends.home(),
            None => &self.party.account,
        }
    }

    /// Where the handle is.
    fn member(&self) -> Option<&Arc<Member>> {
        self.route()?.at.as_ref()
    }

    fn go_to(&mut self, member: &Arc<Member>, is_primary: bool) {
        let Some(route) = self.route_mut() else {
            return;
        };
        route.on_replica = !is_primary;
        if !route.at.as_ref().is_some_and(|at| Arc::ptr_eq(at, member)) {
            route.at = Some(member.clone());
            Arc::make_mut(&mut self.party).go_to(&member.account);
        }
    }

    /// What the handle's reads prefer from here on.
    pub(crate) fn prefer(&mut self, prefer: Prefer) {
        if let Some(route) = self.route_mut() {
            route.prefer = prefer;
        }
    }

    /// Goes to where a statement of this effect is to run. `sql`: its text, where it is one.
    pub(super) async fn go_for(
        &mut self,
        effect: Effect,
        sql: Option<&[u8]>,
        deadline: Deadline,
    ) -> Result<()> {
        if self.route().is_none() {
            return Ok(());
        }
        let wants = self.wants_for(effect, sql);
        if !self.leave(wants, sql).await? {
            return self.may_stay(sql);
        }
        self.go(wants, deadline).await
    }

    /// As [`Self::go_for`], where nothing has to be waited for: the usual case. `false`: it takes more.
    pub(super) fn goes_for(&mut self, effect: Effect, sql: Option<&[u8]>) -> bool {
        if self.held.is_some() {
            return false;
        }
        let wants = self.wants_for(effect, sql);
        let needs = self.needs();
        let choice = self
            .route()
            .and_then(|route| route.backends.choose(wants, &needs));
        let Some(choice) = choice.filter(|choice| choice.lacks == Lacks::Nothing) else {
            return false;
        };
        if let Some(route) = self.route_mut() {
            route.wants = wants;
        }
        self.go_to(&choice.member, choice.is_primary);
        true
    }

    fn wants_for(&self, effect: Effect, sql: Option<&[u8]>) -> Wants {
        match effect {
            Effect::Read => self.wants_of_a_read(sql),
            Effect::Other if sql.is_some_and(sql::begins_read_only) => {
                self.wants_of_a_read_only_transaction()
            }
            Effect::Write | Effect::Other => Wants::Primary,
        }
    }

    /// As [`Self::go_for`], for statements that are sent together. Where they go is not for the first one to
    /// say, but it may ask for what is left.
    pub(super) async fn go_for_all(
        &mut self,
        effect: Effect,
        asks: &[Ask],
        deadline: Deadline,
    ) -> Result<()> {
        if self.route().is_none() || effect == Effect::Read {
            return self.go_for(effect, None, deadline).await;
        }
        let first = asks.first().map(Ask::sql);
        if self.leave(Wants::Primary, first).await? {
            return self.go(Wants::Primary, deadline).await;
        }
        if first.is_some_and(asks_for_what_was_left) {
            // The others are sent by themselves, then.
            return Ok(());
        }
        asks.iter()
            .try_for_each(|ask| self.may_stay(Some(ask.sql())))
    }

    /// Goes to where a link is to be held, for a transaction that only reads or for anything.
    pub(super) async fn go_to_hold(&mut self, reads_only: bool, deadline: Deadline) -> Result<()> {
        let wants = match reads_only {
            true => self.wants_of_a_read_only_transaction(),
            false => Wants::Primary,
        };
        self.leave(wants, None).await?;
        self.go(wants, deadline).await
    }

    /// As [`Self::go_for`], for what is done where the session is, or on the primary.
    pub(super) async fn go_or_stay(&mut self, deadline: Deadline) -> Result<()> {
        self.go(Wants::Primary, deadline).await
    }

    fn wants_of_a_read(&self, sql: Option<&[u8]>) -> Wants {
        // It would begin a transaction.
        let begins = awaits_transaction(&self.vars) || !self.commits_by_itself();
        let prefer = sql.and_then(hint);
        match begins {
            true => Wants::Primary,
            false => self.wants(prefer),
        }
    }

    fn wants_of_a_read_only_transaction(&self) -> Wants {
        // Without that, the end of one begins the next.
        match self.commits_by_itself() {
            true => self.wants(None),
            false => Wants::Primary,
        }
    }

    /// Where the handle's reads go, or one that has a hint.
    fn wants(&self, hint: Option<Prefer>) -> Wants {
        let Some(route) = self.route() else {
            return Wants::Primary;
        };
        let wrote = &route.wrote;
        let must = match self.party.opts.get_consistency() {
            Consistency::None => false,
            // It may still run.
            Consistency::Session => wrote.begun || wrote.lingers,
            Consistency::PrimaryFor(time) => {
                wrote.begun || wrote.lingers || wrote.at.is_some_and(|at| at.elapsed() < time)
            }
        };
        match hint.unwrap_or(route.prefer) {
            _ if must || route.writes => Wants::Primary,
            Prefer::Primary => Wants::Primary,
            Prefer::Replica => Wants::Replica,
            Prefer::Any => Wants::Any,
        }
    }

    /// As far as the handle says.
    fn commits_by_itself(&self) -> bool {
        let vars = self.vars.as_deref();
        let autocommit = vars.and_then(|vars| vars.get("autocommit"));
        let mentions = |sql: &String| sql.to_ascii_lowercase().contains("autocommit");
        autocommit.is_none_or(|value| value == b"ON")
            && (autocommit.is_some() || !self.party.opts.session().init.iter().any(mentions))
    }

    async fn go(&mut self, wants: Wants, deadline: Deadline) -> Result<()> {
        // What was left in the middle is on a link of where the handle was.
        self.come_back().await?;
        let Some(route) = self.route_mut() else {
            return Ok(());
        };
        route.wants = wants;
        if self.held.is_some() {
            return Ok(());
        }
        let choice = self.choose(wants, deadline).await?;
        self.go_to_chosen(choice, deadline).await
    }

    async fn go_to_chosen(&mut self, choice: Choice, deadline: Deadline) -> Result<()> {
        let member = &choice.member;
        self.go_to(member, choice.is_primary);
        match choice.lacks {
            Lacks::Nothing => Ok(()),
            Lacks::Wait => match self.catch_up_with(member, deadline).await? {
                true => Ok(()),
                false => self.go_to_primary(deadline).await,
            },
            Lacks::Sync => self.sync_with(member, deadline).await,
        }
    }

    async fn go_to_primary(&mut self, deadline: Deadline) -> Result<()> {
        let Choice { member, lacks, .. } = self.choose(Wants::Primary, deadline).await?;
        self.go_to(&member, true);
        match lacks {
            Lacks::Sync => self.sync_with(&member, deadline).await,
            Lacks::Nothing | Lacks::Wait => Ok(()),
        }
    }

    /// What the handle's statements need of a server.
    fn needs(&self) -> Needs<'_> {
        let Some(route) = self.route() else {
            return Needs::NONE;
        };
        let needs = Needs {
            max_lag: self.party.opts.get_max_lag(),
            balance: self.party.opts.get_balance(),
            not: route.lost_on,
            ..Needs::NONE
        };
        match self.party.opts.get_consistency() {
            Consistency::Session => Needs {
                wrote_at: route.wrote.at,
                wrote_on: route.wrote.on,
                told: !route.wrote.untold && !route.wrote.failed,
                gtids: &route.wrote.gtids,
                ..needs
            },
            _ => needs,
        }
    }

    async fn choose(&self, wants: Wants, deadline: Deadline) -> Result<Choice> {
        let Some(route) = self.route() else {
            unreachable!("only where there are several servers")
        };
        let needs = self.needs();
        if let Some(choice) = route.backends.choose(wants, &needs) {
            return Ok(choice);
        }
        let limit = Instant::now() + self.party.account.group.limits.acquire_timeout;
        let until = deadline.map_or(limit, |(at, _)| at.min(limit));
        let backends = route.backends.clone();
        let waited = backends.wait_for(wants, &needs, self.face, until).await;
        waited.map_err(|e| match (e, deadline) {
            (Error::NoBackend(_), Some((at, time))) if Instant::now() >= at => {
                StatementTimeout::new(&self.server_name(), time, Ran::No).into()
            }
            (e, _) => e,
        })
    }

    /// The link at hand was got for what only reads, and is none of the primary's.
    fn is_on_replica(&self) -> bool {
        self.held.is_some() && self.route().is_some_and(|route| route.on_replica)
    }

    /// Leaves a link that is kept for no more than what the last statement left there, before one that is for
    /// another server and asks for nothing of that. Whether the handle is where it may be, then.
    async fn leave(&mut self, wants: Wants, sql: Option<&[u8]>) -> Result<bool> {
        let on_replica = wants == Wants::Primary && self.is_on_replica();
        let is_over =
            |at: &Arc<Member>| !at.is_usable() || wants == Wants::Primary && !at.takes_writes();
        if self.held.is_none() || !on_replica && !self.member().is_some_and(is_over) {
            return Ok(true);
        }
        let is_quiet = self.held.as_ref().is_some_and(|link| link.is_quiet());
        if !is_quiet || self.holds > 0 || self.streaming || sql.is_some_and(asks_for_what_was_left)
        {
            return Ok(!on_replica);
        }
        let keeps = self.keeps_diagnostics;
        let mut running = Running::new(self);
        running.keeps = keeps;
        let left = running.seat.leave_now().await;
        running.over = true;
        drop(running);
        left?;
        Ok(wants != Wants::Primary || !self.is_on_replica())
    }

    async fn leave_now(&mut self) -> Result<()> {
        if let Some(link) = &mut self.held {
            link.session.pins.end(PinReason::Diagnostics);
            link.session.pins.end(PinReason::FoundRows);
        }
        let mut followed = Ok(());
        if self.is_own() {
            let keeps = std::mem::take(&mut self.keeps_diagnostics);
            // It reads back what could not be read without losing what is left now.
            followed = self.follow(None).await;
            self.keeps_diagnostics = keeps;
        }
        match followed {
            Ok(()) => {
                self.let_go();
                Ok(())
            }
            Err(_) => self.lose(),
        }
    }

    /// What is asked for of what was left is on a link to a replica.
    pub(super) fn asks_a_replica(&self, plan: &Plan) -> bool {
        let Some(route) = self.route().filter(|_| plan.asks()) else {
            return false;
        };
        match (&self.held, plan.need()) {
            (None, Need::Exact(link)) => {
                let with = route.backends.with_link(link);
                with.is_some_and(|(_, is_primary)| !is_primary)
            }
            _ => route.on_replica,
        }
    }

    /// Whether a statement that asks for what was left on a replica may run there.
    ///
    /// # Errors
    /// It does more than that.
    pub(super) fn may_ask_there(&self, op: &Op<'_>, plan: &Plan) -> Result<()> {
        match op.text() {
            Some((sql, _)) if self.asks_a_replica(plan) => self.may_stay(Some(sql)),
            _ => Ok(()),
        }
    }

    /// Whether a statement that is for the primary may run on the link to a replica that the handle has to
    /// itself.
    ///
    /// # Errors
    /// It may not.
    fn may_stay(&self, sql: Option<&[u8]>) -> Result<()> {
        let may = |sql| asks_for_what_was_left(sql) || sql::may_run_on_replica(sql);
        if sql.is_some_and(may) {
            return Ok(());
        }
        let reason = self.pin().map(|pin| pin.reason());
        Err(DriverError::OnReplica {
            server: self.server_name().to_string(),
            reason: reason.map_or("a link that is held", |reason| reason.text()),
        }
        .into())
    }

    /// To the server that has this link, if one has.
    pub(super) fn go_to_link(&mut self, link: u32) {
        let with = self
            .route()
            .and_then(|route| route.backends.with_link(link));
        if let Some((member, is_primary)) = with {
            self.go_to(&member, is_primary);
        }
    }

    /// To any server that can be used, for what is the same everywhere.
    pub(super) async fn go_anywhere(&mut self, deadline: Deadline) -> Result<()> {
        self.come_back().await?;
        let is_fine = match self.route() {
            Some(route) => route.at.as_ref().is_some_and(|at| at.is_usable()),
            None => true,
        };
        let is_fine = is_fine || self.held.is_some();
        match is_fine {
            true => Ok(()),
            false => self.go(Wants::Any, deadline).await,
        }
    }

    /// No link could be opened there: to another one. Whether there may be another.
    pub(super) async fn go_elsewhere(&mut self, e: &Error, deadline: Deadline) -> Result<bool> {
        let Some(member) = self.member() else {
            return Ok(false);
        };
        member.suspect(Some(e));
        let wants = self.route().map_or(Wants::Any, |route| route.wants);
        let Choice {
            member,
            is_primary,
            lacks,
        } = self.choose(wants, deadline).await?;
        match lacks {
            Lacks::Nothing => self.go_to(&member, is_primary),
            // What it has not is rather waited for by the primary.
            Lacks::Wait | Lacks::Sync => Box::pin(self.go_to_primary(deadline)).await?,
        }
        Ok(true)
    }

    /// Waits for a moment until the replica has what the handle wrote. Whether it has.
    async fn catch_up_with(&mut self, member: &Arc<Member>, deadline: Deadline) -> Result<bool> {
        let mut running = Running::new(self);
        let reached = running.seat.catch_up_now(member, deadline).await;
        running.over = true;
        reached
    }

    async fn catch_up_now(&mut self, member: &Arc<Member>, deadline: Deadline) -> Result<bool> {
        self.take(WHY, Need::Alone, deadline).await?;
        let needs = self.needs().gtids.clone();
        let Some(link) = &mut self.held else {
            return Ok(false);
        };
        link.deadline = deadline;
        let reached = link.reaches(&needs.to_string(), REPLICA_WAIT).await;
        link.deadline = None;
        match reached {
            Ok(reached) => {
                self.put_back();
                let is_it = Arc::ptr_eq(&self.party.account, &member.account);
                if reached && is_it {
                    member.has_reached(&needs);
                }
                Ok(reached && is_it)
            }
            Err(_) => {
                self.give_up();
                member.suspect(None);
                Ok(false)
            }
        }
    }

    /// Waits until a node of a cluster, which is the primary now, has what the handle wrote to another.
    async fn sync_with(&mut self, member: &Arc<Member>, deadline: Deadline) -> Result<()> {
        let mut running = Running::new(self);
        let synced = running.seat.sync_now(deadline).await;
        running.over = true;
        drop(running);
        synced.map_err(not_run)?;
        let on = self.member().map_or(member.id, |at| at.id);
        let now = Instant::now();
        if let Some(route) = self.route_mut() {
            (route.wrote.on, route.wrote.at) = (on, Some(now));
        }
        Ok(())
    }

    async fn sync_now(&mut self, deadline: Deadline) -> Result<()> {
        self.take(WHY, Need::Alone, deadline).await?;
        let Some(link) = &mut self.held else {
            return Ok(());
        };
        link.deadline = deadline;
        let synced = link.syncs().await;
        link.deadline = None;
        match &synced {
            Ok(()) | Err(Error::MySqlError(_)) => self.put_back(),
            Err(_) => self.give_up(),
        }
        synced
    }

    /// A statement is about to be sent. What it writes is known once it is answered; whoever doesn't wait for
    /// that is told nothing.
    pub(super) fn begin_writing(&mut self, reads: bool) {
        if let Some(Route {
            wrote,
            on_replica,
            at,
            ..
        }) = self.route_mut()
        {
            if wrote.begun || wrote.lingers {
                (wrote.failed, wrote.at) = (true, Some(Instant::now()));
                wrote.lingers = Arc::strong_count(&wrote.under_way) > 1;
            }
            wrote.begun = !reads && !*on_replica;
            if let Some(at) = at.as_ref().filter(|_| wrote.begun) {
                wrote.on = at.id;
            }
        }
    }

    /// To be held by a statement that may write, while it may run.
    pub(super) fn write_under_way(&self) -> Option<Arc<()>> {
        let route = self.route().filter(|route| route.wrote.begun);
        route.map(|route| route.wrote.under_way.clone())
    }

    /// A statement that may write is under way.
    pub(super) fn has_begun_to_write(&self) -> bool {
        self.route().is_some_and(|route| route.wrote.begun)
    }

    /// What began has been answered, whatever that was.
    pub(super) fn end_writing(&mut self) {
        if let Some(route) = self.route_mut() {
            route.wrote.begun = false;
        }
    }

    /// Notes what a statement wrote.
    pub(super) fn note_written(&mut self, response: &Response, reads: bool) {
        let Some(route) = self.route().filter(|route| !route.on_replica) else {
            return;
        };
        let gtids = response.gtids();
        // What is called a read may have written.
        if reads && !route.writes && gtids.is_none() {
            return;
        }
        let at = self.member();
        let tracks = self.held.as_ref().is_none_or(|link| link.session.trackers);
        let tells = tracks && self.asks_for_gtids() && at.is_some_and(|at| at.tells_gtids());
        let on = at.map_or(0, |member| member.id);
        let Some(Route { wrote, .. }) = self.route_mut() else {
            return;
        };
        // An error tells nothing of what was written before it.
        let succeeded = has_succeeded(response);
        wrote.begun = false;
        wrote.failed |= !succeeded;
        wrote.untold |= !tells;
        wrote.at = Some(Instant::now());
        wrote.on = on;
        if let Some(gtids) = gtids
            && let Ok(text) = std::str::from_utf8(gtids)
        {
            // Numbers that go back, as group replication's do when its primary moves, tell nothing.
            wrote.untold |= !wrote.gtids.add_reported(text);
            // It comes behind what those before it did.
            wrote.failed &= !succeeded || wrote.lingers;
        }
    }

    /// As far as it has set that by itself.
    fn asks_for_gtids(&self) -> bool {
        let vars = self.vars.as_deref();
        let value = vars.and_then(|vars| vars.get("session_track_gtids"));
        value.is_none_or(|value| value != b"OFF")
    }

    /// The statement under way is more than a read, whatever its text tells.
    pub(super) fn note_writes(&mut self) {
        if let Some(route) = self.route_mut() {
            route.writes = true;
        }
    }

    /// The statement under way was lost where the handle is: that server is asked how it is, and another
    /// one is better for the next try.
    fn note_lost(&mut self, on: &Member) {
        if let Some(route) = self.route_mut() {
            route.lost_on = Some(on.id);
        }
        on.suspect(None);
    }

    /// Nothing is known of the statement under way, or none is.
    fn forget_statement(&mut self) {
        if let Some(route) = self.route_mut() {
            (route.writes, route.lost_on) = (false, None);
        }
    }

    /// Has a statement prepared, on another server where it is lost. That runs nothing.
    pub(crate) async fn prepare(&mut self, sql: &[u8]) -> Result<Arc<Prepared>> {
        if self.route().is_none() {
            return self.prepare_here(sql).await.map_err(not_run);
        }
        self.forget_statement();
        let done = self.prepare_anywhere(sql).await;
        self.forget_statement();
        done
    }

    async fn prepare_anywhere(&mut self, sql: &[u8]) -> Result<Arc<Prepared>> {
        let mut tries = 0;
        loop {
            self.come_back().await?;
            let is_free = self.held.is_none();
            let done = self.prepare_here(sql).await.map_err(not_run);
            let Some(member) = self.member().cloned() else {
                return done;
            };
            let Err(Error::ConnectionLost(_)) = &done else {
                return done;
            };
            self.note_lost(&member);
            tries += 1;
            if tries == TRIES || !is_free || self.held.is_some() {
                return done;
            }
        }
    }

    /// As [`Seat::statement_here`], on another server where the first one turns out not to be for it.
    pub(super) async fn statement(
        &mut self,
        op: Op<'_>,
        statement: &sql::Statement,
        deadline: Deadline,
    ) -> Result<Response> {
        if self.route().is_none() {
            return self.statement_here(op, statement, deadline).await;
        }
        self.forget_statement();
        let done = self.statement_anywhere(op, statement, deadline).await;
        self.forget_statement();
        done
    }

    async fn statement_anywhere(
        &mut self,
        op: Op<'_>,
        statement: &sql::Statement,
        deadline: Deadline,
    ) -> Result<Response> {
        let (mut tries, mut refusals, mut failed_at) = (0, 0, None);
        let mut op = op;
        loop {
            let next = op.again();
            self.come_back().await?;
            // What was there is gone with the link, or would be left.
            let is_free = self.held.is_none();
            let done = self.statement_here(op, statement, deadline).await;
            let refused = match &done {
                Ok(response) => match refusal(response) {
                    None => return done,
                    refused => refused,
                },
                Err(Error::ConnectionLost(_)) => None,
                Err(_) => return done,
            };
            let Some(member) = self.member().cloned() else {
                return done;
            };
            let again = match (refused, &done) {
                (Some(refused), _) => {
                    match refused {
                        Refused::ReadOnly => member.takes_no_writes(),
                        Refused::NotReady(e) => member.suspect(Some(&e)),
                    }
                    self.note_writes();
                    refusals += 1;
                    // In the middle of a routine it may have done something before.
                    let is_known = |(sql, _)| !seen::doing(sql).facts.unknown;
                    refusals < REFUSALS && next.text().is_none_or(is_known)
                }
                (None, Err(Error::ConnectionLost(lost))) => {
                    self.note_lost(&member);
                    tries += 1;
                    let writes = self.route().is_some_and(|route| route.writes);
                    let is_read = statement.effect == Effect::Read && !writes;
                    let unharmed = lost.ran == Ran::No || is_read;
                    unharmed && tries < TRIES
                }
                (None, _) => false,
            };
            let began = *failed_at.get_or_insert_with(Instant::now);
            let limit = self.party.account.group.limits.acquire_timeout;
            if !again || !is_free || self.held.is_some() || began.elapsed() >= limit {
                return done;
            }
            op = next;
        }
    }
}

/// There is an answer, and no error in it.
fn has_succeeded(response: &Response) -> bool {
    let is_error = |outcome: &Outcome| matches!(outcome, Outcome::Err(_));
    !response.outcomes.is_empty() && !response.outcomes.iter().any(is_error)
}

/// It asks for what the last statement left on its link, and does nothing else.
fn asks_for_what_was_left(sql: &[u8]) -> bool {
    let facts = &seen::doing(sql).facts;
    let asks = facts.needs_diagnostics || facts.needs_found_rows || facts.needs_row_count;
    let verb = sql.trim_ascii_start().first_chunk::<3>();
    // `GET DIAGNOSTICS` sets user variables.
    let gets = verb.is_some_and(|verb| verb.eq_ignore_ascii_case(b"GET"));
    asks && (facts.reads_only || gets && !sql.trim_ascii_end().contains(&b';'))
}

/// A server will not run the statement.
enum Refused {
    ReadOnly,
    NotReady(Error),
}

/// The server has run nothing, because it is read-only (`ER_OPTION_PREVENTS_STATEMENT`,
/// `ER_READ_ONLY_MODE`), or has not joined its cluster (`ER_UNKNOWN_COM_ERROR` of Galera).
fn refusal(response: &Response) -> Option<Refused> {
    let mut outcomes = response.outcomes.iter();
    let (Some(Outcome::Err(failure)), None) = (outcomes.next(), outcomes.next()) else {
        return None;
    };
    match failure.code() {
        1290 => {
            let e = Error::from(failure.clone()).to_string();
            (e.contains("read-only") || e.contains("read_only")).then_some(Refused::ReadOnly)
        }
        1836 => Some(Refused::ReadOnly),
        1047 => {
            let e = Error::from(failure.clone());
            e.to_string()
                .contains("WSREP")
                .then_some(Refused::NotReady(e))
        }
        _ => None,
    }
}

/// A comment in front of everything else that says where to: `/* mux:primary */`, `mux:replica`,
/// `mux:any`.
fn hint(sql: &[u8]) -> Option<Prefer> {
    let text = sql.trim_ascii_start().strip_prefix(b"/*")?;
    let end = text.windows(2).position(|two| two == b"*/")?;
    match text[..end].trim_ascii().strip_prefix(b"mux:")? {
        b"primary" => Some(Prefer::Primary),
        b"replica" => Some(Prefer::Replica),
        b"any" => Some(Prefer::Any),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_stands_in_front() {
        assert_eq!(hint(b"/* mux:primary */ SELECT 1"), Some(Prefer::Primary));
        assert_eq!(hint(b" /*mux:replica*/SELECT 1"), Some(Prefer::Replica));
        assert_eq!(hint(b"/* mux:any */"), Some(Prefer::Any));
        for sql in [
            "SELECT /* mux:primary */ 1",
            "/* mux:elsewhere */ SELECT 1",
            "/* about mux:primary */ SELECT 1",
            "/* mux:primary",
            "",
        ] {
            assert_eq!(hint(sql.as_bytes()), None, "{sql}");
        }
    }
}
