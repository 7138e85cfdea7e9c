//! Decides which bucket a latency belongs to, and what a set of buckets says about quantiles.
//!
//! Log-linear, after HdrHistogram: 16 buckets an octave, in units of 128 ns. Every histogram of
//! every process has the same 512 buckets, so that merging is addition and nothing is ever
//! resampled. A quantile is told as its bucket's midpoint, which is within 3.4 % of the true value
//! from 1.9 us to 73 minutes.
//!
//! ```text
//! bucket     0 .. 15     one unit each            0 ns  .. 2.048 us
//!           16 .. 31     one unit each        2.048 us  .. 4.096 us
//!           32 .. 47     two units each       4.096 us  .. 8.192 us
//!                         ...
//!          496 .. 511    2^30 units each       36.7 min .. 73.3 min, and all beyond
//! ```
//!
//! [`Histogram`] is sparse, because the fleet holds one for each operation of each process and a
//! real distribution touches some eighty buckets. A bucket and its count share eight bytes.
//!
//! Invariants: bins ascend strictly by bucket; no bin is empty; no count exceeds [`MAX_COUNT`].

use std::fmt;
use std::time::Duration;

use crate::time::Span;

/// How many buckets there are. The model checker tries every order of touching them, and learns
/// nothing from so many.
pub const BUCKETS: usize = if cfg!(loom) { 2 } else { 512 };

/// The most one bucket can count; more saturates. A million a second for nine years.
pub const MAX_COUNT: u64 = (1 << COUNT_BITS) - 1;

const COUNT_BITS: u32 = 48;
/// A unit is 2^7 = 128 ns.
const UNIT_BITS: u32 = 7;
/// An octave has 2^4 = 16 buckets.
const OCTAVE_BITS: u32 = 4;

/// The bucket of a latency, below [`BUCKETS`]. From 73 minutes on it is the last one.
#[inline]
pub fn bucket_of(latency: impl Into<Span>) -> usize {
    usize::from(index_of(latency.into()))
}

#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "clamped to the last bucket"
)]
fn index_of(latency: Span) -> u16 {
    let units = latency.as_nanos() >> UNIT_BITS;
    // The set bit makes all below 16 units share the first octave's shift of zero.
    let shift = (units | (1 << OCTAVE_BITS)).ilog2() - OCTAVE_BITS;
    let bucket = (u64::from(shift) << OCTAVE_BITS) + (units >> shift);
    bucket.min(BUCKETS as u64 - 1) as u16
}

/// The latency a bucket stands for: the middle of what it covers. Buckets beyond the last count as
/// the last.
pub const fn bucket_midpoint(bucket: usize) -> Duration {
    let bucket = if bucket < BUCKETS {
        bucket
    } else {
        BUCKETS - 1
    };
    let shift = (bucket >> OCTAVE_BITS).saturating_sub(1);
    let steps = (bucket - (shift << OCTAVE_BITS)) as u64;
    // Half a unit is the smallest step, so that the middle of one unit is a whole number of them.
    Duration::from_nanos(((2 * steps + 1) << shift) << (UNIT_BITS - 1))
}

/// Latencies by bucket; see the module for the buckets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    bins: Vec<Bin>,
}

impl Histogram {
    /// A histogram from (bucket, count) pairs that somebody sent.
    pub fn from_pairs(
        pairs: impl IntoIterator<Item = (u32, u64)>,
    ) -> Result<Self, InvalidHistogram> {
        let pairs = pairs.into_iter();
        let mut bins = Vec::with_capacity(pairs.size_hint().0.min(BUCKETS));
        for (bucket, count) in pairs {
            bins.push(Bin::checked(bins.last().copied(), bucket, count)?);
        }
        bins.shrink_to_fit();
        Ok(Self { bins })
    }

    /// A histogram from one count for each bucket, in order; counts beyond [`MAX_COUNT`] saturate.
    pub(super) fn from_counts(counts: impl Iterator<Item = u64>) -> Self {
        let bins = (0..).zip(counts.take(BUCKETS));
        let bins = bins.filter(|&(_, count)| count > 0);
        Self {
            bins: bins
                .map(|(bucket, count)| Bin::new(bucket, count))
                .collect(),
        }
    }

    /// Counts one latency.
    pub fn record(&mut self, latency: Duration) {
        let bucket = index_of(latency.into());
        match self.bins.binary_search_by_key(&bucket, |bin| bin.bucket()) {
            Ok(at) => self.bins[at] = self.bins[at].plus(1),
            Err(at) => self.bins.insert(at, Bin::new(bucket, 1)),
        }
    }

    /// Adds `other`'s counts to these. Associative and commutative; saturates.
    pub fn merge(&mut self, other: &Self) {
        // Most often every bucket is here already; then there is nothing to move or to allocate.
        let absent = self.add_known(other);
        if absent > 0 {
            self.insert_absent(other, absent);
        }
    }

    /// Adds up the buckets that both have; how many only `other` has.
    fn add_known(&mut self, other: &Self) -> usize {
        let (mut at, mut absent) = (0, 0);
        for theirs in &other.bins {
            while self
                .bins
                .get(at)
                .is_some_and(|bin| bin.bucket() < theirs.bucket())
            {
                at += 1;
            }
            match self.bins.get_mut(at) {
                Some(bin) if bin.bucket() == theirs.bucket() => *bin = bin.plus(theirs.count()),
                _ => absent += 1,
            }
        }
        absent
    }

