//! gRPC: what a status says of the dependency, what a server asks of its client, what a callee is
//! told of the time that is left.
//!
//! ```no_run
//! use fusebox::grpc::{Grpc, with_deadline};
//! use tonic::{Request, Response, Status};
//!
//! # #[derive(Clone)]
//! # struct Client;
//! # impl Client {
//! #     async fn charge(&mut self, _: Request<u32>) -> Result<Response<()>, Status> { Ok(Response::new(())) }
//! # }
//! # async fn example(payments: fusebox::Operation, client: Client) {
//! let charged = payments
//!     .with(Grpc)
//!     .call(async |cx| client.clone().charge(with_deadline(cx, Request::new(42))).await)
//!     .await;
//! # }
//! ```

mod deadline;
mod hint;
#[cfg(test)]
mod tests;

use std::error::Error;

use fusebox_core::outcome::{Again, Verdict};
use tonic::{Code, Status};

use super::never_sent::{chain, never_sent};
use super::{Classify, REPEATABLE};

pub use deadline::with_deadline;

/// Judges results by their [`Status`].
///
/// The first line that fits decides:
///
/// | status | verdict | retried |
/// |---|---|---|
/// | it never took effect: connect failed, stream refused (see [`Transport`](crate::transport::Transport)) | failure | always |
/// | no answer came: the stream or its connection broke, or tonic's own timer ran out | failure | if idempotent |
/// | `OK`, `INVALID_ARGUMENT`, `NOT_FOUND`, `ALREADY_EXISTS`, `PERMISSION_DENIED`, `UNAUTHENTICATED`, `FAILED_PRECONDITION`, `OUT_OF_RANGE`, `UNIMPLEMENTED`, `ABORTED` | success | never |
/// | `CANCELLED` | ignored | never |
/// | `UNAVAILABLE`, `RESOURCE_EXHAUSTED`, `DEADLINE_EXCEEDED`, `INTERNAL`, `UNKNOWN` | failure | if idempotent, when the server says |
/// | `DATA_LOSS` | failure | never |
///
/// **When the server says**: `grpc-retry-pushback-ms` with a number from 0 to 2147483647 is waited
/// for exactly, in milliseconds; anything else in it, or two of it, forbids a retry (gRPC proposal
/// A6, "Pushback"). Without it, the delay of a [`google.rpc.RetryInfo`] in the status' details; a
/// negative one is zero, unreadable details are none. Without either, the policy's backoff. A wait
/// beyond the policy's longest backoff is not waited for: the caller gets the status at once.
///
/// **Why success** for what is the caller's own affair: the dependency understood, decided and
/// answered in time. Counted as nothing, probes that are answered `NOT_FOUND` would never close a
/// breaker. linkerd's proxy counts all of these codes as successes; so does Envoy's outlier
/// detection, which maps them to 4xx, all but `UNIMPLEMENTED` (501): here it is the caller who asks
/// for what this server never had.
///
/// **Why `ABORTED` is among them**: a conflict between callers says nothing against the dependency
/// (Envoy maps it to 409), and it asks for a retry "at a higher level", of the whole
/// read-modify-write, not of the failing call ([`google.rpc.Code`]). Where the operation *is* that
/// whole, say so in a closure:
///
/// ```
/// use fusebox::{Again, Verdict, grpc};
/// use tonic::{Code, Status};
///
/// let transaction = |outcome: Result<&u64, &Status>| match outcome {
///     Ok(_) => Verdict::Success,
///     Err(status) if status.code() == Code::Aborted => {
///         Verdict::Failure(Again::IfIdempotent(None))
///     }
///     Err(status) => grpc::verdict(status),
/// };
/// # fn used<C: fusebox::Classify<u64, Status>>(_: C) {}
/// # used(transaction);
/// ```
///
/// **Why `UNKNOWN` and `INTERNAL` are retried**: they are what gRPC makes of an uncaught exception
/// and of a broken stream or connection, the 500 and 502 of HTTP. `UNAVAILABLE` proves nothing
/// either: data may have been sent before the connection broke ([status codes]).
///
/// [`google.rpc.Code`]: https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
/// [`google.rpc.RetryInfo`]: https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto
/// [status codes]: https://github.com/grpc/grpc/blob/master/doc/statuscodes.md
#[derive(Clone, Copy, Debug, Default)]
pub struct Grpc;

impl<T> Classify<T, Status> for Grpc {
    #[inline]
    fn classify(&self, outcome: Result<&T, &Status>) -> Verdict {
        match outcome {
            Ok(_) => Verdict::Success,
            Err(status) => verdict(status),
        }
    }
}

/// What a status says, by [`Grpc`]'s table.
pub fn verdict(status: &Status) -> Verdict {
    of_source(status).unwrap_or_else(|| of_code(status))
}

/// What happened to the transport. It comes before the code: tonic says `CANCELLED`, `UNKNOWN` or
/// `PERMISSION_DENIED` of such things, and which one depends on how it was built.
fn of_source(status: &Status) -> Option<Verdict> {
    let source = status.source()?;
    if never_sent(source) {
        return Some(Verdict::Failure(Again::NeverSent));
    }
    chain(source).any(cut_off).then_some(REPEATABLE)
}

fn cut_off(link: &(dyn Error + 'static)) -> bool {
    let broken = link.downcast_ref::<hyper::Error>();
    link.is::<tonic::TimeoutExpired>()
        || link.is::<h2::Error>()
        // A body of the caller's that failed is no broken connection: its code tells.
        || broken.is_some_and(|error| !error.is_user())
}

fn of_code(status: &Status) -> Verdict {
    match status.code() {
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Aborted => Verdict::Success,
        Code::Cancelled => Verdict::Ignored,
        Code::Unavailable
        | Code::ResourceExhausted
        | Code::DeadlineExceeded
        | Code::Internal
        | Code::Unknown => Verdict::Failure(hint::of(status)),
        Code::DataLoss => Verdict::Failure(Again::No),
    }
}
