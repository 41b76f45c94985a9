//! Transactions of all kinds, and failing within them.

use crate::template::{
    Only::{Any, MariaDb, MySql},
    Template,
};

pub const ALL: &[Template] = &[
    Template(
        6,
        Any,
        "BEGIN\nINSERT INTO t~ (a, b) VALUES ({i}, 'trx')\nSELECT a, b FROM t~ ORDER BY id\n[COMMIT|ROLLBACK]",
    ),
    Template(
        4,
        Any,
        "START TRANSACTION\nUPDATE t~ SET a = a + 1 WHERE id = {i}\nINSERT INTO t~ (id) VALUES (1)\nSELECT SUM(a) FROM t~\n[COMMIT|ROLLBACK]",
    ),
    Template(
        3,
        Any,
        "START TRANSACTION READ ONLY\nSELECT COUNT(*) FROM t~\nINSERT INTO t~ (a) VALUES (1)\nCOMMIT",
    ),
    Template(
        3,
        Any,
        "START TRANSACTION WITH CONSISTENT SNAPSHOT\nSELECT COUNT(*) FROM t~\nSELECT COUNT(*) FROM t~\nCOMMIT",
    ),
    Template(
        1,
        Any,
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY\nSELECT COUNT(*) FROM t~\nROLLBACK",
    ),
    Template(
        4,
        Any,
        "BEGIN\nUPDATE t~ SET a = 1 WHERE id = {i}\nSAVEPOINT {sp}\nDELETE FROM t~ WHERE id = {i}\nROLLBACK TO SAVEPOINT {sp}\nRELEASE SAVEPOINT {sp}\nCOMMIT",
    ),
    Template(2, Any, "SAVEPOINT {sp}"),
    Template(2, Any, "ROLLBACK TO {sp}"),
    Template(1, Any, "RELEASE SAVEPOINT {sp}"),
    Template(3, Any, "COMMIT"),
    Template(3, Any, "ROLLBACK"),
    Template(1, Any, "COMMIT AND CHAIN\nSELECT 1\nROLLBACK"),
    Template(
        1,
        Any,
        "BEGIN\nINSERT INTO t~ (a) VALUES ({i})\nCOMMIT AND CHAIN\nINSERT INTO t~ (a) VALUES ({i})\nROLLBACK AND NO CHAIN NO RELEASE",
    ),
    Template(
        3,
        Any,
        "SET autocommit = 0\nINSERT INTO t~ (a) VALUES ({i})\nSELECT COUNT(*) FROM t~\n[COMMIT|ROLLBACK]\nSET autocommit = 1",
    ),
    Template(1, Any, "SET autocommit = [0|1|DEFAULT|OFF|ON]"),
    Template(
        2,
        Any,
        "SET TRANSACTION ISOLATION LEVEL [READ COMMITTED|REPEATABLE READ|SERIALIZABLE|READ UNCOMMITTED]\nBEGIN\nSELECT COUNT(*) FROM t~\nCOMMIT",
    ),
    Template(
        2,
        Any,
        "SET TRANSACTION [READ ONLY|READ WRITE]\nINSERT INTO t~ (a) VALUES ({i})\nINSERT INTO t~ (a) VALUES ({i})",
    ),
    Template(
        2,
        Any,
        "SET TRANSACTION READ ONLY\nSELECT {i}\nSET [time_zone = '+03:00'|time_zone = DEFAULT|sql_mode = '']\nINSERT INTO t~ (a) VALUES ({i})\nSELECT a FROM t~ WHERE id = {i}\nINSERT INTO t~ (a) VALUES ({i})",
    ),
    Template(
        2,
        Any,
        "SET TRANSACTION READ [ONLY|WRITE], ISOLATION LEVEL [SERIALIZABLE|READ COMMITTED]\nINSERT INTO t~ (id) VALUES (1)\nSELEC nonsense\nINSERT INTO t~ (a) VALUES ({i})\n[BEGIN|COMMIT|SELECT 1]\nINSERT INTO t~ (a) VALUES ({i})\nCOMMIT",
    ),
    Template(
        2,
        MySql,
        "SET TRANSACTION ISOLATION LEVEL [READ COMMITTED|SERIALIZABLE]\nSELECT 1\nBEGIN\nSELECT COUNT(*) FROM t~\nSELECT isolation_level, access_mode FROM performance_schema.events_transactions_current JOIN performance_schema.threads USING (thread_id) WHERE processlist_id = CONNECTION_ID()\nROLLBACK\n!reset",
    ),
    Template(
        2,
        Any,
        "SET SESSION TRANSACTION ISOLATION LEVEL [READ COMMITTED|REPEATABLE READ]",
    ),
    Template(
        1,
        Any,
        "SET SESSION TRANSACTION [READ ONLY|READ WRITE]\nINSERT INTO t~ (a) VALUES ({i})\nSET SESSION TRANSACTION READ WRITE",
    ),
    Template(
        1,
        Any,
        "BEGIN\nSET TRANSACTION READ ONLY\nSET TRANSACTION ISOLATION LEVEL SERIALIZABLE\nROLLBACK",
    ),
    Template(
        2,
        Any,
        "BEGIN\nINSERT INTO t~ (a) VALUES ({i})\nCREATE TABLE d{i}~ (id INT)\nROLLBACK",
    ),
    Template(
        2,
        Any,
        "BEGIN\nBEGIN\nINSERT INTO t~ (a) VALUES ({i})\nBEGIN\nROLLBACK",
    ),
    Template(
        2,
        Any,
        "BEGIN\nSELEC nonsense\nSELECT * FROM nothing~\nINSERT INTO t~ (a) VALUES ({i})\nCOMMIT",
    ),
    Template(
        2,
        Any,
        "BEGIN\nINSERT INTO my~ (a) VALUES ({i})\nINSERT INTO t~ (a) VALUES ({i})\nROLLBACK\nSHOW WARNINGS",
    ),
    Template(
        1,
        Any,
        "BEGIN\nSELECT * FROM t~ WHERE id = {i} FOR UPDATE\nSELECT COUNT(*) FROM t~ LOCK IN SHARE MODE\nCOMMIT",
    ),
    Template(1, Any, "BEGIN\nUPDATE t~ SET a = 9 WHERE id = {i}"),
    Template(1, Any, "BEGIN\nINSERT INTO t~ (u) VALUES (NULL)"),
    Template(
        2,
        Any,
        "BEGIN; INSERT INTO t~ (a) VALUES ({i}); [COMMIT|ROLLBACK|SELECT 1]",
    ),
    Template(
        1,
        Any,
        "XA START '{db}x~'\nINSERT INTO t~ (a) VALUES ({i})\nXA END '{db}x~'\nXA COMMIT '{db}x~' ONE PHASE",
    ),
    Template(
        1,
        Any,
        "XA START '{db}x~'\nUPDATE t~ SET a = 1 WHERE id = 1\nCOMMIT\nXA END '{db}x~'\nXA ROLLBACK '{db}x~'",
    ),
    Template(
        1,
        Any,
        "XA START '{db}y~'\nINSERT INTO t~ (a) VALUES ({i})\nXA END '{db}y~'\nXA PREPARE '{db}y~'\nXA [COMMIT|ROLLBACK] '{db}y~'",
    ),
    Template(1, MariaDb, "SELECT @@in_transaction"),
    Template(
        1,
        MariaDb,
        "SET STATEMENT max_statement_time = 100 FOR BEGIN\nINSERT INTO t~ (a) VALUES (1)\nROLLBACK",
    ),
    Template(
        1,
        MariaDb,
        "BEGIN NOT ATOMIC SET @v0 = {i}; SELECT @v0; END",
    ),
    Template(
        1,
        MySql,
        "SET [completion_type = CHAIN|completion_type = NO_CHAIN]\nBEGIN\nCOMMIT\nROLLBACK\nSET completion_type = DEFAULT",
    ),
    Template(
        1,
        Any,
        "SELECT @@autocommit, @@[transaction_isolation|transaction_read_only]",
    ),
];
