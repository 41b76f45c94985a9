//! The replicas of the server: that they have what it has, when that matters, and that they don't, when
//! a program has it so.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use mysql::{Conn, Row, prelude::Queryable as _};

use crate::server::{Kind, Server};

/// How long a replica may take to have what the primary has.
const PATIENCE: Duration = Duration::from_secs(30);

/// All of them; none where a server is alone.
pub struct Replicas(Vec<Replica>);

struct Replica {
    server: Server,
    conn: Conn,
    /// It does nothing of what the primary does.
    is_held: bool,
    /// What it had written by itself when that was looked at last.
    own: Option<String>,
}

impl Replicas {
    pub fn new(servers: &[Server]) -> Result<Replicas> {
        let replicas = servers.iter().map(|server| {
            let mut replica = Replica {
                server: server.clone(),
                conn: server.root()?,
                is_held: false,
                own: None,
            };
            replica.own = replica.own()?;
            // A run that was broken off may have left it so.
            replica.start()?;
            Ok(replica)
        });
        Ok(Replicas(replicas.collect::<Result<_>>()?))
    }

    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    pub fn conns(&mut self) -> impl Iterator<Item = &mut Conn> {
        self.0.iter_mut().map(|replica| &mut replica.conn)
    }

    /// Waits until all have what the primary has. Those that were held go on.
    pub fn settle(&mut self, primary: &mut Conn) -> Result<()> {
        self.release()?;
        let Some(Replica { server, .. }) = self.0.first() else {
            return Ok(());
        };
        let position = match server.kind {
            Kind::MariaDb => "SELECT @@gtid_binlog_pos",
            Kind::MySql => "SELECT @@gtid_executed",
        };
        let position: Option<String> = primary.query_first(position)?;
        let position = position.context("the primary tells no position")?;
        let mut replicas = self.0.iter_mut();
        replicas.try_for_each(|replica| replica.reach(&position))
    }

    /// Has one, or all, do nothing of what the primary does, until [`Self::release`].
    pub fn hold(&mut self, replica: Option<usize>) -> Result<()> {
        let count = self.0.len();
        for (number, one) in self.0.iter_mut().enumerate() {
            if !one.is_held && replica.is_none_or(|replica| replica % count == number) {
                one.stop()?;
            }
        }
        Ok(())
    }

    pub fn release(&mut self) -> Result<()> {
        let mut held = self.0.iter_mut().filter(|replica| replica.is_held);
        held.try_for_each(|replica| replica.start())
    }

    /// Which of them was written to since this was asked last: some servers let the user, and what a handle
    /// writes there it may even find again.
    pub fn written_to(&mut self) -> Result<Option<String>> {
        let mut written = None;
        for replica in &mut self.0 {
            let own = replica.own()?;
            let before = std::mem::replace(&mut replica.own, own);
            if before != replica.own {
                let socket = &replica.server.socket;
                let own = &replica.own;
                written = Some(format!("the replica {socket}, which has {own:?} by itself"));
            }
        }
        Ok(written)
    }

    /// The variables that tell servers apart: their global values differ.
    pub fn apart(&mut self, primary: &Server) -> Result<Vec<String>> {
        let all = |conn: &mut Conn| -> Result<Vec<(String, String)>> {
            Ok(conn.query("SHOW GLOBAL VARIABLES")?)
        };
        let expected = all(&mut primary.root()?)?;
        let mut names = Vec::new();
        for conn in self.conns() {
            let own = all(conn)?;
            let differs = expected.iter().filter(|variable| !own.contains(variable));
            names.extend(differs.map(|(name, _)| name.clone()));
        }
        names.sort();
        names.dedup();
        Ok(names)
    }
}

impl Replica {
    fn word(&self) -> &'static str {
        match self.server.kind {
            Kind::MariaDb => "SLAVE",
            Kind::MySql => "REPLICA",
        }
    }

    fn stop(&mut self) -> Result<()> {
        let stop = format!("STOP {} SQL_THREAD", self.word());
        self.conn.query_drop(stop)?;
        self.is_held = true;
        Ok(())
    }

    fn start(&mut self) -> Result<()> {
        let start = format!("START {} SQL_THREAD", self.word());
        self.conn.query_drop(start)?;
        self.is_held = false;
        Ok(())
    }

    /// The last transactions that are not of its primary.
    fn own(&mut self) -> Result<Option<String>> {
        let own = match self.server.kind {
            Kind::MariaDb => "@@gtid_binlog_state, CONCAT('-', @@server_id, '-[0-9]+')",
            Kind::MySql => "@@gtid_executed, CONCAT(@@server_uuid, '[^,]*')",
        };
        let found: Option<Option<String>> = self
            .conn
            .query_first(format!("SELECT NULLIF(REGEXP_SUBSTR({own}), '')"))?;
        Ok(found.flatten())
    }

    /// Waits until it has what the primary had at this position.
    fn reach(&mut self, position: &str) -> Result<()> {
        let wait = match self.server.kind {
            Kind::MariaDb => "MASTER_GTID_WAIT",
            Kind::MySql => "WAIT_FOR_EXECUTED_GTID_SET",
        };
        let wait = format!("SELECT {wait}('{position}', 1)");
        let began = Instant::now();
        loop {
            let reached: Option<Option<i64>> = self.conn.query_first(&wait)?;
            if reached == Some(Some(0)) {
                return Ok(());
            }
            let state = self.state()?;
            ensure!(
                state.is_none(),
                "the replica {} doesn't follow any more: {}",
                self.server.socket,
                state.unwrap_or_default()
            );
            if began.elapsed() > PATIENCE {
                bail!(
                    "the replica {} doesn't reach {position}",
                    self.server.socket
                );
            }
        }
    }

    /// Why it has stopped; `None` where it runs.
    fn state(&mut self) -> Result<Option<String>> {
        let (word, sql, io) = match self.server.kind {
            Kind::MariaDb => ("SLAVE", "Slave_SQL_Running", "Slave_IO_Running"),
            Kind::MySql => ("REPLICA", "Replica_SQL_Running", "Replica_IO_Running"),
        };
        let row: Option<Row> = self.conn.query_first(format!("SHOW {word} STATUS"))?;
        let row = row.context("it is no replica")?;
        let get = |name: &str| row.get::<String, _>(name).unwrap_or_default();
        let runs = get(sql) == "Yes" && get(io) != "No";
        let why = [get("Last_SQL_Error"), get("Last_IO_Error")].join(" ");
        Ok((!runs).then_some(why))
    }
}
