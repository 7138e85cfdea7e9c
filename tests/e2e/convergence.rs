//! From a write to the proof that it arrived: whom it concerns, that they have it, and that they and
//! nobody else enforce it.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::time::{Duration, Instant};

use fusebox_tests::caller::{Caller, Options as Calling};
use fusebox_tests::grpcurl::CallError;
use fusebox_tests::home::{Ended, Home};
use fusebox_tests::operator::{list, number};
use fusebox_tests::process::Signal;
use fusebox_tests::server::{Options, Server};
use fusebox_tests::upstream::Upstream;
use serde_json::{Value, json};
use tonic::Code;

const WAIT: &str = "fusebox.v1.FleetService/WaitForRevision";

/// Name, canary, zone, version.
const PROCESSES: [(&str, &str, &str, &str); 5] = [
    ("i-0", "true", "a", "1.0"),
    ("i-1", "true", "b", "1.1"),
    ("i-2", "false", "a", "1.1"),
    ("i-3", "false", "a", "1.0"),
    ("i-4", "false", "b", "1.0"),
];

/// A server and the five processes that are linked to it.
struct Fleet {
    server: Server,
    callers: Vec<Caller>,
    _upstream: Upstream,
}

impl Fleet {
    fn start() -> Self {
        let (server, upstream) = (Server::start(Options::new()), Upstream::start());
        let start = |(name, canary, zone, version): (&str, &str, &str, &str)| {
            let calling = Calling::new("checkout", name, "payments.charge", &upstream.url("/"))
                .with("--label", &format!("canary={canary}"))
                .with("--zone", zone)
                .with("--release", version);
            calling.server(server.grpc_addr()).start()
        };
        let callers: Vec<_> = PROCESSES.into_iter().map(start).collect();
        callers.iter().for_each(|caller| caller.wait_for_link(true));
        let fleet = Self {
            server,
            callers,
            _upstream: upstream,
        };
        fleet.wait(&json!({})).unwrap();
        fleet
    }

    /// One call an hour, for the instances with that label: the revision, and whom it concerns.
    fn limit(&self, key: &str, value: &str) -> (u64, u64) {
        let policy = json!({
            "name": "limit",
            "selector": {"service": "checkout", "instanceLabels": {key: value}},
            "rules": {"rateLimit": {"permits": 1, "per": "3600s", "burst": 1}},
        });
        let request = json!({"policy": policy, "allowMissing": true});
        let method = "fusebox.v1.PolicyService/UpdatePolicy";
        let answer = self.server.grpcurl().call(method, &request).unwrap();
        let revision = number(&answer["policy"]["revision"]);
        (revision, number(&answer["reach"]["instances"]))
    }

    fn wait(&self, request: &Value) -> Result<Vec<Value>, CallError> {
        self.server.grpcurl().call_all(WAIT, request)
    }

    /// Those of whom two calls are one too many.
    fn limited(&mut self) -> Vec<&'static str> {
        let names = PROCESSES.map(|(name, ..)| name);
        let callers = self.callers.iter_mut().zip(names);
        let limited = callers.filter_map(|(caller, name)| {
            let calls = [caller.call(), caller.call()];
            let refused = |call: &Value| call["outcome"] == "refused";
            calls.iter().any(refused).then_some(name)
        });
        limited.collect()
    }

    fn run(&self, words: &str, home: &Home) -> Ended {
        let url = format!("http://{}", self.server.grpc_addr());
        let words: Vec<_> = words.split_whitespace().collect();
        home.run_with(&[&words[..], &["--server", &url]].concat(), "")
    }
}

