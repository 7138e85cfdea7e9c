//! The rows as a table for people and as a file for programs.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;

use serde::Serialize;

use crate::harness::Effort;
use crate::rows::Row;

/// The rows, aligned.
pub(crate) fn table(rows: &[Row]) -> String {
    let name = widest("", rows.iter().map(|row| row.name));
    let against = widest("against", rows.iter().filter_map(|row| row.against));
    let hold = widest("hold", rows.iter().filter_map(|row| row.hold.as_deref()));
    let mut table = heading(name, against, hold);
    for row in rows {
        let spread = row.spread_percent.map(|spread| format!("{spread:.0} %"));
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "{:name$}  {:>9}  {:11}  {:>6}  {:against$}  {:hold$}  {}",
            row.name,
            number(row.value),
            row.unit,
            spread.unwrap_or_default(),
            row.against.unwrap_or_default(),
            row.hold.as_deref().unwrap_or_default(),
            row.holds
                .map_or("", |holds| if holds { "holds" } else { "MISSED" }),
        );
    }
    let lines = table.lines().map(str::trim_end);
    lines.fold(String::new(), |all, line| all + line + "\n")
}

fn heading(name: usize, against: usize, hold: usize) -> String {
    let (n, v, u, s, a, h) = ("", "a call", "", "spread", "against", "hold");
    format!("{n:name$}  {v:>9}  {u:11}  {s:>6}  {a:against$}  {h:hold$}\n")
}

fn widest<'a>(heading: &'a str, texts: impl Iterator<Item = &'a str>) -> usize {
    let texts = texts.chain([heading]);
    texts.map(str::len).max().unwrap_or_default()
}

fn number(value: f64) -> String {
    match value {
        0.0 => "0".into(),
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 1000.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

/// Everything, for programs.
#[derive(Serialize)]
struct File<'a> {
    benchmark: &'static str,
    machine: Machine,
    rounds: u32,
    batch_millis: u128,
    rows: &'a [Row],
}

/// What the figures were measured on. What cannot be found out is left open.
#[derive(Serialize)]
struct Machine {
    cores: Option<usize>,
    processor: Option<String>,
    /// Of the last minute: what else the machine was doing.
    load: Option<String>,
    rustc: Option<String>,
}

/// Writes the rows to `path`, making its directory if need be.
pub(crate) fn write(path: &Path, rows: &[Row], effort: &Effort) -> Result<(), Box<dyn Error>> {
    let file = File {
        benchmark: "overhead",
        machine: machine(),
        rounds: effort.rounds,
        batch_millis: effort.batch.as_millis(),
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
        rustc: rustc(),
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

/// The compiler here, which is the one that built this when run through cargo.
fn rustc() -> Option<String> {
    let output = Command::new("rustc").arg("--version").output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    Some(version.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other_and_lines_end_with_text() {
        let row = |name, value, hold: Option<&str>, holds| Row {
            name,
            value,
            unit: "ns",
            spread_percent: Some(1.6),
            against: None,
            hold: hold.map(str::to_owned),
            holds,
        };
        let rows = [
            row("ours", 95.04, Some("<= 60"), Some(false)),
            row("theirs, too", 3210.7, None, None),
        ];
        assert_eq!(
            table(&rows),
            "                a call               spread  against  hold\n\
             ours              95.0  ns              2 %           <= 60  MISSED\n\
             theirs, too       3211  ns              2 %\n"
        );
    }
}
