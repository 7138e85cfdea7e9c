//! The rows as a table for people and as JSON for programs.

use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

/// A figure, and what it must keep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// Plain ASCII without quotes.
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    /// Plain ASCII without quotes.
    pub(crate) unit: &'static str,
    pub(crate) hold: Hold,
}

/// What a figure must keep.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hold {
    AtMost(f64),
    AtLeast(f64),
}

impl Row {
    fn holds(&self) -> bool {
        match self.hold {
            Hold::AtMost(most) => self.value <= most,
            Hold::AtLeast(least) => self.value >= least,
        }
    }

    fn hold(&self) -> String {
        match self.hold {
            Hold::AtMost(most) => format!("<= {most}"),
            Hold::AtLeast(least) => format!(">= {least}"),
        }
    }
}

/// A line a row.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let verdict = if row.holds() { "holds" } else { "MISSED" };
        let (name, value, unit, hold) = (row.name, row.value, row.unit, row.hold());
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{name:48} {value:>12.1} {unit:12} {hold:12} {verdict}"
        );
    }
    text
}

/// Writes the rows to `path`.
pub(crate) fn write(path: &Path, rows: &[Row]) -> io::Result<()> {
    let rows: Vec<_> = rows.iter().map(json).collect();
    let rows = rows.join(",\n    ");
    let text = format!("{{\n  \"benchmark\": \"fleet\",\n  \"rows\": [\n    {rows}\n  ]\n}}\n");
    fs::write(path, text)
}

fn json(row: &Row) -> String {
    let (name, value, unit) = (row.name, row.value, row.unit);
    let (hold, holds) = (row.hold(), row.holds());
    format!(
        "{{\"name\": \"{name}\", \"value\": {value}, \"unit\": \"{unit}\", \"against\": null, \
         \"hold\": \"{hold}\", \"holds\": {holds}}}"
    )
}
