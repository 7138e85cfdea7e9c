//! What an operator has the server do to breakers.

use std::time::Duration;

use fusebox_proto::convert::time::duration_to_wire;
use fusebox_proto::v1;
use fusebox_proto::v1::fleet_service_client::FleetServiceClient;
use tonic::transport::Channel;

use crate::remote::{Author, Call};
use crate::target::described;

/// An order, whole.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Order {
    Force {
        target: v1::BreakerTarget,
        action: v1::BreakerAction,
        ttl: Duration,
        reason: String,
    },
    Reset {
        target: v1::BreakerTarget,
        reason: String,
    },
    Release {
        id: u64,
        reason: String,
        reach: Option<v1::Reach>,
    },
}

/// What an order would do, or has done.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Judgement {
    pub(super) reach: Option<v1::Reach>,
    pub(super) warnings: Vec<String>,
    /// What is to be told once it is done.
    pub(super) done: String,
}

impl Order {
    /// Has the server do it, or only say what it would do; a refusal in words.
    pub(super) async fn give(
        self,
        mut client: FleetServiceClient<Channel>,
        author: &Author,
        validate_only: bool,
    ) -> Result<Judgement, String> {
        let call = Call::order(validate_only);
        let refused = |status: tonic::Status| call.in_words(&status);
        match self {
            Self::Force {
                target,
                action,
                ttl,
                reason,
            } => {
                let forced = crate::target::forced(action);
                let whose = described(&target);
                let request = v1::SetBreakerOverrideRequest {
                    r#override: Some(v1::BreakerOverride {
                        target: Some(target),
                        action: action.into(),
                        ttl: Some(duration_to_wire(ttl)),
                        reason,
                        ..v1::BreakerOverride::default()
                    }),
                    whole_namespace: false,
                    validate_only,
                };
                let request = author.sign(request).map_err(|failure| failure.line)?;
                let answer = client.set_breaker_override(request).await;
                let answer = answer.map_err(refused)?.into_inner();
                let id = answer.r#override.unwrap_or_default().id;
                Ok(Judgement {
                    reach: answer.reach,
                    warnings: answer.warnings,
                    done: format!("override {id}: {whose} is forced {forced}"),
                })
            }
            Self::Reset { target, reason } => {
                let whose = described(&target);
                let request = v1::ResetBreakersRequest {
                    target: Some(target),
                    reason,
                    whole_namespace: false,
                    validate_only,
                };
                let request = author.sign(request).map_err(|failure| failure.line)?;
                let answer = client.reset_breakers(request).await;
                let answer = answer.map_err(refused)?.into_inner();
                Ok(Judgement {
                    reach: answer.reach,
                    warnings: answer.warnings,
                    done: format!("reset {}: {whose} begins anew", answer.id),
                })
            }
            // The server says beforehand, in its list, whom an override concerns.
            Self::Release { reach, .. } if validate_only => Ok(Judgement {
                reach,
                ..Judgement::default()
            }),
            Self::Release { id, reason, .. } => {
                let request = v1::ClearBreakerOverrideRequest { id, reason };
                let request = author.sign(request).map_err(|failure| failure.line)?;
                let answer = client.clear_breaker_override(request).await;
                Ok(Judgement {
                    reach: answer.map_err(refused)?.into_inner().reach,
                    warnings: Vec::new(),
                    done: format!("override {id} is released"),
                })
            }
        }
    }
}
