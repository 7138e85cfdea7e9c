//! Instances, a page at a time: what the fleet has heard of each, and what the roster wants of it.

use std::time::Duration;

use fusebox_core::glob::Glob;
use fusebox_core::key::{Epoch, InstanceId, InstanceKey, Labels, Namespace, Service};
use fusebox_core::policy::Violations;
use fusebox_core::revision::Revision;
use fusebox_core::stats::{Filter, InstanceQuery, InstanceView, RefusedPolicy};
use fusebox_core::sync::Wanted;
use fusebox_proto::convert::time::duration_to_wire;
use fusebox_proto::v1;
use tonic::Status;

use super::super::page::Place;
use super::super::{page, status};
use super::{count, coverage, scope_from_wire};
use crate::distribution::Distribution;
use crate::fleet::FleetWatch;

impl Place for InstanceKey {
    fn write(&self) -> String {
        // No name holds a space.
        format!(
            "{} {} {} {}",
            self.namespace, self.service, self.instance, self.epoch.0
        )
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let mut next = || parts.next();
        Some(Self {
            namespace: Namespace::new(next()?).ok()?,
            service: Service::new(next()?).ok()?,
            instance: InstanceId::new(next()?).ok()?,
            epoch: Epoch(next()?.parse().ok()?),
        })
    }
}

/// One page of them.
pub(super) fn list(
    fleet: &FleetWatch,
    distribution: &Distribution,
    request: &v1::ListInstancesRequest,
) -> Result<v1::ListInstancesResponse, Status> {
    let mut found = Violations::none();
    let scope = scope_from_wire(&mut found, &request.namespace, &request.service);
    let labels = labels_from_wire(&mut found, request);
    let limit = page::size(&mut found, request.page_size);
    let asked = (
        "instances",
        (&request.namespace, &request.service),
        &labels,
        request.lacking_revision,
    );
    let after = page::after(&mut found, &asked, &request.page_token);
    found.into_result(()).map_err(status::invalid)?;
    let lacking = (request.lacking_revision > 0)
        .then(|| distribution.lacking(Revision(request.lacking_revision), &scope));
    let filter = Filter {
        namespace: scope.namespace,
        // Every name is a glob that matches it alone.
        service: scope.service.and_then(|it| Glob::new(it.as_str()).ok()),
        operation: None,
    };
    let found = fleet.page_instances(&InstanceQuery {
        filter: &filter,
        labels: &labels,
        sessions: lacking.as_ref(),
        after: after.as_ref(),
        limit,
    });
    let views = &found.instances;
    let sessions: Vec<_> = views.iter().map(|view| view.session).collect();
    let wanted = distribution.wanted(&sessions);
    let stale_after = distribution.stale_after();
    let both = views.iter().zip(wanted);
    let instances = page::fit(both.map(|(view, wanted)| to_wire(view, wanted, stale_after)));
    let more = found.more || instances.len() < views.len();
    let last = instances.len().checked_sub(1).filter(|_| more);
    let last = last.map(|last| page::token(&asked, &views[last].key));
    Ok(v1::ListInstancesResponse {
        instances,
        coverage: Some(coverage(distribution)),
        total_size: count(found.total),
        next_page_token: last.unwrap_or_default(),
    })
}

/// In the order of their keys, so that one query reads as one.
fn labels_from_wire(found: &mut Violations, request: &v1::ListInstancesRequest) -> Labels {
    let labels = Labels::new(&request.labels);
    let kept = found.keep("labels", format!("{} labels", request.labels.len()), labels);
    kept.unwrap_or_default()
}

fn to_wire(
    view: &InstanceView,
    wanted: Option<Wanted>,
    stale_after: Duration,
) -> v1::InstanceStatus {
    let labels = view.facts.labels.iter();
    v1::InstanceStatus {
        namespace: view.key.namespace.to_string(),
        service: view.key.service.to_string(),
        instance_id: view.key.instance.to_string(),
        epoch: view.key.epoch.0,
        version: view.facts.version.clone(),
        zone: view.facts.zone.clone(),
        labels: labels
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
        sdk_version: view.facts.sdk_version.clone(),
        connected: view.connected,
        last_seen: Some(duration_to_wire(view.last_seen)),
        applied_revision: view.applied.0,
        refusals: view.refused.iter().map(refused_to_wire).collect(),
        duplicate: view.duplicate,
        operations: count(view.operations),
        schema: wanted.map_or(0, |wanted| wanted.schema),
        connected_for: view.connected_for.map(duration_to_wire),
        stale: view.connected && view.last_seen > stale_after,
        wanted_revision: wanted.map_or(0, |wanted| wanted.revision.0),
    }
}

fn refused_to_wire(refused: &RefusedPolicy) -> v1::Refusal {
    v1::Refusal {
        policy: refused.policy.to_string(),
        revision: refused.revision.0,
        field: refused.field.clone(),
        reason: refused.reason.clone(),
    }
}
