//! A bench for breakers, and what is claimed of them, a file for each subject.

mod closed;
mod half_open;
mod model;
mod open;
mod overrides;
mod recovery;
mod reload;
mod windows;

use std::time::Duration;

use super::*;
use crate::guard::fixtures::effective;
use crate::outcome::{Forced, Transition};
use crate::policy::ratio::{Multiplier, Ratio, Share};
use crate::policy::rules::{HalfOpen, RatioTrip, Rules, Trip, Window};

const GOOD: Observation = Observation::Good { slow: false };
const SLOW: Observation = Observation::Good { slow: true };
const BAD: Observation = Observation::Bad {
    slow: false,
    in_run: true,
};
const LANE: Lane = Lane::SHARED;

/// A breaker on a clock that only the test moves.
struct Bench {
    breaker: Breaker,
    settings: Settings,
    now: Instant,
    transitions: Vec<Transition>,
}

impl Bench {
    fn new(rules: &Rules) -> Self {
        Self::seeded(rules, 0)
    }

    fn seeded(rules: &Rules, seed: u64) -> Self {
        let settings = compile(rules, None);
        Self {
            breaker: Breaker::new(&settings, seed, Instant::ORIGIN),
            settings,
            now: Instant::ORIGIN,
            transitions: Vec::new(),
        }
    }

    fn reload(&mut self, rules: &Rules) {
        self.settings = compile(rules, Some(&self.settings));
        let changes = self.breaker.reload(&self.settings, self.now);
        self.transitions.extend(changes.iter());
    }

    fn reset(&mut self) {
        let changes = self.breaker.reset(self.now);
        self.transitions.extend(changes.iter());
    }

    fn force(&mut self, overrides: &[Override]) {
        let changes = self.breaker.force(overrides, self.now);
        self.transitions.extend(changes.iter());
    }

    fn wait_millis(&mut self, millis: u64) -> &mut Self {
        self.now = self.now + Duration::from_millis(millis);
        self
    }

    fn admit(&mut self) -> Result<Permit, Rejection> {
        let step = self.breaker.admit(self.now);
        self.transitions.extend(step.changes.iter());
        step.answer
    }

    fn refused(&mut self) -> Rejection {
        self.admit().unwrap_err()
    }

    fn settle(&mut self, permit: Permit, observation: Observation) {
        self.settle_as(&self.settings.clone(), permit, observation);
    }

    /// By a caller who knows `settings`, which may be older than those in force.
    fn settle_as(&mut self, settings: &Settings, permit: Permit, observation: Observation) {
        let settled = self
            .breaker
            .settle(permit, settings.trace(), observation, self.now, LANE);
        self.transitions.extend(settled.iter());
    }

    /// One call each: `S` success, `F` failure, `I` ignored; slow ones are small.
    fn calls(&mut self, script: &str) -> &mut Self {
        for letter in script.chars().filter(|c| !c.is_whitespace()) {
            let permit = self
                .admit()
                .unwrap_or_else(|r| panic!("{letter} refused: {r:?}"));
            let observation = match letter {
                'S' => GOOD,
                's' => SLOW,
                'F' => BAD,
                'f' => Observation::Bad {
                    slow: true,
                    in_run: true,
                },
                _ => Observation::Neutral,
            };
            self.settle(permit, observation);
        }
        self
    }

    fn view(&self) -> StateView {
        self.breaker.state_at(self.now)
    }

    fn state(&self) -> CircuitState {
        self.view().state
    }

    fn causes(&self) -> Vec<Cause> {
        self.transitions.iter().map(|change| change.cause).collect()
    }

    /// What each event led to.
    fn events(&self) -> Vec<CircuitState> {
        self.transitions.iter().map(|change| change.to).collect()
    }
}

fn compile(rules: &Rules, previous: Option<&Settings>) -> Settings {
    Settings::compile(&effective(std::slice::from_ref(rules)).breaker, previous)
}

fn consecutive(failures: u32) -> Rules {
    let mut rules = Rules::default();
    rules.circuit_breaker.trip = Some(Trip {
        consecutive_failures: Some(failures),
        ..Trip::default()
    });
    rules.circuit_breaker.open_duration = Some(Duration::from_secs(5));
    rules
}

/// Opens at a share of failures, and at a share of slow calls.
fn ratios(window: Window, failure: f64, slow: Option<f64>, minimum_calls: u32) -> Rules {
    let mut rules = consecutive(1);
    rules.circuit_breaker.trip = Some(Trip {
        consecutive_failures: None,
        slow_call_threshold: slow.map(|_| Duration::from_secs(4)),
        ratio: Some(RatioTrip {
            window,
            failure_ratio: Some(Ratio::new(failure).unwrap()),
            slow_call_ratio: slow.map(|slow| Ratio::new(slow).unwrap()),
            minimum_calls,
        }),
    });
    rules
}

fn ratio(span_secs: u64, failure_ratio: f64, minimum_calls: u32) -> Rules {
    let window = Window::Span(Duration::from_secs(span_secs));
    ratios(window, failure_ratio, None, minimum_calls)
}

fn counted(size: u32, failure_ratio: f64, minimum_calls: u32) -> Rules {
    ratios(Window::Calls(size), failure_ratio, None, minimum_calls)
}

fn probing(rules: Rules, permits: u32) -> Rules {
    succeeding(rules, permits, None)
}

fn succeeding(mut rules: Rules, permits: u32, successes: Option<u32>) -> Rules {
    rules.circuit_breaker.half_open = Some(HalfOpen {
        permits,
        successes,
        max: None,
    });
    rules
}
