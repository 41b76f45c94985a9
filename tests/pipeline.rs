//! Many statements at once: each has its own result in its own place, whatever becomes of the others,
//! and they cost few round trips.

mod support;

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use mysql_mux::{
    LocalInfileHandler, Pipe, Piped, Pipelining, TxOpts,
    error::{DriverError, Ran},
};
use pollster::block_on;
use support::{relay::Way, *};

fn table(name: &str) -> (Schema, Mux, Handle) {
    let schema = Schema::new(name);
    let mux = mux();
    let mut handle = mux.connect(schema.tcp()).unwrap();
    handle
        .query_drop("CREATE TABLE t (a BIGINT PRIMARY KEY, b LONGBLOB) ENGINE=InnoDB")
        .unwrap();
    (schema, mux, handle)
}

/// The only value of a result.
#[track_caller]
fn value<T: FromValue>(result: Result<Piped, Error>) -> T {
    let mut rows: Vec<mysql_mux::Row> = result.unwrap().rows().unwrap();
    assert_eq!(rows.len(), 1);
    rows[0].take(0).unwrap()
}

fn count(handle: &mut Handle) -> u64 {
    one(handle, "SELECT COUNT(*) FROM t")
}

#[test]
fn results_come_in_order_and_cost_few_writes() {
    const COUNT: u64 = 10_000;
    let mux = mux();
    let mut handle = mux.connect(server().tcp()).unwrap();
    let add = handle.prep("SELECT ? + 1").unwrap();
    let text = handle.prep("SELECT CONCAT('n', ?)").unwrap();
    let before = mux.stats().total;
    let results = handle
        .pipeline(|pipe| {
            assert!(pipe.is_empty());
            for n in 0..COUNT {
                let place = match n % 3 {
                    0 => pipe.query(format!("SELECT {n}")),
                    1 => pipe.exec(&add, (n,))?,
                    _ => pipe.exec(&text, (n.to_string(),))?,
                };
                assert_eq!(place as u64, n);
            }
            assert_eq!(pipe.len() as u64, COUNT);
            Ok(())
        })
        .unwrap();
    let after = mux.stats().total;
    assert_eq!(results.len() as u64, COUNT);
    for (n, result) in (0..COUNT).zip(results) {
        match n % 3 {
            0 => assert_eq!(value::<u64>(result), n),
            1 => assert_eq!(value::<u64>(result), n + 1),
            _ => assert_eq!(value::<String>(result), format!("n{n}")),
        }
    }
    let writes = after.writes - before.writes;
    assert_eq!(after.statements - before.statements, COUNT);
    assert!(writes < COUNT / 20, "{writes} writes");
    assert_eq!(after.connect_success, 1);
}

#[test]
fn a_batch_costs_few_writes_and_runs_in_order() {
    const COUNT: u64 = 10_000;
    let (_schema, mux, mut handle) = table("batch");
    let before = mux.stats().total;
    handle
        .exec_batch(
            "INSERT INTO t VALUES (?, ?)",
            (0..COUNT).map(|n| (n, n.to_string())),
        )
        .unwrap();
    let after = mux.stats().total;
    let writes = after.writes - before.writes;
    assert!(writes < COUNT / 20, "{writes} writes");
    assert_eq!(count(&mut handle), COUNT);
    assert_eq!(
        one::<u64>(&mut handle, "SELECT COUNT(*) FROM t WHERE a = b + 0"),
        COUNT
    );
    // Each sees what the one before did.
    "UPDATE t SET b = b * 2 + ? WHERE a = 0"
        .with((0..20).map(|n| (n % 2,)))
        .batch(&mut handle)
        .unwrap();
    let bits = (0..20).fold(0, |b: u64, n| b * 2 + n % 2);
    assert_eq!(
        one::<u64>(&mut handle, "SELECT b + 0 FROM t WHERE a = 0"),
        bits
    );
    handle
        .exec_batch("INSERT INTO t VALUES (?, ?)", Vec::<(u64, u64)>::new())
        .unwrap();
    assert_eq!(count(&mut handle), COUNT);
}

