//! What holds for a guard as a whole.

use std::cell::Cell;
use std::task::{Context, Waker};
use std::time::Duration;

use super::fixtures::{plan, shadowed};
use super::*;
use crate::lane::Lane;
use crate::outcome::{Reason, Transition};
use crate::policy::rules::{BulkheadLimit, ConcurrencyBounds, Trip};

const FAILED: Finding = Finding {
    observation: Observation::Bad {
        slow: false,
        in_run: true,
    },
    latency: None,
};

/// Asks everything there is to ask whenever it is told something.
struct Curious<'a> {
    guard: &'a Guard,
    plan: &'a Plan,
    told: Cell<u32>,
}

impl Curious<'_> {
    fn ask(&self, at: Instant) {
        let Self { guard, plan, told } = self;
        told.set(told.get() + 1);
        let _ = guard.breaker.state_at(at);
        let _ = guard.breaker.would_admit(at);
        let _ = guard.shadow.state_at(&plan.shadow, at);
        let _ = guard.bulkhead.occupancy();
        let _ = guard.adaptive.view();
        let _ = guard.budget.withdraw(0, at);
    }
}

impl Watch for Curious<'_> {
    fn changed(&self, transition: &Transition, _: Standing) {
        self.ask(transition.at);
    }

    fn would_refuse(&self, _: Reason) {
        self.ask(Instant::ORIGIN);
    }
}

/// Of somebody who has all the time in the world.
fn demand(now: Instant) -> Demand {
    Demand {
        cost: 1,
        now,
        deadline: Instant::NEVER,
    }
}

fn trips_at_once() -> Option<Trip> {
    Some(Trip {
        consecutive_failures: Some(1),
        ..Trip::default()
    })
}

#[test]
fn whoever_is_told_may_ask_the_guard_at_once() {
    let plan = shadowed(
        |rules| {
            rules.circuit_breaker.trip = trips_at_once();
            rules.bulkhead.limit = Some(BulkheadLimit {
                max_concurrent: 1,
                max_queue: 0,
                max_wait: Duration::ZERO,
            });
            rules.concurrency_limit.bounds = Some(ConcurrencyBounds { min: 1, max: 5 });
        },
        |rules| {
            rules.circuit_breaker.trip = trips_at_once();
            rules.circuit_breaker.open_duration = Some(Duration::from_secs(3600));
        },
        None,
    );
    let guard = Guard::new(&plan, 0, Instant::ORIGIN);
    let watch = Curious {
        guard: &guard,
        plan: &plan,
        told: Cell::new(0),
    };
    let cx = Context::from_waker(Waker::noop());
    // Opens; probes, while the shadow would refuse; opens again.
    for secs in [0, 60, 120] {
        let now = Instant::ORIGIN + Duration::from_secs(secs);
        let mut way = Way::new();
        assert_eq!(
            way.poll(&guard, &plan, &demand(now), &cx, &watch),
            Gate::Inside
        );
        way.settle(&guard, &plan, FAILED, now, Lane::SHARED, &watch);
    }
    guard.reload(&plan, &plan, Instant::ORIGIN, &watch);
    assert!(watch.told.get() >= 7, "{}", watch.told.get());
}

#[test]
fn rules_that_change_a_thousand_times_forget_nothing() {
    let of = |threshold| {
        plan(|rules| {
            rules.circuit_breaker.trip = Some(Trip {
                consecutive_failures: Some(threshold),
                ..Trip::default()
            });
            rules.bulkhead.limit = Some(BulkheadLimit {
                max_concurrent: threshold,
                max_queue: 0,
                max_wait: Duration::ZERO,
            });
        })
    };
    let plans = [of(5), of(1000)];
    let guard = Guard::new(&plans[0], 0, Instant::ORIGIN);
    let watch = super::fixtures::Notes::default();
    let cx = Context::from_waker(Waker::noop());
    let now = Instant::ORIGIN;
    let mut inside = Way::new();
    assert_eq!(
        inside.poll(&guard, &plans[0], &demand(now), &cx, &watch),
        Gate::Inside
    );
    for change in 0..1000 {
        let (old, new) = (&plans[change % 2], &plans[(change + 1) % 2]);
        guard.reload(old, new, now, &watch);
        if change % 250 == 0 {
            let mut way = Way::new();
            assert_eq!(
                way.poll(&guard, new, &demand(now), &cx, &watch),
                Gate::Inside
            );
            way.settle(&guard, new, FAILED, now, Lane::SHARED, &watch);
        }
    }
    assert_eq!(
        guard.bulkhead.occupancy(),
        (1, 0),
        "whoever is inside stays"
    );
    inside.settle(&guard, &plans[0], FAILED, now, Lane::SHARED, &watch);
    assert_eq!(
        watch.told().enforced.len(),
        1,
        "the fifth failure in a row opens"
    );
    assert_eq!(guard.bulkhead.occupancy(), (0, 0));
}
