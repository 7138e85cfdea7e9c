//! Shadow beside what is enforced, and what holds of every merge.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::key::Kind;
use crate::policy::Draft;
use crate::policy::ratio::{Multiplier, Ratio, Share};
use crate::policy::rules::{
    BulkheadLimit, ConcurrencyBounds, HalfOpen, HedgeTrigger, Hedging, Jitter, Quota, RatioTrip,
    RetryBudget, Trip, Window,
};
use crate::policy::tests::{draft, on, resolve_for, secs};

pub(super) const SHADOW: Option<Mode> = Some(Mode::Shadow);

/// The policy `name`, above all whose names come before.
pub(super) fn policy(name: &str, set: impl FnOnce(&mut Draft)) -> Policy {
    let mut draft = draft(name);
    set(&mut draft);
    Policy::new(draft).unwrap()
}

pub(super) fn trip(failures: u32) -> Option<Trip> {
    Some(Trip {
        consecutive_failures: Some(failures),
        ..Trip::default()
    })
}

pub(super) fn limit(max_concurrent: u32) -> Option<BulkheadLimit> {
    Some(BulkheadLimit {
        max_concurrent,
        max_queue: 0,
        max_wait: Duration::ZERO,
    })
}

fn effective(policies: &[Policy]) -> Effective {
    resolve_for(Kind::Api, &[], policies).effective
}

#[test]
fn with_nothing_said_nothing_limits_hedges_or_is_tried_out() {
    for kind in Kind::ALL {
        let effective = resolve_for(kind, &[], &[]).effective;
        let breaker = effective.breaker;
        assert_eq!(effective.jitter, Jitter::Full);
        assert_eq!(effective.budget.ratio, Share::new(0.2).unwrap());
        assert_eq!(effective.budget.min_per_second, 3);
        assert!(effective.honor_retry_after);
        assert_eq!(breaker.open_multiplier, Multiplier::new(1.0).unwrap());
        assert_eq!(breaker.max_open_duration, breaker.open_duration * 10);
        assert_eq!(breaker.open_jitter, Share::ZERO);
        assert_eq!(
            (breaker.half_open_permits, breaker.half_open_successes),
            (1, None)
        );
        assert_eq!(breaker.recovery_ramp, Duration::ZERO);
        assert_eq!(effective.bulkhead, None);
        assert_eq!(effective.rate_limit, None);
        assert_eq!(effective.concurrency_limit, None);
        assert_eq!(effective.hedge, None);
        assert_eq!(effective.shadow, Shadow::default());
    }
}

#[test]
fn the_longest_open_time_follows_the_first_and_gives_way_to_it() {
    let open = |name: &str, open, max| {
        policy(name, |draft| {
            draft.rules.circuit_breaker.open_duration = open;
            draft.rules.circuit_breaker.max_open_duration = max;
        })
    };
    let derived = effective(&[open("a", Some(secs(7)), None)]);
    assert_eq!(derived.breaker.max_open_duration, secs(70));
    let odd = [
        open("a", None, Some(secs(5))),
        open("b", Some(secs(7)), None),
    ];
    let odd = resolve_for(Kind::Api, &[], &odd);
    assert_eq!(odd.effective.breaker.max_open_duration, secs(7));
    let repair = Repair {
        field: Field::BreakerMaxOpenDuration,
        because_of: Field::BreakerOpenDuration,
    };
    assert_eq!(odd.repairs, [repair]);
}

#[test]
fn a_section_in_shadow_stands_beside_what_lower_layers_enforce() {
    let enforced = policy("a", |draft| draft.rules.circuit_breaker.trip = trip(3));
    let shadow = policy("b", |draft| {
        draft.rules.circuit_breaker.trip = trip(1);
        draft.rules.circuit_breaker.mode = SHADOW;
    });
    let resolution = resolve_for(Kind::Api, &[], &[enforced, shadow]);
    let Effective {
        breaker, shadow, ..
    } = resolution.effective;
    assert_eq!(Some(breaker.trip), trip(3));
    let beside = shadow.breaker.unwrap();
    assert_eq!(Some(beside.trip), trip(1));
    assert_eq!(
        BreakerRules {
            trip: breaker.trip,
            ..beside
        },
        breaker,
        "the rest is inherited"
    );
    let set_by = |origins: &Origins| origins.of(Field::BreakerTrip).clone();
    let of = |name| Origin::Policy(crate::key::PolicyId::new("default", name).unwrap());
    assert_eq!(set_by(&resolution.origins), of("a"));
    assert_eq!(set_by(&resolution.shadow_origins), of("b"));
}

