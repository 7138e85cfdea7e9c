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
//!   |    does the budget pay for it?
//!   |           | yes
//!   +-- sleep <-+
//! ```
//!
//! Everything is decided before sleeping: a sleep that cannot help is not begun, and the caller
//! gets the dependency's own last error at once. The budget is asked last, so that nothing is paid
//! for a retry that is not made.
//!
//! A hedge is an attempt beside one that is under way; it comes out of the same attempts and the
//! same budget.

use std::time::Duration;

use super::Guard;
use super::plan::Plan;
use crate::outcome::{Again, Verdict};
use crate::time::{Instant, Span};

/// A call under way.
#[derive(Clone, Copy, Debug)]
pub struct Execution {
    started: Instant,
    /// When whoever called must have an answer, whatever this operation's own rules say.
    bound: Instant,
    attempt: u32,
    /// Of the attempts, those that were slept before: hedges are none.
    retries: u32,
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

/// What bears on whether an attempt is followed by another, besides the plan.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// Whether the operation may be repeated without harm.
    pub idempotent: bool,
    /// How many first attempts the operation has made in all, this call's included, modulo
    /// 2^32.
    pub first_attempts: u32,
    /// Uniform over all of `u64`: the jitter.
    pub random: u64,
    /// The present.
    pub now: Instant,
}

impl Execution {
    /// A call that begins its first attempt and must end by `bound`.
    #[inline]
    pub const fn begin(started: Instant, bound: Instant) -> Self {
        Self {
            started,
            bound,
            attempt: 1,
            retries: 0,
            in_run: false,
        }
    }

    /// The newest attempt, from 1; hedges count.
    #[inline]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// When the call began.
    #[inline]
    pub const fn started(&self) -> Instant {
        self.started
    }

    /// When the caller must have an answer, whatever the plan says.
    #[inline]
    pub const fn bound(&self) -> Instant {
        self.bound
    }

    /// When the whole call must have ended.
    pub fn deadline(&self, plan: &Plan) -> Instant {
        (self.started + plan.overall_timeout).min(self.bound)
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
        guard: &Guard,
        verdict: Verdict,
        circumstances: &Circumstances,
    ) -> Next {
        let Circumstances {
            first_attempts,
            now,
            ..
        } = *circumstances;
        let Some(delay) = self.delay(plan, verdict, circumstances) else {
            return Next::Return;
        };
        let waking = now + Span::from(delay);
        let makes_sense = waking < self.deadline(plan)
            && guard.breaker.would_admit(waking)
            && guard.budget.withdraw(first_attempts, now);
        if !makes_sense {
            return Next::Return;
        }
        self.attempt += 1;
        self.retries += 1;
        Next::Retry(delay)
    }

    /// Whether another attempt beside those under way makes sense, as far as a look can tell: to be
    /// asked before its way in, which moves a breaker that is open.
    pub fn may_hedge(&self, plan: &Plan, guard: &Guard, now: Instant) -> bool {
        self.attempt < plan.max_attempts
            && now < self.deadline(plan)
            && guard.breaker.admits_everybody()
    }

    /// Whether another attempt may begin beside those under way; if so, it has. The budget is asked
    /// last, so whoever asks this has let it in already.
    pub fn hedge(&mut self, plan: &Plan, guard: &Guard, circumstances: &Circumstances) -> bool {
        let Circumstances {
            idempotent,
            first_attempts,
            now,
            ..
        } = *circumstances;
        let may = idempotent
            && self.may_hedge(plan, guard, now)
            && guard.budget.withdraw(first_attempts, now);
        self.attempt += u32::from(may);
        may
    }

    /// How long to sleep, if the verdict and the attempts so far allow another.
    fn delay(
        &self,
        plan: &Plan,
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
            Again::IfIdempotent(hint) => hint.filter(|_| plan.honor_retry_after),
        };
        match hint {
            Some(hint) if plan.backoff.allows(hint) => Some(hint),
            // A server that wants to be left alone for longer than any backoff is left alone.
            Some(_) => None,
            None => {
                let retry = self.retries + 1;
                Some(plan.backoff.delay(retry, circumstances.random))
            }
        }
    }
}

#[cfg(test)]
mod tests;
