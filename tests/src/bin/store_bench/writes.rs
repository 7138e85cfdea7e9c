//! Durable writes beside etcd's: the same sizes, the same clients, the same disk, in turns.

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
        for round in 0..=effort.rounds as u64 {
            let first = round * effort.lone_writes;
            let turns = first..first + effort.lone_writes;
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
        let span = Duration::from_millis(effort.crowd_millis);
        for round in 0..=effort.rounds as u64 {
            // Beyond whatever the round before came to.
            let first = round * 1_000_000;
            let (crowd, times) = together(our_crowd, first, span).await?;
            our_crowd = crowd;
            our_rounds.0.push(times);
            let (crowd, times) = together(their_crowd, first, span).await?;
            their_crowd = crowd;
            their_rounds.0.push(times);
        }
        rows.extend(throughput(&our_rounds, &their_rounds));
        rows.extend(latencies("64 writers", &our_rounds, &their_rounds, false));
        Ok(rows)
    })
}

fn throughput(ours: &Rounds, theirs: &Rounds) -> [Row; 3] {
    let (ours, our_spread) = ours.median(Times::per_second);
    let (theirs, their_spread) = theirs.median(Times::per_second);
    [
        Row::new("64 writers", ours, "writes/s")
            .spread(our_spread)
            .held_to(Hold::AtLeast(ENOUGH)),
        Row::new("etcd, 64 writers", theirs, "writes/s").spread(their_spread),
        Row::new("64 writers, ours / etcd's", ours / theirs, "x")
            .against("etcd")
            .held_to(Hold::AtLeast(1.0)),
    ]
}

fn latencies(what: &str, ours: &Rounds, theirs: &Rounds, held: bool) -> Vec<Row> {
    let rows = [50, 99].map(|percent| {
        let (our, our_spread) = ours.median(|times| times.percentile(percent));
        let (their, their_spread) = theirs.median(|times| times.percentile(percent));
        let ratio = Row::new(
            format!("{what}, p{percent}, ours / etcd's"),
            our / their,
            "x",
        );
        let ratio = ratio.against("etcd");
        [
            Row::new(format!("{what}, p{percent}"), our, "us").spread(our_spread),
            Row::new(format!("etcd, {what}, p{percent}"), their, "us").spread(their_spread),
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
    /// Of a figure of every round but the first: the median, and the quartiles' distance in percent.
    fn median(&self, figure: impl Fn(&Times) -> f64) -> (f64, f64) {
        let mut figures: Vec<_> = self.0.iter().skip(1).map(figure).collect();
        figures.sort_unstable_by(f64::total_cmp);
        let at = |quarters: usize| figures[(figures.len() - 1) * quarters / 4];
        (at(2), (at(3) - at(1)) / at(2) * 100.0)
    }
}
