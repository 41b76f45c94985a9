//! Servers that are added, drained and removed while handles are open, by who runs what; limits of each, and
//! who is told of changes.

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use mysql_mux::{
    AccessMode, Backend, BackendSet, BackendStats, Balance, DriverError, Prefer, TxOpts,
};
use support::{
    topology::{Topology, alone},
    *,
};

/// With a key, as writes to two nodes of a cluster at the same time are in each other's way without.
const COLUMNS: &str = "id INT AUTO_INCREMENT PRIMARY KEY, v INT";

fn backend(node: &Server) -> Backend {
    Backend::new(&node.host, node.port)
}

fn last(topology: &Topology) -> &Server {
    topology.nodes.last().expect("a server")
}

/// The first one, and one that nobody listens for: what is added is the only replica.
fn first_only(topology: &Topology) -> OptsBuilder {
    topology.nodes[0]
        .tcp()
        .prefer_socket(false)
        .backend(Backend::new("127.0.0.1", 1))
}

fn name(node: &Server) -> String {
    format!("{}:{}", node.host, node.port)
}

fn stats(backends: &BackendSet, node: &Server) -> BackendStats {
    let all = backends.stats();
    let found = all.into_iter().find(|one| one.server == name(node));
    found.expect("one of the servers")
}

/// Handles that read and write all the time, and what they have done.
struct Crowd {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    threads: Vec<thread::JoinHandle<u32>>,
}