/// Statements of which some fail, between others.
fn some_fail(pipe: &mut Pipe, insert: &mysql_mux::Statement) -> mysql_mux::Result<()> {
    pipe.exec(insert, (1, "a"))?;
    pipe.query("SELECT FROM");
    pipe.exec(insert, (1, "again"))?;
    pipe.query("INSERT INTO t VALUES (2, 'b')");
    pipe.query("SELECT * FROM no_such_table");
    pipe.query("SELECT COUNT(*) FROM t");
    pipe.exec(insert, (3, None::<String>))?;
    pipe.query("INSERT INTO t VALUES (4, 'x'), (2, 'x')");
    pipe.query("SELECT SUM(a) FROM t");
    pipe.query("UPDATE t SET b = 'new' WHERE a > 1");
    Ok(())
}

fn some_failed(results: Vec<Result<Piped, Error>>) {
    let told: Vec<String> = results
        .into_iter()
        .map(|result| match result {
            Ok(ok) => {
                let affected = ok.affected_rows();
                let rows: Vec<u64> = ok.rows().unwrap();
                format!("{affected} {rows:?}")
            }
            Err(e) => e.code().map_or(e.to_string(), |code| code.to_string()),
        })
        .collect();
    let wanted = [
        "1 []", "1064", "1062", "1 []", "1146", "0 [2]", "1 []", "1062", "0 [6]", "2 []",
    ];
    assert_eq!(told, wanted);
}

#[test]
fn each_has_its_own_error_and_those_behind_it_run() {
    let (schema, _mux, _) = table("ownerror");
    for pipelining in [Pipelining::Auto, Pipelining::On, Pipelining::Off] {
        for isolation in [Isolation::Reset, Isolation::Shared] {
            let opts = schema.tcp().pipelining(pipelining).isolation(isolation);
            let mux = mux();
            let mut handle = mux.connect(opts.clone()).unwrap();
            handle.query_drop("TRUNCATE TABLE t").unwrap();
            let insert = handle.prep("INSERT INTO t VALUES (?, ?)").unwrap();
            some_failed(handle.pipeline(|pipe| some_fail(pipe, &insert)).unwrap());
            assert_eq!(one::<u64>(&mut handle, "SELECT SUM(a) FROM t"), 6);
            drop(handle);

            block_on(async {
                let mut handle = mux.connect_async(opts).await.unwrap();
                handle.query_drop("TRUNCATE TABLE t").await.unwrap();
                let insert = handle.prep("INSERT INTO t VALUES (?, ?)").await.unwrap();
                let results = handle.pipeline(|pipe| some_fail(pipe, &insert)).await;
                some_failed(results.unwrap());
                let sum: u64 = one_async(&mut handle, "SELECT SUM(a) FROM t").await;
                assert_eq!(sum, 6);
            });
            assert_eq!(mux.stats().total.lost_connections, 0);
        }
    }
}

#[test]
fn an_insert_tells_its_own_id() {
    let (_schema, _mux, mut handle) = table("ids");
    handle
        .query_drop("CREATE TABLE ids (id INT PRIMARY KEY AUTO_INCREMENT, a INT)")
        .unwrap();
    let insert = handle.prep("INSERT INTO ids (a) VALUES (?)").unwrap();
    let results = handle
        .pipeline(|pipe| {
            for n in 0..100 {
                pipe.exec(&insert, (n,))?;
                pipe.query(format!("INSERT INTO ids (a) VALUES ({n})"));
            }
            Ok(())
        })
        .unwrap();
    let ids: Vec<u64> = results
        .into_iter()
        .map(|result| result.unwrap().last_insert_id().unwrap())
        .collect();
    assert_eq!(ids, (1..=200).collect::<Vec<_>>());
    assert_eq!(handle.last_insert_id(), 200);
}

#[test]
fn nothing_is_sent_where_it_could_not_be_filled() {
    let (_schema, mux, mut handle) = table("notfilled");
    let insert = handle.prep("INSERT INTO t VALUES (?, ?)").unwrap();
    let before = mux.stats().total;
    let e = error_of(handle.pipeline(|pipe| {
        pipe.exec(&insert, (1, 2))?;
        pipe.exec(&insert, (1,))?;
        Ok(())
    }));
    assert!(
        matches!(
            e,
            Error::DriverError(DriverError::MismatchedStmtParams { .. })
        ),
        "{e}"
    );
    let results = handle.pipeline(|_| Ok(())).unwrap();
    assert!(results.is_empty());
    let after = mux.stats().total;
    assert_eq!(after.statements, before.statements);
    assert_eq!(count(&mut handle), 0);
}

