//! One scenario, played on a paused clock against an operation of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fusebox_core::guard::breaker::{Override, StateView};
use fusebox_core::guard::{Standing, Watch};
use fusebox_core::key::{Labels, OperationName, PolicyId, Service};
use fusebox_core::outcome::{Outcome, Reason, Transition};
use fusebox_core::policy::rules::{Jitter, Rules};
use fusebox_core::policy::selector::{Glob, Selector};
use fusebox_core::policy::{Draft, Policy};
use fusebox_core::revision::{Digest, Incarnation, Revision};
use fusebox_core::sync::{Entry, Received, Refusal, Replica};
use fusebox_core::time::Instant;
use tokio::sync::mpsc;

use super::amount::show;
use super::calls::{Call, LONGEST_CALL};
use super::log;
use super::rules::Said;
use super::script::{Asking, Calls, Expected, Found, Mistake, Scenario, Sight, Step, What};
use crate::clock;
use crate::enforcement::{Context, Enforcement};
use crate::health::PolicySource;
use crate::jitter::Jitter as Randomness;
use crate::link::{self, Event};
use crate::metrics::Metrics;
use crate::operation::{Definition, Inner, Operation};
use crate::scope::Scope;

/// Rounds of giving way after which everything has happened that is to happen at one moment.
const ROUNDS: usize = 64;
const OPERATION: &str = "dependency";

/// Plays `scenario` to its end, or to the first thing that is otherwise than it says.
pub(super) fn play(scenario: &Scenario) -> Result<(), Mistake> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing of the system");
    runtime.block_on(async {
        align().await;
        log::clear();
        let (said, steps) = match scenario.steps.split_first() {
            Some((first, rest)) if matches!(first.what, What::Rules(_)) => (first.rules(), rest),
            _ => (Said::default(), &scenario.steps[..]),
        };
        let line = scenario.steps.first().map_or(0, |step| step.line);
        let mut stage = Stage::new(&said).map_err(|what| Mistake { line, what })?;
        stage.steps(steps).await?;
        stage.end().await
    })
}

/// Every scenario begins with the hour, so that buckets and seconds begin where it does. In whole
/// milliseconds: those are what timers count in.
async fn align() {
    const HOUR: u64 = 3_600_000_000_000;
    let left = HOUR - clock::now().as_nanos() % HOUR;
    tokio::time::advance(Duration::from_millis(left.div_ceil(1_000_000))).await;
}

/// What a script acts on.
struct Stage {
    enforcement: Arc<Enforcement>,
    operation: Operation,
    /// Held, so that there is a queue towards a link.
    _inbox: mpsc::Receiver<Event>,
    policies: BTreeMap<PolicyId, (Revision, Rules)>,
    revision: Revision,
    /// By name, the newest last.
    overrides: Vec<(String, Override)>,
    scopes: BTreeMap<String, Scope>,
    calls: BTreeMap<String, Call>,
    events_read: usize,
    newest_override: u64,
    line: usize,
}

impl Stage {
    fn new(said: &Said) -> Result<Self, String> {
        legal(said)?;
        let (events, inbox) = link::queue();
        let context = Context {
            events,
            jitter: Randomness::seeded(7),
            metrics: Metrics::new(None),
        };
        let service = Service::new("caller").map_err(|problem| problem.to_string())?;
        let labels = Labels::default();
        let (replica, source) = (Replica::default(), PolicySource::Defaults);
        let enforcement = Enforcement::new(service, labels, context, replica, source);
        let definition = Definition {
            id: OperationName::new(OPERATION).map_err(|problem| problem.to_string())?,
            kind: said.kind,
            idempotent: said.idempotent.unwrap_or(true),
            local: plain(said.rules.clone()),
        };
        Ok(Self {
            operation: enforcement.register(&definition),
            enforcement: Arc::new(enforcement),
            _inbox: inbox,
            policies: BTreeMap::new(),
            revision: Revision::ZERO,
            overrides: Vec::new(),
            scopes: BTreeMap::new(),
            calls: BTreeMap::new(),
            events_read: 0,
            newest_override: 0,
            line: 0,
        })
    }

    async fn steps(&mut self, steps: &[Step]) -> Result<(), Mistake> {
        for step in steps {
            if let What::Repeat(times, steps) = &step.what {
                for _ in 0..*times {
                    Box::pin(self.steps(steps)).await?;
                }
                continue;
            }
            self.line = step.line;
            let line = step.line;
            let mistake = |what| Mistake { line, what };
            self.step(&step.what).await.map_err(mistake)?;
        }
        Ok(())
    }

