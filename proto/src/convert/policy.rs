//! Policies: the message an operator writes, and the value that is valid once held.

use fusebox_core::glob::Glob;
use fusebox_core::key::{Kind, Labels, Namespace, PolicyId, PolicyName};
use fusebox_core::policy::field::{Field, SCHEMA};
use fusebox_core::policy::selector::Selector;
use fusebox_core::policy::{Draft, Policy, Stored, Violations};
use fusebox_core::revision::Revision;
use prost_types::FieldMask;

use super::kind::{kind_from_wire, kind_to_wire};
use super::rules::{rules_from_wire, rules_to_wire};
use super::text::{labels, name, shown};
use super::time::{timestamp_from_wire, timestamp_to_wire};
use crate::v1;

/// Most paths in a field mask: more than there are fields, few enough to answer each.
pub const MAX_PATHS: usize = 64;

/// The policy, or everything that is wrong with it, each with its path within the policy. What is
/// output only is passed over.
pub fn policy_from_wire(wire: &v1::Policy) -> Result<Policy, Violations> {
    let mut found = Violations::none();
    let id = id(&mut found, &wire.namespace, &wire.name);
    let selector = selector_from_wire(&mut found, wire.selector.as_ref());
    let draft = Draft {
        id: id.unwrap_or_else(any_id),
        owner: wire.owner.clone(),
        description: wire.description.clone(),
        priority: wire.priority,
        selector: selector.unwrap_or_else(any_selector),
        rules: rules_from_wire(&mut found, wire.rules.as_ref()),
        clear: clear_from_wire(&mut found, wire.clear.as_ref()),
    };
    checked(draft, found)
}

/// The policy, without what only its store can add.
pub fn policy_to_wire(policy: &Policy) -> v1::Policy {
    v1::Policy {
        namespace: policy.id().namespace.to_string(),
        name: policy.id().name.to_string(),
        owner: policy.owner().to_owned(),
        description: policy.description().to_owned(),
        priority: policy.priority(),
        selector: Some(selector_to_wire(policy.selector())),
        rules: rules_to_wire(policy.rules()),
        clear: clear_to_wire(policy.clear()),
        schema: policy.schema(),
        ..v1::Policy::default()
    }
}

/// A policy as its store or a snapshot holds it. One that uses more than this build can enforce is
/// refused, because a part of it may have been lost in decoding; so is any that its own rules
/// refuse.
pub fn stored_from_wire(wire: &v1::Policy) -> Result<Stored, Violations> {
    stored_from_wire_as(wire, SCHEMA)
}

/// Likewise, as read by a build that can enforce no more than `schema`.
pub fn stored_from_wire_as(wire: &v1::Policy, schema: u32) -> Result<Stored, Violations> {
    if wire.schema > schema {
        let mut found = Violations::none();
        let bound = format!("must be at most {schema}, the highest known here");
        found.add("schema", wire.schema, bound);
        return Err(found);
    }
    Ok(Stored {
        policy: policy_from_wire(wire)?,
        revision: Revision(wire.revision),
        create_time: timestamp_from_wire(wire.create_time.as_ref()),
        update_time: timestamp_from_wire(wire.update_time.as_ref()),
        updated_by: wire.updated_by.clone(),
    })
}

/// The policy with what its store knows of it.
pub fn stored_to_wire(stored: &Stored) -> v1::Policy {
    v1::Policy {
        revision: stored.revision.0,
        etag: stored.etag(),
        create_time: Some(timestamp_to_wire(stored.create_time)),
        update_time: Some(timestamp_to_wire(stored.update_time)),
        updated_by: stored.updated_by.clone(),
        ..policy_to_wire(&stored.policy)
    }
}

/// Which policy a request means: an empty namespace is the default one.
pub fn policy_id_from_wire(namespace: &str, name: &str) -> Result<PolicyId, Violations> {
    let mut found = Violations::none();
    let id = id(&mut found, namespace, name);
    id.ok_or(found)
}

/// The namespace, the default one if empty; or a finding about `field`.
pub(super) fn namespace_from_wire(
    found: &mut Violations,
    field: &str,
    wire: &str,
) -> Option<Namespace> {
    if wire.is_empty() {
        return Some(Namespace::default_namespace());
    }
    name(found, field, wire, Namespace::new)
}

