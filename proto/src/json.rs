//! The JSON form of the contract's messages.
//!
//! The form is protobuf's own (<https://protobuf.dev/programming-guides/json/>), written and read by
//! the descriptors that are embedded for reflection, so that no field can be forgotten here. Only
//! messages of [`v1`](crate::v1) and what they import have descriptors: the store's records have none.
//!
//! Invariant: fields are written in the order of their numbers, map entries in that of their keys;
//! equal messages are equal text.

mod changes;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use prost::Name;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor,
    SerializeOptions,
};
use serde::{Serialize, Serializer};
use serde_json::Value as Json;

use crate::FILE_DESCRIPTOR_SET;

pub use changes::changes;

/// What only the server says of a policy. Differences in it are none, and files leave it out.
pub const OUTPUT_ONLY: [&str; 6] = [
    "revision",
    "etag",
    "create_time",
    "update_time",
    "updated_by",
    "schema",
];

static DESCRIPTORS: LazyLock<DescriptorPool> = LazyLock::new(|| {
    // Cannot fail: the compiler of the contract wrote them, imports included; a test decodes them.
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the build's own descriptors")
});

/// JSON that is no message's form, or a message that has none, such as one with a time beyond the
/// year 9999.
#[derive(Debug, thiserror::Error)]
#[error("no JSON of a {message}: {reason}")]
pub struct InvalidJson {
    message: String,
    reason: String,
}

impl InvalidJson {
    fn of<M: Name>(reason: impl fmt::Display) -> Self {
        Self {
            message: M::full_name(),
            reason: reason.to_string(),
        }
    }
}

/// The descriptor of a message of the contract.
///
/// # Panics
/// If `M` is none of [`v1`](crate::v1).
pub fn descriptor<M: Name>() -> MessageDescriptor {
    let name = M::full_name();
    let found = DESCRIPTORS.get_message_by_name(&name);
    found.unwrap_or_else(|| panic!("{name} is no message of the contract"))
}

/// The message as one whose fields can be looked at by name.
///
/// # Panics
/// If `M` is none of [`v1`](crate::v1).
pub fn reflect<M: Name>(message: &M) -> DynamicMessage {
    // Cannot fail: message and descriptor were generated from the same file.
    DynamicMessage::decode(descriptor::<M>(), &*message.encode_to_vec()).expect("the same contract")
}

/// The message in its JSON form; what has its default is left out.
///
/// # Panics
/// If `M` is none of [`v1`](crate::v1).
pub fn to_json<M: Name>(message: &M) -> Result<Json, InvalidJson> {
    written(message, serde_json::value::Serializer, false)
}

/// The message in its JSON form as indented text, its fields in the order of the contract.
///
/// # Panics
/// If `M` is none of [`v1`](crate::v1).
pub fn to_text<M: Name>(message: &M) -> Result<String, InvalidJson> {
    let ordered = Ordered {
        json: &to_json(message)?,
        message: Some(descriptor::<M>()),
    };
    serde_json::to_string_pretty(&ordered).map_err(InvalidJson::of::<M>)
}

/// The JSON form of a message, or of a map where `message` is none, written in a stable order.
struct Ordered<'a> {
    json: &'a Json,
    message: Option<MessageDescriptor>,
}

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.json, &self.message) {
            (Json::Object(fields), Some(message)) => {
                let mut numbered: Vec<_> = message.fields().collect();
                numbered.sort_by_key(FieldDescriptor::number);
                let set = numbered.iter().filter_map(|field| {
                    let json = fields.get(field.json_name())?;
                    let message = section(field);
                    Some((field.json_name(), Ordered { json, message }))
                });
                serializer.collect_map(set)
            }
            (Json::Object(entries), None) => {
                serializer.collect_map(entries.iter().collect::<BTreeMap<_, _>>())
            }
            (Json::Array(items), message) => {
                let message = message.clone();
                serializer.collect_seq(items.iter().map(|json| Ordered {
                    json,
                    message: message.clone(),
                }))
            }
            (json, _) => json.serialize(serializer),
        }
    }
}

/// The message that a field holds, or a list of them; `None` for maps and all that is no message.
fn section(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(message) if !field.is_map() => Some(message),
        _ => None,
    }
}

fn written<M: Name, S: Serializer>(
    message: &M,
    serializer: S,
    snake_case: bool,
) -> Result<S::Ok, InvalidJson> {
    let options = SerializeOptions::new().use_proto_field_name(snake_case);
    let message = reflect(message);
    let result = message.serialize_with_options(serializer, &options);
    result.map_err(InvalidJson::of::<M>)
}

