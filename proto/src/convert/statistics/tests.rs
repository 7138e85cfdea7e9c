//! What becomes of a report, honest or not.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn operation() -> v1::OperationStats {
    v1::OperationStats {
        operation: "payments.charge".to_owned(),
        circuit_state: v1::CircuitState::Closed.into(),
        ..v1::OperationStats::default()
    }
}

fn with_latency(bucket_deltas: &[u32], counts: &[u64]) -> v1::OperationStats {
    v1::OperationStats {
        calls: Some(v1::CallCounts {
            success: 100,
            ..v1::CallCounts::default()
        }),
        latency: Some(v1::LatencyHistogram {
            bucket_deltas: bucket_deltas.to_vec(),
            counts: counts.to_vec(),
        }),
        ..operation()
    }
}

#[test]
fn every_count_has_its_own_place_on_the_wire() {
    let told = Counts {
        calls: [10, 20, 30, 40, 50, 60],
        refusals: [1, 2, 3, 4, 5, 6],
        would_refuse: [11, 12, 13, 14, 15, 16],
        retries: 7,
        hedges: 8,
    };
    let totals = Totals::new(told, Histogram::default()).unwrap();
    let wire = operation_to_wire(&OperationReport {
        operation: OperationName::new("x").unwrap(),
        totals: totals.clone(),
        state: CircuitState::HalfOpen,
        state_age: Duration::from_millis(1500),
        last_transition: 3,
        forced: None,
        shadow: None,
        breaker: BreakerCounts::default(),
    });
    let counts = wire.calls.unwrap();
    assert_eq!((counts.success, counts.late), (10, 60));
    assert_eq!(wire.refusals.unwrap().rate_limited, 4);
    assert_eq!(wire.would_refuse.unwrap().rate_limited, 14);
    assert_eq!(operation_from_wire(&wire).unwrap().totals, totals);
}

#[test]
fn buckets_travel_as_distances() {
    let latency = Histogram::from_pairs([(3, 1), (16, 2), (511, 3)]).unwrap();
    let wire = histogram_to_wire(&latency);
    assert_eq!(wire.bucket_deltas, [3, 13, 495]);
    assert_eq!(wire.counts, [1, 2, 3]);
}

#[test]
fn a_histogram_that_is_none_is_refused() {
    for (deltas, counts) in [
        (&[1][..], &[][..]),
        (&[], &[1]),
        (&[512], &[1]),
        (&[1, 0], &[1, 1]),
        (&[1, u32::MAX, u32::MAX], &[1, 1, 1]),
        (&[1], &[0]),
        (&[1], &[u64::MAX]),
        (&[1], &[101]),
        (&[1; 513], &[1; 513]),
    ] {
        assert!(operation_from_wire(&with_latency(deltas, counts)).is_err());
    }
    assert!(operation_from_wire(&with_latency(&[0, 511], &[50, 50])).is_ok());
}

#[test]
fn a_report_without_figures_counts_nothing() {
    let report = operation_from_wire(&operation()).unwrap();
    assert!(report.totals.is_empty());
}

#[test]
fn a_processs_first_report_counts_from_its_start() {
    let of = |number| report_from_wire(&report_to_wire(number, Duration::ZERO, &[])).unwrap();
    assert!(of(1).from_start);
    assert!(!of(2).from_start);
}

#[test]
fn an_unknown_state_or_name_is_refused() {
    let wire = v1::OperationStats {
        operation: "a b".to_owned(),
        circuit_state: 9,
        ..operation()
    };
    assert_eq!(operation_from_wire(&wire).unwrap_err().iter().count(), 2);
    assert_eq!(state_from_wire(0), None);
}

#[test]
fn a_transition_survives_the_wire() {
    let transition = TransitionReport {
        operation: OperationName::new("x").unwrap(),
        number: 1,
        from: CircuitState::Closed,
        to: CircuitState::Open,
        cause: "3 consecutive failures".to_owned(),
        age: Duration::from_millis(20),
        by: Some(Revision(8)),
    };
    let wire = transition_to_wire(&transition);
    assert_eq!(transition_from_wire(&wire), Ok(transition));
    let zeroth = v1::Transition { number: 0, ..wire };
    assert!(transition_from_wire(&zeroth).is_err());
}

proptest! {
    #[test]
    fn a_report_survives_the_wire(
        latencies in prop::collection::vec(0_u64..10_000_000_000_000, 0..50),
        calls in any::<[u32; 6]>(),
        refusals in any::<[u32; 6]>(),
        would_refuse in any::<[u32; 6]>(),
        [retries, hedges, forced] in any::<[u32; 3]>(),
        state in prop::sample::select(CircuitState::ALL.to_vec()),
        last_transition in any::<u64>(),
    ) {
        let mut latency = Histogram::default();
        for nanos in latencies {
            latency.record(Duration::from_nanos(nanos));
        }
        let mut calls = calls.map(u64::from);
        calls[0] += latency.count();
        let counts = Counts {
            calls,
            refusals: refusals.map(u64::from),
            would_refuse: would_refuse.map(u64::from),
            retries: retries.into(),
            hedges: hedges.into(),
        };
        let report = OperationReport {
            operation: OperationName::new("x").unwrap(),
            totals: Totals::new(counts, latency).unwrap(),
            state,
            state_age: Duration::from_millis(retries.into()),
            last_transition,
            forced: (forced > 0).then(|| ForcedReport {
                forced: if forced % 2 == 0 { Forced::Open } else { Forced::Closed },
                by: Revision(forced.into()),
            }),
            shadow: (forced > 9).then_some(state),
            breaker: BreakerCounts {
                consecutive_failures: forced,
                window_calls: hedges.into(),
                window_failures: retries.into(),
                window_slow: last_transition,
            },
        };
        let wire = operation_to_wire(&report);
        prop_assert_eq!(operation_from_wire(&wire), Ok(report));
    }

    #[test]
    fn no_histogram_makes_a_conversion_panic(
        deltas in prop::collection::vec(any::<u32>(), 0..20),
        counts in prop::collection::vec(any::<u64>(), 0..20),
    ) {
        let _ = operation_from_wire(&with_latency(&deltas, &counts));
    }
}
