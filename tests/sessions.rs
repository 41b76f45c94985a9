//! `Isolation::Session`: a handle can't tell its session from that of a connection of its own, though
//! others use the same link before and after.

mod support;

use std::fmt::Debug;

use mysql_mux::{PinPolicy, PinReason, Row};
use support::*;

/// A mux with one link, so that handles can't avoid each other.
fn one_link() -> Mux {
    builder().max_links(1).build()
}

fn own() -> OptsBuilder {
    server().tcp().isolation(Isolation::Session)
}

fn two(mux: &Mux) -> (Handle, Handle) {
    (mux.connect(own()).unwrap(), mux.connect(own()).unwrap())
}

fn reason(handle: &Handle) -> Option<PinReason> {
    handle.pin().map(|pin| pin.reason())
}

/// What is left of a statement, unless that is missed.
#[track_caller]
fn if_kept<T>(left: Result<T, Error>) -> Option<T> {
    match left {
        Ok(left) => Some(left),
        Err(e) => {
            assert!(matches!(e, Error::NotKept { .. }), "{e}");
            None
        }
    }
}

/// An empty table that gives ids.
fn ids(name: &str) -> String {
    let mut root = server().root();
    root.query_drop(format!("DROP TABLE IF EXISTS mux_test.{name}"))
        .unwrap();
    let columns = "id INT AUTO_INCREMENT PRIMARY KEY, v INT";
    root.query_drop(format!("CREATE TABLE mux_test.{name} ({columns})"))
        .unwrap();
    format!("mux_test.{name}")
}

mod what_moves {
    use super::*;

    #[test]
    fn a_variable_is_the_handles_wherever_it_runs() {
        let mux = one_link();
        let (mut a, mut b) = two(&mux);
        a.query_drop("SET time_zone = '+03:00'").unwrap();
        assert_eq!(a.pin(), None);
        b.query_drop("SET time_zone = '+05:00'").unwrap();
        for _ in 0..3 {
            assert_eq!(one::<String>(&mut a, "SELECT @@time_zone"), "+03:00");
            assert_eq!(one::<String>(&mut b, "SELECT @@time_zone"), "+05:00");
        }
        let mut c = mux.connect(own()).unwrap();
        assert_eq!(
            one::<String>(&mut c, "SELECT @@session.time_zone = @@global.time_zone"),
            "1"
        );
        assert_eq!(mux.stats().total.resets, 0);
    }

    /// What the next transaction is to be.
    fn writes(handle: &mut Handle, table: &str, id: u32) -> Result<(), Option<u16>> {
        let insert = format!("INSERT INTO {table} (id) VALUES ({id})");
        handle.query_drop(insert).map_err(|e| e.code())
    }

    const READ_ONLY: Result<(), Option<u16>> = Err(Some(1792));

    #[test]
    fn what_the_next_transaction_is_to_be_waits_for_it() {
        let table = ids("own_next_moves");
        let mux = one_link();
        let (mut a, mut b) = two(&mux);
        a.query_drop("SET TRANSACTION READ ONLY").unwrap();
        assert_eq!(a.pin(), None);
        for id in 1..4 {
            assert_eq!(writes(&mut b, &table, id), Ok(()));
            // No transaction comes of what uses no table.
            assert_eq!(one::<u32>(&mut a, "SELECT 1"), 1);
            assert_eq!(writes(&mut a, &table, 10 + id), READ_ONLY);
        }
        a.query_drop("START TRANSACTION").unwrap();
        assert_eq!(writes(&mut a, &table, 20), READ_ONLY);
        a.query_drop("ROLLBACK").unwrap();
        assert_eq!(writes(&mut a, &table, 20), Ok(()));
        assert_eq!(writes(&mut b, &table, 21), Ok(()));
        // A read that is one takes it up.
        a.query_drop("SET TRANSACTION READ ONLY").unwrap();
        assert_eq!(
            one::<u32>(&mut a, &format!("SELECT COUNT(*) FROM {table}")),
            5
        );
        assert_eq!(writes(&mut a, &table, 22), Ok(()));
        assert_eq!(mux.stats().total.resets, 0);
    }

    #[test]
    fn and_is_said_again_where_the_link_was_lost() {
        let table = ids("own_next_lost");
        let mux = one_link();
        let mut a = mux.connect(own()).unwrap();
        a.query_drop("SET SESSION TRANSACTION READ ONLY").unwrap();
        a.query_drop("SET TRANSACTION READ WRITE").unwrap();
        server().kill(&mut server().root(), a.connection_id());
        assert_eq!(writes(&mut a, &table, 1), Ok(()));
        assert_eq!(writes(&mut a, &table, 2), READ_ONLY);
    }

    #[test]
    fn and_has_begun_with_a_statement_where_none_is_committed_by_itself() {
        let table = ids("own_next_implicit");
        let mux = one_link();
        let mut a = mux.connect(own()).unwrap();
        let read = a
            .prep(format!("SELECT id FROM {table} WHERE v = ?"))
            .unwrap();
        a.query_drop("SET autocommit = 0").unwrap();
        a.query_drop("SET TRANSACTION READ WRITE").unwrap();
        assert_eq!(writes(&mut a, &table, 1), Ok(()));
        assert_eq!(reason(&a), Some(PinReason::Transaction));
        // It was prepared in another mode, and is prepared anew.
        a.query_drop("SET sql_mode = 'ANSI'").unwrap();
        let rows: Vec<u32> = a.exec(&read, (1,)).unwrap();
        assert!(rows.is_empty());
        a.query_drop("COMMIT").unwrap();
    }

    #[test]
    fn and_is_gone_with_a_statement_that_failed() {
        let table = ids("own_next_failed");
        let mux = one_link();
        let (mut a, mut b) = two(&mux);
        assert_eq!(writes(&mut b, &table, 1), Ok(()));
        a.query_drop("SET SESSION TRANSACTION READ ONLY").unwrap();
        a.query_drop("SET TRANSACTION READ WRITE").unwrap();
        assert_eq!(writes(&mut b, &table, 2), Ok(()));
        assert_eq!(writes(&mut a, &table, 1), Err(Some(1062)));
        match server().kind {
            Kind::MySql => assert_eq!(writes(&mut b, &table, 3), Ok(())),
            // Which doesn't tell.
            Kind::MariaDb => assert_eq!(reason(&a), Some(PinReason::NextTransaction)),
        }
        assert_eq!(writes(&mut a, &table, 4), READ_ONLY);
        a.query_drop("SET SESSION TRANSACTION READ WRITE").unwrap();
        assert_eq!(writes(&mut a, &table, 4), Ok(()));
        assert_eq!(writes(&mut b, &table, 5), Ok(()));
    }

