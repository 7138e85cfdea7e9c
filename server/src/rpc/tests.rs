//! The services over a real connection on the loopback interface, with the memory store.
//!
//! Nothing here sleeps to wait: a test waits for a message, for a stream's end, or, where somebody
//! else's doing has no message of its own, for a condition ([`eventually`]).

mod convergence;
mod explain;
mod fleet;
mod history;
mod instances;
mod policies;
mod reach;
mod reflection;
mod sessions;
mod sets;
mod watches;
mod watching;

use std::time::{Duration, SystemTime};

use fusebox_proto::v1;
use fusebox_proto::v1::connect_request::Message as Up;
use fusebox_proto::v1::connect_response::Message as Down;
use fusebox_proto::v1::fleet_service_client::FleetServiceClient;
use fusebox_proto::v1::policy_service_client::PolicyServiceClient;
use fusebox_proto::v1::sync_service_client::SyncServiceClient;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server as Tonic};
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

use super::*;
use crate::distribution::{Pace, Patience};
use crate::store::{Retention, Store, memory};

/// Within which whatever is waited for must have happened.
const SOON: Duration = Duration::from_secs(20);

const PACE: Pace = Pace {
    report_interval: Duration::from_secs(5),
    heartbeat_interval: Duration::from_secs(15),
    max_session_age: Duration::from_secs(3600),
};

struct Server {
    endpoint: Endpoint,
    store: Arc<dyn Store>,
    distribution: Arc<Distribution>,
    aggregate: Arc<FleetWatch>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        Self::start_with(PACE, settled()).await
    }

    async fn start_with(pace: Pace, patience: Patience) -> Self {
        let store = memory::open(Arc::new(SystemTime::now), Retention::default()).unwrap();
        Self::start_on(store, pace, patience).await
    }

    async fn start_on(store: Arc<dyn Store>, pace: Pace, patience: Patience) -> Self {
        let stop = CancellationToken::new();
        let fleet = Arc::new(FleetWatch::new(pace.report_interval));
        let (shared, told) = (Arc::clone(&store), Arc::clone(&fleet));
        let aggregate = Arc::clone(&fleet);
        let distribution =
            Distribution::start_with(shared, pace, patience, told, stop.clone()).unwrap();
        let health = health::Health::new();
        let routes = routes(Parts {
            control: Arc::new(Control::new(Arc::clone(&store)).until(stop.clone())),
            distribution: Arc::clone(&distribution),
            fleet,
            health: health.clone(),
        });
        health.serving().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let until = stop.clone().cancelled_owned();
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let serving = tokio::spawn(async move {
            let server = Tonic::builder().add_routes(routes);
            server
                .serve_with_incoming_shutdown(incoming, until)
                .await
                .unwrap();
        });
        Self {
            endpoint: uri.parse().unwrap(),
            store,
            distribution,
            aggregate,
            stop,
            serving,
        }
    }

    /// A connection of its own.
    fn channel(&self) -> Channel {
        self.endpoint.connect_lazy()
    }

    fn policies(&self) -> PolicyServiceClient<Channel> {
        PolicyServiceClient::new(self.channel())
    }

    fn fleet(&self) -> FleetServiceClient<Channel> {
        FleetServiceClient::new(self.channel())
    }

    /// Writes `policy`, whatever is there.
    async fn put(&self, policy: v1::Policy) -> u64 {
        let request = v1::UpdatePolicyRequest {
            policy: Some(policy),
            allow_missing: true,
            ..Default::default()
        };
        let response = self.policies().update_policy(request).await.unwrap();
        response.into_inner().policy.unwrap().revision
    }

    async fn instances(&self) -> Vec<v1::InstanceStatus> {
        let request = v1::ListInstancesRequest::default();
        let response = self.fleet().list_instances(request).await.unwrap();
        response.into_inner().instances
    }

    fn trouble(&self, name: &str) -> u64 {
        let troubles = self.distribution.tally().troubles;
        troubles
            .into_iter()
            .find(|(kind, _)| *kind == name)
            .unwrap()
            .1
    }
}

/// As if it had been serving for long.
fn settled() -> Patience {
    Patience {
        reconnect: Duration::ZERO,
        ..Patience::default()
    }
}

/// A process, as far as its stream shows.
struct Peer {
    up: mpsc::Sender<v1::ConnectRequest>,
    down: Streaming<v1::ConnectResponse>,
}

