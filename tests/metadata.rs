//! Columns of prepared statements' results. MariaDB sends them only when they are others than it
//! sent last: whatever changes them, nobody reads rows by columns of before.

mod support;

use mysql_mux::{Isolation, Params, Row, Value, consts::ColumnType};
use support::*;

/// What a statement's only row is, column by column.
fn seen(handle: &mut Handle, sql: &str, params: impl Into<Params>) -> Vec<(String, Value)> {
    let row: Row = handle.exec_first(sql, params).unwrap().expect("a row");
    let names = row.columns_ref().iter().map(|c| c.name_str().into_owned());
    let names: Vec<_> = names.collect();
    names.into_iter().zip(row.unwrap()).collect()
}

fn columns<const N: usize>(all: [(&str, Value); N]) -> Vec<(String, Value)> {
    all.map(|(name, value)| (name.to_owned(), value)).into()
}

#[test]
fn columns_that_are_known_are_not_sent_again() {
    let mux = builder().build();
    let mut handle = mux.connect(server().tcp()).unwrap();
    let name = "n".repeat(60);
    let sql = format!("SELECT 1 AS `{name}`");
    let sent = |handle: &mut Handle| {
        let received = || mux.stats().total.bytes_received;
        let before = received();
        assert_eq!(seen(handle, &sql, ()), columns([(&name, Value::Int(1))]));
        received() - before
    };
    sent(&mut handle);
    let again = sent(&mut handle);
    assert_eq!(
        again < 60,
        server().kind == Kind::MariaDb,
        "{again} bytes; MySQL sends them with each result"
    );
}

#[test]
fn a_table_that_is_altered_has_its_new_columns() {
    let schema = Schema::new("altered");
    let mut handle = mux().connect(schema.tcp()).unwrap();
    let mut other = mux().connect(schema.tcp()).unwrap();
    other.query_drop("CREATE TABLE t (a INT)").unwrap();
    other.query_drop("INSERT INTO t VALUES (7)").unwrap();
    let (int, text) = (Value::Int(7), Value::from("7"));
    for (change, wanted) in [
        ("DO 0", columns([("a", int.clone())])),
        (
            "ALTER TABLE t ADD b BIGINT NOT NULL DEFAULT 8",
            columns([("a", int.clone()), ("b", Value::Int(8))]),
        ),
        (
            "ALTER TABLE t MODIFY a VARCHAR(9)",
            columns([("a", text.clone()), ("b", Value::Int(8))]),
        ),
        (
            "ALTER TABLE t CHANGE b c DOUBLE",
            columns([("a", text.clone()), ("c", Value::Double(8.0))]),
        ),
        ("ALTER TABLE t DROP c", columns([("a", text)])),
        (
            "ALTER TABLE t MODIFY a INT UNSIGNED",
            columns([("a", int.clone())]),
        ),
        (
            "CREATE OR REPLACE VIEW v AS SELECT a FROM t",
            columns([("a", int)]),
        ),
    ] {
        other.query_drop(change).unwrap();
        for _ in 0..3 {
            assert_eq!(seen(&mut handle, "SELECT * FROM t", ()), wanted, "{change}");
        }
    }
    for (view, wanted) in [
        ("SELECT a FROM t", columns([("a", Value::Int(7))])),
        ("SELECT 'x' AS a", columns([("a", Value::from("x"))])),
        ("SELECT 1.5e0 AS b", columns([("b", Value::Double(1.5))])),
    ] {
        let sql = format!("CREATE OR REPLACE VIEW v AS {view}");
        other.query_drop(sql).unwrap();
        for _ in 0..3 {
            assert_eq!(seen(&mut handle, "SELECT * FROM v", ()), wanted, "{view}");
        }
    }
    // One of the session's own hides the other, and shows it again.
    for (change, wanted) in [
        (
            "CREATE TEMPORARY TABLE t SELECT 'mine' AS m",
            columns([("m", Value::from("mine"))]),
        ),
        ("DROP TEMPORARY TABLE t", columns([("a", Value::Int(7))])),
    ] {
        handle.query_drop(change).unwrap();
        for _ in 0..3 {
            assert_eq!(seen(&mut handle, "SELECT * FROM t", ()), wanted, "{change}");
        }
    }
}

#[test]
fn a_parameter_or_a_variable_of_another_type_is_another_column() {
    let mut handle = mux().connect(server().tcp()).unwrap();
    // MySQL keeps the types that a text was prepared with, on a connection of one's own too.
    let is = |all: Vec<(String, Value)>, name: &str, value: &Value| match server().kind {
        Kind::MariaDb => assert_eq!(all, columns([(name, value.clone())])),
        Kind::MySql => assert_eq!(all[0].0, name),
    };
    for value in [
        Value::Int(1),
        Value::from("text"),
        Value::Double(1.5),
        Value::NULL,
        Value::Int(-1),
        Value::from(vec![0_u8, 255]),
        Value::Date(2026, 11, 22, 1, 2, 3, 4),
    ] {
        for _ in 0..2 {
            is(seen(&mut handle, "SELECT ? AS p", (&value,)), "p", &value);
        }
    }
    for (set, value) in [
        ("1", Value::Int(1)),
        ("'one'", Value::from("one")),
        ("1e0", Value::Double(1.0)),
        ("2", Value::Int(2)),
    ] {
        handle.query_drop(format!("SET @v = {set}")).unwrap();
        for _ in 0..2 {
            is(seen(&mut handle, "SELECT @v AS v", ()), "v", &value);
        }
    }
}

