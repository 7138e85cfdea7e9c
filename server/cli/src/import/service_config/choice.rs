//! Which config of a list holds (gRFC A2): resolvers hand out choices, each for some clients only.

use super::{Field, Reader};
use crate::files::{Is, Node};

/// The config to translate and its path. Of a list that is the first choice for everybody, or else
/// the first of all.
pub(super) fn chosen<'n>(
    reader: &mut Reader<'_>,
    document: &'n Node,
) -> Option<(&'n Node, String)> {
    let Is::List(choices) = &document.is else {
        return Some((document, String::new()));
    };
    let fields: Vec<_> = choices
        .iter()
        .enumerate()
        .map(|(number, choice)| reader.section(choice, &format!("[{number}]")))
        .collect();
    let general = fields.iter().position(|fields| is_for_everybody(fields));
    let chosen = general.unwrap_or(0);
    let mut config = None;
    for (number, fields) in fields.into_iter().enumerate() {
        for field in fields {
            if number != chosen {
                let why = format!("the choice [{chosen}] was taken; one config can hold at once");
                reader.none(&field, why);
                continue;
            }
            match field.name.as_str() {
                "serviceConfig" => config = Some((field.node, field.path)),
                "percentage" | "clientLanguage" | "clientHostname" => limit(reader, &field),
                _ => reader.none(&field, super::UNKNOWN),
            }
        }
    }
    if config.is_none() {
        let message = "has no serviceConfig to translate";
        reader.error(document.at, &format!("[{chosen}]"), message);
    }
    config
}

/// A limit of the choice that was taken.
fn limit(reader: &mut Reader<'_>, field: &Field<'_>) {
    if limits(field) {
        let why = "the policies hold for every client; narrow their selectors if that is too wide";
        reader.none(field, why);
    }
}

fn is_for_everybody(fields: &[Field<'_>]) -> bool {
    let has_config = fields.iter().any(|field| field.name == "serviceConfig");
    has_config && !fields.iter().any(limits)
}

/// Whether it keeps the choice from anybody. All clients are a hundred per cent, or an empty list.
fn limits(field: &Field<'_>) -> bool {
    match field.name.as_str() {
        "percentage" => field.node.is.text() != Some("100"),
        "clientLanguage" | "clientHostname" => field.node.is != Is::List(Vec::new()),
        _ => false,
    }
}
