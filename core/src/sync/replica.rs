//! What a process makes of the snapshots it receives.
//!
//! A snapshot applies whole, but for the policies this SDK cannot enforce: those are refused by
//! name and keep their last good version, if they ever had one. An older revision is passed over.
//! A store that begins a new life is followed; only an empty one is not, because a wiped server
//! must never take everybody's protection away. Whoever runs it may say that it is meant to be
//! empty: an adopted store is followed even then.
//!
//! Overrides come with the snapshot and go with it. One that this SDK cannot understand is refused
//! by name, too; nothing stands in for it, because what an id says never changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::key::PolicyId;
use crate::policy::Policy;
use crate::policy::overrides::BreakerOverride;
use crate::revision::{Digest, Incarnation, Revision};

/// A policy or an override that is not enforced as sent, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The policy's name, or what the override [is called](BreakerOverride::name).
    pub policy: String,
    /// The version refused.
    pub revision: Revision,
    /// The path of the field that cannot be enforced.
    pub field: String,
    /// Why.
    pub reason: String,
}

/// What a process tells a server that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// `None` before the first snapshot.
    pub incarnation: Option<Incarnation>,
    /// Of the last snapshot applied.
    pub revision: Revision,
    /// Of the last snapshot applied, as sent.
    pub digest: Digest,
}

impl Known {
    /// Before the first snapshot.
    pub const fn nothing() -> Self {
        Self {
            incarnation: None,
            revision: Revision::ZERO,
            digest: Digest::EMPTY,
        }
    }
}

/// A snapshot as it came off the wire or the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The store's life it comes from.
    pub incarnation: Incarnation,
    /// Whether that life is to be followed even into emptiness.
    pub adopted: bool,
    /// Its revision.
    pub revision: Revision,
    /// What the sender says of its content.
    pub digest: Digest,
    /// Its policies.
    pub entries: Vec<Entry>,
    /// Its overrides, in the order of their ids.
    pub overrides: Vec<OverrideEntry>,
}

/// An override in a snapshot, if this SDK understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverrideEntry {
    /// Which one.
    pub id: Revision,
    /// The override, or why it cannot be enforced.
    pub standing: Result<Arc<BreakerOverride>, Refusal>,
}

/// A policy in a snapshot, if this SDK understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which policy.
    pub id: PolicyId,
    /// Its version.
    pub revision: Revision,
    /// The policy, or why it cannot be enforced.
    pub policy: Result<Policy, Refusal>,
}

/// A snapshot was taken over; acknowledge it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The revision to acknowledge.
    pub revision: Revision,
    /// Whether the rules of any operation or the overrides may have changed.
    pub changed: bool,
    /// Whether another store's life has begun; worth a loud word.
    pub new_incarnation: bool,
}

/// A snapshot was passed over; what was held stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// Older than what is held.
    #[error("snapshot {received} is older than {held}, which is enforced already")]
    Stale {
        /// What came.
        received: Revision,
        /// What is held.
        held: Revision,
    },
    /// Its content is not what its sender hashed.
    #[error("snapshot {received} does not match its digest")]
    Corrupt {
        /// What came.
        received: Revision,
    },
    /// A store in a new life that holds nothing, and that nobody has adopted.
    #[error(
        "store {incarnation} is new and empty; the {kept} policies and overrides of the old one stay"
    )]
    EmptyIncarnation {
        /// The new life.
        incarnation: Incarnation,
        /// Policies and overrides that stay enforced.
        kept: usize,
    },
}

/// What a process holds.
#[derive(Clone, Debug)]
pub struct Replica {
    known: Known,
    /// Of what `known` tells, some may be missing here.
    incomplete: bool,
    policies: BTreeMap<PolicyId, Held>,
    overrides: Vec<OverrideEntry>,
}

#[derive(Clone, Debug, Default)]
struct Held {
    enforced: Option<Arc<Policy>>,
    refusal: Option<Refusal>,
}

