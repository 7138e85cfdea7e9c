//! Which operations are listed, and in which order.

use std::cmp::{Ordering, Reverse};

use crate::key::Kind;
use crate::outcome::CircuitState;

use super::report::OperationKey;
use super::view::{Filter, OperationView, Rates, StateCounts};

/// What comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// The most instances whose callers are let through not at all, or as probes; then the highest
    /// failure ratio; then the most calls; then by name.
    #[default]
    Worst,
    /// By namespace, service and operation.
    Name,
    /// The most calls; then by name.
    Rate,
}

/// Which operations are asked for.
#[derive(Clone, Copy, Debug)]
pub struct OperationQuery<'a> {
    /// Of which names.
    pub filter: &'a Filter,
    /// Only those that talk to such.
    pub kind: Option<Kind>,
    /// Only those with an instance in one of these states, of its own accord or forced; none: all.
    pub states: &'a [CircuitState],
    /// Only those with an instance that an override decides for.
    pub forced: bool,
    /// In which order.
    pub order: Order,
    /// Only those behind this one.
    pub after: Option<&'a OperationPlace>,
    /// At most so many.
    pub limit: usize,
}

/// What an [`OperationQuery`] finds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OperationPage {
    /// In the order asked for.
    pub operations: Vec<OperationView>,
    /// Whether others follow.
    pub more: bool,
    /// How many there are on all pages.
    pub total: usize,
}

impl OperationQuery<'_> {
    /// Whether it asks what breakers do.
    pub(super) fn looks_at_states(&self) -> bool {
        self.forced || !self.states.is_empty()
    }

    pub(super) fn takes_states(&self, counts: &StateCounts) -> bool {
        let mut states = self.states.iter();
        (self.states.is_empty() || states.any(|&state| counts.has(state)))
            && (!self.forced || counts.forced_open + counts.forced_closed > 0)
    }
}

/// Where an operation stands in an order. What that order does not go by is zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationPlace {
    /// Instances whose callers are let through not at all, or as probes.
    pub impeded: u32,
    /// The failure ratio of the last ten seconds, in basis points.
    pub failure: u64,
    /// Calls in a thousand seconds.
    pub rate: u64,
    /// Which one.
    pub key: OperationKey,
}

impl OperationPlace {
    pub(super) fn new(
        order: Order,
        key: OperationKey,
        counts: &StateCounts,
        rates: &Rates,
    ) -> Self {
        let (impeded, failure) = match order {
            Order::Worst => (counts.impeded, rates.failure.basis_points),
            Order::Name | Order::Rate => (0, 0),
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, and is never negative"
        )]
        let rate = match order {
            Order::Worst | Order::Rate => (rates.calls_per_second * 1000.0) as u64,
            Order::Name => 0,
        };
        Self {
            impeded,
            failure,
            rate,
            key,
        }
    }

    fn rank(&self) -> impl Ord + '_ {
        (
            Reverse(self.impeded),
            Reverse(self.failure),
            Reverse(self.rate),
            &self.key,
        )
    }
}

impl Ord for OperationPlace {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for OperationPlace {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl OperationView {
    /// Where it stands.
    pub fn place(&self, order: Order) -> OperationPlace {
        OperationPlace::new(
            order,
            self.key.clone(),
            &self.instances,
            &self.last_ten_seconds,
        )
    }
}
