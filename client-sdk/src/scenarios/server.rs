//! What a server would send: all its policies at once, those that cannot be enforced by name.

use std::collections::BTreeMap;

use fusebox_core::glob::Glob;
use fusebox_core::key::{Labels, PolicyId};
use fusebox_core::policy::rules::Rules;
use fusebox_core::policy::selector::Selector;
use fusebox_core::policy::{Draft, Policy};
use fusebox_core::revision::{Digest, Incarnation, Revision};
use fusebox_core::sync::{Entry, Received, Refusal};

use super::rules::Said;

/// A store, as far as a process can tell.
#[derive(Default)]
pub(super) struct Server {
    policies: BTreeMap<PolicyId, (Revision, Rules)>,
    revision: Revision,
}

impl Server {
    /// The snapshot that is sent once `policies` are all there are.
    pub(super) fn snapshot(&mut self, policies: &[(String, Said)]) -> Result<Received, String> {
        self.revision = self.revision.next();
        let mut written = BTreeMap::new();
        let mut entries = BTreeMap::new();
        for (name, said) in policies {
            let id = PolicyId::new("default", name).map_err(|problem| problem.to_string())?;
            let revision = self.revision_of(&id, &said.rules);
            written.insert(id.clone(), (revision, said.rules.clone()));
            let policy = policy(&id, said).map_err(|(field, reason)| Refusal {
                policy: name.clone(),
                revision,
                field,
                reason,
            });
            let entry = Entry {
                id: id.clone(),
                revision,
                policy,
            };
            entries.insert(id, entry);
        }
        self.policies = written;
        Ok(Received {
            incarnation: Incarnation(1),
            adopted: false,
            revision: self.revision,
            digest: Digest::of(entries.iter().map(|(id, entry)| (id, entry.revision))),
            entries: entries.into_values().collect(),
            overrides: Vec::new(),
        })
    }

    /// A policy that says what it said before has not been written anew.
    fn revision_of(&self, id: &PolicyId, rules: &Rules) -> Revision {
        let known = self.policies.get(id).filter(|(_, known)| known == rules);
        known.map_or(self.revision, |(revision, _)| *revision)
    }
}

/// The policy, or the first field that is wrong with it and why.
fn policy(id: &PolicyId, said: &Said) -> Result<Policy, (String, String)> {
    if let Some(violation) = said.violations.iter().next() {
        return Err((violation.field.clone(), violation.bound.clone()));
    }
    let everything = Glob::new("*").expect("a star matches everything");
    let selector = Selector::new(None, Some(everything), None, Labels::default())
        .expect("there is a condition");
    let draft = Draft {
        id: id.clone(),
        owner: String::new(),
        description: String::new(),
        priority: 0,
        selector,
        rules: said.rules.clone(),
        clear: Vec::new(),
    };
    Policy::new(draft).map_err(|violations| ("rules".into(), violations.to_string()))
}
