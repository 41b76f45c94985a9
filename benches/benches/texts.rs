//! What it costs to know what a statement does, by its text: each time anew; kept, since the text came
//! before; and where nothing can be kept, since the literals are others each time. No server.
//!
//! ```sh
//! cargo bench --package mysql_mux_benches --bench texts
//! ```

use mysql_mux::measuring::{read, read_all, seen, seen_all};
use mysql_mux_benches::clock::{Clock, doing};
use mysql_mux_benches::show::{digits, nanos, table};

/// So many that what is kept of one is displaced before it comes again.
const OTHERS: u64 = 4096;

/// A `#` is a number that changes.
const NEUTRAL: [&str; 6] = [
    "SELECT #",
    "SELECT name FROM bench_pk WHERE id = #",
    "SELECT name, price, stock FROM item WHERE id = # LIMIT 1",
    "INSERT INTO orders (customer, item, number, note) VALUES (#, 17, 3, 'as soon as it is there')",
    "SELECT o.id, o.total, c.name FROM orders AS o JOIN customers AS c ON c.id = o.customer \
     LEFT JOIN coupons USING (coupon) WHERE o.state IN ('new', 'paid') AND o.shop = # \
     AND o.made > NOW() - INTERVAL 7 DAY GROUP BY o.id HAVING COUNT(*) > 0 \
     ORDER BY o.made DESC LIMIT 50",
    LONG,
];

/// As long as what is kept may be, nearly.
const LONG: &str = "INSERT INTO log (at, host, level, line) VALUES \
     (NOW(), 'alpha', #, 'a line of a log that is not too short, and has some words in it'), \
     (NOW(), 'beta', 2, 'a line of a log that is not too short, and has some words in it'), \
     (NOW(), 'gamma', 3, 'a line of a log that is not too short, and has some words in it'), \
     (NOW(), 'delta', 4, 'a line of a log that is not too short, and has some words in it'), \
     (NOW(), 'epsilon', 5, 'a line of a log that is not too short, and has some words in it'), \
     (NOW(), 'zeta', 6, 'a line of a log that is not too short, and has some words in it'), \
     (NOW(), 'eta', 7, 'a line of a log that is not too short, and has some words in it'), \
     (NOW(), 'theta', 8, 'a line of a log that is not too short, and has some words in it'), \
     (NOW(), 'iota', 9, 'a line of a log that is not too short, and has some words in it')";

/// Those that need more than reading.
const OTHER: [&str; 6] = [
    "BEGIN",
    "SELECT LAST_INSERT_ID()",
    "SET NAMES utf8mb4",
    "SELECT GET_LOCK('#', 1)",
    "SET @customer = #, time_zone = '+00:00'",
    "CREATE TEMPORARY TABLE found (id INT PRIMARY KEY) SELECT id FROM item WHERE price < #",
];

fn main() {
    let mut clock = Clock::new();
    let neutral = NEUTRAL.map(|text| row(&mut clock, text, read, seen));
    let other = OTHER.map(|text| row(&mut clock, text, read_all, seen_all));
    clock.finish();
    print("texts/neutral: what it does", &neutral);
    print("texts/other: what it does, needs and leaves", &other);
}

fn row(clock: &mut Clock, text: &str, new: fn(&[u8]), known: fn(&[u8])) -> Vec<String> {
    let same = vec![text.replace('#', "1234567")];
    let others = (0..OTHERS).map(|id| text.replace('#', &(1_000_000 + id).to_string()));
    let others: Vec<_> = others.collect();
    let mut measure = |name: &str, texts: &[String], act: fn(&[u8])| {
        let group = format!("texts/{}", text.chars().take(40).collect::<String>());
        let prepare = || {
            let texts = texts.to_vec();
            let mut at = 0;
            doing(move || {
                act(texts[at].as_bytes());
                at = (at + 1) % texts.len();
            })
        };
        clock.measure(&group, name, prepare).unwrap_or(f64::NAN)
    };
    let hit = [("same", new), ("same, kept", known)].map(|(name, act)| measure(name, &same, act));
    let mut cells = vec![shown(text), same[0].len().to_string()];
    cells.extend(beside(hit));
    if text.contains('#') {
        let acts = [("others", new), ("others, not kept", known)];
        cells.extend(beside(acts.map(|(name, act)| measure(name, &others, act))));
    }
    cells
}

fn beside([new, known]: [f64; 2]) -> [String; 3] {
    [nanos(new), nanos(known), digits(known / new)]
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn print(title: &str, rows: &[Vec<String>]) {
    let head = [
        "text", "bytes", "same", "kept", "ratio", "others", "not kept", "ratio",
    ];
    println!("\n{title}");
    table(&[&[head.map(str::to_owned).to_vec()], rows].concat());
}
