use proptest::prelude::*;

use super::{
    Effect::{self, *},
    read, read_as,
};

fn effect(sql: &str) -> Effect {
    read_as(sql.as_bytes(), false).effect
}

fn all(expected: Effect, statements: &[&str]) {
    for sql in statements {
        assert_eq!(effect(sql), expected, "{sql}");
    }
}

fn bytes(expected: Effect, statements: &[&[u8]]) {
    for sql in statements {
        let text = String::from_utf8_lossy(sql);
        assert_eq!(read_as(sql, false).effect, expected, "{text}");
    }
}

#[test]
fn plain_selects_read() {
    all(
        Read,
        &[
            "SELECT 1",
            "select 1",
            "SELECT a, b FROM t",
            "SELECT t.a, `t`.`b` FROM db.t AS t",
            "SELECT * FROM t WHERE a = ? AND b IN (?, ?, ?)",
            "SELECT * FROM t WHERE (a = 1 OR b = 2) AND NOT (c BETWEEN 1 AND (2))",
            "SELECT DISTINCT(a) FROM t ORDER BY (b) DESC LIMIT 10 OFFSET 5",
            "SELECT HIGH_PRIORITY SQL_NO_CACHE SQL_BUFFER_RESULT a FROM t",
            "SELECT a FROM t GROUP BY a WITH ROLLUP HAVING (a > 1)",
            "SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.id = t.id)",
            "SELECT a FROM t WHERE a = ANY (SELECT b FROM u) OR a > SOME (SELECT 1)",
            "SELECT a FROM t WHERE a >= ALL (SELECT b FROM u)",
            "SELECT CASE WHEN (a) THEN (b) ELSE (c) END FROM t",
            "SELECT a FROM t JOIN (u) USING (id) LEFT JOIN v ON (v.id = t.id)",
            "SELECT a FROM t USE INDEX (i) WHERE a LIKE ('x')",
            "SELECT a FROM t FORCE INDEX FOR JOIN (i) IGNORE KEY (k)",
            "SELECT a FROM t PARTITION (p0, p1)",
            "SELECT a -> '$.x', b ->> '$.y' FROM t",
            "SELECT a FROM t WHERE d > NOW() - INTERVAL 1 DAY",
            "SELECT d + INTERVAL (1 + 1) DAY FROM t",
            "SELECT 1 FROM t, LATERAL (SELECT t.a) AS x",
            "SELECT -1, +2, ~3, !4, 5 % 2, 6 ^ 1, 7 | 8, 9 & 1, 1 << 2, 1 <=> 2, a || b",
            "SELECT NULL, TRUE, false FROM DUAL",
            "SELECT a FROM t FOR SYSTEM_TIME AS OF NOW()",
            "SELECT a AS into_b, update_at, share FROM t",
            "SELECT sys FROM t",
        ],
    );
}

#[test]
fn parentheses_and_unions_read() {
    all(
        Read,
        &[
            "(SELECT 1)",
            "((SELECT 1))",
            "( SELECT 1 ) UNION ALL (SELECT 2)",
            "SELECT 1 UNION (SELECT 2)",
            "SELECT 1 UNION DISTINCT SELECT 2 ORDER BY 1",
            "SELECT 1 EXCEPT (SELECT 2)",
            "SELECT 1 INTERSECT (SELECT 2)",
        ],
    );
}

#[test]
fn with_is_what_its_verb_is() {
    all(
        Read,
        &[
            "WITH x AS (SELECT 1) SELECT * FROM x",
            "WITH x (a, b) AS (SELECT 1, 2), y(c) AS (SELECT 3) SELECT * FROM x, y",
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT * FROM n",
            "WITH RECURSIVE `n` (i) AS (SELECT 1) SELECT i FROM n",
            "(WITH x AS (SELECT 1) SELECT * FROM x)",
        ],
    );
    all(
        Write,
        &[
            "WITH x AS (SELECT 1) UPDATE t SET a = (SELECT * FROM x)",
            "WITH x AS (SELECT 1) DELETE FROM t WHERE a IN (SELECT * FROM x)",
            "WITH x AS (SELECT 1 FROM t FOR UPDATE) SELECT * FROM x",
        ],
    );
    all(
        Other,
        &[
            "WITH",
            "WITH x AS (SELECT 1)",
            "WITH x AS (SELECT f(1)) SELECT * FROM x",
            "WITH x AS (SELECT LAST_INSERT_ID()) SELECT * FROM x",
            "WITH x AS (SELECT 1), y AS (SELECT f (1)) SELECT * FROM x",
            "WITH x AS (SELECT 1) SELECT f(1)",
            "WITH x AS (SELECT 1) SHOW TABLES",
            "WITH x AS (SELECT 1 INTO OUTFILE 'x') SELECT * FROM x",
            "SELECT 1, f(x) AS (1)",
        ],
    );
}

