//! At what pace sessions are told of new editions.
//!
//! A write that concerns ten thousand sessions must not put ten thousand tasks before everything
//! else this server has to do. So they are told one after another, and at most [`PARALLEL`] may be
//! between hearing of an edition and having it on its way:
//!
//! ```text
//!   permit ──> next member ──> its session sends ──> its stream takes the frame ──> permit free
//!                                    └── nothing to send, no room, gone ──────────> permit free
//! ```
//!
//! A peer that does not read can keep a frame, and the permit with it. So permits that are not
//! given back for [`STALL`] are written off, all of them, and there are as many new ones.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::bell::Push;
use super::hub::Hub;
use super::precedence::Precedence;
use super::tally::Tally;

/// Sessions that may send an edition at once.
pub(super) const PARALLEL: usize = 32;
/// After so long without a permit given back those who hold one are not waited for.
const STALL: Duration = Duration::from_millis(50);

/// Tells whoever is to be told, until `stop`; if it ends before that, by a panic, stops everybody.
pub(super) async fn push(
    hub: Arc<Hub>,
    precedence: Arc<Precedence>,
    tally: Arc<Tally>,
    stop: CancellationToken,
) {
    let _stops = stop.clone().drop_guard();
    let pushing = async {
        let mut gate = Gate::open();
        loop {
            precedence.give_way().await;
            for _ in 0..PARALLEL {
                let permit = gate.permit(&tally).await;
                let (bell, edition) = hub.next().await;
                bell.push(Push { edition, permit });
            }
        }
    };
    stop.run_until_cancelled(pushing).await;
}

struct Gate(Arc<Semaphore>);

impl Gate {
    fn open() -> Self {
        Self(Arc::new(Semaphore::new(PARALLEL)))
    }

    async fn permit(&mut self, tally: &Tally) -> OwnedSemaphorePermit {
        loop {
            match timeout(STALL, Arc::clone(&self.0).acquire_owned()).await {
                Ok(Ok(permit)) => return permit,
                // Nobody closes it. What is written off falls back to a gate that is gone.
                Ok(Err(_)) | Err(_) => {
                    tally.stalled_push();
                    *self = Self::open();
                }
            }
        }
    }
}
