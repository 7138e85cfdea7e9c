//! What a process says of itself: who it is, what it holds, what it refuses, which operations it
//! has.

use fusebox_core::key::{Epoch, InstanceId, Kind, OperationName, PolicyName, Service};
use fusebox_core::policy::rules::Rules;
use fusebox_core::policy::{Origin, Violations};
use fusebox_core::revision::{Digest, Revision};
use fusebox_core::stats::{InstanceFacts, InstanceKey, MAX_TEXT, RefusedPolicy};
use fusebox_core::sync::{Known, Refusal};

use super::incarnation::{incarnation_from_wire, incarnation_to_wire};
use super::kind::{kind_from_wire, kind_to_wire};
use super::layer::{local_layers_from_wire, local_layers_to_wire};
use super::policy::namespace_from_wire;
use super::text::{free, labels, name};
use crate::v1;

/// Who speaks on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The process.
    pub key: InstanceKey,
    /// What it says of itself.
    pub facts: InstanceFacts,
    /// The highest schema number it enforces.
    pub schema: u32,
}

/// A `Hello` whose every field is legal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Who speaks.
    pub identity: Identity,
    /// What it holds already.
    pub known: Known,
    /// What it refuses of that.
    pub refusals: Vec<RefusedPolicy>,
}

/// An operation that came to be in a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Which one.
    pub operation: OperationName,
    /// What it talks to.
    pub kind: Kind,
    /// Whether its calls may be repeated.
    pub idempotent: bool,
    /// What the process sets between the kind's defaults and the policies, lowest first.
    pub local_layers: Vec<(Origin, Rules)>,
}

/// The greeting, or everything that is wrong with it.
pub fn hello_from_wire(wire: &v1::Hello) -> Result<Greeting, Violations> {
    let mut found = Violations::none();
    let key = key_from_wire(&mut found, wire);
    let facts = facts_from_wire(&mut found, wire);
    let known = known_from_wire(&mut found, wire);
    let refusals = refusals_from_wire("hello.refusals", &wire.refusals);
    match (key, known, refusals) {
        (Some(key), Some(known), Ok(refusals)) => found.into_result(Greeting {
            identity: Identity {
                key,
                facts,
                schema: wire.schema,
            },
            known,
            refusals,
        }),
        (_, _, refusals) => {
            found.extend(refusals.err().unwrap_or_default());
            Err(found)
        }
    }
}

/// The greeting's message.
pub fn hello_to_wire<'a>(
    identity: &Identity,
    known: &Known,
    refusals: impl IntoIterator<Item = &'a Refusal>,
) -> v1::Hello {
    let Identity { key, facts, schema } = identity;
    let labels = facts.labels.iter();
    v1::Hello {
        namespace: key.namespace.to_string(),
        service: key.service.to_string(),
        instance_id: key.instance.to_string(),
        epoch: key.epoch.0,
        version: facts.version.clone(),
        zone: facts.zone.clone(),
        labels: labels
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
        sdk_version: facts.sdk_version.clone(),
        schema: *schema,
        incarnation: known
            .incarnation
            .map(incarnation_to_wire)
            .unwrap_or_default(),
        revision: known.revision.0,
        digest: known.digest.0,
        refusals: refusals.into_iter().map(refusal_to_wire).collect(),
    }
}

/// The refusals of a `Hello` or a `Nack`, or the first that is none, under `field`.
pub fn refusals_from_wire(
    field: &str,
    wire: &[v1::Refusal],
) -> Result<Vec<RefusedPolicy>, Violations> {
    let refusals = wire.iter().enumerate();
    let refusals = refusals.map(|(i, refusal)| {
        let mut found = Violations::none();
        let field = format!("{field}[{i}].policy");
        let policy = name(&mut found, &field, &refusal.policy, PolicyName::new).ok_or(found)?;
        Ok(RefusedPolicy {
            policy,
            revision: Revision(refusal.revision),
            field: refusal.field.clone(),
            reason: refusal.reason.clone(),
        })
    });
    refusals.collect()
}

/// A refusal's message.
pub fn refusal_to_wire(refusal: &Refusal) -> v1::Refusal {
    v1::Refusal {
        policy: refusal.policy.clone(),
        revision: refusal.revision.0,
        field: refusal.field.clone(),
        reason: refusal.reason.clone(),
    }
}

/// The operation, or everything that is wrong with it. Without a kind it is a custom one.
pub fn declared_from_wire(wire: &v1::OperationDeclared) -> Result<Declared, Violations> {
    let mut found = Violations::none();
    let field = "operation_declared.operation";
    let operation = name(&mut found, field, &wire.operation, OperationName::new);
    let kind = kind_from_wire(wire.kind);
    let kind = found.keep("operation_declared.kind", wire.kind, kind);
    let layers = local_layers_from_wire("operation_declared.local_layers", &wire.local_layers);
    match (operation, kind, layers) {
        (Some(operation), Some(kind), Ok(local_layers)) => Ok(Declared {
            operation,
            kind: kind.unwrap_or_default(),
            idempotent: wire.idempotent,
            local_layers,
        }),
        (_, _, layers) => {
            found.extend(layers.err().unwrap_or_default());
            Err(found)
        }
    }
}

/// The operation's message.
pub fn declared_to_wire(declared: &Declared) -> v1::OperationDeclared {
    v1::OperationDeclared {
        operation: declared.operation.to_string(),
        kind: kind_to_wire(Some(declared.kind)).into(),
        idempotent: declared.idempotent,
        local_layers: local_layers_to_wire(&declared.local_layers),
    }
}

fn key_from_wire(found: &mut Violations, wire: &v1::Hello) -> Option<InstanceKey> {
    let namespace = namespace_from_wire(found, "hello.namespace", &wire.namespace);
    let service = name(found, "hello.service", &wire.service, Service::new);
    let instance = name(
        found,
        "hello.instance_id",
        &wire.instance_id,
        InstanceId::new,
    );
    Some(InstanceKey {
        namespace: namespace?,
        service: service?,
        instance: instance?,
        epoch: Epoch(wire.epoch),
    })
}

fn facts_from_wire(found: &mut Violations, wire: &v1::Hello) -> InstanceFacts {
    InstanceFacts {
        version: free(found, "hello.version", &wire.version, MAX_TEXT),
        zone: free(found, "hello.zone", &wire.zone, MAX_TEXT),
        labels: labels(found, "hello.labels", &wire.labels),
        sdk_version: free(found, "hello.sdk_version", &wire.sdk_version, MAX_TEXT),
    }
}

/// Without an incarnation there is nothing that a revision or a digest could be of.
fn known_from_wire(found: &mut Violations, wire: &v1::Hello) -> Option<Known> {
    let value = format!("{} bytes", wire.incarnation.len());
    let incarnation = incarnation_from_wire(&wire.incarnation);
    let incarnation = found.keep("hello.incarnation", value, incarnation)?;
    Some(
        incarnation.map_or_else(Known::nothing, |incarnation| Known {
            incarnation: Some(incarnation),
            revision: Revision(wire.revision),
            digest: Digest(wire.digest),
        }),
    )
}

#[cfg(test)]
mod tests;
