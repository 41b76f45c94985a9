//! Results whose rows come one by one: they are the rows of the plain query, nothing but the piece
//! at hand is held, and whoever leaves one leaves everything in order.

mod support;

use std::{thread, time::Duration};

use futures_lite::StreamExt;
use mysql_mux::{Row, Value, params};
use pollster::block_on;
use support::{relay::Way, *};

/// Few enough bytes to be read to the end, many more rows than are read at once.
const LITTLE: usize = 2_000;

/// More than anybody reads for nothing.
const MUCH: usize = 100_000;

/// A row of each kind of value, and a large one among small ones.
fn kinds(name: &str) -> (Schema, Mux) {
    let schema = Schema::new(name);
    let mux = mux();
    let mut handle = mux.connect(schema.tcp()).unwrap();
    handle
        .query_drop(
            "CREATE TABLE t (id INT PRIMARY KEY, i BIGINT, u BIGINT UNSIGNED, d DOUBLE, \
             m DECIMAL(20,4), s VARCHAR(200), b LONGBLOB, at DATETIME(6), t TIME(3))",
        )
        .unwrap();
    handle
        .query_drop(
            "INSERT INTO t VALUES \
             (1, -1, 18446744073709551615, 0.5, -12.3456, 'ein Wort', X'00ff00', \
              '2001-02-03 04:05:06.789012', '-12:34:56.789'), \
             (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), \
             (3, 0, 0, 0, 0, '', '', '1000-01-01', '00:00:00')",
        )
        .unwrap();
    handle
        .exec_drop("INSERT INTO t (id, b) VALUES (4, ?)", (noise(700_000),))
        .unwrap();
    for id in 5..60 {
        handle
            .exec_drop("INSERT INTO t (id, s) VALUES (?, ?)", (id, "x".repeat(id)))
            .unwrap();
    }
    (schema, mux)
}

fn values(rows: impl IntoIterator<Item = Row>) -> Vec<Vec<Value>> {
    rows.into_iter().map(Row::unwrap).collect()
}

/// One row of each of `n` and `t` of [`numbers`], which say the same.
fn check((n, t): (usize, String)) -> usize {
    assert_eq!(t.trim_end_matches('.'), n.to_string());
    n
}

/// How many there are, each of which is right.
fn check_all(rows: impl Iterator<Item = Result<(usize, String), Error>>) -> usize {
    rows.fold(0, |count, row| {
        check(row.unwrap());
        count + 1
    })
}

#[test]
fn the_rows_of_a_stream_are_those_of_the_plain_query() {
    let (schema, mux) = kinds("streamrows");
    let mut handle = mux.connect(schema.tcp()).unwrap();
    let sql = "SELECT * FROM t ORDER BY id";
    let plain = values(handle.query::<Row, _>(sql).unwrap());
    assert_eq!(plain.len(), 59);
    let streamed: Vec<Row> = handle
        .query_stream(sql)
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(values(streamed), plain);

    let sql = "SELECT * FROM t WHERE id > ? ORDER BY id";
    let plain = values(handle.exec::<Row, _, _>(sql, (1,)).unwrap());
    assert_eq!(plain.len(), 58);
    let streamed: Vec<Row> = handle
        .exec_stream(sql, (1,))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(values(streamed), plain);
}

#[test]
fn the_rows_of_an_async_stream_are_those_of_the_plain_query() {
    let (schema, mux) = kinds("asyncrows");
    let mut blocking = mux.connect(schema.tcp()).unwrap();
    let sql = "SELECT * FROM t ORDER BY id";
    let text = values(blocking.query::<Row, _>(sql).unwrap());
    let prepared = "SELECT * FROM t WHERE id > ? ORDER BY id";
    let binary = values(blocking.exec::<Row, _, _>(prepared, (1,)).unwrap());
    block_on(async {
        let mut handle = mux.connect_async(schema.tcp()).await.unwrap();
        let stream = handle.query_stream::<Row, _>(sql).await.unwrap();
        let rows: Vec<Row> = stream.try_collect().await.unwrap();
        assert_eq!(values(rows), text);
        let stream = handle
            .exec_stream::<Row, _, _>(prepared, (1,))
            .await
            .unwrap();
        let rows: Vec<Row> = stream.try_collect().await.unwrap();
        assert_eq!(values(rows), binary);
    });
}

