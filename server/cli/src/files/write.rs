//! Policies as text that reads back as the same policies, equal policies as equal text.
//!
//! YAML is written in blocks, in the order of the contract; what any version of YAML could take for
//! something else than text stands in quotes.

use std::fmt::Write;

use fusebox_proto::json::{self, InvalidJson};
use fusebox_proto::v1;

use super::yaml::{Is, Node, Word, documents};

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A document for each policy
    Yaml,
    /// Protobuf's JSON form
    Json,
}

impl Format {
    /// The end of such a file's name.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Yaml => "yaml",
            Self::Json => "json",
        }
    }

    /// One policy as a file.
    pub(crate) fn one(self, policy: &v1::Policy) -> Result<String, InvalidJson> {
        let json = escaped(&json::to_text(policy)?);
        Ok(match self {
            Self::Yaml => yaml(&json),
            Self::Json => json + "\n",
        })
    }

    /// All policies as one file. None are an empty list: an empty file could as well be one that was
    /// never written, and the JSON form of a message leaves out a list of nothing.
    pub(crate) fn all(self, policies: &[v1::Policy]) -> Result<String, InvalidJson> {
        match self {
            Self::Yaml if policies.is_empty() => Ok("policies: []\n".to_owned()),
            Self::Json if policies.is_empty() => Ok("{\"policies\": []}\n".to_owned()),
            Self::Yaml => {
                let documents: Result<Vec<_>, _> =
                    policies.iter().map(|policy| self.one(policy)).collect();
                Ok(documents?.join("---\n"))
            }
            Self::Json => {
                let policies = policies.to_vec();
                let all = v1::ListPoliciesResponse {
                    policies,
                    ..v1::ListPoliciesResponse::default()
                };
                Ok(escaped(&json::to_text(&all)?) + "\n")
            }
        }
    }
}

/// Without what only a server says: the policy as its author has it.
pub(crate) fn authored(policy: v1::Policy) -> v1::Policy {
    v1::Policy {
        namespace: policy.namespace,
        name: policy.name,
        owner: policy.owner,
        description: policy.description,
        priority: policy.priority,
        selector: policy.selector,
        rules: policy.rules,
        clear: policy.clear,
        ..v1::Policy::default()
    }
}

/// JSON as YAML: the same tree, since JSON is YAML.
fn yaml(json: &str) -> String {
    let (documents, _) = documents(json.as_bytes());
    let mut text = String::new();
    for document in &documents {
        block(&mut text, document, 0);
    }
    text
}

/// A map's entries or a list's items, a line each, so many levels in.
fn block(text: &mut String, node: &Node, level: usize) {
    let indent = "  ".repeat(level);
    match &node.is {
        Is::Map(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                let (name, level) = (word(&key.name, true), level + 1);
                hang(text, &format!("{indent}{name}:"), value, level);
            }
        }
        Is::List(items) if !items.is_empty() => {
            for item in items {
                hang(text, &format!("{indent}-"), item, level + 1);
            }
        }
        _ => line(text, &indent, node),
    }
}

/// A value behind its name if it takes no more than a word, or else below it.
fn hang(text: &mut String, name: &str, node: &Node, level: usize) {
    match &node.is {
        Is::Map(entries) if !entries.is_empty() => {
            text.push_str(name);
            text.push('\n');
            block(text, node, level);
        }
        Is::List(items) if !items.is_empty() => {
            text.push_str(name);
            text.push('\n');
            block(text, node, level);
        }
        _ => line(text, &format!("{name} "), node),
    }
}

fn line(text: &mut String, before: &str, node: &Node) {
    let word = match &node.is {
        Is::Scalar { text, quoted } => word(text, *quoted),
        Is::List(_) => "[]".to_owned(),
        Is::Map(_) | Is::Refused => "{}".to_owned(),
    };
    // Cannot fail: a string takes everything.
    writeln!(text, "{before}{word}").ok();
}

/// A word, in quotes if it is text that could be taken for anything else.
fn word(text: &str, is_text: bool) -> String {
    if !is_text || is_plain(text) {
        return text.to_owned();
    }
    escaped(&serde_json::Value::from(text).to_string())
}

