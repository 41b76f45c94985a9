//! Statements of which something was learned, by their digest: a set of fixed size, without a lock.
//! Digests of one place displace each other; what is lost is learned again.

use std::{
    fmt,
    sync::atomic::{AtomicU32, Ordering},
};

const PLACES: usize = 1 << 8;

/// Holds the upper halves of digests.
pub(crate) struct Marks([AtomicU32; PLACES]);

impl Default for Marks {
    fn default() -> Self {
        Marks([const { AtomicU32::new(0) }; PLACES])
    }
}

impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Marks")
    }
}

/// What is kept of a digest.
pub(crate) fn half(digest: u64) -> u32 {
    (digest >> 32) as u32
}

impl Marks {
    pub(crate) fn mark(&self, half: u32) {
        self.0[half as usize % PLACES].store(half, Ordering::Relaxed);
    }

    pub(crate) fn has(&self, half: u32) -> bool {
        half != 0 && self.0[half as usize % PLACES].load(Ordering::Relaxed) == half
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_marked_is_found() {
        let marks = Marks::default();
        assert!(!marks.has(0) && !marks.has(7));
        marks.mark(7);
        assert!(marks.has(7) && !marks.has(7 + PLACES as u32));
    }
}
