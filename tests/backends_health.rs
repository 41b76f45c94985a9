//! Servers that go, hang and come back: who reads doesn't notice, who writes is told the truth.

mod support;

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use mysql_mux::Backend;
use support::{
    topology::{Topology, alone},
    *,
};

/// Reads on many handles until it is told to stop. Every one has to succeed.
struct Readers {
    stop: Arc<AtomicBool>,
    read: Vec<Arc<AtomicUsize>>,
    threads: Vec<thread::JoinHandle<()>>,
}

const FOR_EVER: Duration = Duration::from_secs(3600);

impl Readers {
    fn new(mux: &Mux, opts: &OptsBuilder, table: &str) -> Readers {
        let stop = Arc::new(AtomicBool::new(false));
        let mut read = Vec::new();
        let mut start = |mut handle: Handle| {
            let (stop, sql) = (stop.clone(), format!("SELECT COUNT(*) FROM {table}"));
            let count = Arc::new(AtomicUsize::new(0));
            read.push(count.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(one::<u32>(&mut handle, &sql), 1);
                    count.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(1));
                }
            })
        };
        let threads = handles(mux, opts, 8).into_iter().map(&mut start).collect();
        Readers {
            stop,
            read,
            threads,
        }
    }

    /// How often each has read.
    fn counts(&self) -> Vec<usize> {
        let counts = self.read.iter();
        counts.map(|count| count.load(Ordering::Relaxed)).collect()
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        join("readers", self.threads);
    }
}

/// A table with one row, on all of them.
fn one_row(topology: &Topology) -> String {
    let table = topology.table("health", "v INT");
    let insert = format!("INSERT INTO {table} VALUES (1)");
    topology.root(0).query_drop(insert).unwrap();
    topology.settle();
    table
}

/// Waits until a server was sent so many statements more. Some of them are probes.
fn reads(mux: &Mux, topology: &Topology, node: usize, more: u64) {
    let Server { host, port, .. } = &topology.nodes[node];
    let name = format!("{host}:{port}");
    let sent = || {
        let stats = mux.stats();
        let group = stats.groups.iter().find(|(server, _)| *server == name);
        group.map_or(0, |(_, counts)| counts.statements)
    };
    let before = sent();
    eventually("it is read from", || sent() > before + more);
}

#[test]
fn a_replica_that_crashes_is_not_noticed_by_who_reads() {
    let _alone = alone();
    let topology = Topology::new();
    let table = one_row(&topology);
    // Who waited for it would wait for ever.
    let mux = builder().acquire_timeout(FOR_EVER).build();
    let opts = topology.opts_for_reads();
    let readers = Readers::new(&mux, &opts, &table);
    let last = topology.nodes.len() - 1;
    reads(&mux, &topology, last, 100);
    topology.nodes[last].crash();
    let counts = readers.counts();
    eventually("all of them read on", || {
        let now = readers.counts();
        now.iter().zip(&counts).all(|(now, then)| *now > then + 20)
    });
    let backend = || mux.stats().backends[last].clone();
    eventually("that is known", || {
        !backend().is_up && backend().why.is_some()
    });
    topology.restart(last);
    eventually("so is that it is back", || backend().is_up);
    reads(&mux, &topology, last, 200);
    readers.end();
}

/// Has the last one hang under readers until what waits there is given up, and takes it again. `meanwhile`:
/// with the options and the table of those who read.
fn hang(mux: &Mux, topology: &Topology, meanwhile: impl FnOnce(OptsBuilder, &str)) {
    let table = one_row(topology);
    let opts = topology.opts_for_reads();
    let readers = Readers::new(mux, &opts, &table);
    let last = topology.nodes.len() - 1;
    reads(mux, topology, last, 100);
    let stopped = topology.nodes[last].stop();
    let lost = || mux.stats().total.lost_connections;
    eventually("what waits there is given up", || lost() > 0);
    meanwhile(opts, &table);
    drop(stopped);
    reads(mux, topology, last, 200);
    readers.end();
}

#[test]
fn one_that_hangs_is_given_up_and_taken_again() {
    let _alone = alone();
    let topology = Topology::new();
    if topology.is_galera() {
        // The others would wait for it.
        return;
    }
    let mux = builder().build();
    // Those who wait for it are sent elsewhere, all of them.
    hang(&mux, &topology, |opts, table| {
        let mut handle = mux.connect(opts).unwrap();
        for _ in 0..20 {
            handle.query_drop(format!("SELECT v FROM {table}")).unwrap();
        }
    });
}

#[test]
fn one_that_hangs_with_all_links_in_use_is_given_up_too() {
    let _alone = alone();
    let topology = Topology::new();
    if topology.is_galera() {
        return;
    }
    let mux = builder().max_links(1).build();
    // Those who waited for it, too, go elsewhere.
    hang(&mux, &topology, |_, _| {
        reads(&mux, &topology, topology.nodes.len() - 2, 200);
    });
}

