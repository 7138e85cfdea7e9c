//! Sets of policies, from the wire and back.
//!
//! What is wrong with a set is found in all of its policies before anything is refused; each finding
//! has its path from the request on, such as `policies[3].rules.timeout.attempt`.

use fusebox_core::policy::Violations;
use fusebox_proto::convert::policy::{policy_from_wire, policy_to_wire, stored_to_wire};
use fusebox_proto::json;
use fusebox_proto::v1;
use fusebox_proto::v1::policy_diff;
use prost::Message;
use tonic::Status;

use super::super::status;
use super::{optional_namespace, set, warning_to_wire};
use crate::control::{Action, Applied, Asked, Diff, MAX_SET, Prune, Set};

/// Bytes of diffs in one answer that are told in full; 4000 that are not take a third of that.
const FULL_BYTES: usize = 2 * 1024 * 1024;

/// The set that is asked for, or everything that is wrong with it.
pub(super) fn set_from_wire(request: &v1::ApplyPoliciesRequest) -> Result<Set, Status> {
    let mut found = Violations::none();
    let prune = prune_from_wire(&mut found, request);
    let count = request.policies.len();
    if count > MAX_SET {
        let bound = format!("must be at most {MAX_SET}; split the set by owner or namespace");
        found.add("policies", format!("{count} policies"), bound);
        return Err(status::invalid(found));
    }
    let mut asked = Vec::new();
    for (index, wire) in request.policies.iter().enumerate() {
        match policy_from_wire(wire) {
            Ok(policy) => asked.push(Asked {
                index,
                policy,
                etag: set(&wire.etag).map(str::to_owned),
            }),
            Err(violations) => found.extend(violations.under(&format!("policies[{index}]"))),
        }
    }
    match (Set::new(&mut found, asked, prune), found.is_empty()) {
        (Some(set), true) => Ok(set),
        _ => Err(status::invalid(found)),
    }
}

fn prune_from_wire(found: &mut Violations, request: &v1::ApplyPoliciesRequest) -> Option<Prune> {
    let namespace = optional_namespace(found, &request.namespace);
    if request.prune && request.owner.is_empty() {
        let bound = "must be set for `prune`: only this owner's policies are deleted";
        found.add("owner", "nothing", bound);
    }
    let limits = [("owner", &request.owner), ("namespace", &request.namespace)];
    for (field, value) in limits {
        if !request.prune && !value.is_empty() {
            let bound = "must not be set without `prune`, which alone it limits";
            found.add(field, format!("{value:?}"), bound);
        }
    }
    request.prune.then(|| Prune {
        owner: request.owner.clone(),
        namespace,
        allow_empty: request.allow_empty,
    })
}

/// The answer: as many diffs in full as fit, of the others only what is done.
pub(super) fn applied_to_wire(applied: Applied, reach: v1::Reach) -> v1::ApplyPoliciesResponse {
    let mut bytes = 0;
    let diff = |diff| {
        let mut wire = diff_to_wire(diff);
        bytes += wire.encoded_len();
        if bytes > FULL_BYTES {
            shorten(&mut wire);
        }
        wire
    };
    v1::ApplyPoliciesResponse {
        diffs: applied.diffs.into_iter().map(diff).collect(),
        revision: applied.revision.0,
        reach: Some(reach),
    }
}

fn shorten(diff: &mut v1::PolicyDiff) {
    let (changes, warnings) = (diff.changes.len(), diff.warnings.len());
    if changes + warnings == 0 {
        return;
    }
    diff.changes.clear();
    diff.warnings = vec![v1::Warning {
        field: String::new(),
        description: format!(
            "{changes} changes and {warnings} warnings are left out, the answer being full"
        ),
    }];
}

fn diff_to_wire(diff: Diff) -> v1::PolicyDiff {
    let action = match diff.action() {
        Action::Unchanged => policy_diff::Action::Unchanged,
        Action::Create => policy_diff::Action::Create,
        Action::Update => policy_diff::Action::Update,
        Action::Delete => policy_diff::Action::Delete,
    };
    let before = diff.before.as_deref().map(stored_to_wire);
    let after = diff.after.as_ref().map(policy_to_wire);
    let changes = match action {
        policy_diff::Action::Unchanged => Vec::new(),
        _ => json::changes(before.as_ref(), after.as_ref()),
    };
    v1::PolicyDiff {
        namespace: diff.id.namespace.to_string(),
        name: diff.id.name.to_string(),
        action: action.into(),
        changes,
        warnings: diff.warnings.into_iter().map(warning_to_wire).collect(),
        replaced_revision: before.map_or(0, |stored| stored.revision),
    }
}
