//! Runs the example that shows what sharing connections saves.

use std::env;

use anyhow::Result;

use crate::servers::{self, Borrowed, Kind, Setup};
use crate::{cargo, run as run_command};

/// Runs the example against the server of MYSQL_MUX_URL, or else against a private MariaDB.
pub fn run() -> Result<()> {
    let mut example = cargo();
    example.args([
        "run",
        "--release",
        "--package",
        "mysql_mux_benches",
        "--example",
        "connect_savings",
    ]);
    if env::var_os("MYSQL_MUX_URL").is_some() {
        return run_command(&mut example);
    }
    let _server = Borrowed::new(Some(Setup::One(Kind::Mariadb)))?;
    run_command(example.env("MYSQL_MUX_URL", servers::url(Kind::Mariadb)?))
}