#[test]
fn a_statement_that_was_prepared_before_is_streamed_with_named_parameters() {
    let mut handle = mux().connect(server().tcp()).unwrap();
    let statement = handle
        .prep("SELECT :a + 0 UNION ALL SELECT :b + 0 UNION ALL SELECT :a + 0")
        .unwrap();
    let rows: Vec<i64> = handle
        .exec_stream(&statement, params! { "a" => 7, "b" => 8 })
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(rows, [7, 8, 7]);
    let e = error_of(handle.exec_stream::<i64, _, _>(&statement, (1,)).map(drop));
    assert!(matches!(e, Error::DriverError(_)), "{e}");
    assert_eq!(one::<u8>(&mut handle, "SELECT 1"), 1);
}

#[test]
fn a_stream_may_be_larger_than_what_a_plain_query_may_hold() {
    const ROWS: usize = 300_000;
    let mut handle = mux()
        .connect(server().tcp().max_result_size(64 << 10))
        .unwrap();
    let sql = numbers(ROWS, 20);
    let e = error_of(handle.query::<Row, _>(&sql));
    assert!(matches!(e, Error::ResultTooLarge { .. }), "{e}");

    let (mut count, mut sum) = (0, 0);
    for row in handle.query_stream(&sql).unwrap() {
        count += 1;
        sum += check(row.unwrap());
    }
    assert_eq!((count, sum), (ROWS, ROWS * (ROWS - 1) / 2));

    let (mut count, mut sum) = (0, 0);
    for row in handle.exec_stream(&sql, ()).unwrap() {
        count += 1;
        sum += check(row.unwrap());
    }
    assert_eq!((count, sum), (ROWS, ROWS * (ROWS - 1) / 2));
    // The limit still holds for what is not streamed.
    let e = error_of(handle.exec::<Row, _, _>(&sql, ()));
    assert!(matches!(e, Error::ResultTooLarge { .. }), "{e}");
    assert_eq!(one::<u8>(&mut handle, "SELECT 1"), 1);
}

#[test]
fn an_async_stream_may_be_larger_than_what_a_plain_query_may_hold() {
    const ROWS: usize = 300_000;
    let mux = mux();
    block_on(async {
        let opts = server().tcp().max_result_size(64 << 10);
        let mut handle = mux.connect_async(opts).await.unwrap();
        let sql = numbers(ROWS, 20);
        let e = error_of(handle.query::<Row, _>(&sql).await);
        assert!(matches!(e, Error::ResultTooLarge { .. }), "{e}");
        let (mut count, mut sum) = (0, 0);
        let mut stream = handle.query_stream(&sql).await.unwrap();
        while let Some(row) = stream.next().await {
            count += 1;
            sum += check(row.unwrap());
        }
        drop(stream);
        assert_eq!((count, sum), (ROWS, ROWS * (ROWS - 1) / 2));
        assert_eq!(one_async::<u8>(&mut handle, "SELECT 1").await, 1);
    });
}

#[test]
fn while_nobody_reads_a_stream_the_server_keeps_its_rows() {
    const WIDTH: usize = 2_000;
    let relay = Relay::new();
    let mux = mux();
    let mut handle = mux.connect(relay.tcp(server().tcp())).unwrap();
    let mut other = mux.connect(relay.tcp(server().tcp())).unwrap();
    let mut stream = handle.query_stream(numbers(MUCH, WIDTH)).unwrap();
    check(stream.next().unwrap().unwrap());
    for n in 0..100 {
        assert_eq!(one::<u32>(&mut other, &format!("SELECT {n}")), n);
    }
    let all = (MUCH * WIDTH) as u64;
    let passed = relay.passed(Way::Down);
    assert!(passed < all / 2, "{passed} of {all} bytes");
    assert_eq!(check_all(stream), MUCH - 1);
    assert!(relay.passed(Way::Down) > all);
}

#[test]
fn a_stream_without_rows_ends_at_once() {
    let (schema, mux) = kinds("norows");
    let mut handle = mux.connect(schema.tcp()).unwrap();
    for sql in [
        "SELECT * FROM t WHERE id < 0",
        "DO 1",
        "UPDATE t SET i = 9 WHERE id = 1",
    ] {
        let mut stream = handle.query_stream::<Row, _>(sql).unwrap();
        assert!(stream.next().is_none(), "{sql}");
        assert!(stream.next().is_none(), "{sql}");
    }
    assert_eq!(one::<i64>(&mut handle, "SELECT i FROM t WHERE id = 1"), 9);
}

