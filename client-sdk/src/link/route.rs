//! Which address to try next, and after how long.
//!
//! Addresses take turns. One that fails is left for the next one almost at once; only when all of
//! them have failed in a row does the pause grow. Pauses are full jitter, so that a server that
//! comes back is not met by all its processes at once (Brooker, "Exponential Backoff And Jitter").
//!
//! ```text
//!   ended            counts as failed                        pause before the next address
//!   failed           yes                                     up to BASE; after each whole round of
//!   lost, unsettled  yes                                       failures up to BASE doubled, at most MAX
//!   lost, settled    no, and all before is forgotten         up to BASE
//!   drained          not the first time since one settled    the delay asked for, and up to BASE
//! ```
//!
//! An address that sends everybody away and takes them back only to send them away again is as good
//! as down, hence "the first time". With one address every failure is a whole round.

use std::time::Duration;

/// The longest pause before the first reconnect, and before any.
pub(super) const RECONNECT_BASE: Duration = Duration::from_millis(100);
pub(super) const RECONNECT_MAX: Duration = Duration::from_secs(10);
/// A session that lasted so long was a good one: the next reconnect is quick again.
pub(super) const SETTLED: Duration = Duration::from_secs(30);
/// The longest a server can ask a process to stay away.
pub(super) const LONGEST_DRAIN: Duration = Duration::from_secs(60);

/// How the turn of an address came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// No session came about.
    Failed,
    /// The session broke.
    Lost {
        /// How long it was up.
        lasted: Duration,
    },
    /// The server asked to go elsewhere.
    Drained {
        /// How long the session was up.
        lasted: Duration,
        /// When the server wants to see anybody again.
        delay: Duration,
    },
}

/// Whose turn it is.
#[derive(Debug)]
pub(super) struct Route {
    at: usize,
    /// One for each address: it has sent this process away since a session last settled.
    drained: Vec<bool>,
    /// In a row, over all addresses, since a session last settled.
    failures: usize,
}

impl Route {
    /// From the first of so many addresses.
    pub(super) fn new(addresses: usize) -> Self {
        Self {
            at: 0,
            drained: vec![false; addresses],
            failures: 0,
        }
    }

    /// The address whose turn it is, counted from 0.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// Its turn has ended: goes on to the next address and says how long to pause before it.
    /// `random` is uniform over all of `u64`.
    pub(super) fn leave(&mut self, ending: Ending, random: u64) -> Duration {
        if ending.lasted() >= SETTLED {
            self.failures = 0;
            self.drained.fill(false);
        }
        let failed = self.counts(ending);
        self.failures = self.failures.saturating_add(failed.into());
        let longest = self.longest_pause(failed);
        self.at = (self.at + 1) % self.drained.len().max(1);
        ending.asked() + full_jitter(longest, random)
    }

    fn counts(&mut self, ending: Ending) -> bool {
        match ending {
            Ending::Failed => true,
            Ending::Lost { lasted } => lasted < SETTLED,
            Ending::Drained { .. } => {
                let again = self.drained.get_mut(self.at);
                again.is_some_and(|drained| std::mem::replace(drained, true))
            }
        }
    }

    fn longest_pause(&self, failed: bool) -> Duration {
        let addresses = self.drained.len().max(1);
        let whole_round = failed && self.failures.is_multiple_of(addresses);
        let rounds = if whole_round {
            self.failures / addresses
        } else {
            0
        };
        RECONNECT_BASE
            .saturating_mul(1 << rounds.min(16))
            .min(RECONNECT_MAX)
    }
}

impl Ending {
    const fn lasted(self) -> Duration {
        match self {
            Self::Failed => Duration::ZERO,
            Self::Lost { lasted } | Self::Drained { lasted, .. } => lasted,
        }
    }

    fn asked(self) -> Duration {
        match self {
            Self::Drained { delay, .. } => delay.min(LONGEST_DRAIN),
            Self::Failed | Self::Lost { .. } => Duration::ZERO,
        }
    }
}

