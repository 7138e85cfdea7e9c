//! The policies last enforced, on this process's disk: what it starts from when the server is away.
//!
//! One file for each (namespace, service). It is replaced whole (temporary file, fsync, rename,
//! fsync of the directory), so that a crash leaves the old or the new one, never half of either;
//! a checksum catches what the disk does on its own. A damaged file is reported and ignored.
//!
//! ```text
//! magic "FUSEBOX1" | crc32 of the rest, little-endian | LastKnownGood, protobuf
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fusebox_core::key::{Namespace, Service};
use fusebox_core::policy::Policy;
use fusebox_core::policy::field::SCHEMA;
use fusebox_core::sync::Replica;
use fusebox_proto::convert::last_known_good::{last_known_good_from_wire, last_known_good_to_wire};
use fusebox_proto::store_v1::LastKnownGood;
use fusebox_proto::v1;
use prost::Message;

const MAGIC: &[u8; 8] = b"FUSEBOX1";
const HEADER: usize = MAGIC.len() + 4;

/// Where one service's policies are kept.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    path: PathBuf,
}

/// A file that is no good.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("damaged: {0}")]
    Damaged(String),
}

impl Cache {
    /// The file in `directory`, which is made if it is missing.
    pub(crate) fn open(
        directory: &Path,
        namespace: &Namespace,
        service: &Service,
    ) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        // No namespace holds a '%', so no two pairs share a name.
        let name = format!("{namespace}%{}.policies", escaped(service.as_str()));
        Ok(Self {
            path: directory.join(name),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What was last saved; `None` if nothing ever was.
    pub(crate) fn load(&self) -> Result<Option<Replica>, Unreadable> {
        let bytes = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        decode(&bytes).map(Some).map_err(Unreadable::Damaged)
    }

    /// Replaces what was saved, durably.
    pub(crate) fn save(&self, snapshot: v1::Snapshot, stand_ins: &[Policy]) -> io::Result<()> {
        let body = last_known_good_to_wire(snapshot, stand_ins, SCHEMA).encode_to_vec();
        let directory = self.path.parent().unwrap_or(Path::new("."));
        // Named at random: two instances that share a directory never share a temporary file.
        let random = getrandom::u64().map_err(io::Error::other)?;
        let temporary = self.path.with_extension(format!("{random:016x}.new"));
        let written = write(&temporary, &body).and_then(|()| fs::rename(&temporary, &self.path));
        if let Err(error) = written {
            // Nothing is left lying about; that it cannot be removed is no second problem.
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        File::open(directory)?.sync_all()
    }
}

fn write(path: &Path, body: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(MAGIC)?;
    file.write_all(&crc32fast::hash(body).to_le_bytes())?;
    file.write_all(body)?;
    file.sync_all()
}

fn decode(bytes: &[u8]) -> Result<Replica, String> {
    let (header, body) = bytes
        .split_at_checked(HEADER)
        .ok_or("shorter than its header")?;
    let (magic, checksum) = header.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err("not a file of this format".into());
    }
    if checksum != crc32fast::hash(body).to_le_bytes() {
        return Err("its checksum does not match".into());
    }
    let saved = LastKnownGood::decode(body).map_err(|error| error.to_string())?;
    last_known_good_from_wire(&saved, SCHEMA).map_err(|unusable| unusable.to_string())
}

/// `name` with everything that could mean something to a file system as %XX.
fn escaped(name: &str) -> String {
    name.bytes().fold(String::new(), |mut escaped, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => escaped.push(byte.into()),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fusebox_core::revision::{Digest, Revision};

    fn cache(directory: &Path) -> Cache {
        let service = Service::new("check/out").unwrap();
        Cache::open(directory, &Namespace::default_namespace(), &service).unwrap()
    }

    fn snapshot(revision: u64) -> v1::Snapshot {
        v1::Snapshot {
            incarnation: vec![7; 16],
            revision,
            digest: Digest::EMPTY.0,
            policies: Vec::new(),
            adopted: false,
        }
    }

    #[test]
    fn what_was_saved_last_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(directory.path());
        assert!(cache.load().unwrap().is_none());
        cache.save(snapshot(3), &[]).unwrap();
        cache.save(snapshot(4), &[]).unwrap();
        assert_eq!(cache.load().unwrap().unwrap().known().revision, Revision(4));
        assert_eq!(
            fs::read_dir(directory.path()).unwrap().count(),
            1,
            "nothing left lying about"
        );
    }

    #[test]
    fn a_service_name_cannot_leave_the_directory() {
        assert_eq!(escaped("../a b"), "%2E%2E%2Fa%20b");
    }

    #[test]
    fn any_damage_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(directory.path());
        cache.save(snapshot(3), &[]).unwrap();
        let whole = fs::read(cache.path()).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x40;
            fs::write(cache.path(), &flipped).unwrap();
            assert!(
                matches!(cache.load(), Err(Unreadable::Damaged(_))),
                "byte {at}"
            );
            fs::write(cache.path(), &whole[..at]).unwrap();
            assert!(
                matches!(cache.load(), Err(Unreadable::Damaged(_))),
                "cut at {at}"
            );
        }
    }
}
