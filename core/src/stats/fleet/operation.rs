//! One operation over all instances of its service: what it counted, lately and in all.
//!
//! Totals grow by differences only and nothing is ever taken back from them, so they stay where
//! they are when an instance that contributed is forgotten. What is "lately" falls out of a ring
//! by itself. A difference is put where its report arrives, not spread over the time it covers: spread,
//! the seconds since each instance's last report would always be missing.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::key::{Epoch, InstanceId, Kind};
use crate::outcome::CircuitState;
use crate::stats::{Histogram, Totals};
use crate::time::Instant;

use super::account::{Account, Step};
use super::instance::Instance;
use super::report::{Ledger, OperationReport, TransitionReport, bounded};
use super::ring::Ring;
use super::service::{InstanceNo, Instances};
use super::tally::Tally;
use super::view::{OperationInstanceView, OperationView, Rates, StateCounts, TransitionView};
use super::{Limits, OperationKey};

/// How many transitions of one operation are remembered.
pub const MAX_TRANSITIONS: usize = 64;

type Seconds = Ring<Tally, 60, 1000>;
/// A rate is never taken over less.
const LEAST_SPAN: Duration = Duration::from_secs(1);
type Latencies = Ring<Histogram, LATENCY_SPANS, 5000>;
/// A minute of latencies.
const LATENCY_SPANS: usize = 12;

#[derive(Default)]
pub(super) struct Operation {
    pub(super) kind: Kind,
    accounts: HashMap<InstanceNo, Account>,
    totals: Totals,
    seconds: Seconds,
    latencies: Latencies,
    transitions: VecDeque<Passed>,
    /// When it was first heard of.
    since: Option<Instant>,
    /// When anything was last said of it.
    used: Instant,
}

/// A transition that is remembered.
struct Passed {
    instance: InstanceId,
    epoch: Epoch,
    number: u64,
    from: CircuitState,
    to: CircuitState,
    cause: Box<str>,
    at: Instant,
}

impl Operation {
    /// Opens the instance's account if it has none.
    pub(super) fn open_account(&mut self, no: InstanceNo, instance: &mut Instance, now: Instant) {
        self.account(no, instance, now);
    }

    fn account(&mut self, no: InstanceNo, instance: &mut Instance, now: Instant) -> &mut Account {
        self.used = self.used.max(now);
        self.since.get_or_insert(now);
        self.accounts.entry(no).or_insert_with(|| {
            instance.operations += 1;
            Account::new(now)
        })
    }

    /// Takes over one operation's part of a report.
    pub(super) fn absorb(
        &mut self,
        no: InstanceNo,
        instance: &mut Instance,
        report: OperationReport,
        reading: Reading,
    ) -> Ledger {
        let account = self.account(no, instance, reading.now);
        match account.absorb(report, reading.starts_at_zero, reading.now) {
            Step::Baseline => Ledger::BASELINE,
            Step::Repeated => Ledger::REPEATED,
            Step::Backwards => Ledger::BACKWARDS,
            Step::Counted(difference) => {
                if reading.is_fresh {
                    account.count(&difference, reading.now);
                    self.count_lately(&difference, reading.now);
                }
                self.totals.merge(&difference);
                Ledger::COUNTED
            }
        }
    }

    fn count_lately(&mut self, difference: &Totals, now: Instant) {
        if let Some(slot) = self.seconds.slot(now) {
            slot.merge(&Tally::of(difference));
        }
        if let Some(slot) = self.latencies.slot(now) {
            slot.merge(difference.latency());
        }
    }

    /// Takes over a transition; whether it was news.
    pub(super) fn transit(
        &mut self,
        no: InstanceNo,
        instance: &mut Instance,
        transition: &TransitionReport,
        now: Instant,
    ) -> bool {
        let news = self.account(no, instance, now).transit(transition, now);
        if news {
            self.remember(instance, transition, now);
        }
        news
    }

