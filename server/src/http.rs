//! The HTTP port: whether this process is alive, and whether it is of use.
//!
//! ```text
//!   GET /         what there is
//!   GET /healthz  200 while the process answers at all: restart it if not
//!   GET /readyz   200 while it is of use, else 503 and why: send nobody here
//! ```
//!
//! # Invariants
//!
//! - Whatever a peer does costs at most one of [`CONNECTIONS`], [`HEADER_BYTES`] and, while it says
//!   nothing, [`HEADER_TIME`].
//! - Once `stop` is cancelled no connection outlives the answer it is giving.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{HeaderName, StatusCode, header};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::sparing::Sparing;

/// Connections at once; one more waits in the system's queue until another ends.
const CONNECTIONS: usize = 256;
/// The longest header of a request, its first line included.
const HEADER_BYTES: usize = 16 * 1024;
/// How long a request's header may take to arrive, the silence before it included.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// After a failed accept, mostly for want of file descriptors, this long before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const INDEX: &str = "fusebox: /healthz (alive), /readyz (of use); policies, sessions and the fleet \
                     are on the gRPC port\n";

/// Why a server is of no use now, in words; `Ok` if it is.
pub(crate) type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

type Text = ([(HeaderName, &'static str); 1], String);

/// Every path there is.
pub(crate) fn router(readiness: Readiness) -> Router {
    Router::new()
        .route("/", get(async || text(INDEX)))
        .route("/healthz", get(async || text("alive\n")))
        .route("/readyz", get(async move || ready(readiness())))
        .fallback(async || {
            (
                StatusCode::NOT_FOUND,
                text("no such path; GET / says what there is\n"),
            )
        })
}

fn ready(readiness: Result<(), String>) -> (StatusCode, Text) {
    match readiness {
        Ok(()) => (StatusCode::OK, text("ready\n")),
        Err(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            text(format!("not ready: {reason}\n")),
        ),
    }
}

fn text(text: impl Into<String>) -> Text {
    (
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
        text.into(),
    )
}

/// Serves until `stop`, then lets the answers under way finish.
pub(crate) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let garbage = Arc::new(Sparing::default());
    let (connections, seats) = (TaskTracker::new(), Arc::new(Semaphore::new(CONNECTIONS)));
    let accepting = async {
        // The semaphore is never closed.
        while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
            let (accepted, garbage) = (accept(&listener).await, Arc::clone(&garbage));
            let connection = connection(accepted, router.clone(), stop.clone(), garbage);
            connections.spawn(async move {
                connection.await;
                drop(seat);
            });
        }
    };
    stop.run_until_cancelled(accepting).await;
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                // At most ten a second, by the pause.
                tracing::warn!(%error, "cannot accept connections on the HTTP port");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    (stream, peer): (TcpStream, SocketAddr),
    router: Router,
    stop: CancellationToken,
    garbage: Arc<Sparing>,
) {
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIME)
            .max_header_size(HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
    );
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    match ended {
        Err(error) if error.is_parse() => {
            if let Some(unsaid) = garbage.speak(Instant::now()) {
                tracing::warn!(%peer, %error, unsaid, "not a request on the HTTP port");
            }
        }
        Err(error) => tracing::debug!(%peer, %error, "an HTTP connection ended"),
        Ok(()) => {}
    }
}

#[cfg(test)]
mod tests;
