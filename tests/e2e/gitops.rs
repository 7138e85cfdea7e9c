//! Policies kept in files, against a real server: what `fusebox apply`, `diff` and `export` do there,
//! and who learns of it.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::fs;
use std::time::Duration;

use fusebox_tests::caller::Options as Calling;
use fusebox_tests::home::{Ended, Home};
use fusebox_tests::lines::Stream;
use fusebox_tests::operator::{list, number};
use fusebox_tests::ports;
use fusebox_tests::server::{Options, Server};
use fusebox_tests::upstream::Upstream;
use serde_json::{Value, json};

const END: Duration = Duration::from_secs(10);

/// An operator's directory, and the server that is to be as it says.
struct Desk {
    home: Home,
    server: Server,
}

impl Desk {
    fn new(files: &[(&str, &str)]) -> Self {
        let (home, server) = (Home::new(files), Server::start(Options::new()));
        Self { home, server }
    }

    fn url(&self) -> String {
        format!("http://{}", self.server.grpc_addr())
    }

    /// A command to that server.
    fn run(&self, words: &str) -> Ended {
        self.run_with(words, "")
    }

    fn run_with(&self, words: &str, input: &str) -> Ended {
        let url = self.url();
        let words: Vec<_> = words.split_whitespace().collect();
        let arguments = [&words[..], &["--server", &url]].concat();
        self.home.run_with(&arguments, input)
    }

    /// The last line that a command printed, having succeeded.
    fn summary(&self, words: &str) -> String {
        last(&self.run(words).assert_good())
    }

    fn revision(&self) -> u64 {
        self.server.grpcurl().stored().0
    }

    /// `namespace/name` of all policies, in their order.
    fn names(&self) -> Vec<String> {
        let policies = self.server.grpcurl().all_policies().unwrap();
        policies.iter().map(name).collect()
    }

    fn ask(&self, method: &str, request: &Value) -> Value {
        let method = format!("fusebox.v1.PolicyService/{method}");
        self.server.grpcurl().call(&method, request).unwrap()
    }
}

fn last(text: &str) -> String {
    text.lines().last().unwrap_or_default().to_owned()
}

fn name(policy: &Value) -> String {
    let text = |field: &str| policy[field].as_str().unwrap();
    format!("{}/{}", text("namespace"), text("name"))
}

fn policy(name: &str, owner: &str, max_attempts: u32) -> String {
    format!(
        "name: {name}\nowner: {owner}\nselector:\n  service: checkout\n  operation: {name}.*\n\
         rules:\n  retry:\n    maxAttempts: {max_attempts}\n"
    )
}

#[test]
fn a_directory_applied_is_there_and_applied_again_changes_nothing() {
    let desk = Desk::new(&[
        ("p/payments.yaml", &policy("payments", "a", 3)),
        ("p/eu/ledger.yaml", &policy("ledger", "a", 4)),
    ]);
    assert_eq!(
        desk.summary("apply -f p"),
        "2 created, 0 updated, 0 deleted, 0 unchanged; revision 1"
    );
    assert_eq!(desk.names(), ["default/ledger", "default/payments"]);
    assert_eq!(
        desk.summary("apply -f p"),
        "0 created, 0 updated, 0 deleted, 2 unchanged; revision 1"
    );
    assert_eq!(desk.revision(), 1);
}

#[test]
fn diff_tells_apart_nothing_something_and_what_it_cannot_find_out() {
    let mut desk = Desk::new(&[("p/payments.yaml", &policy("payments", "a", 3))]);
    let absent = desk.run("diff -f p");
    assert_eq!(absent.status, 1, "{}", absent.err);
    desk.run("apply -f p").assert_good();
    desk.run("diff -f p").assert_good();

    desk.home
        .put("p/payments.yaml", policy("payments", "a", 5).as_bytes());
    let changed = desk.run("diff -f p");
    assert_eq!(changed.status, 1, "{}", changed.err);
    assert_eq!(
        changed.out,
        "update default/payments\n  - rules.retry.max_attempts: 3\n  + rules.retry.max_attempts: 5\n\
         concerns 0 processes\n0 to create, 1 to update, 0 to delete, 0 unchanged; revision 1\n"
    );
    assert_eq!(desk.revision(), 1);

    desk.server.kill9();
    let lines = desk.run("diff -f p");
    assert_eq!(lines.assert_refused(2).len(), 1, "{}", lines.err);
}

