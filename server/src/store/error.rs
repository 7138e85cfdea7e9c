//! What can go wrong with a store, in words its operator can act on.
//!
//! [`AppendError`] and [`ReadError`] go to callers and become gRPC statuses at the edge;
//! [`OpenError`] stops the start and therefore says what to do next. No message carries anything
//! of a policy but its id.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use fusebox_core::key::PolicyId;
use fusebox_core::policy::overrides::MAX_STANDING;
use fusebox_core::revision::Revision;

use super::{Crowded, Expect, QUEUE_SLOTS, Subject, VERSION_BYTES, WRITE_BYTES, WRITE_VERSIONS};

/// Why a write was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The policy is not as expected. Read it, decide anew.
    #[error("policy {id}: expected {expected}, found {}", in_words(*.found))]
    Conflict {
        /// The policy.
        id: PolicyId,
        /// What the write expected.
        expected: Expect,
        /// The revision it found; `None` if there is no such policy.
        found: Option<Revision>,
    },
    /// The override is no longer in force, or never was. Nothing was written.
    #[error("override {0} is not in force")]
    NotInForce(Revision),
    /// As many overrides are in force as may be. Nothing was written.
    #[error("{MAX_STANDING} overrides are in force, and no more are taken; clear some first")]
    TooManyOverrides,
    /// More than [`VERSION_BYTES`] on the disk. Nothing was written.
    #[error("{subject}: takes {bytes} bytes on the disk; at most {VERSION_BYTES} are allowed")]
    TooLarge {
        /// What.
        subject: Subject,
        /// What it would take.
        bytes: usize,
    },
    /// More than [`WRITE_BYTES`] for all policies together. Nothing was written.
    #[error("the write takes {bytes} bytes on the disk; at most {WRITE_BYTES} are allowed")]
    TooMuch {
        /// What it would take, as far as it was looked at.
        bytes: usize,
    },
    /// More than [`WRITE_VERSIONS`] policies in one write. Nothing was written.
    #[error("the write changes {count} policies; at most {WRITE_VERSIONS} are allowed")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// Some processes would have to hold more than they are sent. Nothing was written.
    #[error("{0}")]
    Crowded(Crowded),
    /// A write of several steps for one policy, or of none that changes anything. Nothing was written; this is a bug.
    #[error("a write must change at least one policy, and each only once")]
    Malformed,
    /// It does not survive encoding and decoding. Nothing was written; this is a bug.
    #[error("{subject}: cannot be kept: {problem}")]
    Unfit {
        /// What.
        subject: Subject,
        /// What happened to it.
        problem: String,
    },
    /// The queue is full. Nothing was written; try again soon.
    #[error("the store has {QUEUE_SLOTS} writes waiting and takes no more")]
    Busy,
    /// The commit failed half-way: whether this write is kept is known after the next start.
    #[error("the write may or may not have been kept: {reason}")]
    InDoubt {
        /// What happened.
        reason: Arc<str>,
    },
    /// The store takes no writes. Nothing was written.
    #[error("the store takes no writes: {reason}")]
    Unavailable {
        /// Since when, or since what.
        reason: Arc<str>,
    },
}

fn in_words(found: Option<Revision>) -> String {
    found.map_or_else(
        || "absent".to_owned(),
        |revision| format!("revision {revision}"),
    )
}

/// Why nothing can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// Not all changes after the revision asked for are kept.
    #[error(
        "changes are kept from behind revision {floor} on; those after {asked} are gone in part"
    )]
    Compacted {
        /// Whence changes were wanted.
        asked: Revision,
        /// Whence they can be had.
        floor: Revision,
    },
    /// The revision asked for has not been yet.
    #[error("revision {asked} has not been yet; the last one is {last}")]
    Ahead {
        /// Whence changes were wanted.
        asked: Revision,
        /// The last revision.
        last: Revision,
    },
}

/// Why a store cannot be opened. Every acknowledged write is as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Something that is no directory bears the name.
    #[error("{} is not a directory: name another data directory", dir.display())]
    NotADirectory {
        /// The path given.
        dir: PathBuf,
    },
    /// The directory cannot be created or written to.
    #[error(
        "cannot write to the data directory {} ({source}): let this process's user write to it, \
         or name another data directory", dir.display()
    )]
    Unwritable {
        /// The path given.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process holds the directory's lock.
    #[error(
        "the data directory {} is in use by {}: stop it, or name another data directory",
        dir.display(), process(*.pid)
    )]
    InUse {
        /// The path given.
        dir: PathBuf,
        /// The process, if it left its id.
        pid: Option<u32>,
    },
    /// The journal is damaged where acknowledged writes stand.
    #[error(
        "the journal {} is damaged at byte {offset} ({problem}): it was left as it is; \
         restore the data directory from a backup", file.display()
    )]
    Damaged {
        /// The journal.
        file: PathBuf,
        /// Where the damage begins, in bytes from its start.
        offset: u64,
        /// What is wrong there.
        problem: String,
    },
    /// The journal was written by a newer server.
    #[error(
        "the journal {} has format {found}, this server knows up to {known}: \
         start the server that wrote it, or a newer one", file.display()
    )]
    NewerFormat {
        /// The journal.
        file: PathBuf,
        /// Its format.
        found: u32,
        /// The highest this server reads.
        known: u32,
    },
    /// There is an index, but not the journal it was made from.
    #[error(
        "the index {} has no journal {} beside it: restore the data directory from a backup, \
         or, to begin with nothing, move the index away and start again",
        index.display(), file.display()
    )]
    JournalMissing {
        /// The journal that should be there.
        file: PathBuf,
        /// The index.
        index: PathBuf,
    },
    /// The index knows acknowledged writes that the journal has lost.
    ///
    /// Moving the index away would start, and is not offered: the lost revisions would be issued
    /// a second time within one incarnation.
    #[error(
        "the journal {} ends at revision {journal}, but the index {} has revision {applied}: \
         acknowledged writes are missing from the journal, which was left as it is; restore the data \
         directory from a backup", file.display(), index.display()
    )]
    JournalBehind {
        /// The journal.
        file: PathBuf,
        /// Its last revision.
        journal: Revision,
        /// The index.
        index: PathBuf,
        /// The revision applied to it.
        applied: Revision,
    },
    /// There is no store where one was to be found.
    #[error("there is no journal {}: name a data directory or a backup", file.display())]
    NoStore {
        /// The journal that should be there.
        file: PathBuf,
    },
    /// Something is already where something was to be made.
    #[error("{} exists already and is left as it is: move it away, or name another place", path.display())]
    Occupied {
        /// What is there.
        path: PathBuf,
    },
    /// The system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system gave no random bytes for the incarnation.
    #[error("the system gives no random numbers: {reason}")]
    Random {
        /// What it said.
        reason: String,
    },
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(
        || "another process".to_owned(),
        |pid| format!("process {pid}"),
    )
}

impl OpenError {
    /// For `map_err`: the system refused to `action` `path`.
    pub(super) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
