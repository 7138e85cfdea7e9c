//! What the fleet remembers of one process, whichever sessions it came by.
//!
//! ```text
//!            connect                disconnect of the *current* session
//!   (new) ------------> connected ---------------------------------------> gone --> forgotten
//!                       |   ^  connect: the newer session supersedes         |   after retention
//!                       +---+<-----------------------------------------------+
//! ```
//!
//! Invariant: only the newest session speaks for an instance. A late disconnect of an older one
//! says nothing.

use std::collections::HashSet;
use std::time::Duration;

use crate::revision::Revision;
use crate::time::Instant;

use super::report::{InstanceFacts, RefusedPolicy, SessionId, bounded};
use super::view::{InstanceQuery, InstanceView};
use super::{InstanceKey, MAX_REFUSED_POLICIES};

#[derive(Debug)]
pub(super) struct Instance {
    pub(super) key: InstanceKey,
    facts: InstanceFacts,
    session: Option<SessionId>,
    /// When that began.
    connected: Instant,
    seen: Instant,
    /// When its last report came.
    reported: Option<Instant>,
    /// Whether some operation of it was not counted for want of room: then an operation that
    /// appears later may have been counting for long.
    incomplete: bool,
    applied: Revision,
    refused: Vec<RefusedPolicy>,
    pub(super) operations: usize,
}

impl Instance {
    pub(super) fn new(key: InstanceKey, now: Instant) -> Self {
        Self {
            key,
            facts: InstanceFacts::default(),
            session: None,
            connected: now,
            seen: now,
            reported: None,
            incomplete: false,
            applied: Revision::ZERO,
            refused: Vec::new(),
            operations: 0,
        }
    }

    /// Gives the instance to `session`; the answer is the session it had.
    pub(super) fn connect(
        &mut self,
        session: SessionId,
        facts: &InstanceFacts,
        now: Instant,
    ) -> Option<SessionId> {
        self.facts = InstanceFacts {
            version: bounded(&facts.version).into(),
            zone: bounded(&facts.zone).into(),
            labels: facts.labels.clone(),
            sdk_version: bounded(&facts.sdk_version).into(),
        };
        self.seen = now;
        self.connected = now;
        self.session.replace(session)
    }

    pub(super) fn disconnect(&mut self) {
        self.session = None;
    }

    pub(super) fn touch(&mut self, now: Instant) {
        self.seen = self.seen.max(now);
    }

    /// Notes a report that lost some operations for want of room, or none.
    pub(super) fn note_report(&mut self, complete: bool, now: Instant) {
        self.reported = self.reported.max(Some(now));
        self.incomplete |= !complete;
    }

    /// Notes what it enforces and what it refuses of that; the answer is how many refused policies
    /// were more than are remembered.
    pub(super) fn note_applied(
        &mut self,
        applied: Revision,
        mut refused: Vec<RefusedPolicy>,
    ) -> usize {
        let over = refused.len().saturating_sub(MAX_REFUSED_POLICIES);
        refused.truncate(MAX_REFUSED_POLICIES);
        for refusal in &mut refused {
            refusal.field = bounded(&refusal.field).into();
            refusal.reason = bounded(&refusal.reason).into();
        }
        self.applied = applied;
        self.refused = refused;
        over
    }

    /// Whether it is among those asked for.
    pub(super) fn is_in(&self, query: &InstanceQuery<'_>) -> bool {
        let session = |among: &HashSet<SessionId>| {
            self.session.is_some_and(|session| among.contains(&session))
        };
        query.sessions.is_none_or(session) && self.facts.carries(query.labels)
    }

    pub(super) fn facts(&self) -> &InstanceFacts {
        &self.facts
    }

    pub(super) fn is_connected(&self) -> bool {
        self.session.is_some()
    }

    /// Since when it has been gone; `None` while it is connected.
    pub(super) fn gone_since(&self) -> Option<Instant> {
        (!self.is_connected()).then_some(self.seen)
    }

    pub(super) fn reported(&self) -> Option<Instant> {
        self.reported
    }

    /// Whether an operation it has not told of before must have begun since its last report.
    pub(super) fn new_operations_start_at_zero(&self) -> bool {
        self.reported.is_some() && !self.incomplete
    }

    /// Whether what a report adds has happened lately enough to count in rates: figures that cover
    /// a long silence say nothing about the last seconds.
    pub(super) fn is_fresh(&self, stale_after: Duration, now: Instant) -> bool {
        self.reported
            .is_none_or(|reported| now.since(reported) <= stale_after)
    }

    pub(super) fn view(&self, duplicate: bool, now: Instant) -> InstanceView {
        InstanceView {
            key: self.key.clone(),
            facts: self.facts.clone(),
            session: self.session,
            connected: self.is_connected(),
            connected_for: self.session.map(|_| now.since(self.connected)),
            duplicate,
            last_seen: now.since(self.seen),
            applied: self.applied,
            refused: self.refused.clone(),
            operations: self.operations,
        }
    }
}
