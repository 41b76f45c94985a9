//! What only the server can hold for a session: temporary tables, locks by name and of tables,
//! handlers.

use crate::template::{
    Only::{Any, MariaDb, MySql},
    Template,
};

pub const TEMPORARY: &[Template] = &[
    Template(
        4,
        Any,
        "CREATE TEMPORARY TABLE {tmp} (id INT AUTO_INCREMENT PRIMARY KEY, x VARCHAR(10))",
    ),
    Template(
        2,
        Any,
        "CREATE TEMPORARY TABLE IF NOT EXISTS {tmp} (id INT, x INT)",
    ),
    Template(3, Any, "INSERT INTO {tmp} (x) VALUES ({i}), ({i})"),
    Template(3, Any, "SELECT * FROM {tmp} ORDER BY 1, 2"),
    Template(2, Any, "DROP TEMPORARY TABLE {tmp}"),
    Template(2, Any, "DROP TABLE IF EXISTS {tmp}"),
    Template(
        2,
        Any,
        "CREATE TEMPORARY TABLE {tmp} AS SELECT id, a FROM t~",
    ),
    Template(1, Any, "CREATE TEMPORARY TABLE {tmp} LIKE t~"),
    Template(
        2,
        Any,
        "CREATE TEMPORARY TABLE p~ (id INT, v INT)\nINSERT INTO p~ VALUES ({n}, 1)\nSELECT * FROM p~ ORDER BY id\nDROP TEMPORARY TABLE p~\nSELECT * FROM p~ ORDER BY id",
    ),
    Template(1, Any, "CREATE TEMPORARY TABLE my~ (id INT)"),
    Template(1, Any, "ALTER TABLE {tmp} ADD COLUMN y INT DEFAULT {i}"),
    Template(1, Any, "ALTER TABLE {tmp} RENAME TO tmp{i}~"),
    Template(1, Any, "TRUNCATE TABLE {tmp}"),
    Template(1, Any, "UPDATE {tmp} SET x = {i}"),
    Template(1, Any, "DELETE FROM {tmp} WHERE id = 1"),
    Template(1, Any, "SHOW COLUMNS FROM {tmp}"),
    Template(1, Any, "SELECT COUNT(*) FROM {tmp}, t~"),
    Template(1, Any, "INSERT INTO t~ (a) SELECT id FROM {tmp}"),
    Template(1, Any, "CALL p_tmp~()\nSELECT * FROM tmp0~"),
    Template(
        1,
        Any,
        "BEGIN\nCREATE TEMPORARY TABLE {tmp} (id INT)\nINSERT INTO {tmp} VALUES (1)\nROLLBACK\nSELECT * FROM {tmp}",
    ),
    Template(1, Any, "CREATE TEMPORARY TABLE {db2}.{tmp} (id INT)"),
    Template(
        1,
        MariaDb,
        "CREATE TEMPORARY TABLE {tmp} (id INT) ENGINE=[MEMORY|InnoDB]",
    ),
    Template(
        1,
        MySql,
        "CREATE TEMPORARY TABLE {tmp} (id INT) ENGINE=InnoDB",
    ),
    Template(
        1,
        MariaDb,
        "CREATE OR REPLACE TEMPORARY TABLE {tmp} (id INT, x INT)",
    ),
    Template(1, MariaDb, "CREATE TEMPORARY SEQUENCE {tmp}"),
];

pub const LOCKS: &[Template] = &[
    Template(6, Any, "SELECT GET_LOCK({lock}, 0)"),
    Template(3, Any, "SELECT RELEASE_LOCK({lock})"),
    Template(2, Any, "DO RELEASE_LOCK({lock})"),
    Template(1, Any, "DO GET_LOCK({lock}, 0)"),
    Template(2, Any, "SELECT RELEASE_ALL_LOCKS()"),
    Template(
        2,
        Any,
        "SELECT IS_FREE_LOCK({lock}), IS_USED_LOCK({lock}) = CONNECTION_ID()",
    ),
    Template(1, Any, "SELECT GET_LOCK({lock}, 0), GET_LOCK({lock}, 0)"),
    Template(1, Any, "SET @v0 = GET_LOCK({lock}, 0)"),
    Template(
        1,
        Any,
        "SELECT id FROM t~ WHERE GET_LOCK({lock}, 0) = 1 ORDER BY id",
    ),
    Template(1, Any, "SELECT GET_LOCK(NULL, 0), GET_LOCK('', 0)"),
    Template(1, Any, "SELECT f_lock~([0|1|2])"),
    Template(1, Any, "CALL p_lock~([0|1|2])"),
    Template(
        1,
        Any,
        "SELECT GET_LOCK({lock}, 0)\nSELECT 1\nSELECT RELEASE_LOCK({lock})",
    ),
    // Of tables. Who waits for them has an error after a second, so they are not held for long.
    Template(
        2,
        Any,
        "LOCK TABLES t~ WRITE\nINSERT INTO t~ (a) VALUES ({i})\nSELECT COUNT(*) FROM p~\nUNLOCK TABLES",
    ),
    Template(
        2,
        Any,
        "LOCK TABLES t~ READ, p~ READ\nSELECT COUNT(*) FROM t~\nINSERT INTO t~ (a) VALUES (1)\nUNLOCK TABLES",
    ),
    Template(
        1,
        Any,
        "LOCK TABLES my~ WRITE\nINSERT INTO my~ (a) VALUES ({i})\nBEGIN\nSELECT 1\nCOMMIT\nUNLOCK TABLES",
    ),
    Template(1, Any, "LOCK TABLES nothing~ READ"),
    Template(1, Any, "UNLOCK TABLES"),
    Template(
        1,
        Any,
        "FLUSH TABLES my~ WITH READ LOCK\nSELECT COUNT(*) FROM my~\nUNLOCK TABLES",
    ),
];

pub const HANDLER: &[Template] = &[
    Template(
        4,
        Any,
        "HANDLER t~ OPEN\nHANDLER t~ READ FIRST\nHANDLER t~ READ NEXT LIMIT 2\nHANDLER t~ CLOSE",
    ),
    Template(
        3,
        Any,
        "HANDLER t~ OPEN AS h\nHANDLER h READ `PRIMARY` = ({i})\nHANDLER h READ `PRIMARY` NEXT\nSELECT 1\nHANDLER h CLOSE",
    ),
    Template(1, Any, "HANDLER t~ READ FIRST"),
    Template(1, Any, "HANDLER t~ OPEN"),
    Template(1, Any, "HANDLER t~ READ NEXT"),
    Template(1, Any, "HANDLER t~ CLOSE"),
    Template(1, Any, "HANDLER nothing~ OPEN"),
];