impl Crowd {
    fn new(mux: &Mux, opts: &OptsBuilder, table: &str) -> Crowd {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let run = |mut handle: Handle| {
            let (stop, table) = (stop.clone(), table.to_owned());
            let done: Arc<AtomicUsize> = Arc::clone(&done);
            thread::spawn(move || {
                let mut written = 0;
                while !stop.load(Ordering::Relaxed) {
                    let count = format!("SELECT COUNT(*) FROM {table} WHERE v = 1");
                    let _: u32 = one(&mut handle, &count);
                    handle
                        .query_drop(format!("INSERT INTO {table} (v) VALUES (1)"))
                        .unwrap();
                    written += 1;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                written
            })
        };
        let threads = handles(mux, opts, 16).into_iter().map(run).collect();
        Crowd {
            stop,
            done,
            threads,
        }
    }

    /// Waits until each of them has gone on.
    fn goes_on(&self) {
        let done = || self.done.load(Ordering::Relaxed);
        let before = done();
        eventually("they go on", || done() > before + 200);
    }

    /// How much they wrote.
    fn end(self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        join("a crowd", self.threads).into_iter().sum()
    }
}

#[test]
fn one_that_is_added_is_read_from_by_all_handles() {
    let _alone = alone();
    let topology = Topology::new();
    let added = last(&topology);
    let seen = topology.watch();
    let mux = builder().build();
    let opts = first_only(&topology);
    let mut before = mux.connect(opts.clone()).unwrap();
    before.query_drop("SELECT 'added_1'").unwrap();
    let backends = mux.backends(opts.clone()).unwrap();
    backends.add(backend(added)).unwrap();
    eventually("it is up", || stats(&backends, added).is_up);
    before.query_drop("SELECT 'added_2'").unwrap();
    let mut after = mux.connect(opts).unwrap();
    after.query_drop("SELECT 'added_3'").unwrap();
    let node = topology.nodes.len() - 1;
    assert_eq!(seen.ran("added_1"), [0]);
    assert_eq!(seen.ran("added_2"), [node]);
    assert_eq!(seen.ran("added_3"), [node]);
    // One that is there already is no other.
    backends.add(backend(added).weight(3)).unwrap();
    assert_eq!(backends.stats().len(), 3);
    let names =
        |all: Vec<BackendStats>| -> Vec<_> { all.into_iter().map(|one| one.server).collect() };
    assert_eq!(names(mux.stats().backends), names(backends.stats()));
}

#[test]
fn one_that_is_drained_gets_nothing_but_what_is_bound_to_it() {
    let _alone = alone();
    let topology = Topology::new();
    let replica = last(&topology);
    let node = topology.nodes.len() - 1;
    let seen = topology.watch();
    let mux = builder().build();
    let opts = first_only(&topology);
    let backends = mux.backends(opts.clone()).unwrap();
    backends.add(backend(replica)).unwrap();
    eventually("it is up", || stats(&backends, replica).is_up);
    let mut free = mux.connect(opts.clone()).unwrap();
    let mut bound = mux.connect(opts).unwrap();
    bound.query_drop("START TRANSACTION READ ONLY").unwrap();
    bound.query_drop("SELECT 'drained_1'").unwrap();
    backends.drain(&replica.host, replica.port).unwrap();
    assert!(stats(&backends, replica).is_draining);
    free.query_drop("SELECT 'drained_2'").unwrap();
    bound.query_drop("SELECT 'drained_3'").unwrap();
    bound.query_drop("COMMIT").unwrap();
    bound.query_drop("SELECT 'drained_4'").unwrap();
    backends.resume(&replica.host, replica.port).unwrap();
    free.query_drop("SELECT 'drained_5'").unwrap();
    for (n, ran) in [(1, node), (2, 0), (3, node), (4, 0), (5, node)] {
        assert_eq!(seen.ran(&format!("drained_{n}")), [ran], "{n}");
    }
}

#[test]
fn nobody_notices_that_one_is_removed_or_comes_back() {
    let _alone = alone();
    let topology = Topology::new();
    let table = topology.table("removed", COLUMNS);
    let user = User::new("removed");
    topology.settle();
    let mux = builder().build();
    let opts = topology
        .opts()
        .user(Some(&user.name))
        .pass(Some(&user.password))
        .get_server_public_key(true);
    let backends = mux.backends(opts.clone()).unwrap();
    let crowd = Crowd::new(&mux, &opts, &table);
    let removed = last(&topology);
    let mut root = removed.root();
    for _ in 0..3 {
        crowd.goes_on();
        let ended = backends.remove(&removed.host, removed.port, GENEROUS);
        assert_eq!(ended.unwrap(), 0);
        eventually("its links are closed", || {
            removed.connections_of(&mut root, &user.name).is_empty()
        });
        crowd.goes_on();
        backends.add(backend(removed)).unwrap();
        eventually("it is up", || stats(&backends, removed).is_up);
    }
    let written = crowd.end();
    let count = format!("SELECT COUNT(*) FROM {table}");
    assert_eq!(one::<u32>(&mut topology.root(0), &count), written);
}

#[test]
fn the_first_one_can_be_removed_too() {
    let _alone = alone();
    let topology = Topology::new();
    if !topology.is_galera() {
        // The others take no writes.
        return;
    }
    let table = topology.table("first", COLUMNS);
    let seen = topology.watch();
    let mux = builder().build();
    let backends = mux.backends(topology.opts()).unwrap();
    let crowd = Crowd::new(&mux, &topology.opts(), &table);
    crowd.goes_on();
    let first = &topology.nodes[0];
    let ended = backends.remove(&first.host, first.port, GENEROUS);
    assert_eq!(ended.unwrap(), 0);
    crowd.goes_on();
    let mut handle = mux.connect(topology.opts()).unwrap();
    handle
        .query_drop(format!("INSERT INTO {table} (v) VALUES (2) /* first_1 */"))
        .unwrap();
    assert_eq!(seen.ran("first_1"), [1]);
    // What was written to the one is read from the other.
    let written = crowd.end();
    let count = format!("SELECT COUNT(*) FROM {table} WHERE v = 1");
    assert_eq!(one::<u32>(&mut handle, &count), written);
    backends.add(backend(first)).unwrap();
}

#[test]
fn while_the_primary_is_drained_writes_wait_and_none_fails() {
    let _alone = alone();
    let topology = Topology::new();
    if topology.is_galera() {
        // Another one takes them.
        return;
    }
    let table = topology.table("planned", COLUMNS);
    let mux = builder().build();
    let backends = mux.backends(topology.opts()).unwrap();
    let crowd = Crowd::new(&mux, &topology.opts(), &table);
    crowd.goes_on();
    let primary = &topology.nodes[0];
    let mut handle = mux.connect(topology.opts()).unwrap();
    let mut bound = mux.connect(topology.opts()).unwrap();
    bound.query_drop("BEGIN").unwrap();
    backends.drain(&primary.host, primary.port).unwrap();
    // What is open there is ended there.
    bound
        .query_drop(format!("INSERT INTO {table} (v) VALUES (2)"))
        .unwrap();
    bound.query_drop("COMMIT").unwrap();
    let insert = format!("INSERT INTO {table} (v) VALUES (3)");
    let within = handle
        .within(Duration::from_millis(200))
        .query_drop(&insert);
    assert!(matches!(within, Err(Error::StatementTimeout(_))));
    // Nobody has written in between.
    let count = format!("SELECT COUNT(*) FROM {table}");
    let mut root = topology.root(0);
    let before: u32 = one(&mut root, &count);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(one::<u32>(&mut root, &count), before);
    backends.resume(&primary.host, primary.port).unwrap();
    crowd.goes_on();
    let written = crowd.end();
    assert_eq!(one::<u32>(&mut root, &count), written + 1);
}

#[test]
fn who_does_not_let_go_of_one_that_is_removed_is_told_so() {
    let _alone = alone();
    let topology = Topology::new();
    let replica = last(&topology);
    let mux = builder().build();
    // Links of its own.
    let opts = first_only(&topology).max_links(3);
    let backends = mux.backends(opts.clone()).unwrap();
    backends.add(backend(replica)).unwrap();
    eventually("it is up", || stats(&backends, replica).is_up);
    let mut bound = mux.connect(opts).unwrap();
    bound.query_drop("START TRANSACTION READ ONLY").unwrap();
    let ended = backends.remove(&replica.host, replica.port, Duration::from_millis(50));
    assert_eq!(ended.unwrap(), 1);
    let e = error_of(bound.query_drop("SELECT 1"));
    let lost = matches!(e, Error::ConnectionLost(_) | Error::SessionLost { .. });
    assert!(lost, "{e}");
    bound.query_drop("SELECT 1").unwrap();
}

#[test]
fn what_cannot_be_changed_is_an_error() {
    let _alone = alone();
    let topology = Topology::new();
    let mux = builder().build();
    let is = |result: Result<(), Error>, wanted: DriverError| match result {
        Err(Error::DriverError(e)) => assert_eq!(e, wanted),
        other => panic!("{other:?}"),
    };
    let alone = mux.backends(topology.nodes[0].tcp().prefer_socket(false));
    is(alone.map(drop), DriverError::OneBackend);
    let backends = mux.backends(topology.opts()).unwrap();
    let missing = || DriverError::NoSuchBackend {
        host: "elsewhere".into(),
        port: 3306,
    };
    is(backends.drain("elsewhere", 3306), missing());
    is(backends.resume("elsewhere", 3306), missing());
    let removed = backends.remove("elsewhere", 3306, GENEROUS);
    is(removed.map(drop), missing());
    for node in &topology.nodes[1..] {
        let removed = backends.remove(&node.host, node.port, GENEROUS);
        assert_eq!(removed.unwrap(), 0);
    }
    let first = &topology.nodes[0];
    let removed = backends.remove(&first.host, first.port, GENEROUS);
    is(removed.map(drop), DriverError::LastBackend);
    let mut handle = mux.connect(topology.opts()).unwrap();
    handle.query_drop("DO 1").unwrap();
}

#[test]
fn each_change_is_told() {
    let _alone = alone();
    let topology = Topology::new();
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = {
        let told = told.clone();
        move |backend: &BackendStats| {
            told.lock().unwrap().push(backend.clone());
            assert!(!backend.is_draining, "whatever happens here is no matter");
        }
    };
    let mux = Mux::builder().on_backend_change(listener).build();
    let mut handle = mux.connect(topology.opts()).unwrap();
    let node = last(&topology);
    let was = |so: &dyn Fn(&BackendStats) -> bool| {
        let told = told.lock().unwrap();
        told.iter().any(|one| one.server == name(node) && so(one))
    };
    eventually("it is up", || was(&|one| one.is_up));
    let backends = mux.backends(topology.opts()).unwrap();
    backends.drain(&node.host, node.port).unwrap();
    assert!(was(&|one| one.is_draining));
    // It is still watched.
    backends.resume(&node.host, node.port).unwrap();
    let before = told.lock().unwrap().len();
    node.crash();
    eventually("it is gone", || {
        let told = told.lock().unwrap();
        told[before..]
            .iter()
            .any(|one| !one.is_up && one.why.is_some())
    });
    handle.query_drop("SELECT 1").unwrap();
    topology.restart(topology.nodes.len() - 1);
    eventually("it is back", || stats(&backends, node).is_up);
}

#[test]
fn each_has_limits_of_its_own() {
    let _alone = alone();
    let topology = Topology::new();
    let user = User::new("limits");
    topology.settle();
    let (first, second) = (&topology.nodes[0], &topology.nodes[1]);
    let opts = first
        .tcp_as(&user.name, &user.password)
        .prefer_socket(false)
        .get_server_public_key(true)
        .prefer(Prefer::Any)
        .max_links(4)
        .max_idle_links(2)
        .backend(backend(second).max_links(2).min_idle_links(2));
    let mux = builder().build();
    let open = |node: &Server| node.connections_of(&mut node.root(), &user.name).len();
    let busy =
        |mut handle: Handle| thread::spawn(move || handle.query_drop("SELECT SLEEP(0.2)").unwrap());
    let all = handles(&mux, &opts, 24);
    eventually("it is warm", || open(second) == 2);
    let threads: Vec<_> = all.into_iter().map(busy).collect();
    let mut most = (0, 0);
    while !threads.iter().all(|thread| thread.is_finished()) {
        most = (most.0.max(open(first)), most.1.max(open(second)));
    }
    join("sleepers", threads);
    assert!((2..=4).contains(&most.0) && most.1 == 2, "{most:?}");
    let _handle = mux.connect(opts).unwrap();
    eventually("no more are kept idle", || open(first) <= 2);
}

#[test]
fn a_transaction_that_only_reads_is_on_a_replica() {
    let _alone = alone();
    let topology = Topology::new();
    let table = topology.table("only_reads", "v INT");
    let seen = topology.watch();
    let mux = builder().build();
    let mut handle = mux.connect(topology.opts()).unwrap();
    handle
        .query_drop(format!("INSERT INTO {table} (v) VALUES (1)"))
        .unwrap();
    // It has what the handle wrote.
    topology.settle();
    let count = |n: u32| format!("SELECT COUNT(*) AS reads_{n} FROM {table}");
    eventually("a replica is known to have it", || {
        handle.query_drop("START TRANSACTION READ ONLY").unwrap();
        assert_eq!(one::<u32>(&mut handle, &count(1)), 1);
        handle.query_drop("SET @a = 7").unwrap();
        assert_eq!(one::<u32>(&mut handle, "SELECT @a"), 7);
        handle.query_drop("COMMIT").unwrap();
        seen.ran("reads_1") != [0]
    });
    assert!(
        seen.ran("reads_1")
            .iter()
            .all(|node| *node != 0 || seen.ran("reads_1").len() > 1)
    );
    // The session is the same on the primary.
    let insert = format!("INSERT INTO {table} (v) VALUES (@a) /* reads_2 */");
    handle.query_drop(insert).unwrap();
    assert_eq!(seen.ran("reads_2"), [0]);
    let sum = format!("SELECT SUM(v) FROM {table}");
    assert_eq!(one::<u32>(&mut topology.root(0), &sum), 8);
    let mut reader = mux.connect(topology.opts()).unwrap();
    let only = TxOpts::default().set_access_mode(Some(AccessMode::ReadOnly));
    let mut within = reader.start_transaction(only).unwrap();
    within.query_drop(count(3)).unwrap();
    // What is for the primary is not done elsewhere.
    for sql in [
        "DO GET_LOCK('only_reads', 0)",
        "CREATE TABLE mux_test.n (a INT)",
    ] {
        let e = error_of(within.query_drop(sql));
        let refused = matches!(e, Error::DriverError(DriverError::OnReplica { .. }));
        assert!(refused, "{e}");
    }
    let select = format!("SELECT v FROM {table} FOR UPDATE");
    let e = error_of(within.query_drop(select));
    assert!(e.to_string().contains("transaction"), "{e}");
    within.query_drop(count(4)).unwrap();
    within.commit().unwrap();
    reader
        .query_drop("DO GET_LOCK('only_reads', 0) /* reads_5 */")
        .unwrap();
    reader.query_drop("DO RELEASE_ALL_LOCKS()").unwrap();
    assert_ne!(seen.ran("reads_3"), [0]);
    assert_eq!(seen.ran("reads_3"), seen.ran("reads_4"));
    assert_eq!(seen.ran("reads_5"), [0]);
    // Where the handle reads from the primary, so does its transaction.
    reader.prefer(Prefer::Primary);
    let mut within = reader.start_transaction(only).unwrap();
    within.query_drop(count(6)).unwrap();
    within.query_drop("DO GET_LOCK('only_reads', 0)").unwrap();
    within.rollback().unwrap();
    assert_eq!(seen.ran("reads_6"), [0]);
}

#[test]
fn replicas_are_taken_in_order_where_that_is_asked_for() {
    let _alone = alone();
    let topology = Topology::new();
    let seen = topology.watch();
    let mux = builder().build();
    for (balance, word) in [
        (Balance::InOrder, "order_1"),
        (Balance::ShortestQueue, "order_2"),
    ] {
        let mut handle = mux.connect(topology.opts().balance(balance)).unwrap();
        for _ in 0..20 {
            handle.query_drop(format!("SELECT '{word}'")).unwrap();
        }
        assert_eq!(seen.ran(word), [1], "{balance:?}");
    }
}
