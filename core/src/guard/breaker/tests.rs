use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::guard::fixtures::effective;
use crate::outcome::Transition;
use crate::policy::ratio::Ratio;
use crate::policy::rules::{HalfOpen, RatioTrip, Rules, Trip, Window};

/// A breaker on a clock that only the test moves.
struct Bench {
    breaker: Breaker,
    settings: Settings,
    now: Instant,
    transitions: Vec<Transition>,
}

const GOOD: Observation = Observation::Good { slow: false };
const BAD: Observation = Observation::Bad {
    slow: false,
    in_run: true,
};
const LANE: Lane = Lane::SHARED;

impl Bench {
    fn new(rules: &Rules) -> Self {
        let settings = compile(rules, None);
        Self {
            breaker: Breaker::new(&settings, 0, Instant::ORIGIN),
            settings,
            now: Instant::ORIGIN,
            transitions: Vec::new(),
        }
    }

    fn reload(&mut self, rules: &Rules) {
        self.settings = compile(rules, Some(&self.settings));
        let reloaded = self.breaker.reload(&self.settings, self.now);
        self.transitions.extend(reloaded.iter());
    }

    fn wait_millis(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
    }

    fn admit(&mut self) -> Result<Permit, Rejection> {
        let step = self.breaker.admit(&self.settings, self.now);
        self.transitions.extend(step.changes.iter());
        step.answer
    }

    fn settle(&mut self, permit: Permit, observation: Observation) {
        let settled = self
            .breaker
            .settle(permit, &self.settings, observation, self.now, LANE);
        self.transitions.extend(settled.iter());
    }

    /// One call each: `S` success, `F` failure, `I` ignored.
    fn calls(&mut self, script: &str) -> &mut Self {
        for letter in script.chars().filter(|c| !c.is_whitespace()) {
            let permit = self
                .admit()
                .unwrap_or_else(|r| panic!("{letter} refused: {r:?}"));
            self.settle(
                permit,
                match letter {
                    'S' => GOOD,
                    'F' => BAD,
                    _ => Observation::Neutral,
                },
            );
        }
        self
    }

