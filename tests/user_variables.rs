//! User variables are the handle's wherever it runs: read back from the link where they were set, and
//! set again on the one where they are asked for, as they were.

mod support;

use mysql_mux::{PinReason, Row};
use support::{relay::Way, *};

/// Values of every type that a variable has.
const VALUES: &[&str] = &[
    "NULL",
    "5",
    "-5",
    "TRUE",
    "9223372036854775807",
    "-9223372036854775808",
    "CAST(5 AS UNSIGNED)",
    "18446744073709551615",
    "CAST(NULL AS SIGNED)",
    "CAST(NULL AS UNSIGNED)",
    "1.50",
    "-0.00",
    "CAST(7 AS DECIMAL(20,0))",
    "123456789012345678901234567890.123456789",
    "CAST(NULL AS DECIMAL(10,2))",
    "1.5e0",
    "0e0",
    "-0e0",
    "1e0/3",
    "PI()*1e300",
    "1.7976931348623157e308",
    "5e-324",
    "2.2250738585072014e-308",
    "-123456789.123456789e0",
    "0.1e0 + 0.2e0",
    "1e15",
    "1e14 + 0.5e0",
    "0e0 + NULL",
    "''",
    "'it''s \\\\ \"quoted\"'",
    "_utf8mb4 X'F09F9880' COLLATE utf8mb4_bin",
    "_latin1 X'E4' COLLATE latin1_german2_ci",
    "_ucs2 X'00E4'",
    "_utf16 X'D83DDE00'",
    "CONVERT('a' USING ascii)",
    "CONVERT(NULL USING latin1) COLLATE latin1_bin",
    "_binary 'a\\0b'",
    "X''",
    "X'4142FF'",
    "b'101'",
    "CAST(NULL AS BINARY)",
    "REPEAT('ä', 8000)",
    "CAST('2024-02-29 12:00:00' AS DATETIME)",
    "CAST('12:34:56.789' AS TIME(3))",
    "DATE'2024-02-29'",
    "YEAR('2024-02-29')",
    "JSON_OBJECT('a', 1)",
    "UUID()",
    "NOW()",
];

const ASK: &str = "SELECT @v, HEX(@v), COLLATION(@v), COERCIBILITY(@v), @v + 0, CONCAT(@v, '')";

fn own() -> OptsBuilder {
    server().tcp().isolation(Isolation::Session)
}

fn two(mux: &Mux) -> (Handle, Handle) {
    (mux.connect(own()).unwrap(), mux.connect(own()).unwrap())
}

fn one_link() -> Mux {
    builder().max_links(1).build()
}

fn reason(handle: &Handle) -> Option<PinReason> {
    handle.pin().map(|pin| pin.reason())
}

/// What a variable is, to the last bit: its values and the columns that show it.
fn shown(handle: &mut Handle) -> String {
    let mut result = handle.query_iter(ASK).unwrap();
    let columns: Vec<_> = result.columns().as_ref().iter().map(column).collect();
    let rows: Vec<Row> = result.by_ref().map(Result::unwrap).collect();
    format!("{columns:?} {rows:?}")
}

fn column(column: &mysql_mux::Column) -> String {
    format!(
        "{:?} {} {} {} {:?}",
        column.column_type(),
        column.character_set(),
        column.column_length(),
        column.decimals(),
        column.flags()
    )
}

#[test]
fn each_value_comes_back_as_it_was() {
    let mux = one_link();
    let (mut a, mut b) = two(&mux);
    for value in VALUES {
        a.query_drop(format!("SET @v = {value}")).unwrap();
        assert_eq!(a.pin(), None, "{value}");
        let before = shown(&mut a);
        // Another's makes the link begin anew.
        b.query_drop("SET @v = 'another'").unwrap();
        assert_eq!(one::<String>(&mut b, "SELECT @v"), "another");
        assert_eq!(shown(&mut a), before, "{value}");
    }
    assert!(mux.stats().total.resets > 0);
}

