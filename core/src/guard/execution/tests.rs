use super::*;
use crate::guard::breaker::Observation;
use crate::guard::fixtures;
use crate::lane::Lane;
use crate::policy::rules::{Rules, Trip};

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
    let permit = guard.breaker.admit(settings, now).answer.unwrap();
    let bad = Observation::Bad {
        slow: false,
        in_run: true,
    };
    let opened = guard
        .breaker
        .settle(permit, settings, bad, now, Lane::SHARED);
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
