//! One hand on the fleet's breakers: what an operator decides by grpcurl, in real processes in front of
//! a real dependency.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::time::Duration;

use fusebox_tests::caller::{Caller, Options as Calling};
use fusebox_tests::grpcurl::CallError;
use fusebox_tests::operator::{list, number};
use fusebox_tests::server::{Options, Server};
use fusebox_tests::upstream::{Behaviour, Upstream};
use fusebox_tests::wait::poll;
use serde_json::{Value, json};
use tonic::Code;

const OPERATION: &str = "payments.charge";
const PATIENCE: Duration = Duration::from_secs(30);

struct Stage {
    server: Server,
    upstream: Upstream,
}

impl Stage {
    fn set() -> Self {
        Self {
            server: Server::start(Options::new()),
            upstream: Upstream::start(),
        }
    }

    fn process(&self, instance: &str, zone: &str) -> Caller {
        let url = self.upstream.url("/charge");
        let caller = Calling::new("checkout", instance, OPERATION, &url)
            .server(self.server.grpc_addr())
            .with("--zone", zone)
            .start();
        caller.wait_for_link(true);
        caller
    }

    fn ask(&self, method: &str, request: &Value) -> Result<Value, CallError> {
        let grpcurl = self.server.grpcurl().header("fusebox-author", "ann");
        grpcurl.call(&format!("fusebox.v1.FleetService/{method}"), request)
    }

    /// Sets an override and waits until these processes have taken it over, whether or not it means
    /// them.
    fn force(&self, action: &str, target: &Value, ttl: &str, known_to: &[&Caller]) -> u64 {
        let request = json!({"override": {
            "target": target, "action": action, "ttl": ttl, "reason": "the database burns",
        }});
        let set = self.ask("SetBreakerOverride", &request).unwrap();
        let id = number(&set["override"]["id"]);
        known_to
            .iter()
            .for_each(|caller| _ = caller.wait_for_revision(id));
        id
    }

    fn clear(&self, id: u64, known_to: &[&Caller]) {
        let request = json!({"id": id, "reason": "it is out"});
        let cleared = self.ask("ClearBreakerOverride", &request).unwrap();
        let revision = number(&cleared["revision"]);
        known_to
            .iter()
            .for_each(|caller| _ = caller.wait_for_revision(revision));
    }

    fn audit(&self) -> Vec<Value> {
        let method = "fusebox.v1.PolicyService/ListAuditEvents";
        list(
            &self.server.grpcurl().call(method, &json!({})).unwrap(),
            "events",
        )
    }

    fn operation(&self, matches: impl Fn(&Value) -> bool) -> Value {
        self.server.grpcurl().wait_for_operation(OPERATION, matches)
    }
}

fn checkout() -> Value {
    json!({"service": "checkout", "operation": "payments.*"})
}

fn outcome(caller: &mut Caller) -> (String, String) {
    let call = caller.call();
    let word = |name: &str| call[name].as_str().unwrap_or_default().to_owned();
    (word("outcome"), word("reason"))
}

fn is_refused(caller: &mut Caller) -> bool {
    outcome(caller) == ("refused".to_owned(), "forced_open".to_owned())
}

fn is_let_in(caller: &mut Caller) -> bool {
    outcome(caller).0 == "success"
}

#[test]
fn an_override_holds_for_every_process_that_it_means_and_for_one_that_comes_later_until_cleared() {
    let stage = Stage::set();
    let (mut one, mut two) = (stage.process("one", "eu"), stage.process("two", "us"));
    assert!(is_let_in(&mut one) && is_let_in(&mut two));
    let id = stage.force(
        "BREAKER_ACTION_FORCE_OPEN",
        &checkout(),
        "600s",
        &[&one, &two],
    );
    let mut later = stage.process("three", "eu");
    later.wait_for_revision(id);
    for caller in [&mut one, &mut two, &mut later] {
        assert!(is_refused(caller));
    }
    let seen = stage.operation(|seen| seen["instances"]["forcedOpen"] == 3);
    assert_eq!(
        seen["instances"]["closed"], 3,
        "what they think themselves: {seen}"
    );
    let listed = stage.ask("ListBreakerOverrides", &json!({})).unwrap();
    let [known] = &list(&listed, "overrides")[..] else {
        panic!("{listed}");
    };
    assert_eq!(known["override"]["reason"], "the database burns");
    assert_eq!(known["override"]["author"], "ann");
    assert_eq!(number(&known["reach"]["instances"]), 3);
    stage.clear(id, &[&one, &two, &later]);
    for caller in [&mut one, &mut two, &mut later] {
        assert!(is_let_in(caller));
    }
    let request = json!({"id": id, "reason": "again"});
    let again = stage.ask("ClearBreakerOverride", &request).unwrap_err();
    assert_eq!(again.code(), Some(Code::NotFound));
}

