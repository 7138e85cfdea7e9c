//! What becomes of a written policy.

use std::collections::BTreeMap;

use fusebox_core::policy::rules::{DEFAULT_MINIMUM_CALLS, HalfOpen};
use proptest::prelude::*;
use prost::Message;

use super::super::strategies::{any_policy, any_stored};
use super::*;

const SECOND: prost_types::Duration = prost_types::Duration {
    seconds: 1,
    nanos: 0,
};
const NEGATIVE: prost_types::Duration = prost_types::Duration {
    seconds: -1,
    nanos: 0,
};

fn named(name: &str) -> v1::Policy {
    v1::Policy {
        name: name.to_owned(),
        selector: Some(v1::Selector {
            operation: "*".to_owned(),
            ..v1::Selector::default()
        }),
        ..v1::Policy::default()
    }
}

fn with_breaker(breaker: v1::CircuitBreaker) -> v1::Policy {
    v1::Policy {
        rules: Some(v1::Rules {
            circuit_breaker: Some(breaker),
            ..v1::Rules::default()
        }),
        ..named("p")
    }
}

fn span(span: prost_types::Duration) -> Option<v1::Window> {
    Some(v1::Window {
        shape: Some(v1::window::Shape::Span(span)),
    })
}

fn clearing(paths: &[&str]) -> v1::Policy {
    v1::Policy {
        clear: Some(FieldMask {
            paths: paths.iter().map(ToString::to_string).collect(),
        }),
        ..named("p")
    }
}

/// The fields complained of, sorted.
fn complaints(wire: &v1::Policy) -> Vec<String> {
    let violations = policy_from_wire(wire).err().unwrap_or_default();
    let mut fields: Vec<_> = violations.iter().map(|found| found.field.clone()).collect();
    fields.sort();
    fields
}

#[test]
fn every_problem_is_told_at_once_and_none_hides_another() {
    let wire = v1::Policy {
        namespace: "Upper".to_owned(),
        name: "../etc".to_owned(),
        owner: "x".repeat(5000),
        selector: Some(v1::Selector {
            service: "a b".to_owned(),
            operation: "ä*".to_owned(),
            kind: 99,
            instance_labels: BTreeMap::from([("zo ne".to_owned(), String::new())]),
        }),
        rules: Some(v1::Rules {
            timeout: Some(v1::Timeout {
                attempt: Some(NEGATIVE),
                overall: Some(prost_types::Duration {
                    seconds: 0,
                    nanos: 2_000_000_000,
                }),
            }),
            retry: Some(v1::Retry {
                max_attempts: Some(0),
                base_delay: Some(NEGATIVE),
                max_delay: Some(prost_types::Duration::default()),
                multiplier: Some(f64::NAN),
            }),
            circuit_breaker: Some(v1::CircuitBreaker {
                consecutive_failures: Some(0),
                window: span(prost_types::Duration {
                    seconds: i64::MAX,
                    nanos: 0,
                }),
                failure_ratio: Some(1.5),
                minimum_calls: Some(0),
                open_duration: Some(NEGATIVE),
                half_open_permits: Some(0),
                max_half_open: Some(NEGATIVE),
            }),
            enabled: None,
        }),
        clear: Some(FieldMask {
            paths: vec!["bulkhead".to_owned()],
        }),
        ..v1::Policy::default()
    };
    assert_eq!(
        complaints(&wire),
        [
            "clear",
            "name",
            "namespace",
            "owner",
            "rules.circuit_breaker.consecutive_failures",
            "rules.circuit_breaker.failure_ratio",
            "rules.circuit_breaker.half_open_permits",
            "rules.circuit_breaker.max_half_open",
            "rules.circuit_breaker.minimum_calls",
            "rules.circuit_breaker.open_duration",
            "rules.circuit_breaker.window.span",
            "rules.retry.base_delay",
            "rules.retry.max_attempts",
            "rules.retry.max_delay",
            "rules.retry.multiplier",
            "rules.timeout.attempt",
            "rules.timeout.overall",
            "selector.instance_labels",
            "selector.instance_labels.zo ne",
            "selector.kind",
            "selector.operation",
            "selector.service",
        ]
    );
}

