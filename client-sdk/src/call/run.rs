//! One call, carried from attempt to attempt.
//!
//! On the path of a healthy call that is: one look at the plan's gist, two clock reads, one read of
//! the breaker's word, and writes to this thread's own lane.
//!
//! A [`Run`] settles what it holds when it is dropped, so that a call cut off at any point gives
//! everything back, and a panic counts as the failure it is.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fusebox_core::guard::execution::Circumstances;
use fusebox_core::guard::{self, Execution, Finding, Gate, Observation, Permit, Plan, Way};
use fusebox_core::lane::Lane;
use fusebox_core::outcome::{Again, Outcome, Rejection, Verdict};
use fusebox_core::time::{Instant, Span};

use super::Asking;
use super::attempt::{Attempt, Elapsed};
use super::spans::Spans;
use crate::classify::Classify;
use crate::error::{Error, Limit, Stopped};
use crate::operation::{Cx, Inner};
use crate::plans::Numbered;
use crate::{clock, lanes};

/// A future cut off at its deadline proves nothing about the request.
const TIMED_OUT: Verdict = Verdict::Failure(Again::IfIdempotent(None));

/// What it says of a dependency that calling it panicked.
pub(super) const PANICKED: Observation = Observation::Bad {
    slow: false,
    in_run: true,
};

/// A guarded call, step by step: for callers whose attempts cannot be made by a closure, because
/// they use `&mut` data or arguments of their own.
///
/// ```no_run
/// # async fn send(connection: &mut String) -> Result<(), std::io::Error> { Ok(()) }
/// # async fn example(operation: fusebox::Operation, mut connection: String)
/// # -> Result<(), fusebox::Error<std::io::Error>> {
/// use fusebox::{Next, Results};
///
/// let mut run = operation.begin();
/// loop {
///     match run.attempt(&Results, send(&mut connection)).await {
///         Next::Return(result) => return result,
///         Next::Again { error: _ } => {}
///     }
/// }
/// # }
/// ```
///
/// Dropped before it returned a result, it counts as cancelled and gives everything back.
#[derive(Debug)]
#[must_use = "nothing is called before attempt()"]
pub struct Run<'a> {
    pub(super) inner: &'a Inner,
    pub(super) asking: Asking<'a>,
    pub(super) execution: Execution,
    /// Which plan the call began under.
    number: u64,
    /// The plan it follows, from its first wait or trouble to its end.
    held: Option<Arc<Numbered>>,
    /// The last reading of the clock.
    pub(super) now: Instant,
    /// When the attempt under way began.
    pub(super) attempt_began: Instant,
    /// When it must have ended: by its own limit or by the call's.
    pub(super) deadline: Instant,
    pub(super) holds: Holding,
    progress: Progress,
    in_callers_code: Cell<bool>,
    /// The sleep before the next attempt, if that has not been slept yet.
    pause: Option<Duration>,
    pub(super) spans: Spans,
}

/// What an attempt holds of the guard.
#[derive(Debug)]
pub(super) enum Holding {
    /// Nothing: it has not asked, or has given everything back.
    Nothing,
    /// The breaker's permit, and nobody else was asked.
    Permit(Permit),
    /// It is on its way in, or inside.
    Way(Way),
}

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// It has not been let in yet.
    Outside,
    /// Its first attempt has begun.
    Begun,
    /// It has been counted.
    Counted,
}

/// What became of an attempt.
#[derive(Debug)]
pub enum Next<T, E> {
    /// The call has ended with this.
    Return(Result<T, Error<E>>),
    /// Another attempt is due; the next one sleeps before it begins.
    Again {
        /// The dependency's error, unless the attempt was cut off.
        error: Option<E>,
    },
}

/// What became of an attempt that was no plain success.
pub(super) enum Settled<T, E> {
    Return(Result<T, E>),
    Stopped(Stopped),
    Again(Duration, Option<E>),
}

/// Why an attempt was not made.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stop {
    Refused(Rejection),
    OutOfTime,
}

impl<'a> Run<'a> {
    #[inline]
    pub(crate) fn begin(inner: &'a Inner, asking: Asking<'a>) -> Self {
        let now = clock::now();
        Self {
            inner,
            execution: Execution::begin(now, asking.around.bound()),
            asking,
            number: 0,
            held: None,
            now,
            attempt_began: now,
            deadline: Instant::NEVER,
            holds: Holding::Nothing,
            progress: Progress::Outside,
            in_callers_code: Cell::new(false),
            pause: None,
            spans: Spans::begin(inner),
        }
    }

