//! Random numbers for an instance: one sequence, shared by all its threads.

use std::sync::atomic::{AtomicU64, Ordering};

use fusebox_core::random::{STEP, mix};

#[derive(Debug)]
pub(crate) struct Jitter(AtomicU64);

impl Jitter {
    pub(crate) const fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// Uniform over all of `u64`.
    pub(crate) fn next(&self) -> u64 {
        // Relaxed: each caller only needs a step of its own.
        mix(self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP))
    }
}
