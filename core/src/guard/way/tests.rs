use std::task::Waker;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::guard::breaker::Override;
use crate::guard::fixtures::{Bells, Notes, plan, shadowed};
use crate::outcome::{CircuitState, Forced, Transition};
use crate::policy::rules::{BulkheadLimit, ConcurrencyBounds, HalfOpen, Quota, Rules, Trip};
use crate::time::Span;

const LANE: Lane = Lane::SHARED;
const GOOD: Observation = Observation::Good { slow: false };
const BAD: Observation = Observation::Bad {
    slow: false,
    in_run: true,
};

/// One operation's guard, on a clock that only the test moves.
struct Bench {
    guard: Guard,
    plan: Plan,
    now: Instant,
    notes: Notes,
    bells: Bells,
}

impl Bench {
    fn new(change: impl FnOnce(&mut Rules)) -> Self {
        Self::of(plan(change))
    }

    fn of(plan: Plan) -> Self {
        Self {
            guard: Guard::new(&plan, 0, Instant::ORIGIN),
            plan,
            now: Instant::ORIGIN,
            notes: Notes::default(),
            bells: Bells::default(),
        }
    }

    fn reload(&mut self, change: impl FnOnce(&mut Rules)) {
        let new = plan(change);
        self.guard.reload(&self.plan, &new, self.now, &self.notes);
        self.plan = new;
    }

    fn wait_millis(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
    }

    fn poll(&self, way: &mut Way) -> Gate {
        self.poll_as(0, way)
    }

    fn poll_as(&self, whom: usize, way: &mut Way) -> Gate {
        let waker = self.bells.of(whom);
        let cx = Context::from_waker(&waker);
        let demand = self.demand();
        way.poll(&self.guard, &self.plan, &demand, &cx, &self.notes)
    }

    /// Of somebody who has all the time in the world.
    fn demand(&self) -> Demand {
        Demand {
            cost: 1,
            now: self.now,
            deadline: Instant::NEVER,
        }
    }

    fn go_in(&self) -> Way {
        let mut way = Way::new();
        assert_eq!(self.poll(&mut way), Gate::Inside);
        way
    }

    fn is_refused(&self) -> Rejection {
        let mut way = Way::new();
        match self.poll(&mut way) {
            Gate::Refused(rejection) => rejection,
            other => panic!("{other:?}"),
        }
    }

    fn waits(&self, way: &mut Way) -> Duration {
        match self.poll(way) {
            Gate::Wait(until) => until.since(self.now),
            other => panic!("{other:?}"),
        }
    }

    fn settle(&self, mut way: Way, observation: Observation) {
        let (guard, plan, now) = (&self.guard, &self.plan, self.now);
        way.settle(guard, plan, observation.into(), now, LANE, &self.notes);
    }

    fn abandon(&self, mut way: Way, observation: Observation) {
        let (guard, plan, now) = (&self.guard, &self.plan, self.now);
        way.abandon(guard, plan, observation, now, LANE, &self.notes);
    }

    fn state(&self) -> CircuitState {
        let view = self.guard.breaker.state_at(self.now);
        view.state
    }
}

fn consecutive(rules: &mut Rules, failures: u32, permits: u32) {
    rules.circuit_breaker.trip = Some(Trip {
        consecutive_failures: Some(failures),
        ..Trip::default()
    });
    rules.circuit_breaker.open_duration = Some(Duration::from_secs(5));
    rules.circuit_breaker.half_open = Some(HalfOpen {
        permits,
        successes: None,
        max: Some(Duration::from_secs(3600)),
    });
}

fn quota(rules: &mut Rules, permits: u32, max_wait_secs: u64) {
    rules.rate_limit.quota = Some(Quota {
        permits,
        per: Duration::from_secs(1),
        burst: 1,
        max_wait: Duration::from_secs(max_wait_secs),
    });
}

fn bulkhead(rules: &mut Rules, max_concurrent: u32, max_queue: u32) {
    rules.bulkhead.limit = Some(BulkheadLimit {
        max_concurrent,
        max_queue,
        max_wait: Duration::from_secs(1),
    });
}

fn adaptive(rules: &mut Rules, limit: u32) {
    rules.concurrency_limit.bounds = Some(ConcurrencyBounds {
        min: limit,
        max: limit,
    });
}

/// Open for as long as it takes, then half-open with two permits; everything else holds one call at
/// a time, and those behind it wait.
fn everything(rules: &mut Rules) {
    consecutive(rules, 1, 2);
    quota(rules, 1, 60);
    bulkhead(rules, 1, 1);
    adaptive(rules, 1);
}

