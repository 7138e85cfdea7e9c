//! Keeps the last few spans of time apart, in fixed memory.
//!
//! A slot's number is the time divided by its width, so that a slot expires by its number alone: no
//! timer, and an idle ring costs nothing. `now` may step back a little between callers; what falls
//! into a slot that is still here is put there, what is older is dropped.
//!
//! Invariant: the ring holds the numbers in `newest - SLOTS + 1 ..= newest`, each in the place
//! `number % SLOTS`.

use std::time::Duration;

use crate::time::Instant;

/// `SLOTS` slots of `MILLIS` milliseconds each.
pub(super) struct Ring<T, const SLOTS: usize, const MILLIS: u64> {
    slots: [T; SLOTS],
    newest: u64,
}

impl<T: Default, const SLOTS: usize, const MILLIS: u64> Ring<T, SLOTS, MILLIS> {
    const WIDTH_NANOS: u64 = MILLIS * 1_000_000;

    /// The slot that `now` falls into; `None` if the ring has long passed it.
    pub(super) fn slot(&mut self, now: Instant) -> Option<&mut T> {
        let number = Self::number(now);
        self.advance(number);
        self.holds(number)
            .then(|| &mut self.slots[Self::place(number)])
    }

    /// The `spans` slots up to the one that `now` falls into.
    pub(super) fn last(&self, spans: u64, now: Instant) -> impl Iterator<Item = &T> {
        let last = Self::number(now);
        let numbers = (last + 1).saturating_sub(spans)..=last;
        let held = numbers.filter(|&number| self.holds(number));
        held.map(|number| &self.slots[Self::place(number)])
    }

    /// How much time [`Self::last`] speaks of: the last slot is not over yet.
    pub(super) fn span(spans: u64, now: Instant) -> Duration {
        let full = spans.saturating_sub(1) * Self::WIDTH_NANOS;
        Duration::from_nanos(full + now.as_nanos() % Self::WIDTH_NANOS)
    }

    fn advance(&mut self, to: u64) {
        let passed = to.saturating_sub(self.newest).min(SLOTS as u64);
        for number in to - passed..to {
            self.slots[Self::place(number + 1)] = T::default();
        }
        self.newest = self.newest.max(to);
    }

    fn holds(&self, number: u64) -> bool {
        number <= self.newest && self.newest - number < SLOTS as u64
    }

    fn number(now: Instant) -> u64 {
        now.as_nanos() / Self::WIDTH_NANOS
    }

    #[expect(clippy::cast_possible_truncation, reason = "below SLOTS")]
    fn place(number: u64) -> usize {
        (number % SLOTS as u64) as usize
    }
}

impl<T: Default, const SLOTS: usize, const MILLIS: u64> Default for Ring<T, SLOTS, MILLIS> {
    fn default() -> Self {
        Self {
            slots: std::array::from_fn(|_| T::default()),
            newest: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Seconds = Ring<u64, 4, 1000>;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn ring(marks: &[u64]) -> Seconds {
        let mut ring = Seconds::default();
        for &millis in marks {
            if let Some(slot) = ring.slot(at(millis)) {
                *slot += 1;
            }
        }
        ring
    }

    fn sum(ring: &Seconds, spans: u64, millis: u64) -> u64 {
        ring.last(spans, at(millis)).sum()
    }

    #[test]
    fn only_the_spans_asked_for_are_told() {
        let ring = ring(&[500, 1500, 1600, 2500]);
        assert_eq!(sum(&ring, 1, 2900), 1);
        assert_eq!(sum(&ring, 2, 2900), 3);
        assert_eq!(sum(&ring, 4, 2900), 4);
    }

    #[test]
    fn a_slot_expires_by_its_number_without_being_touched() {
        let ring = ring(&[500]);
        assert_eq!(sum(&ring, 4, 3999), 1);
        assert_eq!(sum(&ring, 4, 4000), 0);
    }

    #[test]
    fn a_slot_reused_after_any_number_of_turns_is_empty() {
        for gap in [4, 5, 8, 1_000_003] {
            let ring = ring(&[0, gap * 1000]);
            assert_eq!(sum(&ring, 4, gap * 1000), 1, "{gap}");
        }
    }

    #[test]
    fn a_step_back_lands_in_its_own_slot_or_nowhere() {
        let ring = ring(&[5000, 4000, 1000]);
        assert_eq!(sum(&ring, 1, 5000), 1);
        assert_eq!(sum(&ring, 2, 5000), 2);
        assert_eq!(sum(&ring, 4, 5000), 2);
    }

    #[test]
    fn the_span_told_of_ends_now_and_not_with_the_slot() {
        assert_eq!(Seconds::span(3, at(7250)), Duration::from_millis(2250));
    }
}
