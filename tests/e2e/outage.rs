//! The server goes away and comes back; what it said goes on to hold, and no call notices.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::fs;
use std::time::Duration;

use fusebox_tests::caller::{Caller, Options as Calling};
use fusebox_tests::operator::{list, number, revision};
use fusebox_tests::oteltap::OtelTap;
use fusebox_tests::server::{Options, Server};
use fusebox_tests::upstream::{Behaviour, Upstream};
use serde_json::{Value, json};

const OPERATION: &str = "payments.charge";

fn calling(server: &Server, upstream: &Upstream) -> Calling {
    Calling::new("checkout", "one", OPERATION, &upstream.url("/"))
        .server(server.grpc_addr())
        .idempotent()
}

fn policy(max_attempts: u32) -> Value {
    json!({
        "name": "payments",
        "selector": {"operation": "payments.*"},
        "rules": {
            "retry": {"maxAttempts": max_attempts, "baseDelay": "0.001s", "maxDelay": "0.002s"},
            "circuitBreaker": {"consecutiveFailures": 1000},
        },
    })
}

/// Waits until the server knows that the process runs the revision.
fn acknowledged(server: &Server, revision: u64) {
    let applied = |instance: &Value| number(&instance["appliedRevision"]) == revision;
    server.grpcurl().wait_for_instance("one", applied);
}

/// Lets that many more of its steady calls end.
fn more_calls(caller: &Caller, count: usize) {
    caller.wait_for_calls(caller.calls().len() + count);
}

#[test]
fn a_server_that_is_killed_and_comes_back_is_noticed_by_no_call() {
    let (mut server, upstream) = (Server::start(Options::new()), Upstream::start());
    let before = server.grpcurl().put(&policy(3)).unwrap();
    let mut caller = calling(&server, &upstream)
        .with("--calls-per-second", "50")
        .start();
    acknowledged(&server, revision(&before));
    let pid = caller.pid();
    more_calls(&caller, 20);

    server.kill9();
    caller.wait_for_link(false);
    more_calls(&caller, 50);
    let held = caller.health();
    assert_eq!(
        (&held["revision"], &held["source"]),
        (&json!(revision(&before)), &json!("server"))
    );

    server.restart();
    assert_eq!(
        server.grpcurl().policy("payments").unwrap(),
        before,
        "an acknowledged policy is kept"
    );
    caller.wait_for_link(true);
    acknowledged(&server, revision(&before));
    let after = server.grpcurl().put(&policy(4)).unwrap();
    assert!(revision(&after) > revision(&before), "revisions go on");
    caller.wait_for_revision(revision(&after));
    acknowledged(&server, revision(&after));
    more_calls(&caller, 20);

    assert!(caller.runs() && caller.pid() == pid);
    let calls = caller.calls();
    let ok = |call: &&Value| call["outcome"] == "success" && call["attempts"] == 1;
    let noticed: Vec<_> = calls.iter().filter(|call| !ok(call)).collect();
    assert!(
        calls.len() >= 90 && noticed.is_empty(),
        "of {} calls: {noticed:?}",
        calls.len()
    );
}

#[test]
fn retries_and_an_open_breaker_go_on_without_the_server() {
    let (mut server, upstream) = (Server::start(Options::new()), Upstream::start());
    let mut rules = policy(4);
    rules["rules"]["circuitBreaker"] = json!({"consecutiveFailures": 2, "openDuration": "600s"});
    let written = server.grpcurl().put(&rules).unwrap();
    let mut caller = calling(&server, &upstream).start();
    caller.wait_for_revision(revision(&written));
    server.kill9();
    caller.wait_for_link(false);
    upstream.behave(Behaviour::status(503));
    assert_eq!(
        caller.call()["attempts"],
        4,
        "one failed call in the breaker's run"
    );
    assert_eq!(
        caller.call()["attempts"],
        1,
        "which the second one's first attempt ends"
    );
    assert_eq!(caller.call()["outcome"], "refused");
    server.restart();
    // Seen although nobody was there to hear of it when it happened.
    let open = |status: &Value| number(&status["instances"]["open"]) == 1;
    server.grpcurl().wait_for_operation(OPERATION, open);
    assert_eq!(
        (caller.state().as_str(), &caller.call()["outcome"]),
        ("open", &json!("refused"))
    );
}

#[test]
fn a_policy_changed_while_a_process_was_away_arrives_when_it_is_back() {
    let (mut server, upstream) = (Server::start(Options::new()), Upstream::start());
    let before = server.grpcurl().put(&policy(2)).unwrap();
    let mut caller = calling(&server, &upstream).start();
    acknowledged(&server, revision(&before));
    caller.freeze();
    server.restart();
    let changed = server.grpcurl().put(&policy(6)).unwrap();
    caller.thaw();
    caller.wait_for_revision(revision(&changed));
    acknowledged(&server, revision(&changed));
    upstream.behave(Behaviour::status(503));
    assert_eq!(caller.call()["attempts"], 6);
}

