//! What the aggregate of a server costs: time to absorb, memory to remember, time to answer.
//!
//! `cargo bench -p fusebox-core --bench fleet -- [--json FILE] [--short]`. One thread; nothing but
//! core. It reports and does not judge: a hold that is missed is a line, and the exit status stays 0.

mod processes;
mod report;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant as Clock};

use fusebox_core::key::SessionId;
use fusebox_core::stats::{Filter, Fleet, InstanceFacts, Limits, OperationQuery, Order, Report};
use fusebox_core::time::Instant;

use processes::{Process, key};
use report::{Hold, Row};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const OPERATIONS: usize = 20;
/// Instances of one service.
const SIBLINGS: usize = 40;
/// Reports made ahead, outside the time that is taken.
const AHEAD: usize = 20;
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

fn main() -> Result<()> {
    let mut json = None;
    let (mut instances, mut rounds) = (10_000, 6);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => {
                let file = arguments.next().ok_or("--json wants a file")?;
                json = Some(PathBuf::from(file));
            }
            "--short" => (instances, rounds) = (1000, 3),
            // Cargo's own.
            "--bench" => {}
            other => return Err(format!("{other} is no argument of this").into()),
        }
    }
    let rows = measure(instances, rounds)?;
    print!("{}", report::table(&rows));
    match json {
        Some(path) => Ok(report::write(&path, &rows)?),
        None => Ok(()),
    }
}

/// A fleet whose processes report.
struct Bench {
    fleet: Fleet,
    processes: Vec<(SessionId, Process)>,
    now: Instant,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "figures of a benchmark have a handful of digits"
)]
fn measure(instances: usize, rounds: usize) -> Result<Vec<Row>> {
    let before = resident_bytes()?;
    let mut bench = Bench::new(instances);
    let own = resident_bytes()?;
    // The first round opens accounts, the second finds them.
    bench.round();
    bench.round();
    let accounts = instances * OPERATIONS;
    let grown = resident_bytes()?.saturating_sub(own);
    // Each stretch at its best, because on a shared machine others cut in.
    let times: Vec<_> = (0..rounds).map(|_| bench.round()).collect();
    let stretches = 0..times[0].len();
    let best: Duration = stretches
        .filter_map(|stretch| times.iter().map(|round| round[stretch]).min())
        .sum();
    let page = (0..rounds * 3).map(|_| bench.page()).min();
    eprintln!(
        "{instances} instances of {OPERATIONS} operations; processes' own memory {} MiB",
        (own - before) >> 20
    );
    Ok(vec![
        Row {
            name: "operation reports absorbed, one core",
            value: accounts as f64 / best.as_secs_f64(),
            unit: "/s",
            hold: Hold::AtLeast(5e6),
        },
        Row {
            name: "memory of an operation in an instance",
            value: grown as f64 / accounts as f64,
            unit: "bytes",
            hold: Hold::AtMost(1536.0),
        },
        Row {
            name: "page of the 100 worst operations",
            value: page.unwrap_or_default().as_secs_f64() * 1e3,
            unit: "ms",
            hold: Hold::AtMost(50.0),
        },
    ])
}

impl Bench {
    fn new(instances: usize) -> Self {
        let mut fleet = Fleet::new(Limits::default());
        let now = Instant::ORIGIN + Duration::from_secs(1000);
        let facts = InstanceFacts::default();
        let mut connect = |instance: usize| {
            let session = fleet.connect(key(instance / SIBLINGS, instance), &facts, now);
            (session, Process::new(OPERATIONS))
        };
        Self {
            processes: (0..instances).map(&mut connect).collect(),
            fleet,
            now,
        }
    }

    /// A report of each process; the times that absorbing took, [`AHEAD`] processes at a time.
    fn round(&mut self) -> Vec<Duration> {
        let mut spent = Vec::new();
        let step = REPORT_INTERVAL * u32::try_from(AHEAD).unwrap_or(1)
            / u32::try_from(self.processes.len()).unwrap_or(1);
        for processes in self.processes.chunks_mut(AHEAD) {
            self.now = self.now + step;
            let reports = processes.iter_mut();
            let reports: Vec<(SessionId, Report)> = reports
                .map(|(session, process)| (*session, process.report()))
                .collect();
            let begin = clock();
            for (session, report) in &reports {
                self.fleet.absorb(*session, report, self.now);
            }
            spent.push(begin.elapsed());
        }
        spent
    }

    /// The time that one page takes.
    fn page(&self) -> Duration {
        let filter = Filter::default();
        let query = OperationQuery {
            filter: &filter,
            kind: None,
            states: &[],
            forced: false,
            order: Order::Worst,
            after: None,
            limit: 100,
        };
        let begin = clock();
        let page = self.fleet.page_operations(&query, self.now);
        let spent = begin.elapsed();
        assert_eq!(page.operations.len(), 100, "a full page");
        spent
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads a clock")]
fn clock() -> Clock {
    Clock::now()
}

/// What the process holds in memory, as Linux tells.
fn resident_bytes() -> Result<usize> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib
        .ok_or("no VmRSS in /proc/self/status")?
        .parse::<usize>()?
        << 10)
}