    fn state(&self) -> CircuitState {
        self.breaker.state_at(&self.settings, self.now).state
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

fn ratio(span_secs: u64, failure_ratio: f64, minimum_calls: u32) -> Rules {
    let ratio = RatioTrip {
        window: Window::Span(Duration::from_secs(span_secs)),
        failure_ratio: Some(Ratio::new(failure_ratio).unwrap()),
        slow_call_ratio: None,
        minimum_calls,
    };
    let mut rules = consecutive(1);
    rules.circuit_breaker.trip = Some(Trip {
        ratio: Some(ratio),
        ..Trip::default()
    });
    rules
}

fn probing(mut rules: Rules, permits: u32) -> Rules {
    rules.circuit_breaker.half_open = Some(HalfOpen {
        permits,
        successes: None,
        max: None,
    });
    rules
}

#[test]
fn opens_at_the_threshold_of_failures_in_a_row_and_a_success_ends_the_run() {
    let mut bench = Bench::new(&consecutive(3));
    assert_eq!(bench.calls("F S F F").state(), CircuitState::Closed);
    assert_eq!(bench.calls("F").state(), CircuitState::Open);
    assert_eq!(bench.transitions[0].cause, Cause::ConsecutiveFailures(3));
}

#[test]
fn a_failure_that_does_not_enter_the_run_leaves_it_as_it_is() {
    let mut bench = Bench::new(&consecutive(2));
    bench.calls("F");
    for _ in 0..5 {
        let permit = bench.admit().unwrap();
        bench.settle(
            permit,
            Observation::Bad {
                slow: false,
                in_run: false,
            },
        );
    }
    assert_eq!(bench.state(), CircuitState::Closed);
    assert_eq!(bench.calls("F").state(), CircuitState::Open);
}

#[test]
fn a_ratio_is_not_judged_below_the_minimum_and_a_success_can_be_the_one_that_completes_it() {
    let mut bench = Bench::new(&ratio(20, 0.5, 5));
    assert_eq!(bench.calls("F F F S").state(), CircuitState::Closed);
    assert_eq!(bench.calls("S").state(), CircuitState::Open);
    assert_eq!(bench.transitions.len(), 1);
    assert_eq!(
        bench.transitions[0].cause,
        Cause::FailureRatio { bad: 3, total: 5 }
    );
}

#[test]
fn exactly_at_the_ratio_with_exactly_the_minimum_opens() {
    assert_eq!(
        Bench::new(&ratio(20, 0.4, 5)).calls("F S S S F").state(),
        CircuitState::Open
    );
    assert_eq!(
        Bench::new(&ratio(20, 0.8, 5)).calls("F F F F").state(),
        CircuitState::Closed
    );
}

#[test]
fn an_outcome_leaves_the_window_with_its_bucket() {
    let mut bench = Bench::new(&ratio(10, 0.5, 4));
    bench.calls("F F F");
    bench.wait_millis(9_999);
    assert_eq!(
        bench.calls("S").state(),
        CircuitState::Open,
        "still in the window"
    );
    let mut bench = Bench::new(&ratio(10, 0.5, 4));
    bench.calls("F F F");
    bench.wait_millis(10_000);
    assert_eq!(
        bench.calls("S F").state(),
        CircuitState::Closed,
        "gone, minimum wanted again"
    );
}

#[test]
fn successes_that_leave_the_window_can_open_it_at_the_next_success() {
    let mut bench = Bench::new(&ratio(10, 0.5, 4));
    bench.calls("S S S S S S");
    bench.wait_millis(9_000);
    bench.calls("F F F F F");
    assert_eq!(bench.state(), CircuitState::Closed, "5 of 11");
    bench.wait_millis(1_000);
    assert_eq!(bench.calls("S").state(), CircuitState::Open, "5 of 6");
}

#[test]
fn open_refuses_with_what_is_left_and_then_probes() {
    let mut bench = Bench::new(&consecutive(1));
    bench.calls("F");
    bench.wait_millis(3_000);
    let refusal = bench.admit().unwrap_err();
    assert_eq!(refusal.reason, Reason::CircuitOpen);
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(2)));
    bench.wait_millis(2_000);
    assert!(bench.breaker.state_at(&bench.settings, bench.now).probe_due);
    let probe = bench.admit().unwrap();
    assert_eq!(bench.state(), CircuitState::HalfOpen);
    assert!(bench.admit().is_err(), "one probe only");
    bench.settle(probe, GOOD);
    assert_eq!(bench.state(), CircuitState::Closed);
}

#[test]
fn one_failed_probe_reopens_a_breaker_of_consecutive_failures() {
    let mut bench = Bench::new(&probing(consecutive(3), 2));
    bench.calls("F F F").wait_millis(5_000);
    assert_eq!(bench.calls("F").state(), CircuitState::Open);
    assert_eq!(bench.transitions.last().unwrap().cause, Cause::ProbeFailed);
    bench.wait_millis(4_999);
    assert!(bench.admit().is_err(), "the open time starts anew");
}

#[test]
fn a_ratio_decides_once_every_probe_has_settled() {
    for (script, state) in [
        ("F F S F", CircuitState::Open),
        ("F S S S", CircuitState::Closed),
    ] {
        let mut bench = Bench::new(&probing(ratio(20, 0.5, 2), 4));
        bench.calls("F F").wait_millis(5_000);
        assert_eq!(bench.calls(script).state(), state, "{script}");
    }
}

#[test]
fn never_more_probes_than_permits_in_each_cycle() {
    let mut bench = Bench::new(&probing(consecutive(1), 3));
    for _ in 0..3 {
        if bench.state() == CircuitState::Closed {
            bench.calls("F");
        }
        bench.wait_millis(5_000);
        let probes = [(); 3].map(|()| bench.admit().unwrap());
        assert!(bench.admit().is_err());
        bench.settle(probes[0], GOOD);
        assert!(
            bench.admit().is_err(),
            "a settled probe does not free its permit"
        );
        bench.settle(probes[1], GOOD);
        bench.settle(probes[2], BAD);
    }
}

