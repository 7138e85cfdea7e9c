//! A directory with a file for each policy, `<namespace>/<name>.yaml`.
//!
//! Invariants: a file is there whole or as it was before; nothing is written but under names that
//! are a policy's own, and through no link; what is there besides is left alone.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fusebox_core::key::PolicyId;
use fusebox_proto::json::InvalidJson;
use fusebox_proto::v1;

use super::source::{is_policy_file, listed};
use super::write::Format;

/// As for any other file; the process's mask takes from it.
const MODE: u32 = 0o666;

/// Why policies could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// A name that must not become a path.
    #[error("policy {0:?}/{1:?} has a name that makes no file: {2}")]
    Name(String, String, String),
    /// Something else stands there.
    #[error("{0}: is {1}; nothing is written through it, choose another --to")]
    Occupied(PathBuf, &'static str),
    /// The policy has no text.
    #[error(transparent)]
    Text(#[from] InvalidJson),
    /// The system refused.
    #[error("{0}: cannot be read or written: {1}")]
    Io(PathBuf, io::Error),
}

/// The directory, and the form of its files.
pub(crate) struct Folder<'a> {
    root: &'a Path,
    format: Format,
}

/// What came of writing.
pub(crate) struct Written {
    /// Files that are not what they were.
    pub(crate) changed: usize,
    /// Files of policies that these policies have not written.
    pub(crate) others: Vec<PathBuf>,
}

impl<'a> Folder<'a> {
    pub(crate) fn new(root: &'a Path, format: Format) -> Self {
        Self { root, format }
    }

    /// Writes each policy, in YAML behind its head if it has one. All names and texts are made
    /// before the first is written.
    pub(crate) fn write(
        &self,
        policies: &[v1::Policy],
        heads: &[String],
    ) -> Result<Written, WriteError> {
        let mut texts = Vec::with_capacity(policies.len());
        for (number, policy) in policies.iter().enumerate() {
            let head = heads.get(number).filter(|_| self.format == Format::Yaml);
            let head = head.map_or("", String::as_str);
            let text = format!("{head}{}", self.format.one(policy)?);
            texts.push((self.path(policy)?, text));
        }
        let mut changed = 0;
        for (path, text) in &texts {
            changed += usize::from(put(path, text)?);
        }
        let written = texts.into_iter().map(|(path, _)| path).collect();
        let mut others = Vec::new();
        find_others(self.root, &written, &mut others)?;
        Ok(Written { changed, others })
    }

    /// Where a policy's file stands. A legal name is no `..`, hides nothing and has no separator.
    fn path(&self, policy: &v1::Policy) -> Result<PathBuf, WriteError> {
        let (namespace, name) = (&policy.namespace, &policy.name);
        let namespace = if namespace.is_empty() {
            "default"
        } else {
            namespace
        };
        let id = PolicyId::new(namespace, name).map_err(|error| {
            WriteError::Name(namespace.to_owned(), name.clone(), error.to_string())
        })?;
        let directory = self.root.join(id.namespace.as_str());
        Ok(directory.join(format!("{}.{}", id.name, self.format.extension())))
    }
}

/// Whether the file had to be written, which is done beside it first.
fn put(path: &Path, text: &str) -> Result<bool, WriteError> {
    let failed = |error| WriteError::Io(path.to_owned(), error);
    let occupied = |path: &Path, by| Err(WriteError::Occupied(path.to_owned(), by));
    let directory = path.parent().unwrap_or(path);
    fs::create_dir_all(directory).map_err(failed)?;
    if is_link(directory) {
        return occupied(directory, "a link");
    }
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => return occupied(path, "a link"),
        Ok(metadata) if !metadata.is_file() => return occupied(path, "not a file"),
        Ok(_) if fs::read(path).map_err(failed)? == text.as_bytes() => return Ok(false),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let mut file = tempfile::Builder::new();
    let file = file
        .permissions(Permissions::from_mode(MODE))
        .tempfile_in(directory);
    let mut file = file.map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(true)
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}

/// What `fusebox apply` would read here besides; links are not followed.
fn find_others(
    directory: &Path,
    written: &BTreeSet<PathBuf>,
    others: &mut Vec<PathBuf>,
) -> Result<(), WriteError> {
    let failed = |error| WriteError::Io(directory.to_owned(), error);
    let entries = match listed(directory) {
        Ok(entries) => entries,
        // Nothing was written, and nothing is there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let path = entry.path();
        if entry.file_type().map_err(failed)?.is_dir() {
            find_others(&path, written, others)?;
        } else if is_policy_file(&path) && !written.contains(&path) {
            others.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(namespace: &str, name: &str) -> v1::Policy {
        v1::Policy {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..v1::Policy::default()
        }
    }

    fn write(root: &Path, policies: &[v1::Policy]) -> Result<Written, WriteError> {
        let heads = vec!["# head\n".to_owned(); policies.len()];
        Folder::new(root, Format::Yaml).write(policies, &heads)
    }

    #[test]
    fn each_policy_has_a_file_that_is_written_only_if_it_is_another() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().join("new/dir");
        let policies = [policy("", "a"), policy("eu", "b.c")];
        assert_eq!(write(&root, &policies).unwrap().changed, 2);
        let text = fs::read_to_string(root.join("eu/b.c.yaml")).unwrap();
        assert_eq!(text, "# head\nnamespace: eu\nname: b.c\n");
        assert!(root.join("default/a.yaml").is_file());
        assert_eq!(write(&root, &policies).unwrap().changed, 0);
        fs::write(root.join("eu/b.c.yaml"), "other").unwrap();
        assert_eq!(write(&root, &policies).unwrap().changed, 1);
    }

    #[test]
    fn what_is_there_besides_is_left_alone_and_told() {
        let root = tempfile::tempdir().unwrap();
        let old = root.path().join("default/old.yaml");
        fs::create_dir_all(old.parent().unwrap()).unwrap();
        fs::write(&old, "x").unwrap();
        fs::write(root.path().join("README.md"), "x").unwrap();
        let written = write(root.path(), &[policy("", "a")]).unwrap();
        assert_eq!(written.others, std::slice::from_ref(&old));
        assert_eq!(fs::read_to_string(old).unwrap(), "x");
    }

    #[test]
    fn a_name_that_would_lead_elsewhere_is_refused_before_anything_is_written() {
        let root = tempfile::tempdir().unwrap();
        for (namespace, name) in [
            ("..", "a"),
            ("a", "../b"),
            ("a", ""),
            ("a", ".hidden"),
            ("a/b", "c"),
        ] {
            let policies = [policy("", "good"), policy(namespace, name)];
            let error = write(root.path(), &policies).err().unwrap();
            assert!(matches!(error, WriteError::Name(..)), "{error}");
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(elsewhere.path(), root.path().join("eu")).unwrap();
        let error = write(root.path(), &[policy("eu", "a")]).err().unwrap();
        assert!(error.to_string().contains("is a link"), "{error}");
        fs::create_dir(root.path().join("us")).unwrap();
        let victim = elsewhere.path().join("victim");
        fs::write(&victim, "x").unwrap();
        std::os::unix::fs::symlink(&victim, root.path().join("us/a.yaml")).unwrap();
        let error = write(root.path(), &[policy("us", "a")]).err().unwrap();
        assert!(error.to_string().contains("is a link"), "{error}");
        assert_eq!(fs::read_to_string(victim).unwrap(), "x");
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
    }
}
