//! Links that die, servers that fall silent, and links that are all taken.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use mysql_mux::error::{ConnectionLost, DriverError, LostCause, Ran};
use support::{relay::Way, task::block_on, *};

/// A limit that something is to run into, and that connects and answers on the way there keep on a
/// busy machine too.
const PATIENT: Duration = Duration::from_secs(1);

#[track_caller]
fn lost(error: &Error) -> &ConnectionLost {
    match error {
        Error::ConnectionLost(e) => e,
        other => panic!("a lost connection was expected, and it is: {other}"),
    }
}

#[test]
fn a_link_that_is_killed_while_idle_is_replaced_silently() {
    let user = User::new("killidle");
    let mut root = server().root();
    let mux = mux();
    let mut handle = mux.connect(user.tcp()).unwrap();
    let mut other = mux.connect(user.tcp()).unwrap();
    for round in 1..=3 {
        let id: u32 = one(&mut handle, "SELECT CONNECTION_ID()");
        server().kill(&mut root, id);
        assert_ne!(one::<u32>(&mut handle, "SELECT CONNECTION_ID()"), id);
        assert_eq!(one::<u8>(&mut other, "SELECT 1"), 1);
        assert_eq!(mux.stats().total.lost_connections, round);
    }
}

#[test]
fn a_link_that_the_server_ended_by_wait_timeout_is_replaced_silently() {
    let user = User::new("waittimeout");
    let mut root = server().root();
    let mux = mux();
    let mut handle = mux
        .connect(user.tcp().init(vec!["SET wait_timeout = 1"]))
        .unwrap();
    let id: u32 = one(&mut handle, "SELECT CONNECTION_ID()");
    eventually("the server has ended it", || {
        user.connections(&mut root) == 0
    });
    assert_ne!(one::<u32>(&mut handle, "SELECT CONNECTION_ID()"), id);
}

#[test]
fn a_connection_that_the_network_closed_is_replaced_silently() {
    let relay = Relay::new();
    let mut handle = mux().connect(relay.tcp(server().tcp())).unwrap();
    handle.query_drop("DO 1").unwrap();
    relay.close_all();
    eventually("a new connection serves", || {
        handle.query_drop("DO 1").is_ok() && relay.accepted() == 2
    });
}

#[test]
fn set_state_that_is_lost_with_its_link_is_told_once() {
    let mut root = server().root();
    let mut handle = mux().connect(server().tcp()).unwrap();
    handle
        .query_drop("SET @only_the_server = REPEAT('x', 20000)")
        .unwrap();
    let id = handle.connection_id();
    server().kill(&mut root, id);
    let e = error_of(handle.query_drop("DO 1"));
    assert!(matches!(e, Error::SessionLost { .. }), "{e}");
    assert!(e.to_string().contains("SET @only_the_server"), "{e}");
    let lost: Option<String> = one(&mut handle, "SELECT @only_the_server");
    assert_eq!(lost, None);
}

#[test]
fn set_state_that_can_be_set_again_is_on_the_next_link() {
    let mut root = server().root();
    let mut handle = mux().connect(server().tcp()).unwrap();
    handle
        .query_drop("SET SESSION lock_wait_timeout = 77")
        .unwrap();
    server().kill(&mut root, handle.connection_id());
    assert_eq!(one::<u64>(&mut handle, "SELECT @@lock_wait_timeout"), 77);
}

#[test]
fn a_session_that_was_being_begun_for_a_task_that_left_is_not_missed() {
    let relay = Relay::new();
    let mux = builder().max_links(1).build();
    let opts = relay.tcp(server().tcp()).isolation(Isolation::Reset);
    let mut other = mux.connect(opts.clone()).unwrap();
    // Nobody trusts the session after it.
    let sql = "DO RELEASE_LOCK('nobody')";
    other.query_drop(sql).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut handle = mux.connect_async(opts).await.unwrap();
        relay.stall(Way::Down);
        let time = Duration::from_millis(100);
        let left = tokio::time::timeout(time, handle.query_drop(sql)).await;
        assert!(left.is_err(), "nothing was heard: {left:?}");
        assert_eq!(mux.stats().total.resets, 1);
        let before = relay.passed(Way::Down);
        relay.heal();
        eventually("the answers come", || relay.passed(Way::Down) > before);
        thread::sleep(time);
        relay.close_all();
        thread::sleep(time);
        // It never had a session.
        handle.query_drop("SELECT 1").await.unwrap();
    });
}

