//! Statements that must be done within a time: what is late is withdrawn, thrown away or ended, the
//! caller is told which, and neither its handle nor anybody else is any worse for it.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use futures_lite::StreamExt;
use mysql_mux::{
    Row, StatementTimeout, TxOpts,
    error::{DriverError, Ran},
};
use pollster::block_on;
use support::{relay::Way, *};

/// Long enough to come to the server, on a busy machine too, and short enough to wait for.
const SHORT: Duration = Duration::from_millis(300);

/// The same where other statements have this time too, and must be done in it: a commit, for one, on
/// a disk that others write to.
const ENOUGH: Duration = Duration::from_millis(1500);

#[track_caller]
fn late<T>(result: Result<T, Error>) -> Arc<StatementTimeout> {
    late_one("a statement", result)
}

#[track_caller]
fn late_one<T>(what: &str, result: Result<T, Error>) -> Arc<StatementTimeout> {
    match result {
        Err(Error::StatementTimeout(e)) => e,
        Err(other) => panic!("{what}: its time should have been over, and it is: {other}"),
        Ok(_) => panic!("{what}: its time should have been over, and it worked"),
    }
}

fn table(name: &str, mux: &Mux) -> (Schema, Handle) {
    let schema = Schema::new(name);
    let mut handle = mux.connect(schema.tcp()).unwrap();
    handle
        .query_drop("CREATE TABLE t (a BIGINT PRIMARY KEY, b BIGINT) ENGINE=InnoDB")
        .unwrap();
    (schema, handle)
}

fn count(handle: &mut impl Queryable) -> u64 {
    one(handle, "SELECT COUNT(*) FROM t")
}

fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Questions on a lane and on a link alone, as text and prepared, each with an answer of its own.
#[track_caller]
fn answers_are_right(handle: &mut Handle) {
    let n = next_number();
    assert_eq!(one::<u64>(handle, &format!("SELECT {n}")), n);
    let n = next_number();
    let got: Option<u64> = handle.exec_first("SELECT ? + 1", (n,)).unwrap();
    assert_eq!(got, Some(n + 1));
    let n = next_number();
    let sql = format!("SELECT COALESCE(@never_set, {n})");
    assert_eq!(one::<u64>(handle, &sql), n);
    // One that is hit by a kill that was meant for another tells it.
    let n = next_number();
    let sql = format!("SELECT {n}, SLEEP(0.001)");
    let row: Option<(u64, u8)> = handle.query_first(sql).unwrap();
    assert_eq!(row, Some((n, 0)));
}

/// What the user's connections run at the moment.
fn running(root: &mut Handle, user: &str) -> Vec<String> {
    let rows: Vec<Row> = root.query("SHOW PROCESSLIST").unwrap();
    rows.iter()
        .filter(|row| row.get::<String, _>("User").as_deref() == Some(user))
        .filter_map(|row| row.get::<Option<String>, _>("Info").flatten())
        .collect()
}

fn nothing_goes_on(user: &User) {
    let mut root = server().root();
    eventually("what was late no longer runs", || {
        running(&mut root, &user.name).is_empty()
    });
}

/// Statements that take for ever, of each kind. A server looks whether it was told to stop when it comes
/// to a table: without one an interrupted `SLEEP` may be all there is, and a write done.
const FOR_EVER: &[&str] = &[
    // On a lane, where the server ends them or the link is used alone.
    "SELECT SLEEP(300)",
    "SELECT 1, SLEEP(300) FROM t",
    "INSERT INTO t SELECT 100, SLEEP(300) FROM t",
    "UPDATE t SET b = 9 WHERE a = 1 AND SLEEP(300) = 0",
    "DELETE FROM t WHERE SLEEP(300) = 0",
    "SELECT COUNT(*) FROM n a, n b WHERE SLEEP(0.01) = 0",
    // On a link alone.
    "SELECT @none, SLEEP(300)",
    "DO SLEEP(300)",
    "CALL sleeps(300)",
    "SELECT 1; SELECT SLEEP(300)",
    "SELECT SLEEP(300) INTO @result",
];

fn for_ever(name: &str) -> (Schema, User) {
    let schema = Schema::new(name);
    let mut handle = mux().connect(schema.tcp()).unwrap();
    handle
        .query_drop("CREATE TABLE t (a BIGINT PRIMARY KEY, b BIGINT) ENGINE=InnoDB")
        .unwrap();
    handle.query_drop("INSERT INTO t VALUES (1, 1)").unwrap();
    handle
        .query_drop("CREATE PROCEDURE sleeps(n INT) SELECT SLEEP(n)")
        .unwrap();
    handle
        .query_drop(format!("CREATE TABLE n {}", numbers(1_000, 4)))
        .unwrap();
    (schema, User::new(name))
}

