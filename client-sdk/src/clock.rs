//! The clock of every decision in this process.
//!
//! Production reads the processor's time stamp counter (through `quanta`, which falls back to the
//! operating system's monotonic clock where the counter is not stable): half the cost of a system
//! clock read, and a call needs two. Under feature `testing` it is tokio's clock instead, so that
//! paused time drives sleeps and decisions alike.

use std::time::Duration;

use fusebox_core::time::Instant;

/// Nanoseconds since some moment before the first call in this process.
#[cfg(not(any(test, feature = "testing")))]
#[inline]
pub(crate) fn now() -> Instant {
    use std::sync::OnceLock;
    static CLOCK: OnceLock<Counter> = OnceLock::new();
    CLOCK.get_or_init(Counter::calibrated).read()
}

/// The counter and its rate, worked out once: what is left of a reading is one multiplication.
#[cfg(not(any(test, feature = "testing")))]
struct Counter {
    clock: quanta::Clock,
    /// Nanoseconds in 2^32 ticks; exact to one in 10^9.
    nanos: u64,
}

#[cfg(not(any(test, feature = "testing")))]
impl Counter {
    fn calibrated() -> Self {
        let clock = quanta::Clock::new();
        let nanos = clock.delta_as_nanos(0, 1 << 32);
        Self { clock, nanos }
    }

    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "2^64 nanoseconds last 584 years"
    )]
    fn read(&self) -> Instant {
        let ticks = u128::from(self.clock.raw());
        Instant::from_nanos(((ticks * u128::from(self.nanos)) >> 32) as u64)
    }
}

#[cfg(any(test, feature = "testing"))]
pub(crate) fn now() -> Instant {
    use std::sync::OnceLock;
    static ORIGIN: OnceLock<std::time::Instant> = OnceLock::new();
    let origin = *ORIGIN.get_or_init(|| tokio::time::Instant::now().into_std());
    let since = tokio::time::Instant::now()
        .into_std()
        .saturating_duration_since(origin);
    Instant::ORIGIN + since
}

/// The runtime's own notion of `deadline`, for its timers.
pub(crate) fn runtime_instant(deadline: Instant) -> tokio::time::Instant {
    /// Far enough for any deadline, near enough for any timer.
    const FAR: Duration = Duration::from_secs(10 * 365 * 86_400);
    tokio::time::Instant::now() + deadline.since(now()).min(FAR)
}
