//! How the index's records prove that they are all there, and the right ones.
//!
//! ```text
//!   key    namespace \0 name          value  crc32(key, rest) u32 | version u8 | fusebox.v1.Policy
//!          \0manifest                        crc32(key, rest) u32 | version u8 | Manifest
//! ```
//!
//! The checksum covers the key, so that a record cannot pass for another's. A whole record may
//! still be missing, or be an older one of the same key: sled's own recovery after a truncation
//! does that. Hence the [`Manifest`]: how many records there are, and a sum over their ids and
//! revisions that does not depend on their order.

use fusebox_core::revision::{Incarnation, Revision};

use crate::store::table::Summary;

/// Below every policy's key, since a namespace is never empty.
pub(super) const MANIFEST_KEY: &[u8] = b"\0manifest";
/// The record version this server writes, and the only one it knows.
const VERSION: u8 = 1;
const CRC_BYTES: usize = 4;
const MANIFEST_BYTES: usize = 16 + 3 * 8;

/// A record's value.
pub(super) fn wrap(key: &[u8], body: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(CRC_BYTES + 1 + body.len());
    value.extend([0; CRC_BYTES]);
    value.push(VERSION);
    value.extend(body);
    let crc = checksum(key, &value[CRC_BYTES..]);
    value[..CRC_BYTES].copy_from_slice(&crc.to_le_bytes());
    value
}

/// What a record's value holds, if it is whole.
pub(super) fn unwrap<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], String> {
    let name = || String::from_utf8_lossy(key).into_owned();
    let Some((crc, rest)) = value.split_first_chunk::<CRC_BYTES>() else {
        return Err(format!("record {:?} has {} bytes", name(), value.len()));
    };
    let (expected, actual) = (u32::from_le_bytes(*crc), checksum(key, rest));
    if expected != actual {
        let name = name();
        return Err(format!(
            "record {name:?} has checksum {actual:08x}, not {expected:08x}"
        ));
    }
    match rest.split_first() {
        Some((&VERSION, body)) => Ok(body),
        Some((version, _)) => Err(format!("record {:?} has version {version}", name())),
        None => Err(format!("record {:?} is empty", name())),
    }
}

fn checksum(key: &[u8], rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(rest);
    hasher.finalize()
}

/// What an index must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The store's life.
    pub(super) incarnation: Incarnation,
    /// Its live policies.
    pub(super) summary: Summary,
}

impl Manifest {
    pub(super) fn new(incarnation: Incarnation, summary: Summary) -> Self {
        Self {
            incarnation,
            summary,
        }
    }

    /// The manifest, if there is one and it speaks of the records `found` and counted.
    pub(super) fn speaks_of(manifest: Option<Self>, found: Summary) -> Result<Self, String> {
        let count = found.count;
        let manifest = manifest.ok_or_else(|| format!("it has {count} records and no manifest"))?;
        let said = manifest.summary;
        if said.count != count {
            let said = said.count;
            return Err(format!("it has {count} records, its manifest says {said}"));
        }
        if said.sum != found.sum {
            let revision = said.revision;
            return Err(format!(
                "its {count} records are not those of revision {revision}"
            ));
        }
        Ok(manifest)
    }

    /// The value under [`MANIFEST_KEY`].
    pub(super) fn to_record(self) -> Vec<u8> {
        let Summary {
            revision,
            count,
            sum,
        } = self.summary;
        let mut body = Vec::with_capacity(MANIFEST_BYTES);
        body.extend(self.incarnation.0.to_be_bytes());
        for number in [revision.0, count, sum] {
            body.extend(number.to_be_bytes());
        }
        wrap(MANIFEST_KEY, &body)
    }

    /// The manifest in the value under [`MANIFEST_KEY`].
    pub(super) fn from_record(value: &[u8]) -> Result<Self, String> {
        let body = unwrap(MANIFEST_KEY, value)?;
        let short = || {
            format!(
                "its manifest has {} bytes, not {MANIFEST_BYTES}",
                body.len()
            )
        };
        let (incarnation, rest) = body.split_first_chunk::<16>().ok_or_else(short)?;
        let (numbers, []) = rest.as_chunks::<8>() else {
            return Err(short());
        };
        let &[revision, count, sum] = numbers else {
            return Err(short());
        };
        let summary = Summary {
            revision: Revision(u64::from_be_bytes(revision)),
            count: u64::from_be_bytes(count),
            sum: u64::from_be_bytes(sum),
        };
        let incarnation = Incarnation(u128::from_be_bytes(*incarnation));
        Ok(Self::new(incarnation, summary))
    }
}