#[test]
fn a_process_started_while_the_server_is_away_enforces_what_it_last_heard() {
    let (mut server, upstream) = (Server::start(Options::new()), Upstream::start());
    let cache = tempfile::tempdir().unwrap();
    let written = server.grpcurl().put(&policy(6)).unwrap();
    let first = calling(&server, &upstream).cache_dir(cache.path()).start();
    acknowledged(&server, revision(&written));
    assert!(first.quit().success());
    server.kill9();
    upstream.behave(Behaviour::status(503));

    let mut second = calling(&server, &upstream).cache_dir(cache.path()).start();
    let health = second.health();
    assert_eq!(
        (&health["source"], &health["connected"]),
        (&json!("disk"), &json!(false))
    );
    assert_eq!(
        (&health["revision"], &health["policies"]),
        (&json!(revision(&written)), &json!(1))
    );
    assert_eq!(second.call()["attempts"], 6);

    server.restart();
    let changed = server.grpcurl().put(&policy(2)).unwrap();
    second.wait_for_revision(revision(&changed));
    assert_eq!(second.call()["attempts"], 2);
    assert_eq!(second.health()["source"], "server");
}

#[test]
fn a_process_that_never_heard_of_a_policy_runs_by_its_kind_s_defaults() {
    let (mut server, upstream) = (Server::start(Options::new()), Upstream::start());
    server.kill9();
    upstream.behave(Behaviour::status(503));
    let calling = calling(&server, &upstream).with("--kind", "cache");
    let mut caller = calling.start();
    let health = caller.health();
    assert_eq!(
        (&health["source"], &health["revision"]),
        (&json!("defaults"), &json!(0))
    );
    assert_eq!(caller.call()["attempts"], 2, "a cache's default");
}

#[test]
fn a_damaged_cache_file_is_ignored_told_and_healed() {
    let (mut server, upstream) = (Server::start(Options::new()), Upstream::start());
    let cache = tempfile::tempdir().unwrap();
    let written = server.grpcurl().put(&policy(6)).unwrap();
    let first = calling(&server, &upstream).cache_dir(cache.path()).start();
    acknowledged(&server, revision(&written));
    assert!(first.quit().success());
    let file = cache.path().join("default%checkout.policies");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).unwrap();

    server.kill9();
    let second = calling(&server, &upstream).cache_dir(cache.path()).start();
    let health = second.health();
    assert_eq!(health["source"], "defaults");
    let problem = health["disk_problem"].as_str().unwrap();
    assert!(problem.contains("its checksum does not match"), "{problem}");
    assert_eq!(fs::read(&file).unwrap(), bytes, "looking changes nothing");

    server.restart();
    second.wait_for_revision(revision(&written));
    let healed = |health: &Value| health["disk_problem"].is_null();
    second.wait_for_health("disk without a problem", healed);
    server.kill9();
    let third = calling(&server, &upstream).cache_dir(cache.path()).start();
    assert_eq!(third.health()["source"], "disk");
    assert_eq!(third.health()["revision"], json!(revision(&written)));
}

#[test]
fn processes_that_share_a_directory_leave_the_newest_that_any_of_them_heard() {
    let (mut server, upstream) = (Server::start(Options::new()), Upstream::start());
    let cache = tempfile::tempdir().unwrap();
    let calling = |instance| {
        Calling::new("checkout", instance, OPERATION, &upstream.url("/"))
            .server(server.grpc_addr())
            .cache_dir(cache.path())
    };
    let callers = ["one", "two", "three"].map(|instance| calling(instance).start());
    callers[0].wait_for_link(true);
    let mut last = 0;
    for attempts in 2..12 {
        last = revision(&server.grpcurl().put(&policy(attempts)).unwrap());
    }
    for caller in callers {
        caller.wait_for_revision(last);
        assert!(caller.quit().success());
    }
    let successor = calling("four");
    server.kill9();
    let health = successor.start().health();
    assert_eq!(
        (&health["source"], &health["revision"]),
        (&json!("disk"), &json!(last))
    );
}

#[test]
fn a_receiver_is_told_how_old_the_last_word_of_a_server_is() {
    let tap = OtelTap::start();
    let (mut server, upstream) = (Server::start(Options::new()), Upstream::start());
    let written = server.grpcurl().put(&policy(3)).unwrap();
    let caller = calling(&server, &upstream)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &tap.endpoint())
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        .env("OTEL_METRIC_EXPORT_INTERVAL", "200")
        .start();
    caller.wait_for_revision(revision(&written));
    server.kill9();
    // More than the two seconds between two answers to reports.
    let old = |value: &Value| {
        let points = list(&value["gauge"], "dataPoints");
        let age = points.first().and_then(|point| point["asDouble"].as_f64());
        value["name"] == "fusebox.client.config.age" && age > Some(2.5)
    };
    let metric = tap.wait_for(Duration::from_secs(30), old);
    assert_eq!(metric["unit"], "s", "{metric:#}");
}
