//! The async face: the blocking handle's answers on any executor, over the same links; and whoever
//! goes away, at whatever moment, leaves everything in order.

mod support;

use std::{
    fmt::Write as _,
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use futures_lite::{StreamExt, future::yield_now};
use mysql_mux::{
    ChangeUserOpts, LocalInfileHandler, Row, TxOpts, Value, error::DriverError, params,
};
use pollster::block_on;
use support::*;

fn send<T: Send>(_: T) {}

/// It compiles: the futures may move between an executor's threads.
const _: fn(&mut aio::Handle, &Mux, ChangeUserOpts, mysql_mux::Statement) =
    |handle, mux, change, statement| {
        send(mux.connect_async(""));
        send(aio::Handle::new(""));
        send(handle.ping());
        send(handle.reset());
        send(handle.change_user(change));
        send(handle.select_db(""));
        send(handle.statistics());
        send(handle.query_iter(""));
        send(handle.query::<Row, _>(""));
        send(handle.query_first::<Row, _>(""));
        send(handle.query_map("", |n: u8| n));
        send(handle.query_fold("", 0, |sum: u64, n: u64| sum + n));
        send(handle.query_drop(""));
        send(handle.prep(""));
        send(handle.exec_iter(&statement, ()));
        send(handle.exec::<Row, _, _>(&statement, (1,)));
        send(handle.exec_first::<Row, _, _>("", ()));
        send(handle.exec_map("", (), |n: u8| n));
        send(handle.exec_fold("", (), 0, |sum: u64, n: u64| sum + n));
        send(handle.exec_drop("", ()));
        send(handle.exec_batch(&statement, [(1,)]));
        send(handle.close(statement));
        send(handle.pipeline(|pipe| {
            pipe.query("");
            Ok(())
        }));
        send(handle.query_stream::<Row, _>(""));
        send(handle.exec_stream::<Row, _, _>("", ()));
        send(async {
            let mut stream = handle.query_stream::<Row, _>("").await?;
            while let Some(row) = stream.next().await {
                row?;
            }
            drop(stream);
            let mut tx = handle.start_transaction(TxOpts::default()).await?;
            tx.query_drop("").await?;
            tx.commit().await?;
            let tx = handle.start_transaction(TxOpts::default()).await?;
            tx.rollback().await
        });
    };

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs the task on each kind of executor.
fn everywhere(task: impl Fn() -> Task) {
    let tokio = |mut builder: tokio::runtime::Builder, task: Task| {
        let runtime = builder.build().unwrap();
        within(GENEROUS, "a task on tokio", move || {
            runtime.block_on(async { tokio::spawn(task).await.unwrap() });
        });
    };
    let mut many = tokio::runtime::Builder::new_multi_thread();
    many.worker_threads(2);
    tokio(many, task());
    tokio(tokio::runtime::Builder::new_current_thread(), task());
    let one = task();
    within(GENEROUS, "a task on an executor of smol's", move || {
        let executor = async_executor::Executor::new();
        let task = executor.spawn(one);
        futures_lite::future::block_on(executor.run(task));
    });
    let one = task();
    within(GENEROUS, "a future that a thread waits for", move || {
        block_on(one)
    });
}

/// Polls it that often; then it is dropped, while it waits.
async fn give_up_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut polled = 0;
    std::future::poll_fn(|cx| {
        if polled == polls {
            return Poll::Ready(None);
        }
        polled += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if polled == polls => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// A number that no other question of this program has asked for.
fn next_number() -> u64 {
    static NEXT: AtomicUsize = AtomicUsize::new(1000);
    NEXT.fetch_add(1, Ordering::Relaxed) as u64
}

/// Questions on a lane and on a link alone, as text and prepared, each with an answer of its own.
async fn answers_are_right(handle: &mut aio::Handle) {
    let n = next_number();
    assert_eq!(one_async::<u64>(handle, &format!("SELECT {n}")).await, n);
    let n = next_number();
    let got = handle.exec_first("SELECT ? + 1", (n,)).await;
    assert_eq!(got.unwrap(), Some(n + 1));
    let n = next_number();
    let sql = format!("SELECT COALESCE(@never_set, {n})");
    assert_eq!(one_async::<u64>(handle, &sql).await, n);
}

/// Gives up what `run` does at each point where it waits, one after the other, and looks whether the
/// handle and its neighbours still get the answers to their own questions.
#[track_caller]
fn give_up_everywhere(
    mux: &Mux,
    opts: OptsBuilder,
    run: impl AsyncFn(&mut aio::Handle, u64) -> Result<(), Error>,
) {
    let others = mux.stats().total.handles;
    let connect = async || mux.connect_async(opts.clone()).await.unwrap();
    block_on(async {
        let mut handle = connect().await;
        let mut neighbours = [connect().await, connect().await];
        for polls in 0.. {
            assert!(polls < 1000, "it never ends");
            let done = give_up_after(polls, run(&mut handle, next_number())).await;
            answers_are_right(&mut handle).await;
            for neighbour in &mut neighbours {
                answers_are_right(neighbour).await;
            }
            if let Some(done) = done {
                done.unwrap();
                assert!(polls > 0, "it was run");
                break;
            }
        }
        // And where it is new each time, so that what it has on its link is as well.
        for polls in 0.. {
            let mut handle = connect().await;
            let done = give_up_after(polls, run(&mut handle, next_number())).await;
            drop(handle);
            for neighbour in &mut neighbours {
                answers_are_right(neighbour).await;
            }
            if done.is_some() {
                break;
            }
        }
        let total = mux.stats().total;
        assert_eq!(total.handles, others + 3);
        assert_eq!(total.acquire_timeouts, 0);
    });
}

/// A table for statements that write.
fn table(name: &str, mux: &Mux) -> (Schema, Handle) {
    let schema = Schema::new(name);
    let mut handle = mux.connect(schema.tcp()).unwrap();
    handle
        .query_drop(
            "CREATE TABLE t (a INT PRIMARY KEY AUTO_INCREMENT, b BIGINT, c LONGBLOB) ENGINE=InnoDB",
        )
        .unwrap();
    (schema, handle)
}

#[test]
fn every_executor_will_do() {
    let mux = mux();
    let (schema, mut blocking) = table("executors", &mux);
    let opts = schema.tcp();
    everywhere(|| {
        let (mux, opts) = (mux.clone(), opts.clone());
        Box::pin(async move {
            let mut handle = mux.connect_async(opts).await.unwrap();
            answers_are_right(&mut handle).await;
            let mut tx = handle.start_transaction(TxOpts::default()).await.unwrap();
            tx.exec_batch("INSERT INTO t (b) VALUES (?)", (0..10).map(|b| (b,)))
                .await
                .unwrap();
            assert_eq!(
                one_async::<u64>(&mut tx, "SELECT COUNT(*) FROM t").await,
                10
            );
            tx.rollback().await.unwrap();
            let sql = numbers(3000, 10);
            let stream = handle.query_stream::<(u64, String), _>(&sql).await.unwrap();
            assert_eq!(stream.fold(0, |count, _| count + 1).await, 3000);
            let e = error_of(handle.query_drop("SELECT * FROM no_such_table").await);
            assert_eq!(e.code(), Some(1146));
            answers_are_right(&mut handle).await;
        })
    });
    assert_eq!(one::<u64>(&mut blocking, "SELECT COUNT(*) FROM t"), 0);
    assert_eq!(mux.stats().total.handles, 1);
}

#[test]
fn many_tasks_on_every_executor_get_their_own_answers() {
    let mux = builder().max_links(2).build();
    everywhere(|| {
        let mux = mux.clone();
        Box::pin(async move {
            let executor = async_executor::Executor::new();
            let tasks: Vec<_> = (0..100)
                .map(|_| {
                    let mux = mux.clone();
                    executor.spawn(async move {
                        let mut handle = mux.connect_async(server().tcp()).await.unwrap();
                        for _ in 0..5 {
                            answers_are_right(&mut handle).await;
                        }
                    })
                })
                .collect();
            let all = async {
                for task in tasks {
                    task.await;
                }
            };
            executor.run(all).await;
        })
    });
    assert!(mux.stats().total.connect_success <= 2);
}

/// One of the things that both kinds of handles do.
enum Step {
    Query(&'static str),
    Exec(&'static str, Vec<Value>),
    Named(&'static str, &'static str, i64),
    Batch(&'static str, Vec<i64>),
    Stream(&'static str),
    SelectDb(bool),
    Ping,
    Reset,
    Prep(&'static str),
}

fn steps() -> Vec<Step> {
    use Step::*;
    let big = Value::from(noise(1_200_000));
    vec![
        Ping,
        Query("SELECT 1, 'a', NULL, 0.5, X'00ff', CAST('2001-02-03' AS DATE)"),
        Exec("SELECT ?, ?, ? + 1", vec![1.into(), "b".into(), 41.into()]),
        Named("SELECT :n, :n + 1", "n", 5),
        Query("INSERT INTO t (b) VALUES (1), (2), (3)"),
        Exec(
            "INSERT INTO t (b, c) VALUES (?, ?)",
            vec![9.into(), Value::NULL],
        ),
        Exec(
            "INSERT INTO t (b, c) VALUES (?, ?)",
            vec![10.into(), big.clone()],
        ),
        Exec(
            "SELECT MD5(c), LENGTH(c) FROM t WHERE b = ?",
            vec![10.into()],
        ),
        Query("SELECT * FROM t ORDER BY a"),
        Batch("INSERT INTO t (b) VALUES (?)", (20..1500).collect()),
        Query("SELECT COUNT(*), SUM(b), MIN(a), MAX(a) FROM t"),
        Batch("INSERT INTO t (a) VALUES (?)", vec![7000, 7001, 7000, 7002]),
        Query("SELECT a FROM t WHERE a >= 7000 ORDER BY a"),
        Query("UPDATE t SET b = b + 1 WHERE b BETWEEN 100 AND 200"),
        Query("SELECT FROM"),
        Query("SELECT no_such_column FROM t"),
        Query("INSERT INTO t (a) VALUES (1)"),
        Exec("SELECT ?", vec![]),
        Exec("SELECT ?", vec![1.into(), 2.into()]),
        Exec("SELECT * FROM no_such_table", vec![]),
        Query("SELECT 1 AS a UNION ALL SELECT 2; SELECT 'other'; DO 1; SELECT 3"),
        Query("SELECT 1; SELECT * FROM no_such_table; SELECT 2"),
        Query("CREATE PROCEDURE p() BEGIN SELECT 7; SELECT 8, 9; END"),
        Query("CALL p()"),
        Exec("CALL p()", vec![]),
        Query("SET @x = 5"),
        Query("SELECT @x"),
        Exec("SELECT @x + ?", vec![1.into()]),
        Query("START TRANSACTION"),
        Query("DELETE FROM t"),
        Query("SELECT COUNT(*) FROM t"),
        Query("ROLLBACK"),
        Query("SELECT COUNT(*) FROM t"),
        Query("SELECT @x"),
        Stream("SELECT a, b FROM t ORDER BY a"),
        Stream("SELECT FROM"),
        Query("LOAD DATA LOCAL INFILE 'f' INTO TABLE t (a)"),
        Query("SELECT a FROM t WHERE a >= 8000 ORDER BY a"),
        SelectDb(false),
        Query("SELECT LENGTH(DATABASE()) > 0, @x"),
        SelectDb(true),
        Query("SELECT COUNT(*) FROM t"),
        Reset,
        Query("SELECT @x"),
        Query("SELECT COUNT(*) FROM t"),
        Prep("SELECT ?, 1, 'a' FROM t"),
        Prep("SELECT"),
        Query("DROP PROCEDURE p"),
        Query("DO 1"),
    ]
}

fn file() -> LocalInfileHandler {
    LocalInfileHandler::new(|_, writer| std::io::Write::write_all(writer, b"8000\n8001\n"))
}

/// What a result says, all of it.
fn told<P: mysql_mux::prelude::Protocol>(
    result: Result<mysql_mux::QueryResult<P>, Error>,
) -> Result<String, Error> {
    let mut result = result?;
    let mut text = String::new();
    while let Some(set) = result.iter() {
        let (affected, id, warnings) = (set.affected_rows(), set.last_insert_id(), set.warnings());
        write!(text, "[{affected} {id:?} {warnings} {:?}]", set.info_str()).unwrap();
        for column in set.columns().as_ref() {
            write!(text, " {}:{:?}", column.name_str(), column.column_type()).unwrap();
        }
        for row in set {
            match row {
                Ok(row) => write!(text, " {:?}", row.unwrap()).unwrap(),
                Err(e) => write!(text, " {e}").unwrap(),
            }
        }
    }
    Ok(text)
}

fn line(told: Result<String, Error>) -> String {
    told.unwrap_or_else(|e| format!("{:?}: {e}", e.code()))
}

fn positional(values: &[Value]) -> mysql_mux::Params {
    match values {
        [] => mysql_mux::Params::Empty,
        values => mysql_mux::Params::Positional(values.to_vec()),
    }
}

fn run_blocking(handle: &mut Handle, step: &Step, schema: &str) -> String {
    let mut told = line(match step {
        Step::Query(sql) => told(handle.query_iter(sql)),
        Step::Exec(sql, values) => told(handle.exec_iter(*sql, positional(values))),
        Step::Named(sql, name, n) => told(handle.exec_iter(*sql, params! { *name => *n })),
        Step::Batch(sql, values) => handle
            .exec_batch(*sql, values.iter().map(|n| (n,)))
            .map(|()| String::new()),
        Step::Stream(sql) => handle
            .query_stream::<Row, _>(sql)
            .and_then(|rows| rows.collect::<Result<Vec<_>, _>>())
            .map(|rows| format!("{rows:?}")),
        Step::SelectDb(back) => {
            let name = if *back { schema } else { &server().database };
            handle.select_db(name).map(|()| String::new())
        }
        Step::Ping => handle.ping().map(|()| String::new()),
        Step::Reset => handle.reset().map(|()| String::new()),
        Step::Prep(sql) => handle
            .prep(sql)
            .map(|s| format!("{} {}", s.num_params(), s.num_columns())),
    });
    let (affected, id) = (handle.affected_rows(), handle.last_insert_id());
    let (warnings, pinned) = (handle.warnings(), handle.pin().map(|pin| pin.reason()));
    write!(
        told,
        " {affected} {id} {warnings} {:?} {pinned:?}",
        handle.info_str()
    )
    .unwrap();
    told
}

async fn run_async(handle: &mut aio::Handle, step: &Step, schema: &str) -> String {
    let mut told = line(match step {
        Step::Query(sql) => told(handle.query_iter(sql).await),
        Step::Exec(sql, values) => told(handle.exec_iter(*sql, positional(values)).await),
        Step::Named(sql, name, n) => told(handle.exec_iter(*sql, params! { *name => *n }).await),
        Step::Batch(sql, values) => handle
            .exec_batch(*sql, values.iter().map(|n| (n,)))
            .await
            .map(|()| String::new()),
        Step::Stream(sql) => match handle.query_stream::<Row, _>(sql).await {
            Ok(rows) => rows
                .try_collect::<Row, Error, Vec<_>>()
                .await
                .map(|rows| format!("{rows:?}")),
            Err(e) => Err(e),
        },
        Step::SelectDb(back) => {
            let name = if *back { schema } else { &server().database };
            handle.select_db(name).await.map(|()| String::new())
        }
        Step::Ping => handle.ping().await.map(|()| String::new()),
        Step::Reset => handle.reset().await.map(|()| String::new()),
        Step::Prep(sql) => handle
            .prep(sql)
            .await
            .map(|s| format!("{} {}", s.num_params(), s.num_columns())),
    });
    let (affected, id) = (handle.affected_rows(), handle.last_insert_id());
    let (warnings, pinned) = (handle.warnings(), handle.pin().map(|pin| pin.reason()));
    write!(
        told,
        " {affected} {id} {warnings} {:?} {pinned:?}",
        handle.info_str()
    )
    .unwrap();
    told
}

#[test]
fn whatever_is_done_is_told_as_the_blocking_handle_tells_it() {
    server()
        .root()
        .query_drop("SET GLOBAL local_infile = 1")
        .unwrap();
    for isolation in [Isolation::Session, Isolation::Reset, Isolation::Shared] {
        let mux = mux();
        let (here, _) = table("sameblocking", &mux);
        let (there, _) = table("sameasync", &mux);
        let opts = |schema: &Schema| {
            schema
                .tcp()
                .isolation(isolation)
                .local_infile_handler(Some(file()))
        };
        // Each on a mux of its own: sessions that are shared are shared with nobody else.
        let (mux_a, mux_b) = (support::mux(), support::mux());
        let mut blocking = mux_a.connect(opts(&here)).unwrap();
        let mut handle = block_on(mux_b.connect_async(opts(&there))).unwrap();
        for (i, step) in steps().iter().enumerate() {
            let a = run_blocking(&mut blocking, step, &here.name);
            let b = block_on(run_async(&mut handle, step, &there.name));
            let a = a.replace(&here.name, "…");
            let b = b.replace(&there.name, "…");
            let shown = |text: &str| text.chars().take(500).collect::<String>();
            assert!(
                a == b,
                "step {i}, {isolation:?}:\n{}\n{}",
                shown(&a),
                shown(&b)
            );
        }
    }
}

#[test]
fn transactions_end_as_the_blocking_handles_do() {
    let mux = builder().max_links(2).build();
    let (schema, mut blocking) = table("txends", &mux);
    let count = "SELECT COUNT(*) FROM t";
    block_on(async {
        let mut handle = mux.connect_async(schema.tcp()).await.unwrap();
        let mut other = mux.connect_async(schema.tcp()).await.unwrap();
        let mut tx = handle.start_transaction(TxOpts::default()).await.unwrap();
        tx.query_drop("INSERT INTO t (b) VALUES (1)").await.unwrap();
        assert_eq!(one_async::<u64>(&mut other, count).await, 0);
        tx.commit().await.unwrap();
        assert_eq!(one_async::<u64>(&mut other, count).await, 1);

        let mut tx = handle.start_transaction(TxOpts::default()).await.unwrap();
        tx.query_drop("DELETE FROM t").await.unwrap();
        drop(tx);
        // Rolled back, whoever asks next, and whoever waits for its locks.
        other.query_drop("UPDATE t SET b = 2").await.unwrap();
        assert_eq!(one_async::<u64>(&mut handle, count).await, 1);
        assert_eq!(one_async::<u64>(&mut handle, "SELECT b FROM t").await, 2);

        let opts = TxOpts::default().set_access_mode(Some(mysql_mux::AccessMode::ReadOnly));
        let mut tx = handle.start_transaction(opts).await.unwrap();
        let e = error_of(tx.query_drop("DELETE FROM t").await);
        assert_eq!(e.code(), Some(1792), "{e}");
        tx.rollback().await.unwrap();
        handle
            .query_drop("INSERT INTO t (b) VALUES (3)")
            .await
            .unwrap();
        assert_eq!(handle.pin(), None);
    });
    assert_eq!(one::<u64>(&mut blocking, count), 2);
}

#[test]
fn threads_and_tasks_share_one_link() {
    let user = User::new("bothfaces");
    let mux = builder().max_links(1).build();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let ids = Arc::new(std::sync::Mutex::new(std::collections::BTreeSet::new()));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let mut handle = mux.connect(user.tcp()).unwrap();
            let ids = Arc::clone(&ids);
            thread::spawn(move || {
                for _ in 0..200 {
                    let n = next_number();
                    assert_eq!(one::<u64>(&mut handle, &format!("SELECT {n}")), n);
                    let n = next_number();
                    let back: Option<u64> = handle.exec_first("SELECT ? + 1", (n,)).unwrap();
                    assert_eq!(back, Some(n + 1));
                    ids.lock().unwrap().insert(handle.connection_id());
                }
                handle.query_drop("SET @x = 1").unwrap();
                // Not while the ids are locked: tasks that wait for those may have the link.
                let id = one(&mut handle, "SELECT CONNECTION_ID()");
                ids.lock().unwrap().insert(id);
            })
        })
        .collect();
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let (mux, opts, ids) = (mux.clone(), user.tcp(), Arc::clone(&ids));
            runtime.spawn(async move {
                let mut handle = mux.connect_async(opts).await.unwrap();
                for _ in 0..20 {
                    answers_are_right(&mut handle).await;
                    ids.lock().unwrap().insert(handle.connection_id());
                }
                let id = one_async(&mut handle, "SELECT CONNECTION_ID()").await;
                ids.lock().unwrap().insert(id);
            })
        })
        .collect();
    // Those whose session can't leave the link give it up by ending.
    within(Duration::from_secs(120), "threads and tasks", move || {
        for thread in threads {
            thread.join().unwrap();
        }
        runtime.block_on(async {
            for task in tasks {
                task.await.unwrap();
            }
        });
    });
    assert_eq!(user.connections(&mut server().root()), 1);
    assert_eq!(ids.lock().unwrap().len(), 1);
    assert_eq!(mux.stats().total.connect_success, 1);
}

#[test]
fn ten_thousand_handles_at_once_over_four_links() {
    let user = User::new("tenthousand");
    let mux = builder()
        .max_links(4)
        .acquire_timeout(Duration::from_secs(120))
        .build();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let (mux2, opts) = (mux.clone(), mysql_mux::Opts::from(user.tcp()));
    within(Duration::from_secs(180), "10,000 handles", move || {
        runtime.block_on(async {
            let mut handles = Vec::new();
            for _ in 0..10_000 {
                handles.push(mux2.connect_async(opts.clone()).await.unwrap());
            }
            assert_eq!(mux2.stats().total.handles, 10_000);
            let tasks: Vec<_> = handles
                .into_iter()
                .map(|mut handle| {
                    tokio::spawn(async move {
                        for _ in 0..3 {
                            let n = next_number();
                            let sql = format!("SELECT {n}");
                            assert_eq!(one_async::<u64>(&mut handle, &sql).await, n);
                            let got = handle.exec_first("SELECT ? + 1", (n,)).await;
                            assert_eq!(got.unwrap(), Some(n + 1));
                        }
                        handle
                    })
                })
                .collect();
            let mut handles = Vec::new();
            for task in tasks {
                handles.push(task.await.unwrap());
            }
            assert_eq!(mux2.stats().total.handles, 10_000);
        });
    });
    assert!(user.connections(&mut server().root()) <= 4);
    assert!(mux.stats().total.connect_success <= 4);
    assert_eq!(mux.stats().total.handles, 0);
}

#[test]
fn a_query_that_is_given_up_anywhere_hurts_nobody() {
    let mux = builder().max_links(2).build();
    // On a lane; one that takes a while; on a link alone; with a session that must be begun.
    give_up_everywhere(&mux, server().tcp(), async |handle, n| {
        let got: u64 = one_async(handle, &format!("SELECT {n}")).await;
        assert_eq!(got, n);
        Ok(())
    });
    give_up_everywhere(&mux, server().tcp(), async |handle, n| {
        let got: u64 = one_async(handle, &format!("SELECT {n} + SLEEP(0.02)")).await;
        assert_eq!(got, n);
        Ok(())
    });
    give_up_everywhere(&mux, server().tcp(), async |handle, n| {
        let sql = format!("SELECT COALESCE(@never_set, {n}) + SLEEP(0.02)");
        assert_eq!(one_async::<u64>(handle, &sql).await, n);
        Ok(())
    });
    let with_init = server().tcp().init(vec!["SET @begun = 1"]);
    give_up_everywhere(&mux, with_init, async |handle, n| {
        let sql = format!("SELECT @begun * {n}");
        assert_eq!(one_async::<u64>(handle, &sql).await, n);
        Ok(())
    });
    assert_eq!(mux.stats().total.lost_connections, 0);
}

#[test]
fn a_large_answer_that_is_given_up_anywhere_hurts_nobody() {
    let mux = builder().max_links(2).build();
    give_up_everywhere(&mux, server().tcp(), async |handle, n| {
        let sql = format!("SELECT {n}, REPEAT('x', 1000000) UNION ALL SELECT 1, 'y'");
        let rows: Vec<(u64, String)> = handle.query(sql).await?;
        assert_eq!((rows[0].0, rows[0].1.len(), rows.len()), (n, 1_000_000, 2));
        Ok(())
    });
}

#[test]
fn a_prepared_statement_that_is_given_up_anywhere_hurts_nobody() {
    let mux = builder().max_links(2).build();
    // Text that no link holds yet, so that it is prepared each time.
    give_up_everywhere(&mux, server().tcp(), async |handle, n| {
        let sql = format!("SELECT ? + {n}");
        let got: Option<u64> = handle.exec_first(sql, (1,)).await?;
        assert_eq!(got, Some(n + 1));
        Ok(())
    });
    give_up_everywhere(&mux, server().tcp(), async |handle, n| {
        let sql = format!("SELECT COALESCE(@never_set, ? + {n})");
        let got: Option<u64> = handle.exec_first(sql, (1,)).await?;
        assert_eq!(got, Some(n + 1));
        Ok(())
    });
    give_up_everywhere(&mux, server().tcp(), async |handle, n| {
        let statement = handle.prep(format!("SELECT ? * 2 + {n}")).await?;
        let got: Option<u64> = handle.exec_first(&statement, (n,)).await?;
        assert_eq!(got, Some(n * 3));
        handle.close(statement).await
    });
    // A cache that holds one only closes another with each.
    let small = server().tcp().stmt_cache_size(1_usize);
    give_up_everywhere(&mux, small, async |handle, n| {
        for add in 0..3 {
            let got: Option<u64> = handle
                .exec_first(format!("SELECT ? + {add} + {n}"), (0,))
                .await?;
            assert_eq!(got, Some(n + add));
        }
        Ok(())
    });
    assert_eq!(mux.stats().total.lost_connections, 0);
}

#[test]
fn large_parameters_that_are_given_up_anywhere_hurt_nobody() {
    let mux = builder().max_links(2).build();
    let bytes = noise(3_000_000);
    give_up_everywhere(&mux, server().tcp(), async |handle, n| {
        let got: Option<(u64, u64)> = handle
            .exec_first("SELECT ? + 0, LENGTH(?)", (n, &bytes))
            .await?;
        assert_eq!(got, Some((n, 3_000_000)));
        Ok(())
    });
}

#[test]
fn many_statements_that_are_given_up_anywhere_hurt_nobody() {
    let mux = builder().max_links(2).build();
    let (schema, mut blocking) = table("giveupmany", &mux);
    give_up_everywhere(&mux, schema.tcp(), async |handle, n| {
        let statement = handle.prep("SELECT ? + 1").await?;
        let results = handle
            .pipeline(|pipe| {
                for i in 0..1000 {
                    pipe.query(format!("SELECT {n} + {i}"));
                    pipe.exec(&statement, (n + i,))?;
                }
                Ok(())
            })
            .await?;
        for (i, result) in results.into_iter().enumerate() {
            let i = i as u64;
            assert_eq!(result?.rows::<u64>()?, [n + i / 2 + i % 2]);
        }
        let mut tx = handle.start_transaction(TxOpts::default()).await?;
        tx.exec_batch("INSERT INTO t (b) VALUES (?)", (0..700).map(|b| (b,)))
            .await?;
        tx.rollback().await
    });
    assert_eq!(one::<u64>(&mut blocking, "SELECT COUNT(*) FROM t"), 0);
}

#[test]
fn a_stream_that_is_given_up_anywhere_hurts_nobody() {
    let mux = builder().max_links(2).build();
    let sql = numbers(20_000, 100);
    give_up_everywhere(&mux, server().tcp(), async |handle, n| {
        let mut stream = handle.query_stream::<(u64, String), _>(&sql).await?;
        let mut count = 0;
        while let Some(row) = stream.next().await {
            row?;
            count += 1;
        }
        assert_eq!(count, 20_000);
        drop(stream);
        let stream = handle
            .exec_stream::<u64, _, _>(format!("SELECT ? + {n}"), (1,))
            .await?;
        assert_eq!(stream.try_collect::<u64, Error, Vec<_>>().await?, [n + 1]);
        Ok(())
    });
}

#[test]
fn what_else_a_handle_does_may_be_given_up_anywhere() {
    let mux = builder().max_links(2).build();
    let (schema, _) = table("giveupelse", &mux);
    let user = User::new("giveupelse");
    give_up_everywhere(&mux, server().tcp(), async |handle, _| {
        handle.ping().await?;
        handle.statistics().await?;
        handle.query_drop("SET @mine = 1").await?;
        handle.reset().await?;
        handle.select_db(&schema.name).await?;
        let name: String = one_async(handle, "SELECT DATABASE()").await;
        assert_eq!(name, schema.name);
        handle.select_db(&server().database).await
    });
    give_up_everywhere(&mux, user.tcp(), async |handle, _| {
        let to_user = ChangeUserOpts::default()
            .with_user(Some(user.name.clone()))
            .with_pass(Some(user.password.clone()));
        handle.change_user(to_user).await?;
        let name: String = one_async(handle, "SELECT CURRENT_USER()").await;
        assert_eq!(name, format!("{}@%", user.name));
        Ok(())
    });
}

#[test]
fn a_transaction_that_is_given_up_anywhere_is_whole_or_not_at_all() {
    let mux = builder().max_links(2).build();
    let (schema, mut blocking) = table("giveuptx", &mux);
    block_on(async {
        let mut handle = mux.connect_async(schema.tcp()).await.unwrap();
        let mut other = mux.connect_async(schema.tcp()).await.unwrap();
        other
            .query_drop("INSERT INTO t (a, b) VALUES (1, 0)")
            .await
            .unwrap();
        let mut before = 0;
        for polls in 0..1000 {
            let begun = AtomicUsize::new(0);
            let run = async {
                let mut tx = handle.start_transaction(TxOpts::default()).await?;
                tx.query_drop("UPDATE t SET b = b + 1 WHERE a = 1").await?;
                tx.exec_drop("INSERT INTO t (b) VALUES (?)", (polls,))
                    .await?;
                tx.query_drop("INSERT INTO t (b) VALUES (7), (8)").await?;
                begun.store(1, Ordering::Relaxed);
                tx.commit().await
            };
            let done = give_up_after(polls, run).await;
            // Neither it nor its locks are there any more; whoever asks first.
            let asks: [&mut aio::Handle; 2] = match polls % 2 {
                0 => [&mut other, &mut handle],
                _ => [&mut handle, &mut other],
            };
            let mut counts = Vec::new();
            for handle in asks {
                handle
                    .query_drop("UPDATE t SET c = 'x' WHERE a = 1")
                    .await
                    .unwrap();
                let sql = "SELECT b, (SELECT COUNT(*) FROM t x) - 1 FROM t WHERE a = 1";
                let (b, rows): (u64, u64) = handle.query_first(sql).await.unwrap().unwrap();
                assert_eq!(b * 3, rows, "given up after {polls}");
                counts.push(b);
                answers_are_right(handle).await;
            }
            assert_eq!(counts[0], counts[1], "given up after {polls}");
            let committing = begun.load(Ordering::Relaxed) as u64;
            assert!(
                counts[0] - before <= committing,
                "given up after {polls}, before its commit"
            );
            before = counts[0];
            if let Some(done) = done {
                done.unwrap();
                assert_eq!(committing, 1);
                break;
            }
        }
        assert!(before >= 1);
    });
    assert!(one::<u64>(&mut blocking, "SELECT b FROM t WHERE a = 1") >= 1);
}

#[test]
fn a_transaction_that_is_given_up_while_it_waits_for_a_link_holds_none_later() {
    let mux = builder()
        .max_links(1)
        .acquire_timeout(Duration::from_secs(5))
        .build();
    let mut holder = mux.connect(server().tcp()).unwrap();
    let mut neighbour = mux.connect(server().tcp()).unwrap();
    block_on(async {
        let mut handle = mux.connect_async(server().tcp()).await.unwrap();
        holder.query_drop("START TRANSACTION").unwrap();
        let begun = give_up_after(1, async {
            handle.start_transaction(TxOpts::default()).await.map(drop)
        });
        assert!(begun.await.is_none());
        holder.query_drop("COMMIT").unwrap();
        answers_are_right(&mut handle).await;
        assert_eq!(handle.pin(), None);
        assert_eq!(one::<u8>(&mut neighbour, "SELECT 1"), 1);
    });
}

#[test]
fn a_statement_that_is_given_up_does_not_keep_its_link_from_others() {
    let mux = builder()
        .max_links(1)
        .acquire_timeout(Duration::from_secs(5))
        .build();
    let mut neighbour = mux.connect(server().tcp()).unwrap();
    block_on(async {
        let mut handle = mux.connect_async(server().tcp()).await.unwrap();
        // On a lane, and on a link alone.
        for sql in ["SELECT SLEEP(0.01)", "SELECT @a, SLEEP(0.01)"] {
            for polls in 0..4 {
                give_up_after(polls, handle.query_drop(sql)).await;
                // The handle that asked does nothing more.
                assert_eq!(one::<u8>(&mut neighbour, "SELECT 1"), 1, "{sql}");
            }
        }
        answers_are_right(&mut handle).await;
    });
}

#[test]
fn what_a_session_was_told_half_way_never_leaks() {
    let mux = builder().max_links(2).build();
    let (schema, mut blocking) = table("halfway", &mux);
    blocking
        .query_drop("INSERT INTO t (a, b) VALUES (1, 0)")
        .unwrap();
    block_on(async {
        let mut neighbours = vec![
            mux.connect_async(schema.tcp()).await.unwrap(),
            mux.connect_async(schema.tcp()).await.unwrap(),
        ];
        let changes = [
            "SET @x = 7",
            "SELECT @x := 7",
            "BEGIN",
            "SET autocommit = 0",
            "SET SESSION lock_wait_timeout = 77",
            "SELECT GET_LOCK(CONCAT(DATABASE(), 'x'), 0)",
            "CREATE TEMPORARY TABLE t (only_mine INT)",
            "USE mysql",
        ];
        for sql in changes {
            for polls in 0..1000 {
                let mut handle = mux.connect_async(schema.tcp()).await.unwrap();
                let done = give_up_after(polls, handle.query_drop(sql)).await;
                // Some go on with the handle, some only drop it.
                if polls % 2 == 0 {
                    answers_are_right(&mut handle).await;
                }
                drop(handle);
                for neighbour in &mut neighbours {
                    neighbour
                        .query_drop("UPDATE t SET b = b + 1 WHERE a = 1")
                        .await
                        .unwrap();
                    let state: (Option<u8>, u8, u64, Option<u8>, String) = neighbour
                        .query_first(
                            "SELECT @x, @@autocommit, @@lock_wait_timeout, \
                             IS_USED_LOCK(CONCAT(DATABASE(), 'x')) = CONNECTION_ID(), DATABASE()",
                        )
                        .await
                        .unwrap()
                        .unwrap();
                    assert_eq!((state.0, state.1), (None, 1), "{sql}, {polls}");
                    assert_ne!(state.2, 77, "{sql}, {polls}");
                    assert_ne!(state.3, Some(1), "{sql}, {polls}");
                    assert_eq!(state.4, schema.name, "{sql}, {polls}");
                    answers_are_right(neighbour).await;
                    // It asked for its connection's id.
                    neighbour.reset().await.unwrap();
                }
                if let Some(done) = done {
                    done.unwrap();
                    assert!(polls > 0);
                    break;
                }
            }
        }
        eventually("the lock of whoever is gone is free", || {
            one(
                &mut blocking,
                "SELECT IS_FREE_LOCK(CONCAT(DATABASE(), 'x'))",
            )
        });
        let updates: u64 = one_async(&mut neighbours[0], "SELECT b FROM t").await;
        assert_eq!(
            one::<u64>(&mut blocking, "SELECT b FROM t"),
            updates,
            "all are committed"
        );
        assert!(updates > 0);
    });
}

#[test]
fn a_statement_that_runs_for_ever_is_ended_when_it_is_given_up() {
    let user = User::new("forever");
    let mux = builder().max_links(2).build();
    let mut root = server().root();
    block_on(async {
        for (round, keep) in [true, false].into_iter().enumerate() {
            let mut handle = mux.connect_async(user.tcp()).await.unwrap();
            let sql = format!("SELECT COALESCE(@never_set, {round}), SLEEP(600)");
            let mut running = Box::pin(handle.query_drop(&sql));
            // It is at the server before it is given up.
            eventually("it runs", || {
                let polled = running
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()));
                assert!(polled.is_pending());
                let rows: Vec<Row> = root.query("SHOW PROCESSLIST").unwrap();
                rows.iter().any(|row| {
                    row.get::<String, _>("User").as_ref() == Some(&user.name)
                        && row
                            .get::<Option<String>, _>("Info")
                            .flatten()
                            .is_some_and(|sql| sql.contains("SLEEP"))
                })
            });
            drop(running);
            if keep {
                answers_are_right(&mut handle).await;
            }
            drop(handle);
            let mut neighbour = mux.connect_async(user.tcp()).await.unwrap();
            answers_are_right(&mut neighbour).await;
            assert!(user.connections(&mut root) <= 2);
        }
    });
}

#[test]
fn a_handle_that_is_dropped_with_its_future_leaves_its_link_and_nothing_else() {
    let user = User::new("dropboth");
    let mux = builder().max_links(1).build();
    let (schema, mut blocking) = table("dropboth", &mux);
    let opts = user.tcp().db_name(Some(&schema.name));
    // The table's own handle is another user's, and would share the limit.
    drop(blocking);
    blocking = support::mux().connect(schema.tcp()).unwrap();
    block_on(async {
        let mut neighbour = mux.connect_async(opts.clone()).await.unwrap();
        for polls in 0..1000 {
            let mut handle = mux.connect_async(opts.clone()).await.unwrap();
            let owned = async move {
                let mut tx = handle.start_transaction(TxOpts::default()).await?;
                tx.query_drop("INSERT INTO t (b) VALUES (1)").await?;
                tx.query_drop("SELECT @x := 1, SLEEP(0.01)").await?;
                tx.rollback().await?;
                handle.query_drop("SELECT SLEEP(0.01)").await
            };
            let done = give_up_after(polls, owned).await;
            assert_eq!(mux.stats().total.handles, 1);
            answers_are_right(&mut neighbour).await;
            if let Some(done) = done {
                done.unwrap();
                assert!(polls > 0);
                break;
            }
        }
    });
    assert_eq!(one::<u64>(&mut blocking, "SELECT COUNT(*) FROM t"), 0);
    assert!(user.connections(&mut server().root()) <= 1);
}

#[test]
fn a_handle_that_is_given_up_while_it_connects_was_never_there() {
    let user = User::new("giveupconn");
    let mut root = server().root();
    for polls in 0..1000 {
        let mux = builder().max_links(1).build();
        let done = block_on(give_up_after(polls, mux.connect_async(user.tcp())));
        let over = done.is_some();
        drop(done);
        assert_eq!(mux.stats().total.handles, 0, "given up after {polls}");
        block_on(async {
            let mut handle = mux.connect_async(user.tcp()).await.unwrap();
            answers_are_right(&mut handle).await;
        });
        let mut blocking = mux.connect(user.tcp()).unwrap();
        assert_eq!(one::<u8>(&mut blocking, "SELECT 1"), 1);
        assert!(mux.stats().total.active_connections <= 1);
        drop(blocking);
        drop(mux);
        if over {
            assert!(polls > 0);
            break;
        }
    }
    eventually("no connection is left", || user.connections(&mut root) == 0);
}

#[test]
fn a_connect_that_hangs_can_be_given_up_and_others_connect_later() {
    let relay = Relay::new();
    relay.deaf();
    let mux = builder().max_links(1).build();
    let opts = relay
        .tcp(server().tcp())
        // The connect to the healed network is to be done in it, on a busy machine too.
        .tcp_connect_timeout(Some(Duration::from_secs(2)));
    block_on(async {
        for _ in 0..3 {
            let given_up = give_up_after(1, mux.connect_async(opts.clone())).await;
            assert!(given_up.is_none());
        }
        relay.heal();
        let mut handle = mux.connect_async(opts.clone()).await.unwrap();
        answers_are_right(&mut handle).await;
    });
    assert_eq!(mux.stats().total.handles, 0);
}

#[test]
fn a_link_that_comes_to_a_waiter_who_has_gone_comes_to_the_next_one() {
    let mux = builder().max_links(1).build();
    let mut holder = mux.connect(server().tcp()).unwrap();
    block_on(async {
        let mut handles = Vec::new();
        for _ in 0..20 {
            handles.push(mux.connect_async(server().tcp()).await.unwrap());
        }
        for round in 0..100 {
            holder.query_drop("START TRANSACTION").unwrap();
            let sqls: Vec<String> = (0..20).map(|i| format!("SELECT @a, {i}")).collect();
            let mut waiting: Vec<_> = handles
                .iter_mut()
                .zip(&sqls)
                .map(|(handle, sql)| Box::pin(handle.query_drop(sql)))
                .collect();
            for future in &mut waiting {
                let mut cx = Context::from_waker(Waker::noop());
                assert!(future.as_mut().poll(&mut cx).is_pending());
            }
            assert_eq!(mux.stats().total.waiting, 20);
            // Some go before the link comes free, some after it came to them.
            if round % 2 == 0 {
                waiting.truncate(10);
            }
            holder.query_drop("COMMIT").unwrap();
            drop(waiting.remove(0));
            let last = waiting.pop().unwrap();
            drop(waiting);
            last.await.unwrap();
            assert_eq!(mux.stats().total.waiting, 0);
            holder.query_drop("DO 1").unwrap();
        }
        for handle in &mut handles {
            answers_are_right(handle).await;
        }
    });
    assert_eq!(mux.stats().total.acquire_timeouts, 0);
}

#[test]
fn statements_that_are_given_up_at_any_time_hurt_nobody() {
    let mux = builder().max_links(2).build();
    let (schema, _) = table("anytime", &mux);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let (mux2, opts) = (mux.clone(), schema.tcp());
    let given_up = within(
        Duration::from_secs(120),
        "giving up at any time",
        move || {
            runtime.block_on(async {
                let tasks: Vec<_> = (0..16_u64)
                    .map(|task| {
                        let (mux, opts) = (mux2.clone(), opts.clone());
                        tokio::spawn(async move {
                            let mut handle = mux.connect_async(opts).await.unwrap();
                            let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(task + 1);
                            let mut given_up = 0;
                            for _ in 0..60 {
                                state ^= state << 13;
                                state ^= state >> 7;
                                state ^= state << 17;
                                let time = Duration::from_micros(state % 3000);
                                let n = next_number();
                                let run = do_something(&mut handle, n, (state >> 32) % 6);
                                match tokio::time::timeout(time, run).await {
                                    Err(_) => given_up += 1,
                                    Ok(done) => done.unwrap(),
                                }
                                answers_are_right(&mut handle).await;
                            }
                            given_up
                        })
                    })
                    .collect();
                let mut given_up = 0;
                for task in tasks {
                    given_up += task.await.unwrap();
                }
                given_up
            })
        },
    );
    assert!(given_up > 20, "{given_up}");
    let mut handle = mux.connect(schema.tcp()).unwrap();
    assert_eq!(one::<u64>(&mut handle, "SELECT COUNT(*) FROM t"), 0);
    assert_eq!(mux.stats().total.handles, 2 - 1);
}

async fn do_something(handle: &mut aio::Handle, n: u64, what: u64) -> Result<(), Error> {
    match what {
        0 => {
            let got: u64 = one_async(handle, &format!("SELECT {n} + SLEEP(0.001)")).await;
            assert_eq!(got, n);
        }
        1 => {
            let got: Option<u64> = handle.exec_first(format!("SELECT ? + {n}"), (1,)).await?;
            assert_eq!(got, Some(n + 1));
        }
        2 => {
            let mut tx = handle.start_transaction(TxOpts::default()).await?;
            tx.exec_drop("INSERT INTO t (b) VALUES (?)", (n,)).await?;
            let sql = format!("SELECT COUNT(*) FROM t WHERE b = {n}");
            assert_eq!(one_async::<u64>(&mut tx, &sql).await, 1);
            tx.rollback().await?;
        }
        3 => {
            let sql = format!("SELECT n + {n} FROM ({}) x", numbers(1000, 1));
            let rows = handle.query_stream::<u64, _>(&sql).await?;
            let rows: Vec<u64> = rows.try_collect().await?;
            let sum: u64 = rows.iter().sum();
            assert_eq!(sum, 1000 * n + 999 * 500);
        }
        4 => {
            handle.query_drop(format!("SET @n = {n}")).await?;
            assert_eq!(one_async::<u64>(handle, "SELECT @n").await, n);
            handle.reset().await?;
        }
        _ => {
            let results = handle
                .pipeline(|pipe| {
                    for i in 0..50 {
                        pipe.query(format!("SELECT {n} + {i}"));
                    }
                    Ok(())
                })
                .await?;
            for (i, result) in results.into_iter().enumerate() {
                assert_eq!(result?.rows::<u64>()?, [n + i as u64]);
            }
        }
    }
    Ok(())
}

#[test]
fn a_link_that_is_lost_is_the_same_error_as_a_blocking_handles() {
    let relay = Relay::new();
    let mux = mux();
    block_on(async {
        let mut handle = mux.connect_async(relay.tcp(server().tcp())).await.unwrap();
        let sql = "SELECT 'some text', 12345, @none";
        for at in (0..60).step_by(3) {
            handle.query_drop("DO 1").await.unwrap();
            relay.cut_after(support::relay::Way::Down, at);
            let got = handle.query::<Row, _>(sql).await;
            relay.heal();
            match error_of(got) {
                Error::ConnectionLost(e) => assert_eq!(e.ran, mysql_mux::error::Ran::Maybe),
                other => panic!("cut after {at}: {other}"),
            }
            answers_are_right(&mut handle).await;
        }
    });
}

#[test]
fn a_shutdown_tells_tasks_that_wait() {
    let mux = builder().max_links(1).build();
    let mut holder = mux.connect(server().tcp()).unwrap();
    holder.query_drop("START TRANSACTION").unwrap();
    let mux2 = mux.clone();
    let waiter = thread::spawn(move || {
        block_on(async {
            let mut handle = mux2.connect_async(server().tcp()).await.unwrap();
            error_of(handle.query_drop("DO 1").await)
        })
    });
    eventually("it waits", || mux.stats().total.waiting == 1);
    let mux2 = mux.clone();
    let closing = thread::spawn(move || mux2.shutdown(Duration::from_millis(100)));
    let e = within(GENEROUS, "a task at a shutdown", move || {
        waiter.join().unwrap()
    });
    assert!(
        matches!(e, Error::DriverError(DriverError::MuxShutDown)),
        "{e}"
    );
    closing.join().unwrap();
}

#[test]
fn a_task_does_not_keep_its_thread_while_the_server_thinks() {
    let mux = builder().max_links(4).build();
    within(GENEROUS, "two tasks in one thread", move || {
        let turns = AtomicUsize::new(0);
        let executor = async_executor::LocalExecutor::new();
        let slept: u8 = futures_lite::future::block_on(executor.run(async {
            let mut handle = mux.connect_async(server().tcp()).await.unwrap();
            let counting = executor.spawn(async {
                loop {
                    turns.fetch_add(1, Ordering::Relaxed);
                    yield_now().await;
                }
            });
            let slept = one_async(&mut handle, "SELECT SLEEP(0.2)").await;
            drop(counting);
            slept
        }));
        assert_eq!(slept, 0);
        assert!(turns.load(Ordering::Relaxed) > 10);
    });
}
