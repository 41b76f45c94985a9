//! Several servers that hold the same data, for tests of reading from replicas and of failures. Each has an env
//! file like that of a server alone, and one more file names these.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use crate::node::Node;
use crate::servers::{Kind, env_file};
use crate::{galera, group, replication};

#[derive(Clone, Copy, PartialEq)]
pub enum Topology {
    /// A primary and two replicas.
    MariadbReplication,
    /// A primary and a replica.
    MysqlReplication,
    /// Three members of MySQL's group replication, one of which is the primary.
    MysqlGroup,
    /// Three nodes, each of which takes writes.
    Galera,
}

impl Topology {
    pub const ALL: [Topology; 4] = [
        Topology::MariadbReplication,
        Topology::MysqlReplication,
        Topology::MysqlGroup,
        Topology::Galera,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Topology::MariadbReplication => "mariadb-replication",
            Topology::MysqlReplication => "mysql-replication",
            Topology::MysqlGroup => "mysql-group",
            Topology::Galera => "galera",
        }
    }

    /// A primary and replicas that follow it, and can be held back.
    pub fn has_replicas(self) -> bool {
        matches!(
            self,
            Topology::MariadbReplication | Topology::MysqlReplication
        )
    }

    /// The names of its servers, the primary's first.
    pub fn nodes(self) -> Vec<String> {
        let count = match self {
            Topology::MysqlReplication => 2,
            Topology::MariadbReplication | Topology::MysqlGroup | Topology::Galera => 3,
        };
        let name = self.name();
        (1..=count)
            .map(|number| format!("{name}-{number}"))
            .collect()
    }

    /// The file that names the env files of its servers.
    pub fn env_file(self) -> Result<PathBuf> {
        env_file(self.name())
    }

    /// Starts all its servers; they have the same data when this returns.
    pub fn start(self) -> Result<()> {
        let nodes = match self {
            Topology::MariadbReplication => replication::start(Kind::Mariadb, &self.nodes()),
            Topology::MysqlReplication => replication::start(Kind::Mysql, &self.nodes()),
            Topology::MysqlGroup => group::start(&self.nodes()),
            Topology::Galera => galera::start(&self.nodes()),
        }?;
        let files: Vec<_> = nodes.iter().map(Node::file).collect();
        let files: Vec<_> = files
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        let text = format!("KIND={}\nNODES={}\n", self.name(), files.join(" "));
        fs::write(self.env_file()?, text)?;
        Ok(())
    }
}
