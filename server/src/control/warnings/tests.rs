//! What an author is told of a policy that is legal.

use std::time::Duration;

use fusebox_core::glob::Glob;
use fusebox_core::key::{Kind, Labels};
use fusebox_core::policy::ratio::Ratio;
use fusebox_core::policy::rules::{
    BulkheadLimit, HedgeTrigger, Hedging, Mode, RatioTrip, Rules, Trip, Window,
};
use fusebox_core::policy::{Draft, Violations};

use super::super::tests::{draft, intent, memory, policy, with_priority};
use super::super::{Asked, Control, Set};
use super::*;

fn fields(policy: &Policy, neighbours: &[Policy]) -> Vec<String> {
    let warnings = of(policy, neighbours.iter());
    warnings.into_iter().map(|warning| warning.field).collect()
}

#[test]
fn an_ordinary_policy_gives_no_warning() {
    assert_eq!(fields(&policy("a"), &[policy("a")]), [""; 0]);
}

#[test]
fn a_policy_without_an_effect_is_odd() {
    let rules = Rules::default();
    let empty = Policy::new(Draft {
        rules,
        ..draft("a")
    })
    .unwrap();
    assert_eq!(fields(&empty, &[]), ["rules"]);
}

#[test]
fn rules_beside_enabled_false_are_odd() {
    let mut draft = draft("a");
    draft.rules.enabled = Some(false);
    assert_eq!(fields(&Policy::new(draft).unwrap(), &[]), ["rules.enabled"]);
}

const RATIO: RatioTrip = RatioTrip {
    window: Window::Span(Duration::from_secs(10)),
    failure_ratio: Some(Ratio::ONE),
    slow_call_ratio: None,
    minimum_calls: 20,
};

/// What is odd about a policy that `set` makes out of one that is not.
fn odd(set: impl FnOnce(&mut Draft)) -> Vec<String> {
    let mut draft = draft("a");
    set(&mut draft);
    fields(&Policy::new(draft).unwrap(), &[])
}

fn odd_trip(trip: Trip) -> Vec<String> {
    odd(|draft| draft.rules.circuit_breaker.trip = Some(trip))
}

#[test]
fn a_ratio_that_is_judged_later_than_the_run_of_failures_is_odd() {
    let both = |failures, ratio| Trip {
        consecutive_failures: Some(failures),
        slow_call_threshold: Some(Duration::from_millis(500)),
        ratio: Some(ratio),
    };
    let slow = RatioTrip {
        failure_ratio: None,
        slow_call_ratio: Some(Ratio::ONE),
        ..RATIO
    };
    let field = "rules.circuit_breaker.consecutive_failures";
    assert_eq!(odd_trip(both(19, RATIO)), [field]);
    assert_eq!(odd_trip(both(20, RATIO)), [""; 0]);
    assert_eq!(odd_trip(both(1, slow)), [""; 0], "a run has no slow calls");
}

#[test]
fn a_breaker_that_knows_slow_calls_but_opens_for_nothing_is_odd() {
    let trip = |ratio| Trip {
        slow_call_threshold: Some(Duration::from_millis(500)),
        ratio,
        ..Trip::default()
    };
    let field = "rules.circuit_breaker.slow_call_threshold";
    assert_eq!(odd_trip(trip(None)), [field]);
    assert_eq!(odd_trip(trip(Some(RATIO))), [""; 0]);
}

#[test]
fn a_call_that_is_ended_before_it_is_slow_is_odd() {
    let trip = |millis| Trip {
        consecutive_failures: Some(1),
        slow_call_threshold: Some(Duration::from_millis(millis)),
        ratio: None,
    };
    let field = "rules.circuit_breaker.slow_call_threshold";
    // The attempt timeout is a second.
    assert_eq!(odd_trip(trip(1001)), [field]);
    assert_eq!(odd_trip(trip(1000)), [""; 0]);
}

#[test]
fn a_queue_without_a_wait_and_a_wait_without_a_queue_are_odd() {
    let bulkhead = |max_queue, max_wait| {
        odd(|draft| {
            draft.rules.bulkhead.limit = Some(BulkheadLimit {
                max_concurrent: 1,
                max_queue,
                max_wait,
            });
        })
    };
    let second = Duration::from_secs(1);
    assert_eq!(bulkhead(1, Duration::ZERO), ["rules.bulkhead.max_queue"]);
    assert_eq!(bulkhead(0, second), ["rules.bulkhead.max_wait"]);
    assert_eq!(bulkhead(1, second), [""; 0]);
    assert_eq!(bulkhead(0, Duration::ZERO), [""; 0]);
}

fn hedged(draft: &mut Draft, max_hedges: u32) {
    draft.rules.hedge.plan = Some(Hedging {
        trigger: HedgeTrigger::Delay(Duration::ZERO),
        max_hedges,
    });
}

#[test]
fn to_hedge_what_is_not_repeatable_by_its_kind_is_odd() {
    let of_kind = |kind| {
        odd(|draft| {
            hedged(draft, 1);
            draft.selector = Selector::new(None, None, kind, Labels::default()).unwrap();
        })
    };
    for kind in [Kind::Database, Kind::Api, Kind::Custom] {
        assert_eq!(of_kind(Some(kind)), ["rules.hedge"], "{kind}");
    }
    for kind in [Kind::Cache, Kind::File, Kind::Ml] {
        assert_eq!(of_kind(Some(kind)), [""; 0], "{kind}");
    }
    let of_any_kind = odd(|draft| hedged(draft, 1));
    assert_eq!(of_any_kind, [""; 0]);
}

