//! Setting an instance up: who it is, whom it talks to, where it keeps what it heard.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use fusebox_core::key::{Epoch, InstanceId, InvalidName, Labels, Namespace, Service};
use fusebox_core::policy::field::SCHEMA;
use fusebox_core::stats::{InstanceFacts, InstanceKey};
use fusebox_proto::convert::session::Identity;
use opentelemetry::metrics::Meter;
use tonic::transport::Endpoint;

use crate::cache::writer::Writer;
use crate::cache::{Cache, Unreadable};
use crate::enforcement::{Context, Enforcement, Restored};
use crate::forcing::Whoami;
use crate::health::PolicySource;
use crate::jitter::Jitter;
use crate::link::{self, Board, Link, Upstream};
use crate::metrics::{self, Metrics};
use crate::{Fusebox, telemetry};

/// Longest version or zone, in bytes.
const MAX_TEXT: usize = 200;
/// How long a disk has to give what it holds. A process that waited for one that hangs would never
/// start.
const LOAD_WITHIN: Duration = Duration::from_secs(5);

/// Collects the settings of an instance. Only the service's name is required.
#[derive(Debug)]
#[must_use = "nothing is set up before build()"]
pub struct Builder {
    service: String,
    namespace: String,
    instance_id: Option<String>,
    version: String,
    zone: String,
    labels: Vec<(String, String)>,
    servers: Vec<String>,
    cache_dir: Option<PathBuf>,
    meter: Option<Meter>,
    jitter_seed: Option<u64>,
}

