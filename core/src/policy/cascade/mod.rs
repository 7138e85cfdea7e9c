//! Which rules an operation ends up with, and who set each.
//!
//! Layers are laid over each other from lowest to highest, field by field:
//!
//! ```text
//! kind's defaults < settings file < environment < call site < policies, least to most specific
//! ```
//!
//! Of two policies the one with the higher priority decides; then the one with the more specific
//! operation, service, kind, and more labels; then the one whose name comes later. That order is
//! total, so the result never depends on the order of arrival. A merge of legal layers can be odd
//! (an attempt timeout above the overall one): one table of repairs makes every merge legal.
//!
//! **Shadow.** A section that can refuse a call has a mode, and in SHADOW mode a layer tries that
//! section out. Two stacks are laid:
//!
//! ```text
//! layer (lowest first)       enforced       as if
//! defaults                   trip 5         trip 5
//! a: trip 3                  trip 3         trip 3
//! b: trip 1, mode SHADOW     -              trip 1
//! c: open for 9 s            open for 9 s   open for 9 s
//!                            trip 3, 9 s    trip 1, 9 s    <- the shadow, because it differs
//! ```
//!
//! The enforced stack passes over what a layer sets or clears in a section that is SHADOW in that
//! same layer; the other lays everything. So a shadow stands beside what lower layers enforce,
//! never instead of it, a layer above both changes both, and what is enforced is the same with and
//! without every layer in shadow. Where both stacks come to the same, there is no shadow.

mod effective;

use super::Policy;
use super::defaults;
use super::field::Field;
use super::rules::{Mode, Rules};
use crate::key::{Kind, Labels, OperationName, PolicyId, Service};

pub use effective::{BreakerRules, Effective, Shadow, longest_backoff};

/// The operation for which rules are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The service that calls.
    pub service: &'a Service,
    /// What it calls.
    pub operation: &'a OperationName,
    /// What kind of thing that is.
    pub kind: Kind,
    /// The calling instance's labels.
    pub labels: &'a Labels,
}

/// Who set a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The kind's defaults.
    Kind,
    /// The process's settings file.
    File,
    /// The process's environment.
    Environment,
    /// The author, at the call site.
    CallSite,
    /// A policy.
    Policy(PolicyId),
}

/// The outcome of a cascade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// What holds.
    pub effective: Effective,
    /// Who set each field of what is enforced.
    pub origins: Origins,
    /// Who would have set each field if nothing were in shadow.
    pub shadow_origins: Origins,
    /// What had to be changed to make the merge legal.
    pub repairs: Vec<Repair>,
}

/// A value that was changed because it contradicts another, set by another layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The field that gave way.
    pub field: Field,
    /// The field that decided.
    pub because_of: Field,
}

/// For every field, who set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins(Vec<Origin>);

impl Origins {
    /// Who set `field`.
    pub fn of(&self, field: Field) -> &Origin {
        &self.0[field as usize]
    }
}

/// Lays `locals` (lowest first) and then the `policies` that match `target` over the defaults of
/// its kind. Locals must be free of violations; policies are by construction.
pub fn resolve<'a>(
    target: &Target<'_>,
    locals: &[(Origin, Rules)],
    policies: impl IntoIterator<Item = &'a Policy>,
) -> Resolution {
    let (mut enforced, mut as_if) = (Stack::new(), Stack::new());
    let mut lay = |layer: &Layer<'_>| {
        enforced.lay(layer, |field| !layer.shadows(field));
        as_if.lay(layer, |_| true);
    };
    for (origin, rules) in locals {
        lay(&Layer {
            origin,
            rules,
            clear: &[],
        });
    }
    for policy in in_order(target, policies) {
        lay(&Layer {
            origin: &Origin::Policy(policy.id().clone()),
            rules: policy.rules(),
            clear: policy.clear(),
        });
    }
    let row = defaults::of(target.kind);
    let (effective, repairs) = effective::settle(&enforced.rules, &as_if.rules, &row);
    Resolution {
        effective,
        origins: Origins(enforced.origins),
        shadow_origins: Origins(as_if.origins),
        repairs,
    }
}

/// The policies that match, least specific first.
fn in_order<'a>(
    target: &Target<'_>,
    policies: impl IntoIterator<Item = &'a Policy>,
) -> Vec<&'a Policy> {
    let mut matching: Vec<_> = policies
        .into_iter()
        .filter(|policy| policy.selector().matches(target))
        .collect();
    matching.sort_by(|a, b| {
        a.priority()
            .cmp(&b.priority())
            .then_with(|| a.selector().cmp_specificity(b.selector()))
            .then_with(|| a.id().cmp(b.id()))
    });
    matching
}

/// What one layer says.
struct Layer<'a> {
    origin: &'a Origin,
    rules: &'a Rules,
    clear: &'a [Field],
}

impl Layer<'_> {
    /// Whether it only tries out what it says in `field`.
    fn shadows(&self, field: Field) -> bool {
        field.section().mode(self.rules) == Some(Mode::Shadow)
    }
}

/// What the layers so far have set, and who.
struct Stack {
    rules: Rules,
    origins: Vec<Origin>,
}

impl Stack {
    fn new() -> Self {
        Self {
            rules: Rules::default(),
            origins: vec![Origin::Kind; Field::ALL.len()],
        }
    }

    /// Lays what `layer` says in the fields that count.
    fn lay(&mut self, layer: &Layer<'_>, counts: impl Fn(Field) -> bool) {
        let nothing = Rules::default();
        for &field in Field::ALL.iter().filter(|field| counts(**field)) {
            let from = if field.is_set(layer.rules) {
                layer.rules
            } else if layer.clear.contains(&field) {
                &nothing
            } else {
                continue;
            };
            field.copy(from, &mut self.rules);
            self.origins[field as usize] = layer.origin.clone();
        }
    }
}

#[cfg(test)]
mod tests;
