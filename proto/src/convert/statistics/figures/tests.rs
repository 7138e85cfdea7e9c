//! Both ways of reading a report come to the same, whatever it looks like.

use fusebox_core::key::{Epoch, InstanceId, InstanceKey, Namespace, OperationName, Service};
use fusebox_core::stats::{Fleet, InstanceFacts, Limits, OperationReport, Totals};
use fusebox_core::time::Instant;
use proptest::prelude::*;
use prost::Message;

use super::super::operation_from_wire;
use super::*;

/// What is read of each operation: nothing of one that is not legal.
type Read = Vec<Option<OperationReport>>;

/// As the ordinary way has it; `None` for what is no message.
fn ordinary(bytes: &[u8]) -> Option<(u64, ReportHead, Read)> {
    let wire = v1::StatsReport::decode(bytes).ok()?;
    let head = ReportHead {
        from_start: wire.number == 1,
        span: age_from_wire(wire.span.as_ref()),
    };
    let operations = wire.operations.iter();
    let read = operations.map(|operation| operation_from_wire(operation).ok());
    Some((wire.number, head, read.collect()))
}

/// As read where it lies; `None` if that is declined.
fn borrowed(bytes: &[u8]) -> Option<(u64, ReportHead, Read)> {
    let report = ReportFigures::read(bytes)?;
    let read = report.operations().map(|figures| {
        let figures = figures?;
        let latency = fusebox_core::stats::Histogram::from_pairs(figures.latency).ok()?;
        Some(OperationReport {
            operation: OperationName::new(figures.operation).ok()?,
            totals: Totals::new(figures.counts, latency).ok()?,
            state: figures.state,
            state_age: figures.state_age,
            last_transition: figures.last_transition,
            forced: figures.forced,
            shadow: figures.shadow,
            breaker: figures.breaker,
        })
    });
    let read: Read = read.collect();
    (!report.is_declined()).then_some((report.number, report.head, read))
}

prop_compose! {
    fn counts()(six in any::<[u32; 6]>()) -> v1::RefusalCounts {
        refusals(six.map(u64::from))
    }
}

prop_compose! {
    fn latency()(
        pairs in prop::collection::vec((0_u32..80, 0_u64..300), 0..12),
        odd in prop::collection::vec(any::<u64>(), 0..2),
    ) -> v1::LatencyHistogram {
        v1::LatencyHistogram {
            bucket_deltas: pairs.iter().map(|pair| pair.0).collect(),
            counts: pairs.iter().map(|pair| pair.1).chain(odd).collect(),
        }
    }
}

prop_compose! {
    fn operation()(
        operation in "[a-z.]{0,12}|[ -~]{1,3}",
        (calls, refusals, would_refuse) in (any::<[u16; 6]>(), counts(), counts()),
        latency in prop::option::of(latency()),
        (state, forced, shadow) in (0_i32..5, -1_i32..5, 0_i32..5),
        (last_transition, override_id, retries) in any::<(u64, u64, u16)>(),
        age in prop::option::of(any::<(i64, i32)>()),
        breaker in prop::option::of(any::<(u32, u64, u64, u64)>()),
    ) -> v1::OperationStats {
        v1::OperationStats {
            operation,
            calls: Some(self::calls(calls.map(u64::from))),
            refusals: Some(refusals),
            would_refuse: Some(would_refuse),
            retries: retries.into(),
            hedges: 0,
            latency,
            circuit_state: state,
            circuit_state_age: age.map(|(seconds, nanos)| prost_duration(seconds, nanos)),
            last_transition,
            forced_state: forced,
            override_id,
            shadow_state: shadow,
            breaker: breaker.map(|(consecutive_failures, window_calls, window_failures, window_slow)| {
                v1::BreakerCounts {
                    consecutive_failures,
                    window_calls,
                    window_failures,
                    window_slow,
                }
            }),
        }
    }
}

prop_compose! {
    fn report()(
        number in 0_u64..4,
        span in prop::option::of(any::<(i64, i32)>()),
        operations in prop::collection::vec(operation(), 0..4),
    ) -> v1::StatsReport {
        let span = span.map(|(seconds, nanos)| prost_duration(seconds, nanos));
        v1::StatsReport { number, operations, span }
    }
}

proptest! {
    #[test]
    fn a_report_as_prost_writes_it_is_read_the_same_both_ways(report in report()) {
        let bytes = report.encode_to_vec();
        let read = borrowed(&bytes);
        prop_assert!(read.is_some(), "what our own SDK sends is never declined");
        prop_assert_eq!(read, ordinary(&bytes));
    }

    #[test]
    fn whatever_became_of_its_bytes_a_report_is_read_the_same_or_declined(
        report in report(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = report.encode_to_vec();
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        if let Some(read) = borrowed(&bytes) {
            prop_assert_eq!(Some(read), ordinary(&bytes));
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        if let Some(read) = borrowed(&bytes) {
            prop_assert_eq!(Some(read), ordinary(&bytes));
        }
    }
}

#[test]
fn what_would_have_to_be_merged_is_left_to_the_ordinary_way() {
    let operation = v1::OperationStats {
        operation: "pay".into(),
        calls: Some(calls([1, 0, 0, 0, 0, 0])),
        circuit_state: v1::CircuitState::Closed.into(),
        ..Default::default()
    };
    let mut twice = operation.encode_to_vec();
    twice.extend(operation.encode_to_vec());
    let mut bytes = vec![0x12, u8::try_from(twice.len()).unwrap()];
    bytes.extend(&twice);
    assert!(ordinary(&bytes).is_some());
    assert!(borrowed(&bytes).is_none());
    let unknown = [0x20, 0x01];
    assert!(ordinary(&unknown).is_some() && borrowed(&unknown).is_none());
}

#[test]
fn a_report_that_is_declined_half_way_may_be_absorbed_again_as_a_whole() {
    let mut fleet = Fleet::new(Limits::default());
    let key = InstanceKey {
        namespace: Namespace::default_namespace(),
        service: Service::new("checkout").unwrap(),
        instance: InstanceId::new("a").unwrap(),
        epoch: Epoch(1),
    };
    let now = Instant::from_nanos(1);
    let session = fleet.connect(key, &InstanceFacts::default(), now);
    let legal = v1::OperationStats {
        operation: "pay".into(),
        calls: Some(calls([7, 0, 0, 0, 0, 0])),
        circuit_state: v1::CircuitState::Closed.into(),
        ..Default::default()
    };
    let report = v1::StatsReport {
        number: 1,
        operations: vec![legal],
        span: None,
    };
    // Behind it an operation with a field that nobody knows.
    let bytes = [report.encode_to_vec(), vec![0x12, 0x03, 0xf8, 0x01, 0x01]].concat();
    let read = ReportFigures::read(&bytes).unwrap();
    fleet.absorb_figures(session, read.head, read.operations(), now);
    assert!(read.is_declined());
    let whole = super::super::report_from_wire(&report).unwrap();
    assert_eq!(fleet.absorb(session, &whole, now).repeated, 1);
}
