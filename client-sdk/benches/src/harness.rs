//! Measures cases in turns, so that what disturbs the machine disturbs all of them alike.
//!
//! In each round every case runs one batch, forwards in even rounds and backwards in odd ones. A
//! case's figure is the median over the rounds; a ratio is taken within each round first, where the
//! two batches are neighbours in time, and its median after that.
//!
//! A batch is cut into slices, shorter than the scheduler's, and stands for the median of them: a
//! slice during which somebody else had the core is passed over.

use std::time::Duration;

use crate::alloc;

/// Calls over which allocations are counted.
const COUNTED_CALLS: u64 = 10_000;
/// Calls that warm a case up before a profiler watches it.
const WARM_UP_CALLS: u64 = 200;
/// Calls that a case is sized by, at first.
const FEWEST_CALLS: u64 = 16;
/// Batches of which the quickest counts when a case is sized.
const TRIES: u32 = 3;
/// Slices of a batch.
const SLICES: u32 = 20;

/// A way to make a call.
pub(crate) struct Case {
    id: String,
    callers: usize,
    most_calls: u64,
    batch: Box<dyn FnMut(u64) -> Duration>,
}

impl Case {
    /// `batch` makes so many calls and says how long they took.
    pub(crate) fn new(id: impl Into<String>, batch: impl FnMut(u64) -> Duration + 'static) -> Self {
        Self {
            id: id.into(),
            callers: 1,
            most_calls: u64::MAX,
            batch: Box::new(batch),
        }
    }

    /// Never makes more calls than that in a batch.
    pub(crate) const fn at_most(mut self, calls: u64) -> Self {
        self.most_calls = calls;
        self
    }

    /// So many callers make the calls of a batch each, on threads of their own.
    pub(crate) const fn made_by(mut self, callers: usize) -> Self {
        self.callers = callers;
        self
    }

    /// What it is called on the command line.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Whether one caller makes all of its calls, on the thread that asks for them.
    pub(crate) const fn is_alone(&self) -> bool {
        self.callers == 1
    }

    /// As many of `calls` as it ever makes in a batch.
    pub(crate) fn up_to(&self, calls: u64) -> u64 {
        calls.min(self.most_calls)
    }

    /// Nanoseconds a call, over all of `calls`. A frame of its own, so that a profiler can tell the
    /// calls from what goes on around them.
    #[inline(never)]
    pub(crate) fn run(&mut self, calls: u64) -> f64 {
        let took = (self.batch)(calls);
        took.as_nanos() as f64 / calls as f64
    }

    /// Makes a few calls outside that frame.
    pub(crate) fn warm_up(&mut self) {
        let calls = self.up_to(WARM_UP_CALLS);
        (self.batch)(calls);
    }

    /// What a call allocates: a batch's allocations without those of an empty one.
    pub(crate) fn allocations(&mut self) -> Allocations {
        self.warm_up();
        let calls = self.up_to(COUNTED_CALLS);
        let (_, of_none) = alloc::count(|| (self.batch)(0));
        let (_, of_all) = alloc::count(|| (self.batch)(calls));
        let made = calls as f64 * self.callers as f64;
        Allocations {
            times: of_all.times.saturating_sub(of_none.times) as f64 / made,
            bytes: of_all.bytes.saturating_sub(of_none.bytes) as f64 / made,
        }
    }

    /// Nanoseconds a call: the median over the slices of a batch of `calls`.
    fn sample(&mut self, calls: u64) -> f64 {
        let slice = calls.div_ceil(SLICES.into());
        median(&sorted((0..SLICES).map(|_| self.run(slice))))
    }

