//! FleetService: decodes, asks [`FleetWatch`] what was heard and [`Distribution`] how far everybody is,
//! encodes.
//!
//! One server answers for itself alone, and says so in `coverage`.

mod instances;
mod wait;

use std::sync::Arc;

use fusebox_core::key::{Namespace, Service};
use fusebox_core::policy::Violations;
use fusebox_core::stats::{Filter, OperationView, Ratio, StateCounts};
use fusebox_core::sync::Scope;
use fusebox_proto::convert::kind::kind_to_wire;
use fusebox_proto::convert::time::duration_to_wire;
use fusebox_proto::v1;
use fusebox_proto::v1::fleet_service_server::FleetService;
use tonic::{Request, Response, Status};

use super::{page, status};
use crate::control::Control;
use crate::distribution::Distribution;
use crate::fleet::FleetWatch;

/// The service over the aggregate and the roster.
pub(super) struct Views {
    pub(super) fleet: Arc<FleetWatch>,
    pub(super) distribution: Arc<Distribution>,
    /// Knows the store's last write.
    pub(super) control: Arc<Control>,
}

const COVERAGE: v1::Coverage = v1::Coverage {
    servers_reporting: 1,
    servers_total: 1,
    settling: false,
};

#[tonic::async_trait]
impl FleetService for Views {
    async fn list_operations(
        &self,
        request: Request<v1::ListOperationsRequest>,
    ) -> Result<Response<v1::ListOperationsResponse>, Status> {
        let request = request.into_inner();
        let (filter, limit) = query(&request.namespace, &request.service, request.page_size)?;
        let views = self.fleet.operations(&filter);
        Ok(Response::new(v1::ListOperationsResponse {
            operations: page::fit(views.iter().take(limit).map(operation_to_wire)),
            coverage: Some(COVERAGE),
            total_size: count(views.len()),
            next_page_token: String::new(),
        }))
    }

    async fn list_instances(
        &self,
        request: Request<v1::ListInstancesRequest>,
    ) -> Result<Response<v1::ListInstancesResponse>, Status> {
        let listed = instances::list(&self.fleet, &self.distribution, request.get_ref());
        listed.map(Response::new)
    }

    type WatchFleetStream = tokio_stream::Empty<Result<v1::WatchFleetResponse, Status>>;

    async fn watch_fleet(
        &self,
        _: Request<v1::WatchFleetRequest>,
    ) -> Result<Response<Self::WatchFleetStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_operation(
        &self,
        _: Request<v1::GetOperationRequest>,
    ) -> Result<Response<v1::GetOperationResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_transitions(
        &self,
        _: Request<v1::ListTransitionsRequest>,
    ) -> Result<Response<v1::ListTransitionsResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn set_breaker_override(
        &self,
        _: Request<v1::SetBreakerOverrideRequest>,
    ) -> Result<Response<v1::SetBreakerOverrideResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn clear_breaker_override(
        &self,
        _: Request<v1::ClearBreakerOverrideRequest>,
    ) -> Result<Response<v1::ClearBreakerOverrideResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_breaker_overrides(
        &self,
        _: Request<v1::ListBreakerOverridesRequest>,
    ) -> Result<Response<v1::ListBreakerOverridesResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn reset_breakers(
        &self,
        _: Request<v1::ResetBreakersRequest>,
    ) -> Result<Response<v1::ResetBreakersResponse>, Status> {
        Err(Status::unimplemented(""))
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

fn query(namespace: &str, service: &str, page_size: i32) -> Result<(Filter, usize), Status> {
    let mut found = Violations::none();
    let Scope { namespace, service } = scope_from_wire(&mut found, namespace, service);
    let filter = Filter {
        namespace,
        service,
        operation: None,
    };
    let limit = page::size(&mut found, page_size);
    found.into_result((filter, limit)).map_err(status::invalid)
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

fn operation_to_wire(view: &OperationView) -> v1::OperationStatus {
    let rates = &view.last_ten_seconds;
    v1::OperationStatus {
        namespace: view.key.namespace.to_string(),
        service: view.key.service.to_string(),
        operation: view.key.operation.to_string(),
        kind: kind_to_wire(Some(view.kind)).into(),
        instances: Some(states_to_wire(view.instances)),
        calls_per_second: rates.calls_per_second,
        failure_ratio: fraction(rates.failure),
        retry_ratio: fraction(rates.retry),
        ratio_sample: rates.failure.sample,
        refusals_per_second: rates.refusals_per_second.iter().sum(),
        p50: view.p50.map(duration_to_wire),
        p95: view.p95.map(duration_to_wire),
        p99: view.p99.map(duration_to_wire),
        calls_total: view.totals.all_calls(),
        refusals_total: view.totals.all_refusals(),
        age: view.age.map(duration_to_wire),
        ..v1::OperationStatus::default()
    }
}

fn states_to_wire(counts: StateCounts) -> v1::InstancesByState {
    v1::InstancesByState {
        closed: counts.closed,
        open: counts.open,
        half_open: counts.half_open,
        stale: counts.stale,
        ..v1::InstancesByState::default()
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a ratio has a handful of digits"
)]
fn fraction(ratio: Ratio) -> f64 {
    ratio.basis_points as f64 / 10_000.0
}
