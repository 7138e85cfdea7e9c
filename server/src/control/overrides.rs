//! What operators decide about breakers: overrides that are set, cleared, or come to their end, and
//! resets.
//!
//! The end of an override is a write like any other, made by whichever server notices first: it is
//! audited, and processes are sent a set without it. They do not wait for that: each ends it by its
//! own clock.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fusebox_core::policy::overrides::{BreakerOverride, BreakerTarget, OverrideDraft};
use fusebox_core::revision::Revision;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::{Control, ControlError, Intent};
use crate::store::{AppendError, Cause, Proposal, Provenance, Step};

/// How often is looked for overrides whose time is over.
pub const EXPIRY_INTERVAL: Duration = Duration::from_secs(1);
/// Who ends these.
const OURSELVES: &str = "fusebox";

/// An override that is no longer in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// Of the write that ended it; zero if it was only checked.
    pub revision: Revision,
    /// As it was.
    pub standing: Arc<BreakerOverride>,
}

impl Control {
    /// Sets an override. With `validate_only` it has no id yet.
    pub async fn force(
        &self,
        draft: OverrideDraft,
        intent: Intent,
    ) -> Result<Arc<BreakerOverride>, ControlError> {
        let only = intent.validate_only;
        let reason = draft.reason.clone();
        let checked = only.then(|| preview(&draft, &intent.author));
        let by = because(intent, Cause::OverrideSet, reason);
        let proposal = Proposal::one(Step::force(draft), by);
        if let Some(checked) = checked {
            self.store.judge(proposal)?;
            return Ok(Arc::new(checked));
        }
        let committed = self.store.append(proposal).await?;
        let nothing = || ControlError::Broken("an override was set, but is not to be found".into());
        let standing = committed.standing().cloned().ok_or_else(nothing)?;
        info!(
            id = standing.id.0, author = standing.author, reason = standing.reason,
            target = %standing.target, forced = %standing.forced.as_state(),
            ttl = ?standing.ttl, "breakers are forced"
        );
        Ok(standing)
    }

    /// Ends an override.
    pub async fn release(
        &self,
        id: Revision,
        reason: String,
        intent: Intent,
    ) -> Result<Released, ControlError> {
        let by = because(intent, Cause::OverrideCleared, reason);
        let (author, reason) = (by.author.clone(), by.reason.clone());
        let released = self.end(id, by).await?;
        info!(id = id.0, author, reason, "an override is cleared");
        Ok(released)
    }

    async fn end(&self, id: Revision, by: Provenance) -> Result<Released, ControlError> {
        let standing = self.overrides()?.into_iter().find(|one| one.id == id);
        let standing = standing.ok_or(ControlError::NotInForce(id))?;
        let proposal = Proposal::one(Step::release(id), by);
        let committed = self.store.append(proposal).await?;
        Ok(Released {
            revision: committed.revision,
            standing,
        })
    }

    /// Resets breakers; the answer is the write's revision, zero if it was only checked.
    pub async fn reset(
        &self,
        target: BreakerTarget,
        reason: String,
        intent: Intent,
    ) -> Result<Revision, ControlError> {
        let (only, shown) = (intent.validate_only, target.to_string());
        let by = because(intent, Cause::BreakersReset, reason);
        let (author, reason) = (by.author.clone(), by.reason.clone());
        let proposal = Proposal::one(Step::reset(target), by);
        if only {
            self.store.judge(proposal)?;
            return Ok(Revision::ZERO);
        }
        let id = self.store.append(proposal).await?.revision;
        info!(
            id = id.0,
            author,
            reason,
            target = shown,
            "breakers are reset"
        );
        Ok(id)
    }

    /// Those in force, by id: whose time is over is no more, though its end may not be written yet.
    pub fn overrides(&self) -> Result<Vec<Arc<BreakerOverride>>, ControlError> {
        let mut overrides = self.store.overrides()?;
        let now = SystemTime::now();
        overrides.retain(|one| !one.time_left(now).is_zero());
        Ok(overrides)
    }

    /// Ends those whose time is over, again and again, until watches are to end.
    pub async fn expire_overrides(&self) {
        let mut ticks = interval(EXPIRY_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let expire = async {
            loop {
                ticks.tick().await;
                self.end_overrides(SystemTime::now()).await;
            }
        };
        self.stop.run_until_cancelled(expire).await;
    }

    /// Ends those whose time is over at `now`. Another server may have come first.
    async fn end_overrides(&self, now: SystemTime) {
        let Ok(standing) = self.store.overrides() else {
            return;
        };
        for one in standing.iter().filter(|one| one.time_left(now).is_zero()) {
            let by = Provenance {
                author: OURSELVES.to_owned(),
                source: String::new(),
                cause: Cause::OverrideExpired,
                reason: String::new(),
            };
            let ended = Proposal::one(Step::release(one.id), by);
            match self.store.append(ended).await {
                Ok(_) => info!(id = one.id.0, "an override's time is over"),
                Err(AppendError::NotInForce(_)) => {}
                // Whoever looks next tries again; processes have ended it by themselves.
                Err(error) => warn!(id = one.id.0, %error, "an override's end is not written yet"),
            }
        }
    }
}

fn because(intent: Intent, cause: Cause, reason: String) -> Provenance {
    Provenance {
        reason,
        ..intent.by(cause)
    }
}

/// What would be set.
fn preview(draft: &OverrideDraft, author: &str) -> BreakerOverride {
    BreakerOverride {
        id: Revision::ZERO,
        target: draft.target.clone(),
        forced: draft.forced,
        reason: draft.reason.clone(),
        author: author.to_owned(),
        create_time: SystemTime::now(),
        ttl: draft.ttl,
    }
}

#[cfg(test)]
mod tests;
