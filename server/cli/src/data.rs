//! `fusebox backup`, `restore`, `verify` and `adopt`: what is done to a data directory by hand.
//!
//! They work on the directory itself, not through a server; what each may be done to while one runs
//! there stands in [`fusebox_server::store::offline`].

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use fusebox_server::store::offline::{self, IndexState, Inventory};

use crate::Failure;
use crate::print::say;

/// Where the policies are kept.
#[derive(Debug, clap::Args)]
pub(crate) struct DataDir {
    /// The server's data directory
    #[arg(
        long,
        value_name = "DIR",
        env = "FUSEBOX_SERVER_DATA_DIR",
        default_value = "./fusebox-data"
    )]
    data_dir: PathBuf,
}

/// What to back up, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Backup {
    #[command(flatten)]
    from: DataDir,
    /// The file to write; it must not exist
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// What to restore, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Restore {
    #[command(flatten)]
    to: DataDir,
    /// The backup
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
}

/// What to look at.
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// A data directory or a backup [default: what --data-dir says]
    path: Option<PathBuf>,
    #[command(flatten)]
    dir: DataDir,
}

/// Copies all that is acknowledged by now to a file; the server may run.
pub(crate) fn backup(args: &Backup) -> Result<(), Failure> {
    let taken = offline::backup(&args.from.data_dir, &args.to)?;
    say(&format!("backed up {}", told(&taken)));
    Ok(())
}

/// Makes a new data directory of a backup.
pub(crate) fn restore(args: &Restore) -> Result<(), Failure> {
    let restored = offline::restore(&args.from, &args.to.data_dir, SystemTime::now())?;
    say(&format!("restored {}", told(&restored)));
    say(
        "processes follow the restored store once they connect; what was written after the backup \
         was taken is gone for them, too",
    );
    if restored.policies == 0 {
        say("it is empty: processes keep what they have until you say `fusebox adopt`");
    }
    Ok(())
}

/// Says of a store that processes are to follow it even while it is empty.
pub(crate) fn adopt(args: &DataDir) -> Result<(), Failure> {
    let adopted = offline::adopt(&args.data_dir)?;
    say(&format!("adopted {}", told(&adopted)));
    Ok(())
}

/// Reads all of it and says whether it is whole.
pub(crate) fn verify(args: &Verify) -> Result<(), Failure> {
    let path = args.path.as_ref().unwrap_or(&args.dir.data_dir);
    let (found, index) = offline::verify(path)?;
    say(&format!("whole: {}", told(&found)));
    if let Some(problem) = &found.torn {
        say(&format!(
            "behind it, a write that was interrupted or is being made ({problem}); never acknowledged"
        ));
    }
    say(&match &index {
        IndexState::Absent => "no index: a server builds one".to_owned(),
        IndexState::Whole(applied) if *applied == found.revision => {
            format!("the index is whole, as of revision {applied}")
        }
        IndexState::Whole(applied) => {
            format!("the index is whole, as of revision {applied}; the next start brings it up")
        }
        IndexState::InUse(pid) => format!(
            "the index was not looked at: {} uses it",
            pid.map_or_else(|| "a server".to_owned(), |pid| format!("process {pid}"))
        ),
        IndexState::Damaged(problem) => return Err(damaged(path, problem)),
    });
    Ok(())
}

fn damaged(path: &Path, problem: &str) -> Failure {
    Failure {
        line: format!(
            "the index in {} is damaged ({problem}); nothing is lost: the next start sets it aside \
             and builds it from the journal",
            path.display()
        ),
        status: ExitCode::FAILURE,
    }
}

fn told(inventory: &Inventory) -> String {
    let Inventory {
        file,
        incarnation,
        revision,
        policies,
        overrides,
        versions,
        bytes,
        ..
    } = inventory;
    format!(
        "{}: incarnation {incarnation}, revision {revision}, {policies} policies and \
         {overrides} overrides in {versions} versions, {bytes} bytes",
        file.display()
    )
}
