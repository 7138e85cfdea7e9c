//! When to try again, and how much trying again a dependency is to bear.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::bounds::{DURATION, at_most, within};
use crate::policy::ratio::{Multiplier, Share};
use crate::policy::violation::Violations;

/// When to try again: exponential backoff with jitter, within a budget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, the first included.
    pub max_attempts: Option<u32>,
    /// The first retry's longest sleep.
    pub base_delay: Option<Duration>,
    /// The longest sleep of any retry.
    pub max_delay: Option<Duration>,
    /// How much longer each retry's sleep may be than the one before.
    pub multiplier: Option<Multiplier>,
    /// How the sleeps of many callers are spread.
    pub jitter: Option<Jitter>,
    /// How many retries there may be beside first attempts.
    pub budget: Option<RetryBudget>,
    /// Whether a delay that the server asks for replaces the backoff's own.
    pub honor_retry_after: Option<bool>,
}

/// How a sleep is drawn, given the longest that the backoff allows.
///
/// The names are Marc Brooker's, *Exponential Backoff and Jitter* (AWS Architecture Blog, 2015).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jitter {
    /// Anything between nothing and the longest.
    #[default]
    Full,
    /// Half of the longest, and anything up to the other half.
    Equal,
    /// Always the longest.
    None,
}

/// How many retries there may be beside first attempts, per operation and process: the sum of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    /// Retries as a share of first attempts.
    pub ratio: Share,
    /// Retries a second that are always allowed.
    pub min_per_second: u32,
}

const ATTEMPTS: RangeInclusive<u32> = 1..=1000;
const MOST_PER_SECOND: u32 = 10_000;

impl Retry {
    pub(super) fn check(&self, found: &mut Violations) {
        within(
            found,
            "rules.retry.max_attempts",
            self.max_attempts,
            &ATTEMPTS,
        );
        within(found, "rules.retry.base_delay", self.base_delay, &DURATION);
        within(found, "rules.retry.max_delay", self.max_delay, &DURATION);
        if let (Some(base), Some(max)) = (self.base_delay, self.max_delay)
            && base > max
        {
            let bound = format!("must not exceed rules.retry.max_delay ({max:?})");
            found.add("rules.retry.base_delay", format!("{base:?}"), bound);
        }
        at_most(
            found,
            "rules.retry.budget.min_per_second",
            self.budget.map(|budget| budget.min_per_second),
            MOST_PER_SECOND,
        );
    }
}
