//! Several servers behind one handle: what goes where, by the servers' own logs.

mod support;

use mysql_mux::{Consistency, PinReason, Prefer, Row};
use support::{
    topology::{Topology, alone},
    *,
};

/// Where reads go: any replica, or any other node of a cluster.
fn is_for_reads(ran: &[usize]) -> bool {
    ran.len() == 1 && ran[0] > 0
}

#[test]
fn reads_go_to_replicas_and_all_else_to_the_primary() {
    let _alone = alone();
    let topology = Topology::new();
    let table = topology.table("routed", "id INT AUTO_INCREMENT PRIMARY KEY, v INT");
    topology
        .root(0)
        .query_drop("CREATE OR REPLACE VIEW mux_test.nothing AS SELECT 1 AS v")
        .unwrap();
    topology.settle();
    let seen = topology.watch();
    let mux = builder().build();
    let mut handle = mux.connect(topology.opts()).unwrap();
    let reads = [
        "SELECT 'read_1', COUNT(*) FROM {t}",
        "SELECT 'read_2', v FROM {t} WHERE id = 1",
        "(SELECT 'read_3') UNION SELECT 1",
        "WITH x AS (SELECT 'read_4') SELECT * FROM x",
        "SELECT 'read_5', v FROM mux_test.nothing",
    ];
    for sql in reads {
        handle.query_drop(sql.replace("{t}", &table)).unwrap();
    }
    for n in 1..=5 {
        let ran = seen.ran(&format!("read_{n}"));
        assert!(is_for_reads(&ran), "read_{n}: {ran:?}");
    }
    // Rules 10 to 13 of rw-splitting.lua: it sent all of these that begin with SELECT to a slave.
    let others = [
        "INSERT INTO {t} (v) VALUES (1) /* other_1 */",
        "SELECT 'other_2', v FROM {t} WHERE id = 1 FOR UPDATE",
        "SELECT 'other_3', v FROM {t} WHERE id = 1 LOCK IN SHARE MODE",
        "SELECT 'other_4', GET_LOCK('routed', 0)",
        "SELECT 'other_5', RELEASE_ALL_LOCKS()",
        "SELECT 'other_6' INTO @x",
        "SELECT 'other_7', LAST_INSERT_ID()",
        "SELECT SQL_CALC_FOUND_ROWS 'other_8', v FROM {t} LIMIT 0",
        "DELETE FROM {t} WHERE v = 77 /* other_9 */",
        "SELECT 'other_10'; SELECT 1",
        "DO 1 /* other_11 */",
        "SET @y = 'other_12'",
    ];
    for sql in others {
        let done = handle.query_drop(sql.replace("{t}", &table));
        done.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
    for n in 1..=12 {
        let ran = seen.ran(&format!("other_{n}"));
        assert_eq!(ran, [0], "other_{n}");
    }
    handle.reset().unwrap();
    // In a transaction everything stays where it began.
    handle.query_drop("START TRANSACTION").unwrap();
    handle
        .query_drop(format!("SELECT 'within_1', v FROM {table}"))
        .unwrap();
    handle.query_drop("COMMIT").unwrap();
    // A transaction that would begin with a read begins on the primary (rule 18).
    handle.query_drop("SET autocommit = 0").unwrap();
    handle
        .query_drop(format!("SELECT 'within_2', v FROM {table}"))
        .unwrap();
    handle.query_drop("COMMIT").unwrap();
    handle.query_drop("SET autocommit = 1").unwrap();
    for marker in ["within_1", "within_2"] {
        assert_eq!(seen.ran(marker), [0], "{marker}");
    }
}

#[test]
fn the_other_ways_to_read_go_to_replicas_too() {
    let _alone = alone();
    let topology = Topology::new();
    let table = topology.table("ways", "v INT");
    let seen = topology.watch();
    let mux = builder().build();
    let mut handle = mux.connect(topology.opts()).unwrap();
    let sql = |way: &str| format!("SELECT '{way}' FROM {table} WHERE v = ?");
    handle.exec_drop(sql("way_prepared"), (1,)).unwrap();
    let streamed = handle
        .query_stream::<String, _>(format!("SELECT 'way_stream' FROM {table}"))
        .unwrap();
    assert_eq!(streamed.count(), 0);
    let piped = handle.pipeline(|p| {
        p.query(format!("SELECT 'way_pipeline' FROM {table}"));
        p.query(format!("SELECT COUNT(*) FROM {table}"));
        Ok(())
    });
    assert_eq!(piped.unwrap().len(), 2);
    task::block_on(async {
        let mut handle = mux.connect_async(topology.opts()).await.unwrap();
        handle
            .query_drop(format!("SELECT 'way_async' FROM {table}"))
            .await
            .unwrap();
    });
    for way in ["way_prepared", "way_stream", "way_pipeline", "way_async"] {
        let ran = seen.ran(way);
        assert!(is_for_reads(&ran), "{way}: {ran:?}");
    }
}

#[test]
fn a_handle_or_a_statement_may_say_where() {
    let _alone = alone();
    let topology = Topology::new();
    let table = topology.table("hints", "v INT");
    let seen = topology.watch();
    let mux = builder().build();
    let mut handle = mux.connect(topology.opts()).unwrap();
    handle
        .query_drop(format!("/* mux:primary */ SELECT 'hint_1' FROM {table}"))
        .unwrap();
    handle.prefer(Prefer::Primary);
    handle
        .query_drop(format!("SELECT 'hint_2' FROM {table}"))
        .unwrap();
    handle
        .query_drop(format!("/* mux:replica */ SELECT 'hint_3' FROM {table}"))
        .unwrap();
    assert_eq!(seen.ran("hint_1"), [0]);
    assert_eq!(seen.ran("hint_2"), [0]);
    assert!(is_for_reads(&seen.ran("hint_3")));
    // Where many are asked at once, all are.
    let opts = topology.opts().prefer(Prefer::Any);
    let sleep = |mut handle: Handle| {
        std::thread::spawn(move || handle.query_drop("SELECT 'hint_4', SLEEP(0.2)").unwrap())
    };
    join(
        "readers",
        handles(&mux, &opts, 24).into_iter().map(sleep).collect(),
    );
    assert_eq!(seen.ran("hint_4").len(), topology.nodes.len());
}

#[test]
fn the_session_is_the_same_everywhere() {
    let _alone = alone();
    let topology = Topology::new();
    let table = topology.table("session", "id INT AUTO_INCREMENT PRIMARY KEY, v INT");
    let mux = builder().build();
    let mut handle = mux.connect(topology.opts().prefer(Prefer::Any)).unwrap();
    handle.query_drop("SET time_zone = '+03:00'").unwrap();
    handle
        .query_drop(format!("INSERT INTO {table} (v) VALUES (1)"))
        .unwrap();
    for _ in 0..20 {
        let at: String = one(
            &mut handle,
            &format!("SELECT FROM_UNIXTIME(0) FROM {table} LIMIT 1"),
        );
        assert!(at.ends_with("03:00:00"), "{at}");
        assert_eq!(one::<u32>(&mut handle, "SELECT LAST_INSERT_ID()"), 1);
    }
    handle.select_db("mysql").unwrap();
    for _ in 0..10 {
        assert_eq!(one::<String>(&mut handle, "SELECT DATABASE()"), "mysql");
    }
}

#[test]
fn what_a_statement_left_is_asked_for_where_it_ran() {
    let _alone = alone();
    let topology = Topology::new();
    let table = topology.table("found", "v INT");
    let insert = format!("INSERT INTO {table} VALUES (1), (2), (3)");
    topology.root(0).query_drop(insert).unwrap();
    topology.settle();
    let mux = builder().build();
    let mut handle = mux.connect(topology.opts()).unwrap();
    // Rule 11: the original sent the second one to another slave.
    handle
        .query_drop(format!("SELECT SQL_CALC_FOUND_ROWS v FROM {table} LIMIT 1"))
        .unwrap();
    assert_eq!(one::<u32>(&mut handle, "SELECT FOUND_ROWS()"), 3);
    // What a read left on a replica, and a write behind it all the same.
    let mut handle = mux.connect(topology.opts().keep_diagnostics(true)).unwrap();
    handle
        .query_drop(format!("SELECT 1 / 0 FROM {table}"))
        .unwrap();
    let warnings: Vec<Row> = handle.query("SHOW WARNINGS").unwrap();
    assert_eq!(warnings.len(), 3);
    assert_eq!(
        handle.pin().map(|pin| pin.reason()),
        Some(PinReason::Diagnostics)
    );
    handle
        .query_drop(format!("INSERT INTO {table} VALUES (4)"))
        .unwrap();
    assert_eq!(
        one::<u32>(
            &mut topology.root(0),
            &format!("SELECT COUNT(*) FROM {table}")
        ),
        4
    );
}

#[test]
fn a_schema_that_a_server_has_not_is_told_with_its_name() {
    let _alone = alone();
    let topology = Topology::new();
    if topology.is_galera() {
        return;
    }
    let name = unique("lonely");
    let mut root = topology.root(0);
    // Rule 16: the original hid which server it was, and what it said.
    root.query_drop("SET sql_log_bin = 0").unwrap();
    root.query_drop(format!("CREATE DATABASE {name}")).unwrap();
    root.query_drop(format!("CREATE TABLE {name}.t (v INT)"))
        .unwrap();
    let mux = builder().build();
    let mut handle = mux.connect(topology.opts()).unwrap();
    handle.select_db(&name).unwrap();
    handle.query_drop("UPDATE t SET v = 1").unwrap();
    let e = error_of(handle.query_drop("SELECT v FROM t"));
    assert!(
        matches!(&e, Error::SessionNotRestored { what, .. } if what.contains(&name)),
        "{e}"
    );
    let replicas = topology.nodes[1..].iter();
    let names = replicas.map(|node| format!("{}:{}", node.host, node.port));
    assert!(
        names.into_iter().any(|name| e.to_string().contains(&name)),
        "{e}"
    );
    handle.select_db("mux_test").unwrap();
    handle.query_drop("SELECT 1").unwrap();
    root.query_drop(format!("DROP DATABASE {name}")).unwrap();
}

#[test]
fn a_handle_reads_what_it_wrote() {
    let _alone = alone();
    let topology = Topology::new();
    if topology.is_galera() {
        // All go to one server.
        return;
    }
    let table = topology.table("own_writes", "v INT");
    let seen = topology.watch();
    let mux = builder().build();
    let mut writer = mux.connect(topology.opts()).unwrap();
    let mut other = mux.connect(topology.opts()).unwrap();
    let mut careless = mux
        .connect(topology.opts().consistency(Consistency::None))
        .unwrap();
    let paused = topology.pause();
    let count = |handle: &mut Handle, marker: &str| {
        one::<u32>(handle, &format!("SELECT COUNT(*) AS {marker} FROM {table}"))
    };
    for handle in [&mut writer, &mut careless] {
        handle
            .query_drop(format!("INSERT INTO {table} VALUES (1)"))
            .unwrap();
    }
    let own = count(&mut writer, "own_1");
    let (theirs, none) = (count(&mut other, "own_2"), count(&mut careless, "own_3"));
    let mut within = writer.start_transaction(Default::default()).unwrap();
    within
        .query_drop(format!("INSERT INTO {table} VALUES (1)"))
        .unwrap();
    within.commit().unwrap();
    let committed = count(&mut writer, "own_4");
    drop(paused);
    assert_eq!((own, theirs, none, committed), (2, 0, 0, 3));
    assert_eq!(seen.ran("own_1").last(), Some(&0));
    assert!(is_for_reads(&seen.ran("own_2")));
    // Once a replica has it, it is read there.
    topology.settle();
    assert_eq!(count(&mut writer, "own_5"), 3);
    assert!(is_for_reads(&seen.ran("own_5")));
    let mut timid = mux
        .connect(
            topology
                .opts()
                .consistency(Consistency::PrimaryFor(GENEROUS)),
        )
        .unwrap();
    timid
        .query_drop(format!("INSERT INTO {table} VALUES (1)"))
        .unwrap();
    count(&mut timid, "own_6");
    assert_eq!(seen.ran("own_6"), [0]);
}

#[test]
fn a_handle_reads_what_its_statement_wrote_before_it_failed() {
    let _alone = alone();
    let topology = Topology::new();
    if topology.is_galera() {
        // All go to one server.
        return;
    }
    let table = topology.table("half_done", "v INT");
    let mux = builder().build();
    let opts = topology.opts();
    // An error tells no GTID.
    let commits = format!("CREATE TABLE {table} (w INT)");
    let half = format!(
        "CREATE PROCEDURE {table}_p() BEGIN INSERT INTO {table} VALUES (1); SIGNAL SQLSTATE '45000'; END"
    );
    topology.root(0).query_drop(half).unwrap();
    topology.settle();
    let read = |before: &[String], fails: &str| {
        let mut handle = mux.connect(opts.clone()).unwrap();
        handle.query_drop("SELECT 1").unwrap();
        let paused = topology.pause();
        for sql in before {
            handle.query_drop(sql).unwrap();
        }
        error_of(handle.query_drop(fails));
        let count = format!("SELECT COUNT(*) FROM {table}");
        let counts: [u32; 3] = std::array::from_fn(|_| one(&mut handle, &count));
        drop(paused);
        topology.settle();
        assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
        counts[0]
    };
    let begin = [
        "BEGIN".to_owned(),
        format!("INSERT INTO {table} VALUES (1)"),
    ];
    assert_eq!(read(&begin, &commits), 1);
    assert_eq!(read(&[], &format!("CALL {table}_p()")), 2);
    // What a later one tells comes behind it.
    let seen = topology.watch();
    let mut handle = mux.connect(opts).unwrap();
    error_of(handle.query_drop(&commits));
    let count = |handle: &mut Handle, marker: &str| {
        one::<u32>(handle, &format!("SELECT COUNT(*) AS {marker} FROM {table}"))
    };
    assert_eq!(count(&mut handle, "behind_1"), 2);
    handle
        .query_drop(format!("INSERT INTO {table} VALUES (1)"))
        .unwrap();
    topology.settle();
    assert_eq!(count(&mut handle, "behind_2"), 3);
    assert_eq!(seen.ran("behind_1"), [0]);
    assert!(is_for_reads(&seen.ran("behind_2")));
}

#[test]
fn what_is_not_replicated_is_read_where_it_is() {
    let _alone = alone();
    let topology = Topology::new();
    if topology.is_galera() {
        // All go to one server.
        return;
    }
    let table = topology.table("unlogged", "v INT");
    let mux = builder().build();
    let mut handle = mux.connect(topology.opts()).unwrap();
    let insert = format!("INSERT INTO {table} VALUES (1)");
    for sql in ["SET sql_log_bin = 0", &insert, "SET sql_log_bin = 1"] {
        handle.query_drop(sql).unwrap();
    }
    let count = format!("SELECT COUNT(*) FROM {table}");
    assert_eq!(one::<u32>(&mut handle, &count), 1);
    // Nobody else knows of it.
    assert_eq!(one::<u32>(&mut topology.root(1), &count), 0);
}

#[test]
fn what_is_left_on_a_replica_keeps_no_write_there() {
    let _alone = alone();
    let topology = Topology::new();
    let table = topology.table("left_there", "v INT");
    let seen = topology.watch();
    let mux = builder().build();
    let mut handle = mux.connect(topology.opts()).unwrap();
    // A condition that there is none of: an error, and maybe a variable that was set.
    handle.query_drop("SELECT 1").unwrap();
    let _ = handle.query_drop("GET DIAGNOSTICS CONDITION 1 @m = MESSAGE_TEXT");
    handle
        .query_drop(format!("INSERT INTO {table} VALUES (1) /* left_1 */"))
        .unwrap();
    // It asks what is left by what is in the same text.
    handle.query_drop("SELECT 1").unwrap();
    handle
        .query_drop(format!(
            "UPDATE {table} SET v = 2 /* left_2 */; SELECT ROW_COUNT()"
        ))
        .unwrap();
    // Of many that are sent together, only that one asks there.
    handle.query_drop("SELECT 1 / 0").unwrap();
    let piped = handle.pipeline(|p| {
        p.query("SHOW WARNINGS");
        p.query(format!("DELETE FROM {table} /* left_3 */"));
        Ok(())
    });
    for done in piped.unwrap() {
        done.unwrap();
    }
    for marker in ["left_1", "left_2", "left_3"] {
        assert_eq!(seen.ran(marker), [0], "{marker}");
    }
}

#[test]
fn a_session_that_a_read_changed_on_a_replica_keeps_no_write_there() {
    let _alone = alone();
    let topology = Topology::new();
    let table = topology.table("changed_there", "v INT");
    let mut root = topology.root(0);
    for sql in [
        format!(
            "CREATE FUNCTION {table}_f() RETURNS INT DETERMINISTIC BEGIN SET SESSION group_concat_max_len = 77; \
             RETURN 1; END"
        ),
        format!("CREATE VIEW {table}_v AS SELECT {table}_f() AS v"),
    ] {
        root.query_drop(sql).unwrap();
    }
    topology.settle();
    let seen = topology.watch();
    let mux = builder().build();
    // It doesn't look into views.
    let mut handle = mux
        .connect(topology.opts().isolation(Isolation::Reset))
        .unwrap();
    let _: u32 = one(&mut handle, &format!("SELECT v FROM {table}_v"));
    let insert = format!("INSERT INTO {table} VALUES (1) /* changed_1 */");
    if let Err(e) = handle.query_drop(&insert) {
        let is_told = matches!(
            e,
            Error::DriverError(mysql_mux::DriverError::OnReplica { .. })
        );
        assert!(is_told, "{e}");
        handle.reset().unwrap();
        handle.query_drop(&insert).unwrap();
    }
    assert_eq!(seen.ran("changed_1"), [0]);
}

#[test]
fn a_url_names_them_all() {
    let _alone = alone();
    let topology = Topology::new();
    let hosts: Vec<_> = topology
        .nodes
        .iter()
        .map(|node| format!("{}:{}", node.host, node.port))
        .collect();
    let url = format!(
        "mysql+mux://mux:mux-pw@{}/mux_test?prefer=any",
        hosts.join(",")
    );
    let mux = builder().build();
    let mut handle = mux.connect(&*url).unwrap();
    let table = topology.table("by_url", "v INT");
    handle
        .query_drop(format!("SELECT COUNT(*) FROM {table}"))
        .unwrap();
    let stats = mux.stats();
    assert_eq!(stats.total.handles, 1);
    let mut known: Vec<_> = stats.groups.iter().map(|(server, _)| server).collect();
    let mut wanted: Vec<_> = hosts.iter().collect();
    known.sort();
    wanted.sort();
    assert_eq!(known, wanted);
    for (server, counts) in &stats.groups {
        assert!(counts.connect_success > 0, "{server} was not asked");
    }
    let named = stats.backends.iter().map(|backend| &backend.server);
    assert!(named.eq(&hosts));
    for (at, backend) in stats.backends.iter().enumerate() {
        assert!(backend.is_up, "{backend}");
        assert_eq!(backend.takes_writes, at == 0 || topology.is_galera());
    }
}
