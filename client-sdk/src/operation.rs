//! The handle around one outbound dependency.

mod builder;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fusebox_core::guard::breaker::{Changes, Override, StateView};
use fusebox_core::guard::{Guard, Plan, Standing, Watch};
use fusebox_core::key::{Kind, OperationName};
use fusebox_core::outcome::{CircuitState, Reason, Transition};
use fusebox_core::policy::rules::Rules;
use fusebox_core::stats::Recorder;
use fusebox_core::time::Instant;

use crate::call::permit::{self, Permit};
use crate::call::{self, Asking, Run, blocking};
use crate::classify::{Classify, Results};
use crate::clock;
use crate::enforcement::Context;
use crate::error::{Error, Stopped};
use crate::lanes;
use crate::link::Event;
use crate::observed::Observed;
use crate::plans::Plans;
use crate::scope::{Around, Scope};
use crate::steady;

pub use builder::{InvalidOperation, OperationBuilder};

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
    ///
    /// The future is `Send` where `f` is `Sync`, what `f` captures included: attempts may run beside
    /// each other. With a `Cell`, a `RefCell` or an `&mut` in it the compiler says "future cannot be
    /// sent between threads safely" at the spawn. Use an atomic or a mutex, or go step by step with
    /// [`begin`](Self::begin), which borrows nothing from one attempt to the next.
    pub fn call<T, E, Fut>(
        &self,
        f: impl Fn(Cx) -> Fut,
    ) -> impl Future<Output = Result<T, Error<E>>>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        // Handed on, not awaited: the result moves once less.
        call::run(&self.inner, Asking::PLAIN, &Results, f)
    }

    /// Calls the dependency step by step, where a closure cannot make the attempts.
    pub fn begin(&self) -> Run<'_> {
        Run::begin(&self.inner, Asking::PLAIN)
    }

    /// Leave to call the dependency once, by oneself. Never waits: where a call would have had to
    /// wait for a rate limit or a bulkhead, this is refused.
    pub fn admit(&self) -> Result<Permit<'_>, Stopped> {
        permit::admit(&self.inner, Asking::PLAIN)
    }

    /// Calls a dependency that blocks, on a thread that may: one of its own, or one of tokio's
    /// blocking threads. On a thread that polls tasks it is an error that says so.
    ///
    /// What blocks cannot be cut off at its deadline: `f` is told how long it has, a value that
    /// comes late is handed over and counts as failed, and an error that comes late is handed over
    /// and counts as a timeout.
    ///
    /// Inside `tokio::task::unconstrained`, and outside of tokio, a thread that polls looks like any
    /// other: there nothing keeps this from blocking it.
    pub fn call_blocking<T, E>(&self, f: impl FnMut(Cx) -> Result<T, E>) -> Result<T, Error<E>> {
        blocking::run(&self.inner, Asking::PLAIN, &Results, f)
    }

    /// The same operation, with results judged by `classify`.
    pub const fn with<C>(&self, classify: C) -> Guarded<'_, C> {
        Guarded {
            operation: self,
            classify,
            asking: Asking::PLAIN,
        }
    }

    /// The same operation, within the bounds of `scope`.
    pub const fn within<'a>(&'a self, scope: &'a Scope) -> Guarded<'a, Results> {
        self.with(Results).within(scope)
    }

    /// What callers meet: the state of the breaker, or what an operator's override makes of it. An
    /// open breaker that is due for a probe is open until the next call. Cheap enough to ask before
    /// every call, and not needed there: a call that is refused says so, and counts.
    pub fn state(&self) -> CircuitState {
        self.inner.acting()
    }

    /// Closes the breaker and forgets what it counted.
    pub fn reset(&self) {
        self.inner.reset();
    }
}

/// An operation with a classifier, bounds or a cost of the caller's.
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing is called before call()"]
pub struct Guarded<'a, C> {
    operation: &'a Operation,
    classify: C,
    asking: Asking<'a>,
}

impl<'a, C> Guarded<'a, C> {
    /// The call ends by the scope's deadline, and its retries count there too.
    pub const fn within(mut self, scope: &'a Scope) -> Self {
        self.asking.around = Around(Some(scope));
        self
    }

    /// What the call takes of the rate limit, in permits: 1 if not said. More than the limit's
    /// burst can never be had and is refused with no time to come back.
    pub const fn cost(mut self, permits: u32) -> Self {
        self.asking.cost = permits;
        self
    }

    /// As [`Operation::call`].
    pub async fn call<T, E, Fut>(self, f: impl Fn(Cx) -> Fut) -> Result<T, Error<E>>
    where
        C: Classify<T, E>,
        Fut: Future<Output = Result<T, E>>,
    {
        call::run(&self.operation.inner, self.asking, &self.classify, f).await
    }

