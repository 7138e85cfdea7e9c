//! The handle around one outbound dependency.

mod builder;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use fusebox_core::guard::{Breaker, Plan};
use fusebox_core::key::{Kind, OperationName};
use fusebox_core::outcome::Transition;
use fusebox_core::policy::rules::Rules;
use fusebox_core::stats::Recorder;
use fusebox_core::time::Instant;

use crate::call;
use crate::classify::{Classify, Results};
use crate::clock;
use crate::enforcement::Context;
use crate::error::Error;
use crate::link::Event;

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
