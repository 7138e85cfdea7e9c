//! The run's one policy, and an instance that has it without a server.
//!
//! Rules on trial are what only a policy can say. A server would be traffic beside the calls, so the
//! instance finds the policy where an earlier run of a service leaves what it last enforced: in its
//! cache, whose form is
//!
//! ```text
//! magic "FUSEBOX1" | crc32 of the rest, little-endian | LastKnownGood, protobuf
//! ```

use std::error::Error;
use std::fs;
use std::path::Path;

use fusebox::{Fusebox, PolicySource};
use fusebox_core::key::{Namespace, PolicyId, PolicyName};
use fusebox_core::policy::field::SCHEMA;
use fusebox_core::revision::{Digest, Revision};
use fusebox_proto::convert::last_known_good::last_known_good_to_wire;
use fusebox_proto::v1::{self, window::Shape};
use prost::Message;

use crate::dependency::{FAILURE_PERCENT, MINIMUM_CALLS, WINDOW};

/// The operation beside whose breaker another is tried out.
pub(crate) const SHADOWED: &str = "shadow-breaker";

const SERVICE: &str = "overhead";
const NAMESPACE: &str = "default";
const REVISION: u64 = 1;

/// An instance without a server, and with the policy.
pub(crate) fn instance() -> Result<Fusebox, Box<dyn Error>> {
    let cache = tempfile::tempdir()?;
    leave_behind(cache.path())?;
    let fusebox = Fusebox::builder(SERVICE).cache_dir(cache.path()).build()?;
    let health = fusebox.health();
    match (health.source, health.policies, health.refused.as_slice()) {
        (PolicySource::Disk, 1, []) => Ok(fusebox),
        _ => Err(format!("the policy is not in force: {health:?}").into()),
    }
}

fn leave_behind(directory: &Path) -> Result<(), Box<dyn Error>> {
    let body = last_known_good_to_wire(snapshot()?, [], SCHEMA).encode_to_vec();
    let mut file = b"FUSEBOX1".to_vec();
    file.extend(crc32fast::hash(&body).to_le_bytes());
    file.extend(body);
    let name = format!("{NAMESPACE}%{SERVICE}.policies");
    Ok(fs::write(directory.join(name), file)?)
}

fn snapshot() -> Result<v1::Snapshot, Box<dyn Error>> {
    let id = PolicyId {
        namespace: Namespace::new(NAMESPACE)?,
        name: PolicyName::new(SHADOWED)?,
    };
    Ok(v1::Snapshot {
        overrides: Vec::new(),
        incarnation: vec![1; 16],
        revision: REVISION,
        digest: Digest::of([(&id, Revision(REVISION))]).0,
        policies: vec![policy()],
        adopted: false,
    })
}

fn policy() -> v1::Policy {
    v1::Policy {
        namespace: NAMESPACE.into(),
        name: SHADOWED.into(),
        selector: Some(v1::Selector {
            operation: SHADOWED.into(),
            ..Default::default()
        }),
        rules: Some(v1::Rules {
            circuit_breaker: Some(on_trial()),
            ..Default::default()
        }),
        revision: REVISION,
        ..Default::default()
    }
}

fn on_trial() -> v1::CircuitBreaker {
    v1::CircuitBreaker {
        window: Some(v1::Window {
            shape: Some(Shape::Span(prost_types::Duration {
                seconds: WINDOW.as_secs().cast_signed(),
                nanos: 0,
            })),
        }),
        failure_ratio: Some(f64::from(FAILURE_PERCENT) / 100.0),
        minimum_calls: Some(MINIMUM_CALLS),
        mode: v1::Mode::Shadow.into(),
        ..Default::default()
    }
}
