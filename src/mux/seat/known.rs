//! What a handle's statement does to its session by the views that it reads, and the triggers and
//! column defaults of the tables that it writes to: its text names them, and a catalog of each schema
//! says what they do. The catalog is loaded when the first statement needs it.
//!
//! A statement that reaches nothing of the kind is remembered by its digest, and costs a look at two
//! atomics from then on.

use std::{
    iter,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use mysql_common::constants::StatusFlags;

use super::{Deadline, Seat, alone::Running};
use crate::{
    error::{ConnectionLost, Error, Ran, Result, StatementTimeout},
    link::{Ask, Face, Link, Part, is_refusal},
    mux::{
        account::Account,
        catalog::{Catalog, Definitions, Schemas, Sight},
        catalogs::{Catalogs, Step},
        group::no_reactor,
        op::Op,
        wish::{Close, Got, Need},
    },
    session::{Doing, PinReason, seen, variables},
    sql::{self, Effect, Facts},
};

/// How long another link is waited for where the own one is in a transaction.
const ANOTHER: Duration = Duration::from_millis(50);

const WHY: &str = "looking for views and triggers";

/// What a statement does by all that it reaches; nothing, where that is no more than its text tells.
pub(super) type Reached = Option<Arc<Doing>>;

impl Seat {
    /// What a statement reaches, if it is neutral by its text or not.
    pub(super) async fn reach(
        &mut self,
        op: &Op<'_>,
        statement: &sql::Statement,
        deadline: Deadline,
    ) -> Result<Reached> {
        match self.reaches_nothing(op, statement) {
            true => Ok(None),
            false => self.reach_behind(op, statement, false, deadline).await,
        }
    }

    /// The same; `blind`: behind others that have not run, so that nobody knows where its names will lead.
    async fn reach_behind(
        &mut self,
        op: &Op<'_>,
        statement: &sql::Statement,
        blind: bool,
        deadline: Deadline,
    ) -> Result<Reached> {
        let Some((text, doing)) = op.text() else {
            return Ok(None);
        };
        let schema = schema_of(op).unwrap_or(&self.schema).clone();
        let reached = self.reach_in(schema, text, doing, statement, blind, deadline);
        // Few statements come here: the others need not carry its future.
        Box::pin(reached).await
    }

    /// The same of many.
    pub(super) async fn reach_all(
        &mut self,
        asks: &[Ask],
        deadline: Deadline,
    ) -> Result<Vec<Reached>> {
        let mut all = Vec::new();
        let mut blind = false;
        for ask in asks {
            let (op, statement) = match ask {
                Ask::Query(sql) => (Op::Query(sql, None), seen::read(sql)),
                Ask::Execute(prepared, params) => {
                    (Op::Execute(prepared, params, None), prepared.statement)
                }
            };
            all.push(match blind && self.is_own() {
                true => self.reach_behind(&op, &statement, true, deadline).await?,
                false => self.reach(&op, &statement, deadline).await?,
            });
            if !blind && self.is_own() && statement.effect == Effect::Other {
                let facts = &seen::doing(ask.sql()).facts;
                blind = facts.moves_names || facts.executes();
            }
        }
        Ok(all)
    }

    /// It is known to, or of no matter.
    #[inline]
    pub(super) fn reaches_nothing(&self, op: &Op<'_>, statement: &sql::Statement) -> bool {
        !self.is_own() || self.is_harmless(statement, schema_of(op))
    }

    /// It is known to reach nothing.
    #[inline]
    fn is_harmless(&self, statement: &sql::Statement, schema: Option<&Option<Arc<str>>>) -> bool {
        let schema = schema.unwrap_or(&self.schema);
        let sight = || Sight {
            schema: name_of(schema),
            role: self.role(),
        };
        statement.effect != Effect::Other
            && self.catalog.as_ref().is_some_and(|catalog| {
                catalog.sight() == sight()
                    && self.is_current(catalog)
                    && (catalog.is_empty() || catalog.is_harmless(statement.digest))
            })
    }

    fn is_current(&self, catalog: &Catalog) -> bool {
        catalog.generation == self.generation() && !catalog.is_old()
    }

    fn generation(&self) -> u64 {
        self.home().group.definitions.load(Ordering::Acquire)
    }

    async fn reach_in(
        &mut self,
        schema: Option<Arc<str>>,
        text: &[u8],
        doing: Option<&Arc<Doing>>,
        statement: &sql::Statement,
        blind: bool,
        deadline: Deadline,
    ) -> Result<Reached> {
        let about = match statement.effect {
            Effect::Write => sql::About::writes(),
            Effect::Read => sql::About::reads(text),
            Effect::Other => sql::about(text),
        };
        if statement.effect == Effect::Other {
            self.may_define(about);
        }
        if !(about.reaches || about.begins || about.executes) {
            return Ok(None);
        }
        let facts = || doing.map_or_else(|| sql::facts(text), |doing| doing.facts.clone());
        let own = (statement.effect == Effect::Other).then(facts);
        let anything = || {
            let all = own.clone().unwrap_or_else(facts).and(Facts::of_anything());
            Ok(Some(Arc::new(Doing::new(all, text))))
        };
        if blind || own.as_ref().is_some_and(|own| own.blind) {
            return anything();
        }
        if self.shows_sessions() {
            return Ok(None);
        }
        // Nothing may run before a statement that asks what the one before left.
        let may_load = own.as_ref().is_none_or(|own| !asks_what_was_left(own));
        let home = name_of(&schema);
        let Some(catalog) = self.catalog_of(home, may_load, deadline).await? else {
            return anything();
        };
        if schema == self.schema {
            self.catalog = Some(catalog.clone());
        }
        let acts = own.as_ref().map_or(&[][..], |own| &own.acts);
        let executed = self.executed(acts).into_iter();
        let executed: Option<Vec<_>> = executed
            .map(|executed| executed.text().map(<[u8]>::to_vec))
            .collect();
        if executed.is_none() && !catalog.is_empty() {
            return anything();
        }
        let executed = executed.unwrap_or_default();
        let mut found: Option<Facts> = None;
        let mut add = |more: Option<Facts>| {
            if let Some(more) = more {
                found.get_or_insert_default().merge(&more);
            }
        };
        for text in iter::once(text).chain(executed.iter().map(Vec::as_slice)) {
            let here = catalog.find(text, statement);
            add(here.facts);
            for other in here.schemas {
                for name in catalog.names_of(&other) {
                    add(match self.catalog_of(name, may_load, deadline).await? {
                        Some(other) => other.find(text, statement).facts,
                        None => Some(Facts::of_anything()),
                    });
                }
            }
        }
        Ok(found.map(|reached| {
            let mut all = own.unwrap_or_else(facts);
            all.merge(&reached);
            all.reads_only = false;
            Arc::new(Doing::new(all, text).reaching())
        }))
    }

    /// Has all look again at what is defined, before a statement that may change it and behind it.
    fn may_define(&mut self, about: sql::About) {
        let prepared = &self.home().catalogs.prepared_changes;
        if about.defines && about.prepares {
            prepared.store(true, Ordering::Relaxed);
        }
        if about.defines || about.executes && prepared.load(Ordering::Relaxed) {
            self.party.mux.definitions_changed();
            self.defines = true;
        }
    }

    /// A statement is over, or nobody waits for it.
    pub(super) fn defined(&mut self) {
        if std::mem::take(&mut self.defines) {
            self.party.mux.definitions_changed();
        }
    }

    /// `None`: it can't be loaded now without doing harm.
    async fn catalog_of(
        &mut self,
        schema: &str,
        may_load: bool,
        deadline: Deadline,
    ) -> Result<Option<Arc<Catalog>>> {
        if self.has_unread_role() {
            if !may_load {
                return Ok(None);
            }
            let mut running = Running::new(self);
            let told = running.seat.ask_for_role(deadline).await;
            running.over = true;
            drop(running);
            told?;
        }
        let role = self.role().to_owned();
        let sight = Sight {
            schema,
            role: &role,
        };
        if let Some(catalog) = &self.catalog
            && catalog.sight() == sight
            && self.is_current(catalog)
        {
            return Ok(Some(catalog.clone()));
        }
        if !may_load || self.is_delicate() {
            let last = self.home().catalogs.last(sight);
            if last.is_some() || !may_load {
                return Ok(last);
            }
        }
        let began = Instant::now();
        let until = began + self.party.account.group.limits.acquire_timeout;
        let until = deadline.map_or(until, |(at, _)| at.min(until));
        loop {
            let step = Catalogs::step(self.home(), sight, self.generation(), self.face);
            let ticket = match step {
                Step::Known(catalog) => return Ok(Some(catalog)),
                Step::Load(ticket) => Some(ticket),
                // Who loads may wait for this handle's link.
                Step::Wait(_) if self.held.is_some() => None,
                Step::Wait(bell) => {
                    let rung = bell.wait(self.face, until).await;
                    if rung.map_err(no_reactor)?.is_some() {
                        continue;
                    }
                    None
                }
            };
            let mut running = Running::new(self);
            let loaded = running.seat.load(sight, deadline).await;
            running.over = true;
            drop(running);
            if let Ok(Some(catalog)) = &loaded {
                self.home().catalogs.put(catalog.clone());
            }
            drop(ticket);
            return loaded;
        }
    }

    /// The link that is kept has a role of which it isn't known which one it is.
    fn has_unread_role(&self) -> bool {
        let kept = self.held.as_ref().filter(|_| self.kept);
        kept.is_some_and(|link| link.session.pins.unread_role)
    }

    async fn ask_for_role(&mut self, deadline: Deadline) -> Result<()> {
        let why = "asking for the role".into();
        self.take(WHY, Need::Alone, deadline).await?;
        if let Some(link) = &mut self.held {
            link.deadline = deadline;
        }
        let told = self.learn_role(&why).await;
        if let Some(link) = &mut self.held {
            link.deadline = None;
        }
        match told {
            Err(e) => {
                self.lose()?;
                Err(self.not_run(e, deadline))
            }
            told => told,
        }
    }

    /// What runs on the link now may change what the handle's transaction sees, or fail.
    fn is_delicate(&self) -> bool {
        let link = self.held.as_ref().filter(|_| self.kept);
        link.is_some_and(|link| {
            let session = &link.session;
            session.in_transaction()
                || session.locks_tables()
                || session.awaits_transaction()
                || session.pins.has(PinReason::Xa)
                || !session
                    .status
                    .contains(StatusFlags::SERVER_STATUS_AUTOCOMMIT)
        })
    }

    async fn load(&mut self, sight: Sight<'_>, deadline: Deadline) -> Result<Option<Arc<Catalog>>> {
        let generation = self.generation();
        let mut again = true;
        loop {
            self.take(WHY, Need::Alone, deadline).await?;
            if self.is_delicate() {
                return self.load_elsewhere(sight, generation, deadline).await;
            }
            match self.load_here(sight, generation, deadline).await {
                Err(Error::ConnectionLost(_)) if again && self.held.is_none() => again = false,
                loaded => return loaded,
            }
        }
    }

    async fn load_here(
        &mut self,
        sight: Sight<'_>,
        generation: u64,
        deadline: Deadline,
    ) -> Result<Option<Arc<Catalog>>> {
        let was_kept = self.kept;
        let account = self.party.account.clone();
        let Some(link) = &mut self.held else {
            return Ok(None);
        };
        link.deadline = deadline;
        link.set_limits(self.party.opts.get_stmt_cache_size(), usize::MAX);
        let loaded = match was_kept {
            true => load_on(link, &account, sight, generation).await,
            false => load_plainly(link, &account, sight, generation).await,
        };
        link.deadline = None;
        match loaded {
            Ok(catalog) => {
                if !was_kept {
                    self.put_back();
                }
                Ok(Some(Arc::new(catalog)))
            }
            // Somebody ended it: nothing is known, for now.
            Err(Error::MySqlError(_)) => {
                if !was_kept {
                    self.put_back();
                }
                Ok(None)
            }
            Err(e) => {
                if let Error::ConnectionLost(_) = e {
                    // What went with it is told instead.
                    self.lose()?;
                } else {
                    self.after(Some(&e)).await?;
                }
                Err(self.not_run(e, deadline))
            }
        }
    }

    /// The statement itself was not sent.
    fn not_run(&self, e: Error, deadline: Deadline) -> Error {
        match (e, deadline) {
            (Error::ConnectionLost(e), _) => {
                let e = ConnectionLost {
                    ran: Ran::No,
                    ..(*e).clone()
                };
                Error::ConnectionLost(e.into())
            }
            (Error::StatementTimeout(_), Some((_, time))) => {
                StatementTimeout::new(&self.server_name(), time, Ran::No).into()
            }
            (e, _) => e,
        }
    }

    /// On another link than the handle's, if one can be had. On MariaDB looking for definitions
    /// changes nothing in a transaction.
    async fn load_elsewhere(
        &mut self,
        sight: Sight<'_>,
        generation: u64,
        deadline: Deadline,
    ) -> Result<Option<Arc<Catalog>>> {
        let account = self.party.account.clone();
        let until = Some((Instant::now() + ANOTHER, ANOTHER));
        if let Ok(Got::Link(link)) = self.acquire(WHY, Need::Alone, until).await {
            let mut borrowed = Borrowed {
                account: &account,
                link: Some(link),
            };
            let mut loaded = None;
            if let Some(link) = &mut borrowed.link {
                link.face = self.face;
                link.deadline = deadline;
                link.set_limits(self.party.opts.get_stmt_cache_size(), usize::MAX);
                loaded = load_plainly(link, &account, sight, generation).await.ok();
            }
            borrowed.give_back(loaded.is_some());
            return Ok(loaded.map(Arc::new));
        }
        let may_ask = self.held.as_ref().is_some_and(|link| {
            let session = &link.session;
            link.server.mariadb && !session.awaits_transaction() && !session.pins.has(PinReason::Xa)
        });
        match may_ask {
            true => self.load_here(sight, generation, deadline).await,
            false => Ok(None),
        }
    }
}

/// A link besides the handle's own.
struct Borrowed<'a> {
    account: &'a Arc<Account>,
    link: Option<Box<Link>>,
}

