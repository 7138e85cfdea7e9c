//! The handle around one outbound dependency.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use fusebox_core::guard::{Breaker, Plan};
use fusebox_core::key::{InvalidName, Kind, OperationName};
use fusebox_core::outcome::Transition;
use fusebox_core::policy::ratio::Ratio;
use fusebox_core::policy::rules::{DEFAULT_MINIMUM_CALLS, RatioTrip, Rules, Trip, Window};
use fusebox_core::policy::{Violations, defaults};
use fusebox_core::stats::Recorder;
use fusebox_core::time::Instant;

use crate::call;
use crate::classify::{Classify, Results};
use crate::clock;
use crate::enforcement::{Context, Enforcement};
use crate::error::Error;
use crate::link::Event;

/// An outbound dependency, guarded. Cheap to clone; clones share one breaker.
#[derive(Clone, Debug)]
pub struct Operation {
    inner: Arc<Inner>,
}

/// What one attempt is told.
#[derive(Clone, Copy, Debug)]
pub struct Cx {
    attempt: u32,
    deadline: Instant,
}

impl Cx {
    pub(crate) const fn new(attempt: u32, deadline: Instant) -> Self {
        Self { attempt, deadline }
    }

    /// Which attempt of the call this is, from 1.
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// What is left of this attempt's time: the nearer of its own timeout and the call's.
    pub fn remaining(&self) -> Duration {
        self.deadline.since(clock::now())
    }
}

impl Operation {
    pub(crate) const fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    #[cfg(test)]
    pub(crate) const fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.inner.name
    }

    /// Calls the dependency. `f` makes the future of one attempt, and is asked again for every
    /// retry: `operation.call(async |cx| client.get(url).await).await`.
    ///
    /// `Err` is a failure, retried if the operation is idempotent; see [`with`](Self::with) to
    /// judge results otherwise. Dropping the future cancels the call and counts as nothing, unless
    /// it had taken more than half the attempt timeout: then it counts as a failure.
    ///
    /// The timeouts need a tokio runtime with its timer enabled.
    pub fn call<T, E, Fut>(
        &self,
        f: impl Fn(Cx) -> Fut,
    ) -> impl Future<Output = Result<T, Error<E>>>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        // Handed on, not awaited: the result moves once less.
        call::run(&self.inner, &Results, f)
    }

    /// The same operation, with results judged by `classify`.
    pub const fn with<C>(&self, classify: C) -> Guarded<'_, C> {
        Guarded {
            operation: self,
            classify,
        }
    }

    /// Closes the breaker and forgets what it counted.
    pub fn reset(&self) {
        self.inner.reset();
    }
}

/// An operation with a classifier of the caller's.
#[derive(Clone, Copy, Debug)]
pub struct Guarded<'a, C> {
    operation: &'a Operation,
    classify: C,
}

impl<C> Guarded<'_, C> {
    /// As [`Operation::call`].
    pub async fn call<T, E, Fut>(self, f: impl Fn(Cx) -> Fut) -> Result<T, Error<E>>
    where
        C: Classify<T, E>,
        Fut: Future<Output = Result<T, E>>,
    {
        call::run(&self.operation.inner, &self.classify, f).await
    }
}

/// What an operation keeps over all reloads.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) name: &'static str,
    pub(crate) id: OperationName,
    pub(crate) kind: Kind,
    pub(crate) idempotent: bool,
    pub(crate) local: Rules,
    pub(crate) plan: ArcSwap<Plan>,
    pub(crate) breaker: Breaker,
    pub(crate) recorder: Recorder,
    pub(crate) context: Arc<Context>,
    transitions: AtomicU64,
}

impl Inner {
    pub(crate) fn new(
        name: &'static str,
        definition: &Definition,
        plan: Plan,
        context: Arc<Context>,
    ) -> Self {
        Self {
            name,
            id: definition.id.clone(),
            kind: definition.kind,
            idempotent: definition.idempotent,
            local: definition.local.clone(),
            plan: ArcSwap::from_pointee(plan),
            breaker: Breaker::new(clock::now()),
            recorder: Recorder::new(),
            context,
            transitions: AtomicU64::new(0),
        }
    }

    /// Tells whoever watches that the breaker changed its state.
    #[cold]
    pub(crate) fn announce(&self, transition: &Transition) {
        // Relaxed: the number only has to be new; the link sends in the order of its queue.
        let number = self.transitions.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::info!(
            target: "fusebox",
            operation = self.name,
            from = transition.from.name(),
            to = transition.to.name(),
            cause = %transition.cause,
            "fusebox.circuit_breaker.transition"
        );
        self.context.metrics.transition(self.name, transition);
        let operation = self.id.clone();
        self.context.events.send(Event::Transition {
            operation,
            number,
            transition: *transition,
        });
    }

