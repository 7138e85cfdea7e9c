use super::super::yaml::documents;
use super::*;

fn read(text: &str) -> (Vec<Draft>, Vec<String>) {
    let file = Arc::from("p.yaml");
    let (documents, problems) = documents(text.as_bytes());
    assert_eq!(problems, [], "{text}");
    let mut findings = Vec::new();
    let mut drafts = Vec::new();
    for document in &documents {
        drafts.extend(of_document(&file, document, &mut findings));
    }
    findings.sort_by(|a, b| a.at.cmp(&b.at));
    (drafts, findings.iter().map(ToString::to_string).collect())
}

fn legal(text: &str) -> v1::Policy {
    let (mut drafts, findings) = read(text);
    assert_eq!(findings, [""; 0], "{text}");
    let draft = drafts.pop().unwrap();
    assert!(draft.policy.is_some() && drafts.is_empty());
    draft.wire
}

/// The findings about a policy that is legal but for these lines.
fn of_lines(lines: &str) -> Vec<String> {
    read(&format!("name: a\nselector: {{operation: x}}\n{lines}")).1
}

#[test]
fn a_policy_is_read_in_either_case_in_yaml_and_in_json() {
    let yaml = legal(
        "name: payments\n\
         selector:\n  service: checkout\n  instance_labels: {zone: eu-1, no: 'yes'}\n\
         rules:\n  timeout: {attempt: 0.8s}\n  retry: {max_attempts: 4, multiplier: 1.5}\n  \
         circuitBreaker:\n    window: {span: 10s}\n    failureRatio: 0.5\n    mode: MODE_SHADOW\n\
         clear: hedge.delay,rate_limit.max_wait, bulkhead.maxWait\n",
    );
    let json = legal(
        r#"{"name": "payments",
            "selector": {"service": "checkout", "instanceLabels": {"zone": "eu-1", "no": "yes"}},
            "rules": {"timeout": {"attempt": "0.800s"},
                      "retry": {"maxAttempts": "4", "multiplier": 1.5},
                      "circuit_breaker": {"window": {"span": "10s"}, "failure_ratio": 5e-1,
                                          "mode": 2}},
            "clear": "hedge.delay,rateLimit.maxWait,bulkhead.maxWait"}"#,
    );
    assert_eq!(yaml, json);
    assert_eq!(yaml.selector.unwrap().instance_labels["no"], "yes");
    let paths = yaml.clear.unwrap().paths;
    assert_eq!(
        paths,
        ["hedge.delay", "rate_limit.max_wait", "bulkhead.max_wait"]
    );
}

#[test]
fn what_is_cleared_may_be_written_as_grpcurl_wants_it() {
    let policy =
        legal("name: a\nselector: {operation: x}\nclear: {paths: [rate_limit.max_wait, hedge]}\n");
    assert_eq!(
        policy.clear.unwrap().paths,
        ["rate_limit.max_wait", "hedge"]
    );
    let findings = of_lines("clear: {path: [hedge]}");
    assert!(
        findings[0].contains("one text of field paths"),
        "{findings:?}"
    );
}

#[test]
fn what_the_contract_writes_is_read_back_as_it_was() {
    let policy = legal(
        "name: a\nnamespace: n\nowner: o\ndescription: \"two\\nlines\"\npriority: -2\n\
         selector: {kind: KIND_API}\nrules: {hedge: {percentile: 0.95, maxHedges: 2}, enabled: false}\n",
    );
    assert_eq!(legal(&json::to_text(&policy).unwrap()), policy);
}

#[test]
fn a_violation_is_told_where_its_field_stands_with_what_is_written_there() {
    let findings = of_lines("rules:\n  timeout:\n    attempt: -1s\n    overall: 90000s\n");
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(
        findings[0].starts_with("p.yaml:5:14: rules.timeout.attempt: must ")
            && findings[0].ends_with("(found -1s)"),
        "{findings:?}"
    );
    assert!(
        findings[1].starts_with("p.yaml:6:14: rules.timeout.overall: must be")
            && findings[1].ends_with("(found 90000s)"),
        "{findings:?}"
    );
}

