//! How long to sleep before a retry: exponential, capped, then jittered.
//!
//! The jitters are those of Marc Brooker, *Exponential Backoff and Jitter* (AWS Architecture Blog,
//! 2015), applied after the cap as gRPC's A6 does it: retries spread over the whole interval
//! instead of piling up at its end.
//!
//! | jitter | sleep |
//! |---|---|
//! | FULL | uniform between nothing and the capped delay |
//! | EQUAL | half the capped delay, and uniform over the other half |
//! | NONE | the capped delay |

use std::time::Duration;

use crate::policy::Effective;
use crate::policy::cascade::longest_backoff;
use crate::policy::ratio::Multiplier;
use crate::policy::rules::Jitter;

/// Compiled backoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    multiplier: Multiplier,
    jitter: Jitter,
}

impl Backoff {
    pub(super) fn compile(rules: &Effective) -> Self {
        Self {
            base: rules.base_delay,
            max: rules.max_delay,
            multiplier: rules.multiplier,
            jitter: rules.jitter,
        }
    }

    /// Whether a delay the server asks for is within the longest sleep.
    pub fn allows(&self, hint: Duration) -> bool {
        hint <= self.max
    }

    /// The sleep before retry `retry` (from 1): `min(base * multiplier^(retry-1), max)`, jittered.
    /// `random` is uniform over all of `u64`.
    pub fn delay(&self, retry: u32, random: u64) -> Duration {
        let capped = longest_backoff(retry, self.base, self.max, self.multiplier);
        match self.jitter {
            Jitter::Full => fraction(capped, random),
            Jitter::Equal => {
                let half = capped / 2;
                half + fraction(capped - half, random)
            }
            Jitter::None => capped,
        }
    }
}

/// `random / 2^64` of `whole`.
fn fraction(whole: Duration, random: u64) -> Duration {
    let nanos = u64::try_from(whole.as_nanos()).unwrap_or(u64::MAX);
    let scaled = (u128::from(nanos) * u128::from(random)) >> 64;
    // Below `nanos`, so it fits.
    Duration::from_nanos(u64::try_from(scaled).unwrap_or(nanos))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BACKOFF: Backoff = Backoff {
        base: Duration::from_millis(100),
        max: Duration::from_secs(2),
        multiplier: Multiplier::TWO,
        jitter: Jitter::Full,
    };

    #[test]
    fn full_jitter_spreads_from_nothing_to_the_capped_delay() {
        assert_eq!(BACKOFF.delay(1, 0), Duration::ZERO);
        assert_eq!(BACKOFF.delay(1, 1 << 63), Duration::from_millis(50));
        assert!(BACKOFF.delay(1, u64::MAX) <= Duration::from_millis(100));
        assert_eq!(BACKOFF.delay(3, 1 << 63), Duration::from_millis(200));
    }

    #[test]
    fn jitter_comes_after_the_cap_and_attempt_1000_does_not_overflow() {
        for retry in [6, 10, 1000, u32::MAX] {
            assert_eq!(
                BACKOFF.delay(retry, 1 << 63),
                Duration::from_secs(1),
                "{retry}"
            );
        }
    }

    #[test]
    fn equal_jitter_keeps_half_and_none_keeps_all() {
        let with = |jitter| Backoff { jitter, ..BACKOFF };
        let equal = with(Jitter::Equal);
        assert_eq!(equal.delay(1, 0), Duration::from_millis(50));
        assert_eq!(equal.delay(1, 1 << 63), Duration::from_millis(75));
        assert!(equal.delay(1, u64::MAX) <= Duration::from_millis(100));
        assert_eq!(with(Jitter::None).delay(2, 0), Duration::from_millis(200));
        assert_eq!(with(Jitter::None).delay(99, 0), Duration::from_secs(2));
    }
    proptest! {
        /// The longest delay by multiplying step by step, which no number of attempts overflows.
        #[test]
        fn whatever_is_drawn_a_sleep_lies_within_what_its_retry_allows(
            (base, more, growth) in (1_u64..5_000, 0_u64..60_000, 0_u32..=18),
            (retry, random) in (prop_oneof![1_u32..12, Just(1_000), any::<u32>()], any::<u64>()),
        ) {
            let max = Duration::from_millis(base + more);
            let multiplier = Multiplier::new(1.0 + f64::from(growth) / 2.0).unwrap();
            let mut longest = Duration::from_millis(base);
            for _ in 1..retry.min(1_000) {
                longest = longest.mul_f64(multiplier.as_f64()).min(max);
            }
            let with = |jitter| {
                let base = Duration::from_millis(base);
                Backoff { base, max, multiplier, jitter }.delay(retry, random)
            };
            // Multiplied at once, or step by step and rounded each time.
            prop_assert!(with(Jitter::None).abs_diff(longest) <= Duration::from_micros(1));
            let longest = with(Jitter::None);
            prop_assert!(with(Jitter::Full) <= longest);
            prop_assert!((longest / 2..=longest).contains(&with(Jitter::Equal)));
        }
    }
}
