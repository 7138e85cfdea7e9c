//! `overhead`: what a call guarded by Fusebox costs, beside what other libraries and nothing cost.
//!
//! All of it is measured in one run and in turns, because on a shared machine only what was measured
//! side by side can be compared. It reports; it does not judge: a hold that is missed is a line in
//! the table, and the exit status stays 0. Instructions, which no neighbour changes, are counted by
//! `--instructions`; that can judge, too.
//!
//! | module | does |
//! |---|---|
//! | [`dependency`] | the call to guard, and the one set of rules that every stack gets |
//! | [`policy`] | the one rule that only a policy can say, handed over without a server |
//! | [`cases`] | who is called through: a file for each |
//! | [`drive`] | turns a call into a case |
//! | [`harness`] | rounds over all cases, and medians |
//! | [`memory`] | weighs operations |
//! | [`instructions`] | has callgrind count a case's instructions; keeps and compares the record |
//! | [`rows`] | what is shown, and what is held |
//! | [`report`] | the tables on stdout, and the JSON file |
//! | [`alloc`] | counts allocations |

mod alloc;
mod cases;
mod dependency;
mod drive;
mod harness;
mod instructions;
mod memory;
mod policy;
mod report;
mod rows;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use harness::{Case, Effort};

/// Measures what a guarded call costs.
#[derive(Debug, Parser)]
#[command(name = "overhead")]
struct Args {
    /// Write the rows to this file as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure every case that many times.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: Option<u32>,
    /// Few rounds of short batches: a look, not a measurement.
    #[arg(long)]
    quick: bool,
    /// Only make calls of this case, for a profiler to watch.
    #[arg(long, value_name = "CASE", requires = "iterations")]
    only: Option<String>,
    /// How many calls to make with --only.
    #[arg(long, value_name = "N", requires = "only", value_parser = clap::value_parser!(u64).range(1..))]
    iterations: Option<u64>,
    /// Count instructions instead, and record them.
    #[arg(long, conflicts_with_all = ["rounds", "quick", "only"])]
    instructions: bool,
    /// With --instructions: leave the record as it is, and fail if ours have grown beyond it.
    #[arg(long, requires = "instructions")]
    check: bool,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("overhead: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    match (&args.only, args.iterations) {
        (Some(id), Some(calls)) => watch(id, calls),
        _ if args.instructions => count(args),
        _ => measure(args),
    }
}

fn measure(args: &Args) -> Result<(), Box<dyn Error>> {
    let effort = Effort::new(args.quick, args.rounds);
    // First, while the process is small.
    let memory = memory::measure()?;
    let mut cases = cases::all(&policy::instance()?)?;
    let measured = harness::measure(&mut cases, &effort);
    let mut rows = rows::held(&measured, &memory);
    println!("{}\n{}", report::held(&rows), report::times(&measured));
    rows.extend(rows::cases(&measured));
    match &args.json {
        Some(path) => report::write(path, "overhead", Some(&effort), &rows),
        None => Ok(()),
    }
}

fn count(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut cases = cases::all(&policy::instance()?)?;
    let counted = instructions::count(&mut cases)?;
    print!("{}", report::counts(&counted));
    let recorded = instructions::Record::read()?;
    if let Some(path) = &args.json {
        let rows = instructions::rows(&counted, &recorded);
        report::write(path, "instructions", None, &rows)?;
    }
    if args.check {
        recorded.check(&counted)
    } else {
        instructions::Record::write(&counted)
    }
}

fn watch(id: &str, calls: u64) -> Result<(), Box<dyn Error>> {
    let mut cases = cases::all(&policy::instance()?)?;
    let known: Vec<_> = cases.iter().map(Case::id).collect();
    let known = known.join(", ");
    let Some(case) = cases.iter_mut().find(|case| case.id() == id) else {
        let problem = format!("no case is called {id:?}; there are {known}\n");
        clap::Error::raw(ErrorKind::InvalidValue, problem).exit();
    };
    case.warm_up();
    println!("{id}: {:.1} ns a call", case.run(case.up_to(calls)));
    Ok(())
}