#[test]
fn a_violation_of_a_field_that_is_not_there_is_told_at_its_section() {
    let (_, findings) = read("# a comment\nrules:\n  rateLimit:\n    permits: 5\n");
    assert_eq!(findings.len(), 3, "{findings:?}");
    assert!(
        findings[0].starts_with("p.yaml:2:1: name: must not be empty"),
        "{findings:?}"
    );
    assert!(
        findings[1].starts_with("p.yaml:2:1: selector: must set"),
        "{findings:?}"
    );
    assert!(
        findings[2].starts_with("p.yaml:4:14: rules.rate_limit.permits: needs"),
        "{findings:?}"
    );
}

#[test]
fn an_unknown_field_is_refused_with_the_nearest_that_is_known() {
    let findings =
        of_lines("rules:\n  timout: {attempt: 1s}\n  retry: {max_atempts: 3, zone: 1}\nfleet: 1\n");
    assert_eq!(
        findings,
        [
            "p.yaml:4:3: rules.timout: is no field; did you mean timeout?",
            "p.yaml:5:11: rules.retry.max_atempts: is no field; did you mean maxAttempts?",
            "p.yaml:5:27: rules.retry.zone: is no field; known here are maxAttempts, baseDelay, \
             maxDelay, multiplier, jitter, budget, honorRetryAfter",
            "p.yaml:6:1: fleet: is no field; known here are namespace, name, owner, description, \
             priority, selector, rules, clear",
        ]
    );
}

#[test]
fn a_value_of_a_wrong_type_is_refused_with_what_is_wanted() {
    for (line, message) in [
        (
            "priority: 1.5",
            "priority: must be a whole number from -2147483648 to 2147483647 (found 1.5)",
        ),
        (
            "priority: 0x1F",
            "priority: must be a whole number from -2147483648 to 2147483647 (found 0x1F)",
        ),
        (
            "priority: 007",
            "priority: must be a whole number from -2147483648 to 2147483647 (found 007)",
        ),
        (
            "priority: high",
            "priority: must be a whole number from -2147483648 to 2147483647 (found high)",
        ),
        (
            "priority: [1]",
            "priority: must be a whole number from -2147483648 to 2147483647 (found a list)",
        ),
        (
            "priority: 99999999999",
            "priority: must be a whole number from -2147483648 to 2147483647 (found 99999999999)",
        ),
        (
            "owner: 5",
            "owner: must be text; put it in quotes (found 5)",
        ),
        (
            "owner: true",
            "owner: must be text; put it in quotes (found true)",
        ),
        (
            "owner: 0x1F",
            "owner: must be text; put it in quotes (found 0x1F)",
        ),
        (
            "rules: {enabled: yes}",
            "rules.enabled: must be true or false (found yes)",
        ),
        (
            "rules: {enabled: 'true'}",
            "rules.enabled: must be true or false (found true)",
        ),
        (
            "rules: [1]",
            "rules: must be a section with fields of its own (found a list)",
        ),
        (
            "rules: {timeout: 5s}",
            "rules.timeout: must be a section with fields of its own (found 5s)",
        ),
        (
            "rules: {timeout: {attempt: 5}}",
            "rules.timeout.attempt: must be a time in seconds such as 0.8s (found 5)",
        ),
        (
            "rules: {timeout: {attempt: 5ms}}",
            "rules.timeout.attempt: must be a time in seconds such as 0.8s (found 5ms)",
        ),
        (
            "rules: {retry: {maxAttempts: -1}}",
            "rules.retry.max_attempts: must be a whole number from 0 to 4294967295 (found -1)",
        ),
        (
            "rules: {retry: {multiplier: two}}",
            "rules.retry.multiplier: must be a number such as 0.5 (found two)",
        ),
        (
            "rules: {retry: {jitter: full}}",
            "rules.retry.jitter: must be one of JITTER_UNSPECIFIED, JITTER_FULL, JITTER_EQUAL, JITTER_NONE; did you mean JITTER_FULL? (found full)",
        ),
        (
            "clear: [timeout]",
            "clear: must be one text of field paths with commas between them (found a list)",
        ),
        (
            "createTime: today",
            "create_time: must be a time such as 2030-01-31T12:00:00Z (found today)",
        ),
    ] {
        let findings = of_lines(line);
        assert_eq!(findings.len(), 1, "{line}: {findings:?}");
        let (place, told) = findings[0].split_once(": ").unwrap();
        assert!(place.starts_with("p.yaml:3:"), "{place}");
        assert_eq!(told, message);
    }
}