    #[test]
    fn but_not_with_one_that_was_no_statement() {
        let table = ids("own_next_no_statement");
        let mux = one_link();
        let (mut a, mut b) = two(&mux);
        a.query_drop("SET TRANSACTION READ ONLY").unwrap();
        let e = a.query_drop("SELEKT 1").unwrap_err();
        assert_eq!(e.code(), Some(1064));
        if server().kind == Kind::MySql {
            assert_eq!(one::<u32>(&mut a, "SELECT 1"), 1);
            assert_eq!(reason(&a), None, "it is known to be over, or still ahead");
            assert_eq!(writes(&mut b, &table, 1), Ok(()));
        }
    }

    #[test]
    fn so_are_the_character_sets() {
        const ASK: &str = "SELECT CONCAT_WS(' ', @@character_set_client, @@character_set_connection, \
             @@character_set_results, @@collation_connection)";
        let mux = one_link();
        let (mut a, mut b) = two(&mux);
        let before: String = one(&mut a, ASK);
        a.query_drop("SET NAMES latin1 COLLATE latin1_bin").unwrap();
        assert_eq!(one::<String>(&mut b, ASK), before);
        assert_eq!(
            one::<String>(&mut a, ASK),
            "latin1 latin1 latin1 latin1_bin"
        );
        b.query_drop("SET collation_connection = 'utf8mb4_bin'")
            .unwrap();
        assert_eq!(
            one::<String>(&mut a, ASK),
            "latin1 latin1 latin1 latin1_bin"
        );
        assert_eq!(
            one::<String>(&mut b, ASK),
            "utf8mb4 utf8mb4 utf8mb4 utf8mb4_bin"
        );
        a.query_drop("SET NAMES utf8mb4").unwrap();
        a.query_drop("SET character_set_results = NULL").unwrap();
        assert_eq!(
            one::<String>(&mut b, ASK),
            "utf8mb4 utf8mb4 utf8mb4 utf8mb4_bin"
        );
        assert_eq!(
            one::<Option<String>>(&mut a, "SELECT @@character_set_results"),
            None
        );
    }

    #[test]
    fn what_is_set_back_to_the_default_needs_no_restore() {
        let mux = one_link();
        let (mut a, mut b) = two(&mux);
        a.query_drop("SET foreign_key_checks = 0").unwrap();
        assert_eq!(one::<u32>(&mut b, "SELECT @@foreign_key_checks"), 1);
        a.query_drop("SET foreign_key_checks = 1").unwrap();
        assert_eq!(one::<u32>(&mut a, "SELECT @@foreign_key_checks"), 1);
        let before = mux.stats().total.writes;
        assert_eq!(one::<u32>(&mut b, "SELECT 1"), 1);
        assert_eq!(one::<u32>(&mut a, "SELECT 1"), 1);
        assert_eq!(mux.stats().total.writes, before + 2);
    }

    #[test]
    fn what_init_statements_set_stands_for_each() {
        let mux = one_link();
        let mut a = mux
            .connect(own().init(vec!["SET time_zone = '+01:00', lc_time_names = 'de_DE'"]))
            .unwrap();
        let mut b = mux.connect(own()).unwrap();
        a.query_drop("SET time_zone = '+02:00'").unwrap();
        assert_eq!(one::<String>(&mut b, "SELECT @@lc_time_names"), "en_US");
        assert_eq!(
            one::<String>(&mut a, "SELECT CONCAT(@@time_zone, @@lc_time_names)"),
            "+02:00de_DE"
        );
    }

    #[test]
    fn the_last_insert_id_is_the_handles() {
        let table = ids("own_ids");
        let mux = one_link();
        let (mut a, mut b) = two(&mux);
        a.query_drop(format!("INSERT INTO {table} (v) VALUES (1)"))
            .unwrap();
        let first: u64 = one(&mut a, "SELECT LAST_INSERT_ID()");
        assert_eq!(first, 1);
        // From here on it is kept.
        for round in 1..4 {
            a.query_drop(format!("INSERT INTO {table} (v) VALUES (1)"))
                .unwrap();
            b.query_drop(format!("INSERT INTO {table} (v) VALUES (1)"))
                .unwrap();
            assert_eq!(one::<u64>(&mut a, "SELECT LAST_INSERT_ID()"), 2 * round);
            assert_eq!(one::<u64>(&mut b, "SELECT LAST_INSERT_ID()"), 2 * round + 1);
        }
        b.query_drop(format!("INSERT INTO {table} (id, v) VALUES (100, 1)"))
            .unwrap();
        assert_eq!(one::<u64>(&mut b, "SELECT LAST_INSERT_ID()"), 7);
        assert_eq!(a.pin(), None);
    }

    #[test]
    fn an_insert_id_that_was_not_kept_is_an_error_and_kept_from_then_on() {
        let table = ids("own_ids2");
        let mux = one_link();
        let (mut a, mut b) = two(&mux);
        a.query_drop(format!("INSERT INTO {table} (v) VALUES (1)"))
            .unwrap();
        b.query_drop(format!("INSERT INTO {table} (v) VALUES (1)"))
            .unwrap();
        let e = a.query_drop("SELECT LAST_INSERT_ID()").unwrap_err();
        assert!(matches!(e, Error::NotKept { .. }), "{e}");
        a.query_drop(format!("INSERT INTO {table} (v) VALUES (1)"))
            .unwrap();
        b.query_drop(format!("INSERT INTO {table} (v) VALUES (1)"))
            .unwrap();
        assert_eq!(one::<u64>(&mut a, "SELECT LAST_INSERT_ID()"), 3);
    }

    #[test]
    fn an_insert_id_goes_along_with_a_pipeline_that_may_leave_it() {
        let table = ids("own_ids3");
        let mux = builder().max_links(2).build();
        let mut a = mux.connect(own().keep_insert_id(true)).unwrap();
        let mut holders = two(&mux);
        // Of two links one is free at a time.
        let mut free = |first: bool, run: &mut dyn FnMut()| {
            let holder = match first {
                true => &mut holders.0,
                false => &mut holders.1,
            };
            holder.query_drop("COMMIT").unwrap();
            run();
            holder.query_drop("BEGIN").unwrap();
        };
        free(true, &mut || ());
        free(false, &mut || ());
        let insert = format!("INSERT INTO {table} (v) VALUES (1)");
        free(true, &mut || a.query_drop(&insert).unwrap());
        free(false, &mut || a.query_drop(&insert).unwrap());
        free(true, &mut || {
            let results = a.pipeline(|pipe| {
                pipe.query("SELECT @@sql_mode");
                pipe.query(format!("UPDATE {table} SET v = 2 WHERE v < 0"));
                Ok(())
            });
            assert!(results.unwrap().iter().all(|result| result.is_ok()));
            assert_eq!(one::<u64>(&mut a, "SELECT LAST_INSERT_ID()"), 2);
        });
    }

