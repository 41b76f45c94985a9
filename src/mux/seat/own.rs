//! What `Isolation::Session` adds: a handle's statement gets what it needs of what the handle did
//! before, wherever that was; and what it leaves is followed, and kept where it can't be moved.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use super::{
    Deadline, Seat,
    plan::{Plan, Read, Wanted, policy},
};
use crate::{
    error::{Error, Result},
    events,
    link::{Behind, Lane, Link, MANY, NOBODY, Prepared, has_warnings, leaves_insert_id},
    mux::{
        marks::half,
        wish::{Got, Need},
    },
    opts::Isolation,
    proto::result::{Outcome, Response},
    session::{
        Doing, InsertId, Pin, PinPolicy, PinReason, Said, follow,
        user::{self, Learned},
    },
    sql::{self, Effect},
};

/// Stands for an id that is lost: what is not this, was made since. No table comes so far.
const SENTINEL: u64 = u64::MAX - 0x6d75_785f_6c6f_7374;

/// No link has this number.
const GONE: u32 = u32::MAX;

impl Seat {
    /// The handle has a session of its own over shared links.
    #[inline]
    pub(super) fn is_own(&self) -> bool {
        self.party.opts.get_isolation() == Isolation::Session
    }

    /// A statement that is neutral by its text runs on a link alone all the same.
    #[inline]
    pub(super) fn must_be_alone(&self, statement: &sql::Statement) -> bool {
        self.is_own()
            && (self.keeps_diagnostics
                || self.home().group.touchy.has(half(statement.digest))
                || (statement.effect == Effect::Write
                    && self.keeps_insert_id(half(statement.digest))))
    }

    pub(super) fn is_mariadb(&self) -> bool {
        self.party
            .account
            .group
            .server()
            .is_some_and(|server| server.mariadb)
    }

    pub(super) fn keeps_insert_id(&self, digest: u32) -> bool {
        self.party.opts.get_keep_insert_id() || self.home().group.asked_ids.has(digest)
    }

    /// The link that was got for a plan has what is asked for.
    pub(super) fn check(&mut self, plan: &Plan) -> Result<()> {
        let missing = match &self.held {
            None => plan.wanted.or(Some(Wanted::InsertId)),
            Some(link) => {
                let is_last = link.session.last == self.id || plan.wanted == Some(Wanted::Gtid);
                let has_gtid = link.session.gtid_of == self.id && self.gtid_link == link.id;
                let has_all = is_last
                    && (has_gtid || !plan.needs_gtid)
                    && (self.has_rows() || !plan.needs_rows)
                    && (self.has_warnings() || !plan.needs_warnings);
                plan.wanted.filter(|_| !plan.fresh && !has_all)
            }
        };
        match missing {
            None => Ok(()),
            Some(wanted) => Err(self.not_kept(wanted)),
        }
    }

    /// The link at hand has the rows that the handle's last query found.
    pub(super) fn has_rows(&self) -> bool {
        let is_there = |link: &Link| link.session.rows_of == self.id && self.rows_link == link.id;
        self.held.as_deref().is_some_and(is_there)
    }

    /// It has the handle's warnings.
    pub(super) fn has_warnings(&self) -> bool {
        let is_there =
            |link: &Link| link.session.warnings_of == self.id && self.warnings_link == link.id;
        self.held.as_deref().is_some_and(is_there)
    }

    /// An error for what is not there any more. The link that was got is left as it came.
    fn not_kept(&mut self, wanted: Wanted) -> Error {
        if wanted == Wanted::InsertId && self.insert_digest_before != 0 {
            // The last one may have left what this made.
            self.home().group.asked_ids.mark(self.insert_digest_before);
        }
        if !self.kept {
            self.put_back();
        }
        self.is_missing(wanted)
    }

