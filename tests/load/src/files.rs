//! How many files this process may have open, and with it the servers that it starts.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Result;

/// What is open beside the connections.
const OTHERS: usize = 200;

/// Raises the limit as far as it goes, and sees that so many connections fit under it.
pub(crate) fn make_room(connections: usize) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised)?;
    let wanted = (connections + OTHERS) as u64;
    match limit.maximum {
        Some(most) if most < wanted => Err(format!(
            "{connections} sessions want {wanted} open files, and {most} are allowed; \
             raise the hard limit (ulimit -Hn) or take fewer --sessions"
        )
        .into()),
        _ => Ok(()),
    }
}
