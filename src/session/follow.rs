//! What a statement leaves that stays with its link: the text says what it may be, the server's word
//! confirms it where there is one. What neither explains is pinned as unknown.
//!
//! # What the servers don't report
//! User variables assigned in an expression or by `INTO`, user locks, `HANDLER`, global locks on both
//! servers, roles on MySQL: the text has to tell. State changes without a variable or a schema
//! (`session_track_state_change`) are reported for `SET @x`, temporary tables, `PREPARE`, and
//! MariaDB's roles, whoever caused them: a trigger's are unknown.

use std::{sync::Arc, time::Instant};

use once_cell::sync::OnceCell;

use super::{PinReason, Pins, pins::PreparedInSql};
pub(crate) use crate::sql::{Act, Facts, Name};

/// A statement under way that is followed when it is done.
#[derive(Debug, Clone)]
pub(crate) struct Doing {
    pub facts: Facts,
    /// The statement for people.
    pub outline: Arc<str>,
    /// Variables that it may have set as `@@name`, which MariaDB doesn't report.
    pub unscoped: Vec<String>,
    /// It may have MariaDB's `SET STATEMENT` in it, or a limit of the wait for a lock, which is one.
    pub is_limited: bool,
    /// There are several, of which some may have been done where one failed.
    several: bool,
    /// It was prepared with this schema.
    bound: Option<Option<Arc<str>>>,
    /// It runs what others defined, of which an error says nothing.
    reaches: bool,
    /// It can't run others, so that an error of syntax is its own.
    plain: bool,
}

/// Words that statements begin with that may run others.
const RUNS: [&str; 18] = [
    "begin", "call", "create", "delete", "do", "execute", "explain", "handler", "insert", "load",
    "replace", "select", "set", "show", "table", "update", "values", "with",
];

impl Doing {
    pub(crate) fn new(facts: Facts, sql: &[u8]) -> Doing {
        let outline = crate::sql::outline(sql);
        let mut words = outline.split(|c: char| !c.is_ascii_alphabetic());
        let first = words.next().unwrap_or("").to_ascii_lowercase();
        Doing {
            is_limited: is_limited(sql),
            unscoped: unscoped(&facts, sql),
            facts,
            several: sql
                .trim_ascii_end()
                .iter()
                .rev()
                .skip(1)
                .any(|b| *b == b';'),
            bound: None,
            reaches: false,
            plain: !first.is_empty() && !RUNS.contains(&&*first),
            outline: outline.into(),
        }
    }

    /// What is done where nothing is.
    pub(crate) fn nothing() -> &'static Doing {
        static NOTHING: OnceCell<Doing> = OnceCell::new();
        NOTHING.get_or_init(|| Doing::new(Facts::default(), b""))
    }

    /// One more, right behind it.
    pub(crate) fn add(&mut self, facts: Facts, sql: &[u8]) {
        self.plain = false;
        self.several = true;
        self.is_limited |= is_limited(sql);
        self.unscoped.extend(unscoped(&facts, sql));
        self.facts = std::mem::take(&mut self.facts).and(facts);
    }

    /// The same, of a statement that was prepared with this schema.
    pub(crate) fn bound_to(mut self, schema: Option<Arc<str>>) -> Doing {
        self.bound = Some(schema);
        self
    }

    /// Names in it belong to this schema, if they belong to that of whoever runs it.
    pub(crate) fn is_bound_to(&self, schema: Option<&str>) -> bool {
        self.bound
            .as_ref()
            .is_none_or(|bound| bound.as_deref() == schema)
    }

    /// The same with what it reaches.
    pub(crate) fn reaching(mut self) -> Doing {
        self.reaches = true;
        self
    }

    /// It does something to the session, besides what each statement leaves.
    pub(crate) fn may_change(&self) -> bool {
        let facts = &self.facts;
        facts.unknown || facts.sets_user_variables || facts.sets_role || !facts.acts.is_empty()
    }

    /// Some of it may have been done although it failed.
    pub(crate) fn may_be_partly_done(&self) -> bool {
        self.several || self.reaches
    }

    /// What it set may not be told where it failed.
    pub(crate) fn is_untold(&self) -> bool {
        self.reaches
    }

    /// An error with which the server told that it did nothing at all.
    pub(crate) fn was_refused(&self, error: Option<u16>) -> bool {
        const ER_PARSE_ERROR: u16 = 1064;
        self.plain && !self.several && error == Some(ER_PARSE_ERROR)
    }
}

