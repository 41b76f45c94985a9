//! Transactions: they end as they are told to, and one that is left open hurts nobody.

mod support;

use mysql_mux::{AccessMode, IsolationLevel, TxOpts};
use support::*;

fn table(name: &str) -> (Schema, Mux, Handle) {
    let schema = Schema::new(name);
    let mux = builder().max_links(2).build();
    let mut handle = mux.connect(schema.tcp()).unwrap();
    handle
        .query_drop("CREATE TABLE t (a INT PRIMARY KEY) ENGINE=InnoDB")
        .unwrap();
    (schema, mux, handle)
}

fn count(handle: &mut impl Queryable) -> u64 {
    one(handle, "SELECT COUNT(*) FROM t")
}

#[test]
fn what_is_committed_stays() {
    let (schema, mux, mut handle) = table("commit");
    let mut other = mux.connect(schema.tcp()).unwrap();
    let mut tx = handle.start_transaction(TxOpts::default()).unwrap();
    tx.query_drop("INSERT INTO t VALUES (1)").unwrap();
    tx.exec_drop("INSERT INTO t VALUES (?)", (2,)).unwrap();
    assert_eq!(tx.affected_rows(), 1);
    assert_eq!(count(&mut tx), 2);
    assert_eq!(count(&mut other), 0);
    tx.commit().unwrap();
    assert_eq!(count(&mut other), 2);
    assert_eq!(count(&mut handle), 2);
}

#[test]
fn what_is_rolled_back_is_gone() {
    let (_schema, _mux, mut handle) = table("rollback");
    let mut tx = handle.start_transaction(TxOpts::default()).unwrap();
    tx.query_drop("INSERT INTO t VALUES (1)").unwrap();
    tx.rollback().unwrap();
    assert_eq!(count(&mut handle), 0);
}

#[test]
fn a_transaction_that_is_dropped_is_rolled_back() {
    let (_schema, _mux, mut handle) = table("droptx");
    let mut tx = handle.start_transaction(TxOpts::default()).unwrap();
    tx.query_drop("INSERT INTO t VALUES (1)").unwrap();
    drop(tx);
    assert_eq!(count(&mut handle), 0);
    handle.query_drop("INSERT INTO t VALUES (2)").unwrap();
    assert_eq!(count(&mut handle), 1);
}

#[test]
fn an_error_inside_does_not_end_it() {
    let (_schema, _mux, mut handle) = table("errtx");
    let mut tx = handle.start_transaction(TxOpts::default()).unwrap();
    tx.query_drop("INSERT INTO t VALUES (1)").unwrap();
    assert_eq!(
        error_of(tx.query_drop("INSERT INTO t VALUES (1)")).code(),
        Some(1062)
    );
    tx.query_drop("INSERT INTO t VALUES (2)").unwrap();
    tx.commit().unwrap();
    assert_eq!(count(&mut handle), 2);
}

#[test]
fn a_read_only_transaction_refuses_to_write() {
    let (_schema, _mux, mut handle) = table("readonly");
    let opts = TxOpts::default().set_access_mode(Some(AccessMode::ReadOnly));
    let mut tx = handle.start_transaction(opts).unwrap();
    assert_eq!(
        error_of(tx.query_drop("INSERT INTO t VALUES (1)")).code(),
        Some(1792)
    );
    tx.commit().unwrap();
    handle.query_drop("INSERT INTO t VALUES (1)").unwrap();
}

#[test]
fn a_consistent_snapshot_sees_nothing_that_comes_later() {
    let (schema, mux, mut handle) = table("snapshot");
    let mut other = mux.connect(schema.tcp()).unwrap();
    let opts = TxOpts::default().set_with_consistent_snapshot(true);
    let mut tx = handle.start_transaction(opts).unwrap();
    other.query_drop("INSERT INTO t VALUES (1)").unwrap();
    assert_eq!(count(&mut tx), 0);
    tx.commit().unwrap();
    assert_eq!(count(&mut handle), 1);
}

#[test]
fn an_isolation_level_holds_for_its_transaction_only() {
    let (schema, mux, mut handle) = table("level");
    let mut other = mux.connect(schema.tcp()).unwrap();
    let opts = TxOpts::default().set_isolation_level(Some(IsolationLevel::ReadUncommitted));
    other.query_drop("BEGIN").unwrap();
    other.query_drop("INSERT INTO t VALUES (1)").unwrap();
    let mut tx = handle.start_transaction(opts).unwrap();
    assert_eq!(count(&mut tx), 1, "uncommitted rows are seen");
    tx.commit().unwrap();
    let mut tx = handle.start_transaction(TxOpts::default()).unwrap();
    assert_eq!(count(&mut tx), 0, "and not by the next transaction");
    tx.commit().unwrap();
    other.query_drop("ROLLBACK").unwrap();
}

