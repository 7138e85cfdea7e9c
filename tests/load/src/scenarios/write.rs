//! How long a write takes while every write is pushed to everybody.

use std::thread::sleep;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::Findings;
use crate::Result;
use crate::effort::Effort;
use crate::report::{Hold, Row};
use crate::rounds::ended;
use crate::servers::{Etcd, Ours, Server};
use crate::swarm::Swarm;
use crate::times::Times;

/// Between a write's answer and the next write.
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) fn measure(runtime: &Handle, effort: &Effort) -> Result<Findings> {
    let ours = writes(&mut Ours::start(runtime)?, effort)?;
    let etcd = writes(&mut Etcd::start(runtime)?, effort)?;
    Ok(vec![
        Row::new("write: fusebox, p50", ours.percentile(50), "ms"),
        Row::new("write: fusebox, p99", ours.percentile(99), "ms").held_to(Hold::AtMost(10.0)),
        Row::new("write: fusebox, writes measured", ours.len() as f64, ""),
        Row::new("write: etcd, p50", etcd.percentile(50), "ms"),
        Row::new("write: etcd, p99", etcd.percentile(99), "ms"),
        Row::new("write: etcd, writes measured", etcd.len() as f64, ""),
        Row::new(
            "write: p99, fusebox / etcd",
            ours.percentile(99) / etcd.percentile(99),
            "times",
        )
        .against("etcd"),
    ]
    .into())
}

fn writes(server: &mut dyn Server, effort: &Effort) -> Result<Times> {
    let swarm = Swarm::open(server.addr(), server.dialect(), effort.sessions)?;
    let (mut times, started) = (Times::default(), Instant::now());
    while started.elapsed() < effort.span {
        let written = server.push()?;
        times.add(written.answered - written.sent);
        if let Some(reason) = swarm.pending().find_map(|event| ended(&event)) {
            return Err(format!("a session ended during writes: {reason}").into());
        }
        sleep(PAUSE);
    }
    Ok(times)
}
