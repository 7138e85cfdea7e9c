//! Durable writes beside etcd's: the same sizes, the same clients, the same disk, in turns.

use std::fs;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::etcd::Etcd;
use crate::load::{Times, alone, together};
use crate::report::{Hold, Row};
use crate::{Effort, Result, directory, ours};

const WRITERS: usize = 64;
const CONNECTIONS: usize = 8;
/// Acknowledged updates a second under all writers.
const ENOUGH: f64 = 10_000.0;
/// Writes of the lone writer in a round.
const LONE_WRITES: u64 = 100;
/// How long the many write in a round.
const SPAN: Duration = Duration::from_millis(300);

/// What one of the two servers took, round by round.
#[derive(Default)]
struct Rounds(Vec<Times>);

/// One writer, then many.
pub(crate) fn measure(runtime: &Runtime, effort: &Effort) -> Result<Vec<Row>> {
    let home = directory()?;
    let server = ours::start(&home.path().join("fusebox"));
    let etcd = Etcd::start(&home.path().join("etcd"));
    runtime.block_on(async {
        let names = (0..WRITERS).map(|index| format!("policy-{index}"));
        let policies: Vec<_> = names.map(|name| ours::policy(&name, "checkout")).collect();
        let mut client = ours::client(&server).await?;
        let bytes = ours::stored_bytes(&mut client, policies[0].clone()).await?;

        let mut our_one = ours::writers(&server, 1, 1, &policies[..1]).await?;
        let mut their_one = etcd.writers(1, 1, bytes).await?;
        let (mut our_rounds, mut their_rounds) = (Rounds::default(), Rounds::default());
        // The first round is for warming up.
        for round in 0..=effort.rounds {
            let turns = round * LONE_WRITES..(round + 1) * LONE_WRITES;
            our_rounds
                .0
                .push(alone(&mut our_one[0], turns.clone()).await?);
            their_rounds.0.push(alone(&mut their_one[0], turns).await?);
        }
        let mut rows = vec![Row::new("bytes of a value", bytes as f64, "bytes")];
        rows.extend(latencies("one writer", &our_rounds, &their_rounds, true));

        let mut our_crowd = ours::writers(&server, WRITERS, CONNECTIONS, &policies).await?;
        let mut their_crowd = etcd.writers(WRITERS, CONNECTIONS, bytes).await?;
        let (mut our_rounds, mut their_rounds) = (Rounds::default(), Rounds::default());
        let before = (cpu_seconds(server.pid())?, cpu_seconds(etcd.pid())?);
        for round in 0..=effort.rounds {
            // Beyond whatever the round before came to.
            let first = round * 1_000_000;
            let (crowd, times) = together(our_crowd, first, SPAN).await?;
            our_crowd = crowd;
            our_rounds.0.push(times);
            let (crowd, times) = together(their_crowd, first, SPAN).await?;
            their_crowd = crowd;
            their_rounds.0.push(times);
        }
        let spent = [
            (cpu_seconds(server.pid())? - before.0) / our_rounds.writes(),
            (cpu_seconds(etcd.pid())? - before.1) / their_rounds.writes(),
        ];
        rows.extend(throughput(&our_rounds, &their_rounds));
        rows.push(Row::new(
            "64 writers, processor a write",
            spent[0] * 1e6,
            "us",
        ));
        rows.push(Row::new(
            "etcd, 64 writers, processor a write",
            spent[1] * 1e6,
            "us",
        ));
        rows.extend(latencies("64 writers", &our_rounds, &their_rounds, false));
        Ok(rows)
    })
}

fn throughput(ours: &Rounds, theirs: &Rounds) -> [Row; 3] {
    let paces = |rounds: &Rounds| rounds.each(Times::per_second);
    let (our, our_spread) = median(paces(ours));
    let (their, their_spread) = median(paces(theirs));
    // Of each round by itself: what disturbed it, disturbed both.
    let ratios = paces(ours).into_iter().zip(paces(theirs));
    let (ratio, spread) = median(ratios.map(|(our, their)| our / their).collect());
    [
        Row::new("64 writers", our, "writes/s")
            .spread(our_spread)
            .held_to(Hold::AtLeast(ENOUGH)),
        Row::new("etcd, 64 writers", their, "writes/s").spread(their_spread),
        Row::new("64 writers, ours / etcd's", ratio, "x")
            .spread(spread)
            .against("etcd")
            .held_to(Hold::AtLeast(1.0)),
    ]
}

/// Over all rounds together: they are too short for percentiles of their own.
fn latencies(what: &str, ours: &Rounds, theirs: &Rounds, held: bool) -> Vec<Row> {
    let (ours, theirs) = (ours.all(), theirs.all());
    let rows = [50, 99].map(|percent| {
        let (our, their) = (ours.percentile(percent), theirs.percentile(percent));
        let name = format!("{what}, p{percent}, ours / etcd's");
        let ratio = Row::new(name, our / their, "x").against("etcd");
        [
            Row::new(format!("{what}, p{percent}"), our, "us"),
            Row::new(format!("etcd, {what}, p{percent}"), their, "us"),
            if held {
                ratio.held_to(Hold::AtMost(1.0))
            } else {
                ratio
            },
        ]
    });
    rows.into_iter().flatten().collect()
}

impl Rounds {
    /// A figure of every round but the first.
    fn each(&self, figure: impl Fn(&Times) -> f64) -> Vec<f64> {
        self.0.iter().skip(1).map(figure).collect()
    }

    /// Every round but the first as one.
    fn all(&self) -> Times {
        let mut all = Times::default();
        self.0
            .iter()
            .skip(1)
            .cloned()
            .for_each(|times| all.append(times));
        all
    }

    /// Of all rounds.
    fn writes(&self) -> f64 {
        self.0.iter().map(|times| times.count() as f64).sum()
    }
}

/// The median, and how far apart the quartiles are, in percent of it.
fn median(mut figures: Vec<f64>) -> (f64, f64) {
    figures.sort_unstable_by(f64::total_cmp);
    let at = |quarters: usize| figures[(figures.len() - 1) * quarters / 4];
    (at(2), (at(3) - at(1)) / at(2) * 100.0)
}

/// What a process has taken of the processors so far.
fn cpu_seconds(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Behind the name, which may hold anything: the twelfth and the thirteenth, in hundredths.
    let fields = text.rsplit_once(')').ok_or("no name in stat")?.1;
    let ticks: Vec<f64> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<std::result::Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}
