//! Policies as an operator handles them, through grpcurl: created, read, changed, listed, removed,
//! and still there after the worst end a server can meet.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::collections::BTreeMap;
use std::time::Duration;

use fusebox_tests::grpcurl::{CallError, Grpcurl};
use fusebox_tests::operator::{list, number, revision};
use fusebox_tests::server::{Options, Server};
use serde_json::{Value, json};
use tonic::Code;

fn policy(name: &str) -> Value {
    json!({
        "name": name,
        "owner": "payments-team",
        "description": "as agreed",
        "priority": 7,
        "selector": {"service": "checkout", "operation": "payments.*", "instanceLabels": {"tier": "gold"}},
        "rules": {
            "timeout": {"attempt": "0.800s", "overall": "3s"},
            "retry": {"maxAttempts": 4, "multiplier": 1.5},
            "circuitBreaker": {"window": {"span": "10s"}, "failureRatio": 0.25, "minimumCalls": 50},
        },
    })
}

fn list_policies(server: &Grpcurl, request: &Value) -> Result<Value, CallError> {
    server.call("fusebox.v1.PolicyService/ListPolicies", request)
}

fn delete(server: &Grpcurl, request: &Value) -> Result<Value, CallError> {
    server.call("fusebox.v1.PolicyService/DeletePolicy", request)
}

fn update(server: &Grpcurl, request: &Value) -> Result<Value, CallError> {
    server.policies("UpdatePolicy", request)
}

#[test]
fn a_created_policy_is_read_back_as_it_was_written_with_what_the_server_adds() {
    let server = Server::start(Options::new());
    let server = server.grpcurl();
    let created = server.create(&policy("payments")).unwrap();
    assert_eq!(server.policy("payments").unwrap(), created);
    for (field, value) in policy("payments").as_object().unwrap() {
        assert_eq!(&created[field], value, "{field}");
    }
    assert_eq!(
        (&created["namespace"], revision(&created)),
        (&json!("default"), 1)
    );
    for field in ["etag", "createTime", "updateTime", "updatedBy"] {
        assert!(
            !created[field].as_str().unwrap_or_default().is_empty(),
            "{field} in {created:#}"
        );
    }
    assert!(number(&created["schema"]) > 0);
    let again = server.create(&policy("payments")).unwrap_err();
    assert_eq!(again.code(), Some(Code::AlreadyExists));
    assert!(again.message().contains("payments"), "{}", again.message());
    assert_eq!(server.policy("payments").unwrap(), created);
}

#[test]
fn validate_only_answers_as_if_and_stores_nothing() {
    let server = Server::start(Options::new());
    let server = server.grpcurl();
    let would_be = json!({"policy": policy("payments"), "validateOnly": true});
    let answer = server.policies("CreatePolicy", &would_be).unwrap();
    assert_eq!(answer["rules"], policy("payments")["rules"]);
    let answer = json!({"policy": policy("payments"), "validateOnly": true, "allowMissing": true});
    update(&server, &answer).unwrap();
    assert_eq!(server.all_policies().unwrap(), [] as [Value; 0]);

    let stored = server.create(&policy("payments")).unwrap();
    let change = json!({"policy": {"name": "payments", "priority": 9}, "validateOnly": true});
    assert_eq!(update(&server, &change).unwrap()["priority"], 9);
    delete(&server, &json!({"name": "payments", "validateOnly": true})).unwrap();
    assert_eq!(server.policy("payments").unwrap(), stored);
    let wrong = json!({"policy": {"name": "payments", "rules": {"retry": {"maxAttempts": 0}}}, "validateOnly": true});
    assert_eq!(
        update(&server, &wrong).unwrap_err().code(),
        Some(Code::InvalidArgument)
    );
}

#[test]
fn allow_missing_creates_on_update_and_forgives_on_delete() {
    let server = Server::start(Options::new());
    let server = server.grpcurl();
    let absent = update(&server, &json!({"policy": policy("payments")})).unwrap_err();
    assert_eq!(absent.code(), Some(Code::NotFound));
    let created = server.put(&policy("payments")).unwrap();
    let changed = server.put(&policy("payments")).unwrap();
    assert_eq!(created["createTime"], changed["createTime"]);
    delete(&server, &json!({"name": "payments"})).unwrap();
    assert_eq!(
        delete(&server, &json!({"name": "payments"}))
            .unwrap_err()
            .code(),
        Some(Code::NotFound)
    );
    delete(&server, &json!({"name": "payments", "allowMissing": true})).unwrap();
}