#[test]
fn and_is_what_a_connection_of_its_own_shows() {
    let mux = one_link();
    let (mut a, mut b) = two(&mux);
    let own_mux = one_link();
    let mut alone = own_mux.connect(own()).unwrap();
    let mut alone = alone.lease().unwrap();
    for value in VALUES.iter().filter(|v| !["UUID()", "NOW()"].contains(v)) {
        for handle in [&mut a, &mut *alone] {
            handle.reset().unwrap();
            handle.query_drop(format!("SET @v = {value}")).unwrap();
        }
        b.query_drop("SET @v = 'another'").unwrap();
        assert_eq!(shown(&mut a), shown(&mut alone), "{value}");
    }
    // One that was never set is none.
    a.reset().unwrap();
    alone.reset().unwrap();
    b.query_drop("SET @v = 'another'").unwrap();
    assert_eq!(shown(&mut a), shown(&mut alone));
}

#[test]
fn many_handles_have_each_their_own() {
    let mux = builder().max_links(2).build();
    let mut handles: Vec<_> = (0..8).map(|_| mux.connect(own()).unwrap()).collect();
    for round in 0..3 {
        for (i, handle) in handles.iter_mut().enumerate() {
            handle
                .query_drop(format!("SET @who = {i}, @sum = COALESCE(@sum, 0) + {i}"))
                .unwrap();
            let expected = (i as u64, (i * (round + 1)) as u64);
            let got: Option<(u64, u64)> = handle.query_first("SELECT @who, @sum").unwrap();
            assert_eq!(got, Some(expected));
        }
    }
    for (i, handle) in handles.iter_mut().enumerate() {
        let got: Option<(u64, u64)> = handle.query_first("SELECT @WHO, @`sum`").unwrap();
        assert_eq!(got, Some((i as u64, 3 * i as u64)));
        assert_eq!(handle.pin(), None);
    }
}

#[test]
fn expressions_and_into_set_them_too() {
    let mux = one_link();
    let (mut a, mut b) = two(&mux);
    a.query_drop("SELECT @x := 1, @y := @x + 1").unwrap();
    a.query_drop("SELECT 3, 4 INTO @z, @`a.b`").unwrap();
    b.query_drop("SET @x = 9, @y = 9, @z = 9").unwrap();
    let got: Option<(u64, u64, u64, u64)> = a.query_first("SELECT @x, @y, @z, @a.b").unwrap();
    assert_eq!(got, Some((1, 2, 3, 4)));
    // What failed half way has set what it has set.
    let own_mux = one_link();
    let mut alone = own_mux.connect(own()).unwrap();
    let mut alone = alone.lease().unwrap();
    alone.query_drop("SET @x = 1").unwrap();
    for handle in [&mut a, &mut *alone] {
        for sql in [
            "SET @x = 5, @y = (SELECT 1 UNION SELECT 2)",
            "SELECT @x := @x + 1 FROM (SELECT 1 UNION SELECT 2) t WHERE 1 = (SELECT 1 UNION SELECT 2)",
        ] {
            handle.query_drop(sql).unwrap_err();
        }
    }
    b.query_drop("SET @x = 9").unwrap();
    assert_eq!(
        one::<u64>(&mut a, "SELECT @x"),
        one::<u64>(&mut *alone, "SELECT @x")
    );
}

#[test]
fn a_transaction_keeps_its_link_and_they_move_afterwards() {
    let mux = one_link();
    let (mut a, mut b) = two(&mux);
    a.query_drop("SET @x = 1").unwrap();
    b.query_drop("SET @x = 2").unwrap();
    a.query_drop("BEGIN").unwrap();
    assert_eq!(one::<u64>(&mut a, "SELECT @x"), 1);
    a.query_drop("SET @x = 3, @t = 'in it'").unwrap();
    assert_eq!(reason(&a), Some(PinReason::Transaction));
    a.query_drop("ROLLBACK").unwrap();
    assert_eq!(a.pin(), None);
    assert_eq!(one::<u64>(&mut b, "SELECT @x"), 2);
    assert_eq!(one::<Option<u64>>(&mut b, "SELECT @t"), None);
    let got: Option<(u64, String)> = a.query_first("SELECT @x, @t").unwrap();
    assert_eq!(got, Some((3, "in it".into())));
}

