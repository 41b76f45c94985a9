//! The primary goes, and another takes its place. Behind this the servers are not as they were: it comes
//! last, and those that replicate have to be started anew.

mod support;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use mysql_mux::{Consistency, Ran};
use support::{topology::Topology, *};

/// What became of each write, as its writer was told.
#[derive(Default)]
struct Told {
    done: Vec<u32>,
    not_done: Vec<u32>,
    unknown: Vec<u32>,
}

fn promote(topology: &Topology) {
    let mut root = topology.root(1);
    let all: &[&str] = match &*topology.kind {
        "mysql-replication" => &[
            "STOP REPLICA",
            "SET GLOBAL super_read_only = OFF",
            "SET GLOBAL read_only = OFF",
        ],
        "mariadb-replication" => &["STOP SLAVE", "SET GLOBAL read_only = OFF"],
        _ => &[],
    };
    for sql in all {
        root.query_drop(*sql).unwrap();
    }
}

#[test]
fn no_write_that_was_told_done_is_lost_and_none_is_done_twice() {
    let topology = Topology::new();
    // No key: what is done twice is there twice.
    let table = topology.table("promoted", "id INT");
    let mux = builder().build();
    let opts = topology.opts().consistency(Consistency::None);
    let (stop, next) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU32::new(1)),
    );
    let told = Arc::new(Mutex::new(Told::default()));
    let since = Arc::new(AtomicU32::new(0));
    let write = |mut handle: Handle| {
        let (stop, next, told) = (stop.clone(), next.clone(), told.clone());
        let (table, since) = (table.clone(), since.clone());
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let id = next.fetch_add(1, Ordering::Relaxed);
                let done = handle.query_drop(format!("INSERT INTO {table} VALUES ({id})"));
                let mut told = told.lock().unwrap();
                match done {
                    Ok(()) => {
                        told.done.push(id);
                        since.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(Error::ConnectionLost(e)) if e.ran == Ran::No => told.not_done.push(id),
                    Err(Error::ConnectionLost(_) | Error::SessionLost { .. }) => {
                        told.unknown.push(id);
                    }
                    // Galera: a node that is left alone for a moment, and conflicts.
                    Err(e) if matches!(e.code(), Some(1047 | 1213 | 1180)) => told.unknown.push(id),
                    Err(e) => panic!("{id}: {e}"),
                }
                drop(told);
                thread::sleep(Duration::from_millis(2));
            }
        })
    };
    let writers: Vec<_> = handles(&mux, &opts, 64).into_iter().map(write).collect();
    eventually("they write", || since.load(Ordering::Relaxed) > 500);
    topology.nodes[0].crash();
    promote(&topology);
    since.store(0, Ordering::Relaxed);
    eventually("they write again", || since.load(Ordering::Relaxed) > 500);
    stop.store(true, Ordering::Relaxed);
    join("writers", writers);

    // What a primary had acknowledged and not yet passed on is there when it is back.
    topology.nodes[0].restart();
    let mut there: HashMap<u32, usize> = HashMap::new();
    for node in 0..2 {
        let ids: Vec<(u32, usize)> = topology
            .root(node)
            .query(format!("SELECT id, COUNT(*) FROM {table} GROUP BY id"))
            .unwrap();
        for (id, count) in ids {
            let known = there.entry(id).or_default();
            *known = count.max(*known);
        }
    }
    let told = told.lock().unwrap();
    for id in &told.done {
        assert_eq!(there.get(id), Some(&1), "{id} was told done");
    }
    for id in &told.not_done {
        assert_eq!(there.get(id), None, "{id} was told not done");
    }
    for id in &told.unknown {
        assert!(there.get(id).is_none_or(|count| *count == 1), "{id}");
    }
    assert!(told.unknown.len() <= 64 * 3, "{}", told.unknown.len());
}
