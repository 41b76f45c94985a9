//! MySQL's group replication: a member that leaves, and a primary that moves because it was told to. That it
//! moves because it is gone is seen in `backends_takeover.rs`.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
};

use mysql_mux::Consistency;
use support::{
    topology::{Topology, alone},
    *,
};

/// One that has left its group, until this ends.
struct Left(Handle);

impl Left {
    fn new(node: &Server) -> Left {
        let mut root = node.root();
        root.query_drop("STOP GROUP_REPLICATION").unwrap();
        Left(root)
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        self.0.query_drop("START GROUP_REPLICATION").unwrap();
        wait_for_state(&mut self.0, "ONLINE");
    }
}

fn wait_for_state(root: &mut Handle, state: &str) {
    const STATE: &str = "SELECT MEMBER_STATE FROM performance_schema.replication_group_members \
                         WHERE MEMBER_ID = @@server_uuid";
    eventually(state, || one::<String>(root, STATE) == state);
}

/// Has this member be the primary.
fn move_to(topology: &Topology, node: usize) {
    let mut root = topology.root(node);
    let uuid: String = one(&mut root, "SELECT @@server_uuid");
    let told: String = one(
        &mut root,
        &format!("SELECT group_replication_set_as_primary('{uuid}')"),
    );
    assert!(told.contains("switched"), "{told}");
}

#[test]
fn a_member_that_has_left_is_not_read_from() {
    let _alone = alone();
    let topology = Topology::new();
    if !topology.is_group() {
        return;
    }
    let table = topology.table("left", "id INT PRIMARY KEY");
    let mux = builder().build();
    let opts = topology.opts().consistency(Consistency::None);
    let mut handle = mux.connect(opts).unwrap();
    let last = topology.nodes.len() - 1;
    let seen = topology.watch();
    let mut reads = |times, word: &str| {
        for _ in 0..times {
            let select = format!("SELECT COUNT(*) /* {word} */ FROM {table}");
            let _: u32 = one(&mut handle, &select);
        }
        seen.ran(word).contains(&last)
    };
    eventually("it is read from", || reads(10, "before"));

    let left = Left::new(&topology.nodes[last]);
    let backend = || mux.stats().backends.swap_remove(last);
    eventually("it is seen to have left", || !backend().is_up);
    let why = backend().why.expect("a reason");
    assert!(why.contains("OFFLINE"), "{why}");
    assert!(!reads(100, "meanwhile"));

    drop(left);
    eventually("it is read from again", || reads(10, "after"));
}

#[test]
fn a_primary_that_moves_is_followed_and_no_write_fails() {
    let _alone = alone();
    let topology = Topology::new();
    if !topology.is_group() {
        return;
    }
    let table = topology.table("moved", "id INT PRIMARY KEY");
    let mux = builder().build();
    let stop = Arc::new(AtomicBool::new(false));
    let next = Arc::new(AtomicU32::new(1));
    let write = |mut handle: Handle| {
        let (stop, next, table) = (stop.clone(), next.clone(), table.clone());
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let id = next.fetch_add(1, Ordering::Relaxed);
                handle
                    .query_drop(format!("INSERT INTO {table} VALUES ({id})"))
                    .unwrap();
                // The ids of transactions go back where another one gives them.
                let select = format!("SELECT COUNT(*) FROM {table} WHERE id = {id}");
                assert_eq!(one::<u32>(&mut handle, &select), 1, "{id}");
            }
        })
    };
    let writers = handles(&mux, &topology.opts(), 8);
    let writers: Vec<_> = writers.into_iter().map(write).collect();
    for to in [1, 2, 0] {
        let before = next.load(Ordering::Relaxed);
        eventually("they write", || next.load(Ordering::Relaxed) > before + 200);
        move_to(&topology, to);
        eventually("it is known as the primary", || {
            let backends = mux.stats().backends;
            (0..3).all(|at| backends[at].takes_writes == (at == to))
        });
    }
    stop.store(true, Ordering::Relaxed);
    join("writers", writers);
    let written = next.load(Ordering::Relaxed) - 1;
    topology.settle();
    for node in 0..3 {
        let count = format!("SELECT COUNT(*) FROM {table}");
        assert_eq!(one::<u32>(&mut topology.root(node), &count), written);
    }
}
