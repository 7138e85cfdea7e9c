//! One attempt's way in, and out again.
//!
//! ```text
//!   breaker --> rate limit --> (wait for its moment) --> bulkhead --> (wait in its queue)
//!      ^                              |                                      |
//!      +---- the state changed meanwhile: asks again <-----------------------+
//!                                                                            v
//!                                                  in <-- shadow <-- adaptive limit
//! ```
//!
//! Whatever was taken on the way is given back, wherever it ends: refused, timed out, dropped, or
//! because a watcher panics. The attempt's own clock starts when it is in. A shadow stands at the
//! end: it judges what the enforced rules let through, keeps its own account, and neither waits nor
//! refuses.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::{Context, Poll};

use super::Guard;
use super::attempt::{Demand, Finding, Gate};
use super::breaker::{Observation, Permit};
use super::plan::Plan;
use super::rate::Reservation;
use super::shadow::ShadowPass;
use super::slots::{Entered, Ticket};
use super::watch::{News, Standing, Watch};
use crate::lane::Lane;
use crate::outcome::{Reason, Rejection};
use crate::time::Instant;

/// An attempt on its way in, then inside. Must be [settled](Self::settle) or
/// [abandoned](Self::abandon).
#[derive(Debug)]
#[must_use = "what it holds must be given back"]
pub struct Way {
    stage: Stage,
    permit: Option<Permit>,
    reservation: Option<Reservation>,
    slot: bool,
    counted: bool,
    shadow: ShadowPass,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Breaker,
    Rate,
    Moment(Instant),
    Bulkhead,
    Queue(Ticket, Instant),
    Adaptive,
    Inside,
}

impl Way {
    /// Before the first door.
    pub const fn new() -> Self {
        Self {
            stage: Stage::Breaker,
            permit: None,
            reservation: None,
            slot: false,
            counted: false,
            shadow: ShadowPass::NONE,
        }
    }

    /// Already inside, with nothing but the breaker's permit.
    #[inline]
    pub const fn inside(permit: Permit) -> Self {
        Self {
            stage: Stage::Inside,
            permit: Some(permit),
            ..Self::new()
        }
    }

    /// Already inside, with nothing: calls are not guarded.
    pub const fn unguarded() -> Self {
        Self {
            stage: Stage::Inside,
            ..Self::new()
        }
    }

    /// Goes on as far as it can; once it is inside, what is on trial has been asked. If the watcher
    /// panics, nobody will go on with the attempt: it is outside again, and holds nothing.
    pub fn poll<W: Watch>(
        &mut self,
        guard: &Guard,
        plan: &Plan,
        demand: &Demand,
        cx: &Context<'_>,
        watch: &W,
    ) -> Gate {
        let was_inside = self.stage == Stage::Inside;
        let gate = self.poll_enforced(guard, plan, demand, cx, watch);
        if gate == Gate::Inside && !was_inside {
            self.try_out(guard, plan, demand, watch);
        }
        gate
    }

    /// As [`poll`](Self::poll), of an attempt that may yet not be made: what is on trial is not asked
    /// before it [is](Self::try_out).
    pub fn poll_enforced<W: Watch>(
        &mut self,
        guard: &Guard,
        plan: &Plan,
        demand: &Demand,
        cx: &Context<'_>,
        watch: &W,
    ) -> Gate {
        let mut news = News::default();
        let gate = self.advance(guard, plan, demand, cx, &mut news);
        self.tell_or_leave(guard, plan, demand.now, news, watch);
        gate
    }

    /// Asks what is on trial, of an attempt that is inside and is made.
    pub fn try_out<W: Watch>(&mut self, guard: &Guard, plan: &Plan, demand: &Demand, watch: &W) {
        let mut news = News::default();
        self.shadow = guard.shadow.admit(&plan.shadow, demand, &mut news);
        self.tell_or_leave(guard, plan, demand.now, news, watch);
    }

