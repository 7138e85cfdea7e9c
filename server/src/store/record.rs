//! What one write looks like in bytes.
//!
//! Journal and index hold protobuf (`fusebox.store.v1`), and this file alone knows how it maps to
//! the words of the store. Reading checks as strictly as a request is checked: what comes back is
//! a valid [`Stored`] or an error in one line.

use std::sync::Arc;

use fusebox_core::key::PolicyId;
use fusebox_core::policy::Stored;
use fusebox_core::policy::overrides::{BreakerOverride, BreakerReset};
use fusebox_core::revision::{Incarnation, Revision};
use fusebox_proto::convert::breaker::{
    override_from_wire, override_to_wire, target_from_wire, target_to_wire,
};
use fusebox_proto::convert::policy::{stored_from_wire, stored_to_wire};
use fusebox_proto::convert::time::{timestamp_from_wire, timestamp_to_wire};
use fusebox_proto::store_v1::journal_entry::Change;
use fusebox_proto::store_v1::{JournalEntry, PolicyKey};
use fusebox_proto::v1;
use prost::Message;

use super::{Cause, OpenError, Provenance, Version, What};

/// Appends `version` to `payload`, preceded by its length.
pub(super) fn encode_version(version: &Version, payload: &mut Vec<u8>) {
    let change = match &version.what {
        What::Policy {
            stored: Some(stored),
            ..
        } => Change::Put(stored_to_wire(stored)),
        What::Policy { id, stored: None } => Change::Delete(PolicyKey {
            namespace: id.namespace.to_string(),
            name: id.name.to_string(),
        }),
        What::Override {
            standing,
            in_force: true,
        } => Change::Force(override_to_wire(standing)),
        What::Override { standing, .. } => Change::Release(override_to_wire(standing)),
        What::Reset(reset) => Change::Reset(target_to_wire(&reset.target)),
    };
    let wire = JournalEntry {
        revision: version.revision.0,
        time: Some(timestamp_to_wire(version.time)),
        author: version.by.author.clone(),
        source: version.by.source.clone(),
        replaced_revision: version.replaced.unwrap_or_default().0,
        cause: v1::Cause::from(version.by.cause).into(),
        change: Some(change),
        reason: version.by.reason.clone(),
    };
    payload.extend(wire.encode_length_delimited_to_vec());
}

/// Whether the entry at the end of `payload`, from `at` on, reads back as `version`.
///
/// A write that does not would be acknowledged and then stop the next start.
pub(super) fn check_version(version: &Version, payload: &[u8], at: usize) -> Result<(), String> {
    let read: Vec<_> = decode_entries(&payload[at..])?
        .into_iter()
        .map(|entry| self::version(entry.wire))
        .collect::<Result<_, _>>()?;
    match read.as_slice() {
        [read] if read == version => Ok(()),
        _ => Err("it would read back as something else".to_owned()),
    }
}

/// An entry as far as protobuf understands it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) wire: JournalEntry,
    /// What it takes in the journal.
    pub(super) bytes: usize,
}

/// The entries of one commit.
pub(super) fn decode_entries(mut payload: &[u8]) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    while !payload.is_empty() {
        let before = payload.len();
        let wire = JournalEntry::decode_length_delimited(&mut payload)
            .map_err(|error| format!("an entry cannot be decoded: {error}"))?;
        let bytes = before - payload.len();
        entries.push(Entry { wire, bytes });
    }
    Ok(entries)
}

