//! A server that ends and comes back: when everybody is back, and whether anybody is sent again what
//! it has.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::Findings;
use crate::Result;
use crate::effort::Effort;
use crate::report::{Hold, Row};
use crate::servers::{Ours, Server};
use crate::swarm::{Command, Swarm, What};

const WITHIN: Duration = Duration::from_secs(120);

/// How a server ends.
#[derive(Clone, Copy)]
enum Ending {
    /// As an operator ends it.
    Asked,
    /// Without a chance to say anything.
    Killed,
}

pub(crate) fn measure(runtime: &Arc<Runtime>, effort: &Effort) -> Result<Findings> {
    let mut ours = Ours::start(runtime)?;
    let swarm = Swarm::open(ours.addr(), ours.dialect(), effort.sessions)?;
    swarm.tell(Command::Return(true))?;
    let mut rows = Vec::new();
    for (name, ending) in [("SIGTERM", Ending::Asked), ("SIGKILL", Ending::Killed)] {
        let back = restart(&mut ours, &swarm, ending)?;
        let row =
            |what: &str, value, unit| Row::new(format!("restart: {name}, {what}"), value, unit);
        rows.extend([
            row("gone", back.gone.as_secs_f64(), "s"),
            row("ready again", back.ready.as_secs_f64(), "s"),
            row("half of all back", back.half.as_secs_f64(), "s"),
            row("all back", back.all.as_secs_f64(), "s").held_to(Hold::AtMost(10.0)),
            row("sessions back", back.sessions as f64, "")
                .held_to(Hold::Exactly(swarm.clients() as f64)),
            row("snapshots sent again", back.snapshots as f64, "").held_to(Hold::AtMost(0.0)),
        ]);
    }
    Ok(rows.into())
}

/// Times from the signal on.
struct Back {
    gone: Duration,
    ready: Duration,
    half: Duration,
    all: Duration,
    sessions: usize,
    snapshots: usize,
}

fn restart(ours: &mut Ours, swarm: &Swarm, ending: Ending) -> Result<Back> {
    swarm.pending().for_each(drop);
    let started = Instant::now();
    let process = ours.process();
    match ending {
        Ending::Asked => {
            process.terminate();
            process.wait_exit(WITHIN);
        }
        Ending::Killed => process.kill9(),
    }
    let gone = started.elapsed();
    process.restart();
    let ready = started.elapsed();
    let (mut back, mut snapshots) = (vec![None; swarm.clients()], 0);
    let mut inside = 0;
    swarm.listen("all sessions to be back", WITHIN, |event| {
        match event.what {
            // One that came to the server before it ended and was sent away again counts anew.
            What::Ended { .. } => inside -= usize::from(back[event.client].take().is_some()),
            What::In => inside += usize::from(back[event.client].replace(event.at).is_none()),
            What::Applied { .. } => snapshots += 1,
            _ => {}
        }
        Ok(inside == swarm.clients())
    })?;
    let mut times: Vec<_> = back.into_iter().flatten().map(|at| at - started).collect();
    times.sort_unstable();
    let all = times.last().copied().unwrap_or_default();
    Ok(Back {
        gone,
        ready,
        half: times.get(times.len() / 2).copied().unwrap_or_default(),
        all,
        sessions: times.len(),
        snapshots,
    })
}
