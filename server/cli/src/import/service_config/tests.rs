use fusebox_proto::json;
use serde_json::{Value, json};

use super::super::report::Note;
use super::*;
use crate::files::tree_of;

const WISH: Wish<'_> = Wish {
    service: "",
    namespace: "",
    owner: "",
};

/// Every key there is, in a list of choices as a resolver hands them out.
const EVERYTHING: &str = r#"[
  {"clientLanguage": ["GO"], "percentage": 10, "serviceConfig": {"methodConfig": [{"name": [{}]}]}},
  {
    "percentage": 100,
    "clientLanguage": [],
    "clientHostname": [],
    "fourth": 1,
    "serviceConfig": {
      "loadBalancingPolicy": "round_robin",
      "loadBalancingConfig": [{"grpclb": {"childPolicy": [{"pick_first": {}}]}}],
      "healthCheckConfig": {"serviceName": "pay"},
      "connectionScaling": {"maxConnectionsPerSubchannel": 2},
      "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1, "x": 1},
      "banana": {"a": [1]},
      "methodConfig": [
        {
          "name": [{"service": "pay.v1.Pay", "method": "Charge", "z": 0}, {"service": "pay.v1.Refund"}],
          "waitForReady": true,
          "timeout": "2.5s",
          "maxRequestMessageBytes": "1024",
          "maxResponseMessageBytes": 2048,
          "kiwi": null,
          "retry_policy": {
            "maxAttempts": 4,
            "initialBackoff": "0.1s",
            "maxBackoff": "1s",
            "backoffMultiplier": 1.6,
            "retryableStatusCodes": ["UNAVAILABLE", 14],
            "perAttemptRecvTimeout": "0.5s",
            "x": 1
          }
        },
        {
          "name": [{"service": "pay.v1.Pay"}],
          "hedgingPolicy": {
            "maxAttempts": 3,
            "hedgingDelay": "0.05s",
            "nonFatalStatusCodes": [],
            "y": {}
          }
        },
        {"name": [{}], "timeout": "10s"},
        {"name": [{"service": "idle"}], "waitForReady": false},
        {"timeout": "1s"}
      ]
    }
  }
]"#;

fn imported(text: &str) -> Imported {
    let (file, document) = tree_of(text);
    import(&file, &document, &WISH).unwrap()
}

fn errors(text: &str) -> Vec<String> {
    let (file, document) = tree_of(text);
    let errors = import(&file, &document, &WISH).unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}

/// The only policy of an entry for everybody with these keys besides its name, and what was told.
fn entry(keys: &Value) -> (Value, Vec<String>) {
    let mut entry = json!({"name": [{}]});
    let keys = keys.as_object().unwrap().clone();
    entry.as_object_mut().unwrap().extend(keys);
    let imported = imported(&json!({"methodConfig": [entry]}).to_string());
    let policy = json::to_json(&imported.policies[0].policy).unwrap();
    let notes = imported.report.notes().into_iter();
    let told = |note: &Note| {
        note.to_string()
            .split_once(": methodConfig[0].")
            .unwrap()
            .1
            .to_owned()
    };
    (policy["rules"].clone(), notes.map(told).collect())
}