    async fn step(&mut self, what: &What) -> Result<(), String> {
        match what {
            What::Rules(_) => return Err("expected `rules` before anything else".into()),
            What::Repeat(..) => {}
            What::Snapshot(policies) => self.receive(policies)?,
            What::Check(said, expected) => compare(expected, &checked(said))?,
            What::Pass(time) => tokio::time::sleep(*time).await,
            What::Call(calls, expected) => self.call(calls, expected).await?,
            What::Begin(names, asking) => self.begin(names, asking).await?,
            What::Finish(names, answer) => {
                for name in names {
                    if !self.named(name)?.dependency.tell(*answer) {
                        return Err(format!("no attempt of `{name}` waits to be told"));
                    }
                    // In their order.
                    settle().await;
                }
            }
            What::Drop(names) => {
                for name in names {
                    if !self.named(name)?.drop_it() {
                        return Err(format!("`{name}` has ended already"));
                    }
                }
            }
            What::Ended(names, expected) => {
                for name in names {
                    let call = self.named(name)?;
                    compare(expected, &call.found().await)
                        .map_err(|what| format!("{name}: {what}"))?;
                }
            }
            What::See(sight, expected) => self.look(*sight, expected)?,
            What::Force(name, forced, time) => {
                self.newest_override += 1;
                let until = time.map_or(Instant::NEVER, |time| clock::now() + time);
                let new = Override {
                    id: self.newest_override,
                    forced: *forced,
                    until,
                };
                self.overrides.push((name.clone(), new));
                self.force();
            }
            What::Release(name) => {
                let before = self.overrides.len();
                self.overrides.retain(|(known, _)| known != name);
                if self.overrides.len() == before {
                    return Err(format!("there is no override `{name}`"));
                }
                self.force();
            }
            What::Reset => self.operation.reset(),
            What::Scope(name, deadline, retries) => {
                let scope = Scope::new();
                let scope = deadline.map_or(scope.clone(), |time| scope.deadline(time));
                let scope = retries.map_or(scope.clone(), |most| scope.retries(most));
                self.scopes.insert(name.clone(), scope);
            }
        }
        settle().await;
        Ok(())
    }

    /// The policies named take the place of all there were.
    fn receive(&mut self, policies: &[(String, Said)]) -> Result<(), String> {
        self.revision = self.revision.next();
        let mut next = BTreeMap::new();
        let mut entries = Vec::new();
        for (name, said) in policies {
            let id = PolicyId::new("default", name).map_err(|problem| problem.to_string())?;
            let known = self.policies.get(&id);
            let same = known.filter(|(_, rules)| *rules == said.rules);
            let revision = same.map_or(self.revision, |(revision, _)| *revision);
            next.insert(id.clone(), (revision, said.rules.clone()));
            let policy = policy(&id, said).map_err(|(field, reason)| Refusal {
                policy: name.clone(),
                revision,
                field,
                reason,
            });
            entries.push(Entry {
                id,
                revision,
                policy,
            });
        }
        entries.sort_by(|a, b| a.id.cmp(&b.id));
        let digest = Digest::of(entries.iter().map(|entry| (&entry.id, entry.revision)));
        self.policies = next;
        let received = Received {
            incarnation: Incarnation(1),
            revision: self.revision,
            digest,
            entries,
        };
        let applied = self.enforcement.receive(received);
        applied.map(|_| ()).map_err(|ignored| ignored.to_string())
    }

    fn force(&self) {
        let inner = self.inner();
        let overrides: Vec<_> = self.overrides.iter().map(|(_, known)| *known).collect();
        let settings = inner.plans.load().plan.breaker;
        let now = clock::now();
        for change in inner.guard.breaker.force(&settings, &overrides, now).iter() {
            tell(inner, change);
        }
    }

