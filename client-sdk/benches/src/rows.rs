//! What is shown of what was measured, and what each figure is held to.
//!
//! The holds are those of the design, in one table. Those of a later stage are judged all the same
//! and say so, so that the way left to go can be seen.

use serde::Serialize;

use crate::harness::{Figure, Measured};

const STACK: &str = "tower-resilience";
const ONE_THREAD: &str = "one thread";
const CONSECUTIVE: &str = "ours, consecutive";

/// All that is shown, in order. A figure with two holds has a line for each.
const LINES: &[Line] = &[
    nanos("ours, ready", "ours-ready").hold(AtMost(120.0)),
    nanos("ours, ready", "ours-ready")
        .hold(AtMost(60.0))
        .later(),
    allocations("ours, ready", "ours-ready").hold(AtMost(0.0)),
    bytes("ours, ready", "ours-ready"),
    nanos("tower-resilience, ready", "tower-ready"),
    allocations("tower-resilience, ready", "tower-ready"),
    bytes("tower-resilience, ready", "tower-ready"),
    nanos(
        "tower-resilience with attempt timeout, ready",
        "tower-full-ready",
    ),
    allocations(
        "tower-resilience with attempt timeout, ready",
        "tower-full-ready",
    ),
    times(
        "tower-resilience / ours, ready",
        "tower-ready",
        "ours-ready",
    )
    .of(STACK)
    .hold(AtLeast(6.0))
    .later(),
    nanos("ours, two threads", "ours-two"),
    times("ours, two threads / one", "ours-two", "ours-ready")
        .of(ONE_THREAD)
        .hold(AtMost(1.15))
        .later(),
    nanos("tower-resilience, two threads", "tower-two"),
    times(
        "tower-resilience / ours, two threads",
        "tower-two",
        "ours-two",
    )
    .of(STACK)
    .hold(AtLeast(30.0))
    .later(),
    nanos("ours, pending once", "ours-pending")
        .hold(AtMost(350.0))
        .later(),
    allocations("ours, pending once", "ours-pending"),
    nanos("tower-resilience, pending once", "tower-pending"),
    allocations("tower-resilience, pending once", "tower-pending"),
    times(
        "ours / tower-resilience, pending once",
        "ours-pending",
        "tower-pending",
    )
    .of(STACK)
    .hold(AtMost(0.6))
    .later(),
    nanos(
        "tokio's timeout alone, pending once",
        "tokio-timeout-pending",
    ),
    nanos("ours, window of calls", "ours-window"),
    allocations("ours, window of calls", "ours-window"),
    // "As without": within what rounds of one and the same thing differ by here.
    times("ours, window / consecutive", "ours-window", "ours-ready")
        .of(CONSECUTIVE)
        .hold(AtMost(1.1))
        .later(),
    nanos("ours, window, two threads", "ours-window-two"),
    times(
        "ours, window, two threads / one",
        "ours-window-two",
        "ours-window",
    )
    .of(ONE_THREAD)
    .hold(AtMost(1.15))
    .later(),
    nanos("tower-resilience, window of 10,000 calls", "tower-window"),
    nanos("ours, refused by the open breaker", "ours-refused")
        .hold(AtMost(30.0))
        .later(),
    allocations("ours, refused by the open breaker", "ours-refused")
        .hold(AtMost(0.0))
        .later(),
    nanos("recloser (breaker only), ready", "recloser-ready"),
    nanos("recloser (breaker only), two threads", "recloser-two"),
    nanos("failsafe (breaker only), ready", "failsafe-ready"),
    nanos("failsafe (breaker only), two threads", "failsafe-two"),
    nanos("floor: plan, two clock reads, counters", "floor"),
    nanos("no guard, ready", "bare-ready"),
    nanos("no guard, pending once", "bare-pending"),
    // Beyond one, the machine itself had no second core to give: then the figures for two threads
    // say more about the neighbours than about the guard.
    times("no guard, two threads / one", "bare-two", "bare-ready").of(ONE_THREAD),
];

/// A line of the report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// How far apart the quartiles of the rounds are, in percent of the value. Counts have none.
    pub(crate) spread_percent: Option<f64>,
    /// What the value compares with, where it is a multiple.
    pub(crate) against: Option<&'static str>,
    pub(crate) hold: Option<String>,
    pub(crate) holds: Option<bool>,
}

/// Every row that `measured` has a figure for.
pub(crate) fn all(measured: &Measured) -> Vec<Row> {
    LINES.iter().filter_map(|line| line.row(measured)).collect()
}

/// A row that wants its figure.
#[derive(Clone, Copy)]
struct Line {
    name: &'static str,
    shown: Shown,
    against: Option<&'static str>,
    hold: Option<Hold>,
    later: bool,
}

#[derive(Clone, Copy)]
enum Shown {
    Nanos(&'static str),
    /// How many times the first costs what the second does.
    Times(&'static str, &'static str),
    Allocations(&'static str),
    Bytes(&'static str),
}

#[derive(Clone, Copy)]
enum Hold {
    AtMost(f64),
    AtLeast(f64),
}

use Hold::{AtLeast, AtMost};

const fn nanos(name: &'static str, id: &'static str) -> Line {
    Line::new(name, Shown::Nanos(id))
}

const fn times(name: &'static str, one: &'static str, other: &'static str) -> Line {
    Line::new(name, Shown::Times(one, other))
}

const fn allocations(name: &'static str, id: &'static str) -> Line {
    Line::new(name, Shown::Allocations(id))
}

const fn bytes(name: &'static str, id: &'static str) -> Line {
    Line::new(name, Shown::Bytes(id))
}

impl Line {
    const fn new(name: &'static str, shown: Shown) -> Self {
        Self {
            name,
            shown,
            against: None,
            hold: None,
            later: false,
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

    /// The hold is one of a later stage.
    const fn later(mut self) -> Self {
        self.later = true;
        self
    }

    fn row(&self, measured: &Measured) -> Option<Row> {
        let (value, spread_percent) = self.shown.figure(measured)?;
        let later = if self.later { ", later" } else { "" };
        Some(Row {
            name: self.name,
            value,
            unit: self.shown.unit(),
            spread_percent,
            against: self.against,
            hold: self.hold.map(|hold| hold.text() + later),
            holds: self.hold.map(|hold| hold.is_kept_by(value)),
        })
    }
}

impl Shown {
    /// The value, and its spread over the rounds.
    fn figure(self, measured: &Measured) -> Option<(f64, Option<f64>)> {
        let over_rounds = |figure: Figure| (figure.median, Some(figure.spread_percent));
        match self {
            Self::Nanos(id) => measured.nanos(id).map(over_rounds),
            Self::Times(one, other) => measured.ratio(one, other).map(over_rounds),
            Self::Allocations(id) => Some((measured.allocations(id)?.times, None)),
            Self::Bytes(id) => Some((measured.allocations(id)?.bytes, None)),
        }
    }

    const fn unit(self) -> &'static str {
        match self {
            Self::Nanos(_) => "ns",
            Self::Times(..) => "x",
            Self::Allocations(_) => "allocations",
            Self::Bytes(_) => "bytes",
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
