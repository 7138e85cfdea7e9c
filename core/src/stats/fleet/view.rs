//! What the fleet answers, and in which order.
//!
//! A view is a value, made at one `now`; every figure in it says how old it is or how many samples
//! it rests on. The state of an operation is told as a count of instances by state, never as one
//! word: a fleet in which one of forty breakers is open is neither open nor closed.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::time::Duration;

use crate::key::{Epoch, InstanceId, Kind, Labels, Namespace, OperationName, Service};
use crate::outcome::{CircuitState, Reason};
use crate::revision::Revision;
use crate::stats::Totals;

use super::report::{InstanceFacts, InstanceKey, OperationKey, RefusedPolicy, SessionId};

/// Which operations or instances are asked for; what is `None` matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this tenant's.
    pub namespace: Option<Namespace>,
    /// Only this service's.
    pub service: Option<Service>,
    /// Only this operation; says nothing about instances.
    pub operation: Option<OperationName>,
}

impl Filter {
    pub(super) fn takes_service(&self, namespace: &Namespace, service: &Service) -> bool {
        self.namespace
            .as_ref()
            .is_none_or(|wanted| wanted == namespace)
            && self.service.as_ref().is_none_or(|wanted| wanted == service)
    }

    pub(super) fn takes_operation(&self, operation: &OperationName) -> bool {
        self.operation
            .as_ref()
            .is_none_or(|wanted| wanted == operation)
    }
}

/// One page of instances.
#[derive(Clone, Copy, Debug)]
pub struct InstanceQuery<'a> {
    /// Of which services.
    pub filter: &'a Filter,
    /// Only those that selectors find all of these on.
    pub labels: &'a Labels,
    /// Only those for which one of these speaks.
    pub sessions: Option<&'a HashSet<SessionId>>,
    /// Only those behind this one.
    pub after: Option<&'a InstanceKey>,
    /// At most so many.
    pub limit: usize,
}

/// What an [`InstanceQuery`] finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstancePage {
    /// Sorted by key.
    pub instances: Vec<InstanceView>,
    /// Whether others follow.
    pub more: bool,
    /// How many there are on all pages.
    pub total: usize,
}

/// A share of `sample`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ratio {
    /// In ten-thousandths, rounded to the nearest; above 10,000 if there are more retries than
    /// calls. Zero without a sample.
    pub basis_points: u64,
    /// How many calls it rests on.
    pub sample: u64,
}

impl Ratio {
    pub(super) fn of(part: u64, sample: u64) -> Self {
        let (part, whole) = (u128::from(part), u128::from(sample.max(1)));
        let basis_points = (part * 10_000 + whole / 2) / whole;
        Self {
            basis_points: u64::try_from(basis_points).unwrap_or(u64::MAX),
            sample,
        }
    }
}

/// What an operation did in a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Calls that reached the dependency, however they ended.
    pub calls_per_second: f64,
    /// Failures, timeouts and late answers among the calls that were settled.
    pub failure: Ratio,
    /// Retries over the same calls.
    pub retry: Ratio,
    /// Refused calls, in the order of [`Reason::ALL`].
    pub refusals_per_second: [f64; Reason::ALL.len()],
}

/// How many connected instances are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateCounts {
    /// Breakers that let everything through.
    pub closed: u32,
    /// Breakers that let nothing through.
    pub open: u32,
    /// Breakers that are probing.
    pub half_open: u32,
    /// Connected, but not heard of lately, or not yet: in none of the other figures.
    pub stale: u32,
}

impl StateCounts {
    pub(super) fn count(&mut self, state: CircuitState) {
        *match state {
            CircuitState::Closed => &mut self.closed,
            CircuitState::Open => &mut self.open,
            CircuitState::HalfOpen => &mut self.half_open,
        } += 1;
    }
}

/// One operation over all instances of its service.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationView {
    /// Which one.
    pub key: OperationKey,
    /// What it talks to, as the last instance that said so has it.
    pub kind: Kind,
    /// Its breakers.
    pub instances: StateCounts,
    /// Over the last ten seconds.
    pub last_ten_seconds: Rates,
    /// Over the last minute.
    pub last_minute: Rates,
    /// Half of the last minute's settled calls took no longer; `None` without any.
    pub p50: Option<Duration>,
    /// As `p50`, for 95 of 100.
    pub p95: Option<Duration>,
    /// As `p50`, for 99 of 100.
    pub p99: Option<Duration>,
    /// Everything since this fleet first heard of the operation.
    pub totals: Totals,
    /// Since the newest word on it from a connected instance; `None` if there is none.
    pub age: Option<Duration>,
}

impl OperationView {
    /// Sorts the worst first: the most open breakers, then the highest failure ratio, then the
    /// highest rate; what is equal, by name.
    pub fn sort_worst_first(views: &mut [Self]) {
        views.sort_by(|a, b| {
            let (rate_a, rate_b) = (a.rate(), b.rate());
            a.badness()
                .cmp(&b.badness())
                .then(rate_b.total_cmp(&rate_a))
                .then(a.key.cmp(&b.key))
        });
    }

    fn badness(&self) -> impl Ord + use<> {
        let failure = self.last_ten_seconds.failure.basis_points;
        (Reverse(self.instances.open), Reverse(failure))
    }

    fn rate(&self) -> f64 {
        self.last_ten_seconds.calls_per_second
    }
}

/// One operation, each of its instances and its latest transitions.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationDetail {
    /// Over all instances.
    pub operation: OperationView,
    /// By instance, sorted by id and epoch; those that are gone stay until they are forgotten.
    pub instances: Vec<OperationInstanceView>,
    /// The latest, oldest first.
    pub transitions: Vec<TransitionView>,
}

/// One operation in one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationInstanceView {
    /// Whose.
    pub instance: InstanceId,
    /// Which of that instance's lives.
    pub epoch: Epoch,
    /// Whether it has a session.
    pub connected: bool,
    /// Connected, but not heard of lately, or not yet.
    pub stale: bool,
    /// What its breaker does, or did when it was last heard of.
    pub state: CircuitState,
    /// For how long.
    pub state_age: Duration,
    /// Its own failures over the last ten seconds.
    pub failure: Ratio,
    /// Since it was last heard of; `None` if it only declared the operation.
    pub age: Option<Duration>,
}

/// A breaker's change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitionView {
    /// Whose breaker.
    pub instance: InstanceId,
    /// Which of that instance's lives.
    pub epoch: Epoch,
    /// The how manieth of that breaker, from 1.
    pub number: u64,
    /// The state it left.
    pub from: CircuitState,
    /// The state it entered.
    pub to: CircuitState,
    /// Why, in words.
    pub cause: Box<str>,
    /// How long ago.
    pub age: Duration,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceView {
    /// Which one.
    pub key: InstanceKey,
    /// What it says of itself.
    pub facts: InstanceFacts,
    /// The session that speaks for it, if it has one.
    pub session: Option<SessionId>,
    /// Whether it has a session.
    pub connected: bool,
    /// For how long; `None` if it has none.
    pub connected_for: Option<Duration>,
    /// Whether another process with the same instance id has one, and this one too.
    pub duplicate: bool,
    /// Since its last message.
    pub last_seen: Duration,
    /// The last revision it acknowledged.
    pub applied: Revision,
    /// What it refuses of that revision.
    pub refused: Vec<RefusedPolicy>,
    /// How many operations it told of.
    pub operations: usize,
}
