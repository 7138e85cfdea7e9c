//! A storm of reports: what is absorbed of it, and what pushes take meanwhile.

use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::Findings;
use crate::dialect::Reports;
use crate::effort::Effort;
use crate::report::Row;
use crate::rounds::{self, Pushes};
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
    let calm = rounds::push(&mut ours, &swarm, effort.rounds, |_| true, Server::push)?;
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
        storm.append(&rounds::push(
            &mut ours,
            &swarm,
            effort.rounds,
            |_| true,
            Server::push,
        )?);
    }
    let seconds = started.elapsed().as_secs_f64();
    let cpu = process::cpu(ours.pid())? - cpu;
    let (sent_by_now, held_back_by_now, absorbed_by_now) = swarm.reports();
    let per_second = |from: u64, to: u64| (to - from) as f64 / seconds;
    let absorbed = per_second(absorbed, absorbed_by_now);
    Ok(vec![
        Row::new("reports: sent", per_second(sent, sent_by_now), "1/s"),
        Row::new("reports: absorbed", absorbed, "1/s"),
        Row::new(
            "reports: operations in them",
            absorbed * OPERATIONS as f64,
            "1/s",
        ),
        Row::new(
            "reports: held back for want of a window",
            per_second(held_back, held_back_by_now),
            "1/s",
        ),
        Row::new(
            "reports: processors in use",
            cpu.as_secs_f64() / seconds,
            "",
        ),
        Row::new(
            "reports: push p99 without",
            calm.from_sent.percentile(99),
            "ms",
        ),
        Row::new(
            "reports: push p99 meanwhile",
            storm.from_sent.percentile(99),
            "ms",
        ),
        Row::new(
            "reports: last client p99 without",
            calm.last.percentile(99),
            "ms",
        ),
        Row::new(
            "reports: last client p99 meanwhile",
            storm.last.percentile(99),
            "ms",
        ),
    ]
    .into())
}
