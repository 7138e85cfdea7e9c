//! The demonstration's dependencies: real HTTP servers on loopback that misbehave on schedule.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use super::script::{Fault, Upstream};

/// How long a slow answer takes: longer than any timeout of the demonstration.
const SLOW: Duration = Duration::from_secs(2);

struct Stage {
    upstream: &'static Upstream,
    began: Instant,
    requests: AtomicU64,
}

/// Starts the server of `upstream`; it runs until the runtime ends.
pub(super) async fn start(upstream: &'static Upstream, began: Instant) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let stage = Arc::new(Stage {
        upstream,
        began,
        requests: AtomicU64::new(0),
    });
    let router = Router::new().fallback(answer).with_state(stage);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(upstream = upstream.name, %error, "a demonstration upstream ended");
        }
    });
    Ok(address)
}

async fn answer(State(stage): State<Arc<Stage>>) -> impl IntoResponse {
    let number = stage.requests.fetch_add(1, Ordering::Relaxed);
    let fault = stage.upstream.fault_at(stage.began.elapsed());
    sleep(if fault == Some(Fault::Slow) {
        SLOW
    } else {
        stage.upstream.latency
    })
    .await;
    match fault {
        Some(Fault::Failing) => failure(),
        Some(Fault::Flaky) if number.is_multiple_of(2) => failure(),
        // A panicking handler makes the server close the connection without an answer.
        Some(Fault::Dropping) => std::panic::resume_unwind(Box::new(())),
        _ => (StatusCode::OK, "done"),
    }
}

const fn failure() -> (StatusCode, &'static str) {
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "down for the demonstration",
    )
}
