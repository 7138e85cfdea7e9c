//! The contract of `fusebox.v1.SyncService`, as far as a client without rules to enforce goes.

use std::time::Duration;

use fusebox_proto::v1;
use fusebox_proto::v1::connect_request::Message as Up;
use prost::Message;

use super::{Heard, Held};
use crate::fields::{fields, put_bytes, put_number};

pub(super) const PATH: &str = "/fusebox.v1.SyncService/Connect";
/// Above every number in use.
const SCHEMA: u32 = 1000;
/// The fields of `ConnectRequest`.
const ACK: u64 = 2;
const STATS_REPORT: u64 = 5;
/// `ConnectRequest { heartbeat: {} }`.
pub(crate) const HEARTBEAT: &[u8] = &[7 << 3 | 2, 0];

/// The service that the client of that number belongs to.
pub(crate) fn service(client: usize, services: usize) -> String {
    format!("svc-{:03}", client % services)
}

pub(super) fn hello(client: usize, services: usize, epoch: u64, held: &Held) -> Vec<u8> {
    let known = (held.revision > 0).then_some(&held.incarnation[..]);
    let hello = v1::Hello {
        service: service(client, services),
        instance_id: format!("i-{client:05}"),
        epoch,
        version: "1.0.0".into(),
        sdk_version: env!("CARGO_PKG_VERSION").into(),
        schema: SCHEMA,
        incarnation: known.unwrap_or_default().to_vec(),
        revision: held.revision,
        digest: held.digest,
        ..v1::Hello::default()
    };
    let message = Some(Up::Hello(hello));
    v1::ConnectRequest { message }.encode_to_vec()
}

pub(super) fn ack(revision: u64) -> Vec<u8> {
    let (mut ack, mut request) = (Vec::with_capacity(11), Vec::with_capacity(13));
    put_number(&mut ack, 1, revision);
    put_bytes(&mut request, ACK, &ack);
    request
}

/// The fields of `ConnectResponse`.
pub(super) fn hear(message: &[u8], held: &mut Held) -> Heard {
    let Some((field, value)) = fields(message).next() else {
        return Heard::Other;
    };
    let body = value.bytes();
    match field {
        1 => welcome(body),
        2 => {
            keep(body, held);
            Heard::Push {
                revision: held.revision,
            }
        }
        3 => {
            keep(body, held);
            Heard::UpToDate {
                revision: held.revision,
            }
        }
        4 => Heard::Absorbed {
            number: fields(body).next().map_or(0, |(_, value)| value.number()),
        },
        6 => drain(body),
        _ => Heard::Other,
    }
}

fn welcome(body: &[u8]) -> Heard {
    let welcome = v1::Welcome::decode(body).unwrap_or_default();
    Heard::In {
        beat: welcome
            .heartbeat_interval
            .and_then(|beat| beat.try_into().ok()),
    }
}

fn drain(body: &[u8]) -> Heard {
    let drain = v1::Drain::decode(body).unwrap_or_default();
    let delay = drain.delay.and_then(|delay| Duration::try_from(delay).ok());
    Heard::Drain {
        delay: delay.unwrap_or_default(),
    }
}

/// `Snapshot` and `UpToDate` agree in their first two fields; the digest is the snapshot's alone.
fn keep(body: &[u8], held: &mut Held) {
    for (field, value) in fields(body) {
        match field {
            1 => {
                if let Some(incarnation) = value.bytes().first_chunk() {
                    held.incarnation = *incarnation;
                }
            }
            2 => held.revision = value.number(),
            3 => {
                held.digest = value.number();
                // Policies follow; `adopted` changes nothing here.
                return;
            }
            _ => {}
        }
    }
}

/// What a storm of reports is made of: their operations, encoded once for everybody.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reports(Vec<Vec<u8>>);

impl Reports {
    /// Reports of so many operations, whose figures grow from each to the next; after so many, they
    /// begin again.
    pub(crate) fn new(reports: usize, operations: usize) -> Self {
        let encode = |number| {
            let report = v1::StatsReport {
                number: 0,
                span: None,
                operations: (0..operations)
                    .map(|index| figures(index, number))
                    .collect(),
            };
            report.encode_to_vec()
        };
        Self((1..=reports as u64).map(encode).collect())
    }

    /// The report of that number, counted from 1.
    pub(crate) fn encode(&self, number: u64) -> Vec<u8> {
        let before = usize::try_from(number.saturating_sub(1)).unwrap_or_default();
        let operations = &self.0[before % self.0.len()];
        let mut report = Vec::with_capacity(operations.len() + 11);
        put_number(&mut report, 1, number);
        report.extend_from_slice(operations);
        let mut request = Vec::with_capacity(report.len() + 11);
        put_bytes(&mut request, STATS_REPORT, &report);
        request
    }
}

fn figures(operation: usize, report: u64) -> v1::OperationStats {
    v1::OperationStats {
        operation: format!("payments.step-{operation:02}"),
        calls: Some(v1::CallCounts {
            success: 95 * report,
            failure: 4 * report,
            timeout: report,
            ..v1::CallCounts::default()
        }),
        refusals: Some(v1::RefusalCounts::default()),
        retries: 5 * report,
        latency: Some(v1::LatencyHistogram {
            bucket_deltas: vec![200, 3, 2, 1, 1, 2, 9, 30],
            counts: [3, 10, 25, 30, 20, 8, 3, 1]
                .map(|count| count * report)
                .to_vec(),
        }),
        circuit_state: v1::CircuitState::Closed.into(),
        circuit_state_age: Some(prost_types::Duration {
            seconds: 60,
            nanos: 0,
        }),
        ..v1::OperationStats::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_what_the_contract_says_and_begin_again() {
        let reports = Reports::new(2, 20);
        let bytes = reports.encode(2);
        let request = v1::ConnectRequest::decode(&bytes[..]).unwrap();
        let Some(Up::StatsReport(report)) = request.message else {
            panic!("{request:?}");
        };
        assert_eq!((report.number, report.operations.len()), (2, 20));
        assert_eq!(report.operations[19], figures(19, 2));
        let bytes = reports.encode(4);
        let again = v1::ConnectRequest::decode(&bytes[..]).unwrap();
        let Some(Up::StatsReport(again)) = again.message else {
            panic!("{again:?}");
        };
        assert_eq!((again.number, again.operations), (4, report.operations));
    }

    #[test]
    fn a_heartbeat_is_the_contracts() {
        let request = v1::ConnectRequest::decode(HEARTBEAT).unwrap();
        let beat = Up::Heartbeat(v1::Heartbeat {});
        assert_eq!(request.message, Some(beat));
    }

    #[test]
    fn a_snapshot_is_kept_as_what_the_next_hello_tells() {
        let snapshot = v1::Snapshot {
            overrides: Vec::new(),
            incarnation: vec![7; 16],
            revision: 9,
            digest: 11,
            policies: vec![v1::Policy::default()],
            adopted: false,
        };
        let message = Some(v1::connect_response::Message::Snapshot(snapshot));
        let bytes = v1::ConnectResponse { message }.encode_to_vec();
        let mut held = Held::default();
        assert_eq!(hear(&bytes, &mut held), Heard::Push { revision: 9 });
        assert_eq!(
            (held.incarnation, held.revision, held.digest),
            ([7; 16], 9, 11)
        );
    }
}
