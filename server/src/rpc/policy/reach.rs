//! Whom a write concerns, of those that are connected: asked once it is decided, and encoded.

use fusebox_core::policy::{Policy, Stored};
use fusebox_core::sync::Rewrite;
use fusebox_proto::v1;

use crate::control::{Action, Applied, Deleted, Diff, Written};
use crate::distribution::Distribution;

/// Of one policy that was written, or would be.
pub(super) fn of_written(distribution: &Distribution, written: &Written) -> v1::Reach {
    let rewrite = Rewrite {
        before: written.before.as_deref().map(policy),
        after: Some(written.policy()),
    };
    of(distribution, &[rewrite])
}

/// Of one that was removed, or would be.
pub(super) fn of_deleted(distribution: &Distribution, deleted: &Deleted) -> v1::Reach {
    let rewrite = Rewrite {
        before: deleted.before.as_deref().map(policy),
        after: None,
    };
    of(distribution, &[rewrite])
}

/// Of all that a set changes.
pub(super) fn of_applied(distribution: &Distribution, applied: &Applied) -> v1::Reach {
    let diffs = applied.diffs.iter();
    let changed = diffs.filter(|diff| diff.action() != Action::Unchanged);
    let rewrites: Vec<_> = changed.map(rewrite).collect();
    of(distribution, &rewrites)
}

fn rewrite(diff: &Diff) -> Rewrite<'_> {
    Rewrite {
        before: diff.before.as_deref().map(policy),
        after: diff.after.as_ref(),
    }
}

fn policy(stored: &Stored) -> &Policy {
    &stored.policy
}

fn of(distribution: &Distribution, rewrites: &[Rewrite<'_>]) -> v1::Reach {
    let reach = distribution.reach(rewrites);
    let count = |processes: usize| u32::try_from(processes).unwrap_or(u32::MAX);
    v1::Reach {
        instances: count(reach.instances),
        too_old: count(reach.too_old),
    }
}
