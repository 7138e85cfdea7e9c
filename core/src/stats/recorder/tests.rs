//! The recorder against a plain list of what was recorded, and under threads.

use std::time::Duration;

use std::thread;

use proptest::prelude::*;

use super::*;

fn lane(index: u8) -> Lane {
    Lane::owned(index).unwrap_or(Lane::SHARED)
}

/// Sets a cell of the shared lane, as if so much had been counted.
fn preset(recorder: &Recorder, cell: usize, value: u32) {
    recorder.lanes.of(Lane::SHARED).0[cell].store(value, Ordering::Relaxed);
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Call(Outcome, u64),
    Refusal(Reason),
    WouldRefuse(Reason),
    Retry,
    Hedge,
    Read,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0..OUTCOMES, 0_u64..1 << 43)
            .prop_map(|(outcome, nanos)| Event::Call(Outcome::ALL[outcome], nanos)),
        2 => (0..REASONS).prop_map(|reason| Event::Refusal(Reason::ALL[reason])),
        1 => (0..REASONS).prop_map(|reason| Event::WouldRefuse(Reason::ALL[reason])),
        2 => Just(Event::Retry),
        1 => Just(Event::Hedge),
        1 => Just(Event::Read),
    ]
}

/// The slow, obvious way.
#[derive(Default)]
struct Model {
    counts: Counts,
    latency: Histogram,
}

impl Model {
    fn note(&mut self, event: Event) {
        match event {
            Event::Call(outcome, nanos) => {
                self.counts.calls[outcome as usize] += 1;
                if !matches!(outcome, Outcome::Ignored | Outcome::Cancelled) {
                    self.latency.record(Duration::from_nanos(nanos));
                }
            }
            Event::Refusal(reason) => self.counts.refusals[reason as usize] += 1,
            Event::WouldRefuse(reason) => self.counts.would_refuse[reason as usize] += 1,
            Event::Retry => self.counts.retries += 1,
            Event::Hedge => self.counts.hedges += 1,
            Event::Read => {}
        }
    }

    fn totals(&self) -> Totals {
        Totals::new(self.counts, self.latency.clone()).unwrap()
    }
}

#[test]
fn a_recorder_that_saw_nothing_tells_nothing_and_takes_no_lane() {
    let recorder = Recorder::new();
    assert!(recorder.totals().is_empty());
    assert_eq!(recorder.lanes.in_use().count(), 0);
}

#[test]
fn ignored_and_cancelled_calls_leave_no_latency() {
    let recorder = Recorder::new();
    for outcome in Outcome::ALL {
        recorder.record(Lane::SHARED, outcome, Duration::from_millis(1));
    }
    assert_eq!(recorder.totals().all_calls(), 6);
    assert_eq!(recorder.totals().latency().count(), 4);
}

#[test]
fn two_lanes_take_at_most_eight_kibibytes() {
    let all = size_of::<Recorder>() + 2 * size_of::<Cells>() + size_of::<[u32; CELLS]>();
    assert!(all <= 8192, "{all}");
}

#[test]
fn a_total_goes_on_past_what_a_cell_can_hold() {
    let recorder = Recorder::new();
    let outcome = Outcome::Ignored;
    let cell = CALLS + outcome as usize;
    let mut expected = 0;
    for _ in 0..3 {
        preset(&recorder, cell, u32::MAX);
        expected += u64::from(u32::MAX) - (expected & u64::from(u32::MAX));
        assert_eq!(recorder.totals().calls(outcome), expected);
        recorder.record(Lane::SHARED, outcome, Duration::ZERO);
        expected += 1;
        assert_eq!(recorder.totals().calls(outcome), expected);
    }
    assert_eq!(expected, 3 << 32);
}

#[test]
fn a_wrap_in_one_lane_is_not_lost_among_the_others() {
    let recorder = Recorder::new();
    let cell = CALLS + Outcome::Ignored as usize;
    preset(&recorder, cell, u32::MAX);
    recorder.totals();
    for index in [0, 1, 2] {
        recorder.record(lane(index), Outcome::Ignored, Duration::ZERO);
    }
    assert_eq!(recorder.totals().calls(Outcome::Ignored), (1 << 32) + 2);
}

const THREADS: u8 = 4;
const CALLS_EACH: u64 = 20_000;

/// `THREADS` threads record while this one reads; what the last reading tells.
fn race(lane_of: impl Fn(u8) -> Lane) -> Totals {
    let recorder = Recorder::new();
    thread::scope(|scope| {
        let writers = (1..=THREADS).map(|index| {
            let (recorder, lane) = (&recorder, lane_of(index));
            scope.spawn(move || write(recorder, lane))
        });
        let writers: Vec<_> = writers.collect();
        let mut before = Totals::default();
        while !writers.iter().all(thread::ScopedJoinHandle::is_finished) {
            let now = recorder.totals();
            assert!(now.since(&before).is_some(), "{before:?} then {now:?}");
            assert!(now.latency().count() <= now.settled(), "{now:?}");
            before = now;
        }
    });
    recorder.totals()
}

fn write(recorder: &Recorder, lane: Lane) {
    for call in 0..CALLS_EACH {
        recorder.record(lane, Outcome::Success, Duration::from_micros(call));
        recorder.record_refusal(lane, Reason::CircuitOpen);
        recorder.record_retry(lane);
    }
}

fn assert_complete(totals: &Totals) {
    let all = u64::from(THREADS) * CALLS_EACH;
    assert_eq!(totals.calls(Outcome::Success), all);
    assert_eq!(totals.refusals(Reason::CircuitOpen), all);
    assert_eq!(totals.retries(), all);
    assert_eq!(totals.latency().count(), all);
}

#[test]
fn threads_on_lanes_of_their_own_lose_nothing_while_being_read() {
    assert_complete(&race(lane));
}

#[test]
fn threads_on_the_shared_lane_lose_nothing_while_being_read() {
    assert_complete(&race(|_| Lane::SHARED));
}

proptest! {
    #[test]
    fn any_mix_of_lanes_and_readings_tells_what_was_recorded(
        events in prop::collection::vec((0_u8..16, event()), 0..200),
    ) {
        let (recorder, mut model) = (Recorder::new(), Model::default());
        for (index, event) in events {
            match event {
                Event::Call(outcome, nanos) => {
                    recorder.record(lane(index), outcome, Duration::from_nanos(nanos));
                }
                Event::Refusal(reason) => recorder.record_refusal(lane(index), reason),
                Event::WouldRefuse(reason) => recorder.record_would_refuse(lane(index), reason),
                Event::Retry => recorder.record_retry(lane(index)),
                Event::Hedge => recorder.record_hedge(lane(index)),
                Event::Read => prop_assert_eq!(recorder.totals(), model.totals()),
            }
            model.note(event);
        }
        prop_assert_eq!(recorder.totals(), model.totals());
    }
}
