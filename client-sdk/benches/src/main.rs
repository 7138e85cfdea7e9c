//! `overhead`: what a call guarded by Fusebox costs, beside what other libraries and nothing cost.
//!
//! All of it is measured in one run and in turns, because on a shared machine only what was measured
//! side by side can be compared. It reports; it does not judge: a hold that is missed is a line in
//! the table, and the exit status stays 0.
//!
//! | module | does |
//! |---|---|
//! | [`dependency`] | the call to guard, and the one set of rules that every stack gets |
//! | [`ours`], [`tower_stack`], [`breakers`], [`floor`] | the cases |
//! | [`drive`] | turns a call into a batch of timed calls |
//! | [`harness`] | rounds over all cases, and medians |
//! | [`rows`] | what is shown, and what is held |
//! | [`report`] | the table on stdout, and the JSON file |
//! | [`alloc`] | counts allocations |

mod alloc;
mod breakers;
mod dependency;
mod drive;
mod floor;
mod harness;
mod ours;
mod report;
mod rows;
mod tower_stack;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use fusebox::Fusebox;

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
    #[arg(long, value_name = "N", requires = "only")]
    iterations: Option<u64>,
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
    // Without a server: no link traffic beside the calls.
    let fusebox = Fusebox::builder("overhead").build()?;
    let mut cases = cases(&fusebox)?;
    match (&args.only, args.iterations) {
        (Some(id), Some(calls)) => watch(&mut cases, id, calls),
        _ => measure(&mut cases, args)?,
    }
    Ok(())
}

/// In this order they take turns: what is compared stands close together.
fn cases(fusebox: &Fusebox) -> Result<Vec<Case>, Box<dyn Error>> {
    let mut cases = floor::cases()?;
    cases.extend(breakers::cases()?);
    cases.extend(tower_stack::cases()?);
    cases.extend(ours::cases(fusebox)?);
    Ok(cases)
}

fn measure(cases: &mut [Case], args: &Args) -> Result<(), Box<dyn Error>> {
    let effort = Effort::new(args.quick, args.rounds);
    let measured = harness::measure(cases, &effort);
    let rows = rows::all(&measured);
    print!("{}", report::table(&rows));
    if let Some(path) = &args.json {
        report::write(path, &rows, &effort)?;
    }
    Ok(())
}

fn watch(cases: &mut [Case], id: &str, calls: u64) {
    let known: Vec<_> = cases.iter().map(Case::id).collect();
    let Some(case) = cases.iter_mut().find(|case| case.id() == id) else {
        let problem = format!("no case is called {id:?}; there are {}", known.join(", "));
        clap::Error::raw(ErrorKind::InvalidValue, problem + "\n").exit();
    };
    println!("{id}: {:.1} ns a call", case.run(calls));
}
