//! The rules of MySQL Proxy's `rw-splitting.lua`, by their numbers in the order of that script, and of the
//! pool below it: each defect of theirs is a test here. What a session needs is in
//! `backends_rules_sessions.rs`: rules 11, 12, 13, 18, 19, 21. Who is asked and who is left is in `backends.rs`
//! and `backends_health.rs`.

mod support;

use std::{fs, net::TcpListener, path::Path, thread, time::Duration};

use mysql_mux::{Backend, ChangeUserOpts, Prefer, Row};
use support::{
    topology::{Topology, alone},
    *,
};

const SOON: Duration = Duration::from_millis(300);

/// Where nobody listens.
fn nobody() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A user of the test's own, on all servers.
fn user(topology: &Topology, name: &str) -> User {
    let user = User::new(name);
    topology.settle();
    user
}

fn opts_of(topology: &Topology, user: &User) -> OptsBuilder {
    topology
        .opts()
        .user(Some(&user.name))
        .pass(Some(&user.password))
        .get_server_public_key(true)
}

/// The user's connections to each server, by the servers' own lists.
fn connections(topology: &Topology, user: &User) -> Vec<Vec<u32>> {
    let of = |node: &Server| node.connections_of(&mut node.root(), &user.name);
    topology.nodes.iter().map(of).collect()
}

/// Reads and writes by many at once, so that each server has as many links as it may.
fn crowd(mux: &Mux, opts: &OptsBuilder) {
    let busy = |mut handle: Handle| {
        thread::spawn(move || {
            handle.query_drop("SELECT SLEEP(0.1)").unwrap();
            handle.query_drop("DO SLEEP(0.1)").unwrap();
        })
    };
    join(
        "a crowd",
        handles(mux, opts, 16).into_iter().map(busy).collect(),
    );
}

// Rules 1 and 3: how many were idle was asked for a user without a name, who has none.
#[test]
fn each_server_is_warmed_up_for_the_user_who_uses_it() {
    let _alone = alone();
    let topology = Topology::new();
    let user = user(&topology, "warm");
    let mux = builder().min_idle_links(3).build();
    let _handle = mux.connect(opts_of(&topology, &user)).unwrap();
    eventually("three links to each server", || {
        connections(&topology, &user)
            .iter()
            .all(|links| links.len() >= 3)
    });
}

// Rule 2: the limit was a line that nothing read.
#[test]
fn no_server_gets_more_links_than_it_may() {
    let _alone = alone();
    let topology = Topology::new();
    let user = user(&topology, "limited");
    let mux = builder().max_links(2).build();
    let opts = opts_of(&topology, &user).prefer(Prefer::Any);
    crowd(&mux, &opts);
    for (node, links) in connections(&topology, &user).iter().enumerate() {
        assert!((1..=2).contains(&links.len()), "{node}: {links:?}");
    }
    // It holds at every moment: what is opened is never closed here.
    assert_eq!(mux.stats().total.implicit_close, 0);
}

// Rules 4 and 15: where no server was left, index 0 was asked, or the client was cut without a word.
#[test]
fn a_write_that_nobody_takes_waits_and_then_says_who_was_asked() {
    let _alone = alone();
    let topology = Topology::new();
    let table = topology.table("nobody", "v INT");
    let mux = builder().acquire_timeout(SOON).build();
    let mut handle = mux.connect(topology.opts()).unwrap();
    let insert = format!("INSERT INTO {table} VALUES (1)");
    let read_only = topology.read_only();
    eventually("that is known", || {
        mux.stats().backends.iter().all(|one| !one.takes_writes)
    });
    let Error::NoBackend(e) = error_of(handle.query_drop(&insert)) else {
        panic!("another error");
    };
    assert!(e.waited >= SOON, "{e}");
    assert!(e.wanted.contains("takes writes"), "{e}");
    for node in &topology.nodes {
        assert!(e.to_string().contains(&node.port.to_string()), "{e}");
    }
    // Nothing is wrong with the handle, nor with reads.
    handle.query_drop("SELECT 1").unwrap();
    drop(read_only);
    eventually("it is written again", || handle.query_drop(&insert).is_ok());
    let count = format!("SELECT COUNT(*) FROM {table}");
    assert_eq!(one::<u32>(&mut topology.root(0), &count), 1);
}

