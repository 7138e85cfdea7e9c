//! A push to one service in a hundred: who is woken, and what that costs.

use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::Findings;
use crate::Result;
use crate::dialect::service;
use crate::effort::Effort;
use crate::report::{Hold, Row};
use crate::rounds::{self, Plan, Pushes, to_all};
use crate::servers::{Ours, SERVICES, Server, Target};
use crate::swarm::{Swarm, What};

/// The service that is written about.
const CHOSEN: usize = 42;
/// So many pushes to one service for each to all.
const MANY: usize = 20;
const SHORT_SETTLE: Duration = Duration::from_millis(20);
/// Within this a client that should not have been woken would have said so.
const LATE: Duration = Duration::from_secs(2);

pub(crate) fn measure(runtime: &Arc<Runtime>, effort: &Effort) -> Result<Findings> {
    let mut ours = Ours::start(runtime)?;
    let target = Target::Service(CHOSEN);
    ours.write(target)?;
    let swarm = Swarm::open(ours.addr(), ours.dialect(), effort.sessions)?;
    let name = service(CHOSEN, SERVICES);
    let chosen = |client| service(client, SERVICES) == name;
    let expected = (0..swarm.clients())
        .filter(|client| chosen(*client))
        .count();

    let woken = woken(&mut ours, &swarm)?;
    let all = rounds::push(&mut ours, &swarm, &to_all(effort.rounds), Server::push)?;
    // Each is so short that there must be many for the kernel's clock.
    let to_one = Plan {
        rounds: effort.rounds * MANY,
        settle: SHORT_SETTLE,
        reached: chosen,
    };
    let one = rounds::push(&mut ours, &swarm, &to_one, |ours| ours.write(target))?;
    let per_push = |pushes: &Pushes| pushes.cpu * 1e3 / pushes.last.len() as f64;
    Ok(vec![
        Row::new(
            "one: sessions woken by a write to one service in 100",
            woken as f64,
            "",
        )
        .held_to(Hold::Exactly(expected as f64)),
        Row::new("one: last client, p99", one.last.percentile(99), "ms"),
        Row::new("one: processor time of a push", per_push(&one), "ms"),
        Row::new("one: the same, to all", per_push(&all), "ms"),
        Row::new(
            "one: share of it",
            per_push(&one) / per_push(&all) * 100.0,
            "%",
        )
        .against("all"),
    ]
    .into())
}

/// How many clients one write wakes.
fn woken(ours: &mut Ours, swarm: &Swarm) -> Result<usize> {
    swarm.pending().for_each(drop);
    ours.write(Target::Service(CHOSEN))?;
    sleep(LATE);
    let applied = swarm
        .pending()
        .filter(|event| matches!(event.what, What::Applied { .. }));
    Ok(applied.count())
}
