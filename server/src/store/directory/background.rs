//! Work that nobody waits for, in a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// A thread that comes to its end by itself, sooner if nobody wants it to go on.
pub(super) struct Background<T> {
    unwanted: Arc<AtomicBool>,
    thread: JoinHandle<T>,
}

impl<T: Send + 'static> Background<T> {
    /// Runs `work`, which may look whether it is still wanted; `None` if there is no thread to be
    /// had.
    pub(super) fn begin(
        name: &str,
        work: impl FnOnce(&AtomicBool) -> T + Send + 'static,
    ) -> Option<Self> {
        let unwanted = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&unwanted);
        let builder = thread::Builder::new().name(name.into());
        match builder.spawn(move || work(&seen)) {
            Ok(thread) => Some(Self { unwanted, thread }),
            Err(error) => {
                tracing::warn!(%error, "no thread for upkeep; it is tried again");
                None
            }
        }
    }

    /// Whether its end can be had without waiting.
    pub(super) fn is_done(&self) -> bool {
        self.thread.is_finished()
    }

    /// Its result, as soon as it can be had; `None` if it panicked.
    pub(super) fn end(self) -> Option<T> {
        // Relaxed: nothing is read through it, and seeing it late costs only time.
        self.unwanted.store(true, Ordering::Relaxed);
        self.thread.join().ok()
    }
}
