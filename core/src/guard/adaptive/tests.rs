use std::time::Duration;

use proptest::prelude::*;

use super::*;

const BOUNDS: ConcurrencyBounds = ConcurrencyBounds { min: 2, max: 100 };

fn millis(millis: u64) -> Option<Span> {
    Some(Duration::from_millis(millis).into())
}

fn limit(adaptive: &Adaptive) -> u32 {
    adaptive.view().0
}

/// As many at once as may go, `rounds` times, each taking so long; back to nobody inside.
fn full_house(adaptive: &Adaptive, rounds: u32, latency: Option<Span>) {
    for _ in 0..rounds {
        let mut inside = 0;
        while adaptive.enter() {
            inside += 1;
        }
        for _ in 0..inside {
            adaptive.leave(latency);
        }
    }
}

#[test]
fn while_calls_take_as_long_as_ever_the_limit_grows_up_to_its_maximum() {
    let adaptive = Adaptive::new(Some(&BOUNDS));
    let before = limit(&adaptive);
    full_house(&adaptive, 1, millis(10));
    assert!(limit(&adaptive) > before);
    full_house(&adaptive, 50, millis(10));
    assert_eq!(limit(&adaptive), BOUNDS.max);
}

#[test]
fn calls_that_take_five_times_as_long_shrink_it_and_no_further_than_its_minimum() {
    let adaptive = Adaptive::new(Some(&BOUNDS));
    full_house(&adaptive, 20, millis(10));
    let before = limit(&adaptive);
    full_house(&adaptive, 1, millis(50));
    assert!(
        limit(&adaptive) < before / 2,
        "{} of {before}",
        limit(&adaptive)
    );
    let bounds = ConcurrencyBounds { min: 30, max: 100 };
    adaptive.reload(Some(&bounds));
    assert!(adaptive.enter());
    adaptive.leave(millis(50));
    assert_eq!(adaptive.view(), (30, 0));
}

#[test]
fn a_limit_of_which_less_than_half_is_used_does_not_grow() {
    let adaptive = Adaptive::new(Some(&BOUNDS));
    let before = limit(&adaptive);
    for _ in 0..1_000 {
        assert!(adaptive.enter());
        adaptive.leave(millis(10));
    }
    assert_eq!(limit(&adaptive), before);
}

#[test]
fn as_many_go_as_the_limit_says_and_one_more_when_one_has_left() {
    let adaptive = Adaptive::new(Some(&BOUNDS));
    let limit = limit(&adaptive);
    for _ in 0..limit {
        assert!(adaptive.enter());
    }
    assert!(!adaptive.enter());
    assert_eq!(adaptive.view(), (limit, limit), "a refusal is not inside");
    adaptive.leave(None);
    assert!(adaptive.enter());
}

#[test]
fn an_end_that_is_no_sample_teaches_nothing() {
    let adaptive = Adaptive::new(Some(&BOUNDS));
    let before = limit(&adaptive);
    full_house(&adaptive, 20, None);
    assert_eq!(adaptive.view(), (before, 0));
}

#[test]
fn new_bounds_hold_at_once_and_send_nobody_away() {
    let adaptive = Adaptive::new(Some(&BOUNDS));
    for _ in 0..10 {
        assert!(adaptive.enter());
    }
    let narrow = ConcurrencyBounds { min: 1, max: 5 };
    adaptive.reload(Some(&narrow));
    assert_eq!(adaptive.view(), (5, 10));
    for _ in 0..5 {
        assert!(!adaptive.enter());
        adaptive.leave(None);
    }
    assert!(!adaptive.enter());
    adaptive.leave(None);
    assert!(adaptive.enter());
}

#[test]
fn without_bounds_everybody_goes_and_nothing_is_learned() {
    let adaptive = Adaptive::new(None);
    for _ in 0..1_000 {
        assert!(adaptive.enter());
    }
    for _ in 0..1_000 {
        adaptive.leave(millis(10));
    }
    adaptive.reload(Some(&BOUNDS));
    assert_eq!(adaptive.view(), (20, 0));
}

#[test]
fn once_load_has_ended_what_was_usual_under_it_is_soon_forgotten() {
    let adaptive = Adaptive::new(Some(&BOUNDS));
    full_house(&adaptive, 300, millis(100));
    full_house(&adaptive, 1, millis(10));
    let before = limit(&adaptive);
    assert_eq!(
        before, BOUNDS.max,
        "a hundred had become usual, and ten is less"
    );
    full_house(&adaptive, 1, millis(40));
    assert!(limit(&adaptive) < before, "forty is unusual again");
}

proptest! {
    #[test]
    fn whatever_comes_the_limit_stays_within_its_bounds_and_nobody_is_lost(
        (min, more) in (1_u32..20, 0_u32..50),
        steps in prop::collection::vec((any::<bool>(), prop::option::of(any::<u64>())), 0..300),
    ) {
        let bounds = ConcurrencyBounds { min, max: min + more };
        let (adaptive, mut inside) = (Adaptive::new(Some(&bounds)), 0);
        for (enter, latency) in steps {
            let (limit, _) = adaptive.view();
            if enter {
                let entered = adaptive.enter();
                prop_assert_eq!(entered, inside < limit);
                inside += u32::from(entered);
            } else if inside > 0 {
                adaptive.leave(latency.map(Span::from_nanos));
                inside -= 1;
            }
            let (limit, seen) = adaptive.view();
            prop_assert_eq!(seen, inside);
            prop_assert!((bounds.min..=bounds.max).contains(&limit));
        }
    }
}
