//! The gRPC port's door: who comes in, and what those hear who do not.
//!
//! tonic serves whatever a listener yields. Left alone it holds a connection that never says a word
//! for ever, closes one that speaks HTTP/1 without an explanation, and knows no limit. So each
//! connection is greeted here first, and only one that has spoken HTTP/2 goes on to tonic:
//!
//! ```text
//!   accept ── no seat free ───────────────> closed, counted
//!     │ takes a seat, kept until the connection ends
//!   greet ─── silent for `preface` ───────> closed, counted
//!     │   └── anything but HTTP/2 ────────> counted; to HTTP/1 an answer that helps, then closed
//!     │ the preface is replayed
//!   tonic
//! ```
//!
//! # Invariants
//!
//! - At most `connections` are open at once, those being greeted included.
//! - A line about a refused connection is written at most once a second per reason, and says how
//!   many were not written about.
//! - After `stop` nobody comes in and nobody is being greeted; after `cut` nobody is in.

mod admitted;
mod preface;
mod tally;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

pub(crate) use admitted::Admitted;
pub(crate) use tally::{Refusal, Tally};

use preface::{Heard, Speech};

/// Connections that have been greeted and wait for tonic to take them.
const GREETED_SLOTS: usize = 64;
/// After a failed accept, mostly for want of file descriptors, this long before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Of a request that nobody serves, at most this much is read so that its answer arrives.
const DRAIN_BYTES: u64 = 64 * 1024;

/// What a door holds to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections at once.
    pub(crate) connections: usize,
    /// How long a connection may take to say that it speaks HTTP/2.
    pub(crate) preface: Duration,
    /// The port to send those to who wanted HTTP.
    pub(crate) http_port: u16,
}

/// When a door closes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Closing {
    /// Nobody comes in any more.
    pub(crate) stop: CancellationToken,
    /// Everybody who is in is thrown out.
    pub(crate) cut: CancellationToken,
}

/// The connections that came in, for tonic's `serve_with_incoming`.
pub(crate) type Incoming = ReceiverStream<io::Result<Admitted>>;

/// Opens the door: accepts on a task of its own until `closing.stop`.
pub(crate) fn open(
    listener: TcpListener,
    limits: Limits,
    closing: Closing,
) -> (Incoming, Arc<Tally>) {
    let (greeted, incoming) = mpsc::channel(GREETED_SLOTS);
    let tally = Arc::new(Tally::new(limits.connections));
    let door = Door {
        limits,
        closing,
        tally: Arc::clone(&tally),
        greeted,
    };
    tokio::spawn(Arc::new(door).accept(listener));
    (ReceiverStream::new(incoming), tally)
}

struct Door {
    limits: Limits,
    closing: Closing,
    tally: Arc<Tally>,
    greeted: mpsc::Sender<io::Result<Admitted>>,
}

impl Door {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let stop = self.closing.stop.clone();
        let accepting = async {
            loop {
                match listener.accept().await {
                    Ok((stream, peer)) => self.receive(stream, peer),
                    Err(error) => self.pause(&error).await,
                }
            }
        };
        stop.run_until_cancelled(accepting).await;
    }

    async fn pause(&self, error: &io::Error) {
        if let Some(unsaid) = self.tally.refuse(Refusal::Failed) {
            tracing::warn!(%error, unsaid, "cannot accept connections on the gRPC port");
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }

    fn receive(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let Some(seat) = self.tally.seat() else {
            return self.turn_away(peer);
        };
        let door = Arc::clone(self);
        tokio::spawn(async move {
            let stop = door.closing.stop.clone();
            stop.run_until_cancelled(door.greet(stream, peer, seat))
                .await;
        });
    }

    fn turn_away(&self, peer: SocketAddr) {
        if let Some(unsaid) = self.tally.refuse(Refusal::Limit) {
            let max_connections = self.limits.connections;
            tracing::warn!(%peer, max_connections, unsaid, "connection closed: no more are allowed");
        }
    }

    async fn greet(&self, mut stream: TcpStream, peer: SocketAddr, seat: OwnedSemaphorePermit) {
        match timeout(self.limits.preface, preface::listen(&mut stream)).await {
            Err(_elapsed) => self.dismiss_silent(peer),
            // It left by itself before it said anything that could be judged.
            Ok(Err(_) | Ok(None)) => {}
            Ok(Ok(Some(heard))) if heard.speech == Speech::Http2 => {
                self.admit(stream, &heard, seat).await;
            }
            Ok(Ok(Some(heard))) => self.dismiss(stream, peer, &heard).await,
        }
    }

    async fn admit(&self, stream: TcpStream, heard: &Heard, seat: OwnedSemaphorePermit) {
        let admitted = Admitted::new(stream, heard.opening(), &self.closing.cut, seat);
        // No receiver: tonic has stopped, and so does this connection.
        self.greeted.send(admitted).await.ok();
    }

    fn dismiss_silent(&self, peer: SocketAddr) {
        if let Some(unsaid) = self.tally.refuse(Refusal::Silent) {
            let waited = self.limits.preface;
            tracing::warn!(%peer, ?waited, unsaid, "connection closed: it said nothing on the gRPC port");
        }
    }

    async fn dismiss(&self, mut stream: TcpStream, peer: SocketAddr, heard: &Heard) {
        if let Some(unsaid) = self.tally.refuse(Refusal::Foreign) {
            let (speech, first_bytes) = (heard.speech, heard.escaped());
            tracing::warn!(%peer, %speech, %first_bytes, unsaid, "connection closed: the gRPC port speaks HTTP/2 in plain text");
        }
        if heard.speech == Speech::Http1 {
            let answer = answer_to_http1(self.limits.http_port);
            // Whether the peer reads its answer is its own affair.
            timeout(self.limits.preface, say(&mut stream, &answer))
                .await
                .ok();
        }
    }
}

fn answer_to_http1(http_port: u16) -> String {
    let text = format!("this is fusebox's gRPC port (HTTP/2); HTTP is on port {http_port}\n");
    let length = text.len();
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{text}"
    )
}

/// Reads on after the answer: closing with bytes unread would reset the connection, and the answer
/// would be lost.
async fn say(stream: &mut TcpStream, answer: &str) -> io::Result<()> {
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(DRAIN_BYTES), &mut tokio::io::sink()).await?;
    Ok(())
}
