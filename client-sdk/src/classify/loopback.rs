//! Dependencies of the tests: real ports of this machine, and peers that follow a script.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{Fusebox, Operation, OperationBuilder};

/// An operation that may not be repeated unless nothing was sent, with three quick attempts.
pub(super) fn not_idempotent(
    set: impl FnOnce(OperationBuilder<'_>) -> OperationBuilder<'_>,
) -> Operation {
    let fusebox = Fusebox::builder("checkout").jitter_seed(7).build().unwrap();
    let millis = std::time::Duration::from_millis;
    let builder = fusebox
        .operation("payments")
        .idempotent(false)
        .max_attempts(3)
        .consecutive_failures(100)
        .backoff(millis(1), millis(1000));
    set(builder).register().unwrap()
}

/// An address nobody listens at: somebody did a moment ago.
pub(super) async fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// What a peer does with one request.
pub(super) enum Answer {
    /// An empty message, `OK`.
    Message,
    /// Headers alone: gRPC's "trailers only".
    Status(Vec<(&'static str, &'static str)>),
    /// `RST_STREAM`.
    Reset(h2::Reason),
    /// The connection is gone.
    HangUp,
    /// None.
    Silence,
}

/// A gRPC server that follows a script; at its end it answers with messages.
#[derive(Clone, Default)]
pub(super) struct Peer {
    script: Arc<Mutex<VecDeque<Answer>>>,
    requests: Arc<Mutex<Vec<HeaderMap>>>,
}

impl Peer {
    pub(super) fn new(script: impl IntoIterator<Item = Answer>) -> Self {
        Self {
            script: Arc::new(Mutex::new(script.into_iter().collect())),
            requests: Arc::default(),
        }
    }

    /// The headers of every request that arrived.
    pub(super) fn requests(&self) -> Vec<HeaderMap> {
        self.requests.lock().unwrap().clone()
    }

    /// Listens at a port of this machine until the test ends.
    pub(super) async fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(self.clone().accept(listener));
        address
    }

    /// Serves every connection of `listener`.
    pub(super) async fn accept(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(self.clone().serve(stream));
        }
    }

    /// Serves one connection.
    pub(super) async fn serve(self, io: impl AsyncRead + AsyncWrite + Unpin) {
        let mut connection: Connection<_, Bytes> = h2::server::handshake(io).await.unwrap();
        // Streams that are answered with silence stay open.
        let mut open = Vec::new();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            self.requests
                .lock()
                .unwrap()
                .push(request.headers().clone());
            let answer = self.script.lock().unwrap().pop_front();
            match answer.unwrap_or(Answer::Message) {
                Answer::Message => message(&mut respond),
                Answer::Status(headers) => status(&mut respond, headers),
                Answer::Reset(reason) => respond.send_reset(reason),
                Answer::HangUp => return,
                Answer::Silence => open.push((request, respond)),
            }
        }
    }
}

fn response() -> http::Response<()> {
    let builder = http::Response::builder().header("content-type", "application/grpc");
    builder.body(()).unwrap()
}

fn message(respond: &mut SendResponse<Bytes>) {
    let mut body = respond.send_response(response(), false).unwrap();
    // Not compressed, of length zero.
    body.send_data(Bytes::from_static(&[0; 5]), false).unwrap();
    let status = (HeaderName::from_static("grpc-status"), HeaderValue::from(0));
    body.send_trailers(HeaderMap::from_iter([status])).unwrap();
}

fn status(respond: &mut SendResponse<Bytes>, headers: Vec<(&'static str, &'static str)>) {
    let mut response = response();
    for (name, value) in headers {
        response
            .headers_mut()
            .append(name, HeaderValue::from_static(value));
    }
    respond.send_response(response, true).unwrap();
}

/// Lets a client open its first stream, then sends a `GOAWAY` that says none was taken up.
pub(super) async fn go_away(mut stream: TcpStream) -> io::Result<()> {
    const PREFACE: usize = 24;
    const HEADERS: u8 = 1;
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const SETTINGS_ACK: [u8; 9] = [0, 0, 0, 4, 1, 0, 0, 0, 0];
    /// Last stream 0, `NO_ERROR`: a graceful shutdown.
    const GO_AWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    stream.write_all(&SETTINGS).await?;
    stream.write_all(&SETTINGS_ACK).await?;
    stream.read_exact(&mut [0; PREFACE]).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await?;
        if head[3] == HEADERS {
            break;
        }
    }
    stream.write_all(&GO_AWAY).await?;
    // Until the client hangs up: a reset could overtake the frame.
    stream.read_to_end(&mut Vec::new()).await.map(drop)
}