#[test]
fn a_parameter_of_a_batch_that_does_not_fit_is_an_error_and_the_handle_goes_on() {
    let (_schema, _mux, mut handle) = table("batchparams");
    let params = [
        mysql_mux::Params::from((1, 2)),
        mysql_mux::Params::from((1,)),
    ];
    let e = error_of(handle.exec_batch("INSERT INTO t VALUES (?, ?)", params));
    assert!(matches!(e, Error::DriverError(_)), "{e}");
    assert_eq!(count(&mut handle), 0);
}

#[test]
fn the_first_error_of_a_batch_is_told_and_a_rollback_undoes_all_of_it() {
    let (_schema, _mux, mut handle) = table("batcherror");
    let mut tx = handle.start_transaction(TxOpts::default()).unwrap();
    let rows = (0..2000).map(|n| (if n == 700 { 5 } else { n }, "x"));
    let e = error_of(tx.exec_batch("INSERT INTO t VALUES (?, ?)", rows));
    assert_eq!(e.code(), Some(1062), "{e}");
    assert!(one::<u64>(&mut tx, "SELECT COUNT(*) FROM t") >= 700);
    tx.rollback().unwrap();
    assert_eq!(count(&mut handle), 0);

    // Outside of one, what ran stays, and what was not reached has not run.
    let rows = (0..2000).map(|n| (if n == 700 { 5 } else { n }, "x"));
    let e = error_of(handle.exec_batch("INSERT INTO t VALUES (?, ?)", rows));
    assert_eq!(e.code(), Some(1062), "{e}");
    assert_eq!(
        one::<u64>(&mut handle, "SELECT COUNT(*) FROM t WHERE a < 700"),
        700
    );
    assert!(count(&mut handle) < 1999);
}

