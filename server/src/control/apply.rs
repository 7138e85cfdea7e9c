//! A set of policies, made what they should be in one write.
//!
//! ```text
//!   look      what each policy of the set is now, and which of the owner's are not in the set
//!   plan      create, update, delete, or nothing: a pure function of both
//!   propose   on the condition that every policy it speaks of is still what was seen
//! ```
//!
//! Somebody who came in between makes the whole be done anew, up to [`MAX_TRIES`] times, unless the
//! policy that he changed came with an etag. A policy that is already as it should be is not
//! written, but held to what was seen. One that he created for the owner whose others are pruned
//! comes after the set, as if he had come a moment later.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use fusebox_core::glob::Glob;
use fusebox_core::key::{Namespace, PolicyId};
use fusebox_core::policy::{Policy, Stored, Violations};
use fusebox_core::revision::Revision;
use fusebox_proto::convert::policy::policy_to_wire;
use prost::Message;

use super::{
    Control, ControlError, Intent, MAX_NEIGHBOURS, MAX_TRIES, Query, Warning, check_etag, warnings,
};
use crate::store::{AppendError, Cause, Change, Expect, Proposal, Step};

/// Policies of one set.
pub const MAX_SET: usize = 2000;
/// Bytes of one write as its watchers are told of it, in one message: what a gRPC client takes unless
/// told otherwise (4 MiB), less what the message itself needs.
pub const MAX_TOLD_BYTES: usize = (4 * 1024 - 1) * 1024;
/// Bytes of a change besides its texts: revisions, times, tags and lengths.
const CHANGE_BYTES: usize = 160;
/// Policies for which warnings are looked for before others get their turn on the thread.
const BREATH: usize = 64;

/// Policies that are to be, and what is to become of others. It does not contradict itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    asked: Vec<Asked>,
    prune: Option<Prune>,
}

/// A policy that is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Where it stands in the request.
    pub index: usize,
    /// As it is to be.
    pub policy: Policy,
    /// The policy must still be this, if set.
    pub etag: Option<String>,
}

/// Which policies are to go unless the set has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prune {
    /// Those of exactly this owner,
    pub owner: String,
    /// in this namespace, or in all.
    pub namespace: Option<Namespace>,
    /// Even if the set is empty.
    pub allow_empty: bool,
}

impl Set {
    /// The set, unless it contradicts itself, or a finding about each policy that does.
    pub fn new(found: &mut Violations, asked: Vec<Asked>, prune: Option<Prune>) -> Option<Self> {
        let mut contradictions = Violations::none();
        repeated(&mut contradictions, &asked);
        if let Some(prune) = &prune {
            for asked in &asked {
                prune.must_cover(&mut contradictions, asked);
            }
        }
        let legal = contradictions.is_empty();
        found.extend(contradictions);
        legal.then_some(Self { asked, prune })
    }

    fn etag_of(&self, id: &PolicyId) -> Option<&str> {
        let asked = self.asked.iter().find(|asked| asked.policy.id() == id)?;
        asked.etag.as_deref()
    }
}

fn repeated(found: &mut Violations, asked: &[Asked]) {
    let mut first = HashMap::new();
    for Asked { index, policy, .. } in asked {
        if let Some(first) = first.insert(policy.id(), index) {
            let bound = format!("is in the set twice, also as policies[{first}]");
            found.add(format!("policies[{index}].name"), policy.id(), bound);
        }
    }
}

impl Prune {
    fn must_cover(&self, found: &mut Violations, asked: &Asked) {
        let Asked { index, policy, .. } = asked;
        if policy.owner() != self.owner {
            let field = format!("policies[{index}].owner");
            let bound = format!("must be {:?}, whose policies are pruned", self.owner);
            found.add(field, format!("{:?}", policy.owner()), bound);
        }
        let namespace = &policy.id().namespace;
        if let Some(only) = self.namespace.as_ref().filter(|only| *only != namespace) {
            let field = format!("policies[{index}].namespace");
            let bound = format!("must be {only}, in which policies are pruned");
            found.add(field, namespace, bound);
        }
    }
}

/// What becomes, or became, of one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    /// Which one.
    pub id: PolicyId,
    /// What it was; `None` if it was not.
    pub before: Option<Arc<Stored>>,
    /// What it is to be; `None` if it is to go.
    pub after: Option<Policy>,
    /// Legal, but perhaps not what was meant.
    pub warnings: Vec<Warning>,
}

