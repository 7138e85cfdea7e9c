//! The live policies in memory: what every read sees.
//!
//! One lock holds the set, its revision and the watchers' channel together: a watch takes its
//! state and its place in the channel under it, and the writer publishes a batch under it, which
//! is why there is neither gap nor overlap between the two. The whole set stays in memory because
//! a start reads and checks every record anyway, and the distribution side shares these `Arc`s.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use fusebox_core::key::{Namespace, PolicyId};
use fusebox_core::policy::Stored;
use fusebox_core::revision::Revision;
use tokio::sync::broadcast;

use super::{Event, Page, ReadError, Vitals, WATCH_EVENTS, Watch};

/// A policy's place in the order of (namespace, name).
///
/// NUL is below every character of a name, so that the order of the keys is the order of the ids.
pub(super) fn key(id: &PolicyId) -> String {
    format!("{}{}", prefix(&id.namespace), id.name)
}

fn prefix(namespace: &Namespace) -> String {
    format!("{namespace}\0")
}

/// The live policies as of one revision.
#[derive(Debug, Default)]
pub(super) struct Table {
    revision: Revision,
    policies: BTreeMap<String, Arc<Stored>>,
}

impl Table {
    /// What was read back from a disk, as of `revision`.
    pub(super) fn restored(revision: Revision, policies: BTreeMap<String, Arc<Stored>>) -> Self {
        Self { revision, policies }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Arc<Stored>> {
        self.policies.get(key)
    }

    /// Makes `event` true.
    pub(super) fn apply(&mut self, event: &Event) {
        match &event.stored {
            Some(stored) => self.policies.insert(key(&event.id), Arc::clone(stored)),
            None => self.policies.remove(&key(&event.id)),
        };
        self.revision = event.revision;
    }

    fn page(&self, namespace: Option<&Namespace>, after: Option<&PolicyId>, limit: usize) -> Page {
        let prefix = namespace.map(prefix).unwrap_or_default();
        let after = after.map(key).filter(|after| *after >= prefix);
        let start = match &after {
            Some(after) => Bound::Excluded(after.as_str()),
            None => Bound::Included(prefix.as_str()),
        };
        let mut rest = self
            .policies
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(&prefix))
            .map(|(_, stored)| Arc::clone(stored));
        Page {
            revision: self.revision,
            policies: rest.by_ref().take(limit).collect(),
            more: rest.next().is_some(),
        }
    }
}

/// The table, its watchers, and what is counted about them; shared by callers and writer.
#[derive(Debug)]
pub(super) struct Live {
    state: RwLock<State>,
    busy: AtomicU64,
    lagged: Arc<AtomicU64>,
}

#[derive(Debug)]
struct State {
    table: Table,
    /// `None` once closed: dropping it ends every watch behind its last event.
    feed: Option<broadcast::Sender<Event>>,
    writes: u64,
    commits: u64,
    read_only: Option<Arc<str>>,
}

impl Live {
    pub(super) fn new(table: Table) -> Self {
        Self {
            state: RwLock::new(State {
                table,
                feed: Some(broadcast::Sender::new(WATCH_EVENTS)),
                writes: 0,
                commits: 0,
                read_only: None,
            }),
            busy: AtomicU64::new(0),
            lagged: Arc::default(),
        }
    }

    // A poisoned lock is taken all the same: nothing that runs under it can panic half-way through
    // a change, since map operations and sends on a broadcast channel do not.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn revision(&self) -> Revision {
        self.read().table.revision
    }

    /// The policy at `key`, for the writer: it may look even while the store closes.
    pub(super) fn find(&self, key: &str) -> Option<Arc<Stored>> {
        self.read().table.get(key).cloned()
    }

    pub(super) fn get(&self, id: &PolicyId) -> Result<Option<Arc<Stored>>, ReadError> {
        let state = self.read();
        state.open()?;
        Ok(state.table.get(&key(id)).cloned())
    }

    pub(super) fn list(
        &self,
        namespace: Option<&Namespace>,
        after: Option<&PolicyId>,
        limit: usize,
    ) -> Result<Page, ReadError> {
        let state = self.read();
        state.open()?;
        Ok(state.table.page(namespace, after, limit))
    }

    pub(super) fn watch(&self) -> Result<Watch, ReadError> {
        let state = self.read();
        let feed = state.open()?;
        Ok(Watch::new(
            state.table.revision,
            state.table.policies.values().cloned().collect(),
            feed.subscribe(),
            Arc::clone(&self.lagged),
        ))
    }

    /// Makes one commit's events visible and tells the watchers, in order.
    pub(super) fn publish(&self, events: impl IntoIterator<Item = Event>) {
        let mut guard = self.write();
        let state = &mut *guard;
        let before = state.writes;
        for event in events {
            state.writes += 1;
            state.table.apply(&event);
            if let Some(feed) = &state.feed {
                // An error says that nobody is watching.
                let _ = feed.send(event);
            }
        }
        state.commits += u64::from(state.writes != before);
    }

    /// From here on every read fails and every watch ends.
    pub(super) fn close(&self) {
        self.write().feed = None;
    }

    pub(super) fn set_read_only(&self, reason: Arc<str>) {
        self.write().read_only = Some(reason);
    }

    pub(super) fn count_busy(&self) {
        // Relaxed: a count for people; nothing is read through it.
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn vitals(&self) -> Vitals {
        let state = self.read();
        Vitals {
            writes: state.writes,
            commits: state.commits,
            // Relaxed: as above, for both.
            busy: self.busy.load(Ordering::Relaxed),
            lagged: self.lagged.load(Ordering::Relaxed),
            read_only: state.read_only.clone(),
        }
    }
}

impl State {
    fn open(&self) -> Result<&broadcast::Sender<Event>, ReadError> {
        self.feed.as_ref().ok_or(ReadError::Closed)
    }
}
