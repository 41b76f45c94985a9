//! Replicas that are sick: behind a network that cuts, delays and garbles, late on purpose, killed again and
//! again. Who reads gets what is right, or is told that it was lost.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use mysql_mux::{Backend, Consistency, Prefer, Ran, Row};
use support::{
    relay::Way,
    topology::{Topology, alone},
    *,
};

/// The first server, and another one behind a relay, which is read from.
struct Behind {
    relay: Relay,
    opts: OptsBuilder,
    table: String,
    rows: Vec<(u32, String)>,
}

impl Behind {
    fn new(topology: &Topology) -> Behind {
        let replica = &topology.nodes[1];
        let relay = Relay::to((&*replica.host, replica.port));
        let prefer = match topology.is_galera() {
            true => Prefer::Any,
            false => Prefer::Replica,
        };
        let opts = topology.nodes[0]
            .tcp()
            .prefer_socket(false)
            .prefer(prefer)
            .backend(Backend::new("127.0.0.1", relay.addr().port()));
        let table = topology.table("behind", "id INT PRIMARY KEY, v VARCHAR(100)");
        let rows: Vec<_> = (0..400).map(|id| (id, format!("{id:0>100}"))).collect();
        let values: Vec<_> = rows
            .iter()
            .map(|(id, v)| format!("({id}, '{v}')"))
            .collect();
        topology
            .root(0)
            .query_drop(format!("INSERT INTO {table} VALUES {}", values.join(",")))
            .unwrap();
        topology.settle();
        Behind {
            relay,
            opts,
            table,
            rows,
        }
    }

    /// Has many read at once. Each read is right, or fails in a way that `may` allow.
    fn read(&self, mux: &Mux, may: fn(&Error) -> bool) {
        let read = |mut handle: Handle| {
            let sql = format!("SELECT id, v FROM {} ORDER BY id", self.table);
            let rows = self.rows.clone();
            thread::spawn(move || {
                for _ in 0..4 {
                    let text = handle.query::<(u32, String), _>(&sql);
                    let prepared = handle.exec(&sql, ());
                    let streamed = handle.query_stream(&sql).and_then(Iterator::collect);
                    for found in [text, prepared, streamed] {
                        match found {
                            Ok(found) => assert!(found == rows, "other rows"),
                            Err(e) => assert!(may(&e), "{e}"),
                        }
                    }
                }
            })
        };
        let handles = handles(mux, &self.opts, 6);
        join("readers", handles.into_iter().map(read).collect());
    }

    /// The network is well again: so are all, and the one behind it is read from.
    fn heal(&self, mux: &Mux) {
        self.relay.heal();
        eventually("it is used again", || {
            mux.stats().backends.iter().all(|backend| backend.is_up)
        });
        let before = self.relay.passed(Way::Down);
        let whole: usize = self.rows.iter().map(|(_, v)| v.len()).sum();
        eventually("it is read from again", || {
            self.read(mux, |_| false);
            self.relay.passed(Way::Down) > before + whole as u64
        });
    }
}

fn is_lost(e: &Error) -> bool {
    matches!(e, Error::ConnectionLost(_))
}

#[test]
fn a_replica_that_is_cut_off_in_the_middle_of_results_gives_no_wrong_ones() {
    let _alone = alone();
    let topology = Topology::new();
    let behind = Behind::new(&topology);
    let mux = builder().max_links(3).build();
    behind.read(&mux, |_| false);
    // In what it is greeted with, in the first row, between rows, near the end.
    for bytes in [0, 50, 3000, 20_000, 44_000] {
        behind.relay.cut_after(Way::Down, bytes);
        behind.read(&mux, is_lost);
        behind.heal(&mux);
    }
    // What is cut off as it is asked has not been asked.
    behind.relay.cut_after(Way::Up, 30);
    behind.read(&mux, is_lost);
    behind.heal(&mux);
}

#[test]
fn links_that_go_are_no_matter_where_there_are_others() {
    let _alone = alone();
    let topology = Topology::new();
    let behind = Behind::new(&topology);
    let mux = builder().build();
    let mut handle = mux.connect(behind.opts.clone()).unwrap();
    let sql = format!("SELECT id, v FROM {} ORDER BY id", behind.table);
    type Harm = fn(&Relay);
    let harms: [Harm; 3] = [|_| (), |relay| relay.refuse(), |relay| relay.deaf()];
    for harm in harms {
        for _ in 0..5 {
            let found: Vec<(u32, String)> = handle.query(&sql).unwrap();
            assert!(found == behind.rows);
            harm(&behind.relay);
            behind.relay.close_all();
        }
        behind.heal(&mux);
    }
}

