//! `fusebox release`: ends an override before its time.

use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser as NonEmpty;
use fusebox_proto::v1;

use crate::Failure;
use crate::remote::{Author, Call, Remote};
use crate::target;

/// Which override, and why.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The override, as `force` or `overrides` told it
    id: u64,
    /// Why, for whoever looks for it
    #[arg(long, value_name = "TEXT", value_parser = NonEmpty::new())]
    reason: String,
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    author: Author,
}

/// Releases, and says what is no longer in force.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let request = args.author.sign(v1::ClearBreakerOverrideRequest {
        id: args.id,
        reason: args.reason.clone(),
    })?;
    let response = args.remote.fleet(async |mut client| {
        let answer = client.clear_breaker_override(request).await;
        answer.map_err(|status| Call::Order.failed(&status, |_, _| None))
    })?;
    let response = response.into_inner();
    let gone = response.r#override.unwrap_or_default();
    let whose = target::described(&gone.target.clone().unwrap_or_default());
    let (id, forced, revision) = (args.id, target::forced(gone.action()), response.revision);
    let line = format!(
        "override {id} is released: {whose} is no longer forced {forced} by it; revision {revision}"
    );
    target::tell(&line, response.reach, &[]);
    Ok(ExitCode::SUCCESS)
}
