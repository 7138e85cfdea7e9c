//! The bare stream: a number and a payload down, the number up.

use super::Heard;
use crate::fields::{fields, put_number};

pub(super) const PATH: &str = "/load.Bare/Connect";

/// Down.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Pushed {
    #[prost(uint64, tag = "1")]
    pub(crate) revision: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) payload: Vec<u8>,
}

/// Up; the first of a stream says 0.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Received {
    #[prost(uint64, tag = "1")]
    pub(crate) revision: u64,
}

pub(super) fn ack(revision: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(11);
    put_number(&mut out, 1, revision);
    out
}

pub(super) fn hear(message: &[u8]) -> Heard {
    let first = fields(message).find(|(field, _)| *field == 1);
    Heard::Push {
        revision: first.map_or(0, |(_, value)| value.number()),
    }
}