#[test]
fn built_in_functions_read() {
    all(
        Read,
        &[
            "SELECT COUNT(*), SUM(a), MIN(b), MAX(c), AVG(d) FROM t",
            "SELECT COALESCE(a, b), IFNULL (a, 0), IF(a, 1, 2), NULLIF(a, '')",
            "SELECT CONCAT('a', \"b\"), SUBSTRING(a FROM 1 FOR 2), TRIM(BOTH ' ' FROM a)",
            "SELECT CAST(a AS CHAR(10)), CAST(a AS DECIMAL(10,2)), CONVERT(a, DECIMAL (10,2))",
            "SELECT CAST(a AS DATETIME(6)), CAST(a AS BINARY(16)), CONVERT(a USING utf8mb4)",
            "SELECT CAST(a AS NCHAR(3)), CAST(b AS SIGNED), CAST(c AS UNSIGNED INTEGER)",
            "SELECT NOW(6), CURRENT_TIMESTAMP, CURRENT_TIMESTAMP(3), UTC_DATE, LOCALTIME",
            "SELECT DATE_ADD(d, INTERVAL 1 DAY), TIMESTAMPDIFF(SECOND, a, b), EXTRACT(YEAR FROM d)",
            "SELECT LEFT(a, 1), RIGHT(a, 1), REPLACE(a, 'x', 'y'), INSERT(a, 1, 2, 'z'), MOD(5, 2)",
            "SELECT JSON_EXTRACT(a, '$.b'), JSON_OBJECT('a', 1), JSON_ARRAYAGG(c) FROM t",
            "SELECT ST_AsText(g), ST_Distance(g, h), MBRContains(g, h) FROM t",
            "SELECT GROUP_CONCAT(DISTINCT a ORDER BY b SEPARATOR ',') FROM t",
            "SELECT MATCH (a, b) AGAINST ('x' IN BOOLEAN MODE) FROM t",
            "SELECT SLEEP(1), BENCHMARK(10, SHA2('a', 256)), UUID(), UUID_SHORT(), RAND(), RAND(3)",
            "SELECT USER(), CURRENT_USER, CURRENT_USER(), DATABASE(), SCHEMA(), VERSION()",
            "SELECT DEFAULT(a), CHAR(65 USING utf8mb4), INTERVAL(1, 2, 3), CURRENT_ROLE",
            "SELECT a FROM t ORDER BY FIELD(a, 3, 1, 2), RAND()",
        ],
    );
}

#[test]
fn window_functions_read_behind_their_over() {
    all(
        Read,
        &[
            "SELECT ROW_NUMBER() OVER (PARTITION BY a ORDER BY b) FROM t",
            "SELECT RANK() OVER w, SUM(a) OVER(ORDER BY b) FROM t WINDOW w AS (ORDER BY a)",
            "SELECT LAG(a, 1, (0)) OVER (ORDER BY b), NTILE(4) OVER w FROM t WINDOW w AS ()",
        ],
    );
    all(
        Other,
        &[
            "SELECT ROW_NUMBER()",
            "SELECT ROW_NUMBER(), 1",
            "SELECT ROW_NUMBER () OVER ()",
            "SELECT RANK(LAG(a) OVER ()) OVER ()",
            "SELECT OVER(1)",
            "SELECT a OVER (1)",
            "SELECT AGAINST('x')",
            "SELECT 1, VALUE(a)",
        ],
    );
}

#[test]
fn functions_of_the_session_are_anything() {
    all(
        Other,
        &[
            "SELECT LAST_INSERT_ID()",
            "SELECT LAST_INSERT_ID(5)",
            "SELECT LAST_INSERT_ID ()",
            "SELECT LAST_INSERT_ID\t\n()",
            "SELECT/**/LAST_INSERT_ID()",
            "SELECT LAST_INSERT_ID/**/()",
            "SELECT last_insert_id -- x\n()",
            "SELECT last_insert_id # x\n()",
            "SELECT lAsT_iNsErT_iD()",
            "SELECT 1 + LAST_INSERT_ID()",
            "SELECT CONCAT(LAST_INSERT_ID())",
            "SELECT ROW_COUNT()",
            "SELECT FOUND_ROWS()",
            "SELECT SQL_CALC_FOUND_ROWS * FROM t",
            "SELECT SQL_NO_CACHE sql_calc_found_rows * FROM t",
            "SELECT CONNECTION_ID()",
            "SELECT GET_LOCK('a', 1)",
            "SELECT RELEASE_LOCK('a')",
            "SELECT RELEASE_ALL_LOCKS()",
            "SELECT IS_USED_LOCK('a')",
            "SELECT IS_FREE_LOCK('a')",
            "SELECT PS_CURRENT_THREAD_ID()",
            "SELECT PS_THREAD_ID(1)",
            "SELECT NAME_CONST('a', 1)",
            "SELECT LOAD_FILE('x')",
            "SELECT MASTER_POS_WAIT('x', 1)",
            "SELECT EXTRACTVALUE('<a/>', '$@x')",
            "SELECT UPDATEXML('<a/>', '$@x', '')",
            "SELECT SQL%ROWCOUNT",
        ],
    );
}

#[test]
fn stored_functions_are_anything() {
    all(
        Other,
        &[
            "SELECT f()",
            "SELECT f (1)",
            "SELECT `f`(1)",
            "SELECT `count`(1)",
            "SELECT db.f(1)",
            "SELECT a.b(1)",
            "SELECT a . b (1)",
            "SELECT db.count(1)",
            "SELECT db.`max`(1)",
            "SELECT `db`.f(1)",
            "SELECT .abs(1)",
            "SELECT \"f\"(1)",
            "SELECT \"f\" (1)",
            "SELECT \"db\".f(1)",
            "SELECT db.\"f\"(1)",
            "SELECT 1 FROM t WHERE f(a)",
            "SELECT 1 FROM t ORDER BY f(a)",
            "SELECT 1 FROM t GROUP BY a HAVING f(a)",
            "SELECT 1 FROM t JOIN u ON f(a) = 1",
            "SELECT 1 FROM t LIMIT 1 UNION SELECT f(1)",
            "SELECT CAST(f(1) AS CHAR)",
            "SELECT 1f(2)",
            "SELECT 1.5f(2)",
            "SELECT 1e5f(2)",
            "SELECT 0xg(2)",
            "SELECT ANY(1)",
            "SELECT EXCEPT(1)",
            "SELECT LATERAL(1)",
            "SELECT DATETIME(6)",
            "SELECT in_(1)",
            "SELECT select_(1)",
            "SELECT caf\u{e9}(1)",
            "SELECT \u{4e2d}\u{6587} (1)",
            "SELECT ANY_VALUE(a), UUID_TO_BIN(b), REGEXP_REPLACE(a, b, c)",
            "SELECT $f(1)",
            "SELECT MD5('a'), SHA1('a')",
            "SELECT POINT(1)",
            "SELECT a$b(1)",
            "SELECT ?(1)",
            "SELECT 'f'(1)",
            "SELECT 1 FROM t AS x(a)",
        ],
    );
}

