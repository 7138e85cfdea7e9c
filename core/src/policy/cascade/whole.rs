//! What a cascade came to, as rules again: with nothing left to inherit.
//!
//! Laid over the defaults of any kind they come to the same again. What was derived is set like
//! anything else, even where it is longer than an operator may write.

use super::{BreakerRules, Effective, Shadow};
use crate::policy::rules::{CircuitBreaker, HalfOpen, Retry, Rules, Timeout};

impl Effective {
    /// Every field that holds a value; limits and hedges that there are not stay unset, and so do
    /// modes.
    pub fn to_rules(&self) -> Rules {
        // All by name, so that none is forgotten.
        let Self {
            enabled,
            attempt_timeout,
            overall_timeout,
            max_attempts,
            base_delay,
            max_delay,
            multiplier,
            jitter,
            budget,
            honor_retry_after,
            breaker,
            bulkhead,
            rate_limit,
            concurrency_limit,
            hedge,
            shadow: _,
        } = *self;
        let mut rules = Rules {
            timeout: Timeout {
                attempt: Some(attempt_timeout),
                overall: Some(overall_timeout),
            },
            retry: Retry {
                max_attempts: Some(max_attempts),
                base_delay: Some(base_delay),
                max_delay: Some(max_delay),
                multiplier: Some(multiplier),
                jitter: Some(jitter),
                budget: Some(budget),
                honor_retry_after: Some(honor_retry_after),
            },
            circuit_breaker: breaker.to_section(),
            enabled: Some(enabled),
            ..Rules::default()
        };
        rules.bulkhead.limit = bulkhead;
        rules.rate_limit.quota = rate_limit;
        rules.concurrency_limit.bounds = concurrency_limit;
        rules.hedge.plan = hedge;
        rules
    }
}

impl Shadow {
    /// The sections that are tried out, each whole; modes stay unset.
    pub fn to_rules(&self) -> Rules {
        let Self {
            breaker,
            bulkhead,
            rate_limit,
            concurrency_limit,
        } = *self;
        let breaker = breaker.map(BreakerRules::to_section);
        let mut rules = Rules {
            circuit_breaker: breaker.unwrap_or_default(),
            ..Rules::default()
        };
        rules.bulkhead.limit = bulkhead;
        rules.rate_limit.quota = rate_limit;
        rules.concurrency_limit.bounds = concurrency_limit;
        rules
    }
}

impl BreakerRules {
    fn to_section(self) -> CircuitBreaker {
        let Self {
            trip,
            open_duration,
            open_multiplier,
            max_open_duration,
            open_jitter,
            half_open_permits,
            half_open_successes,
            max_half_open,
            recovery_ramp,
        } = self;
        CircuitBreaker {
            trip: Some(trip),
            open_duration: Some(open_duration),
            open_multiplier: Some(open_multiplier),
            max_open_duration: Some(max_open_duration),
            open_jitter: Some(open_jitter),
            half_open: Some(HalfOpen {
                permits: half_open_permits,
                successes: half_open_successes,
                max: Some(max_half_open),
            }),
            recovery_ramp: Some(recovery_ramp),
            mode: None,
        }
    }
}
