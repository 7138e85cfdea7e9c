//! The rules of a policy, section by section.
//!
//! What cannot be read is told and left unset, so that core can check the rest. Where an unreadable
//! field belongs to a group, a legal value takes its place for the same reason: it never leaves
//! this crate, because a finding about it has been made.

use std::time::Duration;

use fusebox_core::policy::Violations;
use fusebox_core::policy::ratio::{Multiplier, Ratio};
use fusebox_core::policy::rules::{
    CircuitBreaker, DEFAULT_MINIMUM_CALLS, HalfOpen, RatioTrip, Retry, Rules, Timeout, Trip, Window,
};

use super::time::{duration_to_wire, optional_duration};
use crate::v1;

const FAILURE_RATIO: &str = "rules.circuit_breaker.failure_ratio";
const WINDOW: &str = "rules.circuit_breaker.window";
/// Probes of a group that only says how long it may be half-open.
const DEFAULT_PERMITS: u32 = 1;

pub(super) fn rules_from_wire(found: &mut Violations, wire: Option<&v1::Rules>) -> Rules {
    let Some(wire) = wire else {
        return Rules::default();
    };
    Rules {
        timeout: section(found, wire.timeout.as_ref(), timeout_from_wire),
        retry: section(found, wire.retry.as_ref(), retry_from_wire),
        circuit_breaker: section(found, wire.circuit_breaker.as_ref(), breaker_from_wire),
        enabled: wire.enabled,
    }
}

/// `None` if nothing is set.
pub(super) fn rules_to_wire(rules: &Rules) -> Option<v1::Rules> {
    set(v1::Rules {
        timeout: set(timeout_to_wire(&rules.timeout)),
        retry: set(retry_to_wire(&rules.retry)),
        circuit_breaker: set(breaker_to_wire(&rules.circuit_breaker)),
        enabled: rules.enabled,
    })
}

fn section<W, T: Default>(
    found: &mut Violations,
    wire: Option<&W>,
    convert: fn(&mut Violations, &W) -> T,
) -> T {
    wire.map(|wire| convert(found, wire)).unwrap_or_default()
}

/// The message, if it says anything.
fn set<M: Default + PartialEq>(message: M) -> Option<M> {
    (message != M::default()).then_some(message)
}

fn timeout_from_wire(found: &mut Violations, wire: &v1::Timeout) -> Timeout {
    Timeout {
        attempt: optional_duration(found, "rules.timeout.attempt", wire.attempt.as_ref()),
        overall: optional_duration(found, "rules.timeout.overall", wire.overall.as_ref()),
    }
}

fn timeout_to_wire(timeout: &Timeout) -> v1::Timeout {
    v1::Timeout {
        attempt: timeout.attempt.map(duration_to_wire),
        overall: timeout.overall.map(duration_to_wire),
    }
}

fn retry_from_wire(found: &mut Violations, wire: &v1::Retry) -> Retry {
    Retry {
        max_attempts: wire.max_attempts,
        base_delay: optional_duration(found, "rules.retry.base_delay", wire.base_delay.as_ref()),
        max_delay: optional_duration(found, "rules.retry.max_delay", wire.max_delay.as_ref()),
        multiplier: wire.multiplier.and_then(|factor| {
            found.keep("rules.retry.multiplier", factor, Multiplier::new(factor))
        }),
    }
}

fn retry_to_wire(retry: &Retry) -> v1::Retry {
    v1::Retry {
        max_attempts: retry.max_attempts,
        base_delay: retry.base_delay.map(duration_to_wire),
        max_delay: retry.max_delay.map(duration_to_wire),
        multiplier: retry.multiplier.map(Multiplier::as_f64),
    }
}

fn breaker_from_wire(found: &mut Violations, wire: &v1::CircuitBreaker) -> CircuitBreaker {
    CircuitBreaker {
        trip: trip_from_wire(found, wire),
        open_duration: optional_duration(
            found,
            "rules.circuit_breaker.open_duration",
            wire.open_duration.as_ref(),
        ),
        half_open: half_open_from_wire(found, wire),
    }
}

