//! Whether a call may go now, when to try again, and what its outcome means.
//!
//! A [`Plan`] is an operation's rules compiled; it is replaced whole when rules change. What lives
//! longer than any rules is kept apart, in the operation's [`Guard`]: its parts are told the rules
//! at a reload, so a new rule judges the old state, and nothing is lost. A [`Way`] leads one attempt
//! in and out again; an [`Execution`] walks one call through its attempts.
//!
//! **Whose rules.** What is shared follows the rules in force; what is a call's own (timeouts,
//! attempts, backoff, hedges) follows the plan the call began under. So a call that outlives a
//! reload is counted, judged and limited as everybody is by then, and ends as it was promised. Which
//! doors it asks at all, and how long it stands in a queue, its plan says; whether one opens, the
//! rules in force.
//!
//! ```text
//! overall deadline > retry or hedge > circuit breaker > rate limit > bulkhead > adaptive limit
//!                  > attempt timeout > the call
//! ```

pub mod adaptive;
mod attempt;
pub mod breaker;
pub mod budget;
pub mod execution;
#[cfg(test)]
mod fixtures;
pub mod hedge;
pub mod plan;
pub mod rate;
pub mod retry;
mod shadow;
pub mod slots;
mod watch;
mod way;

use adaptive::Adaptive;
use budget::Budget;
use rate::RateLimiter;
use slots::Slots;
use watch::News;

use crate::time::Instant;

pub use attempt::{Demand, Finding, Gate};
pub use breaker::{Breaker, Observation, Override, Permit};
pub use execution::{Execution, Next};
pub use plan::{Gist, Plan};
pub use shadow::ShadowGuard;
pub use watch::{Standing, Watch};
pub use way::Way;

/// What one operation's callers share, and what outlives every reload.
#[derive(Debug)]
pub struct Guard {
    /// Whether the dependency is to be called at all.
    pub breaker: Breaker,
    /// What retries and hedges are paid from.
    pub budget: Budget,
    /// How often it is called.
    pub rate: RateLimiter,
    /// Who is inside, and who is next.
    pub bulkhead: Slots,
    /// How many at once it carries.
    pub adaptive: Adaptive,
    /// The same on trial.
    pub shadow: ShadowGuard,
}

impl Guard {
    /// A guard at which nobody has called yet. `seed` fixes its jitter.
    pub fn new(plan: &Plan, seed: u64, now: Instant) -> Self {
        let (limit, room) = places(plan);
        Self {
            breaker: Breaker::new(&plan.breaker, seed, now),
            budget: Budget::new(&plan.budget, now),
            rate: RateLimiter::new(plan.rate.as_ref()),
            bulkhead: Slots::new(limit, room),
            adaptive: Adaptive::new(plan.concurrency.as_ref()),
            shadow: ShadowGuard::default(),
        }
    }

    /// Lets `new` rules judge what `old` ones led to. Once calls can see the new plan.
    pub fn reload<W: Watch>(&self, old: &Plan, new: &Plan, now: Instant, watch: &W) {
        let mut news = News::default();
        news.add(self.breaker.reload(&new.breaker, now), Standing::Enforced);
        self.budget.reload(&new.budget);
        self.rate.reload(new.rate.as_ref(), now);
        self.adaptive.reload(new.concurrency.as_ref());
        let (limit, room) = places(new);
        let wakes = self.bulkhead.resize(limit, room);
        self.shadow.reload(&old.shadow, &new.shadow, now, &mut news);
        wakes.wake();
        news.tell(watch);
    }
}

/// Slots, and places in the queue for one.
fn places(plan: &Plan) -> (u32, u32) {
    plan.bulkhead.map_or((u32::MAX, 0), |settings| {
        (settings.max_concurrent, settings.max_queue)
    })
}

#[cfg(test)]
mod tests;
