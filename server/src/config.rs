//! What a server can be told, in one table; where it was told; what it refuses to be told.
//!
//! ```text
//!   defaults  <  fusebox.toml or --config FILE  <  FUSEBOX_SERVER_*  <  flags
//! ```
//!
//! Every source is read as text by key and only then given a type, so that the same key is refused
//! in the same words wherever it stands, with the place where it stands. A key that nobody knows is
//! an error: a misspelt setting that is silently ignored is found out at night.
//!
//! # Invariants
//!
//! - [`Default`] is the only table of defaults, `KEYS` the only table of keys.
//! - [`Config::check`] holds every rule that concerns more than one key.
//! - Nothing here reads the process's environment or arguments; both are handed in.

mod duration;
mod error;
mod key;
mod source;

#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

pub use error::{ConfigError, Conflict, Origin};
pub use source::Sources;

use source::Layers;

/// How often a process may be asked to report, in time between two reports.
pub const REPORT_INTERVALS: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(60);
/// How often a session may be asked for a sign of life, in time between two of them.
pub const HEARTBEAT_INTERVALS: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(300);
/// How long a session may last.
pub const SESSION_AGES: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 60 * 60);
/// How many connections the gRPC port may be allowed to hold.
pub const CONNECTION_LIMITS: RangeInclusive<usize> = 1..=1_000_000;

/// How many changes of late may be kept.
pub const HISTORY_CHANGES: RangeInclusive<usize> = 1..=100_000;
/// How many versions of each policy may be kept beyond these.
pub const HISTORY_VERSIONS: RangeInclusive<usize> = 1..=1000;
/// How many bytes either may take.
pub const HISTORY_BYTES: RangeInclusive<usize> = 1024 * 1024..=1024 * 1024 * 1024;

/// Everything a server is told before it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where gRPC listens; port 0 takes a free one.
    pub grpc_addr: SocketAddr,
    /// Where HTTP listens; port 0 takes a free one.
    pub http_addr: SocketAddr,
    /// Where the policies are kept.
    pub data_dir: PathBuf,
    /// What keeps them.
    pub store: StoreKind,
    /// Whether addresses beyond loopback may be served without TLS and authentication.
    pub allow_remote_plaintext: bool,
    /// Time between two reports of a process, within [`REPORT_INTERVALS`].
    pub report_interval: Duration,
    /// Time between two signs of life of a session, within [`HEARTBEAT_INTERVALS`].
    pub heartbeat_interval: Duration,
    /// How long a session lasts before its process is asked to begin another, within
    /// [`SESSION_AGES`]; some a fifth less.
    pub max_session_age: Duration,
    /// Connections the gRPC port holds at once, within [`CONNECTION_LIMITS`].
    pub max_connections: usize,
    /// Changes of late that are all kept, whatever they changed, within [`HISTORY_CHANGES`].
    pub history_changes: usize,
    /// Versions of each live policy that are kept however old, within [`HISTORY_VERSIONS`].
    pub history_versions: usize,
    /// Bytes that either of the two may take, within [`HISTORY_BYTES`].
    pub history_bytes: usize,
    /// Which log lines are written, in `RUST_LOG`'s language; `None`: what `RUST_LOG` says, or
    /// else `info`.
    pub log: Option<String>,
    /// How a log line looks.
    pub log_format: LogFormat,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            grpc_addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 7070)),
            http_addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 7071)),
            data_dir: PathBuf::from("./fusebox-data"),
            store: StoreKind::Sled,
            allow_remote_plaintext: false,
            report_interval: Duration::from_secs(2),
            heartbeat_interval: Duration::from_secs(10),
            max_session_age: Duration::from_secs(60 * 60),
            max_connections: 16_384,
            history_changes: 10_000,
            history_versions: 10,
            history_bytes: 64 * 1024 * 1024,
            log: None,
            log_format: LogFormat::Text,
        }
    }
}

impl Config {
    /// Reads all sources, the later over the earlier.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let layers = Layers::read(sources)?;
        let mut config = Self::default();
        for setting in layers.settings()? {
            setting.apply(&mut config)?;
        }
        config.check().map_err(|conflict| ConfigError::Conflict {
            origin: layers.origin(conflict.key()),
            conflict,
        })?;
        Ok(config)
    }

    /// Whether the keys go together.
    pub fn check(&self) -> Result<(), Conflict> {
        self.check_reach("grpc_addr", self.grpc_addr)?;
        self.check_reach("http_addr", self.http_addr)?;
        if self.grpc_addr == self.http_addr && self.grpc_addr.port() != 0 {
            return Err(Conflict::SameAddress(self.http_addr));
        }
        Ok(())
    }

    fn check_reach(&self, key: &'static str, addr: SocketAddr) -> Result<(), Conflict> {
        if self.allow_remote_plaintext || addr.ip().to_canonical().is_loopback() {
            return Ok(());
        }
        Err(Conflict::RemotePlaintext { key, addr })
    }
}

/// What keeps the policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// A data directory on a local disk.
    Sled,
    /// This process's memory: nothing outlives it.
    Memory,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
