//! Traffic that is wrong: what is too large, what is garbage, processes that break the protocol.
//! Each gets a clear status and a log line, and the server goes on as if nothing had been.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::time::Duration;

use fusebox_proto::v1;
use fusebox_proto::v1::connect_request::Message as Up;
use fusebox_proto::v1::sync_service_client::SyncServiceClient;
use fusebox_tests::http;
use fusebox_tests::lines::Stream;
use fusebox_tests::operator::assert_unharmed;
use fusebox_tests::server::{Options, Server};
use serde_json::json;
use tokio_stream::{StreamExt, iter, pending};
use tonic::transport::Channel;
use tonic::{Code, Status};

const LONG: Duration = Duration::from_secs(30);

#[test]
fn an_oversized_policy_is_refused_with_the_limit_and_a_log_line() {
    let server = Server::start(Options::new());
    let sized = |bytes| {
        let description = "x".repeat(bytes);
        let policy =
            json!({"name": "payments", "selector": {"operation": "*"}, "description": description});
        server.grpcurl().create(&policy).unwrap_err()
    };
    let refused = sized(6 << 20);
    let status = refused.code();
    let clear = [Some(Code::ResourceExhausted), Some(Code::OutOfRange)];
    assert!(clear.contains(&status), "{}", refused.stderr);
    assert!(
        refused.message().contains("1048576"),
        "{}",
        refused.message()
    );
    assert_logged(&server, "1048576");
    let refused = sized(100_000);
    assert_eq!(refused.fields(), ["description".to_owned()].into());
    assert_unharmed(&server);
}

#[test]
fn garbage_on_the_grpc_port_is_hung_up_on_and_written_down() {
    let server = Server::start(Options::new());
    let answer = http::talk(server.grpc_addr(), &garbage()).unwrap_or_default();
    assert!(answer.is_empty(), "{answer:?}");
    assert_logged(&server, "127.0.0.1");
    assert_unharmed(&server);
}

#[test]
fn a_browser_on_the_grpc_port_is_told_where_to_go() {
    let server = Server::start(Options::new());
    let browser = b"GET / HTTP/1.1\r\nhost: fusebox\r\n\r\n";
    let answer = String::from_utf8(http::talk(server.grpc_addr(), browser).unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let http_port = server.http_addr().port().to_string();
    assert!(
        answer.contains("gRPC") && answer.contains(&http_port),
        "{answer}"
    );
    assert_logged(&server, "127.0.0.1");
    assert_unharmed(&server);
}

#[test]
fn garbage_behind_an_http_2_preface_is_hung_up_on_and_written_down() {
    let server = Server::start(Options::new());
    let bytes = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), garbage()].concat();
    // Perhaps HTTP/2's own farewell, perhaps just the end.
    let answer = http::talk(server.grpc_addr(), &bytes).unwrap_or_default();
    assert!(answer.len() < 1000, "no conversation: {answer:?}");
    assert_logged(&server, "127.0.0.1");
    assert_unharmed(&server);
}

#[test]
fn garbage_on_the_http_port_is_a_bad_request_and_written_down() {
    let server = Server::start(Options::new());
    assert_eq!(status_line(&server, &garbage()), "HTTP/1.1 400 Bad Request");
    assert_logged(&server, "127.0.0.1");
    assert_unharmed(&server);
}

#[test]
fn a_request_too_long_for_the_http_port_is_refused_as_that() {
    let server = Server::start(Options::new());
    let long = format!(
        "GET /healthz HTTP/1.1\r\nx: {}\r\n\r\n",
        "x".repeat(1 << 20)
    );
    let refused = status_line(&server, long.as_bytes());
    assert_eq!(refused, "HTTP/1.1 431 Request Header Fields Too Large");
    assert_eq!(server.http_get("/no/such/path").unwrap().status, 404);
    assert_unharmed(&server);
}

fn garbage() -> Vec<u8> {
    (0..=255).cycle().take(10_000).collect()
}

fn status_line(server: &Server, request: &[u8]) -> String {
    let answer = http::talk(server.http_addr(), request).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    answer.lines().next().unwrap_or_default().to_owned()
}

/// A line of the log, and not of what the server says to scripts, contains the text.
fn assert_logged(server: &Server, text: &str) {
    let lines = server.lines();
    let found = lines.wait_for(LONG, |line| {
        line.stream == Stream::Err && line.text.contains(text)
    });
    assert!(
        found.is_some(),
        "no {text:?} in the log; printed was:\n{}",
        lines.dump()
    );
}

fn hello(service: &str) -> Up {
    Up::Hello(v1::Hello {
        service: service.into(),
        instance_id: "one".into(),
        epoch: 7,
        schema: 1,
        ..v1::Hello::default()
    })
}

/// Sends the messages, keeps the stream open, and waits for how the server ends it.
fn end_of_stream(server: &Server, messages: Vec<Up>) -> Status {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let url = format!("http://{}", server.grpc_addr());
    builder.enable_all().build().unwrap().block_on(async {
        let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
        let requests = messages.into_iter().map(|message| v1::ConnectRequest {
            message: Some(message),
        });
        let requests = iter(requests.collect::<Vec<_>>()).chain(pending());
        let ended = async {
            let mut answers = SyncServiceClient::new(channel)
                .connect(requests)
                .await?
                .into_inner();
            while answers.message().await?.is_some() {}
            Ok(())
        };
        let ended: Result<(), Status> = tokio::time::timeout(LONG, ended).await.expect("an end");
        ended.expect_err("a status that is not OK")
    })
}

#[test]
fn a_hello_without_a_service_is_refused_by_field_and_written_down() {
    let server = Server::start(Options::new());
    let connect = "fusebox.v1.SyncService/Connect";
    let refused = server
        .grpcurl()
        .call_all(connect, &json!({"hello": {"instanceId": "one"}}));
    let refused = refused.unwrap_err();
    assert_eq!(refused.fields(), ["hello.service".to_owned()].into());
    assert_logged(&server, "hello.service");
    let status = end_of_stream(&server, vec![hello("")]);
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_unharmed(&server);
}

#[test]
fn a_stream_that_begins_with_anything_but_one_hello_is_refused() {
    let server = Server::start(Options::new());
    let beat = Up::Heartbeat(v1::Heartbeat {});
    for messages in [vec![beat], vec![hello("checkout"), hello("checkout")]] {
        let status = end_of_stream(&server, messages);
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(
            status.message().to_lowercase().contains("hello"),
            "{status:?}"
        );
    }
    assert_unharmed(&server);
}

#[test]
fn a_stream_that_says_nothing_is_ended() {
    let server = Server::start(Options::new());
    let status = end_of_stream(&server, Vec::new());
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert!(
        status.message().to_lowercase().contains("hello"),
        "{status:?}"
    );
    assert_unharmed(&server);
}

#[test]
fn an_oversized_message_of_a_process_ends_its_stream_with_a_clear_status_and_a_log_line() {
    let server = Server::start(Options::new());
    let status = end_of_stream(
        &server,
        vec![hello("checkout"), hello(&"x".repeat(16 << 20))],
    );
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_logged(&server, "checkout");
    assert_unharmed(&server);
}