/// JSON with the characters spelled out that it leaves as they are and that YAML refuses. Outside
/// of its strings there are none but line ends.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\n' => text.push(c),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                text.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => text.push(c),
        }
    }
    text
}

/// Text to every reader of YAML, also to one of its first version, where `no` is false, 010 is
/// eight and 1:30 is ninety.
fn is_plain(text: &str) -> bool {
    let letters =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '-' | '*' | ',');
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let old_truth = ["y", "n", "yes", "no", "on", "off"];
    let is_old_truth = old_truth.contains(&text.to_ascii_lowercase().as_str());
    let is_text = Word::of(text) == Word::Text;
    text.chars().all(letters) && is_text && ((starts && !is_old_truth) || is_duration(text))
}

/// A number of seconds with its unit.
fn is_duration(text: &str) -> bool {
    text.strip_suffix('s').is_some_and(|number| {
        number.starts_with(|c: char| c.is_ascii_digit())
            && number.chars().all(|c| c.is_ascii_digit() || c == '.')
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn policy(description: &str) -> v1::Policy {
        let text = |text: &str| text.to_owned();
        v1::Policy {
            namespace: text("default"),
            name: text("payments"),
            description: text(description),
            selector: Some(v1::Selector {
                operation: text("*"),
                instance_labels: BTreeMap::from([
                    (text("no"), text("1.0")),
                    (text("zone"), text("eu-1")),
                ]),
                ..v1::Selector::default()
            }),
            rules: Some(v1::Rules {
                timeout: Some(v1::Timeout {
                    attempt: Some(prost_types::Duration {
                        seconds: 0,
                        nanos: 800_000_000,
                    }),
                    overall: None,
                }),
                hedge: Some(v1::Hedge::default()),
                enabled: Some(true),
                ..v1::Rules::default()
            }),
            ..v1::Policy::default()
        }
    }

    #[test]
    fn yaml_reads_as_a_person_would_write_it() {
        assert_eq!(
            Format::Yaml.one(&policy("a day")).unwrap(),
            "namespace: default\n\
             name: payments\n\
             description: \"a day\"\n\
             selector:\n\
             \x20 operation: \"*\"\n\
             \x20 instanceLabels:\n\
             \x20   \"no\": \"1.0\"\n\
             \x20   zone: eu-1\n\
             rules:\n\
             \x20 timeout:\n\
             \x20   attempt: 0.800s\n\
             \x20 hedge: {}\n\
             \x20 enabled: true\n"
        );
    }

    #[test]
    fn whatever_a_text_says_it_is_read_back_as_it_was() {
        for text in [
            "no",
            "Y",
            "true",
            "null",
            "~",
            "1.0",
            "1e3",
            "010",
            "0x1F",
            "1:30",
            "2020-01-01",
            "- a",
            "# no comment",
            "a: b",
            "a #b",
            "'",
            "\"",
            "\\",
            "two\nlines\n",
            "\ttab",
            " ",
            "{a: b}",
            "&x",
            "*x",
            "!tag",
            "%",
            "@",
            "`",
            "---",
            "...",
            "\u{85}\u{2028}\u{7f}\u{feff}",
            "ünïcödé",
            "😀",
            "ends: ",
            "0.8s",
            "5s5s",
            "a,b",
            "<<",
            "=",
        ] {
            let policy = policy(text);
            for format in [Format::Yaml, Format::Json] {
                let written = format.all(&[policy.clone(), policy.clone()]).unwrap();
                let read = super::super::policies_of(&written);
                assert_eq!(read, [policy.clone(), policy.clone()], "{written}");
            }
        }
    }

    #[test]
    fn what_only_a_server_says_is_left_out() {
        let stored = v1::Policy {
            revision: 4,
            etag: "4".to_owned(),
            updated_by: "ada".to_owned(),
            schema: 2,
            create_time: Some(prost_types::Timestamp::default()),
            update_time: Some(prost_types::Timestamp::default()),
            ..policy("a")
        };
        assert_eq!(authored(stored), policy("a"));
    }
}
