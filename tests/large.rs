//! Results that are converted while they are read: nothing of that is to be seen.

mod support;

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
    thread,
};

use mysql_mux::{Row, TxOpts};
use support::{relay::Way, task::block_on, *};

const ROWS: u64 = 100_000;

macro_rules! digits {
    ($name:literal) => {
        concat!(
            "(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL ",
            "SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL ",
            "SELECT 8 UNION ALL SELECT 9) ",
            $name
        )
    };
}

/// A hundred thousand rows, some megabytes: `n` and a text that says it.
const LARGE: &str = concat!(
    "SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d AS n, ",
    "CONCAT('this is row ', a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d) AS name FROM ",
    digits!("a, "),
    digits!("b, "),
    digits!("c, "),
    digits!("e, "),
    digits!("f"),
);

fn check(rows: &[(u64, String)]) {
    assert_eq!(rows.len() as u64, ROWS);
    assert!(
        rows.iter()
            .all(|(n, name)| *name == format!("this is row {n}"))
    );
    assert_eq!(
        rows.iter().map(|(n, _)| n).sum::<u64>(),
        ROWS * (ROWS - 1) / 2
    );
}

fn check_all(queryable: &mut impl Queryable) {
    check(&queryable.query(LARGE).unwrap());
    check(&queryable.exec(LARGE, ()).unwrap());
    check(
        &queryable
            .query_map(LARGE, |row: (u64, String)| row)
            .unwrap(),
    );
    check(
        &queryable
            .exec_map(LARGE, (), |row: (u64, String)| row)
            .unwrap(),
    );
    let rows = queryable.query_opt::<(u64, String), _>(LARGE).unwrap();
    check(&rows.into_iter().collect::<Result<Vec<_>, _>>().unwrap());
    let rows = queryable.exec_opt::<(u8, String), _, _>(LARGE, ()).unwrap();
    assert_eq!(rows.iter().filter(|row| row.is_ok()).count(), 256);
    let rows: Vec<Row> = queryable.query(LARGE).unwrap();
    assert_eq!(rows.len() as u64, ROWS);
}

#[test]
fn all_rows_come_on_shared_links_and_on_links_alone() {
    let mut handle = mux().connect(server().tcp()).unwrap();
    check_all(&mut handle);
    check_all(&mut handle.start_transaction(TxOpts::default()).unwrap());
    handle.query_drop("SET @a = 1").unwrap();
    check_all(&mut handle);
    check(&LARGE.fetch(&mut handle).unwrap());
    check(&LARGE.with(()).fetch(&mut handle).unwrap());
    let pair = |row: (u64, String)| row;
    check(&LARGE.map(&mut handle, pair).unwrap());
    check(&LARGE.with(()).map(&mut handle, pair).unwrap());
    let both = format!("{LARGE}; SELECT 1, 'one'");
    check(&handle.query(both).unwrap());
    assert_eq!(one::<u8>(&mut handle, "SELECT @a"), 1);
}

#[test]
fn threads_that_share_a_link_get_each_their_own() {
    let mux = mux();
    let threads = (0..8)
        .map(|i| {
            let mut handle = mux.connect(server().tcp()).unwrap();
            thread::spawn(move || {
                for j in 0..3 {
                    if i % 2 == 0 {
                        check(&handle.query(LARGE).unwrap());
                        check(&handle.exec(LARGE, ()).unwrap());
                    }
                    assert_eq!(one::<u32>(&mut handle, &format!("SELECT {i} + {j}")), i + j);
                }
            })
        })
        .collect();
    join("threads with large results", threads);
}

#[test]
fn a_closure_can_use_other_handles() {
    let mux = mux();
    let mut handle = mux.connect(server().tcp()).unwrap();
    let mut other = mux.connect(server().tcp()).unwrap();
    let rows = handle.query_map(LARGE, |(n, name): (u64, String)| {
        if n % 10_000 == 0 {
            assert_eq!(one::<u64>(&mut other, &format!("SELECT {n}")), n);
        }
        (n, name)
    });
    check(&rows.unwrap());
}

