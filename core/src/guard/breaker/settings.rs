//! A breaker's rules, compiled.

use std::time::Duration;

use super::window::Trace;
use crate::policy::cascade::{BreakerRules, longest_backoff};
use crate::policy::ratio::{Multiplier, Ratio, Share};
use crate::policy::rules::{RatioTrip, Window};
use crate::time::Span;

/// How many buckets a time window has.
pub(super) const BUCKETS: usize = 10;

/// What a breaker goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Opens after that many failures in a row.
    pub(super) consecutive_failures: Option<u32>,
    /// Opens at a share of failures or of slow calls.
    pub(super) ratio: Option<RatioSettings>,
    /// Counts the window's changes, its coming and going included.
    shape: u8,
    /// Attempts that take at least this long are slow; never, if no rule asks.
    pub(super) slow: Span,
    pub(super) opening: OpeningSettings,
    pub(super) half_open_permits: u32,
    pub(super) half_open_successes: Option<u32>,
    pub(super) max_half_open: Span,
    /// Over how long admission grows after recovery; zero: at once.
    pub(super) ramp: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RatioSettings {
    pub(super) failure: Option<Ratio>,
    pub(super) slow: Option<Ratio>,
    pub(super) minimum_calls: u32,
    /// The fewest failures among `minimum_calls` that reach the ratio.
    pub(super) least_failed: u32,
    /// The fewest slow calls among `minimum_calls` that reach theirs.
    pub(super) least_slow: u32,
    pub(super) window: WindowSettings,
    /// Which of the windows so far this is.
    pub(super) shape: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WindowSettings {
    Time(Trace),
    /// Of so many calls.
    Count(u32),
}

/// How long an open state lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpeningSettings {
    duration: Span,
    max: Span,
    multiplier: Multiplier,
    jitter: Share,
}

impl Settings {
    /// Compiles `rules`; `previous` tells whether the window's shape has changed.
    pub fn compile(rules: &BreakerRules, previous: Option<&Self>) -> Self {
        let asks_for_slow = |trip: &RatioTrip| trip.slow_call_ratio.is_some();
        let window = rules.trip.ratio.map(|trip| trip.window);
        let shape = previous.map_or(0, |previous| {
            let changed = !previous.has_window(window);
            previous.shape.wrapping_add(changed.into())
        });
        Self {
            consecutive_failures: rules.trip.consecutive_failures,
            ratio: rules
                .trip
                .ratio
                .map(|trip| RatioSettings::compile(&trip, shape)),
            shape,
            slow: rules
                .trip
                .slow_call_threshold
                .filter(|_| rules.trip.ratio.as_ref().is_some_and(asks_for_slow))
                .map_or(Span::MAX, Span::from),
            opening: OpeningSettings {
                duration: rules.open_duration.into(),
                max: rules.max_open_duration.into(),
                multiplier: rules.open_multiplier,
                jitter: rules.open_jitter,
            },
            half_open_permits: rules.half_open_permits,
            half_open_successes: rules.half_open_successes,
            max_half_open: rules.max_half_open.into(),
            ramp: rules.recovery_ramp.into(),
        }
    }

    /// From which length on an attempt is slow.
    #[inline]
    pub const fn slow(&self) -> Span {
        self.slow
    }

    /// What a success needs to leave its trace in the window, if that is one over time.
    pub fn trace(&self) -> Option<Trace> {
        self.ratio.as_ref().and_then(RatioSettings::trace)
    }

    /// Which of the windows so far this is.
    pub(super) const fn shape(&self) -> u8 {
        self.shape
    }

    fn has_window(&self, window: Option<Window>) -> bool {
        match (self.ratio.map(|ratio| ratio.window), window) {
            (None, None) => true,
            (Some(WindowSettings::Time(trace)), Some(Window::Span(span))) => {
                trace.is_of(bucket_nanos(span))
            }
            (Some(WindowSettings::Count(size)), Some(Window::Calls(calls))) => size == calls,
            _ => false,
        }
    }

    /// Whether the window counts calls.
    pub(super) fn is_counted(&self) -> bool {
        self.ratio.is_some_and(|ratio| ratio.trace().is_none())
    }
}

impl RatioSettings {
    fn compile(trip: &RatioTrip, shape: u8) -> Self {
        let minimum_calls = trip.minimum_calls;
        let least = |ratio: Option<Ratio>| {
            let part = ratio.map(|ratio| ratio.least_part(minimum_calls.into()));
            part.and_then(|part| u32::try_from(part).ok())
                .unwrap_or(u32::MAX)
        };
        Self {
            failure: trip.failure_ratio,
            slow: trip.slow_call_ratio,
            minimum_calls,
            least_failed: least(trip.failure_ratio),
            least_slow: least(trip.slow_call_ratio),
            window: match trip.window {
                Window::Span(span) => WindowSettings::Time(Trace::new(bucket_nanos(span), shape)),
                Window::Calls(size) => WindowSettings::Count(size.max(1)),
            },
            shape,
        }
    }

    pub(super) const fn trace(&self) -> Option<Trace> {
        match self.window {
            WindowSettings::Time(trace) => Some(trace),
            WindowSettings::Count(_) => None,
        }
    }
}

fn bucket_nanos(span: Duration) -> u64 {
    (Span::from(span).as_nanos() / BUCKETS as u64).max(1)
}

impl OpeningSettings {
    /// How long the `opening`th open state in a row (from 1) lasts:
    /// `min(duration * multiplier^(opening-1), max)`, less a random part of up to the jitter's
    /// share. `draw` is uniform over all of `u64`.
    pub(super) fn length(&self, opening: u32, draw: u64) -> Span {
        let (duration, max) = (self.duration.as_duration(), self.max.as_duration());
        let grown = Span::from(longest_backoff(opening, duration, max, self.multiplier));
        let most = u128::from(grown.as_nanos()) * u128::from(self.jitter.basis_points()) / 10_000;
        let less = (most * u128::from(draw)) >> 64;
        Span::from_nanos(grown.as_nanos() - u64::try_from(less).unwrap_or(0))
    }
}
