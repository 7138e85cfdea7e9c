//! The rows as tables for people and as a file for programs.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread::available_parallelism;

use serde::Serialize;

use crate::harness::{Effort, Measured};
use crate::instructions::Counted;
use crate::rows::Row;

/// The compiler that built this.
pub(crate) const BUILT_BY: &str = env!("BUILT_BY");
/// The target that it was built for, and the processor's features that could be counted on.
pub(crate) const BUILT_FOR: &str = env!("BUILT_FOR");

/// What is held or compared.
pub(crate) fn held(rows: &[Row]) -> String {
    let columns = [
        Left(""),
        Right("figure"),
        Left(""),
        Right("spread"),
        Left("against"),
        Left("hold"),
        Left(""),
    ];
    let line = |row: &Row| {
        let verdict = row
            .holds
            .map(|holds| if holds { "holds" } else { "MISSED" });
        [
            row.name.clone(),
            number(row.value),
            row.unit.into(),
            row.spread_percent.map(percent).unwrap_or_default(),
            row.against.unwrap_or_default().into(),
            row.hold.clone().unwrap_or_default(),
            verdict.unwrap_or_default().into(),
        ]
    };
    table(&columns, rows.iter().map(line))
}

/// Every case's time and allocations.
pub(crate) fn times(measured: &Measured) -> String {
    let columns = [
        Left("case"),
        Right("ns a call"),
        Right("spread"),
        Right("allocations"),
        Right("bytes"),
    ];
    let lines = measured.records().iter().map(|record| {
        let (nanos, allocations) = (record.nanos(), record.allocations());
        [
            record.id().into(),
            nanos.map(|nanos| number(nanos.median)).unwrap_or_default(),
            nanos
                .map(|nanos| percent(nanos.spread_percent))
                .unwrap_or_default(),
            count(allocations.times),
            count(allocations.bytes),
        ]
    });
    table(&columns, lines)
}

/// Every case's instructions and allocations.
pub(crate) fn counts(counted: &[Counted]) -> String {
    let columns = [
        Left("case"),
        Right("instructions"),
        Right("allocations"),
        Right("bytes"),
    ];
    let lines = counted.iter().map(|counted| {
        [
            counted.id.clone(),
            count(counted.instructions),
            count(counted.allocations.times),
            count(counted.allocations.bytes),
        ]
    });
    table(&columns, lines)
}

/// A column's heading, and the side its texts stand at.
#[derive(Clone, Copy)]
enum Column {
    Left(&'static str),
    Right(&'static str),
}

use Column::{Left, Right};

fn table<const N: usize>(
    columns: &[Column; N],
    lines: impl Iterator<Item = [String; N]>,
) -> String {
    let heading = columns.map(|column| match column {
        Left(heading) | Right(heading) => heading.to_owned(),
    });
    let lines: Vec<_> = [heading].into_iter().chain(lines).collect();
    let widths: [usize; N] = std::array::from_fn(|at| {
        let texts = lines.iter().map(|line| line[at].chars().count());
        texts.max().unwrap_or_default()
    });
    lines.iter().fold(String::new(), |mut table, line| {
        let mut text = String::new();
        for ((column, width), cell) in columns.iter().zip(widths).zip(line) {
            // Writing to a string cannot fail.
            let _ = match column {
                Left(_) => write!(text, "{cell:width$}  "),
                Right(_) => write!(text, "{cell:>width$}  "),
            };
        }
        table.push_str(text.trim_end());
        table.push('\n');
        table
    })
}

fn number(value: f64) -> String {
    match value {
        0.0 => "0".into(),
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 1000.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

/// A number that mostly is a whole one.
pub(crate) fn count(value: f64) -> String {
    format!("{}", (value * 10.0).round() / 10.0)
}

fn percent(value: f64) -> String {
    format!("{value:.0} %")
}

/// Everything, for programs.
#[derive(Serialize)]
struct File<'a> {
    benchmark: &'static str,
    machine: Machine,
    #[serde(skip_serializing_if = "Option::is_none")]
    rounds: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_millis: Option<u128>,
    rows: &'a [Row],
}

/// What the figures were measured on. What cannot be found out is left open.
#[derive(Serialize)]
struct Machine {
    cores: Option<usize>,
    processor: Option<String>,
    /// Of the last minute: what else the machine was doing.
    load: Option<String>,
    rustc: &'static str,
    target: &'static str,
}

/// Writes the rows of `benchmark` to `path`, making its directory if need be.
pub(crate) fn write(
    path: &Path,
    benchmark: &'static str,
    effort: Option<&Effort>,
    rows: &[Row],
) -> Result<(), Box<dyn Error>> {
    let file = File {
        benchmark,
        machine: machine(),
        rounds: effort.map(|effort| effort.rounds),
        batch_millis: effort.map(|effort| effort.batch.as_millis()),
        rows,
    };
    let json = serde_json::to_string_pretty(&file)? + "\n";
    let failed = |error| format!("cannot write {}: {error}", path.display());
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    Ok(fs::write(path, json).map_err(failed)?)
}

fn machine() -> Machine {
    Machine {
        cores: available_parallelism().ok().map(usize::from),
        processor: processor(),
        load: first_word("/proc/loadavg"),
        rustc: BUILT_BY,
        target: BUILT_FOR,
    }
}

fn processor() -> Option<String> {
    let facts = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = facts.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn first_word(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other_and_lines_end_with_text() {
        let row = |name: &str, value, hold: Option<&str>, holds| Row {
            spread_percent: Some(1.6),
            hold: hold.map(str::to_owned),
            holds,
            ..Row::new(name, value, "ns")
        };
        let rows = [
            row("ours", 95.04, Some("<= 60"), Some(false)),
            row("theirs, too", 3210.7, None, None),
        ];
        assert_eq!(
            held(&rows),
            "             figure      spread  against  hold\n\
             ours           95.0  ns     2 %           <= 60  MISSED\n\
             theirs, too    3211  ns     2 %\n"
        );
    }
}
