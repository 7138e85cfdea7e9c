//! The fleet as its readers and its clients see it.

mod health;

use proptest::prelude::*;

use super::*;
use crate::glob::Glob;
use crate::key::{Epoch, InstanceId, Labels, PolicyName};
use crate::outcome::{BreakerCounts, CircuitState, Reason};
use crate::stats::{Counts, Histogram, Totals};

const REPORT_INTERVAL: Duration = Duration::from_secs(5);

fn at(secs: u64) -> Instant {
    // Not at zero: nothing may depend on the origin.
    Instant::ORIGIN + Duration::from_secs(1_000 + secs)
}

fn key(instance: &str, epoch: u64) -> InstanceKey {
    InstanceKey {
        namespace: Namespace::default_namespace(),
        service: Service::new("checkout").unwrap(),
        instance: InstanceId::new(instance).unwrap(),
        epoch: Epoch(epoch),
    }
}

fn name(operation: &str) -> OperationName {
    OperationName::new(operation).unwrap()
}

fn operation(operation: &str) -> OperationKey {
    ServiceKey::of(&key("any", 0)).operation(&name(operation))
}

/// `good` successes and `bad` failures of one millisecond each.
fn totals(good: u64, bad: u64) -> Totals {
    let bucket = u32::try_from(crate::stats::bucket_of(Duration::from_millis(1))).unwrap();
    let latencies = Some((bucket, good + bad)).filter(|&(_, count)| count > 0);
    let latency = Histogram::from_pairs(latencies).unwrap();
    let counts = Counts {
        calls: [good, bad, 0, 0, 0, 0],
        ..Counts::default()
    };
    Totals::new(counts, latency).unwrap()
}

fn part(operation: &str, totals: Totals) -> OperationReport {
    OperationReport {
        operation: name(operation),
        totals,
        state: CircuitState::Closed,
        state_age: Duration::ZERO,
        last_transition: 0,
        forced: None,
        shadow: None,
        breaker: BreakerCounts::default(),
    }
}

fn report(operations: impl IntoIterator<Item = OperationReport>) -> Report {
    Report {
        from_start: false,
        span: Duration::ZERO,
        operations: operations.into_iter().collect(),
    }
}

fn first(operations: impl IntoIterator<Item = OperationReport>) -> Report {
    Report {
        from_start: true,
        ..report(operations)
    }
}

fn transition(operation: &str, number: u64, to: CircuitState) -> TransitionReport {
    TransitionReport {
        operation: name(operation),
        number,
        from: CircuitState::Closed,
        to,
        cause: "3 consecutive failures".into(),
        age: Duration::ZERO,
        by: None,
    }
}

fn connect(fleet: &mut Fleet, instance: &str, epoch: u64, secs: u64) -> SessionId {
    fleet.connect(key(instance, epoch), &InstanceFacts::default(), at(secs))
}

fn detail(fleet: &Fleet, of: &str, secs: u64) -> OperationDetail {
    look(fleet, of, at(secs)).unwrap()
}

fn look(fleet: &Fleet, of: &str, now: Instant) -> Option<OperationDetail> {
    let all = InstancesOf {
        after: None,
        limit: usize::MAX,
    };
    fleet.view_operation(&operation(of), &all, now)
}

fn worst_first(fleet: &Fleet, filter: &Filter) -> Vec<OperationView> {
    fleet.page_operations(&all_of(filter), at(0)).operations
}

fn all_of(filter: &Filter) -> OperationQuery<'_> {
    OperationQuery {
        filter,
        kind: None,
        states: &[],
        forced: false,
        order: Order::Worst,
        after: None,
        limit: usize::MAX,
    }
}

fn view(fleet: &Fleet, of: &str, secs: u64) -> OperationView {
    detail(fleet, of, secs).operation
}

fn calls(fleet: &Fleet, secs: u64) -> u64 {
    view(fleet, "pay", secs).totals.all_calls()
}

fn instances(fleet: &Fleet, secs: u64) -> Vec<InstanceView> {
    fleet.view_instances(&Filter::default(), at(secs))
}

fn small(max_instances: usize, max_operations_per_service: usize) -> Fleet {
    Fleet::new(Limits {
        stale_after: 3 * REPORT_INTERVAL,
        max_instances,
        max_operations_per_service,
        ..Limits::default()
    })
}

fn fleet() -> Fleet {
    small(100, 100)
}

