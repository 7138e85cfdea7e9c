//! Policies kept in files: what `fusebox check`, `import`, `export`, `apply` and `diff` say and
//! write, as a person or a pipeline meets them.
//!
//! What `apply` and `diff` do with an answer (`answers`) is shown against a server that answers as it
//! is told (`told`).

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

#[path = "files/answers.rs"]
mod answers;
#[path = "files/told.rs"]
mod told;

use fusebox_tests::home::Home;
use fusebox_tests::ports;
use fusebox_tests::server::{Options, Server};
use serde_json::{Value, json};

const PAYMENTS: &str = "\
name: payments
owner: team-a
selector:
  service: checkout
  operation: payments.*
rules:
  timeout:
    attempt: 0.8s
";

#[test]
fn good_files_are_told_to_be_good_from_wherever_they_come() {
    let home = Home::new(&[
        ("policies/payments.yaml", PAYMENTS),
        (
            "policies/eu/ledger.json",
            r#"{"policies": [{"name": "ledger", "selector": {"operation": "*"}, "rules": {"retry": {"max_attempts": 3}}}]}"#,
        ),
        ("policies/.hidden.yaml", "not: [looked at"),
        ("policies/README.md", "neither"),
    ]);
    let said = home.run(&["check", "-f", "policies"]).assert_good();
    assert_eq!(said, "2 policies in 2 files: good, 0 warnings\n");
    let said = home.run_with(&["check", "-f", "-"], PAYMENTS).assert_good();
    assert_eq!(said, "1 policy in 1 file: good, 0 warnings\n");
}

#[test]
fn every_mistake_in_every_file_is_told_at_once_with_its_place() {
    let home = Home::new(&[
        (
            "policies/a.yaml",
            "name: a\nselector:\n  operaton: x\nrules:\n  timeout:\n    attempt: -1s\n  \
             retry:\n    maxAttempts: \"many\"\n    maxAttempts: 3\n",
        ),
        (
            "policies/b.yaml",
            "name: a\nselector: {operation: x}\nrules: {enabled: no}\n",
        ),
        (
            "policies/c.json",
            "{\"name\": \"c\",\n  \"selector\": {\"kind\": \"API\"}\n",
        ),
    ]);
    home.put("policies/d.yaml", b"name: \xff\n");
    let ended = home.run(&["check", "-f", "policies", "-f", "missing.yaml"]);
    let lines = ended.assert_refused(1);
    for start in [
        "missing.yaml: cannot be read: ",
        "policies/a.yaml:3:3: selector.operaton: is no field; did you mean operation?",
        "policies/a.yaml:6:14: rules.timeout.attempt: must not be negative (found -1s)",
        "policies/a.yaml:8:18: rules.retry.max_attempts: must be a whole number from 0 to 4294967295 (found many)",
        "policies/a.yaml:9:5: rules.retry.max_attempts: stands here twice, first in line 8",
        "policies/b.yaml:1:7: name: policy default/a is defined already at policies/a.yaml:1:7",
        "policies/b.yaml:3:18: rules.enabled: must be true or false (found no)",
        "policies/c.json:3:1: is not YAML: ",
        "policies/d.yaml:1:7: is not UTF-8 text",
        "fusebox: ",
    ] {
        assert!(
            lines.iter().any(|line| line.starts_with(start)),
            "{start} in {lines:#?}"
        );
    }
}

#[test]
fn hostile_files_are_refused_in_a_moment() {
    let mut bomb = "a0: &a0 [x, x]\n".to_owned();
    for level in 1..40 {
        let before = level - 1;
        bomb += &format!("a{level}: &a{level} [*a{before}, *a{before}]\n");
    }
    let deep = "[".repeat(100_000);
    let long = "#".repeat(5_000_000);
    let many = "- x\n".repeat(250_000);
    for (text, part) in [
        (bomb.as_str(), "anchors are not read here"),
        (&deep, "recursion limit exceeded"),
        (&long, "must be at most 4194304 bytes"),
        (&many, "has more than 200000 values"),
        ("name: !!python/object a", "tags are not read here"),
        ("name:\n\tx", "indent with spaces"),
        ("name: a\0b", "control character"),
    ] {
        let home = Home::new(&[("bad.yaml", text)]);
        let ended = home.run(&["check", "-f", "bad.yaml"]);
        let lines = ended.assert_refused(1);
        assert!(
            lines[0].starts_with("bad.yaml") && ended.err.contains(part),
            "{part}: {}",
            ended.err
        );
        assert!(lines.len() < 150, "{}", lines.len());
    }
}

