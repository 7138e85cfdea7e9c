//! What a server sends a process to enforce.
//!
//! A snapshot as a whole is refused only if nothing can be made of it: an envelope that is not one,
//! or a policy without a legal name, which could not be refused by name. A policy that cannot be
//! enforced is an entry of its own and leaves its siblings alone; so is an override.

use std::sync::Arc;

use fusebox_core::policy::Violations;
use fusebox_core::policy::field::SCHEMA;
use fusebox_core::policy::overrides::BreakerOverride;
use fusebox_core::revision::{Digest, Incarnation, Revision};
use fusebox_core::sync::{Entry, OverrideEntry, Received, Refusal, Snapshot};

use super::breaker::{override_from_wire, override_to_wire};
use super::incarnation::{incarnation_from_wire, incarnation_to_wire};
use super::policy::{policy_id_from_wire, stored_from_wire_as, stored_to_wire};
use crate::v1;

/// A snapshot off the wire or the disk, each policy and override converted or refused by name.
pub fn snapshot_from_wire(wire: &v1::Snapshot) -> Result<Received, Violations> {
    snapshot_from_wire_as(wire, SCHEMA)
}

/// Likewise, as read by a build that can enforce no more than `schema`.
pub fn snapshot_from_wire_as(wire: &v1::Snapshot, schema: u32) -> Result<Received, Violations> {
    let entries = wire.policies.iter().map(|policy| entry(policy, schema));
    Ok(Received {
        incarnation: required_incarnation(&wire.incarnation)?,
        adopted: wire.adopted,
        revision: Revision(wire.revision),
        digest: Digest(wire.digest),
        entries: entries.collect::<Result<_, _>>()?,
        overrides: wire.overrides.iter().map(override_entry).collect(),
    })
}

/// A snapshot, its policies and overrides in core's order.
pub fn snapshot_to_wire(snapshot: &Snapshot) -> v1::Snapshot {
    let policies = snapshot.policies.iter();
    let overrides = snapshot.overrides.iter();
    v1::Snapshot {
        incarnation: incarnation_to_wire(snapshot.incarnation),
        revision: snapshot.revision.0,
        digest: snapshot.digest.0,
        policies: policies.map(|stored| stored_to_wire(stored)).collect(),
        overrides: overrides
            .map(|standing| override_to_wire(standing))
            .collect(),
        adopted: snapshot.adopted,
    }
}

/// An incarnation where there must be one.
pub fn required_incarnation(wire: &[u8]) -> Result<Incarnation, Violations> {
    let mut found = Violations::none();
    let value = format!("{} bytes", wire.len());
    let incarnation = found.keep("incarnation", &value, incarnation_from_wire(wire));
    if incarnation == Some(None) {
        found.add("incarnation", value, "must be 16 bytes");
    }
    incarnation.flatten().ok_or(found)
}

fn entry(wire: &v1::Policy, schema: u32) -> Result<Entry, Violations> {
    let refuse = |violations| refusal(&wire.name, wire.revision, &violations);
    Ok(Entry {
        id: policy_id_from_wire(&wire.namespace, &wire.name)?,
        revision: Revision(wire.revision),
        policy: stored_from_wire_as(wire, schema)
            .map(|stored| stored.policy)
            .map_err(refuse),
    })
}

fn override_entry(wire: &v1::BreakerOverride) -> OverrideEntry {
    let name = BreakerOverride::name(Revision(wire.id));
    let refuse = |violations| refusal(&name, wire.id, &violations);
    OverrideEntry {
        id: Revision(wire.id),
        standing: override_from_wire(wire).map(Arc::new).map_err(refuse),
    }
}

/// One line for what is refused: its first problem, and how many more there are.
fn refusal(name: &str, revision: u64, violations: &Violations) -> Refusal {
    let first = violations.iter().next();
    let more = violations.iter().skip(1).count();
    let mut reason = first.map_or_else(String::new, |first| first.describe(&first.value));
    if more > 0 {
        reason.push_str(&format!("; and {more} more"));
    }
    Refusal {
        policy: name.to_owned(),
        revision: Revision(revision),
        field: first.map(|first| first.field.clone()).unwrap_or_default(),
        reason,
    }
}

#[cfg(test)]
mod tests;
