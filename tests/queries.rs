//! Text statements: what comes back, of every type and in every number.

mod support;

use mysql_mux::{QueryResult, Row, Text, Value, from_row};
use support::*;

fn connect() -> Handle {
    mux().connect(server().tcp()).unwrap()
}

#[test]
fn every_type_comes_as_text_and_converts() {
    let schema = Schema::new("texttypes");
    let mut handle = mux().connect(schema.tcp()).unwrap();
    handle
        .query_drop(
            "CREATE TABLE t (
                tiny TINYINT, utiny TINYINT UNSIGNED, small SMALLINT, medium MEDIUMINT, i INT,
                big BIGINT, ubig BIGINT UNSIGNED, f FLOAT, d DOUBLE, dec_ DECIMAL(30,10),
                bit_ BIT(12), yr YEAR, da DATE, ti TIME(6), dt DATETIME(6), ts TIMESTAMP NULL,
                ch CHAR(5), vc VARCHAR(20), bi BINARY(3), vb VARBINARY(20), te TEXT, bl BLOB,
                en ENUM('a','b'), se SET('x','y','z'), js JSON
            )",
        )
        .unwrap();
    handle
        .query_drop(
            "INSERT INTO t VALUES (
                -128, 255, -32768, 8388607, -2147483648,
                -9223372036854775808, 18446744073709551615, 1.5, -2.25e100, 12345678901234567890.0123456789,
                b'101010101010', 2026, '2026-11-21', '-838:59:59', '2026-11-21 01:02:03.000004', '2026-11-21 00:00:01',
                'ab', 'zwölf', 'a\\0b', X'00FF', 'text', X'DEADBEEF',
                'b', 'x,z', '{\"a\": [1, null]}'
            )",
        )
        .unwrap();
    let row: Row = handle.query_first("SELECT * FROM t").unwrap().unwrap();
    assert_eq!(row.len(), 25);
    assert!(row.columns_ref().iter().any(|c| c.name_str() == "ubig"));
    let get = |name: &str| row.get::<String, _>(name).unwrap();
    assert_eq!(row.get::<i8, _>("tiny"), Some(-128));
    assert_eq!(row.get::<u8, _>("utiny"), Some(255));
    assert_eq!(row.get::<i16, _>("small"), Some(-32768));
    assert_eq!(row.get::<i32, _>("medium"), Some(8_388_607));
    assert_eq!(row.get::<i32, _>("i"), Some(i32::MIN));
    assert_eq!(row.get::<i64, _>("big"), Some(i64::MIN));
    assert_eq!(row.get::<u64, _>("ubig"), Some(u64::MAX));
    assert_eq!(row.get::<f32, _>("f"), Some(1.5));
    assert_eq!(row.get::<f64, _>("d"), Some(-2.25e100));
    assert_eq!(get("dec_"), "12345678901234567890.0123456789");
    assert_eq!(
        row.get::<Vec<u8>, _>("bit_"),
        Some(vec![0b1010, 0b1010_1010])
    );
    assert_eq!(row.get::<u16, _>("yr"), Some(2026));
    assert_eq!(get("da"), "2026-11-21");
    assert!(get("ti").starts_with("-838:59:59"), "{}", get("ti"));
    assert_eq!(get("dt"), "2026-11-21 01:02:03.000004");
    assert_eq!(get("ts"), "2026-11-21 00:00:01");
    assert_eq!(get("ch"), "ab");
    assert_eq!(get("vc"), "zwölf");
    assert_eq!(row.get::<Vec<u8>, _>("bi"), Some(b"a\0b".to_vec()));
    assert_eq!(row.get::<Vec<u8>, _>("vb"), Some(vec![0, 255]));
    assert_eq!(get("te"), "text");
    assert_eq!(
        row.get::<Vec<u8>, _>("bl"),
        Some(vec![0xDE, 0xAD, 0xBE, 0xEF])
    );
    assert_eq!(get("en"), "b");
    assert_eq!(get("se"), "x,z");
    assert_eq!(get("js"), "{\"a\": [1, null]}");
}

