//! Why an operator's request was refused, in words that say what to do.

use fusebox_core::key::PolicyId;
use fusebox_core::policy::Violations;
use fusebox_core::revision::Revision;

use super::MAX_TRIES;
use crate::room::Crowded;
use crate::store::{AppendError, ReadError};

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
    #[error("policy {id}: {crowded}", id = .0.policy, crowded = .0)]
    Crowded(#[from] Crowded),
    /// The policy takes more room in the store than one may.
    #[error("{0}; shorten its texts")]
    TooLarge(AppendError),
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
}

impl From<AppendError> for ControlError {
    fn from(error: AppendError) -> Self {
        match error {
            // Every caller that can do better than this does, before it comes here.
            AppendError::Conflict { id, .. } => Self::Contended(id),
            AppendError::TooLarge { .. }
            | AppendError::TooMuch { .. }
            | AppendError::TooMany { .. } => Self::TooLarge(error),
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
        Self::Unavailable(error.to_string())
    }
}

fn in_words(found: Option<Revision>) -> String {
    found.map_or_else(
        || "it does not exist".to_owned(),
        |revision| format!("its revision is {revision}"),
    )
}
