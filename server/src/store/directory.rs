//! The store in a data directory: the journal, the index beside it, and their upkeep.
//!
//! ```text
//!   open:  lock ─> read and verify the journal ─> open and verify the index ─> index not ahead?
//!               ─> cut the journal's torn tail ─> index what it lacks, or build it ─> writer thread
//! ```
//!
//! The journal alone decides what the store holds. An index that is damaged, or of another store, is
//! set aside, told loudly and built anew from it; only one that has seen *more* than the journal
//! stops the start, because then the journal has lost what was acknowledged.
//!
//! Upkeep never makes a write wait for more than moments: a compaction and the building of an index
//! each go on in a thread of their own, one at a time, and the writer takes over what they have
//! made. Without an index the store goes on; it has one witness fewer, and says so.

mod background;
mod keeper;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use self::background::Background;
use self::keeper::{Beside, Keeper};
use super::journal::{CommitError, Draft, JOURNAL_FILE, Journal, Origins, ReplaceError};
use super::live::{Live, Table};
use super::local::{Life, Local};
use super::lock::DataDir;
use super::record::random_incarnation;
use super::sled::{Index, Trouble};
use super::writer::{Disk, Figures, Halt, Staged};
use super::{Clock, OpenError, Retention, Store};

/// The index's name in the data directory.
pub(super) const INDEX_DIR: &str = "sled";
/// Beside an index that is not built to its end yet.
pub(super) const UNFINISHED_FILE: &str = "sled.unfinished";
/// Bytes by which a journal may exceed twice what it has to hold, so that a small one is left alone.
const COMPACT_SLACK: u64 = 4 * 1024 * 1024;
/// Bytes by which an index may exceed four times what its policies take, likewise.
const INDEX_SLACK: u64 = 64 * 1024 * 1024;
/// Bytes that must be free before a store that met a full disk takes writes again.
const ROOM_BYTES: u64 = 1024 * 1024;
/// How long after upkeep that failed it is tried again.
const UPKEEP_PAUSE: Duration = Duration::from_secs(10);

/// Opens the store in `dir`, or creates one there if there is none.
///
/// Blocks for as long as it takes to read the journal. An error says what to do, and leaves every
/// acknowledged write as it was.
pub fn open(dir: &Path, clock: Clock, retention: Retention) -> Result<Arc<dyn Store>, OpenError> {
    let dir = DataDir::lock(dir)?;
    Journal::sweep(&dir);
    let (mut journal, table) = open_journal(&dir, &clock, retention)?;
    let mut keeper = Keeper {
        dir: dir.path().to_owned(),
        incarnation: journal.life().incarnation,
        clock: Arc::clone(&clock),
    };
    Index::wait_until_free(&keeper.index_dir())?;
    let opened = keeper.open_index(&table, journal.path())?;
    journal.cut_torn_tail()?;
    let index = keeper.bring_up(opened, &table);
    let life = journal.life();
    let disk = Directory {
        journal,
        index,
        keeper,
        work: None,
        rest_until: None,
        _dir: dir,
    };
    Local::start(life, table, disk, clock)
}

fn open_journal(
    dir: &DataDir,
    clock: &Clock,
    retention: Retention,
) -> Result<(Journal, Table), OpenError> {
    if let Some(opened) = Journal::open(dir, retention)? {
        return Ok(opened);
    }
    let (file, index) = (dir.path().join(JOURNAL_FILE), dir.path().join(INDEX_DIR));
    let missing = || OpenError::JournalMissing {
        file,
        index: index.clone(),
    };
    if index.exists() {
        return Err(missing());
    }
    let life = Life {
        incarnation: random_incarnation()?,
        adopted: false,
    };
    Journal::create(dir, Origins::new(life, clock()))?;
    Journal::open(dir, retention)?.ok_or_else(missing)
}

/// The data directory of a running store. Its lock is let go last.
struct Directory {
    journal: Journal,
    /// Or why there is none.
    index: Result<Index, Arc<str>>,
    keeper: Keeper,
    work: Option<Work>,
    /// No upkeep is begun before.
    rest_until: Option<Instant>,
    _dir: DataDir,
}

/// Upkeep under way in a thread of its own.
enum Work {
    Compaction(Background<io::Result<Draft>>),
    Indexing(Background<Result<Index, Arc<str>>>),
}

impl Disk for Directory {
    fn commit(&mut self, payload: &[u8]) -> Result<(), CommitError> {
        self.journal.commit(payload)
    }

    fn index(&mut self, writes: &[Staged]) {
        let Ok(index) = &mut self.index else { return };
        let applied = index.apply(writes.iter().map(|staged| &staged.committed));
        if let Err(trouble) = applied {
            let damaged = !trouble.is_of_the_disk();
            self.lose_index(&trouble.into_line(), damaged);
        }
    }

