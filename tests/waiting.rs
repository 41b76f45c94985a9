//! Those who wait for a connection: in order, no longer than they must, and without holding up each
//! other.

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    task::Poll,
    thread::{self, JoinHandle},
    time::Duration,
};

use mysql_mux::{Pipelining, Ran, Row};
use support::{
    relay::Way,
    talker::{Gate, Manner, Talker, says_it},
    task::{block_on, poll_once},
    *,
};

/// Longer than any test may take: who waits for it to pass is told by the guard.
const FOR_EVER: Duration = Duration::from_secs(3600);

fn waiting(mux: &Mux) -> u64 {
    mux.stats().total.waiting
}

#[track_caller]
fn wait_for_waiters(mux: &Mux, count: u64) {
    eventually(&format!("{count} callers wait"), || waiting(mux) == count);
}

/// Begins a transaction in a thread, notes who it is, and ends it.
fn transaction(
    mut handle: Handle,
    name: usize,
    order: &Arc<Mutex<Vec<usize>>>,
) -> JoinHandle<Handle> {
    let order = Arc::clone(order);
    thread::spawn(move || {
        handle.query_drop("START TRANSACTION").unwrap();
        order.lock().unwrap().push(name);
        handle.query_drop("COMMIT").unwrap();
        handle
    })
}

/// Transactions that wait one behind the other, the first as 0.
fn queue(
    mux: &Mux,
    opts: &OptsBuilder,
    count: usize,
    order: &Arc<Mutex<Vec<usize>>>,
) -> Vec<JoinHandle<Handle>> {
    let waiting = |(name, handle)| {
        let thread = transaction(handle, name, order);
        wait_for_waiters(mux, name as u64 + 1);
        thread
    };
    handles(mux, opts, count)
        .into_iter()
        .enumerate()
        .map(waiting)
        .collect()
}

#[test]
fn who_gives_a_link_back_and_asks_again_at_once_comes_behind_those_who_wait() {
    let mux = builder().max_links(1).acquire_timeout(FOR_EVER).build();
    let mut greedy = mux.connect(server().tcp()).unwrap();
    let mut other = mux.connect(server().tcp()).unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    greedy.query_drop("START TRANSACTION").unwrap();
    for _ in 0..20 {
        let waits = transaction(other, 1, &order);
        wait_for_waiters(&mux, 1);
        // In one breath: gives it back, wants it again.
        greedy.query_drop("COMMIT").unwrap();
        greedy.query_drop("START TRANSACTION").unwrap();
        order.lock().unwrap().push(2);
        other = join_one(waits);
    }
    assert_eq!(*order.lock().unwrap(), [1, 2].repeat(20));
}

#[test]
fn transactions_get_the_link_among_quick_statements_without_end() {
    let mux = builder().max_links(1).acquire_timeout(FOR_EVER).build();
    let stop = Arc::new(AtomicBool::new(false));
    // Many quick ones keep the link shared all the time.
    let busy: Vec<_> = handles(&mux, &server().tcp(), 8)
        .into_iter()
        .map(|mut handle| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    assert_eq!(one::<u64>(&mut handle, "SELECT 1"), 1);
                }
            })
        })
        .collect();
    let order = Arc::new(Mutex::new(Vec::new()));
    let alone = handles(&mux, &server().tcp(), 4)
        .into_iter()
        .enumerate()
        .map(|(name, handle)| transaction(handle, name, &order))
        .collect();
    join("transactions among quick statements", alone);
    stop.store(true, Ordering::SeqCst);
    join("quick statements", busy);
    assert_eq!(order.lock().unwrap().len(), 4);
}

