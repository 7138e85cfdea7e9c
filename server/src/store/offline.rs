//! What is done to a data directory beside its server, or instead of it.
//!
//! | | may a server run there? | changes |
//! |---|---|---|
//! | [`backup`] | yes | nothing in the data directory |
//! | [`verify`] | yes, but then the index is not looked at | nothing |
//! | [`restore`] | no | a new data directory, of a new incarnation |
//! | [`adopt`] | no | the journal's header |
//!
//! A backup is a journal: whatever reads one reads the other. A running server only ever appends to
//! its journal, or gives its name to another whole one, so that reading up to where it ended when
//! it was opened gives all that had been acknowledged by then; and perhaps a write that had not, and
//! that failed in the end.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use fusebox_core::revision::{Incarnation, Revision};

use super::directory::{INDEX_DIR, UNFINISHED_FILE};
use super::journal::{Contents, Draft, JOURNAL_FILE, Journal, Origins, sync_name};
use super::local::Life;
use super::lock::{DataDir, hold_off};
use super::record::random_incarnation;
use super::sled::Index;
use super::table::Table;
use super::{OpenError, Retention};

/// How many revisions a life may have issued after its backup was taken, at most: a restored store
/// issues none of them again.
pub const LOST_REVISIONS: u64 = 1_000_000;

/// What stands in a journal or a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// The file looked at.
    pub file: PathBuf,
    /// The store's life.
    pub incarnation: Incarnation,
    /// Whether processes follow it even while it is empty.
    pub adopted: bool,
    /// When the store was created or restored.
    pub created: SystemTime,
    /// The last revision.
    pub revision: Revision,
    /// Behind this revision every change is there.
    pub floor: Revision,
    /// Live policies.
    pub policies: usize,
    /// Overrides in force, those among them whose time is over since.
    pub overrides: usize,
    /// Versions of policies and overrides, those of the live ones included.
    pub versions: usize,
    /// Bytes that are whole.
    pub bytes: u64,
    /// What follows them: the end of a write that was interrupted, or is being made.
    pub torn: Option<String>,
}

impl Inventory {
    fn of(file: &Path, contents: &Contents) -> Self {
        let Contents {
            life,
            created,
            table,
            end,
            torn,
            ..
        } = contents;
        Self {
            file: file.to_owned(),
            incarnation: life.incarnation,
            adopted: life.adopted,
            created: *created,
            revision: table.revision(),
            floor: table.archive().floor(),
            policies: table.catalog().len(),
            overrides: table.overrides().len(),
            versions: table.archive().len(),
            bytes: *end,
            torn: torn.clone(),
        }
    }
}

/// How the index beside a journal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexState {
    /// It agrees with the journal, as of this revision.
    Whole(Revision),
    /// There is none, as in a backup; a server builds one.
    Absent,
    /// A server uses it, this process if it left its id.
    InUse(Option<u32>),
    /// It is of no use; a server sets it aside and builds another.
    Damaged(String),
}

/// Writes all that is acknowledged in the data directory `dir` to the new file `to`.
pub fn backup(dir: &Path, to: &Path) -> Result<Inventory, OpenError> {
    if to.exists() {
        return Err(OpenError::Occupied {
            path: to.to_owned(),
        });
    }
    let held = hold_off(dir);
    let contents = read(&dir.join(JOURNAL_FILE))?;
    if held.is_ok() {
        index(&dir.join(INDEX_DIR), &contents)?;
    }
    let origins = origins(&contents, contents.life, contents.created);
    let written = draft(&contents, origins, to).and_then(|draft| draft.take_new_name(to));
    named(written, to)?;
    Ok(Inventory {
        torn: contents.torn,
        ..inventory(to)?
    })
}

/// Makes a store of what is in the backup `from`, in `dir`, where there must be none. It begins a
/// new life: what was written after the backup was taken is gone, and its revisions are not issued
/// again.
pub fn restore(from: &Path, dir: &Path, now: SystemTime) -> Result<Inventory, OpenError> {
    let contents = read(&journal_at(from))?;
    let dir = DataDir::lock(dir)?;
    let journal = dir.path().join(JOURNAL_FILE);
    for path in [journal.clone(), dir.path().join(INDEX_DIR)] {
        if path.exists() {
            return Err(OpenError::Occupied { path });
        }
    }
    let life = Life {
        incarnation: random_incarnation()?,
        adopted: false,
    };
    // Whoever saw a revision of the life that is lost never takes one of this life for it.
    let reserved = Revision(contents.table.revision().0 + LOST_REVISIONS);
    let origins = origins(&contents, life, now).reserving(reserved);
    let written = draft(&contents, origins, &journal);
    named(
        written.and_then(|draft| draft.take_new_name(&journal)),
        &journal,
    )?;
    inventory(&journal)
}

