//! What operators decide about breakers, and whom it concerns.

use std::time::{Duration, SystemTime};

use fusebox_core::glob::Glob;
use fusebox_core::outcome::Forced;
use fusebox_core::policy::Violations;
use fusebox_core::policy::overrides::{BreakerOverride, BreakerTarget};
use fusebox_core::revision::Revision;
use fusebox_core::stats::Filter;
use fusebox_proto::convert::breaker::{
    optional_reason, override_draft_from_wire, override_to_wire, reason, target_from_wire,
};
use fusebox_proto::convert::time::duration_to_wire;
use fusebox_proto::v1;
use tonic::{Request, Status};

use super::super::{author, status};
use super::{Views, count, coverage, filter_from_wire};
use crate::control::Intent;
use crate::fleet::FleetWatch;

pub(super) async fn set(
    views: &Views,
    request: Request<v1::SetBreakerOverrideRequest>,
) -> Result<v1::SetBreakerOverrideResponse, Status> {
    let _write = views.distribution.write();
    let intent = intent(&request, request.get_ref().validate_only);
    let request = request.into_inner();
    let wire = request.r#override.unwrap_or_default();
    let draft = override_draft_from_wire(&wire).map_err(|found| found.under("override"));
    let mut found = Violations::none();
    let target = draft.as_ref().ok().map(|draft| &draft.target);
    confirm(&mut found, target, request.whole_namespace);
    let draft = match (draft, found.is_empty()) {
        (Ok(draft), true) => draft,
        (Ok(_), false) => return Err(status::invalid(found)),
        (Err(violations), _) => return Err(status::invalid(violations)),
    };
    let standing = views
        .control
        .force(draft, intent)
        .await
        .map_err(status::of)?;
    let target = &standing.target;
    let (reach, mut warnings) = meaning(&views.fleet, target);
    if standing.forced == Forced::Closed {
        warnings.push("while it holds, these breakers protect nobody".to_owned());
    }
    let others = views.control.overrides().map_err(status::of)?;
    let overruled = others
        .iter()
        .filter(|one| one.target == *target && one.id != standing.id);
    warnings.extend(overruled.map(|one| {
        format!(
            "override {} has the same target and is overruled by this one while both hold",
            one.id
        )
    }));
    Ok(v1::SetBreakerOverrideResponse {
        r#override: Some(override_to_wire(&standing)),
        reach: Some(reach),
        warnings,
        coverage: Some(coverage(&views.distribution)),
    })
}

pub(super) async fn clear(
    views: &Views,
    request: Request<v1::ClearBreakerOverrideRequest>,
) -> Result<v1::ClearBreakerOverrideResponse, Status> {
    let _write = views.distribution.write();
    let intent = intent(&request, false);
    let request = request.into_inner();
    let mut found = Violations::none();
    if request.id == 0 {
        found.add("id", 0, "must be the id of an override");
    }
    let reason = optional_reason(&mut found, &request.reason);
    found.into_result(()).map_err(status::invalid)?;
    let released = views.control.release(Revision(request.id), reason, intent);
    let released = released.await.map_err(status::of)?;
    let (reach, _) = meaning(&views.fleet, &released.standing.target);
    Ok(v1::ClearBreakerOverrideResponse {
        r#override: Some(override_to_wire(&released.standing)),
        revision: released.revision.0,
        reach: Some(reach),
    })
}

pub(super) fn list(
    views: &Views,
    request: &v1::ListBreakerOverridesRequest,
) -> Result<v1::ListBreakerOverridesResponse, Status> {
    let mut found = Violations::none();
    let v1::ListBreakerOverridesRequest {
        namespace,
        service,
        operation,
    } = request;
    // Names, which match nothing but themselves.
    let asked = filter_from_wire(&mut found, namespace, service, operation);
    found.into_result(()).map_err(status::invalid)?;
    let now = SystemTime::now();
    let standing = views.control.overrides().map_err(status::of)?;
    let wanted = standing
        .iter()
        .rev()
        .filter(|one| concerns(&one.target, &asked));
    Ok(v1::ListBreakerOverridesResponse {
        overrides: wanted
            .map(|one| status_of(&views.fleet, one, now))
            .collect(),
        coverage: Some(coverage(&views.distribution)),
    })
}

