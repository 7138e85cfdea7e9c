//! What each rule may be, by itself and beside others of the same layer.

use super::*;
use crate::policy::ratio::Ratio;

const NANO: Duration = Duration::from_nanos(1);
const DAY: Duration = Duration::from_secs(86_400);
const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);
const RATIO: RatioTrip = RatioTrip {
    window: Window::Span(SECOND),
    failure_ratio: Some(Ratio::ONE),
    slow_call_ratio: None,
    minimum_calls: 1,
};
const QUOTA: Quota = Quota {
    permits: 1,
    per: SECOND,
    burst: 1,
    max_wait: Duration::ZERO,
};
const LIMIT: BulkheadLimit = BulkheadLimit {
    max_concurrent: 1,
    max_queue: 0,
    max_wait: Duration::ZERO,
};

/// What is said of the rules that `set` makes, as "field: bound (value)".
fn complaints(set: impl FnOnce(&mut Rules)) -> Vec<String> {
    let mut rules = Rules::default();
    set(&mut rules);
    let violations = rules.violations();
    violations.iter().map(ToString::to_string).collect()
}

/// Every value of `legal` is, and of each of `illegal` one thing is said.
fn hold<T: Copy>(set: fn(&mut Rules, T), legal: &[T], illegal: &[(T, &str)]) {
    for &value in legal {
        assert_eq!(complaints(|rules| set(rules, value)), [""; 0]);
    }
    for &(value, complaint) in illegal {
        assert_eq!(complaints(|rules| set(rules, value)), [complaint]);
    }
}

fn trip(rules: &mut Rules, trip: Trip) {
    rules.circuit_breaker.trip = Some(trip);
}

fn ratio(rules: &mut Rules, ratio: RatioTrip) {
    trip(
        rules,
        Trip {
            ratio: Some(ratio),
            ..Trip::default()
        },
    );
}

fn bulkhead(rules: &mut Rules, limit: BulkheadLimit) {
    rules.bulkhead.limit = Some(limit);
}

fn quota(rules: &mut Rules, quota: Quota) {
    rules.rate_limit.quota = Some(quota);
}

fn hedge(rules: &mut Rules, trigger: HedgeTrigger, max_hedges: u32) {
    rules.hedge.plan = Some(Hedging {
        trigger,
        max_hedges,
    });
}

#[test]
fn a_timeout_is_a_millisecond_to_a_day() {
    let set = |rules: &mut Rules, value| rules.timeout.attempt = Some(value);
    let bound = |value| format!("rules.timeout.attempt: must be 1ms to 86400s ({value})");
    hold(
        set,
        &[MILLI, DAY],
        &[
            (Duration::ZERO, &bound("0ns")),
            (DAY + NANO, &bound("86400.000000001s")),
        ],
    );
}

#[test]
fn a_retry_budget_may_be_nothing_but_not_without_measure() {
    let set = |rules: &mut Rules, min_per_second| {
        let ratio = crate::policy::ratio::Share::ZERO;
        rules.retry.budget = Some(RetryBudget {
            ratio,
            min_per_second,
        });
    };
    let complaint = "rules.retry.budget.min_per_second: must be at most 10000 (10001)";
    hold(set, &[0, 10_000], &[(10_001, complaint)]);
}

#[test]
fn a_run_of_failures_is_1_to_10000() {
    let set = |rules: &mut Rules, failures| {
        trip(
            rules,
            Trip {
                consecutive_failures: Some(failures),
                ..Trip::default()
            },
        );
    };
    let field = "rules.circuit_breaker.consecutive_failures";
    let bound = |value| format!("{field}: must be 1 to 10000 ({value})");
    hold(
        set,
        &[1, 10_000],
        &[(0, &bound("0")), (10_001, &bound("10001"))],
    );
}

#[test]
fn a_window_is_a_second_to_an_hour_or_1_to_10000_calls() {
    let set = |rules: &mut Rules, window| {
        ratio(rules, RatioTrip { window, ..RATIO });
    };
    let (hour, size) = (
        Duration::from_secs(3600),
        "rules.circuit_breaker.window.size",
    );
    let span = "rules.circuit_breaker.window.span: must be 1s to 3600s (1ns)";
    hold(
        set,
        &[
            SECOND.into(),
            hour.into(),
            Window::Calls(1),
            Window::Calls(10_000),
        ],
        &[
            (NANO.into(), span),
            (Window::Calls(0), &format!("{size}: must be 1 to 10000 (0)")),
            (
                Window::Calls(10_001),
                &format!("{size}: must be 1 to 10000 (10001)"),
            ),
        ],
    );
}