#[test]
fn what_takes_for_ever_is_ended_at_the_server_and_the_link_lives() {
    let (schema, user) = for_ever("forever");
    for isolation in [Isolation::Reset, Isolation::Shared] {
        let mux = builder().max_links(1).build();
        let opts = user.tcp().db_name(Some(&schema.name)).isolation(isolation);
        let mut handle = mux.connect(opts.clone()).unwrap();
        let mut neighbour = mux.connect(opts).unwrap();
        for sql in FOR_EVER {
            let e = late_one(sql, handle.within(SHORT).query_drop(sql));
            assert_eq!((e.timeout, e.ran), (SHORT, Ran::Maybe), "{sql}: {e}");
            answers_are_right(&mut handle);
            answers_are_right(&mut neighbour);
            nothing_goes_on(&user);
            assert_eq!(one::<u64>(&mut handle, "SELECT SUM(a + b) FROM t"), 2);
        }
        assert_eq!(mux.stats().total.lost_connections, 0, "{isolation:?}");
    }
    assert_eq!(
        one::<u64>(
            &mut mux().connect(schema.tcp()).unwrap(),
            "SELECT COUNT(*) FROM t"
        ),
        1
    );
}

#[test]
fn a_prepared_statement_that_takes_for_ever_is_ended_and_the_link_lives() {
    let (schema, user) = for_ever("foreverprep");
    let mux = builder().max_links(1).build();
    let opts = user.tcp().db_name(Some(&schema.name));
    let mut handle = mux.connect(opts.clone()).unwrap();
    let mut neighbour = mux.connect(opts).unwrap();
    for sql in [
        "SELECT ?, SLEEP(300)",
        "SELECT ?, @none, SLEEP(300)",
        "INSERT INTO t SELECT ?, SLEEP(300) FROM t",
        "UPDATE t SET b = ? WHERE SLEEP(300) = 0",
    ] {
        // Prepared before, and together with its run.
        let statement = handle.prep(sql).unwrap();
        let e = late(handle.within(SHORT).exec_drop(&statement, (7,)));
        assert_eq!((e.timeout, e.ran), (SHORT, Ran::Maybe), "{sql}: {e}");
        answers_are_right(&mut handle);
        late(handle.within(SHORT).exec_drop(sql, (8,)));
        answers_are_right(&mut handle);
        if handle.pin().is_some() {
            // As it is prepared with a user variable.
            handle.reset().unwrap();
        }
        answers_are_right(&mut neighbour);
        nothing_goes_on(&user);
    }
    assert_eq!(one::<u64>(&mut handle, "SELECT SUM(a + b) FROM t"), 2);
    assert_eq!(mux.stats().total.lost_connections, 0);
}

#[test]
fn an_async_statement_that_takes_for_ever_is_ended_and_the_link_lives() {
    let (schema, user) = for_ever("foreveraio");
    let mux = builder().max_links(1).build();
    let opts = user.tcp().db_name(Some(&schema.name));
    let mut neighbour = mux.connect(opts.clone()).unwrap();
    block_on(async {
        let mut handle = mux.connect_async(opts).await.unwrap();
        for sql in FOR_EVER {
            handle.set_statement_timeout(Some(SHORT));
            let e = late_one(sql, handle.query_drop(sql).await);
            assert_eq!((e.timeout, e.ran), (SHORT, Ran::Maybe), "{sql}: {e}");
            handle.set_statement_timeout(None);
            let n = next_number();
            assert_eq!(
                one_async::<u64>(&mut handle, &format!("SELECT {n}")).await,
                n
            );
            if handle.pin().is_some() {
                handle.reset().await.unwrap();
            }
            answers_are_right(&mut neighbour);
            nothing_goes_on(&user);
        }
        for sql in ["SELECT ?, SLEEP(300)", "SELECT ?, @none, SLEEP(300)"] {
            handle.set_statement_timeout(Some(SHORT));
            late(handle.exec_drop(sql, (1,)).await);
            handle.set_statement_timeout(None);
            let got = handle.exec_first("SELECT ? + 1", (5,)).await;
            assert_eq!(got.unwrap(), Some(6));
            nothing_goes_on(&user);
        }
        assert_eq!(
            one_async::<u64>(&mut handle, "SELECT SUM(a + b) FROM t").await,
            2
        );
    });
    assert_eq!(mux.stats().total.lost_connections, 0);
}

#[test]
fn what_waits_for_a_link_is_withdrawn_and_has_not_run() {
    let mux = builder().max_links(1).build();
    let (schema, mut holder) = table("withdrawn", &mux);
    let mut handle = mux.connect(schema.tcp()).unwrap();
    holder.query_drop("START TRANSACTION").unwrap();
    let statements = mux.stats().total.statements;
    for sql in [
        "SELECT 1",
        "INSERT INTO t VALUES (1, 1)",
        "SET @x = 1",
        "SELECT @x",
    ] {
        let e = late(handle.within(SHORT).query_drop(sql));
        assert_eq!((e.timeout, e.ran), (SHORT, Ran::No), "{sql}: {e}");
        let e = late(handle.within(SHORT).exec_drop(sql, ()));
        assert_eq!(e.ran, Ran::No, "{sql}: {e}");
        assert!(!Error::StatementTimeout(e).may_have_run());
    }
    handle.set_statement_timeout(Some(SHORT));
    let e = late(handle.start_transaction(TxOpts::default()).map(drop));
    assert_eq!(e.ran, Ran::No);
    let e = late(handle.pipeline(|pipe| {
        pipe.query("INSERT INTO t VALUES (2, 2)");
        Ok(())
    }));
    assert_eq!(e.ran, Ran::No);
    handle.set_statement_timeout(None);
    block_on(async {
        let mut handle = mux.connect_async(schema.tcp()).await.unwrap();
        handle.set_statement_timeout(Some(SHORT));
        let e = late(handle.query_drop("INSERT INTO t VALUES (3, 3)").await);
        assert_eq!(e.ran, Ran::No);
    });
    let total = mux.stats().total;
    assert_eq!((total.statements, total.waiting), (statements, 0));
    holder.query_drop("COMMIT").unwrap();
    answers_are_right(&mut handle);
    assert_eq!(handle.pin(), None);
    assert_eq!(count(&mut holder), 0);
}