impl Bench {
    /// A bench of [`everything`] whose breaker is about to probe.
    fn half_open() -> Self {
        let mut bench = Self::new(everything);
        let failed = bench.go_in();
        bench.settle(failed, BAD);
        bench.wait_millis(5_000);
        bench
    }

    fn assert_nobody_holds_anything(&mut self) {
        assert_eq!(self.guard.bulkhead.occupancy(), (0, 0));
        assert_eq!(self.guard.adaptive.view().1, 0);
        let next = self.guard.rate.reserve(1, self.now, Instant::NEVER);
        let next = next.unwrap();
        assert_eq!(next.at, self.now, "no place in the sequence is taken");
        for probe in [true, true, false] {
            let admitted = self.guard.breaker.admit(self.now).answer;
            assert_eq!(admitted.is_ok(), probe);
        }
        assert_eq!(self.state(), CircuitState::HalfOpen, "nothing was learned");
    }
}

fn refusal(reason: Reason, retry_after: Option<Duration>) -> Rejection {
    Rejection {
        reason,
        retry_after,
    }
}

#[test]
fn where_nothing_is_limited_a_call_goes_in_at_once_and_holds_only_its_permit() {
    let bench = Bench::new(|_| {});
    let way = bench.go_in();
    assert!(way.permit.is_some() && !way.slot && !way.counted && way.shadow.is_none());
    bench.settle(way, GOOD);
}

#[test]
fn a_call_waits_for_its_moment_then_in_the_queue_then_it_is_in() {
    let mut bench = Bench::new(everything);
    let first = bench.go_in();
    let mut second = Way::new();
    assert_eq!(bench.waits(&mut second), Duration::from_secs(1));
    bench.wait_millis(999);
    assert_eq!(bench.waits(&mut second), Duration::from_millis(1));
    bench.wait_millis(1);
    assert_eq!(
        bench.waits(&mut second),
        Duration::from_secs(1),
        "in the queue"
    );
    bench.wait_millis(900);
    assert_eq!(bench.waits(&mut second), Duration::from_millis(100));
    bench.settle(first, GOOD);
    assert_eq!(bench.bells.rung(), [0]);
    assert_eq!(bench.poll(&mut second), Gate::Inside);
    bench.settle(second, GOOD);
}

#[test]
fn whoever_waits_too_long_in_the_queue_is_refused_and_leaves_it() {
    let mut bench = Bench::new(|rules| bulkhead(rules, 1, 1));
    let _first = bench.go_in();
    let mut second = Way::new();
    bench.waits(&mut second);
    bench.wait_millis(1_000);
    let refused = Gate::Refused(refusal(Reason::BulkheadFull, None));
    assert_eq!(bench.poll(&mut second), refused);
    assert_eq!(bench.guard.bulkhead.occupancy(), (1, 0));
}

#[test]
fn a_slot_that_comes_as_the_wait_ends_is_taken() {
    let mut bench = Bench::new(|rules| bulkhead(rules, 1, 1));
    let first = bench.go_in();
    let mut second = Way::new();
    bench.waits(&mut second);
    bench.wait_millis(1_000);
    bench.settle(first, GOOD);
    assert_eq!(bench.poll(&mut second), Gate::Inside);
}

#[test]
fn each_door_refuses_in_its_own_name_and_whoever_is_refused_holds_nothing() {
    let mut bench = Bench::half_open();
    let probe = bench.go_in();
    let impatient = plan(|rules| quota(rules, 1, 0));
    bench.guard.rate.reload(impatient.rate.as_ref(), bench.now);
    let refused = bench.is_refused();
    assert_eq!(
        refused,
        refusal(Reason::RateLimited, Some(Duration::from_secs(1)))
    );
    bench.wait_millis(1_000);
    bench.plan.bulkhead.as_mut().unwrap().max_queue = 0;
    bench.guard.bulkhead.resize(1, 0).wake();
    assert_eq!(bench.is_refused(), refusal(Reason::BulkheadFull, None));
    bench.guard.bulkhead.resize(2, 0).wake();
    assert_eq!(
        bench.is_refused(),
        refusal(Reason::ConcurrencyLimited, None)
    );
    assert_eq!(bench.guard.bulkhead.occupancy(), (1, 0));
    bench.settle(probe, Observation::Neutral);
    bench.assert_nobody_holds_anything();
}

