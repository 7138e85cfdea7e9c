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
    static CLOCK: OnceLock<quanta::Clock> = OnceLock::new();
    let clock = CLOCK.get_or_init(quanta::Clock::new);
    Instant::from_nanos(clock.delta_as_nanos(0, clock.raw()))
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
