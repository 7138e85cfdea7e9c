//! The main job, from end to end: policy in, protection everywhere, truth back.
//!
//! A real server process, real grpcurl, a process that links the SDK, a real HTTP dependency that
//! fails as told. Nobody's clock is asserted upon: a timeout shows itself as the limit that the
//! error names, an immediate report by a server that would not hear a regular one for a minute.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::time::Duration;

use fusebox_tests::caller::{Caller, Options as Calling};
use fusebox_tests::grpcurl::Grpcurl;
use fusebox_tests::operator::{list, number, revision};
use fusebox_tests::server::{Options, Server};
use fusebox_tests::upstream::{Behaviour, Upstream};
use fusebox_tests::wait::eventually;
use serde_json::{Value, json};

const OPERATION: &str = "payments.charge";

/// A server, a dependency, and what links them.
struct Stage {
    server: Server,
    upstream: Upstream,
}

impl Stage {
    fn set(options: Options) -> Self {
        Self {
            server: Server::start(options),
            upstream: Upstream::start(),
        }
    }

    fn calling(&self, instance: &str) -> Calling {
        let url = self.upstream.url("/charge");
        Calling::new("checkout", instance, OPERATION, &url).server(self.server.grpc_addr())
    }

    /// A linked process whose calls may be repeated and are made when told.
    fn caller(&self) -> Caller {
        let caller = self.calling("one").idempotent().start();
        caller.wait_for_link(true);
        caller
    }

    fn grpcurl(&self) -> Grpcurl {
        self.server.grpcurl()
    }

    /// Writes the policy for the operation and waits until the process runs it.
    fn enforce(&self, caller: &Caller, rules: &Value) -> Value {
        let policy = self.grpcurl().put(&policy(rules)).unwrap();
        caller.wait_for_revision(revision(&policy));
        policy
    }
}

fn policy(rules: &Value) -> Value {
    json!({
        "name": "payments",
        "selector": {"service": "checkout", "operation": "payments.*"},
        "rules": rules,
    })
}

/// Retries that do not keep a test waiting.
fn retry(max_attempts: u32) -> Value {
    json!({"maxAttempts": max_attempts, "baseDelay": "0.001s", "maxDelay": "0.002s"})
}

/// A breaker that only so many failures in a row open.
fn breaker(consecutive_failures: u32, open_duration: &str) -> Value {
    json!({"consecutiveFailures": consecutive_failures, "openDuration": open_duration})
}

#[test]
fn retries_change_in_a_running_process() {
    let stage = Stage::set(Options::new());
    let mut caller = stage.caller();
    stage.upstream.behave(Behaviour::status(503));
    let mut requests = 0;
    for attempts in [2, 5, 1, 3] {
        let rules = json!({"retry": retry(attempts), "circuitBreaker": breaker(1000, "60s")});
        stage.enforce(&caller, &rules);
        let call = caller.call();
        assert_eq!(
            (&call["outcome"], &call["status"]),
            (&json!("failure"), &json!(503))
        );
        assert_eq!(call["attempts"], attempts);
        requests += usize::try_from(attempts).unwrap();
        assert_eq!(
            stage.upstream.requests(),
            requests,
            "as the dependency counts them"
        );
    }
}

#[test]
fn a_retry_hides_a_passing_failure() {
    let stage = Stage::set(Options::new());
    let mut caller = stage.caller();
    stage.enforce(&caller, &json!({"retry": retry(3)}));
    stage
        .upstream
        .script([Behaviour::status(500), Behaviour::close()]);
    let call = caller.call();
    assert_eq!(
        (&call["outcome"], &call["attempts"]),
        (&json!("success"), &json!(3))
    );
}

#[test]
fn what_is_not_declared_repeatable_is_repeated_only_if_it_never_took_effect() {
    let stage = Stage::set(Options::new());
    let mut caller = stage.calling("one").with("--idempotent", "false").start();
    stage.enforce(
        &caller,
        &json!({"retry": retry(4), "circuitBreaker": breaker(1000, "60s")}),
    );
    stage.upstream.behave(Behaviour::status(503));
    assert_eq!(caller.call()["attempts"], 1, "a failure that took effect");
    stage.upstream.behave(Behaviour::close());
    assert_eq!(
        caller.call()["attempts"],
        1,
        "a failure that may have taken effect"
    );
    stage.upstream.shut();
    assert_eq!(caller.call()["attempts"], 4, "a refused connection");
    assert_eq!(stage.upstream.requests(), 2);
}

