//! What a session of one's own costs (`Isolation::Session`), in one run for each server.
//!
//! | section | what |
//! | --- | --- |
//! | `neutral` | statements that need nothing of the session, beside `Isolation::Shared` |
//! | `time_zone/…`, `schema/…` | two handles whose sessions differ, in turn on one link |
//! | `insert id` | an insert, and `SELECT LAST_INSERT_ID()` |
//! | `user variable` | `SET @v = …`, and `SELECT @v`; two links: where each handle has one to itself |
//! | `counts` | round trips and writes of all of these but the first |
//!
//! ```sh
//! cargo xtask bench --bench sessions -- mariadb/sessions/schema --quick
//! ```
//! Every answer is checked, and so is where each row went that was written: a switch that was left
//! out would be the cheapest.

use std::env::split_paths;

use mysql::ChangeUserOpts;
use mysql::prelude::Queryable as _;
use mysql_mux::prelude::Queryable as _;
use mysql_mux::{Isolation, Mux};
use mysql_mux_benches::ask::{ASKS, Ask, AskFor, Dice, Tables};
use mysql_mux_benches::bars::{Bar, Bars, Figures};
use mysql_mux_benches::callers::mux;
use mysql_mux_benches::choice::Choice;
use mysql_mux_benches::env::{self, Server};
use mysql_mux_benches::load::{Caller, Load, Plan, Round, Threads, in_turns, time};
use mysql_mux_benches::show::{digits, median, nanos, table};
use mysql_mux_benches::way::Way;

/// Statements of `Session` for one of `Shared` where nothing of the session is needed.
const NEUTRAL: f64 = 0.95;
const CALLERS: [usize; 2] = [1, 16];
/// That bar is close to the noise.
const ROUNDS: usize = 9;

const HANDLES: &str = "mysql_mux: two handles";
const ALIKE: &str = "mysql_mux: two handles, nothing differs";
const CONNS: &str = "mysql: two connections";
const RESET: &str = "mysql: COM_RESET_CONNECTION and SET or USE";
const CHANGE: &str = "mysql: COM_CHANGE_USER (time_zone: and SET)";
const FRESH: &str = "mysql: a fresh connect";
const SWITCHES: [Bar; 2] = [
    Bar::new(HANDLES, &[RESET, CHANGE, FRESH]),
    Bar::new(HANDLES, &[CONNS]),
];

const CONN: &str = "mysql: a connection";
const ALONE: &str = "mysql_mux: a handle";
const IN_TURN: &str = "mysql_mux: two handles in turn";
const ON_TWO: &str = "mysql_mux: two handles in turn, two links";

fn main() {
    let choice = Choice::from_args();
    println!("What a session of one's own costs, beside mysql 28");
    let mut bars = Bars::default();
    for server in env::servers() {
        neutral(&server, &choice, &mut bars);
        let mut places = Places::new(&server);
        let relayed = Way::relayed(&server).expect("a port for the relay");
        for way in [Way::tcp(&server), relayed] {
            for differ in [Differ::time_zone(&server), Differ::schema(&server)] {
                for (act, ask) in ACTS {
                    switches(&way, &differ, act, ask, &choice, &mut bars);
                }
            }
            insert_id(&way, &choice, &mut bars);
            user_variable(&way, &choice, &mut bars);
        }
        counts(&server, &mut places, &choice);
    }
    if has_router() {
        println!("\nMySQL Router is here; it is not measured.");
    }
    bars.print();
}

const ACTS: [(&str, AskFor); 2] = [("read", Ask::text), ("write", Ask::write)];

/// Whether another way to share connections could have been measured.
fn has_router() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    split_paths(&path).any(|folder| folder.join("mysqlrouter").is_file())
}

