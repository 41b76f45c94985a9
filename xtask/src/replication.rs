//! A primary and replicas that follow it by global transaction ids. The account and the schema of the tests reach
//! the replicas that way too, so a replica has no transaction that the primary does not know.

use anyhow::{Context, Result, ensure};

use crate::node::{Node, Plan};
use crate::servers::{self, Kind};

/// The account the replicas log in with; connections of the tests' own are counted, and killed.
pub const ACCOUNT: &str = "\
CREATE USER 'replica'@'%' IDENTIFIED BY 'replica-pw';
GRANT REPLICATION SLAVE ON *.* TO 'replica'@'%';
";

/// Starts servers of these names, the first as the primary.
pub fn start(kind: Kind, names: &[String]) -> Result<Vec<Node>> {
    let mut nodes: Vec<Node> = Vec::new();
    for (name, number) in names.iter().zip(1..) {
        let node = match nodes.first() {
            None => {
                let plan = Plan {
                    name: name.clone(),
                    kind,
                    role: "primary",
                    options: options(kind, number),
                    first: Vec::new(),
                    account: None,
                    certs: None,
                };
                Node::start(&plan, |node| {
                    node.query(ACCOUNT)?;
                    node.query(servers::SQL).map(drop)
                })
            }
            Some(primary) => {
                let read_only: &[&str] = match kind {
                    Kind::Mariadb => &["--read-only=ON"],
                    Kind::Mysql => &["--read-only=ON", "--super-read-only=ON"],
                };
                let mut options = options(kind, number);
                options.extend(read_only.iter().map(|&option| option.into()));
                let plan = Plan {
                    name: name.clone(),
                    kind,
                    role: "replica",
                    options,
                    first: Vec::new(),
                    account: None,
                    certs: Some(primary.certs()?),
                };
                Node::start(&plan, |node| {
                    follow(kind, node, primary)?;
                    catch_up(kind, node, primary)
                })
            }
        };
        nodes.push(node?);
    }
    Ok(nodes)
}

/// Any of the servers may become the primary.
pub fn options(kind: Kind, number: u32) -> Vec<String> {
    let mut options = vec![
        format!("--server-id={number}"),
        "--log-bin=binlog".into(),
        "--binlog-format=ROW".into(),
        "--relay-log=relay".into(),
        "--relay-log-recovery=ON".into(),
        "--sync-binlog=0".into(),
    ];
    let ids: &[&str] = match kind {
        Kind::Mariadb => &["--log-slave-updates=ON"],
        Kind::Mysql => &[
            "--log-replica-updates=ON",
            "--gtid-mode=ON",
            "--enforce-gtid-consistency=ON",
        ],
    };
    options.extend(ids.iter().map(|&option| option.into()));
    options
}

/// Makes a server a replica. It asks each second for a primary that is gone, for as long as that takes.
fn follow(kind: Kind, replica: &Node, primary: &Node) -> Result<()> {
    let port = primary.get("PORT")?;
    let sql = match kind {
        Kind::Mariadb => format!(
            "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={port}, MASTER_USER='replica', \
             MASTER_PASSWORD='replica-pw', MASTER_CONNECT_RETRY=1, MASTER_USE_GTID=slave_pos; START SLAVE"
        ),
        Kind::Mysql => format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={port}, SOURCE_USER='replica', \
             SOURCE_PASSWORD='replica-pw', SOURCE_CONNECT_RETRY=1, SOURCE_RETRY_COUNT=0, SOURCE_AUTO_POSITION=1, \
             GET_SOURCE_PUBLIC_KEY=1; START REPLICA"
        ),
    };
    replica.query(&sql)?;
    Ok(())
}

/// Waits until the replica has all that the primary has done so far.
fn catch_up(kind: Kind, replica: &Node, primary: &Node) -> Result<()> {
    let (position, wait) = match kind {
        Kind::Mariadb => ("@@gtid_binlog_pos", "MASTER_GTID_WAIT"),
        Kind::Mysql => ("@@gtid_executed", "WAIT_FOR_EXECUTED_GTID_SET"),
    };
    let position = primary.query(&format!("SELECT {position}"))?;
    let answer = replica
        .query(&format!("SELECT {wait}('{position}', 60)"))
        .context("the replica does not run")?;
    ensure!(
        answer == "0",
        "the replica does not reach {position}:\n{}",
        replica.query("SHOW REPLICA STATUS")?
    );
    Ok(())
}