#[test]
fn an_unknown_statement_finds_all_of_them_and_no_others() {
    let mux = one_link();
    let (mut a, mut b) = two(&mux);
    let name = "mux_test.user_variables_told";
    let mut root = server().root();
    root.query_drop(format!("DROP FUNCTION IF EXISTS {name}"))
        .unwrap();
    root.query_drop(format!(
        "CREATE FUNCTION {name}() RETURNS TEXT NO SQL RETURN CONCAT_WS(',', @x, @y)"
    ))
    .unwrap();
    a.query_drop("SET @x = 'a'").unwrap();
    b.query_drop("SET @y = 'b'").unwrap();
    assert_eq!(one::<String>(&mut a, &format!("SELECT {name}()")), "a");
    assert_eq!(reason(&a), Some(PinReason::Unknown));
    a.reset().unwrap();
    assert_eq!(one::<String>(&mut b, &format!("SELECT {name}()")), "b");
    b.reset().unwrap();
    assert_eq!(one::<String>(&mut a, &format!("SELECT {name}()")), "");
}

#[test]
fn a_trigger_finds_those_of_its_handle() {
    let mut root = server().root();
    let table = "mux_test.user_variables_audited";
    for sql in [
        format!("DROP TABLE IF EXISTS {table}"),
        format!("CREATE TABLE {table} (v INT, who VARCHAR(20))"),
        format!(
            "CREATE TRIGGER {table}_who BEFORE INSERT ON {table} FOR EACH ROW SET NEW.who = @who"
        ),
    ] {
        root.query_drop(sql).unwrap();
    }
    let mux = one_link();
    let mut handles: Vec<_> = (0..3).map(|_| mux.connect(own()).unwrap()).collect();
    handles[0].query_drop("SET @who = 'one'").unwrap();
    handles[1].query_drop("SET @who = 'two'").unwrap();
    for round in 0..3 {
        for handle in &mut handles {
            let sql = format!("INSERT INTO {table} (v) VALUES ({round})");
            handle.query_drop(sql).unwrap();
        }
    }
    let ask = format!("SELECT GROUP_CONCAT(COALESCE(who, 'none') ORDER BY who) FROM {table}");
    assert_eq!(
        one::<String>(&mut root, &ask),
        "none,none,none,one,one,one,two,two,two"
    );
}

#[test]
fn what_cannot_be_moved_stays() {
    let mux = builder().max_links(2).build();
    let mut a = mux.connect(own()).unwrap();
    a.query_drop("SET @large = REPEAT('x', 100000)").unwrap();
    let pin = a.pin().unwrap();
    assert_eq!(
        (pin.reason(), pin.name()),
        (PinReason::UserVariable, Some("large"))
    );
    assert_eq!(one::<u64>(&mut a, "SELECT LENGTH(@large)"), 100_000);
    a.reset().unwrap();
    a.query_drop("SET @`an odd name` = 1").unwrap();
    assert_eq!(reason(&a), Some(PinReason::UserVariable));
    a.reset().unwrap();
    // MySQL keeps the types of when it was prepared.
    a.query_drop("SET @typed = 1").unwrap();
    assert_eq!(a.pin(), None);
    let statement = a.prep("SELECT @typed + 1").unwrap();
    assert_eq!(reason(&a), Some(PinReason::UserVariable));
    let got: Option<u64> = a.exec_first(&statement, ()).unwrap();
    assert_eq!(got, Some(2));
}

#[test]
fn statements_over_them_are_typed_as_when_the_handle_prepared_them() {
    const SQL: &str = "SELECT @typed + 1";
    let mux = one_link();
    let (mut a, mut b) = two(&mux);
    let first: Option<Option<String>> = a.exec_first(SQL, ()).unwrap();
    assert_eq!(first, Some(None));
    a.reset().unwrap();
    b.query_drop("SET @typed = 1.5").unwrap();
    let got: Option<String> = b.exec_first(SQL, ()).unwrap();
    assert!(got.is_some_and(|sum| sum.starts_with("2.50")));
}

#[test]
fn so_are_calls_that_they_are_handed_to() {
    let mux = one_link();
    let mut a = mux.connect(own()).unwrap();
    a.query_drop("DROP PROCEDURE IF EXISTS typed_out").unwrap();
    a.query_drop("CREATE PROCEDURE typed_out(INOUT x INT) SET x = x + 1")
        .unwrap();
    const SQL: &str = "CALL typed_out(@typed)";
    a.query_drop("SET @typed = 1").unwrap();
    a.exec_drop(SQL, ()).unwrap();
    assert_eq!(one::<u32>(&mut a, "SELECT @typed"), 2);
    a.query_drop("SET @typed = 'no number'").unwrap();
    let e = a.exec_drop(SQL, ()).unwrap_err();
    assert_eq!(e.code(), Some(1366), "{e}");
}

