//! What views, triggers and column defaults do to a session is the handle's own as well, though no
//! statement's text tells of it; and those that do nothing to it leave links shared.

mod support;

use mysql_mux::{PinPolicy, PinReason, Row};
use support::*;

/// A mux with one link, so that handles can't avoid each other.
fn one_link() -> Mux {
    builder().max_links(1).build()
}

/// A mux with two, so that one handle can keep one.
fn two_links() -> Mux {
    builder().max_links(2).build()
}

fn reason(handle: &Handle) -> Option<PinReason> {
    handle.pin().map(|pin| pin.reason())
}

/// A schema with tables that give ids and take values, and with what a test defines there.
fn defined(name: &str, definitions: &[&str]) -> Schema {
    let schema = Schema::new(name);
    define(
        &schema,
        &[
            "CREATE TABLE ids (id INT AUTO_INCREMENT PRIMARY KEY, v INT)",
            "CREATE TABLE items (v BIGINT)",
            "CREATE TABLE others (v BIGINT)",
        ],
    );
    define(&schema, definitions);
    schema
}

/// By another program.
fn define(schema: &Schema, definitions: &[&str]) {
    let mut root = root_in(schema);
    for sql in definitions {
        root.query_drop(*sql)
            .unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
}

fn root_in(schema: &Schema) -> Handle {
    let opts = schema.socket().user(Some("root")).pass(None::<&str>);
    mux().connect(opts.isolation(Isolation::Shared)).unwrap()
}

fn two(mux: &Mux, schema: &Schema) -> (Handle, Handle) {
    let connect = || mux.connect(schema.tcp()).unwrap();
    (connect(), connect())
}

fn is_mariadb() -> bool {
    server().kind == support::Kind::MariaDb
}

const INSERT: &str = "INSERT INTO ids (v) VALUES (1)";

/// A handle that asks gets its own id, or an error where another's stands; then its own.
fn has_its_own_id(schema: &Schema, ask: &str) {
    let mux = one_link();
    let (mut a, mut b) = two(&mux, schema);
    a.query_drop(INSERT).unwrap();
    b.query_drop(INSERT).unwrap();
    let e = error_of(a.query::<Row, _>(ask));
    assert!(matches!(e, Error::NotKept { .. }), "{ask}: {e}");
    for _ in 0..3 {
        a.query_drop(INSERT).unwrap();
        let id = a.last_insert_id();
        b.query_drop(INSERT).unwrap();
        assert_eq!(one::<u64>(&mut a, ask), id, "{ask}");
        assert_eq!(a.pin(), None);
        let by_prepared: u64 = a.exec_first(ask, ()).unwrap().unwrap();
        assert_eq!(by_prepared, id, "{ask}");
    }
}

/// A statement pins for the reason, though its text tells nothing.
fn pins(schema: &Schema, sql: &str, want: PinReason) {
    let mux = two_links();
    let (mut a, mut b) = two(&mux, schema);
    b.query_drop("SELECT COUNT(*) FROM ids").unwrap();
    a.query_drop(sql).unwrap();
    assert_eq!(reason(&a), Some(want), "{sql}");
    a.reset().unwrap();
    assert_eq!(a.pin(), None, "{sql}");
    // By a prepared statement, in a batch, and where the link is held anyway.
    a.exec_drop(sql, ()).unwrap();
    assert_eq!(reason(&a), Some(want), "prepared: {sql}");
    a.reset().unwrap();
    a.query_drop("BEGIN").unwrap();
    a.query_drop(sql).unwrap();
    a.query_drop("COMMIT").unwrap();
    assert_eq!(reason(&a), Some(want), "in a transaction: {sql}");
    a.reset().unwrap();
    let denied = schema.tcp().pin_policy(want, PinPolicy::Deny);
    let e = error_of(mux.connect(denied).unwrap().query::<Row, _>(sql));
    assert!(matches!(e, Error::PinDenied { .. }), "{sql}: {e}");
}

/// Nothing stays, and others use the same link.
fn is_shared(schema: &Schema, sql: &str) {
    let mux = one_link();
    let (mut a, mut b) = two(&mux, schema);
    for _ in 0..2 {
        a.query_drop(sql).unwrap();
        assert_eq!(a.pin(), None, "{sql}");
        b.query_drop(sql).unwrap();
        assert_eq!(b.pin(), None, "{sql}");
    }
    let before = mux.stats().total;
    a.query_drop(sql).unwrap();
    b.query_drop(sql).unwrap();
    let after = mux.stats().total;
    // A place on a lane, and nothing sent before or behind.
    assert_eq!(after.writes, before.writes + 2, "{sql}");
    assert_eq!((after.resets, after.connect_success), (0, 1), "{sql}");
}

mod views {
    use super::*;

    #[test]
    fn one_that_reads_the_last_insert_id_reads_the_handles() {
        let schema = defined(
            "def_id",
            &["CREATE VIEW last AS SELECT LAST_INSERT_ID() AS id"],
        );
        has_its_own_id(&schema, "SELECT id FROM last");
        has_its_own_id(&schema, "SELECT `LAST`.id FROM last AS `LAST`");
    }

    #[test]
    fn so_does_one_over_it_or_by_a_function() {
        let schema = defined(
            "def_over",
            &[
                "CREATE VIEW last AS SELECT LAST_INSERT_ID() AS id",
                "CREATE VIEW over_last AS SELECT id FROM last",
                "CREATE VIEW over_that AS SELECT id FROM over_last WHERE id > 0",
                "CREATE FUNCTION last_id() RETURNS BIGINT NO SQL RETURN LAST_INSERT_ID()",
                "CREATE VIEW by_function AS SELECT last_id() AS id",
            ],
        );
        has_its_own_id(&schema, "SELECT id FROM over_that");
        has_its_own_id(&schema, "SELECT id FROM by_function");
    }

    #[test]
    fn so_does_one_of_another_schema() {
        let far = defined(
            "def_far",
            &["CREATE VIEW last AS SELECT LAST_INSERT_ID() AS id"],
        );
        let near = format!("CREATE VIEW near AS SELECT id FROM `{}`.last", far.name);
        let schema = defined("def_near", &[&near]);
        has_its_own_id(&schema, &format!("SELECT id FROM `{}`.last", far.name));
        has_its_own_id(&schema, "SELECT id FROM near");
        let mux = one_link();
        let connect = || mux.connect(server().tcp().db_name(None::<&str>)).unwrap();
        let (mut a, mut b) = (connect(), connect());
        let insert = format!("INSERT INTO {}.ids (v) VALUES (1)", schema.name);
        a.query_drop(&insert).unwrap();
        b.query_drop(&insert).unwrap();
        let e = error_of(a.query::<Row, _>(format!("SELECT id FROM {}.near", schema.name)));
        assert!(matches!(e, Error::NotKept { .. }), "{e}");
    }

    #[test]
    fn one_that_asks_for_the_connection_pins() {
        let schema = defined(
            "def_conn",
            &["CREATE VIEW who AS SELECT CONNECTION_ID() AS id"],
        );
        pins(&schema, "SELECT id FROM who", PinReason::ConnectionId);
    }

    #[test]
    fn a_user_variable_of_a_views_function_is_nobody_elses() {
        let schema = defined(
            "def_into",
            &[
                "CREATE FUNCTION puts() RETURNS INT NO SQL BEGIN SELECT 7 INTO @def_x; RETURN 1; END",
                "CREATE VIEW puts_it AS SELECT puts() AS one",
            ],
        );
        pins(&schema, "SELECT one FROM puts_it", PinReason::UserVariable);
        let mux = two_links();
        let (mut a, mut b) = two(&mux, &schema);
        a.query_drop("SELECT one FROM puts_it").unwrap();
        assert_eq!(one::<Option<u8>>(&mut b, "SELECT @def_x"), None);
        assert_eq!(one::<Option<u8>>(&mut a, "SELECT @def_x"), Some(7));
    }

    #[test]
    fn a_plain_one_is_shared() {
        let schema = defined(
            "def_plain",
            &[
                "CREATE FUNCTION plus(x INT) RETURNS INT DETERMINISTIC RETURN x + 1",
                "CREATE VIEW plain AS SELECT plus(v) AS v, UPPER('a') AS u FROM items",
                // Another one is not.
                "CREATE VIEW last AS SELECT LAST_INSERT_ID() AS id",
            ],
        );
        is_shared(&schema, "SELECT v FROM plain");
    }
}

mod triggers {
    use super::*;

    fn with(name: &str, body: &str) -> Schema {
        let trigger = format!("CREATE TRIGGER tr BEFORE INSERT ON items FOR EACH ROW {body}");
        defined(name, &[&trigger])
    }

    const WRITE: &str = "INSERT INTO items VALUES (1)";

    #[test]
    fn user_variables_pin() {
        let into = with("def_tinto", "SELECT NEW.v INTO @def_x");
        pins(&into, WRITE, PinReason::UserVariable);
        let assign = with("def_tassign", "SET NEW.v = (@def_x := NEW.v + 1)");
        pins(&assign, WRITE, PinReason::UserVariable);
        let mux = two_links();
        let (mut a, mut b) = two(&mux, &into);
        a.query_drop(WRITE).unwrap();
        assert_eq!(one::<Option<u8>>(&mut b, "SELECT @def_x"), None);
        assert_eq!(one::<Option<u8>>(&mut a, "SELECT @def_x"), Some(1));
    }

    #[test]
    fn a_user_lock_pins_until_it_is_released() {
        let lock = unique("def_lock");
        let schema = with("def_tlock", &format!("SET NEW.v = GET_LOCK('{lock}', 0)"));
        pins(&schema, WRITE, PinReason::UserLock);
        let mux = two_links();
        let (mut a, mut b) = two(&mux, &schema);
        a.query_drop(WRITE).unwrap();
        let is_free = format!("SELECT IS_FREE_LOCK('{lock}')");
        assert_eq!(one::<u8>(&mut b, &is_free), 0);
        assert_eq!(
            one::<u8>(&mut a, &format!("SELECT RELEASE_LOCK('{lock}')")),
            1
        );
        assert_eq!(a.pin(), None);
        assert_eq!(one::<u8>(&mut b, &is_free), 1);
    }

    #[test]
    fn one_that_releases_what_it_took_is_shared() {
        let lock = unique("def_brief");
        let body = format!(
            "BEGIN SET NEW.v = GET_LOCK('{lock}', 5); SET NEW.v = RELEASE_LOCK('{lock}'); END"
        );
        let schema = with("def_tbrief", &body);
        let mux = one_link();
        let (mut a, mut b) = two(&mux, &schema);
        a.query_drop(WRITE).unwrap();
        assert_eq!(a.pin(), None);
        b.query_drop(WRITE).unwrap();
        assert_eq!(b.pin(), None);
    }

    #[test]
    fn a_function_that_it_calls_counts_as_the_trigger() {
        let lock = unique("def_flock");
        let schema = defined(
            "def_tcall",
            &[
                &format!(
                    "CREATE FUNCTION takes_it() RETURNS INT NO SQL RETURN GET_LOCK('{lock}', 0)"
                ),
                "CREATE PROCEDURE does(OUT r INT) SET r = takes_it()",
                "CREATE TRIGGER tr BEFORE INSERT ON items FOR EACH ROW BEGIN DECLARE r INT; CALL does(r); END",
            ],
        );
        pins(&schema, WRITE, PinReason::UserLock);
    }

    #[test]
    fn a_trigger_of_a_table_that_it_writes_to_counts_as_well() {
        let schema = defined(
            "def_tchain",
            &[
                "CREATE TRIGGER far AFTER INSERT ON others FOR EACH ROW SELECT NEW.v INTO @def_x",
                "CREATE TRIGGER tr AFTER INSERT ON items FOR EACH ROW INSERT INTO others VALUES (NEW.v)",
            ],
        );
        pins(&schema, WRITE, PinReason::UserVariable);
        is_shared(&schema, "SELECT v FROM items");
    }

    #[test]
    fn one_that_reads_the_last_insert_id_reads_the_handles() {
        let schema = with("def_tid", "SET NEW.v = LAST_INSERT_ID()");
        let mux = one_link();
        let (mut a, mut b) = two(&mux, &schema);
        a.query_drop(INSERT).unwrap();
        b.query_drop(INSERT).unwrap();
        let e = a.query_drop("INSERT INTO items VALUES (0)").unwrap_err();
        assert!(matches!(e, Error::NotKept { .. }), "{e}");
        a.query_drop(INSERT).unwrap();
        let id = a.last_insert_id();
        b.query_drop(INSERT).unwrap();
        a.query_drop("INSERT INTO items VALUES (0)").unwrap();
        assert_eq!(one::<u64>(&mut a, "SELECT MAX(v) FROM items"), id);
        // What others do is no concern of it.
        b.query_drop("INSERT INTO others VALUES (0)").unwrap();
        assert_eq!((a.pin(), b.pin()), (None, None));
    }

    #[test]
    fn harmless_ones_are_shared() {
        let schema = defined(
            "def_tplain",
            &[
                "CREATE TABLE audit (id INT AUTO_INCREMENT PRIMARY KEY, v BIGINT)",
                "CREATE TRIGGER tr BEFORE INSERT ON items FOR EACH ROW \
                 BEGIN DECLARE n DECIMAL(10, 2) DEFAULT 0; \
                 IF NEW.v < 0 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END IF; \
                 SELECT COUNT(*) INTO n FROM others WHERE v IN (1, 2); \
                 SET NEW.v = NEW.v + n; INSERT INTO audit (v) VALUES (NEW.v); END",
                // Another one is not.
                "CREATE TRIGGER bad BEFORE INSERT ON others FOR EACH ROW SET NEW.v = CONNECTION_ID()",
            ],
        );
        is_shared(&schema, WRITE);
        // The ids that it makes are not the handle's.
        let mux = one_link();
        let mut a = mux.connect(schema.tcp()).unwrap();
        a.query_drop(INSERT).unwrap();
        let id = a.last_insert_id();
        a.query_drop(WRITE).unwrap();
        assert_eq!(one::<u64>(&mut a, "SELECT LAST_INSERT_ID()"), id);
    }

    #[test]
    fn what_a_trigger_sets_moves_or_pins() {
        let schema = with("def_tset", "SET SESSION time_zone = '+07:00'");
        let mux = one_link();
        let (mut a, mut b) = two(&mux, &schema);
        a.query_drop(WRITE).unwrap();
        assert_eq!(a.pin(), None);
        assert_ne!(one::<String>(&mut b, "SELECT @@time_zone"), "+07:00");
        assert_eq!(one::<String>(&mut a, "SELECT @@time_zone"), "+07:00");
        let schema = with("def_tat", "SET @@time_zone = '+07:00'");
        let mux = two_links();
        let (mut a, mut b) = two(&mux, &schema);
        a.query_drop(WRITE).unwrap();
        assert_eq!(reason(&a), is_mariadb().then_some(PinReason::Unknown));
        assert_ne!(one::<String>(&mut b, "SELECT @@time_zone"), "+07:00");
        assert_eq!(one::<String>(&mut a, "SELECT @@time_zone"), "+07:00");
    }

    #[test]
    fn a_sequence_in_a_default_pins() {
        if !is_mariadb() {
            return;
        }
        let schema = defined(
            "def_seq",
            &[
                "CREATE SEQUENCE numbers",
                "CREATE TABLE numbered (id BIGINT DEFAULT NEXTVAL(numbers), v INT)",
            ],
        );
        let insert = "INSERT INTO numbered (v) VALUES (1)";
        pins(&schema, insert, PinReason::Sequence);
        is_shared(&schema, "SELECT v FROM numbered");
    }
}

mod later {
    use super::*;

    const WRITE: &str = "INSERT INTO items VALUES (1)";
    const TRIGGER: &str =
        "CREATE TRIGGER tr BEFORE INSERT ON items FOR EACH ROW SELECT NEW.v INTO @def_x";

    #[test]
    fn what_the_same_program_defines_is_known_at_once() {
        let schema = defined("def_later", &[]);
        let mux = two_links();
        let (mut a, mut b) = two(&mux, &schema);
        a.query_drop(WRITE).unwrap();
        assert_eq!(a.pin(), None);
        b.query_drop(TRIGGER).unwrap();
        a.query_drop(WRITE).unwrap();
        assert_eq!(reason(&a), Some(PinReason::UserVariable));
        a.reset().unwrap();
        b.query_drop("DROP TRIGGER tr").unwrap();
        a.query_drop(WRITE).unwrap();
        assert_eq!(a.pin(), None);
        // By another account of the same mux.
        let mut root = mux
            .connect(schema.socket().user(Some("root")).pass(None::<&str>))
            .unwrap();
        root.query_drop(TRIGGER).unwrap();
        a.query_drop(WRITE).unwrap();
        assert_eq!(reason(&a), Some(PinReason::UserVariable));
    }

    #[test]
    fn so_is_what_it_prepares_in_sql() {
        let schema = defined("def_prep", &[]);
        let mux = two_links();
        let (mut a, mut b) = two(&mux, &schema);
        let mut c = mux.connect(schema.tcp()).unwrap();
        b.query_drop("PREPARE p FROM 'CREATE VIEW last AS SELECT LAST_INSERT_ID() AS id'")
            .unwrap();
        a.query_drop("SELECT COUNT(*) FROM items").unwrap();
        b.query_drop("EXECUTE p").unwrap();
        // On the link that is left.
        a.query_drop(INSERT).unwrap();
        c.query_drop(INSERT).unwrap();
        let e = error_of(a.query::<Row, _>("SELECT id FROM last"));
        assert!(matches!(e, Error::NotKept { .. }), "{e}");
    }

    #[test]
    fn it_counts_however_it_is_run() {
        let schema = defined("def_how", &[TRIGGER]);
        let mux = two_links();
        let (mut a, mut b) = two(&mux, &schema);
        let why = Some(PinReason::UserVariable);
        a.pipeline(|pipe| {
            pipe.query("SELECT 1");
            pipe.query(WRITE);
            Ok(())
        })
        .unwrap();
        assert_eq!(reason(&a), why, "a pipeline");
        a.reset().unwrap();
        a.exec_batch("INSERT INTO items VALUES (?)", [(1,), (2,)])
            .unwrap();
        assert_eq!(reason(&a), why, "a batch");
        a.reset().unwrap();
        drop(a.query_iter(WRITE).unwrap());
        assert_eq!(reason(&a), why, "a result in pieces");
        a.reset().unwrap();
        a.query_drop("PREPARE p FROM 'INSERT INTO items VALUES (1)'")
            .unwrap();
        a.query_drop("EXECUTE p").unwrap();
        a.query_drop("DEALLOCATE PREPARE p").unwrap();
        assert_eq!(reason(&a), why, "prepared in SQL");
        a.reset().unwrap();
        let insert = a.prep("INSERT INTO items VALUES (?)").unwrap();
        a.select_db(&server().database).unwrap();
        a.exec_drop(&insert, (1,)).unwrap();
        assert_eq!(reason(&a), why, "prepared in another schema");
        assert_eq!(one::<Option<u8>>(&mut b, "SELECT @def_x"), None);
    }

    #[test]
    fn what_another_program_defines_is_known_after_some_time() {
        let schema = defined("def_other", &[]);
        let mux = builder()
            .max_links(2)
            .definitions_age(std::time::Duration::ZERO)
            .build();
        let (mut a, mut b) = two(&mux, &schema);
        a.query_drop(WRITE).unwrap();
        assert_eq!(a.pin(), None);
        define(&schema, &[TRIGGER]);
        eventually("the trigger is known", || {
            a.query_drop(WRITE).unwrap();
            let is_known = reason(&a) == Some(PinReason::UserVariable);
            a.reset().unwrap();
            is_known
        });
        b.query_drop(WRITE).unwrap();
        assert_eq!(reason(&b), Some(PinReason::UserVariable));
    }

    #[test]
    fn what_a_transaction_sees_is_not_changed_by_looking() {
        let schema = defined("def_tx", &[]);
        let far = defined("def_txfar", &[]);
        let mux = builder().max_links(1).build();
        let mut a = mux.connect(schema.tcp()).unwrap();
        a.query_drop("BEGIN").unwrap();
        a.query_drop("INSERT INTO items VALUES (1)").unwrap();
        // Of a schema that nobody has looked at; and the only link is in a transaction.
        a.query_drop(format!("INSERT INTO `{}`.items VALUES (1)", far.name))
            .unwrap();
        define(&schema, &["INSERT INTO others VALUES (5)"]);
        assert_eq!(one::<u8>(&mut a, "SELECT COUNT(*) FROM others"), 1);
        a.query_drop("ROLLBACK").unwrap();
    }
}

mod who_asks {
    use super::*;

    #[test]
    fn one_handle_of_many_does() {
        let schema = defined("def_many", &["CREATE VIEW plain AS SELECT v FROM items"]);
        let mux = two_links();
        let threads = handles(&mux, &schema.tcp(), 16)
            .into_iter()
            .map(|mut handle| {
                std::thread::spawn(move || {
                    for _ in 0..5 {
                        handle.query_drop("SELECT v FROM plain").unwrap();
                        handle.query_drop("INSERT INTO items VALUES (1)").unwrap();
                    }
                    handle
                })
            });
        let all = join("handles in threads", threads.collect());
        assert!(all.iter().all(|handle| handle.pin().is_none()));
        assert_eq!(mux.stats().total.resets, 0);
    }

    #[test]
    fn tasks_do_as_threads_do() {
        let schema = defined(
            "def_task",
            &["CREATE VIEW last AS SELECT LAST_INSERT_ID() AS id"],
        );
        let mux = one_link();
        futures_lite::future::block_on(async {
            let connect = || mux.connect_async(schema.tcp());
            let (mut a, mut b) = (connect().await.unwrap(), connect().await.unwrap());
            a.query_drop(INSERT).await.unwrap();
            b.query_drop(INSERT).await.unwrap();
            let e = a.query_drop("SELECT id FROM last").await.unwrap_err();
            assert!(matches!(e, Error::NotKept { .. }), "{e}");
        });
    }

    #[test]
    fn who_may_not_see_definitions_goes_on_as_before() {
        let schema = defined("def_blind", &["CREATE VIEW plain AS SELECT v FROM items"]);
        let user = User::new("def_blind");
        let mut root = server().root();
        for sql in [
            format!("REVOKE ALL PRIVILEGES ON *.* FROM '{}'@'%'", user.name),
            format!(
                "GRANT SELECT, INSERT ON `{}`.* TO '{}'@'%'",
                schema.name, user.name
            ),
        ] {
            root.query_drop(sql).unwrap();
        }
        let mux = one_link();
        let opts = user.tcp().db_name(Some(&schema.name));
        let mut a = mux.connect(opts.clone()).unwrap();
        let mut b = mux.connect(opts).unwrap();
        for handle in [&mut a, &mut b] {
            handle.query_drop("SELECT v FROM plain").unwrap();
            handle.query_drop("INSERT INTO items VALUES (1)").unwrap();
            assert_eq!(handle.pin(), None);
        }
    }
}
