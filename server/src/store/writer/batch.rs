//! Which writes are admitted, and what they become.
//!
//! A batch judges one proposal after the other against the live set *and* against what it has
//! itself admitted before, so that its writes are as if each had been committed alone. It does no
//! I/O and reads no clock; dropped, it was never there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use fusebox_core::key::PolicyId;
use fusebox_core::policy::Stored;
use fusebox_core::revision::Revision;

use super::{Answer, BATCH_BYTES, Request, Verdict};
use crate::store::live::Live;
use crate::store::record;
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
pub(super) struct Batch<'a> {
    live: &'a Live,
    now: SystemTime,
    revision: Revision,
    pub(super) writes: Vec<Staged>,
    pub(super) payload: Vec<u8>,
    pub(super) verdicts: Vec<Verdict>,
    /// What the batch itself has made of the policies it touched.
    touched: HashMap<PolicyId, Option<Arc<Stored>>>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(live: &'a Live, now: SystemTime) -> Self {
        Self {
            live,
            now,
            revision: live.revision(),
            writes: Vec::new(),
            payload: Vec::new(),
            verdicts: Vec::new(),
            touched: HashMap::new(),
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
    fn stage(&mut self, proposal: Proposal) -> Answer {
        let count = proposal.steps.len();
        if count > WRITE_VERSIONS {
            return Err(AppendError::TooMany { count });
        }
        let (payload, revision) = (self.payload.len(), self.revision.next());
        let by = Arc::new(proposal.by);
        let mut versions = Vec::with_capacity(count);
        let mut touched = HashMap::with_capacity(count);
        for step in proposal.steps {
            let id = step.id().clone();
            let staged = self
                .step(step, revision, &by)
                .and_then(|version| self.check_size(payload).map(|()| version))
                .inspect_err(|_| self.payload.truncate(payload))?;
            let (version, bytes) = staged;
            if touched.insert(id, version.stored.clone()).is_some() {
                self.payload.truncate(payload);
                return Err(AppendError::Malformed);
            }
            versions.push((version, bytes));
        }
        if versions.is_empty() {
            return Err(AppendError::Malformed);
        }
        self.revision = revision;
        self.touched.extend(touched);
        let (versions, sizes): (Vec<_>, Vec<_>) = versions.into_iter().unzip();
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

    /// One step, and how many bytes it takes.
    fn step(
        &mut self,
        step: Step,
        revision: Revision,
        by: &Arc<Provenance>,
    ) -> Result<(Arc<Version>, usize), AppendError> {
        let found = match self.touched.get(step.id()) {
            Some(touched) => touched.clone(),
            None => self.live.find(step.id()),
        };
        check(&step, found.as_ref().map(|stored| stored.revision))?;
        let version = self.version(step, found.as_deref(), revision, by);
        let bytes = self.encode(&version)?;
        Ok((Arc::new(version), bytes))
    }

    fn version(
        &self,
        step: Step,
        found: Option<&Stored>,
        revision: Revision,
        by: &Arc<Provenance>,
    ) -> Version {
        let (id, stored) = match step.change {
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
        Version {
            revision,
            id,
            stored,
            replaced: found.map(|found| found.revision),
            time: self.now,
            by: Arc::clone(by),
        }
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