#[test]
fn a_prepared_write_that_is_refused_waits_for_who_takes_it_whatever_the_schema() {
    let _alone = alone();
    let topology = Topology::new();
    let table = topology.table("refused", "v INT");
    let mux = builder().build();
    let mut handle = mux.connect(topology.opts()).unwrap();
    let insert = handle
        .prep(format!("INSERT INTO {table} VALUES (?)"))
        .unwrap();
    handle.exec_drop(&insert, (1,)).unwrap();
    // It was prepared in another one.
    handle.query_drop("USE mysql").unwrap();
    let read_only = topology.read_only();
    let writer = thread::spawn(move || handle.exec_drop(&insert, (2,)).unwrap());
    thread::sleep(SOON);
    drop(read_only);
    join_one(writer);
    let count = format!("SELECT COUNT(*) FROM {table}");
    assert_eq!(one::<u32>(&mut topology.root(0), &count), 2);
}

// Rules 5 and 6, and the pool: where a user had no idle socket, one of any other user was taken.
#[test]
fn a_link_of_another_user_is_never_used() {
    let _alone = alone();
    let topology = Topology::new();
    let users = [user(&topology, "first"), user(&topology, "second")];
    // One link to each server, which goes back and forth between the two.
    let mux = builder().max_links(1).build();
    let connect = |user: &User| mux.connect(opts_of(&topology, user)).unwrap();
    let mut handles = users.each_ref().map(connect);
    for round in 0..10 {
        for (handle, user) in handles.iter_mut().zip(&users) {
            for hint in ["primary", "replica", "any"] {
                let sql = format!("/* mux:{hint} */ SELECT CURRENT_USER()");
                let who: String = one(handle, &sql);
                assert_eq!(who, format!("{}@%", user.name), "{round}: {hint}");
            }
            // The same for what no two can have at once.
            let who: String = one(handle, "SELECT CURRENT_USER() FOR UPDATE");
            assert!(who.starts_with(&user.name), "{who}");
        }
    }
}

// The pool's login: a recorded answer was compared, which anybody could send again.
#[test]
fn a_password_is_the_servers_to_judge_whatever_links_are_idle() {
    let _alone = alone();
    let topology = Topology::new();
    let user = user(&topology, "judged");
    let mux = builder().build();
    let mut handle = mux.connect(opts_of(&topology, &user)).unwrap();
    handle.query_drop("SELECT 1").unwrap();
    let e = error_of(mux.connect(opts_of(&topology, &user).pass(Some("wrong"))));
    assert_eq!(e.code(), Some(1045), "{e}");
    handle.query_drop("SELECT 1").unwrap();
}

// Rule 7: any client could have the proxy write and run files.
#[test]
fn no_statement_is_for_the_library_itself() {
    let _alone = alone();
    let topology = Topology::new();
    let mut handle = builder().build().connect(topology.opts()).unwrap();
    for sql in [
        "PROXY SHOW CONFIG",
        "PROXY SAVE CONFIG INTO 'file'",
        "SELECT * FROM backends",
    ] {
        let e = error_of(handle.query_drop(sql));
        assert!(matches!(e, Error::MySqlError(_)), "{sql}: {e}");
    }
}

// Rules 8 and 20: a client's goodbye must not reach what others use.
#[test]
fn a_handle_that_ends_closes_no_link_and_harms_nobody() {
    let _alone = alone();
    let topology = Topology::new();
    let user = user(&topology, "goodbye");
    let mux = builder().max_links(2).build();
    let opts = opts_of(&topology, &user).prefer(Prefer::Any);
    crowd(&mux, &opts);
    let before = connections(&topology, &user);
    let seen = topology.watch();
    let mut other = mux.connect(opts.clone()).unwrap();
    let long = thread::spawn(move || one::<u32>(&mut other, "SELECT 7 + SLEEP(1)"));
    for _ in 0..20 {
        let mut handle = mux.connect(opts.clone()).unwrap();
        handle.query_drop("SELECT 1").unwrap();
        handle.query_drop("DO 1").unwrap();
    }
    assert_eq!(join_one(long), 7);
    let after = connections(&topology, &user);
    for (node, links) in before.iter().enumerate() {
        let quits = seen.quits(node);
        for link in links {
            assert!(after[node].contains(link), "{node}: {link} is gone");
            assert!(!quits.contains(link), "{node}: {link} said goodbye");
        }
    }
}

/// Routines that write, a view over one, and a table that tells what they wrote.
struct Writers<'a> {
    topology: &'a Topology,
    table: String,
    function: String,
    procedure: String,
    view: String,
}

