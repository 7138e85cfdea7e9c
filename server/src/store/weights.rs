//! How much the processes of each service have to hold.
//!
//! A process is sent every policy and every override that can concern its service, as one snapshot,
//! and a snapshot is bounded. So each write is weighed where writes are judged one after the other: whoever listens
//! now, or will, can be sent what is acknowledged.
//!
//! Those that name no service exactly count for every service of their namespace, whether their
//! pattern fits or not: a bound that is a little too careful, and quick.

use std::collections::HashMap;
use std::fmt;

use fusebox_core::glob::Glob;
use fusebox_core::key::Namespace;
use fusebox_core::policy::Policy;
use fusebox_core::policy::overrides::BreakerTarget;

use super::SERVICE_BYTES;

/// Crowded services that a message names; the others are counted.
const NAMED: usize = 8;

/// Whom a policy concerns: one service of a namespace, or (`None`) any of them.
type Class = (Namespace, Option<Box<str>>);

/// Bytes of policies and overrides, by whom they concern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Weights(HashMap<Namespace, Tenant>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tenant {
    for_many: usize,
    by_service: HashMap<Box<str>, usize>,
}

/// What some writes add to the weights, or take from them.
#[derive(Clone, Debug, Default)]
pub(super) struct Shift(HashMap<Class, isize>);

/// Some services would have to hold more than they can be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crowded(pub(crate) Vec<CrowdedService>);

/// A service whose processes would have to hold too much.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CrowdedService {
    /// Of which namespace.
    pub namespace: Namespace,
    /// Whose processes; `None`: those of every service.
    pub service: Option<Box<str>>,
    /// Bytes of all that concerns it.
    pub bytes: usize,
}

/// What the processes of some services have to hold.
pub(super) trait Burden {
    /// Of which namespace, and which of its services; `None`: any.
    fn concerns(&self) -> (&Namespace, Option<&Glob>);
}

impl Burden for Policy {
    fn concerns(&self) -> (&Namespace, Option<&Glob>) {
        (&self.id().namespace, self.selector().service())
    }
}

impl Burden for BreakerTarget {
    fn concerns(&self) -> (&Namespace, Option<&Glob>) {
        (&self.namespace, self.service.as_ref())
    }
}

fn class(burden: &impl Burden) -> Class {
    let (namespace, service) = burden.concerns();
    let service = service.filter(|glob| glob.is_exact());
    let service = service.map(Glob::as_str).map(Box::from);
    (namespace.clone(), service)
}

impl Weights {
    /// Counts in what takes so many bytes.
    pub(super) fn add(&mut self, burden: &impl Burden, bytes: usize) {
        *self.entry(class(burden)) += bytes;
    }

    /// Counts out what was counted in with so many bytes.
    pub(super) fn remove(&mut self, burden: &impl Burden, bytes: usize) {
        let (namespace, service) = class(burden);
        let left = self.entry((namespace.clone(), service.clone()));
        *left -= bytes;
        if *left == 0
            && let Some(service) = service
            && let Some(tenant) = self.0.get_mut(&namespace)
        {
            tenant.by_service.remove(&service);
        }
    }

    fn entry(&mut self, (namespace, service): Class) -> &mut usize {
        let tenant = self.0.entry(namespace).or_default();
        match service {
            Some(service) => tenant.by_service.entry(service).or_default(),
            None => &mut tenant.for_many,
        }
    }

    /// Whether all can be sent what they have to hold with `before`, which has been admitted, and
    /// `shift`. What makes nobody hold more is always admitted.
    pub(super) fn admit(&self, before: &Shift, shift: &Shift) -> Result<(), Crowded> {
        let mut crowded = Vec::new();
        for ((namespace, service), _) in shift.0.iter().filter(|(_, added)| **added > 0) {
            let bytes = |service: Option<&str>| {
                let own = service.map_or(0, |_| self.with(namespace, service, [before, shift]));
                own + self.with(namespace, None, [before, shift])
            };
            let mut weigh = |service: Option<&str>| {
                let bytes = bytes(service);
                if bytes > SERVICE_BYTES {
                    crowded.push(CrowdedService {
                        namespace: namespace.clone(),
                        service: service.map(Box::from),
                        bytes,
                    });
                }
            };
            weigh(service.as_deref());
            if service.is_none() {
                for service in self.services(namespace, [before, shift]) {
                    weigh(Some(service));
                }
            }
        }
        if crowded.is_empty() {
            return Ok(());
        }
        crowded.sort();
        crowded.dedup();
        Err(Crowded(crowded))
    }

    fn with(&self, namespace: &Namespace, service: Option<&str>, shifts: [&Shift; 2]) -> usize {
        let tenant = self.0.get(namespace);
        let now = tenant.map_or(0, |tenant| match service {
            Some(service) => tenant.by_service.get(service).copied().unwrap_or(0),
            None => tenant.for_many,
        });
        let class = (namespace.clone(), service.map(Box::from));
        let shifted = shifts.map(|shift| shift.0.get(&class).copied().unwrap_or(0));
        // Bytes of policies in memory: far from either end of the range.
        now.saturating_add_signed(shifted.iter().sum())
    }

    /// All of a namespace that some policy names.
    fn services<'a>(
        &'a self,
        namespace: &'a Namespace,
        shifts: [&'a Shift; 2],
    ) -> impl Iterator<Item = &'a str> {
        let named = self.0.get(namespace).into_iter();
        let named = named.flat_map(|tenant| tenant.by_service.keys().map(AsRef::as_ref));
        let shifted = shifts.into_iter().flat_map(|shift| shift.0.keys());
        let shifted = shifted.filter(move |(of, _)| of == namespace);
        named.chain(shifted.filter_map(|(_, service)| service.as_deref()))
    }
}