    /// Makes one attempt: waits for its turn, polls `future`, judges the result by `classify`. The
    /// future is not polled before it is its turn.
    pub async fn attempt<T, E, C: Classify<T, E>>(
        &mut self,
        classify: &C,
        future: impl Future<Output = Result<T, E>>,
    ) -> Next<T, E> {
        if let Some(pause) = self.pause.take() {
            tokio::time::sleep(pause).await;
        }
        if !self.enter_at_once()
            && let Err(stop) = self.enter().await
        {
            return Next::Return(Err(self.give_up(stop, None)));
        }
        let future = pin!(future);
        let settled = match self.poll_to_end(future).await {
            Ok(result) => {
                let verdict = classify.classify(result.as_ref());
                if self.succeeds_at_once(verdict) {
                    return Next::Return(result.map_err(Error::Call));
                }
                self.settle(verdict, result)
            }
            Err(Elapsed) => self.cut_off(),
        };
        match settled {
            Settled::Return(result) => Next::Return(result.map_err(Error::Call)),
            Settled::Stopped(why) => Next::Return(Err(Error::Stopped { why, last: None })),
            Settled::Again(delay, error) => {
                self.pause = Some(delay);
                Next::Again { error }
            }
        }
    }

    /// What the next attempt is told. Its time is the whole call's: its own begins once it is let
    /// in.
    pub fn cx(&mut self) -> Cx {
        let deadline = match self.progress {
            Progress::Outside => {
                let execution = self.execution;
                execution.deadline(&self.hold().plan)
            }
            _ => self.deadline,
        };
        Cx::new(self.execution.attempt(), deadline)
    }

    /// Lets a call's first attempt in, if a look is enough: the breaker alone decides, and is closed.
    #[inline]
    pub(super) fn enter_at_once(&mut self) -> bool {
        if self.progress != Progress::Outside {
            return false;
        }
        let lane = lanes::current();
        let (number, gist) = self.inner.plans.gist(lane);
        let deadline = (self.now + gist.limit).min(self.execution.bound());
        if !gist.plain || self.now >= deadline {
            return false;
        }
        let Some(permit) = self.inner.guard.breaker.admit_at_once() else {
            return false;
        };
        self.holds = Holding::Permit(permit);
        self.number = number;
        self.deadline = deadline;
        self.begins(lane);
        true
    }

