//! The breaker against its specification: slow, obvious, everything kept and looked at each time.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::policy::BreakerRules;

#[derive(Clone, Copy, Debug)]
enum Step {
    WaitMillis(u64),
    /// Asks for a permit; if it gets one, its call is under way.
    Begin,
    /// One of the calls under way ends.
    End(Index, Observation),
    /// The rules of that number hold from now on.
    Reload(Index),
    Reset,
}

struct Call {
    permit: Permit,
    generation: u64,
    /// What it began under.
    settings: Settings,
}

/// What is seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    state: CircuitState,
    since: Instant,
    probe_due: bool,
}

struct Model {
    rules: BreakerRules,
    state: CircuitState,
    since: Instant,
    generation: u64,
    openings: u32,
    run: u32,
    /// Of the present state and window: when, failed, slow.
    outcomes: Vec<(Instant, bool, bool)>,
    /// Of the present half-open state: failed, slow.
    probes: Vec<(bool, bool)>,
    out: usize,
    let_out: Instant,
    changes: usize,
}

impl Model {
    fn new(rules: BreakerRules) -> Self {
        Self {
            rules,
            state: CircuitState::Closed,
            since: Instant::ORIGIN,
            generation: 0,
            openings: 0,
            run: 0,
            outcomes: Vec::new(),
            probes: Vec::new(),
            out: 0,
            let_out: Instant::ORIGIN,
            changes: 0,
        }
    }

    fn begin(&mut self, now: Instant) -> bool {
        self.catch_up(now);
        if self.state == CircuitState::Open && now >= self.open_until() {
            self.enter(CircuitState::HalfOpen, now);
        }
        match self.state {
            CircuitState::Closed => true,
            CircuitState::Open => false,
            CircuitState::HalfOpen => {
                let permits = self.rules.half_open_permits as usize;
                let room = self.out + self.probes.len() < permits;
                if room {
                    self.out += 1;
                    self.let_out = now;
                }
                room
            }
        }
    }

    fn end(&mut self, generation: u64, observation: Observation, now: Instant) {
        if generation != self.generation {
            return;
        }
        self.catch_up(now);
        if generation != self.generation {
            return;
        }
        let (failed, slow, in_run) = match observation {
            Observation::Neutral => {
                self.out = self.out.saturating_sub(1);
                return;
            }
            Observation::Good { slow } => (false, slow, false),
            Observation::Bad { slow, in_run } => (true, slow, in_run),
        };
        if self.state == CircuitState::HalfOpen {
            self.out -= 1;
            self.probes.push((failed, slow));
            return self.judge_probes(now);
        }
        self.run = if failed {
            self.run + u32::from(in_run)
        } else {
            0
        };
        self.outcomes.push((now, failed, slow));
        let limit = self.rules.trip.consecutive_failures;
        if limit.is_some_and(|limit| self.run >= limit) || self.is_ratio_reached(now) {
            self.enter(CircuitState::Open, now);
        }
    }

    fn is_ratio_reached(&self, now: Instant) -> bool {
        let Some(trip) = self.rules.trip.ratio else {
            return false;
        };
        let inside: Vec<_> = match trip.window {
            Window::Calls(size) => {
                let newest = self.outcomes.iter().rev();
                newest.take(size as usize).collect()
            }
            Window::Span(span) => {
                let bucket = |at: Instant| at.as_nanos() / (span.as_secs() * 100_000_000);
                let inside = |at| bucket(at) + 10 > bucket(now);
                self.outcomes
                    .iter()
                    .filter(|(at, ..)| inside(*at))
                    .collect()
            }
        };
        let all = inside.len() as u64;
        let failed = inside.iter().filter(|(_, failed, _)| *failed).count() as u64;
        let slow = inside.iter().filter(|(.., slow)| *slow).count() as u64;
        let reached = |ratio: Option<Ratio>, part| ratio.is_some_and(|r| r.is_reached(part, all));
        all >= u64::from(trip.minimum_calls)
            && (reached(trip.failure_ratio, failed) || reached(trip.slow_call_ratio, slow))
    }

