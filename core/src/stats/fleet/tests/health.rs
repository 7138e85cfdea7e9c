//! What an operator sees: states apart, orders and pages, what breakers did, what is news.

use super::*;
use crate::outcome::Forced;

fn forced(forced: Forced, by: u64) -> Option<ForcedReport> {
    let by = Revision(by);
    Some(ForcedReport { forced, by })
}

/// A process that reports `parts` first.
fn reporting(
    fleet: &mut Fleet,
    instance: &str,
    parts: impl IntoIterator<Item = OperationReport>,
) -> SessionId {
    let session = connect(fleet, instance, 1, 0);
    fleet.absorb(session, &first(parts), at(0));
    session
}

fn in_state(operation: &str, state: CircuitState) -> OperationReport {
    OperationReport {
        state,
        ..part(operation, totals(1, 0))
    }
}

fn named(page: &OperationPage) -> Vec<&str> {
    let operations = page.operations.iter();
    operations.map(|view| view.key.operation.as_str()).collect()
}

#[test]
fn forced_and_computed_state_are_told_apart_and_so_is_what_is_on_trial() {
    let mut fleet = fleet();
    let open = in_state("pay", CircuitState::Open);
    let parts = [
        (
            "a",
            OperationReport {
                forced: forced(Forced::Closed, 7),
                ..open
            },
        ),
        (
            "b",
            OperationReport {
                forced: forced(Forced::Open, 8),
                ..part("pay", totals(1, 0))
            },
        ),
        (
            "c",
            OperationReport {
                shadow: Some(CircuitState::HalfOpen),
                ..part("pay", totals(1, 0))
            },
        ),
        (
            "d",
            OperationReport {
                shadow: Some(CircuitState::Closed),
                ..part("pay", totals(1, 0))
            },
        ),
    ];
    for (instance, part) in parts {
        reporting(&mut fleet, instance, [part]);
    }
    let expected = StateCounts {
        closed: 3,
        open: 1,
        forced_open: 1,
        forced_closed: 1,
        shadow_open: 1,
        impeded: 1,
        ..StateCounts::default()
    };
    assert_eq!(view(&fleet, "pay", 0).instances, expected);
    let instances = detail(&fleet, "pay", 0).instances;
    let order: Vec<_> = instances.iter().map(|own| own.instance.as_str()).collect();
    assert_eq!(order, ["b", "a", "c", "d"], "whom callers meet open first");
    assert_eq!(instances[1].forced, forced(Forced::Closed, 7));
    assert_eq!(instances[1].state, CircuitState::Open);
}

#[test]
fn a_forced_transition_leaves_what_the_breaker_thinks_alone_and_its_end_is_one_too() {
    let mut fleet = fleet();
    let session = reporting(&mut fleet, "a", [part("pay", totals(1, 0))]);
    let by = Some(Revision(7));
    let begins = TransitionReport {
        by,
        ..transition("pay", 1, CircuitState::Open)
    };
    fleet.absorb_transition(session, &begins, at(1));
    let counts = view(&fleet, "pay", 1).instances;
    assert_eq!((counts.closed, counts.open, counts.forced_open), (1, 0, 1));
    let ends = TransitionReport {
        by,
        ..transition("pay", 2, CircuitState::Closed)
    };
    fleet.absorb_transition(session, &ends, at(2));
    let counts = view(&fleet, "pay", 2).instances;
    assert_eq!(
        (counts.closed, counts.forced_open, counts.forced_closed),
        (1, 0, 0)
    );
}

#[test]
fn the_slow_ratio_is_that_of_all_windows_that_judge_slowness() {
    let mut fleet = fleet();
    for (instance, window_calls, window_slow) in [("a", 30, 10), ("b", 10, 10), ("c", 0, 0)] {
        let breaker = BreakerCounts {
            window_calls,
            window_slow,
            ..BreakerCounts::default()
        };
        let told = OperationReport {
            breaker,
            ..part("pay", totals(1, 0))
        };
        reporting(&mut fleet, instance, [told]);
    }
    let slow = view(&fleet, "pay", 0).slow;
    assert_eq!((slow.basis_points, slow.sample), (5_000, 40));
}

