//! FleetService: decodes, asks [`FleetWatch`] what was heard and [`Distribution`] how far everybody is,
//! encodes.
//!
//! One server answers for itself alone, and says so in `coverage`.

mod instances;
mod operation;
mod operations;
mod overrides;
mod transitions;
mod wait;
mod watch;

use std::sync::Arc;

use fusebox_core::glob::Glob;
use fusebox_core::key::{Namespace, Service};
use fusebox_core::policy::Violations;
use fusebox_core::stats::Filter;
use fusebox_core::sync::Scope;
use fusebox_proto::v1;
use fusebox_proto::v1::fleet_service_server::FleetService;
use tonic::{Request, Response, Status};

use crate::control::Control;
use crate::distribution::Distribution;
use crate::fleet::FleetWatch;

/// The service over the aggregate and the roster.
pub(super) struct Views {
    pub(super) fleet: Arc<FleetWatch>,
    pub(super) distribution: Arc<Distribution>,
    /// Knows the store's last write, and what holds for an operation.
    pub(super) control: Arc<Control>,
}

/// For how much an answer speaks.
fn coverage(distribution: &Distribution) -> v1::Coverage {
    v1::Coverage {
        servers_reporting: 1,
        servers_total: 1,
        settling: distribution.is_settling(),
    }
}

#[tonic::async_trait]
impl FleetService for Views {
    async fn list_operations(
        &self,
        request: Request<v1::ListOperationsRequest>,
    ) -> Result<Response<v1::ListOperationsResponse>, Status> {
        let listed = operations::list(&self.fleet, &self.distribution, request.get_ref());
        listed.map(Response::new)
    }

    async fn list_instances(
        &self,
        request: Request<v1::ListInstancesRequest>,
    ) -> Result<Response<v1::ListInstancesResponse>, Status> {
        let listed = instances::list(&self.fleet, &self.distribution, request.get_ref());
        listed.map(Response::new)
    }

    async fn get_operation(
        &self,
        request: Request<v1::GetOperationRequest>,
    ) -> Result<Response<v1::GetOperationResponse>, Status> {
        let found = operation::get(self, request.get_ref());
        found.map(Response::new)
    }

    type WatchFleetStream = watch::Watching;

    async fn watch_fleet(
        &self,
        request: Request<v1::WatchFleetRequest>,
    ) -> Result<Response<Self::WatchFleetStream>, Status> {
        let watching = watch::watch(&self.fleet, &self.distribution, request.get_ref());
        watching.map(Response::new)
    }

    async fn list_transitions(
        &self,
        request: Request<v1::ListTransitionsRequest>,
    ) -> Result<Response<v1::ListTransitionsResponse>, Status> {
        let listed = transitions::list(&self.fleet, &self.distribution, request.get_ref());
        listed.map(Response::new)
    }

    async fn set_breaker_override(
        &self,
        request: Request<v1::SetBreakerOverrideRequest>,
    ) -> Result<Response<v1::SetBreakerOverrideResponse>, Status> {
        overrides::set(self, request).await.map(Response::new)
    }

    async fn clear_breaker_override(
        &self,
        request: Request<v1::ClearBreakerOverrideRequest>,
    ) -> Result<Response<v1::ClearBreakerOverrideResponse>, Status> {
        overrides::clear(self, request).await.map(Response::new)
    }

    async fn list_breaker_overrides(
        &self,
        request: Request<v1::ListBreakerOverridesRequest>,
    ) -> Result<Response<v1::ListBreakerOverridesResponse>, Status> {
        overrides::list(self, request.get_ref()).map(Response::new)
    }

    async fn reset_breakers(
        &self,
        request: Request<v1::ResetBreakersRequest>,
    ) -> Result<Response<v1::ResetBreakersResponse>, Status> {
        overrides::reset(self, request).await.map(Response::new)
    }

    type WaitForRevisionStream = wait::Waiting;

    async fn wait_for_revision(
        &self,
        request: Request<v1::WaitForRevisionRequest>,
    ) -> Result<Response<Self::WaitForRevisionStream>, Status> {
        let waiting = wait::wait(&self.control, &self.distribution, request.get_ref());
        waiting.map(Response::new)
    }
}

/// Which operations are asked for; what is empty is all.
fn filter_from_wire(
    found: &mut Violations,
    namespace: &str,
    service: &str,
    operation: &str,
) -> Filter {
    let namespace = (!namespace.is_empty())
        .then(|| found.keep("namespace", namespace, Namespace::new(namespace)))
        .flatten();
    let mut glob = |field: &str, text: &str| {
        (!text.is_empty())
            .then(|| found.keep(field, text, Glob::new(text)))
            .flatten()
    };
    Filter {
        namespace,
        service: glob("service", service),
        operation: glob("operation", operation),
    }
}

/// Whose processes are asked for; empty is everybody's.
fn scope_from_wire(found: &mut Violations, namespace: &str, service: &str) -> Scope {
    let mut scope = Scope::default();
    if !namespace.is_empty() {
        scope.namespace = found.keep("namespace", namespace, Namespace::new(namespace));
    }
    if !service.is_empty() {
        scope.service = found.keep("service", service, Service::new(service));
    }
    scope
}

fn count(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}