#[test]
fn a_dry_run_tells_all_and_changes_nothing() {
    let desk = Desk::new(&[
        ("old/old.yaml", &policy("old", "a", 3)),
        ("p/payments.yaml", &policy("payments", "a", 3)),
    ]);
    desk.run("apply -f old").assert_good();
    let said = desk.summary("apply -f p --prune --owner a --dry-run");
    assert_eq!(
        said,
        "1 to create, 0 to update, 1 to delete, 0 unchanged; revision 1"
    );
    assert_eq!(
        (desk.revision(), desk.names()),
        (1, vec!["default/old".to_owned()])
    );
}

#[test]
fn what_is_exported_applies_without_a_change_as_text_and_as_files() {
    let desk = Desk::new(&[]);
    for name in ["payments", "ledger", "a.b_c"] {
        let policy = json!({
            "name": name, "owner": "team \"a\": yes\n", "priority": -1, "description": "0x10",
            "selector": {"operation": "*", "instanceLabels": {"no": "1.0", "zone": "eu"}},
            "rules": {
                "rateLimit": {"permits": 5, "per": "1s"}, "hedge": {"percentile": 0.95},
                "circuitBreaker": {"mode": "MODE_SHADOW", "consecutiveFailures": 7},
            },
            "clear": {"paths": ["timeout.attempt", "retry"]},
        });
        desk.server.grpcurl().create(&policy).unwrap();
    }
    let same = "0 created, 0 updated, 0 deleted, 3 unchanged; revision 3";
    for form in ["yaml", "json"] {
        let text = desk.run(&format!("export -o {form}")).assert_good();
        let applied = desk.run_with("apply -f -", &text).assert_good();
        assert_eq!(last(&applied), same, "{form}: {applied}");
        let directory = format!("out-{form}");
        let export = format!("export -o {form} --to {directory}");
        desk.run(&export).assert_good();
        desk.run(&format!("diff -f {directory}")).assert_good();
        assert_eq!(
            desk.summary(&export),
            format!("3 policies in {directory}, 0 written anew")
        );
    }
    assert_eq!(desk.revision(), 3);
}

#[test]
fn prune_deletes_what_is_gone_of_its_owner_and_leaves_others_alone() {
    let desk = Desk::new(&[
        ("a/kept.yaml", &policy("kept", "a", 3)),
        ("a/gone.yaml", &policy("gone", "a", 3)),
        (
            "a/far.yaml",
            &format!("namespace: eu\n{}", policy("far", "a", 3)),
        ),
        ("b/other.yaml", &policy("other", "b", 3)),
        ("b/none.yaml", &policy("none", "\"\"", 3)),
    ]);
    desk.run("apply -f a -f b").assert_good();
    fs::remove_file(desk.home.path("a/gone.yaml")).unwrap();
    fs::remove_file(desk.home.path("a/far.yaml")).unwrap();
    let said = desk
        .run("apply -f a --prune --owner a --namespace default")
        .assert_good();
    assert!(said.contains("delete default/gone\n"), "{said}");
    let left = ["default/kept", "default/none", "default/other", "eu/far"];
    assert_eq!(desk.names(), left);
    desk.run("apply -f a --prune --owner a").assert_good();
    assert_eq!(desk.names(), left[..3]);
    assert_eq!(desk.revision(), 3);
}

#[test]
fn an_empty_directory_prunes_nothing_unless_that_is_said_to_be_meant() {
    let desk = Desk::new(&[
        ("p/payments.yaml", &policy("payments", "a", 3)),
        ("e/notes.txt", ""),
    ]);
    desk.run("apply -f p").assert_good();
    let prune = "apply -f e --prune --owner a";
    let refused = desk.run(prune);
    let lines = refused.assert_refused(1);
    assert!(
        lines.len() == 1 && lines[0].contains("\"a\"") && lines[0].contains("--allow-empty"),
        "{lines:?}"
    );
    assert_eq!(desk.revision(), 1);
    desk.run(&format!("{prune} --allow-empty")).assert_good();
    assert_eq!((desk.revision(), desk.names()), (2, Vec::new()));
}