#[test]
fn a_process_heard_from_its_start_counts_whole_and_then_by_difference() {
    let mut fleet = fleet();
    let session = connect(&mut fleet, "a", 1, 0);
    assert_eq!(
        fleet
            .absorb(session, &first([part("pay", totals(5, 0))]), at(0))
            .counted,
        1
    );
    assert_eq!(calls(&fleet, 0), 5);
    fleet.absorb(session, &report([part("pay", totals(8, 0))]), at(1));
    assert_eq!(calls(&fleet, 1), 8);
}

#[test]
fn a_process_that_counted_before_it_was_heard_of_starts_from_a_baseline() {
    let mut fleet = fleet();
    let session = connect(&mut fleet, "a", 1, 0);
    let ledger = fleet.absorb(session, &report([part("pay", totals(1_000, 7))]), at(0));
    assert_eq!(
        ledger,
        Ledger {
            baselines: 1,
            ..Ledger::default()
        }
    );
    assert_eq!(calls(&fleet, 0), 0);
    assert_eq!(
        view(&fleet, "pay", 0).last_ten_seconds.calls_per_second,
        0.0
    );
    fleet.absorb(session, &report([part("pay", totals(1_002, 7))]), at(1));
    assert_eq!(calls(&fleet, 1), 2);
}

#[test]
fn an_operation_that_appears_in_a_known_process_counts_whole() {
    let mut fleet = fleet();
    let session = connect(&mut fleet, "a", 1, 0);
    fleet.absorb(session, &report([part("ship", totals(1_000, 0))]), at(0));
    fleet.absorb(session, &report([part("pay", totals(4, 0))]), at(5));
    assert_eq!(calls(&fleet, 5), 4);
}

#[test]
fn a_repeated_report_changes_nothing() {
    let mut fleet = fleet();
    let session = connect(&mut fleet, "a", 1, 0);
    let told = first([part("pay", totals(5, 2))]);
    fleet.absorb(session, &told, at(0));
    let before = view(&fleet, "pay", 0);
    assert_eq!(fleet.absorb(session, &told, at(0)).repeated, 1);
    assert_eq!(view(&fleet, "pay", 0), before);
}

#[test]
fn an_older_report_is_counted_and_changes_nothing() {
    let mut fleet = fleet();
    let session = connect(&mut fleet, "a", 1, 0);
    fleet.absorb(session, &first([part("pay", totals(5, 2))]), at(0));
    let older = OperationReport {
        state: CircuitState::Open,
        ..part("pay", totals(4, 2))
    };
    assert_eq!(fleet.absorb(session, &report([older]), at(0)).backwards, 1);
    let now = view(&fleet, "pay", 0);
    assert_eq!(now.totals.counts(), totals(5, 2).counts());
    assert_eq!(now.instances.closed, 1);
    assert_eq!(fleet.ledger().backwards, 1);
}

#[test]
fn rates_are_of_the_last_ten_seconds_and_quantiles_of_the_last_minute() {
    let mut fleet = fleet();
    let session = connect(&mut fleet, "a", 1, 0);
    fleet.absorb(session, &first([part("pay", totals(0, 0))]), at(0));
    for second in 1..=10 {
        fleet.absorb(
            session,
            &report([part("pay", totals(15 * second, 5 * second))]),
            at(second),
        );
    }
    let now = look(&fleet, "pay", at(10) + Duration::from_millis(999));
    let rates = now.unwrap().operation.last_ten_seconds;
    assert!((rates.calls_per_second - 20.0).abs() < 0.01, "{rates:?}");
    assert_eq!(
        rates.failure,
        Ratio {
            basis_points: 2_500,
            sample: 200
        }
    );
    let later = view(&fleet, "pay", 40);
    assert_eq!(later.last_ten_seconds.failure.sample, 0);
    assert_eq!(later.last_minute.failure.sample, 200);
    assert!(later.p50.is_some());
    let much_later = view(&fleet, "pay", 80);
    assert_eq!(
        (much_later.p50, much_later.last_minute.failure.sample),
        (None, 0)
    );
    assert_eq!(much_later.totals.counts(), totals(150, 50).counts());
}

#[test]
fn retries_and_refusals_are_told_beside_the_calls() {
    let mut fleet = fleet();
    let session = connect(&mut fleet, "a", 1, 0);
    let counts = Counts {
        calls: [10, 0, 0, 5, 0, 0],
        refusals: [90; Reason::ALL.len()],
        retries: 15,
        ..Counts::default()
    };
    let told = Totals::new(counts, Histogram::default());
    fleet.absorb(session, &first([part("pay", Totals::default())]), at(0));
    fleet.absorb(session, &report([part("pay", told.unwrap())]), at(9));
    let rates = view(&fleet, "pay", 9).last_ten_seconds;
    assert_eq!(
        rates.retry,
        Ratio {
            basis_points: 15_000,
            sample: 10
        }
    );
    assert_eq!(rates.refusals_per_second, [10.0; Reason::ALL.len()]);
}

