//! A gRPC service config as policies.
//!
//! Sources: the form itself (<https://github.com/grpc/grpc/blob/master/doc/service_config.md>, and
//! `grpc/service_config/service_config.proto` in <https://github.com/grpc/grpc-proto>); what retries,
//! hedging and throttling mean (<https://github.com/grpc/proposal/blob/master/A6-client-retries.md>);
//! the list of choices that name resolvers hand out
//! (<https://github.com/grpc/proposal/blob/master/A2-service-configs-in-dns.md>). Numbers, times and
//! names are read as proto3 JSON has them, names in either case.
//!
//! | there | here |
//! |---|---|
//! | `name` | `selector.operation`: `service/method`, `service/*`, `*` |
//! | `timeout` | `timeout.overall` |
//! | `retryPolicy.maxAttempts`, `initialBackoff`, `maxBackoff`, `backoffMultiplier` | `retry.max_attempts`, `base_delay`, `max_delay`, `multiplier` |
//! | `retryPolicy.perAttemptRecvTimeout` | `timeout.attempt`, nearly |
//! | `hedgingPolicy.maxAttempts`, `hedgingDelay` | `hedge.max_hedges` with `retry.max_attempts`, `hedge.delay` |
//! | `retryThrottling.tokenRatio` | `retry.budget.ratio`, nearly |
//! | all else | nothing |
//!
//! gRPC takes the most specific entry alone, policies are laid over each other field by field: what
//! a less specific entry sets and this one does not is cleared here.

mod choice;
mod method;
mod value;

use std::collections::BTreeMap;
use std::sync::Arc;

use fusebox_proto::convert::policy::policy_from_wire;
use fusebox_proto::v1;
use prost_types::FieldMask;

use super::report::{Fate, Report};
use super::slug::Slugs;
use crate::files::{At, Finding, Is, Node, Place, Word, below, camel_case, shown};
use method::Method;

/// What the policies are to have besides what the config says.
pub(super) struct Wish<'a> {
    pub(super) service: &'a str,
    pub(super) namespace: &'a str,
    pub(super) owner: &'a str,
}

/// What came of a config.
#[derive(Debug)]
pub(super) struct Imported {
    pub(super) policies: Vec<Made>,
    pub(super) report: Report,
}

/// A policy, and the path of the entry that it was made of.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) policy: v1::Policy,
    entry: String,
}

impl Made {
    /// Whether a note about that path says something of this policy: it is about its entry, or
    /// about no entry.
    pub(super) fn is_of(&self, path: &str) -> bool {
        let own = path.strip_prefix(self.entry.as_str());
        let own = own.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        own || !path.contains("methodConfig[")
    }
}

/// The policies of a config, or everything in it that is not of its form.
pub(super) fn import(
    file: &Arc<str>,
    document: &Node,
    wish: &Wish<'_>,
) -> Result<Imported, Vec<Finding>> {
    let mut reader = Reader {
        file,
        report: Report::default(),
        errors: Vec::new(),
        taken: BTreeMap::new(),
    };
    let methods = match choice::chosen(&mut reader, document) {
        Some((config, path)) => reader.config(config, &path),
        None => Vec::new(),
    };
    let policies = reader.policies(&methods, wish);
    let Reader {
        report, mut errors, ..
    } = reader;
    errors.sort_by(|a, b| a.at.cmp(&b.at));
    match errors.is_empty() {
        true => Ok(Imported { policies, report }),
        false => Err(errors),
    }
}

/// Reads, and remembers what became of each key.
struct Reader<'f> {
    file: &'f Arc<str>,
    report: Report,
    errors: Vec<Finding>,
    /// The operations that have an entry, with its line.
    taken: BTreeMap<String, usize>,
}

/// A key of the input with its value.
struct Field<'n> {
    name: String,
    path: String,
    key: At,
    node: &'n Node,
}

