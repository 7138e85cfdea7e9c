//! Policies on their way to the processes that are to enforce them, and what those say in return.
//!
//! ```text
//!   Store --watch--> follower (one task) --> Hub: History, a crowd for each audience
//!                                             |  latest edition; encoded once, when first wanted
//!                                          pushing (one task): so many at once
//!              +------------------------------+------------------------------+
//!              v                              v                              v
//!           session  (one task a stream)   session                        session
//!           Standing: what to send         Watchdog: what is due          Outbox: never waits
//!              |  ^
//!              v  |  frames down, messages up
//!           rpc::sync
//! ```
//!
//! A write wakes only the sessions of audiences whose snapshot it changes. Each session has at most
//! one snapshot under way; of those that come meanwhile only the latest is sent.
//!
//! For whoever wires: [`Distribution::start`] spawns the follower, the pushing and the fleet's sweeping
//! on the current runtime. Cancel `stop` to end every session (each is sent Drain if it has room for it);
//! [`Distribution::ended`] resolves once all are over, which takes no peer's cooperation. Counters
//! are in [`Distribution::tally`].
//!
//! Invariants: nothing is sent that the store's watch did not tell of; no session waits for another,
//! nor for its own peer; every session that began tells the fleet when it is over, even by a panic.

mod bell;
mod convergence;
mod crowd;
mod end;
mod follower;
mod frame;
mod hub;
mod outbox;
mod precedence;
mod pushing;
mod reach;
mod request;
mod roll;
mod seats;
mod session;
mod standing;
mod tally;
mod watchdog;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::metrics::Histogram;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::fleet::{self, FleetWatch};
use crate::store::{ReadError, Store};

use bell::Bell;
pub(crate) use convergence::{Convergence, Progress, Quest, Share, State, Unawaited};
pub use convergence::{MAX_WAIT, MAX_WAITS};
pub(crate) use end::{End, Refused};
use hub::Hub;
pub(crate) use outbox::Outgoing;
use precedence::{Precedence, Write};
pub(crate) use request::Request;
use seats::Seats;
use session::Inbound;
pub use tally::DistributionTally;
use tally::Tally;

/// Streams, from their first byte to their last, of one server.
pub const MAX_SESSIONS: usize = 20_000;
/// Operations one session may declare.
pub const MAX_DECLARED: usize = 1000;
/// In how long the first message of a stream must come.
pub const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// For how long a process may leave a frame unread or a snapshot unacknowledged.
pub const DRAIN_WITHIN: Duration = Duration::from_secs(30);
/// Over how long the processes of a server that stops come back.
pub const DRAIN_SPREAD: Duration = Duration::from_secs(2);
/// For how long after a start processes that knew this server before may be on their way back: the
/// longest pause of an SDK before it tries again, and half of that for the way.
pub const RECONNECT_WINDOW: Duration = Duration::from_secs(15);

/// How often the two ends of a session speak, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between two reports of a process.
    pub report_interval: Duration,
    /// Between two messages of either side; after three without one it is taken for gone.
    pub heartbeat_interval: Duration,
    /// How long a session lasts at most; some a fifth less, so that they do not leave together.
    pub max_session_age: Duration,
}

/// How long a session waits for its process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) hello: Duration,
    pub(crate) drain: Duration,
    pub(crate) sessions: usize,
    pub(crate) reconnect: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            hello: HELLO_WITHIN,
            drain: DRAIN_WITHIN,
            sessions: MAX_SESSIONS,
            reconnect: RECONNECT_WINDOW,
        }
    }
}

