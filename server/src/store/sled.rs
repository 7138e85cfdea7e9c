//! The store in a data directory: the journal, and sled as its index.
//!
//! Only this file names sled. Sled holds a copy, never the truth: it makes a start quick and its
//! damage harmless, for it can be moved away at any time and is rebuilt from the journal. That is
//! also why nothing here waits for sled's own sync, which is not one (it ends in
//! `sync_file_range`): its background flush suffices, and what a power cut takes is replayed.
//!
//! ```text
//!   open:  lock ─> verify journal ─> open and verify index ─> index not ahead of the journal?
//!               ─> cut the journal's torn tail ─> replay what the index lacks ─> writer thread
//! ```
//!
//! Sled 0.34 panics on some of the damage it meets, and after a truncation may open with keys
//! missing or old. So every call into it goes through `survive`, each record has a checksum over
//! key and value, and a `Seal` written with every batch says which records there must be.

mod record;
#[cfg(test)]
mod tests;
mod trouble;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use fusebox_core::policy::Stored;
use fusebox_core::revision::{Incarnation, Revision};

use self::record::{SEAL_KEY, Seal};
use self::trouble::{Trouble, survive};
use super::journal::{JOURNAL_FILE, Journal};
use super::live::{Table, key};
use super::local::Local;
use super::lock::DataDir;
use super::record::{Entry, decode_stored, encode_stored, random_incarnation};
use super::writer::Disk;
use super::{Clock, Event, OpenError, Store};

/// The index's name in the data directory.
const INDEX_DIR: &str = "sled";
/// Sled's cache, in bytes. Small: every record is read once, at the start.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// How often sled's own lock is looked at before the index counts as in use.
const LOCK_LOOKS: u32 = 400;
/// How long apart. Sled's background threads let go within milliseconds.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// Opens the store in `dir`, or creates one there if there is none.
///
/// Blocks for as long as it takes to read the journal. An error says what to do, and leaves every
/// acknowledged write as it was.
pub fn open(dir: &Path, clock: Clock) -> Result<Arc<dyn Store>, OpenError> {
    let dir = DataDir::lock(dir)?;
    let mut journal = open_journal(&dir, &clock)?;
    wait_until_free(&dir.path().join(INDEX_DIR), LOCK_LOOKS)?;
    let (mut index, mut table) = Index::open(dir.path().join(INDEX_DIR), journal.incarnation())?;
    index.refuse_if_ahead_of(&journal)?;
    journal.cut_torn_tail()?;
    index.catch_up(&journal, &mut table)?;
    let incarnation = journal.incarnation();
    let disk = DataDisk {
        journal,
        index,
        _dir: dir,
    };
    Local::start(incarnation, table, disk, clock)
}

fn open_journal(dir: &DataDir, clock: &Clock) -> Result<Journal, OpenError> {
    if let Some(journal) = Journal::open(dir)? {
        return Ok(journal);
    }
    let (file, index) = (dir.path().join(JOURNAL_FILE), dir.path().join(INDEX_DIR));
    let missing = || OpenError::JournalMissing {
        file,
        index: index.clone(),
    };
    if index.exists() {
        return Err(missing());
    }
    Journal::create(dir, random_incarnation()?, clock())?;
    Journal::open(dir)?.ok_or_else(missing)
}

