//! From a tree to a policy, strictly by the contract's descriptors.
//!
//! A value has the type that its field asks for, or is refused: a word without quotes is never taken
//! for text where it looks like a number or a truth value, and text is a number only where
//! protobuf's JSON form says so. Names may be written in either case. Everything wrong is told, and
//! what could be read goes on, so that its own mistakes are told with the rest.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use fusebox_core::policy::Policy;
use fusebox_proto::convert::policy::policy_from_wire;
use fusebox_proto::{json, v1};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

use super::finding::{Finding, Index, Place, below, nearest, shown};
use super::value;
use super::yaml::{At, Is, Key, Node, Word};

/// A policy as a file has it.
#[derive(Debug)]
pub(crate) struct Entry<P = Policy> {
    /// As it is sent.
    pub(crate) wire: v1::Policy,
    /// The same, checked.
    pub(crate) policy: P,
    /// Where each of its fields stands.
    pub(crate) index: Index,
}

/// One that may have been refused.
pub(super) type Draft = Entry<Option<Policy>>;

impl Draft {
    /// Namespace and name, as far as they can be read.
    pub(super) fn id(&self) -> (&str, &str) {
        let namespace = match self.wire.namespace.as_str() {
            "" => "default",
            namespace => namespace,
        };
        (namespace, &self.wire.name)
    }

    /// The policy, unless it was refused.
    pub(super) fn legal(self) -> Option<Entry> {
        let Self {
            wire,
            policy,
            index,
        } = self;
        let policy = policy?;
        Some(Entry {
            wire,
            policy,
            index,
        })
    }
}

/// The policies of one document, and everything that is wrong with them.
pub(super) fn of_document(
    file: &Arc<str>,
    document: &Node,
    findings: &mut Vec<Finding>,
) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for node in policies(file, document, findings) {
        drafts.extend(of_node(file, node, findings));
    }
    drafts
}

/// The policies that a document holds: itself, or those of its only field `policies`.
fn policies<'n>(file: &Arc<str>, document: &'n Node, findings: &mut Vec<Finding>) -> Vec<&'n Node> {
    let Is::Map(entries) = &document.is else {
        if document.is.word() == Some(Word::Null) {
            return Vec::new();
        }
        return vec![document];
    };
    let Some((key, list)) = entries.iter().find(|(key, _)| key.name == "policies") else {
        return vec![document];
    };
    for (other, _) in entries.iter().filter(|(other, _)| other.at != key.at) {
        let message = "must not stand beside `policies`, which is a document of its own";
        findings.push(Finding::new(
            place(file, other.at),
            shown(&other.name),
            message,
        ));
    }
    match &list.is {
        Is::List(items) => items.iter().collect(),
        _ if list.is.word() == Some(Word::Null) => Vec::new(),
        is => {
            let message = format!("must be a list of policies (found {})", found(is));
            findings.push(Finding::new(place(file, list.at), "policies", message));
            Vec::new()
        }
    }
}

fn of_node(file: &Arc<str>, node: &Node, findings: &mut Vec<Finding>) -> Option<Draft> {
    if !matches!(node.is, Is::Map(_)) {
        let message = format!(
            "must be a policy, with its fields (found {})",
            found(&node.is)
        );
        findings.push(Finding::new(place(file, node.at), "", message));
        return None;
    }
    let mut reader = Reader {
        file,
        index: Index::new(place(file, node.at)),
        findings: Vec::new(),
    };
    let message = reader.message(node, &json::descriptor::<v1::Policy>(), "");
    let Reader {
        index,
        findings: told,
        ..
    } = reader;
    let wire = message.transcode_to::<v1::Policy>();
    // Cannot fail: the message was made by the descriptor of what it becomes.
    let wire = wire.expect("the same contract");
    let checked = policy_from_wire(&wire);
    let whole = told.is_empty();
    if let Err(violations) = &checked {
        let follow = |violation: &&_| !follows(&told, violation);
        let more: Vec<_> = violations.iter().filter(follow).collect();
        findings.extend(
            more.into_iter()
                .map(|violation| semantic(&index, violation)),
        );
    }
    findings.extend(told);
    let policy = checked.ok().filter(|_| whole);
    Some(Draft {
        wire,
        policy,
        index,
    })
}

/// Whether a violation is only there because something beside it could not be read.
fn follows(told: &[Finding], violation: &fusebox_core::policy::Violation) -> bool {
    let section = |path: &str| path.rsplit_once('.').map(|(section, _)| section.to_owned());
    told.iter().any(|told| {
        let field = violation.field.as_str();
        let holds = told.field.strip_prefix(field);
        let beside = section(&told.field) == section(field);
        holds.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            || (beside && violation.bound.starts_with("needs "))
    })
}

/// A violation at the line of its field, with what is written there.
pub(super) fn semantic(index: &Index, violation: &fusebox_core::policy::Violation) -> Finding {
    let written = index.text(&violation.field).map(shown);
    let value = written.unwrap_or_else(|| violation.value.clone());
    let at = index.place(&violation.field).clone();
    Finding::new(at, &violation.field, violation.describe(&value))
}

fn place(file: &Arc<str>, at: At) -> Place {
    Place::new(file, at.line, at.column)
}

