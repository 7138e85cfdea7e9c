use std::time::Duration;

use super::cascade::Repair;
use super::field::Field;
use super::ratio::Ratio;
use super::rules::{RatioTrip, Rules, Trip, Window};
use super::selector::Selector;
use super::*;
use crate::glob::Glob;
use crate::key::{Kind, Labels, OperationName, Service};

pub(super) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) fn draft(name: &str) -> Draft {
    Draft {
        id: PolicyId::new("default", name).unwrap(),
        owner: String::new(),
        description: String::new(),
        priority: 0,
        selector: on("*"),
        rules: Rules::default(),
        clear: Vec::new(),
    }
}

pub(super) fn on(operation: &str) -> Selector {
    Selector::new(
        None,
        Some(Glob::new(operation).unwrap()),
        None,
        Labels::default(),
    )
    .unwrap()
}

fn attempt_of(name: &str, selector: Selector, attempt: Duration) -> Policy {
    let mut draft = Draft {
        selector,
        ..draft(name)
    };
    draft.rules.timeout.attempt = Some(attempt);
    Policy::new(draft).unwrap()
}

pub(super) fn resolve_for(
    kind: Kind,
    locals: &[(Origin, Rules)],
    policies: &[Policy],
) -> Resolution {
    let target = Target {
        service: &Service::new("checkout").unwrap(),
        operation: &OperationName::new("payments.charge").unwrap(),
        kind,
        labels: &Labels::default(),
    };
    resolve(&target, locals, policies)
}

#[test]
fn every_problem_is_reported_at_once_with_its_path() {
    let mut draft = draft("p");
    draft.rules.timeout.attempt = Some(secs(5));
    draft.rules.timeout.overall = Some(secs(2));
    draft.rules.retry.max_attempts = Some(0);
    draft.rules.circuit_breaker.open_duration = Some(Duration::ZERO);
    draft.owner = "x".repeat(5000);
    draft.clear = vec![Field::TimeoutAttempt];
    let violations = Policy::new(draft).unwrap_err();
    let fields: Vec<_> = violations.iter().map(|v| v.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "rules.timeout.attempt",
            "rules.retry.max_attempts",
            "rules.circuit_breaker.open_duration",
            "owner",
            "clear",
        ]
    );
    assert!(
        violations
            .to_string()
            .contains("must not exceed rules.timeout.overall (2s)")
    );
}

#[test]
fn with_nothing_said_the_kinds_row_holds() {
    let resolution = resolve_for(Kind::Database, &[], &[]);
    let effective = resolution.effective;
    assert_eq!(effective.attempt_timeout, secs(30));
    assert_eq!(effective.max_attempts, 3);
    assert_eq!(effective.breaker.trip.consecutive_failures, Some(3));
    assert_eq!(effective.max_delay, secs(15));
    // 3 x 30 s, and sleeps of at most 0.5 s and 1 s
    assert_eq!(
        effective.overall_timeout,
        secs(90) + Duration::from_millis(1500)
    );
    assert_eq!(effective.breaker.max_half_open, secs(60));
    assert!(
        Field::ALL
            .iter()
            .all(|&field| *resolution.origins.of(field) == Origin::Kind)
    );
}

#[test]
fn every_kinds_row_is_a_legal_whole() {
    for kind in Kind::ALL {
        let resolution = resolve_for(kind, &[], &[]);
        assert_eq!(resolution.repairs, [], "{kind}");
        assert!(resolution.effective.overall_timeout < secs(3600), "{kind}");
    }
}

#[test]
fn a_policy_beats_the_call_site_field_by_field() {
    let mut site = Rules::default();
    site.timeout.attempt = Some(secs(9));
    site.retry.max_attempts = Some(7);
    let policy = attempt_of("p", on("payments.*"), secs(2));
    let resolution = resolve_for(Kind::Api, &[(Origin::CallSite, site)], &[policy]);
    assert_eq!(resolution.effective.attempt_timeout, secs(2));
    assert_eq!(resolution.effective.max_attempts, 7);
    let policy_origin = Origin::Policy(PolicyId::new("default", "p").unwrap());
    assert_eq!(*resolution.origins.of(Field::TimeoutAttempt), policy_origin);
    assert_eq!(
        *resolution.origins.of(Field::RetryMaxAttempts),
        Origin::CallSite
    );
}

