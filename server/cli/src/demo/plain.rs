//! The view where there is no terminal: a line for each thing that happened, a table now and then.

use std::io::{self, Write};
use std::time::Duration;

use super::observer::{Frame, total};
use crate::figures::latency;

/// How often the table is printed.
const TABLE_EVERY: Duration = Duration::from_secs(10);
/// When it is printed first: once everybody has reported.
const FIRST_TABLE: Duration = Duration::from_secs(3);

pub(super) struct Plain {
    told: Duration,
    table_due: Duration,
}

impl Plain {
    pub(super) const fn new() -> Self {
        Self {
            told: Duration::ZERO,
            table_due: FIRST_TABLE,
        }
    }

    /// Prints what is new in `frame`.
    pub(super) fn print(&mut self, out: &mut impl Write, frame: &Frame) -> io::Result<()> {
        for news in frame.news.iter().filter(|news| news.at > self.told) {
            writeln!(out, "{:>5.1} s  {}", news.at.as_secs_f64(), news.text)?;
        }
        self.told = frame.elapsed;
        if frame.elapsed >= self.table_due {
            self.table_due = frame.elapsed + TABLE_EVERY;
            table(out, frame)?;
        }
        out.flush()
    }
}

/// Prints every operation on a line of its own.
pub(super) fn table(out: &mut impl Write, frame: &Frame) -> io::Result<()> {
    let revision = frame.revisions.map_or_else(
        || "none".to_owned(),
        |(low, high)| {
            if low == high {
                high.to_string()
            } else {
                format!("{low} to {high}")
            }
        },
    );
    writeln!(
        out,
        "{:>5.1} s  {} of {} instances connected, revision {revision}",
        frame.elapsed.as_secs_f64(),
        frame.connected,
        frame.instances,
    )?;
    for status in &frame.operations {
        let counts = status.instances.unwrap_or_default();
        writeln!(
            out,
            "         {:<14}{:<19} open {}/{}  {:>4.0} calls/s  {:>3.0} % failed  p50 {:>6}  p99 {:>6}",
            status.service,
            status.operation,
            counts.open + counts.half_open,
            total(&counts),
            status.calls_per_second,
            status.failure_ratio * 100.0,
            latency(status.p50),
            latency(status.p99),
        )?;
    }
    Ok(())
}
