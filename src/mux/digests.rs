//! How long statements take, by their digest: a table of fixed size, read and written without a
//! lock. Two digests of one place displace each other; what is lost is a hint.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

const PLACES: usize = 1 << 10;

/// From here on a statement holds others up.
const SLOW: u64 = 5_000;

/// Moving averages. Each place holds the upper half of a digest, and microseconds.
pub(crate) struct Digests([AtomicU64; PLACES]);

impl Default for Digests {
    fn default() -> Self {
        Digests([const { AtomicU64::new(0) }; PLACES])
    }
}

impl fmt::Debug for Digests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digests")
    }
}

fn split(digest: u64) -> (usize, u64) {
    (digest as usize % PLACES, digest >> 32 << 32)
}

impl Digests {
    /// A statement took that long.
    pub(crate) fn took(&self, digest: u64, time: Duration) {
        let (at, tag) = split(digest);
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let micros = micros.min(u64::from(u32::MAX));
        let known = self.0[at].load(Ordering::Relaxed);
        let average = match known >> 32 << 32 == tag {
            true => {
                let old = known & u64::from(u32::MAX);
                // A few delays among many quick ones may be our own.
                old - old / 8 + micros.min(2 * old + SLOW) / 8
            }
            false => micros,
        };
        self.0[at].store(tag | average, Ordering::Relaxed);
    }

    /// Statements of this digest have been slow lately.
    pub(crate) fn is_slow(&self, digest: u64) -> bool {
        let (at, tag) = split(digest);
        let known = self.0[at].load(Ordering::Relaxed);
        known >> 32 << 32 == tag && known & u64::from(u32::MAX) >= SLOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_slow_while_it_takes_long() {
        let digests = Digests::default();
        let (one, other) = (0x1234_5678_0000_0001, 0x8765_4321_0000_0002);
        assert!(!digests.is_slow(one));
        digests.took(one, Duration::from_millis(50));
        digests.took(other, Duration::from_micros(50));
        assert!(digests.is_slow(one) && !digests.is_slow(other));
        for _ in 0..40 {
            digests.took(one, Duration::from_micros(20));
        }
        assert!(!digests.is_slow(one));
    }

    #[test]
    fn a_quick_statement_is_slow_when_it_was_so_a_few_times() {
        let digests = Digests::default();
        let one = 0x1234_5678_0000_0001;
        digests.took(one, Duration::from_micros(50));
        for _ in 0..5 {
            digests.took(one, Duration::from_secs(60));
            assert!(!digests.is_slow(one));
        }
        digests.took(one, Duration::from_secs(60));
        assert!(digests.is_slow(one));
    }

    #[test]
    fn digests_of_one_place_are_not_mixed_up() {
        let digests = Digests::default();
        let (one, other) = (0x0000_0001_0000_0005, 0x0000_0002_0000_0005);
        digests.took(one, Duration::from_secs(1));
        assert!(!digests.is_slow(other));
        digests.took(other, Duration::from_millis(1));
        assert!(!digests.is_slow(one) && !digests.is_slow(other));
    }
}