#[test]
fn a_rate_is_taken_over_no_more_than_the_time_an_operation_has_been_known() {
    let mut fleet = fleet();
    let session = connect(&mut fleet, "a", 1, 100);
    let per_second = |fleet: &Fleet, now| view(fleet, "pay", now).last_ten_seconds.calls_per_second;
    fleet.absorb(session, &first([part("pay", totals(5, 0))]), at(100));
    assert_eq!(per_second(&fleet, 100), 5.0, "but over a second at least");
    fleet.absorb(session, &report([part("pay", totals(20, 0))]), at(104));
    assert_eq!(per_second(&fleet, 104), 5.0);
}

#[test]
fn what_happened_in_a_long_silence_is_in_the_totals_but_in_no_rate() {
    let mut fleet = fleet();
    let session = connect(&mut fleet, "a", 1, 0);
    fleet.absorb(session, &first([part("pay", totals(1, 0))]), at(0));
    fleet.absorb(
        session,
        &report([part("pay", totals(1_000_000, 0))]),
        at(600),
    );
    let now = view(&fleet, "pay", 600);
    assert_eq!(now.totals.all_calls(), 1_000_000);
    let lately = [now.last_ten_seconds, now.last_minute, now.last_five_minutes];
    assert_eq!(lately.map(|rates| rates.failure.sample), [0; 3]);
    assert_eq!(lately.map(|rates| rates.calls_per_second), [0.0; 3]);
    assert_eq!((now.p50, now.latency_sample), (None, 0));
    fleet.absorb(
        session,
        &report([part("pay", totals(1_000_090, 0))]),
        at(605),
    );
    assert_eq!(view(&fleet, "pay", 605).last_ten_seconds.failure.sample, 90);
}

#[test]
fn the_state_of_an_operation_is_a_count_over_connected_instances() {
    let mut fleet = fleet();
    let states = [
        CircuitState::Open,
        CircuitState::Open,
        CircuitState::HalfOpen,
    ];
    for (epoch, state) in (0..).zip(states) {
        let session = connect(&mut fleet, "a", epoch, 0);
        fleet.absorb(
            session,
            &first([OperationReport {
                state,
                ..part("pay", totals(1, 0))
            }]),
            at(0),
        );
    }
    let gone = connect(&mut fleet, "gone", 9, 0);
    fleet.absorb(gone, &first([part("pay", totals(1, 0))]), at(0));
    fleet.disconnect(gone, at(0));
    let expected = StateCounts {
        open: 2,
        half_open: 1,
        impeded: 3,
        gone: 1,
        ..StateCounts::default()
    };
    assert_eq!(view(&fleet, "pay", 1).instances, expected);
}

#[test]
fn an_instance_silent_for_three_intervals_is_stale_and_in_no_state() {
    let mut fleet = fleet();
    let session = connect(&mut fleet, "a", 1, 0);
    fleet.absorb(session, &first([part("pay", totals(1, 0))]), at(0));
    fleet.touch(session, at(14));
    assert_eq!(view(&fleet, "pay", 15).instances.closed, 1);
    let stale = StateCounts {
        stale: 1,
        ..StateCounts::default()
    };
    assert_eq!(view(&fleet, "pay", 16).instances, stale);
    assert_eq!(view(&fleet, "pay", 16).age, Some(Duration::from_secs(16)));
}

#[test]
fn a_report_that_leaves_an_operation_out_says_that_it_has_not_changed() {
    let mut fleet = fleet();
    let session = connect(&mut fleet, "a", 1, 0);
    fleet.absorb(session, &first([part("pay", totals(1, 0))]), at(0));
    fleet.absorb(session, &report([]), at(15));
    assert_eq!(view(&fleet, "pay", 25).instances.closed, 1);
    assert_eq!(view(&fleet, "pay", 25).age, Some(Duration::from_secs(10)));
}

#[test]
fn a_declared_operation_is_stale_until_something_is_heard_of_it() {
    let mut fleet = fleet();
    let session = connect(&mut fleet, "a", 1, 0);
    fleet.declare(session, &name("pay"), Kind::Database, at(0));
    let declared = view(&fleet, "pay", 0);
    assert_eq!((declared.kind, declared.age), (Kind::Database, None));
    assert_eq!(declared.instances.stale, 1);
    fleet.absorb(session, &first([]), at(1));
    assert_eq!(view(&fleet, "pay", 1).instances.closed, 1);
}

