//! What an order can be for, where the cursor stands.

use fusebox_core::key::{Namespace, OperationName};
use fusebox_proto::convert::breaker::target_from_wire;
use fusebox_proto::v1;

use super::dialogue::{Choice, What};
use super::fleet::Id;
use super::model::Model;
use crate::figures::{duration, span};
use crate::print::one_line;
use crate::target::{described, forced};

/// The operation first: an order for more or for less is chosen on purpose.
pub(super) fn targets(model: &Model, id: &Id) -> Vec<Choice> {
    let service = v1::BreakerTarget {
        namespace: id.namespace.clone(),
        service: id.service.clone(),
        ..v1::BreakerTarget::default()
    };
    let operation = v1::BreakerTarget {
        operation: id.operation.clone(),
        ..service.clone()
    };
    let instance = model.instance().map(|one| v1::BreakerTarget {
        instance_id: one.instance_id.clone(),
        ..operation.clone()
    });
    let choice = |what: &str, target: v1::BreakerTarget| Choice {
        label: format!("{what}: {}", described(&target)),
        what: What::Target(target),
    };
    let instance = instance.map(|target| choice("this instance", target));
    let mut choices = vec![
        choice("this operation", operation),
        choice("whole service", service),
    ];
    choices.extend(instance);
    choices
}

/// The overrides in force that can concern the operation, the newest first.
pub(super) fn overrides(model: &Model, id: &Id) -> Vec<Choice> {
    let all = model.fleet.overrides.as_deref().unwrap_or_default();
    all.iter()
        .filter(|status| concerns(status, id))
        .map(choice)
        .collect()
}

/// Whether an override can concern an operation; one that cannot be read here may.
fn concerns(status: &v1::OverrideStatus, id: &Id) -> bool {
    let target = status.r#override.as_ref();
    let target = target_from_wire(target.and_then(|one| one.target.as_ref()));
    let namespace = Namespace::new(&id.namespace);
    let operation = OperationName::new(&id.operation);
    match (target, namespace, operation) {
        (Ok(target), Ok(namespace), Ok(operation)) => {
            target.concerns(&namespace, &id.service) && target.takes(&operation)
        }
        _ => true,
    }
}

fn choice(status: &v1::OverrideStatus) -> Choice {
    let standing = status.r#override.clone().unwrap_or_default();
    let whose = described(&standing.target.clone().unwrap_or_default());
    let left = span(duration(status.time_left));
    Choice {
        label: format!(
            "{} {whose} {}, {left} left: {}",
            standing.id,
            forced(standing.action()),
            one_line(&standing.reason)
        ),
        what: What::Override(standing.id, status.reach),
    }
}
