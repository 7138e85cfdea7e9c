//! Whether every audience can still be sent what a write would make it hold.
//!
//! Snapshots are bounded, so a write is refused that would make one too big. A set is weighed as a
//! whole: what it removes makes room for what it adds. Most policies name one service; only the
//! others are held against every audience.

use std::collections::HashMap;
use std::sync::Arc;

use fusebox_core::key::{PolicyId, Service};
use fusebox_core::policy::Policy;
use fusebox_core::policy::selector::Glob;
use fusebox_core::sync::Audience;
use fusebox_proto::convert::policy::policy_to_wire;
use prost::Message;

use super::MAX_SNAPSHOT_BYTES;
use super::hub::Edition;
use crate::room::{Crowded, CrowdedAudience, Wanted};

/// What some audiences hold, and how much of it a set replaces.
pub(super) struct Held<'a> {
    pub(super) editions: Vec<(Audience, Arc<Edition>)>,
    /// Bytes of those policies that the set speaks of.
    pub(super) sizes: HashMap<&'a PolicyId, usize>,
}

/// What a set adds.
#[derive(Default)]
pub(super) struct Load<'a> {
    by_audience: HashMap<Audience, usize>,
    for_many: Vec<(&'a Policy, usize)>,
}

impl<'a> Load<'a> {
    pub(super) fn new(set: &[Wanted<'a>]) -> Self {
        let mut load = Self::default();
        for policy in set.iter().filter_map(|(_, policy)| *policy) {
            let bytes = policy_to_wire(policy).encoded_len();
            let service = policy.selector().service().filter(|glob| glob.is_exact());
            match service.map(Glob::as_str).map(Service::new) {
                Some(Ok(service)) => {
                    let namespace = policy.id().namespace.clone();
                    let audience = Audience { namespace, service };
                    *load.by_audience.entry(audience).or_default() += bytes;
                }
                // No process can bear that name.
                Some(Err(_)) => {}
                None => load.for_many.push((policy, bytes)),
            }
        }
        load
    }

    /// The only audiences that it can concern; `None` if it may concern any.
    pub(super) fn audiences(&self) -> Option<impl Iterator<Item = &Audience>> {
        self.for_many.is_empty().then(|| self.by_audience.keys())
    }

    /// Whether there is room for it beside what is `held`.
    pub(super) fn fits(&self, held: &Held<'_>) -> Result<(), Crowded> {
        let crowded = held.editions.iter();
        let crowded = crowded.filter_map(|(audience, edition)| {
            let now = edition.bytes();
            let bytes = now.saturating_sub(held.replaced(edition)) + self.added(audience);
            (bytes > MAX_SNAPSHOT_BYTES && bytes > now).then(|| CrowdedAudience {
                namespace: audience.namespace.clone(),
                service: audience.service.clone(),
                bytes,
            })
        });
        let mut audiences: Vec<_> = crowded.collect();
        audiences.sort_unstable();
        if audiences.is_empty() {
            return Ok(());
        }
        let max = MAX_SNAPSHOT_BYTES;
        Err(Crowded { audiences, max })
    }

    fn added(&self, audience: &Audience) -> usize {
        let exactly = self.by_audience.get(audience).copied().unwrap_or(0);
        let for_many = self.for_many.iter().filter(|(policy, _)| {
            policy.id().namespace == audience.namespace
                && policy.selector().concerns(audience.service.as_str())
        });
        exactly + for_many.map(|(_, bytes)| bytes).sum::<usize>()
    }
}

impl Held<'_> {
    fn replaced(&self, edition: &Edition) -> usize {
        let policies = &edition.snapshot.policies;
        if self.sizes.len() < policies.len() {
            let held = self.sizes.iter().filter(|(id, _)| edition.holds(id));
            return held.map(|(_, bytes)| bytes).sum();
        }
        let ids = policies.iter().map(|stored| stored.policy.id());
        ids.filter_map(|id| self.sizes.get(id)).sum()
    }
}
