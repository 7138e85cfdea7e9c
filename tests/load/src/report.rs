//! The rows as a table for people and as a file for programs.

use std::fs;
use std::path::Path;
use std::thread::available_parallelism;

use serde_json::{Value, json};

use crate::Result;
use crate::effort::Effort;

/// A line of the report.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    name: String,
    /// The figure, if there is one.
    value: Option<f64>,
    unit: &'static str,
    against: Option<&'static str>,
    hold: Option<Hold>,
}

/// What a figure must keep.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hold {
    AtMost(f64),
    AtLeast(f64),
    Exactly(f64),
}

impl Row {
    /// A figure that is only shown; one that is no number was not measured.
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        let value = Some(value).filter(|value| value.is_finite());
        Self {
            name: name.into(),
            value,
            unit,
            against: None,
            hold: None,
        }
    }

    /// What a multiple compares with.
    pub(crate) fn against(self, against: &'static str) -> Self {
        Self {
            against: Some(against),
            ..self
        }
    }

    /// Holds the figure to `hold`.
    pub(crate) fn held_to(self, hold: Hold) -> Self {
        Self {
            hold: Some(hold),
            ..self
        }
    }

    /// A figure that cannot be had keeps nothing.
    fn holds(&self) -> Option<bool> {
        let kept = |hold: Hold| self.value.is_some_and(|value| hold.is_kept_by(value));
        self.hold.map(kept)
    }

    fn cells(&self) -> [String; 6] {
        let verdict = match (self.value, self.holds()) {
            (None, _) => "not measured",
            (_, Some(true)) => "holds",
            (_, Some(false)) => "MISSED",
            (_, None) => "",
        };
        [
            self.name.clone(),
            self.value.map_or_else(|| "-".into(), number),
            self.unit.into(),
            self.against.unwrap_or_default().into(),
            self.hold.map(Hold::text).unwrap_or_default(),
            verdict.into(),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "against": self.against,
            "hold": self.hold.map(Hold::text),
            "holds": self.holds(),
        })
    }
}

impl Hold {
    fn text(self) -> String {
        match self {
            Self::AtMost(most) => format!("<= {most}"),
            Self::AtLeast(least) => format!(">= {least}"),
            Self::Exactly(exact) => format!("= {exact}"),
        }
    }

    fn is_kept_by(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
            // Both are counts.
            Self::Exactly(exact) => (value - exact).abs() < 0.5,
        }
    }
}

/// All rows, in columns.
pub(crate) fn table(rows: &[Row]) -> String {
    let heading = ["", "figure", "", "against", "hold", ""].map(str::to_owned);
    let lines: Vec<_> = [heading]
        .into_iter()
        .chain(rows.iter().map(Row::cells))
        .collect();
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: [usize; 6] = std::array::from_fn(width);
    let line = |cells: &[String; 6]| {
        let cells = cells.iter().zip(widths).enumerate();
        let texts = cells.map(|(column, (cell, width))| match column {
            1 => format!("{cell:>width$}"),
            _ => format!("{cell:width$}"),
        });
        texts.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    lines.iter().map(line).collect()
}

fn number(value: f64) -> String {
    match value {
        0.0 => "0".into(),
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 1000.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

/// Writes the rows to `path`, making its directory if need be.
pub(crate) fn write(path: &Path, bench: &str, effort: &Effort, rows: &[Row]) -> Result<()> {
    let file = json!({
        "benchmark": bench,
        "machine": {
            "cores": available_parallelism().ok().map(usize::from),
            "processor": processor(),
            "load": load(),
        },
        "rounds": effort.rounds,
        "sessions": effort.sessions,
        "rows": rows.iter().map(Row::json).collect::<Vec<_>>(),
    });
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let text = serde_json::to_string_pretty(&file)? + "\n";
    Ok(fs::write(path, text)
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?)
}

fn processor() -> Option<String> {
    let facts = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = facts.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Of the last minute: what else the machine was doing.
fn load() -> Option<String> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other_and_what_cannot_be_had_is_missed() {
        let rows = [
            Row::new("ours", 95.04, "us").held_to(Hold::AtMost(95.04)),
            Row::new("theirs, too", f64::NAN, "ms").held_to(Hold::AtLeast(2.0)),
        ];
        assert_eq!(
            table(&rows),
            "             figure      against  hold\n\
             ours           95.0  us           <= 95.04  holds\n\
             theirs, too       -  ms           >= 2      not measured\n"
        );
        assert_eq!(rows[1].holds(), Some(false));
    }
}