#[test]
fn what_only_the_server_sees_is_told_where_it_stands_in_the_files() {
    let desk = Desk::new(&[
        ("p/a.yaml", &policy("payments", "a", 3)),
        (
            "p/b.yaml",
            &format!("namespace: eu\n{}", policy("ledger", "b", 3)),
        ),
    ]);
    desk.home.run(&["check", "-f", "p"]).assert_good();
    let refused = desk.run("apply -f p --prune --owner a --namespace default");
    assert_eq!(
        refused.assert_refused(1),
        [
            "p/b.yaml:3:8: owner: must be \"a\", whose policies are pruned (found \"b\")",
            "p/b.yaml:1:12: namespace: must be default, in which policies are pruned (found eu)",
            "fusebox: the server refused: 2 errors; nothing was changed",
        ]
    );
    assert_eq!(desk.revision(), 0);
}

#[test]
fn an_etag_that_no_longer_holds_stops_the_whole_set() {
    let desk = Desk::new(&[
        ("p/payments.yaml", &policy("payments", "a", 3)),
        ("p/ledger.yaml", &policy("ledger", "a", 3)),
    ]);
    desk.run("apply -f p/payments.yaml").assert_good();
    let etag = desk.server.grpcurl().policy("payments").unwrap()["etag"].clone();
    let with_etag = format!("etag: {etag}\n{}", policy("payments", "a", 5));
    desk.home.put("p/payments.yaml", with_etag.as_bytes());
    // Offline, nobody knows whether it still holds.
    desk.home.run(&["check", "-f", "p"]).assert_good();
    let somebody = json!({"name": "payments", "priority": 9});
    desk.server.grpcurl().put(&somebody).unwrap();
    let refused = desk.run("apply -f p");
    let lines = refused.assert_refused(1);
    for part in ["policy default/payments", "its revision is 2", "(Aborted)"] {
        assert!(lines.len() == 1 && lines[0].contains(part), "{lines:?}");
    }
    assert_eq!(
        (desk.revision(), desk.names()),
        (2, vec!["default/payments".to_owned()])
    );
}

#[test]
fn who_applied_stands_in_the_audit_of_every_policy_of_the_set() {
    let desk = Desk::new(&[
        ("p/payments.yaml", &policy("payments", "a", 3)),
        ("p/ledger.yaml", &policy("ledger", "a", 3)),
    ]);
    desk.run("apply -f p --author ada").assert_good();
    let events = list(
        &desk.ask("ListAuditEvents", &json!({"author": "ada"})),
        "events",
    );
    let mut names: Vec<_> = events.iter().map(name).collect();
    names.sort();
    assert_eq!(names, ["default/ledger", "default/payments"]);
    for event in &events {
        assert_eq!(
            (number(&event["revision"]), &event["cause"]),
            (1, &json!("CAUSE_APPLY"))
        );
    }
    for author in ["Zoë", ""] {
        let url = desk.url();
        let apply = ["apply", "-f", "p", "--server", &url, "--author", author];
        let refused = desk.home.run(&apply);
        assert!(
            refused.assert_refused(2)[0].contains("printable ASCII"),
            "{}",
            refused.err
        );
    }
}

#[test]
fn an_imported_service_config_is_what_explain_says_of_its_methods() {
    let config = json!({"methodConfig": [{
        "name": [{"service": "pay.v1.Pay", "method": "Charge"}],
        "timeout": "2.5s",
        "retryPolicy": {
            "maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "1s",
            "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"],
        },
    }]});
    let desk = Desk::new(&[("grpc.json", &config.to_string())]);
    let import = "import grpc-service-config grpc.json --service checkout --owner a --to p";
    let import: Vec<_> = import.split(' ').collect();
    desk.home.run(&import).assert_good();
    desk.run("apply -f p").assert_good();
    let explain = |operation: &str| {
        let request = json!({"service": "checkout", "operation": operation, "kind": "KIND_API"});
        desk.ask("ExplainPolicy", &request)
    };
    let told = explain("pay.v1.Pay/Charge");
    assert_eq!(told["policies"][0]["name"], "pay.v1.pay.charge");
    assert_eq!(told["rules"]["timeout"]["overall"], "2.500s");
    assert_eq!(told["rules"]["retry"]["maxAttempts"], 4);
    assert_eq!(
        list(&explain("pay.v1.Pay/Refund"), "policies"),
        [] as [Value; 0]
    );
}

