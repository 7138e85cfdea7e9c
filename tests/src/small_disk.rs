//! A disk that is soon full, and that a test fills and frees at will.
//!
//! A tmpfs of a given size, mounted in a user and mount namespace of its own: that needs no root,
//! and nobody else ever sees it. A process holds the namespace, so that the disk outlives the server
//! that is killed on it; whoever is to use it is started inside, and the test reaches it through
//! `/proc`.
//!
//! ```text
//!   unshare ── holder (cat) ──owns──> namespace { tmpfs at path() }
//!                 │                       ^
//!        /proc/PID/root/...      nsenter ─┴─ fusebox serve
//!                 └── outside(): where the test fills and frees
//! ```

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::Process;

const PATIENCE: Duration = Duration::from_secs(30);
/// What takes the room.
const BALLAST: &str = "ballast";
/// Written at once, as long as that much fits; then ever less.
const PIECE_BYTES: usize = 1 << 20;

/// A small disk. Dropping it ends the process that holds it; what is on it is gone then.
pub struct SmallDisk {
    holder: Process,
    place: TempDir,
}

impl SmallDisk {
    /// One of so many mebibytes.
    ///
    /// # Panics
    /// If the machine lets nobody have a namespace.
    pub fn new(mebibytes: u32) -> Self {
        let place = tempfile::tempdir().expect("a temporary directory");
        let script =
            format!("mount -t tmpfs -o size={mebibytes}m none \"$0\" && echo mounted && exec cat");
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
        let holder = Process::spawn_with_open_input("unshare", command.arg(place.path()));
        holder.wait_for_line("mounted", PATIENCE);
        Self { holder, place }
    }

    /// Where it is for whoever was started inside.
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// Where it is for everybody else.
    ///
    /// # Panics
    /// Never: its path is absolute.
    pub fn outside(&self) -> PathBuf {
        let path = self.path().strip_prefix("/").expect("an absolute path");
        let root = format!("/proc/{}/root", self.holder.pid());
        Path::new(&root).join(path)
    }

    /// What to put before a command so that it runs inside, from where it is started.
    pub fn inside(&self) -> Vec<OsString> {
        let target = self.holder.pid().to_string();
        let words = ["nsenter", "--target", &target, "--user", "--mount"];
        let words = words
            .into_iter()
            .chain(["--preserve-credentials", "--wd=."]);
        words.map(OsString::from).collect()
    }

    /// Takes all the room that there is.
    ///
    /// # Panics
    /// If that cannot be tried.
    pub fn fill(&self) {
        let ballast = File::options()
            .append(true)
            .create(true)
            .open(self.ballast());
        let mut ballast = ballast.expect("a file for the ballast");
        let mut bytes = PIECE_BYTES;
        while bytes > 0 {
            if ballast.write_all(&vec![0xff; bytes]).is_err() {
                bytes /= 2;
            }
        }
    }

    /// Gives the room back.
    ///
    /// # Panics
    /// If it was not taken.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).expect("ballast to remove");
    }

    fn ballast(&self) -> PathBuf {
        self.outside().join(BALLAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_inside_finds_the_disk_full_until_it_is_freed() {
        let disk = SmallDisk::new(2);
        let write = || {
            let words = disk.inside();
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]).args(["sh", "-c"]);
            command.arg("echo something >\"$0\"/file").arg(disk.path());
            Process::spawn("sh", &mut command)
                .wait_exit(PATIENCE)
                .success()
        };
        assert!(write());
        assert_eq!(
            fs::read_to_string(disk.outside().join("file")).unwrap(),
            "something\n"
        );
        fs::remove_file(disk.outside().join("file")).unwrap();
        disk.fill();
        assert!(!write());
        disk.free();
        assert!(write());
        assert!(!disk.path().join("file").exists(), "seen from inside alone");
    }
}
