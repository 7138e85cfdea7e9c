//! The store's present state by audience, and whom a change concerns.
//!
//! Snapshots are built when first asked for and kept until a change concerns their audience, so
//! that all sessions of a service share one. A snapshot's revision is that of the last change to
//! it, or, when it was built afresh, the store's of that moment: either way the set did not change
//! between that revision and now.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::glob::Glob;
use crate::key::{Namespace, PolicyId, Service};
use crate::policy::overrides::BreakerOverride;
use crate::policy::{Catalog, Stored};
use crate::revision::{Digest, Incarnation, Revision};

/// All processes that get the same snapshot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Audience {
    /// Their tenant.
    pub namespace: Namespace,
    /// Their service.
    pub service: Service,
}

impl Audience {
    /// The one that a condition on the service names, if it names one.
    pub(super) fn named(namespace: &Namespace, service: Option<&Glob>) -> Option<Self> {
        let service = service.filter(|glob| glob.is_exact())?;
        Some(Self {
            namespace: namespace.clone(),
            service: Service::new(service.as_str()).ok()?,
        })
    }
}

/// Everything that can concern one audience, whatever its instances' labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The store's life it comes from.
    pub incarnation: Incarnation,
    /// Whether that life is to be followed even into emptiness.
    pub adopted: bool,
    /// The set has been this since that revision.
    pub revision: Revision,
    /// Over the sorted (id, revision) pairs, and the ids of the overrides behind them.
    pub digest: Digest,
    /// Sorted by id.
    pub policies: Vec<Arc<Stored>>,
    /// Sorted by id.
    pub overrides: Vec<Arc<BreakerOverride>>,
}

/// What a write made of one thing.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// The policy of that id is from now on this one, or gone.
    Policy(&'a PolicyId, Option<&'a Arc<Stored>>),
    /// The override of that id is from now on in force, or over.
    Override(Revision, Option<&'a Arc<BreakerOverride>>),
}

/// Whom one version of a policy or an override can concern.
#[derive(Clone, Debug)]
struct Range {
    namespace: Namespace,
    service: Option<Glob>,
}

impl Range {
    fn of_policy(stored: &Stored) -> Self {
        Self {
            namespace: stored.policy.id().namespace.clone(),
            service: stored.policy.selector().service().cloned(),
        }
    }

    fn of_override(standing: &BreakerOverride) -> Self {
        Self {
            namespace: standing.target.namespace.clone(),
            service: standing.target.service.clone(),
        }
    }

    fn takes(&self, audience: &Audience) -> bool {
        let fits = |glob: &Glob| glob.matches(audience.service.as_str());
        self.namespace == audience.namespace && self.service.as_ref().is_none_or(fits)
    }
}

/// A store as its watchers have seen it so far.
#[derive(Debug)]
pub struct History {
    incarnation: Incarnation,
    adopted: bool,
    revision: Revision,
    policies: Catalog,
    overrides: BTreeMap<Revision, Arc<BreakerOverride>>,
    snapshots: HashMap<Audience, Arc<Snapshot>>,
}

impl History {
    /// The state at `revision` of a store that whoever runs it has `adopted`, or not.
    pub fn new(
        incarnation: Incarnation,
        adopted: bool,
        revision: Revision,
        policies: impl IntoIterator<Item = Arc<Stored>>,
        overrides: impl IntoIterator<Item = Arc<BreakerOverride>>,
    ) -> Self {
        let mut catalog = Catalog::default();
        for stored in policies {
            catalog.insert(stored);
        }
        Self {
            incarnation,
            adopted,
            revision,
            policies: catalog,
            overrides: overrides.into_iter().map(|one| (one.id, one)).collect(),
            snapshots: HashMap::new(),
        }
    }

