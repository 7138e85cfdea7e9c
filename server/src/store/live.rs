//! The table that callers, writer and index thread share: what every read sees.
//!
//! One lock holds the table and the watchers' channel together: a watch takes its state and its
//! place in the channel under it, and the writer publishes a batch under it, which is why there is
//! neither gap nor overlap between the two. What the index lacks is noted under it as well.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use fusebox_core::glob::Glob;
use fusebox_core::key::{Namespace, PolicyId};
use fusebox_core::policy::overrides::BreakerOverride;
use fusebox_core::policy::{Policy, Stored};
use fusebox_core::revision::Revision;
use tokio::sync::broadcast;

use super::archive::Place;
use super::table::{Summary, Table};
use super::writer::{Figures, Staged};
use super::{
    Changes, Committed, Page, Query, ReadError, Stretch, Subject, Version, Vitals, WATCH_EVENTS,
    Watch,
};

/// What an index lacks, and what it holds with it.
#[derive(Debug, Default)]
pub(super) struct Unindexed {
    pub(super) summary: Summary,
    /// What each policy is now; `None`: gone.
    pub(super) changes: Vec<(PolicyId, Option<Arc<Stored>>)>,
}

/// The table, its watchers, and what is counted about them; shared by callers and writer.
#[derive(Debug)]
pub(super) struct Live {
    state: RwLock<State>,
    busy: AtomicU64,
    lagged: AtomicU64,
}

#[derive(Debug)]
struct State {
    table: Table,
    /// `None` once closed: dropping it ends every watch behind its last event.
    feed: Option<broadcast::Sender<Revision>>,
    writes: u64,
    commits: u64,
    read_only: Option<Arc<str>>,
    figures: Figures,
    /// What has changed since the index was last brought up; `None` while nobody keeps one.
    unindexed: Option<Noted>,
}

/// What has changed since somebody last looked.
#[derive(Debug, Default)]
struct Noted {
    /// Whether anything has, be it no policy.
    moved: bool,
    ids: HashSet<PolicyId>,
}

