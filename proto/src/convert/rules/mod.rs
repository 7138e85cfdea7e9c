//! The rules of a policy, section by section.
//!
//! What cannot be read is told and left unset, so that core can check the rest. Where an unreadable
//! field belongs to a group, or one that the group needs is missing, a legal value takes its place
//! for the same reason: it never leaves this crate, because a finding about it has been made.

mod breaker;
mod hedge;
mod limits;
mod retry;

use std::fmt::Display;

use fusebox_core::policy::Violations;
use fusebox_core::policy::ratio::OutOfRange;
use fusebox_core::policy::rules::{Mode, Rules, Timeout};

use super::time::{duration_to_wire, optional_duration};
use crate::v1;

pub(super) fn rules_from_wire(found: &mut Violations, wire: Option<&v1::Rules>) -> Rules {
    let Some(wire) = wire else {
        return Rules::default();
    };
    Rules {
        timeout: section(found, wire.timeout.as_ref(), timeout_from_wire),
        retry: section(found, wire.retry.as_ref(), retry::from_wire),
        circuit_breaker: section(found, wire.circuit_breaker.as_ref(), breaker::from_wire),
        bulkhead: section(found, wire.bulkhead.as_ref(), limits::bulkhead_from_wire),
        rate_limit: section(found, wire.rate_limit.as_ref(), limits::rate_from_wire),
        concurrency_limit: section(
            found,
            wire.concurrency_limit.as_ref(),
            limits::concurrency_from_wire,
        ),
        hedge: section(found, wire.hedge.as_ref(), hedge::from_wire),
        enabled: wire.enabled,
    }
}

/// `None` if nothing is set.
pub(super) fn rules_to_wire(rules: &Rules) -> Option<v1::Rules> {
    set(v1::Rules {
        timeout: set(timeout_to_wire(&rules.timeout)),
        retry: set(retry::to_wire(&rules.retry)),
        circuit_breaker: set(breaker::to_wire(&rules.circuit_breaker)),
        bulkhead: set(limits::bulkhead_to_wire(&rules.bulkhead)),
        rate_limit: set(limits::rate_to_wire(&rules.rate_limit)),
        concurrency_limit: set(limits::concurrency_to_wire(&rules.concurrency_limit)),
        hedge: set(hedge::to_wire(&rules.hedge)),
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

fn mode_from_wire(found: &mut Violations, field: &str, wire: i32) -> Option<Mode> {
    match v1::Mode::try_from(wire) {
        Ok(v1::Mode::Unspecified) => None,
        Ok(v1::Mode::Enforce) => Some(Mode::Enforce),
        Ok(v1::Mode::Shadow) => Some(Mode::Shadow),
        Err(_) => {
            found.add(field, wire, "must be a known mode");
            None
        }
    }
}

fn mode_to_wire(mode: Option<Mode>) -> i32 {
    let mode = match mode {
        None => v1::Mode::Unspecified,
        Some(Mode::Enforce) => v1::Mode::Enforce,
        Some(Mode::Shadow) => v1::Mode::Shadow,
    };
    mode.into()
}

/// The number as what it stands for, or a finding about `field`.
fn number<T>(
    found: &mut Violations,
    field: &str,
    wire: Option<f64>,
    check: fn(f64) -> Result<T, OutOfRange>,
) -> Option<T> {
    let wire = wire?;
    found.keep(field, wire, check(wire))
}

/// A finding about `field`, if it is set, that it means nothing without `other`.
fn needs(found: &mut Violations, field: &str, set: Option<impl Display>, other: &str) {
    if let Some(value) = set {
        found.add(field, value, format!("needs {other} beside it"));
    }
}
