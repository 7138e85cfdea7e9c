//! Hands each thread a lane of its own, while there are any.
//!
//! A thread takes the lowest free lane at its first recorded call and gives it back when it ends.
//! Threads beyond the number of lanes share lane 0, whose counters they must add to atomically.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

use fusebox_core::lane::{LANES, Lane};

/// Bit n: lane n is taken. Lane 0 is the shared one and never handed out.
static TAKEN: AtomicU32 = AtomicU32::new(1);

thread_local! {
    // Constant and without a destructor: reading it is one load.
    static LANE: Cell<Option<Lane>> = const { Cell::new(None) };
    static LEASE: Lease = Lease::take();
}

struct Lease(Lane);

impl Lease {
    fn take() -> Self {
        let mut taken = TAKEN.load(Ordering::Relaxed);
        loop {
            let index = (!taken).trailing_zeros();
            let Some(lane) = u8::try_from(index).ok().and_then(Lane::owned) else {
                return Self(Lane::SHARED);
            };
            // Acquire: pairs with the release in `drop`, so that this thread continues from the
            // last counts the lane's former owner stored.
            match TAKEN.compare_exchange_weak(
                taken,
                taken | (1 << index),
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Self(lane),
                Err(current) => taken = current,
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // What the thread still does while it is torn down, it does without a lane of its own.
        LANE.set(Some(Lane::SHARED));
        if self.0.is_owned() {
            // Release: see `take`.
            TAKEN.fetch_and(!(1 << self.0.index()), Ordering::Release);
        }
    }
}

/// The calling thread's lane.
#[inline]
pub(crate) fn current() -> Lane {
    LANE.get().unwrap_or_else(lease)
}

#[cold]
fn lease() -> Lane {
    let lane = LEASE.try_with(|lease| lease.0).unwrap_or(Lane::SHARED);
    LANE.set(Some(lane));
    lane
}

const _: () = assert!(LANES <= 32, "TAKEN has a bit for every lane");

#[cfg(test)]
mod tests {
    use super::*;

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
