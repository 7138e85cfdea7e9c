//! The binary `fusebox`: one subcommand a file, one line for whatever goes wrong.

mod data;
mod demo;
mod open_files;
mod serve;
mod signals;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    fn run(self) -> Result<(), Failure> {
        match self {
            Self::Serve(args) => serve::run(args),
            Self::Demo(args) => demo::run(args),
            Self::Backup(args) => data::backup(&args),
            Self::Restore(args) => data::restore(&args),
            Self::Verify(args) => data::verify(&args),
            Self::Adopt(args) => data::adopt(&args),
        }
    }
}

fn main() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
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
