//! The only file that wires: configuration in, a serving process out.
//!
//! ```text
//!   start   bind both ports ─> open the store ─> follow it ─> serve gRPC ─> serve HTTP
//!   run     until a signal, or until a listener ends by itself
//!   stop    tell      health NOT_SERVING, /readyz 503
//!           drain     no new connections, sessions end, calls under way finish   DRAIN
//!           cut       whoever is still there: streams, silent connections        CUT
//!           close     the store, which commits what it holds                     CLOSE
//! ```
//!
//! The ports are bound before anything touches the disk, so that a start that fails leaves nothing
//! behind. Every step of the stop is bounded, and so is their sum: [`SHUTDOWN`].
//!
//! # Invariants
//!
//! - Nothing answers on either port before the store is open.
//! - An [`App`] that is dropped serves nobody any more.

mod ports;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fusebox_core::revision::{Incarnation, Revision};
use tokio::task::JoinError;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::accept::{self, Closing, Incoming, Limits};
use crate::config::{Config, Conflict, StoreKind};
use crate::control::Control;
use crate::distribution::{Distribution, Pace};
use crate::fleet::FleetWatch;
use crate::http::{self, Readiness};
use crate::rpc::{self, health::Health};
use crate::store::{self, Clock, OpenError, ReadError, Retention, Store, Timed};
use crate::telemetry::{self, RpcLayer};

use ports::Ports;

/// At most this long from the signal until everything is closed.
pub const SHUTDOWN: Duration = DRAIN.saturating_add(CUT).saturating_add(CLOSE);
/// For calls under way to finish and sessions to be told.
const DRAIN: Duration = Duration::from_millis(1500);
/// For connections that were cut to notice.
const CUT: Duration = Duration::from_millis(500);
/// For the store to commit what it holds.
const CLOSE: Duration = Duration::from_secs(2);

/// How long a connection to the gRPC port may take to say that it speaks HTTP/2.
const PREFACE: Duration = Duration::from_secs(5);
/// A peer that has been silent this long is asked for a sign of life.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// And is gone if none comes within this.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Calls at once on one connection; more wait for it. A process's session is one.
const STREAMS_PER_CONNECTION: u32 = 256;
/// Between two looks at the store's health.
const VIGIL: Duration = Duration::from_secs(1);
/// What a peer may send before it is read, on one stream and on all of its connection: what
/// somebody who floods can make this server hold.
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
/// The longest metadata of a call.
const HEADER_BYTES: u32 = 16 * 1024;

/// A server that serves.
#[derive(Debug)]
pub struct App {
    config: Config,
    rooms: Rooms,
    ending: Ending,
    grpc_ended: CancellationToken,
    http_ended: CancellationToken,
}

/// Why a server did not start. Each is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] Conflict),
    /// An address is taken, or not ours to take.
    #[error("{key} is {addr}, {}", ports::advice(source))]
    Bind {
        /// The key that names it.
        key: &'static str,
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Opening the store broke off.
    #[error("the store could not be opened: {0}")]
    Broken(#[from] JoinError),
}

/// Why a server ended otherwise than asked.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A listener ended though nobody stopped it.
    #[error("the {0} listener ended by itself")]
    Listener(&'static str),
    /// The store took too long to close.
    #[error("the store did not close in {CLOSE:?}; what was acknowledged is in its journal")]
    Close,
}

impl App {
    /// Binds, opens and wires everything; when it returns, both ports answer.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        config.check()?;
        let ports = Ports::bind(&config)?;
        let ending = Ending::default();
        let rooms = Rooms::open(&config, &ending).await?;
        rooms.health.serving().await;
        Ok(Self::serve(ports, rooms, ending, config))
    }

    /// What it runs with: as it was told, but the addresses are those it is bound to.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The store's revision now.
    pub fn revision(&self) -> Revision {
        self.rooms.store.revision()
    }

    /// The store's life.
    pub fn incarnation(&self) -> Incarnation {
        self.rooms.store.incarnation()
    }

    /// Serves until `signal` resolves, then ends within [`SHUTDOWN`], whatever its peers do.
    pub async fn run_until(self, signal: impl Future<Output = ()>) -> Result<(), RunError> {
        let asked = tokio::select! {
            () = signal => Ok(()),
            () = self.grpc_ended.cancelled() => Err(RunError::Listener("gRPC")),
            () = self.http_ended.cancelled() => Err(RunError::Listener("HTTP")),
        };
        let closed = self.stop().await;
        asked.and(closed)
    }

    fn serve(ports: Ports, rooms: Rooms, ending: Ending, config: Config) -> Self {
        let (grpc_addr, http_addr) = (ports.grpc_addr, ports.http_addr);
        let limits = Limits {
            connections: config.max_connections,
            preface: PREFACE,
            http_port: http_addr.port(),
        };
        let (incoming, door) = accept::open(ports.grpc, limits, ending.grpc.clone());
        let meter = telemetry::meter();
        telemetry::observe(&meter, &rooms.fleet, &rooms.distribution, &door);
        let stop = ending.grpc.stop.clone();
        let calls = serve_grpc(
            rooms.routes(ending.sessions.clone()),
            RpcLayer::new(&meter),
            incoming,
            stop.clone(),
        );
        let grpc_ended = run(calls);
        let router = http::router(readiness(&rooms.store, &ending, &grpc_ended));
        let http_ended = run(http::serve(ports.http, router, ending.http.clone()));
        let vigil = vigil(Arc::clone(&rooms.store), rooms.health.clone());
        run(stop.run_until_cancelled_owned(vigil));
        Self {
            config: Config {
                grpc_addr,
                http_addr,
                ..config
            },
            rooms,
            ending,
            grpc_ended,
            http_ended,
        }
    }

    async fn stop(self) -> Result<(), RunError> {
        self.rooms.health.not_serving().await;
        self.ending.drain();
        if timeout(DRAIN, self.drained()).await.is_err() {
            tracing::warn!(waited = ?DRAIN, "cutting the connections that are still open");
        }
        self.ending.cut();
        if timeout(CUT, self.ended()).await.is_err() {
            tracing::warn!(waited = ?CUT, "connections are still open; leaving them behind");
        }
        let closed = timeout(CLOSE, self.rooms.store.close()).await;
        closed.map_err(|_elapsed| RunError::Close)
    }

    async fn drained(&self) {
        self.rooms.distribution.ended().await;
        self.grpc_ended.cancelled().await;
    }

    async fn ended(&self) {
        self.drained().await;
        self.http_ended.cancelled().await;
    }
}

