//! Subscribers for tests: one does as it is told with every event of this crate, one notes what
//! the spans of attempts came to.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Metadata, Subscriber};

use crate::scenarios::log;

struct Listener<F>(F);

/// Listens on this thread until the guard is dropped.
pub(crate) fn on_event<F>(does: F) -> DefaultGuard
where
    F: Fn(&Event<'_>) + Send + Sync + 'static,
{
    log::listen();
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

/// Of each attempt, by its number: every outcome its span was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempts(Arc<Mutex<BTreeMap<u64, Vec<String>>>>);

impl Attempts {
    /// Notes on this thread until the guard is dropped.
    pub(crate) fn noted(&self) -> DefaultGuard {
        log::listen();
        tracing::subscriber::set_default(self.clone())
    }

    pub(crate) fn outcomes(&self) -> Vec<(u64, String)> {
        let noted = self.0.lock().unwrap();
        let joined = noted.iter().map(|(at, told)| (*at, told.join(", ")));
        joined.collect()
    }
}

/// What the fields of interest say.
#[derive(Default)]
struct Fields {
    attempt: Option<u64>,
    outcome: Option<String>,
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "fusebox.attempt" {
            self.attempt = Some(value);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "fusebox.outcome" {
            self.outcome = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

impl Subscriber for Attempts {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target() == "fusebox"
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        // A call's own span is told apart by the number that no attempt has.
        let Some(attempt) = fields.attempt else {
            return Id::from_u64(u64::MAX);
        };
        self.0.lock().unwrap().entry(attempt).or_default();
        Id::from_u64(attempt)
    }

    fn record(&self, span: &Id, record: &Record<'_>) {
        let mut fields = Fields::default();
        record.record(&mut fields);
        let mut noted = self.0.lock().unwrap();
        if let Some(told) = noted.get_mut(&span.into_u64()) {
            told.extend(fields.outcome);
        }
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
