//! Writes that are wrong: each is refused in words that help, and nothing is stored.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use fusebox_tests::grpcurl::CallError;
use fusebox_tests::operator::{assert_unharmed, revision};
use fusebox_tests::server::{Options, Server};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tonic::Code;

fn policy(rules: &Value) -> Value {
    json!({"name": "payments", "selector": {"operation": "payments.*"}, "rules": rules})
}

/// The paths that a refusal names.
fn fields(error: &CallError) -> BTreeSet<String> {
    assert_eq!(
        error.code(),
        Some(Code::InvalidArgument),
        "{}",
        error.stderr
    );
    error.fields()
}

fn set(paths: &[&str]) -> BTreeSet<String> {
    paths.iter().map(ToString::to_string).collect()
}

/// Wrong wherever it can be.
fn all_wrong(name: &str) -> Value {
    json!({
        "name": name,
        "selector": {},
        "rules": {
            "timeout": {"attempt": "0s", "overall": "-1s"},
            "retry": {"maxAttempts": 0, "baseDelay": "5s", "maxDelay": "1s", "multiplier": 11},
            "circuitBreaker": {
                "window": {"span": "0.5s"}, "failureRatio": 1.5, "minimumCalls": 0,
                "openDuration": "90000s", "halfOpenPermits": 0, "maxHalfOpen": "0s",
            },
        },
        "clear": {"paths": ["nothing"]},
    })
}

const ALL_WRONG: [&str; 13] = [
    "selector",
    "rules.timeout.attempt",
    "rules.timeout.overall",
    "rules.retry.max_attempts",
    "rules.retry.base_delay",
    "rules.retry.multiplier",
    "rules.circuit_breaker.window.span",
    "rules.circuit_breaker.failure_ratio",
    "rules.circuit_breaker.minimum_calls",
    "rules.circuit_breaker.open_duration",
    "rules.circuit_breaker.half_open_permits",
    "rules.circuit_breaker.max_half_open",
    "clear",
];

#[test]
fn whoever_creates_is_told_every_field_that_is_wrong_at_once_and_nothing_is_stored() {
    let server = Server::start(Options::new());
    let refused = server.grpcurl().create(&all_wrong("payments")).unwrap_err();
    assert_eq!(fields(&refused), set(&ALL_WRONG));
    let refused = server.grpcurl().create(&all_wrong("Bad Name")).unwrap_err();
    assert_eq!(fields(&refused), set(&[&["name"], &ALL_WRONG[..]].concat()));
    assert_eq!(server.grpcurl().stored(), (0, 0));
    assert_unharmed(&server);
}

#[test]
fn whoever_updates_is_told_every_field_that_is_wrong_at_once_and_nothing_is_stored() {
    let server = Server::start(Options::new());
    let refused = server.grpcurl().put(&all_wrong("payments")).unwrap_err();
    assert_eq!(fields(&refused), set(&ALL_WRONG));
    let refused = server.grpcurl().put(&all_wrong("Bad Name")).unwrap_err();
    assert_eq!(fields(&refused), set(&[&["name"], &ALL_WRONG[..]].concat()));
    assert_eq!(server.grpcurl().stored(), (0, 0));
    assert_unharmed(&server);
}

