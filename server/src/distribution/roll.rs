//! Core's roster, shared: one lock around it, one clock for all who are heard, and word of whatever
//! happens for those who wait.
//!
//! Every visit is short, and none asks anybody else while it lasts: the hub calls in here with its
//! own lock held, so that no change is told of before the roster knows that it is wanted.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fusebox_core::revision::Revision;
use fusebox_core::stats::{
    InstanceFacts, InstanceKey, MAX_REFUSED_POLICIES, MAX_TEXT, RefusedPolicy, SessionId,
};
use fusebox_core::sync::{
    Audience, Member, Pulse, Reach, Refusal, Rewrite, Roster, Scope, Snapshot, Wanted,
};
use fusebox_core::time::Instant;
use tokio::sync::{Semaphore, watch};

use super::convergence::MAX_WAITS;

/// The roster of this server.
pub(super) struct Roll {
    roster: Mutex<Roster>,
    news: watch::Sender<()>,
    /// Core's origin of time: this server's start.
    origin: tokio::time::Instant,
    /// A place for each who may wait.
    pub(super) waits: Arc<Semaphore>,
}

impl Roll {
    /// Of a store that has been followed up to `revision`.
    pub(super) fn new(revision: Revision) -> Self {
        Self {
            roster: Mutex::new(Roster::new(revision)),
            news: watch::channel(()).0,
            origin: tokio::time::Instant::now(),
            waits: Arc::new(Semaphore::new(MAX_WAITS)),
        }
    }

    /// When this server started.
    pub(super) fn origin(&self) -> tokio::time::Instant {
        self.origin
    }

    /// Core's time.
    pub(super) fn now(&self) -> Instant {
        Instant::ORIGIN + self.origin.elapsed()
    }

    /// Sees something whenever anything has happened.
    pub(super) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// One look under the lock.
    pub(super) fn visit<T>(&self, look: impl FnOnce(&mut Roster) -> T) -> T {
        look(&mut self.lock())
    }

    // A poisoned lock is taken all the same: at worst one process stands where it stood before, and
    // its next word, or its end, says otherwise.
    fn lock(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        if self.news.receiver_count() > 0 {
            self.news.send_replace(());
        }
    }
}

/// What the hub tells.
impl Roll {
    /// From now on `audience` is told of its changes.
    pub(super) fn open(&self, audience: &Audience, snapshot: &Snapshot) {
        self.lock().open(audience, snapshot);
    }

    /// Nobody listens for `audience` any more.
    pub(super) fn close(&self, audience: &Audience) {
        self.lock().close(audience);
    }

    /// A write has changed the snapshots of `changed`, who are yet to be told.
    pub(super) fn advance<'a>(
        &self,
        revision: Revision,
        changed: impl IntoIterator<Item = &'a Audience>,
    ) {
        self.lock().advance(revision, changed);
        self.tell();
    }

    /// Writes up to `revision` that nobody saw one by one have changed the snapshots of `changed`.
    pub(super) fn catch_up<'a>(
        &self,
        revision: Revision,
        changed: impl IntoIterator<Item = &'a Audience>,
    ) {
        self.lock().catch_up(revision, changed);
        self.tell();
    }
}

/// What others ask.
impl Roll {
    /// How many connected processes `writes` concern.
    pub(super) fn reach(&self, writes: &[Rewrite<'_>]) -> Reach {
        let census = self.lock().census(writes);
        census.reach(writes)
    }

    /// The sessions whose processes lack `revision`.
    pub(super) fn lacking(&self, revision: Revision, scope: &Scope) -> HashSet<SessionId> {
        self.lock().lacking(revision, scope)
    }

    /// What each of `sessions` is to have.
    pub(super) fn wanted(&self, sessions: &[Option<SessionId>]) -> Vec<Option<Wanted>> {
        let roster = self.lock();
        let wanted = |session: &Option<SessionId>| session.and_then(|one| roster.wanted(one));
        sessions.iter().map(wanted).collect()
    }
}

/// A process's place in the roster; given up when dropped.
pub(super) struct Place {
    roll: Arc<Roll>,
    session: SessionId,
    pulse: Arc<Pulse>,
}

impl Place {
    /// Takes it. The process's audience must have been joined in the hub before, and be left after
    /// this.
    pub(super) fn take(
        roll: &Arc<Roll>,
        session: SessionId,
        key: &InstanceKey,
        facts: &InstanceFacts,
        schema: u32,
    ) -> Self {
        let member = Member {
            key: key.clone(),
            labels: facts.selectable(),
            schema,
        };
        let pulse = roll.lock().join(session, member, roll.now());
        roll.tell();
        let roll = Arc::clone(roll);
        Self {
            roll,
            session,
            pulse,
        }
    }

    /// Something came.
    pub(super) fn heard(&self) {
        self.pulse.beat(self.roll.now());
    }

    /// The process enforces `revision`, but for what it refuses.
    pub(super) fn acked(&self, revision: Revision, refused: &[RefusedPolicy]) {
        let refusals = kept(refused);
        self.roll.lock().acked(self.session, revision, refusals);
        self.roll.tell();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.roll.lock().leave(self.session);
        self.roll.tell();
    }
}

/// The newest of what is refused: that is what is asked for.
fn kept(refused: &[RefusedPolicy]) -> Vec<Refusal> {
    let mut refused: Vec<_> = refused.iter().collect();
    refused.sort_by_key(|one| std::cmp::Reverse(one.revision));
    let bounded = |text: &str| text[..text.floor_char_boundary(MAX_TEXT)].to_owned();
    let refusal = |one: &RefusedPolicy| Refusal {
        policy: one.policy.to_string(),
        revision: one.revision,
        field: bounded(&one.field),
        reason: bounded(&one.reason),
    };
    let newest = refused.into_iter().take(MAX_REFUSED_POLICIES);
    newest.map(refusal).collect()
}
