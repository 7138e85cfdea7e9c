//! Who is connected, and how far each process is: one integer a session, and what it refuses.
//!
//! ```text
//!   open      an audience begins to be told of its changes, from a snapshot on
//!   join      a process takes its place there;  acked  it is so far;  leave
//!   advance   a write has changed these audiences' snapshots; before anybody is told of it
//!   close     nobody listens for the audience any more
//! ```
//!
//! A session **has** a revision R once it has acknowledged, in this session, a revision at or above
//! its audience's last change at or below R. So a write that changes nothing for an audience is
//! there at once. It **refuses** R if it has answered for R and refuses some of what that change
//! said; what it refused of earlier ones hides no later one.
//!
//! Invariants: a process has one place, that of its newest session; whatever an older one still says
//! changes nothing. Nobody has a revision above the roster's own. Where changes are forgotten or
//! were never seen, more is asked of a session than it needs, never less.

mod census;
mod changes;
mod crowd;
mod departures;
mod pulse;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::history::{Audience, Snapshot};
use super::replica::Refusal;
use crate::key::{InstanceKey, Labels, Namespace, Service, SessionId};
use crate::revision::Revision;
use crate::time::Instant;

pub use census::{Census, Reach, Rewrite};
pub use changes::MAX_CHANGES;
use crowd::{Crowd, Touch};
use departures::Departures;
pub use departures::{MAX_DEPARTED, Mark};
pub use pulse::Pulse;

/// Processes that [`Roster::examples`] names at most.
pub const MAX_EXAMPLES: usize = 20;

/// Every session of one server.
#[derive(Debug)]
pub struct Roster {
    revision: Revision,
    crowds: BTreeMap<Audience, Crowd>,
    seats: HashMap<SessionId, Seat>,
    holders: HashMap<InstanceKey, SessionId>,
    departures: Departures,
}

#[derive(Debug)]
struct Seat {
    audience: Audience,
    /// Its place in the audience's crowd.
    at: usize,
}

/// A process that takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which one.
    pub key: InstanceKey,
    /// What selectors find of it.
    pub labels: Labels,
    /// The highest schema number its SDK enforces.
    pub schema: u32,
}

/// Whose processes are asked for; what is `None` takes everybody's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Only this tenant's.
    pub namespace: Option<Namespace>,
    /// Only this service's.
    pub service: Option<Service>,
}

impl Scope {
    fn takes(&self, namespace: &Namespace, service: &Service) -> bool {
        self.namespace.as_ref().is_none_or(|only| only == namespace)
            && self.service.as_ref().is_none_or(|only| only == service)
    }
}

/// How many connected processes stand where, as to one revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Enforce it.
    pub applied: usize,
    /// Have not answered for it.
    pub pending: usize,
    /// Have answered, and do not enforce some of what it changed.
    pub refused: usize,
    /// Among the pending, those that are silent.
    pub stale: usize,
}

impl Standing {
    /// All that are connected.
    pub const fn connected(&self) -> usize {
        self.applied + self.pending + self.refused
    }
}

/// A process that lacks a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Laggard {
    /// Which one.
    pub key: InstanceKey,
    /// The last revision it acknowledged in its session.
    pub acked: Option<Revision>,
    /// What it refuses of what the revision changed; empty: it has not answered.
    pub refusals: Vec<Refusal>,
}

/// What a session is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The last change of its audience.
    pub revision: Revision,
    /// The highest schema number its SDK enforces.
    pub schema: u32,
}

/// What happens.
impl Roster {
    /// Of a server that has seen its store up to `revision`.
    pub fn new(revision: Revision) -> Self {
        Self {
            revision,
            crowds: BTreeMap::new(),
            seats: HashMap::new(),
            holders: HashMap::new(),
            departures: Departures::default(),
        }
    }

    /// From now on `audience` is told of its changes; until now it holds `snapshot`.
    pub fn open(&mut self, audience: &Audience, snapshot: &Snapshot) {
        let crowd = self.crowds.entry(audience.clone()).or_default();
        crowd.open(snapshot);
    }

    /// Nobody listens for `audience` any more; whoever still has a place there is about to leave.
    pub fn close(&mut self, audience: &Audience) {
        if let Some(crowd) = self.crowds.get_mut(audience) {
            crowd.close();
            self.forget_if_over(audience);
        }
    }

    /// A process takes its place among an audience that is open, by its `session`; it is heard as
    /// of `now`, and from then on by the pulse. Of two sessions of one process the one with the
    /// higher number has the place, whichever comes first.
    pub fn join(&mut self, session: SessionId, member: Member, now: Instant) -> Arc<Pulse> {
        let pulse = Arc::new(Pulse::new(now));
        let holder = self.holders.get(&member.key).copied();
        if holder.is_some_and(|holder| holder > session) {
            return pulse;
        }
        if let Some(superseded) = holder {
            self.vacate(superseded);
        }
        self.departures.back(&member.key);
        self.holders.insert(member.key.clone(), session);
        let audience = Audience {
            namespace: member.key.namespace.clone(),
            service: member.key.service.clone(),
        };
        let crowd = self.crowds.entry(audience.clone()).or_default();
        let at = crowd.join(session, member, Arc::clone(&pulse));
        self.seats.insert(session, Seat { audience, at });
        pulse
    }

