//! How anybody learns of a write: a state, then every change to it.
//!
//! The channel between writer and watchers is bounded and never waits for a watcher. One that is
//! more than [`WATCH_EVENTS`](super::WATCH_EVENTS) behind is told so and must watch anew, or go on
//! from the last revision it saw while history still holds what came after.

use std::collections::VecDeque;
use std::sync::Arc;

use fusebox_core::policy::Stored;
use fusebox_core::policy::overrides::BreakerOverride;
use fusebox_core::revision::Revision;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::Committed;
use super::live::Live;

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
    /// The overrides in force as of it, by id; empty for a watch that only goes on from there.
    pub overrides: Vec<Arc<BreakerOverride>>,
    /// Changes that had been made when the watch began.
    missed: VecDeque<Committed>,
    /// Their revisions alone: what they were the archive holds, within its bounds.
    changes: Receiver<Revision>,
    ended: Option<WatchError>,
    live: Arc<Live>,
}

impl Watch {
    /// Of the state of `live` at `revision`. `changes` must deliver exactly the revisions after it.
    pub(super) fn new(
        revision: Revision,
        policies: Vec<Arc<Stored>>,
        overrides: Vec<Arc<BreakerOverride>>,
        changes: Receiver<Revision>,
        live: Arc<Live>,
    ) -> Self {
        Self {
            revision,
            policies,
            overrides,
            missed: VecDeque::new(),
            changes,
            ended: None,
            live,
        }
    }

    /// Of what came after `revision`: first `missed`, then what `changes` delivers.
    pub(super) fn resumed(
        revision: Revision,
        missed: VecDeque<Committed>,
        changes: Receiver<Revision>,
        live: Arc<Live>,
    ) -> Self {
        Self {
            missed,
            ..Self::new(revision, Vec::new(), Vec::new(), changes, live)
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
        let next = self.changes.recv().await.map_err(|error| match error {
            RecvError::Closed => WatchError::Closed,
            RecvError::Lagged(missed) => WatchError::Lagged { missed },
        });
        let next = next.and_then(|revision| {
            let write = self.live.write_at(revision);
            write.ok_or(WatchError::Lagged { missed: 1 })
        });
        next.inspect_err(|&ended| self.end(ended))
    }

    fn end(&mut self, ended: WatchError) {
        if matches!(ended, WatchError::Lagged { .. }) {
            self.live.count_lagged();
        }
        self.ended = Some(ended);
    }
}