    /// How many calls take about as long as `target`. Making them warms the case up.
    ///
    /// Only a batch that took longer for having more calls can tell: of two threads, the one may
    /// have waited for a core while the other had long finished.
    fn calls_in(&mut self, target: Duration) -> u64 {
        let mut calls = FEWEST_CALLS;
        let mut of_fewer = self.quickest(calls);
        loop {
            calls *= 4;
            let took = self.quickest(calls);
            let tells = took >= of_fewer * 2 && took * 4 >= target;
            if tells || calls * 4 > self.most_calls {
                let scale = target.as_secs_f64() / took.as_secs_f64().max(1e-9);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "positive, and a float saturates"
                )]
                return ((calls as f64 * scale) as u64).clamp(1, self.most_calls);
            }
            of_fewer = took;
        }
    }

    /// How long so many calls take, if nobody comes between.
    fn quickest(&mut self, calls: u64) -> Duration {
        let tries = (0..TRIES).map(|_| (self.batch)(calls));
        tries.min().unwrap_or_default()
    }
}

/// What one call allocates.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Allocations {
    pub(crate) times: f64,
    pub(crate) bytes: f64,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: u32,
    pub(crate) batch: Duration,
}

impl Effort {
    pub(crate) fn new(quick: bool, rounds: Option<u32>) -> Self {
        let (usual, millis) = if quick { (5, 5) } else { (21, 20) };
        Self {
            rounds: rounds.unwrap_or(usual),
            batch: Duration::from_millis(millis),
        }
    }
}

/// What was measured, in the order of the cases.
pub(crate) struct Measured(Vec<Record>);

/// What was measured of one case.
pub(crate) struct Record {
    id: String,
    allocations: Allocations,
    /// Nanoseconds a call, round by round.
    samples: Vec<f64>,
}

/// Measures all `cases`.
pub(crate) fn measure(cases: &mut [Case], effort: &Effort) -> Measured {
    let calls: Vec<_> = cases
        .iter_mut()
        .map(|case| case.calls_in(effort.batch))
        .collect();
    let mut records: Vec<_> = cases.iter_mut().map(Record::begin).collect();
    for round in 0..effort.rounds {
        let mut turns: Vec<_> = cases.iter_mut().zip(&calls).zip(&mut records).collect();
        if round % 2 == 1 {
            turns.reverse();
        }
        for ((case, &calls), record) in turns {
            record.samples.push(case.sample(calls));
        }
    }
    Measured(records)
}

impl Measured {
    /// All records.
    pub(crate) fn records(&self) -> &[Record] {
        &self.0
    }

    /// The record of the case of that name.
    pub(crate) fn of(&self, id: &str) -> Option<&Record> {
        self.0.iter().find(|record| record.id == id)
    }

    /// The product of the cases `above`, divided by that of those `below`, round by round.
    pub(crate) fn quotient(&self, above: &[&str], below: &[&str]) -> Option<Figure> {
        let samples = |ids: &[&str]| {
            let records = ids.iter().map(|id| self.of(id));
            records
                .map(|record| Some(record?.samples.as_slice()))
                .collect::<Option<Vec<_>>>()
        };
        let (above, below) = (samples(above)?, samples(below)?);
        let rounds = above
            .iter()
            .chain(&below)
            .map(|samples| samples.len())
            .min()?;
        let product = |samples: &[&[f64]], round: usize| -> f64 {
            samples.iter().map(|samples| samples[round]).product()
        };
        Figure::of((0..rounds).map(|round| product(&above, round) / product(&below, round)))
    }
}

impl Record {
    fn begin(case: &mut Case) -> Self {
        Self {
            id: case.id.clone(),
            allocations: case.allocations(),
            samples: Vec::new(),
        }
    }

    /// Which case's.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Nanoseconds a call takes; `None` before the first round.
    pub(crate) fn nanos(&self) -> Option<Figure> {
        Figure::of(self.samples.iter().copied())
    }

    /// What a call allocates.
    pub(crate) const fn allocations(&self) -> Allocations {
        self.allocations
    }
}

/// A median, and how far apart the quartiles around it are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    /// In percent of the median.
    pub(crate) spread_percent: f64,
}

