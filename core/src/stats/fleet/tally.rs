//! What rates and ratios are made of: the few figures of a span of time.

use std::time::Duration;

use crate::stats::Counts;
use crate::stats::totals::{REASONS, add};

use super::view::{Rates, Ratio};

/// Figures of a span of time; they add up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    calls: u64,
    settled: u64,
    bad: u64,
    retries: u64,
    hedges: u64,
    refusals: [u64; REASONS],
}

impl Tally {
    pub(super) fn of(counts: &Counts) -> Self {
        Self {
            calls: counts.all_calls(),
            settled: counts.settled(),
            bad: counts.bad(),
            retries: counts.retries,
            hedges: counts.hedges,
            refusals: counts.refusals,
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.settled = self.settled.saturating_add(other.settled);
        self.bad = self.bad.saturating_add(other.bad);
        self.retries = self.retries.saturating_add(other.retries);
        self.hedges = self.hedges.saturating_add(other.hedges);
        add(&mut self.refusals, &other.refusals);
    }

    pub(super) fn sum<'a>(tallies: impl Iterator<Item = &'a Self>) -> Self {
        tallies.fold(Self::default(), |mut sum, tally| {
            sum.merge(tally);
            sum
        })
    }

    pub(super) fn rates(&self, span: Duration) -> Rates {
        let per_second = |count: u64| count as f64 / span.as_secs_f64();
        Rates {
            span,
            calls_per_second: per_second(self.calls),
            failure: Ratio::of(self.bad, self.settled),
            retry: Ratio::of(self.retries, self.settled),
            hedge: Ratio::of(self.hedges, self.settled),
            refusals_per_second: self.refusals.map(per_second),
        }
    }
}

/// Only what one instance's own failure ratio needs, because there is one for every operation of
/// every instance.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Verdicts {
    settled: u32,
    bad: u32,
}

impl Verdicts {
    pub(super) fn count(&mut self, counts: &Counts) {
        self.settled = self.settled.saturating_add(saturate(counts.settled()));
        self.bad = self.bad.saturating_add(saturate(counts.bad()));
    }

    pub(super) fn ratio<'a>(verdicts: impl Iterator<Item = &'a Self>) -> Ratio {
        let (bad, settled) = verdicts.fold((0, 0), |(bad, settled), verdicts| {
            (
                bad + u64::from(verdicts.bad),
                settled + u64::from(verdicts.settled),
            )
        });
        Ratio::of(bad, settled)
    }
}

fn saturate(figure: u64) -> u32 {
    u32::try_from(figure).unwrap_or(u32::MAX)
}
