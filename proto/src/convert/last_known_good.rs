//! What a process last enforced, on its way to its own disk and back.
//!
//! The build that reads it need not be the one that wrote it. An older one decoded newer policies
//! without what it had no words for, so that what it wrote of these is not what it was sent. It
//! refused them; so does whoever reads the file, and has them sent anew if it can do better.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use fusebox_core::policy::{Policy, Violations};
use fusebox_core::revision::Revision;
use fusebox_core::sync::{Ignored, Replica};

use super::policy::{policy_to_wire, stored_from_wire_as};
use super::snapshot::snapshot_from_wire_as;
use super::time::{age_from_wire, duration_to_wire, timestamp_from_wire, timestamp_to_wire};
use crate::store_v1::LastKnownGood;
use crate::v1;

/// A file that nothing can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// There is nothing in it.
    #[error("it holds no snapshot")]
    Empty,
    /// What is in it is none.
    #[error("its snapshot is none: {0}")]
    Illegal(Violations),
    /// What is in it does not hold together.
    #[error(transparent)]
    Ignored(#[from] Ignored),
}

/// What a build that enforces up to `schema` writes down: the snapshot as received, and what stands
/// in for the policies that it refused of that.
pub fn last_known_good_to_wire<'a>(
    snapshot: v1::Snapshot,
    stand_ins: impl IntoIterator<Item = &'a Policy>,
    schema: u32,
) -> LastKnownGood {
    LastKnownGood {
        snapshot: Some(snapshot),
        stand_ins: stand_ins.into_iter().map(policy_to_wire).collect(),
        schema,
        override_time_left: Vec::new(),
        written: None,
    }
}

/// The same with what was left of the time of each override at `now`, by this machine's clock.
#[must_use]
pub fn with_override_time_left(
    mut wire: LastKnownGood,
    left: &BTreeMap<Revision, Duration>,
    now: SystemTime,
) -> LastKnownGood {
    let overrides = wire
        .snapshot
        .iter()
        .flat_map(|snapshot| &snapshot.overrides);
    let left = overrides.map(|one| left.get(&Revision(one.id)).copied().unwrap_or_default());
    wire.override_time_left = left.map(duration_to_wire).collect();
    wire.written = Some(timestamp_to_wire(now));
    wire
}

/// What is left of the time of each override at `now`, by this machine's clock. If that shows a time
/// before it was written down, nothing is known to have passed.
pub fn override_time_left(wire: &LastKnownGood, now: SystemTime) -> BTreeMap<Revision, Duration> {
    let written = timestamp_from_wire(wire.written.as_ref());
    let age = now.duration_since(written).unwrap_or_default();
    let overrides = wire
        .snapshot
        .iter()
        .flat_map(|snapshot| &snapshot.overrides);
    let left = overrides.zip(&wire.override_time_left);
    left.map(|(one, left)| {
        let left = age_from_wire(Some(left)).saturating_sub(age);
        (Revision(one.id), left)
    })
    .collect()
}

/// What a build that enforces up to `schema` goes on enforcing. A stand-in that it cannot enforce
/// any more is as good as none.
pub fn last_known_good_from_wire(wire: &LastKnownGood, schema: u32) -> Result<Replica, Unusable> {
    let snapshot = wire.snapshot.as_ref().ok_or(Unusable::Empty)?;
    // There is no build that does not enforce 1.
    let readable = schema.min(wire.schema.max(1));
    let received = snapshot_from_wire_as(snapshot, readable).map_err(Unusable::Illegal)?;
    let stand_ins = wire.stand_ins.iter();
    let stand_ins = stand_ins.filter_map(|wire| stored_from_wire_as(wire, readable).ok());
    let mut replica = Replica::restore(received, stand_ins.map(|stored| stored.policy))?;
    let lacking = readable + 1..=schema;
    if snapshot
        .policies
        .iter()
        .any(|policy| lacking.contains(&policy.schema))
    {
        replica.ask_anew();
    }
    Ok(replica)
}

#[cfg(test)]
mod tests;
