//! When to ask a second time before the first answer is in.
//!
//! After Dean and Barroso, *The Tail at Scale* (CACM 56/2, 2013): a second request to what is
//! slow costs little and cuts the tail. Only what may be repeated is ever hedged.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::bounds::{LONGEST, at_most, within};
use crate::policy::ratio::Ratio;
use crate::policy::violation::Violations;

/// When to ask a second time before the first answer is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hedge {
    /// When, and how often.
    pub plan: Option<Hedging>,
}

/// When to hedge, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hedging {
    /// When each further attempt is made.
    pub trigger: HedgeTrigger,
    /// Further attempts at most.
    pub max_hedges: u32,
}

/// When a further attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HedgeTrigger {
    /// After the one before has taken this long; zero: all at once.
    Delay(Duration),
    /// After the one before has taken longer than this share of recent calls did.
    Percentile(Ratio),
}

impl HedgeTrigger {
    /// What a percentile must be: a fraction in basis points, and never the slowest call of all,
    /// after which there is nothing to hedge.
    pub const PERCENTILE_BOUND: &str = "must be at least 0.0001 and at most 0.9999";
}

const HEDGES: RangeInclusive<u32> = 1..=10;

impl Hedge {
    pub(super) fn check(&self, found: &mut Violations) {
        let Some(plan) = self.plan else { return };
        match plan.trigger {
            HedgeTrigger::Delay(delay) => {
                at_most(found, "rules.hedge.delay", Some(delay), LONGEST);
            }
            HedgeTrigger::Percentile(share) if share == Ratio::ONE => {
                let bound = HedgeTrigger::PERCENTILE_BOUND;
                found.add("rules.hedge.percentile", share, bound);
            }
            HedgeTrigger::Percentile(_) => {}
        }
        let field = "rules.hedge.max_hedges";
        within(found, field, Some(plan.max_hedges), &HEDGES);
    }
}
