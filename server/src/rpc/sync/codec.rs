//! How what a process says is read.

use fusebox_proto::v1::ConnectRequest;
use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, DecodeBuf, Decoder};

/// Kept for each stream: enough for all messages but reports, for which it grows.
const BUFFER_BYTES: usize = 1024;
/// Of no effect on what is read.
const YIELD_BYTES: usize = 32 * 1024;

/// Decodes a request.
pub(super) struct RequestDecoder;

impl Decoder for RequestDecoder {
    type Item = ConnectRequest;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<ConnectRequest>, Status> {
        let unreadable = |error| Status::invalid_argument(format!("not a ConnectRequest: {error}"));
        ConnectRequest::decode(buffer).map(Some).map_err(unreadable)
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}