#[test]
fn a_layer_above_a_shadow_changes_both_sides() {
    let shadow = policy("a", |draft| {
        draft.rules.circuit_breaker.trip = trip(1);
        draft.rules.circuit_breaker.mode = SHADOW;
    });
    let above = policy("b", |draft| {
        draft.rules.circuit_breaker.open_duration = Some(secs(9));
    });
    let Effective {
        breaker, shadow, ..
    } = effective(&[shadow, above]);
    let beside = shadow.breaker.unwrap();
    assert_eq!(
        (breaker.open_duration, beside.open_duration),
        (secs(9), secs(9))
    );
    assert_eq!(Some(beside.trip), trip(1));
}

#[test]
fn a_shadow_that_a_layer_above_overrules_is_none() {
    let shadow = policy("a", |draft| {
        draft.rules.bulkhead.limit = limit(1);
        draft.rules.bulkhead.mode = SHADOW;
    });
    let above = policy("b", |draft| draft.rules.bulkhead.limit = limit(2));
    let Effective {
        bulkhead, shadow, ..
    } = effective(&[shadow, above]);
    assert_eq!((bulkhead, shadow), (limit(2), Shadow::default()));
}

#[test]
fn a_mode_speaks_of_its_own_layer_and_section_alone() {
    let shadow = policy("a", |draft| {
        draft.rules.bulkhead.mode = SHADOW;
        draft.rules.circuit_breaker.trip = trip(1);
    });
    let above = policy("b", |draft| draft.rules.bulkhead.limit = limit(2));
    let Effective {
        bulkhead,
        breaker,
        shadow,
        ..
    } = effective(&[shadow, above]);
    assert_eq!((bulkhead, Some(breaker.trip)), (limit(2), trip(1)));
    assert_eq!(shadow, Shadow::default());
}

#[test]
fn to_enforce_is_what_a_section_without_a_mode_does() {
    let with = |mode| {
        policy("a", |draft| {
            draft.rules.bulkhead.limit = limit(2);
            draft.rules.bulkhead.mode = mode;
        })
    };
    assert_eq!(
        effective(&[with(Some(Mode::Enforce))]),
        effective(&[with(None)])
    );
}

#[test]
fn every_section_that_can_refuse_can_be_tried_out() {
    let quota = Some(Quota {
        permits: 5,
        per: secs(1),
        burst: 1,
        max_wait: Duration::ZERO,
    });
    let bounds = Some(ConcurrencyBounds { min: 1, max: 9 });
    let all = policy("a", |draft| {
        let rules = &mut draft.rules;
        rules.circuit_breaker.trip = trip(1);
        rules.circuit_breaker.mode = SHADOW;
        (rules.bulkhead.limit, rules.bulkhead.mode) = (limit(2), SHADOW);
        (rules.rate_limit.quota, rules.rate_limit.mode) = (quota, SHADOW);
        (rules.concurrency_limit.bounds, rules.concurrency_limit.mode) = (bounds, SHADOW);
    });
    let effective = effective(&[all]);
    let shadow = effective.shadow;
    assert_eq!(
        shadow.breaker.map(|breaker| Some(breaker.trip)),
        Some(trip(1))
    );
    assert_eq!(
        (shadow.bulkhead, shadow.rate_limit, shadow.concurrency_limit),
        (limit(2), quota, bounds)
    );
    let without = Effective {
        shadow: Shadow::default(),
        ..effective
    };
    assert_eq!(without, resolve_for(Kind::Api, &[], &[]).effective);
}

#[test]
fn what_a_shadow_clears_stays_enforced() {
    let lower = policy("a", |draft| {
        draft.rules.circuit_breaker.trip = trip(1);
        draft.rules.bulkhead.limit = limit(2);
        draft.rules.timeout.attempt = Some(secs(7));
    });
    let clearing = policy("b", |draft| {
        draft.rules.circuit_breaker.mode = SHADOW;
        draft.rules.bulkhead.mode = SHADOW;
        draft.clear = vec![
            Field::BreakerTrip,
            Field::BulkheadLimit,
            Field::TimeoutAttempt,
        ];
    });
    let effective = effective(&[lower, clearing]);
    assert_eq!(Some(effective.breaker.trip), trip(1));
    assert_eq!(effective.bulkhead, limit(2));
    let beside = effective.shadow.breaker.unwrap();
    assert_eq!(Some(beside.trip), trip(5), "the kind's");
    assert_eq!(effective.shadow.bulkhead, None, "no limit refuses nobody");
    assert_eq!(
        effective.attempt_timeout,
        secs(60),
        "a section without a mode"
    );
}