    /// Puts the `absent` buckets that only `other` has into their places, from the back.
    fn insert_absent(&mut self, other: &Self, absent: usize) {
        let mut from = self.bins.len();
        let mut to = from + absent;
        self.bins.resize(to, Bin::new(0, 0));
        for &bin in other.bins.iter().rev() {
            while from > 0 && self.bins[from - 1].bucket() >= bin.bucket() {
                (from, to) = (from - 1, to - 1);
                self.bins[to] = self.bins[from];
            }
            if self
                .bins
                .get(to)
                .is_none_or(|next| next.bucket() != bin.bucket())
            {
                to -= 1;
                self.bins[to] = bin;
            }
        }
    }

    /// What was counted after `earlier`; `None` if any bucket went backwards, so that `earlier`
    /// cannot be an earlier state of this.
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        let mut before = earlier.bins.iter().peekable();
        let mut bins = Vec::with_capacity(self.bins.len());
        for &bin in &self.bins {
            let known = before.next_if(|known| known.bucket() == bin.bucket());
            match bin
                .count()
                .checked_sub(known.map_or(0, |known| known.count()))?
            {
                0 => {}
                more => bins.push(Bin::new(bin.bucket(), more)),
            }
        }
        // A bucket that is missing here was never passed, so it is still waiting.
        before.next().is_none().then_some(Self { bins })
    }

    /// The latency below or at which `basis_points` of 10,000 samples lie; `None` without samples.
    pub fn quantile(&self, basis_points: u32) -> Option<Duration> {
        let share = u128::from(self.count()) * u128::from(basis_points.min(10_000));
        // The quantile is the sample of this rank, counted from 1 upwards.
        let rank = share.div_ceil(10_000).max(1);
        let mut seen = 0;
        let reached = self.bins.iter().find(|bin| {
            seen += u128::from(bin.count());
            seen >= rank
        });
        reached.map(|bin| bucket_midpoint(usize::from(bin.bucket())))
    }

    /// How many samples there are.
    pub fn count(&self) -> u64 {
        // Cannot overflow: 512 counts of 48 bits.
        self.bins.iter().map(|bin| bin.count()).sum()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.bins.is_empty()
    }

    /// The (bucket, count) pairs, ascending; no count is zero.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u32, u64)> {
        self.bins
            .iter()
            .map(|bin| (u32::from(bin.bucket()), bin.count()))
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Pairs that are no histogram, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHistogram {
    /// A bucket that does not exist.
    #[error("bucket {bucket} does not exist; the last is {}", BUCKETS - 1)]
    OutOfRange {
        /// The bucket given.
        bucket: u32,
    },
    /// A bucket that is not above the one before it.
    #[error("bucket {bucket} follows bucket {after}; they must ascend")]
    NotAscending {
        /// The bucket given.
        bucket: u32,
        /// The one before it.
        after: u32,
    },
    /// A bucket without a sample, which must be left out.
    #[error("bucket {bucket} counts nothing; it must be left out")]
    Zero {
        /// The bucket given.
        bucket: u32,
    },
    /// A count beyond [`MAX_COUNT`].
    #[error("bucket {bucket} counts {count}; at most {MAX_COUNT} is allowed")]
    TooLarge {
        /// The bucket given.
        bucket: u32,
        /// Its count.
        count: u64,
    },
}

/// A bucket in the upper 16 bits, its count in the lower 48.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Bin(u64);

impl Bin {
    pub(super) fn new(bucket: u16, count: u64) -> Self {
        Self(u64::from(bucket) << COUNT_BITS | count.min(MAX_COUNT))
    }

    pub(super) fn checked(
        after: Option<Self>,
        bucket: u32,
        count: u64,
    ) -> Result<Self, InvalidHistogram> {
        let after = after.map(|bin| u32::from(bin.bucket()));
        match (u16::try_from(bucket), after) {
            (Ok(known), _) if usize::from(known) >= BUCKETS => {
                Err(InvalidHistogram::OutOfRange { bucket })
            }
            (Err(_), _) => Err(InvalidHistogram::OutOfRange { bucket }),
            (_, Some(after)) if after >= bucket => {
                Err(InvalidHistogram::NotAscending { bucket, after })
            }
            _ if count == 0 => Err(InvalidHistogram::Zero { bucket }),
            _ if count > MAX_COUNT => Err(InvalidHistogram::TooLarge { bucket, count }),
            (Ok(known), _) => Ok(Self::new(known, count)),
        }
    }

    pub(super) const fn bucket(self) -> u16 {
        (self.0 >> COUNT_BITS) as u16
    }

    pub(super) const fn count(self) -> u64 {
        self.0 & MAX_COUNT
    }

    /// `count` is at most [`MAX_COUNT`], so the sum cannot overflow before it saturates.
    fn plus(self, count: u64) -> Self {
        Self::new(self.bucket(), self.count() + count)
    }
}

#[cfg(test)]
mod tests;
