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

use crate::key::OperationName;
use crate::outcome::{BreakerCounts, CircuitState, Forced};
use crate::revision::Revision;
use crate::stats::Counts;
use crate::stats::histogram::Bin;
use crate::time::Instant;

use super::figures::{OperationFigures, Sheet};
use super::instance::Instance;
use super::operation::OperationNo;
use super::report::{ForcedReport, TransitionReport};
use super::ring::Ring;
use super::tally::Verdicts;
use super::view::{OperationInstanceView, Ratio};

/// Ten seconds in spans of two.
const SPANS: usize = 5;
const SPAN_MILLIS: u64 = 2000;

pub(super) struct Account {
    /// What its process calls the operation.
    pub(super) name: OperationName,
    /// Where it is added up: under its own name, or where all go that find no room.
    pub(super) operation: OperationNo,
    /// Whether anything has been reported.
    known: bool,
    /// What was reported last.
    counts: Counts,
    /// The latencies of that.
    latency: Vec<Bin>,
    verdicts: Ring<Verdicts, SPANS, SPAN_MILLIS>,
    state: CircuitState,
    state_since: Instant,
    /// The transition that led to `state`, as reports and transitions tell.
    state_number: u64,
    forced: Option<ForcedReport>,
    shadow: Option<CircuitState>,
    breaker: BreakerCounts,
    heard: Heard,
    opened: Instant,
    /// When a transition last told of it.
    told: Option<Instant>,
}

/// State, forced state, state in SHADOW.
pub(super) type Face = (CircuitState, Option<ForcedReport>, Option<CircuitState>);

/// What a breaker does, of its own accord and otherwise.
#[derive(Clone, Copy)]
pub(super) struct Standing {
    pub(super) state: CircuitState,
    pub(super) forced: Option<ForcedReport>,
    pub(super) shadow: Option<CircuitState>,
}

impl Standing {
    /// What callers meet.
    pub(super) fn acting(&self) -> CircuitState {
        self.forced
            .map_or(self.state, |known| known.forced.as_state())
    }
}

/// Which of a breaker's transitions have come, in whatever order: the highest number, and which of
/// the 63 below it. What is older than these counts as having come.
#[derive(Clone, Copy, Default)]
struct Heard {
    highest: u64,
    /// Bit `n`: the highest less `n`.
    below: u64,
}

impl Heard {
    /// Whether it is news.
    fn note(&mut self, number: u64) -> bool {
        if number > self.highest {
            let shift = u32::try_from(number - self.highest).unwrap_or(u32::MAX);
            self.below = self.below.checked_shl(shift).unwrap_or(0) | 1;
            self.highest = number;
            return true;
        }
        let bit = u32::try_from(self.highest - number)
            .ok()
            .and_then(|back| 1_u64.checked_shl(back));
        let news = bit.is_some_and(|bit| self.below & bit == 0);
        self.below |= bit.unwrap_or(0);
        news
    }
}

/// What a report meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So much more; the latencies of that are on the sheet.
    Counted(Counts),
    Baseline,
    Repeated,
    Backwards,
}

impl Account {
    /// An account opened at `now`, by whatever message.
    pub(super) fn new(name: OperationName, operation: OperationNo, now: Instant) -> Self {
        Self {
            name,
            operation,
            known: false,
            counts: Counts::default(),
            latency: Vec::new(),
            verdicts: Ring::default(),
            state: CircuitState::default(),
            state_since: now,
            state_number: 0,
            forced: None,
            shadow: None,
            breaker: BreakerCounts::default(),
            heard: Heard::default(),
            opened: now,
            told: None,
        }
    }

    /// Takes over what a report says, unless it is an older one; its latencies are on the sheet.
    #[inline]
    pub(super) fn absorb<L>(
        &mut self,
        figures: &OperationFigures<'_, L>,
        sheet: &mut Sheet,
        starts_at_zero: bool,
        now: Instant,
    ) -> Step {
        let step = self.step(&figures.counts, sheet, starts_at_zero);
        if step == Step::Backwards {
            return step;
        }
        if figures.last_transition >= self.state_number {
            self.forced = figures.forced;
            self.shadow = figures.shadow;
            self.breaker = figures.breaker;
        }
        if step != Step::Repeated {
            self.known = true;
            self.counts = figures.counts;
            sheet.keep(&mut self.latency);
        }
        let since = now - figures.state_age;
        self.take_state(figures.last_transition, figures.state, since);
        step
    }

