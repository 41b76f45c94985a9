//! One connection that many use at once: each has its own answers and its own session, as if the
//! others were not there.

mod support;

use std::{
    sync::{Arc, Barrier},
    thread,
};

use mysql_mux::aio;
use support::{
    task::{all, block_on, poll_once},
    *,
};

const THREADS: usize = 64;
const ROUNDS: u64 = 40;

/// Does it in so many threads, each with a handle, all from the same moment.
#[track_caller]
fn together(
    handles: Vec<Handle>,
    each: impl Fn(u64, &mut Handle) + Send + Sync + 'static,
) -> Vec<Handle> {
    let each = Arc::new(each);
    let start = Arc::new(Barrier::new(handles.len()));
    let threads: Vec<_> = (0..)
        .zip(handles)
        .map(|(number, mut handle)| {
            let (each, start) = (Arc::clone(&each), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                each(number, &mut handle);
                handle
            })
        })
        .collect();
    join("threads that use a link together", threads)
}

/// Statements whose answers tell whose they are, of all sizes.
fn ask(number: u64, round: u64, handle: &mut Handle) {
    let me = number * 1000 + round;
    let text = format!("{me:x}").repeat((me % 97) as usize * 20);
    let (n, back): (u64, String) = handle
        .query_first(format!("SELECT {me}, '{text}'"))
        .unwrap()
        .expect("a row");
    assert!(n == me && back == text, "{me} has the answer of {n}");
    let (n, back): (u64, String) = handle
        .exec_first("SELECT ? + 1, ?", (me, &text))
        .unwrap()
        .expect("a row");
    assert!(n == me + 1 && back == text, "{me} has the answer of {n}");
    let numbers: Vec<u64> = handle
        .query(format!("SELECT {me} UNION ALL SELECT {} ", me + 1))
        .unwrap();
    assert_eq!(numbers, [me, me + 1]);
}

#[track_caller]
fn each_gets_its_own_answers(user: &User, opts: &OptsBuilder) {
    let mux = builder().max_links(1).build();
    let handles = handles(&mux, opts, THREADS);
    let before = mux.stats().total;
    let handles = together(handles, |number, handle| {
        for round in 0..ROUNDS {
            ask(number, round, handle);
        }
    });
    let after = mux.stats().total;
    assert_eq!(user.connections(&mut server().root()), 1);
    assert_eq!(after.connect_success, 1);
    let statements = after.statements - before.statements;
    assert_eq!(statements, THREADS as u64 * ROUNDS * 3);
    let writes = after.writes - before.writes;
    assert!(
        writes < statements,
        "{writes} writes for {statements} statements"
    );
    drop(handles);
}

#[test]
fn sixty_four_threads_over_one_link_get_each_its_own_answers_over_tcp() {
    let user = User::new("lanetcp");
    each_gets_its_own_answers(&user, &user.tcp());
}

#[test]
fn sixty_four_threads_over_one_link_get_each_its_own_answers_over_the_unix_socket() {
    let user = User::new("lanesocket");
    each_gets_its_own_answers(&user, &user.socket());
}

#[cfg(feature = "compress")]
#[test]
fn sixty_four_threads_over_one_link_get_each_its_own_answers_compressed() {
    let user = User::new("lanezip");
    each_gets_its_own_answers(
        &user,
        &user.tcp().compress(Some(mysql_mux::Compression::default())),
    );
}

#[cfg(feature = "compress")]
#[test]
fn sixty_four_threads_over_one_link_get_each_its_own_answers_compressed_over_the_unix_socket() {
    let user = User::new("lanezipsocket");
    each_gets_its_own_answers(
        &user,
        &user.socket().compress(Some(mysql_mux::Compression::best())),
    );
}

#[cfg(feature = "rustls-tls")]
fn tls(user: &User) -> OptsBuilder {
    let ssl = SslOpts::default().with_root_cert_path(Some(server().file("CA")));
    user.tcp().ip_or_hostname(Some("localhost")).ssl_opts(ssl)
}

