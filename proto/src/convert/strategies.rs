//! Every legal policy, for properties.

use std::time::{Duration, SystemTime};

use fusebox_core::glob::Glob;
use fusebox_core::key::{Kind, Labels, PolicyId};
use fusebox_core::policy::field::Field;
use fusebox_core::policy::ratio::{Multiplier, Ratio, Share};
use fusebox_core::policy::rules::{
    Bulkhead, BulkheadLimit, CircuitBreaker, ConcurrencyBounds, ConcurrencyLimit, HalfOpen, Hedge,
    HedgeTrigger, Hedging, Jitter, Mode, Quota, RateLimit, RatioTrip, Retry, RetryBudget, Rules,
    Timeout, Trip, Window,
};
use fusebox_core::policy::selector::Selector;
use fusebox_core::policy::{Draft, Policy, Stored};
use fusebox_core::revision::Revision;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

pub(super) fn any_stored() -> impl Strategy<Value = Stored> {
    let time = || {
        (0_u64..5_000_000_000, 0_u32..1_000_000_000)
            .prop_map(|(secs, nanos)| SystemTime::UNIX_EPOCH + Duration::new(secs, nanos))
    };
    (any_policy(), any::<u64>(), time(), time(), ".{0,20}").prop_map(
        |(policy, revision, create_time, update_time, updated_by)| Stored {
            policy,
            revision: Revision(revision),
            create_time,
            update_time,
            updated_by,
        },
    )
}

pub(super) fn any_policy() -> impl Strategy<Value = Policy> {
    let id = ("[a-z][a-z0-9_.-]{0,20}[a-z0-9]", "[a-z0-9]{1,30}");
    let texts = (".{0,40}", ".{0,40}");
    let fields = proptest::sample::subsequence(Field::ALL, 0..Field::ALL.len()).prop_shuffle();
    (id, texts, any::<i32>(), any_selector(), any_rules(), fields).prop_map(
        |((namespace, name), (owner, description), priority, selector, rules, mut clear)| {
            clear.retain(|field| !field.is_set(&rules) && !field.is_mode());
            Policy::new(Draft {
                id: PolicyId::new(namespace, name).unwrap(),
                owner,
                description,
                priority,
                selector,
                rules,
                clear,
            })
            .unwrap()
        },
    )
}

fn any_selector() -> impl Strategy<Value = Selector> {
    let glob = || option::of("[a-zA-Z0-9./_*-]{1,12}".prop_map(|text| Glob::new(&text).unwrap()));
    let kind = option::of(select(Kind::ALL.to_vec()));
    let labels = prop::collection::btree_map("[a-z]{1,6}", "[a-z0-9]{1,6}", 0..4);
    (glob(), glob(), kind, labels).prop_filter_map(
        "a selector has a condition",
        |(service, operation, kind, labels)| {
            Selector::new(service, operation, kind, Labels::new(labels).unwrap()).ok()
        },
    )
}

prop_compose! {
    pub(super) fn any_rules()(
        timeout in any_timeout(),
        retry in any_retry(),
        circuit_breaker in any_breaker(),
        bulkhead in any_bulkhead(),
        rate_limit in any_rate_limit(),
        concurrency_limit in any_concurrency_limit(),
        hedge in any_hedge(),
        enabled in any::<Option<bool>>(),
    ) -> Rules {
        Rules {
            timeout,
            retry,
            circuit_breaker,
            bulkhead,
            rate_limit,
            concurrency_limit,
            hedge,
            enabled,
        }
    }
}

prop_compose! {
    fn any_timeout()((attempt, overall) in any_ascending()) -> Timeout {
        Timeout { attempt, overall }
    }
}

prop_compose! {
    fn any_retry()(
        max_attempts in option::of(1_u32..=1000),
        (base_delay, max_delay) in any_ascending(),
        multiplier in option::of(any_multiplier()),
        jitter in option::of(select(vec![Jitter::Full, Jitter::Equal, Jitter::None])),
        budget in option::of((any_share(), 0_u32..=10_000)),
        honor_retry_after in any::<Option<bool>>(),
    ) -> Retry {
        let budget = budget.map(|(ratio, min_per_second)| RetryBudget { ratio, min_per_second });
        Retry { max_attempts, base_delay, max_delay, multiplier, jitter, budget, honor_retry_after }
    }
}

prop_compose! {
    fn any_breaker()(
        trip in option::of(any_trip()),
        (open_duration, max_open_duration) in any_ascending(),
        open_multiplier in option::of(any_multiplier()),
        open_jitter in option::of(any_share()),
        half_open in option::of(any_half_open()),
        recovery_ramp in option::of(any_wait()),
        mode in any_mode(),
    ) -> CircuitBreaker {
        // A trip that sets nothing cannot be told from none, on the wire as in its meaning.
        let trip = trip.filter(|trip| *trip != Trip::default());
        CircuitBreaker {
            trip,
            open_duration,
            open_multiplier,
            max_open_duration,
            open_jitter,
            half_open,
            recovery_ramp,
            mode,
        }
    }
}

