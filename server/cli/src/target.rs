//! Whose breakers an order is for, on the command line and in words.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser as NonEmpty;
use fusebox_proto::v1;

use crate::print::{one_line, say, warn};
use crate::wait::length;

/// The shortest and the longest that an override holds.
const HOLDS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 60 * 60);

/// Whose breakers.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    /// Of this namespace [default: default]
    #[arg(long, value_name = "NS", value_parser = NonEmpty::new())]
    namespace: Option<String>,
    /// Of this service; a glob with `*` for several
    #[arg(long, value_name = "GLOB", value_parser = NonEmpty::new())]
    service: Option<String>,
    /// Of this operation; a glob with `*` for several
    #[arg(long, value_name = "GLOB", value_parser = NonEmpty::new())]
    operation: Option<String>,
    /// In the process of this id
    #[arg(long, value_name = "ID", value_parser = NonEmpty::new())]
    instance: Option<String>,
    /// In processes that carry this label, such as zone=eu; may be given more than once
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<Label>,
    /// Every breaker of the namespace is meant, if nothing else is said
    #[arg(long)]
    pub(crate) whole_namespace: bool,
}

/// A label that processes must carry.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Label(String, String);

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=');
        let (key, value) = parts.ok_or("write KEY=VALUE, such as zone=eu")?;
        Ok(Self(key.to_owned(), value.to_owned()))
    }
}

impl Target {
    pub(crate) fn to_wire(&self) -> v1::BreakerTarget {
        let labels = self.label.iter().cloned();
        let labels: HashMap<_, _> = labels.map(|Label(key, value)| (key, value)).collect();
        v1::BreakerTarget {
            namespace: self.namespace.clone().unwrap_or_default(),
            service: self.service.clone().unwrap_or_default(),
            operation: self.operation.clone().unwrap_or_default(),
            instance_id: self.instance.clone().unwrap_or_default(),
            labels: labels.into_iter().collect(),
        }
    }
}

/// For how long an override holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ttl(pub(crate) Duration);

impl FromStr for Ttl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ttl = length(text)?;
        match HOLDS.contains(&ttl) {
            true => Ok(Self(ttl)),
            false => Err("it must be from 1s to 168h".to_owned()),
        }
    }
}

/// A target as people read it.
pub(crate) fn described(target: &v1::BreakerTarget) -> String {
    let of = |text: &str| match text {
        "" => "*".to_owned(),
        text => one_line(text),
    };
    let mut words = format!("{}/{}", of(&target.service), of(&target.operation));
    if !matches!(target.namespace.as_str(), "" | "default") {
        words = format!("{words} in {}", one_line(&target.namespace));
    }
    if !target.instance_id.is_empty() {
        words += &format!(" on {}", one_line(&target.instance_id));
    }
    let mut labels: Vec<_> = target.labels.iter().collect();
    labels.sort();
    for (key, value) in labels {
        words += &format!(" {}={}", one_line(key), one_line(value));
    }
    words
}

/// What an override makes of breakers.
pub(crate) const fn forced(action: v1::BreakerAction) -> &'static str {
    match action {
        v1::BreakerAction::ForceOpen => "open",
        v1::BreakerAction::ForceClosed => "closed",
        v1::BreakerAction::Unspecified => "?",
    }
}

/// How many processes an order concerns.
pub(crate) fn reaching(reach: Option<v1::Reach>) -> String {
    match reach {
        None => "concerns nobody knows how many processes".to_owned(),
        Some(reach) => crate::print::concerns(reach),
    }
}

/// Tells what an order came to; warnings on standard error.
pub(crate) fn tell(line: &str, reach: Option<v1::Reach>, warnings: &[String]) {
    for warning in warnings {
        warn(&format!("warning: {}", one_line(warning)));
    }
    say(&format!("{line}; {}", reaching(reach)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_holds_from_a_second_to_a_week() {
        for (text, secs) in [("30s", 30), ("5m", 300), ("2h", 7200), ("168h", 604_800)] {
            assert_eq!(text.parse(), Ok(Ttl(Duration::from_secs(secs))));
        }
        for bad in ["", "999ms", "169h", "forever"] {
            assert!(bad.parse::<Ttl>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_target_is_told_with_all_its_conditions_and_no_other() {
        let mut target = v1::BreakerTarget {
            service: "checkout".to_owned(),
            ..v1::BreakerTarget::default()
        };
        assert_eq!(described(&target), "checkout/*");
        target.namespace = "shop".to_owned();
        target.instance_id = "c-1".to_owned();
        target.labels = [("zone".to_owned(), "eu".to_owned())].into();
        assert_eq!(described(&target), "checkout/* in shop on c-1 zone=eu");
    }

    #[test]
    fn a_label_is_a_key_and_a_value() {
        let label = Label("zone".to_owned(), "a=b".to_owned());
        assert_eq!("zone=a=b".parse(), Ok(label));
        assert!("zone".parse::<Label>().is_err());
    }
}
