//! A first tour: handles, statements, a transaction, what it cost.
//!
//! ```sh
//! MYSQL_MUX_URL=mysql://user:password@localhost:3306/schema cargo run --example hello
//! ```

use mysql_mux::{Mux, Result, TxOpts, params, prelude::*};

fn main() {
    let Ok(url) = std::env::var("MYSQL_MUX_URL") else {
        eprintln!("set MYSQL_MUX_URL to mysql://user:password@host:3306/schema");
        std::process::exit(1);
    };
    if let Err(e) = tour(&url) {
        eprintln!("{e}");
        std::process::exit(1);
    }
}

fn tour(url: &str) -> Result<()> {
    // The first handle connects: a wrong password fails here.
    let mut handle = mysql_mux::connect(url)?;
    println!("server: {}", handle.server_version_str());

    // Text, with the rows as tuples.
    let squares: Vec<(u32, u32)> = handle.query("SELECT 2, 4 UNION SELECT 3, 9")?;
    println!("squares: {squares:?}");

    // A prepared statement with named parameters.
    let words: Option<String> = handle.exec_first(
        "SELECT CONCAT(:what, ', ', :whom)",
        params! { "what" => "hello", "whom" => "world" },
    )?;
    println!("words: {words:?}");

    // A temporary table belongs to the session that made it: in a transaction of the API the handle
    // has one link, and one session, from its beginning to its end.
    let mut tx = handle.start_transaction(TxOpts::default())?;
    tx.query_drop("CREATE TEMPORARY TABLE tea (id INT PRIMARY KEY, name VARCHAR(20))")?;
    let teas = [(1, "assam"), (2, "sencha")];
    tx.exec_batch("INSERT INTO tea VALUES (?, ?)", teas)?;
    let names: Vec<String> = tx.query("SELECT name FROM tea ORDER BY id")?;
    tx.query_drop("DROP TEMPORARY TABLE tea")?;
    tx.commit()?;
    println!("teas: {names:?}");

    // A hundred more handles: no connect, no login.
    let mut more = (0..100)
        .map(|_| mysql_mux::connect(url))
        .collect::<Result<Vec<_>>>()?;
    for handle in &mut more {
        handle.query_drop("DO 1")?;
    }
    println!("\n{}", Mux::global().stats());
    Ok(())
}