#[test]
fn a_group_is_replaced_whole() {
    let ratio = RatioTrip {
        window: Window::Span(secs(20)),
        failure_ratio: Some(Ratio::new(0.5).unwrap()),
        slow_call_ratio: None,
        minimum_calls: 5,
    };
    let mut draft = draft("p");
    draft.rules.circuit_breaker.trip = Some(Trip {
        ratio: Some(ratio),
        ..Trip::default()
    });
    let resolution = resolve_for(Kind::Api, &[], &[Policy::new(draft).unwrap()]);
    assert_eq!(resolution.effective.breaker.trip.consecutive_failures, None);
    assert_eq!(resolution.effective.breaker.trip.ratio, Some(ratio));
}

#[test]
fn priority_beats_specificity_and_the_later_name_breaks_a_tie() {
    let broad = attempt_of("broad", on("*"), secs(1));
    let exact = attempt_of("exact", on("payments.charge"), secs(2));
    let both = [exact.clone(), broad.clone()];
    assert_eq!(
        resolve_for(Kind::Api, &[], &both).effective.attempt_timeout,
        secs(2)
    );
    let urgent = Policy::new(Draft {
        priority: 1,
        ..broad.into_draft()
    })
    .unwrap();
    let both = [urgent, exact];
    assert_eq!(
        resolve_for(Kind::Api, &[], &both).effective.attempt_timeout,
        secs(1)
    );
    let tie = [
        attempt_of("b", on("*"), secs(4)),
        attempt_of("a", on("*"), secs(3)),
    ];
    assert_eq!(
        resolve_for(Kind::Api, &[], &tie).effective.attempt_timeout,
        secs(4)
    );
}

#[test]
fn clear_falls_back_to_the_kinds_default() {
    let lower = attempt_of("a", on("*"), secs(2));
    let upper = Policy::new(Draft {
        clear: vec![Field::TimeoutAttempt],
        selector: on("payments.*"),
        ..draft("b")
    });
    let resolution = resolve_for(Kind::Api, &[], &[lower, upper.unwrap()]);
    assert_eq!(resolution.effective.attempt_timeout, secs(60));
    let b = Origin::Policy(PolicyId::new("default", "b").unwrap());
    assert_eq!(*resolution.origins.of(Field::TimeoutAttempt), b);
}

#[test]
fn an_odd_merge_is_repaired_and_says_so() {
    let mut overall = draft("overall");
    overall.rules.timeout.overall = Some(secs(1));
    let policies = [
        Policy::new(overall).unwrap(),
        attempt_of("attempt", on("*"), secs(5)),
    ];
    let resolution = resolve_for(Kind::Api, &[], &policies);
    assert_eq!(resolution.effective.attempt_timeout, secs(1));
    let repair = Repair {
        field: Field::TimeoutAttempt,
        because_of: Field::TimeoutOverall,
    };
    assert_eq!(resolution.repairs, [repair]);
}

#[test]
fn a_policy_for_other_labels_or_kinds_is_passed_over() {
    let labels = Labels::new([("zone", "eu")]).unwrap();
    let zoned = Selector::new(None, None, None, labels).unwrap();
    let database = Selector::new(None, None, Some(Kind::Database), Labels::default()).unwrap();
    let policies = [
        attempt_of("z", zoned, secs(1)),
        attempt_of("d", database, secs(2)),
    ];
    assert_eq!(
        resolve_for(Kind::Api, &[], &policies)
            .effective
            .attempt_timeout,
        secs(60)
    );
}

#[test]
fn backoff_grows_to_its_cap_and_never_overflows() {
    let delay = |retry| cascade::longest_backoff(retry, secs(1), secs(30), ratio::Multiplier::TWO);
    assert_eq!([delay(1), delay(2), delay(3)], [secs(1), secs(2), secs(4)]);
    assert_eq!(delay(1000), secs(30));
    assert_eq!(delay(u32::MAX), secs(30));
}
