//! New rules judge old state.

use super::*;

#[test]
fn a_lower_threshold_judges_the_failures_already_counted() {
    let mut bench = Bench::new(&consecutive(5));
    bench.calls("F F F").reload(&consecutive(3));
    assert_eq!(bench.calls("F").state(), CircuitState::Open);
}

#[test]
fn a_longer_open_duration_counts_from_when_it_opened() {
    let mut bench = Bench::new(&consecutive(1));
    bench.calls("F").wait_millis(3_000);
    let mut longer = consecutive(1);
    longer.circuit_breaker.open_duration = Some(Duration::from_secs(20));
    bench.reload(&longer);
    assert_eq!(
        bench.admit().unwrap_err().retry_after,
        Some(Duration::from_secs(17))
    );
    bench.wait_millis(17_000);
    assert!(bench.admit().is_ok());
}

#[test]
fn a_shorter_open_duration_may_be_over_already() {
    let mut bench = Bench::new(&consecutive(1));
    bench.calls("F").wait_millis(3_000);
    let mut shorter = consecutive(1);
    shorter.circuit_breaker.open_duration = Some(Duration::from_secs(2));
    bench.reload(&shorter);
    assert!(bench.view().probe_due);
    assert!(bench.admit().is_ok());
}

#[test]
fn fewer_permits_are_judged_by_the_probes_that_have_settled() {
    let mut bench = Bench::new(&probing(consecutive(1), 5));
    bench.calls("F").wait_millis(5_000);
    bench.calls("S S S").reload(&probing(consecutive(1), 2));
    assert_eq!(bench.state(), CircuitState::Closed);
}

#[test]
fn only_a_change_of_the_windows_shape_starts_it_anew() {
    let mut bench = Bench::new(&ratio(20, 0.9, 4));
    bench.calls("F F F").reload(&ratio(20, 0.5, 4));
    assert_eq!(bench.calls("S").state(), CircuitState::Open);
    let mut bench = Bench::new(&ratio(20, 0.9, 4));
    bench.calls("F F F").reload(&ratio(30, 0.5, 4));
    assert_eq!(bench.calls("S F").state(), CircuitState::Closed);
}

#[test]
fn a_window_of_calls_goes_on_unless_its_size_changes() {
    let mut bench = Bench::new(&counted(4, 1.0, 4));
    bench.calls("F F F").reload(&counted(4, 0.75, 4));
    assert_eq!(bench.calls("S").state(), CircuitState::Open);
    let mut bench = Bench::new(&counted(4, 1.0, 4));
    bench.calls("F F F").reload(&counted(5, 0.75, 4));
    assert_eq!(bench.calls("S F F").state(), CircuitState::Closed);
    assert_eq!(bench.calls("F").state(), CircuitState::Open, "3 of 4");
}

#[test]
fn from_calls_to_time_and_back_every_window_begins_empty() {
    let (time, calls) = (ratio(10, 0.5, 3), counted(10, 0.5, 3));
    let mut bench = Bench::new(&time);
    for rules in [&calls, &time, &calls, &time] {
        bench.calls("F F");
        bench.reload(rules);
    }
    assert_eq!(bench.calls("F F").state(), CircuitState::Closed);
    assert_eq!(bench.calls("S").state(), CircuitState::Open, "2 of 3");
}

#[test]
fn a_window_that_was_gone_for_a_while_begins_empty() {
    let mut bench = Bench::new(&ratio(10, 0.5, 3));
    bench.calls("F F");
    bench.reload(&consecutive(1_000));
    bench.calls("S S S S");
    bench.reload(&ratio(10, 0.5, 3));
    assert_eq!(bench.calls("F F").state(), CircuitState::Closed);
    assert_eq!(bench.calls("S").state(), CircuitState::Open, "2 of 3");
}

#[test]
fn a_reload_that_lowers_the_ratio_is_judged_by_the_next_success() {
    let mut bench = Bench::new(&ratio(20, 0.9, 4));
    bench.calls("F F S S S").reload(&ratio(20, 0.3, 4));
    assert_eq!(bench.calls("S").state(), CircuitState::Open);
}

#[test]
fn a_success_is_judged_by_new_rules_though_its_bucket_was_judged_by_old_ones() {
    let mut bench = Bench::new(&ratio(20, 0.9, 4));
    bench.calls("S S S S F F S").reload(&ratio(20, 0.2, 4));
    assert_eq!(bench.calls("S").state(), CircuitState::Open, "2 of 8");
}

