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

/// Of several servers the first takes writes, and the others follow it.
const TOPOLOGIES: &str = "MYSQL_MUX_TEST_TOPOLOGIES";

/// All of several servers that are named, with their name. Without any the program ends.
pub fn topologies() -> Vec<(String, Vec<Server>)> {
    let files = std::env::var_os(TOPOLOGIES).unwrap_or_default();
    let found: Result<Vec<_>, _> = std::env::split_paths(&files).map(several).collect();
    let why = match found {
        Ok(all) if all.is_empty() => format!("{TOPOLOGIES} is not set"),
        Ok(all) => return all,
        Err(e) => e,
    };
    eprintln!("no servers to measure: {why}; run `cargo xtask bench --bench backends`");
    process::exit(1)
}

fn several(path: PathBuf) -> Result<(String, Vec<Server>), String> {
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("NODES="));
    let nodes = line.ok_or_else(|| format!("{} has no NODES", path.display()))?;
    let nodes: Result<Vec<_>, _> = nodes
        .split_whitespace()
        .map(|node| read(node.into()))
        .collect();
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok((name.into_owned(), nodes?))
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
