//! A server: it follows the store with some lag and keeps a session for each process that said
//! Hello. What it decides is core's; what surrounds that is as the server has it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use fusebox_core::revision::{Incarnation, Revision};
use fusebox_core::stats::InstanceKey;
use fusebox_core::sync::{Audience, Change, History, Snapshot};

use super::agenda::Millis;
use super::standing::Standing;
use super::store::{Committed, Store};

/// Writes that a watch keeps for whoever is behind.
const BUFFER: usize = 3;

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) up: bool,
    /// Its own life, one more with each start.
    pub(crate) run: u32,
    /// How far behind the store it may be.
    pub(crate) lag: Millis,
    pub(crate) hub: Hub,
    pub(crate) sessions: BTreeMap<u64, Session>,
    next_session: u64,
    backlog: VecDeque<Committed>,
    lagged: bool,
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) link: usize,
    pub(crate) key: InstanceKey,
    pub(crate) audience: Audience,
    pub(crate) standing: Standing,
    pub(crate) seen: Arc<Snapshot>,
    /// Counts what it sent that wants an acknowledgement.
    pub(crate) sent: u32,
    /// What the process is believed to have applied of this life.
    pub(crate) applied: Option<Revision>,
}

impl Server {
    pub(crate) fn new(store: &Store) -> Self {
        Self {
            up: false,
            run: 0,
            lag: 30,
            hub: Hub::new(store),
            sessions: BTreeMap::new(),
            next_session: 1,
            backlog: VecDeque::new(),
            lagged: false,
        }
    }

    /// Starts with the state of the store as it is now.
    pub(crate) fn start(&mut self, store: &Store) {
        let run = self.run + 1;
        *self = Self {
            up: true,
            run,
            ..Self::new(store)
        };
    }

    /// The store tells of a write; says whether there was nothing to follow before.
    pub(crate) fn watch(&mut self, write: &Committed) -> bool {
        let was_idle = !self.is_behind();
        if self.backlog.len() == BUFFER {
            self.lagged = true;
        }
        if self.lagged {
            self.backlog.clear();
        } else {
            self.backlog.push_back(write.clone());
        }
        was_idle
    }

    pub(crate) fn is_behind(&self) -> bool {
        self.lagged || !self.backlog.is_empty()
    }

    /// It fell behind further than its watch keeps.
    pub(crate) fn has_missed(&self) -> bool {
        self.lagged
    }

    /// Takes in the next write, or all that it has missed; says whom that concerns.
    pub(crate) fn follow(&mut self, store: &Store) -> Vec<Audience> {
        if std::mem::take(&mut self.lagged) {
            return self.hub.rebuild(store);
        }
        let write = self.backlog.pop_front();
        write.map_or_else(Vec::new, |write| self.hub.apply(&write))
    }

    pub(crate) fn enter(&mut self, session: Session) -> u64 {
        let number = self.next_session;
        self.next_session += 1;
        self.sessions.insert(number, session);
        number
    }

    pub(crate) fn leave(&mut self, session: u64) {
        if let Some(session) = self.sessions.remove(&session) {
            self.hub.leave(&session.audience);
        }
    }

    pub(crate) fn of_audience(&self, audience: &Audience) -> Vec<u64> {
        let sessions = self.sessions.iter();
        let listening = sessions.filter(|(_, session)| session.audience == *audience);
        listening.map(|(number, _)| *number).collect()
    }

    /// The sessions that speak for the same process.
    pub(crate) fn of_process(&self, key: &InstanceKey) -> Vec<u64> {
        let sessions = self.sessions.iter();
        let speaking = sessions.filter(|(_, session)| session.key == *key);
        speaking.map(|(number, _)| *number).collect()
    }
}

/// The latest edition for each audience that somebody listens for.
#[derive(Debug)]
pub(crate) struct Hub {
    incarnation: Incarnation,
    adopted: bool,
    history: History,
    editions: BTreeMap<Audience, (Arc<Snapshot>, usize)>,
}

impl Hub {
    fn new(store: &Store) -> Self {
        let (incarnation, adopted) = (store.incarnation(), store.adopted());
        Self {
            incarnation,
            adopted,
            history: history(incarnation, adopted, store),
            editions: BTreeMap::new(),
        }
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    pub(crate) fn join(&mut self, audience: &Audience) -> Arc<Snapshot> {
        let history = &mut self.history;
        let edition = self.editions.entry(audience.clone());
        let (edition, listening) = edition.or_insert_with(|| (history.snapshot(audience), 0));
        *listening += 1;
        Arc::clone(edition)
    }

    pub(crate) fn edition(&self, audience: &Audience) -> Option<Arc<Snapshot>> {
        let (edition, _) = self.editions.get(audience)?;
        Some(Arc::clone(edition))
    }

    fn leave(&mut self, audience: &Audience) {
        if let Some((_, listening)) = self.editions.get_mut(audience) {
            *listening -= 1;
            if *listening == 0 {
                self.editions.remove(audience);
                self.history.forget(audience);
            }
        }
    }

    fn apply(&mut self, write: &Committed) -> Vec<Audience> {
        let changes = write
            .changes
            .iter()
            .map(|(id, stored)| Change::Policy(id, stored.as_ref()));
        let touched = self.history.apply(write.revision, changes);
        self.publish(touched)
    }

    fn rebuild(&mut self, store: &Store) -> Vec<Audience> {
        self.history = history(self.incarnation, self.adopted, store);
        let mut news = Vec::new();
        for (audience, (held, _)) in &self.editions {
            let snapshot = self.history.snapshot(audience);
            if snapshot.revision != held.revision {
                news.push((audience.clone(), snapshot));
            }
        }
        self.publish(news)
    }

    fn publish(&mut self, news: Vec<(Audience, Arc<Snapshot>)>) -> Vec<Audience> {
        let mut told = Vec::new();
        for (audience, snapshot) in news {
            if let Some((edition, _)) = self.editions.get_mut(&audience) {
                *edition = snapshot;
                told.push(audience);
            }
        }
        told
    }
}

fn history(incarnation: Incarnation, adopted: bool, store: &Store) -> History {
    let policies = store.contents().values().cloned();
    History::new(incarnation, adopted, store.revision(), policies, [])
}
