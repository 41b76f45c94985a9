//! An allocator that counts, while it is asked to.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
};

static ON: AtomicBool = AtomicBool::new(false);
static BYTES: AtomicI64 = AtomicI64::new(0);
static BLOCKS: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);

/// The system's allocator; a program that counts makes it its `#[global_allocator]`.
pub struct Counting;

/// What was taken and not given back.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    pub bytes: i64,
    pub blocks: i64,
    /// The most bytes at once.
    pub peak: i64,
}

/// Counts what `act` takes from the heap and keeps, on all threads.
pub fn counting<T>(act: impl FnOnce() -> T) -> (T, Taken) {
    BYTES.store(0, Ordering::Relaxed);
    BLOCKS.store(0, Ordering::Relaxed);
    PEAK.store(0, Ordering::Relaxed);
    ON.store(true, Ordering::SeqCst);
    let made = act();
    ON.store(false, Ordering::SeqCst);
    let taken = Taken {
        bytes: BYTES.load(Ordering::Relaxed),
        blocks: BLOCKS.load(Ordering::Relaxed),
        peak: PEAK.load(Ordering::Relaxed),
    };
    (made, taken)
}

fn count(bytes: i64, blocks: i64) {
    // Off, it costs next to nothing: what is measured beside it stays as it is.
    if ON.load(Ordering::Relaxed) {
        let all = BYTES.fetch_add(bytes, Ordering::Relaxed) + bytes;
        PEAK.fetch_max(all, Ordering::Relaxed);
        BLOCKS.fetch_add(blocks, Ordering::Relaxed);
    }
}

// SAFETY: all that matters is left to the system's allocator, with the arguments as they came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64, 1);
        // SAFETY: the caller promised what the system's allocator wants.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64, 1);
        // SAFETY: the caller promised what the system's allocator wants.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64, 0);
        // SAFETY: the caller promised what the system's allocator wants.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-(layout.size() as i64), -1);
        // SAFETY: the caller promised what the system's allocator wants.
        unsafe { System.dealloc(block, layout) }
    }
}
