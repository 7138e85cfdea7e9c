//! The dependency that every case calls, and the rules that every stack guards it by.
//!
//! It answers at once, or at the second poll, so that all that is left to measure is the guard.

use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Bounds an attempt.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
/// Bounds the whole call.
pub(crate) const OVERALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Attempts in all.
pub(crate) const MAX_ATTEMPTS: u32 = 3;
/// The first retry's sleep.
pub(crate) const BASE_DELAY: Duration = Duration::from_millis(100);
/// The longest sleep.
pub(crate) const MAX_DELAY: Duration = Duration::from_secs(3);
/// Failures in a row that open a breaker.
pub(crate) const FAILURES: u32 = 5;
/// The share of failures that opens a breaker, in percent.
pub(crate) const FAILURE_PERCENT: u32 = 50;
/// The time over which that share is taken: no call of a run falls out of it.
pub(crate) const WINDOW: Duration = Duration::from_secs(600);
/// Calls without which the share means nothing.
pub(crate) const MINIMUM_CALLS: u32 = 100;
/// Calls that a window holds when the clock starts.
pub(crate) const CALLS_IN_WINDOW: u32 = 10_000;
/// Calls a second, and at once: more than anybody makes.
pub(crate) const RATE: u32 = 1_000_000_000;
/// How long an open breaker stays so: longer than a run.
pub(crate) const OPEN: Duration = Duration::from_secs(3600);

/// What is asked for; hidden from the optimizer.
pub(crate) fn input() -> u64 {
    black_box(7)
}

/// Takes a result; the optimizer cannot see that nothing is done with it.
#[inline]
pub(crate) fn take<T>(result: T) {
    drop(black_box(result));
}

/// The dependency's own error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Broken;

/// Answers at once.
pub(crate) fn answer(input: u64) -> Ready<Result<u64, Broken>> {
    ready(Ok(input))
}

/// Fails at once.
pub(crate) fn fail(_input: u64) -> Ready<Result<u64, Broken>> {
    ready(Err(Broken))
}

/// Answers at the second poll, having woken its task at the first.
pub(crate) fn answer_later(input: u64) -> Later {
    Later {
        input,
        asked: false,
    }
}

/// See [`answer_later`].
pub(crate) struct Later {
    input: u64,
    asked: bool,
}

impl Future for Later {
    type Output = Result<u64, Broken>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if std::mem::replace(&mut self.asked, true) {
            return Poll::Ready(Ok(self.input));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
