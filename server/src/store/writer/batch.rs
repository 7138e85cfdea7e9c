//! Which writes are admitted, and what they become.
//!
//! A batch judges one proposal after the other against the live set *and* against what it has
//! itself admitted before, so that its writes are as if each had been committed alone. It does no
//! I/O and reads no clock; dropped, it was never there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use fusebox_core::key::PolicyId;
use fusebox_core::policy::Stored;
use fusebox_core::policy::overrides::{BreakerOverride, BreakerReset, MAX_STANDING, OverrideDraft};
use fusebox_core::revision::Revision;

use super::{Answer, BATCH_BYTES, Request, Verdict};
use crate::store::live::Live;
use crate::store::record;
use crate::store::weights::Shift;
use crate::store::{
    AppendError, BATCH_WRITES, Change, Committed, Expect, Proposal, Provenance, Step,
    VERSION_BYTES, Version, WRITE_BYTES, WRITE_VERSIONS, What,
};

/// A write that is admitted.
#[derive(Clone, Debug)]
pub(in crate::store) struct Staged {
    pub(in crate::store) committed: Committed,
    /// Bytes of each of its versions in the journal.
    pub(in crate::store) sizes: Vec<usize>,
}

/// Writes that are judged and not yet committed.
pub(in crate::store) struct Batch<'a> {
    live: &'a Live,
    now: SystemTime,
    revision: Revision,
    pub(super) writes: Vec<Staged>,
    pub(super) payload: Vec<u8>,
    pub(super) verdicts: Vec<Verdict>,
    /// What the batch itself has made of the policies it touched.
    touched: HashMap<PolicyId, Option<Found>>,
    /// The overrides that it has itself set, and those it has ended.
    forced: HashMap<Revision, Option<Standing>>,
    /// What it has added to what services hold.
    shift: Shift,
}

/// A policy, and the bytes it takes in the journal.
type Found = (Arc<Stored>, usize);
/// An override, and the bytes it takes in the journal.
type Standing = (Arc<BreakerOverride>, usize);

