//! What wakes a session from outside: one bell for all causes, so that a session that waits for
//! them waits for one thing.
//!
//! Whoever has news leaves it beside the bell and rings. What is left there twice before the session
//! looks is there once: of two editions the later, of two reasons to end the first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::end::End;
use super::hub::Edition;

/// One session's bell.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: Notify,
    news: Mutex<News>,
}

/// What was left beside a bell.
#[derive(Debug, Default)]
pub(super) struct News {
    /// The audience holds another set from now on.
    pub(super) push: Option<Push>,
    /// The session is to end.
    pub(super) end: Option<End>,
}

/// A new edition, and the permit to send it, which is free again once it has been sent.
#[derive(Debug)]
pub(super) struct Push {
    pub(super) edition: Arc<Edition>,
    pub(super) permit: OwnedSemaphorePermit,
}

impl Bell {
    /// Tells of a new edition.
    pub(super) fn push(&self, push: Push) {
        self.lock().push = Some(push);
        self.ring();
    }

    /// Tells the session to end.
    pub(super) fn end(&self, end: End) {
        self.lock().end.get_or_insert(end);
        self.ring();
    }

    /// Wakes the session, to look at what it knows of by itself.
    pub(super) fn ring(&self) {
        self.rung.notify_one();
    }

    /// Resolves once it has rung since the last time. Safe to drop and to call again.
    pub(super) async fn rung(&self) {
        self.rung.notified().await;
    }

    /// What there is to know.
    pub(super) fn take(&self) -> News {
        std::mem::take(&mut *self.lock())
    }

    // A poisoned lock is taken all the same: its content is replaced whole.
    fn lock(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
