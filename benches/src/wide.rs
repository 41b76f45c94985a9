//! The table of many rows, and a row of it as a struct.

use chrono::NaiveDateTime;
use mysql::prelude::Queryable as _;
use rust_decimal::Decimal;

use crate::{env::Server, way::Way};

pub const ALL: &str = "SELECT id, name, at, price FROM bench_rows";

/// Rows that are made by hand; the others are made of them.
const SEED: u32 = 1000;

/// A row as most programs first have it.
pub type Tuple = (u32, String, NaiveDateTime, Decimal);

#[derive(Debug)]
pub struct Item {
    pub id: u32,
    pub name: String,
    pub at: NaiveDateTime,
    pub price: Decimal,
}

/// Each of the two `mysql_common` crates has a trait of its own. By name, as what is derived does it.
macro_rules! from_row {
    ($from_row:path, $row:path, $error:path) => {
        impl $from_row for Item {
            fn from_row_opt(mut row: $row) -> Result<Item, $error> {
                macro_rules! column {
                    ($name:literal) => {
                        match row.take($name) {
                            Some(value) => value,
                            None => return Err($error(row)),
                        }
                    };
                }
                Ok(Item {
                    id: column!("id"),
                    name: column!("name"),
                    at: column!("at"),
                    price: column!("price"),
                })
            }
        }
    };
}

from_row!(mysql::prelude::FromRow, mysql::Row, mysql::FromRowError);
from_row!(
    mysql_mux::prelude::FromRow,
    mysql_mux::Row,
    mysql_mux::FromRowError
);

impl sqlx::FromRow<'_, sqlx::mysql::MySqlRow> for Item {
    fn from_row(row: &sqlx::mysql::MySqlRow) -> sqlx::Result<Item> {
        use sqlx::Row as _;
        Ok(Item {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            at: row.try_get("at")?,
            price: row.try_get("price")?,
        })
    }
}

/// The table, as long as it is needed.
pub struct Wide {
    conn: mysql::Conn,
    pub rows: u32,
}

impl Wide {
    /// Over the socket: MySQL then knows the password's hash, and takes it over TCP in the short
    /// way too.
    pub fn new(server: &Server, rows: u32) -> Wide {
        let opts = Way::socket(server).mysql();
        let mut conn = mysql::Conn::new(opts).expect("mysql connects");
        let seed: Vec<_> = (0..SEED).map(|n| format!("({n})")).collect();
        for sql in [
            "DROP TABLE IF EXISTS bench_seed, bench_rows",
            "CREATE TABLE bench_seed (n INT UNSIGNED PRIMARY KEY)",
            &format!("INSERT INTO bench_seed VALUES {}", seed.join(", ")),
            "CREATE TABLE bench_rows (id INT UNSIGNED PRIMARY KEY, name VARCHAR(60) NOT NULL, \
             at DATETIME NOT NULL, price DECIMAL(10, 2) NOT NULL) CHARACTER SET utf8mb4",
            &format!(
                "INSERT INTO bench_rows SELECT a.n * {SEED} + b.n, \
                 CONCAT('row ', a.n, ' of ', b.n, REPEAT('.', b.n % 20)), \
                 TIMESTAMPADD(SECOND, a.n * {SEED} + b.n, '2020-01-01'), b.n * 1.25 \
                 FROM bench_seed a JOIN bench_seed b WHERE a.n < {}",
                rows / SEED
            ),
            "DROP TABLE bench_seed",
        ] {
            conn.query_drop(sql).expect("the table is made");
        }
        Wide { conn, rows }
    }
}

impl Drop for Wide {
    fn drop(&mut self) {
        if let Err(e) = self.conn.query_drop("DROP TABLE bench_rows") {
            eprintln!("the table stays behind: {e}");
        }
    }
}
