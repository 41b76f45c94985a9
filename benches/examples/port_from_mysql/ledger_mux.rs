//! A small ledger: accounts, transfers between them, a report. With `mysql_mux`.

use std::fmt::Write as _;

use mysql_mux::Handle;
use mysql_mux::prelude::*;
use mysql_mux::{Error, Opts, OptsBuilder, Result, Row, TxOpts, params};

/// Runs the whole program; gives its report.
pub fn run(url: &str, prefix: &str) -> Result<String> {
    let opts = OptsBuilder::from_opts(Opts::from_url(url)?);
    let opts = opts.init(vec!["SET time_zone = '+00:00'"]);
    let mut ledger = Ledger {
        conn: Handle::new(opts)?,
        accounts: format!("{prefix}_account"),
        entries: format!("{prefix}_entry"),
    };
    ledger.create()?;
    let report = ledger.a_day();
    ledger.remove()?;
    report
}

struct Ledger {
    conn: Handle,
    accounts: String,
    entries: String,
}

impl Ledger {
    fn create(&mut self) -> Result<()> {
        self.remove()?;
        self.conn.query_drop(format!(
            "CREATE TABLE {} (
                id INT UNSIGNED PRIMARY KEY AUTO_INCREMENT,
                owner VARCHAR(40) NOT NULL UNIQUE,
                balance DECIMAL(12, 2) NOT NULL CHECK (balance >= 0)
            ) ENGINE = InnoDB",
            self.accounts
        ))?;
        self.conn.query_drop(format!(
            "CREATE TABLE {} (
                id INT UNSIGNED PRIMARY KEY AUTO_INCREMENT,
                debit INT UNSIGNED NOT NULL,
                credit INT UNSIGNED NOT NULL,
                amount DECIMAL(12, 2) NOT NULL,
                note TEXT
            ) ENGINE = InnoDB",
            self.entries
        ))
    }

    fn remove(&mut self) -> Result<()> {
        for table in [&self.entries, &self.accounts] {
            self.conn
                .query_drop(format!("DROP TABLE IF EXISTS {table}"))?;
        }
        Ok(())
    }

    fn a_day(&mut self) -> Result<String> {
        let mut out = String::new();
        self.open(&[("ann", "100.00"), ("bob", "20.50"), ("zoë", "0.00")])?;

        for (from, to, amount, note) in [
            ("ann", "bob", "30.00", Some("rent")),
            ("bob", "zoë", "50.50", None),
            ("zoë", "ann", "999.99", Some("too much")),
            ("ann", "nobody", "1.00", Some("to whom?")),
        ] {
            let done = match self.transfer(from, to, amount, note) {
                Ok(Some(entry)) => format!("entry {entry}"),
                Ok(None) => "no such account".to_owned(),
                Err(Error::MySqlError(e)) => format!("refused with SQLSTATE {}", e.state),
                Err(e) => return Err(e),
            };
            let _ = writeln!(out, "{from} -> {to} {amount}: {done}");
        }
        self.report(&mut out)?;
        Ok(out)
    }

    /// Opens accounts, by one prepared statement.
    fn open(&mut self, accounts: &[(&str, &str)]) -> Result<()> {
        let insert = self.conn.prep(format!(
            "INSERT INTO {} (owner, balance) VALUES (:owner, :balance)",
            self.accounts
        ))?;
        let all = accounts.iter().map(|(owner, balance)| {
            params! { "owner" => owner, "balance" => balance }
        });
        self.conn.exec_batch(&insert, all)?;
        self.conn.close(insert)
    }

    /// All of a transfer or nothing of it. Gives the entry's number, if both accounts exist.
    fn transfer(
        &mut self,
        from: &str,
        to: &str,
        amount: &str,
        note: Option<&str>,
    ) -> Result<Option<u64>> {
        let (accounts, entries) = (&self.accounts, &self.entries);
        let mut tx = self.conn.start_transaction(TxOpts::default())?;
        for (owner, sign) in [(from, "-"), (to, "+")] {
            tx.exec_drop(
                format!("UPDATE {accounts} SET balance = balance {sign} ? WHERE owner = ?"),
                (amount, owner),
            )?;
            if tx.affected_rows() != 1 {
                tx.rollback()?;
                return Ok(None);
            }
        }
        tx.exec_drop(
            format!(
                "INSERT INTO {entries} (debit, credit, amount, note)
                 SELECT d.id, c.id, :amount, :note
                 FROM {accounts} d JOIN {accounts} c
                 WHERE d.owner = :from AND c.owner = :to"
            ),
            params! { amount, note, from, to },
        )?;
        let entry = tx.last_insert_id();
        tx.commit()?;
        Ok(entry)
    }

    fn report(&mut self, out: &mut String) -> Result<()> {
        let sql = format!("SELECT owner, balance FROM {} ORDER BY id", self.accounts);
        self.conn
            .query_map(sql, |(owner, balance): (String, String)| {
                let _ = writeln!(out, "{owner:<10} {balance:>10}");
            })?;

        let sql = format!(
            "SELECT id, amount, note FROM {} WHERE amount >= ?",
            self.entries
        );
        let mut result = self.conn.exec_iter(sql, (1,))?;
        let columns = result.columns();
        let names = columns.as_ref().iter().map(|c| c.name_str().into_owned());
        let _ = writeln!(out, "{}", names.collect::<Vec<_>>().join(" | "));
        for row in result.by_ref() {
            let row: Row = row?;
            let id: Option<u32> = row.get("id");
            let amount: Option<String> = row.get("amount");
            let note: Option<Option<String>> = row.get("note");
            let _ = writeln!(out, "{id:?} | {amount:?} | {note:?}");
        }
        drop(result);

        let sql = format!("SELECT COUNT(*), SUM(balance) FROM {}", self.accounts);
        let sum: Option<(u64, String)> = self.conn.query_first(sql)?;
        let _ = writeln!(out, "{sum:?}");
        Ok(())
    }
}