/// Waits for a database of this process that was closed and whose threads have not ended yet.
///
/// Sled's file has a lock of its own, which those threads hold on to after the last handle is gone;
/// our lock on the data directory is free by then. Without this a store that is closed and opened
/// again at once would be refused now and then.
fn wait_until_free(index: &Path, looks: u32) -> Result<(), OpenError> {
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

/// The data directory of a running store. Its lock is let go last.
struct DataDisk {
    journal: Journal,
    index: Index,
    _dir: DataDir,
}

impl Disk for DataDisk {
    fn commit(&mut self, payload: &[u8]) -> io::Result<()> {
        self.journal.commit(payload)
    }

    fn index(&mut self, entries: &[Entry]) -> Result<(), String> {
        let changes = entries.iter().map(|entry| (&entry.event, entry.replaced));
        self.index.apply(changes).map_err(Trouble::into_line)
    }

    fn flush(&mut self) {
        let db = &self.index.db;
        if let Err(trouble) = survive(|| db.flush()) {
            let problem = trouble.into_line();
            tracing::warn!(%problem, "the index was not flushed; the next start will replay");
        }
    }
}

/// The live policies in sled, as of the seal's revision.
struct Index {
    dir: PathBuf,
    db: ::sled::Db,
    seal: Seal,
}

impl Index {
    /// Opens the index and reads all of it; a new one if there is none.
    fn open(dir: PathBuf, expected: Incarnation) -> Result<(Self, Table), OpenError> {
        let config = ::sled::Config::new().path(&dir).cache_capacity(CACHE_BYTES);
        // In one call, so that a database given up is also dropped where a panic is survived.
        let opened = survive(|| {
            let db = config.open()?;
            let contents = read_all(&db)?;
            Ok(contents.map(|contents| (db, contents)))
        });
        let (db, contents) = opened
            .flatten()
            .map_err(|trouble| trouble.into_open_error(&dir))?;
        let seal = contents.seal.unwrap_or_else(|| Seal::new(expected));
        if seal.incarnation != expected {
            return Err(OpenError::Foreign {
                index: dir,
                found: seal.incarnation,
                expected,
            });
        }
        let table = Table::restored(seal.applied, contents.policies);
        Ok((Self { dir, db, seal }, table))
    }

    fn refuse_if_ahead_of(&self, journal: &Journal) -> Result<(), OpenError> {
        if self.seal.applied <= journal.last() {
            return Ok(());
        }
        Err(OpenError::JournalBehind {
            file: journal.path().to_owned(),
            journal: journal.last(),
            index: self.dir.clone(),
            applied: self.seal.applied,
        })
    }

    /// Applies what the journal has beyond the index.
    fn catch_up(&mut self, journal: &Journal, table: &mut Table) -> Result<(), OpenError> {
        if self.seal.applied == journal.last() {
            return Ok(());
        }
        let (from, to) = (self.seal.applied, journal.last());
        tracing::info!(index = %self.dir.display(), %from, %to, "replaying the journal");
        journal.replay(from, |events| {
            let changes: Vec<_> = events
                .iter()
                .map(|event| {
                    let replaced = table.get(&key(&event.id)).map(|stored| stored.revision);
                    table.apply(event);
                    (event, replaced)
                })
                .collect();
            self.apply(changes)
                .map_err(|trouble| trouble.into_open_error(&self.dir))
        })
    }

    /// Applies the events of one commit, each with the revision it replaced, in one sled batch.
    fn apply<'a>(
        &mut self,
        changes: impl IntoIterator<Item = (&'a Event, Option<Revision>)>,
    ) -> Result<(), Trouble> {
        let mut batch = ::sled::Batch::default();
        for (event, replaced) in changes {
            let key = key(&event.id);
            self.seal.follow(event, replaced);
            match &event.stored {
                Some(stored) => batch.insert(
                    key.as_bytes(),
                    record::wrap(key.as_bytes(), &encode_stored(stored)),
                ),
                None => batch.remove(key.as_bytes()),
            }
        }
        batch.insert(SEAL_KEY, self.seal.to_record());
        survive(|| self.db.apply_batch(batch))
    }
}

/// All that an index holds.
struct Contents {
    seal: Option<Seal>,
    policies: BTreeMap<String, Arc<Stored>>,
}

type Checked<T> = Result<T, Trouble>;

/// Reads and checks every record, and the seal against them.
fn read_all(db: &::sled::Db) -> ::sled::Result<Checked<Contents>> {
    let mut seal = None;
    let mut policies = BTreeMap::new();
    for item in db.iter() {
        let (key, value) = item?;
        let read = match &*key {
            SEAL_KEY => Seal::from_record(&value).map(|found| seal = Some(found)),
            _ => read_policy(&key, &value).map(|(key, stored)| {
                policies.insert(key, Arc::new(stored));
            }),
        };
        if let Err(problem) = read {
            return Ok(Err(Trouble::Contents(problem)));
        }
    }
    Ok(
        Seal::check(seal.as_ref(), policies.values().map(Arc::as_ref))
            .map(|()| Contents { seal, policies })
            .map_err(Trouble::Contents),
    )
}

fn read_policy(found: &[u8], value: &[u8]) -> Result<(String, Stored), String> {
    let stored = decode_stored(record::unwrap(found, value)?)?;
    let key = key(stored.policy.id());
    if key.as_bytes() != found {
        let name = String::from_utf8_lossy(found);
        return Err(format!(
            "record {name:?} holds policy {}",
            stored.policy.id()
        ));
    }
    Ok((key, stored))
}
