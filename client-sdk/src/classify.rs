//! What a result says about the dependency.
//!
//! | judge | of | knows |
//! |---|---|---|
//! | [`Results`] | any `Result` | `Ok` from `Err` |
//! | [`Transport`](transport::Transport) | a `Result` of any [`Error`](std::error::Error) | besides, what never left |
//! | [`Http`](http::Http) | an HTTP response | besides, statuses and `Retry-After` |
//! | [`Grpc`](grpc::Grpc) | a [`tonic::Status`] | besides, codes, pushback and `RetryInfo` |
//! | a closure | whatever it likes | whatever it likes, an `Ok` value included |

pub mod grpc;
pub mod http;
mod never_sent;
pub mod transport;

#[cfg(test)]
mod loopback;
#[cfg(test)]
mod tests;

use fusebox_core::outcome::{Again, Verdict};

/// Judges one attempt's result. Implemented by closures of that shape.
///
/// A closure sees `Ok` values too, so that one can be retried, or count against the dependency:
///
/// ```
/// use fusebox::{Again, Verdict};
///
/// struct Job { done: bool }
///
/// let done = |outcome: Result<&Job, &std::io::Error>| match outcome {
///     Ok(job) if job.done => Verdict::Success,
///     Ok(_) => Verdict::Failure(Again::IfIdempotent(None)),
///     Err(error) => fusebox::transport::verdict(error),
/// };
/// # fn used<C: fusebox::Classify<Job, std::io::Error>>(_: C) {}
/// # used(done);
/// ```
pub trait Classify<T, E> {
    /// What `outcome` says about the dependency, and whether it may be tried again.
    fn classify(&self, outcome: Result<&T, &E>) -> Verdict;
}

impl<T, E, F: Fn(Result<&T, &E>) -> Verdict> Classify<T, E> for F {
    fn classify(&self, outcome: Result<&T, &E>) -> Verdict {
        self(outcome)
    }
}

/// The plain reading: `Ok` is a success; `Err` is a failure, tried again if the operation is
/// idempotent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Results;

impl<T, E> Classify<T, E> for Results {
    #[inline]
    fn classify(&self, outcome: Result<&T, &E>) -> Verdict {
        match outcome {
            Ok(_) => Verdict::Success,
            Err(_) => REPEATABLE,
        }
    }
}

/// Against the dependency, and nobody knows whether it took effect.
const REPEATABLE: Verdict = Verdict::Failure(Again::IfIdempotent(None));