prop_compose! {
    fn any_trip()(
        consecutive_failures in option::of(1_u32..=10_000),
        threshold in any_duration(),
        knows_slow in any::<bool>(),
        ratio in option::of(any_ratio_trip()),
    ) -> Trip {
        let needs_slow = ratio.is_some_and(|ratio| ratio.slow_call_ratio.is_some());
        let slow_call_threshold = (knows_slow || needs_slow).then_some(threshold);
        Trip { consecutive_failures, slow_call_threshold, ratio }
    }
}

prop_compose! {
    fn any_ratio_trip()(
        window in any_window(),
        (failures, slow) in (any_ratio(), any_ratio()),
        which in 0..3,
        minimum_calls in 1_u32..=1_000_000,
    ) -> RatioTrip {
        let minimum_calls = match window {
            Window::Span(_) => minimum_calls,
            Window::Calls(size) => minimum_calls % size + 1,
        };
        RatioTrip {
            window,
            failure_ratio: (which != 0).then_some(failures),
            slow_call_ratio: (which != 1).then_some(slow),
            minimum_calls,
        }
    }
}

fn any_window() -> impl Strategy<Value = Window> {
    prop_oneof![
        (1_000_000_000_u64..=3_600_000_000_000).prop_map(|n| Window::Span(Duration::from_nanos(n))),
        (1_u32..=10_000).prop_map(Window::Calls),
    ]
}

prop_compose! {
    fn any_half_open()(
        permits in 1_u32..=1000,
        successes in option::of(any::<u32>()),
        max in option::of(any_duration()),
    ) -> HalfOpen {
        HalfOpen { permits, successes: successes.map(|any| any % permits + 1), max }
    }
}

prop_compose! {
    fn any_bulkhead()(
        limit in option::of((1_u32..=100_000, 0_u32..=100_000, any_wait())),
        mode in any_mode(),
    ) -> Bulkhead {
        let limit = limit.map(|(max_concurrent, max_queue, max_wait)| BulkheadLimit {
            max_concurrent,
            max_queue,
            max_wait,
        });
        Bulkhead { limit, mode }
    }
}

prop_compose! {
    fn any_rate_limit()(
        permits in option::of(1_u32..=1_000_000_000),
        per in any_duration(),
        burst in 1_u32..=1_000_000_000,
        max_wait in any_wait(),
        mode in any_mode(),
    ) -> RateLimit {
        RateLimit { quota: permits.map(|permits| Quota { permits, per, burst, max_wait }), mode }
    }
}

prop_compose! {
    fn any_concurrency_limit()(
        bounds in option::of((1_u32..=100_000, 1_u32..=100_000)),
        mode in any_mode(),
    ) -> ConcurrencyLimit {
        let ascending = |(one, other): (u32, u32)| ConcurrencyBounds {
            min: one.min(other),
            max: one.max(other),
        };
        ConcurrencyLimit { bounds: bounds.map(ascending), mode }
    }
}

fn any_hedge() -> impl Strategy<Value = Hedge> {
    let percentile =
        (1_u32..10_000).prop_map(|points| Ratio::new(f64::from(points) / 1e4).unwrap());
    let trigger = prop_oneof![
        any_wait().prop_map(HedgeTrigger::Delay),
        percentile.prop_map(HedgeTrigger::Percentile),
    ];
    let plan = (trigger, 1_u32..=10).prop_map(|(trigger, max_hedges)| Hedging {
        trigger,
        max_hedges,
    });
    option::of(plan).prop_map(|plan| Hedge { plan })
}

fn any_mode() -> impl Strategy<Value = Option<Mode>> {
    option::of(select(vec![Mode::Enforce, Mode::Shadow]))
}

fn any_multiplier() -> impl Strategy<Value = Multiplier> {
    (10_000_u32..=100_000).prop_map(|points| Multiplier::new(f64::from(points) / 1e4).unwrap())
}

fn any_ratio() -> impl Strategy<Value = Ratio> {
    (1_u32..=10_000).prop_map(|points| Ratio::new(f64::from(points) / 1e4).unwrap())
}

fn any_share() -> impl Strategy<Value = Share> {
    (0_u32..=10_000).prop_map(|points| Share::new(f64::from(points) / 1e4).unwrap())
}

fn any_duration() -> impl Strategy<Value = Duration> {
    (1_000_000_u64..=86_400_000_000_000).prop_map(Duration::from_nanos)
}

/// A time that may be none.
fn any_wait() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(Duration::ZERO), any_duration()]
}

/// Two that may be unset, the second not below the first.
fn any_ascending() -> impl Strategy<Value = (Option<Duration>, Option<Duration>)> {
    (any_duration(), any_duration(), any::<[bool; 2]>()).prop_map(|(one, other, [low, high])| {
        (low.then(|| one.min(other)), high.then(|| one.max(other)))
    })
}
