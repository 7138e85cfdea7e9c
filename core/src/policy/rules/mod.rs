//! The rules a layer may set: sections of optional fields, and the bounds of each.
//!
//! Unset means "inherit". Fields that only make sense together are one value ([`Trip`],
//! [`BulkheadLimit`], [`Hedging`]) and are replaced whole. A section that can refuse a call also
//! has a [`Mode`], which speaks of what the same layer says beside it and is inherited by none.

mod bounds;
mod breaker;
mod hedge;
mod limits;
mod retry;

use std::time::Duration;

pub use breaker::{CircuitBreaker, HalfOpen, RatioTrip, Trip, Window};
pub use hedge::{Hedge, HedgeTrigger, Hedging};
pub use limits::{Bulkhead, BulkheadLimit, ConcurrencyBounds, ConcurrencyLimit, Quota, RateLimit};
pub use retry::{Jitter, Retry, RetryBudget};

use super::violation::Violations;
use bounds::{DURATION, within};

/// What one layer sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// How long to wait.
    pub timeout: Timeout,
    /// When to try again.
    pub retry: Retry,
    /// When to stop trying.
    pub circuit_breaker: CircuitBreaker,
    /// How many calls at once.
    pub bulkhead: Bulkhead,
    /// How many calls in a time.
    pub rate_limit: RateLimit,
    /// How many calls at once, as far as the dependency keeps up.
    pub concurrency_limit: ConcurrencyLimit,
    /// When to ask a second time before the first answer is in.
    pub hedge: Hedge,
    /// `false`: calls pass straight through, counted but not guarded.
    pub enabled: Option<bool>,
}

/// How long to wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeout {
    /// Bounds each attempt.
    pub attempt: Option<Duration>,
    /// Bounds the whole call, backoffs included.
    pub overall: Option<Duration>,
}

/// Whether what a layer says of a section is enforced or only tried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It replaces what lower layers say. So does a section without a mode.
    Enforce,
    /// It stands beside what lower layers enforce: it decides and counts, and never waits or
    /// refuses.
    Shadow,
}

impl Rules {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Everything that is wrong with these rules taken by themselves.
    pub fn violations(&self) -> Violations {
        let mut found = Violations::none();
        self.timeout.check(&mut found);
        self.retry.check(&mut found);
        self.circuit_breaker.check(&mut found);
        self.bulkhead.check(&mut found);
        self.rate_limit.check(&mut found);
        self.concurrency_limit.check(&mut found);
        self.hedge.check(&mut found);
        found
    }
}

impl Timeout {
    fn check(&self, found: &mut Violations) {
        within(found, "rules.timeout.attempt", self.attempt, &DURATION);
        within(found, "rules.timeout.overall", self.overall, &DURATION);
        if let (Some(attempt), Some(overall)) = (self.attempt, self.overall)
            && attempt > overall
        {
            let bound = format!("must not exceed rules.timeout.overall ({overall:?})");
            found.add("rules.timeout.attempt", format!("{attempt:?}"), bound);
        }
    }
}

#[cfg(test)]
mod tests;