#[test]
fn the_character_set_of_results_is_part_of_columns() {
    let mut handle = mux().connect(server().tcp()).unwrap();
    for (names, wanted) in [
        ("utf8mb4", "ä".as_bytes()),
        ("latin1", b"\xe4"),
        ("utf8mb4", "ä".as_bytes()),
    ] {
        handle.query_drop(format!("SET NAMES {names}")).unwrap();
        for _ in 0..3 {
            let sql = "SELECT CONVERT(_utf8mb4 x'C3A4' USING utf8mb4) AS a";
            let row: Row = handle.exec_first(sql, ()).unwrap().unwrap();
            let set = row.columns_ref()[0].character_set();
            assert_eq!(row.get::<Value, _>(0), Some(Value::from(wanted)));
            let latin1 = [8, 47].contains(&set);
            assert_eq!(latin1, names == "latin1", "collation {set} for {names}");
        }
    }
}

#[test]
fn a_procedure_may_have_other_sets_each_time() {
    let schema = Schema::new("metacall");
    let mut handle = mux().connect(schema.tcp()).unwrap();
    handle
        .query_drop(
            "CREATE PROCEDURE p(n INT) BEGIN
                IF n = 1 THEN SELECT 1 AS a; ELSE SELECT 'x' AS b, 2 AS c; SELECT 3.5e0 AS d; END IF;
            END",
        )
        .unwrap();
    for n in [1, 1, 2, 2, 1, 2] {
        let mut result = handle.exec_iter("CALL p(?)", (n,)).unwrap();
        let mut sets = Vec::new();
        while let Some(set) = result.iter() {
            let rows: Vec<Row> = set.collect::<Result<_, _>>().unwrap();
            sets.extend(rows.into_iter().map(Row::unwrap));
        }
        match n {
            1 => assert_eq!(sets, [[Value::Int(1)]]),
            _ => assert_eq!(
                sets,
                [
                    vec![Value::from("x"), Value::Int(2)],
                    vec![Value::Double(3.5)]
                ]
            ),
        }
    }
}

#[test]
fn what_a_write_returns_has_columns_from_its_first_run_on() {
    if server().kind != Kind::MariaDb {
        // MySQL has no RETURNING.
        return;
    }
    let schema = Schema::new("returning");
    let mut handle = mux().connect(schema.tcp()).unwrap();
    let table = "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, name TEXT)";
    handle.query_drop(table).unwrap();
    for id in 1..5 {
        let sql = "INSERT INTO t (name) VALUES (?) RETURNING id, name";
        let wanted = columns([("id", Value::Int(id)), ("name", Value::from("n"))]);
        assert_eq!(seen(&mut handle, sql, ("n",)), wanted);
    }
}

#[test]
fn a_statement_that_failed_has_its_columns_when_it_works() {
    let schema = Schema::new("metafail");
    let mut handle = mux().connect(schema.tcp()).unwrap();
    handle.query_drop("CREATE TABLE t (a INT)").unwrap();
    handle.query_drop("INSERT INTO t VALUES (1), (2)").unwrap();
    // The second row fails, behind columns and a row that were sent.
    let sql = "SELECT IF(a < ?, a, (SELECT a FROM t)) AS i, CONCAT('t', a) AS t FROM t";
    for limit in [1, 2, 3, 2, 3, 0, 3] {
        let rows = handle.exec::<(i64, String), _, _>(sql, (limit,));
        match limit {
            3 => assert_eq!(rows.unwrap(), [(1, "t1".into()), (2, "t2".into())]),
            _ => assert_eq!(error_of(rows).code(), Some(1242)),
        }
    }
}

#[test]
fn statements_that_come_and_go_keep_theirs_apart() {
    let opts = server().tcp().stmt_cache_size(3_usize);
    let mux = builder().max_links(1).build();
    let mut all = handles(&mux, &opts, 3);
    all.push(mux.connect(opts.isolation(Isolation::Reset)).unwrap());
    for random in noise(3 * 600).as_chunks().0 {
        let [who, which, end] = *random;
        let handle = &mut all[usize::from(who % 4)];
        let which = which % 8;
        let (sql, wanted) = match which {
            0..4 => (format!("SELECT {which} AS i"), Value::Int(which.into())),
            _ => (
                format!("SELECT '{which}' AS t"),
                Value::from(which.to_string()),
            ),
        };
        let name = if which < 4 { "i" } else { "t" };
        assert_eq!(seen(handle, &sql, ()), columns([(name, wanted)]));
        match end % 16 {
            0 => handle.reset().unwrap(),
            1 => handle.change_user(Default::default()).unwrap(),
            2 => assert_eq!(one::<u32>(handle, "SELECT 5"), 5),
            _ => {}
        }
    }
}

#[test]
fn text_that_executes_a_prepared_statement_has_columns_each_time() {
    let mut handle = mux().connect(server().tcp()).unwrap();
    handle.query_drop("PREPARE s FROM 'SELECT 1 AS a'").unwrap();
    for _ in 0..3 {
        let row: Row = handle.query_first("EXECUTE s").unwrap().unwrap();
        assert_eq!(row.columns_ref()[0].name_str(), "a");
        assert_eq!(one::<u32>(&mut handle, "EXECUTE s"), 1);
    }
}

#[test]
fn a_column_of_nothing_but_null_keeps_its_type() {
    let mut handle = mux().connect(server().tcp()).unwrap();
    for _ in 0..2 {
        let row: Row = handle.exec_first("SELECT NULL AS n", ()).unwrap().unwrap();
        let kind = row.columns_ref()[0].column_type();
        assert_eq!(kind, ColumnType::MYSQL_TYPE_NULL);
    }
}
