//! What a report says of one operation as it lies in a message, and how far that is from what is known.
//!
//! Figures are borrowed: whoever holds a message hands its figures on as they lie there, and nothing
//! is allocated for one that is known. What no process can have counted is refused here, operation by
//! operation, before anything of it is taken over.

use std::time::Duration;

use crate::outcome::{BreakerCounts, CircuitState};
use crate::stats::histogram::Bin;
use crate::stats::{Counts, InvalidHistogram, InvalidTotals};

use super::report::{ForcedReport, OperationReport};

/// What comes before the operations of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportHead {
    /// Whether this is the first report of the process: then it tells of nothing that any server
    /// has been told before.
    pub from_start: bool,
    /// How long since the process's report before this one, or since its start; zero if it does not
    /// say.
    pub span: Duration,
}

/// What a process has counted of one operation; `L` yields bucket and count of each bucket that counts
/// anything, ascending.
#[derive(Clone, Debug)]
pub struct OperationFigures<'a, L> {
    /// Which one; need not be a legal name yet.
    pub operation: &'a str,
    /// Everything since the process started.
    pub counts: Counts,
    /// How long the settled ones of these took.
    pub latency: L,
    /// What its breaker does of its own accord.
    pub state: CircuitState,
    /// For how long it has been doing that.
    pub state_age: Duration,
    /// The number of the last transition, of its own or forced; 0 before the first.
    pub last_transition: u64,
    /// What an override makes of the breaker instead.
    pub forced: Option<ForcedReport>,
    /// What its breaker in SHADOW does, if there is one.
    pub shadow: Option<CircuitState>,
    /// What its breaker judges by.
    pub breaker: BreakerCounts,
}

impl OperationReport {
    /// The same, borrowed.
    pub fn figures(&self) -> OperationFigures<'_, impl Iterator<Item = (u32, u64)>> {
        OperationFigures {
            operation: self.operation.as_str(),
            counts: *self.totals.counts(),
            latency: self.totals.latency().iter(),
            state: self.state,
            state_age: self.state_age,
            last_transition: self.last_transition,
            forced: self.forced,
            shadow: self.shadow,
            breaker: self.breaker,
        }
    }
}

/// Figures that no process can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImpossibleFigures {
    /// Calls, refusals or attempts.
    #[error(transparent)]
    Totals(#[from] InvalidTotals),
    /// Latencies.
    #[error(transparent)]
    Histogram(#[from] InvalidHistogram),
    /// More failures or slow calls in the breaker's window than calls.
    #[error("{part} of {calls} calls in the breaker's window")]
    Window {
        /// Calls in the window.
        calls: u64,
        /// Failures or slow ones among them.
        part: u64,
    },
}

/// Latencies being read: kept from one operation to the next, so that their memory is.
#[derive(Default)]
pub(super) struct Sheet {
    /// As reported.
    told: Vec<Bin>,
    /// What that is more than what was known.
    more: Vec<Bin>,
}

impl Sheet {
    /// Reads an operation's latencies, and checks all of its figures.
    #[inline]
    pub(super) fn read<L: Iterator<Item = (u32, u64)>>(
        &mut self,
        counts: &Counts,
        breaker: &BreakerCounts,
        latency: L,
    ) -> Result<(), ImpossibleFigures> {
        self.told.clear();
        let (mut last, mut latencies) = (None, 0);
        for (bucket, count) in latency {
            let bin = Bin::checked(last, bucket, count)?;
            self.told.push(bin);
            last = Some(bin);
            // Cannot overflow: there are no more than 512 buckets of 48 bits.
            latencies += count;
        }
        counts.check(latencies)?;
        let part = breaker.window_failures.max(breaker.window_slow);
        if part > breaker.window_calls {
            let calls = breaker.window_calls;
            return Err(ImpossibleFigures::Window { calls, part });
        }
        Ok(())
    }

    /// Subtracts what was known; false if that is no earlier state of what was read.
    #[inline]
    pub(super) fn subtract(&mut self, known: &[Bin]) -> bool {
        if self.told.len() == known.len()
            && let Some(forward) = self.subtract_alike(known)
        {
            return forward;
        }
        self.subtract_walking(known)
    }

    /// The same where every bucket is known already, as most often; `None` if that is not so. Which
    /// buckets have grown nobody can predict, so nothing here branches on it.
    #[inline]
    fn subtract_alike(&mut self, known: &[Bin]) -> Option<bool> {
        let Self { told, more } = self;
        more.clear();
        more.resize(known.len(), Bin::new(0, 0));
        let (mut alike, mut forward, mut grown) = (true, true, 0);
        for (&told, &known) in told.iter().zip(known) {
            alike &= told.bucket() == known.bucket();
            forward &= told.count() >= known.count();
            let difference = told.count().wrapping_sub(known.count());
            // In range: there are as many places as buckets.
            more[grown] = Bin::new(told.bucket(), difference);
            grown += usize::from(difference != 0);
        }
        more.truncate(grown);
        alike.then_some(forward)
    }

    fn subtract_walking(&mut self, known: &[Bin]) -> bool {
        self.more.clear();
        let mut known = known.iter().peekable();
        for &told in &self.told {
            let before = known.next_if(|bin| bin.bucket() == told.bucket());
            let before = before.map_or(0, |bin| bin.count());
            match told.count().checked_sub(before) {
                None => return false,
                Some(0) => {}
                Some(more) => self.more.push(Bin::new(told.bucket(), more)),
            }
        }
        // A bucket that was not told of was never passed, so it is still waiting.
        known.next().is_none()
    }

    /// Replaces what was known by what was read.
    #[inline]
    pub(super) fn keep(&self, known: &mut Vec<Bin>) {
        if known.len() == self.told.len() {
            known.copy_from_slice(&self.told);
            return;
        }
        known.clear();
        known.reserve_exact(self.told.len());
        known.extend_from_slice(&self.told);
    }

    /// What [`subtract`](Self::subtract) left.
    pub(super) fn more(&self) -> &[Bin] {
        &self.more
    }
}
