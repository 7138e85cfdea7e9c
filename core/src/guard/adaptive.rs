//! How many calls at once a dependency carries, found out by how long they take.
//!
//! Gradient2 of Netflix's *concurrency-limits* (`Gradient2Limit.java`, Apache-2.0; described in
//! *Performance Under Load*, Netflix Technology Blog, 2018): while calls take about as long as they
//! have on average, the limit grows by a small queue; when they take longer, it shrinks in
//! proportion.
//!
//! ```text
//! gradient = clamp(1.5 * long-term latency / this latency, 0.5, 1)
//! limit    = 0.8 * limit + 0.2 * (limit * gradient + 4)        within [min, max]
//! ```
//!
//! The long-term latency is an exponential average over about 600 samples. A limit of which less
//! than half is used does not grow: nothing was learned about what lies beyond.
//!
//! The bounds are kept here, not handed in with each call: what a call under older ones shows must
//! not push the limit back between those.
//!
//! What counts as a sample: an answer, and a timeout, whose latency is at least what it waited. A
//! fast failure does not: a refused connection says nothing about how long work takes.

use crate::atomics::{Mutex, lock};
use crate::policy::rules::ConcurrencyBounds;
use crate::time::Span;

/// Where a limit begins, within its bounds.
const INITIAL: f64 = 20.0;
/// How many may queue at the dependency while all is well.
const QUEUE: f64 = 4.0;
const SMOOTHING: f64 = 0.2;
/// How much longer than usual is still usual.
const TOLERANCE: f64 = 1.5;
const LONG_WINDOW: f64 = 600.0;
/// Samples that are averaged plainly before the exponential average begins.
const WARM_UP: u32 = 10;

/// The adaptive limit of one operation.
#[derive(Debug)]
pub struct Adaptive {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// None: there is no limit.
    bounds: Option<ConcurrencyBounds>,
    limit: f64,
    inside: u32,
    long_term: f64,
    samples: u32,
}

impl Adaptive {
    /// Nobody inside, nothing learned; without `bounds` it lets everybody in.
    pub fn new(bounds: Option<&ConcurrencyBounds>) -> Self {
        Self {
            inner: Mutex::new(Inner {
                bounds: bounds.copied(),
                limit: INITIAL,
                inside: 0,
                long_term: 0.0,
                samples: 0,
            }),
        }
    }

    /// Whether one more may go; it must [`leave`](Self::leave).
    pub fn enter(&self) -> bool {
        let mut inner = lock(&self.inner);
        let free = inner.inside < inner.limit();
        inner.inside += u32::from(free);
        free
    }

    /// One has ended; `latency` if that is a sample.
    pub fn leave(&self, latency: Option<Span>) {
        let mut inner = lock(&self.inner);
        if let (Some(bounds), Some(latency)) = (inner.bounds, latency) {
            inner.learn(&bounds, latency);
        }
        inner.inside = inner.inside.saturating_sub(1);
    }

    /// Puts `bounds` in force. Sends nobody away, and what was learned stays.
    pub fn reload(&self, bounds: Option<&ConcurrencyBounds>) {
        lock(&self.inner).bounds = bounds.copied();
    }

    /// The limit as it stands, and how many are inside.
    pub fn view(&self) -> (u32, u32) {
        let inner = lock(&self.inner);
        (inner.limit(), inner.inside)
    }
}

impl Inner {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to two positive u32"
    )]
    fn limit(&self) -> u32 {
        self.bounds.map_or(u32::MAX, |bounds| {
            self.limit.clamp(bounds.min.into(), bounds.max.into()) as u32
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "of nanoseconds beyond 104 days")]
    fn learn(&mut self, bounds: &ConcurrencyBounds, latency: Span) {
        // Below one nanosecond nothing can be divided by it.
        let short = (latency.as_nanos() as f64).max(1.0);
        self.average(short);
        if self.long_term / short > 2.0 {
            // Well below the average: load has ended, and the average comes down with it.
            self.long_term *= 0.95;
        }
        let limit = self.limit.clamp(bounds.min.into(), bounds.max.into());
        if f64::from(self.inside) < limit / 2.0 {
            return;
        }
        let gradient = (TOLERANCE * self.long_term / short).clamp(0.5, 1.0);
        let wanted = limit * gradient + QUEUE;
        let smoothed = limit * (1.0 - SMOOTHING) + wanted * SMOOTHING;
        self.limit = smoothed.clamp(bounds.min.into(), bounds.max.into());
    }

    fn average(&mut self, sample: f64) {
        let weight = if self.samples < WARM_UP {
            self.samples += 1;
            1.0 / f64::from(self.samples)
        } else {
            2.0 / (LONG_WINDOW + 1.0)
        };
        self.long_term += (sample - self.long_term) * weight;
    }
}

#[cfg(test)]
mod tests;
