//! A store in this process: what callers touch of it.
//!
//! Callers never wait for the disk or for each other: they read the [`Live`] set, and hand writes
//! to the writer thread through a queue that refuses rather than blocks when it is full. Closing is
//! letting go of the queue: the writer empties it, and its end is the end of the store.

use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use fusebox_core::glob::Glob;
use fusebox_core::key::{Namespace, PolicyId};
use fusebox_core::policy::overrides::BreakerOverride;
use fusebox_core::policy::{Policy, Stored};
use fusebox_core::revision::{Incarnation, Revision};
use tokio::sync::{oneshot, watch};

use super::live::Live;
use super::table::Table;
use super::writer::{Answer, Batch, Disk, Request, Writer, in_doubt, unavailable};
use super::{
    AppendError, BoxFuture, Changes, Clock, OpenError, Page, Proposal, QUEUE_SLOTS, Query,
    ReadError, Store, Stretch, Version, Vitals, Watch,
};

/// Why a closed store takes no writes.
pub(super) const CLOSED: &str = "it is closed";

/// Which store this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) incarnation: Incarnation,
    /// Whether processes are to follow it even while it is empty.
    pub(super) adopted: bool,
}

/// A store in this process: a queue, a writer thread, and the live policies.
pub(super) struct Local {
    life: Life,
    clock: Clock,
    live: Arc<Live>,
    /// `None` once closed; the writer ends when it has emptied the queue.
    queue: Mutex<Option<SyncSender<Request>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Its sender lives as long as the writer thread.
    running: watch::Receiver<()>,
}

impl Local {
    /// Starts the writer thread over `table`, which is what `disk` holds.
    pub(super) fn start(
        life: Life,
        table: Table,
        disk: impl Disk,
        clock: Clock,
    ) -> Result<Arc<dyn Store>, OpenError> {
        let live = Arc::new(Live::new(table));
        let (queue, requests) = sync_channel(QUEUE_SLOTS);
        let (alive, running) = watch::channel(());
        let own_clock = Arc::clone(&clock);
        let writer = Writer::new(disk, Arc::clone(&live), clock, requests);
        let thread = thread::Builder::new()
            .name("fusebox-store".into())
            .spawn(move || {
                writer.run();
                drop(alive);
            })
            .map_err(OpenError::io("start the thread", "fusebox-store"))?;
        Ok(Arc::new(Self {
            life,
            clock: own_clock,
            live,
            queue: Mutex::new(Some(queue)),
            writer: Mutex::new(Some(thread)),
            running,
        }))
    }

    fn enqueue(&self, request: Request) -> Result<(), AppendError> {
        let queue = locked(&self.queue);
        match queue.as_ref().map(|queue| queue.try_send(request)) {
            Some(Ok(())) => Ok(()),
            Some(Err(TrySendError::Full(_))) => {
                self.live.count_busy();
                Err(AppendError::Busy)
            }
            None | Some(Err(TrySendError::Disconnected(_))) => Err(unavailable(CLOSED)),
        }
    }

    fn close_queue(&self) {
        locked(&self.queue).take();
    }
}

// A poisoned lock is taken all the same: both guard an `Option` that is only ever taken.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store for Local {
    fn incarnation(&self) -> Incarnation {
        self.life.incarnation
    }

    fn adopted(&self) -> bool {
        self.life.adopted
    }

    fn append(&self, proposal: Proposal) -> BoxFuture<'static, Answer> {
        let (answer, answered) = oneshot::channel();
        let queued = self.enqueue(Request { proposal, answer });
        Box::pin(async move {
            queued?;
            answered
                .await
                .unwrap_or_else(|_| Err(in_doubt("the writer ended without an answer")))
        })
    }

    fn judge(&self, proposal: Proposal) -> Result<(), AppendError> {
        let mut batch = Batch::new(&self.live, (self.clock)());
        batch.stage(proposal).map(drop)
    }

    fn overrides(&self) -> Result<Vec<Arc<BreakerOverride>>, ReadError> {
        self.live.overrides()
    }

    fn get(&self, id: &PolicyId) -> Result<Option<Arc<Stored>>, ReadError> {
        self.live.get(id)
    }

    fn list(&self, query: &Query<'_>) -> Result<Page, ReadError> {
        self.live.list(query)
    }

    fn alike(
        &self,
        namespace: &Namespace,
        service: Option<&Glob>,
        filter: &(dyn Fn(&Policy) -> bool + Sync),
        limit: usize,
    ) -> Result<Page, ReadError> {
        self.live.alike(namespace, service, filter, limit)
    }

    fn versions(
        &self,
        id: &PolicyId,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Stretch, ReadError> {
        self.live.versions(id, before, limit)
    }

    fn changes(
        &self,
        filter: &(dyn Fn(&Version) -> bool + Sync),
        before: Option<(Revision, u32)>,
        limit: usize,
    ) -> Result<Changes, ReadError> {
        self.live.changes(filter, before, limit)
    }

    fn watch(&self) -> Result<Watch, ReadError> {
        self.live.watch()
    }

    fn watch_after(&self, revision: Revision) -> Result<Watch, ReadError> {
        self.live.watch_after(revision)
    }

    fn revision(&self) -> Revision {
        self.live.revision()
    }

    fn vitals(&self) -> Vitals {
        self.live.vitals()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.close_queue();
        let mut running = self.running.clone();
        // An error says that the sender is gone, and with it the writer and its disk.
        Box::pin(async move { while running.changed().await.is_ok() {} })
    }
}

impl Drop for Local {
    /// Waits for the writer, so that the data directory is free once the store is gone.
    fn drop(&mut self) {
        self.close_queue();
        if let Some(Err(_)) = locked(&self.writer).take().map(JoinHandle::join) {
            tracing::error!("the store's writer panicked; what it acknowledged is in the journal");
        }
    }
}
