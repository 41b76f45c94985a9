//! Ending a statement that runs on a link, from a connection of its own.
//!
//! `KILL QUERY` hits whatever runs when it arrives: only a link that one caller has alone may be its
//! target, and nobody uses that link before the kill is answered and the statement is over. Where
//! more than one statement is on its way the connection is killed: closing it would not end them,
//! because a server that is busy does not look.

use std::{
    pin::pin,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use super::{Link, face::now, open};
use crate::{mux::stats::Counters, opts::Opts};

/// What a kill may take, from the connect to its answer.
const TIME: Duration = Duration::from_secs(5);

/// What is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kill {
    Query,
    Connection,
}

/// Ends what runs on that connection; whether the server said that it did.
pub(crate) fn kill(opts: &Opts, what: Kill, connection_id: u32, counters: &Arc<Counters>) -> bool {
    // Beyond the limit of links: all of those may be busy, and one of them is the reason.
    let deadline = Instant::now() + TIME;
    let Ok(mut link) = open(opts, None, deadline, counters, &AtomicBool::new(true)) else {
        return false;
    };
    link.deadline = Some((deadline, TIME));
    let what = match what {
        Kill::Query => "QUERY",
        Kill::Connection => "CONNECTION",
    };
    let killed = now(pin!(link.query(
        format!("KILL {what} {connection_id}").as_bytes(),
        None,
        None,
    )));
    Link::close(link);
    killed.is_ok()
}