#[test]
fn state_of_a_shared_session_that_is_lost_is_told_to_each_handle_once() {
    let mut root = server().root();
    let mux = mux();
    let opts = server().tcp().isolation(Isolation::Shared);
    let mut a = mux.connect(opts.clone()).unwrap();
    let mut b = mux.connect(opts).unwrap();
    a.query_drop("SET SESSION lock_wait_timeout = 77").unwrap();
    let id: u32 = one(&mut a, "SELECT CONNECTION_ID()");
    server().kill(&mut root, id);
    for handle in [&mut a, &mut b] {
        let e = error_of(handle.query_drop("DO 1"));
        assert!(matches!(e, Error::SessionLost { .. }), "{e}");
        assert_ne!(one::<u64>(handle, "SELECT @@lock_wait_timeout"), 77);
    }
}

#[test]
fn a_statement_whose_connection_is_killed_may_have_run() {
    let user = User::new("killmid");
    let mut root = server().root();
    let mut handle = mux().connect(user.tcp()).unwrap();
    let id: u32 = one(&mut handle, "SELECT CONNECTION_ID()");
    let thread = thread::spawn(move || {
        let e = error_of(handle.query_drop("SELECT SLEEP(60)"));
        (e, handle)
    });
    eventually("the statement runs", || {
        let rows: Vec<mysql_mux::Row> = root.query("SHOW PROCESSLIST").unwrap();
        rows.iter().any(|row| {
            row.get::<u32, _>("Id") == Some(id)
                && row
                    .get::<Option<String>, _>("Info")
                    .flatten()
                    .is_some_and(|sql| sql.contains("SLEEP"))
        })
    });
    root.query_drop(format!("KILL {id}")).unwrap();
    let (e, mut handle) = within(GENEROUS, "a killed statement", move || {
        thread.join().unwrap()
    });
    // The server may still have said that it ended the connection.
    match &e {
        Error::ConnectionLost(e) => {
            assert_eq!(e.ran, Ran::Maybe, "{e}");
            assert_eq!(e.connection_id, id);
        }
        Error::MySqlError(e) => assert!(matches!(e.code, 1317 | 1927 | 3169), "{e}"),
        other => panic!("{other}"),
    }
    assert_eq!(one::<u8>(&mut handle, "SELECT 1"), 1);
}

#[test]
fn a_killed_query_is_the_servers_error_and_the_link_lives() {
    let user = User::new("killquery");
    let mut root = server().root();
    let mut handle = mux().connect(user.tcp()).unwrap();
    let id: u32 = one(&mut handle, "SELECT CONNECTION_ID()");
    let sql = "SELECT COUNT(*) FROM information_schema.columns a, information_schema.columns b, \
               information_schema.columns c WHERE SLEEP(0.1) = 0";
    let thread = thread::spawn(move || {
        let e = error_of(handle.query_drop(sql));
        (e, handle)
    });
    let done = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&done);
    let killer = thread::spawn(move || {
        while !seen.load(Ordering::SeqCst) {
            let _ = root.query_drop(format!("KILL QUERY {id}"));
            thread::sleep(Duration::from_millis(50));
        }
    });
    let (e, mut handle) = within(GENEROUS, "a killed query", move || thread.join().unwrap());
    done.store(true, Ordering::SeqCst);
    killer.join().unwrap();
    assert_eq!(e.code(), Some(1317), "{e}");
    assert_eq!(one::<u32>(&mut handle, "SELECT CONNECTION_ID()"), id);
}