#[test]
fn null_is_null_in_every_place() {
    let mut handle = connect();
    let row: (Option<i32>, i32, Option<String>, Option<String>) = handle
        .query_first("SELECT NULL, 1, NULL, ''")
        .unwrap()
        .unwrap();
    assert_eq!(row, (None, 1, None, Some(String::new())));
    // A NULL where a value is wanted is an error and no panic with the `_opt` family.
    let wanted = handle
        .query_first_opt::<i32, _>("SELECT NULL")
        .unwrap()
        .unwrap();
    assert!(wanted.is_err());
}

#[test]
fn no_rows_are_an_empty_result_that_still_has_columns() {
    let mut handle = connect();
    let rows: Vec<i32> = handle.query("SELECT 1 FROM DUAL WHERE FALSE").unwrap();
    assert_eq!(rows, [0; 0]);
    assert_eq!(
        handle
            .query_first::<i32, _>("SELECT 1 FROM DUAL WHERE FALSE")
            .unwrap(),
        None
    );
    let result = handle
        .query_iter("SELECT 1 AS a, 2 AS b FROM DUAL WHERE FALSE")
        .unwrap();
    let names: Vec<_> = result
        .columns()
        .as_ref()
        .iter()
        .map(|c| c.name_str().into_owned())
        .collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn the_whole_query_family_agrees() {
    let mut handle = connect();
    let sql = "SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3";
    assert_eq!(handle.query::<i32, _>(sql).unwrap(), [1, 2, 3]);
    assert_eq!(handle.query_first::<i32, _>(sql).unwrap(), Some(1));
    assert_eq!(
        handle.query_map(sql, |n: i32| n * 10).unwrap(),
        [10, 20, 30]
    );
    assert_eq!(handle.query_fold(sql, 0, |sum, n: i32| sum + n).unwrap(), 6);
    handle.query_drop(sql).unwrap();
    let by_hand: Vec<i32> = handle
        .query_iter(sql)
        .unwrap()
        .map(|row| from_row(row.unwrap()))
        .collect();
    assert_eq!(by_hand, [1, 2, 3]);
    let opt: Vec<i32> = handle
        .query_opt(sql)
        .unwrap()
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(opt, [1, 2, 3]);
    let wrong = handle.query_opt::<(i32, i32), _>(sql).unwrap();
    assert!(
        wrong.iter().all(Result::is_err),
        "three rows of one column are no pairs"
    );
}

#[test]
fn a_result_that_is_dropped_half_read_leaves_nothing_behind() {
    let mut handle = connect();
    for _ in 0..3 {
        let mut result = handle
            .query_iter("SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3")
            .unwrap();
        assert_eq!(from_row::<i32>(result.next().unwrap().unwrap()), 1);
        drop(result);
        assert_eq!(one::<i32>(&mut handle, "SELECT 7"), 7);
    }
}

#[test]
fn many_rows_come_whole_and_in_order() {
    let schema = Schema::new("manyrows");
    let mut handle = mux().connect(schema.tcp()).unwrap();
    handle.query_drop("CREATE TABLE d (n INT)").unwrap();
    handle
        .query_drop("INSERT INTO d VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)")
        .unwrap();
    let sql = "SELECT a.n + 10*b.n + 100*c.n + 1000*e.n + 10000*f.n AS x \
               FROM d a, d b, d c, d e, d f ORDER BY x";
    let rows: Vec<u32> = handle.query(sql).unwrap();
    assert_eq!(rows.len(), 100_000);
    assert!(rows.iter().enumerate().all(|(i, &n)| i as u32 == n));
}

fn next_set<T: FromRow>(result: &mut QueryResult<Text>) -> Vec<T> {
    let set = result.iter().expect("another set");
    set.map(|row| from_row(row.unwrap())).collect()
}

#[test]
fn several_statements_give_several_sets() {
    let mut handle = mux()
        .connect(server().tcp().multi_statements(true))
        .unwrap();
    let mut result = handle
        .query_iter("SELECT 1; SELECT 'a' UNION ALL SELECT 'b'; DO 3; SELECT 4, 5")
        .unwrap();
    let first: Vec<i32> = next_set(&mut result);
    assert_eq!(first, [1]);
    let second: Vec<String> = next_set(&mut result);
    assert_eq!(second, ["a", "b"]);
    assert_eq!(result.iter().unwrap().count(), 0, "DO has no rows");
    let fourth: Vec<(i32, i32)> = next_set(&mut result);
    assert_eq!(fourth, [(4, 5)]);
    assert!(result.iter().is_none());
    drop(result);
    // The first set is what the collecting ones give; the rest is thrown away.
    assert_eq!(handle.query::<i32, _>("SELECT 1; SELECT 2").unwrap(), [1]);
    assert_eq!(one::<i32>(&mut handle, "SELECT 9"), 9);
}

#[test]
fn an_error_in_the_second_set_comes_after_the_first() {
    let mut handle = mux()
        .connect(server().tcp().multi_statements(true))
        .unwrap();
    let mut result = handle
        .query_iter("SELECT 1; SELECT * FROM no_such_table; SELECT 3")
        .unwrap();
    let first: Vec<i32> = next_set(&mut result);
    assert_eq!(first, [1]);
    let e = result
        .iter()
        .and_then(|mut set| set.next())
        .expect("the second set is an error")
        .map(drop)
        .unwrap_err();
    assert_eq!(e.code(), Some(1146), "{e}");
    drop(result);
    assert_eq!(one::<i32>(&mut handle, "SELECT 7"), 7);
}

#[test]
fn a_procedure_gives_its_sets_and_its_status() {
    let schema = Schema::new("proc");
    let mut handle = mux().connect(schema.tcp()).unwrap();
    handle
        .query_drop(
            "CREATE PROCEDURE p(IN a INT, OUT b INT) \
             BEGIN SET b = a * 2; SELECT a; SELECT a + 1, a + 2; END",
        )
        .unwrap();
    let mut result = handle.query_iter("CALL p(20, @out)").unwrap();
    let first: Vec<i32> = next_set(&mut result);
    assert_eq!(first, [20]);
    let second: Vec<(i32, i32)> = next_set(&mut result);
    assert_eq!(second, [(21, 22)]);
    drop(result);
    assert_eq!(one::<i32>(&mut handle, "SELECT @out"), 40);
}

#[test]
fn affected_rows_insert_ids_infos_and_warnings_are_the_servers() {
    let schema = Schema::new("okinfo");
    let mut handle = mux().connect(schema.tcp()).unwrap();
    handle
        .query_drop("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a TINYINT, UNIQUE (a))")
        .unwrap();
    handle
        .query_drop("INSERT INTO t (a) VALUES (1), (2), (3)")
        .unwrap();
    assert_eq!(handle.affected_rows(), 3);
    assert_eq!(handle.last_insert_id(), 1);
    assert_eq!(handle.info_str(), "Records: 3  Duplicates: 0  Warnings: 0");
    assert_eq!(handle.info_ref(), handle.info_str().as_bytes());
    assert_eq!(handle.warnings(), 0);

    let result = handle
        .query_iter("INSERT IGNORE INTO t (a) VALUES (4), (1)")
        .unwrap();
    assert_eq!(result.affected_rows(), 1);
    assert_eq!(result.warnings(), 1);
    assert!(result.last_insert_id().is_some());
    drop(result);
    assert_eq!(handle.warnings(), 1);

    handle
        .query_drop("UPDATE t SET a = 100 WHERE a < 3")
        .unwrap_err();
    handle
        .query_drop("UPDATE t SET a = a + 100 WHERE a < 3")
        .unwrap();
    assert_eq!(handle.affected_rows(), 2);
    assert_eq!(
        handle.info_str(),
        "Rows matched: 2  Changed: 2  Warnings: 0"
    );
    handle.query_drop("DELETE FROM t").unwrap();
    assert_eq!(handle.affected_rows(), 4);
}

#[test]
fn a_warning_is_read_by_the_handle_that_caused_it() {
    let mux = builder().max_links(1).build();
    let mut handle = mux.connect(server().tcp()).unwrap();
    handle.query_drop("SELECT CAST('abc' AS SIGNED)").unwrap();
    assert_eq!(handle.warnings(), 1);
    let warnings: Vec<(String, u16, String)> = handle.query("SHOW WARNINGS").unwrap();
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].1, 1292);
}