#[test]
fn large_parameters_and_small_ones_keep_their_places() {
    let (_schema, _mux, mut handle) = table("bigparams");
    let insert = handle.prep("INSERT INTO t VALUES (?, ?)").unwrap();
    let lengths = handle.prep("SELECT ?, LENGTH(?) + LENGTH(?)").unwrap();
    let bytes = noise(9_000_000);
    // Together two of the largest are more than a packet, and go ahead in pieces.
    let len = |n: u64| match n % 16 {
        3 | 5 | 12 => 900_000,
        7 => 9_000_000,
        _ => n as usize,
    };
    let results = handle
        .pipeline(|pipe| {
            for n in 0..40 {
                let bytes = &bytes[..len(n)];
                pipe.exec(&insert, (n, bytes))?;
                pipe.exec(&lengths, (n, bytes, bytes))?;
                pipe.query(format!("SELECT {n}, LENGTH(b) FROM t WHERE a = {n}"));
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(results.len(), 120);
    for (i, result) in results.into_iter().enumerate() {
        let (n, i) = (i as u64 / 3, i % 3);
        let rows: Vec<(u64, usize)> = result.unwrap().rows().unwrap();
        match i {
            0 => assert!(rows.is_empty()),
            1 => assert_eq!(rows, [(n, 2 * len(n))]),
            _ => assert_eq!(rows, [(n, len(n))]),
        }
    }
    let back: Vec<u8> = handle
        .query_first("SELECT b FROM t WHERE a = 7")
        .unwrap()
        .unwrap();
    assert!(back == bytes);
}

#[test]
fn parameters_that_fit_into_a_packet_each_are_sent_where_together_they_do_not() {
    let opts = server().tcp().max_allowed_packet(Some(1 << 20));
    let mut handle = mux().connect(opts).unwrap();
    let bytes = noise(900_000);
    let params = (&bytes, 1, &bytes);
    let sql = "SELECT LENGTH(?), ?, LENGTH(?)";
    let row: Option<(u32, u8, u32)> = handle.exec_first(sql, params).unwrap();
    assert_eq!(row, Some((900_000, 1, 900_000)));
    let lengths = handle.prep(sql).unwrap();
    let results = handle
        .pipeline(|pipe| {
            pipe.query("SELECT 1, 2, 3");
            pipe.exec(&lengths, params)?;
            pipe.query("SELECT 4, 5, 6");
            Ok(())
        })
        .unwrap();
    let rows: Vec<(u32, u32, u32)> = results
        .into_iter()
        .flat_map(|result| result.unwrap().rows().unwrap())
        .collect();
    assert_eq!(rows, [(1, 2, 3), (900_000, 1, 900_000), (4, 5, 6)]);
}

#[test]
fn a_statement_that_is_too_large_to_be_sent_is_its_own_error_only() {
    let (schema, mux, _) = table("toolarge");
    let opts = schema.tcp().max_allowed_packet(Some(64 << 10));
    let mut handle = mux.connect(opts).unwrap();
    let insert = handle.prep("INSERT INTO t VALUES (?, ?)").unwrap();
    let large = "x".repeat(100_000);
    let results = handle
        .pipeline(|pipe| {
            for n in 0..30 {
                match n % 10 {
                    4 => {
                        pipe.query(format!("INSERT INTO t VALUES ({n}, '{large}')"));
                    }
                    8 => {
                        pipe.exec(&insert, (n, &large))?;
                    }
                    _ => {
                        pipe.exec(&insert, (n, "x"))?;
                    }
                }
            }
            pipe.query("SELECT COUNT(*) FROM t");
            Ok(())
        })
        .unwrap();
    assert_eq!(results.len(), 31);
    for (n, result) in results.into_iter().enumerate() {
        match (n, n % 10) {
            (30, _) => assert_eq!(value::<u64>(result), 24),
            (_, 4 | 8) => {
                let e = error_of(result);
                assert!(matches!(e, Error::PacketTooLarge { .. }), "{n}: {e}");
            }
            _ => assert_eq!(result.unwrap().affected_rows(), 1, "{n}"),
        }
    }
    assert_eq!(count(&mut handle), 24);
    assert_eq!(mux.stats().total.lost_connections, 0);
}

#[test]
fn a_result_that_is_too_large_is_its_own_statements_error() {
    let (schema, mux, _) = table("resultlarge");
    let mut handle = mux.connect(schema.tcp().max_result_size(10_000)).unwrap();
    // Of the first the rest is read, of the second it is not.
    for bytes in [20_000, 8_000_000] {
        too_large_a_result(&mut handle, bytes);
    }
}

fn too_large_a_result(handle: &mut Handle, bytes: usize) {
    handle.query_drop("TRUNCATE TABLE t").unwrap();
    let results = handle
        .pipeline(|pipe| {
            for n in 0..20 {
                pipe.query(format!("INSERT INTO t VALUES ({n}, 'x')"));
                if n == 10 {
                    pipe.query(format!("SELECT REPEAT('x', {bytes})"));
                }
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(results.len(), 21);
    for (i, result) in results.into_iter().enumerate() {
        match (i, result) {
            (11, result) => {
                let e = error_of(result);
                assert!(matches!(e, Error::ResultTooLarge { .. }), "{e}");
            }
            (0..11, result) => assert_eq!(result.unwrap().affected_rows(), 1),
            (_, Ok(result)) => assert_eq!(result.affected_rows(), 1),
            // The link may have gone with it; then that is what there is to tell.
            (_, Err(Error::ConnectionLost(e))) => {
                if e.ran == Ran::No {
                    let sql = format!("SELECT COUNT(*) FROM t WHERE a = {}", i - 1);
                    assert_eq!(one::<u64>(handle, &sql), 0, "{i}: {e}");
                }
            }
            (_, Err(e)) => panic!("{i}: {e}"),
        }
    }
    assert!(count(handle) >= 11);
}

#[test]
fn what_is_large_both_ways_does_not_stop_the_two_sides() {
    const LEN: usize = 100_000;
    let mux = mux();
    within(
        GENEROUS * 2,
        "large questions with large answers",
        move || {
            let mut handle = mux.connect(server().tcp()).unwrap();
            let echo = handle.prep("SELECT ?, ?").unwrap();
            let text = "x".repeat(LEN);
            let results = handle
                .pipeline(|pipe| {
                    for n in 0..200 {
                        pipe.query(format!("SELECT {n}, '{text}'"));
                        pipe.exec(&echo, (n, &text))?;
                    }
                    Ok(())
                })
                .unwrap();
            for (i, result) in results.into_iter().enumerate() {
                let rows: Vec<(usize, String)> = result.unwrap().rows().unwrap();
                assert_eq!((rows[0].0, rows[0].1.len()), (i / 2, LEN));
            }
        },
    );
}

fn load(handle: &mut Handle, handler: Option<LocalInfileHandler>) -> Vec<Result<Piped, Error>> {
    const LOAD: &str = "LOAD DATA LOCAL INFILE 'f' INTO TABLE t FIELDS TERMINATED BY ','";
    handle.set_local_infile_handler(handler);
    handle.query_drop("TRUNCATE TABLE t").unwrap();
    let insert = handle.prep("INSERT INTO t VALUES (?, ?)").unwrap();
    let results = handle
        .pipeline(|pipe| {
            for n in 0..10 {
                pipe.exec(&insert, (n, "x"))?;
            }
            pipe.query(LOAD);
            pipe.query("SELECT COUNT(*) FROM t");
            pipe.query("lOaD data local infile 'g' into table t fields terminated by ','");
            for n in 10..20 {
                pipe.exec(&insert, (n, "x"))?;
            }
            pipe.query(format!("SELECT 'LOAD DATA', COUNT(*) FROM t; {LOAD}"));
            pipe.query("SELECT COUNT(*) FROM t");
            Ok(())
        })
        .unwrap();
    assert_eq!(results.len(), 25);
    results
}

#[test]
fn local_files_are_loaded_among_others() {
    server()
        .root()
        .query_drop("SET GLOBAL local_infile = 1")
        .unwrap();
    let (_schema, _mux, mut handle) = table("pipeload");
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let handler = LocalInfileHandler::new(move |_, writer| {
        let call = counted.fetch_add(1, Ordering::SeqCst);
        for n in 0..20_000 {
            writeln!(writer, "{},{}", (call + 1) * 100_000 + n, "y".repeat(20))?;
        }
        Ok(())
    });
    let mut results = load(&mut handle, Some(handler)).into_iter();
    for _ in 0..10 {
        assert_eq!(results.next().unwrap().unwrap().affected_rows(), 1);
    }
    assert_eq!(results.next().unwrap().unwrap().affected_rows(), 20_000);
    assert_eq!(value::<u64>(results.next().unwrap()), 20_010);
    assert_eq!(results.next().unwrap().unwrap().affected_rows(), 20_000);
    for _ in 0..10 {
        assert_eq!(results.next().unwrap().unwrap().affected_rows(), 1);
    }
    let rows: Vec<(String, u64)> = results.next().unwrap().unwrap().rows().unwrap();
    assert_eq!(rows, [("LOAD DATA".to_owned(), 40_020)]);
    assert_eq!(value::<u64>(results.next().unwrap()), 60_020);
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

#[test]
fn a_local_file_that_is_refused_or_fails_is_its_own_error_only() {
    server()
        .root()
        .query_drop("SET GLOBAL local_infile = 1")
        .unwrap();
    let (_schema, mux, mut handle) = table("piperefuse");
    let failing = LocalInfileHandler::new(|_, _| Err(std::io::Error::other("the dog ate it")));
    for handler in [None, Some(failing)] {
        for (i, result) in load(&mut handle, handler).into_iter().enumerate() {
            match i {
                10 | 12 => {
                    let e = error_of(result);
                    assert!(
                        matches!(
                            e,
                            Error::DriverError(
                                DriverError::LocalInfileRefused(_)
                                    | DriverError::LocalInfileFailed { .. }
                            )
                        ),
                        "{i}: {e}"
                    );
                }
                11 => assert_eq!(value::<u64>(result), 10),
                24 => assert_eq!(value::<u64>(result), 20),
                _ => drop(result.unwrap()),
            }
        }
    }
    assert_eq!(mux.stats().total.lost_connections, 0);
}

#[test]
fn in_a_transaction_they_are_undone_with_it() {
    let (schema, mux, mut handle) = table("pipetx");
    let mut other = mux.connect(schema.tcp()).unwrap();
    let insert = handle.prep("INSERT INTO t VALUES (?, ?)").unwrap();
    handle.query_drop("START TRANSACTION").unwrap();
    let results = handle
        .pipeline(|pipe| {
            for n in 0..1000 {
                pipe.exec(&insert, (n, "x"))?;
            }
            pipe.query("SELECT COUNT(*) FROM t");
            Ok(())
        })
        .unwrap();
    assert_eq!(value::<u64>(results.into_iter().last().unwrap()), 1000);
    assert_eq!(count(&mut other), 0);
    assert!(handle.pin().is_some());
    handle.query_drop("ROLLBACK").unwrap();
    assert_eq!(count(&mut handle), 0);

    // Begun and ended on the way, twice, and left open at the end.
    let results = handle
        .pipeline(|pipe| {
            pipe.query("BEGIN");
            pipe.exec(&insert, (1, "x"))?;
            pipe.query("ROLLBACK");
            pipe.query("BEGIN");
            pipe.exec(&insert, (2, "x"))?;
            pipe.query("COMMIT");
            pipe.query("BEGIN");
            pipe.exec(&insert, (3, "x"))?;
            Ok(())
        })
        .unwrap();
    assert!(results.iter().all(Result::is_ok));
    assert!(handle.pin().is_some());
    assert_eq!(one::<u64>(&mut other, "SELECT SUM(a) FROM t"), 2);
    assert_eq!(one::<u64>(&mut handle, "SELECT SUM(a) FROM t"), 5);
    handle.query_drop("ROLLBACK").unwrap();
    assert_eq!(one::<u64>(&mut handle, "SELECT SUM(a) FROM t"), 2);

    block_on(async {
        let mut handle = mux.connect_async(schema.tcp()).await.unwrap();
        let mut tx = handle.start_transaction(TxOpts::default()).await.unwrap();
        let results = tx.pipeline(|pipe| {
            pipe.query("DELETE FROM t");
            pipe.query("SELECT COUNT(*) FROM t");
            Ok(())
        });
        let results = results.await.unwrap();
        assert_eq!(value::<u64>(results.into_iter().last().unwrap()), 0);
        drop(tx);
        assert_eq!(
            one_async::<u64>(&mut handle, "SELECT COUNT(*) FROM t").await,
            1
        );
    });
}

#[test]
fn what_they_set_is_the_handles_and_nobody_elses() {
    let (schema, mux, mut handle) = table("pipeset");
    let mut other = mux.connect(schema.tcp()).unwrap();
    let results = handle
        .pipeline(|pipe| {
            pipe.query("SET @x = 5");
            pipe.query("SELECT @x");
            pipe.query(format!("USE `{}`", server().database));
            pipe.query("SELECT DATABASE()");
            Ok(())
        })
        .unwrap();
    let told: Vec<Vec<String>> = results
        .into_iter()
        .map(|result| result.unwrap().rows().unwrap())
        .collect();
    let none: Vec<String> = Vec::new();
    let wanted = [
        none.clone(),
        vec!["5".to_owned()],
        none,
        vec![server().database.clone()],
    ];
    assert_eq!(told, wanted);
    for _ in 0..3 {
        assert_eq!(one::<Option<u8>>(&mut other, "SELECT @x"), None);
        assert_eq!(one::<String>(&mut other, "SELECT DATABASE()"), schema.name);
        assert_eq!(one::<u8>(&mut handle, "SELECT @x"), 5);
        assert_eq!(
            one::<String>(&mut handle, "SELECT DATABASE()"),
            server().database
        );
    }
}

#[test]
fn a_statement_may_have_several_results() {
    let (_schema, _mux, mut handle) = table("piperesults");
    handle
        .query_drop("CREATE PROCEDURE p(n INT) BEGIN SELECT n; SELECT n + 1, 'x'; END")
        .unwrap();
    let call = handle.prep("CALL p(?)").unwrap();
    let results = handle
        .pipeline(|pipe| {
            for n in 0..50 {
                pipe.query(format!("SELECT {n}; SELECT 'other'; DO 1"));
                pipe.query(format!("CALL p({n})"));
                pipe.exec(&call, (n,))?;
            }
            Ok(())
        })
        .unwrap();
    for (i, result) in results.into_iter().enumerate() {
        let sets: Vec<Vec<mysql_mux::Row>> = match result.unwrap() {
            Piped::Text(mut all) => std::iter::from_fn(|| {
                let set = all.iter()?;
                Some(set.map(Result::unwrap).collect())
            })
            .collect(),
            Piped::Binary(mut all) => std::iter::from_fn(|| {
                let set = all.iter()?;
                Some(set.map(Result::unwrap).collect())
            })
            .collect(),
        };
        assert_eq!(sets.len(), 3, "{i}");
        assert_eq!(sets[0][0].get::<usize, _>(0), Some(i / 3));
    }
}

#[test]
fn statements_that_no_link_holds_are_prepared_on_the_way() {
    let (schema, mux, mut handle) = table("pipeprep");
    let statements: Vec<_> = (0..50)
        .map(|n| handle.prep(format!("SELECT ? * 100 + {n}")).unwrap())
        .collect();
    // Another link, and one that keeps few of them.
    let mut root = server().root();
    for capacity in [100, 3, 1, 0_usize] {
        let id: u32 = one(&mut handle, "SELECT CONNECTION_ID()");
        server().kill(&mut root, id);
        let mut handle = mux.connect(schema.tcp().stmt_cache_size(capacity)).unwrap();
        let results = handle
            .pipeline(|pipe| {
                for n in 0..200_u64 {
                    pipe.exec(&statements[(n * 7 % 50) as usize], (n,))?;
                    pipe.query(format!("SELECT {n}"));
                }
                Ok(())
            })
            .unwrap();
        for (i, result) in results.into_iter().enumerate() {
            let n = i as u64 / 2;
            let wanted = match i % 2 {
                0 => n * 100 + n * 7 % 50,
                _ => n,
            };
            assert_eq!(value::<u64>(result), wanted, "{i}, {capacity}");
        }
    }
}

#[test]
fn a_statement_that_can_no_longer_be_prepared_is_its_own_error_only() {
    let (schema, _mux, mut handle) = table("pipenoprep");
    let mux = mux();
    handle.query_drop("CREATE TABLE gone (a INT)").unwrap();
    let gone = handle.prep("SELECT a, ? FROM gone").unwrap();
    handle.query_drop("DROP TABLE gone").unwrap();
    let mut handle = mux.connect(schema.tcp()).unwrap();
    let results = handle
        .pipeline(|pipe| {
            for n in 0..10 {
                pipe.query(format!("SELECT {n}"));
                pipe.exec(&gone, (n,))?;
            }
            Ok(())
        })
        .unwrap();
    for (i, result) in results.into_iter().enumerate() {
        match i % 2 {
            0 => assert_eq!(value::<usize>(result), i / 2),
            _ => assert_eq!(error_of(result).code(), Some(1146), "{i}"),
        }
    }
}

#[test]
fn many_threads_and_tasks_at_once_get_their_own_results() {
    for isolation in [Isolation::Reset, Isolation::Shared] {
        let mux = builder().max_links(2).build();
        let threads: Vec<_> = (0..8_u64)
            .map(|thread| {
                let (mux, opts) = (mux.clone(), server().tcp().isolation(isolation));
                thread::spawn(move || {
                    for round in 0..20 {
                        let base = thread * 1_000_000 + round * 1000;
                        let fill = |pipe: &mut Pipe| {
                            for i in 0..100 {
                                pipe.query(format!("SELECT {}", base + i));
                            }
                            Ok(())
                        };
                        let results = match thread % 2 {
                            0 => mux.connect(opts.clone()).unwrap().pipeline(fill),
                            _ => block_on(async {
                                let mut handle = mux.connect_async(opts.clone()).await.unwrap();
                                handle.pipeline(fill).await
                            }),
                        };
                        for (i, result) in (0..).zip(results.unwrap()) {
                            assert_eq!(value::<u64>(result), base + i);
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(mux.stats().total.lost_connections, 0);
    }
}

/// Where a link is cut, and under which statements.
#[derive(Debug, Clone, Copy)]
struct Cut {
    way: Way,
    at: u64,
    len: usize,
    prepared: bool,
}

/// Inserts rows through a relay that cuts the link. How many of them are said to have run, may have,
/// and are said not to have; of which `wrong` are those that did.
fn cut_under(
    relay: &Relay,
    user: &User,
    schema: &Schema,
    cut: Cut,
    wrong: &mut Vec<String>,
) -> [usize; 3] {
    const COUNT: usize = 60;
    let mut root = server().root();
    root.query_drop(format!("TRUNCATE TABLE `{}`.t", schema.name))
        .unwrap();
    let mux = mux();
    let opts = relay.tcp(user.tcp()).db_name(Some(&schema.name));
    let mut handle = mux.connect(opts).unwrap();
    let insert = handle.prep("INSERT INTO t VALUES (?, ?)").unwrap();
    // What the schema's triggers do is known then.
    handle.query_drop("DELETE FROM t").unwrap();
    relay.cut_after(cut.way, cut.at);
    let text = "x".repeat(cut.len);
    let results = handle
        .pipeline(|pipe| {
            for n in 0..COUNT {
                if cut.prepared {
                    pipe.exec(&insert, (n, &text))?;
                } else {
                    pipe.query(format!("INSERT INTO t VALUES ({n}, '{text}')"));
                }
            }
            Ok(())
        })
        .unwrap();
    relay.heal();
    assert_eq!(results.len(), COUNT);
    // What is on its way at the server still runs.
    eventually("the server has let the link go", || {
        user.connections(&mut root) == 0
    });
    let rows: Vec<usize> = root
        .query(format!("SELECT a FROM `{}`.t", schema.name))
        .unwrap();
    let mut said = [0; 3];
    for (n, result) in results.iter().enumerate() {
        let is_there = rows.contains(&n);
        match result {
            Ok(result) => {
                assert_eq!(result.affected_rows(), 1);
                assert!(is_there, "{cut:?}: {n} is said to have run");
                said[0] += 1;
            }
            Err(Error::ConnectionLost(e)) if e.ran == Ran::Maybe => said[1] += 1,
            Err(Error::ConnectionLost(e)) => {
                if is_there {
                    wrong.push(format!("{cut:?}: {n}: {e}"));
                }
                said[2] += 1;
            }
            Err(e) => panic!("{cut:?}: {n}: {e}"),
        }
    }
    assert_eq!(one::<u8>(&mut handle, "SELECT 1"), 1, "the handle goes on");
    said
}

#[test]
fn where_the_link_is_cut_each_is_told_whether_it_may_have_run() {
    let user = User::new("pipecut");
    let (schema, _mux, _) = table("pipecut");
    let relay = Relay::new();
    let (mut said, mut wrong) = ([0; 3], Vec::new());
    for prepared in [false, true] {
        for (way, step, len) in [
            (Way::Down, 40, 10),
            (Way::Up, 211, 10),
            (Way::Up, 20_011, 4_000),
            (Way::Up, 400_009, 100_000),
            (Way::Down, 50, 100_000),
        ] {
            for i in 0..10 {
                let at = i * step;
                let cut = Cut {
                    way,
                    at,
                    len,
                    prepared,
                };
                let one = cut_under(&relay, &user, &schema, cut, &mut wrong);
                for (sum, n) in said.iter_mut().zip(one) {
                    *sum += n;
                }
            }
        }
    }
    assert!(wrong.is_empty(), "these have run: {wrong:#?}");
    assert!(said[0] > 0 && said[1] > 0 && said[2] > 0, "{said:?}");
}

#[test]
fn a_statement_that_ends_the_link_tells_those_behind_it() {
    let user = User::new("pipekill");
    let (schema, mux, _) = table("pipekill");
    let mut handle = mux.connect(user.tcp().db_name(Some(&schema.name))).unwrap();
    let results = handle
        .pipeline(|pipe| {
            for n in 0..100 {
                pipe.query(match n {
                    50 => "KILL CONNECTION_ID()".to_owned(),
                    _ => format!("INSERT INTO t VALUES ({n}, 'x')"),
                });
            }
            Ok(())
        })
        .unwrap();
    for (n, result) in results.iter().enumerate() {
        match (n, result) {
            // A connection that is reset may take with it what was not read yet.
            (0..=50, Err(Error::ConnectionLost(e))) => assert_eq!(e.ran, Ran::Maybe, "{n}: {e}"),
            (0..50, Err(e)) => panic!("{n}: {e}"),
            (0..=50, _) => {}
            (_, result) => {
                let e = result.as_ref().expect_err("the link was gone");
                assert!(matches!(e, Error::ConnectionLost(_)), "{n}: {e}");
            }
        }
    }
    assert_eq!(count(&mut handle), 50);
}
