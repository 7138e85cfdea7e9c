//! What the guard's tests share: rules compiled as an operation's are, and a watcher that keeps
//! what it is told.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Wake, Waker};

use super::plan::Plan;
use super::watch::{Standing, Watch};
use crate::key::{Kind, Labels, OperationName, Service};
use crate::outcome::{Reason, Transition};
use crate::policy::rules::{Mode, Rules};
use crate::policy::{Effective, Origin, Target, resolve};

/// What `layers` (lowest first) come to over the defaults of [`Kind::Custom`].
pub(super) fn effective(layers: &[Rules]) -> Effective {
    let target = Target {
        service: &Service::new("s").unwrap(),
        operation: &OperationName::new("o").unwrap(),
        kind: Kind::Custom,
        labels: &Labels::default(),
    };
    let lay = |rules: &Rules| {
        assert!(rules.violations().is_empty(), "{:?}", rules.violations());
        (Origin::CallSite, rules.clone())
    };
    let layers: Vec<_> = layers.iter().map(lay).collect();
    resolve(&target, &layers, []).effective
}

pub(super) fn rules(change: impl FnOnce(&mut Rules)) -> Rules {
    let mut rules = Rules::default();
    change(&mut rules);
    rules
}

pub(super) fn plan(change: impl FnOnce(&mut Rules)) -> Plan {
    Plan::compile(&effective(&[rules(change)]), None)
}

/// What `change` sets, and beside it on trial what `trial` sets.
pub(super) fn shadowed(
    change: impl FnOnce(&mut Rules),
    trial: impl FnOnce(&mut Rules),
    previous: Option<&Plan>,
) -> Plan {
    let trial = rules(|rules| {
        rules.circuit_breaker.mode = Some(Mode::Shadow);
        rules.rate_limit.mode = Some(Mode::Shadow);
        rules.bulkhead.mode = Some(Mode::Shadow);
        rules.concurrency_limit.mode = Some(Mode::Shadow);
        trial(rules);
    });
    Plan::compile(&effective(&[rules(change), trial]), previous)
}

/// Keeps what it is told.
#[derive(Debug, Default)]
pub(super) struct Notes(Mutex<Told>);

#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) enforced: Vec<Transition>,
    pub(super) shadow: Vec<Transition>,
    pub(super) would_refuse: Vec<Reason>,
}

impl Notes {
    pub(super) fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap()
    }
}

impl Watch for Notes {
    fn changed(&self, transition: &Transition, standing: Standing) {
        let mut told = self.told();
        match standing {
            Standing::Enforced => told.enforced.push(*transition),
            Standing::Shadow => told.shadow.push(*transition),
        }
    }

    fn would_refuse(&self, reason: Reason) {
        self.told().would_refuse.push(reason);
    }
}

/// Wakers that write down who was woken, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Bells(Arc<Mutex<Vec<usize>>>);

struct Bell(usize, Bells);

impl Bells {
    /// The waker of `whom`.
    pub(super) fn of(&self, whom: usize) -> Waker {
        Waker::from(Arc::new(Bell(whom, self.clone())))
    }

    /// Who was woken since the last look.
    pub(super) fn rung(&self) -> Vec<usize> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.1.0.lock().unwrap().push(self.0);
    }
}
