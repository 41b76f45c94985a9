//! What a handle keeps about several servers: which it is at, and what it wrote.

use std::{sync::Arc, time::Instant};

use super::{Backends, Gtids, Member, choice::Wants};
use crate::opts::Prefer;

/// What a handle does about several servers.
#[derive(Debug)]
pub(crate) struct Route {
    pub backends: Arc<Backends>,
    /// Where its statements go now.
    pub at: Option<Arc<Member>>,
    /// That was not the primary when it went there.
    pub on_replica: bool,
    /// What it said that its reads prefer.
    pub prefer: Prefer,
    /// What the statement under way wants.
    pub wants: Wants,
    /// It is more than a read, whatever its text tells.
    pub writes: bool,
    /// The server that lost it.
    pub lost_on: Option<u32>,
    pub wrote: Wrote,
}

/// What a handle wrote, as far as that is known.
#[derive(Debug, Default)]
pub(crate) struct Wrote {
    pub gtids: Gtids,
    /// When it wrote last.
    pub at: Option<Instant>,
    /// And where: the server's number.
    pub on: u32,
    /// Of some of it no GTID was told.
    pub untold: bool,
    /// A statement that may write has begun, and is not answered yet.
    pub begun: bool,
    /// Held by those of them that may still run, whether anybody waits for them or not.
    pub under_way: Arc<()>,
    /// One that nobody waits for may still run, or may have until just now.
    pub lingers: bool,
    /// One has failed: what it wrote before is told of by no GTID but that of a later one.
    pub failed: bool,
}

impl Route {
    pub(crate) fn new(backends: Arc<Backends>, prefer: Prefer) -> Route {
        backends.enter(&backends.handles);
        Route {
            backends,
            at: None,
            on_replica: false,
            prefer,
            wants: Wants::Any,
            writes: false,
            lost_on: None,
            wrote: Wrote::default(),
        }
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        self.backends.exit(&self.backends.handles);
    }
}
