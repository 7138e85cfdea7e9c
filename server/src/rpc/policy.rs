//! PolicyService: decodes, asks [`Control`], encodes.

mod apply;
mod history;
mod reach;
mod watch;

use std::sync::Arc;

use fusebox_core::key::{Namespace, Service};
use fusebox_core::policy::Violations;
use fusebox_core::revision::Revision;
use fusebox_proto::convert::mask;
use fusebox_proto::convert::policy::{
    policy_from_wire, policy_id_from_wire, policy_to_wire, stored_to_wire,
};
use fusebox_proto::v1;
use fusebox_proto::v1::policy_service_server::PolicyService;
use tonic::{Request, Response, Status};

use super::{author, explain, page, status};
use crate::control::{Control, Delete, Intent, Outcome, Query, Rollback, Update, Warning};
use crate::distribution::Distribution;
use crate::fleet::FleetWatch;

/// The service over its decisions, what processes say of their operations, and who is connected.
pub(super) struct Policies {
    pub(super) control: Arc<Control>,
    pub(super) fleet: Arc<FleetWatch>,
    pub(super) distribution: Arc<Distribution>,
}

#[tonic::async_trait]
impl PolicyService for Policies {
    async fn create_policy(
        &self,
        request: Request<v1::CreatePolicyRequest>,
    ) -> Result<Response<v1::CreatePolicyResponse>, Status> {
        let _write = self.distribution.write();
        let (author, source) = author(&request);
        let v1::CreatePolicyRequest {
            policy,
            validate_only,
        } = request.into_inner();
        let policy = policy_from_wire(&required(policy)?).map_err(status::invalid)?;
        let intent = Intent {
            author,
            source,
            validate_only,
        };
        let written = self
            .control
            .create(policy, intent)
            .await
            .map_err(status::of)?;
        Ok(Response::new(v1::CreatePolicyResponse {
            policy: Some(outcome_to_wire(&written.outcome)),
            reach: Some(reach::of_written(&self.distribution, &written)),
            warnings: written.warnings.into_iter().map(warning_to_wire).collect(),
        }))
    }

    async fn get_policy(
        &self,
        request: Request<v1::GetPolicyRequest>,
    ) -> Result<Response<v1::GetPolicyResponse>, Status> {
        let v1::GetPolicyRequest { namespace, name } = request.into_inner();
        let id = policy_id_from_wire(&namespace, &name).map_err(status::invalid)?;
        let stored = self.control.get(&id).map_err(status::of)?;
        let policy = Some(stored_to_wire(&stored));
        Ok(Response::new(v1::GetPolicyResponse { policy }))
    }

    async fn list_policies(
        &self,
        request: Request<v1::ListPoliciesRequest>,
    ) -> Result<Response<v1::ListPoliciesResponse>, Status> {
        list(&self.control, &request.into_inner()).map(Response::new)
    }

    async fn update_policy(
        &self,
        request: Request<v1::UpdatePolicyRequest>,
    ) -> Result<Response<v1::UpdatePolicyResponse>, Status> {
        let _write = self.distribution.write();
        let (author, source) = author(&request);
        let v1::UpdatePolicyRequest {
            policy,
            update_mask,
            allow_missing,
            validate_only,
        } = request.into_inner();
        let policy = required(policy)?;
        let make = |existing| mask::merge(existing, &policy, update_mask.as_ref());
        let id = policy_id_from_wire(&policy.namespace, &policy.name).map_err(|violations| {
            // What may be a creation is told everything that is wrong with it as one.
            let whole = allow_missing.then(|| make(None).err()).flatten();
            status::invalid(whole.unwrap_or(violations))
        })?;
        let update = Update {
            id,
            etag: set(&policy.etag),
            allow_missing,
            make: &make,
        };
        let intent = Intent {
            author,
            source,
            validate_only,
        };
        let written = self
            .control
            .update(update, intent)
            .await
            .map_err(status::of)?;
        Ok(Response::new(v1::UpdatePolicyResponse {
            policy: Some(outcome_to_wire(&written.outcome)),
            reach: Some(reach::of_written(&self.distribution, &written)),
            warnings: written.warnings.into_iter().map(warning_to_wire).collect(),
        }))
    }

    async fn delete_policy(
        &self,
        request: Request<v1::DeletePolicyRequest>,
    ) -> Result<Response<v1::DeletePolicyResponse>, Status> {
        let _write = self.distribution.write();
        let (author, source) = author(&request);
        let request = request.into_inner();
        let delete = Delete {
            id: policy_id_from_wire(&request.namespace, &request.name).map_err(status::invalid)?,
            etag: set(&request.etag),
            allow_missing: request.allow_missing,
        };
        let intent = Intent {
            author,
            source,
            validate_only: request.validate_only,
        };
        let deleted = self.control.delete(delete, intent).await;
        let deleted = deleted.map_err(status::of)?;
        Ok(Response::new(v1::DeletePolicyResponse {
            revision: deleted.revision.0,
            reach: Some(reach::of_deleted(&self.distribution, &deleted)),
        }))
    }

