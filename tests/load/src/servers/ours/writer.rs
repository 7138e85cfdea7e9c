//! An operator's connection, and what is written over it.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use fusebox_proto::v1::policy_service_client::PolicyServiceClient;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::Channel;

use super::policy::{Target, request};
use super::{PATIENCE, connect};
use crate::Result;
use crate::servers::Written;

/// A burst takes its time where each of its writes is pushed to everybody.
const BURST_PATIENCE: Duration = Duration::from_secs(300);

/// An operator's connection.
pub(crate) struct Writer {
    client: PolicyServiceClient<Channel>,
    runtime: Arc<Runtime>,
    turn: i32,
}

impl Writer {
    pub(super) fn connect(runtime: &Arc<Runtime>, addr: SocketAddr) -> Result<Self> {
        Ok(Self {
            client: PolicyServiceClient::new(connect(runtime, addr)?),
            runtime: Arc::clone(runtime),
            turn: 0,
        })
    }

    /// Writes, and waits for the answer.
    pub(crate) fn write(&mut self, target: Target) -> Result<Written> {
        self.turn += 1;
        let request = request(target, self.turn);
        let sent = Instant::now();
        let answer = self.runtime.block_on(async {
            let write = self.client.update_policy(request);
            timeout(PATIENCE, write).await
        });
        let answered = Instant::now();
        let answer = answer.map_err(|_| format!("waited {PATIENCE:?} for a write's answer"))?;
        let policy = answer?.into_inner().policy;
        Ok(Written {
            revision: policy.ok_or("an answer without a policy")?.revision,
            sent,
            answered,
            known: None,
        })
    }

    /// So many writes, as fast as so many writers make them over this connection, each with a policy
    /// of its own for everybody; the last revision.
    pub(crate) fn burst(&self, writers: usize, writes: usize) -> Result<u64> {
        let turns = Arc::new(AtomicI32::new(self.turn + 1));
        let end = self.turn + 1 + i32::try_from(writes)?;
        let writing = async {
            let mut tasks = JoinSet::new();
            for part in 0..writers {
                let target = Target::AllOf {
                    part,
                    parts: writers,
                };
                tasks.spawn(share(self.client.clone(), target, Arc::clone(&turns), end));
            }
            let mut last = 0;
            while let Some(ended) = tasks.join_next().await {
                last = last.max(ended??);
            }
            Ok::<_, Box<dyn Error>>(last)
        };
        let written = self
            .runtime
            .block_on(async { timeout(BURST_PATIENCE, writing).await });
        written.map_err(|_| format!("waited {BURST_PATIENCE:?} for a burst's answers"))?
    }
}

/// One writer's part of a burst: takes turns until there are none; its last revision.
async fn share(
    mut client: PolicyServiceClient<Channel>,
    target: Target,
    turns: Arc<AtomicI32>,
    end: i32,
) -> std::result::Result<u64, Status> {
    let mut last = 0;
    loop {
        // Relaxed: only that each turn is somebody's matters.
        let turn = turns.fetch_add(1, Ordering::Relaxed);
        if turn >= end {
            return Ok(last);
        }
        let answer = client.update_policy(request(target, turn)).await?;
        last = answer.into_inner().policy.unwrap_or_default().revision;
    }
}
