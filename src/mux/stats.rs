//! What a mux counts, and a snapshot of it for people. Names are mysqlnd's where it has them.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::session::PinReason;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts of one group, added to without a lock.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub $name: AtomicU64,)*
            pub pins: [AtomicU64; PinReason::ALL.len()],
        }

        /// Counts since the mux was made, and what is open now.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
            pub(crate) pins: [u64; PinReason::ALL.len()],
            /// Physical connections open now.
            pub active_connections: u64,
            /// Of them, those that nobody uses at the moment.
            pub idle_connections: u64,
            /// Handles opened.
            pub handles_opened: u64,
            /// Handles opened without any I/O: connects saved.
            pub connects_saved: u64,
            /// Handles open now.
            pub handles: u64,
            /// Callers that wait for a link now.
            pub waiting: u64,
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> Counts {
                Counts {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                    pins: self.pins.each_ref().map(|count| count.load(Ordering::Relaxed)),
                    ..Counts::default()
                }
            }
        }

        impl Counts {
            pub(crate) fn add(&mut self, other: &Counts) {
                $(self.$name += other.$name;)*
                for (count, more) in self.pins.iter_mut().zip(other.pins) {
                    *count += more;
                }
                self.active_connections += other.active_connections;
                self.idle_connections += other.idle_connections;
                self.handles_opened += other.handles_opened;
                self.connects_saved += other.connects_saved;
                self.handles += other.handles;
                self.waiting += other.waiting;
            }

            /// How often a handle had to keep a link to itself for this reason.
            pub fn pins(&self, reason: PinReason) -> u64 {
                self.pins[reason as usize]
            }

            fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![
                    ("handles", self.handles),
                    ("active_connections", self.active_connections),
                    ("idle_connections", self.idle_connections),
                    ("waiting", self.waiting),
                    ("handles_opened", self.handles_opened),
                    ("connects_saved", self.connects_saved),
                    $((stringify!($name), self.$name),)*
                ]
            }
        }
    };
}

counters! {
    /// Physical connections opened.
    connect_success,
    /// Connects that failed.
    connect_failure,
    /// Times that a link was used again by another statement.
    connection_reused,
    /// Sessions reset (`COM_RESET_CONNECTION`) because another handle took the link.
    resets,
    /// Changes of identity or schema-less sessions (`COM_CHANGE_USER`).
    user_changes,
    /// Links closed because the last handle ended or the mux was shut down.
    explicit_close,
    /// Links closed by age, by idleness, or because they were over `max_idle_links`.
    implicit_close,
    /// Links that died or had to be given up.
    lost_connections,
    /// Callers that had to wait for a link.
    waits,
    /// Callers that got none within `acquire_timeout`.
    acquire_timeouts,
    /// Statements sent.
    statements,
    /// `COM_STMT_PREPARE` sent.
    prepares,
    /// `init` statements run.
    init_command_executed_count,
    /// `init` statements that failed.
    init_command_failed_count,
    /// Writes to the transport.
    writes,
    /// Bytes sent, as on the wire.
    bytes_sent,
    /// Bytes received, as on the wire.
    bytes_received,
}

/// A snapshot of a mux.
///
/// ```
/// let stats = mysql_mux::Mux::builder().build().stats();
/// assert_eq!(stats.total.handles, 0);
/// println!("{stats}");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Of all groups together.
    pub total: Counts,
    /// By key: transport and address. Keys that differ only in what the handshake fixes have a line each.
    pub groups: Vec<(String, Counts)>,
    /// Where handles have several servers: each of them, in the order in which they were named.
    pub backends: Vec<BackendStats>,
}

/// One of several servers, as it was found last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackendStats {
    /// Transport and address; its counts are in [`Stats::groups`].
    pub server: String,
    /// It answers, and has joined its cluster if it belongs to one.
    pub is_up: bool,
    /// It takes writes.
    pub takes_writes: bool,
    /// Nothing new is sent there.
    pub is_draining: bool,
    /// Why it is not up, where that is known.
    pub why: Option<String>,
    /// For how long it has not had all that the primary has, to half a second; `None` where that is not known:
    /// without GTIDs it never is. Of the primary zero.
    pub lag: Option<Duration>,
    /// The least time that it took lately to tell how it is.
    pub latency: Duration,
}

impl fmt::Display for BackendStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = &self.server;
        match (self.is_up, self.takes_writes, &self.why) {
            (true, true, _) => write!(f, "{server} takes writes")?,
            (true, false, _) => write!(f, "{server} is read-only")?,
            (false, _, Some(why)) => write!(f, "{server}: {why}")?,
            (false, _, None) => write!(f, "{server} was not asked yet")?,
        }
        if let Some(lag) = self.lag.filter(|lag| !lag.is_zero()) {
            write!(f, ", {lag:.1?} behind")?;
        }
        if self.is_draining {
            write!(f, ", is being drained")?;
        }
        Ok(())
    }
}

impl Stats {
    pub(crate) fn push(&mut self, key: String, counts: Counts) {
        self.total.add(&counts);
        self.groups.push((key, counts));
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.total.rows() {
            writeln!(f, "{name:<28} {value:>12}")?;
        }
        for reason in PinReason::ALL {
            let count = self.total.pins(*reason);
            if count > 0 {
                writeln!(f, "pinned by {reason}: {count}")?;
            }
        }
        for (key, counts) in &self.groups {
            writeln!(
                f,
                "{key}: {} handles on {} links ({} idle, {} waiting)",
                counts.handles, counts.active_connections, counts.idle_connections, counts.waiting
            )?;
        }
        for backend in &self.backends {
            writeln!(f, "{backend}")?;
        }
        Ok(())
    }
}