#[test]
fn a_blank_before_the_parenthesis_makes_some_functions_stored_ones() {
    all(
        Other,
        &[
            "SELECT COUNT (*)",
            "SELECT MAX/**/(a)",
            "SELECT NOW ()",
            "SELECT SUBSTR\n(a, 1)",
            "SELECT DATE_FORMAT (d, '%Y')",
        ],
    );
    all(Read, &["SELECT COALESCE (a)", "SELECT LEFT /* x */ (a, 1)"]);
}

#[test]
fn variables_are_anything() {
    all(
        Other,
        &[
            "SELECT @a",
            "sElEcT @a",
            "SELECT@a",
            "SELECT @@autocommit",
            "SELECT @@session.sql_mode",
            "SELECT @a := 1",
            "SELECT @`a`",
            "SELECT @'a'",
            "SELECT @\"a\"",
            "SELECT a FROM t WHERE b = @c",
            "SELECT (@rownum := @rownum + 1) FROM t",
            "SELECT ':=' := 1",
            "INSERT INTO t VALUES (@a)",
            "UPDATE t SET a = (@b := 1)",
            "DELETE FROM t WHERE a = @b",
            "SELECT 1 INTO @a",
            "SELECT '\\'' , @a '",
            "SELECT '\\\\', @a, '\\\\'",
            "SELECT 'a''', @a, ''''",
            "SELECT ''''@a''''",
            "SELECT \"a\\\"@b\"",
            "SELECT \"a\\\\\\\"\", @b, \"\"",
            "SELECT ` `, @a, ` `",
            "SELECT `\\`, @a, `\\`",
            "SELECT 'a' -- '\n, @a",
            "SELECT /* ' */ @a /* ' */",
            "SELECT '/*' @a '*/'",
            "SELECT 1 --@a",
            "SELECT 1 --x\n, @a",
            "SELECT a@b",
            "SELECT 1e@a",
        ],
    );
}

#[test]
fn an_at_sign_in_quotes_and_comments_is_nothing() {
    all(
        Read,
        &[
            "SELECT '@a'",
            "SELECT 'it''s @a'",
            "SELECT 'it\\'s @a'",
            "SELECT '\\\\', '@a'",
            "SELECT \"@a\"",
            "SELECT \"x\"\"@a\"",
            "SELECT \"\\n@a\"",
            "SELECT \"\\\\\", 1",
            "SELECT `@a`",
            "SELECT `a``@b`",
            "SELECT ` `",
            "SELECT 1 -- @a",
            "SELECT 1 --\t@a",
            "SELECT 1 # @a",
            "SELECT /* @a */ 1",
            "SELECT 'a' '@b' 'c'",
            "SELECT '\u{e9}@'",
        ],
    );
}

#[test]
fn what_backslashes_may_or_may_not_escape_is_neutral_only_if_it_is_either_way() {
    assert_eq!(
        read(
            br"SELECT 'a
'"
        )
        .effect,
        Read
    );
    assert_eq!(read(br"SELECT 'a\n'").effect, Read);
    assert_eq!(read(br"SELECT 'a\', f(1) -- '").effect, Other);
    assert_eq!(read(br"SELECT 'a\', @a -- '").effect, Other);
    assert_eq!(read(br"SELECT 'a\'").effect, Other);
}