/// Settings that cannot be. Nothing else can go wrong while setting up: a server that is away, or
/// a cache that cannot be written, is reported in the log and in health, and no call notices.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSetup {
    /// A name is none.
    #[error("{what} {value:?} {problem}")]
    Name {
        /// Which setting.
        what: &'static str,
        /// Its value.
        value: String,
        /// What is wrong.
        problem: InvalidName,
    },
    /// A text is too long.
    #[error("{what} has {len} bytes; at most {max} are allowed")]
    TooLong {
        /// Which setting.
        what: &'static str,
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A server's address is none.
    #[error("server address {address:?} is not a URL such as http://127.0.0.1:7070: {problem}")]
    Address {
        /// The address.
        address: String,
        /// What is wrong.
        problem: String,
    },
    /// The system gave no randomness, without which processes could not be told apart.
    #[error("no randomness from the operating system: {0}")]
    Randomness(getrandom::Error),
    /// A thread of the link's could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

impl Builder {
    pub(crate) fn new(service: String) -> Self {
        Self {
            service,
            namespace: "default".into(),
            instance_id: None,
            version: String::new(),
            zone: String::new(),
            labels: Vec::new(),
            servers: Vec::new(),
            cache_dir: None,
            meter: None,
            jitter_seed: None,
        }
    }

    /// A server's address, such as `http://127.0.0.1:7070`. Of several the first is preferred at the
    /// start, and each that fails is left for the next; all must serve one store, or
    /// [`Health::disagreement`](crate::Health::disagreement) says so. With none, the defaults and the
    /// call sites' own rules hold.
    pub fn server(mut self, address: impl Into<String>) -> Self {
        self.servers.push(address.into());
        self
    }

    /// The tenant; `default` if not said.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// What operators call this process; the host's name and the process's number if not said.
    pub fn instance_id(mut self, id: impl Into<String>) -> Self {
        self.instance_id = Some(id.into());
        self
    }

    /// The program's own version. Policies can select by it, as by a label `version`.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Where the process runs. Policies can select by it, as by a label `zone`.
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.zone = zone.into();
        self
    }

    /// A label that policies can select by.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((key.into(), value.into()));
        self
    }

    /// A directory for the policies last heard of, to start from when no server can be reached. All
    /// processes of a service may share it, and the newest that any of them heard stays. On a file
    /// system without locks, of two that write at once the older may stay until the next write.
    pub fn cache_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.cache_dir = Some(directory.into());
        self
    }

    /// Records the SDK's metrics with this meter. Without it they go where
    /// [`telemetry::from_env`](crate::telemetry::from_env) sends them, if that was called before.
    pub fn meter(mut self, meter: Meter) -> Self {
        self.meter = Some(meter);
        self
    }

    /// Fixes the jitter of backoffs, for tests.
    pub const fn jitter_seed(mut self, seed: u64) -> Self {
        self.jitter_seed = Some(seed);
        self
    }

    /// Sets the instance up. Never waits for a server, and at most five seconds for the disk.
    pub fn build(self) -> Result<Fusebox, InvalidSetup> {
        let epoch = random_u64()?;
        let identity = self.identity(epoch)?;
        let servers = self.servers.iter().map(|address| endpoint(address));
        let servers = servers.collect::<Result<Vec<_>, _>>()?;
        let Start {
            held,
            source,
            writer,
        } = self.start(&identity)?;
        let (events, inbox) = link::queue();
        let meter = self.meter.or_else(telemetry::meter);
        let board = Arc::new(Board::default());
        metrics::observe_age(meter.as_ref(), &board);
        let context = Context {
            events,
            jitter: Jitter::seeded(self.jitter_seed.unwrap_or(epoch)),
            metrics: Metrics::new(meter.as_ref()),
        };
        let enforcement = Enforcement::new(whoami(&identity), context, held, source);
        let enforcement = Arc::new(enforcement);
        let upstream = Upstream {
            identity,
            servers,
            writer,
            board,
        };
        let link = Arc::new(Link::start(upstream, Arc::clone(&enforcement), inbox)?);
        Ok(Fusebox { enforcement, link })
    }

    /// What the cache holds, and the thread that writes to it from now on.
    fn start(&self, identity: &Identity) -> Result<Start, InvalidSetup> {
        let (mut held, mut source) = (Restored::default(), PolicySource::Defaults);
        let Some(directory) = self.cache_dir.as_deref() else {
            return Ok(Start {
                held,
                source,
                writer: None,
            });
        };
        let key = &identity.key;
        let cache = Cache::new(directory, &key.namespace, &key.service);
        let mut problem = None;
        match load(&cache, LOAD_WITHIN) {
            Ok(Some(found)) => (held, source) = (found, PolicySource::Disk),
            Ok(None) => {}
            Err(error) => {
                let path = cache.path().display();
                problem = Some(format!("{path}: {error}; ignored"));
            }
        }
        Ok(Start {
            held,
            source,
            writer: Some(Writer::start(cache, problem)?),
        })
    }

    fn identity(&self, epoch: u64) -> Result<Identity, InvalidSetup> {
        let instance = self.instance_id.clone().unwrap_or_else(default_instance_id);
        let labels = self.labels.iter().map(|(key, value)| (key, value));
        Ok(Identity {
            key: InstanceKey {
                namespace: named("namespace", &self.namespace, Namespace::new)?,
                service: named("service", &self.service, Service::new)?,
                instance: named("instance id", &instance, InstanceId::new)?,
                epoch: Epoch(epoch),
            },
            facts: InstanceFacts {
                version: bounded("version", &self.version)?,
                zone: bounded("zone", &self.zone)?,
                labels: Labels::new(labels).map_err(|problem| InvalidSetup::Name {
                    what: "labels",
                    value: format!("{:?}", self.labels),
                    problem,
                })?,
                sdk_version: concat!("rust/", env!("CARGO_PKG_VERSION")).into(),
            },
            schema: SCHEMA,
        })
    }
}

/// What targets and selectors find.
pub(crate) fn whoami(identity: &Identity) -> Whoami {
    Whoami {
        namespace: identity.key.namespace.clone(),
        service: identity.key.service.clone(),
        instance: identity.key.instance.clone(),
        labels: identity.facts.selectable(),
    }
}

/// What an instance begins with.
struct Start {
    held: Restored,
    source: PolicySource,
    writer: Option<Writer>,
}

