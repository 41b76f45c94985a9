//! A million rows of an int, a varchar, a datetime and a decimal: how long until a program has them,
//! what of that was the client's own time on a processor, and the most of the heap that it had at once. Every
//! client alone, in a process of its own; what it took of the heap in another, which counts.
//!
//! | shape | what |
//! | --- | --- |
//! | `tuples`, `structs` | all rows in a `Vec`; a struct's fields by their columns' names |
//! | `stream` | rows one by one, none of them kept |
//!
//! `raw-bytes` is nobody's client: it reads what the server sends and makes nothing of it.
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
use mysql_mux_benches::heap::{Counting, counting};
use mysql_mux_benches::raw::Raw;
use mysql_mux_benches::show::{digits, kib, median, nanos, table};
use mysql_mux_benches::wide::Wide;

const OURS: &str = "mysql_mux";
const PEERS: &[&str] = &["mysql", "mysql_async", "sqlx"];
/// What the others are held against: sooner than this nobody can have the rows.
const FLOOR: &str = "raw-bytes";
const SHAPES: [&str; 3] = ["tuples", "structs", "stream"];

#[global_allocator]
static HEAP: Counting = Counting;

/// What came of one client, process for process.
struct Outcome {
    name: &'static str,
    nanos: Vec<f64>,
    /// Its own on a processor, without what it waited for the server.
    own: Vec<f64>,
    /// The most of the heap that it had at once.
    bytes: f64,
}

impl Outcome {
    fn time(&self) -> f64 {
        median(self.nanos.iter().copied())
    }

    fn own(&self) -> f64 {
        median(self.own.iter().copied())
    }

    fn heap(&self) -> f64 {
        self.bytes
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
    let names = names.chain([FLOOR]);
    let names = names.filter(|name| choice.wants_client(name));
    let mut outcomes: Vec<_> = names
        .map(|name| Outcome {
            name,
            nanos: Vec::new(),
            own: Vec::new(),
            bytes: f64::NAN,
        })
        .collect();
    let task = |name, what| format!("{} {name} {protocol} {shape} {what}", server.kind);
    for _ in 0..choice.or_quick(3, 1) {
        for outcome in &mut outcomes {
            let numbers = child::numbers(&task(outcome.name, "time"));
            outcome.nanos.push(numbers[0]);
            outcome.own.push(numbers[1]);
        }
    }
    for outcome in &mut outcomes {
        outcome.bytes = child::numbers(&task(outcome.name, "heap"))[0];
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
        "most heap",
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
            kib(outcome.heap() as i64 / 1024),
            digits(outcome.heap() / outcomes[0].heap()),
        ]);
    }
    table(&cells);
}

fn compare(section: &str, outcomes: &[Outcome], bars: &mut Bars) {
    for (what, value) in [
        ("time", Outcome::time as fn(&Outcome) -> f64),
        ("own time", Outcome::own),
        ("heap", Outcome::heap),
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

/// What a child is for: all rows once, and how long that took or what of the heap.
fn fetch_once(task: &[String]) {
    let [kind, client, protocol, shape, what] = task else {
        panic!("a task is five words");
    };
    let servers = env::servers();
    let server = servers.iter().find(|server| server.kind == *kind);
    let server = server.expect("the parent has it too");
    let connect = || connect(client, server, protocol == "binary", shape);
    if what == "heap" {
        let (rows, taken) = counting(|| connect()());
        assert!(rows > 0, "rows");
        return println!("{}", taken.peak);
    }
    let mut fetch = connect();
    let (began, own) = (Instant::now(), child::processor_nanos());
    let rows = fetch();
    let took = began.elapsed();
    let own = child::processor_nanos() - own;
    assert!(rows > 0, "rows");
    println!("{} {own}", took.as_nanos());
}

/// A client that is connected, as what it does once; that says how much it had.
fn connect(client: &str, server: &Server, binary: bool, shape: &str) -> Box<dyn FnMut() -> usize> {
    if client == FLOOR {
        let mut raw = Raw::connect(server, binary).expect("the socket is the server's");
        return Box::new(move || raw.throw_away().expect("the server sends rows"));
    }
    let mut fetch = fetch::connect(client, server, binary);
    let all: fn(&mut dyn Fetch) -> usize = match shape {
        "tuples" => |fetch| fetch.tuples(),
        "structs" => |fetch| fetch.structs(),
        _ => |fetch| fetch.stream(),
    };
    Box::new(move || all(&mut *fetch))
}
