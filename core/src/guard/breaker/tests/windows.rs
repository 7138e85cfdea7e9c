//! Ratios over a window of time and over one of calls.

use super::*;
use crate::guard::breaker::counted::LastCalls;

#[test]
fn a_ratio_is_not_judged_below_the_minimum_and_a_success_can_be_the_one_that_completes_it() {
    let mut bench = Bench::new(&ratio(20, 0.5, 5));
    assert_eq!(bench.calls("F F F S").state(), CircuitState::Closed);
    assert_eq!(bench.calls("S").state(), CircuitState::Open);
    assert_eq!(bench.transitions.len(), 1);
    assert_eq!(
        bench.transitions[0].cause,
        Cause::FailureRatio { bad: 3, total: 5 }
    );
}

#[test]
fn slow_calls_open_it_though_few_fail() {
    let window = Window::Span(Duration::from_secs(20));
    let mut bench = Bench::new(&ratios(window, 0.5, Some(0.5), 5));
    assert_eq!(bench.calls("f s F S").state(), CircuitState::Closed);
    assert_eq!(bench.calls("s").state(), CircuitState::Open);
    assert_eq!(bench.causes(), [Cause::SlowCallRatio { slow: 3, total: 5 }]);
}

#[test]
fn a_fast_call_can_be_the_one_that_shows_how_many_are_slow() {
    let window = Window::Span(Duration::from_secs(20));
    let mut bench = Bench::new(&ratios(window, 1.0, Some(0.5), 4));
    assert_eq!(bench.calls("s s S S").state(), CircuitState::Open);
}

#[test]
fn exactly_at_the_ratio_with_exactly_the_minimum_opens() {
    assert_eq!(
        Bench::new(&ratio(20, 0.4, 5)).calls("F S S S F").state(),
        CircuitState::Open
    );
    assert_eq!(
        Bench::new(&ratio(20, 0.8, 5)).calls("F F F F").state(),
        CircuitState::Closed
    );
}

#[test]
fn an_outcome_leaves_the_window_with_its_bucket() {
    let mut bench = Bench::new(&ratio(10, 0.5, 4));
    bench.calls("F F F");
    bench.wait_millis(9_999);
    assert_eq!(
        bench.calls("S").state(),
        CircuitState::Open,
        "still in the window"
    );
    let mut bench = Bench::new(&ratio(10, 0.5, 4));
    bench.calls("F F F");
    bench.wait_millis(10_000);
    assert_eq!(
        bench.calls("S F").state(),
        CircuitState::Closed,
        "gone, minimum wanted again"
    );
}

#[test]
fn successes_that_leave_the_window_can_open_it_at_the_next_success() {
    let mut bench = Bench::new(&ratio(10, 0.5, 4));
    bench.calls("S S S S S S");
    bench.wait_millis(9_000);
    bench.calls("F F F F F");
    assert_eq!(bench.state(), CircuitState::Closed, "5 of 11");
    bench.wait_millis(1_000);
    assert_eq!(bench.calls("S").state(), CircuitState::Open, "5 of 6");
}

#[test]
fn an_idle_gap_longer_than_the_window_empties_it_and_the_minimum_is_wanted_again() {
    let mut bench = Bench::new(&ratio(10, 0.5, 4));
    bench.calls("F F F").wait_millis(3_600_000);
    assert_eq!(bench.calls("F F F").state(), CircuitState::Closed);
    assert_eq!(bench.calls("F").state(), CircuitState::Open);
    assert_eq!(bench.causes(), [Cause::FailureRatio { bad: 4, total: 4 }]);
}

#[test]
fn one_call_a_second_over_an_hour_makes_ten_in_a_window_of_ten_seconds_never_drifting() {
    let mut bench = Bench::new(&ratio(10, 1.0, 1));
    let trace = bench.settings.trace().unwrap();
    for second in 1..=3_600 {
        bench.calls("S");
        let held = bench.breaker.successes.count(trace, 0, bench.now);
        assert_eq!(held, second.min(10));
        bench.wait_millis(1_000);
    }
    let held = bench.breaker.successes.count(trace, 0, bench.now);
    assert_eq!(held, 9, "the current bucket is still empty");
}