impl Borrowed<'_> {
    /// Where it is at rest.
    fn give_back(&mut self, is_quiet: bool) {
        if let Some(link) = self.link.take_if(|_| is_quiet) {
            self.account.group.put_back(link, self.account);
        }
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        if let Some(mut link) = self.link.take() {
            link.face = Face::Blocking;
            self.account.group.give_up(link, self.account, Close::Lost);
        }
    }
}

/// What the statement before it left.
fn asks_what_was_left(facts: &Facts) -> bool {
    facts.needs_diagnostics || facts.needs_row_count || facts.needs_found_rows || facts.needs_gtid
}

/// Where the names of a prepared statement are; `None`: it is none.
fn schema_of<'a>(op: &Op<'a>) -> Option<&'a Option<Arc<str>>> {
    match op {
        Op::Execute(prepared, ..) | Op::StartExecute(prepared, _) => Some(&prepared.schema),
        _ => None,
    }
}

fn name_of(schema: &Option<Arc<str>>) -> &str {
    schema.as_deref().unwrap_or("")
}

/// The same where the session on the link may be changed: variables that somebody has set, but for the
/// role, would have the server refuse, or take its time.
async fn load_plainly(
    link: &mut Link,
    account: &Account,
    sight: Sight<'_>,
    generation: u64,
) -> Result<Catalog> {
    link.move_to(&variables::with_role(sight.role)).await?;
    load_on(link, account, sight, generation).await
}

