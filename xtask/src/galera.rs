//! A Galera cluster of MariaDB: each node takes writes, and has those of the others when a client hears of a commit.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::apt;
use crate::node::{Node, Plan, free_port};
use crate::servers::{self, Kind};

const PROVIDER: &str = "/usr/lib/galera/libgalera_smm.so";

/// Starts nodes of these names, one after the other: the first is the cluster that the others join.
pub fn start(names: &[String]) -> Result<Vec<Node>> {
    apt::install(&["galera-4", "rsync"])?;
    ensure!(Path::new(PROVIDER).exists(), "galera-4 has no {PROVIDER}");
    let ports = names
        .iter()
        .map(|_| Ports::free())
        .collect::<Result<Vec<_>>>()?;
    let members: Vec<_> = ports
        .iter()
        .map(|ports| format!("127.0.0.1:{}", ports.group))
        .collect();
    let members = members.join(",");

    let mut nodes: Vec<Node> = Vec::new();
    for (name, ports) in names.iter().zip(&ports) {
        let first = nodes.first();
        let plan = Plan {
            name: name.clone(),
            kind: Kind::Mariadb,
            role: "node",
            options: options(name, ports, &members),
            first: match first {
                None => vec!["--wsrep-new-cluster".into()],
                Some(_) => Vec::new(),
            },
            // The copy of the data is written as nobody if root starts it.
            account: Some("mysql"),
            certs: first.map(Node::certs).transpose()?,
        };
        let is_first = first.is_none();
        nodes.push(Node::start(&plan, |node| {
            synced(node)?;
            match is_first {
                true => node.query(servers::SQL).map(drop),
                false => Ok(()),
            }
        })?);
    }
    // Who gave its data to one that joined may have to catch up.
    nodes.iter().try_for_each(synced)?;
    Ok(nodes)
}

/// Where a node listens for others.
struct Ports {
    group: u16,
    /// For the transactions that it missed.
    changes: u16,
    /// For all data.
    copy: u16,
}

impl Ports {
    fn free() -> Result<Self> {
        Ok(Self {
            group: free_port()?.0,
            changes: free_port()?.0,
            copy: free_port()?.0,
        })
    }
}

fn options(name: &str, ports: &Ports, members: &str) -> Vec<String> {
    let provider = [
        format!("gmcast.listen_addr=tcp://127.0.0.1:{}", ports.group),
        format!("ist.recv_addr=127.0.0.1:{}", ports.changes),
        "gcache.size=16M".into(),
        // A node that was killed is given up sooner than by default, which also has it back sooner.
        "evs.suspect_timeout=PT3S".into(),
        "evs.inactive_timeout=PT6S".into(),
        "evs.install_timeout=PT3S".into(),
    ];
    vec![
        "--wsrep-on=ON".into(),
        format!("--wsrep-provider={PROVIDER}"),
        format!("--wsrep-provider-options={}", provider.join(";")),
        format!("--wsrep-cluster-address=gcomm://{members}"),
        format!("--wsrep-node-name={name}"),
        "--wsrep-node-address=127.0.0.1".into(),
        "--wsrep-sst-method=rsync".into(),
        format!("--wsrep-sst-receive-address=127.0.0.1:{}", ports.copy),
        "--binlog-format=ROW".into(),
        "--innodb-autoinc-lock-mode=2".into(),
    ]
}

/// Waits until the node has all data and takes statements.
fn synced(node: &Node) -> Result<()> {
    for (status, wanted) in [
        ("wsrep_ready", "ON"),
        ("wsrep_local_state_comment", "Synced"),
    ] {
        let sql = format!(
            "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME='{status}'"
        );
        node.wait_for(&sql, wanted)?;
    }
    Ok(())
}