#[test]
fn what_one_write_cannot_take_is_told_before_it_is_tried() {
    let policy = |number| {
        format!("name: p{number}\nselector: {{operation: x{number}}}\nrules: {{enabled: true}}\n")
    };
    let many: Vec<_> = (0..2001).map(policy).collect();
    let home = Home::new(&[("many.yaml", &many.join("---\n"))]);
    let ended = home.run(&["check", "-f", "many.yaml"]);
    let lines = ended.assert_refused(1);
    assert!(
        lines[0].starts_with("fusebox: 2001 policies of "),
        "{lines:?}"
    );
}

#[test]
fn warnings_are_told_and_strict_takes_none() {
    let idle = "name: idle\nselector: {operation: x}\nrules:\n  enabled: false\n  retry: {maxAttempts: 3}\n";
    let home = Home::new(&[("idle.yaml", idle)]);
    let ended = home.run(&["check", "-f", "idle.yaml"]);
    assert_eq!(
        (ended.status, ended.out.as_str()),
        (0, "1 policy in 1 file: good, 1 warning\n")
    );
    assert!(
        ended
            .err
            .starts_with("idle.yaml:4:12: rules.enabled: warning: "),
        "{}",
        ended.err
    );
    let strict = home.run(&["check", "--strict", "-f", "idle.yaml"]);
    assert_eq!(strict.assert_refused(1).len(), 2);
}

#[test]
fn of_two_that_tie_in_different_files_both_are_warned_of() {
    let tied = |name: &str| {
        format!("name: {name}\nselector: {{operation: x}}\nrules: {{retry: {{maxAttempts: 3}}}}\n")
    };
    let home = Home::new(&[("p/a.yaml", &tied("a")), ("p/b.yaml", &tied("b"))]);
    let ended = home.run(&["check", "-f", "p"]);
    assert_eq!(ended.status, 0, "{}", ended.err);
    for file in ["p/a.yaml:", "p/b.yaml:"] {
        assert!(ended.err.contains(file), "{}", ended.err);
    }
}

#[test]
fn files_without_a_policy_are_no_success() {
    let home = Home::new(&[("empty/notes.txt", ""), ("empty.yaml", "# nothing\n")]);
    for path in ["empty", "empty.yaml"] {
        let ended = home.run(&["check", "-f", path]);
        assert!(
            ended.assert_refused(1)[0].starts_with("fusebox: no policy in "),
            "{}",
            ended.err
        );
    }
}