#[test]
fn what_looks_like_a_number_may_be_a_labels_value_only_in_quotes() {
    let findings = read("name: a\nselector:\n  instanceLabels: {version: 1.0, canary: 'true'}\n").1;
    assert_eq!(
        findings,
        [
            "p.yaml:3:29: selector.instance_labels.version: must be text; put it in quotes (found 1.0)"
        ]
    );
}

#[test]
fn a_name_that_stands_twice_is_refused_in_either_case() {
    let findings = of_lines(
        "rules:\n  rateLimit: {permits: 5, per: 1s}\n  rate_limit: {permits: 6}\nname: b\n",
    );
    assert_eq!(
        findings,
        [
            "p.yaml:5:3: rules.rate_limit: stands here twice, first in line 4",
            "p.yaml:6:1: name: stands here twice, first in line 1",
        ]
    );
    let labels = read("name: a\nselector:\n  instanceLabels:\n    z: a\n    z: b\n").1;
    assert_eq!(
        labels,
        ["p.yaml:5:5: selector.instance_labels.z: stands here twice, first in line 4"]
    );
}

#[test]
fn of_two_alternatives_only_one_may_be_set() {
    let findings = of_lines("rules:\n  hedge:\n    delay: 0.1s\n    percentile: 0.9\n");
    assert_eq!(
        findings,
        ["p.yaml:6:5: rules.hedge.percentile: must not be set beside delay, which is in line 5"]
    );
}

#[test]
fn nothing_is_unset() {
    let policy = legal("name: a\nselector: {operation: x}\nrules:\nowner: null\npriority: ~\n");
    assert_eq!(
        (policy.rules, policy.owner.as_str(), policy.priority),
        (None, "", 0)
    );
}

#[test]
fn what_only_follows_from_another_mistake_is_not_told() {
    let findings =
        read("name: a\nselector: {kind: KIND_AP}\nrules: {hedge: {delay: 5, maxHedges: 2}}\n").1;
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(
        findings[0].contains("did you mean KIND_API?"),
        "{findings:?}"
    );
    assert!(findings[1].contains("rules.hedge.delay"), "{findings:?}");
}

#[test]
fn a_document_may_hold_a_list_of_policies() {
    let one = "{name: a, selector: {operation: x}}";
    let two = "{name: b, selector: {operation: x}}";
    let (drafts, findings) = read(&format!(
        "policies:\n- {one}\n- {two}\n---\n---\npolicies: []\n"
    ));
    assert_eq!((drafts.len(), findings.len()), (2, 0), "{findings:?}");
    let (drafts, findings) = read(&format!("owner: x\npolicies: [{one}, 5]\n---\n[{two}]\n"));
    assert_eq!(drafts.len(), 1);
    assert_eq!(
        findings,
        [
            "p.yaml:1:1: owner: must not stand beside `policies`, which is a document of its own",
            "p.yaml:2:49: must be a policy, with its fields (found 5)",
            "p.yaml:4:1: must be a policy, with its fields (found a list)",
        ]
    );
}