/// Everything that sessions share.
pub struct Distribution {
    hub: Arc<Hub>,
    fleet: Arc<FleetWatch>,
    seats: Seats,
    places: Arc<Semaphore>,
    tally: Arc<Tally>,
    precedence: Arc<Precedence>,
    /// From a write to its acknowledgement by one process, in seconds; once somebody measures.
    propagation: OnceLock<Histogram<f64>>,
    pace: Pace,
    patience: Patience,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Distribution {
    /// Follows `store` from now on, until `stop`. Must be called on a tokio runtime.
    pub fn start(
        store: Arc<dyn Store>,
        pace: Pace,
        fleet: Arc<FleetWatch>,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, ReadError> {
        Self::start_with(store, pace, Patience::default(), fleet, stop)
    }

    #[expect(clippy::needless_pass_by_value, reason = "the contract of `start`")]
    pub(crate) fn start_with(
        store: Arc<dyn Store>,
        pace: Pace,
        patience: Patience,
        fleet: Arc<FleetWatch>,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, ReadError> {
        let mut watch = store.watch()?;
        let policies = std::mem::take(&mut watch.policies);
        let overrides = std::mem::take(&mut watch.overrides);
        let (incarnation, adopted) = (store.incarnation(), store.adopted());
        let hub = Hub::new(incarnation, adopted, watch.revision, policies, overrides);
        let distribution = Arc::new(Self {
            hub: Arc::new(hub),
            fleet: Arc::clone(&fleet),
            seats: Seats::default(),
            places: Arc::new(Semaphore::new(patience.sessions)),
            tally: Arc::default(),
            precedence: Arc::default(),
            propagation: OnceLock::new(),
            pace,
            patience,
            // A child: a store that closes ends sessions, not the server.
            stop: stop.child_token(),
            tasks: TaskTracker::new(),
        });
        distribution.follow(store, watch);
        Ok(distribution)
    }

    fn follow(&self, store: Arc<dyn Store>, watch: crate::store::Watch) {
        let (hub, tally) = (Arc::clone(&self.hub), Arc::clone(&self.tally));
        let stop = self.stop.clone();
        self.tasks
            .spawn(follower::follow(store, watch, hub, tally, stop));
        let (hub, tally) = (Arc::clone(&self.hub), Arc::clone(&self.tally));
        self.tasks.spawn(pushing::push(
            hub,
            Arc::clone(&self.precedence),
            tally,
            self.stop.clone(),
        ));
        let (fleet, stop) = (Arc::clone(&self.fleet), self.stop.clone());
        self.tasks
            .spawn(async move { fleet::sweep(&fleet, &stop).await });
        // Says only that `ended` need not wait for tasks that nobody spawns any more.
        self.tasks.close();
    }

    /// Begins a session: `inbound` is what comes from `peer`, the answer what goes there.
    pub(crate) fn connect(
        self: &Arc<Self>,
        inbound: impl Inbound + 'static,
        peer: String,
    ) -> Result<Outgoing, Refused> {
        if self.stop.is_cancelled() {
            return Err(Refused::Stopping);
        }
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = Arc::new(place.map_err(|_| self.full())?);
        let bell: Arc<Bell> = Arc::default();
        let (outbox, outgoing) = outbox::outbox(place, Arc::clone(&bell));
        let session = session::run(Arc::clone(self), inbound, outbox, bell, peer);
        self.tasks.spawn(session);
        Ok(outgoing)
    }

    /// A write is being made until the answer is dropped; pushes give way to it.
    pub(crate) fn write(&self) -> Write {
        self.precedence.begin()
    }

    /// From now on it is measured how long writes take to the processes; once is enough.
    pub(crate) fn measure_propagation(&self, seconds: Histogram<f64>) {
        // Whoever came first goes on.
        let _ = self.propagation.set(seconds);
    }

    fn propagated(&self, within: Duration) {
        if let Some(seconds) = self.propagation.get() {
            seconds.record(within.as_secs_f64(), &[]);
        }
    }

    fn full(&self) -> Refused {
        self.tally.refused();
        Refused::Full
    }

    /// Resolves once, after `stop`, the follower and every session are over.
    pub async fn ended(&self) {
        self.tasks.wait().await;
    }

    /// Whether processes that knew this server before may still be on their way back to it.
    pub(crate) fn is_settling(&self) -> bool {
        Instant::now() < self.settled()
    }

    /// When whoever has not come back by then is not expected any more.
    fn settled(&self) -> Instant {
        self.hub.roll().origin() + self.patience.reconnect
    }

    /// Goes on with `work` until it is done; `None` if the server stops before that.
    pub(crate) async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.stop.run_until_cancelled(work).await
    }

    /// What sessions have been through.
    pub fn tally(&self) -> DistributionTally {
        self.tally.read()
    }
}

#[cfg(test)]
mod tests;
