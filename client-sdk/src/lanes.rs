//! Hands each thread a lane of its own, while there are any.
//!
//! A thread takes the lowest free lane at its first recorded call and gives it back when it ends.
//! Threads beyond the number of lanes share lane 0, whose counters they must add to atomically, and
//! look now and then whether a lane has become free.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

use fusebox_core::lane::{LANES, Lane};

/// Bit n: lane n is taken. Lane 0 is the shared one and never handed out.
static TAKEN: AtomicU32 = AtomicU32::new(1);

/// How often a thread without a lane of its own is asked for its lane before it looks for one anew.
const PATIENCE: u16 = 1024;

thread_local! {
    // Constant and without a destructor: reading it is one load. Empty as long as the thread has no
    // lane of its own; shared for good once it is torn down.
    static LANE: Cell<Option<Lane>> = const { Cell::new(None) };
    static LEASE: Lease = const { Lease::of(&TAKEN) };
}

/// A thread's lane, as soon as it has one.
struct Lease {
    taken: &'static AtomicU32,
    lane: Cell<Option<Lane>>,
    /// How often the lane is asked for until the next look.
    looks_in: Cell<u16>,
}

impl Lease {
    const fn of(taken: &'static AtomicU32) -> Self {
        Self {
            taken,
            lane: Cell::new(None),
            looks_in: Cell::new(0),
        }
    }

    /// The lane held, or looked for.
    fn lane(&self) -> Option<Lane> {
        if self.lane.get().is_some() {
            return self.lane.get();
        }
        if let Some(waits) = self.looks_in.get().checked_sub(1) {
            self.looks_in.set(waits);
            return None;
        }
        self.looks_in.set(PATIENCE - 1);
        self.lane.set(self.take());
        self.lane.get()
    }

    fn take(&self) -> Option<Lane> {
        let mut taken = self.taken.load(Ordering::Relaxed);
        loop {
            let index = (!taken).trailing_zeros();
            let lane = u8::try_from(index).ok().and_then(Lane::owned)?;
            // Acquire: pairs with the release in `drop`, so that this thread continues from the
            // last counts the lane's former owner stored.
            match self.taken.compare_exchange_weak(
                taken,
                taken | (1 << index),
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(lane),
                Err(current) => taken = current,
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // What the thread still does while it is torn down, it does without a lane of its own.
        LANE.set(Some(Lane::SHARED));
        if let Some(lane) = self.lane.get() {
            // Release: see `take`.
            self.taken
                .fetch_and(!(1 << lane.index()), Ordering::Release);
        }
    }
}

/// The calling thread's lane.
#[inline]
pub(crate) fn current() -> Lane {
    LANE.get().unwrap_or_else(lease)
}

/// The way of a thread that has no lane yet.
#[cold]
fn lease() -> Lane {
    let lane = LEASE.try_with(Lease::lane).ok().flatten();
    if lane.is_some() {
        LANE.set(lane);
    }
    lane.unwrap_or(Lane::SHARED)
}

const _: () = assert!(LANES <= 32, "TAKEN has a bit for every lane");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_without_a_lane_takes_one_that_has_become_free() {
        // Bits beyond the lanes are never free.
        static ALL: AtomicU32 = AtomicU32::new(u32::MAX);
        const LAST: Lane = Lane::owned(5).unwrap();
        let lease = Lease::of(&ALL);
        assert_eq!(lease.lane(), None);
        ALL.fetch_and(!(1 << 5), Ordering::Relaxed);
        for _ in 1..PATIENCE {
            assert_eq!(lease.lane(), None);
        }
        assert_eq!(lease.lane(), Some(LAST));
        assert_eq!(ALL.load(Ordering::Relaxed), u32::MAX);
        assert_eq!(lease.lane(), Some(LAST));
        drop(lease);
        assert_eq!(ALL.load(Ordering::Relaxed), !(1 << 5));
    }

    #[test]
    fn a_thread_keeps_its_lane_and_two_at_once_never_share_an_owned_one() {
        let mine = current();
        assert_eq!(mine, current());
        let (tell, hear) = std::sync::mpsc::channel();
        let barrier = std::sync::Barrier::new(20);
        std::thread::scope(|scope| {
            for _ in 0..20 {
                let (tell, barrier) = (tell.clone(), &barrier);
                scope.spawn(move || {
                    tell.send(current()).unwrap();
                    barrier.wait();
                });
            }
        });
        drop(tell);
        let mut owned: Vec<_> = hear.iter().filter(|lane| lane.is_owned()).collect();
        let all = owned.len();
        owned.sort_by_key(|lane| lane.index());
        owned.dedup();
        assert_eq!(owned.len(), all);
        assert!(all < LANES, "the rest share lane 0");
    }
}
