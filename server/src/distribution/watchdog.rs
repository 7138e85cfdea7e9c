//! When a session has been quiet for too long, on either side.
//!
//! ```text
//!   nothing sent for a heartbeat interval             -> Beat
//!   nothing heard for three heartbeat intervals       -> End(Silent)
//!   a frame waits for room in the stream for `drain`  -> End(Stalled)
//!   a snapshot waits for its ack for `drain`          -> End(Stalled)
//!   the session has lasted for `age`                  -> End(Retired)
//! ```
//!
//! The two stalls are why this is no business of the response stream: a peer that does not read stops
//! that stream, and every deadline in it.

use std::time::Duration;

use tokio::time::Instant;

use super::end::{Awaited, End};

/// Heartbeat intervals without a word after which a peer is taken for gone.
const SILENT_BEATS: u32 = 3;

/// The timers of one session.
#[derive(Debug)]
pub(super) struct Watchdog {
    heartbeat: Duration,
    drain: Duration,
    age: Duration,
    began: Instant,
    heard: Instant,
    spoke: Instant,
    blocked: Option<Instant>,
    unacked: Option<Instant>,
}

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing before that.
    Wait(Instant),
    /// A heartbeat.
    Beat,
    /// The session's end.
    End(End),
}

impl Watchdog {
    pub(super) fn new(heartbeat: Duration, drain: Duration, age: Duration, now: Instant) -> Self {
        Self {
            heartbeat,
            drain,
            age,
            began: now,
            heard: now,
            spoke: now,
            blocked: None,
            unacked: None,
        }
    }

    /// Something came.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Something was sent.
    pub(super) fn spoke(&mut self, now: Instant) {
        self.spoke = now;
    }

    /// Whether a frame waits for room in the stream.
    pub(super) fn blocked(&mut self, blocked: bool, now: Instant) {
        self.blocked = blocked.then(|| self.blocked.unwrap_or(now));
    }

    /// A snapshot was sent (`Some`), or nothing waits for an ack any more.
    pub(super) fn unacked(&mut self, since: Option<Instant>) {
        self.unacked = since;
    }

    /// What is due at `now`.
    pub(super) fn look(&self, now: Instant) -> Due {
        let silent = self.heartbeat * SILENT_BEATS;
        let ends = [
            (Some(self.heard), silent, End::Silent { after: silent }),
            (self.blocked, self.drain, self.stalled(Awaited::Room)),
            (self.unacked, self.drain, self.stalled(Awaited::Ack)),
            (Some(self.began), self.age, End::Retired { after: self.age }),
        ];
        let mut next = self.spoke + self.heartbeat;
        for (since, limit, end) in ends {
            let Some(deadline) = since.map(|since| since + limit) else {
                continue;
            };
            if deadline <= now {
                return Due::End(end);
            }
            next = next.min(deadline);
        }
        if self.spoke + self.heartbeat <= now {
            return Due::Beat;
        }
        Due::Wait(next)
    }

    fn stalled(&self, awaited: Awaited) -> End {
        let after = self.drain;
        End::Stalled { awaited, after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_secs(10);
    const DRAIN: Duration = Duration::from_secs(25);
    const AGE: Duration = Duration::from_secs(3600);

    fn start() -> (Watchdog, Instant) {
        let now = Instant::now();
        (Watchdog::new(BEAT, DRAIN, AGE, now), now)
    }

    #[test]
    fn who_has_nothing_to_say_beats_once_an_interval() {
        let (mut watchdog, start) = start();
        assert_eq!(watchdog.look(start), Due::Wait(start + BEAT));
        assert_eq!(watchdog.look(start + BEAT), Due::Beat);
        watchdog.spoke(start + BEAT);
        assert_eq!(watchdog.look(start + BEAT), Due::Wait(start + 2 * BEAT));
    }

    #[test]
    fn a_peer_silent_for_three_intervals_is_gone() {
        let (mut watchdog, start) = start();
        let end = Due::End(End::Silent { after: 3 * BEAT });
        watchdog.spoke(start + 3 * BEAT);
        assert_eq!(watchdog.look(start + 3 * BEAT), end);
        watchdog.heard(start + BEAT);
        assert_eq!(watchdog.look(start + 3 * BEAT), Due::Wait(start + 4 * BEAT));
    }

    #[test]
    fn an_unacknowledged_snapshot_ends_the_session_even_if_the_peer_is_heard() {
        let (mut watchdog, start) = start();
        watchdog.unacked(Some(start));
        watchdog.heard(start + DRAIN);
        let end = End::Stalled {
            awaited: Awaited::Ack,
            after: DRAIN,
        };
        assert_eq!(watchdog.look(start + DRAIN), Due::End(end));
        watchdog.unacked(None);
        assert_eq!(watchdog.look(start + DRAIN), Due::Beat);
    }

    #[test]
    fn a_session_that_has_lasted_its_age_is_retired_however_lively() {
        let (mut watchdog, start) = start();
        watchdog.heard(start + AGE);
        watchdog.spoke(start + AGE);
        assert_eq!(
            watchdog.look(start + AGE),
            Due::End(End::Retired { after: AGE })
        );
    }

    #[test]
    fn waiting_for_room_counts_from_its_beginning() {
        let (mut watchdog, start) = start();
        watchdog.blocked(true, start);
        watchdog.blocked(true, start + BEAT);
        let end = End::Stalled {
            awaited: Awaited::Room,
            after: DRAIN,
        };
        assert_eq!(watchdog.look(start + DRAIN), Due::End(end));
        watchdog.blocked(false, start + DRAIN);
        assert_eq!(watchdog.look(start + DRAIN), Due::Beat);
    }
}
