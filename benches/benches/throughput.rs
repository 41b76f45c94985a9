//! Statements a second, and what becomes of the quick ones beside slow ones; by `mysql_mux` and its
//! peers, in turns, in one run on one server.
//!
//! | section | what |
//! | --- | --- |
//! | `select/…` | 64 callers read rows by primary key, prepared or as text; the blocking clients in threads |
//! | `tasks/64`, `tasks/10000` | the same by tasks; the async clients |
//! | `single/…` | one caller alone: what a statement takes |
//! | `pipeline/…` | one caller alone, who sends many before it waits |
//! | `write` | 64 callers insert, a row at a time, each committed |
//! | `mix` | 32 callers, 99 of 100 statements quick: what these take |
//! | `spike` | 50 callers at once where nothing is connected yet, 150 ms to connect, 2 ms a query |
//!
//! ```sh
//! cargo xtask bench --bench throughput -- mariadb/select --quick
//! ```
//! A pool that is called *usual* does what it does unless it is told not to (pings, resets); the
//! others of `mysql`, `mysql_async` and `sqlx` neither ping nor reset. Handles are as they come.

use hdrhistogram::Histogram;
use mysql_mux_benches::ask::{Ask, Dice, Tables};
use mysql_mux_benches::bars::{Bar, Bars, Figures};
use mysql_mux_benches::callers::{aio, mux, mysql, mysql_async, sqlx};
use mysql_mux_benches::choice::Choice;
use mysql_mux_benches::env::{self, Server};
use mysql_mux_benches::load::{Load, Plan, Round, in_turns};
use mysql_mux_benches::pools::Care;
use mysql_mux_benches::show::{digits, median, nanos, table};
use mysql_mux_benches::spike;
use mysql_mux_benches::way::Way;

const CALLERS: usize = 64;
/// Who make a mix.
const FEW: usize = 32;

const ONE: &str = "mysql_mux: 1 link";
const FOUR: &str = "mysql_mux: 4 links";
const TASKS: &str = "mysql_mux: 4 links, tasks";
const OWN: &str = "mysql: 64 connections";
const POOL: &str = "mysql: pool of 4";
const USUAL: &str = "mysql: pool of 4, usual";
const ASYNC: &str = "mysql_async: pool of 4";
const ASYNC_USUAL: &str = "mysql_async: pool of 4, usual";
const SQLX: &str = "sqlx: pool of 4";
const POOLS: &[&str] = &[POOL, ASYNC, SQLX];
const HANDLE: &str = "mysql_mux: a handle";
const PIPE: &str = "mysql_mux: pipelines of 64";
const LONG_PIPE: &str = "mysql_mux: pipelines of 1000";
const CONN: &str = "mysql: a connection";