    /// The number of the last transition announced; 0 before the first.
    pub(crate) fn last_transition(&self) -> u64 {
        self.transitions.load(Ordering::Relaxed)
    }

    pub(crate) fn reset(&self) {
        if let Some(transition) = self.breaker.reset(clock::now()) {
            self.announce(&transition);
        }
    }
}

/// What an author says of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Definition {
    pub(crate) id: OperationName,
    pub(crate) kind: Kind,
    pub(crate) idempotent: bool,
    pub(crate) local: Rules,
}

/// An operation that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum InvalidOperation {
    /// Its name is none.
    #[error("operation name {name:?} {problem}")]
    Name {
        /// The name, cut to what an error should show.
        name: String,
        /// What is wrong with it.
        problem: InvalidName,
    },
    /// The rules given at the call site contradict themselves.
    #[error("operation {operation}: {violations}")]
    Rules {
        /// Which operation.
        operation: String,
        /// Everything that is wrong.
        violations: Violations,
    },
}

/// Says what an operation is. What it says of rules is the layer below the policies.
#[derive(Clone, Debug)]
#[must_use = "an operation exists once it is registered"]
pub struct OperationBuilder<'a> {
    enforcement: &'a Arc<Enforcement>,
    name: String,
    kind: Kind,
    idempotent: Option<bool>,
    local: Rules,
}

impl<'a> OperationBuilder<'a> {
    pub(crate) fn new(enforcement: &'a Arc<Enforcement>, name: String) -> Self {
        Self {
            enforcement,
            name,
            kind: Kind::default(),
            idempotent: None,
            local: Rules::default(),
        }
    }

    /// What it talks to; decides its defaults. [`Kind::Custom`] if not said.
    pub const fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Whether a call may be repeated without harm; the kind's default if not said. A call that is
    /// not idempotent is only retried where it provably never took effect.
    pub const fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = Some(idempotent);
        self
    }

    /// Bounds each attempt: 1 ms to 24 h.
    pub const fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.local.timeout.attempt = Some(timeout);
        self
    }

    /// Bounds the whole call, backoffs included: 1 ms to 24 h.
    pub const fn overall_timeout(mut self, timeout: Duration) -> Self {
        self.local.timeout.overall = Some(timeout);
        self
    }

    /// Attempts in all, the first included: 1 to 1000.
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.local.retry.max_attempts = Some(attempts);
        self
    }

    /// The longest sleep before the first retry, and before any: 1 ms to 24 h.
    pub const fn backoff(mut self, base: Duration, max: Duration) -> Self {
        self.local.retry.base_delay = Some(base);
        self.local.retry.max_delay = Some(max);
        self
    }

    /// Opens the breaker after that many failed calls in a row: 1 to 10000.
    pub fn consecutive_failures(mut self, failures: u32) -> Self {
        self.trip().consecutive_failures = Some(failures);
        self
    }

    /// Opens the breaker when that share of the calls in the window failed, given at least
    /// `minimum_calls` (20 if `None`). The window is 1 s to 1 h.
    pub fn failure_ratio(
        mut self,
        ratio: Ratio,
        window: Duration,
        minimum_calls: Option<u32>,
    ) -> Self {
        self.trip().ratio = Some(RatioTrip {
            window: Window::Span(window),
            failure_ratio: ratio,
            minimum_calls: minimum_calls.unwrap_or(DEFAULT_MINIMUM_CALLS),
        });
        self
    }

    /// How long the breaker stays open before it probes: 1 ms to 24 h.
    pub const fn open_duration(mut self, duration: Duration) -> Self {
        self.local.circuit_breaker.open_duration = Some(duration);
        self
    }

    /// Makes it exist, or returns the operation that has the name already.
    pub fn register(self) -> Result<Operation, InvalidOperation> {
        let definition = self.definition()?;
        Ok(self.enforcement.register(&definition))
    }

    fn definition(&self) -> Result<Definition, InvalidOperation> {
        let id = OperationName::new(&self.name).map_err(|problem| InvalidOperation::Name {
            name: self.name.chars().take(80).collect(),
            problem,
        })?;
        self.local
            .violations()
            .into_result(())
            .map_err(|violations| InvalidOperation::Rules {
                operation: self.name.clone(),
                violations,
            })?;
        Ok(Definition {
            id,
            kind: self.kind,
            idempotent: self
                .idempotent
                .unwrap_or(defaults::of(self.kind).idempotent),
            local: self.local.clone(),
        })
    }

    fn trip(&mut self) -> &mut Trip {
        let nothing = Trip {
            consecutive_failures: None,
            ratio: None,
        };
        self.local.circuit_breaker.trip.get_or_insert(nothing)
    }
}
