//! What an operator may do to policies, and decide about breakers: decided here, above the store and below the wire.
//!
//! Every write is the same few steps: look at what is there, make what should be there, propose it
//! on the condition that nobody came in between. What happens when somebody did is the table:
//!
//! ```text
//!              without an etag                          with an etag
//!   create     AlreadyExists                            -
//!   update     look again, make it again, propose       Aborted
//!              again; Contended after MAX_TRIES
//!   delete     whatever is there goes                   Aborted
//!   apply      as an update                             Aborted
//!   rollback   as an update                             Aborted
//! ```
//!
//! An update is a function from what is there to what should be, so that it can be made again, and
//! so that a partial update (which only the wire knows how to read) needs no wire type here.
//! With `validate_only` the store only says what it would say to the proposal.
//!
//! Invariant: nothing is kept between two calls; the store is the only memory.

mod apply;
mod error;
mod history;
mod overrides;
mod warnings;
mod watch;

use std::sync::Arc;

use fusebox_core::key::{Namespace, PolicyId};
use fusebox_core::policy::{Policy, Stored, Violations};
use fusebox_core::revision::Revision;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::store::{AppendError, Committed, Expect, Page, Proposal, Provenance, Step, Store};

pub use crate::store::{Cause, Query, Version, What};
pub use apply::{Action, Applied, Asked, Diff, MAX_SET, MAX_TOLD_BYTES, Prune, Set};
pub use error::ControlError;
pub use history::{AuditQuery, Rollback};
pub use overrides::{EXPIRY_INTERVAL, Released};
pub use warnings::{MAX_NEIGHBOURS, MAX_WARNINGS, Warning};
pub use watch::{Following, MAX_WATCHES, News, SYNC_INTERVAL};

/// How often an update without an etag is proposed before it gives up.
pub const MAX_TRIES: u32 = 8;

/// Policies as their operators see them.
pub struct Control {
    store: Arc<dyn Store>,
    watches: Arc<Semaphore>,
    stop: CancellationToken,
}

/// Who wants a write, and whether it is to be made at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Becomes the policy's `updated_by`.
    pub author: String,
    /// Whence they speak.
    pub source: String,
    /// Check everything, change nothing.
    pub validate_only: bool,
}

impl Intent {
    fn by(self, cause: Cause) -> Provenance {
        Provenance {
            author: self.author,
            source: self.source,
            cause,
            reason: String::new(),
        }
    }
}

/// What a write came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The policy.
    pub outcome: Outcome,
    /// What it was before; `None` if it is new.
    pub before: Option<Arc<Stored>>,
    /// Legal, but perhaps not what was meant.
    pub warnings: Vec<Warning>,
}

/// What a removal came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// The store's revision without the policy.
    pub revision: Revision,
    /// What it was; `None` if there was none.
    pub before: Option<Arc<Stored>>,
}

impl Written {
    /// The policy as it is, or as it would be.
    pub fn policy(&self) -> &Policy {
        match &self.outcome {
            Outcome::Stored(stored) => &stored.policy,
            Outcome::Checked(policy) => policy,
        }
    }
}

/// The policy of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it is stored now.
    Stored(Arc<Stored>),
    /// As it would be stored; revision and times are the store's to say.
    Checked(Box<Policy>),
}

/// A change to a policy that may have to be made more than once.
pub struct Update<'a> {
    /// Which policy.
    pub id: PolicyId,
    /// The policy must still be this, if set.
    pub etag: Option<&'a str>,
    /// Create it if there is none.
    pub allow_missing: bool,
    /// From what is there to what should be.
    pub make: &'a (dyn Fn(Option<Policy>) -> Result<Policy, Violations> + Sync),
}

/// A removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete<'a> {
    /// Which policy.
    pub id: PolicyId,
    /// The policy must still be this, if set.
    pub etag: Option<&'a str>,
    /// Succeed if there is none.
    pub allow_missing: bool,
}

