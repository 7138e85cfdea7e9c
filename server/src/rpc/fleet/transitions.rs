//! What breakers did of late, a page at a time, the newest first.

use fusebox_core::key::InstanceId;
use fusebox_core::policy::Violations;
use fusebox_core::revision::Revision;
use fusebox_core::stats::{TransitionQuery, TransitionRecord};
use fusebox_proto::convert::statistics::state_to_wire;
use fusebox_proto::convert::time::timestamp_to_wire;
use fusebox_proto::v1;
use tonic::Status;

use super::super::{page, status};
use super::{coverage, filter_from_wire};
use crate::distribution::Distribution;
use crate::fleet::FleetWatch;

/// One page of it.
pub(super) fn list(
    fleet: &FleetWatch,
    distribution: &Distribution,
    request: &v1::ListTransitionsRequest,
) -> Result<v1::ListTransitionsResponse, Status> {
    let mut found = Violations::none();
    let v1::ListTransitionsRequest {
        namespace,
        service,
        operation,
        instance_id,
        ..
    } = request;
    let filter = filter_from_wire(&mut found, namespace, service, operation);
    let instance = (!instance_id.is_empty())
        .then(|| found.keep("instance_id", instance_id, InstanceId::new(instance_id)))
        .flatten();
    let limit = page::size(&mut found, request.page_size);
    let asked = ("transitions", (namespace, service, operation), instance_id);
    // A sequence grows as a revision does.
    let before: Option<Revision> = page::after(&mut found, &asked, &request.page_token);
    found.into_result(()).map_err(status::invalid)?;
    let listed = fleet.page_transitions(&TransitionQuery {
        filter: &filter,
        instance: instance.as_ref(),
        before: before.map(|before| before.0),
        limit,
    });
    let records = &listed.transitions;
    let transitions = page::fit(records.iter().map(|record| record_to_wire(record, fleet)));
    let more = listed.more || transitions.len() < records.len();
    let last = transitions.last().filter(|_| more);
    let last = last.map(|last| page::token(&asked, &Revision(last.sequence)));
    Ok(v1::ListTransitionsResponse {
        transitions,
        next_page_token: last.unwrap_or_default(),
        truncated: !more && listed.truncated,
        coverage: Some(coverage(distribution)),
    })
}

pub(super) fn record_to_wire(
    record: &TransitionRecord,
    fleet: &FleetWatch,
) -> v1::TransitionRecord {
    v1::TransitionRecord {
        sequence: record.sequence,
        time: Some(timestamp_to_wire(fleet.time_of(record.at))),
        namespace: record.operation.namespace.to_string(),
        service: record.operation.service.to_string(),
        operation: record.operation.operation.to_string(),
        instance_id: record.instance.to_string(),
        epoch: record.epoch.0,
        number: record.number,
        from: state_to_wire(record.from).into(),
        to: state_to_wire(record.to).into(),
        cause: record.cause.to_string(),
        override_id: record.by.unwrap_or_default().0,
    }
}
