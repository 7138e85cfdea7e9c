//! Whom a write concerns, who lacks a revision, and what each session is to have: what others in
//! this server ask of the roster.

use std::collections::HashSet;
use std::time::Duration;

use fusebox_core::revision::Revision;
use fusebox_core::stats::SessionId;
use fusebox_core::sync::{Reach, Rewrite, Scope, Wanted};

use super::Distribution;

impl Distribution {
    /// How many connected processes `writes` concern.
    pub(crate) fn reach(&self, writes: &[Rewrite<'_>]) -> Reach {
        self.hub.roll().reach(writes)
    }

    /// The sessions whose processes do not enforce `revision`, or refuse some of it.
    pub(crate) fn lacking(&self, revision: Revision, scope: &Scope) -> HashSet<SessionId> {
        self.hub.roll().lacking(revision, scope)
    }

    /// What each of `sessions` is to have; none for what is over.
    pub(crate) fn wanted(&self, sessions: &[Option<SessionId>]) -> Vec<Option<Wanted>> {
        self.hub.roll().wanted(sessions)
    }

    /// Silent for longer than this a process is stale: a heartbeat that did not come, and half an
    /// interval for its way.
    pub(crate) fn stale_after(&self) -> Duration {
        self.pace.heartbeat_interval * 3 / 2
    }
}
