//! `etcdserverpb.Watch`, as far as it is needed. Nobody acknowledges anything there.

use super::Heard;
use crate::fields::{fields, put_bytes};

pub(super) const PATH: &str = "/etcdserverpb.Watch/Watch";

/// `WatchRequest { create_request: { key } }`.
pub(super) fn watch(key: &str) -> Vec<u8> {
    let (mut create, mut request) = (Vec::new(), Vec::new());
    put_bytes(&mut create, 1, key.as_bytes());
    put_bytes(&mut request, 1, &create);
    request
}

/// `WatchResponse`: header (1, with the revision in its field 3), created (3), events (11).
pub(super) fn hear(message: &[u8]) -> Heard {
    let (mut revision, mut created, mut events) = (0, false, false);
    for (field, value) in fields(message) {
        match field {
            1 => {
                let header = fields(value.bytes()).find(|(field, _)| *field == 3);
                revision = header.map_or(0, |(_, value)| value.number());
            }
            3 => created = value.number() != 0,
            11 => events = true,
            _ => {}
        }
    }
    match (created, events) {
        (true, _) => Heard::In { beat: None },
        (_, true) => Heard::Push { revision },
        _ => Heard::Other,
    }
}
