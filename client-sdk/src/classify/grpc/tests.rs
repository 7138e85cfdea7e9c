//! The table of codes, what servers ask for, and channels at real ports.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fusebox_core::outcome::Outcome;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, TimeoutExpired};
use tonic_prost::ProstCodec;
use tonic_types::{ErrorDetails, StatusExt};

use super::super::loopback::{Answer, Peer, closed_port, go_away, not_idempotent};
use super::super::transport;
use super::*;
use crate::{Limit, Operation, Stopped};

const NEVER: Verdict = Verdict::Failure(Again::No);
const NEVER_SENT: Verdict = Verdict::Failure(Again::NeverSent);

const PUSHBACK: &str = "grpc-retry-pushback-ms";

const fn after(wait: Duration) -> Verdict {
    Verdict::Failure(Again::IfIdempotent(Some(wait)))
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn with_metadata(code: Code, values: impl IntoIterator<Item = HeaderValue>) -> Status {
    let name = HeaderName::from_static(PUSHBACK);
    let headers: HeaderMap = values
        .into_iter()
        .map(|value| (name.clone(), value))
        .collect();
    Status::with_metadata(code, "", MetadataMap::from_headers(headers))
}

fn pushed_back(code: Code, values: &[&str]) -> Status {
    with_metadata(code, values.iter().map(|value| value.parse().unwrap()))
}

fn with_retry_info(code: Code, delay: Duration) -> Status {
    Status::with_error_details(code, "", ErrorDetails::with_retry_info(Some(delay)))
}

fn codes() -> impl Iterator<Item = Code> {
    (0..=16).map(Code::from_i32)
}

/// The table, once more.
fn expected(code: Code) -> Verdict {
    match code as i32 {
        0 | 3 | 5 | 6 | 7 | 9 | 10 | 11 | 12 | 16 => Verdict::Success,
        1 => Verdict::Ignored,
        2 | 4 | 8 | 13 | 14 => REPEATABLE,
        15 => NEVER,
        other => panic!("code {other}"),
    }
}

#[test]
fn every_code_has_the_verdict_of_the_table() {
    for code in codes() {
        let status = Status::new(code, "");
        let judged = Grpc.classify(Err::<&(), _>(&status));
        assert_eq!(judged, expected(code), "{code:?}");
    }
    assert_eq!(Grpc.classify(Ok(&"any value")), Verdict::Success);
}

#[test]
fn pushback_is_waited_for_to_the_millisecond() {
    for value in [0, 1, 300, i32::MAX] {
        let status = pushed_back(Code::Unavailable, &[&value.to_string()]);
        let wait = millis(u64::try_from(value).unwrap());
        assert_eq!(verdict(&status), after(wait), "{value}");
    }
}

#[test]
fn pushback_that_is_negative_unreadable_or_double_forbids_a_retry() {
    for value in [
        "-1",
        "-2147483648",
        "2147483648",
        "",
        "1.5",
        "300ms",
        "soon",
    ] {
        let status = pushed_back(Code::Unavailable, &[value]);
        assert_eq!(verdict(&status), NEVER, "{value}");
    }
    let double = pushed_back(Code::Unavailable, &["300", "300"]);
    assert_eq!(verdict(&double), NEVER);
    let opaque = HeaderValue::from_bytes(b"\xff").unwrap();
    assert_eq!(verdict(&with_metadata(Code::Unavailable, [opaque])), NEVER);
}

#[test]
fn retry_info_is_waited_for() {
    for delay in [Duration::ZERO, millis(300), Duration::from_secs(1 << 33)] {
        let status = with_retry_info(Code::ResourceExhausted, delay);
        assert_eq!(verdict(&status), after(delay));
    }
}

#[test]
fn retry_info_of_a_negative_delay_is_no_wait() {
    let delay = prost_types::Duration {
        seconds: -3,
        nanos: -1,
    };
    let info = tonic_types::pb::RetryInfo {
        retry_delay: Some(delay),
    };
    let any = prost_types::Any {
        type_url: tonic_types::RetryInfo::TYPE_URL.to_owned(),
        value: prost::Message::encode_to_vec(&info),
    };
    let details = tonic_types::pb::Status {
        details: vec![any],
        ..Default::default()
    };
    let details = Bytes::from(prost::Message::encode_to_vec(&details));
    let status = Status::with_details(Code::Unavailable, "", details);
    assert_eq!(verdict(&status), after(Duration::ZERO));
}

#[test]
fn details_that_cannot_be_read_leave_the_backoff_to_the_policy() {
    let details = Bytes::from_static(b"\xff\xff\xff");
    let status = Status::with_details(Code::Unavailable, "", details);
    assert_eq!(verdict(&status), REPEATABLE);
    let empty = Status::with_error_details(
        Code::Unavailable,
        "",
        ErrorDetails::with_bad_request_violation("amount", "negative"),
    );
    assert_eq!(verdict(&empty), REPEATABLE);
}

#[test]
fn pushback_comes_before_retry_info() {
    let mut status = with_retry_info(Code::Unavailable, millis(300));
    let pushback = |value: &str| value.parse().unwrap();
    status.metadata_mut().insert(PUSHBACK, pushback("7"));
    assert_eq!(verdict(&status), after(millis(7)));
    status.metadata_mut().insert(PUSHBACK, pushback("-1"));
    assert_eq!(verdict(&status), NEVER);
}

#[test]
fn what_a_server_asks_for_never_makes_a_verdict_repeatable() {
    for code in codes().filter(|&code| expected(code) != REPEATABLE) {
        let pushed_back = pushed_back(code, &["300"]);
        assert_eq!(verdict(&pushed_back), expected(code), "{code:?}");
        let with_retry_info = with_retry_info(code, millis(300));
        assert_eq!(verdict(&with_retry_info), expected(code), "{code:?}");
    }
}

#[test]
fn what_never_took_effect_is_so_under_any_code() {
    for code in codes() {
        let mut status = pushed_back(code, &["-1"]);
        status.set_source(Arc::new(io::Error::from(io::ErrorKind::ConnectionRefused)));
        assert_eq!(verdict(&status), NEVER_SENT, "{code:?}");
    }
}

#[test]
fn a_cancellation_is_ignored_where_it_is_an_answer() {
    let mut status = Status::cancelled("");
    assert_eq!(verdict(&status), Verdict::Ignored);
    status.set_source(Arc::new(io::Error::other("unrelated")));
    assert_eq!(verdict(&status), Verdict::Ignored);
    status.set_source(Arc::new(TimeoutExpired(())));
    assert_eq!(verdict(&status), REPEATABLE);
    status.set_source(Arc::new(h2::Error::from(h2::Reason::CANCEL)));
    assert_eq!(verdict(&status), REPEATABLE);
}

proptest! {
    #[test]
    fn no_metadata_and_no_details_make_it_panic(
        code in 0..17,
        values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..24), 0..3),
        details in prop::collection::vec(any::<u8>(), 0..256),
        delay in prop::option::of((any::<i64>(), any::<i32>())),
    ) {
        let values = values.iter().filter_map(|value| HeaderValue::from_bytes(value).ok());
        let headers: HeaderMap = values.map(|value| (HeaderName::from_static(PUSHBACK), value)).collect();
        let details = delay.map_or(details, |(seconds, nanos)| {
            let delay = prost_types::Duration { seconds, nanos };
            let info = tonic_types::pb::RetryInfo { retry_delay: Some(delay) };
            let any = prost_types::Any {
                type_url: tonic_types::RetryInfo::TYPE_URL.to_owned(),
                value: prost::Message::encode_to_vec(&info),
            };
            let status = tonic_types::pb::Status { details: vec![any], ..Default::default() };
            prost::Message::encode_to_vec(&status)
        });
        let status = Status::with_details_and_metadata(
            Code::from_i32(code),
            "",
            Bytes::from(details),
            MetadataMap::from_headers(headers),
        );
        let _ = verdict(&status);
    }
}

