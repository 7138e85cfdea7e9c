//! A directory of files, and the program `fusebox` run in it, as a person or a pipeline does.

#![allow(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "it may panic as tests do"
)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::lines::Stream;
use crate::process::{Process, hermetic};
use crate::tools;

const LONG: Duration = Duration::from_secs(60);

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ended {
    /// What it printed, having succeeded.
    pub fn assert_good(self) -> String {
        assert_eq!(self.status, 0, "{}", self.err);
        self.out
    }

    /// The lines on standard error; there is nothing on the other.
    pub fn assert_refused(&self, status: i32) -> Vec<&str> {
        assert_eq!(
            (self.status, self.out.as_str()),
            (status, ""),
            "{}",
            self.err
        );
        self.err.lines().collect()
    }
}

/// A directory to work in, with files in it.
pub struct Home(TempDir);

impl Home {
    /// It, with files in it.
    pub fn new(files: &[(&str, &str)]) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            home.put(name, text.as_bytes());
        }
        home
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, and the directories that it needs.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// The text of a file.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Runs the program in it.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(arguments, "")
    }

    /// The same with something on standard input.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Ended {
        let mut command = Command::new(tools::fusebox());
        hermetic(&mut command).args(arguments).current_dir(&self.0);
        let mut process = Process::spawn_with_input("fusebox", &mut command, input.into());
        let status = process.wait_exit(LONG);
        let lines = process.lines();
        Ended {
            status: status.code().unwrap_or_else(|| panic!("{status}")),
            out: lines.text(Stream::Out),
            err: lines.text(Stream::Err),
        }
    }
}
