//! Latencies of a short span of time, to be added to often and read seldom.
//!
//! What a [`Histogram`](crate::stats::Histogram) keeps sparse lies here side by side, from the lowest
//! bucket that was ever touched to the highest, so that adding to a bucket finds it by its number. A
//! real distribution reaches over some hundred buckets; all of them together take 2 KiB. Adding is
//! associative and commutative; a count saturates at 32 bits, which a span of seconds does not reach.

use std::time::Duration;

use crate::stats::histogram::{BUCKETS, Bin, bucket_midpoint};

/// Counts of adjacent buckets.
#[derive(Clone, Debug, Default)]
pub(super) struct Spread {
    /// The bucket of the first count.
    first: usize,
    counts: Vec<u32>,
}

impl Spread {
    pub(super) fn add(&mut self, bins: &[Bin]) {
        let (Some(low), Some(high)) = (bins.first(), bins.last()) else {
            return;
        };
        self.reach(usize::from(low.bucket()), usize::from(high.bucket()));
        for bin in bins {
            let count = &mut self.counts[usize::from(bin.bucket()) - self.first];
            let more = u32::try_from(bin.count()).unwrap_or(u32::MAX);
            *count = count.saturating_add(more);
        }
    }

    /// Makes room for everything from `low` to `high`.
    fn reach(&mut self, low: usize, high: usize) {
        if self.counts.is_empty() {
            self.first = low;
        }
        if low < self.first {
            let missing = self.first - low;
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.first = low;
        }
        let wanted = high + 1 - self.first;
        if wanted > self.counts.len() {
            self.counts.resize(wanted, 0);
        }
    }
}

/// Several spreads added up.
pub(super) struct Sum([u64; BUCKETS]);

impl Sum {
    pub(super) fn of<'a>(spreads: impl Iterator<Item = &'a Spread>) -> Self {
        let mut sum = [0_u64; BUCKETS];
        for spread in spreads {
            let reached = sum[spread.first..].iter_mut().zip(&spread.counts);
            for (sum, &count) in reached {
                *sum += u64::from(count);
            }
        }
        Self(sum)
    }

    /// How many samples there are.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The latency below or at which `basis_points` of 10,000 samples lie; `None` without samples.
    pub(super) fn quantile(&self, basis_points: u64) -> Option<Duration> {
        let rank = (self.count() * basis_points).div_ceil(10_000).max(1);
        let mut seen = 0;
        let mut buckets = self.0.iter();
        let reached = buckets.position(|&count| {
            seen += count;
            seen >= rank
        });
        reached.map(bucket_midpoint)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::Histogram;

    /// Pairs of bucket and count as reports carry them: few, and ascending.
    fn pairs() -> impl Strategy<Value = Vec<(u32, u64)>> {
        let pairs = prop::collection::btree_map(0_u32..512, 1_u64..1000, 0..12);
        pairs.prop_map(|pairs| pairs.into_iter().collect())
    }

    fn bins(pairs: &[(u32, u64)]) -> Vec<Bin> {
        let bins = pairs.iter().map(|&(bucket, count)| {
            let bucket = u16::try_from(bucket).unwrap();
            Bin::new(bucket, count)
        });
        bins.collect()
    }

    proptest! {
        #[test]
        fn what_is_added_in_whatever_order_answers_as_a_histogram_does(
            reports in prop::collection::vec((0_usize..3, pairs()), 0..12),
        ) {
            let mut spreads = [const { Spread { first: 0, counts: Vec::new() } }; 3];
            let mut expected = Histogram::default();
            for (which, pairs) in &reports {
                spreads[*which].add(&bins(pairs));
                expected.merge(&Histogram::from_pairs(pairs.iter().copied()).unwrap());
            }
            let sum = Sum::of(spreads.iter());
            prop_assert_eq!(sum.count(), expected.count());
            for basis_points in [0, 1, 5_000, 9_500, 9_900, 10_000] {
                let quantile = expected.quantile(basis_points);
                prop_assert_eq!(sum.quantile(basis_points.into()), quantile);
            }
        }
    }
}
