//! ExplainPolicy: what the store holds and what processes declare, laid over each other by core.

use std::sync::Arc;

use fusebox_core::policy::{Target, explain};
use fusebox_core::revision::Revision;
use fusebox_proto::convert::explain::{
    Explained, LocalKnowledge, Question, explain_to_wire, question_from_wire,
};
use fusebox_proto::v1;
use tonic::Status;

use super::status;
use crate::control::Control;
use crate::fleet::{DeclaredOperation, FleetWatch};

/// The rules that hold for an operation, and why.
pub(super) fn answer(
    control: &Control,
    fleet: &FleetWatch,
    request: &v1::ExplainPolicyRequest,
) -> Result<v1::ExplainPolicyResponse, Status> {
    let Question {
        operation,
        kind,
        labels,
    } = question_from_wire(request).map_err(status::invalid)?;
    let declared = fleet.declared(&operation);
    let (namespace, service) = (&operation.namespace, &operation.service);
    let concerning = control.concerning(namespace, service.as_str());
    let concerning = concerning.map_err(status::of)?;
    let declared_kind = declared.as_ref().map(|declared| declared.kind);
    let target = Target {
        service,
        operation: &operation.operation,
        kind: kind.or(declared_kind).unwrap_or_default(),
        labels: &labels,
    };
    let layers = declared
        .as_ref()
        .map(|declared| Arc::clone(&declared.layers));
    let policies = &concerning.policies;
    let explanation = explain(
        &target,
        layers.as_deref().unwrap_or_default(),
        policies.iter().map(|stored| &stored.policy),
    );
    let explained = Explained {
        revision: concerning.revision,
        explanation: &explanation,
        locals: knowledge(declared.as_ref()),
        idempotent: declared.as_ref().map(|declared| declared.idempotent),
    };
    // Every policy that is ranked is among them.
    let revision_of = |id: &_| {
        let at = policies.binary_search_by(|stored| stored.policy.id().cmp(id));
        at.map_or(Revision::ZERO, |at| policies[at].revision)
    };
    Ok(explain_to_wire(&explained, revision_of))
}

fn knowledge(declared: Option<&DeclaredOperation>) -> LocalKnowledge {
    match declared {
        None => LocalKnowledge::Unknown,
        Some(declared) if declared.differ => LocalKnowledge::Differ,
        Some(_) => LocalKnowledge::Known,
    }
}
