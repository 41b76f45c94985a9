//! What each set of tables has: made on both sides before a program begins.

use crate::template::Only::{self, Any, MariaDb, MySql};

/// One statement each; `~` is the set's suffix. What the optimizer knows of a table does not follow its
/// rows, lest plans depend on when the server counts them. Functions are declared deterministic because a
/// server that writes a binary log may refuse others.
pub const SETUP: &[(Only, &str)] = &[
    (
        Any,
        "CREATE TABLE t~ (id INT AUTO_INCREMENT PRIMARY KEY, a INT, b VARCHAR(20), c DECIMAL(10,2), u INT, UNIQUE KEY uk (u)) ENGINE=InnoDB STATS_PERSISTENT=1 STATS_AUTO_RECALC=0",
    ),
    (
        Any,
        "INSERT INTO t~ (a, b, c, u) VALUES (1, 'one', 1.5, 1), (2, 'two', 2.5, 2), (3, 'three', NULL, 3), (4, NULL, 4.5, NULL), (5, 'fünf', 5, 5)",
    ),
    (
        Any,
        "CREATE TABLE p~ (id INT PRIMARY KEY, v VARCHAR(10)) ENGINE=InnoDB STATS_PERSISTENT=1 STATS_AUTO_RECALC=0",
    ),
    (Any, "INSERT INTO p~ VALUES (1, 'a'), (2, 'b'), (3, 'c')"),
    (
        MariaDb,
        "CREATE TABLE ch~ (id INT AUTO_INCREMENT PRIMARY KEY, pid INT, CONSTRAINT fk~ FOREIGN KEY (pid) REFERENCES p~ (id)) ENGINE=InnoDB STATS_PERSISTENT=1 STATS_AUTO_RECALC=0",
    ),
    // On MySQL 9.7 a connection that was ever reset spends an id on a row that has no parent, others don't.
    (
        MySql,
        "CREATE TABLE ch~ (pid INT, CONSTRAINT fk~ FOREIGN KEY (pid) REFERENCES p~ (id)) ENGINE=InnoDB STATS_PERSISTENT=1 STATS_AUTO_RECALC=0",
    ),
    (
        MariaDb,
        "CREATE TABLE my~ (id INT AUTO_INCREMENT PRIMARY KEY, a INT) ENGINE=MyISAM",
    ),
    // With another engine behind it MySQL warns of what its connection ran before, whosever that was.
    (
        MySql,
        "CREATE TABLE my~ (id INT AUTO_INCREMENT PRIMARY KEY, a INT) ENGINE=InnoDB STATS_PERSISTENT=1 STATS_AUTO_RECALC=0",
    ),
    (Any, "INSERT INTO my~ (a) VALUES (1), (2)"),
    (
        Any,
        "CREATE TABLE log~ (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(100)) ENGINE=InnoDB STATS_PERSISTENT=1 STATS_AUTO_RECALC=0",
    ),
    (
        Any,
        "CREATE TABLE tr~ (id INT AUTO_INCREMENT PRIMARY KEY, a INT, b VARCHAR(20)) ENGINE=InnoDB STATS_PERSISTENT=1 STATS_AUTO_RECALC=0",
    ),
    (
        Any,
        "CREATE TRIGGER bi~ BEFORE INSERT ON tr~ FOR EACH ROW BEGIN SET @v0 = NEW.a; INSERT INTO log~ (what) VALUES (CONCAT('insert ', NEW.a)); END",
    ),
    (
        Any,
        "CREATE TRIGGER bu~ BEFORE UPDATE ON tr~ FOR EACH ROW SET @v1 = CONCAT(IFNULL(@v1, ''), 'u'), NEW.b = LAST_INSERT_ID()",
    ),
    (
        Any,
        "CREATE TRIGGER bd~ AFTER DELETE ON tr~ FOR EACH ROW BEGIN SET SESSION div_precision_increment = 7; SET @v2 = OLD.id; END",
    ),
    (
        Any,
        "CREATE FUNCTION f_var~(x INT) RETURNS INT DETERMINISTIC BEGIN SET @v1 = x; RETURN x + 1; END",
    ),
    (
        Any,
        "CREATE FUNCTION f_read~() RETURNS VARCHAR(100) DETERMINISTIC RETURN CONCAT(IFNULL(@v0, 'none'), '/', @@sql_mode LIKE '%ANSI%', '/', @@div_precision_increment)",
    ),
    (
        Any,
        "CREATE FUNCTION f_ins~(x INT) RETURNS INT DETERMINISTIC MODIFIES SQL DATA BEGIN INSERT INTO log~ (what) VALUES (x); RETURN LAST_INSERT_ID(); END",
    ),
    (
        Any,
        "CREATE FUNCTION f_set~(x INT) RETURNS INT DETERMINISTIC BEGIN SET SESSION group_concat_max_len = 1000 + x; RETURN @@group_concat_max_len; END",
    ),
    (
        Any,
        "CREATE FUNCTION f_lock~(x INT) RETURNS INT DETERMINISTIC RETURN GET_LOCK(CONCAT('{db}_l', x, '~'), 0)",
    ),
    (
        Any,
        "CREATE FUNCTION f_lid~(x INT) RETURNS INT DETERMINISTIC RETURN LAST_INSERT_ID(x)",
    ),
    (
        Any,
        "CREATE FUNCTION f_err~(x INT) RETURNS INT DETERMINISTIC BEGIN SET @v3 = x; IF x > 4 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'too much'; END IF; RETURN x; END",
    ),
    (
        Any,
        "CREATE PROCEDURE p_var~(x INT) BEGIN SET @v0 = x, @v2 = CONCAT('p', x); END",
    ),
    (
        Any,
        "CREATE PROCEDURE p_mode~() BEGIN SET SESSION div_precision_increment = 6; SET NAMES latin1; SET SESSION sql_select_limit = 3; END",
    ),
    (
        Any,
        "CREATE PROCEDURE p_ins~(x INT) BEGIN INSERT INTO t~ (a, b) VALUES (x, 'proc'); INSERT INTO log~ (what) VALUES ('p_ins'); END",
    ),
    (
        Any,
        "CREATE PROCEDURE p_tmp~() BEGIN CREATE TEMPORARY TABLE IF NOT EXISTS tmp0~ (id INT, x VARCHAR(10)); INSERT INTO tmp0~ VALUES (1, 'p'); END",
    ),
    (
        Any,
        "CREATE PROCEDURE p_lock~(x INT) BEGIN SELECT GET_LOCK(CONCAT('{db}_l', x, '~'), 0) AS got; END",
    ),
    (
        Any,
        "CREATE PROCEDURE p_many~(x INT) BEGIN SELECT x AS one; SELECT a, b FROM t~ ORDER BY id LIMIT 2; UPDATE t~ SET a = a + 1 WHERE id = x; SELECT ROW_COUNT() AS rc; END",
    ),
    (
        Any,
        "CREATE PROCEDURE p_fail~(x INT) BEGIN SELECT 'before' AS s; SET @v3 = 'failing'; INSERT INTO t~ (id, a) VALUES (1, x); SELECT 'never' AS s; END",
    ),
    (
        Any,
        "CREATE PROCEDURE p_half~(x INT) BEGIN INSERT INTO log~ (what) VALUES ('half'); IF x > 2 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the other half'; END IF; END",
    ),
    (
        Any,
        "CREATE PROCEDURE p_signal~(x INT) BEGIN IF x > 5 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'signalled', MYSQL_ERRNO = 5001; ELSE SIGNAL SQLSTATE '01000' SET MESSAGE_TEXT = 'a warning', MYSQL_ERRNO = 1642; END IF; END",
    ),
    (
        Any,
        "CREATE PROCEDURE p_handler~() BEGIN DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN GET DIAGNOSTICS CONDITION 1 @v0 = RETURNED_SQLSTATE, @v1 = MESSAGE_TEXT; END; INSERT INTO t~ (id) VALUES (1); SELECT @v0, @v1; END",
    ),
    (
        Any,
        "CREATE PROCEDURE p_out~(IN x INT, OUT y INT, INOUT z INT) BEGIN DO 0; SET y = x * 2, z = IFNULL(z, 0) + x; END",
    ),
    (
        Any,
        "CREATE PROCEDURE p_trx~(x INT) BEGIN START TRANSACTION; UPDATE t~ SET a = a + x WHERE id = 1; IF x > 4 THEN ROLLBACK; ELSE COMMIT; END IF; END",
    ),
    (
        Any,
        "CREATE PROCEDURE p_open~() BEGIN START TRANSACTION; INSERT INTO log~ (what) VALUES ('open'); END",
    ),
    (
        Any,
        "CREATE PROCEDURE p_prep~(x INT) BEGIN SET @v3 = x; PREPARE ps0 FROM 'SELECT a + ? AS s FROM t~ ORDER BY id LIMIT 1'; EXECUTE ps0 USING @v3; END",
    ),
    (
        Any,
        "CREATE PROCEDURE p_cursor~() BEGIN DECLARE done INT DEFAULT 0; DECLARE i INT; DECLARE c CURSOR FOR SELECT id FROM t~ ORDER BY id LIMIT 3; DECLARE CONTINUE HANDLER FOR NOT FOUND SET done = 1; SET @v0 = 0; OPEN c; l: LOOP FETCH c INTO i; IF done THEN LEAVE l; END IF; SET @v0 = @v0 + i; END LOOP; CLOSE c; END",
    ),
    (
        Any,
        "CREATE VIEW vw~ AS SELECT id, a, f_read~() AS r FROM t~",
    ),
    (
        Any,
        // Not FOUND_ROWS(): it is an honest error where another handle's statement was in between.
        "CREATE VIEW vs~ AS SELECT DATABASE() AS d, f_read~() AS r, 1 / 3 AS q, LAST_INSERT_ID() AS l",
    ),
    (
        Any,
        "CREATE VIEW vt~ AS SELECT id, f_var~(id) AS f FROM t~ WHERE id < 3",
    ),
    (
        MariaDb,
        "CREATE SEQUENCE sq~ START WITH 10 INCREMENT BY 3 CACHE 5",
    ),
    (
        Any,
        "CREATE TABLE IF NOT EXISTS {db2}.t~ (id INT AUTO_INCREMENT PRIMARY KEY, a INT, b VARCHAR(20), other INT DEFAULT 2)",
    ),
    (Any, "INSERT INTO {db2}.t~ (a, b) VALUES (101, 'other')"),
];