    fn is_missing(&self, wanted: Wanted) -> Error {
        let (what, option) = match wanted {
            Wanted::Diagnostics => ("warnings and counts", "keep_diagnostics"),
            Wanted::FoundRows => ("FOUND_ROWS()", "keep_diagnostics"),
            Wanted::RowCount => ("ROW_COUNT()", "keep_diagnostics"),
            Wanted::InsertId => ("LAST_INSERT_ID()", "keep_insert_id"),
            Wanted::Gtid => ("the last GTID", "keep_diagnostics"),
        };
        Error::NotKept {
            server: self.server_name(),
            what,
            option,
        }
    }

    /// Those of many statements that have to wait for the queries before them.
    pub(super) fn behind<'a>(&self, plan: &'a Plan, reads: &[Read]) -> Option<Behind<'a>> {
        let asks = &plan.rows_behind[..];
        (!asks.is_empty() && !self.has_rows()).then(|| Behind {
            asks,
            are_queries: reads.iter().map(|read| read.is_query).collect(),
            missing: self.is_missing(Wanted::FoundRows),
        })
    }

    /// A link that was not used after all, as it came.
    pub(super) fn put_back(&mut self) {
        if let Some(mut link) = self.held.take() {
            link.session.doing = None;
            link.session.drop_guard();
            self.party.account.group.put_back(link, &self.party.account);
        }
    }

    /// What was noted of the statement before is over.
    pub(super) fn begin_plan(&mut self) {
        let keeps = self.keeps_diagnostics;
        if let Some(link) = &mut self.held {
            let session = &mut link.session;
            session.pins.end(PinReason::FoundRows);
            if !keeps {
                session.pins.end(PinReason::Diagnostics);
            }
            session.doing = None;
            session.error = None;
            session.insert_id_set = None;
            session.drop_guard();
        }
    }

    /// What a plan needs on the link, and has to be sent before its statement.
    pub(super) async fn prepare_for(&mut self, plan: &Plan) -> Result<()> {
        self.begin_plan();
        let has_warnings = self.has_warnings();
        let Some(link) = &mut self.held else {
            return Ok(());
        };
        link.session.grouped |= plan.regroups && !link.server.mariadb;
        let clears = self.keeps_diagnostics && plan.is_statement && plan.wanted.is_none();
        if clears && !has_warnings {
            let others = link.server.mariadb && link.session.warnings_of != NOBODY;
            let is_clear = !others || link.clear_warnings().await?;
            // Without the handle's own a statement that leaves them would seem to have cleared them.
            (link.session.warnings_of, self.warnings_link) =
                match (is_clear, self.has_left_warnings) {
                    (false, _) => (MANY, 0),
                    (true, true) => (NOBODY, 0),
                    (true, false) => (self.id, link.id),
                };
        }
        // A reset leaves the rows that were found by the session before, and may leave its warnings' number.
        let leaves = match plan.wanted {
            Some(Wanted::FoundRows) => true,
            Some(Wanted::Diagnostics) => link.session.warnings_of != NOBODY,
            _ => false,
        };
        if let Some(wanted) = plan.wanted.filter(|_| plan.fresh && leaves)
            && !link.clear_warnings().await?
        {
            return Err(self.is_missing(wanted));
        }
        if self.is_own() && (plan.needs_id || plan.may_leave_id()) {
            self.place_insert_id(plan).await?;
        }
        let Some(link) = &mut self.held else {
            return Ok(());
        };
        if plan.is_many
            && let Some(id) = link.session.insert_id_next.take()
        {
            link.set_insert_id(id).await?;
        }
        link.session.doing = plan.doing.clone();
        Ok(())
    }

    /// Has the link have the handle's `LAST_INSERT_ID()`, for a statement that needs it or may leave
    /// it as it is.
    async fn place_insert_id(&mut self, plan: &Plan) -> Result<()> {
        let needs = plan.needs_id;
        let Some(link) = &mut self.held else {
            return Ok(());
        };
        // Nothing can be sent before a statement that asks what the last one left.
        let may_send = plan.wanted.is_none() || plan.fresh;
        let is_ours = link.session.insert_id_of == self.id;
        match self.insert_id {
            InsertId::OnLink(at) if at == link.id && is_ours => {
                if !(needs || plan.may_need_id) || !link.session.insert_id_guarded {
                    return Ok(());
                }
                // Whether one was made since, it tells.
                if may_send && link.insert_id().await? != SENTINEL {
                    link.session.insert_id_guarded = false;
                    return Ok(());
                }
            }
            InsertId::Known(id) => {
                let stands = match link.session.insert_id_of {
                    NOBODY => id == 0,
                    _ => is_ours && link.session.insert_id_known == Some(id),
                };
                if !stands && !may_send {
                    return Err(self.not_kept(Wanted::InsertId));
                }
                if !stands && needs {
                    link.set_insert_id(id).await?;
                } else if !stands {
                    link.session.insert_id_next = Some(id);
                }
                link.session.insert_id_of = self.id;
                link.session.insert_id_known = Some(id);
                link.session.insert_id_guarded = false;
                return Ok(());
            }
            InsertId::OnLink(_) | InsertId::Lost => {}
        }
        // A routine that asks for it is an error, too.
        let asks = needs || plan.may_need_id && link.routines_ask_for_ids().await?;
        if asks || !may_send {
            self.home().group.asked_ids.mark(self.insert_digest);
            return Err(self.not_kept(Wanted::InsertId));
        }
        let Some(link) = &mut self.held else {
            return Ok(());
        };
        link.session.insert_id_next = Some(SENTINEL);
        link.session.insert_id_of = self.id;
        link.session.insert_id_known = None;
        link.session.insert_id_guarded = true;
        Ok(())
    }

    fn made_id(&mut self, digest: u32) {
        if self.insert_digest != digest {
            self.insert_digest_before = std::mem::replace(&mut self.insert_digest, digest);
        }
    }

    /// Notes where the insert id of a statement is that ran on a lane.
    #[inline]
    pub(super) fn note_on_lane(
        &mut self,
        response: &Response,
        statement: &sql::Statement,
        lane: &Lane,
    ) {
        let is_first = self.last_link == 0 && lane.has_warnings_of(self.id);
        self.last_link = lane.id;
        let writes = statement.effect == Effect::Write;
        let clears = writes || !lane.server.mariadb;
        let warns = has_warnings(response, false);
        self.has_left_warnings = warns || (self.has_left_warnings && !clears);
        if let Some(Outcome::Set(_)) = response.outcomes.back()
            && statement.is_query
        {
            self.rows_link = lane.id;
        }
        // Whose they are, the lane knows.
        if is_first || clears || warns {
            self.warnings_link = lane.id;
        } else if self.warnings_link != lane.id {
            self.warnings_link = 0;
        }
        if writes && response.gtids().is_some() {
            self.gtid_link = GONE;
        }
        if leaves_insert_id(response, writes) {
            self.insert_id = match lane.has_insert_id_of(self.id) {
                true => InsertId::OnLink(lane.id),
                false => InsertId::Lost,
            };
            self.made_id(half(statement.digest));
        }
    }

    /// Notes where the insert id of a statement is that ran on the link at hand.
    pub(super) fn note(&mut self, plan: &Plan, response: &Response) {
        if !plan.is_stream {
            // Else it has just begun.
            self.note_written(response, plan.neutral && !plan.writes);
        }
        let Some(link) = self.held.as_mut().filter(|_| plan.is_statement) else {
            return;
        };
        let id = link.id;
        let clears = plan.writes || !link.server.mariadb;
        // Not every command clears what was left, nor does who asks for it.
        let is_told = !response.outcomes.is_empty() && plan.wanted != Some(Wanted::Diagnostics);
        self.has_left_warnings = has_warnings(response, false)
            || plan.is_stream
            || (self.has_left_warnings && !(clears && is_told));
        let session = &mut link.session;
        let is_first = self.last_link == 0;
        if !plan.prepares {
            // Something may have been asked before it.
            session.last = self.id;
            self.last_link = id;
        }
        if let Some(Outcome::Set(_)) = response.outcomes.back()
            && plan.is_query
        {
            session.rows_of = self.id;
            self.rows_link = id;
        } else if session.rows_of != self.id {
            session.rows_of = MANY;
        }
        let theirs = session.warnings_of != NOBODY && session.warnings_of != self.id;
        // What a stream leaves is told at its end; where it has to be kept, there was nothing before, or
        // the handle's own.
        let is_own = session.warnings_of == self.id && plan.is_stream && self.keeps_diagnostics;
        let is_new = clears || has_warnings(response, theirs) || is_own;
        if is_new || session.warnings_of == NOBODY && is_first {
            session.warnings_of = self.id;
            self.warnings_link = id;
        } else if theirs || plan.is_stream || session.warnings_of == NOBODY {
            // It may have cleared them, here or where the handle's are.
            if theirs || plan.is_stream {
                session.warnings_of = MANY;
            }
            self.warnings_link = 0;
        }
        if session.gtid_of == self.id {
            self.gtid_link = id;
        }
        if plan.is_many {
            // Something may have been made behind it.
            session.insert_id_set = None;
        }
        if plan.may_leave_id() && link.session.insert_id_of == self.id {
            let is_new =
                plan.doing.is_some() || plan.is_stream || leaves_insert_id(response, plan.writes);
            if is_new || link.session.insert_id_guarded {
                self.insert_id = InsertId::OnLink(id);
                link.session.insert_id_known = None;
                self.made_id(half(plan.digest));
            }
        }
    }

    /// A statement is under way: what it leaves is not known until its answer is there.
    #[inline]
    pub(super) fn forget_what_was_left(&mut self, writes: bool) {
        if writes {
            self.insert_id = InsertId::Lost;
        }
        self.last_link = GONE;
        self.has_left_warnings = true;
    }

    /// A statement was prepared, which clears the warnings of the one before or doesn't: where they
    /// are, the server was not asked.
    pub(super) fn forget_warnings(&mut self, prepared: &Prepared) {
        // One that asks for them leaves them.
        let clears = |prepared: &Prepared| !prepared.doing().facts.needs_diagnostics;
        if !self.is_own() || !self.has_left_warnings || !clears(prepared) {
            return;
        }
        self.last_link = GONE;
        self.warnings_link = 0;
        if let Some(link) = self.held.as_mut() {
            let session = &mut link.session;
            session.last = NOBODY;
            if session.warnings_of == self.id {
                session.warnings_of = MANY;
            }
        }
    }

    /// Follows the statement that was given up on the link that is kept. On one that is not, what it
    /// did is undone.
    pub(super) async fn catch_up(&mut self, was_given_up: bool) -> Result<()> {
        let own = self.is_own();
        let Some(link) = self.held.as_mut().filter(|_| own) else {
            return Ok(());
        };
        let error = link.session.error.take();
        link.session.drop_guard();
        let id = link.id;
        let session = &mut link.session;
        let unknown = session.following || session.doing.is_some();
        if was_given_up && session.insert_id_of == self.id {
            // It was made, or not: it stands here.
            self.insert_id = InsertId::OnLink(id);
            session.insert_id_known = None;
        }
        if !unknown && !was_given_up {
            return Ok(());
        }
        if !self.kept {
            session.doing = None;
            session.changed |= unknown;
            return Ok(());
        }
        if std::mem::take(&mut session.following) {
            session.changed = true;
        }
        match self.follow(error).await {
            Ok(()) => Ok(()),
            Err(_) => self.lose(),
        }
    }

    /// Follows the statement that ran, asks for what the server doesn't tell by itself, and keeps
    /// what has to be kept. An error is the link's end.
    pub(super) async fn follow(&mut self, error: Option<u16>) -> Result<()> {
        let Some(link) = &mut self.held else {
            return Ok(());
        };
        let session = &mut link.session;
        session.following = true;
        let doing = session.doing.take();
        let changed = std::mem::take(&mut session.changed);
        let nothing = Doing::nothing();
        let doing = doing.as_deref().unwrap_or(nothing);
        let outline = &doing.outline;
        let now = Instant::now();
        let said = Said {
            failed: error.is_some(),
            partly: doing.may_be_partly_done(),
            untold: error.is_some() && doing.is_untold(),
            refused: !changed && doing.was_refused(error),
            changed,
            schema: session.schema.as_deref(),
            is_one_schema: self.schema == session.schema
                && doing.is_bound_to(session.schema.as_deref()),
            statement: outline,
            now,
        };
        let asks = follow(&mut session.pins, &doing.facts, &said);
        let standing = [
            (PinReason::TableLocks, session.locks_tables()),
            (
                PinReason::Transaction,
                session.in_transaction() && !session.locks_tables(),
            ),
            (
                PinReason::Diagnostics,
                self.keeps_diagnostics && session.last == self.id,
            ),
        ];
        for (reason, stands) in standing {
            match stands {
                true => drop(session.pins.add(reason, None, outline, now)),
                false => session.pins.end(reason),
            }
        }
        if session.last == self.id {
            self.last_link = link.id;
        }
        self.ask_what_is_not_told(asks, doing).await?;
        let Some(link) = &mut self.held else {
            return Ok(());
        };
        if let Some(id) = link.session.insert_id_set.take() {
            self.insert_id = InsertId::Known(id);
            link.session.insert_id_known = Some(id);
        }
        if let Some(name) = link.session.stuck.take() {
            let reason = PinReason::SystemVariable;
            link.session.pins.add(reason, Some(name), outline, now);
        }
        let group = &self.party.account.group;
        let server = link.name.clone();
        for pin in link.session.pins.new_ones() {
            group.counters.pins[pin.reason() as usize].fetch_add(1, Ordering::Relaxed);
            if policy(&self.party.opts, group, pin.reason()) == PinPolicy::Warn {
                events::pinned(self.id, &server, pin);
            }
        }
        self.keep_insert_id().await?;
        if let Some(link) = &mut self.held {
            link.session.following = false;
        }
        Ok(())
    }

    /// Whether the link can be left, by what is known of the session.
    fn can_leave(&self) -> bool {
        let link = self.held.as_ref();
        let stays = link.is_none_or(|link| link.session.stays_when_read().is_some());
        !stays && self.holds == 0 && !self.streaming
    }

    /// Asks the server for what it doesn't tell by itself, where that matters now: what the handle's
    /// statement left is gone then.
    async fn ask_what_is_not_told(&mut self, locks: bool, doing: &Doing) -> Result<()> {
        let keeps = self.keeps_diagnostics;
        let Some(link) = &mut self.held else {
            return Ok(());
        };
        if locks && !keeps {
            no_answer(link.learn_locks().await)?;
        }
        if !keeps || self.can_leave() {
            self.learn_role(&doing.outline).await?;
        }
        let Some(link) = &mut self.held else {
            return Ok(());
        };
        if link.server.mariadb {
            // What `SET STATEMENT` sets is reported, and is gone behind it.
            let set: Vec<String> = match doing.is_limited {
                true => link.session.names_of_variables(),
                false => Vec::new(),
            };
            let names: Vec<&str> = doing.unscoped.iter().chain(&set).map(|n| &**n).collect();
            if !names.is_empty() {
                no_answer(link.learn_variables(&names).await)?;
            }
        }
        if self.can_leave()
            && let Some(link) = &mut self.held
            && link.session.names_unknown
        {
            no_answer(link.learn_names().await)?;
        }
        if self.can_leave() {
            self.read_user_variables(&doing.outline).await?;
        }
        Ok(())
    }

    /// Asks for the role that was set, so that it can be set on another link.
    pub(super) async fn learn_role(&mut self, outline: &Arc<str>) -> Result<()> {
        let link = self.held.as_mut();
        let Some(link) = link.filter(|link| link.session.pins.unread_role) else {
            return Ok(());
        };
        let moves = no_answer(link.learn_role().await)?.unwrap_or(false);
        let pins = &mut link.session.pins;
        pins.unread_role = false;
        if !moves {
            pins.add(PinReason::Role, None, outline, Instant::now());
        }
        Ok(())
    }

    /// Reads back the user variables that were set, so that they can be set on another link.
    async fn read_user_variables(&mut self, outline: &Arc<str>) -> Result<()> {
        let Some(link) = &mut self.held else {
            return Ok(());
        };
        // They are lost with the link, until they are read.
        let names = link.session.pins.to_read().to_vec();
        if names.is_empty() {
            return Ok(());
        }
        let asked = no_answer(link.learn_user_variables(&names).await)?;
        link.session.pins.all_are_read();
        let all = asked.unwrap_or_default().into_iter().map(Some);
        let now = Instant::now();
        for (name, learned) in names.into_iter().zip(all.chain(std::iter::repeat(None))) {
            let learned = learned.unwrap_or(Learned::Stays);
            if !user::learn(&mut link.session.user, &name, &learned) {
                let reason = PinReason::UserVariable;
                link.session.pins.add(reason, Some(name), outline, now);
            }
        }
        Ok(())
    }

    /// Asks for the insert id where it is known to be asked for later, and the link is left.
    async fn keep_insert_id(&mut self) -> Result<()> {
        let keeps = self.keeps_insert_id(self.insert_digest);
        let leaves = self.can_leave();
        let Some(link) = &mut self.held else {
            return Ok(());
        };
        if self.insert_id == InsertId::OnLink(link.id) && leaves && keeps {
            match no_answer(link.insert_id().await)? {
                Some(SENTINEL) if link.session.insert_id_guarded => self.insert_id = InsertId::Lost,
                Some(id) => {
                    self.insert_id = InsertId::Known(id);
                    link.session.insert_id_known = Some(id);
                    link.session.insert_id_guarded = false;
                }
                None => {}
            }
        }
        Ok(())
    }

    /// A statement that was neutral by its text changed the session of a lane: from here on that
    /// link is this handle's, if it can still be had, and such statements run on links alone.
    pub(super) async fn claim(&mut self, lane: u32, digest: u64, deadline: Deadline) -> Result<()> {
        self.home().group.touchy.mark(half(digest));
        let why = "a statement that changed the session";
        // The statement has run: what goes wrong from here on is the next one's.
        let got = self.acquire(why, Need::Exact(lane), deadline).await;
        let lost = |seat: &Seat| Error::SessionLost {
            server: seat.server_name(),
            lost: "what a trigger or a view changed in the session".to_owned(),
        };
        match got {
            Ok(Got::Link(mut link)) => {
                link.face = self.face;
                link.session.owner = self.id;
                self.held = Some(link);
                let failed = self.follow(None).await;
                if failed.is_err() {
                    self.give_up();
                    self.owe(lost(self));
                    return Ok(());
                }
                self.let_go();
            }
            _ => self.owe(lost(self)),
        }
        Ok(())
    }

    /// What goes with a link that is held for its user.
    pub(super) fn hold_lost(&self) -> Option<String> {
        match (self.kept && self.holds > 0, self.leases) {
            (false, _) => None,
            (true, 0) => Some(PinReason::Hold.to_string()),
            (true, _) => Some(PinReason::Lease.to_string()),
        }
    }

    /// Why a link is kept, if one is.
    pub(crate) fn pin(&self) -> Option<Pin> {
        let link = self.held.as_ref()?;
        let plain = |reason| Pin::new(reason, "".into(), link.used);
        if self.streaming {
            return Some(plain(PinReason::Stream));
        }
        if let Some(pin) = link.session.pins.iter().next() {
            return Some(pin.clone());
        }
        let held = match self.leases {
            0 => PinReason::Hold,
            _ => PinReason::Lease,
        };
        Some(plain(link.session.pin().unwrap_or(held)))
    }
}

/// An ERR packet instead of an answer changes nothing: what was asked for stays unknown.
fn no_answer<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Error::MySqlError(_)) => Ok(None),
        Err(e) => Err(e),
    }
}
