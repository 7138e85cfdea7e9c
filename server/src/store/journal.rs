//! The journal: the truth about every acknowledged write.
//!
//! ```text
//!   "fusebox journal\n"          the same in every format, so that any server knows what it sees
//!   frame: JournalHeader         format and incarnation; its framing never changes either
//!   frame: JournalEntry...       what a compaction kept: some versions of the revisions up to its
//!   frame: JournalEntry...       floor, then every one behind it
//!   ----------------------
//!   frame: JournalEntry...       one commit: its entries, each preceded by its length
//!   frame: JournalEntry...
//! ```
//!
//! A frame is a whole commit, not one entry, because that makes a torn write recognisable: the
//! next frame is written only after this one was synced, so a bad frame with a good one behind it
//! was acknowledged once and is damage, and a bad last one was not. (With a frame an entry, a power
//! cut could keep a commit's second frame and lose its first, and look like damage.)
//!
//! Behind the last frame there may be zeros: room made ahead of its use.
//!
//! **Compaction** writes what the archive still holds to a file of its own while writes go on, adds
//! what was committed meanwhile, and takes the journal's name by a rename: at any moment the name
//! stands for a whole journal.
//!
//! Invariants:
//! - Opening verifies every frame and changes nothing; [`Journal::cut_torn_tail`] is a step apart,
//!   so that the index may first object that it has seen what is about to be cut.
//! - A journal comes into being whole, by a rename: one without a good header is damaged.
//! - Within a journal revisions never fall, and behind its floor none is left out.
//! - Entries of one revision are one write, in its order.

mod draft;
mod frame;
mod reader;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use fusebox_core::revision::Revision;
use rustix::fs::FallocateFlags;

use super::local::Life;
use super::lock::{DataDir, sync_dir};
use super::table::Table;
use super::{OpenError, Retention, Version};

pub(super) use self::draft::{Draft, Origins};
pub(super) use self::reader::Contents;

/// The journal's name in the data directory.
pub(super) const JOURNAL_FILE: &str = "journal.log";
const NEW_FILE: &str = "journal.log.new";
const MAGIC: &[u8] = b"fusebox journal\n";
/// The highest format this server reads, and the one it writes. 1 had a write an entry, 2 no
/// overrides.
const FORMAT: u32 = 3;
/// Bytes made room for at a time. A sync is quicker where the file need not grow for it.
const ROOM_STEP: u64 = 1024 * 1024;
/// Longest remainder that one interrupted write can leave, with the room behind it.
const TORN_BYTES: u64 = (frame::HEAD_BYTES + frame::PAYLOAD_BYTES) as u64 + ROOM_STEP;

/// An open journal, positioned at its end.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    life: Life,
    created: SystemTime,
    /// Revisions up to this one may have been issued in another life.
    reserved: Revision,
    /// Its header names an older format.
    old: bool,
    /// Where the good frames end, in bytes.
    end: u64,
    /// Up to where the file reaches: with nothing but zeros behind the frames, unless `torn`.
    room: u64,
    /// Why what follows them is none.
    torn: Option<String>,
}

/// Why a commit failed, and what is known of it.
#[derive(Debug)]
pub(super) struct CommitError {
    /// What the system said.
    pub(super) source: io::Error,
    /// Whether it is certain that nothing of it will ever be read.
    pub(super) undone: bool,
}

impl Journal {
    /// Verifies the journal in `dir` from end to end and reads what it holds; `None` if there is
    /// none.
    pub(super) fn open(
        dir: &DataDir,
        retention: Retention,
    ) -> Result<Option<(Self, Table)>, OpenError> {
        let path = dir.path().join(JOURNAL_FILE);
        let exists = path
            .try_exists()
            .map_err(OpenError::io("look for the journal", &path))?;
        if !exists {
            return Ok(None);
        }
        let contents = reader::read(&path, retention)?;
        let file = File::options()
            .write(true)
            .open(&path)
            .map_err(OpenError::io("write to the journal", &path))?;
        let journal = Self {
            path,
            file,
            life: contents.life,
            created: contents.created,
            reserved: contents.reserved,
            old: contents.old,
            end: contents.end,
            room: contents.length,
            torn: contents.torn,
        };
        Ok(Some((journal, contents.table)))
    }

    /// What stands in a journal that may be in use, or in a copy of one: up to its last whole frame.
    pub(super) fn read(path: &Path, retention: Retention) -> Result<Contents, OpenError> {
        reader::read(path, retention)
    }

    /// Begins an empty journal; its name appears only once it is whole and on the disk.
    pub(super) fn create(dir: &DataDir, origins: Origins) -> Result<(), OpenError> {
        let path = dir.path().join(JOURNAL_FILE);
        let create = || {
            let draft = Draft::write(dir.path().join(NEW_FILE), origins, std::iter::empty())?;
            draft.take_name(&path)?;
            sync_name(&path)
        };
        create().map_err(OpenError::io("create the journal", path.clone()))
    }

    /// Removes what a compaction that did not come to its end has left.
    pub(super) fn sweep(dir: &DataDir) {
        // What cannot be removed is written over by the next compaction.
        let _ = fs::remove_file(dir.path().join(NEW_FILE));
    }

