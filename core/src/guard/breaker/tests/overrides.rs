//! What operators decide, beside what the breaker thinks.

use super::*;

const DAY_MILLIS: u64 = 86_400_000;

fn forced(id: u64, forced: Forced, until_millis: u64) -> Override {
    Override {
        id,
        forced,
        until: Instant::ORIGIN + Duration::from_millis(until_millis),
    }
}

fn open(id: u64, until_millis: u64) -> Override {
    forced(id, Forced::Open, until_millis)
}

fn closed(id: u64, until_millis: u64) -> Override {
    forced(id, Forced::Closed, until_millis)
}

#[test]
fn forced_open_it_refuses_everything_and_knows_no_timer() {
    let mut bench = Bench::new(&consecutive(1));
    bench.calls("F");
    let endless = Override {
        until: Instant::NEVER,
        ..open(1, 0)
    };
    bench.force(&[endless]);
    for _ in 0..10 {
        bench.wait_millis(DAY_MILLIS);
        let refused = bench.refused();
        assert_eq!(refused.reason, Reason::ForcedOpen);
        assert_eq!(refused.retry_after, None);
    }
    assert_eq!(bench.causes(), [Cause::ConsecutiveFailures(1)]);
}

#[test]
fn a_refusal_by_an_override_that_ends_says_when() {
    let mut bench = Bench::new(&consecutive(1));
    bench.force(&[open(1, 60_000)]);
    bench.wait_millis(20_000);
    assert_eq!(bench.refused().retry_after, Some(Duration::from_secs(40)));
    bench.wait_millis(40_000).calls("S");
    assert_eq!(
        bench.causes(),
        [Cause::Forced { by: 1 }, Cause::Released { by: 1 }]
    );
}

#[test]
fn forced_closed_it_admits_everything_and_goes_on_thinking_for_itself() {
    let mut bench = Bench::new(&consecutive(2));
    bench.force(&[closed(1, 60_000)]);
    assert_eq!(bench.transitions, [], "nothing changed for anybody");
    bench.calls("F F F F F");
    let view = bench.view();
    assert_eq!(view.state, CircuitState::Open);
    assert_eq!(view.acting(), CircuitState::Closed);
    assert_eq!(view.forced, Some(closed(1, 60_000)));
    bench.force(&[]);
    assert_eq!(bench.refused().reason, Reason::CircuitOpen);
}

#[test]
fn what_an_override_alone_let_in_says_nothing_about_the_state() {
    let mut bench = Bench::new(&consecutive(1));
    bench.calls("F");
    bench.force(&[closed(1, 60_000)]);
    bench.calls("S S S F F F");
    assert_eq!(bench.state(), CircuitState::Open);
    bench.force(&[]);
    assert_eq!(bench.refused().retry_after, Some(Duration::from_secs(5)));
}

#[test]
fn probes_beneath_a_forced_closed_count_as_probes() {
    let mut bench = Bench::new(&probing(consecutive(1), 2));
    bench.calls("F");
    bench.force(&[closed(1, 60_000)]);
    bench.wait_millis(5_000).calls("S");
    assert_eq!(bench.state(), CircuitState::HalfOpen);
    bench.calls("S");
    assert_eq!(bench.state(), CircuitState::Closed);
}

#[test]
fn the_newer_of_two_decides_then_the_older_then_the_breaker_itself_each_told_once() {
    let mut bench = Bench::new(&consecutive(1));
    let (older, newer) = (open(1, 20_000), closed(2, 10_000));
    for set in [&[older][..], &[older, newer], &[newer, older]] {
        bench.force(set);
    }
    bench.calls("S S S");
    bench.wait_millis(10_000);
    assert!(bench.admit().is_err() && bench.admit().is_err());
    bench.wait_millis(10_000).calls("S S S");
    let events = [
        CircuitState::Open,
        CircuitState::Closed,
        CircuitState::Open,
        CircuitState::Closed,
    ];
    assert_eq!(bench.events(), events);
    assert_eq!(bench.causes()[3], Cause::Released { by: 1 });
}