    #[test]
    fn prepared_statements_are_read_as_when_they_were_prepared() {
        let mux = one_link();
        let (mut a, mut b) = two(&mux);
        let text = a.prep("SELECT \"a\"").unwrap();
        a.query_drop("SET sql_mode = 'ANSI_QUOTES'").unwrap();
        b.query_drop("DO 1").unwrap();
        assert_eq!(
            a.exec_first::<String, _, _>(&text, ()).unwrap().unwrap(),
            "a"
        );
        let e = a.prep("SELECT \"a\"").unwrap_err();
        assert!(matches!(e, Error::MySqlError(_)), "{e}");
        assert_eq!(one::<String>(&mut a, "SELECT @@sql_mode"), "ANSI_QUOTES");
    }

    #[test]
    fn a_transaction_goes_on_where_an_older_statement_is_prepared_again() {
        let table = ids("own_again");
        let mux = one_link();
        let mut a = mux.connect(own()).unwrap();
        a.query_drop(format!("INSERT INTO {table} (id, v) VALUES (1, 1)"))
            .unwrap();
        let select = a.prep(format!("SELECT v FROM {table}")).unwrap();
        let sets = [
            "SET autocommit = 0",
            "SET autocommit = 0, sql_mode = 'ANSI'",
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE",
            match server().kind {
                Kind::MariaDb => "SET gtid_domain_id = 7",
                Kind::MySql => "SET explicit_defaults_for_timestamp = 0",
            },
        ];
        for (v, set) in (2..).zip(sets) {
            a.query_drop(set).unwrap();
            a.query_drop("BEGIN").unwrap();
            a.query_drop(format!("UPDATE {table} SET v = {v}")).unwrap();
            let seen: Option<i32> = a.exec_first(&select, ()).unwrap();
            assert_eq!(seen, Some(v), "{set}");
            a.query_drop("ROLLBACK").unwrap();
            let seen: Option<i32> = a.exec_first(&select, ()).unwrap();
            assert_eq!(seen, Some(1), "{set}");
            a.reset().unwrap();
        }
    }

    #[test]
    fn character_sets_that_were_set_stay_where_an_older_statement_is_prepared_again() {
        const ASK: &str = "SELECT @@character_set_results";
        let mux = one_link();
        let (mut a, mut b) = two(&mux);
        let text = a.prep("SELECT 'a'").unwrap();
        a.query_drop("SET NAMES latin1").unwrap();
        b.reset().unwrap();
        a.query_drop("BEGIN").unwrap();
        a.query_drop("SET NAMES gbk").unwrap();
        a.exec_drop(&text, ()).unwrap();
        assert_eq!(one::<String>(&mut a, ASK), "gbk");
        a.query_drop("COMMIT").unwrap();
        assert_eq!(one::<String>(&mut a, ASK), "gbk");
    }

    #[test]
    fn a_statement_that_another_runs_with_other_variables_stays_what_it_is() {
        const SQL: &str = "SELECT 'é', ?";
        let mux = one_link();
        let (mut a, mut b) = two(&mux);
        let read = |handle: &mut Handle, statement: &mysql_mux::Statement, n: u32| {
            let row: Option<(Vec<u8>, u32)> = handle.exec_first(statement, (n,)).unwrap();
            row.unwrap().0
        };
        let (of_a, of_b) = (a.prep(SQL).unwrap(), b.prep(SQL).unwrap());
        b.query_drop("SET NAMES latin1").unwrap();
        // MySQL reads it again, as what is given is a number.
        read(&mut b, &of_b, 1);
        assert_eq!(read(&mut a, &of_a, 1), "é".as_bytes());
    }

    /// What is told behind statements is told behind another's, too.
    #[track_caller]
    fn is_told_alike<T: PartialEq + Debug>(sql: &str, told: impl Fn(&mut Handle) -> T) {
        let mux = one_link();
        let (mut a, mut b) = two(&mux);
        for sql in sql.split("; ") {
            a.query_drop(sql).unwrap();
        }
        let before = told(&mut a);
        b.query_drop("SET NAMES gbk").unwrap();
        b.reset().unwrap();
        assert_eq!(told(&mut a), before, "{sql}");
    }

    #[test]
    fn columns_are_told_with_the_collation_of_set_names() {
        let told = |handle: &mut Handle| {
            let result = handle.query_iter("SELECT 'a'").unwrap();
            let columns = result.columns();
            let column = &columns.as_ref()[0];
            (column.character_set(), column.flags())
        };
        for sql in [
            "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
            "SET collation_connection = utf8mb4_bin",
            "SET NAMES latin1 COLLATE latin1_bin; SET collation_connection = utf8mb4_bin",
            "SET NAMES utf8mb3; SET collation_connection = utf8mb3_bin",
        ] {
            is_told_alike(sql, told);
        }
    }

    #[test]
    fn parameters_have_the_collation_of_set_names() {
        type Told = (String, bool);
        let told = |handle: &mut Handle| -> Told {
            let told = handle.exec_first("SELECT COLLATION(?), ? = ?", ("a", "a", "A"));
            told.unwrap().unwrap()
        };
        for sql in [
            "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
            "SET NAMES utf8mb4 COLLATE utf8mb4_bin; SET character_set_results = utf8mb4",
            "SET NAMES utf8mb4 COLLATE utf8mb4_bin; SET character_set_results = NULL",
            "SET NAMES utf8mb4 COLLATE utf8mb4_bin; SET character_set_client = utf8mb4",
            "SET NAMES latin1 COLLATE latin1_bin; SET character_set_results = utf8mb4",
            "SET NAMES latin1 COLLATE latin1_bin; SET collation_connection = latin1_swedish_ci",
            "SET CHARACTER SET latin1",
        ] {
            is_told_alike(sql, told);
        }
        // What is not seen while the connection has another character set is there behind it.
        let mux = one_link();
        let (mut a, mut b) = two(&mux);
        a.query_drop("SET NAMES latin1 COLLATE latin1_bin").unwrap();
        a.query_drop("SET collation_connection = utf8mb4_general_ci")
            .unwrap();
        b.query_drop("SET NAMES gbk").unwrap();
        b.reset().unwrap();
        a.query_drop("SET collation_connection = latin1_swedish_ci")
            .unwrap();
        let of_the_client = server().kind == Kind::MariaDb;
        assert_eq!(told(&mut a).1, !of_the_client);
    }

