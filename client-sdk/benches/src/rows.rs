//! What is shown of what was measured, and what each figure is held to.
//!
//! Every case has its time, its allocations and its bytes. What is held, or compared, stands before
//! them, in one table.

use serde::Serialize;

use crate::harness::{Figure, Measured, Record};
use crate::memory::Memory;

const STACK: &str = "tower-resilience";
const ONE_THREAD: &str = "one thread";

/// What is held or compared, in order.
const HELD: &[Line] = &[
    nanos("ours, ready", "ours-ready").hold(AtMost(60.0)),
    allocations("ours, ready", "ours-ready").hold(AtMost(0.0)),
    times(
        "tower-resilience / ours, ready",
        &["tower-ready"],
        &["ours-ready"],
    )
    .of(STACK)
    .hold(AtLeast(6.0)),
    times(
        "ours, two threads / one",
        &["ours-ready-two"],
        &["ours-ready"],
    )
    .of(ONE_THREAD)
    .hold(AtMost(1.15)),
    // Beyond one, the machine itself had no second core to give: then the figures for two threads
    // say more about the neighbours than about the guard.
    times(
        "no guard, two threads / one",
        &["bare-ready-two"],
        &["bare-ready"],
    )
    .of(ONE_THREAD),
    times(
        "ours, two threads / one, beside no guard's",
        &["ours-ready-two", "bare-ready"],
        &["ours-ready", "bare-ready-two"],
    )
    .of("no guard"),
    times(
        "tower-resilience / ours, two threads",
        &["tower-ready-two"],
        &["ours-ready-two"],
    )
    .of(STACK)
    .hold(AtLeast(30.0)),
    nanos("ours, pending once", "ours-pending").hold(AtMost(350.0)),
    times(
        "ours / tower-resilience, pending once",
        &["ours-pending"],
        &["tower-pending"],
    )
    .of(STACK)
    .hold(AtMost(0.6)),
    // "As without": within what rounds of one and the same thing differ by here.
    times(
        "ours, window of 10,000 calls / consecutive",
        &["ours-time-window"],
        &["ours-ready"],
    )
    .of("consecutive")
    .hold(AtMost(1.1)),
    times(
        "ours, window of 10,000 calls, two threads / one",
        &["ours-time-window-two"],
        &["ours-time-window"],
    )
    .of(ONE_THREAD)
    .hold(AtMost(1.15)),
    nanos("ours, refused by the open breaker", "ours-refused").hold(AtMost(30.0)),
    allocations("ours, refused by the open breaker", "ours-refused").hold(AtMost(0.0)),
    memory("an operation, registered", |memory| memory.registered),
    memory("an operation, called on two threads", |memory| {
        memory.called
    })
    .hold(AtMost(MOST_MEMORY)),
    memory("an operation, called 100 times as often", |memory| {
        memory.called_more
    })
    .hold(AtMost(MOST_MEMORY)),
    memory("an operation, for 100 times more calls", |memory| {
        memory.called_more - memory.called
    })
    .hold(AtMost(AS_GOOD_AS_NOTHING)),
    memory("an operation, in the process's memory", |memory| {
        memory.resident
    })
    .hold(AtMost(MOST_MEMORY)),
];

/// What an operation may hold, in bytes.
const MOST_MEMORY: f64 = 16_384.0;
/// What traffic may add to that, in bytes: less than a word.
const AS_GOOD_AS_NOTHING: f64 = 4.0;

/// A line of the report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// How far apart the quartiles of the rounds are, in percent of the value. Counts have none.
    pub(crate) spread_percent: Option<f64>,
    /// What the value compares with, where it is a multiple.
    pub(crate) against: Option<&'static str>,
    pub(crate) hold: Option<String>,
    pub(crate) holds: Option<bool>,
}

/// What is held or compared.
pub(crate) fn held(measured: &Measured, memory: &Memory) -> Vec<Row> {
    let lines = HELD.iter();
    lines
        .filter_map(|line| line.row(measured, memory))
        .collect()
}

/// Every case's time, allocations and bytes.
pub(crate) fn cases(measured: &Measured) -> Vec<Row> {
    measured.records().iter().flat_map(of_case).collect()
}