    /// Which store's life this is.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The last change seen.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Takes in the write at `revision`, whole. Returns the known audiences whose snapshot it changed, each with the
    /// new one.
    ///
    /// A write at or below the revision already seen is a repetition and changes nothing.
    pub fn apply<'a>(
        &mut self,
        revision: Revision,
        changes: impl IntoIterator<Item = Change<'a>>,
    ) -> Vec<(Audience, Arc<Snapshot>)> {
        if revision <= self.revision {
            return Vec::new();
        }
        self.revision = revision;
        let mut touched = BTreeSet::new();
        for change in changes {
            let versions = self.take_in(change);
            touched.extend(self.audiences_of(&versions));
        }
        let rebuild = |audience: Audience| {
            let snapshot = Arc::new(self.build(&audience));
            self.snapshots
                .insert(audience.clone(), Arc::clone(&snapshot));
            (audience, snapshot)
        };
        touched.into_iter().map(rebuild).collect()
    }

    /// What `audience` should hold now. It is known from then on.
    pub fn snapshot(&mut self, audience: &Audience) -> Arc<Snapshot> {
        if let Some(snapshot) = self.snapshots.get(audience) {
            return Arc::clone(snapshot);
        }
        let snapshot = Arc::new(self.build(audience));
        self.snapshots
            .insert(audience.clone(), Arc::clone(&snapshot));
        snapshot
    }

    /// Forgets an audience nobody listens for any more.
    pub fn forget(&mut self, audience: &Audience) {
        self.snapshots.remove(audience);
    }

    /// Whom what it was before and what it is now can concern.
    fn take_in(&mut self, change: Change<'_>) -> Vec<Range> {
        match change {
            Change::Policy(id, now) => {
                let before = match now {
                    Some(stored) => self.policies.insert(Arc::clone(stored)),
                    None => self.policies.remove(id),
                };
                let versions = [before.as_deref(), now.map(Arc::as_ref)];
                versions
                    .into_iter()
                    .flatten()
                    .map(Range::of_policy)
                    .collect()
            }
            Change::Override(id, now) => {
                let before = match now {
                    Some(standing) => self.overrides.insert(id, Arc::clone(standing)),
                    None => self.overrides.remove(&id),
                };
                let versions = [before.as_deref(), now.map(Arc::as_ref)];
                versions
                    .into_iter()
                    .flatten()
                    .map(Range::of_override)
                    .collect()
            }
        }
    }

    fn audiences_of(&self, versions: &[Range]) -> Vec<Audience> {
        let named = versions.iter();
        let named = named.map(|range| Audience::named(&range.namespace, range.service.as_ref()));
        // Most name one service, and there may be ten thousand that they do not concern.
        if let Some(mut named) = named.collect::<Option<Vec<_>>>() {
            named.retain(|audience| self.snapshots.contains_key(audience));
            return named;
        }
        let concerns = |audience: &&Audience| versions.iter().any(|range| range.takes(audience));
        self.snapshots.keys().filter(concerns).cloned().collect()
    }

    fn build(&self, audience: &Audience) -> Snapshot {
        let service = audience.service.as_str();
        let policies = self.policies.concerning(&audience.namespace, service);
        let policies: Vec<_> = policies.cloned().collect();
        let overrides = self.overrides.values();
        let concerns =
            |one: &&Arc<BreakerOverride>| one.target.concerns(&audience.namespace, service);
        let overrides: Vec<_> = overrides.filter(concerns).cloned().collect();
        let entries = policies
            .iter()
            .map(|stored| (stored.policy.id(), stored.revision));
        Snapshot {
            incarnation: self.incarnation,
            adopted: self.adopted,
            revision: self.revision,
            digest: Digest::of(entries).with_overrides(overrides.iter().map(|one| one.id)),
            policies,
            overrides,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{audience, standing, stored};
    use super::*;

    fn history() -> History {
        let policies = [stored("a", "checkout", 1), stored("b", "search", 2)];
        History::new(Incarnation(7), false, Revision(2), policies, [])
    }

    fn names(snapshot: &Snapshot) -> Vec<&str> {
        snapshot
            .policies
            .iter()
            .map(|stored| stored.policy.id().name.as_str())
            .collect()
    }

    #[test]
    fn a_snapshot_holds_what_can_concern_its_audience_and_nothing_else() {
        let mut history = history();
        assert_eq!(names(&history.snapshot(&audience("checkout"))), ["a"]);
        assert_eq!(names(&history.snapshot(&audience("other"))), [""; 0]);
        assert_eq!(history.snapshot(&audience("other")).digest, Digest::EMPTY);
    }

    #[test]
    fn a_snapshot_of_an_adopted_store_says_so_now_and_after_every_change() {
        let mut history = History::new(Incarnation(7), true, Revision(0), [], []);
        assert!(history.snapshot(&audience("checkout")).adopted);
        let new = stored("a", "checkout", 1);
        let touched = history.apply(Revision(1), [Change::Policy(new.policy.id(), Some(&new))]);
        assert!(touched[0].1.adopted);
    }

    #[test]
    fn all_sessions_of_a_service_share_one_snapshot() {
        let mut history = history();
        let first = history.snapshot(&audience("checkout"));
        assert!(Arc::ptr_eq(
            &first,
            &history.snapshot(&audience("checkout"))
        ));
    }

    #[test]
    fn a_write_touches_only_the_audiences_it_concerns() {
        let mut history = history();
        let before = history.snapshot(&audience("checkout"));
        history.snapshot(&audience("search"));
        let new = stored("c", "search", 3);
        let touched = history.apply(Revision(3), [Change::Policy(new.policy.id(), Some(&new))]);
        assert_eq!(touched.len(), 1);
        assert_eq!(touched[0].0, audience("search"));
        assert_eq!(names(&touched[0].1), ["b", "c"]);
        assert_eq!(touched[0].1.revision, Revision(3));
        assert!(Arc::ptr_eq(
            &before,
            &history.snapshot(&audience("checkout"))
        ));
    }

    #[test]
    fn a_policy_that_moves_to_another_service_touches_both() {
        let mut history = history();
        history.snapshot(&audience("checkout"));
        history.snapshot(&audience("search"));
        let moved = stored("a", "search", 3);
        let touched = history.apply(
            Revision(3),
            [Change::Policy(moved.policy.id(), Some(&moved))],
        );
        assert_eq!(touched.len(), 2);
    }

    #[test]
    fn a_policy_that_becomes_one_for_many_touches_all_of_its_namespace() {
        let mut history = history();
        history.snapshot(&audience("checkout"));
        history.snapshot(&audience("search"));
        history.snapshot(&Audience {
            namespace: Namespace::new("other").unwrap(),
            ..audience("search")
        });
        let all = stored("a", "*", 3);
        let touched = history.apply(Revision(3), [Change::Policy(all.policy.id(), Some(&all))]);
        let touched: Vec<_> = touched.into_iter().map(|(audience, _)| audience).collect();
        assert_eq!(touched, [audience("checkout"), audience("search")]);
    }

    #[test]
    fn a_deletion_touches_whom_the_policy_concerned() {
        let mut history = history();
        history.snapshot(&audience("checkout"));
        let id = stored("a", "checkout", 1).policy.id().clone();
        let touched = history.apply(Revision(3), [Change::Policy(&id, None)]);
        assert_eq!(names(&touched[0].1), [""; 0]);
    }

    #[test]
    fn a_write_of_many_policies_makes_one_snapshot_of_all_of_them() {
        let mut history = history();
        history.snapshot(&audience("checkout"));
        let (one, gone) = (stored("c", "checkout", 3), stored("a", "checkout", 1));
        let changes = [
            Change::Policy(one.policy.id(), Some(&one)),
            Change::Policy(gone.policy.id(), None),
        ];
        let touched = history.apply(Revision(3), changes);
        assert_eq!(touched.len(), 1);
        assert_eq!(names(&touched[0].1), ["c"]);
    }

    #[test]
    fn a_repeated_change_changes_nothing() {
        let mut history = history();
        history.snapshot(&audience("checkout"));
        let old = stored("a", "checkout", 1);
        let again = history.apply(Revision(2), [Change::Policy(old.policy.id(), None)]);
        assert!(again.is_empty());
        assert_eq!(history.snapshot(&audience("checkout")).policies.len(), 1);
    }

    fn held(snapshot: &Snapshot) -> Vec<u64> {
        snapshot.overrides.iter().map(|one| one.id.0).collect()
    }

    #[test]
    fn an_override_is_in_the_snapshots_of_those_it_concerns_in_force_or_set_since() {
        let first = standing("check*", 1);
        let mut history = History::new(Incarnation(7), false, Revision(2), [], [first]);
        let before = history.snapshot(&audience("checkout"));
        assert_eq!(held(&before), [1]);
        assert_ne!(before.digest, Digest::EMPTY);
        history.snapshot(&audience("search"));
        let second = standing("checkout", 3);
        let touched = history.apply(Revision(3), [Change::Override(Revision(3), Some(&second))]);
        assert_eq!(touched.len(), 1);
        assert_eq!(held(&touched[0].1), [1, 3]);
        assert_eq!(touched[0].1.revision, Revision(3));
        assert!(held(&history.snapshot(&audience("search"))).is_empty());
    }

    #[test]
    fn the_end_of_an_override_touches_whom_it_concerned_and_once_over_nobody() {
        let overrides = [standing("check*", 1), standing("search", 2)];
        let mut history = History::new(Incarnation(7), false, Revision(2), [], overrides);
        for service in ["checkout", "search"] {
            history.snapshot(&audience(service));
        }
        let over = [Change::Override(Revision(1), None)];
        let touched = history.apply(Revision(3), over);
        assert_eq!(touched.len(), 1);
        assert_eq!(touched[0].0, audience("checkout"));
        assert_eq!(touched[0].1.digest, Digest::EMPTY);
        assert!(history.apply(Revision(4), over).is_empty());
    }
}
