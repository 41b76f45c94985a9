use proptest::prelude::*;

use super::{
    Act::{self, *},
    Effect, Facts, Name, facts, outline, read,
};

/// Facts in short: the names of those that are true, and the acts.
fn short(facts: &Facts) -> String {
    let flags = [
        ("unknown", facts.unknown),
        ("reads", facts.reads_only),
        ("needs_id", facts.needs_insert_id),
        ("needs_diag", facts.needs_diagnostics),
        ("needs_count", facts.needs_row_count),
        ("needs_rows", facts.needs_found_rows),
        ("needs_gtid", facts.needs_gtid),
        ("needs_conn", facts.needs_connection_id),
        ("sets_id", facts.sets_insert_id),
        ("sets_vars", facts.sets_user_variables),
        ("vars", facts.reads_user_variables),
        ("role", facts.sets_role),
        ("sequence", facts.uses_sequence),
        ("found_rows", facts.counts_found_rows),
        ("global", facts.sets_global),
        ("ends", facts.ends_session),
        ("commits", facts.commits),
    ];
    let flags = flags.iter().filter(|flag| flag.1).map(|flag| flag.0);
    let acts = facts.acts.iter().map(shown).collect::<Vec<_>>();
    let flags = flags.map(str::to_owned);
    flags.chain(acts).collect::<Vec<_>>().join(" ")
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn maybe(bytes: &Option<Vec<u8>>) -> String {
    bytes.as_ref().map_or("-".to_owned(), |bytes| lossy(bytes))
}

fn table(name: &Name) -> String {
    match &name.schema {
        Some(schema) => format!("{}.{}", lossy(schema), lossy(&name.name)),
        None => lossy(&name.name),
    }
}

fn shown(act: &Act) -> String {
    match act {
        CreateTemporary(name) => format!("CreateTemporary({})", table(name)),
        CreateTemporarySequence(name) => format!("CreateSequence({})", table(name)),
        DropSequences(names) => {
            let names: Vec<_> = names.iter().map(table).collect();
            format!("DropSequences({})", names.join(","))
        }
        DropTables { names, temporary } => {
            let names = names.iter().map(table).collect::<Vec<_>>();
            let kind = if *temporary { "DropTemporary" } else { "Drop" };
            format!("{kind}({})", names.join(","))
        }
        TakeLock(name) => format!("TakeLock({})", maybe(name)),
        ReleaseLock(name) => format!("ReleaseLock({})", maybe(name)),
        Prepare { name, text } => format!("Prepare({}={})", lossy(name), maybe(text)),
        Execute(name) => format!("Execute({})", lossy(name)),
        ExecuteImmediate(text) => format!("ExecuteImmediate({})", maybe(text)),
        Deallocate(name) => format!("Deallocate({})", lossy(name)),
        OpenHandler(name) => format!("OpenHandler({})", lossy(name)),
        CloseHandler(name) => format!("CloseHandler({})", lossy(name)),
        BackupStage { ends } => format!("BackupStage({ends})"),
        other => format!("{other:?}"),
    }
}

fn of(sql: &str) -> Facts {
    facts(sql.as_bytes())
}

fn rows(rows: &[(&str, &str)]) {
    for (sql, expected) in rows {
        assert_eq!(short(&of(sql)), *expected, "{sql}");
    }
}

/// Statements with the same facts.
fn all(expected: &str, statements: &[&str]) {
    for sql in statements {
        assert_eq!(short(&of(sql)), expected, "{sql}");
    }
}

fn unknown(statements: &[&str]) {
    for sql in statements {
        let facts = of(sql);
        assert!(facts.unknown, "{sql}: {}", short(&facts));
        assert!(facts.sets_insert_id && facts.sets_user_variables && !facts.reads_only);
    }
}

fn known(statements: &[&str]) {
    for sql in statements {
        let facts = of(sql);
        assert!(!facts.unknown, "{sql}: {}", short(&facts));
    }
}

#[test]
fn queries_that_read() {
    all(
        "reads",
        &[
            "SELECT 1",
            "SELECT @@autocommit",
            "SELECT @@session.time_zone, @@global.time_zone, @@`sql_mode`",
            "SELECT @@local.sql_mode; ",
            "(SELECT @@version)",
            "VALUES ROW(1, 2), ROW(3, 4)",
            "TABLE t",
            "WITH x (a) AS (SELECT @@sql_mode) SELECT a FROM x",
            "WITH x AS (SELECT 1) (SELECT @@sql_mode)",
            "SELECT 1 UNION SELECT @@port",
            "SELECT /*! @@sql_mode */ 1",
            "SELECT /*!40101 @@sql_mode */ 1",
            "SELECT /*+ SET_VAR(sort_buffer_size = 16M) */ 1",
            "SELECT /*+ QB_NAME(`a`) RESOURCE_GROUP(g) */ 1",
            "SELECT {d '2020-01-01'}",
            "SELECT IS_FREE_LOCK('a'), IS_USED_LOCK('a')",
            "SELECT LOAD_FILE('x')",
            "SELECT last_insert_id, found_rows FROM t",
            "SELECT '@a', `@b`, \"@c\" -- @d",
            "SELECT ROW_NUMBER() OVER (ORDER BY @@port)",
            "SELECT a FROM (SELECT @@port) AS t (a)",
            "SELECT CAST(@@port AS DATETIME(6))",
            "SELECT 'it\\'s', @@port",
            "SELECT 1; SELECT 2;",
        ],
    );
    all(
        "",
        &[
            "SELECT @@port FROM t FOR UPDATE",
            "SELECT @@port FROM t FOR SHARE",
            "SELECT @@port FROM t LOCK IN SHARE MODE",
            "SELECT 1 INTO OUTFILE '/x'",
            "SELECT 1 INTO DUMPFILE '/x'",
            "TABLE t INTO OUTFILE '/x'",
            "WITH x AS (SELECT 1) UPDATE t SET a = @@port",
            "WITH x AS (SELECT @@port) DELETE FROM t",
            "",
            ";;",
            "-- x",
        ],
    );
}

#[test]
fn session_functions() {
    rows(&[
        ("SELECT LAST_INSERT_ID()", "reads needs_id"),
        ("SELECT last_insert_id ( )", "reads needs_id"),
        ("SELECT LAST_INSERT_ID(5)", "sets_id"),
        (
            "SELECT LAST_INSERT_ID(LAST_INSERT_ID())",
            "needs_id sets_id",
        ),
        (
            "SELECT @@last_insert_id, @@session.identity",
            "reads needs_id",
        ),
        ("SELECT @@insert_id", "reads needs_id"),
        ("SELECT FOUND_ROWS()", "reads needs_rows"),
        ("SELECT ROW_COUNT()", "reads needs_count"),
        ("SELECT 1; SELECT ROW_COUNT()", "reads"),
        ("SELECT @@warning_count", "reads needs_diag"),
        ("SELECT @@session . error_count", "reads needs_diag"),
        ("SELECT CONNECTION_ID()", "reads needs_conn"),
        ("SELECT @@pseudo_thread_id", "reads needs_conn"),
        ("SELECT SQL_CALC_FOUND_ROWS * FROM t", "reads found_rows"),
        ("SELECT EXTRACTVALUE('<a/>', '$@x')", "reads vars"),
        ("SELECT NEXT VALUE FOR s", "sequence"),
        ("SELECT PREVIOUS VALUE FOR db.s", "sequence"),
        (
            "INSERT INTO t VALUES (NEXT VALUE FOR s)",
            "sets_id sequence",
        ),
        ("SELECT * FROM performance_schema.threads", "reads needs_id"),
        (
            "SELECT * FROM information_schema.processlist",
            "reads needs_id",
        ),
        ("SELECT @@port FROM information_schema.tables", "reads"),
    ]);
    assert!(of("SELECT NEXTVAL(s)").uses_sequence);
    assert!(of("SELECT PS_CURRENT_THREAD_ID()").needs_connection_id);
    unknown(&[
        "SELECT NEXTVAL(s)",
        "SELECT LASTVAL(s)",
        "SELECT SETVAL(s, 1)",
        "SELECT s.nextval FROM dual",
        "SELECT s.currval",
        "SELECT SQL%ROWCOUNT",
        "SELECT PS_CURRENT_THREAD_ID()",
        "SELECT PS_THREAD_ID(1)",
    ]);
}

#[test]
fn user_variables() {
    all(
        "reads vars",
        &[
            "SELECT @x",
            "SELECT@x",
            "SELECT @`x`",
            "SELECT @'x'",
            "SELECT @\"x\"",
            "SELECT @x.y$z",
            "SELECT a FROM t WHERE b = @c",
            "SELECT 'it\\'s', @c",
            "SELECT \"it's\", @c",
        ],
    );
    all(
        "sets_vars vars",
        &[
            "SELECT @x:=1",
            "SELECT @x := @x + 1 FROM t",
            "SELECT 1 INTO @x",
            "SELECT 1, 2 INTO @x, @y",
            "SELECT a FROM t LIMIT 1 INTO @`x`",
            "SET @x = 1",
            "SET @x := (SELECT MAX(a) FROM t), @y = 2",
            "UPDATE t SET a = (@x := a)",
            "DO @x := 1",
        ],
    );
    rows(&[
        ("INSERT INTO t VALUES (@x)", "sets_id vars"),
        (
            "INSERT INTO t (a) VALUES (@x := 1)",
            "sets_id sets_vars vars",
        ),
        ("SET @a = LAST_INSERT_ID()", "needs_id sets_vars vars"),
        ("SET @a = GET_LOCK('A', 1)", "sets_vars vars TakeLock(A)"),
    ]);
    unknown(&[
        "SELECT 1 INTO x",
        "SET @x = f(1)",
        "SET @x",
        "SET @x 1",
        "SELECT @\u{e9}",
    ]);
}

#[test]
fn which_user_variables() {
    let rows: &[(&str, &[&str], bool)] = &[
        (
            "SELECT @x, @X, @`y`, @'z', @\"w\"",
            &["x", "y", "z", "w"],
            false,
        ),
        ("SET @a.b$c_1 = @d", &["a.b$c_1", "d"], false),
        ("SELECT 1, 2 INTO @x, @y", &["x", "y"], false),
        (
            "LOAD DATA INFILE 'f' INTO TABLE t (a, @b) SET c = @d",
            &["b", "d"],
            false,
        ),
        ("GET DIAGNOSTICS @n = NUMBER", &["n"], false),
        ("EXECUTE p USING @a, @b", &["a", "b"], false),
        ("SELECT 1; SET @a = 1; SET @b = @a", &["a", "b"], false),
        ("SELECT 'a@b', \"@c\", 1 -- @d", &[], false),
        ("SELECT @`a b`, @x", &["x"], true),
        ("SELECT @``", &[], true),
        ("SELECT EXTRACTVALUE('<a/>', '$@x')", &[], true),
        (
            "SELECT * FROM performance_schema.user_variables_by_thread",
            &[],
            true,
        ),
        ("SELECT f(@x)", &[], true),
        ("CALL p()", &[], true),
    ];
    for (sql, names, others) in rows {
        let facts = of(sql);
        let mut known: Vec<_> = facts.user_variables.iter().map(|name| &**name).collect();
        known.sort_unstable();
        let mut names = names.to_vec();
        names.sort_unstable();
        assert_eq!(known, names, "{sql}");
        assert_eq!(facts.other_user_variables, *others, "{sql}");
    }
}

#[test]
fn calls_that_are_not_known() {
    unknown(&[
        "SELECT f()",
        "SELECT db.f(1)",
        "SELECT db.last_insert_id()",
        "SELECT `last_insert_id`()",
        "SELECT \"f\"(1)",
        "SELECT COUNT (*), @a",
        "SELECT MD5('a')",
        "SELECT ANY_VALUE(a), @b",
        "SELECT ROW_NUMBER(), @a",
        "SELECT @a FROM t WHERE f (1)",
        "SET x = f()",
        "DO f()",
        "INSERT INTO t VALUES (f(1), LAST_INSERT_ID())",
        "INSERT INTO t (a) SELECT f(1)",
        "UPDATE t SET a = f(1)",
        "DELETE FROM t WHERE f(@a)",
        "CALL p()",
        "CALL p(@x)",
        "BINLOG 'AAAA'",
        "SHOW TABLES WHERE f(1)",
        "EXPLAIN SELECT f(1)",
        "EXECUTE p USING f(1)",
        "HANDLER t READ i = (1) WHERE f(1)",
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = f()",
        "KILL f(1)",
        "PURGE BINARY LOGS BEFORE f()",
        "LOAD DATA INFILE 'x' INTO TABLE t (a) SET b = f(1)",
        "LOAD DATA INFILE 'x' INTO TABLE t SET b = f(1)",
        "CREATE TABLE t SELECT f(1)",
        "CREATE TABLE t (a INT) AS WITH x AS (SELECT f(1)) SELECT * FROM x",
        "CREATE TABLE t VALUES ROW(f(1))",
        "SET STATEMENT a = f(1) FOR SELECT 1",
        "SET STATEMENT a = 1 FOR SELECT f(1)",
        "ANALYZE SELECT f(1)",
    ]);
}

#[test]
fn writes() {
    all(
        "sets_id",
        &[
            "INSERT INTO t VALUES (1)",
            "INSERT t VALUE (1, @@port)",
            "INSERT IGNORE INTO db.t (a, b) VALUES (1, (2)), (3, 4)",
            "INSERT INTO t PARTITION (p0) (a) VALUES (1)",
            "INSERT INTO t () VALUES ()",
            "INSERT INTO t (SELECT @@port)",
            "INSERT INTO t (a) (SELECT @@port)",
            "INSERT INTO t SET a = @@port",
            "INSERT INTO t VALUES (1) AS n(a) ON DUPLICATE KEY UPDATE b = n.a",
            "INSERT DELAYED INTO t VALUES (1)",
            "REPLACE INTO t SELECT 1",
            "UPDATE t SET id = LAST_INSERT_ID(id + 1)",
            "INSERT INTO t VALUES ('it\\'s', @@port)",
            "LOAD DATA INFILE 'x' INTO TABLE t",
            "LOAD DATA LOCAL INFILE 'x' REPLACE INTO TABLE t CHARACTER SET utf8 \
             FIELDS TERMINATED BY ',' LINES TERMINATED BY '\\n' IGNORE 1 LINES (a, b) SET c = NOW()",
            "LOAD XML INFILE 'x' INTO TABLE t ROWS IDENTIFIED BY '<a>'",
        ],
    );
    rows(&[
        (
            "INSERT INTO t VALUES (LAST_INSERT_ID())",
            "needs_id sets_id",
        ),
        ("UPDATE t SET a = LAST_INSERT_ID()", "needs_id"),
        ("DELETE FROM t WHERE id = @@port", ""),
        ("DELETE HISTORY FROM t", ""),
        (
            "LOAD DATA INFILE 'x' INTO TABLE t (a, @b) SET c = @b + 1",
            "sets_id sets_vars vars",
        ),
        (
            "LOAD DATA INFILE 'x' INTO TABLE t CHARACTER SET utf8mb4 (@b)",
            "sets_id sets_vars vars",
        ),
        (
            "LOAD DATA INFILE 'x' INTO TABLE t SET c = @b",
            "sets_id vars",
        ),
        ("DO SLEEP(1)", ""),
        ("TRUNCATE TABLE t", "commits"),
        ("TRUNCATE t", "commits"),
    ]);
}

#[test]
fn shows_and_explains() {
    all(
        "reads",
        &[
            "SHOW TABLES",
            "SHOW CREATE TABLE db.t",
            "SHOW FULL COLUMNS FROM t LIKE 'a%'",
            "SHOW GRANTS FOR u@h",
            "SHOW GLOBAL VARIABLES",
            "SHOW GLOBAL STATUS LIKE 'x'",
            "SHOW SESSION STATUS",
            "SHOW VARIABLES LIKE 'sql_mode'",
            "SHOW VARIABLES LIKE 'sql\\_mode'",
            "SHOW PROCESSLIST",
            "SHOW INDEX FROM t WHERE Key_name = CONCAT('a', 'b')",
            "DESCRIBE t",
            "DESC db.t a",
            "EXPLAIN t 'a%'",
            "EXPLAIN SELECT @@port",
            "EXPLAIN FORMAT=JSON SELECT 1",
            "EXPLAIN FORMAT = 'TREE' (SELECT 1)",
            "EXPLAIN EXTENDED SELECT 1",
            "EXPLAIN PARTITIONS SELECT 1",
            "EXPLAIN ANALYZE SELECT 1",
            "EXPLAIN FOR CONNECTION 5",
            "EXPLAIN FOR SCHEMA db SELECT 1",
            "EXPLAIN INSERT INTO t VALUES (1)",
            "EXPLAIN UPDATE t SET a = 1",
            "EXPLAIN SELECT 1 FROM t FOR UPDATE",
            "ANALYZE SELECT 1",
            "ANALYZE FORMAT=JSON SELECT 1",
            "HELP 'x'",
            "CHECKSUM TABLE t",
            "XA RECOVER",
        ],
    );
    rows(&[
        ("SHOW WARNINGS", "reads needs_diag"),
        ("SHOW ERRORS LIMIT 1", "reads needs_diag"),
        ("SHOW COUNT(*) WARNINGS", "reads needs_diag"),
        ("SHOW COUNT(*) ERRORS", "reads needs_diag"),
        ("SHOW PROFILES", "reads needs_diag"),
        ("SHOW VARIABLES", "reads needs_id"),
        (
            "SHOW SESSION VARIABLES LIKE 'last\\_insert\\_id'",
            "reads needs_id",
        ),
        ("SHOW VARIABLES LIKE 'warning%'", "reads needs_diag"),
        ("SHOW TABLES WHERE a = @x", "reads vars"),
        ("EXPLAIN SELECT LAST_INSERT_ID()", "reads needs_id"),
        ("EXPLAIN FORMAT=JSON INTO @x SELECT 1", "sets_vars vars"),
        ("ANALYZE UPDATE t SET a = 1", ""),
        ("ANALYZE INSERT INTO t VALUES (1)", "sets_id"),
        ("EXPLAIN ANALYZE SELECT GET_LOCK('a', 1)", "TakeLock(a)"),
    ]);
    unknown(&[
        "EXPLAIN SELECT GET_LOCK('a', 1)",
        "EXPLAIN ANALYZE FORMAT=JSON t",
        "SHOW SESSION x",
        "SHOW EXPLAIN FOR f(1)",
    ]);
}

#[test]
fn transactions() {
    all(
        "commits",
        &[
            "BEGIN",
            "BEGIN WORK",
            "START TRANSACTION",
            "START TRANSACTION READ ONLY, WITH CONSISTENT SNAPSHOT",
            "COMMIT",
            "COMMIT WORK AND CHAIN",
            "COMMIT NO RELEASE",
            "ROLLBACK",
            "ROLLBACK AND NO CHAIN",
            "START SLAVE",
            "STOP REPLICA",
        ],
    );
    rows(&[
        ("COMMIT RELEASE", "ends commits"),
        ("ROLLBACK WORK AND NO CHAIN RELEASE", "ends commits"),
        ("ROLLBACK TO SAVEPOINT a", ""),
        ("ROLLBACK TO a", ""),
        ("SAVEPOINT a", ""),
        ("RELEASE SAVEPOINT a", ""),
        ("SET TRANSACTION READ ONLY", "SetVariables"),
        (
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "SetVariables",
        ),
        ("SET GLOBAL TRANSACTION READ WRITE", "global"),
        ("XA START 'a'", "XaBegin"),
        ("XA BEGIN 'a', 'b', 1", "XaBegin"),
        ("XA END 'a'", ""),
        ("XA PREPARE 'a'", "XaPrepare"),
        ("XA COMMIT 'a' ONE PHASE", "commits XaEnd"),
        ("XA ROLLBACK 'a'", "commits XaEnd"),
    ]);
    unknown(&[
        "BEGIN NOT ATOMIC SELECT 1; END",
        "BEGIN x",
        "XA",
        "RELEASE a",
        "IF 1 THEN SELECT 1; END IF",
    ]);
}

#[test]
fn settings() {
    all(
        "SetVariables",
        &[
            "SET autocommit_x = 1",
            "SET sql_mode = 'ANSI', time_zone = '+00:00'",
            "SET SESSION sql_mode = DEFAULT",
            "SET LOCAL sql_mode = ''",
            "SET @@sql_mode = CONCAT(@@sql_mode, ',ANSI')",
            "SET @@session.sql_mode = '', @@local.x := ON",
            "SET @@SESSION.`sql_mode` = ''",
            "SET NAMES utf8mb4",
            "SET NAMES 'utf8mb4' COLLATE 'utf8mb4_bin'",
            "SET CHARACTER SET utf8",
            "SET CHARSET DEFAULT",
            "SET names_x = 1",
            "/*!40101 SET NAMES utf8 */",
            "SET hotcache.key_buffer_size = 1",
        ],
    );
    all(
        "global",
        &[
            "SET GLOBAL x = 1",
            "SET @@global.x = 1, @@GLOBAL . y = 2",
            "SET PERSIST x = 1",
            "SET PERSIST_ONLY x = 1",
            "SET @@persist.x = 1",
            "SET GLOBAL validate_password.policy = 1",
            "SET @@global.validate_password.policy = LOW",
        ],
    );
    rows(&[
        ("SET autocommit = 0", "commits SetVariables"),
        ("SET @@session.autocommit = 1", "commits SetVariables"),
        ("SET GLOBAL a = 1, SESSION b = 2", "global SetVariables"),
        ("SET GLOBAL a = 1, b = 2", "global SetVariables"),
        ("SET last_insert_id = 5", "sets_id SetVariables"),
        ("SET @@identity = 5", "sets_id SetVariables"),
        ("SET NAMES utf8, @a = 1", "sets_vars vars SetVariables"),
        (
            "SET @old = @@sql_mode, sql_mode = ''",
            "sets_vars vars SetVariables",
        ),
        ("SET sql_mode = @old", "vars SetVariables"),
        ("SET ROLE r", "role"),
        ("SET ROLE ALL EXCEPT r, s", "role"),
        ("SET DEFAULT ROLE r TO u@h", "commits"),
        ("SET PASSWORD = 'x'", "commits"),
        ("SET PASSWORD FOR u@h = PASSWORD('x')", "commits"),
        ("SET RESOURCE GROUP g", "ResourceGroup"),
        (
            "SET STATEMENT max_statement_time = 1 FOR SELECT @@port",
            "reads",
        ),
        (
            "SET STATEMENT a = (SELECT 1 FROM t LIMIT 1), b = 2 FOR INSERT INTO t VALUES (1)",
            "sets_id",
        ),
    ]);
    unknown(&[
        "SET",
        "SET x",
        "SET x = 1,",
        "SET = 1",
        "SET PASSWORD = 'x', @a = 1",
        "SET @a = 1, PASSWORD = 'x'",
        "SET STATEMENT a = 1",
        "SET a f(1)",
    ]);
}

#[test]
fn locks() {
    rows(&[
        ("SELECT GET_LOCK('A', 1)", "TakeLock(A)"),
        ("SELECT GET_LOCK(\"A\", 1)", "TakeLock(A)"),
        ("SELECT GET_LOCK('a''b', -1)", "TakeLock(a'b)"),
        ("SELECT GET_LOCK('a' 'b', 1)", "TakeLock(-)"),
        ("SELECT GET_LOCK(_utf8'a', 1)", "TakeLock(-)"),
        ("SELECT GET_LOCK(CONCAT('a'), 1)", "TakeLock(-)"),
        ("SELECT GET_LOCK(?, 1)", "TakeLock(-)"),
        ("SELECT GET_LOCK('\u{e9}', 1)", "TakeLock(-)"),
        ("SELECT GET_LOCK(@a, 1)", "vars TakeLock(-)"),
        ("DO RELEASE_LOCK('a')", "ReleaseLock(a)"),
        ("SELECT RELEASE_LOCK(a) FROM t", "ReleaseLock(-)"),
        ("SELECT RELEASE_ALL_LOCKS()", "ReleaseAllLocks"),
        (
            "SELECT GET_LOCK('a', 1), RELEASE_LOCK('b')",
            "TakeLock(a) ReleaseLock(b)",
        ),
        ("LOCK TABLES t READ, db.u AS v WRITE", "commits LockTables"),
        ("LOCK TABLE t WRITE", "commits LockTables"),
        ("UNLOCK TABLES", "commits UnlockTables"),
        ("LOCK INSTANCE FOR BACKUP", "LockInstance"),
        ("UNLOCK INSTANCE", "UnlockInstance"),
        ("FLUSH TABLES WITH READ LOCK", "commits GlobalReadLock"),
        (
            "FLUSH LOCAL TABLES t, u WITH READ LOCK",
            "commits GlobalReadLock",
        ),
        ("FLUSH TABLES t FOR EXPORT", "commits GlobalReadLock"),
        ("FLUSH TABLES", "commits"),
        ("FLUSH PRIVILEGES", "commits"),
        ("BACKUP STAGE START", "commits BackupStage(false)"),
        ("BACKUP STAGE END", "commits BackupStage(true)"),
        ("BACKUP LOCK t", "BackupLock"),
        ("BACKUP UNLOCK", "BackupUnlock"),
    ]);
    unknown(&[
        "LOCK BINLOG FOR BACKUP",
        "BACKUP x",
        "SELECT GET_LOCK(\"a\", 1) FROM t",
    ]);
}

#[test]
fn prepared_statements_and_handlers() {
    rows(&[
        ("PREPARE p FROM 'SELECT 1'", "Prepare(p=SELECT 1)"),
        ("PREPARE P FROM \"SELECT 'a'\"", "Prepare(p=SELECT 'a')"),
        (
            "PREPARE `p``q` FROM 'SELECT ''a'''",
            "Prepare(p`q=SELECT 'a')",
        ),
        ("PREPARE p FROM 'SELECT \\'a\\''", "Prepare(p=SELECT 'a')"),
        ("PREPARE p FROM @a", "vars Prepare(p=-)"),
        ("PREPARE p FROM CONCAT('a', @b)", "vars Prepare(p=-)"),
        ("PREPARE p FROM 'a' 'b'", "Prepare(p=-)"),
        ("EXECUTE p", "Execute(p)"),
        ("EXECUTE `P` USING @a, @b", "vars Execute(p)"),
        ("EXECUTE IMMEDIATE 'SELECT 1'", "ExecuteImmediate(SELECT 1)"),
        (
            "EXECUTE IMMEDIATE 'SELECT ?' USING 1",
            "ExecuteImmediate(SELECT ?)",
        ),
        (
            "EXECUTE IMMEDIATE @a",
            "unknown sets_id sets_vars vars ExecuteImmediate(-)",
        ),
        ("DEALLOCATE PREPARE p", "Deallocate(p)"),
        ("DROP PREPARE P", "Deallocate(p)"),
        ("HANDLER t OPEN", "OpenHandler(t)"),
        ("HANDLER db.T OPEN", "OpenHandler(T)"),
        ("HANDLER t OPEN AS h", "OpenHandler(h)"),
        ("HANDLER t OPEN `h`", "OpenHandler(h)"),
        ("HANDLER H CLOSE", "CloseHandler(H)"),
        ("HANDLER h READ FIRST", ""),
        (
            "HANDLER h READ i >= (1, @a) WHERE a = ABS(1) LIMIT 2",
            "vars",
        ),
        (
            "GET DIAGNOSTICS @n = NUMBER, @r = ROW_COUNT",
            "needs_diag sets_vars vars",
        ),
        (
            "GET CURRENT DIAGNOSTICS CONDITION 1 @m = MESSAGE_TEXT",
            "needs_diag sets_vars vars",
        ),
        ("SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'x'", ""),
        ("RESIGNAL", ""),
    ]);
    unknown(&[
        "PREPARE p",
        "PREPARE 'p' FROM 'x'",
        "PREPARE \u{e9} FROM 'x'",
        "EXECUTE",
        "EXECUTE p(1)",
        "HANDLER t x",
        "HANDLER",
        "DEALLOCATE p",
    ]);
}

#[test]
fn temporary_tables() {
    rows(&[
        (
            "CREATE TEMPORARY TABLE t (a INT DEFAULT (1))",
            "CreateTemporary(t)",
        ),
        (
            "CREATE TEMPORARY TABLE IF NOT EXISTS db.t LIKE u",
            "CreateTemporary(db.t)",
        ),
        (
            "CREATE OR REPLACE TEMPORARY TABLE `d``b`.`t` (a INT)",
            "CreateTemporary(d`b.t)",
        ),
        ("CREATE TEMPORARY SEQUENCE s", "CreateSequence(s)"),
        (
            "CREATE TEMPORARY TABLE t SELECT @a",
            "sets_id vars CreateTemporary(t)",
        ),
        (
            "CREATE TEMPORARY TABLE t TABLE u",
            "sets_id CreateTemporary(t)",
        ),
        (
            "CREATE /*!40000 TEMPORARY */ TABLE t (a INT)",
            "CreateTemporary(t)",
        ),
        ("DROP TABLE t", "commits Drop(t)"),
        (
            "DROP TABLE IF EXISTS a, db.b CASCADE",
            "commits Drop(a,db.b)",
        ),
        (
            "DROP TEMPORARY TABLE IF EXISTS a, `b`",
            "DropTemporary(a,b)",
        ),
        ("DROP TABLES a WAIT 5", "commits Drop(a)"),
        ("DROP SEQUENCE s", "commits DropSequences(s)"),
        ("DROP TEMPORARY SEQUENCE s", "DropSequences(s)"),
        ("ALTER TABLE t RENAME u", "commits RenameTemporary"),
        (
            "ALTER TABLE t ADD b INT, RENAME TO db.u",
            "commits RenameTemporary",
        ),
        (
            "ALTER TABLE t RENAME COLUMN a TO b, RENAME INDEX i TO j",
            "commits",
        ),
        ("RENAME TABLE a TO b, c TO d", "commits RenameTemporary"),
        ("RENAME USER a@h TO b@h", "commits"),
    ]);
    unknown(&[
        "CREATE TEMPORARY TABLE 't' (a INT)",
        "CREATE TEMPORARY",
        "CREATE TEMPORARY VIEW v AS SELECT 1",
        "DROP TABLE",
        "DROP TABLE a b",
        "DROP TEMPORARY VIEW v",
        "RENAME x",
    ]);
    // Only under `ANSI_QUOTES` is it no error.
    rows(&[("CREATE TEMPORARY TABLE \"t\" (a INT)", "CreateTemporary(t)")]);
}

#[test]
fn definitions_are_stored() {
    all(
        "commits",
        &[
            "CREATE TABLE t (a INT DEFAULT (f(1)), b VARCHAR(10) CHECK (f(b)))",
            "CREATE TABLE t (a INT) PARTITION BY RANGE (a) (PARTITION p VALUES LESS THAN (5))",
            "CREATE TABLE t LIKE u",
            "CREATE VIEW v AS SELECT f(1), LAST_INSERT_ID()",
            "CREATE OR REPLACE ALGORITHM = MERGE DEFINER = u@h SQL SECURITY INVOKER VIEW v (a) AS SELECT f(1)",
            "CREATE UNIQUE INDEX i ON t (a)",
            "CREATE DATABASE d",
            "CREATE PROCEDURE p(INOUT a INT) SET @x = f(a)",
            "CREATE DEFINER = `u`@`h` PROCEDURE p() BEGIN SET @x = 1; SELECT f(1); END",
            "CREATE DEFINER = CURRENT_USER() FUNCTION f() RETURNS INT RETURN GET_LOCK('a', 1)",
            "CREATE PROCEDURE p() BEGIN IF a THEN SELECT 1; ELSE SELECT 2; END IF; END",
            "CREATE PROCEDURE p() BEGIN l: LOOP LEAVE l; END LOOP l; SELECT CASE 1 WHEN 1 THEN 2 END; END;",
            "CREATE PROCEDURE p() BEGIN CASE a WHEN 1 THEN SELECT 1; END CASE; BEGIN END; END",
            "CREATE PROCEDURE p() BEGIN WHILE a DO SET a = 1; END WHILE; REPEAT SET a = 2; UNTIL b END REPEAT; END",
            "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.a = @x",
            "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW BEGIN SET @x = 1; DO f(1); END",
            "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO CALL p()",
            "CREATE FUNCTION f RETURNS STRING SONAME 'x.so'",
            "CREATE AGGREGATE FUNCTION f RETURNS REAL SONAME 'x.so'",
            "CREATE USER u@h IDENTIFIED BY 'x'",
            "CREATE ROLE r",
            "CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (USER 'x')",
            "CREATE SEQUENCE s START WITH 1",
            "CREATE TABLESPACE s ADD DATAFILE 'x'",
            "CREATE UNDO TABLESPACE s ADD DATAFILE 'x'",
            "CREATE LOGFILE GROUP g ADD UNDOFILE 'x'",
            "CREATE RESOURCE GROUP g TYPE = USER",
            "CREATE SPATIAL REFERENCE SYSTEM 4120 NAME 'x'",
            "ALTER TABLE t ADD COLUMN a INT DEFAULT (ABS(1)), ALGORITHM = INPLACE",
            "ALTER TABLE t REORGANIZE PARTITION p INTO (PARTITION q VALUES LESS THAN (5))",
            "ALTER IGNORE TABLE t ENGINE = InnoDB",
            "ALTER USER u@h IDENTIFIED BY 'x'",
            "ALTER EVENT e DISABLE",
            "ALTER ALGORITHM = MERGE VIEW v AS SELECT @@port",
            "ALTER INSTANCE ROTATE INNODB MASTER KEY",
            "ALTER SEQUENCE s RESTART 5",
            "DROP VIEW v",
            "DROP INDEX i ON t",
            "DROP DATABASE IF EXISTS d",
            "DROP PROCEDURE p",
            "DROP FUNCTION IF EXISTS f",
            "DROP TRIGGER g",
            "DROP EVENT e",
            "DROP USER u@h",
            "DROP SERVER s",
            "DROP RESOURCE GROUP g",
            "DROP SPATIAL REFERENCE SYSTEM 4120",
            "DROP PACKAGE p",
            "GRANT ALL ON db.* TO u@h IDENTIFIED BY 'x'",
            "GRANT SELECT (a, b) ON t TO 'u'@'h'",
            "REVOKE ALL ON t FROM u",
        ],
    );
    rows(&[
        (
            "CREATE TABLE t (a INT) SELECT LAST_INSERT_ID()",
            "needs_id sets_id commits",
        ),
        (
            "CREATE TABLE t AS (SELECT GET_LOCK('a', 1))",
            "sets_id commits TakeLock(a)",
        ),
        (
            "CREATE EVENT e ON SCHEDULE EVERY (@t := 3) DAY DO SET @x = f(1)",
            "sets_vars vars commits",
        ),
        ("CREATE TABLE t (a INT DEFAULT (@x))", "vars commits"),
        (
            "CREATE EVENT e ON SCHEDULE AT @t DO SET @x = f(1)",
            "vars commits",
        ),
        (
            "ALTER TABLE t ADD a INT DEFAULT (NEXT VALUE FOR s)",
            "sequence commits",
        ),
        (
            "ALTER TABLE t ADD a INT DEFAULT (NEXTVAL(s))",
            "sequence commits",
        ),
        (
            "ALTER DATABASE d CHARACTER SET utf8mb4",
            "commits SetVariables",
        ),
    ]);
    unknown(&[
        "CREATE x",
        "CREATE PACKAGE p AS PROCEDURE q(); END",
        "CREATE PROCEDURE p() BEGIN SELECT 1; x",
        "CREATE PROCEDURE p() BEGIN SELECT 1; END; SELECT f(1)",
        "CREATE PROCEDURE p() AS x INT; BEGIN SELECT 1; END",
        "ALTER x",
        "DROP x",
    ]);
}

#[test]
fn statements_of_who_runs_the_server() {
    all(
        "commits",
        &[
            "ANALYZE TABLE t",
            "ANALYZE NO_WRITE_TO_BINLOG TABLE t PERSISTENT FOR COLUMNS (a)",
            "CHECK TABLE t",
            "OPTIMIZE TABLE t",
            "REPAIR TABLE t",
            "RESET MASTER",
            "PURGE BINARY LOGS BEFORE NOW()",
            "CHANGE MASTER TO MASTER_HOST = 'x', IGNORE_SERVER_IDS = (1, 2)",
            "CHANGE REPLICATION FILTER REPLICATE_DO_DB = (d)",
            "INSTALL PLUGIN x SONAME 'y'",
            "UNINSTALL COMPONENT 'x'",
            "CLONE LOCAL DATA DIRECTORY = 'x'",
            "CACHE INDEX t IN c",
            "LOAD INDEX INTO CACHE t",
            "IMPORT TABLE FROM 'x'",
        ],
    );
    rows(&[
        ("USE db", ""),
        ("KILL 5", "ends"),
        ("KILL CONNECTION 5", "ends"),
        ("KILL HARD USER u@h", "ends"),
        ("KILL QUERY 5", ""),
        ("KILL CONNECTION_ID()", "needs_conn ends"),
        ("SHUTDOWN", "ends"),
        ("RESTART", "ends"),
        (
            "CLONE INSTANCE FROM u@h:3306 IDENTIFIED BY 'x'",
            "ends commits",
        ),
        ("RESET PERSIST x", "global commits"),
        ("INSTALL COMPONENT 'x' SET GLOBAL a = 1", "global commits"),
    ]);
    unknown(&[
        "DELIMITER //",
        "IMPORT x",
        "RETURN 1",
        "DECLARE x INT",
        "1",
        "'a'",
        "x",
    ]);
}

#[test]
fn several_statements_are_one_after_the_other() {
    rows(&[
        ("SET @a = 1; SELECT @a", "sets_vars vars"),
        (
            "SELECT GET_LOCK('a', 1); INSERT INTO t VALUES (1); SELECT RELEASE_LOCK('a')",
            "sets_id TakeLock(a) ReleaseLock(a)",
        ),
        (
            "CREATE PROCEDURE p() BEGIN SELECT f(1); END; SET @x = 1",
            "sets_vars vars commits",
        ),
        (
            "CREATE PROCEDURE p() SELECT f(1); SET @x = 1",
            "sets_vars vars commits",
        ),
    ]);
    unknown(&["SELECT 1; SELECT f(1)", "SELECT 1; x"]);
}

#[test]
fn what_modes_read_differently() {
    unknown(&[
        // One of both calls a function.
        "SELECT 'a\\', f(1) -- '",
        "SELECT \"f\"(1)",
        "SELECT \"a\\\", f(1), \"\\\"\"",
        "SELECT 'a\\', GET_LOCK('b', 1) -- '",
        "SELECT 1 /*!80000 , f(1) */",
        "SELECT 1 /*M! , f(1) */",
        "SELECT 1 /*!50700 , @a */",
        "SELECT 1 /*! , 2",
        "SELECT 1 /* , 2",
        "SELECT 'a",
        "SELECT (1",
        "SELECT 1) + (1",
        "SELECT 1 -- \u{0}",
        "SELECT \u{0}",
        "SELECT $$a$$",
        "SELECT \\N",
        "SELECT [1]",
    ]);
    known(&[
        "SELECT 'a\\', @b -- '",
        "SELECT \"a\", @b",
        "INSERT INTO t VALUES ('a\\'b\\'c', \"it's\", @a)",
    ]);
    assert!(of("SELECT 'a\\', @b -- '").reads_user_variables);
    for sql in [
        &b"SELECT '\xbf\\', @a, '"[..],
        b"SELECT \xbf\xbf",
        b"SELECT `\xbf`",
    ] {
        assert!(facts(sql).unknown);
    }
}

#[test]
fn what_is_deep_or_long_is_read_in_time() {
    for part in [
        "abs(",
        "SELECT f(",
        "(",
        "@a,",
        "SET STATEMENT a = 1 FOR ",
        "SET @a = 1;",
        "WITH x (a) AS (",
        "CREATE TABLE t (",
        "EXPLAIN ",
        "/*! ",
        "'a' ",
        "\"a\\\" ",
        "BEGIN ",
    ] {
        let sql = format!("SELECT {}", part.repeat(20_000));
        facts(sql.as_bytes());
        facts(&sql.as_bytes()[7..]);
        outline(sql.as_bytes());
    }
}

#[test]
fn outlines_have_no_literals() {
    for (sql, expected) in [
        ("SELECT 1", "SELECT ?"),
        ("  select\n a ,\tb  FROM `t`", "select a , b FROM `t`"),
        (
            "SELECT a.b, 'x', \"y\", 0x1f, x'00', N'z', ?",
            "SELECT a.b, ?, ?, ?, ?, ?, ?",
        ),
        ("SELECT /* secret */ 1 -- secret", "SELECT ?"),
        (
            "CREATE USER u@h IDENTIFIED BY 'secret'",
            "CREATE USER u@h IDENTIFIED BY ?",
        ),
        ("SET PASSWORD = 'sec''ret'", "SET PASSWORD = ?"),
        ("SET PASSWORD = \"sec\"\"ret\"", "SET PASSWORD = ?"),
        ("SET PASSWORD = 'sec\\'ret'", "SET PASSWORD =\u{2026}"),
        ("SET PASSWORD = 'sec\\nret'", "SET PASSWORD = ?"),
        ("SET PASSWORD = 'secret", "SET\u{2026}"),
        ("SET PASSWORD = \"sec\\\"ret\"", "SET PASSWORD =\u{2026}"),
        ("SELECT 1 /*!80000 'secret' */", "SELECT\u{2026}"),
        ("SET @'secret' = _utf8'secret'", "SET @? = _utf8?"),
        ("SELECT $$secret$$", "SELECT\u{2026}"),
        ("'secret", "\u{2026}"),
        ("", ""),
    ] {
        assert_eq!(outline(sql.as_bytes()), expected, "{sql}");
    }
    let long = format!("SELECT {}", "a, ".repeat(100));
    assert_eq!(outline(long.as_bytes()).chars().count(), 120);
    assert!(outline(long.as_bytes()).ends_with('\u{2026}'));
    assert_eq!(outline(b"SELECT '\xbf\\', secret, '"), "SELECT\u{2026}");
}

/// Statements of one line, without semicolons in them.
const STATEMENTS: &[&str] = &[
    "SELECT @a := 1 , LAST_INSERT_ID( )",
    "SET @x = 1 , sql_mode = 'a'",
    "SET GLOBAL a = 1",
    "INSERT INTO t ( a ) VALUES ( @b )",
    "SELECT GET_LOCK( 'a' , 1 )",
    "DROP TEMPORARY TABLE a , db . b",
    "CREATE TEMPORARY TABLE db . t ( a INT )",
    "PREPARE p FROM 'SELECT 1'",
    "EXECUTE p USING @a",
    "LOCK TABLES t READ",
    "SHOW VARIABLES LIKE 'x'",
    "EXPLAIN FORMAT = JSON SELECT 1",
    "COMMIT AND CHAIN RELEASE",
    "XA COMMIT 'a' ONE PHASE",
    "SELECT f ( 1 )",
    "CALL p ( )",
    "SET ROLE r",
    "ALTER TABLE t RENAME u",
];

const ODD: &[u8] = b"'\"`\\/*-#();,.@ 0x1eE+\n\xbf!:={}$M";

proptest! {
    #[test]
    fn any_bytes_have_facts(sql in prop::collection::vec(any::<u8>(), 0..200)) {
        facts(&sql);
        outline(&sql);
    }

    #[test]
    fn any_words_have_facts(
        verb in prop::sample::select(STATEMENTS),
        words in prop::collection::vec(
            prop::sample::select(STATEMENTS)
                .prop_flat_map(|sql| prop::sample::select(sql.split(' ').collect::<Vec<_>>())),
            0..12,
        ),
        odd in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(ODD)], 0..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let words = words.join(" ");
        let sql = [verb.as_bytes(), b" ", words.as_bytes(), b" ", &odd].concat();
        facts(&sql);
        outline(&sql);
        facts(&sql[..cut.index(sql.len())]);
        facts(words.as_bytes());
    }

    #[test]
    fn statements_in_one_text_have_the_facts_of_all(
        statements in prop::collection::vec(prop::sample::select(STATEMENTS), 1..5),
    ) {
        let all = facts(statements.join(" ; ").as_bytes());
        let each = statements.iter().map(|sql| of(sql)).reduce(|all, next| {
            let blind = all.blind || all.moves_names;
            Facts { blind, ..all.and(next) }
        });
        prop_assert_eq!(all, each.unwrap().consistent());
    }

    #[test]
    fn blanks_and_comments_do_not_matter(
        sql in prop::sample::select(STATEMENTS),
        between in prop::collection::vec("[ \t\n]{1,2}|/\\*[ a-z@'\"`;(]{0,5}\\*/|# [a-z@'*]{0,5}\n", 1..6),
    ) {
        let between = between.iter().map(String::as_str).cycle();
        let changed: String = sql.split_inclusive(' ').zip(between).map(|(word, blank)| format!("{}{blank}", word.trim())).collect();
        // In a string there is a blank, too.
        prop_assume!(!sql.contains("'SELECT"));
        prop_assert_eq!(of(sql), of(&changed), "{}", changed);
    }

    #[test]
    fn outlines_never_show_a_string(
        secret in "[a-z0-9 '\"\\\\;@#/*-]{0,6}",
        quote in prop::sample::select(&["'", "\""][..]),
    ) {
        // As a client that knows the modes quotes it, in either way.
        let doubled = secret.replace(quote, &quote.repeat(2));
        for text in [doubled.replace('\\', "\\\\"), doubled] {
            let sql = format!("SET PASSWORD = {quote}QQQ{text}QQQ{quote}");
            prop_assert!(!outline(sql.as_bytes()).contains("QQQ"), "{}", outline(sql.as_bytes()));
        }
    }

    #[test]
    fn what_is_neutral_is_known(sql in prop::sample::select(&[
        "SELECT a, COUNT(*) FROM t WHERE b IN (1, 2) GROUP BY a",
        "INSERT INTO t (a) VALUES (1) ON DUPLICATE KEY UPDATE a = VALUES(a)",
        "WITH x (a) AS (SELECT 1) SELECT a FROM x FOR UPDATE",
        "UPDATE t SET a = NOW() WHERE b = 'c'",
        "DELETE FROM t WHERE a = ?",
    ][..])) {
        prop_assert_ne!(read(sql.as_bytes()).effect, Effect::Other);
        prop_assert!(!of(sql).unknown);
    }
}
