//! The link to the control plane: one thread, one stream, nothing any call ever waits for.
//!
//! The thread has a small runtime of its own, so that policies arrive and reports leave even while
//! the program's runtime is busy, and programs without one can link all the same. Towards it lead
//! only a bounded queue of [`Event`]s, which drops and counts what finds no room: the next report
//! tells the same truth.
//!
//! ```text
//!   connect to the next address ---> session ---> ended ---> sleep (full jitter) --+
//!        ^                                                                         |
//!        +-------------------------------------------------------------------------+
//! ```

mod reports;
mod session;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fusebox_core::key::OperationName;
use fusebox_core::outcome::Transition;
use fusebox_proto::convert::session::Identity;
use tokio::sync::{mpsc, oneshot};
use tonic::transport::Endpoint;

use crate::cache::Cache;
use crate::enforcement::Enforcement;
use crate::operation::Inner;
use reports::Reports;

/// Events that may wait for the link's thread.
const QUEUE: usize = 1024;
/// How long a server has to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest sleep before the first reconnect, and before any.
const RECONNECT_BASE: Duration = Duration::from_millis(100);
const RECONNECT_MAX: Duration = Duration::from_secs(10);
/// A session that lasted so long was a good one: the next reconnect is quick again.
const SETTLED: Duration = Duration::from_secs(30);
/// The longest a server can ask a process to stay away.
const LONGEST_DRAIN: Duration = Duration::from_secs(60);
/// How long a shutdown waits for the last report to leave.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the link tells the server between reports.
#[derive(Debug)]
pub(crate) enum Event {
    /// An operation came to be.
    Declared(Arc<Inner>),
    /// A breaker changed its state.
    Transition {
        /// Whose.
        operation: OperationName,
        /// Counts that breaker's transitions from 1.
        number: u64,
        /// What happened.
        transition: Transition,
    },
}

/// The sending end of the queue towards the link.
#[derive(Debug)]
pub(crate) struct Events {
    queue: mpsc::Sender<Event>,
    dropped: AtomicU64,
}

impl Events {
    pub(crate) fn send(&self, event: Event) {
        if self.queue.try_send(event).is_err() {
            // Relaxed: a counter.
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// The queue towards a link that is yet to be started.
pub(crate) fn queue() -> (Events, mpsc::Receiver<Event>) {
    let (queue, inbox) = mpsc::channel(QUEUE);
    (
        Events {
            queue,
            dropped: AtomicU64::new(0),
        },
        inbox,
    )
}

/// Whom to talk to, as whom, and where to keep what was heard.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) identity: Identity,
    pub(crate) servers: Vec<Endpoint>,
    pub(crate) cache: Option<Cache>,
}

/// How the link is doing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    pub(crate) connected_to: Option<String>,
    pub(crate) last_problem: Option<String>,
}

/// A running link. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Link {
    status: Arc<Mutex<Status>>,
    stop: Mutex<Option<oneshot::Sender<Farewell>>>,
}

/// The wish to end, answered when the last report has left; dropped unanswered if it cannot.
type Farewell = oneshot::Sender<()>;

impl Link {
    /// Starts the link's thread.
    pub(crate) fn start(
        upstream: Upstream,
        enforcement: Arc<Enforcement>,
        inbox: mpsc::Receiver<Event>,
    ) -> std::io::Result<Self> {
        let status = Arc::new(Mutex::new(Status::default()));
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let keeper = Keeper {
            upstream,
            enforcement,
            inbox,
            status: Arc::clone(&status),
            reports: Reports::default(),
        };
        let body = move || runtime.block_on(keeper.keep(stopped));
        std::thread::Builder::new()
            .name("fusebox-link".into())
            .spawn(body)?;
        Ok(Self {
            status,
            stop: Mutex::new(Some(stop)),
        })
    }

    pub(crate) fn status(&self) -> Status {
        self.status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Ends the link after a last report.
    pub(crate) async fn shutdown(&self) {
        let stop = self
            .stop
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let (farewell, done) = oneshot::channel();
        // A link that has ended already has nothing left to send.
        if stop.is_some_and(|stop| stop.send(farewell).is_ok()) {
            let _ = tokio::time::timeout(FAREWELL, done).await;
        }
    }
}

/// The settings every connection to a server has.
pub(crate) fn tuned(endpoint: Endpoint) -> Endpoint {
    endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true)
}

/// What the link's thread owns.
struct Keeper {
    upstream: Upstream,
    enforcement: Arc<Enforcement>,
    inbox: mpsc::Receiver<Event>,
    status: Arc<Mutex<Status>>,
    reports: Reports,
}

impl Keeper {
    /// Keeps a session up until told to stop.
    async fn keep(mut self, mut stop: oneshot::Receiver<Farewell>) {
        if self.upstream.servers.is_empty() {
            self.idle(stop).await;
            return;
        }
        let mut failures = 0_u32;
        for turn in 0_usize.. {
            let server = self.upstream.servers[turn % self.upstream.servers.len()].clone();
            let end = match session::run(&mut self, &server, &mut stop).await {
                Err(stopped) => {
                    self.enforcement.context().metrics.connected(false);
                    self.set_status(Status::default());
                    return stopped.answer();
                }
                Ok(end) => end,
            };
            failures = if end.lasted >= Some(SETTLED) {
                0
            } else {
                failures.saturating_add(1)
            };
            self.note_end(&server, &end);
            let pause =
                self.pause(failures) + end.retry_after.unwrap_or_default().min(LONGEST_DRAIN);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = &mut stop => return,
            }
        }
    }

    /// Without a server there is nobody to tell.
    async fn idle(mut self, mut stop: oneshot::Receiver<Farewell>) {
        loop {
            tokio::select! {
                _ = &mut stop => return,
                event = self.inbox.recv() => if event.is_none() { return },
            }
        }
    }

    /// Full jitter, so that a server that comes back is not met by all its processes at once.
    fn pause(&self, failures: u32) -> Duration {
        let longest = RECONNECT_BASE
            .saturating_mul(1 << failures.min(16))
            .min(RECONNECT_MAX);
        let random = self.enforcement.context().jitter.next() >> 11;
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        longest.mul_f64(random as f64 / (1_u64 << 53) as f64)
    }

    fn note_end(&self, server: &Endpoint, end: &session::End) {
        let server = server.uri();
        if end.lasted.is_some() {
            tracing::warn!(target: "fusebox", %server, reason = %end.reason, "session ended; calls go on");
        } else {
            tracing::debug!(target: "fusebox", %server, reason = %end.reason, "no session");
        }
        self.enforcement.context().metrics.connected(false);
        let last_problem = Some(format!("{server}: {}", end.reason));
        self.set_status(Status {
            connected_to: None,
            last_problem,
        });
    }

    fn note_problem(&self, problem: String) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.last_problem = Some(problem);
    }

    fn set_status(&self, status: Status) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}
