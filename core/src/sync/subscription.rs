//! What one session is sent, and when.
//!
//! ```text
//!              offer                  offer (kept as pending, latest wins)
//!   IDLE ----------------> IN FLIGHT ------------------------------------+
//!    ^        send            |  ^                                       |
//!    |                        |  +---------------------------------------+
//!    +------------------------+
//!        ack, nothing pending      (ack with one pending: send it, stay in flight)
//! ```

use std::sync::Arc;

use super::history::Snapshot;
use super::replica::Known;
use crate::revision::Revision;

/// One session's side of the conversation, as the server keeps it.
#[derive(Debug)]
pub struct Subscription {
    known: Known,
    in_flight: Option<Revision>,
    pending: Option<Arc<Snapshot>>,
    acked: Option<Revision>,
}

/// What to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The process holds this set already.
    UpToDate(Arc<Snapshot>),
    /// The whole set.
    Send(Arc<Snapshot>),
}

/// An acknowledgement of something that was not under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("acknowledged revision {acked}, but {}", Expected(*.expected))]
pub struct UnexpectedAck {
    /// What came.
    pub acked: Revision,
    /// What would have been right; `None` if nothing is under way.
    pub expected: Option<Revision>,
}

struct Expected(Option<Revision>);

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(revision) => write!(f, "{revision} is under way"),
            None => f.write_str("nothing is under way"),
        }
    }
}

impl Subscription {
    /// A session whose process told in its Hello what it holds.
    pub fn new(known: Known) -> Self {
        Self {
            known,
            in_flight: None,
            pending: None,
            acked: None,
        }
    }

    /// The audience's snapshot, at the start and after every change. Says what to send, if anything
    /// may be sent now.
    pub fn offer(&mut self, snapshot: Arc<Snapshot>) -> Option<Command> {
        if self.in_flight.is_some() {
            self.pending = Some(snapshot);
            return None;
        }
        self.send(snapshot)
    }

    /// The process enforces `revision`. Says what to send next, if something came meanwhile.
    pub fn ack(&mut self, revision: Revision) -> Result<Option<Command>, UnexpectedAck> {
        if self.in_flight != Some(revision) {
            return Err(UnexpectedAck {
                acked: revision,
                expected: self.in_flight,
            });
        }
        self.in_flight = None;
        self.acked = Some(revision);
        Ok(self.pending.take().and_then(|snapshot| self.send(snapshot)))
    }

    /// The last revision the process acknowledged in this session.
    pub fn acked(&self) -> Option<Revision> {
        self.acked
    }

