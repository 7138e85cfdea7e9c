//! The policies last enforced, on this process's disk: what it starts from when the server is away.
//!
//! One file for each (namespace, service), shared by all its processes. It is replaced whole
//! (temporary file, fsync, rename, fsync of the directory), so that a crash leaves the old or the
//! new one, never half of either; a checksum catches what the disk does on its own. A damaged file
//! is reported and ignored, and the next save replaces it.
//!
//! Under one incarnation of the store an older revision never replaces a newer one, whoever writes
//! it: a look at what is there and its replacement are one step under an exclusive lock. The lock is
//! the operating system's, on a file of its own that stays: it ends with its process. Whoever reads
//! needs none. A file system that has no locks is written to all the same, each process by a temporary
//! file of its own: that two write at once is rare, and then the older may stay until the next write.
//!
//! ```text
//! magic "FUSEBOX1" | crc32 of the rest, little-endian | LastKnownGood, protobuf
//! ```

pub(crate) mod writer;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fusebox_core::key::{Namespace, Service};
use fusebox_core::policy::Policy;
use fusebox_core::policy::field::SCHEMA;
use fusebox_core::revision::{Incarnation, Revision};
use fusebox_proto::convert::incarnation::incarnation_from_wire;
use fusebox_proto::convert::last_known_good::{
    last_known_good_from_wire, last_known_good_to_wire, override_time_left, with_override_time_left,
};
use fusebox_proto::store_v1::LastKnownGood;
use fusebox_proto::v1;
use prost::Message;

use crate::enforcement::Restored;

const MAGIC: &[u8; 8] = b"FUSEBOX1";
const HEADER: usize = MAGIC.len() + 4;

/// Where one service's policies are kept.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    path: PathBuf,
    /// Waits until nobody else has the file locked.
    lock: fn(&File) -> io::Result<()>,
}

/// What is worth writing down.
#[derive(Clone, Debug)]
pub(crate) struct Good {
    /// As received.
    pub(crate) snapshot: v1::Snapshot,
    /// The enforced versions of policies whose version in it was refused.
    pub(crate) stand_ins: Vec<Policy>,
    /// What was left of the time of each override in it,
    pub(crate) override_time_left: BTreeMap<Revision, Duration>,
    /// then.
    pub(crate) at: SystemTime,
}

/// What became of a save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Saved {
    /// It is on the disk.
    Written,
    /// It is, and nothing kept another process from writing at the same time.
    WrittenUnlocked,
    /// Another process has written a newer revision of the same store, which stays.
    NewerStays(Revision),
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
    /// The file in `directory`. Touches nothing.
    pub(crate) fn new(directory: &Path, namespace: &Namespace, service: &Service) -> Self {
        // No namespace holds a '%', so no two pairs share a name.
        let name = format!("{namespace}%{}.policies", escaped(service.as_str()));
        Self {
            path: directory.join(name),
            lock: File::lock,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory if it is missing.
    pub(crate) fn make_directory(&self) -> io::Result<()> {
        fs::create_dir_all(self.directory())
    }

    /// What was last saved; `None` if nothing ever was.
    pub(crate) fn load(&self) -> Result<Option<Restored>, Unreadable> {
        let bytes = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        decode(&bytes).map(Some).map_err(Unreadable::Damaged)
    }

    /// Replaces what was saved, durably, unless that is newer. Waits for other processes that save.
    pub(crate) fn save(&self, good: &Good) -> io::Result<Saved> {
        // It may have gone meanwhile, or its disk may only have come now.
        self.make_directory()?;
        let lock = self.lock()?;
        if let Some(newer) = self.newer_than(&good.snapshot) {
            return Ok(Saved::NewerStays(newer));
        }
        let body = last_known_good_to_wire(good.snapshot.clone(), &good.stand_ins, SCHEMA);
        let body = with_override_time_left(body, &good.override_time_left, good.at);
        let body = body.encode_to_vec();
        let temporary = self.path.with_extension(match lock {
            // One name is enough, and what a crash leaves of it is written over.
            Some(_) => "new".to_owned(),
            None => format!("new-{:016x}", getrandom::u64().map_err(io::Error::other)?),
        });
        let written = write(&temporary, &body).and_then(|()| fs::rename(&temporary, &self.path));
        if let Err(error) = written {
            // Nothing is left lying about; that it cannot be removed is no second problem.
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        File::open(self.directory())?.sync_all()?;
        Ok(lock.map_or(Saved::WrittenUnlocked, |_| Saved::Written))
    }

    /// The revision on the disk, if it is of the same incarnation and newer. What cannot be read
    /// is worth nothing, however new.
    fn newer_than(&self, snapshot: &v1::Snapshot) -> Option<Revision> {
        let saved = self.load().ok().flatten()?.replica.held();
        let incarnation: Option<Incarnation> = incarnation_from_wire(&snapshot.incarnation).ok()?;
        let newer = saved.incarnation == incarnation && saved.revision.0 > snapshot.revision;
        newer.then_some(saved.revision)
    }

    /// Held until the file is dropped; `None` if there are no locks.
    fn lock(&self) -> io::Result<Option<File>> {
        let path = self.path.with_extension("lock");
        let mut options = File::options();
        let file = options
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        match (self.lock)(&file) {
            Ok(()) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            // Waiting aside, only a file system without locks keeps an open file from being locked.
            Err(_) => Ok(None),
        }
    }

    fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }
}

fn write(path: &Path, body: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(MAGIC)?;
    file.write_all(&crc32fast::hash(body).to_le_bytes())?;
    file.write_all(body)?;
    file.sync_all()
}

fn decode(bytes: &[u8]) -> Result<Restored, String> {
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
    let replica = last_known_good_from_wire(&saved, SCHEMA);
    Ok(Restored {
        replica: replica.map_err(|unusable| unusable.to_string())?,
        override_time_left: override_time_left(&saved, SystemTime::now()),
    })
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
mod tests;
