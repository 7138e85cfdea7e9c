//! One field of the rules as text, as protobuf's JSON writes it.
//!
//! A field is written as its value alone, a group as its members with their names:
//!
//! ```text
//! timeout.attempt          0.8s
//! retry.jitter             JITTER_FULL
//! retry.budget             ratio: 0.2, minPerSecond: 3
//! bulkhead.max_concurrent  maxConcurrent: 5, maxQueue: 2, maxWait: 0s
//! circuit_breaker.window   window: {span: 10s}, failureRatio: 0.5, minimumCalls: 20
//! ```

use fusebox_core::policy::field::Field;
use fusebox_core::policy::rules::Rules;
use prost_types::Duration;

use crate::convert::rules::rules_to_wire;
use crate::v1;
use v1::hedge::Trigger;
use v1::window::Shape;

/// A member and its text, if it is set.
type Member = (&'static str, Option<String>);

/// What `rules` say of `field`; empty if nothing. They must say nothing else.
pub(super) fn value(field: Field, rules: &Rules) -> String {
    let Some(wire) = rules_to_wire(rules) else {
        return String::new();
    };
    let said = members(&wire).into_iter();
    let said = said.filter_map(|(name, text)| Some((name, text?)));
    let texts: Vec<_> = if is_group(field) {
        said.map(|(name, text)| format!("{name}: {text}")).collect()
    } else {
        said.map(|(_, text)| text).collect()
    };
    texts.join(", ")
}

/// Whether it has members of its own.
fn is_group(field: Field) -> bool {
    field.paths().len() > 1 || field == Field::RetryBudget
}

/// Everything that rules can say, in the order of the contract; each message by name, so that no
/// field of it is forgotten.
fn members(wire: &v1::Rules) -> Vec<Member> {
    let v1::Rules {
        timeout,
        retry,
        circuit_breaker,
        bulkhead,
        rate_limit,
        concurrency_limit,
        hedge,
        enabled,
    } = wire;
    let mut members = Vec::new();
    members.extend(timeout.iter().flat_map(of_timeout));
    members.extend(retry.iter().flat_map(of_retry));
    members.extend(circuit_breaker.iter().flat_map(of_breaker));
    members.extend(bulkhead.iter().flat_map(of_bulkhead));
    members.extend(rate_limit.iter().flat_map(of_rate_limit));
    members.extend(concurrency_limit.iter().flat_map(of_concurrency_limit));
    members.extend(hedge.iter().flat_map(of_hedge));
    members.push(("enabled", plain(*enabled)));
    members
}

fn of_timeout(wire: &v1::Timeout) -> [Member; 2] {
    let v1::Timeout { attempt, overall } = wire;
    [("attempt", time(*attempt)), ("overall", time(*overall))]
}

fn of_retry(wire: &v1::Retry) -> [Member; 8] {
    let v1::Retry {
        max_attempts,
        base_delay,
        max_delay,
        multiplier,
        jitter,
        budget,
        honor_retry_after,
    } = wire;
    let v1::RetryBudget {
        ratio,
        min_per_second,
    } = budget.unwrap_or_default();
    let jitter = v1::Jitter::try_from(*jitter).unwrap_or_default();
    let jitter = (jitter != v1::Jitter::Unspecified).then(|| jitter.as_str_name());
    [
        ("maxAttempts", plain(*max_attempts)),
        ("baseDelay", time(*base_delay)),
        ("maxDelay", time(*max_delay)),
        ("multiplier", plain(*multiplier)),
        ("jitter", plain(jitter)),
        ("ratio", plain(ratio)),
        ("minPerSecond", plain(min_per_second)),
        ("honorRetryAfter", plain(*honor_retry_after)),
    ]
}

fn of_breaker(wire: &v1::CircuitBreaker) -> [Member; 14] {
    let v1::CircuitBreaker {
        consecutive_failures,
        window,
        failure_ratio,
        minimum_calls,
        slow_call_ratio,
        slow_call_threshold,
        open_duration,
        open_multiplier,
        max_open_duration,
        open_jitter,
        half_open_permits,
        max_half_open,
        half_open_successes,
        recovery_ramp,
        mode: _,
    } = wire;
    let window = window.as_ref().and_then(|window| window.shape.as_ref());
    [
        ("consecutiveFailures", plain(*consecutive_failures)),
        ("window", window.map(of_window)),
        ("failureRatio", plain(*failure_ratio)),
        ("minimumCalls", plain(*minimum_calls)),
        ("slowCallRatio", plain(*slow_call_ratio)),
        ("slowCallThreshold", time(*slow_call_threshold)),
        ("openDuration", time(*open_duration)),
        ("openMultiplier", plain(*open_multiplier)),
        ("maxOpenDuration", time(*max_open_duration)),
        ("openJitter", plain(*open_jitter)),
        ("halfOpenPermits", plain(*half_open_permits)),
        ("halfOpenSuccesses", plain(*half_open_successes)),
        ("maxHalfOpen", time(*max_half_open)),
        ("recoveryRamp", time(*recovery_ramp)),
    ]
}

fn of_window(shape: &Shape) -> String {
    match shape {
        Shape::Span(span) => format!("{{span: {}}}", seconds(span)),
        Shape::Size(size) => format!("{{size: {size}}}"),
    }
}

fn of_bulkhead(wire: &v1::Bulkhead) -> [Member; 3] {
    let v1::Bulkhead {
        max_concurrent,
        max_queue,
        max_wait,
        mode: _,
    } = wire;
    [
        ("maxConcurrent", plain(*max_concurrent)),
        ("maxQueue", plain(*max_queue)),
        ("maxWait", time(*max_wait)),
    ]
}

fn of_rate_limit(wire: &v1::RateLimit) -> [Member; 4] {
    let v1::RateLimit {
        permits,
        per,
        burst,
        max_wait,
        mode: _,
    } = wire;
    [
        ("permits", plain(*permits)),
        ("per", time(*per)),
        ("burst", plain(*burst)),
        ("maxWait", time(*max_wait)),
    ]
}

fn of_concurrency_limit(wire: &v1::ConcurrencyLimit) -> [Member; 2] {
    let v1::ConcurrencyLimit { min, max, mode: _ } = wire;
    [("min", plain(*min)), ("max", plain(*max))]
}

fn of_hedge(wire: &v1::Hedge) -> [Member; 2] {
    let v1::Hedge {
        max_hedges,
        trigger,
    } = wire;
    let trigger = match trigger {
        None => ("delay", None),
        Some(Trigger::Delay(delay)) => ("delay", time(Some(*delay))),
        Some(Trigger::Percentile(share)) => ("percentile", plain(Some(share))),
    };
    [trigger, ("maxHedges", plain(*max_hedges))]
}

/// A number, a truth or a name as it is.
fn plain(value: Option<impl ToString>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn time(duration: Option<Duration>) -> Option<String> {
    duration.as_ref().map(seconds)
}

/// Seconds with as many digits as it takes. Rules hold no negative duration.
fn seconds(duration: &Duration) -> String {
    let nanos = format!("{:09}", duration.nanos);
    match nanos.trim_end_matches('0') {
        "" => format!("{}s", duration.seconds),
        fraction => format!("{}.{fraction}s", duration.seconds),
    }
}

#[cfg(test)]
mod tests;
