//! Core's fleet, shared: one lock around it and one clock for everybody who speaks to it. What
//! processes say of their operations' rules stands beside it under a lock of its own, because
//! core's fleet counts and knows no rules; reports never wait for it.
//!
//! Every message of a session is one short visit under the lock. Views are made under it too and
//! grow with what they show; nobody may hold on to the lock across an await, which is why it never
//! leaves this file.
//!
//! For whoever wires: make one [`FleetWatch`] with the report interval that the sessions are given,
//! hand it to [`Distribution::start`](crate::distribution::Distribution::start), which also sweeps
//! it, and to [`rpc::routes`](crate::rpc::routes). Gauges read [`FleetWatch::summary`] (once
//! for all of them) or [`FleetWatch::sessions`], counters [`FleetWatch::ledger`].

mod declarations;
mod meaning;
mod onlooker;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as StdInstant, SystemTime};

use fusebox_core::key::OperationName;
use fusebox_core::revision::Revision;
use fusebox_core::stats::{
    Filter, Fleet, InstanceFacts, InstanceKey, InstancePage, InstanceQuery, InstanceView,
    InstancesOf, Ledger, Limits, OperationDetail, OperationFigures, OperationKey, OperationPage,
    OperationQuery, RefusedPolicy, Report, ReportHead, SessionId, StateCounts, TransitionPage,
    TransitionQuery, TransitionReport,
};
use fusebox_core::time::Instant;
use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use declarations::Declarations;
pub(crate) use declarations::Overfull;
pub use declarations::{Declaration, DeclaredOperation, MAX_KEPT, MAX_VARIANTS};
pub use onlooker::MAX_ONLOOKERS;
pub(crate) use onlooker::{Crowded, Look, Onlooker};

/// How often what is long gone is forgotten.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(30);
/// Report intervals without a word after which an instance is stale.
const STALE_AFTER_REPORTS: u32 = 3;

/// The aggregate of this server, for everybody in it.
pub struct FleetWatch {
    state: Mutex<State>,
    declarations: Mutex<Declarations>,
    /// Grows whenever onlookers have something to look at.
    stirs: watch::Sender<u64>,
    /// Places for onlookers.
    onlookers: Arc<Semaphore>,
    /// Core's origin of time.
    origin: StdInstant,
    /// The same by the calendar.
    born: SystemTime,
}

#[derive(Default)]
struct State {
    fleet: Fleet,
    sessions: usize,
}

/// A few figures for gauges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetSummary {
    /// Streams that have said Hello.
    pub sessions: usize,
    /// Operations known.
    pub operations: usize,
    /// Their breakers: one for each operation and connected instance.
    pub breakers: StateCounts,
}

impl FleetWatch {
    /// A fleet whose instances report every `report_interval`.
    pub fn new(report_interval: Duration) -> Self {
        let limits = Limits {
            stale_after: report_interval * STALE_AFTER_REPORTS,
            ..Limits::default()
        };
        let fleet = Fleet::new(limits);
        Self {
            state: Mutex::new(State { fleet, sessions: 0 }),
            declarations: Mutex::default(),
            stirs: watch::Sender::new(0),
            onlookers: Arc::new(Semaphore::new(MAX_ONLOOKERS)),
            origin: StdInstant::now(),
            born: SystemTime::now(),
        }
    }

    /// One visit under the lock. The clock is read inside, so that visits come in its order.
    fn visit<T>(&self, visit: impl FnOnce(&mut State, Instant) -> T) -> T {
        // A poisoned lock is taken all the same: a visit that panicked has at worst lost its own
        // message, and every figure is made up for by the next report.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::ORIGIN + self.origin.elapsed();
        let before = state.fleet.stirs();
        let result = visit(&mut state, now);
        let stirs = state.fleet.stirs();
        drop(state);
        if stirs != before {
            self.stirs.send_if_modified(|known| {
                let news = stirs > *known;
                *known = stirs.max(*known);
                news
            });
        }
        result
    }

    /// When that was, by the calendar as it was at this server's start: the same for the same moment,
    /// however the clock is set meanwhile.
    pub(crate) fn time_of(&self, at: Instant) -> SystemTime {
        self.born + at.since(Instant::ORIGIN)
    }

    /// Never taken together with the other lock.
    fn declarations(&self) -> MutexGuard<'_, Declarations> {
        // A poisoned lock is taken all the same: at worst one declaration is counted wrong until
        // its session ends.
        let declarations = self.declarations.lock();
        declarations.unwrap_or_else(PoisonError::into_inner)
    }
}