#[test]
fn a_response_that_is_cut_anywhere_is_a_lost_connection_and_the_next_statement_runs() {
    let relay = Relay::new();
    let mut handle = mux().connect(relay.tcp(server().tcp())).unwrap();
    // What names a variable is not known to be a plain read, and is not run twice.
    let sql = "SELECT 'some text', 12345, @none UNION ALL SELECT 'more text', 67890, 'end'";
    handle.query_drop("DO 1").unwrap();
    let before = relay.passed(Way::Down);
    handle.query_drop(sql).unwrap();
    let whole = relay.passed(Way::Down) - before;
    assert!(whole > 50, "{whole}");

    for at in (0..whole).step_by(3) {
        relay.cut_after(Way::Down, at);
        let got = handle.query::<(String, i32, Option<String>), _>(sql);
        relay.heal();
        let e = error_of(got);
        assert_eq!(lost(&e).ran, Ran::Maybe, "cut after {at}: {e}");
        assert!(e.may_have_run());
        let rows: Vec<(String, i32, Option<String>)> = handle.query(sql).unwrap();
        assert_eq!(rows.len(), 2, "after a cut at {at}");
    }
}

#[test]
fn a_plain_read_whose_link_is_lost_runs_once_more() {
    let relay = Relay::new();
    // With more links a read that a busy machine made slow would have one alone, and be told.
    let mux = builder().max_links(1).build();
    let mut handle = mux.connect(relay.tcp(server().tcp())).unwrap();
    let sql = "SELECT 'some text', 12345 UNION ALL SELECT 'more text', 67890";
    let rows: Vec<(String, i32)> = handle.query(sql).unwrap();
    for at in (0..100).step_by(9) {
        relay.cut_after(Way::Down, at);
        let healed = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                relay.heal();
            });
            handle.query::<(String, i32), _>(sql).unwrap()
        });
        assert_eq!(healed, rows, "after a cut at {at}");
    }
}

#[test]
fn a_login_that_is_cut_anywhere_is_a_connect_error() {
    let relay = Relay::new();
    drop(mux().connect(relay.tcp(server().tcp())).unwrap());
    let whole = relay.passed(Way::Down);
    // The end of the login is the setup of the session, whose loss is a lost connect as well.
    let mut failed = 0;
    for at in (0..whole.min(400)).step_by(7) {
        relay.cut_after(Way::Down, at);
        let opts = relay.tcp(server().tcp());
        let e = within(GENEROUS, "a login that is cut", move || {
            let mux = builder().acquire_timeout(Duration::from_secs(5)).build();
            mux.connect(opts).map(drop)
        });
        let Err(e) = e else { continue };
        failed += 1;
        assert!(matches!(e, Error::ConnectError(_)), "cut after {at}: {e}");
    }
    // Past the last byte that matters a login may be whole; the greeting alone is 70 bytes.
    assert!(failed >= 10, "{failed}");
    relay.heal();
    drop(mux().connect(relay.tcp(server().tcp())).unwrap());
}

#[test]
fn a_response_with_a_broken_byte_is_no_hang_and_no_panic() {
    let relay = Relay::new();
    let opts = relay.tcp(server().tcp()).read_timeout(Some(PATIENT));
    let sql = "SELECT 'abc', 12345";
    for offset in 0..60 {
        let opts = opts.clone();
        let relay = &relay;
        relay.heal();
        let mut handle = mux().connect(opts).unwrap();
        handle.query_drop("DO 1").unwrap();
        relay.corrupt(Way::Down, offset);
        // Any answer will do that is one: a value that is wrong, or an error.
        within(GENEROUS, "a response with a broken byte", move || {
            drop(handle.query::<mysql_mux::Row, _>(sql));
        });
    }
}

