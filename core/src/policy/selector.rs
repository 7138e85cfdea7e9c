//! Whom a policy concerns, and which of two that match is the more specific.

use std::cmp::Ordering;

use super::cascade::Target;
use crate::glob::Glob;
use crate::key::{Kind, Labels};

/// The conditions of a policy; all that are set must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    service: Option<Glob>,
    operation: Option<Glob>,
    kind: Option<Kind>,
    labels: Labels,
}

/// In what one selector can be more specific than another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// The condition on the operation: exact before glob before none, then more literal characters.
    Operation,
    /// The condition on the service, likewise.
    Service,
    /// Whether there is a condition on the kind.
    Kind,
    /// How many labels it wants.
    Labels,
}

impl Aspect {
    /// Every aspect, the one that weighs most first.
    pub const ALL: [Self; 4] = [Self::Operation, Self::Service, Self::Kind, Self::Labels];
}

/// A selector without a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must set at least one condition; to match everything say operation: \"*\"")]
pub struct EmptySelector;

impl Selector {
    /// At least one condition must be there.
    pub fn new(
        service: Option<Glob>,
        operation: Option<Glob>,
        kind: Option<Kind>,
        labels: Labels,
    ) -> Result<Self, EmptySelector> {
        if service.is_none() && operation.is_none() && kind.is_none() && labels.is_empty() {
            return Err(EmptySelector);
        }
        Ok(Self {
            service,
            operation,
            kind,
            labels,
        })
    }

    /// The condition on the service's name.
    pub fn service(&self) -> Option<&Glob> {
        self.service.as_ref()
    }

    /// The condition on the operation's name.
    pub fn operation(&self) -> Option<&Glob> {
        self.operation.as_ref()
    }

    /// The condition on the operation's kind.
    pub fn kind(&self) -> Option<Kind> {
        self.kind
    }

    /// The labels an instance must carry.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Whether it can concern any operation of `service` at all.
    pub fn concerns(&self, service: &str) -> bool {
        self.service
            .as_ref()
            .is_none_or(|glob| glob.matches(service))
    }

    /// Whether it can concern any operation of an instance of `service` that carries `labels`.
    pub fn reaches(&self, service: &str, labels: &Labels) -> bool {
        self.concerns(service) && labels.contain(&self.labels)
    }

    /// Whether it concerns this operation of this instance.
    pub fn matches(&self, target: &Target<'_>) -> bool {
        self.reaches(target.service.as_str(), target.labels)
            && self
                .operation
                .as_ref()
                .is_none_or(|glob| glob.matches(target.operation.as_str()))
            && self.kind.is_none_or(|kind| kind == target.kind)
    }

    /// The more specific is the greater: in the first aspect in which they differ.
    pub fn cmp_specificity(&self, other: &Self) -> Ordering {
        let decisive = self.decisive_aspect(other);
        decisive.map_or(Ordering::Equal, |(_, ordering)| ordering)
    }

    /// The aspect in which one is more specific than the other, and which one that is; `None` if
    /// they are equally specific.
    pub fn decisive_aspect(&self, other: &Self) -> Option<(Aspect, Ordering)> {
        let mut compared = Aspect::ALL.into_iter().map(|aspect| {
            let ordering = self.weight(aspect).cmp(&other.weight(aspect));
            (aspect, ordering)
        });
        compared.find(|(_, ordering)| ordering.is_ne())
    }

    /// How specific it is in one aspect; nothing is the least.
    fn weight(&self, aspect: Aspect) -> Option<(bool, usize)> {
        match aspect {
            Aspect::Operation => self.operation.as_ref().map(Glob::specificity),
            Aspect::Service => self.service.as_ref().map(Glob::specificity),
            Aspect::Kind => self.kind.map(|_| (true, 0)),
            Aspect::Labels => Some((true, self.labels.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(pattern: &str) -> Glob {
        Glob::new(pattern).unwrap()
    }

    #[test]
    fn a_selector_without_a_condition_is_refused() {
        assert_eq!(
            Selector::new(None, None, None, Labels::default()),
            Err(EmptySelector)
        );
    }

    #[test]
    fn the_operation_weighs_more_than_the_service_and_exact_more_than_glob() {
        let of = |service: &str, operation: &str| {
            let part = |text: &str| (!text.is_empty()).then(|| glob(text));
            Selector::new(part(service), part(operation), None, Labels::default()).unwrap()
        };
        let ascending = [
            of("checkout", ""),
            of("", "*"),
            of("", "pay*"),
            of("", "payments*"),
            of("", "pay"),
            of("check*", "pay"),
            of("checkout", "pay"),
        ];
        for pair in ascending.windows(2) {
            assert_eq!(
                pair[0].cmp_specificity(&pair[1]),
                Ordering::Less,
                "{pair:?}"
            );
        }
    }
}
