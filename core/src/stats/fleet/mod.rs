//! What all processes together are doing: absolute totals in, views out.
//!
//! The fleet subtracts. A process reports what it has counted since it started; what the fleet
//! last heard of that process is taken off, and only the difference is added up. So a report may be
//! lost, repeated or overtaken: the next one makes up for it. What cannot be a later state of what
//! is known is counted in the [`Ledger`] and otherwise ignored. A process that has been counting
//! before this fleet first hears of it (another server's, before a failover) starts from a baseline:
//! what it did earlier is in nobody's rate.
//!
//! ```text
//!   Fleet ---- sessions: which instance a stream speaks for
//!     |
//!     +-- ServiceFleet (namespace, service)
//!           +-- Operation (name): totals, the last minute, transitions
//!           +-- Instance  (id, epoch): facts, revision applied, last seen
//!                 +-- Account, one for each operation: last totals, state, own ratio
//! ```
//!
//! Invariants: an operation's totals never go backwards while it is remembered; only the newest
//! session of an instance is listened to; nothing is unbounded, and each bound that is reached is
//! counted. The fleet holds what one server has heard; whoever asks several adds the answers up.

mod account;
mod directory;
mod figures;
mod instance;
mod log;
mod operation;
mod order;
mod report;
mod ring;
mod service;
mod spread;
mod tally;
mod view;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::key::{InstanceId, Kind, Labels, Namespace, OperationName, Service};
use crate::revision::Revision;
use crate::time::Instant;

use figures::Sheet;
pub use figures::{ImpossibleFigures, OperationFigures, ReportHead};
use log::Log;
pub use log::{FreshTransitions, MAX_LOGGED, TransitionPage, TransitionQuery, TransitionRecord};
use operation::Operation;
pub use operation::{InstancesOf, MAX_TRANSITIONS};
pub use order::{OperationPage, OperationPlace, OperationQuery, Order};
pub use report::{
    ForcedReport, InstanceFacts, InstanceKey, Ledger, MAX_TEXT, OperationKey, OperationReport,
    RefusedPolicy, Report, SessionId, TransitionReport,
};
pub use service::OVERFLOW;
use service::{InstanceNo, ServiceFleet, Visit};
pub use view::{
    Filter, InstancePage, InstancePlace, InstanceQuery, InstanceView, OperationDetail,
    OperationInstanceView, OperationView, Rates, Ratio, StateCounts,
};

/// How many refused policies are remembered for one instance.
pub const MAX_REFUSED_POLICIES: usize = 64;

/// How much the fleet remembers, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// An instance that has not reported for this long is stale. Three report intervals; one that was
    /// told another interval is taken at three of its own.
    pub stale_after: Duration,
    /// For how long a gone instance is remembered.
    pub instance_retention: Duration,
    /// For how long an operation is remembered that no remembered instance has; then its totals
    /// start again at zero.
    pub operation_retention: Duration,
    /// Instances, connected and gone.
    pub max_instances: usize,
    /// Operations of one service; what is told of others is added up under [`OVERFLOW`].
    pub max_operations_per_service: usize,
    /// Operations of one instance, whichever they are added up under; what is told of others is
    /// dropped.
    pub max_operations_per_instance: usize,
    /// Operations of all services.
    pub max_operations: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            stale_after: Duration::from_secs(15),
            instance_retention: Duration::from_secs(15 * 60),
            operation_retention: Duration::from_secs(60 * 60),
            max_instances: 20_000,
            max_operations_per_service: 1_000,
            max_operations_per_instance: 2_000,
            max_operations: 20_000,
        }
    }
}

/// The aggregate of one server.
#[derive(Default)]
pub struct Fleet {
    limits: Limits,
    services: BTreeMap<ServiceKey, ServiceFleet>,
    sessions: HashMap<SessionId, Seat>,
    last_session: u64,
    /// Operations of all services.
    operations: usize,
    ledger: Ledger,
    /// Counts what watchers have to look at.
    stirs: u64,
    tools: Tools,
}

/// What services share.
#[derive(Default)]
struct Tools {
    log: Log,
    sheet: Sheet,
}

/// What processes say.
impl Fleet {
    /// A fleet that has heard of nobody.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Opens a session. An older session of the same epoch is superseded: whatever it still says,
    /// its end included, is dropped. At the bound on instances the session is open all the same,
    /// but what it says is not tracked.
    pub fn connect(&mut self, key: InstanceKey, facts: &InstanceFacts, now: Instant) -> SessionId {
        self.last_session += 1;
        let session = SessionId(self.last_session);
        let seat = self.seat(session, key, facts, now);
        self.sessions.insert(session, seat);
        session
    }

