//! How long a write takes while every write is pushed to everybody.
//!
//! What is measured: from a request being handed to the client's connection to its answer being
//! back, as one client sees it that writes, waits for the answer, pauses and writes again. The
//! connection and whoever waits on it share a thread that has nothing else to do, so that neither
//! queues behind the sessions' events. It still shares the machine's processors with them and with
//! the server. How much of the figure that can be is told by how late the same thread wakes from its
//! pauses, in which no server has a part.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use tokio::runtime::{self, Runtime};

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
/// Between two looks at the sessions.
const LOOK: Duration = Duration::from_millis(100);

/// What writes took.
#[derive(Default)]
struct Writes {
    answered: Times,
    /// How late the writer woke from its pauses.
    late: Times,
}

pub(crate) fn measure(_: &Arc<Runtime>, effort: &Effort) -> Result<Findings> {
    let ours = writes(&mut Ours::start(&of_its_own()?)?, effort)?;
    let etcd = writes(&mut Etcd::start(&of_its_own()?)?, effort)?;
    let mut rows = figures("fusebox", &ours, Some(Hold::AtMost(10.0)));
    rows.extend(figures("etcd", &etcd, None));
    let p99 = |writes: &Writes| writes.answered.percentile(99);
    let times = p99(&ours) / p99(&etcd);
    rows.push(Row::new("write: p99, fusebox / etcd", times, "times").against("etcd"));
    Ok(rows.into())
}

/// Runs on the thread that waits for it.
fn of_its_own() -> Result<Arc<Runtime>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    Ok(Arc::new(runtime?))
}

fn figures(name: &str, writes: &Writes, hold: Option<Hold>) -> Vec<Row> {
    let row = |what: &str, value, unit| Row::new(format!("write: {name}, {what}"), value, unit);
    let Writes { answered, late } = writes;
    let p99 = row("p99", answered.percentile(99), "ms");
    vec![
        row("p50", answered.percentile(50), "ms"),
        match hold {
            Some(hold) => p99.held_to(hold),
            None => p99,
        },
        row("longest", answered.longest(), "ms"),
        row("writes measured", answered.len() as f64, ""),
        row("the writer wakes late by, p50", late.percentile(50), "ms"),
        row("the writer wakes late by, p99", late.percentile(99), "ms"),
    ]
}

fn writes(server: &mut (dyn Server + Send), effort: &Effort) -> Result<Writes> {
    let swarm = Swarm::open(server.addr(), server.dialect(), effort.sessions)?;
    let (done, ending) = channel();
    thread::scope(|scope| {
        let writer = thread::Builder::new().name("writer".into());
        writer.spawn_scoped(scope, || {
            let written = write(server, effort.writing).map_err(|error| error.to_string());
            // Whoever listens no more has failed for another reason.
            done.send(written).ok();
        })?;
        loop {
            match ending.recv_timeout(LOOK) {
                Ok(writes) => return Ok(writes?),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err("the writer has ended".into()),
            }
            if let Some(reason) = swarm.pending().find_map(|event| ended(&event)) {
                return Err(format!("a session ended during writes: {reason}").into());
            }
        }
    })
}

fn write(server: &mut dyn Server, span: Duration) -> Result<Writes> {
    let (mut writes, started) = (Writes::default(), Instant::now());
    while started.elapsed() < span {
        let written = server.push()?;
        writes.answered.add(written.answered - written.sent);
        let paused = Instant::now();
        sleep(PAUSE);
        writes.late.add(paused.elapsed().saturating_sub(PAUSE));
    }
    Ok(writes)
}
