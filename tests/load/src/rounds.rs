//! Pushes, one after the other, each followed until the last client has applied it.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::servers::{Server, Written};
use crate::swarm::{Event, Swarm, What};
use crate::times::Times;
use crate::{Result, process};

/// Within this a push must have reached everybody.
const REACH_WITHIN: Duration = Duration::from_secs(60);
/// Between two pushes: what the last one left behind ends in it.
pub(crate) const SETTLE: Duration = Duration::from_millis(200);
/// For so long the server is watched with nothing to push.
const IDLE: Duration = Duration::from_secs(2);

/// Of what a server printed, so much is shown when something failed.
const PRINTED_LINES: usize = 5;

/// What pushes took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pushes {
    /// From the write being sent until a client has applied and acknowledged it.
    pub(crate) from_sent: Times,
    /// The same from its answer; nothing where the client was faster.
    pub(crate) from_answer: Times,
    /// The last client of each push, from the write being sent.
    pub(crate) last: Times,
    /// From the write being sent to its answer.
    pub(crate) writes: Times,
    /// From the write being sent until the server knew of the last client, where it was asked.
    pub(crate) known: Times,
    /// The server's time on processors, for all of them, beyond what it takes with nothing to push.
    pub(crate) cpu: f64,
    /// The same of this process: what the clients took of the machine.
    pub(crate) clients_cpu: f64,
    pub(crate) read_bytes: u64,
    pub(crate) deliveries: usize,
}

impl Pushes {
    pub(crate) fn append(&mut self, other: &Self) {
        self.from_sent.append(&other.from_sent);
        self.from_answer.append(&other.from_answer);
        self.last.append(&other.last);
        self.writes.append(&other.writes);
        self.known.append(&other.known);
        self.cpu += other.cpu;
        self.clients_cpu += other.clients_cpu;
        self.read_bytes += other.read_bytes;
        self.deliveries += other.deliveries;
    }

    /// The server's time on processors for one delivery, in microseconds.
    pub(crate) fn cpu_micros(&self) -> f64 {
        self.cpu * 1e6 / self.deliveries as f64
    }

    /// The clients' time on processors for one delivery, in microseconds.
    pub(crate) fn clients_micros(&self) -> f64 {
        self.clients_cpu * 1e6 / self.deliveries as f64
    }

    /// What a client reads for one delivery.
    pub(crate) fn bytes(&self) -> f64 {
        self.read_bytes as f64 / self.deliveries as f64
    }
}

/// Which pushes.
pub(crate) struct Plan<R> {
    pub(crate) rounds: usize,
    pub(crate) settle: Duration,
    /// Whether a client is to be reached.
    pub(crate) reached: R,
}

/// A push to everybody, so many times.
pub(crate) fn to_all(rounds: usize) -> Plan<impl Fn(usize) -> bool> {
    Plan {
        rounds,
        settle: SETTLE,
        reached: |_| true,
    }
}

/// So many pushes, after one that is not counted.
pub(crate) fn push<S: Server + ?Sized, R: Fn(usize) -> bool>(
    server: &mut S,
    swarm: &Swarm,
    plan: &Plan<R>,
    mut write: impl FnMut(&mut S) -> Result<Written>,
) -> Result<Pushes> {
    let Plan {
        rounds,
        settle,
        reached,
    } = plan;
    let mut pushes = Pushes::default();
    once(server, swarm, reached, &mut write, &mut Pushes::default())?;
    sleep(SETTLE);
    let idle = idle(server)?;
    let (cpu, read_bytes) = (process::cpu(server.pid())?, swarm.read_bytes());
    let clients_cpu = process::cpu(std::process::id())?;
    let started = Instant::now();
    for _ in 0..*rounds {
        once(server, swarm, reached, &mut write, &mut pushes)?;
        sleep(*settle);
    }
    let used = process::cpu(server.pid())? - cpu;
    pushes.cpu = used.as_secs_f64() - idle * started.elapsed().as_secs_f64();
    pushes.clients_cpu = (process::cpu(std::process::id())? - clients_cpu).as_secs_f64();
    pushes.read_bytes = swarm.read_bytes() - read_bytes;
    Ok(pushes)
}

/// What a server takes for its sessions alone, as a share of one processor.
fn idle<S: Server + ?Sized>(server: &S) -> Result<f64> {
    let before = process::cpu(server.pid())?;
    sleep(IDLE);
    let used = process::cpu(server.pid())? - before;
    Ok(used.div_duration_f64(IDLE))
}

/// [`follow`], with what the server printed if it fails.
fn once<S: Server + ?Sized>(
    server: &mut S,
    swarm: &Swarm,
    reached: &impl Fn(usize) -> bool,
    write: &mut impl FnMut(&mut S) -> Result<Written>,
    pushes: &mut Pushes,
) -> Result<()> {
    let followed = follow(server, swarm, reached, write, pushes);
    followed.map_err(|error| {
        let printed = server.printed().dump();
        let lines: Vec<_> = printed.lines().rev().take(PRINTED_LINES).collect();
        let lines = lines.into_iter().rev().collect::<Vec<_>>().join("\n");
        format!("{error}; {} printed at last:\n{lines}", server.name()).into()
    })
}

/// One push, until the last client has it.
fn follow<S: Server + ?Sized>(
    server: &mut S,
    swarm: &Swarm,
    reached: &impl Fn(usize) -> bool,
    write: &mut impl FnMut(&mut S) -> Result<Written>,
    pushes: &mut Pushes,
) -> Result<()> {
    // What came before has been heard already, or concerns nobody any more.
    if let Some(reason) = swarm.pending().find_map(|event| ended(&event)) {
        return Err(format!("a session ended between two pushes: {reason}").into());
    }
    let written = write(server)?;
    let mut missing: Vec<_> = (0..swarm.clients()).map(reached).collect();
    let mut left = missing.iter().filter(|missing| **missing).count();
    let mut last = written.sent;
    swarm.listen("a push to reach its clients", REACH_WITHIN, |event| {
        if let Some(reason) = ended(&event) {
            return Err(format!("a session ended during a push: {reason}").into());
        }
        let applied =
            matches!(event.what, What::Applied { revision } if revision >= written.revision);
        if applied && std::mem::take(&mut missing[event.client]) {
            left -= 1;
            last = last.max(event.at);
            pushes.deliveries += 1;
            pushes.from_sent.add(event.at - written.sent);
            let from_answer = event.at.saturating_duration_since(written.answered);
            pushes.from_answer.add(from_answer);
        }
        Ok(left == 0)
    })?;
    pushes.last.add(last - written.sent);
    pushes.writes.add(written.answered - written.sent);
    if let Some(known) = written.known {
        pushes.known.add(known - written.sent);
    }
    Ok(())
}

pub(crate) fn ended(event: &Event) -> Option<String> {
    match &event.what {
        What::Ended { reason } => Some(reason.clone()),
        _ => None,
    }
}