fn breaker_to_wire(breaker: &CircuitBreaker) -> v1::CircuitBreaker {
    let ratio = breaker.trip.and_then(|trip| trip.ratio);
    v1::CircuitBreaker {
        consecutive_failures: breaker.trip.and_then(|trip| trip.consecutive_failures),
        window: ratio.map(|ratio| window_to_wire(ratio.window)),
        failure_ratio: ratio.map(|ratio| ratio.failure_ratio.as_f64()),
        minimum_calls: ratio.map(|ratio| ratio.minimum_calls),
        open_duration: breaker.open_duration.map(duration_to_wire),
        half_open_permits: breaker.half_open.map(|half_open| half_open.permits),
        max_half_open: breaker
            .half_open
            .and_then(|half_open| half_open.max)
            .map(duration_to_wire),
    }
}

/// The group of what opens the breaker; inherited if none of its fields is set.
fn trip_from_wire(found: &mut Violations, wire: &v1::CircuitBreaker) -> Option<Trip> {
    let trip = Trip {
        consecutive_failures: wire.consecutive_failures,
        ratio: ratio_trip_from_wire(found, wire),
    };
    (trip.consecutive_failures.is_some() || trip.ratio.is_some()).then_some(trip)
}

fn ratio_trip_from_wire(found: &mut Violations, wire: &v1::CircuitBreaker) -> Option<RatioTrip> {
    if wire.window.is_none() && wire.failure_ratio.is_none() && wire.minimum_calls.is_none() {
        return None;
    }
    check_company(found, wire);
    let window = wire.window.as_ref();
    let window = window.and_then(|window| window_from_wire(found, window));
    let ratio = wire.failure_ratio;
    let ratio = ratio.and_then(|ratio| found.keep(FAILURE_RATIO, ratio, Ratio::new(ratio)));
    Some(RatioTrip {
        window: window.unwrap_or(Window::Span(Duration::from_secs(1))),
        failure_ratio: ratio.unwrap_or_else(any_ratio),
        minimum_calls: wire.minimum_calls.unwrap_or(DEFAULT_MINIMUM_CALLS),
    })
}

/// Of window, ratio and minimum, the first two need each other and the third needs both.
fn check_company(found: &mut Violations, wire: &v1::CircuitBreaker) {
    let needs = |other| format!("needs {other} beside it");
    match (&wire.window, wire.failure_ratio) {
        (None, Some(ratio)) => found.add(FAILURE_RATIO, ratio, needs(WINDOW)),
        (Some(_), None) => found.add(WINDOW, "set", needs(FAILURE_RATIO)),
        _ => {}
    }
    if let (None, Some(minimum)) = (&wire.window, wire.minimum_calls) {
        found.add(
            "rules.circuit_breaker.minimum_calls",
            minimum,
            needs(WINDOW),
        );
    }
}

fn window_from_wire(found: &mut Violations, wire: &v1::Window) -> Option<Window> {
    let Some(v1::window::Shape::Span(span)) = &wire.shape else {
        found.add(WINDOW, "no shape", "must have a span");
        return None;
    };
    optional_duration(found, "rules.circuit_breaker.window.span", Some(span)).map(Window::Span)
}

fn window_to_wire(window: Window) -> v1::Window {
    let Window::Span(span) = window;
    v1::Window {
        shape: Some(v1::window::Shape::Span(duration_to_wire(span))),
    }
}

/// The group of how the breaker probes; inherited if none of its fields is set.
fn half_open_from_wire(found: &mut Violations, wire: &v1::CircuitBreaker) -> Option<HalfOpen> {
    if wire.half_open_permits.is_none() && wire.max_half_open.is_none() {
        return None;
    }
    Some(HalfOpen {
        permits: wire.half_open_permits.unwrap_or(DEFAULT_PERMITS),
        max: optional_duration(
            found,
            "rules.circuit_breaker.max_half_open",
            wire.max_half_open.as_ref(),
        ),
    })
}

/// Stands in for one that cannot be read.
fn any_ratio() -> Ratio {
    // Cannot fail: one is a ratio. Every test of an unreadable ratio comes by here.
    Ratio::new(1.0).expect("one is a ratio")
}
