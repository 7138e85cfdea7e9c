//! Every mechanism, switched on in a running process by grpcurl, in front of a real dependency.
//!
//! What each decides is core's and the SDK's own tests' affair; here it is seen that a rule written
//! by an operator arrives and does what its name says. Where something must take its time, only
//! that it took no less is asserted.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::time::Duration;

use fusebox_tests::caller::{Caller, Options as Calling};
use fusebox_tests::operator::{number, revision};
use fusebox_tests::server::{Options, Server};
use fusebox_tests::upstream::{Behaviour, Upstream};
use serde_json::{Value, json};

const OPERATION: &str = "payments.charge";
const PATIENCE: Duration = Duration::from_secs(30);

/// A server, a dependency and a process whose calls may be repeated.
struct Stage {
    server: Server,
    upstream: Upstream,
    caller: Caller,
}

impl Stage {
    fn set() -> Self {
        let (server, upstream) = (Server::start(Options::new()), Upstream::start());
        let url = upstream.url("/charge");
        let caller = Calling::new("checkout", "one", OPERATION, &url)
            .server(server.grpc_addr())
            .idempotent()
            .start();
        caller.wait_for_link(true);
        Self {
            server,
            upstream,
            caller,
        }
    }

    /// Writes rules for the operation and waits until the process follows them.
    fn enforce(&self, rules: &Value) {
        let policy = json!({
            "name": "payments",
            "selector": {"service": "checkout", "operation": "payments.*"},
            "rules": rules,
        });
        let stored = self.server.grpcurl().put(&policy).unwrap();
        self.caller.wait_for_revision(revision(&stored));
    }

    fn reached(&self, requests: usize) {
        assert!(self.upstream.wait_for_requests(requests, PATIENCE));
    }
}

/// No retries, and a breaker that nothing here opens.
fn alone(mut rules: Value) -> Value {
    rules["retry"] = json!({"maxAttempts": 1});
    if rules.get("circuitBreaker").is_none() {
        rules["circuitBreaker"] = json!({"consecutiveFailures": 1000});
    }
    rules
}

fn assert_refused(call: &Value, reason: &str) {
    assert_eq!(call["outcome"], "refused", "{call}");
    assert_eq!(call["reason"], reason, "{call}");
}

#[test]
fn a_bulkhead_lets_so_many_in_and_refuses_the_rest() {
    let mut stage = Stage::set();
    stage.enforce(&alone(json!({"bulkhead": {"maxConcurrent": 1}})));
    stage.upstream.behave(Behaviour::hang());
    let inside = stage.caller.begin();
    stage.reached(1);
    assert_refused(&stage.caller.call(), "bulkhead_full");
    // A second place, while the first is taken.
    stage.upstream.behave(Behaviour::ok());
    stage.enforce(&alone(
        json!({"bulkhead": {"maxConcurrent": 2}, "timeout": {"attempt": "2s"}}),
    ));
    assert_eq!(stage.caller.call()["outcome"], "success");
    // It began under the five seconds of its kind.
    let ended = stage.caller.end_of(inside);
    assert_eq!(ended["limit_ms"], 5000, "{ended}");
}

#[test]
fn a_full_bulkheads_queue_is_served_when_a_place_is_free() {
    let mut stage = Stage::set();
    let rules = json!({"bulkhead": {"maxConcurrent": 1, "maxQueue": 1, "maxWait": "20s"}});
    stage.enforce(&alone(rules));
    let slow = Behaviour::ok().after(Duration::from_millis(300));
    stage.upstream.script([slow]);
    let (inside, waiting) = (stage.caller.begin(), stage.caller.begin());
    stage.reached(1);
    assert_eq!(stage.caller.end_of(inside)["outcome"], "success");
    assert_eq!(stage.caller.end_of(waiting)["outcome"], "success");
}

#[test]
fn a_rate_limit_refuses_and_says_when_to_come_back() {
    let mut stage = Stage::set();
    let limit = json!({"permits": 1, "per": "3600s", "burst": 2});
    stage.enforce(&alone(json!({"rateLimit": limit})));
    assert_eq!(stage.caller.call()["outcome"], "success");
    assert_eq!(stage.caller.call()["outcome"], "success");
    let refused = stage.caller.call();
    assert_refused(&refused, "rate_limited");
    let error = refused["error"].as_str().unwrap();
    assert!(error.contains("retry after 3"), "within the hour: {error}");
    assert_eq!(stage.upstream.requests(), 2);
}

#[test]
fn a_hedge_answers_for_a_first_attempt_that_hangs() {
    let mut stage = Stage::set();
    stage.enforce(&json!({"hedge": {"delay": "0.05s"}, "retry": {"maxAttempts": 2}}));
    stage.upstream.script([Behaviour::hang()]);
    let call = stage.caller.call();
    assert_eq!(
        (&call["outcome"], &call["attempts"]),
        (&json!("success"), &json!(2))
    );
    assert_eq!(stage.upstream.requests(), 2);
}