impl<'a> Writers<'a> {
    fn new(topology: &'a Topology) -> Writers<'a> {
        let table = topology.table("written", "v VARCHAR(60)");
        let name = |name| format!("mux_test.{}", unique(name));
        let all = Writers {
            topology,
            table,
            function: name("writes"),
            procedure: name("calls"),
            view: name("shows"),
        };
        let Writers {
            table,
            function,
            procedure,
            view,
            ..
        } = &all;
        let mut root = topology.root(0);
        for sql in [
            format!(
                "CREATE FUNCTION {function}(v VARCHAR(60)) RETURNS VARCHAR(60) \
                 DETERMINISTIC MODIFIES SQL DATA SQL SECURITY INVOKER \
                 BEGIN INSERT INTO {table} VALUES (v); RETURN v; END"
            ),
            format!("CREATE PROCEDURE {procedure}(v VARCHAR(60)) INSERT INTO {table} VALUES (v)"),
            format!("CREATE SQL SECURITY INVOKER VIEW {view} AS SELECT {function}('by_view') AS v"),
        ] {
            root.query_drop(sql).unwrap();
        }
        topology.settle();
        all
    }

    fn fill(&self, sql: &str, marker: &str) -> String {
        sql.replace("{m}", marker)
            .replace("{t}", &self.table)
            .replace("{f}", &self.function)
            .replace("{p}", &self.procedure)
            .replace("{v}", &self.view)
    }
}

impl Drop for Writers<'_> {
    fn drop(&mut self) {
        let mut root = self.topology.root(0);
        let _ = root.query_drop(format!("DROP VIEW {}", self.view));
        let _ = root.query_drop(format!("DROP PROCEDURE {}", self.procedure));
        let _ = root.query_drop(format!("DROP FUNCTION {}", self.function));
    }
}

type Way = fn(&mut Handle, &str) -> mysql_mux::Result<()>;

/// The ways to run a statement.
const WAYS: [(&str, Way); 4] = [
    ("text", |handle, sql| handle.query_drop(sql)),
    ("prepared", |handle, sql| handle.exec_drop(sql, ())),
    ("streamed", |handle, sql| {
        let mut result = handle.query_iter(sql)?;
        while let Some(set) = result.iter() {
            for row in set {
                row?;
            }
        }
        Ok(())
    }),
    ("piped", |handle, sql| {
        let results = handle.pipeline(|pipe| {
            pipe.query("SELECT 1");
            pipe.query(sql);
            Ok(())
        })?;
        results.into_iter().try_for_each(|result| result.map(drop))
    }),
];

const BOTH: &[&str] = &[
    "SELECT '{m}', v FROM {t} FOR UPDATE",
    "SELECT '{m}', v FROM {t} LOCK IN SHARE MODE",
    "(SELECT '{m}', v FROM {t} FOR UPDATE)",
    "SELECT '{m}', 1 UNION (SELECT 1, v FROM {t} FOR UPDATE)",
    "WITH x AS (SELECT 1 AS n) SELECT '{m}', v FROM {t}, x FOR UPDATE",
    "/*!50000 SELECT '{m}', v FROM {t} FOR UPDATE */",
    "SELECT '{m}', v FROM {t} /*!50000 FOR UPDATE */",
    "SELECT '{m}', GET_LOCK('{m}', 0)",
    "SELECT '{m}', RELEASE_LOCK('{m}')",
    "SELECT '{m}', IS_FREE_LOCK('{m}')",
    "SELECT '{m}', IS_USED_LOCK('{m}')",
    "SELECT '{m}', v INTO @a, @b FROM {t} LIMIT 1",
    "SELECT @v := '{m}'",
    "SELECT '{m}', LAST_INSERT_ID(7)",
    "SELECT '{m}', CONNECTION_ID()",
    "SELECT {f}('{m}')",
    "SELECT '{m}' AS v UNION SELECT {f}('{m}')",
    "SELECT '{m}', v FROM {v}",
    "DO {f}('{m}')",
    "CALL {p}('{m}')",
    "EXPLAIN SELECT '{m}' FROM {t}",
];

const OF_MYSQL: &[&str] = &[
    "SELECT '{m}', v FROM {t} FOR SHARE",
    "SELECT '{m}', v FROM {t} FOR UPDATE SKIP LOCKED",
];

const OF_MARIADB: &[&str] = &[
    "INSERT INTO {t} VALUES ('{m}') RETURNING v",
    "SELECT '{m}', v FROM {t} FOR UPDATE NOWAIT",
    "ANALYZE DELETE FROM {t} WHERE v = 'no {m}'",
    "SELECT '{m}', SLEEP(0) INTO @a, @b",
];