#[test]
fn an_empty_policy_lacks_a_name_and_a_condition() {
    assert_eq!(complaints(&v1::Policy::default()), ["name", "selector"]);
    let empty = v1::Policy {
        selector: Some(v1::Selector::default()),
        ..named("p")
    };
    assert_eq!(complaints(&empty), ["selector"]);
}

#[test]
fn without_a_namespace_it_is_the_default_one() {
    let policy = policy_from_wire(&named("p")).unwrap();
    assert_eq!(policy.id().to_string(), "default/p");
    let id = policy_id_from_wire("", "p").unwrap();
    assert_eq!(&id, policy.id());
    assert_eq!(policy_id_from_wire("A", "").unwrap_err().iter().count(), 2);
}

#[test]
fn of_window_ratio_and_minimum_none_stands_where_it_means_nothing() {
    let (window, ratio, minimum) = (span(SECOND), Some(0.5), Some(5));
    let shapeless = Some(v1::Window { shape: None });
    let (window_path, ratio_path) = (
        "rules.circuit_breaker.window",
        "rules.circuit_breaker.failure_ratio",
    );
    let minimum_path = "rules.circuit_breaker.minimum_calls";
    for (window, failure_ratio, minimum_calls, complaints_expected) in [
        (None, None, None, vec![]),
        (window, ratio, None, vec![]),
        (window, ratio, minimum, vec![]),
        (window, None, None, vec![window_path]),
        (window, None, minimum, vec![window_path]),
        (None, ratio, None, vec![ratio_path]),
        (None, None, minimum, vec![minimum_path]),
        (None, ratio, minimum, vec![ratio_path, minimum_path]),
        (shapeless, ratio, None, vec![window_path]),
    ] {
        let wire = with_breaker(v1::CircuitBreaker {
            window,
            failure_ratio,
            minimum_calls,
            ..v1::CircuitBreaker::default()
        });
        assert_eq!(complaints(&wire), complaints_expected, "{wire:?}");
    }
}

#[test]
fn only_a_true_share_is_a_failure_ratio() {
    for ratio in [0.0, -0.5, 1.01, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let wire = with_breaker(v1::CircuitBreaker {
            window: span(SECOND),
            failure_ratio: Some(ratio),
            ..v1::CircuitBreaker::default()
        });
        let expected = ["rules.circuit_breaker.failure_ratio"];
        assert_eq!(complaints(&wire), expected, "{ratio}");
    }
}

#[test]
fn a_group_without_a_word_is_inherited() {
    let wire = with_breaker(v1::CircuitBreaker::default());
    let policy = policy_from_wire(&wire).unwrap();
    assert!(policy.rules().is_empty());
}

#[test]
fn what_a_group_leaves_out_has_its_default() {
    let wire = with_breaker(v1::CircuitBreaker {
        window: span(SECOND),
        failure_ratio: Some(0.5),
        max_half_open: Some(SECOND),
        ..v1::CircuitBreaker::default()
    });
    let policy = policy_from_wire(&wire).unwrap();
    let breaker = &policy.rules().circuit_breaker;
    let ratio = breaker.trip.unwrap().ratio.unwrap();
    assert_eq!(ratio.minimum_calls, DEFAULT_MINIMUM_CALLS);
    let half_open = HalfOpen {
        permits: 1,
        max: Some(std::time::Duration::from_secs(1)),
    };
    assert_eq!(breaker.half_open, Some(half_open));
}

