//! What a write made of a policy, and who made it.
//!
//! A version is the unit of history: the store keeps versions, tells its watchers of them and
//! writes them to its journal. The versions of one write have one revision.

use std::sync::Arc;
use std::time::SystemTime;

use fusebox_core::key::PolicyId;
use fusebox_core::policy::Stored;
use fusebox_core::revision::Revision;

/// One policy as of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Of the write that made it.
    pub revision: Revision,
    /// Whose it is.
    pub id: PolicyId,
    /// The policy from then on; `None` if it was deleted.
    pub stored: Option<Arc<Stored>>,
    /// The revision of what it replaced; `None` if there was nothing.
    pub replaced: Option<Revision>,
    /// When it was judged.
    pub time: SystemTime,
    /// Who wanted it.
    pub by: Arc<Provenance>,
}

/// Who wants a write, from where and on what occasion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// Who; becomes [`Stored::updated_by`].
    pub author: String,
    /// The author's address, as the server sees it.
    pub source: String,
    /// On what occasion.
    pub cause: Cause,
}

/// On what occasion a policy was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was to be new.
    Create,
    /// It was changed.
    Update,
    /// It was removed.
    Delete,
    /// It belongs to a set, or no longer does.
    Apply,
    /// It is again what it was.
    Rollback,
}

/// A write that is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The revision it took.
    pub revision: Revision,
    /// What it made of each policy, in the order of its steps.
    pub versions: Arc<[Arc<Version>]>,
}

impl Committed {
    /// What its only step came to; `None` after a delete.
    pub fn stored(&self) -> Option<&Arc<Stored>> {
        self.versions.first()?.stored.as_ref()
    }
}
