//! What a result says about the dependency.

use fusebox_core::outcome::{Again, Verdict};

/// Judges one attempt's result. Implemented by closures of that shape.
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
            Err(_) => Verdict::Failure(Again::IfIdempotent(None)),
        }
    }
}
