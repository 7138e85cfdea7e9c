//! The whole that a cascade comes to: total, legal, and what is tried out beside it.
//!
//! Unset fields are filled from the kind's row, what has no column there is derived, and what
//! contradicts itself is repaired.

use std::time::Duration;

use super::Repair;
use crate::policy::defaults::Defaults;
use crate::policy::field::Field;
use crate::policy::ratio::{Multiplier, Share};
use crate::policy::rules::{
    BulkheadLimit, CircuitBreaker, ConcurrencyBounds, Hedging, Jitter, Quota, RetryBudget, Rules,
    Trip,
};

/// An open time may grow to this many times the first one where no rule says how far.
const OPEN_GROWTH: u32 = 10;

/// A total, legal set of rules: what a guard is built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effective {
    /// Whether calls are guarded at all.
    pub enabled: bool,
    /// Bounds each attempt.
    pub attempt_timeout: Duration,
    /// Bounds the whole call.
    pub overall_timeout: Duration,
    /// Attempts in all.
    pub max_attempts: u32,
    /// The first retry's longest sleep.
    pub base_delay: Duration,
    /// The longest sleep of any retry.
    pub max_delay: Duration,
    /// Growth of the sleeps.
    pub multiplier: Multiplier,
    /// How the sleeps of many callers are spread.
    pub jitter: Jitter,
    /// How many retries there may be beside first attempts.
    pub budget: RetryBudget,
    /// Whether a delay that the server asks for replaces the backoff's own.
    pub honor_retry_after: bool,
    /// When to stop trying.
    pub breaker: BreakerRules,
    /// How many calls at once.
    pub bulkhead: Option<BulkheadLimit>,
    /// How many calls in a time.
    pub rate_limit: Option<Quota>,
    /// How many calls at once, as far as the dependency keeps up.
    pub concurrency_limit: Option<ConcurrencyBounds>,
    /// When to ask a second time before the first answer is in.
    pub hedge: Option<Hedging>,
    /// What decides and counts beside the above, and never waits or refuses.
    pub shadow: Shadow,
}

/// When to stop trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerRules {
    /// What opens it.
    pub trip: Trip,
    /// How long it stays open the first time.
    pub open_duration: Duration,
    /// Growth of the open times.
    pub open_multiplier: Multiplier,
    /// The longest it stays open, not below `open_duration`.
    pub max_open_duration: Duration,
    /// By how much of its length an open time may be cut short at random.
    pub open_jitter: Share,
    /// Probes while half-open.
    pub half_open_permits: u32,
    /// Probes that must succeed before it closes; unset: what opens it is judged by all of them.
    pub half_open_successes: Option<u32>,
    /// Half-open without a decision opens again after this.
    pub max_half_open: Duration,
    /// Over how long admitted traffic grows after it has closed; zero: all at once.
    pub recovery_ramp: Duration,
}

/// What is tried out beside what is enforced: of each section in shadow mode the whole that it
/// would come to, if that is another than the enforced one. A limit that would be gone refuses
/// nothing, so there is nothing to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shadow {
    /// When to stop trying.
    pub breaker: Option<BreakerRules>,
    /// How many calls at once.
    pub bulkhead: Option<BulkheadLimit>,
    /// How many calls in a time.
    pub rate_limit: Option<Quota>,
    /// How many calls at once, as far as the dependency keeps up.
    pub concurrency_limit: Option<ConcurrencyBounds>,
}

/// Makes `rules` whole, with what `as_if` comes to beside them where that differs; also says what
/// had to be repaired of `rules`.
pub(super) fn settle(rules: &Rules, as_if: &Rules, row: &Defaults) -> (Effective, Vec<Repair>) {
    // All by name, so that no section is forgotten.
    let Rules {
        timeout,
        retry,
        circuit_breaker: _,
        bulkhead,
        rate_limit,
        concurrency_limit,
        hedge,
        enabled,
    } = rules;
    let max_attempts = retry.max_attempts.unwrap_or(row.max_attempts);
    let multiplier = retry.multiplier.unwrap_or(row.multiplier);
    let max_delay = retry.max_delay.unwrap_or(row.max_delay);
    let base_delay = retry.base_delay.unwrap_or(row.base_delay).min(max_delay);
    let wanted_attempt = timeout.attempt.unwrap_or(row.attempt_timeout);
    let overall_timeout = timeout.overall.unwrap_or_else(|| {
        let sleeps = (1..max_attempts)
            .map(|retry| longest_backoff(retry, base_delay, max_delay, multiplier))
            .fold(Duration::ZERO, Duration::saturating_add);
        wanted_attempt
            .saturating_mul(max_attempts)
            .saturating_add(sleeps)
    });
    let attempt_timeout = wanted_attempt.min(overall_timeout);
    let [breaker, as_if_breaker] = [rules, as_if]
        .map(|rules| BreakerRules::settle(&rules.circuit_breaker, row, attempt_timeout));
    let effective = Effective {
        enabled: enabled.unwrap_or(true),
        attempt_timeout,
        overall_timeout,
        max_attempts,
        base_delay,
        max_delay,
        multiplier,
        jitter: retry.jitter.unwrap_or(row.jitter),
        budget: retry.budget.unwrap_or(row.budget),
        honor_retry_after: retry.honor_retry_after.unwrap_or(row.honor_retry_after),
        breaker,
        bulkhead: bulkhead.limit,
        rate_limit: rate_limit.quota,
        concurrency_limit: concurrency_limit.bounds,
        hedge: hedge.plan,
        shadow: Shadow::of(rules, as_if, [breaker, as_if_breaker]),
    };
    (effective, repairs(rules, row, &effective))
}