#[test]
fn a_server_that_falls_silent_is_an_error_after_the_read_timeout() {
    let relay = Relay::new();
    let opts = relay.tcp(server().tcp()).read_timeout(Some(PATIENT));
    let mut handle = mux().connect(opts).unwrap();
    handle.query_drop("DO 1").unwrap();
    relay.stall(Way::Down);
    let (e, mut handle) = within(GENEROUS, "a silent server", move || {
        let e = error_of(handle.query_drop("DO 2"));
        (e, handle)
    });
    assert!(matches!(lost(&e).cause, LostCause::Timeout(_)), "{e}");
    assert_eq!(lost(&e).ran, Ran::Maybe);
    relay.heal();
    assert_eq!(one::<u8>(&mut handle, "SELECT 1"), 1);
}

#[test]
fn a_statement_that_takes_longer_than_the_read_timeout_is_given_up() {
    let opts = server().tcp().read_timeout(Some(PATIENT));
    let mut handle = mux().connect(opts).unwrap();
    let e = error_of(handle.query_drop("SELECT SLEEP(20)"));
    assert!(matches!(lost(&e).cause, LostCause::Timeout(_)), "{e}");
    assert_eq!(one::<u8>(&mut handle, "SELECT 1"), 1);
}

#[test]
fn a_deadline_passes_although_the_server_says_nothing() {
    let relay = Relay::new();
    let mut handle = mux().connect(relay.tcp(server().tcp())).unwrap();
    handle.query_drop("SELECT 1").unwrap();
    relay.stall(Way::Down);
    let e = within(GENEROUS, "a silent server", move || {
        let time = Duration::from_millis(200);
        error_of(handle.within(time).query_drop("SELECT 2"))
    });
    assert!(matches!(e, Error::StatementTimeout(_)), "{e}");
}

#[test]
fn a_delay_on_the_way_changes_nothing_but_the_time() {
    let relay = Relay::new();
    relay.delay(Way::Up, Duration::from_millis(20));
    relay.delay(Way::Down, Duration::from_millis(20));
    let mut handle = mux().connect(relay.tcp(server().tcp())).unwrap();
    let began = Instant::now();
    assert_eq!(one::<u8>(&mut handle, "SELECT 1"), 1);
    assert!(began.elapsed() >= Duration::from_millis(40));
}

#[test]
fn a_server_that_is_away_for_a_moment_is_waited_for() {
    let relay = Relay::new();
    let mut handle = mux().connect(relay.tcp(server().tcp())).unwrap();
    handle.query_drop("DO 1").unwrap();
    relay.refuse();
    relay.close_all();
    let thread = thread::spawn(move || handle.query_drop("DO 2").map(|()| handle));
    eventually("connects are refused", || relay.accepted() >= 3);
    relay.heal();
    let mut handle = within(GENEROUS, "a server that came back", move || {
        thread.join().unwrap()
    })
    .unwrap();
    assert_eq!(one::<u8>(&mut handle, "SELECT 1"), 1);
}

#[test]
fn a_server_that_stays_away_is_an_error_within_the_acquire_timeout() {
    let relay = Relay::new();
    let mux = builder().acquire_timeout(PATIENT).build();
    let mut handle = mux.connect(relay.tcp(server().tcp())).unwrap();
    handle.query_drop("DO 1").unwrap();
    relay.refuse();
    relay.close_all();
    let e = within(GENEROUS, "a server that stays away", move || {
        // The first statement may still meet the dying link.
        (0..3)
            .map(|_| error_of(handle.query_drop("DO 2")))
            .next_back()
            .unwrap()
    });
    assert!(
        matches!(e, Error::ConnectError(_) | Error::AcquireTimeout(_)),
        "{e}"
    );
}

