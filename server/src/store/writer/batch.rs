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
use fusebox_core::revision::Revision;

use super::{Answer, BATCH_BYTES, Request, Verdict};
use crate::store::live::Live;
use crate::store::record;
use crate::store::weights::Shift;
use crate::store::{
    AppendError, BATCH_WRITES, Change, Committed, Expect, Proposal, Provenance, Step,
    VERSION_BYTES, Version, WRITE_BYTES, WRITE_VERSIONS,
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
    /// What it has added to what services hold.
    shift: Shift,
}

/// A policy, and the bytes it takes in the journal.
type Found = (Arc<Stored>, usize);

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
            if !seen.insert(step.id().clone()) {
                return Err(AppendError::Malformed);
            }
            let found = self.found(step.id());
            check(&step, found.as_ref().map(|(stored, _)| stored.revision))?;
            let Some(version) = self.version(step, found.as_ref(), revision, &by) else {
                continue;
            };
            let bytes = self.encode(&version)?;
            self.check_size(before)?;
            let old = found.as_ref().map(|(old, bytes)| (&old.policy, *bytes));
            let new = version.stored.as_ref().map(|new| (&new.policy, bytes));
            shift.replace(old, new);
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
            let stored = version.stored.clone().map(|stored| (stored, *bytes));
            self.touched.insert(version.id.clone(), stored);
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

    fn version(
        &self,
        step: Step,
        found: Option<&Found>,
        revision: Revision,
        by: &Arc<Provenance>,
    ) -> Option<Version> {
        let found = found.map(|(stored, _)| stored);
        let (id, stored) = match step.change {
            Change::Keep(_) => return None,
            Change::Delete(id) => (id, None),
            Change::Put(policy) => {
                let stored = Stored {
                    revision,
                    create_time: found.map_or(self.now, |found| found.create_time),
                    update_time: self.now,
                    updated_by: by.author.clone(),
                    policy: *policy,
                };
                (stored.policy.id().clone(), Some(Arc::new(stored)))
            }
        };
        Some(Version {
            revision,
            id,
            stored,
            replaced: found.map(|found| found.revision),
            time: self.now,
            by: Arc::clone(by),
        })
    }

    /// Adds the version's bytes to the payload, if they are fit to be kept; says how many.
    fn encode(&mut self, version: &Version) -> Result<usize, AppendError> {
        let before = self.payload.len();
        record::encode_version(version, &mut self.payload);
        let id = || version.id.clone();
        let bytes = self.payload.len() - before;
        if bytes > VERSION_BYTES {
            return Err(AppendError::TooLarge { id: id(), bytes });
        }
        record::check_version(version, &self.payload, before)
            .map_err(|problem| AppendError::Unfit { id: id(), problem })?;
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

fn check(step: &Step, found: Option<Revision>) -> Result<(), AppendError> {
    // A delete of what is absent would be a write without a change.
    let vain = found.is_none() && matches!(step.change, Change::Delete(_));
    let expected = match step.expect.admits(found) {
        true if vain => Expect::Present,
        true => return Ok(()),
        false => step.expect,
    };
    Err(AppendError::Conflict {
        id: step.id().clone(),
        expected,
        found,
    })
}
