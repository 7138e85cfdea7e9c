//! What this process holds, and what its operations are made of it.
//!
//! One lock orders the two things that change rules: a snapshot that arrives and an operation that
//! registers. So no operation can slip between a snapshot's arrival and its application. No call
//! ever takes that lock: it loads its operation's plan, which is replaced whole.
//!
//! Whoever listens is told while that lock is free, and may look at everything. A second lock keeps
//! one snapshot behind the other meanwhile; nobody who listens has a way to take it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fusebox_core::guard::Plan;
use fusebox_core::guard::breaker::Changes;
use fusebox_core::key::{Kind, OperationName};
use fusebox_core::policy::overrides::BreakerTarget;
use fusebox_core::policy::rules::Rules;
use fusebox_core::policy::{Origin, Policy, Target, resolve};
use fusebox_core::revision::{Incarnation, Revision};
use fusebox_core::sync::{Applied, Ignored, Known, Received, Refusal, Replica};

use crate::clock;
use crate::forcing::{Armed, Forcing, Whoami};
use crate::health::PolicySource;
use crate::jitter::Jitter;
use crate::link::{Event, Events};
use crate::metrics::Metrics;
use crate::operation::{Definition, Inner, Operation};
use crate::steady;

/// Most operations one process may register. Beyond it, one shared operation guards the rest.
pub(crate) const MAX_OPERATIONS: usize = 10_000;

/// The name of the operation that stands in for those beyond [`MAX_OPERATIONS`].
const OVERFLOW: &str = "fusebox.overflow";

/// What every operation of an instance shares.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) events: Events,
    pub(crate) jitter: Jitter,
    pub(crate) metrics: Metrics,
}

#[derive(Debug)]
pub(crate) struct Enforcement {
    whoami: Whoami,
    context: Arc<Context>,
    /// Held from a snapshot's arrival until every operation follows it. Taken before `state`.
    order: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    replica: Replica,
    forcing: Forcing,
    source: PolicySource,
    operations: BTreeMap<OperationName, Arc<Inner>>,
    overflow: Option<Arc<Inner>>,
    beyond_bound: u64,
}

/// What [`Enforcement`] tells of its policies.
pub(crate) struct Held {
    pub(crate) source: PolicySource,
    /// To tell a server.
    pub(crate) known: Known,
    pub(crate) in_force: Known,
    pub(crate) policies: usize,
    pub(crate) refusals: Vec<Refusal>,
    pub(crate) overrides: Vec<Armed>,
    pub(crate) beyond_bound: u64,
}

impl Enforcement {
    /// Enforces what was held; `source` tells where it came from.
    pub(crate) fn new(
        whoami: Whoami,
        context: Context,
        held: Restored,
        source: PolicySource,
    ) -> Self {
        let Restored {
            replica,
            override_time_left,
        } = held;
        let mut forcing = Forcing::new(whoami.clone());
        forcing.restore(
            replica.held().incarnation,
            replica.overrides(),
            &override_time_left,
            clock::now(),
        );
        let state = State {
            replica,
            forcing,
            source,
            operations: BTreeMap::new(),
            overflow: None,
            beyond_bound: 0,
        };
        Self {
            whoami,
            context: Arc::new(context),
            order: Mutex::new(()),
            state: Mutex::new(state),
        }
    }

    /// The operation of that name, made if there is none yet.
    pub(crate) fn register(&self, definition: &Definition) -> Operation {
        let (inner, found, forced) = self.find_or_make(definition);
        found.tell(&inner, definition);
        inner.tell(&forced);
        Operation::new(inner)
    }

