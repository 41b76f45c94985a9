//! How a statement is to be run on a link alone: what it asks for of what its handle left, and what it will leave
//! itself, as its text and what it reaches tell.

use std::sync::Arc;

use super::{Seat, known::Reached};
use crate::{
    error::{Error, Result},
    link::Ask,
    mux::{group::Group, op::Op, wish::Need},
    opts::Opts,
    session::{Doing, InsertId, PinPolicy, PinReason, PreparedInSql, reasons, seen},
    sql::{self, Act, Effect, Facts},
};

/// How a statement is run on a link alone.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    /// It leaves the session as it is, or tells what becomes of it.
    pub neutral: bool,
    /// What to follow.
    pub doing: Option<Arc<Doing>>,
    /// It may have changed `LAST_INSERT_ID()` where it failed, and has cleared the warnings of before.
    pub writes: bool,
    /// One of them does.
    pub some_write: bool,
    /// `FOUND_ROWS()` counts the rows of the last of it. Most others that have a result leave the count
    /// as it is.
    pub is_query: bool,
    pub digest: u64,
    /// It asks for what was left, on this link.
    pub exact: Option<u32>,
    pub wanted: Option<Wanted>,
    pub needs_rows: bool,
    /// Of many statements those that ask for the rows that one before them finds, if it is done.
    pub rows_behind: Vec<usize>,
    pub needs_warnings: bool,
    /// It asks for the last transaction's GTID.
    pub needs_gtid: bool,
    /// It asks for `LAST_INSERT_ID()`.
    pub needs_id: bool,
    /// It calls a routine, which may.
    pub may_need_id: bool,
    /// A statement, and no command that leaves what the one before left.
    pub is_statement: bool,
    /// It prepares one, which leaves `ROW_COUNT()` as it was.
    pub prepares: bool,
    /// Many statements, or a result in pieces: nothing can be sent right before it.
    pub is_many: bool,
    /// A result in pieces: what it leaves is not known when it begins.
    pub is_stream: bool,
    /// It asks what a session that has just begun would answer.
    pub fresh: bool,
    /// It may set a resource group, which no reset undoes.
    pub regroups: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Diagnostics,
    RowCount,
    FoundRows,
    InsertId,
    Gtid,
}

impl Plan {
    /// For what the text of no statement is known of.
    pub(super) fn neutral() -> Plan {
        Plan {
            neutral: true,
            ..Plan::default()
        }
    }

    /// For a command that leaves something for the next statement, as statements do.
    pub(super) fn command() -> Plan {
        Plan {
            is_statement: true,
            ..Plan::neutral()
        }
    }

    /// It asks for what the last statement left.
    pub(super) fn asks(&self) -> bool {
        self.wanted.is_some()
    }

    pub(super) fn need(&self) -> Need {
        match self.exact {
            Some(link) => Need::Exact(link),
            None => Need::Alone,
        }
    }

    /// What was left on the link is asked for, so that nothing may run there before.
    pub(super) fn is_exact(&self) -> bool {
        self.exact.is_some()
    }

    /// It may change `LAST_INSERT_ID()`, or leave it.
    pub(super) fn may_leave_id(&self) -> bool {
        let facts = self.doing.as_ref().map(|doing| &doing.facts);
        self.writes
            || self.some_write
            || facts.is_some_and(|facts| facts.sets_insert_id || facts.unknown)
    }

    /// The session has to begin anew, whatever stands on the link.
    pub(super) fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Its text tells that something stays behind it.
    pub(super) fn pins(&self) -> bool {
        self.doing.is_some()
    }
}

/// A statement that another one executes; `None`: nothing is known of it.
pub(super) enum Executed<'a> {
    /// The text that executes it has prepared it.
    ByText(Option<&'a [u8]>),
    ByName(Option<&'a PreparedInSql>),
    AtOnce(Option<&'a [u8]>),
}

impl<'a> Executed<'a> {
    pub(super) fn text(&self) -> Option<&'a [u8]> {
        match self {
            Executed::ByText(text) | Executed::AtOnce(text) => *text,
            Executed::ByName(known) => known.and_then(|known| known.text.as_deref()),
        }
    }
}

/// What is known of one text, for what it leaves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    /// A query with no other statement behind it.
    pub is_query: bool,
    pub writes: bool,
}

impl Read {
    pub(super) fn new(sql: &[u8], read: &sql::Statement) -> Read {
        let text = sql.trim_ascii_end();
        let text = text.strip_suffix(b";").unwrap_or(text);
        Read {
            is_query: read.is_query && !text.contains(&b';'),
            writes: read.effect == Effect::Write,
        }
    }
}