#[cfg(feature = "rustls-tls")]
#[test]
fn sixty_four_threads_over_one_link_get_each_its_own_answers_over_tls() {
    let user = User::new("lanetls");
    each_gets_its_own_answers(&user, &tls(&user));
}

#[cfg(all(feature = "rustls-tls", feature = "compress"))]
#[test]
fn sixty_four_threads_over_one_link_get_each_its_own_answers_compressed_over_tls() {
    let user = User::new("lanetlszip");
    let opts = tls(&user).compress(Some(mysql_mux::Compression::default()));
    each_gets_its_own_answers(&user, &opts);
}

/// As [`ask`], for a task.
async fn ask_as_task(number: u64, round: u64, handle: &mut aio::Handle) {
    let me = number * 1000 + round;
    let text = format!("{me:x}").repeat((me % 97) as usize * 20);
    let sql = format!("SELECT {me}, '{text}'");
    let (n, back): (u64, String) = handle.query_first(sql).await.unwrap().expect("a row");
    assert!(n == me && back == text, "{me} has the answer of {n}");
    let (n, back): (u64, String) = handle
        .exec_first("SELECT ? + 1, ?", (me, &text))
        .await
        .unwrap()
        .expect("a row");
    assert!(n == me + 1 && back == text, "{me} has the answer of {n}");
}

#[test]
fn threads_and_tasks_over_one_link_get_each_its_own_answers() {
    let user = User::new("lanetasks");
    let mux = builder().max_links(1).build();
    let tasks: Vec<_> = (0..2_u64)
        .map(|thread| {
            let handles: Vec<aio::Handle> = (0..32)
                .map(|_| block_on(mux.connect_async(user.tcp())).unwrap())
                .collect();
            thread::spawn(move || {
                let tasks = (100 * (thread + 1)..)
                    .zip(handles)
                    .map(|(number, mut handle)| async move {
                        for round in 0..ROUNDS {
                            ask_as_task(number, round, &mut handle).await;
                        }
                    })
                    .collect();
                all(tasks);
            })
        })
        .collect();
    together(handles(&mux, &user.tcp(), 32), |number, handle| {
        for round in 0..ROUNDS {
            ask(number, round, handle);
        }
    });
    join("tasks", tasks);
    assert_eq!(user.connections(&mut server().root()), 1);
    assert_eq!(mux.stats().total.connect_success, 1);
}

#[test]
fn tasks_that_go_away_at_any_time_disturb_nobody() {
    let user = User::new("lanegone");
    let mux = builder().max_links(1).build();
    let mut leaves: Vec<aio::Handle> = (0..8)
        .map(|_| block_on(mux.connect_async(user.tcp())).unwrap())
        .collect();
    let leaving = thread::spawn(move || {
        for round in 0..50_u64 {
            let mut begun: Vec<_> = (0_u64..)
                .zip(&mut leaves)
                .map(|(n, handle)| {
                    Box::pin(async move { ask_as_task(5000 + n, round, handle).await })
                })
                .collect();
            // After so many steps, or when the first of them has come to its end.
            for _ in 0..round % 6 {
                if begun
                    .iter_mut()
                    .any(|task| poll_once(task.as_mut()).is_ready())
                {
                    break;
                }
            }
            drop(begun);
            let next = (round % 8) as usize;
            block_on(ask_as_task(6000, round, &mut leaves[next]));
        }
    });
    together(handles(&mux, &user.tcp(), 16), |number, handle| {
        for round in 0..ROUNDS {
            ask(number, round, handle);
        }
    });
    join_one(leaving);
    assert_eq!(user.connections(&mut server().root()), 1);
    assert_eq!(mux.stats().total.connect_success, 1);
    assert_eq!(mux.stats().total.waiting, 0);
}

