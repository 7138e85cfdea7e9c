//! What a process tells of its operations: absolute totals, of those that changed.

use std::collections::HashMap;
use std::sync::Arc;

use fusebox_core::key::OperationName;
use fusebox_core::outcome::CircuitState;
use fusebox_core::revision::Revision;
use fusebox_core::stats::{ForcedReport, OperationReport, Totals};
use fusebox_core::time::Instant;
use fusebox_proto::convert::statistics::report_to_wire;
use fusebox_proto::v1;

use crate::clock;
use crate::operation::Inner;

/// What was told last, so that only news is told.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    number: u64,
    /// When the last one was drawn up.
    last: Instant,
    told: HashMap<OperationName, Told>,
}

#[derive(Debug, PartialEq, Eq)]
struct Told {
    totals: Totals,
    state: CircuitState,
    last_transition: u64,
    forced: Option<ForcedReport>,
    shadow: Option<CircuitState>,
}

impl Reports {
    /// A new session's server may know nothing: its first report tells of every operation.
    pub(super) fn start_over(&mut self) {
        self.told.clear();
    }

    /// The next report. It is due even when there is no news: saying nothing of an operation says
    /// that it is unchanged.
    pub(super) fn next(&mut self, operations: &[Arc<Inner>]) -> v1::StatsReport {
        self.number += 1;
        let news = operations.iter().filter_map(|inner| self.news(inner));
        let news: Vec<_> = news.collect();
        let now = clock::now();
        let span = now.since(std::mem::replace(&mut self.last, now));
        report_to_wire(self.number, span, &news)
    }

    fn news(&mut self, inner: &Inner) -> Option<OperationReport> {
        let now = clock::now();
        // Read before the state, so that a transition in between makes the report older than the
        // state it tells, never newer.
        let last_transition = inner.last_transition();
        let view = inner.state();
        let totals = inner.recorder.totals();
        let current = Told {
            totals,
            state: view.state,
            last_transition,
            forced: view.forced.map(|known| ForcedReport {
                forced: known.forced,
                by: Revision(known.id),
            }),
            shadow: inner.shadow_state(now),
        };
        if self.told.get(&inner.id) == Some(&current) {
            return None;
        }
        let report = OperationReport {
            operation: inner.id.clone(),
            totals: current.totals.clone(),
            state: view.state,
            state_age: now.since(view.since),
            last_transition,
            forced: current.forced,
            shadow: current.shadow,
            breaker: inner.guard.breaker.counts_at(now),
        };
        self.told.insert(inner.id.clone(), current);
        Some(report)
    }
}