#[test]
fn more_hedges_than_there_are_attempts_are_odd() {
    let with = |max_hedges, max_attempts| {
        odd(|draft| {
            hedged(draft, max_hedges);
            draft.rules.retry.max_attempts = max_attempts;
        })
    };
    assert_eq!(with(2, Some(2)), ["rules.hedge.max_hedges"]);
    assert_eq!(with(2, Some(3)), [""; 0]);
    assert_eq!(with(2, None), [""; 0]);
}

#[test]
fn a_mode_with_nothing_beside_it_in_its_section_is_odd() {
    for mode in [Mode::Enforce, Mode::Shadow] {
        let every = odd(|draft| {
            let rules = &mut draft.rules;
            rules.circuit_breaker.mode = Some(mode);
            rules.bulkhead.mode = Some(mode);
            rules.rate_limit.mode = Some(mode);
            rules.concurrency_limit.mode = Some(mode);
        });
        let expected = [
            "rules.circuit_breaker.mode",
            "rules.bulkhead.mode",
            "rules.rate_limit.mode",
            "rules.concurrency_limit.mode",
        ];
        assert_eq!(every, expected);
    }
    let setting = odd(|draft| {
        draft.rules.circuit_breaker.mode = Some(Mode::Shadow);
        draft.rules.circuit_breaker.open_duration = Some(Duration::from_secs(1));
    });
    assert_eq!(setting, [""; 0]);
    let clearing = odd(|draft| {
        draft.rules.bulkhead.mode = Some(Mode::Shadow);
        draft.clear = vec![Field::BulkheadLimit];
    });
    assert_eq!(clearing, [""; 0]);
}

#[test]
fn two_modes_do_not_tie() {
    let moded = |name| {
        let mut draft = draft(name);
        draft.rules = Rules::default();
        draft.rules.bulkhead.mode = Some(Mode::Shadow);
        Policy::new(draft).unwrap()
    };
    assert_eq!(fields(&moded("a"), &[moded("b")]), ["rules.bulkhead.mode"]);
    let tie = of(&moded("a"), [moded("b")].iter());
    assert!(tie[0].description.starts_with("has no effect"), "{tie:?}");
}

#[test]
fn equal_policies_that_can_meet_and_set_the_same_field_tie() {
    let operation = |name: &str, pattern: &str| {
        let glob = Glob::new(pattern).unwrap();
        let selector = Selector::new(None, Some(glob), None, Labels::default()).unwrap();
        Policy::new(Draft {
            selector,
            ..draft(name)
        })
        .unwrap()
    };
    let ours = operation("a", "pay.*");
    for (theirs, tie) in [
        (operation("b", "pay.*"), true),
        (operation("b", "pa*.x"), true),
        (operation("b", "buy.*"), false),
        (operation("b", "pay.x.*"), false),
        (with_priority(operation("b", "pay.*"), 1), false),
    ] {
        let expected: &[&str] = if tie { &["rules.timeout.attempt"] } else { &[] };
        assert_eq!(
            fields(&ours, std::slice::from_ref(&theirs)),
            expected,
            "{theirs:?}"
        );
    }
}

#[test]
fn a_tie_names_the_policy_whose_name_decides() {
    let warnings = of(&policy("a"), [policy("b")].iter());
    assert!(
        warnings[0].description.ends_with("decides, default/b"),
        "{warnings:?}"
    );
}

#[test]
fn warnings_are_bounded() {
    let crowd: Vec<_> = (0..100).map(|i| policy(&format!("n{i}"))).collect();
    assert_eq!(fields(&policy("a"), &crowd).len(), MAX_WARNINGS);
}

fn for_service(name: &str, service: &str) -> Policy {
    let service = Glob::new(service).unwrap();
    let selector = Selector::new(Some(service), None, None, Labels::default()).unwrap();
    Policy::new(Draft {
        selector,
        ..draft(name)
    })
    .unwrap()
}

/// More policies than neighbours are looked at, of which one is a neighbour, the last by name.
#[tokio::test]
async fn a_tie_is_found_however_many_policies_there_are_for_other_services() {
    let control = Control::new(memory());
    let others = (0..MAX_NEIGHBOURS).map(|i| for_service(&format!("p{i}"), &format!("s{i}")));
    let all = others.chain([for_service("z", "checkout")]);
    let asked = all.enumerate().map(|(index, policy)| Asked {
        index,
        policy,
        etag: None,
    });
    let set = Set::new(&mut Violations::none(), asked.collect(), None).unwrap();
    control.apply(&set, intent()).await.unwrap();
    let cases = [
        ("y1", "checkout", 1),
        ("y2", "check*", 0),
        ("y3", "search", 0),
    ];
    for (name, service, ties) in cases {
        let created = control.create(for_service(name, service), intent()).await;
        assert_eq!(created.unwrap().warnings.len(), ties, "{service}");
    }
}