#[test]
fn what_is_sent_behind_a_slow_one_is_thrown_away_when_it_comes() {
    let mux = builder().max_links(1).build();
    let mut slow = mux.connect(server().tcp()).unwrap();
    let mut handles: Vec<Handle> = (0..5)
        .map(|_| mux.connect(server().tcp()).unwrap())
        .collect();
    for round in 0..2 {
        let sleeper = thread::spawn(move || {
            let row: Option<(u8, u8)> = slow.query_first("SELECT 7, SLEEP(1.5)").unwrap();
            assert_eq!(row, Some((7, 0)), "nobody ended it");
            slow
        });
        let mut root = server().root();
        eventually("the slow one runs", || {
            running(&mut root, &server().user)
                .iter()
                .any(|sql| sql.contains("7, SLEEP(1.5)"))
        });
        for handle in &mut handles {
            let n = next_number();
            let time = Duration::from_millis(50);
            match handle.within(time).query_first(format!("SELECT {n}")) {
                Err(Error::StatementTimeout(_)) => {}
                // On a busy machine the slow one may be over.
                other => assert_eq!(other.unwrap(), Some(n)),
            }
        }
        for handle in &mut handles {
            answers_are_right(handle);
        }
        slow = within(GENEROUS, "the slow one", move || sleeper.join().unwrap());
        answers_are_right(&mut slow);
        assert_eq!(mux.stats().total.lost_connections, 0, "round {round}");
    }
}

#[test]
fn neighbours_are_never_hurt_while_others_run_out_of_time() {
    let user = User::new("unhurt");
    let mux = builder()
        .max_links(3)
        .acquire_timeout(Duration::from_secs(100))
        .build();
    let (stop, ended) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let late_ones: Vec<_> = (0..3)
        .map(|i| {
            let mut handle = mux.connect(user.tcp()).unwrap();
            let (stop, ended) = (Arc::clone(&stop), Arc::clone(&ended));
            thread::spawn(move || {
                let mut turn = i;
                while !stop.load(Ordering::SeqCst) {
                    turn += 1;
                    let time = Duration::from_millis(1 + turn * 7 % 40);
                    let mut limited = handle.within(time);
                    let n = next_number();
                    // Some of them end at about the time they have.
                    let sleep = if turn.is_multiple_of(2) { 5.0 } else { 0.02 };
                    let got: Result<Option<(u64, u8)>, Error> = match turn % 3 {
                        0 => limited.query_first(format!("SELECT {n}, SLEEP({sleep})")),
                        1 => limited.exec_first("SELECT ?, SLEEP(?)", (n, sleep)),
                        _ => limited.query_first(format!(
                            "SELECT COALESCE(@never_set, {n}), SLEEP({sleep})"
                        )),
                    };
                    drop(limited);
                    match got {
                        Err(Error::StatementTimeout(_)) => {
                            ended.fetch_add(1, Ordering::SeqCst);
                        }
                        Ok(row) => assert_eq!(row, Some((n, 0)), "cut short is not done"),
                        Err(e) => panic!("{e}"),
                    }
                    answers_are_right(&mut handle);
                }
            })
        })
        .collect();
    let neighbours: Vec<_> = (0..6)
        .map(|i| {
            let (mux, opts) = (mux.clone(), user.tcp());
            let ended = Arc::clone(&ended);
            thread::spawn(move || {
                let mut rounds = 0;
                // Until enough of the others were late.
                while rounds < 40 || ended.load(Ordering::SeqCst) < 30 {
                    rounds += 1;
                    if i % 2 == 0 {
                        let mut handle = mux.connect(opts.clone()).unwrap();
                        answers_are_right(&mut handle);
                        answers_are_right(&mut handle);
                    } else {
                        block_on(async {
                            let mut handle = mux.connect_async(opts.clone()).await.unwrap();
                            let n = next_number();
                            let sql = format!("SELECT {n}, SLEEP(0.002)");
                            let row: Option<(u64, u8)> = handle.query_first(sql).await.unwrap();
                            assert_eq!(row, Some((n, 0)));
                        });
                    }
                }
            })
        })
        .collect();
    let stop_late = Arc::clone(&stop);
    within(
        Duration::from_secs(120),
        "neighbours of late ones",
        move || {
            let done: Vec<_> = neighbours
                .into_iter()
                .map(thread::JoinHandle::join)
                .collect();
            stop_late.store(true, Ordering::SeqCst);
            for thread in late_ones {
                thread.join().unwrap();
            }
            for done in done {
                done.unwrap();
            }
        },
    );
    assert_eq!(mux.stats().total.lost_connections, 0);
    let mut root = server().root();
    eventually("those who ended them are gone", || {
        user.connections(&mut root) <= 3
    });
}

