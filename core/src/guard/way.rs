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
//! Whatever was taken on the way is given back, wherever it ends: refused, timed out, dropped. The
//! attempt's own clock starts when it is in. A shadow stands at the end: it judges what the
//! enforced rules let through, keeps its own account, and neither waits nor refuses.

use std::task::{Context, Poll};

use super::Guard;
use super::breaker::{Changes, Observation, Permit};
use super::plan::Plan;
use super::rate::Reservation;
use super::shadow::ShadowPass;
use super::slots::{Entered, Ticket};
use crate::lane::Lane;
use crate::outcome::{Reason, Rejection, Transition};
use crate::time::{Instant, Span};

/// Whoever wants to know what happens at a guard. Told while no lock is held.
pub trait Watch {
    /// A breaker changed its state: the one that is enforced, or the one in the shadow.
    fn changed(&self, transition: &Transition, standing: Standing);

    /// A shadow would have refused a call that was let in.
    fn would_refuse(&self, reason: Reason);
}

/// Whether what is told of was enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Yes.
    Enforced,
    /// No, it is a trial.
    Shadow,
}

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

/// What an attempt asks of a guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// What it takes of the rate limit, in permits.
    pub cost: u32,
    /// The present.
    pub now: Instant,
    /// When whoever made it must have an answer: a moment that comes later is of no use.
    pub deadline: Instant,
}

/// What an attempt showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// About the dependency.
    pub observation: Observation,
    /// How long it took, if that tells how long the dependency takes.
    pub latency: Option<Span>,
}

impl From<Observation> for Finding {
    fn from(observation: Observation) -> Self {
        Self {
            observation,
            latency: None,
        }
    }
}

/// How far an attempt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It may begin.
    Inside,
    /// Ask again then, or when woken.
    Wait(Instant),
    /// It may not, and holds nothing.
    Refused(Rejection),
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

    /// The breaker's permit, of an attempt that is inside and holds nothing else.
    #[inline]
    pub const fn only_permit(&self) -> Option<Permit> {
        if self.slot || self.counted || !self.shadow.is_none() {
            return None;
        }
        self.permit
    }

    /// Goes on as far as it can.
    pub fn poll<W: Watch>(
        &mut self,
        guard: &Guard,
        plan: &Plan,
        demand: &Demand,
        cx: &Context<'_>,
        watch: &W,
    ) -> Gate {
        while self.stage != Stage::Inside {
            match self.step(guard, plan, demand, cx, watch) {
                Ok(Some(stage)) => self.stage = stage,
                Ok(None) => return Gate::Wait(self.waits_until()),
                Err(rejection) => {
                    self.take_back(guard, plan, demand.now, Lane::SHARED, watch);
                    return Gate::Refused(rejection);
                }
            }
            if self.stage == Stage::Inside {
                self.shadow = guard.shadow.admit(&plan.shadow, demand, watch);
            }
        }
        Gate::Inside
    }

    /// The next stage; none if there is nothing to do but wait.
    fn step<W: Watch>(
        &mut self,
        guard: &Guard,
        plan: &Plan,
        demand: &Demand,
        cx: &Context<'_>,
        watch: &W,
    ) -> Result<Option<Stage>, Rejection> {
        let Demand {
            cost,
            now,
            deadline,
        } = *demand;
        Ok(Some(match self.stage {
            Stage::Breaker => {
                self.ask_breaker(guard, now, watch)?;
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
                self.ask_again(guard, now, watch)?;
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
                    self.ask_again(guard, now, watch)?;
                    Stage::Adaptive
                }
                Poll::Pending if now < until => return Ok(None),
                Poll::Pending => return Err(full(Reason::BulkheadFull)),
            },
            Stage::Adaptive => match &plan.concurrency {
                Some(bounds) if !guard.adaptive.enter(bounds) => {
                    return Err(full(Reason::ConcurrencyLimited));
                }
                Some(_) => {
                    self.counted = true;
                    Stage::Inside
                }
                None => Stage::Inside,
            },
            Stage::Inside => Stage::Inside,
        }))
    }

    fn ask_breaker<W: Watch>(
        &mut self,
        guard: &Guard,
        now: Instant,
        watch: &W,
    ) -> Result<(), Rejection> {
        let step = guard.breaker.admit(now);
        tell(step.changes, Standing::Enforced, watch);
        self.permit = Some(step.answer?);
        Ok(())
    }

    /// After a wait: the breaker may have changed its mind.
    fn ask_again<W: Watch>(
        &mut self,
        guard: &Guard,
        now: Instant,
        watch: &W,
    ) -> Result<(), Rejection> {
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
        tell(given_back, Standing::Enforced, watch);
        self.ask_breaker(guard, now, watch)
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
        // It begins anew with the next attempt; a reservation that got this far has been used.
        self.stage = Stage::Breaker;
        self.reservation = None;
        if let Some(permit) = self.permit.take() {
            let (trace, observation) = (plan.breaker.trace(), finding.observation);
            let settled = guard.breaker.settle(permit, trace, observation, now, lane);
            tell(settled, Standing::Enforced, watch);
        }
        if std::mem::take(&mut self.slot) {
            guard.bulkhead.leave().wake();
        }
        if let (true, Some(bounds)) = (std::mem::take(&mut self.counted), &plan.concurrency) {
            guard.adaptive.leave(bounds, finding.latency);
        }
        let pass = std::mem::take(&mut self.shadow);
        guard
            .shadow
            .settle(pass, &plan.shadow, finding, now, lane, watch);
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
        if let Stage::Queue(ticket, _) = self.stage {
            self.slot |= guard.bulkhead.give_up(ticket);
        }
        if let Some(reservation) = self.reservation.take() {
            guard.rate.give_back(reservation);
        }
        self.settle(guard, plan, Observation::Neutral.into(), now, lane, watch);
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

pub(super) fn tell<W: Watch>(changes: Changes, standing: Standing, watch: &W) {
    for transition in changes.iter() {
        watch.changed(transition, standing);
    }
}

#[cfg(test)]
mod tests;
