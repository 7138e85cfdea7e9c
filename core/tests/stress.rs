//! Many threads at one guard do whatever callers and operators do, in a random order that a seed
//! fixes; when all have gone, nothing may be left behind.
//!
//! The seed of a round is printed when it fails. `FUSEBOX_STRESS_SEED` sets the first one,
//! `FUSEBOX_STRESS_ROUNDS` how many follow each other.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use fusebox_core::guard::breaker::Changes;
use fusebox_core::guard::{
    Demand, Finding, Gate, Guard, Observation, Override, Plan, Standing, Watch, Way,
};
use fusebox_core::key::{Kind, Labels, OperationName, Service};
use fusebox_core::lane::Lane;
use fusebox_core::outcome::{CircuitState, Forced, Reason, Transition};
use fusebox_core::policy::ratio::{Multiplier, Ratio, Share};
use fusebox_core::policy::rules::{
    BulkheadLimit, ConcurrencyBounds, HalfOpen, Mode, Quota, RatioTrip, Rules, Trip, Window,
};
use fusebox_core::policy::{Origin, Target, resolve};
use fusebox_core::random::{Random, mix};
use fusebox_core::time::{Instant, Span};

const THREADS: u64 = 4;
const STEPS: u32 = 400;
/// Slots of the widest bulkhead that the rules ever ask for.
const MOST_INSIDE: u64 = 3;

/// What all threads share.
struct Bench {
    guard: Guard,
    /// Whoever changes it reloads the guard before another may.
    plan: Mutex<Plan>,
    nanos: AtomicU64,
    inside: AtomicU64,
    events: Events,
}

/// How often the enforced breaker, thinking for itself, left and entered each state.
#[derive(Default)]
struct Events {
    left: [AtomicUsize; 3],
    entered: [AtomicUsize; 3],
    would_refuse: AtomicUsize,
}

