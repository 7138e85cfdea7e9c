//! What an operator decides about breakers, through grpcurl: set, listed, cleared, ended by time, kept
//! over the worst end a server can meet, carried over by a backup. What processes make of it is
//! another story.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::process::Command;
use std::time::{Duration, Instant};

use fusebox_tests::grpcurl::{CallError, Grpcurl};
use fusebox_tests::operator::{list, number};
use fusebox_tests::process::hermetic;
use fusebox_tests::server::{Options, Server};
use fusebox_tests::tools;
use serde_json::{Value, json};
use tonic::Code;

const SOON: Duration = Duration::from_secs(20);

fn fleet(server: &Grpcurl, method: &str, request: &Value) -> Result<Value, CallError> {
    server.call(&format!("fusebox.v1.FleetService/{method}"), request)
}

/// Opens the breakers of a service.
fn open(service: &str, ttl: &str) -> Value {
    json!({"override": {
        "target": {"service": service},
        "action": "BREAKER_ACTION_FORCE_OPEN",
        "ttl": ttl,
        "reason": "the database burns",
    }})
}

fn set(server: &Grpcurl, request: &Value) -> Value {
    fleet(server, "SetBreakerOverride", request).unwrap()
}

/// The ids of those in force.
fn standing(server: &Grpcurl) -> Vec<u64> {
    let listed = fleet(server, "ListBreakerOverrides", &json!({})).unwrap();
    let overrides = list(&listed, "overrides");
    let ids = overrides.iter().map(|it| number(&it["override"]["id"]));
    ids.collect()
}

fn audit(server: &Grpcurl, request: &Value) -> Vec<Value> {
    let method = "fusebox.v1.PolicyService/ListAuditEvents";
    let answer = server.call(method, request).unwrap();
    list(&answer, "events")
}

fn wait_until(holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < SOON, "it did not come to be soon");
    }
}

#[test]
fn an_override_is_set_listed_and_cleared_and_all_of_it_is_on_record() {
    let server = Server::start(Options::new());
    let operator = server.grpcurl().header("fusebox-author", "ann");
    let checked = json!({"override": open("checkout", "600s")["override"], "validateOnly": true});
    assert_eq!(number(&set(&operator, &checked)["override"]["id"]), 0);
    let answer = set(&operator, &open("checkout", "600s"));
    let standing_now = &answer["override"];
    assert_eq!(
        (number(&standing_now["id"]), &standing_now["author"]),
        (1, &json!("ann"))
    );
    assert_eq!(standing_now["target"]["namespace"], "default");
    let warnings = list(&answer, "warnings");
    let warned = warnings[0].as_str().unwrap();
    assert!(
        warned.starts_with("no connected process matches namespace default, service checkout"),
        "{warned}"
    );
    let shadowing = set(&operator, &open("checkout", "600s"));
    let warned = list(&shadowing, "warnings")[1].to_string();
    assert!(
        warned.starts_with("\"override 1 has the same target"),
        "{warned}"
    );
    assert_eq!(standing(&operator), [2, 1]);
    let elsewhere = json!({"service": "search"});
    let listed = fleet(&operator, "ListBreakerOverrides", &elsewhere).unwrap();
    assert_eq!(list(&listed, "overrides"), [] as [Value; 0]);
    let clear = json!({"id": 1, "reason": "it was put out"});
    let cleared = fleet(&operator, "ClearBreakerOverride", &clear).unwrap();
    assert_eq!(
        (number(&cleared["revision"]), &cleared["override"]),
        (3, standing_now)
    );
    let again = fleet(&operator, "ClearBreakerOverride", &clear).unwrap_err();
    assert_eq!(again.code(), Some(Code::NotFound));
    assert!(
        again.message().contains("override 1 is not in force"),
        "{}",
        again.message()
    );
    let reset = json!({"target": {"service": "checkout"}, "reason": "try anew"});
    let reset = fleet(&operator, "ResetBreakers", &reset).unwrap();
    assert_eq!(number(&reset["id"]), 4);
    assert_eq!(standing(&operator), [2]);
    let events = audit(&operator, &json!({"namespace": "default"}));
    let told = events
        .iter()
        .map(|event| (&event["cause"], &event["reason"]));
    let expected = [
        ("CAUSE_BREAKERS_RESET", "try anew"),
        ("CAUSE_OVERRIDE_CLEARED", "it was put out"),
        ("CAUSE_OVERRIDE_SET", "the database burns"),
        ("CAUSE_OVERRIDE_SET", "the database burns"),
    ]
    .map(|(cause, reason)| (json!(cause), json!(reason)));
    assert!(
        told.eq(expected.iter().map(|(cause, reason)| (cause, reason))),
        "{events:#?}"
    );
    assert!(events.iter().all(|event| event["author"] == "ann"));
    assert_eq!(
        audit(&operator, &json!({"name": "checkout"})),
        [] as [Value; 0]
    );
    server.wait_for_line("breakers are forced", SOON);
    server.wait_for_line("an override is cleared", SOON);
    server.wait_for_line("breakers are reset", SOON);
}

