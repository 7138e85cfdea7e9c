//! How much a caller may ask of a dependency: at once, in a time, and as far as it keeps up.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Mode;
use super::bounds::{DURATION, LONGEST, at_most, within};
use crate::policy::violation::Violations;

/// How many calls at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bulkhead {
    /// The limit.
    pub limit: Option<BulkheadLimit>,
    /// Whether it is enforced or only tried out.
    pub mode: Option<Mode>,
}

/// A fixed number of calls at once, and a queue before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkheadLimit {
    /// Calls at once.
    pub max_concurrent: u32,
    /// Calls that may wait for their turn.
    pub max_queue: u32,
    /// How long one may wait; zero: not at all.
    pub max_wait: Duration,
}

/// How many calls in a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// The quota.
    pub quota: Option<Quota>,
    /// Whether it is enforced or only tried out.
    pub mode: Option<Mode>,
}

/// A number of calls in a time, spread evenly over it but for a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Calls in each `per`.
    pub permits: u32,
    /// The time they are counted over.
    pub per: Duration,
    /// Calls that may come at once after a pause; 1: each after its own interval.
    pub burst: u32,
    /// How long a call may wait for its turn; zero: not at all.
    pub max_wait: Duration,
}

impl Quota {
    /// The burst of a quota that is set without one: as many as one `per` allows, which is what "a
    /// hundred a second" says. Legal even if `permits` are not.
    pub fn default_burst(permits: u32) -> u32 {
        permits.clamp(*PERMITS.start(), *PERMITS.end())
    }
}

/// How many calls at once, as far as the dependency keeps up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConcurrencyLimit {
    /// Between what the limit moves.
    pub bounds: Option<ConcurrencyBounds>,
    /// Whether it is enforced or only tried out.
    pub mode: Option<Mode>,
}

/// Between what an adaptive limit on calls at once moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConcurrencyBounds {
    /// The least it may fall to.
    pub min: u32,
    /// The most it may rise to.
    pub max: u32,
}

const CONCURRENT: RangeInclusive<u32> = 1..=100_000;
const LONGEST_QUEUE: u32 = 100_000;
const PERMITS: RangeInclusive<u32> = 1..=1_000_000_000;

impl Bulkhead {
    pub(super) fn check(&self, found: &mut Violations) {
        let Some(limit) = self.limit else { return };
        within(
            found,
            "rules.bulkhead.max_concurrent",
            Some(limit.max_concurrent),
            &CONCURRENT,
        );
        at_most(
            found,
            "rules.bulkhead.max_queue",
            Some(limit.max_queue),
            LONGEST_QUEUE,
        );
        at_most(
            found,
            "rules.bulkhead.max_wait",
            Some(limit.max_wait),
            LONGEST,
        );
    }
}

impl RateLimit {
    pub(super) fn check(&self, found: &mut Violations) {
        let Some(quota) = self.quota else { return };
        within(
            found,
            "rules.rate_limit.permits",
            Some(quota.permits),
            &PERMITS,
        );
        within(found, "rules.rate_limit.per", Some(quota.per), &DURATION);
        within(found, "rules.rate_limit.burst", Some(quota.burst), &PERMITS);
        at_most(
            found,
            "rules.rate_limit.max_wait",
            Some(quota.max_wait),
            LONGEST,
        );
    }
}

impl ConcurrencyBounds {
    /// As far apart as they may be.
    pub const WIDEST: Self = Self {
        min: *CONCURRENT.start(),
        max: *CONCURRENT.end(),
    };
}

impl ConcurrencyLimit {
    pub(super) fn check(&self, found: &mut Violations) {
        let Some(ConcurrencyBounds { min, max }) = self.bounds else {
            return;
        };
        let (min_field, max_field) = ("rules.concurrency_limit.min", "rules.concurrency_limit.max");
        within(found, min_field, Some(min), &CONCURRENT);
        within(found, max_field, Some(max), &CONCURRENT);
        // Of a bound that is none, enough has been said.
        if min > max && CONCURRENT.contains(&min) && CONCURRENT.contains(&max) {
            found.add(
                min_field,
                min,
                format!("must not exceed {max_field} ({max})"),
            );
        }
    }
}