#[test]
fn quick_statements_get_through_between_transactions_without_end() {
    let mux = builder().max_links(1).acquire_timeout(FOR_EVER).build();
    let stop = Arc::new(AtomicBool::new(false));
    let busy: Vec<_> = handles(&mux, &server().tcp(), 6)
        .into_iter()
        .map(|mut handle| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    handle.query_drop("START TRANSACTION").unwrap();
                    handle.query_drop("COMMIT").unwrap();
                }
            })
        })
        .collect();
    let quick = handles(&mux, &server().tcp(), 4)
        .into_iter()
        .map(|mut handle| {
            thread::spawn(move || {
                for n in 0..50_u64 {
                    assert_eq!(one::<u64>(&mut handle, &format!("SELECT {n}")), n);
                }
            })
        })
        .collect();
    join("quick statements among transactions", quick);
    stop.store(true, Ordering::SeqCst);
    join("transactions", busy);
}

#[test]
fn those_who_wait_for_links_held_in_transactions_are_served_in_order_by_the_first_that_is_free() {
    let user = User::new("waitorder");
    let mux = builder().max_links(2).acquire_timeout(FOR_EVER).build();
    let mut holders = handles(&mux, &user.tcp(), 2);
    for holder in &mut holders {
        holder.query_drop("START TRANSACTION").unwrap();
    }
    assert_eq!(user.connections(&mut server().root()), 2);
    let order = Arc::new(Mutex::new(Vec::new()));
    let threads = queue(&mux, &user.tcp(), 20, &order);
    // The other transaction stays open all the time.
    holders[1].query_drop("COMMIT").unwrap();
    join("those who waited", threads);
    assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
    assert_eq!(one::<u64>(&mut holders[0], "SELECT 5"), 5);
    holders[0].query_drop("COMMIT").unwrap();
    assert_eq!(waiting(&mux), 0);
    assert_eq!(user.connections(&mut server().root()), 2);
}

#[test]
fn reads_and_transactions_that_wait_are_served_in_the_order_in_which_they_came() {
    let talker = Talker::new(Manner::default());
    let opts = talker.tcp().pipelining(Pipelining::Off);
    let mux = builder().max_links(1).acquire_timeout(FOR_EVER).build();
    let mut holder = mux.connect(opts.clone()).unwrap();
    holder.query_drop("START TRANSACTION").unwrap();
    let mut threads = Vec::new();
    for (n, mut handle) in (100_u64..).zip(handles(&mux, &opts, 12)) {
        threads.push(thread::spawn(move || {
            let is_alone = n % 3 != 0;
            if is_alone {
                handle.query_drop("START TRANSACTION").unwrap();
            }
            assert_eq!(one::<u64>(&mut handle, &format!("SELECT {n}")), n);
            if is_alone {
                handle.query_drop("COMMIT").unwrap();
            }
        }));
        wait_for_waiters(&mux, n - 99);
    }
    holder.query_drop("COMMIT").unwrap();
    join("those who wait for this and that", threads);
    let wanted: Vec<String> = (100..112).map(|n| format!("SELECT {n}")).collect();
    assert_eq!(talker.heard("SELECT 1"), wanted);
}

#[test]
fn a_handle_that_ends_in_a_transaction_leaves_its_link_to_those_who_wait() {
    let user = User::new("waitends");
    let mux = builder().max_links(1).acquire_timeout(FOR_EVER).build();
    let mut holder = mux.connect(user.tcp()).unwrap();
    holder.query_drop("START TRANSACTION").unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let threads = queue(&mux, &user.tcp(), 6, &order);
    drop(holder);
    join("those who waited", threads);
    assert_eq!(*order.lock().unwrap(), (0..6).collect::<Vec<_>>());
    assert_eq!(user.connections(&mut server().root()), 1);
}

#[test]
fn a_link_that_dies_under_its_holder_makes_room_for_those_who_wait() {
    let user = User::new("waitdies");
    let mut root = server().root();
    let mux = builder().max_links(1).acquire_timeout(FOR_EVER).build();
    let mut holder = mux.connect(user.tcp()).unwrap();
    holder.query_drop("START TRANSACTION").unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let threads = queue(&mux, &user.tcp(), 6, &order);
    for id in server().connections_of(&mut root, &user.name) {
        server().kill(&mut root, id);
    }
    error_of(holder.query_drop("DO 1"));
    join("those who waited", threads);
    assert_eq!(*order.lock().unwrap(), (0..6).collect::<Vec<_>>());
    assert_eq!(mux.stats().total.connect_success, 2);
    assert_eq!(one::<u64>(&mut holder, "SELECT 1"), 1);
}

