//! One service of one tenant: its instances, its operations, and who has which.
//!
//! Services never meet, so each is an aggregate of its own; the [`Fleet`](super::Fleet) above only
//! finds the right one.
//!
//! Beyond the bound on operations a report's operation gets its account all the same, and what it adds
//! is added up under [`OVERFLOW`]: nothing that is counted is lost, only its name.
//!
//! Invariant: whoever has an account in an operation is in `instances`; every instance is in
//! `names` under its id and epoch.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::key::{Epoch, InstanceId, Kind, OperationName};
use crate::revision::Revision;
use crate::time::Instant;

use super::account::Account;
use super::directory::Directory;
use super::figures::{OperationFigures, ReportHead, Sheet};
use super::instance::Instance;
use super::log::{Log, TransitionRecord};
use super::operation::{Look, Operation, OperationNo, Reading};
use super::report::{
    InstanceFacts, InstanceKey, Ledger, RefusedPolicy, SessionId, TransitionReport, bounded,
};
use super::view::{Filter, InstanceView};
use super::{Limits, OperationKey};

/// The operation that stands for all of a service that found no room.
pub const OVERFLOW: &str = "fusebox.overflow";

/// An instance's number in this fleet: that of its first session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct InstanceNo(pub(super) u64);

pub(super) type Instances = HashMap<InstanceNo, Instance>;

#[derive(Default)]
pub(super) struct ServiceFleet {
    instances: Instances,
    names: BTreeMap<(InstanceId, Epoch), InstanceNo>,
    operations: Directory,
    /// The highest count that an operation of it was stirred with.
    stirred: u64,
}

/// A message's circumstances.
#[derive(Clone, Copy)]
pub(super) struct Visit {
    /// Whose message it is.
    pub(super) no: InstanceNo,
    /// How many operations the service may have by now.
    pub(super) max_operations: usize,
    /// How many accounts an instance may have.
    pub(super) max_accounts: usize,
    /// What operations are stirred with that a watcher has to look at.
    pub(super) stir: u64,
    /// When it came.
    pub(super) now: Instant,
}

/// What an instance says.
impl ServiceFleet {
    /// Gives an instance, new or known, to `session`; the answer is its number and the session it
    /// had.
    pub(super) fn connect(
        &mut self,
        session: SessionId,
        key: InstanceKey,
        facts: &InstanceFacts,
        (patience, now, stir): (Duration, Instant, u64),
    ) -> (InstanceNo, Option<SessionId>) {
        let name = (key.instance.clone(), key.epoch);
        let no = *self.names.entry(name).or_insert(InstanceNo(session.0));
        let instance = self
            .instances
            .entry(no)
            .or_insert_with(|| Instance::new(key, patience, now));
        let superseded = instance.connect(session, facts, now);
        self.stir_all_of(no, stir);
        (no, superseded)
    }

    pub(super) fn disconnect(&mut self, no: InstanceNo, stir: u64) {
        if let Some(instance) = self.instances.get_mut(&no) {
            instance.disconnect();
        }
        self.stir_all_of(no, stir);
    }

    /// The instance comes or goes: its operations show it.
    fn stir_all_of(&mut self, no: InstanceNo, stir: u64) {
        let accounts = self.instances.get(&no).map(|instance| &instance.accounts);
        for account in accounts.into_iter().flatten() {
            if let Some(operation) = self.operations.get_mut(account.operation) {
                operation.stirred = stir;
                self.stirred = stir;
            }
        }
    }

    /// The highest count that an operation of it was stirred with.
    pub(super) fn stirred(&self) -> u64 {
        self.stirred
    }

    pub(super) fn touch(&mut self, visit: Visit) {
        if let Some(instance) = self.instances.get_mut(&visit.no) {
            instance.touch(visit.now);
        }
    }

    pub(super) fn applied(
        &mut self,
        visit: Visit,
        revision: Revision,
        refused: Vec<RefusedPolicy>,
    ) -> Ledger {
        let instance = self.instances.get_mut(&visit.no);
        let over = instance.map_or(0, |instance| instance.note_applied(revision, refused));
        Ledger {
            over_refused_policies: over as u64,
            ..Ledger::default()
        }
    }

    /// How often an instance is asked to report from now on.
    pub(super) fn pace(&mut self, visit: Visit, interval: Duration) -> Ledger {
        if let Some(instance) = self.instances.get_mut(&visit.no) {
            instance.note_interval(interval);
        }
        Ledger::default()
    }