/// Every value that came out other than some layer, or the kind, wanted it.
fn repairs(rules: &Rules, row: &Defaults, effective: &Effective) -> Vec<Repair> {
    let wanted_attempt = rules.timeout.attempt.unwrap_or(row.attempt_timeout);
    let wanted_base_delay = rules.retry.base_delay.unwrap_or(row.base_delay);
    let wanted_max_open = rules.circuit_breaker.max_open_duration;
    let breaker = &effective.breaker;
    let table = [
        (
            effective.attempt_timeout < wanted_attempt,
            Field::TimeoutAttempt,
            Field::TimeoutOverall,
        ),
        (
            effective.base_delay < wanted_base_delay,
            Field::RetryBaseDelay,
            Field::RetryMaxDelay,
        ),
        (
            wanted_max_open.is_some_and(|wanted| breaker.max_open_duration > wanted),
            Field::BreakerMaxOpenDuration,
            Field::BreakerOpenDuration,
        ),
    ];
    let changed = table.into_iter().filter(|(changed, ..)| *changed);
    changed
        .map(|(_, field, because_of)| Repair { field, because_of })
        .collect()
}

impl BreakerRules {
    fn settle(rules: &CircuitBreaker, row: &Defaults, attempt_timeout: Duration) -> Self {
        let open_duration = rules.open_duration.unwrap_or(row.open_duration);
        let max_open_duration = rules
            .max_open_duration
            .unwrap_or(open_duration.saturating_mul(OPEN_GROWTH));
        let half_open = rules.half_open;
        Self {
            trip: rules.trip.unwrap_or(row.trip),
            open_duration,
            open_multiplier: rules.open_multiplier.unwrap_or(row.open_multiplier),
            max_open_duration: max_open_duration.max(open_duration),
            open_jitter: rules.open_jitter.unwrap_or(row.open_jitter),
            half_open_permits: half_open.map_or(row.half_open_permits, |group| group.permits),
            half_open_successes: half_open.and_then(|group| group.successes),
            max_half_open: half_open
                .and_then(|group| group.max)
                .unwrap_or(open_duration.saturating_add(attempt_timeout)),
            recovery_ramp: rules.recovery_ramp.unwrap_or(row.recovery_ramp),
        }
    }
}

impl Shadow {
    /// What differs. Only sections that some layer has in shadow can.
    fn of(enforced: &Rules, as_if: &Rules, [breaker, as_if_breaker]: [BreakerRules; 2]) -> Self {
        fn other<T: Copy + PartialEq>(enforced: T, as_if: T) -> Option<T> {
            (as_if != enforced).then_some(as_if)
        }
        Self {
            breaker: other(breaker, as_if_breaker),
            bulkhead: other(enforced.bulkhead.limit, as_if.bulkhead.limit).flatten(),
            rate_limit: other(enforced.rate_limit.quota, as_if.rate_limit.quota).flatten(),
            concurrency_limit: other(
                enforced.concurrency_limit.bounds,
                as_if.concurrency_limit.bounds,
            )
            .flatten(),
        }
    }
}

/// The longest sleep before retry `retry` (from 1): `min(base * multiplier^(retry-1), max)`.
pub fn longest_backoff(
    retry: u32,
    base_delay: Duration,
    max_delay: Duration,
    multiplier: Multiplier,
) -> Duration {
    let exponent = i32::try_from(retry.saturating_sub(1)).unwrap_or(i32::MAX);
    // In floating point an overflow is infinite, which no `Duration` can hold: then the cap holds.
    let seconds = base_delay.as_secs_f64() * multiplier.as_f64().powi(exponent);
    Duration::try_from_secs_f64(seconds).map_or(max_delay, |delay| delay.min(max_delay))
}
