//! Some do not read: what the others notice of it.

use std::sync::Arc;

use tokio::runtime::Runtime;

use super::Findings;
use crate::Result;
use crate::effort::Effort;
use crate::report::{Hold, Row};
use crate::rounds::{self, Plan, Pushes, SETTLE};
use crate::servers::{Ours, Server};
use crate::swarm::{Command, Swarm};

/// One in so many is frozen.
const ONE_IN: usize = 10;

pub(crate) fn measure(runtime: &Arc<Runtime>, effort: &Effort) -> Result<Findings> {
    let mut ours = Ours::start(runtime)?;
    let swarm = Swarm::open(ours.addr(), ours.dialect(), effort.sessions)?;
    let clients = swarm.clients() / ONE_IN;
    let [mut without, mut with] = <[Pushes; 2]>::default();
    for _ in 0..effort.turns {
        for (frozen, pushes) in [(false, &mut without), (true, &mut with)] {
            swarm.tell(Command::Freeze { clients, frozen })?;
            // The same clients are looked at both times.
            let others = Plan {
                rounds: effort.rounds,
                settle: SETTLE,
                reached: |client| client >= clients,
            };
            let turn = rounds::push(&mut ours, &swarm, &others, Server::push)?;
            pushes.append(&turn);
        }
    }
    let (pushes, reached) = (effort.turns * effort.rounds, with.last.len());
    let p99 = |pushes: &Pushes| pushes.from_sent.percentile(99);
    Ok(vec![
        Row::new(
            "frozen: pushes that reached all others, 10 % do not read",
            reached as f64,
            "",
        )
        .held_to(Hold::Exactly(pushes as f64)),
        Row::new("frozen: p99 of the others, all read", p99(&without), "ms"),
        Row::new(
            "frozen: p99 of the others, 10 % do not read",
            p99(&with),
            "ms",
        ),
        Row::new(
            "frozen: the one by the other",
            p99(&with) / p99(&without),
            "times",
        )
        .against("all read")
        .held_to(Hold::AtMost(1.2)),
        Row::new(
            "frozen: last of the others, p99, all read",
            without.last.percentile(99),
            "ms",
        ),
        Row::new(
            "frozen: last of the others, p99, 10 % do not read",
            with.last.percentile(99),
            "ms",
        ),
    ]
    .into())
}
