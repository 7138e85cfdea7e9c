//! What operators decide about breakers.

use fusebox_core::glob::Glob;
use fusebox_core::key::{InstanceId, Namespace};
use fusebox_core::outcome::Forced;
use fusebox_core::policy::Violations;
use fusebox_core::policy::overrides::{
    BreakerOverride, BreakerTarget, MAX_REASON, MAX_TTL, MIN_TTL, OverrideDraft,
};
use fusebox_core::revision::Revision;

use super::policy::namespace_from_wire;
use super::text::{free, labels, name};
use super::time::{duration_to_wire, optional_duration, timestamp_from_wire, timestamp_to_wire};
use crate::v1;

/// What an operator wants, or everything that is wrong with it, each with its path within the
/// override. What is output only is passed over.
pub fn override_draft_from_wire(wire: &v1::BreakerOverride) -> Result<OverrideDraft, Violations> {
    let mut found = Violations::none();
    let target = target(&mut found, wire.target.as_ref());
    let forced = forced_from_wire(wire.action());
    if forced.is_none() {
        let bound = "must be FORCE_OPEN or FORCE_CLOSED";
        found.add("action", wire.action, bound);
    }
    let ttl = optional_duration(&mut found, "ttl", wire.ttl.as_ref());
    match ttl {
        None if wire.ttl.is_none() => {
            found.add("ttl", "unset", "must say for how long, from 1 s to 7 days");
        }
        Some(ttl) if !(MIN_TTL..=MAX_TTL).contains(&ttl) => {
            found.add("ttl", format!("{ttl:?}"), "must be from 1 s to 7 days");
        }
        _ => {}
    }
    let reason = reason(&mut found, &wire.reason);
    match (target, forced, ttl) {
        (Some(target), Some(forced), Some(ttl)) => found.into_result(OverrideDraft {
            target,
            forced,
            ttl,
            reason,
        }),
        _ => Err(found),
    }
}

/// An override as its store or a snapshot holds it.
pub fn override_from_wire(wire: &v1::BreakerOverride) -> Result<BreakerOverride, Violations> {
    let draft = override_draft_from_wire(wire)?;
    Ok(BreakerOverride {
        id: Revision(wire.id),
        target: draft.target,
        forced: draft.forced,
        reason: draft.reason,
        author: wire.author.clone(),
        create_time: timestamp_from_wire(wire.create_time.as_ref()),
        ttl: draft.ttl,
    })
}

/// The override with what its store knows of it.
pub fn override_to_wire(standing: &BreakerOverride) -> v1::BreakerOverride {
    v1::BreakerOverride {
        id: standing.id.0,
        target: Some(target_to_wire(&standing.target)),
        action: forced_to_wire(standing.forced).into(),
        ttl: Some(duration_to_wire(standing.ttl)),
        reason: standing.reason.clone(),
        author: standing.author.clone(),
        create_time: Some(timestamp_to_wire(standing.create_time)),
        expire_time: Some(timestamp_to_wire(standing.expire_time())),
    }
}

/// Whose breakers, or everything that is wrong with that, each with its path below `target`.
pub fn target_from_wire(wire: Option<&v1::BreakerTarget>) -> Result<BreakerTarget, Violations> {
    let mut found = Violations::none();
    let target = target(&mut found, wire);
    target.ok_or(found)
}

/// Whose breakers, as a message.
pub fn target_to_wire(target: &BreakerTarget) -> v1::BreakerTarget {
    let glob = |glob: &Option<Glob>| glob.as_ref().map(Glob::to_string).unwrap_or_default();
    let labels = target.labels.iter();
    v1::BreakerTarget {
        namespace: target.namespace.to_string(),
        service: glob(&target.service),
        operation: glob(&target.operation),
        instance_id: target
            .instance
            .as_ref()
            .map(InstanceId::to_string)
            .unwrap_or_default(),
        labels: labels
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
    }
}

/// Why, or a finding: somebody will want to know.
pub fn reason(found: &mut Violations, wire: &str) -> String {
    if wire.trim().is_empty() {
        found.add("reason", "empty", "must say why");
    }
    optional_reason(found, wire)
}

/// Why, if anybody said so.
pub fn optional_reason(found: &mut Violations, wire: &str) -> String {
    free(found, "reason", wire, MAX_REASON)
}

/// What an action makes of a breaker; `None` if it is unspecified or unknown here.
pub fn forced_from_wire(wire: v1::BreakerAction) -> Option<Forced> {
    match wire {
        v1::BreakerAction::Unspecified => None,
        v1::BreakerAction::ForceOpen => Some(Forced::Open),
        v1::BreakerAction::ForceClosed => Some(Forced::Closed),
    }
}

