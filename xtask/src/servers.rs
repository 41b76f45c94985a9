//! Private database servers for tests, on free ports and in folders of their own. They outlive the command that
//! starts them; a file per server in `target/servers` says where it is.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::node::{Node, Plan};
use crate::target;
use crate::topology::Topology;

/// The account and the schema the tests use.
pub const SQL: &str = "\
CREATE DATABASE mux_test;
CREATE USER 'mux'@'%' IDENTIFIED BY 'mux-pw';
GRANT ALL PRIVILEGES ON *.* TO 'mux'@'%' WITH GRANT OPTION;
";

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum Kind {
    Mariadb,
    Mysql,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Mariadb => "mariadb",
            Kind::Mysql => "mysql",
        }
    }

    /// One kind, or all of them.
    pub fn chosen(only: Option<Kind>) -> &'static [Kind] {
        match only {
            None => &[Kind::Mariadb, Kind::Mysql],
            Some(Kind::Mariadb) => &[Kind::Mariadb],
            Some(Kind::Mysql) => &[Kind::Mysql],
        }
    }

    /// The file that says where this server is.
    pub fn env_file(self) -> Result<PathBuf> {
        env_file(self.name())
    }
}

/// What can be started: a server, or several that belong together.
#[derive(Clone, Copy, PartialEq)]
pub enum Setup {
    One(Kind),
    Several(Topology),
}

impl ValueEnum for Setup {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Setup::One(Kind::Mariadb),
            Setup::One(Kind::Mysql),
            Setup::Several(Topology::MariadbReplication),
            Setup::Several(Topology::MysqlReplication),
            Setup::Several(Topology::MysqlGroup),
            Setup::Several(Topology::Galera),
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

impl Setup {
    /// What is started where nothing is chosen: the servers that most tests need.
    pub const USUAL: &'static [Setup] = &[Setup::One(Kind::Mariadb), Setup::One(Kind::Mysql)];

    pub fn name(self) -> &'static str {
        match self {
            Setup::One(kind) => kind.name(),
            Setup::Several(topology) => topology.name(),
        }
    }

    /// The option by which the differential test takes its file.
    pub fn option(self) -> &'static str {
        match self {
            Setup::One(_) => "--server-env",
            Setup::Several(_) => "--topology",
        }
    }

    /// The names of its servers.
    fn nodes(self) -> Vec<String> {
        match self {
            Setup::One(kind) => vec![kind.name().into()],
            Setup::Several(topology) => topology.nodes(),
        }
    }

    /// Those of its servers that were started.
    fn started(self) -> Result<Vec<Node>> {
        let nodes = self.nodes().into_iter();
        nodes
            .filter_map(|name| Node::find(&name).transpose())
            .collect()
    }

    /// Whether it was started as a whole, and each of its servers runs.
    fn alive(self) -> Result<bool> {
        for node in self.started()? {
            if !node.alive()? {
                return Ok(false);
            }
        }
        Ok(env_file(self.name())?.exists())
    }

    fn start(self) -> Result<()> {
        let began = Instant::now();
        let result = match self {
            Setup::One(kind) => start_one(kind),
            Setup::Several(topology) => topology.start(),
        };
        if result.is_err() {
            self.stop()?;
        } else {
            let seconds = began.elapsed().as_secs_f64();
            println!("{}: started in {seconds:.1} s", self.name());
        }
        result.with_context(|| format!("cannot start {}", self.name()))
    }

    /// Stops what runs of it, removes what it left, and says whether there was anything.
    fn stop(self) -> Result<bool> {
        let nodes = self.started()?;
        for node in &nodes {
            node.stop()?;
        }
        let file = env_file(self.name())?;
        if file.exists() {
            fs::remove_file(file)?;
        }
        Ok(!nodes.is_empty())
    }
}

/// Starts the chosen servers that do not run yet.
pub fn up(only: Option<Setup>) -> Result<()> {
    start_missing(only)?;
    status(only)
}

/// Stops the chosen servers, or all, and removes what they left.
pub fn down(only: Option<Setup>) -> Result<()> {
    let _lock = lock()?;
    for setup in chosen(only, Setup::value_variants()) {
        if setup.stop()? {
            println!("{}: stopped", setup.name());
        }
    }
    Ok(())
}

/// Prints which of the chosen servers run, and where; without a choice, of the usual ones and those that were
/// started.
pub fn status(only: Option<Setup>) -> Result<()> {
    for setup in chosen(only, Setup::value_variants()) {
        let nodes = setup.started()?;
        if nodes.is_empty() && (only.is_some() || Setup::USUAL.contains(&setup)) {
            println!("{}: not running", setup.name());
        }
        for (node, name) in nodes.iter().zip(setup.nodes()) {
            if node.alive()? {
                let (version, url, pid) = (node.get("VERSION")?, node.get("URL")?, node.pid()?);
                let file = node.file().display();
                println!("{name}: {version}, {url}, process {pid}, {file}");
            } else {
                println!("{name}: its process is gone; `up` starts it anew");
            }
        }
    }
    Ok(())
}

/// The URL of a server that runs.
pub fn url(kind: Kind) -> Result<String> {
    let node = Node::find(kind.name())?.context("the server does not run")?;
    Ok(node.get("URL")?.to_owned())
}

/// The file that says where the server, or the servers, of this name are.
pub fn env_file(name: &str) -> Result<PathBuf> {
    Ok(target()?.join("servers").join(name).with_extension("env"))
}

/// Servers needed for the time of a task: those that did not run before are stopped at its end.
pub struct Borrowed(Vec<Setup>);

impl Borrowed {
    pub fn new(only: Option<Setup>) -> Result<Self> {
        start_missing(only).map(Self)
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        for &setup in &self.0 {
            if let Err(error) = down(Some(setup)) {
                eprintln!("{error:#}");
            }
        }
    }
}

/// What was chosen, or these.
pub fn chosen(only: Option<Setup>, default: &[Setup]) -> Vec<Setup> {
    only.map_or_else(|| default.to_vec(), |setup| vec![setup])
}

/// Starts the chosen servers that do not run, or the usual ones, and returns which these are.
fn start_missing(only: Option<Setup>) -> Result<Vec<Setup>> {
    let _lock = lock()?;
    let mut started = Vec::new();
    for setup in chosen(only, Setup::USUAL) {
        if setup.alive()? {
            continue;
        }
        if setup.stop()? {
            println!("{}: its process is gone, starting anew", setup.name());
        }
        setup.start()?;
        started.push(setup);
    }
    Ok(started)
}

/// Keeps two commands from starting the same server; held until the file is closed.
fn lock() -> Result<File> {
    let folder = target()?.join("servers");
    fs::create_dir_all(&folder)?;
    let file = File::create(folder.join("lock"))?;
    file.lock()?;
    Ok(file)
}

/// A server that belongs to no others.
fn start_one(kind: Kind) -> Result<()> {
    let plan = Plan {
        name: kind.name().into(),
        kind,
        role: "single",
        // With a binary log, as most servers have one, sessions are told more.
        options: ["--log-bin=binlog", "--sync-binlog=0", "--server-id=1"]
            .map(str::to_owned)
            .to_vec(),
        first: Vec::new(),
        account: None,
        certs: None,
    };
    Node::start(&plan, |node| node.query(SQL).map(drop))?;
    Ok(())
}
