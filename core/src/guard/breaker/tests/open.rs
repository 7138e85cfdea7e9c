//! Open: for how long, and what a refusal says.

use super::*;

#[test]
fn open_refuses_with_what_is_left_and_then_probes() {
    let mut bench = Bench::new(&consecutive(1));
    bench.calls("F");
    bench.wait_millis(3_000);
    let refusal = bench.admit().unwrap_err();
    assert_eq!(refusal.reason, Reason::CircuitOpen);
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(2)));
    bench.wait_millis(2_000);
    assert!(bench.breaker.state_at(bench.now).probe_due);
    let probe = bench.admit().unwrap();
    assert_eq!(bench.state(), CircuitState::HalfOpen);
    assert!(bench.admit().is_err(), "one probe only");
    bench.settle(probe, GOOD);
    assert_eq!(bench.state(), CircuitState::Closed);
}

#[test]
fn it_probes_exactly_when_the_open_time_is_over_and_not_before() {
    let mut bench = Bench::new(&consecutive(1));
    bench.calls("F").wait_millis(4_999);
    assert!(!bench.view().probe_due && bench.admit().is_err());
    bench.wait_millis(1);
    assert!(bench.view().probe_due && bench.admit().is_ok());
    assert_eq!(bench.state(), CircuitState::HalfOpen);
}

#[test]
fn a_failure_that_arrives_while_open_is_no_event_and_moves_no_deadline() {
    let mut bench = Bench::new(&consecutive(1));
    let late = [(); 3].map(|()| bench.admit().unwrap());
    bench.calls("F").wait_millis(3_000);
    for permit in late {
        bench.settle(permit, BAD);
    }
    assert_eq!(bench.transitions.len(), 1);
    assert_eq!(bench.refused().retry_after, Some(Duration::from_secs(2)));
}

/// Opened for 5 s at first, then by `multiplier`, at most `max_secs`.
fn growing(multiplier: f64, max_secs: u64) -> Rules {
    let mut rules = consecutive(1);
    rules.circuit_breaker.open_multiplier = Some(Multiplier::new(multiplier).unwrap());
    rules.circuit_breaker.max_open_duration = Some(Duration::from_secs(max_secs));
    rules
}

#[test]
fn each_failed_probe_keeps_it_open_for_longer_up_to_the_longest() {
    let mut bench = Bench::new(&growing(1.5, 12));
    for open_millis in [5_000, 7_500, 11_250, 12_000, 12_000] {
        bench.calls("F").wait_millis(open_millis - 1);
        assert_eq!(bench.refused().retry_after, Some(Duration::from_millis(1)));
        bench.wait_millis(1);
    }
}

#[test]
fn after_a_close_the_open_time_starts_anew() {
    let mut bench = Bench::new(&growing(2.0, 60));
    bench.calls("F").wait_millis(5_000);
    bench.calls("F").wait_millis(10_000);
    bench.calls("S F");
    assert_eq!(bench.refused().retry_after, Some(Duration::from_secs(5)));
    bench.wait_millis(5_000).calls("F");
    assert_eq!(bench.refused().retry_after, Some(Duration::from_secs(10)));
    bench.reset();
    bench.calls("F");
    assert_eq!(bench.refused().retry_after, Some(Duration::from_secs(5)));
}

#[test]
fn a_thousand_openings_in_a_row_overflow_nothing() {
    let mut bench = Bench::new(&growing(10.0, 86_400));
    for _ in 0..1_000 {
        bench.calls("F").wait_millis(86_400_000);
    }
    bench.calls("F");
    assert_eq!(
        bench.refused().retry_after,
        Some(Duration::from_secs(86_400))
    );
}

#[test]
fn jitter_spreads_breakers_within_their_share_and_a_seed_fixes_it() {
    let mut rules = growing(1.0, 5);
    rules.circuit_breaker.open_jitter = Some(Share::new(0.5).unwrap());
    let left = |seed| {
        let mut bench = Bench::seeded(&rules, seed);
        bench.calls("F").refused().retry_after.unwrap()
    };
    let all: Vec<_> = (0..100).map(left).collect();
    let (least, most) = (Duration::from_millis(2_500), Duration::from_secs(5));
    assert!(all.iter().all(|left| (least..=most).contains(left)));
    let spread = *all.iter().max().unwrap() - *all.iter().min().unwrap();
    assert!(spread > Duration::from_secs(2), "{spread:?}");
    assert_eq!(left(7), all[7]);
}

#[test]
fn a_refusal_says_when_it_will_probe_and_keeps_its_word() {
    let mut rules = growing(2.0, 60);
    rules.circuit_breaker.open_jitter = Some(Share::new(1.0).unwrap());
    let mut bench = Bench::new(&rules);
    for _ in 0..10 {
        bench.calls("F");
        bench.now = bench.now + bench.refused().retry_after.unwrap();
    }
}

#[test]
fn would_admit_foresees_what_admit_will_say() {
    let mut bench = Bench::new(&consecutive(1));
    assert!(bench.breaker.would_admit(bench.now));
    bench.calls("F");
    let later = |secs| Instant::ORIGIN + Duration::from_secs(secs);
    assert!(!bench.breaker.would_admit(later(4)));
    assert!(bench.breaker.would_admit(later(5)));
    bench.wait_millis(5_000);
    let _probe = bench.admit().unwrap();
    assert!(!bench.breaker.would_admit(later(6)));
}

#[test]
fn a_clock_that_steps_back_wedges_nothing() {
    let mut bench = Bench::new(&ratio(10, 0.5, 2));
    bench.wait_millis(60_000);
    bench.calls("F F");
    assert_eq!(bench.state(), CircuitState::Open);
    bench.now = Instant::ORIGIN;
    assert!(bench.admit().is_err());
    bench.wait_millis(65_000);
    assert_eq!(bench.calls("S").state(), CircuitState::Closed);
}
