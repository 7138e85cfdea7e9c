//! The policies the demonstration sets, as an operator would: through the policy service.

use std::time::Duration;

use fusebox_proto::convert::time::duration_to_wire;
use fusebox_proto::v1;
use fusebox_proto::v1::policy_service_client::PolicyServiceClient;
use tonic::transport::Channel;

use super::DemoError;
use super::script::{Act, operator_turn};

/// Everybody: quick timeouts, and breakers that open and heal before one's eyes.
const EVERYBODY: &str = "demo-fleet";
/// The operator's answer to a slow `ranking`.
const PATIENCE: &str = "demo-patience";

/// The demonstration's operator.
pub(super) struct Operator {
    client: PolicyServiceClient<Channel>,
    turn: usize,
}

impl Operator {
    /// An operator who has set the policy for the whole fleet.
    pub(super) async fn begin(channel: Channel) -> Result<Self, DemoError> {
        let client = PolicyServiceClient::new(channel);
        let mut operator = Self { client, turn: 0 };
        operator.put(EVERYBODY, "*", for_everybody()).await?;
        Ok(operator)
    }

    /// Does what is due; tells what was done.
    pub(super) async fn act(
        &mut self,
        elapsed: Duration,
    ) -> Result<Option<&'static str>, DemoError> {
        let (act, due) = operator_turn(self.turn);
        if elapsed < due {
            return Ok(None);
        }
        self.turn += 1;
        match act {
            Act::GrantPatience => self.put(PATIENCE, "ranking.score", patience()).await?,
            Act::WithdrawPatience => self.delete(PATIENCE).await?,
        }
        Ok(Some(act.describe()))
    }

    async fn put(
        &mut self,
        name: &str,
        operation: &str,
        rules: v1::Rules,
    ) -> Result<(), DemoError> {
        let policy = v1::Policy {
            name: name.into(),
            owner: "demo".into(),
            selector: Some(v1::Selector {
                operation: operation.into(),
                ..Default::default()
            }),
            rules: Some(rules),
            ..Default::default()
        };
        let request = v1::UpdatePolicyRequest {
            policy: Some(policy),
            allow_missing: true,
            ..Default::default()
        };
        self.client.update_policy(request).await?;
        Ok(())
    }

    async fn delete(&mut self, name: &str) -> Result<(), DemoError> {
        let request = v1::DeletePolicyRequest {
            name: name.into(),
            // The newcomer may have been faster.
            allow_missing: true,
            ..Default::default()
        };
        self.client.delete_policy(request).await?;
        Ok(())
    }
}

fn millis(millis: u64) -> Option<prost_types::Duration> {
    Some(duration_to_wire(Duration::from_millis(millis)))
}

fn patience() -> v1::Rules {
    v1::Rules {
        timeout: Some(v1::Timeout {
            attempt: millis(3000),
            overall: millis(7000),
        }),
        ..Default::default()
    }
}

fn for_everybody() -> v1::Rules {
    let span = v1::window::Shape::Span(duration_to_wire(Duration::from_secs(10)));
    v1::Rules {
        timeout: Some(v1::Timeout {
            attempt: millis(300),
            overall: millis(1500),
        }),
        retry: Some(v1::Retry {
            max_attempts: Some(3),
            base_delay: millis(50),
            max_delay: millis(500),
            ..Default::default()
        }),
        circuit_breaker: Some(v1::CircuitBreaker {
            consecutive_failures: Some(5),
            window: Some(v1::Window { shape: Some(span) }),
            failure_ratio: Some(0.5),
            minimum_calls: Some(20),
            open_duration: millis(2000),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The lines a newcomer can try in another terminal.
pub(super) fn lines_to_try(server: &str) -> [String; 3] {
    let call = |method: &str, request: &str| {
        format!("grpcurl -plaintext -d '{request}' {server} fusebox.v1.{method}")
    };
    [
        call("FleetService/ListOperations", r#"{"service":"checkout"}"#),
        call(
            "PolicyService/UpdatePolicy",
            r#"{"policy":{"name":"try","selector":{"operation":"payments.*"},"rules":{"circuitBreaker":{"consecutiveFailures":1,"openDuration":"10s"}}},"allowMissing":true}"#,
        ),
        call("PolicyService/DeletePolicy", r#"{"name":"try"}"#),
    ]
}
