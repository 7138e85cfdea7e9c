//! One entry of `methodConfig`: whom it concerns, and which rules it sets.

use std::time::Duration;

use fusebox_proto::v1;
use fusebox_proto::v1::hedge::Trigger;

use super::value::wire;
use super::{Field, Reader, UNKNOWN, below};
use crate::files::{At, Node};

/// gRPC makes no more attempts than that, whatever a config says (A6).
const MAX_ATTEMPTS: u32 = 5;

/// An entry, read.
#[derive(Debug)]
pub(super) struct Method {
    pub(super) path: String,
    pub(super) names: Vec<Name>,
    pub(super) rules: v1::Rules,
}

/// Whom an entry concerns; an empty method is every one of the service, an empty service is all.
#[derive(Debug)]
pub(super) struct Name {
    service: String,
    method: String,
    pub(super) at: At,
    pub(super) path: String,
}

impl Name {
    pub(super) fn operation(&self) -> String {
        match (self.service.as_str(), self.method.as_str()) {
            ("", _) => "*".to_owned(),
            (service, "") => format!("{service}/*"),
            (service, method) => format!("{service}/{method}"),
        }
    }

    /// Whether the other concerns all that this does, and more.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        let default = other.service.is_empty() && !self.service.is_empty();
        let service = other.service == self.service && other.method.is_empty();
        default || (service && !self.method.is_empty())
    }
}

/// The fields that an entry can set, as `clear` names them, and whether these rules do.
pub(super) fn set(rules: &v1::Rules) -> Vec<&'static str> {
    let timeout = rules.timeout.unwrap_or_default();
    let retry = rules.retry.unwrap_or_default();
    let fields = [
        ("hedge.delay", rules.hedge.is_some()),
        ("retry.base_delay", retry.base_delay.is_some()),
        ("retry.budget", retry.budget.is_some()),
        ("retry.jitter", retry.jitter != 0),
        ("retry.max_attempts", retry.max_attempts.is_some()),
        ("retry.max_delay", retry.max_delay.is_some()),
        ("retry.multiplier", retry.multiplier.is_some()),
        ("timeout.attempt", timeout.attempt.is_some()),
        ("timeout.overall", timeout.overall.is_some()),
    ];
    fields
        .into_iter()
        .filter(|(_, set)| *set)
        .map(|(field, _)| field)
        .collect()
}

