//! What a session tells the fleet, and the account of what became of it.
//!
//! The types mirror the messages of one stream; whoever decodes them has checked names and figures
//! already. Free text is cut to [`MAX_TEXT`] when it is kept.

use std::ops::AddAssign;
use std::time::Duration;

use crate::key::{LabelValue, Labels, Namespace, OperationName, PolicyName, Service};
use crate::outcome::{BreakerCounts, CircuitState, Forced};
use crate::revision::Revision;
use crate::stats::Totals;

pub use crate::key::{InstanceKey, SessionId};

/// The longest free text that is kept (a version, a zone, a cause), in bytes; the rest is cut off.
pub const MAX_TEXT: usize = 200;

/// One outbound dependency of one service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationKey {
    /// The tenant.
    pub namespace: Namespace,
    /// The service that calls it.
    pub service: Service,
    /// What that service calls it.
    pub operation: OperationName,
}

/// What a process says of itself when it connects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceFacts {
    /// The program's own version.
    pub version: String,
    /// Where it runs.
    pub zone: String,
    /// What selectors may ask for.
    pub labels: Labels,
    /// The version of its SDK.
    pub sdk_version: String,
}

impl InstanceFacts {
    /// What selectors find: its labels, and its version and zone under these names.
    pub fn selectable(&self) -> Labels {
        let labels = self.labels.clone();
        labels.or("version", &self.version).or("zone", &self.zone)
    }

    /// Whether selectors find every label of `wanted` here: that of
    /// [`selectable`](Self::selectable), without a copy.
    pub fn carries(&self, wanted: &Labels) -> bool {
        let facts = [("version", &self.version), ("zone", &self.zone)];
        wanted.iter().all(|(key, value)| {
            let fact = facts.iter().find(|(name, _)| *name == key.as_str());
            let found = self.labels.get(key).map(LabelValue::as_str);
            found.or(fact.map(|(_, text)| text.as_str())) == Some(value.as_str())
        })
    }
}

/// A policy that a process does not enforce as sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedPolicy {
    /// Which policy.
    pub policy: PolicyName,
    /// Which of its versions.
    pub revision: Revision,
    /// The path of the field that is the trouble; empty if it is the policy as a whole.
    pub field: String,
    /// Why, in words.
    pub reason: String,
}

/// What a process has counted: its operations that changed since its last report, or, in a
/// session's first report, all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Whether this is the first report of the process: then it tells of nothing that any server
    /// has been told before.
    pub from_start: bool,
    /// How long since the process's report before this one, or since its start; zero if it does not
    /// say.
    pub span: Duration,
    /// The operations.
    pub operations: Vec<OperationReport>,
}

/// What a process has counted of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationReport {
    /// Which one.
    pub operation: OperationName,
    /// Everything since the process started.
    pub totals: Totals,
    /// What its breaker does of its own accord.
    pub state: CircuitState,
    /// For how long it has been doing that.
    pub state_age: Duration,
    /// The number of the last transition, of its own or forced; 0 before the first.
    pub last_transition: u64,
    /// What an override makes of the breaker instead.
    pub forced: Option<ForcedReport>,
    /// What its breaker in SHADOW does, if there is one.
    pub shadow: Option<CircuitState>,
    /// What its breaker judges by.
    pub breaker: BreakerCounts,
}

/// An override that decides for a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForcedReport {
    /// What it makes of it.
    pub forced: Forced,
    /// Which one.
    pub by: Revision,
}

/// A breaker of one process changed its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitionReport {
    /// Whose breaker.
    pub operation: OperationName,
    /// Counts that breaker's transitions from 1.
    pub number: u64,
    /// The state it left.
    pub from: CircuitState,
    /// The state it entered.
    pub to: CircuitState,
    /// Why, in words and with the figures that decided it.
    pub cause: String,
    /// How long ago.
    pub age: Duration,
    /// The override that did it; `None` if it was the breaker itself.
    pub by: Option<Revision>,
}

/// What became of what was said: each operation of a report, and each transition, is counted in
/// exactly one field, but for `overflowed`; a message that found no instance to speak for, once in `untracked` or `late`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Operation reports that told something new.
    pub counted: u64,
    /// First words of a process that had been counting before: known from now on, not added.
    pub baselines: u64,
    /// Operation reports that told what was known.
    pub repeated: u64,
    /// Operation reports with a figure below what was known: older ones, or a broken client.
    pub backwards: u64,
    /// Operation reports with figures, or a name, that cannot be.
    pub impossible: u64,
    /// Transitions that told something new.
    pub transitions: u64,
    /// Transitions that were known.
    pub transitions_repeated: u64,
    /// Whatever came for an operation of an instance that has as many as are remembered, and was
    /// dropped.
    pub over_operations: u64,
    /// Among the others: whatever was added up under [`OVERFLOW`](super::OVERFLOW), because its service
    /// has as many operations as are remembered.
    pub overflowed: u64,
    /// Sessions for whose instance there was no room.
    pub over_instances: u64,
    /// Messages of such sessions.
    pub untracked: u64,
    /// Messages of sessions that were over or superseded.
    pub late: u64,
    /// Gone instances that were forgotten before their time, to make room.
    pub evicted: u64,
    /// Refused policies beyond what is remembered for an instance.
    pub over_refused_policies: u64,
}

impl Ledger {
    pub(super) const TRANSITION: Self = Self {
        transitions: 1,
        ..Self::NOTHING
    };
    pub(super) const TRANSITION_REPEATED: Self = Self {
        transitions_repeated: 1,
        ..Self::NOTHING
    };
    pub(super) const OVER_OPERATIONS: Self = Self {
        over_operations: 1,
        ..Self::NOTHING
    };
    pub(super) const UNTRACKED: Self = Self {
        untracked: 1,
        ..Self::NOTHING
    };
    pub(super) const LATE: Self = Self {
        late: 1,
        ..Self::NOTHING
    };

    const NOTHING: Self = Self {
        counted: 0,
        baselines: 0,
        repeated: 0,
        backwards: 0,
        impossible: 0,
        transitions: 0,
        transitions_repeated: 0,
        over_operations: 0,
        overflowed: 0,
        over_instances: 0,
        untracked: 0,
        late: 0,
        evicted: 0,
        over_refused_policies: 0,
    };
}

impl AddAssign for Ledger {
    fn add_assign(&mut self, other: Self) {
        self.counted += other.counted;
        self.baselines += other.baselines;
        self.repeated += other.repeated;
        self.backwards += other.backwards;
        self.impossible += other.impossible;
        self.transitions += other.transitions;
        self.transitions_repeated += other.transitions_repeated;
        self.over_operations += other.over_operations;
        self.overflowed += other.overflowed;
        self.over_instances += other.over_instances;
        self.untracked += other.untracked;
        self.late += other.late;
        self.evicted += other.evicted;
        self.over_refused_policies += other.over_refused_policies;
    }
}

/// `text` as it is kept: cut to [`MAX_TEXT`] bytes, at a character.
pub(super) fn bounded(text: &str) -> Box<str> {
    text[..text.floor_char_boundary(MAX_TEXT)].into()
}