    fn judge_probes(&mut self, now: Instant) {
        let permits = self.rules.half_open_permits as usize;
        let bad = self.probes.iter().filter(|(failed, _)| *failed).count();
        let slow = self.probes.iter().filter(|(_, slow)| *slow).count();
        let all = self.probes.len();
        let reached = |ratio: Option<Ratio>, part| {
            ratio.is_some_and(|ratio| ratio.is_reached(part as u64, all as u64))
        };
        let (closes, opens) = if let Some(wanted) = self.rules.half_open_successes {
            let wanted = wanted as usize;
            (all - bad >= wanted, bad + wanted > permits)
        } else {
            let in_row = self.rules.trip.consecutive_failures.is_some() && bad > 0;
            let ratio = all >= permits
                && self.rules.trip.ratio.is_some_and(|trip| {
                    reached(trip.failure_ratio, bad) || reached(trip.slow_call_ratio, slow)
                });
            (all >= permits && !in_row && !ratio, in_row || ratio)
        };
        if closes {
            self.enter(CircuitState::Closed, now);
        } else if opens {
            self.enter(CircuitState::Open, now);
        }
    }

    /// Probes that have been out for too long open it, as of when it was too long.
    fn catch_up(&mut self, now: Instant) {
        let bound = self.let_out + self.rules.max_half_open;
        if self.state == CircuitState::HalfOpen && self.out > 0 && now >= bound {
            self.enter(CircuitState::Open, bound);
        }
    }

    fn reload(&mut self, rules: BreakerRules, now: Instant) {
        let window = |rules: &BreakerRules| rules.trip.ratio.map(|trip| trip.window);
        if window(&rules) != window(&self.rules) {
            self.outcomes.clear();
        }
        self.rules = rules;
        self.catch_up(now);
        if self.state == CircuitState::HalfOpen {
            self.judge_probes(now);
        }
    }

    fn enter(&mut self, state: CircuitState, now: Instant) {
        match state {
            CircuitState::Open => self.openings += 1,
            CircuitState::Closed => self.openings = 0,
            CircuitState::HalfOpen => {}
        }
        (self.state, self.since, self.run) = (state, now, 0);
        self.generation += 1;
        self.changes += 1;
        self.outcomes.clear();
        self.probes.clear();
        self.out = 0;
    }

    fn reset(&mut self, now: Instant) {
        let unseen = usize::from(self.state == CircuitState::Closed);
        self.enter(CircuitState::Closed, now);
        self.changes -= unseen;
    }

    fn open_until(&self) -> Instant {
        let mut length = self.rules.open_duration;
        for _ in 1..self.openings {
            let longer = length.mul_f64(self.rules.open_multiplier.as_f64());
            length = longer.min(self.rules.max_open_duration);
        }
        self.since + length
    }

    /// What is due is told as due, and done by nobody.
    fn seen(&mut self, now: Instant) -> Seen {
        let kept = (self.state, self.since, self.openings);
        let bound = self.let_out + self.rules.max_half_open;
        if self.state == CircuitState::HalfOpen && self.out > 0 && now >= bound {
            (self.state, self.since) = (CircuitState::Open, bound);
            self.openings += 1;
        }
        let seen = Seen {
            state: self.state,
            since: self.since,
            probe_due: self.state == CircuitState::Open && now >= self.open_until(),
        };
        (self.state, self.since, self.openings) = kept;
        seen
    }
}

fn window() -> impl Strategy<Value = Window> {
    prop_oneof![
        (1_u64..4).prop_map(|secs| Window::Span(Duration::from_secs(secs))),
        (1_u32..12).prop_map(Window::Calls),
    ]
}