#[test]
fn a_statement_that_meets_no_other_is_exactly_one_write() {
    let mux = builder().max_links(1).build();
    let mut handle = mux.connect(server().tcp()).unwrap();
    for _ in 0..2 {
        assert_eq!(one::<u64>(&mut handle, "SELECT 1"), 1);
        let _: Option<u64> = handle.exec_first("SELECT ?", (1,)).unwrap();
    }
    let before = mux.stats().total;
    for n in 0..100_u64 {
        assert_eq!(one::<u64>(&mut handle, &format!("SELECT {n}")), n);
        assert_eq!(handle.exec_first("SELECT ?", (n,)).unwrap(), Some(n));
    }
    let after = mux.stats().total;
    assert_eq!(after.statements - before.statements, 200);
    assert_eq!(after.writes - before.writes, 200);
}

#[test]
fn errors_reach_only_those_who_caused_them() {
    let user = User::new("laneerrors");
    let schema = Schema::new("laneerrors");
    let opts = user.tcp().db_name(Some(&schema.name));
    let mux = builder().max_links(1).build();
    let mut first = mux.connect(opts.clone()).unwrap();
    first
        .query_drop("CREATE TABLE t (id INT PRIMARY KEY)")
        .unwrap();
    first.query_drop("INSERT INTO t VALUES (1)").unwrap();

    let handles = handles(&mux, &opts, THREADS);
    together(handles, |number, handle| {
        for round in 0..ROUNDS {
            match number % 6 {
                0 => {
                    let e = error_of(handle.query_drop(format!("SELECT {number} +")));
                    assert_eq!(e.code(), Some(1064), "{e}");
                }
                1 => {
                    let e = error_of(handle.query_drop("INSERT INTO t VALUES (1)"));
                    assert_eq!(e.code(), Some(1062), "{e}");
                }
                2 => {
                    let name = format!("no_such_table_{number}_{round}");
                    let e = error_of(handle.query_drop(format!("SELECT a FROM {name}")));
                    assert_eq!(e.code(), Some(1146), "{e}");
                    assert!(e.to_string().contains(&name), "{e} is not of {name}");
                }
                3 => {
                    let e = error_of(handle.exec_drop("INSERT INTO t VALUES (?)", (1,)));
                    assert_eq!(e.code(), Some(1062), "{e}");
                }
                _ => ask(number, round, handle),
            }
        }
    });
    assert_eq!(one::<u64>(&mut first, "SELECT COUNT(*) FROM t"), 1);
    assert_eq!(user.connections(&mut server().root()), 1);
    assert_eq!(mux.stats().total.lost_connections, 0);
}

/// Whatever is read of this is as the session's `group_concat_max_len` says.
const LENGTH: &str = "SELECT LENGTH(GROUP_CONCAT(REPEAT('x', 500)))";

/// `INSERT INTO t`, which is nothing special by its text, changes a variable of the session.
fn with_a_trigger(schema: &Schema) {
    // On MySQL with a binary log a trigger takes more than all rights of a schema.
    let mut root = server().root();
    root.query_drop(format!("USE `{}`", schema.name)).unwrap();
    root.query_drop("CREATE TABLE t (id INT)").unwrap();
    root.query_drop(
        "CREATE TRIGGER changes BEFORE INSERT ON t FOR EACH ROW \
         SET SESSION group_concat_max_len = 77",
    )
    .unwrap();
    root.query_drop("USE mysql").unwrap();
}

#[test]
fn a_session_that_a_trigger_changed_is_not_shared_on() {
    let schema = Schema::new("lanetrigger");
    with_a_trigger(&schema);
    for max_links in [1, 3] {
        let mux = builder().max_links(max_links).build();
        let mut handles = handles(&mux, &schema.tcp(), 8);
        for round in 0..4 {
            for handle in &mut handles {
                assert_eq!(one::<u64>(handle, LENGTH), 500);
            }
            let inserts = &mut handles[round];
            inserts.query_drop("INSERT INTO t VALUES (1)").unwrap();
            for (number, handle) in handles.iter_mut().enumerate() {
                if number > round {
                    assert_eq!(one::<u64>(handle, LENGTH), 500, "another's session is seen");
                }
            }
            // What it set is its own business, and over now.
            handles[round].reset().unwrap();
        }
    }
}

