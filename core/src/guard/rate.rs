//! How often an operation may be called: the generic cell rate algorithm.
//!
//! GCRA (ITU-T I.371; the leaky bucket as a meter) needs one number, the *theoretical arrival
//! time*: when the next call would come if all calls so far had been spaced evenly. A call moves it
//! on by one interval; it may go as long as that leaves it within `burst` intervals of now.
//!
//! ```text
//!             now                       arrival time
//!   -----------|-----------------------------|------>   free when  arrival - now <= burst * interval
//!              |<-- what has been promised ->|          otherwise the difference is the wait
//! ```
//!
//! A call that may wait is given its moment in advance and keeps it, whatever rules come meanwhile:
//! a reservation is honoured. Nobody is given one that comes too late for it: neither beyond the
//! quota's longest wait nor beyond the caller's own deadline. Else, under more load than the rate,
//! everybody would reserve a moment that he does not live to see. One that leaves early gives its
//! place back only if nobody reserved behind it; otherwise the others keep their moments and its own
//! passes unused.
//!
//! The quota is kept here, not handed in with each call: the arrival time is counted in its
//! intervals, so both change together, under one lock. A call that began under another quota takes
//! what a permit costs now.

use crate::atomics::{Mutex, lock};
use crate::outcome::{Reason, Rejection};
use crate::policy::rules::Quota;
use crate::time::{Instant, Span};

/// A quota, compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateSettings {
    /// Between two calls; rounded up, so that never more than asked for get through. At least 1 ns.
    interval: Span,
    burst: u32,
    max_wait: Span,
}

/// A call's place in the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// When the call may go.
    pub at: Instant,
    /// The arrival time that it left behind.
    arrival: u64,
    cost: u64,
}

/// The state of one operation's rate limit.
#[derive(Debug)]
pub struct RateLimiter {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// None: there is no limit.
    settings: Option<RateSettings>,
    /// Nanoseconds since the origin.
    arrival: u64,
}

impl RateSettings {
    /// Compiles a quota.
    pub fn compile(quota: &Quota) -> Self {
        let per = Span::from(quota.per).as_nanos();
        Self {
            interval: Span::from_nanos(per.div_ceil(quota.permits.max(1).into()).max(1)),
            burst: quota.burst,
            max_wait: quota.max_wait.into(),
        }
    }

    fn cost(&self, permits: u32) -> u64 {
        self.interval.as_nanos().saturating_mul(permits.into())
    }

    /// What `used` nanoseconds of these intervals come to in those of `new`.
    fn carry(&self, used: u64, new: &Self) -> u64 {
        let scaled = u128::from(used) * u128::from(new.interval.as_nanos())
            / u128::from(self.interval.as_nanos());
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }
}

impl RateLimiter {
    /// A limiter that has let nothing through; without `settings` it lets everybody through.
    pub fn new(settings: Option<&RateSettings>) -> Self {
        Self {
            inner: Mutex::new(Inner {
                settings: settings.copied(),
                arrival: 0,
            }),
        }
    }

    /// Asks for `permits` at once, by a caller who must have an answer before `deadline`. Refused if
    /// the wait for them is too long, with the time until it no longer is; and for good (no such
    /// time) if they are more than the burst.
    pub fn reserve(
        &self,
        permits: u32,
        now: Instant,
        deadline: Instant,
    ) -> Result<Reservation, Rejection> {
        let refused = |retry_after| Rejection {
            reason: Reason::RateLimited,
            retry_after,
        };
        let mut inner = lock(&self.inner);
        let Some(settings) = &inner.settings else {
            return Ok(Reservation {
                at: now,
                arrival: inner.arrival,
                cost: 0,
            });
        };
        if permits > settings.burst {
            return Err(refused(None));
        }
        let cost = settings.cost(permits);
        let arrival = inner.arrival.max(now.as_nanos()).saturating_add(cost);
        let at = Instant::from_nanos(arrival.saturating_sub(settings.cost(settings.burst)));
        let wait = at.span_since(now);
        let patience = settings.max_wait.min(deadline.span_since(now));
        let comes_too_late = wait > Span::ZERO && at >= deadline;
        if wait > patience || comes_too_late {
            let beyond = wait.as_nanos().saturating_sub(patience.as_nanos());
            return Err(refused(Some(Span::from_nanos(beyond).as_duration())));
        }
        inner.arrival = arrival;
        Ok(Reservation {
            at: now + wait,
            arrival,
            cost,
        })
    }

    /// Takes a reservation back whose call was not made; unless somebody reserved behind it, or the
    /// interval changed.
    pub fn give_back(&self, reservation: Reservation) {
        let Reservation { arrival, cost, .. } = reservation;
        let mut inner = lock(&self.inner);
        if inner.arrival == arrival {
            inner.arrival = arrival.saturating_sub(cost);
        }
    }

    /// Puts `settings` in force. As many permits as have been used stay used, at the new interval,
    /// and reservations keep their moments; where there was no limit nothing was used.
    pub fn reload(&self, settings: Option<&RateSettings>, now: Instant) {
        let mut inner = lock(&self.inner);
        let used = inner.arrival.saturating_sub(now.as_nanos());
        inner.arrival = match (&inner.settings, settings) {
            (Some(old), Some(new)) if old.interval == new.interval || used == 0 => inner.arrival,
            (Some(old), Some(new)) => now.as_nanos().saturating_add(old.carry(used, new)),
            _ => 0,
        };
        inner.settings = settings.copied();
    }
}

#[cfg(test)]
mod tests;