    #[test]
    fn what_we_ask_with_leaves_its_settings_as_they_are() {
        let table = ids("own_settings");
        let mux = one_link();
        let (mut a, mut b) = two(&mux);
        a.query_drop("SET optimizer_search_depth = 5").unwrap();
        a.query_drop("BEGIN").unwrap();
        // Definitions are looked up on the link that is kept.
        let none: Option<u32> = a.query_first(format!("SELECT id FROM {table}")).unwrap();
        assert_eq!(none, None);
        a.query_drop("COMMIT").unwrap();
        b.query_drop("SET optimizer_search_depth = 7").unwrap();
        assert_eq!(one::<u32>(&mut a, "SELECT @@optimizer_search_depth"), 5);
        drop((a, b));
        let mux = one_link();
        let mut a = mux.connect(own()).unwrap();
        a.query_drop("SET max_join_size = 1000").unwrap();
        a.query_drop("SET sql_big_selects = 1").unwrap();
        let none: Option<u32> = a.query_first(format!("SELECT id FROM {table}")).unwrap();
        assert_eq!(none, None);
        let both: Option<(u64, u8)> = a
            .query_first("SELECT @@max_join_size, @@sql_big_selects")
            .unwrap();
        assert_eq!(both, Some((1000, 1)));
    }

    #[test]
    fn what_we_ask_for_is_no_matter_of_its_limits() {
        let mux = one_link();
        // Every session begins with it: set later it would pin.
        let begin = own().init(vec!["SET max_join_size = 1"]);
        let mut a = mux.connect(begin.clone()).unwrap();
        let mut b = mux.connect(begin).unwrap();
        a.query_drop("DO 1").unwrap();
        b.query_drop("SELECT 1 + 'x'").unwrap();
        // From here on its warnings are kept, so that another's are cleared before its statement.
        let e = a.query_drop("SHOW WARNINGS").unwrap_err();
        assert!(matches!(e, Error::NotKept { .. }), "{e}");
        a.query_drop("DO 1").unwrap();
        assert_eq!(one::<u64>(&mut a, "SELECT @@warning_count"), 0);
    }
}

mod what_pins {
    use super::*;

    fn pins(sql: &str, reason: PinReason, end: &str) {
        // From the third time on the text is known.
        for _ in 0..4 {
            pins_once(sql, reason, end);
        }
    }

    fn pins_once(sql: &str, reason: PinReason, end: &str) {
        let mux = one_link();
        let mut a = mux.connect(own()).unwrap();
        a.query_drop(sql).unwrap();
        let pin = a.pin().unwrap_or_else(|| panic!("{sql} did not pin"));
        assert_eq!(pin.reason(), reason, "{sql}");
        assert_eq!(mux.stats().total.pins(reason), 1);
        a.query_drop("DO 1").unwrap();
        if !end.is_empty() {
            a.query_drop(end).unwrap();
        } else {
            a.reset().unwrap();
        }
        assert_eq!(a.pin(), None, "{end}");
        let mut b = mux.connect(own()).unwrap();
        b.query_drop("DO 1").unwrap();
    }

    #[test]
    fn a_transaction_until_its_end() {
        pins("BEGIN", PinReason::Transaction, "COMMIT");
    }

    #[test]
    fn a_user_variable_that_is_large_until_a_reset() {
        pins("SET @x = REPEAT('x', 20000)", PinReason::UserVariable, "");
    }

    #[test]
    fn a_temporary_table_until_it_is_dropped() {
        pins(
            "CREATE TEMPORARY TABLE own_t (a INT)",
            PinReason::TemporaryTable,
            "DROP TABLE own_t",
        );
    }

    #[test]
    fn a_user_lock_until_it_is_released() {
        pins(
            "SELECT GET_LOCK('own', 1)",
            PinReason::UserLock,
            "DO RELEASE_LOCK('own')",
        );
    }

    #[test]
    fn a_text_that_is_known_does_what_was_prepared_by_its_name() {
        let mux = one_link();
        let mut a = mux.connect(own()).unwrap();
        for _ in 0..4 {
            for (prepare, left) in [
                (
                    "PREPARE own_s FROM 'CREATE TEMPORARY TABLE own_known (a INT)'",
                    Some(PinReason::TemporaryTable),
                ),
                ("PREPARE own_s FROM 'SELECT 1'", None),
            ] {
                a.query_drop(prepare).unwrap();
                a.query_drop("EXECUTE own_s").unwrap();
                a.query_drop("DEALLOCATE PREPARE own_s").unwrap();
                assert_eq!(reason(&a), left, "{prepare}");
                a.reset().unwrap();
            }
        }
    }

    #[test]
    fn what_was_made_before_another_of_several_failed() {
        let made = [
            ("PREPARE p FROM 'SELECT 1'", PinReason::PreparedStatement),
            (
                "CREATE TEMPORARY TABLE own_several (a INT)",
                PinReason::TemporaryTable,
            ),
            ("DO GET_LOCK('own_several', 0)", PinReason::UserLock),
        ];
        for (sql, why) in made {
            let mux = one_link();
            let mut a = mux.connect(own()).unwrap();
            let results = a.pipeline(|pipe| {
                pipe.query(sql);
                pipe.query("SELECT nonsense");
                Ok(())
            });
            assert!(results.unwrap().last().unwrap().is_err());
            assert_eq!(reason(&a), Some(why), "{sql}");
            a.reset().unwrap();
            assert_eq!(a.pin(), None);
            a.query_drop(format!("{sql}; SELECT nonsense")).unwrap_err();
            assert_eq!(reason(&a), Some(why), "{sql}");
        }
    }

    #[test]
    fn the_pin_says_which_and_by_which_statement() {
        let mux = one_link();
        let mut a = mux.connect(own()).unwrap();
        a.query_drop("CREATE TEMPORARY TABLE own_named (a INT DEFAULT 42)")
            .unwrap();
        let pin = a.pin().unwrap();
        assert!(pin.name().unwrap().ends_with(".own_named"), "{pin}");
        assert!(
            pin.statement()
                .starts_with("CREATE TEMPORARY TABLE own_named"),
            "{pin}"
        );
        assert!(!pin.statement().contains("42"), "{pin}");
    }

    #[test]
    fn a_lease_as_long_as_it_is_there() {
        let mux = one_link();
        let (mut a, mut b) = two(&mux);
        {
            let mut lease = a.lease().unwrap();
            lease.query_drop("DO 1").unwrap();
            assert_eq!(reason(&lease), Some(PinReason::Lease));
        }
        assert_eq!(a.pin(), None);
        b.query_drop("DO 1").unwrap();
    }

    #[test]
    fn what_the_options_deny_is_not_sent() {
        let mux = one_link();
        let opts = own().pin_policy(PinReason::UserVariable, PinPolicy::Deny);
        let mut a = mux.connect(opts).unwrap();
        a.query_drop("SET @x = 1").unwrap();
        assert_eq!(a.pin(), None);
        let e = a.query_drop("SET @`a name` = 'secret'").unwrap_err();
        assert!(
            matches!(
                e,
                Error::PinDenied {
                    reason: PinReason::UserVariable,
                    ..
                }
            ),
            "{e}"
        );
        assert!(!e.to_string().contains("secret"));
        assert_eq!(a.pin(), None);
    }