#[test]
fn an_override_reaches_only_those_it_means() {
    let stage = Stage::set();
    let (mut eu, mut us) = (stage.process("one", "eu"), stage.process("two", "us"));
    for target in [
        json!({"labels": {"zone": "eu"}}),
        json!({"instanceId": "one"}),
    ] {
        let id = stage.force("BREAKER_ACTION_FORCE_OPEN", &target, "600s", &[&eu, &us]);
        assert!(is_refused(&mut eu) && is_let_in(&mut us), "{target}");
        stage.clear(id, &[&eu, &us]);
    }
    // The first is none of this service's business, and is not sent to it.
    for (target, known_to) in [
        (json!({"service": "search"}), &[][..]),
        (json!({"operation": "search.*"}), &[&eu, &us][..]),
    ] {
        let id = stage.force("BREAKER_ACTION_FORCE_OPEN", &target, "600s", known_to);
        stage.clear(id, known_to);
    }
    assert!(is_let_in(&mut eu) && is_let_in(&mut us));
}

#[test]
fn of_two_overrides_the_newer_decides_and_then_the_older() {
    let stage = Stage::set();
    let mut one = stage.process("one", "eu");
    stage.force("BREAKER_ACTION_FORCE_OPEN", &checkout(), "600s", &[&one]);
    let newer = stage.force("BREAKER_ACTION_FORCE_CLOSED", &checkout(), "600s", &[&one]);
    assert!(is_let_in(&mut one));
    stage.clear(newer, &[&one]);
    assert!(is_refused(&mut one));
}

#[test]
fn an_override_survives_the_servers_kill_and_ends_at_its_time_though_the_server_is_gone() {
    let mut stage = Stage::set();
    let mut one = stage.process("one", "eu");
    let long = stage.force("BREAKER_ACTION_FORCE_OPEN", &checkout(), "600s", &[&one]);
    stage.server.kill9();
    stage.server.restart();
    let listed = stage.ask("ListBreakerOverrides", &json!({})).unwrap();
    assert_eq!(
        number(&list(&listed, "overrides")[0]["override"]["id"]),
        long
    );
    one.wait_for_link(true);
    assert!(is_refused(&mut one));
    stage.clear(long, &[&one]);
    let short = stage.force("BREAKER_ACTION_FORCE_OPEN", &checkout(), "3s", &[&one]);
    assert!(is_refused(&mut one));
    stage.server.kill9();
    let ended = poll(PATIENCE, || is_let_in(&mut one).then_some(()));
    assert!(ended.is_some(), "it holds though its time is over");
    // The server that comes back writes its end down.
    stage.server.restart();
    let expired = |event: &Value| {
        event["cause"] == "CAUSE_OVERRIDE_EXPIRED" && number(&event["override"]["id"]) == short
    };
    let audit = poll(PATIENCE, || stage.audit().into_iter().find(expired));
    assert_eq!(audit.expect("an end that is audited")["author"], "fusebox");
}