#[test]
fn nobody_who_asks_meanwhile_sees_a_session_that_a_trigger_changed() {
    let schema = Schema::new("lanetrigger2");
    with_a_trigger(&schema);
    let mux = builder().max_links(1).build();
    let mut first = mux.connect(schema.tcp()).unwrap();
    // Now there is a lane.
    assert_eq!(one::<u64>(&mut first, LENGTH), 500);
    together(handles(&mux, &schema.tcp(), 16), |number, handle| {
        for round in 0..50 {
            if number > 0 {
                assert_eq!(one::<u64>(handle, LENGTH), 500, "another's session is seen");
            } else if round % 10 == 0 {
                handle.query_drop("INSERT INTO t VALUES (1)").unwrap();
                handle.reset().unwrap();
            }
        }
    });
}

#[test]
fn what_a_handle_sets_is_not_seen_by_those_who_share_before_and_after() {
    let user = User::new("laneset");
    for max_links in [1, 3] {
        let mux = builder().max_links(max_links).build();
        together(handles(&mux, &user.tcp(), 12), |number, handle| {
            for round in 0..30 {
                if number % 4 != 0 {
                    assert_eq!(one::<u64>(handle, LENGTH), 500);
                    continue;
                }
                let len = 10 + number * 30 + round;
                handle
                    .query_drop(format!("SET SESSION group_concat_max_len = {len}"))
                    .unwrap();
                assert_eq!(one::<u64>(handle, LENGTH), len);
                handle.reset().unwrap();
                assert_eq!(one::<u64>(handle, LENGTH), 500);
            }
        });
        assert!(user.connections(&mut server().root()) <= max_links);
    }
}

/// How a session begins, and what it must then say of itself.
#[derive(Clone, Debug)]
struct Beginning {
    opts: OptsBuilder,
    user: String,
    schema: String,
    concat: u64,
    /// How many letters the two bytes of an `é` are.
    letters: u64,
}

impl Beginning {
    fn check(&self, handle: &mut Handle) {
        assert_eq!(one::<String>(handle, "SELECT name FROM whose"), self.schema);
        let len = one::<u64>(handle, LENGTH);
        assert_eq!(len, self.concat);
        assert_eq!(one::<u64>(handle, "SELECT CHAR_LENGTH('é')"), self.letters);
    }

    fn check_names(&self, handle: &mut Handle) {
        assert_eq!(one::<String>(handle, "SELECT DATABASE()"), self.schema);
        let me: String = one(handle, "SELECT CURRENT_USER()");
        assert_eq!(me, format!("{}@%", self.user));
        let len = one::<u64>(handle, "SELECT @@session.group_concat_max_len");
        match self.concat {
            500 => assert!(len > 500),
            concat => assert_eq!(len, concat),
        }
        let charset: String = one(handle, "SELECT @@session.character_set_client");
        let wanted = if self.letters == 1 {
            "utf8mb4"
        } else {
            "latin1"
        };
        assert_eq!(charset, wanted);
    }
}

