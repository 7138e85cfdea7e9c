//! A storm of reports: what is absorbed of it, and what pushes take meanwhile.
//!
//! Each session reports once an interval whether or not the last report was acknowledged, as the SDK
//! does. So more may be offered than this machine absorbs, and then acknowledgements of pushes wait
//! behind the reports before them.

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
const REPORTS: usize = 1200;

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
        let plan = to_all(effort.rounds);
        storm.append(&rounds::push(&mut ours, &swarm, &plan, Server::push)?);
    }
    let seconds = started.elapsed().as_secs_f64();
    let cpu = process::cpu(ours.pid())? - cpu;
    let after = swarm.reports();
    let mut rows = amounts(clients, before, after, seconds);
    let row = |what: &str, value, unit| Row::new(format!("reports: {what}"), value, unit);
    rows.push(row("processors in use", cpu.as_secs_f64() / seconds, ""));
    for (when, pushes) in [("without", &calm), ("meanwhile", &storm)] {
        let row = |what: &str, value| Row::new(format!("reports: {what}, {when}"), value, "ms");
        rows.extend([
            row("write answered, p50", pushes.writes.percentile(50)),
            row("write answered, p99", pushes.writes.percentile(99)),
            row("push p50", pushes.from_sent.percentile(50)),
            row("push p99", pushes.from_sent.percentile(99)),
            row("last client p99", pushes.last.percentile(99)),
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
