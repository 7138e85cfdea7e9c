use super::*;
use crate::guard::breaker::{Observation, Override};
use crate::guard::fixtures;
use crate::lane::Lane;
use crate::outcome::{CircuitState, Forced};
use crate::policy::ratio::Share;
use crate::policy::rules::{RetryBudget, Rules, Trip};

const FAILED: Verdict = Verdict::Failure(Again::IfIdempotent(None));

fn plan(change: impl FnOnce(&mut Rules)) -> Plan {
    fixtures::plan(|rules| {
        rules.retry.max_attempts = Some(3);
        rules.retry.base_delay = Some(Duration::from_millis(100));
        rules.timeout.attempt = Some(Duration::from_secs(1));
        change(rules);
    })
}

fn guard(plan: &Plan) -> Guard {
    Guard::new(plan, 0, Instant::ORIGIN)
}

fn begin() -> Execution {
    Execution::begin(Instant::ORIGIN, Instant::NEVER)
}

fn circumstances(idempotent: bool) -> Circumstances {
    Circumstances {
        idempotent,
        first_attempts: 1,
        random: 1 << 63,
        now: Instant::ORIGIN,
    }
}

fn first(plan: &Plan, verdict: Verdict, idempotent: bool) -> Next {
    begin().next(plan, &guard(plan), verdict, &circumstances(idempotent))
}

#[test]
fn success_and_ignored_go_to_the_caller_at_once() {
    let plan = plan(|_| {});
    assert_eq!(first(&plan, Verdict::Success, true), Next::Return);
    assert_eq!(first(&plan, Verdict::Ignored, true), Next::Return);
}

#[test]
fn a_failure_is_repeated_only_if_that_is_harmless() {
    let plan = plan(|_| {});
    let retry = Next::Retry(Duration::from_millis(50));
    assert_eq!(first(&plan, FAILED, true), retry);
    assert_eq!(first(&plan, FAILED, false), Next::Return);
    assert_eq!(
        first(&plan, Verdict::Failure(Again::NeverSent), false),
        retry
    );
    assert_eq!(
        first(&plan, Verdict::Failure(Again::No), true),
        Next::Return
    );
}

#[test]
fn attempts_end_at_their_maximum() {
    let plan = plan(|_| {});
    let guard = guard(&plan);
    let mut execution = begin();
    for attempt in [2, 3] {
        let next = execution.next(&plan, &guard, FAILED, &circumstances(true));
        assert!(matches!(next, Next::Retry(_)));
        assert_eq!(execution.attempt(), attempt);
    }
    let next = execution.next(&plan, &guard, FAILED, &circumstances(true));
    assert_eq!(next, Next::Return);
}

#[test]
fn the_servers_own_delay_replaces_the_backoff_unless_it_is_beyond_the_longest() {
    let plan = plan(|rules| rules.retry.max_delay = Some(Duration::from_millis(400)));
    let asks = |millis| {
        let hint = Some(Duration::from_millis(millis));
        first(&plan, Verdict::Failure(Again::IfIdempotent(hint)), true)
    };
    assert_eq!(asks(300), Next::Retry(Duration::from_millis(300)));
    assert_eq!(asks(401), Next::Return);
}

#[test]
fn a_sleep_that_cannot_end_before_the_deadline_is_not_begun() {
    let tight = plan(|rules| {
        rules.timeout.attempt = Some(Duration::from_millis(20));
        rules.timeout.overall = Some(Duration::from_millis(50));
    });
    assert_eq!(first(&tight, FAILED, true), Next::Return);
}

#[test]
fn a_retry_the_breaker_would_refuse_on_waking_is_not_slept_for() {
    let plan = plan(|rules| {
        rules.circuit_breaker.trip = Some(Trip {
            consecutive_failures: Some(1),
            ..Trip::default()
        });
    });
    let guard = guard(&plan);
    let settings = &plan.breaker;
    let now = Instant::ORIGIN;
    let permit = guard.breaker.admit(now).answer.unwrap();
    let bad = Observation::Bad {
        slow: false,
        in_run: true,
    };
    let opened = guard
        .breaker
        .settle(permit, settings.trace(), bad, now, Lane::SHARED);
    assert!(!opened.is_empty());
    let next = begin().next(&plan, &guard, FAILED, &circumstances(true));
    assert_eq!(next, Next::Return);
}

