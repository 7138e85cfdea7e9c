//! Choices that look random and can be made again: everything follows from one printed seed.
//!
//! SplitMix64 (Steele, Lea, Flood 2014): good enough to choose by, and a few lines.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, process};

/// A stream of choices.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The stream of that seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own for somebody else, which follows from this one.
    #[must_use]
    pub fn split(&mut self) -> Self {
        Self(self.next())
    }

    /// A number in `range`, which must not be empty.
    pub fn pick(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    /// An index below `length`, which must not be zero.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.pick(0..length as u64)).expect("below a usize")
    }

    /// A time below `limit`, in milliseconds, which must not be zero.
    pub fn millis_below(&mut self, limit: u64) -> Duration {
        Duration::from_millis(self.pick(0..limit))
    }

    /// Yes, once in `times`.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.pick(0..times) == 0
    }

    /// So many bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// The number in the environment's `variable`, or else one that no earlier run had.
///
/// # Panics
/// If what is there is no number.
pub fn seed(variable: &str) -> u64 {
    number(variable).unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let nanos = now.map_or(0, |now| u64::from(now.subsec_nanos()) + now.as_secs());
        nanos ^ u64::from(process::id()) << 32
    })
}

/// The number in the environment's `variable`.
///
/// # Panics
/// If what is there is no number.
pub fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable}: {text:?} is no number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_tells_every_choice() {
        let choices = |seed| {
            let mut dice = Dice::new(seed);
            let mut other = dice.split();
            (dice.bytes(8), other.bytes(8), dice.pick(5..7))
        };
        assert_eq!(choices(7), choices(7));
        assert_ne!(choices(7), choices(8));
    }

    #[test]
    fn choices_stay_in_their_range_and_reach_all_of_it() {
        let mut dice = Dice::new(1);
        let mut picked: Vec<_> = (0..100).map(|_| dice.pick(3..6)).collect();
        picked.sort_unstable();
        picked.dedup();
        assert_eq!(picked, [3, 4, 5]);
    }
}