    /// Makes calls and waits for them; the clock moves on as far as they take.
    async fn call(&mut self, calls: &Calls, expected: &Expected) -> Result<(), String> {
        let at_once = if calls.together { calls.times } else { 1 };
        for _ in 0..calls.times / at_once {
            let mut made = Vec::new();
            for _ in 0..at_once {
                made.push(self.make(&calls.asking)?);
            }
            for mut call in made {
                if tokio::time::timeout(LONGEST_CALL, call.wait()).await.is_err() {
                    return Err("the call does not end".into());
                }
                let found = call.found().await;
                compare(expected, &call.with_time(found, expected))?;
            }
            if self.calls.values().any(|call| !call.has_ended()) {
                settle().await;
            }
        }
        Ok(())
    }

    async fn begin(&mut self, names: &[String], asking: &Asking) -> Result<(), String> {
        for name in names {
            let call = self.make(asking)?;
            if self.calls.get(name).is_some_and(|known| !known.looked_at) {
                return Err(format!("nobody has looked at what became of the first `{name}`"));
            }
            self.calls.insert(name.clone(), call);
            // In their order.
            settle().await;
        }
        Ok(())
    }

    fn make(&self, asking: &Asking) -> Result<Call, String> {
        let scope = |name: &Option<String>| match name {
            None => Ok(None),
            Some(name) => match self.scopes.get(name) {
                None => Err(format!("there is no scope `{name}`")),
                Some(scope) => Ok(Some(scope.clone())),
            },
        };
        let (within, inside) = (scope(&asking.within)?, scope(&asking.inside)?);
        Ok(Call::begin(&self.operation, asking, within, inside))
    }

    fn named(&mut self, name: &str) -> Result<&mut Call, String> {
        let call = self.calls.get_mut(name);
        call.ok_or_else(|| format!("no call `{name}` has begun"))
    }

    fn look(&mut self, sight: Sight, expected: &Expected) -> Result<(), String> {
        let inner = self.inner();
        let found = match sight {
            Sight::State => state(&inner.state()),
            Sight::Shadow => {
                let plan = inner.plans.load().plan.shadow;
                let view = inner.guard.shadow.state_at(&plan, clock::now());
                view.map_or(Found::default().word("nothing"), |view| state(&view))
            }
            Sight::Event => {
                let told = log::told(self.events_read);
                self.events_read += 1;
                let told = told.unwrap_or_else(|| "no event".into());
                Found::default().word(told)
            }
            Sight::NoEvents => {
                let told = log::told(self.events_read);
                Found::default().word(told.unwrap_or_else(|| "no events".into()))
            }
            Sight::Counts => self.counts(),
            Sight::Inside => self.who(|call| call.dependency.under_way() > 0),
            Sight::Waiting => {
                self.who(|call| !call.has_ended() && call.dependency.under_way() == 0)
            }
            Sight::Attempts => self.calls.iter().fold(Found::default(), |found, (name, call)| {
                found.aside(name, call.dependency.made())
            }),
            Sight::Bulkhead => {
                let (inside, queued) = inner.guard.bulkhead.occupancy();
                let found = Found::default().maybe("inside", Some(inside));
                found.maybe("queued", Some(queued))
            }
            Sight::Adaptive => match inner.plans.load().plan.concurrency {
                None => Found::default().word("nothing"),
                Some(bounds) => {
                    let (limit, inside) = inner.guard.adaptive.view(&bounds);
                    let found = Found::default().aside("limit", limit);
                    found.aside("inside", inside)
                }
            },
            Sight::Refused => {
                let refusals = self.enforcement.held().refusals;
                let each = refusals.iter();
                let found = each.fold(Found::default(), |found, refusal| {
                    found.maybe(&refusal.policy, Some(&refusal.field))
                });
                if refusals.is_empty() { found.word("nothing") } else { found }
            }
        };
        compare(expected, &found)
    }

    fn counts(&self) -> Found {
        let totals = self.inner().recorder.totals();
        let calls = Outcome::ALL.map(|outcome| (outcome.name().into(), totals.calls(outcome)));
        let refusals = Reason::ALL.map(|reason| (reason.name().into(), totals.refusals(reason)));
        let trials = Reason::ALL.map(|reason| {
            let key = format!("would_refuse.{}", reason.name());
            (key, totals.would_refuse(reason))
        });
        let others = [
            ("retries".into(), totals.retries()),
            ("hedges".into(), totals.hedges()),
        ];
        let all = calls.into_iter().chain(refusals).chain(trials).chain(others);
        let found = all.fold(Found::default(), |found, (key, count)| {
            found.maybe(&key, Some(count).filter(|&count| count > 0))
        });
        if totals.is_empty() { found.word("nothing") } else { found }
    }