/// What a set does to a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Unchanged,
    /// It was not, and is to be.
    Create,
    /// It is to be another than it was.
    Update,
    /// It is to go.
    Delete,
}

impl Diff {
    fn of(before: Option<Arc<Stored>>, after: Option<Policy>, id: PolicyId) -> Self {
        let warnings = Vec::new();
        Self {
            id,
            before,
            after,
            warnings,
        }
    }

    /// What is done.
    pub fn action(&self) -> Action {
        match (&self.before, &self.after) {
            (None, None) => Action::Unchanged,
            (None, Some(_)) => Action::Create,
            (Some(_), None) => Action::Delete,
            (Some(before), Some(after)) if before.policy == *after => Action::Unchanged,
            (Some(_), Some(_)) => Action::Update,
        }
    }

    fn changes(&self) -> bool {
        self.action() != Action::Unchanged
    }

    /// The step that does it; also of one that is to stay as it is, so that it is as planned once
    /// the set is written.
    fn step(&self) -> Step {
        let seen = self.before.as_ref().map(|stored| stored.revision);
        let expect = seen.map_or(Expect::Absent, Expect::Exactly);
        match &self.after {
            _ if !self.changes() => Step::keep(self.id.clone(), expect),
            Some(policy) => Step::put(policy.clone(), expect),
            None => Step::delete(self.id.clone(), expect),
        }
    }
}

/// What applying a set came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// One for each policy of the set in its order, then those pruned.
    pub diffs: Vec<Diff>,
    /// The store's revision with all of it.
    pub revision: Revision,
}

/// What `set` makes of the policies `now`, of which there is one for each of the set, and of those
/// that the owner has. Every etag must be what is found.
fn plan(
    set: &Set,
    now: Vec<Option<Arc<Stored>>>,
    owned: Vec<Arc<Stored>>,
) -> Result<Vec<Diff>, ControlError> {
    let kept: HashSet<_> = set.asked.iter().map(|asked| asked.policy.id()).collect();
    let doomed = owned
        .into_iter()
        .filter(|stored| !kept.contains(stored.policy.id()))
        .map(|stored| (stored.policy.id().clone(), stored))
        .map(|(id, stored)| Diff::of(Some(stored), None, id));
    let mut diffs = Vec::new();
    for (Asked { policy, etag, .. }, before) in set.asked.iter().zip(now) {
        let id = policy.id().clone();
        check_etag(&id, etag.as_deref(), before.as_deref())?;
        diffs.push(Diff::of(before, Some(policy.clone()), id));
    }
    diffs.extend(doomed);
    Ok(diffs)
}