/// There is a word in it that ends with `STATEMENT`, or with `WAIT`, as `NOWAIT` does.
fn is_limited(sql: &[u8]) -> bool {
    let is_name = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    ["statement", "wait"].iter().any(|end| {
        let mut words = sql.windows(end.len()).enumerate();
        words.any(|(at, word)| {
            word.eq_ignore_ascii_case(end.as_bytes()) && !is_name(sql.get(at + end.len()))
        })
    })
}

/// The variables that a `SET` names as `@@name`, without a scope.
fn unscoped(facts: &Facts, sql: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    if !facts.acts.contains(&Act::SetVariables) {
        return names;
    }
    for (at, _) in sql.windows(2).enumerate().filter(|(_, two)| two == b"@@") {
        let rest = &sql[at + 2..];
        let rest = rest.strip_prefix(b"`").unwrap_or(rest);
        let is_name = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
        let len = rest.iter().take_while(|b| is_name(b)).count();
        if len > 0 && rest.get(len) != Some(&b'.') {
            names.push(String::from_utf8_lossy(&rest[..len]).to_ascii_lowercase());
        }
    }
    names
}

/// What it sets is reported by itself.
fn is_told(facts: &Facts, sql: &[u8]) -> bool {
    unscoped(facts, sql).is_empty() && !is_limited(sql)
}

/// What the server said of a statement, and when.
#[derive(Clone, Copy)]
pub(crate) struct Said<'a> {
    /// An error ended it; what came before the error was done.
    pub failed: bool,
    /// What it names may have been done all the same: it is several, and one of them failed.
    pub partly: bool,
    /// It failed, and the server doesn't tell of variables that it set.
    pub untold: bool,
    /// It was not parsed, so that nothing was done.
    pub refused: bool,
    /// The session changed in something that is neither a variable nor the schema.
    pub changed: bool,
    /// The schema that names belong to behind it, and whether it is that of all names in it.
    pub schema: Option<&'a str>,
    pub is_one_schema: bool,
    /// The statement for people.
    pub statement: &'a Arc<str>,
    pub now: Instant,
}

/// Brings the pins up to date. Whether the server has to be asked which user locks are left.
pub(crate) fn follow(pins: &mut Pins, facts: &Facts, said: &Said<'_>) -> bool {
    let mut explained = false;
    let asks = follow_one(pins, facts, said, &mut explained);
    if said.changed && !explained {
        pins.add(PinReason::Unknown, None, said.statement, said.now);
    }
    asks
}