#[test]
fn answers_that_come_at_about_the_time_are_never_anothers() {
    let mux = builder().max_links(1).build();
    let mut handle = mux.connect(server().tcp()).unwrap();
    let (mut in_time, mut over) = (0, 0);
    for i in 0..150_u64 {
        // Around the time, and around the moment that is granted beyond it.
        let sleep = 0.005 + (i % 30) as f64 * 0.004;
        let n = next_number();
        let mut limited = handle.within(Duration::from_millis(30));
        let got: Result<Option<(u64, u8)>, Error> = match i % 3 {
            0 => limited.query_first(format!("SELECT {n}, SLEEP({sleep})")),
            1 => limited.exec_first("SELECT ?, SLEEP(?)", (n, sleep)),
            _ => limited.query_first(format!("SELECT COALESCE(@none, {n}), SLEEP({sleep})")),
        };
        drop(limited);
        match got {
            Ok(row) => {
                assert_eq!(row, Some((n, 0)), "cut short is not done");
                in_time += 1;
            }
            Err(Error::StatementTimeout(_)) => over += 1,
            Err(e) => panic!("{e}"),
        }
        answers_are_right(&mut handle);
    }
    assert!(in_time > 0 && over > 0, "{in_time} {over}");
    assert_eq!(mux.stats().total.lost_connections, 0);
}

#[test]
fn many_tasks_that_run_out_of_time_together_go_on() {
    let mux = builder()
        .max_links(4)
        .acquire_timeout(Duration::from_secs(100))
        .build();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let mux2 = mux.clone();
    let late = within(Duration::from_secs(120), "late tasks", move || {
        runtime.block_on(async {
            let tasks: Vec<_> = (0..100)
                .map(|_| {
                    let mux = mux2.clone();
                    tokio::spawn(async move {
                        let mut handle = mux.connect_async(server().tcp()).await.unwrap();
                        let mut late = 0;
                        for _ in 0..3 {
                            handle.set_statement_timeout(Some(Duration::from_millis(20)));
                            let n = next_number();
                            let sql = format!("SELECT {n}, SLEEP(0.01)");
                            match handle.query_first::<(u64, u8), _>(sql).await {
                                Ok(row) => assert_eq!(row, Some((n, 0))),
                                Err(Error::StatementTimeout(_)) => late += 1,
                                Err(e) => panic!("{e}"),
                            }
                            handle.set_statement_timeout(None);
                            let n = next_number();
                            let sql = format!("SELECT {n}");
                            assert_eq!(one_async::<u64>(&mut handle, &sql).await, n);
                        }
                        late
                    })
                })
                .collect();
            let mut late = 0;
            for task in tasks {
                late += task.await.unwrap();
            }
            late
        })
    });
    assert!(late > 0);
    assert_eq!(mux.stats().total.lost_connections, 0);
    assert_eq!(mux.stats().total.waiting, 0);
}

#[test]
fn a_write_that_is_ended_leaves_nothing_or_all() {
    let mux = builder().max_links(1).build();
    let (_schema, mut handle) = table("endedwrite", &mux);
    let rows = numbers(10, 1);
    for i in 0..6 {
        let (time, sql) = match i % 3 {
            0 => (
                SHORT,
                format!("INSERT INTO t SELECT n, SLEEP(60) FROM ({rows}) x"),
            ),
            1 => (
                SHORT,
                format!("INSERT INTO t SELECT n, SLEEP(0.5) FROM ({rows}) x"),
            ),
            _ => (
                GENEROUS,
                format!("INSERT INTO t SELECT n, SLEEP(0.001) FROM ({rows}) x"),
            ),
        };
        let done = handle.within(time).query_drop(sql);
        match (i % 3, &done) {
            (2, done) => assert!(done.is_ok(), "{done:?}"),
            (_, Ok(())) => panic!("it was not ended"),
            (_, Err(Error::StatementTimeout(e))) => assert_eq!(e.ran, Ran::Maybe),
            (_, Err(e)) => panic!("{e}"),
        }
        let is_there = count(&mut handle);
        assert_eq!(is_there, if done.is_ok() { 10 } else { 0 }, "{i}");
        handle.query_drop("DELETE FROM t").unwrap();
    }
    assert_eq!(mux.stats().total.lost_connections, 0);
}

/// What was done before, in the transaction that a statement ran out of time in, is still done; or
/// its loss is told. Never is the one half kept and the other not.
fn is_whole(handle: &mut Handle, other: &mut Handle) {
    let next = handle.query_drop("INSERT INTO t VALUES (2, 2)");
    match next.and_then(|()| handle.query_drop("COMMIT")) {
        Ok(()) => assert_eq!(one::<u64>(other, "SELECT SUM(a) FROM t"), 3),
        Err(Error::SessionLost { .. }) => assert_eq!(count(other), 0),
        Err(e) => panic!("{e}"),
    }
    other.query_drop("DELETE FROM t").unwrap();
}

