//! What the server itself says of how far a revision has come.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use fusebox_proto::v1;
use fusebox_proto::v1::fleet_service_client::FleetServiceClient;
use fusebox_proto::v1::wait_for_revision_response::State;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::Channel;

use super::{PATIENCE, connect};
use crate::Result;

/// A connection of its own to `FleetService`.
pub(crate) struct Proof {
    client: FleetServiceClient<Channel>,
    runtime: Arc<Runtime>,
}

impl Proof {
    /// Connects, and waits until the server says anything is REACHED at all, which it does not
    /// before processes had time to come back after its start.
    pub(crate) fn connect(runtime: &Arc<Runtime>, addr: SocketAddr) -> Result<Self> {
        let mut proof = Self {
            client: FleetServiceClient::new(connect(runtime, addr)?),
            runtime: Arc::clone(runtime),
        };
        proof.reached(0)?;
        Ok(proof)
    }

    /// When the server said that every process enforces `revision`.
    pub(crate) fn reached(&mut self, revision: u64) -> Result<Instant> {
        let reached = self
            .runtime
            .block_on(async { timeout(PATIENCE, reached(&mut self.client, revision)).await });
        Ok(reached.map_err(|_| format!("waited {PATIENCE:?} for revision {revision}"))??)
    }
}

async fn reached(
    client: &mut FleetServiceClient<Channel>,
    revision: u64,
) -> std::result::Result<Instant, Status> {
    let request = v1::WaitForRevisionRequest {
        revision,
        share: Some(1.0),
        ..v1::WaitForRevisionRequest::default()
    };
    let mut said = client.wait_for_revision(request).await?.into_inner();
    while let Some(progress) = said.message().await? {
        if progress.state() == State::Reached {
            return Ok(Instant::now());
        }
    }
    Err(Status::internal(
        "a wait ended before the revision was reached",
    ))
}