#[test]
fn what_is_lost_while_it_is_prepared_is_prepared_elsewhere() {
    let _alone = alone();
    let topology = Topology::new();
    let behind = Behind::new(&topology);
    let mux = builder().min_idle_links(4).build();
    for round in 0..12 {
        let mut handle = mux.connect(behind.opts.clone()).unwrap();
        eventually("there are links", || {
            mux.stats()
                .groups
                .iter()
                .all(|(_, group)| group.idle_connections >= 4)
        });
        // Each link there ends in the middle of an answer.
        behind.relay.cut_after(Way::Down, 5 + round);
        let sql = format!("SELECT id, v FROM {} WHERE id >= {round}", behind.table);
        let found: Vec<(u32, String)> = handle.exec(&sql, ()).unwrap();
        assert!(found == behind.rows[round as usize..]);
        behind.heal(&mux);
    }
}

#[test]
fn a_replica_that_is_far_away_answers_each_reader_what_that_one_asked() {
    let _alone = alone();
    let topology = Topology::new();
    let behind = Behind::new(&topology);
    let mux = builder().max_links(2).build();
    behind.relay.delay(Way::Down, Duration::from_millis(20));
    behind.read(&mux, |_| false);
    // Nor do answers that nobody waited for become those of others.
    let mut handle = mux.connect(behind.opts.clone()).unwrap();
    for n in 0..10_u32 {
        let sql = format!("/* mux:replica */ SELECT {n}");
        match handle.within(Duration::from_millis(1)).query_first(&sql) {
            Ok(found) => assert_eq!(found, Some(n)),
            Err(e) => assert!(matches!(e, Error::StatementTimeout(_)), "{e}"),
        }
        assert_eq!(
            one::<u32>(&mut handle, &format!("SELECT {n} + 100")),
            n + 100
        );
    }
    behind.heal(&mux);
}

#[test]
fn what_is_garbled_is_noticed_where_it_is_encrypted_and_ends_nothing_where_not() {
    let _alone = alone();
    let topology = Topology::new();
    let mut behind = Behind::new(&topology);
    let plain = builder().max_links(2).build();
    let encrypted = builder().max_links(2).build();
    for bytes in [0, 4, 40, 700, 2000, 9000, 30_000] {
        // Whatever is read: nobody can tell. It ends, and so does what it did.
        behind.relay.corrupt(Way::Down, bytes);
        let readers = handles(&plain, &behind.opts, 3)
            .into_iter()
            .map(|mut handle| {
                let sql = format!("SELECT id, v FROM {} ORDER BY id", behind.table);
                thread::spawn(move || drop(handle.query::<Row, _>(sql)))
            });
        join("readers", readers.collect());
        behind.relay.heal();
        behind.relay.close_all();
        behind.heal(&plain);
    }
    let ssl = SslOpts::default().with_danger_accept_invalid_certs(true);
    behind.opts = behind.opts.ssl_opts(ssl);
    behind.read(&encrypted, |_| false);
    for bytes in [0, 5, 700, 2000, 9000, 30_000] {
        behind.relay.corrupt(Way::Down, bytes);
        behind.read(&encrypted, is_lost);
        behind.heal(&encrypted);
    }
}

// Were it sent again like a read, it would be written twice.
#[test]
fn what_a_view_writes_is_not_sent_twice() {
    let _alone = alone();
    let topology = Topology::new();
    let table = topology.table("once", "v INT");
    let [function, view] = ["once", "shows"].map(|name| format!("mux_test.{}", unique(name)));
    let mut root = topology.root(0);
    for sql in [
        format!(
            "CREATE FUNCTION {function}() RETURNS INT DETERMINISTIC MODIFIES SQL DATA \
             BEGIN DO SLEEP(1); INSERT INTO {table} VALUES (1); RETURN 1; END"
        ),
        format!("CREATE VIEW {view} AS SELECT {function}() AS v"),
    ] {
        root.query_drop(sql).unwrap();
    }
    topology.settle();
    let primary = &topology.nodes[0];
    let relay = Relay::to((&*primary.host, primary.port));
    let opts = relay.tcp(primary.tcp()).prefer_socket(false);
    let replica = &topology.nodes[1];
    let opts = opts.backend(Backend::new(&replica.host, replica.port));
    let mux = builder().build();
    let mut handle = mux.connect(opts).unwrap();
    let sql = format!("SELECT v FROM {view}");
    let writes = thread::spawn(move || handle.query_drop(sql));
    eventually("it runs", || {
        let all: Vec<Row> = root.query("SHOW FULL PROCESSLIST").unwrap();
        let info = |row: &Row| row.get::<Option<String>, _>("Info").flatten();
        // MariaDB shows what the function does.
        let is_it = |info: String| info.contains(&view) || info.contains("SLEEP(1)");
        all.iter().filter_map(info).any(is_it)
    });
    relay.close_all();
    let e = error_of(join_one(writes));
    let Error::ConnectionLost(lost) = &e else {
        panic!("{e}");
    };
    assert_eq!(lost.ran, Ran::Maybe);
    let count = format!("SELECT COUNT(*) FROM {table}");
    eventually("it is written", || one::<u32>(&mut root, &count) > 0);
    assert_eq!(one::<u32>(&mut root, &count), 1);
    for made in [format!("VIEW {view}"), format!("FUNCTION {function}")] {
        root.query_drop(format!("DROP {made}")).unwrap();
    }
}