#[test]
fn timeouts_change_in_a_running_process() {
    let stage = Stage::set(Options::new());
    let mut caller = stage.caller();
    stage.upstream.behave(Behaviour::hang());
    let generous = breaker(1000, "60s");
    for (timeout, limit, limit_ms) in [
        (json!({"attempt": "0.15s"}), "attempt", 150),
        (json!({"attempt": "0.05s"}), "attempt", 50),
        (json!({"attempt": "30s", "overall": "30s"}), "", 0),
        (json!({"attempt": "0.25s"}), "attempt", 250),
    ] {
        let rules = json!({"timeout": timeout, "retry": retry(1), "circuitBreaker": generous});
        stage.enforce(&caller, &rules);
        if limit.is_empty() {
            // Slower than the limits before and after, far faster than this one.
            stage
                .upstream
                .script([Behaviour::ok().after(Duration::from_millis(400))]);
            assert_eq!(caller.call()["outcome"], "success");
            continue;
        }
        let call = caller.call();
        assert_eq!(call["outcome"], "timed_out", "{call}");
        assert_eq!(
            (&call["limit"], &call["limit_ms"]),
            (&json!(limit), &json!(limit_ms))
        );
    }
}

#[test]
fn the_overall_limit_bounds_all_attempts_together() {
    let stage = Stage::set(Options::new());
    let mut caller = stage.caller();
    stage.upstream.behave(Behaviour::hang());
    stage.enforce(
        &caller,
        &json!({
            "timeout": {"attempt": "0.6s", "overall": "1s"},
            "retry": retry(1000),
            "circuitBreaker": breaker(1000, "60s"),
        }),
    );
    let call = caller.call();
    assert_eq!(
        (&call["outcome"], &call["limit_ms"]),
        (&json!("timed_out"), &json!(1000)),
        "{call}"
    );
    assert_eq!(call["limit"], "overall");
    // The second one is cut; on a machine that stands still meanwhile, already the first.
    assert!(call["attempts"].as_u64().unwrap() <= 2, "{call}");
}

#[test]
fn the_threshold_of_the_breaker_changes_in_a_running_process_and_its_run_of_failures_is_kept() {
    let stage = Stage::set(Options::new());
    let mut caller = stage.caller();
    let threshold =
        |failures| json!({"retry": retry(1), "circuitBreaker": breaker(failures, "600s")});
    stage.enforce(&caller, &threshold(100));
    stage.upstream.behave(Behaviour::status(503));
    for _ in 0..3 {
        assert_eq!(caller.call()["outcome"], "failure");
    }
    // Three of four: the run counted under the old policy goes on under the new one.
    stage.enforce(&caller, &threshold(4));
    assert_eq!(caller.state(), "closed");
    assert_eq!(caller.call()["outcome"], "failure");
    caller.wait_for_state("open");
    let call = caller.call();
    assert_eq!(
        (&call["outcome"], &call["attempts"]),
        (&json!("refused"), &json!(0))
    );
    assert_eq!(call["reason"], "circuit_open");
    assert_eq!(
        stage.upstream.requests(),
        4,
        "a refused call does not reach the dependency"
    );
}

#[test]
fn an_open_breaker_stays_open_over_a_policy_change_and_heals_by_the_new_open_duration() {
    let stage = Stage::set(Options::new());
    let mut caller = stage.caller();
    let rules =
        |attempts, open| json!({"retry": retry(attempts), "circuitBreaker": breaker(1, open)});
    stage.enforce(&caller, &rules(1, "600s"));
    stage.upstream.script([Behaviour::status(503)]);
    assert_eq!(caller.call()["outcome"], "failure");
    caller.wait_for_state("open");
    stage.enforce(&caller, &rules(2, "500s"));
    assert_eq!(caller.state(), "open");
    assert_eq!(caller.call()["outcome"], "refused");
    stage.enforce(&caller, &rules(2, "0.001s"));
    assert_eq!(caller.call()["outcome"], "success", "the probe");
    caller.wait_for_state("closed");
    assert_eq!(stage.upstream.requests(), 2);
}

#[test]
fn the_fleet_view_shows_a_breaker_open_and_closed_again_without_waiting_for_a_report() {
    let stage = Stage::set(Options::new().env("FUSEBOX_SERVER_REPORT_INTERVAL", "60s"));
    let mut caller = stage.caller();
    let rules = |open| json!({"retry": retry(1), "circuitBreaker": breaker(2, open)});
    stage.enforce(&caller, &rules("600s"));
    let states = |status: &Value| {
        let of = |state: &str| number(&status["instances"][state]);
        (of("closed"), of("open"), of("halfOpen"))
    };
    let shows = |wanted| {
        let is = |status: &Value| states(status) == wanted;
        stage.grpcurl().wait_for_operation(OPERATION, is)
    };
    shows((1, 0, 0));
    stage.upstream.behave(Behaviour::status(503));
    caller.call();
    caller.call();
    shows((0, 1, 0));
    stage.upstream.behave(Behaviour::ok());
    stage.enforce(&caller, &rules("0.001s"));
    assert_eq!(caller.call()["outcome"], "success");
    shows((1, 0, 0));
}

