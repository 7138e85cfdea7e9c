//! How many are in, and how many were refused for which reason.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::sparing::Sparing;

/// Why a connection was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Every seat was taken.
    Limit,
    /// It said nothing in time.
    Silent,
    /// It does not speak HTTP/2.
    Foreign,
    /// The system could not accept it.
    Failed,
}

impl Refusal {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Limit, Self::Silent, Self::Foreign, Self::Failed];

    /// Its name in telemetry.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Silent => "silent",
            Self::Foreign => "foreign",
            Self::Failed => "failed",
        }
    }
}

/// The door's account.
#[derive(Debug)]
pub(crate) struct Tally {
    limit: usize,
    seats: Arc<Semaphore>,
    refusals: [(AtomicU64, Sparing); Refusal::ALL.len()],
}

impl Tally {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            seats: Arc::new(Semaphore::new(limit)),
            refusals: Default::default(),
        }
    }

    /// A seat, if one is free; it is free again when this is dropped.
    pub(super) fn seat(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.seats).try_acquire_owned().ok()
    }

    /// Counts a refusal. `Some` if a line may be written about it, with the number of those since
    /// the last line that none was written about.
    pub(super) fn refuse(&self, reason: Refusal) -> Option<u64> {
        let (count, sparing) = &self.refusals[reason as usize];
        // A count for people; nothing else is ordered by it.
        count.fetch_add(1, Ordering::Relaxed);
        sparing.speak(Instant::now())
    }

    /// Connections that hold a seat.
    pub(crate) fn open(&self) -> usize {
        self.limit - self.seats.available_permits()
    }

    /// Connections refused for that reason since the door was opened.
    pub(crate) fn refused(&self, reason: Refusal) -> u64 {
        // As above.
        self.refusals[reason as usize].0.load(Ordering::Relaxed)
    }
}
