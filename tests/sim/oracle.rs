//! What must be so, judged by an onlooker who sees the store and every process at once.
//!
//! A [`Witness`] follows one process and knows from the store alone what it has to enforce.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fusebox_core::key::PolicyId;
use fusebox_core::policy::{Policy, Stored};
use fusebox_core::revision::{Digest, Incarnation, Revision};
use fusebox_core::stats::RefusedPolicy;
use fusebox_core::sync::{Audience, Known, Replica};

use super::disk::File;
use super::store::Store;

/// What a process enforces.
pub(crate) type Policies = BTreeMap<PolicyId, Policy>;

/// What is known of a file when it is written.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) held: Known,
    pub(crate) enforced: Policies,
}

/// `Err`: what is broken.
pub(crate) type Verdict = Result<(), String>;

pub(crate) fn claim(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}

#[derive(Debug)]
pub(crate) struct Witness {
    audience: Audience,
    schema: u32,
    epoch: u64,
    held: Known,
    enforced: Policies,
    /// By epoch, every set it enforced.
    applied: BTreeSet<(u64, u128, u64)>,
}

impl Witness {
    pub(crate) fn new(audience: Audience, schema: u32) -> Self {
        Self {
            audience,
            schema,
            epoch: 0,
            held: Known::nothing(),
            enforced: Policies::new(),
            applied: BTreeSet::new(),
        }
    }

    /// What it holds, as it came at `revision`.
    pub(crate) fn model(&self, revision: Revision) -> Model {
        Model {
            held: Known {
                revision,
                ..self.held
            },
            enforced: self.enforced.clone(),
        }
    }

    /// It starts anew, from that file if it could read it.
    pub(crate) fn begin(
        &mut self,
        epoch: u64,
        schema: u32,
        file: Option<&File>,
        replica: &Replica,
    ) -> Verdict {
        (self.epoch, self.schema) = (epoch, schema);
        (self.held, self.enforced) = (Known::nothing(), Policies::new());
        if let Some(file) = file {
            self.held = file.model.held;
            self.enforced = file.model.enforced.clone();
            self.enforced.retain(|_, policy| policy.schema() <= schema);
        }
        if replica.known().incarnation.is_some() {
            claim(replica.known() == self.held, || {
                format!("says that it holds {:?}", replica.known())
            })?;
            self.note_applied();
        }
        self.enforces(replica)
    }

    /// It took a snapshot over.
    pub(crate) fn took(
        &mut self,
        store: &Store,
        incarnation: Incarnation,
        revision: Revision,
        replica: &Replica,
    ) -> Verdict {
        let truth = self.truth(store, incarnation, revision)?;
        let digest = digest(&truth);
        let known = replica.known();
        claim(known.digest == digest, || {
            format!("took over a set that never was at {revision}")
        })?;
        self.goes_forward(incarnation, revision, digest)?;
        let new_life = self.held.incarnation != Some(incarnation);
        let emptied = truth.is_empty() && !self.enforced.is_empty();
        claim(
            !(new_life && emptied) || store.is_adopted(incarnation),
            || "was emptied by a store that nobody adopted".into(),
        )?;
        self.held = known;
        let mut before = std::mem::take(&mut self.enforced);
        for stored in &truth {
            let id = stored.policy.id().clone();
            let last_good = before.remove(&id);
            let now = if stored.policy.schema() <= self.schema {
                Some(stored.policy.clone())
            } else {
                last_good
            };
            self.enforced.extend(now.map(|policy| (id, policy)));
        }
        self.note_applied();
        self.enforces(replica)?;
        let refused = replica.refusals();
        let refused = refused.map(|refusal| (refusal.policy.as_str(), refusal.revision));
        self.refuses(&truth, &refused.collect())
    }

    /// It was told that what it holds is current.
    pub(crate) fn confirmed(
        &mut self,
        store: &Store,
        incarnation: Incarnation,
        revision: Revision,
        replica: &Replica,
    ) -> Verdict {
        let truth = self.truth(store, incarnation, revision)?;
        claim(self.held.digest == digest(&truth), || {
            format!("was told that it is up to date with {revision}, but is not")
        })?;
        claim(replica.known().revision >= self.held.revision, || {
            "went back by being up to date".into()
        })?;
        self.held = replica.known();
        self.enforces(replica)
    }

