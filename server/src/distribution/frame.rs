//! A message to a process as bytes: encoded once, shared by every stream it goes to.

use std::time::{Duration, SystemTime};

use bytes::{BufMut, Bytes, BytesMut};
use fusebox_core::policy::field::SCHEMA;
use fusebox_core::policy::overrides::BreakerReset;
use fusebox_core::revision::Incarnation;
use fusebox_core::stats::SessionId;
use fusebox_core::sync::Snapshot;
use fusebox_proto::convert::breaker::target_to_wire;
use fusebox_proto::convert::incarnation::incarnation_to_wire;
use fusebox_proto::convert::snapshot::snapshot_to_wire;
use fusebox_proto::convert::time::{duration_to_wire, timestamp_to_wire};
use fusebox_proto::v1;
use fusebox_proto::v1::connect_response::Message as Response;
use prost::Message;

use super::Pace;

/// Of a gRPC message: whether it is compressed, and how long it is, big-endian.
const PREFIX_BYTES: usize = 5;
const UNCOMPRESSED: u8 = 0;

/// An encoded `ConnectResponse`, with gRPC's prefix. Cloning it copies no bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame(Bytes);

impl Frame {
    fn of(message: Response) -> Self {
        let message = Some(message);
        let message = v1::ConnectResponse { message };
        // What is sent is at most a few MiB.
        let encoded = message.encoded_len();
        let len = u32::try_from(encoded).unwrap_or(u32::MAX);
        let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + encoded);
        bytes.put_u8(UNCOMPRESSED);
        bytes.put_u32(len);
        message.encode_raw(&mut bytes);
        Self(bytes.freeze())
    }

    /// What goes over the wire.
    pub(crate) fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The answer to an accepted Hello.
    pub(super) fn welcome(session: SessionId, incarnation: Incarnation, pace: Pace) -> Self {
        Self::of(Response::Welcome(v1::Welcome {
            session: session.0,
            incarnation: incarnation_to_wire(incarnation),
            schema: SCHEMA,
            server_time: Some(timestamp_to_wire(SystemTime::now())),
            report_interval: Some(duration_to_wire(pace.report_interval)),
            heartbeat_interval: Some(duration_to_wire(pace.heartbeat_interval)),
        }))
    }

    /// Everything that concerns an audience.
    pub(super) fn snapshot(snapshot: &Snapshot) -> Self {
        Self::of(Response::Snapshot(snapshot_to_wire(snapshot)))
    }

    /// The process holds `snapshot` already.
    pub(super) fn up_to_date(snapshot: &Snapshot) -> Self {
        Self::of(Response::UpToDate(v1::UpToDate {
            incarnation: incarnation_to_wire(snapshot.incarnation),
            revision: snapshot.revision.0,
        }))
    }

    /// Reports up to `number` have been absorbed.
    pub(super) fn report_ack(number: u64) -> Self {
        Self::of(Response::ReportAck(v1::ReportAck {
            number,
            report_interval: None,
        }))
    }

    /// Breakers are to be reset.
    pub(super) fn reset(reset: &BreakerReset) -> Self {
        Self::of(Response::ResetBreakers(v1::ResetBreakers {
            id: reset.id.0,
            target: Some(target_to_wire(&reset.target)),
        }))
    }

    /// Go elsewhere, after `delay`.
    pub(super) fn drain(delay: Duration) -> Self {
        let delay = Some(duration_to_wire(delay));
        Self::of(Response::Drain(v1::Drain { delay }))
    }

    /// Still here.
    pub(super) fn heartbeat() -> Self {
        Self::of(Response::Heartbeat(v1::Heartbeat {}))
    }
}
