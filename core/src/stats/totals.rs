//! What one operation has counted since its process started, or what several have in all.
//!
//! Figures only grow. That makes a lost or repeated report harmless (the reader subtracts what it
//! knew), and it makes "an older state" checkable: [`Totals::since`] refuses when any figure would
//! go backwards.
//!
//! Invariants: there are never more latencies than calls that carry one; a [`Totals`] from outside
//! holds no figure beyond [`MAX_COUNT`], so that sums over a fleet do not saturate in practice.

use super::histogram::{Histogram, MAX_COUNT};
use crate::outcome::{Outcome, Reason};

pub(super) const OUTCOMES: usize = Outcome::ALL.len();
pub(super) const REASONS: usize = Reason::ALL.len();

/// Absolute counts; see the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    counts: Counts,
    latency: Histogram,
}

/// Everything that is counted and not measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls by how they ended, in the order of [`Outcome::ALL`].
    pub calls: [u64; Outcome::ALL.len()],
    /// Calls refused before they reached the dependency, in the order of [`Reason::ALL`].
    pub refusals: [u64; Reason::ALL.len()],
    /// Attempts let in that a rule on trial would have refused, in the order of [`Reason::ALL`].
    pub would_refuse: [u64; Reason::ALL.len()],
    /// Attempts after a failed one.
    pub retries: u64,
    /// Attempts beside a slow one.
    pub hedges: u64,
}

impl Totals {
    /// Checks figures that somebody sent.
    pub fn new(counts: Counts, latency: Histogram) -> Result<Self, InvalidTotals> {
        counts.check(latency.count())?;
        Ok(Self::unchecked(counts, latency))
    }

    /// For the recorder, whose figures are right by construction.
    pub(super) const fn unchecked(counts: Counts, latency: Histogram) -> Self {
        Self { counts, latency }
    }

    /// Everything that is counted and not measured.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Calls that ended this way.
    pub const fn calls(&self, outcome: Outcome) -> u64 {
        self.counts.calls[outcome as usize]
    }

    /// Calls refused for this reason before they reached the dependency.
    pub const fn refusals(&self, reason: Reason) -> u64 {
        self.counts.refusals[reason as usize]
    }

    /// Attempts let in that a rule on trial would have refused for this reason.
    pub const fn would_refuse(&self, reason: Reason) -> u64 {
        self.counts.would_refuse[reason as usize]
    }

    /// Attempts after a failed one.
    pub const fn retries(&self) -> u64 {
        self.counts.retries
    }

    /// Attempts beside a slow one.
    pub const fn hedges(&self) -> u64 {
        self.counts.hedges
    }

    /// How long the settled calls took.
    pub const fn latency(&self) -> &Histogram {
        &self.latency
    }

    /// Calls that were not refused, however they ended: those too that ended while they still waited
    /// for their turn.
    pub fn all_calls(&self) -> u64 {
        self.counts.all_calls()
    }

    /// Calls refused for any reason.
    pub fn all_refusals(&self) -> u64 {
        self.counts.all_refusals()
    }

    /// How often the dependency was asked at most: once for each call, its retries and its hedges.
    pub fn attempts(&self) -> u64 {
        let beyond_first = self.retries().saturating_add(self.hedges());
        self.all_calls().saturating_add(beyond_first)
    }

    /// Calls that speak against the dependency.
    pub fn bad(&self) -> u64 {
        self.counts.bad()
    }

    /// Calls that say something about the dependency, for it or against it; they alone carry a
    /// latency.
    pub fn settled(&self) -> u64 {
        self.counts.settled()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds `other`'s figures to these. Associative and commutative; saturates.
    pub fn merge(&mut self, other: &Self) {
        self.counts.merge(&other.counts);
        self.latency.merge(&other.latency);
    }

    /// What was counted after `earlier`; `None` if any figure went backwards, so that `earlier`
    /// cannot be an earlier state of this.
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        Some(Self {
            counts: self.counts.since(&earlier.counts)?,
            latency: self.latency.since(&earlier.latency)?,
        })
    }
}