    pub(super) fn declare(&mut self, visit: Visit, name: &OperationName, kind: Kind) -> Ledger {
        let mut ledger = Ledger::default();
        let Some(instance) = self.instances.get_mut(&visit.no) else {
            return ledger;
        };
        let (operations, accounts) = (&mut self.operations, instance.accounts.len());
        let Ok(place) = place(operations, instance, visit, 0, name.as_str()) else {
            return Ledger::OVER_OPERATIONS;
        };
        let opened = instance.accounts.len() > accounts;
        if let Some(operation) = operations.get_mut(instance.accounts[place].operation) {
            if operation.is_overflow {
                ledger.overflowed += 1;
            } else if operation.kind != kind {
                operation.kind = kind;
                operation.stirred = visit.stir;
            }
            if opened || operation.stirred == visit.stir {
                self.stirred = visit.stir;
            }
        }
        ledger
    }

    pub(super) fn absorb<'a, L: Iterator<Item = (u32, u64)>>(
        &mut self,
        visit: Visit,
        head: ReportHead,
        report: impl Iterator<Item = Option<OperationFigures<'a, L>>>,
        sheet: &mut Sheet,
    ) -> Ledger {
        let mut ledger = Ledger::default();
        let Some(instance) = self.instances.get_mut(&visit.no) else {
            return ledger;
        };
        let reading = Reading {
            starts_at_zero: head.from_start || instance.new_operations_start_at_zero(),
            is_fresh: instance.is_fresh(head.span, visit.now),
            stir: visit.stir,
            now: visit.now,
        };
        let operations = &mut self.operations;
        let mut next = 0;
        for figures in report {
            let Some(mut figures) = figures else {
                ledger.impossible += 1;
                continue;
            };
            let latency = figures.latency.by_ref();
            if sheet
                .read(&figures.counts, &figures.breaker, latency)
                .is_err()
            {
                ledger.impossible += 1;
                continue;
            }
            match place(operations, instance, visit, next, figures.operation) {
                Err(NoPlace::Name) => ledger.impossible += 1,
                Err(NoPlace::Full) => ledger.over_operations += 1,
                Ok(place) => {
                    next = place + 1;
                    let account = &mut instance.accounts[place];
                    if let Some(operation) = operations.get_mut(account.operation) {
                        ledger.overflowed += u64::from(operation.is_overflow);
                        operation.absorb(account, &figures, sheet, reading, &mut ledger);
                        self.stirred = self.stirred.max(operation.stirred);
                    }
                }
            }
        }
        let complete = ledger.over_operations + ledger.impossible == 0;
        instance.note_report(complete, visit.now);
        ledger
    }

    pub(super) fn transit(
        &mut self,
        visit: Visit,
        transition: &TransitionReport,
        log: &mut Log,
    ) -> Ledger {
        let Some(instance) = self.instances.get_mut(&visit.no) else {
            return Ledger::default();
        };
        let operations = &mut self.operations;
        let Ok(place) = place(
            operations,
            instance,
            visit,
            0,
            transition.operation.as_str(),
        ) else {
            return Ledger::OVER_OPERATIONS;
        };
        let account = &mut instance.accounts[place];
        if !account.transit(transition, visit.now) {
            return Ledger::TRANSITION_REPEATED;
        }
        let record = Arc::new(record(log.next(), &instance.key, transition, visit.now));
        if let Some(operation) = operations.get_mut(account.operation) {
            operation.use_at(visit.now);
            operation.remember(Arc::clone(&record));
            operation.stirred = visit.stir;
        }
        log.push(record);
        self.stirred = visit.stir;
        Ledger::TRANSITION
    }
}

/// Why there is no account.
enum NoPlace {
    /// Of that name no operation can be.
    Name,
    /// The instance has as many as it may.
    Full,
}

/// The place of the instance's account of that name, opened if need be. `next` is where a report has
/// come to.
fn place(
    operations: &mut Directory,
    instance: &mut Instance,
    visit: Visit,
    next: usize,
    name: &str,
) -> Result<usize, NoPlace> {
    if let Some(place) = instance.expected(next, name) {
        return Ok(place);
    }
    let known = operations
        .find(name)
        .and_then(|no| operations.get(no)?.place_of(visit.no))
        // An account of that operation may be another's that found no room.
        .filter(|&place| instance.accounts[place].name.as_str() == name);
    if let Some(place) = known.or_else(|| instance.stray(name)) {
        return Ok(place);
    }
    let name = OperationName::new(name).map_err(|_| NoPlace::Name)?;
    let place = instance.accounts.len();
    if place >= visit.max_accounts {
        return Err(NoPlace::Full);
    }
    let has_room = operations.len() < visit.max_operations;
    let no = match operations.find(name.as_str()) {
        Some(no) => no,
        None if has_room => operations.open(&name),
        None => {
            instance.strays.insert(name.clone(), place);
            operations.open_overflow()
        }
    };
    instance.accounts.push(Account::new(name, no, visit.now));
    if let Some(operation) = operations.get_mut(no) {
        operation.use_at(visit.now);
        operation.admit(visit.no, place);
        operation.stirred = visit.stir;
    }
    Ok(place)
}