/// The action's word on the wire.
pub fn forced_to_wire(forced: Forced) -> v1::BreakerAction {
    match forced {
        Forced::Open => v1::BreakerAction::ForceOpen,
        Forced::Closed => v1::BreakerAction::ForceClosed,
    }
}

/// `None` only beside a finding.
fn target(found: &mut Violations, wire: Option<&v1::BreakerTarget>) -> Option<BreakerTarget> {
    let Some(wire) = wire else {
        found.add("target", "unset", "must say whose breakers");
        return None;
    };
    let mut own = Violations::none();
    let namespace = namespace_from_wire(&mut own, "target.namespace", &wire.namespace);
    let target = BreakerTarget {
        namespace: namespace.unwrap_or_else(Namespace::default_namespace),
        service: glob(&mut own, "target.service", &wire.service),
        operation: glob(&mut own, "target.operation", &wire.operation),
        instance: instance(&mut own, &wire.instance_id),
        labels: labels(&mut own, "target.labels", &wire.labels),
    };
    let legal = own.is_empty();
    found.extend(own);
    legal.then_some(target)
}

fn glob(found: &mut Violations, field: &str, wire: &str) -> Option<Glob> {
    (!wire.is_empty())
        .then(|| name(found, field, wire, Glob::new))
        .flatten()
}

fn instance(found: &mut Violations, wire: &str) -> Option<InstanceId> {
    (!wire.is_empty())
        .then(|| name(found, "target.instance_id", wire, InstanceId::new))
        .flatten()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use fusebox_core::key::Labels;

    use super::*;

    fn wire() -> v1::BreakerOverride {
        v1::BreakerOverride {
            target: Some(v1::BreakerTarget {
                service: "checkout".to_owned(),
                ..Default::default()
            }),
            action: v1::BreakerAction::ForceOpen.into(),
            ttl: Some(duration_to_wire(Duration::from_secs(60))),
            reason: "the database burns".to_owned(),
            ..Default::default()
        }
    }

    fn fields(violations: &Violations) -> Vec<&str> {
        let fields = violations.iter().map(|found| found.field.as_str());
        fields.collect()
    }

    #[test]
    fn an_override_survives_the_wire() {
        let standing = BreakerOverride {
            id: Revision(7),
            target: BreakerTarget {
                service: Some(Glob::new("check*").unwrap()),
                operation: Some(Glob::new("pay").unwrap()),
                instance: Some(InstanceId::new("checkout-1").unwrap()),
                labels: Labels::new([("zone", "eu")]).unwrap(),
                ..BreakerTarget::everything(Namespace::new("shop").unwrap())
            },
            forced: Forced::Closed,
            reason: "tried".to_owned(),
            author: "somebody".to_owned(),
            create_time: SystemTime::UNIX_EPOCH + Duration::new(5, 6),
            ttl: Duration::from_secs(60),
        };
        assert_eq!(
            override_from_wire(&override_to_wire(&standing)),
            Ok(standing)
        );
    }

    #[test]
    fn everything_that_is_wrong_with_an_override_is_told_at_once() {
        let nothing = override_draft_from_wire(&v1::BreakerOverride::default());
        let expected = ["target", "action", "ttl", "reason"];
        assert_eq!(fields(&nothing.unwrap_err()), expected);
        let bad = v1::BreakerOverride {
            target: Some(v1::BreakerTarget {
                namespace: "No Namespace".to_owned(),
                service: "no service".to_owned(),
                operation: "no operation".to_owned(),
                instance_id: "no\ninstance".to_owned(),
                labels: [("k".to_owned(), "no label".to_owned())].into(),
            }),
            action: 99,
            ttl: Some(duration_to_wire(Duration::from_millis(1))),
            reason: "x".repeat(MAX_REASON + 1),
            ..Default::default()
        };
        let found = override_draft_from_wire(&bad).unwrap_err();
        let expected = [
            "target.namespace",
            "target.service",
            "target.operation",
            "target.instance_id",
            "target.labels.k",
            "action",
            "ttl",
            "reason",
        ];
        assert_eq!(fields(&found), expected);
    }

    #[test]
    fn an_override_must_end_within_a_week() {
        for (seconds, legal) in [(0, false), (1, true), (604_800, true), (604_801, false)] {
            let ttl = Some(duration_to_wire(Duration::from_secs(seconds)));
            let draft = override_draft_from_wire(&v1::BreakerOverride { ttl, ..wire() });
            assert_eq!(draft.is_ok(), legal, "{seconds} s");
        }
    }
}