#[test]
fn sessions_that_begin_otherwise_are_never_mixed_up() {
    let users = [User::new("lanemixa"), User::new("lanemixb")];
    let schemas = [Schema::new("lanemixa"), Schema::new("lanemixb")];
    let mut root = server().root();
    for schema in &schemas {
        let name = &schema.name;
        root.query_drop(format!("CREATE TABLE `{name}`.whose (name TEXT)"))
            .unwrap();
        root.query_drop(format!("INSERT INTO `{name}`.whose VALUES ('{name}')"))
            .unwrap();
    }
    let mut beginnings = Vec::new();
    for user in &users {
        for schema in &schemas {
            for (concat, init) in [
                (500, vec![]),
                (77, vec!["SET SESSION group_concat_max_len = 77"]),
            ] {
                for (charset, letters) in [("utf8mb4", 1), ("latin1", 2)] {
                    beginnings.push(Beginning {
                        opts: user
                            .tcp()
                            .db_name(Some(&schema.name))
                            .init(init.clone())
                            .charset(charset),
                        user: user.name.clone(),
                        schema: schema.name.clone(),
                        concat,
                        letters,
                    });
                }
            }
        }
    }
    for max_links in [1, 2, 6] {
        let mux = builder().max_links(max_links).build();
        let handles: Vec<Handle> = (0..2)
            .flat_map(|_| &beginnings)
            .map(|b| mux.connect(b.opts.clone()).unwrap())
            .collect();
        let all = beginnings.clone();
        together(handles, move |number, handle| {
            let beginning = &all[number as usize % all.len()];
            for round in 0..12 {
                beginning.check(handle);
                if round % 4 == number % 4 {
                    beginning.check_names(handle);
                }
            }
        });
        // One group for each charset.
        let open: usize = users.iter().map(|u| u.connections(&mut root)).sum();
        assert!(open <= 2 * max_links, "{open} links");
    }
}

#[test]
fn a_link_that_changes_its_user_runs_the_init_statements() {
    let users = [User::new("laneinita"), User::new("laneinitb")];
    let mux = builder().max_links(1).build();
    let mut handles = users.each_ref().map(|user| {
        let init = vec!["SET SESSION group_concat_max_len = 77"];
        mux.connect(user.tcp().init(init)).unwrap()
    });
    for _ in 0..3 {
        for handle in &mut handles {
            assert_eq!(one::<u64>(handle, LENGTH), 77);
        }
    }
}

#[test]
fn alternating_beginnings_get_links_of_their_own() {
    let user = User::new("lanealter");
    let mux = builder().max_links(4).build();
    let opts = |len: u64| {
        user.tcp()
            .init(vec![format!("SET SESSION group_concat_max_len = {len}")])
    };
    let mut handles: Vec<(u64, Handle)> = [77, 88, 99]
        .into_iter()
        .map(|len| (len, mux.connect(opts(len)).unwrap()))
        .collect();
    let mut rounds = |count: usize| {
        for _ in 0..count {
            for (len, handle) in &mut handles {
                let got: u64 = one(handle, LENGTH);
                assert_eq!(got, *len);
            }
        }
        mux.stats().total.resets
    };
    let resets = rounds(50);
    assert_eq!(rounds(50), resets, "they still take each other's link");
    assert_eq!(user.connections(&mut server().root()), 3);
}

#[test]
fn where_there_is_one_link_only_alternating_beginnings_take_turns_on_it() {
    let user = User::new("laneturns");
    let mux = builder().max_links(1).build();
    let init = |len: u64| vec![format!("SET SESSION group_concat_max_len = {len}")];
    let mut a = mux.connect(user.tcp().init(init(77))).unwrap();
    let mut b = mux.connect(user.tcp().init(init(88))).unwrap();
    for _ in 0..20 {
        assert_eq!(one::<u64>(&mut a, LENGTH), 77);
        assert_eq!(one::<u64>(&mut b, LENGTH), 88);
    }
    assert_eq!(user.connections(&mut server().root()), 1);
}

/// Writes and resets that something takes.
fn cost(mux: &Mux, f: impl FnOnce()) -> (u64, u64) {
    let before = mux.stats().total;
    f();
    let after = mux.stats().total;
    (after.writes - before.writes, after.resets - before.resets)
}

#[test]
fn a_read_behind_another_handles_reads_costs_no_round_trip_more() {
    let mux = builder().max_links(1).build();
    let mut handles = handles(&mux, &server().tcp(), 5);
    assert_eq!(one::<u64>(&mut handles[0], "SELECT 1"), 1);
    for handle in &mut handles {
        let cost = cost(&mux, || assert_eq!(one::<u64>(handle, "SELECT 2"), 2));
        assert_eq!(cost, (1, 0));
    }
}

