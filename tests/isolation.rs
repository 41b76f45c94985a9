//! What a handle sees of another one's session: everything with `Shared`, nothing with `Reset`.

mod support;

use support::*;

/// A mux with one link, so that handles can't avoid each other.
fn one_link() -> Mux {
    builder().max_links(1).build()
}

fn reset() -> OptsBuilder {
    server().tcp().isolation(Isolation::Reset)
}

fn shared() -> OptsBuilder {
    server().tcp().isolation(Isolation::Shared)
}

mod shared {
    use super::*;

    #[test]
    fn what_one_handle_sets_the_other_sees() {
        let mux = one_link();
        let mut a = mux.connect(shared()).unwrap();
        let mut b = mux.connect(shared()).unwrap();
        a.query_drop("SET @x = 42").unwrap();
        assert_eq!(one::<i64>(&mut b, "SELECT @x"), 42);
        b.query_drop("SET SESSION sql_mode = 'ANSI'").unwrap();
        assert!(one::<String>(&mut a, "SELECT @@sql_mode").contains("ANSI"));
    }

    #[test]
    fn one_link_serves_all_however_many_may_be_opened() {
        let user = User::new("sharedone");
        let mux = builder().max_links(8).build();
        let handles: Vec<Handle> = (0..8)
            .map(|_| {
                mux.connect(user.tcp().isolation(Isolation::Shared))
                    .unwrap()
            })
            .collect();
        let threads: Vec<_> = handles
            .into_iter()
            .map(|mut handle| {
                std::thread::spawn(move || {
                    for _ in 0..50 {
                        handle.query_drop("DO 1").unwrap();
                    }
                    handle
                })
            })
            .collect();
        let handles: Vec<Handle> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        assert_eq!(user.connections(&mut server().root()), 1);
        assert_eq!(handles.len(), 8);
    }

    #[test]
    fn a_new_handle_finds_what_was_set_before_it_came() {
        let mux = one_link();
        let mut a = mux.connect(shared()).unwrap();
        a.query_drop("SET @x = 1").unwrap();
        let mut b = mux.connect(shared()).unwrap();
        assert_eq!(one::<i64>(&mut b, "SELECT @x"), 1);
    }

    #[test]
    fn the_url_asks_for_it() {
        let url = server().url();
        let glue = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{glue}isolation=shared");
        let mux = one_link();
        let mut a = mux.connect(url.as_str()).unwrap();
        let mut b = mux.connect(url.as_str()).unwrap();
        a.query_drop("SET @x = 5").unwrap();
        assert_eq!(one::<i64>(&mut b, "SELECT @x"), 5);
    }

    #[test]
    fn shared_and_reset_handles_see_nothing_of_each_other() {
        let mux = mux();
        let mut a = mux.connect(shared()).unwrap();
        let mut b = mux.connect(reset()).unwrap();
        a.query_drop("SET @x = 1").unwrap();
        assert_eq!(one::<Option<i64>>(&mut b, "SELECT @x"), None);
        b.query_drop("SET @x = 2").unwrap();
        assert_eq!(one::<i64>(&mut a, "SELECT @x"), 1);
    }
}

mod reset {
    use super::*;

    #[test]
    fn what_one_handle_sets_it_keeps_and_no_other_sees() {
        let user = User::new("resetset");
        // Two links suffice: a session that holds state stays on its link.
        let mux = builder().max_links(3).build();
        let mut a = mux.connect(user.tcp().isolation(Isolation::Reset)).unwrap();
        let mut b = mux.connect(user.tcp().isolation(Isolation::Reset)).unwrap();
        a.query_drop("SET SESSION sql_mode = 'ANSI', lock_wait_timeout = 77")
            .unwrap();
        for _ in 0..3 {
            assert_ne!(one::<u64>(&mut b, "SELECT @@lock_wait_timeout"), 77);
            assert!(!one::<String>(&mut b, "SELECT @@sql_mode").contains("ANSI"));
        }
        assert_eq!(one::<u64>(&mut a, "SELECT @@lock_wait_timeout"), 77);
        assert!(one::<String>(&mut a, "SELECT @@sql_mode").contains("ANSI"));
    }

    #[test]
    fn a_variable_that_one_handle_set_does_not_leak_when_it_is_gone() {
        let mux = one_link();
        let mut a = mux.connect(reset()).unwrap();
        a.query_drop("SET @x = 1").unwrap();
        a.query_drop("SET SESSION lock_wait_timeout = 77").unwrap();
        drop(a);
        let mut b = mux.connect(reset()).unwrap();
        assert_eq!(one::<Option<i64>>(&mut b, "SELECT @x"), None);
        assert_ne!(one::<u64>(&mut b, "SELECT @@lock_wait_timeout"), 77);
    }

