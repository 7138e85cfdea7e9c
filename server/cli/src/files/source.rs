//! Which files a path means, and what is in them.
//!
//! A directory means its `*.yaml`, `*.yml` and `*.json`, in large letters or small ones, with those of the directories in it, in the
//! order of their names; what is hidden is passed over, links are followed. Invariant: no file is
//! read twice, however many ways lead to it, so that a loop of links ends.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::finding::{Finding, Place};
use super::yaml::MAX_BYTES;

/// Most files read at once.
const MAX_FILES: usize = 10_000;
/// Deepest directory below one that was named.
const MAX_DEPTH: usize = 32;
/// The name of standard input.
const STDIN: &str = "-";

/// A file, read.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) file: Arc<str>,
    pub(super) bytes: Vec<u8>,
}

/// What was found where paths lead.
#[derive(Debug)]
pub(super) struct Found {
    /// Everything that the paths mean.
    pub(super) sources: Vec<Source>,
    /// One for each that cannot be read.
    pub(super) findings: Vec<Finding>,
    /// What is in the directories, is not hidden and was not read, because of its name or kind.
    pub(super) skipped: Vec<Arc<str>>,
}

/// Follows the paths.
pub(super) fn read(paths: &[PathBuf]) -> Found {
    let mut search = Search::default();
    for path in paths {
        search.named(path);
    }
    let is_unread = |path: &PathBuf| {
        let real = fs::canonicalize(path);
        real.map_or(true, |real| !search.seen.contains(&real))
    };
    let skipped = search.skipped.iter().filter(|path| is_unread(path));
    Found {
        skipped: skipped.map(|path| shown(path)).collect(),
        sources: search.sources,
        findings: search.findings,
    }
}

/// One file, or standard input; why not, if it cannot be read.
pub(super) fn file(path: &Path) -> Result<Source, Finding> {
    let mut search = Search::default();
    if path.is_dir() {
        search.refuse(path, "it is a directory");
    } else {
        search.named(path);
    }
    match search.sources.pop() {
        Some(source) => Ok(source),
        None => Err(search.findings.swap_remove(0)),
    }
}

#[derive(Default)]
struct Search {
    seen: BTreeSet<PathBuf>,
    sources: Vec<Source>,
    findings: Vec<Finding>,
    skipped: Vec<PathBuf>,
}

impl Search {
    /// What stands on the command line: it must be there, and is read whatever its name.
    fn named(&mut self, path: &Path) {
        if path == Path::new(STDIN) {
            self.stdin();
        } else {
            self.any(path, 0);
        }
    }

    fn stdin(&mut self) {
        if self.seen.insert(STDIN.into()) {
            let bytes = bounded(io::stdin().lock());
            self.keep("(stdin)".into(), bytes);
        }
    }

    fn any(&mut self, path: &Path, depth: usize) {
        let found = fs::canonicalize(path).and_then(|real| Ok((fs::metadata(path)?, real)));
        match found {
            Ok((metadata, real)) => {
                if !self.seen.insert(real) {
                    return;
                }
                if metadata.is_dir() {
                    self.directory(path, depth);
                } else {
                    self.keep(shown(path), File::open(path).and_then(bounded));
                }
            }
            Err(error) => self.refuse(path, &error.to_string()),
        }
    }

    fn directory(&mut self, path: &Path, depth: usize) {
        if depth == MAX_DEPTH {
            let reason = format!("is deeper than {MAX_DEPTH} directories; name it by itself");
            return self.refuse(path, &reason);
        }
        let entries = match listed(path) {
            Ok(entries) => entries,
            Err(error) => return self.refuse(path, &error.to_string()),
        };
        for path in entries.iter().map(fs::DirEntry::path) {
            // What a link means decides; one that leads nowhere is told only if it looks like ours.
            let metadata = fs::metadata(&path).ok();
            let is_directory = metadata.as_ref().is_some_and(fs::Metadata::is_dir);
            let is_other = metadata.is_some_and(|metadata| !metadata.is_file());
            if is_directory || (is_policy_file(&path) && !is_other) {
                self.any(&path, depth + 1);
            } else {
                self.skipped.push(path);
            }
        }
    }

