//! An operation's rules, compiled: what one call copies and then follows to its end.
//!
//! Durations become whole nanoseconds, thresholds are worked out once. A plan is `Copy`, so that a
//! call sees exactly one set of rules however long it takes.

use super::breaker::Settings;
use super::retry::Backoff;
use crate::policy::Effective;
use crate::time::Span;

/// Compiled rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Whether calls are guarded at all.
    pub enabled: bool,
    /// Bounds each attempt.
    pub attempt_timeout: Span,
    /// Bounds the whole call.
    pub overall_timeout: Span,
    /// Attempts in all.
    pub max_attempts: u32,
    /// How long to sleep before each retry.
    pub backoff: Backoff,
    /// When to stop trying.
    pub breaker: Settings,
    /// A call dropped by its caller after this long counts as failed: half the attempt timeout.
    pub slow_drop: Span,
}

impl Plan {
    /// Compiles `rules`. `previous` is the plan it replaces: a window of unchanged shape goes on,
    /// a changed one starts anew.
    pub fn compile(rules: &Effective, previous: Option<&Self>) -> Self {
        Self {
            enabled: rules.enabled,
            attempt_timeout: rules.attempt_timeout.into(),
            overall_timeout: rules.overall_timeout.into(),
            max_attempts: rules.max_attempts,
            backoff: Backoff::compile(rules),
            breaker: Settings::compile(rules, previous.map(|plan| &plan.breaker)),
            slow_drop: (rules.attempt_timeout / 2).into(),
        }
    }
}