// Rule 10: whatever began with SELECT was sent to a slave, where a lock locks nothing, a write is lost or
// ends the replication, and what is set is set for whoever comes next.
#[test]
fn what_only_begins_like_a_read_goes_to_the_primary() {
    let _alone = alone();
    let topology = Topology::new();
    let writers = Writers::new(&topology);
    let seen = topology.watch();
    let mut handle = builder().build().connect(topology.opts()).unwrap();
    let own = match topology.is_mysql() {
        true => OF_MYSQL,
        false => OF_MARIADB,
    };
    let all: Vec<_> = BOTH.iter().chain(own).collect();
    let mut markers = Vec::new();
    for (way, run) in WAYS {
        for (at, sql) in all.iter().enumerate() {
            let marker = format!("rule_10_{way}_{at}");
            // Nothing holds it to where the last one ran.
            handle.reset().unwrap();
            run(&mut handle, &writers.fill(sql, &marker))
                .unwrap_or_else(|e| panic!("{way}: {sql}: {e}"));
            markers.push((marker, way, sql));
        }
    }
    for (marker, way, sql) in markers {
        assert_eq!(seen.ran(&marker), [0], "{way}: {sql}");
    }
    topology.settle();
    // What a replica had been sent, it would have by itself alone.
    let rows = format!("SELECT v, COUNT(*) FROM {} GROUP BY v", writers.table);
    let mut written: Vec<Vec<(String, u32)>> = Vec::new();
    for node in 0..topology.nodes.len() {
        let mut rows: Vec<(String, u32)> = topology.root(node).query(&*rows).unwrap();
        rows.sort();
        written.push(rows);
    }
    assert!(written[0].len() > 8, "{:?}", written[0]);
    assert!(
        written.iter().all(|rows| *rows == written[0]),
        "{written:?}"
    );
}

// The same rule, where definitions are not looked at: who may not write to a server that is read-only is refused
// there, and nothing has run. Then it is a write like any other: the handle reads it.
#[test]
fn what_turns_out_to_write_on_a_replica_goes_to_the_primary() {
    let _alone = alone();
    let topology = Topology::new();
    if topology.is_galera() {
        return;
    }
    let writers = Writers::new(&topology);
    let user = User::new("writes");
    let mut root = topology.root(0);
    for sql in [
        "REVOKE ALL ON *.* FROM {u}",
        "GRANT ALL ON mux_test.* TO {u}",
    ] {
        root.query_drop(sql.replace("{u}", &format!("'{}'@'%'", user.name)))
            .unwrap();
    }
    topology.settle();
    let opts = opts_of(&topology, &user).isolation(Isolation::Reset);
    let mut handle = builder().build().connect(opts).unwrap();
    let count = format!("SELECT COUNT(*) FROM {}", writers.table);
    // A group's replicas, as they are held back here, would have it wait and not refuse it.
    let paused = (!topology.is_group()).then(|| topology.pause());
    for written in 1..=5 {
        handle
            .query_drop(format!("SELECT v FROM {}", writers.view))
            .unwrap();
        assert_eq!(one::<u32>(&mut root, &count), written);
        assert_eq!(one::<u32>(&mut handle, &count), written);
    }
    drop(paused);
    topology.settle();
    for node in 0..topology.nodes.len() {
        assert_eq!(one::<u32>(&mut topology.root(node), &count), 5);
    }
}

// The same rule: behind a read that goes to a replica, its packet has a write.
#[test]
fn of_several_statements_in_one_the_worst_counts() {
    let _alone = alone();
    let topology = Topology::new();
    let table = topology.table("several", "v INT");
    let seen = topology.watch();
    let mut handle = builder().build().connect(topology.opts()).unwrap();
    handle
        .query_drop(format!(
            "SELECT 'several_1'; INSERT INTO {table} VALUES (1); SELECT v FROM {table}"
        ))
        .unwrap();
    let piped = handle.pipeline(|pipe| {
        pipe.query("SELECT 'several_2'");
        pipe.query(format!("INSERT INTO {table} VALUES (2)"));
        pipe.query(format!("SELECT 'several_3', COUNT(*) FROM {table}"));
        Ok(())
    });
    let rows = piped.unwrap().pop().unwrap().unwrap();
    assert_eq!(rows.rows::<(String, u32)>().unwrap()[0].1, 2);
    for word in ["several_1", "several_2", "several_3"] {
        assert_eq!(seen.ran(word), [0], "{word}");
    }
}

