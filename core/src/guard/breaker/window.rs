//! A sliding time window of fixed size: ten buckets, whatever the traffic.
//!
//! The window is the current, partly filled bucket and the nine before it; an outcome leaves it
//! between nine and ten tenths of the span later. Failures and slow calls are rare and counted
//! under the breaker's mutex. Plain successes are every call, so they are striped over lanes.
//!
//! A cell is stamped with the bucket, the generation and the window's shape it belongs to, and
//! readers pass over cells with any other stamp. So nothing ever has to be swept: an expired
//! bucket, a transition and a change of shape all empty the window by no longer matching.
//!
//! A cell counts to 2^24, which a busy lane reaches within a long bucket. Whoever finds it full
//! takes the mutex and moves what it holds to the account beside it, so that no number of calls is
//! too many.
//!
//! A lane remembers where its present bucket ends, so that a success costs a comparison and not a
//! division.

use super::figures::Figures;
use super::settings::BUCKETS;
use crate::atomics::{AtomicU64, AtomicUsize, Ordering};
use crate::lane::{Lane, Lanes};
use crate::time::Instant;

/// What a success has to know of a time window to leave its trace there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    bucket_nanos: u64,
    shape: u8,
}

impl Trace {
    pub(super) const fn new(bucket_nanos: u64, shape: u8) -> Self {
        Self {
            bucket_nanos,
            shape,
        }
    }

    pub(super) const fn shape(self) -> u8 {
        self.shape
    }

    pub(super) const fn is_of(self, bucket_nanos: u64) -> bool {
        self.bucket_nanos == bucket_nanos
    }

    /// The number of the bucket that `now` falls into.
    const fn bucket(self, now: Instant) -> u64 {
        now.as_nanos() / self.bucket_nanos
    }

    /// As two words, for a reader that keeps it among others.
    pub const fn to_words(self) -> (u64, u64) {
        (self.bucket_nanos, self.shape as u64)
    }

    /// The inverse of [`to_words`](Self::to_words); `None` for zeros.
    #[inline]
    pub const fn from_words((bucket_nanos, shape): (u64, u64)) -> Option<Self> {
        if bucket_nanos == 0 {
            return None;
        }
        let shape = (shape & 0xff) as u8;
        Some(Self {
            bucket_nanos,
            shape,
        })
    }

    /// When the bucket of `now` ends.
    pub(super) const fn bucket_end(self, now: Instant) -> Instant {
        let next = self.bucket(now).saturating_add(1);
        Instant::from_nanos(next.saturating_mul(self.bucket_nanos))
    }

    /// The buckets of the window that ends now.
    fn buckets(self, now: Instant) -> impl Iterator<Item = u64> {
        let current = self.bucket(now);
        current.saturating_sub(BUCKETS as u64 - 1)..=current
    }
}

/// Failures and slow calls, by bucket; and what lanes had no more room for.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    cells: [Cell; BUCKETS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    stamp: Stamp,
    failed: u64,
    slow: u64,
    outcomes: u64,
}

impl Troubles {
    pub(super) fn record(&mut self, trace: Trace, failed: bool, slow: bool, now: Instant) {
        let cell = self.cell(trace, now);
        cell.failed += u64::from(failed);
        cell.slow += u64::from(slow);
        cell.outcomes += 1;
    }

    /// Takes over successes that found no more room in their lane.
    pub(super) fn add_successes(&mut self, trace: Trace, successes: u64, now: Instant) {
        self.cell(trace, now).outcomes += successes;
    }

    fn cell(&mut self, trace: Trace, now: Instant) -> &mut Cell {
        let bucket = trace.bucket(now);
        // The generation needs no part in this stamp: a transition drops the whole account.
        let stamp = Stamp::new(bucket, 0, trace.shape);
        let cell = &mut self.cells[slot(bucket)];
        if cell.stamp != stamp {
            *cell = Cell {
                stamp,
                ..Cell::default()
            };
        }
        cell
    }

