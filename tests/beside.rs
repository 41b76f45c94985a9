//! Handles that share one link, and the same statements on links of their own: nobody finds anything of the other's, and
//! nobody misses what is its own. Each row is something that once went wrong without a word.
//!
//! Where the link stays with a handle the other waits for it in vain, and says so: that is an error, and no wrong answer.

mod support;

use std::time::Duration;

use mysql_mux::{Row, Value};
use support::*;

/// On which servers.
#[derive(Clone, Copy, PartialEq)]
enum On {
    Both,
    Only(Kind),
}

use On::*;

/// What root does before, and what the handles `a` and `b` do by turns.
type Program = (On, &'static [&'static str], &'static [(char, &'static str)]);

const PROGRAMS: &[Program] = &[
    // What `EXPLAIN` computes.
    (
        Both,
        &[],
        &[
            ('a', "INSERT INTO ids (v) VALUES (5)"),
            (
                'b',
                "EXPLAIN SELECT * FROM items WHERE id = LAST_INSERT_ID(42)",
            ),
            ('a', "SELECT LAST_INSERT_ID()"),
            ('b', "SELECT LAST_INSERT_ID()"),
        ],
    ),
    // Temporary tables by their names, in texts that go to other schemas.
    (
        Both,
        &[],
        &[
            ('a', "CREATE TEMPORARY TABLE t (a INT); USE {other}"),
            ('a', "DROP TABLE IF EXISTS {other}.t"),
            ('b', "SELECT * FROM {own}.t"),
        ],
    ),
    (
        Both,
        &[],
        &[
            ('a', "USE {other}"),
            ('a', "CREATE TEMPORARY TABLE {own}.t (a INT)"),
            ('a', "DROP TABLE IF EXISTS t; USE {own}"),
            ('b', "SELECT * FROM {own}.t"),
        ],
    ),
    (
        Both,
        &[],
        &[
            ('a', "PREPARE p FROM 'DROP TABLE IF EXISTS t'"),
            ('a', "USE {other}"),
            ('a', "CREATE TEMPORARY TABLE t (a INT)"),
            ('a', "EXECUTE p"),
            ('a', "DEALLOCATE PREPARE p"),
            ('b', "SELECT * FROM {other}.t"),
        ],
    ),
    (
        Only(Kind::MariaDb),
        &[],
        &[
            ('a', "CREATE TEMPORARY TABLE t (a INT)"),
            ('a', "DROP SEQUENCE IF EXISTS t"),
            ('b', "SELECT * FROM {own}.t"),
        ],
    ),
    // An error of syntax behind other statements.
    (
        Both,
        &[],
        &[
            ('a', "USE {own}; SELECT 5 INTO @x; SELEC"),
            ('b', "SELECT @x"),
        ],
    ),
    (
        Both,
        &[],
        &[
            ('a', "COMMIT; HANDLER items OPEN; SELEC"),
            ('b', "HANDLER items READ FIRST"),
        ],
    ),
    // All locks are let go of, or so it seems.
    (
        Both,
        &[],
        &[
            ('b', "SET @b = 1"),
            ('a', "SELECT GET_LOCK('{own}', 0)"),
            ('a', "SELECT IF(0, RELEASE_ALL_LOCKS(), 1)"),
            ('b', "SELECT @b"),
            ('a', "SELECT IS_FREE_LOCK('{own}')"),
        ],
    ),
    (
        Both,
        &[],
        &[
            ('b', "SET @b = 1"),
            (
                'a',
                "SELECT GET_LOCK('{own}', 0) FROM items WHERE id = 1 AND RELEASE_ALL_LOCKS() >= 0",
            ),
            ('b', "SELECT @b"),
            ('a', "SELECT IS_FREE_LOCK('{own}')"),
        ],
    ),
    // Statements that are prepared in texts with others.
    (
        Both,
        &[],
        &[
            ('b', "SET @b = 1"),
            (
                'a',
                "PREPARE p FROM 'SELECT GET_LOCK(''{own}'', 0)'; SELECT nope; PREPARE p FROM 'SELECT 1'",
            ),
            ('a', "EXECUTE p"),
            ('a', "DEALLOCATE PREPARE p"),
            ('b', "SELECT @b"),
            ('a', "SELECT IS_FREE_LOCK('{own}')"),
        ],
    ),
    (
        Both,
        &[],
        &[
            ('b', "INSERT INTO ids (v) VALUES (5)"),
            ('a', "PREPARE p FROM 'SELECT 1'"),
            ('a', "PREPARE p FROM 'SELECT LAST_INSERT_ID()'; EXECUTE p"),
        ],
    ),
    (
        Both,
        &["CREATE TRIGGER tt BEFORE INSERT ON items FOR EACH ROW SET NEW.v = GET_LOCK('{own}', 0)"],
        &[
            ('b', "SET @b = 1"),
            ('a', "PREPARE p FROM 'INSERT INTO items VALUES (9, 9)'"),
            ('a', "EXECUTE p"),
            ('a', "DEALLOCATE PREPARE p"),
            ('b', "SELECT @b"),
            ('a', "SELECT IS_FREE_LOCK('{own}')"),
        ],
    ),
    // What is defined, or where names lead, changes within a text.
    (
        Both,
        &[],
        &[
            (
                'a',
                "CREATE TRIGGER tt BEFORE INSERT ON items FOR EACH ROW SELECT 5 INTO @x; \
                 INSERT INTO items VALUES (9, 9)",
            ),
            ('b', "SELECT @x"),
        ],
    ),
    (
        Both,
        &[],
        &[
            ('b', "INSERT INTO ids (v) VALUES (5)"),
            (
                'a',
                "CREATE VIEW vv AS SELECT LAST_INSERT_ID(); SELECT * FROM vv",
            ),
        ],
    ),
    (
        Both,
        &[
            "CREATE TABLE {other}.zt (id INT)",
            "CREATE TRIGGER {other}.ztt BEFORE INSERT ON {other}.zt FOR EACH ROW SELECT 5 INTO @x",
        ],
        &[
            ('a', "USE {other}; INSERT INTO zt VALUES (1); USE {own}"),
            ('b', "SELECT @x"),
        ],
    ),
    // What is set before the statement fails.
    (
        Both,
        &["CREATE TRIGGER tt BEFORE INSERT ON items FOR EACH ROW SET time_zone = '+07:00'"],
        &[
            ('a', "INSERT INTO items VALUES (1, 1)"),
            ('b', "SELECT @@time_zone"),
            ('a', "SELECT @@time_zone"),
        ],
    ),
    (
        Both,
        &[
            "CREATE FUNCTION ff() RETURNS INT NO SQL BEGIN SET time_zone = '+07:00'; RETURN 1; END",
            "CREATE VIEW vv AS SELECT ff() AS a",
        ],
        &[
            (
                'a',
                "SELECT a, (SELECT id FROM items WHERE id >= a) FROM vv",
            ),
            ('b', "SELECT @@time_zone"),
            ('a', "SELECT @@time_zone"),
        ],
    ),
    // Variables that set each other, or what others mean.
    (
        Both,
        &[],
        &[
            ('a', "SET collation_server = latin1_bin"),
            ('a', "SET character_set_server = latin1"),
            ('b', "SET time_zone = '+05:00'"),
            ('a', "SELECT @@collation_server"),
        ],
    ),
    (
        Only(Kind::MySql),
        &[],
        &[
            (
                'a',
                "SET default_collation_for_utf8mb4 = utf8mb4_general_ci",
            ),
            ('a', "SET NAMES utf8mb4"),
            ('b', "SELECT @@collation_connection"),
        ],
    ),
    (
        Both,
        &[],
        &[
            ('a', "SET sql_select_limit = 0"),
            ('a', "SET character_set_client = latin1"),
            ('b', "SELECT @@character_set_client"),
        ],
    ),
    (
        Only(Kind::MariaDb),
        &[],
        &[
            ('a', "SET slow_query_log = 1"),
            ('a', "SET log_slow_query = 0"),
            ('b', "SET time_zone = '+05:00'"),
            ('a', "SELECT @@slow_query_log"),
        ],
    ),
    (
        Only(Kind::MariaDb),
        &[],
        &[
            ('a', "SET old_alter_table = 'COPY'"),
            ('a', "SET alter_algorithm = DEFAULT"),
            ('b', "SET time_zone = '+05:00'"),
            ('a', "SELECT @@alter_algorithm"),
        ],
    ),
    (
        Only(Kind::MariaDb),
        &[],
        &[
            ('a', "SET log_slow_disabled_statements = 'admin,call'"),
            ('a', "SET log_slow_admin_statements = 1"),
            ('b', "SET time_zone = '+05:00'"),
            ('a', "SELECT @@log_slow_disabled_statements"),
        ],
    ),
];

