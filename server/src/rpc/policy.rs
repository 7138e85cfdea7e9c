//! PolicyService: decodes, asks [`Control`], encodes.

use std::sync::Arc;

use fusebox_core::key::Namespace;
use fusebox_core::policy::Violations;
use fusebox_proto::convert::mask;
use fusebox_proto::convert::policy::{
    policy_from_wire, policy_id_from_wire, policy_to_wire, stored_to_wire,
};
use fusebox_proto::v1;
use fusebox_proto::v1::policy_service_server::PolicyService;
use tonic::{Request, Response, Status};

use super::{author, page, status};
use crate::control::{Control, Delete, Intent, Outcome, Update, Warning};

/// The service over its decisions.
pub(super) struct Policies(pub(super) Arc<Control>);

#[tonic::async_trait]
impl PolicyService for Policies {
    async fn create_policy(
        &self,
        request: Request<v1::CreatePolicyRequest>,
    ) -> Result<Response<v1::CreatePolicyResponse>, Status> {
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
        let written = self.0.create(policy, intent).await.map_err(status::of)?;
        Ok(Response::new(v1::CreatePolicyResponse {
            policy: Some(outcome_to_wire(&written.outcome)),
            warnings: written.warnings.into_iter().map(warning_to_wire).collect(),
        }))
    }

    async fn get_policy(
        &self,
        request: Request<v1::GetPolicyRequest>,
    ) -> Result<Response<v1::GetPolicyResponse>, Status> {
        let v1::GetPolicyRequest { namespace, name } = request.into_inner();
        let id = policy_id_from_wire(&namespace, &name).map_err(status::invalid)?;
        let stored = self.0.get(&id).map_err(status::of)?;
        let policy = Some(stored_to_wire(&stored));
        Ok(Response::new(v1::GetPolicyResponse { policy }))
    }

    async fn list_policies(
        &self,
        request: Request<v1::ListPoliciesRequest>,
    ) -> Result<Response<v1::ListPoliciesResponse>, Status> {
        let v1::ListPoliciesRequest {
            namespace,
            page_size,
            page_token,
            ..
        } = request.into_inner();
        let mut found = Violations::none();
        let within = optional_namespace(&mut found, &namespace);
        let limit = page::size(&mut found, page_size);
        let after = page::after(&mut found, &namespace, &page_token);
        found.into_result(()).map_err(status::invalid)?;
        let listed = self.0.list(within.as_ref(), after.as_ref(), limit);
        let listed = listed.map_err(status::of)?;
        let policies = listed.policies.iter().map(|stored| stored_to_wire(stored));
        let policies = page::fit(policies);
        let more = listed.more || policies.len() < listed.policies.len();
        let last = policies.len().checked_sub(1).filter(|_| more);
        let last = last.map(|last| listed.policies[last].policy.id());
        Ok(Response::new(v1::ListPoliciesResponse {
            policies,
            next_page_token: last.map_or_else(String::new, |last| page::token(&namespace, last)),
            revision: listed.revision.0,
        }))
    }

    async fn update_policy(
        &self,
        request: Request<v1::UpdatePolicyRequest>,
    ) -> Result<Response<v1::UpdatePolicyResponse>, Status> {
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
        let written = self.0.update(update, intent).await.map_err(status::of)?;
        Ok(Response::new(v1::UpdatePolicyResponse {
            policy: Some(outcome_to_wire(&written.outcome)),
            warnings: written.warnings.into_iter().map(warning_to_wire).collect(),
        }))
    }

    async fn delete_policy(
        &self,
        request: Request<v1::DeletePolicyRequest>,
    ) -> Result<Response<v1::DeletePolicyResponse>, Status> {
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
        let revision = self.0.delete(delete, intent).await.map_err(status::of)?.0;
        Ok(Response::new(v1::DeletePolicyResponse { revision }))
    }

    async fn apply_policies(
        &self,
        _request: Request<v1::ApplyPoliciesRequest>,
    ) -> Result<Response<v1::ApplyPoliciesResponse>, Status> {
        Err(Status::unimplemented("not built yet"))
    }

    async fn list_policy_revisions(
        &self,
        _request: Request<v1::ListPolicyRevisionsRequest>,
    ) -> Result<Response<v1::ListPolicyRevisionsResponse>, Status> {
        Err(Status::unimplemented("not built yet"))
    }

    async fn rollback_policy(
        &self,
        _request: Request<v1::RollbackPolicyRequest>,
    ) -> Result<Response<v1::RollbackPolicyResponse>, Status> {
        Err(Status::unimplemented("not built yet"))
    }

    async fn explain_policy(
        &self,
        _request: Request<v1::ExplainPolicyRequest>,
    ) -> Result<Response<v1::ExplainPolicyResponse>, Status> {
        Err(Status::unimplemented("not built yet"))
    }

    type WatchPoliciesStream = std::pin::Pin<
        Box<dyn tokio_stream::Stream<Item = Result<v1::WatchPoliciesResponse, Status>> + Send>,
    >;

    async fn watch_policies(
        &self,
        _request: Request<v1::WatchPoliciesRequest>,
    ) -> Result<Response<Self::WatchPoliciesStream>, Status> {
        Err(Status::unimplemented("not built yet"))
    }

    async fn list_audit_events(
        &self,
        _request: Request<v1::ListAuditEventsRequest>,
    ) -> Result<Response<v1::ListAuditEventsResponse>, Status> {
        Err(Status::unimplemented("not built yet"))
    }
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
