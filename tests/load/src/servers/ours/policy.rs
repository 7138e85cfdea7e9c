//! The policies that are written: such as real ones are, padded to a size.

use fusebox_proto::v1;
use prost::Message;

use super::SERVICES;
use crate::dialect::service;
use crate::servers::PAYLOAD_BYTES;

/// What a snapshot holds beside its policies' own bytes, and a policy beside what its author wrote.
const FRAME_BYTES: usize = 80;

/// Whom a policy concerns.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// Every service.
    All,
    /// Every service, too, by one of several policies that together are as large as one.
    AllOf { part: usize, parts: usize },
    /// The service of that number.
    Service(usize),
}

/// A write that differs from the one before by its turn.
pub(super) fn request(target: Target, turn: i32) -> v1::UpdatePolicyRequest {
    v1::UpdatePolicyRequest {
        policy: Some(policy(target, turn)),
        allow_missing: true,
        ..v1::UpdatePolicyRequest::default()
    }
}

/// A policy whose snapshot has about [`PAYLOAD_BYTES`], or its share of them.
fn policy(target: Target, turn: i32) -> v1::Policy {
    let millis = |millis: i64| prost_types::Duration {
        seconds: millis / 1000,
        nanos: i32::try_from(millis % 1000 * 1_000_000).unwrap_or_default(),
    };
    let (name, selector) = match target {
        Target::All => (
            "for-all".to_owned(),
            v1::Selector {
                operation: "*".into(),
                ..v1::Selector::default()
            },
        ),
        Target::AllOf { part, .. } => (
            format!("for-all-{part}"),
            v1::Selector {
                operation: "*".into(),
                ..v1::Selector::default()
            },
        ),
        Target::Service(number) => {
            let service = service(number, SERVICES);
            (
                format!("for-{service}"),
                v1::Selector {
                    service,
                    ..v1::Selector::default()
                },
            )
        }
    };
    let policy = v1::Policy {
        namespace: "default".into(),
        name,
        owner: "payments-team".into(),
        priority: turn % 1_000_000,
        selector: Some(selector),
        rules: Some(v1::Rules {
            timeout: Some(v1::Timeout {
                attempt: Some(millis(800)),
                overall: Some(millis(3000)),
            }),
            retry: Some(v1::Retry {
                max_attempts: Some(3),
                base_delay: Some(millis(50)),
                max_delay: Some(millis(500)),
                ..v1::Retry::default()
            }),
            circuit_breaker: Some(v1::CircuitBreaker {
                consecutive_failures: Some(5),
                open_duration: Some(millis(10_000)),
                ..v1::CircuitBreaker::default()
            }),
            ..v1::Rules::default()
        }),
        ..v1::Policy::default()
    };
    let bytes = match target {
        Target::AllOf { parts, .. } => PAYLOAD_BYTES / parts,
        Target::All | Target::Service(_) => PAYLOAD_BYTES,
    };
    let padding = bytes.saturating_sub(policy.encoded_len() + FRAME_BYTES);
    v1::Policy {
        description: "x".repeat(padding),
        ..policy
    }
}