#[test]
fn when_no_link_comes_free_the_error_names_who_holds_them_and_why() {
    let mux = builder().max_links(2).acquire_timeout(PATIENT).build();
    let mut holders: Vec<Handle> = (0..2)
        .map(|_| mux.connect(server().tcp()).unwrap())
        .collect();
    let mut third = mux.connect(server().tcp()).unwrap();
    for handle in &mut holders {
        handle.query_drop("START TRANSACTION").unwrap();
    }
    let (e, mut third) = within(GENEROUS, "waiting for a link", move || {
        let e = error_of(third.query_drop("DO 1"));
        (e, third)
    });
    match &e {
        Error::AcquireTimeout(timeout) => {
            assert_eq!(timeout.max_links, 2);
            assert_eq!(timeout.holders.len(), 2, "{e}");
            assert!(timeout.waited >= PATIENT);
            for handle in &holders {
                let id = handle.connection_id().to_string();
                assert!(timeout.holders.iter().any(|line| line.contains(&id)), "{e}");
            }
            assert!(e.to_string().contains("transaction"), "{e}");
        }
        other => panic!("a timeout was expected, and it is: {other}"),
    }
    assert_eq!(mux.stats().total.acquire_timeouts, 1);
    holders[0].query_drop("COMMIT").unwrap();
    third.query_drop("DO 1").unwrap();
}

#[test]
fn twenty_threads_open_no_more_than_max_links() {
    let user = User::new("maxlinks");
    let mux = builder().max_links(3).build();
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..20)
        .map(|n| {
            let mux = mux.clone();
            let opts = user.tcp();
            thread::spawn(move || {
                for i in 0..20 {
                    let mut handle = mux.connect(opts.clone()).unwrap();
                    if (n + i) % 4 == 0 {
                        let mut tx = handle
                            .start_transaction(mysql_mux::TxOpts::default())
                            .unwrap();
                        tx.query_drop("SELECT SLEEP(0.002)").unwrap();
                        tx.commit().unwrap();
                    } else {
                        assert_eq!(one::<i32>(&mut handle, &format!("SELECT {i}")), i);
                    }
                }
            })
        })
        .collect();
    let watcher = {
        let (stop, name) = (Arc::clone(&stop), user.name.clone());
        thread::spawn(move || {
            let mut root = server().root();
            let mut most = 0;
            while !stop.load(Ordering::SeqCst) {
                most = most.max(server().connections_of(&mut root, &name).len());
            }
            most
        })
    };
    for thread in threads {
        thread.join().unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    let most = watcher.join().unwrap();
    assert!((1..=3).contains(&most), "{most} connections");
    let total = mux.stats().total;
    assert!(total.active_connections <= 3);
    assert!(
        total.waits > 0,
        "three links were enough for twenty threads"
    );
    assert_eq!(total.waiting, 0);
}