    /// A session is over.
    pub fn leave(&mut self, session: SessionId) {
        if let Some((key, through)) = self.vacate(session) {
            self.holders.remove(&key);
            self.departures.left(key, through);
        }
    }

    /// A session's process enforces `revision`, but for what it refuses.
    pub fn acked(&mut self, session: SessionId, revision: Revision, refusals: Vec<Refusal>) {
        let Some(seat) = self.seats.get(&session) else {
            return;
        };
        if let Some(crowd) = self.crowds.get_mut(&seat.audience) {
            crowd.acked(seat.at, revision, refusals);
        }
    }

    /// The write at `revision` has changed the snapshots of `changed`. To be told before they are;
    /// a repetition changes nothing.
    pub fn advance<'a>(
        &mut self,
        revision: Revision,
        changed: impl IntoIterator<Item = &'a Audience>,
    ) {
        if revision > self.revision {
            self.note(revision, revision, changed);
        }
    }

    /// As [`advance`](Self::advance), of all writes behind the last one up to `revision`, none of
    /// which was seen by itself.
    pub fn catch_up<'a>(
        &mut self,
        revision: Revision,
        changed: impl IntoIterator<Item = &'a Audience>,
    ) {
        let from = self.revision.next().min(revision);
        self.note(from, revision, changed);
    }

    fn note<'a>(
        &mut self,
        from: Revision,
        revision: Revision,
        changed: impl IntoIterator<Item = &'a Audience>,
    ) {
        self.revision = self.revision.max(revision);
        for audience in changed {
            if let Some(crowd) = self.crowds.get_mut(audience) {
                crowd.changed(from, revision);
            }
        }
    }

    /// Takes a session from its place; the answer is whose it was, and up to which revision that
    /// process had everything.
    fn vacate(&mut self, session: SessionId) -> Option<(InstanceKey, Option<Revision>)> {
        let Seat { audience, at } = self.seats.remove(&session)?;
        let crowd = self.crowds.get_mut(&audience)?;
        let through = crowd.through(at, self.revision);
        let (key, moved) = crowd.leave(at);
        if let Some(seat) = moved.and_then(|moved| self.seats.get_mut(&moved)) {
            seat.at = at;
        }
        self.forget_if_over(&audience);
        Some((key, through))
    }

    fn forget_if_over(&mut self, audience: &Audience) {
        if self.crowds.get(audience).is_some_and(Crowd::is_over) {
            self.crowds.remove(audience);
        }
    }
}

/// What is asked.
impl Roster {
    /// The last write that is known.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// How many of `scope` stand where as to `revision`. Whoever was last heard before
    /// `silent_before` is silent.
    pub fn standing(&self, revision: Revision, scope: &Scope, silent_before: Instant) -> Standing {
        let mut standing = Standing::default();
        for crowd in self.crowds_in(scope) {
            crowd.count(&mut standing, self.asked(crowd, revision), silent_before);
        }
        standing
    }

    /// The first few of `scope` that lack `revision`: those that refuse some of it, then those that
    /// have not answered for it, each in the order of their keys.
    pub fn examples(&self, revision: Revision, scope: &Scope) -> Vec<Laggard> {
        let (mut refusing, mut pending) = (Vec::new(), Vec::new());
        for crowd in self.crowds_in(scope) {
            let touch = self.asked(crowd, revision);
            crowd.first_lagging(&mut refusing, &mut pending, touch, MAX_EXAMPLES);
        }
        refusing.truncate(MAX_EXAMPLES - pending.len().min(MAX_EXAMPLES / 2));
        pending.truncate(MAX_EXAMPLES - refusing.len());
        refusing.append(&mut pending);
        refusing
    }

    /// Every session of `scope` whose process lacks `revision` or refuses some of it.
    pub fn lacking(&self, revision: Revision, scope: &Scope) -> HashSet<SessionId> {
        let crowds = self.crowds_in(scope);
        crowds
            .flat_map(|crowd| crowd.lacking(self.asked(crowd, revision)))
            .collect()
    }

    /// What a session is to have; `None` if it has no place.
    pub fn wanted(&self, session: SessionId) -> Option<Wanted> {
        let seat = self.seats.get(&session)?;
        self.crowds.get(&seat.audience)?.wanted(seat.at)
    }

    /// From now on it is noted who leaves, until [`unwatch`](Self::unwatch).
    pub fn watch(&mut self) -> Mark {
        self.departures.watch()
    }

    /// Ends a [`watch`](Self::watch); to be called once for each.
    pub fn unwatch(&mut self) {
        self.departures.unwatch();
    }

    /// How many of `scope` have left since `mark` without having answered for `revision`, and have
    /// not come back.
    pub fn gone(&self, revision: Revision, scope: &Scope, mark: Mark) -> usize {
        self.departures.gone(revision, scope, mark)
    }

    /// What is to be acknowledged for `revision`. One that is not here yet nobody has.
    fn asked(&self, crowd: &Crowd, revision: Revision) -> Touch {
        if revision > self.revision {
            return Touch::unseen(revision);
        }
        crowd.touch(revision)
    }

    fn crowds_in<'a>(&'a self, scope: &'a Scope) -> impl Iterator<Item = &'a Crowd> {
        let crowds = self.crowds.iter();
        let wanted = crowds.filter(|(key, _)| scope.takes(&key.namespace, &key.service));
        wanted.map(|(_, crowd)| crowd)
    }
}

#[cfg(test)]
mod tests;
