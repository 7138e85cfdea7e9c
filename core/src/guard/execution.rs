//! One call's way through its attempts.
//!
//! ```text
//!             start
//!               |
//!               v          Success, Ignored
//!   +------> attempt ---------------------------> Return
//!   |           | Failure
//!   |           v
//!   |    may it be repeated?  attempts left?  --no--> Return
//!   |    does the sleep end before the deadline?
//!   |    would the breaker let it in on waking?
//!   |           | yes
//!   +-- sleep <-+
//! ```
//!
//! Everything is decided before sleeping: a sleep that cannot help is not begun, and the caller
//! gets the dependency's own last error at once.

use std::time::Duration;

use super::breaker::Breaker;
use super::plan::Plan;
use crate::outcome::{Again, Verdict};
use crate::time::{Instant, Span};

/// A call under way.
#[derive(Clone, Copy, Debug)]
pub struct Execution {
    started: Instant,
    attempt: u32,
    in_run: bool,
}

/// What to do after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Give the result to the caller.
    Return,
    /// Sleep that long, then try again.
    Retry(Duration),
}

/// What bears on whether a failed attempt is repeated, besides the plan.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// Whether the operation may be repeated without harm.
    pub idempotent: bool,
    /// Uniform over all of `u64`: the jitter.
    pub random: u64,
    /// The present.
    pub now: Instant,
}

impl Execution {
    /// A call that begins its first attempt.
    pub const fn begin(started: Instant) -> Self {
        Self {
            started,
            attempt: 1,
            in_run: false,
        }
    }

    /// The attempt under way, from 1.
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// When the call began.
    pub const fn started(&self) -> Instant {
        self.started
    }

    /// When the whole call must have ended.
    pub fn deadline(&self, plan: &Plan) -> Instant {
        self.started + plan.overall_timeout
    }

    /// Whether a fast failure of this call should count in the breaker's consecutive run: only the
    /// call's first one does, so that one unlucky call does not open a breaker of three by itself.
    pub fn enters_run(&mut self) -> bool {
        !std::mem::replace(&mut self.in_run, true)
    }

    /// Decides what follows an attempt that ended with `verdict`; on `Retry` the next attempt has
    /// begun.
    pub fn next(
        &mut self,
        plan: &Plan,
        breaker: &Breaker,
        verdict: Verdict,
        circumstances: &Circumstances,
    ) -> Next {
        match self.delay(plan, breaker, verdict, circumstances) {
            None => Next::Return,
            Some(delay) => {
                self.attempt += 1;
                Next::Retry(delay)
            }
        }
    }

    fn delay(
        &self,
        plan: &Plan,
        breaker: &Breaker,
        verdict: Verdict,
        circumstances: &Circumstances,
    ) -> Option<Duration> {
        let Verdict::Failure(again) = verdict else {
            return None;
        };
        if self.attempt >= plan.max_attempts {
            return None;
        }
        let hint = match again {
            Again::No => return None,
            Again::IfIdempotent(_) if !circumstances.idempotent => return None,
            Again::NeverSent => None,
            Again::IfIdempotent(hint) => hint,
        };
        let delay = match hint {
            Some(hint) if plan.backoff.allows(hint) => hint,
            // A server that wants to be left alone for longer than any backoff is left alone.
            Some(_) => return None,
            None => plan.backoff.delay(self.attempt, circumstances.random),
        };
        let waking = circumstances.now + Span::from(delay);
        let in_time = waking < self.deadline(plan);
        (in_time && breaker.would_admit(&plan.breaker, waking)).then_some(delay)
    }
}

#[cfg(test)]
mod tests;
