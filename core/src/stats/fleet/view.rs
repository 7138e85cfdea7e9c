//! What the fleet answers, and in which order.
//!
//! A view is a value, made at one `now`; every figure in it says how old it is or how many samples
//! it rests on. The state of an operation is told as a count of instances by state, never as one
//! word: a fleet in which one of forty breakers is open is neither open nor closed.

use std::collections::HashSet;
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use crate::glob::Glob;
use crate::key::{Epoch, InstanceId, Kind, Labels, Namespace, OperationName, Service};
use crate::outcome::{BreakerCounts, CircuitState, Forced, Reason};
use crate::revision::Revision;
use crate::stats::Totals;

use super::account::Standing;
use super::log::TransitionRecord;
use super::report::{
    ForcedReport, InstanceFacts, InstanceKey, OperationKey, RefusedPolicy, SessionId,
};

/// Which operations or instances are asked for; what is `None` matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this tenant's.
    pub namespace: Option<Namespace>,
    /// Only services of that name.
    pub service: Option<Glob>,
    /// Only operations of that name; says nothing about instances.
    pub operation: Option<Glob>,
}

impl Filter {
    pub(super) fn takes_service(&self, namespace: &Namespace, service: &Service) -> bool {
        let namespaces = self.namespace.as_ref();
        namespaces.is_none_or(|wanted| wanted == namespace)
            && matches(self.service.as_ref(), service.as_str())
    }

    pub(super) fn takes(&self, operation: &OperationKey) -> bool {
        self.takes_service(&operation.namespace, &operation.service)
            && self.takes_operation(&operation.operation)
    }

    pub(super) fn takes_operation(&self, operation: &OperationName) -> bool {
        matches(self.operation.as_ref(), operation.as_str())
    }
}

fn matches(glob: Option<&Glob>, name: &str) -> bool {
    glob.is_none_or(|glob| glob.matches(name))
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
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
    /// The time they speak of.
    pub span: Duration,
    /// Calls that reached the dependency, however they ended.
    pub calls_per_second: f64,
    /// Failures, timeouts and late answers among the calls that were settled.
    pub failure: Ratio,
    /// Retries over the same calls.
    pub retry: Ratio,
    /// Hedges over the same calls.
    pub hedge: Ratio,
    /// Refused calls, in the order of [`Reason::ALL`].
    pub refusals_per_second: [f64; Reason::ALL.len()],
}

/// How many instances are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StateCounts {
    /// Breakers that let everything through.
    pub closed: u32,
    /// Breakers that let nothing through.
    pub open: u32,
    /// Breakers that are probing.
    pub half_open: u32,
    /// Connected, but not heard of lately, or not yet: in none of the other figures.
    pub stale: u32,
    /// Among the first three: an override refuses everything.
    pub forced_open: u32,
    /// Among the first three: an override lets everything through.
    pub forced_closed: u32,
    /// Among the first three: the breaker in SHADOW is open or half-open.
    pub shadow_open: u32,
    /// Among the first three: callers are let through not at all, or as probes.
    pub impeded: u32,
    /// No longer connected, and not forgotten yet: in none of the other figures.
    pub gone: u32,
}

impl StateCounts {
    pub(super) fn count(&mut self, standing: &Standing) {
        *match standing.state {
            CircuitState::Closed => &mut self.closed,
            CircuitState::Open => &mut self.open,
            CircuitState::HalfOpen => &mut self.half_open,
        } += 1;
        match standing.forced.map(|known| known.forced) {
            None => {}
            Some(Forced::Open) => self.forced_open += 1,
            Some(Forced::Closed) => self.forced_closed += 1,
        }
        let shadow = standing.shadow.unwrap_or_default();
        self.shadow_open += u32::from(shadow != CircuitState::Closed);
        self.impeded += u32::from(standing.acting() != CircuitState::Closed);
    }

    /// Whether an instance is in `state`, of its own accord or forced.
    pub(super) fn has(&self, state: CircuitState) -> bool {
        let count = match state {
            CircuitState::Closed => self.closed + self.forced_closed,
            CircuitState::Open => self.open + self.forced_open,
            CircuitState::HalfOpen => self.half_open,
        };
        count > 0
    }
}

impl AddAssign for StateCounts {
    fn add_assign(&mut self, other: Self) {
        self.closed += other.closed;
        self.open += other.open;
        self.half_open += other.half_open;
        self.stale += other.stale;
        self.forced_open += other.forced_open;
        self.forced_closed += other.forced_closed;
        self.shadow_open += other.shadow_open;
        self.impeded += other.impeded;
        self.gone += other.gone;
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
    /// Over the last five minutes.
    pub last_five_minutes: Rates,
    /// Slow calls among those in the windows of the breakers that judge slowness.
    pub slow: Ratio,
    /// How many calls `p50`, `p95` and `p99` rest on.
    pub latency_sample: u64,
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

/// One operation, a page of its instances and its latest transitions.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationDetail {
    /// Over all instances.
    pub operation: OperationView,
    /// By instance, the worst first: those that callers meet open, then half-open, then the others;
    /// what is alike, by id and epoch. Those that are gone come last, and stay until they are
    /// forgotten.
    pub instances: Vec<OperationInstanceView>,
    /// How many instances there are on all pages.
    pub total: usize,
    /// Whether others follow.
    pub more: bool,
    /// The latest, the newest first.
    pub transitions: Vec<Arc<TransitionRecord>>,
}

/// One operation in one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationInstanceView {
    /// Whose.
    pub instance: InstanceId,
    /// Which of that instance's lives.
    pub epoch: Epoch,
    /// Its program's version.
    pub version: String,
    /// Where it runs.
    pub zone: String,
    /// Whether it has a session.
    pub connected: bool,
    /// Connected, but not heard of lately, or not yet.
    pub stale: bool,
    /// What its breaker does of its own accord, or did when it was last heard of.
    pub state: CircuitState,
    /// For how long.
    pub state_age: Duration,
    /// What an override makes of it instead.
    pub forced: Option<ForcedReport>,
    /// What its breaker in SHADOW does, if there is one.
    pub shadow: Option<CircuitState>,
    /// What its breaker judges by.
    pub breaker: BreakerCounts,
    /// Its own failures over the last ten seconds.
    pub failure: Ratio,
    /// Since its process's start.
    pub calls: u64,
    /// Since its process's start.
    pub refusals: u64,
    /// Since it was last heard of; `None` if it only declared the operation.
    pub age: Option<Duration>,
}

/// Where an instance stands among those of an operation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstancePlace {
    /// The worse the lower.
    pub rank: u8,
    /// Whose.
    pub instance: InstanceId,
    /// Which of that instance's lives.
    pub epoch: Epoch,
}

impl OperationInstanceView {
    /// Where it stands.
    pub fn place(&self) -> InstancePlace {
        let acting = self
            .forced
            .map_or(self.state, |known| known.forced.as_state());
        let rank = match acting {
            _ if !self.connected => 3,
            CircuitState::Open => 0,
            CircuitState::HalfOpen => 1,
            CircuitState::Closed => 2,
        };
        InstancePlace {
            rank,
            instance: self.instance.clone(),
            epoch: self.epoch,
        }
    }
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