/// Says of the store in `dir` that processes are to follow it even while it is empty.
pub fn adopt(dir: &Path) -> Result<Inventory, OpenError> {
    let journal = dir.join(JOURNAL_FILE);
    let missing = || OpenError::NoStore {
        file: journal.clone(),
    };
    if !journal.exists() {
        return Err(missing());
    }
    let dir = DataDir::lock(dir)?;
    let contents = read(&journal)?;
    // Were the journal's end lost, this would make it so for good.
    index(&dir.path().join(INDEX_DIR), &contents)?;
    if !contents.life.adopted {
        let life = Life {
            adopted: true,
            ..contents.life
        };
        let origins = origins(&contents, life, contents.created);
        let written = draft(&contents, origins, &journal);
        named(
            written.and_then(|draft| draft.take_name(&journal).map(drop)),
            &journal,
        )?;
    }
    drop(dir);
    inventory(&journal)
}

/// Reads every byte of a data directory or of a backup.
pub fn verify(path: &Path) -> Result<(Inventory, IndexState), OpenError> {
    let file = journal_at(path);
    if file == path {
        return Ok((inventory(path)?, IndexState::Absent));
    }
    let held = hold_off(path);
    let contents = read(&file)?;
    let found = Inventory::of(&file, &contents);
    let state = match held {
        Err(pid) => IndexState::InUse(pid),
        Ok(_held) => index(&path.join(INDEX_DIR), &contents)?,
    };
    Ok((found, state))
}

/// The journal of a data directory; a backup is one itself.
fn journal_at(path: &Path) -> PathBuf {
    match path.is_dir() {
        true => path.join(JOURNAL_FILE),
        false => path.to_owned(),
    }
}

fn inventory(file: &Path) -> Result<Inventory, OpenError> {
    Ok(Inventory::of(file, &read(file)?))
}

fn read(file: &Path) -> Result<Contents, OpenError> {
    if !file.exists() {
        return Err(OpenError::NoStore {
            file: file.to_owned(),
        });
    }
    Journal::read(file, Retention::ALL)
}

fn origins(contents: &Contents, life: Life, created: SystemTime) -> Origins {
    let archive = contents.table.archive();
    let versions: Vec<_> = archive.iter().cloned().collect();
    Origins::of(life, created, archive.floor(), &versions).reserving(contents.reserved)
}

/// Writes a journal of what `contents` hold beside `to`, and syncs it.
fn draft(contents: &Contents, origins: Origins, to: &Path) -> io::Result<Draft> {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let versions = contents.table.archive().iter().map(Arc::as_ref);
    Draft::write(to.with_file_name(name), origins, versions)
}

/// Brings the name to the disk that a draft has taken.
fn named(written: io::Result<()>, to: &Path) -> Result<(), OpenError> {
    written
        .and_then(|()| sync_name(to))
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => OpenError::Occupied {
                path: to.to_owned(),
            },
            _ => OpenError::io("write", to)(error),
        })
}

/// Looks at a copy, because even to look sled writes.
fn index(dir: &Path, contents: &Contents) -> Result<IndexState, OpenError> {
    if !dir.exists() || dir.with_file_name(UNFINISHED_FILE).exists() {
        return Ok(IndexState::Absent);
    }
    let copy = tempfile::tempdir().map_err(OpenError::io("copy the index", dir))?;
    copy_files(dir, copy.path()).map_err(OpenError::io("copy the index", dir))?;
    let index = match Index::open(copy.path().to_owned()) {
        Ok(index) => index,
        Err(trouble) => return Ok(IndexState::Damaged(trouble.line())),
    };
    agreement(&index, dir, contents)
}

fn agreement(index: &Index, dir: &Path, contents: &Contents) -> Result<IndexState, OpenError> {
    let (applied, own) = (index.applied(), contents.life.incarnation);
    let table = &contents.table;
    if index.incarnation() != own {
        let found = index.incarnation();
        let problem = format!("it is of incarnation {found}, the journal beside it of {own}");
        return Ok(IndexState::Damaged(problem));
    }
    if applied > table.revision() {
        return Err(OpenError::JournalBehind {
            file: dir.with_file_name(JOURNAL_FILE),
            journal: table.revision(),
            index: dir.to_owned(),
            applied,
        });
    }
    Ok(match agrees(index, table) {
        true => IndexState::Whole(applied),
        false => IndexState::Damaged("its policies are not the journal's".to_owned()),
    })
}

/// An index that is behind is brought up by the next start, and only then comparable.
fn agrees(index: &Index, table: &Table) -> bool {
    index.applied() < table.revision() || index.summary() == table.summary()
}

fn copy_files(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy_files(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