/// What is kept, and for how long.
impl ServiceFleet {
    pub(super) fn knows(&self, key: &InstanceKey) -> bool {
        self.names.contains_key(&(key.instance.clone(), key.epoch))
    }

    pub(super) fn instances_len(&self) -> usize {
        self.instances.len()
    }

    pub(super) fn operations_len(&self) -> usize {
        self.operations.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.instances.is_empty() && self.operations.is_empty()
    }

    /// Forgets instances that have been gone, and operations that have been idle, for too long.
    pub(super) fn sweep(&mut self, limits: &Limits, now: Instant) {
        let expired = |gone: Instant| now.since(gone) > limits.instance_retention;
        let instances = self.instances.iter();
        let lost = instances.filter(|(_, instance)| instance.gone_since().is_some_and(expired));
        let lost: Vec<_> = lost.map(|(&no, _)| no).collect();
        for no in lost {
            self.forget(no);
        }
        self.operations
            .retain(|operation| !operation.is_idle(limits.operation_retention, now));
    }

    /// The instance that has been gone the longest, with the time it left.
    pub(super) fn longest_gone(&self) -> Option<(Instant, InstanceNo)> {
        let instances = self.instances.iter();
        let gone = instances.filter_map(|(&no, instance)| Some((instance.gone_since()?, no)));
        gone.min_by_key(|&(since, _)| since)
    }

    pub(super) fn forget(&mut self, no: InstanceNo) {
        let Some(Instance { key, accounts, .. }) = self.instances.remove(&no) else {
            return;
        };
        self.names.remove(&(key.instance, key.epoch));
        for account in accounts {
            if let Some(operation) = self.operations.get_mut(account.operation) {
                operation.forget(no);
            }
        }
    }
}

/// What is answered.
impl ServiceFleet {
    /// Its operations that `filter` takes, by name.
    pub(super) fn operations<'a>(
        &'a self,
        filter: &'a Filter,
    ) -> impl Iterator<Item = (&'a OperationName, OperationNo, &'a Operation)> {
        let operations = self.operations.iter();
        operations.filter(|(name, ..)| filter.takes_operation(name))
    }

    pub(super) fn operation(&self, name: &OperationName) -> Option<&Operation> {
        self.operations.get(self.operations.find(name.as_str())?)
    }

    /// Looks at every account of every instance; by the number of the operation.
    pub(super) fn look(&self, now: Instant) -> Vec<Look> {
        let mut looks = vec![Look::default(); self.operations.numbers()];
        for instance in self.instances.values() {
            for account in &instance.accounts {
                if let Some(look) = looks.get_mut(account.operation.0) {
                    look.count(instance, account, now);
                }
            }
        }
        looks
    }

    pub(super) fn members(&self) -> &Instances {
        &self.instances
    }

    /// Every instance, sorted by id and epoch.
    pub(super) fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.names.values().filter_map(|no| self.instances.get(no))
    }

    pub(super) fn view_instance(&self, instance: &Instance, now: Instant) -> InstanceView {
        instance.view(instance.is_connected() && self.has_twin(instance), now)
    }

    /// Whether several processes are connected under its id.
    fn has_twin(&self, instance: &Instance) -> bool {
        let id = &instance.key.instance;
        let lives = (id.clone(), Epoch(0))..=(id.clone(), Epoch(u64::MAX));
        let lives = self.names.range(lives);
        let lives = lives.filter_map(|(_, no)| self.instances.get(no));
        lives.filter(|life| life.is_connected()).nth(1).is_some()
    }
}

/// A transition as it is remembered.
fn record(
    sequence: u64,
    of: &InstanceKey,
    transition: &TransitionReport,
    now: Instant,
) -> TransitionRecord {
    TransitionRecord {
        sequence,
        at: now - transition.age,
        operation: OperationKey {
            namespace: of.namespace.clone(),
            service: of.service.clone(),
            operation: transition.operation.clone(),
        },
        instance: of.instance.clone(),
        epoch: of.epoch,
        number: transition.number,
        from: transition.from,
        to: transition.to,
        cause: bounded(&transition.cause),
        by: transition.by,
    }
}
