//! How the link is doing, for whoever looks at it from outside.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fusebox_core::time::Instant;

use crate::clock;

/// How the link is doing, at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    pub(crate) connected_to: Option<String>,
    pub(crate) last_problem: Option<String>,
    /// Sessions begun after the first.
    pub(crate) reconnects: u64,
    /// Since a server last confirmed what is held; `None` if none ever has in this run.
    pub(crate) staleness: Option<Duration>,
    pub(crate) disagreement: Option<String>,
    pub(crate) disk_problem: Option<String>,
}

/// Where the link writes it down.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<Notes>);

#[derive(Debug, Default)]
struct Notes {
    connected_to: Option<String>,
    last_problem: Option<String>,
    sessions: u64,
    confirmed: Option<Instant>,
    disagreement: Option<String>,
}

impl Board {
    /// A session is up.
    pub(super) fn connected(&self, server: String) {
        let mut notes = self.lock();
        notes.connected_to = Some(server);
        notes.last_problem = None;
        notes.sessions += 1;
    }

    /// No session is up, and why.
    pub(super) fn disconnected(&self, problem: Option<String>) {
        let mut notes = self.lock();
        notes.connected_to = None;
        notes.last_problem = problem;
    }

    /// The session is up, and something is wrong with it.
    pub(super) fn problem(&self, problem: String) {
        self.lock().last_problem = Some(problem);
    }

    /// Nothing is wrong with it any more.
    pub(super) fn well(&self) {
        self.lock().last_problem = None;
    }

    /// The server has just said, or let it stand, that what is held is current.
    pub(super) fn confirmed(&self) {
        self.lock().confirmed = Some(clock::now());
    }

    /// Addresses disagree, or no longer do. Whether that is news.
    pub(super) fn disagreement(&self, disagreement: Option<String>) -> bool {
        let mut notes = self.lock();
        let news = notes.disagreement != disagreement;
        notes.disagreement = disagreement;
        news
    }

    /// How long ago a server last confirmed what is held.
    pub(crate) fn staleness(&self) -> Option<Duration> {
        let confirmed = self.lock().confirmed?;
        Some(clock::now().since(confirmed))
    }

    /// All of it but what is wrong with the disk.
    pub(super) fn status(&self) -> Status {
        let staleness = self.staleness();
        let notes = self.lock();
        Status {
            connected_to: notes.connected_to.clone(),
            last_problem: notes.last_problem.clone(),
            reconnects: notes.sessions.saturating_sub(1),
            staleness,
            disagreement: notes.disagreement.clone(),
            disk_problem: None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        // Nothing panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