impl<'a> Batch<'a> {
    pub(in crate::store) fn new(live: &'a Live, now: SystemTime) -> Self {
        Self {
            live,
            now,
            revision: live.revision(),
            writes: Vec::new(),
            payload: Vec::new(),
            verdicts: Vec::new(),
            touched: HashMap::new(),
            forced: HashMap::new(),
            shift: Shift::default(),
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.verdicts.len() < BATCH_WRITES && self.payload.len() < BATCH_BYTES
    }

    pub(super) fn judge(&mut self, request: Request) {
        let verdict = self.stage(request.proposal);
        self.verdicts.push((request.answer, verdict));
    }

    /// Admits all steps of a proposal, or leaves the batch as it was.
    pub(in crate::store) fn stage(&mut self, proposal: Proposal) -> Answer {
        let before = self.payload.len();
        self.admit(proposal, before)
            .inspect_err(|_| self.payload.truncate(before))
    }

    fn admit(&mut self, proposal: Proposal, before: usize) -> Answer {
        let count = proposal.steps.len();
        if count > WRITE_VERSIONS {
            return Err(AppendError::TooMany { count });
        }
        let (revision, by) = (self.revision.next(), Arc::new(proposal.by));
        let (mut versions, mut sizes) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let (mut seen, mut shift) = (HashSet::with_capacity(count), Shift::default());
        for step in proposal.steps {
            if !seen.insert(step.subject(revision)) {
                return Err(AppendError::Malformed);
            }
            let Some((version, old)) = self.version(step, revision, &by)? else {
                continue;
            };
            let bytes = self.encode(&version)?;
            self.check_size(before)?;
            self.weigh(&mut shift, &version, old.as_ref(), bytes);
            versions.push(Arc::new(version));
            sizes.push(bytes);
        }
        if versions.is_empty() {
            return Err(AppendError::Malformed);
        }
        let weighed = self
            .live
            .with_table(|table| table.weights().admit(&self.shift, &shift));
        weighed.map_err(AppendError::Crowded)?;
        self.revision = revision;
        self.shift.extend(shift);
        for (version, bytes) in versions.iter().zip(&sizes) {
            self.note(version, *bytes);
        }
        let committed = Committed {
            revision,
            versions: versions.into(),
        };
        self.writes.push(Staged {
            committed: committed.clone(),
            sizes,
        });
        Ok(committed)
    }

    /// A policy as the next write finds it, and the bytes it takes.
    fn found(&self, id: &PolicyId) -> Option<Found> {
        match self.touched.get(id) {
            Some(touched) => touched.clone(),
            None => self.live.find(id),
        }
    }

    /// What an admitted version has made of what it is about.
    fn note(&mut self, version: &Version, bytes: usize) {
        match &version.what {
            What::Policy { id, stored } => {
                let found = stored.clone().map(|stored| (stored, bytes));
                self.touched.insert(id.clone(), found);
            }
            What::Override { standing, in_force } => {
                let id = standing.id;
                let standing = in_force.then(|| (Arc::clone(standing), bytes));
                self.forced.insert(id, standing);
            }
            What::Reset(_) => {}
        }
    }

    /// What a step comes to, with the policy that it replaces; `None` if it changes nothing.
    fn version(
        &self,
        step: Step,
        revision: Revision,
        by: &Arc<Provenance>,
    ) -> Result<Option<(Version, Option<Found>)>, AppendError> {
        let (what, found) = match step.change {
            Change::Force(draft) => (self.force(*draft, revision, by)?, None),
            Change::Release(id) => {
                let (standing, _) = self.standing(id).ok_or(AppendError::NotInForce(id))?;
                let in_force = false;
                (What::Override { standing, in_force }, None)
            }
            Change::Reset(target) => {
                let reset = BreakerReset {
                    id: revision,
                    target: *target,
                    reason: by.reason.clone(),
                };
                (What::Reset(Arc::new(reset)), None)
            }
            Change::Keep(id) => {
                check(&id, step.expect, self.found(&id).as_ref(), false)?;
                return Ok(None);
            }
            Change::Delete(id) => {
                let found = self.found(&id);
                check(&id, step.expect, found.as_ref(), true)?;
                (What::Policy { id, stored: None }, found)
            }
            Change::Put(policy) => {
                let id = policy.id().clone();
                let found = self.found(&id);
                check(&id, step.expect, found.as_ref(), false)?;
                let create_time = found.as_ref().map(|(stored, _)| stored.create_time);
                let stored = Some(Arc::new(Stored {
                    revision,
                    create_time: create_time.unwrap_or(self.now),
                    update_time: self.now,
                    updated_by: by.author.clone(),
                    policy: *policy,
                }));
                (What::Policy { id, stored }, found)
            }
        };
        let replaced = match &what {
            What::Override {
                standing,
                in_force: false,
            } => Some(standing.id),
            _ => found.as_ref().map(|(stored, _)| stored.revision),
        };
        let version = Version {
            revision,
            what,
            replaced,
            time: self.now,
            by: Arc::clone(by),
        };
        Ok(Some((version, found)))
    }

    fn force(
        &self,
        draft: OverrideDraft,
        revision: Revision,
        by: &Provenance,
    ) -> Result<What, AppendError> {
        if self.standings() >= MAX_STANDING {
            return Err(AppendError::TooManyOverrides);
        }
        let standing = BreakerOverride {
            id: revision,
            target: draft.target,
            forced: draft.forced,
            reason: draft.reason,
            author: by.author.clone(),
            create_time: self.now,
            ttl: draft.ttl,
        };
        Ok(What::Override {
            standing: Arc::new(standing),
            in_force: true,
        })
    }

    /// An override as the next write finds it, if it is in force.
    fn standing(&self, id: Revision) -> Option<Standing> {
        match self.forced.get(&id) {
            Some(forced) => forced.clone(),
            None => self.live.with_table(|table| table.standing(id)),
        }
    }

    /// How many are in force.
    fn standings(&self) -> usize {
        let set = self.forced.values().flatten().count();
        self.live.with_table(|table| {
            let live = table.overrides();
            // One that was set and ended by the batch itself was never there.
            let ended = self.forced.iter().filter(|(_, forced)| forced.is_none());
            let ended = ended.filter(|(id, _)| live.contains_key(id)).count();
            live.len() + set - ended
        })
    }

    /// Adds what a version changes in what services hold.
    fn weigh(&self, shift: &mut Shift, version: &Version, old: Option<&Found>, bytes: usize) {
        match &version.what {
            What::Policy { stored, .. } => {
                let old = old.map(|(old, bytes)| (&old.policy, *bytes));
                shift.replace(old, stored.as_ref().map(|new| (&new.policy, bytes)));
            }
            What::Override { standing, in_force } => {
                let target = &standing.target;
                let set = in_force.then_some((target, bytes));
                let ended = self.standing(standing.id).map(|(_, bytes)| (target, bytes));
                shift.replace(ended, set);
            }
            What::Reset(_) => {}
        }
    }

    /// Adds the version's bytes to the payload, if they are fit to be kept; says how many.
    fn encode(&mut self, version: &Version) -> Result<usize, AppendError> {
        let before = self.payload.len();
        record::encode_version(version, &mut self.payload);
        let subject = || version.subject();
        let bytes = self.payload.len() - before;
        if bytes > VERSION_BYTES {
            return Err(AppendError::TooLarge {
                subject: subject(),
                bytes,
            });
        }
        record::check_version(version, &self.payload, before).map_err(|problem| {
            AppendError::Unfit {
                subject: subject(),
                problem,
            }
        })?;
        Ok(bytes)
    }

    /// Whether the write that begins at `from` is still small enough.
    fn check_size(&self, from: usize) -> Result<(), AppendError> {
        match self.payload.len() - from {
            bytes if bytes > WRITE_BYTES => Err(AppendError::TooMuch { bytes }),
            _ => Ok(()),
        }
    }
}

/// Whether a policy is as a step expects it.
fn check(
    id: &PolicyId,
    expect: Expect,
    found: Option<&Found>,
    deletes: bool,
) -> Result<(), AppendError> {
    let found = found.map(|(stored, _)| stored.revision);
    // A delete of what is absent would be a write without a change.
    let vain = found.is_none() && deletes;
    let expected = match expect.admits(found) {
        true if vain => Expect::Present,
        true => return Ok(()),
        false => expect,
    };
    Err(AppendError::Conflict {
        id: id.clone(),
        expected,
        found,
    })
}
