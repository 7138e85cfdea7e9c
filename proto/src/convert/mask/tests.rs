//! What an update replaces and what it leaves.

use std::time::Duration;

use fusebox_core::policy::ratio::Ratio;
use fusebox_core::policy::rules::{HedgeTrigger, Mode};
use proptest::prelude::*;

use super::super::policy::policy_to_wire;
use super::super::strategies::any_policy;
use super::*;

fn mask(paths: &[&str]) -> FieldMask {
    FieldMask {
        paths: paths.iter().map(ToString::to_string).collect(),
    }
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

/// Owner, description, priority, a service, two timeouts, attempts and a trip by count.
fn existing() -> Policy {
    policy_from_wire(&v1::Policy {
        name: "p".to_owned(),
        owner: "ann".to_owned(),
        description: "old".to_owned(),
        priority: 1,
        selector: Some(v1::Selector {
            service: "checkout".to_owned(),
            ..v1::Selector::default()
        }),
        rules: Some(v1::Rules {
            timeout: Some(v1::Timeout {
                attempt: seconds(1),
                overall: seconds(9),
            }),
            retry: Some(v1::Retry {
                max_attempts: Some(3),
                ..v1::Retry::default()
            }),
            circuit_breaker: Some(v1::CircuitBreaker {
                consecutive_failures: Some(3),
                ..v1::CircuitBreaker::default()
            }),
            ..v1::Rules::default()
        }),
        ..v1::Policy::default()
    })
    .unwrap()
}

fn attempt_of(attempt: Option<prost_types::Duration>) -> v1::Policy {
    v1::Policy {
        rules: Some(v1::Rules {
            timeout: Some(v1::Timeout {
                attempt,
                overall: None,
            }),
            ..v1::Rules::default()
        }),
        ..v1::Policy::default()
    }
}

fn update(incoming: &v1::Policy, paths: &[&str]) -> Policy {
    merge(Some(existing()), incoming, Some(&mask(paths))).unwrap()
}

fn complaints(incoming: &v1::Policy, paths: &[&str]) -> Vec<(String, String)> {
    let violations = merge(Some(existing()), incoming, Some(&mask(paths))).unwrap_err();
    let pair = |found: &fusebox_core::policy::Violation| (found.field.clone(), found.value.clone());
    violations.iter().map(pair).collect()
}

#[test]
fn a_path_replaces_its_field_and_nothing_else() {
    let merged = update(&attempt_of(seconds(2)), &["rules.timeout.attempt"]);
    let mut expected = existing().into_draft();
    expected.rules.timeout.attempt = Some(Duration::from_secs(2));
    assert_eq!(merged.into_draft(), expected);
}

#[test]
fn a_named_field_that_is_unset_becomes_unset() {
    let nothing = v1::Policy::default();
    let merged = update(&nothing, &["owner", "priority", "rules.timeout.attempt"]);
    assert_eq!((merged.owner(), merged.priority()), ("", 0));
    assert_eq!(merged.rules().timeout.attempt, None);
    assert_eq!(merged.description(), "old");
}

#[test]
fn a_section_is_replaced_whole() {
    let merged = update(&attempt_of(seconds(2)), &["rules.timeout"]);
    assert_eq!(merged.rules().timeout.overall, None);
    assert_eq!(merged.rules().retry.max_attempts, Some(3));
}

#[test]
fn a_member_of_a_group_replaces_the_group() {
    let incoming = v1::Policy {
        rules: Some(v1::Rules {
            circuit_breaker: Some(v1::CircuitBreaker {
                window: Some(v1::Window {
                    shape: seconds(10).map(v1::window::Shape::Span),
                }),
                failure_ratio: Some(0.5),
                ..v1::CircuitBreaker::default()
            }),
            ..v1::Rules::default()
        }),
        ..v1::Policy::default()
    };
    let merged = update(&incoming, &["rules.circuit_breaker.failure_ratio"]);
    let trip = merged.rules().circuit_breaker.trip.unwrap();
    assert_eq!(trip.consecutive_failures, None);
    assert!(trip.ratio.is_some());
}

#[test]
fn a_mode_is_a_field_of_its_own_so_that_what_was_tried_out_can_be_put_in_force() {
    let moded = |mode: v1::Mode, max_concurrent| v1::Policy {
        rules: Some(v1::Rules {
            bulkhead: Some(v1::Bulkhead {
                max_concurrent,
                mode: mode.into(),
                ..v1::Bulkhead::default()
            }),
            ..v1::Rules::default()
        }),
        ..v1::Policy::default()
    };
    let tried = update(&moded(v1::Mode::Shadow, Some(5)), &["rules.bulkhead"]);
    let enforce = moded(v1::Mode::Enforce, None);
    let merged = merge(
        Some(tried.clone()),
        &enforce,
        Some(&mask(&["rules.bulkhead.mode"])),
    );
    let mut expected = tried.into_draft();
    assert_eq!(expected.rules.bulkhead.mode, Some(Mode::Shadow));
    expected.rules.bulkhead.mode = Some(Mode::Enforce);
    assert_eq!(merged.unwrap().into_draft(), expected);
}

#[test]
fn one_trigger_of_a_hedge_replaces_the_other() {
    let hedge = |trigger| v1::Policy {
        rules: Some(v1::Rules {
            hedge: Some(v1::Hedge {
                trigger: Some(trigger),
                max_hedges: None,
            }),
            ..v1::Rules::default()
        }),
        ..v1::Policy::default()
    };
    let delay = hedge(v1::hedge::Trigger::Delay(seconds(1).unwrap()));
    let before = update(&delay, &["rules.hedge"]);
    let after = hedge(v1::hedge::Trigger::Percentile(0.95));
    let after = merge(
        Some(before),
        &after,
        Some(&mask(&["rules.hedge.percentile"])),
    )
    .unwrap();
    let trigger = HedgeTrigger::Percentile(Ratio::new(0.95).unwrap());
    assert_eq!(after.rules().hedge.plan.unwrap().trigger, trigger);
}

#[test]
fn without_a_mask_all_that_is_set_is_replaced_and_rules_whole() {
    let incoming = v1::Policy {
        description: "new".to_owned(),
        ..attempt_of(seconds(2))
    };
    for absent in [None, Some(mask(&[]))] {
        let merged = merge(Some(existing()), &incoming, absent.as_ref()).unwrap();
        assert_eq!((merged.owner(), merged.description()), ("ann", "new"));
        assert_eq!(merged.selector(), existing().selector());
        assert_eq!(merged.rules().timeout.overall, None);
        assert_eq!(merged.rules().retry.max_attempts, None);
    }
}

#[test]
fn what_the_mask_leaves_out_is_not_looked_at() {
    let nonsense = v1::Policy {
        owner: "bob".to_owned(),
        selector: Some(v1::Selector {
            kind: 99,
            ..v1::Selector::default()
        }),
        clear: Some(mask(&["nothing"])),
        ..attempt_of(seconds(-1))
    };
    assert_eq!(update(&nonsense, &["owner"]).owner(), "bob");
    assert_eq!(update(&nonsense, &["rules.retry"]).owner(), "ann");
}

#[test]
fn what_is_replaced_must_be_legal_by_itself_and_with_what_stays() {
    let path = "rules.timeout.attempt";
    for (attempt, value) in [(-1, "-1 s, 0 ns"), (10, "10s")] {
        let found = complaints(&attempt_of(seconds(attempt)), &[path]);
        assert_eq!(found, [(path.to_owned(), value.to_owned())]);
    }
    let found = complaints(&v1::Policy::default(), &["selector"]);
    assert_eq!(found, [("selector".to_owned(), "empty".to_owned())]);
}

#[test]
fn a_problem_deep_within_a_group_is_told_for_any_of_its_members() {
    let incoming = v1::Policy {
        rules: Some(v1::Rules {
            circuit_breaker: Some(v1::CircuitBreaker {
                window: Some(v1::Window {
                    shape: seconds(-1).map(v1::window::Shape::Span),
                }),
                failure_ratio: Some(0.5),
                ..v1::CircuitBreaker::default()
            }),
            ..v1::Rules::default()
        }),
        ..v1::Policy::default()
    };
    let found = complaints(&incoming, &["rules.circuit_breaker.minimum_calls"]);
    assert_eq!(found[0].0, "rules.circuit_breaker.window.span");
}

#[test]
fn a_path_that_may_not_be_named_is_told_with_every_other_problem() {
    let paths = [
        "",
        "nothing",
        "name",
        "namespace",
        "revision",
        "etag",
        "create_time",
        "update_time.seconds",
        "updated_by",
        "schema",
        "selector.service",
        "rules.",
        "rules.timeouts",
        "rules.circuit_breaker.window.span",
        "rules.retry.budget.ratio",
        "timeout.attempt",
    ];
    let mut with_field = paths.to_vec();
    with_field.push("rules.timeout.attempt");
    let found = complaints(&attempt_of(seconds(-1)), &with_field);
    let of_mask = paths.map(|path| ("update_mask".to_owned(), path.to_owned()));
    assert_eq!(found[..paths.len()], of_mask);
    assert_eq!(found[paths.len()].0, "rules.timeout.attempt");
}

#[test]
fn a_mask_beyond_its_bound_is_one_problem() {
    let found = complaints(&v1::Policy::default(), &["x"; 65]);
    assert_eq!(found, [("update_mask".to_owned(), "65 paths".to_owned())]);
}

#[test]
fn what_does_not_exist_yet_is_created_whole_whatever_the_mask() {
    let incoming = policy_to_wire(&existing());
    let created = merge(None, &incoming, Some(&mask(&["owner"]))).unwrap();
    assert_eq!(created, existing());
    assert!(merge(None, &incoming, Some(&mask(&["name"]))).is_err());
}

proptest! {
    #[test]
    fn a_star_replaces_all_but_the_identity(before in any_policy(), after in any_policy()) {
        let id = before.id().clone();
        let merged = merge(Some(before), &policy_to_wire(&after), Some(&mask(&["*"]))).unwrap();
        let mut expected = after.into_draft();
        expected.id = id;
        prop_assert_eq!(merged.into_draft(), expected);
    }

    #[test]
    fn a_policy_given_back_changes_nothing(policy in any_policy()) {
        let wire = policy_to_wire(&policy);
        prop_assert_eq!(merge(Some(policy.clone()), &wire, None), Ok(policy));
    }
}
