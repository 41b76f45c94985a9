//! The primary goes, and another takes its place. Behind this the servers are not as they were: it comes
//! last, and those that replicate have to be started anew.

mod support;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
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

/// When whoever knows where to write could write again: a connection to each server that is left.
fn first_write(topology: &Topology, table: &str) -> thread::JoinHandle<Instant> {
    let mut others: Vec<_> = (1..topology.nodes.len())
        .map(|node| topology.root(node))
        .collect();
    // Root may write to what is read-only, too.
    let insert = format!("INSERT INTO {table} SELECT 0 FROM DUAL WHERE @@read_only = 0");
    thread::spawn(move || {
        loop {
            for root in &mut others {
                if root.query_drop(&*insert).is_ok() && root.affected_rows() == 1 {
                    return Instant::now();
                }
            }
            thread::sleep(Duration::from_millis(1));
        }
    })
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
    let crashed: Arc<OnceLock<Instant>> = Arc::default();
    let write = |mut handle: Handle| {
        let (stop, next, told) = (stop.clone(), next.clone(), told.clone());
        let (table, since, crashed) = (table.clone(), since.clone(), crashed.clone());
        thread::spawn(move || {
            let mut back = None;
            while !stop.load(Ordering::Relaxed) {
                let id = next.fetch_add(1, Ordering::Relaxed);
                let is_behind = crashed.get().is_some();
                let done = handle.query_drop(format!("INSERT INTO {table} VALUES ({id})"));
                let mut told = told.lock().unwrap();
                match done {
                    Ok(()) => {
                        told.done.push(id);
                        since.fetch_add(1, Ordering::Relaxed);
                        back = back.or_else(|| is_behind.then(Instant::now));
                    }
                    Err(Error::ConnectionLost(e)) if e.ran == Ran::No => told.not_done.push(id),
                    Err(Error::ConnectionLost(_) | Error::SessionLost { .. }) => {
                        told.unknown.push(id);
                    }
                    // Galera: a node that is left alone for a moment, and conflicts. A group: it elects.
                    Err(e) if matches!(e.code(), Some(1047 | 1213 | 1180 | 3100 | 3101)) => {
                        told.unknown.push(id);
                    }
                    Err(e) => panic!("{id}: {e}"),
                }
                drop(told);
                thread::sleep(Duration::from_millis(2));
            }
            back
        })
    };
    let writers: Vec<_> = handles(&mux, &opts, 64).into_iter().map(write).collect();
    eventually("they write", || since.load(Ordering::Relaxed) > 500);
    topology.nodes[0].crash();
    crashed.set(Instant::now()).unwrap();
    let writable = first_write(&topology, &table);
    promote(&topology);
    since.store(0, Ordering::Relaxed);
    eventually("they write again", || since.load(Ordering::Relaxed) > 500);
    stop.store(true, Ordering::Relaxed);
    let back: Vec<_> = join("writers", writers).into_iter().flatten().collect();
    let writable = join_one(writable);
    let behind = |at: Option<&Instant>| at.map(|at| at.saturating_duration_since(writable));
    println!(
        "{}: behind the first write that another server takes, {:?} until a handle writes again, {:?} until \
         each of {} does",
        topology.kind,
        behind(back.iter().min()),
        behind(back.iter().max()),
        back.len()
    );

    // What a primary had acknowledged and not yet passed on is there when it is back.
    topology.restart(0);
    let mut there: HashMap<u32, usize> = HashMap::new();
    for node in 0..2 {
        let ids: Vec<(u32, usize)> = topology
            .root(node)
            .query(format!("SELECT id, COUNT(*) FROM {table} GROUP BY id"))
            .unwrap();
        for (id, count) in ids.into_iter().filter(|(id, _)| *id > 0) {
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