    #[test]
    fn a_user_variable_is_kept_for_its_handle_and_hidden_from_the_others() {
        let mux = builder().max_links(3).build();
        let mut a = mux.connect(reset()).unwrap();
        let mut b = mux.connect(reset()).unwrap();
        a.query_drop("SET @x = 1").unwrap();
        assert_eq!(one::<Option<i64>>(&mut b, "SELECT @x"), None);
        b.query_drop("SET @x = 2").unwrap();
        assert_eq!(one::<i64>(&mut a, "SELECT @x"), 1);
        assert_eq!(one::<i64>(&mut b, "SELECT @x"), 2);
    }

    #[test]
    fn a_user_variable_set_in_an_expression_never_reaches_another_handle() {
        let mux = one_link();
        let mut a = mux.connect(reset()).unwrap();
        let set: Vec<i64> = a.query("SELECT @leak := 9").unwrap();
        assert_eq!(set, [9]);
        a.query_drop("SELECT 8 INTO @leak2").unwrap();
        drop(a);
        let mut b = mux.connect(reset()).unwrap();
        let seen: Option<(Option<i64>, Option<i64>)> =
            b.query_first("SELECT @leak, @leak2").unwrap();
        assert_eq!(seen, Some((None, None)));
    }

    #[test]
    fn a_transaction_stays_with_its_handle_and_the_others_go_elsewhere() {
        let schema = Schema::new("resettx");
        let mux = builder().max_links(2).build();
        let mut a = mux.connect(schema.tcp()).unwrap();
        let mut b = mux.connect(schema.tcp()).unwrap();
        a.query_drop("CREATE TABLE t (a INT PRIMARY KEY) ENGINE=InnoDB")
            .unwrap();
        a.query_drop("START TRANSACTION").unwrap();
        a.query_drop("INSERT INTO t VALUES (1)").unwrap();
        for _ in 0..3 {
            assert_eq!(one::<u64>(&mut b, "SELECT COUNT(*) FROM t"), 0);
        }
        assert_eq!(one::<u64>(&mut a, "SELECT COUNT(*) FROM t"), 1);
        a.query_drop("COMMIT").unwrap();
        assert_eq!(one::<u64>(&mut b, "SELECT COUNT(*) FROM t"), 1);
    }

    #[test]
    fn autocommit_off_is_a_transaction_from_the_first_statement_on() {
        let schema = Schema::new("autocommit");
        let mux = builder().max_links(2).build();
        let mut a = mux.connect(schema.tcp()).unwrap();
        let mut b = mux.connect(schema.tcp()).unwrap();
        a.query_drop("CREATE TABLE t (a INT PRIMARY KEY) ENGINE=InnoDB")
            .unwrap();
        a.query_drop("SET autocommit = 0").unwrap();
        a.query_drop("INSERT INTO t VALUES (1)").unwrap();
        assert_eq!(one::<u64>(&mut b, "SELECT COUNT(*) FROM t"), 0);
        assert_eq!(one::<u8>(&mut b, "SELECT @@autocommit"), 1);
        a.query_drop("COMMIT").unwrap();
        assert_eq!(one::<u64>(&mut b, "SELECT COUNT(*) FROM t"), 1);
        assert_eq!(one::<u8>(&mut a, "SELECT @@autocommit"), 0);
    }

    #[test]
    fn the_schema_follows_each_handle_over_one_link() {
        let (one_schema, other) = (Schema::new("follow1"), Schema::new("follow2"));
        let mux = one_link();
        let mut a = mux.connect(one_schema.tcp()).unwrap();
        let mut b = mux.connect(other.tcp()).unwrap();
        let mut none = mux.connect(reset().db_name(None::<String>)).unwrap();
        for _ in 0..2 {
            assert_eq!(one::<String>(&mut a, "SELECT DATABASE()"), one_schema.name);
            assert_eq!(one::<String>(&mut b, "SELECT DATABASE()"), other.name);
            assert_eq!(one::<Option<String>>(&mut none, "SELECT DATABASE()"), None);
        }
    }