#[test]
fn an_open_breaker_takes_nothing_of_the_limits_behind_it() {
    let bench = Bench::half_open();
    let bad = bench.go_in();
    bench.settle(bad, BAD);
    let refused = bench.is_refused();
    let left = Duration::from_secs(5);
    assert_eq!(refused, refusal(Reason::CircuitOpen, Some(left)));
    assert_eq!(bench.guard.bulkhead.occupancy(), (0, 0));
}

#[test]
fn nothing_is_lost_by_a_call_dropped_before_its_first_door() {
    let mut bench = Bench::half_open();
    let probe = bench.go_in();
    bench.abandon(Way::new(), BAD);
    bench.settle(probe, Observation::Neutral);
    bench.wait_millis(1_000);
    bench.assert_nobody_holds_anything();
}

#[test]
fn nothing_is_lost_by_a_call_dropped_while_it_waits_for_its_moment() {
    let mut bench = Bench::half_open();
    let first = bench.go_in();
    let mut second = Way::new();
    bench.waits(&mut second);
    bench.abandon(second, BAD);
    bench.settle(first, Observation::Neutral);
    bench.wait_millis(1_000);
    bench.assert_nobody_holds_anything();
}

#[test]
fn nothing_is_lost_by_a_call_dropped_in_the_queue() {
    let mut bench = Bench::half_open();
    let first = bench.go_in();
    let mut second = Way::new();
    bench.waits(&mut second);
    bench.wait_millis(1_000);
    bench.waits(&mut second);
    bench.abandon(second, BAD);
    bench.settle(first, Observation::Neutral);
    bench.assert_nobody_holds_anything();
}

#[test]
fn nothing_is_lost_by_a_call_dropped_after_it_was_handed_a_slot() {
    let mut bench = Bench::half_open();
    let first = bench.go_in();
    let mut second = Way::new();
    bench.waits(&mut second);
    bench.wait_millis(1_000);
    bench.waits(&mut second);
    bench.settle(first, Observation::Neutral);
    assert_eq!(bench.guard.bulkhead.occupancy(), (1, 0), "handed over");
    bench.abandon(second, BAD);
    bench.assert_nobody_holds_anything();
}

#[test]
fn nothing_is_lost_by_a_call_dropped_inside() {
    let mut bench = Bench::half_open();
    let way = bench.go_in();
    bench.abandon(way, Observation::Neutral);
    bench.wait_millis(1_000);
    bench.assert_nobody_holds_anything();
}

#[test]
fn nothing_is_lost_by_a_call_that_is_not_made_after_all() {
    let mut bench = Bench::half_open();
    let mut way = bench.go_in();
    let (guard, plan, now) = (&bench.guard, &bench.plan, bench.now);
    way.take_back(guard, plan, now, LANE, &bench.notes);
    bench.assert_nobody_holds_anything();
}

#[test]
fn whoever_will_not_wait_is_told_what_for_and_holds_nothing() {
    let mut bench = Bench::half_open();
    let first = bench.go_in();
    let leave = |bench: &Bench| {
        let mut way = Way::new();
        bench.waits(&mut way);
        way.refuse_to_wait(&bench.guard, &bench.plan, bench.now, &bench.notes)
    };
    bench.wait_millis(400);
    let moment = refusal(Reason::RateLimited, Some(Duration::from_millis(600)));
    assert_eq!(leave(&bench), moment);
    bench.wait_millis(600);
    assert_eq!(leave(&bench), refusal(Reason::BulkheadFull, None));
    bench.settle(first, Observation::Neutral);
    bench.assert_nobody_holds_anything();
}

#[test]
fn what_is_dropped_on_its_way_in_says_nothing_and_inside_what_it_showed() {
    let mut bench = Bench::new(|rules| {
        consecutive(rules, 1, 1);
        quota(rules, 1, 60);
    });
    let inside = bench.go_in();
    let mut outside = Way::new();
    bench.waits(&mut outside);
    bench.abandon(outside, BAD);
    assert_eq!(bench.state(), CircuitState::Closed);
    bench.abandon(inside, BAD);
    assert_eq!(bench.state(), CircuitState::Open);
    bench.wait_millis(5_000);
}

#[test]
fn a_call_that_asks_again_once_it_is_in_takes_nothing_more() {
    let bench = Bench::of(shadowed(everything, |rules| bulkhead(rules, 9, 0), None));
    let mut way = bench.go_in();
    for _ in 0..20 {
        assert_eq!(bench.poll(&mut way), Gate::Inside);
    }
    bench.settle(way, GOOD);
    assert_eq!(bench.notes.told().would_refuse, []);
    assert_eq!(bench.guard.bulkhead.occupancy(), (0, 0));
}