#[test]
fn an_error_before_the_first_row_is_that_of_the_call() {
    let mux = mux();
    let mut handle = mux.connect(server().tcp()).unwrap();
    let id: u32 = one(&mut handle, "SELECT CONNECTION_ID()");
    for (sql, code) in [
        ("SELECT FROM", 1064),
        ("SELECT * FROM no_such_table", 1146),
        ("SELECT no_such_column", 1054),
    ] {
        let e = error_of(handle.query_stream::<Row, _>(sql).map(drop));
        assert_eq!(e.code(), Some(code), "{e}");
        let e = error_of(handle.exec_stream::<Row, _, _>(sql, ()).map(drop));
        assert_eq!(e.code(), Some(code), "{e}");
    }
    assert_eq!(one::<u32>(&mut handle, "SELECT CONNECTION_ID()"), id);
    block_on(async {
        let mut handle = mux.connect_async(server().tcp()).await.unwrap();
        let failed = handle.query_stream::<Row, _>("SELECT FROM").await.map(drop);
        assert_eq!(error_of(failed).code(), Some(1064));
        assert_eq!(one_async::<u8>(&mut handle, "SELECT 1").await, 1);
    });
}

/// Rows of which the one with this number can't be made.
fn fails_at(schema: &Schema, mux: &Mux, at: usize) -> String {
    let mut handle = mux.connect(schema.tcp()).unwrap();
    handle
        .query_drop("CREATE TABLE n (n INT PRIMARY KEY, t VARCHAR(20))")
        .unwrap();
    handle
        .query_drop(format!("INSERT INTO n {}", numbers(at * 2, 20)))
        .unwrap();
    handle.query_drop("CREATE TABLE two (b INT)").unwrap();
    handle
        .query_drop("INSERT INTO two VALUES (0), (1)")
        .unwrap();
    // Two rows where one may be.
    format!(
        "SELECT n, t FROM n WHERE (SELECT b FROM two WHERE b <= n.n DIV {at}) IS NOT NULL ORDER BY n"
    )
}

#[test]
fn an_error_behind_rows_comes_behind_these_rows() {
    const AT: usize = 5_000;
    let schema = Schema::new("midstream");
    let mux = mux();
    let sql = fails_at(&schema, &mux, AT);
    let mut handle = mux.connect(schema.tcp()).unwrap();
    handle.query_drop("SET @mine = 7").unwrap();
    let mut stream = handle.query_stream(&sql).unwrap();
    for n in 0..AT {
        assert_eq!(check(stream.next().unwrap().unwrap()), n);
    }
    assert_eq!(error_of(stream.next().unwrap()).code(), Some(1242));
    assert!(stream.next().is_none());
    drop(stream);
    assert_eq!(one::<u8>(&mut handle, "SELECT @mine"), 7, "the link lives");

    block_on(async {
        let mut handle = mux.connect_async(schema.tcp()).await.unwrap();
        let mut stream = handle.exec_stream(&sql, ()).await.unwrap();
        for n in 0..AT {
            assert_eq!(check(stream.next().await.unwrap().unwrap()), n);
        }
        assert_eq!(error_of(stream.next().await.unwrap()).code(), Some(1242));
        assert!(stream.next().await.is_none());
        drop(stream);
        assert_eq!(one_async::<u8>(&mut handle, "SELECT 1").await, 1);
    });
    assert_eq!(mux.stats().total.lost_connections, 0);
}

#[test]
fn of_several_results_the_first_is_streamed_and_the_others_run() {
    let (schema, mux) = kinds("several");
    let mut handle = mux.connect(schema.tcp()).unwrap();
    let sql = format!(
        "{}; SELECT 1, 2, 3; UPDATE t SET i = 5 WHERE id = 1; SELECT 9",
        numbers(LITTLE, 30)
    );
    let stream = handle.query_stream(&sql).unwrap();
    assert_eq!(check_all(stream), LITTLE);
    assert_eq!(one::<i64>(&mut handle, "SELECT i FROM t WHERE id = 1"), 5);

    handle
        .query_drop("CREATE PROCEDURE p() BEGIN SELECT 1 UNION SELECT 2; SELECT 'other'; END")
        .unwrap();
    let rows: Vec<i32> = handle
        .query_stream("CALL p()")
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(rows, [1, 2]);
    assert_eq!(one::<u8>(&mut handle, "SELECT 1"), 1);
}

