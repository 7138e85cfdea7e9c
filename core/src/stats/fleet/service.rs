//! One service of one tenant: its instances, its operations, and who has which.
//!
//! Services never meet, so each is an aggregate of its own; the [`Fleet`](super::Fleet) above only
//! finds the right one.
//!
//! Invariant: whoever has an account in an operation is in `instances`; every instance is in
//! `names` under its id and epoch.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::key::{Epoch, InstanceId, Kind, OperationName};
use crate::revision::Revision;
use crate::time::Instant;

use super::instance::Instance;
use super::log::{Log, TransitionRecord};
use super::operation::{Operation, Reading};
use super::report::{
    InstanceFacts, InstanceKey, Ledger, OperationReport, RefusedPolicy, Report, SessionId,
    TransitionReport, bounded,
};
use super::view::{Filter, InstanceView};
use super::{Limits, OperationKey};

/// An instance's number in this fleet: that of its first session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct InstanceNo(pub(super) u64);

pub(super) type Instances = HashMap<InstanceNo, Instance>;

#[derive(Default)]
pub(super) struct ServiceFleet {
    instances: Instances,
    names: BTreeMap<(InstanceId, Epoch), InstanceNo>,
    operations: BTreeMap<OperationName, Box<Operation>>,
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
        (now, stir): (Instant, u64),
    ) -> (InstanceNo, Option<SessionId>) {
        let name = (key.instance.clone(), key.epoch);
        let no = *self.names.entry(name).or_insert(InstanceNo(session.0));
        let instance = self
            .instances
            .entry(no)
            .or_insert_with(|| Instance::new(key, now));
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
        for operation in self.operations.values_mut() {
            if operation.has(no) {
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

    pub(super) fn declare(&mut self, visit: Visit, name: &OperationName, kind: Kind) -> Ledger {
        let Some((operation, instance)) = self.member(visit, name) else {
            return Ledger::OVER_OPERATIONS;
        };
        if operation.kind != kind || !operation.has(visit.no) {
            operation.kind = kind;
            operation.open_account(visit.no, instance, visit.now);
            operation.stirred = visit.stir;
            self.stirred = visit.stir;
        }
        Ledger::default()
    }

    pub(super) fn absorb(&mut self, visit: Visit, report: Report, limits: &Limits) -> Ledger {
        let mut ledger = Ledger::default();
        let Some(instance) = self.instances.get(&visit.no) else {
            return ledger;
        };
        let reading = Reading {
            starts_at_zero: report.from_start || instance.new_operations_start_at_zero(),
            is_fresh: instance.is_fresh(limits.stale_after, visit.now),
            stir: visit.stir,
            now: visit.now,
        };
        for operation in report.operations {
            ledger += self.absorb_operation(visit, operation, reading);
        }
        if let Some(instance) = self.instances.get_mut(&visit.no) {
            instance.note_report(ledger.over_operations == 0, visit.now);
        }
        ledger
    }

    fn absorb_operation(
        &mut self,
        visit: Visit,
        report: OperationReport,
        reading: Reading,
    ) -> Ledger {
        let Some((operation, instance)) = self.member(visit, &report.operation) else {
            return Ledger::OVER_OPERATIONS;
        };
        let ledger = operation.absorb(visit.no, instance, report, reading);
        let stirred = operation.stirred;
        self.stirred = self.stirred.max(stirred);
        ledger
    }

    pub(super) fn transit(
        &mut self,
        visit: Visit,
        transition: &TransitionReport,
        log: &mut Log,
    ) -> Ledger {
        let Some((operation, instance)) = self.member(visit, &transition.operation) else {
            return Ledger::OVER_OPERATIONS;
        };
        if !operation.transit(visit.no, instance, transition, visit.now) {
            return Ledger::TRANSITION_REPEATED;
        }
        let record = Arc::new(record(log.next(), &instance.key, transition, visit.now));
        operation.remember(Arc::clone(&record));
        operation.stirred = visit.stir;
        log.push(record);
        self.stirred = visit.stir;
        Ledger::TRANSITION
    }

    /// The operation, opened if there is room for it, and the instance that speaks of it.
    fn member(
        &mut self,
        visit: Visit,
        name: &OperationName,
    ) -> Option<(&mut Operation, &mut Instance)> {
        if !self.operations.contains_key(name) {
            if self.operations.len() >= visit.max_operations {
                return None;
            }
            self.operations.insert(name.clone(), Box::default());
        }
        Some((
            self.operations.get_mut(name)?,
            self.instances.get_mut(&visit.no)?,
        ))
    }
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
            .retain(|_, operation| !operation.is_idle(limits.operation_retention, now));
    }

    /// The instance that has been gone the longest, with the time it left.
    pub(super) fn longest_gone(&self) -> Option<(Instant, InstanceNo)> {
        let instances = self.instances.iter();
        let gone = instances.filter_map(|(&no, instance)| Some((instance.gone_since()?, no)));
        gone.min_by_key(|&(since, _)| since)
    }

    pub(super) fn forget(&mut self, no: InstanceNo) {
        let Some(Instance { key, .. }) = self.instances.remove(&no) else {
            return;
        };
        self.names.remove(&(key.instance, key.epoch));
        for operation in self.operations.values_mut() {
            operation.forget(no);
        }
    }
}

/// What is answered.
impl ServiceFleet {
    /// Its operations that `filter` takes, by name.
    pub(super) fn operations<'a>(
        &'a self,
        filter: &'a Filter,
    ) -> impl Iterator<Item = (&'a OperationName, &'a Operation)> {
        let operations = self.operations.iter();
        let operations = operations.map(|(name, operation)| (name, &**operation));
        operations.filter(|(name, _)| filter.takes_operation(name))
    }

    pub(super) fn operation(&self, name: &OperationName) -> Option<&Operation> {
        self.operations.get(name).map(|operation| &**operation)
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
