//! At which revisions one audience's snapshot changed, and what is to be acknowledged for each.
//!
//! ```text
//!   from        for a revision from here on, up to the next change's `from`,
//!   required    so much must have been acknowledged
//! ```
//!
//! A change that was seen has both the same. A set that was built afresh at revision B requires B
//! for all of it, and so does what went by unseen. For revisions older than what is kept, the
//! oldest change kept is required, and whatever was said up to then counts as theirs.

use std::collections::VecDeque;

use super::super::history::Snapshot;
use crate::revision::Revision;

/// Changes that are kept of one audience.
pub const MAX_CHANGES: usize = 64;

/// The changes of one audience, the oldest first; both figures never fall.
#[derive(Debug, Default)]
pub(super) struct Changes(VecDeque<Change>);

#[derive(Clone, Copy, Debug)]
struct Change {
    from: Revision,
    required: Revision,
}

/// What one revision asks of an audience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Touch {
    /// To be acknowledged.
    pub(super) required: Revision,
    /// What the last change said: the versions of policies and the overrides from here on,
    first: Revision,
    /// before here.
    until: Revision,
}

impl Touch {
    /// Of a revision that has not been seen yet.
    pub(super) const fn unseen(revision: Revision) -> Self {
        Self {
            required: revision,
            first: revision,
            until: revision,
        }
    }

    /// Whether the last change said this version of a policy, or this override.
    pub(super) fn says(&self, version: Revision) -> bool {
        self.first <= version && version < self.until
    }
}

impl Changes {
    /// Starts afresh: each of the snapshot's policies and overrides was a change, and whoever acknowledges the
    /// snapshot has them all.
    pub(super) fn afresh(snapshot: &Snapshot) -> Self {
        let mut versions: Vec<_> = snapshot
            .policies
            .iter()
            .map(|stored| stored.revision)
            .chain(snapshot.overrides.iter().map(|one| one.id))
            .collect();
        versions.sort_unstable();
        versions.dedup();
        let required = snapshot.revision;
        let before = Change {
            from: Revision::ZERO,
            required,
        };
        let kept = versions.len().saturating_sub(MAX_CHANGES - 1);
        let changes = versions[kept..]
            .iter()
            .map(|&from| Change { from, required });
        Self(std::iter::once(before).chain(changes).collect())
    }

    /// All writes from `from` to `required` together changed the snapshot.
    pub(super) fn add(&mut self, from: Revision, required: Revision) {
        if self.0.len() == MAX_CHANGES {
            self.0.pop_front();
        }
        self.0.push_back(Change { from, required });
    }

    /// What `revision` asks; `None` while nothing is known, for which nothing is enough.
    pub(super) fn touch(&self, revision: Revision) -> Option<Touch> {
        let behind = self.0.partition_point(|change| change.from <= revision);
        let at = behind.saturating_sub(1);
        let Change { from, required } = *self.0.get(at)?;
        let until = required.next();
        let next = self.0.get(at + 1).map_or(until, |next| next.from);
        Some(Touch {
            required,
            first: if behind == 0 { Revision::ZERO } else { from },
            until: until.min(next),
        })
    }

    /// The last change.
    pub(super) fn last(&self) -> Option<Revision> {
        self.0.back().map(|change| change.required)
    }

    /// Up to which revision, at most `now`, whoever acknowledged `acked` has everything.
    pub(super) fn through(&self, acked: Revision, now: Revision) -> Option<Revision> {
        let had = self.0.partition_point(|change| change.required <= acked);
        match self.0.get(had) {
            None if self.0.is_empty() => None,
            None => Some(now),
            Some(_) if had == 0 => None,
            Some(next) => Some(Revision(next.from.0.saturating_sub(1))),
        }
    }
}
