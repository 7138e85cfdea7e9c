//! Random numbers for backoff: fast, seedable, shared by all threads of an instance.
//!
//! SplitMix64 (Steele, Lea and Flood, *Fast Splittable Pseudorandom Number Generators*, OOPSLA
//! 2014): its state is a counter, so an atomic addition makes it safe to share. Not for secrets.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(crate) struct Jitter(AtomicU64);

impl Jitter {
    pub(crate) const fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// Uniform over all of `u64`.
    pub(crate) fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        // Relaxed: each caller only needs a step of its own.
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_fixes_the_sequence() {
        // The first outputs for seed 0, as published with the reference implementation.
        let jitter = Jitter::seeded(0);
        assert_eq!(jitter.next(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(jitter.next(), 0x6e78_9e6a_a1b9_65f4);
    }
}