    #[test]
    fn what_the_mux_denies_is_not_sent_unless_the_options_allow_it() {
        let reason = PinReason::TemporaryTable;
        let mux = builder()
            .max_links(1)
            .pin_policy(reason, PinPolicy::Deny)
            .build();
        let sql = "CREATE TEMPORARY TABLE own_denied (id INT)";
        let mut denied = mux.connect(own()).unwrap();
        let e = denied.query_drop(sql).unwrap_err();
        assert!(
            matches!(e, Error::PinDenied { reason: of, .. } if of == reason),
            "{e}"
        );
        assert_eq!(denied.pin(), None);
        let opts = own().pin_policy(reason, PinPolicy::Allow);
        let mut allowed = mux.connect(opts).unwrap();
        allowed.query_drop(sql).unwrap();
        assert_eq!(allowed.pin().map(|pin| pin.reason()), Some(reason));
    }
}

mod what_is_left {
    use super::*;

    #[test]
    fn a_count_of_anothers_warnings_is_none_of_ones_own() {
        const ASK: &str = "SELECT @@warning_count";
        let mux = one_link();
        let (mut a, mut b) = two(&mux);
        a.query_drop("DO 1").unwrap();
        b.query_drop("DROP TABLE IF EXISTS own_nothing").unwrap();
        // MariaDB tells of one warning, as it clears none for this.
        a.query_drop("COMMIT").unwrap();
        if let Some(count) = if_kept(a.query_first::<u64, _>(ASK)) {
            assert_eq!(count, Some(0));
        }
        let mux = one_link();
        let (mut c, mut d) = two(&mux);
        d.query_drop("SELECT nonsense").unwrap_err();
        c.query_stream::<u8, _>("SELECT 1").unwrap().for_each(drop);
        if let Some(count) = if_kept(c.query_first::<u64, _>(ASK)) {
            assert_eq!(count, Some(0));
        }
    }

    #[test]
    fn a_count_of_warnings_that_were_not_listed_is_gone_with_its_session() {
        // What a reset of MariaDB's leaves.
        const LEAVES: [&str; 2] = [
            "SET max_error_count = 0",
            "SELECT 1 / 0, CAST('x' AS SIGNED)",
        ];
        for ask in ["SHOW COUNT(*) WARNINGS", "SELECT @@warning_count"] {
            let mux = one_link();
            for _ in 0..2 {
                let mut handle = mux.connect(own()).unwrap();
                assert_eq!(handle.query_first::<u64, _>(ask).unwrap(), Some(0), "{ask}");
                for sql in LEAVES {
                    handle.query_drop(sql).unwrap();
                }
            }
            assert_eq!(mux.stats().total.connect_success, 1);
        }
    }

    #[test]
    fn warnings_that_a_statement_leaves_are_there_or_missed() {
        let table = ids("own_left");
        let mux = one_link();
        let mut a = mux.connect(own().keep_diagnostics(true)).unwrap();
        let insert = format!("INSERT INTO {table} (id) VALUES (1)");
        a.query_drop(&insert).unwrap();
        a.query_drop(&insert).unwrap_err();
        // What is defined has to be looked up before the next one, on the link that is kept.
        let mut b = builder().build().connect(server().tcp()).unwrap();
        b.query_drop("DROP FUNCTION IF EXISTS own_f").unwrap();
        for sql in ["PREPARE s FROM 'SELECT 1'", "DO 1", "SELECT own_nothing()"] {
            let failed = a.query_drop(sql).is_err();
            // MariaDB leaves those that are there.
            let left = match server().kind {
                Kind::MariaDb => 1,
                Kind::MySql => usize::from(failed),
            };
            if let Some(rows) = if_kept(a.query::<Row, _>("SHOW WARNINGS")) {
                assert_eq!(rows.len(), left, "{sql}");
            }
        }
    }

    #[test]
    fn row_counts_are_not_those_of_our_questions_behind_a_statement_that_was_prepared() {
        let table = ids("own_counted");
        let mux = one_link();
        let mut a = mux.connect(own()).unwrap();
        a.query_drop(format!("INSERT INTO {table} (v) VALUES (1), (1)"))
            .unwrap();
        let changes = [
            (0, "SET collation_connection = utf8mb4_bin".to_owned()),
            (2, format!("UPDATE {table} SET v = v + 1")),
        ];
        for (count, sql) in changes {
            // From the second time on what was left is kept.
            for text in ["SELECT 'a', ?", "SELECT 'b', ?"] {
                a.query_drop(&sql).unwrap();
                a.prep(text).unwrap();
                if let Some(told) = if_kept(a.query_first::<i64, _>("SELECT ROW_COUNT()")) {
                    assert_eq!(told, Some(count), "{sql}");
                }
            }
        }
    }

    #[test]
    fn what_the_first_statement_left_is_there_or_missed() {
        for many in [false, true] {
            let mux = one_link();
            let mut a = mux.connect(own()).unwrap();
            // Whether it changed the session, MariaDB is asked behind it.
            const FAILS: &str = "SET nothing = 3";
            match many {
                false => drop(a.query_drop(FAILS).unwrap_err()),
                true => drop(a.pipeline(|pipe| {
                    pipe.query("SELECT @@time_zone");
                    pipe.query(FAILS);
                    Ok(())
                })),
            }
            if let Some(rows) = if_kept(a.query::<Row, _>("SHOW WARNINGS")) {
                assert_eq!(rows.len(), 1);
            }
        }
    }

    #[test]
    fn an_error_that_a_stream_met_is_there_or_missed() {
        let mux = one_link();
        let mut a = mux.connect(own().keep_diagnostics(true)).unwrap();
        for _ in 0..3 {
            let failed = a.query_stream::<u8, _>("HANDLER nothing CLOSE").map(drop);
            assert!(matches!(failed, Err(Error::MySqlError(_))), "{failed:?}");
            // MySQL prepares no such statement.
            let warnings = match server().kind {
                Kind::MariaDb => a.exec::<Row, _, _>("SHOW WARNINGS", ()),
                Kind::MySql => a.query("SHOW WARNINGS"),
            };
            if let Some(rows) = if_kept(warnings) {
                assert_eq!(rows.len(), 1);
            }
        }
    }

    #[test]
    fn warnings_are_not_those_of_before_a_statement_was_prepared() {
        let table = ids("own_prepared");
        let mux = one_link();
        let (mut a, mut b) = two(&mux);
        let select = format!("SELECT v FROM {table}");
        b.prep(&select).unwrap();
        for _ in 0..3 {
            a.query_drop("ROLLBACK TO nothing").unwrap_err();
            // The server holds it.
            a.prep(&select).unwrap();
            if let Some(rows) = if_kept(a.query::<Row, _>("SHOW WARNINGS")) {
                assert_eq!(rows.len(), 0);
            }
        }
        a.prep("nonsense").unwrap_err();
        let rows: Vec<Row> = a.query("SHOW WARNINGS").unwrap();
        assert_eq!(rows.len(), 1);
    }

