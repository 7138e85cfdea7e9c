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
        self.span_since(earlier).as_duration()
    }

    /// The same as a [`Span`].
    pub const fn span_since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

/// A length of time in whole nanoseconds: what a [`Duration`] is compiled to where every call adds
/// or compares it. Saturates at 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// Longer than anything lasts.
    pub const MAX: Self = Self(u64::MAX);

    /// A span of `nanos` nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Its length in nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// As a standard duration.
    pub const fn as_duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl Add<Span> for Instant {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        self + Span::from(duration)
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;
    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(Span::from(duration).0))
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