    /// If the watcher panics, nobody will go on with the attempt, and nobody stays inside.
    fn tell_or_leave<W: Watch>(
        &mut self,
        guard: &Guard,
        plan: &Plan,
        now: Instant,
        news: News,
        watch: &W,
    ) {
        // Nothing is half done that anybody could see: what was decided stands.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| news.tell(watch))) {
            let mut unheard = News::default();
            self.hand_back(guard, plan, now, Lane::SHARED, &mut unheard);
            resume_unwind(panic);
        }
    }

    fn advance(
        &mut self,
        guard: &Guard,
        plan: &Plan,
        demand: &Demand,
        cx: &Context<'_>,
        news: &mut News,
    ) -> Gate {
        while self.stage != Stage::Inside {
            match self.step(guard, plan, demand, cx, news) {
                Ok(Some(stage)) => self.stage = stage,
                Ok(None) => return Gate::Wait(self.waits_until()),
                Err(rejection) => {
                    self.hand_back(guard, plan, demand.now, Lane::SHARED, news);
                    return Gate::Refused(rejection);
                }
            }
        }
        Gate::Inside
    }

    /// The next stage; none if there is nothing to do but wait.
    fn step(
        &mut self,
        guard: &Guard,
        plan: &Plan,
        demand: &Demand,
        cx: &Context<'_>,
        news: &mut News,
    ) -> Result<Option<Stage>, Rejection> {
        let Demand {
            cost,
            now,
            deadline,
        } = *demand;
        Ok(Some(match self.stage {
            Stage::Breaker => {
                self.ask_breaker(guard, now, news)?;
                Stage::Rate
            }
            Stage::Rate if plan.rate.is_some() => {
                let reservation = guard.rate.reserve(cost, now, deadline)?;
                self.reservation = Some(reservation);
                Stage::Moment(reservation.at)
            }
            Stage::Rate => Stage::Bulkhead,
            Stage::Moment(at) if now < at => return Ok(None),
            Stage::Moment(_) => {
                self.ask_again(guard, now, news)?;
                Stage::Bulkhead
            }
            Stage::Bulkhead => match &plan.bulkhead {
                None => Stage::Adaptive,
                Some(settings) => match guard.bulkhead.enter() {
                    Entered::Inside => {
                        self.slot = true;
                        Stage::Adaptive
                    }
                    Entered::Waiting(ticket) => Stage::Queue(ticket, now + settings.max_wait),
                    Entered::Full => return Err(full(Reason::BulkheadFull)),
                },
            },
            Stage::Queue(ticket, until) => match guard.bulkhead.poll(ticket, cx) {
                Poll::Ready(()) => {
                    self.slot = true;
                    // Whatever becomes of it now, it is no longer in the queue.
                    self.stage = Stage::Adaptive;
                    self.ask_again(guard, now, news)?;
                    Stage::Adaptive
                }
                Poll::Pending if now < until => return Ok(None),
                Poll::Pending => return Err(full(Reason::BulkheadFull)),
            },
            Stage::Adaptive if plan.concurrency.is_some() => {
                if !guard.adaptive.enter() {
                    return Err(full(Reason::ConcurrencyLimited));
                }
                self.counted = true;
                Stage::Inside
            }
            Stage::Adaptive | Stage::Inside => Stage::Inside,
        }))
    }

    fn ask_breaker(
        &mut self,
        guard: &Guard,
        now: Instant,
        news: &mut News,
    ) -> Result<(), Rejection> {
        let step = guard.breaker.admit(now);
        news.add(step.changes, Standing::Enforced);
        self.permit = Some(step.answer?);
        Ok(())
    }

    /// After a wait: the breaker may have changed its mind.
    fn ask_again(&mut self, guard: &Guard, now: Instant, news: &mut News) -> Result<(), Rejection> {
        let Some(permit) = self
            .permit
            .filter(|permit| !guard.breaker.is_current(*permit, now))
        else {
            return Ok(());
        };
        self.permit = None;
        let nothing = Observation::Neutral;
        let given_back = guard
            .breaker
            .settle(permit, None, nothing, now, Lane::SHARED);
        news.add(given_back, Standing::Enforced);
        self.ask_breaker(guard, now, news)
    }

    fn waits_until(&self) -> Instant {
        match self.stage {
            Stage::Moment(at) => at,
            Stage::Queue(_, until) => until,
            _ => Instant::NEVER,
        }
    }

    /// Gives up instead of waiting; what it would have waited for is why.
    pub fn refuse_to_wait<W: Watch>(
        &mut self,
        guard: &Guard,
        plan: &Plan,
        now: Instant,
        watch: &W,
    ) -> Rejection {
        let rejection = match self.stage {
            Stage::Moment(at) => Rejection {
                reason: Reason::RateLimited,
                retry_after: Some(at.since(now)),
            },
            _ => full(Reason::BulkheadFull),
        };
        self.abandon(guard, plan, Observation::Neutral, now, Lane::SHARED, watch);
        rejection
    }

    /// The attempt has ended: everything is given back, with what was learned.
    pub fn settle<W: Watch>(
        &mut self,
        guard: &Guard,
        plan: &Plan,
        finding: Finding,
        now: Instant,
        lane: Lane,
        watch: &W,
    ) {
        let mut news = News::default();
        self.give_back(guard, plan, finding, now, lane, &mut news);
        news.tell(watch);
    }

    fn give_back(
        &mut self,
        guard: &Guard,
        plan: &Plan,
        finding: Finding,
        now: Instant,
        lane: Lane,
        news: &mut News,
    ) {
        // It begins anew with the next attempt; a reservation that got this far has been used.
        self.stage = Stage::Breaker;
        self.reservation = None;
        if let Some(permit) = self.permit.take() {
            let (trace, observation) = (plan.breaker.trace(), finding.observation);
            let settled = guard.breaker.settle(permit, trace, observation, now, lane);
            news.add(settled, Standing::Enforced);
        }
        let wakes = std::mem::take(&mut self.slot).then(|| guard.bulkhead.leave());
        if std::mem::take(&mut self.counted) {
            guard.adaptive.leave(finding.latency);
        }
        let pass = std::mem::take(&mut self.shadow);
        guard
            .shadow
            .settle(pass, &plan.shadow, finding, now, lane, news);
        // Somebody else's code, as a watcher's is.
        wakes.unwrap_or_default().wake();
    }

    /// The attempt ends before its time: on its way in nothing was learned, whatever `observation`
    /// says; once inside, that.
    pub fn abandon<W: Watch>(
        &mut self,
        guard: &Guard,
        plan: &Plan,
        observation: Observation,
        now: Instant,
        lane: Lane,
        watch: &W,
    ) {
        if self.stage == Stage::Inside {
            return self.settle(guard, plan, observation.into(), now, lane, watch);
        }
        self.take_back(guard, plan, now, lane, watch);
    }

    /// The attempt is not made after all: everything is given back, as if it had never asked.
    pub fn take_back<W: Watch>(
        &mut self,
        guard: &Guard,
        plan: &Plan,
        now: Instant,
        lane: Lane,
        watch: &W,
    ) {
        let mut news = News::default();
        self.hand_back(guard, plan, now, lane, &mut news);
        news.tell(watch);
    }

    fn hand_back(&mut self, guard: &Guard, plan: &Plan, now: Instant, lane: Lane, news: &mut News) {
        if let Stage::Queue(ticket, _) = self.stage {
            self.slot |= guard.bulkhead.give_up(ticket);
        }
        if let Some(reservation) = self.reservation.take() {
            guard.rate.give_back(reservation);
        }
        let nothing = Observation::Neutral.into();
        self.give_back(guard, plan, nothing, now, lane, news);
    }
}

impl Default for Way {
    fn default() -> Self {
        Self::new()
    }
}

const fn full(reason: Reason) -> Rejection {
    Rejection {
        reason,
        retry_after: None,
    }
}

#[cfg(test)]
mod tests;