    #[test]
    fn in_a_pipeline_found_rows_are_those_of_the_query_before() {
        let table = ids("own_piped");
        let mux = one_link();
        let (mut a, mut b) = two(&mux);
        b.query_drop("SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3")
            .unwrap();
        let results = a.pipeline(|pipe| {
            pipe.query(format!("SHOW CREATE TABLE {table}"));
            pipe.query("SET time_zone = DEFAULT");
            Ok(())
        });
        results.unwrap();
        b.query_drop("SELECT 1 UNION ALL SELECT 2").unwrap();
        let results = a.pipeline(|pipe| {
            pipe.query("SELECT nothing");
            pipe.query("SELECT FOUND_ROWS()");
            pipe.query("SELECT 3");
            pipe.query("SELECT FOUND_ROWS()");
            Ok(())
        });
        let mut results = results.unwrap().into_iter().map(|result| {
            let rows = result?.rows::<u64>()?;
            Ok::<_, Error>(rows[0])
        });
        let mut next = || results.next().unwrap();
        assert!(matches!(next(), Err(Error::MySqlError(_))));
        assert!(matches!(next(), Err(Error::NotKept { .. })));
        assert_eq!((next().unwrap(), next().unwrap()), (3, 1));
        let results = a.pipeline(|pipe| {
            pipe.query(format!("SHOW CREATE TABLE {table}"));
            pipe.query("SELECT FOUND_ROWS()");
            Ok(())
        });
        // The last query was the one that asked.
        if let Some(mut results) = if_kept(results) {
            let found: Vec<u64> = results.pop().unwrap().unwrap().rows().unwrap();
            assert_eq!(found, [1]);
        }
    }

    #[test]
    fn found_rows_are_those_of_the_handles_last_query() {
        let table = ids("own_counted");
        let mux = one_link();
        let (mut a, mut b) = two(&mux);
        // From the second time on the handle keeps what it asks for.
        for is_first in [true, false] {
            a.query_drop("SELECT 1 UNION ALL SELECT 2").unwrap();
            if is_first {
                b.query_drop("SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3")
                    .unwrap();
            }
            // It leaves the count as it is.
            a.query_drop(format!("SHOW CREATE TABLE {table}")).unwrap();
            match a.query_first::<u64, _>("SELECT FOUND_ROWS()") {
                Err(e) if is_first => assert!(matches!(e, Error::NotKept { .. }), "{e}"),
                count => assert_eq!(count.unwrap(), Some(2)),
            }
        }
    }

    #[test]
    fn what_we_ask_is_not_what_the_handle_left() {
        let mux = one_link();
        let mut a = mux.connect(own()).unwrap();
        a.query_drop("CREATE TEMPORARY TABLE own_asked (id INT)")
            .unwrap();
        let deprecated = match server().kind {
            Kind::MariaDb => "SET old_alter_table = 0",
            Kind::MySql => "SET sql_warnings = 0",
        };
        a.query_drop(deprecated).unwrap();
        // Clears what there is.
        a.query_drop("INSERT INTO own_asked VALUES (1)").unwrap();
        a.query_drop("SELECT 1 UNION ALL SELECT 2").unwrap();
        // Behind it is asked what was set.
        a.query_drop("SET @@SESSION.sql_notes = 1, @@sql_notes = 1")
            .unwrap();
        a.prep("SELECT 5").unwrap();
        if let Some(warnings) = if_kept(a.query::<Row, _>("SHOW WARNINGS")) {
            assert!(warnings.is_empty());
        }
        if server().kind == Kind::MariaDb {
            let e = a
                .query_drop("SET STATEMENT sql_mode = '' FOR SELECT nothing")
                .unwrap_err();
            assert!(matches!(e, Error::MySqlError(_)), "{e}");
            a.query_drop("SET STATEMENT sql_mode = '' FOR INSERT INTO own_asked VALUES (2)")
                .unwrap();
            let warnings = a.exec::<Row, _, _>("SHOW WARNINGS", ());
            if let Some(warnings) = if_kept(warnings) {
                assert!(warnings.is_empty());
            }
        }
    }

    #[test]
    fn in_a_pipeline_warnings_are_those_that_the_one_before_it_left() {
        let mux = one_link();
        let mut a = mux.connect(own().keep_diagnostics(true)).unwrap();
        let left = match server().kind {
            Kind::MariaDb => 1,
            Kind::MySql => 0,
        };
        // Behind the second, MariaDB is asked what was set; neither clears warnings there.
        for before in ["DO 1", "SET @@sql_notes = 1"] {
            let failed = a.pipeline(|pipe| {
                pipe.query(before);
                pipe.query("SELECT nothing");
                Ok(())
            });
            assert!(failed.unwrap().pop().unwrap().is_err());
            let results = a.pipeline(|pipe| {
                pipe.query("SELECT 5");
                pipe.query("SHOW WARNINGS");
                Ok(())
            });
            if let Some(mut results) = if_kept(results) {
                let rows: Vec<Row> = results.pop().unwrap().unwrap().rows().unwrap();
                assert_eq!(rows.len(), left, "{before}");
            }
        }
        // What is clear for one statement is not for all of them.
        let table = ids("own_piped_left");
        let results = a.pipeline(|pipe| {
            pipe.query(format!("INSERT INTO {table} (v) VALUES (1)"));
            pipe.query("SELECT nothing");
            pipe.query("DO 1");
            Ok(())
        });
        results.unwrap();
        a.query_drop("SET @@sql_notes = 1").unwrap();
        a.query_drop("DO 1").unwrap();
        if let Some(rows) = if_kept(a.query::<Row, _>("SHOW WARNINGS")) {
            assert_eq!(rows.len(), left);
        }
    }

    #[test]
    fn behind_a_prepared_xa_transaction_what_may_run_runs() {
        if server().kind != Kind::MariaDb {
            // It refuses nearly everything then.
            return;
        }
        let table = ids("own_xa");
        let mux = one_link();
        let mut a = mux.connect(own().keep_diagnostics(true)).unwrap();
        a.query_drop("XA START 'own_xa'").unwrap();
        a.query_drop(format!("INSERT INTO {table} (v) VALUES (1)"))
            .unwrap();
        a.query_drop("XA END 'own_xa'").unwrap();
        a.query_drop("XA PREPARE 'own_xa'").unwrap();
        // Behind it is asked what was set, which the handle's warnings must not be of.
        a.query_drop("SET @@sql_notes = 1").unwrap();
        assert_eq!(one::<u32>(&mut a, "SELECT 5"), 5);
        if let Some(count) = if_kept(a.query_first::<u32, _>("SELECT @@warning_count")) {
            assert_eq!(count, Some(0));
        }
        a.query_drop("XA ROLLBACK 'own_xa'").unwrap();
        let count = format!("SELECT COUNT(*) FROM {table}");
        assert_eq!(one::<u32>(&mut a, &count), 0);
    }

