//! The server under test as its env file tells it, an administrator's connection to it, and what a
//! program needs on it: schemas of its own, the same on both sides.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use mysql::{Conn, OptsBuilder, Row, prelude::Queryable as _};

use crate::{program::Program, replicas::Replicas, run::Outside, topics::SETUP};

/// Which family a server is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    MariaDb,
    MySql,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::MariaDb => "mariadb",
            Kind::MySql => "mysql",
        }
    }
}

/// A server that runs.
#[derive(Clone, Debug)]
pub struct Server {
    pub kind: Kind,
    pub version: String,
    pub socket: String,
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: String,
    pub root: String,
    /// Tells the names of this process from those of another on the same server.
    pub run: u32,
}

const HELP: &str = "start servers with `cargo xtask servers up`";

impl Server {
    /// The one that a file tells of.
    pub fn read(file: &Path) -> Result<Server> {
        let vars = vars(file)?;
        let var = |name: &str| {
            let value = vars.get(name).cloned();
            value.with_context(|| format!("{} has no {name}; {HELP}", file.display()))
        };
        Ok(Server {
            kind: match var("KIND")?.as_str() {
                "mariadb" => Kind::MariaDb,
                "mysql" => Kind::MySql,
                other => bail!("{} has KIND={other}", file.display()),
            },
            version: var("VERSION")?,
            socket: var("SOCKET")?,
            host: var("HOST")?,
            port: var("PORT")?.parse().context("PORT")?,
            user: var("USER")?,
            password: var("PASSWORD")?,
            root: var("ROOT")?,
            run: std::process::id(),
        })
    }

    /// Those that a file of several names: the primary, and its replicas.
    pub fn read_topology(file: &Path) -> Result<Vec<Server>> {
        let nodes = vars(file)?.remove("NODES").unwrap_or_default();
        let files = nodes.split_whitespace().map(Path::new);
        let servers = files.map(Server::read).collect::<Result<Vec<_>>>()?;
        ensure!(servers.len() > 1, "{} names no replicas", file.display());
        Ok(servers)
    }

    /// The env file of a kind where `cargo xtask servers up` leaves it.
    pub fn usual_file(kind: Kind) -> PathBuf {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
            PathBuf::from,
        );
        target.join("servers").join(format!("{}.env", kind.name()))
    }

    /// An administrator's connection.
    pub fn root(&self) -> Result<Conn> {
        let opts = OptsBuilder::new()
            .socket(Some(&self.socket))
            .prefer_socket(false)
            .user(Some(&self.root));
        Conn::new(opts)
            .with_context(|| format!("the {} server does not answer; {HELP}", self.kind.name()))
    }

    /// The administrator, of its replicas too.
    pub fn admin(&self, replicas: &[Server]) -> Result<Admin> {
        Ok(Admin {
            server: self.clone(),
            conn: self.root()?,
            replicas: Replicas::new(replicas)?,
        })
    }

    /// What each session begins with, on both sides. No lock is waited for longer than a second.
    pub fn init(&self) -> Vec<String> {
        vec![
            "SET NAMES utf8mb4".into(),
            "SET SESSION innodb_lock_wait_timeout = 1, lock_wait_timeout = 1".into(),
        ]
    }
}

/// What an env file has.
fn vars(file: &Path) -> Result<HashMap<String, String>> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("no server: {}; {HELP}", file.display()))?;
    let vars = text.lines().filter_map(|line| line.split_once('='));
    let clean = |text: &str| text.trim().trim_matches(['"', '\'']).to_owned();
    Ok(vars
        .map(|(name, value)| (clean(name), clean(value)))
        .collect())
}

/// The names of one side's run of a program. They are of one length on all sides.
#[derive(Clone, Debug)]
pub struct Names {
    pub db: String,
    pub db2: String,
    pub role: String,
}

impl Names {
    pub fn new(server: &Server, number: u32, side: char) -> Names {
        Names {
            db: format!("mux_diff_{}_{number:06}_{side}", server.run),
            db2: format!("mux_diff2_{}_{number:06}_{side}", server.run),
            role: format!("mux_diff_{}_role", server.run),
        }
    }

    /// A statement's text with the names in it.
    pub fn put(&self, text: &str) -> String {
        text.replace("{db}", &self.db)
            .replace("{db2}", &self.db2)
            .replace("{role}", &self.role)
    }

    /// What came back without them.
    pub fn strip(&self, text: &str) -> String {
        text.replace(&self.db, "{db}")
            .replace(&self.db2, "{db2}")
            .replace(&self.role, "{role}")
    }

    /// The same of an error's message.
    pub fn strip_message(&self, text: &str) -> String {
        let mut text = self.strip(text);
        // A variable is in no row: the number is that of whatever ran on the connection before.
        if text.contains("``.``") || text.contains("'z'") {
            text.truncate(text.trim_end_matches(|c: char| c.is_ascii_digit()).len());
        }
        // MySQL keeps a foreign key's text with the table, in quotes or not as `sql_quote_show_create`
        // was where it was opened. The rest is in the session's language.
        if text.contains(" REFERENCES ") {
            text = text.replace(['`', '"'], "");
        }
        text
    }

