//! A sliding time window of fixed size: ten buckets, whatever the traffic.
//!
//! The window is the current, partly filled bucket and the nine before it; an outcome leaves it
//! between nine and ten tenths of the span later. Failures are rare and counted under the breaker's
//! mutex. Successes are every call, so they are striped over lanes.
//!
//! A cell is stamped with the bucket, the generation and the window's shape it belongs to, and
//! readers pass over cells with any other stamp. So nothing ever has to be swept: an expired
//! bucket, a transition and a change of shape all empty the window by no longer matching.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::settings::{BUCKETS, RatioSettings, Settings};
use crate::lane::{LANES, Lane};
use crate::time::Instant;

/// Failures by bucket.
#[derive(Debug, Default)]
pub(super) struct Failures {
    cells: [(Stamp, u32); BUCKETS],
}

impl Failures {
    pub(super) fn record(&mut self, settings: &Settings, now: Instant) {
        let Some(ratio) = &settings.ratio else {
            return;
        };
        let bucket = ratio.bucket(now);
        // The generation needs no part in this stamp: a transition drops the whole account.
        let stamp = Stamp::new(bucket, 0, ratio.shape);
        let (seen, count) = &mut self.cells[slot(bucket)];
        *count = if *seen == stamp {
            count.saturating_add(1)
        } else {
            1
        };
        *seen = stamp;
    }

    pub(super) fn count(&self, settings: &Settings, now: Instant) -> u64 {
        settings.ratio.as_ref().map_or(0, |ratio| {
            buckets(ratio, now)
                .map(|bucket| match self.cells[slot(bucket)] {
                    (stamp, count) if stamp == Stamp::new(bucket, 0, ratio.shape) => count.into(),
                    _ => 0,
                })
                .sum()
        })
    }
}

/// Successes by lane and bucket.
#[derive(Debug, Default)]
pub(super) struct Successes {
    lanes: [OnceLock<Box<LaneCells>>; LANES],
}

/// Apart by more than a pair of cache lines, so that no two lanes share one.
#[derive(Debug, Default)]
#[repr(align(128))]
struct LaneCells([AtomicU64; BUCKETS]);

impl Successes {
    #[inline]
    pub(super) fn record(&self, ratio: &RatioSettings, generation: u64, now: Instant, lane: Lane) {
        let bucket = ratio.bucket(now);
        let stamp = Stamp::new(bucket, generation, ratio.shape);
        let cells = self.lanes[lane.index()].get_or_init(Box::default);
        let cell = &cells.0[slot(bucket)];
        // Relaxed throughout: one cell is one word, so its stamp and count always belong together,
        // and a reader that misses the newest success judges as if it had come a moment later.
        if lane.is_owned() {
            cell.store(
                stamp.count_in(cell.load(Ordering::Relaxed)),
                Ordering::Relaxed,
            );
        } else {
            let add = |bits| Some(stamp.count_in(bits));
            // The closure never declines, so this cannot fail.
            let _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        }
    }

    pub(super) fn count(&self, ratio: &RatioSettings, generation: u64, now: Instant) -> u64 {
        let lanes = self.lanes.iter().filter_map(OnceLock::get);
        lanes
            .flat_map(|cells| {
                buckets(ratio, now).map(|bucket| {
                    // Relaxed: see `record`.
                    let bits = cells.0[slot(bucket)].load(Ordering::Relaxed);
                    Stamp::new(bucket, generation, ratio.shape).count_of(bits)
                })
            })
            .sum()
    }
}

/// Which bucket, generation and shape a cell belongs to: the upper 40 bits of a cell, above its
/// count.
///
/// The parts are cut to 26, 8 and 6 bits. A stale cell could only be taken for a fresh one if its
/// slot had lain untouched for exactly a multiple of 2^26 buckets (78 days at the shortest).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stamp(u64);

const COUNT_BITS: u32 = 24;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;

impl Stamp {
    #[inline]
    const fn new(bucket: u64, generation: u64, shape: u8) -> Self {
        let bucket = bucket & ((1 << 26) - 1);
        let generation = generation & 0xff;
        let shape = (shape & 0x3f) as u64;
        Self(bucket << 14 | generation << 6 | shape)
    }

    /// The cell `bits` with one more, or, if it belongs elsewhere, a fresh cell with one.
    #[inline]
    const fn count_in(self, bits: u64) -> u64 {
        let count = self.count_of(bits);
        let count = if count < COUNT_MAX { count + 1 } else { count };
        self.0 << COUNT_BITS | count
    }

    /// The count of the cell `bits`; zero if it belongs elsewhere.
    #[inline]
    const fn count_of(self, bits: u64) -> u64 {
        if bits >> COUNT_BITS == self.0 {
            bits & COUNT_MAX
        } else {
            0
        }
    }
}

/// The buckets of the window that ends now.
fn buckets(ratio: &RatioSettings, now: Instant) -> impl Iterator<Item = u64> {
    let current = ratio.bucket(now);
    current.saturating_sub(BUCKETS as u64 - 1)..=current
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a remainder below BUCKETS")]
const fn slot(bucket: u64) -> usize {
    (bucket % BUCKETS as u64) as usize
}
