//! Errors of clients that connect: the plain reading, and what provably never left is told apart.

use std::error::Error;

use fusebox_core::outcome::{Again, Verdict};

use super::never_sent::never_sent;
use super::{Classify, REPEATABLE};

/// Reads an error with all its sources, from whichever client it comes.
///
/// | result | verdict |
/// |---|---|
/// | `Ok` | success |
/// | `Err` that proves the request never took effect | failure, retried even if the operation is not idempotent |
/// | any other `Err` | failure, retried if the operation is idempotent |
///
/// Proof is: a refused connection ([`std::io::ErrorKind::ConnectionRefused`]); a failed connect in
/// tonic, hyper-util or reqwest (resolution, TCP and TLS included); an HTTP/2 stream the server
/// refused (`REFUSED_STREAM`) or did not take up before it left (`GOAWAY`); a request dropped while
/// it waited for its connection. A connection that broke proves nothing, nor does a timeout.
///
/// It speaks of the attempt's *one* request: where a closure makes several, the first may have
/// taken effect when the second is refused, and [`Results`](crate::Results) is the right judge.
///
/// Boxed errors are no [`Error`] themselves: judge them with [`verdict`] in a closure.
#[derive(Clone, Copy, Debug, Default)]
pub struct Transport;

impl<T, E: Error + 'static> Classify<T, E> for Transport {
    #[inline]
    fn classify(&self, outcome: Result<&T, &E>) -> Verdict {
        match outcome {
            Ok(_) => Verdict::Success,
            Err(error) => verdict(error),
        }
    }
}

/// What an error says, by [`Transport`]'s table.
///
/// ```
/// use fusebox::{Verdict, transport};
///
/// type BoxError = Box<dyn std::error::Error + Send + Sync>;
///
/// let judge = |outcome: Result<&String, &BoxError>| match outcome {
///     Ok(_) => Verdict::Success,
///     Err(error) => transport::verdict(&**error),
/// };
/// # fn used<C: fusebox::Classify<String, BoxError>>(_: C) {}
/// # used(judge);
/// ```
pub fn verdict(error: &(dyn Error + 'static)) -> Verdict {
    if never_sent(error) {
        Verdict::Failure(Again::NeverSent)
    } else {
        REPEATABLE
    }
}
