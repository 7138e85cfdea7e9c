//! Every legal policy, for properties.

use std::time::{Duration, SystemTime};

use fusebox_core::key::{Kind, Labels, PolicyId};
use fusebox_core::policy::field::Field;
use fusebox_core::policy::ratio::{Multiplier, Ratio};
use fusebox_core::policy::rules::{
    CircuitBreaker, HalfOpen, RatioTrip, Retry, Rules, Timeout, Trip, Window,
};
use fusebox_core::policy::selector::{Glob, Selector};
use fusebox_core::policy::{Draft, Policy, Stored};
use fusebox_core::revision::Revision;
use proptest::option;
use proptest::prelude::*;

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
            clear.retain(|field| !field.is_set(&rules));
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
    let kind = option::of(proptest::sample::select(Kind::ALL.to_vec()));
    let labels = prop::collection::btree_map("[a-z]{1,6}", "[a-z0-9]{1,6}", 0..4);
    (glob(), glob(), kind, labels).prop_filter_map(
        "a selector has a condition",
        |(service, operation, kind, labels)| {
            Selector::new(service, operation, kind, Labels::new(labels).unwrap()).ok()
        },
    )
}

prop_compose! {
    fn any_rules()(
        timeout in any_timeout(),
        retry in any_retry(),
        circuit_breaker in any_breaker(),
        enabled in any::<Option<bool>>(),
    ) -> Rules {
        Rules { timeout, retry, circuit_breaker, enabled }
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
        multiplier in option::of(10_000_u32..=100_000),
    ) -> Retry {
        let multiplier = multiplier.map(|points| Multiplier::new(f64::from(points) / 1e4).unwrap());
        Retry { max_attempts, base_delay, max_delay, multiplier }
    }
}

prop_compose! {
    fn any_breaker()(
        consecutive_failures in option::of(1_u32..=10_000),
        ratio in option::of(any_ratio_trip()),
        open_duration in option::of(any_duration()),
        half_open in option::of((1_u32..=1000, option::of(any_duration()))),
    ) -> CircuitBreaker {
        // A trip that sets neither cannot be told from none, on the wire as in its meaning.
        let trip = (consecutive_failures.is_some() || ratio.is_some())
            .then_some(Trip { consecutive_failures, ratio });
        let half_open = half_open.map(|(permits, max)| HalfOpen { permits, max });
        CircuitBreaker { trip, open_duration, half_open }
    }
}

prop_compose! {
    fn any_ratio_trip()(
        span_nanos in 1_000_000_000_u64..=3_600_000_000_000,
        points in 1_u32..=10_000,
        minimum_calls in 1_u32..=1_000_000,
    ) -> RatioTrip {
        RatioTrip {
            window: Window::Span(Duration::from_nanos(span_nanos)),
            failure_ratio: Ratio::new(f64::from(points) / 1e4).unwrap(),
            minimum_calls,
        }
    }
}

fn any_duration() -> impl Strategy<Value = Duration> {
    (1_000_000_u64..=86_400_000_000_000).prop_map(Duration::from_nanos)
}

/// Two that may be unset, the second not below the first.
fn any_ascending() -> impl Strategy<Value = (Option<Duration>, Option<Duration>)> {
    (any_duration(), any_duration(), any::<[bool; 2]>()).prop_map(|(one, other, [low, high])| {
        (low.then(|| one.min(other)), high.then(|| one.max(other)))
    })
}
