//! Closed: failures in a row, and what ends the state.

use super::*;

#[test]
fn opens_at_the_threshold_of_failures_in_a_row_and_a_success_ends_the_run() {
    let mut bench = Bench::new(&consecutive(3));
    assert_eq!(bench.calls("F S F F").state(), CircuitState::Closed);
    assert_eq!(bench.calls("F").state(), CircuitState::Open);
    assert_eq!(bench.transitions[0].cause, Cause::ConsecutiveFailures(3));
}

#[test]
fn a_failure_that_does_not_enter_the_run_leaves_it_as_it_is() {
    let mut bench = Bench::new(&consecutive(2));
    bench.calls("F");
    for _ in 0..5 {
        let permit = bench.admit().unwrap();
        bench.settle(
            permit,
            Observation::Bad {
                slow: false,
                in_run: false,
            },
        );
    }
    assert_eq!(bench.state(), CircuitState::Closed);
    assert_eq!(bench.calls("F").state(), CircuitState::Open);
}

#[test]
fn a_slow_success_ends_the_run_too_and_an_ignored_call_does_not() {
    let mut bench = Bench::new(&consecutive(2));
    assert_eq!(bench.calls("F s F").state(), CircuitState::Closed);
    assert_eq!(bench.calls("I I F").state(), CircuitState::Open);
}

#[test]
fn after_every_opening_the_counts_start_at_zero() {
    let mut bench = Bench::new(&consecutive(3));
    for _ in 0..3 {
        bench.calls("F F F").wait_millis(5_000).calls("S");
        assert_eq!(bench.calls("F F").state(), CircuitState::Closed);
        bench.calls("S");
    }
    assert_eq!(bench.transitions.len(), 9);
}

#[test]
fn without_a_rule_that_opens_it_it_never_opens_by_itself() {
    let mut rules = consecutive(1);
    rules.circuit_breaker.trip = Some(Trip::default());
    let mut bench = Bench::new(&rules);
    assert_eq!(bench.calls(&"Ff".repeat(100)).state(), CircuitState::Closed);
    assert_eq!(bench.transitions, []);
}

#[test]
fn of_two_rules_the_first_that_can_decide_decides() {
    let mut rules = ratio(20, 0.5, 4);
    rules
        .circuit_breaker
        .trip
        .as_mut()
        .unwrap()
        .consecutive_failures = Some(3);
    let mut bench = Bench::new(&rules);
    bench.calls("F F F");
    assert_eq!(bench.causes(), [Cause::ConsecutiveFailures(3)]);
    let mut bench = Bench::new(&rules);
    bench.calls("F F S F");
    assert_eq!(bench.causes(), [Cause::FailureRatio { bad: 3, total: 4 }]);
}

#[test]
fn a_straggler_from_an_earlier_state_changes_nothing() {
    let mut bench = Bench::new(&consecutive(1));
    let straggler = bench.admit().unwrap();
    bench.calls("F");
    bench.settle(straggler, GOOD);
    assert_eq!(bench.state(), CircuitState::Open);
    bench.wait_millis(5_000);
    bench.calls("S");
    bench.settle(straggler, BAD);
    assert_eq!(bench.state(), CircuitState::Closed);
    assert_eq!(bench.transitions.len(), 3);
}

#[test]
fn a_reset_closes_and_forgets() {
    let mut bench = Bench::new(&consecutive(2));
    bench.calls("F");
    bench.reset();
    assert_eq!(bench.transitions, [], "closed already: no event");
    assert_eq!(
        bench.calls("F").state(),
        CircuitState::Closed,
        "the run was forgotten"
    );
    bench.calls("F");
    bench.reset();
    let event = bench.transitions.last().unwrap();
    assert_eq!(
        (event.from, event.to),
        (CircuitState::Open, CircuitState::Closed)
    );
    assert_eq!(bench.calls("F").state(), CircuitState::Closed);
}

#[test]
fn a_reset_forgets_what_the_window_holds_of_either_kind() {
    for rules in [ratio(20, 0.5, 4), counted(10, 0.5, 4)] {
        let mut bench = Bench::new(&rules);
        bench.calls("F F S");
        bench.reset();
        assert_eq!(bench.calls("S S F").state(), CircuitState::Closed);
        assert_eq!(bench.calls("F").state(), CircuitState::Open, "2 of 4");
    }
}

#[test]
fn whoever_was_let_in_before_a_reset_changes_nothing_after_it() {
    let mut bench = Bench::new(&consecutive(1));
    let straggler = bench.admit().unwrap();
    bench.reset();
    bench.settle(straggler, BAD);
    assert_eq!(bench.state(), CircuitState::Closed);
}

#[test]
fn threads_on_lanes_of_their_own_and_shared_count_every_success() {
    let settings = compile(&ratio(3600, 1.0, 1), None);
    let breaker = Breaker::new(&settings, 0, Instant::ORIGIN);
    let now = Instant::from_nanos(1);
    std::thread::scope(|scope| {
        for lane in [Lane::owned(1).unwrap(), Lane::owned(2).unwrap(), LANE, LANE] {
            let (breaker, settings) = (&breaker, &settings);
            scope.spawn(move || {
                for _ in 0..20_000 {
                    let permit = breaker.admit(now).answer.unwrap();
                    let settled = breaker.settle(permit, settings.trace(), GOOD, now, lane);
                    assert!(settled.is_empty());
                }
            });
        }
    });
    let trace = settings.trace().unwrap();
    assert_eq!(breaker.successes.count(trace, 0, now), 80_000);
}