#[test]
fn rates_are_told_over_ten_seconds_a_minute_and_five_with_their_spans() {
    let mut fleet = fleet();
    let session = reporting(&mut fleet, "a", [part("pay", totals(0, 0))]);
    for seconds in (5..=600).step_by(5) {
        let told = report([part("pay", totals(10 * seconds, 0))]);
        fleet.absorb(session, &told, at(seconds));
    }
    let now = view(&fleet, "pay", 600);
    for (rates, seconds) in [
        (now.last_ten_seconds, 9),
        (now.last_minute, 55),
        (now.last_five_minutes, 295),
    ] {
        assert_eq!(rates.span, Duration::from_secs(seconds));
        let per_second = rates.calls_per_second;
        assert!((per_second - 10.0).abs() < 2.0, "{rates:?}");
    }
}

#[test]
fn operations_come_by_name_by_rate_and_by_what_is_worst_page_by_page() {
    let mut fleet = fleet();
    let parts = [
        part("idle", totals(1, 0)),
        part("busy", totals(50, 0)),
        part("failing", totals(1, 1)),
        in_state("open", CircuitState::Open),
        in_state("probing", CircuitState::HalfOpen),
    ];
    reporting(&mut fleet, "a", parts);
    let all = Filter::default();
    for (order, expected) in [
        (Order::Worst, ["open", "probing", "failing", "busy", "idle"]),
        (Order::Name, ["busy", "failing", "idle", "open", "probing"]),
        (Order::Rate, ["busy", "failing", "idle", "open", "probing"]),
    ] {
        let whole = fleet.page_operations(
            &OperationQuery {
                order,
                ..all_of(&all)
            },
            at(0),
        );
        assert_eq!(
            (named(&whole), whole.total),
            (expected.to_vec(), 5),
            "{order:?}"
        );
        let (mut after, mut pieces) = (None, Vec::new());
        loop {
            let query = OperationQuery {
                order,
                after: after.as_ref(),
                limit: 2,
                ..all_of(&all)
            };
            let page = fleet.page_operations(&query, at(0));
            assert_eq!(page.total, 5);
            after = page.operations.last().map(|view| view.place(order));
            pieces.extend(page.operations);
            if !page.more {
                break;
            }
        }
        assert_eq!(pieces, whole.operations, "{order:?}");
    }
}

#[test]
fn only_operations_with_an_instance_in_the_state_asked_for_are_told() {
    let mut fleet = fleet();
    let held = OperationReport {
        forced: forced(Forced::Open, 7),
        ..part("held", totals(1, 0))
    };
    let parts = [
        part("well", totals(1, 0)),
        in_state("open", CircuitState::Open),
        held,
    ];
    reporting(&mut fleet, "a", parts);
    let all = Filter::default();
    let query = OperationQuery {
        states: &[CircuitState::Open],
        ..all_of(&all)
    };
    let open = fleet.page_operations(&query, at(0));
    assert_eq!((named(&open), open.total), (vec!["held", "open"], 2));
    let forced = fleet.page_operations(
        &OperationQuery {
            forced: true,
            ..all_of(&all)
        },
        at(0),
    );
    assert_eq!(named(&forced), ["held"]);
    let kind = Some(Kind::Database);
    let databases = fleet.page_operations(
        &OperationQuery {
            kind,
            ..all_of(&all)
        },
        at(0),
    );
    assert_eq!(databases.total, 0);
}

#[test]
fn the_instances_of_an_operation_come_page_by_page() {
    let mut fleet = fleet();
    for instance in ["a", "b", "c"] {
        reporting(&mut fleet, instance, [part("pay", totals(1, 0))]);
    }
    let page = |after: Option<&InstancePlace>| {
        let page = InstancesOf { after, limit: 2 };
        fleet
            .view_operation(&operation("pay"), &page, at(0))
            .unwrap()
    };
    let first = page(None);
    assert_eq!(
        (first.instances.len(), first.more, first.total),
        (2, true, 3)
    );
    let last = page(Some(&first.instances[1].place()));
    assert_eq!((last.instances.len(), last.more), (1, false));
    assert_eq!(last.instances[0].instance.as_str(), "c");
}

#[test]
fn a_transition_that_was_missed_and_comes_later_is_logged_once_and_changes_no_state() {
    let mut fleet = fleet();
    let session = connect(&mut fleet, "a", 1, 0);
    for (number, to) in [(3, CircuitState::Open), (2, CircuitState::HalfOpen)] {
        for news in [1, 0] {
            let ledger = fleet.absorb_transition(session, &transition("pay", number, to), at(0));
            assert_eq!(ledger.transitions, news, "number {number}");
        }
    }
    assert_eq!(view(&fleet, "pay", 0).instances.open, 1);
    let page = transitions(&fleet, None, 10);
    let numbers: Vec<_> = page
        .transitions
        .iter()
        .map(|record| record.number)
        .collect();
    assert_eq!(numbers, [2, 3], "as they were heard of, the newest first");
}