impl Reader<'_> {
    fn place(&self, at: At) -> Place {
        Place::new(self.file, at.line, at.column)
    }

    fn error(&mut self, at: At, path: &str, message: impl Into<String>) {
        let at = self.place(at);
        self.errors.push(Finding::new(at, path, message));
    }

    fn none(&mut self, field: &Field<'_>, why: impl Into<String>) {
        let at = self.place(field.key);
        self.report.note(at, &field.path, Fate::None, why);
    }

    fn nearly(&mut self, field: &Field<'_>, why: impl Into<String>) {
        let at = self.place(field.key);
        self.report.note(at, &field.path, Fate::Approximated, why);
    }

    /// The keys of a section that are set, each once.
    fn section<'n>(&mut self, node: &'n Node, path: &str) -> Vec<Field<'n>> {
        let Is::Map(entries) = &node.is else {
            self.error(node.at, path, "must be an object");
            return Vec::new();
        };
        let mut lines = BTreeMap::new();
        let mut fields = Vec::new();
        for (key, node) in entries {
            let field = Field {
                name: camel_case(&key.name),
                path: below(path, &shown(&camel_case(&key.name))),
                key: key.at,
                node,
            };
            self.report.see(&field.path);
            if let Some(line) = lines.insert(field.name.clone(), key.at.line) {
                let message = format!("stands here twice, first in line {line}");
                self.error(key.at, &field.path, message);
            } else if node.is.word() != Some(Word::Null) {
                fields.push(field);
            }
        }
        fields
    }

    /// The items of a list, each with its path.
    fn list<'n>(&mut self, field: &Field<'n>) -> Vec<(&'n Node, String)> {
        let Is::List(items) = &field.node.is else {
            self.error(field.node.at, &field.path, "must be a list");
            return Vec::new();
        };
        let item = |(number, node)| (node, format!("{}[{number}]", field.path));
        items.iter().enumerate().map(item).collect()
    }

    /// A service config itself.
    fn config(&mut self, node: &Node, path: &str) -> Vec<Method> {
        let mut methods = Vec::new();
        let mut throttling = None;
        for field in self.section(node, path) {
            match field.name.as_str() {
                "methodConfig" => {
                    for (node, path) in self.list(&field) {
                        methods.extend(self.method(node, &path));
                    }
                }
                "retryThrottling" => throttling = Some(field),
                name => {
                    let why = of_channel(name);
                    self.none(&field, why);
                }
            }
        }
        if let Some(throttling) = throttling {
            self.throttling(&throttling, &mut methods);
        }
        methods
    }

    /// Shared by all methods there; a share of each operation's own calls here.
    fn throttling(&mut self, field: &Field<'_>, methods: &mut [Method]) {
        let mut repeating: Vec<_> = methods
            .iter_mut()
            .filter_map(|method| method.rules.retry.as_mut())
            .collect();
        for field in self.section(field.node, &field.path) {
            match field.name.as_str() {
                "tokenRatio" => {
                    let Some(ratio) = self.number(&field) else {
                        continue;
                    };
                    if repeating.is_empty() {
                        self.none(
                            &field,
                            "no entry repeats anything, so there is nothing to limit",
                        );
                        continue;
                    }
                    let ratio = self.clamp(&field, ratio, 0.0, 1.0);
                    for retry in &mut repeating {
                        retry.budget = Some(v1::RetryBudget {
                            ratio: Some(ratio),
                            min_per_second: None,
                        });
                    }
                    let why = "a token for each success, shared by the server's methods; here \
                               retries are that share of an operation's first attempts, and three a \
                               second";
                    self.nearly(&field, why);
                }
                "maxTokens" => {
                    self.number(&field);
                    let why =
                        "a retry budget has no store of tokens; it follows the traffic of now";
                    self.none(&field, why);
                }
                _ => self.none(&field, UNKNOWN),
            }
        }
    }

    /// A policy for each name of each entry that sets anything, or undoes what a wider one sets.
    fn policies(&mut self, methods: &[Method], wish: &Wish<'_>) -> Vec<Made> {
        let mut slugs = Slugs::default();
        let mut made = Vec::new();
        for method in methods {
            let cleared = self.cleared(method, methods);
            for (name, clear) in method.names.iter().zip(cleared) {
                if clear.is_empty() && method::set(&method.rules).is_empty() {
                    let at = self.place(name.at);
                    let why = "its entry sets nothing that a policy could";
                    self.report.note(at, &name.path, Fate::None, why);
                    continue;
                }
                let operation = name.operation();
                let policy = v1::Policy {
                    namespace: wish.namespace.to_owned(),
                    name: slugs.of(if operation == "*" {
                        "grpc-default"
                    } else {
                        &operation
                    }),
                    owner: wish.owner.to_owned(),
                    selector: Some(v1::Selector {
                        service: wish.service.to_owned(),
                        operation,
                        ..v1::Selector::default()
                    }),
                    rules: Some(method.rules),
                    clear: (!clear.is_empty()).then(|| FieldMask {
                        paths: clear.iter().map(|&path| path.to_owned()).collect(),
                    }),
                    ..v1::Policy::default()
                };
                if let Err(violations) = policy_from_wire(&policy) {
                    for violation in violations.iter() {
                        let message = format!("makes a policy whose {violation}");
                        self.error(name.at, &name.path, message);
                    }
                }
                let entry = method.path.clone();
                made.push(Made { policy, entry });
            }
        }
        made
    }

    /// For each name of an entry, what less specific entries set and this one does not.
    fn cleared(&mut self, method: &Method, all: &[Method]) -> Vec<Vec<&'static str>> {
        let own = method::set(&method.rules);
        let mut cleared = Vec::new();
        for name in &method.names {
            let below = |other: &&Method| other.names.iter().any(|other| name.is_within(other));
            let mut clear: Vec<_> = all
                .iter()
                .filter(below)
                .flat_map(|other| method::set(&other.rules))
                .filter(|field| !own.contains(field))
                .collect();
            clear.sort_unstable();
            clear.dedup();
            if !clear.is_empty() {
                let why = format!(
                    "gRPC takes this entry alone, so that {} of a wider one is cleared here and the \
                     kind's default holds",
                    clear.join(", ")
                );
                let at = self.place(name.at);
                self.report.note(at, &name.path, Fate::Approximated, why);
            }
            cleared.push(clear);
        }
        cleared
    }
}

const UNKNOWN: &str = "is no key of a gRPC service config that is known here";

/// Why a key beside the methods has no counterpart.
fn of_channel(name: &str) -> &'static str {
    match name {
        "loadBalancingPolicy" | "loadBalancingConfig" => {
            "the client balances load; a policy guards calls wherever they go"
        }
        "healthCheckConfig" => "the client checks the health of its connections, policies do not",
        "connectionScaling" => "connections are the client's own; policies speak of calls",
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests;