/// What was last written down, if the disk gives it in time. What is wrong with it is told, and no
/// more.
fn load(cache: &Cache, within: Duration) -> Result<Option<Restored>, Unreadable> {
    let (give, given) = mpsc::channel();
    let reading = cache.clone();
    let read = move || {
        let read = reading.make_directory().map_err(Unreadable::from);
        // In vain once nobody waits any more.
        let _ = give.send(read.and_then(|()| reading.load()));
    };
    let loaded = thread::Builder::new()
        .name("fusebox-load".into())
        .spawn(read)
        .map_err(Unreadable::from)
        .and_then(|_| given.recv_timeout(within).map_err(|_| not_given(within))?);
    loaded.inspect_err(|error| {
        let path = cache.path().display();
        tracing::error!(
            target: "fusebox", %path, %error,
            "cannot read the policies last written down; started without them"
        );
    })
}

fn not_given(within: Duration) -> Unreadable {
    let reason = format!("nothing could be read within {within:?}");
    io::Error::new(io::ErrorKind::TimedOut, reason).into()
}

fn named<T>(
    what: &'static str,
    value: &str,
    new: impl FnOnce(String) -> Result<T, InvalidName>,
) -> Result<T, InvalidSetup> {
    new(value.to_owned()).map_err(|problem| {
        let value = value.chars().take(80).collect();
        InvalidSetup::Name {
            what,
            value,
            problem,
        }
    })
}

fn bounded(what: &'static str, text: &str) -> Result<String, InvalidSetup> {
    let len = text.len();
    if len > MAX_TEXT {
        return Err(InvalidSetup::TooLong {
            what,
            len,
            max: MAX_TEXT,
        });
    }
    Ok(text.to_owned())
}

fn endpoint(address: &str) -> Result<Endpoint, InvalidSetup> {
    let problem = |problem: String| InvalidSetup::Address {
        address: address.into(),
        problem,
    };
    let endpoint = Endpoint::from_shared(address.to_owned()).map_err(|e| problem(e.to_string()))?;
    match (endpoint.uri().scheme_str(), endpoint.uri().authority()) {
        (Some("http"), Some(_)) => Ok(link::tuned(endpoint)),
        (Some(scheme), _) => Err(problem(format!("scheme {scheme:?} is not \"http\""))),
        _ => Err(problem("it has no scheme".into())),
    }
}

fn random_u64() -> Result<u64, InvalidSetup> {
    getrandom::u64().map_err(InvalidSetup::Randomness)
}

fn default_instance_id() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::env::var("HOSTNAME"))
        .unwrap_or_default();
    let host: String = host
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-._".contains(*c))
        .collect();
    let host = if host.is_empty() { "host" } else { &host };
    format!("{host}-{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn refusal(builder: Builder) -> String {
        builder.build().map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn a_setting_that_cannot_be_is_named_with_its_value() {
        assert_eq!(
            refusal(Fusebox::builder("")),
            "service \"\" must not be empty"
        );
        assert!(refusal(Fusebox::builder("a b")).starts_with("service \"a b\" has ' ' at byte 1"));
        assert!(refusal(Fusebox::builder("a").namespace("A")).starts_with("namespace \"A\""));
        assert!(refusal(Fusebox::builder("a").label("k", "")).starts_with("labels"));
        let long = "x".repeat(300);
        assert_eq!(
            refusal(Fusebox::builder("a").version(long)),
            "version has 300 bytes; at most 200 are allowed"
        );
        for address in ["localhost:7070", "https://x:1", "", "http//x"] {
            let refusal = refusal(Fusebox::builder("a").server(address));
            assert!(
                refusal.contains("is not a URL such as http://"),
                "{refusal}"
            );
        }
    }

    #[test]
    fn a_disk_that_hangs_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let service = Service::new("checkout").unwrap();
        let cache = Cache::new(directory.path(), &Namespace::default_namespace(), &service);
        // Whoever opens a pipe waits for somebody at its other end.
        let made = Command::new("mkfifo").arg(cache.path()).status().unwrap();
        assert!(made.success());
        let error = load(&cache, Duration::from_millis(1)).unwrap_err();
        assert_eq!(error.to_string(), "nothing could be read within 1ms");
        // Lets the thread go.
        std::fs::write(cache.path(), "").unwrap();
    }

    #[test]
    fn without_a_server_or_a_runtime_it_still_sets_up() {
        let fusebox = Fusebox::builder("checkout").build().unwrap();
        let health = fusebox.health();
        assert_eq!(health.source, PolicySource::Defaults);
        assert_eq!(health.connected_to, None);
    }
}
