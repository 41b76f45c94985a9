//! The rules of MySQL Proxy's `rw-splitting.lua` about sessions: 11, 12, 13, 18, 19, and what it has no rule
//! for, which is called 21 here. That script sends a read wherever the last statement was not, and knows of a
//! session only that it is in a transaction; so each test has reads in between, and another handle that does
//! the same things on the same links.

mod support;

use std::time::{Duration, Instant};

use mysql_mux::{Consistency, PinReason, Prefer, Row};
use support::{
    topology::{Topology, alone},
    *,
};

/// Two handles whose statements share links as far as they can: one and the other.
struct Two {
    one: Handle,
    other: Handle,
    table: String,
    /// What the other writes to: it is not to wait for the one.
    others: String,
}

/// Where reads go; the first of a cluster is both.
const HINTS: [&str; 3] = ["/* mux:replica */", "/* mux:primary */", "/* mux:any */"];

impl Two {
    /// There is a table with three rows.
    fn new(topology: &Topology, opts: OptsBuilder) -> Two {
        let [table, others] = [("two", 1), ("others", 100_000)].map(|(name, from)| {
            let table = topology.table(name, "id INT AUTO_INCREMENT PRIMARY KEY, v INT");
            let [a, b, c] = [from, from + 1, from + 2];
            let insert = format!("INSERT INTO {table} VALUES ({a}, 1), ({b}, 2), ({c}, 3)");
            topology.root(0).query_drop(insert).unwrap();
            table
        });
        topology.settle();
        let mux = builder().max_links(2).build();
        Two {
            one: mux.connect(opts.clone()).unwrap(),
            other: mux.connect(opts).unwrap(),
            table,
            others,
        }
    }

