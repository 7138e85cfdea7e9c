//! `fusebox apply`: makes the server's policies what the files say, in one write.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser as NonEmpty;
use fusebox_proto::json::{self, InvalidJson};
use fusebox_proto::v1;

use crate::Failure;
use crate::files::{Files, Set};
use crate::print::{Printer, say, warn};
use crate::remote::{Author, Call, Remote};
use crate::wait::{self, Deadline};

/// What to apply, where and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// Check and show everything, change nothing
    #[arg(long)]
    dry_run: bool,
    /// Then wait until all processes enforce it: exit status 1 if not in time, 30s unless said
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "30s",
        conflicts_with = "dry_run"
    )]
    wait: Option<Deadline>,
}

/// A state of policies that is wanted, and how the difference is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Wanted {
    #[command(flatten)]
    files: Files,
    /// Also delete the policies of --owner that the files do not have
    #[arg(long, requires = "owner")]
    prune: bool,
    /// Whose policies are pruned; each policy of the files must be of this owner
    #[arg(long, value_name = "OWNER", requires = "prune", value_parser = NonEmpty::new())]
    owner: Option<String>,
    /// Prune in this namespace alone
    #[arg(long, value_name = "NS", requires = "prune", value_parser = NonEmpty::new())]
    namespace: Option<String>,
    /// Accept files without any policy; with --prune, delete all that --owner has
    #[arg(long)]
    allow_empty: bool,
    /// How the difference is told
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Output,
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    author: Author,
}

/// How an answer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// The response in its JSON form
    Json,
}

/// Applies, and says what has changed.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let response = args.wanted.applied(args.dry_run)?;
    let Some(deadline) = args.wait else {
        return Ok(ExitCode::SUCCESS);
    };
    // One document is one document.
    let tell = match args.wanted.output {
        Output::Text => say,
        Output::Json => warn,
    };
    wait::for_all(&args.wanted.remote, response.revision, deadline, tell)
}

impl Wanted {
    /// Asks the server for it, tells what it answers, and gives that.
    pub(crate) fn applied(
        &self,
        validate_only: bool,
    ) -> Result<v1::ApplyPoliciesResponse, Failure> {
        let set = self.files.read()?;
        self.refuse_empty(&set)?;
        if self.prune {
            set.warn_of_skipped();
        }
        let request = self.author.sign(set.ask(self.request(validate_only))?)?;
        let call = if validate_only {
            Call::Question
        } else {
            Call::Write
        };
        let response = self.remote.run(async |mut client| {
            let response = client.apply_policies(request).await;
            let locate = |field: &str, message: &str| set.finding(field, message);
            Ok(response
                .map_err(|status| call.failed(&status, locate))?
                .into_inner())
        })?;
        self.tell(&response, validate_only);
        Ok(response)
    }

    /// No policy at all means to delete what there is, or nothing, or more often a wrong path.
    fn refuse_empty(&self, set: &Set) -> Result<(), Failure> {
        match &self.owner {
            _ if self.allow_empty => Ok(()),
            Some(owner) if set.entries.is_empty() => Err(Failure::told(format!(
                "no policy in {}, so that everything of owner {owner:?} would be deleted; if that \
                 is meant, say --allow-empty",
                set.whence()
            ))),
            _ => set.refuse_empty(),
        }
    }

    /// But for the policies.
    fn request(&self, validate_only: bool) -> v1::ApplyPoliciesRequest {
        v1::ApplyPoliciesRequest {
            policies: Vec::new(),
            prune: self.prune,
            owner: self.owner.clone().unwrap_or_default(),
            namespace: self.namespace.clone().unwrap_or_default(),
            allow_empty: self.allow_empty,
            validate_only,
        }
    }

    /// What is done is done, and what differs differs, whether or not it can be printed.
    fn tell(&self, response: &v1::ApplyPoliciesResponse, validate_only: bool) {
        let text = self.text(response, validate_only).map_err(io::Error::other);
        let printed = text.and_then(|text| {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()
        });
        match printed {
            // Whoever closed the pipe had read enough.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => warn(&format!(
                "warning: the server's answer is not on standard output: {error}"
            )),
            _ => {}
        }
    }

    fn text(
        &self,
        response: &v1::ApplyPoliciesResponse,
        validate_only: bool,
    ) -> Result<String, InvalidJson> {
        Ok(match self.output {
            Output::Json => json::to_text(response)? + "\n",
            Output::Text => Printer::for_stdout().response(response, validate_only),
        })
    }
}