#[test]
fn a_servers_error_has_code_state_and_message_and_the_handle_goes_on() {
    let mut handle = connect();
    let e = error_of(handle.query_drop("SELEKT 1"));
    match &e {
        Error::MySqlError(e) => {
            assert_eq!((e.code, e.state.as_str()), (1064, "42000"));
            assert!(e.message.contains("SELEKT"), "{e}");
        }
        other => panic!("a server's error was expected, and it is: {other}"),
    }
    assert!(!e.may_have_run());
    let e = error_of(handle.query_drop("SELECT * FROM no_such_table"));
    assert_eq!(
        (e.code(), e.sql_state()),
        (Some(1146), Some("42S02")),
        "{e}"
    );
    let e = error_of(handle.query_drop(""));
    assert_eq!(e.code(), Some(1065), "{e}");
    assert_eq!(one::<i32>(&mut handle, "SELECT 1"), 1);
}

#[test]
fn an_error_amid_the_rows_of_a_result_is_the_results_end() {
    let mut handle = connect();
    // The second row fails while the first one is on its way.
    let sql =
        "SELECT IF(n = 2, (SELECT 1 UNION SELECT 2), n) FROM (SELECT 1 AS n UNION ALL SELECT 2) t";
    let got: mysql_mux::Result<Vec<i32>> = handle.query(sql);
    assert_eq!(error_of(got).code(), Some(1242));
    assert_eq!(one::<i32>(&mut handle, "SELECT 1"), 1);
}

