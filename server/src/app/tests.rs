//! The whole server, over real sockets: starting, stopping, and what peers can do about it.

use std::net::Ipv4Addr;

use fusebox_proto::v1::WatchPoliciesRequest;
use fusebox_proto::v1::policy_service_client::PolicyServiceClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::*;

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn config() -> Config {
    Config {
        grpc_addr: LOOPBACK,
        http_addr: LOOPBACK,
        store: StoreKind::Memory,
        ..Config::default()
    }
}

/// A server that runs, and how to ask it to stop.
struct Running {
    config: Config,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), RunError>>,
}

async fn running() -> Running {
    let app = App::start(config()).await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    Running {
        config: app.config().clone(),
        stop,
        ended: tokio::spawn(app.run_until(async { drop(stopped.await) })),
    }
}

impl Running {
    async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.config.grpc_addr)).unwrap();
        endpoint.connect().await.unwrap()
    }

    async fn health(&self) -> HealthClient<Channel> {
        HealthClient::new(self.channel().await)
    }

    async fn get(&self, path: &str) -> String {
        get(self.config.http_addr, path).await
    }
}

async fn get(addr: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn whole_server() -> HealthCheckRequest {
    HealthCheckRequest {
        service: String::new(),
    }
}

#[tokio::test]
async fn once_started_both_ports_answer() {
    let server = running().await;
    let answer = server.health().await.check(whole_server()).await.unwrap();
    assert_eq!(answer.get_ref().status(), ServingStatus::Serving);
    assert!(server.get("/readyz").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_open_stream_and_a_silent_connection_cannot_hold_up_the_end() {
    let server = running().await;
    let mut silent = TcpStream::connect(server.config.grpc_addr).await.unwrap();
    let mut watch = server
        .health()
        .await
        .watch(whole_server())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        watch.message().await.unwrap().unwrap().status(),
        ServingStatus::Serving
    );
    server.stop.send(()).unwrap();
    timeout(SHUTDOWN, server.ended)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(matches!(silent.read(&mut [0; 8]).await, Ok(0) | Err(_)));
    // It may be told NOT_SERVING first; then it ends.
    while let Ok(Some(_)) = watch.message().await {}
}

#[tokio::test]
async fn an_open_watch_of_policies_does_not_make_the_drain_wait() {
    let server = running().await;
    let mut client = PolicyServiceClient::new(server.channel().await);
    let request = WatchPoliciesRequest::default();
    let mut watch = client.watch_policies(request).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    server.stop.send(()).unwrap();
    let status = watch.message().await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
    timeout(DRAIN, server.ended)
        .await
        .expect("it is over before anybody is cut")
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn while_it_drains_it_says_that_it_is_not_ready() {
    let server = running().await;
    // An open watch keeps it draining.
    let mut watch = server
        .health()
        .await
        .watch(whole_server())
        .await
        .unwrap()
        .into_inner();
    watch.message().await.unwrap();
    server.stop.send(()).unwrap();
    assert_eq!(
        watch.message().await.unwrap().unwrap().status(),
        ServingStatus::NotServing
    );
    while !get(server.config.http_addr, "/readyz")
        .await
        .contains("503 Service Unavailable")
    {}
    assert!(
        get(server.config.http_addr, "/readyz")
            .await
            .contains("not ready: shutting down")
    );
    assert!(
        get(server.config.http_addr, "/healthz")
            .await
            .starts_with("HTTP/1.1 200")
    );
}

#[tokio::test]
async fn a_server_without_peers_ends_at_once() {
    let app = App::start(config()).await.unwrap();
    timeout(DRAIN, app.run_until(std::future::ready(())))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_server_that_is_dropped_serves_nobody() {
    let app = App::start(config()).await.unwrap();
    let mut silent = TcpStream::connect(app.config().grpc_addr).await.unwrap();
    drop(app);
    assert!(matches!(silent.read(&mut [0; 8]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn an_address_that_is_taken_is_one_clear_line() {
    let taken = std::net::TcpListener::bind(LOOPBACK).unwrap();
    let http_addr = taken.local_addr().unwrap();
    let error = App::start(Config {
        http_addr,
        ..config()
    })
    .await
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "http_addr is {http_addr}, which is in use: stop what listens there, or name another \
             address"
        )
    );
}

#[tokio::test]
async fn a_start_that_fails_leaves_no_data_directory_behind() {
    let taken = std::net::TcpListener::bind(LOOPBACK).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let config = Config {
        grpc_addr: taken.local_addr().unwrap(),
        store: StoreKind::Sled,
        data_dir: data_dir.clone(),
        ..config()
    };
    App::start(config).await.unwrap_err();
    assert!(!data_dir.exists());
}

#[tokio::test]
async fn a_data_directory_serves_one_server_and_after_its_end_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        store: StoreKind::Sled,
        data_dir: dir.path().to_owned(),
        ..config()
    };
    let first = App::start(config.clone()).await.unwrap();
    let incarnation = first.incarnation();
    let error = App::start(config.clone()).await.unwrap_err().to_string();
    assert!(error.contains("is in use by process"), "{error}");
    first.run_until(std::future::ready(())).await.unwrap();
    let second = App::start(config).await.unwrap();
    assert_eq!(second.incarnation(), incarnation);
}

#[tokio::test]
async fn beyond_loopback_it_does_not_start_unless_told_so() {
    let open = Config {
        grpc_addr: "0.0.0.0:0".parse().unwrap(),
        ..config()
    };
    let error = App::start(open).await.unwrap_err();
    assert!(matches!(error, StartError::Config(_)), "{error}");
}
