//! Prepared statements: binary values both ways, and statements that outlive their links.

mod support;

use std::time::Duration;

use mysql_mux::{Params, Pipelining, Row, Value, error::DriverError, params};
use support::*;

fn connect() -> Handle {
    mux().connect(server().tcp()).unwrap()
}

#[test]
fn every_type_goes_and_comes_as_binary() {
    let schema = Schema::new("bintypes");
    let mut handle = mux().connect(schema.tcp()).unwrap();
    handle
        .query_drop(
            "CREATE TABLE t (
                tiny TINYINT, utiny TINYINT UNSIGNED, small SMALLINT, medium MEDIUMINT, i INT,
                big BIGINT, ubig BIGINT UNSIGNED, f FLOAT, d DOUBLE, dec_ DECIMAL(30,10),
                yr YEAR, da DATE, ti TIME(6), dt DATETIME(6),
                vc VARCHAR(20), vb VARBINARY(20), te TEXT, bl BLOB, en ENUM('a','b'), js JSON, nu INT
            )",
        )
        .unwrap();
    let values = vec![
        Value::Int(-128),
        Value::Int(255),
        Value::Int(-32768),
        Value::Int(-8_388_608),
        Value::Int(i32::MIN.into()),
        Value::Int(i64::MIN),
        Value::UInt(u64::MAX),
        Value::Float(1.5),
        Value::Double(-2.25e100),
        Value::from("12345678901234567890.0123456789"),
        Value::Int(2026),
        Value::Date(2026, 11, 21, 0, 0, 0, 0),
        Value::Time(true, 34, 22, 59, 59, 0),
        Value::Date(2026, 11, 21, 1, 2, 3, 4),
        Value::from("zwölf"),
        Value::from(vec![0_u8, 255]),
        Value::from("text"),
        Value::from(vec![0xDE_u8, 0xAD]),
        Value::from("b"),
        Value::from("{\"a\": 1}"),
        Value::NULL,
    ];
    let marks = vec!["?"; values.len()].join(",");
    handle
        .exec_drop(format!("INSERT INTO t VALUES ({marks})"), values.clone())
        .unwrap();
    assert_eq!(handle.affected_rows(), 1);
    let row: Row = handle.exec_first("SELECT * FROM t", ()).unwrap().unwrap();
    let get = |name: &str| row.get::<Value, _>(name).unwrap();
    assert_eq!(get("tiny"), Value::Int(-128));
    assert_eq!(row.get::<u8, _>("utiny"), Some(255));
    assert_eq!(get("small"), Value::Int(-32768));
    assert_eq!(get("medium"), Value::Int(-8_388_608));
    assert_eq!(get("i"), Value::Int(i32::MIN.into()));
    assert_eq!(get("big"), Value::Int(i64::MIN));
    assert_eq!(get("ubig"), Value::UInt(u64::MAX));
    assert_eq!(get("f"), Value::Float(1.5));
    assert_eq!(get("d"), Value::Double(-2.25e100));
    assert_eq!(
        row.get::<String, _>("dec_").unwrap(),
        "12345678901234567890.0123456789"
    );
    assert_eq!(row.get::<u16, _>("yr"), Some(2026));
    assert_eq!(get("da"), Value::Date(2026, 11, 21, 0, 0, 0, 0));
    assert_eq!(get("ti"), Value::Time(true, 34, 22, 59, 59, 0));
    assert_eq!(get("dt"), Value::Date(2026, 11, 21, 1, 2, 3, 4));
    assert_eq!(row.get::<String, _>("vc").unwrap(), "zwölf");
    assert_eq!(get("vb"), Value::Bytes(vec![0, 255]));
    assert_eq!(row.get::<String, _>("te").unwrap(), "text");
    assert_eq!(get("bl"), Value::Bytes(vec![0xDE, 0xAD]));
    assert_eq!(row.get::<String, _>("en").unwrap(), "b");
    assert_eq!(row.get::<String, _>("js").unwrap(), "{\"a\": 1}");
    assert_eq!(get("nu"), Value::NULL);
}

#[test]
fn many_nulls_among_many_columns_keep_their_places() {
    let mut handle = connect();
    for count in [1, 6, 7, 8, 9, 14, 15, 16, 100] {
        let values: Vec<_> = (0..count).map(|i| (i % 3 != 0).then_some(i)).collect();
        let literal = |value: &Option<i32>| value.map_or("NULL".to_owned(), |i| i.to_string());
        let literals: Vec<String> = values.iter().map(literal).collect();
        let marks = vec!["?"; count as usize];
        let params = values.iter().map(|&value| value.into()).collect();
        for (list, params) in [
            (literals.join(","), Params::Empty),
            (marks.join(","), Params::Positional(params)),
        ] {
            let sql = format!("SELECT {list}");
            let row: Row = handle.exec_first(&sql, params).unwrap().unwrap();
            for (i, wanted) in values.iter().enumerate() {
                let got: Option<i32> = row.get(i).unwrap();
                assert_eq!(got, *wanted, "column {i} of {sql}");
            }
        }
    }
}

