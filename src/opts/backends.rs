//! Several servers: where they are, and what reads may be answered by.

use std::time::Duration;

use super::target::{Endpoint, LinkLimits};

/// One more server of a handle; see [`OptsBuilder::backend`](crate::OptsBuilder::backend).
///
/// ```
/// use mysql_mux::{Backend, OptsBuilder};
///
/// let opts = OptsBuilder::new()
///     .ip_or_hostname(Some("primary.example"))
///     .backend(Backend::new("replica.example", 3306).weight(2));
/// # let _ = opts;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    host: String,
    port: u16,
    pub(super) weight: u32,
    pub(super) limits: LinkLimits,
}

impl Backend {
    /// By TCP, with a weight of 1.
    pub fn new(host: impl Into<String>, port: u16) -> Backend {
        Backend {
            host: host.into(),
            port,
            weight: 1,
            limits: LinkLimits::default(),
        }
    }

    /// How much of what is read it takes beside others, at least 1. Default: 1.
    pub fn weight(mut self, weight: u32) -> Backend {
        self.weight = weight.max(1);
        self
    }

    /// The most links to it, at least 1. Default: [`OptsBuilder::max_links`](crate::OptsBuilder::max_links).
    pub fn max_links(mut self, links: usize) -> Backend {
        self.limits.max_links = Some(links.max(1));
        self
    }

    /// Idle links to it that are kept open. Default:
    /// [`OptsBuilder::min_idle_links`](crate::OptsBuilder::min_idle_links).
    pub fn min_idle_links(mut self, links: usize) -> Backend {
        self.limits.min_idle_links = Some(links);
        self
    }

    /// The most idle links to it that are kept, at least 1. Default:
    /// [`OptsBuilder::max_idle_links`](crate::OptsBuilder::max_idle_links).
    pub fn max_idle_links(mut self, links: usize) -> Backend {
        self.limits.max_idle_links = Some(links.max(1));
        self
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        let (host, port) = (self.host.clone(), self.port);
        Endpoint::Tcp { host, port }
    }
}

/// Which one of several replicas is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Balance {
    /// The better of two that are taken at random: the one with fewer statements under way, weighted by
    /// latency and [weight](Backend::weight). What all see as the best is not run over by all at once.
    #[default]
    PowerOfTwo,
    /// The one with the fewest statements under way, the first of those with as few: MySQL Proxy's rule.
    ShortestQueue,
    /// The first that can be used, in the order in which they were named: the nearest first, the others for
    /// when it is gone.
    InOrder,
}

/// Which of several servers a statement goes to that only reads. All others go to the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Prefer {
    /// The primary.
    Primary,
    /// A replica; the primary where there is none.
    #[default]
    Replica,
    /// Any of them.
    Any,
}

/// What a handle's reads know of what it wrote, where they go to replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Consistency {
    /// What the replica knows.
    None,
    /// All that the handle wrote: they go to a replica that has it, or to the primary. Whether a replica has
    /// it is known by the GTIDs that the primary tells with each write; without those (on the nodes of a
    /// Galera cluster, behind a statement that failed) from where the primary and the replica are when
    /// they are asked. Where nothing is known (`gtid_mode` is off, there is no binary log), everything goes
    /// to the primary from the handle's first write on.
    #[default]
    Session,
    /// For so long after a write they go to the primary.
    PrimaryFor(Duration),
}