#[test]
fn a_lost_link_takes_none_that_was_read_back() {
    let mux = one_link();
    let mut a = mux.connect(own()).unwrap();
    a.query_drop("SET @x = 'here'").unwrap();
    let id = a.connection_id();
    server().root().query_drop(format!("KILL {id}")).unwrap();
    assert_eq!(one::<String>(&mut a, "SELECT @x"), "here");
    // In a transaction only the server has it.
    a.query_drop("BEGIN").unwrap();
    a.query_drop("SET @x = 'there'").unwrap();
    let id = a.connection_id();
    server().root().query_drop(format!("KILL {id}")).unwrap();
    let e = a.query_drop("SELECT @x").unwrap_err();
    assert!(
        matches!(&e, Error::SessionLost { .. } | Error::ConnectionLost(_)),
        "{e}"
    );
    assert_eq!(one::<Option<String>>(&mut a, "SELECT @x"), None);
}

#[test]
fn one_that_could_not_be_read_back_is_missed() {
    const SET: &str = "SELECT @five := 5";
    let relay = Relay::new();
    let mux = one_link();
    let mut handle = mux.connect(relay.tcp(own())).unwrap();
    handle.query_drop("DO 1").unwrap();
    // The statement arrives, and what is asked behind it doesn't.
    relay.cut_after(Way::Up, SET.len() as u64 + 5 + 3);
    let five: Option<u8> = handle.query_first(SET).unwrap();
    assert_eq!(five, Some(5));
    relay.heal();
    let e = handle.query_drop("SELECT @five").unwrap_err();
    assert!(matches!(e, Error::SessionLost { .. }), "{e}");
    assert_eq!(one::<Option<u8>>(&mut handle, "SELECT @five"), None);
}

#[test]
fn nothing_is_sent_where_nobody_else_was() {
    let mux = one_link();
    let mut a = mux.connect(own()).unwrap();
    a.query_drop("SET @x = 1").unwrap();
    let before = mux.stats().total.writes;
    for _ in 0..5 {
        assert_eq!(one::<u64>(&mut a, "SELECT @x"), 1);
    }
    assert_eq!(mux.stats().total.writes, before + 5);
}

#[test]
fn so_is_one_that_a_trigger_read() {
    let mut root = server().root();
    let table = "mux_test.user_variables_triggered";
    for sql in [
        format!("DROP TABLE IF EXISTS {table}"),
        format!("CREATE TABLE {table} (v INT)"),
        format!(
            "CREATE TRIGGER {table}_read BEFORE INSERT ON {table} FOR EACH ROW SET NEW.v = @not_set"
        ),
    ] {
        root.query_drop(sql).unwrap();
    }
    let mux = one_link();
    let (mut a, mut b) = two(&mux);
    let ask = "SELECT CHARSET(@not_set)";
    a.query_drop(format!("INSERT INTO {table} VALUES (1)"))
        .unwrap();
    assert_eq!(one::<String>(&mut b, ask), "binary");
    // MySQL gives it a character set, MariaDB none.
    let charset = match server().kind {
        Kind::MariaDb => "binary",
        Kind::MySql => "utf8mb4",
    };
    assert_eq!(one::<String>(&mut a, ask), charset);
    assert_eq!(one::<String>(&mut b, ask), "binary");
}

#[test]
fn one_that_was_only_read_is_null_and_pins_nothing() {
    let mut root = server().root();
    let table = "mux_test.user_variables_read";
    for sql in [
        format!("DROP TABLE IF EXISTS {table}"),
        format!("CREATE TABLE {table} (v INT)"),
    ] {
        root.query_drop(sql).unwrap();
    }
    let mux = one_link();
    let (mut a, mut b) = two(&mux);
    b.query_drop("SET @never_set = 7").unwrap();
    a.query_drop(format!("INSERT INTO {table} VALUES (@never_set)"))
        .unwrap();
    assert_eq!(a.pin(), None);
    assert_eq!(one::<u32>(&mut b, "SELECT @never_set"), 7);
    assert_eq!(one::<Option<u32>>(&mut a, "SELECT @never_set"), None);
    assert_eq!(
        one::<Option<u32>>(&mut a, &format!("SELECT v FROM {table}")),
        None
    );
}
