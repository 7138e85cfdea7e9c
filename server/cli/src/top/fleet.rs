//! The fleet as the server tells it: its state, then what has changed since.
//!
//! Invariant: everything kept is bounded, and what found no room is counted.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use fusebox_proto::v1;

use crate::figures::duration;

/// Operations kept.
const OPERATIONS: usize = 20_000;
/// Transitions kept.
const TRANSITIONS: usize = 100;
/// Seconds of failures kept of each operation.
pub(super) const HISTORY: usize = 60;

/// What an operation goes by.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) namespace: String,
    pub(super) service: String,
    pub(super) operation: String,
}

impl Id {
    fn of(status: &v1::OperationStatus) -> Self {
        Self {
            namespace: status.namespace.clone(),
            service: status.service.clone(),
            operation: status.operation.clone(),
        }
    }

    /// Where it belongs, without the namespace.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.service, self.operation)
    }
}

/// An operation and when it was last told of.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) status: v1::OperationStatus,
    heard: Instant,
    /// Failure ratios, one a second, the latest last; none without calls.
    pub(super) failures: VecDeque<Option<f64>>,
    /// Told of since the watch began.
    confirmed: bool,
}

impl Known {
    /// Since the newest report that went into it.
    pub(super) fn age(&self, now: Instant) -> Duration {
        let waited = now.saturating_duration_since(self.heard);
        duration(self.status.age).saturating_add(waited)
    }
}

/// What comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    #[default]
    Worst,
    Name,
    Rate,
}

impl Order {
    pub(super) const fn next(self) -> Self {
        match self {
            Self::Worst => Self::Name,
            Self::Name => Self::Rate,
            Self::Rate => Self::Worst,
        }
    }

    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::Worst => "worst first",
            Self::Name => "by name",
            Self::Rate => "by calls/s",
        }
    }

    fn compare(self, one: &v1::OperationStatus, other: &v1::OperationStatus) -> Ordering {
        let calls = other.calls_per_second.total_cmp(&one.calls_per_second);
        match self {
            Self::Name => Ordering::Equal,
            Self::Rate => calls,
            Self::Worst => Reverse(impeded(one))
                .cmp(&Reverse(impeded(other)))
                .then(other.failure_ratio.total_cmp(&one.failure_ratio))
                .then(calls),
        }
    }
}

/// As the server counts it.
fn impeded(status: &v1::OperationStatus) -> u32 {
    status.instances.unwrap_or_default().impeded
}

/// All that is known.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    known: BTreeMap<Id, Known>,
    pub(super) coverage: Option<v1::Coverage>,
    pub(super) synced: bool,
    /// The newest first.
    pub(super) transitions: VecDeque<v1::TransitionRecord>,
    /// Transitions that the server did not tell.
    pub(super) missed: u64,
    /// The newest first; none as long as the server has not told.
    pub(super) overrides: Option<Vec<v1::OverrideStatus>>,
    /// Operations that found no room, each time they were told.
    pub(super) left_out: u64,
}

impl Fleet {
    /// A watch begins: what it does not tell of is gone by its end of the state.
    pub(super) fn begin(&mut self) {
        self.synced = false;
        self.known
            .values_mut()
            .for_each(|known| known.confirmed = false);
    }

    pub(super) fn absorb(&mut self, told: v1::WatchFleetResponse, now: Instant) {
        for gone in told.removed {
            let (namespace, service, operation) = (gone.namespace, gone.service, gone.operation);
            self.known.remove(&Id {
                namespace,
                service,
                operation,
            });
        }
        for status in told.operations {
            self.learn(status, now);
        }
        for transition in told.transitions {
            self.transitions.push_front(transition);
        }
        self.transitions.truncate(TRANSITIONS);
        self.missed = self.missed.saturating_add(told.transitions_missed);
        self.coverage = told.coverage.or(self.coverage);
        if told.synced && !self.synced {
            self.known.retain(|_, known| known.confirmed);
            self.synced = true;
        }
    }

