//! What each audience is to hold now, and who is to hear when that changes.
//!
//! [`History`] decides whom a write concerns; the hub keeps it under one lock together with a
//! [`Crowd`] for each audience that has a session. A crowd holds the latest edition only, so that a
//! burst of writes costs a slow session nothing but the last of them, and a write wakes nobody
//! whose snapshot it leaves as it was. Who is told when is decided here, at what pace by
//! [`pushing`](super::pushing).
//!
//! Invariants: an audience is known to history exactly while it has a crowd here, and it has a
//! crowd exactly while somebody is in it; what a crowd holds is history's snapshot; an audience has
//! one turn while an edition goes round in its crowd, else none.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use fusebox_core::policy::Stored;
use fusebox_core::policy::overrides::{BreakerOverride, BreakerReset};
use fusebox_core::revision::{Incarnation, Revision};
use fusebox_core::sync::{Audience, Change, History, Snapshot};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::warn;

use super::bell::Bell;
use super::crowd::Crowd;
use super::end::End;
use super::frame::Frame;
use super::roll::Roll;
use crate::store::{Committed, Version, What};

/// So many members of one audience are told before another audience has its turn.
const TURN: usize = 16;

/// One audience's snapshot, and its bytes once somebody has asked for them.
#[derive(Debug)]
pub(super) struct Edition {
    pub(super) snapshot: Arc<Snapshot>,
    /// Since when this server has it.
    pub(super) since: Instant,
    frame: OnceLock<Frame>,
}

impl Edition {
    /// Of `snapshot`, not encoded yet.
    pub(super) fn new(snapshot: Arc<Snapshot>) -> Arc<Self> {
        Arc::new(Self {
            snapshot,
            since: Instant::now(),
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
    /// Some audience has news.
    news: Notify,
}

struct State {
    roll: Arc<Roll>,
    history: History,
    crowds: HashMap<Audience, Crowd>,
    /// Audiences in which an edition goes round, by the number of their turn.
    turns: BTreeMap<u64, Audience>,
    /// Turns given so far.
    given: u64,
    /// Told in the present turn.
    told: usize,
    /// Everybody is to end.
    closed: bool,
}

impl Hub {
    /// The state at `revision` of a store that is `adopted` or not, with nobody listening.
    pub(super) fn new(
        incarnation: Incarnation,
        adopted: bool,
        revision: Revision,
        policies: Vec<Arc<Stored>>,
        overrides: Vec<Arc<BreakerOverride>>,
    ) -> Self {
        let roll = Arc::new(Roll::new(revision));
        let state = State {
            roll: Arc::clone(&roll),
            history: History::new(incarnation, adopted, revision, policies, overrides),
            crowds: HashMap::new(),
            turns: BTreeMap::new(),
            given: 0,
            told: 0,
            closed: false,
        };
        Self {
            incarnation,
            adopted,
            roll,
            state: Mutex::new(state),
            news: Notify::new(),
        }
    }

    /// Who listens, and how far each is.
    pub(super) fn roll(&self) -> &Arc<Roll> {
        &self.roll
    }

    pub(super) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The last write seen.
    pub(super) fn revision(&self) -> Revision {
        self.lock().history.revision()
    }

    /// Listens for `audience`, which is told by ringing `bell`; the answer is also what it is to
    /// hold now.
    pub(super) fn join(
        self: &Arc<Self>,
        audience: Audience,
        bell: Arc<Bell>,
    ) -> (Membership, Arc<Edition>) {
        let (place, edition) = self.lock().join(&audience, bell);
        let hub = Arc::clone(self);
        let member = Membership {
            hub,
            audience,
            place,
        };
        (member, edition)
    }

    /// Takes a change in; the answer is how many audiences it concerns.
    pub(super) fn apply(&self, write: &Committed) -> usize {
        let touched = self.lock().apply(write);
        self.news.notify_one();
        touched
    }

    /// Starts again from the state at `revision`; the answer is for how many audiences it is news.
    /// That a set is as it was is news, too: whoever has seen another one meanwhile, from another
    /// server, is held by this one for ahead until it tells of a later revision.
    pub(super) fn rebuild(
        &self,
        revision: Revision,
        policies: Vec<Arc<Stored>>,
        overrides: Vec<Arc<BreakerOverride>>,
    ) -> usize {
        let history = History::new(
            self.incarnation,
            self.adopted,
            revision,
            policies,
            overrides,
        );
        let touched = self.lock().rebuild(history);
        self.news.notify_one();
        touched
    }

    /// Whom to tell of what, next. Safe to drop and to call again; one task at a time may call it.
    pub(super) async fn next(&self) -> (Arc<Bell>, Arc<Edition>) {
        loop {
            let next = self.lock().next();
            match next {
                Some(next) => return next,
                None => self.news.notified().await,
            }
        }
    }

    /// Ends everybody's session, also of those who come later.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        for bell in state.crowds.values().flat_map(Crowd::bells) {
            bell.end(End::Draining);
        }
    }

    // A poisoned lock is taken all the same: at worst one audience was not told of one change, and
    // the next one tells it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn join(&mut self, audience: &Audience, bell: Arc<Bell>) -> (usize, Arc<Edition>) {
        if self.closed {
            bell.end(End::Draining);
        }
        let crowd = self.crowds.entry(audience.clone()).or_insert_with(|| {
            let snapshot = self.history.snapshot(audience);
            self.roll.open(audience, &snapshot);
            Crowd::of(Edition::new(snapshot))
        });
        (crowd.join(bell), Arc::clone(crowd.edition()))
    }