    pub(super) fn figures(&self, trace: Trace, now: Instant) -> Figures {
        let mut figures = Figures::default();
        for bucket in trace.buckets(now) {
            let cell = &self.cells[slot(bucket)];
            if cell.stamp == Stamp::new(bucket, 0, trace.shape) {
                figures.failed += cell.failed;
                figures.slow += cell.slow;
                figures.total += cell.outcomes;
            }
        }
        figures
    }
}

/// Successes by lane and bucket.
#[derive(Debug, Default)]
pub(super) struct Successes {
    lanes: Lanes<LaneCells>,
}

#[derive(Debug)]
struct LaneCells {
    /// When the bucket last written ends. Only an owned lane keeps it.
    until: AtomicU64,
    /// Where that bucket's cell is.
    slot: AtomicUsize,
    cells: [AtomicU64; BUCKETS],
}

impl Default for LaneCells {
    fn default() -> Self {
        Self {
            until: AtomicU64::new(0),
            slot: AtomicUsize::new(0),
            cells: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Successes {
    /// Counts one. `false` if the lane's cell is full and wants to be [emptied](Self::empty) first.
    #[inline]
    pub(super) fn record(&self, trace: Trace, generation: u64, now: Instant, lane: Lane) -> bool {
        let cells = self.lanes.of(lane);
        if !lane.is_owned() {
            return cells.add_shared(Stamp::of(trace, generation, now));
        }
        // Relaxed throughout: one cell is one word, so its stamp and count always belong together,
        // and a reader that misses the newest success judges as if it had come a moment later.
        if now.as_nanos() < cells.until.load(Ordering::Relaxed) {
            let slot = cells.slot.load(Ordering::Relaxed);
            if let Some(cell) = cells.cells.get(slot) {
                let bits = cell.load(Ordering::Relaxed);
                if Stamp::in_cell(bits).belongs_to(generation, trace.shape) && !is_full(bits) {
                    cell.store(bits + 1, Ordering::Relaxed);
                    return true;
                }
            }
        }
        cells.turn(trace, generation, now)
    }

    /// Empties the lane's cell if it is full; the answer is what stood there. Under the breaker's
    /// mutex, as are all readers: so what is moved is never missed.
    pub(super) fn empty(&self, trace: Trace, generation: u64, now: Instant, lane: Lane) -> u64 {
        let stamp = Stamp::of(trace, generation, now);
        let cell = &self.lanes.of(lane).cells[slot(stamp.bucket())];
        let full = stamp.cell(COUNT_MAX);
        // Relaxed: see `record`. Failing means that somebody else has emptied it.
        let emptied =
            cell.compare_exchange(full, stamp.cell(0), Ordering::Relaxed, Ordering::Relaxed);
        emptied.map_or(0, |_| COUNT_MAX)
    }

    pub(super) fn count(&self, trace: Trace, generation: u64, now: Instant) -> u64 {
        let in_lane = |lane: &LaneCells| -> u64 {
            let counts = trace.buckets(now).map(|bucket| {
                // Relaxed: see `record`.
                let bits = lane.cells[slot(bucket)].load(Ordering::Relaxed);
                Stamp::new(bucket, generation, trace.shape).count_of(bits)
            });
            counts.sum()
        };
        self.lanes.in_use().map(in_lane).sum()
    }
}

#[cfg(test)]
impl Successes {
    /// As if the lane's present bucket had seen as many successes as a cell counts; the answer is
    /// how many more these are.
    pub(super) fn fill(&self, trace: Trace, generation: u64, now: Instant, lane: Lane) -> u64 {
        let stamp = Stamp::of(trace, generation, now);
        let cell = &self.lanes.of(lane).cells[slot(stamp.bucket())];
        let full = stamp.cell(COUNT_MAX);
        COUNT_MAX - stamp.count_of(cell.swap(full, Ordering::Relaxed))
    }
}

impl LaneCells {
    /// The first success of a bucket on an owned lane, or one more than its cell counts.
    #[cold]
    fn turn(&self, trace: Trace, generation: u64, now: Instant) -> bool {
        let bucket = trace.bucket(now);
        let stamp = Stamp::new(bucket, generation, trace.shape);
        let cell = &self.cells[slot(bucket)];
        // Relaxed: see `Successes::record`.
        let bits = cell.load(Ordering::Relaxed);
        if stamp.is_full(bits) {
            return false;
        }
        cell.store(stamp.count_in(bits), Ordering::Relaxed);
        self.slot.store(slot(bucket), Ordering::Relaxed);
        let until = trace.bucket_end(now).as_nanos();
        self.until.store(until, Ordering::Relaxed);
        true
    }

    fn add_shared(&self, stamp: Stamp) -> bool {
        let cell = &self.cells[slot(stamp.bucket())];
        // Whoever looked at the state before a transition and comes here after one who looked at it
        // later must not sweep the latter's count away.
        let straggles = |bits| Stamp::in_cell(bits).supersedes(stamp);
        let declines = |bits| straggles(bits) || stamp.is_full(bits);
        let add = |bits| (!declines(bits)).then(|| stamp.count_in(bits));
        // Relaxed: see `Successes::record`. Where a straggler declines, nothing is to be done.
        let added = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        added.is_ok() || added.is_err_and(|bits| !stamp.is_full(bits))
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
/// A multiple of BUCKETS, so that a bucket cut to it keeps its slot.
const BUCKET_WRAP: u64 = (1 << 26) / BUCKETS as u64 * BUCKETS as u64;
const TAG_BITS: u32 = 14;

impl Stamp {
    #[inline]
    const fn new(bucket: u64, generation: u64, shape: u8) -> Self {
        Self((bucket % BUCKET_WRAP) << TAG_BITS | Self::tag(generation, shape))
    }

    const fn of(trace: Trace, generation: u64, now: Instant) -> Self {
        Self::new(trace.bucket(now), generation, trace.shape)
    }

    #[inline]
    const fn tag(generation: u64, shape: u8) -> u64 {
        (generation & 0xff) << 6 | (shape & 0x3f) as u64
    }

    #[inline]
    const fn in_cell(bits: u64) -> Self {
        Self(bits >> COUNT_BITS)
    }

    /// Whether generation and shape are these.
    #[inline]
    const fn belongs_to(self, generation: u64, shape: u8) -> bool {
        self.0 & ((1 << TAG_BITS) - 1) == Self::tag(generation, shape)
    }

    const fn bucket(self) -> u64 {
        self.0 >> TAG_BITS
    }

    /// Whether it is of the same bucket in a later generation. Of those that are 8 bits apart
    /// nothing can be said, but a bucket does not see so many.
    const fn supersedes(self, other: Self) -> bool {
        let ahead = (self.0 >> 6).wrapping_sub(other.0 >> 6) & 0xff;
        self.bucket() == other.bucket() && 0 < ahead && ahead < 0x80
    }

    /// A cell with that count.
    const fn cell(self, count: u64) -> u64 {
        self.0 << COUNT_BITS | count
    }

    /// The cell `bits`, which is not full, with one more; or, if it belongs elsewhere, a fresh cell
    /// with one.
    const fn count_in(self, bits: u64) -> u64 {
        self.cell(self.count_of(bits) + 1)
    }

    /// Whether the cell `bits` is its own and counts no further.
    const fn is_full(self, bits: u64) -> bool {
        bits == self.cell(COUNT_MAX)
    }

    /// The count of the cell `bits`; zero if it belongs elsewhere.
    const fn count_of(self, bits: u64) -> u64 {
        if bits >> COUNT_BITS == self.0 {
            bits & COUNT_MAX
        } else {
            0
        }
    }
}

#[inline]
const fn is_full(bits: u64) -> bool {
    bits & COUNT_MAX == COUNT_MAX
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a remainder below BUCKETS")]
const fn slot(bucket: u64) -> usize {
    (bucket % BUCKETS as u64) as usize
}
