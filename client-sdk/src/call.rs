//! One guarded call, from the caller's first poll to the result.
//!
//! Core decides ([`Execution`], [`Breaker`](fusebox_core::guard::Breaker)); this file polls, sleeps
//! and reads the clock. On the path of a healthy call that is: one load of the plan, which is
//! copied, two clock reads, one read of the breaker's word, and writes to this thread's own lane.
//!
//! A [`Run`] settles what it holds when it is dropped, so that a call cut off at any point gives
//! its permit back, and a panic counts as the failure it is.

use std::future::Future;
use std::time::Duration;

use fusebox_core::guard::execution::{Circumstances, Execution, Next};
use fusebox_core::guard::{Observation, Permit, Plan};
use fusebox_core::outcome::{Again, Outcome, Rejection, Verdict};
use fusebox_core::time::Instant;
use tracing::{Instrument, Span};

use crate::classify::Classify;
use crate::error::{Error, Limit, Stopped};
use crate::operation::{Cx, Inner};
use crate::timed::{Elapsed, Timed};
use crate::{clock, lanes};

/// A future cut off at its deadline proves nothing about the request.
const TIMED_OUT: Verdict = Verdict::Failure(Again::IfIdempotent(None));

pub(crate) async fn run<T, E, Fut, C>(
    inner: &Inner,
    classify: &C,
    f: impl Fn(Cx) -> Fut,
) -> Result<T, Error<E>>
where
    C: Classify<T, E>,
    Fut: Future<Output = Result<T, E>>,
{
    let mut run = Run::begin(inner);
    let mut last = None;
    loop {
        if let Err(rejection) = run.admit() {
            return Err(run.refused(rejection, last));
        }
        let attempt = run.attempt(f(run.cx())).await;
        let again = match run.settle(classify, attempt) {
            Settled::Return(result) => return result,
            Settled::Stopped(why) => return Err(Error::Stopped { why, last }),
            Settled::Again(delay, error) => {
                last = error.or(last);
                delay
            }
        };
        tokio::time::sleep(again).await;
        run.now = clock::now();
    }
}

/// A call under way.
struct Run<'a> {
    inner: &'a Inner,
    plan: Plan,
    execution: Execution,
    /// The last reading of the clock.
    now: Instant,
    /// When the attempt under way began.
    attempt_began: Instant,
    permit: Option<Permit>,
    /// Whether the call has been counted.
    counted: bool,
    /// The call's span, parent of its attempts'.
    span: Span,
}

/// What became of an attempt.
enum Settled<T, E> {
    Return(Result<T, Error<E>>),
    Stopped(Stopped),
    Again(Duration, Option<E>),
}

impl<'a> Run<'a> {
    #[inline]
    fn begin(inner: &'a Inner) -> Self {
        let plan = **inner.plan.load();
        let now = clock::now();
        Self {
            inner,
            plan,
            execution: Execution::begin(now),
            now,
            attempt_began: now,
            permit: None,
            counted: false,
            span: tracing::debug_span!(
                target: "fusebox",
                "fusebox.execute",
                otel.kind = "internal",
                fusebox.operation = inner.name,
                fusebox.kind = inner.kind.name(),
                fusebox.outcome = tracing::field::Empty,
                error.type = tracing::field::Empty,
            ),
        }
    }

    /// Asks for leave to make an attempt now.
    #[inline]
    fn admit(&mut self) -> Result<(), Rejection> {
        self.attempt_began = self.now;
        if !self.plan.enabled {
            return Ok(());
        }
        let step = self.inner.breaker.admit(&self.plan.breaker, self.now);
        if let Some(transition) = &step.transition {
            self.inner.announce(transition);
        }
        self.permit = Some(step.answer?);
        if self.execution.attempt() > 1 {
            self.inner.recorder.record_retry(lanes::current());
        }
        Ok(())
    }

    #[inline]
    fn cx(&self) -> Cx {
        Cx::new(self.execution.attempt(), self.deadline())
    }

    /// The nearer of the attempt's own limit and the call's.
    #[inline]
    fn deadline(&self) -> Instant {
        if !self.plan.enabled {
            return Instant::NEVER;
        }
        let attempt = self.attempt_began + self.plan.attempt_timeout;
        attempt.min(self.execution.deadline(&self.plan))
    }

    #[inline]
    async fn attempt<Fut: Future>(&mut self, future: Fut) -> Result<Fut::Output, Elapsed> {
        let span = tracing::debug_span!(
            target: "fusebox",
            parent: &self.span,
            "fusebox.attempt",
            otel.kind = "client",
            fusebox.operation = self.inner.name,
            fusebox.attempt = self.execution.attempt(),
        );
        let result = Timed::new(future, self.deadline()).instrument(span).await;
        self.now = clock::now();
        result
    }

    #[inline]
    fn settle<T, E, C: Classify<T, E>>(
        &mut self,
        classify: &C,
        attempt: Result<Result<T, E>, Elapsed>,
    ) -> Settled<T, E> {
        let Ok(result) = attempt else {
            return self.timed_out();
        };
        let verdict = classify.classify(result.as_ref());
        if verdict == Verdict::Success && self.now < self.deadline() {
            self.observe(Observation::Good);
            self.count(Outcome::Success);
            return Settled::Return(result.map_err(Error::Call));
        }
        self.settle_rest(verdict, result)
    }

