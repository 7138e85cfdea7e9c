//! What goes wrong, what operators do meanwhile, and how it ends.
//!
//! Each seed has a weather of its own: only some kinds of faults, more or less often, so that a rare
//! kind is not always drowned by the others.

use std::collections::BTreeMap;

use fusebox_core::key::PolicyId;
use fusebox_core::policy::Policy;
use fusebox_core::policy::field::SCHEMA;
use fusebox_proto::v1;
use fusebox_proto::v1::connect_response::Message as Down;
use fusebox_tests::dice::Dice;

use super::agenda::{End, Event, Millis};
use super::oracle::Verdict;
use super::policies;
use super::world::World;

/// What a policy is to be; `None`: gone.
pub(crate) type Edit = (PolicyId, Option<Policy>);

const KINDS: [Kind; 11] = [
    Kind::Break,
    Kind::Part,
    Kind::StopServer,
    Kind::Kill,
    Kind::Freeze,
    Kind::Slow,
    Kind::Drain,
    Kind::Restore,
    Kind::Wipe,
    Kind::Adopt,
    Kind::Burst,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Break,
    Part,
    StopServer,
    Kill,
    Freeze,
    Slow,
    Drain,
    Restore,
    Wipe,
    Adopt,
    Burst,
}

#[derive(Debug)]
pub(crate) struct Weather {
    /// The longest storm.
    pub(crate) lasts: Millis,
    kinds: Vec<Kind>,
    between_faults: Millis,
    between_writes: Millis,
    /// The highest schema that operators use, and the lowest that an SDK has.
    highest: u32,
    lowest: u32,
    /// One service and two policies, so that sets come back to what they were.
    pub(crate) crowded: bool,
    /// Servers do not look at what a Hello tells of, so that a process has to see by itself what is
    /// old.
    pub(crate) blunt: bool,
    /// One write in so many deletes.
    deletes: u64,
}

impl Weather {
    pub(crate) fn pick(dice: &mut Dice) -> Self {
        let some = dice.pick(1..4);
        let crowded = dice.one_in(3);
        let of_crowds = [Kind::Slow, Kind::Drain];
        let blows = |kind: &Kind| dice.pick(0..4) < some || crowded && of_crowds.contains(kind);
        let kinds: Vec<_> = KINDS.iter().copied().filter(blows).collect();
        Self {
            lasts: dice.pick(5000..30_000),
            kinds,
            between_faults: dice.pick(300..6000),
            between_writes: dice.pick(200..6000),
            highest: if dice.one_in(4) { 1 } else { SCHEMA },
            lowest: if dice.one_in(4) { SCHEMA } else { 1 },
            crowded,
            blunt: dice.one_in(5),
            deletes: dice.pick(2..6),
        }
    }

    pub(crate) fn schema(&self, dice: &mut Dice) -> u32 {
        if dice.one_in(2) { SCHEMA } else { self.lowest }
    }

    /// What an operator writes at once.
    pub(crate) fn set(&self, dice: &mut Dice) -> Vec<Edit> {
        let size = if dice.one_in(4) { dice.pick(2..6) } else { 1 };
        let edit = |_| {
            let id = policies::id(dice, self.crowded);
            let highest = if dice.one_in(2) { 1 } else { self.highest };
            let kept = !dice.one_in(self.deletes);
            let policy = kept.then(|| policies::policy(dice, id.clone(), highest));
            (id, policy)
        };
        let set: BTreeMap<_, _> = (0..size).map(edit).collect();
        set.into_iter().collect()
    }
}

impl World {
    pub(crate) fn write_at_random(&mut self) {
        let set = self.weather.set(&mut self.dice);
        self.write(set);
        self.plan(1..self.weather.between_writes, Event::Write);
    }

    pub(crate) fn fault(&mut self) -> Verdict {
        self.plan(1..self.weather.between_faults, Event::Fault);
        if self.weather.kinds.is_empty() {
            return Ok(());
        }
        let kind = self.weather.kinds[self.dice.index(self.weather.kinds.len())];
        self.tally.faults += 1;
        self.say(|| format!("fault: {kind:?}"));
        let process = self.dice.index(self.processes.len());
        let server = self.dice.index(self.servers.len());
        match kind {
            Kind::Break => self.break_some_link(),
            Kind::Part => {
                self.part();
                self.plan(1..40_000, Event::Heal);
            }
            Kind::StopServer => {
                self.stop(server);
                self.plan(10..8000, Event::Start { server });
            }
            Kind::Kill => self.kill(process),
            Kind::Freeze => {
                self.processes[process].frozen = true;
                self.plan(100..60_000, Event::Thaw { process });
            }
            Kind::Slow => self.servers[server].lag = self.dice.pick(30..10_000),
            Kind::Drain => self.drain(server),
            Kind::Restore | Kind::Wipe | Kind::Adopt => self.change_life(kind),
            Kind::Burst => {
                for _ in 0..self.dice.pick(2..7) {
                    let set = self.weather.set(&mut self.dice);
                    self.write(set);
                }
            }
        }
        Ok(())
    }

    fn break_some_link(&mut self) {
        let open = self.open_links();
        if !open.is_empty() {
            let link = open[self.dice.index(open.len())];
            self.say(|| format!("link {link}: breaks"));
            self.break_link(link);
        }
    }

    /// A server asks some of its processes to go elsewhere.
    fn drain(&mut self, server: usize) {
        let sessions = self.servers[server].sessions.values();
        let links: Vec<_> = sessions.map(|session| session.link).collect();
        for link in links {
            if self.dice.one_in(2) {
                self.send_down(link, Down::Drain(v1::Drain::default()));
                self.hang_up(link, End::Server, false);
                self.forget(link);
            }
        }
    }

    /// No server runs while its store is replaced.
    fn change_life(&mut self, kind: Kind) {
        for server in 0..self.servers.len() {
            self.stop(server);
            self.plan(10..8000, Event::Start { server });
        }
        let dice = &mut self.dice;
        match kind {
            Kind::Restore => self.store.restore(|count| dice.index(count)),
            Kind::Wipe => self.store.wipe(),
            _ => self.store.adopt(),
        }
    }

    /// Nothing breaks any more.
    pub(crate) fn calm(&mut self) -> Verdict {
        self.say(|| "calm".into());
        self.agenda
            .forget(|event| matches!(event, Event::Write | Event::Fault));
        self.heal()?;
        for process in 0..self.processes.len() {
            self.thaw(process)?;
        }
        for server in 0..self.servers.len() {
            self.servers[server].lag = 30;
        }
        if self.store.contents().is_empty() && self.dice.one_in(2) {
            self.change_life(Kind::Adopt);
        }
        Ok(())
    }

    /// What some refuse is written anew in words that they have, or they become newer themselves.
    pub(crate) fn mend(&mut self) -> Verdict {
        self.say(|| "mend".into());
        if self.dice.one_in(2) {
            self.weather.lowest = SCHEMA;
            for process in 0..self.processes.len() {
                self.kill(process);
            }
            return Ok(());
        }
        let beyond = self.store.contents().values();
        let beyond = beyond.filter(|stored| stored.policy.schema() > 1);
        let ids: Vec<_> = beyond.map(|stored| stored.policy.id().clone()).collect();
        let dice = &mut self.dice;
        let older = ids.into_iter().map(|id| {
            let policy = policies::policy(dice, id.clone(), 1);
            (id, Some(policy))
        });
        let older = older.collect();
        self.write(older);
        Ok(())
    }
}