/// The message that `json` is the form of. Names in the contract's snake_case are read, too; those
/// that it does not know are refused.
///
/// # Panics
/// If `M` is none of [`v1`](crate::v1).
pub fn from_json<M: Name + Default>(json: &Json) -> Result<M, InvalidJson> {
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    DynamicMessage::deserialize_with_options(descriptor::<M>(), json, &options)
        .map_err(InvalidJson::of::<M>)?
        .transcode_to()
        .map_err(InvalidJson::of::<M>)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use prost_types::{Duration, FieldMask, Timestamp};
    use serde_json::json;

    use super::*;
    use crate::v1;

    pub(super) fn payments() -> v1::Policy {
        v1::Policy {
            namespace: "default".to_owned(),
            name: "payments".to_owned(),
            priority: -3,
            selector: Some(v1::Selector {
                service: "checkout".to_owned(),
                kind: v1::Kind::Api.into(),
                instance_labels: BTreeMap::from([("zone".to_owned(), "eu-1".to_owned())]),
                ..v1::Selector::default()
            }),
            rules: Some(v1::Rules {
                timeout: Some(v1::Timeout {
                    attempt: Some(millis(800)),
                    overall: None,
                }),
                retry: Some(v1::Retry {
                    max_attempts: Some(4),
                    multiplier: Some(1.5),
                    ..v1::Retry::default()
                }),
                enabled: Some(false),
                ..v1::Rules::default()
            }),
            clear: Some(FieldMask {
                paths: vec!["circuit_breaker".to_owned(), "hedge.delay".to_owned()],
            }),
            ..v1::Policy::default()
        }
    }

    pub(super) fn millis(millis: i64) -> Duration {
        Duration {
            seconds: millis / 1000,
            nanos: i32::try_from(millis % 1000 * 1_000_000).unwrap(),
        }
    }

    #[test]
    fn a_policy_becomes_protobufs_json_and_comes_back() {
        let json = to_json(&payments()).unwrap();
        assert_eq!(
            json,
            json!({
                "namespace": "default",
                "name": "payments",
                "priority": -3,
                "selector": {
                    "service": "checkout",
                    "kind": "KIND_API",
                    "instanceLabels": {"zone": "eu-1"},
                },
                "rules": {
                    "timeout": {"attempt": "0.800s"},
                    "retry": {"maxAttempts": 4, "multiplier": 1.5},
                    "enabled": false,
                },
                "clear": "circuitBreaker,hedge.delay",
            })
        );
        assert_eq!(from_json::<v1::Policy>(&json).unwrap(), payments());
    }

    #[test]
    fn text_has_the_fields_in_the_order_of_the_contract() {
        let mut payments = payments();
        let labels = &mut payments.selector.as_mut().unwrap().instance_labels;
        labels.extend(["b", "c", "a"].map(|key| (key.to_owned(), "x".to_owned())));
        let text = to_text(&payments).unwrap();
        let at = |name: &str| text.find(&format!("\"{name}\":")).unwrap();
        assert!(at("name") < at("priority") && at("priority") < at("selector"));
        assert!(at("timeout") < at("retry") && at("retry") < at("enabled"));
        assert!(at("a") < at("b") && at("b") < at("c") && at("c") < at("zone"));
        let read: Json = serde_json::from_str(&text).unwrap();
        assert_eq!(read, to_json(&payments).unwrap());
    }

    #[test]
    fn names_are_read_in_both_cases_and_unknown_ones_are_refused() {
        let snake = json!({"rules": {"retry": {"max_attempts": 4}}});
        let camel = json!({"rules": {"retry": {"maxAttempts": 4}}});
        let read = |json| from_json::<v1::Policy>(json).unwrap();
        assert_eq!(read(&snake), read(&camel));
        let error = from_json::<v1::Policy>(&json!({"rulez": {}})).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("fusebox.v1.Policy") && error.contains("rulez"),
            "{error}"
        );
    }

    #[test]
    fn every_message_of_the_contract_has_its_descriptor() {
        assert_eq!(
            descriptor::<v1::ApplyPoliciesResponse>().name(),
            "ApplyPoliciesResponse"
        );
    }

    #[test]
    fn a_message_beyond_what_json_can_say_is_refused() {
        let mut policy = payments();
        policy.create_time = Some(Timestamp {
            seconds: i64::MAX,
            nanos: 0,
        });
        assert!(to_json(&policy).is_err());
    }
}