fn full_jitter(longest: Duration, random: u64) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    longest.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: u64 = u64::MAX;
    const BRIEF: Duration = Duration::from_secs(1);

    fn lost(lasted: Duration) -> Ending {
        Ending::Lost { lasted }
    }

    fn drained(lasted: Duration, delay: Duration) -> Ending {
        Ending::Drained { lasted, delay }
    }

    /// What each ending leads to: the next address, and the longest pause before it, in ms.
    fn walk(addresses: usize, endings: &[Ending]) -> Vec<(usize, u128)> {
        let mut route = Route::new(addresses);
        let mut leave = |ending: &Ending| {
            let pause = route.leave(*ending, LONGEST);
            (route.at(), (pause + Duration::from_micros(1)).as_millis())
        };
        endings.iter().map(&mut leave).collect()
    }

    #[test]
    fn one_address_backs_off_from_its_first_failure_to_the_bound() {
        let walked = walk(1, &[Ending::Failed; 9]);
        let pauses: Vec<_> = walked.iter().map(|(_, pause)| *pause).collect();
        assert_eq!(
            pauses,
            [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]
        );
    }

    #[test]
    fn only_a_whole_round_of_failures_lets_the_pause_grow() {
        let walked = walk(3, &[Ending::Failed; 7]);
        let round = [(1, 100), (2, 100), (0, 200), (1, 100), (2, 100), (0, 400)];
        assert_eq!(walked[..6], round);
        assert_eq!(walked[6], (1, 100));
    }

    #[test]
    fn a_settled_session_makes_everything_quick_again() {
        let endings = [
            Ending::Failed,
            Ending::Failed,
            Ending::Failed,
            lost(SETTLED),
        ];
        assert_eq!(walk(1, &endings).last(), Some(&(0, 100)));
        let after = [&endings[..], &[Ending::Failed; 2]].concat();
        assert_eq!(walk(2, &after)[3..], [(0, 100), (1, 100), (0, 200)]);
    }

    #[test]
    fn a_session_that_breaks_early_is_a_failure_of_its_address() {
        assert_eq!(walk(2, &[lost(BRIEF); 4])[3], (0, 400));
    }

    #[test]
    fn a_drain_leads_elsewhere_after_its_delay_and_is_no_failure() {
        let second = Duration::from_secs(2);
        let walked = walk(2, &[drained(BRIEF, second), Ending::Failed, Ending::Failed]);
        assert_eq!(walked, [(1, 2100), (0, 100), (1, 200)]);
    }

    #[test]
    fn no_server_keeps_a_process_away_for_longer_than_the_bound() {
        let century = Duration::from_secs(100 * 365 * 86_400);
        let walked = walk(1, &[drained(SETTLED, century)]);
        assert_eq!(walked, [(0, LONGEST_DRAIN.as_millis() + 100)]);
    }

    #[test]
    fn an_address_that_drains_again_before_a_session_settles_counts_as_failed() {
        let at_once = drained(Duration::ZERO, Duration::ZERO);
        let pauses = walk(1, &[at_once; 4]);
        assert_eq!(pauses, [(0, 100), (0, 200), (0, 400), (0, 800)]);
        let settled = [at_once, drained(SETTLED, Duration::ZERO), at_once];
        assert_eq!(walk(1, &settled), [(0, 100), (0, 100), (0, 200)]);
        // Each of two may once.
        assert_eq!(walk(2, &[at_once; 4])[..2], [(1, 100), (0, 100)]);
    }

    #[test]
    fn a_pause_lies_anywhere_up_to_its_bound() {
        let mut route = Route::new(1);
        assert_eq!(route.leave(Ending::Failed, 0), Duration::ZERO);
        let half = route.leave(Ending::Failed, LONGEST / 2);
        assert_eq!(half.as_millis(), 200, "of up to 400");
    }
}