#[test]
fn an_override_that_is_told_of_again_never_ends_later_than_it_was_to() {
    let mut bench = Bench::new(&consecutive(1));
    bench.force(&[open(1, 10_000)]);
    bench.wait_millis(5_000);
    bench.force(&[open(1, 60_000)]);
    bench.wait_millis(5_000).calls("S");
    bench.force(&[open(1, 60_000)]);
    bench.calls("S");
    assert_eq!(bench.events(), [CircuitState::Open, CircuitState::Closed]);
}

#[test]
fn an_override_that_is_told_of_again_may_end_earlier() {
    let mut bench = Bench::new(&consecutive(1));
    bench.force(&[open(1, 10_000)]);
    bench.force(&[open(1, 5_000)]);
    bench.wait_millis(5_000).calls("S");
}

#[test]
fn an_override_that_has_ended_stays_ended_for_whoever_read_the_clock_before() {
    let mut bench = Bench::new(&consecutive(1));
    bench.force(&[open(1, 10_000)]);
    bench.wait_millis(10_000).calls("S");
    bench.now = bench.now - Duration::from_millis(1);
    bench.calls("S F");
    let causes = [
        Cause::Forced { by: 1 },
        Cause::Released { by: 1 },
        Cause::ConsecutiveFailures(1),
    ];
    assert_eq!(bench.causes(), causes);
    assert_eq!(bench.refused().reason, Reason::CircuitOpen);
}

#[test]
fn whoever_comes_first_after_its_end_tells_of_it_whatever_he_came_for() {
    type Errand = fn(&mut Bench, Permit);
    let errands: [(&str, Errand); 5] = [
        ("admit", |bench, _| assert!(bench.admit().is_ok())),
        ("settle", |bench, permit| bench.settle(permit, BAD)),
        ("reload", |bench, _| bench.reload(&consecutive(2))),
        ("reset", |bench, _| bench.reset()),
        ("force", |bench, _| bench.force(&[])),
    ];
    for (errand, run) in errands {
        let mut bench = Bench::new(&consecutive(9));
        let permit = bench.admit().unwrap();
        bench.force(&[open(1, 10_000)]);
        bench.wait_millis(10_000);
        run(&mut bench, permit);
        assert_eq!(
            bench.causes(),
            [Cause::Forced { by: 1 }, Cause::Released { by: 1 }],
            "{errand}"
        );
        bench.calls("S");
        assert_eq!(bench.transitions.len(), 2, "{errand}");
    }
}

#[test]
fn a_reset_lifts_no_override() {
    let mut bench = Bench::new(&consecutive(1));
    bench.force(&[open(1, 10_000)]);
    bench.reset();
    assert_eq!(bench.refused().reason, Reason::ForcedOpen);
}

#[test]
fn a_reload_keeps_overrides() {
    let mut bench = Bench::new(&consecutive(1));
    bench.force(&[open(1, 10_000)]);
    bench.reload(&ratio(10, 0.5, 2));
    assert_eq!(bench.refused().reason, Reason::ForcedOpen);
}

#[test]
fn of_more_than_it_keeps_the_newest_stay() {
    let mut bench = Bench::new(&consecutive(1));
    let most = u64::try_from(MAX_OVERRIDES).unwrap();
    let mut all: Vec<_> = (2..=most + 1).map(|id| closed(id, 10_000)).collect();
    all.push(open(1, 20_000));
    bench.force(&all);
    bench.wait_millis(10_000).calls("S");
    assert_eq!(bench.transitions, [], "the oldest went");
}

#[test]
fn whether_it_would_admit_later_takes_the_end_of_overrides_into_account() {
    let mut bench = Bench::new(&consecutive(1));
    bench.force(&[open(1, 10_000)]);
    let would = |bench: &Bench, millis| {
        let at = Instant::ORIGIN + Duration::from_millis(millis);
        bench.breaker.would_admit(at)
    };
    assert!(!would(&bench, 9_999) && would(&bench, 10_000));
    bench.calls("").force(&[closed(2, 10_000)]);
    bench.calls("F");
    assert!(would(&bench, 4_000));
}
