//! What an attempt asks of a guard, how it is answered, and what it showed.

use super::breaker::Observation;
use crate::outcome::Rejection;
use crate::time::{Instant, Span};

/// What an attempt asks of a guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// What it takes of the rate limit, in permits.
    pub cost: u32,
    /// The present.
    pub now: Instant,
    /// When whoever made it must have an answer: a moment that comes later is of no use.
    pub deadline: Instant,
}

/// What an attempt showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// About the dependency.
    pub observation: Observation,
    /// How long it took, if that tells how long the dependency takes.
    pub latency: Option<Span>,
}

impl From<Observation> for Finding {
    fn from(observation: Observation) -> Self {
        Self {
            observation,
            latency: None,
        }
    }
}

/// How far an attempt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It may begin.
    Inside,
    /// Ask again then, or when woken.
    Wait(Instant),
    /// It may not, and holds nothing.
    Refused(Rejection),
}
