//! Several servers that belong together, and what can befall them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard},
    time::Instant,
};

use super::{GENEROUS, Server, eventually, mux};
use mysql_mux::{Backend, Handle, Isolation, OptsBuilder, Prefer, prelude::*};

/// The servers that `MYSQL_MUX_TEST_TOPOLOGY` names.
pub struct Topology {
    pub kind: String,
    pub nodes: Vec<Server>,
}

/// What servers have noted of statements: their logs, from where on.
pub struct Seen(Vec<(PathBuf, usize)>);

/// One test at a time: they change how servers log, replicate and live.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|e| e.into_inner())
}

impl Topology {
    pub fn new() -> Topology {
        let path = std::env::var("MYSQL_MUX_TEST_TOPOLOGY").unwrap_or_else(|_| {
            panic!("no servers to test against: run `cargo xtask test --only mariadb-replication`")
        });
        let read = |path: &str| {
            fs::read_to_string(path).unwrap_or_else(|e| panic!("a topology's file {path}: {e}"))
        };
        let text = read(&path);
        let var = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name));
            value.unwrap_or_else(|| panic!("{path} has no {name}"))
        };
        Topology {
            kind: var("KIND=").to_owned(),
            nodes: var("NODES=")
                .split_whitespace()
                .map(|path| Server::parse(&read(path)))
                .collect(),
        }
    }

    pub fn is_galera(&self) -> bool {
        self.kind == "galera"
    }

    /// MySQL's group replication.
    pub fn is_group(&self) -> bool {
        self.kind == "mysql-group"
    }

    pub fn is_mysql(&self) -> bool {
        self.kind.starts_with("mysql")
    }

    /// All of them, the first one being the primary.
    pub fn opts(&self) -> OptsBuilder {
        let first = &self.nodes[0];
        let opts = OptsBuilder::new()
            .ip_or_hostname(Some(&first.host))
            .tcp_port(first.port)
            .prefer_socket(false)
            .user(Some(&first.user))
            .pass(Some(&first.password))
            .db_name(Some(&first.database));
        self.nodes[1..].iter().fold(opts, |opts, node| {
            opts.backend(Backend::new(&node.host, node.port))
        })
    }

    /// The same, whose reads go to more than one where there are more.
    pub fn opts_for_reads(&self) -> OptsBuilder {
        match self.is_galera() {
            true => self.opts().prefer(Prefer::Any),
            false => self.opts(),
        }
    }

    /// Starts one again that has crashed, and waits until it answers.
    pub fn restart(&self, node: usize) {
        if self.is_group() {
            // One that the others have not given up yet may wait in vain to be let in, for a minute.
            let other = (node + 1) % self.nodes.len();
            let count = format!(
                "SELECT COUNT(*) FROM performance_schema.replication_group_members \
                 WHERE MEMBER_PORT = {}",
                self.nodes[node].port
            );
            let mut root = self.root(other);
            eventually("the others give it up", || {
                super::one::<u32>(&mut root, &count) == 0
            });
        }
        self.nodes[node].restart();
    }

    /// Root on one of them.
    pub fn root(&self, node: usize) -> Handle {
        self.nodes[node].root()
    }

    /// A table that all of them have.
    pub fn table(&self, name: &str, columns: &str) -> String {
        let table = format!("mux_test.{}", super::unique(name));
        self.root(0)
            .query_drop(format!("CREATE TABLE {table} ({columns})"))
            .unwrap();
        self.settle();
        table
    }

    /// Waits until all have what the first one has.
    pub fn settle(&self) {
        if self.is_galera() {
            return;
        }
        let mut primary = self.root(0);
        let (position, wait) = match self.is_mysql() {
            true => ("@@gtid_executed", "WAIT_FOR_EXECUTED_GTID_SET"),
            false => ("@@gtid_binlog_pos", "MASTER_GTID_WAIT"),
        };
        let position: String = super::one(&mut primary, &format!("SELECT {position}"));
        for node in 1..self.nodes.len() {
            let wait = format!("SELECT {wait}('{position}', 30)");
            let reached: i64 = super::one(&mut self.root(node), &wait);
            assert_eq!(reached, 0, "a replica doesn't follow");
        }
    }

    /// Has the servers note what they run, until the end.
    pub fn watch(&self) -> Seen {
        let nodes = self.nodes.iter();
        let logs = nodes.map(|node| {
            let log = Path::new(node.var("DATADIR")).join("general.log");
            let file = format!("SET GLOBAL general_log_file = '{}'", log.display());
            let mut root = node.root();
            for sql in [
                &*file,
                "SET GLOBAL log_output = 'FILE', GLOBAL general_log = ON",
            ] {
                root.query_drop(sql).unwrap();
            }
            let from = fs::read(&log).expect("a general log").len();
            (log, from)
        });
        Seen(logs.collect())
    }

    /// Has no server take writes, until this ends.
    pub fn read_only(&self) -> ReadOnly<'_> {
        self.set_read_only(true);
        ReadOnly(self)
    }

    fn set_read_only(&self, on: bool) {
        let writers = if self.is_galera() {
            &self.nodes[..]
        } else {
            &self.nodes[..1]
        };
        // On MySQL the one includes the other.
        let all: &[&str] = match (self.is_mysql(), on) {
            (true, true) => &["super_read_only = ON"],
            (true, false) => &["super_read_only = OFF", "read_only = OFF"],
            (false, true) => &["read_only = ON"],
            (false, false) => &["read_only = OFF"],
        };
        for node in writers {
            let mut root = node.root();
            for setting in all {
                root.query_drop(format!("SET GLOBAL {setting}")).unwrap();
            }
        }
    }

    /// Has replicas do an hour later what the primary does, until this ends.
    pub fn late(&self) -> Late<'_> {
        // There is no delay in a group.
        let paused = self.is_group().then(|| self.pause());
        if paused.is_none() {
            self.set_delay(3600);
        }
        Late(self, paused)
    }

    fn set_delay(&self, seconds: u32) {
        let all = match self.is_mysql() {
            true => [
                "STOP REPLICA".into(),
                format!("CHANGE REPLICATION SOURCE TO SOURCE_DELAY = {seconds}"),
                "START REPLICA".into(),
            ],
            false => [
                "STOP SLAVE".into(),
                format!("CHANGE MASTER TO MASTER_DELAY = {seconds}"),
                "START SLAVE".into(),
            ],
        };
        for node in &self.nodes[1..] {
            let mut root = node.root();
            for sql in &all {
                root.query_drop(sql).unwrap();
            }
        }
    }

    /// Has replicas not do what the primary does, until this ends.
    pub fn pause(&self) -> Paused<'_> {
        let mut locks = Vec::new();
        match self.is_group() {
            // What applies it can't be stopped in a group.
            true => locks.extend((1..self.nodes.len()).map(|node| {
                let mut root = self.root(node);
                root.query_drop("FLUSH TABLES WITH READ LOCK").unwrap();
                root
            })),
            false => self.replicate(false),
        }
        Paused(self, locks)
    }

    fn replicate(&self, on: bool) {
        let verb = if on { "START" } else { "STOP" };
        let name = if self.is_mysql() { "REPLICA" } else { "SLAVE" };
        for node in 1..self.nodes.len() {
            self.root(node)
                .query_drop(format!("{verb} {name} SQL_THREAD"))
                .unwrap();
        }
    }
}

