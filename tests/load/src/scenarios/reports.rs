//! A storm of reports: what is absorbed of it, and what pushes take meanwhile.

use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::Findings;
use crate::dialect::Reports;
use crate::effort::Effort;
use crate::report::Row;
use crate::rounds::{self, Pushes, to_all};
use crate::servers::{Ours, Server};
use crate::swarm::{Command, Swarm};
use crate::{Result, process};

/// Sessions that report.
const REPORTERS: usize = 2000;
/// Between two reports of a session.
const EVERY: Duration = Duration::from_millis(100);
const OPERATIONS: usize = 20;
/// More than are sent while anything is measured.
const REPORTS: usize = 1200;

pub(crate) fn measure(runtime: &Handle, effort: &Effort) -> Result<Findings> {
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
    let (started, cpu) = (Instant::now(), process::cpu(ours.pid())?);
    let (sent, held_back, absorbed) = swarm.reports();
    let mut storm = Pushes::default();
    while started.elapsed() < effort.span {
        let plan = to_all(effort.rounds);
        storm.append(&rounds::push(&mut ours, &swarm, &plan, Server::push)?);
    }
    let seconds = started.elapsed().as_secs_f64();
    let cpu = process::cpu(ours.pid())? - cpu;
    let (sent_by_now, held_back_by_now, absorbed_by_now) = swarm.reports();
    let per_second = |from: u64, to: u64| (to - from) as f64 / seconds;
    let absorbed = per_second(absorbed, absorbed_by_now);
    let mut rows = vec![
        Row::new("reports: sent", per_second(sent, sent_by_now), "1/s"),
        Row::new("reports: absorbed", absorbed, "1/s"),
        Row::new(
            "reports: operations in them",
            absorbed * OPERATIONS as f64,
            "1/s",
        ),
        Row::new(
            "reports: held back until earlier ones are absorbed",
            per_second(held_back, held_back_by_now),
            "1/s",
        ),
        Row::new(
            "reports: processors in use",
            cpu.as_secs_f64() / seconds,
            "",
        ),
    ];
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