#[test]
fn a_transition_too_old_to_be_told_from_what_was_heard_is_taken_for_it() {
    let mut fleet = fleet();
    let session = connect(&mut fleet, "a", 1, 0);
    for (number, news) in [(100, 1), (37, 1), (36, 0), (u64::MAX, 1), (100, 0)] {
        let told = transition("pay", number, CircuitState::Open);
        assert_eq!(
            fleet.absorb_transition(session, &told, at(0)).transitions,
            news,
            "{number}"
        );
    }
}

fn transitions(fleet: &Fleet, before: Option<u64>, limit: usize) -> TransitionPage {
    let filter = Filter::default();
    fleet.page_transitions(&TransitionQuery {
        filter: &filter,
        instance: None,
        before,
        limit,
    })
}

#[test]
fn the_log_is_bounded_read_by_pages_and_says_what_it_lost() {
    let mut fleet = fleet();
    let session = connect(&mut fleet, "a", 1, 0);
    let all = MAX_LOGGED as u64 + 5;
    for number in 1..=all {
        fleet.absorb_transition(
            session,
            &transition("pay", number, CircuitState::Open),
            at(0),
        );
    }
    let page = transitions(&fleet, None, 3);
    let sequences: Vec<_> = page
        .transitions
        .iter()
        .map(|record| record.sequence)
        .collect();
    assert_eq!(sequences, [all, all - 1, all - 2]);
    assert!(page.more && page.truncated);
    let oldest = transitions(&fleet, Some(8), 3);
    let sequences: Vec<_> = oldest
        .transitions
        .iter()
        .map(|record| record.sequence)
        .collect();
    assert_eq!((sequences, oldest.more), (vec![7, 6], false));

    let fresh = fleet.transitions_since(&Filter::default(), 0, 4);
    assert_eq!(fresh.transitions[3].sequence, all);
    assert_eq!((fresh.missed, fresh.upto), (all - 4, all));
    let fresh = fleet.transitions_since(&Filter::default(), all - 1, 4);
    assert_eq!((fresh.transitions.len(), fresh.missed), (1, 0));
}

#[test]
fn only_what_a_watcher_has_to_look_at_stirs() {
    let mut fleet = fleet();
    let all = Filter::default();
    let mut seen = 0;
    let mut stirred = |fleet: &Fleet| {
        let keys = fleet.stirred_since(&all, std::mem::replace(&mut seen, fleet.stirs()));
        let names = keys.iter().map(|key| key.operation.to_string());
        names.collect::<Vec<_>>()
    };
    let parts = ["pay", "ship"].map(|name| part(name, totals(1, 0)));
    let session = reporting(&mut fleet, "a", parts);
    assert_eq!(stirred(&fleet), ["pay", "ship"], "they have come");
    fleet.absorb(session, &report([part("pay", totals(2, 0))]), at(1));
    fleet.touch(session, at(1));
    fleet.declare(session, &name("pay"), Kind::Custom, at(1));
    assert_eq!(stirred(&fleet), [""; 0], "figures alone");
    fleet.absorb_transition(session, &transition("pay", 1, CircuitState::Open), at(2));
    assert_eq!(stirred(&fleet), ["pay"]);
    let held = OperationReport {
        forced: forced(Forced::Open, 7),
        ..part("ship", totals(2, 0))
    };
    fleet.absorb(session, &report([held]), at(3));
    assert_eq!(stirred(&fleet), ["ship"]);
    fleet.disconnect(session, at(4));
    assert_eq!(stirred(&fleet), ["pay", "ship"], "an instance has gone");
    connect(&mut fleet, "a", 1, 5);
    assert_eq!(stirred(&fleet), ["pay", "ship"], "and is back");
}

#[test]
fn all_breakers_are_counted_together() {
    let mut fleet = fleet();
    for instance in ["a", "b"] {
        let parts = [
            in_state("pay", CircuitState::Open),
            part("ship", totals(1, 0)),
        ];
        reporting(&mut fleet, instance, parts);
    }
    let (operations, breakers) = fleet.breakers(at(0));
    assert_eq!((operations, breakers.open, breakers.closed), (2, 2, 2));
}