#[test]
fn a_way_that_was_settled_leads_the_next_attempt_in_again() {
    let mut bench = Bench::new(everything);
    let mut way = bench.go_in();
    let (guard, plan, now) = (&bench.guard, &bench.plan, bench.now);
    way.settle(guard, plan, GOOD.into(), now, LANE, &bench.notes);
    bench.wait_millis(1_000);
    assert_eq!(bench.poll(&mut way), Gate::Inside);
    assert_eq!(bench.guard.bulkhead.occupancy(), (1, 0));
}

#[test]
fn a_breaker_that_opens_while_a_call_waits_for_its_moment_refuses_it_then() {
    let mut bench = Bench::new(|rules| {
        consecutive(rules, 1, 1);
        quota(rules, 1, 60);
    });
    let first = bench.go_in();
    let mut second = Way::new();
    bench.waits(&mut second);
    bench.wait_millis(1_000);
    bench.settle(first, BAD);
    let left = Some(Duration::from_secs(5));
    let refused = Gate::Refused(refusal(Reason::CircuitOpen, left));
    assert_eq!(bench.poll(&mut second), refused);
    let next = bench.guard.rate.reserve(1, bench.now, Instant::NEVER);
    let next = next.unwrap();
    assert_eq!(next.at, bench.now, "its place was given back");
}

#[test]
fn a_breaker_that_opens_while_a_call_queues_refuses_it_and_its_slot_goes_to_the_next() {
    let bench = Bench::new(|rules| {
        consecutive(rules, 1, 1);
        bulkhead(rules, 1, 2);
    });
    let first = bench.go_in();
    let (mut second, mut third) = (Way::new(), Way::new());
    assert!(matches!(bench.poll_as(2, &mut second), Gate::Wait(_)));
    assert!(matches!(bench.poll_as(3, &mut third), Gate::Wait(_)));
    bench.settle(first, BAD);
    assert_eq!(bench.bells.rung(), [2]);
    assert!(matches!(bench.poll_as(2, &mut second), Gate::Refused(_)));
    assert_eq!(bench.bells.rung(), [3]);
    assert!(matches!(bench.poll_as(3, &mut third), Gate::Refused(_)));
    assert_eq!(bench.guard.bulkhead.occupancy(), (0, 0));
}

#[test]
fn whoever_waited_through_an_open_time_goes_in_as_a_probe_of_the_new_state() {
    let mut bench = Bench::new(|rules| {
        consecutive(rules, 1, 1);
        quota(rules, 1, 60);
    });
    let first = bench.go_in();
    let mut second = Way::new();
    bench.waits(&mut second);
    bench.settle(first, BAD);
    bench.wait_millis(5_000);
    assert_eq!(bench.poll(&mut second), Gate::Inside);
    assert_eq!(bench.state(), CircuitState::HalfOpen);
    bench.settle(second, GOOD);
    assert_eq!(bench.state(), CircuitState::Closed);
}

#[test]
fn whoever_waits_while_an_operator_forces_it_open_is_refused_and_gives_its_probe_back() {
    let mut bench = Bench::half_open();
    let first = bench.go_in();
    let mut second = Way::new();
    bench.waits(&mut second);
    let forced = |bench: &Bench, overrides: &[Override]| {
        let changes = bench.guard.breaker.force(overrides, bench.now);
        assert!(!changes.is_empty());
    };
    let open = Override {
        id: 1,
        forced: Forced::Open,
        until: Instant::NEVER,
    };
    forced(&bench, &[open]);
    bench.wait_millis(1_000);
    let refused = Gate::Refused(refusal(Reason::ForcedOpen, None));
    assert_eq!(bench.poll(&mut second), refused);
    forced(&bench, &[]);
    bench.settle(first, Observation::Neutral);
    bench.assert_nobody_holds_anything();
}

#[test]
fn whoever_was_let_in_by_an_operator_alone_asks_again_once_that_has_ended() {
    let mut bench = Bench::new(|rules| {
        consecutive(rules, 1, 1);
        quota(rules, 1, 60);
    });
    let bad = bench.go_in();
    bench.settle(bad, BAD);
    let closed = Override {
        id: 1,
        forced: Forced::Closed,
        until: bench.now + Duration::from_millis(900),
    };
    let changes = bench.guard.breaker.force(&[closed], bench.now);
    assert!(!changes.is_empty());
    let mut way = Way::new();
    assert_eq!(bench.waits(&mut way), Duration::from_secs(1));
    bench.wait_millis(1_000);
    assert!(matches!(bench.poll(&mut way), Gate::Refused(_)));
}

