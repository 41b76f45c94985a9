//! Several servers: where they are, and what reads may be answered by.

use std::time::Duration;

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
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) weight: u32,
}

impl Backend {
    /// By TCP, with a weight of 1.
    pub fn new(host: impl Into<String>, port: u16) -> Backend {
        Backend {
            host: host.into(),
            port,
            weight: 1,
        }
    }

    /// How much of what is read it takes beside others, at least 1. Default: 1.
    pub fn weight(mut self, weight: u32) -> Backend {
        self.weight = weight.max(1);
        self
    }
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
    /// All that the handle wrote: they go to a replica that has it by its GTID, or to the primary. Where
    /// the primary tells no GTIDs (`gtid_mode` is off, there is no binary log), everything goes to the
    /// primary from the handle's first write on, until [`Handle::reset`](crate::Handle::reset).
    #[default]
    Session,
    /// For so long after a write they go to the primary.
    PrimaryFor(Duration),
}
