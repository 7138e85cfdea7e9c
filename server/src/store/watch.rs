//! How anybody learns of a write: a state, then every change to it.
//!
//! The channel between writer and watchers is bounded and never waits for a watcher. One that is
//! more than [`WATCH_EVENTS`](super::WATCH_EVENTS) behind is told so and must watch anew: a state
//! can be had at any time, a missed event never again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fusebox_core::key::PolicyId;
use fusebox_core::policy::Stored;
use fusebox_core::revision::Revision;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

/// One committed write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The revision it took.
    pub revision: Revision,
    /// The policy it changed.
    pub id: PolicyId,
    /// The policy from then on; `None` if it was deleted.
    pub stored: Option<Arc<Stored>>,
}

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

/// Everything as of one revision, and every change after it.
#[derive(Debug)]
pub struct Watch {
    /// The revision that `policies` speaks of.
    pub revision: Revision,
    /// Every live policy, in the order of (namespace, name).
    pub policies: Vec<Arc<Stored>>,
    changes: Receiver<Event>,
    ended: Option<WatchError>,
    lag_counter: Arc<AtomicU64>,
}

impl Watch {
    /// `changes` must deliver exactly the events after `revision`; `lag_counter` counts the watches
    /// that fell behind.
    pub(super) fn new(
        revision: Revision,
        policies: Vec<Arc<Stored>>,
        changes: Receiver<Event>,
        lag_counter: Arc<AtomicU64>,
    ) -> Self {
        Self {
            revision,
            policies,
            changes,
            ended: None,
            lag_counter,
        }
    }

    /// The next change. Safe to drop and to call again: no event is lost.
    pub async fn next(&mut self) -> Result<Event, WatchError> {
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
