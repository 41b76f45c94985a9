//! User variables, by all ways in which they are set.

use crate::template::{
    Only::{Any, MariaDb},
    Template,
};

pub const ALL: &[Template] = &[
    Template(5, Any, "SET {v} = {n}"),
    Template(3, Any, "SET {v} = '{s}'"),
    Template(
        2,
        Any,
        "SET {v} = [NULL|1.5|1e10|0x4142|TRUE|-{n}|DATE'2024-01-02'|_latin1'x'|_binary'x'|'a' COLLATE utf8mb4_bin]",
    ),
    Template(2, Any, "SET {v} = {i}, {v} = {v} + 1"),
    Template(3, Any, "SET {v} := IFNULL({v}, 0) + 1"),
    Template(3, Any, "SELECT {v} := {n}"),
    Template(2, Any, "SELECT {v} := {v} + 1, {v}"),
    Template(2, Any, "SELECT id, {v} := id FROM t~ ORDER BY id"),
    Template(5, Any, "SELECT @v0, @v1, @v2, @v3"),
    Template(
        2,
        Any,
        "SELECT CHARSET({v}), COLLATION({v}), {v} IS NULL, LENGTH({v})",
    ),
    Template(2, Any, "SELECT a FROM t~ WHERE id = {i} INTO {v}"),
    Template(2, Any, "SELECT a, b INTO {v}, {v} FROM t~ WHERE id = {i}"),
    Template(1, Any, "SELECT a INTO {v} FROM t~"),
    Template(1, Any, "SELECT COUNT(*) INTO {v} FROM t~"),
    Template(2, Any, "SELECT * FROM t~ WHERE id = {v}"),
    Template(1, Any, "INSERT INTO t~ (a, b) VALUES ({v}, {v})"),
    Template(1, Any, "UPDATE t~ SET a = ({v} := a) WHERE id = {i}"),
    Template(1, Any, "UPDATE t~ SET a = {v} WHERE id = {i}"),
    Template(1, Any, "DELETE FROM t~ WHERE id = {v}"),
    Template(1, Any, "SET {v} = (SELECT MAX(id) FROM t~)"),
    Template(1, Any, "SET {v} = (SELECT id FROM t~)"),
    Template(1, Any, "SET @v0 = 1, @v1 = nonsense"),
    Template(
        1,
        Any,
        "SET {v} = @@[sql_mode|time_zone|group_concat_max_len|autocommit]",
    ),
    Template(1, Any, "SET group_concat_max_len = {v}"),
    Template(1, Any, "SET {v} = REPEAT('x', {n})"),
    Template(1, Any, "SET @`v0` = {i}, @'v1' = {i}, @V2 = {i}"),
    Template(1, Any, "DO {v} := {n}"),
    Template(1, Any, "SELECT CONCAT({v}, 'x'), {v} + 1, {v} = '{s}'"),
    Template(1, Any, "SELECT LAST_INSERT_ID(), {v} := LAST_INSERT_ID()"),
    Template(1, Any, "SELECT IF({i} > 4, @v0 := 1, @v1 := 2)"),
    Template(1, Any, "SELECT 1 FROM t~ WHERE (@v3 := id) > 2 ORDER BY id"),
    Template(1, Any, "SELECT JSON_OBJECT('a', {v})"),
    Template(
        1,
        Any,
        "SELECT 'not @v0 := 1', \"nor @v1 := 1\" /* nor @v2 := 1 */",
    ),
    Template(1, MariaDb, "EXECUTE IMMEDIATE 'SELECT ? + 1' USING {v}"),
];
