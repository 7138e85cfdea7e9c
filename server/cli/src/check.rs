//! `fusebox check`: would these files be taken, and are they what was meant?
//!
//! It runs what a server runs, over a store of its own in memory that holds nothing but the files'
//! policies, so that the same words are said before the merge as after it. It opens no connection.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use fusebox_server::control::{Control, Intent, Update};
use fusebox_server::store::{Retention, memory};

use crate::Failure;
use crate::files::{Entry, Files, Finding, Set, counted, tell};

/// What to check, and how strictly.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    files: Files,
    /// Take warnings for errors
    #[arg(long)]
    strict: bool,
}

/// Says all that is wrong and odd; succeeds if nothing is wrong.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let set = args.files.read()?;
    set.refuse_empty()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let (errors, warnings) = runtime.block_on(judged(&set))?;
    if !errors.is_empty() {
        return Err(Failure::told(tell(&errors)));
    }
    for warning in &warnings {
        let Finding { at, field, message } = warning;
        eprintln!("{at}: {field}: warning: {message}");
    }
    let (policies, files) = (set.entries.len(), set.files);
    let read = format!("{} in {}", many_policies(policies), counted(files, "file"));
    let odd = counted(warnings.len(), "warning");
    if args.strict && !warnings.is_empty() {
        return Err(Failure::told(format!(
            "{read}: {odd}, and --strict takes none"
        )));
    }
    // Nobody has to read it.
    writeln!(io::stdout(), "{read}: good, {odd}").ok();
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn many_policies(number: usize) -> String {
    match number {
        1 => "1 policy".to_owned(),
        number => format!("{number} policies"),
    }
}

/// What a server that holds these policies alone would refuse, and what it would warn of.
async fn judged(set: &Set) -> Result<(Vec<Finding>, Vec<Finding>), Failure> {
    let store = memory::open(Arc::new(SystemTime::now), Retention::default())?;
    let control = Control::new(store);
    let mut errors = Vec::new();
    // First all, so that each is then seen among all others.
    for entry in &set.entries {
        errors.extend(put(&control, entry, false).await.err());
    }
    if !errors.is_empty() {
        return Ok((errors, Vec::new()));
    }
    let mut warnings = Vec::new();
    for entry in &set.entries {
        match put(&control, entry, true).await {
            Ok(found) => warnings.extend(found),
            Err(error) => errors.push(error),
        }
    }
    Ok((errors, warnings))
}

async fn put(
    control: &Control,
    entry: &Entry,
    validate_only: bool,
) -> Result<Vec<Finding>, Finding> {
    let Entry { policy, index, .. } = entry;
    let update = Update {
        id: policy.id().clone(),
        etag: None,
        allow_missing: true,
        make: &|_| Ok(policy.clone()),
    };
    let intent = Intent {
        author: String::new(),
        source: String::new(),
        validate_only,
    };
    let written = control.update(update, intent).await;
    let written = written.map_err(|error| {
        let at = index.place("").clone();
        Finding::new(at, "", error.to_string())
    })?;
    let warnings = written.warnings.into_iter().map(|warning| {
        let at = index.place(&warning.field).clone();
        Finding::new(at, warning.field, warning.description)
    });
    Ok(warnings.collect())
}
