//! `fusebox check`: would these files be taken, and are they what was meant?
//!
//! It is an `ApplyPolicies` that only validates, in this process and over an empty store, so that the
//! same words are said before the merge as after it. It opens no connection.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use fusebox_core::policy::Violations;
use fusebox_proto::v1;
use fusebox_server::control::{self, Applied, Control, ControlError, Intent, Warning};
use fusebox_server::store::{Retention, memory};

use crate::Failure;
use crate::files::{Entry, Files, Finding, Set, counted, tell};
use crate::print::say;

/// What to check, and how strictly.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    files: Files,
    /// Take warnings for errors
    #[arg(long)]
    strict: bool,
}

type Errors = Vec<Finding>;
type Warnings = Vec<Finding>;

/// Says all that is wrong and odd; succeeds if nothing is wrong.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let set = args.files.read()?;
    set.refuse_empty()?;
    set.ask(v1::ApplyPoliciesRequest::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let warnings = runtime.block_on(judged(&set))?;
    let warnings = warnings.map_err(|errors| Failure::told(tell(&errors)))?;
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
    say(&format!("{read}: good, {odd}"));
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn many_policies(number: usize) -> String {
    match number {
        1 => "1 policy".to_owned(),
        number => format!("{number} policies"),
    }
}

/// What a server that holds these policies alone would say to them as one set.
async fn judged(set: &Set) -> Result<Result<Warnings, Errors>, Failure> {
    let store = memory::open(Arc::new(SystemTime::now), Retention::default())?;
    let mut found = Violations::none();
    let Some(asked) = control::Set::new(&mut found, set.asked(), None) else {
        return Ok(Err(located(set, &found)));
    };
    let intent = Intent {
        author: String::new(),
        source: String::new(),
        validate_only: true,
    };
    match Control::new(store).apply(&asked, intent).await {
        Ok(applied) => Ok(Ok(warnings(set, &applied))),
        Err(ControlError::Invalid(found)) => Ok(Err(located(set, &found))),
        Err(error) => Err(error.into()),
    }
}

fn located(set: &Set, found: &Violations) -> Errors {
    found.iter().map(|found| set.violation(found)).collect()
}

/// A set's answer has its policies in their order.
fn warnings(set: &Set, applied: &Applied) -> Warnings {
    let told = set.entries.iter().zip(&applied.diffs);
    let told = told.flat_map(|(Entry { index, .. }, diff)| {
        diff.warnings.iter().map(|Warning { field, description }| {
            Finding::new(index.place(field).clone(), field, description)
        })
    });
    told.collect()
}
