//! Insert ids, and what the session remembers of the last statement: rows found, rows changed,
//! warnings, diagnostics.

use crate::template::{
    Only::{Any, MariaDb, MySql},
    Template,
};

pub const INSERT_IDS: &[Template] = &[
    Template(6, Any, "SELECT LAST_INSERT_ID()"),
    Template(2, Any, "SELECT @@identity, @@last_insert_id, @@insert_id"),
    Template(
        5,
        Any,
        "INSERT INTO t~ (a) VALUES ({i})\nSELECT LAST_INSERT_ID()",
    ),
    Template(
        3,
        Any,
        "INSERT INTO t~ (a) VALUES (1), (2), (3)\nSELECT LAST_INSERT_ID()",
    ),
    Template(
        2,
        Any,
        "INSERT INTO t~ (id, a) VALUES (1{n}, 1)\nSELECT LAST_INSERT_ID()",
    ),
    Template(
        2,
        Any,
        "INSERT INTO t~ (id, a) VALUES (NULL, 1), (2{n}, 2), (NULL, 3)\nSELECT LAST_INSERT_ID()",
    ),
    Template(
        2,
        Any,
        "INSERT INTO t~ (id, a) VALUES (0, 1)\nSELECT LAST_INSERT_ID()",
    ),
    Template(
        3,
        Any,
        "SELECT LAST_INSERT_ID({n})\nSELECT LAST_INSERT_ID()",
    ),
    Template(
        2,
        Any,
        "UPDATE t~ SET a = LAST_INSERT_ID(a + 1) WHERE id = {i}\nSELECT LAST_INSERT_ID()",
    ),
    Template(
        2,
        Any,
        "INSERT INTO t~ (a, u) VALUES ({i}, {i}) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id), a = 7\nSELECT LAST_INSERT_ID()",
    ),
    Template(
        2,
        Any,
        "INSERT IGNORE INTO t~ (a, u) VALUES ({i}, {i}), ({i}, {i})\nSELECT LAST_INSERT_ID()",
    ),
    Template(
        1,
        Any,
        "INSERT INTO t~ (a, u) VALUES ({i}, 1)\nSELECT LAST_INSERT_ID()",
    ),
    // InnoDB goes on behind it by the auto_increment_increment of whoever used the open table before.
    Template(
        1,
        MariaDb,
        "SET insert_id = 3{n}\nINSERT INTO t~ (a) VALUES (1)\nSELECT LAST_INSERT_ID()",
    ),
    Template(
        1,
        MariaDb,
        "SET insert_id = 4{n}\nSELECT 1\nINSERT INTO t~ (a) VALUES (1)",
    ),
    Template(1, Any, "SET last_insert_id = {n}\nSELECT LAST_INSERT_ID()"),
    Template(1, Any, "SET identity = {n}"),
    Template(
        1,
        Any,
        "INSERT INTO log~ (what) VALUES (LAST_INSERT_ID())\nSELECT LAST_INSERT_ID()",
    ),
    Template(
        1,
        Any,
        "REPLACE INTO t~ (a, u) VALUES ({i}, {i})\nSELECT LAST_INSERT_ID()",
    ),
    Template(
        1,
        Any,
        "INSERT INTO t~ (a) SELECT a FROM t~ WHERE id < 3\nSELECT LAST_INSERT_ID()",
    ),
    Template(1, Any, "SELECT * FROM t~ WHERE id = LAST_INSERT_ID()"),
    Template(1, Any, "DO LAST_INSERT_ID({n})"),
    Template(1, Any, "SET @v0 = LAST_INSERT_ID({n})"),
    Template(1, Any, "INSERT INTO ch~ (pid) VALUES (LAST_INSERT_ID())"),
    Template(
        1,
        Any,
        "SELECT last_insert_id ( ), LAST_INSERT_ID(/* */), 'LAST_INSERT_ID(5)'",
    ),
];

