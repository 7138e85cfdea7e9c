//! An operation's rules, compiled: what one call follows from its first wait to its end.
//!
//! Durations become whole nanoseconds, thresholds are worked out once. Most calls succeed at once
//! and want only the [`Gist`] of a plan: a few words, small enough for every thread to keep.

use super::breaker::{Settings, Trace};
use super::hedge::HedgeSettings;
use super::rate::RateSettings;
use super::retry::Backoff;
use crate::policy::Effective;
use crate::policy::cascade::Shadow;
use crate::policy::rules::{BulkheadLimit, ConcurrencyBounds, RetryBudget};
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
    /// Attempts in all, hedges included.
    pub max_attempts: u32,
    /// How long to sleep before each retry.
    pub backoff: Backoff,
    /// What retries and hedges are paid from.
    pub budget: RetryBudget,
    /// Whether a delay the server asks for replaces the backoff.
    pub honor_retry_after: bool,
    /// When to ask a second time beside the first.
    pub hedge: Option<HedgeSettings>,
    /// When to stop trying.
    pub breaker: Settings,
    /// How often to call.
    pub rate: Option<RateSettings>,
    /// How many at once.
    pub bulkhead: Option<BulkheadSettings>,
    /// How many at once, found out.
    pub concurrency: Option<ConcurrencyBounds>,
    /// What decides and counts beside these, and refuses nobody.
    pub shadow: ShadowPlan,
    /// A call dropped by its caller after this long counts as failed.
    pub slow_drop: Span,
}

/// What stands beside a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShadowPlan {
    /// A breaker of its own.
    pub breaker: Option<Settings>,
    /// A rate limit of its own.
    pub rate: Option<RateSettings>,
    /// A bulkhead of its own.
    pub bulkhead: Option<BulkheadSettings>,
    /// An adaptive limit of its own.
    pub concurrency: Option<ConcurrencyBounds>,
}

/// A bulkhead, compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkheadSettings {
    /// Calls at once.
    pub max_concurrent: u32,
    /// Places in the queue; none if nobody may wait.
    pub max_queue: u32,
    /// The longest wait in it.
    pub max_wait: Span,
}

impl Plan {
    /// Compiles `rules`. `previous` is the plan it replaces: a window of unchanged shape goes on,
    /// a changed one starts anew.
    pub fn compile(rules: &Effective, previous: Option<&Self>) -> Self {
        let slow = rules.breaker.trip.slow_call_threshold;
        Self {
            enabled: rules.enabled,
            attempt_timeout: rules.attempt_timeout.into(),
            overall_timeout: rules.overall_timeout.into(),
            max_attempts: rules.max_attempts,
            backoff: Backoff::compile(rules),
            budget: rules.budget,
            honor_retry_after: rules.honor_retry_after,
            hedge: rules.hedge.as_ref().map(HedgeSettings::compile),
            breaker: Settings::compile(&rules.breaker, previous.map(|plan| &plan.breaker)),
            rate: rules.rate_limit.as_ref().map(RateSettings::compile),
            bulkhead: rules.bulkhead.as_ref().map(BulkheadSettings::compile),
            concurrency: rules.concurrency_limit,
            shadow: ShadowPlan::compile(&rules.shadow, previous.map(|plan| &plan.shadow)),
            slow_drop: slow.unwrap_or(rules.attempt_timeout / 2).into(),
        }
    }

    /// What a call that goes well wants to know.
    pub fn gist(&self) -> Gist {
        let only_the_breaker = self.rate.is_none()
            && self.bulkhead.is_none()
            && self.concurrency.is_none()
            && self.hedge.is_none()
            && self.shadow == ShadowPlan::default();
        Gist {
            limit: self.attempt_timeout.min(self.overall_timeout),
            slow: self.breaker.slow(),
            trace: self.breaker.trace(),
            plain: self.enabled && only_the_breaker,
        }
    }
}

impl ShadowPlan {
    fn compile(rules: &Shadow, previous: Option<&Self>) -> Self {
        let breaker = previous.and_then(|plan| plan.breaker.as_ref());
        Self {
            breaker: rules
                .breaker
                .as_ref()
                .map(|rules| Settings::compile(rules, breaker)),
            rate: rules.rate_limit.as_ref().map(RateSettings::compile),
            bulkhead: rules.bulkhead.as_ref().map(BulkheadSettings::compile),
            concurrency: rules.concurrency_limit,
        }
    }
}

impl BulkheadSettings {
    fn compile(limit: &BulkheadLimit) -> Self {
        Self {
            max_concurrent: limit.max_concurrent,
            max_queue: if limit.max_wait.is_zero() {
                0
            } else {
                limit.max_queue
            },
            max_wait: limit.max_wait.into(),
        }
    }
}

/// What a call that goes well wants to know of its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gist {
    /// Bounds the first attempt: the nearer of its own timeout and the call's.
    pub limit: Span,
    /// From which length on an attempt is slow.
    pub slow: Span,
    /// Where a success leaves its trace.
    pub trace: Option<Trace>,
    /// The breaker alone decides who goes, and there is no hedge: nothing else to ask.
    pub plain: bool,
}

impl Gist {
    /// How many words it is kept in.
    pub const WORDS: usize = 5;

    /// As words.
    pub fn to_words(self) -> [u64; Self::WORDS] {
        let (bucket, shape) = self.trace.map_or((0, 0), Trace::to_words);
        [
            self.limit.as_nanos(),
            self.slow.as_nanos(),
            bucket,
            shape,
            self.plain.into(),
        ]
    }

    /// The inverse of [`to_words`](Self::to_words).
    #[inline]
    pub const fn from_words([limit, slow, bucket, shape, plain]: [u64; Self::WORDS]) -> Self {
        Self {
            limit: Span::from_nanos(limit),
            slow: Span::from_nanos(slow),
            trace: Trace::from_words((bucket, shape)),
            plain: plain != 0,
        }
    }
}