#[test]
fn a_statement_whose_time_is_over_while_it_waits_is_not_run_and_leaves_its_turn_to_the_next() {
    let schema = Schema::new("waittimeout");
    let mux = builder().max_links(1).acquire_timeout(FOR_EVER).build();
    let mut holder = mux.connect(schema.tcp()).unwrap();
    holder.query_drop("CREATE TABLE t (id INT)").unwrap();
    for sql in ["INSERT INTO t VALUES (1)", "START TRANSACTION"] {
        holder.query_drop("START TRANSACTION").unwrap();
        let timeout = Some(Duration::from_millis(300));
        let mut late = mux.connect(schema.tcp()).unwrap();
        late.set_statement_timeout(timeout);
        let mut next = mux.connect(schema.tcp()).unwrap();
        let first = thread::spawn(move || (error_of(late.query_drop(sql)), late));
        let second = thread::spawn(move || {
            next.query_drop("START TRANSACTION").unwrap();
            next.query_drop("COMMIT").unwrap();
        });
        let (e, mut late) = join_one(first);
        assert!(
            matches!(&e, Error::StatementTimeout(e) if e.ran == Ran::No),
            "{e}"
        );
        wait_for_waiters(&mux, 1);
        holder.query_drop("COMMIT").unwrap();
        join_one(second);
        late.set_statement_timeout(None);
        assert_eq!(one::<u64>(&mut late, "SELECT COUNT(*) FROM t"), 0);
    }
}

/// How many wait of so many statements, where all who ask stood in the queue once.
fn convoy() -> (u64, u64) {
    let mux = builder().max_links(1).acquire_timeout(FOR_EVER).build();
    let mut holder = mux.connect(server().tcp()).unwrap();
    holder.query_drop("START TRANSACTION").unwrap();
    let threads: Vec<_> = handles(&mux, &server().tcp(), 12)
        .into_iter()
        .map(|mut handle| {
            thread::spawn(move || {
                for n in 0..100_u64 {
                    assert_eq!(one::<u64>(&mut handle, &format!("SELECT {n}")), n);
                }
            })
        })
        .collect();
    wait_for_waiters(&mux, 12);
    let before = mux.stats().total;
    holder.query_drop("COMMIT").unwrap();
    join("a convoy", threads);
    let after = mux.stats().total;
    (
        after.waits - before.waits,
        after.statements - before.statements,
    )
}

#[test]
fn those_who_queued_up_once_do_not_queue_up_for_ever() {
    // A pool that hands its one connection from one to the next would have all of them wait, each
    // time. On a busy machine the link looks stuck now and then, and many wait for a while.
    let mut seen = Vec::new();
    let one_goes_on = (0..10).any(|_| {
        let (waits, statements) = convoy();
        seen.push((waits, statements));
        waits < statements / 2
    });
    assert!(
        one_goes_on,
        "so many waits for so many statements: {seen:?}"
    );
}

/// Has six threads wait for one connect that does not get on, and gives what comes of it.
#[track_caller]
fn while_six_connect(opts: OptsBuilder, then: impl Fn(&Mux, &Relay, Vec<JoinHandle<Error>>)) {
    for max_links in [1, 10] {
        let relay = Relay::new();
        relay.stall(Way::Down);
        let mux = builder()
            .max_links(max_links)
            .acquire_timeout(FOR_EVER)
            .build();
        let opts = relay.tcp(opts.clone()).tcp_connect_timeout(Some(FOR_EVER));
        let threads = (0..6)
            .map(|_| {
                let (mux, opts) = (mux.clone(), opts.clone());
                thread::spawn(move || error_of(mux.connect(opts)))
            })
            .collect();
        wait_for_waiters(&mux, 5);
        eventually("one connects", || relay.accepted() == 1);
        then(&mux, &relay, threads);
    }
}