/// Two schemas with the same tables.
struct Ground {
    own: Schema,
    other: Schema,
}

impl Ground {
    fn new(before: &[&str]) -> Ground {
        let ground = Ground {
            own: Schema::new("beside"),
            other: Schema::new("elsewhere"),
        };
        let mut root = mux().connect(ground.opts()).unwrap();
        root.query_drop("CREATE TABLE ids (id INT AUTO_INCREMENT PRIMARY KEY, v INT)")
            .unwrap();
        root.query_drop("CREATE TABLE items (id INT PRIMARY KEY, v INT)")
            .unwrap();
        root.query_drop("INSERT INTO items VALUES (1, 1), (2, 2), (3, 3)")
            .unwrap();
        let mut super_root = server().root();
        super_root
            .query_drop(format!("USE {}", ground.own.name))
            .unwrap();
        for sql in before {
            super_root.query_drop(ground.text(sql)).unwrap();
        }
        ground
    }

    fn opts(&self) -> OptsBuilder {
        self.own.tcp().multi_statements(true)
    }

    fn text(&self, sql: &str) -> String {
        sql.replace("{own}", &self.own.name)
            .replace("{other}", &self.other.name)
    }

    /// What comes of it, for people: all rows of all results, or the server's error.
    fn run(&self, handle: &mut Handle, sql: &str) -> Told {
        let rows = |handle: &mut Handle| -> mysql_mux::Result<Vec<Vec<Value>>> {
            let mut all = Vec::new();
            let mut result = handle.query_iter(self.text(sql))?;
            while let Some(set) = result.iter() {
                for row in set {
                    all.push(Row::unwrap(row?));
                }
            }
            Ok(all)
        };
        match rows(handle) {
            Ok(rows) => Told::This(format!("{rows:?}")),
            Err(Error::MySqlError(e)) => Told::This(format!("error {}", e.code)),
            Err(e) => Told::Honest(e.to_string()),
        }
    }
}