#[test]
fn waiters_are_served_in_the_order_they_came() {
    let mux = builder().max_links(1).build();
    let mut holder = mux.connect(server().tcp()).unwrap();
    holder.query_drop("START TRANSACTION").unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let threads: Vec<_> = (0..4_u64)
        .map(|n| {
            let mut handle = mux.connect(server().tcp()).unwrap();
            let tell = tell.clone();
            let thread = thread::spawn(move || {
                // The link is held for this whole transaction, so that the order shows.
                let mut tx = handle
                    .start_transaction(mysql_mux::TxOpts::default())
                    .unwrap();
                tell.send(n).unwrap();
                tx.query_drop("DO 1").unwrap();
                tx.commit().unwrap();
            });
            eventually("it waits", || mux.stats().total.waiting == n + 1);
            thread
        })
        .collect();
    holder.query_drop("COMMIT").unwrap();
    for thread in threads {
        thread.join().unwrap();
    }
    drop(tell);
    assert_eq!(told.iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn an_idle_link_of_another_identity_is_taken_over_where_no_more_may_be_opened() {
    let (a, b) = (User::new("stealfrom"), User::new("thief"));
    let mut root = server().root();
    let mux = builder().max_links(1).build();
    let mut handle_a = mux.connect(a.tcp().isolation(Isolation::Reset)).unwrap();
    let id: u32 = one(&mut handle_a, "SELECT CONNECTION_ID()");
    handle_a.query_drop("SELECT @leak := 1").unwrap();

    let mut handle_b = mux.connect(b.tcp().isolation(Isolation::Reset)).unwrap();
    assert_eq!(
        one::<String>(&mut handle_b, "SELECT CURRENT_USER()"),
        format!("{}@%", b.name)
    );
    assert_eq!(
        one::<u32>(&mut handle_b, "SELECT CONNECTION_ID()"),
        id,
        "the same connection"
    );
    assert_eq!(one::<Option<i32>>(&mut handle_b, "SELECT @leak"), None);
    assert_eq!(mux.stats().total.user_changes, 1);
    assert_eq!((a.connections(&mut root), b.connections(&mut root)), (0, 1));

    // And back again.
    assert_eq!(
        one::<String>(&mut handle_a, "SELECT CURRENT_USER()"),
        format!("{}@%", a.name)
    );
    assert_eq!(
        one::<String>(&mut handle_a, "SELECT DATABASE()"),
        server().database
    );
    assert_eq!(
        one::<String>(&mut handle_a, "SELECT @@character_set_results"),
        "utf8mb4"
    );
    assert_eq!(mux.stats().total.active_connections, 1);
}

#[test]
fn a_thief_with_a_wrong_password_gets_nothing_and_the_owner_goes_on() {
    let (a, b) = (User::new("victim"), User::new("badthief"));
    let mux = builder().max_links(1).build();
    let mut handle = mux.connect(a.tcp()).unwrap();
    handle.query_drop("DO 1").unwrap();
    let e = error_of(mux.connect(server().tcp_as(&b.name, "wrong")));
    assert_eq!(e.code(), Some(1045), "{e}");
    assert_eq!(
        one::<String>(&mut handle, "SELECT CURRENT_USER()"),
        format!("{}@%", a.name)
    );
    assert!(mux.stats().total.active_connections <= 1);
}

#[test]
fn a_link_with_an_open_transaction_is_not_taken_over() {
    let (a, b) = (User::new("busy"), User::new("waitthief"));
    let mux = builder().max_links(1).acquire_timeout(PATIENT).build();
    let mut handle = mux.connect(a.tcp()).unwrap();
    handle.query_drop("START TRANSACTION").unwrap();
    let e = error_of(mux.connect(b.tcp()));
    assert!(matches!(e, Error::AcquireTimeout(_)), "{e}");
    handle.query_drop("COMMIT").unwrap();
    mux.connect(b.tcp()).unwrap().query_drop("DO 1").unwrap();
}

#[test]
fn a_shutdown_closes_what_is_idle_and_lets_what_runs_end() {
    let user = User::new("shutdown");
    let mut root = server().root();
    let mux = mux();
    let mut running = mux.connect(user.tcp()).unwrap();
    let mut idle = mux.connect(user.tcp()).unwrap();
    let thread = thread::spawn(move || {
        running
            .query_first::<i32, _>("SELECT SLEEP(1)")
            .map(|n| (n, running))
    });
    eventually("it runs", || {
        mux.stats().total.idle_connections < mux.stats().total.active_connections
    });
    assert_eq!(
        mux.shutdown(GENEROUS),
        0,
        "nothing had to be ended by force"
    );
    let (slept, mut running) = thread.join().unwrap().unwrap();
    assert_eq!(slept, Some(0));
    eventually("all links are closed", || user.connections(&mut root) == 0);
    for handle in [&mut running, &mut idle] {
        let e = error_of(handle.query_drop("DO 1"));
        assert!(
            matches!(e, Error::DriverError(DriverError::MuxShutDown)),
            "{e}"
        );
    }
    let e = error_of(mux.connect(user.tcp()));
    assert!(
        matches!(e, Error::DriverError(DriverError::MuxShutDown)),
        "{e}"
    );
    assert_eq!(mux.stats().total.active_connections, 0);
}

#[test]
fn a_shutdown_ends_by_force_what_does_not_end_in_time() {
    let user = User::new("force");
    let mux = mux();
    let mut running = mux.connect(user.tcp()).unwrap();
    let thread = thread::spawn(move || error_of(running.query_drop("SELECT SLEEP(60)")));
    eventually("it runs", || {
        mux.stats().total.idle_connections < mux.stats().total.active_connections
    });
    assert_eq!(mux.shutdown(Duration::from_millis(200)), 1);
    let e = within(GENEROUS, "a statement that was ended", move || {
        thread.join().unwrap()
    });
    assert_eq!(lost(&e).ran, Ran::Maybe, "{e}");
}

#[test]
fn those_who_wait_for_a_link_are_told_of_the_shutdown() {
    let mux = builder().max_links(1).build();
    let mut holder = mux.connect(server().tcp()).unwrap();
    holder.query_drop("START TRANSACTION").unwrap();
    let mut waiter = mux.connect(server().tcp()).unwrap();
    let thread = thread::spawn(move || error_of(waiter.query_drop("DO 1")));
    eventually("it waits", || mux.stats().total.waiting == 1);
    let mux2 = mux.clone();
    let closing = thread::spawn(move || mux2.shutdown(Duration::from_millis(200)));
    let e = within(GENEROUS, "a waiter at a shutdown", move || {
        thread.join().unwrap()
    });
    assert!(
        matches!(e, Error::DriverError(DriverError::MuxShutDown)),
        "{e}"
    );
    closing.join().unwrap();
}

#[test]
fn a_server_that_falls_silent_is_an_error_for_tasks_too_after_the_read_timeout() {
    let relay = Relay::new();
    let mux = mux();
    // Which asks nothing by itself.
    let opts = relay.tcp(server().tcp()).isolation(Isolation::Reset);
    let opts = opts.read_timeout(Some(PATIENT));
    let mut handles: Vec<_> = (0..3)
        .map(|_| block_on(mux.connect_async(opts.clone())).unwrap())
        .collect();
    // It counts from when something is asked, again and again.
    for handle in &mut handles {
        block_on(handle.query_drop("SELECT 1")).unwrap();
        thread::sleep(PATIENT * 2 / 3);
    }
    relay.stall(Way::Down);
    let failed = within(GENEROUS, "an answer that does not come", move || {
        let mut failed = Vec::new();
        for handle in &mut handles {
            // A write: it is not tried once more.
            let asked = handle.query_drop("DELETE FROM mux_test.no_such_table");
            failed.push(error_of(block_on(asked)));
            relay.heal();
            block_on(handle.query_drop("SELECT 1")).unwrap();
            relay.stall(Way::Down);
        }
        failed
    });
    for error in &failed {
        let lost = lost(error);
        assert!(matches!(lost.cause, LostCause::Timeout(PATIENT)), "{lost}");
        assert_eq!(lost.ran, Ran::Maybe);
    }
}

#[test]
fn a_server_that_takes_nothing_is_an_error_after_the_write_timeout_and_nothing_has_run() {
    for is_task in [false, true] {
        let relay = Relay::new();
        // It is tried on another link, too, where it can only be the same.
        let mux = builder().acquire_timeout(PATIENT * 3).build();
        let opts = relay.tcp(server().tcp()).isolation(Isolation::Reset);
        let opts = opts.write_timeout(Some(PATIENT));
        let sql = format!(
            "DELETE FROM mux_test.no_such_table WHERE a = '{}'",
            "x".repeat(30 << 20)
        );
        let error = within(
            GENEROUS,
            "a text that nobody takes",
            move || match is_task {
                false => {
                    let mut handle = mux.connect(opts).unwrap();
                    handle.query_drop("SELECT 1").unwrap();
                    relay.stall(Way::Up);
                    error_of(handle.query_drop(sql))
                }
                true => block_on(async {
                    let mut handle = mux.connect_async(opts).await.unwrap();
                    handle.query_drop("SELECT 1").await.unwrap();
                    relay.stall(Way::Up);
                    error_of(handle.query_drop(sql).await)
                }),
            },
        );
        let lost = lost(&error);
        assert!(matches!(lost.cause, LostCause::Timeout(PATIENT)), "{lost}");
        assert_eq!(lost.ran, Ran::No, "it was not sent whole");
    }
}
