//! Frames: told apart in what was read, and written.

/// Length (3), kind (1), flags (1), stream (4).
pub(crate) const HEAD_BYTES: usize = 9;

pub(crate) const DATA: u8 = 0x0;
pub(crate) const HEADERS: u8 = 0x1;
pub(crate) const RST_STREAM: u8 = 0x3;
pub(crate) const SETTINGS: u8 = 0x4;
pub(crate) const PING: u8 = 0x6;
pub(crate) const GOAWAY: u8 = 0x7;
pub(crate) const WINDOW_UPDATE: u8 = 0x8;

pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const ACK: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;

/// One whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The payload of a DATA frame without its padding; nothing if the padding is a lie.
    pub(crate) fn data(&self) -> &'a [u8] {
        if !self.has(PADDED) {
            return self.payload;
        }
        let Some((&padding, rest)) = self.payload.split_first() else {
            return &[];
        };
        let len = rest.len().saturating_sub(usize::from(padding));
        &rest[..len]
    }
}

/// The first frame of `bytes`, if all of it is there, and what follows it.
pub(crate) fn split(bytes: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *head;
    let len = usize::try_from(u32::from_be_bytes([0, l0, l1, l2])).ok()?;
    let (payload, rest) = rest.split_at_checked(len)?;
    let frame = Frame {
        kind,
        flags,
        // The highest bit is reserved.
        stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
        payload,
    };
    Some((frame, rest))
}

/// Appends a frame's head.
pub(crate) fn put_head(out: &mut Vec<u8>, len: usize, kind: u8, flags: u8, stream: u32) {
    let len = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(&len[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
}

/// Appends a whole frame.
pub(crate) fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    put_head(out, payload.len(), kind, flags, stream);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_apart_wherever_the_reads_fell() {
        let mut bytes = Vec::new();
        put(&mut bytes, SETTINGS, 0, 0, &[]);
        put(&mut bytes, DATA, END_STREAM, 1, b"hello");
        put(&mut bytes, PING, ACK, 0, &[7; 8]);
        let mut kinds = Vec::new();
        let mut input = Vec::new();
        for byte in bytes {
            input.push(byte);
            if let Some((frame, rest)) = split(&input) {
                assert!(rest.is_empty());
                kinds.push((frame.kind, frame.flags, frame.stream, frame.payload.len()));
                input.clear();
            }
        }
        assert_eq!(
            kinds,
            [
                (SETTINGS, 0, 0, 0),
                (DATA, END_STREAM, 1, 5),
                (PING, ACK, 0, 8)
            ]
        );
    }

    #[test]
    fn padding_is_no_data() {
        let frame = |payload| Frame {
            kind: DATA,
            flags: PADDED,
            stream: 1,
            payload,
        };
        assert_eq!(frame(b"\x02hello\0\0").data(), b"hello");
        assert_eq!(frame(b"\x09hello").data(), b"");
        assert_eq!(frame(b"").data(), b"");
    }

    #[test]
    fn the_reserved_bit_of_a_stream_says_nothing() {
        let (frame, _) = split(&[0, 0, 0, PING, 0, 0x80, 0, 0, 1]).unwrap();
        assert_eq!(frame.stream, 1);
    }
}
