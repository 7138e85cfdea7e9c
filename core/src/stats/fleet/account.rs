//! What the fleet knows of one operation in one process: there are very many of these.
//!
//! An account keeps the last absolute totals, because the next report is told apart from them; the
//! breaker's state, with the number of the transition that led there; and a short history of its
//! own, so that one sick instance can be told from a sick dependency.
//!
//! ```text
//!   report           no totals yet             totals known
//!   ------------     ----------------------    ---------------------------------------
//!   starts at zero   Counted(all of it)        as below
//!   above            Baseline                  Counted(the difference)
//!   equal            Baseline                  Repeated
//!   below anywhere   -                         Backwards: changes nothing at all
//! ```

use std::time::Duration;

use crate::outcome::CircuitState;
use crate::stats::Totals;
use crate::time::Instant;

use super::instance::Instance;
use super::report::{OperationReport, TransitionReport};
use super::ring::Ring;
use super::tally::Verdicts;
use super::view::{OperationInstanceView, Ratio};

/// Ten seconds in spans of two.
const SPANS: usize = 5;
const SPAN_MILLIS: u64 = 2000;

#[derive(Default)]
pub(super) struct Account {
    /// What was reported last; absent before the first report.
    known: Option<Totals>,
    verdicts: Ring<Verdicts, SPANS, SPAN_MILLIS>,
    state: CircuitState,
    state_since: Instant,
    /// The transition that led to `state`, as reports and transitions tell.
    state_number: u64,
    /// The last transition that came as one.
    transition: u64,
    opened: Instant,
    /// When a transition last told of it.
    told: Option<Instant>,
}

/// What a report meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Counted(Totals),
    Baseline,
    Repeated,
    Backwards,
}

impl Account {
    /// An account opened at `now`, by whatever message.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state_since: now,
            opened: now,
            ..Self::default()
        }
    }

    /// Takes over what a report says, unless it is an older one.
    pub(super) fn absorb(
        &mut self,
        report: OperationReport,
        starts_at_zero: bool,
        now: Instant,
    ) -> Step {
        let step = self.step(&report.totals, starts_at_zero);
        if step != Step::Backwards {
            self.known = Some(report.totals);
            self.take_state(report.last_transition, report.state, now - report.state_age);
        }
        step
    }

    fn step(&self, totals: &Totals, starts_at_zero: bool) -> Step {
        match &self.known {
            None if starts_at_zero => Step::Counted(totals.clone()),
            None => Step::Baseline,
            Some(known) => match totals.since(known) {
                None => Step::Backwards,
                Some(difference) if difference.is_empty() => Step::Repeated,
                Some(difference) => Step::Counted(difference),
            },
        }
    }

    /// Adds to the instance's own ratio.
    pub(super) fn count(&mut self, difference: &Totals, now: Instant) {
        if let Some(slot) = self.verdicts.slot(now) {
            slot.count(difference);
        }
    }

    /// Takes over a transition; whether it was news.
    pub(super) fn transit(&mut self, transition: &TransitionReport, now: Instant) -> bool {
        if transition.number <= self.transition {
            return false;
        }
        self.transition = transition.number;
        self.told = self.told.max(Some(now));
        self.take_state(transition.number, transition.to, now - transition.age);
        true
    }

    /// A report drawn up before a transition may come after it: the higher number knows better.
    fn take_state(&mut self, number: u64, state: CircuitState, since: Instant) {
        if number >= self.state_number {
            self.state_number = number;
            self.state = state;
            self.state_since = since;
        }
    }

    /// The state, if `instance` is connected and was heard of lately enough.
    pub(super) fn live_state(
        &self,
        instance: &Instance,
        stale_after: Duration,
        now: Instant,
    ) -> Option<CircuitState> {
        let age = self.age(instance, now)?;
        (age <= stale_after).then_some(self.state)
    }

    /// Since it was last heard of. A report that leaves it out says that it has not changed.
    pub(super) fn age(&self, instance: &Instance, now: Instant) -> Option<Duration> {
        let reported = instance
            .reported()
            .filter(|&reported| reported >= self.opened);
        reported.max(self.told).map(|heard| now.since(heard))
    }

    pub(super) fn view(
        &self,
        instance: &Instance,
        stale_after: Duration,
        now: Instant,
    ) -> OperationInstanceView {
        let live = self.live_state(instance, stale_after, now);
        OperationInstanceView {
            instance: instance.key.instance.clone(),
            epoch: instance.key.epoch,
            connected: instance.is_connected(),
            stale: instance.is_connected() && live.is_none(),
            state: self.state,
            state_age: now.since(self.state_since),
            failure: self.failure(now),
            age: self.age(instance, now),
        }
    }

    fn failure(&self, now: Instant) -> Ratio {
        Verdicts::ratio(self.verdicts.last(SPANS as u64, now))
    }
}
