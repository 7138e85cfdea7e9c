//! When a session was last heard, told without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::time::Instant;

/// The moment of a session's last message.
#[derive(Debug)]
pub struct Pulse(AtomicU64);

impl Pulse {
    pub(super) fn new(now: Instant) -> Self {
        Self(AtomicU64::new(now.as_nanos()))
    }

    /// A message came.
    pub fn beat(&self, now: Instant) {
        // Relaxed: one writer, the session; a reader wants a recent moment and nothing else by it.
        self.0.store(now.as_nanos(), Ordering::Relaxed);
    }

    pub(super) fn last(&self) -> Instant {
        // Relaxed: as above.
        Instant::from_nanos(self.0.load(Ordering::Relaxed))
    }
}