#[test]
fn a_promised_moment_is_kept_whatever_quota_comes_meanwhile() {
    let mut bench = Bench::new(|rules| quota(rules, 1, 60));
    let _first = bench.go_in();
    let mut second = Way::new();
    assert_eq!(bench.waits(&mut second), Duration::from_secs(1));
    bench.reload(|rules| {
        rules.rate_limit.quota = Some(Quota {
            permits: 1,
            per: Duration::from_secs(3600),
            burst: 1,
            max_wait: Duration::ZERO,
        });
    });
    bench.wait_millis(1_000);
    assert_eq!(bench.poll(&mut second), Gate::Inside);
}

#[test]
fn what_the_old_quota_let_through_is_used_up_under_the_new_one() {
    let mut bench = Bench::new(|rules| quota(rules, 1, 0));
    let _first = bench.go_in();
    bench.reload(|rules| quota(rules, 10, 0));
    let refused = bench.is_refused();
    let left = Duration::from_millis(100);
    assert_eq!(refused, refusal(Reason::RateLimited, Some(left)));
}

#[test]
fn a_bulkhead_that_shrinks_keeps_whoever_is_inside_and_waits_for_nobody() {
    let mut bench = Bench::new(|rules| bulkhead(rules, 3, 1));
    let inside = [(); 3].map(|()| bench.go_in());
    bench.reload(|rules| bulkhead(rules, 1, 1));
    let mut next = Way::new();
    bench.waits(&mut next);
    for way in inside {
        assert!(matches!(bench.poll(&mut next), Gate::Wait(_)));
        bench.settle(way, GOOD);
    }
    assert_eq!(bench.poll(&mut next), Gate::Inside);
}

#[test]
fn a_bulkhead_that_grows_or_goes_lets_those_who_wait_in_at_once() {
    for change in [
        |rules: &mut Rules| bulkhead(rules, 3, 2),
        |_: &mut Rules| {},
    ] {
        let mut bench = Bench::new(|rules| bulkhead(rules, 1, 2));
        let first = bench.go_in();
        let mut waiting = [Way::new(), Way::new()];
        for (whom, way) in waiting.iter_mut().enumerate() {
            assert!(matches!(bench.poll_as(whom, way), Gate::Wait(_)));
        }
        bench.reload(change);
        assert_eq!(bench.bells.rung(), [0, 1]);
        for mut way in waiting {
            assert_eq!(bench.poll(&mut way), Gate::Inside);
            bench.settle(way, GOOD);
        }
        bench.settle(first, GOOD);
        assert_eq!(bench.guard.bulkhead.occupancy(), (0, 0));
    }
}

#[test]
fn a_breaker_keeps_its_state_over_a_reload() {
    let mut bench = Bench::new(|rules| consecutive(rules, 5, 1));
    for _ in 0..3 {
        let way = bench.go_in();
        bench.settle(way, BAD);
    }
    bench.reload(|rules| consecutive(rules, 3, 1));
    assert_eq!(bench.state(), CircuitState::Closed);
    let way = bench.go_in();
    bench.settle(way, BAD);
    assert_eq!(bench.state(), CircuitState::Open);
    assert_eq!(bench.notes.told().enforced.len(), 1);
}

#[test]
fn what_took_its_time_teaches_the_adaptive_limit_and_what_has_none_does_not() {
    let bench = Bench::new(|rules| {
        rules.concurrency_limit.bounds = Some(ConcurrencyBounds { min: 1, max: 100 });
    });
    let round = |latency| {
        let ways: Vec<_> = (0..bench.guard.adaptive.view().0)
            .map(|_| bench.go_in())
            .collect();
        for mut way in ways {
            let (guard, plan, now) = (&bench.guard, &bench.plan, bench.now);
            let finding = Finding {
                observation: GOOD,
                latency,
            };
            way.settle(guard, plan, finding, now, LANE, &bench.notes);
        }
        bench.guard.adaptive.view()
    };
    let (before, _) = round(None);
    assert_eq!(round(None), (before, 0));
    let (after, inside) = round(Some(Span::from_nanos(1_000)));
    assert!(after > before && inside == 0);
}

/// A trial of everything that would refuse nearly everybody.
fn strict(rules: &mut Rules) {
    consecutive(rules, 1, 1);
    quota(rules, 1, 0);
    bulkhead(rules, 1, 0);
    adaptive(rules, 1);
}

