//! What each session is asked at the end of a program: all that it holds.

use crate::{
    program::{Action, Program, Step},
    server::Kind,
};

/// The topic that these steps count under.
pub const TOPIC: &str = "final state";

/// Variables that are the connection's or the clock's, not the session's.
const NOT_OF_THE_SESSION: &[&str] = &[
    // The connection's id.
    "pseudo_thread_id",
    // The clock, unless it was set, which is asked for apart.
    "timestamp",
    // They depend on what ran before, and are 0 to a reader.
    "rand_seed1",
    "rand_seed2",
    // Of the last transaction anywhere, which is another on each side.
    "last_gtid",
    "gtid_current_pos",
    "gtid_binlog_pos",
    "gtid_binlog_state",
    "gtid_executed",
    "gtid_purged",
    "gtid_owned",
    "gtid_slave_pos",
    // Counted by the server, also for what the other side does.
    "statement_id",
    "system_versioning_insert_history",
    // The library asks to be told of changes; that is how it follows a session.
    "session_track_gtids",
    "session_track_schema",
    "session_track_state_change",
    "session_track_system_variables",
    "session_track_transaction_info",
];

/// The steps that ask a handle's session for its state, in an order in which none hides what the
/// next one asks for. `apart`: the variables that tell several servers apart.
pub fn steps(program: &Program, kind: Kind, apart: &[String], handle: usize) -> Vec<Step> {
    let left_out = NOT_OF_THE_SESSION.iter().copied();
    let left_out: Vec<_> = left_out.chain(apart.iter().map(String::as_str)).collect();
    let mut asks: Vec<String> = Vec::new();
    if program.keeps(handle) {
        asks.push("SHOW WARNINGS".into());
    }
    asks.extend([
        "SELECT LAST_INSERT_ID(), @@identity, @@insert_id".into(),
        "SELECT DATABASE(), CURRENT_ROLE(), @@autocommit".into(),
        format!(
            "SHOW SESSION VARIABLES WHERE Variable_name NOT IN ('{}')",
            left_out.join("', '")
        ),
        "SELECT IF(@@timestamp < 1100000000, @@timestamp, 'now')".into(),
        "SELECT @v0, @v1, @v2, @v3".into(),
    ]);
    for variable in ["@v0", "@v1", "@v2", "@v3"] {
        asks.push(format!(
            "SELECT CHARSET({variable}), COLLATION({variable}), COERCIBILITY({variable})"
        ));
    }
    // Of what else there may be, only what the program names.
    let text: String = program
        .steps
        .iter()
        .filter(|step| step.handle == handle)
        .map(|step| step.action.to_string() + "\n")
        .collect();
    for suffix in program.suffixes() {
        for number in 0..10 {
            let table = format!("tmp{number}{suffix}");
            let by_procedure = number == 0 && text.contains(&format!("p_tmp{suffix}"));
            if text.contains(&table) || by_procedure {
                asks.push(format!("SELECT COUNT(*) FROM {{db}}.{table}"));
            }
        }
        for number in 0..3 {
            let lock = format!("{{db}}_l{number}{suffix}");
            let by_routine = text.contains(&format!("_lock{suffix}"));
            if text.contains(&lock) || by_routine {
                asks.push(format!("SELECT IS_USED_LOCK('{lock}') = CONNECTION_ID()"));
            }
        }
    }
    for number in 0..3 {
        if text.contains(&format!("ps{number}")) {
            asks.push(format!("EXECUTE ps{number}"));
        }
    }
    // Last, for it sets what the next transaction is where none is open, and is an error where one is.
    // What MySQL shows of transactions in tables is not always up to date.
    asks.push(match kind {
        Kind::MariaDb => "SELECT @@in_transaction".into(),
        Kind::MySql => "SET TRANSACTION ISOLATION LEVEL READ COMMITTED".into(),
    });
    asks.into_iter()
        .map(|sql| Step {
            handle,
            topic: TOPIC,
            action: Action::Query(sql),
        })
        .collect()
}
