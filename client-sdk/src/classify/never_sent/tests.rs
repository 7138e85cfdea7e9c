//! What is proof and what is not, with errors as the libraries make them.

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use fusebox_core::outcome::{Again, Verdict};
use http::uri::PathAndQuery;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tonic::Request;
use tonic::client::Grpc;
use tonic::transport::Endpoint;
use tonic_prost::ProstCodec;

use super::super::loopback::{closed_port, not_idempotent};
use super::super::transport::{Transport, verdict};
use super::*;

const NEVER_SENT: Verdict = Verdict::Failure(Again::NeverSent);
const UNKNOWN: Verdict = Verdict::Failure(Again::IfIdempotent(None));

/// An error of an application, around another.
#[derive(Debug)]
struct Wrapped<E>(E);

impl<E> fmt::Display for Wrapped<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wrapped")
    }
}

impl<E: Error + 'static> Error for Wrapped<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// A connection that stands: it takes what is written. The first `silent` reads wait, the next ends
/// with `error`.
struct Standing {
    silent: u32,
    error: io::ErrorKind,
}

impl Standing {
    fn until(silent: u32, error: io::ErrorKind) -> TokioIo<Self> {
        TokioIo::new(Self { silent, error })
    }
}

impl AsyncRead for Standing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.silent == 0 {
            return Poll::Ready(Err(self.error.into()));
        }
        self.silent -= 1;
        Poll::Pending
    }
}

impl AsyncWrite for Standing {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Connection for Standing {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

fn request() -> http::Request<Empty<bytes::Bytes>> {
    let builder = http::Request::builder().uri("http://127.0.0.1/");
    builder.body(Empty::new()).unwrap()
}

fn is_canceled(link: &(dyn Error + 'static)) -> bool {
    link.downcast_ref::<hyper::Error>()
        .is_some_and(hyper::Error::is_canceled)
}

async fn refused() -> io::Error {
    TcpStream::connect(closed_port().await).await.unwrap_err()
}

#[tokio::test]
async fn a_closed_port_of_this_machine_proves_that_nothing_was_sent() {
    assert_eq!(verdict(&refused().await), NEVER_SENT);
}

#[tokio::test]
async fn a_refused_connection_is_found_beneath_any_number_of_errors() {
    let wrapped = Wrapped(Wrapped(refused().await));
    assert_eq!(verdict(&wrapped), NEVER_SENT);
    let other = Wrapped(io::Error::other(io::Error::other(refused().await)));
    assert_eq!(verdict(&other), NEVER_SENT);
}

#[test]
fn a_connection_that_broke_or_took_too_long_proves_nothing() {
    for kind in [
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::BrokenPipe,
        io::ErrorKind::UnexpectedEof,
        io::ErrorKind::TimedOut,
        io::ErrorKind::HostUnreachable,
        io::ErrorKind::NotConnected,
    ] {
        assert_eq!(verdict(&io::Error::from(kind)), UNKNOWN, "{kind:?}");
        let wrapped = Wrapped(io::Error::other(Wrapped(io::Error::from(kind))));
        assert_eq!(verdict(&wrapped), UNKNOWN, "{kind:?}");
    }
}

#[test]
fn only_a_refused_stream_proves_that_it_was_not_processed() {
    for code in 0..=20 {
        let reason = h2::Reason::from(code);
        let expected = if reason == h2::Reason::REFUSED_STREAM {
            NEVER_SENT
        } else {
            UNKNOWN
        };
        assert_eq!(verdict(&h2::Error::from(reason)), expected, "{reason}");
    }
}

#[tokio::test]
async fn a_refusal_on_a_connection_that_stood_proves_nothing() {
    let io = Standing::until(0, io::ErrorKind::ConnectionRefused);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    let (response, _) = tokio::join!(sender.send_request(request()), connection);
    let error = response.unwrap_err();
    assert!(chain(&error).any(is_refusal), "{error:?}");
    assert_eq!(verdict(&error), UNKNOWN);
}

#[tokio::test]
async fn hypers_canceled_proves_nothing_by_itself() {
    let io = Standing::until(0, io::ErrorKind::ConnectionReset);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    drop(connection);
    let error = sender.send_request(request()).await.unwrap_err();
    assert!(error.is_canceled(), "{error:?}");
    assert_eq!(verdict(&error), UNKNOWN);
}

#[tokio::test]
async fn hypers_canceled_beneath_its_pooling_client_is_proof() {
    let connector = tower::service_fn(|_: http::Uri| {
        // Read once before the request is there, and once more before it is written.
        let io = Standing::until(1, io::ErrorKind::ConnectionReset);
        std::future::ready(Ok::<_, io::Error>(io))
    });
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let error = client.request(request()).await.unwrap_err();
    assert!(chain(&error).any(is_canceled), "{error:?}");
    assert_eq!(verdict(&error), NEVER_SENT);
}

#[tokio::test]
async fn hypers_canceled_beneath_a_channel_is_proof_though_tonic_calls_it_cancelled() {
    let connector = tower::service_fn(|_: http::Uri| {
        let io = Standing::until(0, io::ErrorKind::ConnectionReset);
        std::future::ready(Ok::<_, io::Error>(io))
    });
    let endpoint = Endpoint::from_static("http://payments.internal");
    let mut client = Grpc::new(endpoint.connect_with_connector_lazy(connector));
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/payments.v1.Payments/Charge");
    let codec = ProstCodec::<(), ()>::default();
    let status = client.unary(Request::new(()), path, codec).await;
    let status = status.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Cancelled);
    assert!(chain(&status).any(is_canceled), "{status:?}");
    assert_eq!(verdict(&status), NEVER_SENT);
}

#[tokio::test]
async fn an_operation_that_is_not_idempotent_is_retried_where_the_connection_is_refused() {
    let address = closed_port().await;
    let operation = not_idempotent(|o| o);
    let attempts = Cell::new(0);
    let result = operation
        .with(Transport)
        .call(async |cx| {
            attempts.set(cx.attempt());
            TcpStream::connect(address).await
        })
        .await;
    let error = result.unwrap_err().into_call().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(attempts.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_is_not_idempotent_is_not_retried_where_the_connection_broke() {
    let operation = not_idempotent(|o| o);
    let attempts = Cell::new(0);
    let result = operation
        .with(Transport)
        .call(async |cx| {
            attempts.set(cx.attempt());
            Err::<(), _>(io::Error::from(io::ErrorKind::ConnectionReset))
        })
        .await;
    assert!(result.is_err());
    assert_eq!(attempts.get(), 1);
}