#[test]
fn a_policy_by_label_concerns_reaches_and_limits_exactly_those_that_carry_it() {
    let mut fleet = Fleet::start();
    for (key, value, expected) in [
        ("canary", "true", ["i-0", "i-1"]),
        ("zone", "b", ["i-1", "i-4"]),
        ("version", "1.1", ["i-1", "i-2"]),
    ] {
        let concerned = if key == "canary" { 2 } else { 3 };
        let (revision, reach) = fleet.limit(key, value);
        // Whom it was for before it concerns, too.
        assert_eq!(reach, concerned, "{key}={value}");
        let told = fleet.wait(&json!({"revision": revision})).unwrap();
        let last = told.last().unwrap();
        assert_eq!(last["state"], "STATE_REACHED", "{last:#}");
        assert_eq!(number(&last["applied"]), 5, "{last:#}");
        assert_eq!(fleet.limited(), expected, "{key}={value}");

        let request = json!({"labels": {key: value}});
        let method = "fusebox.v1.FleetService/ListInstances";
        let listed = fleet.server.grpcurl().call(method, &request).unwrap();
        let names = list(&listed, "instances");
        let names: Vec<_> = names.iter().map(|one| &one["instanceId"]).collect();
        assert_eq!(names, expected, "{key}={value}");
    }
}

#[test]
fn a_process_that_stands_still_is_named_by_a_wait_in_vain_and_reached_when_it_goes_on() {
    let fleet = Fleet::start();
    fleet.callers[3].freeze();
    let (revision, _) = fleet.limit("zone", "a");
    let request = json!({"revision": revision, "deadline": "1s"});
    let error = fleet.wait(&request).unwrap_err();
    assert_eq!(error.code(), Some(Code::DeadlineExceeded), "{error:?}");
    assert_eq!(
        error.message(),
        format!(
            "4 of 5 processes enforce revision {revision}; 1 pending, 0 refused: checkout/i-3 has \
             not answered"
        )
    );
    let most = json!({"revision": revision, "share": 0.8});
    fleet.wait(&most).unwrap();
    let lacking = json!({"lackingRevision": revision.to_string()});
    let method = "fusebox.v1.FleetService/ListInstances";
    let lacking = fleet.server.grpcurl().call(method, &lacking).unwrap();
    assert_eq!(lacking["instances"][0]["instanceId"], "i-3");
    assert_eq!(number(&lacking["totalSize"]), 1);

    let request = json!({"revision": revision});
    let mut waiting = fleet.server.grpcurl().watch(WAIT, &request);
    let soon = Duration::from_secs(30);
    waiting.wait_for(soon, |told| number(&told["pending"]) == 1);
    fleet.callers[3].thaw();
    let begun = Instant::now();
    waiting.wait_for(soon, |told| told["state"] == "STATE_REACHED");
    println!("reached {:?} after it went on", begun.elapsed());
    waiting.wait_end(soon).unwrap();
}

#[test]
fn the_program_waits_too_and_its_exit_status_tells_how_that_ended() {
    let fleet = Fleet::start();
    let policy =
        "name: limit\nselector:\n  service: checkout\nrules:\n  retry:\n    max_attempts: 2\n";
    let home = Home::new(&[("p.yaml", policy)]);
    let applied = fleet.run("apply -f p.yaml --wait", &home).assert_good();
    assert!(applied.contains("\nconcerns 5 processes\n"), "{applied}");
    let reached = "reached: 5 of 5 processes enforce revision 1\n";
    assert!(applied.ends_with(reached), "{applied}");
    let waited = fleet.run("wait 0 --service checkout --share 0.99", &home);
    assert_eq!(waited.assert_good(), reached);

    let late = fleet.run("wait 2 --deadline 200ms", &home);
    assert_eq!(late.status, 1, "{}", late.err);
    let last = late.err.lines().last().unwrap();
    assert!(last.ends_with("; this server is at revision 1"), "{last}");
    for mistake in [
        "wait 1 --share 2",
        "wait 1 --deadline 2h",
        "wait soon",
        "apply -f p.yaml --wait=2h",
    ] {
        let ended = fleet.run(mistake, &home);
        assert_eq!(ended.status, 2, "{mistake}: {}", ended.err);
    }
    fleet.server.process().signal(Signal::STOP);
    let in_vain = fleet.run("wait 1 --deadline 200ms", &home);
    assert_eq!(in_vain.status, 2, "{}", in_vain.err);
}
