//! Live policies, found by whom they can concern.
//!
//! A fleet has many services, and a policy mostly names one. So each tenant keeps its policies by
//! the service that they name, and apart those for many: what can concern a service is the union of
//! two short lists, merged by name.
//!
//! ```text
//! tenant   policies: a b c d e f        in order
//!          by service: checkout -> a d  exactly this one
//!                      search   -> c
//!          for many: b e f              a glob, or no condition on the service
//! ```
//!
//! Invariant: a policy stands in `policies` and in exactly one of the two others, and nothing empty
//! is kept.

use std::cmp::Ordering;
use std::collections::btree_map::Values;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use super::Stored;
use crate::glob::Glob;
use crate::key::{Namespace, PolicyId, PolicyName};

type ByName = BTreeMap<PolicyName, Arc<Stored>>;

/// The policies that a store holds at one moment.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    tenants: BTreeMap<Namespace, Tenant>,
    len: usize,
}

#[derive(Clone, Debug, Default)]
struct Tenant {
    policies: ByName,
    by_service: HashMap<Box<str>, ByName>,
    for_many: ByName,
}

impl Catalog {
    /// Takes a policy in; the answer is the one of its id that it replaces.
    pub fn insert(&mut self, stored: Arc<Stored>) -> Option<Arc<Stored>> {
        let namespace = stored.policy.id().namespace.clone();
        let replaced = self.tenants.entry(namespace).or_default().insert(stored);
        self.len += usize::from(replaced.is_none());
        replaced
    }

    /// Drops a policy; the answer is what it was.
    pub fn remove(&mut self, id: &PolicyId) -> Option<Arc<Stored>> {
        let tenant = self.tenants.get_mut(&id.namespace)?;
        let removed = tenant.remove(&id.name)?;
        if tenant.policies.is_empty() {
            self.tenants.remove(&id.namespace);
        }
        self.len -= 1;
        Some(removed)
    }

    /// The policy `id`.
    pub fn get(&self, id: &PolicyId) -> Option<&Arc<Stored>> {
        self.tenants.get(&id.namespace)?.policies.get(&id.name)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All, sorted by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.after(None, None)
    }

    /// Those of one namespace, or of all, that come behind `after`, sorted by id. There need not be
    /// a policy `after`. Where to start is found in logarithmic time.
    pub fn after<'a>(
        &'a self,
        namespace: Option<&Namespace>,
        after: Option<&PolicyId>,
    ) -> impl Iterator<Item = &'a Arc<Stored>> + use<'a> {
        let after = after.cloned();
        let first = match (namespace, &after) {
            (Some(only), _) => Bound::Included(only.clone()),
            (None, Some(after)) => Bound::Included(after.namespace.clone()),
            (None, None) => Bound::Unbounded,
        };
        let last = namespace.map_or(Bound::Unbounded, |only| Bound::Included(only.clone()));
        let tenants = self.tenants.range((first, last));
        tenants.flat_map(move |(namespace, tenant)| tenant.after(namespace, after.as_ref()))
    }

    /// Those of `namespace` that can concern `service` at all, sorted by id. Costs as much as there
    /// are policies for exactly this service and for many in that namespace.
    pub fn concerning<'a>(
        &'a self,
        namespace: &Namespace,
        service: &str,
    ) -> impl Iterator<Item = &'a Arc<Stored>> + use<'a> {
        let service: Box<str> = service.into();
        let tenant = self.tenants.get(namespace);
        let exactly = tenant.and_then(|tenant| tenant.by_service.get(&service));
        let for_many = tenant.map(|tenant| tenant.for_many.values());
        let for_many = for_many.into_iter().flatten();
        Merged {
            left: exactly.map(ByName::values).unwrap_or_default(),
            right: for_many.filter(move |stored| stored.policy.selector().concerns(&service)),
            held: None,
        }
    }

    /// Those of `namespace` whose selectors say as `service` does whom they are for, sorted by id:
    /// exactly this one, or else many. No other policy can meet one with that condition and be as
    /// specific. Where they are is found in constant time.
    pub fn alike<'a>(
        &'a self,
        namespace: &Namespace,
        service: Option<&Glob>,
    ) -> impl Iterator<Item = &'a Arc<Stored>> + use<'a> {
        let exact = service.filter(|glob| glob.is_exact());
        let alike = self.tenants.get(namespace).and_then(|tenant| match exact {
            Some(service) => tenant.by_service.get(service.as_str()),
            None => Some(&tenant.for_many),
        });
        alike.into_iter().flat_map(ByName::values)
    }
}

impl Tenant {
    fn insert(&mut self, stored: Arc<Stored>) -> Option<Arc<Stored>> {
        let name = stored.policy.id().name.clone();
        let replaced = self.policies.insert(name.clone(), Arc::clone(&stored));
        if let Some(replaced) = &replaced {
            self.unlist(replaced);
        }
        let list = match only_service(&stored) {
            Some(service) => self.by_service.entry(service.into()).or_default(),
            None => &mut self.for_many,
        };
        list.insert(name, stored);
        replaced
    }

    fn remove(&mut self, name: &PolicyName) -> Option<Arc<Stored>> {
        let removed = self.policies.remove(name)?;
        self.unlist(&removed);
        Some(removed)
    }

    fn unlist(&mut self, stored: &Stored) {
        let name = &stored.policy.id().name;
        let Some(service) = only_service(stored) else {
            self.for_many.remove(name);
            return;
        };
        if let Some(list) = self.by_service.get_mut(service) {
            list.remove(name);
            if list.is_empty() {
                self.by_service.remove(service);
            }
        }
    }

    /// Its policies behind `after`; all, if that is in a namespace before its own.
    fn after(
        &self,
        own: &Namespace,
        after: Option<&PolicyId>,
    ) -> impl Iterator<Item = &Arc<Stored>> + use<'_> {
        let after = after.map(|after| (after.namespace.cmp(own), &after.name));
        let range = match after {
            None | Some((Ordering::Less, _)) => Some(Bound::Unbounded),
            Some((Ordering::Equal, name)) => Some(Bound::Excluded(name)),
            Some((Ordering::Greater, _)) => None,
        };
        let policies = range.map(|first| {
            self.policies
                .range::<PolicyName, _>((first, Bound::Unbounded))
        });
        policies.into_iter().flatten().map(|(_, stored)| stored)
    }
}

/// The one service that a policy can concern.
fn only_service(stored: &Stored) -> Option<&str> {
    let service = stored.policy.selector().service();
    service.filter(|glob| glob.is_exact()).map(Glob::as_str)
}

/// Two runs of policies that have none in common, as one, sorted by name.
struct Merged<'a, R> {
    left: Values<'a, PolicyName, Arc<Stored>>,
    right: R,
    /// Drawn from one side and greater than what the other side had then.
    held: Option<(Side, &'a Arc<Stored>)>,
}

#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

impl<'a, R: Iterator<Item = &'a Arc<Stored>>> Iterator for Merged<'a, R> {
    type Item = &'a Arc<Stored>;

    fn next(&mut self) -> Option<Self::Item> {
        let (left, right) = match self.held.take() {
            Some((Side::Left, left)) => (Some(left), self.right.next()),
            Some((Side::Right, right)) => (self.left.next(), Some(right)),
            None => (self.left.next(), self.right.next()),
        };
        let (Some(left), Some(right)) = (left, right) else {
            return left.or(right);
        };
        if left.policy.id() < right.policy.id() {
            self.held = Some((Side::Right, right));
            Some(left)
        } else {
            self.held = Some((Side::Left, left));
            Some(right)
        }
    }
}

#[cfg(test)]
mod tests;
