//! Somebody who watches the fleet: everything once, then what changes.
//!
//! What breakers do and what comes and goes is looked at as soon as the fleet stirs, a moment later so
//! that what comes together is told together; figures move all the time and are looked at once in an
//! interval. An onlooker remembers what it was told of each operation as one number, so whatever is
//! asked for is compared and nothing is queued: between two looks everything that changed merges.
//!
//! The fleet's lock is held for a few operations at a time, never while anything is encoded.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use fusebox_core::outcome::{Outcome, Reason};
use fusebox_core::stats::{
    Filter, FreshTransitions, OperationKey, OperationView, TransitionRecord,
};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};

use super::FleetWatch;

/// How many may watch at once.
pub const MAX_ONLOOKERS: usize = 64;
/// How long what stirs is let come together.
const TOGETHER: Duration = Duration::from_millis(20);
/// Operations looked at under one hold of the lock, and told at once.
const AT_ONCE: usize = 128;
/// Transitions told at once; of more the latest.
const MAX_TRANSITIONS: usize = 1000;

/// No place is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_ONLOOKERS} watch the fleet, and no more are let in; try again later")]
pub(crate) struct Crowded;

/// What there is to tell.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// In place of what was told of them before.
    pub(crate) operations: Vec<OperationView>,
    /// No longer known.
    pub(crate) removed: Vec<OperationKey>,
    /// The oldest first.
    pub(crate) transitions: Vec<Arc<TransitionRecord>>,
    /// How many more there were.
    pub(crate) missed: u64,
    /// Everything has been told once.
    pub(crate) synced: bool,
}

/// One who watches.
pub(crate) struct Onlooker {
    fleet: Arc<FleetWatch>,
    filter: Filter,
    refresh: Duration,
    stirs: watch::Receiver<u64>,
    /// Stirs up to here have been looked at.
    seen: u64,
    /// Transitions up to here have been told.
    upto: u64,
    /// What was told last of each operation, as one number.
    told: HashMap<OperationKey, u64>,
    /// Still to be looked at.
    queue: VecDeque<OperationKey>,
    next_refresh: Instant,
    synced: bool,
    _place: OwnedSemaphorePermit,
}

impl FleetWatch {
    /// Lets somebody watch what `filter` takes; figures are looked at once in `refresh`.
    pub(crate) fn watch(
        self: &Arc<Self>,
        filter: Filter,
        refresh: Duration,
    ) -> Result<Onlooker, Crowded> {
        let place = Arc::clone(&self.onlookers).try_acquire_owned();
        let stirs = self.stirs.subscribe();
        let (upto, seen) = self.visit(|state, _| {
            let FreshTransitions { upto, .. } = state.fleet.transitions_since(&filter, 0, 0);
            (upto, state.fleet.stirs())
        });
        Ok(Onlooker {
            fleet: Arc::clone(self),
            filter,
            refresh,
            stirs,
            seen,
            upto,
            told: HashMap::new(),
            queue: VecDeque::new(),
            next_refresh: Instant::now(),
            synced: false,
            _place: place.map_err(|_| Crowded)?,
        })
    }
}

impl Onlooker {
    /// What there is to tell, once there is something. Nothing is lost by dropping this.
    pub(crate) async fn next(&mut self) -> Look {
        loop {
            let mut look = Look::default();
            if self.queue.is_empty() {
                self.rest().await;
                self.begin(&mut look);
            }
            self.go_on(&mut look);
            let first = !self.synced && self.queue.is_empty();
            self.synced |= first;
            look.synced = self.synced;
            let transitions = look.transitions.len() as u64 + look.missed;
            if first || transitions > 0 || !(look.operations.is_empty() && look.removed.is_empty())
            {
                return look;
            }
        }
    }

    /// Until something stirs, or figures are due.
    async fn rest(&mut self) {
        let seen = self.seen;
        let stirred = async {
            // The sender lives as long as the fleet, which is held here.
            self.stirs.wait_for(|&stirs| stirs > seen).await.ok();
        };
        tokio::select! {
            biased;
            () = sleep_until(self.next_refresh) => return,
            () = stirred => {}
        }
        let together = Instant::now() + TOGETHER;
        sleep_until(together.min(self.next_refresh)).await;
    }

    /// Finds out what is to be looked at.
    fn begin(&mut self, look: &mut Look) {
        let whole = Instant::now() >= self.next_refresh;
        let (seen, upto, filter) = (self.seen, self.upto, &self.filter);
        let (keys, stirs, fresh) = self.fleet.visit(|state, _| {
            let fleet = &state.fleet;
            let keys = if whole {
                fleet.operation_keys(filter)
            } else {
                fleet.stirred_since(filter, seen)
            };
            let fresh = fleet.transitions_since(filter, upto, MAX_TRANSITIONS);
            (keys, fleet.stirs(), fresh)
        });
        self.seen = stirs;
        self.upto = fresh.upto;
        look.transitions = fresh.transitions;
        look.missed = fresh.missed;
        if whole {
            self.next_refresh = Instant::now() + self.refresh;
            let known: HashSet<_> = keys.iter().collect();
            let removed = self.told.extract_if(|key, _| !known.contains(key));
            look.removed = removed.map(|(key, _)| key).collect();
            look.removed.sort_unstable();
        }
        self.queue = keys.into();
    }

    /// Looks at the next few.
    fn go_on(&mut self, look: &mut Look) {
        let next = self.queue.len().min(AT_ONCE);
        let keys: Vec<_> = self.queue.drain(..next).collect();
        let views = self.fleet.visit(|state, now| {
            let views = keys.iter().filter_map(|key| state.fleet.view(key, now));
            views.collect::<Vec<_>>()
        });
        for view in views {
            let face = fingerprint(&view);
            if self.told.insert(view.key.clone(), face) != Some(face) {
                look.operations.push(view);
            }
        }
    }
}

/// All that is told of an operation but its age, and the spans that rates speak of.
fn fingerprint(view: &OperationView) -> u64 {
    let mut hasher = DefaultHasher::new();
    (view.kind, view.instances).hash(&mut hasher);
    for rates in [
        &view.last_ten_seconds,
        &view.last_minute,
        &view.last_five_minutes,
    ] {
        rates.calls_per_second.to_bits().hash(&mut hasher);
        (rates.failure, rates.retry, rates.hedge).hash(&mut hasher);
        let refusals = rates.refusals_per_second.map(f64::to_bits);
        refusals.hash(&mut hasher);
    }
    (view.slow, view.latency_sample).hash(&mut hasher);
    (view.p50, view.p95, view.p99).hash(&mut hasher);
    let totals = &view.totals;
    let outcomes = Outcome::ALL.map(|outcome| totals.calls(outcome));
    let reasons = Reason::ALL.map(|reason| (totals.refusals(reason), totals.would_refuse(reason)));
    (outcomes, reasons, totals.retries(), totals.hedges()).hash(&mut hasher);
    hasher.finish()
}
