//! Whether there is room for a policy: asked by who wants to write it, answered by who would have
//! to send it.

use fusebox_core::key::{PolicyId, Service};
use fusebox_core::policy::Policy;

/// Who knows how much the processes that a policy concerns have to hold already.
pub trait Room: Send + Sync {
    /// Whether every audience known can still be sent all that concerns it.
    fn admit(&self, policy: &Policy) -> Result<(), Crowded>;
}

/// An audience that would have to hold more than it can be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "service {service} would have to hold {bytes} bytes of policies, at most {max} are sent; \
     shorten or remove some that concern it"
)]
pub struct Crowded {
    /// The policy that would make it too much.
    pub policy: PolicyId,
    /// The service it is too much for.
    pub service: Service,
    /// Bytes of all its policies.
    pub bytes: usize,
    /// Bytes allowed.
    pub max: usize,
}