#[test]
fn an_ignored_probe_gives_its_permit_back_and_decides_nothing() {
    let mut bench = Bench::new(&probing(consecutive(1), 2));
    bench.calls("F").wait_millis(5_000);
    assert_eq!(bench.calls("I I I I").state(), CircuitState::HalfOpen);
    assert_eq!(bench.calls("S S").state(), CircuitState::Closed);
}

#[test]
fn a_straggler_from_an_earlier_state_changes_nothing() {
    let mut bench = Bench::new(&consecutive(1));
    let straggler = bench.admit().unwrap();
    bench.calls("F");
    bench.settle(straggler, GOOD);
    assert_eq!(bench.state(), CircuitState::Open);
    bench.wait_millis(5_000);
    bench.calls("S");
    bench.settle(straggler, BAD);
    assert_eq!(bench.state(), CircuitState::Closed);
    assert_eq!(bench.transitions.len(), 3);
}

#[test]
fn a_hung_probe_is_bounded() {
    let mut bench = Bench::new(&consecutive(1));
    bench.calls("F").wait_millis(5_000);
    let hung = bench.admit().unwrap();
    // max half-open: 5 s open plus 5 s attempt timeout
    bench.wait_millis(9_999);
    assert!(bench.admit().is_err());
    assert_eq!(bench.state(), CircuitState::HalfOpen);
    bench.wait_millis(1);
    assert_eq!(
        bench.state(),
        CircuitState::Open,
        "told as due before anybody calls"
    );
    assert!(bench.admit().is_err());
    assert_eq!(
        bench.transitions.last().unwrap().cause,
        Cause::HalfOpenExpired
    );
    bench.settle(hung, GOOD);
    bench.wait_millis(5_000);
    assert!(bench.admit().is_ok());
}

#[test]
fn half_open_lasts_while_probes_come_back_however_slowly() {
    let mut bench = Bench::new(&probing(consecutive(1), 5));
    bench.calls("F").wait_millis(5_000);
    for _ in 0..4 {
        assert_eq!(bench.calls("S").state(), CircuitState::HalfOpen);
        bench.wait_millis(9_000);
    }
    assert_eq!(bench.calls("S").state(), CircuitState::Closed);
}

#[test]
fn a_hung_probe_and_a_long_silence_do_not_cost_the_next_call() {
    let mut bench = Bench::new(&consecutive(1));
    bench.calls("F").wait_millis(5_000);
    let _hung = bench.admit().unwrap();
    bench.wait_millis(600_000);
    let view = bench.breaker.state_at(&bench.settings, bench.now);
    assert!(view.probe_due && view.state == CircuitState::Open);
    assert!(bench.breaker.would_admit(&bench.settings, bench.now));
    assert_eq!(bench.calls("S").state(), CircuitState::Closed);
    let causes: Vec<_> = bench.transitions.iter().map(|t| t.cause).collect();
    assert_eq!(causes[2..4], [Cause::HalfOpenExpired, Cause::OpenElapsed]);
}

#[test]
fn fewer_permits_are_judged_by_the_probes_that_have_settled() {
    let mut bench = Bench::new(&probing(consecutive(1), 5));
    bench.calls("F").wait_millis(5_000);
    bench.calls("S S S").reload(&probing(consecutive(1), 2));
    assert_eq!(bench.state(), CircuitState::Closed);
}

#[test]
fn a_lower_threshold_judges_the_failures_already_counted() {
    let mut bench = Bench::new(&consecutive(5));
    bench.calls("F F F").reload(&consecutive(3));
    assert_eq!(bench.calls("F").state(), CircuitState::Open);
}

