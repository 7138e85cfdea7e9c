//! What is legal but may not be what was meant.
//!
//! A warning never stops a write. Each check looks at the policy alone, or at its neighbours of the
//! same namespace for a tie: two policies with the same priority, equally specific, that can meet
//! in one operation and set the same field. Then the name decides, which few people expect.

use std::cmp::Ordering;

use fusebox_core::policy::Policy;
use fusebox_core::policy::field::Field;
use fusebox_core::policy::selector::{Glob, Selector};

/// Neighbours among which a tie is looked for; so that a write costs the same in a crowded
/// namespace.
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
    fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
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
    let alone = [no_effect(policy), disabled(policy), both_ways(policy)];
    let neighbours = neighbours.filter(|other| other.id() != policy.id());
    let ties = neighbours.filter_map(|other| tie(policy, other));
    alone
        .into_iter()
        .flatten()
        .chain(ties)
        .take(MAX_WARNINGS)
        .collect()
}

fn no_effect(policy: &Policy) -> Option<Warning> {
    let nothing = policy.rules().is_empty() && policy.clear().is_empty();
    nothing.then(|| Warning::new("rules", "sets no rule and clears none: it has no effect"))
}

fn disabled(policy: &Policy) -> Option<Warning> {
    let rules = policy.rules();
    let others = |field: &&Field| **field != Field::Enabled && field.is_set(rules);
    let first = Field::ALL
        .iter()
        .find(others)
        .filter(|_| rules.enabled == Some(false))?;
    let description = format!("false: rules.{first} and all others have no effect");
    Some(Warning::new("rules.enabled", description))
}

fn both_ways(policy: &Policy) -> Option<Warning> {
    let trip = policy.rules().circuit_breaker.trip?;
    let (failures, ratio) = (trip.consecutive_failures?, trip.ratio?);
    (failures < ratio.minimum_calls).then(|| {
        let description = format!(
            "{failures} failures in a row open it whatever the ratio, and before {} calls are \
             there to judge one by",
            ratio.minimum_calls
        );
        Warning::new("rules.circuit_breaker.consecutive_failures", description)
    })
}

fn tie(policy: &Policy, other: &Policy) -> Option<Warning> {
    let (ours, theirs) = (policy.selector(), other.selector());
    let equal = policy.priority() == other.priority()
        && ours.cmp_specificity(theirs) == Ordering::Equal
        && may_meet(ours, theirs);
    let decides = |policy: &Policy, field: &Field| {
        field.is_set(policy.rules()) || policy.clear().contains(field)
    };
    let shared = |field: &&Field| decides(policy, field) && decides(other, field);
    let field = Field::ALL.iter().find(shared).filter(|_| equal)?;
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