fn follow_one(pins: &mut Pins, facts: &Facts, said: &Said<'_>, explained: &mut bool) -> bool {
    if said.refused {
        return false;
    }
    let add = |pins: &mut Pins, reason, name: Option<Arc<str>>| {
        pins.add(reason, name, said.statement, said.now);
    };
    if facts.unknown {
        *explained = true;
        add(pins, PinReason::Unknown, None);
    } else if facts.sets_user_variables {
        *explained = true;
        match facts.other_user_variables || facts.acts.contains(&Act::KeepTypes) {
            true => add(pins, PinReason::UserVariable, None),
            false => pins.unread(&facts.user_variables),
        }
    } else if facts.reads_user_variables && said.changed {
        // With a binary log one that is read and was not set is NULL from then on, which is reported
        // (`get_var_with_binlog` in both servers' `sql/item_func.cc`).
        *explained = true;
        pins.unread(&facts.user_variables);
    }
    if facts.sets_role {
        *explained = true;
        pins.unread_role = true;
    }
    if facts.uses_sequence {
        add(pins, PinReason::Sequence, None);
    }
    if facts.needs_connection_id {
        add(pins, PinReason::ConnectionId, None);
    }
    let may_be_done = !said.failed || said.partly;
    if facts.counts_found_rows && may_be_done {
        add(pins, PinReason::FoundRows, None);
    }
    let mut asks = false;
    for act in &facts.acts {
        match act {
            Act::CreateTemporary(name) | Act::CreateTemporarySequence(name) => {
                *explained = true;
                if may_be_done || said.changed {
                    let name = said.full(name).map(|name| match act {
                        Act::CreateTemporary(_) => name,
                        _ => sequence(&name),
                    });
                    add(pins, PinReason::TemporaryTable, name);
                }
            }
            Act::DropTables { names, .. } | Act::DropSequences(names) => {
                *explained = true;
                // A name is that of the temporary table, as long as there is one.
                if !said.failed {
                    for name in names.iter().filter_map(|name| said.full(name)) {
                        pins.end_one(PinReason::TemporaryTable, &sequence(&name));
                        if let Act::DropTables { .. } = act {
                            pins.end_one(PinReason::TemporaryTable, &name);
                        }
                    }
                }
            }
            Act::RenameTemporary => {
                if pins.has(PinReason::TemporaryTable) {
                    *explained = true;
                    add(pins, PinReason::TemporaryTable, None);
                }
            }
            Act::TakeLock(name) => {
                let name = name.as_deref().map(text);
                add(pins, PinReason::UserLock, name);
                asks = true;
            }
            Act::ReleaseLock(_) => asks = true,
            Act::ReleaseAllLocks => {
                // Also those whose names are not known; but nobody knows whether it is run among others, and when.
                let is_all = ["SELECT", "DO"].iter().any(|verb| {
                    let rest = said.statement.strip_prefix(verb).map(str::trim);
                    rest.is_some_and(|rest| rest.eq_ignore_ascii_case("RELEASE_ALL_LOCKS()"))
                });
                match is_all && !said.failed {
                    true => pins.end(PinReason::UserLock),
                    false => asks = true,
                }
            }
            Act::Prepare { name, text: sql } => {
                *explained = true;
                let name = name.to_ascii_lowercase();
                pins.prepared.retain(|known| known.name != name);
                if may_be_done {
                    // Of several that were to be prepared under the name it may be another.
                    let sql = sql.as_deref().filter(|_| !said.failed);
                    let known = sql.map(|sql| (crate::sql::facts(sql), sql));
                    let all = known.filter(|(facts, sql)| is_told(facts, sql));
                    let facts = all.map(|(facts, _)| facts);
                    add(pins, PinReason::PreparedStatement, Some(text(&name)));
                    let text = sql.map(Into::into);
                    let schema = said.one_schema().map(Into::into);
                    pins.prepared.push(PreparedInSql {
                        name,
                        text,
                        facts,
                        schema,
                    });
                }
            }
            Act::Deallocate(name) => {
                *explained = true;
                if !said.failed {
                    let name = name.to_ascii_lowercase();
                    pins.end_one(PinReason::PreparedStatement, &text(&name));
                    pins.prepared.retain(|known| known.name != name);
                }
            }
            Act::Execute(name) => {
                let known = pins.prepared(name);
                let is_bound = |known: &PreparedInSql| known.schema.as_deref() != said.one_schema();
                let said = &Said {
                    is_one_schema: !known.is_some_and(is_bound),
                    ..*said
                };
                match known.map(|known| known.facts.clone()) {
                    Some(Some(facts)) => asks |= follow_one(pins, &facts, said, explained),
                    // Nobody prepared it: it failed.
                    None if !may_be_done => {}
                    Some(None) | None => add(pins, PinReason::Unknown, None),
                }
            }
            Act::ExecuteImmediate(Some(sql)) => {
                let facts = crate::sql::facts(sql);
                if is_told(&facts, sql) {
                    asks |= follow_one(pins, &facts, said, explained);
                } else {
                    add(pins, PinReason::Unknown, None);
                }
            }
            Act::ExecuteImmediate(None) => add(pins, PinReason::Unknown, None),
            Act::OpenHandler(name) => {
                if may_be_done {
                    add(pins, PinReason::Handler, Some(text(name)));
                }
            }
            Act::CloseHandler(name) => {
                if !said.failed {
                    pins.end_one(PinReason::Handler, &text(name));
                }
            }
            Act::GlobalReadLock => add(pins, PinReason::GlobalLock, Some("tables".into())),
            Act::LockInstance => add(pins, PinReason::GlobalLock, Some("instance".into())),
            Act::BackupStage { ends: false } => {
                add(pins, PinReason::GlobalLock, Some("backup stage".into()));
            }
            Act::BackupLock => add(pins, PinReason::GlobalLock, Some("backup lock".into())),
            Act::UnlockTables => end_lock(pins, said, "tables"),
            Act::UnlockInstance => end_lock(pins, said, "instance"),
            Act::BackupStage { ends: true } => end_lock(pins, said, "backup stage"),
            Act::BackupUnlock => end_lock(pins, said, "backup lock"),
            Act::XaBegin | Act::XaPrepare => add(pins, PinReason::Xa, None),
            Act::XaEnd => {
                if !said.failed {
                    pins.end(PinReason::Xa);
                }
            }
            Act::ResourceGroup => add(pins, PinReason::ResourceGroup, None),
            Act::KeepTypes => add(pins, PinReason::UserVariable, None),
            Act::SetVariables if said.untold => add(pins, PinReason::Unknown, None),
            // The trackers tell.
            Act::LockTables | Act::SetVariables => {}
        }
    }
    asks
}