    async fn apply_policies(
        &self,
        request: Request<v1::ApplyPoliciesRequest>,
    ) -> Result<Response<v1::ApplyPoliciesResponse>, Status> {
        let _write = self.distribution.write();
        let (author, source) = author(&request);
        let request = request.into_inner();
        let set = apply::set_from_wire(&request)?;
        let intent = Intent {
            author,
            source,
            validate_only: request.validate_only,
        };
        let applied = self.control.apply(&set, intent).await.map_err(status::of)?;
        let reach = reach::of_applied(&self.distribution, &applied);
        Ok(Response::new(apply::applied_to_wire(applied, reach)))
    }

    async fn list_policy_revisions(
        &self,
        request: Request<v1::ListPolicyRevisionsRequest>,
    ) -> Result<Response<v1::ListPolicyRevisionsResponse>, Status> {
        history::revisions(&self.control, request.get_ref()).map(Response::new)
    }

    async fn rollback_policy(
        &self,
        request: Request<v1::RollbackPolicyRequest>,
    ) -> Result<Response<v1::RollbackPolicyResponse>, Status> {
        let _write = self.distribution.write();
        let (author, source) = author(&request);
        let request = request.into_inner();
        let rollback = Rollback {
            id: policy_id_from_wire(&request.namespace, &request.name).map_err(status::invalid)?,
            revision: Revision(request.revision),
            etag: set(&request.etag),
        };
        let intent = Intent {
            author,
            source,
            validate_only: request.validate_only,
        };
        let written = self.control.rollback(rollback, intent).await;
        let written = written.map_err(status::of)?;
        Ok(Response::new(v1::RollbackPolicyResponse {
            policy: Some(outcome_to_wire(&written.outcome)),
            reach: Some(reach::of_written(&self.distribution, &written)),
            warnings: written.warnings.into_iter().map(warning_to_wire).collect(),
        }))
    }

    async fn explain_policy(
        &self,
        request: Request<v1::ExplainPolicyRequest>,
    ) -> Result<Response<v1::ExplainPolicyResponse>, Status> {
        let answer = explain::answer(&self.control, &self.fleet, request.get_ref());
        answer.map(Response::new)
    }

    type WatchPoliciesStream = watch::Watching;

    async fn watch_policies(
        &self,
        request: Request<v1::WatchPoliciesRequest>,
    ) -> Result<Response<Self::WatchPoliciesStream>, Status> {
        watch::watch(&self.control, request.get_ref()).map(Response::new)
    }

    async fn list_audit_events(
        &self,
        request: Request<v1::ListAuditEventsRequest>,
    ) -> Result<Response<v1::ListAuditEventsResponse>, Status> {
        history::events(&self.control, request.get_ref()).map(Response::new)
    }
}

fn list(
    control: &Control,
    request: &v1::ListPoliciesRequest,
) -> Result<v1::ListPoliciesResponse, Status> {
    let mut found = Violations::none();
    let namespace = optional_namespace(&mut found, &request.namespace);
    if let Some(service) = set(&request.service) {
        found.keep("service", service, Service::new(service));
    }
    let limit = page::size(&mut found, request.page_size);
    let asked = (
        "policies",
        &request.namespace,
        &request.service,
        &request.owner,
    );
    let after = page::after(&mut found, &asked, &request.page_token);
    found.into_result(()).map_err(status::invalid)?;
    let query = Query {
        namespace: namespace.as_ref(),
        service: set(&request.service),
        owner: set(&request.owner),
        after: after.as_ref(),
        limit: Some(limit),
    };
    let listed = control.list(&query).map_err(status::of)?;
    let policies = listed.policies.iter().map(|stored| stored_to_wire(stored));
    let policies = page::fit(policies);
    let more = listed.more || policies.len() < listed.policies.len();
    let last = policies.len().checked_sub(1).filter(|_| more);
    let last = last.map(|last| listed.policies[last].policy.id());
    Ok(v1::ListPoliciesResponse {
        policies,
        next_page_token: last.map_or_else(String::new, |last| page::token(&asked, last)),
        revision: listed.revision.0,
    })
}

fn required(policy: Option<v1::Policy>) -> Result<v1::Policy, Status> {
    policy.ok_or_else(|| {
        let mut found = Violations::none();
        found.add("policy", "nothing", "must be set");
        status::invalid(found)
    })
}

fn optional_namespace(found: &mut Violations, wire: &str) -> Option<Namespace> {
    set(wire).and_then(|wire| found.keep("namespace", wire, Namespace::new(wire)))
}

/// Text that is there.
fn set(wire: &str) -> Option<&str> {
    (!wire.is_empty()).then_some(wire)
}

fn outcome_to_wire(outcome: &Outcome) -> v1::Policy {
    match outcome {
        Outcome::Stored(stored) => stored_to_wire(stored),
        Outcome::Checked(policy) => policy_to_wire(policy),
    }
}

fn warning_to_wire(warning: Warning) -> v1::Warning {
    v1::Warning {
        field: warning.field,
        description: warning.description,
    }
}
