use std::time::Duration;

use fusebox_core::glob::Glob;
use fusebox_core::key::{Kind, Labels, OperationName, Service};
use fusebox_core::policy::rules::{BulkheadLimit, Mode, Rules};
use fusebox_core::policy::selector::Selector;
use fusebox_core::policy::{Draft, Target, explain};

use super::*;

fn policy(name: &str, operation: &str, set: impl FnOnce(&mut Draft)) -> Policy {
    let operation = Some(Glob::new(operation).unwrap());
    let mut draft = Draft {
        id: PolicyId::new("default", name).unwrap(),
        owner: String::new(),
        description: String::new(),
        priority: 0,
        selector: Selector::new(None, operation, None, Labels::default()).unwrap(),
        rules: Rules::default(),
        clear: Vec::new(),
    };
    set(&mut draft);
    Policy::new(draft).unwrap()
}

fn attempt(milliseconds: u64) -> impl FnOnce(&mut Draft) {
    move |draft| draft.rules.timeout.attempt = Some(Duration::from_millis(milliseconds))
}

fn limit(max_concurrent: u32) -> Option<BulkheadLimit> {
    Some(BulkheadLimit {
        max_concurrent,
        max_queue: 0,
        max_wait: Duration::ZERO,
    })
}

/// What an operator is told of `payments.charge`, a cache.
fn answer(locals: &[(Origin, Rules)], policies: &[Policy]) -> v1::ExplainPolicyResponse {
    let target = Target {
        service: &Service::new("checkout").unwrap(),
        operation: &OperationName::new("payments.charge").unwrap(),
        kind: Kind::Cache,
        labels: &Labels::default(),
    };
    let explanation = explain(&target, locals, policies);
    let explained = Explained {
        revision: Revision(9),
        explanation: &explanation,
        locals: LocalKnowledge::Known,
        idempotent: Some(false),
    };
    explain_to_wire(&explained, |id| Revision(id.name.as_str().len() as u64))
}

fn field<'a>(answer: &'a v1::ExplainPolicyResponse, path: &str) -> &'a v1::FieldExplanation {
    let mut fields = answer.fields.iter();
    fields.find(|explained| explained.field == path).unwrap()
}

#[test]
fn an_operator_is_told_what_holds_who_decided_and_who_lost() {
    let mut site = Rules::default();
    site.timeout.attempt = Some(Duration::from_secs(9));
    site.retry.max_attempts = Some(4);
    let policies = [
        policy("broad", "*", attempt(5000)),
        policy("exact", "payments.charge", attempt(800)),
        policy("hasty", "payments.*", |draft| {
            draft.rules.timeout.overall = Some(Duration::from_millis(500));
            draft.clear = vec![Field::TimeoutAttempt];
        }),
    ];
    let answer = answer(&[(Origin::CallSite, site)], &policies);
    assert_eq!(
        *field(&answer, "timeout.attempt"),
        v1::FieldExplanation {
            field: "timeout.attempt".to_owned(),
            value: "0.5s".to_owned(),
            layer: v1::Layer::Policy.into(),
            policy: "exact".to_owned(),
            cleared: false,
            gave_way_to: "timeout.overall".to_owned(),
            overruled: vec![
                v1::Overruled {
                    layer: v1::Layer::Policy.into(),
                    policy: "hasty".to_owned(),
                    value: String::new(),
                    cleared: true,
                    reason: v1::overruled::Reason::LessSpecificOperation.into(),
                },
                v1::Overruled {
                    layer: v1::Layer::Policy.into(),
                    policy: "broad".to_owned(),
                    value: "5s".to_owned(),
                    cleared: false,
                    reason: v1::overruled::Reason::LessSpecificOperation.into(),
                },
                v1::Overruled {
                    layer: v1::Layer::CallSite.into(),
                    policy: String::new(),
                    value: "9s".to_owned(),
                    cleared: false,
                    reason: v1::overruled::Reason::LowerLayer.into(),
                },
            ],
        }
    );
    assert_eq!((answer.revision, answer.kind()), (9, v1::Kind::Cache));
    assert_eq!(answer.local_layers(), v1::LocalLayers::Known);
    let ranks = answer.policies.iter();
    let ranks: Vec<_> = ranks
        .map(|rank| {
            let selector = rank.selector.as_ref().unwrap();
            (&*rank.name, rank.revision, &*selector.operation)
        })
        .collect();
    assert_eq!(
        ranks,
        [
            ("exact", 5, "payments.charge"),
            ("hasty", 5, "payments.*"),
            ("broad", 5, "*")
        ]
    );
    let warned: Vec<_> = answer.warnings.iter().map(|odd| &*odd.field).collect();
    assert_eq!(
        warned,
        ["rules.timeout.attempt", "rules.retry.max_attempts"]
    );
}