#[test]
fn a_transition_shows_at_once_even_before_the_first_report() {
    let mut fleet = fleet();
    let session = connect(&mut fleet, "a", 1, 0);
    let told = transition("pay", 1, CircuitState::Open);
    assert_eq!(
        fleet.absorb_transition(session, &told, at(0)).transitions,
        1
    );
    assert_eq!(view(&fleet, "pay", 0).instances.open, 1);
}

#[test]
fn a_transition_told_again_changes_nothing_and_one_that_was_overtaken_no_state() {
    let mut fleet = fleet();
    let session = connect(&mut fleet, "a", 1, 0);
    fleet.absorb_transition(
        session,
        &transition("pay", 2, CircuitState::HalfOpen),
        at(0),
    );
    for (number, repeated) in [(1, 0), (2, 1)] {
        let told = transition("pay", number, CircuitState::Open);
        assert_eq!(
            fleet
                .absorb_transition(session, &told, at(1))
                .transitions_repeated,
            repeated
        );
    }
    assert_eq!(view(&fleet, "pay", 1).instances.half_open, 1);
    assert_eq!(detail(&fleet, "pay", 1).transitions.len(), 2);
}

#[test]
fn a_report_drawn_up_before_a_transition_does_not_undo_it_and_a_later_one_is_the_truth() {
    let mut fleet = fleet();
    let session = connect(&mut fleet, "a", 1, 0);
    fleet.absorb_transition(session, &transition("pay", 1, CircuitState::Open), at(0));
    fleet.absorb(session, &first([part("pay", totals(1, 3))]), at(0));
    assert_eq!(view(&fleet, "pay", 0).instances.open, 1);
    let later = OperationReport {
        last_transition: 2,
        state: CircuitState::HalfOpen,
        ..part("pay", totals(1, 3))
    };
    fleet.absorb(session, &report([later]), at(5));
    assert_eq!(view(&fleet, "pay", 5).instances.half_open, 1);
}

#[test]
fn a_transition_that_a_report_forestalled_is_remembered_all_the_same() {
    let mut fleet = fleet();
    let session = connect(&mut fleet, "a", 1, 0);
    let told = OperationReport {
        last_transition: 2,
        ..part("pay", totals(1, 0))
    };
    fleet.absorb(session, &first([told]), at(0));
    fleet.absorb_transition(session, &transition("pay", 1, CircuitState::Open), at(0));
    assert_eq!(view(&fleet, "pay", 0).instances.closed, 1);
    assert_eq!(
        detail(&fleet, "pay", 0).transitions[0].to,
        CircuitState::Open
    );
}

#[test]
fn only_the_latest_transitions_are_remembered_with_their_cause_cut() {
    let mut fleet = fleet();
    let session = connect(&mut fleet, "a", 1, 0);
    for number in 1..=100 {
        let cause = "ä".repeat(MAX_TEXT);
        let told = TransitionReport {
            cause,
            ..transition("pay", number, CircuitState::Open)
        };
        fleet.absorb_transition(session, &told, at(0));
    }
    let transitions = detail(&fleet, "pay", 0).transitions;
    assert_eq!(
        (transitions.len(), transitions[0].number),
        (MAX_TRANSITIONS, 100)
    );
    assert_eq!(&*transitions[0].cause, "ä".repeat(MAX_TEXT / 2));
}

#[test]
fn a_late_disconnect_of_a_superseded_session_does_not_mark_its_instance_gone() {
    let mut fleet = fleet();
    let older = connect(&mut fleet, "a", 1, 0);
    let newer = connect(&mut fleet, "a", 1, 1);
    fleet.disconnect(older, at(2));
    assert!(instances(&fleet, 2)[0].connected);
    assert_eq!(
        fleet
            .absorb(older, &first([part("pay", totals(1, 0))]), at(2))
            .late,
        1
    );
    fleet.disconnect(newer, at(3));
    assert!(!instances(&fleet, 3)[0].connected);
    assert_eq!(fleet.ledger().late, 2);
}

