//! What a statement costs the program itself: instructions that it runs, counted by callgrind, for
//! one caller alone. Of two runs of different length the difference counts.
//!
//! ```sh
//! cargo xtask bench --bench instructions
//! ```

use mysql_mux_benches::ask::{Ask, Dice, Tables};
use mysql_mux_benches::bars::{Bar, Bars, Figures};
use mysql_mux_benches::callers::{mux, mysql};
use mysql_mux_benches::child;
use mysql_mux_benches::choice::Choice;
use mysql_mux_benches::counted;
use mysql_mux_benches::env::{self, Server};
use mysql_mux_benches::show::{digits, table};
use mysql_mux_benches::way::Way;

const CLIENTS: [&str; 2] = ["mysql_mux", "mysql"];
fn main() {
    if let Some(task) = child::task() {
        return run_some(&task);
    }
    let choice = Choice::from_args();
    let mut bars = Bars::default();
    for server in env::servers() {
        let section = format!("{}/instructions", server.kind);
        if choice.wants(&section) {
            println!(
                "\n{section}: a row by primary key, one caller; {}",
                server.version
            );
            measure(&section, &server, &choice, &mut bars);
        }
    }
    bars.print();
}

fn measure(section: &str, server: &Server, choice: &Choice, bars: &mut Bars) {
    let _tables = Tables::new(&Way::socket(server));
    let more = choice.or_quick(10_000, 1_000);
    let head = ["client", "statement", "instructions"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for how in ["prepared", "cached", "text", "again"] {
        let mut figures = Vec::new();
        for client in CLIENTS {
            let task = |times| format!("{} {client} {how} {times}", server.kind);
            let Some(each) = counted::each(more, task) else {
                println!("  valgrind is not there, or counts nothing: not measured");
                return;
            };
            rows.push(vec![client.to_owned(), how.to_owned(), digits(each)]);
            figures.push((client, 1.0 / each));
        }
        let bar = Bar::new(CLIENTS[0], &["mysql"]);
        bars.add(&format!("{section}/{how}"), &Figures(figures), bar);
    }
    table(&rows);
}

/// What a child is for.
fn run_some(task: &[String]) {
    let [kind, client, how, times] = task else {
        panic!("a task is four words");
    };
    let servers = env::servers();
    let server = servers.iter().find(|server| server.kind == *kind);
    let way = Way::socket(server.expect("the parent has it too"));
    let mut caller = match (client.as_str(), how.as_str()) {
        ("mysql_mux", "prepared") => mux::prepared(&way),
        ("mysql_mux", _) => mux::load(&way, 1, 1),
        (_, "prepared") => mysql::prepared(&way),
        _ => mysql::dedicated(&way, 1),
    };
    let mut dice = Dice::new(0);
    for _ in 0..times.parse().expect("a number") {
        let row = dice.row();
        let ask = match how.as_str() {
            // Cached: it is given as a text each time, and is prepared already.
            "prepared" | "cached" => Ask::Row(row),
            "text" => Ask::Text(row),
            // The very same text.
            _ => Ask::Text(0),
        };
        caller.once(ask);
    }
}
