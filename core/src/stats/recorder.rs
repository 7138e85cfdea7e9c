//! What an operation writes on every call, and how that is read.
//!
//! Writers are many and in a hurry, the reader is one and comes once a second. So a writer touches
//! only its own lane's cells: on an owned lane a few plain loads and stores, without a lock, an
//! atomic addition or (after a lane's first use) an allocation. Cells have 32 bits and wrap; the
//! reader widens them. It needs no memory of each lane for that: modulo 2^32 the sum of the lanes
//! is the number of events, so the last sum alone tells how many came since.
//!
//! Invariants: what [`Recorder::totals`] tells never goes backwards, and never holds more latencies
//! than calls that carry one. Both hold as long as no cell sees 2^32 events between two readings
//! (at ten million calls a second: seven minutes).
//!
//! Two lanes in use take less than 7 KiB.

use std::fmt;
use std::ops::Range;

use super::histogram::{BUCKETS, Histogram, bucket_of};
use super::totals::{Counts, OUTCOMES, REASONS, Totals, carries_latency};
use crate::atomics::{AtomicU32, Mutex, Ordering, fence, lock};
use crate::lane::{Lane, Lanes};
use crate::outcome::{Outcome, Reason};
use crate::time::Span;

const LATENCIES: Range<usize> = 0..BUCKETS;
const CALLS: usize = LATENCIES.end;
const REFUSALS: usize = CALLS + OUTCOMES;
const WOULD_REFUSE: usize = REFUSALS + REASONS;
const FIRST_ATTEMPTS: usize = WOULD_REFUSE + REASONS;
const RETRIES: usize = FIRST_ATTEMPTS + 1;
const HEDGES: usize = RETRIES + 1;
const CELLS: usize = HEDGES + 1;

/// The counters of one operation in one process.
#[derive(Default)]
pub struct Recorder {
    lanes: Lanes<Cells>,
    read: Mutex<Widened>,
}

impl Recorder {
    /// A recorder that has counted nothing, with no lane in use.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a call's first attempt, when it begins.
    #[inline]
    pub fn record_first_attempt(&self, lane: Lane) {
        lane.bump(&self.lanes.of(lane).0[FIRST_ATTEMPTS]);
    }

    /// First attempts begun so far, modulo 2^32.
    pub fn first_attempts(&self) -> u32 {
        self.sum(FIRST_ATTEMPTS)
    }

    /// Counts a whole call: how it ended, and for all but `Ignored` and `Cancelled` how long it
    /// took.
    #[inline]
    pub fn record(&self, lane: Lane, outcome: Outcome, latency: impl Into<Span>) {
        let cells = self.lanes.of(lane);
        lane.bump(&cells.0[CALLS + outcome as usize]);
        if carries_latency(outcome) {
            // Release: whoever sees the latency also sees the call it belongs to. Free on x86.
            fence(Ordering::Release);
            lane.bump(&cells.0[bucket_of(latency)]);
        }
    }

    /// Counts a call that was refused before it reached the dependency.
    #[inline]
    pub fn record_refusal(&self, lane: Lane, reason: Reason) {
        lane.bump(&self.lanes.of(lane).0[REFUSALS + reason as usize]);
    }

    /// Counts an attempt let in that a rule on trial would have refused.
    pub fn record_would_refuse(&self, lane: Lane, reason: Reason) {
        lane.bump(&self.lanes.of(lane).0[WOULD_REFUSE + reason as usize]);
    }

    /// Counts an attempt after a failed one.
    pub fn record_retry(&self, lane: Lane) {
        lane.bump(&self.lanes.of(lane).0[RETRIES]);
    }

    /// Counts an attempt beside a slow one.
    pub fn record_hedge(&self, lane: Lane) {
        lane.bump(&self.lanes.of(lane).0[HEDGES]);
    }

    /// Everything counted since the recorder was made. Readers wait for each other, never for a
    /// writer and no writer for them.
    pub fn totals(&self) -> Totals {
        let mut read = lock(&self.read);
        let latency =
            Histogram::from_counts(LATENCIES.map(|cell| read.widen(cell, self.sum(cell))));
        // Acquire: pairs with the fence in `record`, so that no call lags behind its latency.
        fence(Ordering::Acquire);
        let mut widened = |cell| read.widen(cell, self.sum(cell));
        let counts = Counts {
            calls: std::array::from_fn(|at| widened(CALLS + at)),
            refusals: std::array::from_fn(|at| widened(REFUSALS + at)),
            would_refuse: std::array::from_fn(|at| widened(WOULD_REFUSE + at)),
            retries: widened(RETRIES),
            hedges: widened(HEDGES),
        };
        Totals::unchecked(counts, latency)
    }

    /// How long settled calls took, so far.
    pub fn latency(&self) -> Histogram {
        let mut read = lock(&self.read);
        Histogram::from_counts(LATENCIES.map(|cell| read.widen(cell, self.sum(cell))))
    }

    /// How many events `cell` saw over all lanes, modulo 2^32.
    fn sum(&self, cell: usize) -> u32 {
        self.lanes.in_use().fold(0, |sum, cells| {
            // Relaxed: a cell never goes backwards for readers that follow each other through the
            // mutex; what else must be ordered, the fence in `totals` orders.
            sum.wrapping_add(cells.0[cell].load(Ordering::Relaxed))
        })
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("lanes_used", &self.lanes.in_use().count())
            .finish_non_exhaustive()
    }
}

/// One lane's counters.
struct Cells([AtomicU32; CELLS]);

impl Default for Cells {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU32::new(0)))
    }
}

/// The reader's memory: the low halves of all totals, and the high halves of the few that have one.
struct Widened {
    low: Box<[u32; CELLS]>,
    high: Vec<(usize, u32)>,
}

impl Widened {
    /// The full count of `cell`, whose low half is now `low`.
    fn widen(&mut self, cell: usize, low: u32) -> u64 {
        let wrapped = low < std::mem::replace(&mut self.low[cell], low);
        u64::from(self.high(cell, wrapped)) << 32 | u64::from(low)
    }

    fn high(&mut self, cell: usize, wrapped: bool) -> u32 {
        match self.high.iter_mut().find(|(at, _)| *at == cell) {
            Some((_, high)) => {
                *high = high.wrapping_add(u32::from(wrapped));
                *high
            }
            None if wrapped => {
                self.high.push((cell, 1));
                1
            }
            None => 0,
        }
    }
}

impl Default for Widened {
    fn default() -> Self {
        Self {
            low: Box::new([0; CELLS]),
            high: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