#[test]
fn a_transaction_in_which_time_runs_out_is_still_open_or_its_end_is_told() {
    let mux = builder().max_links(2).build();
    let (schema, mut other) = table("latetx", &mux);
    let mut handle = mux.connect(schema.tcp()).unwrap();
    for sql in [
        "SELECT SLEEP(300)",
        "SELECT @x, SLEEP(300)",
        "INSERT INTO t SELECT 50, SLEEP(300) FROM t",
        "DELETE FROM t WHERE SLEEP(300) = 0",
    ] {
        for prepared in [false, true] {
            handle.query_drop("START TRANSACTION").unwrap();
            handle.query_drop("INSERT INTO t VALUES (1, 1)").unwrap();
            let e = match prepared {
                false => late(handle.within(SHORT).query_drop(sql)),
                true => late(handle.within(SHORT).exec_drop(sql, ())),
            };
            assert_eq!(e.ran, Ran::Maybe, "{sql}");
            assert_eq!(count(&mut other), 0);
            is_whole(&mut handle, &mut other);
        }
    }
    assert_eq!(mux.stats().total.lost_connections, 0);
}

#[test]
fn a_transaction_of_the_api_goes_on_after_its_time_ran_out() {
    let mux = builder().max_links(2).build();
    let (schema, mut other) = table("latetxapi", &mux);
    let opts = schema.tcp().statement_timeout(Some(ENOUGH));
    let mut handle = mux.connect(opts.clone()).unwrap();
    let mut tx = handle.start_transaction(TxOpts::default()).unwrap();
    tx.query_drop("INSERT INTO t VALUES (1, 1)").unwrap();
    late(tx.query_drop("SELECT SLEEP(300)"));
    late(tx.exec_drop("INSERT INTO t SELECT ?, SLEEP(300) FROM t", (9,)));
    assert_eq!(count(&mut tx), 1);
    tx.query_drop("INSERT INTO t VALUES (2, 2)").unwrap();
    tx.commit().unwrap();
    assert_eq!(one::<u64>(&mut other, "SELECT SUM(a) FROM t"), 3);

    let mut tx = handle.start_transaction(TxOpts::default()).unwrap();
    tx.query_drop("DELETE FROM t").unwrap();
    late(tx.query_drop("SELECT SLEEP(300)"));
    drop(tx);
    assert_eq!(one::<u64>(&mut other, "SELECT SUM(a) FROM t"), 3);

    block_on(async {
        let mut handle = mux.connect_async(opts).await.unwrap();
        let mut tx = handle.start_transaction(TxOpts::default()).await.unwrap();
        tx.query_drop("DELETE FROM t WHERE a = 1").await.unwrap();
        late(tx.query_drop("SELECT SLEEP(300)").await);
        late(
            tx.query_drop("UPDATE t SET a = 7 WHERE SLEEP(300) = 0")
                .await,
        );
        tx.commit().await.unwrap();
        let mut tx = handle.start_transaction(TxOpts::default()).await.unwrap();
        tx.query_drop("DELETE FROM t").await.unwrap();
        late(tx.query_drop("SELECT @x, SLEEP(300)").await);
        drop(tx);
        assert_eq!(
            one_async::<u64>(&mut handle, "SELECT SUM(a) FROM t").await,
            2
        );
    });
    assert_eq!(mux.stats().total.lost_connections, 0);
}

#[test]
fn whoever_waits_for_a_lock_stops_waiting_when_its_time_is_over() {
    let mux = builder().max_links(3).build();
    let (schema, mut holder) = table("latelock", &mux);
    holder.query_drop("INSERT INTO t VALUES (1, 1)").unwrap();
    let mut handle = mux.connect(schema.tcp()).unwrap();
    let lock = unique("latelock");
    holder.query_drop("START TRANSACTION").unwrap();
    holder.query_drop("UPDATE t SET b = 2").unwrap();
    assert_eq!(
        one::<u8>(&mut holder, &format!("SELECT GET_LOCK('{lock}', 0)")),
        1
    );
    for sql in [
        "UPDATE t SET b = 3 WHERE a = 1",
        "SELECT b FROM t WHERE a = 1 FOR UPDATE",
        "INSERT INTO t VALUES (1, 5)",
        "ALTER TABLE t ADD COLUMN c INT",
        &format!("SELECT GET_LOCK('{lock}', 300)"),
    ] {
        late(handle.within(SHORT).query_drop(sql));
        answers_are_right(&mut handle);
    }
    holder.query_drop("COMMIT").unwrap();
    let rows: Vec<(u64, u64)> = handle.query("SELECT * FROM t").unwrap();
    assert_eq!(rows, [(1, 2)]);
    holder
        .query_drop(format!("DO RELEASE_LOCK('{lock}')"))
        .unwrap();
    let sql = format!("SELECT IS_FREE_LOCK('{lock}')");
    assert_eq!(one::<u8>(&mut handle, &sql), 1);
    assert_eq!(mux.stats().total.lost_connections, 0);
}

#[test]
fn what_was_set_is_still_set_after_time_ran_out() {
    let mut handle = mux().connect(server().tcp()).unwrap();
    handle
        .query_drop("SET @x = 5, SESSION lock_wait_timeout = 77")
        .unwrap();
    for sql in [
        "SELECT SLEEP(300)",
        "SELECT @x, SLEEP(300)",
        "DO SLEEP(300)",
    ] {
        late(handle.within(SHORT).query_drop(sql));
        let row: Option<(u64, u64)> = handle
            .query_first("SELECT @x, @@lock_wait_timeout")
            .unwrap();
        assert_eq!(row, Some((5, 77)));
    }
}

