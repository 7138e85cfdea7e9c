//! What an operator does every day, each by one grpcurl call.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::grpcurl::{CallError, Grpcurl};
use crate::server::Server;
use crate::wait::poll;

/// How long the fleet view may take to show what is so: far above what it does.
const PATIENCE: Duration = Duration::from_secs(30);

impl Grpcurl {
    /// Creates a policy.
    pub fn create(&self, policy: &Value) -> Result<Value, CallError> {
        self.policies("CreatePolicy", &json!({"policy": policy}))
    }

    /// Creates or changes a policy.
    pub fn put(&self, policy: &Value) -> Result<Value, CallError> {
        self.policies(
            "UpdatePolicy",
            &json!({"policy": policy, "allowMissing": true}),
        )
    }

    /// Reads a policy of the default namespace.
    pub fn policy(&self, name: &str) -> Result<Value, CallError> {
        self.policies("GetPolicy", &json!({"name": name}))
    }

    /// All policies, at most a thousand.
    pub fn all_policies(&self) -> Result<Vec<Value>, CallError> {
        let method = "fusebox.v1.PolicyService/ListPolicies";
        let answer = self.call(method, &json!({"pageSize": 1000}))?;
        Ok(list(&answer, "policies"))
    }

    /// The store's revision, and how many policies there are, up to a thousand.
    ///
    /// # Panics
    /// If the server does not say.
    pub fn stored(&self) -> (u64, usize) {
        let method = "fusebox.v1.PolicyService/ListPolicies";
        let answer = self.call(method, &json!({"pageSize": 1000}));
        let answer = answer.unwrap_or_else(|error| panic!("{method}: {}", error.stderr));
        (number(&answer["revision"]), list(&answer, "policies").len())
    }

    /// Calls a method of the policy service that answers with a policy, and gives that.
    pub fn policies(&self, method: &str, request: &Value) -> Result<Value, CallError> {
        let mut answer = self.call(&format!("fusebox.v1.PolicyService/{method}"), request)?;
        Ok(answer["policy"].take())
    }

    /// What the fleet view says of an operation, once that `matches`.
    ///
    /// # Panics
    /// If it never does within half a minute, with what it says instead.
    pub fn wait_for_operation(&self, operation: &str, matches: impl Fn(&Value) -> bool) -> Value {
        self.wait_for("ListOperations", "operations", |entry| {
            entry["operation"] == operation && matches(entry)
        })
    }

    /// What the fleet view says of an instance, once that `matches`.
    ///
    /// # Panics
    /// If it never does within half a minute, with what it says instead.
    pub fn wait_for_instance(&self, instance: &str, matches: impl Fn(&Value) -> bool) -> Value {
        self.wait_for("ListInstances", "instances", |entry| {
            entry["instanceId"] == instance && matches(entry)
        })
    }

    fn wait_for(&self, method: &str, entries: &str, matches: impl Fn(&Value) -> bool) -> Value {
        let method = format!("fusebox.v1.FleetService/{method}");
        let mut last = Value::Null;
        let found = poll(PATIENCE, || {
            last = self
                .call(&method, &json!({}))
                .unwrap_or_else(|error| error.status());
            list(&last, entries).into_iter().find(&matches)
        });
        found
            .unwrap_or_else(|| panic!("{method} never says so within {PATIENCE:?}; last: {last:#}"))
    }
}

impl CallError {
    /// The paths that the status's BadRequest names, each described; empty if there is none.
    ///
    /// # Panics
    /// If one is named without a description.
    pub fn fields(&self) -> BTreeSet<String> {
        let details = self.details("google.rpc.BadRequest");
        let violations = details
            .iter()
            .flat_map(|detail| list(detail, "fieldViolations"));
        let field = |violation: Value| {
            let text = |key: &str| violation[key].as_str().unwrap_or_default().to_owned();
            assert!(!text("description").is_empty(), "{}", self.stderr);
            text("field")
        };
        violations.map(field).collect()
    }
}

/// Sees that both ports answer, that a write is taken, and that it is the one after the last.
///
/// # Panics
/// If not.
pub fn assert_unharmed(server: &Server) {
    let operator = server.grpcurl();
    let (before, _) = operator.stored();
    let policy = json!({"name": "after", "selector": {"operation": "nothing"}});
    let written = operator.put(&policy).map(|policy| revision(&policy));
    assert_eq!(written, Ok(before + 1));
    let ready = server.http_get("/readyz").map(|answer| answer.status);
    assert!(matches!(ready, Ok(200)), "{ready:?}");
}

/// A list in an answer; absent if empty.
pub fn list(answer: &Value, field: &str) -> Vec<Value> {
    answer[field].as_array().cloned().unwrap_or_default()
}

/// A 64-bit number in an answer: text in protobuf's JSON, absent if zero.
///
/// # Panics
/// If it is neither absent nor a number.
pub fn number(value: &Value) -> u64 {
    match value {
        Value::Null => 0,
        Value::String(text) => text.parse().expect("a number in text"),
        other => other.as_u64().expect("a number"),
    }
}

/// The store's revision at which the policy was written.
///
/// # Panics
/// If the policy has none.
pub fn revision(policy: &Value) -> u64 {
    let revision = number(&policy["revision"]);
    assert!(revision > 0, "a stored policy has a revision: {policy:#}");
    revision
}
