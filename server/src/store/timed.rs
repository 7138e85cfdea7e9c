//! A store that measures how long each operation takes: `fusebox.server.store.operation.duration`.

use std::sync::Arc;
use std::time::Instant;

use fusebox_core::glob::Glob;
use fusebox_core::key::{Namespace, PolicyId};
use fusebox_core::policy::overrides::BreakerOverride;
use fusebox_core::policy::{Policy, Stored};
use fusebox_core::revision::{Incarnation, Revision};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};

use super::{
    AppendError, BoxFuture, Changes, Committed, Page, Proposal, Query, ReadError, Store, Stretch,
    Version, Vitals, Watch,
};

/// From a read out of memory to a write on a struggling disk, in seconds.
const BOUNDARIES: [f64; 14] = [
    0.000_01, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
    1.0, 10.0,
];

/// Measures the store inside.
pub struct Timed {
    inner: Arc<dyn Store>,
    duration: Histogram<f64>,
}

impl Timed {
    /// Measures `inner` from now on.
    pub fn around(inner: Arc<dyn Store>, meter: &Meter) -> Arc<dyn Store> {
        let duration = meter
            .f64_histogram("fusebox.server.store.operation.duration")
            .with_unit("s")
            .with_description("How long an operation of the store took.")
            .with_boundaries(BOUNDARIES.to_vec())
            .build();
        observe_size(&inner, meter);
        Arc::new(Self { inner, duration })
    }

    fn read<T>(
        &self,
        operation: &'static str,
        read: impl FnOnce(&dyn Store) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let began = Instant::now();
        let result = read(&*self.inner);
        let error = result.as_ref().err().map(read_error_type);
        record(&self.duration, operation, began, error);
        result
    }
}

/// What it takes on the disk, read at each export; held weakly, because instruments live as long as
/// the process.
fn observe_size(store: &Arc<dyn Store>, meter: &Meter) {
    let store = Arc::downgrade(store);
    meter
        .u64_observable_gauge("fusebox.server.store.size")
        .with_unit("By")
        .with_description(
            "What the store takes on the disk, by part, and how much of it is wanted.",
        )
        .with_callback(move |observer| {
            let Some(store) = store.upgrade() else { return };
            let vitals = store.vitals();
            for (part, bytes) in [
                ("journal", vitals.journal_bytes),
                ("index", vitals.index_bytes),
                ("kept", vitals.kept_bytes),
            ] {
                observer.observe(bytes, &[KeyValue::new("part", part)]);
            }
        })
        .build();
}

fn record(
    duration: &Histogram<f64>,
    operation: &'static str,
    began: Instant,
    error: Option<&'static str>,
) {
    let operation = KeyValue::new("operation", operation);
    let elapsed = began.elapsed().as_secs_f64();
    match error {
        Some(error) => duration.record(elapsed, &[operation, KeyValue::new("error.type", error)]),
        None => duration.record(elapsed, &[operation]),
    }
}

fn read_error_type(error: &ReadError) -> &'static str {
    match error {
        ReadError::Closed => "closed",
        ReadError::Compacted { .. } => "compacted",
        ReadError::Ahead { .. } => "ahead",
    }
}

fn error_type(error: &AppendError) -> &'static str {
    match error {
        AppendError::Conflict { .. } | AppendError::NotInForce(_) => "conflict",
        AppendError::TooManyOverrides => "too_many",
        AppendError::TooLarge { .. }
        | AppendError::TooMuch { .. }
        | AppendError::TooMany { .. } => "too_large",
        AppendError::Crowded(_) => "crowded",
        AppendError::Unfit { .. } | AppendError::Malformed => "unfit",
        AppendError::Busy => "busy",
        AppendError::InDoubt { .. } => "in_doubt",
        AppendError::Unavailable { .. } => "unavailable",
    }
}

impl Store for Timed {
    fn incarnation(&self) -> Incarnation {
        self.inner.incarnation()
    }

    fn adopted(&self) -> bool {
        self.inner.adopted()
    }

    fn append(&self, proposal: Proposal) -> BoxFuture<'static, Result<Committed, AppendError>> {
        let (began, duration) = (Instant::now(), self.duration.clone());
        let appended = self.inner.append(proposal);
        Box::pin(async move {
            let result = appended.await;
            record(
                &duration,
                "append",
                began,
                result.as_ref().err().map(error_type),
            );
            result
        })
    }

    fn judge(&self, proposal: Proposal) -> Result<(), AppendError> {
        self.inner.judge(proposal)
    }

    fn overrides(&self) -> Result<Vec<Arc<BreakerOverride>>, ReadError> {
        self.read("overrides", Store::overrides)
    }

    fn get(&self, id: &PolicyId) -> Result<Option<Arc<Stored>>, ReadError> {
        self.read("get", |store| store.get(id))
    }

    fn list(&self, query: &Query<'_>) -> Result<Page, ReadError> {
        self.read("list", |store| store.list(query))
    }

    fn alike(
        &self,
        namespace: &Namespace,
        service: Option<&Glob>,
        filter: &(dyn Fn(&Policy) -> bool + Sync),
        limit: usize,
    ) -> Result<Page, ReadError> {
        self.read("alike", |store| {
            store.alike(namespace, service, filter, limit)
        })
    }

    fn versions(
        &self,
        id: &PolicyId,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Stretch, ReadError> {
        self.read("versions", |store| store.versions(id, before, limit))
    }

    fn changes(
        &self,
        filter: &(dyn Fn(&Version) -> bool + Sync),
        before: Option<(Revision, u32)>,
        limit: usize,
    ) -> Result<Changes, ReadError> {
        self.read("changes", |store| store.changes(filter, before, limit))
    }

    fn watch(&self) -> Result<Watch, ReadError> {
        self.read("watch", <dyn Store>::watch)
    }

    fn watch_after(&self, revision: Revision) -> Result<Watch, ReadError> {
        self.read("watch", |store| store.watch_after(revision))
    }

    fn revision(&self) -> Revision {
        self.inner.revision()
    }

    fn vitals(&self) -> Vitals {
        self.inner.vitals()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.inner.close()
    }
}
