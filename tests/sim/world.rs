//! A store, servers, processes and the network between them, moved on event by event.

use fusebox_core::policy::field::SCHEMA;
use fusebox_tests::dice::Dice;

use super::agenda::{Agenda, Event, Millis};
use super::faults::Weather;
use super::link::Link;
use super::oracle::{Verdict, claim};
use super::policies;
use super::process::Process;
use super::server::Server;
use super::store::Store;
use super::tally::Tally;

/// How often everything breaks and comes to rest: what only the next write would put right shows at
/// rest.
const STORMS: u32 = 4;

/// How long everything that is still under way takes at most once nothing breaks any more: a snapshot
/// that is never acknowledged, a stream that is silent, the longest pauses between.
const QUIET: Millis = 150_000;

pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) agenda: Agenda,
    pub(crate) store: Store,
    pub(crate) servers: Vec<Server>,
    pub(crate) processes: Vec<Process>,
    pub(crate) links: Vec<Link>,
    /// By process and server.
    pub(crate) blocked: Vec<Vec<bool>>,
    pub(crate) weather: Weather,
    pub(crate) tally: Tally,
    trace: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(seed: u64, traced: bool) -> Self {
        let mut dice = Dice::new(seed);
        let weather = Weather::pick(&mut dice);
        let mut store = Store::new();
        for _ in 0..dice.pick(0..4) {
            store.write(weather.set(&mut dice));
        }
        let servers = (0..dice.pick(1..4)).map(|_| Server::new(&store));
        let servers: Vec<_> = servers.collect();
        let process = |number| {
            let audience = policies::audience(&mut dice, weather.crowded);
            let labels = policies::labels(&mut dice);
            Process::new(number, audience, labels, weather.schema(&mut dice))
        };
        let many = if seed.is_multiple_of(4) { 41 } else { 13 };
        let count = Dice::new(!seed).index(many - 5) + 5;
        let processes: Vec<_> = (0..count).map(process).collect();
        Self {
            blocked: vec![vec![false; servers.len()]; processes.len()],
            agenda: Agenda::default(),
            store,
            servers,
            processes,
            links: Vec::new(),
            weather,
            tally: Tally::default(),
            trace: traced.then(Vec::new),
            dice,
        }
    }

    /// From the first start through storms to rest, and once more after what was refused is mended.
    pub(crate) fn run(&mut self) -> Verdict {
        for server in 0..self.servers.len() {
            self.plan(0..500, Event::Start { server });
        }
        for process in 0..self.processes.len() {
            self.plan(0..2000, Event::Begin { process });
        }
        for _ in 0..STORMS {
            self.plan(0..1000, Event::Write);
            self.plan(0..1000, Event::Fault);
            let lasts = self.dice.pick(2000..self.weather.lasts);
            self.pass(lasts)?;
            self.calm()?;
            self.pass(QUIET)?;
            self.say(|| "everything must be settled now".into());
            self.is_settled()?;
        }
        self.mend()?;
        self.pass(QUIET)?;
        self.say(|| "everything must be settled and nothing refused now".into());
        self.is_settled()?;
        self.refuses_nothing()
    }

    fn pass(&mut self, time: Millis) -> Verdict {
        let until = self.agenda.now() + time;
        while let Some(event) = self.agenda.next(until) {
            self.tally.events += 1;
            self.happen(event)?;
        }
        self.agenda.skip_to(until);
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Verdict {
        match event {
            Event::Write => self.write_at_random(),
            Event::Fault => return self.fault(),
            Event::Arrive { link, end } => return self.arrive(link, end),
            Event::Silence { link, end } => self.silence(link, end),
            Event::Dial { process, run } => self.dial(process, run),
            Event::Thaw { process } => return self.thaw(process),
            Event::Written { process, run } => self.written(process, run),
            Event::Begin { process } => return self.begin(process),
            Event::Heal => return self.heal(),
            Event::Follow { server, run } => self.follow(server, run),
            Event::Wake {
                server,
                run,
                session,
            } => return self.wake(server, run, session),
            Event::Unacked {
                server,
                run,
                session,
                sent,
            } => {
                self.unacked(server, run, session, sent);
            }
            Event::Start { server } => self.start(server),
        }
        Ok(())
    }

    pub(crate) fn plan(&mut self, after: std::ops::Range<Millis>, event: Event) {
        let after = self.dice.pick(after);
        self.agenda.plan(after, event);
    }

    /// A line of the trace.
    pub(crate) fn say(&mut self, line: impl FnOnce() -> String) {
        let now = self.agenda.now();
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{now:>7} {}", line()));
        }
    }

    pub(crate) fn trace(&self) -> &[String] {
        self.trace.as_deref().unwrap_or_default()
    }

    /// A write that the servers' watches tell of.
    pub(crate) fn write(&mut self, set: Vec<super::faults::Edit>) {
        let Some(write) = self.store.write(set) else {
            return;
        };
        self.tally.writes += 1;
        self.say(|| {
            let said = write.changes.iter().map(|(id, stored)| {
                let schema = stored.as_ref().map(|stored| stored.policy.schema());
                schema.map_or(format!("-{id}"), |schema| format!("{id} (schema {schema})"))
            });
            let said: Vec<_> = said.collect();
            format!("store: writes {}: {}", write.revision, said.join(", "))
        });
        for number in 0..self.servers.len() {
            let server = &mut self.servers[number];
            if server.up && server.watch(&write) {
                let (run, lag) = (server.run, server.lag);
                self.plan(
                    0..lag,
                    Event::Follow {
                        server: number,
                        run,
                    },
                );
            }
        }
    }

    fn is_settled(&self) -> Verdict {
        for (number, process) in self.processes.iter().enumerate() {
            let of_it = |broken| format!("p{number}, at rest, {broken}");
            let witness = &process.witness;
            witness
                .is_settled(&self.store, &process.replica)
                .map_err(of_it)?;
            if witness.follows(&self.store) {
                self.is_known(process).map_err(of_it)?;
            }
        }
        Ok(())
    }

    /// Its server knows what it enforces and what it refuses.
    fn is_known(&self, process: &Process) -> Verdict {
        let link = process.link.ok_or("has no link")?;
        let link = &self.links[link];
        let session = link.session.ok_or("has no session")?;
        let session = self.servers[link.server].sessions.get(&session);
        let session = session.ok_or("has no session at its server")?;
        claim(session.standing.under_way().is_none(), || {
            "still owes an acknowledgement".into()
        })?;
        let believed = session.applied.ok_or("never acknowledged anything")?;
        let truth = |revision| {
            let incarnation = self.store.incarnation();
            self.store.truth(incarnation, revision, &process.audience)
        };
        claim(truth(believed) == truth(self.store.revision()), || {
            format!("is believed to be at {believed}, when there is more")
        })?;
        let at = (self.store.incarnation(), believed);
        let (epoch, refused) = (process.run.into(), session.standing.refused());
        process
            .witness
            .is_known_right(&self.store, epoch, at, refused)
    }

    fn refuses_nothing(&self) -> Verdict {
        for (number, process) in self.processes.iter().enumerate() {
            if process.witness.follows(&self.store) && process.schema >= SCHEMA {
                claim(process.replica.refusals().count() == 0, || {
                    format!("p{number} goes on refusing what it could enforce")
                })?;
            }
        }
        Ok(())
    }
}
