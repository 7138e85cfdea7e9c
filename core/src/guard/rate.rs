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
//! a reservation is honoured. One that leaves early gives its place back only if nobody reserved
//! behind it; otherwise the others keep their moments and its own passes unused.

use crate::atomics::{AtomicU64, Ordering};
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
    /// Nanoseconds since the origin.
    arrival: AtomicU64,
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
}

impl Default for RateLimiter {
    fn default() -> Self {
        Self::new()
    }
}

impl RateLimiter {
    /// A limiter that has let nothing through.
    pub fn new() -> Self {
        Self {
            arrival: AtomicU64::new(0),
        }
    }

    /// Asks for `permits` at once. Refused if the wait for them is too long, with the time until it
    /// no longer is; and for good (no such time) if they are more than the burst.
    pub fn reserve(
        &self,
        settings: &RateSettings,
        permits: u32,
        now: Instant,
    ) -> Result<Reservation, Rejection> {
        let refused = |retry_after| Rejection {
            reason: Reason::RateLimited,
            retry_after,
        };
        if permits > settings.burst {
            return Err(refused(None));
        }
        let cost = settings.cost(permits);
        // Relaxed throughout: the arrival time is the whole state, nothing else is published by it.
        let mut seen = self.arrival.load(Ordering::Relaxed);
        loop {
            let arrival = seen.max(now.as_nanos()).saturating_add(cost);
            let at = Instant::from_nanos(arrival.saturating_sub(settings.cost(settings.burst)));
            let wait = at.span_since(now);
            if wait > settings.max_wait {
                let beyond = wait.as_nanos() - settings.max_wait.as_nanos();
                return Err(refused(Some(Span::from_nanos(beyond).as_duration())));
            }
            match self.arrival.compare_exchange_weak(
                seen,
                arrival,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    let at = now + wait;
                    return Ok(Reservation { at, arrival, cost });
                }
                Err(current) => seen = current,
            }
        }
    }

    /// Takes a reservation back whose call was not made.
    pub fn give_back(&self, reservation: Reservation) {
        let Reservation { arrival, cost, .. } = reservation;
        // Relaxed: see `reserve`. Failing means that somebody reserved behind it.
        let _ = self.arrival.compare_exchange(
            arrival,
            arrival - cost,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }

    /// Carries what has been used over to new settings: as many permits stay used, at the new
    /// interval. Reservations keep their moments.
    pub fn reload(&self, old: &RateSettings, new: &RateSettings, now: Instant) {
        if old.interval == new.interval {
            return;
        }
        let carry = |arrival: u64| {
            let used = arrival
                .checked_sub(now.as_nanos())
                .filter(|&used| used > 0)?;
            let scaled = u128::from(used) * u128::from(new.interval.as_nanos())
                / u128::from(old.interval.as_nanos());
            let scaled = u64::try_from(scaled).unwrap_or(u64::MAX);
            Some(now.as_nanos().saturating_add(scaled))
        };
        // Relaxed: see `reserve`. The closure declines where nothing is in use.
        let _ = self
            .arrival
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, carry);
    }
}

#[cfg(test)]
mod tests;
