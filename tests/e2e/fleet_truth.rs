//! What the fleet view says is what the processes counted themselves, to the call.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::collections::BTreeMap;
use std::time::Duration;

use fusebox_tests::caller::{Caller, Options as Calling};
use fusebox_tests::operator::{list, number};
use fusebox_tests::server::{Options, Server};
use fusebox_tests::upstream::{Behaviour, Upstream};
use fusebox_tests::wait::eventually;
use serde_json::{Value, json};

const OPERATION: &str = "payments.charge";
const SOON: Duration = Duration::from_secs(30);

struct Stage {
    server: Server,
    upstream: Upstream,
}

impl Stage {
    fn set() -> Self {
        let stage = Self {
            server: Server::start(Options::new()),
            upstream: Upstream::start(),
        };
        // Retries without waiting, and a breaker that opens only when it is meant to.
        let policy = json!({
            "name": "payments",
            "selector": {"operation": "payments.*"},
            "rules": {
                "retry": {"maxAttempts": 2, "baseDelay": "0.001s", "maxDelay": "0.002s",
                    "budget": {"ratio": 1.0, "minPerSecond": 1000}},
                "circuitBreaker": {"consecutiveFailures": 4, "openDuration": "600s"},
            },
        });
        stage.server.grpcurl().put(&policy).unwrap();
        stage
    }

    fn process(&self, instance: &str) -> Caller {
        let url = self.upstream.url("/charge");
        let caller = Calling::new("checkout", instance, OPERATION, &url)
            .server(self.server.grpc_addr())
            .idempotent()
            .start();
        caller.wait_for_revision(1);
        caller
    }

    fn ask(&self, method: &str, request: &Value) -> Value {
        let method = format!("fusebox.v1.FleetService/{method}");
        self.server.grpcurl().call(&method, request).unwrap()
    }

    fn seen(&self, matches: impl Fn(&Value) -> bool) -> Value {
        self.server.grpcurl().wait_for_operation(OPERATION, matches)
    }
}

/// What processes counted themselves, by outcome or reason, and their retries.
fn counted(callers: &[&Caller]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for call in callers.iter().flat_map(|caller| caller.calls()) {
        let word = |name: &str| call[name].as_str().unwrap_or_default().to_owned();
        let how = match word("outcome").as_str() {
            "refused" => word("reason"),
            outcome => outcome.to_owned(),
        };
        *counts.entry(how).or_default() += 1;
        let retries = number(&call["attempts"]).saturating_sub(1);
        *counts.entry("retries".to_owned()).or_default() += retries;
    }
    counts
}

fn sum(value: &Value) -> u64 {
    let fields = value.as_object().into_iter().flatten();
    fields.map(|(_, count)| number(count)).sum()
}

#[test]
fn the_view_says_to_the_call_what_the_processes_counted() {
    let stage = Stage::set();
    let mut callers = ["one", "two", "three"].map(|instance| stage.process(instance));
    for (index, caller) in callers.iter_mut().enumerate() {
        for _ in 0..=index {
            caller.call();
        }
        stage.upstream.script([Behaviour::status(503)]);
        caller.call();
    }
    stage.upstream.behave(Behaviour::status(503));
    for _ in 0..6 {
        callers[0].call();
    }
    callers[0].wait_for_state("open");
    let [one, two, three] = &callers;
    let own = counted(&[one, two, three]);
    let of = |name: &str| own.get(name).copied().unwrap_or_default();
    let all = own.values().sum::<u64>() - of("retries");
    let seen =
        stage.seen(|seen| number(&seen["callsTotal"]) + number(&seen["refusalsTotal"]) == all);
    assert_eq!(
        number(&seen["calls"]["success"]),
        of("success"),
        "{own:?}: {seen}"
    );
    assert_eq!(
        number(&seen["calls"]["failure"]),
        of("failure"),
        "{own:?}: {seen}"
    );
    assert_eq!(
        number(&seen["refusals"]["circuitOpen"]),
        of("circuit_open"),
        "{own:?}"
    );
    assert_eq!(
        number(&seen["retriesTotal"]),
        of("retries"),
        "{own:?}: {seen}"
    );
    assert_eq!(sum(&seen["calls"]), number(&seen["callsTotal"]));
    assert_eq!(
        (&seen["instances"]["open"], &seen["instances"]["closed"]),
        (&json!(1), &json!(2))
    );

    let request = json!({"service": "checkout", "operation": OPERATION});
    let detail = stage.ask("GetOperation", &request);
    let instances = list(&detail, "instances");
    assert_eq!(instances[0]["instanceId"], "one", "the worst first");
    assert_eq!(instances[0]["circuitState"], "CIRCUIT_STATE_OPEN");
    for (caller, instance) in callers.iter().zip(&instances) {
        let calls = counted(&[caller]).into_iter();
        let calls = calls.filter(|(how, _)| how != "retries" && how != "circuit_open");
        let own: u64 = calls.map(|(_, count)| count).sum();
        let id = instance["instanceId"].as_str().unwrap();
        if id == "one" {
            assert_eq!(number(&instance["callsTotal"]), own, "{instance}");
        }
    }
    let transition = &list(&detail, "transitions")[0];
    assert_eq!(transition["to"], "CIRCUIT_STATE_OPEN");
    assert_eq!(transition["instanceId"], "one");
    assert!(
        transition["cause"]
            .as_str()
            .unwrap()
            .contains("consecutive failures")
    );
    assert_eq!(
        list(&detail["effective"], "policies")[0]["name"],
        "payments"
    );
}