#[test]
fn a_process_that_reconnects_goes_on_where_it_was() {
    let mut fleet = fleet();
    let session = connect(&mut fleet, "a", 1, 0);
    fleet.absorb(session, &first([part("pay", totals(5, 0))]), at(0));
    fleet.disconnect(session, at(1));
    let session = connect(&mut fleet, "a", 1, 2);
    fleet.absorb(
        session,
        &report([part("pay", totals(9, 0)), part("ship", totals(1, 0))]),
        at(3),
    );
    assert_eq!(calls(&fleet, 3), 9);
    assert_eq!(view(&fleet, "ship", 3).totals.all_calls(), 1);
}

#[test]
fn two_lives_of_one_instance_both_count_and_are_flagged_while_both_are_connected() {
    let mut fleet = fleet();
    let [older, newer] = [1, 2].map(|epoch| connect(&mut fleet, "a", epoch, 0));
    let bystander = connect(&mut fleet, "b", 3, 0);
    for session in [older, newer, bystander] {
        fleet.absorb(session, &first([part("pay", totals(2, 0))]), at(0));
    }
    let flags = |fleet: &Fleet| -> Vec<_> {
        instances(fleet, 0)
            .iter()
            .map(|view| view.duplicate)
            .collect()
    };
    assert_eq!(flags(&fleet), [true, true, false]);
    assert_eq!(calls(&fleet, 0), 6);
    fleet.disconnect(older, at(0));
    assert_eq!(flags(&fleet), [false, false, false]);
}

#[test]
fn a_gone_instance_is_forgotten_after_its_retention_and_its_calls_stay_counted() {
    let mut fleet = fleet();
    let staying = connect(&mut fleet, "a", 1, 0);
    let leaving = connect(&mut fleet, "b", 2, 0);
    for session in [staying, leaving] {
        fleet.absorb(session, &first([part("pay", totals(3, 0))]), at(0));
    }
    fleet.disconnect(leaving, at(10));
    fleet.sweep(at(10 + 15 * 60));
    assert_eq!(detail(&fleet, "pay", 0).instances.len(), 2);
    fleet.sweep(at(11 + 15 * 60));
    assert_eq!(detail(&fleet, "pay", 0).instances.len(), 1);
    assert_eq!(instances(&fleet, 0).len(), 1);
    assert_eq!(calls(&fleet, 0), 6);
}

#[test]
fn an_operation_that_nobody_has_is_forgotten_after_its_retention_with_its_service() {
    let mut fleet = fleet();
    let session = connect(&mut fleet, "a", 1, 0);
    fleet.absorb(session, &first([part("pay", totals(3, 0))]), at(0));
    fleet.disconnect(session, at(0));
    fleet.sweep(at(60 * 60));
    assert_eq!(calls(&fleet, 60 * 60), 3);
    fleet.sweep(at(60 * 60 + 1));
    assert!(look(&fleet, "pay", at(0)).is_none());
    assert!(fleet.services.is_empty());
    assert_eq!(fleet.operations, 0);
}

#[test]
fn operations_beyond_the_bound_are_added_up_under_one_name() {
    let mut fleet = small(10, 1);
    let session = connect(&mut fleet, "a", 1, 0);
    let names = ["pay", "ship", "bill"];
    let told = first(names.map(|name| part(name, totals(2, 1))));
    let ledger = fleet.absorb(session, &told, at(0));
    assert_eq!((ledger.counted, ledger.overflowed), (3, 2));
    let grown = report(names.map(|name| part(name, totals(5, 1))));
    fleet.absorb(session, &grown, at(1));
    fleet.absorb(session, &grown, at(1));
    assert_eq!(calls(&fleet, 1), 6);
    assert_eq!(view(&fleet, OVERFLOW, 1).totals.all_calls(), 12);
    assert!(fleet.view(&operation("ship"), at(1)).is_none());
}

#[test]
fn an_operation_that_found_no_room_is_told_apart_from_its_siblings_whatever_their_order() {
    let mut fleet = small(10, 1);
    let session = connect(&mut fleet, "a", 1, 0);
    let names: Vec<_> = (0..20).map(|number| format!("op{number}")).collect();
    let part_of = |name: &String| part(name, totals(1, 0));
    fleet.absorb(session, &first(names.iter().map(part_of)), at(0));
    let grown = |name: &String| part(name, totals(3, 0));
    fleet.absorb(session, &report(names.iter().rev().map(grown)), at(1));
    assert_eq!(view(&fleet, OVERFLOW, 1).totals.all_calls(), 19 * 3);
    assert_eq!(fleet.ledger().backwards, 0);
    assert_eq!(instances(&fleet, 1)[0].operations, 20);
}