#[test]
fn whatever_is_wrong_with_a_decision_is_told_with_its_field_and_its_bound() {
    let server = Server::start(Options::new());
    let operator = server.grpcurl();
    let with = |field: &str, value: Value| {
        let mut request = open("checkout", "600s");
        request["override"][field] = value;
        request
    };
    let target = |target: Value| with("target", target);
    let pairs = [
        (json!({}), "override.target: must say whose breakers"),
        (
            with("ttl", json!("0.5s")),
            "override.ttl: must be from 1 s to 7 days",
        ),
        (
            with("ttl", json!("604801s")),
            "override.ttl: must be from 1 s to 7 days",
        ),
        (
            with("ttl", Value::Null),
            "override.ttl: must say for how long",
        ),
        (with("reason", json!(" ")), "override.reason: must say why"),
        (
            with("reason", json!("x".repeat(1025))),
            "override.reason: must be at most 1024 bytes",
        ),
        (
            with("action", json!(0)),
            "override.action: must be FORCE_OPEN or FORCE_CLOSED",
        ),
        (
            with("target", Value::Null),
            "override.target: must say whose breakers",
        ),
        (
            target(json!({"service": "no service"})),
            "override.target.service: ",
        ),
        (
            target(json!({"namespace": "No"})),
            "override.target.namespace: ",
        ),
        (
            target(json!({"labels": {"zone": "no zone"}})),
            "override.target.labels.zone: ",
        ),
        (
            target(json!({})),
            "whole_namespace: must be true for a target that sets nothing but the namespace",
        ),
        (
            target(json!({"operation": "*"})),
            "whole_namespace: must be true",
        ),
    ];
    for (request, expected) in pairs {
        let refused = fleet(&operator, "SetBreakerOverride", &request).unwrap_err();
        assert_eq!(refused.code(), Some(Code::InvalidArgument), "{request}");
        let said = refused.message();
        assert!(said.starts_with(expected), "{said:?} for {request}");
    }
    let narrow = json!({"override": open("checkout", "60s")["override"], "wholeNamespace": true});
    let refused = fleet(&operator, "SetBreakerOverride", &narrow).unwrap_err();
    assert!(
        refused
            .message()
            .starts_with("whole_namespace: must be false")
    );
    let reset = json!({"target": {}, "reason": "anew"});
    let refused = fleet(&operator, "ResetBreakers", &reset).unwrap_err();
    assert!(
        refused
            .message()
            .starts_with("whole_namespace: must be true")
    );
    let refused = fleet(&operator, "ClearBreakerOverride", &json!({})).unwrap_err();
    assert!(
        refused
            .message()
            .starts_with("id: must be the id of an override")
    );
    assert_eq!(operator.stored().0, 0);
    let whole = json!({"target": {}, "reason": "anew", "wholeNamespace": true});
    let reset = fleet(&operator, "ResetBreakers", &whole).unwrap();
    assert_eq!(number(&reset["id"]), 1);
}

#[test]
fn what_was_acknowledged_is_in_force_after_the_worst_end_of_a_server() {
    let mut server = Server::start(Options::new());
    let operator = server.grpcurl();
    let before = set(&operator, &open("checkout", "600s"));
    set(&operator, &open("search", "600s"));
    let clear = json!({"id": 2});
    fleet(&operator, "ClearBreakerOverride", &clear).unwrap();
    server.kill9();
    server.restart();
    let operator = server.grpcurl();
    let listed = fleet(&operator, "ListBreakerOverrides", &json!({})).unwrap();
    let [only] = &*list(&listed, "overrides") else {
        panic!("{listed:#}");
    };
    assert_eq!(only["override"], before["override"]);
    assert_eq!(
        number(&set(&operator, &open("search", "600s"))["override"]["id"]),
        4
    );
}

#[test]
fn an_override_ends_by_itself_and_that_is_on_record_whatever_becomes_of_the_server_meanwhile() {
    let mut server = Server::start(Options::new());
    set(&server.grpcurl(), &open("checkout", "1s"));
    set(&server.grpcurl(), &open("search", "3s"));
    let expired = |server: &Server| {
        let events = audit(&server.grpcurl(), &json!({}));
        let expired = events
            .into_iter()
            .filter(|it| it["cause"] == "CAUSE_OVERRIDE_EXPIRED");
        expired.collect::<Vec<_>>()
    };
    wait_until(|| expired(&server).len() == 1);
    let first = &expired(&server)[0];
    assert_eq!(
        (&first["author"], number(&first["replacedRevision"])),
        (&json!("fusebox"), 1)
    );
    assert_eq!(first["override"]["target"]["service"], "checkout");
    assert_eq!(standing(&server.grpcurl()), [2]);
    server.kill9();
    server.restart();
    wait_until(|| expired(&server).len() == 2);
    assert_eq!(standing(&server.grpcurl()), [0; 0]);
    server.wait_for_line("an override's time is over", SOON);
}

#[test]
fn a_backup_carries_what_is_in_force_into_the_store_that_is_made_of_it() {
    let server = Server::start(Options::new());
    let before = set(&server.grpcurl(), &open("checkout", "600s"));
    let dir = tempfile::tempdir().unwrap();
    let (file, data) = (dir.path().join("backup"), dir.path().join("data"));
    let run = |args: &[&str]| {
        let output = hermetic(Command::new(tools::fusebox()).args(args)).output();
        let output = output.unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{said}");
        said
    };
    let (from, file, to) = (
        server.data_dir(),
        file.to_str().unwrap(),
        data.to_str().unwrap(),
    );
    let said = run(&["backup", "--data-dir", from.to_str().unwrap(), "--to", file]);
    assert!(said.contains("1 overrides"), "{said}");
    run(&["restore", "--from", file, "--data-dir", to]);
    let restored = Server::start(Options::new().data_dir(&data));
    let operator = restored.grpcurl();
    let listed = fleet(&operator, "ListBreakerOverrides", &json!({})).unwrap();
    let [only] = &*list(&listed, "overrides") else {
        panic!("{listed:#}");
    };
    assert_eq!(only["override"], before["override"]);
    fleet(&operator, "ClearBreakerOverride", &json!({"id": 1})).unwrap();
    assert_eq!(standing(&operator), [0; 0]);
}
