//! A subscriber for tests: does as it is told with every event of this crate, and sees no span.

use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Metadata, Subscriber};

struct Listener<F>(F);

/// Listens on this thread until the guard is dropped.
pub(crate) fn on_event<F>(does: F) -> DefaultGuard
where
    F: Fn(&Event<'_>) + Send + Sync + 'static,
{
    tracing::subscriber::set_default(Listener(does))
}

impl<F: Fn(&Event<'_>) + Send + Sync + 'static> Subscriber for Listener<F> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target() == "fusebox"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        (self.0)(event);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