#[test]
fn an_update_replaces_what_its_mask_names_and_nothing_else() {
    let server = Server::start(Options::new());
    let server = server.grpcurl();
    server.create(&policy("payments")).unwrap();
    let masked = |mask: &[&str], change: Value| {
        let mut policy = json!({"name": "payments"});
        policy
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        // Not protobuf's JSON, which is a text: grpcurl 1.8 takes a mask as the message it is.
        let mask = json!({"paths": mask});
        update(&server, &json!({"policy": policy, "updateMask": mask}))
    };
    let mut wanted = policy("payments");
    let rules = json!({"rules": {"timeout": {"attempt": "0.100s"}, "retry": {"maxAttempts": 9}}});
    let changed = masked(&["rules.timeout.attempt"], rules).unwrap();
    wanted["rules"]["timeout"]["attempt"] = json!("0.100s");
    assert_eq!(changed["rules"], wanted["rules"]);
    let changed = masked(&["priority", "description"], json!({"priority": -3})).unwrap();
    assert_eq!(
        (&changed["priority"], changed.get("description")),
        (&json!(-3), None)
    );
    assert_eq!(changed["rules"], wanted["rules"]);
    let changed = masked(&["rules.retry"], json!({})).unwrap();
    assert_eq!(changed["rules"].get("retry"), None);
    assert_eq!(changed["rules"]["timeout"], wanted["rules"]["timeout"]);
    let refused = masked(&["rules.retries"], json!({})).unwrap_err();
    assert_eq!(refused.code(), Some(Code::InvalidArgument));
    assert!(refused.stderr.contains("retries"), "{}", refused.stderr);
    let whole = masked(
        &["*"],
        json!({"selector": {"operation": "*"}, "rules": {"enabled": false}}),
    );
    let whole = whole.unwrap();
    assert_eq!(
        (&whole["rules"], whole.get("owner")),
        (&json!({"enabled": false}), None)
    );
}

#[test]
fn without_a_mask_every_field_that_is_set_is_replaced_rules_whole() {
    let server = Server::start(Options::new());
    let server = server.grpcurl();
    server.create(&policy("payments")).unwrap();
    let change = json!({"name": "payments", "rules": {"retry": {"maxAttempts": 2}}});
    let changed = update(&server, &json!({"policy": change})).unwrap();
    assert_eq!(changed["rules"], json!({"retry": {"maxAttempts": 2}}));
    let kept = policy("payments");
    for field in ["owner", "description", "priority", "selector"] {
        assert_eq!(changed[field], kept[field], "{field}");
    }
}

#[test]
fn an_etag_lets_through_whoever_saw_the_last_version() {
    let server = Server::start(Options::new());
    let server = server.grpcurl();
    let first = server.create(&policy("payments")).unwrap();
    let with = |etag: &Value, priority: i32| {
        let policy = json!({"name": "payments", "priority": priority, "etag": etag});
        update(&server, &json!({"policy": policy}))
    };
    let second = with(&first["etag"], 1).unwrap();
    assert_ne!(first["etag"], second["etag"]);
    assert_eq!(
        with(&first["etag"], 2).unwrap_err().code(),
        Some(Code::Aborted)
    );
    let stale = delete(&server, &json!({"name": "payments", "etag": first["etag"]})).unwrap_err();
    assert_eq!(stale.code(), Some(Code::Aborted));
    assert_eq!(server.policy("payments").unwrap(), second);
    delete(
        &server,
        &json!({"name": "payments", "etag": second["etag"]}),
    )
    .unwrap();
    assert_eq!(
        server.policy("payments").unwrap_err().code(),
        Some(Code::NotFound)
    );
}

