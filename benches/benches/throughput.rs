//! Statements a second, and what becomes of the quick ones beside slow ones; by `mysql_mux` and its
//! peers, in turns, in one run on one server.
//!
//! | section | what |
//! | --- | --- |
//! | `select/tcp`, `select/relay` | 64 callers read rows by primary key, prepared; the blocking clients in threads |
//! | `tasks/64`, `tasks/10000` | the same by tasks; the async clients |
//! | `single/…` | one caller alone: what a statement takes |
//! | `write` | 64 callers insert, a row at a time, each committed |
//! | `mix` | 64 callers, 99 of 100 statements quick: what these take |
//! | `spike` | 50 callers at once where nothing is connected yet, 150 ms to connect, 2 ms a query |
//!
//! ```sh
//! cargo xtask bench --bench throughput -- mariadb/select --quick
//! ```
//! A pool that is called *usual* does what it does unless it is told not to (pings, resets); the
//! others of `mysql`, `mysql_async` and `sqlx` neither ping nor reset. Handles are as they come.

use hdrhistogram::Histogram;
use mysql_mux_benches::ask::{Ask, Dice, Tables};
#[cfg(feature = "aio")]
use mysql_mux_benches::callers::aio;
use mysql_mux_benches::callers::{mux, mysql, mysql_async, sqlx};
use mysql_mux_benches::choice::Choice;
use mysql_mux_benches::env::{self, Server};
use mysql_mux_benches::load::{Load, Plan, Round, in_turns};
use mysql_mux_benches::pools::Care;
use mysql_mux_benches::show::{digits, median, nanos, table};
use mysql_mux_benches::spike;
use mysql_mux_benches::way::Way;

const CALLERS: usize = 64;
const OURS: &str = "mysql_mux";