    /// Waits until the next attempt may begin.
    pub(super) async fn enter(&mut self) -> Result<(), Stop> {
        let mut timer = pin!(None);
        poll_fn(|cx| {
            loop {
                let until = match self.step_in(cx) {
                    Ok(None) => return Poll::Ready(Ok(())),
                    Ok(Some(until)) => until,
                    Err(stop) => return Poll::Ready(Err(stop)),
                };
                timer.set(Some(tokio::time::sleep_until(clock::runtime_instant(
                    until,
                ))));
                let slept = timer.as_mut().as_pin_mut().map(|sleep| sleep.poll(cx));
                if slept.is_none_or(|slept| slept.is_pending()) {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// One step on the way in; `Some` is when to take the next.
    pub(super) fn step_in(&mut self, cx: &Context<'_>) -> Result<Option<Instant>, Stop> {
        self.now = clock::now();
        let held = Arc::clone(self.hold());
        let plan = &held.plan;
        if !plan.enabled {
            self.holds = Holding::Way(Way::unguarded());
            self.let_in(plan);
            return Ok(None);
        }
        let deadline = self.execution.deadline(plan);
        if self.now >= deadline {
            self.leave_without(plan);
            return Err(Stop::OutOfTime);
        }
        let (inner, cost, now) = (self.inner, self.asking.cost, self.now);
        match self.way().poll(&inner.guard, plan, cost, now, cx, inner) {
            Gate::Inside => {
                self.let_in(plan);
                Ok(None)
            }
            Gate::Wait(until) => Ok(Some(until.min(deadline))),
            Gate::Refused(rejection) => Err(Stop::Refused(rejection)),
        }
    }

    /// As [`step_in`](Self::step_in), for a caller who cannot wait.
    pub(super) fn step_in_or_leave(&mut self) -> Result<(), Stop> {
        let cx = Context::from_waker(Waker::noop());
        match self.step_in(&cx)? {
            None => Ok(()),
            Some(_) => {
                let held = Arc::clone(self.hold());
                let (inner, now) = (self.inner, self.now);
                let way = self.way();
                let rejection = way.refuse_to_wait(&inner.guard, &held.plan, now, inner);
                Err(Stop::Refused(rejection))
            }
        }
    }

    fn let_in(&mut self, plan: &Plan) {
        self.attempt_began = self.now;
        self.deadline = self.deadline_by(plan);
        let lane = lanes::current();
        if self.progress == Progress::Outside {
            self.begins(lane);
        } else {
            self.inner.recorder.record_retry(lane);
            self.spans
                .attempt_begins(self.inner, self.execution.attempt());
        }
    }

    #[inline]
    fn begins(&mut self, lane: Lane) {
        self.progress = Progress::Begun;
        self.inner.recorder.record_first_attempt(lane);
        self.spans
            .attempt_begins(self.inner, self.execution.attempt());
    }

    /// When the attempt that began at `attempt_began` must have ended.
    fn deadline_by(&self, plan: &Plan) -> Instant {
        if !plan.enabled {
            return Instant::NEVER;
        }
        self.deadline_from(plan, self.attempt_began)
    }

    /// When an attempt that begins at `began` must have ended.
    pub(super) fn deadline_from(&self, plan: &Plan, began: Instant) -> Instant {
        (began + plan.attempt_timeout).min(self.execution.deadline(plan))
    }

    /// Polls an attempt that has been let in.
    #[inline]
    pub(super) async fn poll_to_end<F: Future>(
        &mut self,
        future: Pin<&mut F>,
    ) -> Result<F::Output, Elapsed> {
        let ended = Attempt::new(self, future).await;
        self.now = clock::now();
        ended
    }

    /// What the caller's closure makes of the attempt: its future, or its result.
    #[inline]
    pub(super) fn making<R>(&self, mut f: impl FnMut(Cx) -> R) -> R {
        let cx = Cx::new(self.execution.attempt(), self.deadline);
        self.enters_callers_code();
        let made = f(cx);
        self.leaves_callers_code();
        made
    }

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
    fn settles_at_once(&mut self, took: Span, lane: Lane) -> bool {
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
            guard::Next::Retry(delay) => Settled::Again(delay, result.err()),
            guard::Next::Return => {
                self.count(outcome, lanes::current());
                Settled::Return(result)
            }
        }
    }

    /// Tells the guard how an attempt ended that was not cut off.
    pub(super) fn judge(&mut self, verdict: Verdict) -> Outcome {
        let took = self.now.span_since(self.attempt_began);
        let slow = took >= self.hold().plan.breaker.slow();
        let late = self.now >= self.deadline;
        let (observation, outcome, sample) = match verdict {
            Verdict::Success if late => (
                Observation::Bad { slow, in_run: true },
                Outcome::Late,
                Some(took),
            ),
            Verdict::Success => (Observation::Good { slow }, Outcome::Success, Some(took)),
            Verdict::Ignored => (Observation::Neutral, Outcome::Ignored, None),
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
            && let guard::Next::Retry(delay) = self.next(TIMED_OUT)
        {
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

    fn outer_limit(&self, plan: &Plan) -> Limit {
        let own = self.execution.started() + plan.overall_timeout;
        if own <= self.execution.bound() {
            Limit::Overall
        } else {
            Limit::Scope
        }
    }

    fn timed_out(&self, plan: &Plan, limit: Limit) -> Stopped {
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

    pub(super) fn reads_clock(&mut self) {
        self.now = clock::now();
    }

    /// What follows the attempt that ended.
    pub(super) fn next(&mut self, verdict: Verdict) -> guard::Next {
        let held = Arc::clone(self.hold());
        let may_fail = matches!(verdict, Verdict::Failure(_));
        if !held.plan.enabled || !may_fail || !self.asking.around.pay() {
            return guard::Next::Return;
        }
        let circumstances = circumstances(self.inner, self.now);
        let guard = &self.inner.guard;
        let next = self
            .execution
            .next(&held.plan, guard, verdict, &circumstances);
        match next {
            guard::Next::Retry(delay) => self.spans.retrying(self.inner, delay.as_secs_f64()),
            guard::Next::Return => self.asking.around.refund(),
        }
        next
    }

    /// The call ends before its next attempt. If the dependency has answered in an earlier one, its
    /// error is what the caller wants to see, rather than a refusal.
    #[cold]
    pub(super) fn give_up<E>(&mut self, stop: Stop, last: Option<E>) -> Error<E> {
        let first = self.progress == Progress::Outside;
        match stop {
            Stop::Refused(rejection) if first => {
                self.refused(rejection);
                Error::Stopped {
                    why: self.refusal(rejection),
                    last,
                }
            }
            Stop::Refused(rejection) => {
                self.count(Outcome::Failure, lanes::current());
                let why = self.refusal(rejection);
                last.map_or(Error::Stopped { why, last: None }, Error::Call)
            }
            Stop::OutOfTime => {
                self.count(Outcome::Timeout, lanes::current());
                let held = Arc::clone(self.hold());
                let limit = self.outer_limit(&held.plan);
                let why = self.timed_out(&held.plan, limit);
                Error::Stopped { why, last }
            }
        }
    }

    /// As [`give_up`](Self::give_up), for a call that knows no error of the dependency.
    pub(super) fn stopped(&mut self, stop: Stop) -> Stopped {
        match self.give_up::<std::convert::Infallible>(stop, None) {
            Error::Stopped { why, .. } => why,
            Error::Call(never) => match never {},
        }
    }

    /// A call that was not let in at all.
    fn refused(&mut self, rejection: Rejection) {
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
        let held = Arc::clone(self.hold());
        let (inner, lane, now) = (self.inner, lanes::current(), self.now);
        let finding = Finding {
            observation,
            latency: sample,
        };
        self.way()
            .settle(&inner.guard, &held.plan, finding, now, lane, inner);
        self.holds = Holding::Nothing;
    }

    /// Ends an attempt that was on its way in.
    fn leave_without(&mut self, plan: &Plan) {
        let (inner, lane, now) = (self.inner, lanes::current(), self.now);
        let nothing = Observation::Neutral;
        self.way()
            .abandon(&inner.guard, plan, nothing, now, lane, inner);
        self.holds = Holding::Nothing;
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

    /// The plan that the call follows from now on. If it is a newer one than the call began under,
    /// the call is not older than a poll, and goes by the newer one from its beginning.
    pub(super) fn hold(&mut self) -> &Arc<Numbered> {
        if self.held.is_none() {
            let held = self.inner.plans.hold();
            if held.number != self.number && self.progress == Progress::Begun {
                self.deadline = self.deadline_by(&held.plan);
            }
            self.held = Some(held);
        }
        // It is there: the lines above have seen to it.
        self.held.get_or_insert_with(|| self.inner.plans.hold())
    }

    /// What it holds, as a way that can be gone on with, or given back.
    fn way(&mut self) -> &mut Way {
        match self.holds {
            Holding::Nothing => self.holds = Holding::Way(Way::new()),
            Holding::Permit(permit) => self.holds = Holding::Way(Way::inside(permit)),
            Holding::Way(_) => {}
        }
        match &mut self.holds {
            Holding::Way(way) => way,
            Holding::Nothing | Holding::Permit(_) => unreachable!("made a way above"),
        }
    }

    /// Hands what the attempt holds to another owner.
    pub(super) fn take_way(&mut self) -> Way {
        self.way();
        match std::mem::replace(&mut self.holds, Holding::Nothing) {
            Holding::Way(way) => way,
            Holding::Nothing | Holding::Permit(_) => Way::new(),
        }
    }

    /// The plan, once it is held.
    #[inline]
    pub(super) fn held_plan(&self) -> Option<&Plan> {
        self.held.as_deref().map(|held| &held.plan)
    }

    /// The attempt under way has to wait.
    pub(super) fn waits(&mut self) {
        self.hold();
    }

    #[inline]
    pub(super) const fn attempt_deadline(&self) -> Instant {
        self.deadline
    }

    #[inline]
    pub(super) fn attempt_span(&self) -> Option<&tracing::Span> {
        self.spans.attempt()
    }

    #[inline]
    pub(super) fn enters_callers_code(&self) {
        self.in_callers_code.set(true);
    }

    #[inline]
    pub(super) fn leaves_callers_code(&self) {
        self.in_callers_code.set(false);
    }

    /// Whether whoever asks does so because that code panicked.
    pub(super) fn is_in_callers_code(&self) -> bool {
        self.in_callers_code.get()
    }

    /// The call ended without a result: dropped, or the caller's own code panicked.
    #[cold]
    fn abandon(&mut self) {
        let held = Arc::clone(self.hold());
        let (inner, lane) = (self.inner, lanes::current());
        self.now = clock::now();
        let took = self.now.span_since(self.attempt_began);
        let (observation, outcome) = if self.is_in_callers_code() {
            (PANICKED, Outcome::Failure)
        } else {
            (cut_short(&held.plan, took), Outcome::Cancelled)
        };
        let now = self.now;
        self.way()
            .abandon(&inner.guard, &held.plan, observation, now, lane, inner);
        self.count(outcome, lane);
    }
}

/// The refusal of a breaker that is open for some time yet, where nobody else is asked before it:
/// such a call is over before it has begun.
#[inline]
pub(super) fn refused_at_once(inner: &Inner) -> Option<Stopped> {
    if inner.guard.breaker.is_open() {
        refuse(inner)
    } else {
        None
    }
}

#[cold]
fn refuse(inner: &Inner) -> Option<Stopped> {
    let lane = lanes::current();
    let (_, gist) = inner.plans.gist(lane);
    if !gist.plain {
        return None;
    }
    let Rejection {
        reason,
        retry_after,
    } = inner.guard.breaker.refuse_at_once(clock::now())?;
    inner.recorder.record_refusal(lane, reason);
    inner.context.metrics.refused(inner.name, reason);
    Spans::begin(inner).refused(reason);
    Some(Stopped::Refused {
        operation: inner.name,
        reason,
        retry_after,
    })
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

impl Drop for Run<'_> {
    #[inline]
    fn drop(&mut self) {
        let untouched = self.progress == Progress::Outside && self.held.is_none();
        if self.progress != Progress::Counted && !untouched {
            self.abandon();
        }
    }
}