/// A client as a load: its name, how it is made ready.
type Case = (&'static str, fn(&Way) -> Box<dyn Load>);

/// What one section's statements are, and what is of interest.
struct Section {
    name: &'static str,
    about: &'static str,
    way: fn(&Ways) -> &Way,
    ask: fn(&mut Dice) -> Ask,
    cases: fn() -> Vec<Case>,
    bars: &'static [Bar],
    shows: Shows,
}

/// The ways to one server.
struct Ways {
    socket: Way,
    tcp: Way,
    relay: Way,
}

#[derive(Clone, Copy, PartialEq)]
enum Shows {
    /// Statements a second.
    Rate,
    /// What a statement takes.
    Time,
    /// What the quick statements take, sorted.
    Latency,
}

const SELECT: &str = "64 callers, a row by primary key, prepared";
const SELECT_TEXT: &str = "64 callers, a row by primary key, as text";

const NEAR: &[Bar] = &[
    Bar::new(ONE, &[POOL]).least(3.0),
    Bar::new(ONE, &[OWN]).least(1.3),
    Bar::new(ONE, &[USUAL]),
    Bar::new(FOUR, POOLS),
    Bar::new(FOUR, &[OWN]),
];
const FAR: &[Bar] = &[
    Bar::new(FOUR, POOLS).least(10.0),
    Bar::new(FOUR, &[OWN]).least(2.0),
];
const BY_TASKS: &[Bar] = &[
    Bar::new(TASKS, &[ASYNC]),
    Bar::new(TASKS, &[ASYNC_USUAL]),
    Bar::new(TASKS, &[SQLX]),
];
const ALONE: &[Bar] = &[Bar::new(HANDLE, &[CONN])];
const PIPES: &[Bar] = &[Bar::new(PIPE, &[CONN]), Bar::new(LONG_PIPE, &[CONN])];
const WRITES: &[Bar] = &[
    Bar::new(ONE, POOLS),
    Bar::new(FOUR, POOLS),
    Bar::new(FOUR, &[USUAL]),
];
const QUICK: &[Bar] = &[Bar::new(FOUR, POOLS), Bar::new(TASKS, POOLS)];

const ALL: [Section; 14] = [
    Section::new("select/tcp", SELECT, tcp, row, selects, NEAR),
    Section::new("select/text/tcp", SELECT_TEXT, tcp, text, selects, NEAR),
    Section::new("select/relay", SELECT, relay, row, selects, FAR),
    Section::new("select/text/relay", SELECT_TEXT, relay, text, selects, FAR),
    Section::new(
        "tasks/64",
        "64 tasks, prepared",
        tcp,
        row,
        tasks::<64>,
        BY_TASKS,
    ),
    Section::new(
        "tasks/10000",
        "10,000 tasks, prepared",
        tcp,
        row,
        tasks::<10_000>,
        BY_TASKS,
    ),
    Section::new(
        "single/tcp",
        "one caller, prepared",
        tcp,
        row,
        single,
        ALONE,
    )
    .times(),
    Section::new(
        "single/socket",
        "one caller, prepared",
        socket,
        row,
        single,
        ALONE,
    )
    .times(),
    Section::new(
        "single/text/tcp",
        "one caller, text",
        tcp,
        text,
        single_text,
        ALONE,
    )
    .times(),
    Section::new(
        "single/text/socket",
        "one caller, text",
        socket,
        text,
        single_text,
        ALONE,
    )
    .times(),
    Section::new(
        "pipeline/tcp",
        "one caller, prepared",
        tcp,
        row,
        pipelines,
        PIPES,
    ),
    Section::new(
        "pipeline/relay",
        "one caller, prepared",
        relay,
        row,
        pipelines,
        PIPES,
    ),
    Section::new(
        "write",
        "64 callers, a row inserted and committed",
        tcp,
        write,
        writes,
        WRITES,
    ),
    Section::new(
        "mix",
        "32 callers; one statement in 100 sleeps 50 ms",
        tcp,
        mixed,
        mix,
        QUICK,
    )
    .latencies(),
];

fn main() {
    let choice = Choice::from_args();
    println!("mysql_mux beside mysql 28, mysql_async 0.37 and sqlx 0.9");
    let mut bars = Bars::default();
    for server in env::servers() {
        measure(&server, &choice, &mut bars);
    }
    bars.print();
}

fn measure(server: &Server, choice: &Choice, bars: &mut Bars) {
    let ways = Ways {
        socket: Way::socket(server),
        tcp: Way::tcp(server),
        relay: Way::relayed(server).expect("a port for the relay"),
    };
    let mut tables = Tables::new(&ways.socket);
    for section in ALL {
        if choice.wants(&section.full_name(server)) {
            tables.truncate();
            section.run(server, &ways, choice, bars);
        }
    }
    if choice.wants(&format!("{}/spike", server.kind)) {
        spike::run(server, &mut tables, choice, bars);
    }
}

fn socket(ways: &Ways) -> &Way {
    &ways.socket
}

fn tcp(ways: &Ways) -> &Way {
    &ways.tcp
}

fn relay(ways: &Ways) -> &Way {
    &ways.relay
}

fn row(dice: &mut Dice) -> Ask {
    Ask::Row(dice.row())
}

fn text(dice: &mut Dice) -> Ask {
    Ask::Text(dice.row())
}

fn write(dice: &mut Dice) -> Ask {
    Ask::Write(dice.row())
}

fn mixed(dice: &mut Dice) -> Ask {
    match dice.below(100) {
        0 => Ask::Slow,
        _ => row(dice),
    }
}

impl Section {
    const fn new(
        name: &'static str,
        about: &'static str,
        way: fn(&Ways) -> &Way,
        ask: fn(&mut Dice) -> Ask,
        cases: fn() -> Vec<Case>,
        bars: &'static [Bar],
    ) -> Section {
        Section {
            name,
            about,
            way,
            ask,
            cases,
            bars,
            shows: Shows::Rate,
        }
    }

    const fn times(mut self) -> Section {
        self.shows = Shows::Time;
        self
    }

    const fn latencies(mut self) -> Section {
        self.shows = Shows::Latency;
        self
    }

    fn full_name(&self, server: &Server) -> String {
        format!("{}/{}", server.kind, self.name)
    }

    fn run(&self, server: &Server, ways: &Ways, choice: &Choice, bars: &mut Bars) {
        let way = (self.way)(ways);
        let (name, version) = (self.full_name(server), &server.version);
        println!("\n{name}: {}; {version}, {}", self.about, way.about());
        let mut plan = Plan::new(choice, self.ask);
        plan.timed = self.shows == Shows::Latency;
        let mut cases = (self.cases)();
        cases.retain(|(name, _)| choice.wants_client(name));
        let mut loads: Vec<_> = cases.iter().map(|(_, make)| make(way)).collect();
        let rounds = in_turns(&plan, &mut loads);
        let outcomes: Vec<_> = cases.iter().map(|&(name, _)| name).zip(rounds).collect();
        self.print(&outcomes);
        self.compare(&name, &outcomes, bars);
    }

    fn print(&self, outcomes: &[(&str, Vec<Round>)]) {
        let head = match self.shows {
            Shows::Rate => &["client", "statements/s", "of the first", "worst", "best"][..],
            Shows::Time => &["client", "a statement", "of the first", "best", "worst"],
            Shows::Latency => &[
                "client",
                "p50",
                "p99",
                "p99.9",
                "p99 of first",
                "statements/s",
            ],
        };
        let mut rows = vec![head.iter().map(|&cell| cell.to_owned()).collect()];
        let p99 = |rounds| middle(rounds, |round| quantile(round, 0.99));
        let first = outcomes.first().map(|(_, rounds)| rounds);
        let (first_rate, first_p99) = (first.map(|r| rate(r)), first.map(|r| p99(r)));
        let beside = |value, first: Option<f64>| first.map_or(String::new(), |f| digits(value / f));
        for (name, rounds) in outcomes {
            let rate = rate(rounds);
            let rates = || rounds.iter().map(|round| round.per_second);
            let least = rates().fold(f64::INFINITY, f64::min);
            let most = rates().fold(0.0, f64::max);
            let cells = match self.shows {
                Shows::Rate => vec![
                    format!("{rate:.0}"),
                    beside(rate, first_rate),
                    format!("{least:.0}"),
                    format!("{most:.0}"),
                ],
                Shows::Time => vec![
                    nanos(1e9 / rate),
                    beside(1.0 / rate, first_rate.map(f64::recip)),
                    nanos(1e9 / most),
                    nanos(1e9 / least),
                ],
                Shows::Latency => vec![
                    nanos(middle(rounds, |round| quantile(round, 0.5))),
                    nanos(p99(rounds)),
                    nanos(middle(rounds, |round| quantile(round, 0.999))),
                    beside(p99(rounds), first_p99),
                    format!("{rate:.0}"),
                ],
            };
            rows.push([vec![(*name).to_owned()], cells].concat());
        }
        table(&rows);
    }

    /// What counts is more statements, or, where latencies are of interest, less of these.
    fn compare(&self, name: &str, outcomes: &[(&str, Vec<Round>)], bars: &mut Bars) {
        let value = |rounds: &[Round]| match self.shows {
            Shows::Latency => 1e9 / middle(rounds, |round| quantile(round, 0.99)),
            _ => rate(rounds),
        };
        let figures = outcomes.iter().map(|(name, rounds)| (*name, value(rounds)));
        let figures = Figures(figures.collect());
        let about = match self.shows {
            Shows::Latency => ", p99",
            _ => "",
        };
        for &bar in self.bars {
            bars.add(&format!("{name}{about}"), &figures, bar);
        }
    }
}

fn rate(rounds: &[Round]) -> f64 {
    middle(rounds, |round| round.per_second)
}

fn middle(rounds: &[Round], value: impl Fn(&Round) -> f64) -> f64 {
    median(rounds.iter().map(value))
}

/// Nanoseconds.
fn quantile(round: &Round, share: f64) -> f64 {
    let value = |times: &Histogram<u64>| times.value_at_quantile(share) as f64;
    round.times.as_ref().map_or(f64::NAN, value)
}

fn selects() -> Vec<Case> {
    let mut cases: Vec<Case> = vec![
        (FOUR, |way| mux::load(way, 4, CALLERS)),
        (ONE, |way| mux::load(way, 1, CALLERS)),
        (OWN, |way| mysql::dedicated(way, CALLERS)),
    ];
    cases.extend(pools::<CALLERS>());
    cases.push(usual());
    cases
}

/// What keeps a session as its own as a handle's is.
fn usual() -> Case {
    (USUAL, |way| mysql::pool(way, 4, Care::Usual, CALLERS))
}

fn tasks<const N: usize>() -> Vec<Case> {
    vec![
        (TASKS, |way| aio::load(way, 4, N)),
        (ASYNC, |way| mysql_async::pool(way, 4, Care::Nothing, N)),
        (ASYNC_USUAL, |way| mysql_async::pool(way, 4, Care::Usual, N)),
        (SQLX, |way| sqlx::pool(way, 4, Care::Nothing, N)),
        ("sqlx: pool of 4, usual", |way| {
            sqlx::pool(way, 4, Care::Usual, N)
        }),
    ]
}

fn single() -> Vec<Case> {
    vec![
        (CONN, mysql::prepared),
        (HANDLE, mux::prepared),
        ("mysql: a connection, by text", |way| {
            mysql::dedicated(way, 1)
        }),
        ("mysql_mux: a handle, by text", |way| mux::load(way, 1, 1)),
    ]
}

fn single_text() -> Vec<Case> {
    vec![
        (CONN, |way| mysql::dedicated(way, 1)),
        (HANDLE, |way| mux::load(way, 1, 1)),
    ]
}

fn pipelines() -> Vec<Case> {
    vec![
        (CONN, mysql::prepared),
        (HANDLE, mux::prepared),
        (PIPE, |way| mux::pipelined(way, 64)),
        (LONG_PIPE, |way| mux::pipelined(way, 1000)),
    ]
}

fn writes() -> Vec<Case> {
    let mut cases: Vec<Case> = vec![
        (FOUR, |way| mux::load(way, 4, CALLERS)),
        (ONE, |way| mux::load(way, 1, CALLERS)),
        (TASKS, |way| aio::load(way, 4, CALLERS)),
    ];
    cases.extend(pools::<CALLERS>());
    cases.push(usual());
    cases
}

fn mix() -> Vec<Case> {
    let mut cases: Vec<Case> = vec![
        (FOUR, |way| mux::load(way, 4, FEW)),
        (TASKS, |way| aio::load(way, 4, FEW)),
    ];
    cases.extend(pools::<FEW>());
    cases
}

/// The peers' pools, at their fastest.
fn pools<const N: usize>() -> [Case; 3] {
    [
        (POOL, |way| mysql::pool(way, 4, Care::Nothing, N)),
        (ASYNC, |way| mysql_async::pool(way, 4, Care::Nothing, N)),
        (SQLX, |way| sqlx::pool(way, 4, Care::Nothing, N)),
    ]
}
