//! What it costs to choose among several servers, for each statement: the same server once, and twice as
//! two, in one run.
//!
//! ```sh
//! cargo xtask bench --bench backends -- --quick
//! ```
//! One caller, so that a statement's time is all there is; the bar is a microsecond more.

use mysql_mux::{Backend, Opts, OptsBuilder, Prefer};
use mysql_mux_benches::ask::{ASKS, Tables};
use mysql_mux_benches::callers::mux;
use mysql_mux_benches::choice::Choice;
use mysql_mux_benches::env;
use mysql_mux_benches::load::{Plan, Round, in_turns, time};
use mysql_mux_benches::show::{median, nanos, table};
use mysql_mux_benches::way::Way;

/// That is close to the noise.
const ROUNDS: usize = 15;

fn main() {
    let choice = Choice::from_args();
    println!("What choosing among several servers costs");
    for server in env::servers() {
        let section = format!("{}/backends/routing", server.kind);
        if !choice.wants(&section) {
            continue;
        }
        let way = Way::tcp(&server);
        println!(
            "\n{section}: one caller, a statement; {}, {}",
            server.version,
            way.about()
        );
        let mut tables = Tables::new(&Way::socket(&server));
        let head = [
            "statement",
            "one server",
            "two, primary",
            "more",
            "two, any",
            "more",
        ];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for (about, ask) in ASKS {
            tables.truncate();
            let plan = Plan::new(&choice, ask).rounds(&choice, ROUNDS);
            let one = mux::load_with(way.mux(), 1, 1);
            let two = [Prefer::Primary, Prefer::Any]
                .map(|prefer| mux::load_with(twice(&way).prefer(prefer), 1, 1));
            let [primary, any] = two;
            let rounds = in_turns(&plan, &mut [one, primary, any]);
            let [one, primary, any] = [0, 1, 2].map(|at| &rounds[at][..]);
            let mut row = vec![about.to_owned(), nanos(time(one))];
            for other in [primary, any] {
                row.extend([nanos(time(other)), nanos(more(one, other))]);
            }
            rows.push(row);
        }
        table(&rows);
    }
}

/// The server under two names.
fn twice(way: &Way) -> OptsBuilder {
    let opts = Opts::from(way.mux());
    let (host, port) = (opts.get_ip_or_hostname().to_owned(), opts.get_tcp_port());
    let other = match &*host {
        "127.0.0.1" => "localhost",
        _ => "127.0.0.1",
    };
    OptsBuilder::from_opts(opts).backend(Backend::new(other, port))
}

/// How much more than that of others. Round by round: noise lasts longer than one.
fn more(one: &[Round], other: &[Round]) -> f64 {
    let pairs = one.iter().zip(other);
    median(pairs.map(|(one, other)| 1e9 / other.per_second - 1e9 / one.per_second))
}
