//! One guarded call, from the caller's first poll to the result.
//!
//! Core decides ([`Way`](fusebox_core::guard::Way), [`Execution`](fusebox_core::guard::Execution));
//! these files poll, sleep and read the clock.
//!
//! | file | does |
//! |---|---|
//! | `run` | carries one call from attempt to attempt |
//! | `entry` | lets an attempt in |
//! | `ending` | settles what it held, and decides what follows |
//! | `attempt` | polls one attempt until it ends or its deadline comes |
//! | `hedged` | polls an attempt and those beside it |
//! | `permit` | the same for callers who do the work between two calls of theirs |
//! | `blocking` | the same on a thread that may block |
//! | `spans` | tells whoever listens |

mod attempt;
pub(crate) mod blocking;
#[cfg(test)]
mod cancellation;
mod ending;
mod entry;
mod hedged;
pub(crate) mod permit;
mod run;
mod spans;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use fusebox_core::outcome::Verdict;
use fusebox_core::time::Instant;
use pin_project_lite::pin_project;

use crate::classify::Classify;
use crate::clock;
use crate::error::{Error, Limit, Stopped};
use crate::operation::{Cx, Inner};
use crate::scope::Around;
use ending::Settled;
pub use run::{Next, Run};

/// A call's own circumstances.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking<'a> {
    pub(crate) around: Around<'a>,
    /// What it takes of the rate limit, in permits.
    pub(crate) cost: u32,
}

impl Asking<'_> {
    /// Nothing special.
    pub(crate) const PLAIN: Self = Self {
        around: Around(None),
        cost: 1,
    };
}

pin_project! {
    /// A call. Whether it is refused at a look is found out before anything of it is set up.
    struct Call<'a, F> {
        inner: &'a Inner,
        begun: bool,
        #[pin]
        going: F,
    }
}

impl<T, E, F: Future<Output = Result<T, Error<E>>>> Future for Call<'_, F> {
    type Output = Result<T, Error<E>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if !std::mem::replace(this.begun, true)
            && let Some(why) = entry::refused_at_once(this.inner)
        {
            return Poll::Ready(Err(Error::Stopped { why, last: None }));
        }
        this.going.poll(cx)
    }
}

pub(crate) fn run<'a, T, E, Fut, C>(
    inner: &'a Inner,
    asking: Asking<'a>,
    classify: &'a C,
    f: impl Fn(Cx) -> Fut,
) -> impl Future<Output = Result<T, Error<E>>>
where
    C: Classify<T, E>,
    Fut: Future<Output = Result<T, E>>,
{
    Call {
        inner,
        begun: false,
        going: go(inner, asking, classify, f),
    }
}

async fn go<T, E, Fut, C>(
    inner: &Inner,
    asking: Asking<'_>,
    classify: &C,
    f: impl Fn(Cx) -> Fut,
) -> Result<T, Error<E>>
where
    C: Classify<T, E>,
    Fut: Future<Output = Result<T, E>>,
{
    let mut run = Run::begin(inner, asking);
    let mut last = None;
    loop {
        if !run.enter_at_once()
            && let Err(stop) = run.enter().await
        {
            return run.give_up(stop, last);
        }
        let settled = if run.hedges() {
            run.attempt_hedged(classify, &f, &mut last).await
        } else {
            let ended = {
                // Pinned here, once: a large future is never moved into what wraps it.
                let future = pin!(run.making(&f));
                run.poll_to_end(future).await
            };
            match ended {
                Ok(result) => {
                    let verdict = run.judging(classify, &result);
                    if run.succeeds_at_once(verdict) {
                        return result.map_err(Error::Call);
                    }
                    run.settle(verdict, result)
                }
                Err(attempt::Elapsed) => run.cut_off(),
            }
        };
        match settled {
            Settled::Return(result) => return result.map_err(Error::Call),
            Settled::Stopped(why) => return Err(Error::because(why, last)),
            Settled::Again(delay, answer) => {
                last = answer.or(last);
                tokio::time::sleep(delay).await;
            }
        }
    }
}

/// [`run`], with something to fall back on, within the scopes around both. Whatever says nothing
/// about the dependency is the caller's own affair, and goes to it.
pub(crate) async fn run_or<T, E, Fut, C, Fallback>(
    inner: &Inner,
    asking: Asking<'_>,
    classify: &C,
    f: impl Fn(Cx) -> Fut,
    fallback: impl FnOnce(Error<E>) -> Fallback,
) -> Result<T, Error<E>>
where
    C: Classify<T, E>,
    Fut: Future<Output = Result<T, E>>,
    Fallback: Future<Output = Result<T, Error<E>>>,
{
    let bound = asking.around.bound();
    let began = (bound < Instant::NEVER).then(clock::now);
    let error = match run(inner, asking, classify, f).await {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let ignored = match &error {
        Error::Call(own) => classify.classify(Err(own)) == Verdict::Ignored,
        Error::Stopped { .. } => false,
    };
    if ignored {
        return Err(error);
    }
    let falling_back = fallback(error);
    let Some(began) = began else {
        return falling_back.await;
    };
    let at = clock::runtime_instant(bound);
    let bounded = tokio::time::timeout_at(at, falling_back).await;
    bounded.unwrap_or_else(|_| {
        let why = Stopped::TimedOut {
            operation: inner.name,
            limit: Limit::Scope,
            after: bound.since(began),
        };
        Err(Error::Stopped { why, last: None })
    })
}
