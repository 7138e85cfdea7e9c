//! How a server is reached: over TCP, except in tests that bring a network of their own.

use std::pin::Pin;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

/// How long a server has to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two HTTP/2 pings, and how long the answer may take: a peer that is gone without a word
/// is noticed even where heartbeats are rare.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to a server, or says why not.
pub(super) type Dial = Box<dyn Fn(Endpoint) -> Dialled + Send + Sync>;

pub(super) type Dialled = Pin<Box<dyn Future<Output = Result<Channel, String>> + Send>>;

/// The settings every connection to a server has.
pub(crate) fn tuned(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
}

/// Over TCP. All of it is bounded: looking the name up and the handshake, too.
pub(super) fn tcp() -> Dial {
    Box::new(|server| {
        Box::pin(async move {
            let connected = tokio::time::timeout(CONNECT_TIMEOUT, server.connect()).await;
            let connected =
                connected.map_err(|_| format!("no connection within {CONNECT_TIMEOUT:?}"))?;
            connected.map_err(|error| full_text(&error))
        })
    })
}

/// An error with its causes, which is where transport errors keep what happened.
pub(super) fn full_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