#[test]
fn an_error_of_a_later_result_comes_behind_the_rows_of_the_first() {
    let mux = mux();
    let mut handle = mux.connect(server().tcp()).unwrap();
    for first in ["SELECT 1 UNION ALL SELECT 2".to_owned(), numbers(LITTLE, 1)] {
        let sql = format!("{first}; SELECT 4; SELECT * FROM no_such_table");
        let all: Vec<Result<Row, Error>> = handle.query_stream(&sql).unwrap().collect();
        let (errors, rows): (Vec<_>, Vec<_>) = all.iter().partition(|row| row.is_err());
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].as_ref().unwrap_err().code(), Some(1146));
        assert!(rows.len() == 2 || rows.len() == LITTLE, "{}", rows.len());
        assert!(all.last().unwrap().is_err(), "the error is the last");
        assert_eq!(one::<u8>(&mut handle, "SELECT 1"), 1);
    }
    assert_eq!(mux.stats().total.lost_connections, 0);
}

#[test]
fn a_stream_that_is_left_with_little_to_come_leaves_its_link_to_others() {
    let mux = builder().max_links(1).build();
    let mut handle = mux.connect(server().tcp()).unwrap();
    let mut other = mux.connect(server().tcp()).unwrap();
    for taken in [0, 1, 5, LITTLE / 2, LITTLE - 1, LITTLE] {
        let mut stream = handle.query_stream(numbers(LITTLE, 30)).unwrap();
        for _ in 0..taken {
            check(stream.next().unwrap().unwrap());
        }
        drop(stream);
        assert_eq!(one::<u32>(&mut other, "SELECT 7"), 7);
        assert_eq!(one::<u32>(&mut handle, "SELECT 8"), 8);
    }
    let total = mux.stats().total;
    assert_eq!((total.connect_success, total.lost_connections), (1, 0));
}

#[test]
fn a_stream_that_is_left_with_much_to_come_costs_its_link_and_nothing_else() {
    let user = User::new("leftstream");
    let mux = builder().max_links(1).build();
    let mut handle = mux.connect(user.tcp()).unwrap();
    let mut other = mux.connect(user.tcp()).unwrap();
    for round in 1..=3 {
        let id: u32 = one(&mut handle, "SELECT CONNECTION_ID()");
        let mut stream = handle.query_stream(numbers(MUCH, 200)).unwrap();
        check(stream.next().unwrap().unwrap());
        drop(stream);
        assert_eq!(one::<u32>(&mut other, "SELECT 2"), 2);
        assert_ne!(one::<u32>(&mut handle, "SELECT CONNECTION_ID()"), id);
        assert_eq!(mux.stats().total.lost_connections, round);
    }
    let mut root = server().root();
    eventually("the server has ended what was left", || {
        user.connections(&mut root) == 1
    });
}

#[test]
fn an_async_stream_that_is_left_leaves_its_link_to_others() {
    let mux = builder()
        .max_links(1)
        .acquire_timeout(Duration::from_secs(5))
        .build();
    block_on(async {
        let mut handle = mux.connect_async(server().tcp()).await.unwrap();
        let mut other = mux.connect_async(server().tcp()).await.unwrap();
        for (rows, width) in [(LITTLE, 30), (MUCH, 200)] {
            let mut stream = handle.query_stream(numbers(rows, width)).await.unwrap();
            check(stream.next().await.unwrap().unwrap());
            drop(stream);
            // The handle that had it does nothing more.
            assert_eq!(one_async::<u8>(&mut other, "SELECT 2").await, 2);
        }
        assert_eq!(one_async::<u8>(&mut handle, "SELECT 3").await, 3);
    });
    assert_eq!(mux.stats().total.acquire_timeouts, 0);
}