    #[test]
    fn a_schema_chosen_later_follows_its_handle_too() {
        let (one_schema, other) = (Schema::new("later1"), Schema::new("later2"));
        let mux = one_link();
        let mut a = mux.connect(reset()).unwrap();
        let mut b = mux.connect(reset()).unwrap();
        a.query_drop(format!("USE {}", one_schema.name)).unwrap();
        b.select_db(&other.name).unwrap();
        for _ in 0..2 {
            assert_eq!(one::<String>(&mut a, "SELECT DATABASE()"), one_schema.name);
            assert_eq!(one::<String>(&mut b, "SELECT DATABASE()"), other.name);
        }
        let e = error_of(b.select_db("no_such_schema"));
        assert_eq!(e.code(), Some(1049), "{e}");
        assert_eq!(one::<String>(&mut b, "SELECT DATABASE()"), other.name);
    }

    #[test]
    fn init_statements_run_before_a_sessions_first_statement_and_again_after_each_reset() {
        let schema = Schema::new("init");
        let mux = one_link();
        let mut watch = mux.connect(schema.tcp()).unwrap();
        let with = |n: u8| {
            schema.tcp().init(vec![
                format!("SET @who = {n}"),
                format!("SET lock_wait_timeout = {n}"),
            ])
        };
        let mut a = mux.connect(with(21)).unwrap();
        let mut b = mux.connect(with(22)).unwrap();
        for _ in 0..2 {
            assert_eq!(one::<u8>(&mut a, "SELECT @@lock_wait_timeout"), 21);
            assert_eq!(one::<u8>(&mut a, "SELECT @who"), 21);
            assert_eq!(one::<u8>(&mut b, "SELECT @@lock_wait_timeout"), 22);
            assert_eq!(one::<u8>(&mut b, "SELECT @who"), 22);
        }
        assert_eq!(one::<Option<u8>>(&mut watch, "SELECT @who"), None);
    }

    #[test]
    fn an_init_statement_that_fails_is_the_handles_error_and_no_other_handles() {
        let mux = one_link();
        let mut good = mux.connect(reset()).unwrap();
        let bad = reset().init(vec!["SELECT * FROM no_such_table_at_all"]);
        let e = error_of(
            mux.connect(bad)
                .and_then(|mut handle| handle.query_drop("DO 1")),
        );
        assert_eq!(e.code(), Some(1146), "{e}");
        assert_eq!(one::<u8>(&mut good, "SELECT 1"), 1);
    }

    #[test]
    fn a_temporary_table_is_kept_for_its_handle_and_never_leaks() {
        let schema = Schema::new("temp");
        let mux = builder().max_links(2).build();
        let mut a = mux.connect(schema.tcp()).unwrap();
        let mut b = mux.connect(schema.tcp()).unwrap();
        a.query_drop("CREATE TEMPORARY TABLE t (a INT)").unwrap();
        a.query_drop("INSERT INTO t VALUES (1)").unwrap();
        let e = error_of(b.query_drop("SELECT * FROM t"));
        assert_eq!(e.code(), Some(1146), "{e}");
        assert_eq!(one::<u64>(&mut a, "SELECT COUNT(*) FROM t"), 1);
        drop(a);
        let mut c = mux.connect(schema.tcp()).unwrap();
        for handle in [&mut b, &mut c] {
            let e = error_of(handle.query_drop("SELECT * FROM t"));
            assert_eq!(e.code(), Some(1146), "{e}");
        }
    }

    #[test]
    fn a_role_never_leaks() {
        let user = User::new("roleuser");
        let role = unique("role");
        let mut root = server().root();
        root.query_drop(format!("CREATE ROLE {role}")).unwrap();
        root.query_drop(format!("GRANT {role} TO '{}'@'%'", user.name))
            .unwrap();
        let none = |role: Option<String>| role.is_none_or(|role| role == "NONE");

        let mux = one_link();
        let mut a = mux.connect(user.tcp().isolation(Isolation::Reset)).unwrap();
        a.query_drop(format!("SET ROLE {role}")).unwrap();
        let active: String = one(&mut a, "SELECT CURRENT_ROLE()");
        assert!(active.contains(&role), "{active}");
        drop(a);
        let mut b = mux.connect(user.tcp().isolation(Isolation::Reset)).unwrap();
        assert!(none(one(&mut b, "SELECT CURRENT_ROLE()")));

        // And not by way of a change of identity, which keeps it on MariaDB.
        let mut a = mux.connect(user.tcp().isolation(Isolation::Reset)).unwrap();
        drop(b);
        a.query_drop(format!("SET ROLE {role}")).unwrap();
        drop(a);
        let other = User::new("roleother");
        let mut c = mux.connect(other.tcp()).unwrap();
        assert!(none(one(&mut c, "SELECT CURRENT_ROLE()")));
        root.query_drop(format!("DROP ROLE {role}")).unwrap();
    }