#[test]
fn all_who_wait_for_a_connect_are_told_at_once_that_the_password_is_wrong() {
    let user = User::new("waitwrong");
    let wrong = server().tcp_as(&user.name, "wrong");
    while_six_connect(wrong, |mux, relay, threads| {
        relay.heal();
        for e in join("six connects with a wrong password", threads) {
            assert_eq!(e.code(), Some(1045), "{e}");
        }
        assert_eq!(relay.accepted(), 1);
        assert_eq!(waiting(mux), 0);
    });
}

#[test]
fn all_who_wait_for_a_connect_are_told_at_once_that_the_server_is_gone() {
    while_six_connect(server().tcp(), |mux, relay, threads| {
        relay.refuse();
        relay.close_all();
        for e in join("six connects to nobody", threads) {
            assert!(matches!(e, Error::ConnectError(_)), "{e}");
        }
        assert_eq!(waiting(mux), 0);
        assert_eq!(mux.stats().total.handles, 0);
    });
}

#[test]
fn who_waits_for_another_users_link_is_told_that_the_password_is_wrong() {
    let user = User::new("waitsteal");
    let mux = builder().max_links(1).acquire_timeout(FOR_EVER).build();
    let mut holder = mux.connect(server().tcp()).unwrap();
    holder.query_drop("START TRANSACTION").unwrap();
    let wrong = server().tcp_as(&user.name, "wrong");
    let threads = (0..3)
        .map(|_| {
            let (mux, wrong) = (mux.clone(), wrong.clone());
            thread::spawn(move || error_of(mux.connect(wrong)))
        })
        .collect();
    wait_for_waiters(&mux, 3);
    holder.query_drop("COMMIT").unwrap();
    for e in join("three with a wrong password", threads) {
        assert_eq!(e.code(), Some(1045), "{e}");
    }
    // Nobody was harmed.
    assert_eq!(one::<u64>(&mut holder, "SELECT 1"), 1);
    let mut right = mux.connect(user.tcp()).unwrap();
    assert_eq!(one::<u64>(&mut right, "SELECT 1"), 1);
}

#[test]
fn a_task_that_stops_waiting_leaves_its_turn_to_the_next() {
    a_task_stops_waiting(false);
}

#[test]
fn a_task_that_stops_waiting_when_its_turn_has_come_gives_it_to_the_next() {
    a_task_stops_waiting(true);
}

#[track_caller]
fn a_task_stops_waiting(its_turn_has_come: bool) {
    let mux = builder().max_links(1).acquire_timeout(FOR_EVER).build();
    let mut holder = mux.connect(server().tcp()).unwrap();
    let mut task = block_on(mux.connect_async(server().tcp())).unwrap();
    let mut next = mux.connect(server().tcp()).unwrap();
    for statement in ["START TRANSACTION", "SELECT 1"] {
        for _ in 0..5 {
            holder.query_drop("START TRANSACTION").unwrap();
            let order = Arc::new(Mutex::new(Vec::new()));
            let mut query = Box::pin(task.query_drop(statement));
            assert!(poll_once(query.as_mut()).is_pending());
            assert_eq!(waiting(&mux), 1);
            let thread = transaction(next, 1, &order);
            wait_for_waiters(&mux, 2);
            if its_turn_has_come {
                // Now it has the link, and does not know.
                holder.query_drop("COMMIT").unwrap();
                wait_for_waiters(&mux, 1);
                assert!(order.lock().unwrap().is_empty());
                drop(query);
            } else {
                drop(query);
                assert_eq!(waiting(&mux), 1);
                holder.query_drop("COMMIT").unwrap();
            }
            next = join_one(thread);
            assert_eq!(*order.lock().unwrap(), [1]);
        }
    }
    let n: Option<u64> = block_on(task.query_first("SELECT 3")).unwrap();
    assert_eq!(n, Some(3), "the task's own handle is well");
}