impl Counts {
    /// Whether a process can have counted this, with so many latencies.
    #[inline]
    pub(super) fn check(&self, latencies: u64) -> Result<(), InvalidTotals> {
        // MAX_COUNT is all ones: whatever has a bit above it is too large.
        let of = |figures: &[u64]| figures.iter().fold(0, |bits, value| bits | value);
        let bits = of(&self.calls) | of(&self.refusals) | of(&self.would_refuse);
        if bits | self.retries | self.hedges > MAX_COUNT
            && let Some((figure, value)) = self.figures().find(|&(_, value)| value > MAX_COUNT)
        {
            return Err(InvalidTotals::TooLarge { figure, value });
        }
        let calls = self.settled();
        if latencies > calls {
            return Err(InvalidTotals::MoreLatenciesThanCalls { latencies, calls });
        }
        Ok(())
    }

    /// Every figure with its name.
    fn figures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let outcomes = Outcome::ALL.iter().map(|outcome| outcome.name());
        let reasons = Reason::ALL.iter().map(|reason| reason.name());
        let trials = self.would_refuse.iter();
        outcomes
            .zip(self.calls)
            .chain(reasons.zip(self.refusals))
            .chain(trials.map(|&value| ("would_refuse", value)))
            .chain([("retries", self.retries), ("hedges", self.hedges)])
    }

    /// Calls that were not refused, however they ended.
    #[inline]
    pub(super) fn all_calls(&self) -> u64 {
        sum(&self.calls)
    }

    /// Calls refused for any reason.
    pub(super) fn all_refusals(&self) -> u64 {
        sum(&self.refusals)
    }

    /// Calls that speak against the dependency.
    #[inline]
    pub(super) fn bad(&self) -> u64 {
        let bad = Outcome::ALL.into_iter().filter(|outcome| outcome.is_bad());
        bad.fold(0, |sum, outcome| {
            sum.saturating_add(self.calls[outcome as usize])
        })
    }

    /// Calls that say something about the dependency, for it or against it.
    #[inline]
    pub(super) fn settled(&self) -> u64 {
        self.calls[Outcome::Success as usize].saturating_add(self.bad())
    }

    /// Adds `other`'s figures to these. Associative and commutative; saturates.
    #[inline]
    pub(super) fn merge(&mut self, other: &Self) {
        add(&mut self.calls, &other.calls);
        add(&mut self.refusals, &other.refusals);
        add(&mut self.would_refuse, &other.would_refuse);
        self.retries = self.retries.saturating_add(other.retries);
        self.hedges = self.hedges.saturating_add(other.hedges);
    }

    /// What was counted after `earlier`; `None` if any figure went backwards.
    #[inline]
    pub(super) fn since(&self, earlier: &Self) -> Option<Self> {
        Some(Self {
            calls: subtract(&self.calls, &earlier.calls)?,
            refusals: subtract(&self.refusals, &earlier.refusals)?,
            would_refuse: subtract(&self.would_refuse, &earlier.would_refuse)?,
            retries: self.retries.checked_sub(earlier.retries)?,
            hedges: self.hedges.checked_sub(earlier.hedges)?,
        })
    }
}

/// Whether calls with this outcome have their latency counted: how long a call took that says
/// nothing about the dependency says nothing about it either.
pub(super) const fn carries_latency(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Success) || outcome.is_bad()
}

fn sum(figures: &[u64]) -> u64 {
    figures
        .iter()
        .fold(0, |sum, &figure| sum.saturating_add(figure))
}

#[inline]
pub(super) fn add<const N: usize>(to: &mut [u64; N], from: &[u64; N]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = to.saturating_add(*from);
    }
}

#[inline]
fn subtract<const N: usize>(later: &[u64; N], earlier: &[u64; N]) -> Option<[u64; N]> {
    // No way out of the loop, so that it is done for several figures at a time.
    let (mut difference, mut backwards) = (*later, false);
    for (figure, before) in difference.iter_mut().zip(earlier) {
        backwards |= *figure < *before;
        *figure = figure.wrapping_sub(*before);
    }
    (!backwards).then_some(difference)
}

/// Figures that no process can have counted, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTotals {
    /// A figure beyond [`MAX_COUNT`].
    #[error("{figure} is {value}; at most {MAX_COUNT} is allowed")]
    TooLarge {
        /// Which one.
        figure: &'static str,
        /// What was given.
        value: u64,
    },
    /// More latencies than calls that carry one.
    #[error("{latencies} latencies for {calls} calls that carry one")]
    MoreLatenciesThanCalls {
        /// Samples in the histogram.
        latencies: u64,
        /// Calls that succeeded, failed, timed out or came late.
        calls: u64,
    },
}

#[cfg(test)]
pub(in crate::stats) mod tests;
