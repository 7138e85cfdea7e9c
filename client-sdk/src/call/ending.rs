//! What the end of an attempt means: to the guard, to the statistics, and for what follows.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use fusebox_core::guard::execution::Circumstances;
use fusebox_core::guard::{Finding, Next, Observation, Plan};
use fusebox_core::lane::Lane;
use fusebox_core::outcome::{Again, Outcome, Rejection, Verdict};
use fusebox_core::time::{Instant, Span};

use super::entry::{Holding, Stop};
use super::run::{Progress, Run};
use crate::error::{Error, Limit, Stopped};
use crate::operation::Inner;
use crate::{clock, lanes};

/// A future cut off at its deadline proves nothing about the request.
const TIMED_OUT: Verdict = Verdict::Failure(Again::IfIdempotent(None));

/// What it says of a dependency that calling it panicked.
pub(super) const PANICKED: Observation = Observation::Bad {
    slow: false,
    in_run: true,
};

/// What became of an attempt that was no plain success.
pub(super) enum Settled<T, E> {
    Return(Result<T, E>),
    Stopped(Stopped),
    /// What the dependency answered, unless it was cut off.
    Again(Duration, Option<Result<T, E>>),
}

impl Run<'_> {
    /// Settles what is a success in every respect; otherwise the answer is `false`.
    #[inline]
    pub(super) fn succeeds_at_once(&mut self, verdict: Verdict) -> bool {
        if verdict != Verdict::Success || self.now >= self.deadline {
            return false;
        }
        let lane = lanes::current();
        let took = self.now.span_since(self.attempt_began);
        if !self.settles_at_once(took, lane) {
            let slow = took >= self.hold().plan.breaker.slow();
            self.observe(Observation::Good { slow }, Some(took));
        }
        self.spans.attempt_ended(Outcome::Success);
        self.count(Outcome::Success, lane);
        true
    }

    /// Whether a success leaves no more than a trace: nothing is held but the breaker's permit, and
    /// the rules are those the call began under.
    #[inline]
    pub(super) fn settles_at_once(&mut self, took: Span, lane: Lane) -> bool {
        let Holding::Permit(permit) = self.holds else {
            return false;
        };
        let (number, gist) = self.inner.plans.gist(lane);
        let breaker = &self.inner.guard.breaker;
        let settled = number == self.number
            && took < gist.slow
            && breaker.settle_at_once(permit, gist.trace, self.now, lane);
        if settled {
            self.holds = Holding::Nothing;
        }
        settled
    }

    /// Everything but a success in time.
    #[cold]
    pub(super) fn settle<T, E>(&mut self, verdict: Verdict, result: Result<T, E>) -> Settled<T, E> {
        let outcome = self.judge(verdict);
        self.spans.attempt_ended(outcome);
        match self.next(verdict) {
            Next::Retry(delay) => Settled::Again(delay, Some(result)),
            Next::Return => {
                self.count(outcome, lanes::current());
                Settled::Return(result)
            }
        }
    }

    /// Tells the guard how an attempt ended that was not cut off. Late for the attempt's own limit
    /// is a timeout, whatever it told; late for its caller alone is not the dependency's fault.
    pub(super) fn judge(&mut self, verdict: Verdict) -> Outcome {
        let took = self.now.span_since(self.attempt_began);
        let held = Arc::clone(self.hold());
        let plan = &held.plan;
        let slow = took >= plan.breaker.slow();
        let late = self.now >= self.deadline;
        let overdue = late && took >= plan.attempt_timeout;
        let timed_out = Observation::Bad { slow, in_run: true };
        let (observation, outcome, sample) = match verdict {
            Verdict::Success if overdue => (timed_out, Outcome::Late, Some(took)),
            Verdict::Success if late => (cut_short(plan, took), Outcome::Late, Some(took)),
            Verdict::Success => (Observation::Good { slow }, Outcome::Success, Some(took)),
            Verdict::Ignored => (Observation::Neutral, Outcome::Ignored, None),
            Verdict::Failure(_) if overdue => (timed_out, Outcome::Timeout, Some(took)),
            Verdict::Failure(_) => {
                let in_run = self.execution.enters_run();
                (Observation::Bad { slow, in_run }, Outcome::Failure, None)
            }
        };
        self.observe(observation, sample);
        outcome
    }

    /// The deadline came first.
    #[cold]
    pub(super) fn cut_off<T, E>(&mut self) -> Settled<T, E> {
        let limit = self.observe_cut();
        self.spans.attempt_ended(Outcome::Timeout);
        self.after_cut(limit)
    }

    /// What follows an attempt that was cut off by `limit`.
    pub(super) fn after_cut<T, E>(&mut self, limit: Limit) -> Settled<T, E> {
        let held = Arc::clone(self.hold());
        if limit == Limit::Attempt
            && let Next::Retry(delay) = self.next(TIMED_OUT)
        {
            self.progress = Progress::Cut;
            return Settled::Again(delay, None);
        }
        self.count(Outcome::Timeout, lanes::current());
        Settled::Stopped(self.timed_out(&held.plan, limit))
    }

    /// Tells the guard that the attempt was cut off, and says by which limit.
    pub(super) fn observe_cut(&mut self) -> Limit {
        let held = Arc::clone(self.hold());
        let plan = &held.plan;
        let own = self.attempt_began + plan.attempt_timeout;
        let took = self.now.span_since(self.attempt_began);
        if own <= self.execution.deadline(plan) {
            let slow = took >= plan.breaker.slow();
            self.observe(Observation::Bad { slow, in_run: true }, Some(took));
            Limit::Attempt
        } else {
            // Its caller came with little time left: that alone is not the dependency's fault.
            self.observe(cut_short(plan, took), None);
            self.outer_limit(plan)
        }
    }

    pub(super) fn outer_limit(&self, plan: &Plan) -> Limit {
        let own = self.execution.started() + plan.overall_timeout;
        if own <= self.execution.bound() {
            Limit::Overall
        } else {
            Limit::Scope
        }
    }

    pub(super) fn timed_out(&self, plan: &Plan, limit: Limit) -> Stopped {
        let after = match limit {
            Limit::Attempt => plan.attempt_timeout,
            Limit::Overall => plan.overall_timeout,
            Limit::Scope => self.execution.bound().span_since(self.execution.started()),
        };
        Stopped::TimedOut {
            operation: self.inner.name,
            limit,
            after: after.as_duration(),
        }
    }

    /// What follows the attempt that ended.
    pub(super) fn next(&mut self, verdict: Verdict) -> Next {
        let held = Arc::clone(self.hold());
        // Scopes pay last, so that none is out of pocket while it is found that nothing is repeated.
        if !self.may_follow(&held.plan, verdict) || !self.asking.around.pay() {
            return Next::Return;
        }
        let circumstances = circumstances(self.inner, self.now);
        let guard = &self.inner.guard;
        let next = self
            .execution
            .next(&held.plan, guard, verdict, &circumstances);
        match next {
            Next::Retry(delay) => self.spans.retrying(self.inner, delay.as_secs_f64()),
            Next::Return => self.asking.around.refund(),
        }
        next
    }

    /// Whether an attempt that ended so could be followed by another at all, however it is paid for.
    fn may_follow(&self, plan: &Plan, verdict: Verdict) -> bool {
        let repeatable = match verdict {
            Verdict::Success | Verdict::Ignored | Verdict::Failure(Again::No) => false,
            Verdict::Failure(Again::NeverSent) => true,
            Verdict::Failure(Again::IfIdempotent(_)) => self.inner.idempotent,
        };
        plan.enabled
            && repeatable
            && self.execution.attempt() < plan.max_attempts
            && self.now < self.execution.deadline(plan)
    }

    /// The call ends before its next attempt. If the dependency has answered in an earlier one, that
    /// answer is what the caller wants to see, rather than a refusal; and if the last one was cut
    /// off, that it was: a refusal, and perhaps the answer too, says that nothing was ever sent.
    #[cold]
    pub(super) fn give_up<T, E>(
        &mut self,
        stop: Stop,
        last: Option<Result<T, E>>,
    ) -> Result<T, Error<E>> {
        let lane = lanes::current();
        match (stop, last) {
            (Stop::Refused(rejection), None) if self.progress == Progress::Outside => {
                self.refused(rejection);
                Err(Error::because::<T>(self.refusal(rejection), None))
            }
            (Stop::Refused(_), last) if self.progress == Progress::Cut => {
                self.count(Outcome::Timeout, lane);
                let held = Arc::clone(self.hold());
                let why = self.timed_out(&held.plan, Limit::Attempt);
                Err(Error::because(why, last))
            }
            // Whoever goes step by step has the answer already.
            (Stop::Refused(rejection), None) => {
                self.count(Outcome::Failure, lane);
                Err(Error::because::<T>(self.refusal(rejection), None))
            }
            (Stop::Refused(_), Some(answer)) | (Stop::OutOfTime, Some(answer @ Ok(_))) => {
                self.count(Outcome::Failure, lane);
                answer.map_err(Error::Call)
            }
            (Stop::OutOfTime, last) => {
                self.count(Outcome::Timeout, lane);
                let held = Arc::clone(self.hold());
                let limit = self.outer_limit(&held.plan);
                Err(Error::because(self.timed_out(&held.plan, limit), last))
            }
        }
    }

    /// As [`give_up`](Self::give_up), for a call that knows no error of the dependency.
    pub(super) fn stopped(&mut self, stop: Stop) -> Stopped {
        match self.give_up::<Infallible, Infallible>(stop, None) {
            Err(Error::Stopped { why, .. }) => why,
            Ok(never) | Err(Error::Call(never)) => match never {},
        }
    }

    /// A call that was not let in at all.
    pub(super) fn refused(&mut self, rejection: Rejection) {
        let Rejection { reason, .. } = rejection;
        self.progress = Progress::Counted;
        self.inner.recorder.record_refusal(lanes::current(), reason);
        self.inner.context.metrics.refused(self.inner.name, reason);
        self.spans.refused(reason);
    }

    pub(super) const fn refusal(&self, rejection: Rejection) -> Stopped {
        Stopped::Refused {
            operation: self.inner.name,
            reason: rejection.reason,
            retry_after: rejection.retry_after,
        }
    }

    /// Gives everything back that the attempt held.
    pub(super) fn observe(&mut self, observation: Observation, sample: Option<Span>) {
        let finding = Finding {
            observation,
            latency: sample,
        };
        self.by_plan(|run, plan| {
            let (inner, lane, now) = (run.inner, lanes::current(), run.now);
            let way = run.holds.way();
            way.settle(&inner.guard, plan, finding, now, lane, inner);
            run.holds = Holding::Nothing;
        });
    }

    /// Counts the call, once.
    #[inline]
    pub(super) fn count(&mut self, outcome: Outcome, lane: Lane) {
        self.progress = Progress::Counted;
        let Inner {
            recorder,
            context,
            name,
            kind,
            ..
        } = self.inner;
        let latency = self.now.span_since(self.execution.started());
        recorder.record(lane, outcome, latency);
        context.metrics.call(name, *kind, outcome, latency);
        self.spans.ended(outcome);
    }

    /// The call ended without a result: dropped, or the caller's own code panicked.
    #[cold]
    pub(super) fn abandon(&mut self) {
        let outcome = self.give_back();
        self.count(outcome, lanes::current());
    }

    /// The attempt under way was dropped, but not its call; if it panicked, that ends too.
    #[cold]
    pub(super) fn dropped(&mut self) {
        self.progress = Progress::Dropped;
        let outcome = self.give_back();
        if outcome == Outcome::Failure {
            self.count(outcome, lanes::current());
        }
    }

    /// An attempt was dropped that had not been let in: none was made.
    #[cold]
    pub(super) fn dropped_on_the_way_in(&mut self) {
        self.now = clock::now();
        let held = Arc::clone(self.hold());
        self.leave_without(&held.plan);
        self.holds = Holding::Nothing;
    }

    /// Decides what follows an attempt that was dropped: a retry, if there would be one after a
    /// timeout.
    pub(super) fn after_drop(&mut self) {
        self.now = clock::now();
        match self.next(TIMED_OUT) {
            Next::Retry(delay) => {
                self.progress = Progress::Begun;
                self.pause = Some(self.now + delay);
            }
            Next::Return => self.count(Outcome::Cancelled, lanes::current()),
        }
    }

    /// Gives everything back that an attempt held which ends without a result.
    fn give_back(&mut self) -> Outcome {
        let held = Arc::clone(self.hold());
        let (inner, lane) = (self.inner, lanes::current());
        self.now = clock::now();
        let took = self.now.span_since(self.attempt_began);
        let (observation, outcome) = if self.is_in_callers_code() {
            (PANICKED, Outcome::Failure)
        } else {
            (cut_short(&held.plan, took), Outcome::Cancelled)
        };
        let way = self.holds.way();
        way.abandon(&inner.guard, &held.plan, observation, self.now, lane, inner);
        self.holds = Holding::Nothing;
        self.spans.attempt_ended(outcome);
        outcome
    }
}

/// What an attempt that was cut off on this side after `took` says: nothing, unless it was slow
/// already.
pub(super) fn cut_short(plan: &Plan, took: Span) -> Observation {
    if took >= plan.slow_drop {
        Observation::Bad {
            slow: took >= plan.breaker.slow(),
            in_run: true,
        }
    } else {
        Observation::Neutral
    }
}

/// What bears on another attempt.
pub(super) fn circumstances(inner: &Inner, now: Instant) -> Circumstances {
    Circumstances {
        idempotent: inner.idempotent,
        first_attempts: inner.recorder.first_attempts(),
        random: inner.context.jitter.next(),
        now,
    }
}