    /// The same of bytes.
    pub fn strip_bytes(&self, bytes: Vec<u8>) -> Vec<u8> {
        const FIRST: &[u8] = b"mux_diff";
        let mut bytes = bytes;
        // Text of any character set.
        if !bytes.windows(FIRST.len()).any(|first| first == FIRST) {
            return bytes;
        }
        for (name, short) in [
            (&self.db, "{db}"),
            (&self.db2, "{db2}"),
            (&self.role, "{role}"),
        ] {
            while let Some(at) = bytes
                .windows(name.len())
                .position(|at| at == name.as_bytes())
            {
                bytes.splice(at..at + name.len(), short.bytes());
            }
        }
        bytes
    }
}

/// The administrator: makes schemas, kills connections, holds replicas, clears up.
pub struct Admin {
    server: Server,
    conn: Conn,
    pub replicas: Replicas,
}

impl Admin {
    /// The role that programs set. `false`: the server refuses roles.
    pub fn make_role(&mut self) -> Result<bool> {
        let role = Names::new(&self.server, 0, 'a').role;
        self.conn
            .query_drop(format!("DROP ROLE IF EXISTS `{role}`"))?;
        if let Err(e) = self.conn.query_drop(format!("CREATE ROLE `{role}`")) {
            eprintln!("note: the server makes no roles, SET ROLE is tried without one: {e}");
            return Ok(false);
        }
        let user = &self.server.user;
        self.conn
            .query_drop(format!("GRANT SELECT ON *.* TO `{role}`"))?;
        self.conn
            .query_drop(format!("GRANT `{role}` TO `{user}`@'%'"))?;
        Ok(true)
    }

    pub fn drop_role(&mut self) -> Result<()> {
        let role = Names::new(&self.server, 0, 'a').role;
        Ok(self
            .conn
            .query_drop(format!("DROP ROLE IF EXISTS `{role}`"))?)
    }

    /// Makes the schemas and all in them that a program may use.
    pub fn make(&mut self, program: &Program, names: &Names) -> Result<()> {
        let (db, db2) = (&names.db, &names.db2);
        self.conn.query_drop(format!(
            "CREATE DATABASE `{db}` CHARACTER SET utf8mb4; \
             CREATE DATABASE `{db2}` CHARACTER SET latin1; USE `{db}`"
        ))?;
        self.conn.query_drop("SET NAMES utf8mb4")?;
        for suffix in program.suffixes() {
            for (only, text) in SETUP {
                if only.is_for(self.server.kind) {
                    let sql = names.put(&text.replace('~', &suffix));
                    self.conn
                        .query_drop(&sql)
                        .with_context(|| format!("the setup of a program: {sql}"))?;
                }
            }
        }
        Ok(())
    }

    /// Drops what [`Self::make`] made and what the program left at the server.
    pub fn clear(&mut self, names: &Names) -> Result<()> {
        // XA transactions that are prepared outlive their connections and hold locks.
        let rows: Vec<Row> = self.conn.query("XA RECOVER")?;
        for row in rows {
            let id: Vec<u8> = row.get("data").unwrap_or_default();
            let id = String::from_utf8_lossy(&id).into_owned();
            if id.starts_with(&names.db) {
                let _ = self.conn.query_drop(format!("XA ROLLBACK '{id}'"));
            }
        }
        self.conn.query_drop(format!(
            "SET SESSION lock_wait_timeout = 5; SET SESSION foreign_key_checks = 0; \
             DROP DATABASE IF EXISTS `{}`; DROP DATABASE IF EXISTS `{}`",
            names.db, names.db2
        ))?;
        Ok(())
    }
}

impl Outside for Admin {
    fn kill(&mut self, id: u32, statement_only: bool) -> Result<()> {
        if self.replicas.is_none() {
            return kill(&mut self.conn, id, statement_only);
        }
        // Each server counts its own connections, and the handle doesn't say whose it was.
        for conn in self.replicas.conns().chain([&mut self.conn]) {
            if is_under_test(conn, id)? {
                kill(conn, id, statement_only)?;
            }
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        self.replicas.settle(&mut self.conn)
    }

    fn hold(&mut self, replica: Option<usize>) -> Result<()> {
        self.replicas.hold(replica)
    }

    fn release(&mut self) -> Result<()> {
        self.replicas.release()
    }
}

/// Of several servers' connections those under test are by TCP, all others by a socket.
fn is_under_test(conn: &mut Conn, id: u32) -> Result<bool> {
    let rows: Vec<Row> = conn.query("SHOW PROCESSLIST")?;
    let is_it = |row: &Row| {
        let host: Option<String> = row.get("Host");
        row.get::<u32, _>("Id") == Some(id) && host.is_some_and(|host| host.contains(':'))
    };
    Ok(rows.iter().any(is_it))
}

/// Kills a connection, or its statement, and waits until a killed connection is gone.
fn kill(conn: &mut Conn, id: u32, statement_only: bool) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(10);
    const AGAIN: Duration = Duration::from_secs(1);
    let what = if statement_only {
        "QUERY"
    } else {
        "CONNECTION"
    };
    let kill = format!("KILL {what} {id}");
    // It may be gone.
    if conn.query_drop(&kill).is_err() || statement_only {
        return Ok(());
    }
    let began = Instant::now();
    let mut again = AGAIN;
    while began.elapsed() < PATIENCE {
        let rows: Vec<Row> = conn.query("SHOW PROCESSLIST")?;
        if rows.iter().all(|row| row.get::<u32, _>("Id") != Some(id)) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(2));
        // One that goes to rest just then MySQL doesn't wake.
        if began.elapsed() > again {
            again += AGAIN;
            let _ = conn.query_drop(&kill);
        }
    }
    bail!("connection {id} does not end although it was killed")
}
