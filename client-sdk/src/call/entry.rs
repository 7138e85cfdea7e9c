//! How a call's attempts are let in.
//!
//! The first attempt of an operation with nothing but a breaker is let in at a look, or refused at
//! one. Everything else goes the guard's whole way in, and may have to wait there.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use fusebox_core::guard::{Demand, Gate, Observation, Permit, Plan, Way};
use fusebox_core::lane::Lane;
use fusebox_core::outcome::Rejection;
use fusebox_core::time::Instant;

use super::run::{Progress, Run};
use super::spans::Spans;
use crate::error::Stopped;
use crate::operation::Inner;
use crate::{clock, lanes};

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

impl Holding {
    /// The same, as a way that can be gone on with or given back in its place: whoever is told of a
    /// change on the way may panic, and what is still held then must be found here.
    pub(super) fn way(&mut self) -> &mut Way {
        let way = match std::mem::replace(self, Self::Nothing) {
            Self::Nothing => Way::new(),
            Self::Permit(permit) => Way::inside(permit),
            Self::Way(way) => way,
        };
        *self = Self::Way(way);
        match self {
            Self::Way(way) => way,
            Self::Nothing | Self::Permit(_) => unreachable!("it was made one just now"),
        }
    }
}

/// Why an attempt was not made.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stop {
    Refused(Rejection),
    OutOfTime,
}

impl Run<'_> {
    /// Lets a call's first attempt in, if a look is enough: the breaker alone decides, and is closed.
    // Always: as `Run::begin`.
    #[inline(always)]
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
        self.by_plan(|run, plan| run.step_in_by(plan, cx))
    }

    fn step_in_by(&mut self, plan: &Plan, cx: &Context<'_>) -> Result<Option<Instant>, Stop> {
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
        let (inner, demand) = (self.inner, self.demand(deadline));
        let way = self.holds.way();
        match way.poll(&inner.guard, plan, &demand, cx, inner) {
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
                let rejection = self.by_plan(|run, plan| {
                    let (inner, now) = (run.inner, run.now);
                    run.holds
                        .way()
                        .refuse_to_wait(&inner.guard, plan, now, inner)
                });
                Err(Stop::Refused(rejection))
            }
        }
    }

    /// What an attempt asks for now, of a call that must have ended by `deadline`.
    pub(super) const fn demand(&self, deadline: Instant) -> Demand {
        Demand {
            cost: self.asking.cost,
            now: self.now,
            deadline,
        }
    }

    pub(super) fn let_in(&mut self, plan: &Plan) {
        self.attempt_began = self.now;
        self.deadline = self.deadline_by(plan);
        let lane = lanes::current();
        if self.progress == Progress::Outside {
            self.begins(lane);
        } else {
            self.progress = Progress::Begun;
            self.inner.recorder.record_retry(lane);
            self.spans
                .attempt_begins(self.inner, self.execution.attempt());
        }
    }

    #[inline]
    pub(super) fn begins(&mut self, lane: Lane) {
        self.progress = Progress::Begun;
        self.inner.recorder.record_first_attempt(lane);
        self.spans
            .attempt_begins(self.inner, self.execution.attempt());
    }

    /// When the attempt that began at `attempt_began` must have ended.
    pub(super) fn deadline_by(&self, plan: &Plan) -> Instant {
        if !plan.enabled {
            return Instant::NEVER;
        }
        self.deadline_from(plan, self.attempt_began)
    }

    /// When an attempt that begins at `began` must have ended.
    pub(super) fn deadline_from(&self, plan: &Plan, began: Instant) -> Instant {
        (began + plan.attempt_timeout).min(self.execution.deadline(plan))
    }

    /// Ends an attempt that was on its way in.
    pub(super) fn leave_without(&mut self, plan: &Plan) {
        let (inner, lane, now) = (self.inner, lanes::current(), self.now);
        let nothing = Observation::Neutral;
        let way = self.holds.way();
        way.abandon(&inner.guard, plan, nothing, now, lane, inner);
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
