//! How long things took, and the percentiles of it.

use std::time::Duration;

/// Many durations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub(crate) fn append(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The one that so many percent were not above, in milliseconds; not a number of nothing.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let sorted = self.sorted_millis();
        let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
        sorted.get(rank).copied().unwrap_or(f64::NAN)
    }

    /// The longest, in milliseconds.
    pub(crate) fn longest(&self) -> f64 {
        self.percentile(100)
    }

    pub(crate) fn sorted_millis(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.iter().map(|time| time.as_secs_f64() * 1e3).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_times_and_of_nothing_no_number() {
        let mut times = Times::default();
        assert!(times.percentile(50).is_nan());
        for millis in (1..=200).rev() {
            times.add(Duration::from_millis(millis));
        }
        let found = [1, 50, 99, 100].map(|percent| times.percentile(percent));
        for (found, expected) in found.into_iter().zip([2.0, 100.0, 198.0, 200.0]) {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
    }
}
