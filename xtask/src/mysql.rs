//! MySQL: Debian 12 has none, so it is the one of Debian sid.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::{apt, run, sid};

/// Makes a new data folder and returns the command that serves it.
pub fn prepare(data: &Path) -> Result<Command> {
    let root = root()?;
    let at = |path: &str| root.join(path).display().to_string();
    let mysqld = || {
        let mut mysqld = sid::command(&root, "usr/sbin/mysqld");
        mysqld.args([
            "--no-defaults".into(),
            format!("--lc-messages-dir={}", at("usr/share/mysql")),
            format!("--character-sets-dir={}", at("usr/share/mysql/charsets")),
            format!("--plugin-dir={}", at("usr/lib/mysql/plugin")),
        ]);
        mysqld
    };
    run(mysqld()
        .arg("--initialize-insecure")
        .args(apt::root()?.then_some("--user=root"))
        .arg(format!("--datadir={}", data.display()))
        .arg(format!(
            "--log-error={}",
            data.with_extension("init.log").display()
        )))?;

    let mut server = mysqld();
    server.args([
        "--mysqlx=OFF",
        "--secure-file-priv=",
        "--innodb-redo-log-capacity=32M",
    ]);
    Ok(server)
}

/// The client that goes with it.
pub fn client() -> Result<Command> {
    Ok(sid::command(&root()?, "usr/bin/mysql"))
}

fn root() -> Result<PathBuf> {
    sid::unpack("mysql", &["mysql-server-core", "mysql-client-core"])
}