    /// What it enforces is what it has to.
    pub(crate) fn enforces(&self, replica: &Replica) -> Verdict {
        let right = replica.policies().eq(self.enforced.values());
        claim(right, || {
            let names = |it: &Policy| it.id().to_string();
            let has: Vec<_> = replica.policies().map(names).collect();
            let wanted: Vec<_> = self.enforced.values().map(names).collect();
            format!("enforces {has:?} and has to enforce {wanted:?}, or other versions of these")
        })
    }

    /// A server believes that the process of that epoch applied this, but for what it refused.
    pub(crate) fn is_known_right(
        &self,
        store: &Store,
        epoch: u64,
        (incarnation, revision): (Incarnation, Revision),
        refused: &[RefusedPolicy],
    ) -> Verdict {
        let truth = self.truth(store, incarnation, revision)?;
        let set = (epoch, Store::order(incarnation), digest(&truth).0);
        claim(self.applied.contains(&set), || {
            format!("is believed to have applied {revision}, and has not")
        })?;
        if epoch != self.epoch {
            return Ok(());
        }
        let refused = refused.iter();
        let refused = refused.map(|it| (it.policy.as_str(), it.revision));
        self.refuses(&truth, &refused.collect())
    }

    /// Nothing is under way any more: it holds what the store holds.
    pub(crate) fn is_settled(&self, store: &Store, replica: &Replica) -> Verdict {
        let (incarnation, revision) = (store.incarnation(), store.revision());
        let truth = self.truth(store, incarnation, revision)?;
        if self.held.incarnation == Some(incarnation) {
            claim(self.held.digest == digest(&truth), || {
                format!("holds {:?}, not the store's {revision}", self.held)
            })?;
        } else {
            // It may stay with what it had only if it would be emptied by accident.
            let stays = truth.is_empty() && !store.adopted() && !self.enforced.is_empty();
            claim(stays, || "did not follow the store's new life".into())?;
        }
        self.enforces(replica)
    }

    pub(crate) fn follows(&self, store: &Store) -> bool {
        self.held.incarnation == Some(store.incarnation())
    }

    fn truth(
        &self,
        store: &Store,
        incarnation: Incarnation,
        revision: Revision,
    ) -> Result<Vec<Arc<Stored>>, String> {
        let truth = store.truth(incarnation, revision, &self.audience);
        truth.ok_or_else(|| format!("{incarnation} had no revision {revision}"))
    }

    fn goes_forward(&self, life: Incarnation, revision: Revision, digest: Digest) -> Verdict {
        let Some(held) = self.held.incarnation else {
            return Ok(());
        };
        claim(Store::order(life) >= Store::order(held), || {
            format!("went back from life {held} to {life}")
        })?;
        let same_set = digest == self.held.digest;
        let forward = revision >= self.held.revision || same_set;
        claim(life != held || forward, || {
            format!("went back from {} to {revision}", self.held.revision)
        })
    }

    fn note_applied(&mut self) {
        if let Some(incarnation) = self.held.incarnation {
            let life = Store::order(incarnation);
            self.applied.insert((self.epoch, life, self.held.digest.0));
        }
    }

    fn refuses(&self, truth: &[Arc<Stored>], refused: &BTreeSet<(&str, Revision)>) -> Verdict {
        let beyond = truth.iter();
        let beyond = beyond.filter(|stored| stored.policy.schema() > self.schema);
        let wanted: BTreeSet<_> = beyond
            .map(|stored| (stored.policy.id().name.as_str(), stored.revision))
            .collect();
        claim(*refused == wanted, || {
            format!("has {refused:?} down as refused instead of {wanted:?}")
        })
    }
}

fn digest(truth: &[Arc<Stored>]) -> Digest {
    let entries = truth.iter();
    Digest::of(entries.map(|stored| (stored.policy.id(), stored.revision)))
}
