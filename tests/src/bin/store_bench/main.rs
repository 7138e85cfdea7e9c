//! `store-bench`: what the store costs, beside etcd and as it grows.
//!
//! The real `fusebox serve` and a real etcd on the same disk, each asked through the same kind of
//! client, in turns within one run, because on a shared machine only what was measured side by side
//! can be compared. It reports; it does not judge: a hold that is missed is a line in the table, and
//! the exit status stays 0.
//!
//! | module | does |
//! |---|---|
//! | [`writes`] | durable writes beside etcd's: one writer, and many |
//! | [`large`] | reads, pages, explanations and starts with many policies |
//! | [`overwrites`] | few policies written over and over: what stays on the disk, and a start without the index |
//! | [`ours`], [`etcd`] | the two servers and their clients |
//! | [`load`] | closed loops, and what they took |
//! | [`report`] | the table on stdout, and the JSON file |

mod etcd;
mod large;
mod load;
mod ours;
mod overwrites;
mod report;
mod writes;

use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use report::Row;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Measures what the store costs.
#[derive(Debug, Parser)]
#[command(name = "store-bench")]
struct Args {
    /// Write the rows to this file as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Few rounds and a tenth of the policies: a look, not a measurement.
    #[arg(long)]
    short: bool,
    /// Measure this part alone.
    #[arg(long, value_name = "PART", value_parser = ["writes", "large", "overwrites"])]
    only: Option<String>,
}

/// How much of everything.
#[derive(Clone, Copy, Debug)]
struct Effort {
    /// Short ones and many, so that what the neighbours do meets both servers alike.
    rounds: u64,
    policies: usize,
    overwrites: u64,
    reads: usize,
}

impl Effort {
    const FULL: Self = Self {
        rounds: 40,
        policies: 100_000,
        overwrites: 100_000,
        reads: 3000,
    };
    const SHORT: Self = Self {
        rounds: 10,
        policies: 10_000,
        overwrites: 10_000,
        reads: 1000,
    };
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("store-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

type Part = fn(&Runtime, &Effort) -> Result<Vec<Row>>;

fn run(args: &Args) -> Result<()> {
    let effort = if args.short {
        Effort::SHORT
    } else {
        Effort::FULL
    };
    let parts: [(&str, Part); 3] = [
        ("writes", writes::measure),
        ("large", large::measure),
        ("overwrites", overwrites::measure),
    ];
    let only = args.only.as_deref();
    let runtime = Runtime::new()?;
    let mut rows = Vec::new();
    for (_, measure) in parts
        .iter()
        .filter(|(name, _)| only.is_none_or(|only| only == *name))
    {
        rows.extend(measure(&runtime, &effort)?);
    }
    print!("{}", report::table(&rows));
    match &args.json {
        Some(path) => report::write(path, &effort, &rows),
        None => Ok(()),
    }
}

/// A directory on the disk that this was built on, which is a real one where `/tmp` may be memory.
fn directory() -> Result<TempDir> {
    let program = env::current_exe()?;
    let built = program.parent().ok_or("a program without a directory")?;
    Ok(tempfile::tempdir_in(built)?)
}