#[test]
fn no_more_calls_are_awaited_than_a_counted_window_holds() {
    let set = |rules: &mut Rules, (window, minimum_calls)| {
        ratio(
            rules,
            RatioTrip {
                window,
                minimum_calls,
                ..RATIO
            },
        );
    };
    let field = "rules.circuit_breaker.minimum_calls";
    hold(
        set,
        &[(Window::Calls(5), 5), (Window::Span(SECOND), 1_000_000)],
        &[
            (
                (Window::Calls(5), 6),
                &format!("{field}: must not exceed rules.circuit_breaker.window.size (5) (6)"),
            ),
            (
                (Window::Span(SECOND), 0),
                &format!("{field}: must be 1 to 1000000 (0)"),
            ),
        ],
    );
}

#[test]
fn a_window_of_few_calls_is_judged_when_it_is_full() {
    for (window, minimum) in [
        (Window::Span(SECOND), 20),
        (Window::Calls(100), 20),
        (Window::Calls(20), 20),
        (Window::Calls(7), 7),
    ] {
        assert_eq!(window.default_minimum_calls(), minimum, "{window:?}");
    }
}

#[test]
fn a_window_without_a_share_is_refused() {
    let neither = RatioTrip {
        failure_ratio: None,
        ..RATIO
    };
    let expected = "rules.circuit_breaker.window: needs rules.circuit_breaker.failure_ratio or \
                    rules.circuit_breaker.slow_call_ratio beside it (set)";
    assert_eq!(complaints(|rules| ratio(rules, neither)), [expected]);
}

#[test]
fn a_share_of_slow_calls_needs_to_be_told_what_slow_is_but_not_the_reverse() {
    let slow = |slow_call_threshold, slow_call_ratio| Trip {
        slow_call_threshold,
        ratio: Some(RatioTrip {
            failure_ratio: None,
            slow_call_ratio,
            ..RATIO
        }),
        ..Trip::default()
    };
    let alone = Trip {
        slow_call_threshold: Some(SECOND),
        ..Trip::default()
    };
    hold(
        trip,
        &[slow(Some(SECOND), Some(Ratio::ONE)), alone],
        &[(
            slow(None, Some(Ratio::ONE)),
            "rules.circuit_breaker.slow_call_ratio: needs \
             rules.circuit_breaker.slow_call_threshold beside it (set)",
        )],
    );
}

#[test]
fn the_longest_open_time_is_not_below_the_first() {
    let set = |rules: &mut Rules, (open, max)| {
        rules.circuit_breaker.open_duration = Some(open);
        rules.circuit_breaker.max_open_duration = Some(max);
    };
    let complaint = "rules.circuit_breaker.max_open_duration: must not be below \
                     rules.circuit_breaker.open_duration (1s) (1ms)";
    hold(
        set,
        &[(SECOND, SECOND), (MILLI, DAY)],
        &[((SECOND, MILLI), complaint)],
    );
}

#[test]
fn no_more_probes_must_succeed_than_are_let_through() {
    let set = |rules: &mut Rules, (permits, successes)| {
        rules.circuit_breaker.half_open = Some(HalfOpen {
            permits,
            successes,
            max: None,
        });
    };
    let field = "rules.circuit_breaker.half_open_successes";
    let bound = |value| {
        format!("{field}: must be 1 to rules.circuit_breaker.half_open_permits (3) ({value})")
    };
    let permits = "rules.circuit_breaker.half_open_permits: must be 1 to 1000 (0)";
    hold(
        set,
        &[(1, None), (1, Some(1)), (1000, Some(1000))],
        &[
            ((3, Some(0)), &bound("0")),
            ((3, Some(4)), &bound("4")),
            ((0, Some(1)), permits),
        ],
    );
}

#[test]
fn recovery_may_be_at_once() {
    let set = |rules: &mut Rules, ramp| rules.circuit_breaker.recovery_ramp = Some(ramp);
    let complaint =
        "rules.circuit_breaker.recovery_ramp: must be at most 86400s (86400.000000001s)";
    hold(set, &[Duration::ZERO, DAY], &[(DAY + NANO, complaint)]);
}

#[test]
fn a_bulkhead_lets_somebody_in_and_its_queue_and_wait_may_be_nothing() {
    let concurrent = |max_concurrent| BulkheadLimit {
        max_concurrent,
        ..LIMIT
    };
    let queue = |max_queue| BulkheadLimit { max_queue, ..LIMIT };
    let wait = |max_wait| BulkheadLimit { max_wait, ..LIMIT };
    let bound = |value| format!("rules.bulkhead.max_concurrent: must be 1 to 100000 ({value})");
    hold(
        bulkhead,
        &[LIMIT, concurrent(100_000), queue(100_000), wait(DAY)],
        &[
            (concurrent(0), &bound("0")),
            (concurrent(100_001), &bound("100001")),
            (
                queue(100_001),
                "rules.bulkhead.max_queue: must be at most 100000 (100001)",
            ),
            (
                wait(DAY + NANO),
                "rules.bulkhead.max_wait: must be at most 86400s (86400.000000001s)",
            ),
        ],
    );
}

