//! `fusebox wait`: until enough processes enforce a revision.
//!
//! Its exit status tells a script apart: 0 enough do, 1 not in time, 2 it could not be found out.

use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser as NonEmpty;
use fusebox_proto::convert::time::duration_to_wire;
use fusebox_proto::v1;
use fusebox_proto::v1::wait_for_revision_response::State;
use tokio::time::timeout_at;
use tonic::{Code, Status};

use crate::Failure;
use crate::print::{one_line, say, warn};
use crate::remote::{Call, Remote};

const UNKNOWN: u8 = 2;
/// The longest a server waits.
const LONGEST: Duration = Duration::from_secs(60 * 60);
/// How much later than the deadline a server's word of it may come.
const GRACE: Duration = Duration::from_secs(5);

/// What to wait for, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The revision, as `apply` or a write's response told it; 0 for the latest
    revision: u64,
    /// Only processes of this service
    #[arg(long, value_name = "NAME", value_parser = NonEmpty::new())]
    service: Option<String>,
    /// Only processes of this namespace
    #[arg(long, value_name = "NS", value_parser = NonEmpty::new())]
    namespace: Option<String>,
    /// The share of connected processes that must enforce it, above 0 and at most 1
    #[arg(long, default_value_t = 1.0)]
    share: f64,
    /// For how long to wait, such as 500ms, 30s or 5m; at most 1h
    #[arg(long, value_name = "TIME", default_value = "30s")]
    deadline: Deadline,
    #[command(flatten)]
    remote: Remote,
}

/// A length of time as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline(Duration);

impl FromStr for Deadline {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = length(text)?;
        // Found out here, before anything is applied that is to be waited for.
        if all.is_zero() || all > LONGEST {
            return Err("it must be above 0 and at most 1h".to_owned());
        }
        Ok(Self(all))
    }
}

/// A length of time as people write it: a number and ms, s, m or h.
pub(crate) fn length(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let milliseconds = match unit {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60 * 1000),
        "h" => Some(60 * 60 * 1000),
        _ => None,
    };
    let all = number.parse().ok().zip(milliseconds);
    let all = all.and_then(|(number, each)| u64::checked_mul(number, each));
    let all = all.map(Duration::from_millis);
    let all = all.ok_or("write a number and ms, s, m or h, such as 30s")?;
    Ok(all)
}

/// Waits, and says how it goes.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let request = v1::WaitForRevisionRequest {
        revision: args.revision,
        namespace: args.namespace.clone().unwrap_or_default(),
        service: args.service.clone().unwrap_or_default(),
        share: Some(args.share),
        deadline: None,
    };
    wait(&args.remote, request, args.deadline, say)
}

/// Waits until all processes enforce `revision`; `tell` is given each line of how it goes.
pub(crate) fn for_all(
    remote: &Remote,
    revision: u64,
    deadline: Deadline,
    tell: fn(&str),
) -> Result<ExitCode, Failure> {
    let request = v1::WaitForRevisionRequest {
        revision,
        ..v1::WaitForRevisionRequest::default()
    };
    wait(remote, request, deadline, tell)
}

fn wait(
    remote: &Remote,
    mut request: v1::WaitForRevisionRequest,
    Deadline(within): Deadline,
    tell: fn(&str),
) -> Result<ExitCode, Failure> {
    request.deadline = Some(duration_to_wire(within));
    let waited = remote.fleet(async |mut client| {
        let end = tokio::time::Instant::now() + within + GRACE;
        let waiting = timeout_at(end, client.wait_for_revision(request)).await;
        let waiting = waiting.map_err(|_| silent())?;
        let mut waiting = waiting.map_err(|status| failed(&status))?.into_inner();
        let follow = follow(async || waiting.message().await, tell);
        timeout_at(end, follow).await.map_err(|_| silent())?
    });
    waited.map_err(|failure| match failure {
        WaitFailure::NotInTime(line) => Failure::told(line),
        WaitFailure::Other(failure) => failure.with_status(UNKNOWN),
    })
}

/// Tells all that comes next, and what it comes to.
async fn follow(
    mut next: impl AsyncFnMut() -> Result<Option<v1::WaitForRevisionResponse>, Status>,
    tell: fn(&str),
) -> Result<ExitCode, WaitFailure> {
    let mut state = State::Unspecified;
    while let Some(told) = next().await.map_err(|status| failed(&status))? {
        state = told.state();
        tell(&in_words(&told));
        if state == State::Expired {
            told.examples.iter().for_each(|one| warn(&reason(one)));
        }
    }
    if state == State::Reached {
        return Ok(ExitCode::SUCCESS);
    }
    let line = "the server ended the wait without saying how it ended; wait again";
    Err(Failure::told(line.to_owned()).into())
}

