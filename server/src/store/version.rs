//! What a write made of a policy or an override, and who made it.
//!
//! A version is the unit of history: the store keeps versions, tells its watchers of them and
//! writes them to its journal. The versions of one write have one revision.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use fusebox_core::key::{Namespace, PolicyId};
use fusebox_core::policy::Stored;
use fusebox_core::policy::overrides::{BreakerOverride, BreakerReset};
use fusebox_core::revision::Revision;

/// One policy or override as of one revision, or an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Of the write that made it.
    pub revision: Revision,
    /// What it is from then on.
    pub what: What,
    /// The revision of what it replaced; `None` if there was nothing.
    pub replaced: Option<Revision>,
    /// When it was judged.
    pub time: SystemTime,
    /// Who wanted it.
    pub by: Arc<Provenance>,
}

/// What something is from a revision on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A policy.
    Policy {
        /// Which one.
        id: PolicyId,
        /// `None`: it was deleted.
        stored: Option<Arc<Stored>>,
    },
    /// An operator's decision about breakers.
    Override {
        /// As it was set.
        standing: Arc<BreakerOverride>,
        /// Or else it is so no longer.
        in_force: bool,
    },
    /// Breakers were reset: an event, of which nothing is kept but that it was.
    Reset(Arc<BreakerReset>),
}

/// What a version is about: versions of the same replace each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A policy.
    Policy(PolicyId),
    /// An override.
    Override(Revision),
    /// A reset; there is never a second one about it.
    Reset(Revision),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(id) => write!(f, "policy {id}"),
            Self::Override(id) => write!(f, "override {id}"),
            Self::Reset(id) => write!(f, "reset {id}"),
        }
    }
}

impl Version {
    /// What it is about.
    pub fn subject(&self) -> Subject {
        match &self.what {
            What::Policy { id, .. } => Subject::Policy(id.clone()),
            What::Override { standing, .. } => Subject::Override(standing.id),
            What::Reset(reset) => Subject::Reset(reset.id),
        }
    }

    /// Whether there is something from then on.
    pub fn is_live(&self) -> bool {
        match &self.what {
            What::Policy { stored, .. } => stored.is_some(),
            What::Override { in_force, .. } => *in_force,
            What::Reset(_) => false,
        }
    }

    /// The policy it is about, if it is about one.
    pub fn policy_id(&self) -> Option<&PolicyId> {
        match &self.what {
            What::Policy { id, .. } => Some(id),
            _ => None,
        }
    }

    /// The policy from then on, if there is one.
    pub fn stored(&self) -> Option<&Arc<Stored>> {
        match &self.what {
            What::Policy { stored, .. } => stored.as_ref(),
            _ => None,
        }
    }

    /// The override from then on, if there is one.
    pub fn standing(&self) -> Option<&Arc<BreakerOverride>> {
        match &self.what {
            What::Override {
                standing,
                in_force: true,
            } => Some(standing),
            _ => None,
        }
    }

    /// Whether it is about something of `namespace`.
    pub fn is_in(&self, namespace: &Namespace) -> bool {
        let own = match &self.what {
            What::Policy { id, .. } => &id.namespace,
            What::Override { standing, .. } => &standing.target.namespace,
            What::Reset(reset) => &reset.target.namespace,
        };
        own == namespace
    }
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
    /// Why, as the author said; empty where nobody is asked.
    pub reason: String,
}

/// On what occasion something was written.
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
    /// An override was set.
    OverrideSet,
    /// An override was cleared.
    OverrideCleared,
    /// An override's time was over.
    OverrideExpired,
    /// Breakers were reset.
    BreakersReset,
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
        self.versions.first()?.stored()
    }

    /// The override that its only step set.
    pub fn standing(&self) -> Option<&Arc<BreakerOverride>> {
        self.versions.first()?.standing()
    }
}
