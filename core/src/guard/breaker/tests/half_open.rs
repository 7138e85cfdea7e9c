//! Half-open: who probes, and what the probes decide.

use super::*;

/// Just open for as long as it takes.
fn opened(rules: &Rules) -> Bench {
    let mut bench = Bench::new(rules);
    while bench.state() == CircuitState::Closed {
        bench.calls("F");
    }
    bench.wait_millis(5_000);
    bench
}

#[test]
fn one_failed_probe_reopens_a_breaker_of_consecutive_failures() {
    let mut bench = Bench::new(&probing(consecutive(3), 2));
    bench.calls("F F F").wait_millis(5_000);
    assert_eq!(bench.calls("F").state(), CircuitState::Open);
    assert_eq!(bench.transitions.last().unwrap().cause, Cause::ProbeFailed);
    bench.wait_millis(4_999);
    assert!(bench.admit().is_err(), "the open time starts anew");
}

#[test]
fn a_ratio_decides_once_every_probe_has_settled() {
    for (script, state) in [
        ("F F S F", CircuitState::Open),
        ("F S S S", CircuitState::Closed),
    ] {
        let mut bench = Bench::new(&probing(ratio(20, 0.5, 2), 4));
        bench.calls("F F").wait_millis(5_000);
        assert_eq!(bench.calls(script).state(), state, "{script}");
    }
}

#[test]
fn slow_probes_open_it_again_though_all_succeed() {
    let window = Window::Span(Duration::from_secs(20));
    let rules = probing(ratios(window, 0.5, Some(0.5), 2), 4);
    assert_eq!(opened(&rules).calls("s s s S").state(), CircuitState::Open);
    assert_eq!(
        opened(&rules).calls("s S S S").state(),
        CircuitState::Closed
    );
}

#[test]
fn probes_of_a_window_of_calls_are_judged_by_its_ratio_too() {
    let rules = probing(counted(10, 0.5, 2), 4);
    assert_eq!(opened(&rules).calls("F F S S").state(), CircuitState::Open);
    assert_eq!(
        opened(&rules).calls("F S S S").state(),
        CircuitState::Closed
    );
}

#[test]
fn it_closes_with_an_empty_window() {
    for rules in [
        probing(ratio(20, 0.5, 2), 4),
        probing(counted(10, 0.5, 2), 4),
    ] {
        let mut bench = opened(&rules);
        assert_eq!(bench.calls("F S S S").state(), CircuitState::Closed);
        assert_eq!(bench.calls("F").state(), CircuitState::Closed, "1 of 1");
        assert_eq!(bench.calls("S").state(), CircuitState::Open, "1 of 2");
    }
}

#[test]
fn three_of_four_successes_close_it_and_no_sooner_opens_it_than_they_cannot_come() {
    let rules = succeeding(ratio(20, 0.1, 1), 4, Some(3));
    assert_eq!(
        opened(&rules).calls("S F S").state(),
        CircuitState::HalfOpen
    );
    assert_eq!(opened(&rules).calls("S F S F").state(), CircuitState::Open);
    assert_eq!(
        opened(&rules).calls("S F S S").state(),
        CircuitState::Closed
    );
    assert_eq!(opened(&rules).calls("F F").state(), CircuitState::Open);
}

#[test]
fn successes_wanted_decide_even_where_one_failure_in_a_row_would() {
    let rules = succeeding(consecutive(1), 3, Some(2));
    assert_eq!(opened(&rules).calls("F S S").state(), CircuitState::Closed);
}

#[test]
fn never_more_probes_than_permits_in_each_cycle() {
    let mut bench = Bench::new(&probing(consecutive(1), 3));
    for _ in 0..3 {
        if bench.state() == CircuitState::Closed {
            bench.calls("F");
        }
        bench.wait_millis(5_000);
        let probes = [(); 3].map(|()| bench.admit().unwrap());
        assert!(bench.admit().is_err());
        bench.settle(probes[0], GOOD);
        assert!(
            bench.admit().is_err(),
            "a settled probe does not free its permit"
        );
        bench.settle(probes[1], GOOD);
        bench.settle(probes[2], BAD);
    }
}

