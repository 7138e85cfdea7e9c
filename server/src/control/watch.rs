//! The policies as they are, then every change, for one who looks on.
//!
//! ```text
//!   from the beginning    policies ... Synced(r) ─┐
//!   from behind revision  ────────────────────────┴─> writes in order; now and then Synced
//! ```
//!
//! Whoever reads more slowly than others write falls behind the store's feed, and then goes on from
//! what the store keeps of the past. Only if that is gone, too, the watch ends.
//!
//! Invariant: a write is told whole, once and in order, or the watch has ended.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use fusebox_core::key::Namespace;
use fusebox_core::policy::Stored;
use fusebox_core::revision::Revision;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Control, ControlError};
use crate::store::{Store, Version, Watch, WatchError};

/// Watches at one time.
pub const MAX_WATCHES: usize = 1000;
/// How long a watch is silent at most about how far it is.
pub const SYNC_INTERVAL: Duration = Duration::from_secs(10);

/// One who looks on.
pub struct Following {
    store: Arc<dyn Store>,
    watch: Watch,
    namespace: Option<Namespace>,
    /// As they were when it began.
    policies: VecDeque<Arc<Stored>>,
    /// All changes up to this revision have been told.
    told: Revision,
    /// Once so much is told, that is said.
    owed: Option<Revision>,
    due: Instant,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

/// What there is to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// What one write made of the policies that are watched, whole.
    Write(Revision, Vec<Arc<Version>>),
    /// Everything up to this revision has been told.
    Synced(Revision),
}

impl Control {
    /// Watches the policies of `namespace`, or all: as they are and then their changes, or only
    /// the changes behind `after`.
    pub fn watch(
        &self,
        namespace: Option<Namespace>,
        after: Option<Revision>,
    ) -> Result<Following, ControlError> {
        if self.stop.is_cancelled() {
            return Err(ControlError::stopping());
        }
        let place = Arc::clone(&self.watches).try_acquire_owned();
        let place = place.map_err(|_| ControlError::TooManyWatches)?;
        let mut watch = match after {
            None => self.store.watch()?,
            Some(after) => self.store.watch_after(after)?,
        };
        let mut policies = VecDeque::from(std::mem::take(&mut watch.policies));
        let watched = |stored: &Arc<Stored>| {
            let own = &stored.policy.id().namespace;
            namespace.as_ref().is_none_or(|only| own == only)
        };
        policies.retain(watched);
        Ok(Following {
            store: Arc::clone(&self.store),
            told: watch.revision,
            // What is written by now is what was asked for.
            owed: Some(self.store.revision()),
            watch,
            namespace,
            policies,
            due: Instant::now() + SYNC_INTERVAL,
            stop: self.stop.clone(),
            _place: place,
        })
    }
}

impl Following {
    /// The next of the policies as they were at the beginning, all of which come before any news.
    pub fn next_policy(&mut self) -> Option<Arc<Stored>> {
        self.policies.pop_front()
    }

    /// Resolves once all watches are to end.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// What is new, when there is something. Safe to drop and to call again.
    pub async fn next(&mut self) -> Result<News, ControlError> {
        loop {
            if self.owed.is_some_and(|owed| owed <= self.told) {
                return Ok(self.synced());
            }
            let next = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(ControlError::stopping()),
                () = sleep_until(self.due) => return Ok(self.synced()),
                next = self.watch.next() => next,
            };
            match next {
                Ok(write) => {
                    self.told = write.revision;
                    let versions = write
                        .versions
                        .iter()
                        .filter(|version| self.watches(version));
                    let versions: Vec<_> = versions.cloned().collect();
                    if !versions.is_empty() {
                        return Ok(News::Write(write.revision, versions));
                    }
                }
                Err(WatchError::Lagged { .. }) => self.watch = self.store.watch_after(self.told)?,
                Err(WatchError::Closed) => return Err(ControlError::stopping()),
            }
        }
    }

    fn synced(&mut self) -> News {
        self.owed = None;
        self.due = Instant::now() + SYNC_INTERVAL;
        News::Synced(self.told)
    }

    fn watches(&self, version: &Version) -> bool {
        let namespace = self.namespace.as_ref();
        version
            .policy_id()
            .is_some_and(|id| namespace.is_none_or(|only| id.namespace == *only))
    }
}

#[cfg(test)]
mod tests;