    #[test]
    fn rows_that_an_insert_returns_are_not_found_rows() {
        if server().kind != Kind::MariaDb {
            // It returns none.
            return;
        }
        let table = ids("own_returned");
        for keeps in [false, true] {
            let mux = one_link();
            let mut a = mux.connect(own().keep_diagnostics(keeps)).unwrap();
            // What is defined is looked up before.
            a.query_drop(format!("INSERT INTO {table} (v) VALUES (1)"))
                .unwrap();
            a.query_drop("SELECT 1 UNION ALL SELECT 2").unwrap();
            let id: Option<u32> = a
                .query_first(format!("INSERT INTO {table} (v) VALUES (1) RETURNING id"))
                .unwrap();
            assert!(id.is_some());
            match a.query_first::<u64, _>("SELECT FOUND_ROWS()") {
                Ok(count) => assert_eq!(count, Some(2)),
                Err(e) => assert!(!keeps && matches!(e, Error::NotKept { .. }), "{e}"),
            }
        }
    }

    #[test]
    fn the_next_transaction_is_as_it_was_set_behind_a_set_statement() {
        if server().kind != Kind::MariaDb {
            // There is none.
            return;
        }
        let table = ids("own_next");
        let mux = one_link();
        let mut a = mux.connect(own()).unwrap();
        a.query_drop("SET SESSION TRANSACTION READ WRITE").unwrap();
        a.query_drop("SET TRANSACTION READ ONLY").unwrap();
        let insert = format!("INSERT INTO {table} (v) VALUES (1)");
        for sql in [format!("SET STATEMENT sql_mode = '' FOR {insert}"), insert] {
            let e = a.query_drop(&sql).unwrap_err();
            assert!(
                matches!(&e, Error::MySqlError(e) if e.code == 1792),
                "{sql}: {e}"
            );
        }
    }

    #[test]
    fn what_looking_for_views_has_left_is_shown_to_nobody() {
        let (own, broken) = (Schema::new("left_own"), Schema::new("left_broken"));
        let mut root = server().root();
        let view = format!("`{}`.v", broken.name);
        for sql in [
            format!("CREATE TABLE `{}`.t (a INT)", broken.name),
            format!("CREATE VIEW {view} AS SELECT a FROM `{}`.t", broken.name),
            format!("ALTER TABLE `{}`.t CHANGE a b INT", broken.name),
        ] {
            root.query_drop(sql).unwrap();
        }
        let mux = builder().max_links(2).build();
        let mut a = mux.connect(own.tcp()).unwrap();
        let mut b = mux.connect(own.tcp()).unwrap();
        // Looks on another link, where no session has begun.
        a.query_drop("START TRANSACTION").unwrap();
        a.query_drop(format!("SELECT COUNT(*) FROM `{}`.t", broken.name))
            .unwrap();
        let warnings: Vec<Row> = b.query("SHOW WARNINGS").unwrap();
        assert_eq!(warnings.len(), 0);
        assert_eq!(one::<u32>(&mut b, "SELECT @@warning_count"), 0);
    }

    #[test]
    fn the_last_gtid_is_the_handles_own_or_an_error() {
        if server().kind != Kind::MariaDb {
            // There is none to ask for.
            return;
        }
        const ASK: &str = "SELECT @@last_gtid";
        let table = ids("own_gtids");
        let insert = format!("INSERT INTO {table} (v) VALUES (1)");
        let mux = one_link();
        let (mut a, mut b) = two(&mux);
        a.query_drop(&insert).unwrap();
        assert_eq!(a.pin(), None);
        b.query_drop(&insert).unwrap();
        let e = a.query_first::<String, _>(ASK).unwrap_err();
        assert!(matches!(e, Error::NotKept { .. }), "{e}");
        // From here on it is kept.
        a.query_drop(&insert).unwrap();
        let first: String = one(&mut a, ASK);
        assert!(!first.is_empty(), "the server has no binary log");
        assert_eq!(one::<String>(&mut a, ASK), first);
        a.query_drop("START TRANSACTION").unwrap();
        a.query_drop(&insert).unwrap();
        assert_eq!(one::<String>(&mut a, ASK), first);
        a.query_drop("COMMIT").unwrap();
        assert_ne!(one::<String>(&mut a, ASK), first);
        a.reset().unwrap();
        assert_eq!(
            one::<String>(&mut b, "SELECT COUNT(*) FROM mux_test.own_gtids"),
            "4"
        );
    }

    #[test]
    fn warnings_are_the_handles_own_or_an_error() {
        let mux = one_link();
        let (mut a, mut b) = two(&mux);
        a.query_drop("DROP TABLE IF EXISTS own_nothing").unwrap();
        let warnings: Vec<Row> = a.query("SHOW WARNINGS").unwrap();
        assert_eq!(warnings.len(), 1);
        assert_eq!(reason(&a), Some(PinReason::Diagnostics));
        drop(a);
        b.query_drop("DROP TABLE IF EXISTS own_nothing").unwrap();
        let mut c = mux.connect(own()).unwrap();
        c.query_drop("DO 1").unwrap();
        let e = b.query_drop("SHOW WARNINGS").unwrap_err();
        assert!(matches!(e, Error::NotKept { .. }), "{e}");
        b.query_drop("DROP TABLE IF EXISTS own_nothing").unwrap();
        let warnings: Vec<Row> = b.query("SHOW WARNINGS").unwrap();
        assert_eq!(warnings.len(), 1);
    }
}

mod what_goes_wrong {
    use super::*;
    use mysql_mux::Pipelining;

    #[test]
    fn a_link_that_became_another_users_gives_nobody_what_was_left_there() {
        let table = ids("own_identity");
        let (u1, u2) = (User::new("own_first"), User::new("own_second"));
        server()
            .root()
            .query_drop(format!("GRANT ALL ON mux_test.* TO '{}'@'%'", u1.name))
            .unwrap();
        let mux = one_link();
        let mut a = mux.connect(u1.tcp()).unwrap();
        let mut b = mux.connect(u1.tcp()).unwrap();
        let mut c = mux.connect(u2.tcp()).unwrap();
        a.query_drop(format!("INSERT INTO {table} (v) VALUES (1)"))
            .unwrap();
        assert_eq!(one::<u8>(&mut c, "SELECT 1"), 1);
        let e = a.query_drop("SELECT LAST_INSERT_ID()").unwrap_err();
        assert!(matches!(e, Error::NotKept { .. }), "{e}");
        let who: String = one(&mut b, "SELECT CURRENT_USER()");
        assert!(who.starts_with(&u1.name), "{who}");
    }