#[test]
fn only_a_calls_first_fast_failure_enters_the_run() {
    let mut execution = begin();
    assert!(execution.enters_run());
    assert!(!execution.enters_run());
}

const GOOD: Observation = Observation::Good { slow: false };

/// A failure is settled with the breaker, as the one after which `execution` asks what to do.
fn fail(execution: &mut Execution, guard: &Guard, plan: &Plan, now: Instant) {
    let settings = &plan.breaker;
    let permit = guard.breaker.admit(now).answer.unwrap();
    let bad = Observation::Bad {
        slow: false,
        in_run: execution.enters_run(),
    };
    let settled = guard
        .breaker
        .settle(permit, settings.trace(), bad, now, Lane::SHARED);
    assert!(
        settled
            .iter()
            .all(|change| change.from == CircuitState::Closed)
    );
}

fn opens_after(failures: u32) -> impl FnOnce(&mut Rules) {
    move |rules| {
        rules.circuit_breaker.trip = Some(Trip {
            consecutive_failures: Some(failures),
            ..Trip::default()
        });
        rules.circuit_breaker.open_duration = Some(Duration::from_secs(5));
    }
}

#[test]
fn a_call_that_fails_three_times_counts_once_and_the_third_such_call_opens() {
    let plan = plan(opens_after(3));
    let guard = guard(&plan);
    let mut attempts = Vec::new();
    for _ in 0..3 {
        let mut execution = begin();
        loop {
            fail(&mut execution, &guard, &plan, Instant::ORIGIN);
            let next = execution.next(&plan, &guard, FAILED, &circumstances(true));
            if next == Next::Return {
                break;
            }
        }
        attempts.push(execution.attempt());
    }
    assert_eq!(
        attempts,
        [3, 3, 1],
        "open after the third call's first attempt"
    );
}

#[test]
fn retrying_stops_with_the_attempt_that_opens_the_breaker() {
    let plan = plan(opens_after(1));
    let guard = guard(&plan);
    let mut execution = begin();
    fail(&mut execution, &guard, &plan, Instant::ORIGIN);
    let next = execution.next(&plan, &guard, FAILED, &circumstances(true));
    assert_eq!((next, execution.attempt()), (Next::Return, 1));
}

#[test]
fn a_retry_that_wakes_when_the_breaker_probes_is_slept_for() {
    let plan = plan(|rules| {
        opens_after(1)(rules);
        rules.retry.max_delay = Some(Duration::from_secs(10));
        rules.timeout.overall = Some(Duration::from_secs(60));
    });
    let guard = guard(&plan);
    let mut execution = begin();
    fail(&mut execution, &guard, &plan, Instant::ORIGIN);
    let asks = |millis| Verdict::Failure(Again::IfIdempotent(Some(Duration::from_millis(millis))));
    let mut next = |verdict| execution.next(&plan, &guard, verdict, &circumstances(true));
    assert_eq!(next(asks(4_999)), Next::Return);
    assert_eq!(next(asks(5_000)), Next::Retry(Duration::from_secs(5)));
}

#[test]
fn an_operator_who_forces_it_open_stops_the_retrying_too() {
    let plan = plan(|_| {});
    let guard = guard(&plan);
    let open = Override {
        id: 1,
        forced: Forced::Open,
        until: Instant::NEVER,
    };
    let forced = guard.breaker.force(&[open], Instant::ORIGIN);
    assert!(!forced.is_empty());
    let next = begin().next(&plan, &guard, FAILED, &circumstances(true));
    assert_eq!(next, Next::Return);
}

