//! Which rules an operation ends up with, and who set each.
//!
//! Layers are laid over each other from lowest to highest, field by field:
//!
//! ```text
//! kind's defaults < settings file < environment < call site < policies, least to most specific
//! ```
//!
//! Of two policies the one with the higher priority decides; then the one with the more specific
//! operation, service, kind, and more labels; then the one whose name comes later. That order is
//! total, so the result never depends on the order of arrival. A merge of legal layers can be odd
//! (an attempt timeout above the overall one): one table of repairs makes every merge legal.

use std::time::Duration;

use super::Policy;
use super::defaults::{self, Defaults};
use super::field::Field;
use super::ratio::Multiplier;
use super::rules::{Rules, Trip};
use crate::key::{Kind, Labels, OperationName, PolicyId, Service};

/// The operation for which rules are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The service that calls.
    pub service: &'a Service,
    /// What it calls.
    pub operation: &'a OperationName,
    /// What kind of thing that is.
    pub kind: Kind,
    /// The calling instance's labels.
    pub labels: &'a Labels,
}

/// Who set a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The kind's defaults.
    Kind,
    /// The process's settings file.
    File,
    /// The process's environment.
    Environment,
    /// The author, at the call site.
    CallSite,
    /// A policy.
    Policy(PolicyId),
}

/// A total, legal set of rules: what a guard is built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effective {
    /// Whether calls are guarded at all.
    pub enabled: bool,
    /// Bounds each attempt.
    pub attempt_timeout: Duration,
    /// Bounds the whole call.
    pub overall_timeout: Duration,
    /// Attempts in all.
    pub max_attempts: u32,
    /// The first retry's longest sleep.
    pub base_delay: Duration,
    /// The longest sleep of any retry.
    pub max_delay: Duration,
    /// Growth of the sleeps.
    pub multiplier: Multiplier,
    /// What opens the breaker.
    pub trip: Trip,
    /// How long it stays open.
    pub open_duration: Duration,
    /// Probes while half-open.
    pub half_open_permits: u32,
    /// Half-open without a decision opens again after this.
    pub max_half_open: Duration,
}

/// The outcome of a cascade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// What holds.
    pub effective: Effective,
    /// Who set each field.
    pub origins: Origins,
    /// What had to be changed to make the merge legal.
    pub repairs: Vec<Repair>,
}

/// A value that was lowered because another, set by another layer, is below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The field that gave way.
    pub field: Field,
    /// The field that decided.
    pub because_of: Field,
}

/// For every field, who set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins(Vec<Origin>);

impl Origins {
    /// Who set `field`.
    pub fn of(&self, field: Field) -> &Origin {
        &self.0[field as usize]
    }
}

/// Lays `locals` (lowest first) and then the `policies` that match `target` over the defaults of
/// its kind. Locals must be free of violations; policies are by construction.
pub fn resolve<'a>(
    target: &Target<'_>,
    locals: &[(Origin, Rules)],
    policies: impl IntoIterator<Item = &'a Policy>,
) -> Resolution {
    let mut stack = Stack::new();
    for (origin, rules) in locals {
        stack.lay(rules, origin);
    }
    for policy in in_order(target, policies) {
        let origin = Origin::Policy(policy.id().clone());
        stack.clear(policy.clear(), &origin);
        stack.lay(policy.rules(), &origin);
    }
    let (effective, repairs) = settle(&stack.rules, &defaults::of(target.kind));
    Resolution {
        effective,
        origins: Origins(stack.origins),
        repairs,
    }
}

/// The policies that match, least specific first.
fn in_order<'a>(
    target: &Target<'_>,
    policies: impl IntoIterator<Item = &'a Policy>,
) -> Vec<&'a Policy> {
    let mut matching: Vec<_> = policies
        .into_iter()
        .filter(|policy| policy.selector().matches(target))
        .collect();
    matching.sort_by(|a, b| {
        a.priority()
            .cmp(&b.priority())
            .then_with(|| a.selector().cmp_specificity(b.selector()))
            .then_with(|| a.id().cmp(b.id()))
    });
    matching
}

