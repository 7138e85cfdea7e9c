//! `fusebox force`: decides for breakers, until its time is over or it is released.

use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser as NonEmpty;
use fusebox_proto::convert::time::duration_to_wire;
use fusebox_proto::v1;

use crate::Failure;
use crate::print::say;
use crate::remote::{Author, Call, Remote};
use crate::target::{self, Target, Ttl};
use crate::wait::{self, Deadline};

/// What breakers are to do, which, for how long and why.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What they are to do
    to: To,
    #[command(flatten)]
    target: Target,
    /// For how long, such as 30s, 5m or 2h; at most 168h
    #[arg(long = "for", value_name = "TIME")]
    ttl: Ttl,
    /// Why, for whoever finds it
    #[arg(long, value_name = "TEXT", value_parser = NonEmpty::new())]
    reason: String,
    /// Only say whom it would concern
    #[arg(long)]
    dry_run: bool,
    /// Then wait until all processes follow it: exit status 1 if not in time, 30s unless said
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "30s",
        conflicts_with = "dry_run"
    )]
    wait: Option<Deadline>,
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    author: Author,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum To {
    /// Refuse every call
    Open,
    /// Let every call through
    Closed,
}

/// Forces, and says whom it concerns.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let action = match args.to {
        To::Open => v1::BreakerAction::ForceOpen,
        To::Closed => v1::BreakerAction::ForceClosed,
    };
    let wanted = v1::BreakerOverride {
        target: Some(args.target.to_wire()),
        action: action.into(),
        ttl: Some(duration_to_wire(args.ttl.0)),
        reason: args.reason.clone(),
        ..v1::BreakerOverride::default()
    };
    let request = args.author.sign(v1::SetBreakerOverrideRequest {
        r#override: Some(wanted),
        whole_namespace: args.target.whole_namespace,
        validate_only: args.dry_run,
    })?;
    let call = Call::order(args.dry_run);
    let response = args.remote.fleet(async |mut client| {
        let answer = client.set_breaker_override(request).await;
        answer.map_err(|status| call.failed(&status, |_, _| None))
    })?;
    let response = response.into_inner();
    let standing = response.r#override.unwrap_or_default();
    let whose = target::described(&standing.target.clone().unwrap_or_default());
    let forced = target::forced(action);
    let line = match args.dry_run {
        true => format!("would force {whose} {forced}"),
        false => format!("override {}: {whose} is forced {forced}", standing.id),
    };
    target::tell(&line, response.reach, &response.warnings);
    match args.wait {
        None => Ok(ExitCode::SUCCESS),
        Some(deadline) => wait::for_all(&args.remote, standing.id, deadline, say),
    }
}
