//! What happens to links, told through `tracing` where the feature of that name is on; nothing
//! otherwise. Statements' texts, parameters and credentials are never part of it.

use crate::{error::ConnectError, link::Link};

/// A link was opened and has logged in.
pub(crate) fn opened(link: &Link) {
    #[cfg(feature = "tracing")]
    tracing::debug!(
        server = &*link.name,
        connection_id = link.server.connection_id,
        version = link.server.version,
        "link opened"
    );
    #[cfg(not(feature = "tracing"))]
    let _ = link;
}

/// A connect failed.
pub(crate) fn connect_failed(error: &ConnectError, again: bool) {
    #[cfg(feature = "tracing")]
    tracing::warn!(error = %error, will_retry = again, "connect failed");
    #[cfg(not(feature = "tracing"))]
    let _ = (error, again);
}

/// A link is closed.
pub(crate) fn closed(link: &Link, why: &'static str) {
    #[cfg(feature = "tracing")]
    tracing::debug!(
        server = &*link.name,
        connection_id = link.server.connection_id,
        why,
        "link closed"
    );
    #[cfg(not(feature = "tracing"))]
    let _ = (link, why);
}

/// Somebody got no link in time.
pub(crate) fn acquire_timeout(error: &crate::error::AcquireTimeout) {
    #[cfg(feature = "tracing")]
    tracing::warn!(error = %error, "no link came free");
    #[cfg(not(feature = "tracing"))]
    let _ = error;
}

/// A handle keeps a link to itself, for a reason that its options warn of.
pub(crate) fn pinned(handle: u64, server: &str, pin: &crate::Pin) {
    #[cfg(feature = "tracing")]
    tracing::warn!(handle, server, reason = %pin.reason(), statement = pin.statement(), "link pinned");
    #[cfg(not(feature = "tracing"))]
    let _ = (handle, server, pin);
}

/// One of several servers is otherwise than before.
pub(crate) fn backend(now: &crate::BackendStats) {
    #[cfg(feature = "tracing")]
    tracing::info!(
        server = now.server,
        is_up = now.is_up,
        takes_writes = now.takes_writes,
        why = now.why,
        "a server changed"
    );
    #[cfg(not(feature = "tracing"))]
    let _ = now;
}
