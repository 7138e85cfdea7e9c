//! The live policies and overrides as of one revision, what is kept of those before, and what the
//! policies weigh.
//!
//! Overrides have no place in the index, and none in the sum: the journal alone holds them, and that it
//! has lost none of them the index's revision tells, which every write moves on.
//!
//! The whole set stays in memory because a start reads and checks every version anyway, and the
//! distribution side shares these `Arc`s. A sum over the set follows each change, so that an index
//! can be held against it without going through both.

use std::collections::BTreeMap;
use std::sync::Arc;

use fusebox_core::key::PolicyId;
use fusebox_core::policy::overrides::BreakerOverride;
use fusebox_core::policy::{Catalog, Stored};
use fusebox_core::revision::{Digest, Revision};

use super::archive::Archive;
use super::weights::Weights;
use super::{Page, Query, Retention, Subject, Version, What};

/// The live policies as of one revision, and what is kept of those before.
#[derive(Debug)]
pub(super) struct Table {
    revision: Revision,
    catalog: Catalog,
    /// In force.
    overrides: BTreeMap<Revision, Arc<BreakerOverride>>,
    archive: Archive,
    /// Of the live policies, kept up with each change.
    sum: u64,
    weights: Weights,
    /// Up to here revisions may have been issued in another life.
    reserved: Revision,
}

/// The live policies as of a revision, in three numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) revision: Revision,
    pub(super) count: u64,
    /// The wrapping sum of each policy's [`digest`], which does not depend on their order.
    pub(super) sum: u64,
}

/// Of one policy as of its revision.
pub(super) fn digest(stored: &Stored) -> u64 {
    Digest::of([(stored.policy.id(), stored.revision)]).0
}

impl Table {
    /// Of a store without a write.
    pub(super) fn new(retention: Retention) -> Self {
        Self::begun_at(Revision::ZERO, retention)
    }

    /// Of a store that has not kept everything up to `floor`.
    pub(super) fn begun_at(floor: Revision, retention: Retention) -> Self {
        Self {
            revision: floor,
            catalog: Catalog::default(),
            overrides: BTreeMap::new(),
            archive: Archive::new(retention, floor),
            sum: 0,
            weights: Weights::default(),
            reserved: Revision::ZERO,
        }
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    pub(super) fn archive(&self) -> &Archive {
        &self.archive
    }

    pub(super) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    pub(super) fn get(&self, id: &PolicyId) -> Option<&Arc<Stored>> {
        self.catalog.get(id)
    }

    /// Makes a version true that is number `index` of its write and takes `bytes` in a journal.
    pub(super) fn apply(&mut self, index: u32, version: Arc<Version>, bytes: usize) {
        match &version.what {
            What::Policy { id, stored } => self.apply_policy(id, stored.as_ref(), bytes),
            What::Override { standing, in_force } => {
                if *in_force {
                    self.overrides.insert(standing.id, Arc::clone(standing));
                    self.weights.add(&standing.target, bytes);
                } else if let Some(ended) = self.overrides.remove(&standing.id) {
                    let bytes = self.archive.newest_bytes(&Subject::Override(ended.id));
                    self.weights.remove(&ended.target, bytes);
                }
            }
            What::Reset(_) => {}
        }
        self.revision = self.revision.max(version.revision);
        self.archive.add(index, version, bytes);
    }

    fn apply_policy(&mut self, id: &PolicyId, stored: Option<&Arc<Stored>>, bytes: usize) {
        let replaced = match stored {
            Some(stored) => self.catalog.insert(Arc::clone(stored)),
            None => self.catalog.remove(id),
        };
        let [out, into] =
            [replaced.as_ref(), stored].map(|it| it.map_or(0, |stored| digest(stored)));
        self.sum = self.sum.wrapping_sub(out).wrapping_add(into);
        if let Some(replaced) = replaced {
            let bytes = self.newest_bytes(id);
            self.weights.remove(&replaced.policy, bytes);
        }
        if let Some(stored) = stored {
            self.weights.add(&stored.policy, bytes);
        }
    }

    /// What a policy's newest version takes in a journal; 0 if it has none.
    pub(super) fn newest_bytes(&self, id: &PolicyId) -> usize {
        self.archive.newest_bytes(&Subject::Policy(id.clone()))
    }

    /// An override in force, and the bytes it takes in a journal.
    pub(super) fn standing(&self, id: Revision) -> Option<(Arc<BreakerOverride>, usize)> {
        let standing = self.overrides.get(&id)?;
        let bytes = self.archive.newest_bytes(&Subject::Override(id));
        Some((Arc::clone(standing), bytes))
    }

    /// The overrides in force, by id.
    pub(super) fn overrides(&self) -> &BTreeMap<Revision, Arc<BreakerOverride>> {
        &self.overrides
    }

    /// Up to here revisions may have been issued in another life.
    pub(super) fn reserved(&self) -> Revision {
        self.reserved
    }

    pub(super) fn weights(&self) -> &Weights {
        &self.weights
    }

    pub(super) fn summary(&self) -> Summary {
        Summary {
            revision: self.revision,
            count: self.catalog.len() as u64,
            sum: self.sum,
        }
    }

    /// Issues no revision up to this one any more.
    pub(super) fn reserve(&mut self, reserved: Revision) {
        self.reserved = reserved;
        self.revision = self.revision.max(reserved);
    }

    /// Once all that was read back has been applied.
    pub(super) fn settle(&mut self) {
        self.archive.settle();
    }

    /// A stretch of the live policies.
    pub(super) fn page(&self, query: &Query<'_>) -> Page {
        match (query.namespace, query.service) {
            (Some(namespace), Some(service)) => {
                let behind = |stored: &&Arc<Stored>| {
                    query.after.is_none_or(|after| stored.policy.id() > after)
                };
                let concerning = self.catalog.concerning(namespace, service);
                self.take(query, concerning.filter(behind))
            }
            (namespace, _) => self.take(query, self.catalog.after(namespace, query.after)),
        }
    }

    /// What `query` wants of `candidates`, which come in order.
    pub(super) fn take<'a>(
        &self,
        query: &Query<'_>,
        candidates: impl Iterator<Item = &'a Arc<Stored>>,
    ) -> Page {
        let wanted = |stored: &&Arc<Stored>| {
            let policy = &stored.policy;
            query.owner.is_none_or(|owner| policy.owner() == owner)
                && query
                    .service
                    .is_none_or(|service| policy.selector().concerns(service))
        };
        let mut rest = candidates.filter(wanted);
        let limit = query.limit.unwrap_or(usize::MAX);
        Page {
            revision: self.revision,
            policies: rest.by_ref().take(limit).cloned().collect(),
            more: rest.next().is_some(),
        }
    }
}