#[test]
fn after_an_async_stream_that_was_left_the_handle_goes_on() {
    let mux = mux();
    block_on(async {
        let mut handle = mux.connect_async(server().tcp()).await.unwrap();
        let id: u32 = one_async(&mut handle, "SELECT CONNECTION_ID()").await;
        for taken in [0, 1, 5, LITTLE / 2, LITTLE] {
            let mut stream = handle.query_stream(numbers(LITTLE, 30)).await.unwrap();
            for _ in 0..taken {
                check(stream.next().await.unwrap().unwrap());
            }
            drop(stream);
            let now: u32 = one_async(&mut handle, "SELECT CONNECTION_ID()").await;
            assert_eq!(now, id);
        }
        assert_eq!(mux.stats().total.lost_connections, 0);

        let mut stream = handle.query_stream(numbers(MUCH, 200)).await.unwrap();
        check(stream.next().await.unwrap().unwrap());
        drop(stream);
        let now: u32 = one_async(&mut handle, "SELECT CONNECTION_ID()").await;
        assert_ne!(now, id);
        assert_eq!(mux.stats().total.lost_connections, 1);
    });
}

#[test]
fn a_handle_that_is_dropped_with_its_stream_leaves_its_link_to_others() {
    let mux = builder().max_links(1).build();
    let mut other = mux.connect(server().tcp()).unwrap();
    for (rows, width) in [(LITTLE, 30), (MUCH, 200)] {
        let mut handle = mux.connect(server().tcp()).unwrap();
        let mut stream = handle.query_stream(numbers(rows, width)).unwrap();
        check(stream.next().unwrap().unwrap());
        drop(stream);
        drop(handle);
        assert_eq!(one::<u8>(&mut other, "SELECT 2"), 2);
        block_on(async {
            let mut handle = mux.connect_async(server().tcp()).await.unwrap();
            let mut stream = handle.query_stream(numbers(rows, width)).await.unwrap();
            check(stream.next().await.unwrap().unwrap());
            drop(stream);
            drop(handle);
        });
        assert_eq!(one::<u8>(&mut other, "SELECT 2"), 2);
    }
}

#[test]
fn others_go_on_while_streams_are_open() {
    let mux = builder().max_links(3).build();
    let mut handles: Vec<Handle> = (0..2)
        .map(|_| mux.connect(server().tcp()).unwrap())
        .collect();
    let mut streams: Vec<_> = handles
        .iter_mut()
        .map(|handle| handle.query_stream(numbers(MUCH, 100)).unwrap())
        .collect();
    let mut others: Vec<Handle> = (0..20)
        .map(|_| mux.connect(server().tcp()).unwrap())
        .collect();
    let mut taken = 0;
    for round in 0..50 {
        for stream in &mut streams {
            for _ in 0..300 {
                check(stream.next().unwrap().unwrap());
            }
        }
        taken += 300;
        for (i, other) in others.iter_mut().enumerate() {
            let n = round * 100 + i;
            assert_eq!(one::<usize>(other, &format!("SELECT {n}")), n);
            let back: Option<usize> = other.exec_first("SELECT ? + 1", (n,)).unwrap();
            assert_eq!(back, Some(n + 1));
        }
    }
    for stream in streams {
        let left = check_all(stream);
        assert_eq!(left, MUCH - taken);
    }
    assert_eq!(mux.stats().total.lost_connections, 0);
}

#[test]
fn whoever_waits_for_the_link_of_a_stream_gets_it_at_its_end() {
    let mux = builder().max_links(1).build();
    let mut handle = mux.connect(server().tcp()).unwrap();
    for left in [false, true] {
        let mut other = mux.connect(server().tcp()).unwrap();
        let mut stream = handle.query_stream(numbers(LITTLE, 30)).unwrap();
        check(stream.next().unwrap().unwrap());
        let waiter = thread::spawn(move || one::<u8>(&mut other, "SELECT 2"));
        eventually("it waits", || mux.stats().total.waiting == 1);
        if left {
            drop(stream);
        } else {
            assert_eq!(stream.count(), LITTLE - 1);
        }
        let two = within(GENEROUS, "waiting for a stream's link", move || {
            waiter.join().unwrap()
        });
        assert_eq!(two, 2);
    }
}

