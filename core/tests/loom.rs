//! Every interleaving of a few threads at what stands on atomics and locks.
//!
//!     RUSTFLAGS="--cfg loom" cargo test -p fusebox-core --test loom --release --target-dir target/loom
//!
//! Lanes are touched before the threads begin: making one is the standard library's business.
#![cfg(loom)]
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use fusebox_core::guard::breaker::{Breaker, Observation, Settings};
use fusebox_core::guard::budget::Budget;
use fusebox_core::guard::rate::{RateLimiter, RateSettings};
use fusebox_core::guard::slots::{Entered, Slots};
use fusebox_core::key::{Kind, Labels, OperationName, Service};
use fusebox_core::lane::Lane;
use fusebox_core::outcome::{Cause, CircuitState, Outcome};
use fusebox_core::policy::ratio::{Ratio, Share};
use fusebox_core::policy::rules::{HalfOpen, Quota, RatioTrip, RetryBudget, Rules, Trip, Window};
use fusebox_core::policy::{Origin, Target, resolve};
use fusebox_core::stats::Recorder;
use fusebox_core::time::Instant;
use loom::sync::Notify;
use loom::thread;

const GOOD: Observation = Observation::Good { slow: false };
const BAD: Observation = Observation::Bad {
    slow: false,
    in_run: true,
};
const NOW: Instant = Instant::from_nanos(1_000_000_000);

/// Tries every interleaving.
fn model(run: impl Fn() + Sync + Send + 'static) {
    model_bounded(None, run);
}

/// Tries every interleaving in which threads are taken off their work at most so many times.
fn model_bounded(preemptions: Option<usize>, run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 10_000;
    builder.check(run);
}

fn settings(trip: Trip, permits: u32) -> Settings {
    let mut rules = Rules::default();
    rules.circuit_breaker.trip = Some(trip);
    rules.circuit_breaker.half_open = Some(HalfOpen {
        permits,
        successes: None,
        max: None,
    });
    let target = Target {
        service: &Service::new("s").unwrap(),
        operation: &OperationName::new("o").unwrap(),
        kind: Kind::Custom,
        labels: &Labels::default(),
    };
    let resolution = resolve(&target, &[(Origin::CallSite, rules)], []);
    Settings::compile(&resolution.effective.breaker, None)
}

fn first_failure_opens(permits: u32) -> Settings {
    let trip = Trip {
        consecutive_failures: Some(1),
        ..Trip::default()
    };
    settings(trip, permits)
}

fn call(breaker: &Breaker, settings: &Settings, observation: Observation, now: Instant) {
    let permit = breaker.admit(now).answer.unwrap();
    let _ = breaker.settle(permit, settings.trace(), observation, now, Lane::SHARED);
}

#[test]
fn racing_threads_are_never_let_in_beyond_the_probes_and_every_permit_comes_back() {
    const PERMITS: usize = 2;
    let settings = first_failure_opens(2);
    model_bounded(Some(3), move || {
        let breaker = Arc::new(Breaker::new(&settings, 0, NOW));
        call(&breaker, &settings, BAD, NOW);
        let later = NOW + Duration::from_secs(60);
        let inside = Arc::new(AtomicUsize::new(0));
        let probe = move |breaker: &Breaker, inside: &AtomicUsize| {
            if let Ok(permit) = breaker.admit(later).answer {
                assert!(inside.fetch_add(1, Ordering::Relaxed) < PERMITS);
                thread::yield_now();
                inside.fetch_sub(1, Ordering::Relaxed);
                let nothing = Observation::Neutral;
                let _ = breaker.settle(permit, settings.trace(), nothing, later, Lane::SHARED);
            }
        };
        let threads = [(); PERMITS].map(|()| {
            let (breaker, inside) = (Arc::clone(&breaker), Arc::clone(&inside));
            thread::spawn(move || probe(&breaker, &inside))
        });
        probe(&breaker, &inside);
        for thread in threads {
            thread.join().unwrap();
        }
        let again = [(); PERMITS + 1].map(|()| breaker.admit(later).answer.is_ok());
        assert_eq!(again, [true, true, false]);
    });
}

