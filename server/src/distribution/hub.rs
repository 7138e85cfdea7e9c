//! What each audience is to hold now, and who is to hear when that changes.
//!
//! [`History`] decides whom a write concerns; the hub keeps it under one lock together with a
//! channel for each audience that has a session. A channel holds the latest edition only, so that a
//! burst of writes costs a slow session nothing but the last of them, and a write wakes nobody
//! whose snapshot it leaves as it was.
//!
//! Invariants: an audience is known to history exactly while it has a channel here, and it has a
//! channel exactly while somebody listens; what a channel holds is history's snapshot, or one with
//! the same digest.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use fusebox_core::policy::Stored;
use fusebox_core::revision::{Incarnation, Revision};
use fusebox_core::sync::{Audience, History, Snapshot};
use tokio::sync::watch;

use super::frame::Frame;
use super::roll::Roll;
use crate::store::Committed;

/// One audience's snapshot, and its bytes once somebody has asked for them.
#[derive(Debug)]
pub(super) struct Edition {
    pub(super) snapshot: Arc<Snapshot>,
    frame: OnceLock<Frame>,
}

impl Edition {
    /// Of `snapshot`, not encoded yet.
    pub(super) fn new(snapshot: Arc<Snapshot>) -> Arc<Self> {
        Arc::new(Self {
            snapshot,
            frame: OnceLock::new(),
        })
    }

    /// The whole set, encoded by the first who asks.
    pub(super) fn frame(&self) -> Frame {
        let encode = || Frame::snapshot(&self.snapshot);
        self.frame.get_or_init(encode).clone()
    }
}

/// All audiences.
pub(super) struct Hub {
    incarnation: Incarnation,
    adopted: bool,
    roll: Arc<Roll>,
    state: Mutex<State>,
}

struct State {
    roll: Arc<Roll>,
    history: History,
    channels: HashMap<Audience, watch::Sender<Arc<Edition>>>,
}

impl Hub {
    /// The state at `revision` of a store that is `adopted` or not, with nobody listening.
    pub(super) fn new(
        incarnation: Incarnation,
        adopted: bool,
        revision: Revision,
        policies: Vec<Arc<Stored>>,
    ) -> Self {
        let roll = Arc::new(Roll::new(revision));
        let state = State {
            roll: Arc::clone(&roll),
            history: History::new(incarnation, adopted, revision, policies),
            channels: HashMap::new(),
        };
        Self {
            incarnation,
            adopted,
            roll,
            state: Mutex::new(state),
        }
    }

    /// Who listens, and how far each is.
    pub(super) fn roll(&self) -> &Arc<Roll> {
        &self.roll
    }

    pub(super) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Listens for `audience`; the answer is also what it is to hold now.
    pub(super) fn join(self: &Arc<Self>, audience: Audience) -> (Membership, Arc<Edition>) {
        let mut editions = self.lock().listen(&audience);
        let now = Arc::clone(&editions.borrow_and_update());
        let member = Membership {
            hub: Arc::clone(self),
            audience,
            editions: Some(editions),
        };
        (member, now)
    }

    /// Takes a change in, and tells whom it concerns; the answer is how many audiences those are.
    pub(super) fn apply(&self, write: &Committed) -> usize {
        self.lock().apply(write)
    }

    /// Starts again from the state at `revision`; tells every audience for which it is news.
    pub(super) fn rebuild(&self, revision: Revision, policies: Vec<Arc<Stored>>) -> usize {
        let history = History::new(self.incarnation, self.adopted, revision, policies);
        self.lock().rebuild(history)
    }

    // A poisoned lock is taken all the same: at worst one audience was not told of one change, and
    // the next one tells it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn listen(&mut self, audience: &Audience) -> watch::Receiver<Arc<Edition>> {
        if let Some(channel) = self.channels.get(audience) {
            return channel.subscribe();
        }
        let snapshot = self.history.snapshot(audience);
        self.roll.open(audience, &snapshot);
        let (channel, editions) = watch::channel(Edition::new(snapshot));
        self.channels.insert(audience.clone(), channel);
        editions
    }

    fn apply(&mut self, write: &Committed) -> usize {
        let changes = write.versions.iter();
        let changes = changes.map(|version| (&version.id, version.stored.as_ref()));
        let touched = self.history.apply(write.revision, changes);
        let audiences = touched.iter().map(|(audience, _)| audience);
        self.roll.advance(write.revision, audiences);
        for (audience, snapshot) in &touched {
            self.publish(audience, Arc::clone(snapshot));
        }
        touched.len()
    }

    fn rebuild(&mut self, mut history: History) -> usize {
        let held = |channel: &watch::Sender<Arc<Edition>>| channel.borrow().snapshot.digest;
        let channels = self.channels.iter();
        let news: Vec<_> = channels
            .map(|(audience, channel)| (audience.clone(), held(channel)))
            .map(|(audience, held)| (history.snapshot(&audience), audience, held))
            .filter(|(snapshot, _, held)| snapshot.digest != *held)
            .collect();
        self.history = history;
        let audiences = news.iter().map(|(_, audience, _)| audience);
        self.roll.catch_up(self.history.revision(), audiences);
        for (snapshot, audience, _) in &news {
            self.publish(audience, Arc::clone(snapshot));
        }
        news.len()
    }

    fn publish(&self, audience: &Audience, snapshot: Arc<Snapshot>) {
        if let Some(channel) = self.channels.get(audience) {
            channel.send_replace(Edition::new(snapshot));
        }
    }

    fn leave(&mut self, audience: &Audience) {
        let listened_to = |channel: &watch::Sender<_>| channel.receiver_count() > 0;
        if !self.channels.get(audience).is_some_and(listened_to) {
            self.channels.remove(audience);
            self.history.forget(audience);
            self.roll.close(audience);
        }
    }
}

/// A place among an audience; given up when dropped.
pub(super) struct Membership {
    hub: Arc<Hub>,
    audience: Audience,
    /// `None` only while it is dropped.
    editions: Option<watch::Receiver<Arc<Edition>>>,
}

impl Membership {
    /// The next edition that has not been seen; those between are passed over. Safe to drop and to
    /// call again. Never resolves once the audience's channel is gone.
    pub(super) async fn next(&mut self) -> Arc<Edition> {
        if let Some(editions) = &mut self.editions
            && editions.changed().await.is_ok()
        {
            return Arc::clone(&editions.borrow_and_update());
        }
        // Not reached: a channel outlives whoever listens.
        std::future::pending().await
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        // First stop listening, then see whether anybody still does.
        self.editions = None;
        self.hub.lock().leave(&self.audience);
    }
}
