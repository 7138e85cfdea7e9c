//! The lowest layer: what holds where nobody has said anything.
//!
//! One complete, finite table. Whatever is unset above it, a call ends in time, is retried a few
//! times at most and has a breaker.

use std::time::Duration;

use super::ratio::Multiplier;
use super::rules::Trip;
use crate::key::Kind;

/// A kind's row in the table. The overall timeout and the longest half-open time have no row: the
/// cascade derives them from the rest.
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
    /// What opens the breaker.
    pub trip: Trip,
    /// How long it stays open.
    pub open_duration: Duration,
    /// Probes while half-open.
    pub half_open_permits: u32,
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
        trip: Trip {
            consecutive_failures: Some(consecutive_failures),
            ratio: None,
        },
        open_duration: Duration::from_secs(open_secs),
        half_open_permits: 1,
        idempotent,
    }
}
