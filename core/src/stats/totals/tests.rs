//! The laws of adding up and taking apart.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// Totals of calls that took the latencies given.
pub(in crate::stats) fn totals() -> impl Strategy<Value = Totals> {
    let figures = (
        any::<[u16; OUTCOMES]>(),
        any::<[u16; REASONS]>(),
        any::<[u16; REASONS]>(),
        any::<[u16; 2]>(),
    );
    (figures, prop::collection::vec(0_u64..1 << 40, 0..20)).prop_map(
        |((calls, refusals, would_refuse, [retries, hedges]), latencies)| {
            let mut latency = Histogram::default();
            for &nanos in &latencies {
                latency.record(Duration::from_nanos(nanos));
            }
            let mut calls = calls.map(u64::from);
            calls[Outcome::Success as usize] += latencies.len() as u64;
            let counts = Counts {
                calls,
                refusals: refusals.map(u64::from),
                would_refuse: would_refuse.map(u64::from),
                retries: retries.into(),
                hedges: hedges.into(),
            };
            Totals::new(counts, latency).unwrap()
        },
    )
}

fn merged(a: &Totals, b: &Totals) -> Totals {
    let mut sum = a.clone();
    sum.merge(b);
    sum
}

#[test]
fn ignored_and_cancelled_calls_are_calls_but_are_not_settled() {
    let counts = Counts {
        calls: [1, 2, 4, 8, 16, 32],
        refusals: [64; REASONS],
        retries: 128,
        hedges: 256,
        ..Counts::default()
    };
    let totals = Totals::new(counts, Histogram::default()).unwrap();
    assert_eq!(totals.all_calls(), 63);
    assert_eq!(totals.bad(), 2 + 4 + 32);
    assert_eq!(totals.settled(), 1 + 2 + 4 + 32);
    assert_eq!(totals.attempts(), 63 + 128 + 256);
    assert_eq!(totals.all_refusals(), 64 * REASONS as u64);
}

#[test]
fn more_latencies_than_settled_calls_are_refused() {
    let latency = Histogram::from_pairs([(3, 2)]).unwrap();
    let with = |calls| {
        let counts = Counts {
            calls,
            ..Counts::default()
        };
        Totals::new(counts, latency.clone())
    };
    assert!(with([1, 1, 0, 0, 0, 0]).is_ok());
    assert_eq!(
        with([1, 0, 0, 9, 9, 0]).unwrap_err(),
        InvalidTotals::MoreLatenciesThanCalls {
            latencies: 2,
            calls: 1
        }
    );
}

#[test]
fn a_figure_that_no_process_can_have_counted_is_refused_by_name() {
    let counts = Counts {
        calls: [0, 0, MAX_COUNT + 1, 0, 0, 0],
        ..Counts::default()
    };
    let too_large = Totals::new(counts, Histogram::default());
    assert_eq!(
        too_large.unwrap_err().to_string(),
        "timeout is 281474976710656; at most 281474976710655 is allowed"
    );
}

proptest! {
    #[test]
    fn merging_is_associative_and_commutative(a in totals(), b in totals(), c in totals()) {
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&a, &Totals::default()), a);
    }

    #[test]
    fn the_difference_is_what_was_merged_in_and_never_the_other_way_round(
        a in totals(),
        b in totals(),
    ) {
        let sum = merged(&a, &b);
        prop_assert_eq!(sum.since(&a), Some(b.clone()));
        prop_assert_eq!(a.since(&sum).is_some(), b.is_empty());
    }
}
