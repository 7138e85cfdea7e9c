//! How much of everything.

use std::time::Duration;

/// The size of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) sessions: usize,
    /// Servers take turns, so many times.
    pub(crate) turns: usize,
    /// Pushes in a turn, after one that warms up.
    pub(crate) rounds: usize,
    /// For how long what goes on continuously goes on.
    pub(crate) span: Duration,
    /// For how long writes are made one after the other.
    pub(crate) writing: Duration,
    /// Writes of a burst.
    pub(crate) burst: usize,
}

impl Effort {
    pub(crate) const FULL: Self = Self {
        sessions: 10_000,
        turns: 2,
        rounds: 10,
        span: Duration::from_secs(10),
        writing: Duration::from_secs(15),
        burst: 1000,
    };
    pub(crate) const SHORT: Self = Self {
        sessions: 1000,
        turns: 2,
        rounds: 5,
        span: Duration::from_secs(3),
        writing: Duration::from_secs(3),
        burst: 200,
    };
}
