//! The one task that follows the store.
//!
//! This is the only way a write comes to be known on this side, even one that this very server
//! took. A watch that fell behind has lost changes for good; so the whole state is taken anew, and
//! whoever it is news for is told.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::hub::Hub;
use super::tally::Tally;
use crate::store::{Store, Watch, WatchError};

/// Follows `watch` until `stop`; if the store closes before that, stops everybody.
pub(super) async fn follow(
    store: Arc<dyn Store>,
    mut watch: Watch,
    hub: Arc<Hub>,
    tally: Arc<Tally>,
    stop: CancellationToken,
) {
    while let Some(next) = stop.run_until_cancelled(watch.next()).await {
        match next {
            Ok(write) => tally.woken(hub.apply(&write)),
            Err(WatchError::Lagged { missed }) => {
                warn!(missed, "fell behind the store; taking its whole state anew");
                let Ok(anew) = store.watch() else { break };
                watch = anew;
                tally.woken(hub.rebuild(watch.revision, std::mem::take(&mut watch.policies)));
                tally.lagged();
            }
            Err(WatchError::Closed) => break,
        }
    }
    if !stop.is_cancelled() {
        error!("the store was closed; ending every session");
        stop.cancel();
    }
    hub.close();
}