    #[test]
    fn a_lock_by_name_ends_with_its_handle() {
        let lock = unique("lock");
        let mux = builder().max_links(2).build();
        let mut a = mux.connect(reset()).unwrap();
        assert_eq!(
            one::<i64>(&mut a, &format!("SELECT GET_LOCK('{lock}', 0)")),
            1
        );
        drop(a);
        let mut root = server().root();
        let mut b = mux.connect(reset()).unwrap();
        eventually("the lock is free", || {
            // Whatever session stood there, its next owner begins without it.
            b.query_drop("DO 1").unwrap();
            one::<i64>(&mut root, &format!("SELECT IS_FREE_LOCK('{lock}')")) == 1
        });
    }

    #[test]
    fn a_table_lock_is_held_for_its_handle() {
        let schema = Schema::new("tablelock");
        let mux = builder().max_links(2).build();
        let mut a = mux.connect(schema.tcp()).unwrap();
        let mut b = mux.connect(schema.tcp()).unwrap();
        a.query_drop("CREATE TABLE t (a INT)").unwrap();
        a.query_drop("LOCK TABLES t WRITE").unwrap();
        b.query_drop("SET lock_wait_timeout = 1").unwrap();
        let e = error_of(b.query_drop("INSERT INTO t VALUES (1)"));
        assert_eq!(e.code(), Some(1205), "{e}");
        a.query_drop("INSERT INTO t VALUES (2)").unwrap();
        a.query_drop("UNLOCK TABLES").unwrap();
        b.query_drop("INSERT INTO t VALUES (1)").unwrap();
    }

    #[test]
    fn a_dropped_handles_table_lock_is_gone() {
        let schema = Schema::new("droplock");
        let mux = builder().max_links(2).build();
        let mut a = mux.connect(schema.tcp()).unwrap();
        let mut b = mux.connect(schema.tcp()).unwrap();
        a.query_drop("CREATE TABLE t (a INT)").unwrap();
        a.query_drop("LOCK TABLES t WRITE").unwrap();
        drop(a);
        b.query_drop("SET lock_wait_timeout = 20").unwrap();
        b.query_drop("INSERT INTO t VALUES (1)").unwrap();
    }

    #[test]
    fn the_last_insert_id_is_the_handles_own() {
        let schema = Schema::new("insertid");
        let mux = builder().max_links(2).build();
        let mut a = mux.connect(schema.tcp()).unwrap();
        let mut b = mux.connect(schema.tcp()).unwrap();
        a.query_drop("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, x INT)")
            .unwrap();
        a.query_drop("INSERT INTO t (x) VALUES (1)").unwrap();
        assert_eq!(a.last_insert_id(), 1);
        b.query_drop("INSERT INTO t (x) VALUES (1)").unwrap();
        assert_eq!((a.last_insert_id(), b.last_insert_id()), (1, 2));
    }

    #[test]
    fn a_statement_prepared_by_name_is_not_anothers() {
        let mux = one_link();
        let mut a = mux.connect(reset()).unwrap();
        a.query_drop("PREPARE p FROM 'SELECT 1'").unwrap();
        drop(a);
        let mut b = mux.connect(reset()).unwrap();
        let e = error_of(b.query_drop("EXECUTE p"));
        assert_eq!(e.code(), Some(1243), "{e}");
    }

    #[test]
    fn a_reset_by_hand_is_a_session_as_new() {
        let mux = one_link();
        let mut a = mux
            .connect(reset().init(vec!["SET @from_init = 1"]))
            .unwrap();
        a.query_drop("SET @x = 1, lock_wait_timeout = 77").unwrap();
        a.reset().unwrap();
        assert_eq!(one::<Option<i64>>(&mut a, "SELECT @x"), None);
        assert_ne!(one::<u64>(&mut a, "SELECT @@lock_wait_timeout"), 77);
        assert_eq!(one::<i64>(&mut a, "SELECT @from_init"), 1);
        assert_eq!(
            one::<String>(&mut a, "SELECT DATABASE()"),
            server().database
        );
    }

    #[test]
    fn the_same_handle_again_costs_no_reset() {
        let mux = one_link();
        let mut a = mux.connect(reset()).unwrap();
        a.query_drop("DO 1").unwrap();
        let before = mux.stats().total;
        for _ in 0..10 {
            a.query_drop("DO 1").unwrap();
        }
        let after = mux.stats().total;
        assert_eq!(after.resets, before.resets);
        assert_eq!(after.user_changes, before.user_changes);

        let mut b = mux.connect(reset()).unwrap();
        b.query_drop("SELECT 1").unwrap();
        a.query_drop("SELECT 1").unwrap();
        assert!(
            mux.stats().total.resets > after.resets,
            "another handle took the link"
        );
    }
}