    fn seat(
        &mut self,
        session: SessionId,
        key: InstanceKey,
        facts: &InstanceFacts,
        now: Instant,
    ) -> Seat {
        let service = ServiceKey::of(&key);
        let known = self
            .services
            .get(&service)
            .is_some_and(|fleet| fleet.knows(&key));
        if !known && !self.make_room() {
            self.ledger.over_instances += 1;
            return Seat::Untracked;
        }
        let fleet = self.services.entry(service.clone()).or_default();
        let (no, superseded) = fleet.connect(
            session,
            key,
            facts,
            (self.limits.stale_after, now, self.stirs + 1),
        );
        self.stirs = self.stirs.max(fleet.stirred());
        if let Some(superseded) = superseded {
            self.sessions.remove(&superseded);
        }
        Seat::Tracked(service, no)
    }

    /// Closes a session; its instance is gone, unless a newer session speaks for it.
    pub fn disconnect(&mut self, session: SessionId, now: Instant) {
        self.touch(session, now);
        if let Some(Seat::Tracked(service, no)) = self.sessions.remove(&session)
            && let Some(fleet) = self.services.get_mut(&service)
        {
            fleet.disconnect(no, self.stirs + 1);
            self.stirs = self.stirs.max(fleet.stirred());
        }
    }

    /// Notes that a session is alive: a heartbeat.
    pub fn touch(&mut self, session: SessionId, now: Instant) {
        self.visit(session, now, |_, _, _| Ledger::default());
    }

    /// Notes what an instance enforces, and what it refuses of that; replaces what was noted.
    pub fn applied(
        &mut self,
        session: SessionId,
        revision: Revision,
        refused: Vec<RefusedPolicy>,
        now: Instant,
    ) {
        self.visit(session, now, |fleet, visit, _| {
            fleet.applied(visit, revision, refused)
        });
    }

    /// Notes an operation and what it talks to. Without it an operation's kind is `Custom`.
    pub fn declare(
        &mut self,
        session: SessionId,
        operation: &OperationName,
        kind: Kind,
        now: Instant,
    ) {
        self.visit(session, now, |fleet, visit, _| {
            fleet.declare(visit, operation, kind)
        });
    }

    /// Adds a report up; the answer accounts for each of its operations.
    ///
    /// A session's first report must tell of every operation and must not be dropped: an operation
    /// that is missing there is taken to begin later.
    pub fn absorb(&mut self, session: SessionId, report: &Report, now: Instant) -> Ledger {
        let head = ReportHead {
            from_start: report.from_start,
            span: report.span,
        };
        let operations = report.operations.iter();
        let operations = operations.map(|operation| Some(operation.figures()));
        self.absorb_figures(session, head, operations, now)
    }

    /// The same for a report as it lies in a message; `None` stands for an operation that could not be
    /// read, and is counted as impossible.
    pub fn absorb_figures<'a, L: Iterator<Item = (u32, u64)>>(
        &mut self,
        session: SessionId,
        head: ReportHead,
        operations: impl Iterator<Item = Option<OperationFigures<'a, L>>>,
        now: Instant,
    ) -> Ledger {
        self.visit(session, now, |fleet, visit, tools| {
            fleet.absorb(visit, head, operations, &mut tools.sheet)
        })
    }

    /// Takes a transition over at once; the answer's `transitions` is 1 if it was news.
    pub fn absorb_transition(
        &mut self,
        session: SessionId,
        transition: &TransitionReport,
        now: Instant,
    ) -> Ledger {
        self.visit(session, now, |fleet, visit, tools| {
            fleet.transit(visit, transition, &mut tools.log)
        })
    }

    /// Notes that a session's process was told to report that often: it is stale after three times
    /// that. A shorter interval counts from its next report on.
    pub fn pace(&mut self, session: SessionId, interval: Duration, now: Instant) {
        self.visit(session, now, |fleet, visit, _| fleet.pace(visit, interval));
    }

    /// Leads a message to its service and accounts for it.
    fn visit(
        &mut self,
        session: SessionId,
        now: Instant,
        say: impl FnOnce(&mut ServiceFleet, Visit, &mut Tools) -> Ledger,
    ) -> Ledger {
        let ledger = match self.sessions.get(&session) {
            None => Ledger::LATE,
            Some(Seat::Untracked) => Ledger::UNTRACKED,
            // Present: a service is kept for as long as an instance of it is connected.
            Some(Seat::Tracked(service, no)) => match self.services.get_mut(service) {
                None => Ledger::LATE,
                Some(fleet) => {
                    let before = fleet.operations_len();
                    let free = self.limits.max_operations.saturating_sub(self.operations);
                    let visit = Visit {
                        no: *no,
                        max_operations: self.limits.max_operations_per_service.min(before + free),
                        max_accounts: self.limits.max_operations_per_instance,
                        stir: self.stirs + 1,
                        now,
                    };
                    fleet.touch(visit);
                    let ledger = say(fleet, visit, &mut self.tools);
                    self.stirs = self.stirs.max(fleet.stirred());
                    self.operations += fleet.operations_len() - before;
                    ledger
                }
            },
        };
        self.ledger += ledger;
        ledger
    }
}

