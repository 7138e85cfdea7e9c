//! What is read at each export rather than counted as it happens.
//!
//! The instruments live as long as the process, so they hold what they observe weakly.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use crate::accept::{Refusal, Tally};
use crate::distribution::Distribution;
use crate::fleet::FleetWatch;

/// From what an idle fleet takes to what nobody wants to wait for.
const PROPAGATION_SECONDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];

/// How a session ends when nobody ended it: its process went away.
const NOT_EVICTED: [&str; 2] = ["left", "gone"];

/// Begins to observe a server.
pub(crate) fn observe(
    meter: &Meter,
    fleet: &Arc<FleetWatch>,
    distribution: &Arc<Distribution>,
    door: &Arc<Tally>,
) {
    sessions(meter, fleet);
    circuit_breakers(meter, fleet);
    evictions(meter, distribution);
    troubles(meter, distribution);
    pushes(meter, distribution);
    propagation(meter, distribution);
    stalls(meter, distribution);
    connections(meter, door);
    refusals(meter, door);
}

fn sessions(meter: &Meter, fleet: &Arc<FleetWatch>) {
    let fleet = Arc::downgrade(fleet);
    meter
        .i64_observable_up_down_counter("fusebox.server.sessions")
        .with_unit("{session}")
        .with_description("Processes that are connected and have said who they are.")
        .with_callback(move |observer| {
            if let Some(fleet) = fleet.upgrade() {
                observer.observe(signed(fleet.sessions()), &[]);
            }
        })
        .build();
}

fn circuit_breakers(meter: &Meter, fleet: &Arc<FleetWatch>) {
    let fleet = Arc::downgrade(fleet);
    meter
        .u64_observable_gauge("fusebox.server.fleet.circuit_breakers")
        .with_unit("{circuit_breaker}")
        .with_description("Circuit breakers of the fleet by state, one an operation and instance.")
        .with_callback(move |observer| {
            let Some(fleet) = fleet.upgrade() else { return };
            let breakers = fleet.summary().breakers;
            let by_state = [
                ("closed", breakers.closed),
                ("open", breakers.open),
                ("half_open", breakers.half_open),
                ("stale", breakers.stale),
            ];
            for (state, count) in by_state {
                observer.observe(count.into(), &[KeyValue::new("state", state)]);
            }
        })
        .build();
}

fn evictions(meter: &Meter, distribution: &Arc<Distribution>) {
    let distribution = Arc::downgrade(distribution);
    meter
        .u64_observable_counter("fusebox.server.session.evictions")
        .with_unit("{session}")
        .with_description("Sessions that this server ended, by reason.")
        .with_callback(move |observer| {
            let Some(distribution) = distribution.upgrade() else {
                return;
            };
            let ended = distribution.tally().ended.into_iter();
            for (reason, count) in ended.filter(|(reason, _)| !NOT_EVICTED.contains(reason)) {
                observer.observe(count, &[KeyValue::new("reason", reason)]);
            }
        })
        .build();
}

fn troubles(meter: &Meter, distribution: &Arc<Distribution>) {
    let distribution = Arc::downgrade(distribution);
    meter
        .u64_observable_counter("fusebox.server.session.troubles")
        .with_unit("{message}")
        .with_description("What processes said that should not be, by kind; their sessions go on.")
        .with_callback(move |observer| {
            let Some(distribution) = distribution.upgrade() else {
                return;
            };
            for (kind, count) in distribution.tally().troubles {
                observer.observe(count, &[KeyValue::new("kind", kind)]);
            }
        })
        .build();
}

fn pushes(meter: &Meter, distribution: &Arc<Distribution>) {
    let distribution = Arc::downgrade(distribution);
    meter
        .u64_observable_counter("fusebox.server.config.pushes")
        .with_unit("{push}")
        .with_description("What processes were sent: whole sets, or word that theirs is current.")
        .with_callback(move |observer| {
            let Some(distribution) = distribution.upgrade() else {
                return;
            };
            let tally = distribution.tally();
            let by_kind = [
                ("snapshot", tally.snapshots),
                ("up_to_date", tally.up_to_dates),
            ];
            for (kind, count) in by_kind {
                observer.observe(count, &[KeyValue::new("kind", kind)]);
            }
        })
        .build();
}

fn stalls(meter: &Meter, distribution: &Arc<Distribution>) {
    let distribution = Arc::downgrade(distribution);
    meter
        .u64_observable_counter("fusebox.server.push.stalls")
        .with_unit("{stall}")
        .with_description(
            "Times when nobody who was told of a new set sent it in time, and others were told.",
        )
        .with_callback(move |observer| {
            if let Some(distribution) = distribution.upgrade() {
                observer.observe(distribution.tally().stalled_pushes, &[]);
            }
        })
        .build();
}

fn propagation(meter: &Meter, distribution: &Arc<Distribution>) {
    let seconds = meter
        .f64_histogram("fusebox.server.config.propagation.duration")
        .with_unit("s")
        .with_description("From a write to its acknowledgement by one process.")
        .with_boundaries(PROPAGATION_SECONDS.to_vec())
        .build();
    distribution.measure_propagation(seconds);
}

fn connections(meter: &Meter, door: &Arc<Tally>) {
    let door = Arc::downgrade(door);
    meter
        .i64_observable_up_down_counter("fusebox.server.connections")
        .with_unit("{connection}")
        .with_description("Connections that the gRPC port holds.")
        .with_callback(move |observer| {
            if let Some(door) = door.upgrade() {
                observer.observe(signed(door.open()), &[]);
            }
        })
        .build();
}

fn refusals(meter: &Meter, door: &Arc<Tally>) {
    let door = Arc::downgrade(door);
    meter
        .u64_observable_counter("fusebox.server.connection.refusals")
        .with_unit("{connection}")
        .with_description("Connections that the gRPC port closed at once, by reason.")
        .with_callback(move |observer| {
            let Some(door) = door.upgrade() else { return };
            for reason in Refusal::ALL {
                let attributes = [KeyValue::new("reason", reason.as_str())];
                observer.observe(door.refused(reason), &attributes);
            }
        })
        .build();
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
