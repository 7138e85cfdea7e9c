//! What a process has counted.
//!
//! A report holds one count for each word of core's vocabulary; the tables here are written out, so
//! that a new outcome or reason does not compile until it has its place on the wire.

mod bytes;
mod figures;

use std::time::Duration;

use fusebox_core::key::OperationName;
use fusebox_core::outcome::{BreakerCounts, CircuitState, Forced, Outcome, Reason};
use fusebox_core::policy::Violations;
use fusebox_core::revision::Revision;
use fusebox_core::stats::{
    BUCKETS, Counts, ForcedReport, Histogram, OperationReport, Report, Totals, TransitionReport,
};

use super::text::name;
use super::time::{age_from_wire, duration_to_wire};
use crate::v1;

pub use figures::ReportFigures;

/// The report, or what is wrong with the first operation that is none.
pub fn report_from_wire(wire: &v1::StatsReport) -> Result<Report, Violations> {
    let operations = wire.operations.iter();
    Ok(Report {
        from_start: wire.number == 1,
        span: age_from_wire(wire.span.as_ref()),
        operations: operations
            .map(operation_from_wire)
            .collect::<Result<_, _>>()?,
    })
}

/// The report's message; `number` counts the process's reports from 1, `span` is the time since the
/// one before.
pub fn report_to_wire(
    number: u64,
    span: Duration,
    operations: &[OperationReport],
) -> v1::StatsReport {
    v1::StatsReport {
        number,
        span: Some(duration_to_wire(span)),
        operations: operations.iter().map(operation_to_wire).collect(),
    }
}

/// What was counted of one operation, or everything that is wrong with it.
pub fn operation_from_wire(wire: &v1::OperationStats) -> Result<OperationReport, Violations> {
    let mut found = Violations::none();
    let operation = name(
        &mut found,
        "stats_report.operations.operation",
        &wire.operation,
        OperationName::new,
    );
    let totals = totals_from_wire(&mut found, wire);
    let state = state(
        &mut found,
        "stats_report.operations.circuit_state",
        wire.circuit_state,
    );
    match (operation, totals, state) {
        (Some(operation), Some(totals), Some(state)) => found.into_result(OperationReport {
            operation,
            totals,
            state,
            state_age: age_from_wire(wire.circuit_state_age.as_ref()),
            last_transition: wire.last_transition,
            forced: forced_of(wire.forced_state, wire.override_id),
            shadow: state_from_wire(wire.shadow_state),
            breaker: breaker_from_wire(wire.breaker.as_ref()),
        }),
        _ => Err(found),
    }
}

/// What was counted of one operation, as a message.
pub fn operation_to_wire(report: &OperationReport) -> v1::OperationStats {
    v1::OperationStats {
        operation: report.operation.to_string(),
        calls: Some(calls_to_wire(&report.totals)),
        refusals: Some(refusals_to_wire(|reason| report.totals.refusals(reason))),
        would_refuse: Some(refusals_to_wire(|reason| {
            report.totals.would_refuse(reason)
        })),
        retries: report.totals.retries(),
        hedges: report.totals.hedges(),
        latency: Some(histogram_to_wire(report.totals.latency())),
        circuit_state: state_to_wire(report.state).into(),
        circuit_state_age: Some(duration_to_wire(report.state_age)),
        last_transition: report.last_transition,
        forced_state: optional_state_to_wire(report.forced.map(|it| it.forced.as_state())),
        override_id: report.forced.map_or(0, |it| it.by.0),
        shadow_state: optional_state_to_wire(report.shadow),
        breaker: Some(breaker_to_wire(&report.breaker)),
    }
}

/// A state that no override can bring about is none.
fn forced_of(state: i32, by: u64) -> Option<ForcedReport> {
    let forced = match state_from_wire(state)? {
        CircuitState::Open => Forced::Open,
        CircuitState::Closed => Forced::Closed,
        CircuitState::HalfOpen => return None,
    };
    let by = Revision(by);
    Some(ForcedReport { forced, by })
}

fn breaker_from_wire(wire: Option<&v1::BreakerCounts>) -> BreakerCounts {
    let wire = wire.copied().unwrap_or_default();
    BreakerCounts {
        consecutive_failures: wire.consecutive_failures,
        window_calls: wire.window_calls,
        window_failures: wire.window_failures,
        window_slow: wire.window_slow,
    }
}

/// What a breaker judges by, as a message.
pub fn breaker_to_wire(counts: &BreakerCounts) -> v1::BreakerCounts {
    v1::BreakerCounts {
        consecutive_failures: counts.consecutive_failures,
        window_calls: counts.window_calls,
        window_failures: counts.window_failures,
        window_slow: counts.window_slow,
    }
}

/// The state's word on the wire, or that there is none.
pub fn optional_state_to_wire(state: Option<CircuitState>) -> i32 {
    state.map_or(0, |state| state_to_wire(state).into())
}

/// A breaker's change of state, or everything that is wrong with it.
pub fn transition_from_wire(wire: &v1::Transition) -> Result<TransitionReport, Violations> {
    let mut found = Violations::none();
    let field = "transition.operation";
    let operation = name(&mut found, field, &wire.operation, OperationName::new);
    let from = state(&mut found, "transition.from", wire.from);
    let to = state(&mut found, "transition.to", wire.to);
    if wire.number == 0 {
        found.add("transition.number", 0, "must be at least 1");
    }
    match (operation, from, to) {
        (Some(operation), Some(from), Some(to)) => found.into_result(TransitionReport {
            operation,
            number: wire.number,
            from,
            to,
            cause: wire.cause.clone(),
            age: age_from_wire(wire.age.as_ref()),
            by: Some(Revision(wire.override_id)).filter(|&by| by != Revision::ZERO),
        }),
        _ => Err(found),
    }
}

