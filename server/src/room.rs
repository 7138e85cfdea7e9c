//! Whether there is room for what somebody wants to write: asked by who decides about it, answered by
//! who would have to send it.

use std::fmt;

use fusebox_core::key::{Namespace, PolicyId, Service};
use fusebox_core::policy::Policy;

/// Crowded services that a message names; the others are counted.
const NAMED: usize = 8;

/// What is to become of one policy: this, or nothing.
pub type Wanted<'a> = (&'a PolicyId, Option<&'a Policy>);

/// Who knows how much the processes that policies concern have to hold already.
pub trait Room: Send + Sync {
    /// Whether every audience known can still be sent all that concerns it once all of `set`, each
    /// policy in it once, is as wanted. What makes an audience hold no more than it does is always
    /// admitted.
    fn admit(&self, set: &[Wanted<'_>]) -> Result<(), Crowded>;
}

/// Some audiences would have to hold more than they can be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crowded {
    /// All of them, in order.
    pub audiences: Vec<CrowdedAudience>,
    /// Bytes allowed.
    pub max: usize,
}

/// An audience that would have to hold more than it can be sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CrowdedAudience {
    /// Whose policies.
    pub namespace: Namespace,
    /// Held by its processes.
    pub service: Service,
    /// Bytes of all of them.
    pub bytes: usize,
}

impl fmt::Display for Crowded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, audience) in self.audiences.iter().take(NAMED).enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            let CrowdedAudience {
                namespace,
                service,
                bytes,
            } = audience;
            write!(
                f,
                "{separator}service {service} of namespace {namespace} would have to hold {bytes} bytes"
            )?;
        }
        if let more @ 1.. = self.audiences.len().saturating_sub(NAMED) {
            write!(f, ", and {more} more services too many")?;
        }
        write!(
            f,
            " of policies, at most {} are sent; shorten or remove some that concern them",
            self.max
        )
    }
}

impl std::error::Error for Crowded {}
