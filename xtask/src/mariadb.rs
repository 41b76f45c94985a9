//! MariaDB: Debian's own package.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::{apt, run};

/// Statements for a new server beyond those of every server: the accounts without a name that a new data folder
/// has would win over `mux`@`%` for local connections.
pub const SQL: &str = "DELETE FROM mysql.global_priv WHERE User='';\nFLUSH PRIVILEGES;\n";

const ED25519: &str = "/usr/lib/mysql/plugin/auth_ed25519.so";

/// Makes a new data folder and returns the command that serves it.
pub fn prepare(data: &Path) -> Result<Command> {
    apt::install(&["mariadb-server"])?;
    run(Command::new("mariadb-install-db")
        .args([
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ])
        .args(apt::root()?.then_some("--user=root"))
        .arg(format!("--datadir={}", data.display()))
        .stdout(std::process::Stdio::null()))?;

    let mut server = Command::new("/usr/sbin/mariadbd");
    server.args(["--no-defaults", "--innodb-log-file-size=32M"]);
    if Path::new(ED25519).exists() {
        server.arg("--plugin-load-add=auth_ed25519");
    }
    Ok(server)
}