#[test]
fn the_whole_exec_family_agrees() {
    let mut handle = connect();
    let sql = "SELECT ? UNION ALL SELECT ? UNION ALL SELECT ?";
    let p = (1, 2, 3);
    assert_eq!(handle.exec::<i64, _, _>(sql, p).unwrap(), [1, 2, 3]);
    assert_eq!(handle.exec_first::<i64, _, _>(sql, p).unwrap(), Some(1));
    assert_eq!(
        handle.exec_map(sql, p, |n: i64| n * 10).unwrap(),
        [10, 20, 30]
    );
    assert_eq!(
        handle.exec_fold(sql, p, 0, |sum, n: i64| sum + n).unwrap(),
        6
    );
    handle.exec_drop(sql, p).unwrap();
    assert_eq!(handle.exec_iter(sql, p).unwrap().count(), 3);
    let statement = handle.prep(sql).unwrap();
    assert_eq!(statement.num_params(), 3);
    assert_eq!(statement.num_columns(), 1);
    assert_eq!(handle.exec::<i64, _, _>(&statement, p).unwrap(), [1, 2, 3]);
    assert_eq!(
        handle.exec::<i64, _, _>(statement.clone(), p).unwrap(),
        [1, 2, 3]
    );
    handle.close(statement).unwrap();
}

#[test]
fn parameters_have_names_if_wanted() {
    let mut handle = connect();
    let row: Option<(i32, i32, i32)> = handle
        .exec_first("SELECT :a, :b, :a", params! { "a" => 1, "b" => 2 })
        .unwrap();
    assert_eq!(row, Some((1, 2, 1)));
    // What looks like a name inside a string or a comment is none.
    let row: Option<(String, i32)> = handle
        .exec_first("SELECT ':no', :yes /* :nor_this */", params! { "yes" => 3 })
        .unwrap();
    assert_eq!(row, Some((":no".to_owned(), 3)));
}

#[test]
fn parameters_that_do_not_fit_are_errors_and_nothing_is_sent() {
    let mux = mux();
    let mut handle = mux.connect(server().tcp()).unwrap();
    let statement = handle.prep("SELECT ?, ?").unwrap();
    let named = handle.prep("SELECT :a").unwrap();
    let before = mux.stats().total.statements;
    let e = error_of(handle.exec_drop(&statement, (1,)));
    assert!(
        matches!(
            e,
            Error::DriverError(DriverError::MismatchedStmtParams {
                required: 2,
                supplied: 1
            })
        ),
        "{e}"
    );
    let e = error_of(handle.exec_drop(&statement, (1, 2, 3)));
    assert!(
        matches!(
            e,
            Error::DriverError(DriverError::MismatchedStmtParams {
                required: 2,
                supplied: 3
            })
        ),
        "{e}"
    );
    let e = error_of(handle.exec_drop(&statement, params! { "a" => 1 }));
    assert!(
        matches!(
            e,
            Error::DriverError(DriverError::NamedParamsForPositionalQuery)
        ),
        "{e}"
    );
    let e = error_of(handle.exec_drop(&named, params! { "b" => 1 }));
    assert!(
        matches!(&e, Error::DriverError(DriverError::MissingNamedParameter(name)) if name == "a"),
        "{e}"
    );
    let e = error_of(handle.prep("SELECT :a, ?"));
    assert!(
        matches!(e, Error::DriverError(DriverError::MixedParams)),
        "{e}"
    );
    assert_eq!(mux.stats().total.statements, before);
    assert_eq!(
        handle
            .exec_first::<i32, _, _>(&named, params! { "a" => 5 })
            .unwrap(),
        Some(5)
    );
}

#[test]
fn a_statement_that_does_not_parse_is_the_servers_error() {
    let mut handle = connect();
    let e = error_of(handle.prep("SELEKT ?"));
    assert_eq!(e.code(), Some(1064), "{e}");
    assert_eq!(
        handle.exec_first::<i32, _, _>("SELECT ?", (3,)).unwrap(),
        Some(3)
    );
}