#[test]
fn the_fleet_view_adds_up_what_every_process_did() {
    let stage = Stage::set(Options::new().env("FUSEBOX_SERVER_REPORT_INTERVAL", "100ms"));
    let mut one = stage.caller();
    let mut two = stage.calling("two").idempotent().start();
    two.wait_for_link(true);
    let rules = json!({"retry": retry(1), "circuitBreaker": breaker(3, "600s")});
    stage.enforce(&one, &rules);
    two.wait_for_revision(one.health()["revision"].as_u64().unwrap());
    for _ in 0..5 {
        one.call();
        two.call();
    }
    stage.upstream.behave(Behaviour::status(503));
    // Three failures, then two refusals.
    let outcomes: Vec<_> = (0..5).map(|_| one.call()["outcome"].take()).collect();
    assert_eq!(
        outcomes,
        ["failure", "failure", "failure", "refused", "refused"]
    );
    let status = stage.grpcurl().wait_for_operation(OPERATION, |status| {
        let of = |state: &str| number(&status["instances"][state]);
        let told = number(&status["callsTotal"]) >= 13 && number(&status["refusalsTotal"]) >= 2;
        // Never one word for many.
        told && (of("closed"), of("open")) == (1, 1)
    });
    assert_eq!(number(&status["callsTotal"]), 13, "{status:#}");
    assert_eq!(number(&status["refusalsTotal"]), 2);
    assert_eq!(
        (&status["service"], &status["kind"]),
        (&json!("checkout"), &json!("KIND_CUSTOM"))
    );
    let ratio = status["failureRatio"].as_f64().unwrap();
    assert!(
        number(&status["ratioSample"]) <= 13 && ratio > 0.0 && ratio <= 1.0,
        "{status:#}"
    );
    assert!(
        status["p50"].is_string() && status["p99"].is_string(),
        "{status:#}"
    );
}

#[test]
fn the_fleet_view_shows_who_runs_which_revision() {
    let stage = Stage::set(Options::new());
    let caller = stage.calling("one").with("--label", "tier=gold").start();
    let policy = stage.enforce(&caller, &json!({"retry": retry(2)}));
    let instance = stage.grpcurl().wait_for_instance("one", |instance| {
        number(&instance["appliedRevision"]) == revision(&policy)
    });
    assert_eq!(instance["connected"], true);
    assert_eq!(
        (&instance["service"], &instance["namespace"]),
        (&json!("checkout"), &json!("default"))
    );
    assert_eq!(instance["labels"], json!({"tier": "gold"}));
    assert_eq!(number(&instance["operations"]), 1);
    caller.quit();
    let gone = |instance: &Value| instance["connected"] != true;
    eventually("the instance to go", Duration::from_secs(30), || {
        let method = "fusebox.v1.FleetService/ListInstances";
        let answer = stage.grpcurl().call(method, &json!({})).unwrap();
        list(&answer, "instances").iter().all(gone).then_some(())
    });
}

#[test]
fn a_policy_concerns_whom_it_selects_and_deleting_it_brings_back_what_it_covered() {
    let stage = Stage::set(Options::new());
    let mut gold = stage
        .calling("gold")
        .idempotent()
        .with("--label", "tier=gold")
        .start();
    let mut plain = stage.calling("plain").idempotent().start();
    let fleet = stage.grpcurl();
    stage.upstream.behave(Behaviour::status(503));
    let generous = json!({"retry": retry(2), "circuitBreaker": breaker(1000, "60s")});
    let of_all = fleet.put(&policy(&generous)).unwrap();
    let narrow = json!({
        "name": "gold",
        "selector": {"service": "checkout", "instanceLabels": {"tier": "gold"}},
        "rules": {"retry": {"maxAttempts": 5}},
        "priority": 1,
    });
    let of_gold = fleet.put(&narrow).unwrap();
    assert!(revision(&of_gold) > revision(&of_all));
    for (caller, attempts) in [(&mut gold, 5), (&mut plain, 2)] {
        caller.wait_for_revision(revision(&of_gold));
        assert_eq!(caller.call()["attempts"], attempts);
    }
    let method = "fusebox.v1.PolicyService/DeletePolicy";
    let deleted = fleet.call(method, &json!({"name": "gold"})).unwrap();
    gold.wait_for_revision(number(&deleted["revision"]));
    assert_eq!(gold.call()["attempts"], 2);
}
