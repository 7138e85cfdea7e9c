//! What wakes a session from outside: one bell for all causes, so that a session that waits for
//! them waits for one thing.
//!
//! Whoever has news leaves it beside the bell and rings. What is left there twice before the session
//! looks is there once: of two editions the later, of two reasons to end the first; only resets, which
//! are events, wait one behind the other, as many as may. The stream may
//! keep a bell for longer than its session lasts; what is left there by then holds up nobody.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::end::End;
use super::frame::Frame;
use super::hub::Edition;

/// Resets that may wait for a session to look, or for its peer to read.
pub(super) const MAX_RESETS: usize = 32;

/// One session's bell.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: Notify,
    left: Mutex<Left>,
}

#[derive(Debug, Default)]
struct Left {
    news: News,
    /// Nobody looks any more.
    muffled: bool,
}

/// What was left beside a bell.
#[derive(Debug, Default)]
pub(super) struct News {
    /// The audience holds another set from now on.
    pub(super) push: Option<Push>,
    /// Breakers are to be reset, in this order.
    pub(super) resets: Vec<Frame>,
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
        let mut left = self.lock();
        if !left.muffled {
            left.news.push = Some(push);
        }
        drop(left);
        self.ring();
    }

    /// Tells that breakers are to be reset; whether there was room for that.
    pub(super) fn reset(&self, frame: Frame) -> bool {
        let mut left = self.lock();
        let room = left.news.resets.len() < MAX_RESETS;
        if room && !left.muffled {
            left.news.resets.push(frame);
        }
        drop(left);
        self.ring();
        room
    }

    /// Tells the session to end.
    pub(super) fn end(&self, end: End) {
        self.lock().news.end.get_or_insert(end);
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
        std::mem::take(&mut self.lock().news)
    }

    /// Nobody looks any more: no permit stays here, and none that comes later.
    pub(super) fn muffle(&self) {
        let mut left = self.lock();
        left.muffled = true;
        left.news.push = None;
    }

    // A poisoned lock is taken all the same: its content is replaced whole.
    fn lock(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use fusebox_core::revision::{Digest, Incarnation, Revision};
    use fusebox_core::sync::Snapshot;
    use tokio::sync::Semaphore;

    use super::*;

    #[test]
    fn no_permit_is_kept_for_who_looks_no_more() {
        let permits = Arc::new(Semaphore::new(1));
        let push = || Push {
            edition: Edition::new(Arc::new(Snapshot {
                incarnation: Incarnation(7),
                adopted: false,
                revision: Revision(1),
                digest: Digest::EMPTY,
                policies: Vec::new(),
                overrides: Vec::new(),
            })),
            permit: Arc::clone(&permits).try_acquire_owned().unwrap(),
        };
        let bell = Bell::default();
        bell.push(push());
        assert_eq!(permits.available_permits(), 0);
        bell.muffle();
        assert_eq!(permits.available_permits(), 1);
        bell.push(push());
        assert_eq!(permits.available_permits(), 1);
    }
}