#[test]
fn a_statement_outlives_the_link_it_was_made_on() {
    let user = User::new("outlive");
    let mut root = server().root();
    let mut handle = mux().connect(user.tcp()).unwrap();
    let statement = handle.prep("SELECT ? + 1").unwrap();
    assert_eq!(handle.exec_first(&statement, (1,)).unwrap(), Some(2));
    let id: u32 = one(&mut handle, "SELECT CONNECTION_ID()");
    server().kill(&mut root, id);
    assert_eq!(handle.exec_first(&statement, (2,)).unwrap(), Some(3));
    assert_ne!(one::<u32>(&mut handle, "SELECT CONNECTION_ID()"), id);
}

#[test]
fn a_statement_survives_resets_of_the_link_by_other_handles() {
    let mux = builder().max_links(1).build();
    let mut a = mux.connect(server().tcp()).unwrap();
    let mut b = mux.connect(server().tcp()).unwrap();
    let statement = a.prep("SELECT ? * 2").unwrap();
    for i in 0..5_i64 {
        assert_eq!(a.exec_first(&statement, (i,)).unwrap(), Some(i * 2));
        assert_eq!(b.exec_first("SELECT ? * 3", (i,)).unwrap(), Some(i * 3));
    }
}

#[test]
fn a_statement_means_the_schema_that_it_was_made_in() {
    let (first, second) = (Schema::new("stmtin1"), Schema::new("stmtin2"));
    let mux = builder().max_links(1).build();
    let mut a = mux.connect(first.tcp()).unwrap();
    let mut b = mux.connect(second.tcp()).unwrap();
    for (handle, n) in [(&mut a, 1), (&mut b, 2)] {
        handle.query_drop("CREATE TABLE t (n INT)").unwrap();
        handle
            .query_drop(format!("INSERT INTO t VALUES ({n})"))
            .unwrap();
    }
    // The same text in two schemas is two statements.
    let statement = a.prep("SELECT n FROM t").unwrap();
    for _ in 0..2 {
        assert_eq!(a.exec_first(&statement, ()).unwrap(), Some(1));
        assert_eq!(b.exec_first("SELECT n FROM t", ()).unwrap(), Some(2));
    }
    // As on a connection of one's own, a schema chosen later does not change what was prepared.
    a.select_db(&second.name).unwrap();
    assert_eq!(a.exec_first(&statement, ()).unwrap(), Some(1));
    assert_eq!(one::<String>(&mut a, "SELECT DATABASE()"), second.name);
    drop(b);
    let mut c = mux.connect(second.tcp()).unwrap();
    c.query_drop("DO 1").unwrap();
    // Nor when it is prepared again because the link was reset meanwhile.
    assert_eq!(a.exec_first(&statement, ()).unwrap(), Some(1));
    assert_eq!(one::<String>(&mut a, "SELECT DATABASE()"), second.name);
}

#[test]
fn a_statement_of_one_handle_runs_on_another() {
    let mux = mux();
    let mut a = mux.connect(server().tcp()).unwrap();
    let mut b = mux.connect(server().tcp()).unwrap();
    let statement = a.prep("SELECT ?, ?").unwrap();
    assert_eq!(b.exec_first(&statement, (1, 2)).unwrap(), Some((1, 2)));
}

/// Statements that the server holds prepared, all connections together.
fn prepared(root: &mut Handle, id: u32) -> u64 {
    match server().kind {
        Kind::MySql => one(
            root,
            &format!(
                "SELECT COUNT(*) FROM performance_schema.prepared_statements_instances p \
                 JOIN performance_schema.threads t ON t.THREAD_ID = p.OWNER_THREAD_ID \
                 WHERE t.PROCESSLIST_ID = {id}"
            ),
        ),
        // There the count is of the whole server only.
        Kind::MariaDb => {
            let (_, count): (String, u64) = root
                .query_first("SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'")
                .unwrap()
                .unwrap();
            count
        }
    }
}

#[test]
fn the_cache_of_statements_keeps_its_size_on_the_server() {
    let mut root = server().root();
    let mux = builder().max_links(1).build();
    let mut handle = mux.connect(server().tcp().stmt_cache_size(2)).unwrap();
    let id: u32 = one(&mut handle, "SELECT CONNECTION_ID()");
    let before = prepared(&mut root, id);
    for i in 0..50 {
        assert_eq!(
            handle.exec_first(format!("SELECT {i} + ?"), (1,)).unwrap(),
            Some(i + 1)
        );
    }
    // The closes travel with the next command.
    handle.query_drop("DO 1").unwrap();
    if server().kind == Kind::MySql {
        assert!(prepared(&mut root, id) <= before + 2);
    } else {
        // Other tests prepare at the same time, never as many as this one did.
        eventually("old statements are closed", || {
            handle.query_drop("DO 1").unwrap();
            prepared(&mut root, id) < before + 40
        });
    }
    assert_eq!(mux.stats().total.prepares, 50);
    // Those that are still there need no preparing; the first one does.
    handle.exec_drop("SELECT 49 + ?", (1,)).unwrap();
    handle.exec_drop("SELECT 48 + ?", (1,)).unwrap();
    assert_eq!(mux.stats().total.prepares, 50);
    handle.exec_drop("SELECT 0 + ?", (1,)).unwrap();
    assert_eq!(mux.stats().total.prepares, 51);
}