pub const DIAGNOSTICS: &[Template] = &[
    Template(
        3,
        Any,
        "SELECT SQL_CALC_FOUND_ROWS id FROM t~ ORDER BY id LIMIT 2\nSELECT FOUND_ROWS()",
    ),
    Template(3, Any, "SELECT FOUND_ROWS()"),
    Template(
        2,
        Any,
        "SELECT id FROM t~ ORDER BY id LIMIT {i}\nSELECT FOUND_ROWS()",
    ),
    Template(
        3,
        Any,
        "UPDATE t~ SET a = a + 1 WHERE id < {i}\nSELECT ROW_COUNT()",
    ),
    Template(3, Any, "SELECT ROW_COUNT()"),
    Template(
        2,
        Any,
        "INSERT INTO t~ (id) VALUES (1)\nSELECT ROW_COUNT(), @@error_count",
    ),
    Template(3, Any, "SHOW WARNINGS"),
    Template(2, Any, "SHOW ERRORS"),
    Template(2, Any, "SHOW COUNT(*) [WARNINGS|ERRORS]"),
    Template(2, Any, "SHOW WARNINGS LIMIT 1"),
    Template(2, Any, "SELECT @@warning_count, @@error_count"),
    Template(
        4,
        Any,
        "SELECT 1 / 0, CAST('x' AS SIGNED)\nSHOW WARNINGS\nSHOW COUNT(*) WARNINGS",
    ),
    Template(3, Any, "SELECT nothing FROM t~\nSHOW ERRORS\nSHOW WARNINGS"),
    Template(
        3,
        Any,
        "SELECT CAST('{s}' AS SIGNED)\nSELECT @@warning_count",
    ),
    Template(
        2,
        Any,
        "INSERT IGNORE INTO t~ (a) VALUES ('bad'), ('worse')\nSHOW WARNINGS",
    ),
    Template(2, Any, "DROP TABLE IF EXISTS nothing~\nSHOW WARNINGS"),
    Template(
        2,
        Any,
        "SELECT nothing\nGET DIAGNOSTICS CONDITION 1 @v0 = MESSAGE_TEXT, @v1 = MYSQL_ERRNO\nSELECT @v0, @v1",
    ),
    Template(
        2,
        Any,
        "GET DIAGNOSTICS @v2 = NUMBER, @v3 = ROW_COUNT\nSELECT @v2, @v3",
    ),
    Template(
        1,
        Any,
        "GET DIAGNOSTICS CONDITION 5 @v0 = MESSAGE_TEXT\nSHOW WARNINGS",
    ),
    Template(
        1,
        Any,
        "SIGNAL SQLSTATE '[45000|01000|02000]' SET MESSAGE_TEXT = '{s}'\nSHOW WARNINGS",
    ),
    Template(1, Any, "RESIGNAL"),
    Template(
        1,
        Any,
        "SELECT SQL_CALC_FOUND_ROWS * FROM t~ WHERE a > {i} ORDER BY id LIMIT 1\n!ping\nSELECT FOUND_ROWS()",
    ),
    Template(1, Any, "SELECT 1 / 0\n!ping\nSHOW WARNINGS"),
    Template(1, Any, "SELECT 1 / 0\nSET @v0 = 1\nSHOW WARNINGS"),
    Template(
        1,
        Any,
        "SELECT CAST('x' AS SIGNED)\nSET @v1 = @@warning_count\nSELECT @v1",
    ),
    Template(1, Any, "DELETE FROM t~ WHERE id > {n}; SELECT ROW_COUNT()"),
    Template(1, Any, "SELECT 1 / 0; SHOW WARNINGS"),
    Template(
        1,
        MySql,
        "SELECT nothing\nGET STACKED DIAGNOSTICS @v0 = NUMBER",
    ),
    Template(1, MySql, "SELECT STATEMENT_DIGEST_TEXT('SELECT {i}')"),
];

/// Sequences of MariaDB: what a session had of one is known to the server alone.
pub const SEQUENCES: &[Template] = &[
    Template(2, MariaDb, "SELECT NEXTVAL(sq~), LASTVAL(sq~)"),
    Template(
        2,
        MariaDb,
        "SELECT [LASTVAL(sq~)|PREVIOUS VALUE FOR sq~|NEXT VALUE FOR sq~]",
    ),
    Template(1, MariaDb, "SELECT SETVAL(sq~, 1{n})"),
    Template(
        1,
        MariaDb,
        "INSERT INTO t~ (a) VALUES (NEXTVAL(sq~))\nSELECT LASTVAL(sq~)",
    ),
    Template(1, MariaDb, "ALTER SEQUENCE sq~ RESTART {n}"),
];