    fn apply(&mut self, write: &Committed) -> usize {
        let changes = write.versions.iter().filter_map(|version| change(version));
        let touched = self.history.apply(write.revision, changes);
        let audiences = touched.iter().map(|(audience, _)| audience);
        self.roll.advance(write.revision, audiences);
        let audiences = touched.len();
        for (audience, snapshot) in touched {
            self.publish(audience, snapshot);
        }
        for version in &*write.versions {
            if let What::Reset(reset) = &version.what {
                self.reset(reset);
            }
        }
        audiences
    }

    /// An event: whoever listens now is told.
    fn reset(&self, reset: &BreakerReset) {
        let frame = Frame::reset(reset);
        let crowds = self.crowds.iter();
        let concerned = crowds.filter(|(audience, _)| {
            let service = audience.service.as_str();
            reset.target.concerns(&audience.namespace, service)
        });
        let bells = concerned.flat_map(|(_, crowd)| crowd.bells());
        let lost = bells.filter(|bell| !bell.reset(frame.clone())).count();
        if lost > 0 {
            let id = reset.id.0;
            warn!(
                id,
                lost, "sessions have not looked for long: a reset is lost on them"
            );
        }
    }

    fn rebuild(&mut self, mut history: History) -> usize {
        let held = |crowd: &Crowd| crowd.edition().snapshot.revision;
        let crowds = self.crowds.iter();
        let news: Vec<_> = crowds
            .map(|(audience, crowd)| (audience.clone(), held(crowd)))
            .map(|(audience, held)| (history.snapshot(&audience), audience, held))
            .filter(|(snapshot, _, held)| snapshot.revision != *held)
            .collect();
        self.history = history;
        let audiences = news.iter().map(|(_, audience, _)| audience);
        self.roll.catch_up(self.history.revision(), audiences);
        let audiences = news.len();
        for (snapshot, audience, _) in news {
            self.publish(audience, snapshot);
        }
        audiences
    }

    fn publish(&mut self, audience: Audience, snapshot: Arc<Snapshot>) {
        if let Some(crowd) = self.crowds.get_mut(&audience)
            && crowd.publish(Edition::new(snapshot))
        {
            self.given += 1;
            crowd.turn = self.given;
            self.turns.insert(self.given, audience);
        }
    }