#[test]
fn an_ignored_probe_gives_its_permit_back_and_decides_nothing() {
    let mut bench = Bench::new(&probing(consecutive(1), 2));
    bench.calls("F").wait_millis(5_000);
    assert_eq!(bench.calls("I I I I").state(), CircuitState::HalfOpen);
    assert_eq!(bench.calls("S S").state(), CircuitState::Closed);
}

#[test]
fn while_the_last_probe_is_out_nobody_else_goes_and_its_success_closes() {
    let mut bench = opened(&probing(consecutive(1), 3));
    bench.calls("S S");
    let last = bench.admit().unwrap();
    let refused = bench.refused();
    assert_eq!(refused.reason, Reason::CircuitOpen);
    assert_eq!(
        refused.retry_after, None,
        "nobody knows when it will be back"
    );
    bench.settle(last, GOOD);
    assert_eq!(bench.state(), CircuitState::Closed);
}

#[test]
fn a_dropped_probe_gives_its_permit_back_and_neither_closes_nor_opens() {
    let mut bench = opened(&consecutive(1));
    for _ in 0..100 {
        let dropped = bench.admit().unwrap();
        assert!(bench.admit().is_err());
        bench.settle(dropped, Observation::Neutral);
        assert_eq!(bench.state(), CircuitState::HalfOpen);
    }
    assert_eq!(bench.calls("S").state(), CircuitState::Closed);
}

#[test]
fn a_failure_from_before_it_opened_does_not_count_as_a_probe() {
    let mut bench = Bench::new(&consecutive(1));
    let straggler = bench.admit().unwrap();
    bench.calls("F").wait_millis(5_000);
    let probe = bench.admit().unwrap();
    bench.settle(straggler, BAD);
    assert_eq!(bench.state(), CircuitState::HalfOpen);
    assert!(bench.admit().is_err(), "and frees no permit");
    bench.settle(probe, GOOD);
    assert_eq!(bench.state(), CircuitState::Closed);
}

#[test]
fn however_many_race_for_the_probes_no_more_than_the_permits_are_let_in() {
    let bench = opened(&probing(consecutive(1), 3));
    let (breaker, now) = (&bench.breaker, bench.now);
    let admitted: usize = std::thread::scope(|scope| {
        let ask = || {
            (0..100)
                .filter(|_| breaker.admit(now).answer.is_ok())
                .count()
        };
        let threads = [(); 8].map(|()| scope.spawn(ask));
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(admitted, 3);
}

#[test]
fn a_hung_probe_is_bounded() {
    let mut bench = Bench::new(&consecutive(1));
    bench.calls("F").wait_millis(5_000);
    let hung = bench.admit().unwrap();
    // max half-open: 5 s open plus 5 s attempt timeout
    bench.wait_millis(9_999);
    assert!(bench.admit().is_err());
    assert_eq!(bench.state(), CircuitState::HalfOpen);
    bench.wait_millis(1);
    assert_eq!(
        bench.state(),
        CircuitState::Open,
        "told as due before anybody calls"
    );
    assert!(bench.admit().is_err());
    assert_eq!(
        bench.transitions.last().unwrap().cause,
        Cause::HalfOpenExpired
    );
    bench.settle(hung, GOOD);
    bench.wait_millis(5_000);
    assert!(bench.admit().is_ok());
}

#[test]
fn half_open_lasts_while_probes_come_back_however_slowly() {
    let mut bench = Bench::new(&probing(consecutive(1), 5));
    bench.calls("F").wait_millis(5_000);
    for _ in 0..4 {
        assert_eq!(bench.calls("S").state(), CircuitState::HalfOpen);
        bench.wait_millis(9_000);
    }
    assert_eq!(bench.calls("S").state(), CircuitState::Closed);
}

#[test]
fn a_hung_probe_and_a_long_silence_do_not_cost_the_next_call() {
    let mut bench = Bench::new(&consecutive(1));
    bench.calls("F").wait_millis(5_000);
    let _hung = bench.admit().unwrap();
    bench.wait_millis(600_000);
    let view = bench.breaker.state_at(bench.now);
    assert!(view.probe_due && view.state == CircuitState::Open);
    assert!(bench.breaker.would_admit(bench.now));
    assert_eq!(bench.calls("S").state(), CircuitState::Closed);
    let causes: Vec<_> = bench.transitions.iter().map(|t| t.cause).collect();
    assert_eq!(causes[2..4], [Cause::HalfOpenExpired, Cause::OpenElapsed]);
}
