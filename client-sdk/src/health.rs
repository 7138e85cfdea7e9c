//! How this process's Fusebox is doing, for its own health page.

use std::time::Duration;

use fusebox_core::key::Kind;
use fusebox_core::outcome::CircuitState;

use crate::clock;
use crate::enforcement::Enforcement;
use crate::link::Status;
use crate::operation::Inner;

/// The state of everything, at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Health {
    /// The server's address while a session with it is up.
    pub connected_to: Option<String>,
    /// Why the last session ended or could not begin, or what is wrong with the present one.
    pub last_problem: Option<String>,
    /// Sessions begun after the first one of this run.
    pub reconnects: u64,
    /// How long ago a server last confirmed that what is held is current: moments while a session is
    /// up, growing without one. `None` if none ever has in this run.
    pub staleness: Option<Duration>,
    /// The configured addresses show different stores: which shows which, and which of them is
    /// followed. As of when each was last reached; those that were never are left out.
    pub disagreement: Option<String>,
    /// What is wrong with the file of the policies last heard of, until it is written again: a
    /// restart without a server might start from something older, or from defaults.
    pub disk_problem: Option<String>,
    /// Where the policies in force come from.
    pub source: PolicySource,
    /// How many policies are in force.
    pub policies: usize,
    /// The store's life they come from, if any.
    pub incarnation: Option<String>,
    /// The revision in force.
    pub revision: u64,
    /// What is not enforced as sent.
    pub refused: Vec<RefusedPolicy>,
    /// Transitions and declarations that found the link's queue full. The next report makes up for
    /// them.
    pub events_dropped: u64,
    /// What operators have decided about this process's breakers, the oldest first.
    pub overrides: Vec<OverrideHealth>,
    /// Registrations beyond the bound on names; their calls share one breaker.
    pub operations_beyond_bound: u64,
    /// Every operation, by name.
    pub operations: Vec<OperationHealth>,
}

/// Where policies come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicySource {
    /// Nowhere yet: the defaults and the call sites' own rules hold.
    Defaults,
    /// Written down by an earlier run of this service.
    Disk,
    /// Received from a server in this run.
    Server,
}

/// A policy that is not enforced as sent; its last good version is, if there was one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedPolicy {
    /// Its name.
    pub policy: String,
    /// The path of the field that cannot be enforced.
    pub field: String,
    /// Why.
    pub reason: String,
}

/// An operator's decision about breakers of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OverrideHealth {
    /// Which one: of two the higher is the newer, and decides.
    pub id: u64,
    /// What it makes of them: open or closed.
    pub state: CircuitState,
    /// Why, as its author said.
    pub reason: String,
    /// Who set it, as far as the server could tell.
    pub author: String,
    /// How long it still holds.
    pub time_left: Duration,
}

/// One operation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OperationHealth {
    /// Its name.
    pub name: &'static str,
    /// What it talks to.
    pub kind: Kind,
    /// Whether its calls may be repeated.
    pub idempotent: bool,
    /// What its breaker does of its own accord.
    pub state: CircuitState,
    /// For how long.
    pub for_how_long: Duration,
    /// The breaker is open and lets the next call through as a probe.
    pub probe_due: bool,
    /// After recovery: the share of calls it lets in so far, 0 to 1. `None` if it lets in all that
    /// its state allows.
    pub ramp: Option<f64>,
    /// What an operator's override makes of it instead, and for how long still.
    pub forced: Option<(CircuitState, Duration)>,
    /// The override that does so.
    pub forced_by: Option<u64>,
    /// What a breaker in SHADOW does, if a policy has one on trial.
    pub shadow: Option<CircuitState>,
    /// Its policies ask for retries or hedges that are never made, because its author has not
    /// called it idempotent: only what provably never took effect is repeated.
    pub retries_idle: bool,
}

pub(crate) fn of(enforcement: &Enforcement, link: Status) -> Health {
    let held = enforcement.held();
    let now = clock::now();
    let overrides = held.overrides.iter().map(|one| OverrideHealth {
        id: one.standing.id.0,
        state: one.standing.forced.as_state(),
        reason: one.standing.reason.clone(),
        author: one.standing.author.clone(),
        time_left: one.until.since(now),
    });
    let overrides = overrides.collect();
    let refused = held.refusals.into_iter().map(|refusal| RefusedPolicy {
        policy: refusal.policy,
        field: refusal.field,
        reason: refusal.reason,
    });
    Health {
        connected_to: link.connected_to,
        last_problem: link.last_problem,
        reconnects: link.reconnects,
        staleness: link.staleness,
        disagreement: link.disagreement,
        disk_problem: link.disk_problem,
        source: held.source,
        policies: held.policies,
        incarnation: held
            .in_force
            .incarnation
            .map(|incarnation| incarnation.to_string()),
        revision: held.in_force.revision.0,
        refused: refused.collect(),
        events_dropped: enforcement.context().events.dropped(),
        overrides,
        operations_beyond_bound: held.beyond_bound,
        operations: enforcement
            .operations()
            .iter()
            .map(|inner| operation(inner))
            .collect(),
    }
}

fn operation(inner: &Inner) -> OperationHealth {
    let now = clock::now();
    let view = inner.state();
    let plan = &inner.plans.load().plan;
    let repeats = plan.max_attempts > 1 || plan.hedge.is_some();
    OperationHealth {
        name: inner.name,
        kind: inner.kind,
        idempotent: inner.idempotent,
        state: view.state,
        for_how_long: now.since(view.since),
        probe_due: view.probe_due,
        ramp: view.ramp.map(|points| f64::from(points) / 10_000.0),
        forced: view
            .forced
            .map(|known| (known.forced.as_state(), known.until.since(now))),
        forced_by: view.forced.map(|known| known.id),
        shadow: inner.shadow_state(now),
        retries_idle: plan.enabled && repeats && !inner.idempotent,
    }
}