/// What is kept, and for how long.
impl Fleet {
    /// Forgets instances that have been gone, and operations that have been idle, for longer than
    /// the limits say. To be called now and then; views are right without it.
    pub fn sweep(&mut self, now: Instant) {
        for fleet in self.services.values_mut() {
            fleet.sweep(&self.limits, now);
        }
        self.services.retain(|_, fleet| !fleet.is_empty());
        self.operations = self
            .services
            .values()
            .map(ServiceFleet::operations_len)
            .sum();
    }

    /// Makes room for one more instance; false if all that are remembered are connected.
    fn make_room(&mut self) -> bool {
        let instances: usize = self
            .services
            .values()
            .map(ServiceFleet::instances_len)
            .sum();
        instances < self.limits.max_instances || self.evict()
    }

    /// Forgets the instance that has been gone the longest.
    fn evict(&mut self) -> bool {
        let services = self.services.values_mut();
        let gone = services.filter_map(|fleet| Some((fleet.longest_gone()?, fleet)));
        let Some(((_, no), fleet)) = gone.min_by_key(|((since, _), _)| *since) else {
            return false;
        };
        fleet.forget(no);
        self.ledger.evicted += 1;
        true
    }

    /// What became of all that was said since this fleet was made.
    pub fn ledger(&self) -> Ledger {
        self.ledger
    }
}

/// What is answered.
impl Fleet {
    /// One page of operations. Only those on it are looked at in full.
    pub fn page_operations(&self, query: &OperationQuery<'_>, now: Instant) -> OperationPage {
        let order = query.order;
        let needs_look = query.looks_at_states() || order != Order::Name;
        let (mut total, mut places) = (0, Vec::new());
        for (service, fleet) in self.matching(query.filter) {
            let looks = if needs_look {
                fleet.look(now)
            } else {
                Vec::new()
            };
            for (name, no, operation) in fleet.operations(query.filter) {
                if query.kind.is_some_and(|kind| kind != operation.kind) {
                    continue;
                }
                let counts = looks.get(no.0).map(|look| look.counts).unwrap_or_default();
                if !query.takes_states(&counts) {
                    continue;
                }
                total += 1;
                let rates = if needs_look {
                    operation.ten_seconds(now)
                } else {
                    Rates::default()
                };
                let place = OperationPlace::new(order, service.operation(name), &counts, &rates);
                if query.after.is_none_or(|after| place > *after) {
                    places.push(place);
                }
            }
        }
        let more = places.len() > query.limit;
        if more && query.limit > 0 {
            places.select_nth_unstable(query.limit - 1);
        }
        places.truncate(query.limit);
        places.sort_unstable();
        let keys = places.iter().map(|place| &place.key);
        OperationPage {
            operations: keys.filter_map(|key| self.view(key, now)).collect(),
            more,
            total,
        }
    }

    /// The keys of all operations that `filter` takes, sorted.
    pub fn operation_keys(&self, filter: &Filter) -> Vec<OperationKey> {
        let keys = self.matching(filter).flat_map(|(service, fleet)| {
            let operations = fleet.operations(filter);
            operations.map(|(name, ..)| service.operation(name))
        });
        keys.collect()
    }

    /// Those of them that a watcher has to look at again: something has come or gone, or a breaker has
    /// changed its state, since [`stirs`](Self::stirs) was that.
    pub fn stirred_since(&self, filter: &Filter, stirs: u64) -> Vec<OperationKey> {
        let services = self.matching(filter);
        let services = services.filter(|(_, fleet)| fleet.stirred() > stirs);
        let stirred = services.flat_map(|(service, fleet)| {
            let operations = fleet.operations(filter);
            let stirred = operations.filter(|(_, _, operation)| operation.stirred > stirs);
            stirred.map(|(name, ..)| service.operation(name))
        });
        stirred.collect()
    }

    /// Grows whenever a watcher has something to look at.
    pub fn stirs(&self) -> u64 {
        self.stirs
    }

    /// One operation over all instances; `None` if nobody told of it.
    pub fn view(&self, key: &OperationKey, now: Instant) -> Option<OperationView> {
        let (fleet, operation) = self.find(key)?;
        Some(operation.view(key.clone(), fleet.members(), now))
    }

