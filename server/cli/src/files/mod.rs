//! Policies kept in files: read whole or refused whole, every mistake told with its line.

mod finding;
mod folder;
mod policy;
mod source;
mod value;
mod write;
mod yaml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fusebox_core::policy::Violation;
use fusebox_proto::v1;
use fusebox_server::control::{Asked, MAX_SET};
use fusebox_server::rpc::POLICY_RECEIVE_BYTES;
use prost::Message;

use crate::Failure;
use crate::print::warn;

pub(crate) use finding::{Finding, Place, below, shown};
pub(crate) use folder::Folder;
pub(crate) use policy::Entry;
pub(crate) use value::camel_case;
pub(crate) use write::{Format, authored};
pub(crate) use yaml::{At, Is, Node, Word};

use policy::{Draft, of_document};
use source::Source;
use yaml::documents;

/// Where policies are read from.
#[derive(Debug, clap::Args)]
pub(crate) struct Files {
    /// A file of policies in YAML or JSON, a directory of such files, or - for standard input
    #[arg(short = 'f', long = "file", value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
}

/// The policies of all files, each legal and defined once.
#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) entries: Vec<Entry>,
    /// Files read, those without a policy, too.
    pub(crate) files: usize,
    /// What was passed over in directories though it is not hidden.
    skipped: Vec<Arc<str>>,
}

impl Files {
    /// All of them, or everything that is wrong with any, each told
    /// in a line of its own before.
    pub(crate) fn read(&self) -> Result<Set, Failure> {
        self.legal()
            .map_err(|findings| Failure::told(tell(&findings)))
    }

    fn legal(&self) -> Result<Set, Vec<Finding>> {
        let found = source::read(&self.paths);
        let (sources, mut findings) = (found.sources, found.findings);
        let mut drafts = Vec::new();
        for source in &sources {
            drafts.extend(read(source, &mut findings));
        }
        findings.extend(doubles(&drafts));
        let order = |file: &Arc<str>| sources.iter().position(|source| source.file == *file);
        findings.sort_by_cached_key(|finding| {
            let Place { file, line, column } = &finding.at;
            (order(file), *line, *column)
        });
        if findings.is_empty() {
            let files = sources.len();
            let entries = drafts.into_iter().filter_map(Draft::legal).collect();
            let skipped = found.skipped;
            return Ok(Set {
                entries,
                files,
                skipped,
            });
        }
        Err(findings)
    }
}

impl Set {
    /// Files without a policy are more often a wrong path than a wish.
    pub(crate) fn refuse_empty(&self) -> Result<(), Failure> {
        if self.entries.is_empty() {
            let line = "name files or directories that have some";
            return Err(Failure::told(format!(
                "no policy in {}; {line}",
                self.whence()
            )));
        }
        Ok(())
    }

    /// What was read, for an error.
    pub(crate) fn whence(&self) -> String {
        match self.files {
            0 => "0 files (of a directory, *.yaml, *.yml and *.json are read)".to_owned(),
            files => counted(files, "file"),
        }
    }

    /// Names what was passed over, for a write that deletes whatever it does not have.
    pub(crate) fn warn_of_skipped(&self) {
        for file in self.skipped.iter().take(MAX_SKIPPED_TOLD) {
            warn(&format!(
                "{file}: warning: is not read, and what it holds may be pruned: it is no file *.yaml, \
                 *.yml or *.json"
            ));
        }
        if let Some(more) = more_than(MAX_SKIPPED_TOLD, self.skipped.len()) {
            warn(&more);
        }
    }

    /// The request with these policies, if a server takes one so large.
    pub(crate) fn ask(
        &self,
        request: v1::ApplyPoliciesRequest,
    ) -> Result<v1::ApplyPoliciesRequest, Failure> {
        let policies = self.entries.iter().map(|entry| entry.wire.clone());
        let request = v1::ApplyPoliciesRequest {
            policies: policies.collect(),
            ..request
        };
        let (policies, bytes) = (request.policies.len(), request.encoded_len());
        if policies <= MAX_SET && bytes <= POLICY_RECEIVE_BYTES {
            return Ok(request);
        }
        Err(Failure::told(format!(
            "{policies} policies of {bytes} bytes are too many for one write, which takes \
             {MAX_SET} of {POLICY_RECEIVE_BYTES} bytes; apply them in parts"
        )))
    }