#[test]
fn columns_tell_their_names_types_and_tables() {
    let schema = Schema::new("columns");
    let mut handle = mux().connect(schema.tcp()).unwrap();
    handle
        .query_drop("CREATE TABLE t (id INT UNSIGNED NOT NULL PRIMARY KEY, name VARCHAR(9))")
        .unwrap();
    let result = handle
        .query_iter("SELECT id AS number, name, 1.5 FROM t AS alias")
        .unwrap();
    let columns = result.columns();
    let columns = columns.as_ref();
    assert_eq!(columns.len(), 3);
    assert_eq!(columns[0].name_str(), "number");
    assert_eq!(columns[0].org_name_str(), "id");
    assert_eq!(columns[0].table_str(), "alias");
    assert_eq!(columns[0].org_table_str(), "t");
    assert_eq!(columns[0].schema_str(), schema.name);
}

#[test]
fn more_columns_than_a_byte_can_count_come_all() {
    let mut handle = connect();
    let list: Vec<String> = (0..1000).map(|i| i.to_string()).collect();
    let row: Row = handle
        .query_first(format!("SELECT {}", list.join(",")))
        .unwrap()
        .unwrap();
    let values: Vec<Value> = row.unwrap();
    assert_eq!(values.len(), 1000);
    assert_eq!(values[999], Value::Bytes(b"999".to_vec()));
}

#[test]
fn values_about_each_length_that_the_protocol_writes_differently_come_whole() {
    let mut handle = connect();
    for len in [
        0,
        1,
        250,
        251,
        252,
        255,
        256,
        65_535,
        65_536,
        (1 << 24) - 10,
        (1 << 24) - 5,
    ] {
        let max: usize = one(&mut handle, "SELECT @@max_allowed_packet");
        if len + 100 > max {
            continue;
        }
        let value: Vec<u8> = one(&mut handle, &format!("SELECT REPEAT('x', {len})"));
        assert_eq!(value.len(), len);
        assert!(value.iter().all(|&b| b == b'x'));
    }
}