#[test]
fn a_shadow_never_refuses_and_never_waits_and_counts_whom_it_would_have_refused() {
    for (trial, reason) in [
        (
            (|rules| quota(rules, 1, 0)) as fn(&mut Rules),
            Reason::RateLimited,
        ),
        (|rules| bulkhead(rules, 1, 0), Reason::BulkheadFull),
        (|rules| adaptive(rules, 1), Reason::ConcurrencyLimited),
    ] {
        let bench = Bench::of(shadowed(|_| {}, trial, None));
        let inside = [(); 4].map(|()| bench.go_in());
        assert_eq!(bench.notes.told().would_refuse, [reason; 3]);
        for way in inside {
            bench.settle(way, GOOD);
        }
    }
}

#[test]
fn a_shadow_counts_a_wait_in_its_queue_as_let_in() {
    let bench = Bench::of(shadowed(|_| {}, |rules| bulkhead(rules, 1, 2), None));
    let _inside = [(); 4].map(|()| bench.go_in());
    assert_eq!(bench.notes.told().would_refuse, [Reason::BulkheadFull]);
}

#[test]
fn a_breaker_on_trial_tells_of_its_opening_once_and_refuses_nobody() {
    let mut bench = Bench::of(shadowed(|_| {}, |rules| consecutive(rules, 2, 1), None));
    for _ in 0..4 {
        let way = bench.go_in();
        bench.settle(way, BAD);
    }
    {
        let told = bench.notes.told();
        assert_eq!(told.enforced, []);
        assert_eq!(told.shadow.len(), 1);
        assert_eq!(told.shadow[0].to, CircuitState::Open);
        assert_eq!(told.would_refuse, [Reason::CircuitOpen; 2]);
    }
    let view = bench.guard.shadow.state_at(&bench.plan.shadow, bench.now);
    assert_eq!(view.unwrap().state, CircuitState::Open);
    assert_eq!(bench.state(), CircuitState::Closed);
    bench.wait_millis(5_000);
    let probe = bench.go_in();
    bench.settle(probe, GOOD);
    let view = bench.guard.shadow.state_at(&bench.plan.shadow, bench.now);
    assert_eq!(view.unwrap().state, CircuitState::Closed);
}

#[test]
fn a_shadow_gives_everything_back_however_the_call_ends() {
    let trial = |rules: &mut Rules| {
        bulkhead(rules, 1, 0);
        adaptive(rules, 1);
    };
    let bench = Bench::of(shadowed(|_| {}, trial, None));
    let settled = bench.go_in();
    bench.settle(settled, GOOD);
    let dropped = bench.go_in();
    bench.abandon(dropped, Observation::Neutral);
    let mut undone = bench.go_in();
    let (guard, plan, now) = (&bench.guard, &bench.plan, bench.now);
    undone.take_back(guard, plan, now, LANE, &bench.notes);
    let _last = bench.go_in();
    assert_eq!(bench.notes.told().would_refuse, []);
}

#[test]
fn a_trial_that_is_reloaded_goes_on_and_one_that_is_new_begins_anew() {
    let trial = |failures| {
        move |previous: Option<&Plan>| {
            shadowed(
                |_| {},
                move |rules| consecutive(rules, failures, 1),
                previous,
            )
        }
    };
    let mut bench = Bench::of(trial(3)(None));
    let fail = |bench: &Bench| {
        let way = bench.go_in();
        bench.settle(way, BAD);
        bench.notes.told().shadow.len()
    };
    let reload = |bench: &mut Bench, new: Plan| {
        bench
            .guard
            .reload(&bench.plan, &new, bench.now, &bench.notes);
        bench.plan = new;
    };
    assert_eq!(fail(&bench), 0);
    let new = trial(2)(Some(&bench.plan));
    reload(&mut bench, new);
    assert_eq!(fail(&bench), 1, "the first failure still counts");
    let none = plan(|_| {});
    reload(&mut bench, none);
    let new = trial(2)(Some(&bench.plan));
    reload(&mut bench, new);
    let view = bench.guard.shadow.state_at(&bench.plan.shadow, bench.now);
    assert_eq!(view.unwrap().state, CircuitState::Closed);
}

