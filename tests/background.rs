//! What is done behind the callers' backs: statements that were given up are finished or ended, sessions of handles
//! that are gone are undone, links are opened and closed. None of it hits, holds up or outlives anybody else.

mod support;

use std::{pin::pin, thread, time::Duration};

use mysql_mux::{LocalInfileHandler, error::DriverError};
use support::{
    relay::Way,
    task::{block_on, poll_once},
    *,
};

/// Polls until it is so.
#[track_caller]
fn poll_until(what: &str, future: impl Future, mut so: impl FnMut() -> bool) {
    let mut future = pin!(future);
    eventually(what, || {
        assert!(poll_once(future.as_mut()).is_pending(), "before {what}");
        so()
    });
}

#[test]
fn a_kill_that_comes_late_is_for_nobody_else() {
    let relay = Relay::new();
    let mux = builder().max_links(1).build();
    let mut other = mux.connect(relay.tcp(server().tcp())).unwrap();
    let opts = relay
        .tcp(server().tcp())
        .statement_timeout(Some(Duration::from_millis(100)));
    let mut handle = block_on(mux.connect_async(opts)).unwrap();
    other.query_drop("SELECT 1").unwrap();
    // It is late, and about to be killed over a connection that comes to nothing yet; then it ends by itself. On a
    // machine that is busy it may have ended before.
    let is_about_to_be_killed = || {
        let before = relay.accepted();
        relay.deaf();
        let mut sleeping = pin!(handle.query_drop("SELECT SLEEP(0.2)"));
        while poll_once(sleeping.as_mut()).is_pending() {
            if relay.accepted() > before {
                return true;
            }
            thread::sleep(Duration::from_millis(1));
        }
        relay.heal();
        false
    };
    eventually("the kill connects", is_about_to_be_killed);
    let others = thread::spawn(move || one::<u32>(&mut other, "SELECT SLEEP(1.5)"));
    thread::sleep(Duration::from_millis(600));
    relay.heal();
    assert_eq!(join_one(others), 0, "nobody cuts it short");
}

#[test]
fn what_was_lost_is_not_killed() {
    let relay = Relay::new();
    let mux = mux();
    let mut handle = block_on(mux.connect_async(relay.tcp(server().tcp()))).unwrap();
    block_on(handle.query_drop("SELECT 1")).unwrap();
    let mut root = server().root();
    let id: u32 = block_on(handle.query_first("SELECT CONNECTION_ID()"))
        .unwrap()
        .unwrap();
    let is_running = format!(
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = {id} AND INFO LIKE '%SLEEP%'"
    );
    poll_until("it runs", handle.query_drop("SET @a = SLEEP(1)"), || {
        one::<u32>(&mut root, &is_running) == 1
    });
    let accepted = relay.accepted();
    relay.close_all();
    drop(handle);
    eventually("its link is closed", || {
        mux.stats().total.active_connections == 0
    });
    assert_eq!(
        relay.accepted(),
        accepted,
        "its number may be another's by now"
    );
}

#[test]
fn a_server_that_falls_silent_holds_up_no_other() {
    let relay = Relay::new();
    let mux = builder().max_links(1).build();
    let mut silent = mux.connect(relay.tcp(server().tcp())).unwrap();
    let mut handle = mux.connect(server().tcp()).unwrap();
    silent.query_drop("BEGIN").unwrap();
    handle.query_drop("BEGIN").unwrap();
    relay.stall(Way::Down);
    drop(silent);
    drop(handle);
    let next = mux.connect(server().tcp()).unwrap();
    let answer = within(GENEROUS, "the other server's link is cleaned", move || {
        let mut next = next;
        one::<u32>(&mut next, "SELECT 1")
    });
    assert_eq!(answer, 1);
}

#[test]
fn what_a_task_runs_next_comes_behind_what_it_left() {
    let schema = Schema::new("behind");
    let mux = builder().max_links(4).build();
    let mut handle = block_on(mux.connect_async(schema.tcp())).unwrap();
    block_on(handle.query_drop("CREATE TABLE t (a INT)")).unwrap();
    let mut root = server().root();
    // Some end by themselves in a moment, others may be ended.
    for (n, time) in [0.05, 0.3, 0.05, 0.3, 0.05].into_iter().enumerate() {
        let insert = format!("INSERT INTO t SELECT {n} + SLEEP({time})");
        let is_running =
            format!("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO = '{insert}'");
        let mut inserting = Box::pin(handle.query_drop(&*insert));
        while poll_once(inserting.as_mut()).is_pending() {
            if one::<u32>(&mut root, &is_running) == 1 {
                break;
            }
        }
        drop(inserting);
        // Until somebody is at it.
        thread::sleep(Duration::from_millis(20));
        let count = format!("SELECT COUNT(*) FROM {}.t WHERE a = {n}", schema.name);
        let seen = block_on(handle.query_first::<u32, _>(&*count)).unwrap();
        assert_eq!(one::<u32>(&mut root, &is_running), 0, "{insert}");
        assert_eq!(seen, Some(one(&mut root, &count)), "{insert}");
    }
}

