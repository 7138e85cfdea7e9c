//! The histogram against a sorted list of the latencies themselves.

use proptest::prelude::*;

use super::*;

fn of(latencies: &[Duration]) -> Histogram {
    let mut histogram = Histogram::default();
    for &latency in latencies {
        histogram.record(latency);
    }
    histogram
}

fn merged(a: &Histogram, b: &Histogram) -> Histogram {
    let mut sum = a.clone();
    sum.merge(b);
    sum
}

fn pairs(histogram: &Histogram) -> Vec<(u32, u64)> {
    histogram.iter().collect()
}

fn latency() -> impl Strategy<Value = Duration> {
    // Even over octaves, from nothing to beyond the range.
    (0_u32..44, any::<u64>())
        .prop_map(|(bits, noise)| Duration::from_nanos((1 << bits) | (noise & ((1 << bits) - 1))))
}

fn histogram() -> impl Strategy<Value = Histogram> {
    prop::collection::vec(latency(), 0..60).prop_map(|latencies| of(&latencies))
}

#[test]
fn buckets_ascend_with_latency_and_cover_it_without_gaps() {
    let mut before = 0;
    for bucket in 0..BUCKETS {
        assert_eq!(bucket_of(bucket_midpoint(bucket)), bucket);
        let middle = bucket_midpoint(bucket);
        assert!(bucket == 0 || middle > bucket_midpoint(before));
        before = bucket;
    }
}

#[test]
fn below_four_microseconds_each_unit_has_its_own_bucket() {
    for unit in 0..32 {
        assert_eq!(bucket_of(Duration::from_nanos(unit as u64 * 128)), unit);
        assert_eq!(
            bucket_of(Duration::from_nanos(unit as u64 * 128 + 127)),
            unit
        );
    }
}

#[test]
fn what_lies_beyond_the_range_is_counted_in_the_last_bucket() {
    let end = Duration::from_nanos(1 << 42);
    assert_eq!(bucket_of(end - Duration::from_nanos(1)), BUCKETS - 1);
    for beyond in [end, end * 2, Duration::from_secs(1 << 20), Duration::MAX] {
        assert_eq!(bucket_of(beyond), BUCKETS - 1);
    }
    assert_eq!(bucket_midpoint(BUCKETS), bucket_midpoint(BUCKETS - 1));
}

#[test]
fn a_histogram_without_samples_has_no_quantile() {
    assert_eq!(Histogram::default().quantile(5_000), None);
    assert!(Histogram::default().is_empty());
}

#[test]
fn the_extreme_quantiles_are_the_extreme_samples() {
    let histogram = of(&[1, 2, 3].map(Duration::from_millis));
    let bucket = |basis_points| bucket_of(histogram.quantile(basis_points).unwrap());
    assert_eq!(bucket(0), bucket_of(Duration::from_millis(1)));
    assert_eq!(bucket(10_000), bucket_of(Duration::from_millis(3)));
    assert_eq!(bucket(20_000), bucket(10_000));
}

#[test]
fn pairs_that_are_no_histogram_are_refused_with_their_bucket() {
    let refused = |pairs: &[(u32, u64)]| Histogram::from_pairs(pairs.iter().copied()).unwrap_err();
    assert_eq!(
        refused(&[(512, 1)]),
        InvalidHistogram::OutOfRange { bucket: 512 }
    );
    assert_eq!(
        refused(&[(65_536, 1)]),
        InvalidHistogram::OutOfRange { bucket: 65_536 }
    );
    assert_eq!(
        refused(&[(4, 1), (4, 1)]),
        InvalidHistogram::NotAscending {
            bucket: 4,
            after: 4
        }
    );
    assert_eq!(refused(&[(4, 0)]), InvalidHistogram::Zero { bucket: 4 });
    assert_eq!(
        refused(&[(4, MAX_COUNT + 1)]).to_string(),
        "bucket 4 counts 281474976710656; at most 281474976710655 is allowed"
    );
}

#[test]
fn counts_saturate_and_never_spill_into_the_bucket() {
    let full = Histogram::from_pairs([(7, MAX_COUNT)]).unwrap();
    assert_eq!(pairs(&merged(&full, &full)), [(7, MAX_COUNT)]);
}

#[test]
fn nothing_is_later_than_what_it_does_not_contain() {
    let small = Histogram::from_pairs([(3, 1), (9, 2)]).unwrap();
    for more in [[(3, 2), (9, 2)], [(4, 1), (9, 2)], [(3, 1), (10, 2)]] {
        assert_eq!(small.since(&Histogram::from_pairs(more).unwrap()), None);
    }
}

#[test]
fn a_bucket_takes_eight_bytes() {
    assert_eq!(size_of::<Bin>(), 8);
}

proptest! {
    #[test]
    fn a_bucket_stands_for_a_latency_within_four_percent(nanos in 2_000_u64..1 << 42) {
        let told = bucket_midpoint(bucket_of(Duration::from_nanos(nanos))).as_nanos();
        let error = told.abs_diff(u128::from(nanos));
        prop_assert!(error * 100 < u128::from(nanos) * 4, "{nanos} told as {told}");
    }

    #[test]
    fn a_quantile_is_the_bucket_of_the_sample_that_a_sorted_list_names(
        mut latencies in prop::collection::vec(latency(), 1..200),
        basis_points in 0_u32..=10_000,
    ) {
        let told = of(&latencies).quantile(basis_points).unwrap();
        latencies.sort();
        let rank = (latencies.len() * basis_points as usize).div_ceil(10_000).max(1);
        prop_assert_eq!(told, bucket_midpoint(bucket_of(latencies[rank - 1])));
    }

    #[test]
    fn merging_is_counting_both(
        a in prop::collection::vec(latency(), 0..60),
        b in prop::collection::vec(latency(), 0..60),
    ) {
        let both = [a.clone(), b.clone()].concat();
        prop_assert_eq!(merged(&of(&a), &of(&b)), of(&both));
        prop_assert_eq!(of(&both).count(), both.len() as u64);
    }

    #[test]
    fn merging_is_associative_and_commutative(
        a in histogram(),
        b in histogram(),
        c in histogram(),
    ) {
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&a, &Histogram::default()), a);
    }

    #[test]
    fn the_difference_is_what_was_merged_in(a in histogram(), b in histogram()) {
        let sum = merged(&a, &b);
        prop_assert_eq!(sum.since(&a), Some(b.clone()));
        prop_assert_eq!(a.since(&sum).is_some(), b.is_empty());
    }

    #[test]
    fn pairs_survive_the_wire(a in histogram()) {
        prop_assert_eq!(Histogram::from_pairs(a.iter()).unwrap(), a);
    }
}