    /// As [`call`](Self::call), with something to fall back on: `fallback` is told what went wrong
    /// and makes the result instead. It runs outside the call's own timeouts, but is cut off at the
    /// deadline of the scopes around the call; and not for an error that the classifier ignores:
    /// that one is the caller's own affair.
    pub async fn call_or<T, E, Fut, Fallback>(
        self,
        f: impl Fn(Cx) -> Fut,
        fallback: impl FnOnce(Error<E>) -> Fallback,
    ) -> Result<T, Error<E>>
    where
        C: Classify<T, E>,
        Fut: Future<Output = Result<T, E>>,
        Fallback: Future<Output = Result<T, Error<E>>>,
    {
        call::run_or(
            &self.operation.inner,
            self.asking,
            &self.classify,
            f,
            fallback,
        )
        .await
    }

    /// As [`Operation::begin`]; the classifier is given to each attempt.
    pub fn begin(&self) -> Run<'a> {
        Run::begin(&self.operation.inner, self.asking)
    }

    /// As [`Operation::admit`].
    pub fn admit(&self) -> Result<Permit<'a>, Stopped> {
        permit::admit(&self.operation.inner, self.asking)
    }

    /// As [`Operation::call_blocking`].
    pub fn call_blocking<T, E>(self, f: impl FnMut(Cx) -> Result<T, E>) -> Result<T, Error<E>>
    where
        C: Classify<T, E>,
    {
        blocking::run(&self.operation.inner, self.asking, &self.classify, f)
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
    pub(crate) plans: Plans,
    pub(crate) guard: Guard,
    pub(crate) recorder: Recorder,
    pub(crate) observed: Observed,
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
            guard: Guard::new(&plan, context.jitter.next(), clock::now()),
            plans: Plans::new(plan),
            recorder: Recorder::new(),
            observed: Observed::default(),
            context,
            transitions: AtomicU64::new(0),
        }
    }

    /// Puts `plan` in force and lets it judge what is known. A listener's panic leaves nothing of this
    /// undone.
    pub(crate) fn follow(&self, plan: Plan) {
        let before = self.plans.hold();
        self.plans.replace(plan);
        self.guard
            .reload(&before.plan, &plan, clock::now(), &Steady(self));
    }

    /// What the breaker does.
    pub(crate) fn state(&self) -> StateView {
        self.guard.breaker.state_at(clock::now())
    }

    /// What the breaker in SHADOW does, if a policy has one on trial.
    pub(crate) fn shadow_state(&self, now: Instant) -> Option<CircuitState> {
        let plan = &self.plans.load().plan;
        let view = self.guard.shadow.state_at(&plan.shadow, now);
        view.map(|view| view.state)
    }

    /// What callers meet. A look is enough while all are let in, or none is.
    fn acting(&self) -> CircuitState {
        let breaker = &self.guard.breaker;
        if breaker.admits_everybody() {
            CircuitState::Closed
        } else if breaker.refuse_at_once(clock::now()).is_some() {
            CircuitState::Open
        } else {
            self.state().acting()
        }
    }

    #[cold]
    fn announce(&self, transition: &Transition) {
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

    /// Puts `overrides` in the place of those that held. What that changed is to be told, once nobody
    /// holds a lock.
    pub(crate) fn force(&self, overrides: &[Override]) -> Changes {
        self.guard.breaker.force(overrides, clock::now())
    }

    /// Tells of changes, whatever becomes of whoever listens.
    pub(crate) fn tell(&self, changes: &Changes) {
        for transition in changes.iter() {
            steady::tell(|| self.announce(transition));
        }
    }

    /// The number of the last transition announced; 0 before the first.
    pub(crate) fn last_transition(&self) -> u64 {
        self.transitions.load(Ordering::Relaxed)
    }

    pub(crate) fn reset(&self) {
        let changes = self.guard.breaker.reset(clock::now());
        for transition in changes.iter() {
            self.announce(transition);
        }
    }
}

impl Watch for Inner {
    fn changed(&self, transition: &Transition, standing: Standing) {
        match standing {
            Standing::Enforced => self.announce(transition),
            // A trial's changes are its own: nobody's calls were refused.
            Standing::Shadow => tracing::info!(
                target: "fusebox",
                operation = self.name,
                from = transition.from.name(),
                to = transition.to.name(),
                cause = %transition.cause,
                "fusebox.circuit_breaker.shadow_transition"
            ),
        }
    }

    fn would_refuse(&self, reason: Reason) {
        self.recorder.record_would_refuse(lanes::current(), reason);
        self.context.metrics.would_refuse(self.name, reason);
    }
}

/// Tells at once, whatever becomes of whoever listens.
struct Steady<'a>(&'a Inner);

impl Watch for Steady<'_> {
    fn changed(&self, transition: &Transition, standing: Standing) {
        steady::tell(|| self.0.changed(transition, standing));
    }

    // A reload lets nobody in.
    fn would_refuse(&self, _: Reason) {}
}

/// What an author says of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Definition {
    pub(crate) id: OperationName,
    pub(crate) kind: Kind,
    pub(crate) idempotent: bool,
    pub(crate) local: Rules,
}