/// What the services stand on.
struct Rooms {
    store: Arc<dyn Store>,
    fleet: Arc<FleetWatch>,
    distribution: Arc<Distribution>,
    health: Health,
}

impl Rooms {
    async fn open(config: &Config, ending: &Ending) -> Result<Self, StartError> {
        let store = Timed::around(open_store(config).await?, &telemetry::meter());
        let fleet = Arc::new(FleetWatch::new(config.report_interval));
        let pace = Pace {
            report_interval: config.report_interval,
            heartbeat_interval: config.heartbeat_interval,
            max_session_age: config.max_session_age,
        };
        let (sessions, followed) = (ending.sessions.clone(), Arc::clone(&store));
        let distribution = Distribution::start(followed, pace, Arc::clone(&fleet), sessions)?;
        let health = Health::new();
        Ok(Self {
            store,
            fleet,
            distribution,
            health,
        })
    }

    /// Watches end at `stop`.
    fn routes(&self, stop: CancellationToken) -> Routes {
        let control = Control::new(Arc::clone(&self.store)).until(stop);
        let control = Arc::new(control);
        let expiring = Arc::clone(&control);
        tokio::spawn(async move { expiring.expire_overrides().await });
        rpc::routes(rpc::Parts {
            control,
            distribution: Arc::clone(&self.distribution),
            fleet: Arc::clone(&self.fleet),
            health: self.health.clone(),
        })
    }
}

impl fmt::Debug for Rooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms").finish_non_exhaustive()
    }
}

/// Opening reads all there is, and may take its time: not on a thread that serves.
async fn open_store(config: &Config) -> Result<Arc<dyn Store>, StartError> {
    let (kind, dir) = (config.store, config.data_dir.clone());
    let clock: Clock = Arc::new(SystemTime::now);
    let retention = Retention {
        changes: config.history_changes,
        versions: config.history_versions,
        bytes: config.history_bytes,
    };
    let open = move || match kind {
        StoreKind::Sled => store::directory::open(&dir, clock, retention),
        StoreKind::Memory => store::memory::open(clock, retention),
    };
    Ok(tokio::task::spawn_blocking(open).await??)
}

/// Why the server is of no use now, if it is not.
fn readiness(store: &Arc<dyn Store>, ending: &Ending, grpc_ended: &CancellationToken) -> Readiness {
    let (store, stopping) = (Arc::clone(store), ending.grpc.stop.clone());
    let grpc_ended = grpc_ended.clone();
    Arc::new(move || match store.vitals().read_only {
        _ if stopping.is_cancelled() => Err("shutting down".to_owned()),
        _ if grpc_ended.is_cancelled() => Err("the gRPC listener has ended".to_owned()),
        Some(reason) => Err(format!("the store takes no writes: {reason}")),
        None => Ok(()),
    })
}

/// Says of the policies whether they are served: not while their store takes no writes.
async fn vigil(store: Arc<dyn Store>, health: Health) {
    let mut served = true;
    loop {
        let serves = store.vitals().read_only.is_none();
        if serves != served {
            health.policies(serves).await;
            served = serves;
        }
        tokio::time::sleep(VIGIL).await;
    }
}

async fn serve_grpc(routes: Routes, calls: RpcLayer, incoming: Incoming, stop: CancellationToken) {
    let served = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_max_header_list_size(HEADER_BYTES)
        .layer(calls)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the gRPC listener failed");
    }
}

/// Runs a task of its own, and tells when it has ended, by panic too.
fn run(task: impl Future<Output: Send> + Send + 'static) -> CancellationToken {
    let ended = CancellationToken::new();
    let guard = ended.clone().drop_guard();
    tokio::spawn(async move {
        let _guard = guard;
        task.await;
    });
    ended
}

/// The tokens that end everything, in the order in which they are cancelled.
#[derive(Debug, Default)]
struct Ending {
    sessions: CancellationToken,
    grpc: Closing,
    http: CancellationToken,
}

impl Ending {
    fn drain(&self) {
        self.sessions.cancel();
        self.grpc.stop.cancel();
    }

    fn cut(&self) {
        self.grpc.cut.cancel();
        self.http.cancel();
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.drain();
        self.cut();
    }
}
