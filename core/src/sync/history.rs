//! The store's present state by audience, and whom a change concerns.
//!
//! Snapshots are built when first asked for and kept until a change concerns their audience, so
//! that all sessions of a service share one. A snapshot's revision is that of the last change to
//! it, or, when it was built afresh, the store's of that moment: either way the set did not change
//! between that revision and now.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::key::{Namespace, PolicyId, Service};
use crate::policy::selector::Selector;
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
    /// The one that `selector` names, if it names one.
    pub(super) fn named(namespace: &Namespace, selector: &Selector) -> Option<Self> {
        let service = selector.service().filter(|glob| glob.is_exact())?;
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
    /// Over the sorted (id, revision) pairs.
    pub digest: Digest,
    /// Sorted by id.
    pub policies: Vec<Arc<Stored>>,
}

/// A store as its watchers have seen it so far.
#[derive(Debug)]
pub struct History {
    incarnation: Incarnation,
    adopted: bool,
    revision: Revision,
    policies: Catalog,
    snapshots: HashMap<Audience, Arc<Snapshot>>,
}

impl History {
    /// The state at `revision` of a store that whoever runs it has `adopted`, or not.
    pub fn new(
        incarnation: Incarnation,
        adopted: bool,
        revision: Revision,
        policies: impl IntoIterator<Item = Arc<Stored>>,
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

    /// Takes in the write at `revision`, whole: each policy it names is from now on what stands
    /// beside its id, or gone. Returns the known audiences whose snapshot it changed, each with the
    /// new one.
    ///
    /// A write at or below the revision already seen is a repetition and changes nothing.
    pub fn apply<'a>(
        &mut self,
        revision: Revision,
        changes: impl IntoIterator<Item = (&'a PolicyId, Option<&'a Arc<Stored>>)>,
    ) -> Vec<(Audience, Arc<Snapshot>)> {
        if revision <= self.revision {
            return Vec::new();
        }
        self.revision = revision;
        let mut touched = BTreeSet::new();
        for (id, stored) in changes {
            let before = match stored {
                Some(stored) => self.policies.insert(Arc::clone(stored)),
                None => self.policies.remove(id),
            };
            touched.extend(self.audiences_of(id, before.as_deref(), stored.map(Arc::as_ref)));
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

    fn audiences_of(
        &self,
        id: &PolicyId,
        before: Option<&Stored>,
        after: Option<&Stored>,
    ) -> Vec<Audience> {
        let versions = [before, after].into_iter().flatten();
        let selectors: Vec<_> = versions.map(|stored| stored.policy.selector()).collect();
        let named = selectors.iter();
        let named = named.map(|selector| Audience::named(&id.namespace, selector));
        // Most name one service, and there may be ten thousand that they do not concern.
        if let Some(mut named) = named.collect::<Option<Vec<_>>>() {
            named.retain(|audience| self.snapshots.contains_key(audience));
            return named;
        }
        let concerns = |audience: &&Audience| {
            let service = audience.service.as_str();
            let mut selectors = selectors.iter();
            audience.namespace == id.namespace
                && selectors.any(|selector| selector.concerns(service))
        };
        self.snapshots.keys().filter(concerns).cloned().collect()
    }

    fn build(&self, audience: &Audience) -> Snapshot {
        let service = audience.service.as_str();
        let policies = self.policies.concerning(&audience.namespace, service);
        let policies: Vec<_> = policies.cloned().collect();
        let entries = policies
            .iter()
            .map(|stored| (stored.policy.id(), stored.revision));
        Snapshot {
            incarnation: self.incarnation,
            adopted: self.adopted,
            revision: self.revision,
            digest: Digest::of(entries),
            policies,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{audience, stored};
    use super::*;

    fn history() -> History {
        let policies = [stored("a", "checkout", 1), stored("b", "search", 2)];
        History::new(Incarnation(7), false, Revision(2), policies)
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
        let mut history = History::new(Incarnation(7), true, Revision(0), []);
        assert!(history.snapshot(&audience("checkout")).adopted);
        let new = stored("a", "checkout", 1);
        let touched = history.apply(Revision(1), [(new.policy.id(), Some(&new))]);
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
        let touched = history.apply(Revision(3), [(new.policy.id(), Some(&new))]);
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
        let touched = history.apply(Revision(3), [(moved.policy.id(), Some(&moved))]);
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
        let touched = history.apply(Revision(3), [(all.policy.id(), Some(&all))]);
        let touched: Vec<_> = touched.into_iter().map(|(audience, _)| audience).collect();
        assert_eq!(touched, [audience("checkout"), audience("search")]);
    }

    #[test]
    fn a_deletion_touches_whom_the_policy_concerned() {
        let mut history = history();
        history.snapshot(&audience("checkout"));
        let id = stored("a", "checkout", 1).policy.id().clone();
        let touched = history.apply(Revision(3), [(&id, None)]);
        assert_eq!(names(&touched[0].1), [""; 0]);
    }

    #[test]
    fn a_write_of_many_policies_makes_one_snapshot_of_all_of_them() {
        let mut history = history();
        history.snapshot(&audience("checkout"));
        let (one, gone) = (stored("c", "checkout", 3), stored("a", "checkout", 1));
        let changes = [(one.policy.id(), Some(&one)), (gone.policy.id(), None)];
        let touched = history.apply(Revision(3), changes);
        assert_eq!(touched.len(), 1);
        assert_eq!(names(&touched[0].1), ["c"]);
    }

    #[test]
    fn a_repeated_change_changes_nothing() {
        let mut history = history();
        history.snapshot(&audience("checkout"));
        let old = stored("a", "checkout", 1);
        let again = history.apply(Revision(2), [(old.policy.id(), None)]);
        assert!(again.is_empty());
        assert_eq!(history.snapshot(&audience("checkout")).policies.len(), 1);
    }
}