    fn learn(&mut self, status: v1::OperationStatus, now: Instant) {
        let id = Id::of(&status);
        if let Some(known) = self.known.get_mut(&id) {
            (known.status, known.heard, known.confirmed) = (status, now, true);
        } else if self.known.len() < OPERATIONS {
            let known = Known {
                status,
                heard: now,
                failures: VecDeque::new(),
                confirmed: true,
            };
            self.known.insert(id, known);
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    /// Notes every operation's failures, once a second; nothing where nothing is heard.
    pub(super) fn note(&mut self, heard: bool) {
        for known in self.known.values_mut() {
            let status = &known.status;
            let ratio = (heard && status.ratio_sample > 0).then_some(status.failure_ratio);
            known.failures.push_back(ratio);
            if known.failures.len() > HISTORY {
                known.failures.pop_front();
            }
        }
    }

    pub(super) fn get(&self, id: &Id) -> Option<&Known> {
        self.known.get(id)
    }

    /// How many operations there are.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// The operations whose name contains `filter`, in order; those alike by name.
    pub(super) fn rows(&self, filter: &str, order: Order) -> Vec<(&Id, &Known)> {
        let shown = |id: &Id| filter.is_empty() || id.name().contains(filter);
        let mut rows: Vec<_> = self.known.iter().filter(|(id, _)| shown(id)).collect();
        rows.sort_by(|(_, one), (_, other)| order.compare(&one.status, &other.status));
        rows
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn status(
        operation: &str,
        [closed, open]: [u32; 2],
        failure_ratio: f64,
    ) -> v1::OperationStatus {
        v1::OperationStatus {
            namespace: "default".to_owned(),
            service: "checkout".to_owned(),
            operation: operation.to_owned(),
            instances: Some(v1::InstancesByState {
                closed,
                open,
                impeded: open,
                ..v1::InstancesByState::default()
            }),
            failure_ratio,
            calls_per_second: 10.0,
            ratio_sample: 100,
            ..v1::OperationStatus::default()
        }
    }

    pub(in super::super) fn told(operations: Vec<v1::OperationStatus>) -> v1::WatchFleetResponse {
        v1::WatchFleetResponse {
            operations,
            synced: true,
            ..v1::WatchFleetResponse::default()
        }
    }

    fn names(fleet: &Fleet, order: Order) -> Vec<&str> {
        let rows = fleet.rows("", order);
        rows.iter().map(|(id, _)| id.operation.as_str()).collect()
    }

    #[test]
    fn the_worst_is_where_most_instances_are_impeded_then_what_fails_most() {
        let mut fleet = Fleet::default();
        let mut forced = status("forced", [4, 0], 0.0);
        forced.instances.as_mut().unwrap().impeded = 4;
        let mut spared = status("spared", [0, 4], 0.0);
        spared.instances.as_mut().unwrap().impeded = 0;
        let all = vec![
            status("well", [4, 0], 0.0),
            status("half", [2, 2], 0.0),
            status("failing", [4, 0], 0.5),
            forced,
            spared,
        ];
        fleet.absorb(told(all), Instant::now());
        let worst = ["forced", "half", "failing", "spared", "well"];
        assert_eq!(names(&fleet, Order::Worst), worst);
        let by_name = ["failing", "forced", "half", "spared", "well"];
        assert_eq!(names(&fleet, Order::Name), by_name);
    }

    #[test]
    fn what_a_new_watch_does_not_tell_of_is_gone_once_it_has_told_everything() {
        let (mut fleet, now) = (Fleet::default(), Instant::now());
        let both = vec![status("a", [1, 0], 0.0), status("b", [1, 0], 0.0)];
        fleet.absorb(told(both), now);
        fleet.begin();
        let mut first = told(vec![status("b", [1, 0], 0.0)]);
        first.synced = false;
        fleet.absorb(first, now);
        assert_eq!(names(&fleet, Order::Name), ["a", "b"]);
        fleet.absorb(told(Vec::new()), now);
        assert_eq!(names(&fleet, Order::Name), ["b"]);
    }

    #[test]
    fn an_operation_grows_old_while_nothing_is_told_of_it() {
        let (mut fleet, now) = (Fleet::default(), Instant::now());
        fleet.absorb(told(vec![status("a", [1, 0], 0.0)]), now);
        let rows = fleet.rows("", Order::Name);
        let later = now + Duration::from_secs(9);
        assert_eq!(rows[0].1.age(later), Duration::from_secs(9));
    }

    #[test]
    fn a_second_without_word_from_the_server_leaves_a_gap_in_the_failures() {
        let mut fleet = Fleet::default();
        fleet.absorb(told(vec![status("a", [1, 0], 0.5)]), Instant::now());
        fleet.note(true);
        fleet.note(false);
        let rows = fleet.rows("", Order::Name);
        assert_eq!(rows[0].1.failures, [Some(0.5), None]);
        (0..2 * HISTORY).for_each(|_| fleet.note(true));
        assert_eq!(fleet.rows("", Order::Name)[0].1.failures.len(), HISTORY);
    }

    #[test]
    fn what_is_removed_is_no_longer_shown() {
        let (mut fleet, now) = (Fleet::default(), Instant::now());
        fleet.absorb(told(vec![status("a", [1, 0], 0.0)]), now);
        let mut gone = told(Vec::new());
        gone.removed = vec![v1::OperationRef {
            namespace: "default".to_owned(),
            service: "checkout".to_owned(),
            operation: "a".to_owned(),
        }];
        fleet.absorb(gone, now);
        assert_eq!(fleet.len(), 0);
    }
}
