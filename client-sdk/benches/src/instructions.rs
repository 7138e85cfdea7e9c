//! Instructions a call: what a neighbour cannot change, and a line of code can.
//!
//! Callgrind runs this program anew for each case and counts within one frame,
//! [`Case::run`](crate::harness::Case::run), after a few calls that warm the case up. Two threads
//! are left out: valgrind runs them in turns. Allocations are counted here, without it.
//!
//! The record stands in the source tree, and says who compiled what it tells of: figures of another
//! compiler, or for another processor, are another program's.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::process::Command;

use crate::cases;
use crate::harness::{Allocations, Case};
use crate::report::{BUILT_BY, BUILT_FOR, count as shown};
use crate::rows::{Hold, Row};

/// Calls over which instructions are counted.
const CALLS: u64 = 10_000;
/// The frame within which they are, as callgrind spells it.
const FRAME: &str = "*harness::Case::run*";
/// Where they are recorded.
const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/INSTRUCTIONS.md");
/// How many times what is recorded a case of ours may take.
const GROWTH: f64 = 1.05;

const HEADING: &str = "\
# Instructions a call

Counted by callgrind and written by `tests/bench instructions`; `tests/bench instructions --check` \
fails if a case of ours takes over 5 % more than stands here.

";

/// What a call of one case takes.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    pub(crate) id: String,
    pub(crate) instructions: f64,
    pub(crate) allocations: Allocations,
}

/// Counts every case that one caller makes by itself.
pub(crate) fn count(cases: &mut [Case]) -> Result<Vec<Counted>, Box<dyn Error>> {
    let alone = cases.iter_mut().filter(|case| case.is_alone());
    alone.map(count_one).collect()
}

fn count_one(case: &mut Case) -> Result<Counted, Box<dyn Error>> {
    let calls = case.up_to(CALLS);
    Ok(Counted {
        id: case.id().into(),
        instructions: callgrind(case.id(), calls)? as f64 / calls as f64,
        allocations: case.allocations(),
    })
}

/// Instructions of all `calls`.
fn callgrind(id: &str, calls: u64) -> Result<u64, Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let profile = directory.path().join("profile");
    let ran = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={FRAME}"))
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(std::env::current_exe()?)
        .args(["--only", id, "--iterations", &calls.to_string()])
        .output()
        .map_err(|error| explained(&error))?;
    if !ran.status.success() {
        let said = String::from_utf8_lossy(&ran.stderr);
        return Err(format!("{id} under callgrind: {}\n{said}", ran.status).into());
    }
    match collected(&fs::read_to_string(profile)?) {
        Some(0) => Err(format!("callgrind counted nothing in {FRAME} for {id}").into()),
        Some(instructions) => Ok(instructions),
        None => Err(format!("callgrind's profile of {id} has no summary").into()),
    }
}

fn explained(error: &io::Error) -> Box<dyn Error> {
    if error.kind() == io::ErrorKind::NotFound {
        return "valgrind is not installed; on Debian: apt-get install valgrind".into();
    }
    format!("cannot run valgrind: {error}").into()
}

/// The sum in one of callgrind's profiles.
fn collected(profile: &str) -> Option<u64> {
    let sum = profile
        .lines()
        .find_map(|line| line.strip_prefix("summary:"));
    sum?.trim().parse().ok()
}

/// The counts as rows, ours held to what is recorded of the same compiler.
pub(crate) fn rows(counted: &[Counted], record: &Record) -> Vec<Row> {
    let of_case = |counted: &Counted| {
        let row = |value, unit| Row::new(&counted.id, value, unit);
        let instructions = row(counted.instructions, "instructions");
        [
            match record.most(&counted.id) {
                Some(most) => instructions.held_to(Hold::AtMost(most)),
                None => instructions,
            },
            row(counted.allocations.times, "allocations"),
            row(counted.allocations.bytes, "bytes"),
        ]
    };
    counted.iter().flat_map(of_case).collect()
}

/// What was counted before.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Record {
    built: String,
    instructions: BTreeMap<String, f64>,
}

