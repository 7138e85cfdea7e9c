//! Counts what a piece of work allocates, and what of it is still there at its end.
//!
//! The counter stands in front of the system's allocator for the whole run. It is off while
//! anything is timed; what is left of it then is one load of a word nobody writes, and a branch
//! that always goes the same way: below what can be measured beside an allocation.
//!
//! Every thread counts for itself, so that nobody else's allocations get in. A piece of work that
//! has others work for it [takes their tallies over](take_over).

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU32, Ordering};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many counts are under way.
static COUNTS: AtomicU32 = AtomicU32::new(0);

thread_local! {
    // Constant and without a destructor: reaching it never allocates.
    static TALLY: Cell<Tally> = const { Cell::new(Tally::NOTHING) };
}

/// What was allocated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally {
    /// How often memory was asked for, a growth included.
    pub(crate) times: u64,
    /// How many bytes were asked for.
    pub(crate) bytes: u64,
    /// How many bytes were given back.
    freed: u64,
}

impl Tally {
    const NOTHING: Self = Self {
        times: 0,
        bytes: 0,
        freed: 0,
    };

    /// How many more bytes are held now than before; below zero if fewer are.
    pub(crate) fn held(self) -> f64 {
        self.bytes as f64 - self.freed as f64
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.times += other.times;
        self.bytes += other.bytes;
        self.freed += other.freed;
    }
}

/// What `work` comes to, and what it allocates on this thread.
pub(crate) fn count<T>(work: impl FnOnce() -> T) -> (T, Tally) {
    TALLY.set(Tally::NOTHING);
    // Relaxed: threads that work for this one are started after it, and nobody else matters.
    COUNTS.fetch_add(1, Ordering::Relaxed);
    let done = work();
    COUNTS.fetch_sub(1, Ordering::Relaxed);
    (done, TALLY.get())
}

/// What `work` comes to; what it allocates counts for nobody.
pub(crate) fn aside<T>(work: impl FnOnce() -> T) -> T {
    let tally = TALLY.get();
    let done = work();
    TALLY.set(tally);
    done
}

/// What this thread has allocated so far, if it was started within a count.
pub(crate) fn so_far() -> Tally {
    TALLY.get()
}

/// Adds what another thread allocated while it worked for this one.
pub(crate) fn take_over(theirs: Tally) {
    let mut tally = TALLY.get();
    tally += theirs;
    TALLY.set(tally);
}

#[inline]
fn note(times: u64, asked: usize, freed: usize) {
    if COUNTS.load(Ordering::Relaxed) > 0 {
        take_over(Tally {
            times,
            bytes: asked as u64,
            freed: freed as u64,
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
        note(1, layout.size(), 0);
        // SAFETY: the caller's own promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        note(0, 0, layout.size());
        // SAFETY: the caller's own promises; all memory here is `System`'s.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size(), 0);
        // SAFETY: the caller's own promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        note(1, new_size, layout.size());
        // SAFETY: the caller's own promises; all memory here is `System`'s.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_counts_as_allocated_and_not_as_held() {
        let (kept, tally) = count(|| {
            drop(std::hint::black_box(Box::new([0_u8; 100])));
            std::hint::black_box(Box::new([0_u8; 30]))
        });
        assert_eq!((tally.times, tally.bytes, tally.held()), (2, 130, 30.0));
        let (_, tally) = count(|| drop(kept));
        assert_eq!((tally.times, tally.bytes, tally.held()), (0, 0, -30.0));
    }

    #[test]
    fn what_is_done_aside_counts_for_nobody() {
        let (_kept, tally) = count(|| aside(|| std::hint::black_box(Box::new([0_u8; 30]))));
        assert_eq!((tally.times, tally.bytes, tally.held()), (0, 0, 0.0));
    }
}