#[test]
fn a_conversion_that_panics_leaves_all_handles_in_order() {
    let mux = mux();
    let mut handle = mux.connect(server().tcp()).unwrap();
    let mut other = mux.connect(server().tcp()).unwrap();
    for _ in 0..2 {
        let rows = catch_unwind(AssertUnwindSafe(|| handle.query::<(u8, String), _>(LARGE)));
        assert!(rows.is_err());
        assert_eq!(one::<u8>(&mut other, "SELECT 1"), 1);
        check(&handle.query(LARGE).unwrap());
        let mut transaction = handle.start_transaction(TxOpts::default()).unwrap();
        let rows = catch_unwind(AssertUnwindSafe(|| {
            transaction.exec::<(u8, String), _, _>(LARGE, ())
        }));
        assert!(rows.is_err());
        check(&transaction.query(LARGE).unwrap());
    }
}

#[test]
fn a_link_that_is_lost_in_the_middle_leaves_no_row_twice() {
    let relay = Relay::new();
    let mut handle = mux().connect(relay.tcp(server().tcp())).unwrap();
    assert_eq!(one::<u8>(&mut handle, "SELECT 1"), 1);
    let before = relay.passed(Way::Down);
    relay.cut_after(Way::Down, 500_000);
    thread::scope(|scope| {
        scope.spawn(|| {
            eventually("the cut", || relay.passed(Way::Down) >= before + 500_000);
            relay.heal();
        });
        check(&handle.query(LARGE).unwrap());
    });
    assert_eq!(relay.accepted(), 2);
}

#[test]
fn the_limit_holds_for_what_was_converted_already() {
    let opts = server().tcp().max_result_size(1 << 20);
    let mut handle = mux().connect(opts).unwrap();
    for _ in 0..2 {
        let e = handle.query::<(u64, String), _>(LARGE).unwrap_err();
        assert!(matches!(e, Error::ResultTooLarge { .. }), "{e}");
    }
    assert_eq!(one::<u8>(&mut handle, "SELECT 1"), 1);
}

#[test]
fn tasks_get_all_rows_too() {
    let mux = mux();
    let threads = (0..4)
        .map(|_| {
            let mux = mux.clone();
            thread::spawn(move || {
                block_on(async {
                    let mut handle = mux.connect_async(server().tcp()).await.unwrap();
                    check(&handle.query(LARGE).await.unwrap());
                    check(&handle.exec(LARGE, ()).await.unwrap());
                    let pair = |row: (u64, String)| row;
                    check(&handle.query_map(LARGE, pair).await.unwrap());
                    check(&handle.exec_map(LARGE, (), pair).await.unwrap());
                    let rows: Vec<Row> = handle.query(LARGE).await.unwrap();
                    assert_eq!(rows.len() as u64, ROWS);
                    handle.query_drop("SET @a = 1").await.unwrap();
                    check(&handle.query(LARGE).await.unwrap());
                    check(&handle.exec(LARGE, ()).await.unwrap());
                })
            })
        })
        .collect();
    join("tasks with large results", threads);
}

#[test]
fn a_task_that_goes_away_in_the_middle_leaves_all_handles_in_order() {
    let mux = mux();
    let mut other = mux.connect(server().tcp()).unwrap();
    let mut handle = block_on(mux.connect_async(server().tcp())).unwrap();
    for polls in 1..20 {
        let mut left = polls;
        {
            let mut query = pin!(handle.query::<(u64, String), _>(LARGE));
            block_on(poll_fn(|cx| {
                left -= 1;
                match query.as_mut().poll(cx) {
                    Poll::Pending if left > 0 => Poll::Pending,
                    _ => Poll::Ready(()),
                }
            }));
        }
        assert_eq!(one::<u8>(&mut other, "SELECT 1"), 1);
    }
    check(&block_on(handle.query(LARGE)).unwrap());
}
