//! Who can set a field, and what a process sets by itself.

use std::cmp::Ordering;

use fusebox_core::policy::rules::Rules;
use fusebox_core::policy::{Origin, Violations};

use super::rules::{rules_from_wire, rules_to_wire};
use crate::v1;

/// A layer that is not one of a process's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a layer of a process: its file, its environment or its call site")]
struct NotLocal;

/// Layers that a process has of its own; no other declares more.
const LOCAL: [v1::Layer; 3] = [v1::Layer::File, v1::Layer::Environment, v1::Layer::CallSite];

/// The layer.
pub(super) fn layer_to_wire(origin: &Origin) -> v1::Layer {
    match origin {
        Origin::Kind => v1::Layer::Kind,
        Origin::File => v1::Layer::File,
        Origin::Environment => v1::Layer::Environment,
        Origin::CallSite => v1::Layer::CallSite,
        Origin::Policy(_) => v1::Layer::Policy,
    }
}

/// The layers, lowest first and each at most once, or everything that is wrong with them, under
/// `field`. One that sets nothing is none.
pub(super) fn local_layers_from_wire(
    field: &str,
    wire: &[v1::LocalLayer],
) -> Result<Vec<(Origin, Rules)>, Violations> {
    let mut found = Violations::none();
    if wire.len() > LOCAL.len() {
        let bound = format!("must be at most {}", LOCAL.len());
        found.add(field, format!("{} layers", wire.len()), bound);
        return Err(found);
    }
    let mut layers = Vec::with_capacity(wire.len());
    for (i, layer) in wire.iter().enumerate() {
        let below = i.checked_sub(1).map(|below| wire[below].layer);
        let mut here = Violations::none();
        let origin = origin_from_wire(&mut here, layer.layer, below);
        let rules = rules_from_wire(&mut here, layer.rules.as_ref());
        here.extend(rules.violations());
        found.extend(here.under(&format!("{field}[{i}]")));
        layers.extend(
            origin
                .filter(|_| !rules.is_empty())
                .map(|origin| (origin, rules)),
        );
    }
    found.into_result(layers)
}

/// What a process sets by itself, lowest first, without those layers that set nothing.
pub(super) fn local_layers_to_wire(layers: &[(Origin, Rules)]) -> Vec<v1::LocalLayer> {
    let layer = |(origin, rules): &(Origin, Rules)| v1::LocalLayer {
        layer: layer_to_wire(origin).into(),
        rules: rules_to_wire(rules),
    };
    let layers = layers.iter().filter(|(_, rules)| !rules.is_empty());
    layers.map(layer).collect()
}

/// Whose layer it is, or a finding about it: it must be a local one, above the one `below` it.
fn origin_from_wire(found: &mut Violations, wire: i32, below: Option<i32>) -> Option<Origin> {
    let local = match v1::Layer::try_from(wire) {
        Ok(v1::Layer::File) => Ok(Origin::File),
        Ok(v1::Layer::Environment) => Ok(Origin::Environment),
        Ok(v1::Layer::CallSite) => Ok(Origin::CallSite),
        _ => Err(NotLocal),
    };
    let origin = found.keep("layer", wire, local)?;
    // The numbers of the contract are in the order of the layers.
    if below.is_some_and(|below| below.cmp(&wire) != Ordering::Less) {
        found.add("layer", wire, "must be above the one before it");
    }
    Some(origin)
}
