//! One operation over all instances of its service: what it counted, lately and in all.
//!
//! Totals grow by differences only and nothing is ever taken back from them, so they stay where
//! they are when an instance that contributed is forgotten. What is "lately" falls out of a ring
//! by itself. A difference is put where its report arrives, not spread over the time it covers: spread,
//! the seconds since each instance's last report would always be missing.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::key::Kind;
use crate::outcome::BreakerCounts;
use crate::stats::{Counts, Histogram, Totals};
use crate::time::Instant;

use super::OperationKey;
use super::account::{Account, Step};
use super::figures::{OperationFigures, Sheet};
use super::instance::Instance;
use super::log::TransitionRecord;
use super::report::Ledger;
use super::ring::Ring;
use super::service::{InstanceNo, Instances};
use super::spread::{Spread, Sum};
use super::tally::Tally;
use super::view::{InstancePlace, OperationInstanceView, OperationView, Rates, Ratio, StateCounts};

/// How many transitions of one operation are remembered.
pub const MAX_TRANSITIONS: usize = 64;

/// Ten seconds, and the one that has begun.
type Seconds = Ring<Tally, 11, 1000>;
/// Five minutes, and the span that has begun.
type Minutes = Ring<Tally, 61, 5000>;
/// A rate is never taken over less.
const LEAST_SPAN: Duration = Duration::from_secs(1);
type Latencies = Ring<Spread, LATENCY_SPANS, 5000>;
/// A minute of latencies.
const LATENCY_SPANS: usize = 12;

/// An operation's number within its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OperationNo(pub(super) usize);

#[derive(Default)]
pub(super) struct Operation {
    pub(super) kind: Kind,
    /// Whether it stands for all that found no room.
    pub(super) is_overflow: bool,
    /// Who has accounts here, and at which place among its own.
    members: BTreeSet<(InstanceNo, usize)>,
    counts: Counts,
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
    /// Notes that the instance has an account here.
    pub(super) fn admit(&mut self, no: InstanceNo, place: usize) {
        self.members.insert((no, place));
    }

    /// Notes that something is said of it.
    pub(super) fn use_at(&mut self, now: Instant) {
        self.used = self.used.max(now);
        self.since.get_or_insert(now);
    }

    /// Takes over one operation's part of a report, whose latencies are on the sheet.
    pub(super) fn absorb<L>(
        &mut self,
        account: &mut Account,
        figures: &OperationFigures<'_, L>,
        sheet: &mut Sheet,
        reading: Reading,
        ledger: &mut Ledger,
    ) {
        self.use_at(reading.now);
        let before = account.face();
        match account.absorb(figures, sheet, reading.starts_at_zero, reading.now) {
            Step::Baseline => ledger.baselines += 1,
            Step::Repeated => ledger.repeated += 1,
            Step::Backwards => ledger.backwards += 1,
            Step::Counted(difference) => {
                ledger.counted += 1;
                if reading.is_fresh {
                    account.count(&difference, reading.now);
                    self.count_lately(&difference, sheet, reading.now);
                }
                self.counts.merge(&difference);
            }
        }
        if account.face() != before {
            self.stirred = reading.stir;
        }
    }

    fn count_lately(&mut self, difference: &Counts, sheet: &Sheet, now: Instant) {
        let tally = Tally::of(difference);
        if let Some(slot) = self.seconds.slot(now) {
            slot.merge(&tally);
        }
        if let Some(slot) = self.minutes.slot(now) {
            slot.merge(&tally);
        }
        if let Some(slot) = self.latencies.slot(now) {
            slot.add(sheet.more());
        }
    }

    /// Keeps a transition that was news.
    pub(super) fn remember(&mut self, record: Arc<TransitionRecord>) {
        if self.transitions.len() == MAX_TRANSITIONS {
            self.transitions.pop_front();
        }
        self.transitions.push_back(record);
    }

    /// The place of the instance's account here, the first if it has several.
    pub(super) fn place_of(&self, no: InstanceNo) -> Option<usize> {
        let mut places = self.members.range((no, 0)..=(no, usize::MAX));
        places.next().map(|&(_, place)| place)
    }

    pub(super) fn forget(&mut self, no: InstanceNo) {
        let members = &mut self.members;
        while let Some(&member) = members.range((no, 0)..=(no, usize::MAX)).next() {
            members.remove(&member);
        }
    }

    /// Whether nobody remembered has it, nor anybody has spoken of it for `retention`.
    pub(super) fn is_idle(&self, retention: Duration, now: Instant) -> bool {
        self.members.is_empty() && now.since(self.used) > retention
    }

    pub(super) fn view(
        &self,
        key: OperationKey,
        instances: &Instances,
        now: Instant,
    ) -> OperationView {
        let minute = Sum::of(self.latencies.last(LATENCY_SPANS as u64, now));
        let look = self.look(instances, now);
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
            totals: Totals::unchecked(self.counts, Histogram::default()),
            age: look.newest,
        }
    }

    /// What it did over the last ten seconds.
    pub(super) fn ten_seconds(&self, now: Instant) -> Rates {
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

    /// Looks at every instance.
    pub(super) fn look(&self, instances: &Instances, now: Instant) -> Look {
        let mut look = Look::default();
        for (instance, account) in self.members(instances) {
            look.count(instance, account, now);
        }
        look
    }

    fn members<'a>(
        &'a self,
        instances: &'a Instances,
    ) -> impl Iterator<Item = (&'a Instance, &'a Account)> {
        let found = |&(no, place)| {
            let instance: &Instance = instances.get(&no)?;
            Some((instance, instance.accounts.get(place)?))
        };
        self.members.iter().filter_map(found)
    }

    /// A page of its instances, the worst first, with how many there are and whether others follow.
    /// Of an instance that has several accounts here the worst is shown.
    pub(super) fn view_instances(
        &self,
        instances: &Instances,
        page: &InstancesOf<'_>,
        now: Instant,
    ) -> (Vec<OperationInstanceView>, bool) {
        let members = self.members(instances);
        let mut views: Vec<_> = members
            .map(|(instance, account)| account.view(instance, now))
            .collect();
        views.sort_by_cached_key(OperationInstanceView::place);
        let mut shown = HashSet::new();
        views.retain(|view| shown.insert((view.instance.clone(), view.epoch)));
        views.retain(|view| page.after.is_none_or(|after| view.place() > *after));
        let more = views.len() > page.limit;
        views.truncate(page.limit);
        (views, more)
    }

    pub(super) fn instances_len(&self) -> usize {
        // Those of one instance stand together.
        let mut instances: Vec<_> = self.members.iter().map(|(no, _)| no).collect();
        instances.dedup();
        instances.len()
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
#[derive(Clone, Copy, Default)]
pub(super) struct Look {
    pub(super) counts: StateCounts,
    /// Calls in windows that judge slowness, and the slow ones of them.
    judged: u64,
    slow: u64,
    newest: Option<Duration>,
}

impl Look {
    pub(super) fn count(&mut self, instance: &Instance, account: &Account, now: Instant) {
        if !instance.is_connected() {
            self.counts.gone += 1;
            return;
        }
        match account.standing(instance, now) {
            None => self.counts.stale += 1,
            Some(standing) => {
                let BreakerCounts {
                    window_calls,
                    window_slow,
                    ..
                } = account.breaker();
                self.counts.count(&standing);
                self.judged = self.judged.saturating_add(window_calls);
                self.slow = self.slow.saturating_add(window_slow);
            }
        }
        let age = account.age(instance, now);
        self.newest = [self.newest, age].into_iter().flatten().min();
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