#[test]
fn who_wrote_reads_it_though_the_replicas_are_an_hour_late() {
    let _alone = alone();
    let topology = Topology::new();
    if topology.is_galera() {
        // None is late there.
        return;
    }
    let table = topology.table("late", "v INT");
    let seen = topology.watch();
    let mux = builder().build();
    let late = topology.late();
    let connect = |consistency| {
        let opts = topology.opts().consistency(consistency);
        mux.connect(opts).unwrap()
    };
    let count = |handle: &mut Handle, marker: &str| {
        one::<u32>(handle, &format!("SELECT COUNT(*) AS {marker} FROM {table}"))
    };
    let insert = format!("INSERT INTO {table} VALUES (1)");
    let mut session = connect(Consistency::Session);
    let mut none = connect(Consistency::None);
    let mut minutes = connect(Consistency::PrimaryFor(GENEROUS));
    let mut moments = connect(Consistency::PrimaryFor(Duration::from_millis(1)));
    let mut reader = connect(Consistency::Session);
    for (written, round) in (1..=5).map(|n| (4 * n, n)) {
        for handle in [&mut session, &mut none, &mut minutes, &mut moments] {
            handle.query_drop(&insert).unwrap();
        }
        assert_eq!(count(&mut session, &format!("late_own_{round}")), written);
        assert_eq!(count(&mut minutes, &format!("late_timed_{round}")), written);
        // That they are late can be seen.
        assert_eq!(count(&mut none, &format!("late_none_{round}")), 0);
        assert_eq!(count(&mut reader, &format!("late_reader_{round}")), 0);
        eventually("the time is over", || {
            count(&mut moments, &format!("late_moments_{round}")) == 0
        });
    }
    for round in 1..=5 {
        let ran = |who: &str| seen.ran(&format!("late_{who}_{round}"));
        assert_eq!((ran("own"), ran("timed")), (vec![0], vec![0]));
        for who in ["none", "reader"] {
            assert!(!ran(who).contains(&0), "{who}: {:?}", ran(who));
        }
    }
    // A session that begins anew is still that of who wrote.
    session.reset().unwrap();
    assert_eq!(count(&mut session, "late_anew"), 20);
    session.query_drop(&insert).unwrap();
    drop(late);
    // They are not late any more, and what was written before is there.
    eventually("it is read from replicas", || {
        assert_eq!(count(&mut session, "late_after"), 21);
        seen.ran("late_after").iter().any(|node| *node > 0)
    });
}

#[test]
fn a_replica_that_is_killed_and_comes_back_loses_nothing_of_sixteen() {
    let _alone = alone();
    let topology = Topology::new();
    let table = topology.table("sixteen", "who INT, n INT, KEY (who)");
    let mux = builder().build();
    let stop = Arc::new(AtomicBool::new(false));
    let rounds: Vec<_> = (0..16).map(|_| Arc::new(AtomicUsize::new(0))).collect();
    let opts = topology.opts_for_reads();
    let work = |(who, mut handle): (usize, Handle)| {
        let (stop, done) = (stop.clone(), rounds[who].clone());
        let insert = format!("INSERT INTO {table} VALUES ({who}, ?)");
        let read = format!("SELECT n FROM {table} WHERE who = {who} ORDER BY n");
        thread::spawn(move || {
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                handle.exec_drop(&insert, (n,)).unwrap();
                let wanted: Vec<u32> = (0..=n).collect();
                let found: Vec<u32> = match n % 2 {
                    0 => handle.query(&read).unwrap(),
                    _ => handle.exec(&read, ()).unwrap(),
                };
                assert_eq!(found, wanted, "{who}");
                // A result that is handed on as it comes can't be asked for again.
                match handle.query_stream(&read).and_then(Iterator::collect) {
                    Ok::<Vec<u32>, _>(found) => assert_eq!(found, wanted, "{who}"),
                    Err(e) => assert!(is_lost(&e), "{who}: {e}"),
                }
                done.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(5));
            }
        })
    };
    let handles = handles(&mux, &opts, 16).into_iter().enumerate();
    let threads: Vec<_> = handles.map(work).collect();
    let all_go_on = || {
        let now = || rounds.iter().map(|done| done.load(Ordering::Relaxed));
        let before: Vec<_> = now().collect();
        eventually("all of them go on", || {
            now().zip(&before).all(|(now, before)| now > before + 3)
        });
    };
    let last = topology.nodes.len() - 1;
    let is_up = || mux.stats().backends[last].is_up;
    for _ in 0..2 {
        all_go_on();
        topology.nodes[last].crash();
        all_go_on();
        topology.restart(last);
        eventually("it is used again", is_up);
    }
    all_go_on();
    stop.store(true, Ordering::Relaxed);
    join("workers", threads);
}