#[test]
fn a_quota_is_of_something_in_some_time() {
    let permits = |permits| Quota { permits, ..QUOTA };
    let per = |per| Quota { per, ..QUOTA };
    let burst = |burst| Quota { burst, ..QUOTA };
    let wait = |max_wait| Quota { max_wait, ..QUOTA };
    let most = 1_000_000_000;
    hold(
        quota,
        &[
            QUOTA,
            permits(most),
            per(MILLI),
            per(DAY),
            burst(most),
            wait(DAY),
        ],
        &[
            (
                permits(0),
                "rules.rate_limit.permits: must be 1 to 1000000000 (0)",
            ),
            (
                permits(most + 1),
                "rules.rate_limit.permits: must be 1 to 1000000000 (1000000001)",
            ),
            (
                per(NANO),
                "rules.rate_limit.per: must be 1ms to 86400s (1ns)",
            ),
            (
                burst(0),
                "rules.rate_limit.burst: must be 1 to 1000000000 (0)",
            ),
            (
                wait(DAY + NANO),
                "rules.rate_limit.max_wait: must be at most 86400s (86400.000000001s)",
            ),
        ],
    );
}

#[test]
fn an_adaptive_limit_moves_between_a_least_and_a_most() {
    let set = |rules: &mut Rules, (min, max)| {
        rules.concurrency_limit.bounds = Some(ConcurrencyBounds { min, max });
    };
    hold(
        set,
        &[(1, 1), (1, 100_000)],
        &[
            (
                (100_001, 5),
                "rules.concurrency_limit.min: must be 1 to 100000 (100001)",
            ),
            (
                (0, 5),
                "rules.concurrency_limit.min: must be 1 to 100000 (0)",
            ),
            (
                (1, 100_001),
                "rules.concurrency_limit.max: must be 1 to 100000 (100001)",
            ),
            (
                (1, 0),
                "rules.concurrency_limit.max: must be 1 to 100000 (0)",
            ),
            (
                (6, 5),
                "rules.concurrency_limit.min: must not exceed rules.concurrency_limit.max (5) (6)",
            ),
        ],
    );
}

#[test]
fn a_hedge_follows_at_once_or_later_but_never_after_the_slowest() {
    use HedgeTrigger::{Delay, Percentile};
    let set = |rules: &mut Rules, (trigger, hedges)| hedge(rules, trigger, hedges);
    let (rarest, common) = (Ratio::new(0.9999).unwrap(), Ratio::new(0.0001).unwrap());
    let hedges = |value| format!("rules.hedge.max_hedges: must be 1 to 10 ({value})");
    hold(
        set,
        &[
            (Delay(Duration::ZERO), 1),
            (Delay(DAY), 10),
            (Percentile(rarest), 1),
            (Percentile(common), 1),
        ],
        &[
            (
                (Delay(DAY + NANO), 1),
                "rules.hedge.delay: must be at most 86400s (86400.000000001s)",
            ),
            (
                (Percentile(Ratio::ONE), 1),
                "rules.hedge.percentile: must be at least 0.0001 and at most 0.9999 (1)",
            ),
            ((Delay(MILLI), 0), &hedges("0")),
            ((Delay(MILLI), 11), &hedges("11")),
        ],
    );
}

#[test]
fn every_section_is_checked_and_all_that_is_wrong_is_told() {
    let found = complaints(|rules| {
        rules.timeout.overall = Some(Duration::ZERO);
        rules.retry.max_attempts = Some(0);
        rules.circuit_breaker.open_duration = Some(Duration::ZERO);
        bulkhead(
            rules,
            BulkheadLimit {
                max_concurrent: 0,
                max_queue: u32::MAX,
                ..LIMIT
            },
        );
        quota(
            rules,
            Quota {
                permits: 0,
                ..QUOTA
            },
        );
        rules.concurrency_limit.bounds = Some(ConcurrencyBounds { min: 0, max: 0 });
        hedge(rules, HedgeTrigger::Delay(Duration::MAX), 0);
    });
    let fields: Vec<_> = found
        .iter()
        .map(|text| text.split(':').next().unwrap())
        .collect();
    assert_eq!(
        fields,
        [
            "rules.timeout.overall",
            "rules.retry.max_attempts",
            "rules.circuit_breaker.open_duration",
            "rules.bulkhead.max_concurrent",
            "rules.bulkhead.max_queue",
            "rules.rate_limit.permits",
            "rules.concurrency_limit.min",
            "rules.concurrency_limit.max",
            "rules.hedge.delay",
            "rules.hedge.max_hedges",
        ]
    );
}
