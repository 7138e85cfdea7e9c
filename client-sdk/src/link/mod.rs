//! The link to the control plane: one thread, one stream, nothing any call ever waits for.
//!
//! The thread has a small runtime of its own, so that policies arrive and reports leave even while
//! the program's runtime is busy, and programs without one can link all the same. Towards it lead
//! only a bounded queue of [`Event`]s, which drops and counts what finds no room: the next report
//! tells the same truth.
//!
//! ```text
//!   route: next address --pause--> dial --> Hello --Welcome--> allegiance --follow--> session
//!            ^                      |                             | leave               |
//!            +---- ended <----------+-----------------------------+---------------------+
//! ```
//!
//! Two decisions are plain state machines: [`route`] says which address comes next and when,
//! [`allegiance`] whether a store that is not the one held may be followed. What was applied is
//! written down by the [`Writer`]'s own thread; this one never touches a disk. A panic, be it of
//! whoever listens, costs the turn of an address and never the thread.

mod allegiance;
mod board;
mod dial;
mod recent;
mod reports;
mod route;
mod session;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fusebox_core::key::OperationName;
use fusebox_core::outcome::Transition;
use fusebox_core::revision::Incarnation;
use fusebox_proto::convert::session::Identity;
use tokio::sync::{mpsc, oneshot};
use tonic::transport::Endpoint;

use crate::cache::writer::{Disk, Writer};
use crate::clock;
use crate::enforcement::Enforcement;
use crate::operation::Inner;
use crate::steady;
use allegiance::{Allegiance, Verdict};
pub(crate) use board::{Board, Status};
use dial::Dial;
pub(crate) use dial::tuned;
use recent::Recent;
use reports::Reports;
use route::Route;
use session::Stopped;

/// Events that may wait for the link's thread.
const QUEUE: usize = 1024;
/// How long a shutdown waits for the last report to leave and the last policies to be written down.
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

/// Whom to talk to, as whom, and where to keep and tell what was heard.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) identity: Identity,
    pub(crate) servers: Vec<Endpoint>,
    pub(crate) writer: Option<Writer>,
    pub(crate) board: Arc<Board>,
}

/// A running link. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Link {
    board: Arc<Board>,
    disk: Option<Disk>,
    stop: Mutex<Option<oneshot::Sender<Farewell>>>,
}

/// The wish to end, answered when the last report has left and the disk has taken what it was
/// given; dropped unanswered if they cannot.
type Farewell = oneshot::Sender<()>;

impl Link {
    /// Starts the link's thread.
    pub(crate) fn start(
        upstream: Upstream,
        enforcement: Arc<Enforcement>,
        inbox: mpsc::Receiver<Event>,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (link, keeper, stopped) = Self::prepare(upstream, enforcement, inbox, dial::tcp());
        let body = move || runtime.block_on(keeper.keep(stopped));
        std::thread::Builder::new()
            .name("fusebox-link".into())
            .spawn(body)?;
        Ok(link)
    }

    /// A link, and what has to run for it.
    fn prepare(
        upstream: Upstream,
        enforcement: Arc<Enforcement>,
        inbox: mpsc::Receiver<Event>,
        dial: Dial,
    ) -> (Self, Keeper, oneshot::Receiver<Farewell>) {
        let (stop, stopped) = oneshot::channel();
        let link = Self {
            board: Arc::clone(&upstream.board),
            disk: upstream.writer.as_ref().map(Writer::disk),
            stop: Mutex::new(Some(stop)),
        };
        let urls = upstream
            .servers
            .iter()
            .map(|server| server.uri().to_string());
        let keeper = Keeper {
            route: Route::new(upstream.servers.len()),
            allegiance: Allegiance::new(urls),
            upstream,
            enforcement,
            inbox,
            dial,
            reports: Reports::default(),
            recent: Recent::default(),
        };
        (link, keeper, stopped)
    }