/// Has the server accept packets of 64 MB from connections that are made from now on.
fn large_packets() {
    let mut root = server().root();
    let now: u64 = one(&mut root, "SELECT @@GLOBAL.max_allowed_packet");
    if now < 64 << 20 {
        root.query_drop(format!("SET GLOBAL max_allowed_packet = {}", 64 << 20))
            .unwrap();
    }
}

#[test]
fn packets_of_twenty_megabytes_go_both_ways() {
    large_packets();
    let mut handle = connect();
    let text = "0123456789".repeat(2_000_000);
    let back: String = one(&mut handle, &format!("SELECT '{text}'"));
    assert!(back == text, "it came back changed");
    // Exactly at and about the border where one packet becomes two.
    for len in [
        (1 << 24) - 12,
        (1 << 24) - 11,
        (1 << 24) - 10,
        (1 << 24) - 2,
        1 << 24,
    ] {
        let text = "y".repeat(len);
        let back: String = one(&mut handle, &format!("SELECT '{text}'"));
        assert!(back == text, "{len} bytes came back changed");
    }
    assert_eq!(one::<i32>(&mut handle, "SELECT 1"), 1);
}

#[test]
fn a_packet_over_the_servers_limit_is_refused_before_it_is_sent_and_the_link_lives() {
    large_packets();
    let user = User::new("toolarge");
    let mux = mux();
    let mut handle = mux.connect(user.tcp()).unwrap();
    let id: u32 = one(&mut handle, "SELECT CONNECTION_ID()");
    let max: usize = one(&mut handle, "SELECT @@max_allowed_packet");
    let sent = mux.stats().total.bytes_sent;
    let sql = format!("SELECT '{}'", "x".repeat(max));
    match error_of(handle.query_drop(&sql)) {
        Error::PacketTooLarge { size, max: told } => {
            assert_eq!(told, max);
            assert!(size > max);
        }
        other => panic!("a packet that is too large was expected, and it is: {other}"),
    }
    assert!(
        mux.stats().total.bytes_sent - sent < 1000,
        "it was not sent"
    );
    // A parameter goes in pieces that the server adds up: its own word, where it is not ours.
    let e = error_of(handle.exec_drop("SELECT ?", (sql,)));
    assert!(
        matches!(e, Error::PacketTooLarge { .. }) || matches!(e.code(), Some(1105 | 1153)),
        "{e}"
    );
    assert_eq!(one::<u32>(&mut handle, "SELECT CONNECTION_ID()"), id);
}

#[test]
fn the_options_may_lower_the_limit_of_packets() {
    let opts = server().tcp().max_allowed_packet(Some(10_000));
    let mut handle = mux().connect(opts).unwrap();
    let e = error_of(handle.query_drop(format!("SELECT '{}'", "x".repeat(10_000))));
    assert!(
        matches!(e, Error::PacketTooLarge { max: 10_000, .. }),
        "{e}"
    );
    assert_eq!(one::<i32>(&mut handle, "SELECT 1"), 1);
}

#[test]
fn a_result_over_max_result_size_is_an_error_and_the_next_statement_runs() {
    let opts = server().tcp().max_result_size(100_000);
    let mut handle = mux().connect(opts).unwrap();
    let small: Vec<u8> = one(&mut handle, "SELECT REPEAT('x', 50000)");
    assert_eq!(small.len(), 50_000);
    let e = error_of(handle.query_drop("SELECT REPEAT('x', 200000)"));
    assert!(matches!(e, Error::ResultTooLarge { max: 100_000 }), "{e}");
    assert!(e.may_have_run());
    assert_eq!(one::<i32>(&mut handle, "SELECT 1"), 1);
}

#[test]
fn statistics_are_a_line_for_people() {
    let mut handle = connect();
    let line = handle.statistics().unwrap();
    assert!(line.contains("Uptime"), "{line}");
}
