//! The section `retry`.

use fusebox_core::policy::ratio::{Multiplier, Share};
use fusebox_core::policy::rules::{Jitter, Retry, RetryBudget};
use fusebox_core::policy::{Violations, defaults};

use super::super::time::{duration_to_wire, optional_duration};
use super::number;
use crate::v1;

pub(super) fn from_wire(found: &mut Violations, wire: &v1::Retry) -> Retry {
    let multiplier = "rules.retry.multiplier";
    Retry {
        max_attempts: wire.max_attempts,
        base_delay: optional_duration(found, "rules.retry.base_delay", wire.base_delay.as_ref()),
        max_delay: optional_duration(found, "rules.retry.max_delay", wire.max_delay.as_ref()),
        multiplier: number(found, multiplier, wire.multiplier, Multiplier::new),
        jitter: jitter_from_wire(found, wire.jitter),
        budget: wire.budget.and_then(|wire| budget_from_wire(found, wire)),
        honor_retry_after: wire.honor_retry_after,
    }
}

pub(super) fn to_wire(retry: &Retry) -> v1::Retry {
    v1::Retry {
        max_attempts: retry.max_attempts,
        base_delay: retry.base_delay.map(duration_to_wire),
        max_delay: retry.max_delay.map(duration_to_wire),
        multiplier: retry.multiplier.map(Multiplier::as_f64),
        jitter: jitter_to_wire(retry.jitter).into(),
        budget: retry.budget.map(|budget| v1::RetryBudget {
            ratio: Some(budget.ratio.as_f64()),
            min_per_second: Some(budget.min_per_second),
        }),
        honor_retry_after: retry.honor_retry_after,
    }
}

fn jitter_from_wire(found: &mut Violations, wire: i32) -> Option<Jitter> {
    match v1::Jitter::try_from(wire) {
        Ok(v1::Jitter::Unspecified) => None,
        Ok(v1::Jitter::Full) => Some(Jitter::Full),
        Ok(v1::Jitter::Equal) => Some(Jitter::Equal),
        Ok(v1::Jitter::None) => Some(Jitter::None),
        Err(_) => {
            found.add("rules.retry.jitter", wire, "must be a known jitter");
            None
        }
    }
}

fn jitter_to_wire(jitter: Option<Jitter>) -> v1::Jitter {
    match jitter {
        None => v1::Jitter::Unspecified,
        Some(Jitter::Full) => v1::Jitter::Full,
        Some(Jitter::Equal) => v1::Jitter::Equal,
        Some(Jitter::None) => v1::Jitter::None,
    }
}

/// Inherited if it says nothing.
fn budget_from_wire(found: &mut Violations, wire: v1::RetryBudget) -> Option<RetryBudget> {
    if wire == v1::RetryBudget::default() {
        return None;
    }
    let default = defaults::BUDGET;
    let ratio = number(found, "rules.retry.budget.ratio", wire.ratio, Share::new);
    Some(RetryBudget {
        ratio: ratio.unwrap_or(default.ratio),
        min_per_second: wire.min_per_second.unwrap_or(default.min_per_second),
    })
}
