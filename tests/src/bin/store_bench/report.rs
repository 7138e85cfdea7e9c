//! The rows as a table for people and as a file for programs.

use std::fs;
use std::path::Path;
use std::thread::available_parallelism;

use serde_json::{Value, json};

use crate::{Effort, Result};

/// A line of the report.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    name: String,
    /// The figure, or why there is none.
    value: std::result::Result<f64, String>,
    unit: &'static str,
    spread_percent: Option<f64>,
    against: Option<&'static str>,
    hold: Option<Hold>,
}

/// What a figure must keep.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hold {
    AtMost(f64),
    AtLeast(f64),
}

impl Row {
    /// A figure that is only shown.
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self::of(name, Ok(value), unit)
    }

    /// The same, or why it could not be had.
    pub(crate) fn of(
        name: impl Into<String>,
        value: std::result::Result<f64, String>,
        unit: &'static str,
    ) -> Self {
        Self {
            name: name.into(),
            value,
            unit,
            spread_percent: None,
            against: None,
            hold: None,
        }
    }

    /// How far apart the quartiles of the rounds are, in percent of the value.
    pub(crate) fn spread(self, percent: f64) -> Self {
        Self {
            spread_percent: Some(percent),
            ..self
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
        let kept = |hold: Hold| {
            self.value
                .as_ref()
                .is_ok_and(|value| hold.is_kept_by(*value))
        };
        self.hold.map(kept)
    }

    fn cells(&self) -> [String; 7] {
        let verdict = match (&self.value, self.holds()) {
            (Err(error), _) => error,
            (_, Some(true)) => "holds",
            (_, Some(false)) => "MISSED",
            (_, None) => "",
        };
        let spread = self.spread_percent.map(|percent| format!("{percent:.0} %"));
        [
            self.name.clone(),
            self.value
                .as_ref()
                .map_or_else(|_| "-".into(), |value| number(*value)),
            self.unit.into(),
            spread.unwrap_or_default(),
            self.against.unwrap_or_default().into(),
            self.hold.map(Hold::text).unwrap_or_default(),
            verdict.into(),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "value": self.value.as_ref().ok(),
            "unit": self.unit,
            "spread_percent": self.spread_percent,
            "against": self.against,
            "hold": self.hold.map(Hold::text),
            "holds": self.holds(),
            "error": self.value.as_ref().err(),
        })
    }
}

impl Hold {
    fn text(self) -> String {
        match self {
            Self::AtMost(most) => format!("<= {most}"),
            Self::AtLeast(least) => format!(">= {least}"),
        }
    }

    fn is_kept_by(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

/// All rows, in columns.
pub(crate) fn table(rows: &[Row]) -> String {
    let heading = ["", "figure", "", "spread", "against", "hold", ""].map(str::to_owned);
    let lines: Vec<_> = [heading]
        .into_iter()
        .chain(rows.iter().map(Row::cells))
        .collect();
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: [usize; 7] = std::array::from_fn(width);
    let line = |cells: &[String; 7]| {
        let cells = cells.iter().zip(widths).enumerate();
        let texts = cells.map(|(column, (cell, width))| match column {
            1 | 3 => format!("{cell:>width$}"),
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
pub(crate) fn write(path: &Path, effort: &Effort, rows: &[Row]) -> Result<()> {
    let file = json!({
        "benchmark": "store",
        "machine": {
            "cores": available_parallelism().ok().map(usize::from),
            "processor": processor(),
            "load": load(),
        },
        "rounds": effort.rounds,
        "policies": effort.policies,
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
            Row::new("ours", 95.04, "us")
                .spread(1.6)
                .held_to(Hold::AtMost(95.04)),
            Row::of("theirs, too", Err("not built yet".into()), "ms").held_to(Hold::AtLeast(2.0)),
        ];
        assert_eq!(
            table(&rows),
            "             figure      spread  against  hold\n\
             ours           95.0  us     2 %           <= 95.04  holds\n\
             theirs, too       -  ms                   >= 2      not built yet\n"
        );
        assert_eq!(rows[1].holds(), Some(false));
    }
}
