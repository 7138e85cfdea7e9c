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
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::histogram::{BUCKETS, Histogram, bucket_of};
use super::totals::{OUTCOMES, REASONS, Totals, carries_latency};
use crate::lane::{LANES, Lane};
use crate::outcome::{Outcome, Reason};
use crate::time::Span;

const LATENCIES: Range<usize> = 0..BUCKETS;
const CALLS: usize = LATENCIES.end;
const REFUSALS: usize = CALLS + OUTCOMES;
const RETRIES: usize = REFUSALS + REASONS;
const CELLS: usize = RETRIES + 1;

/// The counters of one operation in one process.
#[derive(Default)]
pub struct Recorder {
    lanes: [OnceLock<Box<Cells>>; LANES],
    read: Mutex<Widened>,
}

impl Recorder {
    /// A recorder that has counted nothing, with no lane in use.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a whole call: how it ended, and for all but `Ignored` and `Cancelled` how long it
    /// took.
    #[inline]
    pub fn record(&self, lane: Lane, outcome: Outcome, latency: impl Into<Span>) {
        let cells = self.cells(lane);
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
        lane.bump(&self.cells(lane).0[REFUSALS + reason as usize]);
    }

    /// Counts an attempt beyond a call's first.
    #[inline]
    pub fn record_retry(&self, lane: Lane) {
        lane.bump(&self.cells(lane).0[RETRIES]);
    }

    /// Everything counted since the recorder was made. Readers wait for each other, never for a
    /// writer and no writer for them.
    pub fn totals(&self) -> Totals {
        // Poison only says that a reader died; the figures it had widened are still right.
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let latency =
            Histogram::from_counts(LATENCIES.map(|cell| read.widen(cell, self.sum(cell))));
        // Acquire: pairs with the fence in `record`, so that no call lags behind its latency.
        fence(Ordering::Acquire);
        let mut widened = |cell| read.widen(cell, self.sum(cell));
        Totals::unchecked(
            std::array::from_fn(|at| widened(CALLS + at)),
            std::array::from_fn(|at| widened(REFUSALS + at)),
            widened(RETRIES),
            latency,
        )
    }

    /// How many events `cell` saw over all lanes, modulo 2^32.
    fn sum(&self, cell: usize) -> u32 {
        let lanes = self.lanes.iter().filter_map(OnceLock::get);
        lanes.fold(0, |sum, cells| {
            // Relaxed: a cell never goes backwards for readers that follow each other through the
            // mutex; what else must be ordered, the fence in `totals` orders.
            sum.wrapping_add(cells.0[cell].load(Ordering::Relaxed))
        })
    }

    #[inline]
    fn cells(&self, lane: Lane) -> &Cells {
        self.lanes[lane.index()].get_or_init(Box::default)
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = self
            .lanes
            .iter()
            .filter(|lane| lane.get().is_some())
            .count();
        f.debug_struct("Recorder")
            .field("lanes_used", &used)
            .finish_non_exhaustive()
    }
}

/// One lane's counters. Aligned to two cache lines, because processors fetch them in pairs.
#[repr(align(128))]
struct Cells([AtomicU32; CELLS]);

impl Default for Cells {
    fn default() -> Self {
        Self([const { AtomicU32::new(0) }; CELLS])
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
