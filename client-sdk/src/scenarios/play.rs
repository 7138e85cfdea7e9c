//! One scenario, played on a paused clock against an operation of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use fusebox_core::guard::breaker::Override;
use fusebox_core::guard::{Standing, Watch};
use fusebox_core::key::{InstanceId, Labels, Namespace, OperationName, Service};
use fusebox_core::outcome::Forced;
use fusebox_core::policy::rules::{Jitter, Rules};
use fusebox_core::time::Instant;
use tokio::sync::mpsc;

use super::calls::{Call, LONGEST_CALL};
use super::log;
use super::rules::Said;
use super::script::{Answer, Asking, Calls, Expected, Found, Mistake, Scenario, Sight, Step, What};
use super::server::Server;
use crate::clock;
use crate::enforcement::{Context, Enforcement, Restored};
use crate::forcing::Whoami;
use crate::health::PolicySource;
use crate::jitter;
use crate::link::{self, Event};
use crate::metrics::Metrics;
use crate::operation::{Definition, Inner, Operation};
use crate::scope::Scope;

/// Rounds of giving way after which everything has happened that is to happen at one moment.
const ROUNDS: usize = 64;

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
        let mut stage = Stage::new(scenario)?;
        stage.steps(&scenario.steps).await?;
        let line = stage.line;
        stage.end().await.map_err(|what| Mistake { line, what })
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
pub(super) struct Stage {
    pub(super) enforcement: Enforcement,
    operation: Operation,
    /// Held, so that there is a queue towards a link.
    _inbox: mpsc::Receiver<Event>,
    server: Server,
    /// By name, as they are sent; the higher id is the newer.
    overrides: Vec<(String, Override)>,
    newest_override: u64,
    scopes: BTreeMap<String, Scope>,
    pub(super) calls: BTreeMap<String, Call>,
    /// Events that the script has read.
    pub(super) events_read: usize,
    /// The step that is acted out.
    line: usize,
}

impl Stage {
    fn new(scenario: &Scenario) -> Result<Self, Mistake> {
        let (line, said) = scenario.rules();
        let said = said.legal().map_err(|what| Mistake { line, what })?;
        let (events, inbox) = link::queue();
        let context = Context {
            events,
            jitter: jitter::Jitter::seeded(7),
            metrics: Metrics::new(None),
        };
        let whoami = Whoami {
            namespace: Namespace::default_namespace(),
            service: Service::new("caller").expect("a legal name"),
            instance: InstanceId::new("caller-1").expect("a legal name"),
            labels: Labels::default(),
        };
        let (held, source) = (Restored::default(), PolicySource::Defaults);
        let enforcement = Enforcement::new(whoami, context, held, source);
        let definition = Definition {
            id: OperationName::new("dependency").expect("a legal name"),
            kind: said.kind,
            idempotent: said.idempotent.unwrap_or(true),
            local: plain(said.rules),
        };
        Ok(Self {
            operation: enforcement.register(&definition),
            enforcement,
            _inbox: inbox,
            server: Server::default(),
            overrides: Vec::new(),
            newest_override: 0,
            scopes: BTreeMap::new(),
            calls: BTreeMap::new(),
            events_read: 0,
            line,
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
            let line = step.line;
            self.line = line;
            let done = self.step(&step.what).await;
            done.map_err(|what| Mistake { line, what })?;
        }
        Ok(())
    }

    async fn step(&mut self, what: &What) -> Result<(), String> {
        match what {
            // Done before the first step, and with its steps.
            What::Rules(_) | What::Repeat(..) => {}
            What::Snapshot(policies) => {
                let received = self.enforcement.receive(self.server.snapshot(policies)?);
                received.map_err(|ignored| ignored.to_string())?;
            }
            What::Check(said, expected) => compare(expected, &said.judged())?,
            What::Pass(time) => tokio::time::sleep(*time).await,
            What::Call(calls, expected) => self.call(calls, expected).await?,
            What::Begin(names, asking) => self.begin(names, asking).await?,
            What::Finish(names, answer) => self.finish(names, *answer).await?,
            What::Drop(names) => {
                for name in names {
                    if !self.named(name)?.drop_it() {
                        return Err(format!("`{name}` has ended already"));
                    }
                }
            }
            What::Ended(names, expected) => {
                for name in names {
                    let found = self.named(name)?.found().await;
                    compare(expected, &found).map_err(|what| format!("{name}: {what}"))?;
                }
            }
            What::See(sight, expected) => self.look(*sight, expected)?,
            What::Force(name, forced, time) => self.force(name, *forced, *time),
            What::Release(name) => self.release(name)?,
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

    fn force(&mut self, name: &str, forced: Forced, time: Option<Duration>) {
        let known = self.overrides.iter().find(|(known, _)| known == name);
        let id = known.map_or(self.newest_override + 1, |(_, known)| known.id);
        let sent = Override {
            id,
            forced,
            until: time.map_or(Instant::NEVER, |time| clock::now() + time),
        };
        self.newest_override = self.newest_override.max(id);
        self.overrides.retain(|(known, _)| known != name);
        self.overrides.push((name.to_owned(), sent));
        self.enforce_overrides();
    }

    fn release(&mut self, name: &str) -> Result<(), String> {
        let before = self.overrides.len();
        self.overrides.retain(|(known, _)| known != name);
        if self.overrides.len() == before {
            return Err(format!("there is no override `{name}`"));
        }
        self.enforce_overrides();
        Ok(())
    }

    fn enforce_overrides(&self) {
        let inner = self.inner();
        let overrides: Vec<_> = self.overrides.iter().map(|(_, known)| *known).collect();
        let breaker = &inner.guard.breaker;
        for change in breaker.force(&overrides, clock::now()).iter() {
            inner.changed(change, Standing::Enforced);
        }
    }

    async fn finish(&mut self, names: &[String], answer: Answer) -> Result<(), String> {
        for name in names {
            if !self.named(name)?.dependency.tell(answer) {
                return Err(format!("no attempt of `{name}` waits to be told"));
            }
            // In their order.
            settle().await;
        }
        Ok(())
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
                if tokio::time::timeout(LONGEST_CALL, call.wait())
                    .await
                    .is_err()
                {
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
                return Err(format!(
                    "nobody has looked at what became of the first `{name}`"
                ));
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

    pub(super) fn inner(&self) -> &Inner {
        self.operation.inner()
    }

    /// What holds at the end of every scenario: nobody is left anywhere, and nothing is unread.
    async fn end(&mut self) -> Result<(), String> {
        for (name, call) in &mut self.calls {
            if !call.has_ended() {
                return Err(format!("at the end, `{name}` is still under way"));
            }
            if !call.looked_at {
                let (expected, found) = (call.as_told(), call.found().await);
                compare(&expected, &found).map_err(|what| format!("at the end, {name}: {what}"))?;
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

impl Scenario {
    /// What the call site says, and where.
    fn rules(&self) -> (usize, Said) {
        match self.steps.first() {
            None => (0, Said::default()),
            Some(Step { line, what }) => match what {
                What::Rules(said) => (*line, said.clone()),
                _ => (*line, Said::default()),
            },
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

/// Whether there is what is expected.
pub(super) fn compare(expected: &Expected, found: &Found) -> Result<(), String> {
    if expected.meets(found) {
        return Ok(());
    }
    Err(format!("expected `{expected}`, found `{found}`"))
}