/// Loads all that a schema's definitions lead to. Where the server refuses, nothing is known.
async fn load_on(
    link: &mut Link,
    account: &Account,
    sight: Sight<'_>,
    generation: u64,
) -> Result<Catalog> {
    let Sight { schema, role } = sight;
    match definitions(link, account, schema).await {
        Ok(definitions) => Ok(definitions.catalog(schema, role, generation)),
        Err(e) if is_refusal(&e) => Ok(Catalog::blind(schema, role, generation)),
        Err(e) => Err(e),
    }
    .inspect(|catalog: &Catalog| {
        if account.group.limits.definitions_age.is_zero() {
            catalog.grow_old();
        }
    })
}

async fn definitions(link: &mut Link, account: &Account, schema: &str) -> Result<Definitions> {
    let (found, first) = link.schemas_and_definitions(schema).await?;
    let mut schemas = Schemas::new();
    for name in found {
        let names = schemas.entry(sql::lower(name.as_bytes())).or_default();
        names.push(name);
    }
    let home = sql::lower(schema.as_bytes());
    let schemas = account.catalogs.schemas(schemas);
    let mut definitions = Definitions::new(schemas.clone(), link.server.mariadb);
    let mut first = Some(first);
    while let Some((wanted, part)) = definitions.wants(&home) {
        let mut all = first.take().unwrap_or_default();
        let is_own = |name: &str| wanted == home && name == schema;
        let names = schemas.get(&wanted).map_or(&[][..], |names| names);
        // Other schemas' names may differ by their case only.
        let others = names
            .iter()
            .map(String::as_str)
            .filter(|name| !is_own(name));
        let own = (part == Part::Routines && wanted == home && !home.is_empty()).then_some(schema);
        for name in others.chain(own) {
            all.extend(link.definitions(name, part).await?);
        }
        definitions.add(&wanted, part, all);
    }
    Ok(definitions)
}
