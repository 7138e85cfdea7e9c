//! Processes with several addresses: they go where they are served, and stay with their store.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use fusebox_tests::caller::{Caller, Options as Calling};
use fusebox_tests::operator::{number, revision};
use fusebox_tests::process::Signal;
use fusebox_tests::server::{Options, Server};
use fusebox_tests::upstream::{Behaviour, Upstream};
use serde_json::{Value, json};
use tempfile::TempDir;

const OPERATION: &str = "payments.charge";
const END: Duration = Duration::from_secs(10);

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

/// Two servers of one store, which was copied while it rested.
struct Pair {
    first: Server,
    second: Server,
    /// As of both.
    revision: u64,
    _copy: TempDir,
}

/// Signs of life often enough for a test.
fn lively() -> Options {
    Options::new().env("FUSEBOX_SERVER_HEARTBEAT_INTERVAL", "0.2s")
}

fn pair() -> Pair {
    let mut first = Server::start(lively());
    let written = first.grpcurl().put(&policy(3)).unwrap();
    first.terminate();
    assert!(first.wait_exit(END).success());
    let copy = tempfile::tempdir().unwrap();
    copy_all(&first.data_dir(), copy.path());
    first.restart();
    Pair {
        first,
        second: Server::start(lively().data_dir(copy.path())),
        revision: revision(&written),
        _copy: copy,
    }
}

fn copy_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&place).unwrap();
            copy_all(&entry.path(), &place);
        } else {
            fs::copy(entry.path(), place).unwrap();
        }
    }
}

fn calling(servers: [&Server; 2], upstream: &Upstream) -> Calling {
    let calling = Calling::new("checkout", "one", OPERATION, &upstream.url("/"));
    let calling = servers.into_iter().fold(calling, |calling, server| {
        calling.server(server.grpc_addr())
    });
    calling.idempotent()
}

fn wait_for_server(caller: &Caller, server: &Server) -> Value {
    let url = format!("http://{}/", server.grpc_addr());
    caller.wait_for_health(&format!("session with {url}"), |health| {
        health["connected_to"] == url.as_str()
    })
}

/// Waits until the server knows that the process runs the revision.
fn acknowledged(server: &Server, revision: u64) {
    let applied = |instance: &Value| number(&instance["appliedRevision"]) == revision;
    server.grpcurl().wait_for_instance("one", applied);
}

/// Fifty calls a second while the first server goes as `end` makes it, and on for a while with the
/// second. Gives how long the process was without a session.
fn go_over(pair: &mut Pair, end: impl FnOnce(&mut Server)) -> Duration {
    let upstream = Upstream::start();
    let caller = calling([&pair.first, &pair.second], &upstream)
        .with("--calls-per-second", "50")
        .start();
    wait_for_server(&caller, &pair.first);
    acknowledged(&pair.first, pair.revision);
    caller.wait_for_calls(20);
    end(&mut pair.first);
    let back = wait_for_server(&caller, &pair.second);
    assert_eq!(
        (&back["reconnects"], &back["revision"]),
        (&json!(1), &json!(pair.revision))
    );
    acknowledged(&pair.second, pair.revision);
    let changed = pair.second.grpcurl().put(&policy(4)).unwrap();
    caller.wait_for_revision(revision(&changed));
    caller.wait_for_calls(caller.calls().len() + 50);

    let calls = caller.calls();
    let smooth = |call: &&Value| {
        let quick = call["duration_ms"].as_f64().unwrap() < 500.0;
        call["outcome"] == "success" && call["attempts"] == 1 && quick
    };
    let noticed: Vec<_> = calls.iter().filter(|call| !smooth(call)).collect();
    assert!(noticed.is_empty(), "of {} calls: {noticed:?}", calls.len());
    away(&caller)
}