// The same rule: a file is written where it is looked for. A server that refuses files is not taken for one
// that refuses writes, though the error's code is the same.
#[test]
fn a_file_is_written_by_the_primary() {
    let _alone = alone();
    let topology = Topology::new();
    let table = topology.table("filed", "v INT");
    let seen = topology.watch();
    let mux = builder().acquire_timeout(SOON).build();
    let mut handle = mux.connect(topology.opts()).unwrap();
    for (how, marker) in [("OUTFILE", "file_1"), ("DUMPFILE", "file_2")] {
        let file = Path::new(topology.nodes[0].var("DATADIR")).join(unique("out"));
        let sql = format!("SELECT '{marker}' INTO {how} '{}'", file.display());
        match handle.query_drop(sql) {
            Ok(()) => fs::remove_file(&file).unwrap(),
            Err(e) => assert_eq!(e.code(), Some(1290), "{e}"),
        }
        assert_eq!(seen.ran(marker), [0], "{how}");
        handle
            .query_drop(format!("INSERT INTO {table} VALUES (1)"))
            .unwrap();
    }
}

// Rule 14.
#[test]
fn where_no_replica_can_be_used_the_primary_is_read() {
    let _alone = alone();
    let topology = Topology::new();
    let primary = &topology.nodes[0];
    let opts = primary
        .tcp()
        .prefer_socket(false)
        .backend(Backend::new("127.0.0.1", nobody()));
    let seen = topology.watch();
    let mut handle = builder().build().connect(opts).unwrap();
    handle.query_drop("SELECT 'failsafe'").unwrap();
    assert_eq!(seen.ran("failsafe"), [0]);
}

// Rule 16: a client without a schema had the command for the schema "" sent in front of each statement, which
// fails; and one that a text had chosen was not known.
#[test]
fn the_schema_is_the_handles_own_on_each_server_and_so_is_none() {
    let _alone = alone();
    let topology = Topology::new();
    let mux = builder().max_links(1).build();
    let connect = |name| mux.connect(topology.opts().db_name(name)).unwrap();
    let mut none = connect(None::<&str>);
    let mut by_opts = connect(Some("mux_test"));
    let mut by_text = connect(Some("mux_test"));
    by_text.query_drop("USE mysql").unwrap();
    let mut by_comment = connect(None);
    by_comment
        .query_drop("/* in front */ use `information_schema`;")
        .unwrap();
    let mut by_command = connect(None);
    by_command.select_db("mysql").unwrap();
    let mut is = [
        (&mut none, None),
        (&mut by_opts, Some("mux_test")),
        (&mut by_text, Some("mysql")),
        (&mut by_comment, Some("information_schema")),
        (&mut by_command, Some("mysql")),
    ];
    for _ in 0..5 {
        for (handle, name) in &mut is {
            for hint in ["primary", "replica", "any"] {
                let sql = format!("/* mux:{hint} */ SELECT DATABASE()");
                let found: Option<String> = one(*handle, &sql);
                assert_eq!(found.as_deref(), *name, "{hint}");
            }
        }
    }
    // Plain names mean what they mean there, and nothing where there is none.
    let e = error_of(none.query_drop("SELECT * FROM db LIMIT 0"));
    assert_eq!(e.code(), Some(1046), "{e}");
    by_text.query_drop("SELECT * FROM db LIMIT 0").unwrap();
    by_command.query_drop("SELECT * FROM db LIMIT 0").unwrap();
    // A schema that is gone leaves none, on each server.
    let gone = unique("gone");
    for sql in ["CREATE DATABASE", "USE", "DROP DATABASE"] {
        by_opts.query_drop(format!("{sql} {gone}")).unwrap();
    }
    for hint in ["primary", "replica", "any"] {
        let sql = format!("/* mux:{hint} */ SELECT DATABASE()");
        assert_eq!(one::<Option<String>>(&mut by_opts, &sql), None, "{hint}");
    }
}

