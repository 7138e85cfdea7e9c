//! The server that a command speaks to, and what its refusals come to.

use std::error::Error;
use std::io;
use std::time::Duration;

use fusebox_proto::v1::fleet_service_client::FleetServiceClient;
use fusebox_proto::v1::policy_service_client::PolicyServiceClient;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::Failure;
use crate::files::{Finding, Place, counted, tell};
use crate::print::one_line;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How often a server is asked whether it is still there, while somebody looks on.
const ALIVE: Duration = Duration::from_secs(10);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(60);
/// Largest answer. What 2000 policies change is far less.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
/// Who writes, in the words of the contract.
const AUTHOR: &str = "fusebox-author";

/// Which server.
#[derive(Debug, clap::Args)]
pub(crate) struct Remote {
    /// Where the server's gRPC listens
    #[arg(
        long,
        value_name = "URL",
        env = "FUSEBOX_ADDR",
        default_value = "http://127.0.0.1:7070"
    )]
    server: String,
}

/// Who writes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Author {
    /// Who is to stand in the server's history [default: $USER@hostname]
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
}

impl Remote {
    /// Runs what needs a connection.
    pub(crate) fn run<T>(
        &self,
        call: impl AsyncFnOnce(PolicyServiceClient<Channel>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.block_on(async |channel| {
            let client = PolicyServiceClient::new(channel);
            call(client.max_decoding_message_size(MAX_ANSWER)).await
        })
    }

    /// Runs what needs a connection and asks about the fleet.
    pub(crate) fn fleet<T, E: From<Failure>>(
        &self,
        call: impl AsyncFnOnce(FleetServiceClient<Channel>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.block_on(async |channel| {
            let client = FleetServiceClient::new(channel);
            call(client.max_decoding_message_size(MAX_ANSWER)).await
        })
    }

    /// Runs what looks on for long: a server that falls silent is noticed within 15 s.
    pub(crate) fn watch<T, E: From<Failure>>(
        &self,
        call: impl AsyncFnOnce(FleetServiceClient<Channel>) -> Result<T, E>,
    ) -> Result<T, E> {
        let alive = |endpoint: Endpoint| {
            endpoint
                .http2_keep_alive_interval(ALIVE)
                .keep_alive_timeout(CONNECT)
        };
        block_on(async {
            let client = FleetServiceClient::new(self.connect(alive).await?);
            call(client.max_decoding_message_size(MAX_ANSWER)).await
        })
    }

    /// As it was given.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    fn block_on<T, E: From<Failure>>(
        &self,
        call: impl AsyncFnOnce(Channel) -> Result<T, E>,
    ) -> Result<T, E> {
        block_on(async { call(self.connect(|endpoint| endpoint).await?).await })
    }

    async fn connect(&self, tune: impl FnOnce(Endpoint) -> Endpoint) -> Result<Channel, Failure> {
        let url = match self.server.contains("://") {
            true => self.server.clone(),
            false => format!("http://{}", self.server),
        };
        let refused = |reason: &str| {
            let hint = "name a running `fusebox serve` with --server or FUSEBOX_ADDR";
            Failure::told(format!(
                "cannot reach the server at {url}: {reason}; {hint}"
            ))
        };
        if !url.starts_with("http://") {
            return Err(refused("only http:// is spoken"));
        }
        let endpoint =
            Endpoint::from_shared(url.clone()).map_err(|error| refused(&root(&error)))?;
        let channel = tune(endpoint)
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .connect()
            .await;
        channel.map_err(|error| refused(&root(&error)))
    }
}

fn block_on<T, E: From<Failure>>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().map_err(Failure::from)?;
    let done = runtime.block_on(work);
    // Whoever looks up a name must not keep the program from ending.
    runtime.shutdown_background();
    done
}