#[test]
fn of_the_last_three_calls_two_that_failed_open_it() {
    let mut bench = Bench::new(&counted(3, 2.0 / 3.0, 3));
    assert_eq!(bench.calls("F S").state(), CircuitState::Closed);
    assert_eq!(bench.calls("F").state(), CircuitState::Open);
    assert_eq!(bench.causes(), [Cause::FailureRatio { bad: 2, total: 3 }]);
}

#[test]
fn in_a_window_of_four_calls_every_other_failure_never_makes_three() {
    let mut bench = Bench::new(&counted(4, 0.75, 4));
    assert_eq!(bench.calls(&"SF".repeat(20)).state(), CircuitState::Closed);
    assert_eq!(bench.calls("F").state(), CircuitState::Open, "F S F F");
}

#[test]
fn a_thousand_successes_weigh_no_more_than_a_window_of_calls_holds() {
    let mut bench = Bench::new(&counted(10, 0.5, 5));
    bench.calls(&"S".repeat(1_000));
    assert_eq!(bench.calls("F F F F").state(), CircuitState::Closed);
    assert_eq!(bench.calls("F").state(), CircuitState::Open);
    assert_eq!(bench.causes(), [Cause::FailureRatio { bad: 5, total: 10 }]);
}

#[test]
fn a_window_of_calls_knows_no_time() {
    let mut bench = Bench::new(&counted(4, 0.75, 4));
    for _ in 0..2 {
        bench.calls("F").wait_millis(86_400_000);
    }
    assert_eq!(bench.calls("S F").state(), CircuitState::Open);
}

#[test]
fn slow_calls_leave_a_window_of_calls_as_failures_do() {
    let rules = ratios(Window::Calls(4), 1.0, Some(0.75), 4);
    let mut bench = Bench::new(&rules);
    assert_eq!(bench.calls("s s S S S s s").state(), CircuitState::Closed);
    assert_eq!(bench.calls("f").state(), CircuitState::Open);
    assert_eq!(bench.causes(), [Cause::SlowCallRatio { slow: 3, total: 4 }]);
}

#[test]
fn a_window_of_calls_takes_two_bits_a_call_however_many_come() {
    let mut window = LastCalls::default();
    let taken = |calls: u32, window: &mut LastCalls| {
        for call in 0..calls {
            window.record(10_000, 0, call % 3 == 0, call % 7 == 0);
        }
        window.bytes()
    };
    let once = taken(1, &mut window);
    assert_eq!(once, 2_504, "ten thousand times two bits, in words");
    assert_eq!(taken(100_000, &mut window), once);
}

#[test]
fn a_window_holds_any_number_of_successes_on_every_lane() {
    for lane in [LANE, Lane::owned(1).unwrap()] {
        let mut bench = Bench::new(&ratio(3600, 0.5, 100));
        let trace = bench.settings.trace();
        let mut successes = 0;
        for _ in 0..3 {
            let (breaker, now) = (&bench.breaker, bench.now);
            successes += breaker.successes.fill(trace.unwrap(), 0, now, lane);
            for _ in 0..2 {
                let permit = bench.admit().unwrap();
                let (breaker, now) = (&bench.breaker, bench.now);
                assert!(breaker.settle(permit, trace, GOOD, now, lane).is_empty());
                successes += 1;
            }
        }
        let inner = lock(&bench.breaker.inner);
        let ratio = inner.present.ratio.as_ref().unwrap();
        let figures = bench.breaker.figures(&inner, ratio, 0, bench.now);
        assert_eq!(figures.total, successes);
        assert!(successes > 3 << 24, "{successes}");
        let later = bench.now + Duration::from_secs(3600);
        let figures = bench.breaker.figures(&inner, ratio, 0, later);
        assert_eq!(figures.total, 0, "they leave with their bucket");
    }
}
