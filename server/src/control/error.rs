//! Why an operator's request was refused, in words that say what to do.

use fusebox_core::key::PolicyId;
use fusebox_core::policy::Violations;
use fusebox_core::revision::Revision;

use super::{MAX_TOLD_BYTES, MAX_TRIES, MAX_WATCHES};
use crate::store::{AppendError, Crowded, ReadError};

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The policy, or what else was sent, is not legal.
    #[error("{0}")]
    Invalid(#[from] Violations),
    /// No policy of that name.
    #[error("policy {0} does not exist")]
    NotFound(PolicyId),
    /// A policy of that name exists already.
    #[error("policy {0} exists already; update it, or choose another name")]
    AlreadyExists(PolicyId),
    /// The policy is not what its writer saw.
    #[error(
        "policy {id}: the etag is {wanted:?}, but {}; read it again and decide anew",
        in_words(*.found)
    )]
    Aborted {
        /// The policy.
        id: PolicyId,
        /// The etag given: the revision its writer saw.
        wanted: String,
        /// The revision it has; `None` if it is gone.
        found: Option<Revision>,
    },
    /// Others kept changing the policy.
    #[error("policy {0} was changed by others {MAX_TRIES} times meanwhile; try again")]
    Contended(PolicyId),
    /// Some processes would have to hold more than they are sent.
    #[error("{0}")]
    Crowded(#[from] Crowded),
    /// The policy takes more room in the store than one may.
    #[error("{0}; shorten its texts")]
    TooLarge(AppendError),
    /// A set takes more room in the store than one may.
    #[error("{0}; split the set by owner or namespace")]
    TooMuch(AppendError),
    /// A set is more than those who watch can be told of at once.
    #[error(
        "the write takes {bytes} bytes in the message to those who watch; at most \
         {MAX_TOLD_BYTES} are allowed; split the set by owner or namespace"
    )]
    TooMuchToTell {
        /// What it would take.
        bytes: usize,
    },
    /// A set without a policy would delete all that its owner has.
    #[error(
        "the set is empty, which would delete all {count} policies of owner {owner:?}; set \
         allow_empty if that is meant"
    )]
    EmptySet {
        /// Whose policies.
        owner: String,
        /// How many there are.
        count: usize,
    },
    /// The policy was not written at that revision, or that is no longer kept.
    #[error(
        "policy {id}: nothing is kept of revision {revision}{}; kept are {}{}",
        if *.pruned { ", nor of any that old" } else { "" },
        listed(kept),
        if *.more { " and older ones" } else { "" }
    )]
    NotKept {
        /// The policy.
        id: PolicyId,
        /// The revision asked for.
        revision: Revision,
        /// Some that are kept, the newest first; at least one.
        kept: Vec<Revision>,
        /// Whether older ones are kept.
        more: bool,
        /// It is older than all that are kept, and such ones have been.
        pruned: bool,
    },
    /// At that revision the policy was deleted.
    #[error(
        "policy {id} was deleted at revision {revision}; to have it so, delete it, or name the \
         revision before to have it as it was"
    )]
    WasDeleted {
        /// The policy.
        id: PolicyId,
        /// The revision asked for.
        revision: Revision,
    },
    /// A place in the past that is no longer kept, or one that has not been yet.
    #[error("{0}")]
    OutOfRange(String),
    /// The override has been cleared, or has come to its end, or never was.
    #[error("override {0} is not in force; ListBreakerOverrides tells which are")]
    NotInForce(Revision),
    /// As many overrides are in force as may be.
    #[error("{0}")]
    TooManyOverrides(AppendError),
    /// As many watches as there may be.
    #[error("{MAX_WATCHES} watches are open, and no more are taken; try again later")]
    TooManyWatches,
    /// Too many writes are waiting.
    #[error("{0}; nothing was written, try again in a second")]
    Busy(AppendError),
    /// The store takes no requests of this kind now.
    #[error("{0}")]
    Unavailable(String),
    /// A bug in this server.
    #[error("{0}")]
    Broken(String),
}

impl ControlError {
    pub(super) fn aborted(id: PolicyId, wanted: &str, found: Option<Revision>) -> Self {
        let wanted = wanted.to_owned();
        Self::Aborted { id, wanted, found }
    }

    /// Of a server that ends.
    pub(crate) fn stopping() -> Self {
        Self::Unavailable("the server is stopping".to_owned())
    }
}

impl From<AppendError> for ControlError {
    fn from(error: AppendError) -> Self {
        match error {
            // Every caller that can do better than this does, before it comes here.
            AppendError::Conflict { id, .. } => Self::Contended(id),
            AppendError::TooLarge { .. } => Self::TooLarge(error),
            AppendError::TooMuch { .. } | AppendError::TooMany { .. } => Self::TooMuch(error),
            AppendError::NotInForce(id) => Self::NotInForce(id),
            AppendError::TooManyOverrides => Self::TooManyOverrides(error),
            AppendError::Crowded(crowded) => Self::Crowded(crowded),
            AppendError::Busy => Self::Busy(error),
            AppendError::Unfit { .. } | AppendError::Malformed => Self::Broken(error.to_string()),
            AppendError::InDoubt { .. } => {
                Self::Unavailable(format!("{error}; read the policy before you try again"))
            }
            AppendError::Unavailable { .. } => {
                Self::Unavailable(format!("{error}; nothing was written"))
            }
        }
    }
}

impl From<ReadError> for ControlError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Closed => Self::Unavailable(error.to_string()),
            ReadError::Compacted { .. } => {
                Self::OutOfRange(format!("{error}; watch again from the beginning"))
            }
            ReadError::Ahead { .. } => Self::OutOfRange(error.to_string()),
        }
    }
}

fn listed(revisions: &[Revision]) -> String {
    let revisions: Vec<_> = revisions.iter().map(ToString::to_string).collect();
    revisions.join(", ")
}

fn in_words(found: Option<Revision>) -> String {
    found.map_or_else(
        || "the policy does not exist".to_owned(),
        |revision| format!("its revision is {revision}"),
    )
}