#[derive(Debug, PartialEq)]
enum Told {
    This(String),
    /// An error of ours.
    Honest(String),
}

/// Names differ from ground to ground.
fn alike(ground: &Ground, told: &str) -> String {
    told.replace(&ground.own.name, "own")
        .replace(&ground.other.name, "other")
}

#[test]
fn what_handles_do_on_one_link_is_what_they_do_on_links_of_their_own() {
    for (on, before, steps) in PROGRAMS {
        if *on != Both && *on != Only(server().kind) {
            continue;
        }
        let ground = Ground::new(before);
        let mut alone = [ground.opts(), ground.opts()].map(|opts| mux().connect(opts).unwrap());
        let expected: Vec<_> = steps
            .iter()
            .map(|(who, sql)| ground.run(&mut alone[usize::from(*who == 'b')], sql))
            .map(|told| match told {
                Told::This(told) => alike(&ground, &told),
                Told::Honest(e) => panic!("{steps:?}: {e}"),
            })
            .collect();
        drop(alone);

        let ground = Ground::new(before);
        let mux = builder()
            .max_links(1)
            .acquire_timeout(Duration::from_millis(300))
            .build();
        let mut beside = [ground.opts(), ground.opts()].map(|opts| mux.connect(opts).unwrap());
        let mut missed = [false; 2];
        for ((who, sql), expected) in steps.iter().zip(&expected) {
            let who = usize::from(*who == 'b');
            match ground.run(&mut beside[who], sql) {
                // What it did not do is missed by itself and, where it writes, by all.
                Told::Honest(_) => missed = [missed[0] || who == 0, true],
                Told::This(_) if missed[who] => {}
                Told::This(told) => {
                    assert_eq!(alike(&ground, &told), *expected, "{sql} of {steps:?}")
                }
            }
        }
    }
}

#[test]
fn what_a_pipeline_goes_to_or_defines_is_known_to_those_behind_it() {
    let ground = Ground::new(&[
        "CREATE TABLE {other}.zt (id INT)",
        "CREATE TRIGGER {other}.ztt BEFORE INSERT ON {other}.zt FOR EACH ROW SELECT 5 INTO @x",
    ]);
    let texts: [&[&str]; 2] = [
        &["USE {other}", "INSERT INTO zt VALUES (1)", "USE {own}"],
        &[
            "CREATE TABLE made (id INT)",
            "CREATE TRIGGER mt BEFORE INSERT ON made FOR EACH ROW SELECT 5 INTO @x",
            "INSERT INTO made VALUES (1)",
        ],
    ];
    for texts in texts {
        let mux = builder()
            .max_links(1)
            .acquire_timeout(Duration::from_millis(300))
            .build();
        let mut handle = mux.connect(ground.opts()).unwrap();
        let mut other = mux.connect(ground.opts()).unwrap();
        let results = handle.pipeline(|p| {
            for sql in texts {
                p.query(ground.text(sql));
            }
            Ok(())
        });
        for result in results.unwrap() {
            result.unwrap();
        }
        match other.query_first::<Option<u32>, _>("SELECT @x") {
            Ok(x) => assert_eq!(x, Some(None), "{texts:?}"),
            // The link is with the handle, as it may have anything there.
            Err(Error::AcquireTimeout(_)) => {}
            Err(e) => panic!("{e}"),
        }
        assert_eq!(one::<u32>(&mut handle, "SELECT @x"), 5);
    }
}