    /// As they are judged, but for the etags: only a server knows whether those still hold.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        let entries = self.entries.iter().enumerate();
        let asked = entries.map(|(index, entry)| Asked {
            index,
            policy: entry.policy.clone(),
            etag: None,
        });
        asked.collect()
    }

    /// What a server says of a field of its request, at the place of that field in a file; `None`
    /// if it is about none of these policies.
    pub(crate) fn finding(&self, field: &str, message: &str) -> Option<Finding> {
        let (entry, field) = self.entry_of(field)?;
        let at = entry.index.place(field).clone();
        Some(Finding::new(at, field, message))
    }

    /// The same of what was found here, with what is written there.
    pub(crate) fn violation(&self, found: &Violation) -> Finding {
        let Some((entry, field)) = self.entry_of(&found.field) else {
            let at = Place::whole(&"request".into());
            return Finding::new(at, &found.field, found.describe(&found.value));
        };
        let found = Violation {
            field: field.to_owned(),
            ..found.clone()
        };
        policy::semantic(&entry.index, &found)
    }

    /// The policy that a path from the request on leads into, and the rest of the path.
    fn entry_of<'f>(&self, field: &'f str) -> Option<(&Entry, &'f str)> {
        let (number, rest) = field.strip_prefix("policies[")?.split_once(']')?;
        let entry = self.entries.get(number.parse::<usize>().ok()?)?;
        Some((entry, rest.strip_prefix('.').unwrap_or(rest)))
    }
}

/// The policies of one file, what is wrong in the order of its lines.
fn read(source: &Source, findings: &mut Vec<Finding>) -> Vec<Draft> {
    let Source { file, bytes } = source;
    let (documents, problems) = documents(bytes);
    let problems = problems.into_iter();
    let mut found: Vec<_> = problems.map(|problem| told(file, problem)).collect();
    let drafts = documents
        .iter()
        .flat_map(|document| of_document(file, document, &mut found))
        .collect();
    found.sort_by(|a, b| a.at.cmp(&b.at));
    findings.extend(found);
    drafts
}

/// The one document of a file that is no policy, with the file's name.
pub(crate) fn tree(path: &Path) -> Result<(Arc<str>, Node), Failure> {
    let refused = |findings: &[Finding]| Failure::told(tell(findings));
    let source = source::file(path).map_err(|finding| refused(&[finding]))?;
    let file = source.file;
    let (mut documents, problems) = documents(&source.bytes);
    if !problems.is_empty() {
        let findings: Vec<_> = problems
            .into_iter()
            .map(|found| told(&file, found))
            .collect();
        return Err(refused(&findings));
    }
    match (documents.pop(), documents.pop()) {
        (Some(document), None) => Ok((file, document)),
        _ => {
            let message = "must hold one document";
            Err(refused(&[Finding::new(Place::whole(&file), "", message)]))
        }
    }
}

fn told(file: &Arc<str>, problem: yaml::Problem) -> Finding {
    let at = Place::new(file, problem.at.line, problem.at.column);
    Finding::new(at, "", problem.message)
}

/// A finding for each policy that is defined once more, be it legal or not.
fn doubles(drafts: &[Draft]) -> Vec<Finding> {
    let mut first: BTreeMap<(&str, &str), &Place> = BTreeMap::new();
    let mut findings = Vec::new();
    for draft in drafts.iter().filter(|draft| !draft.wire.name.is_empty()) {
        let ((namespace, name), at) = (draft.id(), draft.index.place("name"));
        if let Some(first) = first.get(&(namespace, name)) {
            let message = format!("policy {namespace}/{name} is defined already at {first}");
            findings.push(Finding::new(at.clone(), "name", message));
            continue;
        }
        first.insert((namespace, name), at);
    }
    findings
}

/// Most findings told; whoever has more has made one mistake many times.
const MAX_TOLD: usize = 1000;
/// Most files named that were passed over; a directory of other things is no mistake.
const MAX_SKIPPED_TOLD: usize = 20;

/// Everything that is wrong, a line each, and how many these are.
pub(crate) fn tell(findings: &[Finding]) -> String {
    for finding in findings.iter().take(MAX_TOLD) {
        eprintln!("{finding}");
    }
    if let Some(more) = more_than(MAX_TOLD, findings.len()) {
        eprintln!("{more}");
    }
    let files: std::collections::BTreeSet<&Arc<str>> =
        findings.iter().map(|finding| &finding.at.file).collect();
    format!(
        "{} in {}",
        counted(findings.len(), "error"),
        counted(files.len(), "file")
    )
}

/// How many are not told, if more than so many are there.
fn more_than(told: usize, number: usize) -> Option<String> {
    let more = number.checked_sub(told).filter(|more| *more > 0)?;
    Some(format!("and {more} more"))
}

/// "1 error", "2 errors".
pub(crate) fn counted(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    }
}

#[cfg(test)]
fn policies_of(text: &str) -> Vec<v1::Policy> {
    let source = Source {
        file: "test".into(),
        bytes: text.into(),
    };
    let mut findings = Vec::new();
    let drafts = read(&source, &mut findings);
    assert!(
        findings.iter().all(|finding| !finding.field.is_empty()),
        "{findings:?}"
    );
    drafts.into_iter().map(|draft| draft.wire).collect()
}

#[cfg(test)]
pub(crate) fn tree_of(text: &str) -> (Arc<str>, Node) {
    let (mut documents, problems) = documents(text.as_bytes());
    assert_eq!(problems, [], "{text}");
    ("test".into(), documents.remove(0))
}
