//! A report read where it lies: no message is made of it, and nothing is allocated.
//!
//! What comes out is what the ordinary way (decode, then [`operation_from_wire`](super::operation_from_wire))
//! comes to, figure for figure. A report that is encoded in any way that is legal and that no SDK of
//! ours uses (a field twice, an unknown one, numbers that are not packed) is declined, as is one that
//! is not well-formed: it is left to the ordinary way. Because figures are absolute, one that turns out
//! so half-way may be absorbed again as a whole.

use std::cell::Cell;
use std::time::Duration;

use fusebox_core::outcome::{BreakerCounts, CircuitState, Outcome, Reason};
use fusebox_core::stats::{Counts, OperationFigures, ReportHead};

use super::bytes::{Cursor, Value};
use super::{age_from_wire, calls_of, forced_of, refusals_of, state_from_wire};
use crate::v1;

/// A `StatsReport` as its bytes.
#[derive(Debug)]
pub struct ReportFigures<'a> {
    /// Counts the process's reports from 1.
    pub number: u64,
    /// What comes before the operations.
    pub head: ReportHead,
    bytes: &'a [u8],
    declined: Cell<bool>,
}

impl<'a> ReportFigures<'a> {
    /// Looks through the report; `None` if it is left to the ordinary way.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (mut number, mut span) = (0, None);
        let mut rest = Cursor::new(bytes);
        while !rest.is_empty() {
            match rest.field()? {
                (1, Value::Varint(value)) => number = value,
                (2, Value::Bytes(_)) => {}
                (3, Value::Bytes(value)) if span.is_none() => span = Some(duration(value)?),
                _ => return None,
            }
        }
        Some(Self {
            number,
            head: ReportHead {
                from_start: number == 1,
                span: span.unwrap_or_default(),
            },
            bytes,
            declined: Cell::new(false),
        })
    }

    /// The operations; `None` stands for one that is not legal. They end early at one that is declined.
    pub fn operations(
        &self,
    ) -> impl Iterator<Item = Option<OperationFigures<'a, impl Iterator<Item = (u32, u64)> + use<'a, '_>>>>
    {
        let mut rest = Cursor::new(self.bytes);
        std::iter::from_fn(move || {
            while !self.is_declined() && !rest.is_empty() {
                if let (2, Value::Bytes(operation)) = rest.field()? {
                    let read = self.operation(operation);
                    self.declined.set(self.is_declined() || read.is_none());
                    return read;
                }
            }
            None
        })
    }

    /// Whether some of it was declined, so that the report as a whole is left to the ordinary way.
    pub fn is_declined(&self) -> bool {
        self.declined.get()
    }

    /// `None` if it is declined, `Some(None)` if it is not legal.
    fn operation(&self, bytes: &'a [u8]) -> Option<Option<OperationFigures<'a, Pairs<'a, '_>>>> {
        let mut parts = Parts::default();
        let mut rest = Cursor::new(bytes);
        while !rest.is_empty() {
            let (number, value) = rest.field()?;
            parts.take(number, value)?;
        }
        let state = state_from_wire(parts.state);
        Some(state.map(|state| parts.figures(state, &self.declined)))
    }
}

/// The fields of an `OperationStats`.
#[derive(Default)]
struct Parts<'a> {
    /// A bit for each field that may stand there once.
    seen: u32,
    operation: &'a str,
    calls: [u64; 6],
    refusals: [u64; 6],
    would_refuse: [u64; 6],
    retries: u64,
    hedges: u64,
    buckets: &'a [u8],
    counts: &'a [u8],
    state: i32,
    state_age: Duration,
    last_transition: u64,
    forced: i32,
    by: u64,
    shadow: i32,
    breaker: [u64; 4],
}

