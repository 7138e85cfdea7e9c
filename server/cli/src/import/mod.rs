//! `fusebox import`: policies from what another system was configured with.
//!
//! Nothing is lost in silence: each key of the input is translated, approximated or has no
//! counterpart, and of the last two every single one is told, on standard error and at the head of
//! the YAML that it led to.

mod report;
mod service_config;
mod slug;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser as NonEmpty;

use crate::Failure;
use crate::check::many_policies;
use crate::export::{Heads, Target};
use crate::files::{self, tell};

use report::Fate;
use service_config::Wish;

/// What to import.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, clap::Subcommand)]
enum From {
    /// A gRPC service config in JSON, alone or in the list that resolvers hand out.
    GrpcServiceConfig(ServiceConfig),
}

#[derive(Debug, clap::Args)]
struct ServiceConfig {
    /// The file, or - for standard input
    file: PathBuf,
    /// The service whose calls the policies concern; all if it is not given
    #[arg(long, value_name = "NAME", value_parser = NonEmpty::new())]
    service: Option<String>,
    /// The namespace of the policies
    #[arg(long, value_name = "NS", value_parser = NonEmpty::new())]
    namespace: Option<String>,
    /// The owner of the policies
    #[arg(long, value_name = "OWNER", value_parser = NonEmpty::new())]
    owner: Option<String>,
    #[command(flatten)]
    target: Target,
}

/// Writes the policies, and tells what they cannot say.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let From::GrpcServiceConfig(args) = &args.from;
    let (file, document) = files::tree(&args.file)?;
    let wish = Wish {
        service: args.service.as_deref().unwrap_or_default(),
        namespace: args.namespace.as_deref().unwrap_or_default(),
        owner: args.owner.as_deref().unwrap_or_default(),
    };
    let imported = service_config::import(&file, &document, &wish);
    let imported = imported.map_err(|errors| Failure::told(tell(&errors)))?;
    let report = &imported.report;
    let source = format!("# From the gRPC service config {}.\n", files::shown(&file));
    let each = imported.policies.iter();
    let heads = Heads {
        all: format!("{source}{}", report.comment(|_| true)),
        each: each
            .map(|made| format!("{source}{}", report.comment(|path| made.is_of(path))))
            .collect(),
    };
    for note in report.notes() {
        eprintln!("{note}");
    }
    let policies: Vec<_> = imported
        .policies
        .into_iter()
        .map(|made| made.policy)
        .collect();
    if policies.is_empty() {
        let line = "is it a gRPC service config, with a methodConfig?";
        return Err(Failure::told(format!(
            "no policy can be made of {file}; {line}"
        )));
    }
    args.target.write(&policies, &heads)?;
    eprintln!(
        "{file}: {}; {} keys translated, {} approximated, {} without a counterpart",
        many_policies(policies.len()),
        report.translated(),
        report.count(Fate::Approximated),
        report.count(Fate::None),
    );
    Ok(ExitCode::SUCCESS)
}
