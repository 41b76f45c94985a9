//! The kinds of statements, by topic: a file or two tables each.

use crate::template::Template;

mod ids;
mod plain;
mod prepared;
mod replicas;
mod routines;
mod schemas;
mod server_state;
mod setup;
mod transactions;
mod user_variables;
mod variables;

pub use setup::SETUP;

/// A topic.
#[derive(Debug)]
pub struct Topic {
    pub name: &'static str,
    pub weight: u32,
    /// Its statements may leave a handle with what only the server holds.
    pub pins: bool,
    pub templates: &'static [Template],
}

const fn topic(
    name: &'static str,
    weight: u32,
    pins: bool,
    templates: &'static [Template],
) -> Topic {
    Topic {
        name,
        weight,
        pins,
        templates,
    }
}

/// All of them.
pub const TOPICS: &[Topic] = &[
    topic("plain", 24, false, plain::ALL),
    topic("ddl", 4, false, plain::DDL),
    topic("variables", 12, false, variables::ALL),
    topic("user-variables", 10, true, user_variables::ALL),
    topic("insert-ids", 10, false, ids::INSERT_IDS),
    topic("diagnostics", 10, true, ids::DIAGNOSTICS),
    topic("routines", 8, true, routines::ALL),
    topic("prepared", 10, false, prepared::PROTOCOL),
    topic("sql-prepare", 5, true, prepared::SQL),
    topic("schemas", 4, false, schemas::SCHEMAS),
    topic("roles", 4, false, schemas::ROLES),
    topic("several", 5, false, schemas::SEVERAL),
    topic("outside", 2, false, schemas::OUTSIDE),
    topic("transactions", 20, true, transactions::ALL),
    topic("temporary", 10, true, server_state::TEMPORARY),
    topic("sequences", 4, true, ids::SEQUENCES),
    topic("locks", 8, true, server_state::LOCKS),
    topic("handler", 2, true, server_state::HANDLER),
    topic("open-routines", 4, true, routines::OPEN),
    topic("replicas", 40, false, replicas::ALL),
];

/// Whether what a template has can't be the same where there are replicas, on any connection.
pub fn parts_servers(template: &str) -> bool {
    const WORDS: &[&str] = &[
        // What is written then is not replicated, and what is replicated later may need it.
        "SET sql_log_bin",
    ];
    WORDS.iter().any(|word| template.contains(word))
}