impl<'a> Parts<'a> {
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "an enum is the lower half of what stands there"
    )]
    fn take(&mut self, number: u64, value: Value<'a>) -> Option<()> {
        match (number, value) {
            (1, Value::Bytes(bytes)) => self.operation = std::str::from_utf8(bytes).ok()?,
            (2, Value::Bytes(bytes)) => self.calls = self.once(number, numbers(bytes)?)?,
            (3, Value::Bytes(bytes)) => self.refusals = self.once(number, numbers(bytes)?)?,
            (4, Value::Varint(value)) => self.retries = value,
            (5, Value::Bytes(bytes)) => {
                (self.buckets, self.counts) = self.once(number, histogram(bytes)?)?;
            }
            (6, Value::Varint(value)) => self.state = value as i32,
            (7, Value::Bytes(bytes)) => self.state_age = self.once(number, duration(bytes)?)?,
            (8, Value::Varint(value)) => self.last_transition = value,
            (9, Value::Varint(value)) => self.hedges = value,
            (10, Value::Bytes(bytes)) => self.would_refuse = self.once(number, numbers(bytes)?)?,
            (11, Value::Varint(value)) => self.forced = value as i32,
            (12, Value::Varint(value)) => self.by = value,
            (13, Value::Varint(value)) => self.shadow = value as i32,
            (14, Value::Bytes(bytes)) => self.breaker = self.once(number, numbers(bytes)?)?,
            _ => return None,
        }
        Some(())
    }

    /// `value`, unless that field has stood there already: then both would have to be merged.
    fn once<T>(&mut self, number: u64, value: T) -> Option<T> {
        let bit = 1 << number;
        let again = self.seen & bit != 0;
        self.seen |= bit;
        (!again).then_some(value)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the field has 32 bits, of which protobuf takes the lower ones"
    )]
    fn figures<'c>(
        self,
        state: CircuitState,
        declined: &'c Cell<bool>,
    ) -> OperationFigures<'a, Pairs<'a, 'c>> {
        let calls = calls(self.calls);
        let [refused, would_refuse] = [self.refusals, self.would_refuse].map(refusals);
        let [consecutive, window_calls, window_failures, window_slow] = self.breaker;
        OperationFigures {
            operation: self.operation,
            counts: Counts {
                calls: Outcome::ALL.map(|outcome| calls_of(&calls, outcome)),
                refusals: Reason::ALL.map(|reason| refusals_of(&refused, reason)),
                would_refuse: Reason::ALL.map(|reason| refusals_of(&would_refuse, reason)),
                retries: self.retries,
                hedges: self.hedges,
            },
            latency: Pairs {
                buckets: Cursor::new(self.buckets),
                counts: Cursor::new(self.counts),
                bucket: 0,
                declined,
            },
            state,
            state_age: self.state_age,
            last_transition: self.last_transition,
            forced: forced_of(self.forced, self.by),
            shadow: state_from_wire(self.shadow),
            breaker: BreakerCounts {
                consecutive_failures: consecutive as u32,
                window_calls,
                window_failures,
                window_slow,
            },
        }
    }
}

/// Bucket and count of each bucket that is told of. What is wrong ends in a pair that no histogram can
/// hold.
struct Pairs<'a, 'c> {
    buckets: Cursor<'a>,
    counts: Cursor<'a>,
    bucket: u32,
    declined: &'c Cell<bool>,
}

/// There is no such bucket, and nothing is counted in it.
const NO_PAIR: (u32, u64) = (u32::MAX, 0);

impl Iterator for Pairs<'_, '_> {
    type Item = (u32, u64);

    #[inline]
    fn next(&mut self) -> Option<(u32, u64)> {
        match (self.buckets.is_empty(), self.counts.is_empty()) {
            (true, true) => return None,
            (false, false) => {}
            _ => return Some(NO_PAIR),
        }
        let (Some(delta), Some(count)) = (self.buckets.varint(), self.counts.varint()) else {
            self.declined.set(true);
            return Some(NO_PAIR);
        };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the field has 32 bits, of which protobuf takes the lower ones"
        )]
        let delta = delta as u32;
        // A sum beyond the last bucket stays beyond it and is refused for that.
        self.bucket = self.bucket.saturating_add(delta);
        Some((self.bucket, count))
    }
}

/// The numbers in fields 1 to `N`, which is all that is there.
#[inline]
fn numbers<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let mut numbers = [0; N];
    let mut rest = Cursor::new(bytes);
    while !rest.is_empty() {
        let (number, Value::Varint(value)) = rest.field()? else {
            return None;
        };
        let place = usize::try_from(number).ok()?.checked_sub(1)?;
        *numbers.get_mut(place)? = value;
    }
    Some(numbers)
}

/// A histogram's buckets and counts, both packed.
fn histogram(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut buckets, mut counts) = (None, None);
    let mut rest = Cursor::new(bytes);
    while !rest.is_empty() {
        match rest.field()? {
            (1, Value::Bytes(bytes)) if buckets.is_none() => buckets = Some(bytes),
            (2, Value::Bytes(bytes)) if counts.is_none() => counts = Some(bytes),
            _ => return None,
        }
    }
    Some((buckets.unwrap_or_default(), counts.unwrap_or_default()))
}

/// How long ago something was; nonsense is "just now".
fn duration(bytes: &[u8]) -> Option<Duration> {
    let [seconds, nanos] = numbers(bytes)?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the field has 32 bits, of which protobuf takes the lower ones"
    )]
    let nanos = nanos as i32;
    let seconds = seconds.cast_signed();
    Some(age_from_wire(Some(&prost_duration(seconds, nanos))))
}

fn prost_duration(seconds: i64, nanos: i32) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos }
}

fn calls([success, failure, timeout, ignored, cancelled, late]: [u64; 6]) -> v1::CallCounts {
    v1::CallCounts {
        success,
        failure,
        timeout,
        ignored,
        cancelled,
        late,
    }
}

fn refusals(counts: [u64; 6]) -> v1::RefusalCounts {
    let [
        circuit_open,
        forced_open,
        recovering,
        rate_limited,
        bulkhead_full,
        concurrency_limited,
    ] = counts;
    v1::RefusalCounts {
        circuit_open,
        forced_open,
        recovering,
        rate_limited,
        bulkhead_full,
        concurrency_limited,
    }
}

#[cfg(test)]
mod tests;