/// The version an entry stands for.
pub(super) fn version(wire: JournalEntry) -> Result<Version, String> {
    let revision = Revision(wire.revision);
    let cause = wire.cause();
    let reason = wire.reason;
    let what = match wire.change {
        Some(Change::Put(policy)) => {
            let stored = Arc::new(stored(&policy)?);
            What::Policy {
                id: stored.policy.id().clone(),
                stored: Some(stored),
            }
        }
        Some(Change::Delete(PolicyKey { namespace, name })) => {
            let id = PolicyId::new(&namespace, &name)
                .map_err(|error| format!("deletes {namespace:?}/{name:?}: {error}"))?;
            What::Policy { id, stored: None }
        }
        Some(Change::Force(wire)) => What::Override {
            standing: standing(&wire)?,
            in_force: true,
        },
        Some(Change::Release(wire)) => What::Override {
            standing: standing(&wire)?,
            in_force: false,
        },
        Some(Change::Reset(target)) => {
            let target = target_from_wire(Some(&target))
                .map_err(|error| format!("reset {revision}: {error}"))?;
            What::Reset(Arc::new(BreakerReset {
                id: revision,
                target,
                reason: reason.clone(),
            }))
        }
        None => return Err(format!("revision {revision} changes nothing")),
    };
    let replaced = Some(Revision(wire.replaced_revision)).filter(|&r| r != Revision::ZERO);
    Ok(Version {
        revision,
        by: Arc::new(Provenance {
            author: wire.author,
            source: wire.source,
            cause: cause_from_wire(
                cause,
                replaced,
                matches!(
                    &what,
                    What::Policy {
                        stored: Some(_),
                        ..
                    }
                ),
            ),
            reason,
        }),
        what,
        replaced,
        time: timestamp_from_wire(wire.time.as_ref()),
    })
}

impl From<Cause> for v1::Cause {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Create => Self::Create,
            Cause::Update => Self::Update,
            Cause::Delete => Self::Delete,
            Cause::Apply => Self::Apply,
            Cause::Rollback => Self::Rollback,
            Cause::OverrideSet => Self::OverrideSet,
            Cause::OverrideCleared => Self::OverrideCleared,
            Cause::OverrideExpired => Self::OverrideExpired,
            Cause::BreakersReset => Self::BreakersReset,
        }
    }
}

/// The first journals named none.
fn cause_from_wire(wire: v1::Cause, replaced: Option<Revision>, put: bool) -> Cause {
    match wire {
        v1::Cause::Unspecified if !put => Cause::Delete,
        v1::Cause::Unspecified if replaced.is_none() => Cause::Create,
        v1::Cause::Unspecified | v1::Cause::Update => Cause::Update,
        v1::Cause::OverrideSet => Cause::OverrideSet,
        v1::Cause::OverrideCleared => Cause::OverrideCleared,
        v1::Cause::OverrideExpired => Cause::OverrideExpired,
        v1::Cause::BreakersReset => Cause::BreakersReset,
        v1::Cause::Create => Cause::Create,
        v1::Cause::Delete => Cause::Delete,
        v1::Cause::Apply => Cause::Apply,
        v1::Cause::Rollback => Cause::Rollback,
    }
}

/// The bytes of a live policy.
pub(super) fn encode_stored(stored: &Stored) -> Vec<u8> {
    stored_to_wire(stored).encode_to_vec()
}

/// The live policy in `bytes`.
pub(super) fn decode_stored(bytes: &[u8]) -> Result<Stored, String> {
    stored(&v1::Policy::decode(bytes).map_err(|error| error.to_string())?)
}

fn standing(wire: &v1::BreakerOverride) -> Result<Arc<BreakerOverride>, String> {
    let standing = override_from_wire(wire);
    let standing = standing.map_err(|error| format!("override {}: {error}", wire.id));
    standing.map(Arc::new)
}

fn stored(wire: &v1::Policy) -> Result<Stored, String> {
    let (namespace, name) = (&wire.namespace, &wire.name);
    stored_from_wire(wire).map_err(|error| format!("policy {namespace}/{name}: {error}"))
}

/// The id of a new store.
pub(super) fn random_incarnation() -> Result<Incarnation, OpenError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| OpenError::Random {
        reason: error.to_string(),
    })?;
    Ok(Incarnation(u128::from_be_bytes(bytes)))
}
