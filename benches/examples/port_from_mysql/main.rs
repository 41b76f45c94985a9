//! One program, written for the `mysql` crate and ported to `mysql_mux`: runs both, checks that they
//! say the same, and shows what the port changed.
//!
//! ```sh
//! MYSQL_MUX_URL=mysql://user:password@localhost/schema cargo run --example port_from_mysql
//! ```

mod ledger_mux;
mod ledger_mysql;

use std::{env, error::Error, process};

fn main() {
    if let Err(e) = run() {
        eprintln!("port_from_mysql: {e}");
        process::exit(1);
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let url = env::args()
        .nth(1)
        .or_else(|| env::var("MYSQL_MUX_URL").ok());
    let url = url.ok_or("set MYSQL_MUX_URL to mysql://user:password@host:3306/schema")?;
    let prefix = format!("ledger_{}", process::id());

    let before = ledger_mysql::run(&url, &prefix)?;
    let after = ledger_mux::run(&url, &prefix)?;
    print!("{before}");
    if before != after {
        return Err(format!("the port says something else:\n{after}").into());
    }
    println!("\nThe port says the same. What it changed:");
    let old = include_str!("ledger_mysql.rs").lines();
    let new = include_str!("ledger_mux.rs").lines();
    for (old, new) in old.zip(new).filter(|(old, new)| old != new) {
        println!("- {old}\n+ {new}");
    }
    Ok(())
}
