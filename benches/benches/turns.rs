//! Handles whose sessions differ, in turn on one link: how many round trips a statement takes.
//!
//! Counted by a relay: a round trip is bytes that come from the client after bytes from the server.
//!
//! ```sh
//! cargo xtask bench --bench turns
//! ```

use std::time::Duration;

use mysql_mux::prelude::*;
use mysql_mux::{Handle, Isolation, Mux, OptsBuilder};
use mysql_mux_benches::choice::Choice;
use mysql_mux_benches::env::{self, Server};
use mysql_mux_benches::relay::Counter;
use mysql_mux_benches::show::{digits, table};
use mysql_mux_benches::way::Way;

/// A plain read, which needs nothing of the session, and something else.
const READ: &str = "SELECT 1";
const ACT: &str = "DO 1";

/// What the handles' sessions differ in.
struct Case {
    name: &'static str,
    links: usize,
    opts: fn(OptsBuilder, &Server, usize) -> OptsBuilder,
    begin: fn(&mut Handle, usize),
}

impl Case {
    const fn new(name: &'static str, links: usize) -> Case {
        Case {
            name,
            links,
            opts: |opts, _, _| opts,
            begin: |_, _| (),
        }
    }

    const fn opts(mut self, opts: fn(OptsBuilder, &Server, usize) -> OptsBuilder) -> Case {
        self.opts = opts;
        self
    }

    const fn begin(mut self, begin: fn(&mut Handle, usize)) -> Case {
        self.begin = begin;
        self
    }
}

const CASES: [Case; 10] = [
    Case::new("nothing", 1),
    Case::new("nothing, Shared", 1).opts(|opts, _, _| opts.isolation(Isolation::Shared)),
    Case::new("schema, by options", 1).opts(schema),
    Case::new("schema, by options", 2).opts(schema),
    Case::new("schema, by select_db", 1).begin(select_db),
    Case::new("schema, by select_db", 2).begin(select_db),
    Case::new("character set, by options", 1).opts(charset),
    Case::new("init statements", 1).opts(init),
    Case::new("init statements", 2).opts(init),
    Case::new("SET NAMES", 2).begin(set_names),
];

fn select_db(handle: &mut Handle, number: usize) {
    if number == 1 {
        let done = handle.select_db("information_schema");
        done.expect("it is there for all");
    }
}

fn set_names(handle: &mut Handle, number: usize) {
    let names = ["utf8mb4", "latin1"][number];
    handle
        .query_drop(format!("SET NAMES {names}"))
        .expect("it is set");
}

fn charset(opts: OptsBuilder, _: &Server, number: usize) -> OptsBuilder {
    opts.charset(["utf8mb4", "latin1"][number])
}

fn init(opts: OptsBuilder, _: &Server, number: usize) -> OptsBuilder {
    opts.init(vec![format!("SET sql_safe_updates = {number}")])
}

fn schema(opts: OptsBuilder, server: &Server, number: usize) -> OptsBuilder {
    opts.db_name(Some([&*server.database, "information_schema"][number]))
}

fn main() {
    let choice = Choice::from_args();
    for server in env::servers() {
        let section = format!("{}/turns", server.kind);
        if choice.wants(&section) {
            println!("\n{section}: two handles in turn; {}", server.version);
            measure(&server, &choice);
        }
    }
}

fn measure(server: &Server, choice: &Choice) {
    let (way, counter) = Way::counted(server).expect("a port for the relay");
    let head = [
        "they differ in",
        "statement",
        "most links",
        "links",
        "round trips each",
        "resets each",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (case, sql) in CASES.iter().flat_map(|case| [(case, READ), (case, ACT)]) {
        let mux = Mux::builder()
            .max_links(case.links)
            .acquire_timeout(Duration::from_secs(2))
            .build();
        let mut handles = [0, 1].map(|number| {
            let opts = (case.opts)(way.mux(), server, number);
            let mut handle = mux.connect(opts).expect("a handle");
            (case.begin)(&mut handle, number);
            handle
        });
        let row = [case.name, sql, &case.links.to_string()].map(str::to_owned);
        rows.push(
            [
                row.to_vec(),
                in_turn(&mux, &mut handles, sql, &counter, choice),
            ]
            .concat(),
        );
    }
    table(&rows);
}

fn in_turn(
    mux: &Mux,
    handles: &mut [Handle; 2],
    sql: &str,
    counter: &Counter,
    choice: &Choice,
) -> Vec<String> {
    let times = choice.or_quick(1000, 50);
    let run = |handle: &mut Handle| handle.query_drop(sql).expect("it runs");
    handles.iter_mut().for_each(run);
    let (trips, resets) = (counter.round_trips(), mux.stats().total.resets);
    for number in 0..times {
        run(&mut handles[number % 2]);
    }
    let stats = mux.stats().total;
    let each = |count: u64| digits(count as f64 / times as f64);
    vec![
        stats.active_connections.to_string(),
        each(counter.round_trips() - trips),
        each(stats.resets - resets),
    ]
}