impl Watch for Events {
    fn changed(&self, transition: &Transition, standing: Standing) {
        let computed = transition.cause.by().is_none();
        if computed && standing == Standing::Enforced {
            self.left[transition.from as usize].fetch_add(1, Ordering::Relaxed);
            self.entered[transition.to as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    fn would_refuse(&self, _: Reason) {
        self.would_refuse.fetch_add(1, Ordering::Relaxed);
    }
}

fn below(random: &mut Random, bound: u32) -> u32 {
    u32::try_from(random.draw() % u64::from(bound)).unwrap()
}

fn one_in(random: &mut Random, bound: u32) -> bool {
    below(random, bound) == 0
}

fn limits(rules: &mut Rules, random: &mut Random) {
    rules.bulkhead.limit = Some(BulkheadLimit {
        max_concurrent: 1 + below(random, 3),
        max_queue: below(random, 4),
        max_wait: Duration::from_millis(100),
    });
    rules.rate_limit.quota = one_in(random, 2).then(|| Quota {
        permits: 1 + below(random, 1_000),
        per: Duration::from_secs(1),
        burst: 1 + below(random, 4),
        max_wait: Duration::from_millis(u64::from(below(random, 200))),
    });
    rules.concurrency_limit.bounds = one_in(random, 2).then(|| ConcurrencyBounds {
        min: 1,
        max: 1 + below(random, 5),
    });
}

fn breaker(rules: &mut Rules, random: &mut Random) {
    let window = if one_in(random, 2) {
        Window::Calls(1 + below(random, 20))
    } else {
        Window::Span(Duration::from_secs(1))
    };
    let breaker = &mut rules.circuit_breaker;
    breaker.trip = Some(Trip {
        consecutive_failures: one_in(random, 2).then_some(3),
        slow_call_threshold: Some(Duration::from_secs(1)),
        ratio: Some(RatioTrip {
            window,
            failure_ratio: Ratio::new(0.5).ok(),
            slow_call_ratio: Ratio::new(0.7).ok(),
            minimum_calls: 1,
        }),
    });
    breaker.open_duration = Some(Duration::from_millis(20));
    breaker.open_multiplier = Multiplier::new(1.5).ok();
    breaker.open_jitter = Share::new(0.3).ok();
    let permits = 1 + below(random, 4);
    breaker.half_open = Some(HalfOpen {
        permits,
        successes: one_in(random, 3).then(|| 1 + below(random, permits)),
        max: Some(Duration::from_secs(3_600)),
    });
    breaker.recovery_ramp = Some(Duration::from_millis(u64::from(below(random, 30))));
}

fn plan(random: &mut Random, previous: Option<&Plan>) -> Plan {
    let (mut enforced, mut trial) = (Rules::default(), Rules::default());
    limits(&mut enforced, random);
    breaker(&mut enforced, random);
    if one_in(random, 2) {
        limits(&mut trial, random);
        breaker(&mut trial, random);
        let shadow = Some(Mode::Shadow);
        trial.circuit_breaker.mode = shadow;
        trial.bulkhead.mode = shadow;
        trial.rate_limit.mode = shadow;
        trial.concurrency_limit.mode = shadow;
    }
    compile(enforced, trial, previous)
}

fn compile(enforced: Rules, trial: Rules, previous: Option<&Plan>) -> Plan {
    let target = Target {
        service: &Service::new("s").unwrap(),
        operation: &OperationName::new("o").unwrap(),
        kind: Kind::Custom,
        labels: &Labels::default(),
    };
    let layers = [(Origin::CallSite, enforced), (Origin::Environment, trial)];
    Plan::compile(&resolve(&target, &layers, []).effective, previous)
}

impl Bench {
    fn new(random: &mut Random) -> Self {
        let plan = plan(random, None);
        Self {
            guard: Guard::new(&plan, random.draw(), Instant::ORIGIN),
            plan: Mutex::new(plan),
            nanos: AtomicU64::new(0),
            inside: AtomicU64::new(0),
            events: Events::default(),
        }
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.nanos.load(Ordering::Relaxed))
    }

    fn wait(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap();
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    fn plan(&self) -> Plan {
        *self.plan.lock().unwrap()
    }

    fn reload(&self, next: impl FnOnce(&Plan) -> Plan) {
        let mut plan = self.plan.lock().unwrap();
        let old = *plan;
        *plan = next(&old);
        self.guard.reload(&old, &plan, self.now(), &self.events);
    }

    /// What one thread does.
    fn busy_thread(&self, mut random: Random, lane: Lane) {
        let mut calls: Vec<Call> = Vec::new();
        for _ in 0..STEPS {
            match below(&mut random, 40) {
                0 => self.reload(|old| plan(&mut random, Some(old))),
                1 => self.force(&mut random),
                2 if one_in(&mut random, 4) => {
                    self.tell(self.guard.breaker.reset(self.now()));
                }
                3..10 => self.wait(Duration::from_micros(random.draw() % 10_000)),
                10..20 if calls.len() < 6 => calls.push(Call::new(self.plan())),
                _ if calls.is_empty() => {}
                drawn => {
                    let which = below(&mut random, u32::try_from(calls.len()).unwrap());
                    let call = &mut calls[which as usize];
                    if drawn < 30 {
                        call.poll(self);
                    } else {
                        call.end(self, &mut random, lane);
                    }
                }
            }
            calls.retain(|call| !call.ended);
        }
        for mut call in calls {
            call.end(self, &mut random, lane);
        }
    }

    fn force(&self, random: &mut Random) {
        let overrides: Vec<_> = (0..below(random, 3))
            .map(|_| Override {
                id: random.draw() % 8,
                forced: if one_in(random, 2) {
                    Forced::Open
                } else {
                    Forced::Closed
                },
                until: self.now() + Duration::from_micros(random.draw() % 20_000),
            })
            .collect();
        self.tell(self.guard.breaker.force(&overrides, self.now()));
    }

    fn tell(&self, changes: Changes) {
        for change in changes.iter() {
            self.events.changed(change, Standing::Enforced);
        }
    }

    fn assert_nothing_is_left(&self) {
        assert_eq!(self.guard.bulkhead.occupancy(), (0, 0));
        assert_eq!(self.guard.adaptive.view().1, 0);
        self.tell(self.guard.breaker.force(&[], self.now()));
        self.assert_every_state_was_entered_as_often_as_left();
        self.assert_successes_close_it();
        self.assert_the_trial_has_all_its_slots();
    }

    fn state(&self) -> CircuitState {
        let view = self.guard.breaker.state_at(self.now());
        view.state
    }

    /// But for the one it began in and the one it is in.
    fn assert_every_state_was_entered_as_often_as_left(&self) {
        let now = self.state();
        for state in CircuitState::ALL {
            let [left, entered] = [&self.events.left, &self.events.entered]
                .map(|counts| counts[state as usize].load(Ordering::Relaxed));
            let began = usize::from(state == CircuitState::Closed);
            let ended = usize::from(state == now);
            assert_eq!(entered + began, left + ended, "{state}");
        }
    }

    /// As they could not if a probe's permit were still out.
    fn assert_successes_close_it(&self) {
        while self.state() != CircuitState::Closed {
            self.wait(Duration::from_secs(1));
            let now = self.now();
            match self.guard.breaker.admit(now).answer {
                Ok(permit) => {
                    let (breaker, good) = (&self.guard.breaker, Observation::Good { slow: false });
                    let _ = breaker.settle(permit, None, good, now, Lane::SHARED);
                }
                // It has opened again by what earlier probes showed.
                Err(refused) => assert!(refused.retry_after.is_some(), "{refused:?}"),
            }
        }
    }

    fn assert_the_trial_has_all_its_slots(&self) {
        self.reload(|old| {
            let mut trial = Rules::default();
            trial.bulkhead.mode = Some(Mode::Shadow);
            trial.bulkhead.limit = Some(BulkheadLimit {
                max_concurrent: 2,
                max_queue: 0,
                max_wait: Duration::ZERO,
            });
            compile(Rules::default(), trial, Some(old))
        });
        self.wait(Duration::from_secs(1));
        let before = self.events.would_refuse.load(Ordering::Relaxed);
        let mut calls = [(); 3].map(|()| Call::new(self.plan()));
        for (beyond, call) in [0, 0, 1].into_iter().zip(&mut calls) {
            call.poll(self);
            let counted = self.events.would_refuse.load(Ordering::Relaxed);
            assert_eq!(counted, before + beyond);
        }
    }
}

/// A call, and the plan that it follows to its end.
struct Call {
    way: Way,
    plan: Plan,
    inside: bool,
    ended: bool,
}

impl Call {
    const fn new(plan: Plan) -> Self {
        Self {
            way: Way::new(),
            plan,
            inside: false,
            ended: false,
        }
    }

    fn poll(&mut self, bench: &Bench) {
        let cx = Context::from_waker(Waker::noop());
        let (guard, plan) = (&bench.guard, &self.plan);
        let demand = Demand {
            cost: 1,
            now: bench.now(),
            deadline: Instant::NEVER,
        };
        match self.way.poll(guard, plan, &demand, &cx, &bench.events) {
            Gate::Inside if !self.inside => {
                let others = bench.inside.fetch_add(1, Ordering::Relaxed);
                assert!(others < MOST_INSIDE, "{others} are inside already");
                self.inside = true;
            }
            Gate::Inside | Gate::Wait(_) => {}
            Gate::Refused(_) => self.ended = true,
        }
    }

    /// In any of the manners in which a call can end.
    fn end(&mut self, bench: &Bench, random: &mut Random, lane: Lane) {
        let slow = one_in(random, 5);
        let observation = match below(random, 5) {
            0 | 1 => Observation::Good { slow },
            2 | 3 => Observation::Bad {
                slow,
                in_run: one_in(random, 2),
            },
            _ => Observation::Neutral,
        };
        let inside = std::mem::take(&mut self.inside);
        if inside {
            bench.inside.fetch_sub(1, Ordering::Relaxed);
        }
        let (guard, plan, now, watch) = (&bench.guard, &self.plan, bench.now(), &bench.events);
        match below(random, 4) {
            0 => self.way.take_back(guard, plan, now, lane, watch),
            1 => drop(self.way.refuse_to_wait(guard, plan, now, watch)),
            2 => self.way.abandon(guard, plan, observation, now, lane, watch),
            _ if inside => {
                let finding = Finding {
                    observation,
                    latency: Some(Span::from_nanos(random.draw() % 1_000_000)),
                };
                self.way.settle(guard, plan, finding, now, lane, watch);
            }
            _ => self.way.abandon(guard, plan, observation, now, lane, watch),
        }
        self.ended = true;
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    match std::env::var(variable) {
        Ok(number) => number.parse().unwrap(),
        Err(_) => otherwise,
    }
}

#[test]
fn whatever_threads_do_at_a_guard_nothing_is_left_when_they_have_gone() {
    let first = number("FUSEBOX_STRESS_SEED", 1);
    let rounds = number("FUSEBOX_STRESS_ROUNDS", 100);
    for seed in first..first.saturating_add(rounds) {
        println!("FUSEBOX_STRESS_SEED={seed}");
        let bench = Bench::new(&mut Random::seeded(seed));
        thread::scope(|scope| {
            for thread in 0..THREADS {
                // Two with a lane of their own, two on the shared one.
                let own = u8::try_from(thread).ok().and_then(Lane::owned);
                let lane = own.filter(|_| thread < 3).unwrap_or(Lane::SHARED);
                let random = Random::seeded(mix(seed ^ mix(thread)));
                let bench = &bench;
                scope.spawn(move || bench.busy_thread(random, lane));
            }
        });
        bench.assert_nothing_is_left();
    }
}