#[test]
fn an_outcome_that_races_the_end_of_its_state_opens_nothing_afterwards() {
    let settings = first_failure_opens(1);
    model(move || {
        let breaker = Arc::new(Breaker::new(&settings, 0, NOW));
        let straggler = breaker.admit(NOW).answer.unwrap();
        let settles = {
            let breaker = Arc::clone(&breaker);
            thread::spawn(move || {
                let _ = breaker.settle(straggler, settings.trace(), BAD, NOW, Lane::SHARED);
            })
        };
        let _ = breaker.reset(NOW);
        settles.join().unwrap();
        let view = breaker.state_at(NOW);
        assert_eq!(view.state, CircuitState::Closed);
    });
}

#[test]
fn a_success_that_races_the_end_of_its_state_neither_adds_to_the_new_one_nor_takes_from_it() {
    let trip = Trip {
        ratio: Some(RatioTrip {
            window: Window::Span(Duration::from_secs(10)),
            failure_ratio: Some(Ratio::new(0.0001).unwrap()),
            slow_call_ratio: None,
            minimum_calls: 1,
        }),
        ..Trip::default()
    };
    let settings = settings(trip, 1);
    model(move || {
        let breaker = Arc::new(Breaker::new(&settings, 0, NOW));
        call(&breaker, &settings, GOOD, NOW);
        let straggler = breaker.admit(NOW).answer.unwrap();
        let settles = {
            let breaker = Arc::clone(&breaker);
            thread::spawn(move || {
                let _ = breaker.settle(straggler, settings.trace(), GOOD, NOW, Lane::SHARED);
            })
        };
        let _ = breaker.reset(NOW);
        call(&breaker, &settings, GOOD, NOW);
        settles.join().unwrap();
        let permit = breaker.admit(NOW).answer.unwrap();
        let opened = breaker.settle(permit, settings.trace(), BAD, NOW, Lane::SHARED);
        let causes: Vec<_> = opened.iter().map(|change| change.cause).collect();
        assert_eq!(causes, [Cause::FailureRatio { bad: 1, total: 2 }]);
    });
}

#[test]
fn whoever_reads_while_others_record_loses_nothing_and_never_sees_a_latency_without_its_call() {
    model(|| {
        let recorder = Arc::new(Recorder::new());
        let lanes = [Lane::owned(1).unwrap(), Lane::SHARED];
        let record = |recorder: &Recorder, lane| {
            recorder.record(lane, Outcome::Success, Duration::ZERO);
        };
        for lane in lanes {
            record(&recorder, lane);
        }
        let writers = lanes.map(|lane| {
            let recorder = Arc::clone(&recorder);
            thread::spawn(move || record(&recorder, lane))
        });
        let first = recorder.totals();
        assert!(first.latency().count() <= first.settled(), "{first:?}");
        for writer in writers {
            writer.join().unwrap();
        }
        let last = recorder.totals();
        assert!(last.since(&first).is_some(), "{first:?} then {last:?}");
        assert_eq!((last.settled(), last.latency().count()), (4, 4));
    });
}

#[test]
fn two_that_record_on_the_shared_lane_lose_nothing() {
    model(|| {
        let recorder = Arc::new(Recorder::new());
        recorder.record_retry(Lane::SHARED);
        let other = {
            let recorder = Arc::clone(&recorder);
            thread::spawn(move || recorder.record_retry(Lane::SHARED))
        };
        recorder.record_retry(Lane::SHARED);
        other.join().unwrap();
        assert_eq!(recorder.totals().retries(), 3);
    });
}

#[test]
fn two_never_both_take_the_last_retry() {
    model(|| {
        let settings = RetryBudget {
            ratio: Share::FIFTH,
            min_per_second: 0,
        };
        let budget = Arc::new(Budget::new(&settings, NOW));
        let other = {
            let budget = Arc::clone(&budget);
            thread::spawn(move || budget.withdraw(5, NOW))
        };
        let mine = budget.withdraw(5, NOW);
        let others = other.join().unwrap();
        assert_eq!(usize::from(mine) + usize::from(others), 1);
    });
}

