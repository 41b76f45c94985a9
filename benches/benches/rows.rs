//! A million rows of an int, a varchar, a datetime and a decimal: how long until a program has them,
//! what of that was the client's own time on a processor, and the most memory that it took. Every client alone,
//! in a process of its own.
//!
//! | shape | what |
//! | --- | --- |
//! | `tuples`, `structs` | all rows in a `Vec`; a struct's fields by their columns' names |
//! | `stream` | rows one by one, none of them kept |
//!
//! ```sh
//! cargo xtask bench --bench rows -- mariadb/text --quick
//! ```

use std::time::Instant;

use mysql_mux_benches::bars::{Bar, Bars, Figures};
use mysql_mux_benches::child;
use mysql_mux_benches::choice::Choice;
use mysql_mux_benches::env::{self, Server};
use mysql_mux_benches::fetch::{self, Fetch};
use mysql_mux_benches::show::{digits, kib, median, nanos, table};
use mysql_mux_benches::wide::Wide;

const OURS: &str = "mysql_mux";
const PEERS: &[&str] = &["mysql", "mysql_async", "sqlx"];
const SHAPES: [&str; 3] = ["tuples", "structs", "stream"];

/// What came of one client, process for process.
struct Outcome {
    name: &'static str,
    nanos: Vec<f64>,
    /// Its own on a processor, without what it waited for the server.
    own: Vec<f64>,
    kib: Vec<f64>,
}

impl Outcome {
    fn time(&self) -> f64 {
        median(self.nanos.iter().copied())
    }

    fn own(&self) -> f64 {
        median(self.own.iter().copied())
    }

    fn peak(&self) -> f64 {
        median(self.kib.iter().copied())
    }
}

fn main() {
    if let Some(task) = child::task() {
        return fetch_once(&task);
    }
    let choice = Choice::from_args();
    println!("Rows, by mysql_mux, mysql 28, mysql_async 0.37 and sqlx 0.9");
    let mut bars = Bars::default();
    for server in env::servers() {
        measure(&server, &choice, &mut bars);
    }
    bars.print();
}

fn measure(server: &Server, choice: &Choice, bars: &mut Bars) {
    let mut made = None;
    for protocol in ["text", "binary"] {
        for shape in SHAPES {
            let section = format!("{}/{protocol}/{shape}", server.kind);
            if !choice.wants(&section) {
                continue;
            }
            let rows = choice.or_quick(1_000_000, 20_000);
            let wide = made.get_or_insert_with(|| Wide::new(server, rows));
            println!("\n{section}: {} rows; {}", wide.rows, server.version);
            let outcomes = section_outcomes(server, choice, protocol, shape);
            print(&outcomes, wide.rows);
            compare(&section, &outcomes, bars);
        }
    }
}

fn section_outcomes(server: &Server, choice: &Choice, protocol: &str, shape: &str) -> Vec<Outcome> {
    let names = [OURS].into_iter().chain(PEERS.iter().copied());
    let names = names.filter(|name| choice.wants_client(name));
    let mut outcomes: Vec<_> = names
        .map(|name| Outcome {
            name,
            nanos: Vec::new(),
            own: Vec::new(),
            kib: Vec::new(),
        })
        .collect();
    for _ in 0..choice.or_quick(3, 1) {
        for outcome in &mut outcomes {
            let task = format!("{} {} {protocol} {shape}", server.kind, outcome.name);
            let numbers = child::numbers(&task);
            outcome.nanos.push(numbers[0]);
            outcome.own.push(numbers[1]);
            outcome.kib.push(numbers[2]);
        }
    }
    outcomes
}

fn print(outcomes: &[Outcome], rows: u32) {
    let head = [
        "client",
        "time",
        "a row",
        "of the first",
        "own, a row",
        "of the first",
        "peak memory",
        "of the first",
    ];
    let mut cells = vec![head.map(str::to_owned).to_vec()];
    for outcome in outcomes {
        cells.push(vec![
            outcome.name.to_owned(),
            nanos(outcome.time()),
            nanos(outcome.time() / f64::from(rows)),
            digits(outcome.time() / outcomes[0].time()),
            nanos(outcome.own() / f64::from(rows)),
            digits(outcome.own() / outcomes[0].own()),
            kib(outcome.peak() as i64),
            digits(outcome.peak() / outcomes[0].peak()),
        ]);
    }
    table(&cells);
}

fn compare(section: &str, outcomes: &[Outcome], bars: &mut Bars) {
    for (what, value) in [
        ("time", Outcome::time as fn(&Outcome) -> f64),
        ("own time", Outcome::own),
        ("memory", Outcome::peak),
    ] {
        let figures = outcomes.iter().map(|it| (it.name, 1.0 / value(it)));
        let figures = Figures(figures.collect());
        bars.add(
            &format!("{section}, {what}"),
            &figures,
            Bar::new(OURS, PEERS),
        );
    }
}

/// What a child is for.
fn fetch_once(task: &[String]) {
    let [kind, client, protocol, shape] = task else {
        panic!("a task is four words");
    };
    let servers = env::servers();
    let server = servers.iter().find(|server| server.kind == *kind);
    let server = server.expect("the parent has it too");
    let mut fetch: Box<dyn Fetch> = fetch::connect(client, server, protocol == "binary");
    let (began, own) = (Instant::now(), child::processor_nanos());
    let rows = match shape.as_str() {
        "tuples" => fetch.tuples(),
        "structs" => fetch.structs(),
        _ => fetch.stream(),
    };
    let took = began.elapsed();
    let own = child::processor_nanos() - own;
    assert!(rows > 0, "rows");
    println!("{} {own} {}", took.as_nanos(), child::peak_kib());
}
