//! What it costs to choose among several servers, for each statement, and what reading from replicas brings.
//!
//! ```sh
//! cargo xtask bench --bench backends -- --quick
//! ```
//! The cost is that of one caller, whose statements' time is all there is, beside a handle of the server that they
//! end at; the bar is a microsecond more. On a machine that is not quiet that is less than the noise: what
//! the program itself runs is counted, too. All servers run on this machine: what replicas bring is seen where a
//! statement waits for something else than the processor, here for a link to be free.

use std::{
    thread,
    time::{Duration, Instant},
};

use mysql::prelude::Queryable as _;
use mysql_mux::{Backend, Balance, Opts, OptsBuilder};
use mysql_mux_benches::ask::{Ask, AskFor, Dice, ROWS, Tables};
use mysql_mux_benches::callers::mux;
use mysql_mux_benches::child;
use mysql_mux_benches::choice::Choice;
use mysql_mux_benches::counted;
use mysql_mux_benches::env::{self, Server};
use mysql_mux_benches::load::{Load, Plan, Round, in_turns, time};
use mysql_mux_benches::show::{digits, median, nanos, table};
use mysql_mux_benches::way::Way;

/// That is close to the noise.
const ROUNDS: usize = 15;

/// How long a replica may take to have the rows.
const PATIENCE: Duration = Duration::from_secs(60);

const CALLERS: usize = 16;

fn main() {
    if let Some(task) = child::task() {
        return run_some(&task);
    }
    let choice = Choice::from_args();
    println!("Several servers");
    for (name, servers) in env::topologies() {
        let [cost, gain] = ["routing", "reads"].map(|what| format!("{name}/backends/{what}"));
        if !choice.wants(&cost) && !choice.wants(&gain) {
            continue;
        }
        let mut tables = Tables::new(&Way::socket(&servers[0]));
        tables.truncate();
        follow(&servers);
        if choice.wants(&cost) {
            println!("\n{cost}: one caller, a statement; {}", servers[0].version);
            routing(&choice, &name, &servers);
        }
        if choice.wants(&gain) {
            println!(
                "\n{gain}: {CALLERS} callers, a link to each server, a second; {}",
                servers[0].version
            );
            reads(&choice, &servers);
        }
    }
}

/// Waits until replicas have the rows.
fn follow(servers: &[Server]) {
    for server in &servers[1..] {
        let mut conn = mysql::Conn::new(Way::socket(server).mysql()).expect("mysql connects");
        let mut count = || {
            conn.query_first("SELECT COUNT(*) FROM bench_pk")
                .ok()
                .flatten()
        };
        let began = Instant::now();
        while count() != Some(ROWS) {
            assert!(
                began.elapsed() < PATIENCE,
                "port {} doesn't follow; `cargo xtask servers down` and `up` makes it anew",
                server.port
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What is asked, and of which of the servers.
const ASKS: [(&str, usize, AskFor); 3] = [
    ("a row by primary key, as text, on a replica", 1, Ask::text),
    ("a row by primary key, prepared, on a replica", 1, Ask::row),
    (
        "a row inserted and committed, on the primary",
        0,
        Ask::write,
    ),
];

/// A caller of that server, or of several.
fn caller(servers: &[Server], node: usize, is_one: bool) -> Box<dyn Load> {
    match is_one {
        true => mux::load_with(Way::tcp(&servers[node]).mux(), 1, 1),
        // That it is always the same replica is no part of the cost.
        false => mux::load_with(several(servers).balance(Balance::InOrder), 1, 1),
    }
}

fn routing(choice: &Choice, name: &str, servers: &[Server]) {
    let head = [
        "statement",
        "that server",
        "one of several",
        "more",
        "instructions more",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (at, (about, node, ask)) in ASKS.into_iter().enumerate() {
        let plan = Plan::new(choice, ask).rounds(choice, ROUNDS);
        let mut loads = [true, false].map(|is_one| caller(servers, node, is_one));
        let rounds = in_turns(&plan, &mut loads);
        let [one, several] = [&rounds[0][..], &rounds[1][..]];
        let count = |is_one: bool| {
            let task = |times| format!("{name} {at} {is_one} {times}");
            counted::each(choice.or_quick(4_000, 500), task)
        };
        let instructions = match (count(true), count(false)) {
            (Some(one), Some(several)) => digits(several - one),
            _ => "not measured".to_owned(),
        };
        rows.push(vec![
            about.to_owned(),
            nanos(time(one)),
            nanos(time(several)),
            nanos(more(one, several)),
            instructions,
        ]);
    }
    table(&rows);
}

/// What a child is for.
fn run_some(task: &[String]) {
    let [name, at, is_one, times] = task else {
        panic!("a task is four words");
    };
    let all = env::topologies();
    let found = all.iter().find(|(one, _)| one == name);
    let (_, servers) = found.expect("the parent has them too");
    let (_, node, ask) = ASKS[at.parse::<usize>().expect("a number")];
    let mut caller = caller(servers, node, is_one == "true");
    let mut dice = Dice::new(0);
    for _ in 0..times.parse().expect("a number") {
        caller.once(ask(&mut dice));
    }
}

fn reads(choice: &Choice, servers: &[Server]) {
    let head = ["statement", "one server", "replicas", "ratio"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let asks: [(&str, AskFor); 2] = [
        ("a row by primary key, as text", Ask::text),
        ("50 ms of waiting", |_| Ask::Slow),
    ];
    for (about, ask) in asks {
        let plan = Plan::new(choice, ask);
        let one = mux::load_with(Way::tcp(&servers[0]).mux(), 1, CALLERS);
        let several = mux::load_with(several(servers), 1, CALLERS);
        let rounds = in_turns(&plan, &mut [one, several]);
        let [one, several] = [0, 1].map(|at| median(rounds[at].iter().map(|one| one.per_second)));
        rows.push(vec![
            about.to_owned(),
            digits(one),
            digits(several),
            digits(several / one),
        ]);
    }
    table(&rows);
}

/// The first, and those that follow it.
fn several(servers: &[Server]) -> OptsBuilder {
    let first = OptsBuilder::from_opts(Opts::from(Way::tcp(&servers[0]).mux()));
    servers[1..].iter().fold(first, |opts, server| {
        opts.backend(Backend::new(&server.host, server.port))
    })
}

/// How much more than that of others. Round by round: noise lasts longer than one.
fn more(one: &[Round], other: &[Round]) -> f64 {
    let pairs = one.iter().zip(other);
    median(pairs.map(|(one, other)| 1e9 / other.per_second - 1e9 / one.per_second))
}
