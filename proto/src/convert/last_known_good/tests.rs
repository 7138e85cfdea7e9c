//! What becomes of what one build wrote down in the hands of another.

use fusebox_core::policy::field::SCHEMA;
use fusebox_core::revision::{Digest, Revision};
use fusebox_core::sync::Known;

use super::super::policy::{policy_from_wire, policy_id_from_wire};
use super::*;

fn wire_policy(name: &str, schema: u32) -> v1::Policy {
    let jitter = v1::Jitter::Equal.into();
    v1::Policy {
        namespace: "default".to_owned(),
        name: name.to_owned(),
        revision: 4,
        schema,
        selector: Some(v1::Selector {
            operation: "*".to_owned(),
            ..v1::Selector::default()
        }),
        rules: Some(v1::Rules {
            retry: Some(v1::Retry {
                jitter: if schema > 1 { jitter } else { 0 },
                ..v1::Retry::default()
            }),
            ..v1::Rules::default()
        }),
        ..v1::Policy::default()
    }
}

/// As an SDK of schema 1 decodes a policy of schema 2.
fn without_what_is_new(policy: v1::Policy) -> v1::Policy {
    v1::Policy {
        rules: None,
        ..policy
    }
}

fn written(policies: Vec<v1::Policy>, stand_ins: &[v1::Policy], schema: u32) -> LastKnownGood {
    let id = |wire: &v1::Policy| policy_id_from_wire(&wire.namespace, &wire.name).unwrap();
    let ids: Vec<_> = policies.iter().map(id).collect();
    let snapshot = v1::Snapshot {
        overrides: Vec::new(),
        incarnation: vec![7; 16],
        revision: 5,
        digest: Digest::of(ids.iter().map(|id| (id, Revision(4)))).0,
        policies,
        adopted: false,
    };
    let stand_ins: Vec<_> = stand_ins
        .iter()
        .map(|wire| policy_from_wire(wire).unwrap())
        .collect();
    last_known_good_to_wire(snapshot, &stand_ins, schema)
}

fn enforced(replica: &Replica) -> Vec<(&str, u32)> {
    let policies = replica.policies();
    policies
        .map(|policy| (policy.id().name.as_str(), policy.schema()))
        .collect()
}

#[test]
fn what_a_build_wrote_down_it_enforces_again() {
    let wire = written(vec![wire_policy("a", 1), wire_policy("b", 2)], &[], SCHEMA);
    let replica = last_known_good_from_wire(&wire, SCHEMA).unwrap();
    assert_eq!(enforced(&replica), [("a", 1), ("b", 2)]);
    assert_eq!(replica.known().revision, Revision(5));
}

#[test]
fn what_an_older_build_could_not_read_is_not_taken_for_whole_and_is_asked_for_anew() {
    let lacking = without_what_is_new(wire_policy("b", 2));
    let wire = written(
        vec![wire_policy("a", 1), lacking],
        &[wire_policy("b", 1)],
        1,
    );
    let newer = last_known_good_from_wire(&wire, 2).unwrap();
    assert_eq!(
        enforced(&newer),
        [("a", 1), ("b", 1)],
        "the last good version of b"
    );
    assert_eq!(newer.refusals().count(), 1);
    assert_eq!(newer.known(), Known::nothing());
    let same = last_known_good_from_wire(&wire, 1).unwrap();
    assert_eq!(enforced(&same), [("a", 1), ("b", 1)]);
    assert_eq!(same.known().revision, Revision(5), "it could do no better");
}

#[test]
fn an_older_build_enforces_no_part_of_what_a_newer_one_wrote_down() {
    let wire = written(vec![wire_policy("a", 1), wire_policy("b", 2)], &[], 2);
    let older = last_known_good_from_wire(&wire, 1).unwrap();
    assert_eq!(enforced(&older), [("a", 1)]);
    let three = written(vec![wire_policy("b", 3)], &[wire_policy("b", 2)], 2);
    let older = last_known_good_from_wire(&three, 1).unwrap();
    assert_eq!(enforced(&older), [], "nor of a stand-in");
    assert_eq!(older.known().revision, Revision(5));
}

#[test]
fn a_file_without_a_snapshot_is_of_no_use() {
    let empty = LastKnownGood::default();
    let error = last_known_good_from_wire(&empty, SCHEMA).unwrap_err();
    assert_eq!(error, Unusable::Empty);
}

#[test]
fn an_override_has_what_it_had_left_less_the_files_age() {
    let snapshot = v1::Snapshot {
        overrides: [7, 9]
            .map(|id| v1::BreakerOverride {
                id,
                ..Default::default()
            })
            .to_vec(),
        ..Default::default()
    };
    let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1000 + seconds);
    let seconds = Duration::from_secs;
    let left = BTreeMap::from([(Revision(7), seconds(30))]);
    let wire = last_known_good_to_wire(snapshot, [], 1);
    let wire = with_override_time_left(wire, &left, at(0));
    for (now, expected) in [(at(10), 20_u64), (at(40), 0), (SystemTime::UNIX_EPOCH, 30)] {
        let read = override_time_left(&wire, now);
        let expected = [(Revision(7), seconds(expected)), (Revision(9), seconds(0))];
        assert_eq!(read, BTreeMap::from(expected));
    }
}