#[test]
fn a_dropped_handles_open_transaction_is_rolled_back_before_anybody_else() {
    let (schema, mux, mut other) = table("leftopen");
    for _ in 0..10 {
        let mut leaver = mux.connect(schema.tcp()).unwrap();
        leaver.query_drop("START TRANSACTION").unwrap();
        leaver.query_drop("INSERT INTO t VALUES (1)").unwrap();
        drop(leaver);
        let mut next = mux.connect(schema.tcp()).unwrap();
        assert_eq!(count(&mut next), 0);
        assert_eq!(count(&mut other), 0);
        // Its row lock is gone too.
        next.query_drop("INSERT INTO t VALUES (1)").unwrap();
        next.query_drop("DELETE FROM t").unwrap();
    }
}

#[test]
fn a_dropped_handles_transaction_is_rolled_back_with_one_link_too() {
    let schema = Schema::new("leftone");
    let mux = builder().max_links(1).build();
    let mut a = mux.connect(schema.tcp()).unwrap();
    a.query_drop("CREATE TABLE t (a INT PRIMARY KEY) ENGINE=InnoDB")
        .unwrap();
    a.query_drop("BEGIN").unwrap();
    a.query_drop("INSERT INTO t VALUES (1)").unwrap();
    drop(a);
    let mut b = mux.connect(schema.tcp()).unwrap();
    assert_eq!(count(&mut b), 0);
}

#[test]
fn a_dropped_shared_handle_leaves_the_transaction_to_the_others() {
    let schema = Schema::new("sharedtx");
    let mux = mux();
    let opts = schema.tcp().isolation(Isolation::Shared);
    let mut a = mux.connect(opts.clone()).unwrap();
    let mut b = mux.connect(opts).unwrap();
    a.query_drop("CREATE TABLE t (a INT PRIMARY KEY) ENGINE=InnoDB")
        .unwrap();
    a.query_drop("BEGIN").unwrap();
    a.query_drop("INSERT INTO t VALUES (1)").unwrap();
    drop(a);
    assert_eq!(count(&mut b), 1);
    b.query_drop("ROLLBACK").unwrap();
    assert_eq!(count(&mut b), 0);
}

#[test]
fn a_transaction_whose_link_is_killed_is_lost_and_says_so_once() {
    let (_schema, _mux, mut handle) = table("killtx");
    handle.query_drop("BEGIN").unwrap();
    handle.query_drop("INSERT INTO t VALUES (1)").unwrap();
    let id = handle.connection_id();
    server().kill(&mut server().root(), id);
    let e = error_of(handle.query_drop("INSERT INTO t VALUES (2)"));
    assert!(
        matches!(e, Error::SessionLost { .. } | Error::ConnectionLost(_)),
        "nothing may go on as if the first insert stood: {e}"
    );
    // Told once; the next statement runs in a session as new.
    assert_eq!(count(&mut handle), 0);
    handle.query_drop("INSERT INTO t VALUES (3)").unwrap();
    assert_eq!(count(&mut handle), 1);
}

#[test]
fn transactions_of_many_threads_keep_the_sum() {
    let schema = Schema::new("ledger");
    let mux = builder().max_links(4).build();
    let mut handle = mux.connect(schema.tcp()).unwrap();
    handle
        .query_drop("CREATE TABLE acc (id INT PRIMARY KEY, sum INT) ENGINE=InnoDB")
        .unwrap();
    handle
        .query_drop("INSERT INTO acc VALUES (1, 1000), (2, 1000)")
        .unwrap();
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let mut handle = mux.connect(schema.tcp()).unwrap();
            std::thread::spawn(move || {
                for i in 0..20 {
                    let mut tx = handle.start_transaction(TxOpts::default()).unwrap();
                    tx.exec_drop("UPDATE acc SET sum = sum - ? WHERE id = 1", (i,))
                        .unwrap();
                    tx.exec_drop("UPDATE acc SET sum = sum + ? WHERE id = 2", (i,))
                        .unwrap();
                    if (i + thread) % 2 == 0 {
                        tx.commit().unwrap();
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(one::<i64>(&mut handle, "SELECT SUM(sum) FROM acc"), 2000);
    assert_eq!(
        one::<i64>(&mut handle, "SELECT sum FROM acc WHERE id = 2"),
        1000 + 8 * 95
    );
}
