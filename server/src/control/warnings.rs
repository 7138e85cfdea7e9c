//! What is legal but may not be what was meant.
//!
//! A warning never stops a write. Each check looks at the policy alone, or at its neighbours for a
//! tie: two policies with the same priority, equally specific, that can meet in one operation and
//! set the same field. Then the name decides, which few people expect. A policy that names its
//! service is only as specific as others that name one, and meets only those that name the same;
//! so its neighbours are these, and those of any other are the ones for many services.

use std::cmp::Ordering;

use fusebox_core::glob::Glob;
use fusebox_core::policy::field::{Field, Section};
use fusebox_core::policy::rules::Rules;
use fusebox_core::policy::selector::Selector;
use fusebox_core::policy::{Policy, defaults};

/// Neighbours among which a tie is looked for, so that the cost of a write is bounded.
pub const MAX_NEIGHBOURS: usize = 1000;
/// Warnings in one answer.
pub const MAX_WARNINGS: usize = 16;

/// Legal, but perhaps not what was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The path of the field concerned.
    pub field: String,
    /// What may surprise.
    pub description: String,
}

impl Warning {
    pub(super) fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            description: description.into(),
        }
    }
}

/// What is odd about `policy`, by itself and among `neighbours`; it may be one of them.
pub(super) fn of<'a>(
    policy: &'a Policy,
    neighbours: impl Iterator<Item = &'a Policy>,
) -> Vec<Warning> {
    let rules = policy.rules();
    let alone = [
        no_effect(policy),
        disabled(rules),
        both_ways(rules),
        never_opens(rules),
        never_slow(rules),
        nobody_waits(rules),
        hedged_though_not_repeatable(policy),
        more_hedges_than_attempts(rules),
    ];
    let modes = Section::ALL
        .iter()
        .map(|section| mode_alone(policy, *section));
    let idle = decides_nothing(policy);
    let neighbours = neighbours.filter(|other| !idle && other.id() != policy.id());
    let ties = neighbours.filter_map(|other| tie(policy, other));
    alone
        .into_iter()
        .chain(modes)
        .flatten()
        .chain(ties)
        .take(MAX_WARNINGS)
        .collect()
}

fn no_effect(policy: &Policy) -> Option<Warning> {
    decides_nothing(policy)
        .then(|| Warning::new("rules", "sets no rule and clears none: it has no effect"))
}

fn decides_nothing(policy: &Policy) -> bool {
    policy.rules().is_empty() && policy.clear().is_empty()
}

fn disabled(rules: &Rules) -> Option<Warning> {
    let others = |field: &&Field| **field != Field::Enabled && field.is_set(rules);
    let first = Field::ALL
        .iter()
        .find(others)
        .filter(|_| rules.enabled == Some(false))?;
    let description = format!("false: rules.{first} and all others have no effect");
    Some(Warning::new("rules.enabled", description))
}

fn both_ways(rules: &Rules) -> Option<Warning> {
    let trip = rules.circuit_breaker.trip?;
    let (failures, ratio) = (trip.consecutive_failures?, trip.ratio?);
    (ratio.failure_ratio.is_some() && failures < ratio.minimum_calls).then(|| {
        let description = format!(
            "{failures} failures in a row open it whatever the ratio, and before {} calls are \
             there to judge one by",
            ratio.minimum_calls
        );
        Warning::new("rules.circuit_breaker.consecutive_failures", description)
    })
}

fn never_opens(rules: &Rules) -> Option<Warning> {
    let trip = rules.circuit_breaker.trip?;
    (trip.consecutive_failures.is_none() && trip.ratio.is_none()).then(|| {
        Warning::new(
            "rules.circuit_breaker.slow_call_threshold",
            "alone in its group, which is replaced whole: nothing opens the breaker",
        )
    })
}

fn never_slow(rules: &Rules) -> Option<Warning> {
    let threshold = rules.circuit_breaker.trip?.slow_call_threshold?;
    let attempt = rules.timeout.attempt.filter(|limit| threshold > *limit)?;
    let description = format!(
        "{threshold:?}: no call is ever seen to take so long, because rules.timeout.attempt ends \
         it after {attempt:?}"
    );
    let field = "rules.circuit_breaker.slow_call_threshold";
    Some(Warning::new(field, description))
}

