//! `fusebox reset`: closes breakers once, and has them forget what they have counted.

use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser as NonEmpty;
use fusebox_proto::v1;

use crate::Failure;
use crate::remote::{Author, Call, Remote};
use crate::target::{self, Target};

/// Which breakers, and why.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Why, for whoever looks for it
    #[arg(long, value_name = "TEXT", value_parser = NonEmpty::new())]
    reason: String,
    /// Only say whom it would concern
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    author: Author,
}

/// Resets, and says whom it concerned.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let wanted = args.target.to_wire();
    let whose = target::described(&wanted);
    let request = args.author.sign(v1::ResetBreakersRequest {
        target: Some(wanted),
        reason: args.reason.clone(),
        whole_namespace: args.target.whole_namespace,
        validate_only: args.dry_run,
    })?;
    let call = Call::order(args.dry_run);
    let response = args.remote.fleet(async |mut client| {
        let answer = client.reset_breakers(request).await;
        answer.map_err(|status| call.failed(&status, |_, _| None))
    })?;
    let response = response.into_inner();
    let line = match args.dry_run {
        true => format!("would reset {whose}"),
        false => format!("reset {}: {whose} begins anew", response.id),
    };
    target::tell(&line, response.reach, &response.warnings);
    Ok(ExitCode::SUCCESS)
}