impl Default for Replica {
    fn default() -> Self {
        Self {
            known: Known::nothing(),
            incomplete: false,
            policies: BTreeMap::new(),
            overrides: Vec::new(),
        }
    }
}

impl Replica {
    /// What a process held when it last wrote it down: a snapshot, and the enforced versions of
    /// the policies it refused of that.
    pub fn restore(
        received: Received,
        stand_ins: impl IntoIterator<Item = Policy>,
    ) -> Result<Self, Ignored> {
        let stand_in = |policy: Policy| {
            let id = policy.id().clone();
            (
                id,
                Held {
                    enforced: Some(Arc::new(policy)),
                    refusal: None,
                },
            )
        };
        let mut replica = Self {
            known: Known::nothing(),
            incomplete: false,
            policies: stand_ins.into_iter().map(stand_in).collect(),
            overrides: Vec::new(),
        };
        replica.receive(received)?;
        Ok(replica)
    }

    /// Has a server send the whole set again: of what was written down some could not be read as it
    /// was meant, though it could be if it came anew. What is held stays in force until then.
    pub const fn ask_anew(&mut self) {
        self.incomplete = true;
    }

    /// What is in force.
    pub const fn held(&self) -> Known {
        self.known
    }

    /// What to tell a server: what is held, unless all of it is to come anew.
    pub const fn known(&self) -> Known {
        if self.incomplete {
            Known::nothing()
        } else {
            self.known
        }
    }

    /// The policies in force.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.policies
            .values()
            .filter_map(|held| held.enforced.as_deref())
    }

    /// What was refused of the snapshot held.
    pub fn refusals(&self) -> impl Iterator<Item = &Refusal> {
        let policies = self.policies.values();
        let policies = policies.filter_map(|held| held.refusal.as_ref());
        let overrides = self.overrides.iter();
        policies.chain(overrides.filter_map(|entry| entry.standing.as_ref().err()))
    }

    /// The overrides of the snapshot held, in the order of their ids. Whether their time is over is
    /// for whoever has a clock.
    pub fn overrides(&self) -> impl Iterator<Item = &Arc<BreakerOverride>> {
        let overrides = self.overrides.iter();
        overrides.filter_map(|entry| entry.standing.as_ref().ok())
    }

    /// The last good version of a policy whose newest was refused.
    pub fn stand_ins(&self) -> impl Iterator<Item = &Policy> {
        let refused = self.policies.values().filter(|held| held.refusal.is_some());
        refused.filter_map(|held| held.enforced.as_deref())
    }

    /// Takes a snapshot over, or says why not.
    pub fn receive(&mut self, received: Received) -> Result<Applied, Ignored> {
        let same_life = self.known.incarnation == Some(received.incarnation);
        self.check(&received, same_life)?;
        let mut before = std::mem::take(&mut self.policies);
        let mut changed = false;
        for entry in received.entries {
            let (id, held) = succeed(before.remove_entry(&entry.id), entry, &mut changed);
            self.policies.insert(id, held);
        }
        changed |= !before.is_empty();
        changed |= self.overrides != received.overrides;
        self.overrides = received.overrides;
        let new_incarnation = self.known.incarnation.is_some() && !same_life;
        let floor = if same_life {
            self.known.revision
        } else {
            Revision::ZERO
        };
        self.known = Known {
            incarnation: Some(received.incarnation),
            revision: received.revision.max(floor),
            digest: received.digest,
        };
        self.incomplete = false;
        Ok(Applied {
            revision: received.revision,
            changed,
            new_incarnation,
        })
    }

    /// The server says that what is held is the whole set as of `revision`.
    pub fn confirm(
        &mut self,
        incarnation: Incarnation,
        revision: Revision,
    ) -> Result<Applied, Ignored> {
        let held = self.known.revision;
        if self.known.incarnation != Some(incarnation) {
            return Err(Ignored::Corrupt { received: revision });
        }
        self.known.revision = held.max(revision);
        Ok(Applied {
            revision,
            changed: false,
            new_incarnation: false,
        })
    }

    fn check(&self, received: &Received, same_life: bool) -> Result<(), Ignored> {
        let entries = received
            .entries
            .iter()
            .map(|entry| (&entry.id, entry.revision));
        let overrides = received.overrides.iter().map(|entry| entry.id);
        if Digest::of(entries).with_overrides(overrides) != received.digest {
            return Err(Ignored::Corrupt {
                received: received.revision,
            });
        }
        let held = self.known.revision;
        // The set that is held may come with an earlier revision since which it is the same: servers
        // count from when they began to look.
        let same_set = received.digest == self.known.digest;
        if same_life && received.revision < held && !same_set {
            return Err(Ignored::Stale {
                received: received.revision,
                held,
            });
        }
        let kept = self.policies().count() + self.overrides().count();
        let wiped = received.entries.is_empty() && !received.adopted;
        if !same_life && wiped && kept > 0 {
            let incarnation = received.incarnation;
            return Err(Ignored::EmptyIncarnation { incarnation, kept });
        }
        Ok(())
    }
}

