//! A count that many threads add to, each to a part of its own, so that none waits for another's
//! processor.

use std::sync::atomic::{AtomicU64, Ordering};

const PARTS: usize = 16;

/// As much as processors hand to each other at once.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Part(AtomicU64);

#[derive(Debug, Default)]
pub(super) struct Spread([Part; PARTS]);

impl Spread {
    /// `part`: any number; threads do well to have different ones.
    pub(super) fn add(&self, part: u64) {
        self.0[part as usize % PARTS]
            .0
            .fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sum(&self) -> u64 {
        let parts = self.0.iter().map(|part| part.0.load(Ordering::Relaxed));
        parts.fold(0, u64::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_are_counted() {
        let count = Spread::default();
        std::thread::scope(|scope| {
            for thread in 0..20 {
                let count = &count;
                scope.spawn(move || (0..1000).for_each(|_| count.add(thread)));
            }
        });
        assert_eq!(count.sum(), 20_000);
    }
}
