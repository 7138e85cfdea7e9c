//! Why each field is what it is.
//!
//! The same layers are laid in the same way as by [`resolve`](super::resolve); here somebody takes
//! down who spoke. Of those who spoke of a field in earnest the last decides. The others, from the
//! highest layer down, are those who would have decided otherwise: without the one that decides,
//! the first of them that is not in shadow would.

use super::order::{Reason, contest, in_order};
use super::{Author, Layer, Origin, Repair, Resolution, Stacks, Target, Word, layers};
use crate::policy::Policy;
use crate::policy::field::Field;
use crate::policy::rules::Rules;

/// The outcome of a cascade, and how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation<'a> {
    /// The outcome.
    pub resolution: Resolution,
    /// Every field of what is enforced, in the order of the contract. A mode is none: it speaks of
    /// its own layer.
    pub fields: Vec<FieldExplanation>,
    /// The policies that match, the one that decides first.
    pub ranking: Vec<&'a Policy>,
}

/// Why one field is what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldExplanation {
    /// Which field.
    pub field: Field,
    /// What holds in it; nothing else is set, and not even that where nothing limits or hedges.
    pub value: Rules,
    /// Who decided.
    pub origin: Origin,
    /// Whether it did so by clearing the field, so that the kind's default holds.
    pub cleared: bool,
    /// The field that this one had to give way to, which makes its value another than was set.
    pub gave_way_to: Option<Field>,
    /// Who spoke of it in vain, the next in line first.
    pub overruled: Vec<Overruled>,
}

/// A layer that spoke of a field in vain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overruled {
    /// Whose it is.
    pub origin: Origin,
    /// What it set in the field; nothing else is set, and not even that if it cleared it.
    pub value: Rules,
    /// Whether it cleared the field.
    pub cleared: bool,
    /// Why it does not decide.
    pub reason: Reason,
}

/// Does what [`resolve`](super::resolve) does, and says why it comes to that.
pub fn explain<'a>(
    target: &Target<'_>,
    locals: &[(Origin, Rules)],
    policies: impl IntoIterator<Item = &'a Policy>,
) -> Explanation<'a> {
    let mut ranking = in_order(target, policies);
    let mut heard = vec![Vec::new(); Field::ALL.len()];
    let mut stacks = Stacks::new();
    for layer in layers(locals, &ranking) {
        stacks.lay(layer, |field, word| {
            heard[field as usize].push(Said { layer, field, word });
        });
    }
    let resolution = stacks.settle(target.kind);
    let whole = resolution.effective.to_rules();
    let fields = Field::ALL.iter().filter(|field| !field.is_mode());
    let fields = fields
        .map(|&field| explain_field(field, &heard[field as usize], &whole, &resolution))
        .collect();
    ranking.reverse();
    Explanation {
        resolution,
        fields,
        ranking,
    }
}

/// That a layer spoke of a field.
#[derive(Clone, Copy)]
struct Said<'a> {
    layer: Layer<'a>,
    field: Field,
    word: Word,
}

/// `heard` is what was said of `field`, the lowest layer first.
fn explain_field(
    field: Field,
    heard: &[Said<'_>],
    whole: &Rules,
    resolution: &Resolution,
) -> FieldExplanation {
    let decided = heard.iter().rposition(|said| !said.is_in_shadow());
    let winner = decided.map(|at| &heard[at]);
    let losers = heard.iter().enumerate().rev();
    let losers = losers.filter(|(at, _)| Some(*at) != decided);
    let gave_way = |repair: &&Repair| repair.field == field;
    FieldExplanation {
        field,
        value: only(field, whole),
        origin: resolution.origins.of(field).clone(),
        cleared: winner.is_some_and(Said::clears),
        gave_way_to: resolution
            .repairs
            .iter()
            .find(gave_way)
            .map(|repair| repair.because_of),
        overruled: losers.map(|(_, loser)| loser.overruled(winner)).collect(),
    }
}

impl Said<'_> {
    fn is_in_shadow(&self) -> bool {
        self.layer.shadows(self.field)
    }

    fn clears(&self) -> bool {
        self.word == Word::Clear
    }

    fn overruled(&self, winner: Option<&Said<'_>>) -> Overruled {
        Overruled {
            origin: self.layer.author.origin(),
            value: only(self.field, self.layer.rules),
            cleared: self.clears(),
            reason: self.reason(winner),
        }
    }

    /// Why it does not decide.
    fn reason(&self, winner: Option<&Said<'_>>) -> Reason {
        // Whoever speaks in earnest and does not decide has somebody above.
        let Some(winner) = winner.filter(|_| !self.is_in_shadow()) else {
            return Reason::Shadow;
        };
        match (self.layer.author, winner.layer.author) {
            (Author::Policy(loser), Author::Policy(winner)) => contest(loser, winner).1,
            _ => Reason::LowerLayer,
        }
    }
}

/// What `rules` say of `field`, and nothing else.
fn only(field: Field, rules: &Rules) -> Rules {
    let mut one = Rules::default();
    field.copy(rules, &mut one);
    one
}

#[cfg(test)]
mod tests;