impl Record {
    /// What the source tree holds; nothing if it holds none.
    pub(crate) fn read() -> Result<Self, Box<dyn Error>> {
        match fs::read_to_string(RECORD) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(format!("cannot read {RECORD}: {error}").into()),
        }
    }

    /// Records `counted` instead.
    pub(crate) fn write(counted: &[Counted]) -> Result<(), Box<dyn Error>> {
        fs::write(RECORD, text(counted))
            .map_err(|error| format!("cannot write {RECORD}: {error}"))?;
        println!("\nrecorded in {RECORD}");
        Ok(())
    }

    /// Fails if a case of ours has grown. Another compiler's record cannot tell, which is said.
    pub(crate) fn check(&self, counted: &[Counted]) -> Result<(), Box<dyn Error>> {
        if self.built != built() {
            println!(
                "\nnot compared: the record is of {}, this is {}",
                self.built,
                built()
            );
            return Ok(());
        }
        let ours = counted.iter().filter(|counted| cases::is_ours(&counted.id));
        let problems: Vec<_> = ours.filter_map(|counted| self.problem(counted)).collect();
        if problems.is_empty() {
            println!("\nours take no more than recorded");
            return Ok(());
        }
        Err(problems.join("; ").into())
    }

    fn problem(&self, counted: &Counted) -> Option<String> {
        let Counted {
            id, instructions, ..
        } = counted;
        let Some(most) = self.most(id) else {
            return Some(format!("{id} is not recorded"));
        };
        let (before, now) = (shown(most / GROWTH), shown(*instructions));
        (*instructions > most)
            .then(|| format!("{id} takes {now} instructions, recorded are {before}"))
    }

    /// What a case of ours may take, if the record can tell.
    fn most(&self, id: &str) -> Option<f64> {
        let comparable = self.built == built() && cases::is_ours(id);
        let recorded = self.instructions.get(id).filter(|_| comparable)?;
        Some(recorded * GROWTH)
    }

    fn parse(text: &str) -> Self {
        let built = text.lines().find_map(|line| line.strip_prefix("Built by "));
        let row = |line: &str| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            let (id, instructions) = (cells.next()?, cells.next()?);
            Some((id.to_owned(), instructions.parse().ok()?))
        };
        Self {
            built: built.unwrap_or("nobody").trim_end_matches('.').into(),
            instructions: text.lines().filter_map(row).collect(),
        }
    }
}

fn built() -> String {
    format!("{BUILT_BY} for {BUILT_FOR}")
}

/// The record of `counted`.
fn text(counted: &[Counted]) -> String {
    let mut text = format!(
        "{HEADING}Built by {}.\n\n\
         | case | instructions | allocations | bytes |\n|---|---:|---:|---:|\n",
        built()
    );
    for Counted {
        id,
        instructions,
        allocations,
    } in counted
    {
        let (times, bytes) = (shown(allocations.times), shown(allocations.bytes));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {id} | {instructions:.0} | {times} | {bytes} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(id: &str, instructions: f64) -> Counted {
        Counted {
            id: id.into(),
            instructions,
            allocations: Allocations::default(),
        }
    }

    fn recorded(counted: &[Counted]) -> Record {
        Record::parse(&text(counted))
    }

    #[test]
    fn what_was_recorded_is_read_again() {
        let record = recorded(&[counted("ours-ready", 420.4), counted("bare-ready", 7.0)]);
        assert_eq!(record.built, built());
        let instructions = [("ours-ready".into(), 420.0), ("bare-ready".into(), 7.0)];
        assert_eq!(record.instructions, instructions.into());
    }

    #[test]
    fn only_ours_may_not_grow_and_a_twentieth_is_no_growth() {
        let before = [counted("ours-ready", 400.0), counted("tower-ready", 400.0)];
        let after = |ours, theirs| {
            let after = [counted("ours-ready", ours), counted("tower-ready", theirs)];
            recorded(&before)
                .check(&after)
                .map_err(|error| error.to_string())
        };
        assert_eq!(after(420.0, 4000.0), Ok(()));
        let grown = "ours-ready takes 421 instructions, recorded are 400".to_owned();
        assert_eq!(after(421.0, 400.0), Err(grown));
    }

    #[test]
    fn a_case_of_ours_that_is_not_recorded_is_told() {
        let problem = recorded(&[])
            .check(&[counted("ours-new", 1.0)])
            .unwrap_err();
        assert_eq!(problem.to_string(), "ours-new is not recorded");
    }

    #[test]
    fn another_compiler_s_record_is_not_compared_with() {
        let record = Record {
            built: "rustc 1.0.0".into(),
            instructions: [("ours-ready".into(), 1.0)].into(),
        };
        assert!(record.check(&[counted("ours-ready", 400.0)]).is_ok());
    }

    #[test]
    fn a_profile_s_sum_is_found() {
        assert_eq!(collected("events: Ir\nsummary: 458\n"), Some(458));
        assert_eq!(collected("events: Ir\n"), None);
    }
}
