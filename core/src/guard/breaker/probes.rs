//! The half-open state's account: how many probes are out, and what the others showed.

use super::{Observation, Settings};
use crate::outcome::{Cause, CircuitState};
use crate::time::Instant;

/// The probes of one half-open state.
#[derive(Debug, Default)]
pub(super) struct Probes {
    in_flight: u32,
    /// When the last one was let out.
    let_out: Instant,
    good: u32,
    bad: u32,
}

impl Probes {
    /// Whether one more may be let out.
    pub(super) fn leave_room(&self, settings: &Settings) -> bool {
        self.in_flight + self.settled() < settings.half_open_permits
    }

    fn settled(&self) -> u32 {
        self.good + self.bad
    }

    /// Lets one more out, if it may.
    pub(super) fn take(&mut self, settings: &Settings, now: Instant) -> bool {
        let room = self.leave_room(settings);
        if room {
            self.in_flight += 1;
            self.let_out = now;
        }
        room
    }

    /// Since when, as of `now`, the probes that are out have been out for too long.
    pub(super) fn hung_since(&self, settings: &Settings, now: Instant) -> Option<Instant> {
        let bound = self.let_out + settings.max_half_open;
        (self.in_flight > 0 && now >= bound).then_some(bound)
    }

    /// Takes one back.
    pub(super) fn settle(&mut self, observation: Observation) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match observation {
            Observation::Good => self.good += 1,
            Observation::Bad { .. } => self.bad += 1,
            Observation::Neutral => {}
        }
    }

    /// The closed state's own thresholds decide: a run of failures is broken by one failed probe, a
    /// ratio is taken once all permits have been settled.
    pub(super) fn verdict(&self, settings: &Settings) -> Option<(CircuitState, Cause)> {
        let failed = (CircuitState::Open, Cause::ProbeFailed);
        if settings.consecutive_failures.is_some() && self.bad > 0 {
            return Some(failed);
        }
        if self.settled() < settings.half_open_permits {
            return None;
        }
        let (bad, total) = (u64::from(self.bad), u64::from(self.settled()));
        match &settings.ratio {
            Some(ratio) if ratio.failure_ratio.is_reached(bad, total) => Some(failed),
            _ => Some((CircuitState::Closed, Cause::ProbesSucceeded)),
        }
    }
}
