//! What policies were: read, and made again.
//!
//! A rollback is a write like any other. What it makes again is judged by today's rules and today's
//! room, and takes a new revision; nothing that happened is undone or forgotten.

use std::sync::Arc;

use fusebox_core::key::{Namespace, PolicyId, PolicyName};
use fusebox_core::policy::Policy;
use fusebox_core::revision::Revision;

use super::{Control, ControlError, Intent, Update, Written};
use crate::store::{Cause, Changes, Stretch, Version};

/// Revisions that a refusal names.
pub(super) const NAMED: usize = 20;

/// A policy that is to be again what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollback<'a> {
    /// Which policy.
    pub id: PolicyId,
    /// What it was from this revision on.
    pub revision: Revision,
    /// The policy must still be this, if set.
    pub etag: Option<&'a str>,
}

/// Whose changes are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditQuery<'a> {
    /// Only in this namespace.
    pub namespace: Option<Namespace>,
    /// Only of policies with this name.
    pub name: Option<PolicyName>,
    /// Only of this author.
    pub author: Option<&'a str>,
}

impl AuditQuery<'_> {
    fn admits(&self, version: &Version) -> bool {
        let names = self.name.as_ref();
        let named = || {
            let id = version.policy_id();
            names.is_none_or(|only| id.is_some_and(|id| id.name == *only))
        };
        self.namespace
            .as_ref()
            .is_none_or(|only| version.is_in(only))
            && named()
            && self.author.is_none_or(|only| version.by.author == only)
    }
}

impl Control {
    /// Up to `limit` of what is kept of a policy, the newest first, from behind `after`, which must
    /// be one of these.
    pub fn revisions(
        &self,
        id: &PolicyId,
        after: Option<Revision>,
        limit: usize,
    ) -> Result<Stretch, ControlError> {
        if let Some(after) = after
            && self.version(id, after)?.is_none()
        {
            return Err(ControlError::OutOfRange(format!(
                "revision {after} of policy {id}, where the page begins, is no longer kept; list \
                 them from the beginning"
            )));
        }
        let stretch = self.store.versions(id, after, limit)?;
        if after.is_none() && stretch.versions.is_empty() {
            return Err(ControlError::NotFound(id.clone()));
        }
        Ok(stretch)
    }

    /// Up to `limit` changes of late, the newest first, from behind `after`.
    pub fn audit(
        &self,
        query: &AuditQuery<'_>,
        after: Option<(Revision, u32)>,
        limit: usize,
    ) -> Result<Changes, ControlError> {
        let admits = |version: &Version| query.admits(version);
        Ok(self.store.changes(&admits, after, limit)?)
    }

    /// Writes again what a policy was; nothing, if it is that already.
    pub async fn rollback(
        &self,
        rollback: Rollback<'_>,
        intent: Intent,
    ) -> Result<Written, ControlError> {
        let Rollback { id, revision, etag } = rollback;
        let Some(version) = self.version(&id, revision)? else {
            return Err(self.not_kept(id, revision));
        };
        let Some(stored) = version.stored() else {
            return Err(ControlError::WasDeleted { id, revision });
        };
        let again = |_| Policy::new(stored.policy.clone().into_draft());
        let update = Update {
            id,
            etag,
            allow_missing: true,
            make: &again,
        };
        self.rewrite(update, intent, Cause::Rollback).await
    }

    fn version(
        &self,
        id: &PolicyId,
        revision: Revision,
    ) -> Result<Option<Arc<Version>>, ControlError> {
        let before = Some(revision).filter(|revision| revision.0 < u64::MAX);
        let before = before.map(Revision::next);
        let newest = self.store.versions(id, before, 1)?.versions.pop();
        Ok(newest.filter(|version| version.revision == revision))
    }

    fn not_kept(&self, id: PolicyId, revision: Revision) -> ControlError {
        let kept = match self.store.versions(&id, None, NAMED) {
            Ok(kept) => kept,
            Err(error) => return error.into(),
        };
        let revisions: Vec<_> = kept
            .versions
            .iter()
            .map(|version| version.revision)
            .collect();
        match revisions.last() {
            None => ControlError::NotFound(id),
            Some(&oldest) => ControlError::NotKept {
                id,
                revision,
                more: kept.more,
                pruned: kept.pruned && !kept.more && revision < oldest,
                kept: revisions,
            },
        }
    }
}

#[cfg(test)]
mod tests;
