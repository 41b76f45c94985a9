//! Procedures, functions, triggers and views with side effects: on the session where nothing in the
//! statement's text says so.

use crate::template::{
    Only::{Any, MySql},
    Template,
};

pub const ALL: &[Template] = &[
    Template(3, Any, "CALL p_var~({i})\nSELECT @v0, @v2"),
    Template(
        2,
        Any,
        "CALL p_mode~()\nSELECT a, 1 / 3 FROM t~ ORDER BY id",
    ),
    Template(3, Any, "CALL p_ins~({i})\nSELECT LAST_INSERT_ID()"),
    Template(3, Any, "CALL p_many~({i})"),
    Template(2, Any, "CALL p_fail~({i})\nSELECT @v3\nSHOW WARNINGS"),
    Template(2, Any, "CALL p_signal~({i})\nSHOW WARNINGS"),
    Template(2, Any, "CALL p_handler~()"),
    Template(2, Any, "CALL p_out~({i}, @v0, @v1)\nSELECT @v0, @v1"),
    Template(2, Any, "CALL p_trx~({i})"),
    Template(1, Any, "CALL p_cursor~()\nSELECT @v0"),
    Template(1, Any, "CALL nothing~()"),
    Template(1, Any, "CALL p_var~()"),
    Template(3, Any, "SELECT f_var~({i})\nSELECT @v1"),
    Template(2, Any, "SELECT f_read~()"),
    Template(3, Any, "SELECT f_ins~({i})\nSELECT LAST_INSERT_ID()"),
    Template(2, Any, "SELECT f_set~({i})\nSELECT @@group_concat_max_len"),
    Template(2, Any, "SELECT f_lid~({n})\nSELECT LAST_INSERT_ID()"),
    Template(2, Any, "SELECT f_err~({i})\nSELECT @v3"),
    Template(
        1,
        Any,
        "SELECT id, f_var~(id) FROM t~ ORDER BY id\nSELECT @v1",
    ),
    Template(
        1,
        Any,
        "UPDATE t~ SET a = f_var~({i}) WHERE id = {i}\nSELECT @v1",
    ),
    Template(
        1,
        Any,
        "INSERT INTO t~ (a) VALUES (f_ins~({i}))\nSELECT LAST_INSERT_ID()",
    ),
    Template(1, Any, "DELETE FROM t~ WHERE id = f_var~({i})"),
    Template(1, Any, "SET @v2 = f_var~({i})"),
    Template(1, Any, "DO f_set~({i})"),
    Template(
        3,
        Any,
        "INSERT INTO tr~ (a) VALUES ({i})\nSELECT LAST_INSERT_ID(), @v0",
    ),
    Template(
        2,
        Any,
        "INSERT INTO tr~ (a) VALUES ({i}), ({i})\nSELECT * FROM log~ ORDER BY id",
    ),
    Template(2, Any, "UPDATE tr~ SET a = a + 1\nSELECT @v1"),
    Template(2, Any, "DELETE FROM tr~ WHERE a = {i}\nSELECT @v2, 1 / 7"),
    Template(1, Any, "SELECT * FROM tr~ ORDER BY id"),
    Template(2, Any, "SELECT id, r FROM vw~ ORDER BY id LIMIT 2"),
    Template(2, Any, "SELECT * FROM vs~"),
    Template(2, Any, "SELECT * FROM vt~ ORDER BY id\nSELECT @v1"),
    Template(
        1,
        MySql,
        "SELECT ANY_VALUE(f_read~()) FROM t~ GROUP BY a ORDER BY a",
    ),
];

/// Those that leave behind what only the server holds.
pub const OPEN: &[Template] = &[
    Template(1, Any, "CALL p_prep~({i})"),
    Template(
        2,
        Any,
        "CALL p_open~()\nSELECT COUNT(*) FROM log~\n[COMMIT|ROLLBACK]",
    ),
    Template(2, Any, "CALL p_tmp~()\nSELECT * FROM tmp0~"),
    Template(1, Any, "CALL p_lock~([0|1|2])\nSELECT RELEASE_ALL_LOCKS()"),
    Template(1, Any, "SELECT f_lock~([0|1|2])"),
    Template(
        1,
        Any,
        "SET autocommit = 0\nCALL p_ins~({i})\nROLLBACK\nSET autocommit = 1",
    ),
    Template(1, Any, "BEGIN\nCALL p_trx~({i})\nROLLBACK"),
    Template(
        1,
        Any,
        "BEGIN\nSELECT f_ins~({i})\nINSERT INTO tr~ (a) VALUES ({i})\nROLLBACK\nSELECT @v0, LAST_INSERT_ID()",
    ),
];