async fn charge(channel: &Channel, request: Request<()>) -> Result<Response<()>, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client
        .ready()
        .await
        .map_err(|error| Status::from_error(Box::new(error)))?;
    let path = PathAndQuery::from_static("/payments.v1.Payments/Charge");
    client.unary(request, path, ProstCodec::default()).await
}

fn channel(address: std::net::SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    endpoint.connect_lazy()
}

/// A call by `operation` over `channel`, and how many attempts it took.
async fn call(operation: &Operation, channel: &Channel) -> (Result<(), Status>, u32) {
    let attempts = Cell::new(0);
    let result = operation
        .with(Grpc)
        .call(async |cx| {
            attempts.set(cx.attempt());
            charge(channel, Request::new(())).await
        })
        .await;
    let result = result.map(drop).map_err(|error| error.into_call().unwrap());
    (result, attempts.get())
}

#[tokio::test]
async fn a_channel_to_a_closed_port_is_retried_though_not_idempotent() {
    let channel = channel(closed_port().await);
    let (result, attempts) = call(&not_idempotent(|o| o), &channel).await;
    let status = result.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(verdict(&status), NEVER_SENT);
    assert_eq!(attempts, 3);
}

#[tokio::test]
async fn connecting_to_a_closed_port_fails_with_proof_too() {
    let endpoint = Endpoint::from_shared(format!("http://{}", closed_port().await)).unwrap();
    let error = endpoint.connect().await.unwrap_err();
    assert_eq!(transport::verdict(&error), NEVER_SENT);
}

#[tokio::test]
async fn a_refused_stream_is_retried_though_not_idempotent() {
    let peer = Peer::new([Answer::Reset(h2::Reason::REFUSED_STREAM)]);
    let channel = channel(peer.listen().await);
    let (result, attempts) = call(&not_idempotent(|o| o), &channel).await;
    result.unwrap();
    assert_eq!(attempts, 2);
    assert_eq!(peer.requests().len(), 2);
}

