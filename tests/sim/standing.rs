//! Where one process stands with its server: core's [`Subscription`], and beside it the refusals
//! that belong to what is under way, as the server keeps them.

use std::sync::Arc;

use fusebox_core::revision::Revision;
use fusebox_core::stats::RefusedPolicy;
use fusebox_core::sync::{Command, Known, Snapshot, Subscription};

#[derive(Debug)]
pub(crate) struct Standing {
    subscription: Subscription,
    under_way: Option<(Revision, Vec<RefusedPolicy>)>,
    refused: Vec<RefusedPolicy>,
}

impl Standing {
    pub(crate) fn new(known: Known, refused: Vec<RefusedPolicy>) -> Self {
        Self {
            subscription: Subscription::new(known),
            under_way: None,
            refused,
        }
    }

    pub(crate) fn offer(&mut self, snapshot: Arc<Snapshot>) -> Option<Command> {
        let command = self.subscription.offer(snapshot);
        self.sent(command)
    }

    pub(crate) fn nack(&mut self, revision: Revision, refused: Vec<RefusedPolicy>) -> bool {
        match &mut self.under_way {
            Some((under_way, of_it)) if *under_way == revision => {
                *of_it = refused;
                true
            }
            _ => false,
        }
    }

    /// `None`: it makes no sense.
    pub(crate) fn ack(&mut self, revision: Revision) -> Option<Option<Command>> {
        let next = self.subscription.ack(revision).ok()?;
        if let Some((_, refused)) = self.under_way.take() {
            self.refused = refused;
        }
        Some(self.sent(next))
    }

    pub(crate) fn under_way(&self) -> Option<Revision> {
        self.under_way.as_ref().map(|(revision, _)| *revision)
    }

    pub(crate) fn refused(&self) -> &[RefusedPolicy] {
        &self.refused
    }

    fn sent(&mut self, command: Option<Command>) -> Option<Command> {
        self.under_way = match &command {
            None => return None,
            Some(Command::Send(snapshot)) => Some((snapshot.revision, Vec::new())),
            Some(Command::UpToDate(snapshot)) => Some((snapshot.revision, self.refused.clone())),
        };
        command
    }
}
