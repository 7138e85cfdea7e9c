//! Whom writes concern, of those that are connected.
//!
//! To find out costs as many looks as there are policies times kinds of processes, and a set holds
//! many policies. So it is asked of a copy: the roster is needed only for as long as the copy takes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::history::Audience;
use super::Roster;
use super::crowd::{Cohort, Crowd};
use crate::policy::Policy;

/// A policy as it was and as it is to be.
#[derive(Clone, Copy, Debug)]
pub struct Rewrite<'a> {
    /// `None`: it is new.
    pub before: Option<&'a Policy>,
    /// `None`: it goes.
    pub after: Option<&'a Policy>,
}

/// How many connected processes a write concerns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Those that it selects, by what was or by what is to be.
    pub instances: usize,
    /// Among them, those whose SDK is too old for what is to be.
    pub too_old: usize,
}

/// How many processes of each kind there were, in every audience that some writes can concern.
#[derive(Clone, Debug, Default)]
pub struct Census(Vec<(Audience, Cohorts)>);

/// How many there are of each kind.
pub(super) type Cohorts = Vec<(Arc<Cohort>, usize)>;

impl Roster {
    /// What is to be known for the [`Census::reach`] of `writes`.
    pub fn census(&self, writes: &[Rewrite<'_>]) -> Census {
        let (mut whole, mut single) = (BTreeSet::new(), BTreeSet::new());
        for policy in writes.iter().flat_map(Rewrite::versions) {
            let namespace = &policy.id().namespace;
            match Audience::named(namespace, policy.selector().service()) {
                None => _ = whole.insert(namespace),
                Some(audience) => _ = single.insert(audience),
            }
        }
        single.retain(|audience| !whole.contains(&audience.namespace));
        let single = single.iter();
        let single = single.filter_map(|audience| self.crowds.get_key_value(audience));
        let many = self.crowds.iter();
        let many = many.filter(|(audience, _)| whole.contains(&audience.namespace));
        let copy = |(audience, crowd): (&Audience, &Crowd)| (audience.clone(), crowd.cohorts());
        Census(single.chain(many).map(copy).collect())
    }
}

impl Census {
    /// How many connected processes some of `writes` concern, each counted once.
    pub fn reach(&self, writes: &[Rewrite<'_>]) -> Reach {
        let schema = |write: &Rewrite<'_>| write.after.map_or(0, Policy::schema);
        let writes: Vec<_> = writes.iter().map(|write| (write, schema(write))).collect();
        let mut reach = Reach::default();
        for (audience, cohorts) in &self.0 {
            let concerning = writes.iter().filter(|(write, _)| write.concerns(audience));
            let concerning: Vec<_> = concerning.collect();
            if concerning.is_empty() {
                continue;
            }
            for (cohort, count) in cohorts {
                let mut matching = concerning
                    .iter()
                    .filter(|(write, _)| write.matches(audience, cohort))
                    .peekable();
                let found = matching.peek().is_some();
                let too_old =
                    matching.any(|(write, schema)| write.is_beyond(audience, cohort, *schema));
                reach.instances += if found { *count } else { 0 };
                reach.too_old += if too_old { *count } else { 0 };
            }
        }
        reach
    }
}

impl Rewrite<'_> {
    fn versions(&self) -> impl Iterator<Item = &Policy> {
        [self.before, self.after].into_iter().flatten()
    }

    fn concerns(&self, audience: &Audience) -> bool {
        let service = audience.service.as_str();
        self.versions().any(|policy| {
            policy.id().namespace == audience.namespace && policy.selector().concerns(service)
        })
    }

    fn matches(&self, audience: &Audience, cohort: &Cohort) -> bool {
        let service = audience.service.as_str();
        self.versions()
            .any(|policy| policy.selector().reaches(service, &cohort.labels))
    }

    fn is_beyond(&self, audience: &Audience, cohort: &Cohort, schema: u32) -> bool {
        let service = audience.service.as_str();
        let selects = |policy: &Policy| policy.selector().reaches(service, &cohort.labels);
        schema > cohort.schema && self.after.is_some_and(selects)
    }
}