    fn find_or_make(&self, definition: &Definition) -> (Arc<Inner>, Found, Changes) {
        let mut state = self.lock();
        if let Some(known) = state.operations.get(&definition.id) {
            return (Arc::clone(known), Found::Known, Changes::NONE);
        }
        if state.operations.len() >= MAX_OPERATIONS {
            return self.overflow(&mut state, definition);
        }
        let inner = Arc::new(self.make(&state, definition));
        state
            .operations
            .insert(definition.id.clone(), Arc::clone(&inner));
        self.context
            .events
            .send(Event::Declared(Arc::clone(&inner)));
        let forced = inner.force(&state.forcing.of(&inner.id));
        (inner, Found::Made, forced)
    }

    /// Takes a snapshot over: every operation's next call follows it.
    pub(crate) fn receive(&self, received: Received) -> Result<Applied, Ignored> {
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let (applied, replaced, forced) = {
            let mut state = self.lock();
            let applied = state.replica.receive(received)?;
            state.source = PolicySource::Server;
            let replaced = if applied.changed {
                self.replaced(&state)
            } else {
                Vec::new()
            };
            (applied, replaced, state.force())
        };
        for (inner, plan) in replaced {
            inner.follow(plan);
        }
        tell(&forced);
        Ok(applied)
    }

    /// The server's clock shows that: overrides end by it.
    pub(crate) fn server_shows(&self, time: SystemTime) {
        let forced = {
            let mut state = self.lock();
            state.forcing.server_shows(time, clock::now());
            state.force()
        };
        tell(&forced);
    }

    /// Closes the breakers that `target` means here and forgets what they have counted; once by id.
    pub(crate) fn reset(&self, id: Revision, target: &BreakerTarget) {
        let meant = {
            let mut state = self.lock();
            let meant = state.forcing.is_reset(id, target);
            let all = state.operations.values().chain(&state.overflow);
            let meant = all.filter(|inner| meant && target.takes(&inner.id));
            meant.cloned().collect::<Vec<_>>()
        };
        for inner in meant {
            steady::tell(|| inner.reset());
        }
    }

    /// What is left of the time of each override.
    pub(crate) fn override_time_left(&self) -> BTreeMap<Revision, Duration> {
        self.lock().forcing.time_left(clock::now())
    }

    /// The server says that what is held is current.
    pub(crate) fn confirm(
        &self,
        incarnation: Incarnation,
        revision: Revision,
    ) -> Result<Applied, Ignored> {
        let mut state = self.lock();
        let applied = state.replica.confirm(incarnation, revision)?;
        state.source = PolicySource::Server;
        Ok(applied)
    }

    /// All operations, by name.
    pub(crate) fn operations(&self) -> Vec<Arc<Inner>> {
        let state = self.lock();
        state
            .operations
            .values()
            .chain(&state.overflow)
            .cloned()
            .collect()
    }

    pub(crate) fn held(&self) -> Held {
        let state = self.lock();
        Held {
            source: state.source,
            known: state.replica.known(),
            in_force: state.replica.held(),
            policies: state.replica.policies().count(),
            refusals: state.replica.refusals().cloned().collect(),
            overrides: state.forcing.in_force(clock::now()).cloned().collect(),
            beyond_bound: state.beyond_bound,
        }
    }