/// A breaker's change of state, as a message.
pub fn transition_to_wire(transition: &TransitionReport) -> v1::Transition {
    v1::Transition {
        operation: transition.operation.to_string(),
        number: transition.number,
        from: state_to_wire(transition.from).into(),
        to: state_to_wire(transition.to).into(),
        cause: transition.cause.clone(),
        age: Some(duration_to_wire(transition.age)),
        override_id: transition.by.unwrap_or_default().0,
    }
}

/// The state; `None` if it is unspecified or unknown here.
pub fn state_from_wire(wire: i32) -> Option<CircuitState> {
    match v1::CircuitState::try_from(wire).ok()? {
        v1::CircuitState::Unspecified => None,
        v1::CircuitState::Closed => Some(CircuitState::Closed),
        v1::CircuitState::Open => Some(CircuitState::Open),
        v1::CircuitState::HalfOpen => Some(CircuitState::HalfOpen),
    }
}

/// The state's word on the wire.
pub fn state_to_wire(state: CircuitState) -> v1::CircuitState {
    match state {
        CircuitState::Closed => v1::CircuitState::Closed,
        CircuitState::Open => v1::CircuitState::Open,
        CircuitState::HalfOpen => v1::CircuitState::HalfOpen,
    }
}

fn state(found: &mut Violations, field: &str, wire: i32) -> Option<CircuitState> {
    let state = state_from_wire(wire);
    if state.is_none() {
        found.add(field, wire, "must be a known state");
    }
    state
}

fn totals_from_wire(found: &mut Violations, wire: &v1::OperationStats) -> Option<Totals> {
    let calls = wire.calls.unwrap_or_default();
    let refusals = wire.refusals.unwrap_or_default();
    let would_refuse = wire.would_refuse.unwrap_or_default();
    let counts = Counts {
        calls: Outcome::ALL.map(|outcome| calls_of(&calls, outcome)),
        refusals: Reason::ALL.map(|reason| refusals_of(&refusals, reason)),
        would_refuse: Reason::ALL.map(|reason| refusals_of(&would_refuse, reason)),
        retries: wire.retries,
        hedges: wire.hedges,
    };
    let totals = Totals::new(counts, histogram_from_wire(found, wire.latency.as_ref())?);
    found.keep("stats_report.operations.calls", "impossible", totals)
}

fn calls_of(wire: &v1::CallCounts, outcome: Outcome) -> u64 {
    match outcome {
        Outcome::Success => wire.success,
        Outcome::Failure => wire.failure,
        Outcome::Timeout => wire.timeout,
        Outcome::Ignored => wire.ignored,
        Outcome::Cancelled => wire.cancelled,
        Outcome::Late => wire.late,
    }
}

/// Calls by how they ended.
pub fn calls_to_wire(totals: &Totals) -> v1::CallCounts {
    v1::CallCounts {
        success: totals.calls(Outcome::Success),
        failure: totals.calls(Outcome::Failure),
        timeout: totals.calls(Outcome::Timeout),
        ignored: totals.calls(Outcome::Ignored),
        cancelled: totals.calls(Outcome::Cancelled),
        late: totals.calls(Outcome::Late),
    }
}

fn refusals_of(wire: &v1::RefusalCounts, reason: Reason) -> u64 {
    match reason {
        Reason::CircuitOpen => wire.circuit_open,
        Reason::ForcedOpen => wire.forced_open,
        Reason::Recovering => wire.recovering,
        Reason::RateLimited => wire.rate_limited,
        Reason::BulkheadFull => wire.bulkhead_full,
        Reason::ConcurrencyLimited => wire.concurrency_limited,
    }
}

/// Refusals by reason.
pub fn refusals_to_wire(count: impl Fn(Reason) -> u64) -> v1::RefusalCounts {
    v1::RefusalCounts {
        circuit_open: count(Reason::CircuitOpen),
        forced_open: count(Reason::ForcedOpen),
        recovering: count(Reason::Recovering),
        rate_limited: count(Reason::RateLimited),
        bulkhead_full: count(Reason::BulkheadFull),
        concurrency_limited: count(Reason::ConcurrencyLimited),
    }
}

fn histogram_from_wire(
    found: &mut Violations,
    wire: Option<&v1::LatencyHistogram>,
) -> Option<Histogram> {
    let Some(wire) = wire else {
        return Some(Histogram::default());
    };
    let (buckets, counts) = (wire.bucket_deltas.len(), wire.counts.len());
    if buckets != counts || buckets > BUCKETS {
        let value = format!("{buckets} buckets, {counts} counts");
        let bound = format!("must be as many buckets as counts, at most {BUCKETS}");
        found.add("stats_report.operations.latency", value, bound);
        return None;
    }
    // A sum beyond the last bucket stays beyond it and is refused for that.
    let buckets = wire.bucket_deltas.iter().scan(0_u32, |bucket, &delta| {
        *bucket = bucket.saturating_add(delta);
        Some(*bucket)
    });
    let histogram = Histogram::from_pairs(buckets.zip(wire.counts.iter().copied()));
    found.keep(
        "stats_report.operations.latency",
        format!("{counts} buckets"),
        histogram,
    )
}

fn histogram_to_wire(histogram: &Histogram) -> v1::LatencyHistogram {
    let mut before = 0;
    let deltas = histogram.iter().map(|(bucket, _)| {
        let delta = bucket - before;
        before = bucket;
        delta
    });
    v1::LatencyHistogram {
        bucket_deltas: deltas.collect(),
        counts: histogram.iter().map(|(_, count)| count).collect(),
    }
}

#[cfg(test)]
mod tests;
