use std::time::Duration;

use fusebox_core::policy::ratio::{Multiplier, Ratio, Share};
use fusebox_core::policy::rules::{
    BulkheadLimit, ConcurrencyBounds, HalfOpen, HedgeTrigger, Hedging, Jitter, Quota, RatioTrip,
    RetryBudget, Trip, Window,
};
use proptest::prelude::*;

use super::*;
use crate::convert::strategies::any_rules;

const MILLI: Duration = Duration::from_millis(1);

fn everything() -> Rules {
    let mut rules = Rules::default();
    rules.timeout.attempt = Some(800 * MILLI);
    rules.timeout.overall = Some(5000 * MILLI);
    rules.retry.max_attempts = Some(4);
    rules.retry.base_delay = Some(Duration::from_nanos(1));
    rules.retry.max_delay = Some(1050 * MILLI);
    rules.retry.multiplier = Some(Multiplier::TWO);
    rules.retry.jitter = Some(Jitter::Equal);
    rules.retry.budget = Some(RetryBudget {
        ratio: Share::FIFTH,
        min_per_second: 3,
    });
    rules.retry.honor_retry_after = Some(false);
    let breaker = &mut rules.circuit_breaker;
    breaker.trip = Some(Trip {
        consecutive_failures: Some(3),
        slow_call_threshold: Some(2000 * MILLI),
        ratio: Some(RatioTrip {
            window: Window::Span(10_000 * MILLI),
            failure_ratio: Some(Ratio::new(0.5).unwrap()),
            slow_call_ratio: Some(Ratio::ONE),
            minimum_calls: 20,
        }),
    });
    breaker.open_duration = Some(30_000 * MILLI);
    breaker.open_multiplier = Some(Multiplier::new(1.5).unwrap());
    breaker.max_open_duration = Some(300_000 * MILLI);
    breaker.open_jitter = Some(Share::ZERO);
    breaker.half_open = Some(HalfOpen {
        permits: 5,
        successes: Some(3),
        max: Some(60_000 * MILLI),
    });
    breaker.recovery_ramp = Some(Duration::ZERO);
    rules.bulkhead.limit = Some(BulkheadLimit {
        max_concurrent: 5,
        max_queue: 2,
        max_wait: Duration::ZERO,
    });
    rules.rate_limit.quota = Some(Quota {
        permits: 100,
        per: 1000 * MILLI,
        burst: 10,
        max_wait: 20 * MILLI,
    });
    rules.concurrency_limit.bounds = Some(ConcurrencyBounds { min: 1, max: 200 });
    rules.hedge.plan = Some(Hedging {
        trigger: HedgeTrigger::Percentile(Ratio::new(0.95).unwrap()),
        max_hedges: 1,
    });
    rules.enabled = Some(true);
    rules
}

fn only(field: Field, rules: &Rules) -> Rules {
    let mut one = Rules::default();
    field.copy(rules, &mut one);
    one
}

fn fields() -> impl Iterator<Item = Field> {
    Field::ALL.iter().copied().filter(|field| !field.is_mode())
}

#[test]
fn each_field_reads_as_protobufs_json_writes_it() {
    let rules = everything();
    let texts: Vec<_> = fields()
        .map(|field| value(field, &only(field, &rules)))
        .collect();
    assert_eq!(
        texts,
        [
            "0.8s",
            "5s",
            "4",
            "0.000000001s",
            "1.05s",
            "2",
            "JITTER_EQUAL",
            "ratio: 0.2, minPerSecond: 3",
            "false",
            "consecutiveFailures: 3, window: {span: 10s}, failureRatio: 0.5, minimumCalls: 20, \
             slowCallRatio: 1, slowCallThreshold: 2s",
            "30s",
            "1.5",
            "300s",
            "0",
            "halfOpenPermits: 5, halfOpenSuccesses: 3, maxHalfOpen: 60s",
            "0s",
            "maxConcurrent: 5, maxQueue: 2, maxWait: 0s",
            "permits: 100, per: 1s, burst: 10, maxWait: 0.02s",
            "min: 1, max: 200",
            "percentile: 0.95, maxHedges: 1",
            "true",
        ]
    );
}

#[test]
fn other_shapes_of_a_group_read_as_what_they_are() {
    let mut rules = everything();
    rules.hedge.plan = Some(Hedging {
        trigger: HedgeTrigger::Delay(50 * MILLI),
        max_hedges: 2,
    });
    rules.circuit_breaker.trip = Some(Trip {
        ratio: Some(RatioTrip {
            window: Window::Calls(10),
            failure_ratio: Some(Ratio::ONE),
            slow_call_ratio: None,
            minimum_calls: 5,
        }),
        ..Trip::default()
    });
    let text = |field| value(field, &only(field, &rules));
    assert_eq!(text(Field::HedgePlan), "delay: 0.05s, maxHedges: 2");
    assert_eq!(
        text(Field::BreakerTrip),
        "window: {size: 10}, failureRatio: 1, minimumCalls: 5"
    );
}

proptest! {
    #[test]
    fn two_values_read_alike_only_if_they_are_equal(a in any_rules(), b in any_rules()) {
        for field in fields() {
            let [a, b] = [&a, &b].map(|rules| only(field, rules));
            prop_assert_eq!(value(field, &a) == value(field, &b), a == b, "{}", field);
            prop_assert_eq!(value(field, &a).is_empty(), a.is_empty());
        }
    }
}