#[test]
fn a_process_that_starts_without_a_server_obeys_what_its_disk_says_and_for_no_longer() {
    let mut stage = Stage::set();
    let cache = tempfile::tempdir().unwrap();
    let url = stage.upstream.url("/charge");
    let options = |stage: &Stage| {
        Calling::new("checkout", "one", OPERATION, &url)
            .server(stage.server.grpc_addr())
            .cache_dir(cache.path())
    };
    let first = options(&stage).start();
    first.wait_for_link(true);
    stage.force("BREAKER_ACTION_FORCE_OPEN", &checkout(), "8s", &[&first]);
    assert!(first.quit().success());
    stage.server.kill9();
    let mut second = options(&stage).start();
    assert_eq!(
        outcome(&mut second),
        ("refused".into(), "forced_open".into()),
        "{}",
        second.health()
    );
    let ended = poll(PATIENCE, || is_let_in(&mut second).then_some(()));
    assert!(ended.is_some(), "it holds though its time is over");
}

#[test]
fn a_reset_closes_the_breakers_of_those_who_are_connected_and_is_audited() {
    let stage = Stage::set();
    let mut one = stage.process("one", "eu");
    stage.upstream.behave(Behaviour::status(500));
    for _ in 0..5 {
        one.call();
    }
    one.wait_for_state("open");
    let opened = stage.operation(|seen| seen["instances"]["open"] == 1);
    assert_eq!(opened["operation"], OPERATION);
    stage.upstream.behave(Behaviour::ok());
    let request = json!({"target": checkout(), "reason": "the database is back"});
    let reset = stage.ask("ResetBreakers", &request).unwrap();
    assert_eq!(number(&reset["reach"]["instances"]), 1);
    one.wait_for_state("closed");
    assert!(is_let_in(&mut one));
    let log = stage
        .ask("ListTransitions", &json!({"service": "checkout"}))
        .unwrap();
    let causes: Vec<_> = list(&log, "transitions")
        .iter()
        .map(|record| record["cause"].as_str().unwrap().to_owned())
        .collect();
    assert!(causes.iter().any(|cause| cause == "reset"), "{causes:?}");
    let audit = stage.audit();
    assert_eq!(audit[0]["cause"], "CAUSE_BREAKERS_RESET");
    assert_eq!(audit[0]["reason"], "the database is back");
}

#[test]
fn what_cannot_be_meant_is_refused_in_words_and_what_is_odd_is_warned_of() {
    let stage = Stage::set();
    let _one = stage.process("one", "eu");
    stage.operation(|_| true);
    let of = |target: Value, ttl: Option<&str>, whole: bool| {
        let mut request = json!({"wholeNamespace": whole, "validateOnly": true, "override": {
            "target": target, "action": "BREAKER_ACTION_FORCE_OPEN", "reason": "tried",
        }});
        if let Some(ttl) = ttl {
            request["override"]["ttl"] = json!(ttl);
        }
        stage.ask("SetBreakerOverride", &request)
    };
    for (target, ttl, whole, field) in [
        (json!({}), Some("60s"), false, "whole_namespace"),
        (
            json!({"service": "*"}),
            Some("60s"),
            false,
            "whole_namespace",
        ),
        (checkout(), Some("60s"), true, "whole_namespace"),
        (checkout(), None, false, "override.ttl"),
        (checkout(), Some("0.5s"), false, "override.ttl"),
        (checkout(), Some("604801s"), false, "override.ttl"),
        (
            json!({"service": "no service"}),
            Some("60s"),
            false,
            "override.target.service",
        ),
    ] {
        let refused = of(target.clone(), ttl, whole).unwrap_err();
        assert_eq!(refused.code(), Some(Code::InvalidArgument), "{target}");
        assert!(
            refused.fields().contains(field),
            "{target}: {:?}",
            refused.fields()
        );
    }
    assert!(of(json!({}), Some("60s"), true).is_ok());
    let typo = of(json!({"service": "chekout"}), Some("60s"), false).unwrap();
    let warning = typo["warnings"][0].as_str().unwrap().to_owned();
    assert!(warning.contains("checkout"), "{warning}");
    let typo = of(
        json!({"service": "checkout", "operation": "payments.chrage"}),
        Some("60s"),
        false,
    );
    let warning = typo.unwrap()["warnings"][0].as_str().unwrap().to_owned();
    assert!(warning.contains(OPERATION), "{warning}");
    let listed = stage.ask("ListBreakerOverrides", &json!({})).unwrap();
    assert!(
        list(&listed, "overrides").is_empty(),
        "they were only checked"
    );
}