#[test]
fn a_longer_open_duration_counts_from_when_it_opened() {
    let mut bench = Bench::new(&consecutive(1));
    bench.calls("F").wait_millis(3_000);
    let mut longer = consecutive(1);
    longer.circuit_breaker.open_duration = Some(Duration::from_secs(20));
    bench.reload(&longer);
    assert_eq!(
        bench.admit().unwrap_err().retry_after,
        Some(Duration::from_secs(17))
    );
    bench.wait_millis(17_000);
    assert!(bench.admit().is_ok());
}

#[test]
fn only_a_change_of_the_windows_shape_starts_it_anew() {
    let mut bench = Bench::new(&ratio(20, 0.9, 4));
    bench.calls("F F F").reload(&ratio(20, 0.5, 4));
    assert_eq!(bench.calls("S").state(), CircuitState::Open);
    let mut bench = Bench::new(&ratio(20, 0.9, 4));
    bench.calls("F F F").reload(&ratio(30, 0.5, 4));
    assert_eq!(bench.calls("S F").state(), CircuitState::Closed);
}

#[test]
fn a_reload_that_lowers_the_ratio_is_judged_by_the_next_success() {
    let mut bench = Bench::new(&ratio(20, 0.9, 4));
    bench.calls("F F S S S").reload(&ratio(20, 0.3, 4));
    assert_eq!(bench.calls("S").state(), CircuitState::Open);
}

#[test]
fn a_reset_closes_and_forgets() {
    let mut bench = Bench::new(&consecutive(2));
    bench.calls("F");
    let reset = bench.breaker.reset(&bench.settings, bench.now);
    assert!(reset.is_empty(), "closed already: no event");
    assert_eq!(
        bench.calls("F").state(),
        CircuitState::Closed,
        "the run was forgotten"
    );
    bench.calls("F");
    let reset = bench.breaker.reset(&bench.settings, bench.now);
    let event = reset.iter().next().unwrap();
    assert_eq!(
        (event.from, event.to),
        (CircuitState::Open, CircuitState::Closed)
    );
    assert_eq!(bench.calls("F").state(), CircuitState::Closed);
}

#[test]
fn would_admit_foresees_what_admit_will_say() {
    let mut bench = Bench::new(&consecutive(1));
    assert!(bench.breaker.would_admit(&bench.settings, bench.now));
    bench.calls("F");
    let later = |secs| Instant::ORIGIN + Duration::from_secs(secs);
    assert!(!bench.breaker.would_admit(&bench.settings, later(4)));
    assert!(bench.breaker.would_admit(&bench.settings, later(5)));
    bench.wait_millis(5_000);
    let _probe = bench.admit().unwrap();
    assert!(!bench.breaker.would_admit(&bench.settings, later(6)));
}

#[test]
fn a_clock_that_steps_back_wedges_nothing() {
    let mut bench = Bench::new(&ratio(10, 0.5, 2));
    bench.wait_millis(60_000);
    bench.calls("F F");
    assert_eq!(bench.state(), CircuitState::Open);
    bench.now = Instant::ORIGIN;
    assert!(bench.admit().is_err());
    bench.wait_millis(65_000);
    assert_eq!(bench.calls("S").state(), CircuitState::Closed);
}

#[test]
fn threads_on_lanes_of_their_own_and_shared_count_every_success() {
    let settings = compile(&ratio(3600, 1.0, 1), None);
    let breaker = Breaker::new(&settings, 0, Instant::ORIGIN);
    let now = Instant::from_nanos(1);
    std::thread::scope(|scope| {
        for lane in [Lane::owned(1).unwrap(), Lane::owned(2).unwrap(), LANE, LANE] {
            let (breaker, settings) = (&breaker, &settings);
            scope.spawn(move || {
                for _ in 0..20_000 {
                    let permit = breaker.admit(settings, now).answer.unwrap();
                    let settled = breaker.settle(permit, settings, GOOD, now, lane);
                    assert!(settled.is_empty());
                }
            });
        }
    });
    let trace = settings.trace().unwrap();
    assert_eq!(breaker.successes.count(trace, 0, now), 80_000);
}

