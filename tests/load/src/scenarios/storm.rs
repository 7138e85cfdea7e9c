//! What a report costs, and how much of that is HTTP/2 and the decoder, in turns.
//!
//! The same clients send the same bytes to three servers, and nothing else goes on. Only what a
//! server acknowledged counts as absorbed, so that a report skipped or waiting flatters nobody.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::Findings;
use crate::dialect::{Dialect, Reports};
use crate::effort::Effort;
use crate::report::{Hold, Row};
use crate::servers::{Ours, SERVICES, Server, Sink};
use crate::swarm::{Command, Swarm};
use crate::{Result, process};

/// Connections that report, at most.
const REPORTERS: usize = 2000;
/// Between two reports of a connection.
const EVERY: Duration = Duration::from_millis(100);
const OPERATIONS: usize = 20;
/// More than are sent while anything is measured.
const REPORTS: usize = 3000;
/// Before anything is counted.
const WARM_UP: Duration = Duration::from_secs(1);

/// What a server did in all its turns.
#[derive(Clone, Copy, Default)]
struct Toll {
    due: u64,
    skipped: u64,
    absorbed: u64,
    /// Of all turns' ends, made and not absorbed yet.
    waiting: u64,
    late_micros: u64,
    cpu: Duration,
    span: Duration,
}

pub(crate) fn measure(runtime: &Arc<Runtime>, effort: &Effort) -> Result<Findings> {
    let ours = Ours::start(runtime)?;
    let (opaque, decoding) = (Sink::start(false)?, Sink::start(true)?);
    let servers = [
        ("fusebox", ours.pid(), ours.addr()),
        ("HTTP/2 alone", opaque.pid(), opaque.addr()),
        ("decoded", decoding.pid(), decoding.addr()),
    ];
    let clients = REPORTERS.min(effort.sessions);
    let mut tolls = [Toll::default(); 3];
    for _ in 0..effort.turns {
        for ((_, pid, addr), toll) in servers.iter().zip(&mut tolls) {
            turn(*pid, *addr, clients, effort.span, toll)?;
        }
    }
    let mut rows = vec![Row::new(
        "storm: connections that report",
        clients as f64,
        "",
    )];
    for ((name, ..), toll) in servers.iter().zip(&tolls) {
        rows.extend(toll.rows(name, clients));
    }
    let [ours, opaque, decoding] = tolls;
    let a_core = 1e6 / ours.micros() * OPERATIONS as f64;
    rows.extend([
        Row::new("storm: operations absorbed a core", a_core, "1/s")
            .held_to(Hold::AtLeast(1_000_000.0)),
        Row::new(
            "storm: time of a report, fusebox / HTTP/2 alone",
            ours.micros() / opaque.micros(),
            "times",
        )
        .against("HTTP/2 alone"),
        Row::new(
            "storm: time of a report, fusebox / decoded",
            ours.micros() / decoding.micros(),
            "times",
        )
        .against("decoded"),
    ]);
    Ok(rows.into())
}

fn turn(pid: u32, addr: SocketAddr, clients: usize, span: Duration, toll: &mut Toll) -> Result<()> {
    let services = SERVICES;
    let swarm = Swarm::open(addr, Dialect::Fusebox { services }, clients)?;
    swarm.tell(Command::Report {
        clients,
        every: EVERY,
        reports: Reports::new(REPORTS, OPERATIONS),
    })?;
    sleep(WARM_UP);
    let (started, cpu, before) = (Instant::now(), process::cpu(pid)?, swarm.reports());
    sleep(span);
    let (after, cpu_after) = (swarm.reports(), process::cpu(pid)?);
    toll.span += started.elapsed();
    toll.cpu += cpu_after.saturating_sub(cpu);
    toll.due += after.due - before.due;
    toll.skipped += after.skipped - before.skipped;
    toll.absorbed += after.absorbed - before.absorbed;
    toll.waiting += (after.due - after.skipped).saturating_sub(after.absorbed);
    toll.late_micros = toll.late_micros.max(after.late_micros);
    Ok(())
}

impl Toll {
    /// The server's processor time per report that it absorbed.
    fn micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.absorbed as f64
    }

    fn rows(&self, name: &str, clients: usize) -> [Row; 7] {
        let row = |what: &str, value, unit| Row::new(format!("storm: {name}, {what}"), value, unit);
        let seconds = self.span.as_secs_f64();
        [
            row("processor time of a report", self.micros(), "us"),
            row("processors in use", self.cpu.as_secs_f64() / seconds, ""),
            row("offered", self.due as f64 / seconds, "1/s"),
            row("absorbed", self.absorbed as f64 / seconds, "1/s"),
            row(
                "not made, for a full outbox",
                self.skipped as f64 / seconds,
                "1/s",
            ),
            row(
                "waiting at the turns' ends, per connection",
                self.waiting as f64 / clients as f64,
                "",
            ),
            row(
                "offered late by, at most",
                self.late_micros as f64 / 1e3,
                "ms",
            ),
        ]
    }
}
