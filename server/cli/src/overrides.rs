//! `fusebox overrides`: what operators decide for breakers at the moment.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser as NonEmpty;
use fusebox_proto::json;
use fusebox_proto::v1;

use crate::Failure;
use crate::apply::Output;
use crate::figures::{duration, span};
use crate::print::{concerns, one_line};
use crate::remote::{Call, Remote};
use crate::target;

/// Which overrides, and how they are told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only those of this namespace
    #[arg(long, value_name = "NS", value_parser = NonEmpty::new())]
    namespace: Option<String>,
    /// Only those that can concern this service
    #[arg(long, value_name = "NAME", value_parser = NonEmpty::new())]
    service: Option<String>,
    /// Only those that can concern this operation
    #[arg(long, value_name = "NAME", value_parser = NonEmpty::new())]
    operation: Option<String>,
    /// How they are told
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Output,
    #[command(flatten)]
    remote: Remote,
}

/// Lists them, the newest first.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let request = v1::ListBreakerOverridesRequest {
        namespace: args.namespace.clone().unwrap_or_default(),
        service: args.service.clone().unwrap_or_default(),
        operation: args.operation.clone().unwrap_or_default(),
    };
    let response = args.remote.fleet(async |mut client| {
        let answer = client.list_breaker_overrides(request).await;
        answer.map_err(|status| Call::Question.failed(&status, |_, _| None))
    })?;
    let response = response.into_inner();
    print(&match args.output {
        Output::Json => json::to_text(&response)? + "\n",
        Output::Text => text(&response),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// To standard output; whoever closed the pipe had read enough.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn text(response: &v1::ListBreakerOverridesResponse) -> String {
    let lines = response.overrides.iter().map(|one| line(one) + "\n");
    match response.overrides.is_empty() {
        true => "no override is in force\n".to_owned(),
        false => lines.collect(),
    }
}

/// One override with who set it, why, and how long it still holds.
pub(crate) fn line(status: &v1::OverrideStatus) -> String {
    let standing = status.r#override.clone().unwrap_or_default();
    let whose = target::described(&standing.target.clone().unwrap_or_default());
    let reach = status.reach.map(|reach| format!("; {}", concerns(reach)));
    format!(
        "{} {whose} forced {}, {} left: {} ({}){}",
        standing.id,
        target::forced(standing.action()),
        span(duration(status.time_left)),
        one_line(&standing.reason),
        one_line(&standing.author),
        reach.unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_is_told_with_its_reason_its_author_and_the_time_left() {
        let standing = v1::BreakerOverride {
            id: 7,
            target: Some(v1::BreakerTarget {
                service: "checkout".to_owned(),
                ..v1::BreakerTarget::default()
            }),
            action: v1::BreakerAction::ForceOpen.into(),
            reason: "the database\nburns".to_owned(),
            author: "ann@host".to_owned(),
            ..v1::BreakerOverride::default()
        };
        let response = v1::ListBreakerOverridesResponse {
            overrides: vec![v1::OverrideStatus {
                r#override: Some(standing),
                reach: Some(v1::Reach {
                    instances: 3,
                    too_old: 0,
                }),
                time_left: Some(prost_types::Duration {
                    seconds: 90,
                    nanos: 0,
                }),
            }],
            coverage: None,
        };
        assert_eq!(
            text(&response),
            "7 checkout/* forced open, 90s left: \"the database\\nburns\" (ann@host); \
             concerns 3 processes\n"
        );
    }

    #[test]
    fn nothing_in_force_is_said_in_words() {
        let nothing = text(&v1::ListBreakerOverridesResponse::default());
        assert_eq!(nothing, "no override is in force\n");
    }
}
