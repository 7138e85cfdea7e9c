//! An attempt, and those beside it: the first success wins, the others are dropped.
//!
//! Each contender holds its own way in and has its own timeout. One that fails while others are
//! under way is settled, and the race goes on; the last to fail is what the attempt as a whole ends
//! with. A failure that must not be repeated ends the race at once.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use fusebox_core::guard::{Gate, Way};
use fusebox_core::outcome::{Again, Outcome, Verdict};
use fusebox_core::time::{Instant, Span};
use tokio::time::Sleep;

use super::ending::{PANICKED, Settled, circumstances, cut_short};
use super::entry::Holding;
use super::run::Run;
use crate::classify::Classify;
use crate::error::Limit;
use crate::operation::Cx;
use crate::plans::Numbered;
use crate::{clock, lanes};

/// The contenders of one attempt. Dropped, it gives back what they hold.
struct Race<'r, 'a, Fut> {
    run: &'r mut Run<'a>,
    held: Arc<Numbered>,
    contenders: Vec<Contender<Fut>>,
    /// The one whose code is running.
    polled: usize,
    /// When the first began.
    began: Instant,
    /// The number of the next hedge, while there may be one.
    next_hedge: Option<u32>,
    /// What a hedge by percentile waits for.
    observed: Option<Span>,
    timer: Option<(Instant, Pin<Box<Sleep>>)>,
}

struct Contender<Fut> {
    future: Pin<Box<Fut>>,
    way: Way,
    began: Instant,
    deadline: Instant,
    span: Option<tracing::Span>,
}

/// How a race ends.
enum Ended<T, E> {
    /// The contender whose turn it was is the run's attempt now.
    Result(Verdict, Result<T, E>),
    /// The last one was cut off.
    Cut(Limit),
}

impl Run<'_> {
    /// Whether this attempt may have others beside it.
    #[inline]
    pub(super) fn hedges(&self) -> bool {
        self.inner.idempotent
            && self
                .held_plan()
                .is_some_and(|plan| plan.enabled && plan.hedge.is_some())
    }

    /// Polls the attempt that has been let in, and those that become due beside it. The answer of
    /// one that did not decide the race goes to `last`.
    pub(super) async fn attempt_hedged<T, E, C, Fut>(
        &mut self,
        classify: &C,
        f: &impl Fn(Cx) -> Fut,
        last: &mut Option<Result<T, E>>,
    ) -> Settled<T, E>
    where
        C: Classify<T, E>,
        Fut: Future<Output = Result<T, E>>,
    {
        let ended = {
            let first = self.making(f);
            let mut race = Race::begin(self, first);
            poll_fn(|cx| race.poll(classify, f, last, cx)).await
        };
        match ended {
            Ended::Cut(limit) => self.after_cut(limit),
            Ended::Result(verdict, result) => {
                if self.succeeds_at_once(verdict) {
                    return Settled::Return(result);
                }
                self.settle(verdict, result)
            }
        }
    }
}

impl<'r, 'a, Fut> Race<'r, 'a, Fut> {
    fn begin(run: &'r mut Run<'a>, first: Fut) -> Self {
        let held = Arc::clone(run.hold());
        let (began, deadline) = (run.attempt_began, run.deadline);
        let share = held.plan.hedge.and_then(|hedge| hedge.percentile());
        let inner = run.inner;
        let observed =
            share.and_then(|share| inner.observed.latency_at(share, &inner.recorder, began));
        let first = Contender {
            future: Box::pin(first),
            way: run.take_way(),
            began,
            deadline,
            span: run.attempt_span().cloned(),
        };
        Self {
            run,
            held,
            contenders: vec![first],
            polled: 0,
            began,
            next_hedge: Some(1),
            observed,
            timer: None,
        }
    }