#[test]
fn a_list_comes_in_pages_that_together_are_everything_once_and_in_order() {
    let server = Server::start(Options::new());
    let server = server.grpcurl();
    let (mut wanted, mut last) = (Vec::new(), 0);
    for name in ["c", "a", "e", "b", "d"] {
        last = revision(&server.create(&policy(name)).unwrap());
        wanted.push(name);
    }
    let mut elsewhere = policy("a");
    elsewhere["namespace"] = json!("other");
    server.create(&elsewhere).unwrap();
    wanted.sort_unstable();
    let (mut names, mut token, mut sizes) = (Vec::new(), Value::Null, Vec::new());
    loop {
        let request = json!({"namespace": "default", "pageSize": 2, "pageToken": token});
        let mut page = list_policies(&server, &request).unwrap();
        assert!(number(&page["revision"]) > last);
        let policies = list(&page, "policies");
        sizes.push(policies.len());
        names.extend(
            policies
                .iter()
                .map(|policy| policy["name"].as_str().unwrap().to_owned()),
        );
        token = page["nextPageToken"].take();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(
        (names, sizes),
        (
            wanted.iter().map(ToString::to_string).collect(),
            vec![2, 2, 1]
        )
    );
    assert_eq!(server.all_policies().unwrap().len(), 6);
    let made_up = list_policies(&server, &json!({"pageToken": "made-up"})).unwrap_err();
    assert_eq!(made_up.code(), Some(Code::InvalidArgument));
}

#[test]
fn legal_but_odd_is_a_warning_and_not_a_refusal() {
    let server = Server::start(Options::new());
    let server = server.grpcurl();
    let mut first = policy("one");
    first["selector"] = json!({"service": "checkout"});
    server.create(&first).unwrap();
    first["name"] = json!("two");
    // As specific, as high: only the name decides between them.
    let method = "fusebox.v1.PolicyService/CreatePolicy";
    let answer = server.call(method, &json!({"policy": first})).unwrap();
    let warnings = list(&answer, "warnings");
    assert!(!warnings.is_empty(), "{answer:#}");
    assert!(
        warnings
            .iter()
            .all(|warning| warning["description"].is_string())
    );
}

#[test]
fn acknowledged_writes_survive_a_kill() {
    let mut server = Server::start(Options::new());
    let mut wanted = BTreeMap::new();
    for round in 0..2 {
        let grpcurl = server.grpcurl();
        for i in 0..20 {
            let name = format!("policy-{i}");
            let mut policy = policy(&name);
            policy["priority"] = json!(round * 100 + i);
            wanted.insert(name, grpcurl.put(&policy).unwrap());
        }
        for i in 0..5 {
            let name = format!("policy-{}", 2 * i + round);
            delete(&grpcurl, &json!({"name": name})).unwrap();
            wanted.remove(&name);
        }
        server.restart();
        let kept = server.grpcurl().all_policies().unwrap();
        let by_name = |policy: Value| (policy["name"].as_str().unwrap().to_owned(), policy);
        assert_eq!(
            kept.into_iter().map(by_name).collect::<BTreeMap<_, _>>(),
            wanted
        );
    }
    let next = server.grpcurl().put(&policy("next")).unwrap();
    assert_eq!(revision(&next), 51, "revisions go on where they were");
}

/// The priority of a policy, or null.
fn priority(policy: &Value) -> &Value {
    &policy["priority"]
}

#[test]
fn a_set_is_applied_in_one_write_and_its_owners_others_are_pruned() {
    let server = Server::start(Options::new());
    let server = server.grpcurl();
    let apply = |request: Value| server.call("fusebox.v1.PolicyService/ApplyPolicies", &request);
    let set = |names: &[&str]| names.iter().map(|name| policy(name)).collect::<Vec<_>>();
    let first = apply(json!({"policies": set(&["a", "b", "c"])})).unwrap();
    assert_eq!(number(&first["revision"]), 1);

    let mut higher = policy("b");
    higher["priority"] = json!(9);
    let wanted = json!({
        "policies": [policy("a"), higher, policy("d")],
        "prune": true,
        "owner": "payments-team",
    });
    let mut dry = wanted.clone();
    dry["validateOnly"] = json!(true);
    let told = apply(dry).unwrap();
    let made = apply(wanted).unwrap();
    assert_eq!(told["diffs"], made["diffs"]);
    let done: Vec<_> = list(&made, "diffs")
        .into_iter()
        .map(|diff| diff["action"].clone())
        .collect();
    assert_eq!(
        done,
        [
            "ACTION_UNCHANGED",
            "ACTION_UPDATE",
            "ACTION_CREATE",
            "ACTION_DELETE"
        ]
    );
    let change = json!({"field": "priority", "before": "7", "after": "9"});
    assert_eq!(made["diffs"][1]["changes"], json!([change]));
    assert_eq!(server.all_policies().unwrap().len(), 3);

    let all = apply(json!({"prune": true, "owner": "payments-team"})).unwrap_err();
    assert_eq!(all.code(), Some(Code::InvalidArgument));
    assert!(
        all.message().contains("all 3 policies"),
        "{}",
        all.message()
    );
    let twice = apply(json!({"policies": set(&["x", "y", "x"])})).unwrap_err();
    let details = &twice.details("google.rpc.BadRequest")[0];
    assert_eq!(details["fieldViolations"][0]["field"], "policies[2].name");
    assert_eq!(server.all_policies().unwrap().len(), 3);

    let owned = json!({"owner": "payments-team", "service": "checkout"});
    let owned = list_policies(&server, &owned).unwrap();
    assert_eq!(list(&owned, "policies").len(), 3);
    let others = json!({"owner": "payments-team", "service": "search"});
    let others = list_policies(&server, &others).unwrap();
    assert_eq!(list(&others, "policies").len(), 0);
}

#[test]
fn what_a_policy_was_is_told_and_made_again_also_after_a_restart() {
    let mut server = Server::start(Options::new());
    let ann = server.grpcurl().header("fusebox-author", "ann");
    for priority in 1..=3 {
        let mut policy = policy("payments");
        policy["priority"] = json!(priority);
        ann.put(&policy).unwrap();
    }
    delete(&ann, &json!({"name": "payments"})).unwrap();
    server.restart();
    let server = server.grpcurl();
    let revisions = json!({"name": "payments"});
    let revisions = server.call("fusebox.v1.PolicyService/ListPolicyRevisions", &revisions);
    let revisions = list(&revisions.unwrap(), "revisions");
    let told: Vec<_> = revisions
        .iter()
        .map(|was| number(&was["revision"]))
        .collect();
    assert_eq!(told, [4, 3, 2, 1]);
    assert_eq!(
        (&revisions[0]["cause"], &revisions[0]["author"]),
        (&json!("CAUSE_DELETE"), &json!("ann"))
    );
    assert_eq!(priority(&revisions[2]["policy"]), 2);

    let back = |revision: u64| {
        let request = json!({"name": "payments", "revision": revision});
        server.policies("RollbackPolicy", &request)
    };
    let deleted = back(4).unwrap_err();
    assert_eq!(deleted.code(), Some(Code::FailedPrecondition));
    let unknown = back(9).unwrap_err();
    assert_eq!(unknown.code(), Some(Code::NotFound));
    assert!(
        unknown.message().ends_with("kept are 4, 3, 2, 1"),
        "{}",
        unknown.message()
    );
    let again = back(2).unwrap();
    assert_eq!((priority(&again), revision(&again)), (&json!(2), 5));
    assert_eq!(server.policy("payments").unwrap(), again);

    let audit = json!({"name": "payments", "pageSize": 2});
    let audit = server
        .call("fusebox.v1.PolicyService/ListAuditEvents", &audit)
        .unwrap();
    let events = list(&audit, "events");
    let causes: Vec<_> = events.iter().map(|event| event["cause"].clone()).collect();
    assert_eq!(causes, ["CAUSE_ROLLBACK", "CAUSE_DELETE"]);
    assert_eq!(priority(&events[1]["before"]), 3);
    assert!(audit["nextPageToken"].is_string(), "{audit:#}");
}

#[test]
fn whoever_watches_sees_the_policies_and_then_every_write() {
    const SOON: Duration = Duration::from_secs(20);
    let server = Server::start(Options::new());
    let server = server.grpcurl();
    let watch = |after: u64| {
        let request = json!({"namespace": "default", "afterRevision": after});
        server.watch("fusebox.v1.PolicyService/WatchPolicies", &request)
    };
    server.create(&policy("a")).unwrap();
    let mut watching = watch(0);
    let state = watching.next(SOON);
    assert_eq!(state["changes"]["changes"][0]["name"], "a");
    assert_eq!(number(&watching.next(SOON)["syncedRevision"]), 1);
    delete(&server, &json!({"name": "a"})).unwrap();
    let write = watching.next(SOON);
    assert_eq!(number(&write["changes"]["revision"]), 2);
    assert_eq!(write["changes"]["changes"][0]["cause"], "CAUSE_DELETE");

    let missed = watch(1).next(SOON);
    assert_eq!(missed, write);
    let request = json!({"afterRevision": 9});
    let ahead = server.call_all("fusebox.v1.PolicyService/WatchPolicies", &request);
    assert_eq!(ahead.unwrap_err().code(), Some(Code::OutOfRange));
}
