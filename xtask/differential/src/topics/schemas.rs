//! The current schema, roles, several statements at once, and what comes from outside: a reset, a
//! connection that is killed.

use crate::template::{
    Only::{Any, MariaDb, MySql},
    Template,
};

pub const SCHEMAS: &[Template] = &[
    Template(
        4,
        Any,
        "USE {db2}\nSELECT DATABASE()\nSELECT * FROM t~ ORDER BY id\nUSE {db}",
    ),
    Template(
        3,
        Any,
        "!db {db2}\nSELECT DATABASE()\nINSERT INTO t~ (a) VALUES ({i})\n!db {db}",
    ),
    Template(1, Any, "USE {db2}"),
    Template(2, Any, "USE {db}"),
    Template(1, Any, "!db {db2}"),
    Template(2, Any, "!db {db}"),
    Template(2, Any, "USE nonsense"),
    Template(1, Any, "!db nonsense"),
    Template(2, Any, "SELECT DATABASE()"),
    Template(
        1,
        Any,
        "SELECT @@character_set_database, @@collation_database",
    ),
    Template(1, Any, "SELECT COUNT(*) FROM {db2}.t~"),
    Template(1, Any, "USE {db2}; SELECT DATABASE(); USE {db}"),
    Template(1, Any, "USE `{db}`; SELECT * FROM nothing~; SELECT 1"),
    Template(1, Any, "USE {db2}\n!reset\nSELECT DATABASE()"),
    Template(
        1,
        Any,
        "CREATE TABLE IF NOT EXISTS {db2}.d{i}~ (x VARCHAR(5))\nUSE {db2}\nSHOW CREATE TABLE t~\nUSE {db}",
    ),
];

pub const ROLES: &[Template] = &[
    Template(3, Any, "SELECT CURRENT_ROLE()"),
    Template(3, Any, "SET ROLE `{role}`\nSELECT CURRENT_ROLE()"),
    Template(2, Any, "SET ROLE NONE"),
    Template(1, Any, "SET ROLE nonsense"),
    Template(
        1,
        Any,
        "BEGIN\nSET ROLE [`{role}`|NONE]\nSELECT CURRENT_ROLE()\n[COMMIT|ROLLBACK]\nSELECT CURRENT_ROLE()",
    ),
    Template(
        1,
        Any,
        "PREPARE {ps} FROM 'SET ROLE `{role}`'\nEXECUTE {ps}\nDEALLOCATE PREPARE {ps}\nSELECT CURRENT_ROLE()",
    ),
    Template(1, MySql, "SET ROLE [DEFAULT|ALL|ALL EXCEPT `{role}`]"),
    Template(1, MariaDb, "SELECT * FROM information_schema.ENABLED_ROLES"),
    Template(
        1,
        Any,
        "SELECT CURRENT_USER() = SESSION_USER(), USER() LIKE 'mux@%'",
    ),
];

pub const SEVERAL: &[Template] = &[
    Template(3, Any, "SELECT {i}; SELECT {n}"),
    Template(
        3,
        Any,
        "INSERT INTO t~ (a) VALUES ({i}); SELECT LAST_INSERT_ID()",
    ),
    Template(2, Any, "SELECT 1; SELECT nothing; SELECT 2"),
    Template(2, Any, "SET @v0 = {i}; SELECT @v0; SET @v0 = @v0 + 1"),
    Template(
        2,
        Any,
        "UPDATE t~ SET a = 1 WHERE id = {i}; DELETE FROM t~ WHERE id = {i}; SELECT ROW_COUNT()",
    ),
    Template(1, Any, "SELECT 1;"),
    Template(1, Any, "SELECT 1; ; SELECT 2"),
    Template(
        1,
        Any,
        "SET sql_mode = 'ANSI_QUOTES'; SELECT \"a\" FROM t~ LIMIT 1; SET sql_mode = DEFAULT",
    ),
    Template(
        1,
        Any,
        "SET sql_mode = 'NO_BACKSLASH_ESCAPES'; SELECT 'a\\'; SET sql_mode = DEFAULT",
    ),
    Template(1, Any, "SELECT 'a;b'; SELECT 2 /* ; */"),
    Template(
        1,
        Any,
        "CREATE TABLE d{i}~ (id INT); INSERT INTO d{i}~ VALUES (1); DROP TABLE d{i}~",
    ),
    Template(1, Any, "CALL p_many~({i}); SELECT 1"),
    Template(
        1,
        Any,
        "SELECT 1; INSERT INTO t~ (id) VALUES (1); SET @v1 = 'never'",
    ),
    Template(1, Any, "SET time_zone = '+03:00'; SELECT nothing"),
];

pub const OUTSIDE: &[Template] = &[
    Template(4, Any, "!reset"),
    Template(
        2,
        Any,
        "SET @v0 = 5\n!reset\nSELECT @v0, LAST_INSERT_ID(), @@sql_mode",
    ),
    Template(
        1,
        Any,
        "SET NAMES latin1\n!reset\nSELECT @@character_set_client",
    ),
    Template(2, Any, "!kill"),
    Template(1, Any, "SET @v0 = {i}\n!kill\nSELECT @v0"),
    Template(
        1,
        Any,
        "SET time_zone = '+04:00'\nINSERT INTO t~ (a) VALUES (1)\n!kill\nSELECT @@time_zone, LAST_INSERT_ID()",
    ),
    Template(1, Any, "!prep 0 SELECT ? + 1\n!kill\n!exec 0 {i}"),
    Template(2, Any, "!killquery"),
    Template(2, Any, "!ping"),
];
