//! How much a session may say: a token bucket over its messages.
//!
//! Whoever says more is read no faster, so that it fills its own stream, which stops it, instead of
//! this server's time. Nothing is lost by that; a process that behaves never notices.

use std::time::Duration;

use tokio::time::Instant;

/// Messages that may come at once: what a process has to say at its start, before it looks at what it
/// is sent. An SDK takes 10,000 operations, and keeps another thousand messages that wait.
const BURST: u32 = 12_000;
/// Between two messages, in the long run.
const EVERY: Duration = Duration::from_millis(10);

/// What one session may still say.
#[derive(Debug)]
pub(super) struct Allowance {
    /// When the bucket will be full, had it been filling ever since: a bucket as one point in time.
    full: Instant,
}

impl Allowance {
    pub(super) fn new(now: Instant) -> Self {
        Self { full: now }
    }

    /// Counts a message.
    pub(super) fn spend(&mut self, now: Instant) {
        self.full = self.full.max(now) + EVERY;
    }

    /// When the next message may be read; `None` for now.
    pub(super) fn spent_until(&self, now: Instant) -> Option<Instant> {
        let to_fill = self.full.saturating_duration_since(now);
        let to_wait = to_fill.checked_sub(EVERY * (BURST - 1))?;
        (!to_wait.is_zero()).then(|| now + to_wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spend(allowance: &mut Allowance, messages: u32, now: Instant) {
        for _ in 0..messages {
            assert_eq!(allowance.spent_until(now), None);
            allowance.spend(now);
        }
    }

    #[test]
    fn after_a_burst_messages_are_read_at_a_steady_pace() {
        let mut now = Instant::now();
        let mut allowance = Allowance::new(now);
        spend(&mut allowance, BURST, now);
        for _ in 0..10 {
            let next = allowance.spent_until(now);
            assert_eq!(next, Some(now + EVERY));
            now += EVERY;
            spend(&mut allowance, 1, now);
        }
    }

    #[test]
    fn who_is_quiet_for_long_enough_may_burst_again_and_no_more() {
        let now = Instant::now();
        let mut allowance = Allowance::new(now);
        spend(&mut allowance, BURST, now);
        let later = now + EVERY * BURST * 10;
        spend(&mut allowance, BURST, later);
        assert!(allowance.spent_until(later).is_some());
    }
}
