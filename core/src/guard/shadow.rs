//! Rules on trial: they decide and count beside those that are enforced, on accounts of their own,
//! and nobody is ever refused by them or waits for them.
//!
//! Invariant: nothing here touches the accounts of what is enforced, nor the other way round.

use std::sync::OnceLock;

use super::adaptive::Adaptive;
use super::attempt::{Demand, Finding};
use super::breaker::{Breaker, Permit, Settings, StateView};
use super::plan::{BulkheadSettings, ShadowPlan};
use super::rate::RateLimiter;
use super::slots::{Entered, Slots};
use super::watch::{News, Standing};
use crate::lane::Lane;
use crate::outcome::{Reason, Rejection};
use crate::time::Instant;

/// The accounts of an operation's shadow; made when a policy first asks for one.
#[derive(Debug, Default)]
pub struct ShadowGuard(OnceLock<Box<Accounts>>);

#[derive(Debug)]
struct Accounts {
    breaker: OnceLock<Breaker>,
    rate: RateLimiter,
    bulkhead: Slots,
    adaptive: Adaptive,
}

/// What an attempt holds of a shadow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ShadowPass {
    permit: Option<Permit>,
    slot: bool,
    counted: bool,
}

impl ShadowPass {
    pub(super) const NONE: Self = Self {
        permit: None,
        slot: false,
        counted: false,
    };

    #[inline]
    pub(super) const fn is_none(&self) -> bool {
        self.permit.is_none() && !self.slot && !self.counted
    }
}

impl ShadowGuard {
    /// What the shadow's breaker does, if there is one.
    pub fn state_at(&self, plan: &ShadowPlan, now: Instant) -> Option<StateView> {
        plan.breaker.as_ref()?;
        let breaker = self.0.get()?.breaker.get()?;
        Some(breaker.state_at(now))
    }

    pub(super) fn admit(&self, plan: &ShadowPlan, demand: &Demand, news: &mut News) -> ShadowPass {
        let mut pass = ShadowPass::NONE;
        if *plan != ShadowPlan::default()
            && let Err(reason) = self.enter(&mut pass, plan, demand, news)
        {
            news.add_would_refuse(reason);
        }
        pass
    }

    /// Stops at the first that would refuse, as a real call would.
    fn enter(
        &self,
        pass: &mut ShadowPass,
        plan: &ShadowPlan,
        demand: &Demand,
        news: &mut News,
    ) -> Result<(), Reason> {
        let Demand {
            cost,
            now,
            deadline,
        } = *demand;
        let accounts = self.accounts(plan);
        let refused = |rejection: Rejection| rejection.reason;
        if let Some(settings) = &plan.breaker {
            let breaker = accounts.breaker(settings, now);
            let step = breaker.admit(now);
            news.add(step.changes, Standing::Shadow);
            pass.permit = Some(step.answer.map_err(refused)?);
        }
        if plan.rate.is_some() {
            let reserved = accounts.rate.reserve(cost, now, deadline);
            reserved.map_err(refused)?;
        }
        if plan.bulkhead.is_some() {
            match accounts.bulkhead.enter() {
                Entered::Inside => pass.slot = true,
                Entered::Waiting(_) | Entered::Full => return Err(Reason::BulkheadFull),
            }
        }
        if plan.concurrency.is_some() {
            if !accounts.adaptive.enter() {
                return Err(Reason::ConcurrencyLimited);
            }
            pass.counted = true;
        }
        Ok(())
    }

    pub(super) fn settle(
        &self,
        pass: ShadowPass,
        plan: &ShadowPlan,
        finding: Finding,
        now: Instant,
        lane: Lane,
        news: &mut News,
    ) {
        let Some(accounts) = self.0.get().filter(|_| !pass.is_none()) else {
            return;
        };
        if let (Some(permit), Some(settings)) = (pass.permit, &plan.breaker) {
            let breaker = accounts.breaker(settings, now);
            let (trace, observation) = (settings.trace(), finding.observation);
            let settled = breaker.settle(permit, trace, observation, now, lane);
            news.add(settled, Standing::Shadow);
        }
        if pass.slot {
            // Nobody waits in a shadow.
            accounts.bulkhead.leave().wake();
        }
        if pass.counted {
            accounts.adaptive.leave(finding.latency);
        }
    }

    /// Carries what was counted over to the next plan; what was not on trial before begins anew.
    pub(super) fn reload(&self, old: &ShadowPlan, new: &ShadowPlan, now: Instant, news: &mut News) {
        if self.0.get().is_none() && *new == ShadowPlan::default() {
            return;
        }
        let accounts = self.accounts(new);
        if let Some(settings) = &new.breaker {
            let breaker = accounts.breaker(settings, now);
            news.add(breaker.reload(settings, now), Standing::Shadow);
            if old.breaker.is_none() {
                news.add(breaker.reset(now), Standing::Shadow);
            }
        }
        accounts.rate.reload(new.rate.as_ref(), now);
        accounts.adaptive.reload(new.concurrency.as_ref());
        accounts
            .bulkhead
            .resize(places(new.bulkhead.as_ref()), 0)
            .wake();
    }

    fn accounts(&self, plan: &ShadowPlan) -> &Accounts {
        self.0.get_or_init(|| {
            Box::new(Accounts {
                breaker: OnceLock::new(),
                rate: RateLimiter::new(plan.rate.as_ref()),
                bulkhead: Slots::new(places(plan.bulkhead.as_ref()), 0),
                adaptive: Adaptive::new(plan.concurrency.as_ref()),
            })
        })
    }
}

impl Accounts {
    fn breaker(&self, settings: &Settings, now: Instant) -> &Breaker {
        // The seed only spreads processes; a trial has nobody to spread.
        self.breaker.get_or_init(|| Breaker::new(settings, 0, now))
    }
}

/// Whoever would wait in the queue would be let in sooner or later.
fn places(bulkhead: Option<&BulkheadSettings>) -> u32 {
    bulkhead.map_or(u32::MAX, |settings| {
        settings.max_concurrent.saturating_add(settings.max_queue)
    })
}