#[test]
fn after_the_servers_delay_the_backoff_goes_on_where_it_would_be() {
    let plan = plan(|rules| rules.retry.max_attempts = Some(4));
    let guard = guard(&plan);
    let hint = Some(Duration::from_millis(300));
    let mut execution = begin();
    let mut next = |verdict| execution.next(&plan, &guard, verdict, &circumstances(true));
    let half_of = |millis: u64| Next::Retry(Duration::from_millis(millis / 2));
    assert_eq!(next(FAILED), half_of(100));
    let asked = next(Verdict::Failure(Again::IfIdempotent(hint)));
    assert_eq!(asked, Next::Retry(Duration::from_millis(300)));
    assert_eq!(next(FAILED), half_of(400));
}

#[test]
fn the_servers_delay_is_bounded_by_the_deadline_and_may_be_ignored() {
    let hint = Verdict::Failure(Again::IfIdempotent(Some(Duration::from_millis(300))));
    let hurried = plan(|rules| {
        rules.timeout.attempt = Some(Duration::from_millis(10));
        rules.timeout.overall = Some(Duration::from_millis(300));
    });
    assert_eq!(first(&hurried, hint, true), Next::Return);
    let deaf = plan(|rules| rules.retry.honor_retry_after = Some(false));
    assert_eq!(
        first(&deaf, hint, true),
        Next::Retry(Duration::from_millis(50))
    );
}

#[test]
fn a_server_that_asks_for_no_delay_is_retried_at_once() {
    let hint = Verdict::Failure(Again::IfIdempotent(Some(Duration::ZERO)));
    assert_eq!(
        first(&plan(|_| {}), hint, true),
        Next::Retry(Duration::ZERO)
    );
}

#[test]
fn the_callers_own_deadline_ends_retrying_as_the_operations_does() {
    let plan = plan(|_| {});
    for (millis, next) in [
        (50, Next::Return),
        (51, Next::Retry(Duration::from_millis(50))),
    ] {
        let bound = Instant::ORIGIN + Duration::from_millis(millis);
        let mut execution = Execution::begin(Instant::ORIGIN, bound);
        assert_eq!(execution.deadline(&plan), bound);
        let circumstances = circumstances(true);
        let got = execution.next(&plan, &guard(&plan), FAILED, &circumstances);
        assert_eq!(got, next, "{millis} ms");
    }
}

fn budget(ratio: f64, min_per_second: u32) -> impl FnOnce(&mut Rules) {
    move |rules| {
        rules.retry.budget = Some(RetryBudget {
            ratio: Share::new(ratio).unwrap(),
            min_per_second,
        });
        opens_after(10_000)(rules);
    }
}

#[test]
fn of_ten_thousand_calls_that_all_fail_a_fifth_is_retried_and_the_floor() {
    let plan = plan(budget(0.2, 3));
    let guard = guard(&plan);
    let mut retries = 0;
    for call in 1..=10_000 {
        let mut execution = begin();
        let circumstances = Circumstances {
            first_attempts: call,
            ..circumstances(true)
        };
        while execution.next(&plan, &guard, FAILED, &circumstances) != Next::Return {
            retries += 1;
        }
    }
    assert_eq!(retries, 2_030);
}

#[test]
fn a_retry_that_is_not_made_for_another_reason_costs_the_budget_nothing() {
    let plan = plan(budget(1.0, 0));
    let guard = guard(&plan);
    let mut late = Execution::begin(Instant::ORIGIN, Instant::ORIGIN);
    for _ in 0..10 {
        let next = late.next(&plan, &guard, FAILED, &circumstances(true));
        assert_eq!(next, Next::Return);
        let next = begin().next(&plan, &guard, FAILED, &circumstances(false));
        assert_eq!(next, Next::Return);
    }
    let next = begin().next(&plan, &guard, FAILED, &circumstances(true));
    assert!(matches!(next, Next::Retry(_)), "the one there is");
}

#[test]
fn hedges_and_retries_come_out_of_the_same_attempts() {
    let plan = plan(|_| {});
    let guard = guard(&plan);
    let mut execution = begin();
    assert!(execution.hedge(&plan, &guard, &circumstances(true)));
    let next = execution.next(&plan, &guard, FAILED, &circumstances(true));
    assert!(matches!(next, Next::Retry(_)));
    assert!(!execution.hedge(&plan, &guard, &circumstances(true)));
    assert_eq!(execution.attempt(), 3);
}