proptest! {
    /// Two guards under the same rules, one of them with a strict trial beside them.
    #[test]
    fn what_is_enforced_is_the_same_with_and_without_a_shadow(
        steps in prop::collection::vec((0_u64..800, 0_usize..4, 0_u8..4), 0..60),
    ) {
        let enforced = |rules: &mut Rules| {
            consecutive(rules, 2, 1);
            quota(rules, 4, 1);
            bulkhead(rules, 2, 1);
            adaptive(rules, 2);
        };
        let mut benches = [
            Bench::of(plan(enforced)),
            Bench::of(shadowed(enforced, strict, None)),
        ];
        prop_assert_ne!(benches[0].plan, benches[1].plan);
        let mut ways: [[Option<Way>; 4]; 2] = Default::default();
        for (wait, which, end) in steps {
            let mut seen = Vec::new();
            for (bench, ways) in benches.iter_mut().zip(&mut ways) {
                bench.wait_millis(wait);
                let mut way = ways[which].take().unwrap_or_default();
                let gate = bench.poll(&mut way);
                match (gate, end) {
                    (Gate::Inside, 0) => bench.settle(way, GOOD),
                    (Gate::Inside, 1) => bench.settle(way, BAD),
                    (Gate::Refused(_), _) => {}
                    (_, 2) => bench.abandon(way, Observation::Neutral),
                    _ => ways[which] = Some(way),
                }
                seen.push((gate, bench.guard.bulkhead.occupancy(), bench.state()));
            }
            prop_assert_eq!(seen[0], seen[1]);
        }
        let [plain, shadowed] = benches;
        prop_assert_eq!(&plain.notes.told().enforced, &shadowed.notes.told().enforced);
    }
}

/// Panics whatever it is told.
struct Bomb;

impl Watch for Bomb {
    fn changed(&self, transition: &Transition, _: Standing) {
        panic!("told of {transition:?}");
    }

    fn would_refuse(&self, reason: Reason) {
        panic!("told of {reason:?}");
    }
}