    fn remember(&mut self, instance: &Instance, transition: &TransitionReport, now: Instant) {
        if self.transitions.len() == MAX_TRANSITIONS {
            self.transitions.pop_front();
        }
        self.transitions.push_back(Passed {
            instance: instance.key.instance.clone(),
            epoch: instance.key.epoch,
            number: transition.number,
            from: transition.from,
            to: transition.to,
            cause: bounded(&transition.cause),
            at: now - transition.age,
        });
    }

    pub(super) fn forget(&mut self, no: InstanceNo) {
        self.accounts.remove(&no);
    }

    /// Whether nobody remembered has it, nor anybody has spoken of it for `retention`.
    pub(super) fn is_idle(&self, retention: Duration, now: Instant) -> bool {
        self.accounts.is_empty() && now.since(self.used) > retention
    }

    pub(super) fn view(
        &self,
        key: OperationKey,
        instances: &Instances,
        limits: &Limits,
        now: Instant,
    ) -> OperationView {
        let minute = self.latency(now);
        let (counts, age) = self.states(instances, limits, now);
        OperationView {
            key,
            kind: self.kind,
            instances: counts,
            last_ten_seconds: self.rates(10, now),
            last_minute: self.rates(60, now),
            p50: minute.quantile(5_000),
            p95: minute.quantile(9_500),
            p99: minute.quantile(9_900),
            totals: self.totals.clone(),
            age,
        }
    }

    /// Over the last `seconds`, or for as long as it has been known, but a second at least.
    fn rates(&self, seconds: u64, now: Instant) -> Rates {
        let known = self.since.map_or(Duration::ZERO, |since| now.since(since));
        let span = Seconds::span(seconds, now).min(known.max(LEAST_SPAN));
        Tally::sum(self.seconds.last(seconds, now)).rates(span)
    }

    fn latency(&self, now: Instant) -> Histogram {
        let spans = self.latencies.last(LATENCY_SPANS as u64, now);
        spans.fold(Histogram::default(), |mut sum, span| {
            sum.merge(span);
            sum
        })
    }

    /// Connected instances by state, with the age of the newest word from any of them.
    fn states(
        &self,
        instances: &Instances,
        limits: &Limits,
        now: Instant,
    ) -> (StateCounts, Option<Duration>) {
        let mut counts = StateCounts::default();
        let mut newest = None;
        let connected = self
            .members(instances)
            .filter(|(instance, _)| instance.is_connected());
        for (instance, account) in connected {
            match account.live_state(instance, limits.stale_after, now) {
                Some(state) => counts.count(state),
                None => counts.stale += 1,
            }
            let age = account.age(instance, now);
            newest = [newest, age].into_iter().flatten().min();
        }
        (counts, newest)
    }

    fn members<'a>(
        &'a self,
        instances: &'a Instances,
    ) -> impl Iterator<Item = (&'a Instance, &'a Account)> {
        let found = |(no, account)| Some((instances.get(no)?, account));
        self.accounts.iter().filter_map(found)
    }

    pub(super) fn view_instances(
        &self,
        instances: &Instances,
        limits: &Limits,
        now: Instant,
    ) -> Vec<OperationInstanceView> {
        let members = self.members(instances);
        let views =
            members.map(|(instance, account)| account.view(instance, limits.stale_after, now));
        let mut views: Vec<_> = views.collect();
        views.sort_by(|a, b| (&a.instance, a.epoch).cmp(&(&b.instance, b.epoch)));
        views
    }

    pub(super) fn view_transitions(&self, now: Instant) -> Vec<TransitionView> {
        self.transitions
            .iter()
            .map(|passed| passed.view(now))
            .collect()
    }
}

impl Passed {
    fn view(&self, now: Instant) -> TransitionView {
        TransitionView {
            instance: self.instance.clone(),
            epoch: self.epoch,
            number: self.number,
            from: self.from,
            to: self.to,
            cause: self.cause.clone(),
            age: now.since(self.at),
        }
    }
}

/// How a report is to be read.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    /// Whether a first word on an operation tells of its whole life.
    pub(super) starts_at_zero: bool,
    /// Whether what it adds counts in rates.
    pub(super) is_fresh: bool,
    pub(super) now: Instant,
}
