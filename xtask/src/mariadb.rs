//! MariaDB: Debian's own package.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::{apt, run};

/// The accounts without a name that a new data folder has would win over `mux`@`%` for local connections.
const SQL: &str = "DELETE FROM mysql.global_priv WHERE User='';\n";

/// A file, because Galera's scripts would read those of the system if the server had none. The copy of a node's
/// data would want another program for TLS.
const DEFAULTS: &str = "[sst]\nssl-mode=DISABLED\n";

const ED25519: &str = "/usr/lib/mysql/plugin/auth_ed25519.so";

/// Makes a new data folder and returns the command that serves it.
pub fn prepare(data: &Path) -> Result<Command> {
    apt::install(&["mariadb-server"])?;
    let sql = data.with_extension("sql");
    fs::write(&sql, SQL)?;
    run(Command::new("mariadb-install-db")
        .args([
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ])
        .args(apt::root()?.then_some("--user=root"))
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--extra-file={}", sql.display()))
        .stdout(std::process::Stdio::null()))?;

    let defaults = data.with_extension("cnf");
    fs::write(&defaults, DEFAULTS)?;
    let mut server = Command::new("/usr/sbin/mariadbd");
    server
        .arg(format!("--defaults-file={}", defaults.display()))
        .arg("--innodb-log-file-size=32M");
    if Path::new(ED25519).exists() {
        server.arg("--plugin-load-add=auth_ed25519");
    }
    Ok(server)
}

/// The client of the same package.
pub fn client() -> Result<Command> {
    Ok(Command::new("mariadb"))
}
