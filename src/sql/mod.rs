//! What a statement does to its session, as far as its text tells: whether it may run on a
//! connection that other handles use, between their statements.
//!
//! A statement is *neutral* ([`Effect::Read`], [`Effect::Write`]) if it neither reads nor changes
//! anything of the session but what those who share it have in common: the account, the schema, the
//! character set and the variables as they were after the login. All others, and all that isn't
//! understood, are [`Effect::Other`]. A wrong `Other` costs time; a wrong `Read` or `Write` would
//! give one handle another's state. Hence nothing is neutral that isn't known to be: verbs, words
//! before parentheses and bytes are whitelisted. Words that stand alone can't be, as any may be a
//! column: those of them that touch the session are listed (`words`), from the grammars of both
//! servers.
//!
//! # What the text doesn't tell
//! - The schema: in `performance_schema`, `sys` and `information_schema` as the default schema, a
//!   plain name may be a view of the session. Who calls knows the schema.
//! - Triggers, views and defaults of columns may do anything: [`mentions`] says which names a text has,
//!   and [`body`] what a definition does by its own text. Who has both tells the rest.
//! - What each statement leaves behind: warnings, `LAST_INSERT_ID()`, `FOUND_ROWS()`,
//!   `ROW_COUNT()`. Statements that read them are `Other`, but with `sql_auto_is_null` set for all
//!   sessions, `WHERE id IS NULL` reads the last insert id, too.
//! - Whether `NO_BACKSLASH_ESCAPES` is set: who calls has to know, for it moves the ends of strings.
//!   All other SQL modes read alike, or the statement is `Other`; so do all character sets
//!   besides `swe7`, where `~` and `^` are letters.
//! - Stored and loadable functions with the name of a built-in one, on servers older than MySQL
//!   5.7.22 and MariaDB 10.5 (see `functions`).

mod alike;
mod bodies;
mod cache;
mod definitions;
mod digest;
mod effect;
mod expressions;
mod facts;
#[cfg(test)]
mod facts_tests;
mod functions;
mod mentions;
mod outline;
mod pieces;
mod prepared;
mod read_only;
mod reader;
mod routine;
mod settings;
mod shows;
mod statement;
#[cfg(test)]
mod tests;
mod token;
mod words;

pub(crate) use bodies::{Body, Of, body};
pub(crate) use cache::Cache;
pub(crate) use facts::{Act, Facts, Name, facts};
pub(crate) use mentions::{About, about, is_told_by_digest, lower, mentions, part_of};
pub(crate) use outline::outline;
pub(crate) use read_only::{begins_read_only, may_run_on_replica};

use digest::Digest;
use effect::Reading;
use token::{Kind, Token, Tokens};

/// What a statement does to its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing, nor to anything else: it may run again.
    Read,
    /// Nothing, but it writes or locks.
    Write,
    /// Anything.
    Other,
}

impl Effect {
    /// Of two statements in a row.
    pub(crate) fn and(self, other: Effect) -> Effect {
        match (self, other) {
            (Effect::Other, _) | (_, Effect::Other) => Effect::Other,
            (Effect::Write, _) | (_, Effect::Write) => Effect::Write,
            (Effect::Read, Effect::Read) => Effect::Read,
        }
    }
}

/// What the text of a statement tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Statement {
    pub effect: Effect,
    /// It is a `SELECT`, or a `WITH` of one: `FOUND_ROWS()` counts its rows.
    pub is_query: bool,
    /// Equal for statements that differ in literals only.
    pub digest: u64,
    /// Where an optimizer hint can be put in: behind a leading `SELECT` that has none.
    pub hint_at: Option<usize>,
}

/// Reads a statement. It allocates nothing, and reads all of the text once; where there are
/// backslashes twice, because it isn't known here whether the session's `NO_BACKSLASH_ESCAPES` is on,
/// and what is neutral must be so either way.
pub(crate) fn read(sql: &[u8]) -> Statement {
    let mut statement = read_as(sql, false);
    if statement.effect != Effect::Other
        && sql.contains(&b'\\')
        && read_as(sql, true).effect != statement.effect
    {
        statement.effect = Effect::Other;
    }
    statement
}

fn read_as(sql: &[u8], no_backslash_escapes: bool) -> Statement {
    let mut tokens = Tokens::new(sql, no_backslash_escapes);
    let (mut reading, mut digest) = (Reading::new(), Digest::new());
    let mut hint_at = None;
    let mut count = 0;
    loop {
        let token = tokens.next();
        if tokens.dangerous {
            reading.give_up();
        }
        if tokens.hinted && count == 1 {
            hint_at = None;
        }
        let Some(token) = &token else { break };
        if count == 0 {
            hint_at = behind_select(token, sql);
        }
        count += 1;
        reading.token(token, sql);
        digest.token(token);
        if reading.is_other() && token.end > digest::LIMIT {
            break;
        }
    }
    Statement {
        effect: reading.effect(),
        is_query: reading.is_query(),
        digest: digest.finish(),
        hint_at,
    }
}

fn behind_select(token: &Token, sql: &[u8]) -> Option<usize> {
    let text = &sql[token.start..token.end];
    let is_select = token.kind == Kind::Word && text.eq_ignore_ascii_case(b"select");
    is_select.then_some(token.end)
}
