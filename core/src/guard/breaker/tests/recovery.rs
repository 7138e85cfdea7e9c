//! The ramp after recovery.

use super::*;

/// Recovered just now, with a ramp of ten seconds.
fn recovered(rules: Rules) -> Bench {
    let mut bench = Bench::new(&ramping(rules, 10));
    while bench.state() == CircuitState::Closed {
        bench.calls("F");
    }
    bench.wait_millis(5_000).calls("S");
    assert_eq!(bench.state(), CircuitState::Closed);
    bench
}

fn ramping(mut rules: Rules, secs: u64) -> Rules {
    rules.circuit_breaker.recovery_ramp = Some(Duration::from_secs(secs));
    rules
}

fn admitted_of(bench: &mut Bench, calls: usize) -> usize {
    (0..calls).filter(|_| bench.admit().is_ok()).count()
}

#[test]
fn the_share_let_in_grows_from_a_tenth_to_all_in_a_straight_line() {
    let mut bench = recovered(consecutive(1));
    for tenth in 0..10 {
        let share = 100 + 90 * tenth;
        assert_eq!(bench.view().ramp, Some(u32::try_from(share).unwrap() * 10));
        let admitted = admitted_of(&mut bench, 1_000);
        assert!(admitted.abs_diff(share) <= 1, "{admitted} of {share}");
        bench.wait_millis(1_000);
    }
    assert_eq!(bench.view().ramp, None);
    assert_eq!(admitted_of(&mut bench, 1_000), 1_000);
    assert!(bench.breaker.admit_at_once().is_some(), "on the short way");
}

#[test]
fn the_first_caller_after_recovery_goes_and_then_every_tenth() {
    let mut bench = recovered(consecutive(1));
    let goes: Vec<_> = (0..21).filter(|_| bench.admit().is_ok()).collect();
    assert_eq!(goes, [0, 10, 20]);
}

#[test]
fn whoever_is_not_let_in_yet_is_told_that_it_recovers() {
    let mut bench = recovered(consecutive(1));
    bench.calls("S");
    let expected = Rejection {
        reason: Reason::Recovering,
        retry_after: None,
    };
    assert_eq!(bench.refused(), expected);
}

#[test]
fn a_failure_while_it_recovers_counts_as_ever() {
    let mut bench = recovered(consecutive(1));
    assert_eq!(bench.calls("F").state(), CircuitState::Open);
    bench.wait_millis(5_000).calls("S");
    assert_eq!(bench.view().ramp, Some(1_000), "and the ramp begins anew");
}

#[test]
fn successes_while_it_recovers_are_in_the_window() {
    let mut bench = recovered(ratio(60, 0.5, 4));
    bench.wait_millis(9_999).calls("S S S F F");
    assert_eq!(bench.state(), CircuitState::Closed, "2 of 5");
    assert_eq!(bench.calls("F").state(), CircuitState::Open, "3 of 6");
}

#[test]
fn there_is_no_ramp_after_a_reset_or_without_a_time_for_it() {
    let mut bench = Bench::new(&ramping(consecutive(1), 10));
    bench.calls("F");
    bench.reset();
    assert_eq!(admitted_of(&mut bench, 100), 100);
    let mut bench = Bench::new(&ramping(consecutive(1), 0));
    bench.calls("F").wait_millis(5_000).calls("S");
    assert_eq!(admitted_of(&mut bench, 100), 100);
}

#[test]
fn a_reload_that_drops_the_ramp_lets_everybody_in_at_once() {
    let mut bench = recovered(consecutive(1));
    bench.reload(&consecutive(1));
    assert_eq!(bench.view().ramp, None);
    assert_eq!(admitted_of(&mut bench, 100), 100);
}

#[test]
fn a_success_from_before_the_opening_does_not_shorten_the_ramp() {
    let mut bench = Bench::new(&ramping(consecutive(1), 10));
    let straggler = bench.admit().unwrap();
    bench.calls("F").wait_millis(5_000).calls("S");
    bench.settle(straggler, GOOD);
    assert_eq!(bench.view().ramp, Some(1_000));
}