#[test]
fn what_was_set_is_there_for_a_stream_and_after_it() {
    let mut handle = mux().connect(server().tcp()).unwrap();
    handle.query_drop("SET @a = 5").unwrap();
    let rows: Vec<i64> = handle
        .query_stream("SELECT @a UNION ALL SELECT @b := 6")
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(rows, [5, 6]);
    assert_eq!(one::<i64>(&mut handle, "SELECT @a + @b"), 11);
    drop(handle.query_stream::<i64, _>("SELECT @c := 7").unwrap());
    assert_eq!(one::<i64>(&mut handle, "SELECT @a + @b + @c"), 18);
}

#[test]
fn a_stream_in_a_transaction_sees_it_and_leaves_it_open() {
    let (schema, mux) = kinds("streamtx");
    let mut handle = mux.connect(schema.tcp()).unwrap();
    let mut other = mux.connect(schema.tcp()).unwrap();
    handle.query_drop("START TRANSACTION").unwrap();
    handle.query_drop("DELETE FROM t WHERE id > 10").unwrap();
    let id = handle.connection_id();
    let rows = handle.query_stream::<Row, _>("SELECT * FROM t").unwrap();
    assert_eq!(rows.map(Result::unwrap).count(), 10);
    let mut rows = handle.query_stream::<Row, _>("SELECT * FROM t").unwrap();
    rows.next().unwrap().unwrap();
    drop(rows);
    handle.query_drop("DELETE FROM t WHERE id > 5").unwrap();
    assert_eq!(one::<u64>(&mut handle, "SELECT COUNT(*) FROM t"), 5);
    assert_eq!(one::<u64>(&mut other, "SELECT COUNT(*) FROM t"), 59);
    handle.query_drop("ROLLBACK").unwrap();
    assert_eq!(handle.connection_id(), id);
    assert_eq!(one::<u64>(&mut handle, "SELECT COUNT(*) FROM t"), 59);
}

#[test]
fn an_async_transaction_streams_and_ends_as_it_is_told_to() {
    let (schema, mux) = kinds("astreamtx");
    let count = "SELECT COUNT(*) FROM t";
    block_on(async {
        let mut handle = mux.connect_async(schema.tcp()).await.unwrap();
        for left in [false, true] {
            let mut tx = handle.start_transaction(Default::default()).await.unwrap();
            tx.query_drop("DELETE FROM t WHERE id > 10").await.unwrap();
            let mut rows = tx.query_stream::<Row, _>("SELECT * FROM t").await.unwrap();
            rows.next().await.unwrap().unwrap();
            if !left {
                let rest: Vec<Row> = rows.try_collect().await.unwrap();
                assert_eq!(rest.len(), 9);
            } else {
                drop(rows);
            }
            assert_eq!(one_async::<u64>(&mut tx, count).await, 10);
            tx.rollback().await.unwrap();
            assert_eq!(one_async::<u64>(&mut handle, count).await, 59);
        }
        // Dropped with a stream of its own that was left.
        let mut tx = handle.start_transaction(Default::default()).await.unwrap();
        tx.query_drop("DELETE FROM t").await.unwrap();
        let sql = numbers(LITTLE, 30);
        let mut rows = tx.query_stream::<Row, _>(&sql).await.unwrap();
        rows.next().await.unwrap().unwrap();
        drop(rows);
        drop(tx);
        assert_eq!(one_async::<u64>(&mut handle, count).await, 59);
        let mut tx = handle.start_transaction(Default::default()).await.unwrap();
        tx.query_drop("DELETE FROM t WHERE id > 10").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(one_async::<u64>(&mut handle, count).await, 10);
    });
}

#[test]
fn a_transaction_that_goes_with_the_link_of_a_stream_is_told_of_once() {
    let (schema, mux) = kinds("losttx");
    let mut handle = mux.connect(schema.tcp()).unwrap();
    handle.query_drop("START TRANSACTION").unwrap();
    handle.query_drop("DELETE FROM t").unwrap();
    let mut stream = handle.query_stream(numbers(MUCH, 200)).unwrap();
    check(stream.next().unwrap().unwrap());
    drop(stream);
    let e = error_of(handle.query_drop("INSERT INTO t (id) VALUES (1000)"));
    assert!(matches!(e, Error::SessionLost { .. }), "{e}");
    eventually("the server has rolled it back", || {
        one::<u64>(&mut handle, "SELECT COUNT(*) FROM t") == 59
    });
}

