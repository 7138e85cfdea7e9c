//! Names, checked once: whoever holds one need not look again.
//!
//! Two alphabets. What operators name (namespaces, policies) is short and lower-case, so that it
//! can stand in a file name or a URL. What authors name (services, operations, instances, labels)
//! is printable ASCII without spaces, so that gRPC methods and table names fit; `*` is excluded,
//! because selectors use it as a glob.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Longest namespace or policy name, in bytes.
pub const MAX_SLUG: usize = 63;
/// Longest service, operation, instance, label key or label value, in bytes.
pub const MAX_NAME: usize = 200;
/// Most labels one instance may carry.
pub const MAX_LABELS: usize = 32;

/// A name that cannot be one, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing was given.
    #[error("must not be empty")]
    Empty,
    /// Longer than its bound.
    #[error("has {len} bytes; at most {max} are allowed")]
    TooLong {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Holds a character outside its alphabet.
    #[error("has {found:?} at byte {at}; allowed are {allowed}")]
    Character {
        /// The first character that is not allowed.
        found: char,
        /// Where it stands.
        at: usize,
        /// The alphabet in words.
        allowed: &'static str,
    },
    /// More labels than [`MAX_LABELS`].
    #[error("has {count} labels; at most {max} are allowed")]
    TooManyLabels {
        /// Labels given.
        count: usize,
        /// Labels allowed.
        max: usize,
    },
}

const SLUG_ALPHABET: &str =
    "lower-case letters, digits, and between two of them also '-', '_' and '.'";
const NAME_ALPHABET: &str = "printable ASCII without spaces and without '*'";

fn check_slug(text: &str) -> Result<(), InvalidName> {
    check_length(text, MAX_SLUG)?;
    let last = text.len() - 1;
    check_alphabet(text, SLUG_ALPHABET, |at, c| match c {
        'a'..='z' | '0'..='9' => true,
        '-' | '_' | '.' => at != 0 && at != last,
        _ => false,
    })
}

fn check_name(text: &str) -> Result<(), InvalidName> {
    check_length(text, MAX_NAME)?;
    check_alphabet(text, NAME_ALPHABET, |_, c| c.is_ascii_graphic() && c != '*')
}

fn check_length(text: &str, max: usize) -> Result<(), InvalidName> {
    match text.len() {
        0 => Err(InvalidName::Empty),
        len if len > max => Err(InvalidName::TooLong { len, max }),
        _ => Ok(()),
    }
}

fn check_alphabet(
    text: &str,
    allowed: &'static str,
    fits: impl Fn(usize, char) -> bool,
) -> Result<(), InvalidName> {
    match text.char_indices().find(|&(at, c)| !fits(at, c)) {
        None => Ok(()),
        Some((at, found)) => Err(InvalidName::Character { found, at, allowed }),
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident checked by $check:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and keeps it.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidName> {
                let text = text.as_ref();
                $check(text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    )+};
}

names! {
    /// A tenant: policies and services of different namespaces never meet.
    Namespace checked by check_slug;
    /// A policy's name, unique within its namespace.
    PolicyName checked by check_slug;
    /// A service: all processes that run the same program for the same purpose.
    Service checked by check_name;
    /// An outbound dependency as its caller names it.
    OperationName checked by check_name;
    /// One process of a service, as its operator names it.
    InstanceId checked by check_name;
    /// The key of a label.
    LabelKey checked by check_name;
    /// The value of a label.
    LabelValue checked by check_name;
}

impl Namespace {
    /// The namespace of everything that names none.
    pub fn default_namespace() -> Self {
        Self("default".into())
    }
}

impl OperationName {
    /// A name that this program itself gives, and which is legal.
    pub(crate) fn known(name: &'static str) -> Self {
        debug_assert!(check_name(name).is_ok(), "{name:?}");
        Self(name.into())
    }
}

/// A policy's identity within a store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId {
    /// The tenant.
    pub namespace: Namespace,
    /// The name within it.
    pub name: PolicyName,
}

