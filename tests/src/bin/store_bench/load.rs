//! Closed loops over a server: each writer begins its next write when the last was answered.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tonic::Status;

use crate::Result;

/// Somebody who writes through a connection to one of the servers.
pub(crate) trait Writer: Send + 'static {
    /// Makes one durable write; `turn` is another number each time.
    fn write(&mut self, turn: u64) -> impl Future<Output = std::result::Result<(), Status>> + Send;
}

/// How long each of many things took, and all of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times {
    nanos: Vec<u64>,
    span: Duration,
}

impl Times {
    /// Measures one thing.
    pub(crate) async fn take<T>(&mut self, thing: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let result = thing.await;
        let took = started.elapsed();
        self.nanos
            .push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        self.span += took;
        result
    }

    /// Takes over those of others that ran one after the other.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.nanos.append(&mut other.nanos);
        self.span += other.span;
    }

    /// The one that so many percent were not above, in microseconds; none of nothing.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let mut nanos = self.nanos.clone();
        nanos.sort_unstable();
        let rank = (nanos.len() * percent).div_ceil(100).max(1) - 1;
        nanos
            .get(rank)
            .map_or(f64::NAN, |nanos| *nanos as f64 / 1000.0)
    }

    pub(crate) fn count(&self) -> usize {
        self.nanos.len()
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.nanos.len() as f64 / self.span.as_secs_f64()
    }
}

/// One writer, so many writes.
pub(crate) async fn alone(writer: &mut impl Writer, turns: std::ops::Range<u64>) -> Result<Times> {
    let mut times = Times::default();
    for turn in turns {
        times.take(writer.write(turn)).await?;
    }
    Ok(times)
}

/// All writers at once, for so long; gives them back.
pub(crate) async fn together<W: Writer>(
    writers: Vec<W>,
    first_turn: u64,
    span: Duration,
) -> Result<(Vec<W>, Times)> {
    let started = Instant::now();
    let more = move |_| started.elapsed() < span;
    run(writers, first_turn, more).await
}

/// All writers at once, so many writes each; gives them back.
pub(crate) async fn share<W: Writer>(
    writers: Vec<W>,
    first_turn: u64,
    turns: u64,
) -> Result<(Vec<W>, Times)> {
    run(writers, first_turn, move |turn| turn < first_turn + turns).await
}

async fn run<W: Writer>(
    writers: Vec<W>,
    first_turn: u64,
    more: impl Fn(u64) -> bool + Copy + Send + 'static,
) -> Result<(Vec<W>, Times)> {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for mut writer in writers {
        tasks.spawn(async move {
            let mut times = Times::default();
            let mut turn = first_turn;
            while more(turn) {
                times.take(writer.write(turn)).await?;
                turn += 1;
            }
            Ok::<_, Status>((writer, times))
        });
    }
    let (mut back, mut all) = (Vec::new(), Times::default());
    while let Some(ended) = tasks.join_next().await {
        let (writer, times) = ended??;
        back.push(writer);
        all.append(times);
    }
    // They ran side by side.
    all.span = started.elapsed();
    Ok((back, all))
}