    fn send(&mut self, snapshot: Arc<Snapshot>) -> Option<Command> {
        let known = &mut self.known;
        if known.incarnation == Some(snapshot.incarnation) && known.revision > snapshot.revision {
            // It has seen more than this server: an older set would be refused. What it knows will
            // come by here, too.
            if known.digest != snapshot.digest {
                return None;
            }
        }
        self.in_flight = Some(snapshot.revision);
        let holds_it =
            known.incarnation == Some(snapshot.incarnation) && known.digest == snapshot.digest;
        // A process that holds this set as of a later revision stays there: what lies between would
        // be refused as stale.
        let floor = if holds_it {
            known.revision
        } else {
            Revision::ZERO
        };
        known.incarnation = Some(snapshot.incarnation);
        known.revision = snapshot.revision.max(floor);
        known.digest = snapshot.digest;
        Some(if holds_it {
            Command::UpToDate(snapshot)
        } else {
            Command::Send(snapshot)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::snapshot;
    use super::*;

    fn fresh() -> Subscription {
        Subscription::new(Known::nothing())
    }

    #[test]
    fn a_process_that_holds_nothing_is_sent_everything() {
        let first = snapshot(1, &[("a", 1)]);
        assert_eq!(
            fresh().offer(Arc::clone(&first)),
            Some(Command::Send(first))
        );
    }

    #[test]
    fn a_process_that_holds_the_set_is_told_so_and_sent_nothing() {
        let held = snapshot(5, &[("a", 1)]);
        let known = Known {
            incarnation: Some(held.incarnation),
            revision: Revision(3),
            digest: held.digest,
        };
        let command = Subscription::new(known).offer(Arc::clone(&held));
        assert_eq!(command, Some(Command::UpToDate(held)));
    }

    #[test]
    fn the_same_set_in_another_incarnation_is_sent_anew() {
        let held = snapshot(5, &[("a", 1)]);
        let known = Known {
            incarnation: Some(crate::revision::Incarnation(99)),
            revision: Revision(5),
            digest: held.digest,
        };
        let command = Subscription::new(known).offer(Arc::clone(&held));
        assert_eq!(command, Some(Command::Send(held)));
    }

    #[test]
    fn a_process_of_another_life_is_sent_even_an_empty_set_and_holds_it_from_then_on() {
        let other = Known {
            incarnation: Some(crate::revision::Incarnation(99)),
            ..snapshot(5, &[("a", 1)]).known()
        };
        let empty = snapshot(0, &[]);
        let command = Subscription::new(other).offer(Arc::clone(&empty));
        assert_eq!(command, Some(Command::Send(Arc::clone(&empty))));
        let again = Subscription::new(empty.known()).offer(Arc::clone(&empty));
        assert_eq!(again, Some(Command::UpToDate(empty)));
    }

    #[test]
    fn one_snapshot_is_under_way_and_the_latest_of_those_that_came_meanwhile_follows() {
        let mut subscription = fresh();
        subscription.offer(snapshot(1, &[("a", 1)]));
        assert_eq!(subscription.offer(snapshot(2, &[("a", 2)])), None);
        let latest = snapshot(3, &[("a", 3)]);
        assert_eq!(subscription.offer(Arc::clone(&latest)), None);
        assert_eq!(
            subscription.ack(Revision(1)),
            Ok(Some(Command::Send(latest)))
        );
        assert_eq!(subscription.ack(Revision(3)), Ok(None));
        assert_eq!(subscription.acked(), Some(Revision(3)));
    }

    #[test]
    fn a_change_that_was_undone_meanwhile_costs_no_second_snapshot() {
        let mut subscription = fresh();
        subscription.offer(snapshot(1, &[("a", 1)]));
        let same = snapshot(3, &[("a", 1)]);
        subscription.offer(snapshot(2, &[("a", 1), ("b", 2)]));
        subscription.offer(Arc::clone(&same));
        assert_eq!(
            subscription.ack(Revision(1)),
            Ok(Some(Command::UpToDate(same)))
        );
    }

    #[test]
    fn an_ack_of_something_never_sent_is_refused_and_changes_nothing() {
        let mut subscription = fresh();
        let nothing = UnexpectedAck {
            acked: Revision(9),
            expected: None,
        };
        assert_eq!(subscription.ack(Revision(9)), Err(nothing));
        subscription.offer(snapshot(1, &[]));
        let error = subscription.ack(Revision(9)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "acknowledged revision 9, but 1 is under way"
        );
        assert_eq!(subscription.acked(), None);
    }

    #[test]
    fn a_server_behind_a_process_that_holds_the_same_set_sends_nothing_in_between() {
        let known = Known {
            revision: Revision(10),
            ..snapshot(10, &[("a", 1)]).known()
        };
        let mut subscription = Subscription::new(known);
        assert!(subscription.offer(snapshot(8, &[("a", 1)])).is_some());
        subscription.ack(Revision(8)).unwrap();
        assert_eq!(subscription.offer(snapshot(9, &[("a", 1), ("b", 9)])), None);
        assert!(subscription.offer(snapshot(10, &[("a", 1)])).is_some());
    }

    #[test]
    fn a_server_behind_the_process_waits_until_it_has_caught_up() {
        let known = Known {
            revision: Revision(10),
            ..snapshot(10, &[("a", 10)]).known()
        };
        let mut subscription = Subscription::new(known);
        assert_eq!(subscription.offer(snapshot(8, &[("a", 8)])), None);
        let caught_up = snapshot(10, &[("a", 10)]);
        let command = subscription.offer(Arc::clone(&caught_up));
        assert_eq!(command, Some(Command::UpToDate(caught_up)));
    }
}