#[test]
fn a_task_that_stops_opening_a_handle_leaves_no_trace() {
    let user = User::new("waitopen");
    let mux = builder().max_links(1).acquire_timeout(FOR_EVER).build();
    let mut holder = mux.connect(server().tcp()).unwrap();
    for _ in 0..5 {
        holder.query_drop("START TRANSACTION").unwrap();
        let mut connect = Box::pin(mux.connect_async(user.tcp()));
        assert!(poll_once(connect.as_mut()).is_pending());
        let (send, opened) = mpsc::channel();
        let (others, opts) = (mux.clone(), user.tcp());
        let thread = thread::spawn(move || send.send(others.connect(opts).map(drop)).unwrap());
        wait_for_waiters(&mux, 2);
        drop(connect);
        wait_for_waiters(&mux, 1);
        assert_eq!(mux.stats().total.handles, 2);
        holder.query_drop("COMMIT").unwrap();
        opened.recv_timeout(GENEROUS).expect("the next").unwrap();
        thread.join().unwrap();
        eventually("its handle is gone", || mux.stats().total.handles == 1);
        assert_eq!(one::<u64>(&mut holder, "SELECT 1"), 1);
    }
}

#[test]
fn a_task_that_asked_and_is_not_gone_on_with_holds_up_no_other() {
    let mux = builder().max_links(1).acquire_timeout(FOR_EVER).build();
    let mut handles = [0; 2].map(|_| block_on(mux.connect_async(server().tcp())).unwrap());
    for handle in &mut handles {
        let n: Option<u64> = block_on(handle.query_first("SELECT 1")).unwrap();
        assert_eq!(n, Some(1));
    }
    within(GENEROUS, "a task beside one that rests", move || {
        let [resting, other] = &mut handles;
        for n in 0..100 {
            // As the branch of a `select` that is looked at again only when the other is done.
            let mut rests = Box::pin(resting.query_first::<u64, _>("SELECT 2"));
            let soon = poll_once(rests.as_mut());
            let sql = format!("SELECT {n}");
            assert_eq!(block_on(other.query_first(sql)).unwrap(), Some(n));
            let rested = match soon {
                Poll::Ready(done) => done,
                Poll::Pending => block_on(rests),
            };
            assert_eq!(rested.unwrap(), Some(2));
        }
    });
}

#[test]
fn a_task_that_asked_and_is_not_gone_on_with_for_long_holds_up_no_other() {
    let mux = builder().max_links(1).acquire_timeout(FOR_EVER).build();
    let mut handles = [0; 2].map(|_| block_on(mux.connect_async(server().tcp())).unwrap());
    let mut thread = mux.connect(server().tcp()).unwrap();
    within(GENEROUS, "others beside one that rests", move || {
        let [resting, other] = &mut handles;
        for rest in [0, 0, 20, 50] {
            for in_transaction in [false, true] {
                for is_task in [false, true] {
                    // By one that sets nothing: the link is shared again.
                    let n: Option<u64> = block_on(resting.query_first("SELECT 1")).unwrap();
                    assert_eq!(n, Some(1));
                    let mut rests = Box::pin(resting.query_first::<u64, _>("SELECT 2"));
                    let soon = poll_once(rests.as_mut());
                    // By then it looks as if the server took long for it.
                    thread::sleep(Duration::from_millis(rest));
                    let statements: &[&str] = match in_transaction {
                        true => &["START TRANSACTION", "SELECT 3", "COMMIT"],
                        false => &["SELECT 3"],
                    };
                    for sql in statements {
                        match is_task {
                            true => block_on(other.query_drop(sql)).unwrap(),
                            false => thread.query_drop(sql).unwrap(),
                        }
                    }
                    let rested = match soon {
                        Poll::Ready(done) => done,
                        Poll::Pending => block_on(rests),
                    };
                    assert_eq!(rested.unwrap(), Some(2));
                }
            }
        }
    });
}

/// So many of the user's connections sleep at the moment.
fn sleepers(root: &mut Handle, user: &User) -> Vec<i64> {
    let rows: Vec<Row> = root.query("SHOW FULL PROCESSLIST").unwrap();
    rows.iter()
        .filter(|row| row.get::<String, _>("User").as_deref() == Some(&user.name))
        .filter(|row| {
            let info: Option<String> = row.get("Info").unwrap();
            info.is_some_and(|info| info.starts_with("SELECT SLEEP"))
        })
        .map(|row| row.get("Time").unwrap())
        .collect()
}