#[test]
fn clear_names_fields_groups_and_sections_each_field_once() {
    let cleared = |paths: &[&str]| {
        let policy = policy_from_wire(&clearing(paths)).unwrap();
        policy.clear().to_vec()
    };
    let timeouts = [Field::TimeoutAttempt, Field::TimeoutOverall];
    assert_eq!(cleared(&["timeout"]), timeouts);
    assert_eq!(cleared(&["timeout.attempt", "timeout"]), timeouts);
    let members = [
        "circuit_breaker.window",
        "circuit_breaker.consecutive_failures",
    ];
    assert_eq!(cleared(&members), [Field::BreakerTrip]);
}

#[test]
fn clear_names_nothing_but_fields_of_the_rules() {
    let unknown = ["", "timeouts", "rules.timeout", "owner", "timeout.attempt."];
    assert_eq!(complaints(&clearing(&unknown)), ["clear"; 5]);
    assert_eq!(complaints(&clearing(&["x"; MAX_PATHS + 1])), ["clear"]);
}

#[test]
fn clearing_what_the_rules_set_is_refused() {
    let wire = v1::Policy {
        rules: Some(v1::Rules {
            enabled: Some(false),
            ..v1::Rules::default()
        }),
        ..clearing(&["enabled"])
    };
    assert_eq!(complaints(&wire), ["clear"]);
}

#[test]
fn a_refused_text_is_not_told_back_at_length() {
    let violations = policy_from_wire(&named(&"ä".repeat(1_000_000))).unwrap_err();
    assert!(violations.to_string().len() < 300, "{violations}");
}

#[test]
fn too_many_labels_are_one_problem() {
    let labels = (0..1000).map(|i| (format!("l {i}"), String::new()));
    let mut wire = named("p");
    wire.selector.as_mut().unwrap().instance_labels = labels.collect();
    assert_eq!(complaints(&wire), ["selector.instance_labels"]);
}

#[test]
fn what_is_output_only_is_passed_over_in_what_an_operator_writes() {
    let wire = v1::Policy {
        revision: 7,
        etag: "x".to_owned(),
        schema: 1000,
        ..named("p")
    };
    assert!(policy_from_wire(&wire).is_ok());
}

#[test]
fn a_stored_policy_of_a_newer_schema_is_refused() {
    let wire = v1::Policy {
        schema: SCHEMA + 1,
        ..named("p")
    };
    let violations = stored_from_wire(&wire).unwrap_err();
    assert_eq!(violations.iter().next().unwrap().field, "schema");
}

#[test]
fn a_stored_policy_tells_what_its_store_knows() {
    let wire = v1::Policy {
        revision: 7,
        updated_by: "ann".to_owned(),
        ..named("p")
    };
    let wire = stored_to_wire(&stored_from_wire(&wire).unwrap());
    assert_eq!((wire.revision, wire.schema), (7, 1));
    assert_eq!((&*wire.etag, &*wire.updated_by), ("7", "ann"));
}

proptest! {
    #[test]
    fn a_policy_survives_the_wire(policy in any_policy()) {
        let bytes = policy_to_wire(&policy).encode_to_vec();
        let wire = v1::Policy::decode(&*bytes).unwrap();
        prop_assert_eq!(policy_from_wire(&wire), Ok(policy));
    }

    #[test]
    fn a_stored_policy_survives_the_wire(stored in any_stored()) {
        let wire = stored_to_wire(&stored);
        prop_assert_eq!(stored_from_wire(&wire), Ok(stored));
    }

    #[test]
    fn equal_policies_have_equal_bytes(policy in any_policy()) {
        let bytes = policy_to_wire(&policy).encode_to_vec();
        let again = policy_from_wire(&v1::Policy::decode(&*bytes).unwrap()).unwrap();
        prop_assert_eq!(policy_to_wire(&again).encode_to_vec(), bytes);
    }

    #[test]
    fn no_bytes_make_a_conversion_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(wire) = v1::Policy::decode(&*bytes) {
            let _ = stored_from_wire(&wire);
        }
    }
}