impl Shift {
    /// Something comes in the place of another; either may be missing, each has so many bytes.
    pub(super) fn replace<T: Burden>(
        &mut self,
        old: Option<(&T, usize)>,
        new: Option<(&T, usize)>,
    ) {
        let bytes = |part: Option<(&T, usize)>| part.map_or(0, |(_, bytes)| bytes.cast_signed());
        if let (Some((old_one, _)), Some((new_one, _))) = (old, new)
            && old_one.concerns() == new_one.concerns()
        {
            // The usual case, for the same: by how much it has grown.
            let grown = bytes(new) - bytes(old);
            if grown != 0 {
                *self.0.entry(class(new_one)).or_default() += grown;
            }
            return;
        }
        if let Some((burden, _)) = old {
            *self.0.entry(class(burden)).or_default() -= bytes(old);
        }
        if let Some((burden, _)) = new {
            *self.0.entry(class(burden)).or_default() += bytes(new);
        }
    }

    /// Takes in what `other` adds.
    pub(super) fn extend(&mut self, other: Self) {
        for (class, added) in other.0 {
            *self.0.entry(class).or_default() += added;
        }
    }
}

impl Crowded {
    /// Each, in order.
    pub fn services(&self) -> &[CrowdedService] {
        &self.0
    }
}

impl fmt::Display for Crowded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, crowded) in self.0.iter().take(NAMED).enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            let CrowdedService {
                namespace,
                service,
                bytes,
            } = crowded;
            match service {
                Some(service) => write!(f, "{separator}service {service}")?,
                None => write!(f, "{separator}every service")?,
            }
            write!(
                f,
                " of namespace {namespace} would have to hold {bytes} bytes"
            )?;
        }
        if let more @ 1.. = self.0.len().saturating_sub(NAMED) {
            write!(f, ", and {more} more services too many")?;
        }
        write!(
            f,
            " of policies and overrides, at most {SERVICE_BYTES} are sent; shorten or remove some that \
             concern them"
        )
    }
}

impl std::error::Error for Crowded {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture;
    use fusebox_core::key::Labels;
    use fusebox_core::policy::selector::Selector;

    fn of(service: &str) -> Policy {
        let mut draft = fixture::policy("a", 1).into_draft();
        let service = Some(Glob::new(service).unwrap());
        draft.selector = Selector::new(service, None, None, Labels::default()).unwrap();
        Policy::new(draft).unwrap()
    }

    fn shift(changes: &[(&str, isize)]) -> Shift {
        let mut shift = Shift::default();
        for &(service, bytes) in changes {
            *shift.0.entry(class(&of(service))).or_default() += bytes;
        }
        shift
    }

    fn crowded(weights: &Weights, before: &Shift, changes: &[(&str, isize)]) -> Vec<String> {
        match weights.admit(before, &shift(changes)) {
            Ok(()) => Vec::new(),
            Err(crowded) => crowded
                .services()
                .iter()
                .map(|crowded| crowded.service.as_deref().unwrap_or("*").to_owned())
                .collect(),
        }
    }

    const ALL: isize = SERVICE_BYTES.cast_signed();

    #[test]
    fn a_service_may_hold_as_much_as_is_sent_and_not_a_byte_more() {
        let mut weights = Weights::default();
        weights.add(&of("checkout"), 1000);
        weights.add(&of("check*"), 500);
        let none = Shift::default();
        assert!(crowded(&weights, &none, &[("checkout", ALL - 1500)]).is_empty());
        assert_eq!(
            crowded(&weights, &none, &[("checkout", ALL - 1499)]),
            ["checkout"]
        );
        assert!(crowded(&weights, &none, &[("search", ALL - 500)]).is_empty());
    }

    #[test]
    fn what_is_for_many_counts_for_each_of_them() {
        let mut weights = Weights::default();
        weights.add(&of("a"), 1000);
        weights.add(&of("b"), 10);
        let none = Shift::default();
        assert_eq!(crowded(&weights, &none, &[("*", ALL - 100)]), ["a"]);
        assert_eq!(crowded(&weights, &none, &[("*", ALL - 5)]), ["a", "b"]);
        assert_eq!(crowded(&weights, &none, &[("*", ALL + 1)]), ["*", "a", "b"]);
    }

    #[test]
    fn what_was_admitted_before_in_the_batch_counts() {
        let weights = Weights::default();
        let before = shift(&[("a", ALL - 10)]);
        assert!(crowded(&weights, &before, &[("a", 10)]).is_empty());
        assert_eq!(crowded(&weights, &before, &[("a", 11)]), ["a"]);
        assert_eq!(crowded(&weights, &before, &[("*", 11)]), ["a"]);
    }

    #[test]
    fn what_makes_nobody_hold_more_is_admitted_however_crowded_it_is() {
        let mut weights = Weights::default();
        weights.add(&of("a"), SERVICE_BYTES + 500);
        let none = Shift::default();
        assert!(crowded(&weights, &none, &[("a", -1)]).is_empty());
        assert!(crowded(&weights, &none, &[("b", 7)]).is_empty());
        weights.remove(&of("a"), SERVICE_BYTES + 500);
        weights.add(&of("a"), 0);
        weights.remove(&of("a"), 0);
        assert!(
            weights
                .0
                .values()
                .all(|tenant| tenant.by_service.is_empty())
        );
    }
}