#[test]
fn a_reload_by_itself_neither_opens_nor_closes_what_is_not_probing() {
    let mut bench = Bench::new(&consecutive(5));
    bench.calls("F F F F").reload(&consecutive(1));
    assert_eq!(bench.state(), CircuitState::Closed);
    bench.calls("F").reload(&consecutive(1_000));
    assert_eq!(bench.state(), CircuitState::Open);
    assert_eq!(bench.transitions.len(), 1);
}

#[test]
fn a_reload_reopens_what_hung_for_too_long_and_says_so() {
    let mut bench = Bench::new(&consecutive(1));
    bench.calls("F").wait_millis(5_000);
    let _hung = bench.admit().unwrap();
    bench.wait_millis(10_000);
    bench.reload(&consecutive(2));
    assert_eq!(bench.state(), CircuitState::Open);
    assert_eq!(bench.causes().last(), Some(&Cause::HalfOpenExpired));
}

#[test]
fn probes_that_began_under_older_rules_are_judged_by_the_present_ones() {
    let mut bench = Bench::new(&probing(consecutive(1), 4));
    bench.calls("F").wait_millis(5_000);
    let probes = [(); 3].map(|()| bench.admit().unwrap());
    let older = bench.settings;
    bench.reload(&probing(consecutive(1), 2));
    bench.settle_as(&older, probes[0], GOOD);
    assert_eq!(bench.state(), CircuitState::HalfOpen, "one of two");
    bench.settle_as(&older, probes[1], GOOD);
    assert_eq!(bench.state(), CircuitState::Closed, "two of two");
    bench.settle_as(&older, probes[2], BAD);
    assert_eq!(bench.state(), CircuitState::Closed, "a straggler");
}

#[test]
fn a_call_from_an_older_window_of_calls_takes_its_place_in_the_present_one() {
    let mut bench = Bench::new(&counted(10, 0.5, 4));
    let (older, straggler) = (bench.settings, bench.admit().unwrap());
    bench.reload(&counted(4, 0.75, 4));
    bench.calls("F F F");
    bench.settle_as(&older, straggler, GOOD);
    assert_eq!(bench.state(), CircuitState::Open, "3 of 4");
}

#[test]
fn a_call_from_an_older_window_of_time_takes_nothing_from_the_present_one() {
    let mut bench = Bench::new(&ratio(10, 0.5, 4));
    let older = bench.settings;
    let stragglers = [(); 2].map(|()| bench.admit().unwrap());
    bench.reload(&ratio(20, 0.5, 4));
    for _ in 0..100 {
        bench.calls("S");
    }
    // Calm, it leaves no trace; beside a run of failures it is counted.
    bench.settle_as(&older, stragglers[0], GOOD);
    bench.calls("F F F");
    bench.settle_as(&older, stragglers[1], GOOD);
    bench.calls("F".repeat(97).as_str());
    assert_eq!(bench.state(), CircuitState::Closed);
    bench.calls("F");
    let opened = Cause::FailureRatio {
        bad: 101,
        total: 202,
    };
    assert_eq!(bench.causes(), [opened]);
}

#[test]
fn a_call_from_an_older_window_does_not_end_the_bucket_that_the_present_one_was_judged_for() {
    let mut bench = Bench::new(&ratio(3600, 0.9, 2));
    let (older, straggler) = (bench.settings, bench.admit().unwrap());
    bench.reload(&ratio(1, 0.6, 2));
    bench.calls("S F");
    bench.settle_as(&older, straggler, SLOW);
    // It was judged for the rest of a bucket of 100 ms, not of 6 minutes.
    bench.wait_millis(950);
    bench.calls("F").wait_millis(60).calls("S");
    assert_eq!(bench.state(), CircuitState::Closed, "1 of 2");
}

#[test]
fn a_call_that_asks_under_older_rules_is_let_in_by_the_present_ramp() {
    let mut bench = Bench::new(&consecutive(1));
    bench.calls("F").wait_millis(5_000);
    let mut ramping = consecutive(1);
    ramping.circuit_breaker.recovery_ramp = Some(Duration::from_secs(600));
    let (older, probe) = (bench.settings, bench.admit().unwrap());
    bench.reload(&ramping);
    bench.settle_as(&older, probe, GOOD);
    assert_eq!(bench.view().ramp, Some(1_000));
    bench.calls("S");
    assert_eq!(bench.refused().reason, Reason::Recovering);
    assert_eq!(bench.view().ramp, Some(1_000));
}