impl Control {
    /// Over `store`, with no bound on what an audience has to hold.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            watches: Arc::new(Semaphore::new(MAX_WATCHES)),
            stop: CancellationToken::new(),
        }
    }

    /// The same, ending every watch at `stop`.
    #[must_use]
    pub fn until(self, stop: CancellationToken) -> Self {
        Self { stop, ..self }
    }

    /// Creates a policy that must not exist yet.
    pub async fn create(&self, policy: Policy, intent: Intent) -> Result<Written, ControlError> {
        let id = policy.id().clone();
        if self.store.get(&id)?.is_some() {
            return Err(ControlError::AlreadyExists(id));
        }
        let result = self.put(policy, None, intent, Cause::Create).await;
        result.map_err(|error| match error {
            Lost::Race(_) => ControlError::AlreadyExists(id),
            Lost::Other(error) => error,
        })
    }

    /// The last write.
    pub fn revision(&self) -> Revision {
        self.store.revision()
    }

    /// One policy.
    pub fn get(&self, id: &PolicyId) -> Result<Arc<Stored>, ControlError> {
        self.store
            .get(id)?
            .ok_or_else(|| ControlError::NotFound(id.clone()))
    }

    /// What `query` asks for, in the order of (namespace, name).
    pub fn list(&self, query: &Query<'_>) -> Result<Page, ControlError> {
        Ok(self.store.list(query)?)
    }

    /// Every policy of `namespace` that can concern `service`, in the order of its name.
    pub fn concerning(&self, namespace: &Namespace, service: &str) -> Result<Page, ControlError> {
        Ok(self.store.list(&Query {
            namespace: Some(namespace),
            service: Some(service),
            ..Query::default()
        })?)
    }

    /// Makes a policy what `update` makes of it.
    pub async fn update(
        &self,
        update: Update<'_>,
        intent: Intent,
    ) -> Result<Written, ControlError> {
        self.rewrite(update, intent, Cause::Update).await
    }

    async fn rewrite(
        &self,
        update: Update<'_>,
        intent: Intent,
        cause: Cause,
    ) -> Result<Written, ControlError> {
        for _ in 0..MAX_TRIES {
            let found = self.look(&update)?;
            let policy = (update.make)(found.as_ref().map(|stored| stored.policy.clone()))?;
            if let Some(found) = &found
                && cause == Cause::Rollback
                && found.policy == policy
            {
                let warnings = self.warnings(&policy)?;
                let before = Some(Arc::clone(found));
                return Ok(Written {
                    outcome: Outcome::Stored(Arc::clone(found)),
                    before,
                    warnings,
                });
            }
            let put = self.put(policy, found, intent.clone(), cause);
            match (put.await, update.etag) {
                (Ok(written), _) => return Ok(written),
                (Err(Lost::Other(error)), _) => return Err(error),
                (Err(Lost::Race(found)), Some(etag)) => {
                    return Err(ControlError::aborted(update.id, etag, found));
                }
                (Err(Lost::Race(_)), None) => {}
            }
        }
        Err(ControlError::Contended(update.id))
    }

    /// The policy an update is about, if the update may be made to what is there.
    fn look(&self, update: &Update<'_>) -> Result<Option<Arc<Stored>>, ControlError> {
        let found = self.store.get(&update.id)?;
        if found.is_none() && !update.allow_missing {
            return Err(ControlError::NotFound(update.id.clone()));
        }
        check_etag(&update.id, update.etag, found.as_deref())?;
        Ok(found)
    }

    /// Removes a policy.
    pub async fn delete(
        &self,
        delete: Delete<'_>,
        intent: Intent,
    ) -> Result<Deleted, ControlError> {
        let Some(found) = self.store.get(&delete.id)? else {
            return self.absent(delete);
        };
        check_etag(&delete.id, delete.etag, Some(&found))?;
        if intent.validate_only {
            return Ok(Deleted {
                revision: self.store.revision(),
                before: Some(found),
            });
        }
        let expect = match delete.etag {
            Some(_) => Expect::Exactly(found.revision),
            None => Expect::Present,
        };
        let step = Step::delete(delete.id.clone(), expect);
        let proposal = Proposal::one(step, intent.by(Cause::Delete));
        match (self.propose(proposal).await, delete.etag) {
            (Ok(committed), _) => Ok(Deleted {
                revision: committed.revision,
                before: Some(found),
            }),
            (Err(Lost::Other(error)), _) => Err(error),
            (Err(Lost::Race(found)), Some(etag)) => {
                Err(ControlError::aborted(delete.id, etag, found))
            }
            (Err(Lost::Race(_)), None) => self.absent(delete),
        }
    }

    /// What removing nothing comes to.
    fn absent(&self, delete: Delete<'_>) -> Result<Deleted, ControlError> {
        if !delete.allow_missing {
            return Err(ControlError::NotFound(delete.id));
        }
        check_etag(&delete.id, delete.etag, None)?;
        Ok(Deleted {
            revision: self.store.revision(),
            before: None,
        })
    }

    /// Puts `policy` where `before` stands.
    async fn put(
        &self,
        policy: Policy,
        before: Option<Arc<Stored>>,
        intent: Intent,
        cause: Cause,
    ) -> Result<Written, Lost> {
        let expect = match &before {
            Some(stored) => Expect::Exactly(stored.revision),
            None => Expect::Absent,
        };
        let warnings = self.warnings(&policy)?;
        let validate_only = intent.validate_only;
        let by = intent.by(cause);
        let outcome = if validate_only {
            let step = Step::put(policy.clone(), expect);
            self.store.judge(Proposal::one(step, by))?;
            Outcome::Checked(Box::new(policy))
        } else {
            self.commit(policy, expect, by).await?
        };
        Ok(Written {
            outcome,
            before,
            warnings,
        })
    }

    async fn commit(
        &self,
        policy: Policy,
        expect: Expect,
        by: Provenance,
    ) -> Result<Outcome, Lost> {
        let id = policy.id().clone();
        let proposal = Proposal::one(Step::put(policy, expect), by);
        let committed = self.propose(proposal).await?;
        // A store that answers a put without the policy has lost it to a bug of its own.
        let nothing = || ControlError::Broken(format!("policy {id}: written, but not to be found"));
        let stored = committed.stored().ok_or_else(nothing)?;
        Ok(Outcome::Stored(Arc::clone(stored)))
    }

    async fn propose(&self, proposal: Proposal) -> Result<Committed, Lost> {
        Ok(self.store.append(proposal).await?)
    }

    fn warnings(&self, policy: &Policy) -> Result<Vec<Warning>, ControlError> {
        let neighbours = self.neighbours(policy, &|other| warnings::may_tie(policy, other))?;
        let neighbours = neighbours.policies.iter().map(|stored| &stored.policy);
        Ok(warnings::of(policy, neighbours))
    }

    /// Those that `filter` lets through among all that can be as specific as `policy`.
    fn neighbours(
        &self,
        policy: &Policy,
        filter: &(dyn Fn(&Policy) -> bool + Sync),
    ) -> Result<Page, ControlError> {
        let (namespace, service) = (&policy.id().namespace, policy.selector().service());
        let alike = self.store.alike(namespace, service, filter, MAX_NEIGHBOURS);
        Ok(alike?)
    }
}

/// Why a proposal came to nothing.
enum Lost {
    /// Somebody came in between; the policy now has this revision, or is gone.
    Race(Option<Revision>),
    Other(ControlError),
}

impl From<AppendError> for Lost {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Conflict { found, .. } => Self::Race(found),
            error => Self::Other(error.into()),
        }
    }
}

impl From<ControlError> for Lost {
    fn from(error: ControlError) -> Self {
        Self::Other(error)
    }
}

/// Whether the policy is still what its writer saw.
fn check_etag(
    id: &PolicyId,
    etag: Option<&str>,
    found: Option<&Stored>,
) -> Result<(), ControlError> {
    match etag {
        Some(etag) if found.is_none_or(|stored| stored.etag() != etag) => {
            let found = found.map(|stored| stored.revision);
            Err(ControlError::aborted(id.clone(), etag, found))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