#[test]
fn the_rules_in_force_are_whole_and_limits_that_nobody_set_are_not_there() {
    let answer = answer(&[], &[]);
    let rules = answer.rules.unwrap();
    let timeout = rules.timeout.unwrap();
    assert!(timeout.attempt.is_some() && timeout.overall.is_some());
    let breaker = rules.circuit_breaker.unwrap();
    assert_eq!(breaker.consecutive_failures, Some(3));
    assert!(breaker.max_half_open.is_some() && breaker.recovery_ramp.is_some());
    assert_eq!((rules.bulkhead, rules.hedge), (None, None));
    assert_eq!(rules.enabled, Some(true));
    assert_eq!(answer.shadow, None);
    assert_eq!(answer.warnings, []);
    for explained in &answer.fields {
        assert_eq!(explained.layer(), v1::Layer::Kind);
        let unlimited = ["bulkhead", "rate_limit", "concurrency_limit", "hedge"]
            .iter()
            .any(|section| explained.field.starts_with(section));
        assert_eq!(explained.value.is_empty(), unlimited, "{}", explained.field);
    }
}

#[test]
fn what_is_tried_out_stands_beside_what_is_enforced() {
    let policies = [
        policy("a", "*", |draft| draft.rules.bulkhead.limit = limit(3)),
        policy("b", "*", |draft| {
            draft.rules.bulkhead.limit = limit(1);
            draft.rules.bulkhead.mode = Some(Mode::Shadow);
        }),
    ];
    let answer = answer(&[], &policies);
    let concurrent = |rules: Option<&v1::Rules>| {
        let bulkhead = rules.and_then(|rules| rules.bulkhead.as_ref());
        bulkhead.and_then(|bulkhead| bulkhead.max_concurrent)
    };
    assert_eq!(concurrent(answer.rules.as_ref()), Some(3));
    assert_eq!(concurrent(answer.shadow.as_ref()), Some(1));
    let shadow = answer.shadow.as_ref().unwrap();
    assert_eq!((&shadow.timeout, shadow.enabled), (&None, None));
    let explained = field(&answer, "bulkhead.max_concurrent");
    assert_eq!(explained.policy, "a");
    assert_eq!(
        explained.overruled[0].reason(),
        v1::overruled::Reason::Shadow
    );
}

#[test]
fn what_is_known_of_local_layers_is_told() {
    for (known, wire) in [
        (LocalKnowledge::Known, v1::LocalLayers::Known),
        (LocalKnowledge::Unknown, v1::LocalLayers::Unknown),
        (LocalKnowledge::Differ, v1::LocalLayers::Differ),
    ] {
        assert_eq!(locals_to_wire(known), wire);
    }
}

#[test]
fn a_question_must_name_an_operation_and_all_that_is_wrong_with_it_is_told() {
    let question = v1::ExplainPolicyRequest {
        service: "checkout".to_owned(),
        operation: "payments.charge".to_owned(),
        ..v1::ExplainPolicyRequest::default()
    };
    let asked = question_from_wire(&question).unwrap();
    assert_eq!(asked.operation.namespace.as_str(), "default");
    assert_eq!((asked.kind, asked.labels.len()), (None, 0));
    let wrong = v1::ExplainPolicyRequest {
        namespace: "Not One".to_owned(),
        kind: 99,
        instance_labels: [("zone".to_owned(), String::new())].into(),
        ..v1::ExplainPolicyRequest::default()
    };
    let violations = question_from_wire(&wrong).unwrap_err();
    let fields: Vec<_> = violations.iter().map(|found| &*found.field).collect();
    assert_eq!(
        fields,
        [
            "namespace",
            "service",
            "operation",
            "kind",
            "instance_labels.zone"
        ]
    );
    let unlabelled = v1::ExplainPolicyRequest {
        instance_labels: [("zone".to_owned(), String::new())].into(),
        ..question
    };
    assert!(question_from_wire(&unlabelled).is_err());
}
