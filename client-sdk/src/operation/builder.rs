//! What an author says of an operation at its call site.
//!
//! All of it is the layer below the policies: what an author says holds until a policy says
//! otherwise. What contradicts itself is refused when the operation is registered, all at once.

use std::sync::Arc;
use std::time::Duration;

use fusebox_core::key::{InvalidName, Kind, OperationName};
use fusebox_core::policy::ratio::{Multiplier, Ratio, Share};
use fusebox_core::policy::rules::{
    BulkheadLimit, ConcurrencyBounds, HalfOpen, HedgeTrigger, Hedging, Jitter, Quota, RatioTrip,
    RetryBudget, Rules, Trip, Window,
};
use fusebox_core::policy::{Violations, defaults};

use super::{Definition, Operation};
use crate::enforcement::Enforcement;

/// Says what an operation is. What it says of rules is the layer below the policies.
#[derive(Clone, Debug)]
#[must_use = "an operation exists once it is registered"]
pub struct OperationBuilder<'a> {
    enforcement: &'a Arc<Enforcement>,
    name: String,
    kind: Kind,
    idempotent: Option<bool>,
    local: Rules,
}

impl<'a> OperationBuilder<'a> {
    pub(crate) fn new(enforcement: &'a Arc<Enforcement>, name: String) -> Self {
        Self {
            enforcement,
            name,
            kind: Kind::default(),
            idempotent: None,
            local: Rules::default(),
        }
    }