#[test]
fn a_mode_cannot_be_cleared_because_no_layer_inherits_one() {
    let clear = vec![Field::BulkheadMode];
    let violations = Policy::new(Draft {
        clear,
        ..draft("a")
    })
    .unwrap_err();
    assert_eq!(
        violations.to_string(),
        "clear: must not name a mode, which no other policy inherits (bulkhead.mode)"
    );
}

/// Legal rules in all sections; each field set or not.
pub(super) fn any_rules() -> impl Strategy<Value = Rules> {
    let shapes = (
        any_timeouts_and_retry(),
        any_breaker(),
        any_limits(),
        any_hedge(),
    );
    (shapes, any::<Option<bool>>()).prop_map(|((lower, breaker, limits, hedge), enabled)| Rules {
        circuit_breaker: breaker.circuit_breaker,
        bulkhead: limits.bulkhead,
        rate_limit: limits.rate_limit,
        concurrency_limit: limits.concurrency_limit,
        hedge: hedge.hedge,
        enabled,
        ..lower
    })
}

prop_compose! {
    fn any_timeouts_and_retry()(
        attempt in any_millis(),
        overall in any_millis(),
        max_attempts in prop::option::of(1_u32..5),
        base_delay in any_millis(),
        max_delay in any_millis(),
        multiplier in prop::option::of(1.0..=10.0),
        jitter in any_jitter(),
        budget in prop::option::of((0.0..=1.0, 0_u32..10)),
        honor_retry_after in any::<Option<bool>>(),
    ) -> Rules {
        let mut rules = Rules::default();
        rules.timeout.attempt = attempt;
        rules.timeout.overall = overall.map(|overall| overall.max(attempt.unwrap_or_default()));
        rules.retry.max_attempts = max_attempts;
        rules.retry.base_delay = base_delay;
        rules.retry.max_delay = max_delay.map(|max| max.max(base_delay.unwrap_or_default()));
        rules.retry.multiplier = multiplier.map(|factor| Multiplier::new(factor).unwrap());
        rules.retry.jitter = jitter;
        rules.retry.budget = budget.map(|(ratio, min_per_second)| RetryBudget {
            ratio: Share::new(ratio).unwrap(),
            min_per_second,
        });
        rules.retry.honor_retry_after = honor_retry_after;
        rules
    }
}

prop_compose! {
    fn any_breaker()(
        failures in prop::option::of(1_u32..5),
        slow in prop::option::of((any_millis(), any::<bool>(), 1_u32..5)),
        open in any_millis(),
        max in any_millis(),
        multiplier in prop::option::of(1.0..=10.0),
        open_jitter in prop::option::of(0.0..=1.0),
        half_open in prop::option::of((1_u32..5, any_millis())),
        ramp in any_millis(),
        mode in any_mode(),
    ) -> Rules {
        let mut rules = Rules::default();
        let breaker = &mut rules.circuit_breaker;
        let trip = Trip {
            consecutive_failures: failures,
            slow_call_threshold: slow.and_then(|(threshold, ..)| threshold),
            ratio: slow.map(|(threshold, counted, minimum_calls)| RatioTrip {
                window: if counted { Window::Calls(10) } else { Window::Span(secs(10)) },
                failure_ratio: threshold.is_none().then_some(Ratio::ONE),
                slow_call_ratio: threshold.map(|_| Ratio::ONE),
                minimum_calls,
            }),
        };
        breaker.trip = (trip != Trip::default()).then_some(trip);
        breaker.open_duration = open;
        breaker.max_open_duration = max.map(|max| max.max(open.unwrap_or_default()));
        breaker.open_multiplier = multiplier.map(|factor| Multiplier::new(factor).unwrap());
        breaker.open_jitter = open_jitter.map(|share| Share::new(share).unwrap());
        breaker.half_open = half_open.map(|(permits, max)| HalfOpen {
            permits,
            successes: Some(permits),
            max,
        });
        breaker.recovery_ramp = ramp;
        breaker.mode = mode;
        rules
    }
}