pub(super) async fn reset(
    views: &Views,
    request: Request<v1::ResetBreakersRequest>,
) -> Result<v1::ResetBreakersResponse, Status> {
    let _write = views.distribution.write();
    let intent = intent(&request, request.get_ref().validate_only);
    let request = request.into_inner();
    let mut found = Violations::none();
    let target = target_from_wire(request.target.as_ref());
    let target = target.map_err(|more| found.extend(more)).ok();
    let reason = reason(&mut found, &request.reason);
    confirm(&mut found, target.as_ref(), request.whole_namespace);
    let Some(target) = target.filter(|_| found.is_empty()) else {
        return Err(status::invalid(found));
    };
    let (reach, warnings) = meaning(&views.fleet, &target);
    let id = views.control.reset(target, reason, intent);
    Ok(v1::ResetBreakersResponse {
        id: id.await.map_err(status::of)?.0,
        reach: Some(reach),
        warnings,
        coverage: Some(coverage(&views.distribution)),
    })
}

fn intent<T>(request: &Request<T>, validate_only: bool) -> Intent {
    let (author, source) = author(request);
    Intent {
        author,
        source,
        validate_only,
    }
}

/// Every breaker of a namespace is meant only by who says so; and who says so means it.
fn confirm(found: &mut Violations, target: Option<&BreakerTarget>, whole_namespace: bool) {
    let Some(target) = target else { return };
    let bound = match (target.is_everything(), whole_namespace) {
        (true, false) => {
            "must be true for a target that sets nothing but the namespace: it means every breaker in \
             it"
        }
        (false, true) => "must be false for a target that means only some breakers",
        _ => return,
    };
    found.add("whole_namespace", whole_namespace, bound);
}

/// How many connected processes a target means, and what is odd about that.
fn meaning(fleet: &FleetWatch, target: &BreakerTarget) -> (v1::Reach, Vec<String>) {
    let filter = Filter {
        namespace: Some(target.namespace.clone()),
        service: target.service.clone(),
        operation: target.operation.clone(),
    };
    let known = fleet.meant(&filter, target.instance.as_ref(), &target.labels);
    let mut warnings = Vec::new();
    let beside = |near: Option<String>| {
        near.map(|near| format!("; the nearest that is known is {near}"))
            .unwrap_or_default()
    };
    if known.instances == 0 {
        let near = beside(known.nearest_service.or(known.nearest_instance));
        warnings.push(format!(
            "no connected process matches {target}{near}; it concerns those that connect later"
        ));
    } else if known.operations == 0 {
        let near = beside(known.nearest_operation);
        warnings.push(format!(
            "no operation that a process has told of matches {target}{near}"
        ));
    }
    let reach = v1::Reach {
        instances: count(known.instances),
        too_old: 0,
    };
    (reach, warnings)
}

fn status_of(fleet: &FleetWatch, one: &BreakerOverride, now: SystemTime) -> v1::OverrideStatus {
    let (reach, _) = meaning(fleet, &one.target);
    v1::OverrideStatus {
        r#override: Some(override_to_wire(one)),
        reach: Some(reach),
        time_left: Some(duration_to_wire(one.time_left(now).max(Duration::ZERO))),
    }
}

/// Whether a target can concern what is asked for.
pub(super) fn concerns(target: &BreakerTarget, asked: &Filter) -> bool {
    let meets = |glob: &Option<Glob>, asked: &Option<Glob>| match (glob, asked) {
        (Some(glob), Some(asked)) => glob.matches(asked.as_str()) || asked.matches(glob.as_str()),
        _ => true,
    };
    asked
        .namespace
        .as_ref()
        .is_none_or(|only| target.namespace == *only)
        && meets(&target.service, &asked.service)
        && meets(&target.operation, &asked.operation)
}