/// From the first health without a session to the one after it with one.
fn away(caller: &Caller) -> Duration {
    let lines = caller.lines().all();
    let looks = lines.iter().filter_map(|line| {
        let look: Value = serde_json::from_str(&line.text).ok()?;
        (look["event"] == "health").then_some(look)
    });
    let mut looks = looks.skip_while(|look| look["connected"] == false);
    let at = |look: Option<Value>| look.unwrap()["at_us"].as_u64().unwrap();
    let lost = at(looks.find(|look| look["connected"] == false));
    let back = at(looks.find(|look| look["connected"] == true));
    Duration::from_micros(back - lost)
}

#[test]
fn a_process_goes_to_the_other_server_when_one_is_killed_and_no_call_notices() {
    let away = go_over(&mut pair(), Server::kill9);
    println!("without a session for {away:?}");
    assert!(away < Duration::from_secs(2), "{away:?}");
}

#[test]
fn a_process_goes_to_the_other_server_when_one_stops_as_asked() {
    let away = go_over(&mut pair(), |server| {
        server.terminate();
        assert!(server.wait_exit(END).success());
    });
    println!("without a session for {away:?}");
    assert!(
        away < Duration::from_secs(4),
        "a drain spreads over 2 s: {away:?}"
    );
}

#[test]
fn a_process_leaves_a_server_that_freezes_for_the_other() {
    let away = go_over(&mut pair(), |server| server.process().signal(Signal::STOP));
    println!("without a session for {away:?}");
    assert!(away < Duration::from_secs(2), "{away:?}");
}

#[test]
fn a_process_whose_first_address_never_answers_is_served_by_the_other() {
    let mut pair = pair();
    pair.first.kill9();
    let upstream = Upstream::start();
    let caller = calling([&pair.first, &pair.second], &upstream).start();
    caller.wait_for_revision(pair.revision);
    assert_eq!(wait_for_server(&caller, &pair.second)["reconnects"], 0);
}

#[test]
fn a_process_stays_with_its_store_when_its_servers_disagree_and_says_so() {
    let mut first = Server::start(Options::new());
    let other = Server::start(Options::new());
    let upstream = Upstream::start();
    let held = first.grpcurl().put(&policy(3)).unwrap();
    other.grpcurl().put(&policy(7)).unwrap();
    let mut caller = calling([&first, &other], &upstream).start();
    let incarnation = caller.wait_for_revision(revision(&held))["incarnation"].clone();
    assert_eq!(caller.health()["disagreement"], Value::Null);

    first.kill9();
    let disagreement = |health: &Value| health["disagreement"].is_string();
    let told = caller.wait_for_health("disagreement", disagreement);
    let text = told["disagreement"].as_str().unwrap();
    let followed = format!(
        "addresses disagree: http://{}/ has store {} (followed), http://{}/ has store ",
        first.grpc_addr(),
        incarnation.as_str().unwrap(),
        other.grpc_addr()
    );
    assert!(text.starts_with(&followed), "{text}");
    // However loud the other one is, and however often it is asked.
    let louder = other.grpcurl().put(&policy(8)).unwrap();
    assert!(revision(&louder) > revision(&held));
    let left = |health: &Value| {
        let problem = health["problem"].as_str().unwrap_or_default();
        problem.contains("another address has the one that is followed")
    };
    let back = |health: &Value| !left(health);
    for _ in 0..3 {
        caller.wait_for_health("try of the first", back);
        caller.wait_for_health("try of the other", left);
    }
    upstream.behave(Behaviour::status(503));
    assert_eq!(caller.call()["attempts"], 3);
    let now = caller.health();
    assert_eq!(
        (&now["incarnation"], &now["connected"]),
        (&incarnation, &json!(false))
    );
    assert_eq!(now["revision"], json!(revision(&held)));

    first.restart();
    wait_for_server(&caller, &first);
    let changed = first.grpcurl().put(&policy(5)).unwrap();
    caller.wait_for_revision(revision(&changed));
    assert_eq!(caller.call()["attempts"], 5);
}