/// The last reason of a chain, which says what happened.
fn root(error: &dyn Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

impl Author {
    /// The request with its author.
    pub(crate) fn sign<T>(&self, message: T) -> Result<Request<T>, Failure> {
        let author = self.author.clone().unwrap_or_else(whoever_runs_this);
        // A header takes other bytes, too; a server then puts the address in the author's place.
        let printable = |c: char| c.is_ascii_graphic() || c == ' ';
        let fit = author.chars().all(printable) && !author.trim().is_empty();
        let value = AsciiMetadataValue::try_from(author.as_str()).ok();
        let value = value.filter(|_| fit).ok_or_else(|| {
            let line = format!("--author must be a name in printable ASCII (found {author:?})");
            Failure::usage(&io::Error::other(line))
        })?;
        let mut request = Request::new(message);
        request.metadata_mut().insert(AUTHOR, value);
        Ok(request)
    }
}

fn whoever_runs_this() -> String {
    let user = std::env::var("USER").ok().filter(|user| !user.is_empty());
    let user = user.unwrap_or_else(|| "unknown".to_owned());
    let host = rustix::system::uname();
    let author = format!("{user}@{}", host.nodename().to_string_lossy());
    author.replace(|c: char| !c.is_ascii_graphic(), "?")
}

/// What a server was asked for, and so what is known if it gives no good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Nothing was to change.
    Question,
    /// A set of policies was to be applied, which is done whole or not at all.
    Write,
    /// Breakers were to be forced, released or reset.
    Order,
}

impl Call {
    /// An order, or the question what it would do.
    pub(crate) const fn order(validate_only: bool) -> Self {
        match validate_only {
            true => Self::Question,
            false => Self::Order,
        }
    }

    /// Says everything that a server refused; a field that `locate` knows at its place in a file.
    pub(crate) fn failed(
        self,
        status: &Status,
        locate: impl Fn(&str, &str) -> Option<Finding>,
    ) -> Failure {
        let violations = status
            .get_details_bad_request()
            .map(|details| details.field_violations);
        let findings: Vec<_> = violations
            .unwrap_or_default()
            .into_iter()
            .map(|violation| {
                let field = one_line(&violation.field);
                let message = one_line(&violation.description);
                let other = || Finding::new(Place::whole(&"request".into()), &field, &message);
                locate(&field, &message).unwrap_or_else(other)
            })
            .collect();
        if findings.is_empty() {
            return Failure::told(self.plainly(status));
        }
        tell(&findings);
        let errors = counted(findings.len(), "error");
        Failure::told(format!("the server refused: {errors}; nothing was changed"))
    }

    /// Everything that a server refused, in one line.
    pub(crate) fn in_words(self, status: &Status) -> String {
        let violations = status
            .get_details_bad_request()
            .map(|details| details.field_violations)
            .unwrap_or_default();
        if violations.is_empty() {
            return self.plainly(status);
        }
        let all = violations.iter().map(|violation| {
            let (field, what) = (&violation.field, &violation.description);
            format!("{}: {}", one_line(field), one_line(what))
        });
        format!("refused: {}", all.collect::<Vec<_>>().join("; "))
    }

    /// A refusal without fields, or why there is not even that.
    fn plainly(self, status: &Status) -> String {
        let (code, message) = (status.code(), one_line(status.message()));
        let silent = |reason: &str| {
            let (reason, after) = (one_line(reason), self.unanswered());
            format!(
                "the server did not answer: {reason}; {after}; see that --server or FUSEBOX_ADDR \
                 names its gRPC port, 7070 by default"
            )
        };
        match (code, status.source()) {
            // Made on this side: nothing that answers there has said so.
            (Code::Cancelled, _) => silent(&format!("nothing came within {} s", ANSWER.as_secs())),
            (_, Some(source)) => silent(&root(source)),
            (Code::Unimplemented, None) => format!(
                "the server does not know this request: {message} ({code:?}); see that --server or \
                 FUSEBOX_ADDR names a `fusebox serve` no older than this program"
            ),
            _ if self != Self::Question && is_doubtful(code) => format!(
                "the server failed: {message} ({code:?}); unless it says that nothing was written, \
                 {}",
                self.unanswered()
            ),
            _ => format!("the server refused: {message} ({code:?})"),
        }
    }

    /// Where one is without an answer.
    const fn unanswered(self) -> &'static str {
        match self {
            Self::Question => "nothing was to change, so try again",
            Self::Write => {
                "the set may or may not have been applied, all of it or nothing: `fusebox diff` \
                 tells, and to apply it again is safe"
            }
            Self::Order => {
                "it may or may not have been done: `fusebox overrides` tells what is in force"
            }
        }
    }
}

/// Whether a server, or what stands before it, may say so of a write that is done.
const fn is_doubtful(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Internal
            | Code::Unknown
            | Code::DataLoss
    )
}