impl Peer {
    /// A stream on which nothing has been said.
    async fn silent(server: &Server) -> Self {
        let (up, requests) = mpsc::channel(64);
        let requests = ReceiverStream::new(requests);
        let mut client = SyncServiceClient::new(server.channel());
        let down = client.connect(requests).await.unwrap().into_inner();
        Self { up, down }
    }

    /// A stream that begins with `hello`; nothing has been read of it.
    async fn with(server: &Server, hello: v1::Hello) -> Self {
        let peer = Self::silent(server).await;
        peer.say(Up::Hello(hello)).await;
        peer
    }

    /// A process of `service` that holds nothing and was welcomed.
    async fn of(server: &Server, service: &str) -> Self {
        let mut peer = Self::with(server, hello(service)).await;
        peer.welcome().await;
        peer
    }

    async fn say(&self, message: Up) {
        let message = Some(message);
        self.up.send(v1::ConnectRequest { message }).await.unwrap();
    }

    async fn next(&mut self) -> Result<Option<v1::ConnectResponse>, Status> {
        let next = tokio::time::timeout(SOON, self.down.message());
        next.await.expect("nothing was heard soon")
    }

    async fn hear(&mut self) -> Down {
        self.next().await.unwrap().unwrap().message.unwrap()
    }

    async fn welcome(&mut self) -> v1::Welcome {
        match self.hear().await {
            Down::Welcome(welcome) => welcome,
            other => panic!("expected a welcome, heard {other:?}"),
        }
    }

    async fn snapshot(&mut self) -> v1::Snapshot {
        match self.hear().await {
            Down::Snapshot(snapshot) => snapshot,
            other => panic!("expected a snapshot, heard {other:?}"),
        }
    }

    /// Takes a snapshot and acknowledges it.
    async fn apply(&mut self) -> v1::Snapshot {
        let snapshot = self.snapshot().await;
        self.ack(snapshot.revision).await;
        snapshot
    }

    async fn ack(&self, revision: u64) {
        self.say(Up::Ack(v1::Ack { revision })).await;
    }

    /// Waits until all that was said has been acted upon. Nothing else may be under way.
    async fn settle(&mut self, number: u64) {
        let operations = Vec::new();
        self.say(Up::StatsReport(v1::StatsReport {
            number,
            operations,
            span: None,
        }))
        .await;
        assert_eq!(
            self.hear().await,
            Down::ReportAck(v1::ReportAck {
                number,
                report_interval: None,
            })
        );
    }

    /// What the stream ends with, whatever comes before.
    async fn end(&mut self) -> Status {
        loop {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) => return Status::ok(""),
                Err(status) => return status,
            }
        }
    }
}

fn hello(service: &str) -> v1::Hello {
    v1::Hello {
        service: service.into(),
        instance_id: "i-1".into(),
        epoch: 1,
        sdk_version: "0.1.0".into(),
        schema: 1,
        ..Default::default()
    }
}

/// An operation whose call site bounds attempts.
fn declared(attempt_seconds: i64) -> Up {
    let attempt = Some(prost_types::Duration {
        seconds: attempt_seconds,
        nanos: 0,
    });
    let rules = v1::Rules {
        timeout: Some(v1::Timeout {
            attempt,
            overall: None,
        }),
        ..Default::default()
    };
    Up::OperationDeclared(v1::OperationDeclared {
        operation: "pay".into(),
        kind: v1::Kind::Database.into(),
        idempotent: true,
        local_layers: vec![v1::LocalLayer {
            layer: v1::Layer::CallSite.into(),
            rules: Some(rules),
        }],
    })
}

/// A policy for one service, or for all.
fn policy(name: &str, service: &str) -> v1::Policy {
    let attempt = prost_types::Duration {
        seconds: 1,
        nanos: 0,
    };
    v1::Policy {
        name: name.into(),
        selector: Some(v1::Selector {
            service: service.into(),
            ..Default::default()
        }),
        rules: Some(v1::Rules {
            timeout: Some(v1::Timeout {
                attempt: Some(attempt),
                overall: None,
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn names(snapshot: &v1::Snapshot) -> Vec<&str> {
    snapshot
        .policies
        .iter()
        .map(|policy| policy.name.as_str())
        .collect()
}

/// The fields that an INVALID_ARGUMENT names.
fn fields(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_details_bad_request().expect("a BadRequest");
    let fields = details.field_violations.into_iter();
    fields.map(|violation| violation.field).collect()
}

/// Asks again until `condition` holds.
async fn eventually<F: Future<Output = bool>>(condition: impl Fn() -> F) {
    let asking = async { while !condition().await {} };
    tokio::time::timeout(SOON, asking)
        .await
        .expect("it did not come to be");
}