fn of_case(record: &Record) -> Vec<Row> {
    let (name, allocations) = (record.id(), record.allocations());
    let time = record.nanos().map(|figure| Row {
        spread_percent: Some(figure.spread_percent),
        ..Row::new(name, figure.median, "ns")
    });
    let counts = [
        Row::new(name, allocations.times, "allocations"),
        Row::new(name, allocations.bytes, "bytes"),
    ];
    time.into_iter().chain(counts).collect()
}

impl Row {
    /// A figure that is only shown.
    pub(crate) fn new(name: &str, value: f64, unit: &'static str) -> Self {
        Self {
            name: name.into(),
            value,
            unit,
            spread_percent: None,
            against: None,
            hold: None,
            holds: None,
        }
    }

    /// Holds the figure to `hold`.
    pub(crate) fn held_to(mut self, hold: Hold) -> Self {
        self.hold = Some(hold.text());
        self.holds = Some(hold.is_kept_by(self.value));
        self
    }
}

/// A row that wants its figure.
#[derive(Clone, Copy)]
struct Line {
    name: &'static str,
    shown: Shown,
    against: Option<&'static str>,
    hold: Option<Hold>,
}

#[derive(Clone, Copy)]
enum Shown {
    Nanos(&'static str),
    /// The first cases' product, in terms of the second ones'.
    Times(&'static [&'static str], &'static [&'static str]),
    Allocations(&'static str),
    Memory(fn(&Memory) -> f64),
}

/// What a figure must keep.
#[derive(Clone, Copy)]
pub(crate) enum Hold {
    AtMost(f64),
    AtLeast(f64),
}

use Hold::{AtLeast, AtMost};

const fn nanos(name: &'static str, id: &'static str) -> Line {
    Line::new(name, Shown::Nanos(id))
}

const fn times(
    name: &'static str,
    above: &'static [&'static str],
    below: &'static [&'static str],
) -> Line {
    Line::new(name, Shown::Times(above, below))
}

const fn allocations(name: &'static str, id: &'static str) -> Line {
    Line::new(name, Shown::Allocations(id))
}

const fn memory(name: &'static str, of: fn(&Memory) -> f64) -> Line {
    Line::new(name, Shown::Memory(of))
}

impl Line {
    const fn new(name: &'static str, shown: Shown) -> Self {
        Self {
            name,
            shown,
            against: None,
            hold: None,
        }
    }

    const fn of(mut self, against: &'static str) -> Self {
        self.against = Some(against);
        self
    }

    const fn hold(mut self, hold: Hold) -> Self {
        self.hold = Some(hold);
        self
    }

    fn row(&self, measured: &Measured, memory: &Memory) -> Option<Row> {
        let (value, spread_percent) = self.shown.figure(measured, memory)?;
        let row = Row {
            spread_percent,
            against: self.against,
            ..Row::new(self.name, value, self.shown.unit())
        };
        Some(match self.hold {
            Some(hold) => row.held_to(hold),
            None => row,
        })
    }
}

impl Shown {
    /// The value, and its spread over the rounds.
    fn figure(self, measured: &Measured, memory: &Memory) -> Option<(f64, Option<f64>)> {
        let over_rounds = |figure: Figure| (figure.median, Some(figure.spread_percent));
        match self {
            Self::Nanos(id) => measured.of(id)?.nanos().map(over_rounds),
            Self::Times(above, below) => measured.quotient(above, below).map(over_rounds),
            Self::Allocations(id) => Some((measured.of(id)?.allocations().times, None)),
            Self::Memory(of) => Some((of(memory), None)),
        }
    }

    const fn unit(self) -> &'static str {
        match self {
            Self::Nanos(_) => "ns",
            Self::Times(..) => "x",
            Self::Allocations(_) => "allocations",
            Self::Memory(_) => "bytes",
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_kept_at_its_very_limit() {
        assert!(AtMost(60.0).is_kept_by(60.0) && !AtMost(60.0).is_kept_by(60.1));
        assert!(AtLeast(6.0).is_kept_by(6.0) && !AtLeast(6.0).is_kept_by(5.9));
        assert_eq!(AtMost(1.15).text(), "<= 1.15");
    }
}
