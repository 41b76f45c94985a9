//! The rows: what the tests try and what the page says.

use mysql_mux::PinReason;

/// Where there is such a state, or where it is followed like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Servers {
    Both,
    MariaDb,
    MySql,
}

pub use Servers::*;

/// What becomes of a state when its handle's statement is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It goes with the handle to whatever link.
    Moves,
    /// The link stays with the handle.
    Pins(PinReason),
    /// There until another handle's statement makes its own; then kept where it is known that it is
    /// asked for, or an error. `keep_insert_id` keeps it always.
    InsertId,
    /// The same, with `keep_diagnostics`.
    Diagnostics,
    /// It was for one statement.
    Nothing,
    /// The physical connection has it, and all who used it.
    Connections,
    /// All sessions have it.
    Servers,
}

/// What ends it.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    Statement(&'static [&'static str]),
    /// `Handle::reset`, as a new session would.
    Reset,
    /// It ends by itself.
    ItsOwn,
}

/// What others answer to the probe.
#[derive(Clone, Copy, Debug)]
pub enum Others {
    /// The same as a session in which nothing was done.
    AsBegun,
    /// To another probe, this.
    See(&'static str, &'static str),
    /// Something that changes with time, but not what the handle sees.
    SeeOther,
    /// Nothing: they would wait.
    Wait,
}

/// A kind of state.
#[derive(Clone, Copy, Debug)]
pub struct State {
    pub name: &'static str,
    /// What makes it; `Handle::…`: by the API.
    pub sql: &'static [&'static str],
    pub servers: Servers,
    pub kept: Kept,
    pub until: Until,
    /// Answers otherwise where the state is; empty: nothing does.
    pub probe: &'static str,
    pub others: Others,
    /// It is as it began again.
    pub is_back: bool,
    /// One of the statements fails.
    pub fails: bool,
    /// It is there again after a loss of the link was told.
    pub survives: bool,
    /// A test of its own, where a row can't say it.
    pub tested_by: &'static str,
    pub note: &'static str,
    /// By prepared statements it pins, for this reason.
    pub prepared: Option<PinReason>,
}

impl State {
    const fn new(name: &'static str, kept: Kept, sql: &'static [&'static str]) -> State {
        State {
            name,
            sql,
            servers: Both,
            kept,
            until: match kept {
                Kept::Moves | Kept::Pins(_) => Until::Reset,
                _ => Until::ItsOwn,
            },
            probe: "",
            others: Others::AsBegun,
            is_back: false,
            survives: false,
            fails: false,
            tested_by: "",
            note: "",
            prepared: None,
        }
    }

    const fn on(mut self, servers: Servers) -> State {
        self.servers = servers;
        self
    }

    const fn until(mut self, statements: &'static [&'static str]) -> State {
        self.until = Until::Statement(statements);
        self
    }

    const fn probe(mut self, probe: &'static str) -> State {
        self.probe = probe;
        self
    }

    const fn others(mut self, others: Others) -> State {
        self.others = others;
        self
    }

    const fn back(mut self) -> State {
        self.is_back = true;
        self
    }

    const fn survives(mut self) -> State {
        self.survives = true;
        self
    }

    const fn fails(mut self) -> State {
        self.fails = true;
        self
    }

    const fn tested_by(mut self, test: &'static str) -> State {
        self.tested_by = test;
        self
    }

    const fn prepared(mut self, reason: PinReason) -> State {
        self.prepared = Some(reason);
        self
    }

    const fn note(mut self, note: &'static str) -> State {
        self.note = note;
        self
    }
}

