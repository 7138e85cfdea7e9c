//! How two states of a policy differ, field by field, in the words of the JSON form.
//!
//! Invariant: a field is named in the contract's snake_case and told once; what only the server says
//! is no difference.

use std::collections::BTreeMap;

use prost_reflect::{Kind, MessageDescriptor};
use serde_json::Value as Json;

use super::{OUTPUT_ONLY, descriptor, written};
use crate::v1;

/// What tells which policy it is. Two states of one policy agree in it.
const IDENTITY: [&str; 2] = ["namespace", "name"];

/// How a policy differs from what it was, field by field, in the order of their paths; `None` is a
/// policy that is not there. What only the server says, and the policy's own name, are left out.
pub fn changes(before: Option<&v1::Policy>, after: Option<&v1::Policy>) -> Vec<v1::FieldChange> {
    let mut fields: BTreeMap<String, (String, String)> = BTreeMap::new();
    for (path, value) in leaves(before) {
        fields.entry(path).or_default().0 = value;
    }
    for (path, value) in leaves(after) {
        fields.entry(path).or_default().1 = value;
    }
    let changed = fields.into_iter().filter(|(_, (was, is))| was != is);
    let change = changed.map(|(field, (before, after))| v1::FieldChange {
        field,
        before,
        after,
    });
    change.collect()
}

/// Every value that the policy sets, with its path.
fn leaves(policy: Option<&v1::Policy>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let Some(policy) = policy else { return found };
    // Whatever has passed `convert` has a form: its times are bounded and its paths are known.
    let json = written(policy, serde_json::value::Serializer, true).unwrap_or_default();
    let told = |name: &str| !OUTPUT_ONLY.contains(&name) && !IDENTITY.contains(&name);
    collect(&mut found, "", &descriptor::<v1::Policy>(), &json);
    found.retain(|(path, _)| told(path));
    found
}

/// A section's fields one by one, a map's entries one by one, everything else whole. A section
/// without fields says nothing.
fn collect(
    found: &mut Vec<(String, String)>,
    prefix: &str,
    section: &MessageDescriptor,
    json: &Json,
) {
    for (name, value) in json.as_object().into_iter().flatten() {
        let path = format!("{prefix}{name}");
        let Some(field) = section.get_field_by_name(name) else {
            continue;
        };
        match (value, field.kind()) {
            (Json::Object(entries), _) if field.is_map() => {
                let entry =
                    |(key, value): (&String, &Json)| (format!("{path}[{key:?}]"), text(value));
                found.extend(entries.iter().map(entry));
            }
            (Json::Object(_), Kind::Message(section)) => {
                collect(found, &format!("{path}."), &section, value);
            }
            _ => found.push((path, text(value))),
        }
    }
}

/// As JSON writes it, but for the quotes around a text.
fn text(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::super::tests::{millis, payments};
    use super::*;

    fn lines(before: Option<&v1::Policy>, after: Option<&v1::Policy>) -> Vec<String> {
        let changes = changes(before, after);
        let line = |change: v1::FieldChange| {
            let v1::FieldChange {
                field,
                before,
                after,
            } = change;
            format!("{field}: {before:?} -> {after:?}")
        };
        changes.into_iter().map(line).collect()
    }

    #[test]
    fn a_change_is_told_by_field_with_what_was_and_what_is() {
        let before = payments();
        let mut after = payments();
        after.priority = 0;
        after.clear.as_mut().unwrap().paths.pop();
        let labels = &mut after.selector.as_mut().unwrap().instance_labels;
        labels.insert("zone".to_owned(), "eu-2".to_owned());
        labels.insert("a\"b".to_owned(), "x".to_owned());
        let rules = after.rules.as_mut().unwrap();
        rules.timeout.as_mut().unwrap().attempt = Some(millis(1000));
        rules.timeout.as_mut().unwrap().overall = Some(millis(2500));
        rules.enabled = None;
        rules.circuit_breaker = Some(v1::CircuitBreaker {
            mode: v1::Mode::Shadow.into(),
            window: Some(v1::Window {
                shape: Some(v1::window::Shape::Size(20)),
            }),
            ..v1::CircuitBreaker::default()
        });
        assert_eq!(
            lines(Some(&before), Some(&after)),
            [
                r#"clear: "circuitBreaker,hedge.delay" -> "circuitBreaker""#,
                r#"priority: "-3" -> """#,
                r#"rules.circuit_breaker.mode: "" -> "MODE_SHADOW""#,
                r#"rules.circuit_breaker.window.size: "" -> "20""#,
                r#"rules.enabled: "false" -> """#,
                r#"rules.timeout.attempt: "0.800s" -> "1s""#,
                r#"rules.timeout.overall: "" -> "2.500s""#,
                r#"selector.instance_labels["a\"b"]: "" -> "x""#,
                r#"selector.instance_labels["zone"]: "eu-1" -> "eu-2""#,
            ]
        );
    }

    #[test]
    fn what_only_the_server_says_is_no_change() {
        let before = payments();
        let after = v1::Policy {
            revision: 7,
            etag: "7".to_owned(),
            create_time: Some(Timestamp::default()),
            update_time: Some(Timestamp::default()),
            updated_by: "ada".to_owned(),
            schema: 2,
            ..payments()
        };
        assert_eq!(lines(Some(&before), Some(&after)), [""; 0]);
        for name in OUTPUT_ONLY {
            assert!(descriptor::<v1::Policy>().get_field_by_name(name).is_some());
        }
    }

    #[test]
    fn a_policy_that_comes_or_goes_changes_in_all_it_sets() {
        let payments = payments();
        let created = changes(None, Some(&payments));
        let deleted = changes(Some(&payments), None);
        assert_eq!(created.len(), 9);
        assert!(created.iter().all(|change| change.before.is_empty()));
        assert!(deleted.iter().all(|change| change.after.is_empty()));
        assert!(changes(None, None).is_empty());
    }

    #[test]
    fn an_empty_section_says_nothing() {
        let mut after = payments();
        after.rules.as_mut().unwrap().hedge = Some(v1::Hedge::default());
        assert_eq!(lines(Some(&payments()), Some(&after)), [""; 0]);
    }
}
