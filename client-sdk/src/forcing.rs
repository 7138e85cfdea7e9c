//! What operators have decided about this process's breakers, in this process's own time.
//!
//! An override says by the server's clock when it ends. How far that clock is from here the Welcome of
//! each session tells, and from then on this process's monotonic clock counts: so an override ends at
//! its time even if the server is gone by then. From the disk it has what it had left when it was
//! written down, less the file's age. Whatever tells of it again, it never ends later than it was
//! already to end here, and never lasts longer than it was given.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fusebox_core::guard::breaker::Override;
use fusebox_core::key::{InstanceId, Labels, Namespace, OperationName, Service};
use fusebox_core::policy::overrides::{BreakerOverride, BreakerTarget};
use fusebox_core::revision::{Incarnation, Revision};
use fusebox_core::time::Instant;

/// Who this process is, as far as targets ask.
#[derive(Clone, Debug)]
pub(crate) struct Whoami {
    pub(crate) namespace: Namespace,
    pub(crate) service: Service,
    pub(crate) instance: InstanceId,
    /// Those that selectors find.
    pub(crate) labels: Labels,
}

impl Whoami {
    fn is_meant_by(&self, target: &BreakerTarget) -> bool {
        target.concerns(&self.namespace, self.service.as_str())
            && target.reaches(&self.instance, &self.labels)
    }
}

/// The overrides of this process's service, and the last reset.
///
/// Those that mean other processes are known, too: the file on the disk is for every process of the
/// service, so what this one writes there must say how long theirs hold.
#[derive(Debug)]
pub(crate) struct Forcing {
    whoami: Whoami,
    /// Whose ids they are.
    incarnation: Option<Incarnation>,
    armed: BTreeMap<Revision, Armed>,
    /// What the server's clock showed when.
    server: Option<(SystemTime, Instant)>,
    last_reset: Revision,
}

/// An override, and when it ends here.
#[derive(Clone, Debug)]
pub(crate) struct Armed {
    pub(crate) standing: Arc<BreakerOverride>,
    pub(crate) until: Instant,
}

impl Forcing {
    pub(crate) fn new(whoami: Whoami) -> Self {
        Self {
            whoami,
            incarnation: None,
            armed: BTreeMap::new(),
            server: None,
            last_reset: Revision::ZERO,
        }
    }

    /// The server's clock shows that.
    pub(crate) fn server_shows(&mut self, time: SystemTime, now: Instant) {
        self.server = Some((time, now));
    }

    /// Puts `standing` in the place of what held; whether anything is another thing now.
    pub(crate) fn replace<'a>(
        &mut self,
        incarnation: Option<Incarnation>,
        standing: impl IntoIterator<Item = &'a Arc<BreakerOverride>>,
        now: Instant,
    ) -> bool {
        let left = |server: Option<(SystemTime, Instant)>, one: &BreakerOverride| match server {
            Some((shown, at)) => one.time_left(shown + now.since(at)),
            None => one.ttl,
        };
        let server = self.server;
        self.arm(incarnation, standing, now, |one| left(server, one))
    }

    /// The same for what was on the disk, each with what is left of its time.
    pub(crate) fn restore<'a>(
        &mut self,
        incarnation: Option<Incarnation>,
        standing: impl IntoIterator<Item = &'a Arc<BreakerOverride>>,
        left: &BTreeMap<Revision, Duration>,
        now: Instant,
    ) {
        self.arm(incarnation, standing, now, |one| {
            left.get(&one.id).copied().unwrap_or_default().min(one.ttl)
        });
    }

    fn arm<'a>(
        &mut self,
        incarnation: Option<Incarnation>,
        standing: impl IntoIterator<Item = &'a Arc<BreakerOverride>>,
        now: Instant,
        left: impl Fn(&BreakerOverride) -> Duration,
    ) -> bool {
        if self.incarnation != incarnation {
            self.armed.clear();
            self.last_reset = Revision::ZERO;
            self.incarnation = incarnation;
        }
        let armed = standing.into_iter().map(|one| {
            let known = self.armed.get(&one.id).map(|known| known.until);
            let until = known.unwrap_or(Instant::NEVER).min(now + left(one));
            let standing = Arc::clone(one);
            (one.id, Armed { standing, until })
        });
        let armed: BTreeMap<_, _> = armed.collect();
        let ends = |armed: &BTreeMap<Revision, Armed>| {
            let ends = armed.iter().map(|(id, one)| (*id, one.until));
            ends.collect::<Vec<_>>()
        };
        let changed = ends(&armed) != ends(&self.armed);
        self.armed = armed;
        changed
    }

    /// Those that mean this process and are not over at `now`, in the order of their ids.
    pub(crate) fn in_force(&self, now: Instant) -> impl Iterator<Item = &Armed> {
        self.mine().filter(move |one| now < one.until)
    }

    /// Those that decide for an operation, or did.
    pub(crate) fn of(&self, operation: &OperationName) -> Vec<Override> {
        let mine = self
            .mine()
            .filter(|one| one.standing.target.takes(operation));
        let as_known = |one: &Armed| Override {
            id: one.standing.id.0,
            forced: one.standing.forced,
            until: one.until,
        };
        mine.map(as_known).collect()
    }

    /// What is left of the time of each, whichever process it means.
    pub(crate) fn time_left(&self, now: Instant) -> BTreeMap<Revision, Duration> {
        let armed = self.armed.iter();
        armed.map(|(id, one)| (*id, one.until.since(now))).collect()
    }

    fn mine(&self) -> impl Iterator<Item = &Armed> {
        let armed = self.armed.values();
        armed.filter(|one| self.whoami.is_meant_by(&one.standing.target))
    }

    /// Whether a reset concerns this process, and is new to it.
    pub(crate) fn is_reset(&mut self, id: Revision, target: &BreakerTarget) -> bool {
        if id <= self.last_reset {
            return false;
        }
        self.last_reset = id;
        self.whoami.is_meant_by(target)
    }
}

#[cfg(test)]
mod tests;