#[test]
fn the_same_text_is_prepared_once() {
    let mux = mux();
    let mut handle = mux.connect(server().tcp()).unwrap();
    for i in 0..20_i64 {
        assert_eq!(handle.exec_first("SELECT ?", (i,)).unwrap(), Some(i));
    }
    assert_eq!(mux.stats().total.prepares, 1);
}

#[test]
fn a_batch_runs_once_for_each_of_its_parameters() {
    let schema = Schema::new("batch");
    let mut handle = mux().connect(schema.tcp()).unwrap();
    handle
        .query_drop("CREATE TABLE t (a INT PRIMARY KEY, b VARCHAR(20))")
        .unwrap();
    let rows = (0..500).map(|i| (i, (i % 3 != 0).then(|| format!("row {i}"))));
    handle
        .exec_batch("INSERT INTO t VALUES (?, ?)", rows)
        .unwrap();
    assert_eq!(one::<u64>(&mut handle, "SELECT COUNT(*) FROM t"), 500);
    assert_eq!(
        one::<u64>(&mut handle, "SELECT COUNT(*) FROM t WHERE b IS NULL"),
        167
    );

    let named = (500..510).map(|i| params! { "a" => i, "b" => "named" });
    handle
        .exec_batch("INSERT INTO t (b, a) VALUES (:b, :a)", named)
        .unwrap();
    assert_eq!(
        one::<u64>(&mut handle, "SELECT COUNT(*) FROM t WHERE b = 'named'"),
        10
    );

    handle
        .exec_batch("INSERT INTO t VALUES (?, ?)", Vec::<(i32, i32)>::new())
        .unwrap();
    let e = error_of(handle.exec_batch("INSERT INTO t VALUES (?, ?)", [(1000, "new"), (1, "old")]));
    assert_eq!(e.code(), Some(1062), "{e}");
    assert_eq!(one::<i32>(&mut handle, "SELECT 1"), 1);
}

#[test]
fn a_procedure_called_prepared_gives_all_its_sets() {
    let schema = Schema::new("execproc");
    let mut handle = mux().connect(schema.tcp()).unwrap();
    handle
        .query_drop("CREATE PROCEDURE p(a INT) BEGIN SELECT a; SELECT a + 1; END")
        .unwrap();
    let mut result = handle.exec_iter("CALL p(?)", (7,)).unwrap();
    let first: Vec<i32> = result
        .iter()
        .unwrap()
        .map(|row| mysql_mux::from_row(row.unwrap()))
        .collect();
    let second: Vec<i32> = result
        .iter()
        .unwrap()
        .map(|row| mysql_mux::from_row(row.unwrap()))
        .collect();
    assert_eq!((first, second), (vec![7], vec![8]));
    drop(result);
    assert_eq!(handle.exec_first("SELECT ?", (1,)).unwrap(), Some(1));
}

#[test]
fn a_parameter_over_sixteen_megabytes_goes_and_comes_whole() {
    let mut root = server().root();
    let now: u64 = one(&mut root, "SELECT @@GLOBAL.max_allowed_packet");
    if now < 64 << 20 {
        root.query_drop(format!("SET GLOBAL max_allowed_packet = {}", 64 << 20))
            .unwrap();
    }
    let mut handle = connect();
    let bytes = noise(18_000_000);
    let row: Option<(usize, Vec<u8>, i32)> = handle
        .exec_first("SELECT LENGTH(?), ?, ?", (&bytes, &bytes, 5))
        .unwrap();
    let (len, back, five) = row.unwrap();
    assert_eq!((len, five), (bytes.len(), 5));
    assert!(back == bytes, "it came back changed");
    // The statement's parameters of the last time are forgotten.
    let row: Option<(usize, Vec<u8>, i32)> = handle
        .exec_first("SELECT LENGTH(?), ?, ?", ("ab", "c", 6))
        .unwrap();
    assert_eq!(row, Some((2, b"c".to_vec(), 6)));
}

