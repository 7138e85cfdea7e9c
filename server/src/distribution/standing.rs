//! Where one process stands: what it was sent, what it made of that, what it refuses.
//!
//! [`Subscription`] decides what is sent when; this keeps, beside it, the refusals that belong to
//! what is under way. They count once the process acknowledges, together with the revision. Told
//! that it is up to date a process goes on refusing what it refused; a whole new set starts from
//! nothing refused.

use std::sync::Arc;

use fusebox_core::revision::Revision;
use fusebox_core::stats::RefusedPolicy;
use fusebox_core::sync::{Command, Known, Subscription, UnexpectedAck};

use super::frame::Frame;
use super::hub::Edition;

/// One session's standing.
#[derive(Debug)]
pub(super) struct Standing {
    subscription: Subscription,
    latest: Arc<Edition>,
    under_way: Option<UnderWay>,
    refused: Vec<RefusedPolicy>,
}

#[derive(Debug)]
struct UnderWay {
    revision: Revision,
    refused: Vec<RefusedPolicy>,
}

/// What to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dispatch {
    Snapshot(Frame),
    UpToDate(Frame),
}

/// A refusal of something that was not under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused policies of revision {nacked}, but {} is under way", in_words(*.expected))]
pub(super) struct UnexpectedNack {
    nacked: Revision,
    expected: Option<Revision>,
}

fn in_words(revision: Option<Revision>) -> String {
    revision.map_or_else(|| "nothing".to_owned(), |revision| revision.to_string())
}

impl Standing {
    /// A process that holds `known` and refuses `refused` of it, in an audience of `edition`. Says
    /// what to send first.
    pub(super) fn new(
        known: Known,
        refused: Vec<RefusedPolicy>,
        edition: Arc<Edition>,
    ) -> (Self, Option<Dispatch>) {
        let mut standing = Self {
            subscription: Subscription::new(known),
            latest: Arc::clone(&edition),
            under_way: None,
            refused,
        };
        let first = standing.offer(edition);
        (standing, first)
    }

    /// Takes note of a newer edition; says what to send now.
    pub(super) fn offer(&mut self, edition: Arc<Edition>) -> Option<Dispatch> {
        let command = self.subscription.offer(Arc::clone(&edition.snapshot));
        self.latest = edition;
        command.map(|command| self.dispatch(command))
    }

    /// The process does not enforce these policies of `revision`.
    pub(super) fn nack(
        &mut self,
        revision: Revision,
        refused: Vec<RefusedPolicy>,
    ) -> Result<(), UnexpectedNack> {
        match &mut self.under_way {
            Some(under_way) if under_way.revision == revision => {
                under_way.refused = refused;
                Ok(())
            }
            other => Err(UnexpectedNack {
                nacked: revision,
                expected: other.as_ref().map(|under_way| under_way.revision),
            }),
        }
    }

    /// The process enforces `revision`, but for what it refused. Says what to send next.
    pub(super) fn ack(&mut self, revision: Revision) -> Result<Option<Dispatch>, UnexpectedAck> {
        let next = self.subscription.ack(revision)?;
        if let Some(UnderWay { refused, .. }) = self.under_way.take() {
            self.refused = refused;
        }
        Ok(next.map(|command| self.dispatch(command)))
    }

    /// The edition that was offered last.
    pub(super) fn latest(&self) -> &Edition {
        &self.latest
    }

    /// What it refuses of what it last acknowledged.
    pub(super) fn refused(&self) -> &[RefusedPolicy] {
        &self.refused
    }

    /// A command is always about the edition that was offered last.
    fn dispatch(&mut self, command: Command) -> Dispatch {
        let (snapshot, refused, dispatch) = match command {
            Command::Send(snapshot) => (
                snapshot,
                Vec::new(),
                Dispatch::Snapshot(self.latest.frame()),
            ),
            Command::UpToDate(snapshot) => {
                let frame = Frame::up_to_date(&snapshot);
                (snapshot, self.refused.clone(), Dispatch::UpToDate(frame))
            }
        };
        debug_assert!(Arc::ptr_eq(&snapshot, &self.latest.snapshot));
        let revision = snapshot.revision;
        self.under_way = Some(UnderWay { revision, refused });
        dispatch
    }
}

#[cfg(test)]
mod tests {
    use fusebox_core::key::PolicyName;
    use fusebox_core::revision::{Digest, Incarnation};
    use fusebox_core::sync::Snapshot;

    use super::*;

    fn edition(revision: u64, digest: u64) -> Arc<Edition> {
        let snapshot = Snapshot {
            incarnation: Incarnation(7),
            adopted: false,
            revision: Revision(revision),
            digest: Digest(digest),
            policies: Vec::new(),
            overrides: Vec::new(),
        };
        Edition::new(Arc::new(snapshot))
    }

    fn refused(policy: &str) -> RefusedPolicy {
        RefusedPolicy {
            policy: PolicyName::new(policy).unwrap(),
            revision: Revision(1),
            field: String::new(),
            reason: String::new(),
        }
    }

    fn known(edition: &Edition) -> Known {
        Known {
            incarnation: Some(edition.snapshot.incarnation),
            revision: edition.snapshot.revision,
            digest: edition.snapshot.digest,
        }
    }

    #[test]
    fn refusals_count_with_the_ack_that_follows_them() {
        let (mut standing, first) = Standing::new(Known::nothing(), Vec::new(), edition(1, 1));
        assert_eq!(first, Some(Dispatch::Snapshot(edition(1, 1).frame())));
        standing.nack(Revision(1), vec![refused("a")]).unwrap();
        assert_eq!(standing.refused(), []);
        standing.ack(Revision(1)).unwrap();
        assert_eq!(standing.refused(), [refused("a")]);
    }

    #[test]
    fn told_that_it_is_up_to_date_a_process_goes_on_refusing_what_it_refused() {
        let held = edition(1, 1);
        let (mut standing, first) = Standing::new(known(&held), vec![refused("a")], edition(2, 1));
        assert!(matches!(first, Some(Dispatch::UpToDate(_))));
        standing.ack(Revision(2)).unwrap();
        assert_eq!(standing.refused(), [refused("a")]);
    }

    #[test]
    fn a_new_set_starts_from_nothing_refused() {
        let held = edition(1, 1);
        let (mut standing, _) = Standing::new(known(&held), vec![refused("a")], edition(2, 2));
        standing.ack(Revision(2)).unwrap();
        assert_eq!(standing.refused(), []);
    }

    #[test]
    fn refusals_of_something_else_change_nothing() {
        let (mut standing, _) = Standing::new(Known::nothing(), Vec::new(), edition(1, 1));
        assert!(standing.nack(Revision(9), vec![refused("a")]).is_err());
        standing.ack(Revision(1)).unwrap();
        assert_eq!(standing.refused(), []);
        assert!(standing.nack(Revision(1), vec![refused("a")]).is_err());
    }

    #[test]
    fn what_follows_an_ack_is_the_latest_edition() {
        let (mut standing, _) = Standing::new(Known::nothing(), Vec::new(), edition(1, 1));
        assert_eq!(standing.offer(edition(2, 2)), None);
        assert_eq!(standing.offer(edition(3, 3)), None);
        let next = standing.ack(Revision(1)).unwrap();
        assert_eq!(next, Some(Dispatch::Snapshot(edition(3, 3).frame())));
    }
}