impl Control {
    /// Makes the policies of `set` what they should be.
    pub async fn apply(&self, set: &Set, intent: Intent) -> Result<Applied, ControlError> {
        let mut tries = 0;
        loop {
            let mut diffs = self.plan(set)?;
            let steps: Vec<_> = diffs.iter().map(Diff::step).collect();
            let changes = diffs.iter().any(Diff::changes);
            fits_in_a_message(&steps, &intent)?;
            self.warn_of(&mut diffs).await?;
            if !changes {
                let revision = self.store.revision();
                return Ok(Applied { diffs, revision });
            }
            let by = intent.clone().by(Cause::Apply);
            let proposal = Proposal { steps, by };
            tries += 1;
            let written = match intent.validate_only {
                true => self.store.judge(proposal).map(|()| self.store.revision()),
                false => {
                    let committed = self.store.append(proposal).await;
                    committed.map(|committed| committed.revision)
                }
            };
            match written {
                Ok(revision) => return Ok(Applied { diffs, revision }),
                Err(AppendError::Conflict { id, found, .. }) => match set.etag_of(&id) {
                    Some(etag) => return Err(ControlError::aborted(id.clone(), etag, found)),
                    None if tries == MAX_TRIES => return Err(ControlError::Contended(id)),
                    None => {}
                },
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn plan(&self, set: &Set) -> Result<Vec<Diff>, ControlError> {
        let now = set
            .asked
            .iter()
            .map(|asked| self.store.get(asked.policy.id()));
        let now = now.collect::<Result<_, _>>()?;
        let owned = match &set.prune {
            Some(prune) => self.store.list(&prune.query())?.policies,
            None => Vec::new(),
        };
        if let Some(prune) = &set.prune
            && set.asked.is_empty()
            && !prune.allow_empty
            && !owned.is_empty()
        {
            let (owner, count) = (prune.owner.clone(), owned.len());
            return Err(ControlError::EmptySet { owner, count });
        }
        plan(set, now, owned)
    }

    /// Says of each policy what is odd about it in the namespace that there will be.
    async fn warn_of(&self, diffs: &mut [Diff]) -> Result<(), ControlError> {
        let kept = self.kept_neighbours(diffs)?;
        let set = diffs.iter().filter_map(|diff| diff.after.as_ref());
        let mut rivals: HashMap<_, Vec<&Policy>> = HashMap::new();
        for policy in set.chain(kept.iter().map(|stored| &stored.policy)) {
            rivals.entry(rank(policy)).or_default().push(policy);
        }
        let mut told = Vec::new();
        for (done, diff) in diffs.iter().enumerate() {
            if done % BREATH == BREATH - 1 {
                tokio::task::yield_now().await;
            }
            told.push(diff.after.as_ref().map_or_else(Vec::new, |policy| {
                let rivals = rivals[&rank(policy)].iter().copied();
                let odd = warnings::of(policy, rivals.take(MAX_NEIGHBOURS));
                let taken = taken_over(diff.before.as_deref(), policy);
                taken.into_iter().chain(odd).collect()
            }));
        }
        for (diff, warnings) in diffs.iter_mut().zip(told) {
            diff.warnings = warnings;
        }
        Ok(())
    }

    /// Policies that may tie with some of the set's and of which it does not speak.
    fn kept_neighbours(&self, diffs: &[Diff]) -> Result<Vec<Arc<Stored>>, ControlError> {
        let spoken_of: HashSet<_> = diffs.iter().map(|diff| &diff.id).collect();
        let (mut seen, mut kept) = (HashSet::new(), Vec::new());
        for policy in diffs.iter().filter_map(|diff| diff.after.as_ref()) {
            if seen.insert((&policy.id().namespace, exact(policy.selector().service()))) {
                kept.extend(self.neighbours(policy, &|_| true)?.policies);
            }
        }
        kept.retain(|stored| !spoken_of.contains(stored.policy.id()));
        Ok(kept)
    }
}

/// Whether those who watch can be told of all of it at once, as they are of every write.
fn fits_in_a_message(steps: &[Step], intent: &Intent) -> Result<(), ControlError> {
    let told = |step: &Step| {
        let author = intent.author.len();
        let (id, policy) = match &step.change {
            // Its author stands in the policy, too.
            Change::Put(policy) => (policy.id(), author + policy_to_wire(policy).encoded_len()),
            Change::Delete(id) => (id, 0),
            // Who watches policies is not told of the others.
            Change::Keep(_) | Change::Force(_) | Change::Release(_) | Change::Reset(_) => return 0,
        };
        let who = id.namespace.as_str().len() + id.name.as_str().len() + intent.source.len();
        who + author + policy + CHANGE_BYTES
    };
    let bytes = steps.iter().map(told).sum();
    if bytes > MAX_TOLD_BYTES {
        return Err(ControlError::TooMuchToTell { bytes });
    }
    Ok(())
}

/// Policies that may tie have the same.
fn rank(policy: &Policy) -> (&Namespace, Option<&str>, Option<&str>, i32) {
    let (id, selector) = (policy.id(), policy.selector());
    let (service, operation) = (exact(selector.service()), exact(selector.operation()));
    (&id.namespace, service, operation, policy.priority())
}

/// The one name that a condition admits; none if it admits several.
fn exact(glob: Option<&Glob>) -> Option<&str> {
    glob.filter(|glob| glob.is_exact()).map(Glob::as_str)
}

fn taken_over(before: Option<&Stored>, policy: &Policy) -> Option<Warning> {
    let owner = before?.policy.owner();
    (!owner.is_empty() && owner != policy.owner())
        .then(|| Warning::new("owner", "takes over a policy that belongs to another owner"))
}

impl Prune {
    fn query(&self) -> Query<'_> {
        Query {
            namespace: self.namespace.as_ref(),
            owner: Some(&self.owner),
            ..Query::default()
        }
    }
}

#[cfg(test)]
mod tests;