    fn poll<T, E, C>(
        &mut self,
        classify: &C,
        f: &impl Fn(Cx) -> Fut,
        last: &mut Option<Result<T, E>>,
        cx: &mut Context<'_>,
    ) -> Poll<Ended<T, E>>
    where
        C: Classify<T, E>,
        Fut: Future<Output = Result<T, E>>,
    {
        loop {
            if let Some(ended) = self.poll_contenders(classify, last, cx) {
                return Poll::Ready(ended);
            }
            self.run.now = clock::now();
            if let Some(limit) = self.cut_off_overdue() {
                return Poll::Ready(Ended::Cut(limit));
            }
            // A new one wants to be polled.
            if self.hedge(f) {
                continue;
            }
            if self.sleep(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Polls each once; the answer is what ended the race.
    fn poll_contenders<T, E, C>(
        &mut self,
        classify: &C,
        last: &mut Option<Result<T, E>>,
        cx: &mut Context<'_>,
    ) -> Option<Ended<T, E>>
    where
        C: Classify<T, E>,
        Fut: Future<Output = Result<T, E>>,
    {
        self.polled = 0;
        while let Some(contender) = self.contenders.get_mut(self.polled) {
            let entered = contender.span.as_ref().map(tracing::Span::enter);
            self.run.enters_callers_code();
            let polled = contender.future.as_mut().poll(cx);
            self.run.leaves_callers_code();
            drop(entered);
            let Poll::Ready(result) = polled else {
                self.polled += 1;
                continue;
            };
            let verdict = self.run.judging(classify, &result);
            self.run.now = clock::now();
            self.take_out(self.polled);
            let decides = !matches!(
                verdict,
                Verdict::Failure(Again::NeverSent | Again::IfIdempotent(_))
            );
            if decides || self.contenders.is_empty() {
                return Some(Ended::Result(verdict, result));
            }
            self.run.judge(verdict);
            *last = Some(result);
        }
        None
    }

    /// Makes the contender at `at` the run's own attempt.
    fn take_out(&mut self, at: usize) {
        let contender = self.contenders.remove(at);
        self.run.holds = Holding::Way(contender.way);
        self.run.attempt_began = contender.began;
        self.run.deadline = contender.deadline;
    }

    /// Settles those that have run out of time; the answer is the limit if none is left.
    fn cut_off_overdue(&mut self) -> Option<Limit> {
        let mut limit = None;
        while let Some(at) = self
            .contenders
            .iter()
            .position(|contender| contender.deadline <= self.run.now)
        {
            self.take_out(at);
            limit = Some(self.run.observe_cut());
        }
        limit.filter(|_| self.contenders.is_empty())
    }

    /// Begins a hedge if one is due and may go at once: one that would have to wait is none.
    fn hedge(&mut self, f: &impl Fn(Cx) -> Fut) -> bool {
        if self.due().is_none_or(|due| self.run.now < due) {
            return false;
        }
        match self.admit_hedge() {
            None => {
                self.next_hedge = None;
                false
            }
            Some(way) => {
                self.next_hedge = self.next_hedge.map(|number| number + 1);
                self.start(way, f);
                true
            }
        }
    }

    fn due(&self) -> Option<Instant> {
        let hedge = self.held.plan.hedge.as_ref()?;
        hedge.due(self.next_hedge?, self.began, self.observed)
    }

    fn admit_hedge(&mut self) -> Option<Way> {
        let demand = self
            .run
            .demand(self.run.execution.deadline(&self.held.plan));
        let Run {
            inner,
            asking,
            execution,
            now,
            ..
        } = &mut *self.run;
        let (guard, plan, now) = (&inner.guard, &self.held.plan, *now);
        if !execution.may_hedge(plan, guard, now) {
            return None;
        }
        let mut way = Way::new();
        let cx = Context::from_waker(Waker::noop());
        match way.poll_enforced(guard, plan, &demand, &cx, *inner) {
            Gate::Inside => {}
            Gate::Refused(_) => return None,
            Gate::Wait(_) => {
                let _ = way.refuse_to_wait(guard, plan, now, *inner);
                return None;
            }
        }
        let circumstances = circumstances(inner, now);
        if asking.around.pay() {
            if execution.hedge(plan, guard, &circumstances) {
                way.try_out(guard, plan, &demand, *inner);
                return Some(way);
            }
            asking.around.refund();
        }
        way.take_back(guard, plan, now, lanes::current(), *inner);
        None
    }

    fn start(&mut self, way: Way, f: &impl Fn(Cx) -> Fut) {
        let run = &mut *self.run;
        let number = run.execution.attempt();
        run.inner.recorder.record_hedge(lanes::current());
        let deadline = run.deadline_from(&self.held.plan, run.now);
        // In its place before the caller's code makes its future: if that panics, it is this one.
        self.polled = self.contenders.len();
        run.holds = Holding::Way(way);
        run.attempt_began = run.now;
        run.deadline = deadline;
        let future = Box::pin(run.making(f));
        let span = run.spans.beside(run.inner, number);
        self.contenders.push(Contender {
            future,
            way: run.take_way(),
            began: run.now,
            deadline,
            span,
        });
    }

    /// Sleeps until the next thing is due.
    fn sleep(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let ends = self.contenders.iter().map(|contender| contender.deadline);
        let at = ends.chain(self.due()).min().unwrap_or(Instant::NEVER);
        let (_, timer) = match &mut self.timer {
            Some(timer) if timer.0 == at => timer,
            stale => {
                let sleep = tokio::time::sleep_until(clock::runtime_instant(at));
                stale.insert((at, Box::pin(sleep)))
            }
        };
        let polled = timer.as_mut().poll(cx);
        if polled.is_ready() {
            self.timer = None;
        }
        polled
    }
}

impl<Fut> Drop for Race<'_, '_, Fut> {
    fn drop(&mut self) {
        let (inner, now, lane) = (self.run.inner, clock::now(), lanes::current());
        let (guard, plan) = (&inner.guard, &self.held.plan);
        let panicked = self.run.is_in_callers_code().then_some(self.polled);
        for (at, contender) in self.contenders.iter_mut().enumerate() {
            let took = now.span_since(contender.began);
            let observation = if panicked == Some(at) {
                PANICKED
            } else {
                cut_short(plan, took)
            };
            if let Some(span) = &contender.span {
                super::spans::tell(span, Outcome::Cancelled);
            }
            contender
                .way
                .abandon(guard, plan, observation, now, lane, inner);
        }
    }
}