prop_compose! {
    fn any_limits()(
        bulkhead in prop::option::of(1_u32..4),
        permits in prop::option::of(1_u32..4),
        min in prop::option::of(1_u32..4),
        modes in prop::array::uniform3(any_mode()),
    ) -> Rules {
        let mut rules = Rules::default();
        rules.bulkhead.limit = bulkhead.and_then(limit);
        rules.rate_limit.quota = permits.map(|permits| Quota {
            permits,
            per: secs(1),
            burst: permits,
            max_wait: Duration::ZERO,
        });
        rules.concurrency_limit.bounds = min.map(|min| ConcurrencyBounds { min, max: 10 });
        [rules.bulkhead.mode, rules.rate_limit.mode, rules.concurrency_limit.mode] = modes;
        rules
    }
}

fn any_hedge() -> impl Strategy<Value = Rules> {
    prop::option::of((any_millis(), 1_u32..3)).prop_map(|plan| {
        let mut rules = Rules::default();
        rules.hedge.plan = plan.map(|(delay, max_hedges)| Hedging {
            trigger: delay.map_or(
                HedgeTrigger::Percentile(Ratio::new(0.9).unwrap()),
                HedgeTrigger::Delay,
            ),
            max_hedges,
        });
        rules
    })
}

fn any_millis() -> impl Strategy<Value = Option<Duration>> {
    prop::option::of((1_u64..100_000).prop_map(Duration::from_millis))
}

fn any_jitter() -> impl Strategy<Value = Option<Jitter>> {
    let jitters = vec![Jitter::Full, Jitter::Equal, Jitter::None];
    prop::option::of(prop::sample::select(jitters))
}

fn any_mode() -> impl Strategy<Value = Option<Mode>> {
    prop::option::of(prop::sample::select(vec![Mode::Enforce, Mode::Shadow]))
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let patterns = vec!["*", "payments.*", "payments.charge", "x*"];
    let clear = prop::sample::subsequence(Field::ALL, 0..Field::ALL.len());
    (
        0_u32..40,
        -2_i32..3,
        prop::sample::select(patterns),
        any_rules(),
        clear,
    )
        .prop_map(|(name, priority, pattern, rules, mut clear)| {
            clear.retain(|field| !field.is_set(&rules) && !field.is_mode());
            Policy::new(Draft {
                priority,
                selector: on(pattern),
                rules,
                clear,
                ..draft(&format!("p{name}"))
            })
            .unwrap()
        })
}

/// Policies of distinct names.
pub(super) fn any_policies() -> impl Strategy<Value = Vec<Policy>> {
    prop::collection::vec(any_policy(), 0..8).prop_map(|mut policies| {
        policies.sort_by(|a, b| a.id().cmp(b.id()));
        policies.dedup_by(|a, b| a.id() == b.id());
        policies
    })
}

/// The policy without what it only tries out.
fn without_shadows(policy: &Policy) -> Policy {
    let mut draft = policy.clone().into_draft();
    let (rules, nothing) = (policy.rules(), Rules::default());
    let shadows = |field: &Field| field.section().mode(rules) == SHADOW;
    for field in Field::ALL.iter().filter(|field| shadows(field)) {
        field.copy(&nothing, &mut draft.rules);
    }
    draft.clear.retain(|field| !shadows(field));
    Policy::new(draft).unwrap()
}

/// The policy with all that it tries out in force.
fn with_shadows_enforced(policy: &Policy) -> Policy {
    let mut draft = policy.clone().into_draft();
    for field in Field::ALL.iter().filter(|field| field.is_mode()) {
        field.copy(&Rules::default(), &mut draft.rules);
    }
    Policy::new(draft).unwrap()
}

/// Whether what is set, if it is, came out as it is.
fn holds<T: PartialEq>(set: Option<T>, came_out: &T) -> bool {
    set.is_none_or(|set| set == *came_out)
}

fn resolve_all(policies: &[Policy]) -> Resolution {
    resolve_for(Kind::Api, &[], policies)
}

