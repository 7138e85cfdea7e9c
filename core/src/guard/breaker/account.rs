//! What a breaker remembers: of its present state, and across states.

use super::counted::LastCalls;
use super::forced::Overrides;
use super::probes::Probes;
use super::ramp::Ramp;
use super::settings::Settings;
use super::window::Troubles;
use crate::random::Random;
use crate::time::{Instant, Span};

/// What stands under the breaker's mutex.
#[derive(Debug)]
pub(super) struct Inner {
    /// The rules in force, by which everything is judged.
    pub(super) present: Settings,
    /// What the present state has seen.
    pub(super) account: Account,
    /// Open states in a row, with no closed one between.
    pub(super) openings: u32,
    /// The present opening's jitter.
    pub(super) draw: u64,
    pub(super) overrides: Overrides,
    /// The override that decides, as far as anybody was told.
    pub(super) decides: Option<u64>,
    pub(super) random: Random,
}

/// Starts at zero with each state.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Failures in a row.
    pub(super) run: u32,
    pub(super) troubles: Troubles,
    pub(super) last_calls: LastCalls,
    pub(super) probes: Probes,
    pub(super) ramp: Ramp,
}

impl Inner {
    pub(super) fn new(settings: &Settings, seed: u64) -> Self {
        Self {
            present: *settings,
            account: Account::default(),
            openings: 0,
            draw: 0,
            overrides: Overrides::default(),
            decides: None,
            random: Random::seeded(seed),
        }
    }

    /// Lets a probe out, if one more may.
    pub(super) fn let_probe_out(&mut self, now: Instant) -> bool {
        self.account.probes.take(&self.present, now)
    }

    /// Since when, as of `now`, the probes that are out have been out for too long.
    pub(super) fn hung_since(&self, now: Instant) -> Option<Instant> {
        self.account.probes.hung_since(&self.present, now)
    }

    /// How long the open state after a hung half-open one lasts, at most.
    pub(super) fn next_opening(&self) -> Span {
        let opening = self.openings.saturating_add(1);
        self.present.opening.length(opening, 0)
    }
}