#[test]
fn an_instance_that_found_no_room_for_several_operations_is_shown_once_as_bad_as_the_worst() {
    let mut fleet = small(10, 1);
    let session = connect(&mut fleet, "a", 1, 0);
    let open = OperationReport {
        state: CircuitState::Open,
        ..part("bill", totals(1, 0))
    };
    let told = [part("pay", totals(1, 0)), part("ship", totals(1, 0)), open];
    fleet.absorb(session, &first(told), at(0));
    let shown = detail(&fleet, OVERFLOW, 0);
    assert_eq!((shown.total, shown.instances.len()), (1, 1));
    assert_eq!(shown.instances[0].state, CircuitState::Open);
}

#[test]
fn an_instance_has_no_more_operations_than_are_remembered_of_one() {
    let mut fleet = Fleet::new(Limits {
        max_operations_per_instance: 1,
        ..Limits::default()
    });
    let session = connect(&mut fleet, "a", 1, 0);
    let told = [part("pay", totals(1, 0)), part("ship", totals(1, 0))];
    let ledger = fleet.absorb(session, &first(told), at(0));
    assert_eq!((ledger.counted, ledger.over_operations), (1, 1));
    fleet.declare(session, &name("ship"), Kind::Api, at(0));
    assert_eq!(fleet.ledger().over_operations, 2);
}

#[test]
fn an_operation_that_finds_room_later_starts_from_a_baseline() {
    let mut fleet = Fleet::new(Limits {
        max_operations_per_instance: 1,
        ..Limits::default()
    });
    let session = connect(&mut fleet, "a", 1, 0);
    let told = [part("ship", totals(1, 0)), part("pay", totals(1, 0))];
    fleet.absorb(session, &first(told), at(0));
    fleet.limits.max_operations_per_instance = 2;
    let ledger = fleet.absorb(session, &report([part("pay", totals(900, 0))]), at(5));
    assert_eq!((ledger.baselines, calls(&fleet, 5)), (1, 0));
}

#[test]
fn figures_that_cannot_be_cost_their_own_operation_alone() {
    let mut fleet = fleet();
    let session = connect(&mut fleet, "a", 1, 0);
    let legal = part("pay", totals(3, 0));
    let slower_than_calls = OperationReport {
        breaker: BreakerCounts {
            window_calls: 1,
            window_slow: 2,
            ..BreakerCounts::default()
        },
        ..part("odd", totals(1, 0))
    };
    let figures = [slower_than_calls, legal];
    let told = figures.iter().map(|part| Some(part.figures()));
    let head = ReportHead::default();
    let ledger = fleet.absorb_figures(session, head, told.chain([None]), at(0));
    assert_eq!((ledger.impossible, ledger.baselines), (2, 1));
    assert!(fleet.view(&operation("odd"), at(0)).is_none());
    let nameless = OperationFigures {
        operation: "not a name",
        ..figures[1].figures()
    };
    let ledger = fleet.absorb_figures(session, head, [Some(nameless)].into_iter(), at(1));
    assert_eq!(ledger.impossible, 1);
}

#[test]
fn latencies_that_cannot_be_are_refused_before_anything_is_taken_over() {
    let mut fleet = fleet();
    let session = connect(&mut fleet, "a", 1, 0);
    let known = part("pay", totals(3, 0));
    fleet.absorb(session, &first([known.clone()]), at(0));
    let latencies: [&[(u32, u64)]; 4] = [&[(9, 1), (9, 1)], &[(600, 1)], &[(1, 0)], &[(1, 99)]];
    for pairs in latencies {
        let figures = OperationFigures {
            operation: "pay",
            counts: *totals(50, 0).counts(),
            latency: pairs.iter().copied(),
            state: CircuitState::Open,
            state_age: Duration::ZERO,
            last_transition: 7,
            forced: None,
            shadow: None,
            breaker: BreakerCounts::default(),
        };
        let told = [Some(figures)].into_iter();
        let ledger = fleet.absorb_figures(session, ReportHead::default(), told, at(1));
        assert_eq!(ledger.impossible, 1, "{pairs:?}");
    }
    assert_eq!(
        (calls(&fleet, 1), view(&fleet, "pay", 1).instances.closed),
        (3, 1)
    );
}

#[test]
fn what_covers_more_time_than_rates_speak_of_is_in_the_totals_only() {
    let mut fleet = fleet();
    let session = connect(&mut fleet, "a", 1, 0);
    let long = Report {
        span: Duration::from_secs(16),
        ..first([part("pay", totals(100, 0))])
    };
    fleet.absorb(session, &long, at(0));
    let now = view(&fleet, "pay", 0);
    assert_eq!(now.totals.all_calls(), 100);
    assert_eq!(now.last_ten_seconds.failure.sample, 0);
}

