//! A storm of reports: what is absorbed of it, and what pushes take meanwhile.
//!
//! Each session reports once an interval whether or not the last report was acknowledged, as the SDK
//! does. So more may be offered than this machine absorbs, and then acknowledgements of pushes wait
//! behind the reports before them. The clients share the machine: once they are late with their own
//! reports, they read late, too, and what pushes take is no longer the server's figure alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::Findings;
use crate::dialect::Reports;
use crate::effort::Effort;
use crate::report::Row;
use crate::rounds::{self, Pushes, to_all};
use crate::servers::{Ours, Server};
use crate::swarm::{Command, Reported, Swarm};
use crate::{Result, process};

/// Sessions that report.
const REPORTERS: usize = 2000;
/// Between two reports of a session.
const EVERY: Duration = Duration::from_millis(100);
const OPERATIONS: usize = 20;
/// More than are sent while anything is measured.
const REPORTS: usize = 3000;
/// Pushes between two looks at the time: each may take long.
const ROUNDS: usize = 3;

pub(crate) fn measure(runtime: &Arc<Runtime>, effort: &Effort) -> Result<Findings> {
    let mut ours = Ours::start(runtime)?;
    let swarm = Swarm::open(ours.addr(), ours.dialect(), effort.sessions)?;
    let calm = rounds::push(&mut ours, &swarm, &to_all(effort.rounds), Server::push)?;
    let clients = REPORTERS.min(swarm.clients());
    let reports = Reports::new(REPORTS, OPERATIONS);
    swarm.tell(Command::Report {
        clients,
        every: EVERY,
        reports,
    })?;
    let (started, cpu, before) = (Instant::now(), process::cpu(ours.pid())?, swarm.reports());
    let mut storm = Pushes::default();
    while started.elapsed() < effort.span {
        let plan = to_all(ROUNDS.min(effort.rounds));
        storm.append(&rounds::push(&mut ours, &swarm, &plan, Server::push)?);
    }
    let seconds = started.elapsed().as_secs_f64();
    let cpu = process::cpu(ours.pid())? - cpu;
    let after = swarm.reports();
    let mut rows = amounts(clients, before, after, seconds);
    let row = |what: &str, value, unit| Row::new(format!("reports: {what}"), value, unit);
    rows.push(row("processors in use", cpu.as_secs_f64() / seconds, ""));
    for (when, pushes) in [("without", &calm), ("meanwhile", &storm)] {
        let row = |what: &str, value, unit| {
            let name = format!("reports: {what}, {when}");
            Row::new(name, value, unit)
        };
        rows.extend([
            row("write answered, p50", pushes.writes.percentile(50), "ms"),
            row("write answered, longest", pushes.writes.longest(), "ms"),
            row("push p50", pushes.from_sent.percentile(50), "ms"),
            row("push p99", pushes.from_sent.percentile(99), "ms"),
            row("last client, p50", pushes.last.percentile(50), "ms"),
            row("last client, longest", pushes.last.longest(), "ms"),
            row("pushes measured", pushes.last.len() as f64, ""),
        ]);
    }
    Ok(rows.into())
}

/// What was offered, and what became of it.
fn amounts(clients: usize, before: Reported, after: Reported, seconds: f64) -> Vec<Row> {
    let row = |what: &str, value, unit| Row::new(format!("reports: {what}"), value, unit);
    let per_second = |count: fn(Reported) -> u64| (count(after) - count(before)) as f64 / seconds;
    let absorbed = per_second(|reported| reported.absorbed);
    let waiting = after.due - after.skipped - after.absorbed;
    vec![
        row("sessions that report", clients as f64, ""),
        row("offered", per_second(|reported| reported.due), "1/s"),
        row(
            "offered late by, at most",
            after.late_micros as f64 / 1e3,
            "ms",
        ),
        row("absorbed", absorbed, "1/s"),
        row("operations absorbed", absorbed * OPERATIONS as f64, "1/s"),
        row(
            "not made, for a full outbox",
            per_second(|reported| reported.skipped),
            "1/s",
        ),
        row(
            "waiting at the end, per session",
            waiting as f64 / clients as f64,
            "",
        ),
        row(
            "of these on the way, per session",
            (after.sent - after.absorbed) as f64 / clients as f64,
            "",
        ),
    ]
}