#[test]
fn times_without_end_are_taken_as_such() {
    let mux = builder()
        .acquire_timeout(Duration::MAX)
        .max_lifetime(Duration::MAX)
        .idle_timeout(Duration::MAX)
        .linger(Duration::MAX)
        .definitions_age(Duration::MAX)
        .min_idle_links(1)
        .build();
    let opts = server()
        .tcp()
        .tcp_connect_timeout(Some(Duration::MAX))
        .read_timeout(Some(Duration::MAX))
        .write_timeout(Some(Duration::MAX))
        .statement_timeout(Some(Duration::MAX));
    let mut handle = mux.connect(opts.clone()).unwrap();
    handle.query_drop("SET @a = 1").unwrap();
    let a: u32 = one(&mut handle.within(Duration::MAX), "SELECT @a");
    assert_eq!(a, 1);
    let mut task = block_on(mux.connect_async(opts)).unwrap();
    assert_eq!(block_on(task.query_first("SELECT 1")).unwrap(), Some(1));
    drop((handle, task));
    assert_eq!(mux.shutdown(Duration::MAX), 0);
}

#[test]
fn a_shutdown_closes_all_servers_before_it_waits_for_one() {
    let mux = mux();
    let relays: Vec<_> = (0..6).map(|_| Relay::new()).collect();
    let opts = |relay: &Relay| relay.tcp(server().tcp());
    let mut handles: Vec<_> = relays
        .iter()
        .map(|relay| mux.connect(opts(relay)).unwrap())
        .collect();
    let lock = unique("shutdown");
    let mut root = server().root();
    assert_eq!(
        one::<u32>(&mut root, &format!("SELECT GET_LOCK('{lock}', 0)")),
        1
    );
    // Each is still at work; what it is asked next would run on another link.
    let wait = format!("SELECT GET_LOCK('{lock}', 60)");
    let waiting: Vec<_> = relays
        .iter()
        .map(|relay| {
            let (mut handle, wait) = (mux.connect(opts(relay)).unwrap(), wait.clone());
            thread::spawn(move || handle.query_drop(wait))
        })
        .collect();
    let all_wait =
        format!("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO = \"{wait}\"");
    eventually("all wait", || one::<u32>(&mut root, &all_wait) == 6);
    let ending = {
        let mux = mux.clone();
        thread::spawn(move || mux.shutdown(GENEROUS))
    };
    eventually("none takes anything new", || {
        let is_closed = |handle: &mut Handle| {
            let asked = handle.query_drop("SELECT 1");
            matches!(asked, Err(Error::DriverError(DriverError::MuxShutDown)))
        };
        handles.iter_mut().all(is_closed)
    });
    // Those that get the lock let it go with their link.
    root.query_drop(format!("DO RELEASE_LOCK('{lock}')"))
        .unwrap();
    drop(handles);
    assert_eq!(join_one(ending), 0, "all came to their end");
    for result in join("those who waited", waiting) {
        result.unwrap();
    }
}

#[test]
fn a_mux_that_is_shut_down_while_a_handle_is_opened_runs_nothing() {
    for round in 0..300_u64 {
        let mux = mux();
        let ending = {
            let mux = mux.clone();
            thread::spawn(move || {
                (0..round * 37 % 4000).for_each(|_| std::hint::spin_loop());
                mux.shutdown(Duration::ZERO)
            })
        };
        let handle = mux.connect(server().tcp());
        join_one(ending);
        if let Ok(mut handle) = handle {
            error_of(handle.query_drop("SELECT 1"));
        }
    }
}

#[test]
fn a_key_that_nobody_uses_is_forgotten_and_its_counts_are_not() {
    let mux = builder().linger(Duration::ZERO).build();
    let nobody = Relay::new();
    nobody.refuse();
    error_of(mux.connect(nobody.tcp(server().tcp())));
    let mut handle = mux.connect(server().tcp()).unwrap();
    handle.query_drop("SELECT 1").unwrap();
    eventually("the one that failed is forgotten", || {
        mux.stats().groups.len() == 1
    });
    let counts = mux.stats().total;
    assert_eq!(counts.connect_failure, 1);
    drop(handle);
    eventually("the other one, too", || mux.stats().groups.is_empty());
    let after = mux.stats().total;
    assert_eq!(
        (
            after.statements,
            after.handles_opened,
            after.connect_failure
        ),
        (counts.statements, counts.handles_opened, 1)
    );
    assert_eq!((after.handles, after.active_connections), (0, 0));
    let mut again = mux.connect(server().tcp()).unwrap();
    assert_eq!(one::<u32>(&mut again, "SELECT 1"), 1);
}

#[test]
fn a_thread_keeps_nothing_of_what_it_opened_a_handle_with() {
    let witness = std::sync::Arc::new(());
    let mux = mux();
    {
        let kept = witness.clone();
        let handler = LocalInfileHandler::new(move |_, _| {
            let _kept = &kept;
            Ok(())
        });
        let opts: Opts = server().tcp().local_infile_handler(Some(handler)).into();
        let mut handle = mux.connect(opts).unwrap();
        handle.query_drop("SELECT 1").unwrap();
    }
    mux.shutdown(GENEROUS);
    drop(mux);
    eventually("the options are gone", || {
        std::sync::Arc::strong_count(&witness) == 1
    });
}
