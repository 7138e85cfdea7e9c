//! What becomes of a greeting, honest or not.

use std::collections::BTreeMap;

use fusebox_core::key::{Labels, Namespace};
use fusebox_core::revision::Incarnation;
use proptest::prelude::*;

use super::super::strategies::any_rules;
use super::*;

fn identity() -> Identity {
    Identity {
        key: InstanceKey {
            namespace: Namespace::new("shop").unwrap(),
            service: Service::new("checkout").unwrap(),
            instance: InstanceId::new("checkout-7").unwrap(),
            epoch: Epoch(u64::MAX),
        },
        facts: InstanceFacts {
            version: "1.2.3".to_owned(),
            zone: "eu 1".to_owned(),
            labels: Labels::new([("canary", "true")]).unwrap(),
            sdk_version: "0.1.0".to_owned(),
        },
        schema: 1,
    }
}

fn known() -> Known {
    Known {
        incarnation: Some(Incarnation(7)),
        revision: Revision(8),
        digest: Digest(9),
    }
}

fn refusal() -> Refusal {
    Refusal {
        policy: "payments".to_owned(),
        revision: Revision(3),
        field: "schema".to_owned(),
        reason: "must be at most 1".to_owned(),
    }
}

fn complaints(wire: &v1::Hello) -> Vec<String> {
    let violations = hello_from_wire(wire).unwrap_err();
    violations.iter().map(|found| found.field.clone()).collect()
}

#[test]
fn a_greeting_survives_the_wire() {
    let wire = hello_to_wire(&identity(), &known(), [&refusal()]);
    let greeting = hello_from_wire(&wire).unwrap();
    assert_eq!(greeting.identity, identity());
    assert_eq!(greeting.known, known());
    assert_eq!(greeting.refusals[0].policy.as_str(), "payments");
    assert_eq!(greeting.refusals[0].revision, Revision(3));
}

#[test]
fn a_process_that_holds_nothing_says_nothing_of_it() {
    let wire = hello_to_wire(&identity(), &Known::nothing(), []);
    assert!(wire.incarnation.is_empty());
    let odd = v1::Hello {
        revision: 5,
        digest: 6,
        ..wire
    };
    assert_eq!(hello_from_wire(&odd).unwrap().known, Known::nothing());
}

#[test]
fn without_a_namespace_it_is_the_default_one() {
    let wire = v1::Hello {
        namespace: String::new(),
        ..hello_to_wire(&identity(), &known(), [])
    };
    let greeting = hello_from_wire(&wire).unwrap();
    let namespace = greeting.identity.key.namespace;
    assert_eq!(namespace, Namespace::default_namespace());
}

#[test]
fn every_problem_of_a_greeting_is_told_at_once() {
    let wire = v1::Hello {
        namespace: "Upper".to_owned(),
        version: "x".repeat(201),
        zone: "x".repeat(201),
        sdk_version: "x".repeat(201),
        labels: BTreeMap::from([("a".to_owned(), "b c".to_owned())]),
        incarnation: vec![0; 15],
        refusals: vec![v1::Refusal::default()],
        ..v1::Hello::default()
    };
    assert_eq!(
        complaints(&wire),
        [
            "hello.namespace",
            "hello.service",
            "hello.instance_id",
            "hello.version",
            "hello.zone",
            "hello.labels.a",
            "hello.sdk_version",
            "hello.incarnation",
            "hello.refusals[0].policy",
        ]
    );
}

#[test]
fn of_many_bad_refusals_the_first_is_told() {
    let wire = vec![v1::Refusal::default(); 100_000];
    let violations = refusals_from_wire("nack.refusals", &wire).unwrap_err();
    assert_eq!(violations.iter().count(), 1);
}

#[test]
fn a_declared_operation_survives_the_wire_and_has_a_kind() {
    let declared = Declared {
        operation: OperationName::new("payments.charge").unwrap(),
        kind: Kind::Cache,
        idempotent: true,
        local_layers: Vec::new(),
    };
    let wire = declared_to_wire(&declared);
    assert_eq!(declared_from_wire(&wire), Ok(declared));
    let unkind = v1::OperationDeclared { kind: 0, ..wire };
    assert_eq!(declared_from_wire(&unkind).unwrap().kind, Kind::Custom);
    let unknown = v1::OperationDeclared {
        operation: String::new(),
        kind: 99,
        ..unkind
    };
    assert_eq!(declared_from_wire(&unknown).unwrap_err().iter().count(), 2);
}

fn local_layer(layer: v1::Layer, attempt_seconds: i64) -> v1::LocalLayer {
    let attempt = Some(prost_types::Duration {
        seconds: attempt_seconds,
        nanos: 0,
    });
    v1::LocalLayer {
        layer: layer.into(),
        rules: Some(v1::Rules {
            timeout: Some(v1::Timeout {
                attempt,
                overall: None,
            }),
            ..v1::Rules::default()
        }),
    }
}

/// The fields that are wrong with an operation that declares `local_layers`.
fn refused(local_layers: Vec<v1::LocalLayer>) -> Vec<String> {
    let wire = v1::OperationDeclared {
        operation: "payments.charge".to_owned(),
        local_layers,
        ..v1::OperationDeclared::default()
    };
    let violations = declared_from_wire(&wire).err().unwrap_or_default();
    violations
        .iter()
        .map(|violation| violation.field.clone())
        .collect()
}

#[test]
fn a_local_layer_must_be_legal_and_a_processs_own_and_above_the_one_before_it() {
    let (file, site) = (v1::Layer::File, v1::Layer::CallSite);
    assert_eq!(
        refused(vec![local_layer(file, 1), local_layer(site, 2)]),
        [""; 0]
    );
    assert_eq!(
        refused(vec![local_layer(site, 1), local_layer(file, -2)]),
        [
            "operation_declared.local_layers[1].layer",
            "operation_declared.local_layers[1].rules.timeout.attempt"
        ]
    );
    for layer in [v1::Layer::Unspecified, v1::Layer::Kind, v1::Layer::Policy] {
        assert_eq!(
            refused(vec![local_layer(layer, 1)]),
            ["operation_declared.local_layers[0].layer"]
        );
    }
    assert_eq!(
        refused(vec![local_layer(file, 90_000); 2]),
        [
            "operation_declared.local_layers[0].rules.timeout.attempt",
            "operation_declared.local_layers[1].layer",
            "operation_declared.local_layers[1].rules.timeout.attempt"
        ]
    );
    assert_eq!(
        refused(vec![local_layer(file, 1); 100_000]),
        ["operation_declared.local_layers"]
    );
}

#[test]
fn a_local_layer_that_sets_nothing_is_none() {
    let empty = v1::LocalLayer {
        layer: v1::Layer::File.into(),
        rules: None,
    };
    let wire = v1::OperationDeclared {
        operation: "payments.charge".to_owned(),
        local_layers: vec![empty],
        ..v1::OperationDeclared::default()
    };
    assert_eq!(declared_from_wire(&wire).unwrap().local_layers, []);
}

proptest! {
    #[test]
    fn local_layers_survive_the_wire(rules in prop::collection::vec(any_rules(), 3)) {
        let origins = [Origin::File, Origin::Environment, Origin::CallSite];
        let layers = origins.into_iter().zip(rules);
        let declared = Declared {
            operation: OperationName::new("payments.charge").unwrap(),
            kind: Kind::Api,
            idempotent: false,
            local_layers: layers.filter(|(_, rules)| !rules.is_empty()).collect(),
        };
        prop_assert_eq!(declared_from_wire(&declared_to_wire(&declared)), Ok(declared));
    }
}
