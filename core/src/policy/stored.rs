//! A policy as a store holds it: with the revision and the people behind it.

use std::time::SystemTime;

use super::Policy;
use crate::revision::Revision;

/// A policy and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The policy.
    pub policy: Policy,
    /// The store's revision at which it was last written.
    pub revision: Revision,
    /// When its name was first written.
    pub create_time: SystemTime,
    /// When it was last written.
    pub update_time: SystemTime,
    /// Who last wrote it, as far as the server could tell.
    pub updated_by: String,
}

impl Stored {
    /// What a conditional write must give back: changes with every write.
    pub fn etag(&self) -> String {
        self.revision.to_string()
    }
}
