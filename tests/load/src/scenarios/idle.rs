//! What a session weighs that has nothing to do.

use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::Findings;
use crate::effort::Effort;
use crate::report::{Hold, Row};
use crate::servers::{Bare, Etcd, Ours, Server};
use crate::swarm::Swarm;
use crate::{Result, process};

/// A measured pause: what opening took is given back in it, as far as it ever is.
const SETTLE: Duration = Duration::from_secs(3);

pub(crate) fn measure(runtime: &Arc<Runtime>, effort: &Effort) -> Result<Findings> {
    let ours = per_session(&mut Ours::start(runtime)?, effort)?;
    let bare = per_session(&mut Bare::start()?, effort)?;
    let etcd = per_session(&mut Etcd::start(runtime)?, effort)?;
    let rows = vec![
        Row::new("idle: memory per session, fusebox", ours, "KiB").held_to(Hold::AtMost(40.0)),
        Row::new("idle: memory per session, bare tonic", bare, "KiB"),
        Row::new("idle: memory per watcher, etcd", etcd, "KiB"),
        Row::new("idle: memory, etcd / fusebox", etcd / ours, "times")
            .against("etcd")
            .held_to(Hold::AtLeast(3.0)),
    ];
    Ok(rows.into())
}

fn per_session(server: &mut dyn Server, effort: &Effort) -> Result<f64> {
    let before = process::resident_kib(server.pid())?;
    let swarm = Swarm::open(server.addr(), server.dialect(), effort.sessions)?;
    sleep(SETTLE);
    let after = process::resident_kib(server.pid())?;
    Ok((after - before) / swarm.clients() as f64)
}
