//! What becomes of a written policy.

use std::collections::BTreeMap;
use std::time::Duration;

use fusebox_core::policy::defaults;
use fusebox_core::policy::ratio::Share;
use fusebox_core::policy::rules::{BulkheadLimit, HalfOpen, Mode, Quota, Rules, Window};
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

fn with(rules: v1::Rules) -> v1::Policy {
    v1::Policy {
        rules: Some(rules),
        ..named("p")
    }
}

fn with_breaker(breaker: v1::CircuitBreaker) -> v1::Policy {
    with(v1::Rules {
        circuit_breaker: Some(breaker),
        ..v1::Rules::default()
    })
}

fn with_bulkhead(bulkhead: v1::Bulkhead) -> v1::Policy {
    with(v1::Rules {
        bulkhead: Some(bulkhead),
        ..v1::Rules::default()
    })
}

fn with_rate_limit(rate_limit: v1::RateLimit) -> v1::Policy {
    with(v1::Rules {
        rate_limit: Some(rate_limit),
        ..v1::Rules::default()
    })
}

fn with_concurrency_limit(concurrency_limit: v1::ConcurrencyLimit) -> v1::Policy {
    with(v1::Rules {
        concurrency_limit: Some(concurrency_limit),
        ..v1::Rules::default()
    })
}

fn with_hedge(hedge: v1::Hedge) -> v1::Policy {
    with(v1::Rules {
        hedge: Some(hedge),
        ..v1::Rules::default()
    })
}

fn with_budget(budget: v1::RetryBudget) -> v1::Policy {
    with(v1::Rules {
        retry: Some(v1::Retry {
            budget: Some(budget),
            ..v1::Retry::default()
        }),
        ..v1::Rules::default()
    })
}

fn rules_of(wire: &v1::Policy) -> Rules {
    policy_from_wire(wire).unwrap().rules().clone()
}

fn span(span: prost_types::Duration) -> Option<v1::Window> {
    Some(v1::Window {
        shape: Some(v1::window::Shape::Span(span)),
    })
}