#[test]
fn slow_calls_open_a_breaker_though_none_fails() {
    let mut stage = Stage::set();
    stage.enforce(&alone(json!({"circuitBreaker": {
        "window": {"size": 4}, "slowCallRatio": 0.5, "slowCallThreshold": "0.1s",
        "minimumCalls": 4, "openDuration": "60s",
    }})));
    let slow = || Behaviour::ok().after(Duration::from_millis(150));
    stage
        .upstream
        .script([Behaviour::ok(), slow(), Behaviour::ok(), slow()]);
    for _ in 0..4 {
        assert_eq!(stage.caller.call()["outcome"], "success");
    }
    stage.caller.wait_for_state("open");
    assert_refused(&stage.caller.call(), "circuit_open");
}

#[test]
fn a_breaker_in_shadow_opens_and_refuses_nobody() {
    let mut stage = Stage::set();
    stage.enforce(&alone(json!({"circuitBreaker": {
        "consecutiveFailures": 2, "openDuration": "60s", "mode": "MODE_SHADOW",
    }})));
    stage.upstream.behave(Behaviour::status(503));
    for _ in 0..4 {
        let call = stage.caller.call();
        assert_eq!(call["outcome"], "failure", "{call}");
    }
    stage.caller.wait_for_shadow("open");
    assert_eq!(stage.caller.state(), "closed");
    assert_eq!(stage.upstream.requests(), 4);
}

#[test]
fn retries_stop_where_the_budget_ends_though_attempts_are_left() {
    let mut stage = Stage::set();
    stage.enforce(&json!({
        "retry": {
            "maxAttempts": 3, "baseDelay": "0.001s", "maxDelay": "0.002s",
            "budget": {"ratio": 0.0, "minPerSecond": 0},
        },
        "circuitBreaker": {"consecutiveFailures": 1000},
    }));
    stage.upstream.behave(Behaviour::status(503));
    let call = stage.caller.call();
    assert_eq!(
        (&call["attempts"], &call["status"]),
        (&json!(1), &json!(503))
    );
}

#[test]
fn a_servers_retry_after_is_waited_for_unless_a_rule_says_otherwise() {
    let mut stage = Stage::set();
    let rules = |honor: bool| {
        json!({
            "retry": {
                "maxAttempts": 2, "baseDelay": "0.001s", "maxDelay": "5s", "honorRetryAfter": honor,
            },
            "circuitBreaker": {"consecutiveFailures": 1000},
        })
    };
    let busy = || Behaviour::status(503).header("retry-after", "1");
    stage.enforce(&rules(true));
    stage.upstream.script([busy()]);
    let call = stage.caller.call();
    assert_eq!(
        (&call["outcome"], &call["attempts"]),
        (&json!("success"), &json!(2))
    );
    assert!(call["duration_ms"].as_f64().unwrap() >= 1000.0, "{call}");
    // A server that asks for longer than any backoff is left alone at once.
    stage
        .upstream
        .script([Behaviour::status(503).header("retry-after", "3600")]);
    assert_eq!(stage.caller.call()["attempts"], 1);
    stage.enforce(&rules(false));
    stage
        .upstream
        .script([Behaviour::status(503).header("retry-after", "3600")]);
    assert_eq!(stage.caller.call()["attempts"], 2);
}

#[test]
fn what_was_refused_is_in_the_fleets_account() {
    let mut stage = Stage::set();
    stage.enforce(&alone(json!({"rateLimit": {"permits": 1, "per": "3600s"}})));
    for _ in 0..3 {
        stage.caller.call();
    }
    let grpcurl = stage.server.grpcurl();
    let view = grpcurl.wait_for_operation(OPERATION, |operation| {
        number(&operation["refusalsTotal"]) == 2
    });
    assert_eq!(number(&view["callsTotal"]), 1);
}

#[test]
fn a_rule_that_cannot_be_is_refused_with_its_field() {
    let stage = Stage::set();
    let policy = json!({
        "name": "payments",
        "selector": {"operation": "*"},
        "rules": {
            "bulkhead": {"maxConcurrent": 0},
            "rateLimit": {"permits": 0, "per": "1s"},
            "concurrencyLimit": {"min": 5, "max": 2},
            "circuitBreaker": {"window": {"size": 5}, "failureRatio": 0.5, "minimumCalls": 6},
        },
    });
    let refused = stage.server.grpcurl().put(&policy).unwrap_err();
    let told = format!("{} {}", refused.message(), refused.stderr);
    for field in [
        "rules.bulkhead.max_concurrent",
        "rules.rate_limit.permits",
        "rules.concurrency_limit.min",
        "rules.circuit_breaker.minimum_calls",
    ] {
        assert!(told.contains(field), "{field} in {told}");
    }
}
