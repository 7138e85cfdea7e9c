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
mod explain;
mod order;
mod whole;

use super::Policy;
use super::defaults;
use super::field::Field;
use super::rules::{Mode, Rules};
use crate::key::{Kind, Labels, OperationName, PolicyId, Service};

pub use effective::{BreakerRules, Effective, Shadow, longest_backoff};
pub use explain::{Explanation, FieldExplanation, Overruled, explain};
pub use order::Reason;

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
    let policies = order::in_order(target, policies);
    let mut stacks = Stacks::new();
    for layer in layers(locals, &policies) {
        stacks.lay(layer, |_, _| ());
    }
    stacks.settle(target.kind)
}

/// Everything that is laid over the defaults, lowest first.
fn layers<'a>(
    locals: &'a [(Origin, Rules)],
    policies: &'a [&'a Policy],
) -> impl Iterator<Item = Layer<'a>> {
    let locals = locals.iter().map(|(origin, rules)| Layer {
        author: Author::Process(origin),
        rules,
        clear: &[],
    });
    let policies = policies.iter().map(|policy| Layer {
        author: Author::Policy(policy),
        rules: policy.rules(),
        clear: policy.clear(),
    });
    locals.chain(policies)
}

/// What one layer says.
#[derive(Clone, Copy)]
struct Layer<'a> {
    author: Author<'a>,
    rules: &'a Rules,
    clear: &'a [Field],
}

/// Whose layer it is.
#[derive(Clone, Copy)]
enum Author<'a> {
    Process(&'a Origin),
    Policy(&'a Policy),
}

/// What a layer says of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Set,
    Clear,
}

impl Layer<'_> {
    /// What it says of `field`, if it does.
    fn word(&self, field: Field) -> Option<Word> {
        if field.is_set(self.rules) {
            Some(Word::Set)
        } else {
            self.clear.contains(&field).then_some(Word::Clear)
        }
    }

    /// Whether it only tries out what it says in `field`.
    fn shadows(&self, field: Field) -> bool {
        field.section().mode(self.rules) == Some(Mode::Shadow)
    }
}

impl Author<'_> {
    fn origin(self) -> Origin {
        match self {
            Self::Process(origin) => origin.clone(),
            Self::Policy(policy) => Origin::Policy(policy.id().clone()),
        }
    }
}

/// The layers so far, with and without what is only tried out.
struct Stacks {
    enforced: Stack,
    as_if: Stack,
}

impl Stacks {
    fn new() -> Self {
        Self {
            enforced: Stack::new(),
            as_if: Stack::new(),
        }
    }

    /// Lays one layer over the others; `heard` is told each field that it speaks of.
    fn lay(&mut self, layer: Layer<'_>, mut heard: impl FnMut(Field, Word)) {
        for &field in Field::ALL {
            let Some(word) = layer.word(field) else {
                continue;
            };
            self.as_if.take(field, word, layer);
            if !layer.shadows(field) {
                self.enforced.take(field, word, layer);
            }
            heard(field, word);
        }
    }

    fn settle(self, kind: Kind) -> Resolution {
        let row = defaults::of(kind);
        let (effective, repairs) = effective::settle(&self.enforced.rules, &self.as_if.rules, &row);
        Resolution {
            effective,
            origins: Origins(self.enforced.origins),
            shadow_origins: Origins(self.as_if.origins),
            repairs,
        }
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

    /// Takes over what `layer` says of `field`.
    fn take(&mut self, field: Field, word: Word, layer: Layer<'_>) {
        match word {
            Word::Set => field.copy(layer.rules, &mut self.rules),
            Word::Clear => field.copy(&Rules::default(), &mut self.rules),
        }
        self.origins[field as usize] = layer.author.origin();
    }
}

#[cfg(test)]
mod tests;
