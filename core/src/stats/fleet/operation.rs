//! One operation over all instances of its service: what it counted, lately and in all.
//!
//! Totals grow by differences only and nothing is ever taken back from them, so they stay where
//! they are when an instance that contributed is forgotten. What is "lately" falls out of a ring
//! by itself. A difference is put where its report arrives, not spread over the time it covers: spread,
//! the seconds since each instance's last report would always be missing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::key::Kind;
use crate::outcome::BreakerCounts;
use crate::stats::{Histogram, Totals};
use crate::time::Instant;

use super::account::{Account, Standing, Step};
use super::instance::Instance;
use super::log::TransitionRecord;
use super::report::{Ledger, OperationReport, TransitionReport};
use super::ring::Ring;
use super::service::{InstanceNo, Instances};
use super::tally::Tally;
use super::view::{InstancePlace, OperationInstanceView, OperationView, Rates, Ratio, StateCounts};
use super::{Limits, OperationKey};

/// How many transitions of one operation are remembered.
pub const MAX_TRANSITIONS: usize = 64;

/// Ten seconds, and the one that has begun.
type Seconds = Ring<Tally, 11, 1000>;
/// Five minutes, and the span that has begun.
type Minutes = Ring<Tally, 61, 5000>;
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
    minutes: Minutes,
    latencies: Latencies,
    transitions: VecDeque<Arc<TransitionRecord>>,
    /// When a watcher was last given a reason to look: a count of the fleet's.
    pub(super) stirred: u64,
    /// When it was first heard of.
    since: Option<Instant>,
    /// When anything was last said of it.
    used: Instant,
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
        let opened = !self.accounts.contains_key(&no);
        let account = self.account(no, instance, reading.now);
        let before = account.face();
        let step = account.absorb(report, reading.starts_at_zero, reading.now);
        let stirs = opened || account.face() != before;
        let ledger = match step {
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
        };
        if stirs {
            self.stirred = reading.stir;
        }
        ledger
    }

    fn count_lately(&mut self, difference: &Totals, now: Instant) {
        let tally = Tally::of(difference);
        if let Some(slot) = self.seconds.slot(now) {
            slot.merge(&tally);
        }
        if let Some(slot) = self.minutes.slot(now) {
            slot.merge(&tally);
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
        self.account(no, instance, now).transit(transition, now)
    }

    /// Keeps a transition that was news.
    pub(super) fn remember(&mut self, record: Arc<TransitionRecord>) {
        if self.transitions.len() == MAX_TRANSITIONS {
            self.transitions.pop_front();
        }
        self.transitions.push_back(record);
    }

    /// Whether the instance has an account here.
    pub(super) fn has(&self, no: InstanceNo) -> bool {
        self.accounts.contains_key(&no)
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
        let look = self.look(instances, limits, now);
        OperationView {
            key,
            kind: self.kind,
            instances: look.counts,
            last_ten_seconds: self.ten_seconds(now),
            last_minute: self.spans_of_five(12, now),
            last_five_minutes: self.spans_of_five(60, now),
            slow: Ratio::of(look.slow, look.judged),
            latency_sample: minute.count(),
            p50: minute.quantile(5_000),
            p95: minute.quantile(9_500),
            p99: minute.quantile(9_900),
            totals: self.totals.clone(),
            age: look.newest,
        }
    }

    /// What decides its place among others.
    pub(super) fn standing(
        &self,
        instances: &Instances,
        limits: &Limits,
        now: Instant,
    ) -> (StateCounts, Rates) {
        let look = self.look(instances, limits, now);
        (look.counts, self.ten_seconds(now))
    }

    fn ten_seconds(&self, now: Instant) -> Rates {
        let span = self.known_within(Seconds::span(10, now), now);
        Tally::sum(self.seconds.last(10, now)).rates(span)
    }

    fn spans_of_five(&self, spans: u64, now: Instant) -> Rates {
        let span = self.known_within(Minutes::span(spans, now), now);
        Tally::sum(self.minutes.last(spans, now)).rates(span)
    }

    /// So long, or for as long as it has been known, but a second at least.
    fn known_within(&self, span: Duration, now: Instant) -> Duration {
        let known = self.since.map_or(Duration::ZERO, |since| now.since(since));
        span.min(known).max(LEAST_SPAN)
    }

    fn latency(&self, now: Instant) -> Histogram {
        let spans = self.latencies.last(LATENCY_SPANS as u64, now);
        spans.fold(Histogram::default(), |mut sum, span| {
            sum.merge(span);
            sum
        })
    }

    /// Looks at every instance.
    fn look(&self, instances: &Instances, limits: &Limits, now: Instant) -> Look {
        let mut look = Look::default();
        for (instance, account) in self.members(instances) {
            if !instance.is_connected() {
                look.counts.gone += 1;
                continue;
            }
            match account.standing(instance, limits.stale_after, now) {
                Some(standing) => look.count(&standing, account.breaker()),
                None => look.counts.stale += 1,
            }
            let age = account.age(instance, now);
            look.newest = [look.newest, age].into_iter().flatten().min();
        }
        look
    }

    fn members<'a>(
        &'a self,
        instances: &'a Instances,
    ) -> impl Iterator<Item = (&'a Instance, &'a Account)> {
        let found = |(no, account)| Some((instances.get(no)?, account));
        self.accounts.iter().filter_map(found)
    }

    /// A page of its instances, the worst first, with how many there are and whether others follow.
    pub(super) fn view_instances(
        &self,
        instances: &Instances,
        page: &InstancesOf<'_>,
        (limits, now): (&Limits, Instant),
    ) -> (Vec<OperationInstanceView>, bool) {
        let members = self.members(instances);
        let views =
            members.map(|(instance, account)| account.view(instance, limits.stale_after, now));
        let behind =
            |view: &OperationInstanceView| page.after.is_none_or(|after| view.place() > *after);
        let mut views: Vec<_> = views.filter(behind).collect();
        views.sort_by_cached_key(OperationInstanceView::place);
        let more = views.len() > page.limit;
        views.truncate(page.limit);
        (views, more)
    }

    pub(super) fn instances_len(&self) -> usize {
        self.accounts.len()
    }

    /// The latest, the newest first.
    pub(super) fn view_transitions(&self) -> Vec<Arc<TransitionRecord>> {
        self.transitions.iter().rev().cloned().collect()
    }
}

/// Which instances of an operation are wanted.
#[derive(Clone, Copy, Debug)]
pub struct InstancesOf<'a> {
    /// Only those behind this one.
    pub after: Option<&'a InstancePlace>,
    /// At most so many.
    pub limit: usize,
}

/// What a look at every instance shows.
#[derive(Default)]
struct Look {
    counts: StateCounts,
    /// Calls in windows that judge slowness, and the slow ones of them.
    judged: u64,
    slow: u64,
    newest: Option<Duration>,
}

impl Look {
    fn count(&mut self, standing: &Standing, breaker: BreakerCounts) {
        self.counts.count(standing);
        self.judged = self.judged.saturating_add(breaker.window_calls);
        self.slow = self.slow.saturating_add(breaker.window_slow);
    }
}

/// How a report is to be read.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    /// Whether a first word on an operation tells of its whole life.
    pub(super) starts_at_zero: bool,
    /// Whether what it adds counts in rates.
    pub(super) is_fresh: bool,
    /// What the operation is stirred with, if it is.
    pub(super) stir: u64,
    pub(super) now: Instant,
}
