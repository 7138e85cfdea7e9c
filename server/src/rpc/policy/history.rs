//! The past of policies, to the wire: their revisions, and who changed what.

use fusebox_core::key::{Namespace, PolicyName};
use fusebox_core::policy::Violations;
use fusebox_core::revision::Revision;
use fusebox_proto::convert::breaker::{override_to_wire, target_to_wire};
use fusebox_proto::convert::policy::{policy_id_from_wire, stored_to_wire};
use fusebox_proto::convert::time::timestamp_to_wire;
use fusebox_proto::v1;
use tonic::Status;

use super::super::{page, status};
use super::{optional_namespace, set};
use crate::control::{AuditQuery, Control, Version, What};

/// One page of what a policy was.
pub(super) fn revisions(
    control: &Control,
    request: &v1::ListPolicyRevisionsRequest,
) -> Result<v1::ListPolicyRevisionsResponse, Status> {
    let mut found = Violations::none();
    let id = policy_id_from_wire(&request.namespace, &request.name);
    let id = id.map_err(|violations| found.extend(violations));
    let limit = page::size(&mut found, request.page_size);
    let asked = ("revisions", id.as_ref().ok());
    let after = page::after(&mut found, &asked, &request.page_token);
    let Ok(id) = &id else {
        return Err(status::invalid(found));
    };
    found.into_result(()).map_err(status::invalid)?;
    let stretch = control.revisions(id, after, limit).map_err(status::of)?;
    let versions = stretch.versions.iter();
    let revisions = page::fit(versions.map(|version| version_to_wire(version)));
    let more = stretch.more || revisions.len() < stretch.versions.len();
    let last = revisions.last().filter(|_| more);
    let last = last.map(|last| page::token(&asked, &Revision(last.revision)));
    Ok(v1::ListPolicyRevisionsResponse {
        next_page_token: last.unwrap_or_default(),
        revisions,
        pruned: stretch.pruned,
    })
}

/// One page of what happened.
pub(super) fn events(
    control: &Control,
    request: &v1::ListAuditEventsRequest,
) -> Result<v1::ListAuditEventsResponse, Status> {
    let mut found = Violations::none();
    let query = audit_query(&mut found, request);
    let limit = page::size(&mut found, request.page_size);
    let asked = ("audit", &query);
    let after = page::after(&mut found, &asked, &request.page_token);
    found.into_result(()).map_err(status::invalid)?;
    let audit = control.audit(&query, after, limit).map_err(status::of)?;
    let changes = audit.changes.iter().zip(&audit.before);
    let events =
        page::fit(changes.map(|((_, version), before)| event_to_wire(version, before.as_deref())));
    let more = audit.more || events.len() < audit.changes.len();
    let last = events.len().checked_sub(1).filter(|_| more);
    let last = last.map(|last| page::token(&asked, &audit.changes[last].0));
    Ok(v1::ListAuditEventsResponse {
        events,
        next_page_token: last.unwrap_or_default(),
        pruned: audit.pruned,
    })
}

/// A name by itself means the default namespace.
fn audit_query<'a>(
    found: &mut Violations,
    request: &'a v1::ListAuditEventsRequest,
) -> AuditQuery<'a> {
    let name = set(&request.name);
    let name = name.and_then(|name| found.keep("name", shown(name), PolicyName::new(name)));
    let namespace = optional_namespace(found, &request.namespace);
    AuditQuery {
        namespace: namespace.or_else(|| name.is_some().then(Namespace::default_namespace)),
        name,
        author: set(&request.author),
    }
}

/// As in other findings, what was sent is quoted.
fn shown(text: &str) -> String {
    format!("{text:?}")
}

/// A policy as of one revision.
pub(super) fn version_to_wire(version: &Version) -> v1::PolicyRevision {
    v1::PolicyRevision {
        revision: version.revision.0,
        time: Some(timestamp_to_wire(version.time)),
        author: version.by.author.clone(),
        source: version.by.source.clone(),
        cause: v1::Cause::from(version.by.cause).into(),
        policy: version.stored().map(|stored| stored_to_wire(stored)),
        namespace: version
            .policy_id()
            .map(|id| id.namespace.to_string())
            .unwrap_or_default(),
        name: version
            .policy_id()
            .map(|id| id.name.to_string())
            .unwrap_or_default(),
    }
}

fn event_to_wire(version: &Version, before: Option<&Version>) -> v1::AuditEvent {
    let event = v1::AuditEvent {
        revision: version.revision.0,
        time: Some(timestamp_to_wire(version.time)),
        author: version.by.author.clone(),
        source: version.by.source.clone(),
        cause: v1::Cause::from(version.by.cause).into(),
        replaced_revision: version.replaced.unwrap_or_default().0,
        reason: version.by.reason.clone(),
        ..v1::AuditEvent::default()
    };
    match &version.what {
        What::Policy { id, stored } => v1::AuditEvent {
            namespace: id.namespace.to_string(),
            name: id.name.to_string(),
            before: before
                .and_then(Version::stored)
                .map(|stored| stored_to_wire(stored)),
            after: stored.as_ref().map(|stored| stored_to_wire(stored)),
            ..event
        },
        What::Override { standing, .. } => v1::AuditEvent {
            namespace: standing.target.namespace.to_string(),
            r#override: Some(override_to_wire(standing)),
            ..event
        },
        What::Reset(reset) => v1::AuditEvent {
            namespace: reset.target.namespace.to_string(),
            reset: Some(target_to_wire(&reset.target)),
            ..event
        },
    }
}
