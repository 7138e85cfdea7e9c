//! When to stop trying, and how to find out that it is time to start again.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Mode;
use super::bounds::{DURATION, LONGEST, at_most, within};
use crate::policy::defaults;
use crate::policy::ratio::{Multiplier, Ratio, Share};
use crate::policy::violation::Violations;

/// When to stop trying.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CircuitBreaker {
    /// What opens it.
    pub trip: Option<Trip>,
    /// How long it stays open before it probes.
    pub open_duration: Option<Duration>,
    /// How much longer it stays open each time that its probes fail.
    pub open_multiplier: Option<Multiplier>,
    /// The longest it stays open.
    pub max_open_duration: Option<Duration>,
    /// By how much of its length an open time may be cut short at random.
    pub open_jitter: Option<Share>,
    /// How it probes.
    pub half_open: Option<HalfOpen>,
    /// Over how long admitted traffic grows after it has closed; zero: all at once.
    pub recovery_ramp: Option<Duration>,
    /// Whether the above is enforced or only tried out.
    pub mode: Option<Mode>,
}

/// What opens a breaker, and what it takes for slow. With several ways set, the first that applies
/// decides; with none, it never opens by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trip {
    /// That many failed calls in a row.
    pub consecutive_failures: Option<u32>,
    /// A call that takes this long is slow. One that its caller drops later than this counts as
    /// failed.
    pub slow_call_threshold: Option<Duration>,
    /// A share of the calls in a window.
    pub ratio: Option<RatioTrip>,
}

/// A share of failed or of slow calls in a sliding window: at least one of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RatioTrip {
    /// The window.
    pub window: Window,
    /// The share of failed calls at which it opens.
    pub failure_ratio: Option<Ratio>,
    /// The share of slow calls at which it opens.
    pub slow_call_ratio: Option<Ratio>,
    /// Calls in the window below which nothing is judged.
    pub minimum_calls: u32,
}

/// Over what a ratio is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The calls of the last so long.
    Span(Duration),
    /// The last so many calls.
    Calls(u32),
}

/// How a half-open breaker probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfOpen {
    /// Probes let through.
    pub permits: u32,
    /// Probes that must succeed before it closes; unset: what opens it is judged by all of them.
    pub successes: Option<u32>,
    /// Without a decision for this long it opens again; unset: open duration plus attempt timeout.
    pub max: Option<Duration>,
}

const SPAN: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
const SIZE: RangeInclusive<u32> = 1..=10_000;
const CONSECUTIVE: RangeInclusive<u32> = 1..=10_000;
const MINIMUM_CALLS: RangeInclusive<u32> = 1..=1_000_000;
const PERMITS: RangeInclusive<u32> = 1..=1000;

impl CircuitBreaker {
    pub(super) fn check(&self, found: &mut Violations) {
        if let Some(trip) = &self.trip {
            trip.check(found);
        }
        self.check_open(found);
        if let Some(half_open) = &self.half_open {
            half_open.check(found);
        }
        let field = "rules.circuit_breaker.recovery_ramp";
        at_most(found, field, self.recovery_ramp, LONGEST);
    }

    fn check_open(&self, found: &mut Violations) {
        let (open, max) = (self.open_duration, self.max_open_duration);
        let max_field = "rules.circuit_breaker.max_open_duration";
        within(
            found,
            "rules.circuit_breaker.open_duration",
            open,
            &DURATION,
        );
        within(found, max_field, max, &DURATION);
        if let (Some(open), Some(max)) = (open, max)
            && max < open
        {
            let bound = format!("must not be below rules.circuit_breaker.open_duration ({open:?})");
            found.add(max_field, format!("{max:?}"), bound);
        }
    }
}

impl Trip {
    fn check(&self, found: &mut Violations) {
        let field = "rules.circuit_breaker.consecutive_failures";
        within(found, field, self.consecutive_failures, &CONSECUTIVE);
        let threshold = "rules.circuit_breaker.slow_call_threshold";
        within(found, threshold, self.slow_call_threshold, &DURATION);
        let Some(ratio) = &self.ratio else { return };
        ratio.check(found);
        if ratio.slow_call_ratio.is_some() && self.slow_call_threshold.is_none() {
            let field = "rules.circuit_breaker.slow_call_ratio";
            found.add(field, "set", format!("needs {threshold} beside it"));
        }
    }

    /// Whether it says anything that the first schema had no word for. A share of slow calls never
    /// stands without the threshold.
    pub(in crate::policy) fn is_beyond_schema_1(&self) -> bool {
        let counts_calls = |ratio: RatioTrip| matches!(ratio.window, Window::Calls(_));
        self.slow_call_threshold.is_some() || self.ratio.is_some_and(counts_calls)
    }
}

impl RatioTrip {
    fn check(&self, found: &mut Violations) {
        self.window.check(found);
        if self.failure_ratio.is_none() && self.slow_call_ratio.is_none() {
            let bound = "needs rules.circuit_breaker.failure_ratio or \
                         rules.circuit_breaker.slow_call_ratio beside it";
            found.add("rules.circuit_breaker.window", "set", bound);
        }
        let (field, minimum) = ("rules.circuit_breaker.minimum_calls", self.minimum_calls);
        within(found, field, Some(minimum), &MINIMUM_CALLS);
        if let Window::Calls(size) = self.window
            && SIZE.contains(&size)
            && minimum > size
        {
            let bound = format!("must not exceed rules.circuit_breaker.window.size ({size})");
            found.add(field, minimum, bound);
        }
    }
}

impl Window {
    /// Calls below which no ratio over this window is judged, where a rule does not say.
    pub fn default_minimum_calls(self) -> u32 {
        match self {
            Self::Span(_) => defaults::MINIMUM_CALLS,
            // At least one, so that a window of none is told once, and as what it is.
            Self::Calls(size) => defaults::MINIMUM_CALLS.min(size).max(1),
        }
    }

    fn check(self, found: &mut Violations) {
        match self {
            Self::Span(span) => {
                let field = "rules.circuit_breaker.window.span";
                within(found, field, Some(span), &SPAN);
            }
            Self::Calls(size) => {
                let field = "rules.circuit_breaker.window.size";
                within(found, field, Some(size), &SIZE);
            }
        }
    }
}

impl From<Duration> for Window {
    fn from(span: Duration) -> Self {
        Self::Span(span)
    }
}

impl HalfOpen {
    fn check(&self, found: &mut Violations) {
        let permits = self.permits;
        let permits_field = "rules.circuit_breaker.half_open_permits";
        within(found, permits_field, Some(permits), &PERMITS);
        if let Some(successes) = self.successes
            && PERMITS.contains(&permits)
            && !(1..=permits).contains(&successes)
        {
            let field = "rules.circuit_breaker.half_open_successes";
            let bound = format!("must be 1 to {permits_field} ({permits})");
            found.add(field, successes, bound);
        }
        let max_field = "rules.circuit_breaker.max_half_open";
        within(found, max_field, self.max, &DURATION);
    }

    /// Whether it says anything that the first schema had no word for.
    pub(in crate::policy) fn is_beyond_schema_1(&self) -> bool {
        self.successes.is_some()
    }
}
