use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::policy::ratio::Share;

const FIFTH: RetryBudget = RetryBudget {
    ratio: Share::FIFTH,
    min_per_second: 0,
};

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// A budget beside the count of first attempts that it is told with each question.
struct Bench {
    budget: Budget,
    first_attempts: u32,
}

impl Bench {
    fn new() -> Self {
        Self {
            budget: Budget::new(&FIFTH, at(0)),
            first_attempts: 0,
        }
    }

    fn calls(&mut self, calls: u32) -> &mut Self {
        self.first_attempts = self.first_attempts.wrapping_add(calls);
        self
    }

    fn withdraw(&self, settings: &RetryBudget, now: Instant) -> bool {
        self.budget.reload(settings);
        self.budget.withdraw(self.first_attempts, now)
    }

    /// How many retries there are at `now`; takes them.
    fn drain(&self, settings: &RetryBudget, now: Instant) -> usize {
        (0..100_000)
            .take_while(|_| self.withdraw(settings, now))
            .count()
    }
}

#[test]
fn ten_thousand_calls_that_all_fail_get_a_fifth_of_retries_and_the_floor() {
    let settings = RetryBudget {
        ratio: Share::FIFTH,
        min_per_second: 3,
    };
    let mut bench = Bench::new();
    let mut retries = 0;
    for call in 0..10_000 {
        let now = at(call / 2);
        bench.calls(1);
        // Two retries wanted by each call.
        for _ in 0..2 {
            retries += usize::from(bench.withdraw(&settings, now));
        }
    }
    assert_eq!(retries, 2_000 + 30);
}

#[test]
fn a_calm_operation_has_the_floor_of_its_horizon_and_gets_it_back_with_time() {
    let settings = RetryBudget {
        ratio: Share::ZERO,
        min_per_second: 3,
    };
    let bench = Bench::new();
    assert_eq!(bench.drain(&settings, at(0)), 30);
    assert_eq!(bench.drain(&settings, at(9_999)), 0);
    assert_eq!(bench.drain(&settings, at(10_000)), 30);
}

#[test]
fn without_a_share_or_a_floor_nothing_is_ever_retried() {
    let nothing = RetryBudget {
        ratio: Share::ZERO,
        min_per_second: 0,
    };
    assert_eq!(Bench::new().calls(1_000_000).drain(&nothing, at(1)), 0);
}

#[test]
fn a_share_is_exact_to_the_last_retry() {
    let mut bench = Bench::new();
    assert_eq!(bench.calls(4).drain(&FIFTH, at(0)), 0);
    assert_eq!(bench.calls(1).drain(&FIFTH, at(0)), 1);
    assert_eq!(bench.calls(9).drain(&FIFTH, at(0)), 1);
    assert_eq!(bench.calls(1).drain(&FIFTH, at(0)), 1);
}

#[test]
fn first_attempts_older_than_the_horizon_pay_for_nothing() {
    let mut bench = Bench::new();
    bench.calls(100);
    assert!(bench.withdraw(&FIFTH, at(0)));
    assert_eq!(bench.drain(&FIFTH, at(10_000)), 0);
}

#[test]
fn what_came_during_a_calm_is_spread_over_it() {
    // 1,000 calls within 100 s: some 100 of them are within the horizon.
    let calm = Bench::new().calls(1_000).drain(&FIFTH, at(100_000));
    assert!((18..=20).contains(&calm), "{calm}");
    // The same within 5 s: all of them are.
    assert_eq!(Bench::new().calls(1_000).drain(&FIFTH, at(5_000)), 200);
}

#[test]
fn an_operation_that_failed_for_the_first_time_after_billions_of_calls_is_paid_for_its_last_ones() {
    for calls in [1 << 30, u32::MAX / 2 + 1, u32::MAX] {
        let mut bench = Bench::new();
        // A million seconds of some thousand calls each.
        let now = at(1_000_000_000);
        let horizon = u64::from(calls) / 1_000_000 * HORIZON_SECS;
        let share = usize::try_from(horizon / 5).unwrap();
        let paid = bench.calls(calls).drain(&FIFTH, now);
        assert!(
            (share * 9 / 10..=share + 2).contains(&paid),
            "{paid} of {calls}"
        );
        paid_as_ever(&mut bench, now);
    }
}

/// The count goes on, and wraps.
fn paid_as_ever(bench: &mut Bench, now: Instant) {
    for _ in 0..100 {
        assert_eq!(bench.calls(100).drain(&FIFTH, now), 20);
    }
}