/// A queue takes places and a time to wait in them.
fn nobody_waits(rules: &Rules) -> Option<Warning> {
    let limit = rules.bulkhead.limit?;
    let (field, other) = match (limit.max_queue, limit.max_wait.is_zero()) {
        (1.., true) => ("rules.bulkhead.max_queue", "rules.bulkhead.max_wait"),
        (0, false) => ("rules.bulkhead.max_wait", "rules.bulkhead.max_queue"),
        _ => return None,
    };
    let description = format!("has no effect: {other} is 0, so nobody waits");
    Some(Warning::new(field, description))
}

fn hedged_though_not_repeatable(policy: &Policy) -> Option<Warning> {
    policy.rules().hedge.plan?;
    let kind = policy.selector().kind()?;
    (!defaults::of(kind).idempotent).then(|| {
        let description = format!(
            "idle for operations of kind {kind}, which are not repeatable unless their author \
             says `idempotent`"
        );
        Warning::new("rules.hedge", description)
    })
}

fn more_hedges_than_attempts(rules: &Rules) -> Option<Warning> {
    let (hedges, attempts) = (rules.hedge.plan?.max_hedges, rules.retry.max_attempts?);
    (hedges.saturating_add(1) > attempts).then(|| {
        let description = format!(
            "{hedges} beside the first are more than the {attempts} that rules.retry.max_attempts \
             allows, among which hedges count"
        );
        Warning::new("rules.hedge.max_hedges", description)
    })
}

/// A mode speaks of what the same policy says beside it.
fn mode_alone(policy: &Policy, section: Section) -> Option<Warning> {
    section.mode(policy.rules())?;
    let mode = section.fields().find(|field| field.is_mode())?;
    let beside = |field: Field| field != mode && decides(policy, field);
    (!section.fields().any(beside)).then(|| {
        let description = "has no effect: this policy sets and clears nothing else in the section";
        Warning::new(format!("rules.{mode}"), description)
    })
}

/// Whether `policy` says what becomes of `field`.
fn decides(policy: &Policy, field: Field) -> bool {
    field.is_set(policy.rules()) || policy.clear().contains(&field)
}

/// Whether it is worth looking closely for a tie; quick, for most neighbours never meet.
pub(super) fn may_tie(policy: &Policy, other: &Policy) -> bool {
    policy.priority() == other.priority()
        && globs_may_meet(policy.selector().operation(), other.selector().operation())
        && other.id() != policy.id()
}

fn tie(policy: &Policy, other: &Policy) -> Option<Warning> {
    let (ours, theirs) = (policy.selector(), other.selector());
    // In the order of their cost.
    let equal = policy.priority() == other.priority()
        && may_meet(ours, theirs)
        && ours.cmp_specificity(theirs) == Ordering::Equal;
    if !equal {
        return None;
    }
    // Each policy has its own mode, whatever the other's is.
    let shared =
        |field: &&Field| !field.is_mode() && decides(policy, **field) && decides(other, **field);
    let field = Field::ALL.iter().find(shared)?;
    let winner = policy.id().max(other.id());
    let description = format!(
        "ties with policy {}, which is as specific and has the same priority: for operations of \
         both the later name decides, {winner}",
        other.id()
    );
    Some(Warning::new(format!("rules.{field}"), description))
}

/// Whether some operation may satisfy both; says yes where it is not sure.
fn may_meet(a: &Selector, b: &Selector) -> bool {
    let kinds = a.kind().zip(b.kind());
    let contradicts = |(key, value)| {
        let mut others = b.labels().iter();
        others.any(|(other, wanted)| other == key && wanted != value)
    };
    globs_may_meet(a.service(), b.service())
        && globs_may_meet(a.operation(), b.operation())
        && kinds.is_none_or(|(a, b)| a == b)
        && !a.labels().iter().any(contradicts)
}

/// Of two patterns that match the same name, one's literal beginning begins the other's, and the
/// same holds for their ends.
fn globs_may_meet(a: Option<&Glob>, b: Option<&Glob>) -> bool {
    let Some((a, b)) = a.zip(b) else { return true };
    match (a.is_exact(), b.is_exact()) {
        (true, _) => b.matches(a.as_str()),
        (_, true) => a.matches(b.as_str()),
        _ => {
            let (a, b) = (ends(a), ends(b));
            let heads = a.0.starts_with(b.0) || b.0.starts_with(a.0);
            heads && (a.1.ends_with(b.1) || b.1.ends_with(a.1))
        }
    }
}

/// What stands before a glob's first star and behind its last.
fn ends(glob: &Glob) -> (&str, &str) {
    let text = glob.as_str();
    let head = text.split('*').next().unwrap_or_default();
    let tail = text.rsplit('*').next().unwrap_or_default();
    (head, tail)
}

#[cfg(test)]
mod tests;