    fn tend(&mut self, live: &Live) -> Result<(), Halt> {
        self.take_over(live)?;
        if self.work.is_none() && self.rest_until.is_none_or(|until| Instant::now() >= until) {
            self.begin_work(live);
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        // A system that does not tell is asked by the next write.
        rustix::fs::statvfs(&self.keeper.dir).map_or(true, |disk| {
            disk.f_bavail.saturating_mul(disk.f_frsize) >= ROOM_BYTES
        })
    }

    fn figures(&self) -> Figures {
        Figures {
            journal_bytes: self.journal.bytes(),
            index_bytes: self.index.as_ref().ok().and_then(Index::bytes).unwrap_or(0),
            index_trouble: self.index.as_ref().err().cloned(),
        }
    }

    fn flush(&mut self) {
        if let Ok(index) = &self.index
            && let Err(trouble) = index.flush()
        {
            let problem = trouble.into_line();
            tracing::warn!(%problem, "the index was not flushed; the next start brings it up");
        }
    }
}

impl Directory {
    fn lose_index(&mut self, reason: &str, damaged: bool) {
        tracing::error!(%reason, "the index failed; writes go on, the journal holds everything");
        self.index = Err(reason.into());
        self.rest_until = Some(Instant::now() + UPKEEP_PAUSE);
        if damaged {
            self.keeper.set_aside(reason);
        }
    }

    /// Takes over what upkeep has made by now.
    fn take_over(&mut self, live: &Live) -> Result<(), Halt> {
        match self.work.take_if(|work| work.is_done()) {
            None => {}
            Some(Work::Compaction(thread)) => match thread.end() {
                Some(Ok(draft)) => self.go_on_in(draft)?,
                Some(Err(error)) => self.rest(&error, NOT_COMPACTED),
                None => self.rest(&BROKE_OFF, NOT_COMPACTED),
            },
            Some(Work::Indexing(thread)) => match thread.end() {
                Some(Ok(index)) => self.use_index(index, live),
                Some(Err(reason)) => self.rest(&reason, NOT_INDEXED),
                None => self.rest(&BROKE_OFF, NOT_INDEXED),
            },
        }
        Ok(())
    }

    fn rest(&mut self, error: &dyn std::fmt::Display, what: &str) {
        tracing::warn!(%error, pause = ?UPKEEP_PAUSE, "{what}; it is tried again");
        self.rest_until = Some(Instant::now() + UPKEEP_PAUSE);
    }

    fn go_on_in(&mut self, draft: Draft) -> Result<(), Halt> {
        let before = self.journal.bytes();
        match self.journal.replace_by(draft) {
            Ok(()) => {
                let after = self.journal.bytes();
                tracing::info!(before, after, "the journal is compacted");
                Ok(())
            }
            Err(error @ ReplaceError::Kept { .. }) => {
                self.rest(&error, NOT_COMPACTED);
                Ok(())
            }
            Err(error @ ReplaceError::Unsynced { .. }) => {
                let reason = format!("the compacted journal's name could not be synced: {error}");
                Err(Halt::until_restart(reason))
            }
        }
    }

    /// Brings an index that was built meanwhile up to now.
    fn use_index(&mut self, mut index: Index, live: &Live) {
        let missed = live.with_table(|table| table.archive().since(index.applied()));
        let brought = match missed {
            Some(writes) => index.apply(&writes).map_err(Trouble::into_line),
            None => Err("too much was written meanwhile".to_owned()),
        };
        match brought {
            Ok(()) => {
                tracing::info!(index = %index.dir().display(), "there is an index again");
                self.index = Ok(index);
            }
            Err(error) => {
                drop(index);
                self.rest(&error, NOT_INDEXED);
            }
        }
    }

    fn begin_work(&mut self, live: &Live) {
        let kept = live.with_table(|table| table.archive().bytes() as u64);
        let index_bytes = self.index.as_ref().ok().and_then(Index::bytes);
        if index_bytes.is_some_and(|bytes| bytes > 4 * kept + INDEX_SLACK) {
            tracing::info!(bytes = index_bytes, "the index has grown; it is built anew");
            self.index = Err("it is being built anew".into());
        }
        if self.index.is_err() && self.has_room() {
            self.begin_indexing(live);
        } else if self.journal.bytes() > 2 * kept + COMPACT_SLACK {
            self.begin_compaction(live);
        }
    }

    fn begin_indexing(&mut self, live: &Live) {
        let keeper = self.keeper.clone();
        let (revision, policies) = live.with_table(|table| {
            let policies: Vec<_> = table.catalog().iter().cloned().collect();
            (table.revision(), policies)
        });
        let build = move |_: &AtomicBool| match keeper.clear() {
            Beside::Trouble(reason) => Err(reason),
            _ => keeper.build(revision, &policies),
        };
        self.work = Background::begin("fusebox-index", build).map(Work::Indexing);
    }

    fn begin_compaction(&mut self, live: &Live) {
        let draft = live.with_table(|table| {
            let archive = table.archive();
            let versions = archive.iter().cloned().collect();
            self.journal.draft(archive.floor(), versions)
        });
        self.work = Background::begin("fusebox-compact", draft).map(Work::Compaction);
    }
}

impl Drop for Directory {
    /// Nothing is left at work in a directory that others may lock.
    fn drop(&mut self) {
        match self.work.take() {
            Some(Work::Compaction(thread)) => drop(thread.end()),
            Some(Work::Indexing(thread)) => drop(thread.end()),
            None => {}
        }
    }
}

impl Work {
    fn is_done(&self) -> bool {
        match self {
            Self::Compaction(thread) => thread.is_done(),
            Self::Indexing(thread) => thread.is_done(),
        }
    }
}

/// What is said of upkeep that failed.
const NOT_COMPACTED: &str = "the journal could not be compacted";
const NOT_INDEXED: &str = "the index could not be built";
/// What is said of a thread that panicked.
const BROKE_OFF: &str = "it broke off";