#[test]
fn a_count_that_was_read_before_another_adds_nothing_twice() {
    let mut bench = Bench::new();
    bench.calls(50);
    assert!(bench.withdraw(&FIFTH, at(0)));
    assert!(bench.budget.withdraw(49, at(0)));
    assert_eq!(bench.drain(&FIFTH, at(0)), 8);
}

#[test]
fn what_is_older_than_the_horizon_is_so_for_a_count_that_was_read_too_early_too() {
    let mut bench = Bench::new();
    bench.calls(100);
    assert!(bench.withdraw(&FIFTH, at(500)));
    assert!(!bench.budget.withdraw(99, at(10_400)));
}

#[test]
fn a_clock_that_steps_back_neither_pays_nor_forgets() {
    let mut bench = Bench::new();
    assert!(!bench.withdraw(&FIFTH, at(60_000)));
    assert_eq!(bench.calls(100).drain(&FIFTH, at(60_000)), 20);
    for earlier in [59_000, 50_000, 40_000, 0] {
        assert_eq!(bench.drain(&FIFTH, at(earlier)), 0, "{earlier}");
    }
    assert_eq!(bench.drain(&FIFTH, at(60_000)), 0);
}

/// What the rule of spreading says, second by second and without a ring.
#[derive(Default)]
struct Model {
    first_attempts: BTreeMap<u64, u64>,
    retries: BTreeMap<u64, u64>,
    seen_at: u64,
}

impl Model {
    /// `added` first attempts since the last look: what part of that time lies in a second, that
    /// part of them does, rounded down; what rounding leaves over is counted now.
    fn look(&mut self, added: u64, now: u64) {
        let (from, span) = (self.seen_at, now - self.seen_at);
        self.seen_at = now;
        let part = |begin: u64, end: u64| {
            let overlap = end.min(now).saturating_sub(begin.max(from));
            added * overlap / span.max(1)
        };
        let last = now / SECOND;
        let first_live = last.saturating_sub(HORIZON_SECS - 1);
        let mut left = added - part(0, first_live * SECOND);
        for second in first_live..last {
            let here = part(second * SECOND, (second + 1) * SECOND);
            *self.first_attempts.entry(second).or_default() += here;
            left -= here;
        }
        *self.first_attempts.entry(last).or_default() += left;
    }

    fn income(&self, settings: &RetryBudget, last: u64) -> u64 {
        let ratio = u64::from(settings.ratio.basis_points());
        let floor = u64::from(settings.min_per_second) * HORIZON_SECS;
        live(&self.first_attempts, last) * ratio + floor * 10_000
    }

    fn withdraw(&mut self, settings: &RetryBudget, now: u64) -> bool {
        let last = now / SECOND;
        let paid = (live(&self.retries, last) + 1) * 10_000 <= self.income(settings, last);
        *self.retries.entry(last).or_default() += u64::from(paid);
        paid
    }
}

/// What the ten seconds that end with `last` hold.
fn live(counts: &BTreeMap<u64, u64>, last: u64) -> u64 {
    let first = last.saturating_sub(HORIZON_SECS - 1);
    counts.range(first..=last).map(|(_, count)| count).sum()
}

proptest! {
    #[test]
    fn every_history_is_paid_as_the_obvious_model_says_and_never_beyond_the_share_and_the_floor(
        (ratio, min_per_second) in (0.0..=1.0_f64, 0_u32..4),
        begin in any::<u32>(),
        steps in prop::collection::vec((0_u64..6_000, 0_u32..60, 0_u32..40), 0..60),
    ) {
        let ratio = Share::new(ratio).unwrap();
        let settings = RetryBudget { ratio, min_per_second };
        let mut bench = Bench::new();
        let mut model = Model::default();
        bench.first_attempts = begin;
        lock(&bench.budget.inner).seen = begin;
        let mut now = 0;
        for (wait, calls, asks) in steps {
            now += wait * 1_000_000;
            bench.calls(calls);
            let mut added = u64::from(calls);
            for _ in 0..asks {
                model.look(std::mem::take(&mut added), now);
                let paid = bench.withdraw(&settings, Instant::from_nanos(now));
                prop_assert_eq!(paid, model.withdraw(&settings, now));
                let last = now / SECOND;
                let retries = live(&model.retries, last) * 10_000;
                prop_assert!(!paid || retries <= model.income(&settings, last));
            }
            // Whoever asked nothing has not looked either.
            bench.first_attempts = bench.first_attempts.wrapping_sub(u32::try_from(added).unwrap());
        }
    }
}