impl Figure {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let values = sorted(values);
        let last = values.len().checked_sub(1)?;
        let (lower, upper) = (values[last / 4], values[last - last / 4]);
        let median = median(&values);
        Some(Self {
            median,
            spread_percent: (upper - lower) / median * 100.0,
        })
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The middle of `sorted`, which must not be empty.
fn median(sorted: &[f64]) -> f64 {
    let last = sorted.len() - 1;
    f64::midpoint(sorted[last / 2], sorted[last.div_ceil(2)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_median_and_the_distance_of_the_quartiles_from_each_other() {
        let figure = Figure::of([60.0, 10.0, 40.0, 30.0, 50.0].into_iter()).unwrap();
        assert_eq!((figure.median, figure.spread_percent), (40.0, 50.0));
        let figure = Figure::of([1.0, 3.0].into_iter()).unwrap();
        assert_eq!(figure.median, 2.0);
        assert!(Figure::of([].into_iter()).is_none());
    }

    #[test]
    fn a_sample_passes_over_slices_that_were_interrupted() {
        let mut slice = 0;
        let mut case = Case::new("", move |calls| {
            slice += 1;
            let interrupted = if slice % 3 == 0 { 100 } else { 1 };
            Duration::from_nanos(10 * calls * interrupted)
        });
        assert_eq!(case.sample(2000), 10.0);
    }

    fn record(id: &str, samples: &[f64]) -> Record {
        Record {
            id: id.into(),
            allocations: Allocations::default(),
            samples: samples.into(),
        }
    }

    #[test]
    fn a_ratio_is_taken_round_by_round_before_its_median() {
        let measured = Measured(vec![
            record("a", &[1.0, 20.0, 9.0]),
            record("b", &[1.0, 10.0, 1.0]),
            record("c", &[2.0, 4.0, 2.0]),
        ]);
        let median = |above: &[_], below: &[_]| Some(measured.quotient(above, below)?.median);
        assert_eq!(median(&["a"], &["b"]), Some(2.0));
        assert_eq!(median(&["a", "c"], &["b"]), Some(8.0));
        assert_eq!(median(&["a"], &["no such case"]), None);
    }

    #[test]
    fn a_batch_is_sized_to_its_target_and_never_beyond_the_most_calls() {
        let target = Duration::from_secs(32);
        let quarter_second = |calls| Duration::from_millis(250 * calls);
        assert_eq!(Case::new("", quarter_second).calls_in(target), 128);
        let mut capped = Case::new("", quarter_second).at_most(100);
        assert_eq!(capped.calls_in(target), 100);
    }

    #[test]
    fn a_batch_is_not_sized_by_what_does_not_grow_with_its_calls() {
        let mut tries = 0;
        let mut case = Case::new("", move |calls| {
            tries += 1;
            let waited = if calls < 1000 || tries % 3 == 0 { 4 } else { 0 };
            Duration::from_millis(waited) + Duration::from_nanos(100 * calls)
        });
        let calls = case.calls_in(Duration::from_millis(5));
        assert_eq!(calls, 50_000);
    }

    #[test]
    fn allocations_are_those_of_the_calls_and_not_of_the_batch() {
        let mut case = Case::new("", |calls| {
            let _batch = std::hint::black_box(Box::new(0_u8));
            for _ in 0..calls {
                drop(std::hint::black_box(Box::new([0_u8; 32])));
            }
            Duration::ZERO
        });
        let Allocations { times, bytes } = case.allocations();
        assert_eq!((times, bytes), (1.0, 32.0));
    }

    #[test]
    fn what_callers_on_other_threads_allocate_is_shared_out_among_their_calls() {
        let caller = |_: &()| async || drop(std::hint::black_box(Box::new([0_u8; 32])));
        let [_, mut two] = crate::drive::both("", &(), caller).unwrap();
        let Allocations { times, bytes } = two.allocations();
        assert_eq!((times, bytes), (1.0, 32.0));
    }
}
