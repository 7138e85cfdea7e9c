//! The table of statuses, and clients at real ports.

use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use proptest::prelude::*;
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::loopback::{closed_port, not_idempotent};
use super::*;

const NEVER: Verdict = Verdict::Failure(Again::No);

const fn after(wait: Duration) -> Verdict {
    Verdict::Failure(Again::IfIdempotent(Some(wait)))
}

fn response(status: u16, headers: &[(HeaderName, &'static str)]) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

fn judged(status: u16, headers: &[(HeaderName, &'static str)]) -> Verdict {
    Http.classify(Ok::<_, &io::Error>(&response(status, headers)))
}

#[test]
fn every_status_has_the_verdict_of_the_table() {
    for status in 100..1000 {
        let expected = match status {
            408 | 425 | 429 => REPEATABLE,
            501 | 505 => NEVER,
            100..=499 => Verdict::Success,
            _ => REPEATABLE,
        };
        assert_eq!(judged(status, &[]), expected, "{status}");
    }
}

#[test]
fn a_wait_is_heeded_wherever_a_retry_is_allowed_and_nowhere_else() {
    for status in 100..1000 {
        let expected = match judged(status, &[]) {
            REPEATABLE => after(Duration::from_secs(3)),
            verdict => verdict,
        };
        assert_eq!(judged(status, &[(RETRY_AFTER, "3")]), expected, "{status}");
    }
}

#[test]
fn an_unreadable_wait_leaves_the_backoff_to_the_policy() {
    for value in ["soon", "-3", "3.5", ""] {
        assert_eq!(judged(503, &[(RETRY_AFTER, value)]), REPEATABLE, "{value}");
    }
}

#[test]
fn a_date_is_read_by_the_wall_clock() {
    let past = (RETRY_AFTER, "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(judged(503, &[past]), after(Duration::ZERO));
    let future = (RETRY_AFTER, "Fri, 31 Dec 9999 23:59:59 GMT");
    let Verdict::Failure(Again::IfIdempotent(Some(wait))) = judged(503, &[future]) else {
        panic!("no wait");
    };
    assert!(wait > Duration::from_secs(86_400), "{wait:?}");
}

#[test]
fn errors_are_read_with_their_sources() {
    let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
    let verdict = Http.classify(Err::<&Response<()>, _>(&refused));
    assert_eq!(verdict, Verdict::Failure(Again::NeverSent));
    let reset = io::Error::from(io::ErrorKind::ConnectionReset);
    assert_eq!(Http.classify(Err::<&Response<()>, _>(&reset)), REPEATABLE);
}

proptest! {
    #[test]
    fn no_header_and_no_status_makes_it_panic(
        status in 100..1000_u16,
        value in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let Ok(value) = HeaderValue::from_bytes(&value) else { return Ok(()) };
        let headers = HeaderMap::from_iter([(RETRY_AFTER, value)]);
        let _ = verdict(StatusCode::from_u16(status).unwrap(), &headers);
    }
}

/// Reads a request of each connection, answers with the next of `answers` and hangs up.
async fn listen(answers: &'static [&'static str]) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, served)
}

fn by_status(outcome: Result<&reqwest::Response, &reqwest::Error>) -> Verdict {
    match outcome {
        Ok(response) => verdict(response.status(), response.headers()),
        Err(error) => transport::verdict(error),
    }
}

#[tokio::test]
async fn reqwest_at_a_closed_port_is_retried_though_not_idempotent() {
    let url = format!("http://{}/", closed_port().await);
    let client = reqwest::Client::new();
    let operation = not_idempotent(|o| o);
    let attempts = Cell::new(0);
    let result = operation
        .with(by_status)
        .call(async |cx| {
            attempts.set(cx.attempt());
            client.post(&url).send().await
        })
        .await;
    assert!(result.unwrap_err().into_call().unwrap().is_connect());
    assert_eq!(attempts.get(), 3);
}

#[tokio::test]
async fn hyper_utils_client_at_a_closed_port_is_retried_though_not_idempotent() {
    let url = format!("http://{}/", closed_port().await);
    let client: Client<HttpConnector, Empty<bytes::Bytes>> =
        Client::builder(TokioExecutor::new()).build_http();
    let operation = not_idempotent(|o| o);
    let attempts = Cell::new(0);
    let result = operation
        .with(Http)
        .call(async |cx| {
            attempts.set(cx.attempt());
            client.get(url.parse().unwrap()).await
        })
        .await;
    assert!(result.unwrap_err().into_call().unwrap().is_connect());
    assert_eq!(attempts.get(), 3);
}

#[tokio::test]
async fn a_connection_that_ends_after_the_request_was_written_is_not_retried() {
    let (address, served) = listen(&[""]).await;
    let url = format!("http://{address}/");
    let client = reqwest::Client::new();
    let operation = not_idempotent(|o| o);
    let attempts = Cell::new(0);
    let result = operation
        .with(by_status)
        .call(async |cx| {
            attempts.set(cx.attempt());
            client.post(&url).send().await
        })
        .await;
    assert!(result.unwrap_err().into_call().is_some());
    assert_eq!(attempts.get(), 1);
    served.await.unwrap();
}

#[tokio::test]
async fn a_503_that_asks_for_a_retry_at_once_gets_it() {
    let (address, served) = listen(&[
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    ])
    .await;
    let url = format!("http://{address}/");
    // A connection for each request.
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build();
    let client = client.unwrap();
    // Any other wait would be longer than the longest backoff, and the 503 would come back.
    let operation = not_idempotent(|o| o.idempotent(true));
    let result = operation
        .with(by_status)
        .call(async |_| client.get(&url).send().await)
        .await;
    assert_eq!(result.unwrap().status(), StatusCode::OK);
    served.await.unwrap();
}