#[test]
fn a_stream_whose_link_is_killed_is_a_lost_connection_and_the_handle_goes_on() {
    let user = User::new("killstream");
    let mut root = server().root();
    let mut handle = mux().connect(user.tcp()).unwrap();
    for round in 0..2 {
        let id: u32 = one(&mut handle, "SELECT CONNECTION_ID()");
        let mut stream = handle.query_stream(numbers(MUCH, 1_000)).unwrap();
        check(stream.next().unwrap().unwrap());
        root.query_drop(format!("KILL {id}")).unwrap();
        let mut stream = stream.skip_while(|row: &Result<(usize, String), Error>| row.is_ok());
        let e = error_of(stream.next().expect("it does not end as if it were whole"));
        // The server may still have said that it ended the connection.
        assert!(
            matches!(e, Error::ConnectionLost(_)) || matches!(e.code(), Some(1317 | 1927 | 3169)),
            "{e}"
        );
        assert!(stream.next().is_none());
        drop(stream);
        assert_eq!(one::<u8>(&mut handle, "SELECT 1"), 1, "round {round}");
    }
}

#[test]
fn a_stream_that_is_cut_anywhere_never_looks_whole() {
    let relay = Relay::new();
    let mut handle = mux().connect(relay.tcp(server().tcp())).unwrap();
    let sql = numbers(300, 30);
    // What the schema's views do is known then.
    handle.query_drop(&sql).unwrap();
    let before = relay.passed(Way::Down);
    assert_eq!(
        handle.query_stream::<Row, _>(&sql).unwrap().count(),
        300,
        "all rows"
    );
    let whole = relay.passed(Way::Down) - before;
    for at in (0..whole).step_by(whole as usize / 40) {
        relay.cut_after(Way::Down, at);
        let got: Result<Vec<(usize, String)>, Error> = match handle.query_stream(&sql) {
            Ok(stream) => stream.collect(),
            Err(e) => Err(e),
        };
        relay.heal();
        let e = error_of(got);
        assert!(matches!(e, Error::ConnectionLost(_)), "cut after {at}: {e}");
        assert_eq!(one::<u8>(&mut handle, "SELECT 1"), 1, "after a cut at {at}");
    }
}

#[test]
fn many_threads_and_tasks_stream_at_once_and_each_has_its_own_rows() {
    let mux = builder().max_links(4).build();
    let threads: Vec<_> = (0..8_usize)
        .map(|thread| {
            let mux = mux.clone();
            thread::spawn(move || {
                for round in 0..10 {
                    let count = 500 + thread * 50 + round;
                    let sql = format!("SELECT n, {thread} FROM ({}) x", numbers(count, 1));
                    let sum = |rows: Vec<(usize, usize)>| {
                        assert!(rows.iter().all(|row| row.1 == thread));
                        assert_eq!(rows.len(), count);
                        rows.iter().map(|row| row.0).sum::<usize>()
                    };
                    let rows: Vec<(usize, usize)> = match thread % 2 {
                        0 => {
                            let mut handle = mux.connect(server().tcp()).unwrap();
                            let stream = handle.query_stream(&sql).unwrap();
                            stream.map(Result::unwrap).collect()
                        }
                        _ => block_on(async {
                            let mut handle = mux.connect_async(server().tcp()).await.unwrap();
                            let stream = handle
                                .query_stream::<(usize, usize), _>(&sql)
                                .await
                                .unwrap();
                            stream.try_collect().await.unwrap()
                        }),
                    };
                    assert_eq!(sum(rows), count * (count - 1) / 2);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(mux.stats().total.lost_connections, 0);
}

#[test]
fn a_stream_that_is_left_at_a_server_that_falls_silent_costs_its_link_and_nothing_else() {
    let relay = Relay::new();
    let mux = builder().max_links(1).build();
    let mut handle = mux.connect(relay.tcp(server().tcp())).unwrap();
    let sql = numbers(MUCH, 100);
    let answer = within(GENEROUS, "the stream is left", move || {
        let mut stream = handle.query_stream::<Row, _>(sql).unwrap();
        stream.next().unwrap().unwrap();
        relay.stall(Way::Down);
        drop(stream);
        relay.heal();
        one::<u32>(&mut handle, "SELECT 1")
    });
    assert_eq!(answer, 1);
    assert_eq!(mux.stats().total.active_connections, 1);
}
