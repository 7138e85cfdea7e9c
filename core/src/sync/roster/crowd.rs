//! The processes of one audience: how far each is, and how many are alike.
//!
//! Those that selectors cannot tell apart are one cohort, so that whom a policy reaches is found
//! without looking at anybody. How far each is stands by itself, in a row of integers; what else is
//! known of them is only looked at where it is needed.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use super::super::history::Snapshot;
use super::super::replica::Refusal;
use super::census::Cohorts;
use super::changes::Changes;
pub(super) use super::changes::Touch;
use super::pulse::Pulse;
use super::{Laggard, Member, Standing, Wanted};
use crate::key::{InstanceKey, Labels, SessionId};
use crate::revision::Revision;
use crate::time::Instant;

/// An audience's processes. `progress` and `occupants` have the same places.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    changes: Changes,
    progress: Vec<Progress>,
    occupants: Vec<Occupant>,
    cohorts: HashMap<Arc<Cohort>, usize>,
    /// Nobody tells of its changes any more.
    closed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Progress {
    acked: Option<Revision>,
    /// Whether it refuses anything at all.
    refuses: bool,
}

#[derive(Debug)]
struct Occupant {
    session: SessionId,
    key: InstanceKey,
    cohort: Arc<Cohort>,
    pulse: Arc<Pulse>,
    refusals: Vec<Refusal>,
}

/// What selectors and schema numbers tell apart.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Cohort {
    pub(super) labels: Labels,
    pub(super) schema: u32,
}

/// Where one process stands.
enum Stand {
    Applied,
    Pending,
    Refused,
}

/// Who is where.
impl Crowd {
    pub(super) fn open(&mut self, snapshot: &Snapshot) {
        self.changes = Changes::afresh(snapshot);
        self.closed = false;
    }

    pub(super) fn changed(&mut self, from: Revision, required: Revision) {
        self.changes.add(from, required);
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn is_over(&self) -> bool {
        self.closed && self.progress.is_empty()
    }

    /// Takes a place; which one.
    pub(super) fn join(&mut self, session: SessionId, member: Member, pulse: Arc<Pulse>) -> usize {
        let Member {
            key,
            labels,
            schema,
        } = member;
        let cohort = Cohort { labels, schema };
        let known = self.cohorts.get_key_value(&cohort);
        let cohort = known.map_or_else(|| Arc::new(cohort), |(known, _)| Arc::clone(known));
        *self.cohorts.entry(Arc::clone(&cohort)).or_default() += 1;
        self.progress.push(Progress {
            acked: None,
            refuses: false,
        });
        self.occupants.push(Occupant {
            session,
            key,
            cohort,
            pulse,
            refusals: Vec::new(),
        });
        self.progress.len() - 1
    }

    /// Gives up a place, into which the last one moves: whose it was, and who has moved.
    pub(super) fn leave(&mut self, at: usize) -> (InstanceKey, Option<SessionId>) {
        self.progress.swap_remove(at);
        let Occupant { key, cohort, .. } = self.occupants.swap_remove(at);
        if let Some(count) = self.cohorts.get_mut(&cohort) {
            *count -= 1;
            if *count == 0 {
                self.cohorts.remove(&cohort);
            }
        }
        (key, self.occupants.get(at).map(|moved| moved.session))
    }

    pub(super) fn acked(&mut self, at: usize, revision: Revision, refusals: Vec<Refusal>) {
        self.progress[at] = Progress {
            acked: Some(revision),
            refuses: !refusals.is_empty(),
        };
        self.occupants[at].refusals = refusals;
    }

    /// Up to which revision, at most `now`, it has everything.
    pub(super) fn through(&self, at: usize, now: Revision) -> Option<Revision> {
        let acked = self.progress[at].acked?;
        self.changes.through(acked, now)
    }
}

/// How far they are.
impl Crowd {
    /// What is to be acknowledged for `revision`; more than can be, while nothing is known.
    pub(super) fn touch(&self, revision: Revision) -> Touch {
        let unknown = Touch::unseen(Revision(u64::MAX));
        self.changes.touch(revision).unwrap_or(unknown)
    }

    pub(super) fn count(&self, standing: &mut Standing, touch: Touch, silent_before: Instant) {
        for (at, progress) in self.progress.iter().enumerate() {
            match self.stand(at, *progress, touch) {
                Stand::Applied => standing.applied += 1,
                Stand::Refused => standing.refused += 1,
                Stand::Pending => {
                    standing.pending += 1;
                    let silent = self.occupants[at].pulse.last() < silent_before;
                    standing.stale += usize::from(silent);
                }
            }
        }
    }

    pub(super) fn lacking(&self, touch: Touch) -> impl Iterator<Item = SessionId> {
        let progress = self.progress.iter().enumerate();
        let lacks = move |&(at, progress): &(usize, &Progress)| {
            !matches!(self.stand(at, *progress, touch), Stand::Applied)
        };
        progress
            .filter(lacks)
            .map(|(at, _)| self.occupants[at].session)
    }

    /// Adds the first of those that refuse and of those that are pending, by key, to those of
    /// audiences that come before, up to `limit` each.
    pub(super) fn first_lagging(
        &self,
        refusing: &mut Vec<Laggard>,
        pending: &mut Vec<Laggard>,
        touch: Touch,
        limit: usize,
    ) {
        let (mut refuse, mut wait) = (Vec::new(), Vec::new());
        for (at, progress) in self.progress.iter().enumerate() {
            match self.stand(at, *progress, touch) {
                Stand::Applied => {}
                Stand::Refused => refuse.push(at),
                Stand::Pending => wait.push(at),
            }
        }
        for (places, found) in [(refuse, refusing), (wait, pending)] {
            let room = limit - found.len();
            let first = self.first(places, room).into_iter();
            found.extend(first.map(|at| self.laggard(at, touch)));
        }
    }

    pub(super) fn wanted(&self, at: usize) -> Option<Wanted> {
        Some(Wanted {
            revision: self.changes.last().unwrap_or_default(),
            schema: self.occupants.get(at)?.cohort.schema,
        })
    }

    /// How many there are of each kind.
    pub(super) fn cohorts(&self) -> Cohorts {
        let cohorts = self.cohorts.iter();
        cohorts
            .map(|(cohort, &count)| (Arc::clone(cohort), count))
            .collect()
    }

    fn stand(&self, at: usize, progress: Progress, touch: Touch) -> Stand {
        if progress.acked.is_none_or(|acked| acked < touch.required) {
            return Stand::Pending;
        }
        let refusals = || &self.occupants[at].refusals;
        if progress.refuses && refusals().iter().any(|one| touch.says(one.revision)) {
            return Stand::Refused;
        }
        Stand::Applied
    }

    /// The `limit` places whose keys come first, in their order.
    fn first(&self, mut places: Vec<usize>, limit: usize) -> Vec<usize> {
        let by_key = |a: &usize, b: &usize| -> Ordering {
            self.occupants[*a].key.cmp(&self.occupants[*b].key)
        };
        if limit < places.len() {
            places.select_nth_unstable_by(limit, by_key);
            places.truncate(limit);
        }
        places.sort_unstable_by(by_key);
        places
    }

    fn laggard(&self, at: usize, touch: Touch) -> Laggard {
        let acked = self.progress[at].acked;
        let answered = acked.is_some_and(|acked| acked >= touch.required);
        let occupant = &self.occupants[at];
        let refusals = occupant.refusals.iter();
        let refused = refusals.filter(|one| answered && touch.says(one.revision));
        Laggard {
            key: occupant.key.clone(),
            acked,
            refusals: refused.cloned().collect(),
        }
    }
}
