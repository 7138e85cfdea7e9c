//! The harness against real programs, so that a test that fails for Fusebox fails for Fusebox only.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use fusebox_tests::grpcurl::Grpcurl;
use fusebox_tests::oteltap::OtelTap;
use fusebox_tests::{http, ports};
use serde_json::json;
use tonic::Code;
use tonic::transport::Server;
use tonic_health::server::HealthReporter;

const LONG: Duration = Duration::from_secs(60);

/// A real gRPC server with reflection, and something to ask it. Ends with the test program.
struct Health {
    addr: SocketAddr,
    reporter: HealthReporter,
    runtime: tokio::runtime::Handle,
}

impl Health {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let listener = ports::listener();
        let addr = listener.local_addr().unwrap();
        let (reporter, health) = tonic_health::server::health_reporter();
        let handle = runtime.handle().clone();
        thread::spawn(move || {
            runtime.block_on(async {
                listener.set_nonblocking(true).unwrap();
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
                let reflection = tonic_reflection::server::Builder::configure()
                    .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                    .build_v1alpha()
                    .unwrap();
                let server = Server::builder()
                    .add_service(health)
                    .add_service(reflection);
                server.serve_with_incoming(incoming).await.unwrap();
            });
        });
        Self {
            addr,
            reporter,
            runtime: handle,
        }
    }

    fn grpcurl(&self) -> Grpcurl {
        Grpcurl::to(self.addr)
    }

    fn set_not_serving(&self) {
        let (reporter, runtime) = (self.reporter.clone(), &self.runtime);
        runtime.spawn(async move {
            reporter
                .set_service_status("", tonic_health::ServingStatus::NotServing)
                .await;
        });
    }
}

const CHECK: &str = "grpc.health.v1.Health/Check";

#[test]
fn grpcurl_gives_the_answer_as_json() {
    let answer = Health::start().grpcurl().call(CHECK, &json!({}));
    assert_eq!(answer.unwrap(), json!({"status": "SERVING"}));
}

#[test]
fn grpcurl_gives_a_status_with_its_code_and_message() {
    let answer = Health::start()
        .grpcurl()
        .call(CHECK, &json!({"service": "none"}));
    let error = answer.unwrap_err();
    assert_eq!(
        (error.exit_code, error.code()),
        (Some(69), Some(Code::NotFound))
    );
    assert_eq!(error.message(), "service not registered");
}

#[test]
fn grpcurl_against_nothing_says_so_and_carries_no_status() {
    let error = Grpcurl::to(ports::free_addr())
        .call(CHECK, &json!({}))
        .unwrap_err();
    assert_eq!((error.exit_code, error.code()), (Some(1), None));
    assert!(
        error.stderr.contains("connection refused"),
        "{}",
        error.stderr
    );
}

#[test]
fn grpcurl_names_services_and_describes_them() {
    let grpcurl = Health::start().grpcurl();
    assert!(
        grpcurl
            .services()
            .unwrap()
            .contains(&"grpc.health.v1.Health".to_owned())
    );
    assert!(
        grpcurl
            .describe("grpc.health.v1.Health")
            .unwrap()
            .contains("rpc Watch")
    );
}

#[test]
fn grpcurl_watches_a_stream_as_it_grows_until_its_deadline() {
    let health = Health::start();
    let grpcurl = health.grpcurl().within(Duration::from_secs(3));
    let mut watch = grpcurl.watch("grpc.health.v1.Health/Watch", &json!({}));
    assert_eq!(watch.next(LONG), json!({"status": "SERVING"}));
    health.set_not_serving();
    watch.wait_for(LONG, |answer| answer["status"] == "NOT_SERVING");
    assert_eq!(
        watch.wait_end(LONG).unwrap_err().code(),
        Some(Code::DeadlineExceeded)
    );
}

/// One field of a protobuf message that holds bytes, text or another message.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).expect("a small message");
    assert!(length < 128, "a length of one byte");
    [&[number << 3 | 2, length], content].concat()
}

fn export(tap: &OtelTap, path: &str, request: &[u8]) {
    let answer = http::post(tap.addr(), path, "application/x-protobuf", request);
    assert_eq!(answer.unwrap().status, 200);
}

#[test]
fn oteltap_receives_spans_and_metrics_and_tells_them_apart() {
    let tap = OtelTap::start();
    let span = [field(1, &[1; 16]), field(2, &[2; 8]), field(5, b"probe")].concat();
    export(&tap, "/v1/traces", &field(1, &field(2, &field(2, &span))));
    let gauge = field(5, &field(1, &[]));
    let metric = [field(1, b"probe"), gauge].concat();
    export(
        &tap,
        "/v1/metrics",
        &field(1, &field(2, &field(2, &metric))),
    );
    assert_eq!(tap.wait_for_span("probe", LONG)["spanId"], "02".repeat(8));
    assert!(tap.wait_for_metric("probe", LONG).get("spanId").is_none());
    assert_eq!(tap.received().len(), 2);
}