    #[test]
    fn what_is_executed_by_its_name_is_the_handles_as_well() {
        let table = ids("own_executed");
        let mux = one_link();
        let (mut a, mut b) = two(&mux);
        b.query_drop(format!("INSERT INTO {table} (v) VALUES (1), (2)"))
            .unwrap();
        a.query_drop("PREPARE q FROM 'SELECT LAST_INSERT_ID()'")
            .unwrap();
        assert_eq!(one::<u64>(&mut a, "EXECUTE q"), 0);
        a.query_drop(format!(
            "PREPARE q FROM 'INSERT INTO {table} (v) VALUES (3)'"
        ))
        .unwrap();
        a.query_drop("EXECUTE q").unwrap();
        assert_eq!(one::<u64>(&mut a, "SELECT LAST_INSERT_ID()"), 3);
    }

    #[test]
    fn what_a_streamed_insert_made_is_the_handles() {
        let table = ids("own_streamed");
        let insert = format!("INSERT INTO {table} (v) VALUES (1)");
        let mux = one_link();
        let mut a = mux.connect(own().keep_insert_id(true)).unwrap();
        let mut b = mux.connect(own()).unwrap();
        for _ in 0..3 {
            let rows = a.query_stream::<u8, _>(&insert).unwrap();
            assert_eq!(rows.count(), 0);
            let id = a.last_insert_id();
            assert_ne!(id, 0);
            b.query_drop(&insert).unwrap();
            assert_eq!(one::<u64>(&mut a, "SELECT LAST_INSERT_ID()"), id);
        }
        let statement = a.prep(&insert).unwrap();
        let rows = a.exec_stream::<u8, _, _>(&statement, ()).unwrap();
        assert_eq!(rows.count(), 0);
        let id = a.last_insert_id();
        b.query_drop(&insert).unwrap();
        assert_eq!(one::<u64>(&mut a, "SELECT LAST_INSERT_ID()"), id);
    }

    #[test]
    fn what_is_sent_ahead_of_a_prepared_statement_is_not_taken_for_its_reply() {
        let table = ids("own_guarded");
        let schema = Schema::new("own_elsewhere");
        for pipelining in [Pipelining::Auto, Pipelining::Off] {
            let mux = one_link();
            let opts = own().pipelining(pipelining).keep_insert_id(true);
            let mut a = mux.connect(opts.clone()).unwrap();
            let mut b = mux.connect(opts).unwrap();
            let insert = a
                .prep(format!("INSERT INTO {table} (v) VALUES (?)"))
                .unwrap();
            for round in 0..3 {
                a.exec_drop(&insert, (round,)).unwrap();
                let id = a.last_insert_id();
                b.query_drop(format!("INSERT INTO {table} (v) VALUES (9)"))
                    .unwrap();
                assert_eq!(one::<u64>(&mut a, "SELECT LAST_INSERT_ID()"), id);
                // Its names are resolved where it was prepared.
                a.select_db(&schema.name).unwrap();
                a.exec_drop(&insert, (round,)).unwrap();
                a.select_db(&server().database).unwrap();
            }
        }
    }

    #[test]
    fn a_transaction_that_goes_with_its_link_is_missed() {
        let table = ids("own_missed");
        let mux = one_link();
        let mut a = mux.connect(own().max_result_size(64 << 10)).unwrap();
        a.query_drop("BEGIN").unwrap();
        a.query_drop(format!("INSERT INTO {table} (v) VALUES (1)"))
            .unwrap();
        let e = a.query_drop(numbers(300_000, 20)).unwrap_err();
        assert!(matches!(e, Error::ResultTooLarge { .. }), "{e}");
        let e = a.query_drop("COMMIT").unwrap_err();
        assert!(matches!(e, Error::SessionLost { .. }), "{e}");
    }

    #[test]
    fn what_was_not_run_has_ended_nothing() {
        let table = ids("own_not_run");
        let mux = builder().max_links(2).build();
        let (mut a, mut b) = two(&mux);
        a.query_drop(format!("INSERT INTO {table} (v) VALUES (1)"))
            .unwrap();
        b.query_drop(format!("INSERT INTO {table} (v) VALUES (1)"))
            .unwrap();
        a.query_drop("CREATE TEMPORARY TABLE own_kept (a INT)")
            .unwrap();
        let drop = "DROP TEMPORARY TABLE own_kept; SELECT LAST_INSERT_ID()";
        let e = a.query_drop(drop).unwrap_err();
        assert!(matches!(e, Error::NotKept { .. }), "{e}");
        assert_eq!(reason(&a), Some(PinReason::TemporaryTable));
        a.query_drop("SELECT * FROM own_kept").unwrap();
    }

    #[test]
    fn a_transaction_that_could_not_begin_keeps_no_link() {
        let schema = Schema::new("own_gone");
        let mux = one_link();
        let mut a = mux.connect(schema.tcp()).unwrap();
        let mut b = mux.connect(own()).unwrap();
        a.query_drop("DO 1").unwrap();
        b.query_drop(format!("DROP DATABASE `{}`", schema.name))
            .unwrap();
        assert!(a.start_transaction(mysql_mux::TxOpts::default()).is_err());
        assert_eq!(one::<u8>(&mut b, "SELECT 1"), 1);
        server()
            .root()
            .query_drop(format!("CREATE DATABASE `{}`", schema.name))
            .unwrap();
    }

    #[test]
    fn a_variable_that_is_set_without_a_scope_is_the_handles() {
        let mux = one_link();
        let (mut a, mut b) = two(&mux);
        for set in [
            "SET @@time_zone = '+01:00'",
            "SET @@`time_zone` = '+02:00'",
            "SET @@session.time_zone = '+03:00'",
        ] {
            a.query_drop(set).unwrap();
            let other: String = one(&mut b, "SELECT @@time_zone");
            assert_eq!(other, "SYSTEM", "{set}");
        }
        assert_eq!(one::<String>(&mut a, "SELECT @@time_zone"), "+03:00");
    }

    #[test]
    fn a_routine_that_may_ask_for_a_lost_insert_id_is_not_called() {
        let table = ids("own_routine");
        let schema = Schema::new("own_routines");
        let mux = one_link();
        let mut a = mux.connect(schema.tcp()).unwrap();
        let mut b = mux.connect(schema.tcp()).unwrap();
        let insert = format!("INSERT INTO {table} (v) VALUES (1)");
        let mut root = server().root();
        root.query_drop(format!(
            "CREATE PROCEDURE `{}`.p() SELECT LAST_INSERT_ID()",
            schema.name
        ))
        .unwrap();
        b.query_drop(&insert).unwrap();
        a.query_drop(&insert).unwrap();
        let e = a.query_drop("CALL p()").unwrap_err();
        assert!(matches!(e, Error::NotKept { .. }), "{e}");
        a.query_drop(&insert).unwrap();
        let id = a.last_insert_id();
        b.query_drop(&insert).unwrap();
        assert_eq!(one::<u64>(&mut a, "CALL p()"), id);
    }
}
