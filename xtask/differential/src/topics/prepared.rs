//! Prepared statements: by the protocol and by SQL.

use crate::template::{
    Only::{Any, MariaDb},
    Template,
};

pub const PROTOCOL: &[Template] = &[
    Template(4, Any, "!run SELECT ? + 1, ? <- {i}, '{s}'"),
    Template(
        4,
        Any,
        "!run SELECT id, a, b, c FROM t~ WHERE id > ? ORDER BY id <- {i}",
    ),
    Template(
        4,
        Any,
        "!run INSERT INTO t~ (a, b) VALUES (?, ?) <- {i}, '{s}'",
    ),
    Template(
        2,
        Any,
        "!run INSERT INTO t~ (id, a) VALUES (?, ?) <- {i}, NULL",
    ),
    Template(
        2,
        Any,
        "!run UPDATE t~ SET a = ?, c = ? WHERE id = ? <- {i}, {i}.5, {i}",
    ),
    Template(2, Any, "!run DELETE FROM t~ WHERE id = ? <- {i}"),
    Template(2, Any, "!run SELECT * FROM nothing~ WHERE id = ? <- {i}"),
    Template(1, Any, "!run SELECT ?, ? <- {i}"),
    Template(1, Any, "!run SELEC ? <- {i}"),
    // For MySQL a user variable is of the type that it had when the statement was prepared, which the
    // mux's cache may have done before and the dedicated side does now.
    Template(
        2,
        MariaDb,
        "!run SELECT @v0, @v1, LAST_INSERT_ID(), @@sql_mode",
    ),
    Template(
        2,
        Any,
        "!run SELECT @v0 IS NULL, LAST_INSERT_ID(), @@sql_mode",
    ),
    Template(
        1,
        Any,
        "!run SELECT id, a FROM t~ WHERE id = @v0 ORDER BY id",
    ),
    Template(2, Any, "!run SET @v0 = ?, @v1 = ? <- {i}, '{s}'"),
    Template(1, Any, "!run SET SESSION group_concat_max_len = ? <- {n}"),
    Template(1, Any, "!run SET NAMES [latin1|utf8mb4]"),
    Template(1, Any, "!run CALL p_many~(?) <- {i}"),
    Template(1, Any, "!run CALL p_out~(?, @v0, @v1) <- {i}"),
    // What MySQL sends of parameters that come out is more than the `mysql` crate reads: the dedicated
    // connection has the rest as the next statement's reply.
    Template(1, MariaDb, "!run CALL p_out~(?, ?, ?) <- {i}, NULL, {i}"),
    Template(
        1,
        Any,
        "!run SELECT GROUP_CONCAT(b ORDER BY id) FROM t~ WHERE a < ? <- {i}",
    ),
    Template(1, Any, "!run SHOW WARNINGS"),
    Template(1, Any, "!run SELECT f_ins~(?), f_var~(?) <- {i}, {i}"),
    Template(
        1,
        Any,
        "!run SELECT CAST('2024-01-02 03:04:05.678' AS DATETIME(3)), CAST('-12:00:01' AS TIME), 1.5e0, 2.5, -{n}",
    ),
    Template(3, Any, "!prep {i} SELECT a, b FROM t~ WHERE id = ?"),
    Template(2, Any, "!prep {i} INSERT INTO t~ (a) VALUES (?)"),
    Template(2, Any, "!prep 1 SELECT 'a', 'x' <> 'y', ?"),
    Template(2, Any, "!prep 2 SELECT COUNT(*) FROM t~ WHERE a > ?"),
    Template(1, Any, "!prep 3 SELECT * FROM {tmp}"),
    Template(1, Any, "!prep 4 SELECT DATABASE(), ?, @v0 IS NULL"),
    Template(1, Any, "!prep 5 SELECT * FROM d{i}~"),
    Template(1, Any, "!prep {i} nonsense"),
    Template(8, Any, "!exec {i} {i}"),
    Template(1, Any, "!exec {i}"),
    Template(1, Any, "!exec {i} {i}, {i}"),
    Template(2, Any, "!close {i}"),
    // MySQL reads these texts again where a parameter has another type than the last time, by the
    // modes and character sets of then, and goes on with that: what is found depends on the link.
    Template(2, MariaDb, "!prep 1 SELECT \"a\", 'x' || 'y', ?"),
    Template(
        3,
        MariaDb,
        "!prep 6 SELECT 'a' || 'b', \"x\", ?\nSET sql_mode = '[ANSI|ANSI_QUOTES|PIPES_AS_CONCAT|]'\n!exec 6 {i}\nSET sql_mode = DEFAULT\n!exec 6 {i}",
    ),
    Template(
        3,
        Any,
        "!prep 7 SELECT * FROM t~ WHERE id = ?\nUSE {db2}\n!exec 7 1\nUSE {db}\n!exec 7 1",
    ),
    Template(
        2,
        Any,
        "!prep 8 SELECT * FROM p~ WHERE id > ?\nALTER TABLE p~ COMMENT = 'x'\n!exec 8 0",
    ),
    Template(
        2,
        Any,
        "!prep 9 INSERT INTO t~ (b) VALUES (?)\nSET sql_mode = ''\n!exec 9 'a text longer than twenty characters'\nSHOW WARNINGS\nSET sql_mode = DEFAULT\n!exec 9 'a text longer than twenty characters'",
    ),
    Template(
        1,
        Any,
        "!prep 9 SELECT ?, CHARSET(?)\nSET NAMES latin1\n!exec 9 'é', 'é'\nSET NAMES utf8mb4",
    ),
    // The same.
    Template(
        1,
        MariaDb,
        "!prep 9 SELECT 'é' AS e, ?\nSET NAMES latin1\n!exec 9 1\nSET NAMES utf8mb4\n!exec 9 1",
    ),
];

pub const SQL: &[Template] = &[
    Template(
        4,
        Any,
        "PREPARE {ps} FROM 'SELECT a, ? AS p FROM t~ WHERE id = {i}'",
    ),
    Template(2, Any, "PREPARE {ps} FROM 'SELECT {i}'"),
    Template(2, Any, "PREPARE {ps} FROM 'INSERT INTO t~ (a) VALUES (?)'"),
    Template(1, Any, "PREPARE {ps} FROM 'nonsense'"),
    Template(2, Any, "SET @v0 = 'SELECT @v1, {i}'\nPREPARE {ps} FROM @v0"),
    Template(5, Any, "EXECUTE {ps}"),
    Template(5, Any, "EXECUTE {ps} USING @v[0|1|2|3]"),
    Template(2, Any, "[DEALLOCATE|DROP] PREPARE {ps}"),
    Template(
        2,
        Any,
        "PREPARE {ps} FROM 'SET @v0 = ?, @@div_precision_increment = 5'",
    ),
    Template(
        1,
        Any,
        "PREPARE {ps} FROM 'SELECT DATABASE(), COUNT(*) FROM t~'\nUSE {db2}\nEXECUTE {ps}\nUSE {db}",
    ),
    Template(1, Any, "CALL p_prep~({i})\nEXECUTE ps0 USING @v3"),
    Template(
        1,
        Any,
        "PREPARE ps1 FROM 'SELECT \"x\", 1 || 1'\nSET sql_mode = 'ANSI'\nEXECUTE ps1\nSET sql_mode = DEFAULT",
    ),
    Template(1, MariaDb, "EXECUTE IMMEDIATE 'SET @v0 = {i}'"),
    Template(1, MariaDb, "EXECUTE IMMEDIATE CONCAT('SELECT ', '{i}')"),
];