proptest! {
    /// Total, deterministic, and legal whatever is merged.
    #[test]
    fn the_cascade_does_not_depend_on_the_order_of_arrival(
        mut policies in any_policies(),
        turn in 0_usize..8,
    ) {
        let first = resolve_all(&policies);
        let turn = turn.min(policies.len());
        policies.rotate_left(turn);
        prop_assert_eq!(&first, &resolve_all(&policies));
        let Effective { shadow, breaker, .. } = first.effective;
        prop_assert!(first.effective.attempt_timeout <= first.effective.overall_timeout);
        prop_assert!(first.effective.base_delay <= first.effective.max_delay);
        for breaker in shadow.breaker.into_iter().chain([breaker]) {
            prop_assert!(breaker.open_duration <= breaker.max_open_duration);
        }
    }

    #[test]
    fn what_the_one_policy_sets_holds_in_every_field(rules in any_rules()) {
        let set = policy("a", |draft| draft.rules = rules);
        let set = with_shadows_enforced(&set);
        let Resolution { effective, repairs, .. } = resolve_all(std::slice::from_ref(&set));
        let Rules { timeout, retry, circuit_breaker, .. } = set.rules();
        let repaired = |field| repairs.iter().any(|repair| repair.field == field);
        let breaker = effective.breaker;
        let half_open = circuit_breaker.half_open;
        for (field, holds) in [
            (Field::TimeoutAttempt, holds(timeout.attempt, &effective.attempt_timeout)),
            (Field::TimeoutOverall, holds(timeout.overall, &effective.overall_timeout)),
            (Field::RetryMaxAttempts, holds(retry.max_attempts, &effective.max_attempts)),
            (Field::RetryBaseDelay, holds(retry.base_delay, &effective.base_delay)),
            (Field::RetryMaxDelay, holds(retry.max_delay, &effective.max_delay)),
            (Field::RetryMultiplier, holds(retry.multiplier, &effective.multiplier)),
            (Field::RetryJitter, holds(retry.jitter, &effective.jitter)),
            (Field::RetryBudget, holds(retry.budget, &effective.budget)),
            (
                Field::RetryHonorRetryAfter,
                holds(retry.honor_retry_after, &effective.honor_retry_after),
            ),
            (Field::BreakerTrip, holds(circuit_breaker.trip, &breaker.trip)),
            (
                Field::BreakerOpenDuration,
                holds(circuit_breaker.open_duration, &breaker.open_duration),
            ),
            (
                Field::BreakerOpenMultiplier,
                holds(circuit_breaker.open_multiplier, &breaker.open_multiplier),
            ),
            (
                Field::BreakerMaxOpenDuration,
                holds(circuit_breaker.max_open_duration, &breaker.max_open_duration),
            ),
            (
                Field::BreakerOpenJitter,
                holds(circuit_breaker.open_jitter, &breaker.open_jitter),
            ),
            (
                Field::BreakerHalfOpen,
                holds(half_open.map(|group| group.permits), &breaker.half_open_permits)
                    && holds(
                        half_open.map(|group| group.successes),
                        &breaker.half_open_successes,
                    )
                    && holds(half_open.and_then(|group| group.max), &breaker.max_half_open),
            ),
            (
                Field::BreakerRecoveryRamp,
                holds(circuit_breaker.recovery_ramp, &breaker.recovery_ramp),
            ),
            (Field::BulkheadLimit, set.rules().bulkhead.limit == effective.bulkhead),
            (Field::RateLimitQuota, set.rules().rate_limit.quota == effective.rate_limit),
            (
                Field::ConcurrencyLimitBounds,
                set.rules().concurrency_limit.bounds == effective.concurrency_limit,
            ),
            (Field::HedgePlan, set.rules().hedge.plan == effective.hedge),
            (Field::Enabled, holds(set.rules().enabled, &effective.enabled)),
        ] {
            prop_assert!(holds || repaired(field), "{}", field);
        }
    }

    #[test]
    fn what_is_enforced_never_depends_on_what_is_in_shadow(policies in any_policies()) {
        let shadowless: Vec<_> = policies.iter().map(without_shadows).collect();
        let (with, without) = (resolve_all(&policies), resolve_all(&shadowless));
        let enforced = Effective { shadow: Shadow::default(), ..with.effective };
        prop_assert_eq!(enforced, without.effective);
        prop_assert_eq!(with.origins, without.origins);
        prop_assert_eq!(with.repairs, without.repairs);
    }

    #[test]
    fn a_shadow_is_what_would_hold_if_it_were_enforced_and_is_there_only_if_that_differs(
        policies in any_policies(),
    ) {
        let enforced: Vec<_> = policies.iter().map(with_shadows_enforced).collect();
        let Effective { breaker, bulkhead, rate_limit, concurrency_limit, shadow, .. } =
            resolve_all(&policies).effective;
        let would = resolve_all(&enforced).effective;
        prop_assert_eq!(shadow.breaker, (would.breaker != breaker).then_some(would.breaker));
        prop_assert_eq!(shadow.bulkhead, would.bulkhead.filter(|_| would.bulkhead != bulkhead));
        prop_assert_eq!(
            shadow.rate_limit,
            would.rate_limit.filter(|_| would.rate_limit != rate_limit)
        );
        prop_assert_eq!(
            shadow.concurrency_limit,
            would.concurrency_limit.filter(|_| would.concurrency_limit != concurrency_limit)
        );
    }
}