#[test]
fn a_restarted_server_counts_on_from_where_processes_are_and_shows_no_jump() {
    let mut stage = Stage::set();
    let mut one = stage.process("one");
    for _ in 0..50 {
        one.call();
    }
    stage.seen(|seen| number(&seen["callsTotal"]) == 50);
    stage.server.kill9();
    one.wait_for_link(false);
    for _ in 0..50 {
        one.call();
    }
    stage.server.restart();
    one.wait_for_link(true);
    let back = stage.seen(|seen| !seen["age"].is_null());
    assert_eq!(
        number(&back["callsTotal"]),
        0,
        "they were before its time: {back}"
    );
    let rate = back["callsPerSecond"].as_f64().unwrap_or_default();
    assert!(rate < 0.001, "{back}");
    for _ in 0..7 {
        one.call();
    }
    stage.seen(|seen| number(&seen["callsTotal"]) == 7);
}

#[test]
fn a_killed_process_is_gone_and_one_that_stands_still_is_stale_until_it_goes_on() {
    let stage = Stage::set();
    let (mut one, mut two) = (stage.process("one"), stage.process("two"));
    one.call();
    two.call();
    let states = |closed: u64, stale: u64, gone: u64| {
        move |seen: &Value| {
            let counts = &seen["instances"];
            let of = |name: &str| number(&counts[name]);
            (of("closed"), of("stale"), of("gone")) == (closed, stale, gone)
        }
    };
    stage.seen(states(2, 0, 0));
    two.freeze();
    stage.seen(states(1, 1, 0));
    two.thaw();
    stage.seen(states(2, 0, 0));
    drop(two);
    stage.seen(states(1, 0, 1));
}

#[test]
fn whoever_watches_the_fleet_is_told_of_a_breaker_without_asking() {
    let stage = Stage::set();
    let mut one = stage.process("one");
    one.call();
    stage.seen(|_| true);
    let method = "fusebox.v1.FleetService/WatchFleet";
    let mut watch = stage
        .server
        .grpcurl()
        .watch(method, &json!({"service": "check*"}));
    watch.wait_for(SOON, |news| news["synced"] == true);
    stage.upstream.behave(Behaviour::status(503));
    for _ in 0..4 {
        one.call();
    }
    let news = watch.wait_for(SOON, |news| !news["transitions"].is_null());
    assert_eq!(list(&news, "transitions")[0]["to"], "CIRCUIT_STATE_OPEN");
    assert_eq!(list(&news, "operations")[0]["instances"]["open"], 1);
    let worst = eventually("the open one", SOON, || {
        let request = json!({"states": ["CIRCUIT_STATE_OPEN"]});
        list(&stage.ask("ListOperations", &request), "operations").pop()
    });
    assert_eq!(worst["operation"], OPERATION);
}
