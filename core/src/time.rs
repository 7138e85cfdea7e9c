//! A point in monotonic time, handed to every decision that needs one.
//!
//! Core never reads a clock. A caller picks an origin (a process's start, a test's zero) and counts
//! nanoseconds from it; only differences mean anything. Arithmetic saturates: a clock that steps
//! backwards yields a zero duration, never a panic or a wrapped giant.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Nanoseconds since an origin of the caller's choosing. Lasts 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The origin.
    pub const ORIGIN: Self = Self(0);
    /// Later than anything that happens.
    pub const NEVER: Self = Self(u64::MAX);

    /// The instant `nanos` nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero if it is not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// `duration` in nanoseconds, saturating at 584 years.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;
    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_steps_back_yields_zero_not_a_giant() {
        let later = Instant::from_nanos(10);
        assert_eq!(later.since(Instant::from_nanos(4)), Duration::from_nanos(6));
        assert_eq!(Instant::from_nanos(4).since(later), Duration::ZERO);
    }

    #[test]
    fn adding_the_longest_duration_saturates() {
        assert_eq!(Instant::from_nanos(1) + Duration::MAX, Instant::NEVER);
        assert_eq!(Instant::from_nanos(1) - Duration::MAX, Instant::ORIGIN);
    }
}
