//! The binary `fusebox`: one subcommand a file. Whatever goes wrong is told in one line, after a line for
//! each place in a file that it goes back to.

mod apply;
mod check;
mod data;
mod demo;
mod diff;
mod export;
mod figures;
mod files;
mod force;
mod huge_pages;
mod import;
mod open_files;
mod overrides;
mod print;
mod release;
mod remote;
mod reset;
mod screen;
mod serve;
mod signals;
mod target;
mod top;
mod wait;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Decoding, judging and answering a write is mostly small allocations, from many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A resilience control plane for fleets of services.
#[derive(Debug, Parser)]
#[command(name = "fusebox", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What can be asked of it.
#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(serve::Args),
    /// Run a server and a small fleet whose dependencies fail on schedule.
    Demo(demo::Args),
    /// Make the server's policies what files say.
    Apply(apply::Args),
    /// Show what `apply` would change: exit status 0 nothing, 1 something, 2 an error.
    Diff(diff::Args),
    /// Wait until enough processes enforce a revision: exit status 0 they do, 1 not in time, 2 an
    /// error.
    Wait(wait::Args),
    /// Show the fleet in the terminal, the worst first.
    Top(top::Args),
    /// Hold breakers open or closed, for a time.
    Force(force::Args),
    /// End an override before its time.
    Release(release::Args),
    /// Close breakers, and have them forget what they have counted.
    Reset(reset::Args),
    /// List the overrides in force.
    Overrides(overrides::Args),
    /// Write the server's policies as files.
    Export(export::Args),
    /// Check files of policies without a server.
    Check(check::Args),
    /// Make policies of what another system was configured with.
    Import(import::Args),
    /// Copy all that is acknowledged by now to a file; the server may run.
    Backup(data::Backup),
    /// Make a new data directory of a backup; begins a new incarnation.
    Restore(data::Restore),
    /// Read all of a data directory or a backup, and say whether it is whole; changes nothing.
    Verify(data::Verify),
    /// Say of a new store that processes are to follow it even while it is empty; the server must
    /// not run.
    Adopt(data::DataDir),
}

impl Command {
    fn run(self) -> Result<ExitCode, Failure> {
        let success = |()| ExitCode::SUCCESS;
        match self {
            Self::Serve(args) => serve::run(args).map(success),
            Self::Demo(args) => demo::run(args).map(success),
            Self::Apply(args) => apply::run(&args),
            Self::Diff(args) => diff::run(&args),
            Self::Wait(args) => wait::run(&args),
            Self::Top(args) => top::run(&args),
            Self::Force(args) => force::run(&args),
            Self::Release(args) => release::run(&args),
            Self::Reset(args) => reset::run(&args),
            Self::Overrides(args) => overrides::run(&args),
            Self::Export(args) => export::run(&args),
            Self::Check(args) => check::run(&args),
            Self::Import(args) => import::run(&args),
            Self::Backup(args) => data::backup(&args).map(success),
            Self::Restore(args) => data::restore(&args).map(success),
            Self::Verify(args) => data::verify(&args).map(success),
            Self::Adopt(args) => data::adopt(&args).map(success),
        }
    }
}

fn main() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(status) => status,
        Err(failure) => {
            eprintln!("fusebox: {}", failure.line);
            failure.status
        }
    }
}

/// Why a subcommand failed, and what the shell is told.
#[derive(Debug)]
struct Failure {
    line: String,
    status: ExitCode,
}

impl Failure {
    fn told(line: String) -> Self {
        let status = ExitCode::FAILURE;
        Self { line, status }
    }

    fn with_status(self, status: u8) -> Self {
        let status = status.into();
        Self { status, ..self }
    }

    /// The command line is to blame, as when clap refuses it.
    fn usage(error: &dyn std::error::Error) -> Self {
        Self {
            line: error.to_string(),
            status: ExitCode::from(2),
        }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            line: error.to_string(),
            status: ExitCode::FAILURE,
        }
    }
}
