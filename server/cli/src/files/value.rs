//! A single value as its field wants it: strictly of the field's type, in the words of protobuf's
//! JSON form.

use prost_reflect::{
    DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value,
};
use serde_json::Value as Json;

use super::finding::nearest;
use super::yaml::{Is, Key, Node, Word};

/// Whatever is written as one word, or the paths of a mask; `None` if the field cannot be that.
pub(super) fn read(node: &Node, field: &FieldDescriptor) -> Option<Value> {
    if let Some(paths) = mask_paths(node, field) {
        return parsed(mask(&paths.join(",")), field);
    }
    let json = as_json(node.is.text()?, node.is.word()?, field)?;
    parsed(json, field)
}

/// The paths of a mask that is written as the message it is, as grpcurl wants it.
fn mask_paths<'n>(node: &'n Node, field: &FieldDescriptor) -> Option<Vec<&'n str>> {
    let Kind::Message(message) = field.kind() else {
        return None;
    };
    let Is::Map(entries) = &node.is else {
        return None;
    };
    let [
        (
            Key { name, .. },
            Node {
                is: Is::List(paths),
                ..
            },
        ),
    ] = entries.as_slice()
    else {
        return None;
    };
    let is_mask = message.name() == "FieldMask" && name == "paths";
    let words = paths
        .iter()
        .map(|path| path.is.text().filter(|text| !text.contains(',')));
    words.collect::<Option<_>>().filter(|_| is_mask)
}

/// Has a form of its own in JSON.
pub(super) fn is_well_known(message: &MessageDescriptor) -> bool {
    message.full_name().starts_with("google.protobuf.")
}

/// The word as JSON, if it is of a type that the field can have.
fn as_json(text: &str, word: Word, field: &FieldDescriptor) -> Option<Json> {
    match (word, field.kind()) {
        (Word::Bool(value), Kind::Bool) => Some(value.into()),
        (_, Kind::Bool) => None,
        (Word::Text, Kind::Message(message)) if message.name() == "FieldMask" => Some(mask(text)),
        (Word::Text, _) => Some(text.into()),
        (_, Kind::String | Kind::Bytes | Kind::Message(_)) => None,
        (Word::Number, _) => serde_json::from_str(text).ok(),
        (Word::Null | Word::Bool(_) | Word::OddNumber, _) => None,
    }
}

/// A mask's paths as JSON has them, with nothing between them but commas.
fn mask(paths: &str) -> Json {
    camel_case(&paths.replace(char::is_whitespace, "")).into()
}

/// The contract's names, or paths of them, in JSON's case; those that have it already stay.
pub(crate) fn camel_case(names: &str) -> String {
    let mut camel = String::with_capacity(names.len());
    let mut upper = false;
    for c in names.chars() {
        match c {
            '_' => upper = true,
            c if upper => {
                camel.extend(c.to_uppercase());
                upper = false;
            }
            c => camel.push(c),
        }
    }
    camel
}

/// By protobuf's own reading of a message that has this one field; a map's entry is one, too.
fn parsed(json: Json, field: &FieldDescriptor) -> Option<Value> {
    let message = serde_json::Map::from_iter([(field.json_name().to_owned(), json)]);
    let parent = field.parent_message().clone();
    let options = DeserializeOptions::new();
    let read =
        DynamicMessage::deserialize_with_options(parent, Json::Object(message), &options).ok()?;
    Some(read.get_field(field).into_owned())
}

/// What a field wants to be, in words.
pub(super) fn wanted(field: &FieldDescriptor, node: &Node) -> String {
    match field.kind() {
        Kind::Bool => "true or false".to_owned(),
        Kind::String => "text; put it in quotes".to_owned(),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            format!("a whole number from {} to {}", i32::MIN, i32::MAX)
        }
        Kind::Uint32 | Kind::Fixed32 => format!("a whole number from 0 to {}", u32::MAX),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => {
            "a whole number".to_owned()
        }
        Kind::Double | Kind::Float => "a number such as 0.5".to_owned(),
        Kind::Enum(names) => {
            let names: Vec<_> = names
                .values()
                .map(|value| value.name().to_owned())
                .collect();
            let near = node.is.text().and_then(|text| nearest_of(text, &names));
            let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
            format!("one of {}{hint}", names.join(", "))
        }
        Kind::Message(message) if message.name() == "Duration" => {
            "a time in seconds such as 0.8s".to_owned()
        }
        Kind::Message(message) if message.name() == "FieldMask" => {
            "one text of field paths with commas between them".to_owned()
        }
        Kind::Message(message) if message.name() == "Timestamp" => {
            "a time such as 2030-01-31T12:00:00Z".to_owned()
        }
        kind => format!("a {kind:?}"),
    }
}

/// Whole, or without the prefix that all names of an enumeration have.
fn nearest_of<'n>(text: &str, names: &'n [String]) -> Option<&'n str> {
    let upper = text.to_uppercase();
    let ends = |name: &&String| name.ends_with(&format!("_{upper}"));
    let ending = names.iter().find(ends).map(String::as_str);
    ending.or_else(|| nearest(text, names.iter().map(String::as_str)))
}
