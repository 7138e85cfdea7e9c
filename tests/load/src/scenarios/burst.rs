//! A burst of writes that concern everybody: sessions are sent the latest, not each.
//!
//! Each writer has a policy of its own, so that none waits for another's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::Findings;
use crate::Result;
use crate::effort::Effort;
use crate::report::{Hold, Row};
use crate::rounds::ended;
use crate::servers::{Ours, Server};
use crate::swarm::{Swarm, What};

/// Writes that wait for their answers at once.
const WRITERS: usize = 8;
const WITHIN: Duration = Duration::from_secs(120);

pub(crate) fn measure(runtime: &Arc<Runtime>, effort: &Effort) -> Result<Findings> {
    let ours = Ours::start(runtime)?;
    let swarm = Swarm::open(ours.addr(), ours.dialect(), effort.sessions)?;
    swarm.pending().for_each(drop);
    let read_bytes = swarm.read_bytes();
    let started = Instant::now();
    let written = ours.writer().burst(WRITERS, effort.burst)?;
    let answered = Instant::now();
    let got = follow(&swarm, written, started)?;
    let read_bytes = swarm.read_bytes() - read_bytes;

    let sent: usize = got.snapshots.iter().sum();
    let most = got.snapshots.iter().copied().max().unwrap_or_default();
    let at_last = got.held.iter().filter(|held| **held == written).count();
    let millis =
        |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64() * 1e3;
    let (sessions, writes) = (swarm.clients() as f64, effort.burst as f64);
    let row = |what: &str, value, unit| Row::new(format!("burst: {what}"), value, unit);
    Ok(vec![
        row("writes", writes, ""),
        row(
            "writes a second",
            writes * 1e3 / millis(started, answered),
            "1/s",
        ),
        row("sessions that end at the last revision", at_last as f64, "")
            .held_to(Hold::Exactly(sessions)),
        row("snapshots per session", sent as f64 / sessions, ""),
        row("snapshots per session, most", most as f64, "")
            .against("writes")
            .held_to(Hold::AtMost(writes / 2.0)),
        row(
            "bytes read per snapshot",
            read_bytes as f64 / sent as f64,
            "B",
        ),
        row(
            "first write sent to last client",
            millis(started, got.last),
            "ms",
        ),
        row(
            "last answer to last client",
            millis(answered, got.last),
            "ms",
        ),
    ]
    .into())
}

/// What each session was sent.
struct Got {
    held: Vec<u64>,
    snapshots: Vec<usize>,
    /// When the last one had the last revision.
    last: Instant,
}

/// Until everybody holds what was `written` last.
fn follow(swarm: &Swarm, written: u64, started: Instant) -> Result<Got> {
    let mut left = swarm.clients();
    let mut got = Got {
        held: vec![0; left],
        snapshots: vec![0; left],
        last: started,
    };
    swarm.listen("everybody to hold the last revision", WITHIN, |event| {
        if let Some(reason) = ended(&event) {
            return Err(format!("a session ended during a burst: {reason}").into());
        }
        let What::Applied { revision } = event.what else {
            return Ok(false);
        };
        got.snapshots[event.client] += 1;
        let before = std::mem::replace(&mut got.held[event.client], revision);
        if before < written && revision >= written {
            left -= 1;
            got.last = got.last.max(event.at);
        }
        Ok(left == 0)
    })?;
    Ok(got)
}