impl Bench {
    fn assert_panics(&self, step: impl FnOnce(&Context<'_>)) {
        let cx = Context::from_waker(Waker::noop());
        let step = std::panic::AssertUnwindSafe(|| step(&cx));
        assert!(std::panic::catch_unwind(step).is_err());
    }

    fn assert_poll_panics(&self, way: &mut Way) {
        let (guard, plan, demand) = (&self.guard, &self.plan, self.demand());
        self.assert_panics(|cx| {
            way.poll(guard, plan, &demand, cx, &Bomb);
        });
    }
}

#[test]
fn a_watcher_that_panics_as_a_call_goes_in_leaves_nobody_inside() {
    let mut bench = Bench::half_open();
    let mut way = Way::new();
    bench.assert_poll_panics(&mut way);
    drop(way);
    bench.wait_millis(1_000);
    bench.assert_nobody_holds_anything();
}

#[test]
fn a_watcher_that_panics_as_a_call_is_refused_leaves_nothing_taken() {
    let mut bench = Bench::half_open();
    bench.guard.bulkhead.resize(0, 0).wake();
    let mut way = Way::new();
    bench.assert_poll_panics(&mut way);
    drop(way);
    bench.guard.bulkhead.resize(1, 1).wake();
    bench.assert_nobody_holds_anything();
}

#[test]
fn a_watcher_that_panics_as_a_call_is_asked_again_leaves_the_queue() {
    let mut bench = Bench::half_open();
    let first = bench.go_in();
    let mut second = Way::new();
    bench.waits(&mut second);
    bench.wait_millis(1_000);
    bench.waits(&mut second);
    bench.settle(first, BAD);
    bench.wait_millis(5_000);
    bench.assert_poll_panics(&mut second);
    drop(second);
    bench.wait_millis(1_000);
    bench.assert_nobody_holds_anything();
}

#[test]
fn a_watcher_that_panics_as_a_call_ends_leaves_nobody_inside() {
    let mut bench = Bench::new(everything);
    let mut way = bench.go_in();
    let (guard, plan, now) = (&bench.guard, &bench.plan, bench.now);
    bench.assert_panics(|_| way.settle(guard, plan, BAD.into(), now, LANE, &Bomb));
    drop(way);
    bench.wait_millis(5_000);
    assert_eq!(bench.state(), CircuitState::Open);
    let probe = bench.go_in();
    bench.settle(probe, Observation::Neutral);
    bench.wait_millis(1_000);
    bench.assert_nobody_holds_anything();
}

#[test]
fn a_watcher_that_panics_at_what_a_trial_says_leaves_nobody_inside() {
    let trial = |rules: &mut Rules| bulkhead(rules, 1, 0);
    let mut bench = Bench::of(shadowed(|rules| bulkhead(rules, 5, 0), trial, None));
    let first = bench.go_in();
    let mut second = Way::new();
    bench.assert_poll_panics(&mut second);
    drop(second);
    assert_eq!(bench.guard.bulkhead.occupancy(), (1, 0));
    bench.settle(first, GOOD);
    let third = bench.go_in();
    assert!(bench.notes.told().would_refuse.is_empty());
    bench.settle(third, GOOD);
    bench.reload(|_| {});
}

#[test]
fn a_watcher_that_panics_at_a_reload_is_told_once_all_is_reloaded() {
    let bench = Bench::half_open();
    let _hung = bench.go_in();
    let new = plan(|rules| {
        consecutive(rules, 1, 2);
        bulkhead(rules, 3, 0);
    });
    let (old, later) = (&bench.plan, bench.now + Duration::from_secs(3600));
    bench.assert_panics(|_| bench.guard.reload(old, &new, later, &Bomb));
    let inside = [(); 3].map(|()| bench.guard.bulkhead.enter());
    assert_eq!(inside, [Entered::Inside, Entered::Inside, Entered::Full]);
    assert!(bench.guard.rate.reserve(9, later, later).is_ok());
}

#[test]
fn what_is_on_trial_is_not_asked_of_an_attempt_before_it_is_made() {
    let trial = |rules: &mut Rules| quota(rules, 1, 0);
    let bench = Bench::of(shadowed(|_| {}, trial, None));
    let (guard, plan, demand) = (&bench.guard, &bench.plan, bench.demand());
    let cx = Context::from_waker(Waker::noop());
    for _ in 0..3 {
        let mut way = Way::new();
        let gate = way.poll_enforced(guard, plan, &demand, &cx, &bench.notes);
        assert_eq!(gate, Gate::Inside);
        way.take_back(guard, plan, bench.now, LANE, &bench.notes);
    }
    let mut ways = [Way::new(), Way::new()];
    for way in &mut ways {
        let _ = way.poll_enforced(guard, plan, &demand, &cx, &bench.notes);
        way.try_out(guard, plan, &demand, &bench.notes);
    }
    assert_eq!(bench.notes.told().would_refuse, [Reason::RateLimited]);
    for way in ways {
        bench.settle(way, GOOD);
    }
}

#[test]
fn what_a_call_under_older_bounds_shows_does_not_push_the_limit_back_between_them() {
    let bounds = |max| {
        move |rules: &mut Rules| {
            rules.concurrency_limit.bounds = Some(ConcurrencyBounds { min: 1, max });
        }
    };
    let mut bench = Bench::new(bounds(5));
    let (mut straggler, older) = (bench.go_in(), bench.plan);
    bench.reload(bounds(100));
    let others = [(); 15].map(|()| bench.go_in());
    let finding = Finding {
        observation: GOOD,
        latency: Some(Span::from_nanos(1_000)),
    };
    let (guard, now) = (&bench.guard, bench.now);
    straggler.settle(guard, &older, finding, now, LANE, &bench.notes);
    let more = [(); 5].map(|()| bench.go_in());
    for way in others.into_iter().chain(more) {
        bench.settle(way, GOOD);
    }
}

impl Bench {
    fn try_next(&mut self, trial: impl FnOnce(&mut Rules)) {
        let new = shadowed(|_| {}, trial, Some(&self.plan));
        self.guard.reload(&self.plan, &new, self.now, &self.notes);
        self.plan = new;
    }
}

#[test]
fn a_rate_that_was_not_on_trial_for_a_while_begins_with_a_whole_burst() {
    let mut bench = Bench::of(shadowed(|_| {}, |rules| quota(rules, 1, 0), None));
    let first = bench.go_in();
    bench.try_next(|_| {});
    bench.try_next(|rules| quota(rules, 1, 0));
    let second = bench.go_in();
    assert!(bench.notes.told().would_refuse.is_empty());
    for way in [first, second] {
        bench.settle(way, GOOD);
    }
}

#[test]
fn the_first_to_meet_a_trial_may_come_under_older_rules_than_those_on_trial() {
    let mut bench = Bench::of(shadowed(|_| {}, |rules| bulkhead(rules, 1, 0), None));
    let older = bench.plan;
    bench.try_next(|rules| bulkhead(rules, 3, 0));
    let present = std::mem::replace(&mut bench.plan, older);
    let straggler = bench.go_in();
    bench.plan = present;
    let others = [(); 2].map(|()| bench.go_in());
    assert!(bench.notes.told().would_refuse.is_empty());
    for way in others.into_iter().chain([straggler]) {
        bench.settle(way, GOOD);
    }
}