/// What the layers so far have set, and who.
struct Stack {
    rules: Rules,
    origins: Vec<Origin>,
}

impl Stack {
    fn new() -> Self {
        Self {
            rules: Rules::default(),
            origins: vec![Origin::Kind; Field::ALL.len()],
        }
    }

    fn lay(&mut self, layer: &Rules, origin: &Origin) {
        for &field in Field::ALL.iter().filter(|field| field.is_set(layer)) {
            field.copy(layer, &mut self.rules);
            self.origins[field as usize] = origin.clone();
        }
    }

    fn clear(&mut self, fields: &[Field], origin: &Origin) {
        for &field in fields {
            field.copy(&Rules::default(), &mut self.rules);
            self.origins[field as usize] = origin.clone();
        }
    }
}

/// Fills what is unset from the kind's row, derives what has none, repairs what contradicts itself.
fn settle(rules: &Rules, row: &Defaults) -> (Effective, Vec<Repair>) {
    let Rules {
        timeout,
        retry,
        circuit_breaker: breaker,
        enabled,
    } = rules;
    let max_attempts = retry.max_attempts.unwrap_or(row.max_attempts);
    let multiplier = retry.multiplier.unwrap_or(row.multiplier);
    let max_delay = retry.max_delay.unwrap_or(row.max_delay);
    let wanted_base_delay = retry.base_delay.unwrap_or(row.base_delay);
    let base_delay = wanted_base_delay.min(max_delay);
    let wanted_attempt = timeout.attempt.unwrap_or(row.attempt_timeout);
    let overall_timeout = timeout.overall.unwrap_or_else(|| {
        let sleeps = (1..max_attempts)
            .map(|retry| longest_backoff(retry, base_delay, max_delay, multiplier))
            .fold(Duration::ZERO, Duration::saturating_add);
        wanted_attempt
            .saturating_mul(max_attempts)
            .saturating_add(sleeps)
    });
    let attempt_timeout = wanted_attempt.min(overall_timeout);
    let open_duration = breaker.open_duration.unwrap_or(row.open_duration);
    let half_open = breaker.half_open;
    let effective = Effective {
        enabled: enabled.unwrap_or(true),
        attempt_timeout,
        overall_timeout,
        max_attempts,
        base_delay,
        max_delay,
        multiplier,
        trip: breaker.trip.unwrap_or(row.trip),
        open_duration,
        half_open_permits: half_open.map_or(row.half_open_permits, |half_open| half_open.permits),
        max_half_open: half_open
            .and_then(|half_open| half_open.max)
            .unwrap_or(open_duration.saturating_add(attempt_timeout)),
    };
    let repairs = [
        (
            attempt_timeout < wanted_attempt,
            Field::TimeoutAttempt,
            Field::TimeoutOverall,
        ),
        (
            base_delay < wanted_base_delay,
            Field::RetryBaseDelay,
            Field::RetryMaxDelay,
        ),
    ];
    let repairs = repairs.into_iter().filter(|(lowered, ..)| *lowered);
    let repairs = repairs.map(|(_, field, because_of)| Repair { field, because_of });
    (effective, repairs.collect())
}

/// The longest sleep before retry `retry` (from 1): `min(base * multiplier^(retry-1), max)`.
pub fn longest_backoff(
    retry: u32,
    base_delay: Duration,
    max_delay: Duration,
    multiplier: Multiplier,
) -> Duration {
    let exponent = i32::try_from(retry.saturating_sub(1)).unwrap_or(i32::MAX);
    // In floating point an overflow is infinite, which no `Duration` can hold: then the cap holds.
    let seconds = base_delay.as_secs_f64() * multiplier.as_f64().powi(exponent);
    Duration::try_from_secs_f64(seconds).map_or(max_delay, |delay| delay.min(max_delay))
}