#[test]
fn without_backslash_escapes_a_backslash_is_a_character() {
    let effect = |sql: &str| read_as(sql.as_bytes(), true).effect;
    assert_eq!(effect(r"SELECT 'a\'"), Read);
    assert_eq!(effect(r"SELECT 'a\', @a, '\'"), Other);
    assert_eq!(effect(r"SELECT 'a\', LAST_INSERT_ID(), '\'"), Other);
    assert_eq!(effect(r"SELECT 'a\'@b'"), Other);
    assert_eq!(effect(r#"SELECT "a\", "@b""#), Read);
    assert_eq!(effect(r#"SELECT "a\"@b""#), Other);
}

#[test]
fn comments_are_blanks() {
    all(
        Read,
        &[
            "/* a */ SELECT 1",
            "-- a\nSELECT 1",
            "--\nSELECT 1",
            "--\u{1}x\nSELECT 1",
            "# a\nSELECT 1",
            "#\n#\n\tSELECT 1",
            "SELECT/**/1/**/FROM/**/t",
            "SELECT 1 /* ; */",
            "SELECT 1 -- ; SET x = 1",
            "SELECT 1 --",
            "SELECT 1 #",
            "SELECT /* /* */ 1",
            "SELECT /***/ 1",
            "SELECT /* ' */ 1",
            "SELECT /* ` \" */ 1",
            "SELECT 5--1",
            "SELECT 5 --1",
            "SELECT 6/2*3",
            "SELECT t.*/* x */FROM t",
            "SELECT count(*)/* x */",
        ],
    );
}

#[test]
fn what_a_comment_may_hide_is_anything() {
    all(
        Other,
        &[
            "SELECT /*! @a */ 1",
            "SELECT /*!50000 1 */",
            "/*! SELECT 1 */",
            "/*!50000 SET x = 1 */ SELECT 1",
            "SELECT /*M! 1 */",
            "SELECT /*M!100100 1 */ 1",
            "SELECT 1 /*!*/",
            "SELECT /* /* */ */ 1 @a",
            "SELECT 1 /*",
            "SELECT 1 /*/",
            "SELECT 1 /* *",
            "SELECT 1 -- \n INTO @a",
            "SELECT 1 -- \n INTO OUTFILE 'x'",
            "SELECT 1 # \n , f(1)",
            "SELECT 1 -- \u{0} , @a",
            "SELECT /* \u{0} */ 1",
            "SELECT 1 --\u{a0}",
            "SELECT 1 */",
            "SELECT 1 */ @a",
        ],
    );
}

#[test]
fn hints_that_set_something_are_anything() {
    all(
        Read,
        &[
            "SELECT /*+ MAX_EXECUTION_TIME(1000) */ 1",
            "SELECT /*+ NO_INDEX_MERGE(t i) */ a FROM t",
            "SELECT /*+ */ 1",
        ],
    );
    all(
        Other,
        &[
            "SELECT /*+ SET_VAR(sort_buffer_size = 16M) */ 1",
            "SELECT /*+ set_var(a=1) */ 1",
            "SELECT /*+ MAX_EXECUTION_TIME(1) Set_Var (a=1) */ 1",
            "INSERT /*+ SET_VAR(foreign_key_checks=OFF) */ INTO t VALUES (1)",
            "SELECT /*+ RESOURCE_GROUP(g) */ 1",
            "SELECT /*+ X(`*/ ` ) */ @a, `",
            "SELECT /*+ INDEX(`t`) */ 1",
            "SELECT /*+ X",
        ],
    );
}

#[test]
fn one_statement_only() {
    all(
        Read,
        &[
            "SELECT 1;",
            "SELECT 1 ; ",
            "SELECT 1;-- x",
            "SELECT 1; /* x */ # y",
            "SELECT ';'",
            "SELECT `;` FROM t",
        ],
    );
    all(
        Other,
        &[
            "SELECT 1;SET @a=1",
            "SELECT 1;SELECT 1",
            "SELECT 1; SELECT 2;",
            "SELECT 1;;",
            ";SELECT 1",
            ";",
            "SELECT 1;1",
            "SELECT (1;)",
            "SELECT 1;/*!1*/",
        ],
    );
}

#[test]
fn locking_reads_write() {
    all(
        Write,
        &[
            "SELECT 1 FROM t FOR UPDATE",
            "SELECT 1 FROM t for  update SKIP LOCKED",
            "SELECT 1 FROM t FOR/**/UPDATE",
            "SELECT 1 FROM t FOR SHARE",
            "SELECT 1 FROM t LOCK IN SHARE MODE",
            "(SELECT 1 FROM t FOR UPDATE) UNION SELECT 2",
            "SELECT 1 FROM t WHERE a IN (SELECT 1 FROM u FOR UPDATE)",
            "SELECT 1 FROM t FOR UPDATE;",
        ],
    );
    all(Read, &["SELECT wait FROM nowait"]);
    all(
        Other,
        &[
            "SELECT 1 FROM t FOR/**/UPDATE NOWAIT",
            "SELECT 1 FROM t FOR SHARE NOWAIT",
            "SELECT 1 FROM t LOCK IN SHARE MODE WAIT 3",
        ],
    );
}

#[test]
fn into_is_for_inserts_only() {
    all(
        Other,
        &[
            "SELECT 1 INTO OUTFILE 'x'",
            "SELECT a INTO DUMPFILE 'x' FROM t",
            "SELECT a INTO b FROM t",
            "SELECT a FROM t into\noutfile 'x'",
            "(SELECT 1) INTO @a",
            "INSERT INTO t SELECT 1 INTO OUTFILE 'x'",
            "UPDATE INTO t SET a = 1",
            "SELECT t.into FROM t",
            "SELECT a FROM t PROCEDURE ANALYSE()",
            "SELECT a FROM t PROCEDURE ANALYSE",
        ],
    );
}

#[test]
fn inserts_write() {
    all(
        Write,
        &[
            "INSERT INTO t VALUES (1, 'a')",
            "INSERT INTO t (a, b) VALUES (?, ?), (?, ?)",
            "INSERT INTO t(a) VALUE (1)",
            "INSERT t(a) VALUES (1)",
            "INSERT t VALUES (1)",
            "INSERT INTO `t` (a) VALUES (1)",
            "INSERT INTO db.t (a) VALUES (1)",
            "INSERT INTO `db` . `t`(a) VALUES (1)",
            "INSERT INTO t () VALUES ()",
            "INSERT IGNORE INTO t SET a = 1, b = NOW()",
            "INSERT LOW_PRIORITY IGNORE t (a) VALUES (1)",
            "INSERT HIGH_PRIORITY INTO t (a) VALUES (1)",
            "INSERT INTO t PARTITION (p0) (a) VALUES (1)",
            "INSERT INTO t (a) SELECT b FROM u WHERE c > 1",
            "INSERT INTO t (SELECT 1)",
            "INSERT INTO t (a) (SELECT 1)",
            "INSERT INTO t (a) WITH x AS (SELECT 1) SELECT * FROM x",
            "INSERT INTO t (a) VALUES (1) ON DUPLICATE KEY UPDATE a = VALUES(a), b = b + 1",
            "INSERT INTO t (a) VALUES (1) AS new ON DUPLICATE KEY UPDATE a = new.a",
            "INSERT INTO t (a) VALUES (1) RETURNING id",
            "REPLACE INTO t (a) VALUES (1)",
            "REPLACE t SET a = REPLACE(b, 'x', 'y')",
            "INSERT INTO count (a) VALUES (1)",
            "INSERT INTO t VALUES (_utf8mb4'a', N'b', x'0f', 0x0f, b'01', 0b01, 1.5e3, -.5)",
        ],
    );
    all(
        Other,
        &[
            "INSERT DELAYED INTO t VALUES (1)",
            "REPLACE DELAYED INTO t VALUES (1)",
            "INSERT INTO t VALUES (f(1))",
            "INSERT INTO t (a) SELECT f(x) FROM u",
            "INSERT INTO t SELECT f (x)",
            "INSERT INTO t SET a = f(1)",
            "INSERT INTO t VALUES (LAST_INSERT_ID())",
            "INSERT INTO t(a) VALUES (1) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id)",
            "INSERT INTO t (a) VALUES (1) RETURNING f(id)",
            "INSERT INTO t (a) VALUES (1); SELECT LAST_INSERT_ID()",
            "INSERT INTO \"t\" (a) VALUES (1)",
            "INSERT INTO t (a) VALUES (NEXT VALUE FOR s)",
            "INSERT INTO t x (a) VALUES (1)",
            "INSERT(a, 1, 2, 'b')",
            "REPLACE (a)",
            "INSERT INTO (a) VALUES (1)",
            "(INSERT INTO t VALUES (1))",
            "INSERT INTO INTO t VALUES (1)",
        ],
    );
}

#[test]
fn updates_and_deletes_write() {
    all(
        Write,
        &[
            "UPDATE t SET a = 1 WHERE b = 2",
            "UPDATE LOW_PRIORITY IGNORE t SET a = DEFAULT(a)",
            "UPDATE t JOIN (SELECT 1) AS u SET t.a = NOW() ORDER BY (a) LIMIT 1",
            "UPDATE t SET a = IF(b, 1, 2), c = JSON_SET(c, '$.x', ?)",
            "DELETE FROM t",
            "DELETE QUICK FROM t WHERE a IN (1, 2)",
            "DELETE FROM t USING t JOIN u ON (t.a = u.a)",
            "DELETE FROM t PARTITION (p0) WHERE a = 1",
            "DELETE FROM t RETURNING a",
            "DELETE t FROM t JOIN u USING (a)",
        ],
    );
    all(
        Other,
        &[
            "UPDATE t SET a = f(1)",
            "UPDATE t SET id = LAST_INSERT_ID(id + 1)",
            "UPDATE t SET a = 1 WHERE f(b)",
            "DELETE FROM t WHERE a = db.f(1)",
            "DELETE FROM t ORDER BY f(a)",
            "(UPDATE t SET a = 1)",
            "(DELETE FROM t)",
            "UPDATE performance_schema.threads SET INSTRUMENTED = 'NO'",
        ],
    );
}

#[test]
fn sequences_are_anything() {
    all(
        Other,
        &[
            "SELECT NEXTVAL(s)",
            "SELECT LASTVAL(s)",
            "SELECT SETVAL(s, 1)",
            "SELECT NEXT VALUE FOR s",
            "SELECT next value/**/for s",
            "SELECT PREVIOUS VALUE FOR s",
            "SELECT s.nextval",
            "SELECT s.currval FROM DUAL",
            "SELECT s.`nextval`",
        ],
    );
}

#[test]
fn schemas_of_the_server_are_anything() {
    all(
        Other,
        &[
            "SELECT * FROM performance_schema.session_status",
            "SELECT * FROM `performance_schema`.`session_status`",
            "SELECT * FROM Performance_Schema . threads",
            "SELECT * FROM sys.session",
            "SELECT * FROM `sys`.`session`",
            "SELECT sys.ps_thread_id(1)",
            "SELECT * FROM information_schema.PROCESSLIST",
            "SELECT * FROM information_schema.session_status",
            "SELECT * FROM INFORMATION_SCHEMA.SESSION_VARIABLES",
            "SELECT * FROM `information_schema`.`PROCESSLIST`",
            "SELECT * FROM information_schema . processlist",
            "SELECT * FROM information_schema.INNODB_TRX",
            "SELECT * FROM information_schema",
            "SELECT * FROM \"information_schema\".processlist",
        ],
    );
    all(
        Read,
        &[
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()",
            "SELECT * FROM `information_schema`.`columns`",
            "SELECT * FROM INFORMATION_SCHEMA . KEY_COLUMN_USAGE",
            "SELECT information_schema.tables.table_name FROM information_schema.tables",
            "SELECT columns FROM tables",
            "SELECT 'performance_schema'",
        ],
    );
}

#[test]
fn all_other_statements_are_anything() {
    all(
        Other,
        &[
            "",
            " ",
            "/* x */",
            "-- x",
            "()",
            "(",
            ")",
            "1",
            "'SELECT 1'",
            "`SELECT` 1",
            "\"SELECT\" 1",
            "SELECTED 1",
            "SET a = 1",
            "SET STATEMENT max_statement_time = 1 FOR SELECT 1",
            "SHOW TABLES",
            "SHOW WARNINGS",
            "EXPLAIN SELECT 1",
            "DESCRIBE t",
            "DESC SELECT 1",
            "ANALYZE SELECT 1",
            "CALL p()",
            "DO SLEEP(1)",
            "BEGIN",
            "START TRANSACTION",
            "COMMIT",
            "ROLLBACK",
            "SAVEPOINT a",
            "XA START 'a'",
            "LOCK TABLES t READ",
            "UNLOCK TABLES",
            "USE db",
            "PREPARE a FROM 'SELECT 1'",
            "EXECUTE a",
            "EXECUTE IMMEDIATE 'SELECT 1'",
            "DEALLOCATE PREPARE a",
            "CREATE TEMPORARY TABLE t (a INT)",
            "CREATE TABLE t SELECT 1",
            "ALTER TABLE t ADD a INT",
            "DROP TABLE t",
            "TRUNCATE t",
            "HANDLER t OPEN",
            "LOAD DATA INFILE 'x' INTO TABLE t",
            "FLUSH TABLES",
            "KILL 1",
            "GRANT ALL ON t TO u",
            "TABLE t",
            "VALUES ROW(1, 2)",
            "VALUES (1)",
            "KILL QUERY 1",
            "CHANGE MASTER TO x = 1",
            "INSTALL PLUGIN x SONAME 'y'",
            "HELP 'x'",
            "\u{feff}SELECT 1",
        ],
    );
}

#[test]
fn what_is_not_whole_is_anything() {
    all(
        Other,
        &[
            "SELECT 'a",
            "SELECT 'a\\'",
            "SELECT 'a\\",
            "SELECT 'a''",
            "SELECT \"a",
            "SELECT `a",
            "SELECT `",
            "select `` ` ``",
            "SELECT x'0f",
            "SELECT (1",
            "SELECT 1)",
            "SELECT 1)(",
            "(SELECT 1",
            "SELECT 1 FROM information_schema.",
            "SELECT a = ANY (",
        ],
    );
}

#[test]
fn characters_that_are_no_sql_are_anything() {
    all(
        Other,
        &[
            "SELECT 1\u{0}",
            "SELECT \u{0}1",
            "\u{0}",
            "SELECT \\N",
            "SELECT {d '2020-01-01'}",
            "SELECT {fn f(1)}",
            "SELECT [1]",
            "SELECT :a",
            "SELECT 1 \u{1f} 2",
            "SELECT 1\u{7f}",
            "SELECT $$ a $$",
            "SELECT $a$ b $a$",
        ],
    );
    all(Read, &["SELECT 'a\u{0}b'", "SELECT a$b FROM t$"]);
}

#[test]
fn any_character_set_reads_the_same_or_it_is_anything() {
    bytes(
        Read,
        &[
            "SELECT \u{e9}t\u{e9} FROM \u{4e2d}\u{6587}".as_bytes(),
            "SELECT '\u{4e2d}\u{6587}', `\u{e9}t\u{e9}s`".as_bytes(),
            "SELECT t.\u{e9}, \u{e9}".as_bytes(),
            b"SELECT '\xff\xfe'",
            b"SELECT '\xbf'''",
        ],
    );
    bytes(
        Other,
        &[
            // gbk: 0xbf5c is one character.
            b"SELECT '\xbf\\', @a, '",
            b"SELECT '\xbf\\' , f(1), '\\'",
            b"SELECT '\xbf\\\\'",
            b"SELECT \"\xbf\\n\"",
            b"SELECT '\\\xbf\\'",
            b"SELECT `\xbf\\`",
            b"SELECT `\xbf`, f(1), ``",
            // Outside quotes: no UTF-8, or a second byte that is no name's in ASCII.
            b"SELECT \xbf\xbf FROM t",
            b"SELECT NEXT\xa0VALUE\xa0FOR s",
            "SELECT \u{e9}|abs(1)".as_bytes(),
            "SELECT \u{e9}`a`".as_bytes(),
            "SELECT \u{e9}@a".as_bytes(),
            b"\xff\xfe",
        ],
    );
}

#[test]
fn numbers_are_read_as_the_server_does() {
    all(
        Read,
        &[
            "SELECT 1, 1.5, .5, 1., 1e5, 1E-5, 1.5e+3, .5e3",
            "SELECT 0x1F, 0b01, x'1F', X'1f', b'01', B'1'",
            "SELECT 1a, 0x1g, t.1a, t.1e5, 1_000 FROM t",
            "SELECT _utf8mb4'a', _binary x'00', n'a', N'b'",
            "SELECT _utf8mb4'a' COLLATE utf8mb4_bin",
        ],
    );
    all(
        Other,
        &["SELECT 1.5from t", "SELECT 1e5from t", "SELECT 1.e"],
    );
}

fn digest(sql: &str) -> u64 {
    read_as(sql.as_bytes(), false).digest
}

#[test]
fn statements_that_differ_in_literals_have_one_digest() {
    let rows = format!("INSERT INTO t VALUES (1, 'a'){}", ", (2, 'b')".repeat(5000));
    let long = format!("INSERT INTO t VALUES (1, '{}')", "x".repeat(10_000));
    let list = format!("SELECT a FROM t WHERE a IN (1{})", ", 1".repeat(5000));
    for (one, other) in [
        ("SELECT 1", "SELECT 2"),
        ("SELECT 1", "SELECT 'a'"),
        ("SELECT 1", "SELECT ?"),
        ("SELECT 1", "SELECT x'0f'"),
        ("SELECT 1", "SELECT 0x0f"),
        ("SELECT 1", "SELECT 1;"),
        ("SELECT 1", "select\n1 -- x"),
        ("SELECT 1", "/* x */ SELECT/**/1 # y"),
        ("SELECT `a` FROM T", "select A from `t`"),
        ("SELECT 'a'", "SELECT \"b\""),
        ("SELECT a IN (1)", "SELECT a IN (1, 2, 3)"),
        ("SELECT a IN (1, -1)", "SELECT a IN ('x')"),
        ("SELECT a IN (1, NULL)", "SELECT a IN (1)"),
        ("INSERT INTO t VALUES (1, 2)", "INSERT INTO t VALUES (3, 4)"),
        (
            "INSERT INTO t VALUES (1, 2)",
            "INSERT INTO t VALUES (3, 4), (5, 6),(7,8)",
        ),
        (
            "INSERT INTO t (a) VALUES (?) ON DUPLICATE KEY UPDATE a = 1",
            "INSERT INTO t (a) VALUES (?), (?) ON DUPLICATE KEY UPDATE a = 2",
        ),
        ("INSERT INTO t VALUES (1, 'a')", rows.as_str()),
        ("INSERT INTO t VALUES (1, 'a')", long.as_str()),
        ("SELECT a FROM t WHERE a IN (1)", list.as_str()),
        ("SET @a = 1", "set @a = 2"),
        (
            "SELECT /*+ MAX_EXECUTION_TIME(1) */ a FROM t",
            "SELECT a FROM t",
        ),
    ] {
        assert_eq!(digest(one), digest(other), "{one} / {other:.80}");
    }
}

#[test]
fn other_statements_have_other_digests() {
    for (one, other) in [
        ("SELECT a", "SELECT b"),
        ("SELECT a", "SELECT a.b"),
        ("SELECT ab", "SELECT a b"),
        ("SELECT 1", "SELECT NULL"),
        ("SELECT 1", "SELECT 1, 2"),
        ("SELECT 1", "SELECT (1)"),
        ("SELECT 1", "SELECT 1; SELECT 1"),
        ("SELECT a FROM t LIMIT 1", "SELECT a FROM t LIMIT 1, 2"),
        ("SELECT a < 1", "SELECT a > 1"),
        ("SELECT a IN (1, 2)", "SELECT a IN (1, b)"),
        ("SELECT a IN (1), (2)", "SELECT a IN (1) AND (2)"),
        (
            "INSERT INTO t VALUES (1, NOW())",
            "INSERT INTO t VALUES (1, 2)",
        ),
        ("SELECT f()", "SELECT f(1)"),
        ("SELECT (1), a", "SELECT (1), (1), b"),
        ("", "SELECT 1"),
    ] {
        assert_ne!(digest(one), digest(other), "{one} / {other}");
    }
}

#[test]
fn a_hint_has_its_place_behind_a_leading_select() {
    for (sql, expected) in [
        ("SELECT 1", Some(6)),
        ("select", Some(6)),
        (" \n SeLeCt a FROM t", Some(9)),
        ("/* x */SELECT 1", Some(13)),
        ("SELECT/* x */1", Some(6)),
        ("SELECT`a`", Some(6)),
        ("SELECT 1 /*+ x */", Some(6)),
        ("SELECT /*+ MAX_EXECUTION_TIME(1) */ 1", None),
        ("SELECT/*+ x */1", None),
        ("SELECT /* x */ /*+ x */ 1", None),
        ("SELECT /*+ x */", None),
        ("(SELECT 1)", None),
        ("WITH x AS (SELECT 1) SELECT 1", None),
        ("INSERT INTO t SELECT 1", None),
        ("`SELECT` 1", None),
        ("SELECTS 1", None),
        ("UPDATE t SET a = 1", None),
        ("", None),
    ] {
        assert_eq!(read_as(sql.as_bytes(), false).hint_at, expected, "{sql}");
    }
}

#[test]
fn strings_of_any_length_end_where_they_end() {
    for length in 0..40 {
        let text = "x".repeat(length);
        assert_eq!(effect(&format!("SELECT '{text}', 1")), Read);
        assert_eq!(effect(&format!("SELECT '{text}', @a, '{text}'")), Other);
        assert_eq!(effect(&format!("SELECT '{text}\\'@', '{text}'")), Read);
        assert_eq!(effect(&format!("SELECT '{text}', 1 -- {text}\n")), Read);
        assert_eq!(effect(&format!("SELECT 1 -- {text}\n, @a")), Other);
    }
}

/// Tokens of neutral statements, and what makes them different ones.
const TOKENS: &[&str] = &[
    "SELECT",
    "INSERT",
    "INTO",
    "UPDATE",
    "DELETE",
    "WITH",
    "FROM",
    "WHERE",
    "VALUES",
    "IN",
    "AND",
    "FOR",
    "SHARE",
    "UNION",
    "ALL",
    "AS",
    "t",
    "`t`",
    "a",
    "`A b`",
    "db.t",
    "COUNT(",
    "f(",
    "(",
    ")",
    "(",
    ")",
    ",",
    "=",
    "<",
    "+",
    "*",
    "1",
    "1.5",
    "'x'",
    "'it''s'",
    "\"y\"",
    "?",
    "NULL",
    "0x1f",
    "x'00'",
    "LIMIT",
    "OVER",
    "RANK(",
    "NOW()",
    "ABS(",
    "sys",
    ".",
    "nextval",
    "VALUE",
    "LOCK",
    "information_schema",
    "tables",
    "ANY",
    "@a",
    ";",
    "\u{e9}",
];

const NEUTRAL: &[&[&str]] = &[
    &["SELECT", "a", ",", "b", "FROM", "t"],
    &[
        "SELECT", "COUNT(", "*", ")", "FROM", "t", "WHERE", "a", "IN", "(", "1", ",", "2", ")",
    ],
    &["SELECT", "'x'", ",", "`A b`", "FROM", "t", "FOR", "UPDATE"],
    &[
        "INSERT", "INTO", "t", "(", "a", ")", "VALUES", "(", "1", ")", ",", "(", "'x'", ")",
    ],
    &[
        "UPDATE", "t", "SET", "a", "=", "NOW()", "WHERE", "b", "<", "0x1f",
    ],
    &["DELETE", "FROM", "t", "WHERE", "a", "=", "?"],
    &[
        "WITH", "x", "(", "a", ")", "AS", "(", "SELECT", "1", ")", "SELECT", "a", "FROM", "x",
    ],
    &[
        "(", "SELECT", "1", ")", "UNION", "ALL", "(", "SELECT", "2", ")",
    ],
];

fn any_tokens() -> impl Strategy<Value = Vec<&'static str>> {
    let any = prop::collection::vec(prop::sample::select(TOKENS), 0..20);
    let neutral = prop::sample::select(NEUTRAL).prop_map(<[_]>::to_vec);
    let both = (prop::sample::select(NEUTRAL), any.clone());
    prop_oneof![
        any,
        neutral,
        both.prop_map(|(neutral, any)| [neutral, &any].concat())
    ]
}

fn joined(tokens: &[&str], between: &[String]) -> String {
    let blanks = between.iter().map(String::as_str).cycle();
    let pairs = tokens.iter().zip(blanks);
    pairs
        .map(|(token, blank)| format!("{token}{blank}"))
        .collect()
}

/// Blanks, of which there is always one.
fn blanks(kind: &'static str) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(kind, 1..8)
}

fn with_case(sql: &str, upper: &[bool]) -> String {
    let changed = sql.chars().zip(upper.iter().cycle());
    changed
        .map(|(char, upper)| match upper {
            true => char.to_ascii_uppercase(),
            false => char.to_ascii_lowercase(),
        })
        .collect()
}

proptest! {
    #[test]
    fn any_bytes_have_an_effect(sql in prop::collection::vec(any::<u8>(), 0..200), no in any::<bool>()) {
        read_as(&sql, no);
    }

    #[test]
    fn any_bytes_behind_a_verb_have_an_effect(
        sql in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(&b"'\"`\\/*-#();,.@ 0x1eE+\n\xbf"[..])],
            0..60,
        ),
        no in any::<bool>(),
    ) {
        read_as(&[b"SELECT ", sql.as_slice()].concat(), no);
    }

    #[test]
    fn the_case_of_names_does_not_matter(
        tokens in any_tokens(),
        upper in prop::collection::vec(any::<bool>(), 1..20),
    ) {
        // In quotes it doesn't matter either, to the effect.
        let sql = tokens.join(" ").replace("0x", "0").replace("x'", "'");
        let one = read_as(sql.as_bytes(), false);
        let other = read_as(with_case(&sql, &upper).as_bytes(), false);
        prop_assert_eq!((one.effect, one.digest), (other.effect, other.digest));
    }

    #[test]
    fn blanks_do_not_matter(tokens in any_tokens(), between in blanks("[ \t\r\n\x0b\x0c]{1,3}")) {
        let one = read_as(tokens.join(" ").as_bytes(), false);
        let other = read_as(joined(&tokens, &between).as_bytes(), false);
        prop_assert_eq!((one.effect, one.digest), (other.effect, other.digest));
    }

    #[test]
    fn comments_do_not_matter(
        tokens in any_tokens(),
        between in blanks("/\\*[ a-z@'\"`;(]{0,5}\\*/|# [a-z@'*]{0,5}\n|-- [a-z@'*]{0,5}\n"),
    ) {
        let one = read_as(tokens.join(" ").as_bytes(), false);
        let other = read_as(joined(&tokens, &between).as_bytes(), false);
        prop_assert_eq!((one.effect, one.digest), (other.effect, other.digest));
    }

    #[test]
    fn nothing_with_a_variable_is_neutral(tokens in any_tokens(), at in any::<prop::sample::Index>()) {
        let mut tokens = tokens;
        tokens.insert(at.index(tokens.len() + 1), "@a");
        prop_assert_eq!(effect(&tokens.join(" ")), Other);
    }

    #[test]
    fn nothing_with_a_stored_function_is_neutral(
        tokens in any_tokens(),
        at in any::<prop::sample::Index>(),
        call in prop::sample::select(&["+ f(1)", "= db.max(1)", ", `f` (1)", "= last_insert_id()"][..]),
    ) {
        // Not before the verb, where `f(1)` may be a common table expression's columns.
        let mut sql = vec!["SELECT", "1"];
        sql.extend(tokens);
        sql.insert(at.index(sql.len() - 1) + 2, call);
        prop_assert_eq!(effect(&sql.join(" ")), Other);
    }

    #[test]
    fn only_a_trailing_semicolon_ends(tokens in any_tokens()) {
        let sql = tokens.join(" ");
        prop_assert_eq!(effect(&format!("{sql};{sql};SELECT 1")), Other);
        if !tokens.contains(&";") {
            prop_assert_eq!(effect(&sql), effect(&format!("{sql} ; ")));
        }
    }
}
