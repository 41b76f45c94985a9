//! The statements of the load, and the tables they need.

use mysql::prelude::Queryable as _;

use crate::way::Way;

/// Rows of the table that is read.
pub const ROWS: u32 = 10_000;

pub const ROW: &str = "SELECT name FROM bench_pk WHERE id = ?";
pub const WRITE: &str = "INSERT INTO bench_write (number) VALUES (?)";
pub const SLOW: &str = "SELECT SLEEP(0.05)";
pub const NAP: &str = "SELECT SLEEP(0.002)";

const NAMED: &str = "row ";

/// One statement.
#[derive(Debug, Clone, Copy)]
pub enum Ask {
    /// A row by its primary key, prepared.
    Row(u32),
    /// The same as text.
    Text(u32),
    /// A row to insert, a transaction by itself, prepared.
    Write(u32),
    /// 50 ms.
    Slow,
}

/// How a statement is asked for.
pub type AskFor = fn(&mut Dice) -> Ask;

/// Those that every session answers alike.
pub const ASKS: [(&str, AskFor); 3] = [
    ("a row by primary key, as text", Ask::text),
    ("a row by primary key, prepared", Ask::row),
    ("a row inserted and committed", Ask::write),
];

impl Ask {
    pub fn text(dice: &mut Dice) -> Ask {
        Ask::Text(dice.row())
    }

    pub fn row(dice: &mut Dice) -> Ask {
        Ask::Row(dice.row())
    }

    pub fn write(dice: &mut Dice) -> Ask {
        Ask::Write(dice.row())
    }
}

/// The name of a row as text.
pub fn text(id: u32) -> String {
    format!("SELECT name FROM bench_pk WHERE id = {id}")
}

/// Somebody else's answer is worth nothing, however soon it came.
pub fn check(id: u32, name: Option<String>) {
    let number = name.as_deref().and_then(|name| name.strip_prefix(NAMED));
    let number = number.and_then(|number| number.parse().ok());
    assert_eq!(number, Some(id), "the answer for row {id} is {name:?}");
}

/// Numbers that need not be better than this.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// The numbers of one caller.
    pub fn new(caller: usize) -> Dice {
        Dice((caller as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32 % end
    }

    pub fn row(&mut self) -> u32 {
        self.below(ROWS)
    }
}

/// The tables, as long as they are needed, and a look at the server.
pub struct Tables(mysql::Conn);

impl Tables {
    /// Over the socket: MySQL then knows the password's hash, and takes it over TCP in the short
    /// way too.
    pub fn new(way: &Way) -> Tables {
        let mut conn = mysql::Conn::new(way.mysql()).expect("mysql connects");
        let rows = (0..ROWS).map(|id| format!("({id}, '{NAMED}{id}')"));
        let rows: Vec<_> = rows.collect();
        for sql in [
            "DROP TABLE IF EXISTS bench_pk, bench_write",
            "CREATE TABLE bench_pk (id INT UNSIGNED PRIMARY KEY, name VARCHAR(40) NOT NULL) \
             ENGINE = InnoDB CHARACTER SET utf8mb4",
            "CREATE TABLE bench_write (id BIGINT PRIMARY KEY AUTO_INCREMENT, \
             number INT UNSIGNED NOT NULL) ENGINE = InnoDB",
            &format!("INSERT INTO bench_pk VALUES {}", rows.join(", ")),
        ] {
            conn.query_drop(sql).expect("the tables are made");
        }
        Tables(conn)
    }

    /// How many connections the server took since it runs.
    pub fn connections(&mut self) -> u64 {
        let row: Option<(String, u64)> = self
            .0
            .query_first("SHOW GLOBAL STATUS LIKE 'Connections'")
            .expect("the server has a status");
        row.expect("it counts connections").1
    }

    /// Takes the rows that were written away.
    pub fn truncate(&mut self) {
        let done = self.0.query_drop("TRUNCATE TABLE bench_write");
        done.expect("a table of its own");
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        if let Err(e) = self.0.query_drop("DROP TABLE bench_pk, bench_write") {
            eprintln!("the tables stay behind: {e}");
        }
    }
}