/// What sessions say.
impl FleetWatch {
    /// Opens a session.
    pub(crate) fn connect(&self, key: InstanceKey, facts: &InstanceFacts) -> SessionId {
        let session = self.visit(|state, now| {
            state.sessions += 1;
            state.fleet.connect(key.clone(), facts, now)
        });
        self.declarations().connect(session, key);
        session
    }

    /// Closes a session that was opened here; to be called once for each.
    pub(crate) fn disconnect(&self, session: SessionId) {
        self.visit(|state, now| {
            state.sessions = state.sessions.saturating_sub(1);
            state.fleet.disconnect(session, now);
        });
        self.declarations().disconnect(session);
    }

    /// Notes that a session is alive.
    pub(crate) fn touch(&self, session: SessionId) {
        self.visit(|state, now| state.fleet.touch(session, now));
    }

    /// Notes what an instance enforces, and what it refuses of that.
    pub(crate) fn applied(
        &self,
        session: SessionId,
        revision: Revision,
        refused: Vec<RefusedPolicy>,
    ) {
        self.visit(|state, now| state.fleet.applied(session, revision, refused, now));
    }

    /// Notes an operation and what its process says of it.
    pub(crate) fn declare(
        &self,
        session: SessionId,
        operation: &OperationName,
        declaration: Declaration,
    ) -> Result<(), Overfull> {
        let kind = declaration.kind;
        self.visit(|state, now| state.fleet.declare(session, operation, kind, now));
        self.declarations().declare(session, operation, declaration)
    }

    /// Adds a report up.
    pub(crate) fn absorb(&self, session: SessionId, report: &Report) -> Ledger {
        self.visit(|state, now| state.fleet.absorb(session, report, now))
    }

    /// The same for a report that is read while it is added up.
    pub(crate) fn absorb_figures<'a, L: Iterator<Item = (u32, u64)>>(
        &self,
        session: SessionId,
        head: ReportHead,
        operations: impl Iterator<Item = Option<OperationFigures<'a, L>>>,
    ) -> Ledger {
        self.visit(|state, now| state.fleet.absorb_figures(session, head, operations, now))
    }

    /// Takes a transition over.
    pub(crate) fn absorb_transition(&self, session: SessionId, transition: &TransitionReport) {
        self.visit(|state, now| state.fleet.absorb_transition(session, transition, now));
    }
}

/// What is asked.
impl FleetWatch {
    /// One page of operations.
    pub fn page_operations(&self, query: &OperationQuery<'_>) -> OperationPage {
        self.visit(|state, now| state.fleet.page_operations(query, now))
    }

    /// One operation with a page of its instances, and its transitions.
    pub fn operation(&self, key: &OperationKey, page: &InstancesOf<'_>) -> Option<OperationDetail> {
        self.visit(|state, now| state.fleet.view_operation(key, page, now))
    }

    /// One page of what breakers did of late.
    pub fn page_transitions(&self, query: &TransitionQuery<'_>) -> TransitionPage {
        self.visit(|state, _| state.fleet.page_transitions(query))
    }

    /// What most connected processes say of an operation; `None` if none declares it.
    pub fn declared(&self, key: &OperationKey) -> Option<DeclaredOperation> {
        self.declarations().of(key)
    }

    /// Every instance of the services that `filter` takes, by key.
    pub fn instances(&self, filter: &Filter) -> Vec<InstanceView> {
        self.visit(|state, now| state.fleet.view_instances(filter, now))
    }

    /// One page of instances, by key.
    pub fn page_instances(&self, query: &InstanceQuery<'_>) -> InstancePage {
        self.visit(|state, now| state.fleet.page_instances(query, now))
    }

    /// What became of all that was said.
    pub fn ledger(&self) -> Ledger {
        self.visit(|state, _| state.fleet.ledger())
    }

    /// Streams that have said Hello.
    pub fn sessions(&self) -> usize {
        self.visit(|state, _| state.sessions)
    }

    /// A few figures for gauges. Costs a look at every breaker.
    pub fn summary(&self) -> FleetSummary {
        self.visit(|state, now| {
            let (operations, breakers) = state.fleet.breakers(now);
            FleetSummary {
                sessions: state.sessions,
                operations,
                breakers,
            }
        })
    }
}

/// Forgets what is long gone, until `stop`.
pub(crate) async fn sweep(fleet: &FleetWatch, stop: &CancellationToken) {
    let mut ticks = interval(SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let sweeps = async {
        loop {
            ticks.tick().await;
            fleet.visit(|state, now| state.fleet.sweep(now));
        }
    };
    stop.run_until_cancelled(sweeps).await;
}
