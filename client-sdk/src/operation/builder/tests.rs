//! What becomes of an author's words.

use fusebox_core::policy::field::Field;

use super::*;
use crate::Fusebox;

const SECOND: Duration = Duration::from_secs(1);

/// The layer that `say` makes.
fn local(say: impl FnOnce(OperationBuilder<'_>) -> OperationBuilder<'_>) -> Rules {
    let fusebox = Fusebox::builder("checkout").build().unwrap();
    say(fusebox.operation("payments")).local
}

fn ratio(fraction: f64) -> Ratio {
    Ratio::new(fraction).unwrap()
}

#[test]
fn every_word_sets_its_field_and_a_complete_set_is_legal() {
    let rules = local(|operation| {
        operation
            .attempt_timeout(SECOND)
            .overall_timeout(SECOND * 2)
            .max_attempts(3)
            .backoff(SECOND / 10, SECOND)
            .backoff_multiplier(Multiplier::ONE)
            .jitter(Jitter::Equal)
            .retry_budget(Share::new(0.1).unwrap(), 5)
            .honor_retry_after(false)
            .consecutive_failures(30)
            .failure_ratio_of_last(ratio(0.5), 100, None)
            .slow_calls(ratio(0.8), SECOND / 2, Window::Calls(50), Some(10))
            .open_duration(SECOND)
            .open_growth(Multiplier::TWO, SECOND * 30)
            .open_jitter(Share::new(0.3).unwrap())
            .half_open(5, Some(3))
            .max_half_open(SECOND * 9)
            .recovery_ramp(SECOND * 10)
            .bulkhead(20, 10, SECOND / 4)
            .rate_limit(100, SECOND, 10, SECOND / 5)
            .concurrency_limit(2, 40)
            .hedge_after(SECOND / 8, 2)
    });
    assert_eq!(rules.violations(), Violations::none());
    // The rest is not an author's word at the call site.
    let unsaid = Field::ALL.iter().filter(|field| !field.is_set(&rules));
    let unsaid: Vec<_> = unsaid.map(ToString::to_string).collect();
    let mode_or_switch = |path: &String| path.ends_with(".mode") || path == "enabled";
    assert!(unsaid.iter().all(mode_or_switch), "{unsaid:?}");
    let Rules {
        retry,
        circuit_breaker: breaker,
        ..
    } = &rules;
    assert_eq!(retry.jitter, Some(Jitter::Equal));
    assert_eq!(
        retry
            .budget
            .map(|budget| (budget.ratio.as_f64(), budget.min_per_second)),
        Some((0.1, 5))
    );
    assert_eq!(retry.multiplier, Some(Multiplier::ONE));
    assert_eq!(retry.honor_retry_after, Some(false));
    assert_eq!(breaker.open_multiplier, Some(Multiplier::TWO));
    assert_eq!(breaker.max_open_duration, Some(SECOND * 30));
    assert_eq!(breaker.open_jitter.map(Share::as_f64), Some(0.3));
    let half_open = HalfOpen {
        permits: 5,
        successes: Some(3),
        max: Some(SECOND * 9),
    };
    assert_eq!(breaker.half_open, Some(half_open));
    assert_eq!(breaker.recovery_ramp, Some(SECOND * 10));
    let limit = BulkheadLimit {
        max_concurrent: 20,
        max_queue: 10,
        max_wait: SECOND / 4,
    };
    assert_eq!(rules.bulkhead.limit, Some(limit));
    let quota = Quota {
        permits: 100,
        per: SECOND,
        burst: 10,
        max_wait: SECOND / 5,
    };
    assert_eq!(rules.rate_limit.quota, Some(quota));
    let bounds = ConcurrencyBounds { min: 2, max: 40 };
    assert_eq!(rules.concurrency_limit.bounds, Some(bounds));
    let hedging = Hedging {
        trigger: HedgeTrigger::Delay(SECOND / 8),
        max_hedges: 2,
    };
    assert_eq!(rules.hedge.plan, Some(hedging));
}

#[test]
fn a_breaker_keeps_all_ways_to_open_that_were_named_and_the_window_named_last() {
    let slow_last = local(|operation| {
        operation
            .consecutive_failures(5)
            .failure_ratio(ratio(0.5), SECOND * 10, Some(7))
            .slow_calls(ratio(0.8), SECOND, SECOND * 30, None)
    });
    let failed_last = local(|operation| {
        operation
            .slow_calls(ratio(0.8), SECOND, Window::Calls(9), Some(7))
            .failure_ratio(ratio(0.5), SECOND * 30, None)
            .consecutive_failures(5)
    });
    let trip = Trip {
        consecutive_failures: Some(5),
        slow_call_threshold: Some(SECOND),
        ratio: Some(RatioTrip {
            window: Window::Span(SECOND * 30),
            failure_ratio: Some(ratio(0.5)),
            slow_call_ratio: Some(ratio(0.8)),
            minimum_calls: 20,
        }),
    };
    for rules in [slow_last, failed_last] {
        assert_eq!(rules.circuit_breaker.trip, Some(trip));
    }
}

#[test]
fn of_a_few_counted_calls_all_are_awaited() {
    let rules = local(|operation| operation.failure_ratio_of_last(ratio(0.5), 7, None));
    let counted = rules.circuit_breaker.trip.unwrap().ratio.unwrap();
    assert_eq!(
        (counted.window, counted.minimum_calls),
        (Window::Calls(7), 7)
    );
}

#[test]
fn the_hedge_named_last_holds() {
    let rules = local(|operation| operation.hedge_after(SECOND, 1).hedge_at(ratio(0.95), 2));
    let hedging = Hedging {
        trigger: HedgeTrigger::Percentile(ratio(0.95)),
        max_hedges: 2,
    };
    assert_eq!(rules.hedge.plan, Some(hedging));
}

#[test]
fn what_an_author_contradicts_is_refused_at_registration_with_every_field() {
    let fusebox = Fusebox::builder("checkout").build().unwrap();
    let refused = fusebox
        .operation("payments")
        .half_open(2, Some(3))
        .concurrency_limit(9, 3)
        .hedge_at(Ratio::ONE, 0)
        .register()
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "operation payments: \
         rules.circuit_breaker.half_open_successes: \
         must be 1 to rules.circuit_breaker.half_open_permits (2) (3); \
         rules.concurrency_limit.min: must not exceed rules.concurrency_limit.max (3) (9); \
         rules.hedge.percentile: must be at least 0.0001 and at most 0.9999 (1); \
         rules.hedge.max_hedges: must be 1 to 10 (0)"
    );
}

#[test]
fn what_is_said_of_probes_adds_up_in_any_order() {
    let both = |permits, successes, max| {
        Some(HalfOpen {
            permits,
            successes,
            max,
        })
    };
    let probes = |say: fn(OperationBuilder<'_>) -> OperationBuilder<'_>| {
        local(say).circuit_breaker.half_open
    };
    let nine = Some(SECOND * 9);
    let found = probes(|o| o.half_open(5, Some(3)).max_half_open(SECOND * 9));
    assert_eq!(found, both(5, Some(3), nine));
    let found = probes(|o| o.max_half_open(SECOND * 9).half_open(5, Some(3)));
    assert_eq!(found, both(5, Some(3), nine));
    let found = probes(|o| o.max_half_open(SECOND * 9));
    assert_eq!(found, both(1, None, nine));
}