#[test]
fn each_bound_is_held_and_each_refusal_names_its_field_alone() {
    let server = Server::start(Options::new());
    let grpcurl = server.grpcurl();
    let cases = [
        (
            json!({"timeout": {"attempt": "0.0009s"}}),
            "rules.timeout.attempt",
        ),
        (
            json!({"timeout": {"overall": "86400.001s"}}),
            "rules.timeout.overall",
        ),
        (
            json!({"timeout": {"attempt": "2s", "overall": "1s"}}),
            "rules.timeout.attempt",
        ),
        (
            json!({"retry": {"maxAttempts": 1001}}),
            "rules.retry.max_attempts",
        ),
        (
            json!({"retry": {"multiplier": 0.99}}),
            "rules.retry.multiplier",
        ),
        (
            json!({"retry": {"multiplier": "NaN"}}),
            "rules.retry.multiplier",
        ),
        (
            json!({"retry": {"baseDelay": "2s", "maxDelay": "1s"}}),
            "rules.retry.base_delay",
        ),
        (
            json!({"circuitBreaker": {"consecutiveFailures": 10001}}),
            "rules.circuit_breaker.consecutive_failures",
        ),
        (
            json!({"circuitBreaker": {"failureRatio": 0.5}}),
            "rules.circuit_breaker.failure_ratio",
        ),
        (
            json!({"circuitBreaker": {"window": {"span": "3601s"}, "failureRatio": 0.5}}),
            "rules.circuit_breaker.window.span",
        ),
        (
            json!({"circuitBreaker": {"halfOpenPermits": 1001}}),
            "rules.circuit_breaker.half_open_permits",
        ),
        (
            json!({"circuitBreaker": {"window": {"size": 10001}, "failureRatio": 0.5}}),
            "rules.circuit_breaker.window.size",
        ),
        (
            json!({"circuitBreaker": {"window": {"size": 9}, "failureRatio": 0.5, "minimumCalls": 10}}),
            "rules.circuit_breaker.minimum_calls",
        ),
        (
            json!({"circuitBreaker": {"window": {"span": "9s"}, "slowCallRatio": 0.5}}),
            "rules.circuit_breaker.slow_call_ratio",
        ),
        (
            json!({"circuitBreaker": {"openDuration": "9s", "maxOpenDuration": "8s"}}),
            "rules.circuit_breaker.max_open_duration",
        ),
        (
            json!({"circuitBreaker": {"halfOpenPermits": 2, "halfOpenSuccesses": 3}}),
            "rules.circuit_breaker.half_open_successes",
        ),
        (
            json!({"retry": {"budget": {"ratio": 1.1}}}),
            "rules.retry.budget.ratio",
        ),
        (json!({"retry": {"jitter": 9}}), "rules.retry.jitter"),
        (
            json!({"bulkhead": {"maxQueue": 5}}),
            "rules.bulkhead.max_queue",
        ),
        (
            json!({"rateLimit": {"permits": 0, "per": "1s"}}),
            "rules.rate_limit.permits",
        ),
        (
            json!({"concurrencyLimit": {"min": 6, "max": 5}}),
            "rules.concurrency_limit.min",
        ),
        (
            json!({"hedge": {"percentile": 95, "maxHedges": 1}}),
            "rules.hedge.percentile",
        ),
    ];
    for (rules, field) in cases {
        let refused = grpcurl.create(&policy(&rules)).unwrap_err();
        assert_eq!(
            fields(&refused),
            set(&[field]),
            "{rules}: {}",
            refused.stderr
        );
    }
    for selector in [json!({}), Value::Null] {
        let refused = grpcurl
            .create(&json!({"name": "all", "selector": selector}))
            .unwrap_err();
        assert_eq!(
            fields(&refused),
            set(&["selector"]),
            "whoever means everything says so"
        );
    }
    let nameless = json!({"selector": {"operation": "*"}});
    assert_eq!(
        fields(&grpcurl.create(&nameless).unwrap_err()),
        set(&["name"])
    );
    assert_eq!(server.grpcurl().stored(), (0, 0));
}

#[test]
fn a_refused_change_leaves_the_policy_as_it_was() {
    let server = Server::start(Options::new());
    let grpcurl = server.grpcurl();
    let before = grpcurl
        .create(&policy(&json!({"retry": {"maxAttempts": 3}})))
        .unwrap();
    let refused = grpcurl
        .put(&policy(&json!({"retry": {"maxAttempts": 0}})))
        .unwrap_err();
    assert_eq!(fields(&refused), set(&["rules.retry.max_attempts"]));
    assert_eq!(grpcurl.policy("payments").unwrap(), before);
}

#[test]
fn a_stale_etag_is_aborted_with_both_revisions() {
    let server = Server::start(Options::new());
    let grpcurl = server.grpcurl();
    for i in 0..10 {
        let other = json!({"name": format!("other-{i}"), "selector": {"operation": "x"}});
        grpcurl.create(&other).unwrap();
    }
    let mut seen = grpcurl.create(&policy(&json!({"enabled": true}))).unwrap();
    let now = grpcurl.put(&policy(&json!({"enabled": false}))).unwrap();
    let (stale, current) = (revision(&seen), revision(&now));
    assert_eq!((stale, current), (11, 12));
    seen["priority"] = json!(5);
    let etag = &seen["etag"];
    let delete = json!({"name": "payments", "etag": etag});
    let delete = grpcurl.call("fusebox.v1.PolicyService/DeletePolicy", &delete);
    for refused in [grpcurl.put(&seen).unwrap_err(), delete.unwrap_err()] {
        assert_eq!(refused.code(), Some(Code::Aborted), "{}", refused.stderr);
        let message = refused.message();
        assert!(
            message.contains("11") && message.contains("12"),
            "{message}"
        );
        assert!(message.contains("payments"), "{message}");
    }
    assert_eq!(grpcurl.policy("payments").unwrap(), now);
}

#[test]
fn an_unknown_policy_is_not_found_by_its_name() {
    let server = Server::start(Options::new());
    let grpcurl = server.grpcurl();
    let of_nobody = json!({"policy": {"name": "nobodys", "priority": 1}});
    for (method, request) in [
        ("GetPolicy", json!({"name": "nobodys"})),
        ("UpdatePolicy", of_nobody),
        ("DeletePolicy", json!({"name": "nobodys"})),
    ] {
        let refused = grpcurl.policies(method, &request).unwrap_err();
        assert_eq!(
            refused.code(),
            Some(Code::NotFound),
            "{method}: {}",
            refused.stderr
        );
        assert!(
            refused.message().contains("nobodys"),
            "{method}: {}",
            refused.message()
        );
    }
}

#[test]
fn a_field_that_does_not_exist_is_refused_before_anything_is_sent() {
    let server = Server::start(Options::new());
    let misspelt = json!({"name": "payments", "selector": {"operation": "*"}, "rulez": {}});
    let refused = server.grpcurl().create(&misspelt).unwrap_err();
    assert_eq!(refused.code(), None);
    assert!(refused.stderr.contains("rulez"), "{}", refused.stderr);
    assert_eq!(server.grpcurl().stored(), (0, 0));
}
