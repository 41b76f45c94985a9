//! The servers to measure, from the files that `cargo xtask bench` names.

use std::{collections::HashMap, fs, path::PathBuf, process};

const FILES: [&str; 2] = ["MYSQL_MUX_TEST_ENV_MARIADB", "MYSQL_MUX_TEST_ENV_MYSQL"];

/// A server that runs.
#[derive(Debug, Clone)]
pub struct Server {
    pub kind: String,
    pub version: String,
    pub host: String,
    pub port: u16,
    pub socket: String,
    pub user: String,
    pub password: String,
    pub database: String,
    /// May do anything, over the socket, without a password.
    pub root: String,
    /// PEM of the authority that signed the server's certificate.
    pub ca: PathBuf,
}

/// All servers that are named. Without any the program ends.
pub fn servers() -> Vec<Server> {
    let found: Result<Vec<_>, _> = FILES
        .into_iter()
        .filter_map(std::env::var_os)
        .map(|path| read(PathBuf::from(path)))
        .collect();
    let why = match found {
        Ok(servers) if servers.is_empty() => {
            format!("neither {} nor {} is set", FILES[0], FILES[1])
        }
        Ok(servers) => return servers,
        Err(e) => e,
    };
    eprintln!("no server to measure: {why}; run `cargo xtask bench`");
    process::exit(1)
}

fn read(path: PathBuf) -> Result<Server, String> {
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut lines: HashMap<&str, &str> = text.lines().filter_map(|l| l.split_once('=')).collect();
    let mut get = |name| match lines.remove(name) {
        Some(value) => Ok(value.to_owned()),
        None => Err(format!("{} has no {name}", path.display())),
    };
    Ok(Server {
        kind: get("KIND")?,
        version: get("VERSION")?,
        host: get("HOST")?,
        port: get("PORT")?.parse().map_err(|e| format!("PORT: {e}"))?,
        socket: get("SOCKET")?,
        user: get("USER")?,
        password: get("PASSWORD")?,
        database: get("DATABASE")?,
        root: get("ROOT")?,
        ca: get("CA")?.into(),
    })
}