#[test]
fn a_service_config_becomes_files_that_check_takes_and_tells_what_is_missing() {
    let config = json!({
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [{
            "name": [{"service": "pay.v1.Pay", "method": "Charge"}, {"service": "pay.v1.Pay"}],
            "waitForReady": true,
            "timeout": "2.5s",
            "retryPolicy": {
                "maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "1s",
                "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }],
    });
    let home = Home::new(&[("grpc.json", &config.to_string())]);
    let import = [
        "import",
        "grpc-service-config",
        "grpc.json",
        "--service",
        "checkout",
    ];
    let ended = home.run(&import);
    assert_eq!(ended.status, 0, "{}", ended.err);
    for path in [
        "loadBalancingConfig: no counterpart: ",
        "methodConfig[0].waitForReady: no counterpart: ",
        "methodConfig[0].retryPolicy: approximated: ",
        "methodConfig[0].retryPolicy.retryableStatusCodes: no counterpart: ",
    ] {
        assert!(ended.err.contains(path), "{path}: {}", ended.err);
        assert!(
            ended.out.contains(path.split(": ").next().unwrap()),
            "{}",
            ended.out
        );
    }
    assert_eq!(
        home.run_with(&["check", "-f", "-", "--strict"], &ended.out)
            .status,
        0
    );

    let to = [&import[..], &["--to", "policies"]].concat();
    let said = home.run(&to).assert_good();
    assert_eq!(said, "2 policies in policies, 2 written anew\n");
    assert!(
        home.read("policies/default/pay.v1.pay.charge.yaml")
            .contains("maxAttempts: 4\n")
    );
    home.run(&["check", "-f", "policies"]).assert_good();
    assert_eq!(
        home.run(&to).assert_good(),
        "2 policies in policies, 0 written anew\n"
    );
}

#[test]
fn a_service_config_that_is_none_is_refused_with_its_line() {
    let home = Home::new(&[("grpc.json", "{\"methodConfig\": [\n{\"timeout\": 5}]}")]);
    let ended = home.run(&["import", "grpc-service-config", "grpc.json"]);
    let lines = ended.assert_refused(1);
    assert!(
        lines[0].starts_with("grpc.json:2:13: methodConfig[0].timeout: must be a time"),
        "{lines:?}"
    );
}

#[test]
fn what_is_exported_is_the_same_every_time_and_reads_back() {
    let server = Server::start(Options::new());
    let grpcurl = server.grpcurl();
    for name in ["payments", "ledger", "a.b_c"] {
        let policy = json!({
            "name": name, "owner": "team \"a\": yes\n", "priority": -1,
            "selector": {"operation": "*", "instanceLabels": {"no": "1.0", "zone": "eu"}},
            "rules": {"rateLimit": {"permits": 5, "per": "1s"}, "hedge": {"percentile": 0.95}},
            "clear": {"paths": ["timeout.attempt", "retry"]},
        });
        grpcurl.create(&policy).unwrap();
    }
    let home = Home::new(&[("out/default/old.yaml", PAYMENTS)]);
    let url = format!("http://{}", server.grpc_addr());
    let export = ["export", "--server", &url];
    let yaml = home.run(&export).assert_good();
    assert_eq!(home.run(&export).assert_good(), yaml);
    for word in ["revision", "etag", "createTime", "updatedBy", "schema"] {
        assert!(!yaml.contains(word), "{yaml}");
    }
    home.run_with(&["check", "-f", "-"], &yaml).assert_good();

    let json: Value = serde_json::from_str(
        &home
            .run(&[&export[..], &["-o", "json"]].concat())
            .assert_good(),
    )
    .unwrap();
    let names: Vec<_> = json["policies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|policy| &policy["name"])
        .collect();
    assert_eq!(names, ["a.b_c", "ledger", "payments"]);

    let ended = home.run(&[&export[..], &["--to", "out"]].concat());
    assert_eq!(ended.out, "3 policies in out, 3 written anew\n");
    assert_eq!(
        ended.err,
        "out/default/old.yaml: is no policy of these; left alone\n"
    );
    assert_eq!(home.read("out/default/old.yaml"), PAYMENTS);
    assert!(
        home.read("out/default/a.b_c.yaml")
            .contains("name: a.b_c\n")
    );
}

#[test]
fn a_server_that_is_not_there_is_told_in_one_line() {
    let home = Home::new(&[("payments.yaml", PAYMENTS)]);
    let url = format!("http://{}", ports::free_addr());
    let files = ["-f", "payments.yaml", "--server", &url];
    for (command, status) in [("apply", 1), ("diff", 2)] {
        let ended = home.run(&[&[command][..], &files].concat());
        let lines = ended.assert_refused(status);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].contains(&url) && lines[0].contains("FUSEBOX_ADDR"),
            "{lines:?}"
        );
    }
}

#[test]
fn an_owner_is_only_for_pruning_and_pruning_needs_one() {
    let home = Home::new(&[("payments.yaml", PAYMENTS)]);
    for wrong in [
        ["--owner", "team-a"].as_slice(),
        &["--prune"],
        &["--namespace", "x"],
    ] {
        let ended = home.run(&[&["apply", "-f", "payments.yaml"], wrong].concat());
        ended.assert_refused(2);
    }
}

#[test]
fn a_policy_file_is_one_however_its_ending_is_capitalized() {
    let ledger =
        r#"{"name": "ledger", "selector": {"operation": "*"}, "rules": {"enabled": true}}"#;
    let home = Home::new(&[
        ("p/A.YAML", PAYMENTS),
        ("p/b.Yml", &PAYMENTS.replace("payments", "refunds")),
        ("p/c.JSON", ledger),
    ]);
    let said = home.run(&["check", "-f", "p"]).assert_good();
    assert_eq!(said, "3 policies in 3 files: good, 0 warnings\n");
}

#[test]
fn a_set_is_weighed_as_the_request_that_carries_it() {
    let text = "x".repeat(515);
    let policy = |number| {
        let service = number % 40;
        format!(
            "name: p{number:04}\ndescription: {text}\n\
             selector: {{service: s{service:02}, operation: x{number:04}}}\n\
             rules: {{enabled: true}}\n"
        )
    };
    // The policies alone are less than a mebibyte, with a tag and a length for each they are more.
    let many: Vec<_> = (0..1925).map(policy).collect();
    let home = Home::new(&[("many.yaml", &many.join("---\n"))]);
    for (command, status) in [("check", 1), ("diff", 2), ("apply", 1)] {
        let ended = home.run(&[command, "-f", "many.yaml"]);
        let lines = ended.assert_refused(status);
        assert!(
            lines[0].starts_with("fusebox: 1925 policies of ") && lines[0].contains("1048576"),
            "{lines:?}"
        );
    }
    home.put("fit.yaml", many[..1900].join("---\n").as_bytes());
    let fit = home.run(&["check", "-f", "fit.yaml"]).assert_good();
    assert!(fit.starts_with("1900 policies in 1 file: good"), "{fit}");
}
