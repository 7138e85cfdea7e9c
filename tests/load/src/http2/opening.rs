//! What a client says first: preface, SETTINGS, more window, and the request's head.

use super::{STREAM, frame};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// SETTINGS_ENABLE_PUSH.
const ENABLE_PUSH: u16 = 0x2;
/// SETTINGS_INITIAL_WINDOW_SIZE.
pub(crate) const INITIAL_WINDOW: u16 = 0x4;
/// What either side may send before anybody said otherwise.
pub(crate) const DEFAULT_WINDOW: u32 = 65_535;
/// What a server may send before it needs to hear that it was consumed.
pub(crate) const RECEIVE_WINDOW: u32 = 1 << 20;

/// All of it, for a POST to `path`.
pub(crate) fn encode(path: &str, authority: &str) -> Vec<u8> {
    let mut out = PREFACE.to_vec();
    let mut settings = Vec::new();
    for (name, value) in [(ENABLE_PUSH, 0), (INITIAL_WINDOW, RECEIVE_WINDOW)] {
        settings.extend_from_slice(&name.to_be_bytes());
        settings.extend_from_slice(&u32::to_be_bytes(value));
    }
    frame::put(&mut out, frame::SETTINGS, 0, 0, &settings);
    let more = RECEIVE_WINDOW - DEFAULT_WINDOW;
    frame::put(&mut out, frame::WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
    let mut head = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("user-agent", "fusebox-load"),
    ] {
        put_literal(&mut head, name, value);
    }
    frame::put(&mut out, frame::HEADERS, frame::END_HEADERS, STREAM, &head);
    out
}

/// HPACK: a literal without indexing, with a new name (RFC 7541, section 6.2.2).
fn put_literal(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(0);
    for text in [name, value] {
        // Seven bits hold a length; none of ours is longer.
        debug_assert!(text.len() < 127);
        out.push(u8::try_from(text.len()).unwrap_or(126));
        out.extend_from_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opening_is_the_preface_and_whole_frames_of_which_settings_come_first() {
        let bytes = encode("/a.B/C", "127.0.0.1:1");
        let mut rest = bytes.strip_prefix(PREFACE).unwrap();
        let mut kinds = Vec::new();
        while let Some((frame, more)) = frame::split(rest) {
            kinds.push(frame.kind);
            rest = more;
        }
        assert!(rest.is_empty());
        assert_eq!(
            kinds,
            [frame::SETTINGS, frame::WINDOW_UPDATE, frame::HEADERS]
        );
    }
}
