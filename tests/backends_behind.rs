//! Servers that are behind: how far is known, who may read there, and that nobody misses what it wrote
//! itself where no GTID is told of it.

mod support;

use std::{sync::Arc, thread, time::Duration};

use mysql_mux::Prefer;
use support::{
    topology::{Topology, alone},
    *,
};

const SECOND: Duration = Duration::from_secs(1);

/// A node of a cluster that applies nothing, until this ends.
struct Still(Handle);

impl Still {
    fn new(topology: &Topology, node: usize) -> Still {
        let mut root = topology.root(node);
        root.query_drop("FLUSH TABLES WITH READ LOCK").unwrap();
        Still(root)
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        self.0.query_drop("UNLOCK TABLES").unwrap();
    }
}

fn lags(mux: &Mux) -> Vec<Option<Duration>> {
    let backends = mux.stats().backends;
    backends.into_iter().map(|backend| backend.lag).collect()
}

#[test]
fn one_that_is_too_far_behind_is_not_read_from() {
    let _alone = alone();
    let topology = Topology::new();
    if topology.is_galera() {
        // The others wait for one that is.
        return;
    }
    let table = topology.table("behind", "v INT");
    let seen = topology.watch();
    let mux = builder().build();
    let mut any = mux.connect(topology.opts()).unwrap();
    let mut strict = mux.connect(topology.opts().max_lag(Some(SECOND))).unwrap();
    let select = |word: &str| format!("SELECT '{word}', COUNT(*) FROM {table}");
    eventually("all are known to have all", || {
        lags(&mux).iter().all(|lag| *lag == Some(Duration::ZERO))
    });
    strict.query_drop(select("lag_1")).unwrap();
    let paused = topology.pause();
    let insert = format!("INSERT INTO {table} VALUES (1)");
    topology.root(0).query_drop(insert).unwrap();
    eventually("they are known to be behind", || {
        lags(&mux)[1..].iter().all(|lag| *lag > Some(SECOND))
    });
    assert_eq!(lags(&mux)[0], Some(Duration::ZERO));
    strict.query_drop(select("lag_2")).unwrap();
    any.query_drop(select("lag_3")).unwrap();
    drop(paused);
    eventually("they have caught up", || {
        lags(&mux).iter().all(|lag| *lag == Some(Duration::ZERO))
    });
    strict.query_drop(select("lag_4")).unwrap();
    assert_ne!(seen.ran("lag_1"), [0]);
    assert_eq!(seen.ran("lag_2"), [0]);
    assert_ne!(seen.ran("lag_3"), [0]);
    assert_ne!(seen.ran("lag_4"), [0]);
}

#[test]
fn who_wrote_to_one_node_of_a_cluster_reads_it_on_all() {
    let _alone = alone();
    let topology = Topology::new();
    let table = topology.table("nodes", "id INT PRIMARY KEY");
    let seen = Arc::new(topology.watch());
    let mux = builder().build();
    let all = handles(&mux, &topology.opts().prefer(Prefer::Any), 4);
    let run = |(n, mut handle): (usize, Handle)| {
        let (table, seen) = (table.clone(), seen.clone());
        thread::spawn(move || {
            for at in 0..200 {
                let id = n * 1000 + at;
                handle
                    .query_drop(format!("INSERT INTO {table} VALUES ({id})"))
                    .unwrap();
                let select = format!("SELECT id FROM {table} WHERE id = {id}");
                assert_eq!(one::<usize>(&mut handle, &select), id);
                let select = format!("SELECT COUNT(*) FROM {table} WHERE id DIV 1000 = {n}");
                assert_eq!(one::<usize>(&mut handle, &select), at + 1);
            }
            // It is not for ever that only the primary is asked.
            eventually("others are asked, too", || {
                let select =
                    format!("SELECT COUNT(*) FROM {table} WHERE id DIV 1000 = {n} /* node_{n} */");
                assert_eq!(one::<usize>(&mut handle, &select), 200);
                seen.ran(&format!("node_{n}")).iter().any(|node| *node > 0)
            });
        })
    };
    join("writers", all.into_iter().enumerate().map(run).collect());
}

#[test]
fn a_node_that_is_behind_is_read_by_nobody_who_wrote() {
    let _alone = alone();
    let topology = Topology::new();
    if !topology.is_galera() {
        return;
    }
    let table = topology.table("still", "id INT PRIMARY KEY");
    let mux = builder().build();
    let mut writer = mux.connect(topology.opts()).unwrap();
    let mut other = mux.connect(topology.opts()).unwrap();
    let count = |handle: &mut Handle| one::<u32>(handle, &format!("SELECT COUNT(*) FROM {table}"));
    assert_eq!(count(&mut other), 0);
    let still = [1, 2].map(|node| Still::new(&topology, node));
    writer
        .query_drop(format!("INSERT INTO {table} VALUES (1)"))
        .unwrap();
    let read: Vec<_> = (0..20)
        .map(|_| (count(&mut writer), count(&mut other)))
        .collect();
    drop(still);
    assert!(
        read.iter().all(|(own, theirs)| (*own, *theirs) == (1, 0)),
        "{read:?}"
    );
    eventually("they have it", || count(&mut other) == 1);
}

#[test]
fn the_next_primary_of_a_cluster_is_waited_for_until_it_has_what_was_written() {
    let _alone = alone();
    let topology = Topology::new();
    if !topology.is_galera() {
        return;
    }
    let table = topology.table("next", "id INT PRIMARY KEY");
    let mux = builder().build();
    let opts = topology.opts().prefer(Prefer::Primary);
    let backends = mux.backends(opts.clone()).unwrap();
    let mut handle = mux.connect(opts).unwrap();
    let still = Still::new(&topology, 1);
    handle
        .query_drop(format!("INSERT INTO {table} VALUES (1)"))
        .unwrap();
    let first = &topology.nodes[0];
    backends.drain(&first.host, first.port).unwrap();
    let select = format!("SELECT COUNT(*) FROM {table}");
    let reader = thread::spawn(move || one::<u32>(&mut handle, &select));
    thread::sleep(Duration::from_millis(300));
    assert!(!reader.is_finished());
    drop(still);
    assert_eq!(join_one(reader), 1);
    backends.resume(&first.host, first.port).unwrap();
}