#[test]
fn hedges_and_retries_are_paid_from_the_same_budget() {
    let plan = plan(budget(1.0, 0));
    let guard = guard(&plan);
    assert!(begin().hedge(&plan, &guard, &circumstances(true)));
    assert!(!begin().hedge(&plan, &guard, &circumstances(true)));
    let next = begin().next(&plan, &guard, FAILED, &circumstances(true));
    assert_eq!(next, Next::Return);
}

#[test]
fn what_may_not_be_repeated_is_never_hedged() {
    let plan = plan(|_| {});
    let guard = guard(&plan);
    assert!(!begin().hedge(&plan, &guard, &circumstances(false)));
}

#[test]
fn no_hedge_begins_at_the_deadline() {
    let plan = plan(|_| {});
    let guard = guard(&plan);
    let mut execution = Execution::begin(Instant::ORIGIN, Instant::ORIGIN);
    assert!(!execution.hedge(&plan, &guard, &circumstances(true)));
}

#[test]
fn hedges_are_made_only_while_the_breaker_is_closed() {
    let plan = plan(opens_after(1));
    let guard = guard(&plan);
    fail(&mut begin(), &guard, &plan, Instant::ORIGIN);
    assert!(!begin().hedge(&plan, &guard, &circumstances(true)), "open");
    let later = Circumstances {
        now: Instant::ORIGIN + Duration::from_secs(5),
        ..circumstances(true)
    };
    let probe = guard.breaker.admit(later.now).answer.unwrap();
    let execution = || Execution::begin(later.now, Instant::NEVER);
    assert!(!execution().hedge(&plan, &guard, &later), "half-open");
    let settings = &plan.breaker;
    let closed = guard
        .breaker
        .settle(probe, settings.trace(), GOOD, later.now, Lane::SHARED);
    assert!(!closed.is_empty());
    assert!(execution().hedge(&plan, &guard, &later));
}

#[test]
fn hedges_do_not_lengthen_the_sleep_before_the_first_retry() {
    let plan = plan(|rules| rules.retry.max_attempts = Some(5));
    let (guard, mut execution) = (guard(&plan), begin());
    assert!(execution.hedge(&plan, &guard, &circumstances(true)));
    assert!(execution.hedge(&plan, &guard, &circumstances(true)));
    let next = execution.next(&plan, &guard, FAILED, &circumstances(true));
    assert_eq!(next, Next::Retry(Duration::from_millis(50)));
    assert_eq!(execution.attempt(), 4);
    let next = execution.next(&plan, &guard, FAILED, &circumstances(true));
    assert_eq!(next, Next::Retry(Duration::from_millis(100)));
}

#[test]
fn whether_a_hedge_makes_sense_is_known_before_it_moves_or_takes_anything() {
    let plan = plan(|rules| {
        rules.retry.max_attempts = Some(2);
        rules.circuit_breaker.trip = Some(Trip {
            consecutive_failures: Some(1),
            ..Trip::default()
        });
    });
    let (guard, now) = (guard(&plan), Instant::ORIGIN);
    let mut execution = begin();
    assert!(execution.may_hedge(&plan, &guard, now));
    assert!(!execution.may_hedge(&plan, &guard, execution.deadline(&plan)));
    assert!(execution.hedge(&plan, &guard, &circumstances(true)));
    assert!(!execution.may_hedge(&plan, &guard, now), "two attempts");
    let permit = guard.breaker.admit(now).answer.unwrap();
    let bad = Observation::Bad {
        slow: false,
        in_run: true,
    };
    let _ = guard.breaker.settle(permit, None, bad, now, Lane::SHARED);
    let due = now + Duration::from_secs(3600);
    let execution = Execution::begin(due, Instant::NEVER);
    assert!(!execution.may_hedge(&plan, &guard, due));
    assert_eq!(guard.breaker.state_at(due).state, CircuitState::Open);
}
