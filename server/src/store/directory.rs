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

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use fusebox_core::policy::Stored;
use fusebox_core::revision::{Incarnation, Revision};

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
/// What a damaged index is called from then on, before the second at which it was found.
const SET_ASIDE: &str = "sled.damaged-";
/// Damaged indexes that are kept for people to look at; the oldest goes.
const MAX_SET_ASIDE: usize = 3;
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

/// What is beside the journal.
#[derive(Debug)]
enum Beside {
    /// An index as of some revision.
    Index(Index),
    /// None yet.
    Nothing,
    /// None for the time being, and why.
    Trouble(Arc<str>),
}

/// Looks after the index of one data directory.
#[derive(Clone)]
struct Keeper {
    dir: PathBuf,
    incarnation: Incarnation,
    clock: Clock,
}

impl Keeper {
    fn index_dir(&self) -> PathBuf {
        self.dir.join(INDEX_DIR)
    }

    /// There while an index is being built, so that one that was not built to its end is known.
    fn unfinished(&self) -> PathBuf {
        self.dir.join(UNFINISHED_FILE)
    }

    /// Opens the index, or gets out of its way.
    fn open_index(&mut self, table: &Table, journal: &Path) -> Result<Beside, OpenError> {
        if !self.index_dir().exists() {
            return Ok(Beside::Nothing);
        }
        if self.unfinished().exists() {
            return Ok(self.clear());
        }
        let index = match Index::open(self.index_dir()) {
            Ok(index) => index,
            Err(trouble) if trouble.is_of_the_disk() => {
                return Ok(Beside::Trouble(trouble.into_line().into()));
            }
            Err(trouble) => return Ok(self.set_aside(&trouble.into_line())),
        };
        if index.incarnation() != self.incarnation {
            let (found, own) = (index.incarnation(), self.incarnation);
            drop(index);
            let problem = format!("it is of incarnation {found}, the journal beside it of {own}");
            return Ok(self.set_aside(&problem));
        }
        if index.applied() > table.revision() {
            return Err(OpenError::JournalBehind {
                file: journal.to_owned(),
                journal: table.revision(),
                index: index.dir().to_owned(),
                applied: index.applied(),
            });
        }
        Ok(Beside::Index(index))
    }

    /// Makes what is beside the journal an index as of `table`, if it can be done.
    fn bring_up(&self, beside: Beside, table: &Table) -> Result<Index, Arc<str>> {
        let beside = match beside {
            Beside::Index(index) => self.catch_up(index, table),
            beside => beside,
        };
        match beside {
            Beside::Index(index) => Ok(index),
            Beside::Trouble(reason) => {
                tracing::error!(%reason, "no index for now; the journal holds everything");
                Err(reason)
            }
            Beside::Nothing => {
                let policies: Vec<_> = table.catalog().iter().cloned().collect();
                self.build(table.revision(), &policies)
            }
        }
    }

    fn catch_up(&self, mut index: Index, table: &Table) -> Beside {
        let (from, to) = (index.applied(), table.revision());
        let Some(writes) = table.archive().since(from) else {
            drop(index);
            return self.clear();
        };
        if from < to {
            tracing::info!(index = %index.dir().display(), %from, %to, "indexing the journal");
            if let Err(trouble) = index.apply(&writes) {
                drop(index);
                return match trouble.is_of_the_disk() {
                    true => Beside::Trouble(trouble.into_line().into()),
                    false => self.set_aside(&trouble.into_line()),
                };
            }
        }
        if !index.holds(table.catalog().iter()) {
            drop(index);
            return self.set_aside("its policies are not the journal's");
        }
        Beside::Index(index)
    }

    /// Builds an index where none is.
    fn build(&self, revision: Revision, policies: &[Arc<Stored>]) -> Result<Index, Arc<str>> {
        let mark = |error: io::Error| Trouble::Contents(format!("cannot be begun: {error}"));
        let build = || {
            fs::write(self.unfinished(), "").map_err(mark)?;
            let (dir, life) = (self.index_dir(), self.incarnation);
            let index = Index::build(dir, life, revision, policies)?;
            fs::remove_file(self.unfinished()).map_err(mark)?;
            Ok(index)
        };
        build().map_err(|trouble: Trouble| {
            let reason: Arc<str> = trouble.into_line().into();
            tracing::error!(%reason, "the index cannot be built; the journal holds everything");
            reason
        })
    }

