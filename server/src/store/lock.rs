//! Who may use a data directory: one process at a time.
//!
//! The lock is the operating system's, on an open file: it ends with its process, however that
//! ends, so that nobody ever has to remove a stale one. The process id inside the file is there
//! for people; nothing is decided by it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::OpenError;

const LOCK_FILE: &str = "LOCK";

/// A data directory that is ours while this lives.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Creates the directory if need be, and takes its lock.
    pub(super) fn lock(path: &Path) -> Result<Self, OpenError> {
        create(path)?;
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(LOCK_FILE))
            .map_err(|source| unwritable(path, source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(path, &mut file)),
            Err(TryLockError::Error(source)) => return Err(unwritable(path, source)),
        }
        if let Err(error) = leave_pid(&mut file) {
            // On a full disk, for one. It is there for people; the lock is held without it.
            tracing::warn!(dir = %path.display(), %error, "the process id could not be left behind");
        }
        Ok(Self {
            path: path.to_owned(),
            _lock: file,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Holds off servers from `path` while it is looked at, if none runs there; else the process that
/// does, if it left its id. Changes nothing.
pub(super) fn hold_off(path: &Path) -> Result<Option<File>, Option<u32>> {
    let Ok(mut file) = File::open(path.join(LOCK_FILE)) else {
        return Ok(None);
    };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(read_pid(&mut file)),
        Ok(()) | Err(TryLockError::Error(_)) => Ok(Some(file)),
    }
}

fn create(path: &Path) -> Result<(), OpenError> {
    let not_a_directory = || OpenError::NotADirectory {
        dir: path.to_owned(),
    };
    match fs::create_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(not_a_directory()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(not_a_directory()),
        Err(source) => Err(unwritable(path, source)),
    }
}

fn unwritable(path: &Path, source: io::Error) -> OpenError {
    OpenError::Unwritable {
        dir: path.to_owned(),
        source,
    }
}

fn in_use(path: &Path, file: &mut File) -> OpenError {
    OpenError::InUse {
        dir: path.to_owned(),
        pid: read_pid(file),
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut pid = String::new();
    // What cannot be read is left out: the message is true without it.
    let _ = file.read_to_string(&mut pid);
    pid.trim().parse().ok()
}

fn leave_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// Makes the names in `dir` survive a power cut.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
