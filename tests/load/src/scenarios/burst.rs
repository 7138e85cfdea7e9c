//! A burst of writes that concern everybody: sessions are sent the latest, not each.

use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::Findings;
use crate::Result;
use crate::effort::Effort;
use crate::report::{Hold, Row};
use crate::rounds::ended;
use crate::servers::{Ours, Server, Target};
use crate::swarm::{Swarm, What};

/// Writes that wait for their answers at once.
const WRITERS: usize = 8;
const WITHIN: Duration = Duration::from_secs(120);

pub(crate) fn measure(runtime: &Handle, effort: &Effort) -> Result<Findings> {
    let ours = Ours::start(runtime)?;
    let swarm = Swarm::open(ours.addr(), ours.dialect(), effort.sessions)?;
    swarm.pending().for_each(drop);
    let started = Instant::now();
    let burst = ours.writer().burst(Target::All, WRITERS, effort.burst)?;
    let answered = Instant::now();
    let mut left = swarm.clients();
    let (mut held, mut snapshots, mut last) = (vec![0; left], vec![0_usize; left], started);
    swarm.listen("everybody to hold the last revision", WITHIN, |event| {
        if let Some(reason) = ended(&event) {
            return Err(format!("a session ended during a burst: {reason}").into());
        }
        let What::Applied { revision } = event.what else {
            return Ok(false);
        };
        snapshots[event.client] += 1;
        let before = std::mem::replace(&mut held[event.client], revision);
        if before < burst.last && revision >= burst.last {
            left -= 1;
            last = last.max(event.at);
        }
        Ok(left == 0)
    })?;
    let sent: usize = snapshots.iter().sum();
    let most = snapshots.iter().copied().max().unwrap_or_default();
    let millis =
        |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64() * 1e3;
    let writes = effort.burst as f64;
    let per_second = writes * 1e3 / millis(started, answered);
    Ok(vec![
        Row::new("burst: writes", writes, ""),
        Row::new("burst: writes a second", per_second, "1/s"),
        Row::new(
            "burst: races lost, and run again",
            burst.lost_races as f64,
            "",
        ),
        Row::new(
            "burst: snapshots per session",
            sent as f64 / swarm.clients() as f64,
            "",
        ),
        Row::new("burst: snapshots per session, most", most as f64, "")
            .against("writes")
            .held_to(Hold::AtMost(writes / 4.0)),
        Row::new(
            "burst: first write sent to last client",
            millis(started, last),
            "ms",
        ),
        Row::new(
            "burst: last answer to last client",
            millis(answered, last),
            "ms",
        ),
    ]
    .into())
}