#[test]
fn an_instance_is_stale_after_three_of_its_own_intervals() {
    let mut fleet = fleet();
    let session = connect(&mut fleet, "a", 1, 0);
    let closed = |fleet: &Fleet, secs| view(fleet, "pay", secs).instances.closed;
    fleet.pace(session, Duration::from_secs(60), at(0));
    fleet.absorb(session, &first([part("pay", totals(1, 0))]), at(0));
    assert_eq!((closed(&fleet, 180), closed(&fleet, 181)), (1, 0));
    fleet.absorb(session, &report([]), at(200));
    fleet.pace(session, Duration::from_secs(1), at(200));
    assert_eq!(closed(&fleet, 260), 1, "it may not have heard of that yet");
    fleet.absorb(session, &report([]), at(260));
    assert_eq!((closed(&fleet, 263), closed(&fleet, 264)), (1, 0));
}

#[test]
fn the_bound_on_all_operations_holds_over_services() {
    let mut fleet = Fleet::new(Limits {
        max_operations: 1,
        ..Limits::default()
    });
    let session = connect(&mut fleet, "a", 1, 0);
    let elsewhere = InstanceKey {
        service: Service::new("cart").unwrap(),
        ..key("a", 1)
    };
    let other = fleet.connect(elsewhere, &InstanceFacts::default(), at(0));
    assert_eq!(
        fleet
            .absorb(session, &first([part("pay", totals(1, 0))]), at(0))
            .counted,
        1
    );
    let ledger = fleet.absorb(other, &first([part("pay", totals(1, 0))]), at(0));
    assert_eq!((ledger.counted, ledger.overflowed), (1, 1));
}

#[test]
fn at_the_bound_on_instances_the_longest_gone_makes_room_and_a_connected_one_never() {
    let mut fleet = small(2, 10);
    let sessions = ["a", "b"].map(|name| connect(&mut fleet, name, 1, 0));
    let untracked = connect(&mut fleet, "c", 1, 0);
    assert_eq!(
        fleet
            .absorb(untracked, &first([part("pay", totals(1, 0))]), at(0))
            .untracked,
        1
    );
    fleet.disconnect(sessions[1], at(1));
    fleet.disconnect(sessions[0], at(2));
    connect(&mut fleet, "d", 1, 3);
    let names: Vec<_> = instances(&fleet, 3)
        .into_iter()
        .map(|view| view.key)
        .collect();
    assert_eq!(names, [key("a", 1), key("d", 1)]);
    let ledger = fleet.ledger();
    assert_eq!((ledger.over_instances, ledger.evicted), (1, 1));
}

#[test]
fn an_instance_tells_what_it_is_and_what_it_enforces() {
    let mut fleet = fleet();
    let facts = InstanceFacts {
        version: "1.2".into(),
        zone: "eu".into(),
        labels: Labels::new([("canary", "true")]).unwrap(),
        sdk_version: "0.1".into(),
    };
    let session = fleet.connect(key("a", 1), &facts, at(0));
    let refusal = RefusedPolicy {
        policy: PolicyName::new("payments").unwrap(),
        revision: Revision(7),
        field: "rules.hedge".into(),
        reason: "is not known".into(),
    };
    fleet.applied(session, Revision(7), vec![refusal; 100], at(3));
    fleet.absorb(session, &first([part("pay", totals(1, 0))]), at(4));
    let view = instances(&fleet, 9).remove(0);
    assert_eq!(
        (view.facts, view.applied, view.operations),
        (facts, Revision(7), 1)
    );
    assert_eq!(
        (view.last_seen, view.connected),
        (Duration::from_secs(5), true)
    );
    assert_eq!(view.refused.len(), MAX_REFUSED_POLICIES);
    assert_eq!(fleet.ledger().over_refused_policies, 36);
}

#[test]
fn the_worst_come_first_open_before_failing_before_busy() {
    let mut fleet = fleet();
    let session = connect(&mut fleet, "a", 1, 0);
    let open = OperationReport {
        state: CircuitState::Open,
        ..part("open", totals(1, 0))
    };
    let calm = [part("idle", totals(1, 0)), part("busy", totals(50, 0))];
    let told = calm
        .into_iter()
        .chain([part("failing", totals(1, 1)), open]);
    fleet.absorb(session, &first(told), at(0));
    let views = worst_first(&fleet, &Filter::default());
    let order: Vec<_> = views
        .iter()
        .map(|view| view.key.operation.as_str())
        .collect();
    assert_eq!(order, ["open", "failing", "busy", "idle"]);
}

