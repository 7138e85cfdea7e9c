//! The store, all its lives, and everything that it ever held.
//!
//! What is true is found here without the code under test: each version is kept whole, and what
//! concerns an audience is found by looking at every policy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use fusebox_core::key::PolicyId;
use fusebox_core::policy::{Policy, Stored};
use fusebox_core::revision::{Incarnation, Revision};
use fusebox_core::sync::Audience;

/// How far the revisions of a restored store are from those that its backup had.
const LOST_REVISIONS: u64 = 1000;

pub(crate) type Contents = Arc<BTreeMap<PolicyId, Arc<Stored>>>;
/// What a policy is from now on; `None`: gone.
pub(crate) type Change = (PolicyId, Option<Arc<Stored>>);

/// A write, whole, as a watch tells of it.
#[derive(Clone, Debug)]
pub(crate) struct Committed {
    pub(crate) revision: Revision,
    pub(crate) changes: Vec<Change>,
}

#[derive(Debug)]
struct Life {
    adopted: bool,
    next: Revision,
    versions: BTreeMap<Revision, Contents>,
}

/// Lives are numbered in their order; an incarnation is made of that number.
#[derive(Debug)]
pub(crate) struct Store {
    lives: Vec<Life>,
}

impl Store {
    pub(crate) fn new() -> Self {
        let mut store = Self { lives: Vec::new() };
        store.begin(Revision::ZERO, Revision(1), Contents::default());
        store
    }

    fn begin(&mut self, revision: Revision, next: Revision, contents: Contents) {
        self.lives.push(Life {
            adopted: false,
            next,
            versions: BTreeMap::from([(revision, contents)]),
        });
    }

    fn life(&self) -> &Life {
        self.lives.last().expect("a store lives")
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        Incarnation(self.lives.len() as u128)
    }

    /// Which of the store's lives that is, by its order.
    pub(crate) const fn order(incarnation: Incarnation) -> u128 {
        incarnation.0
    }

    pub(crate) fn adopted(&self) -> bool {
        self.life().adopted
    }

    pub(crate) fn revision(&self) -> Revision {
        self.now().0
    }

    pub(crate) fn contents(&self) -> &Contents {
        self.now().1
    }

    fn now(&self) -> (Revision, &Contents) {
        let last = self.life().versions.last_key_value();
        let (revision, contents) = last.expect("a life has a first version");
        (*revision, contents)
    }

    /// Writes all of it or nothing; deletions of what is not there fall away.
    pub(crate) fn write(&mut self, set: Vec<(PolicyId, Option<Policy>)>) -> Option<Committed> {
        let mut contents = (**self.contents()).clone();
        let revision = self.life().next;
        let mut changes = Vec::new();
        for (id, policy) in set {
            let stored = policy.map(|policy| {
                Arc::new(Stored {
                    policy,
                    revision,
                    create_time: SystemTime::UNIX_EPOCH,
                    update_time: SystemTime::UNIX_EPOCH,
                    updated_by: String::new(),
                })
            });
            let before = match &stored {
                Some(stored) => contents.insert(id.clone(), Arc::clone(stored)),
                None => contents.remove(&id),
            };
            if before.is_some() || stored.is_some() {
                changes.push((id, stored));
            }
        }
        if changes.is_empty() {
            return None;
        }
        let life = self.lives.last_mut().expect("a store lives");
        life.next = revision.next();
        life.versions.insert(revision, Arc::new(contents));
        Some(Committed { revision, changes })
    }

    /// Begins a new life with what some earlier version of any life held.
    pub(crate) fn restore(&mut self, mut pick: impl FnMut(usize) -> usize) {
        let life = &self.lives[pick(self.lives.len())];
        let versions = &life.versions;
        let version = versions.iter().nth(pick(versions.len()));
        let (revision, contents) = version.expect("one of them");
        let (revision, contents) = (*revision, Arc::clone(contents));
        self.begin(revision, Revision(revision.0 + LOST_REVISIONS), contents);
    }

    /// Begins a new life with nothing.
    pub(crate) fn wipe(&mut self) {
        self.begin(Revision::ZERO, Revision(1), Contents::default());
    }

    pub(crate) fn adopt(&mut self) {
        self.lives.last_mut().expect("a store lives").adopted = true;
    }

    pub(crate) fn is_adopted(&self, incarnation: Incarnation) -> bool {
        self.life_of(incarnation).is_some_and(|life| life.adopted)
    }

    /// What concerned `audience` at `revision` of that life; `None` if there was no such moment.
    pub(crate) fn truth(
        &self,
        incarnation: Incarnation,
        revision: Revision,
        audience: &Audience,
    ) -> Option<Vec<Arc<Stored>>> {
        let life = self.life_of(incarnation)?;
        if revision >= life.next {
            return None;
        }
        let (_, contents) = life.versions.range(..=revision).next_back()?;
        let concerns = |stored: &&Arc<Stored>| {
            let service = audience.service.as_str();
            stored.policy.id().namespace == audience.namespace
                && stored.policy.selector().concerns(service)
        };
        Some(contents.values().filter(concerns).cloned().collect())
    }

    fn life_of(&self, incarnation: Incarnation) -> Option<&Life> {
        let order = usize::try_from(incarnation.0).ok()?;
        self.lives.get(order.checked_sub(1)?)
    }
}
