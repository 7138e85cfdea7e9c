//! What the fleet remembers of one process, whichever sessions it came by.
//!
//! ```text
//!            connect                disconnect of the *current* session
//!   (new) ------------> connected ---------------------------------------> gone --> forgotten
//!                       |   ^  connect: the newer session supersedes         |   after retention
//!                       +---+<-----------------------------------------------+
//! ```
//!
//! Its accounts stand in the order in which it first told of their operations, which is the order in
//! which it goes on telling of them: so each is found where the one before it was left.
//!
//! Invariants: an account keeps its place for as long as the instance is remembered; only the newest session speaks for an instance, and a late disconnect of an older one says nothing.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::key::OperationName;
use crate::revision::Revision;
use crate::time::Instant;

use super::account::Account;
use super::report::{InstanceFacts, RefusedPolicy, SessionId, bounded};
use super::view::{InstanceQuery, InstanceView};
use super::{InstanceKey, MAX_REFUSED_POLICIES};

/// How many accounts are looked at before one is asked for by its name: a report leaves out what has
/// not changed.
const AHEAD: usize = 4;
/// After how many of its report intervals without a report an instance is stale.
const PATIENCE_INTERVALS: u32 = 3;

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
    pub(super) accounts: Vec<Account>,
    /// The places of those that are added up with others, for want of room.
    pub(super) strays: HashMap<OperationName, usize>,
    /// How often it is to report, if it was told.
    interval: Option<Duration>,
    /// For how long it may be silent: that follows from the interval it keeps to, which is not the one
    /// it was told before it has reported again.
    patience: Duration,
}

impl Instance {
    pub(super) fn new(key: InstanceKey, patience: Duration, now: Instant) -> Self {
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
            accounts: Vec::new(),
            strays: HashMap::new(),
            interval: None,
            patience,
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
        if let Some(interval) = self.interval {
            self.patience = interval * PATIENCE_INTERVALS;
        }
    }

    /// Notes how often it is asked to report from now on.
    pub(super) fn note_interval(&mut self, interval: Duration) {
        self.interval = Some(interval);
        self.patience = self.patience.max(interval * PATIENCE_INTERVALS);
    }

    /// For how long it may be silent before it is stale.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// The place of the account that its process calls `name`, if it is where the report has come to.
    pub(super) fn expected(&self, from: usize, name: &str) -> Option<usize> {
        let ahead = self.accounts.iter().enumerate().skip(from).take(AHEAD);
        let mut ahead = ahead.filter(|(_, account)| account.name.as_str() == name);
        ahead.next().map(|(place, _)| place)
    }

    /// The place of the account of that name among those that found no room.
    pub(super) fn stray(&self, name: &str) -> Option<usize> {
        self.strays.get(name).copied()
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

    /// Whether what a report adds, which covers `span`, has happened lately enough to count in rates:
    /// figures that cover a long silence say nothing about the last seconds.
    pub(super) fn is_fresh(&self, span: Duration, now: Instant) -> bool {
        let silence = self.reported.map(|reported| now.since(reported));
        span.max(silence.unwrap_or_default()) <= self.patience
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
            operations: self.accounts.len(),
        }
    }
}
