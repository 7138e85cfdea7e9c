//! One guarded call, from the caller's first poll to the result.
//!
//! Core decides ([`Execution`], [`Breaker`](fusebox_core::guard::Breaker)); this file polls, sleeps
//! and reads the clock. On the path of a healthy call that is: one load of the plan, which is
//! copied once the breaker has let the call in, two clock reads, one read of the breaker's word,
//! and writes to this thread's own lane.
//!
//! A [`Run`] settles what it holds when it is dropped, so that a call cut off at any point gives
//! its permit back, and a panic counts as the failure it is.

mod spans;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use fusebox_core::guard::execution::{Circumstances, Execution, Next};
use fusebox_core::guard::{Observation, Permit, Plan};
use fusebox_core::outcome::{Again, Outcome, Rejection, Verdict};
use fusebox_core::time::Instant;

use crate::classify::Classify;
use crate::error::{Error, Limit, Stopped};
use crate::operation::{Cx, Inner};
use crate::timed::{Elapsed, Timed};
use crate::{clock, lanes};
use spans::Spans;

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
    let mut run = match Run::begin(inner) {
        Ok(run) => run,
        Err(rejection) => return Err(refuse(inner, rejection)),
    };
    let mut last = None;
    loop {
        let attempt = {
            // Pinned here, once: a large future is never moved into what wraps it.
            let future = pin!(f(run.cx()));
            run.attempt(future).await
        };
        let settled = match attempt {
            Ok(result) => {
                let verdict = classify.classify(result.as_ref());
                if verdict == Verdict::Success && run.is_in_time() {
                    run.succeed();
                    return result.map_err(Error::Call);
                }
                run.settle(verdict, result)
            }
            Err(Elapsed) => run.cut_off(),
        };
        match settled {
            Settled::Return(result) => return result.map_err(Error::Call),
            Settled::Stopped(why) => return Err(Error::Stopped { why, last }),
            Settled::Again(delay, error) => {
                last = error.or(last);
                tokio::time::sleep(delay).await;
            }
        }
        if let Err(obstacle) = run.begin_again() {
            return Err(run.give_up(obstacle, last));
        }
    }
}

/// A call under way: it has been let in.
struct Run<'a> {
    inner: &'a Inner,
    plan: Plan,
    execution: Execution,
    /// The last reading of the clock.
    now: Instant,
    /// When the attempt under way began.
    attempt_began: Instant,
    /// When it must have ended: by its own limit or by the call's.
    deadline: Instant,
    permit: Option<Permit>,
    /// Whether the call has been counted.
    counted: bool,
    spans: Spans,
}

/// What became of an attempt that was no plain success.
enum Settled<T, E> {
    Return(Result<T, E>),
    Stopped(Stopped),
    Again(Duration, Option<E>),
}

/// Why a retry that was slept for is not made.
#[derive(Clone, Copy)]
enum Obstacle {
    Refused(Rejection),
    OutOfTime,
}

/// Asks for leave to make an attempt; nothing is asked where calls are not guarded.
#[inline]
fn admit(inner: &Inner, plan: &Plan, now: Instant) -> Result<Option<Permit>, Rejection> {
    if !plan.enabled {
        return Ok(None);
    }
    let step = inner.breaker.admit(&plan.breaker, now);
    for transition in step.transitions() {
        inner.announce(transition);
    }
    step.answer.map(Some)
}

/// A call that was not let in.
fn refuse<E>(inner: &Inner, rejection: Rejection) -> Error<E> {
    inner
        .recorder
        .record_refusal(lanes::current(), rejection.reason);
    inner.context.metrics.refused(inner.name, rejection.reason);
    Spans::refused(inner, rejection.reason);
    stopped(inner, rejection)
}

fn stopped<E>(inner: &Inner, rejection: Rejection) -> Error<E> {
    let Rejection {
        reason,
        retry_after,
    } = rejection;
    Error::Stopped {
        why: Stopped::Refused {
            operation: inner.name,
            reason,
            retry_after,
        },
        last: None,
    }
}

#[inline]
fn deadline(plan: &Plan, execution: &Execution, attempt_began: Instant) -> Instant {
    if !plan.enabled {
        return Instant::NEVER;
    }
    (attempt_began + plan.attempt_timeout).min(execution.deadline(plan))
}

impl<'a> Run<'a> {
    #[inline]
    fn begin(inner: &'a Inner) -> Result<Self, Rejection> {
        let plan = inner.plan.load();
        let now = clock::now();
        let permit = admit(inner, &plan, now)?;
        let execution = Execution::begin(now);
        let mut spans = Spans::begin(inner);
        spans.attempt_begins(inner, execution.attempt());
        Ok(Self {
            inner,
            execution,
            now,
            attempt_began: now,
            deadline: deadline(&plan, &execution, now),
            permit,
            counted: false,
            spans,
            plan: **plan,
        })
    }