#[test]
fn a_filter_takes_what_it_names_and_tenants_never_mix() {
    let mut fleet = fleet();
    let other = InstanceKey {
        namespace: Namespace::new("other").unwrap(),
        ..key("a", 1)
    };
    for key in [key("a", 1), other.clone()] {
        let session = fleet.connect(key, &InstanceFacts::default(), at(0));
        let told = ["pay", "ship"].map(|name| part(name, totals(1, 0)));
        fleet.absorb(session, &first(told), at(0));
    }
    let filter = Filter {
        namespace: Some(other.namespace.clone()),
        operation: Some(Glob::new("p*y").unwrap()),
        ..Filter::default()
    };
    let views = worst_first(&fleet, &filter);
    assert_eq!(views.len(), 1);
    assert_eq!(
        (&views[0].key.namespace, views[0].totals.all_calls()),
        (&other.namespace, 1)
    );
    assert_eq!(fleet.view_instances(&filter, at(0)).len(), 1);
    assert_eq!(worst_first(&fleet, &Filter::default()).len(), 4);
}

#[test]
fn one_sick_instance_can_be_told_from_a_sick_dependency() {
    let mut fleet = fleet();
    for (instance, bad) in [("sick", 9), ("well", 0)] {
        let session = connect(&mut fleet, instance, 1, 0);
        fleet.absorb(session, &first([part("pay", totals(9 - bad, bad))]), at(0));
    }
    let detail = detail(&fleet, "pay", 0);
    let ratios: Vec<_> = detail
        .instances
        .iter()
        .map(|own| own.failure.basis_points)
        .collect();
    assert_eq!(ratios, [10_000, 0]);
    assert_eq!(
        detail.operation.last_ten_seconds.failure.basis_points,
        5_000
    );
}

/// What one process did between reports.
fn steps() -> impl Strategy<Value = Vec<Totals>> {
    prop::collection::vec(crate::stats::totals::tests::totals(), 1..6)
}

/// The running sums of `steps`: what the process reports.
fn absolutes(steps: &[Totals]) -> Vec<Totals> {
    let mut sum = Totals::default();
    let mut next = |step: &Totals| {
        sum.merge(step);
        sum.clone()
    };
    steps.iter().map(&mut next).collect()
}

proptest! {
    #[test]
    fn losing_repeating_and_reordering_reports_never_changes_a_total(
        processes in prop::collection::vec(steps(), 1..4),
        noise in prop::collection::vec(any::<[prop::sample::Index; 2]>(), 0..40),
    ) {
        let mut fleet = fleet();
        let told: Vec<_> = processes.iter().map(|steps| absolutes(steps)).collect();
        let epochs = 0..told.len() as u64;
        let sessions: Vec<_> = epochs.map(|epoch| connect(&mut fleet, "a", epoch, 0)).collect();
        for (&session, told) in sessions.iter().zip(&told) {
            fleet.absorb(session, &first([part("pay", told[0].clone())]), at(0));
        }
        for [process, which] in noise {
            let process = process.index(told.len());
            let totals = which.get(&told[process]).clone();
            fleet.absorb(sessions[process], &report([part("pay", totals)]), at(1));
        }
        for (&session, told) in sessions.iter().zip(&told) {
            fleet.absorb(session, &report([part("pay", told[told.len() - 1].clone())]), at(2));
        }
        let mut expected = Totals::default();
        processes.iter().flatten().for_each(|step| expected.merge(step));
        let minute = view(&fleet, "pay", 2);
        prop_assert_eq!(minute.totals.counts(), expected.counts());
        prop_assert_eq!(minute.latency_sample, expected.latency().count());
        prop_assert_eq!(minute.p99, expected.latency().quantile(9_900));
    }

    #[test]
    fn however_a_process_cuts_its_reports_the_fleet_adds_up_the_same(steps in steps()) {
        let (mut often, mut once) = (fleet(), fleet());
        let told = absolutes(&steps);
        let session = connect(&mut often, "a", 1, 0);
        for totals in &told {
            often.absorb(session, &first([part("pay", totals.clone())]), at(0));
        }
        let session = connect(&mut once, "a", 1, 0);
        once.absorb(session, &first([part("pay", told[told.len() - 1].clone())]), at(0));
        prop_assert_eq!(view(&often, "pay", 0), view(&once, "pay", 0));
    }
}
