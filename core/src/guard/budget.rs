//! How many retries an operation may add to its traffic, however many of its calls fail.
//!
//! Retries are paid from a budget that first attempts fill: a share of the first attempts of the
//! last ten seconds, and a floor for operations with little traffic. So a dependency that is down
//! sees at most that share more traffic, where every call retrying by itself would multiply it.
//! (Finagle's `RetryBudget`, with a ratio, a floor and a time to live of ten seconds.)
//!
//! First attempts cost a budget nothing: they are counted by the operation's recorder anyway. At a
//! withdrawal the recorder's total is read, and what was added since the last look is spread evenly
//! over the time since then. While calls fail, looks are frequent and this is exact; the first look
//! after a long calm sees an average.
//!
//! Invariant: a withdrawal decides and takes under one lock, so two calls can never both take the
//! last retry. Asked before the sleep, not after it.

use crate::atomics::{Mutex, lock};
use crate::policy::rules::RetryBudget;
use crate::time::Instant;

/// Over how many seconds first attempts count.
pub const HORIZON_SECS: u64 = 10;

const SECOND: u64 = 1_000_000_000;
const SLOTS: usize = 10;
const ONE: u128 = 10_000;

/// The retry budget of one operation, shared by all its callers.
#[derive(Debug)]
pub struct Budget {
    inner: Mutex<Ring>,
}

#[derive(Debug)]
struct Ring {
    settings: RetryBudget,
    slots: [Slot; SLOTS],
    /// What the total was at the last look, and when that was.
    seen: u32,
    seen_at: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    second: u64,
    first_attempts: u64,
    retries: u64,
}

impl Budget {
    /// A budget nothing was paid into.
    pub fn new(settings: &RetryBudget, now: Instant) -> Self {
        Self {
            inner: Mutex::new(Ring {
                settings: *settings,
                slots: Default::default(),
                seen: 0,
                seen_at: now,
            }),
        }
    }

    /// Puts `settings` in force: by them, what was spent so far is judged too.
    pub fn reload(&self, settings: &RetryBudget) {
        lock(&self.inner).settings = *settings;
    }

    /// Takes one retry, if there is one. `first_attempts` is how many the operation has made in
    /// all, that of the asking call included, modulo 2^32.
    pub fn withdraw(&self, first_attempts: u32, now: Instant) -> bool {
        let mut ring = lock(&self.inner);
        // Whoever read the clock before another and comes here after it asks as if with it.
        let now = now.max(ring.seen_at);
        ring.look(first_attempts, now);
        let affordable = ring.affords(now);
        if affordable {
            ring.slot(now.as_nanos() / SECOND).retries += 1;
        }
        affordable
    }
}

impl Ring {
    /// Spreads what was added since the last look over the seconds since then.
    fn look(&mut self, first_attempts: u32, now: Instant) {
        let (from, to) = (self.seen_at.as_nanos(), now.as_nanos());
        let mut left = u64::from(first_attempts.wrapping_sub(self.seen));
        if left > u64::from(u32::MAX / 2) && to - from < HORIZON_SECS * SECOND {
            // So many calls take longer than that: somebody read the total before another and came
            // here after it, and nothing is new.
            return;
        }
        self.seen = first_attempts;
        self.seen_at = now;
        let (last, span) = (to / SECOND, to - from);
        let oldest = last.saturating_sub(HORIZON_SECS - 1).max(from / SECOND);
        let added = u128::from(left);
        // What lies before the oldest slot is beyond the horizon.
        let before = (oldest * SECOND).saturating_sub(from);
        left -= share(added, before, span);
        for second in oldest..last {
            let begin = (second * SECOND).max(from);
            let part = share(added, (second + 1) * SECOND - begin, span).min(left);
            self.slot(second).first_attempts += part;
            left -= part;
        }
        self.slot(last).first_attempts += left;
    }

    fn affords(&self, now: Instant) -> bool {
        let last = now.as_nanos() / SECOND;
        let live = |slot: &&Slot| last.saturating_sub(slot.second) < HORIZON_SECS;
        let live = self.slots.iter().filter(live);
        let (first, retries) = live.fold((0_u128, 0_u128), |(first, retries), slot| {
            (
                first + u128::from(slot.first_attempts),
                retries + u128::from(slot.retries),
            )
        });
        let settings = &self.settings;
        let floor = u128::from(settings.min_per_second) * u128::from(HORIZON_SECS);
        let income = first * u128::from(settings.ratio.basis_points()) + floor * ONE;
        (retries + 1) * ONE <= income
    }

    fn slot(&mut self, second: u64) -> &mut Slot {
        // A remainder below SLOTS.
        let slot = &mut self.slots[usize::try_from(second % HORIZON_SECS).unwrap_or(0)];
        if slot.second != second {
            *slot = Slot {
                second,
                ..Slot::default()
            };
        }
        slot
    }
}

/// The part of `whole` that falls to `part` of `span`.
fn share(whole: u128, part: u64, span: u64) -> u64 {
    let share = whole * u128::from(part) / u128::from(span.max(1));
    u64::try_from(share.min(whole)).unwrap_or(u64::MAX)
}

const _: () = assert!(SLOTS as u64 == HORIZON_SECS, "a slot a second");

#[cfg(test)]
mod tests;