#[test]
fn two_are_never_promised_the_same_moment_and_at_most_one_place_passes_unused() {
    model(|| {
        let settings = RateSettings::compile(&Quota {
            permits: 1,
            per: Duration::from_secs(1),
            burst: 1,
            max_wait: Duration::from_secs(60),
        });
        let limiter = Arc::new(RateLimiter::new(Some(&settings)));
        let other = {
            let limiter = Arc::clone(&limiter);
            thread::spawn(move || {
                let taken = limiter.reserve(1, NOW, Instant::NEVER).unwrap();
                limiter.give_back(taken);
            })
        };
        let mine = limiter.reserve(1, NOW, Instant::NEVER).unwrap().at;
        other.join().unwrap();
        let next = limiter.reserve(1, NOW, Instant::NEVER).unwrap().at;
        assert!(next >= mine + Duration::from_secs(1));
        assert!(next <= NOW + Duration::from_secs(2));
    });
}

#[test]
fn a_reload_scales_a_reservation_that_races_it_once() {
    let quota = |per_secs| {
        RateSettings::compile(&Quota {
            permits: 1,
            per: Duration::from_secs(per_secs),
            burst: 1,
            max_wait: Duration::from_secs(3_600),
        })
    };
    model(move || {
        let limiter = Arc::new(RateLimiter::new(Some(&quota(1))));
        let other = {
            let limiter = Arc::clone(&limiter);
            thread::spawn(move || limiter.reserve(1, NOW, Instant::NEVER).unwrap())
        };
        limiter.reload(Some(&quota(60)), NOW);
        assert_eq!(other.join().unwrap().at, NOW);
        let next = limiter.reserve(1, NOW, Instant::NEVER).unwrap().at;
        assert_eq!(next, NOW + Duration::from_secs(60));
    });
}

/// Wakes a thread of the model.
struct Bell(Notify);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

#[test]
fn a_slot_that_is_handed_to_one_who_gives_up_goes_on_to_the_next() {
    model(|| {
        let slots = Arc::new(Slots::new(1, 2));
        assert_eq!(slots.enter(), Entered::Inside);
        let (Entered::Waiting(gives_up), Entered::Waiting(stays)) = (slots.enter(), slots.enter())
        else {
            panic!("{slots:?}");
        };
        let leaves = {
            let slots = Arc::clone(&slots);
            thread::spawn(move || slots.leave().wake())
        };
        let waits = {
            let slots = Arc::clone(&slots);
            thread::spawn(move || {
                let bell = Arc::new(Bell(Notify::new()));
                let waker = Waker::from(Arc::clone(&bell));
                // Whoever is never woken waits for ever, and the model says so.
                while slots.poll(stays, &Context::from_waker(&waker)) == Poll::Pending {
                    bell.0.wait();
                }
                assert_eq!(slots.occupancy().0, 1);
                slots.leave().wake();
            })
        };
        if slots.give_up(gives_up) {
            slots.leave().wake();
        }
        leaves.join().unwrap();
        waits.join().unwrap();
        assert_eq!(slots.occupancy(), (0, 0));
    });
}

#[test]
fn never_more_are_inside_than_there_are_slots_whoever_comes_and_goes() {
    model(|| {
        let slots = Arc::new(Slots::new(1, 0));
        let inside = Arc::new(AtomicUsize::new(0));
        let visit = |slots: &Slots, inside: &AtomicUsize| {
            if slots.enter() == Entered::Inside {
                assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
                thread::yield_now();
                inside.fetch_sub(1, Ordering::Relaxed);
                slots.leave().wake();
            }
        };
        let threads = [(); 2].map(|()| {
            let (slots, inside) = (Arc::clone(&slots), Arc::clone(&inside));
            thread::spawn(move || visit(&slots, &inside))
        });
        visit(&slots, &inside);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(slots.occupancy(), (0, 0));
    });
}

#[test]
fn a_limit_that_shrinks_while_one_leaves_hands_on_no_slot_that_is_gone() {
    model(|| {
        let slots = Arc::new(Slots::new(2, 1));
        assert_eq!([slots.enter(), slots.enter()], [Entered::Inside; 2]);
        let Entered::Waiting(ticket) = slots.enter() else {
            panic!("{slots:?}");
        };
        let leaves = {
            let slots = Arc::clone(&slots);
            thread::spawn(move || slots.leave().wake())
        };
        slots.resize(1, 1).wake();
        leaves.join().unwrap();
        // Before it shrank the slot was handed on; afterwards there was none to hand on.
        let handed_on = match slots.occupancy() {
            (2, 0) => true,
            (1, 1) => false,
            other => panic!("{other:?}"),
        };
        assert_eq!(slots.give_up(ticket), handed_on);
    });
}