/// A client as a load: its name, how it is made ready.
type Case = (&'static str, fn(&Way) -> Box<dyn Load>);

/// What one section's statements are, and what is of interest.
struct Section<'a> {
    name: String,
    about: &'a str,
    way: &'a Way,
    plan: Plan,
    cases: Vec<Case>,
    shows: Shows,
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

/// The best of ours and of the peers, for the end.
struct Verdict {
    section: String,
    ours: (&'static str, f64),
    peer: (&'static str, f64),
}

fn main() {
    let choice = Choice::from_args();
    println!("mysql_mux beside mysql 28, mysql_async 0.37 and sqlx 0.9");
    let mut verdicts = Vec::new();
    for server in env::servers() {
        measure(&server, &choice, &mut verdicts);
    }
    print_verdicts(&verdicts);
}

fn measure(server: &Server, choice: &Choice, verdicts: &mut Vec<Verdict>) {
    let socket = Way::socket(server);
    let tcp = Way::tcp(server);
    let relay = Way::relayed(server).expect("a port for the relay");
    let mut tables = Tables::new(&socket);
    let plan = |ask| Plan::new(choice, ask);
    let row: fn(&mut Dice) -> Ask = |dice| Ask::Row(dice.row());
    let text: fn(&mut Dice) -> Ask = |dice| Ask::Text(dice.row());
    let section = |name, about, way, plan, cases| Section {
        name: format!("{}/{name}", server.kind),
        about,
        way,
        plan,
        cases,
        shows: Shows::Rate,
    };
    let select = "64 callers, a row by primary key, prepared";
    let sections = [
        section("select/tcp", select, &tcp, plan(row), selects()),
        section("select/relay", select, &relay, plan(row), selects()),
        section(
            "tasks/64",
            "64 tasks, a row by primary key, prepared",
            &tcp,
            plan(row),
            tasks::<64>(),
        ),
        section(
            "tasks/10000",
            "10,000 tasks, a row by primary key, prepared",
            &tcp,
            plan(row),
            tasks::<10_000>(),
        ),
        section("single/tcp", "one caller alone", &tcp, plan(row), single()).times(),
        section(
            "single/socket",
            "one caller alone",
            &socket,
            plan(row),
            single(),
        )
        .times(),
        section(
            "single/text/tcp",
            "one caller alone, as text",
            &tcp,
            plan(text),
            single_text(),
        )
        .times(),
        section(
            "single/text/socket",
            "one caller alone, as text",
            &socket,
            plan(text),
            single_text(),
        )
        .times(),
        section(
            "write",
            "64 callers, a row inserted and committed, prepared",
            &tcp,
            plan(|dice| Ask::Write(dice.row())),
            writes(),
        ),
        section(
            "mix",
            "64 callers, a row by primary key; one in 100 sleeps 50 ms instead",
            &tcp,
            plan(|dice| match dice.below(100) {
                0 => Ask::Slow,
                _ => Ask::Row(dice.row()),
            }),
            mix(),
        )
        .latencies(),
    ];
    for section in sections {
        if choice.wants(&section.name) {
            tables.truncate();
            verdicts.extend(section.run(server));
        }
    }
    if choice.wants(&format!("{}/spike", server.kind)) {
        spike::run(server, &mut tables, choice);
    }
}

impl Section<'_> {
    fn times(self) -> Self {
        let shows = Shows::Time;
        Section { shows, ..self }
    }

    fn latencies(mut self) -> Self {
        self.plan.timed = true;
        let shows = Shows::Latency;
        Section { shows, ..self }
    }

    fn run(&self, server: &Server) -> Option<Verdict> {
        let (kind, version) = (&server.kind, &server.version);
        let way = self.way.about();
        println!("\n{}: {}; {kind} {version}, {way}", self.name, self.about);
        let mut loads: Vec<_> = self.cases.iter().map(|(_, make)| make(self.way)).collect();
        let rounds = in_turns(&self.plan, &mut loads);
        let names = self.cases.iter().map(|&(name, _)| name);
        let outcomes: Vec<_> = names.zip(rounds).collect();
        self.print(&outcomes);
        self.verdict(&outcomes)
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
    fn verdict(&self, outcomes: &[(&'static str, Vec<Round>)]) -> Option<Verdict> {
        let value = |rounds| match self.shows {
            Shows::Latency => 1e9 / middle(rounds, |round| quantile(round, 0.99)),
            _ => rate(rounds),
        };
        let best = |ours| {
            let side = outcomes
                .iter()
                .filter(|(name, _)| name.starts_with(OURS) == ours);
            side.map(|(name, rounds)| (*name, value(rounds)))
                .max_by(|a, b| a.1.total_cmp(&b.1))
        };
        let about = match self.shows {
            Shows::Latency => ", p99",
            _ => "",
        };
        Some(Verdict {
            section: format!("{}{about}", self.name),
            ours: best(true)?,
            peer: best(false)?,
        })
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

fn print_verdicts(verdicts: &[Verdict]) {
    if verdicts.is_empty() {
        return;
    }
    println!(
        "\nThe best of mysql_mux beside the best of the peers (more is better for mysql_mux):"
    );
    let mut rows = vec![
        ["section", "mysql_mux", "peer", "times the peer's"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(verdicts.iter().map(|verdict| {
        vec![
            verdict.section.clone(),
            verdict.ours.0.to_owned(),
            verdict.peer.0.to_owned(),
            digits(verdict.ours.1 / verdict.peer.1),
        ]
    }));
    table(&rows);
}

fn selects() -> Vec<Case> {
    let mut cases: Vec<Case> = vec![
        ("mysql_mux: 4 links", |way| mux::load(way, 4, CALLERS)),
        ("mysql_mux: 1 link", |way| mux::load(way, 1, CALLERS)),
        ("mysql: 64 connections", |way| {
            mysql::dedicated(way, CALLERS)
        }),
    ];
    cases.extend(pools());
    cases.push(("mysql: pool of 4, usual", |way| {
        mysql::pool(way, 4, Care::Usual, CALLERS)
    }));
    cases
}

fn tasks<const N: usize>() -> Vec<Case> {
    vec![
        #[cfg(feature = "aio")]
        ("mysql_mux: 4 links, tasks", |way| aio::load(way, 4, N)),
        ("mysql_async: pool of 4", |way| {
            mysql_async::pool(way, 4, Care::Nothing, N)
        }),
        ("mysql_async: pool of 4, usual", |way| {
            mysql_async::pool(way, 4, Care::Usual, N)
        }),
        ("sqlx: pool of 4", |way| {
            sqlx::pool(way, 4, Care::Nothing, N)
        }),
        ("sqlx: pool of 4, usual", |way| {
            sqlx::pool(way, 4, Care::Usual, N)
        }),
    ]
}

fn single() -> Vec<Case> {
    vec![
        ("mysql: a connection", mysql::prepared),
        ("mysql_mux: a handle", mux::prepared),
        ("mysql: a connection, by text", |way| {
            mysql::dedicated(way, 1)
        }),
        ("mysql_mux: a handle, by text", |way| mux::load(way, 1, 1)),
    ]
}

fn single_text() -> Vec<Case> {
    vec![
        ("mysql: a connection", |way| mysql::dedicated(way, 1)),
        ("mysql_mux: a handle", |way| mux::load(way, 1, 1)),
    ]
}

fn writes() -> Vec<Case> {
    let mut cases: Vec<Case> = vec![
        ("mysql_mux: 4 links", |way| mux::load(way, 4, CALLERS)),
        ("mysql_mux: 1 link", |way| mux::load(way, 1, CALLERS)),
        #[cfg(feature = "aio")]
        ("mysql_mux: 4 links, tasks", |way| {
            aio::load(way, 4, CALLERS)
        }),
    ];
    cases.extend(pools());
    cases
}

fn mix() -> Vec<Case> {
    let mut cases: Vec<Case> = vec![
        ("mysql_mux: 4 links", |way| mux::load(way, 4, CALLERS)),
        #[cfg(feature = "aio")]
        ("mysql_mux: 4 links, tasks", |way| {
            aio::load(way, 4, CALLERS)
        }),
    ];
    cases.extend(pools());
    cases
}

/// The peers' pools, at their fastest.
fn pools() -> [Case; 3] {
    [
        ("mysql: pool of 4", |way| {
            mysql::pool(way, 4, Care::Nothing, CALLERS)
        }),
        ("mysql_async: pool of 4", |way| {
            mysql_async::pool(way, 4, Care::Nothing, CALLERS)
        }),
        ("sqlx: pool of 4", |way| {
            sqlx::pool(way, 4, Care::Nothing, CALLERS)
        }),
    ]
}