const fn moves(name: &'static str, sql: &'static [&'static str]) -> State {
    State::new(name, Kept::Moves, sql)
}

const fn pins(name: &'static str, reason: PinReason, sql: &'static [&'static str]) -> State {
    State::new(name, Kept::Pins(reason), sql)
}

const fn id(name: &'static str, sql: &'static [&'static str]) -> State {
    State::new(name, Kept::InsertId, sql).probe("SELECT LAST_INSERT_ID()")
}

const fn left(name: &'static str, sql: &'static [&'static str], probe: &'static str) -> State {
    State::new(name, Kept::Diagnostics, sql).probe(probe)
}

const fn other(name: &'static str, kept: Kept, sql: &'static [&'static str]) -> State {
    State::new(name, kept, sql)
}

/// What notes begin with where the text says nothing.
pub const TOLD: &str = "told by the server";

const ZONE: &str = "SELECT @@time_zone";
const NAMES: &str = "SELECT CONCAT_WS(' ', @@character_set_client, @@character_set_connection, \
     @@character_set_results, @@collation_connection)";
const MODE: &str = "SELECT @@sql_mode";
const ITEMS: &str = "SELECT COUNT(*) FROM items";
const MINE: &str = "SELECT COUNT(*) FROM mine";
const FREE: &str = "SELECT IS_FREE_LOCK('states')";
const CHARACTERISTICS: &str = "SHOW SESSION VARIABLES WHERE Variable_name IN \
     ('tx_isolation', 'transaction_isolation', 'tx_read_only', 'transaction_read_only')";

pub const STATES: &[(&str, &[State])] = &[
    ("The schema", SCHEMA),
    ("Character sets", CHARSETS),
    ("System variables", VARIABLES),
    ("User variables", USER_VARIABLES),
    ("Transactions", TRANSACTIONS),
    ("Locks", LOCKS),
    ("Temporary tables", TABLES),
    ("Prepared statements and cursors", STATEMENTS),
    ("What a statement leaves", LEFT),
    ("Sequences, roles, resource groups", OTHERS),
    ("One statement's own", ONE),
    ("The connection's and the server's", PHYSICAL),
];

const SCHEMA: &[State] = &[
    moves("the schema, by USE", &["USE mysql"]).probe("SELECT DATABASE()"),
    moves(
        "the schema, by COM_INIT_DB",
        &["Handle::select_db(\"mysql\")"],
    )
    .probe("SELECT DATABASE()"),
    moves(
        "no schema, as the current one was dropped",
        &[
            "CREATE DATABASE states_gone",
            "USE states_gone",
            "DROP DATABASE states_gone",
        ],
    )
    .probe("SELECT DATABASE()")
    .note("no command leaves a schema: another link that has one changes its user"),
    moves("the schema's character set", &["USE states_latin1"])
        .probe("SELECT @@character_set_database"),
    pins(
        "the same, set",
        PinReason::SystemVariable,
        &["SET character_set_database = latin1"],
    )
    .probe("SELECT @@character_set_database"),
];

const CHARSETS: &[State] = &[
    moves("SET NAMES", &["SET NAMES latin1 COLLATE latin1_bin"])
        .probe(NAMES)
        .until(&["SET NAMES utf8mb4"]),
    moves("the character set of literals", &["SET NAMES latin1"])
        .probe("SELECT CHARSET('a'), COLLATION('a')"),
    moves("SET CHARACTER SET", &["SET CHARACTER SET latin1"]).probe(NAMES),
    moves(
        "character_set_client",
        &["SET character_set_client = latin1"],
    )
    .probe(NAMES),
    moves(
        "character_set_connection",
        &["SET character_set_connection = latin1"],
    )
    .probe(NAMES),
    moves(
        "collation_connection",
        &["SET collation_connection = utf8mb4_bin"],
    )
    .probe(NAMES),
    moves(
        "character_set_results",
        &["SET character_set_results = NULL"],
    )
    .probe("SELECT @@character_set_results IS NULL"),
    pins(
        "collation_server",
        PinReason::SystemVariable,
        &["SET collation_server = latin1_bin"],
    )
    .probe("SELECT @@collation_server, @@character_set_server")
    .note("it and `character_set_server` set each other, and not both are reported"),
    pins(
        "default_collation_for_utf8mb4",
        PinReason::SystemVariable,
        &["SET default_collation_for_utf8mb4 = utf8mb4_general_ci"],
    )
    .on(MySql)
    .probe("SELECT @@default_collation_for_utf8mb4")
    .note("`SET NAMES utf8mb4` then means another"),
];

const VARIABLES: &[State] = &[
    moves("time_zone", &["SET time_zone = '+03:00'"])
        .probe("SELECT @@time_zone, FROM_UNIXTIME(0)")
        .until(&["SET time_zone = DEFAULT"])
        .note("all variables move but those that are named here"),
    moves("with a scope", &["SET @@SESSION.time_zone = '+03:00'"]).probe(ZONE),
    moves("LOCAL", &["SET LOCAL time_zone = '+03:00'"]).probe(ZONE),
    moves("without a scope", &["SET @@time_zone = '+03:00'"])
        .probe(ZONE)
        .note("MariaDB does not report it: it is asked for"),
    moves(
        "from an expression",
        &["SET time_zone = (SELECT CONCAT('+0', 3, ':00'))"],
    )
    .probe(ZONE),
    moves(
        "many at once",
        &["SET time_zone = '+03:00', sql_safe_updates = 1, @@lc_time_names = 'de_DE'"],
    )
    .probe("SELECT @@time_zone, @@sql_safe_updates, @@lc_time_names"),
    moves(
        "one of many failed",
        &[
            "SET time_zone = '+03:00'",
            "SET time_zone = '+04:00', lc_time_names = 'xx'",
        ],
    )
    .probe("SELECT @@time_zone, @@lc_time_names")
    .fails(),
    moves(
        "set back",
        &["SET foreign_key_checks = 0", "SET foreign_key_checks = 1"],
    )
    .probe("SELECT @@foreign_key_checks")
    .back(),
    moves("foreign_key_checks", &["SET foreign_key_checks = 0"])
        .probe("SELECT @@foreign_key_checks")
        .until(&["SET foreign_key_checks = 1"]),
    moves("unique_checks", &["SET unique_checks = 0"]).probe("SELECT @@unique_checks"),
    moves("sql_mode", &["SET sql_mode = 'ANSI'"]).probe(MODE),
    moves("ANSI_QUOTES", &["SET sql_mode = 'ANSI_QUOTES'"]).probe("SELECT \"a\""),
    moves(
        "NO_BACKSLASH_ESCAPES",
        &["SET sql_mode = 'NO_BACKSLASH_ESCAPES'"],
    )
    .probe("SELECT 'a\\\\b'"),
    moves("PIPES_AS_CONCAT", &["SET sql_mode = 'PIPES_AS_CONCAT'"]).probe("SELECT 1 || 0"),
    moves("IGNORE_SPACE", &["SET sql_mode = 'IGNORE_SPACE'"]).probe(MODE),
    moves("ORACLE", &["SET sql_mode = 'ORACLE'"])
        .on(MariaDb)
        .probe(MODE),
    moves("lc_time_names", &["SET lc_time_names = 'de_DE'"])
        .probe("SELECT DATE_FORMAT('2024-01-01', '%W')"),
    moves("lc_messages", &["SET lc_messages = 'de_DE'"]).probe("SELECT @@lc_messages"),
    moves("default_week_format", &["SET default_week_format = 3"])
        .probe("SELECT WEEK('2024-01-01')"),
    moves(
        "div_precision_increment",
        &["SET div_precision_increment = 9"],
    )
    .probe("SELECT 1 / 3"),
    moves("group_concat_max_len", &["SET group_concat_max_len = 4"])
        .probe("SELECT GROUP_CONCAT(id) FROM items"),
    moves("sql_select_limit", &["SET sql_select_limit = 2"]).probe("SELECT id FROM items"),
    moves("sql_safe_updates", &["SET sql_safe_updates = 1"])
        .probe("UPDATE items SET v = v WHERE v > 0"),
    pins(
        "sql_auto_is_null",
        PinReason::SystemVariable,
        &["SET sql_auto_is_null = 1"],
    )
    .probe("SELECT @@sql_auto_is_null"),
    moves(
        "optimizer_switch",
        &["SET optimizer_switch = 'index_merge=off'"],
    )
    .probe("SELECT @@optimizer_switch"),
    moves(
        "default_storage_engine",
        &["SET default_storage_engine = MyISAM"],
    )
    .probe("SELECT @@default_storage_engine"),
    moves(
        "block_encryption_mode",
        &["SET block_encryption_mode = 'aes-256-cbc'"],
    )
    .on(MySql)
    .probe("SELECT @@block_encryption_mode"),
    moves(
        "auto_increment_increment",
        &["SET auto_increment_increment = 10"],
    )
    .probe("SELECT @@auto_increment_increment"),
    moves("max_statement_time", &["SET max_statement_time = 5"])
        .on(MariaDb)
        .probe("SELECT @@max_statement_time"),
    moves("max_execution_time", &["SET max_execution_time = 5000"])
        .on(MySql)
        .probe("SELECT @@max_execution_time"),
    moves("lock_wait_timeout", &["SET lock_wait_timeout = 7"]).probe("SELECT @@lock_wait_timeout"),
    moves("wait_timeout", &["SET wait_timeout = 1000"])
        .probe("SELECT @@wait_timeout")
        .note(
            "the server's patience with the link, not with the handle: an idle link is the mux's",
        ),
    moves("interactive_timeout", &["SET interactive_timeout = 1000"])
        .probe("SELECT @@interactive_timeout"),
    moves("gtid_domain_id", &["SET gtid_domain_id = 7"])
        .on(MariaDb)
        .probe("SELECT @@gtid_domain_id"),
    moves("in a trigger", &["INSERT INTO zoned VALUES (1)"])
        .probe(ZONE)
        .note("told by the server"),
    moves(
        "in a trigger, as @@name",
        &["INSERT INTO unzoned VALUES (1)"],
    )
    .on(MySql)
    .probe(ZONE)
    .note("told by the server"),
    pins(
        "the same on MariaDB",
        PinReason::Unknown,
        &["INSERT INTO unzoned VALUES (1)"],
    )
    .on(MariaDb)
    .probe(ZONE),
    pins(
        "in a stored function",
        PinReason::Unknown,
        &["SELECT sets_zone()"],
    )
    .probe(ZONE)
    .survives()
    .note("whatever a routine does: it may have done more"),
    pins("in a procedure", PinReason::Unknown, &["CALL sets_zone()"])
        .probe(ZONE)
        .survives(),
    pins(
        "timestamp",
        PinReason::SystemVariable,
        &["SET timestamp = 1000000000"],
    )
    .probe("SELECT UNIX_TIMESTAMP() = 1000000000"),
    pins(
        "insert_id",
        PinReason::SystemVariable,
        &["SET insert_id = 77"],
    )
    .probe("SELECT @@insert_id"),
    pins(
        "rand_seed1, rand_seed2",
        PinReason::SystemVariable,
        &["SET rand_seed1 = 1, rand_seed2 = 2"],
    )
    .probe("SELECT RAND()")
    .others(Others::SeeOther),
    pins(
        "sql_log_bin",
        PinReason::SystemVariable,
        &["SET sql_log_bin = 0"],
    )
    .probe("SELECT @@sql_log_bin"),
    pins(
        "max_join_size",
        PinReason::SystemVariable,
        &["SET max_join_size = 10"],
    )
    .probe("SELECT @@max_join_size, @@sql_big_selects")
    .note("it turns sql_big_selects off, which is not reported"),
    pins(
        "alter_algorithm",
        PinReason::SystemVariable,
        &["SET old_alter_table = 'COPY'"],
    )
    .on(MariaDb)
    .probe("SELECT @@alter_algorithm")
    .note("it has two names, as `slow_query_log` has, and `log_slow_disabled_statements` has flags by name"),
    pins(
        "gtid_seq_no",
        PinReason::SystemVariable,
        &["SET gtid_seq_no = 100"],
    )
    .on(MariaDb)
    .probe("SELECT @@gtid_seq_no"),
    pins(
        "gtid_next",
        PinReason::SystemVariable,
        &["SET gtid_next = 'AUTOMATIC'"],
    )
    .on(MySql),
    pins(
        "pseudo_thread_id",
        PinReason::SystemVariable,
        &["SET pseudo_thread_id = 4000004711"],
    )
    .probe("SELECT @@pseudo_thread_id = 4000004711"),
    pins(
        "profiling",
        PinReason::SystemVariable,
        &["SET profiling = 1"],
    )
    .probe("SELECT @@profiling")
    .note("with its history: SHOW PROFILES"),
    pins(
        "optimizer_trace",
        PinReason::SystemVariable,
        &["SET optimizer_trace = 'enabled=on'"],
    )
    .probe("SELECT @@optimizer_trace"),
    pins(
        "the session's trackers",
        PinReason::SystemVariable,
        &["SET session_track_schema = OFF"],
    )
    .probe("SELECT @@session_track_schema"),
];

const USER_VARIABLES: &[State] = &[
    moves("by SET", &["SET @x = 1"])
        .probe("SELECT @x")
        .prepared(PinReason::UserVariable)
        .note(
            "a prepared statement over one pins, as MySQL keeps the types of when it was prepared",
        ),
    moves(
        "with its type and collation",
        &["SET @x = _latin1 X'E9' COLLATE latin1_bin, @`a.b` = 1.50"],
    )
    .probe("SELECT HEX(@x), COLLATION(@x), @`a.b`")
    .prepared(PinReason::UserVariable),
    moves("by :=", &["SELECT @x := 1"])
        .probe("SELECT @x")
        .prepared(PinReason::UserVariable),
    moves("by := in UPDATE", &["UPDATE items SET v = (@x := id)"])
        .probe("SELECT @x")
        .prepared(PinReason::UserVariable),
    moves("by INTO", &["SELECT 1, 2 INTO @x, @y"])
        .probe("SELECT @x, @y")
        .prepared(PinReason::UserVariable),
    pins(
        "by GET DIAGNOSTICS",
        PinReason::Diagnostics,
        &["GET DIAGNOSTICS @n = NUMBER"],
    )
    .probe("SELECT @n")
    .prepared(PinReason::UserVariable)
    .note("the variable moves"),
    pins(
        "a large value",
        PinReason::UserVariable,
        &["SET @x = REPEAT('x', 20000)"],
    )
    .probe("SELECT LENGTH(@x)")
    .note("told by the server: more than 16 KiB, or more than 64 variables"),
    pins(
        "an unusual name",
        PinReason::UserVariable,
        &["SET @`a b` = 1"],
    )
    .probe("SELECT @`a b`"),
    pins(
        "by an OUT parameter",
        PinReason::Unknown,
        &["CALL gives(@given)"],
    )
    .probe("SELECT @given")
    .prepared(PinReason::UserVariable),
    pins(
        "in a stored function",
        PinReason::Unknown,
        &["SELECT sets_variable()"],
    )
    .probe("SELECT @in_function"),
    pins(
        "by SET in a trigger",
        PinReason::UserVariable,
        &["INSERT INTO told VALUES (8)"],
    )
    .probe("SELECT @told"),
    pins(
        "by INTO in a trigger",
        PinReason::UserVariable,
        &["INSERT INTO untold VALUES (1)"],
    )
    .probe("SELECT @untold"),
    pins(
        "by SET in a view's function",
        PinReason::UserVariable,
        &["SELECT * FROM sets"],
    )
    .probe("SELECT @in_function"),
    pins(
        "by INTO in a view's function",
        PinReason::UserVariable,
        &["SELECT * FROM sets_unseen"],
    )
    .probe("SELECT @into"),
];

const TRANSACTIONS: &[State] = &[
    pins(
        "a transaction",
        PinReason::Transaction,
        &["BEGIN", "INSERT INTO items VALUES (10, 1)"],
    )
    .probe(ITEMS)
    .until(&["ROLLBACK"]),
    pins(
        "a transaction, nothing done yet",
        PinReason::Transaction,
        &["START TRANSACTION"],
    )
    .until(&["COMMIT"]),
    pins(
        "a consistent snapshot",
        PinReason::Transaction,
        &["START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"],
    )
    .probe("UPDATE items SET v = v WHERE id = 1")
    .until(&["COMMIT"]),
    pins(
        "row locks",
        PinReason::Transaction,
        &["BEGIN", "SELECT v FROM items WHERE id = 1 FOR UPDATE"],
    )
    .until(&["ROLLBACK"]),
    pins(
        "a savepoint",
        PinReason::Transaction,
        &[
            "BEGIN",
            "INSERT INTO items VALUES (10, 1)",
            "SAVEPOINT s",
            "INSERT INTO items VALUES (11, 1)",
        ],
    )
    .probe("ROLLBACK TO SAVEPOINT s")
    .until(&["ROLLBACK"]),
    pins(
        "ended by an implicit commit",
        PinReason::Transaction,
        &["BEGIN", "SELECT COUNT(*) FROM items"],
    )
    .until(&["CREATE TABLE IF NOT EXISTS items (id INT)"]),
    pins(
        "chained",
        PinReason::Transaction,
        &["BEGIN", "COMMIT AND CHAIN"],
    )
    .until(&["COMMIT AND NO CHAIN"]),
    moves("autocommit off, nothing done yet", &["SET autocommit = 0"])
        .probe("SELECT @@autocommit")
        .until(&["SET autocommit = 1"]),
    pins(
        "autocommit off, behind a statement",
        PinReason::Transaction,
        &["SET autocommit = 0", "INSERT INTO items VALUES (10, 1)"],
    )
    .probe(ITEMS)
    .until(&["SET autocommit = 1", "DELETE FROM items WHERE id = 10"]),
    moves("for the next transaction", &["SET TRANSACTION READ ONLY"])
        .probe("UPDATE items SET v = v WHERE id = 1")
        .until(&["BEGIN", "COMMIT"]),
    moves(
        "the same, for a statement",
        &["SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY"],
    )
    .probe("UPDATE items SET v = v WHERE id = 1")
    .until(&["SELECT COUNT(*) FROM items"]),
    moves(
        "the isolation level",
        &["SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE"],
    )
    .probe(CHARACTERISTICS),
    moves("read only", &["SET SESSION TRANSACTION READ ONLY"])
        .probe("UPDATE items SET v = v WHERE id = 1"),
    moves("completion_type", &["SET completion_type = 'CHAIN'"]).probe("SELECT @@completion_type"),
    pins(
        "an XA transaction",
        PinReason::Xa,
        &["XA START 'states'", "INSERT INTO items VALUES (10, 1)"],
    )
    .probe(ITEMS)
    .until(&["XA END 'states'", "XA ROLLBACK 'states'"]),
    pins(
        "an XA transaction, prepared",
        PinReason::Xa,
        &[
            "XA START 'states'",
            "INSERT INTO items VALUES (10, 1)",
            "XA END 'states'",
            "XA PREPARE 'states'",
        ],
    )
    .until(&["XA COMMIT 'states'", "DELETE FROM items WHERE id = 10"]),
];

const LOCKS: &[State] = &[
    pins(
        "LOCK TABLES",
        PinReason::TableLocks,
        &["LOCK TABLES items READ"],
    )
    .probe("SELECT COUNT(*) FROM ids")
    .until(&["UNLOCK TABLES"]),
    pins(
        "FLUSH TABLES WITH READ LOCK",
        PinReason::GlobalLock,
        &["FLUSH TABLES WITH READ LOCK"],
    )
    .probe("UPDATE items SET v = v WHERE id = 1")
    .others(Others::Wait)
    .until(&["UNLOCK TABLES"]),
    pins(
        "FLUSH TABLES of some",
        PinReason::GlobalLock,
        &["FLUSH TABLES items FOR EXPORT"],
    )
    .probe("UPDATE items SET v = v WHERE id = 1")
    .others(Others::Wait)
    .until(&["UNLOCK TABLES"]),
    pins(
        "LOCK INSTANCE",
        PinReason::GlobalLock,
        &["LOCK INSTANCE FOR BACKUP"],
    )
    .on(MySql)
    .until(&["UNLOCK INSTANCE"]),
    pins(
        "BACKUP STAGE",
        PinReason::GlobalLock,
        &["BACKUP STAGE START"],
    )
    .on(MariaDb)
    .until(&["BACKUP STAGE END"]),
    pins("BACKUP LOCK", PinReason::GlobalLock, &["BACKUP LOCK items"])
        .on(MariaDb)
        .until(&["BACKUP UNLOCK"]),
    pins(
        "GET_LOCK()",
        PinReason::UserLock,
        &["SELECT GET_LOCK('states', 0)"],
    )
    .probe(FREE)
    .others(Others::See(FREE, "0"))
    .until(&["SELECT RELEASE_LOCK('states')"])
    .note("the server is asked which are left"),
    pins(
        "two of them",
        PinReason::UserLock,
        &["DO GET_LOCK('states', 0), GET_LOCK('states 2', 0)"],
    )
    .probe(FREE)
    .others(Others::See(FREE, "0"))
    .until(&[
        "SELECT RELEASE_LOCK('states')",
        "SELECT RELEASE_LOCK('states 2')",
    ]),
    pins(
        "one, twice",
        PinReason::UserLock,
        &[
            "SELECT GET_LOCK('states', 0)",
            "SELECT GET_LOCK('states', 0)",
        ],
    )
    .probe(FREE)
    .others(Others::See(FREE, "0"))
    .until(&[
        "SELECT RELEASE_LOCK('states')",
        "SELECT RELEASE_LOCK('states')",
    ]),
    pins(
        "of a name that is computed",
        PinReason::UserLock,
        &["SELECT GET_LOCK(CONCAT('sta', 'tes'), 0)"],
    )
    .probe(FREE)
    .others(Others::See(FREE, "0"))
    .until(&["SELECT RELEASE_ALL_LOCKS()"])
    .note("whether all are released is known of RELEASE_ALL_LOCKS() only"),
    pins(
        "in a stored function",
        PinReason::Unknown,
        &["SELECT takes_a_lock()"],
    )
    .probe(FREE)
    .others(Others::See(FREE, "0")),
    pins("in a procedure", PinReason::Unknown, &["CALL takes_lock()"])
        .probe(FREE)
        .others(Others::See(FREE, "0")),
    pins(
        "in a trigger",
        PinReason::UserLock,
        &["INSERT INTO locking VALUES (1)"],
    )
    .probe(FREE)
    .others(Others::See(FREE, "0"))
    .until(&["SELECT RELEASE_LOCK('states')"]),
];

const TABLES: &[State] = &[
    pins(
        "a temporary table",
        PinReason::TemporaryTable,
        &["CREATE TEMPORARY TABLE mine (a INT)"],
    )
    .probe(MINE)
    .until(&["DROP TABLE mine"]),
    pins(
        "dropped as temporary",
        PinReason::TemporaryTable,
        &["CREATE TEMPORARY TABLE IF NOT EXISTS mine (a INT)"],
    )
    .probe(MINE)
    .until(&["DROP TEMPORARY TABLE IF EXISTS mine"]),
    pins(
        "of a query",
        PinReason::TemporaryTable,
        &["CREATE TEMPORARY TABLE mine AS SELECT * FROM items"],
    )
    .probe(MINE)
    .until(&["DROP TABLE mine"]),
    pins(
        "like another",
        PinReason::TemporaryTable,
        &["CREATE TEMPORARY TABLE mine LIKE items"],
    )
    .probe(MINE)
    .until(&["DROP TABLE mine"]),
    pins(
        "two of them",
        PinReason::TemporaryTable,
        &[
            "CREATE TEMPORARY TABLE mine (a INT)",
            "CREATE TEMPORARY TABLE mine_2 (a INT)",
        ],
    )
    .probe("SELECT COUNT(*) FROM mine_2")
    .until(&["DROP TABLE mine, mine_2"]),
    pins(
        "in front of a table",
        PinReason::TemporaryTable,
        &["CREATE TEMPORARY TABLE items (a INT)"],
    )
    .probe(ITEMS)
    .until(&["DROP TEMPORARY TABLE items"]),
    pins(
        "in a comment",
        PinReason::TemporaryTable,
        &["/*!50000 CREATE TEMPORARY TABLE mine (a INT) */"],
    )
    .probe(MINE),
    pins(
        "renamed",
        PinReason::TemporaryTable,
        &[
            "CREATE TEMPORARY TABLE old (a INT)",
            "ALTER TABLE old RENAME TO mine",
        ],
    )
    .probe(MINE)
    .note("which has which name is not followed: until a reset"),
    pins(
        "in a procedure",
        PinReason::Unknown,
        &["CALL makes_table()"],
    )
    .probe(MINE),
    pins(
        "in a statement prepared in SQL",
        PinReason::PreparedStatement,
        &[
            "PREPARE makes FROM 'CREATE TEMPORARY TABLE mine (a INT)'",
            "EXECUTE makes",
        ],
    )
    .probe(MINE)
    .until(&["DEALLOCATE PREPARE makes", "DROP TABLE mine"]),
    pins(
        "in EXECUTE IMMEDIATE",
        PinReason::TemporaryTable,
        &["EXECUTE IMMEDIATE 'CREATE TEMPORARY TABLE mine (a INT)'"],
    )
    .on(MariaDb)
    .probe(MINE)
    .until(&["DROP TABLE mine"]),
    pins(
        "a temporary sequence",
        PinReason::TemporaryTable,
        &["CREATE TEMPORARY SEQUENCE mine"],
    )
    .on(MariaDb)
    .probe("SHOW CREATE SEQUENCE mine")
    .until(&["DROP SEQUENCE mine"]),
];

const STATEMENTS: &[State] = &[
    moves(
        "prepared by the API",
        &["Handle::prep(\"SELECT 'a'\")"],
    )
    .tested_by("statements_of_the_api_are_prepared_wherever_they_run")
    .note("prepared on each link where it is run, with the sql_mode and schema that it was prepared with"),
    pins(
        "PREPARE",
        PinReason::PreparedStatement,
        &["PREPARE p FROM 'SELECT 7'"],
    )
    .probe("EXECUTE p")
    .until(&["DEALLOCATE PREPARE p"]),
    pins(
        "PREPARE, twice",
        PinReason::PreparedStatement,
        &["PREPARE p FROM 'SELECT 6'", "PREPARE P FROM 'SELECT 7'"],
    )
    .probe("EXECUTE p")
    .until(&["DROP PREPARE p"]),
    pins(
        "PREPARE of a variable's text",
        PinReason::PreparedStatement,
        &["SET @text = 'SELECT 7'", "PREPARE p FROM @text"],
    )
    .probe("EXECUTE p")
    .prepared(PinReason::UserVariable),
    pins("HANDLER", PinReason::Handler, &["HANDLER items OPEN"])
        .probe("HANDLER items READ FIRST")
        .until(&["HANDLER items CLOSE"]),
    pins(
        "two of them",
        PinReason::Handler,
        &["HANDLER items OPEN", "HANDLER ids OPEN AS h"],
    )
    .probe("HANDLER items READ FIRST")
    .until(&["HANDLER h CLOSE", "HANDLER items CLOSE"]),
    pins(
        "a result that is read in pieces",
        PinReason::Stream,
        &["Handle::query_iter(…)"],
    )
    .tested_by("what_the_api_keeps_a_link_for"),
    pins("a transaction of the API", PinReason::Transaction, &["Handle::start_transaction(…)"])
        .tested_by("what_the_api_keeps_a_link_for")
        .until(&["its commit, rollback or drop"]),
    pins("a lease", PinReason::Lease, &["Handle::lease()"])
        .tested_by("what_the_api_keeps_a_link_for")
        .until(&["its drop"]),
];

const LEFT: &[State] = &[
    id("LAST_INSERT_ID()", &["INSERT INTO ids (v) VALUES (1)"])
        .note("`Handle::last_insert_id()` needs no keeping"),
    id("as @@identity", &["INSERT INTO ids (v) VALUES (1)"])
        .probe("SELECT @@identity, @@last_insert_id"),
    id(
        "of many rows",
        &["INSERT INTO ids (v) VALUES (1), (2), (3)"],
    ),
    id(
        "of an id that was given",
        &[
            "INSERT INTO ids (v) VALUES (1)",
            "INSERT INTO ids VALUES (100, 2)",
        ],
    ),
    id(
        "of a duplicate",
        &[
            "INSERT INTO ids (v) VALUES (1)",
            "INSERT INTO ids (v) VALUES (2)",
            "INSERT INTO ids (v) VALUES (1) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id)",
        ],
    ),
    id(
        "of an INSERT that failed",
        &[
            "INSERT INTO ids (v) VALUES (1)",
            "INSERT INTO ids (v) VALUES (2), (1)",
        ],
    )
    .fails(),
    id(
        "behind other statements",
        &[
            "INSERT INTO ids (v) VALUES (1), (2)",
            "INSERT INTO ids (v) VALUES (3)",
            "UPDATE items SET v = 0",
            "SELECT COUNT(*) FROM ids",
        ],
    ),
    id("of an expression", &["SELECT LAST_INSERT_ID(42)"]),
    id(
        "of an expression in UPDATE",
        &["UPDATE items SET v = LAST_INSERT_ID(v + 40) WHERE id = 2"],
    ),
    id("read by a view", &["INSERT INTO ids (v) VALUES (1)"]).probe("SELECT * FROM last_id"),
    moves("set", &["SET last_insert_id = 42"]).probe("SELECT LAST_INSERT_ID()"),
    moves("set as @@identity", &["SET @@SESSION.identity = 42"]).probe("SELECT LAST_INSERT_ID()"),
    pins("in a procedure", PinReason::Unknown, &["CALL inserts()"])
        .probe("SELECT LAST_INSERT_ID()")
        .note("a procedure's is seen after it"),
    left(
        "ROW_COUNT()",
        &["UPDATE items SET v = -v"],
        "SELECT ROW_COUNT()",
    ),
    left(
        "of a SELECT",
        &["SELECT id FROM items"],
        "SELECT ROW_COUNT()",
    ),
    left(
        "FOUND_ROWS()",
        &["SELECT id FROM items"],
        "SELECT FOUND_ROWS()",
    )
    .others(Others::See("SELECT FOUND_ROWS()", "0")),
    pins(
        "SQL_CALC_FOUND_ROWS",
        PinReason::FoundRows,
        &["SELECT SQL_CALC_FOUND_ROWS id FROM items LIMIT 1"],
    )
    .probe("SELECT FOUND_ROWS()")
    .others(Others::SeeOther)
    .until(&["DO 1"]),
    left(
        "SHOW WARNINGS",
        &["DROP TABLE IF EXISTS nothing"],
        "SHOW WARNINGS",
    ),
    left(
        "none, behind another statement",
        &["DROP TABLE IF EXISTS nothing", "SELECT COUNT(*) FROM items"],
        "SHOW WARNINGS",
    ),
    left("SHOW ERRORS", &["SELECT * FROM nothing"], "SHOW ERRORS").fails(),
    left(
        "SHOW COUNT(*) WARNINGS",
        &["DROP TABLE IF EXISTS nothing"],
        "SHOW COUNT(*) WARNINGS",
    ),
    left(
        "@@warning_count, @@error_count",
        &["SELECT * FROM nothing"],
        "SELECT @@warning_count, @@error_count",
    )
    .fails(),
    left(
        "GET DIAGNOSTICS",
        &["DROP TABLE IF EXISTS nothing"],
        "GET DIAGNOSTICS @n = NUMBER",
    )
    .tested_by("get_diagnostics_has_the_handles_own"),
];

const OTHERS: &[State] = &[
    pins("LASTVAL()", PinReason::Unknown, &["SELECT NEXTVAL(numbers)"])
        .on(MariaDb)
        .probe("SELECT LASTVAL(numbers)")
        .note("NEXTVAL() may be a stored function"),
    pins(
        "PREVIOUS VALUE",
        PinReason::Sequence,
        &["SELECT NEXT VALUE FOR numbers"],
    )
    .on(MariaDb)
    .probe("SELECT PREVIOUS VALUE FOR numbers"),
    pins(
        "a sequence, in a column's default",
        PinReason::Sequence,
        &["INSERT INTO numbered (v) VALUES (1)"],
    )
    .on(MariaDb)
    .probe("SELECT PREVIOUS VALUE FOR numbers"),
    moves("SET ROLE", &["SET ROLE states_role"]).probe("SELECT CURRENT_ROLE()"),
    moves("SET ROLE NONE", &["SET ROLE NONE"])
        .probe("SELECT CURRENT_ROLE()")
        .back(),
    pins(
        "SET RESOURCE GROUP",
        PinReason::ResourceGroup,
        &["SET RESOURCE GROUP states_group"],
    )
    .on(MySql)
    .probe(
        "SELECT resource_group FROM performance_schema.threads WHERE processlist_id = CONNECTION_ID()",
    ),
    pins("the same, in a procedure", PinReason::Unknown, &["CALL sets_group()"])
        .on(MySql)
        .note("a reset leaves the link in that group"),
];

const ONE: &[State] = &[
    other(
        "SET STATEMENT",
        Kept::Nothing,
        &["SET STATEMENT sort_buffer_size = 100000 FOR SELECT @@sort_buffer_size"],
    )
    .on(MariaDb)
    .probe("SELECT @@sort_buffer_size"),
    other(
        "a lock that is not waited for",
        Kept::Nothing,
        &["SELECT v FROM items WHERE id = 1 FOR UPDATE NOWAIT"],
    )
    .on(MariaDb)
    .probe("SELECT @@lock_wait_timeout, @@innodb_lock_wait_timeout"),
    other(
        "a lock that is waited for so long",
        Kept::Nothing,
        &["DROP TABLE IF EXISTS nothing WAIT 3"],
    )
    .on(MariaDb)
    .probe("SELECT @@lock_wait_timeout, @@innodb_lock_wait_timeout"),
    other(
        "a hint that sets a variable",
        Kept::Nothing,
        &["SELECT /*+ SET_VAR(sort_buffer_size = 100000) */ @@sort_buffer_size"],
    )
    .on(MySql)
    .probe("SELECT @@sort_buffer_size"),
    other(
        "a hint of a time",
        Kept::Nothing,
        &["SELECT /*+ MAX_EXECUTION_TIME(1000) */ COUNT(*) FROM items"],
    )
    .probe("SHOW SESSION VARIABLES LIKE 'max_execution_time'"),
    other(
        "a savepoint without a transaction",
        Kept::Nothing,
        &["SAVEPOINT s"],
    )
    .probe("ROLLBACK TO SAVEPOINT s"),
    other(
        "a user lock that was not to be had",
        Kept::Nothing,
        &["SELECT GET_LOCK('states', 0)"],
    )
    .tested_by("a_lock_that_another_has_pins_nothing"),
];

const PHYSICAL: &[State] = &[
    pins(
        "CONNECTION_ID()",
        PinReason::ConnectionId,
        &["SELECT CONNECTION_ID()"],
    )
    .tested_by("the_connection_id_stays_the_handles"),
    pins(
        "the connection's rows in performance_schema, processlist",
        PinReason::ConnectionId,
        &["SELECT COUNT(*) FROM information_schema.processlist WHERE id = CONNECTION_ID()"],
    ),
    other(
        "SHOW SESSION STATUS",
        Kept::Connections,
        &["SHOW SESSION STATUS LIKE 'Handler_read_rnd_next'"],
    )
    .note("counts what all handles did there"),
    pins("SHOW PROFILES", PinReason::Diagnostics, &["SHOW PROFILES"])
        .note("while `profiling` is on the link is the handle's anyway"),
    other(
        "variables of all sessions",
        Kept::Servers,
        &["SET GLOBAL default_week_format = @@GLOBAL.default_week_format"],
    )
    .note("sessions that begin on a link see it only once the link was reset or is new"),
];