#[test]
fn a_read_on_a_link_of_another_handles_session_begins_its_session_in_the_same_round_trip() {
    let mux = builder().max_links(1).build();
    let opts = server().tcp().isolation(Isolation::Reset);
    let opts = opts.init(vec!["SET @greeting = 'hello'"]);
    let mut a = mux.connect(opts.clone()).unwrap();
    let mut b = mux.connect(opts).unwrap();
    for n in 0..3_u64 {
        a.query_drop("DO 1").unwrap();
        let read = format!("SELECT {n}");
        let cost = cost(&mux, || assert_eq!(one::<u64>(&mut b, &read), n));
        assert_eq!(cost, (1, 1));
    }
}

#[test]
fn a_write_on_a_link_of_another_handles_session_waits_for_its_session_one_round_trip() {
    let schema = Schema::new("lanecost");
    let mux = builder().max_links(1).build();
    let opts = schema.tcp().isolation(Isolation::Reset);
    let opts = opts.init(vec!["SET @greeting = 'hello'"]);
    let mut a = mux.connect(opts.clone()).unwrap();
    let mut b = mux.connect(opts).unwrap();
    a.query_drop("CREATE TABLE t (id INT)").unwrap();
    for n in 0..3_u64 {
        a.query_drop("DO 1").unwrap();
        let write = format!("INSERT INTO t VALUES ({n})");
        let begun = cost(&mux, || b.query_drop(&write).unwrap());
        assert_eq!(begun, (2, 1), "the first after another's");
        let again = cost(&mux, || b.query_drop(&write).unwrap());
        assert_eq!(again, (1, 0), "the next");
    }
}

#[test]
fn a_write_behind_another_handles_writes_costs_no_round_trip_more() {
    let schema = Schema::new("lanewrites");
    let mux = builder().max_links(1).build();
    let mut handles = handles(&mux, &schema.tcp(), 4);
    handles[0].query_drop("CREATE TABLE t (id INT)").unwrap();
    handles[0].query_drop("INSERT INTO t VALUES (0)").unwrap();
    assert_eq!(one::<u64>(&mut handles[1], "SELECT COUNT(*) FROM t"), 1);
    for handle in &mut handles {
        let cost = cost(&mux, || {
            handle.query_drop("INSERT INTO t VALUES (1)").unwrap();
        });
        assert_eq!(cost, (1, 0));
    }
}

#[test]
fn a_transaction_among_many_has_the_link_alone_and_gives_it_back() {
    let user = User::new("lanetxn");
    let schema = Schema::new("lanetxn");
    let opts = user.tcp().db_name(Some(&schema.name));
    let mux = builder().max_links(1).build();
    let mut first = mux.connect(opts.clone()).unwrap();
    first.query_drop("CREATE TABLE t (n INT)").unwrap();
    first.query_drop("INSERT INTO t VALUES (0)").unwrap();
    together(handles(&mux, &opts, 16), |number, handle| {
        for round in 0..20 {
            if number % 4 > 0 {
                ask(number, round, handle);
                // Between the two steps of a transaction the number is odd; nobody sees that.
                assert_eq!(one::<u64>(handle, "SELECT n % 2 FROM t"), 0);
                continue;
            }
            handle.query_drop("START TRANSACTION").unwrap();
            let n: u64 = one(handle, "SELECT n FROM t FOR UPDATE");
            handle.query_drop("UPDATE t SET n = n + 1").unwrap();
            handle.query_drop("UPDATE t SET n = n + 1").unwrap();
            assert_eq!(one::<u64>(handle, "SELECT n FROM t"), n + 2);
            handle.query_drop("COMMIT").unwrap();
        }
    });
    assert_eq!(one::<u64>(&mut first, "SELECT n FROM t"), 4 * 20 * 2);
    assert_eq!(user.connections(&mut server().root()), 1);
}
