//! A push to one service in a hundred: who is woken, and what that costs.

use std::thread::sleep;
use std::time::Duration;

use tokio::runtime::Handle;

use super::Findings;
use crate::dialect::service;
use crate::effort::Effort;
use crate::report::{Hold, Row};
use crate::rounds::{self, Pushes};
use crate::servers::{Ours, SERVICES, Server, Target};
use crate::swarm::{Swarm, What};
use crate::{Result, process};

/// The service that is written about.
const CHOSEN: usize = 42;
/// Within this a client that should not have been woken would have said so.
const LATE: Duration = Duration::from_secs(2);

pub(crate) fn measure(runtime: &Handle, effort: &Effort) -> Result<Findings> {
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
    let idle = idle(&ours)?;
    let rounds = effort.rounds * effort.turns;
    let all = rounds::push(&mut ours, &swarm, rounds, |_| true, Server::push)?;
    let one = rounds::push(&mut ours, &swarm, rounds, chosen, |ours| ours.write(target))?;

    let cpu = |pushes: &Pushes| (pushes.cpu.as_secs_f64() - idle * pushes.span.as_secs_f64()) * 1e3;
    let per_push = |pushes: &Pushes| cpu(pushes) / rounds as f64;
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

/// What the server takes with nothing to push, as a share of one processor.
fn idle(ours: &Ours) -> Result<f64> {
    let before = process::cpu(ours.pid())?;
    sleep(LATE);
    let used = process::cpu(ours.pid())? - before;
    Ok(used.div_duration_f64(LATE))
}