#[tokio::test]
async fn a_stream_above_the_last_of_a_goaway_is_retried_though_not_idempotent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let channel = channel(listener.local_addr().unwrap());
    let peer = Peer::new([]);
    let serving = peer.clone();
    tokio::spawn(async move {
        let (first, _) = listener.accept().await.unwrap();
        tokio::spawn(go_away(first));
        serving.accept(listener).await;
    });
    let (result, attempts) = call(&not_idempotent(|o| o), &channel).await;
    result.unwrap();
    assert_eq!(attempts, 2);
    assert_eq!(peer.requests().len(), 1);
}

#[tokio::test]
async fn a_stream_that_broke_is_a_failure_that_is_not_retried() {
    for answer in [
        Answer::Reset(h2::Reason::INTERNAL_ERROR),
        Answer::Reset(h2::Reason::PROTOCOL_ERROR),
        Answer::Reset(h2::Reason::ENHANCE_YOUR_CALM),
        Answer::Reset(h2::Reason::CANCEL),
        Answer::Reset(h2::Reason::INADEQUATE_SECURITY),
        Answer::HangUp,
    ] {
        let peer = Peer::new([answer]);
        let channel = channel(peer.listen().await);
        let (result, attempts) = call(&not_idempotent(|o| o), &channel).await;
        let status = result.unwrap_err();
        assert_eq!(verdict(&status), REPEATABLE, "{status:?}");
        assert_eq!(attempts, 1);
        assert_eq!(peer.requests().len(), 1);
    }
}

#[tokio::test]
async fn what_a_server_asks_for_arrives_over_a_real_connection() {
    let unavailable = ("grpc-status", "14");
    let peer = Peer::new([
        Answer::Status(vec![unavailable, ("grpc-retry-pushback-ms", "300")]),
        Answer::Status(vec![unavailable, ("grpc-retry-pushback-ms", "-1")]),
        Answer::Status(vec![unavailable]),
    ]);
    let channel = channel(peer.listen().await);
    for expected in [after(millis(300)), NEVER, REPEATABLE] {
        let status = charge(&channel, Request::new(())).await.unwrap_err();
        assert_eq!(verdict(&status), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pushback_is_slept_exactly_then_backoff_goes_on() {
    let operation = not_idempotent(|o| o.idempotent(true).backoff(millis(1), millis(400)));
    let began = Instant::now();
    let begun = std::cell::RefCell::new(Vec::new());
    let result = operation
        .with(Grpc)
        .call(async |cx| {
            begun.borrow_mut().push(began.elapsed());
            match cx.attempt() {
                1 => Err(pushed_back(Code::Unavailable, &["300"])),
                2 => Err(Status::unavailable("")),
                _ => Ok(()),
            }
        })
        .await;
    assert!(result.is_ok());
    let begun = begun.into_inner();
    assert_eq!(begun[..2], [Duration::ZERO, millis(300)]);
    assert!(begun[2] <= millis(300 + 3), "{begun:?}");
}

/// A channel to `peer` within this process: nothing outside it moves, so that paused time is exact.
fn in_process(peer: &Peer) -> Channel {
    let peer = peer.clone();
    let connector = tower::service_fn(move |_: http::Uri| {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        tokio::spawn(peer.clone().serve(theirs));
        std::future::ready(Ok::<_, io::Error>(TokioIo::new(ours)))
    });
    Endpoint::from_static("http://payments.internal").connect_with_connector_lazy(connector)
}

#[tokio::test(start_paused = true)]
async fn the_deadline_reaches_the_callee_and_a_callee_that_hangs_is_a_timeout_of_the_attempt() {
    let peer = Peer::new([Answer::Silence]);
    let channel = in_process(&peer);
    let operation = not_idempotent(|o| o.attempt_timeout(millis(50)));
    let result = operation
        .with(Grpc)
        .call(async |cx| charge(&channel, with_deadline(cx, Request::new(()))).await)
        .await;
    let why = result.unwrap_err().stopped();
    let timed_out = Stopped::TimedOut {
        operation: "payments",
        limit: Limit::Attempt,
        after: millis(50),
    };
    assert_eq!(why, Some(timed_out));
    let totals = operation.inner().recorder.totals();
    assert_eq!(totals.calls(Outcome::Timeout), 1);
    let requests = peer.requests();
    assert_eq!(requests[0]["grpc-timeout"], "51000000n");
}

#[tokio::test(start_paused = true)]
async fn tonics_own_timer_is_a_failure_of_the_dependency() {
    let peer = Peer::new([Answer::Silence]);
    let channel = in_process(&peer);
    let mut request = Request::new(());
    request.set_timeout(millis(20));
    let status = charge(&channel, request).await.unwrap_err();
    assert_eq!(status.code(), Code::Cancelled);
    assert_eq!(verdict(&status), REPEATABLE);
}