impl PolicyId {
    /// Checks both parts.
    pub fn new(namespace: impl AsRef<str>, name: impl AsRef<str>) -> Result<Self, InvalidName> {
        Ok(Self {
            namespace: Namespace::new(namespace)?,
            name: PolicyName::new(name)?,
        })
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A random number a process draws at its start: tells two lives of one [`InstanceId`] apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// One process: two lives of one instance id differ in their epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceKey {
    /// The tenant.
    pub namespace: Namespace,
    /// The service it is an instance of.
    pub service: Service,
    /// What its operator calls it.
    pub instance: InstanceId,
    /// Which of that instance's lives.
    pub epoch: Epoch,
}

/// A stream between a process and this server; later ones have higher numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Facts about an instance that selectors may ask for (zone, version, canary).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Labels(BTreeMap<LabelKey, LabelValue>);

impl Labels {
    /// Checks every key and value, and their number.
    pub fn new<K: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, InvalidName> {
        let labels = pairs
            .into_iter()
            .map(|(key, value)| Ok((LabelKey::new(key)?, LabelValue::new(value)?)))
            .collect::<Result<BTreeMap<_, _>, InvalidName>>()?;
        if labels.len() > MAX_LABELS {
            return Err(InvalidName::TooManyLabels {
                count: labels.len(),
                max: MAX_LABELS,
            });
        }
        Ok(Self(labels))
    }

    /// With `value` under `key`, unless that key has a value already. A text that no label may hold
    /// adds nothing: it cannot be asked for either.
    #[must_use]
    pub fn or(mut self, key: &str, value: &str) -> Self {
        if let (Ok(key), Ok(value)) = (LabelKey::new(key), LabelValue::new(value)) {
            self.0.entry(key).or_insert(value);
        }
        self
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pairs, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&LabelKey, &LabelValue)> {
        self.0.iter()
    }

    /// The value under `key`.
    pub fn get(&self, key: &LabelKey) -> Option<&LabelValue> {
        self.0.get(key)
    }

    /// Whether every label of `wanted` is here with the same value.
    pub fn contain(&self, wanted: &Self) -> bool {
        wanted
            .0
            .iter()
            .all(|(key, value)| self.0.get(key) == Some(value))
    }
}

/// What an operation talks to; decides its defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A database.
    Database = 0,
    /// An HTTP or gRPC API.
    Api = 1,
    /// A cache.
    Cache = 2,
    /// Files and object stores.
    File = 3,
    /// Machine-learning inference.
    Ml = 4,
    /// Anything else.
    #[default]
    Custom = 5,
}

impl Kind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Database,
        Self::Api,
        Self::Cache,
        Self::File,
        Self::Ml,
        Self::Custom,
    ];

    /// The kind's name in telemetry and in views.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Api => "api",
            Self::Cache => "cache",
            Self::File => "file",
            Self::Ml => "ml",
            Self::Custom => "custom",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_counts_as_a_label_unless_a_label_of_its_name_says_otherwise() {
        let labels = Labels::new([("zone", "a")]).unwrap();
        let labels = labels
            .or("zone", "b")
            .or("version", "1.2")
            .or("x", "no label");
        let expected = Labels::new([("zone", "a"), ("version", "1.2")]).unwrap();
        assert_eq!(labels, expected);
    }

    #[test]
    fn a_policy_name_can_stand_in_a_file_name() {
        assert!(PolicyName::new("payments.eu-1_x").is_ok());
        for bad in [
            "",
            "-a",
            "a.",
            "Payments",
            "a/b",
            "a b",
            "ä",
            "..",
            &"x".repeat(64),
        ] {
            assert!(PolicyName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_operation_can_be_a_grpc_method_but_not_a_glob_or_control_text() {
        assert!(OperationName::new("payments.v1.Pay/Charge").is_ok());
        for bad in ["", "a b", "a*", "a\n", "a\u{202e}b", &"x".repeat(201)] {
            assert!(OperationName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_bad_character_is_named_with_its_place() {
        let error = Service::new("check out").unwrap_err();
        assert_eq!(
            error.to_string(),
            "has ' ' at byte 5; allowed are printable ASCII without spaces and without '*'"
        );
    }

    #[test]
    fn labels_contain_their_own_subsets_only() {
        let all = Labels::new([("zone", "eu"), ("canary", "true")]).unwrap();
        assert!(all.contain(&Labels::default()));
        assert!(all.contain(&Labels::new([("zone", "eu")]).unwrap()));
        assert!(!all.contain(&Labels::new([("zone", "us")]).unwrap()));
        assert!(!all.contain(&Labels::new([("tier", "1")]).unwrap()));
    }
}
