//! What one write looks like in bytes.
//!
//! Journal and index hold protobuf (`fusebox.store.v1`), and this file alone knows how it maps to
//! the words of the store. Reading checks as strictly as a request is checked: what comes back is
//! a valid [`Stored`] or an error in one line.

use std::time::SystemTime;

use fusebox_core::key::PolicyId;
use fusebox_core::policy::Stored;
use fusebox_core::revision::{Incarnation, Revision};
use fusebox_proto::convert::policy::{stored_from_wire, stored_to_wire};
use fusebox_proto::convert::time::timestamp_to_wire;
use fusebox_proto::store_v1::journal_entry::Change;
use fusebox_proto::store_v1::{JournalEntry, PolicyKey};
use fusebox_proto::v1;
use prost::Message;

use super::{Event, OpenError};

/// One committed write, with what only the disk needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// What watchers hear.
    pub(super) event: Event,
    /// The revision of the policy it replaced or deleted.
    pub(super) replaced: Option<Revision>,
    /// When it was judged.
    pub(super) time: SystemTime,
    /// Who wanted it.
    pub(super) author: String,
}

/// Appends `entry` to `payload`, preceded by its length.
pub(super) fn encode_entry(entry: &Entry, payload: &mut Vec<u8>) {
    let change = match &entry.event.stored {
        Some(stored) => Change::Put(stored_to_wire(stored)),
        None => Change::Delete(PolicyKey {
            namespace: entry.event.id.namespace.to_string(),
            name: entry.event.id.name.to_string(),
        }),
    };
    let wire = JournalEntry {
        revision: entry.event.revision.0,
        time: Some(timestamp_to_wire(entry.time)),
        author: entry.author.clone(),
        change: Some(change),
        ..JournalEntry::default()
    };
    payload.extend(wire.encode_length_delimited_to_vec());
}

/// Whether the entry at the end of `payload`, from `at` on, reads back as `entry`.
///
/// A write that does not would be acknowledged and then stop the next start.
pub(super) fn check_entry(entry: &Entry, payload: &[u8], at: usize) -> Result<(), String> {
    let read: Vec<_> = decode_entries(&payload[at..])?
        .into_iter()
        .map(event)
        .collect::<Result<_, _>>()?;
    match read.as_slice() {
        [event] if *event == entry.event => Ok(()),
        _ => Err("it would read back as something else".to_owned()),
    }
}

/// The entries of one commit, as far as protobuf understands them.
pub(super) fn decode_entries(mut payload: &[u8]) -> Result<Vec<JournalEntry>, String> {
    let mut entries = Vec::new();
    while !payload.is_empty() {
        let entry = JournalEntry::decode_length_delimited(&mut payload)
            .map_err(|error| format!("an entry cannot be decoded: {error}"))?;
        entries.push(entry);
    }
    Ok(entries)
}

/// The event an entry stands for.
pub(super) fn event(wire: JournalEntry) -> Result<Event, String> {
    let revision = Revision(wire.revision);
    let (id, stored) = match wire.change {
        Some(Change::Put(policy)) => {
            let stored = stored(&policy)?;
            (stored.policy.id().clone(), Some(stored.into()))
        }
        Some(Change::Delete(PolicyKey { namespace, name })) => {
            let id = PolicyId::new(&namespace, &name)
                .map_err(|error| format!("deletes {namespace:?}/{name:?}: {error}"))?;
            (id, None)
        }
        None => return Err(format!("revision {revision} changes nothing")),
    };
    Ok(Event {
        revision,
        id,
        stored,
    })
}

/// The bytes of a live policy.
pub(super) fn encode_stored(stored: &Stored) -> Vec<u8> {
    stored_to_wire(stored).encode_to_vec()
}

/// The live policy in `bytes`.
pub(super) fn decode_stored(bytes: &[u8]) -> Result<Stored, String> {
    stored(&v1::Policy::decode(bytes).map_err(|error| error.to_string())?)
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