/// What stands there, for an error.
fn found(is: &Is) -> String {
    match is {
        Is::Scalar { text, .. } if is.word() == Some(Word::Null) && text.is_empty() => {
            "nothing".to_owned()
        }
        Is::Scalar { text, .. } => shown(text),
        Is::List(_) => "a list".to_owned(),
        Is::Map(_) => "a section".to_owned(),
        Is::Refused => "what was refused".to_owned(),
    }
}

struct Reader<'f> {
    file: &'f Arc<str>,
    index: Index,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn refuse(&mut self, at: At, field: &str, message: impl Into<String>) {
        self.findings
            .push(Finding::new(place(self.file, at), field, message));
    }

    fn message(&mut self, node: &Node, message: &MessageDescriptor, path: &str) -> DynamicMessage {
        let mut read = DynamicMessage::new(message.clone());
        let Is::Map(entries) = &node.is else {
            self.mistaken(node, path, "a section with fields of its own");
            return read;
        };
        let mut seen = BTreeMap::new();
        for (key, node) in entries {
            let Some(field) = self.field(key, message, path) else {
                continue;
            };
            let path = below(path, field.name());
            if let Some(message) = twice(&field, &seen) {
                self.refuse(key.at, &path, message);
                continue;
            }
            seen.insert(field.number(), key.at.line);
            let at = if node.is.text().is_some() {
                node.at
            } else {
                key.at
            };
            self.index.add(&path, place(self.file, at), node.is.text());
            if let Some(value) = self.value(node, &field, &path) {
                read.set_field(&field, value);
            }
        }
        read
    }

    /// The field that a name means.
    fn field(
        &mut self,
        key: &Key,
        message: &MessageDescriptor,
        path: &str,
    ) -> Option<FieldDescriptor> {
        let name = key.name.as_str();
        let field = message.get_field_by_json_name(name);
        let field = field.or_else(|| message.get_field_by_name(name));
        if field.is_none() {
            let output_only = |field: &FieldDescriptor| json::OUTPUT_ONLY.contains(&field.name());
            let known: Vec<_> = message
                .fields()
                .filter(|field| !output_only(field))
                .collect();
            let nearest = nearest(name, known.iter().map(FieldDescriptor::json_name));
            let hint = match nearest {
                Some(nearest) => format!("; did you mean {nearest}?"),
                None => {
                    let known: Vec<_> = known.iter().map(FieldDescriptor::json_name).collect();
                    format!("; known here are {}", known.join(", "))
                }
            };
            self.refuse(
                key.at,
                &below(path, &shown(name)),
                format!("is no field{hint}"),
            );
        }
        field
    }

    /// `None` is unset: null, or something that has been told.
    fn value(&mut self, node: &Node, field: &FieldDescriptor, path: &str) -> Option<Value> {
        if node.is == Is::Refused || node.is.word() == Some(Word::Null) {
            return None;
        }
        match field.kind() {
            Kind::Message(entry) if field.is_map() => self.map(node, &entry, path),
            Kind::Message(message) if !value::is_well_known(&message) => {
                Some(Value::Message(self.message(node, &message, path)))
            }
            _ => self.leaf(node, field, path),
        }
    }

    fn map(&mut self, node: &Node, entry: &MessageDescriptor, path: &str) -> Option<Value> {
        let Is::Map(entries) = &node.is else {
            self.mistaken(node, path, "names with a text each");
            return None;
        };
        let mut lines = BTreeMap::new();
        let mut read = HashMap::new();
        let value_field = entry.map_entry_value_field();
        for (key, node) in entries {
            let path = below(path, &key.name);
            if let Some(line) = lines.insert(key.name.clone(), key.at.line) {
                self.refuse(
                    key.at,
                    &path,
                    format!("stands here twice, first in line {line}"),
                );
                continue;
            }
            self.index
                .add(&path, place(self.file, node.at), node.is.text());
            if let Some(value) = self.leaf(node, &value_field, &path) {
                read.insert(MapKey::String(key.name.clone()), value);
            }
        }
        Some(Value::Map(read))
    }

    fn leaf(&mut self, node: &Node, field: &FieldDescriptor, path: &str) -> Option<Value> {
        let value = value::read(node, field);
        if value.is_none() {
            self.mistaken(node, path, &value::wanted(field, node));
        }
        value
    }

    fn mistaken(&mut self, node: &Node, path: &str, wanted: &str) {
        if node.is != Is::Refused {
            let message = format!("must be {wanted} (found {})", found(&node.is));
            self.refuse(node.at, path, message);
        }
    }
}

/// Why a field must not be set once more, if it must not.
fn twice(field: &FieldDescriptor, seen: &BTreeMap<u32, usize>) -> Option<String> {
    if let Some(line) = seen.get(&field.number()) {
        return Some(format!("stands here twice, first in line {line}"));
    }
    let group = field
        .containing_oneof()
        .filter(|group| group.fields().len() > 1)?;
    let other = group
        .fields()
        .find(|other| seen.contains_key(&other.number()))?;
    let line = seen.get(&other.number())?;
    Some(format!(
        "must not be set beside {}, which is in line {line}",
        other.name()
    ))
}

#[cfg(test)]
mod tests;
