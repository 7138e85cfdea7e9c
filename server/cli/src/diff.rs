//! `fusebox diff`: what `fusebox apply` would change.
//!
//! Its exit status tells a script apart: 0 nothing, 1 something, 2 it could not be found out.

use std::process::ExitCode;

use fusebox_proto::v1::policy_diff::Action;

use crate::Failure;
use crate::apply::Wanted;

const DIFFERENT: u8 = 1;
const UNKNOWN: u8 = 2;

/// What to compare with the server.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
}

/// Says what would change.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let response = args.wanted.applied(true);
    let response = response.map_err(|failure| failure.with_status(UNKNOWN))?;
    let same = |action| action == Action::Unchanged;
    match response.diffs.iter().all(|diff| same(diff.action())) {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(ExitCode::from(DIFFERENT)),
    }
}