fn size(size: u32) -> Option<v1::Window> {
    Some(v1::Window {
        shape: Some(v1::window::Shape::Size(size)),
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
                jitter: 99,
                budget: Some(v1::RetryBudget {
                    ratio: Some(-0.1),
                    min_per_second: Some(u32::MAX),
                }),
                honor_retry_after: None,
            }),
            circuit_breaker: Some(v1::CircuitBreaker {
                consecutive_failures: Some(0),
                window: span(prost_types::Duration {
                    seconds: i64::MAX,
                    nanos: 0,
                }),
                failure_ratio: Some(1.5),
                minimum_calls: Some(0),
                slow_call_ratio: Some(0.0),
                slow_call_threshold: Some(NEGATIVE),
                open_duration: Some(NEGATIVE),
                open_multiplier: Some(0.5),
                max_open_duration: Some(NEGATIVE),
                open_jitter: Some(2.0),
                half_open_permits: Some(1),
                half_open_successes: Some(2),
                max_half_open: Some(NEGATIVE),
                recovery_ramp: Some(NEGATIVE),
                mode: 99,
            }),
            bulkhead: Some(v1::Bulkhead {
                max_concurrent: Some(0),
                max_queue: Some(u32::MAX),
                max_wait: Some(NEGATIVE),
                mode: -1,
            }),
            rate_limit: Some(v1::RateLimit {
                permits: Some(0),
                per: Some(NEGATIVE),
                burst: Some(0),
                max_wait: Some(NEGATIVE),
                mode: 3,
            }),
            concurrency_limit: Some(v1::ConcurrencyLimit {
                min: Some(0),
                max: Some(u32::MAX),
                mode: i32::MAX,
            }),
            hedge: Some(v1::Hedge {
                trigger: Some(v1::hedge::Trigger::Percentile(1.0)),
                max_hedges: Some(0),
            }),
            enabled: None,
        }),
        clear: Some(FieldMask {
            paths: vec!["fleet".to_owned()],
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
            "rules.bulkhead.max_concurrent",
            "rules.bulkhead.max_queue",
            "rules.bulkhead.max_wait",
            "rules.bulkhead.mode",
            "rules.circuit_breaker.consecutive_failures",
            "rules.circuit_breaker.failure_ratio",
            "rules.circuit_breaker.half_open_successes",
            "rules.circuit_breaker.max_half_open",
            "rules.circuit_breaker.max_open_duration",
            "rules.circuit_breaker.minimum_calls",
            "rules.circuit_breaker.mode",
            "rules.circuit_breaker.open_duration",
            "rules.circuit_breaker.open_jitter",
            "rules.circuit_breaker.open_multiplier",
            "rules.circuit_breaker.recovery_ramp",
            "rules.circuit_breaker.slow_call_ratio",
            "rules.circuit_breaker.slow_call_threshold",
            "rules.circuit_breaker.window.span",
            "rules.concurrency_limit.max",
            "rules.concurrency_limit.min",
            "rules.concurrency_limit.mode",
            "rules.hedge.max_hedges",
            "rules.hedge.percentile",
            "rules.rate_limit.burst",
            "rules.rate_limit.max_wait",
            "rules.rate_limit.mode",
            "rules.rate_limit.per",
            "rules.rate_limit.permits",
            "rules.retry.base_delay",
            "rules.retry.budget.min_per_second",
            "rules.retry.budget.ratio",
            "rules.retry.jitter",
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
    for (window, ratio, minimum_calls, complaints_expected) in [
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
        let failed = with_breaker(v1::CircuitBreaker {
            window,
            failure_ratio: ratio,
            minimum_calls,
            ..v1::CircuitBreaker::default()
        });
        assert_eq!(complaints(&failed), complaints_expected, "{failed:?}");
        let slow = with_breaker(v1::CircuitBreaker {
            window,
            slow_call_ratio: ratio,
            slow_call_threshold: Some(SECOND),
            minimum_calls,
            ..v1::CircuitBreaker::default()
        });
        let expected = complaints_expected.into_iter();
        let mut expected: Vec<_> = expected
            .map(|path| path.replace("failure_ratio", "slow_call_ratio"))
            .collect();
        expected.sort();
        assert_eq!(complaints(&slow), expected, "{slow:?}");
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
    assert_eq!(ratio.minimum_calls, defaults::MINIMUM_CALLS);
    let half_open = HalfOpen {
        permits: 1,
        successes: None,
        max: Some(Duration::from_secs(1)),
    };
    assert_eq!(breaker.half_open, Some(half_open));
    let successes = with_breaker(v1::CircuitBreaker {
        half_open_successes: Some(1),
        ..v1::CircuitBreaker::default()
    });
    let half_open = HalfOpen {
        permits: 1,
        successes: Some(1),
        max: None,
    };
    let breaker = rules_of(&successes).circuit_breaker;
    assert_eq!(breaker.half_open, Some(half_open));
}

#[test]
fn a_counted_window_of_few_calls_is_judged_when_it_is_full() {
    let wire = with_breaker(v1::CircuitBreaker {
        window: size(7),
        failure_ratio: Some(0.5),
        ..v1::CircuitBreaker::default()
    });
    let ratio = rules_of(&wire).circuit_breaker.trip.unwrap().ratio.unwrap();
    assert_eq!((ratio.window, ratio.minimum_calls), (Window::Calls(7), 7));
    let empty = with_breaker(v1::CircuitBreaker {
        window: size(0),
        failure_ratio: Some(0.5),
        ..v1::CircuitBreaker::default()
    });
    assert_eq!(complaints(&empty), ["rules.circuit_breaker.window.size"]);
}

#[test]
fn a_budget_that_says_half_has_the_other_half_of_the_default_and_one_that_says_nothing_is_none() {
    let budget = |ratio, min_per_second| {
        let wire = with_budget(v1::RetryBudget {
            ratio,
            min_per_second,
        });
        let budget = rules_of(&wire).retry.budget;
        budget.map(|budget| (budget.ratio, budget.min_per_second))
    };
    assert_eq!(budget(None, None), None);
    assert_eq!(budget(Some(0.0), None), Some((Share::ZERO, 3)));
    assert_eq!(budget(None, Some(0)), Some((Share::FIFTH, 0)));
}

#[test]
fn what_a_limit_leaves_out_is_no_queue_no_wait_and_a_burst_of_all_its_permits() {
    let bulkhead = with_bulkhead(v1::Bulkhead {
        max_concurrent: Some(5),
        ..v1::Bulkhead::default()
    });
    let limit = BulkheadLimit {
        max_concurrent: 5,
        max_queue: 0,
        max_wait: Duration::ZERO,
    };
    assert_eq!(rules_of(&bulkhead).bulkhead.limit, Some(limit));
    let rate_limit = with_rate_limit(v1::RateLimit {
        permits: Some(5),
        per: Some(SECOND),
        ..v1::RateLimit::default()
    });
    let quota = Quota {
        permits: 5,
        per: Duration::from_secs(1),
        burst: 5,
        max_wait: Duration::ZERO,
    };
    assert_eq!(rules_of(&rate_limit).rate_limit.quota, Some(quota));
}

#[test]
fn a_hedge_that_does_not_say_how_often_is_one() {
    let wire = with_hedge(v1::Hedge {
        trigger: Some(v1::hedge::Trigger::Percentile(0.95)),
        max_hedges: None,
    });
    assert_eq!(rules_of(&wire).hedge.plan.unwrap().max_hedges, 1);
}

#[test]
fn a_section_that_only_says_its_mode_leaves_the_rest_inherited() {
    let wire = with_bulkhead(v1::Bulkhead {
        mode: v1::Mode::Shadow.into(),
        ..v1::Bulkhead::default()
    });
    let bulkhead = rules_of(&wire).bulkhead;
    assert_eq!((bulkhead.limit, bulkhead.mode), (None, Some(Mode::Shadow)));
}

#[test]
fn a_member_without_those_that_its_group_needs_is_told_what_they_are() {
    let one = Some(1);
    let bulkhead = |max_queue, max_wait| {
        with_bulkhead(v1::Bulkhead {
            max_queue,
            max_wait,
            ..v1::Bulkhead::default()
        })
    };
    let rate = |permits, per, burst, max_wait| {
        with_rate_limit(v1::RateLimit {
            permits,
            per,
            burst,
            max_wait,
            mode: 0,
        })
    };
    let bounds = |min, max| with_concurrency_limit(v1::ConcurrencyLimit { min, max, mode: 0 });
    let hedges = with_hedge(v1::Hedge {
        trigger: None,
        max_hedges: one,
    });
    let slow = with_breaker(v1::CircuitBreaker {
        window: span(SECOND),
        slow_call_ratio: Some(0.5),
        ..v1::CircuitBreaker::default()
    });
    for (wire, expected) in [
        (
            bulkhead(one, None),
            vec!["bulkhead.max_queue (1) needs bulkhead.max_concurrent"],
        ),
        (
            bulkhead(None, Some(SECOND)),
            vec!["bulkhead.max_wait (1s) needs bulkhead.max_concurrent"],
        ),
        (
            rate(one, None, None, None),
            vec!["rate_limit.permits (1) needs rate_limit.per"],
        ),
        (
            rate(None, Some(SECOND), one, Some(SECOND)),
            vec![
                "rate_limit.per (1s) needs rate_limit.permits",
                "rate_limit.burst (1) needs rate_limit.permits",
                "rate_limit.max_wait (1s) needs rate_limit.permits",
            ],
        ),
        (
            bounds(one, None),
            vec!["concurrency_limit.min (1) needs concurrency_limit.max"],
        ),
        (
            bounds(None, one),
            vec!["concurrency_limit.max (1) needs concurrency_limit.min"],
        ),
        (
            hedges,
            vec!["hedge.max_hedges (1) needs hedge.delay or hedge.percentile"],
        ),
        (
            slow,
            vec!["circuit_breaker.slow_call_ratio (set) needs circuit_breaker.slow_call_threshold"],
        ),
    ] {
        let violations = policy_from_wire(&wire).unwrap_err();
        let needs = violations.iter().map(|found| {
            let bound = found.bound.strip_suffix(" beside it").unwrap();
            format!("{} ({}) {bound}", found.field, found.value).replace("rules.", "")
        });
        assert_eq!(needs.collect::<Vec<_>>(), expected, "{wire:?}");
    }
}

#[test]
fn a_member_without_those_that_its_group_needs_is_held_to_its_bound_all_the_same() {
    let most = Some(u32::MAX);
    let bulkhead = with_bulkhead(v1::Bulkhead {
        max_queue: most,
        ..v1::Bulkhead::default()
    });
    assert_eq!(complaints(&bulkhead), ["rules.bulkhead.max_queue"; 2]);
    let rate_limit = with_rate_limit(v1::RateLimit {
        permits: most,
        ..v1::RateLimit::default()
    });
    assert_eq!(complaints(&rate_limit), ["rules.rate_limit.permits"; 2]);
    for (min, max, field) in [
        (most, None, "rules.concurrency_limit.min"),
        (None, most, "rules.concurrency_limit.max"),
    ] {
        let wire = with_concurrency_limit(v1::ConcurrencyLimit { min, max, mode: 0 });
        assert_eq!(complaints(&wire), [field; 2]);
    }
    let hedge = with_hedge(v1::Hedge {
        trigger: None,
        max_hedges: most,
    });
    assert_eq!(complaints(&hedge), ["rules.hedge.max_hedges"; 2]);
    let minimum = with_breaker(v1::CircuitBreaker {
        minimum_calls: most,
        ..v1::CircuitBreaker::default()
    });
    assert_eq!(
        complaints(&minimum),
        ["rules.circuit_breaker.minimum_calls"; 2]
    );
}

#[test]
fn a_percentile_is_a_fraction_and_its_refusal_says_so() {
    for percentile in [0.0, 1.0, 95.0, -0.5, f64::NAN] {
        let wire = with_hedge(v1::Hedge {
            trigger: Some(v1::hedge::Trigger::Percentile(percentile)),
            max_hedges: None,
        });
        let violations = policy_from_wire(&wire).unwrap_err();
        let found: Vec<_> = violations.iter().collect();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].field, "rules.hedge.percentile");
        assert_eq!(found[0].bound, "must be at least 0.0001 and at most 0.9999");
    }
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
fn clear_of_a_section_leaves_its_mode_alone_and_to_name_the_mode_is_refused() {
    let mut wire = clearing(&["bulkhead"]);
    wire.rules = with_bulkhead(v1::Bulkhead {
        mode: v1::Mode::Shadow.into(),
        ..v1::Bulkhead::default()
    })
    .rules;
    let policy = policy_from_wire(&wire).unwrap();
    assert_eq!(policy.clear(), [Field::BulkheadLimit]);
    assert_eq!(complaints(&clearing(&["bulkhead.mode"])), ["clear"]);
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

/// The message as an SDK reads it that knows only the first schema.
fn as_schema_1_reads(mut wire: v1::Policy) -> v1::Policy {
    if let Some(rules) = &mut wire.rules {
        (rules.bulkhead, rules.rate_limit) = (None, None);
        (rules.concurrency_limit, rules.hedge) = (None, None);
        if let Some(retry) = &mut rules.retry {
            (retry.jitter, retry.budget, retry.honor_retry_after) = (0, None, None);
        }
        if let Some(breaker) = &mut rules.circuit_breaker {
            *breaker = v1::CircuitBreaker {
                window: breaker.window.map(|window| v1::Window {
                    shape: window
                        .shape
                        .filter(|shape| matches!(shape, v1::window::Shape::Span(_))),
                }),
                slow_call_ratio: None,
                slow_call_threshold: None,
                open_multiplier: None,
                max_open_duration: None,
                open_jitter: None,
                half_open_successes: None,
                recovery_ramp: None,
                mode: 0,
                ..*breaker
            };
        }
    }
    let known = |path: &String| {
        let fields = Field::named(path);
        fields
            .iter()
            .all(|field| field.schema(&Rules::default()) == 1)
    };
    if let Some(clear) = &mut wire.clear {
        clear.paths.retain(known);
    }
    wire
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

    /// What an SDK would not read, it must be told of by the number. One field alone, so that no
    /// other's number hides it.
    #[test]
    fn a_policy_carries_the_first_schema_only_if_an_sdk_of_that_schema_reads_all_of_it(
        policy in any_policy(),
        field in proptest::sample::select(Field::ALL),
    ) {
        let mut draft = policy.into_draft();
        let all = std::mem::take(&mut draft.rules);
        field.copy(&all, &mut draft.rules);
        draft.clear.retain(|cleared| *cleared == field);
        let wire = policy_to_wire(&Policy::new(draft).unwrap());
        prop_assert_eq!(wire.schema == 1, as_schema_1_reads(wire.clone()) == wire, "{:?}", wire);
    }

    #[test]
    fn no_bytes_make_a_conversion_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(wire) = v1::Policy::decode(&*bytes) {
            let _ = stored_from_wire(&wire);
        }
    }
}
