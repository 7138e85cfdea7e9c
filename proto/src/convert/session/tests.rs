//! What becomes of a greeting, honest or not.

use std::collections::BTreeMap;

use fusebox_core::key::{Labels, Namespace};
use fusebox_core::revision::Incarnation;

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