/// Core's own judgement of the draft, beside what was found while it was read.
pub(super) fn checked(draft: Draft, mut found: Violations) -> Result<Policy, Violations> {
    match Policy::new(draft) {
        Ok(policy) => found.into_result(policy),
        Err(more) => {
            found.extend(more);
            Err(found)
        }
    }
}

fn id(found: &mut Violations, namespace: &str, policy: &str) -> Option<PolicyId> {
    let namespace = namespace_from_wire(found, "namespace", namespace);
    let name = name(found, "name", policy, PolicyName::new);
    Some(PolicyId {
        namespace: namespace?,
        name: name?,
    })
}

pub(super) fn selector_from_wire(
    found: &mut Violations,
    wire: Option<&v1::Selector>,
) -> Option<Selector> {
    let empty = v1::Selector::default();
    let wire = wire.unwrap_or(&empty);
    let selector = Selector::new(
        glob(found, "selector.service", &wire.service),
        glob(found, "selector.operation", &wire.operation),
        kind(found, "selector.kind", wire.kind),
        labels(found, "selector.instance_labels", &wire.instance_labels),
    );
    if *wire == empty {
        found.keep("selector", "empty", selector)
    } else {
        // Then it is empty because no condition could be read, which has been told.
        selector.ok()
    }
}

pub(super) fn selector_to_wire(selector: &Selector) -> v1::Selector {
    let text = |glob: Option<&Glob>| glob.map(ToString::to_string).unwrap_or_default();
    let labels = selector.labels().iter();
    v1::Selector {
        service: text(selector.service()),
        operation: text(selector.operation()),
        kind: kind_to_wire(selector.kind()).into(),
        instance_labels: labels
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
    }
}

fn glob(found: &mut Violations, field: &str, wire: &str) -> Option<Glob> {
    if wire.is_empty() {
        return None;
    }
    name(found, field, wire, Glob::new)
}

fn kind(found: &mut Violations, field: &str, wire: i32) -> Option<Kind> {
    found.keep(field, wire, kind_from_wire(wire)).flatten()
}

/// The fields named, each once; a section's all but its mode, which nobody inherits.
pub(super) fn clear_from_wire(found: &mut Violations, wire: Option<&FieldMask>) -> Vec<Field> {
    let mut fields = Vec::new();
    for path in paths(found, "clear", wire) {
        let named = Field::named(path);
        if named.is_empty() {
            let bound = "must name a field or a section of `rules`, such as timeout.attempt";
            found.add("clear", shown(path), bound);
        }
        let alone = named.len() == 1;
        for field in named {
            if !fields.contains(&field) && (alone || !field.is_mode()) {
                fields.push(field);
            }
        }
    }
    fields
}

fn clear_to_wire(fields: &[Field]) -> Option<FieldMask> {
    let paths: Vec<_> = fields.iter().map(ToString::to_string).collect();
    (!paths.is_empty()).then_some(FieldMask { paths })
}

/// A mask's paths, or a finding about `field` that they are too many.
pub(super) fn paths<'a>(
    found: &mut Violations,
    field: &str,
    wire: Option<&'a FieldMask>,
) -> &'a [String] {
    let paths = wire.map_or(&[][..], |mask| &mask.paths);
    if paths.len() > MAX_PATHS {
        let bound = format!("must be at most {MAX_PATHS}");
        found.add(field, format!("{} paths", paths.len()), bound);
        return &[];
    }
    paths
}

/// Stands in for one that cannot be read, so that core can check the rest. It never leaves this
/// crate: a finding about it has been made.
fn any_id() -> PolicyId {
    // Cannot fail: both are legal names. Every test of an unreadable name comes by here.
    PolicyId::new("default", "unreadable").expect("legal names")
}

/// Stands in like [`any_id`].
fn any_selector() -> Selector {
    // Cannot fail: it has a condition. Every test of an unreadable selector comes by here.
    Selector::new(None, None, Some(Kind::Custom), Labels::default()).expect("a condition")
}

#[cfg(test)]
mod tests;
