//! How a stream's messages are read and written: requests are decoded, responses are bytes already.

use bytes::BufMut;
use fusebox_proto::v1::ConnectRequest;
use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use crate::distribution::Frame;

/// Kept for each stream and direction: enough for all messages but snapshots and reports, for which
/// it grows.
const BUFFER_BYTES: usize = 1024;
/// So many bytes of ready frames are handed on at once.
const YIELD_BYTES: usize = 32 * 1024;

fn buffers() -> BufferSettings {
    BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
}

/// Frames out, requests in.
pub(super) struct SyncCodec;

impl Codec for SyncCodec {
    type Encode = Frame;
    type Decode = ConnectRequest;
    type Encoder = FrameEncoder;
    type Decoder = RequestDecoder;

    fn encoder(&mut self) -> FrameEncoder {
        FrameEncoder
    }

    fn decoder(&mut self) -> RequestDecoder {
        RequestDecoder
    }
}

/// Copies a frame's bytes.
pub(super) struct FrameEncoder;

impl Encoder for FrameEncoder {
    type Item = Frame;
    type Error = Status;

    fn encode(&mut self, frame: Frame, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(frame.bytes().len());
        buffer.put_slice(frame.bytes());
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}

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
        buffers()
    }
}
