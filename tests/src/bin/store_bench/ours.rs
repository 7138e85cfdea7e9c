//! The real `fusebox serve` on a disk, and its clients.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use fusebox_proto::v1;
use fusebox_proto::v1::policy_service_client::PolicyServiceClient;
use fusebox_tests::server::{Options, Server};
use prost::Message;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::Result;
use crate::load::Writer;

pub(crate) type Client = PolicyServiceClient<Channel>;

/// Even a start that misses every hold is waited for, so that its figure is known.
const PATIENCE: Duration = Duration::from_secs(300);

/// One that keeps its data there.
pub(crate) fn start(data: &Path) -> Server {
    Server::start(Options::new().data_dir(data).ready_within(PATIENCE))
}

/// From the start of a server that has ended until it is ready, in seconds.
pub(crate) fn restart(server: &mut Server) -> f64 {
    let started = Instant::now();
    server.restart();
    started.elapsed().as_secs_f64()
}

/// Ends it as an operator does.
pub(crate) fn stop(server: &mut Server) {
    server.terminate();
    server.wait_exit(PATIENCE);
}

/// So many connections to one place, made.
pub(crate) async fn connections(addr: SocketAddr, count: usize) -> Result<Vec<Channel>> {
    let mut channels = Vec::new();
    for _ in 0..count {
        let endpoint = Endpoint::from_shared(format!("http://{addr}"))?;
        channels.push(endpoint.tcp_nodelay(true).connect().await?);
    }
    Ok(channels)
}

/// A client over a connection of its own.
pub(crate) async fn client(server: &Server) -> Result<Client> {
    let channels = connections(server.grpc_addr(), 1).await?;
    let channel = channels.into_iter().next().ok_or("no connection")?;
    Ok(PolicyServiceClient::new(channel))
}

/// So many writers over so many connections, each with policies of its own that it writes in turn.
pub(crate) async fn writers(
    server: &Server,
    writers: usize,
    over: usize,
    policies: &[v1::Policy],
) -> Result<Vec<Updater>> {
    let channels = connections(server.grpc_addr(), over).await?;
    let writer = |index: usize| Updater {
        client: PolicyServiceClient::new(channels[index % over].clone()),
        policies: policies
            .iter()
            .skip(index)
            .step_by(writers)
            .cloned()
            .collect(),
    };
    Ok((0..writers).map(writer).collect())
}

/// Writes its policies in turn.
pub(crate) struct Updater {
    client: Client,
    policies: Vec<v1::Policy>,
}

impl Writer for Updater {
    async fn write(&mut self, turn: u64) -> std::result::Result<(), Status> {
        let index = usize::try_from(turn).unwrap_or_default() % self.policies.len();
        let policy = v1::Policy {
            priority: i32::try_from(turn % 1_000_000).unwrap_or_default(),
            ..self.policies[index].clone()
        };
        let request = v1::UpdatePolicyRequest {
            policy: Some(policy),
            allow_missing: true,
            ..v1::UpdatePolicyRequest::default()
        };
        self.client.update_policy(request).await.map(drop)
    }
}

/// A policy as people write them, of a few hundred bytes.
pub(crate) fn policy(name: &str, service: &str) -> v1::Policy {
    let millis = |millis: i64| prost_types::Duration {
        seconds: millis / 1000,
        nanos: i32::try_from(millis % 1000 * 1_000_000).unwrap_or_default(),
    };
    v1::Policy {
        namespace: "default".into(),
        name: name.into(),
        owner: "payments-team".into(),
        description: "Card payments: fail fast, two more tries, a breaker by failure ratio.".into(),
        selector: Some(v1::Selector {
            service: service.into(),
            operation: format!("{name}.*"),
            ..v1::Selector::default()
        }),
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
    }
}

/// What a policy takes once the server has added its own.
pub(crate) async fn stored_bytes(client: &mut Client, policy: v1::Policy) -> Result<usize> {
    let request = v1::UpdatePolicyRequest {
        policy: Some(policy),
        allow_missing: true,
        ..v1::UpdatePolicyRequest::default()
    };
    let answer = client.update_policy(request).await?.into_inner();
    Ok(answer
        .policy
        .ok_or("an answer without a policy")?
        .encoded_len())
}

/// The bytes that all policies take together, and how many they are.
pub(crate) async fn live_bytes(client: &mut Client) -> Result<(usize, usize)> {
    let (mut bytes, mut count, mut page_token) = (0, 0, String::new());
    loop {
        let request = v1::ListPoliciesRequest {
            page_size: 1000,
            page_token,
            ..v1::ListPoliciesRequest::default()
        };
        let page = client.list_policies(request).await?.into_inner();
        bytes += page
            .policies
            .iter()
            .map(Message::encoded_len)
            .sum::<usize>();
        count += page.policies.len();
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok((bytes, count));
        }
    }
}

/// What the server's process has in memory, in bytes.
pub(crate) fn resident_bytes(server: &Server) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes: f64 = line
        .and_then(|line| line.split_whitespace().next())
        .ok_or("no VmRSS")?
        .parse()?;
    Ok(kibibytes * 1024.0)
}

/// What everything below a place has on the disk, in bytes.
pub(crate) fn disk_bytes(place: &Path) -> Result<f64> {
    use std::os::unix::fs::MetadataExt;
    let facts = fs::metadata(place)?;
    if !facts.is_dir() {
        return Ok(facts.blocks() as f64 * 512.0);
    }
    let mut bytes = 0.0;
    for entry in fs::read_dir(place)? {
        bytes += disk_bytes(&entry?.path())?;
    }
    Ok(bytes)
}