    /// Removes an index that is of no use, and of no interest.
    fn clear(&self) -> Beside {
        match fs::remove_dir_all(self.index_dir()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Beside::Trouble(format!("the old index cannot be removed: {error}").into())
            }
            _ => Beside::Nothing,
        }
    }

    /// Moves a damaged index away, so that it can be looked at.
    fn set_aside(&self, problem: &str) -> Beside {
        let index = self.index_dir();
        let seconds = (self.clock)()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let mut to = self.dir.join(format!("{SET_ASIDE}{}", seconds.as_secs()));
        let mut more = 1;
        while to.exists() {
            to.set_file_name(format!("{SET_ASIDE}{}-{more}", seconds.as_secs()));
            more += 1;
        }
        if let Err(error) = fs::rename(&index, &to) {
            return Beside::Trouble(
                format!("it is damaged ({problem}) and cannot be set aside: {error}").into(),
            );
        }
        tracing::error!(
            index = %index.display(), set_aside = %to.display(), %problem,
            "the index was damaged; it is set aside and built anew from the journal, nothing is lost"
        );
        self.keep_few_set_aside();
        Beside::Nothing
    }

    fn keep_few_set_aside(&self) {
        let names = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut aside: Vec<_> = names
            .map(|entry| entry.path())
            .filter(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with(SET_ASIDE)
            })
            .collect();
        aside.sort();
        let many = aside.len().saturating_sub(MAX_SET_ASIDE);
        for old in &aside[..many] {
            let removed = match old.is_dir() {
                true => fs::remove_dir_all(old),
                false => fs::remove_file(old),
            };
            if let Err(error) = removed {
                tracing::warn!(dir = %old.display(), %error, "an old damaged index stays");
            }
        }
    }
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

/// Upkeep under way, and where its result comes.
enum Work {
    Compaction(Receiver<io::Result<Draft>>),
    Indexing(Receiver<Result<Index, Arc<str>>>),
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
        match self.work.take() {
            None => Ok(()),
            Some(Work::Compaction(result)) => match result.try_recv() {
                Ok(Ok(draft)) => self.go_on_in(draft),
                Ok(Err(error)) => {
                    self.rest(&error, "the journal could not be compacted");
                    Ok(())
                }
                Err(TryRecvError::Empty) => {
                    self.work = Some(Work::Compaction(result));
                    Ok(())
                }
                Err(TryRecvError::Disconnected) => {
                    self.rest(&"it broke off", "the journal could not be compacted");
                    Ok(())
                }
            },
            Some(Work::Indexing(result)) => {
                match result.try_recv() {
                    Ok(Ok(index)) => self.use_index(index, live),
                    Ok(Err(reason)) => self.rest(&reason, "the index could not be built"),
                    Err(TryRecvError::Empty) => self.work = Some(Work::Indexing(result)),
                    Err(TryRecvError::Disconnected) => {
                        self.rest(&"it broke off", "the index could not be built");
                    }
                }
                Ok(())
            }
        }
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
                self.rest(&error, "the journal could not be compacted");
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
            Some(writes) => index.apply(&writes).map_err(|trouble| trouble.into_line()),
            None => Err("too much was written meanwhile".to_owned()),
        };
        match brought {
            Ok(()) => {
                tracing::info!(index = %index.dir().display(), "there is an index again");
                self.index = Ok(index);
            }
            Err(error) => {
                drop(index);
                self.rest(&error, "the index could not be built");
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
        let build = move || match keeper.clear() {
            Beside::Trouble(reason) => Err(reason),
            _ => keeper.build(revision, &policies),
        };
        self.work = in_background("fusebox-index", build).map(Work::Indexing);
    }

    fn begin_compaction(&mut self, live: &Live) {
        let draft = live.with_table(|table| {
            let archive = table.archive();
            let versions = archive.iter().cloned().collect();
            self.journal.draft(archive.floor(), versions)
        });
        self.work = in_background("fusebox-compact", draft).map(Work::Compaction);
    }
}

/// Runs `work` in a thread of its own; `None` if there is none to be had.
fn in_background<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<Receiver<T>> {
    let (done, result) = sync_channel(1);
    let started = thread::Builder::new().name(name.into()).spawn(move || {
        // An error says that the store was closed meanwhile.
        let _ = done.send(work());
    });
    match started {
        Ok(_) => Some(result),
        Err(error) => {
            tracing::warn!(%error, "no thread for upkeep; it is tried again");
            None
        }
    }
}

#[cfg(test)]
mod tests;
