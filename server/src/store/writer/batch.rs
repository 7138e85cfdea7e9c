//! Which writes are admitted, and what they become.
//!
//! A batch judges one proposal after the other against the live set *and* against what it has
//! itself admitted before, so that its writes are as if each had been committed alone. It does no
//! I/O and reads no clock; dropped, it was never there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use fusebox_core::policy::Stored;
use fusebox_core::revision::Revision;

use super::{Answer, BATCH_BYTES, Request, Verdict};
use crate::store::live::{Live, key};
use crate::store::record::{self, Entry};
use crate::store::{
    AppendError, BATCH_WRITES, Change, Committed, Event, Expect, Proposal, WRITE_BYTES,
};

/// Writes that are judged and not yet committed.
pub(super) struct Batch<'a> {
    live: &'a Live,
    now: SystemTime,
    revision: Revision,
    pub(super) entries: Vec<Entry>,
    pub(super) payload: Vec<u8>,
    pub(super) verdicts: Vec<Verdict>,
    /// What the batch itself has made of the policies it touched.
    touched: HashMap<String, Option<Arc<Stored>>>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(live: &'a Live, now: SystemTime) -> Self {
        Self {
            live,
            now,
            revision: live.revision(),
            entries: Vec::new(),
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

    fn stage(&mut self, proposal: Proposal) -> Answer {
        let key = key(proposal.id());
        let found = match self.touched.get(&key) {
            Some(touched) => touched.clone(),
            None => self.live.find(&key),
        };
        check(&proposal, found.as_ref().map(|stored| stored.revision))?;
        let entry = self.entry(proposal, found.as_deref());
        self.encode(&entry)?;
        let stored = entry.event.stored.clone();
        self.revision = entry.event.revision;
        self.entries.push(entry);
        self.touched.insert(key, stored.clone());
        Ok(Committed {
            revision: self.revision,
            stored,
        })
    }

    fn entry(&self, proposal: Proposal, found: Option<&Stored>) -> Entry {
        let revision = self.revision.next();
        let (id, stored) = match proposal.change {
            Change::Delete(id) => (id, None),
            Change::Put(policy) => {
                let stored = Stored {
                    revision,
                    create_time: found.map_or(self.now, |found| found.create_time),
                    update_time: self.now,
                    updated_by: proposal.author.clone(),
                    policy: *policy,
                };
                (stored.policy.id().clone(), Some(Arc::new(stored)))
            }
        };
        Entry {
            event: Event {
                revision,
                id,
                stored,
            },
            replaced: found.map(|found| found.revision),
            time: self.now,
            author: proposal.author,
        }
    }

    /// Adds the entry's bytes to the payload, if they are fit to be kept.
    fn encode(&mut self, entry: &Entry) -> Result<(), AppendError> {
        let before = self.payload.len();
        record::encode_entry(entry, &mut self.payload);
        let id = || entry.event.id.clone();
        let fit = match self.payload.len() - before {
            bytes if bytes > WRITE_BYTES => Err(AppendError::TooLarge { id: id(), bytes }),
            _ => record::check_entry(entry, &self.payload, before)
                .map_err(|problem| AppendError::Unfit { id: id(), problem }),
        };
        if fit.is_err() {
            self.payload.truncate(before);
        }
        fit
    }
}

fn check(proposal: &Proposal, found: Option<Revision>) -> Result<(), AppendError> {
    // A delete of what is absent would be a write without a change.
    let vain = found.is_none() && matches!(proposal.change, Change::Delete(_));
    let expected = match proposal.expect.admits(found) {
        true if vain => Expect::Present,
        true => return Ok(()),
        false => proposal.expect,
    };
    Err(AppendError::Conflict {
        id: proposal.id().clone(),
        expected,
        found,
    })
}