    /// Everything but a success in time.
    #[cold]
    fn settle_rest<T, E>(&mut self, verdict: Verdict, result: Result<T, E>) -> Settled<T, E> {
        let outcome = match verdict {
            Verdict::Success => {
                self.observe(Observation::Bad { in_run: true });
                Outcome::Late
            }
            Verdict::Ignored => {
                self.observe(Observation::Neutral);
                Outcome::Ignored
            }
            Verdict::Failure(_) => {
                let in_run = self.execution.enters_run();
                self.observe(Observation::Bad { in_run });
                Outcome::Failure
            }
        };
        match self.next(verdict) {
            Next::Retry(delay) => Settled::Again(delay, result.err()),
            Next::Return => {
                self.count(outcome);
                Settled::Return(result.map_err(Error::Call))
            }
        }
    }

    #[cold]
    fn timed_out<T, E>(&mut self) -> Settled<T, E> {
        let overall = self.execution.deadline(&self.plan);
        let own = self.attempt_began + self.plan.attempt_timeout;
        let limit = if own <= overall {
            Limit::Attempt
        } else {
            Limit::Overall
        };
        let observation = match limit {
            Limit::Attempt => Observation::Bad { in_run: true },
            // Its caller came with little time left: that alone is not the dependency's fault.
            Limit::Overall => self.cut_short(),
        };
        self.observe(observation);
        if limit == Limit::Attempt
            && let Next::Retry(delay) = self.next(TIMED_OUT)
        {
            return Settled::Again(delay, None);
        }
        self.count(Outcome::Timeout);
        let after = match limit {
            Limit::Attempt => self.plan.attempt_timeout,
            Limit::Overall => self.plan.overall_timeout,
        };
        Settled::Stopped(Stopped::TimedOut {
            operation: self.inner.name,
            limit,
            after: after.as_duration(),
        })
    }

    fn next(&mut self, verdict: Verdict) -> Next {
        if !self.plan.enabled {
            return Next::Return;
        }
        let circumstances = Circumstances {
            idempotent: self.inner.idempotent,
            random: self.inner.context.jitter.next(),
            now: self.now,
        };
        let next = self
            .execution
            .next(&self.plan, &self.inner.breaker, verdict, &circumstances);
        if let Next::Retry(delay) = next {
            let delay_secs = delay.as_secs_f64();
            tracing::debug!(
                target: "fusebox",
                parent: &self.span,
                operation = self.inner.name,
                delay_secs,
                "fusebox.retry"
            );
        }
        next
    }

    /// The breaker refused. If the dependency has answered in an earlier attempt, its error is what
    /// the caller wants to see.
    #[cold]
    fn refused<E>(&mut self, rejection: Rejection, last: Option<E>) -> Error<E> {
        if self.execution.attempt() > 1 {
            self.count(Outcome::Failure);
        } else {
            self.counted = true;
            self.inner
                .recorder
                .record_refusal(lanes::current(), rejection.reason);
            self.inner
                .context
                .metrics
                .refused(self.inner.name, rejection.reason);
        }
        let Rejection {
            reason,
            retry_after,
        } = rejection;
        let operation = self.inner.name;
        match last {
            Some(error) => Error::Call(error),
            None => Error::Stopped {
                why: Stopped::Refused {
                    operation,
                    reason,
                    retry_after,
                },
                last: None,
            },
        }
    }

    /// What an attempt that was cut off on this side says: nothing, unless it was slow already.
    fn cut_short(&self) -> Observation {
        if self.now.span_since(self.attempt_began) >= self.plan.slow_drop {
            Observation::Bad { in_run: true }
        } else {
            Observation::Neutral
        }
    }

    /// Gives the permit back.
    #[inline]
    fn observe(&mut self, observation: Observation) {
        let Some(permit) = self.permit.take() else {
            return;
        };
        let (breaker, lane) = (&self.inner.breaker, lanes::current());
        let settled = breaker.settle(permit, &self.plan.breaker, observation, self.now, lane);
        if let Some(transition) = &settled {
            self.inner.announce(transition);
        }
    }

    /// Counts the call, once.
    #[inline]
    fn count(&mut self, outcome: Outcome) {
        self.counted = true;
        self.span.record("fusebox.outcome", outcome.name());
        let latency = self.now.since(self.execution.started());
        self.inner
            .recorder
            .record(lanes::current(), outcome, latency);
        self.inner
            .context
            .metrics
            .call(self.inner.name, self.inner.kind, outcome, latency);
    }

    /// The call ended without a result.
    #[cold]
    fn abandon(&mut self) {
        self.now = clock::now();
        let panicked = std::thread::panicking();
        let observation = if panicked {
            Observation::Bad { in_run: true }
        } else {
            self.cut_short()
        };
        self.observe(observation);
        self.count(if panicked {
            Outcome::Failure
        } else {
            Outcome::Cancelled
        });
    }
}

impl Drop for Run<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.counted {
            self.abandon();
        }
    }
}

#[cfg(test)]
mod tests;
