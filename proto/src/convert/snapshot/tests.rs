//! What becomes of a snapshot on its way.

use std::time::{Duration, SystemTime};

use fusebox_core::key::Namespace;
use fusebox_core::outcome::Forced;
use fusebox_core::policy::Stored;
use fusebox_core::policy::field::SCHEMA;
use fusebox_core::policy::overrides::BreakerTarget;
use fusebox_core::sync::Replica;
use proptest::prelude::*;

use super::super::strategies::any_stored;
use super::*;

fn wire_policy(name: &str, schema: u32) -> v1::Policy {
    v1::Policy {
        name: name.to_owned(),
        revision: 4,
        schema,
        selector: Some(v1::Selector {
            operation: "*".to_owned(),
            ..v1::Selector::default()
        }),
        ..v1::Policy::default()
    }
}

fn wire_of(policies: Vec<v1::Policy>) -> v1::Snapshot {
    v1::Snapshot {
        overrides: Vec::new(),
        incarnation: vec![7; 16],
        revision: 5,
        digest: 0,
        policies,
        adopted: false,
    }
}

fn standing(id: u64) -> Arc<BreakerOverride> {
    Arc::new(BreakerOverride {
        id: Revision(id),
        target: BreakerTarget::everything(Namespace::default_namespace()),
        forced: Forced::Open,
        reason: "tried".to_owned(),
        author: "somebody".to_owned(),
        create_time: SystemTime::UNIX_EPOCH,
        ttl: Duration::from_secs(60),
    })
}

#[test]
fn an_override_that_is_not_understood_is_refused_by_name_and_its_siblings_stand() {
    let unknown = v1::BreakerOverride {
        action: 99,
        ..override_to_wire(&standing(17))
    };
    let wire = v1::Snapshot {
        overrides: vec![override_to_wire(&standing(3)), unknown],
        ..wire_of(vec![wire_policy("good", 1)])
    };
    let received = snapshot_from_wire(&wire).unwrap();
    assert!(received.entries[0].policy.is_ok());
    assert_eq!(received.overrides[0].standing, Ok(standing(3)));
    let refused = received.overrides[1].standing.as_ref().unwrap_err();
    assert_eq!(refused.policy, "override:17");
    assert_eq!(refused.revision, Revision(17));
    assert_eq!(refused.field, "action");
}

#[test]
fn a_policy_that_cannot_be_enforced_is_refused_by_name_and_its_siblings_stand() {
    let negative = v1::Policy {
        rules: Some(v1::Rules {
            retry: Some(v1::Retry {
                max_attempts: Some(0),
                multiplier: Some(0.0),
                ..v1::Retry::default()
            }),
            ..v1::Rules::default()
        }),
        ..wire_policy("broken", 1)
    };
    let wire = wire_of(vec![
        negative,
        wire_policy("good", 1),
        wire_policy("newer", SCHEMA + 1),
    ]);
    let received = snapshot_from_wire(&wire).unwrap();
    let [broken, good, newer] = &received.entries[..] else {
        panic!("three entries")
    };
    assert!(good.policy.is_ok());
    let broken = broken.policy.as_ref().unwrap_err();
    assert_eq!((&*broken.policy, broken.revision), ("broken", Revision(4)));
    assert_eq!(broken.field, "rules.retry.multiplier");
    assert_eq!(
        broken.reason,
        "must be at least 1 and at most 10 (found 0); and 1 more"
    );
    assert_eq!(newer.policy.as_ref().unwrap_err().field, "schema");
}

#[test]
fn an_older_build_refuses_what_this_one_takes() {
    let wire = wire_of(vec![wire_policy("old", 1), wire_policy("new", SCHEMA)]);
    let received = snapshot_from_wire_as(&wire, SCHEMA - 1).unwrap();
    assert!(received.entries[0].policy.is_ok());
    let refusal = received.entries[1].policy.as_ref().unwrap_err();
    assert_eq!((&*refusal.policy, &*refusal.field), ("new", "schema"));
    assert!(snapshot_from_wire(&wire).unwrap().entries[1].policy.is_ok());
}

#[test]
fn an_envelope_that_is_none_is_refused_whole() {
    let nameless = wire_of(vec![wire_policy("", 1)]);
    assert!(snapshot_from_wire(&nameless).is_err());
    for length in [0, 15] {
        let lifeless = v1::Snapshot {
            incarnation: vec![7; length],
            ..wire_of(Vec::new())
        };
        assert!(snapshot_from_wire(&lifeless).is_err());
    }
}

proptest! {
    #[test]
    fn a_snapshot_survives_the_wire_and_its_digest_with_it(
        policies in prop::collection::vec(any_stored(), 0..5),
        incarnation in any::<u128>(),
        adopted in any::<bool>(),
        revision in any::<u64>(),
        forced in 0_u64..4,
    ) {
        let overrides: Vec<_> = (0..forced).map(standing).collect();
        let mut policies: Vec<Arc<Stored>> = policies.into_iter().map(Arc::new).collect();
        policies.sort_by(|a, b| a.policy.id().cmp(b.policy.id()));
        policies.dedup_by(|a, b| a.policy.id() == b.policy.id());
        let ids = policies.iter().map(|stored| (stored.policy.id(), stored.revision));
        let snapshot = Snapshot {
            incarnation: Incarnation(incarnation),
            adopted,
            revision: Revision(revision),
            digest: Digest::of(ids).with_overrides(overrides.iter().map(|one| one.id)),
            policies: policies.clone(),
            overrides: overrides.clone(),
        };
        let received = snapshot_from_wire(&snapshot_to_wire(&snapshot)).unwrap();
        prop_assert_eq!(received.adopted, adopted);
        let mut replica = Replica::default();
        prop_assert!(replica.receive(received).is_ok());
        let sent: Vec<_> = policies.iter().map(|stored| &stored.policy).collect();
        prop_assert_eq!(replica.overrides().cloned().collect::<Vec<_>>(), overrides);
        prop_assert_eq!(replica.policies().collect::<Vec<_>>(), sent);
    }
}