#[test]
fn no_time_at_all_is_an_answer_or_a_timeout_and_no_harm() {
    let mux = builder().max_links(1).build();
    let (_schema, mut handle) = table("zero", &mux);
    for time in [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::from_micros(999),
    ] {
        for _ in 0..10 {
            let n = next_number();
            match handle.within(time).query_first(format!("SELECT {n}")) {
                Err(Error::StatementTimeout(_)) => {}
                got => assert_eq!(got.unwrap(), Some(n)),
            }
            match handle.within(time).exec_first("SELECT ? + 1", (n,)) {
                Err(Error::StatementTimeout(_)) => {}
                got => assert_eq!(got.unwrap(), Some(n + 1)),
            }
            let sql = format!("INSERT INTO t VALUES ({n}, 0)");
            let there = match handle.within(time).query_drop(sql) {
                Err(Error::StatementTimeout(e)) if e.ran == Ran::No => Some(0),
                Err(Error::StatementTimeout(_)) => None,
                got => {
                    got.unwrap();
                    Some(1)
                }
            };
            let sql = format!("SELECT COUNT(*) FROM t WHERE a = {n}");
            let rows: u64 = one(&mut handle, &sql);
            assert!(there.is_none_or(|there| there == rows), "{there:?} {rows}");
            answers_are_right(&mut handle);
        }
        late(handle.within(time).query_drop("SELECT SLEEP(300)"));
        late(handle.within(time).query_drop("SELECT @x, SLEEP(300)"));
        answers_are_right(&mut handle);
    }
    assert_eq!(mux.stats().total.lost_connections, 0);
}

#[test]
fn a_time_that_is_very_long_changes_nothing() {
    let mut handle = mux().connect(server().tcp()).unwrap();
    const DAY: u64 = 24 * 60 * 60;
    for time in [
        Duration::from_secs(60),
        Duration::from_secs(DAY),
        Duration::from_secs(400 * DAY),
        Duration::from_secs(100 * 365 * DAY),
        Duration::from_secs(1 << 40),
        Duration::MAX,
    ] {
        handle.set_statement_timeout(Some(time));
        assert_eq!(one::<u8>(&mut handle, "SELECT 7"), 7, "{time:?}");
        assert_eq!(handle.warnings(), 0, "{time:?}");
        answers_are_right(&mut handle);
    }
}

#[test]
fn the_time_in_the_options_is_every_statements() {
    let url = server().url();
    let sign = if url.contains('?') { '&' } else { '?' };
    let mux = mux();
    let mut handle = mux
        .connect(format!("{url}{sign}statement_timeout_ms=1500").as_str())
        .unwrap();
    let e = late(handle.query_drop("SELECT SLEEP(300)"));
    assert_eq!(e.timeout, ENOUGH);
    late(handle.query_drop("SELECT @x, SLEEP(300)"));
    late(handle.exec_drop("SELECT SLEEP(?)", (300,)));
    answers_are_right(&mut handle);
    for bad in ["0", "-1", "x", ""] {
        let e = error_of(mux.connect(format!("{url}{sign}statement_timeout_ms={bad}").as_str()));
        assert!(matches!(e, Error::UrlError(_)), "{bad}: {e}");
    }
    let mut none = mux.connect(url.as_str()).unwrap();
    assert_eq!(one::<u8>(&mut none, "SELECT SLEEP(2)"), 0);
}

#[test]
fn a_time_of_its_own_holds_for_as_long_as_it_is_asked_for() {
    let opts = server().tcp().statement_timeout(Some(GENEROUS));
    let mut handle = mux().connect(opts).unwrap();
    let e = late(handle.within(SHORT).query_drop("SELECT SLEEP(300)"));
    assert_eq!(e.timeout, SHORT);
    // Behind it the handle's own holds again, longer or shorter.
    assert_eq!(one::<u8>(&mut handle, "SELECT SLEEP(0.6)"), 0);
    handle.set_statement_timeout(Some(SHORT));
    assert_eq!(
        one::<u8>(&mut handle.within(GENEROUS), "SELECT SLEEP(0.6)"),
        0
    );
    let e = late(handle.query_drop("SELECT SLEEP(300)"));
    assert_eq!(e.timeout, SHORT);
    let mut within = handle.within(GENEROUS);
    let statement = within.prep("SELECT ? + SLEEP(0.6)").unwrap();
    assert_eq!(within.exec_first(&statement, (3,)).unwrap(), Some(3));
    within.exec_batch(&statement, [(1,), (2,)]).unwrap();
    within.close(statement).unwrap();
    drop(within);
    late(handle.query_drop("SELECT SLEEP(300)"));
    handle.set_statement_timeout(None);
    assert_eq!(one::<u8>(&mut handle, "SELECT SLEEP(0.6)"), 0);
}

/// What a statement tells, all of it.
fn told(handle: &mut Handle, sql: &str) -> String {
    let rows = match handle.query_iter(sql) {
        Ok(mut result) => {
            let columns: Vec<String> = result
                .columns()
                .as_ref()
                .iter()
                .map(|column| column.name_str().into_owned())
                .collect();
            let rows: Vec<String> = result
                .by_ref()
                .map(|row| format!("{:?}", row.unwrap().unwrap()))
                .collect();
            format!("{columns:?} {rows:?}")
        }
        Err(e) => e.to_string(),
    };
    let (affected, id, warnings) = (
        handle.affected_rows(),
        handle.last_insert_id(),
        handle.warnings(),
    );
    format!("{rows} {affected} {id} {warnings} {:?}", handle.info_str())
}