    fn keep(&mut self, file: Arc<str>, bytes: io::Result<Vec<u8>>) {
        match bytes {
            Ok(_) if self.sources.len() == MAX_FILES => {
                let message = format!("is one more than the {MAX_FILES} files that are read");
                self.findings
                    .push(Finding::new(Place::whole(&file), "", message));
            }
            Ok(bytes) => self.sources.push(Source { file, bytes }),
            Err(error) => self.refuse(Path::new(&*file), &error.to_string()),
        }
    }

    fn refuse(&mut self, path: &Path, reason: &str) {
        let message = format!("cannot be read: {reason}");
        let at = Place::whole(&shown(path));
        self.findings.push(Finding::new(at, "", message));
    }
}

/// What is in a directory and not hidden, in the order of the names.
pub(super) fn listed(directory: &Path) -> io::Result<Vec<fs::DirEntry>> {
    let entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    let hidden = |name: &OsStr| name.as_encoded_bytes().starts_with(b".");
    let mut shown: Vec<_> = entries
        .into_iter()
        .filter(|entry| !hidden(&entry.file_name()))
        .collect();
    shown.sort_by_key(fs::DirEntry::file_name);
    Ok(shown)
}

/// By its name, in large letters or small ones.
pub(super) fn is_policy_file(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    let known = ["yaml", "yml", "json"];
    known
        .iter()
        .any(|known| extension.eq_ignore_ascii_case(known))
}

/// One byte more than may be read tells that there is more.
fn bounded(input: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn shown(path: &Path) -> Arc<str> {
    path.display()
        .to_string()
        .replace(char::is_control, "?")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn names(root: &Path, paths: &[&str]) -> (Vec<String>, Vec<String>) {
        let paths: Vec<_> = paths.iter().map(|path| root.join(path)).collect();
        let Found {
            sources, findings, ..
        } = read(&paths);
        let relative = |text: String| text.replace(&format!("{}/", root.display()), "");
        let files = sources
            .iter()
            .map(|source| relative(source.file.to_string()));
        let found = findings.iter().map(|finding| relative(finding.to_string()));
        (files.collect(), found.collect())
    }

    #[test]
    fn a_directory_means_its_policy_files_in_the_order_of_their_names() {
        let root = tempfile::tempdir().unwrap();
        for name in [
            "b.yaml",
            "a/z.json",
            "a/k.yml",
            ".git/x.yaml",
            ".x.yaml",
            "README.md",
        ] {
            put(root.path(), name, "");
        }
        let (files, findings) = names(root.path(), &[""]);
        assert_eq!(files, ["a/k.yml", "a/z.json", "b.yaml"]);
        assert_eq!(findings, [""; 0]);
    }

    #[test]
    fn a_file_is_read_once_however_many_ways_lead_to_it() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "a/one.yaml", "");
        let link = std::os::unix::fs::symlink::<&Path, PathBuf>;
        link(root.path(), root.path().join("a/loop")).unwrap();
        link(
            &root.path().join("a/one.yaml"),
            root.path().join("two.yaml"),
        )
        .unwrap();
        let (files, findings) = names(root.path(), &["", "a", "a/one.yaml"]);
        assert_eq!(files, ["a/one.yaml"]);
        assert_eq!(findings, [""; 0]);
    }

    #[test]
    fn what_is_not_there_is_told_with_the_rest() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "a.yaml", "");
        let nowhere = root.path().join("nowhere.yaml");
        std::os::unix::fs::symlink("gone", &nowhere).unwrap();
        let (files, findings) = names(root.path(), &["missing", ""]);
        assert_eq!(files, ["a.yaml"]);
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].starts_with("missing: cannot be read: "));
        assert!(findings[1].starts_with("nowhere.yaml: cannot be read: "));
    }

    #[test]
    fn a_file_that_is_named_is_read_whatever_its_name() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), ".hidden", "x");
        assert_eq!(names(root.path(), &[".hidden"]).0, [".hidden"]);
    }
}
