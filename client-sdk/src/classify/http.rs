//! HTTP: what a status says of the dependency, and when the server wants to be asked again.
//!
//! ```no_run
//! use fusebox::{Verdict, http, transport};
//!
//! # async fn example(catalog: fusebox::Operation, client: reqwest::Client) {
//! // reqwest's response is a type of its own: judged by its status and headers.
//! let judge = |outcome: Result<&reqwest::Response, &reqwest::Error>| match outcome {
//!     Ok(response) => http::verdict(response.status(), response.headers()),
//!     Err(error) => transport::verdict(error),
//! };
//! let page = catalog
//!     .with(judge)
//!     .call(async |_| client.get("http://catalog.internal/").send().await)
//!     .await;
//! # }
//! ```

mod retry_after;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::time::SystemTime;

use fusebox_core::outcome::{Again, Verdict};
use http::{HeaderMap, Response, StatusCode};

use super::{Classify, REPEATABLE, transport};

/// Judges [`http::Response`]s by their status, and errors as
/// [`Transport`](crate::transport::Transport) does.
///
/// | status | verdict | retried |
/// |---|---|---|
/// | 1xx, 2xx, 3xx | success | never |
/// | 408 Request Timeout, 425 Too Early, 429 Too Many Requests | failure | if idempotent, when the server says |
/// | any other 4xx | success | never |
/// | 501 Not Implemented, 505 HTTP Version Not Supported | failure | never |
/// | any other 5xx, and what is no status (600 and above; RFC 9110, 15) | failure | if idempotent, when the server says |
///
/// **When the server says**: after `Retry-After`, in seconds or until an HTTP-date by this machine's
/// clock (RFC 9110, 10.2.3); a date that has passed is no wait at all, one that cannot be read is as
/// if it were not there. Without it, the policy's backoff. A wait beyond the policy's longest
/// backoff is not waited for: the caller gets the response at once.
///
/// **Why success** for 4xx: "the client seems to have erred" (RFC 9110, 15.5); the dependency
/// understood, decided and answered in time. Counted as nothing, probes that are answered 404 would
/// never close a breaker. linkerd's proxy and Envoy's outlier detection also hold only 5xx against a
/// server.
///
/// **Why those three are failures**: 408 is a server that stopped waiting, in practice often for its
/// own handler; 425 and 429 are refusals, and breakers and backoff exist to heed them. None of them
/// *proves* that nothing took effect.
#[derive(Clone, Copy, Debug, Default)]
pub struct Http;

impl<B, E: Error + 'static> Classify<Response<B>, E> for Http {
    fn classify(&self, outcome: Result<&Response<B>, &E>) -> Verdict {
        match outcome {
            Ok(response) => verdict(response.status(), response.headers()),
            Err(error) => transport::verdict(error),
        }
    }
}

/// What a response says, by [`Http`]'s table: for clients whose response is a type of their own.
pub fn verdict(status: StatusCode, headers: &HeaderMap) -> Verdict {
    match of_status(status) {
        Verdict::Failure(Again::IfIdempotent(_)) => {
            let wait = retry_after::wait(headers, SystemTime::now());
            Verdict::Failure(Again::IfIdempotent(wait))
        }
        verdict => verdict,
    }
}

const fn of_status(status: StatusCode) -> Verdict {
    match status.as_u16() {
        408 | 425 | 429 => REPEATABLE,
        501 | 505 => Verdict::Failure(Again::No),
        100..=499 => Verdict::Success,
        _ => REPEATABLE,
    }
}