impl Seat {
    /// How to run statements that may not be neutral, of these texts.
    ///
    /// # Errors
    /// The options don't allow what they would pin for.
    pub(super) fn plan<'a>(
        &mut self,
        neutral: bool,
        statement: &sql::Statement,
        texts: impl Iterator<Item = Text<'a>>,
    ) -> Result<Plan> {
        let mut plan = Plan {
            neutral,
            writes: statement.effect == Effect::Write,
            is_query: statement.is_query,
            digest: statement.digest,
            is_statement: true,
            ..Plan::default()
        };
        if !self.is_own() {
            plan.regroups = !neutral && texts.into_iter().any(|text| may_regroup(text.sql));
            return Ok(plan);
        }
        let mut needs_id = self.shows_sessions();
        let (mut needs_warnings, mut needs_count, mut needs_rows) = (false, false, false);
        let mut needs_gtid = false;
        let (mut first, mut queried, mut cleared) = (true, false, false);
        if !neutral {
            let mariadb = self.is_mariadb();
            for (at, text) in texts.enumerate() {
                let sql = text.sql;
                let mut doing = match text.doing {
                    Some(doing) => doing.clone(),
                    None if first => seen::doing(sql),
                    None => seen::doing_next(sql),
                };
                self.may_pin(&doing.facts, sql)?;
                plan.regroups |= may_regroup(sql);
                if doing.facts.executes() {
                    let facts = self.with_executed(doing.facts.clone(), 0);
                    Arc::make_mut(&mut doing).facts = facts;
                }
                let facts = &doing.facts;
                needs_id |= facts.needs_insert_id;
                plan.may_need_id |= facts.unknown;
                match facts.needs_found_rows {
                    true if queried => plan.rows_behind.push(at),
                    needs => needs_rows |= needs,
                }
                plan.is_query = text.read.is_query;
                plan.some_write |= text.read.writes;
                queried |= text.read.is_query;
                // Those of before, which not every statement clears on MariaDB.
                let left = first || self.has_left_warnings && !cleared;
                needs_warnings |= facts.needs_diagnostics && left;
                cleared |= !facts.needs_diagnostics && (text.read.writes || !mariadb);
                needs_count |= facts.needs_row_count && first;
                needs_gtid |= facts.needs_gtid;
                first = false;
                match &mut plan.doing {
                    None => plan.doing = Some(doing),
                    Some(all) => Arc::make_mut(all).add(facts.clone(), sql),
                }
            }
        }
        if needs_warnings || needs_rows || needs_count || needs_gtid {
            self.keeps_diagnostics = true;
        }
        if needs_id {
            self.home().group.asked_ids.mark(self.insert_digest);
        }
        plan.needs_id = needs_id;
        (plan.needs_rows, plan.needs_warnings) = (needs_rows, needs_warnings);
        plan.needs_gtid = needs_gtid;
        plan.wanted = match (needs_warnings, needs_rows, needs_count) {
            (true, ..) => Some(Wanted::Diagnostics),
            (_, true, _) => Some(Wanted::FoundRows),
            (.., true) => Some(Wanted::RowCount),
            _ => needs_gtid.then_some(Wanted::Gtid),
        };
        if self.held.is_none() {
            plan.exact = match (plan.wanted, self.insert_id) {
                (Some(Wanted::Gtid), _) if self.gtid_link != 0 => Some(self.gtid_link),
                (Some(_), _) if self.last_link != 0 => Some(self.last_link),
                (_, InsertId::OnLink(link)) if needs_id => Some(link),
                _ => None,
            };
            plan.fresh = plan.wanted.is_some() && self.last_link == 0;
        }
        Ok(plan)
    }

    /// How to prepare a statement of the protocol.
    ///
    /// # Errors
    /// The options don't allow what it would pin for.
    pub(super) fn plan_prepare(&self, sql: &[u8]) -> Result<Plan> {
        let mut plan = Plan {
            prepares: true,
            ..Plan::command()
        };
        if self.is_own() && sql.contains(&b'@') {
            let mut facts = sql::facts(sql);
            if facts.reads_user_variables {
                // On the link that is kept for it it will run.
                let asks = facts.needs_diagnostics || facts.needs_row_count;
                plan.fresh =
                    (asks || facts.needs_found_rows) && self.held.is_none() && self.last_link == 0;
                // Nothing else is done yet.
                facts = Facts {
                    user_variables: std::mem::take(&mut facts.user_variables),
                    other_user_variables: facts.other_user_variables,
                    acts: vec![Act::KeepTypes],
                    ..Facts::default()
                };
                self.may_pin(&facts, sql)?;
                plan.doing = Some(Arc::new(Doing::new(facts, sql)));
            }
        }
        Ok(plan)
    }

    /// The statements that these acts execute, as they are prepared when it comes to that.
    pub(super) fn executed<'a>(&'a self, acts: &'a [Act]) -> Vec<Executed<'a>> {
        let held = self.held.as_ref().map(|link| &link.session.pins);
        // Prepared, or forgotten, by the same text.
        let mut own: Vec<(&[u8], Option<&[u8]>)> = Vec::new();
        let mut all = Vec::new();
        for act in acts {
            match act {
                Act::Prepare { name, text } => own.push((name, text.as_deref())),
                Act::Deallocate(name) => own.push((name, None)),
                Act::Execute(name) => {
                    let mut last_first = own.iter().rev();
                    let own = last_first.find(|(own, _)| own.eq_ignore_ascii_case(name));
                    all.push(match own {
                        Some((_, text)) => Executed::ByText(*text),
                        None => Executed::ByName(held.and_then(|pins| pins.prepared(name))),
                    });
                }
                Act::ExecuteImmediate(text) => all.push(Executed::AtOnce(text.as_deref())),
                _ => {}
            }
        }
        all
    }

    /// With what the statements need that it executes by their names or texts.
    fn with_executed(&self, mut facts: Facts, depth: usize) -> Facts {
        let acts = facts.acts.clone();
        for executed in self.executed(&acts) {
            let inner = match executed {
                Executed::ByText(text) => text.map(sql::facts),
                Executed::ByName(known) => known.and_then(|known| known.facts.clone()),
                Executed::AtOnce(Some(text)) if depth < 3 => {
                    Some(self.with_executed(sql::facts(text), depth + 1))
                }
                Executed::AtOnce(_) => continue,
            };
            let Some(inner) = inner else {
                // Nobody prepared it, or its text isn't known.
                facts.needs_insert_id = true;
                facts.sets_insert_id = true;
                facts.other_user_variables = true;
                continue;
            };
            // What it does is followed when it has run.
            facts = facts.and(Facts {
                acts: Vec::new(),
                ..inner
            });
        }
        facts
    }

    fn may_pin(&self, facts: &Facts, sql: &[u8]) -> Result<()> {
        let policy = |reason| policy(&self.party.opts, &self.party.account.group, reason);
        let denied = reasons(facts).find(|reason| policy(*reason) == PinPolicy::Deny);
        match denied {
            None => Ok(()),
            Some(reason) => Err(Error::PinDenied {
                reason,
                statement: sql::outline(sql),
            }),
        }
    }
}