/// Servers that take no writes.
pub struct ReadOnly<'a>(&'a Topology);

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        self.0.set_read_only(false);
    }
}

/// Replicas that are late on purpose.
pub struct Late<'a>(&'a Topology, Option<Paused<'a>>);

impl Drop for Late<'_> {
    fn drop(&mut self) {
        if self.1.take().is_none() {
            self.0.set_delay(0);
        }
        self.0.settle();
    }
}

/// Replicas that stand still, by who holds them there.
pub struct Paused<'a>(&'a Topology, Vec<Handle>);

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        if self.1.is_empty() {
            return self.0.replicate(true);
        }
        for root in &mut self.1 {
            root.query_drop("UNLOCK TABLES").unwrap();
        }
    }
}

impl Seen {
    /// The connections that have said goodbye to a server.
    pub fn quits(&self, node: usize) -> Vec<u32> {
        let lines = self.lines(node);
        let ids = lines.lines().filter_map(|line| {
            let (before, _) = line.split_once(" Quit")?;
            before.split_ascii_whitespace().last()?.parse().ok()
        });
        ids.collect()
    }

    fn lines(&self, node: usize) -> String {
        let (log, from) = &self.0[node];
        let all = fs::read(log).expect("a general log");
        String::from_utf8_lossy(&all[*from..]).into_owned()
    }

    /// Which servers ran a statement that has this word, by their own logs.
    pub fn ran(&self, word: &str) -> Vec<usize> {
        let is_run = |line: &&str| line.contains(" Query\t") || line.contains(" Execute\t");
        let has_word = |line: &str| {
            let mut behind = line
                .match_indices(word)
                .map(|(at, _)| &line[at + word.len()..]);
            // Names of tables go on.
            behind.any(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
        };
        let ran = |node: &usize| self.lines(*node).lines().filter(is_run).any(has_word);
        (0..self.0.len()).filter(ran).collect()
    }
}

/// A server that does nothing.
pub struct Stopped<'a>(&'a Server);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.signal("-CONT");
    }
}

impl Server {
    fn pid(&self) -> String {
        let pid = fs::read_to_string(self.var("PIDFILE")).expect("a pid file");
        pid.trim().to_owned()
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.pid()]).status();
        assert!(sent.expect("kill").success(), "{signal}");
    }

    /// Has it do nothing at all, until that ends.
    pub fn stop(&self) -> Stopped<'_> {
        self.signal("-STOP");
        Stopped(self)
    }

    /// As after a crash.
    pub fn crash(&self) {
        self.signal("-KILL");
        let gone = format!("/proc/{}/exe", self.pid());
        eventually("the server is gone", || fs::read_link(&gone).is_err());
    }

    /// Starts it again, and waits until it answers.
    fn restart(&self) {
        let started = Command::new(self.var("START")).status().expect("START");
        assert!(started.success(), "{}", self.var("START"));
        let opts = OptsBuilder::new()
            .socket(Some(&self.socket))
            .user(Some(&self.root))
            .isolation(Isolation::Shared);
        let began = Instant::now();
        while mux().connect(opts.clone()).is_err() {
            assert!(
                began.elapsed() < 4 * GENEROUS,
                "the server doesn't come back"
            );
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}