#[test]
fn what_is_done_in_time_is_told_as_without_a_time() {
    let mux = mux();
    let (schema, mut plain) = table("sametold", &mux);
    let opts = schema.tcp().statement_timeout(Some(GENEROUS));
    let mut limited = mux.connect(opts).unwrap();
    plain
        .query_drop("CREATE TABLE ids (id INT PRIMARY KEY AUTO_INCREMENT, a TINYINT)")
        .unwrap();
    for sql in [
        "SELECT 1",
        "select'a'",
        "SELECT*FROM t",
        "SELECT 1;",
        "  \n\tSELECT 1 -- an end",
        "/* a comment */ SELECT 1",
        "SELECT /* a comment */ 1",
        "SELECT /*+ NO_ICP(t) */ 1",
        "SELECT DISTINCT 1, 'two' AS `2`",
        "(SELECT 1) UNION ALL (SELECT 2)",
        "WITH x AS (SELECT 1 AS a) SELECT a + 1 FROM x",
        "SELECT 1 / 0",
        "SELECT CAST('abc' AS SIGNED)",
        "INSERT INTO t VALUES (1, 1), (2, 2)",
        "INSERT INTO t VALUES (1, 1)",
        "REPLACE INTO t VALUES (1, 5)",
        "INSERT INTO ids (a) VALUES (1), (2), (3)",
        "INSERT IGNORE INTO ids (a) VALUES (1000)",
        "UPDATE t SET b = b + 1",
        "SELECT * FROM t ORDER BY a FOR UPDATE",
        "DELETE FROM t WHERE a > 0",
        "DELETE FROM ids",
        "SELECT FROM",
        "SELECT no_such_column FROM t",
        "SELECT * FROM no_such_table",
        "SELECT 1; SELECT 2",
        "SHOW TABLES LIKE 't'",
        "SELECT @x",
        "DO 1",
        "SELECT 'SELECT 1', \"it's\", 'a\\'b', 0x41, N'x', -- one\n 2",
    ] {
        plain.query_drop("TRUNCATE TABLE ids").unwrap();
        let a = told(&mut plain, sql);
        // As it was before.
        let undo = match sql {
            "INSERT INTO t VALUES (1, 1), (2, 2)" => "DELETE FROM t",
            "REPLACE INTO t VALUES (1, 5)" => "REPLACE INTO t VALUES (1, 1)",
            "UPDATE t SET b = b + 1" => "UPDATE t SET b = b - 1",
            "DELETE FROM t WHERE a > 0" => "INSERT INTO t VALUES (1, 1), (2, 2)",
            _ => "DO 1",
        };
        plain.query_drop(undo).unwrap();
        plain.query_drop("TRUNCATE TABLE ids").unwrap();
        assert_eq!(told(&mut limited, sql), a, "{sql}");
    }
}

#[test]
fn of_many_statements_those_that_are_late_are_told_and_no_answer_is_anothers() {
    let (schema, user) = for_ever("latemany");
    let mux = builder().max_links(2).build();
    let opts = user.tcp().db_name(Some(&schema.name));
    let mut handle = mux.connect(opts.clone()).unwrap();
    let mut elsewhere = support::mux().connect(opts).unwrap();
    for prepared in [false, true] {
        for at in [0, 3, 9] {
            // No link of this mux holds it: it is prepared on the way.
            let sleep = elsewhere
                .prep(format!("SELECT {at}, SLEEP(300), ?"))
                .unwrap();
            handle.set_statement_timeout(Some(ENOUGH));
            let first = next_number() * 100;
            let results = handle
                .pipeline(|pipe| {
                    for i in 0..10 {
                        match (i == at, prepared) {
                            (true, true) => pipe.exec(&sleep, (1,))?,
                            (true, false) => pipe.query("SELECT SLEEP(300)"),
                            (false, _) => pipe.query(format!("SELECT {first} + {i}")),
                        };
                    }
                    Ok(())
                })
                .unwrap();
            handle.set_statement_timeout(None);
            assert_eq!(results.len(), 10);
            for (i, result) in (0..).zip(results) {
                match result {
                    Ok(result) => {
                        assert_ne!(i, at);
                        assert_eq!(result.rows::<u64>().unwrap(), [first + i]);
                    }
                    Err(Error::StatementTimeout(_)) => assert!(i >= at, "{i} was before {at}"),
                    Err(e) => panic!("{i}: {e}"),
                }
            }
            answers_are_right(&mut handle);
            nothing_goes_on(&user);
        }
    }
    assert_eq!(mux.stats().total.lost_connections, 0);
}

#[test]
fn many_statements_that_are_all_late_leave_nothing_running() {
    let (schema, user) = for_ever("alllate");
    let mux = builder().max_links(2).build();
    let mut handle = mux.connect(user.tcp().db_name(Some(&schema.name))).unwrap();
    handle.set_statement_timeout(Some(SHORT));
    let insert = handle
        .prep("INSERT INTO t SELECT ?, SLEEP(300) FROM t")
        .unwrap();
    let results = handle
        .pipeline(|pipe| {
            for n in 100..105 {
                pipe.exec(&insert, (n,))?;
            }
            Ok(())
        })
        .unwrap();
    for result in results {
        late(result);
    }
    let e = error_of(handle.exec_batch(&insert, (200..205).map(|n| (n,))));
    assert!(matches!(e, Error::StatementTimeout(_)), "{e}");
    handle.set_statement_timeout(None);
    answers_are_right(&mut handle);
    nothing_goes_on(&user);
    // One that was sent behind another is not told to be over before it is.
    assert_eq!(one::<u64>(&mut handle, "SELECT MAX(a) FROM t"), 1);
}