/// Every key of a tree, by path, in JSON's case.
fn keys(node: &Node, path: &str, found: &mut Vec<String>) {
    match &node.is {
        Is::Map(entries) => {
            for (key, node) in entries {
                let path = below(path, &camel_case(&key.name));
                found.push(path.clone());
                keys(node, &path, found);
            }
        }
        Is::List(items) => {
            for (number, node) in items.iter().enumerate() {
                keys(node, &format!("{path}[{number}]"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn no_key_of_the_input_is_lost_in_silence() {
    let (_, document) = tree_of(EVERYTHING);
    let report = imported(EVERYTHING).report;
    let mut all = Vec::new();
    keys(&document, "", &mut all);
    assert!(all.len() > 50, "{all:?}");
    let lost: Vec<_> = all.iter().filter(|path| !report.knows(path)).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[test]
fn exactly_what_no_policy_can_say_is_listed_as_such() {
    let report = imported(EVERYTHING).report;
    let of = |fate| {
        let notes = report.notes().into_iter();
        let paths = notes
            .filter(|note| note.fate == fate)
            .map(|note| note.path.clone());
        paths
            .map(|path| path.replace("[1].serviceConfig.", ""))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of(Fate::None),
        [
            "[0].clientLanguage",
            "[0].percentage",
            "[0].serviceConfig",
            "[1].fourth",
            "loadBalancingPolicy",
            "loadBalancingConfig",
            "healthCheckConfig",
            "connectionScaling",
            "retryThrottling.maxTokens",
            "retryThrottling.x",
            "banana",
            "methodConfig[0].name[0].z",
            "methodConfig[0].waitForReady",
            "methodConfig[0].maxRequestMessageBytes",
            "methodConfig[0].maxResponseMessageBytes",
            "methodConfig[0].retryPolicy.retryableStatusCodes",
            "methodConfig[0].retryPolicy.x",
            "methodConfig[1].hedgingPolicy.nonFatalStatusCodes",
            "methodConfig[1].hedgingPolicy.y",
            "methodConfig[3].waitForReady",
            "methodConfig[4]",
        ]
    );
    assert_eq!(
        of(Fate::Approximated),
        [
            "retryThrottling.tokenRatio",
            "methodConfig[0].name[0]",
            "methodConfig[0].retryPolicy",
            "methodConfig[0].retryPolicy.perAttemptRecvTimeout",
            "methodConfig[1].name[0]",
            "methodConfig[1].hedgingPolicy.maxAttempts",
            "methodConfig[3].name[0]",
        ]
    );
}

#[test]
fn each_name_becomes_a_policy() {
    let made = imported(EVERYTHING).policies;
    let names = made.iter().map(|made| {
        let selector = made.policy.selector.as_ref().unwrap();
        format!("{} for {}", made.policy.name, selector.operation)
    });
    assert_eq!(
        names.collect::<Vec<_>>(),
        [
            "pay.v1.pay.charge for pay.v1.Pay/Charge",
            "pay.v1.refund for pay.v1.Refund/*",
            "pay.v1.pay for pay.v1.Pay/*",
            "grpc-default for *",
            "idle for idle/*",
        ]
    );
    for made in &made {
        assert_eq!(policy_from_wire(&made.policy).map(|_| ()), Ok(()));
    }
    let charge = json::to_json(&made[0].policy).unwrap();
    assert_eq!(
        charge["rules"],
        json!({
            "timeout": {"attempt": "0.500s", "overall": "2.500s"},
            "retry": {
                "maxAttempts": 4,
                "baseDelay": "0.100s",
                "maxDelay": "1s",
                "multiplier": 1.6,
                "jitter": "JITTER_EQUAL",
                "budget": {"ratio": 0.1},
            },
        })
    );
    let pay = json::to_json(&made[2].policy).unwrap();
    assert_eq!(
        pay["rules"]["hedge"],
        json!({"delay": "0.050s", "maxHedges": 2})
    );
    assert_eq!(pay["rules"]["retry"]["maxAttempts"], 3);
}

#[test]
fn what_a_wider_entry_sets_and_this_one_does_not_is_cleared() {
    let made = imported(EVERYTHING).policies;
    let clear = |number: usize| made[number].policy.clear.clone().unwrap_or_default().paths;
    // The service's entry hedges; the default sets the overall timeout, which charge sets, too.
    assert_eq!(clear(0), ["hedge.delay"]);
    assert_eq!(clear(1), [""; 0]);
    assert_eq!(clear(2), ["timeout.overall"]);
    assert_eq!(clear(3), [""; 0]);
    // Its own entry sets nothing, so that gRPC has no timeout there.
    assert_eq!(clear(4), ["timeout.overall"]);
}

#[test]
fn an_entry_that_neither_sets_nor_undoes_anything_makes_no_policy() {
    let imported = imported(r#"{"methodConfig": [{"name": [{}], "waitForReady": true}]}"#);
    assert!(imported.policies.is_empty());
    let notes: Vec<_> = imported
        .report
        .notes()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(
        notes[0].contains("name[0]: no counterpart: its entry sets nothing"),
        "{notes:?}"
    );
}

#[test]
fn what_was_wished_for_stands_in_every_policy() {
    let (file, document) = tree_of(EVERYTHING);
    let wish = Wish {
        service: "checkout",
        namespace: "eu",
        owner: "team",
    };
    for made in import(&file, &document, &wish).unwrap().policies {
        let policy = made.policy;
        assert_eq!(
            (policy.namespace.as_str(), policy.owner.as_str()),
            ("eu", "team")
        );
        assert_eq!(policy.selector.unwrap().service, "checkout");
    }
}

#[test]
fn what_is_out_of_a_policys_bounds_is_clamped_and_told() {
    let (rules, told) = entry(&json!({
        "timeout": "100000s",
        "retryPolicy": {
            "maxAttempts": 9,
            "initialBackoff": "0.0001s",
            "maxBackoff": "0s",
            "backoffMultiplier": 0.5,
        },
    }));
    assert_eq!(
        rules,
        json!({
            "timeout": {"overall": "86400s"},
            "retry": {
                "maxAttempts": 5,
                "baseDelay": "0.001s",
                "maxDelay": "0.001s",
                "multiplier": 1.0,
                "jitter": "JITTER_EQUAL",
            },
        })
    );
    for part in [
        "timeout: approximated: 100000s is beyond 1ms to 86400s; taken as 86400s",
        "retryPolicy.maxAttempts: approximated: gRPC makes 5 at most",
        "retryPolicy.initialBackoff: approximated: 100µs is beyond 1ms to 86400s; taken as 1ms",
        "retryPolicy.maxBackoff: approximated: 0ns is beyond 1ms to 86400s; taken as 1ms",
        "retryPolicy.backoffMultiplier: approximated: 0.5 is beyond 1.0 to 10.0; taken as 1.0",
    ] {
        assert!(
            told.iter().any(|told| told.starts_with(part)),
            "{part}: {told:?}"
        );
    }
}

#[test]
fn what_grpc_cuts_is_cut() {
    let (rules, told) = entry(&json!({
        "timeout": "1s",
        "retryPolicy": {"maxAttempts": 1, "initialBackoff": "2s", "maxBackoff": "1s",
                        "perAttemptRecvTimeout": "3s"},
    }));
    assert_eq!(rules["retry"]["baseDelay"], "1s");
    assert_eq!(rules["retry"]["maxAttempts"], 1);
    assert_eq!(rules["timeout"]["attempt"], "1s");
    assert!(
        told.iter().any(|told| told.contains("above maxBackoff")),
        "{told:?}"
    );
    assert!(
        told.iter().any(|told| told.contains("refused by gRPC")),
        "{told:?}"
    );
}

#[test]
fn numbers_may_be_text_and_hedges_may_go_at_once() {
    let (rules, _) = entry(&json!({"hedgingPolicy": {"maxAttempts": "2"}}));
    assert_eq!(rules["hedge"], json!({"delay": "0s", "maxHedges": 1}));
}

#[test]
fn what_is_not_of_the_form_is_refused_all_at_once_with_its_line() {
    let text = "{\n\"methodConfig\": [\n{\"name\": [{\"service\": \"a\"}, {\"service\": \"a\"}],\n\
                \"timeout\": 5,\n\"retryPolicy\": {\"maxAttempts\": 1.5},\n\
                \"hedgingPolicy\": {}},\n{\"name\": [{\"method\": \"M\"}, {\"service\": \"b*\"}],\n\
                \"waitForReady\": 1, \"waitForReady\": 2},\n5],\n\"retryThrottling\": []}";
    let errors = errors(text);
    let expected = [
        "test:3:29: methodConfig[0].name[1]: is named already in line 3",
        "test:4:12: methodConfig[0].timeout: must be a time in seconds such as \"1.5s\", not negative",
        "test:5:32: methodConfig[0].retryPolicy.maxAttempts: must be a whole number, not negative",
        "test:6:1: methodConfig[0].hedgingPolicy: must not stand beside retryPolicy",
        "test:7:11: methodConfig[1].name[0].method: must be the method of a service; name that, too",
        "test:7:40: methodConfig[1].name[1].service: must be the name of a service or method",
        "test:8:20: methodConfig[1].waitForReady: stands here twice, first in line 8",
        "test:9:1: methodConfig[2]: must be an object",
        "test:10:20: retryThrottling: must be an object",
    ];
    assert_eq!(errors, expected);
}

#[test]
fn a_name_that_makes_no_selector_is_refused() {
    let errors = errors(r#"{"methodConfig": [{"name": [{"service": "a b"}], "timeout": "1s"}]}"#);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("selector.operation"), "{errors:?}");
}

#[test]
fn of_choices_the_first_for_everybody_is_taken_or_else_the_first() {
    let config = |timeout: &str| json!({"methodConfig": [{"name": [{}], "timeout": timeout}]});
    let overall = |choices: &Value| {
        let made = imported(&choices.to_string()).policies;
        made[0]
            .policy
            .rules
            .unwrap()
            .timeout
            .unwrap()
            .overall
            .unwrap()
            .seconds
    };
    let some = json!({"clientHostname": ["a"], "serviceConfig": config("1s")});
    let half = json!({"percentage": 50, "serviceConfig": config("2s")});
    let all = json!({"serviceConfig": config("3s")});
    assert_eq!(overall(&json!([some, half, all])), 3);
    assert_eq!(overall(&json!([half, some])), 2);
}

#[test]
fn the_notes_are_comments_that_leave_the_policies_as_they_are() {
    let imported = imported(EVERYTHING);
    let comment = imported.report.comment(|_| true);
    assert!(
        comment.lines().all(|line| line.starts_with("# ")),
        "{comment}"
    );
    let second = imported
        .report
        .comment(|path| imported.policies[2].is_of(path));
    assert!(second.contains("hedgingPolicy") && second.contains("loadBalancingPolicy"));
    assert!(!second.contains("waitForReady"), "{second}");
}
