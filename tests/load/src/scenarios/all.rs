//! A push to everybody, beside a bare stream and etcd's watch, in turns.
//!
//! When our server itself knows that everybody has a revision is asked in rounds of its own: whoever
//! waits has it look through its sessions, which would count as the price of a push.

use std::sync::Arc;

use tokio::runtime::Runtime;

use super::Findings;
use crate::Result;
use crate::effort::Effort;
use crate::plot::Curve;
use crate::report::{Hold, Row};
use crate::rounds::{self, Pushes, to_all};
use crate::servers::{Bare, Etcd, Ours, Proof, Server, Written};
use crate::swarm::Swarm;

pub(crate) fn measure(runtime: &Arc<Runtime>, effort: &Effort) -> Result<Findings> {
    let mut ours = Ours::start(runtime)?;
    let mut bare = Bare::start()?;
    let mut etcd = Etcd::start(runtime)?;
    let mut servers: [&mut dyn Server; 3] = [&mut ours, &mut bare, &mut etcd];
    let mut pushes: [Pushes; 3] = Default::default();
    for _ in 0..effort.turns {
        for (server, pushes) in servers.iter_mut().zip(&mut pushes) {
            let server: &mut dyn Server = *server;
            let swarm = Swarm::open(server.addr(), server.dialect(), effort.sessions)?;
            let turn = rounds::push(server, &swarm, &to_all(effort.rounds), Server::push)?;
            pushes.append(&turn);
        }
    }
    let curves = servers.iter().zip(&pushes);
    let curves = curves.map(|(server, pushes)| Curve::new(server.name(), &pushes.from_sent));
    let curves = curves.collect();
    let mut rows = rows(&pushes);
    rows.extend(known(runtime, &mut ours, effort)?);
    Ok(Findings { rows, curves })
}

/// Pushes that the server is asked about as soon as it has answered the write.
fn known(runtime: &Arc<Runtime>, ours: &mut Ours, effort: &Effort) -> Result<Vec<Row>> {
    let swarm = Swarm::open(ours.addr(), ours.dialect(), effort.sessions)?;
    let mut proof = Proof::connect(runtime, ours.addr())?;
    let plan = to_all(effort.turns * effort.rounds);
    let pushes = rounds::push(ours, &swarm, &plan, |ours| {
        let written = ours.push()?;
        let known = Some(proof.reached(written.revision)?);
        Ok(Written { known, ..written })
    })?;
    let row = |what: &str, value| Row::new(format!("all: fusebox, {what}"), value, "ms");
    let Pushes { known, last, .. } = &pushes;
    Ok(vec![
        row("known by the server, p50", known.percentile(50)),
        row("known by the server, p99", known.percentile(99)),
        row("last client of these pushes, p50", last.percentile(50)),
        row("last client of these pushes, p99", last.percentile(99)),
    ])
}

fn rows([ours, bare, etcd]: &[Pushes; 3]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, pushes) in [("fusebox", ours), ("bare tonic", bare), ("etcd", etcd)] {
        rows.extend(figures(name, pushes));
    }
    let last = |pushes: &Pushes| pushes.last.percentile(99);
    let against_etcd = last(ours) / last(etcd);
    let against_bare = ours.cpu_micros() / bare.cpu_micros();
    rows.extend([
        Row::new("all: last client p99, fusebox", last(ours), "ms").held_to(Hold::AtMost(250.0)),
        Row::new(
            "all: last client p99, fusebox / etcd",
            against_etcd,
            "times",
        )
        .against("etcd")
        .held_to(Hold::AtMost(1.0)),
        Row::new(
            "all: processor time, fusebox / bare tonic",
            against_bare,
            "times",
        )
        .against("bare tonic")
        .held_to(Hold::AtMost(1.3)),
        Row::new(
            "all: processor time, etcd / fusebox",
            etcd.cpu_micros() / ours.cpu_micros(),
            "times",
        )
        .against("etcd")
        .held_to(Hold::AtLeast(2.0)),
    ]);
    rows
}

fn figures(name: &str, pushes: &Pushes) -> Vec<Row> {
    let row = |what: &str, value, unit| Row::new(format!("all: {name}, {what}"), value, unit);
    let Pushes {
        from_sent,
        from_answer,
        last,
        writes,
        ..
    } = pushes;
    vec![
        row("sent to applied, p50", from_sent.percentile(50), "ms"),
        row("sent to applied, p99", from_sent.percentile(99), "ms"),
        row("sent to applied, longest", from_sent.longest(), "ms"),
        row("answered to applied, p99", from_answer.percentile(99), "ms"),
        row("last client, p50", last.percentile(50), "ms"),
        row("last client, p99", last.percentile(99), "ms"),
        row("write answered, p50", writes.percentile(50), "ms"),
        row("write answered, longest", writes.longest(), "ms"),
        row("processor time per delivery", pushes.cpu_micros(), "us"),
        row(
            "the clients' processor time per delivery",
            pushes.clients_micros(),
            "us",
        ),
        row("bytes read per delivery", pushes.bytes(), "B"),
    ]
}