/// It would have said by now how the wait ended.
fn silent() -> WaitFailure {
    Failure::told("the server does not say how the wait ended; is it there?".to_owned()).into()
}

/// Why not enough processes enforce it, or why nobody knows.
enum WaitFailure {
    NotInTime(String),
    Other(Failure),
}

impl From<Failure> for WaitFailure {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

fn failed(status: &Status) -> WaitFailure {
    match status.code() {
        Code::DeadlineExceeded => WaitFailure::NotInTime(one_line(status.message())),
        _ => WaitFailure::Other(Call::Question.failed(status, |_, _| None)),
    }
}

fn in_words(told: &v1::WaitForRevisionResponse) -> String {
    let (applied, revision) = (told.applied, told.revision);
    let all = applied + told.pending + told.refused;
    let state = match told.state() {
        State::Reached => "reached",
        State::Expired => "not reached",
        State::Waiting | State::Unspecified => "waiting",
    };
    let mut line = format!("{state}: {applied} of {all} processes enforce revision {revision}");
    let others = [
        (told.pending, "pending"),
        (told.stale, "of them silent"),
        (told.refused, "refused"),
        (told.gone, "gone"),
    ];
    for (count, what) in others.into_iter().filter(|(count, _)| *count > 0) {
        line += &format!(", {count} {what}");
    }
    if told.settling {
        line += "; the server has just started";
    }
    line
}

fn reason(one: &v1::InstanceStanding) -> String {
    let who = one_line(&format!("{}/{}", one.service, one.instance_id));
    let Some(refusal) = one.refusals.first() else {
        let applied = one.applied_revision;
        return format!("  {who} has not answered; it last acknowledged revision {applied}");
    };
    let what = [&refusal.policy, &refusal.field, &refusal.reason];
    let what: Vec<_> = what.into_iter().filter(|text| !text.is_empty()).collect();
    let what = what.into_iter().map(|text| one_line(text));
    format!("  {who} refuses {}", what.collect::<Vec<_>>().join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_a_number_with_its_unit() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(text.parse(), Ok(Deadline(Duration::from_millis(millis))));
        }
        for bad in [
            "",
            "30",
            "s",
            "-1s",
            "1.5s",
            "1d",
            "0s",
            "61m",
            "99999999999999999999s",
        ] {
            assert!(bad.parse::<Deadline>().is_err(), "{bad:?}");
        }
    }

    async fn ending(last: State, end: Option<Status>) -> Result<ExitCode, WaitFailure> {
        let told = v1::WaitForRevisionResponse {
            state: last.into(),
            ..v1::WaitForRevisionResponse::default()
        };
        let mut script = vec![end.map_or(Ok(None), Err), Ok(Some(told))];
        follow(async || script.pop().unwrap(), |_| {}).await
    }

    #[tokio::test]
    async fn a_wait_is_good_if_the_server_says_reached_and_ends_well_and_only_then() {
        use State::{Expired, Reached, Waiting};
        assert_eq!(ending(Reached, None).await.ok(), Some(ExitCode::SUCCESS));
        for (last, end) in [
            (Waiting, None),
            (Expired, None),
            (Waiting, Some(Status::unavailable("the server is stopping"))),
        ] {
            let ended = ending(last, end).await;
            assert!(matches!(ended, Err(WaitFailure::Other(_))), "{last:?}");
        }
        let late = Some(Status::deadline_exceeded("4 of 5"));
        let ended = ending(Expired, late).await;
        assert!(matches!(ended, Err(WaitFailure::NotInTime(line)) if line == "4 of 5"));
    }

    #[test]
    fn a_line_says_what_there_is_and_nothing_that_is_not() {
        let mut told = v1::WaitForRevisionResponse {
            state: State::Waiting.into(),
            revision: 42,
            applied: 12,
            pending: 2,
            refused: 1,
            ..v1::WaitForRevisionResponse::default()
        };
        assert_eq!(
            in_words(&told),
            "waiting: 12 of 15 processes enforce revision 42, 2 pending, 1 refused"
        );
        told.state = State::Reached.into();
        (told.pending, told.refused) = (0, 0);
        assert_eq!(
            in_words(&told),
            "reached: 12 of 12 processes enforce revision 42"
        );
    }
}
