//! How what a process says is read.

use bytes::Buf;
use tonic::Status;
use tonic::codec::{BufferSettings, DecodeBuf, Decoder};

use crate::distribution::Request;

/// Kept for each stream: enough for all messages but reports, for which it grows.
const BUFFER_BYTES: usize = 1024;
/// Of no effect on what is read.
const YIELD_BYTES: usize = 32 * 1024;

/// Decodes a request.
pub(super) struct RequestDecoder;

impl Decoder for RequestDecoder {
    type Item = Request;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Request>, Status> {
        let unreadable = |error| Status::invalid_argument(format!("not a ConnectRequest: {error}"));
        // Without a copy: what is behind these bytes stays where it is.
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        Request::read(bytes).map(Some).map_err(unreadable)
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}
