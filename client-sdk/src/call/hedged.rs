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
use crate::operation::{Cx, Inner};
use crate::plans::Numbered;
use crate::{clock, lanes};

/// The contenders of one attempt.
struct Race<'r, 'a, Fut> {
    run: &'r mut Run<'a>,
    held: Arc<Numbered>,
    contenders: Vec<Contender<'a, Fut>>,
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

/// Its future goes before what it holds is given back.
struct Contender<'a, Fut> {
    future: Pin<Box<Fut>>,
    deadline: Instant,
    entrant: Entrant<'a>,
}

/// What a contender holds of the guard. Dropped, it is given back, whatever becomes of the others.
struct Entrant<'a> {
    inner: &'a Inner,
    held: Arc<Numbered>,
    way: Way,
    began: Instant,
    span: Option<tracing::Span>,
    /// The caller's code that is dropped is so because it panicked.
    panicked: bool,
}

impl<'a> Entrant<'a> {
    fn new(inner: &'a Inner, held: &Arc<Numbered>, began: Instant) -> Self {
        Self {
            inner,
            held: Arc::clone(held),
            way: Way::new(),
            began,
            span: None,
            panicked: false,
        }
    }

    /// Is the run's own attempt from now on.
    fn become_own_of(mut self, run: &mut Run<'_>) {
        run.holds = Holding::Way(std::mem::take(&mut self.way));
        run.attempt_began = self.began;
        run.spans.put_attempt(self.span.take());
    }
}

impl Drop for Entrant<'_> {
    fn drop(&mut self) {
        let (inner, now, lane) = (self.inner, clock::now(), lanes::current());
        let (guard, plan) = (&inner.guard, &self.held.plan);
        let (observation, outcome) = if self.panicked {
            (PANICKED, Outcome::Failure)
        } else {
            let took = now.span_since(self.began);
            (cut_short(plan, took), Outcome::Cancelled)
        };
        self.way.abandon(guard, plan, observation, now, lane, inner);
        if let Some(span) = &self.span {
            super::spans::tell(span, outcome);
        }
    }
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
        let mut entrant = Entrant::new(inner, &held, began);
        std::mem::swap(&mut entrant.way, run.holds.way());
        entrant.span = run.spans.take_attempt();
        let first = Contender {
            future: Box::pin(first),
            deadline,
            entrant,
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
            let entered = contender.entrant.span.as_ref().map(tracing::Span::enter);
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
            let outcome = self.run.judge(verdict);
            self.run.spans.attempt_ended(outcome);
            *last = Some(result);
        }
        None
    }

    /// Makes the contender at `at` the run's own attempt.
    fn take_out(&mut self, at: usize) {
        let Contender {
            future,
            deadline,
            entrant,
        } = self.contenders.remove(at);
        drop(future);
        self.run.deadline = deadline;
        entrant.become_own_of(self.run);
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
            self.run.spans.attempt_ended(Outcome::Timeout);
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
            Some(entrant) => {
                self.next_hedge = self.next_hedge.map(|number| number + 1);
                self.start(entrant, f);
                true
            }
        }
    }

    fn due(&self) -> Option<Instant> {
        let hedge = self.held.plan.hedge.as_ref()?;
        hedge.due(self.next_hedge?, self.began, self.observed)
    }

    fn admit_hedge(&mut self) -> Option<Entrant<'a>> {
        let deadline = self.run.execution.deadline(&self.held.plan);
        let demand = self.run.demand(deadline);
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
        let mut entrant = Entrant::new(inner, &self.held, now);
        let cx = Context::from_waker(Waker::noop());
        match entrant.way.poll_enforced(guard, plan, &demand, &cx, *inner) {
            Gate::Inside => {}
            Gate::Refused(_) => return None,
            Gate::Wait(_) => {
                let _ = entrant.way.refuse_to_wait(guard, plan, now, *inner);
                return None;
            }
        }
        let circumstances = circumstances(inner, now);
        if asking.around.pay() {
            if execution.hedge(plan, guard, &circumstances) {
                entrant.way.try_out(guard, plan, &demand, *inner);
                return Some(entrant);
            }
            asking.around.refund();
        }
        let lane = lanes::current();
        entrant.way.take_back(guard, plan, now, lane, *inner);
        None
    }

    fn start(&mut self, mut entrant: Entrant<'a>, f: &impl Fn(Cx) -> Fut) {
        let run = &mut *self.run;
        run.inner.recorder.record_hedge(lanes::current());
        let deadline = run.deadline_from(&self.held.plan, run.now);
        run.deadline = deadline;
        // Nobody in the race is polled while the caller's code makes this one's future.
        self.polled = self.contenders.len();
        entrant.span = run.spans.beside(run.inner, run.execution.attempt());
        entrant.panicked = true;
        let future = Box::pin(run.making(f));
        entrant.panicked = false;
        self.contenders.push(Contender {
            future,
            deadline,
            entrant,
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
        if self.run.is_in_callers_code()
            && let Some(panicked) = self.contenders.get_mut(self.polled)
        {
            panicked.entrant.panicked = true;
        }
    }
}