#[test]
fn a_stream_whose_first_row_is_late_is_ended() {
    let (schema, user) = for_ever("latestream");
    let mux = builder().max_links(1).build();
    let opts = user
        .tcp()
        .db_name(Some(&schema.name))
        .statement_timeout(Some(SHORT));
    let mut handle = mux.connect(opts.clone()).unwrap();
    // Long enough to be late, short enough for a test that fails.
    for sql in ["SELECT SLEEP(5)", "SELECT @x, SLEEP(5)"] {
        let rows = handle.query_stream::<Row, _>(sql);
        late(rows.and_then(|rows| rows.collect::<Result<Vec<_>, _>>()));
        handle.set_statement_timeout(None);
        answers_are_right(&mut handle);
        handle.set_statement_timeout(Some(SHORT));
    }
    drop(handle);
    block_on(async {
        let mut handle = mux.connect_async(opts).await.unwrap();
        let rows = match handle.query_stream::<Row, _>("SELECT SLEEP(5)").await {
            Ok(rows) => rows.try_collect::<Row, Error, Vec<_>>().await,
            Err(e) => Err(e),
        };
        late(rows);
    });
}

#[test]
fn a_server_that_falls_silent_is_late_too() {
    let relay = Relay::new();
    let mux = builder().max_links(2).build();
    let mut handle = mux.connect(relay.tcp(server().tcp())).unwrap();
    for sql in ["SELECT 1", "SELECT @x", "SET @x = 1"] {
        answers_are_right(&mut handle);
        relay.stall(Way::Down);
        let (e, back) = within(GENEROUS, "a silent server", move || {
            let e = error_of(handle.within(SHORT).query_drop(sql));
            (e, handle)
        });
        handle = back;
        assert!(matches!(e, Error::StatementTimeout(_)), "{sql}: {e}");
        assert!(e.may_have_run(), "{sql}: {e}");
        relay.close_all();
        relay.heal();
        eventually("the handle goes on", || {
            handle
                .query_first("SELECT 7")
                .is_ok_and(|got| got == Some(7))
        });
    }
}

#[test]
fn a_link_that_can_not_be_opened_in_time_is_no_reason_to_wait_longer() {
    let relay = Relay::new();
    let mux = builder().max_links(2).build();
    let opts = relay.tcp(server().tcp());
    let mut first = mux.connect(opts.clone()).unwrap();
    let mut handle = mux.connect(opts).unwrap();
    first.query_drop("START TRANSACTION").unwrap();
    relay.deaf();
    let (e, mut handle) = within(GENEROUS, "a server that is deaf", move || {
        let e = error_of(handle.within(SHORT).query_drop("SELECT @x"));
        (e, handle)
    });
    assert!(matches!(e, Error::StatementTimeout(_)), "{e}");
    assert!(!e.may_have_run(), "{e}");
    relay.heal();
    answers_are_right(&mut handle);
}

#[test]
fn after_the_mux_is_shut_down_a_time_changes_nothing() {
    let mux = mux();
    let mut handle = mux.connect(server().tcp()).unwrap();
    mux.shutdown(GENEROUS);
    let e = error_of(handle.within(SHORT).query_drop("SELECT 1"));
    assert!(
        matches!(e, Error::DriverError(DriverError::MuxShutDown)),
        "{e}"
    );
}

#[test]
fn that_a_limit_is_over_changes_nothing_for_those_who_share_the_link() {
    let mux = builder().max_links(1).build();
    let (schema, mut limited) = table("limit_is_over", &mux);
    let mut other = mux.connect(schema.tcp()).unwrap();
    let mut insert = |number: u64| {
        let sql = |n| format!("INSERT INTO t VALUES ({n}, 1)");
        limited
            .within(GENEROUS)
            .query_drop(sql(2 * number))
            .unwrap();
        // MariaDB tells with this one what it was before.
        other.query_drop(sql(2 * number + 1)).unwrap();
        assert_eq!(other.pin(), None);
    };
    insert(1);
    insert(2);
    let before = mux.stats().total.writes;
    for number in 3..8 {
        insert(number);
    }
    assert_eq!(mux.stats().total.writes - before, 10);
    // Who sets it has set it.
    other
        .query_drop("SET SESSION max_execution_time = 7000")
        .or_else(|_| other.query_drop("SET SESSION max_statement_time = 7"))
        .unwrap();
    let name = match server().kind {
        Kind::MariaDb => "max_statement_time",
        Kind::MySql => "max_execution_time",
    };
    limited
        .within(GENEROUS)
        .query_drop("DELETE FROM t")
        .unwrap();
    let set: String = one(&mut other, &format!("SELECT @@{name}"));
    assert!(set.starts_with('7'), "{set}");
    let unset: String = one(&mut limited, &format!("SELECT @@{name}"));
    assert!(unset.starts_with('0'), "{unset}");
}