#[test]
fn a_table_that_changes_under_a_statement_gives_its_new_columns() {
    let schema = Schema::new("altered");
    let mut handle = mux().connect(schema.tcp()).unwrap();
    handle.query_drop("CREATE TABLE t (a INT)").unwrap();
    handle.query_drop("INSERT INTO t VALUES (1)").unwrap();
    let statement = handle.prep("SELECT * FROM t").unwrap();
    let row: Row = handle.exec_first(&statement, ()).unwrap().unwrap();
    assert_eq!(row.len(), 1);
    handle
        .query_drop("ALTER TABLE t ADD b VARCHAR(9) DEFAULT 'new'")
        .unwrap();
    let row: Row = handle.exec_first(&statement, ()).unwrap().unwrap();
    assert_eq!(row.len(), 2);
    assert_eq!(row.get::<String, _>("b").unwrap(), "new");
}

#[test]
fn times_convert_to_durations() {
    let mut handle = connect();
    let time: Option<Duration> = handle
        .exec_first(
            "SELECT CAST(? AS TIME(6))",
            (Duration::from_millis(3_723_500),),
        )
        .unwrap();
    assert_eq!(time, Some(Duration::from_millis(3_723_500)));
}

#[cfg(feature = "derive")]
mod derived {
    use super::*;
    use mysql_mux::prelude::FromRow;

    #[derive(Debug, PartialEq, FromRow)]
    struct Payment {
        customer_id: i32,
        amount: i32,
        account_name: Option<String>,
    }

    #[test]
    fn rows_become_structs() {
        let mut handle = connect();
        let sql = "SELECT ? AS customer_id, 2 AS amount, NULL AS account_name";
        let payment: Option<Payment> = handle.exec_first(sql, (1,)).unwrap();
        assert_eq!(
            payment,
            Some(Payment {
                customer_id: 1,
                amount: 2,
                account_name: None
            })
        );
    }
}

#[test]
fn a_text_that_is_prepared_already_waits_for_nobody() {
    const SQL: &str = "SELECT ? + 1";
    let schema = Schema::new("noplace");
    let mut root = server().root();
    root.query_drop(format!("CREATE TABLE {}.t (a INT)", schema.name))
        .unwrap();
    let mux = builder().max_links(1).build();
    // One statement at a time: whoever runs one has the only place.
    let opts = schema.tcp().pipelining(Pipelining::Off);
    let [mut first, mut second] = [(); 2].map(|()| mux.connect(opts.clone()).unwrap());
    first.query_drop("SELECT a FROM t").unwrap();
    second.prep(SQL).unwrap();
    root.query_drop(format!("LOCK TABLES {}.t WRITE", schema.name))
        .unwrap();
    let blocked = std::thread::spawn(move || first.query_drop("SELECT a FROM t"));
    eventually("it waits for the table", || {
        let rows: Vec<Row> = root.query("SHOW PROCESSLIST").unwrap();
        let text = |row: &Row, name| row.get::<Option<String>, _>(name).flatten();
        rows.iter().any(|row| {
            text(row, "db").as_deref() == Some(&schema.name)
                && text(row, "State").is_some_and(|state| state.contains("metadata lock"))
        })
    });
    let (mut second, statement) = within(GENEROUS, "a known text", move || {
        let statement = second.prep(SQL).unwrap();
        (second, statement)
    });
    assert!(!blocked.is_finished());
    root.query_drop("UNLOCK TABLES").unwrap();
    let two: Option<u64> = second.exec_first(&statement, (1,)).unwrap();
    assert_eq!(two, Some(2));
    join_one(blocked).unwrap();
    assert_eq!(mux.stats().total.prepares, 1);
}

#[test]
fn what_is_prepared_while_others_take_the_link_is_not_forgotten_at_the_server() {
    const MANY: u64 = 400;
    let mut root = server().root();
    let mux = builder().max_links(1).build();
    let opts = server().tcp().stmt_cache_size(8);
    let mut handle = mux.connect(opts.clone()).unwrap();
    let id: u32 = one(&mut handle, "SELECT CONNECTION_ID()");
    // It is free for all again.
    handle.reset().unwrap();
    let before = prepared(&mut root, id);
    let commit = |other: &mut Handle| {
        other.query_drop("BEGIN").unwrap();
        other.query_drop("COMMIT").unwrap();
    };
    beside(handles(&mux, &opts, 2), commit, || {
        for n in 0..MANY {
            handle.prep(format!("SELECT ? + {n}")).unwrap();
        }
    });
    // The closes travel with the next command. Other tests prepare at the same time, never as many.
    handle.query_drop("DO 1").unwrap();
    eventually("old statements are closed", || {
        prepared(&mut root, id) < before + MANY / 2
    });
}