#[test]
fn nobody_comes_behind_a_statement_that_runs_long_while_another_link_may_be_had() {
    let user = User::new("waitlong");
    let mut root = server().root();
    let mux = builder().max_links(2).acquire_timeout(FOR_EVER).build();
    let mut quick = handles(&mux, &user.tcp(), 8);
    for handle in &mut quick {
        assert_eq!(one::<u64>(handle, "SELECT 1"), 1);
    }
    assert_eq!(user.connections(&mut root), 1);
    let mut sleeper = mux.connect(user.tcp()).unwrap();
    let awake = Arc::new(AtomicBool::new(false));
    let awakes = Arc::clone(&awake);
    let thread = thread::spawn(move || {
        assert_eq!(one::<u64>(&mut sleeper, "SELECT SLEEP(4)"), 0);
        awakes.store(true, Ordering::SeqCst);
    });
    eventually("it has slept for a second", || {
        sleepers(&mut root, &user).first().is_some_and(|&s| s >= 1)
    });
    for (n, handle) in (0_u64..).zip(&mut quick) {
        assert_eq!(one::<u64>(handle, &format!("SELECT {n}")), n);
        let back: Option<u64> = handle.exec_first("SELECT ?", (n,)).unwrap();
        assert_eq!(back, Some(n));
    }
    assert!(
        !awake.load(Ordering::SeqCst),
        "the quick ones came behind the one that slept"
    );
    assert_eq!(user.connections(&mut root), 2);
    join_one(thread);
}

