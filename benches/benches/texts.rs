//! What it costs to know what a statement does, by its text: each time anew; kept, since the text came
//! before; and where nothing can be kept, since the literals are others each time. No server.
//!
//! ```sh
//! cargo bench --package mysql_mux_benches --bench texts
//! ```

use std::time::Instant;

use mysql_mux::measuring::{read, read_all, seen, seen_all};
use mysql_mux_benches::choice::Choice;
use mysql_mux_benches::show::{digits, nanos, table};

/// So many that what is kept of one is displaced before it comes again.
const OTHERS: usize = 4096;

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

/// Each round takes its turn of these; of all turns the shortest counts, as the machine is shared.
const TURN: usize = 256;
const ROUNDS: usize = 400;

fn main() {
    let choice = Choice::from_args();
    let rounds = choice.or_quick(ROUNDS, 2 * OTHERS / TURN);
    let row = |text, new, known| row(text, [new, known], rounds);
    let neutral = NEUTRAL.map(|text| row(text, read, seen));
    let other = OTHER.map(|text| row(text, read_all, seen_all));
    print("texts/neutral: what it does", &neutral);
    print("texts/other: what it does, needs and leaves", &other);
}

fn row(text: &str, acts: [fn(&[u8]); 2], rounds: usize) -> Vec<String> {
    let same = vec![text.replace('#', "1234567"); TURN];
    let others = (0..OTHERS).map(|id| text.replace('#', &(1_000_000 + id).to_string()));
    let others: Vec<_> = others.collect();
    let turns = others.chunks(TURN).cycle();
    let mut least = [[f64::INFINITY; 2]; 2];
    for others in turns.take(rounds) {
        for (texts, least) in [&same[..], others].into_iter().zip(&mut least) {
            for (act, least) in acts.iter().zip(least) {
                let began = Instant::now();
                texts.iter().for_each(|text| act(text.as_bytes()));
                *least = least.min(began.elapsed().as_nanos() as f64 / TURN as f64);
            }
        }
    }
    let mut cells = vec![shown(text), same[0].len().to_string()];
    let columns = 1 + usize::from(text.contains('#'));
    for [new, known] in &least[..columns] {
        cells.extend([nanos(*new), nanos(*known), digits(known / new)]);
    }
    cells
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