    fn who(&self, is: impl Fn(&Call) -> bool) -> Found {
        let mut found = Found::default();
        let mut nobody = true;
        for (name, _) in self.calls.iter().filter(|(_, call)| is(call)) {
            found = found.word(name);
            nobody = false;
        }
        if nobody { found.word("nobody") } else { found }
    }

    fn inner(&self) -> &Inner {
        self.operation.inner()
    }

    /// What holds at the end of every scenario.
    async fn end(mut self) -> Result<(), Mistake> {
        let line = self.line;
        self.nothing_is_left().await.map_err(|what| Mistake { line, what })
    }

    async fn nothing_is_left(&mut self) -> Result<(), String> {
        for (name, call) in self.calls.iter_mut().filter(|(_, call)| !call.looked_at) {
            let expected = call.as_told();
            compare(&expected, &call.found().await)
                .map_err(|what| format!("at the end, {name}: {what}"))?;
        }
        for call in self.calls.values_mut() {
            if !call.has_ended() {
                return Err("a call is still under way at the end".into());
            }
        }
        if let Some(event) = log::told(self.events_read).filter(|_| self.events_read > 0) {
            return Err(format!("at the end, an event that nobody read: {event}"));
        }
        let none = Expected::of("inside=0 queued=0");
        self.look(Sight::Bulkhead, &none)
            .map_err(|what| format!("at the end, the bulkhead: {what}"))?;
        let adaptive = self.inner().plans.load().plan.concurrency.is_some();
        let none = Expected::of(if adaptive { "inside=0" } else { "nothing" });
        self.look(Sight::Adaptive, &none)
            .map_err(|what| format!("at the end, the adaptive limit: {what}"))
    }
}

impl Step {
    fn rules(&self) -> Said {
        match &self.what {
            What::Rules(said) => said.clone(),
            _ => Said::default(),
        }
    }
}

/// A call is one attempt, and what it waits is exact, where the script does not say otherwise.
fn plain(mut rules: Rules) -> Rules {
    rules.retry.max_attempts.get_or_insert(1);
    rules.retry.jitter.get_or_insert(Jitter::None);
    rules
}

/// Lets everything happen that is to happen at this moment.
async fn settle() {
    for _ in 0..ROUNDS {
        tokio::task::yield_now().await;
    }
}

fn tell(inner: &Inner, change: &Transition) {
    inner.changed(change, Standing::Enforced);
}

fn legal(said: &Said) -> Result<(), String> {
    let violations = said.violations.clone();
    violations.into_result(()).map_err(|found| found.to_string())
}

fn policy(id: &PolicyId, said: &Said) -> Result<Policy, (String, String)> {
    let first = |field: &str, reason: &str| (field.to_owned(), reason.to_owned());
    if let Some(violation) = said.violations.iter().next() {
        return Err(first(&violation.field, &violation.bound));
    }
    let everything = Glob::new("*").map_err(|problem| first("selector", &problem.to_string()))?;
    let selector = Selector::new(None, Some(everything), None, Labels::default());
    let selector = selector.map_err(|problem| first("selector", &problem.to_string()))?;
    let draft = Draft {
        id: id.clone(),
        owner: String::new(),
        description: String::new(),
        priority: 0,
        selector,
        rules: said.rules.clone(),
        clear: Vec::new(),
    };
    Policy::new(draft).map_err(|violations| first("rules", &violations.to_string()))
}

fn checked(said: &Said) -> Found {
    let found = Found::default();
    if said.violations.is_empty() {
        return found.word("valid");
    }
    let fields = said.violations.iter().map(|violation| &violation.field);
    fields.fold(found.word("invalid"), |found, field| found.word(field))
}

fn state(view: &StateView) -> Found {
    let percent = |share: u32| format!("{}%", share / 100);
    let found = Found::default().word(view.state.name());
    let found = match view.probe_due {
        true => found.word("probe_due"),
        false => found,
    };
    let found = found.maybe("ramp", view.ramp.map(percent));
    let forced = view.forced.map(|known| known.forced.as_state().name());
    let found = found.maybe("forced", forced);
    found.aside("for", show(clock::now().since(view.since)))
}

fn compare(expected: &Expected, found: &Found) -> Result<(), String> {
    if expected.meets(found) {
        return Ok(());
    }
    Err(format!("expected `{expected}`, found `{found}`"))
}
