//! A partial update: which parts of a message replace what is there.
//!
//! What the mask leaves out is not looked at, so that nonsense there is no reason to refuse. Fields
//! that are one group in core are replaced as one, whichever of them the mask names.

use fusebox_core::policy::field::Field;
use fusebox_core::policy::{Policy, Violations};
use prost_types::FieldMask;

use super::policy::{checked, clear_from_wire, paths, policy_from_wire, selector_from_wire};
use super::rules::rules_from_wire;
use super::text::shown;
use crate::v1;

const UPDATE_MASK: &str = "update_mask";

/// `existing` with the parts of `incoming` that the mask names; without a mask (or an empty one),
/// with all that `incoming` sets. Without an existing policy, all of `incoming`.
///
/// The identity stays the existing policy's. On refusal, everything that is wrong: with the mask's
/// paths under `update_mask`, with the parts replaced, and with the whole that would come of it.
pub fn merge(
    existing: Option<Policy>,
    incoming: &v1::Policy,
    mask: Option<&FieldMask>,
) -> Result<Policy, Violations> {
    let mut found = Violations::none();
    let parts = match mask {
        Some(mask) if !mask.paths.is_empty() => Parts::named(&mut found, mask),
        _ => Parts::set_in(incoming),
    };
    let merged = match existing {
        Some(existing) => replace(existing, incoming, &parts),
        None => policy_from_wire(incoming),
    };
    match merged {
        Ok(merged) => found.into_result(merged),
        Err(more) => {
            found.extend(more);
            Err(found)
        }
    }
}

/// What an update replaces.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parts {
    owner: bool,
    description: bool,
    priority: bool,
    selector: bool,
    rules: Vec<Field>,
    clear: bool,
}

impl Parts {
    fn all() -> Self {
        Self {
            owner: true,
            description: true,
            priority: true,
            selector: true,
            rules: Field::ALL.to_vec(),
            clear: true,
        }
    }

    /// All that `incoming` sets; its selector and its rules whole.
    fn set_in(incoming: &v1::Policy) -> Self {
        let rules = incoming.rules.as_ref().map(|_| Field::ALL.to_vec());
        Self {
            owner: !incoming.owner.is_empty(),
            description: !incoming.description.is_empty(),
            priority: incoming.priority != 0,
            selector: incoming.selector.is_some(),
            rules: rules.unwrap_or_default(),
            clear: incoming.clear.is_some(),
        }
    }

    fn named(found: &mut Violations, mask: &FieldMask) -> Self {
        let mut parts = Self::default();
        for path in paths(found, UPDATE_MASK, Some(mask)) {
            if let Err(bound) = parts.add(path) {
                found.add(UPDATE_MASK, shown(path), bound);
            }
        }
        parts
    }

    fn add(&mut self, path: &str) -> Result<(), &'static str> {
        match path {
            "*" => *self = Self::all(),
            "owner" => self.owner = true,
            "description" => self.description = true,
            "priority" => self.priority = true,
            "selector" => self.selector = true,
            "rules" => self.rules = Field::ALL.to_vec(),
            "clear" => self.clear = true,
            _ => self.rules.extend(fields_of(path)?),
        }
        Ok(())
    }
}

/// The rule fields that `path` names, or why it may not be in a mask.
fn fields_of(path: &str) -> Result<Vec<Field>, &'static str> {
    let fields = path.strip_prefix("rules.").map(Field::named);
    if let Some(fields) = fields.filter(|fields| !fields.is_empty()) {
        return Ok(fields);
    }
    Err(match path.split('.').next().unwrap_or_default() {
        "namespace" | "name" => "must not name the policy's identity, which cannot change",
        "revision" | "etag" | "create_time" | "update_time" | "updated_by" | "schema" => {
            "must not name what is output only"
        }
        "selector" => "must name `selector`, which is replaced whole",
        "clear" => "must name `clear`, which is replaced whole",
        _ => "must name a field of a policy, such as priority or rules.timeout.attempt",
    })
}

fn replace(existing: Policy, incoming: &v1::Policy, parts: &Parts) -> Result<Policy, Violations> {
    let mut found = Violations::none();
    let mut draft = existing.into_draft();
    if parts.owner {
        draft.owner.clone_from(&incoming.owner);
    }
    if parts.description {
        draft.description.clone_from(&incoming.description);
    }
    if parts.priority {
        draft.priority = incoming.priority;
    }
    if parts.selector
        && let Some(selector) = selector_from_wire(&mut found, incoming.selector.as_ref())
    {
        draft.selector = selector;
    }
    let mut of_rules = Violations::none();
    let rules = rules_from_wire(&mut of_rules, incoming.rules.as_ref());
    for field in &parts.rules {
        field.copy(&rules, &mut draft.rules);
    }
    keep_those_about(&parts.rules, &of_rules, &mut found);
    if parts.clear {
        draft.clear = clear_from_wire(&mut found, incoming.clear.as_ref());
    }
    checked(draft, found)
}

/// Of what was found in the rules, only what concerns the fields that are replaced.
fn keep_those_about(fields: &[Field], of_rules: &Violations, found: &mut Violations) {
    let concerned = |path| field_at(path).is_none_or(|field| fields.contains(&field));
    for violation in of_rules.iter() {
        if concerned(&violation.field) {
            found.add(&violation.field, &violation.value, &violation.bound);
        }
    }
}

/// The field that a path names or leads into ("rules.circuit_breaker.window.span").
fn field_at(path: &str) -> Option<Field> {
    let path = path.strip_prefix("rules.")?;
    let leads_into = |candidate: &str| {
        let rest = path.strip_prefix(candidate);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let mut fields = Field::ALL.iter().copied();
    fields.find(|field| field.paths().iter().any(|candidate| leads_into(candidate)))
}

#[cfg(test)]
mod tests;