/// What is held of a policy once `entry` has come.
fn succeed(before: Option<(PolicyId, Held)>, entry: Entry, changed: &mut bool) -> (PolicyId, Held) {
    let (id, before) = before.unwrap_or_else(|| (entry.id, Held::default()));
    let held = match entry.policy {
        Ok(policy) => Held {
            enforced: Some(Arc::new(policy)),
            refusal: None,
        },
        Err(refusal) => Held {
            enforced: before.enforced.clone(),
            refusal: Some(refusal),
        },
    };
    *changed |= held.enforced != before.enforced;
    (id, held)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{policy, received, received_with};
    use super::*;

    fn refused(entry: &mut Entry) {
        entry.policy = Err(Refusal {
            policy: entry.id.name.to_string(),
            revision: entry.revision,
            field: "rules.retry.budget".into(),
            reason: "needs schema 2".into(),
        });
    }

    fn names(replica: &Replica) -> Vec<&str> {
        replica
            .policies()
            .map(|policy| policy.id().name.as_str())
            .collect()
    }

    #[test]
    fn a_snapshot_replaces_the_whole_set() {
        let mut replica = Replica::default();
        assert!(
            replica
                .receive(received(1, &[("a", 1), ("b", 1)]))
                .unwrap()
                .changed
        );
        assert!(
            replica
                .receive(received(2, &[("b", 1), ("c", 2)]))
                .unwrap()
                .changed
        );
        assert_eq!(names(&replica), ["b", "c"]);
        assert!(
            !replica
                .receive(received(3, &[("b", 1), ("c", 2)]))
                .unwrap()
                .changed
        );
        assert_eq!(replica.known().revision, Revision(3));
    }

    #[test]
    fn an_older_revision_of_the_same_life_never_replaces_a_newer_one() {
        let mut replica = Replica::default();
        replica.receive(received(5, &[("a", 5)])).unwrap();
        let error = replica.receive(received(4, &[])).unwrap_err();
        assert_eq!(
            error,
            Ignored::Stale {
                received: Revision(4),
                held: Revision(5)
            }
        );
        assert_eq!(names(&replica), ["a"]);
    }

    #[test]
    fn a_refused_policy_keeps_its_last_good_version_and_its_siblings_apply() {
        let mut replica = Replica::default();
        replica.receive(received(1, &[("a", 1)])).unwrap();
        let good = policy("a");
        let mut next = received(2, &[("a", 2), ("b", 2)]);
        refused(&mut next.entries[0]);
        replica.receive(next).unwrap();
        assert_eq!(names(&replica), ["a", "b"]);
        assert_eq!(replica.stand_ins().collect::<Vec<_>>(), [&good]);
        assert_eq!(replica.refusals().count(), 1);
        replica.receive(received(3, &[("a", 3), ("b", 2)])).unwrap();
        assert_eq!(
            replica.refusals().count(),
            0,
            "a good version ends the refusal"
        );
    }

    #[test]
    fn a_refused_policy_without_a_good_version_is_not_enforced() {
        let mut replica = Replica::default();
        let mut first = received(1, &[("a", 1)]);
        refused(&mut first.entries[0]);
        assert!(!replica.receive(first).unwrap().changed);
        assert_eq!(names(&replica), [""; 0]);
        assert_eq!(replica.refusals().count(), 1);
    }

    #[test]
    fn a_deliberately_empty_snapshot_empties() {
        let mut replica = Replica::default();
        replica.receive(received(1, &[("a", 1)])).unwrap();
        assert!(replica.receive(received(2, &[])).unwrap().changed);
        assert_eq!(names(&replica), [""; 0]);
    }

    #[test]
    fn a_new_life_is_followed_even_to_a_lower_revision_but_not_into_emptiness() {
        let mut replica = Replica::default();
        replica.receive(received(9, &[("a", 9)])).unwrap();
        let mut wiped = received(1, &[]);
        wiped.incarnation = Incarnation(99);
        let error = replica.receive(wiped).unwrap_err();
        assert!(matches!(error, Ignored::EmptyIncarnation { kept: 1, .. }));
        let mut restored = received(2, &[("b", 2)]);
        restored.incarnation = Incarnation(99);
        let applied = replica.receive(restored).unwrap();
        assert!(applied.new_incarnation);
        assert_eq!(names(&replica), ["b"]);
    }

    #[test]
    fn an_empty_new_life_is_followed_once_it_is_adopted() {
        let mut replica = Replica::default();
        replica.receive(received(9, &[("a", 9)])).unwrap();
        let mut empty = received(0, &[]);
        empty.incarnation = Incarnation(99);
        assert!(replica.receive(empty.clone()).is_err());
        let known = replica.known();
        assert_eq!(known.incarnation, Some(Incarnation(7)), "as it was");
        empty.adopted = true;
        let applied = replica.receive(empty.clone()).unwrap();
        assert!(applied.new_incarnation && applied.changed);
        assert_eq!(names(&replica), [""; 0]);
        assert_eq!(replica.known().incarnation, Some(Incarnation(99)));
        assert!(replica.confirm(Incarnation(99), Revision(0)).is_ok());
    }

    #[test]
    fn an_adopted_store_is_held_to_everything_else() {
        let mut replica = Replica::default();
        replica.receive(received(5, &[("a", 5)])).unwrap();
        let mut old = received(4, &[]);
        old.adopted = true;
        let error = replica.receive(old).unwrap_err();
        assert!(matches!(error, Ignored::Stale { .. }));
    }

    #[test]
    fn content_that_does_not_match_its_digest_is_passed_over() {
        let mut replica = Replica::default();
        let mut torn = received(1, &[("a", 1), ("b", 1)]);
        torn.entries.pop();
        assert_eq!(
            replica.receive(torn),
            Err(Ignored::Corrupt {
                received: Revision(1)
            })
        );
    }

    #[test]
    fn what_was_written_down_is_enforced_again_stand_ins_included() {
        let mut snapshot = received(4, &[("a", 4), ("b", 2)]);
        refused(&mut snapshot.entries[0]);
        let replica = Replica::restore(snapshot, [policy("a")]).unwrap();
        assert_eq!(names(&replica), ["a", "b"]);
        assert_eq!(replica.known().revision, Revision(4));
        assert_eq!(replica.refusals().count(), 1);
    }

    #[test]
    fn what_was_written_down_in_part_stays_in_force_and_is_asked_for_anew() {
        let mut snapshot = received(4, &[("a", 4), ("b", 2)]);
        refused(&mut snapshot.entries[0]);
        let mut replica = Replica::restore(snapshot, [policy("a")]).unwrap();
        replica.ask_anew();
        assert_eq!(names(&replica), ["a", "b"]);
        assert_eq!(replica.known(), Known::nothing(), "so that all of it comes");
        assert_eq!(replica.held().revision, Revision(4));
        let older = replica.receive(received(3, &[("b", 2)]));
        assert!(matches!(older, Err(Ignored::Stale { .. })));
        assert_eq!(replica.known(), Known::nothing());
        replica.receive(received(4, &[("a", 4), ("b", 2)])).unwrap();
        assert_eq!(replica.known().revision, Revision(4));
        assert_eq!(replica.refusals().count(), 0);
    }

    #[test]
    fn the_set_that_is_held_may_come_again_with_an_earlier_revision_and_is_not_older_for_that() {
        let mut replica = Replica::default();
        replica.receive(received(5, &[("a", 1)])).unwrap();
        let applied = replica.receive(received(3, &[("a", 1)])).unwrap();
        assert_eq!((applied.revision, applied.changed), (Revision(3), false));
        assert_eq!(replica.known().revision, Revision(5));
    }

    #[test]
    fn up_to_date_moves_the_revision_and_nothing_else() {
        let mut replica = Replica::default();
        replica.receive(received(3, &[("a", 1)])).unwrap();
        let applied = replica.confirm(Incarnation(7), Revision(8)).unwrap();
        assert_eq!((applied.revision, applied.changed), (Revision(8), false));
        assert_eq!(replica.known().revision, Revision(8));
        assert!(replica.confirm(Incarnation(8), Revision(9)).is_err());
    }

    fn forced(replica: &Replica) -> Vec<u64> {
        replica.overrides().map(|one| one.id.0).collect()
    }

    #[test]
    fn overrides_come_and_go_with_the_snapshot() {
        let mut replica = Replica::default();
        let both = received_with(2, &[("a", 1)], &[1, 2]);
        assert!(replica.receive(both).unwrap().changed);
        assert_eq!(forced(&replica), [1, 2]);
        let again = received_with(3, &[("a", 1)], &[1, 2]);
        assert!(!replica.receive(again).unwrap().changed);
        let second = received_with(4, &[("a", 1)], &[2]);
        assert!(replica.receive(second).unwrap().changed);
        assert_eq!(forced(&replica), [2]);
        assert_eq!(names(&replica), ["a"]);
    }

    #[test]
    fn an_override_that_is_not_understood_is_refused_by_name_and_its_siblings_apply() {
        let mut replica = Replica::default();
        let mut both = received_with(2, &[("a", 1)], &[1, 2]);
        both.overrides[1].standing = Err(Refusal {
            policy: BreakerOverride::name(Revision(2)),
            revision: Revision(2),
            field: "action".into(),
            reason: "unknown".into(),
        });
        replica.receive(both).unwrap();
        assert_eq!(forced(&replica), [1]);
        assert_eq!(names(&replica), ["a"]);
        let refused: Vec<_> = replica.refusals().map(|one| one.policy.as_str()).collect();
        assert_eq!(refused, ["override:2"]);
    }

    #[test]
    fn a_missing_override_is_a_digest_that_does_not_match() {
        let mut torn = received_with(2, &[("a", 1)], &[1, 2]);
        torn.overrides.pop();
        let error = Replica::default().receive(torn).unwrap_err();
        assert!(matches!(error, Ignored::Corrupt { .. }));
    }

    #[test]
    fn an_empty_new_life_takes_nobodys_overrides_away() {
        let mut replica = Replica::default();
        replica.receive(received_with(2, &[], &[1])).unwrap();
        let mut wiped = received(1, &[]);
        wiped.incarnation = Incarnation(99);
        assert!(replica.receive(wiped).is_err());
        assert_eq!(forced(&replica), [1]);
    }
}
