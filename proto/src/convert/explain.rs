//! Which rules an operation ends up with, and why.

mod value;

use fusebox_core::key::{Kind, Labels, OperationName, PolicyId, Service};
use fusebox_core::policy::field::Field;
use fusebox_core::policy::{
    Explanation, FieldExplanation, Oddity, Origin, Overruled, Policy, Reason, Violations,
};
use fusebox_core::revision::Revision;
use fusebox_core::stats::OperationKey;

use super::kind::{kind_from_wire, kind_to_wire};
use super::layer::layer_to_wire;
use super::policy::{namespace_from_wire, selector_to_wire};
use super::rules::rules_to_wire;
use super::text::{labels, name};
use crate::v1;
use value::value;

/// Whose rules are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Which operation.
    pub operation: OperationKey,
    /// What it talks to, if that is not left to whoever declared it.
    pub kind: Option<Kind>,
    /// Of the instance that calls.
    pub labels: Labels,
}

/// The question, or everything that is wrong with it.
pub fn question_from_wire(wire: &v1::ExplainPolicyRequest) -> Result<Question, Violations> {
    let mut found = Violations::none();
    let namespace = namespace_from_wire(&mut found, "namespace", &wire.namespace);
    let service = name(&mut found, "service", &wire.service, Service::new);
    let operation = name(&mut found, "operation", &wire.operation, OperationName::new);
    let kind = found.keep("kind", wire.kind, kind_from_wire(wire.kind));
    let labels = labels(&mut found, "instance_labels", &wire.instance_labels);
    match (namespace, service, operation, kind) {
        (Some(namespace), Some(service), Some(operation), Some(kind)) => {
            found.into_result(Question {
                operation: OperationKey {
                    namespace,
                    service,
                    operation,
                },
                kind,
                labels,
            })
        }
        _ => Err(found),
    }
}

/// What is known of the layers between the kind's defaults and the policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalKnowledge {
    /// All connected processes that declare the operation declare the same.
    Known,
    /// No connected process declares the operation.
    Unknown,
    /// Some declare others than those that were explained.
    Differ,
}

/// An explanation, and what stands around it.
#[derive(Clone, Copy, Debug)]
pub struct Explained<'a> {
    /// The store's revision that it speaks of.
    pub revision: Revision,
    /// Which rules hold, and why.
    pub explanation: &'a Explanation<'a>,
    /// What was known of local layers.
    pub locals: LocalKnowledge,
    /// Whether the operation's calls may be repeated, if its author has said.
    pub idempotent: Option<bool>,
}

/// The answer; `revision_of` tells at which revision a policy was last written.
pub fn explain_to_wire(
    explained: &Explained<'_>,
    revision_of: impl Fn(&PolicyId) -> Revision,
) -> v1::ExplainPolicyResponse {
    let Explained {
        revision,
        explanation,
        locals,
        idempotent,
    } = *explained;
    let effective = &explanation.resolution.effective;
    let ranking = explanation.ranking.iter();
    let oddities = explanation.oddities(idempotent).into_iter();
    v1::ExplainPolicyResponse {
        revision: revision.0,
        kind: kind_to_wire(Some(explanation.kind)).into(),
        rules: rules_to_wire(&effective.to_rules()),
        shadow: rules_to_wire(&effective.shadow.to_rules()),
        fields: explanation.fields.iter().map(field_to_wire).collect(),
        policies: ranking
            .map(|policy| rank_to_wire(policy, revision_of(policy.id())))
            .collect(),
        local_layers: locals_to_wire(locals).into(),
        warnings: oddities.map(oddity_to_wire).collect(),
    }
}

fn field_to_wire(explained: &FieldExplanation) -> v1::FieldExplanation {
    let FieldExplanation {
        field,
        value: held,
        origin,
        cleared,
        gave_way_to,
        overruled,
    } = explained;
    v1::FieldExplanation {
        field: field.to_string(),
        value: value(*field, held),
        layer: layer_to_wire(origin).into(),
        policy: policy_name(origin),
        cleared: *cleared,
        gave_way_to: gave_way_to.map(Field::path).unwrap_or_default().to_owned(),
        overruled: overruled
            .iter()
            .map(|overruled| overruled_to_wire(*field, overruled))
            .collect(),
    }
}

fn overruled_to_wire(field: Field, overruled: &Overruled) -> v1::Overruled {
    let Overruled {
        origin,
        value: wanted,
        cleared,
        reason,
    } = overruled;
    v1::Overruled {
        layer: layer_to_wire(origin).into(),
        policy: policy_name(origin),
        value: value(field, wanted),
        cleared: *cleared,
        reason: reason_to_wire(*reason).into(),
    }
}

/// Empty for whoever is no policy.
fn policy_name(origin: &Origin) -> String {
    match origin {
        Origin::Policy(id) => id.name.to_string(),
        _ => String::new(),
    }
}

fn reason_to_wire(reason: Reason) -> v1::overruled::Reason {
    use v1::overruled::Reason as Wire;
    match reason {
        Reason::LowerLayer => Wire::LowerLayer,
        Reason::LowerPriority => Wire::LowerPriority,
        Reason::LessSpecificOperation => Wire::LessSpecificOperation,
        Reason::LessSpecificService => Wire::LessSpecificService,
        Reason::LessSpecificKind => Wire::LessSpecificKind,
        Reason::FewerLabels => Wire::FewerLabels,
        Reason::EarlierName => Wire::EarlierName,
        Reason::Shadow => Wire::Shadow,
    }
}

fn rank_to_wire(policy: &Policy, revision: Revision) -> v1::PolicyRank {
    v1::PolicyRank {
        name: policy.id().name.to_string(),
        revision: revision.0,
        priority: policy.priority(),
        selector: Some(selector_to_wire(policy.selector())),
    }
}

fn locals_to_wire(locals: LocalKnowledge) -> v1::LocalLayers {
    match locals {
        LocalKnowledge::Known => v1::LocalLayers::Known,
        LocalKnowledge::Unknown => v1::LocalLayers::Unknown,
        LocalKnowledge::Differ => v1::LocalLayers::Differ,
    }
}

fn oddity_to_wire(oddity: Oddity) -> v1::Warning {
    v1::Warning {
        field: format!("rules.{}", oddity.field()),
        description: oddity.to_string(),
    }
}

#[cfg(test)]
mod tests;
