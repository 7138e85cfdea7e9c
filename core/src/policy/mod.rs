//! What is a legal policy, and which rules an operation ends up with.
//!
//! A [`Policy`] is valid once held: [`Policy::new`] reports every problem at once, each with the
//! path of its field. Its [`Rules`] are partial; [`resolve`] lays the layers over
//! each other, field by field, from the kind's defaults up to the most specific policy, and yields
//! the total, always legal [`Effective`] rules together with who set what. Sections in shadow mode
//! are laid beside them. A [`Catalog`] finds the policies that can concern a service.
//!
//! The table of fields ([`field::Field`]) is the one place that knows them all: merging, clearing,
//! schema numbers and update masks follow from it.

pub mod cascade;
mod catalog;
pub mod defaults;
pub mod field;
pub mod overrides;
pub mod ratio;
pub mod rules;
pub mod selector;
pub mod stored;
pub mod violation;

use crate::key::PolicyId;
use field::Field;
use rules::Rules;
use selector::Selector;

pub use cascade::{
    BreakerRules, Effective, Explanation, FieldExplanation, Oddity, Origin, Overruled, Reason,
    Resolution, Shadow, Target, explain, resolve,
};
pub use catalog::Catalog;
pub use stored::Stored;
pub use violation::{Violation, Violations};

/// Longest owner or description, in bytes.
pub const MAX_TEXT: usize = 4096;

/// What a policy consists of, before anyone has checked it as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Who it is.
    pub id: PolicyId,
    /// Who answers for it.
    pub owner: String,
    /// What it is for.
    pub description: String,
    /// Of two policies that set the same field the higher decides.
    pub priority: i32,
    /// Whom it concerns.
    pub selector: Selector,
    /// What it sets.
    pub rules: Rules,
    /// What falls back to the kind's default, whatever lower layers say. No modes.
    pub clear: Vec<Field>,
}

/// A policy without a contradiction in itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy(Draft);

impl Policy {
    /// Checks a draft; on refusal, everything that is wrong with it.
    pub fn new(draft: Draft) -> Result<Self, Violations> {
        let mut violations = draft.rules.violations();
        for (field, text) in [("owner", &draft.owner), ("description", &draft.description)] {
            if text.len() > MAX_TEXT {
                violations.add(field, format!("{} bytes", text.len()), "at most 4096 bytes");
            }
        }
        for field in &draft.clear {
            if field.is_mode() {
                let bound = "must not name a mode, which no other policy inherits";
                violations.add("clear", field.path(), bound);
            } else if field.is_set(&draft.rules) {
                let bound = "must not name a field that `rules` sets";
                violations.add("clear", field.path(), bound);
            }
        }
        violations.into_result(Self(draft))
    }

    /// Who it is.
    pub fn id(&self) -> &PolicyId {
        &self.0.id
    }

    /// Who answers for it.
    pub fn owner(&self) -> &str {
        &self.0.owner
    }

    /// What it is for.
    pub fn description(&self) -> &str {
        &self.0.description
    }

    /// Of two policies that set the same field the higher decides.
    pub fn priority(&self) -> i32 {
        self.0.priority
    }

    /// Whom it concerns.
    pub fn selector(&self) -> &Selector {
        &self.0.selector
    }

    /// What it sets.
    pub fn rules(&self) -> &Rules {
        &self.0.rules
    }

    /// What it clears.
    pub fn clear(&self) -> &[Field] {
        &self.0.clear
    }

    /// The highest schema number among the fields it uses: an SDK below it must refuse the policy.
    pub fn schema(&self) -> u32 {
        Field::ALL
            .iter()
            .filter(|field| field.is_set(&self.0.rules) || self.0.clear.contains(field))
            .map(|field| field.schema(&self.0.rules))
            .max()
            .unwrap_or(1)
    }

    /// The parts, to change and check anew.
    pub fn into_draft(self) -> Draft {
        self.0
    }
}

#[cfg(test)]
mod tests;