fn end_lock(pins: &mut Pins, said: &Said<'_>, which: &str) {
    if !said.failed {
        pins.end_one(PinReason::GlobalLock, which);
    }
}

/// The reasons for which a statement would pin, as far as its text tells.
pub(crate) fn reasons(facts: &Facts) -> impl Iterator<Item = PinReason> {
    let at_once = facts.acts.iter().filter_map(|act| match act {
        Act::ExecuteImmediate(Some(sql)) => Some(crate::sql::facts(sql)),
        _ => None,
    });
    // Such a text may hold another: no further than the first.
    let at_once = at_once.flat_map(|facts| own_reasons(&facts).collect::<Vec<_>>());
    own_reasons(facts).chain(at_once)
}

/// The same, but for texts that it runs.
fn own_reasons(facts: &Facts) -> impl Iterator<Item = PinReason> {
    let told = [
        (facts.unknown, PinReason::Unknown),
        (
            facts.sets_user_variables && facts.other_user_variables,
            PinReason::UserVariable,
        ),
        (facts.uses_sequence, PinReason::Sequence),
        (facts.needs_connection_id, PinReason::ConnectionId),
        (facts.counts_found_rows, PinReason::FoundRows),
        (
            facts.needs_diagnostics || facts.needs_row_count || facts.needs_found_rows,
            PinReason::Diagnostics,
        ),
    ];
    let acts = facts.acts.iter().filter_map(|act| match act {
        Act::CreateTemporary(_) | Act::CreateTemporarySequence(_) => {
            Some(PinReason::TemporaryTable)
        }
        Act::TakeLock(_) => Some(PinReason::UserLock),
        Act::Prepare { .. } => Some(PinReason::PreparedStatement),
        Act::ExecuteImmediate(None) => Some(PinReason::Unknown),
        Act::OpenHandler(_) => Some(PinReason::Handler),
        Act::GlobalReadLock
        | Act::LockInstance
        | Act::BackupStage { ends: false }
        | Act::BackupLock => Some(PinReason::GlobalLock),
        Act::LockTables => Some(PinReason::TableLocks),
        Act::XaBegin => Some(PinReason::Xa),
        Act::ResourceGroup => Some(PinReason::ResourceGroup),
        Act::KeepTypes => Some(PinReason::UserVariable),
        _ => None,
    });
    let told = told
        .into_iter()
        .filter_map(|(does, reason)| does.then_some(reason));
    told.chain(acts)
}

/// A name with its schema.
impl Said<'_> {
    /// The schema of all names in it.
    fn one_schema(&self) -> Option<&str> {
        self.schema.filter(|_| self.is_one_schema)
    }

    /// A table with its schema, if that is known.
    fn full(&self, name: &Name) -> Option<Arc<str>> {
        let table = String::from_utf8_lossy(&name.name);
        let schema = match &name.schema {
            Some(schema) => String::from_utf8_lossy(schema),
            None => self.one_schema()?.into(),
        };
        Some(format!("{schema}.{table}").into())
    }
}

/// A sequence by its name: to drop one leaves a table of that name.
fn sequence(name: &str) -> Arc<str> {
    format!("sequence {name}").into()
}

fn text(bytes: &[u8]) -> Arc<str> {
    String::from_utf8_lossy(bytes).into()
}