impl Reader<'_> {
    /// `None` if it concerns nobody.
    pub(super) fn method(&mut self, node: &Node, path: &str) -> Option<Method> {
        let mut rules = v1::Rules::default();
        let (mut names, mut repeating) = (None, None::<String>);
        for field in self.section(node, path) {
            match field.name.as_str() {
                "name" => names = Some(self.names(&field)),
                "timeout" => {
                    let overall = self.time(&field, false).map(wire);
                    rules.timeout.get_or_insert_default().overall = overall;
                }
                "retryPolicy" | "hedgingPolicy" => {
                    if let Some(other) = repeating.replace(field.name.clone()) {
                        let message = format!("must not stand beside {other}");
                        self.error(field.key, &field.path, message);
                    } else if field.name == "retryPolicy" {
                        self.retry(&field, &mut rules);
                    } else {
                        self.hedging(&field, &mut rules);
                    }
                }
                "waitForReady" => self.none(
                    &field,
                    "whether a call waits for a connection is the client's to say",
                ),
                "maxRequestMessageBytes" | "maxResponseMessageBytes" => {
                    self.none(&field, "the size of messages is the transport's to limit");
                }
                _ => self.none(&field, UNKNOWN),
            }
        }
        let entry = Field {
            name: String::new(),
            path: path.to_owned(),
            key: node.at,
            node,
        };
        self.bound_attempt(&entry, &mut rules);
        match names {
            None => self.none(&entry, "has no name, so that it concerns no method"),
            Some(names) if names.is_empty() => self.none(&entry, "concerns no method"),
            Some(names) => {
                let path = path.to_owned();
                return Some(Method { path, names, rules });
            }
        }
        None
    }

    fn names(&mut self, field: &Field<'_>) -> Vec<Name> {
        let mut names = Vec::new();
        for (node, path) in self.list(field) {
            let (mut service, mut method) = (String::new(), String::new());
            for field in self.section(node, &path) {
                match field.name.as_str() {
                    "service" => service = self.part(&field),
                    "method" => method = self.part(&field),
                    _ => self.none(&field, UNKNOWN),
                }
            }
            let at = node.at;
            if service.is_empty() && !method.is_empty() {
                let message = "must be the method of a service; name that, too";
                self.error(at, &below(&path, "method"), message);
                continue;
            }
            let name = Name {
                service,
                method,
                at,
                path,
            };
            if let Some(line) = self.taken.insert(name.operation(), at.line) {
                let message = format!("is named already in line {line}");
                self.error(at, &name.path, message);
                continue;
            }
            names.push(name);
        }
        names
    }

    /// The name of a service or method. A star there is a letter to gRPC and would be none here.
    fn part(&mut self, field: &Field<'_>) -> String {
        match field.node.is.text() {
            Some(text) if !text.contains('*') => text.to_owned(),
            _ => {
                let message = "must be the name of a service or method";
                self.error(field.node.at, &field.path, message);
                String::new()
            }
        }
    }

    fn retry(&mut self, policy: &Field<'_>, rules: &mut v1::Rules) {
        let mut retry = v1::Retry::default();
        let (mut base, mut most) = (None, None);
        for field in self.section(policy.node, &policy.path) {
            match field.name.as_str() {
                "maxAttempts" => retry.max_attempts = self.attempts(&field),
                "initialBackoff" => base = self.time(&field, false).map(|time| (time, field)),
                "maxBackoff" => most = self.time(&field, false),
                "backoffMultiplier" => {
                    let number = self.number(&field);
                    retry.multiplier = number.map(|number| self.clamp(&field, number, 1.0, 10.0));
                }
                "retryableStatusCodes" => {
                    let why = "which failures are repeated is decided where calls are judged, by the \
                               SDK's classifier, and only what its author calls idempotent";
                    self.none(&field, why);
                }
                "perAttemptRecvTimeout" => {
                    let attempt = self.time(&field, false).map(wire);
                    rules.timeout.get_or_insert_default().attempt = attempt;
                    let why = "it ends with the first message there, with the whole attempt here";
                    self.nearly(&field, why);
                }
                _ => self.none(&field, UNKNOWN),
            }
        }
        if let Some((time, field)) = base {
            let first = time.min(most.unwrap_or(time));
            if first < time {
                let why = format!("is above maxBackoff, which cuts it; taken as {first:?}");
                self.nearly(&field, why);
            }
            retry.base_delay = Some(wire(first));
            retry.jitter = v1::Jitter::Equal.into();
            let why =
                "gRPC sleeps 0.8 to 1.2 of a backoff; here half of it to all of it (JITTER_EQUAL)";
            self.nearly(policy, why);
        }
        retry.max_delay = most.map(wire);
        rules.retry = Some(retry);
    }

    /// The time of an attempt is cut by that of its call there; here it may not be above it.
    fn bound_attempt(&mut self, entry: &Field<'_>, rules: &mut v1::Rules) {
        let Some(timeout) = &mut rules.timeout else {
            return;
        };
        let times = timeout.attempt.zip(timeout.overall);
        let nanos = |time: prost_types::Duration| (time.seconds, time.nanos);
        if let Some((_, overall)) =
            times.filter(|(attempt, overall)| nanos(*attempt) > nanos(*overall))
        {
            timeout.attempt = Some(overall);
            let field = Field {
                name: String::new(),
                path: below(&entry.path, "retryPolicy.perAttemptRecvTimeout"),
                ..*entry
            };
            self.nearly(&field, "is above timeout, which cuts it; taken as that");
        }
    }

    fn hedging(&mut self, policy: &Field<'_>, rules: &mut v1::Rules) {
        let (mut attempts, mut delay) = (None, Duration::ZERO);
        for field in self.section(policy.node, &policy.path) {
            match field.name.as_str() {
                "maxAttempts" => {
                    attempts = self.attempts(&field);
                    let why = "here hedges and retries share these attempts";
                    self.nearly(&field, why);
                }
                "hedgingDelay" => delay = self.time(&field, true).unwrap_or_default(),
                "nonFatalStatusCodes" => {
                    let why = "which failures end a call is decided where calls are judged, by the \
                               SDK's classifier";
                    self.none(&field, why);
                }
                _ => self.none(&field, UNKNOWN),
            }
        }
        let Some(attempts) = attempts else {
            let why = "has no maxAttempts, which gRPC refuses";
            return self.none(policy, why);
        };
        rules.retry.get_or_insert_default().max_attempts = Some(attempts);
        if attempts > 1 {
            rules.hedge = Some(v1::Hedge {
                trigger: Some(Trigger::Delay(wire(delay))),
                max_hedges: Some(attempts - 1),
            });
        }
    }

    /// gRPC refuses fewer than two and makes no more than five.
    fn attempts(&mut self, field: &Field<'_>) -> Option<u32> {
        let attempts = self.whole(field)?;
        if attempts < 2 {
            let why = format!("{attempts} is refused by gRPC; taken as 1, which repeats nothing");
            self.nearly(field, why);
            return Some(1);
        }
        if attempts > MAX_ATTEMPTS {
            let why =
                format!("gRPC makes {MAX_ATTEMPTS} at most, whatever stands here; taken as that");
            self.nearly(field, why);
        }
        Some(attempts.min(MAX_ATTEMPTS))
    }
}