fn trip() -> impl Strategy<Value = Trip> {
    let share = || (0.1..=1.0).prop_map(|share: f64| Ratio::new(share).unwrap());
    let shares = prop_oneof![
        share().prop_map(|failure| (Some(failure), None)),
        share().prop_map(|slow| (None, Some(slow))),
        (share(), share()).prop_map(|(failure, slow)| (Some(failure), Some(slow))),
    ];
    let ratio = (window(), shares, 1_u32..8).prop_map(|(window, shares, minimum)| RatioTrip {
        window,
        failure_ratio: shares.0,
        slow_call_ratio: shares.1,
        minimum_calls: match window {
            Window::Calls(size) => minimum.min(size),
            Window::Span(_) => minimum,
        },
    });
    let ways = (prop::option::of(1_u32..5), prop::option::of(ratio));
    ways.prop_map(|(consecutive_failures, ratio)| Trip {
        consecutive_failures,
        slow_call_threshold: Some(Duration::from_secs(1)),
        ratio,
    })
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let opening = (1_u64..4, 0_u8..3, 1_u32..5);
    let half_open = (1_u32..5, prop::option::of(1_u32..5), 500_u64..4_000);
    (trip(), opening, half_open).prop_map(|(trip, opening, half_open)| {
        let (secs, growth, longest) = opening;
        let (permits, successes, max_millis) = half_open;
        let mut rules = Rules::default();
        let breaker = &mut rules.circuit_breaker;
        let open = Duration::from_secs(secs);
        breaker.trip = Some(trip);
        breaker.open_duration = Some(open);
        breaker.open_multiplier = Multiplier::new(1.0 + f64::from(growth) / 2.0).ok();
        breaker.max_open_duration = Some(open * longest);
        breaker.half_open = Some(HalfOpen {
            permits,
            successes: successes.map(|successes| successes.min(permits)),
            max: Some(Duration::from_millis(max_millis)),
        });
        rules
    })
}

fn observation() -> impl Strategy<Value = Observation> {
    prop_oneof![
        4 => prop::bool::weighted(0.2).prop_map(|slow| Observation::Good { slow }),
        4 => (prop::bool::weighted(0.2), prop::bool::weighted(0.8))
            .prop_map(|(slow, in_run)| Observation::Bad { slow, in_run }),
        1 => Just(Observation::Neutral),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0_u64..700).prop_map(Step::WaitMillis),
        16 => Just(Step::Begin),
        16 => (any::<Index>(), observation()).prop_map(|(which, seen)| Step::End(which, seen)),
        2 => any::<Index>().prop_map(Step::Reload),
        1 => Just(Step::Reset),
    ]
}

/// Settles a success from an older window where that takes no lock: only then it may go uncounted.
fn leaves_no_trace(bench: &Bench, call: &Call, observation: Observation) -> bool {
    let Call {
        permit, settings, ..
    } = call;
    let is_older = settings.shape() != bench.settings.shape();
    let (breaker, now) = (&bench.breaker, bench.now);
    is_older && observation == GOOD && breaker.settle_at_once(*permit, settings.trace(), now, LANE)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Judging lazily (only on failures, and on successes when it could matter) changes nothing;
    /// neither do calls that overlap, nor rules that come meanwhile, nor calls that settle by those
    /// they began under.
    #[test]
    fn every_history_ends_as_the_obvious_model_says(
        rules in prop::collection::vec(any_rules(), 1..4),
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let effective = |rules: &Rules| effective(std::slice::from_ref(rules)).breaker;
        let mut bench = Bench::new(&rules[0]);
        let mut model = Model::new(effective(&rules[0]));
        let mut calls: Vec<Call> = Vec::new();
        for step in steps {
            match step {
                Step::WaitMillis(millis) => drop(bench.wait_millis(millis)),
                Step::Begin => {
                    let admitted = bench.admit();
                    prop_assert_eq!(admitted.is_ok(), model.begin(bench.now), "{:?}", admitted);
                    calls.extend(admitted.map(|permit| Call {
                        permit,
                        generation: model.generation,
                        settings: bench.settings,
                    }));
                }
                Step::End(..) if calls.is_empty() => {}
                Step::End(which, observation) => {
                    let call = calls.swap_remove(which.index(calls.len()));
                    if !leaves_no_trace(&bench, &call, observation) {
                        bench.settle_as(&call.settings, call.permit, observation);
                        model.end(call.generation, observation, bench.now);
                    }
                }
                Step::Reload(which) => {
                    let rules = which.get(&rules);
                    bench.reload(rules);
                    model.reload(effective(rules), bench.now);
                }
                Step::Reset => {
                    bench.reset();
                    model.reset(bench.now);
                }
            }
            let view = bench.view();
            let seen = Seen {
                state: view.state,
                since: view.since,
                probe_due: view.probe_due,
            };
            prop_assert_eq!(seen, model.seen(bench.now));
            prop_assert_eq!(bench.transitions.len(), model.changes);
            if seen.state == CircuitState::Closed {
                prop_assert!(bench.breaker.would_admit(bench.now));
            }
        }
    }
}
