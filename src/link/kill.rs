//! Ending a statement that runs on a link, from a connection of its own.
//!
//! `KILL QUERY` hits whatever runs when it arrives: only a link that one caller has alone may be its
//! target, and nobody uses that link before the kill is answered and the statement is over. Where
//! more than one statement is on its way the connection is killed: closing it would not end them,
//! because a server that is busy does not look.
//!
//! A number says which connection only to the server that gave it. So the kill goes to the address that the
//! link goes to, and is not sent where another server answers there, as far as its greeting tells.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use super::{Link, connect::open_at, face::now};
use crate::{mux::stats::Counters, opts::Opts, proto::handshake::ServerInfo};

/// What a kill may take, from the connect to its answer.
const TIME: Duration = Duration::from_secs(5);

/// What is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kill {
    Query,
    Connection,
}

/// A connection on which something is to be ended.
#[derive(Debug)]
pub(crate) struct Victim {
    opts: Opts,
    server: Arc<ServerInfo>,
    at: Option<SocketAddr>,
    counters: Arc<Counters>,
}

impl Victim {
    /// `opts`: those that the link was opened with.
    pub(crate) fn new(link: &Link, opts: &Opts) -> Victim {
        Victim {
            opts: opts.clone(),
            server: link.server.clone(),
            at: link.stream().peer(),
            counters: link.counters.clone(),
        }
    }

    /// Ends what runs on it; whether the server said that it did.
    pub(crate) fn kill(&self, what: Kill) -> bool {
        // Beyond the limit of links: all of those may be busy, and one of them is the reason.
        let deadline = Instant::now() + TIME;
        let one_at_a_time = AtomicBool::new(true);
        let (opts, counters) = (&self.opts, &self.counters);
        let Ok(mut link) = open_at(opts, self.at, None, deadline, counters, &one_at_a_time) else {
            return false;
        };
        link.deadline = Some((deadline, TIME));
        let id = self.server.connection_id;
        let sql = match what {
            Kill::Query => format!("KILL QUERY {id}"),
            Kill::Connection => format!("KILL CONNECTION {id}"),
        };
        let killed = may_be_same(&self.server, &link.server)
            && now(pin!(link.query(sql.as_bytes(), None, None))).is_ok();
        Link::close(link);
        killed
    }
}

/// Whether the server that was met `then` may be the one that is met `now`. Servers number connections in order.
fn may_be_same(then: &ServerInfo, now: &ServerInfo) -> bool {
    /// From here on the numbers may begin anew: they have 32 bits.
    const WRAP: u32 = u32::MAX - (1 << 24);
    then.version == now.version
        && (then.connection_id < now.connection_id || then.connection_id > WRAP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mysql_common::constants::CapabilityFlags;

    #[test]
    fn a_server_numbers_connections_in_order() {
        let server = |version: &str, connection_id| ServerInfo {
            version: version.into(),
            parsed: (0, 0, 0),
            mariadb: false,
            connection_id,
            nonce: Vec::new(),
            default_plugin: Vec::new(),
            capabilities: CapabilityFlags::empty(),
            extended: Default::default(),
        };
        let is_it = |then, now| may_be_same(&server("9.7.4", then), &server("9.7.4", now));
        assert!(is_it(8, 9));
        assert!(!is_it(9, 8), "another one, or it was restarted");
        assert!(!is_it(9, 9));
        assert!(is_it(u32::MAX - 1, 5), "they begin anew");
        assert!(!may_be_same(&server("9.7.4", 8), &server("9.7.5", 9)));
    }
}