#[test]
fn json_is_the_response_as_the_contract_has_it() {
    let desk = Desk::new(&[("p/payments.yaml", &policy("payments", "a", 3))]);
    let parsed = |ended: &Ended| serde_json::from_str::<Value>(&ended.out).unwrap();
    let diff = desk.run("diff -f p -o json");
    assert_eq!(
        (diff.status, diff.err.as_str(), desk.revision()),
        (1, "", 0)
    );
    let applied = desk.run("apply -f p -o json");
    for told in [parsed(&diff), parsed(&applied)] {
        let [diff] = list(&told, "diffs").try_into().unwrap();
        assert_eq!(
            (name(&diff), &diff["action"]),
            ("default/payments".to_owned(), &json!("ACTION_CREATE"))
        );
        let retry = json!({"field": "rules.retry.max_attempts", "after": "3"});
        assert!(list(&diff, "changes").contains(&retry), "{diff:#}");
    }
    assert_eq!(number(&parsed(&applied)["revision"]), 1);
}

#[test]
fn a_connected_process_sees_each_set_whole() {
    let many = |count: u32, max_attempts| {
        let policies = (0..count).map(|n| policy(&format!("p{n}"), "a", max_attempts));
        policies.collect::<Vec<_>>().join("---\n")
    };
    let desk = Desk::new(&[
        ("first.yaml", &many(50, 3)),
        // Changes some and takes the others away.
        ("second.yaml", &many(20, 5)),
        ("third.yaml", &many(70, 5)),
    ]);
    let upstream = Upstream::start();
    let caller = Calling::new("checkout", "one", "p0.charge", &upstream.url("/"))
        .server(desk.server.grpc_addr())
        .idempotent()
        .start();
    caller.wait_for_link(true);
    for (revision, file) in (1..).zip(["first", "second", "third"]) {
        desk.run(&format!("apply -f {file}.yaml --prune --owner a"))
            .assert_good();
        caller.wait_for_revision(revision);
    }
    let lines = caller.lines().text(Stream::Out);
    let seen = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|event| event["event"] == "health")
        .map(|health| (number(&health["revision"]), number(&health["policies"])));
    let mut seen: Vec<_> = seen.collect();
    seen.dedup();
    assert_eq!(seen, [(0, 0), (1, 50), (2, 20), (3, 70)]);
}

#[test]
fn a_server_that_is_down_or_another_port_is_told_in_one_line_that_says_what_to_do() {
    let mut desk = Desk::new(&[("p/payments.yaml", &policy("payments", "a", 3))]);
    let grpc = desk.server.grpc_addr().to_string();
    let http = desk.server.http_addr().to_string();
    let told = |url: &str, part: &str| {
        for command in ["apply -f p", "diff -f p", "export"] {
            let words: Vec<_> = command.split(' ').collect();
            let ended = desk.home.run(&[&words[..], &["--server", url]].concat());
            let lines = ended.assert_refused(if words[0] == "diff" { 2 } else { 1 });
            assert_eq!(lines.len(), 1, "{lines:?}");
            for part in [part, "--server", "FUSEBOX_ADDR"] {
                assert!(lines[0].contains(part), "{part}: {lines:?}");
            }
        }
    };
    told(&format!("https://{grpc}"), "only http:// is spoken");
    told(&http, "its gRPC port");
    told(&ports::free_addr().to_string(), "Connection refused");
    desk.server.terminate();
    assert!(desk.server.wait_exit(END).success());
    let ended = desk.run("apply -f p");
    assert!(ended.assert_refused(1)[0].contains(&grpc), "{}", ended.err);
}

#[test]
fn an_export_of_nothing_is_a_set_of_nothing() {
    let desk = Desk::new(&[]);
    for form in ["yaml", "json"] {
        let text = desk.run(&format!("export -o {form}")).assert_good();
        let empty = desk.run_with("apply -f -", &text);
        assert_eq!(
            empty.assert_refused(1),
            ["fusebox: no policy in 1 file; name files or directories that have some"],
            "{form}: {text}"
        );
        for command in ["diff", "apply", "apply --prune --owner a"] {
            let allowed = desk.run_with(&format!("{command} -f - --allow-empty"), &text);
            assert_eq!(allowed.status, 0, "{form}: {text}: {}", allowed.err);
        }
    }
    let json = desk.run("export -o json").assert_good();
    assert_eq!(json, "{\"policies\": []}\n");
}
