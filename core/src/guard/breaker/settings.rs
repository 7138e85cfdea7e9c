//! A breaker's rules, compiled.

use crate::policy::Effective;
use crate::policy::ratio::Ratio;
use crate::policy::rules::Window;
use crate::time::{Instant, Span};

/// How many buckets a window has.
pub(super) const BUCKETS: usize = 10;

/// What a breaker is told with every call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Opens after that many failures in a row.
    pub(super) consecutive_failures: Option<u32>,
    /// Opens at a share of failures.
    pub(super) ratio: Option<RatioSettings>,
    pub(super) open_duration: Span,
    pub(super) half_open_permits: u32,
    pub(super) max_half_open: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RatioSettings {
    pub(super) failure_ratio: Ratio,
    pub(super) minimum_calls: u64,
    /// The fewest failures among `minimum_calls` that reach the ratio.
    pub(super) least_bad: u64,
    bucket_nanos: u64,
    /// Counts the window's changes of shape.
    pub(super) shape: u8,
}

impl Settings {
    /// Compiles `rules`; `previous` tells whether the window's shape has changed.
    pub(crate) fn compile(rules: &Effective, previous: Option<&Self>) -> Self {
        let before = previous.and_then(|settings| settings.ratio.as_ref());
        let rules = &rules.breaker;
        let ratio = rules.trip.ratio.and_then(|trip| {
            let (Window::Span(span), Some(failure_ratio)) = (trip.window, trip.failure_ratio)
            else {
                return None;
            };
            let bucket_nanos = (Span::from(span).as_nanos() / BUCKETS as u64).max(1);
            let minimum_calls = u64::from(trip.minimum_calls);
            Some(RatioSettings {
                failure_ratio,
                minimum_calls,
                least_bad: failure_ratio.least_part(minimum_calls),
                bucket_nanos,
                shape: before.map_or(0, |before| {
                    let changed = before.bucket_nanos != bucket_nanos;
                    before.shape.wrapping_add(u8::from(changed))
                }),
            })
        });
        Self {
            consecutive_failures: rules.trip.consecutive_failures,
            ratio,
            open_duration: rules.open_duration.into(),
            half_open_permits: rules.half_open_permits,
            max_half_open: rules.max_half_open.into(),
        }
    }
}

impl RatioSettings {
    /// The number of the bucket that `now` falls into.
    #[inline]
    pub(super) const fn bucket(&self, now: Instant) -> u64 {
        now.as_nanos() / self.bucket_nanos
    }
}