    /// The next attempt, after a sleep that may have lasted longer than it should have.
    fn begin_again(&mut self) -> Result<(), Obstacle> {
        self.now = clock::now();
        if self.now >= self.execution.deadline(&self.plan) {
            return Err(Obstacle::OutOfTime);
        }
        self.permit = admit(self.inner, &self.plan, self.now).map_err(Obstacle::Refused)?;
        self.attempt_began = self.now;
        self.deadline = deadline(&self.plan, &self.execution, self.now);
        self.inner.recorder.record_retry(lanes::current());
        self.spans
            .attempt_begins(self.inner, self.execution.attempt());
        Ok(())
    }

    #[inline]
    fn cx(&self) -> Cx {
        Cx::new(self.execution.attempt(), self.deadline)
    }

    #[inline]
    async fn attempt<F: Future>(&mut self, future: Pin<&mut F>) -> Result<F::Output, Elapsed> {
        let result = Timed::new(future, self.deadline, self.spans.attempt()).await;
        self.now = clock::now();
        result
    }

    #[inline]
    fn is_in_time(&self) -> bool {
        self.now < self.deadline
    }

    #[inline]
    fn succeed(&mut self) {
        self.spans.attempt_ended(Outcome::Success);
        self.observe(Observation::Good);
        self.count(Outcome::Success);
    }

    /// Everything but a success in time.
    #[cold]
    fn settle<T, E>(&mut self, verdict: Verdict, result: Result<T, E>) -> Settled<T, E> {
        let (observation, outcome) = match verdict {
            Verdict::Success => (Observation::Bad { in_run: true }, Outcome::Late),
            Verdict::Ignored => (Observation::Neutral, Outcome::Ignored),
            Verdict::Failure(_) => {
                let in_run = self.execution.enters_run();
                (Observation::Bad { in_run }, Outcome::Failure)
            }
        };
        self.observe(observation);
        self.spans.attempt_ended(outcome);
        match self.next(verdict) {
            Next::Retry(delay) => Settled::Again(delay, result.err()),
            Next::Return => {
                self.count(outcome);
                Settled::Return(result)
            }
        }
    }

    /// The deadline came first.
    #[cold]
    fn cut_off<T, E>(&mut self) -> Settled<T, E> {
        let own = self.attempt_began + self.plan.attempt_timeout;
        let (limit, after) = if own <= self.execution.deadline(&self.plan) {
            (Limit::Attempt, self.plan.attempt_timeout)
        } else {
            (Limit::Overall, self.plan.overall_timeout)
        };
        self.observe(match limit {
            Limit::Attempt => Observation::Bad { in_run: true },
            // Its caller came with little time left: that alone is not the dependency's fault.
            Limit::Overall => self.cut_short(),
        });
        self.spans.attempt_ended(Outcome::Timeout);
        if limit == Limit::Attempt
            && let Next::Retry(delay) = self.next(TIMED_OUT)
        {
            return Settled::Again(delay, None);
        }
        self.count(Outcome::Timeout);
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
        let breaker = &self.inner.breaker;
        let next = self
            .execution
            .next(&self.plan, breaker, verdict, &circumstances);
        if let Next::Retry(delay) = next {
            self.spans.retrying(self.inner, delay.as_secs_f64());
        }
        next
    }

    /// A retry is not made. If the dependency has answered in an earlier attempt, its error is what
    /// the caller wants to see, rather than the breaker's.
    #[cold]
    fn give_up<E>(&mut self, obstacle: Obstacle, last: Option<E>) -> Error<E> {
        match obstacle {
            Obstacle::Refused(rejection) => {
                self.count(Outcome::Failure);
                last.map_or_else(|| stopped(self.inner, rejection), Error::Call)
            }
            Obstacle::OutOfTime => {
                self.count(Outcome::Timeout);
                let why = Stopped::TimedOut {
                    operation: self.inner.name,
                    limit: Limit::Overall,
                    after: self.plan.overall_timeout.as_duration(),
                };
                Error::Stopped { why, last }
            }
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
        let Inner {
            recorder,
            context,
            name,
            kind,
            ..
        } = self.inner;
        let latency = self.now.span_since(self.execution.started());
        recorder.record(lanes::current(), outcome, latency);
        context.metrics.call(name, *kind, outcome, latency);
        self.spans.ended(outcome);
    }

    /// The call ended without a result.
    #[cold]
    fn abandon(&mut self) {
        self.now = clock::now();
        if std::thread::panicking() {
            self.observe(Observation::Bad { in_run: true });
            self.count(Outcome::Failure);
        } else {
            self.observe(self.cut_short());
            self.count(Outcome::Cancelled);
        }
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
