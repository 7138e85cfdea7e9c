//! `load`: what ten thousand sessions cost a server, beside a bare tonic stream and etcd's watch.
//!
//! The servers are processes of their own; the sessions are real connections over loopback that
//! speak the whole protocol, kept by one thread, because client and server share the machine. It
//! reports; it does not judge: a hold that is missed is a line in the table, and the exit status
//! stays 0.
//!
//! | module | does |
//! |---|---|
//! | [`scenarios`] | what is measured, a file each |
//! | [`rounds`] | pushes, followed until the last client has applied them |
//! | [`servers`] | ours, the bare one, etcd |
//! | [`swarm`] | the sessions |
//! | [`dialect`] | what they say, to each of the servers |
//! | [`http2`], [`fields`] | frames, messages and fields, without a decoder |
//! | [`process`], [`files`] | what the kernel counts, and what it allows |
//! | [`times`], [`report`], [`plot`] | percentiles, the table, the file, the picture |

mod dialect;
mod effort;
mod fields;
mod files;
mod http2;
mod plot;
mod process;
mod report;
mod rounds;
mod scenarios;
mod servers;
mod swarm;
mod times;

use std::env;
use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand, ValueEnum};
use tempfile::TempDir;
use tokio::runtime;

use effort::Effort;
use scenarios::{Findings, PUSH, REPORTS};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Measures what many sessions cost.
#[derive(Debug, Parser)]
#[command(name = "load")]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
    /// Which benchmark, where no scenario is named.
    #[arg(long, value_enum, default_value_t = Bench::Push)]
    bench: Bench,
    /// Write the rows to this file as JSON, and the picture beside it.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// A tenth of the sessions and few rounds: a look, not a measurement.
    #[arg(long)]
    short: bool,
    /// So many sessions.
    #[arg(long, value_name = "COUNT")]
    sessions: Option<usize>,
    /// So many pushes in a turn.
    #[arg(long, value_name = "COUNT")]
    rounds: Option<usize>,
    /// Measure this scenario alone.
    #[arg(long, value_name = "SCENARIO", value_parser = names())]
    only: Option<String>,
}

/// Scenarios that make one report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Bench {
    Push,
    Reports,
}

impl Bench {
    fn name(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Reports => "reports",
        }
    }
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Be the bare server; each line of the standard input is a revision to push.
    BareServer {
        /// Where to listen.
        addr: SocketAddr,
    },
    /// Be the server that takes reports and does nothing with them, until the standard input ends.
    SinkServer {
        /// Where to listen.
        addr: SocketAddr,
        /// Decode each message.
        #[arg(long)]
        decode: bool,
    },
}

fn names() -> PossibleValuesParser {
    PUSH.iter()
        .chain(REPORTS)
        .map(|(name, _)| *name)
        .collect::<Vec<_>>()
        .into()
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.role {
        Some(Role::BareServer { addr }) => servers::serve_bare(*addr),
        Some(Role::SinkServer { addr, decode }) => servers::serve_sink(*addr, *decode),
        None => run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let mut effort = if args.short {
        Effort::SHORT
    } else {
        Effort::FULL
    };
    effort.sessions = args.sessions.unwrap_or(effort.sessions);
    effort.rounds = args.rounds.unwrap_or(effort.rounds);
    files::make_room(effort.sessions)?;
    servers::check_leash()?;
    // For those who write; the sessions have a thread of their own.
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let runtime = Arc::new(runtime);
    let only = args.only.as_deref();
    let of = [(Bench::Push, PUSH), (Bench::Reports, REPORTS)];
    let chosen = of
        .iter()
        .flat_map(|(bench, scenarios)| scenarios.iter().map(move |(name, m)| (bench, name, m)))
        .filter(|(bench, name, _)| only.map_or(args.bench == **bench, |only| only == **name));
    let (mut all, mut failures) = (Findings::default(), Vec::new());
    for (_, name, measure) in chosen {
        eprintln!("load: {name}, {} sessions", effort.sessions);
        match measure(&runtime, &effort) {
            Ok(findings) => {
                eprint!("{}", report::table(&findings.rows));
                all.rows.extend(findings.rows);
                all.curves.extend(findings.curves);
            }
            // The others' figures are none the worse for it.
            Err(error) => failures.push(format!("{name}: {error}")),
        }
    }
    print!("{}", report::table(&all.rows));
    if let Some(path) = &args.json {
        write(path, args.bench.name(), &effort, &all)?;
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(failures.join("\n").into())
}

fn write(path: &std::path::Path, bench: &str, effort: &Effort, all: &Findings) -> Result<()> {
    report::write(path, bench, effort, &all.rows)?;
    if !all.curves.is_empty() {
        let title = format!("A push of 2 KiB to {} sessions", effort.sessions);
        fs::write(path.with_extension("svg"), plot::svg(&title, &all.curves))?;
    }
    Ok(())
}

/// A directory on the disk that this was built on, which is a real one where `/tmp` may be memory.
fn directory() -> Result<TempDir> {
    let program = env::current_exe()?;
    let built = program.parent().ok_or("a program without a directory")?;
    Ok(tempfile::tempdir_in(built)?)
}
