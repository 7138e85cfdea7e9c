//! The index of one data directory: opened, brought up, built, or moved out of the way.
//!
//! ```text
//!                      damaged, of another store
//!   sled/ ── open ──────────────────────────────> sled.damaged-<second>/, and ERROR in the log
//!     │        │ not built to its end, or behind all that is kept
//!     │        └────────────────────────────────> removed
//!     │ whole                                          │
//!     └── brought up                                   └── built from the live policies
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use fusebox_core::policy::Stored;
use fusebox_core::revision::Incarnation;

use super::{INDEX_DIR, UNFINISHED_FILE};
use crate::store::sled::{Index, Trouble};
use crate::store::table::{Summary, Table};
use crate::store::{Clock, OpenError};

/// What a damaged index is called from then on, before the second at which it was found.
pub(super) const SET_ASIDE: &str = "sled.damaged-";
/// Damaged indexes that are kept for people to look at; the oldest goes.
pub(super) const MAX_SET_ASIDE: usize = 3;
/// Bytes that must be free before what met a full disk is tried again.
const ROOM_BYTES: u64 = 1024 * 1024;

/// What is beside the journal.
#[derive(Debug)]
pub(super) enum Beside {
    /// An index as of some revision.
    Index(Index),
    /// None yet.
    Nothing,
    /// None for the time being, and why.
    Trouble(Arc<str>),
}

/// Looks after the index of one data directory.
#[derive(Clone)]
pub(super) struct Keeper {
    pub(super) dir: PathBuf,
    pub(super) incarnation: Incarnation,
    pub(super) clock: Clock,
}

impl Keeper {
    pub(super) fn index_dir(&self) -> PathBuf {
        self.dir.join(INDEX_DIR)
    }

    /// There while an index is being built, so that one that was not built to its end is known.
    fn unfinished(&self) -> PathBuf {
        self.dir.join(UNFINISHED_FILE)
    }

    /// Opens the index, or gets out of its way.
    pub(super) fn open_index(&self, table: &Table, journal: &Path) -> Result<Beside, OpenError> {
        if !self.index_dir().exists() {
            return Ok(Beside::Nothing);
        }
        if self.unfinished().exists() {
            return Ok(self.clear());
        }
        let index = match Index::open(self.index_dir()) {
            Ok(index) => index,
            Err(trouble) if trouble.is_of_the_disk() => {
                return Ok(Beside::Trouble(trouble.line().into()));
            }
            Err(trouble) => return Ok(self.set_aside(&trouble.line())),
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
        if index.applied() == table.revision() && index.summary() != table.summary() {
            drop(index);
            return Ok(self.set_aside("its policies are not the journal's"));
        }
        Ok(Beside::Index(index))
    }

    /// Builds an index where none is.
    pub(super) fn build(
        &self,
        summary: Summary,
        policies: &[Arc<Stored>],
    ) -> Result<Index, Trouble> {
        let mark = |error: io::Error| Trouble::Contents(format!("cannot be begun: {error}"));
        fs::write(self.unfinished(), "").map_err(mark)?;
        let index = Index::build(self.index_dir(), self.incarnation, summary, policies)?;
        fs::remove_file(self.unfinished()).map_err(mark)?;
        Ok(index)
    }

    /// Whether it is worth trying to write again after the disk was full.
    pub(super) fn has_room(&self) -> bool {
        self.has_room_for(0)
    }

    /// Whether so many bytes can be written, and the journal go on beside them.
    pub(super) fn has_room_for(&self, bytes: u64) -> bool {
        // A system that does not tell is asked by the next write.
        rustix::fs::statvfs(&self.dir).map_or(true, |disk| {
            disk.f_bavail.saturating_mul(disk.f_frsize) >= bytes + ROOM_BYTES
        })
    }

    /// Removes an index that is of no use, and of no interest.
    pub(super) fn clear(&self) -> Beside {
        match fs::remove_dir_all(self.index_dir()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Beside::Trouble(format!("the old index cannot be removed: {error}").into())
            }
            _ => Beside::Nothing,
        }
    }

    /// Moves a damaged index away, so that it can be looked at.
    pub(super) fn set_aside(&self, problem: &str) -> Beside {
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
        self.keep_few_set_aside(&to);
        Beside::Nothing
    }

    /// Whatever the clock says, the one just set aside stays.
    fn keep_few_set_aside(&self, newest: &Path) {
        let names = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut aside: Vec<_> = names
            .map(|entry| entry.path())
            .filter(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with(SET_ASIDE) && path != newest
            })
            .collect();
        aside.sort();
        let many = (aside.len() + 1).saturating_sub(MAX_SET_ASIDE);
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
