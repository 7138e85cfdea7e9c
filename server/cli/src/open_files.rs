//! How many files this process may hold open: as many as it is allowed to ask for.
//!
//! Every connection is an open file, and most systems begin a process with 1,024 though it may
//! raise that by itself.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Beside the connections: the store, the listeners, the HTTP port, telemetry.
const OTHERS: u64 = 512;

/// Raises the limit, and warns if it does not suffice for that many connections.
pub(crate) fn allow(connections: usize) {
    let limit = raise(getrlimit(Resource::Nofile));
    let wanted = connections as u64 + OTHERS;
    if let Some(open_files) = limit.current.filter(|current| *current < wanted) {
        tracing::warn!(
            open_files,
            wanted,
            "fewer open files are allowed than max_connections needs: raise `ulimit -n`"
        );
    }
}

/// `None` is no limit.
fn raise(limit: Rlimit) -> Rlimit {
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised,
        // Not granted: the limit stays what it was, and is judged as that.
        Err(_) => limit,
    }
}
