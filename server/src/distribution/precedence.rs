//! Writes go before pushes.
//!
//! Somebody waits for a write; nobody waits for one push among thousands. So while a write is being
//! made no more sessions are told of news, but only for so long at a time: under writes without end
//! pushes go on, slower.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// The longest that pushes stand still for writes, each time they look.
const GIVE_WAY: Duration = Duration::from_millis(5);

/// How many writes are being made.
#[derive(Debug, Default)]
pub(super) struct Precedence {
    writes: AtomicUsize,
    none: Notify,
}

/// A write that is being made, until it is dropped.
#[derive(Debug)]
pub(crate) struct Write(Arc<Precedence>);

impl Precedence {
    /// A write begins.
    pub(super) fn begin(self: &Arc<Self>) -> Write {
        // Relaxed here and below: pushes that see a write late, or its end, are a few more or fewer.
        self.writes.fetch_add(1, Ordering::Relaxed);
        Write(Arc::clone(self))
    }

    /// Waits until no write is being made, or long enough.
    pub(super) async fn give_way(&self) {
        let none = async {
            while self.writes.load(Ordering::Relaxed) > 0 {
                self.none.notified().await;
            }
        };
        // Long enough is as good as none.
        let _ = timeout(GIVE_WAY, none).await;
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        if self.0.writes.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.none.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pushes_stand_still_until_the_last_write_is_made() {
        let precedence: Arc<Precedence> = Arc::default();
        let (one, other) = (precedence.begin(), precedence.begin());
        let start = Instant::now();
        let waiting = tokio::spawn({
            let precedence = Arc::clone(&precedence);
            async move { precedence.give_way().await }
        });
        drop(one);
        tokio::time::advance(GIVE_WAY / 2).await;
        assert!(!waiting.is_finished());
        drop(other);
        waiting.await.unwrap();
        assert_eq!(start.elapsed(), GIVE_WAY / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn under_writes_without_end_pushes_go_on() {
        let precedence: Arc<Precedence> = Arc::default();
        let _write = precedence.begin();
        let start = Instant::now();
        precedence.give_way().await;
        assert_eq!(start.elapsed(), GIVE_WAY);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_write_nobody_waits() {
        let precedence: Arc<Precedence> = Arc::default();
        drop(precedence.begin());
        let start = Instant::now();
        precedence.give_way().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
