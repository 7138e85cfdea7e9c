//! The lowest layer: what holds where nobody has said anything.
//!
//! One complete, finite table. Whatever is unset above it, a call ends in time, is retried a few
//! times at most and has a breaker. There is no bulkhead, no limit, and nothing is hedged, because
//! nobody can guess those figures for a dependency.

use std::time::Duration;

use super::ratio::{Multiplier, Share};
use super::rules::{Jitter, RetryBudget, Trip};
use crate::key::Kind;

/// Calls below which no ratio is judged, where a window is set without them. A window of fewer
/// calls is judged once it is full.
pub const MINIMUM_CALLS: u32 = 20;
/// Probes let through while half-open.
pub const HALF_OPEN_PERMITS: u32 = 1;
/// Retries beside first attempts; also what a budget leaves out.
pub const BUDGET: RetryBudget = RetryBudget {
    ratio: Share::FIFTH,
    min_per_second: 3,
};
/// Further attempts, where a hedge is set without them.
pub const MAX_HEDGES: u32 = 1;

/// A kind's row in the table. The overall timeout, the longest open time and the longest half-open
/// time have no column: the cascade derives them from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// Bounds each attempt.
    pub attempt_timeout: Duration,
    /// Attempts in all.
    pub max_attempts: u32,
    /// The first retry's longest sleep.
    pub base_delay: Duration,
    /// The longest sleep of any retry: thirty times the base delay, up to 30 s.
    pub max_delay: Duration,
    /// Growth of the sleeps.
    pub multiplier: Multiplier,
    /// How the sleeps of many callers are spread.
    pub jitter: Jitter,
    /// Retries beside first attempts.
    pub budget: RetryBudget,
    /// Whether a delay that the server asks for is honoured.
    pub honor_retry_after: bool,
    /// What opens the breaker.
    pub trip: Trip,
    /// How long it stays open.
    pub open_duration: Duration,
    /// Growth of the open times.
    pub open_multiplier: Multiplier,
    /// How much an open time may be drawn out at random.
    pub open_jitter: Share,
    /// Probes while half-open.
    pub half_open_permits: u32,
    /// Over how long traffic grows after recovery; zero: all at once.
    pub recovery_ramp: Duration,
    /// Whether a call may be repeated where its author does not say.
    pub idempotent: bool,
}

/// The row of `kind`.
pub const fn of(kind: Kind) -> Defaults {
    // attempt timeout s, attempts, base delay ms, consecutive failures, open s, idempotent
    match kind {
        Kind::Database => row(30, 3, 500, 3, 30, false),
        Kind::Api => row(60, 5, 1000, 5, 60, false),
        Kind::Cache => row(5, 2, 100, 3, 15, true),
        Kind::File => row(10, 3, 200, 3, 30, true),
        Kind::Ml => row(300, 2, 5000, 2, 120, true),
        Kind::Custom => row(5, 3, 100, 5, 30, false),
    }
}

const fn row(
    attempt_secs: u64,
    max_attempts: u32,
    base_delay_millis: u64,
    consecutive_failures: u32,
    open_secs: u64,
    idempotent: bool,
) -> Defaults {
    let thirty_times = base_delay_millis * 30;
    Defaults {
        attempt_timeout: Duration::from_secs(attempt_secs),
        max_attempts,
        base_delay: Duration::from_millis(base_delay_millis),
        max_delay: Duration::from_millis(if thirty_times < 30_000 {
            thirty_times
        } else {
            30_000
        }),
        multiplier: Multiplier::TWO,
        jitter: Jitter::Full,
        budget: BUDGET,
        honor_retry_after: true,
        trip: Trip {
            consecutive_failures: Some(consecutive_failures),
            slow_call_threshold: None,
            ratio: None,
        },
        open_duration: Duration::from_secs(open_secs),
        open_multiplier: Multiplier::ONE,
        open_jitter: Share::ZERO,
        half_open_permits: HALF_OPEN_PERMITS,
        recovery_ramp: Duration::ZERO,
        idempotent,
    }
}