    pub(crate) fn status(&self) -> Status {
        Status {
            disk_problem: self.disk.as_ref().and_then(Disk::problem),
            ..self.board.status()
        }
    }

    /// Ends the link after a last report, and waits for a write that is under way.
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

/// What the link's thread owns.
struct Keeper {
    upstream: Upstream,
    enforcement: Arc<Enforcement>,
    inbox: mpsc::Receiver<Event>,
    dial: Dial,
    route: Route,
    allegiance: Allegiance,
    reports: Reports,
    recent: Recent,
}

impl Keeper {
    /// Keeps a session up until told to stop.
    async fn keep(mut self, mut stop: oneshot::Receiver<Farewell>) {
        let stopped = if self.upstream.servers.is_empty() {
            self.idle(&mut stop).await
        } else {
            self.keep_session(&mut stop).await
        };
        self.set_connected(false);
        self.upstream.board.disconnected(None);
        if let Some(writer) = &self.upstream.writer {
            // In vain if the disk hangs; whoever waits for the farewell waits no longer than this.
            let _ = tokio::time::timeout_at(stopped.deadline, writer.settled()).await;
        }
        stopped.answer();
    }

    async fn keep_session(&mut self, stop: &mut oneshot::Receiver<Farewell>) -> Stopped {
        loop {
            let at = self.route.at();
            let server = self.upstream.servers[at].clone();
            let turn = steady::caught_in(session::run(self, at, &server, stop)).await;
            let end = match turn {
                Ok(Err(stopped)) => return stopped,
                Ok(Ok(end)) => end,
                // The wish to end went down with it.
                Err(_) if stop.is_terminated() => return Stopped::by(None),
                Err(panic) => session::End {
                    ending: route::Ending::Failed,
                    reason: format!("the link panicked: {panic}"),
                },
            };
            self.note_end(&server, &end);
            let random = self.enforcement.context().jitter.next();
            let pause = self.route.leave(end.ending, random);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                farewell = &mut *stop => return Stopped::by(farewell.ok()),
            }
        }
    }

    /// Without a server there is nobody to tell.
    async fn idle(&mut self, stop: &mut oneshot::Receiver<Farewell>) -> Stopped {
        loop {
            tokio::select! {
                farewell = &mut *stop => return Stopped::by(farewell.ok()),
                event = self.inbox.recv() => if event.is_none() { return Stopped::by(None) },
            }
        }
    }

    /// The address has welcomed this process and shows that store.
    fn judge(&mut self, at: usize, shows: Incarnation) -> Verdict {
        let held = self.held();
        let verdict = self.allegiance.welcomed(at, shows, held, clock::now());
        self.note_disagreement(held);
        verdict
    }

    /// Told once as a disagreement begins, changes or ends.
    fn note_disagreement(&self, held: Option<Incarnation>) {
        let disagreement = self.allegiance.disagreement(held);
        if !self.upstream.board.disagreement(disagreement.clone()) {
            return;
        }
        match disagreement {
            Some(text) => tracing::error!(target: "fusebox", "{text}"),
            None => tracing::info!(target: "fusebox", "addresses agree again"),
        }
    }

    fn held(&self) -> Option<Incarnation> {
        self.enforcement.held().in_force.incarnation
    }

    fn note_end(&self, server: &Endpoint, end: &session::End) {
        let server = server.uri();
        self.set_connected(false);
        let problem = format!("{server}: {}", end.reason);
        self.upstream.board.disconnected(Some(problem));
        steady::tell(|| {
            if end.ending == route::Ending::Failed {
                tracing::debug!(target: "fusebox", %server, reason = %end.reason, "no session");
            } else {
                tracing::warn!(target: "fusebox", %server, reason = %end.reason, "session ended; calls go on");
            }
        });
    }

    fn set_connected(&self, connected: bool) {
        self.enforcement.context().metrics.connected(connected);
    }
}
