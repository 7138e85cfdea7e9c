//! What goes into a breaker and what comes out of it.

use crate::outcome::{CircuitState, Transition};
use crate::time::Instant;

/// Leave to make one attempt. Must be settled, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a permit that is never settled occupies a half-open breaker until its maximum"]
pub struct Permit {
    pub(super) generation: u64,
}

/// What an attempt says about the dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// It works.
    Good,
    /// It fails. `in_run`: this one also lengthens the consecutive run.
    Bad {
        /// Whether it counts in the consecutive run.
        in_run: bool,
    },
    /// Nothing: the permit is given back.
    Neutral,
}

/// A breaker's state as a watcher sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateView {
    /// The state.
    pub state: CircuitState,
    /// When it was entered.
    pub since: Instant,
    /// Open, and the next call will be let through as a probe.
    pub probe_due: bool,
}

/// An answer, and the changes of state that came with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<T> {
    /// The answer.
    pub answer: T,
    /// A change that had been due before, and is noticed only now.
    pub overdue: Option<Transition>,
    /// The change, to be told to whoever watches.
    pub transition: Option<Transition>,
}

impl<T> Step<T> {
    pub(super) const fn quiet(answer: T) -> Self {
        Self {
            answer,
            overdue: None,
            transition: None,
        }
    }
}

impl<T> Step<T> {
    /// The changes, in their order.
    pub fn transitions(&self) -> impl Iterator<Item = &Transition> {
        self.overdue.iter().chain(&self.transition)
    }
}