/// The specification, slow and obvious: every outcome kept, everything looked at after each.
struct Model {
    rules: Rules,
    state: CircuitState,
    since: Instant,
    outcomes: Vec<(Instant, bool)>,
    run: u32,
    probes: Vec<bool>,
}

impl Model {
    fn call(&mut self, now: Instant, good: bool) -> CircuitState {
        let breaker = &self.rules.circuit_breaker;
        let open = breaker.open_duration.unwrap();
        let permits = breaker.half_open.unwrap().permits as usize;
        let trip = breaker.trip.unwrap();
        if self.state == CircuitState::Open && now >= self.since + open {
            self.enter(CircuitState::HalfOpen, now);
        }
        match self.state {
            CircuitState::Open => {}
            CircuitState::HalfOpen => {
                self.probes.push(good);
                let bad = self.probes.iter().filter(|good| !**good).count() as u64;
                let full = self.probes.len() == permits;
                let reached = trip.ratio.is_some_and(|ratio| {
                    full && ratio.failure_ratio.unwrap().is_reached(bad, permits as u64)
                });
                if trip.consecutive_failures.is_some() && bad > 0 || reached {
                    self.enter(CircuitState::Open, now);
                } else if full {
                    self.enter(CircuitState::Closed, now);
                }
            }
            CircuitState::Closed => {
                self.outcomes.push((now, good));
                self.run = if good { 0 } else { self.run + 1 };
                let reached = trip.ratio.is_some_and(|ratio| {
                    let Window::Span(span) = ratio.window else {
                        unreachable!("no test counts calls");
                    };
                    let bucket = |at: Instant| at.as_nanos() / (span.as_secs() * 100_000_000);
                    let inside = |at| bucket(at) + 10 > bucket(now);
                    let seen = self.outcomes.iter().filter(|(at, _)| inside(*at));
                    let (bad, all) = seen.fold((0, 0), |(bad, all), (_, good)| {
                        (bad + u64::from(!good), all + 1)
                    });
                    all >= u64::from(ratio.minimum_calls)
                        && ratio.failure_ratio.unwrap().is_reached(bad, all)
                });
                let run_over = trip
                    .consecutive_failures
                    .is_some_and(|limit| self.run >= limit);
                if run_over || reached {
                    self.enter(CircuitState::Open, now);
                }
            }
        }
        self.state
    }

    fn enter(&mut self, state: CircuitState, now: Instant) {
        (self.state, self.since, self.run) = (state, now, 0);
        self.outcomes.clear();
        self.probes.clear();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    /// Judging lazily (only on failures, and on successes when it could matter) changes nothing.
    #[test]
    fn every_history_ends_as_the_obvious_model_says(
        limit in prop::option::of(1u32..5),
        share in prop::option::of((0.1f64..=1.0, 1u32..8)),
        permits in 1u32..4,
        history in prop::collection::vec((0u64..1500, prop::bool::weighted(0.6)), 1..120),
    ) {
        let mut rules = match share {
            Some((share, minimum)) => ratio(10, share, minimum),
            None => consecutive(1),
        };
        let trip = rules.circuit_breaker.trip.as_mut().unwrap();
        trip.consecutive_failures = limit;
        let rules = probing(rules, permits);
        let mut model = Model {
            rules: rules.clone(),
            state: CircuitState::Closed,
            since: Instant::ORIGIN,
            outcomes: Vec::new(),
            run: 0,
            probes: Vec::new(),
        };
        let mut bench = Bench::new(&rules);
        for (wait, good) in history {
            bench.wait_millis(wait);
            if let Ok(permit) = bench.admit() {
                bench.settle(permit, if good { GOOD } else { BAD });
            }
            prop_assert_eq!(bench.state(), model.call(bench.now, good));
        }
    }
}