    /// The one's statement.
    fn run(&mut self, sql: &str) {
        let sql = sql.replace("{t}", &self.table);
        self.one
            .query_drop(&sql)
            .unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    /// What it tells the one.
    fn get<T: FromValue>(&mut self, sql: &str) -> T {
        one(&mut self.one, &sql.replace("{t}", &self.table))
    }

    /// The other leaves what it can, on each server.
    fn between(&mut self) {
        for sql in [
            "SELECT v, 1 / 0 FROM {t} LIMIT 2",
            "SELECT SQL_CALC_FOUND_ROWS v FROM {t} LIMIT 0",
            "INSERT INTO {o} (v) VALUES (4), (5), (6), (7)",
            "UPDATE {o} SET v = v + 1 WHERE v > 3",
            "DELETE FROM {o} WHERE v > 3",
            "SET @x = 'the other''s', @y = 7",
            "/* mux:primary */ SELECT v FROM {t}",
            "/* mux:replica */ SELECT v, 1 / 0 FROM {t}",
            "/* mux:any */ SELECT v FROM {t}",
        ] {
            let sql = sql.replace("{t}", &self.table).replace("{o}", &self.others);
            self.other
                .query_drop(&sql)
                .unwrap_or_else(|e| panic!("{sql}: {e}"));
        }
    }

    /// The same reads of the one's own, which are to change nothing.
    fn read(&mut self) {
        for hint in HINTS {
            self.run(&format!("{hint} SELECT COUNT(*) FROM {{t}}"));
        }
    }
}

// Rule 11: the read of FOUND_ROWS() took back that it has to stay, and went elsewhere.
#[test]
fn found_rows_are_those_of_the_handles_last_read_wherever_that_ran() {
    let _alone = alone();
    let topology = Topology::new();
    let mut two = Two::new(&topology, topology.opts());
    for sql in [
        "SELECT SQL_CALC_FOUND_ROWS v FROM {t} LIMIT 1",
        "SELECT /*! SQL_CALC_FOUND_ROWS */ v FROM {t} LIMIT 1",
        "/* mux:replica */ SELECT SQL_CALC_FOUND_ROWS v FROM {t} LIMIT 1",
    ] {
        two.run(sql);
        two.between();
        assert_eq!(two.get::<u32>("SELECT FOUND_ROWS()"), 3, "{sql}");
    }
    // Without it they are those of the result: kept, or gone, but never another's.
    let kept = Two::new(&topology, topology.opts().keep_diagnostics(true));
    for (mut two, is_kept) in [(two, false), (kept, true)] {
        for (hint, limit) in HINTS.into_iter().zip([1, 2, 3]) {
            two.run(&format!("{hint} SELECT v FROM {{t}} LIMIT {limit}"));
            two.between();
            match two.one.query_first("SELECT FOUND_ROWS()") {
                Ok(found) => assert_eq!(found, Some(limit), "{hint}"),
                Err(Error::NotKept { .. }) if !is_kept => {}
                Err(e) => panic!("{hint}: {e}"),
            }
        }
    }
}

// Rule 12: it looked for a literal where the tokenizer tells a function, so it never found the usual
// spelling, and knew neither @@last_insert_id nor @@identity.
#[test]
fn the_last_insert_id_is_the_handles_own_by_all_its_names() {
    let _alone = alone();
    let topology = Topology::new();
    let view = format!("mux_test.{}", unique("ids"));
    topology
        .root(0)
        .query_drop(format!(
            "CREATE VIEW {view} AS SELECT LAST_INSERT_ID() AS id"
        ))
        .unwrap();
    let spellings = [
        "SELECT LAST_INSERT_ID()",
        "select last_insert_id ( )",
        "SELECT /*!LAST_INSERT_ID()*/",
        "SELECT `id` FROM {t} WHERE id = LAST_INSERT_ID()",
        "SELECT 0 + LAST_INSERT_ID() FROM {t} LIMIT 1",
        "SELECT @@last_insert_id",
        "SELECT @@identity",
        "SELECT @@SESSION.identity",
        "SELECT @@LOCAL . `last_insert_id`",
        "/* mux:replica */ SELECT LAST_INSERT_ID()",
        "/* mux:any */ SELECT @@identity",
        "SELECT id FROM {ids}",
    ];
    for prefer in [Prefer::Replica, Prefer::Any] {
        let opts = topology.opts().keep_insert_id(true).prefer(prefer);
        let mut two = Two::new(&topology, opts);
        for spelling in spellings {
            two.run("INSERT INTO {t} (v) VALUES (10)");
            let own = two.one.last_insert_id();
            two.between();
            two.read();
            let sql = spelling.replace("{ids}", &view);
            assert_eq!(two.get::<u64>(&sql), own, "{spelling}");
            two.between();
            let sql = sql.replace("{t}", &two.table);
            let prepared: Option<u64> = two.one.exec_first(&*sql, ()).unwrap();
            assert_eq!(prepared, Some(own), "{spelling}, prepared");
        }
        // What the next row gets, where that was said.
        two.run("SET insert_id = 5000");
        two.between();
        assert_eq!(two.get::<u64>("SELECT @@insert_id"), 5000);
        two.read();
        two.run("INSERT INTO {t} (v) VALUES (10)");
        assert_eq!(two.get::<u64>("SELECT LAST_INSERT_ID()"), 5000);
    }
    let drop = format!("DROP VIEW {view}");
    topology.root(0).query_drop(drop).unwrap();
}

// Rules 13 and 18: a read did not ask whether the client has to stay; and right behind SET autocommit = 0
// none was in a transaction, so that the connection went to somebody else as it was.
#[test]
fn whatever_begins_a_transaction_reads_stay_in_it() {
    let _alone = alone();
    let topology = Topology::new();
    let seen = topology.watch();
    let begins: &[&[&str]] = &[
        &["BEGIN"],
        &["START TRANSACTION"],
        &["START TRANSACTION WITH CONSISTENT SNAPSHOT"],
        &["/* in front */ begin work"],
        &["SET autocommit = 0"],
        &["SET @@autocommit = OFF"],
        &["SET SESSION autocommit = 0, time_zone = '+03:00'"],
        &["SET autocommit = (SELECT 0)"],
        &["BEGIN", "COMMIT AND CHAIN"],
        &["SET completion_type = 1", "BEGIN", "COMMIT"],
    ];
    for (at, begins) in begins.iter().enumerate() {
        let mut two = Two::new(&topology, topology.opts());
        let table = two.table.clone();
        for sql in *begins {
            two.run(sql);
        }
        let read = format!("SELECT 'inside_{at}', COUNT(*) FROM {{t}} WHERE v = 10");
        two.run(&read);
        for rows in 1..=3 {
            two.between();
            two.run("INSERT INTO {t} (v) VALUES (10)");
            two.read();
            let found: Vec<(String, u32)> = two.one.query(read.replace("{t}", &table)).unwrap();
            assert_eq!(found[0].1, rows, "{begins:?}");
            // The other has not got that session, and commits as it goes.
            assert_eq!(
                one::<u32>(
                    &mut two.other,
                    &format!("SELECT COUNT(*) FROM {table} WHERE v = 10")
                ),
                0,
                "{begins:?}"
            );
            let insert = format!("INSERT INTO {table} (v) VALUES (11)");
            two.other.query_drop(insert).unwrap();
            let theirs = format!("SELECT COUNT(*) FROM {table} WHERE v = 11");
            assert_eq!(one::<u32>(&mut topology.root(0), &theirs), rows);
        }
        assert_eq!(seen.ran(&format!("inside_{at}")), [0], "{begins:?}");
        two.run("ROLLBACK");
        let own = format!("SELECT COUNT(*) FROM {table} WHERE v = 10");
        assert_eq!(one::<u32>(&mut topology.root(0), &own), 0, "{begins:?}");
    }
}

// The same, where options or the interface say so.
#[test]
fn a_session_that_begins_without_autocommit_reads_where_it_writes() {
    let _alone = alone();
    let topology = Topology::new();
    let seen = topology.watch();
    let mut two = Two::new(&topology, topology.opts().init(vec!["SET autocommit = 0"]));
    let table = two.table.clone();
    for handle in [&mut two.one, &mut two.other] {
        let sql = format!("SELECT 'by_init', COUNT(*) FROM {table} WHERE v = 10");
        handle.query_drop(&sql).unwrap();
        let insert = format!("INSERT INTO {table} (v) VALUES (10)");
        handle.query_drop(insert).unwrap();
        let found: Vec<(String, u32)> = handle.query(&sql).unwrap();
        assert_eq!(found[0].1, 1);
        handle.query_drop("ROLLBACK").unwrap();
    }
    assert_eq!(seen.ran("by_init"), [0]);
    let mut two = Two::new(&topology, topology.opts());
    let table = two.table.clone();
    let mut own = two.one.start_transaction(Default::default()).unwrap();
    let read = format!("SELECT 'by_api', COUNT(*) FROM {table} WHERE v = 10");
    own.query_drop(&read).unwrap();
    own.query_drop(format!("INSERT INTO {table} (v) VALUES (10)"))
        .unwrap();
    let found: Vec<(String, u32)> = own.exec(&*read, ()).unwrap();
    assert_eq!(found[0].1, 1);
    own.rollback().unwrap();
    assert_eq!(seen.ran("by_api"), [0]);
}

// Rule 19: an id of a prepared statement was another one's on the next connection, or nobody's.
#[test]
fn a_prepared_statement_is_the_same_on_each_server() {
    let _alone = alone();
    let topology = Topology::new();
    let opts = topology.opts().prefer(Prefer::Any);
    let mut two = Two::new(&topology, opts);
    let table = two.table.clone();
    // Each has its first on its first link: they have the same ids there.
    let prepare = |handle: &mut Handle, name: &str| {
        let mut prep = |sql: String| handle.prep(sql.replace("{t}", &table)).unwrap();
        HINTS.map(|hint| {
            prep(format!(
                "{hint} SELECT '{name}', ? + v FROM {{t}} WHERE id = 2"
            ))
        })
    };
    let write = format!("UPDATE {table} SET v = ? WHERE id = 3");
    let own = prepare(&mut two.one, "one");
    let theirs = prepare(&mut two.other, "other");
    let writes = two.one.prep(write).unwrap();
    for n in 0..20_u32 {
        for (own, theirs) in own.iter().zip(&theirs) {
            for (handle, statement, name) in [
                (&mut two.one, own, "one"),
                (&mut two.other, theirs, "other"),
            ] {
                let row: Option<(String, u32)> = handle.exec_first(statement, (n,)).unwrap();
                assert_eq!(row, Some((name.to_owned(), n + 2)));
            }
        }
        two.one.exec_drop(&writes, (n + 500,)).unwrap();
        if n % 5 == 0 {
            // In a transaction it runs where that is.
            two.one.query_drop("BEGIN").unwrap();
            let row: Option<(String, u32)> = two.one.exec_first(&own[0], (n,)).unwrap();
            assert_eq!(row, Some(("one".to_owned(), n + 2)));
            two.one.query_drop("COMMIT").unwrap();
        }
        if n == 10 {
            // Nor are they lost with links.
            for node in &topology.nodes {
                let mut root = node.root();
                for id in node.connections_of(&mut root, &node.user) {
                    node.kill(&mut root, id);
                }
            }
        }
    }
    // By SQL they are the session's, and stay with it.
    two.run("PREPARE p FROM 'SELECT 1'");
    two.other.query_drop("PREPARE p FROM 'SELECT 2'").unwrap();
    two.read();
    assert_eq!(two.get::<u32>("EXECUTE p"), 1);
    assert_eq!(one::<u32>(&mut two.other, "EXECUTE p"), 2);
}

// Rule 21: warnings were asked for wherever a read goes.
#[test]
fn warnings_errors_and_counts_are_of_the_handles_own_last_statement() {
    let _alone = alone();
    let topology = Topology::new();
    let mut two = Two::new(&topology, topology.opts().keep_diagnostics(true));
    for hint in HINTS {
        two.run(&format!("{hint} SELECT 1 / 0 FROM {{t}} WHERE id <= 3"));
        two.between();
        let rows: Vec<Row> = two.one.query("SHOW WARNINGS").unwrap();
        assert_eq!(rows.len(), 3, "{hint}");
        assert_eq!(two.get::<u32>("SHOW COUNT(*) WARNINGS"), 3, "{hint}");
        assert_eq!(two.get::<u32>("SELECT @@warning_count"), 3, "{hint}");
    }
    let e = error_of(two.one.query_drop("SELECT nothing"));
    two.between();
    let rows: Vec<(String, u16, String)> = two.one.query("SHOW ERRORS").unwrap();
    assert_eq!(Some(rows[0].1), e.code());
    two.run("UPDATE {t} SET v = v + 100 WHERE id < 3");
    two.between();
    assert_eq!(two.get::<i64>("SELECT ROW_COUNT()"), 2);
    // A write behind a read's warnings goes where it must.
    two.run("/* mux:replica */ SELECT 1 / 0");
    two.run("INSERT INTO {t} (v) VALUES (10)");
    assert_eq!(two.get::<i64>("SELECT ROW_COUNT()"), 1);
    let rows: Vec<Row> = two.one.query("SHOW WARNINGS").unwrap();
    assert_eq!(rows.len(), 0);
}

// Rule 21: what a client set, it had set on one of its connections.
#[test]
fn what_a_handle_set_is_so_on_each_server() {
    let _alone = alone();
    let topology = Topology::new();
    let mut two = Two::new(&topology, topology.opts());
    let sets = [
        ("SET NAMES latin1", "CHARSET('x')", "latin1", "utf8mb4"),
        (
            "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
            "'A' = 'a'",
            "0",
            "1",
        ),
        (
            "SET collation_connection = 'latin1_bin'",
            "COLLATION('x')",
            "latin1_bin",
            "",
        ),
        (
            "SET time_zone = '+05:00'",
            "FROM_UNIXTIME(0)",
            "1970-01-01 05:00:00",
            "",
        ),
        ("SET sql_mode = 'PIPES_AS_CONCAT'", "'a' || 'b'", "ab", "0"),
        (
            "SET lc_time_names = 'de_DE'",
            "MONTHNAME('2000-03-01')",
            "März",
            "March",
        ),
        (
            "SET div_precision_increment = 2",
            "CAST(1 / 3 AS CHAR)",
            "0.33",
            "0.3333",
        ),
        ("SET @x = 'own'", "@x", "own", ""),
        ("SET @y := 1 + 1", "@y", "2", ""),
        ("SELECT 'into' INTO @x", "@x", "into", ""),
        ("SELECT @x := 'walrus'", "@x", "walrus", ""),
    ];
    for (sql, expression, own, theirs) in sets {
        two.run("SET NAMES utf8mb4");
        two.run(sql);
        two.between();
        for hint in HINTS {
            let sql = format!("{hint} SELECT {expression}");
            assert_eq!(two.get::<String>(&sql), own, "{sql}");
            if !theirs.is_empty() {
                let found: String = one(&mut two.other, &sql);
                assert_eq!(found, theirs, "the other: {sql}");
            }
        }
    }
    // Of one that is compared with a table's rows, too.
    two.run("SET @id = 2");
    two.between();
    assert_eq!(two.get::<u32>("SELECT v FROM {t} WHERE id = @id"), 2);
}

// Rule 21: a temporary table was on one server, and what it hides was read on another.
#[test]
fn a_temporary_table_is_there_for_its_handle_alone() {
    let _alone = alone();
    let topology = Topology::new();
    let mut two = Two::new(&topology, topology.opts());
    two.run("CREATE TEMPORARY TABLE {t} (v INT)");
    two.between();
    for hint in HINTS {
        let count = format!("{hint} SELECT COUNT(*) FROM {{t}}");
        assert_eq!(two.get::<u32>(&count), 0, "{hint}");
        let theirs: u32 = one(&mut two.other, &count.replace("{t}", &two.table));
        assert_eq!(theirs, 3, "{hint}");
    }
    two.run("INSERT INTO {t} VALUES (1)");
    two.between();
    assert_eq!(two.get::<u32>("SELECT COUNT(*) FROM {t}"), 1);
    two.run("DROP TEMPORARY TABLE {t}");
    assert_eq!(two.one.pin(), None);
    assert_eq!(two.get::<u32>("SELECT COUNT(*) FROM {t}"), 3);
}

// Rule 21: tables were locked on one server, and used on another.
#[test]
fn table_locks_hold_for_reads_too() {
    let _alone = alone();
    let topology = Topology::new();
    if topology.is_galera() {
        // They are not for clusters.
        return;
    }
    let seen = topology.watch();
    let mut two = Two::new(&topology, topology.opts());
    let free = topology.table("unlocked", "v INT");
    two.run("LOCK TABLES {t} WRITE");
    two.run("/* mux:replica */ SELECT 'locked_1' FROM {t}");
    assert_eq!(seen.ran("locked_1"), [0]);
    // What was not locked can't be used, which no other server would have said.
    let e = error_of(two.one.query_drop(format!("SELECT * FROM {free}")));
    assert_eq!(e.code(), Some(1100), "{e}");
    let theirs = format!("SELECT 'locked_2', v FROM {}", two.table);
    two.other.query_drop(theirs).unwrap();
    assert!(!seen.ran("locked_2").contains(&0));
    let write = format!("UPDATE {} SET v = 50 WHERE id = 1", two.table);
    let mut other = two.other;
    let waits = std::thread::spawn(move || other.query_drop(write).unwrap());
    two.one
        .query_drop(format!("UPDATE {} SET v = 40 WHERE id = 1", two.table))
        .unwrap();
    let read = format!("SELECT v FROM {} WHERE id = 1", two.table);
    assert_eq!(one::<u32>(&mut two.one, &read), 40);
    two.one.query_drop("UNLOCK TABLES").unwrap();
    join_one(waits);
    assert_eq!(one::<u32>(&mut topology.root(0), &read), 50);
}

// Rule 21: each of two clients had the same lock, as they were sent to different slaves.
#[test]
fn a_user_lock_is_one_handles_at_a_time() {
    let _alone = alone();
    let topology = Topology::new();
    let mut two = Two::new(&topology, topology.opts());
    let lock = unique("lock");
    let take = format!("SELECT GET_LOCK('{lock}', 0)");
    let is_used = format!("SELECT IS_USED_LOCK('{lock}') IS NULL, IS_FREE_LOCK('{lock}')");
    let release = format!("SELECT RELEASE_LOCK('{lock}')");
    for _ in 0..3 {
        assert_eq!(two.get::<u32>(&take), 1);
        two.read();
        two.between();
        for handle in [&mut two.other, &mut two.one] {
            let states: Vec<(u32, u32)> = handle.query(&*is_used).unwrap();
            assert_eq!(states, [(0, 0)]);
        }
        assert_eq!(one::<u32>(&mut two.other, &take), 0);
        assert_eq!(one::<u32>(&mut two.other, &release), 0);
        assert_eq!(two.get::<u32>(&release), 1);
        assert_eq!(one::<u32>(&mut two.other, &take), 1);
        assert_eq!(one::<u32>(&mut two.other, &release), 1);
    }
}

// Rule 21.
#[test]
fn an_open_handler_is_read_where_it_is() {
    let _alone = alone();
    let topology = Topology::new();
    let mut two = Two::new(&topology, topology.opts());
    two.run("HANDLER {t} OPEN AS h");
    for at in ["FIRST", "NEXT", "NEXT"] {
        two.read();
        let read = format!("HANDLER h READ `PRIMARY` {at}");
        let row: Option<Row> = two.one.query_first(&*read).unwrap();
        assert!(row.is_some(), "{at}");
        for sql in ["/* mux:primary */ SELECT 1", "/* mux:replica */ SELECT 1"] {
            two.other.query_drop(sql).unwrap();
        }
    }
    let pin = two.one.pin().map(|pin| pin.reason());
    assert_eq!(pin, Some(PinReason::Handler));
    two.run("HANDLER h CLOSE");
    assert_eq!(two.one.pin(), None);
}

// Rule 21: a read behind a write was answered by a slave that had not heard of it.
#[test]
fn what_a_handle_wrote_it_reads_however_it_was_written() {
    let _alone = alone();
    let topology = Topology::new();
    let table = topology.table("however", "id INT AUTO_INCREMENT PRIMARY KEY, v INT");
    let procedure = format!("mux_test.{}", unique("insert"));
    let trigger = format!("mux_test.{}", unique("copies"));
    let copy = topology.table("copies", "v INT");
    let [function, view] = ["writes", "shows"].map(|name| format!("mux_test.{}", unique(name)));
    let mut root = topology.root(0);
    for sql in [
        format!("CREATE PROCEDURE {procedure}() INSERT INTO {table} (v) VALUES (1)"),
        format!(
            "CREATE TRIGGER {trigger} AFTER INSERT ON {table} FOR EACH ROW \
             INSERT INTO {copy} VALUES (NEW.v)"
        ),
        format!(
            "CREATE FUNCTION {function}() RETURNS INT DETERMINISTIC MODIFIES SQL DATA \
             BEGIN INSERT INTO {table} (v) VALUES (1); RETURN 1; END"
        ),
        format!("CREATE VIEW {view} AS SELECT {function}() AS v"),
    ] {
        root.query_drop(sql).unwrap();
    }
    topology.settle();
    let mux = builder().build();
    let mut handle = mux.connect(topology.opts()).unwrap();
    let mut stale = mux
        .connect(topology.opts().consistency(Consistency::None))
        .unwrap();
    let insert = format!("INSERT INTO {table} (v) VALUES (1)");
    let count = format!("SELECT COUNT(*) FROM {table}");
    let copies = format!("SELECT COUNT(*) FROM {copy}");
    let paused = (!topology.is_galera()).then(|| topology.pause());
    type Write<'a> = &'a dyn Fn(&mut Handle);
    let call = format!("CALL {procedure}()");
    let ways: [(&str, Write); 9] = [
        ("a view", &|handle| {
            handle.query_drop(format!("SELECT v FROM {view}")).unwrap();
        }),
        ("text", &|handle| handle.query_drop(&insert).unwrap()),
        ("prepared", &|handle| {
            handle.exec_drop(&*insert, ()).unwrap()
        }),
        ("a procedure", &|handle| handle.query_drop(&call).unwrap()),
        ("several", &|handle| {
            handle.query_drop(format!("DO 1; {insert}; DO 1")).unwrap();
        }),
        ("a pipeline", &|handle| {
            let done = handle.pipeline(|pipe| {
                pipe.query(&insert);
                pipe.query("SELECT 1");
                Ok(())
            });
            done.unwrap().into_iter().for_each(|one| drop(one.unwrap()));
        }),
        ("a transaction", &|handle| {
            let mut within = handle.start_transaction(Default::default()).unwrap();
            within.query_drop(&insert).unwrap();
            within.commit().unwrap();
        }),
        ("autocommit", &|handle| {
            for sql in ["SET autocommit = 0", &insert, "SET autocommit = 1"] {
                handle.query_drop(sql).unwrap();
            }
        }),
        ("a result that is read", &|handle| {
            drop(handle.query_iter(&insert).unwrap());
        }),
    ];
    for (at, (way, write)) in (1..).zip(ways) {
        write(&mut handle);
        assert_eq!(one::<u32>(&mut handle, &count), at, "{way}");
        assert_eq!(one::<u32>(&mut handle, &copies), at, "{way}");
    }
    if let Some(paused) = paused {
        // The replicas stood still all the time.
        assert_eq!(one::<u32>(&mut stale, &count), 0);
        drop(paused);
    }
    for made in [
        format!("VIEW {view}"),
        format!("FUNCTION {function}"),
        format!("PROCEDURE {procedure}"),
    ] {
        root.query_drop(format!("DROP {made}")).unwrap();
    }
    topology.settle();
}

// The same of a procedure whose answer is an error, or was not waited for: what it wrote before is there.
#[test]
fn what_a_procedure_wrote_is_read_however_that_ended() {
    let _alone = alone();
    let topology = Topology::new();
    if topology.is_galera() {
        return;
    }
    let table = topology.table("perhaps", "id INT PRIMARY KEY, v INT");
    let name = |name| format!("mux_test.{}", unique(name));
    let (fails, shows, sleeps) = (name("fails"), name("shows"), name("sleeps"));
    let mut root = topology.root(0);
    for (procedure, then) in [
        (&fails, "SIGNAL SQLSTATE '45000'"),
        (&shows, "SELECT id FROM {t}"),
        (&sleeps, "DO SLEEP(30)"),
    ] {
        let then = then.replace("{t}", &table);
        root.query_drop(format!(
            "CREATE PROCEDURE {procedure}(n INT) BEGIN INSERT INTO {table} VALUES (n, n); {then}; END"
        ))
        .unwrap();
    }
    topology.settle();
    let mux = builder().build();
    let count = format!("SELECT COUNT(*) FROM {table}");
    let paused = topology.pause();
    type Write<'a> = &'a dyn Fn(&mut Handle);
    let ways: [(&str, Write); 4] = [
        ("a procedure that fails", &|handle| {
            let e = error_of(handle.query_drop(format!("CALL {fails}(1)")));
            assert_eq!(e.code(), Some(1644), "{e}");
        }),
        ("a result that is left", &|handle| {
            drop(handle.query_iter(format!("CALL {shows}(2)")).unwrap());
        }),
        ("a result that is left in the middle", &|handle| {
            let mut result = handle.query_iter(format!("CALL {shows}(3)")).unwrap();
            drop(result.iter().unwrap().next().unwrap().unwrap());
        }),
        ("a statement that takes too long", &|handle| {
            let time = Duration::from_millis(500);
            let call = format!("CALL {sleeps}(4)");
            let e = error_of(handle.within(time).query_drop(call));
            assert!(matches!(e, Error::StatementTimeout(_)), "{e}");
        }),
    ];
    for (at, (way, write)) in (1..).zip(ways) {
        let mut handle = mux.connect(topology.opts()).unwrap();
        write(&mut handle);
        assert_eq!(one::<u32>(&mut handle, &count), at, "{way}");
    }
    drop(paused);
    for procedure in [fails, shows, sleeps] {
        root.query_drop(format!("DROP PROCEDURE {procedure}"))
            .unwrap();
    }
    topology.settle();
}

/// Has a statement run, and doesn't wait for it.
fn leave(handle: &mut aio::Handle, root: &mut Handle, sql: String) {
    let runs = format!("SELECT COUNT(*) FROM information_schema.processlist WHERE info = '{sql}'");
    let mut written = std::pin::pin!(handle.query_drop(sql));
    eventually("it is written", || {
        let _ = task::poll_once(written.as_mut());
        one::<u32>(root, &runs) == 1
    });
}

// The same of plain statements that failed, or that nobody waited for: some of it may be there.
#[test]
fn what_a_handle_may_have_written_it_reads() {
    let _alone = alone();
    let topology = Topology::new();
    if topology.is_galera() || topology.is_group() {
        return;
    }
    // What failed is not undone there; a group has no such tables.
    let table = topology.table("perhaps", "id INT PRIMARY KEY, v INT");
    let engine = format!("ALTER TABLE {table} ENGINE = MyISAM");
    let mut root = topology.root(0);
    root.query_drop(engine).unwrap();
    topology.settle();
    let mux = builder().build();
    let count = format!("SELECT COUNT(*) FROM {table}");
    let paused = topology.pause();

    let mut half = mux.connect(topology.opts()).unwrap();
    let insert = format!("INSERT INTO {table} VALUES (1, 1), (1, 2)");
    assert_eq!(error_of(half.query_drop(insert)).code(), Some(1062));
    assert_eq!(one::<u32>(&mut half, &count), 1, "half of it");

    let mut piped = mux.connect(topology.opts()).unwrap();
    let done = piped.pipeline(|pipe| {
        pipe.query(format!("INSERT INTO {table} VALUES (3, 3), (3, 4)"));
        pipe.query("SELECT 1");
        Ok(())
    });
    assert!(done.unwrap()[0].is_err());
    assert_eq!(one::<u32>(&mut piped, &count), 2, "in a pipeline");

    task::block_on(async {
        let mut left = mux.connect_async(topology.opts()).await.unwrap();
        leave(
            &mut left,
            &mut root,
            format!("INSERT INTO {table} SELECT 5, SLEEP(0.3)"),
        );
        eventually("it is there", || one::<u32>(&mut root, &count) == 3);
        assert_eq!(
            one_async::<u32>(&mut left, &count).await,
            3,
            "not waited for"
        );
    });
    drop(paused);
}

// The same while it still runs, and behind its end: what was once seen is not gone again.
#[test]
fn a_write_that_nobody_waits_for_is_read_from_its_end_on() {
    let _alone = alone();
    let topology = Topology::new();
    if topology.is_galera() {
        return;
    }
    let table = topology.table("left", "id INT PRIMARY KEY, v INT");
    let mux = builder().build();
    let count = format!("SELECT COUNT(*) FROM {table}");
    let mut root = topology.root(0);
    let paused = topology.pause();
    task::block_on(async {
        let mut handle = mux.connect_async(topology.opts()).await.unwrap();
        // Where this one is known everywhere the next one counts.
        assert_eq!(one_async::<u32>(&mut handle, &count).await, 0);
        leave(
            &mut handle,
            &mut root,
            format!("INSERT INTO {table} SELECT 1, SLEEP(1)"),
        );
        let began = Instant::now();
        while one_async::<u32>(&mut handle, &count).await == 0 {
            assert!(began.elapsed() < GENEROUS, "a replica is read from");
        }
        for _ in 0..200 {
            assert_eq!(one_async::<u32>(&mut handle, &count).await, 1);
        }
    });
    drop(paused);
}