    #[inline]
    fn step(&self, counts: &Counts, sheet: &mut Sheet, starts_at_zero: bool) -> Step {
        // Nothing was known, and nothing is above that.
        let (Some(more), true) = (counts.since(&self.counts), sheet.subtract(&self.latency)) else {
            return Step::Backwards;
        };
        match self.known {
            false if starts_at_zero => Step::Counted(more),
            false => Step::Baseline,
            true if more == Counts::default() && sheet.more().is_empty() => Step::Repeated,
            true => Step::Counted(more),
        }
    }

    /// Adds to the instance's own ratio.
    #[inline]
    pub(super) fn count(&mut self, difference: &Counts, now: Instant) {
        if let Some(slot) = self.verdicts.slot(now) {
            slot.count(difference);
        }
    }

    /// Takes over a transition; whether it was news.
    pub(super) fn transit(&mut self, transition: &TransitionReport, now: Instant) -> bool {
        if !self.heard.note(transition.number) {
            return false;
        }
        self.told = self.told.max(Some(now));
        match transition.by {
            None => self.take_state(transition.number, transition.to, now - transition.age),
            Some(by) if transition.number >= self.state_number => {
                self.state_number = transition.number;
                self.take_force(by, transition.to);
            }
            Some(_) => {}
        }
        true
    }

    /// An override that is known has ended by what is told of it, another one has begun. What it is
    /// exactly the next report says.
    fn take_force(&mut self, by: Revision, to: CircuitState) {
        let ended = self.forced.is_some_and(|known| known.by == by);
        let forced = match to {
            CircuitState::Open => Some(Forced::Open),
            CircuitState::Closed => Some(Forced::Closed),
            CircuitState::HalfOpen => None,
        };
        self.forced = forced
            .filter(|_| !ended)
            .map(|forced| ForcedReport { forced, by });
    }

    /// A report drawn up before a transition may come after it: the higher number knows better.
    fn take_state(&mut self, number: u64, state: CircuitState, since: Instant) {
        if number >= self.state_number {
            self.state_number = number;
            self.state = state;
            self.state_since = since;
        }
    }

    /// What its breaker does, if it was heard of lately enough.
    pub(super) fn standing(&self, instance: &Instance, now: Instant) -> Option<Standing> {
        let age = self.age(instance, now)?;
        (age <= instance.patience()).then_some(Standing {
            state: self.state,
            forced: self.forced,
            shadow: self.shadow,
        })
    }

    /// What its breaker judges by.
    pub(super) fn breaker(&self) -> BreakerCounts {
        self.breaker
    }

    /// For telling whether anybody has to be told: all that a watcher is to know at once.
    pub(super) fn face(&self) -> Face {
        (self.state, self.forced, self.shadow)
    }

    /// Since it was last heard of. A report that leaves it out says that it has not changed.
    pub(super) fn age(&self, instance: &Instance, now: Instant) -> Option<Duration> {
        let reported = instance
            .reported()
            .filter(|&reported| reported >= self.opened);
        reported.max(self.told).map(|heard| now.since(heard))
    }

    pub(super) fn view(&self, instance: &Instance, now: Instant) -> OperationInstanceView {
        let live = self.standing(instance, now);
        OperationInstanceView {
            instance: instance.key.instance.clone(),
            epoch: instance.key.epoch,
            version: instance.facts().version.clone(),
            zone: instance.facts().zone.clone(),
            connected: instance.is_connected(),
            stale: instance.is_connected() && live.is_none(),
            state: self.state,
            state_age: now.since(self.state_since),
            forced: self.forced,
            shadow: self.shadow,
            breaker: self.breaker,
            failure: self.failure(now),
            calls: self.counts.all_calls(),
            refusals: self.counts.all_refusals(),
            age: self.age(instance, now),
        }
    }

    fn failure(&self, now: Instant) -> Ratio {
        Verdicts::ratio(self.verdicts.last(SPANS as u64, now))
    }
}