impl Noted {
    fn note(&mut self, version: &Version) {
        self.moved = true;
        self.ids.extend(version.policy_id().cloned());
    }
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
                figures: Figures::default(),
                unindexed: None,
            }),
            busy: AtomicU64::new(0),
            lagged: AtomicU64::new(0),
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
        self.read().table.revision()
    }

    /// A policy and the bytes it takes in a journal, for the writer: it may look even while the store
    /// closes.
    pub(super) fn find(&self, id: &PolicyId) -> Option<(Arc<Stored>, usize)> {
        let state = self.read();
        let stored = state.table.get(id)?;
        Some((Arc::clone(stored), state.table.newest_bytes(id)))
    }

    /// Looks at the table, whatever the store's state.
    pub(super) fn with_table<T>(&self, look: impl FnOnce(&Table) -> T) -> T {
        look(&self.read().table)
    }

    pub(super) fn get(&self, id: &PolicyId) -> Result<Option<Arc<Stored>>, ReadError> {
        let state = self.read();
        state.open()?;
        Ok(state.table.get(id).cloned())
    }

    pub(super) fn overrides(&self) -> Result<Vec<Arc<BreakerOverride>>, ReadError> {
        let state = self.read();
        state.open()?;
        Ok(state.table.overrides().values().cloned().collect())
    }

    pub(super) fn list(&self, query: &Query<'_>) -> Result<Page, ReadError> {
        let state = self.read();
        state.open()?;
        Ok(state.table.page(query))
    }

    pub(super) fn alike(
        &self,
        namespace: &Namespace,
        service: Option<&Glob>,
        filter: &(dyn Fn(&Policy) -> bool + Sync),
        limit: usize,
    ) -> Result<Page, ReadError> {
        let state = self.read();
        state.open()?;
        let query = Query {
            limit: Some(limit),
            ..Query::default()
        };
        let alike = state.table.catalog().alike(namespace, service);
        let alike = alike.filter(|stored| filter(&stored.policy));
        Ok(state.table.take(&query, alike))
    }

    pub(super) fn versions(
        &self,
        id: &PolicyId,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Stretch, ReadError> {
        let state = self.read();
        state.open()?;
        let subject = Subject::Policy(id.clone());
        Ok(state.table.archive().stretch(&subject, before, limit))
    }

    pub(super) fn changes(
        &self,
        filter: &(dyn Fn(&Version) -> bool + Sync),
        before: Option<Place>,
        limit: usize,
    ) -> Result<Changes, ReadError> {
        let state = self.read();
        state.open()?;
        Ok(state.table.archive().changes(filter, before, limit))
    }

    pub(super) fn watch(self: &Arc<Self>) -> Result<Watch, ReadError> {
        let state = self.read();
        let feed = state.open()?;
        Ok(Watch::new(
            state.table.revision(),
            state.table.catalog().iter().cloned().collect(),
            state.table.overrides().values().cloned().collect(),
            feed.subscribe(),
            Arc::clone(self),
        ))
    }

    pub(super) fn watch_after(self: &Arc<Self>, asked: Revision) -> Result<Watch, ReadError> {
        let state = self.read();
        let feed = state.open()?;
        let (last, archive) = (state.table.revision(), state.table.archive());
        if asked > last {
            return Err(ReadError::Ahead { asked, last });
        }
        let floor = archive.floor();
        // What another life called by that revision has never been here.
        let elsewhere = asked < state.table.reserved() && !archive.has(asked);
        let missed = archive
            .since(asked)
            .filter(|_| !elsewhere)
            .ok_or(ReadError::Compacted { asked, floor })?;
        Ok(Watch::resumed(
            asked,
            missed,
            feed.subscribe(),
            Arc::clone(self),
        ))
    }

    /// Makes one commit's writes visible and tells the watchers, in order.
    pub(super) fn publish(&self, writes: &[Staged]) {
        let mut guard = self.write();
        let state = &mut *guard;
        for Staged { committed, sizes } in writes {
            let versions = committed.versions.iter().zip(sizes);
            for (index, (version, bytes)) in (0..).zip(versions) {
                if let Some(unindexed) = &mut state.unindexed {
                    unindexed.note(version);
                }
                state.table.apply(index, Arc::clone(version), *bytes);
            }
            if let Some(feed) = &state.feed {
                // An error says that nobody is watching.
                let _ = feed.send(committed.revision);
            }
        }
        state.writes += writes.len() as u64;
        state.commits += u64::from(!writes.is_empty());
    }

    /// Begins to keep account for an index as of `applied`; whether what it lacks is known.
    pub(super) fn follow_from(&self, applied: Revision) -> bool {
        let mut state = self.write();
        let Some(lacking) = state.table.archive().since(applied) else {
            return false;
        };
        let mut unindexed = Noted::default();
        for version in lacking.iter().flat_map(|write| &*write.versions) {
            unindexed.note(version);
        }
        state.unindexed = Some(unindexed);
        true
    }

    /// All there is, for an index that is to be built; keeps account from here on.
    pub(super) fn follow_from_now(&self) -> (Summary, Vec<Arc<Stored>>) {
        let mut state = self.write();
        state.unindexed = Some(Noted::default());
        let policies = state.table.catalog().iter().cloned().collect();
        (state.table.summary(), policies)
    }

    /// What has changed since this was last asked; `None` if nothing.
    pub(super) fn unindexed(&self) -> Option<Unindexed> {
        let mut state = self.write();
        let Noted { moved, ids } = std::mem::take(state.unindexed.as_mut()?);
        let table = &state.table;
        moved.then(|| Unindexed {
            summary: table.summary(),
            changes: ids
                .into_iter()
                .map(|id| {
                    let stored = table.get(&id).cloned();
                    (id, stored)
                })
                .collect(),
        })
    }

    /// Nobody keeps an index for the time being.
    pub(super) fn stop_following(&self) {
        self.write().unindexed = None;
    }

    /// From here on every read fails and every watch ends.
    pub(super) fn close(&self) {
        self.write().feed = None;
    }

    /// Why no writes are taken from now on, if so.
    pub(super) fn set_read_only(&self, reason: Option<Arc<str>>) {
        self.write().read_only = reason;
    }

    pub(super) fn set_figures(&self, figures: Figures) {
        self.write().figures = figures;
    }

    /// The write of a revision, for a watch: it may look even while the store closes. `None` if it is
    /// no longer kept whole.
    pub(super) fn write_at(&self, revision: Revision) -> Option<Committed> {
        self.read().table.archive().write_at(revision)
    }

    pub(super) fn count_lagged(&self) {
        // Relaxed: as below.
        self.lagged.fetch_add(1, Ordering::Relaxed);
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
            policies: state.table.catalog().len(),
            versions: state.table.archive().len(),
            kept_bytes: state.table.archive().bytes() as u64,
            read_only: state.read_only.clone(),
            journal_bytes: state.figures.journal_bytes,
            index_bytes: state.figures.index_bytes,
        }
    }
}

impl State {
    fn open(&self) -> Result<&broadcast::Sender<Revision>, ReadError> {
        self.feed.as_ref().ok_or(ReadError::Closed)
    }
}
