//! What a shared link's threads meet by: locks, atomics, parking and the clock. The usual ones,
//! except where `--cfg mysql_mux_model` puts in those of `shuttle`, which tries their schedules.

#[cfg(not(mysql_mux_model))]
pub(super) use usual::*;

#[cfg(mysql_mux_model)]
pub(super) use super::model::sync::*;

#[cfg(not(mysql_mux_model))]
mod usual {
    use std::time::Instant;

    pub(in crate::link) use parking_lot::{Mutex, MutexGuard};
    pub(in crate::link) use std::{
        sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        thread::{self, Thread},
        thread_local,
    };

    /// Bytes that are flushed at once, whoever else may ask.
    pub(in crate::link) const DEFER_BYTES: usize = 32 << 10;

    #[inline]
    pub(in crate::link) fn now() -> Instant {
        Instant::now()
    }

    /// What was measured of a server; in the model it may be anything.
    #[inline]
    pub(in crate::link) fn measured(value: u64) -> u64 {
        value
    }
}
