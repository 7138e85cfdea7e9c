//! The store in a data directory: the journal, the index beside it, and their upkeep.
//!
//! ```text
//!   open:  lock ─> read and verify the journal ─> open and verify the index ─> index not ahead?
//!               ─> cut the journal's torn tail ─> writer thread, index thread
//! ```
//!
//! The journal alone decides what the store holds. An index that is damaged, or of another store, is
//! set aside, told loudly and built anew; only one that has seen *more* than the journal stops the
//! start, because then the journal has lost what was acknowledged.
//!
//! Upkeep makes no write wait for more than moments: a compaction goes on in a thread of its own,
//! and the writer takes over what it has made; the index has its own thread for good.

mod background;
mod indexer;
mod keeper;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::background::Background;
use self::indexer::Indexer;
use self::keeper::{Beside, Keeper};
use super::journal::{CommitError, Draft, JOURNAL_FILE, Journal, Origins, ReplaceError};
use super::live::Live;
use super::local::{Life, Local};
use super::lock::DataDir;
use super::record::random_incarnation;
use super::sled::Index;
use super::table::Table;
use super::writer::{Disk, Figures, Halt};
use super::{Clock, OpenError, Retention, Store};

/// The index's name in the data directory.
pub(super) const INDEX_DIR: &str = "sled";
/// Beside an index that is not built to its end yet.
pub(super) const UNFINISHED_FILE: &str = "sled.unfinished";
/// Bytes by which a journal may exceed twice what it has to hold, so that a small one is left alone.
const COMPACT_SLACK: u64 = 4 * 1024 * 1024;
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
    let keeper = Keeper {
        dir: dir.path().to_owned(),
        incarnation: journal.life().incarnation,
        clock: Arc::clone(&clock),
    };
    Index::wait_until_free(&keeper.index_dir())?;
    let beside = keeper.open_index(&table, journal.path())?;
    journal.cut_torn_tail()?;
    journal.upgrade(&table)?;
    let life = journal.life();
    let disk = Directory {
        journal,
        keeper,
        beside: Some(beside),
        indexer: None,
        compaction: None,
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
    keeper: Keeper,
    /// What was found beside the journal, until the indexer has it.
    beside: Option<Beside>,
    indexer: Option<Indexer>,
    compaction: Option<Background<io::Result<Draft>>>,
    /// No compaction is begun before.
    rest_until: Option<Instant>,
    _dir: DataDir,
}

impl Disk for Directory {
    fn begin(&mut self, live: &Arc<Live>) {
        let beside = self.beside.take().unwrap_or(Beside::Nothing);
        let indexer = Indexer::begin(self.keeper.clone(), beside, Arc::clone(live));
        self.indexer = Some(indexer);
    }

    fn commit(&mut self, payload: &[u8]) -> Result<(), CommitError> {
        self.journal.commit(payload)
    }

    fn tend(&mut self, live: &Live) -> Result<(), Halt> {
        if let Some(thread) = self.compaction.take_if(|thread| thread.is_done()) {
            match thread.end() {
                Some(Ok(draft)) => self.go_on_in(draft)?,
                Some(Err(error)) => self.rest(&error),
                None => self.rest(&"it broke off"),
            }
        }
        let rested = self.rest_until.is_none_or(|until| Instant::now() >= until);
        if self.compaction.is_none() && rested {
            self.compact_if_due(live);
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.keeper.has_room()
    }

    fn figures(&self) -> Figures {
        Figures {
            journal_bytes: self.journal.bytes(),
            index_bytes: self.indexer.as_ref().map_or(0, Indexer::bytes),
        }
    }

    fn end(&mut self) {
        if let Some(mut indexer) = self.indexer.take() {
            indexer.end();
        }
        if let Err(error) = self.journal.trim() {
            tracing::warn!(%error, "the journal keeps room for writes; the next start cuts it");
        }
    }
}

impl Directory {
    fn rest(&mut self, error: &dyn std::fmt::Display) {
        tracing::warn!(%error, again_in = ?UPKEEP_PAUSE, "the journal could not be compacted");
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
                self.rest(&error);
                Ok(())
            }
            Err(error @ ReplaceError::Unsynced { .. }) => {
                let reason = format!("the compacted journal's name could not be synced: {error}");
                Err(Halt::until_restart(reason))
            }
        }
    }

    fn compact_if_due(&mut self, live: &Live) {
        let kept = live.with_table(|table| table.archive().bytes() as u64);
        let due = self.journal.bytes() > 2 * kept + COMPACT_SLACK;
        if !due || !self.keeper.has_room_for(kept + COMPACT_SLACK) {
            return;
        }
        let draft = live.with_table(|table| {
            let archive = table.archive();
            let versions = archive.iter().cloned().collect();
            self.journal.draft(archive.floor(), versions)
        });
        self.compaction = Background::begin("fusebox-compact", draft);
    }
}

impl Drop for Directory {
    /// Nothing is left at work on a journal that others may lock.
    fn drop(&mut self) {
        if let Some(thread) = self.compaction.take() {
            drop(thread.end());
        }
    }
}
