//! The section `circuit_breaker`.

use std::time::Duration;

use fusebox_core::policy::ratio::{Multiplier, Ratio, Share};
use fusebox_core::policy::rules::{CircuitBreaker, HalfOpen, RatioTrip, Trip, Window};
use fusebox_core::policy::{Violations, defaults};

use super::super::time::{duration_to_wire, optional_duration};
use super::{mode_from_wire, mode_to_wire, needs, number};
use crate::v1;

const WINDOW: &str = "rules.circuit_breaker.window";
const FAILURE_RATIO: &str = "rules.circuit_breaker.failure_ratio";
const SLOW_CALL_RATIO: &str = "rules.circuit_breaker.slow_call_ratio";
/// Stands in for a window, or a time, that cannot be read.
const ANY_SPAN: Duration = Duration::from_secs(1);

pub(super) fn from_wire(found: &mut Violations, wire: &v1::CircuitBreaker) -> CircuitBreaker {
    CircuitBreaker {
        trip: trip_from_wire(found, wire),
        open_duration: optional_duration(
            found,
            "rules.circuit_breaker.open_duration",
            wire.open_duration.as_ref(),
        ),
        open_multiplier: number(
            found,
            "rules.circuit_breaker.open_multiplier",
            wire.open_multiplier,
            Multiplier::new,
        ),
        max_open_duration: optional_duration(
            found,
            "rules.circuit_breaker.max_open_duration",
            wire.max_open_duration.as_ref(),
        ),
        open_jitter: number(
            found,
            "rules.circuit_breaker.open_jitter",
            wire.open_jitter,
            Share::new,
        ),
        half_open: half_open_from_wire(found, wire),
        recovery_ramp: optional_duration(
            found,
            "rules.circuit_breaker.recovery_ramp",
            wire.recovery_ramp.as_ref(),
        ),
        mode: mode_from_wire(found, "rules.circuit_breaker.mode", wire.mode),
    }
}

pub(super) fn to_wire(breaker: &CircuitBreaker) -> v1::CircuitBreaker {
    let trip = breaker.trip.unwrap_or_default();
    let half_open = breaker.half_open;
    v1::CircuitBreaker {
        consecutive_failures: trip.consecutive_failures,
        window: trip.ratio.map(|ratio| window_to_wire(ratio.window)),
        failure_ratio: trip
            .ratio
            .and_then(|ratio| ratio.failure_ratio)
            .map(Ratio::as_f64),
        minimum_calls: trip.ratio.map(|ratio| ratio.minimum_calls),
        slow_call_ratio: trip
            .ratio
            .and_then(|ratio| ratio.slow_call_ratio)
            .map(Ratio::as_f64),
        slow_call_threshold: trip.slow_call_threshold.map(duration_to_wire),
        open_duration: breaker.open_duration.map(duration_to_wire),
        open_multiplier: breaker.open_multiplier.map(Multiplier::as_f64),
        max_open_duration: breaker.max_open_duration.map(duration_to_wire),
        open_jitter: breaker.open_jitter.map(Share::as_f64),
        half_open_permits: half_open.map(|group| group.permits),
        max_half_open: half_open.and_then(|group| group.max).map(duration_to_wire),
        half_open_successes: half_open.and_then(|group| group.successes),
        recovery_ramp: breaker.recovery_ramp.map(duration_to_wire),
        mode: mode_to_wire(breaker.mode),
    }
}

/// The group of what opens the breaker; inherited if none of its fields is set.
fn trip_from_wire(found: &mut Violations, wire: &v1::CircuitBreaker) -> Option<Trip> {
    let threshold = wire.slow_call_threshold.as_ref().map(|wire| {
        let field = "rules.circuit_breaker.slow_call_threshold";
        optional_duration(found, field, Some(wire)).unwrap_or(ANY_SPAN)
    });
    let trip = Trip {
        consecutive_failures: wire.consecutive_failures,
        slow_call_threshold: threshold,
        ratio: ratio_trip_from_wire(found, wire),
    };
    (trip != Trip::default()).then_some(trip)
}

fn ratio_trip_from_wire(found: &mut Violations, wire: &v1::CircuitBreaker) -> Option<RatioTrip> {
    let ratios = wire.failure_ratio.or(wire.slow_call_ratio);
    if wire.window.is_none() && ratios.is_none() && wire.minimum_calls.is_none() {
        return None;
    }
    let mut failure_ratio = ratio_from_wire(found, FAILURE_RATIO, wire.failure_ratio);
    let slow_call_ratio = ratio_from_wire(found, SLOW_CALL_RATIO, wire.slow_call_ratio);
    if wire.window.is_none() {
        let minimum_calls = "rules.circuit_breaker.minimum_calls";
        needs(found, FAILURE_RATIO, wire.failure_ratio, WINDOW);
        needs(found, SLOW_CALL_RATIO, wire.slow_call_ratio, WINDOW);
        needs(found, minimum_calls, wire.minimum_calls, WINDOW);
        // Of a window that is not there, enough has been said.
        failure_ratio = failure_ratio.or(Some(Ratio::ONE));
    }
    let window = wire.window.as_ref();
    let window = window.and_then(|window| window_from_wire(found, window));
    let window = window.unwrap_or(Window::Span(ANY_SPAN));
    Some(RatioTrip {
        window,
        failure_ratio,
        slow_call_ratio,
        minimum_calls: wire
            .minimum_calls
            .unwrap_or_else(|| window.default_minimum_calls()),
    })
}

fn ratio_from_wire(found: &mut Violations, field: &str, wire: Option<f64>) -> Option<Ratio> {
    wire.map(|_| number(found, field, wire, Ratio::new).unwrap_or(Ratio::ONE))
}

fn window_from_wire(found: &mut Violations, wire: &v1::Window) -> Option<Window> {
    match &wire.shape {
        Some(v1::window::Shape::Span(span)) => {
            let field = "rules.circuit_breaker.window.span";
            optional_duration(found, field, Some(span)).map(Window::Span)
        }
        Some(v1::window::Shape::Size(size)) => Some(Window::Calls(*size)),
        None => {
            found.add(WINDOW, "no shape", "must have a span or a size");
            None
        }
    }
}

fn window_to_wire(window: Window) -> v1::Window {
    v1::Window {
        shape: Some(match window {
            Window::Span(span) => v1::window::Shape::Span(duration_to_wire(span)),
            Window::Calls(size) => v1::window::Shape::Size(size),
        }),
    }
}

/// The group of how the breaker probes; inherited if none of its fields is set.
fn half_open_from_wire(found: &mut Violations, wire: &v1::CircuitBreaker) -> Option<HalfOpen> {
    let counts = wire.half_open_permits.or(wire.half_open_successes);
    if counts.is_none() && wire.max_half_open.is_none() {
        return None;
    }
    Some(HalfOpen {
        permits: wire
            .half_open_permits
            .unwrap_or(defaults::HALF_OPEN_PERMITS),
        successes: wire.half_open_successes,
        max: optional_duration(
            found,
            "rules.circuit_breaker.max_half_open",
            wire.max_half_open.as_ref(),
        ),
    })
}
