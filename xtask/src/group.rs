//! MySQL's group replication with a single primary: the members elect another one when it is gone.

use anyhow::Result;

use crate::node::{Node, Plan, free_port};
use crate::replication::{self, ACCOUNT};
use crate::servers::{self, Kind};

const NAME: &str = "6d75785f-7465-7374-8d6d-75785f746573";

/// Starts servers of these names, one after the other: the first is the group that the others join.
pub fn start(names: &[String]) -> Result<Vec<Node>> {
    let ports = names
        .iter()
        .map(|_| Ok(free_port()?.0))
        .collect::<Result<Vec<_>>>()?;
    let addresses: Vec<_> = ports
        .iter()
        .map(|port| format!("127.0.0.1:{port}"))
        .collect();

    let mut nodes: Vec<Node> = Vec::new();
    for ((name, address), number) in names.iter().zip(&addresses).zip(1..) {
        let first = nodes.first();
        let mut options = replication::options(Kind::Mysql, number);
        options.extend(group(address, &addresses.join(",")));
        let plan = Plan {
            name: name.clone(),
            kind: Kind::Mysql,
            role: "member",
            options,
            first: match first {
                None => vec!["--group-replication-bootstrap-group=ON".into()],
                // It doesn't know yet how to log in to the others.
                Some(_) => vec!["--group-replication-start-on-boot=OFF".into()],
            },
            account: None,
            certs: first.map(Node::certs).transpose()?,
        };
        let is_first = first.is_none();
        nodes.push(Node::start(&plan, |node| {
            if !is_first {
                node.query(
                    "CHANGE REPLICATION SOURCE TO SOURCE_USER='replica', SOURCE_PASSWORD='replica-pw' \
                     FOR CHANNEL 'group_replication_recovery'; START GROUP_REPLICATION",
                )?;
            }
            online(node)?;
            if is_first {
                node.query(ACCOUNT)?;
                node.query(servers::SQL)?;
            }
            Ok(())
        })?);
    }
    Ok(nodes)
}

fn group(address: &str, all: &str) -> Vec<String> {
    vec![
        "--plugin-load-add=group_replication.so".into(),
        // What the others call it by.
        "--report-host=127.0.0.1".into(),
        format!("--group-replication-group-name={NAME}"),
        format!("--group-replication-local-address={address}"),
        format!("--group-replication-group-seeds={all}"),
        "--group-replication-start-on-boot=ON".into(),
        "--group-replication-recovery-get-public-key=ON".into(),
        // Who can't catch up at once tries again before a test gives up.
        "--group-replication-recovery-reconnect-interval=1".into(),
        // A member that was killed is given up as soon as it is missed.
        "--group-replication-member-expel-timeout=0".into(),
        // Tables need a key in a group.
        "--sql-generate-invisible-primary-key=ON".into(),
        "--group-replication-message-cache-size=134217728".into(),
    ]
}

/// Waits until it takes part, with all data.
fn online(node: &Node) -> Result<()> {
    let state = "SELECT MEMBER_STATE FROM performance_schema.replication_group_members \
                 WHERE MEMBER_ID = @@server_uuid";
    node.wait_for(state, "ONLINE")
}
