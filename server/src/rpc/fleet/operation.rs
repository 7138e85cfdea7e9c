//! One operation: its instances, the rules in effect, its latest transitions.

use fusebox_core::key::{Epoch, InstanceId};
use fusebox_core::policy::Violations;
use fusebox_core::stats::{InstancePlace, InstancesOf, OperationInstanceView};
use fusebox_proto::convert::breaker::override_to_wire;
use fusebox_proto::convert::explain::{Question, question_from_wire};
use fusebox_proto::convert::statistics::{breaker_to_wire, optional_state_to_wire, state_to_wire};
use fusebox_proto::convert::time::duration_to_wire;
use fusebox_proto::v1;
use tonic::Status;

use super::super::page::Place;
use super::super::{explain, page, status};
use super::operations::{fraction, operation_to_wire};
use super::transitions::record_to_wire;
use super::{Views, count, coverage};

impl Place for InstancePlace {
    fn write(&self) -> String {
        // No id holds a space.
        format!("{} {} {}", self.rank, self.instance, self.epoch.0)
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let mut next = || parts.next();
        Some(Self {
            rank: next()?.parse().ok()?,
            instance: InstanceId::new(next()?).ok()?,
            epoch: Epoch(next()?.parse().ok()?),
        })
    }
}

/// It, with a page of its instances.
pub(super) fn get(
    views: &Views,
    request: &v1::GetOperationRequest,
) -> Result<v1::GetOperationResponse, Status> {
    let question = question(request);
    let mut found = Violations::none();
    let asked = match question_from_wire(&question) {
        Ok(Question { operation, .. }) => Some(("instances of", operation)),
        Err(violations) => {
            found.extend(violations);
            None
        }
    };
    let limit = page::size(&mut found, request.page_size);
    let after = page::after(&mut found, &asked, &request.page_token);
    let Some((_, key)) = asked.as_ref().filter(|_| found.is_empty()) else {
        return Err(status::invalid(found));
    };
    let page = InstancesOf {
        after: after.as_ref(),
        limit,
    };
    let detail = views.fleet.operation(key, &page);
    let detail = detail.ok_or_else(|| status::unknown_operation(key))?;
    let effective = explain::answer(&views.control, &views.fleet, &question)?;
    let instances = page::fit(detail.instances.iter().map(instance_to_wire));
    let more = detail.more || instances.len() < detail.instances.len();
    let last = instances.len().checked_sub(1).filter(|_| more);
    let last = last.map(|last| page::token(&asked, &detail.instances[last].place()));
    let transitions = detail.transitions.iter();
    let standing = views.control.overrides().map_err(status::of)?;
    let concerning = standing.iter().rev().filter(|one| {
        let target = &one.target;
        target.concerns(&key.namespace, key.service.as_str()) && target.takes(&key.operation)
    });
    let overrides = concerning.map(|one| override_to_wire(one));
    Ok(v1::GetOperationResponse {
        operation: Some(operation_to_wire(&detail.operation)),
        instances,
        total_size: count(detail.total),
        next_page_token: last.unwrap_or_default(),
        transitions: transitions
            .map(|record| record_to_wire(record, &views.fleet))
            .collect(),
        effective: Some(effective),
        overrides: overrides.collect(),
        coverage: Some(coverage(&views.distribution)),
    })
}

/// What holds for an instance without labels.
fn question(request: &v1::GetOperationRequest) -> v1::ExplainPolicyRequest {
    v1::ExplainPolicyRequest {
        namespace: request.namespace.clone(),
        service: request.service.clone(),
        operation: request.operation.clone(),
        ..v1::ExplainPolicyRequest::default()
    }
}

fn instance_to_wire(view: &OperationInstanceView) -> v1::OperationInstance {
    v1::OperationInstance {
        instance_id: view.instance.to_string(),
        epoch: view.epoch.0,
        version: view.version.clone(),
        zone: view.zone.clone(),
        connected: view.connected,
        stale: view.stale,
        circuit_state: state_to_wire(view.state).into(),
        circuit_state_age: Some(duration_to_wire(view.state_age)),
        forced_state: optional_state_to_wire(view.forced.map(|known| known.forced.as_state())),
        override_id: view.forced.map_or(0, |known| known.by.0),
        shadow_state: optional_state_to_wire(view.shadow),
        breaker: Some(breaker_to_wire(&view.breaker)),
        failure_ratio: fraction(view.failure),
        ratio_sample: view.failure.sample,
        calls_total: view.calls,
        refusals_total: view.refusals,
        age: view.age.map(duration_to_wire),
    }
}