    fn next(&mut self) -> Option<(Arc<Bell>, Arc<Edition>)> {
        while let Some(turn) = self.turns.first_entry() {
            // Present: whoever leaves an audience empty takes its turn along.
            let crowd = self.crowds.get_mut(turn.get()).expect("a crowd");
            let next = crowd.next().map(|bell| (bell, Arc::clone(crowd.edition())));
            self.told += 1;
            if !crowd.is_under_way() {
                turn.remove();
                self.told = 0;
            } else if self.told == TURN {
                self.given += 1;
                crowd.turn = self.given;
                let audience = turn.remove();
                self.turns.insert(self.given, audience);
                self.told = 0;
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }

    fn leave(&mut self, audience: &Audience, place: usize) -> Option<Arc<Bell>> {
        let crowd = self.crowds.get_mut(audience)?;
        let bell = crowd.leave(place);
        if crowd.is_empty() {
            if crowd.is_under_way() {
                self.turns.remove(&crowd.turn);
            }
            self.crowds.remove(audience);
            self.history.forget(audience);
            self.roll.close(audience);
        }
        bell
    }
}

/// A place among an audience; given up when dropped.
pub(super) struct Membership {
    hub: Arc<Hub>,
    audience: Audience,
    place: usize,
}

impl Drop for Membership {
    fn drop(&mut self) {
        let bell = self.hub.lock().leave(&self.audience, self.place);
        // Somebody may be about to tell it of an edition that it was to hear of until now.
        bell.inspect(|bell| bell.muffle());
    }
}

/// What a version changes in what processes hold, if anything.
fn change(version: &Version) -> Option<Change<'_>> {
    match &version.what {
        What::Policy { id, stored } => Some(Change::Policy(id, stored.as_ref())),
        What::Override { standing, in_force } => {
            Some(Change::Override(standing.id, in_force.then_some(standing)))
        }
        What::Reset(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use fusebox_core::key::{Namespace, Service};
    use fusebox_core::revision::Digest;
    use tokio::sync::Semaphore;

    use super::super::bell::Push;
    use super::*;

    fn audience(service: &str) -> Audience {
        Audience {
            namespace: Namespace::default_namespace(),
            service: Service::new(service).unwrap(),
        }
    }

    fn publish(state: &mut State, service: &str, revision: u64) {
        let snapshot = Snapshot {
            incarnation: Incarnation(7),
            adopted: false,
            revision: Revision(revision),
            digest: Digest(revision),
            policies: Vec::new(),
            overrides: Vec::new(),
        };
        state.publish(audience(service), Arc::new(snapshot));
    }

    fn hub() -> Arc<Hub> {
        let hub = Hub::new(Incarnation(7), false, Revision(0), Vec::new(), Vec::new());
        Arc::new(hub)
    }

    #[test]
    fn an_audience_has_one_turn_however_often_it_changes() {
        let hub = hub();
        let _member = hub.join(audience("checkout"), Arc::default());
        let mut state = hub.lock();
        for revision in 1..=100 {
            publish(&mut state, "checkout", revision);
            assert!(state.next().is_some());
            publish(&mut state, "checkout", 100 + revision);
            assert_eq!(state.turns.len(), 1);
            assert!(state.next().is_some());
        }
        assert!(state.next().is_none());
    }

    #[test]
    fn an_audience_that_is_left_empty_leaves_no_turn_behind() {
        let hub = hub();
        for revision in 1..=100 {
            let (member, _) = hub.join(audience("checkout"), Arc::default());
            publish(&mut hub.lock(), "checkout", revision);
            drop(member);
            assert_eq!(hub.lock().turns.len(), 0);
        }
        let _member = hub.join(audience("checkout"), Arc::default());
        publish(&mut hub.lock(), "checkout", 101);
        assert!(hub.lock().next().is_some());
    }

    #[test]
    fn who_leaves_with_an_edition_on_its_way_to_him_keeps_no_permit() {
        let hub = hub();
        let bell: Arc<Bell> = Arc::default();
        let (member, _) = hub.join(audience("checkout"), Arc::clone(&bell));
        publish(&mut hub.lock(), "checkout", 1);
        let (told, edition) = hub.lock().next().unwrap();
        drop(member);
        let permits = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&permits).try_acquire_owned().unwrap();
        told.push(Push { edition, permit });
        assert_eq!(permits.available_permits(), 1);
    }

    #[test]
    fn a_large_audience_takes_turns_with_the_others() {
        let hub = hub();
        let join = |service: &str| hub.join(audience(service), Arc::default()).0;
        let _many: Vec<_> = (0..2 * TURN).map(|_| join("checkout")).collect();
        let _one = join("search");
        let mut state = hub.lock();
        publish(&mut state, "checkout", 1);
        publish(&mut state, "search", 2);
        let next = || state.next().map(|(_, edition)| edition.snapshot.revision.0);
        let told: Vec<_> = std::iter::from_fn(next).collect();
        let turn = || std::iter::repeat_n(1, TURN);
        let expected: Vec<_> = turn().chain([2]).chain(turn()).collect();
        assert_eq!(told, expected);
    }
}
