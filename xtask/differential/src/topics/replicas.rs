//! Replicas that stand still for a while, and reads of what was just written; only where there are any.

use crate::template::{
    Only::{Any, MariaDb},
    Template,
};

pub const ALL: &[Template] = &[
    Template(3, Any, "!hold"),
    Template(2, Any, "!hold {i}"),
    Template(8, Any, "!release"),
    Template(8, Any, "SELECT id, a, b, c, u FROM t~ ORDER BY id"),
    Template(
        4,
        Any,
        "!run SELECT COUNT(*), SUM(a) FROM t~ WHERE id > ? <- {i}",
    ),
    Template(
        6,
        Any,
        "INSERT INTO t~ (a, b) VALUES ({i}, '{s}')\nSELECT id, a, b FROM t~ ORDER BY id",
    ),
    Template(
        3,
        Any,
        "UPDATE t~ SET a = {n} WHERE id < {i}\nSELECT SUM(a), COUNT(*) FROM t~",
    ),
    Template(
        2,
        Any,
        "DELETE FROM t~ WHERE id = {i}\n[!ping|SELECT 1|!db {db}]\nSELECT COUNT(*) FROM t~ WHERE id = {i}",
    ),
    Template(
        2,
        Any,
        "!run INSERT INTO t~ (a) VALUES (?) <- {i}\n!run SELECT COUNT(*), MAX(id) FROM t~ WHERE a = ? <- {i}",
    ),
    Template(
        2,
        Any,
        "INSERT INTO t~ (a) VALUES ({i}); INSERT INTO log~ (what) VALUES ('{s}')\nSELECT COUNT(*) FROM log~\nSELECT COUNT(*) FROM t~",
    ),
    Template(
        2,
        Any,
        "BEGIN\nINSERT INTO t~ (a) VALUES ({i})\n[COMMIT|ROLLBACK|BEGIN]\n[COMMIT|SELECT 1]\nSELECT COUNT(*) FROM t~",
    ),
    Template(
        2,
        Any,
        "CREATE TABLE d{i}~ (id INT PRIMARY KEY, x INT)\nSELECT COUNT(*) FROM d{i}~",
    ),
    Template(2, Any, "DROP TABLE d{i}~\nSELECT COUNT(*) FROM d{i}~"),
    Template(2, Any, "SHOW TABLES LIKE 'd%~'"),
    // What a statement did before it failed.
    Template(
        2,
        Any,
        "BEGIN\nINSERT INTO t~ (a) VALUES ({i})\nCREATE TABLE p~ (id INT)\nSELECT COUNT(*), MAX(id) FROM t~\nSELECT COUNT(*) FROM t~",
    ),
    Template(
        2,
        Any,
        "CALL p_half~({i})\nSELECT COUNT(*), MAX(id) FROM log~\nSELECT COUNT(*) FROM log~",
    ),
    Template(
        1,
        Any,
        "INSERT INTO t~ (a) VALUES ({i}); SELECT nothing\nSELECT COUNT(*) FROM t~",
    ),
    Template(
        2,
        MariaDb,
        "INSERT INTO my~ (id, a) VALUES (7{n}, 1), (1, 2)\nSELECT COUNT(*) FROM my~",
    ),
    // What begins on a replica, and may end on the primary.
    Template(
        3,
        Any,
        "INSERT INTO t~ (a) VALUES ({i})\nSTART TRANSACTION READ ONLY\nSELECT COUNT(*), MAX(id) FROM t~\n[SET @v0 = {i}|SELECT @v0|SAVEPOINT s|SELECT 1|SET sql_mode = DEFAULT|SELECT LAST_INSERT_ID()]\nSELECT COUNT(*), MAX(id) FROM t~\n[COMMIT|ROLLBACK]\nUPDATE t~ SET a = 3 WHERE id = {i}",
    ),
    // A view that a replica doesn't have yet may do anything.
    Template(
        2,
        Any,
        "CREATE OR REPLACE VIEW v{i}~ AS SELECT a, [f_read~()|f_var~(id)|f_ins~(id)|1] AS b FROM t~\nSELECT * FROM v{i}~ ORDER BY a, b LIMIT 3\nSELECT @v1, COUNT(*) FROM log~",
    ),
    Template(
        1,
        Any,
        "/* mux:[primary|replica|any] */ SELECT id, a, b FROM t~ ORDER BY id",
    ),
];
