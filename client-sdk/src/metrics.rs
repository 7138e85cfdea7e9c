//! The SDK's OpenTelemetry instruments. Without a meter nothing is recorded and nothing is paid.

use std::sync::Arc;

use fusebox_core::key::Kind;
use fusebox_core::outcome::{Outcome, Reason, Transition};
use fusebox_core::time::Span;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter};

use crate::link::Board;

#[derive(Debug)]
pub(crate) struct Metrics(Option<Instruments>);

#[derive(Debug)]
struct Instruments {
    execution_duration: Histogram<f64>,
    transitions: Counter<u64>,
    rejections: Counter<u64>,
    would_refuse: Counter<u64>,
    connected: Gauge<u64>,
    config_updates: Counter<u64>,
}

/// From a cache in the same rack to a patient batch, in seconds.
const BOUNDARIES: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

const OPERATION: &str = "fusebox.operation";

impl Metrics {
    pub(crate) fn new(meter: Option<&Meter>) -> Self {
        Self(meter.map(|meter| {
            Instruments {
                execution_duration: meter
                    .f64_histogram("fusebox.client.execution.duration")
                    .with_unit("s")
                    .with_description("How long calls took, retries included")
                    .with_boundaries(BOUNDARIES.to_vec())
                    .build(),
                transitions: meter
                    .u64_counter("fusebox.client.circuit_breaker.transitions")
                    .with_description("Changes of state of circuit breakers")
                    .build(),
                rejections: meter
                    .u64_counter("fusebox.client.rejections")
                    .with_description("Calls refused before they reached the dependency")
                    .build(),
                would_refuse: meter
                    .u64_counter("fusebox.client.shadow.rejections")
                    .with_description("Calls let in that a rule in SHADOW would have refused")
                    .build(),
                connected: meter
                    .u64_gauge("fusebox.client.config.connected")
                    .with_description("1 while a session with a server is up")
                    .build(),
                config_updates: meter
                    .u64_counter("fusebox.client.config.updates")
                    .with_description("Snapshots received, by what became of them")
                    .build(),
            }
        }))
    }

    #[inline]
    pub(crate) fn call(
        &self,
        operation: &'static str,
        kind: Kind,
        outcome: Outcome,
        latency: Span,
    ) {
        if let Some(instruments) = &self.0 {
            let latency = latency.as_duration();
            let attributes = [
                KeyValue::new(OPERATION, operation),
                KeyValue::new("fusebox.kind", kind.name()),
                KeyValue::new("fusebox.outcome", outcome.name()),
            ];
            instruments
                .execution_duration
                .record(latency.as_secs_f64(), &attributes);
        }
    }

    pub(crate) fn refused(&self, operation: &'static str, reason: Reason) {
        if let Some(instruments) = &self.0 {
            let reason = KeyValue::new("fusebox.reason", reason.name());
            instruments
                .rejections
                .add(1, &[KeyValue::new(OPERATION, operation), reason]);
        }
    }

    pub(crate) fn would_refuse(&self, operation: &'static str, reason: Reason) {
        if let Some(instruments) = &self.0 {
            let reason = KeyValue::new("fusebox.reason", reason.name());
            instruments
                .would_refuse
                .add(1, &[KeyValue::new(OPERATION, operation), reason]);
        }
    }

    pub(crate) fn transition(&self, operation: &'static str, transition: &Transition) {
        if let Some(instruments) = &self.0 {
            let attributes = [
                KeyValue::new(OPERATION, operation),
                KeyValue::new("fusebox.from", transition.from.name()),
                KeyValue::new("fusebox.to", transition.to.name()),
            ];
            instruments.transitions.add(1, &attributes);
        }
    }

    pub(crate) fn connected(&self, connected: bool) {
        if let Some(instruments) = &self.0 {
            instruments.connected.record(connected.into(), &[]);
        }
    }

    pub(crate) fn config_update(&self, acked: bool) {
        if let Some(instruments) = &self.0 {
            let result = if acked { "acked" } else { "nacked" };
            instruments
                .config_updates
                .add(1, &[KeyValue::new("fusebox.result", result)]);
        }
    }
}

/// Lets the meter ask how old the word of a server is that what is held is current. It grows while
/// nothing happens, so it is looked at and not recorded; before the first such word there is none.
pub(crate) fn observe_age(meter: Option<&Meter>, board: &Arc<Board>) {
    let Some(meter) = meter else {
        return;
    };
    // A meter never forgets whom it asks. This must not keep alive what has ended.
    let board = Arc::downgrade(board);
    meter
        .f64_observable_gauge("fusebox.client.config.age")
        .with_unit("s")
        .with_description("Time since a server last confirmed the policies held")
        .with_callback(move |observer| {
            let staleness = board.upgrade().and_then(|board| board.staleness());
            if let Some(staleness) = staleness {
                observer.observe(staleness.as_secs_f64(), &[]);
            }
        })
        .build();
}