    /// Which store's journal this is.
    pub(super) fn life(&self) -> Life {
        self.life
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How long it is, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.end
    }

    /// Removes the remainder of a write that was interrupted, and therefore never acknowledged.
    pub(super) fn cut_torn_tail(&mut self) -> Result<(), OpenError> {
        let Some(problem) = self.torn.take() else {
            return Ok(());
        };
        tracing::warn!(
            journal = %self.path.display(), offset = self.end, %problem,
            "cutting off an interrupted, never acknowledged write"
        );
        self.cut()
            .map_err(OpenError::io("cut the torn end of", &self.path))
    }

    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.end)?;
        self.room = self.end;
        self.file.sync_all()
    }

    /// Gives back the room behind the frames.
    pub(super) fn trim(&mut self) -> io::Result<()> {
        match self.room > self.end {
            true => self.cut(),
            false => Ok(()),
        }
    }

    /// Makes room for `bytes` and more. Where that cannot be had the file grows as it is written.
    fn make_room(&mut self, bytes: u64) {
        let wanted = self.end + bytes;
        if wanted <= self.room {
            return;
        }
        let step = (wanted - self.room).next_multiple_of(ROOM_STEP);
        let made = rustix::fs::fallocate(&self.file, FallocateFlags::empty(), self.room, step);
        if made.is_ok() {
            self.room += step;
        }
    }

    /// The commit: one write, one fdatasync.
    ///
    /// After an error the file's end is unknown: the kernel may have dropped the pages it could not
    /// write, and report the next sync as good. What is known again, if it succeeds, is that the
    /// file was cut to where it was before.
    pub(super) fn commit(&mut self, payload: &[u8]) -> Result<(), CommitError> {
        let written = frame::frame(payload).and_then(|frame| {
            let bytes = frame.len() as u64;
            self.make_room(bytes);
            self.file.write_all_at(&frame, self.end)?;
            self.file.sync_data()?;
            Ok(bytes)
        });
        match written {
            Ok(bytes) => {
                self.end += bytes;
                self.room = self.room.max(self.end);
            }
            Err(source) => {
                let undone = self.cut().is_ok();
                return Err(CommitError { source, undone });
            }
        }
        Ok(())
    }

    /// How to write a draft of it, until that is unwanted: what `versions` hold is all that is to be
    /// kept of it up to here.
    pub(super) fn draft(
        &self,
        floor: Revision,
        versions: Vec<Arc<Version>>,
    ) -> impl FnOnce(&AtomicBool) -> io::Result<Draft> + Send + use<> {
        let path = self.path.with_file_name(NEW_FILE);
        let origins =
            Origins::of(self.life, self.created, floor, &versions).reserving(self.reserved);
        let covered = self.end;
        move |unwanted| {
            // Relaxed: nothing is read through it.
            let wanted = |_: &&Version| !unwanted.load(Ordering::Relaxed);
            let versions = versions.iter().map(Arc::as_ref).take_while(wanted);
            let mut draft = Draft::write(path, origins, versions)?;
            if unwanted.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            draft.covers(covered);
            Ok(draft)
        }
    }

    /// Writes a journal of an older format anew, so that an older server never takes what is written
    /// from now on for damage.
    pub(super) fn upgrade(&mut self, table: &Table) -> Result<(), OpenError> {
        if !self.old {
            return Ok(());
        }
        let archive = table.archive();
        let draft = self.draft(archive.floor(), archive.iter().cloned().collect());
        let upgraded = draft(&AtomicBool::new(false))
            .map_err(|source| ReplaceError::Kept { source })
            .and_then(|draft| self.replace_by(draft));
        self.old = false;
        upgraded.map_err(|error| {
            let (ReplaceError::Kept { source } | ReplaceError::Unsynced { source }) = error;
            OpenError::io("write anew", &self.path)(source)
        })
    }

    /// Goes on in `draft`, with all that was committed since it was begun.
    pub(super) fn replace_by(&mut self, mut draft: Draft) -> Result<(), ReplaceError> {
        let kept = |source| ReplaceError::Kept { source };
        draft.add_the_rest_of(&self.path, self.end).map_err(kept)?;
        (self.file, self.end) = draft.take_name(&self.path).map_err(kept)?;
        self.room = self.end;
        sync_name(&self.path).map_err(|source| ReplaceError::Unsynced { source })
    }
}

/// Why a draft did not take a journal's place.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReplaceError {
    /// The journal is as it was.
    #[error("{source}")]
    Kept {
        /// What the system said.
        source: io::Error,
    },
    /// The draft has its name, but a power cut might bring the old journal back: nothing more may
    /// be acknowledged.
    #[error("{source}")]
    Unsynced {
        /// What the system said.
        source: io::Error,
    },
}

/// Makes a file's new name survive a power cut.
pub(super) fn sync_name(path: &Path) -> io::Result<()> {
    let parent = path.parent().unwrap_or(path);
    // A bare name stands in the working directory.
    match parent.as_os_str().is_empty() {
        true => sync_dir(Path::new(".")),
        false => sync_dir(parent),
    }
}
