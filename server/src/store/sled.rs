//! The index: the live policies in sled, as of one revision.
//!
//! Only this file names sled. Sled holds a copy, never the truth, which is the journal's: it is a
//! second witness of what has been acknowledged, written apart and by other code, so that a journal
//! that lost its end is found out; and it can be moved away at any time and is rebuilt. That is
//! also why nothing here waits for sled's own sync, which is not one (it ends in
//! `sync_file_range`): what a power cut takes is written again.
//!
//! Sled 0.34 panics on some of the damage it meets, and after a truncation may open with keys
//! missing or old. So every call into it goes through `survive`, each record has a checksum over
//! key and value, and a `Manifest` written with every batch says which records there must be.

mod record;
#[cfg(test)]
mod tests;
mod trouble;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use fusebox_core::policy::Stored;
use fusebox_core::revision::{Incarnation, Revision};

use self::record::{MANIFEST_KEY, Manifest};
pub(super) use self::trouble::Trouble;
use self::trouble::survive;
use super::OpenError;
use super::live::Unindexed;
use super::record::{decode_stored, encode_stored};
use super::table::{Summary, digest};
use fusebox_core::key::PolicyId;

/// Sled's cache, in bytes. Small: every record is read once, at the start.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// Records written together when an index is built.
const BUILD_RECORDS: usize = 1000;
/// How often sled's own lock is looked at before the index counts as in use.
const LOCK_LOOKS: u32 = 400;
/// How long apart. Sled's background threads let go within milliseconds.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

fn wait_for(index: &Path, looks: u32) -> Result<(), OpenError> {
    let Ok(file) = File::open(index.join("db")) else {
        // There is none, or sled will say what is wrong with it.
        return Ok(());
    };
    for _ in 0..looks {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
            Ok(()) | Err(TryLockError::Error(_)) => return Ok(()),
        }
    }
    Err(OpenError::InUse {
        dir: index.to_owned(),
        pid: None,
    })
}

/// A policy's place in the order of (namespace, name).
///
/// NUL is below every character of a name, so that the order of the keys is the order of the ids.
fn key(id: &PolicyId) -> String {
    format!("{}\0{}", id.namespace, id.name)
}

/// The live policies in sled, as of the manifest's revision.
#[derive(Debug)]
pub(super) struct Index {
    dir: PathBuf,
    db: ::sled::Db,
    manifest: Manifest,
}

impl Index {
    /// Waits for a database of this process that was closed and whose threads have not ended yet.
    ///
    /// Sled's file has a lock of its own, which those threads hold on to after the last handle is
    /// gone; our lock on the data directory is free by then. Without this a store that is closed
    /// and opened again at once would be refused now and then.
    pub(super) fn wait_until_free(dir: &Path) -> Result<(), OpenError> {
        wait_for(dir, LOCK_LOOKS)
    }

    /// Opens the index in `dir`, where one has been built, and checks every record of it.
    pub(super) fn open(dir: PathBuf) -> Result<Self, Trouble> {
        // In one call, so that a database given up is also dropped where a panic is survived.
        let (db, manifest) = survive(|| {
            let db = config(&dir).open()?;
            let checked = check(&db)?;
            Ok(checked.map(|manifest| (db, manifest)))
        })
        .flatten()?;
        Ok(Self { dir, db, manifest })
    }

    /// Makes one of all `policies`, of which `summary` speaks, in `dir`, where none may be; brings it
    /// to the disk.
    pub(super) fn build<'a>(
        dir: PathBuf,
        incarnation: Incarnation,
        summary: Summary,
        policies: impl IntoIterator<Item = &'a Arc<Stored>>,
    ) -> Result<Self, Trouble> {
        let db = survive(|| config(&dir).open())?;
        let mut batch = ::sled::Batch::default();
        for (number, stored) in policies.into_iter().enumerate() {
            insert(&mut batch, stored);
            if number % BUILD_RECORDS == BUILD_RECORDS - 1 {
                apply(&db, std::mem::take(&mut batch))?;
            }
        }
        let manifest = Manifest::new(incarnation, summary);
        batch.insert(MANIFEST_KEY, manifest.to_record());
        apply(&db, batch)?;
        Ok(Self { dir, db, manifest })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The store it was made from.
    pub(super) fn incarnation(&self) -> Incarnation {
        self.manifest.incarnation
    }

    /// The last revision applied.
    pub(super) fn applied(&self) -> Revision {
        self.manifest.summary.revision
    }

    /// What it holds.
    pub(super) fn summary(&self) -> Summary {
        self.manifest.summary
    }

    /// Takes in what it lacks, all or nothing, and brings it to the disk. Not to be used after an
    /// error.
    pub(super) fn apply(&mut self, lacking: &Unindexed) -> Result<(), Trouble> {
        let mut batch = ::sled::Batch::default();
        for (id, stored) in &lacking.changes {
            match stored {
                Some(stored) => insert(&mut batch, stored),
                None => batch.remove(key(id).as_bytes()),
            }
        }
        self.manifest = Manifest::new(self.manifest.incarnation, lacking.summary);
        batch.insert(MANIFEST_KEY, self.manifest.to_record());
        apply(&self.db, batch)
    }

    /// What it takes on the disk, in bytes; unknown to a sled in trouble.
    pub(super) fn bytes(&self) -> Option<u64> {
        survive(|| self.db.size_on_disk()).ok()
    }
}

/// One batch, and then all of it to the disk: sled has been seen to wait for itself for ever after
/// many batches without a flush between them.
fn apply(db: &::sled::Db, batch: ::sled::Batch) -> Result<(), Trouble> {
    survive(|| db.apply_batch(batch))?;
    survive(|| db.flush()).map(drop)
}

fn config(dir: &Path) -> ::sled::Config {
    ::sled::Config::new().path(dir).cache_capacity(CACHE_BYTES)
}

fn insert(batch: &mut ::sled::Batch, stored: &Stored) {
    let key = key(stored.policy.id());
    let value = record::wrap(key.as_bytes(), &encode_stored(stored));
    batch.insert(key.as_bytes(), value);
}

type Checked<T> = Result<T, Trouble>;

/// Reads and checks every record, and the manifest against them.
fn check(db: &::sled::Db) -> ::sled::Result<Checked<Manifest>> {
    let mut manifest = None;
    let mut found = Summary::default();
    for item in db.iter() {
        let (key, value) = item?;
        let read = match &*key {
            MANIFEST_KEY => Manifest::from_record(&value).map(|read| manifest = Some(read)),
            _ => read_policy(&key, &value).map(|stored| {
                found.count += 1;
                found.sum = found.sum.wrapping_add(digest(&stored));
            }),
        };
        if let Err(problem) = read {
            return Ok(Err(Trouble::Contents(problem)));
        }
    }
    Ok(Manifest::speaks_of(manifest, found).map_err(Trouble::Contents))
}

fn read_policy(found: &[u8], value: &[u8]) -> Result<Stored, String> {
    let stored = decode_stored(record::unwrap(found, value)?)?;
    let id = stored.policy.id();
    if key(id).as_bytes() != found {
        let name = String::from_utf8_lossy(found);
        return Err(format!("record {name:?} holds policy {id}"));
    }
    Ok(stored)
}
