//! An operation as a line: what stands in which column, and how wide.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use fusebox_proto::v1::InstancesByState;

use super::fleet::{HISTORY, Id, Known};
use crate::figures::{cut, latency, percent, rate, span};
use crate::print::one_line;

/// From which age on figures are told to be old.
const OLD: Duration = Duration::from_secs(10);
/// All columns but name, instances and failures, with the spaces between all of them.
const FIXED: usize = 32;

/// How wide the columns are that give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    name: usize,
    instances: usize,
    failures: usize,
}

impl Columns {
    /// For a line of `width`.
    pub(super) fn within(width: usize) -> Self {
        let rest = width.saturating_sub(FIXED);
        // Where there is little room, names go before the past.
        let failures = match rest {
            0..36 => 0,
            _ => (rest / 5).min(HISTORY),
        };
        let instances = (rest / 3).clamp(12, 24).min(rest);
        let name = rest.saturating_sub(failures + instances);
        Self {
            name,
            instances,
            failures,
        }
    }

    /// For lines in a pipe: names whole, and no failures of the past.
    pub(super) fn for_names(longest: usize) -> Self {
        Self {
            name: longest.max(17),
            instances: 24,
            failures: 0,
        }
    }

    pub(super) fn head(&self) -> String {
        let failures = match self.failures {
            0..8 => "",
            _ => "failures",
        };
        self.line([
            "service/operation",
            "instances",
            "F",
            "calls/s",
            "fail %",
            "p99",
            failures,
            "age",
        ])
    }

    pub(super) fn row(&self, id: &Id, known: &Known, now: Instant) -> String {
        let status = &known.status;
        let counts = status.instances.unwrap_or_default();
        let age = known.age(now);
        let age = match age >= OLD {
            true => span(age),
            false => String::new(),
        };
        self.line([
            &one_line(&id.name()),
            &states(&counts, self.instances),
            forced(&counts),
            &rate(status.calls_per_second),
            &percent(status.failure_ratio, status.ratio_sample),
            &latency(status.p99),
            &sparkline(&known.failures, self.failures),
            &age,
        ])
    }

    fn line(&self, cells: [&str; 8]) -> String {
        let [name, instances, forced, calls, failed, p99, failures, age] = cells;
        let (wide, counted, past) = (self.name, self.instances, self.failures);
        let (name, failures) = (cut(name, wide), cut(failures, past));
        let line = format!(
            "{name:<wide$} {instances:<counted$} {forced:<1} {calls:>7} {failed:>6} {p99:>7} \
             {failures:<past$} {age:>4}"
        );
        line.trim_end().to_owned()
    }
}

/// How many instances are in which state: closed, open, half-open, silent, gone.
pub(super) fn states(counts: &InstancesByState, width: usize) -> String {
    let states = [
        (counts.closed, 'c'),
        (counts.open, 'o'),
        (counts.half_open, 'h'),
        (counts.stale, '?'),
        (counts.gone, '-'),
    ];
    let states = states.into_iter().filter(|(count, _)| *count > 0);
    let states: Vec<_> = states
        .map(|(count, state)| format!("{count}{state}"))
        .collect();
    let wide = match states.is_empty() {
        true => "none".to_owned(),
        false => states.join(" "),
    };
    match wide.len() <= width {
        true => wide,
        false => cut(&states.concat(), width),
    }
}

/// `F` where an override decides for some instance.
fn forced(counts: &InstancesByState) -> &'static str {
    match counts.forced_open + counts.forced_closed {
        0 => "",
        _ => "F",
    }
}

/// The worst failure ratio of each of `width` parts of the last minute; a gap where nothing was
/// called or heard.
pub(super) fn sparkline(failures: &VecDeque<Option<f64>>, width: usize) -> String {
    let Some(each) = (width > 0).then(|| HISTORY.div_ceil(width)) else {
        return String::new();
    };
    let missing = (each * width).saturating_sub(failures.len());
    let gaps = std::iter::repeat_n(None, missing);
    let skipped = failures.len().saturating_sub(each * width);
    let all: Vec<_> = gaps.chain(failures.iter().skip(skipped).copied()).collect();
    let parts = all.chunks(each);
    let worst = parts.map(|part| part.iter().flatten().copied().reduce(f64::max));
    worst.map(|worst| worst.map_or(' ', block)).collect()
}

fn block(ratio: f64) -> char {
    match ratio {
        ratio if ratio <= 0.0 => '▁',
        ratio if ratio <= 0.05 => '▂',
        ratio if ratio <= 0.15 => '▃',
        ratio if ratio <= 0.3 => '▄',
        ratio if ratio <= 0.45 => '▅',
        ratio if ratio <= 0.6 => '▆',
        ratio if ratio <= 0.8 => '▇',
        _ => '█',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts() -> InstancesByState {
        InstancesByState {
            closed: 38,
            open: 2,
            half_open: 1,
            stale: 1,
            ..InstancesByState::default()
        }
    }

    #[test]
    fn states_are_counted_and_never_one_word() {
        assert_eq!(states(&counts(), 14), "38c 2o 1h 1?");
        assert_eq!(states(&counts(), 10), "38c2o1h1?");
        assert_eq!(states(&InstancesByState::default(), 14), "none");
    }

    #[test]
    fn a_head_fits_whatever_room_there_is() {
        for width in [47, 60, 80, 120, 300] {
            let columns = Columns::within(width);
            let all = FIXED + columns.name + columns.instances + columns.failures;
            assert_eq!(all, width);
            assert!(columns.head().chars().count() <= width, "{width}");
        }
    }

    #[test]
    fn a_minute_of_failures_is_as_wide_as_it_may_be_and_ends_now() {
        let mut failures = VecDeque::from(vec![Some(0.0); HISTORY]);
        failures.pop_front();
        failures.push_back(Some(1.0));
        for width in [1, 7, 10, 60] {
            let line = sparkline(&failures, width);
            assert_eq!(line.chars().count(), width);
            assert!(line.ends_with('█'), "{line}");
        }
        assert_eq!(sparkline(&VecDeque::from([None]), 3), "   ");
        assert_eq!(sparkline(&failures, 0), "");
    }
}
