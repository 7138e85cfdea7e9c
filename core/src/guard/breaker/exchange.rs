//! What goes into a breaker and what comes out of it.

use super::forced::Override;
use crate::outcome::{CircuitState, Transition};
use crate::time::Instant;

/// Leave to make one attempt. Must be settled, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a permit that is never settled occupies a half-open breaker until its maximum"]
pub struct Permit {
    pub(super) generation: u64,
}

impl Permit {
    /// Given by an operator's override where the breaker itself refused: its outcome changes
    /// nothing, because no generation has that number.
    pub(super) const FORCED: Self = Self {
        generation: u64::MAX,
    };
}

/// What an attempt says about the dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// It works.
    Good {
        /// But took at least the slow-call threshold.
        slow: bool,
    },
    /// It fails.
    Bad {
        /// It took at least the slow-call threshold, too.
        slow: bool,
        /// Whether it lengthens the consecutive run.
        in_run: bool,
    },
    /// Nothing: the permit is given back.
    Neutral,
}

/// A breaker's state as a watcher sees it. Computed and forced state are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateView {
    /// What the breaker itself thinks.
    pub state: CircuitState,
    /// When that state was entered.
    pub since: Instant,
    /// Open, and the next call will be let through as a probe.
    pub probe_due: bool,
    /// Closed, and only this share is let in so far, in basis points.
    pub ramp: Option<u32>,
    /// The operator's override that decides instead.
    pub forced: Option<Override>,
}

impl StateView {
    /// The state that callers meet.
    pub fn acting(&self) -> CircuitState {
        self.forced
            .map_or(self.state, |known| known.forced.as_state())
    }
}

/// An answer, and the changes of state that came with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<T> {
    /// The answer.
    pub answer: T,
    /// What changed on the way.
    pub changes: Changes,
}

/// Changes of state in their order, to be told to whoever watches once no lock is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "whoever watches wants to be told"]
pub struct Changes([Option<Transition>; Self::MOST]);

impl Changes {
    /// An override ends, a hung half-open state opens as of earlier, and that open state has
    /// elapsed too: no step holds more.
    const MOST: usize = 4;

    /// No change.
    pub const NONE: Self = Self([None; Self::MOST]);

    pub(super) fn add(&mut self, transition: impl Into<Option<Transition>>) {
        let Some(transition) = transition.into() else {
            return;
        };
        let free = self.0.iter_mut().find(|place| place.is_none());
        debug_assert!(free.is_some(), "more than a step holds: {transition:?}");
        if let Some(place) = free {
            *place = Some(transition);
        }
    }

    /// Whether nothing changed.
    pub const fn is_empty(&self) -> bool {
        self.0[0].is_none()
    }

    /// The changes, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Transition> {
        self.0.iter().flatten()
    }
}
