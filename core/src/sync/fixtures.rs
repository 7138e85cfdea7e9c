//! Small policies and snapshots for the tests of this room.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::history::{Audience, Snapshot};
use super::replica::{Entry, Known, OverrideEntry, Received};
use crate::glob::Glob;
use crate::key::{Labels, Namespace, PolicyId, Service};
use crate::outcome::Forced;
use crate::policy::overrides::{BreakerOverride, BreakerTarget};
use crate::policy::rules::Rules;
use crate::policy::selector::Selector;
use crate::policy::{Draft, Policy, Stored};
use crate::revision::{Digest, Incarnation, Revision};

const INCARNATION: Incarnation = Incarnation(7);

pub(super) fn audience(service: &str) -> Audience {
    Audience {
        namespace: Namespace::default_namespace(),
        service: Service::new(service).unwrap(),
    }
}

pub(super) fn policy(name: &str) -> Policy {
    policy_for(name, "*")
}

fn policy_for(name: &str, service: &str) -> Policy {
    let service = Glob::new(service).unwrap();
    Policy::new(Draft {
        id: PolicyId::new("default", name).unwrap(),
        owner: String::new(),
        description: String::new(),
        priority: 0,
        selector: Selector::new(Some(service), None, None, Labels::default()).unwrap(),
        rules: Rules::default(),
        clear: Vec::new(),
    })
    .unwrap()
}

pub(super) fn stored(name: &str, service: &str, revision: u64) -> Arc<Stored> {
    Arc::new(Stored {
        policy: policy_for(name, service),
        revision: Revision(revision),
        create_time: SystemTime::UNIX_EPOCH,
        update_time: SystemTime::UNIX_EPOCH,
        updated_by: String::new(),
    })
}

/// An override of a service's breakers.
pub(super) fn standing(service: &str, id: u64) -> Arc<BreakerOverride> {
    Arc::new(BreakerOverride {
        id: Revision(id),
        target: BreakerTarget {
            service: Some(Glob::new(service).unwrap()),
            ..BreakerTarget::everything(Namespace::default_namespace())
        },
        forced: Forced::Open,
        reason: "tried".to_owned(),
        author: String::new(),
        create_time: SystemTime::UNIX_EPOCH,
        ttl: Duration::from_secs(60),
    })
}

/// A snapshot at `revision` of policies given by name and revision.
pub(super) fn snapshot(revision: u64, policies: &[(&str, u64)]) -> Arc<Snapshot> {
    let policies: Vec<_> = policies
        .iter()
        .map(|(name, at)| stored(name, "*", *at))
        .collect();
    let entries = policies
        .iter()
        .map(|stored| (stored.policy.id(), stored.revision));
    Arc::new(Snapshot {
        incarnation: INCARNATION,
        adopted: false,
        revision: Revision(revision),
        digest: Digest::of(entries),
        policies,
        overrides: Vec::new(),
    })
}

impl Snapshot {
    /// What a process that applied it tells.
    pub(super) fn known(&self) -> Known {
        Known {
            incarnation: Some(self.incarnation),
            revision: self.revision,
            digest: self.digest,
        }
    }
}

/// The same as it comes off the wire.
pub(super) fn received(revision: u64, policies: &[(&str, u64)]) -> Received {
    let snapshot = snapshot(revision, policies);
    let entry = |stored: &Arc<Stored>| Entry {
        id: stored.policy.id().clone(),
        revision: stored.revision,
        policy: Ok(stored.policy.clone()),
    };
    Received {
        incarnation: snapshot.incarnation,
        adopted: snapshot.adopted,
        revision: snapshot.revision,
        digest: snapshot.digest,
        entries: snapshot.policies.iter().map(entry).collect(),
        overrides: Vec::new(),
    }
}

/// The same with overrides of everybody's breakers.
pub(super) fn received_with(revision: u64, policies: &[(&str, u64)], ids: &[u64]) -> Received {
    let received = received(revision, policies);
    let ids = ids.iter().copied();
    let entry = |id| OverrideEntry {
        id: Revision(id),
        standing: Ok(standing("*", id)),
    };
    Received {
        digest: received.digest.with_overrides(ids.clone().map(Revision)),
        overrides: ids.map(entry).collect(),
        ..received
    }
}