    /// What it talks to; decides its defaults. [`Kind::Custom`] if not said.
    pub const fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Whether a call may be repeated without harm; the kind's default if not said. A call that is
    /// not idempotent is only retried where it provably never took effect.
    pub const fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = Some(idempotent);
        self
    }

    /// Bounds each attempt: 1 ms to 24 h.
    pub const fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.local.timeout.attempt = Some(timeout);
        self
    }

    /// Bounds the whole call, backoffs included: 1 ms to 24 h.
    pub const fn overall_timeout(mut self, timeout: Duration) -> Self {
        self.local.timeout.overall = Some(timeout);
        self
    }

    /// Attempts in all, the first included: 1 to 1000.
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.local.retry.max_attempts = Some(attempts);
        self
    }

    /// The longest sleep before the first retry, and before any: 1 ms to 24 h.
    pub const fn backoff(mut self, base: Duration, max: Duration) -> Self {
        self.local.retry.base_delay = Some(base);
        self.local.retry.max_delay = Some(max);
        self
    }

    /// Each retry's longest sleep is so many times that of the one before, up to the longest of any;
    /// twice if not said.
    pub const fn backoff_multiplier(mut self, multiplier: Multiplier) -> Self {
        self.local.retry.multiplier = Some(multiplier);
        self
    }

    /// How the sleeps of many callers are spread; [`Jitter::Full`] if not said.
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.local.retry.jitter = Some(jitter);
        self
    }

    /// Retries beside first attempts, over all callers of the process: that share of them, and
    /// `min_per_second` (0 to 10000) in any case. A fifth and 3 if not said.
    pub const fn retry_budget(mut self, ratio: Share, min_per_second: u32) -> Self {
        self.local.retry.budget = Some(RetryBudget {
            ratio,
            min_per_second,
        });
        self
    }

    /// Whether a delay that the dependency asks for replaces the backoff's own, up to its longest.
    /// It does if not said.
    pub const fn honor_retry_after(mut self, honor: bool) -> Self {
        self.local.retry.honor_retry_after = Some(honor);
        self
    }

    /// Opens the breaker after that many failed calls in a row: 1 to 10000.
    pub fn consecutive_failures(mut self, failures: u32) -> Self {
        self.trip().consecutive_failures = Some(failures);
        self
    }

    /// Opens the breaker when that share of the calls in the window failed, given at least
    /// `minimum_calls` (20 if `None`). The window is 1 s to 1 h.
    pub fn failure_ratio(
        mut self,
        ratio: Ratio,
        window: Duration,
        minimum_calls: Option<u32>,
    ) -> Self {
        self.ratio_over(window.into(), minimum_calls).failure_ratio = Some(ratio);
        self
    }

    /// Opens the breaker when that share of the last `calls` failed (1 to 10000), given at least
    /// `minimum_calls` (20, or `calls` if that is less, if `None`).
    pub fn failure_ratio_of_last(
        mut self,
        ratio: Ratio,
        calls: u32,
        minimum_calls: Option<u32>,
    ) -> Self {
        let window = Window::Calls(calls);
        self.ratio_over(window, minimum_calls).failure_ratio = Some(ratio);
        self
    }

    /// Opens the breaker when that share of the calls in the window took `threshold` (1 ms to 24 h)
    /// or longer. The window is a [`Duration`], or a [`Window`] to count calls; a breaker has one,
    /// so that of the last word on it, here or with the failure ratio, holds for both.
    pub fn slow_calls(
        mut self,
        ratio: Ratio,
        threshold: Duration,
        window: impl Into<Window>,
        minimum_calls: Option<u32>,
    ) -> Self {
        self.trip().slow_call_threshold = Some(threshold);
        self.ratio_over(window.into(), minimum_calls)
            .slow_call_ratio = Some(ratio);
        self
    }

    /// How long the breaker stays open before it probes: 1 ms to 24 h.
    pub const fn open_duration(mut self, duration: Duration) -> Self {
        self.local.circuit_breaker.open_duration = Some(duration);
        self
    }

    /// Each time that its probes fail the breaker stays open so many times longer, up to `max`: 1 ms
    /// to 24 h. Always the same time if not said.
    pub const fn open_growth(mut self, multiplier: Multiplier, max: Duration) -> Self {
        self.local.circuit_breaker.open_multiplier = Some(multiplier);
        self.local.circuit_breaker.max_open_duration = Some(max);
        self
    }

    /// Cuts each open time short at random by up to that share of it, so that not all processes
    /// probe at once.
    pub const fn open_jitter(mut self, share: Share) -> Self {
        self.local.circuit_breaker.open_jitter = Some(share);
        self
    }

    /// Probes let through while half-open (1 to 1000), and how many of them must succeed; if `None`,
    /// what opens the breaker is judged by all of them. One probe if not said.
    pub const fn half_open(mut self, permits: u32, successes: Option<u32>) -> Self {
        let max = self.probing().max;
        self.local.circuit_breaker.half_open = Some(HalfOpen {
            permits,
            successes,
            max,
        });
        self
    }

    /// A breaker that stays half-open for so long without a decision opens again: 1 ms to 24 h. Open
    /// duration and attempt timeout together if not said, so that a slow probe can end.
    pub const fn max_half_open(mut self, max: Duration) -> Self {
        let max = Some(max);
        self.local.circuit_breaker.half_open = Some(HalfOpen {
            max,
            ..self.probing()
        });
        self
    }

    /// After the breaker has closed, traffic grows over this time to all: up to 24 h. At once if
    /// not said.
    pub const fn recovery_ramp(mut self, ramp: Duration) -> Self {
        self.local.circuit_breaker.recovery_ramp = Some(ramp);
        self
    }

    /// Lets that many calls through at once (1 to 100000). So many more may wait (up to 100000), for
    /// so long (up to 24 h); with either zero, none does.
    pub const fn bulkhead(
        mut self,
        max_concurrent: u32,
        max_queue: u32,
        max_wait: Duration,
    ) -> Self {
        self.local.bulkhead.limit = Some(BulkheadLimit {
            max_concurrent,
            max_queue,
            max_wait,
        });
        self
    }

    /// Lets `permits` calls (1 to 1000000000) through in each `per` (1 ms to 24 h), spread evenly;
    /// after a pause `burst` at once (at least 1). A call may wait for its turn for `max_wait` (up
    /// to 24 h); zero: not at all.
    pub const fn rate_limit(
        mut self,
        permits: u32,
        per: Duration,
        burst: u32,
        max_wait: Duration,
    ) -> Self {
        self.local.rate_limit.quota = Some(Quota {
            permits,
            per,
            burst,
            max_wait,
        });
        self
    }

    /// Lets between `min` and `max` calls through at once (1 to 100000), as many as the dependency
    /// answers without slowing down.
    pub const fn concurrency_limit(mut self, min: u32, max: u32) -> Self {
        self.local.concurrency_limit.bounds = Some(ConcurrencyBounds { min, max });
        self
    }

    /// Makes a further attempt whenever the one before has taken so long (up to 24 h; zero: all at
    /// once), `max_hedges` at most (1 to 10), and takes the first good answer. Only what is
    /// [idempotent](Self::idempotent) is hedged. Hedges count among the attempts and in the retry
    /// budget.
    pub const fn hedge_after(self, delay: Duration, max_hedges: u32) -> Self {
        self.hedge(HedgeTrigger::Delay(delay), max_hedges)
    }

    /// The same whenever the attempt before has taken longer than that share of recent calls did:
    /// below 1, for instance 0.95.
    pub const fn hedge_at(self, percentile: Ratio, max_hedges: u32) -> Self {
        self.hedge(HedgeTrigger::Percentile(percentile), max_hedges)
    }

    /// Makes it exist, or returns the operation that has the name already.
    pub fn register(self) -> Result<Operation, InvalidOperation> {
        let definition = self.definition()?;
        Ok(self.enforcement.register(&definition))
    }

    fn definition(&self) -> Result<Definition, InvalidOperation> {
        let id = OperationName::new(&self.name).map_err(|problem| InvalidOperation::Name {
            name: self.name.chars().take(80).collect(),
            problem,
        })?;
        self.local
            .violations()
            .into_result(())
            .map_err(|violations| InvalidOperation::Rules {
                operation: self.name.clone(),
                violations,
            })?;
        Ok(Definition {
            id,
            kind: self.kind,
            idempotent: self
                .idempotent
                .unwrap_or(defaults::of(self.kind).idempotent),
            local: self.local.clone(),
        })
    }

    const fn hedge(mut self, trigger: HedgeTrigger, max_hedges: u32) -> Self {
        self.local.hedge.plan = Some(Hedging {
            trigger,
            max_hedges,
        });
        self
    }

    /// What was said of probes so far.
    const fn probing(&self) -> HalfOpen {
        match self.local.circuit_breaker.half_open {
            Some(half_open) => half_open,
            None => HalfOpen {
                permits: defaults::HALF_OPEN_PERMITS,
                successes: None,
                max: None,
            },
        }
    }

    fn trip(&mut self) -> &mut Trip {
        self.local.circuit_breaker.trip.get_or_insert_default()
    }

    /// The breaker's ratios, from now on over `window`.
    fn ratio_over(&mut self, window: Window, minimum_calls: Option<u32>) -> &mut RatioTrip {
        let before = self.trip().ratio;
        self.trip().ratio.insert(RatioTrip {
            window,
            failure_ratio: before.and_then(|ratio| ratio.failure_ratio),
            slow_call_ratio: before.and_then(|ratio| ratio.slow_call_ratio),
            minimum_calls: minimum_calls.unwrap_or_else(|| window.default_minimum_calls()),
        })
    }
}

/// An operation that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum InvalidOperation {
    /// Its name is none.
    #[error("operation name {name:?} {problem}")]
    Name {
        /// The name, cut to what an error should show.
        name: String,
        /// What is wrong with it.
        problem: InvalidName,
    },
    /// The rules given at the call site contradict themselves.
    #[error("operation {operation}: {violations}")]
    Rules {
        /// Which operation.
        operation: String,
        /// Everything that is wrong.
        violations: Violations,
    },
}

#[cfg(test)]
mod tests;
