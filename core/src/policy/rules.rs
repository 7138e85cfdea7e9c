//! The rules a layer may set: sections of optional fields, and the bounds of each.
//!
//! Unset means "inherit". Fields that only make sense together are one value ([`Trip`],
//! [`HalfOpen`]) and are replaced whole.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::ratio::{Multiplier, Ratio};
use super::violation::Violations;

/// What one layer sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// How long to wait.
    pub timeout: Timeout,
    /// When to try again.
    pub retry: Retry,
    /// When to stop trying.
    pub circuit_breaker: CircuitBreaker,
    /// `false`: calls pass straight through, counted but not guarded.
    pub enabled: Option<bool>,
}

/// How long to wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeout {
    /// Bounds each attempt.
    pub attempt: Option<Duration>,
    /// Bounds the whole call, backoffs included.
    pub overall: Option<Duration>,
}

/// Exponential backoff with full jitter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, the first included.
    pub max_attempts: Option<u32>,
    /// The first retry's longest sleep.
    pub base_delay: Option<Duration>,
    /// The longest sleep of any retry.
    pub max_delay: Option<Duration>,
    /// How much longer each retry's sleep may be than the one before.
    pub multiplier: Option<Multiplier>,
}

/// When to stop trying.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CircuitBreaker {
    /// What opens it.
    pub trip: Option<Trip>,
    /// How long it stays open before it probes.
    pub open_duration: Option<Duration>,
    /// How it probes.
    pub half_open: Option<HalfOpen>,
}

/// What opens a breaker. With both ways set, the first that applies decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trip {
    /// That many failed calls in a row.
    pub consecutive_failures: Option<u32>,
    /// A share of the calls in a window.
    pub ratio: Option<RatioTrip>,
}

/// A share of failed calls in a sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RatioTrip {
    /// The window.
    pub window: Window,
    /// The share at which it opens.
    pub failure_ratio: Ratio,
    /// Calls in the window below which nothing is judged.
    pub minimum_calls: u32,
}

/// Over what a ratio is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The calls of the last so long.
    Span(Duration),
}

/// How a half-open breaker probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfOpen {
    /// Probes let through.
    pub permits: u32,
    /// Without a decision for this long it opens again; unset: open duration plus attempt timeout.
    pub max: Option<Duration>,
}

/// Calls below which no ratio is judged, where a rule does not say.
pub const DEFAULT_MINIMUM_CALLS: u32 = 20;

const DURATION: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);
const SPAN: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
const ATTEMPTS: RangeInclusive<u32> = 1..=1000;
const CONSECUTIVE: RangeInclusive<u32> = 1..=10_000;
const MINIMUM_CALLS: RangeInclusive<u32> = 1..=1_000_000;
const PERMITS: RangeInclusive<u32> = 1..=1000;

impl Rules {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Everything that is wrong with these rules taken by themselves.
    pub fn violations(&self) -> Violations {
        let mut found = Violations::none();
        self.timeout.check(&mut found);
        self.retry.check(&mut found);
        self.circuit_breaker.check(&mut found);
        found
    }
}

impl Timeout {
    fn check(&self, found: &mut Violations) {
        within(found, "rules.timeout.attempt", self.attempt, &DURATION);
        within(found, "rules.timeout.overall", self.overall, &DURATION);
        if let (Some(attempt), Some(overall)) = (self.attempt, self.overall)
            && attempt > overall
        {
            let bound = format!("must not exceed rules.timeout.overall ({overall:?})");
            found.add("rules.timeout.attempt", format!("{attempt:?}"), bound);
        }
    }
}

impl Retry {
    fn check(&self, found: &mut Violations) {
        within(
            found,
            "rules.retry.max_attempts",
            self.max_attempts,
            &ATTEMPTS,
        );
        within(found, "rules.retry.base_delay", self.base_delay, &DURATION);
        within(found, "rules.retry.max_delay", self.max_delay, &DURATION);
        if let (Some(base), Some(max)) = (self.base_delay, self.max_delay)
            && base > max
        {
            let bound = format!("must not exceed rules.retry.max_delay ({max:?})");
            found.add("rules.retry.base_delay", format!("{base:?}"), bound);
        }
    }
}

impl CircuitBreaker {
    fn check(&self, found: &mut Violations) {
        if let Some(trip) = &self.trip {
            trip.check(found);
        }
        within(
            found,
            "rules.circuit_breaker.open_duration",
            self.open_duration,
            &DURATION,
        );
        if let Some(half_open) = &self.half_open {
            let permits = Some(half_open.permits);
            within(
                found,
                "rules.circuit_breaker.half_open_permits",
                permits,
                &PERMITS,
            );
            within(
                found,
                "rules.circuit_breaker.max_half_open",
                half_open.max,
                &DURATION,
            );
        }
    }
}

impl Trip {
    fn check(&self, found: &mut Violations) {
        let field = "rules.circuit_breaker.consecutive_failures";
        within(found, field, self.consecutive_failures, &CONSECUTIVE);
        if let Some(ratio) = &self.ratio {
            let Window::Span(span) = ratio.window;
            within(
                found,
                "rules.circuit_breaker.window.span",
                Some(span),
                &SPAN,
            );
            let minimum = Some(ratio.minimum_calls);
            within(
                found,
                "rules.circuit_breaker.minimum_calls",
                minimum,
                &MINIMUM_CALLS,
            );
        }
    }
}

fn within<T: PartialOrd + fmt::Debug>(
    found: &mut Violations,
    field: &str,
    value: Option<T>,
    range: &RangeInclusive<T>,
) {
    if let Some(value) = value.filter(|value| !range.contains(value)) {
        let bound = format!("must be {:?} to {:?}", range.start(), range.end());
        found.add(field, format!("{value:?}"), bound);
    }
}