    /// The enforced versions of policies whose newest version was refused.
    pub(crate) fn stand_ins(&self) -> Vec<Policy> {
        self.lock().replica.stand_ins().cloned().collect()
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// The operations whose rules are others now, with their new plans.
    fn replaced(&self, state: &State) -> Vec<(Arc<Inner>, Plan)> {
        let all = state.operations.values().chain(&state.overflow);
        all.filter_map(|inner| {
            let before = &inner.plans.load().plan;
            let plan = self.plan(state, &inner.id, inner.kind, &inner.local, Some(before));
            (plan != *before).then(|| (Arc::clone(inner), plan))
        })
        .collect()
    }

    fn make(&self, state: &State, definition: &Definition) -> Inner {
        let Definition {
            id, kind, local, ..
        } = definition;
        let plan = self.plan(state, id, *kind, local, None);
        // Names live as long as the process, so that an error can carry one without allocating.
        // There are at most MAX_OPERATIONS of them.
        let name: &'static str = Box::leak(id.as_str().into());
        Inner::new(name, definition, plan, Arc::clone(&self.context))
    }

    fn plan(
        &self,
        state: &State,
        operation: &OperationName,
        kind: Kind,
        local: &Rules,
        previous: Option<&Plan>,
    ) -> Plan {
        let Whoami {
            service, labels, ..
        } = &self.whoami;
        let target = Target {
            service,
            operation,
            kind,
            labels,
        };
        let locals = local_layers(local);
        let resolution = resolve(&target, &locals, state.replica.policies());
        Plan::compile(&resolution.effective, previous)
    }

    /// Too many names: usually one with an id in it. They stay guarded, by one breaker for all.
    fn overflow(&self, state: &mut State, definition: &Definition) -> (Arc<Inner>, Found, Changes) {
        state.beyond_bound += 1;
        if let Some(overflow) = &state.overflow {
            return (Arc::clone(overflow), Found::Made, Changes::NONE);
        }
        let shared = Definition {
            id: OperationName::new(OVERFLOW).unwrap_or_else(|_| definition.id.clone()),
            kind: definition.kind,
            idempotent: false,
            local: Rules::default(),
        };
        let inner = Arc::new(self.make(state, &shared));
        state.overflow = Some(Arc::clone(&inner));
        self.context
            .events
            .send(Event::Declared(Arc::clone(&inner)));
        let forced = inner.force(&state.forcing.of(&inner.id));
        (inner, Found::FirstBeyondBound, forced)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding it; if something did, the state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Arms the overrides held, and has every operation follow them if that changes anything; what it
    /// changed is to be told.
    fn force(&mut self) -> Vec<(Arc<Inner>, Changes)> {
        let incarnation = self.replica.held().incarnation;
        let standing = self.replica.overrides();
        if !self.forcing.replace(incarnation, standing, clock::now()) {
            return Vec::new();
        }
        let all = self.operations.values().chain(&self.overflow);
        let forced = all.map(|inner| {
            let changes = inner.force(&self.forcing.of(&inner.id));
            (Arc::clone(inner), changes)
        });
        forced.collect()
    }
}

/// While no lock is held.
fn tell(forced: &[(Arc<Inner>, Changes)]) {
    for (inner, changes) in forced {
        inner.tell(changes);
    }
}

/// What a process held before it started.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    pub(crate) replica: Replica,
    /// What is left of the time of each override in it.
    pub(crate) override_time_left: BTreeMap<Revision, Duration>,
}

/// What this process sets by itself, lowest first: what it enforces is also what it declares.
pub(crate) fn local_layers(call_site: &Rules) -> [(Origin, Rules); 1] {
    [(Origin::CallSite, call_site.clone())]
}

/// How an operation was found, as far as anybody wants to be told.
enum Found {
    /// As it was asked for, or standing in for one more name.
    Made,
    /// Under that name already.
    Known,
    /// The first name that finds no room.
    FirstBeyondBound,
}

impl Found {
    /// Tells whoever listens, while no lock is held.
    fn tell(&self, inner: &Inner, definition: &Definition) {
        match self {
            Self::Made => {}
            Self::Known => warn_if_different(inner, definition),
            Self::FirstBeyondBound => tracing::error!(
                target: "fusebox",
                bound = MAX_OPERATIONS,
                operation = %definition.id,
                "too many operations: this and all further names share one breaker; \
                 is there an id in the name?"
            ),
        }
    }
}

fn warn_if_different(known: &Inner, definition: &Definition) {
    let same = known.kind == definition.kind
        && known.idempotent == definition.idempotent
        && known.local == definition.local;
    if !same {
        tracing::warn!(
            target: "fusebox",
            operation = known.name,
            "registered twice with different settings; the first registration holds"
        );
    }
}

#[cfg(test)]
mod tests;
