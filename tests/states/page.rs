//! `docs/sessions.md`, from the rows.

use std::{fmt::Write, fs, path::Path};

use crate::rows::*;

const HEAD: &str = r#"# Sessions

<!-- Written by `MYSQL_MUX_BLESS=1 cargo test --test states`, from the rows of `tests/states`. -->

With `Isolation::Session`, the default, each handle has a session of its own, as if it had a connection of
its own: what it sets, locks and creates is there for its next statement, and for nobody else's. The
connections below, the links, are shared: a handle that is idle has none, and the next statement may run on
another. The session goes along in one of three ways:

- **It moves.** What can be set again (the schema, system variables, character sets, roles, what `SET TRANSACTION`
  said) is set again wherever the handle's next statement runs, in the same write.
- **It pins.** What only the server has (a transaction, a temporary table, a lock) keeps the link with the
  handle until its end: others use other links, or wait.
- **Kept, or an error.** What each statement leaves (`LAST_INSERT_ID()`, warnings, `ROW_COUNT()`) stands on the
  link until another handle's statement leaves its own. Who asks later gets `Error::NotKept`, never another's
  value, and from then on it is kept for statements like that one.

## User variables

Those that a statement sets by names that its text has are read back when the link could be left, with type,
collation and NULL, and go along like system variables: whatever runs, they are there, so that a trigger that reads
one finds the handle's. A link that has another handle's is reset first. Not moved are values of more than 16 KiB,
more than 64 of them, names with other letters than `a-z`, `0-9`, `_`, `.` and `$`, what routines set, and those that
a prepared statement of the protocol mentions; they pin.

## Seeing pins, and what to do about them

- `handle.pin()` is the first reason for which a handle keeps a link: what, of which name, since when, by
  which statement.
- `stats().total.pins(reason)` counts them.
- A wait for a link that ends in vain names who holds the links and why.
- `pin_policy(reason, PinPolicy::Deny)`, of a handle's options or for all handles of a mux, refuses statements
  that would pin, before they are sent, as far as their text tells; `Warn` has an event for each (feature `tracing`).
- `Handle::reset` begins the session anew, and ends every pin.
- `keep_insert_id` asks for `LAST_INSERT_ID()` behind each statement that may change it.
  `Handle::last_insert_id()` needs neither.
- `keep_diagnostics` keeps the link from each statement to the handle's next one.
- `Handle::lease` keeps a link for as long as it is there, whatever the statements do.

A link that is lost takes along what pinned: the next statement is an `Error::SessionLost` that names it, once,
and the session begins anew. What moves is restored, and nothing is told.

## What is not seen

The servers report changes of schema, variables and transactions, and most others in one word; the rest is
known by the text of statements, and by what it names: before the first statement that needs it, the views,
triggers and column defaults of its schema are looked up, with all views, triggers and routines that these
lead to, and what touches a session in them counts as if the statement had said it. A view that reads
`LAST_INSERT_ID()` reads the handle's, a trigger that takes a user lock pins. Harmless ones leave links shared.
A view, table or routine whose name stands in the text counts, whether it is meant or a column of that name.
What no text says and no server reports is not noticed, and may be found by whoever has the link next:

- What the account may not see: a view without `SHOW VIEW`, a trigger without `TRIGGER`. (A routine that such
  a view or trigger calls and that can't be seen counts as one that may do anything.)
- On MariaDB, what such a trigger sets as a user variable behind a statement with a deadline: until the next `SET` on
  the link its tracker is silent, as the limit goes by `SET STATEMENT`. (What the account may see is known before.)
- Definitions of other programs, or made in a procedure, for as long as `MuxBuilder::definitions_age` (a
  minute) since the schema was looked at. Those that this program's statements make are seen at once. In the
  middle of a transaction nothing new is looked at, if the schema is known.
- `LAST_INSERT_ID()` that a trigger reads where a procedure fires it, on a link where the handle's is lost.
- MySQL's warning that two storage engines are combined (6414) is also given for the first change of an InnoDB
  table behind a change of a `MEMORY` or `MyISAM` table that was committed by itself, unless something of InnoDB was
  read in between: it may be another's change, or be missed behind what we ask.
- `ROW_COUNT()` and `FOUND_ROWS()` that a trigger or routine reads behind a statement of its own are taken for
  what that left, whether or not it was run.
- `CONNECTION_ID()` as a column's default, on MySQL.
- On MySQL `@@character_set_database` of a handle's schema is what it is now, and not what it was when the handle went
  there.
- On MySQL a resource group that a procedure sets stays with the link.
- `FOUND_ROWS()`, `ROW_COUNT()` and warnings of the statement before that a routine asks for are the link's, unless
  `keep_diagnostics` is set.
- A role has the rights that it has where it was set last, which may be after they were changed. One that is dropped
  or taken away can't be set again: `Error::SessionNotRestored`.
- `SET GLOBAL` is for sessions that begin later, and on a link a session begins with the login or a reset: a
  new handle on a link that nobody had to reset has the values of before.
- `SHOW STATUS`, `performance_schema` and the process list are about the link, and all who used it.
- A prepared statement of the protocol whose text means something else by another `sql_mode` or character set, and
  that is run by another than it was prepared by. MySQL reads its text again where a parameter has another type than
  the last time, by those of then, and goes on with that.

## Every state

*Until* is what ends it; every state ends with the handle and with `Handle::reset`. Words in *as* are those of
`PinReason`. Each line is tried by `tests/states.rs`, on both servers where none is named.
"#;

/// Text as code in a table's cell.
fn code(text: &str) -> String {
    let ticks = if text.contains('`') { "``" } else { "`" };
    format!("{ticks}{}{ticks}", text.replace('|', "\\|"))
}

fn all(statements: &[&str]) -> String {
    let all: Vec<_> = statements.iter().map(|sql| code(sql)).collect();
    all.join("; ")
}

fn kept(kept: Kept) -> String {
    match kept {
        Kept::Moves => "moves".to_owned(),
        Kept::Pins(reason) => format!("pins: {reason}"),
        Kept::InsertId => "kept or an error: `keep_insert_id`".to_owned(),
        Kept::Diagnostics => "kept or an error: `keep_diagnostics`".to_owned(),
        Kept::Nothing => "nothing is left".to_owned(),
        Kept::Connections => "the link's".to_owned(),
        Kept::Servers => "the server's".to_owned(),
    }
}

fn until(until: Until) -> String {
    match until {
        // Words, where it is none.
        Until::Statement([words]) if words.starts_with("its ") => words.to_string(),
        Until::Statement(statements) => all(statements),
        Until::Reset | Until::ItsOwn => String::new(),
    }
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    for (title, states) in STATES {
        let _ = write!(
            page,
            "\n### {title}\n\n| state | by | as | until | |\n| --- | --- | --- | --- | --- |\n"
        );
        for state in *states {
            let only = match state.servers {
                Both => "",
                MariaDb => "MariaDB",
                MySql => "MySQL",
            };
            let note: Vec<_> = [only, state.note]
                .into_iter()
                .filter(|s| !s.is_empty())
                .collect();
            let _ = writeln!(
                page,
                "| {} | {} | {} | {} | {} |",
                state.name,
                all(state.sql),
                kept(state.kept),
                until(state.until),
                note.join(": "),
            );
        }
    }
    page
}

/// The page on disk is this one; it is written where `MYSQL_MUX_BLESS` is set.
pub fn check() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/sessions.md");
    let page = page();
    if std::env::var_os("MYSQL_MUX_BLESS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let is = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        is == page,
        "docs/sessions.md is not what the rows say: MYSQL_MUX_BLESS=1 cargo test --test states \
         writes it"
    );
}
