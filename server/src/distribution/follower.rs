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

/// Follows `watch` until `stop`; if it ends before that, because the store closes or by a panic, stops
/// everybody: better no session than one that is told of nothing.
pub(super) async fn follow(
    store: Arc<dyn Store>,
    mut watch: Watch,
    hub: Arc<Hub>,
    tally: Arc<Tally>,
    stop: CancellationToken,
) {
    let _closing = Closing {
        hub: Arc::clone(&hub),
        stop: stop.clone(),
    };
    while let Some(next) = stop.run_until_cancelled(watch.next()).await {
        match next {
            Ok(write) => tally.woken(hub.apply(&write)),
            Err(WatchError::Lagged { missed }) => {
                warn!(missed, "fell behind the store; taking its whole state anew");
                let Ok(anew) = store.watch() else { break };
                watch = anew;
                let policies = std::mem::take(&mut watch.policies);
                let overrides = std::mem::take(&mut watch.overrides);
                tally.woken(hub.rebuild(watch.revision, policies, overrides));
                tally.lagged();
            }
            Err(WatchError::Closed) => break,
        }
    }
    if !stop.is_cancelled() {
        error!("the store was closed; ending every session");
    }
}

/// Stops everybody once dropped.
struct Closing {
    hub: Arc<Hub>,
    stop: CancellationToken,
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.stop.cancel();
        self.hub.close();
    }
}

#[cfg(test)]
mod tests {
    use fusebox_core::key::{Namespace, Service};
    use fusebox_core::revision::{Incarnation, Revision};
    use fusebox_core::sync::Audience;

    use super::super::bell::Bell;
    use super::super::end::End;
    use super::*;

    #[tokio::test]
    async fn a_follower_that_fails_ends_every_session_instead_of_leaving_it_untold() {
        let hub = Hub::new(Incarnation(7), false, Revision(0), Vec::new(), Vec::new());
        let (hub, stop) = (Arc::new(hub), CancellationToken::new());
        let audience = Audience {
            namespace: Namespace::default_namespace(),
            service: Service::new("checkout").unwrap(),
        };
        let bell: Arc<Bell> = Arc::default();
        let _member = hub.join(audience, Arc::clone(&bell));
        let closing = Closing {
            hub: Arc::clone(&hub),
            stop: stop.clone(),
        };
        let failed = tokio::spawn(async move {
            let _closing = closing;
            panic!("as a bug would");
        });
        assert!(failed.await.is_err());
        assert!(stop.is_cancelled());
        assert_eq!(bell.take().end, Some(End::Draining));
    }
}