/// Statements that every session answers alike, by handles of either isolation over one link.
fn neutral(server: &Server, choice: &Choice, bars: &mut Bars) {
    let section = format!("{}/sessions/neutral", server.kind);
    if !choice.wants(&section) {
        return;
    }
    let way = Way::tcp(server);
    println!(
        "\n{section}: handles over one link, a statement; {}, {}",
        server.version,
        way.about()
    );
    let mut tables = Tables::new(&Way::socket(server));
    let head = [
        "statement",
        "callers",
        "Shared",
        "Session",
        "of Shared",
        "Shared again",
        "of Shared",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (about, ask) in ASKS {
        for callers in CALLERS {
            tables.truncate();
            let plan = Plan::new(choice, ask).rounds(choice, ROUNDS);
            let load = |isolation| mux::load_with(way.mux().isolation(isolation), 1, callers);
            let modes = [Isolation::Shared, Isolation::Session, Isolation::Shared];
            let rounds = in_turns(&plan, &mut modes.map(load));
            let [shared, own, again] = [0, 1, 2].map(|at| &rounds[at][..]);
            let mut row = vec![about.to_owned(), callers.to_string(), nanos(time(shared))];
            for other in [own, again] {
                row.extend([nanos(time(other)), digits(beside(shared, other))]);
            }
            rows.push(row);
            let section = format!("{section}, {about}, {callers}");
            let is = beside(own, shared);
            bars.ratio(&section, "Session", "Shared", is, Some(NEUTRAL));
        }
    }
    table(&rows);
}

/// How many times the statements of others. Round by round: noise lasts longer than one.
fn beside(rounds: &[Round], others: &[Round]) -> f64 {
    let pairs = rounds.iter().zip(others);
    median(pairs.map(|(round, other)| round.per_second / other.per_second))
}

/// What two sessions differ in, and statements that depend on it.
#[derive(Clone)]
struct Differ {
    name: &'static str,
    /// What makes a session one or the other.
    settle: [String; 2],
    schemas: [String; 2],
    /// The schema alone comes with a login.
    by_login: bool,
    read: &'static str,
    answers: [&'static str; 2],
    write: &'static str,
}

impl Differ {
    fn time_zone(server: &Server) -> Differ {
        Differ {
            name: "time_zone",
            settle: ["+01:00", "+02:00"].map(|zone| format!("SET time_zone = '{zone}'")),
            schemas: [server.database.clone(), server.database.clone()],
            by_login: false,
            read: "SELECT at FROM bench_place WHERE id = 1",
            answers: ["1970-01-02 01:00:00", "1970-01-02 02:00:00"],
            write: "INSERT INTO bench_said (said) VALUES (FROM_UNIXTIME(86400))",
        }
    }

    fn schema(server: &Server) -> Differ {
        let schemas = [server.database.clone(), THERE.to_owned()];
        Differ {
            name: "schema",
            settle: schemas.each_ref().map(|schema| format!("USE `{schema}`")),
            schemas,
            by_login: true,
            read: "SELECT name FROM bench_place WHERE id = 1",
            answers: PLACES,
            write: "INSERT INTO bench_said (said) VALUES ('something')",
        }
    }

    /// Counts the rows that one of the two wrote.
    fn written(&self, number: usize) -> String {
        let table = format!("SELECT COUNT(*) FROM `{}`.bench_said", self.schemas[number]);
        match self.by_login {
            true => table,
            false => format!("{table} WHERE said = '{}'", self.answers[number]),
        }
    }
}

const THERE: &str = "mux_bench_there";
const PLACES: [&str; 2] = ["here", "there"];

/// The same tables in two schemas, as long as they are needed.
struct Places {
    conn: mysql::Conn,
    schemas: [String; 2],
}

impl Places {
    /// Over the socket: MySQL then knows the password's hash, and takes it over TCP in the short
    /// way too.
    fn new(server: &Server) -> Places {
        let opts = Way::socket(server).mysql();
        let conn = mysql::Conn::new(opts).expect("mysql connects");
        let schemas = [server.database.clone(), THERE.to_owned()];
        let mut places = Places { conn, schemas };
        places.run(&format!("DROP DATABASE IF EXISTS {THERE}"));
        places.run(&format!("CREATE DATABASE {THERE}"));
        for (schema, name) in places.schemas.clone().iter().zip(PLACES) {
            for sql in [
                format!("USE `{schema}`"),
                "DROP TABLE IF EXISTS bench_place, bench_said".to_owned(),
                "CREATE TABLE bench_place (id INT PRIMARY KEY, at TIMESTAMP NOT NULL, \
                 name VARCHAR(20) NOT NULL) ENGINE = InnoDB"
                    .to_owned(),
                format!("INSERT INTO bench_place VALUES (1, FROM_UNIXTIME(86400), '{name}')"),
                "CREATE TABLE bench_said (id BIGINT PRIMARY KEY AUTO_INCREMENT, \
                 said VARCHAR(40) NOT NULL) ENGINE = InnoDB"
                    .to_owned(),
            ] {
                places.run(&sql);
            }
        }
        places
    }

    fn run(&mut self, sql: &str) {
        self.conn.query_drop(sql).expect("it runs");
    }

    fn truncate(&mut self) {
        for schema in self.schemas.clone() {
            self.run(&format!("TRUNCATE TABLE `{schema}`.bench_said"));
        }
    }

    fn count(&mut self, sql: &str) -> usize {
        let count = self.conn.query_first(sql).expect("it runs");
        count.expect("a count is a row")
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        let [here, there] = &self.schemas;
        for sql in [
            format!("DROP TABLE `{here}`.bench_place, `{here}`.bench_said"),
            format!("DROP DATABASE `{there}`"),
        ] {
            if let Err(e) = self.conn.query_drop(sql) {
                eprintln!("the tables stay behind: {e}");
            }
        }
    }
}

/// A client that is one session, then the other, and so on, a statement in each.
struct Turns {
    caller: Caller,
    /// Which of the two sessions it is in turn.
    numbers: [usize; 2],
    /// For its counts.
    mux: Option<Mux>,
}

impl Turns {
    fn of_peer(caller: impl FnMut(Ask) + Send + 'static) -> Turns {
        Turns {
            caller: Box::new(caller),
            numbers: [0, 1],
            mux: None,
        }
    }
}

/// A client: its name, how it is made ready.
type Case<T> = (&'static str, fn(&Way, &T) -> Turns);

const CASES: [Case<Differ>; 6] = [
    (HANDLES, |way, differ| handles(way, differ, [0, 1])),
    (ALIKE, |way, differ| handles(way, differ, [0, 0])),
    (CONNS, connections),
    (RESET, reset),
    (CHANGE, change_user),
    (FRESH, fresh),
];

/// A statement in one of the two sessions, by a handle or a connection.
macro_rules! turn {
    ($conn:expr, $differ:expr, $number:expr, $ask:expr) => {
        match $ask {
            Ask::Write(_) => $conn.query_drop($differ.write).expect("it runs"),
            _ => {
                let said: Option<String> = $conn.query_first($differ.read).expect("it runs");
                assert_eq!(said.as_deref(), Some($differ.answers[$number]));
            }
        }
    };
}

fn handles(way: &Way, differ: &Differ, numbers: [usize; 2]) -> Turns {
    let mux = Mux::builder().max_links(1).build();
    let differ = differ.clone();
    let mut both = numbers.map(|number| {
        let opts = way.mux().isolation(Isolation::Session);
        let mut handle = mux.connect(opts).expect("a handle");
        handle.query_drop(&differ.settle[number]).expect("it runs");
        (number, handle)
    });
    let caller = move |ask| {
        let (number, handle) = &mut both[0];
        turn!(handle, differ, *number, ask);
        both.rotate_left(1);
    };
    Turns {
        caller: Box::new(caller),
        numbers,
        mux: Some(mux),
    }
}

/// As one of the two.
fn connect(way: &Way, differ: &Differ, number: usize) -> mysql::Conn {
    let opts = mysql::OptsBuilder::from_opts(way.mysql()).db_name(Some(&differ.schemas[number]));
    let mut conn = mysql::Conn::new(opts).expect("mysql connects");
    if !differ.by_login {
        conn.query_drop(&differ.settle[number]).expect("it runs");
    }
    conn
}

fn connections(way: &Way, differ: &Differ) -> Turns {
    let differ = differ.clone();
    let mut both = [0, 1].map(|number| (number, connect(way, &differ, number)));
    Turns::of_peer(move |ask| {
        let (number, conn) = &mut both[0];
        turn!(conn, differ, *number, ask);
        both.rotate_left(1);
    })
}

fn reset(way: &Way, differ: &Differ) -> Turns {
    let differ = differ.clone();
    let mut conn = connect(way, &differ, 0);
    let mut numbers = [0, 1];
    Turns::of_peer(move |ask| {
        let number = numbers[0];
        conn.reset().expect("it is reset");
        conn.query_drop(&differ.settle[number]).expect("it runs");
        turn!(conn, differ, number, ask);
        numbers.rotate_left(1);
    })
}

fn change_user(way: &Way, differ: &Differ) -> Turns {
    let differ = differ.clone();
    let mut conn = connect(way, &differ, 0);
    let mut numbers = [0, 1];
    Turns::of_peer(move |ask| {
        let number = numbers[0];
        let schema = differ.schemas[number].clone();
        let opts = ChangeUserOpts::new().with_db_name(Some(schema));
        conn.change_user(opts).expect("it is the same user");
        if !differ.by_login {
            conn.query_drop(&differ.settle[number]).expect("it runs");
        }
        turn!(conn, differ, number, ask);
        numbers.rotate_left(1);
    })
}

/// Closed again too: nothing of it is done behind somebody's back.
fn fresh(way: &Way, differ: &Differ) -> Turns {
    let (way, differ) = (way.clone(), differ.clone());
    let mut numbers = [0, 1];
    Turns::of_peer(move |ask| {
        let number = numbers[0];
        let mut conn = connect(&way, &differ, number);
        turn!(conn, differ, number, ask);
        numbers.rotate_left(1);
    })
}

fn switches(way: &Way, differ: &Differ, act: &str, ask: AskFor, choice: &Choice, bars: &mut Bars) {
    let section = format!("{}/sessions/{}/{act}", way.server.kind, differ.name);
    let about = format!("two sessions in turn, a {act} each");
    let bars = (&SWITCHES[..], bars);
    times(way, &section, &about, ask, (&CASES, differ), choice, bars);
}

/// An insert that leaves an id, and who asks for it in SQL.
const INSERT: &str = "INSERT INTO bench_said (said) VALUES ('something')";
const LAST: &str = "SELECT LAST_INSERT_ID()";

const IDS: [Case<()>; 3] = [
    (CONN, |way, ()| {
        let mut conn = mysql::Conn::new(way.mysql()).expect("mysql connects");
        Turns::of_peer(move |_| {
            conn.query_drop(INSERT).expect("it runs");
            let id = conn.last_insert_id();
            check_id(id, conn.query_first(LAST).expect("it runs"));
        })
    }),
    (ALONE, |way, ()| inserting::<1>(way)),
    (IN_TURN, |way, ()| inserting::<2>(way)),
];

/// Handles that insert in turn, and ask when all of them have inserted since: the id has to be kept.
fn inserting<const N: usize>(way: &Way) -> Turns {
    let mux = Mux::builder().max_links(1).build();
    let opts = way.mux().isolation(Isolation::Session).keep_insert_id(true);
    let opts = mysql_mux::Opts::from(opts);
    let mut handles = [(); N].map(|()| {
        let mut handle = mux.connect(&opts).expect("a handle");
        handle.query_drop(INSERT).expect("it runs");
        let id = handle.last_insert_id();
        (id, handle)
    });
    let caller = move |_| {
        let (id, handle) = &mut handles[0];
        handle.query_drop(INSERT).expect("it runs");
        *id = handle.last_insert_id();
        handles.rotate_left(1);
        let (id, handle) = &mut handles[0];
        check_id(*id, handle.query_first(LAST).expect("it runs"));
    };
    Turns {
        caller: Box::new(caller),
        numbers: [0, 0],
        mux: Some(mux),
    }
}

fn check_id(id: u64, said: Option<u64>) {
    assert_eq!(said, Some(id).filter(|&id| id > 0), "LAST_INSERT_ID()");
}

fn insert_id(way: &Way, choice: &Choice, bars: &mut Bars) {
    const BARS: [Bar; 2] = [Bar::new(ALONE, &[CONN]), Bar::new(IN_TURN, &[CONN])];
    let section = format!("{}/sessions/insert id", way.server.kind);
    let about = "an insert, and SELECT LAST_INSERT_ID(), with keep_insert_id";
    let bars = (&BARS[..], bars);
    times(way, &section, about, Ask::write, (&IDS, &()), choice, bars);
}

const VARIABLES: [Case<()>; 4] = [
    (CONN, |way, ()| {
        let mut conn = mysql::Conn::new(way.mysql()).expect("mysql connects");
        let mut number = 0u64;
        Turns::of_peer(move |_| {
            number += 1;
            conn.query_drop(format!("SET @v = {number}"))
                .expect("it runs");
            let said = conn.query_first("SELECT @v").expect("it runs");
            assert_eq!(said, Some(number));
        })
    }),
    (ALONE, |way, ()| setting::<1>(way, 1)),
    (IN_TURN, |way, ()| setting::<2>(way, 1)),
    (ON_TWO, |way, ()| setting::<2>(way, 2)),
];

/// Handles that set their variables in turn, and ask when all of them have.
fn setting<const N: usize>(way: &Way, links: usize) -> Turns {
    let mux = Mux::builder().max_links(links).build();
    let opts = mysql_mux::Opts::from(way.mux().isolation(Isolation::Session));
    let mut handles = [(); N].map(|()| (0, mux.connect(&opts).expect("a handle")));
    for (_, handle) in &mut handles {
        handle.query_drop("SET @v = 0").expect("it runs");
    }
    let mut last = 0u64;
    let caller = move |_| {
        let (number, handle) = &mut handles[0];
        last += 1;
        *number = last;
        handle
            .query_drop(format!("SET @v = {last}"))
            .expect("it runs");
        handles.rotate_left(1);
        let (number, handle) = &mut handles[0];
        let said = handle.query_first("SELECT @v").expect("it runs");
        assert_eq!(said, Some(*number));
    };
    Turns {
        caller: Box::new(caller),
        numbers: [0, 0],
        mux: Some(mux),
    }
}

fn user_variable(way: &Way, choice: &Choice, bars: &mut Bars) {
    let section = format!("{}/sessions/user variable", way.server.kind);
    let about = "SET @v, and SELECT @v";
    times(
        way,
        &section,
        about,
        Ask::text,
        (&VARIABLES, &()),
        choice,
        (&[], bars),
    );
}

/// What one turn takes with each client.
fn times<T>(
    way: &Way,
    section: &str,
    about: &str,
    ask: AskFor,
    (cases, with): (&[Case<T>], &T),
    choice: &Choice,
    (least, bars): (&[Bar], &mut Bars),
) {
    let section = format!("{section}/{}", way.name);
    if !choice.wants(&section) {
        return;
    }
    let (version, way_about) = (&way.server.version, way.about());
    println!("\n{section}: {about}; {version}, {way_about}");
    let cases = cases.iter().filter(|(name, _)| choice.wants_client(name));
    let cases: Vec<_> = cases.collect();
    let load = |(_, make): &&Case<T>| {
        let turns = make(way, with);
        Box::new(Threads(vec![turns.caller])) as Box<dyn Load>
    };
    let mut loads: Vec<_> = cases.iter().map(load).collect();
    let outcomes = in_turns(&Plan::new(choice, ask), &mut loads);
    let head = ["client", "a turn", "of the first", "best", "worst"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mut figures = Figures(Vec::new());
    for ((name, _), rounds) in cases.iter().zip(&outcomes) {
        let each = |rate: f64| nanos(1e9 / rate);
        let rates = || rounds.iter().map(|round| round.per_second);
        rows.push(vec![
            (*name).to_owned(),
            nanos(time(rounds)),
            digits(time(rounds) / time(&outcomes[0])),
            each(rates().fold(0.0, f64::max)),
            each(rates().fold(f64::INFINITY, f64::min)),
        ]);
        figures.0.push((name, 1.0 / time(rounds)));
    }
    table(&rows);
    for &bar in least {
        bars.add(&section, &figures, bar);
    }
}

/// What goes over the wire in each turn; and whether what was written is where it belongs.
fn counts(server: &Server, places: &mut Places, choice: &Choice) {
    let section = format!("{}/sessions/counts", server.kind);
    if !choice.wants(&section) {
        return;
    }
    println!("\n{section}: of one turn; {}", server.version);
    let head = [
        "what",
        "client",
        "round trips",
        "writes",
        "resets, changes of user",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for differ in [Differ::time_zone(server), Differ::schema(server)] {
        for (act, ask) in ACTS {
            for (name, make) in CASES {
                let what = format!("{}, {act}", differ.name);
                places.truncate();
                let (turns, done) = count(
                    server,
                    ask,
                    choice,
                    |way| make(way, &differ),
                    |cells| {
                        rows.push([vec![what, name.to_owned()], cells].concat());
                    },
                );
                if act == "write" {
                    check_places(places, &differ, &turns, done, name);
                }
            }
        }
    }
    let others = IDS.map(|case| ("insert id", case)).into_iter();
    let others = others.chain(VARIABLES.map(|case| ("user variable", case)));
    for (what, (name, make)) in others {
        count(
            server,
            Ask::write,
            choice,
            |way| make(way, &()),
            |cells| {
                rows.push([vec![what.to_owned(), name.to_owned()], cells].concat());
            },
        );
    }
    table(&rows);
}

/// Each session wrote what it was to write, where it was to.
fn check_places(places: &mut Places, differ: &Differ, turns: &Turns, done: usize, name: &str) {
    for number in [0, 1] {
        let share = turns.numbers.iter().filter(|&&it| it == number).count();
        let written = places.count(&differ.written(number));
        assert_eq!(written, done * share / 2, "{name}: {}", differ.name);
    }
}

/// Has a client take its turns, and shows what was counted. How many turns it took in all.
fn count(
    server: &Server,
    ask: AskFor,
    choice: &Choice,
    make: impl Fn(&Way) -> Turns,
    show: impl FnOnce(Vec<String>),
) -> (Turns, usize) {
    /// Each session twice: what is learned once has been learned.
    const WARM_UP: usize = 4;
    let (way, counter) = Way::counted(server).expect("a port for the relay");
    let mut turns = make(&way);
    let mut dice = Dice::new(0);
    let mut take = |turns: &mut Turns, times: usize| {
        (0..times).for_each(|_| (turns.caller)(ask(&mut dice)));
        let stats = turns.mux.as_ref().map(|mux| mux.stats().total);
        (counter.round_trips(), stats)
    };
    let times = choice.or_quick(1000, 50);
    let (trips, before) = take(&mut turns, WARM_UP);
    let (trips_after, after) = take(&mut turns, times);
    let each = |count: u64| digits(count as f64 / times as f64);
    let ours = before.zip(after).map(|(before, after)| {
        let begins = (after.resets + after.user_changes) - (before.resets + before.user_changes);
        [each(after.writes - before.writes), each(begins)]
    });
    let ours = ours.unwrap_or_else(|| ["-", "-"].map(str::to_owned));
    show([vec![each(trips_after - trips)], ours.to_vec()].concat());
    (turns, WARM_UP + times)
}
