//! Bounds that a caller sets for all the calls it makes on the way to one answer.
//!
//! A [`Scope`] is a value: it bounds one call by [`Guarded::within`](crate::Guarded::within), or
//! every call made while a future runs by [`Scope::run`]. It is no guard object: those would stay
//! on whatever thread polled last.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use fusebox_core::time::Instant;

use crate::clock;

/// A deadline, and a number of retries, for everything done on the way to one answer.
///
/// Of scopes inside each other the nearer deadline holds, and a retry is paid for in all of them,
/// once in each. Tasks that are spawned inside do not inherit it: hand them
/// [`current`](Self::current) to run in.
#[derive(Clone, Debug)]
pub struct Scope {
    deadline: Instant,
    retries: Option<Arc<AtomicU32>>,
    outer: Option<Arc<Scope>>,
}

tokio::task_local! {
    static CURRENT: Arc<Scope>;
}

/// Whether any scope ever ran in this process: those that use none do not look for one.
static USED: AtomicBool = AtomicBool::new(false);

impl Default for Scope {
    fn default() -> Self {
        Self::new()
    }
}

impl Scope {
    /// A scope that bounds nothing yet.
    pub const fn new() -> Self {
        Self {
            deadline: Instant::NEVER,
            retries: None,
            outer: None,
        }
    }

    /// All must be done within `time` from now. A nearer deadline set before stays.
    #[must_use]
    pub fn deadline(self, time: Duration) -> Self {
        Self {
            deadline: self.deadline.min(clock::now() + time),
            ..self
        }
    }

    /// At most that many retries and hedges, over all calls together.
    #[must_use]
    pub fn retries(self, most: u32) -> Self {
        Self {
            retries: Some(Arc::new(AtomicU32::new(most))),
            ..self
        }
    }

    /// What is left of its time; `None` if it has no deadline.
    pub fn remaining(&self) -> Option<Duration> {
        (self.deadline < Instant::NEVER).then(|| self.deadline.since(clock::now()))
    }

    /// Runs `future` inside this scope, and inside the one it is in already. The future is not cut
    /// off: the guarded calls in it are.
    pub async fn run<F: Future>(self, future: F) -> F::Output {
        // Relaxed: whoever is polled inside is polled by the thread that set it, or after.
        USED.store(true, Ordering::Relaxed);
        let inside = match Self::around() {
            None => self,
            Some(around) => self.inside(&around),
        };
        CURRENT.scope(Arc::new(inside), future).await
    }

    /// The scopes that this task runs in, as one, to hand to a task that is spawned: it has their
    /// deadline and pays with their retries. `None` outside of all.
    pub fn current() -> Option<Self> {
        Self::around().map(|around| Self::clone(&around))
    }

    fn around() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// The same inside `around`, beyond the scopes that it is inside already. What is in both pays
    /// there.
    fn inside(self, around: &Arc<Self>) -> Self {
        let outer = match &self.outer {
            None => Arc::clone(around),
            Some(outer) => Self::chained(outer, around),
        };
        Self {
            deadline: self.deadline.min(around.deadline),
            retries: self.retries.filter(|retries| !around.pays_with(retries)),
            outer: Some(outer),
        }
    }

    /// Those of `scopes` that pay for what nobody in `around` pays for, and `around` beyond them.
    fn chained(scopes: &Arc<Self>, around: &Arc<Self>) -> Arc<Self> {
        let outer = match &scopes.outer {
            None => Arc::clone(around),
            Some(outer) => Self::chained(outer, around),
        };
        let retries = scopes.retries.as_ref();
        match retries.filter(|retries| !around.pays_with(retries)) {
            None => outer,
            Some(retries) => Arc::new(Self {
                deadline: scopes.deadline.min(around.deadline),
                retries: Some(Arc::clone(retries)),
                outer: Some(outer),
            }),
        }
    }

    /// Whether those are its own retries, or a scope's around it.
    fn pays_with(&self, retries: &Arc<AtomicU32>) -> bool {
        let own = self.retries.as_ref();
        own.is_some_and(|own| Arc::ptr_eq(own, retries))
            || self
                .outer
                .as_ref()
                .is_some_and(|outer| outer.pays_with(retries))
    }

    /// Pays for a retry, here and in all scopes around this one; or nowhere.
    fn pay(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        let paid = self.retries.as_ref().is_none_or(|left| {
            // Relaxed: a number that orders nothing else.
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
                .is_ok()
        });
        if !paid {
            return false;
        }
        let outside = self.outer.as_ref().is_none_or(|outer| outer.pay());
        if !outside {
            self.refund_here();
        }
        outside
    }

    fn refund(&self) {
        self.refund_here();
        if let Some(outer) = &self.outer {
            outer.refund();
        }
    }

    fn refund_here(&self) {
        if let Some(left) = &self.retries {
            // Relaxed: see `pay`.
            left.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The scopes around one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around<'a>(pub(crate) Option<&'a Scope>);

impl Around<'_> {
    /// When the call must have ended because of them.
    #[inline]
    pub(crate) fn bound(self) -> Instant {
        let given = self.0.map_or(Instant::NEVER, |scope| scope.deadline);
        // Relaxed: see `run`.
        if !USED.load(Ordering::Relaxed) {
            return given;
        }
        let current = CURRENT.try_with(|scope| scope.deadline);
        given.min(current.unwrap_or(Instant::NEVER))
    }

    /// Pays for a retry in all of them, or in none.
    pub(crate) fn pay(self) -> bool {
        self.together().is_none_or(|scope| scope.pay())
    }

    /// Takes back what was paid for a retry that is not made.
    pub(crate) fn refund(self) {
        if let Some(scope) = self.together() {
            scope.refund();
        }
    }

    /// The scope given and those around, as one: what is in both pays once.
    fn together(self) -> Option<Scope> {
        match (self.0.cloned(), Scope::around()) {
            (given, None) => given,
            (None, Some(around)) => Some(Scope::clone(&around)),
            (Some(given), Some(around)) => Some(given.inside(&around)),
        }
    }
}

#[cfg(test)]
mod tests;