// Rule 17: the client was told that "can't change DB", without the server's code; what a server lacks
// otherwise was its own to tell.
#[test]
fn what_one_server_lacks_is_told_in_that_servers_words() {
    let _alone = alone();
    let topology = Topology::new();
    if topology.is_galera() {
        // What one lacks, all lack.
        return;
    }
    let name = unique("lacking");
    let mut root = topology.root(0);
    for sql in [
        "SET sql_log_bin = 0".into(),
        format!("CREATE DATABASE {name}"),
        format!("CREATE TABLE {name}.t (v INT)"),
        format!("CREATE TABLE mux_test.{name} (v INT)"),
    ] {
        root.query_drop(sql).unwrap();
    }
    let mut handle = builder().build().connect(topology.opts()).unwrap();
    let e = error_of(handle.query_drop(format!("SELECT v FROM {name}")));
    assert_eq!(e.code(), Some(1146), "{e}");
    handle
        .query_drop(format!("/* mux:primary */ SELECT v FROM {name}"))
        .unwrap();
    handle.select_db(&name).unwrap();
    let e = error_of(handle.query_drop("SELECT v FROM t")).to_string();
    let replicas = &topology.nodes[1..];
    assert!(e.contains("1049") && e.contains(&name), "{e}");
    assert!(
        replicas
            .iter()
            .any(|node| e.contains(&node.port.to_string())),
        "{e}"
    );
    // It is the statement that failed, not the handle.
    handle
        .query_drop("/* mux:primary */ SELECT v FROM t")
        .unwrap();
    root.query_drop(format!("DROP DATABASE {name}")).unwrap();
    root.query_drop(format!("DROP TABLE mux_test.{name}"))
        .unwrap();
}

// Rule 20: what was over `max_idle_connections` was never closed.
#[test]
fn what_nobody_needs_any_more_is_closed_on_each_server() {
    let _alone = alone();
    let topology = Topology::new();
    let user = user(&topology, "reaped");
    let opts = opts_of(&topology, &user).prefer(Prefer::Any);
    for builder in [
        builder().max_idle_links(1),
        builder().idle_timeout(Duration::from_secs(1)),
    ] {
        let mux = builder.build();
        crowd(&mux, &opts);
        let _handle = mux.connect(opts.clone()).unwrap();
        // Each server is asked over one how it is.
        eventually("one link to each server at most", || {
            connections(&topology, &user)
                .iter()
                .all(|links| links.len() <= 1)
        });
        mux.shutdown(GENEROUS);
        eventually("none is left", || {
            connections(&topology, &user).concat().is_empty()
        });
    }
    let mux = builder().linger(Duration::ZERO).build();
    crowd(&mux, &opts);
    eventually("none is left behind the last handle", || {
        connections(&topology, &user).concat().is_empty()
    });
}

// Rule 21: a client's COM_CHANGE_USER changed one of its connections.
#[test]
fn who_becomes_another_user_is_that_user_on_each_server() {
    let _alone = alone();
    let topology = Topology::new();
    let users = [user(&topology, "before"), user(&topology, "behind")];
    let table = topology.table("changed", "v INT");
    let seen = topology.watch();
    let mux = builder().build();
    let mut handle = mux.connect(opts_of(&topology, &users[0])).unwrap();
    handle
        .query_drop("SET @x = 1, time_zone = '+03:00'")
        .unwrap();
    let change = |user: &User| {
        ChangeUserOpts::default()
            .with_user(Some(user.name.clone()))
            .with_pass(Some(user.password.clone()))
    };
    handle.change_user(change(&users[1])).unwrap();
    for hint in ["primary", "replica", "any"] {
        let sql = format!("/* mux:{hint} */ SELECT CURRENT_USER(), FROM_UNIXTIME(0), @x");
        let plain = format!("/* mux:{hint} */ SELECT CURRENT_USER()");
        let (who, zone, x): (String, String, Option<u32>) =
            handle.query_first(sql).unwrap().unwrap();
        assert!(who.starts_with(&users[1].name), "{who}");
        assert!(!zone.ends_with("03:00:00"), "{zone}");
        assert_eq!(x, None);
        assert!(one::<String>(&mut handle, &plain).starts_with(&users[1].name));
    }
    // It is routed as before.
    handle
        .query_drop(format!("INSERT INTO {table} VALUES (1) /* changed_1 */"))
        .unwrap();
    let rows: Vec<Row> = handle.query(format!("SELECT v FROM {table}")).unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(seen.ran("changed_1"), [0]);
    // Who is refused stays who it was.
    let wrong = change(&users[0]).with_pass(Some("wrong".into()));
    assert!(handle.change_user(wrong).is_err());
    let who: String = one(&mut handle, "SELECT CURRENT_USER()");
    assert!(who.starts_with(&users[1].name), "{who}");
}
