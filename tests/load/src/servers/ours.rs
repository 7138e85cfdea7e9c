//! The real `fusebox serve`, and policies written to it.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use fusebox_proto::v1;
use fusebox_proto::v1::policy_service_client::PolicyServiceClient;
use fusebox_tests::lines::Lines;
use fusebox_tests::server::{Options, Server as Process};
use prost::Message;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::{DIES_WITH_US, PAYLOAD_BYTES, Server, Written};
use crate::Result;
use crate::dialect::{Dialect, service};

/// The clients are spread over so many services.
pub(crate) const SERVICES: usize = 100;
const PATIENCE: Duration = Duration::from_secs(60);
/// A burst takes its time where each of its writes is pushed to everybody.
const BURST_PATIENCE: Duration = Duration::from_secs(300);
/// What a snapshot holds beside its policies' own bytes, and a policy beside what its author wrote.
const FRAME_BYTES: usize = 80;

/// Whom a policy concerns.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// Every service.
    All,
    /// The service of that number.
    Service(usize),
}

/// A server of ours, with a directory of its own.
pub(crate) struct Ours {
    process: Process,
    writer: Writer,
    /// Removed after the server.
    _data: TempDir,
}

impl Ours {
    /// Starts one that holds a policy for all already.
    pub(crate) fn start(runtime: &Handle) -> Result<Self> {
        let data = crate::directory()?;
        let options = Options::new()
            .data_dir(data.path())
            .inside(DIES_WITH_US.map(Into::into).to_vec())
            .ready_within(PATIENCE);
        let process = Process::start(options);
        let mut writer = Writer::connect(runtime, process.grpc_addr())?;
        writer.write(Target::All)?;
        Ok(Self {
            process,
            writer,
            _data: data,
        })
    }

    pub(crate) fn write(&mut self, target: Target) -> Result<Written> {
        self.writer.write(target)
    }

    pub(crate) fn writer(&self) -> Writer {
        self.writer.clone()
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Server for Ours {
    fn name(&self) -> &'static str {
        "fusebox"
    }

    fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn addr(&self) -> SocketAddr {
        self.process.grpc_addr()
    }

    fn dialect(&self) -> Dialect {
        Dialect::Fusebox { services: SERVICES }
    }

    fn printed(&self) -> &Lines {
        self.process.lines()
    }

    fn push(&mut self) -> Result<Written> {
        self.write(Target::All)
    }
}

/// An operator's connection.
#[derive(Clone)]
pub(crate) struct Writer {
    client: PolicyServiceClient<Channel>,
    runtime: Handle,
    turn: i32,
}

impl Writer {
    fn connect(runtime: &Handle, addr: SocketAddr) -> Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{addr}"))?;
        let channel = runtime.block_on(endpoint.tcp_nodelay(true).connect())?;
        Ok(Self {
            client: PolicyServiceClient::new(channel),
            runtime: runtime.clone(),
            turn: 0,
        })
    }

    /// Writes, and waits for the answer.
    pub(crate) fn write(&mut self, target: Target) -> Result<Written> {
        self.turn += 1;
        let request = request(target, self.turn);
        let runtime = self.runtime.clone();
        let sent = Instant::now();
        let answer = runtime.block_on(async {
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
        })
    }

    /// So many writes, as fast as so many at once go over this connection.
    pub(crate) fn burst(&self, target: Target, writers: usize, writes: usize) -> Result<Burst> {
        let turns = Arc::new(AtomicI32::new(self.turn + 1));
        let end = self.turn + 1 + i32::try_from(writes)?;
        let writing = async {
            let mut tasks = JoinSet::new();
            for _ in 0..writers {
                let client = self.client.clone();
                tasks.spawn(share(client, target, Arc::clone(&turns), end));
            }
            let mut burst = Burst::default();
            while let Some(ended) = tasks.join_next().await {
                let share = ended??;
                burst.last = burst.last.max(share.last);
                burst.lost_races += share.lost_races;
            }
            Ok::<_, Box<dyn Error>>(burst)
        };
        let runtime = self.runtime.clone();
        let written = runtime.block_on(async { timeout(BURST_PATIENCE, writing).await });
        written.map_err(|_| format!("waited {BURST_PATIENCE:?} for a burst's answers"))?
    }
}

/// Many writes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Burst {
    /// The last revision.
    pub(crate) last: u64,
    /// Writes that were refused because others came between, and made again.
    pub(crate) lost_races: usize,
}

/// One writer's part of a burst: takes turns until there are none.
async fn share(
    mut client: PolicyServiceClient<Channel>,
    target: Target,
    turns: Arc<AtomicI32>,
    end: i32,
) -> std::result::Result<Burst, Status> {
    let mut burst = Burst::default();
    loop {
        // Relaxed: only that each turn is somebody's matters.
        let turn = turns.fetch_add(1, Ordering::Relaxed);
        if turn >= end {
            return Ok(burst);
        }
        let policy = loop {
            match client.update_policy(request(target, turn)).await {
                Err(status) if status.code() == Code::Aborted => burst.lost_races += 1,
                answer => break answer?.into_inner().policy.unwrap_or_default(),
            }
        };
        burst.last = burst.last.max(policy.revision);
    }
}

/// A write that differs from the one before by its turn.
pub(crate) fn request(target: Target, turn: i32) -> v1::UpdatePolicyRequest {
    v1::UpdatePolicyRequest {
        policy: Some(policy(target, turn)),
        allow_missing: true,
        ..v1::UpdatePolicyRequest::default()
    }
}

/// A policy whose snapshot has about [`PAYLOAD_BYTES`].
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
    let padding = PAYLOAD_BYTES.saturating_sub(policy.encoded_len() + FRAME_BYTES);
    v1::Policy {
        description: "x".repeat(padding),
        ..policy
    }
}