#[test]
fn statements_known_to_be_slow_leave_one_link_to_the_quick() {
    let user = User::new("waitslow");
    let mut root = server().root();
    let mux = builder().max_links(2).acquire_timeout(FOR_EVER).build();
    let mut quick = mux.connect(user.tcp()).unwrap();
    // The first may take long: the machine has other things to do.
    for _ in 0..40 {
        assert_eq!(one::<u64>(&mut quick, "SELECT 1"), 1);
    }
    // On a lane, where it is seen.
    assert_eq!(one::<u64>(&mut quick, "SELECT SLEEP(0.05)"), 0);

    let awake = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = handles(&mux, &user.tcp(), 4)
        .into_iter()
        .map(|mut handle| {
            let awake = Arc::clone(&awake);
            thread::spawn(move || {
                assert_eq!(one::<u64>(&mut handle, "SELECT SLEEP(1.5)"), 0);
                awake.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect();
    eventually("one sleeps and the others wait", || {
        waiting(&mux) == 3 && sleepers(&mut root, &user).len() == 1
    });
    for n in 0..50_u64 {
        assert_eq!(one::<u64>(&mut quick, &format!("SELECT {n}")), n);
    }
    assert!(
        awake.load(Ordering::SeqCst) < 3,
        "the quick ones came behind the slow"
    );
    let mut most = 0;
    eventually("all have slept", || {
        most = most.max(sleepers(&mut root, &user).len());
        awake.load(Ordering::SeqCst) == 4
    });
    assert_eq!(most, 1, "so many slept at once");
    join("the sleepers", threads);
    assert!(user.connections(&mut root) <= 2);
}

#[test]
fn a_statement_that_took_long_once_among_hundreds_does_not_wait_among_the_slow() {
    let gate = Gate::default();
    let held = gate.clone();
    let talker = Talker::new(Manner {
        answer: Arc::new(move |sql| {
            match sql {
                "SELECT 99999" | "SELECT slow, 1" => thread::sleep(Duration::from_millis(20)),
                "SELECT slow, 2" => held.pass(),
                _ => {}
            }
            says_it(sql)
        }),
        ..Manner::default()
    });
    let mux = builder().max_links(2).acquire_timeout(FOR_EVER).build();
    let mut quick = mux.connect(talker.tcp()).unwrap();
    for n in 0..300_u64 {
        assert_eq!(one::<u64>(&mut quick, &format!("SELECT {n}")), n);
    }
    assert_eq!(one::<u64>(&mut quick, "SELECT 99999"), 99_999);
    quick.query_drop("SELECT slow, 1").unwrap();

    let mut threads: Vec<_> = Vec::new();
    for mut handle in handles(&mux, &talker.tcp(), 3) {
        threads.push(thread::spawn(move || {
            handle.query_drop("SELECT slow, 2").unwrap();
        }));
    }
    eventually("one is at the server, the others wait", || {
        gate.came() == 1 && waiting(&mux) == 2
    });
    let answered = thread::spawn(move || one::<u64>(&mut quick, "SELECT 7"));
    eventually("the quick one is answered, the slow ones are not", || {
        answered.is_finished()
    });
    gate.open();
    assert_eq!(join_one(answered), 7);
    join("the slow ones", threads);
}

#[test]
fn with_one_link_a_statement_known_to_be_slow_runs_all_the_same() {
    let mux = builder().max_links(1).acquire_timeout(FOR_EVER).build();
    let mut quick = mux.connect(server().tcp()).unwrap();
    assert_eq!(one::<u64>(&mut quick, "SELECT 1"), 1);
    assert_eq!(one::<u64>(&mut quick, "SELECT SLEEP(0.05)"), 0);
    let threads = handles(&mux, &server().tcp(), 5)
        .into_iter()
        .map(|mut handle| {
            thread::spawn(move || {
                assert_eq!(one::<u64>(&mut handle, "SELECT SLEEP(0.06)"), 0);
                assert_eq!(one::<u64>(&mut handle, "SELECT 7"), 7);
            })
        })
        .collect();
    join("slow ones on one link", threads);
    assert_eq!(one::<u64>(&mut quick, "SELECT 8"), 8);
}

#[test]
fn one_at_a_time_the_order_of_service_is_the_order_of_asking() {
    let gate = Gate::default();
    let held = gate.clone();
    let talker = Talker::new(Manner {
        answer: Arc::new(move |sql| {
            if sql == "SELECT 1000" {
                held.pass();
            }
            says_it(sql)
        }),
        ..Manner::default()
    });
    let mux = builder().max_links(1).acquire_timeout(FOR_EVER).build();
    let opts = talker.tcp().pipelining(Pipelining::Off);
    let mut first = mux.connect(opts.clone()).unwrap();
    assert_eq!(one::<u64>(&mut first, "SELECT 1"), 1);
    let head = thread::spawn(move || one::<u64>(&mut first, "SELECT 1000"));
    eventually("the first one is there", || gate.came() == 1);
    let mut threads = vec![head];
    for (n, mut handle) in (1..).zip(handles(&mux, &opts, 30)) {
        threads.push(thread::spawn(move || {
            one::<u64>(&mut handle, &format!("SELECT {}", 1000 + n))
        }));
        wait_for_waiters(&mux, n);
    }
    gate.open();
    let answers = join("those who wait behind one", threads);
    assert_eq!(answers, (1000..=1030).collect::<Vec<u64>>());
    let wanted: Vec<String> = answers.iter().map(|n| format!("SELECT {n}")).collect();
    assert_eq!(talker.heard("SELECT 10"), wanted);
    assert_eq!(talker.most_at_once(), [1]);
}

#[test]
fn who_changes_a_session_that_many_share_has_its_turn_among_statements_without_end() {
    let mux = builder()
        .max_links(10)
        .acquire_timeout(Duration::from_secs(5))
        .build();
    let opts = server().tcp().isolation(Isolation::Shared);
    let mut handle = mux.connect(opts.clone()).unwrap();
    let others = handles(&mux, &opts, 32);
    let read = |other: &mut Handle| other.query_drop("SELECT 1").unwrap();
    beside(others, read, || {
        for round in 0..40 {
            handle.query_drop(format!("SET @a = {round}")).unwrap();
        }
        assert_eq!(one::<u32>(&mut handle, "SELECT @a"), 39);
    });
    assert_eq!(mux.stats().total.active_connections, 1);
}