#[test]
fn where_none_can_be_used_the_error_lists_them_all() {
    let free = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let (one, two) = (free(), free());
    let opts = OptsBuilder::new()
        .ip_or_hostname(Some("127.0.0.1"))
        .tcp_port(one)
        .user(Some("nobody"))
        .backend(Backend::new("127.0.0.1", two));
    let mux = builder()
        .acquire_timeout(Duration::from_millis(300))
        .build();
    let e = error_of(mux.connect(opts));
    let Error::NoBackend(e) = e else {
        panic!("{e}");
    };
    assert_eq!(e.backends.len(), 2);
    for port in [one, two] {
        assert!(e.to_string().contains(&format!("127.0.0.1:{port}")), "{e}");
    }
}

#[test]
fn wrong_credentials_are_told_at_once() {
    let _alone = alone();
    let topology = Topology::new();
    let opts = topology.opts().pass(Some("wrong"));
    let e = error_of(builder().build().connect(opts));
    assert!(matches!(e, Error::ConnectError(_)), "{e}");
}

/// A server that could be of a replication group, until this ends.
struct Member(Handle);

impl Member {
    fn new(node: &Server) -> Member {
        let mut root = node.root();
        for sql in [
            "SET SESSION sql_log_bin = 0",
            "INSTALL PLUGIN group_replication SONAME 'group_replication.so'",
        ] {
            root.query_drop(sql).unwrap();
        }
        Member(root)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let ended = self.0.query_drop("UNINSTALL PLUGIN group_replication");
        ended.unwrap();
    }
}

#[test]
fn a_member_of_a_replication_group_that_is_not_online_is_not_used() {
    let _alone = alone();
    let topology = Topology::new();
    if !topology.is_mysql() || topology.is_group() {
        return;
    }
    let [sees, blind] = ["sees", "blind"].map(User::new);
    let mut root = topology.root(0);
    for sql in [
        format!("REVOKE ALL ON *.* FROM '{}'@'%'", blind.name),
        format!("GRANT ALL ON mux_test.* TO '{}'@'%'", blind.name),
    ] {
        root.query_drop(sql).unwrap();
    }
    topology.settle();
    let mux = builder()
        .acquire_timeout(Duration::from_millis(300))
        .build();
    let open = |user: &User| {
        let opts = topology
            .opts()
            .user(Some(&user.name))
            .pass(Some(&user.password));
        mux.connect(opts.get_server_public_key(true)).unwrap()
    };
    let [mut sees, mut blind] = [&sees, &blind].map(open);
    let mut member = Member::new(&topology.nodes[0]);
    // It is of no group.
    sees.query_drop("DO 1").unwrap();
    const GROUP: &str =
        "SET GLOBAL group_replication_group_name = '6f1c58a8-1dd2-11b2-a1c5-5254009c3a1b'";
    member.0.query_drop(GROUP).unwrap();
    let why = || {
        let backends = mux.stats().backends;
        backends.into_iter().find_map(|backend| backend.why)
    };
    eventually("it is seen to have left its group", || {
        why().is_some_and(|why| why.contains("OFFLINE"))
    });
    let e = error_of(sees.query_drop("DO 1"));
    assert!(matches!(e, Error::NoBackend(_)), "{e}");
    assert!(e.to_string().contains("OFFLINE"), "{e}");
    sees.query_drop("SELECT 1").unwrap();
    // Who may not see that goes by what is read-only.
    blind.query_drop("DO 1").unwrap();
    drop(member);
    eventually("it is used again", || sees.query_drop("DO 1").is_ok());
}

#[test]
fn while_nobody_takes_writes_they_wait_and_reads_go_on() {
    let _alone = alone();
    let topology = Topology::new();
    if topology.is_galera() {
        return;
    }
    let table = one_row(&topology);
    let mux = builder().build();
    let mut handle = mux.connect(topology.opts()).unwrap();
    let mut root = topology.root(0);
    let (off, on) = match topology.is_mysql() {
        true => ("super_read_only = ON", "read_only = OFF"),
        false => ("read_only = ON", "read_only = OFF"),
    };
    let insert = format!("INSERT INTO {table} VALUES (2)");
    root.query_drop(format!("SET GLOBAL {off}")).unwrap();
    // It is known soon, and nothing is sent there from then on.
    thread::sleep(Duration::from_secs(1));
    let writer = thread::spawn(move || {
        handle.query_drop(insert).unwrap();
    });
    let mut reader = mux.connect(topology.opts()).unwrap();
    let count = format!("SELECT COUNT(*) FROM {table}");
    for _ in 0..20 {
        assert_eq!(one::<u32>(&mut reader, &count), 1);
    }
    assert!(!writer.is_finished());
    root.query_drop(format!("SET GLOBAL {on}")).unwrap();
    if topology.is_mysql() {
        root.query_drop("SET GLOBAL super_read_only = OFF").unwrap();
    }
    join_one(writer);
    assert_eq!(one::<u32>(&mut root, &count), 2);
}
