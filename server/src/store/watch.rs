//! How anybody learns of a write: a state, then every change to it.
//!
//! The channel between writer and watchers is bounded and never waits for a watcher. One that is
//! more than [`WATCH_EVENTS`](super::WATCH_EVENTS) behind is told so and must watch anew, or go on
//! from the last revision it saw while history still holds what came after.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fusebox_core::policy::Stored;
use fusebox_core::revision::Revision;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::Committed;

/// Why a watch has ended. It stays ended; [`Store::watch`](super::Store::watch) begins another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// It was read too slowly.
    #[error("the watch fell behind and missed {missed} changes; watch anew")]
    Lagged {
        /// How many events are lost.
        missed: u64,
    },
    /// The store was closed, and every event has been read.
    #[error("the store is closed")]
    Closed,
}

/// Everything as of one revision, and every change after it; or only the latter.
#[derive(Debug)]
pub struct Watch {
    /// The revision behind which changes are told.
    pub revision: Revision,
    /// Every live policy as of it, in the order of (namespace, name); empty for a watch that only
    /// goes on from there.
    pub policies: Vec<Arc<Stored>>,
    /// Changes that had been made when the watch began.
    missed: VecDeque<Committed>,
    changes: Receiver<Committed>,
    ended: Option<WatchError>,
    lag_counter: Arc<AtomicU64>,
}

impl Watch {
    /// Of the state at `revision`. `changes` must deliver exactly the writes after it;
    /// `lag_counter` counts the watches that fell behind.
    pub(super) fn new(
        revision: Revision,
        policies: Vec<Arc<Stored>>,
        changes: Receiver<Committed>,
        lag_counter: Arc<AtomicU64>,
    ) -> Self {
        Self {
            revision,
            policies,
            missed: VecDeque::new(),
            changes,
            ended: None,
            lag_counter,
        }
    }

    /// Of what came after `revision`: first `missed`, then what `changes` delivers.
    pub(super) fn resumed(
        revision: Revision,
        missed: VecDeque<Committed>,
        changes: Receiver<Committed>,
        lag_counter: Arc<AtomicU64>,
    ) -> Self {
        Self {
            missed,
            ..Self::new(revision, Vec::new(), changes, lag_counter)
        }
    }

    /// The next write. Safe to drop and to call again: none is lost.
    pub async fn next(&mut self) -> Result<Committed, WatchError> {
        if let Some(missed) = self.missed.pop_front() {
            return Ok(missed);
        }
        if let Some(ended) = self.ended {
            return Err(ended);
        }
        self.changes.recv().await.map_err(|error| self.end(&error))
    }

    fn end(&mut self, error: &RecvError) -> WatchError {
        let ended = match *error {
            RecvError::Closed => WatchError::Closed,
            RecvError::Lagged(missed) => {
                // Relaxed: a count for people; nothing is read through it.
                self.lag_counter.fetch_add(1, Ordering::Relaxed);
                WatchError::Lagged { missed }
            }
        };
        *self.ended.insert(ended)
    }
}
