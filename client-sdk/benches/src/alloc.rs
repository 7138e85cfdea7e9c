//! Counts what a piece of work allocates on its thread.
//!
//! The counter stands in front of the system's allocator for the whole run. It is off while
//! anything is timed; what is left of it then is one load of a word nobody writes, and a branch
//! that always goes the same way: below what can be measured beside an allocation.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static ON: AtomicBool = AtomicBool::new(false);

thread_local! {
    // Constant and without a destructor: reaching it never allocates.
    static TALLY: Cell<Tally> = const { Cell::new(Tally { times: 0, bytes: 0 }) };
}

/// What was allocated.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// How often memory was asked for, a growth included.
    pub(crate) times: u64,
    /// How many bytes were asked for.
    pub(crate) bytes: u64,
}

/// What `work` allocates on this thread.
pub(crate) fn count(work: impl FnOnce()) -> Tally {
    TALLY.set(Tally::default());
    // Relaxed: the thread that sets it is the one that counts.
    ON.store(true, Ordering::Relaxed);
    work();
    ON.store(false, Ordering::Relaxed);
    TALLY.get()
}

#[inline]
fn note(more: usize) {
    if ON.load(Ordering::Relaxed) {
        let Tally { times, bytes } = TALLY.get();
        TALLY.set(Tally {
            times: times + 1,
            bytes: bytes + more as u64,
        });
    }
}

struct Counting;

#[allow(
    unsafe_code,
    reason = "an allocator is an unsafe trait; this one only hands every request on"
)]
// SAFETY: `System` keeps the contract, and sees exactly the requests made here.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's own promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's own promises; all memory here is `System`'s.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's own promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        note(new_size);
        // SAFETY: the caller's own promises; all memory here is `System`'s.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}
