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
    /// Of both.
    slow: u32,
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
            Observation::Good { slow } => {
                self.good += 1;
                self.slow += u32::from(slow);
            }
            Observation::Bad { slow, .. } => {
                self.bad += 1;
                self.slow += u32::from(slow);
            }
            Observation::Neutral => {}
        }
    }

    /// What the probes so far decide. `half_open_successes` has the first word: closed once that
    /// many succeeded, open once they no longer can. Without it the closed state's own thresholds
    /// decide: a run of failures is broken by one failed probe, a ratio is taken once all permits
    /// have been settled.
    pub(super) fn verdict(&self, settings: &Settings) -> Option<(CircuitState, Cause)> {
        let failed = Some((CircuitState::Open, Cause::ProbeFailed));
        let succeeded = Some((CircuitState::Closed, Cause::ProbesSucceeded));
        if let Some(wanted) = settings.half_open_successes {
            let lost = self.bad > settings.half_open_permits.saturating_sub(wanted);
            return if self.good >= wanted {
                succeeded
            } else if lost {
                failed
            } else {
                None
            };
        }
        if settings.consecutive_failures.is_some() && self.bad > 0 {
            return failed;
        }
        if self.settled() < settings.half_open_permits {
            return None;
        }
        let total = u64::from(self.settled());
        let reached = settings.ratio.as_ref().is_some_and(|ratio| {
            let reaches = |ratio: Option<crate::policy::ratio::Ratio>, part: u32| {
                ratio.is_some_and(|ratio| ratio.is_reached(part.into(), total))
            };
            reaches(ratio.failure, self.bad) || reaches(ratio.slow, self.slow)
        });
        if reached { failed } else { succeeded }
    }
}
