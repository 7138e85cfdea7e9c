//! Which of two policies decides, and by what.

use std::cmp::Ordering;

use super::Target;
use crate::policy::Policy;
use crate::policy::selector::Aspect;

/// Why a layer that speaks of a field does not decide it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is a lower layer than the one that decides.
    LowerLayer,
    /// Of two policies it has the lower priority.
    LowerPriority,
    /// Alike so far, and the other selector's operation is more specific.
    LessSpecificOperation,
    /// Alike so far, and the other selector's service is more specific.
    LessSpecificService,
    /// Alike so far, and only the other selector names a kind.
    LessSpecificKind,
    /// Alike so far, and the other selector wants more labels.
    FewerLabels,
    /// Alike in everything, and its name comes earlier.
    EarlierName,
    /// It only tries out what it says.
    Shadow,
}

impl From<Aspect> for Reason {
    fn from(aspect: Aspect) -> Self {
        match aspect {
            Aspect::Operation => Self::LessSpecificOperation,
            Aspect::Service => Self::LessSpecificService,
            Aspect::Kind => Self::LessSpecificKind,
            Aspect::Labels => Self::FewerLabels,
        }
    }
}

/// Whether `a` or `b`, the greater, decides, and why the other does not.
pub(super) fn contest(a: &Policy, b: &Policy) -> (Ordering, Reason) {
    let by_priority = a.priority().cmp(&b.priority());
    if by_priority.is_ne() {
        return (by_priority, Reason::LowerPriority);
    }
    match a.selector().decisive_aspect(b.selector()) {
        Some((aspect, ordering)) => (ordering, aspect.into()),
        None => (a.id().cmp(b.id()), Reason::EarlierName),
    }
}

/// The policies that match, the one that decides last.
pub(super) fn in_order<'a>(
    target: &Target<'_>,
    policies: impl IntoIterator<Item = &'a Policy>,
) -> Vec<&'a Policy> {
    let mut matching: Vec<_> = policies
        .into_iter()
        .filter(|policy| policy.selector().matches(target))
        .collect();
    matching.sort_by(|a, b| contest(a, b).0);
    matching
}