    /// One operation, with a page of its instances and its latest transitions; `None` if nobody told
    /// of it.
    pub fn view_operation(
        &self,
        key: &OperationKey,
        page: &InstancesOf<'_>,
        now: Instant,
    ) -> Option<OperationDetail> {
        let (fleet, operation) = self.find(key)?;
        let (instances, more) = operation.view_instances(fleet.members(), page, now);
        Some(OperationDetail {
            operation: operation.view(key.clone(), fleet.members(), now),
            instances,
            total: operation.instances_len(),
            more,
            transitions: operation.view_transitions(),
        })
    }

    /// How many operations there are, and what all their breakers do.
    pub fn breakers(&self, now: Instant) -> (usize, StateCounts) {
        let looks = self.services.values().flat_map(|fleet| fleet.look(now));
        let sum = looks.fold(StateCounts::default(), |mut sum, look| {
            sum += look.counts;
            sum
        });
        (self.operations, sum)
    }

    /// One page of what breakers did of late.
    pub fn page_transitions(&self, query: &TransitionQuery<'_>) -> TransitionPage {
        self.tools.log.page(query)
    }

    /// What breakers did behind that sequence, at most the latest `limit`.
    pub fn transitions_since(&self, filter: &Filter, after: u64, limit: usize) -> FreshTransitions {
        self.tools.log.since(filter, after, limit)
    }

    /// Every instance of the services that `filter` takes, sorted by key. Those that are gone are
    /// there until they are forgotten.
    pub fn view_instances(&self, filter: &Filter, now: Instant) -> Vec<InstanceView> {
        let fleets = self.matching(filter).map(|(_, fleet)| fleet);
        let views = |fleet: &ServiceFleet| {
            let instances = fleet.instances();
            let views = instances.map(|instance| fleet.view_instance(instance, now));
            views.collect::<Vec<_>>()
        };
        fleets.flat_map(views).collect()
    }

    /// How many instances that carry `labels` are connected; only that one, if `instance` names one.
    pub fn count_connected(
        &self,
        filter: &Filter,
        instance: Option<&InstanceId>,
        labels: &Labels,
    ) -> usize {
        let instances = self
            .matching(filter)
            .flat_map(|(_, fleet)| fleet.instances());
        let meant = instances.filter(|known| {
            known.is_connected()
                && instance.is_none_or(|id| known.key.instance == *id)
                && known.facts().carries(labels)
        });
        meant.count()
    }

    /// The names of the services that `filter` takes.
    pub fn service_names(&self, filter: &Filter) -> Vec<String> {
        let services = self.matching(filter);
        services.map(|(key, _)| key.service.to_string()).collect()
    }

    /// The ids of the connected instances of the services that `filter` takes.
    pub fn instance_ids(&self, filter: &Filter) -> Vec<String> {
        let instances = self
            .matching(filter)
            .flat_map(|(_, fleet)| fleet.instances());
        let connected = instances.filter(|known| known.is_connected());
        connected
            .map(|known| known.key.instance.to_string())
            .collect()
    }

    /// One page of instances, sorted by key; nobody is copied who is not on it.
    pub fn page_instances(&self, query: &InstanceQuery<'_>, now: Instant) -> InstancePage {
        let mut page = InstancePage::default();
        for (_, fleet) in self.matching(query.filter) {
            for instance in fleet.instances().filter(|instance| instance.is_in(query)) {
                page.total += 1;
                if query.after.is_some_and(|after| instance.key <= *after) {
                    continue;
                }
                page.more = page.instances.len() == query.limit;
                if !page.more {
                    page.instances.push(fleet.view_instance(instance, now));
                }
            }
        }
        page
    }

    fn find(&self, key: &OperationKey) -> Option<(&ServiceFleet, &Operation)> {
        let service = ServiceKey {
            namespace: key.namespace.clone(),
            service: key.service.clone(),
        };
        let fleet = self.services.get(&service)?;
        Some((fleet, fleet.operation(&key.operation)?))
    }

    fn matching<'a>(
        &'a self,
        filter: &'a Filter,
    ) -> impl Iterator<Item = (&'a ServiceKey, &'a ServiceFleet)> {
        let services = self.services.iter();
        services.filter(|(key, _)| filter.takes_service(&key.namespace, &key.service))
    }
}

/// Whom a session speaks for.
enum Seat {
    Tracked(ServiceKey, InstanceNo),
    /// There was no room for its instance.
    Untracked,
}

/// Services of different tenants never meet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ServiceKey {
    namespace: Namespace,
    service: Service,
}

impl ServiceKey {
    fn of(key: &InstanceKey) -> Self {
        Self {
            namespace: key.namespace.clone(),
            service: key.service.clone(),
        }
    }

    fn operation(&self, name: &OperationName) -> OperationKey {
        OperationKey {
            namespace: self.namespace.clone(),
            service: self.service.clone(),
            operation: name.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