pub(super) fn policy(opts: &Opts, group: &Group, reason: PinReason) -> PinPolicy {
    let own = opts.get_pin_policy(reason);
    own.unwrap_or_else(|| group.pin_policy(reason))
}

/// The text of a statement to be run, and what is known of it.
pub(super) struct Text<'a> {
    sql: &'a [u8],
    doing: Option<&'a Arc<Doing>>,
    read: Read,
}

/// Those of many.
pub(super) fn texts_of<'a>(
    asks: &'a [Ask],
    reached: &'a [Reached],
    reads: &'a [Read],
) -> impl Iterator<Item = Text<'a>> {
    let all = asks.iter().zip(reached).zip(reads);
    all.map(|((ask, reached), read)| {
        let (sql, doing) = match ask {
            Ask::Query(sql) => (&sql[..], None),
            Ask::Execute(statement, _) => (&statement.sql[..], Some(statement)),
        };
        let prepared = || doing.map(|statement| statement.doing());
        Text {
            sql,
            doing: reached.as_ref().or_else(prepared),
            read: *read,
        }
    })
}

impl<'a> Op<'a> {
    /// The same with what it reaches, as it was read.
    pub(super) fn text_that<'b>(
        &'b self,
        reached: &'b Reached,
        read: &sql::Statement,
    ) -> impl Iterator<Item = Text<'b>> {
        let text = self.text().map(|(sql, doing)| Text {
            sql,
            doing: reached.as_ref().or(doing),
            read: Read::new(sql, read),
        });
        text.into_iter()
    }

    /// The text of a statement, and what is known of it.
    pub(super) fn text(&self) -> Option<(&[u8], Option<&Arc<Doing>>)> {
        match self {
            Op::Query(sql, _) | Op::Read(sql, _) | Op::StartQuery(sql) => Some((sql, None)),
            Op::Execute(statement, ..) | Op::StartExecute(statement, _) => {
                Some((&statement.sql, Some(statement.doing())))
            }
            _ => None,
        }
    }
}

/// The words `RESOURCE GROUP` are in it, perhaps in what it prepares.
fn may_regroup(sql: &[u8]) -> bool {
    let begins = |at: &[u8], word: &[u8]| {
        let word = at.get(..word.len()).map(|w| w.eq_ignore_ascii_case(word));
        word == Some(true)
    };
    let ends = sql.windows(8).enumerate();
    let ends = ends.filter(|(_, word)| word.eq_ignore_ascii_case(b"resource"));
    ends.map(|(at, _)| &sql[at + 8..]).any(|rest| {
        let gap = rest.iter().take_while(|b| !b.is_ascii_alphanumeric());
        let gap = gap.count();
        gap > 0 && begins(&rest[gap..], b"group")
    })
}
